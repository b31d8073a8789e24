//! What a pod's spec says of its life, as a person sees it with kubectl: init containers and sidecars, deadlines,
//! and how its processes find names.

use end_to_end::pods::{condition, events, state, status, wait_for_state};
use end_to_end::{As, Lab, run, users, wait_for};

fn lab(user: As) -> Lab {
    Lab::start_with(user, &["--image", "shell=/bin/sh"])
}

#[test]
fn init_containers_run_one_after_another_before_the_others() {
    const PODS: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: waits, labels: {app: waits}}
spec:
  initContainers:
  - name: first
    image: busybox:1.28
    command: [sh, -c, "echo first of $HOSTNAME"]
  - name: second
    image: busybox:1.28
    command: [sh, -c, "until getent hosts gate-is-open.default.svc.cluster.local; do sleep 0.1; done; echo second"]
  containers:
  - {name: app, image: busybox:1.28, command: [sh, -c, "echo app; exec sleep 3600"]}
"#;
    const OPEN: &str = r"
apiVersion: v1
kind: Service
metadata: {name: gate-is-open}
spec: {selector: {app: gate}, ports: [{port: 80}]}
";
    for user in users() {
        let lab = lab(user);
        let _ = lab.kubectl_with("apply -f -", PODS);
        wait_for_state(&lab, "waits", "Init:1/2");
        let initializing = status(&lab, "waits");
        assert_eq!(initializing["phase"], "Pending");
        assert_eq!(condition(&initializing, "Initialized"), "False");
        let waiting = &initializing["containerStatuses"][0]["state"]["waiting"];
        assert_eq!(waiting["reason"], "PodInitializing");
        assert_eq!(lab.kubectl("logs waits -c first"), "first of waits\n");
        let early = lab.refused("logs waits -c app", "");
        assert!(early.contains("is waiting to start: PodInitializing"), "{early}");
        let running = lab.kubectl("exec waits -c second -- echo here");
        assert_eq!(running, "here\n");

        let _ = lab.kubectl_with("apply -f -", OPEN);
        let _ = lab.kubectl("wait --for=condition=Ready pod/waits --timeout=30s");
        assert_eq!(state(&lab, "waits"), "Running");
        let running = status(&lab, "waits");
        assert_eq!(condition(&running, "Initialized"), "True");
        let init = &running["initContainerStatuses"];
        for (index, name) in ["first", "second"].into_iter().enumerate() {
            assert_eq!(init[index]["name"], name);
            assert_eq!(init[index]["ready"], true);
            assert_eq!(init[index]["state"]["terminated"]["reason"], "Completed");
        }
        assert!(lab.kubectl("logs waits -c second").ends_with("second\n"));
        assert_eq!(lab.kubectl("logs waits"), "app\n");
        let described = lab.kubectl("describe pod waits");
        assert!(described.contains("Init Containers:\n  first:\n"), "{described}");
        lab.end();
    }
}

#[test]
fn an_init_container_that_fails_fails_the_pod_or_is_tried_again_as_its_policy_says() {
    const PODS: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: never}
spec:
  restartPolicy: Never
  initContainers:
  - {name: fails, image: shell, args: [-c, "echo no; exit 3"]}
  - {name: after, image: shell, args: [-c, "echo after"]}
  containers:
  - {name: app, image: shell, args: [-c, "echo app"]}
---
apiVersion: v1
kind: Pod
metadata: {name: again}
spec:
  initContainers:
  - {name: fails, image: shell, args: [-c, "exit 3"]}
  containers:
  - {name: app, image: shell, args: [-c, "echo app"]}
---
apiVersion: v1
kind: Pod
metadata: {name: unknown}
spec:
  initContainers:
  - {name: i, image: "no-such-image:1"}
  containers:
  - {name: app, image: shell}
