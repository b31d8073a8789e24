//! Files that change all at once, as a kubelet writes them (`pkg/volume/util/atomic_writer.go`): they are in a
//! folder with a name of its own, `..data` is a link to it, and each name is a link into `..data`. Who reads
//! sees all of the old or all of the new.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, chown, symlink};
use std::path::Path;

use jiff::Timestamp;

use super::content::Files;

const DATA: &str = "..data";
const NEW_DATA: &str = "..data_tmp";

/// Puts `files` in the place of those in `folder`, which nobody else writes to. They become `owner`'s, where
/// there is one.
pub(super) fn write(folder: &Path, files: &Files, owner: Option<(u32, u32)>) -> io::Result<()> {
    let old = match fs::read_link(folder.join(DATA)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        old => Some(old?),
    };
    let time = Timestamp::now().strftime("%Y_%m_%d_%H_%M_%S");
    let name = format!("..{time}.{:010}", rand::random::<u32>());
    let new = folder.join(&name);
    let written = fill(&new, files, owner).and_then(|()| {
        let link = folder.join(NEW_DATA);
        match fs::remove_file(&link) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        symlink(&name, &link)?;
        fs::rename(&link, folder.join(DATA))
    });
    if let Err(error) = written {
        let _ = fs::remove_dir_all(&new);
        return Err(error);
    }
    let names: BTreeSet<&str> = files.keys().filter_map(|path| path.split('/').next()).collect();
    for name in &names {
        match symlink(Path::new(DATA).join(name), folder.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let is_ours =
            name.to_str().is_some_and(|name| name.starts_with("..") || names.contains(name));
        if !is_ours && entry.file_type()?.is_symlink() {
            fs::remove_file(entry.path())?;
        }
    }
    old.map_or(Ok(()), |old| fs::remove_dir_all(folder.join(old)))
}

/// Makes the folder `place` with `files` in it.
fn fill(place: &Path, files: &Files, owner: Option<(u32, u32)>) -> io::Result<()> {
    make(place, owner)?;
    for (path, file) in files {
        let path = Path::new(path);
        let mut parent = place.to_owned();
        for part in path.parent().into_iter().flat_map(Path::iter) {
            parent.push(part);
            match make(&parent, owner) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
        }
        let place = place.join(path);
        // Nobody else reads it before it has its mode.
        let mut new = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&place)?;
        new.write_all(&file.content)?;
        chown_to(&place, owner)?;
        new.set_permissions(Permissions::from_mode(file.mode))?;
    }
    Ok(())
}

fn make(folder: &Path, owner: Option<(u32, u32)>) -> io::Result<()> {
    DirBuilder::new().mode(0o755).create(folder)?;
    // Whatever the umask.
    fs::set_permissions(folder, Permissions::from_mode(0o755))?;
    chown_to(folder, owner)
}

fn chown_to(place: &Path, owner: Option<(u32, u32)>) -> io::Result<()> {
    owner.map_or(Ok(()), |(user, group)| chown(place, Some(user), Some(group)))
}

#[cfg(test)]
mod tests {
    use super::super::content::File;
    use super::*;

    fn files(list: &[(&str, &str, u32)]) -> Files {
        let file = |content: &str, mode| File { content: content.into(), mode };
        list.iter()
            .map(|(path, content, mode)| ((*path).to_owned(), file(content, *mode)))
            .collect()
    }

    fn names(folder: &Path) -> BTreeSet<String> {
        let names = fs::read_dir(folder).unwrap();
        names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn files_are_links_by_way_of_data_and_change_together() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let read = |path: &str| fs::read_to_string(folder.join(path)).unwrap();
        write(folder, &files(&[("a", "1", 0o644), ("d/e", "2", 0o400), ("gone", "", 0o644)]), None)
            .unwrap();
        assert_eq!((read("a"), read("d/e")), ("1".into(), "2".into()));
        assert_eq!(fs::read_link(folder.join("a")).unwrap(), Path::new("..data/a"));
        let mode = |path: &str| fs::metadata(folder.join(path)).unwrap().permissions().mode();
        assert_eq!((mode("a") & 0o7777, mode("d/e") & 0o7777), (0o644, 0o400));
        let old = fs::read_link(folder.join(DATA)).unwrap();
        // Who has it open goes on reading the old.
        let held = folder.join(&old);
        write(folder, &files(&[("a", "3", 0o755), ("new", "4", 0o644)]), None).unwrap();
        assert_eq!((read("a"), read("new"), mode("a") & 0o7777), ("3".into(), "4".into(), 0o755));
        assert!(!held.exists());
        let new = fs::read_link(folder.join(DATA)).unwrap().into_os_string().into_string().unwrap();
        let expected = ["a", "new", DATA, &new].map(str::to_owned);
        assert_eq!(names(folder), BTreeSet::from(expected));
        write(folder, &Files::new(), None).unwrap();
        assert_eq!(names(folder).len(), 2, "the folder and the link to it");
    }

    #[test]
    fn what_cannot_be_written_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        write(folder, &files(&[("a", "1", 0o644)]), None).unwrap();
        let before = names(folder);
        let both = files(&[("a", "2", 0o644), ("a/b", "3", 0o644)]);
        assert!(write(folder, &both, None).is_err());
        assert_eq!(names(folder), before);
        assert_eq!(fs::read_to_string(folder.join("a")).unwrap(), "1");
    }

    #[test]
    fn a_writer_that_was_interrupted_is_no_hindrance() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        symlink("nowhere", folder.join(NEW_DATA)).unwrap();
        write(folder, &files(&[("a", "1", 0o644)]), None).unwrap();
        assert_eq!(fs::read_to_string(folder.join("a")).unwrap(), "1");
    }
}
