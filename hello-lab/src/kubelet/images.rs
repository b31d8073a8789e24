//! Images of the lab: names for programs on this machine, or for root folders. There is no registry: what an
//! image has is the machine's, one of this workspace's programs, or what a user gives it.

mod archive;
mod layers;
mod stand_ins;
pub(super) mod unpacked;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use nix::mount::MsFlags;

use crate::args::{Form, FurtherImage};
use crate::mounts::mount_in_memory;

/// What containers can be made of.
#[derive(Clone, Debug, Default)]
pub struct Images {
    by_reference: BTreeMap<String, Image>,
    by_repository: BTreeMap<&'static str, Image>,
}

/// What a container is made of (the image configuration of the Open Container Initiative).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// A program of the image's own, which pods do not see among the machine's: it is found by its name,
    /// in whatever folder.
    pub program: Option<PathBuf>,
    /// What is run, unless the container has a `command`.
    pub entrypoint: Vec<String>,
    /// Its arguments, unless the container has a `command` or `args`.
    pub cmd: Vec<String>,
    /// Who runs it unless the pod says otherwise, as an image's USER: 0 of one that says nobody.
    pub user: u32,
    /// How the image calls its user, if by a name.
    pub named_user: Option<String>,
    /// Its variables, which the container's own come after.
    pub env: Vec<(String, String)>,
    /// Where it is run, unless the container says otherwise.
    pub working_dir: Option<PathBuf>,
    /// A root folder of the image's own, which a container sees in the place of the machine's programs.
    pub root: Option<PathBuf>,
    /// What stands in for the image, where it is another's: what an event says.
    pub stand_in: Option<String>,
    /// Whether the lab itself answers as the cluster's DNS in a container's network, while it runs.
    pub is_dns: bool,
}

/// The user of the workspace's own images, and in root's lab of those that would be root's.
pub(super) const USER: u32 = 9999;

impl Image {
    /// A program as an image: its entrypoint is the program.
    fn of_program(program: PathBuf) -> Self {
        let name = program.file_name().unwrap_or_default().to_string_lossy();
        let entrypoint = vec![format!("/{name}")];
        Self { entrypoint, program: Some(program), user: USER, ..Self::default() }
    }
}

impl Images {
    /// The workspace's own: the programs beside this one, tagged with the version; and what stands in for
    /// images that people name, where `search` finds the machine's program of a name.
    #[must_use]
    pub fn of_workspace(folder: &Path, search: impl Fn(&str) -> Option<PathBuf>) -> Self {
        let named = |name: &str| {
            let reference = format!("{name}:{}", env!("CARGO_PKG_VERSION"));
            (reference, Image::of_program(folder.join(name)))
        };
        let by_reference = ["hello-server", "hello-client"].map(named).into();
        Self { by_reference, by_repository: stand_ins::all(folder, search) }
    }

    /// Adds further ones, and keeps a copy of each of their programs, and what is in their archives, in memory,
    /// in a file system that it mounts on `folder`: an image stays what it is when its program is built anew. A
    /// root folder alone is shown where it is. The file system is one of
    /// huge pages, where the kernel has them (`huge=` in its Documentation/admin-guide/mm/transhuge.rst):
    /// half of the time that a big program takes to start is the loading of its pages.
    pub fn pull(&mut self, further: &[FurtherImage], folder: &Path) -> anyhow::Result<()> {
        if further.is_empty() {
            return Ok(());
        }
        mount_in_memory(folder, MsFlags::empty(), "mode=755,huge=always")
            .or_else(|_| mount_in_memory(folder, MsFlags::empty(), "mode=755"))?;
        for (number, FurtherImage { reference, path, form }) in further.iter().enumerate() {
            let place = folder.join(number.to_string());
            let failed = || format!("--image {reference}={}", path.display());
            let image = match form {
                Form::Program => Image::of_program(copy(path, &place).with_context(failed)?),
                Form::Folder => unpacked::of_folder(path),
                Form::Archive => {
                    unpacked::of_archive(path, reference, &place).with_context(failed)?
                }
            };
            self.by_reference.insert(normal(reference).to_owned(), image);
        }
        Ok(())
    }

    /// The image that `reference` names: with its tag, or one that is known without; and else what
    /// stands in for one of its name, whatever registry it is of.
    #[must_use]
    pub fn find(&self, reference: &str) -> Option<&Image> {
        let reference = normal(reference);
        let untagged = without_tag(reference);
        let known = self.by_reference.get(reference).or_else(|| self.by_reference.get(untagged));
        known.or_else(|| {
            let name = untagged.rsplit('/').next().unwrap_or(untagged);
            // Of the workspace's own images there are no other versions, and no stand-ins.
            self.by_repository.get(name)
        })
    }

    /// The references that are known, for a message.
    #[must_use]
    pub fn known(&self) -> String {
        let own = self.by_reference.keys().map(String::as_str);
        own.chain(self.by_repository.keys().copied()).collect::<Vec<_>>().join(", ")
    }
}

/// A default registry and library are as good as none.
fn normal(reference: &str) -> &str {
    let short = reference.strip_prefix("docker.io/").unwrap_or(reference);
    short.strip_prefix("library/").unwrap_or(short)
}

/// A reference without tag and digest. The port of a registry is no tag.
fn without_tag(reference: &str) -> &str {
    let reference = reference.split('@').next().unwrap_or(reference);
    match reference.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => reference,
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

    fn images() -> Images {
        Images::of_workspace(Path::new("/bin"), |name| {
            matches!(name, "sh" | "curl").then(|| Path::new("/bin").join(name))
        })
    }

    #[test]
    fn only_known_references_are_found() {
        let images = images();
        let program = Path::new("/bin/hello-server");
        for known in ["hello-server:1.0.0", "docker.io/library/hello-server:1.0.0"] {
            assert_eq!(images.find(known).unwrap().program.as_deref(), Some(program));
        }
        for unknown in
            ["hello-server", "hello-server:2", "redis", "evil.example/hello-server:1.0.0"]
        {
            assert!(images.find(unknown).is_none(), "{unknown}");
        }
        assert!(images.known().starts_with("hello-client:1.0.0, hello-server:1.0.0, "));
    }

    #[test]
    fn images_that_people_name_have_stand_ins_whatever_their_registry_and_tag() {
        let images = images();
        for known in ["busybox", "busybox:1.28", "docker.io/library/busybox@sha256:ab", "alpine:3"]
        {
            assert_eq!(images.find(known).unwrap().cmd, ["sh"], "{known}");
        }
        for known in ["nginx", "localhost:5000/nginx:alpine", "public.ecr.aws/docker/library/nginx"]
        {
            let image = images.find(known).unwrap();
            assert_eq!(image.program.as_deref(), Some(Path::new("/bin/hello-server")), "{known}");
            assert!(image.stand_in.as_ref().unwrap().contains("hello-server"), "{known}");
        }
        assert!(
            Images::of_workspace(Path::new("/bin"), |_| None).find("curlimages/curl").is_none()
        );
    }

    #[test]
    fn what_a_user_adds_comes_first_and_without_a_tag_stands_for_every_tag() {
        let mut images = images();
        let own = Image::of_program("/opt/nginx".into());
        images.by_reference.insert("nginx".to_owned(), own.clone());
        assert_eq!(images.find("nginx:1.27"), Some(&own));
        assert_eq!(own.entrypoint, ["/nginx"]);
    }
}