"#;
    for user in users() {
        let lab = lab(user);
        let _ = lab.kubectl_with("apply -f -", PODS);
        wait_for_state(&lab, "never", "Init:Error");
        let failed = status(&lab, "never");
        assert_eq!(failed["phase"], "Failed");
        assert_eq!(failed["initContainerStatuses"][0]["state"]["terminated"]["exitCode"], 3);
        let waiting = |list: &str, index: usize| {
            failed[list][index]["state"]["waiting"]["reason"].as_str().map(str::to_owned)
        };
        assert_eq!(waiting("initContainerStatuses", 1).as_deref(), Some("PodInitializing"));
        assert_eq!(waiting("containerStatuses", 0).as_deref(), Some("PodInitializing"));

        wait_for_state(&lab, "again", "Init:CrashLoopBackOff");
        wait_for("a second try", || {
            let restarts = &status(&lab, "again")["initContainerStatuses"][0]["restartCount"];
            restarts.as_u64().filter(|restarts| *restarts > 1)
        });
        assert_eq!(status(&lab, "again")["phase"], "Pending");
        let _ = lab.kubectl("delete pod again --timeout=30s");
        wait_for_state(&lab, "unknown", "Init:ImagePullBackOff");
        lab.end();
    }
}

#[test]
fn a_sidecar_is_there_before_and_until_after_the_containers_and_keeps_no_job_from_its_end() {
    const PODS: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: pair}
spec:
  terminationGracePeriodSeconds: 20
  initContainers:
  - name: proxy
    image: hello-server:1.0.0
    args: [--drain-delay, "0"]
    restartPolicy: Always
    startupProbe: {httpGet: {port: 8080, path: /readyz}, periodSeconds: 1}
  - {name: asks, image: "hello-client:1.0.0", args: ["--count=1", "--expect=allowed", "http://127.0.0.1:8080"]}
  containers:
  - {name: app, image: shell, args: [-c, "trap 'kill $!; exit' TERM; sleep 3600 & wait"]}
---
apiVersion: batch/v1
kind: Job
metadata: {name: job}
spec:
  template:
    spec:
      restartPolicy: Never
      initContainers:
      - {name: logger, image: shell, restartPolicy: Always, args: [-c, "trap 'kill $!; echo told; exit' TERM; echo on; touch /dev/shm/on; sleep 3600 & wait"]}
      containers:
      - {name: work, image: shell, args: [-c, "until [ -e /dev/shm/on ]; do sleep 0.1; done"]}
"#;
    for user in users() {
        let lab = lab(user);
        let _ = lab.kubectl_with("apply -f -", PODS);
        let _ = lab.kubectl("wait --for=condition=Ready pod/pair --timeout=30s");
        let line = lab.kubectl("get pod pair --no-headers");
        assert!(line.contains(" 2/2 ") && line.contains(" Running "), "{line}");
        assert!(lab.kubectl("logs pair -c asks").contains("Hello, world!\n"));

        let _ = lab.kubectl("wait --for=condition=Complete job/job --timeout=30s");
        let pods = lab.json("pods -l job-name=job");
        let status = &pods["items"][0]["status"];
        assert_eq!(status["phase"], "Succeeded");
        assert!(status["initContainerStatuses"][0]["state"]["terminated"].is_object(), "{status}");
        assert_eq!(lab.kubectl("logs job/job -c logger"), "on\ntold\n");

        // One that ends is started again, whatever the pod's policy.
        let restarts =
            || lab.json("pod pair")["status"]["initContainerStatuses"][0]["restartCount"].clone();
        let _ = run(
            lab.command("kubectl").args(["exec", "pair", "-c", "app", "--"]).args([
                "pkill",
                "-f",
                "^/?hello-server",
            ]),
            "",
        );
        wait_for("the proxy's restart", || (restarts() == 1).then_some(()));
        let _ = lab.kubectl("wait --for=condition=Ready pod/pair --timeout=30s");
        let _ = lab.kubectl("delete pod pair --timeout=10s");
        lab.end();
    }
}

#[test]
fn a_pod_that_is_active_for_too_long_has_failed_and_ends() {
    const PODS: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: late}
spec:
  activeDeadlineSeconds: 2
  terminationGracePeriodSeconds: 5
  containers:
  - {name: c, image: shell, args: [-c, "echo on; exec sleep 3600"]}
---
apiVersion: v1
kind: Pod
metadata: {name: stuck}
spec:
  activeDeadlineSeconds: 2
  containers:
  - {name: c, image: "no-such-image:1"}
---
apiVersion: v1
kind: Pod
metadata: {name: early}
spec:
  activeDeadlineSeconds: 2
  restartPolicy: Never
  containers:
  - {name: c, image: shell, args: [-c, "echo done"]}
