//! What containers write, kept for `kubectl logs` in bounded memory.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::sync::watch;

use super::attach::{Attachable, Output};

/// Of one run of a container, this much is kept; older lines go first (`containerLogMaxSize` of a kubelet).
const KEPT_BYTES: usize = 10 << 20;
/// A longer line is cut into several, as container engines do.
const LINE_BYTES: usize = 16 * 1024;

/// One line, without its line feed.
#[derive(Clone, Debug)]
pub struct Line {
    /// When it was read.
    pub time: Timestamp,
    /// Its bytes.
    pub text: Vec<u8>,
    /// Whether it has ended: the last of a container may not have.
    pub has_ended: bool,
}

impl Line {
    /// Writes it as the container did.
    pub fn write(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(&self.text);
        if self.has_ended {
            to.push(b'\n');
        }
    }
}

/// The output of one run of a container. Clones share it.
#[derive(Clone, Debug)]
pub struct Log {
    inner: Arc<Mutex<Lines>>,
    /// Counts the lines that were ever written; closed when there will be no more.
    written: watch::Receiver<Written>,
}

/// How far a log has come.
#[derive(Clone, Copy, Debug, Default)]
pub struct Written {
    /// Lines written so far, those that are no longer kept included.
    pub lines: usize,
    /// Whether there will be no more.
    pub ended: bool,
}

#[derive(Debug, Default)]
struct Lines {
    kept: VecDeque<Line>,
    bytes: usize,
    /// Lines that are no longer kept.
    gone: usize,
}

/// The writing end of a log.
#[derive(Debug)]
pub struct LogWriter {
    inner: Arc<Mutex<Lines>>,
    written: watch::Sender<Written>,
}

/// A new log and its writing end.
#[must_use]
pub fn log() -> (LogWriter, Log) {
    let inner = Arc::<Mutex<Lines>>::default();
    let (sender, receiver) = watch::channel(Written::default());
    let log = Log { inner: Arc::clone(&inner), written: receiver };
    (LogWriter { inner, written: sender }, log)
}

impl LogWriter {
    /// Appends a line.
    pub fn push(&self, text: Vec<u8>) {
        self.append(text, true);
    }

    fn append(&self, text: Vec<u8>, has_ended: bool) {
        let mut lines = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        lines.bytes += text.len();
        lines.kept.push_back(Line { time: Timestamp::now(), text, has_ended });
        while lines.bytes > KEPT_BYTES {
            let Some(oldest) = lines.kept.pop_front() else { break };
            lines.bytes -= oldest.text.len();
            lines.gone += 1;
        }
        drop(lines);
        self.written.send_modify(|written| written.lines += 1);
    }

    /// Appends what comes from `source` until its end, and passes it on as `output` to who is attached.
    pub async fn copy(
        &self,
        source: impl AsyncRead + Unpin,
        attached: &Attachable,
        output: Output,
    ) {
        let mut source = BufReader::with_capacity(LINE_BYTES, source);
        let mut line = Vec::new();
        loop {
            let buffer = match source.fill_buf().await {
                Ok(buffer) if !buffer.is_empty() => buffer,
                _ => break,
            };
            attached.pass_on(output, buffer).await;
            for part in buffer.split_inclusive(|byte| *byte == b'\n') {
                let text = part.strip_suffix(b"\n").unwrap_or(part);
                line.extend_from_slice(text);
                if text.len() < part.len() || line.len() >= LINE_BYTES {
                    self.push(std::mem::take(&mut line));
                }
            }
            let consumed = buffer.len();
            source.consume(consumed);
        }
        if !line.is_empty() {
            self.append(line, false);
        }
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        self.written.send_modify(|written| written.ended = true);
    }
}

impl Log {
    /// The kept lines from number `start` on, and the number of the line after them.
    #[must_use]
    pub fn read(&self, start: usize) -> (Vec<Line>, usize) {
        let lines = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let skip = start.saturating_sub(lines.gone).min(lines.kept.len());
        (lines.kept.range(skip..).cloned().collect(), lines.gone + lines.kept.len())
    }

