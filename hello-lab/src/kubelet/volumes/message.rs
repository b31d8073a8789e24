//! The file in which a container leaves a message for when it has ended (`terminationMessagePath`): one of a
//! file system in memory of its own, which is mounted where the container says. One that says nothing of it has
//! none.

use std::collections::BTreeMap;
use std::fs::{File, Permissions};
use std::io::{self, Read, Seek};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use k8s_openapi::api::core::v1::{Container, PodSpec};

use super::super::pod::containers;

/// The file's name in its file system.
pub(super) const NAME: &str = "message";

/// Where it is where a container does not say so (`TerminationMessagePathDefault`).
const DEFAULT_PATH: &str = "/dev/termination-log";

/// That much is read of it (`MaxContainerTerminationMessageLength` of pkg/kubelet/container).
const LONGEST: u64 = 4096;

/// That much can be written in it.
pub(super) const SIZE: &str = "64k";

/// The containers that have such a file, in the order of their volumes, and where each has it.
pub(super) fn wanted(spec: &PodSpec) -> impl Iterator<Item = (&str, &str)> {
    containers(spec).filter_map(|container| Some((container.name.as_str(), place(container)?)))
}

fn place(container: &Container) -> Option<&str> {
    let path = container.termination_message_path.as_deref().filter(|path| !path.is_empty());
    path.or_else(|| container.termination_message_policy.as_ref().map(|_| DEFAULT_PATH))
}

/// The files of a pod's containers, by their names.
#[derive(Default)]
pub(in crate::kubelet) struct Messages(Mutex<BTreeMap<String, File>>);

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
    pub(in crate::kubelet) fn take(&self, container: &str) -> Option<String> {
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
    use serde_json::json;

    use super::*;

    #[test]
    fn a_container_that_says_something_of_its_message_has_a_file_for_it() {
        let spec = json!({"containers": [
            {"name": "a"},
            {"name": "b", "terminationMessagePath": "/tmp/m"},
            {"name": "c", "terminationMessagePolicy": "File"},
        ]});
        let spec = serde_json::from_value(spec).unwrap();
        let wanted: Vec<_> = wanted(&spec).collect();
        assert_eq!(wanted, [("b", "/tmp/m"), ("c", DEFAULT_PATH)]);
    }

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