"#;
    for user in users() {
        let lab = lab(user);
        let _ = lab.kubectl_with("apply -f -", PODS);
        for pod in ["late", "stuck"] {
            let jsonpath = "wait --for=jsonpath={.status.phase}=Failed --timeout=30s pod";
            let _ = lab.kubectl(&format!("{jsonpath}/{pod}"));
            let failed = status(&lab, pod);
            assert_eq!(failed["reason"], "DeadlineExceeded", "{failed}");
            let message = "Pod was active on the node longer than the specified deadline";
            assert_eq!(failed["message"], message);
            assert_eq!(events(&lab, pod, "DeadlineExceeded"), [message]);
        }
        assert_eq!(lab.kubectl("logs late"), "on\n", "the pod stays until somebody deletes it");
        assert_eq!(status(&lab, "early")["phase"], "Succeeded");
        let _ = lab.kubectl("delete pod late stuck early --timeout=30s");
        lab.end();
    }
}

#[test]
fn aliases_and_name_servers_of_a_pod_are_in_its_files() {
    const PODS: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: hostaliases-pod}
spec:
  restartPolicy: Never
  hostAliases:
  - {ip: "127.0.0.1", hostnames: [foo.local, bar.local]}
  - {ip: "10.1.2.3", hostnames: [foo.remote]}
  containers:
  - {name: c, image: busybox:1.28, command: [sh, -c, "getent hosts foo.remote; cat /etc/hosts"]}
---
apiVersion: v1
kind: Pod
metadata: {name: dns-example}
spec:
  restartPolicy: Never
  dnsPolicy: "None"
  dnsConfig:
    nameservers: [192.0.2.1]
    searches: [ns1.svc.cluster-domain.example, my.dns.search.suffix]
    options: [{name: ndots, value: "2"}, {name: edns0}]
  containers:
  - {name: c, image: busybox:1.28, command: [cat, /etc/resolv.conf]}
---
apiVersion: v1
kind: Pod
metadata: {name: default}
spec:
  restartPolicy: Never
  dnsPolicy: Default
  containers:
  - {name: c, image: busybox:1.28, command: [cat, /etc/resolv.conf]}
"#;
    for user in users() {
        let lab = lab(user);
        let _ = lab.kubectl_with("apply -f -", PODS);
        let log = |pod: &str| {
            let succeeded = "wait --for=jsonpath={.status.phase}=Succeeded --timeout=30s pod";
            let _ = lab.kubectl(&format!("{succeeded}/{pod}"));
            lab.kubectl(&format!("logs {pod}"))
        };
        let hosts = log("hostaliases-pod");
        assert!(hosts.starts_with("10.1.2.3"), "{hosts}");
        let aliases = "# Entries added by HostAliases.\n127.0.0.1\tfoo.local\tbar.local\n10.1.2.3\tfoo.remote\n";
        assert!(hosts.ends_with(aliases), "{hosts}");
        assert_eq!(
            log("dns-example"),
            "search ns1.svc.cluster-domain.example my.dns.search.suffix\n\
             nameserver 192.0.2.1\noptions ndots:2 edns0\n"
        );
        assert!(!log("default").contains("cluster.local"));
        let told = events(&lab, "default", "NotEnforced");
        assert!(told.iter().any(|told| told.contains("dnsPolicy Default")), "{told:?}");
        let bad = PODS.replace("foo.remote", "foo_remote");
        assert!(lab.refused("create -f -", &bad).contains("hostAliases[1].hostnames[0]"));
        lab.end();
    }
}

#[test]
fn a_pod_whose_image_is_changed_is_started_anew_as_the_other() {
    let lab = lab(As::Myself);
    let _ = lab.kubectl("run p --image=no-such-image --restart=Never -- -c 'exit 0'");
    wait_for_state(&lab, "p", "ImagePullBackOff");
    let _ = lab.kubectl("set image pod/p p=hello-server:1.0.0");
    let argument = "spec: Forbidden: pod updates may not change fields other than";
    let patch = r#"patch pod p -p {"spec":{"hostname":"other"}}"#;
    assert!(lab.refused(patch, "").contains(argument));
    // The arguments are those of the first image, with which the second fails.
    wait_for("its end", || {
        let image = lab.kubectl("get pod p -o jsonpath={.status.containerStatuses[0].image}");
        let state = lab.kubectl("get pod p -o jsonpath={.status.phase}");
        (image == "hello-server:1.0.0" && state == "Failed").then_some(())
    });
    lab.end();
}
