//! The layers of an image, unpacked one on the other into a folder, with what later ones take away
//! (layer.md of the image specification of the Open Container Initiative).
//!
//! Nothing that a layer says leads out of the folder: each path is found as if the folder were the root.
//! All becomes the lab's own user's, since nobody else may give files away, and no file gives its user's
//! identity or capabilities to whoever runs it. Devices are left out: a pod has those that every pod has.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io::{self, BufReader, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use flate2::bufread::MultiGzDecoder;
use rustix::fs::{CWD, FileType, Mode};
use tar::{Archive, Entry, EntryType};

use crate::args::GZIP;
use crate::mounts::{by_number, folder, inside};

/// Before the name of what a layer takes away, and the whole name of the mark that takes away all that is
/// below it in a folder.
const TAKEN_AWAY: &[u8] = b".wh.";
const ALL_TAKEN_AWAY: &[u8] = b".wh..wh..opq";

/// Of a file's mode no more than this is kept: no other's identity for whoever runs it.
const MODE: u32 = 0o777;
/// Of a folder's also that only owners may remove what is in it.
const FOLDER_MODE: u32 = 0o1777;

/// Why a layer cannot be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// It is packed in a way that is not read here.
    #[error(
        "a layer is compressed with zstd, which hello-lab does not read; write the archive with `docker save`, \
         or `skopeo copy --dest-compress-format gzip`"
    )]
    Zstd,
    /// It cannot be read.
    #[error("a layer cannot be read")]
    Read(#[source] io::Error),
    /// Something in it cannot be made.
    #[error("cannot unpack {}", path.display())]
    Unpack {
        /// What.
        path: PathBuf,
        /// Why not.
        #[source]
        cause: io::Error,
    },
}

/// Unpacks a layer, compressed by gzip or not, over what is in the folder `root`.
pub(super) fn unpack(layer: impl Read, root: &Path) -> Result<(), LayerError> {
    let mut layer = BufReader::new(layer);
    let head = io::BufRead::fill_buf(&mut layer).map_err(LayerError::Read)?;
    if head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        return Err(LayerError::Zstd);
    }
    let root = Root { root: folder(root).map_err(LayerError::Read)?, new: HashSet::new() };
    if head.starts_with(&GZIP) {
        root.unpack(MultiGzDecoder::new(layer))
    } else {
        root.unpack(layer)
    }
}

/// The folder that becomes an image's root folder.
struct Root {
    root: OwnedFd,
    /// What is of this layer: nothing of it is taken away by the layer's own marks.
    new: HashSet<PathBuf>,
}

impl Root {
    fn unpack(mut self, layer: impl Read) -> Result<(), LayerError> {
        let mut archive = Archive::new(layer);
        // Folders that nobody may write to get their mode at the end.
        let mut modes = Vec::new();
        for entry in archive.entries().map_err(LayerError::Read)? {
            let mut entry = entry.map_err(LayerError::Read)?;
            let path = entry.path().map_err(LayerError::Read)?.into_owned();
            let failed = |cause| LayerError::Unpack { path: path.clone(), cause };
            let Some(place) = within(&path).map_err(failed)? else { continue };
            if let Some(mode) = self.add(&mut entry, &place).map_err(failed)? {
                modes.push((place, mode));
            }
        }
        for (place, mode) in modes {
            // A later entry of the layer may have replaced it.
            let failed = |cause| LayerError::Unpack { path: place.clone(), cause };
            let Ok(made) = inside(&self.root, &place) else { continue };
            fs::set_permissions(by_number(&made), Permissions::from_mode(mode)).map_err(failed)?;
        }
        Ok(())
    }

