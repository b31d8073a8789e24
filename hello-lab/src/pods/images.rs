//! Images of the lab: names for programs on this machine.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

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

    /// Adds a further one.
    pub fn add(&mut self, reference: &str, program: &Path) {
        self.0.insert(reference.to_owned(), Image { program: program.to_owned(), user: USER });
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
