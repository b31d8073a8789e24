//! What a container's spec says of its life, as a person sees it with kubectl: exec probes, hooks, last words.

use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

use end_to_end::pods::{events, state, status, wait_for_state};
use end_to_end::{As, Lab, users, wait_for};
use serde_json::Value;

/// The log of a pod from its first line to its end, which comes by `kubectl ending`.
fn log_to_its_end(lab: &Lab, pod: &str, ending: &str) -> String {
    let mut follow = lab.command("kubectl");
    let mut follow =
        follow.args(["logs", "-f", pod]).stdout(Stdio::piped()).spawn().expect("kubectl");
    let mut said = String::new();
    let mut log = BufReader::new(follow.stdout.take().expect("piped"));
    log.read_line(&mut said).expect("a line");
    let _ = lab.kubectl(ending);
    log.read_to_string(&mut said).expect("text");
    follow.wait().expect("its end");
    said
}

fn lab(user: As) -> Lab {
    Lab::start_with(user, &["--image", "shell=/bin/sh"])
}

#[test]
fn exec_probes_restart_what_does_not_live_and_tell_what_is_not_ready() {
    const PODS: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: liveness-exec}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: c
    image: shell
    args: [-c, "touch /dev/shm/healthy; sleep 2; rm -f /dev/shm/healthy; exec sleep 3600"]
    livenessProbe:
      exec: {command: [cat, /dev/shm/healthy]}
      periodSeconds: 1
      failureThreshold: 1
---
apiVersion: v1
kind: Pod
metadata: {name: never-ready}
spec:
  containers:
  - name: c
    image: shell
    args: [-c, "exec sleep 3600"]
    readinessProbe: {exec: {command: [cat, /tmp/healthy]}, periodSeconds: 1}
---
apiVersion: v1
kind: Pod
metadata: {name: slow}
spec:
  containers:
  - name: c
    image: shell
    args: [-c, "exec sleep 3600"]
    readinessProbe: {exec: {command: [sleep, "60"]}, periodSeconds: 1, timeoutSeconds: 1}
---
apiVersion: v1
kind: Pod
metadata: {name: ready}
spec:
  containers:
  - name: c
    image: shell
    args: [-c, "exec sleep 3600"]
    readinessProbe: {exec: {command: ["true"]}}
---
apiVersion: v1
kind: Pod
metadata: {name: asks-by-grpc}
spec:
  containers:
  - {name: c, image: shell, readinessProbe: {grpc: {port: 80}}}
"#;
    for user in users() {
        let lab = lab(user);
        let _ = lab.kubectl_with("apply -f -", PODS);
        let _ = lab.kubectl("wait --for=condition=Ready pod/ready --timeout=30s");
        let unhealthy = |pod: &str, what: &str| {
            let said = wait_for(what, || {
                let said = events(&lab, pod, "Unhealthy");
                (!said.is_empty()).then_some(said)
            });
            assert!(said.iter().any(|said| said.contains(what)), "{said:?}");
        };
        unhealthy("never-ready", "Readiness probe failed: cat: /tmp/healthy: No such file");
        unhealthy("slow", "Readiness probe failed: no answer from \"sleep 60\" within 1s");
        unhealthy("liveness-exec", "Liveness probe failed: cat: /dev/shm/healthy: No such file");
        wait_for("the restart", || {
            let restarts = &status(&lab, "liveness-exec")["containerStatuses"][0]["restartCount"];
            restarts.as_u64().filter(|restarts| *restarts > 0)
        });
        assert!(lab.kubectl("get pod never-ready --no-headers").contains(" 0/1 "));
        wait_for_state(&lab, "asks-by-grpc", "CreateContainerConfigError");
        let _ = lab.kubectl("delete pod --all --now --timeout=30s");
        lab.end();
    }
}

#[test]
fn hooks_run_after_the_start_and_before_the_end() {
    const PODS: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: hooked}
