//! Lines on their way out: written by a thread of their own, many at once, so that neither a slow
//! nor a closed pipe holds up or ends the program.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Bytes that may wait for a slow reader. Later lines are counted instead, so memory stays bounded.
const MOST_WAITING: usize = 1024 * 1024;

/// Lines of this time go in one write: a wake-up and a system call for each would cost a busy
/// server more than the line itself.
const GATHER: Duration = Duration::from_millis(10);

/// How long the end waits for the reader of the last lines.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// Where events put their lines.
#[derive(Debug)]
pub(super) struct Lines(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    bytes: Vec<u8>,
    dropped: u64,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    #[default]
    Open,
    /// No more lines will come.
    Ending,
    /// All of them are written.
    Written,
}

/// Keeps the log going; dropping it writes what waits, if the reader takes it within a second.
#[derive(Debug)]
#[must_use = "dropping the guard ends the log"]
pub struct Guard(Arc<Shared>);

/// Starts the thread that writes to `out`. What it makes of dropped lines is `report`'s.
pub(super) fn start(
    out: impl Write + Send + 'static,
    report: impl Fn(u64) -> String + Send + 'static,
) -> io::Result<(Lines, Guard)> {
    let shared = Arc::<Shared>::default();
    let theirs = Arc::clone(&shared);
    thread::Builder::new().name("log".to_owned()).spawn(move || theirs.write_to(out, &report))?;
    Ok((Lines(Arc::clone(&shared)), Guard(shared)))
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_to(&self, mut out: impl Write, report: &impl Fn(u64) -> String) {
        let mut bytes = Vec::new();
        loop {
            let is_idle =
                |waiting: &mut Waiting| waiting.bytes.is_empty() && waiting.stage == Stage::Open;
            let waiting = self.changed.wait_while(self.lock(), is_idle);
            let waiting = waiting.unwrap_or_else(PoisonError::into_inner);
            let is_open = |waiting: &mut Waiting| waiting.stage == Stage::Open;
            let gathered = self.changed.wait_timeout_while(waiting, GATHER, is_open);
            let (mut waiting, _) = gathered.unwrap_or_else(PoisonError::into_inner);
            let is_last = waiting.stage == Stage::Ending;
            let dropped = std::mem::take(&mut waiting.dropped);
            std::mem::swap(&mut waiting.bytes, &mut bytes);
            drop(waiting);
            if dropped > 0 {
                bytes.extend_from_slice(report(dropped).as_bytes());
            }
            // A reader that has gone away has seen enough; the program goes on.
            let _ = out.write_all(&bytes).and_then(|()| out.flush());
            bytes.clear();
            bytes.shrink_to(MOST_WAITING / 16);
            if is_last {
                self.lock().stage = Stage::Written;
                self.changed.notify_all();
                return;
            }
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let mut waiting = self.0.lock();
        waiting.stage = Stage::Ending;
        self.0.changed.notify_all();
        let unwritten = |waiting: &mut Waiting| waiting.stage != Stage::Written;
        let _ = self.0.changed.wait_timeout_while(waiting, LAST_WAIT, unwritten);
    }
}

impl Lines {
    /// Puts a line, with its end, among those that wait.
    pub(super) fn put(&self, line: &[u8]) {
        let mut waiting = self.0.lock();
        if waiting.bytes.len() + line.len() > MOST_WAITING {
            waiting.dropped += 1;
            return;
        }
        let is_first = waiting.bytes.is_empty();
        waiting.bytes.extend_from_slice(line);
        drop(waiting);
        if is_first {
            self.0.changed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::time::Instant;

    use super::*;

    /// A reader that takes a write only when it is told to, and keeps what it took.
    struct Slow(Receiver<()>, Sender<Vec<u8>>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.recv().map_err(io::Error::other)?;
            self.1.send(bytes.to_vec()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn slow() -> (Lines, Guard, Sender<()>, Receiver<Vec<u8>>) {
        let ((go, may), (took, taken)) = (channel(), channel());
        let report = |dropped| format!("{dropped} dropped\n");
        let (lines, guard) = start(Slow(may, took), report).unwrap();
        (lines, guard, go, taken)
    }

    #[test]
    fn every_line_is_written_before_the_end() {
        let (lines, guard, go, taken) = slow();
        (0..3).for_each(|_| go.send(()).unwrap());
        for number in 0..100 {
            lines.put(format!("{number}\n").as_bytes());
        }
        drop(guard);
        let text: Vec<u8> = taken.try_iter().flatten().collect();
        assert_eq!(String::from_utf8(text).unwrap().lines().count(), 100);
    }

    #[test]
    fn what_a_reader_is_too_slow_for_is_dropped_and_counted() {
        let (lines, guard, go, taken) = slow();
        let line = [[b'x'; 1023].as_slice(), b"\n"].concat();
        // The thread may have taken some before it began to wait for its reader.
        let sent = 4 * MOST_WAITING / 1024;
        for _ in 0..sent {
            lines.put(&line);
        }
        assert!(lines.0.lock().bytes.len() <= MOST_WAITING);
        (0..10).for_each(|_| go.send(()).unwrap());
        drop(guard);
        let text: Vec<u8> = taken.try_iter().flatten().collect();
        let text = String::from_utf8(text).unwrap();
        assert!(text.lines().any(|line| line.ends_with(" dropped")), "{}", text.len());
    }

    #[test]
    fn a_reader_that_takes_nothing_does_not_hold_up_the_end() {
        let (lines, guard, _go, _taken) = slow();
        lines.put(b"never read\n");
        let start = Instant::now();
        drop(guard);
        assert!(start.elapsed() < 10 * LAST_WAIT);
    }
}
