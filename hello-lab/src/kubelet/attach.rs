//! The streams of a container's main process, for those who attach to it: `kubectl attach` and `run -i`.
//!
//! Who attaches first to a container with `stdin` gets all that it has written from its start: they began
//! it to talk to it, and came as soon as they could. Who attaches later gets what it writes from then on.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

use super::terminal::Terminal;

/// So many pieces wait for who is attached; then the container has to wait, as with every container engine.
const WAITING: usize = 16;

/// Of what nobody has seen yet so many octets are kept; the oldest go first.
const KEPT_BYTES: usize = 10 << 20;

/// Where a piece was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Standard output, or a terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A piece of what a container has written.
pub type Piece = (Output, Bytes);

/// The streams of one run of a container. Clones share them.
#[derive(Clone, Default)]
pub struct Attachable {
    output: Arc<Mutex<Outputs>>,
    input: Arc<Mutex<Input>>,
    /// Its terminal, if it has one.
    pub terminal: Option<Arc<Terminal>>,
}

#[derive(Default)]
struct Outputs {
    /// What nobody has seen yet; none where nobody is to see it later.
    unseen: Option<VecDeque<Piece>>,
    bytes: usize,
    attached: Vec<mpsc::Sender<Piece>>,
    ended: bool,
}

/// The way to standard input.
#[derive(Default)]
struct Input {
    sender: Option<mpsc::Sender<Bytes>>,
    /// Whether it ends with the first who attaches.
    once: bool,
}

/// What somebody who attaches gets.
pub struct Attached {
    /// What the container writes, in order; it ends with the container.
    pub output: Follower,
    /// Where standard input is sent to, where there is one that nobody has ended.
    pub input: Option<mpsc::Sender<Bytes>>,
    /// The container's terminal, if it has one.
    pub terminal: Option<Arc<Terminal>>,
}

/// Follows what a container writes.
pub struct Follower {
    unseen: VecDeque<Piece>,
    pieces: mpsc::Receiver<Piece>,
}

impl Attachable {
    /// The streams of a container that has `stdin`, which ends with the first who attaches where it is to
    /// be used `once`, and a terminal if it has one.
    pub(super) fn new(
        stdin: Option<Box<dyn AsyncWrite + Send + Unpin>>,
        once: bool,
        terminal: Option<Terminal>,
    ) -> Self {
        let unseen = stdin.is_some().then(VecDeque::new);
        let sender = stdin.map(|mut stdin| {
            let (sender, mut bytes) = mpsc::channel::<Bytes>(1);
            tokio::spawn(async move {
                while let Some(bytes) = bytes.recv().await {
                    // Who reads no more gets no more.
                    if stdin.write_all(&bytes).await.is_err() {
                        return;
                    }
                }
            });
            sender
        });
        Self {
            output: Arc::new(Mutex::new(Outputs { unseen, ..Outputs::default() })),
            input: Arc::new(Mutex::new(Input { sender, once })),
            terminal: terminal.map(Arc::new),
        }
    }

    /// Attaches somebody, to standard input too if they want it.
    #[must_use]
    pub fn attach(&self, stdin: bool) -> Attached {
        let (sender, pieces) = mpsc::channel(WAITING);
        let mut outputs = lock(&self.output);
        let unseen = outputs.unseen.take().unwrap_or_default();
        if !outputs.ended {
            outputs.attached.push(sender);
        }
        drop(outputs);
        let input = stdin.then(|| {
            let mut input = lock(&self.input);
            if input.once { input.sender.take() } else { input.sender.clone() }
        });
        Attached {
            output: Follower { unseen, pieces },
            input: input.flatten(),
            terminal: self.terminal.clone(),
        }
    }

    /// Passes on what the container has written.
    pub(super) async fn pass_on(&self, output: Output, bytes: &[u8]) {
        let piece = (output, Bytes::copy_from_slice(bytes));
        let attached = {
            let mut outputs = lock(&self.output);
            outputs.keep(&piece);
            outputs.attached.retain(|one| !one.is_closed());
            outputs.attached.clone()
        };
        for one in attached {
            // Who has gone is forgotten the next time.
            let _ = one.send(piece.clone()).await;
        }
    }

    /// There will be no more.
    pub(super) fn end(&self) {
        let mut outputs = lock(&self.output);
        outputs.ended = true;
        outputs.attached.clear();
        drop(outputs);
        lock(&self.input).sender = None;
    }
}

