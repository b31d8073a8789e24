//! What becomes of what a policy denies, and that it is the same whichever end denies it.

use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use end_to_end::{As, Lab, Output, run, skip, users, wait_for};
use nix::sched::{CloneFlags, setns};
use nix::unistd::geteuid;

/// Denies `directions` to the pods that `selector` selects.
fn deny(name: &str, namespace: &str, selector: &str, directions: &str) -> String {
    format!(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n\
         metadata: {{name: {name}, namespace: {namespace}}}\n\
         spec: {{podSelector: {selector}, policyTypes: [{directions}]}}\n"
    )
}

const EVERY_POD: &str = "{}";
const SERVER: &str = "{matchLabels: {app: hello-server}}";

/// Runs `script` in the server's pod.
fn in_the_server(lab: &Lab, script: &str) -> Output {
    let arguments = ["exec", "deploy/hello-server", "--", "bash", "-c", script];
    run(lab.command("kubectl").args(arguments), "")
}

/// Runs hello-client to its end in a pod of this name; its exit code and what it said.
fn client(lab: &Lab, name: &str, arguments: &str) -> (i64, String) {
    let image = "--image=hello-client:1.0.0 --restart=Never";
    let _ = lab.kubectl(&format!("run {name} {image} -- {arguments}"));
    let code = wait_for("the client's end", || {
        let pod = lab.json(&format!("pod {name}"));
        pod["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"].as_i64()
    });
    (code, lab.kubectl(&format!("logs {name}")))
}

#[test]
fn the_verdict_is_the_same_whichever_end_denies() {
    for user in users() {
        let lab = Lab::start(user);
        lab.install_hello_app();
        let dns = "{matchLabels: {k8s-app: kube-dns}}";
        for (name, policy) in [
            ("by-ingress", deny("by-ingress", "default", SERVER, "Ingress")),
            ("by-egress", deny("by-egress", "default", EVERY_POD, "Egress")),
            ("names-by-ingress", deny("names-by-ingress", "kube-system", dns, "Ingress")),
        ] {
            let _ = lab.kubectl_with("apply -f -", &policy);
            // Longer than a resolver's look-up of one name that is dropped would need to fail at once.
            let arguments = "--count 2 --interval 0 --timeout 1 --expect blocked";
            let (code, said) = client(&lab, name, arguments);
            assert_eq!(code, 0, "{user:?} {name}: {said}");
            assert_eq!(said.matches("timed out").count(), 2, "{user:?} {name}: {said}");
            let _ = lab.kubectl_with("delete -f -", &policy);
        }
    }
}

#[test]
fn what_a_pod_may_not_send_vanishes_without_an_error() {
    for user in users() {
        let lab = Lab::start(user);
        lab.install_hello_app();
        // Where nobody lives, and within the pods' network: the datagram leaves for all that the pod can see.
        let send = "echo x > /dev/udp/10.244.200.200/53";
        let _ = in_the_server(&lab, send).ok();
        let _ = lab.kubectl_with("apply -f -", &deny("none", "default", EVERY_POD, "Egress"));
        let server = "getent hosts hello-server";
        let began = Instant::now();
        let _ = in_the_server(&lab, &format!("timeout 3 {server}")).failed();
        assert!(
            began.elapsed() >= Duration::from_secs(3),
            "{user:?}: the resolver was told at once"
        );
        let _ = in_the_server(&lab, send).ok();
    }
}

#[test]
fn with_reject_what_a_pod_may_not_send_is_refused_at_once() {
    let lab = Lab::start_with(As::Myself, &["--denied", "reject"]);
    lab.install_hello_app();
    let _ = lab.kubectl_with("apply -f -", &deny("none", "default", EVERY_POD, "Egress"));
    let address = lab.kubectl("get pod -l app=hello -o jsonpath={.items[0].status.podIP}");
    wait_for("a refusal", || {
        let said = in_the_server(&lab, &format!("timeout 3 bash -c '< /dev/tcp/{address}/80'"));
        said.stderr.contains("refused").then_some(())
    });
}

/// Runs `f` on a thread in the network namespace of a process.
fn inside<T: Send>(pid: i32, f: impl FnOnce() -> T + Send) -> T {
    let namespace = std::fs::File::open(format!("/proc/{pid}/ns/net")).unwrap();
    let run = || {
        setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
        f()
    };
    std::thread::scope(|scope| scope.spawn(run).join()).unwrap()
}

#[test]
fn the_other_end_cannot_make_a_denied_connection_one_by_answering() {
    const NAME: &str = "the_other_end_cannot_make_a_denied_connection";
    if !geteuid().is_root() {
        return skip(NAME, "entering a pod's network namespace from outside takes root");
    }
    for established in ["cut", "keep"] {
        let lab = Lab::start_with(As::Myself, &["--established", established]);
        lab.install_hello_app();
        let address = |label: &str| -> Ipv4Addr {
            let line = format!("get pod -l {label} -o jsonpath={{.items[0].status.podIP}}");
            lab.kubectl(&line).parse().unwrap()
        };
        let socket = |label: &str, port: u16| {
            let pid = lab.process(label);
            let socket = inside(pid, || UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port))).unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
            socket
        };
        let (one, other) = (socket("app=hello", 5000), socket("app=not-hello", 6000));
        let to_one = SocketAddr::from((address("app=hello"), 5000));
        let to_other = SocketAddr::from((address("app=not-hello"), 6000));
        let pass = |from: &UdpSocket, to: SocketAddr, at: &UdpSocket| {
            assert_eq!(from.send_to(b"?", to).unwrap(), 1);
            at.recv(&mut [0; 8]).is_ok()
        };
        assert!(pass(&one, to_other, &other) && pass(&other, to_one, &one), "no policy yet");
        // Other ports: connection tracking knows those by now.
        let (one, other) = (socket("app=hello", 5001), socket("app=not-hello", 6001));
        let (to_one, to_other) =
            (SocketAddr::new(to_one.ip(), 5001), SocketAddr::new(to_other.ip(), 6001));
        let policy = deny("alone", "default", "{matchLabels: {app: hello}}", "Ingress, Egress");
        let _ = lab.kubectl_with("apply -f -", &policy);
        let probe = socket("app=not-hello", 6002);
        wait_for("the policy", || {
            let port = one.local_addr().unwrap().port();
            (!pass(&probe, SocketAddr::new(to_one.ip(), port), &one)).then_some(())
        });
        for round in 0..3 {
            assert!(!pass(&one, to_other, &other), "{established}, {round}: out");
            assert!(!pass(&other, to_one, &one), "{established}, {round}: in");
        }
    }
}

