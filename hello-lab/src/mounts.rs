//! File systems that the lab mounts in its own mount namespace, and folders that are entered as if they were
//! the root.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::Context;
use nix::mount::{MsFlags, mount};
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};

/// Makes the folder `place` and mounts a file system in memory there, which goes with the lab.
/// Containers have other users' identities, and must be able to read what is in it: `options`
/// (tmpfs(5)) say so.
pub fn mount_in_memory(place: &Path, flags: MsFlags, options: &str) -> anyhow::Result<()> {
    std::fs::create_dir_all(place).with_context(|| format!("cannot make {}", place.display()))?;
    let flags = flags | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("tmpfs"), place, Some("tmpfs"), flags, Some(options))
        .with_context(|| format!("cannot mount a file system on {}", place.display()))
}

/// What is at `path` in `root`, as if that were the root folder, and not by way of other processes.
pub fn inside(root: impl AsFd, path: &Path) -> rustix::io::Result<OwnedFd> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    openat2(root, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve)
}

/// The regular file at `path` in the folder `root`, as if that were the root folder.
pub fn file_inside(root: &Path, path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = openat2(folder(root)?, path, flags, Mode::empty(), ResolveFlags::IN_ROOT)?;
    let file = File::from(file);
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::ErrorKind::NotFound.into()) }
}

/// The folder at `path`, open to find others in it.
pub fn folder(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

/// A path to an open file, for as long as this process has it open.
#[must_use]
pub fn by_number(file: &OwnedFd) -> PathBuf {
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}
