//! The files that a pod's processes see: programs and libraries of the machine, read-only, and nothing
//! else of it. What is not named here is hidden: people's own files, what runs (its sockets, its state),
//! the lab's folder, the machine's devices and its /sys.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use anyhow::Context;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::unistd::{chdir, pivot_root};

use crate::mounts::mount_in_memory;

/// Where programs and their libraries are. On many machines some are links into /usr. What else is in /nix are
/// people's profiles and the socket of its daemon.
const PROGRAMS: [&str; 9] =
    ["bin", "sbin", "lib", "lib32", "lib64", "libx32", "usr", "opt", "nix/store"];

/// What programs read in /etc on every machine, and what tells nothing of its people.
const SETTINGS: [&str; 38] = [
    "alternatives",
    "bash.bashrc",
    "bashrc",
    "ca-certificates",
    "ca-certificates.conf",
    "crypto-policies",
    "debian_version",
    "ethertypes",
    "fonts",
    "gai.conf",
    "group",
    "host.conf",
    "inputrc",
    "iproute2",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "locale.alias",
    "locale.conf",
    "localtime",
    "magic",
    "mime.types",
    "netconfig",
    "networks",
    "os-release",
    "passwd",
    "perl",
    "pki/ca-trust",
    "pki/tls/certs",
    "profile",
    "protocols",
    "rpc",
    "services",
    "shells",
    "ssl/certs",
    "ssl/openssl.cnf",
    "terminfo",
    "timezone",
];

/// Devices that every container has (the runtime specification of the Open Container Initiative,
/// "Default Devices").
const DEVICES: [&str; 6] = ["full", "null", "random", "tty", "urandom", "zero"];

/// Files of /proc that tell of the machine or change it, hidden as by Docker and containerd.
const HIDDEN: [&str; 6] =
    ["kcore", "keys", "latency_stats", "sched_debug", "sysrq-trigger", "timer_list"];
/// Folders of /proc in which settings of the machine are, read-only as with these.
const SETTINGS_OF_KERNEL: [&str; 4] = ["bus", "fs", "irq", "sys"];
/// Folders of /proc about the machine's hardware.
const HARDWARE: [&str; 2] = ["acpi", "scsi"];

/// Where the new root is built: a folder that is everywhere, seen so by this process alone.
const SITES: [&str; 3] = ["/sys", "/mnt", "/media"];

/// The most that the pod's own files may take: the root folder, and /dev/shm (as with Docker).
const ROOT_SIZE: &str = "mode=755,size=1m";
const SHARED_MEMORY_SIZE: &str = "mode=1777,size=64m";
/// Of what has nothing in it, and is read-only.
const EMPTY: &str = "mode=755,size=0";

/// How what pods may not change is mounted.
pub(super) const READ_ONLY: MsFlags =
    MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV).union(MsFlags::MS_RDONLY);

const NOTHING: Option<&str> = None;

/// Whether pods to which this is `hidden` see the machine's file at this absolute path, if it is there.
pub(crate) fn shows(path: &Path, hidden: &[PathBuf]) -> bool {
    let below = path.strip_prefix("/").unwrap_or(Path::new(""));
    PROGRAMS.iter().any(|name| below.starts_with(name))
        && below.components().all(|part| part != Component::ParentDir)
        && !hidden.iter().any(|place| path.starts_with(place))
}