    /// Tells how far the log has come, and of every step further.
    #[must_use]
    pub fn written(&self) -> watch::Receiver<Written> {
        self.written.clone()
    }
}

/// The logs of every container: of its present run and of the one before.
#[derive(Clone, Debug, Default)]
pub struct Logs(Arc<Mutex<HashMap<ContainerId, Runs>>>);

/// The uid of a pod and the name of a container.
type ContainerId = (String, String);

#[derive(Debug, Default)]
struct Runs {
    current: Option<Log>,
    previous: Option<Log>,
}

impl Logs {
    /// Begins the log of a new run of a container.
    #[must_use]
    pub fn begin(&self, pod_uid: &str, container: &str) -> LogWriter {
        let (writer, log) = log();
        let mut logs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let runs = logs.entry((pod_uid.to_owned(), container.to_owned())).or_default();
        runs.previous = runs.current.replace(log);
        writer
    }

    /// The log of a container's present run, or of the one before.
    #[must_use]
    pub fn get(&self, pod_uid: &str, container: &str, previous: bool) -> Option<Log> {
        let logs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let runs = logs.get(&(pod_uid.to_owned(), container.to_owned()))?;
        if previous { runs.previous.clone() } else { runs.current.clone() }
    }

    /// Forgets a pod's logs.
    pub fn remove(&self, pod_uid: &str) {
        let mut logs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        logs.retain(|(uid, _), _| uid != pod_uid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(lines: &[Line]) -> Vec<&str> {
        lines.iter().map(|line| std::str::from_utf8(&line.text).unwrap()).collect()
    }

    #[tokio::test]
    async fn output_is_read_line_by_line_and_a_last_line_needs_no_line_feed() {
        let (writer, log) = log();
        let attachable = Attachable::default();
        let mut attached = attachable.attach(false).output;
        writer.copy(&b"one\n\ntwo\nthree"[..], &attachable, Output::Stdout).await;
        attachable.end();
        let (_, bytes) = attached.next().await.unwrap();
        assert_eq!((&bytes[..], attached.next().await), (&b"one\n\ntwo\nthree"[..], None));
        let (lines, next) = log.read(0);
        assert_eq!((texts(&lines), next), (vec!["one", "", "two", "three"], 4));
        assert_eq!(texts(&log.read(3).0), ["three"]);
        assert!(log.read(9).0.is_empty());
    }

    #[tokio::test]
    async fn a_line_without_end_is_cut() {
        let (writer, log) = log();
        writer
            .copy(&vec![b'x'; LINE_BYTES * 2 + 1][..], &Attachable::default(), Output::Stdout)
            .await;
        let lengths: Vec<_> = log.read(0).0.iter().map(|line| line.text.len()).collect();
        assert_eq!(lengths, [LINE_BYTES, LINE_BYTES, 1]);
    }

    #[test]
    fn the_oldest_lines_go_first() {
        let (writer, log) = log();
        for _ in 0..3 {
            writer.push(vec![b'x'; KEPT_BYTES / 2]);
        }
        let (lines, next) = log.read(0);
        assert_eq!((lines.len(), next), (2, 3));
        assert_eq!(log.read(2).0.len(), 1);
    }

    #[test]
    fn readers_learn_of_the_end() {
        let (writer, log) = log();
        writer.push(b"a".to_vec());
        drop(writer);
        let written = *log.written().borrow();
        assert!(written.ended && written.lines == 1);
    }

    #[test]
    fn the_run_before_is_kept_too() {
        let logs = Logs::default();
        logs.begin("u", "c").push(b"first".to_vec());
        logs.begin("u", "c").push(b"second".to_vec());
        assert_eq!(texts(&logs.get("u", "c", false).unwrap().read(0).0), ["second"]);
        assert_eq!(texts(&logs.get("u", "c", true).unwrap().read(0).0), ["first"]);
        logs.remove("u");
        assert!(logs.get("u", "c", false).is_none());
    }
}