    /// Adds one entry; of a folder the mode that it is to have.
    fn add(&mut self, entry: &mut Entry<'_, impl Read>, place: &Path) -> io::Result<Option<u32>> {
        let name = place.file_name().unwrap_or_default();
        let parent_path = place.parent().unwrap_or(Path::new(""));
        let parent = self.parent(parent_path)?;
        if name.as_bytes() == ALL_TAKEN_AWAY {
            for child in fs::read_dir(by_number(&parent))? {
                let child = child?.file_name();
                if !self.new.contains(&parent_path.join(&child)) {
                    remove(&parent, &child)?;
                }
            }
            return Ok(None);
        }
        if let Some(name) = name.as_bytes().strip_prefix(TAKEN_AWAY) {
            let name = OsStr::from_bytes(name);
            // `.wh.` alone, and `.wh...`, name nothing that could be taken away.
            if Path::new(name).file_name() == Some(name)
                && !self.new.contains(&parent_path.join(name))
            {
                remove(&parent, name)?;
            }
            return Ok(None);
        }
        let mode = entry.header().mode()?;
        let new = by_number(&parent).join(name);
        let kind = entry.header().entry_type();
        let is_folder = kind == EntryType::Directory;
        if !(is_folder && fs::symlink_metadata(&new).is_ok_and(|before| before.is_dir())) {
            remove(&parent, name)?;
        }
        match kind {
            EntryType::Directory => {
                if !new.is_dir() {
                    fs::create_dir(&new)?;
                }
            }
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                // The umask takes away no more than it should.
                let mut file =
                    File::options().write(true).create_new(true).mode(0o600).open(&new)?;
                io::copy(entry, &mut file)?;
                file.set_permissions(Permissions::from_mode(mode & MODE))?;
            }
            EntryType::Symlink => symlink(link(entry)?, &new)?,
            EntryType::Link => {
                let Some(target) = within(&link(entry)?)? else {
                    return Err(io::Error::other("it is a link to the root folder"));
                };
                let folder = self.parent(target.parent().unwrap_or(Path::new("")))?;
                let name = target.file_name().unwrap_or_default();
                fs::hard_link(by_number(&folder).join(name), &new)?;
            }
            EntryType::Fifo => {
                let mode = Mode::from_raw_mode(mode & MODE);
                rustix::fs::mknodat(CWD, &new, FileType::Fifo, mode, 0)?;
            }
            // Devices, and what says something of the archive itself.
            _ => return Ok(None),
        }
        self.new.insert(place.to_owned());
        Ok(is_folder.then_some(mode & FOLDER_MODE))
    }

    /// The folder at `path`; what is missing of it is made, as archives may name files alone.
    fn parent(&self, path: &Path) -> io::Result<OwnedFd> {
        let mut whole = PathBuf::new();
        let mut at = inside(&self.root, Path::new("."))?;
        for name in path {
            whole.push(name);
            at = match inside(&self.root, &whole) {
                Err(rustix::io::Errno::NOENT) => {
                    fs::create_dir(by_number(&at).join(name))?;
                    inside(&self.root, &whole)?
                }
                found => found?,
            };
        }
        Ok(at)
    }
}

fn link(entry: &Entry<'_, impl Read>) -> io::Result<PathBuf> {
    let name = entry.link_name()?;
    Ok(name.ok_or_else(|| io::Error::other("it is a link to nothing"))?.into_owned())
}

/// A path of an archive, from its root folder on; none for that folder itself.
fn within(path: &Path) -> io::Result<Option<PathBuf>> {
    let mut place = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => place.push(name),
            Component::ParentDir => return Err(io::Error::other("it leads over `..`")),
            _ => {}
        }
    }
    Ok(Some(place).filter(|place| *place != Path::new("")))
}