/// Has this process, in a mount namespace of its own, see a pod's files. They can be added to until
/// [`seal`]. What is `hidden` is there, and empty.
pub(super) fn enter(hidden: &[PathBuf]) -> anyhow::Result<()> {
    make_read_only(Path::new("/")).context("cannot make the file system read-only")?;
    let site = SITES.map(Path::new).into_iter().find(|site| site.is_dir());
    let root = site.context("there is none of /sys, /mnt and /media to build the pod's root on")?;
    mount_in_memory(root, MsFlags::empty(), ROOT_SIZE)?;
    for name in PROGRAMS {
        show(&Path::new("/").join(name), &root.join(name))?;
    }
    for place in hidden {
        hide(root, place)?;
    }
    for name in SETTINGS {
        show(&Path::new("/etc").join(name), &root.join("etc").join(name))?;
    }
    for name in ["dev", "etc", "home", "old", "proc", "root", "run", "srv", "sys", "var"] {
        folder(&root.join(name), 0o755)?;
    }
    for name in ["tmp", "var/tmp"] {
        folder(&root.join(name), 0o1777)?;
    }
    symlink("/run", root.join("var/run")).context("cannot make /var/run")?;
    // Where NixOS has the programs of everybody.
    if let Ok(system) = fs::read_link("/run/current-system") {
        symlink(system, root.join("run/current-system"))
            .context("cannot make /run/current-system")?;
    }
    devices(&root.join("dev"))?;
    processes(&root.join("proc"))?;
    let old = root.join("old");
    pivot_root(root, &old).context("cannot make the pod's root folder the root")?;
    chdir("/").context("cannot enter the pod's root folder")?;
    umount2("/old", MntFlags::MNT_DETACH).context("cannot let go of the machine's root folder")?;
    fs::remove_dir("/old").context("cannot remove /old")
}

/// Writes the pod's own files.
pub(super) fn write(files: &[(String, String)]) -> anyhow::Result<()> {
    for (name, content) in files {
        let place = Path::new("/etc").join(name);
        fs::write(&place, content)
            .and_then(|()| fs::set_permissions(&place, Permissions::from_mode(0o644)))
            .with_context(|| format!("cannot write {}", place.display()))?;
    }
    Ok(())
}

/// From now on nobody adds to the root folder of this process.
pub(super) fn seal() -> anyhow::Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_RDONLY;
    remount("/", flags).context("cannot make the root folder read-only")
}

/// Has `from` seen at `to` as well, if it is there: a link as a link, all else as it is.
pub(super) fn show(from: &Path, to: &Path) -> anyhow::Result<()> {
    let Ok(metadata) = fs::symlink_metadata(from) else { return Ok(()) };
    let parent = to.parent().unwrap_or(to);
    let made = fs::create_dir_all(parent).and_then(|()| {
        if metadata.is_symlink() {
            symlink(fs::read_link(from)?, to)
        } else if metadata.is_dir() {
            fs::create_dir(to)
        } else {
            File::create(to).map(drop)
        }
    });
    made.with_context(|| format!("cannot make {}", to.display()))?;
    if metadata.is_symlink() { Ok(()) } else { bind(from, to) }
}

fn bind(from: &Path, to: &Path) -> anyhow::Result<()> {
    // With all that is mounted in it: a part alone may not be shown to an ordinary user.
    mount(Some(from), to, NOTHING, MsFlags::MS_BIND | MsFlags::MS_REC, NOTHING)
        .with_context(|| format!("cannot show {} to the pod", from.display()))
}

/// Has something empty in the place of `place`, as far as that is shown in `root`.
fn hide(root: &Path, place: &Path) -> anyhow::Result<()> {
    let Ok(below) = place.strip_prefix("/") else { return Ok(()) };
    let place = root.join(below);
    match fs::symlink_metadata(&place) {
        // It is not shown, or not there any more.
        Err(_) => Ok(()),
        Ok(metadata) if metadata.is_dir() => {
            mount_in_memory(&place, MsFlags::MS_NOEXEC | MsFlags::MS_RDONLY, EMPTY)
        }
        Ok(_) => bind(Path::new("/dev/null"), &place),
    }
}

pub(super) fn folder(place: &Path, mode: u32) -> anyhow::Result<()> {
    let made = fs::create_dir_all(place)
        .and_then(|()| fs::set_permissions(place, Permissions::from_mode(mode)));
    made.with_context(|| format!("cannot make {}", place.display()))
}

pub(super) fn remount(place: impl AsRef<Path>, flags: MsFlags) -> nix::Result<()> {
    let flags = flags | MsFlags::MS_REMOUNT | MsFlags::MS_BIND;
    mount(NOTHING, place.as_ref(), NOTHING, flags, NOTHING)
}

