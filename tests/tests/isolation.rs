//! What a pod cannot reach: other pods' processes, the lab's, the user's files and sockets, the machine's
//! devices and settings. Each as root and as an ordinary user.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use end_to_end::{As, Lab, descendants, give, home_in, run, users, wait_for};
use nix::unistd::geteuid;

/// An image of tests/src/bin/attack.rs.
const ATTACK: [&str; 2] = ["--image", concat!("attack:1=", env!("CARGO_BIN_EXE_attack"))];

/// A lab with the demo, and a pod `attacker` of that image.
fn attacked(user: As) -> Lab {
    attacked_in(Lab::start_with(user, &ATTACK))
}

fn attacked_in(lab: Lab) -> Lab {
    lab.install_hello_app();
    let _ = lab.kubectl("run attacker --image attack:1 -- wait");
    let _ = lab.kubectl("wait --for=condition=Ready pod/attacker --timeout=30s");
    lab
}

fn shell(lab: &Lab, script: &str) -> end_to_end::Output {
    run(lab.command("kubectl").args(["exec", "attacker", "--", "sh", "-c", script]), "")
}

/// The processes `sleep SECONDS` of a lab.
fn sleeps(lab: &Lab, seconds: &str) -> usize {
    let is_sleep = |pid: &&i32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line == format!("sleep\0{seconds}\0").into_bytes()
    };
    descendants(lab.keeper().as_raw()).iter().filter(is_sleep).count()
}

fn restarts(lab: &Lab, label: &str) -> String {
    let path = "jsonpath={.items[*].status.containerStatuses[*].restartCount}";
    lab.kubectl(&format!("get pods -l {label} -o {path}"))
}

#[test]
fn a_pod_opens_borrows_from_and_ends_processes_of_no_other() {
    for user in users() {
        let lab = attacked(user);
        let seen = lab.kubectl("exec attacker -- attack neighbours");
        let seen: Vec<&str> = seen.lines().filter(|line| !line.is_empty()).collect();
        // Its shim, which is the lab's, and its own container, of the same user and its own.
        assert!(seen.contains(&"process 1 hello-lab-shim"), "{seen:?}");
        assert!(seen.iter().any(|line| line.ends_with("attack wait")), "{seen:?}");
        let others = seen.iter().filter(|line| {
            line.contains("hello-server") || line.contains("hello-client") || line.contains(" lab ")
        });
        assert_eq!(others.count(), 0, "{seen:?}");
        assert!(!seen.iter().any(|line| line.contains("of hello-lab-shim")), "{seen:?}");
        assert_eq!(seen.iter().filter(|line| line.starts_with("process ")).count(), 2, "{seen:?}");

        let _ = lab.try_kubectl("exec attacker -- attack kill", "");
        wait_for("its own container's end", || {
            (restarts(&lab, "run=attacker") == "1").then_some(())
        });
        for label in ["app=hello", "app=not-hello", "app=hello-server"] {
            assert_eq!(restarts(&lab, label), "0", "{label}");
        }
        let log = || lab.kubectl("logs --tail 3 deploy/hello-client-allowed");
        wait_for("an answer", || log().starts_with("Hello, world!").then_some(()));
        lab.end();
    }
}

#[test]
fn ps_shows_a_pod_its_own_processes() {
    for user in users() {
        let lab = attacked(user);
        let said = shell(&lab, "command -v ps >/dev/null || exit 3; ps -e -o args");
        if said.status.code() == Some(3) {
            end_to_end::skip("ps_shows_a_pod_its_own_processes", "there is no ps");
        } else {
            let said = said.ok();
            assert!(said.contains("attack wait") && said.lines().count() <= 6, "{said}");
        }
        assert_eq!(shell(&lab, "cat /proc/1/comm").ok(), "hello-lab-shim\n");
        lab.end();
    }
}

