//! The files that inputs name: each once, whichever way it is reached, and none without end.

use std::collections::HashSet;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// The largest input, in bytes: some 200,000 pods as `kubectl get -o yaml` writes them.
const LARGEST: u64 = 1 << 30;

/// The most that is read of a device, in bytes: more than anybody types at a terminal.
const LARGEST_OF_A_DEVICE: u64 = 1 << 20;

/// Why a file is not read.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileError {
    /// It cannot be.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It has no end, or too far away.
    #[error("more than {0} bytes, which is too large for manifests")]
    TooLarge(u64),
    /// It was found in a folder, where it may hang who opens it.
    #[error("in a folder only regular files are read; this is {0}")]
    NotRegular(&'static str),
}

/// Finds files, each once for each namespace: a folder may hold a link to its own parent.
#[derive(Default)]
pub(super) struct Files {
    /// Device and number of what was found, and for which namespace.
    seen: HashSet<(u64, u64, String)>,
}

impl Files {
    /// Tells `found` of the content of the file at `path`, or of the YAML and JSON files of the folder
    /// there and of those in it, in the order of their names.
    pub(super) fn read(
        &mut self,
        path: &Path,
        namespace: &str,
        found: &mut impl FnMut(&Path, Result<String, FileError>),
    ) {
        match std::fs::metadata(path) {
            Err(error) => found(path, Err(error.into())),
            Ok(metadata) => self.visit(path, &metadata, namespace, found),
        }
    }

    fn visit(
        &mut self,
        path: &Path,
        metadata: &Metadata,
        namespace: &str,
        found: &mut impl FnMut(&Path, Result<String, FileError>),
    ) {
        if !self.seen.insert((metadata.dev(), metadata.ino(), namespace.to_owned())) {
            return;
        }
        if metadata.is_dir() {
            self.folder(path, namespace, found);
        } else {
            found(path, text(path, metadata));
        }
    }

    fn folder(
        &mut self,
        folder: &Path,
        namespace: &str,
        found: &mut impl FnMut(&Path, Result<String, FileError>),
    ) {
        let entries = match paths(folder) {
            Ok(paths) => paths,
            Err(error) => return found(folder, Err(error.into())),
        };
        for path in entries {
            let ends_like_one = |path: &Path| {
                path.extension()
                    .is_some_and(|end| ["yaml", "yml", "json"].iter().any(|one| end == *one))
            };
            match std::fs::metadata(&path) {
                Ok(metadata) if metadata.is_dir() => {
                    self.visit(&path, &metadata, namespace, found);
                }
                _ if !ends_like_one(&path) => {}
                Ok(metadata) if metadata.is_file() => {
                    self.visit(&path, &metadata, namespace, found);
                }
                Ok(metadata) => found(&path, Err(FileError::NotRegular(what(&metadata)))),
                Err(error) => found(&path, Err(error.into())),
            }
        }
    }
}

fn paths(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder)?;
    let mut paths =
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

/// The content of what somebody named: also a pipe, as a shell's `<(command)` is.
fn text(path: &Path, metadata: &Metadata) -> Result<String, FileError> {
    let device = metadata.file_type().is_char_device() || metadata.file_type().is_block_device();
    let largest = if device { LARGEST_OF_A_DEVICE } else { LARGEST };
    if metadata.len() > largest {
        return Err(FileError::TooLarge(largest));
    }
    bounded(File::open(path)?, largest)
}

/// What `stream` holds, as with a file.
pub(super) fn stream(stream: impl Read) -> Result<String, FileError> {
    bounded(stream, LARGEST)
}

fn bounded(stream: impl Read, largest: u64) -> Result<String, FileError> {
    let mut text = String::new();
    let mut bounded = stream.take(largest + 1);
    let read = bounded.read_to_string(&mut text);
    // A character that is cut at the bound is no fault of the text's.
    if bounded.limit() == 0 {
        return Err(FileError::TooLarge(largest));
    }
    read?;
    Ok(text)
}

fn what(metadata: &Metadata) -> &'static str {
    let kind = metadata.file_type();
    if kind.is_fifo() {
        "a FIFO"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::*;

    /// What is found in `path`: the names of files, or why not.
    fn found(files: &mut Files, path: &Path) -> Vec<String> {
        let mut all = Vec::new();
        files.read(path, "default", &mut |path, text| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            all.push(text.map_or_else(|error| format!("{name}: {error}"), |_| name.to_string()));
        });
        all
    }

    #[test]
    fn a_file_is_read_once_whichever_way_it_is_reached() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("inner")).unwrap();
        fs::write(at("inner/b.yaml"), "").unwrap();
        fs::write(at("a.json"), "").unwrap();
        fs::write(at("no-manifest.txt"), "").unwrap();
        fs::hard_link(at("a.json"), at("c.yml")).unwrap();
        symlink("..", at("inner/up")).unwrap();
        symlink("..", at("inner/up-too")).unwrap();
        symlink("inner/b.yaml", at("d.yaml")).unwrap();
        let mut files = Files::default();
        assert_eq!(found(&mut files, folder.path()), ["a.json", "d.yaml"]);
        assert_eq!(found(&mut files, &at("inner")), [""; 0]);
        let mut count = 0;
        files.read(folder.path(), "other", &mut |_, _| count += 1);
        assert_eq!(count, 2, "in another namespace they are other objects");
    }

    #[test]
    fn in_a_folder_only_regular_files_are_opened_and_the_rest_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        nix::unistd::mkfifo(&at("a.yaml"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let _socket = UnixListener::bind(at("b.yaml")).unwrap();
        symlink("/dev/zero", at("c.yaml")).unwrap();
        symlink("nowhere", at("d.yaml")).unwrap();
        nix::unistd::mkfifo(&at("e"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(
            found(&mut Files::default(), folder.path()),
            [
                "a.yaml: in a folder only regular files are read; this is a FIFO",
                "b.yaml: in a folder only regular files are read; this is a socket",
                "c.yaml: in a folder only regular files are read; this is a device",
                "d.yaml: No such file or directory (os error 2)",
            ]
        );
    }

    #[test]
    fn what_has_no_end_is_too_large() {
        let of = |path: &str| found(&mut Files::default(), Path::new(path));
        assert_eq!(
            of("/dev/zero"),
            ["zero: more than 1048576 bytes, which is too large for manifests"]
        );
        assert_eq!(of("/dev/null"), ["null"]);
        let folder = tempfile::tempdir().unwrap();
        let sparse = folder.path().join("sparse.yaml");
        File::create(&sparse).unwrap().set_len(LARGEST + 1).unwrap();
        let [said] = found(&mut Files::default(), &sparse).try_into().unwrap();
        assert!(said.contains("too large"), "{said}");
        assert!(matches!(bounded(&b"abc"[..], 2), Err(FileError::TooLarge(2))));
        assert_eq!(bounded(&b"ab"[..], 2).unwrap(), "ab");
    }
}