/// Has all that is in `from` seen in `to`. Of the file system `device`, folders are made anew, so that
/// something can be mounted in them. What is called as one of `without` is left out.
pub(super) fn copy(from: &Path, to: &Path, device: u64, without: &[&str]) -> anyhow::Result<()> {
    for entry in fs::read_dir(from).context("cannot read a folder of the pod's")? {
        let name = entry?.file_name();
        if without.iter().any(|one| name == *one) {
            continue;
        }
        let (from, to) = (from.join(&name), to.join(&name));
        let metadata = fs::symlink_metadata(&from)
            .with_context(|| format!("cannot read {}", from.display()))?;
        if metadata.is_dir() && metadata.dev() == device {
            folder(&to, metadata.mode() & 0o7777)?;
            copy(&from, &to, device, &[])?;
        } else {
            show(&from, &to)?;
            if metadata.is_file() && metadata.dev() == device {
                // One of the pod's own, whose file system is read-only only from [`seal`] on.
                remount(&to, READ_ONLY).context("cannot make a file read-only")?;
            }
        }
    }
    Ok(())
}

/// The devices that are no hardware, and terminals and shared memory of the pod's own.
fn devices(dev: &Path) -> anyhow::Result<()> {
    for name in DEVICES {
        show(&Path::new("/dev").join(name), &dev.join(name))?;
    }
    for (name, to) in [
        ("fd", "/proc/self/fd"),
        ("ptmx", "pts/ptmx"),
        ("stderr", "/proc/self/fd/2"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
    ] {
        symlink(to, dev.join(name)).with_context(|| format!("cannot make /dev/{name}"))?;
    }
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    let terminals = dev.join("pts");
    folder(&terminals, 0o755)?;
    mount(
        Some("devpts"),
        &terminals,
        Some("devpts"),
        flags,
        Some("newinstance,ptmxmode=0666,mode=0620"),
    )
    .context("cannot mount terminals of the pod's own")?;
    mount_in_memory(&dev.join("shm"), MsFlags::MS_NOEXEC, SHARED_MEMORY_SIZE)
}

/// A /proc of the pod's own PID namespace, without what is the machine's in it.
fn processes(proc: &Path) -> anyhow::Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), proc, Some("proc"), flags, NOTHING).context(
        "cannot mount a /proc of the pod's own; where parts of the machine's are hidden, as in many \
         containers, only root may",
    )?;
    for name in HIDDEN.iter().map(|name| proc.join(name)).filter(|place| place.exists()) {
        bind(Path::new("/dev/null"), &name)?;
    }
    for place in HARDWARE.iter().map(|name| proc.join(name)).filter(|place| place.is_dir()) {
        mount_in_memory(&place, MsFlags::MS_NOEXEC | MsFlags::MS_RDONLY, EMPTY)?;
    }
    for place in
        SETTINGS_OF_KERNEL.iter().map(|name| proc.join(name)).filter(|place| place.is_dir())
    {
        bind(&place, &place)?;
        remount(&place, flags | MsFlags::MS_RDONLY)
            .with_context(|| format!("cannot make {} read-only", place.display()))?;
    }
    Ok(())
}

/// Where the kernel's own file systems are.
const KERNELS: [&str; 3] = ["/proc", "/sys", "/dev"];

/// A container is no reason to change a file of the machine, or of an image: every mount at `below` and below
/// it becomes read-only, but for the kernel's own file systems, as with `readOnlyRootFilesystem`.
pub(super) fn make_read_only(below: &Path) -> io::Result<()> {
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    for line in mounts.lines() {
        let mut fields = line.split(' ').skip(4);
        let (Some(place), Some(options)) = (fields.next(), fields.next()) else { continue };
        let place = unescape(place);
        if !Path::new(&place).starts_with(below) {
            continue;
        }
        if KERNELS.iter().any(|kernel| Path::new(&place).starts_with(kernel)) {
            continue;
        }
        // In a user namespace the flags that are there cannot be taken off.
        let flags = options.split(',').map(flag).fold(MsFlags::empty(), |all, one| all | one);
        match remount(&place, flags | MsFlags::MS_RDONLY) {
            Ok(()) => {}
            // A mount that is covered by another, or that nobody may see, cannot be written to.
            Err(_) if Path::new(&place) != below => {}
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
