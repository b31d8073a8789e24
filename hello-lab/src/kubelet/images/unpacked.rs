//! Images with a root folder of their own: unpacked from an archive, or a folder of this machine as it is.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::archive::{self, ArchiveError, RunConfig};
use super::{Image, USER};
use crate::mounts::{file_inside, folder, inside};

/// The most of an /etc/passwd that is read.
const LONGEST: u64 = 1 << 20;

/// Why an image with a root folder cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// Its archive is none, or cannot be unpacked.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The lab has no room for it.
    #[error("cannot make a folder for it")]
    Folder(#[source] io::Error),
    /// It is run by somebody whom it does not know.
    #[error("its user {0:?} is not in its /etc/passwd")]
    User(String),
}

/// The folder `path` as an image: what a container runs is for its `command` to say, or else its shell.
pub(super) fn of_folder(path: &Path) -> Image {
    Image {
        cmd: vec!["sh".to_owned()],
        user: USER,
        root: Some(path.to_owned()),
        ..Image::default()
    }
}

/// The image called `reference` of an archive, unpacked into the folder `place`, which is to be made.
pub(super) fn of_archive(path: &Path, reference: &str, place: &Path) -> Result<Image, RootError> {
    let (root, scratch) = (place.join("root"), place.join("archive"));
    fs::create_dir_all(&root).map_err(RootError::Folder)?;
    // Whoever runs it has to see it.
    fs::set_permissions(&root, fs::Permissions::from_mode(0o755)).map_err(RootError::Folder)?;
    let unpacked = archive::unpack(path, reference, &root, &scratch);
    match fs::remove_file(scratch) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(RootError::Folder(error));
        }
        _ => {}
    }
    image(unpacked?, root)
}

fn image(config: RunConfig, root: PathBuf) -> Result<Image, RootError> {
    let asked = config.user.unwrap_or_default();
    // Its group is that of the user here, as with every image.
    let name = asked.split(':').next().unwrap_or_default();
    let (user, named_user) = match name.parse() {
        Ok(number) => (number, None),
        Err(_) if name.is_empty() => (0, None),
        Err(_) => {
            let user = user_of(&root, name).ok_or_else(|| RootError::User(name.to_owned()))?;
            (user, Some(name.to_owned()))
        }
    };
    let pair = |text: String| {
        text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()))
    };
    Ok(Image {
        entrypoint: config.entrypoint.unwrap_or_default(),
        cmd: config.cmd.unwrap_or_default(),
        user,
        named_user,
        env: config.env.unwrap_or_default().into_iter().filter_map(pair).collect(),
        working_dir: config.working_dir.filter(|folder| !folder.is_empty()).map(PathBuf::from),
        root: Some(root),
        ..Image::default()
    })
}

/// The number of a user in the passwd(5) of a root folder.
fn user_of(root: &Path, name: &str) -> Option<u32> {
    let file = file_inside(root, Path::new("etc/passwd")).ok()?;
    let mut text = String::new();
    file.take(LONGEST).read_to_string(&mut text).ok()?;
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok())?
    })
}

/// Whether there is a program at `path` of the root folder, to which its links lead too.
pub(in crate::kubelet) fn has_program(root: &Path, path: &Path) -> bool {
    let found = || -> io::Result<OwnedFd> { Ok(inside(folder(root)?, path)?) };
    let Ok(file) = found().map(File::from) else { return false };
    file.metadata().is_ok_and(|there| there.is_file() && there.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn root() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for name in ["etc", "bin"] {
            fs::create_dir(root.path().join(name)).unwrap();
        }
        let passwd = "root:x:0:0:root:/:/bin/sh\nbroken\nweb:x:101:102::/:/bin/false\n";
        fs::write(root.path().join("etc/passwd"), passwd).unwrap();
        root
    }

    #[test]
    fn an_image_is_run_by_whom_its_user_is_among_its_own() {
        let root = root();
        let user = |user: &str| {
            let config = RunConfig { user: Some(user.to_owned()), ..RunConfig::default() };
            image(config, root.path().to_owned()).map(|image| (image.user, image.named_user))
        };
        assert_eq!(user("").unwrap(), (0, None));
        assert_eq!(user("7:8").unwrap(), (7, None));
        assert_eq!(user("web:web").unwrap(), (101, Some("web".to_owned())));
        assert_eq!(user("root").unwrap(), (0, Some("root".to_owned())));
        assert_eq!(
            user("who").unwrap_err().to_string(),
            "its user \"who\" is not in its /etc/passwd"
        );
    }

    #[test]
    fn a_program_is_what_can_be_run_inside_the_root_folder_wherever_links_lead() {
        let root = root();
        let bin = root.path().join("bin");
        fs::write(bin.join("busybox"), "").unwrap();
        fs::set_permissions(bin.join("busybox"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(bin.join("text"), "").unwrap();
        symlink("/bin/busybox", bin.join("sh")).unwrap();
        symlink("../../../bin/busybox", bin.join("up")).unwrap();
        symlink("/usr/bin/env", bin.join("env")).unwrap();
        symlink("loop", bin.join("loop")).unwrap();
        for (path, expected) in [
            ("/bin/busybox", true),
            ("/bin/sh", true),
            ("/bin/up", true),
            ("/bin/text", false),
            ("/bin/env", false),
            ("/bin/loop", false),
            ("/bin", false),
            ("/no", false),
        ] {
            assert_eq!(has_program(root.path(), Path::new(path)), expected, "{path}");
        }
    }

    #[test]
    fn what_an_image_says_of_how_it_is_run_is_kept() {
        let config: RunConfig = serde_json::from_str(
            r#"{"Env": ["PATH=/a:/b", "EMPTY=", "odd"], "Entrypoint": ["/e"], "Cmd": null, "WorkingDir": "/w"}"#,
        )
        .unwrap();
        let image = image(config, "/r".into()).unwrap();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(image.env, [pair("PATH", "/a:/b"), pair("EMPTY", "")]);
        assert_eq!((image.entrypoint, image.cmd), (vec!["/e".to_owned()], Vec::new()));
        assert_eq!(image.working_dir, Some("/w".into()));
    }
}