#[test]
fn what_left_its_group_ends_with_its_container_and_with_its_pod() {
    for user in users() {
        let lab = attacked(user);
        let leave = |seconds: &str| {
            let script = format!("setsid sleep {seconds} >/dev/null 2>&1 </dev/null &");
            let _ = shell(&lab, &script).ok();
            wait_for("it to run", || (sleeps(&lab, seconds) == 1).then_some(()));
        };
        leave("7101");
        // It outlives the command that started it, as in a container.
        let _ = shell(&lab, "true").ok();
        assert_eq!(sleeps(&lab, "7101"), 1);
        // The number of the container's first process.
        let _ = shell(&lab, "kill -9 2");
        wait_for("its end", || (sleeps(&lab, "7101") == 0).then_some(()));
        let _ = lab.kubectl("wait --for=condition=Ready pod/attacker --timeout=60s");
        wait_for("the container", || shell(&lab, "true").status.success().then_some(()));
        leave("7102");
        let _ = lab.kubectl("delete pod attacker --grace-period=1");
        wait_for("its end", || (sleeps(&lab, "7102") == 0).then_some(()));
        lab.end();
    }
}

#[test]
fn the_users_own_files_and_sockets_and_the_labs_are_not_there() {
    for user in users() {
        let lab = attacked(user);
        let home = run(
            lab.command("sh").args(["-c", "mkdir ~/.ssh && echo secret >~/.ssh/id && echo $HOME"]),
            "",
        );
        let home = PathBuf::from(home.ok().trim());
        let agent = home.join("agent.sock");
        let _listener = UnixListener::bind(&agent).unwrap();
        let hidden = [
            home.join(".ssh/id"),
            agent,
            lab.folder().join("kubeconfig"),
            home,
            "/root/.ssh".into(),
        ];
        for path in hidden {
            let path = path.display();
            assert!(!shell(&lab, &format!("test -e '{path}'")).status.success(), "{path} is there");
        }
        for folder in ["/home", "/root", "/run", "/run/user", "/srv", "/mnt", "/tmp", "/sys"] {
            let there = shell(&lab, &format!("ls -A {folder} 2>/dev/null || true")).ok();
            assert_eq!(there, "", "{folder}");
        }
        // Nor by way of processes: those of its own have the same root.
        let roots =
            "for process in /proc/[0-9]*; do ls -A $process/root/ $process/cwd/ 2>/dev/null; done";
        let seen = shell(&lab, roots).stdout;
        assert!(!seen.contains("kubeconfig") && !seen.contains("lost+found"), "{seen}");
        let script = "id >/dev/null && grep -q nameserver /etc/resolv.conf && getent passwd root";
        assert!(shell(&lab, script).ok().starts_with("root:"), "programs run");
        lab.end();
    }
}

#[test]
fn what_is_a_persons_own_is_not_there_where_programs_are() {
    let test = "what_is_a_persons_own_is_not_there_where_programs_are";
    for user in users() {
        let Ok(site) = tempfile::tempdir_in("/opt") else {
            return end_to_end::skip(test, "who runs it may make no folder in /opt");
        };
        let site = site.path();
        let set_mode = |path: &Path, mode| {
            fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        };
        let make = |name: &str, mode| {
            let path = site.join(name);
            match path.extension() {
                Some(_) => fs::write(&path, "#!/bin/sh\necho works\n").unwrap(),
                None => fs::create_dir(&path).unwrap(),
            }
            set_mode(&path, mode);
            give(user, &path);
        };
        set_mode(site, 0o755);
        make("people", 0o755);
        make("team", 0o750);
        make("team/plan.txt", 0o644);
        make("key.pem", 0o600);
        make("tool.sh", 0o755);
        let socket = site.join("agent.sock");
        let _listener = UnixListener::bind(&socket).unwrap();
        let home = home_in(user, &site.join("people"));
        let own = home.path().join("own.sh");
        // Also where it lets everybody in.
        set_mode(home.path(), 0o755);
        fs::copy(site.join("tool.sh"), &own).unwrap();
        let at_home = home.path().display().to_string();
        let lab = attacked_in(Lab::start_at_home(user, home, &ATTACK));
        // One container that has the pod's root folder, and one that has its own, and something mounted there.
        let pod = serde_json::json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "mounts"},
            "spec": {
                "containers": [{
                    "name": "c", "image": "attack:1", "args": ["wait"],
                    "volumeMounts": [{"name": "v", "mountPath": site.join("people/v")}],
                }],
                "volumes": [{"name": "v", "emptyDir": {}}],
            },
        });
        let _ = lab.kubectl_with("apply -f -", &pod.to_string());
        let _ = lab.kubectl("wait --for=condition=Ready pod/mounts --timeout=30s");
        let site = site.display();
        for pod in ["attacker", "mounts"] {
            let shell = |script: &str| {
                run(lab.command("kubectl").args(["exec", pod, "--", "sh", "-c", script]), "")
            };
            assert_eq!(shell(&format!("ls -A {at_home} {site}/team | grep -v :")).stdout, "\n");
            assert_eq!(shell(&format!("cat {site}/key.pem {site}/agent.sock")).stdout, "");
            assert!(!shell(&format!("test -S {site}/agent.sock")).status.success());
            assert_eq!(shell(&format!("{site}/tool.sh")).ok(), "works\n");
            for file in [format!("{at_home}/own.sh"), format!("{site}/team/plan.txt")] {
                let said = lab.try_kubectl(&format!("exec {pod} -- {file}"), "").failed();
                assert!(said.contains("executable file not found"), "{said}");
            }
            assert_eq!(shell("ls -A /nix 2>/dev/null | grep -v '^store$'").stdout, "");
        }
        lab.end();
    }
}