impl Outputs {
    fn keep(&mut self, piece: &Piece) {
        let Some(unseen) = &mut self.unseen else { return };
        self.bytes += piece.1.len();
        unseen.push_back(piece.clone());
        while self.bytes > KEPT_BYTES {
            let Some((_, oldest)) = unseen.pop_front() else { break };
            self.bytes -= oldest.len();
        }
    }
}

impl Follower {
    /// The next piece; none when there will be no more. May be dropped and called again.
    pub async fn next(&mut self) -> Option<Piece> {
        match self.unseen.pop_front() {
            Some(piece) => Some(piece),
            None => self.pieces.recv().await,
        }
    }
}

/// The streams of every container, in its present run or its last one, for as long as its pod is there.
#[derive(Clone, Default)]
pub struct Attachables(Arc<Mutex<HashMap<(String, String), Attachable>>>);

impl Attachables {
    /// Those of the container `name` of the pod with this UID, if it has begun.
    #[must_use]
    pub fn get(&self, pod: &str, name: &str) -> Option<Attachable> {
        lock(&self.0).get(&(pod.to_owned(), name.to_owned())).cloned()
    }

    /// Those of a container that begins.
    pub(super) fn begin(&self, pod: &str, name: &str, attachable: Attachable) {
        lock(&self.0).insert((pod.to_owned(), name.to_owned()), attachable);
    }

    /// Forgets a pod's.
    pub(super) fn remove(&self, pod: &str) {
        lock(&self.0).retain(|(uid, _), _| uid != pod);
    }
}

/// Nothing that can panic is done with these held.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, duplex};

    use super::*;

    async fn rest(mut follower: Follower) -> String {
        let mut text = String::new();
        while let Some((_, bytes)) = follower.next().await {
            text += std::str::from_utf8(&bytes).unwrap();
        }
        text
    }

    #[tokio::test]
    async fn who_attaches_first_to_a_container_with_stdin_gets_all_that_it_wrote() {
        let (_other, stdin) = duplex(1);
        let streams = Attachable::new(Some(Box::new(stdin)), false, None);
        streams.pass_on(Output::Stdout, b"one ").await;
        let first = streams.attach(true).output;
        streams.pass_on(Output::Stderr, b"two ").await;
        let second = streams.attach(true).output;
        streams.pass_on(Output::Stdout, b"three").await;
        streams.end();
        assert_eq!(rest(first).await, "one two three");
        assert_eq!(rest(second).await, "three");
        assert_eq!(rest(streams.attach(false).output).await, "");
    }

    #[tokio::test]
    async fn who_attaches_after_the_end_gets_what_nobody_has_seen() {
        let (_other, stdin) = duplex(1);
        let streams = Attachable::new(Some(Box::new(stdin)), true, None);
        let piece = vec![b'x'; KEPT_BYTES / 2];
        for _ in 0..3 {
            streams.pass_on(Output::Stdout, &piece).await;
        }
        streams.end();
        let attached = streams.attach(true);
        assert!(attached.input.is_none(), "it reads no more");
        assert_eq!(rest(attached.output).await.len(), KEPT_BYTES);
    }

    #[tokio::test]
    async fn without_stdin_nothing_is_kept() {
        let streams = Attachable::new(None, false, None);
        streams.pass_on(Output::Stdout, b"one").await;
        let attached = streams.attach(true);
        assert!(attached.input.is_none());
        streams.end();
        assert_eq!(rest(attached.output).await, "");
    }

    #[tokio::test]
    async fn an_input_for_once_ends_with_who_has_it_and_another_does_not() {
        for once in [true, false] {
            let (mut other, stdin) = duplex(64);
            let streams = Attachable::new(Some(Box::new(stdin)), once, None);
            for word in ["one ", "two "] {
                if let Some(input) = streams.attach(true).input {
                    input.send(Bytes::from(word)).await.unwrap();
                }
            }
            if once {
                let mut text = String::new();
                other.read_to_string(&mut text).await.unwrap();
                assert_eq!(text, "one ", "and the end");
            } else {
                let mut text = [0; 8];
                other.read_exact(&mut text).await.unwrap();
                assert_eq!(&text, b"one two ");
            }
        }
    }
}