#[test]
fn a_pod_reaches_itself_whatever_its_policies_deny_also_through_its_own_service() {
    let lab = Lab::start(As::Myself);
    lab.install_hello_app();
    let service = lab.kubectl("get svc hello-server -o jsonpath={.spec.clusterIP}");
    let pod = lab.kubectl("get pod -l app=hello-server -o jsonpath={.items[0].status.podIP}");
    let reaches = |address: &str| {
        let script = format!("timeout 3 bash -c '< /dev/tcp/{address}/8080'");
        in_the_server(&lab, &script).status.success()
    };
    for directions in ["Ingress", "Egress", "Ingress, Egress"] {
        let policy = deny("itself", "default", SERVER, directions);
        let _ = lab.kubectl_with("apply -f -", &policy);
        for address in [&*service, &*pod, "127.0.0.1"] {
            assert!(reaches(address), "{directions}: {address}");
        }
        let other = lab.kubectl("get pod -l app=hello -o jsonpath={.items[0].status.podIP}");
        // A packet that is let out is refused at once: nobody listens there.
        let script = format!("timeout 2 bash -c '< /dev/tcp/{other}/8080'");
        let out = in_the_server(&lab, &script).stderr.contains("refused");
        assert_eq!(out, directions == "Ingress", "{directions}: to another pod");
        let _ = lab.kubectl_with("delete -f -", &policy);
    }
}

#[test]
fn of_300_blocked_pods_that_connect_from_their_first_instruction_none_gets_an_answer() {
    const WAVES: usize = 3;
    const WAVE: usize = 100;
    let lab = Lab::start(As::Myself);
    let _ = lab.kubectl("apply -f ./manifests/hello-app/hello-server.yaml");
    let _ = lab.kubectl("apply -f ./manifests/network-policy.yaml");
    let _ = lab.kubectl("wait --for=condition=Available deployment --all --timeout=30s");
    let service = lab.kubectl("get svc hello-server -o jsonpath={.spec.clusterIP}");
    let patch = |more: &str| {
        let hello = r#"{"podSelector":{"matchLabels":{"app":"hello"}}}"#;
        let patch = format!(r#"{{"spec":{{"ingress":[{{"from":[{hello}{more}]}}]}}}}"#);
        let arguments = ["patch", "networkpolicy", "hello-server-allow-from-hello-client"];
        let mut command = lab.command("kubectl");
        let _ = run(command.args(arguments).args(["--type=merge", "-p", &patch]), "").ok();
    };
    for wave in 0..WAVES {
        let mut pods = String::new();
        for pod in 0..WAVE {
            let _ = write!(
                pods,
                "---\napiVersion: v1\nkind: Pod\n\
                 metadata: {{name: blocked-{wave}-{pod}, labels: {{app: not-hello}}}}\n\
                 spec:\n  restartPolicy: Never\n  terminationGracePeriodSeconds: 0\n  containers:\n  \
                 - name: client\n    image: hello-client:1.0.0\n    \
                 args: [\"http://{service}:8080\", --interval, \"0\", --timeout, \"0.05\", --count, \"20\", \
                 --expect, blocked]\n"
            );
        }
        let _ = lab.kubectl_with("create -f -", &pods);
        // The server's filter is replaced meanwhile, by others that permit the same and more.
        let mut flips = 0;
        wait_for("the end of a wave", || {
            flips += 1;
            patch(if flips % 2 == 0 {
                ""
            } else {
                r#",{"podSelector":{"matchLabels":{"a":"b"}}}"#
            });
            let pods = lab.json("pods -l app=not-hello");
            let of = |phase: &str| {
                let pods = pods["items"].as_array().unwrap().iter();
                pods.filter(|pod| pod["status"]["phase"] == phase).count()
            };
            assert_eq!(of("Failed"), 0, "who was answered, or told another reason");
            (of("Succeeded") == WAVE).then_some(())
        });
        let _ = lab.kubectl("delete pod -l app=not-hello --wait=false");
    }
    // What one of them had no time left to hear, the server would have served.
    let served = || {
        let log = lab.kubectl("logs deploy/hello-server --tail=-1");
        log.lines().filter(|line| line.ends_with("Serving request: /")).count()
    };
    assert_eq!(served(), 0);
    let labels = "--labels=app=hello --image=hello-client:1.0.0 --restart=Never";
    let _ = lab.kubectl(&format!("run allowed {labels} -- --count 1 --expect allowed"));
    wait_for("the allowed one's answer", || (served() == 1).then_some(()));
}