spec:
  terminationGracePeriodSeconds: 20
  containers:
  - name: c
    image: busybox:1.28
    command:
    - sh
    - -c
    - |
      trap 'cat /dev/shm/before-the-end; echo told to end; kill $!; exit' TERM
      until [ -e /dev/shm/after-the-start ]; do sleep 0.1; done
      echo started
      sleep 3600 & wait
    lifecycle:
      postStart: {exec: {command: [touch, /dev/shm/after-the-start]}}
      preStop: {exec: {command: [sh, -c, "sleep 1; echo before the end > /dev/shm/before-the-end"]}}
---
apiVersion: v1
kind: Pod
metadata: {name: fails}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: c
    image: busybox:1.28
    command: [sleep, "3600"]
    lifecycle: {postStart: {exec: {command: [sh, -c, "echo no; exit 1"]}}}
---
apiVersion: v1
kind: Pod
metadata: {name: asked}
spec:
  terminationGracePeriodSeconds: 20
  containers:
  - name: c
    image: hello-server:1.0.0
    args: [--drain-delay, "0"]
    lifecycle: {preStop: {httpGet: {port: 8080, path: /goodbye}}}
---
apiVersion: v1
kind: Pod
metadata: {name: hangs}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: c
    image: busybox:1.28
    command: [sh, -c, "echo on; exec sleep 3600"]
    lifecycle: {postStart: {exec: {command: [sleep, "3600"]}}}
---
apiVersion: v1
kind: Pod
metadata: {name: sleeps}
spec:
  terminationGracePeriodSeconds: 3
  containers:
  - name: c
    image: busybox:1.28
    command: [sleep, "3600"]
    lifecycle: {preStop: {sleep: {seconds: 2}}}
"#;
    for user in users() {
        let lab = lab(user);
        let _ = lab.kubectl_with("apply -f -", PODS);
        for pod in ["hooked", "asked", "sleeps"] {
            let _ = lab.kubectl(&format!("wait --for=condition=Ready pod/{pod} --timeout=30s"));
        }
        wait_for("the hook after the start", || {
            (lab.kubectl("logs hooked") == "started\n").then_some(())
        });
        for (pod, last) in [("hooked", "before the end\ntold to end\n"), ("asked", "/goodbye\n")] {
            let said = log_to_its_end(&lab, pod, &format!("delete pod {pod} --timeout=15s"));
            assert!(said.contains(last), "{said}");
        }
        let begun = std::time::Instant::now();
        let _ = lab.kubectl("delete pod sleeps --timeout=15s");
        assert!(begun.elapsed().as_secs() >= 2, "{:?}", begun.elapsed());

        wait_for("a log", || (lab.kubectl("logs hangs") == "on\n").then_some(()));
        assert_eq!(state(&lab, "hangs"), "ContainerCreating");
        let _ = lab.kubectl("delete pod hangs --timeout=15s");
        let failed =
            wait_for("the hook's failure", || events(&lab, "fails", "FailedPostStartHook").pop());
        assert_eq!(failed, "PostStartHook failed: no");
        wait_for_state(&lab, "fails", "CrashLoopBackOff");
        let _ = lab.kubectl("delete pod fails --now --timeout=15s");
        lab.end();
    }
}

#[test]
fn who_fails_may_be_told_by_its_last_words() {
    const PODS: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: told}
spec:
  restartPolicy: Never
  containers:
  - {name: c, image: shell, terminationMessagePolicy: FallbackToLogsOnError, args: [-c, "echo one; echo two >&2; exit 3"]}
---
apiVersion: v1
kind: Pod
metadata: {name: silent}
spec:
  restartPolicy: Never
  containers:
  - {name: c, image: shell, args: [-c, "echo one; exit 3"]}
---
apiVersion: v1
kind: Pod
metadata: {name: well}
spec:
  restartPolicy: Never
  containers:
  - {name: c, image: shell, terminationMessagePolicy: FallbackToLogsOnError, args: [-c, "echo one"]}
