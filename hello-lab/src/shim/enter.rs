//! What a shim does before it starts processes: it is started in the pod's network namespace, takes
//! on its host name and files, and gives up every privilege but those that it needs to give others
//! up theirs.

use std::path::Path;

use anyhow::Context;
use caps::{CapSet, Capability, CapsHashSet};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::{set_dumpable, set_no_new_privs};
use nix::unistd::{setgroups, sethostname, setsid};

use super::Pod;

/// What a shim needs to start, and to end, processes of other users; these have none of it.
const PRIVILEGES: [Capability; 5] = [
    Capability::CAP_SETUID,
    Capability::CAP_SETGID,
    Capability::CAP_KILL,
    // A program may be in a folder of somebody else's, and a terminal becomes the user's.
    Capability::CAP_DAC_READ_SEARCH,
    Capability::CAP_CHOWN,
];

/// What can be done before the pod is known.
pub(super) fn prepare() -> anyhow::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS)
        .context("cannot make mount and UTS namespaces")?;
    let nothing = None::<&str>;
    mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing)
        .context("cannot make the mounts private")?;
    make_read_only().context("cannot make the file system read-only")?;
    for capability in caps::runtime::thread_all_supported() {
        caps::drop(None, CapSet::Bounding, capability)
            .with_context(|| format!("cannot give up {capability}"))?;
    }
    Ok(())
}

/// Becomes the shim of `pod`.
pub(super) fn pod(pod: &Pod) -> anyhow::Result<()> {
    sethostname(&pod.hostname).context("cannot set the host name")?;
    for (place, file) in &pod.files {
        bind(file, place)?;
    }
    if let Some(folder) = &pod.shared_memory {
        let place = Path::new("/dev/shm");
        bind(folder, place)?;
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        let (flags, nothing) = (flags | MsFlags::MS_REMOUNT | MsFlags::MS_BIND, None::<&str>);
        mount(nothing, place, nothing, flags, nothing).context("cannot write to /dev/shm")?;
    }
    give_up_privileges(pod.privileged)?;
    // A session of the pod's own, which shares the processor with others as one (`autogroup` in
    // sched(7)). Last: until here it is the lab that works.
    setsid().context("cannot start a session").map(drop)
}

/// Has `file` seen at `place`, and as read-only as it is where it is.
fn bind(file: &Path, place: &Path) -> anyhow::Result<()> {
    mount(Some(file), place, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .with_context(|| format!("cannot mount over {}; does it exist?", place.display()))
}

/// Where the kernel's own file systems are.
const KERNELS: [&str; 3] = ["/proc", "/sys", "/dev"];
/// File systems below /dev in which anybody may leave something behind.
const NOT_THE_KERNELS: [&str; 2] = ["/dev/mqueue", "/dev/hugepages"];

/// A container is no reason to change a file of the machine: every mount becomes read-only, but
/// for the kernel's own file systems, as with `readOnlyRootFilesystem`.
fn make_read_only() -> anyhow::Result<()> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
    for line in mounts.lines() {
        let mut fields = line.split(' ').skip(4);
        let (Some(place), Some(options)) = (fields.next(), fields.next()) else { continue };
        let place = unescape(place);
        let is_kernels = KERNELS.iter().any(|kernel| Path::new(&place).starts_with(kernel));
        if is_kernels && !NOT_THE_KERNELS.contains(&place.as_str()) {
            continue;
        }
        // In a user namespace the flags that are there cannot be taken off.
        let flags = options.split(',').map(flag).fold(MsFlags::empty(), |all, one| all | one);
        let flags = flags | MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
        let nothing = None::<&str>;
        match mount(nothing, place.as_str(), nothing, flags, nothing) {
            Ok(()) => {}
            // A mount that is covered by another, or that nobody may see, cannot be written to.
            Err(_) if place != "/" => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// The flag of a mount option in /proc/self/mountinfo (proc(5)).
fn flag(option: &str) -> MsFlags {
    match option {
        "nosuid" => MsFlags::MS_NOSUID,
        "nodev" => MsFlags::MS_NODEV,
        "noexec" => MsFlags::MS_NOEXEC,
        "noatime" => MsFlags::MS_NOATIME,
        "nodiratime" => MsFlags::MS_NODIRATIME,
        "relatime" => MsFlags::MS_RELATIME,
        _ => MsFlags::empty(),
    }
}

/// Undoes the octal escapes of /proc/self/mountinfo: `\040` is a space.
fn unescape(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .into_iter()
        .fold(text.to_owned(), |text, (escape, char)| text.replace(escape, char))
}

/// Gives up every capability but what `privileged` processes are started with; whoever takes another
/// user's identity loses these too (capabilities(7)). Without them a container cannot touch the rules of
/// its own namespace.
fn give_up_privileges(privileged: bool) -> anyhow::Result<()> {
    let kept = if privileged {
        setgroups(&[]).context("cannot leave the groups")?;
        CapsHashSet::from(PRIVILEGES)
    } else {
        CapsHashSet::new()
    };
    for set in [CapSet::Ambient, CapSet::Inheritable] {
        caps::clear(None, set).context("cannot give up the capabilities")?;
    }
    for set in [CapSet::Effective, CapSet::Permitted] {
        caps::set(None, set, &kept).context("cannot give up the capabilities")?;
    }
    // An ordinary user's containers are the same user's: they must not debug it.
    set_dumpable(false).context("cannot refuse to be debugged")?;
    set_no_new_privs().context("cannot rule out new privileges")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_unescaped() {
        assert_eq!(unescape("/a\\040b\\134c"), "/a b\\c");
    }

    #[test]
    fn flags_that_are_there_are_kept() {
        let all = "rw,nosuid,relatime".split(',').map(flag).fold(MsFlags::empty(), |a, b| a | b);
        assert_eq!(all, MsFlags::MS_NOSUID | MsFlags::MS_RELATIME);
    }
}