/// Removes what is there, whatever it is; no link is followed.
fn remove(parent: &OwnedFd, name: &OsStr) -> io::Result<()> {
    let place = by_number(parent).join(name);
    match fs::symlink_metadata(&place) {
        Ok(there) if there.is_dir() => fs::remove_dir_all(place),
        Ok(_) => fs::remove_file(place),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use tar::{Builder, Header};

    use super::*;

    /// An entry: its path, what it is, its mode, and its content or what it links to.
    type Made<'a> = (&'a str, EntryType, u32, &'a str);

    const FILE: EntryType = EntryType::Regular;
    const DIR: EntryType = EntryType::Directory;

    fn layer(entries: &[Made<'_>]) -> Vec<u8> {
        let mut builder = Builder::new(Vec::new());
        for (path, kind, mode, content) in entries {
            let mut header = Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_mode(*mode);
            let name = &mut header.as_old_mut().name;
            name[..path.len()].copy_from_slice(path.as_bytes());
            let content = if *kind == FILE {
                content.as_bytes()
            } else {
                if !content.is_empty() {
                    header.set_link_name_literal(content).unwrap();
                }
                b""
            };
            header.set_size(content.len() as u64);
            header.set_cksum();
            builder.append(&header, content).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn read(root: &Path, name: &str) -> String {
        fs::read_to_string(root.join(name)).unwrap()
    }

    #[test]
    fn later_layers_add_replace_and_take_away() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let first = layer(&[
            ("./etc/", DIR, 0o755, ""),
            ("etc/a", FILE, 0o4755, "first"),
            ("etc/b", FILE, 0o644, "b"),
            ("opt/deep/c", FILE, 0o600, "c"),
            ("gone/d", FILE, 0o644, "d"),
            ("link", EntryType::Symlink, 0o777, "etc/a"),
            ("hard", EntryType::Link, 0o644, "etc/b"),
        ]);
        unpack(&*first, root).unwrap();
        assert_eq!((&*read(root, "link"), &*read(root, "hard")), ("first", "b"));
        let mode = fs::metadata(root.join("etc/a")).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o755, "nobody's identity is to be had");
        let second = layer(&[
            ("etc/a", FILE, 0o644, "second"),
            ("etc/.wh.b", FILE, 0, ""),
            ("opt/new", FILE, 0o644, "new"),
            ("opt/.wh..wh..opq", FILE, 0, ""),
            ("gone", FILE, 0o644, "a file now"),
        ]);
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(&second).unwrap();
        unpack(&*packed.finish().unwrap(), root).unwrap();
        assert_eq!((&*read(root, "etc/a"), &*read(root, "gone")), ("second", "a file now"));
        assert!(!root.join("etc/b").exists() && !root.join("opt/deep").exists());
        assert_eq!(read(root, "opt/new"), "new");
        assert_eq!(read(root, "hard"), "b", "the other name stays");
    }

    #[test]
    fn nothing_leads_out_of_the_folder() {
        let outer = tempfile::tempdir().unwrap();
        let root = outer.path().join("root");
        let outside = outer.path().join("outside");
        fs::create_dir(&root).unwrap();
        fs::create_dir(&outside).unwrap();
        let absolute = outside.to_str().unwrap();
        for entries in [
            vec![("../outside/x", FILE, 0o644, "x")],
            vec![("a/../../outside/x", FILE, 0o644, "x")],
            vec![("h", EntryType::Link, 0o644, "../outside/x")],
        ] {
            assert!(unpack(&*layer(&entries), &root).is_err(), "{entries:?}");
        }
        // Links lead where they would if the folder were the root.
        for (at, to) in [("up", "../outside"), ("away", absolute)] {
            let entries =
                [(at, EntryType::Symlink, 0o777, to), (&*format!("{at}/x"), FILE, 0o644, "x")];
            unpack(&*layer(&entries), &root).map_or_else(drop, drop);
            let mark = format!("{at}/.wh..wh..opq");
            unpack(&*layer(&[(&*mark, FILE, 0, "")]), &root).map_or_else(drop, drop);
        }
        fs::write(outside.join("kept"), "").unwrap();
        let marks = [("up/.wh..wh..opq", FILE, 0, ""), ("away/.wh.kept", FILE, 0, "")];
        for mark in marks {
            unpack(&*layer(&[mark]), &root).map_or_else(drop, drop);
        }
        let left: Vec<_> =
            fs::read_dir(&outside).unwrap().map(|one| one.unwrap().file_name()).collect();
        assert_eq!(left, ["kept"]);
    }

    #[test]
    fn a_folder_that_nobody_may_write_to_has_files_and_its_mode() {
        let folder = tempfile::tempdir().unwrap();
        let entries = [("a/", DIR, 0o555, ""), ("a/b", FILE, 0o444, "b")];
        unpack(&*layer(&entries), folder.path()).unwrap();
        let mode = fs::metadata(folder.path().join("a")).unwrap().permissions().mode();
        assert_eq!((mode & 0o7777, &*read(folder.path(), "a/b")), (0o555, "b"));
        unpack(&*layer(&[("a/", DIR, 0o755, "")]), folder.path()).unwrap();
    }

    #[test]
    fn what_is_no_layer_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let zstd = [0x28, 0xb5, 0x2f, 0xfd, 0];
        assert!(matches!(unpack(&zstd[..], folder.path()), Err(LayerError::Zstd)));
        let whole = layer(&[("a", FILE, 0o644, "content")]);
        for bad in
            [&b"no archive at all, and long enough to be one, if it were one"[..], &whole[..515]]
        {
            assert!(unpack(bad, folder.path()).is_err());
        }
    }
}
