//! The root folder of a container whose image has one: the image's files, read-only, and in their place what a
//! container engine puts there: devices, /proc, and the pod's own files in /etc.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::Context;

use super::root::{self, READ_ONLY};

/// What is the pod's own, whatever the image has there.
const POD_OWN: [&str; 3] = ["dev", "proc", "sys"];

/// Has the files of the image at `image` seen in the folder `place`, which is empty, and the pod's `own` in its
/// etc. `device` is the file system of the pod's own root folder, which is this process's.
pub(super) fn show(
    image: &Path,
    own: &[(String, String)],
    place: &Path,
    device: u64,
) -> anyhow::Result<()> {
    root::make_read_only(image).context("cannot make the image's files read-only")?;
    for entry in fs::read_dir(image).context("cannot read the image's root folder")? {
        let name = entry?.file_name();
        if name != "etc" && POD_OWN.iter().all(|own| name != *own) {
            root::show(&image.join(&name), &place.join(&name))?;
        }
    }
    for name in POD_OWN {
        let from = Path::new("/").join(name);
        let there = fs::symlink_metadata(&from)
            .with_context(|| format!("cannot read {}", from.display()))?;
        if there.dev() == device {
            root::folder(&place.join(name), there.mode() & 0o7777)?;
            root::copy(&from, &place.join(name), device, &[])?;
        } else {
            root::show(&from, &place.join(name))?;
        }
    }
    let (etc, of_image) = (place.join("etc"), image.join("etc"));
    root::folder(&etc, 0o755)?;
    let is_own = |name: &std::ffi::OsStr| own.iter().any(|(own, _)| name == own.as_str());
    // A link would lead to whatever is there in the pod's own root folder.
    if fs::symlink_metadata(&of_image).is_ok_and(|there| there.is_dir()) {
        for entry in fs::read_dir(&of_image).context("cannot read the image's /etc")? {
            let name = entry?.file_name();
            if !is_own(&name) {
                root::show(&of_image.join(&name), &etc.join(&name))?;
            }
        }
    }
    for (name, _) in own {
        let place = etc.join(name);
        root::show(&Path::new("/etc").join(name), &place)?;
        // Its file system is read-only only from `root::seal` on.
        root::remount(&place, READ_ONLY).context("cannot make a file read-only")?;
    }
    Ok(())
}
