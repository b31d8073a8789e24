//! The root folders of a pod's images, for its shim: each a mount of its own that is nowhere yet.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::CWD;
use rustix::mount::{OpenTreeFlags, open_tree};

use super::pod::{Running, containers};

/// Those of a pod.
#[derive(Default)]
pub(super) struct ImageRoots {
    /// The mounts.
    pub mounts: Vec<OwnedFd>,
    /// Which of them is whose: the number of each container's, by its name.
    pub of_containers: BTreeMap<String, usize>,
}

impl ImageRoots {
    /// Those of the containers that a pod starts with.
    pub(super) fn open(running: &Running) -> io::Result<Self> {
        let mut roots = Self::default();
        for container in containers(running.spec()) {
            let image = container.image.as_deref().unwrap_or_default();
            let image = running.surroundings.images.find(image);
            let Some(root) = image.and_then(|image| image.root.as_ref()) else { continue };
            // With all that is mounted in it: a part alone may not be shown to an ordinary user.
            let flags = OpenTreeFlags::OPEN_TREE_CLONE
                | OpenTreeFlags::OPEN_TREE_CLOEXEC
                | OpenTreeFlags::AT_RECURSIVE;
            let mount = open_tree(CWD, root, flags)?;
            roots.of_containers.insert(container.name.clone(), roots.mounts.len());
            roots.mounts.push(mount);
        }
        Ok(roots)
    }
}
