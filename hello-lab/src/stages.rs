//! The namespaces in which a lab runs, and in which nothing outlives it.
//!
//! ```text
//! hello-lab up|run            the keeper: stays as it was started, and keeps the lab
//!   └ hello-lab launch        enters user, mount, PID and IPC namespaces; ends with the keeper
//!      └ hello-lab init       process 1 of the PID namespace: reaps; ends with the launcher
//!         └ hello-lab lab     the lab: API, controllers, network
//!            └ hello-lab-shim  one for each pod (see crate::shim)
//!               └ containers
//! ```
//!
//! When process 1 ends, the kernel ends every process of its namespace; with the last of
//! them go the network namespaces and the mounts, which have no other name.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitCode, Stdio};

use anyhow::{Context, bail};
use hello_common::exit;
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{WaitStatus, wait};
use nix::unistd::{Pid, getegid, geteuid, getppid, setsid};

use crate::args::Stage;
use crate::runtime_folder::RuntimeFolder;

/// The nice value of the lab's session among others (`autogroup` in sched(7)), six times the weight of
/// 0; more has no effect that can be measured. Each pod has a session of its own, with 0: as on
/// a node (`system.slice` to `kubepods-besteffort.slice`) what starts pods comes before what they do,
/// or a pod would wait for those before it to settle.
const PRIORITY: &str = "-8";

/// The launcher: enters the namespaces, starts process 1, and waits for its end or for that
/// of the keeper. Must be called while the process has one thread.
pub fn launch(mut stage: Stage) -> anyhow::Result<ExitCode> {
    // A session of its own: Ctrl-C at the keeper's terminal is the keeper's to handle.
    setsid().context("cannot start a session")?;
    // Where it is refused, or there are no such groups, a pod takes a little longer to start.
    let _ = std::fs::write("/proc/self/autogroup", PRIORITY);
    stage.privileged = enter_namespaces()?;
    let wake =
        SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGCHLD]);
    wake.thread_block().context("cannot block signals")?;
    set_pdeathsig(Signal::SIGTERM).context("cannot ask to end with the keeper")?;
    let folder = RuntimeFolder::existing(stage.folder.clone());
    if getppid() != Pid::from_raw(stage.parent) {
        // The keeper ended before it could be asked for.
        folder.remove();
        bail!("the keeper has ended");
    }
    let mut init = next_stage(&stage, "init", Stdio::piped())?;
    loop {
        if wake.wait().context("cannot wait for signals")? == Signal::SIGCHLD {
            if let Some(status) = init.try_wait()? {
                clean_up(&folder);
                return Ok(exit::code(status));
            }
        } else {
            init.kill()?;
            // Process 1 has ended only when every process of its namespace has.
            init.wait()?;
            clean_up(&folder);
            return Ok(ExitCode::SUCCESS);
        }
    }
}

/// Removes the lab's folder, which cannot be done while something is mounted in it.
fn clean_up(folder: &RuntimeFolder) {
    // Nothing is, if the lab ended before it came to that.
    let _ = umount2(&folder.mount_point(), MntFlags::MNT_DETACH);
    folder.remove();
}

/// Process 1: starts the lab, and reaps what the lab's containers leave behind.
pub fn init(stage: &Stage) -> anyhow::Result<ExitCode> {
    set_pdeathsig(Signal::SIGKILL).context("cannot ask to end with the launcher")?;
    // What the launcher has blocked, to wait for it, containers would have blocked for ever.
    SigSet::empty().thread_set_mask().context("cannot unblock signals")?;
    if launcher_has_ended()? {
        return Ok(ExitCode::FAILURE);
    }
    let lab = next_stage(stage, "lab", Stdio::null())?;
    let lab = Pid::from_raw(i32::try_from(lab.id())?);
    loop {
        match wait() {
            Ok(WaitStatus::Exited(pid, code)) if pid == lab => return Ok(exit::from_number(code)),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == lab => {
                bail!("the lab was ended by {signal}");
            }
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno).context("cannot wait for the lab"),
        }
    }
}

/// The launcher holds the other end of standard input, and never writes to it.
fn launcher_has_ended() -> io::Result<bool> {
    let stdin = io::stdin();
    let mut ends = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
    poll(&mut ends, PollTimeout::ZERO)?;
    let hung_up = ends[0].revents().is_some_and(|events| events.contains(PollFlags::POLLHUP));
    Ok(hung_up || (ends[0].any() == Some(true) && stdin.lock().read(&mut [0])? == 0))
}

fn next_stage(stage: &Stage, name: &str, stdin: Stdio) -> anyhow::Result<Child> {
    of(stage, name)?
        .stdin(stdin)
        .spawn()
        .with_context(|| format!("cannot start the lab's {name} stage"))
}

/// A command that becomes the stage `name`.
pub fn of(stage: &Stage, name: &str) -> anyhow::Result<Command> {
    let stage = serde_json::to_string(stage).context("cannot pass the lab's settings on")?;
    let mut command = this_program();
    command.args([name, &stage]);
    Ok(command)
}

/// A command of this very program, by whatever name it was started.
#[must_use]
pub fn this_program() -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("hello-lab");
    command
}

/// Enters mount, PID and IPC namespaces, as root directly and else within a user namespace.
/// Whether the lab is privileged: it can take other users' identities.
fn enter_namespaces() -> anyhow::Result<bool> {
    let namespaces = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWIPC;
    let privileged = match unshare(namespaces) {
        Ok(()) => true,
        Err(Errno::EPERM) => {
            enter_user_namespace()?;
            unshare(namespaces).map_err(user_namespaces_are_refused)?;
            false
        }
        Err(errno) => return Err(errno).context("cannot make mount, PID and IPC namespaces"),
    };
    let nothing = None::<&str>;
    mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing)
        .map_err(user_namespaces_are_refused)?;
    Ok(privileged)
}

/// Becomes root of a user namespace in which the user's own identity is the only one.
fn enter_user_namespace() -> anyhow::Result<()> {
    let (user, group) = (geteuid(), getegid());
    unshare(CloneFlags::CLONE_NEWUSER).map_err(user_namespaces_are_refused)?;
    let write = |file: &str, text: String| {
        std::fs::write(format!("/proc/self/{file}"), text)
            .with_context(|| format!("cannot write /proc/self/{file}"))
    };
    // Who may not set groups may map the own one (user_namespaces(7)).
    write("setgroups", "deny".to_owned())?;
    write("uid_map", format!("0 {user} 1\n"))?;
    write("gid_map", format!("0 {group} 1\n"))
}

/// What to do where an ordinary user may not have namespaces.
fn user_namespaces_are_refused(errno: Errno) -> anyhow::Error {
    let settings = [
        ("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "0", "1"),
        ("/proc/sys/kernel/unprivileged_userns_clone", "1", "0"),
        ("/proc/sys/user/max_user_namespaces", "10000", "0"),
    ];
    let refused = settings.iter().find(|(file, _, refusal)| {
        std::fs::read_to_string(file).is_ok_and(|text| text.trim() == *refusal)
    });
    let remedy = refused.map_or_else(
        || "is this a container without the right to make namespaces?".to_owned(),
        |(file, value, _)| {
            let name = file.trim_start_matches("/proc/sys/").replace('/', ".");
            format!("`sudo sysctl {name}={value}` allows it")
        },
    );
    anyhow::anyhow!(
        "this machine refuses namespaces to an ordinary user ({}): {remedy}, or run hello-lab with sudo",
        errno.desc()
    )
}

/// Asks a process to end.
pub fn terminate(pid: i32) -> nix::Result<()> {
    kill(Pid::from_raw(pid), Signal::SIGTERM)
}
