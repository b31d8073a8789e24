//! What a shim does before it starts processes: it is started in the pod's network namespace, as process 1
//! of its PID namespace, takes on its host name and files, and gives up every privilege but those that it
//! needs to give others up theirs.

use std::os::fd::OwnedFd;

use anyhow::{Context, bail};
use caps::{CapSet, Capability, CapsHashSet};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::{set_dumpable, set_no_new_privs};
use nix::unistd::{setgroups, sethostname, setsid};

use super::mounts::Roots;
use super::protocol::{Machine, Pod};
use super::root;
use super::serve::is_process_1;
use super::system_calls;

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
pub(super) fn prepare(machine: &Machine) -> anyhow::Result<()> {
    if !is_process_1() {
        bail!("a shim is process 1 of a PID namespace");
    }
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS | CloneFlags::CLONE_NEWIPC)
        .context("cannot make mount, UTS and IPC namespaces")?;
    let nothing = None::<&str>;
    mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing)
        .context("cannot make the mounts private")?;
    root::enter(&machine.hidden)?;
    for capability in caps::runtime::thread_all_supported() {
        caps::drop(None, CapSet::Bounding, capability)
            .with_context(|| format!("cannot give up {capability}"))?;
    }
    Ok(())
}

/// Becomes the shim of `pod`, which has these volumes.
pub(super) fn pod(pod: &Pod, volumes: Vec<OwnedFd>) -> anyhow::Result<Roots> {
    sethostname(&pod.hostname).context("cannot set the host name")?;
    root::write(&pod.files)?;
    let roots = Roots::make(pod, volumes)?;
    root::seal()?;
    give_up_privileges(pod)?;
    // A session of the pod's own, which shares the processor with others as one (`autogroup` in
    // sched(7)). Last: until here it is the lab that works.
    setsid().context("cannot start a session")?;
    Ok(roots)
}

/// Gives up every capability but what the processes of `pod` are started with; whoever takes another
/// user's identity loses these too (capabilities(7)). Without them a container cannot touch the rules of
/// its own namespace.
fn give_up_privileges(pod: &Pod) -> anyhow::Result<()> {
    let mut kept = if pod.privileged {
        setgroups(&[]).context("cannot leave the groups")?;
        CapsHashSet::from(PRIVILEGES)
    } else {
        CapsHashSet::new()
    };
    if pod.volumes > 0 {
        // Its containers have root folders of their own.
        kept.insert(Capability::CAP_SYS_CHROOT);
    }
    for set in [CapSet::Ambient, CapSet::Inheritable] {
        caps::clear(None, set).context("cannot give up the capabilities")?;
    }
    for set in [CapSet::Effective, CapSet::Permitted] {
        caps::set(None, set, &kept).context("cannot give up the capabilities")?;
    }
    // An ordinary user's containers are the same user's: they must not debug it.
    set_dumpable(false).context("cannot refuse to be debugged")?;
    set_no_new_privs().context("cannot rule out new privileges")?;
    system_calls::restrict()
}