#[test]
fn the_machines_devices_and_settings_are_out_of_reach() {
    for user in users() {
        let lab = attacked(user);
        let devices = shell(
            &lab,
            "cd /dev && for f in *; do [ -L $f ] && continue; [ -c $f ] && echo $f; [ -b $f ] && echo DISK $f; done; true",
        );
        let allowed = ["full", "null", "random", "tty", "urandom", "zero"];
        for device in devices.ok().lines() {
            assert!(allowed.contains(&device), "/dev/{device}");
        }
        for attempt in [
            "echo 1 >/proc/sys/kernel/panic",
            "echo 1 >/proc/sys/net/ipv4/ip_forward",
            "echo h >/proc/sysrq-trigger && test -s /proc/sysrq-trigger",
            "test -s /proc/kcore && head -c 1 /proc/kcore | grep -q .",
            "echo x >/etc/passwd",
            "echo x >/etc/resolv.conf",
            "echo x >/new",
            "echo x >/usr/bin/new",
            "echo x >/tmp/new",
            "mount -t proc proc /proc",
            "chroot / true",
        ] {
            assert!(!shell(&lab, attempt).status.success(), "{attempt}");
        }
        lab.end();
    }
}

/// What comes to `attack listen` in the pod `victim` of all that the pod `attacker` sends there, also as if it
/// came from the pod `friend`, the node and a stranger.
fn arrived(lab: &Lab, round: usize) -> Vec<String> {
    let addresses = |pod: &str| {
        let ips = lab.json(&format!("pod {pod}"))["status"]["podIPs"].clone();
        let ips = ips.as_array().unwrap().iter().map(|ip| ip["ip"].as_str().unwrap().to_owned());
        ips.collect::<Vec<_>>()
    };
    let (victim, friend) = (addresses("victim").join(" "), addresses("friend").join(" "));
    let names = format!("{friend} 10.244.0.1 fd00:10:244::1 192.0.2.1 2001:db8::1");
    let _ = lab.kubectl(&format!("exec attacker -- attack reach 9000 {victim} {names}"));
    // What comes later than all of that, and may.
    let _ = lab.kubectl(&format!("exec friend -- attack reach 9000 {victim}"));
    let mut log = String::new();
    wait_for("what is permitted", || {
        log = lab.kubectl("logs victim");
        (log.lines().filter(|line| *line == "got end").count() == round).then_some(())
    });
    log.lines().map(str::to_owned).collect()
}

