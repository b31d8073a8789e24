//! Which program a command names: one of the image's own, or one of the machine's that pods see where the image
//! has no root folder.

use std::path::{Path, PathBuf};

use super::images::{Image, unpacked};
use crate::shim::root;

/// Where programs are looked for, where nobody says otherwise.
pub(super) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The program that is called `name`, and whether it is `image`'s own one, which pods do not see: a name is that
/// program wherever the image may have it, or else one that pods see, of the image's root folder or of the
/// machine, of which some are `hidden`, in the folders of `path`. What is where a volume is `mounted` only the
/// container knows.
pub(super) fn find(
    name: &str,
    image: &Image,
    mounted: &[PathBuf],
    hidden: &[PathBuf],
    path: &str,
    working_dir: Option<&Path>,
) -> Option<(PathBuf, bool)> {
    let folder = working_dir.unwrap_or(Path::new("/"));
    let is_mounted = |path: &PathBuf| mounted.iter().any(|place| path.starts_with(place));
    if let Some(path) =
        Some(folder.join(name)).filter(|path| name.contains('/') && is_mounted(path))
    {
        return Some((path, false));
    }
    if let Some(own) = &image.program
        && Path::new(name).file_name().is_some_and(|file| Some(file) == own.file_name())
    {
        return Some((own.to_owned(), true));
    }
    let is_there = |path: &PathBuf| {
        !is_mounted(path)
            && match &image.root {
                Some(root) => unpacked::has_program(root, path),
                None => root::shows(path, hidden) && path.is_file(),
            }
    };
    if name.contains('/') {
        return Some(folder.join(name)).filter(is_there).map(|path| (path, false));
    }
    let mut all = path.split(':').map(|folder| Path::new(folder).join(name));
    all.find(is_there).map(|path| (path, false))
}

/// The machine's program of this name that pods see.
#[must_use]
pub fn on_this_machine(name: &str) -> Option<PathBuf> {
    find(name, &Image::default(), &[], &[], PATH, None).map(|(path, _)| path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_the_images_own_program_in_whatever_folder_or_one_of_the_machines() {
        let own = Path::new("/hidden/agnhost");
        let image = Image { program: Some(own.to_owned()), ..Image::default() };
        let find = |name: &str| {
            find(name, &image, &[], &["/usr/hidden".into()], PATH, Some(Path::new("/usr")))
        };
        assert_eq!(find("/agnhost"), Some((own.to_owned(), true)));
        assert_eq!(find("agnhost"), Some((own.to_owned(), true)));
        assert_eq!(find("/bin/sh"), Some(("/bin/sh".into(), false)));
        assert_eq!(find("bin/env"), Some(("/usr/bin/env".into(), false)));
        assert!(matches!(find("sh"), Some((path, false)) if path.ends_with("sh")));
        for unknown in ["no-such-program", "/etc/passwd", "/usr/../root/x", "", "/"] {
            assert_eq!(find(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn where_a_volume_is_mounted_is_what_is_in_it() {
        let mounted = ["/scripts".into(), "/usr/bin".into()];
        let find = |name: &str, folder: &str| {
            let image = Image { program: Some("/hidden/run".into()), ..Image::default() };
            find(name, &image, &mounted, &[], PATH, Some(Path::new(folder)))
        };
        let script = Some(("/scripts/run".into(), false));
        assert_eq!(find("/scripts/run", "/"), script);
        assert_eq!(find("./run", "/scripts").unwrap().0, Path::new("/scripts/run"));
        assert_eq!(find("run", "/scripts").unwrap().0, Path::new("/hidden/run"));
        assert_ne!(find("env", "/"), Some(("/usr/bin/env".into(), false)));
    }

    #[test]
    fn where_the_image_has_a_root_folder_its_programs_are_the_ones() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("opt")).unwrap();
        std::fs::copy("/bin/sh", root.path().join("opt/own")).unwrap();
        let image = Image { root: Some(root.path().to_owned()), ..Image::default() };
        let find = |name: &str| find(name, &image, &[], &[], "/bin:/opt", None);
        assert_eq!(find("own"), Some(("/opt/own".into(), false)));
        assert_eq!(find("/opt/own"), Some(("/opt/own".into(), false)));
        assert_eq!((find("sh"), find("/bin/sh")), (None, None), "the machine's are not seen");
    }
}
