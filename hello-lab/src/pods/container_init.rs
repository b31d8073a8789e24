//! What a container's process does before it becomes the container's program: it is started
//! in the pod's network namespace, takes on its own host name, files and user, gives up every
//! privilege, and executes the program.
//!
//! It runs as `hello-lab-container`, single-threaded, with its [`Spec`] on standard input, after the
//! four octets of its length.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use caps::CapSet;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt;
use tokio::process::Child;

use crate::network::PodNetwork;

/// The name of the program that becomes a container.
pub const PROGRAM: &str = "hello-lab-container";

/// The exit code of a container whose program could not be started.
pub const START_FAILED: u8 = 125;

/// What a container's process is to be.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Spec {
    /// The program's file.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its whole environment.
    pub env: Vec<(String, String)>,
    /// The pod's host name.
    pub hostname: String,
    /// Files and folders to see in place of the machine's own: where, and what.
    pub files: Vec<(PathBuf, PathBuf)>,
    /// User and group; none where the lab itself is an ordinary user's and can take no other.
    pub user: Option<(u32, u32)>,
    /// Whether the program reads what comes after this on standard input.
    pub stdin: bool,
    /// Whether standard output is a terminal, which then is standard input too, and the session's.
    pub terminal: bool,
    /// Where to start the program.
    pub working_dir: Option<PathBuf>,
}

/// Becomes the program that the [`Spec`] on standard input describes. Returns only on failure.
#[must_use]
pub fn run() -> anyhow::Error {
    match prepare() {
        // The open program must last until it is executed, which closes it.
        Ok((mut command, _program)) => {
            anyhow::Error::new(command.exec()).context("cannot execute the program")
        }
        Err(error) => error,
    }
}

/// Starts `command`, that program, in a pod's network namespace as what `spec` says. Standard input
/// must be a pipe; the other streams are the caller's to choose.
pub(super) async fn start(
    mut command: tokio::process::Command,
    spec: &Spec,
    network: &PodNetwork,
) -> std::io::Result<Child> {
    let json = serde_json::to_vec(spec)?;
    let length = u32::try_from(json.len()).map_err(std::io::Error::other)?;
    command.arg0(PROGRAM).env_clear().current_dir("/").kill_on_drop(true);
    let runtime = tokio::runtime::Handle::current();
    let mut child = network.run(|| {
        let _entered = runtime.enter();
        command.spawn()
    })??;
    let stdin = child.stdin.as_mut().ok_or(std::io::ErrorKind::BrokenPipe)?;
    stdin.write_all(&[&length.to_be_bytes()[..], &json].concat()).await?;
    if !spec.stdin {
        drop(child.stdin.take());
    }
    Ok(child)
}

/// Reads the spec, and of what comes after it nothing.
fn read() -> anyhow::Result<Spec> {
    // Not `Stdin`, which has a buffer.
    let mut stdin = File::from(std::io::stdin().as_fd().try_clone_to_owned()?);
    let mut length = [0; 4];
    stdin.read_exact(&mut length)?;
    let mut json = vec![0; usize::try_from(u32::from_be_bytes(length))?];
    stdin.read_exact(&mut json)?;
    Ok(serde_json::from_slice(&json)?)
}

fn prepare() -> anyhow::Result<(Command, File)> {
    let spec = read().context("cannot read the container's spec")?;

    // A session of its own: signals to the lab's terminal are not the container's.
    unistd::setsid().context("cannot start a session")?;
    if spec.terminal {
        take_terminal(spec.user).context("cannot take the terminal")?;
    }
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS)
        .context("cannot make mount and UTS namespaces")?;
    let nothing = None::<&str>;
    mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing)
        .context("cannot make the mounts private")?;
    unistd::sethostname(&spec.hostname).context("cannot set the host name")?;
    for (place, file) in &spec.files {
        mount(Some(file), place, nothing, MsFlags::MS_BIND, nothing)
            .with_context(|| format!("cannot mount over {}; does it exist?", place.display()))?;
    }
    make_read_only().context("cannot make the file system read-only")?;

    // Opened before the user changes: the program may be in a folder that is not the user's.
    let program = File::open(&spec.program)
        .with_context(|| format!("cannot open {}", spec.program.display()))?;
    give_up_privileges(spec.user)?;
    if !spec.stdin && !spec.terminal {
        let null = File::open("/dev/null").context("cannot open /dev/null")?;
        unistd::dup2_stdin(&null).context("cannot close standard input")?;
    }

    let mut command = Command::new(format!("/proc/self/fd/{}", program.as_raw_fd()));
    command.arg0(spec.program.file_name().unwrap_or_default());
    command.args(spec.args).env_clear().envs(spec.env);
    command.current_dir(spec.working_dir.as_deref().unwrap_or(Path::new("/")));
    Ok((command, program))
}

/// Makes the terminal that is standard output the session's: the first that a session without one
/// opens becomes that (`tty_open_proc_set_tty` in the kernel's `drivers/tty/tty_io.c`).
fn take_terminal(user: Option<(u32, u32)>) -> anyhow::Result<()> {
    let terminal = File::options().read(true).write(true).open("/proc/self/fd/1")?;
    unistd::dup2_stdin(&terminal)?;
    if let Some((user, _)) = user {
        unistd::fchown(&terminal, Some(unistd::Uid::from_raw(user)), None)?;
    }
    Ok(())
}

/// Where the kernel's own file systems are.
const KERNELS: [&str; 3] = ["/proc", "/sys", "/dev"];
/// File systems below /dev in which anybody may leave something behind.
const NOT_THE_KERNELS: [&str; 2] = ["/dev/mqueue", "/dev/hugepages"];

/// A container is no reason to change a file of the machine: every mount becomes read-only, but
/// for the kernel's own file systems and the pod's /dev/shm, as with `readOnlyRootFilesystem`.
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

/// Takes the user's identity and gives up every capability, for good. Without them a
/// container cannot touch the rules of its own namespace.
fn give_up_privileges(user: Option<(u32, u32)>) -> anyhow::Result<()> {
    for capability in caps::runtime::thread_all_supported() {
        caps::drop(None, CapSet::Bounding, capability)
            .with_context(|| format!("cannot give up {capability}"))?;
    }
    if let Some((user, group)) = user {
        let (user, group) = (unistd::Uid::from_raw(user), unistd::Gid::from_raw(group));
        unistd::setgroups(&[]).context("cannot leave the groups")?;
        unistd::setresgid(group, group, group).context("cannot take the group's identity")?;
        unistd::setresuid(user, user, user).context("cannot take the user's identity")?;
    }
    for set in [CapSet::Ambient, CapSet::Inheritable, CapSet::Effective, CapSet::Permitted] {
        caps::clear(None, set).context("cannot give up the capabilities")?;
    }
    nix::sys::prctl::set_no_new_privs().context("cannot rule out new privileges")
}

/// Prints why a container could not be started, to its own log.
pub fn report(error: &anyhow::Error) {
    let text = format!("hello-lab: cannot start the container: {error:#}\n");
    let _ = unistd::write(std::io::stderr(), text.as_bytes());
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
