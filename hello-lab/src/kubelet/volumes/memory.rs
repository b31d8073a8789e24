//! File systems in memory that are mounted nowhere: the lab writes to them by their open file, and a pod's
//! shim mounts them where nobody else sees them.

use std::io;
use std::os::fd::OwnedFd;

use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen,
};

/// A file system with these options of tmpfs(5). What is in it is gone when nobody has it open or mounted.
pub(super) fn file_system(options: &[(&str, &str)]) -> io::Result<OwnedFd> {
    let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    // There may be Secrets in it. Where the kernel has no such option (before 6.4), or not for an ordinary
    // user, it may be written to the machine's swap, as all memory may.
    let _ = fsconfig_set_flag(&context, "noswap");
    for (name, value) in options {
        fsconfig_set_string(&context, *name, *value)?;
    }
    fsconfig_create(&context)?;
    let flags = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    Ok(fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, flags)?)
}
