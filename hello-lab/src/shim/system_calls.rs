//! The system calls that a pod's processes may not make: those that reach past the pod's namespaces. What
//! containerd and Docker forbid by their default profiles for the same reason, and only that.

use std::collections::BTreeMap;
use std::env::consts::ARCH;

use anyhow::Context;
use nix::libc;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter,
};

/// Families whose sockets are those of a network namespace, or of a folder, or of the process (packet(7), which
/// needs a capability). Others are not, or not for certain: those of `AF_VSOCK` reach the host of a virtual
/// machine, and every pod where its module has a loopback; those of `AF_SMC` go on in shared memory, past
/// filters, when they have begun as TCP.
const FAMILIES: [i32; 6] = [
    libc::AF_UNSPEC,
    libc::AF_UNIX,
    libc::AF_INET,
    libc::AF_INET6,
    libc::AF_NETLINK,
    libc::AF_PACKET,
];

/// SMC by the name of TCP's families (`include/uapi/linux/in.h`).
const IPPROTO_SMC: u64 = 256;

/// Kernel keyrings belong to a user, not to a namespace that a pod has of its own: pods of one user share
/// them, and an ordinary user's lab has that user's session's. And what a ring of `io_uring(7)` is asked for
/// is no system call, so that it would make sockets of any family.
const FORBIDDEN: [libc::c_long; 4] =
    [libc::SYS_add_key, libc::SYS_request_key, libc::SYS_keyctl, libc::SYS_io_uring_setup];

/// The x32 ABI of x86-64 has the same numbers with this bit set (`arch/x86/include/uapi/asm/unistd.h`).
const X32: i64 = 0x4000_0000;

/// Forbids them to this process, which has one thread, and to all that it starts. They fail with EPERM.
/// Needs that no new privileges can be had. A program for another instruction set, such as one of 32
/// bits, is ended: its numbers mean other calls.
pub(super) fn restrict() -> anyhow::Result<()> {
    let program = filter().context("cannot make a filter of system calls")?;
    apply_filter(&program)
        .context("cannot forbid system calls; the kernel needs seccomp (CONFIG_SECCOMP_FILTER)")
}

fn filter() -> Result<BpfProgram, seccompiler::BackendError> {
    let argument = |place, operator, value| {
        SeccompCondition::new(place, SeccompCmpArgLen::Dword, operator, value)
    };
    let foreign = FAMILIES
        .iter()
        .map(|family| argument(0, SeccompCmpOp::Ne, u64::from(family.unsigned_abs())))
        .collect::<Result<_, _>>()?;
    let sockets = vec![
        SeccompRule::new(foreign)?,
        SeccompRule::new(vec![argument(2, SeccompCmpOp::Eq, IPPROTO_SMC)?])?,
    ];
    let mut rules = BTreeMap::new();
    for abi in [0, X32] {
        rules.insert(libc::SYS_socket | abi, sockets.clone());
        // Whatever the arguments.
        rules.extend(FORBIDDEN.map(|number| (number | abi, Vec::new())));
    }
    let denied = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let architecture = TargetArch::try_from(ARCH)?;
    SeccompFilter::new(rules, SeccompAction::Allow, denied, architecture)?.try_into()
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use socket2::{Domain, Socket, Type};

    use super::*;

    #[test]
    fn only_sockets_of_the_pods_namespaces_can_be_made() {
        // On a thread of its own: the filter is for ever.
        let made = std::thread::spawn(|| {
            nix::sys::prctl::set_no_new_privs().unwrap();
            restrict().unwrap();
            let make = |family: i32, protocol: Option<i32>| {
                let protocol = protocol.map(Into::into);
                Socket::new(Domain::from(family), Type::STREAM, protocol).map(drop)
            };
            let foreign = [libc::AF_VSOCK, libc::AF_ALG, 43].map(|family| make(family, None));
            (
                [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6].map(|family| make(family, None)),
                foreign,
                make(libc::AF_INET, Some(256)),
            )
        });
        let (own, foreign, smc) = made.join().unwrap();
        assert!(own.iter().all(Result::is_ok), "{own:?}");
        let refused = |made: &std::io::Result<()>| {
            made.as_ref().is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
        };
        assert!(foreign.iter().all(refused), "{foreign:?}");
        assert!(refused(&smc), "{smc:?}");
    }
}
