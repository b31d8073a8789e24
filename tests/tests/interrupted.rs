//! Ctrl-C in the tutorial: wherever it comes, the script takes away what it made.

use std::io::{BufRead, BufReader};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::Stdio;
use std::sync::mpsc;

use end_to_end::{As, Lab, PATIENCE, repository, wait_for};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

fn is_asleep(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    stat.rsplit_once(") ").is_some_and(|(_, fields)| fields.starts_with('S'))
}

/// Runs scripts/validate.sh until its output has a line with each of `places`, in their order, and then
/// presses Ctrl-C; a second time where that was lost, as a person would: bash forgets one that comes while
/// the command which it waits for is ending by itself (`wait_sigint_received` in its jobs.c). Its exit code.
fn interrupted(lab: &Lab, places: &[&str]) -> Option<i32> {
    let mut command = lab.command("scripts/validate.sh");
    // A group of its own: what a terminal sends Ctrl-C to.
    command.current_dir(repository()).process_group(0).stdout(Stdio::piped());
    let mut script = command.stderr(Stdio::null()).spawn().expect("it can be run");
    let group = Pid::from_raw(i32::try_from(script.id()).expect("a pid"));
    let mut lines = BufReader::new(script.stdout.take().expect("piped")).lines();
    for place in places {
        let found = lines.any(|line| line.expect("text").contains(place));
        assert!(found, "the script ended before {place:?}");
    }
    // It waits: for a command, or in the middle of `read` for a line.
    wait_for("the script to wait", || is_asleep(group).then_some(()));
    killpg(group, Signal::SIGINT).expect("it runs");
    let (ended, end) = mpsc::channel::<()>();
    let again = std::thread::spawn(move || {
        if end.recv_timeout(PATIENCE / 6) == Err(mpsc::RecvTimeoutError::Timeout) {
            let _ = killpg(group, Signal::SIGINT);
        }
    });
    // It may write more than a pipe holds.
    lines.for_each(drop);
    drop(ended);
    again.join().expect("it only waits");
    let status = script.wait().expect("it is this test's");
    wait_for("the end of all that it started", || kill(Pid::from_raw(-group.as_raw()), None).err());
    status.code().or_else(|| status.signal().map(|signal| -signal))
}

fn nothing_is_left(lab: &Lab) -> bool {
    let kinds = "deployments,services,networkpolicies,pods";
    let there = lab.kubectl(&format!("get {kinds} -o name"));
    let namespace = lab.kubectl("get namespace hello-apps --ignore-not-found -o name");
    there.trim() == "service/kubernetes" && namespace.is_empty()
}

#[test]
fn wherever_ctrl_c_comes_the_tutorial_takes_away_what_it_made() {
    let lab = Lab::start(As::Myself);
    for places in [
        ["$ kubectl apply -f ./manifests/hello-app/"].as_slice(),
        &["$ kubectl rollout status deployment/hello-client-allowed"],
        // While a log is followed.
        &["## No policy yet", "Hostname: "],
        &["## Restricting access by the pods' label", "download timed out"],
        &["$ kubectl label ns hello-apps"],
    ] {
        assert_eq!(interrupted(&lab, places), Some(130), "{places:?}");
        wait_for(&format!("nothing of {places:?}"), || nothing_is_left(&lab).then_some(()));
    }
    lab.end();
}
