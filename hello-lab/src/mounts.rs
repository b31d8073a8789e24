//! File systems that the lab mounts in its own mount namespace.

use std::path::Path;

use anyhow::Context;
use nix::mount::{MsFlags, mount};

/// Makes the folder `place` and mounts a file system in memory there, which goes with the lab.
/// Containers have other users' identities, and must be able to read what is in it: `options`
/// (tmpfs(5)) say so.
pub fn mount_in_memory(place: &Path, flags: MsFlags, options: &str) -> anyhow::Result<()> {
    std::fs::create_dir_all(place).with_context(|| format!("cannot make {}", place.display()))?;
    let flags = flags | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("tmpfs"), place, Some("tmpfs"), flags, Some(options))
        .with_context(|| format!("cannot mount a file system on {}", place.display()))
}
