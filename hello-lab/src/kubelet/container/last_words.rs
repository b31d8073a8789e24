//! What a container leaves to be told of its end: what it has written in its file for that, or else, of one that
//! fails, the end of its log (`terminationMessagePolicy`).

use std::time::Duration;

use super::Container;
use crate::kubelet::logs::Line;

/// That much of a log at most (`MaxContainerTerminationMessageLogLength` and `…LogLines` of
/// pkg/kubelet/container).
const MOST_BYTES: usize = 2048;
const MOST_LINES: usize = 80;

/// How long the last of a container's output may take to arrive after its end.
const PATIENCE: Duration = Duration::from_millis(100);

impl Container {
    /// Its message, or the end of its log, where it has ended with another `code` than 0 and wants that to be
    /// told.
    pub(super) async fn last_words(&self, code: i32) -> Option<String> {
        if let Some(message) = self.running.messages.take(&self.spec.name) {
            return Some(message);
        }
        let policy = self.spec.termination_message_policy.as_deref();
        if code == 0 || policy != Some("FallbackToLogsOnError") {
            return None;
        }
        self.end_of_log().await
    }

    /// The end of its log; none where nothing was written.
    pub(super) async fn end_of_log(&self) -> Option<String> {
        let (logs, uid) = (&self.running.surroundings.logs, self.running.pod.uid());
        let log = logs.get(uid, &self.spec.name, false)?;
        let mut written = log.written();
        // What it has started, and left, may write for ever.
        let _ = tokio::time::timeout(PATIENCE, written.wait_for(|written| written.ended)).await;
        Some(end_of(&log.read(0).0)).filter(|said| !said.is_empty())
    }
}

/// The last lines of a log, as far as they fit.
fn end_of(lines: &[Line]) -> String {
    let mut text = Vec::new();
    for line in &lines[lines.len().saturating_sub(MOST_LINES)..] {
        line.write(&mut text);
    }
    let start = text.len().saturating_sub(MOST_BYTES);
    String::from_utf8_lossy(&text[start..]).into_owned()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn of(texts: &[String]) -> String {
        end_of(&texts.iter().map(|text| line(text)).collect::<Vec<_>>())
    }

    fn line(text: &str) -> Line {
        Line { time: Timestamp::UNIX_EPOCH, text: text.into(), has_ended: true }
    }

    #[test]
    fn a_last_line_without_an_end_gets_none() {
        let last = Line { has_ended: false, ..line("b") };
        assert_eq!(end_of(&[line("a"), last]), "a\nb");
    }

    #[test]
    fn the_last_lines_of_a_log_are_told_as_far_as_they_fit() {
        assert_eq!(of(&[]), "");
        assert_eq!(of(&["a".to_owned(), "b".to_owned()]), "a\nb\n");
        let many: Vec<_> = (0..100).map(|number| number.to_string()).collect();
        assert!(of(&many).starts_with("20\n21\n"));
        let long = of(&["x".repeat(3000)]);
        assert_eq!((long.len(), long.ends_with("x\n")), (MOST_BYTES, true));
    }
}
