//! What the lab and a shim tell each other.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::path::{Component, Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The longest message that is believed: more than the kernel takes for arguments and environment.
const LONGEST: u32 = 16 << 20;

/// The most open files that come with a message: a process's socket, its three streams, its program.
pub(crate) const MOST_FILES: usize = 5;

/// Added to a signal's number: it is for the process's whole group.
pub(crate) const TO_THE_GROUP: u8 = 0x80;

/// What every pod's processes have in common.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Machine {
    /// What is among programs and not for pods: absolute paths, without links and none within another.
    pub hidden: Vec<PathBuf>,
}

/// What a pod's processes have in common.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Pod {
    /// The host name.
    pub hostname: String,
    /// Files of the pod's own in /etc: their names and contents.
    pub files: Vec<(String, String)>,
    /// Whether the processes can take other users' identities: whether the lab is root's.
    pub privileged: bool,
    /// How many volumes it has. Each is a file system that nothing is mounted on yet, and comes after this
    /// with an octet of its own.
    pub volumes: usize,
    /// What each container mounts, by its name; empty where there are no volumes.
    pub mounts: BTreeMap<String, Vec<Mount>>,
    /// Which of the volumes is the root folder of a container's image, for each whose image has one. Nothing
    /// else is mounted of it.
    pub roots: BTreeMap<String, usize>,
}

/// Where a container sees a volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Which of the pod's volumes.
    pub volume: usize,
    /// What of it: all, where this is empty.
    pub sub_path: PathBuf,
    /// Where the container sees it.
    pub place: PathBuf,
    /// Whether the container may only read it.
    pub read_only: bool,
}

/// Where a container sees what it mounts on `place`: an absolute path without `.` and `..`, as a kubelet makes
/// it.
pub(crate) fn absolute(place: &Path) -> PathBuf {
    let mut absolute = PathBuf::from("/");
    for part in place.components() {
        match part {
            Component::Normal(name) => absolute.push(name),
            Component::ParentDir => {
                absolute.pop();
            }
            _ => {}
        }
    }
    absolute
}

/// What a process is to be.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Spec {
    /// The name of the container, in whose root folder it is started.
    pub container: String,
    /// The program's file: one that the pod sees, or else one that comes with the message.
    pub program: PathBuf,
    /// Whether it comes with the message, as the last of the open files: an image's program is where
    /// pods see nothing.
    pub is_images: bool,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its whole environment.
    pub env: Vec<(String, String)>,
    /// User and group; none where the lab itself is an ordinary user's and can take no other.
    pub user: Option<(u32, u32)>,
    /// Where to start the program.
    pub working_dir: Option<PathBuf>,
    /// What comes with it.
    pub streams: Streams,
}

/// The streams of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Streams {
    /// Standard output and standard error, which come with the message.
    #[default]
    Output,
    /// These, and standard input.
    All,
    /// A terminal, which is all three, and the session's: the shim makes it, and gives the lab its end.
    Terminal,
}

impl Streams {
    /// Those of a process that has a terminal, or else may have input.
    #[must_use]
    pub fn of(tty: bool, stdin: bool) -> Self {
        match (tty, stdin) {
            (true, _) => Self::Terminal,
            (false, true) => Self::All,
            (false, false) => Self::Output,
        }
    }
}

/// A message: its length, and JSON.
pub fn message(value: &impl Serialize) -> io::Result<Vec<u8>> {
    let json = serde_json::to_vec(value)?;
    let length = u32::try_from(json.len()).map_err(io::Error::other)?;
    Ok([&length.to_be_bytes()[..], &json].concat())
}

/// Why a message cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum MessageError {
    /// The other end has gone, or reading fails.
    #[error("cannot read a message of the lab")]
    Socket(#[from] io::Error),
    /// It claims to be longer than any is.
    #[error("a message of the lab has {0} octets, more than {LONGEST}")]
    TooLong(u32),
    /// It says something else than it should.
    #[error("a message of the lab is not understood")]
    Json(#[from] serde_json::Error),
}

/// Reads a message.
pub(super) fn receive<T: DeserializeOwned>(mut socket: &UnixStream) -> Result<T, MessageError> {
    let mut length = [0; 4];
    socket.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length);
    if length > LONGEST {
        return Err(MessageError::TooLong(length));
    }
    let mut json = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    socket.read_exact(&mut json)?;
    Ok(serde_json::from_slice(&json)?)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn received(octets: &[u8]) -> Result<Pod, MessageError> {
        let (mut lab, shim) = UnixStream::pair().unwrap();
        lab.write_all(octets).unwrap();
        drop(lab);
        receive(&shim)
    }

    #[test]
    fn a_place_is_an_absolute_path_whatever_it_leads_over() {
        for (place, expected) in
            [("/a/b", "/a/b"), ("a", "/a"), ("/a/../../b/./c//", "/b/c"), ("/..", "/"), ("", "/")]
        {
            assert_eq!(absolute(Path::new(place)), Path::new(expected));
        }
    }

    #[test]
    fn a_message_is_read_as_it_was_written_and_what_is_none_is_told_apart() {
        let pod = Pod { hostname: "web".into(), ..Pod::default() };
        let whole = message(&pod).unwrap();
        assert_eq!(received(&whole).unwrap().hostname, "web");
        for cut in [0, 3, 4, whole.len() - 1] {
            assert!(matches!(received(&whole[..cut]), Err(MessageError::Socket(_))), "{cut}");
        }
        // Nothing is read, and no memory taken, for a length that cannot be.
        assert!(matches!(received(&[255; 4]), Err(MessageError::TooLong(u32::MAX))));
        assert!(matches!(received(b"\0\0\0\x02[]"), Err(MessageError::Json(_))));
    }
}
