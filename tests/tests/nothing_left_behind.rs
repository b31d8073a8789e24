//! However a lab ends, nothing of it stays.

use std::collections::BTreeSet;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use end_to_end::{As, Lab, descendants, is_alive, processes, program, repository, users, wait_for};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// What a lab could leave on the machine, but for its processes.
#[derive(Debug, PartialEq, Eq)]
struct Machine {
    mounts: String,
    links: BTreeSet<String>,
    routes: String,
    etc: Vec<(PathBuf, Option<std::time::SystemTime>)>,
}

fn machine() -> Machine {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let names = |path: &str| {
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    };
    let etc = ["/etc", "/etc/resolv.conf", "/etc/hosts", "/etc/hostname", "/etc/nsswitch.conf"];
    let changed = |path: &str| {
        let path = PathBuf::from(path);
        let time = std::fs::metadata(&path).ok().and_then(|data| data.modified().ok());
        (path, time)
    };
    Machine {
        mounts: read("/proc/self/mounts"),
        links: names("/sys/class/net"),
        routes: read("/proc/net/route"),
        etc: etc.map(changed).to_vec(),
    }
}

/// Network namespaces that processes of the machine are in.
fn namespaces() -> BTreeSet<PathBuf> {
    processes().filter_map(|pid| std::fs::read_link(format!("/proc/{pid}/ns/net")).ok()).collect()
}

/// Ends a lab in some way, and checks that nothing is left.
fn check(user: As, how: &str, end: impl FnOnce(Lab)) {
    let (before, namespaces_before) = (machine(), namespaces());
    let lab = Lab::start(user);
    lab.install_hello_app();
    assert_eq!(machine(), before, "while it runs the machine is as it was");
    let ours = descendants(lab.keeper().as_raw());
    assert!(ours.len() >= 6, "three stages and three containers: {ours:?}");
    let own: BTreeSet<_> = ours
        .iter()
        .filter_map(|pid| std::fs::read_link(format!("/proc/{pid}/ns/net")).ok())
        .filter(|namespace| !namespaces_before.contains(namespace))
        .collect();
    // And so do the sandboxes for pods to come.
    assert!(own.len() >= 3, "each pod has a namespace of its own: {own:?}");
    let folder = lab.folder().to_owned();
    end(lab);
    wait_for(&format!("the end of every process after {how}"), || {
        ours.iter().all(|pid| !is_alive(*pid)).then_some(())
    });
    wait_for(&format!("the end of its folder after {how}"), || (!folder.exists()).then_some(()));
    assert!(own.is_disjoint(&namespaces()), "{how}");
    assert_eq!(machine(), before, "{how}");
}

/// The process below the keeper, and the one below that.
fn stage(lab: &Lab, depth: usize) -> Pid {
    Pid::from_raw(descendants(lab.keeper().as_raw())[depth])
}

#[test]
fn nothing_is_left_however_a_lab_ends() {
    // One after the other: each looks at the whole machine.
    for user in users() {
        check(user, "Ctrl-C", Lab::end);
        check(user, "kill -9 of the keeper", |lab| {
            kill(lab.keeper(), Signal::SIGKILL).unwrap();
            lab.reap();
        });
        check(user, "kill -9 of the launcher", |lab| {
            kill(stage(&lab, 0), Signal::SIGKILL).unwrap();
            lab.reap();
        });
        check(user, "kill -9 of process 1", |lab| {
            kill(stage(&lab, 1), Signal::SIGKILL).unwrap();
            lab.reap();
        });
        check(user, "kill -9 of the lab itself", |lab| {
            kill(stage(&lab, 2), Signal::SIGKILL).unwrap();
            lab.reap();
        });
    }
    ctrl_c_in_the_middle_of_the_demo();
}

fn ctrl_c_in_the_middle_of_the_demo() {
    let before = machine();
    let home = tempfile::tempdir().unwrap();
    let mut demo = Command::new(program("hello-lab"))
        .args(["run", "--", "scripts/validate.sh"])
        .current_dir(repository())
        .env("TMPDIR", home.path())
        .env("XDG_RUNTIME_DIR", home.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // A group of its own, as a shell gives to what it runs in the foreground.
        .process_group(0)
        .spawn()
        .unwrap();
    let pid = i32::try_from(demo.id()).unwrap();
    let ours = wait_for("the containers", || {
        let ours = descendants(pid);
        (ours.len() >= 8).then_some(ours)
    });
    kill(Pid::from_raw(-pid), Signal::SIGINT).unwrap();
    let status = wait_for("the demo's end", || demo.try_wait().unwrap());
    assert_eq!(status.code(), Some(130));
    wait_for("the end of every process", || ours.iter().all(|pid| !is_alive(*pid)).then_some(()));
    assert_eq!(machine(), before);
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
}