---
apiVersion: v1
kind: Pod
metadata: {name: file}
spec:
  restartPolicy: Never
  containers:
  - {name: c, image: shell, terminationMessagePath: /dev/termination-log, args: [-c, "echo kept > /dev/termination-log"]}
---
apiVersion: v1
kind: Pod
metadata: {name: own-file}
spec:
  restartPolicy: Never
  containers:
  - {name: c, image: shell, terminationMessagePath: /dev/own-log, args: [-c, "echo kept > /dev/own-log; exit 1"]}
"#;
    for user in users() {
        let lab = lab(user);
        let _ = lab.kubectl_with("apply -f -", PODS);
        let message = |pod: &str| {
            wait_for("its end", || {
                let ended = &status(&lab, pod)["containerStatuses"][0]["state"]["terminated"];
                ended.is_object().then(|| ended["message"].clone())
            })
        };
        for pod in ["file", "own-file"] {
            assert_eq!(message(pod), "kept\n", "{pod}");
        }
        let told = message("told");
        // The two streams are read each for itself.
        assert!(told == "one\ntwo\n" || told == "two\none\n", "{told}");
        assert_eq!((message("silent"), message("well")), (Value::Null, Value::Null));
        lab.end();
    }
}

#[test]
fn a_pod_that_is_deleted_by_force_while_it_ends_is_gone_and_nothing_panics() {
    const SCRIPT: &str = r#"
set -e
kubectl apply -f - <<'POD'
apiVersion: v1
kind: Pod
metadata: {name: slow}
spec:
  containers:
  - name: c
    image: busybox
    command: [sleep, "1000"]
    lifecycle: {preStop: {exec: {command: [sleep, "1000"]}}}
POD
kubectl wait --for=condition=Ready pod/slow --timeout=20s
kubectl delete pod slow --wait=false
kubectl delete pod slow --force --grace-period=0
kubectl wait --for=delete pod/slow --timeout=20s
"#;
    for user in users() {
        let (mut lab, _home) = end_to_end::command_as(user, end_to_end::program("hello-lab"));
        let said = end_to_end::run(lab.args(["run", "--", "bash", "-c", SCRIPT]), "");
        assert!(said.status.success() && !said.stderr.contains("panicked"), "{said:?}");
    }
}

#[test]
fn a_container_that_cannot_be_started_says_why_in_its_status() {
    const PODS: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: nowhere}\nspec:\n  restartPolicy: Never\n  \
                        containers: [{name: c, image: busybox, command: [sleep, \"9\"], workingDir: /no/where}]\n---\n\
                        apiVersion: v1\nkind: Pod\nmetadata: {name: dotted}\nspec:\n  restartPolicy: Never\n  \
                        volumes: [{name: v, emptyDir: {}}]\n  containers:\n  - {name: c, image: busybox, \
                        command: [ls, -d, /x/.], volumeMounts: [{name: v, mountPath: /x, subPath: ./a/./b}]}\n";
    for user in users() {
        let lab = Lab::start(user);
        let _ = lab.kubectl_with("apply -f -", PODS);
        let state = "get pod nowhere -o jsonpath={.status.containerStatuses[0].state.terminated";
        wait_for("its end", || {
            (lab.kubectl(&format!("{state}.reason}}")) == "StartError").then_some(())
        });
        let said = lab.kubectl(&format!("{state}.message}}"));
        assert!(said.contains("the working directory /no/where is not there"), "{said}");
        assert_eq!(lab.kubectl(&format!("{state}.exitCode}}")), "128");
        let events = lab.kubectl("get events");
        assert!(events.contains("Error: hello-lab: cannot start the container"), "{events}");
        let phase = "get pod dotted -o jsonpath={.status.phase}";
        wait_for("its end", || (lab.kubectl(phase) == "Succeeded").then_some(()));
        lab.end();
    }
}
