//! Images of the lab: names for programs on this machine.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use nix::mount::MsFlags;

use crate::args::FurtherImage;
use crate::mounts::mount_in_memory;

/// The programs that containers can be made of.
#[derive(Clone, Debug, Default)]
pub struct Images(BTreeMap<String, Image>);

/// One program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// The program, which is the image's entrypoint.
    pub program: PathBuf,
    /// Who runs it unless the pod says otherwise, as an image's USER.
    pub user: u32,
}

/// The user of the workspace's own images.
const USER: u32 = 9999;

impl Images {
    /// The workspace's own: the programs beside this one, tagged with the version.
    #[must_use]
    pub fn of_workspace(folder: &Path) -> Self {
        let named = |name: &str| {
            let reference = format!("{name}:{}", env!("CARGO_PKG_VERSION"));
            (reference, Image { program: folder.join(name), user: USER })
        };
        Self(["hello-server", "hello-client"].map(named).into())
    }

    /// Adds further ones, and keeps a copy of each of their programs in memory, in a file system that
    /// it mounts on `folder`: an image stays what it is when its program is built anew. It is one of
    /// huge pages, where the kernel has them (`huge=` in its Documentation/admin-guide/mm/transhuge.rst):
    /// half of the time that a big program takes to start is the loading of its pages.
    pub fn pull(&mut self, further: &[FurtherImage], folder: &Path) -> anyhow::Result<()> {
        if further.is_empty() {
            return Ok(());
        }
        mount_in_memory(folder, MsFlags::empty(), "mode=755,huge=always")
            .or_else(|_| mount_in_memory(folder, MsFlags::empty(), "mode=755"))?;
        for (number, FurtherImage { reference, program }) in further.iter().enumerate() {
            let copy = copy(program, &folder.join(number.to_string()));
            let program = copy.with_context(|| format!("cannot copy {}", program.display()))?;
            self.0.insert(reference.clone(), Image { program, user: USER });
        }
        Ok(())
    }

    /// The image that `reference` names; a default registry and library are as good as none.
    #[must_use]
    pub fn find(&self, reference: &str) -> Option<&Image> {
        let short = reference.strip_prefix("docker.io/").unwrap_or(reference);
        self.0.get(short.strip_prefix("library/").unwrap_or(short))
    }

    /// The references that are known, for a message.
    #[must_use]
    pub fn known(&self) -> String {
        self.0.keys().cloned().collect::<Vec<_>>().join(", ")
    }
}

/// Copies a program, under its own name, into a folder that is to be.
fn copy(program: &Path, folder: &Path) -> std::io::Result<PathBuf> {
    fs::create_dir(folder)?;
    let copy = folder.join(program.file_name().unwrap_or_default());
    fs::copy(program, &copy)?;
    Ok(copy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_references_are_found() {
        let images = Images::of_workspace(Path::new("/bin"));
        let program = Path::new("/bin/hello-server");
        for known in ["hello-server:1.0.0", "docker.io/library/hello-server:1.0.0"] {
            assert_eq!(images.find(known).unwrap().program, program);
        }
        for unknown in
            ["hello-server", "hello-server:2", "nginx", "evil.example/hello-server:1.0.0"]
        {
            assert!(images.find(unknown).is_none(), "{unknown}");
        }
        assert_eq!(images.known(), "hello-client:1.0.0, hello-server:1.0.0");
    }
}
