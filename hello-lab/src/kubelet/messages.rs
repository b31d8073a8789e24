//! What containers have left to be told of their ends, each in a file of its own.

use std::collections::BTreeMap;
use std::fs::{File, Permissions};
use std::io::{self, Read, Seek};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// The file's name in its file system.
pub(super) const NAME: &str = "message";

/// That much is read of it (`MaxContainerTerminationMessageLength` of pkg/kubelet/container).
const LONGEST: u64 = 4096;

/// The files of a pod's containers, by their names.
#[derive(Default)]
pub(super) struct Messages(Mutex<BTreeMap<String, File>>);

impl Messages {
    /// Makes a container's, in the root folder of a file system.
    pub(super) fn add(&self, container: &str, folder: &Path) -> io::Result<()> {
        let path = folder.join(NAME);
        let file = File::options().read(true).write(true).create(true).truncate(true).open(path)?;
        // Whoever the container is, and whatever the umask.
        file.set_permissions(Permissions::from_mode(0o666))?;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(container.to_owned(), file);
        Ok(())
    }

    /// What a container has left, which is then gone; nothing where it has left nothing.
    pub(super) fn take(&self, container: &str) -> Option<String> {
        let file = {
            let files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            files.get(container)?.try_clone().ok()?
        };
        let mut said = Vec::new();
        (&file).rewind().ok()?;
        (&file).take(LONGEST).read_to_end(&mut said).ok()?;
        // The next one's is its own.
        file.set_len(0).ok()?;
        Some(String::from_utf8_lossy(&said).into_owned()).filter(|said| !said.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_told_once_and_not_beyond_its_bound() {
        let folder = tempfile::tempdir().unwrap();
        let messages = Messages::default();
        messages.add("c", folder.path()).unwrap();
        assert_eq!(messages.take("c"), None);
        std::fs::write(folder.path().join(NAME), "DONE").unwrap();
        assert_eq!(messages.take("c").as_deref(), Some("DONE"));
        assert_eq!(messages.take("c"), None);
        std::fs::write(folder.path().join(NAME), "x".repeat(5000)).unwrap();
        assert_eq!(messages.take("c").unwrap().len(), 4096);
        assert_eq!(messages.take("other"), None);
    }
}