#[test]
fn no_packet_of_a_pod_gets_round_a_policy_or_has_another_ones_source() {
    for user in users() {
        let lab = attacked(user);
        let _ = lab.kubectl("run victim --image attack:1 -- listen 9000");
        let _ = lab.kubectl("run friend --image attack:1 -l app=friend -- wait");
        let _ = lab.kubectl("wait --for=condition=Ready pod/victim pod/friend --timeout=30s");
        if lab.json("pod victim")["status"]["podIPs"].as_array().unwrap().len() < 2 {
            let test = "no_packet_of_a_pod_gets_round_a_policy_or_has_another_ones_source";
            return end_to_end::skip(test, "this kernel has no IPv6");
        }
        // Without a policy each way is one; but in nobody else's name.
        let open = arrived(&lab, 2);
        for way in ["v4", "v6", "large", "lite", "broadcast", "multicast"] {
            assert!(open.contains(&format!("got {way}")), "{way}: {open:?}");
        }
        assert!(!open.iter().any(|line| line.starts_with("got as ")), "{open:?}");

        let policy = serde_json::json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "p"},
            "spec": {
                "podSelector": {"matchLabels": {"run": "victim"}},
                "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "friend"}}}]}],
            },
        });
        let _ = lab.kubectl_with("apply -f -", &policy.to_string());
        let shut = arrived(&lab, 3);
        let count = |way: &str| shut[open.len()..].iter().filter(|line| *line == way).count();
        // Those of the friend, to its one address of each family.
        assert_eq!((count("got v4"), count("got v6")), (1, 1), "{shut:?}");
        assert_eq!(count("got large"), 2, "{shut:?}");
        assert!(!shut.iter().any(|line| line.starts_with("got as ")), "{shut:?}");
        lab.end();
    }
}

#[test]
fn a_pod_has_no_socket_and_no_keyring_that_is_not_its_own() {
    for user in users() {
        let lab = attacked(user);
        let tried = lab.kubectl("exec attacker -- attack sockets");
        // AF_UNIX, AF_INET, AF_INET6, AF_NETLINK: what a network namespace has.
        let made = tried.lines().filter_map(|line| line.strip_suffix(": made"));
        let foreign: Vec<&str> = made
            .filter(|line| !["1", "2", "10", "16"].contains(&line.split(' ').nth(1).unwrap()))
            .collect();
        assert!(foreign.is_empty(), "{foreign:?}");
        // AF_VSOCK, which no namespace bounds, on whatever kernel.
        let refused = "family 40 type 1: Operation not permitted";
        assert!(tried.contains(refused), "{tried}");
        assert!(tried.contains("family 10 type 2: made"), "{tried}");

        // keyctl(2), add_key(2), request_key(2), and io_uring_setup(2), which makes sockets of any family.
        let numbers = match std::env::consts::ARCH {
            "x86_64" => [250, 248, 249, 425],
            _ => [219, 217, 218, 425],
        };
        for number in numbers {
            let script = format!("exec perl -e 'syscall({number}, 0, -4, 0, 0, 0); print $!+0'");
            let said = shell(&lab, &format!("command -v perl >/dev/null || exit 3; {script}"));
            if said.status.code() == Some(3) {
                end_to_end::skip(
                    "a_pod_has_no_socket_and_no_keyring_that_is_not_its_own",
                    "there is no perl to make system calls by number",
                );
                break;
            }
            assert_eq!(said.ok(), "1", "system call {number} is EPERM");
        }
        lab.end();
    }
}

#[test]
fn a_script_of_the_machine_can_be_run() {
    let lab = attacked(As::Myself);
    // A shell script on every machine with the GNU C library.
    let said = lab.try_kubectl("exec attacker -- ldd --version", "");
    assert!(said.status.success() || said.stderr.contains("not found in $PATH"), "{}", said.stderr);
    lab.end();
}

#[test]
fn a_group_of_the_machine_is_no_containers() {
    if !geteuid().is_root() {
        return end_to_end::skip(
            "a_group_of_the_machine_is_no_containers",
            "an ordinary user's lab gives containers no group but its own",
        );
    }
    let lab = Lab::start(As::Myself);
    for (name, group) in [("root", 0), ("disk", 6)] {
        let pod = serde_json::json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "spec": {
                "securityContext": {"runAsUser": 9999, "runAsGroup": group},
                "containers": [{"name": "c", "image": "hello-server:1.0.0"}],
            },
        });
        let _ = lab.kubectl_with("apply -f -", &pod.to_string());
        wait_for("the refusal", || {
            let waiting =
                &lab.json(&format!("pod {name}"))["status"]["containerStatuses"][0]["state"];
            let message = waiting["waiting"]["message"].as_str()?;
            (waiting["waiting"]["reason"] == "CreateContainerConfigError"
                && message.contains("runAsGroup"))
            .then_some(())
        });
    }
    lab.end();
}
