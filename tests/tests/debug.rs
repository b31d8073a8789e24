//! `kubectl debug`: a container with tools, added to a pod that runs.

use end_to_end::typist::Typist;
use end_to_end::{Lab, run, users, wait_for};

const ONE_POD: &str = "get pod -l app=not-hello -o name";

#[test]
fn a_container_added_to_a_pod_is_in_its_network_and_its_policies_are_the_pods() {
    for user in users() {
        let lab = Lab::start(user);
        lab.install_hello_app();
        let pod = lab.kubectl(ONE_POD);
        let debug = |name: &str, script: &str| {
            let mut kubectl = lab.command("kubectl");
            kubectl.args([
                "debug",
                pod.trim(),
                "--image=busybox",
                "--profile=general",
                "-i",
                "-c",
                name,
            ]);
            run(kubectl.args(["--", "sh", "-c", script]), "")
        };
        let ask = "hostname; cat /proc/2/cmdline | tr '\\0' ' '; exec 3<>/dev/tcp/hello-server/8080 && \
                   printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3 && cat <&3";
        let ask =
            format!("exec timeout 3 bash -c \"{}\"", ask.replace('$', "\\$").replace('"', "\\\""));
        let said = debug("one", &ask).ok();
        let name = pod.trim().trim_start_matches("pod/");
        // The pod's host name, its processes, and its network.
        for expected in [name, "hello-client http://hello-server", "Hello, world!"] {
            assert!(said.contains(expected), "{expected}: {said}");
        }
        let _ = lab.kubectl("apply -f manifests/network-policy.yaml");
        let said = debug("two", &ask);
        assert!(!said.stdout.contains("Hello"), "{said:?}");
        let states = format!(
            "get {} -o jsonpath={{.status.ephemeralContainerStatuses[*].state.terminated.exitCode}}",
            pod.trim()
        );
        wait_for("both ends", || (lab.kubectl(&states) == "0 124").then_some(()));
        assert!(lab.kubectl(&format!("logs {} -c one", pod.trim())).contains("Hello, world!"));
        // The pod is what it was.
        assert!(lab.kubectl("get pods").contains("1/1"));
        assert!(lab.kubectl(&format!("describe {}", pod.trim())).contains("Ephemeral Containers:"));
        lab.end();
    }
}

#[test]
fn a_person_has_a_terminal_in_it_and_it_ends_with_its_pod() {
    let lab = Lab::start(end_to_end::As::Myself);
    lab.install_hello_app();
    let pod = lab.kubectl(ONE_POD);
    let line = format!("debug {} -it --image=busybox --profile=general -c tools", pod.trim());
    let mut shell = Typist::start(&lab, &line, (80, 24));
    shell.enter("tty; echo it-$((1+1))-works");
    shell.until("/dev/pts/");
    shell.until("it-2-works");
    shell.enter("trap '' TERM; echo deaf-$((1+1))");
    shell.until("deaf-2");
    let _ = lab.kubectl(&format!("delete {} --grace-period=2 --timeout=20s", pod.trim()));
    let _ = shell.end();
    lab.end();
}

#[test]
fn in_a_pod_with_volumes_it_has_none_of_them_and_says_so() {
    const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  volumes: [{name: v, emptyDir: {}}]\n  \
                       containers:\n  - {name: c, image: busybox, command: [sleep, \"1000\"], \
                       volumeMounts: [{name: v, mountPath: /volume}]}\n";
    for user in users() {
        let lab = Lab::start(user);
        let _ = lab.kubectl_with("apply -f -", POD);
        let _ = lab.kubectl("wait --for=condition=Ready pod/p --timeout=30s");
        let mut kubectl = lab.command("kubectl");
        kubectl.args("debug p --image=busybox --profile=general -i -c tools -- sh -c".split(' '));
        let said = run(kubectl.arg("ls -d /volume /.containers /etc/hosts 2>/dev/null"), "");
        assert_eq!(said.stdout.trim_end(), "/etc/hosts", "{said:?}");
        let body = "{\"spec\":{\"ephemeralContainers\":[{\"name\":\"a\",\"image\":\"busybox\",\"command\":[\"true\"],\
                    \"volumeMounts\":[{\"name\":\"v\",\"mountPath\":\"/volume\"}]}]}}";
        let mut kubectl = lab.command("kubectl");
        kubectl.args(["patch", "pod", "p", "--subresource=ephemeralcontainers", "-p", body]);
        let _ = run(&mut kubectl, "").ok();
        wait_for("the event", || {
            lab.kubectl("get events").contains("volumeMounts (a pod's").then_some(())
        });
        lab.end();
    }
}

#[test]
fn what_a_container_to_debug_cannot_have_is_refused_and_others_can_be_added() {
    let lab = Lab::start(end_to_end::As::Myself);
    lab.install_hello_app();
    let pod = lab.kubectl(ONE_POD);
    let debug = format!("debug {} --image=busybox --profile=general", pod.trim());
    let refused = lab.refused(&format!("{debug} -c a --target=nobody -- true"), "");
    assert!(refused.contains("targetContainerName: Not found: \"nobody\""), "{refused}");
    let edit = "patch --subresource=ephemeralcontainers";
    let body = "{\"spec\":{\"ephemeralContainers\":[{\"name\":\"a\",\"image\":\"busybox\",\"ports\":[{\"containerPort\":80}]}]}}";
    let mut kubectl = lab.command("kubectl");
    kubectl.args(edit.split(' ')).args([pod.trim(), "-p", body]);
    let refused = run(&mut kubectl, "").failed();
    assert!(refused.contains("cannot be set for an Ephemeral Container"), "{refused}");
    let _ = lab.kubectl(&format!("{debug} -c a --target=hello-client -- sleep 1000"));
    let _ = lab.kubectl(&format!("{debug} -c b -- sleep 1000"));
    let running = format!(
        "get {} -o jsonpath={{.status.ephemeralContainerStatuses[?(@.state.running)].name}}",
        pod.trim()
    );
    wait_for("both", || (lab.kubectl(&running) == "a b").then_some(()));
    assert_eq!(lab.kubectl(&format!("exec {} -c b -- echo hi", pod.trim())).trim(), "hi");
    // A label of such a pod can still be changed, and its containers cannot.
    let _ = lab.kubectl(&format!("label {} a=b", pod.trim()));
    let image = "[{\"op\":\"replace\",\"path\":\"/spec/ephemeralContainers/0/image\",\"value\":\"alpine\"}]";
    let mut kubectl = lab.command("kubectl");
    kubectl.args(edit.split(' ')).args([pod.trim(), "--type=json", "-p", image]);
    let refused = run(&mut kubectl, "").failed();
    assert!(refused.contains("may not be changed"), "{refused}");
    lab.end();
}
