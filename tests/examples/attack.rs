//! What an attacker runs in a pod: the tests of isolation make an image of it.
//!
//! `attack wait` waits. `attack neighbours` tells of each process that it can open, and of each socket that
//! it can take from one. `attack kill` ends every process that it can.

use std::os::fd::AsFd;

use rustix::process::{
    Pid, PidfdFlags, PidfdGetfdFlags, Signal, kill_process, pidfd_getfd, pidfd_open,
};

/// More than the processes of a machine have as numbers before they begin anew.
const NUMBERS: std::ops::RangeInclusive<i32> = 1..=70_000;

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("neighbours") => neighbours(),
        Some("kill") => kill_all(),
        _ => loop {
            std::thread::park();
        },
    }
}

fn others() -> impl Iterator<Item = Pid> {
    let own = rustix::process::getpid();
    NUMBERS.filter_map(Pid::from_raw).filter(move |pid| *pid != own)
}

fn neighbours() {
    for pid in others() {
        let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else { continue };
        let name =
            std::fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default();
        let name = String::from_utf8_lossy(&name).replace('\0', " ");
        println!("process {} {}", pid.as_raw_nonzero(), name.trim());
        for number in 0..64 {
            if pidfd_getfd(process.as_fd(), number, PidfdGetfdFlags::empty()).is_ok() {
                println!("took {number} of {}", name.trim());
            }
        }
    }
}

fn kill_all() {
    let killed = others().filter(|pid| kill_process(*pid, Signal::KILL).is_ok()).count();
    println!("killed {killed}");
}
