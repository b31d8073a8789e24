//! The ordinary kubectl on the lab: each verb that the README promises.

use end_to_end::rolling::polls_through_restarts;
use end_to_end::{As, Lab, descendants, skip, users, wait_for};
use serde_json::json;
use std::fs::Permissions;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

#[test]
fn objects_are_created_configured_and_left_unchanged() {
    let lab = Lab::start(As::Myself);
    let manifest = std::fs::read_to_string("../manifests/hello-app/hello-client.yaml").unwrap();
    let first = lab.kubectl_with("apply -f -", &manifest);
    assert_eq!(
        first,
        "deployment.apps/hello-client-allowed created\ndeployment.apps/hello-client-blocked created\n"
    );
    let again = lab.kubectl_with("apply -f -", &manifest);
    assert_eq!(again.matches(" unchanged").count(), 2, "{again}");
    let changed = manifest.replacen("replicas: 1", "replicas: 2", 1);
    let third = lab.kubectl_with("apply -f -", &changed);
    assert!(third.contains("hello-client-allowed configured"), "{third}");
    assert!(third.contains("hello-client-blocked unchanged"), "{third}");
    // A change of a container must not lose what the patch does not name.
    let image = manifest.replacen("app: hello\n", "app: hello\n    tier: web\n", 1);
    let _ = lab.kubectl_with("apply -f -", &image);
    let deployment = lab.json("deployment hello-client-allowed");
    assert_eq!(deployment["metadata"]["labels"]["tier"], "web");
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["args"][0], "http://hello-server.default.svc:8080");
}

#[test]
fn get_prints_tables_names_and_paths() {
    let lab = Lab::start(As::Myself);
    lab.install_hello_app();
    let pods = lab.kubectl("get pods");
    assert!(pods.starts_with("NAME"), "{pods}");
    assert_eq!(pods.matches("1/1     Running   0").count(), 3, "{pods}");
    assert!(lab.kubectl("get pods -o wide").contains("10.244.0."));
    assert!(lab.kubectl("get pods -oname -l app=hello").starts_with("pod/hello-client-allowed-"));
    assert_eq!(lab.kubectl("get deploy hello-server -o jsonpath={.status.readyReplicas}"), "1");
    assert!(
        lab.kubectl("get pods --show-labels -l app=not-hello")
            .contains("app=not-hello,pod-template-hash=")
    );
    assert!(lab.kubectl("get svc,rs,netpol -A").contains("service/kube-dns"));
    assert!(lab.kubectl("get -n kube-system pods -o yaml").contains("k8s-app: kube-dns"));
    assert!(lab.kubectl("get all").contains("replicaset.apps/hello-server-"));
    assert!(lab.kubectl("get events").contains("Started container hello-server"));
    assert!(lab.kubectl("get nodes").contains("Ready"));
    assert!(lab.kubectl("version").contains("Server Version: v1."));
    assert!(lab.kubectl("api-resources").contains("networkpolicies"));
    assert!(lab.refused("get pods nope", "").contains("pods \"nope\" not found"));
}

#[test]
fn labels_annotations_and_replicas_can_be_changed() {
    let lab = Lab::start(As::Myself);
    lab.install_hello_app();
    assert_eq!(lab.kubectl("create ns other"), "namespace/other created\n");
    assert_eq!(lab.kubectl("label ns other team=hello"), "namespace/other labeled\n");
    assert!(
        lab.kubectl("get ns other --show-labels")
            .contains("kubernetes.io/metadata.name=other,team=hello")
    );
    assert_eq!(lab.kubectl("label ns other team-"), "namespace/other unlabeled\n");
    assert_eq!(
        lab.kubectl("annotate deploy/hello-server note=x"),
        "deployment.apps/hello-server annotated\n"
    );
    assert_eq!(
        lab.kubectl("scale deploy/hello-server --replicas=3"),
        "deployment.apps/hello-server scaled\n"
    );
    let _ = lab.kubectl("rollout status deploy/hello-server --timeout=30s");
    assert_eq!(lab.kubectl("get pods -oname -l app=hello-server").lines().count(), 3);
    let slices = lab.json("endpointslices hello-server");
    assert_eq!(slices["endpoints"].as_array().unwrap().len(), 3);
}

#[test]
fn a_restart_replaces_the_pods_and_is_waited_for() {
    let lab = Lab::start(As::Myself);
    lab.install_hello_app();
    let before = lab.kubectl("get pods -oname -l app=hello-server");
    let restarted = lab.kubectl("rollout restart deploy/hello-server");
    assert_eq!(restarted, "deployment.apps/hello-server restarted\n");
    let status = lab.kubectl("rollout status deploy/hello-server --timeout=30s");
    assert!(status.contains("successfully rolled out"), "{status}");
    let after = wait_for("the old pod to be gone", || {
        Some(lab.kubectl("get pods -oname -l app=hello-server"))
            .filter(|pods| pods.lines().count() == 1)
    });
    assert_ne!(before, after);
    assert!(lab.kubectl("rollout history deploy/hello-server").contains('2'));
}

#[test]
fn logs_are_shown_cut_dated_and_followed() {
    let lab = Lab::start(As::Myself);
    lab.install_hello_app();
    let log = wait_for("an answer", || {
        Some(lab.kubectl("logs -l app=hello --tail 100")).filter(|log| log.contains("Hostname:"))
    });
    assert!(log.contains("Hello, world!\nVersion: 1.0.0\nHostname: hello-server-"), "{log}");
    assert_eq!(lab.kubectl("logs deploy/hello-client-allowed --tail 1").lines().count(), 1);
    let dated = lab.kubectl("logs deploy/hello-server --timestamps --tail 1");
    assert!(dated.starts_with("20") && dated.contains("Z "), "{dated}");
    assert!(!lab.kubectl("logs deploy/hello-server --since=1h").is_empty());
    assert_eq!(lab.kubectl("logs deploy/hello-server --since=1s --limit-bytes=10").len(), 10);

    // As the tutorial writes it, with the shell's substitution; it ends when the pod does.
    let follow = "kubectl logs --tail 10 -f $(kubectl get pods -oname -l app=hello)";
    let mut bash = lab.command("bash");
    let mut follower = bash.args(["-c", follow]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    let _ = lab.kubectl("delete deploy/hello-client-allowed");
    let rest: Vec<_> = lines.map_while(Result::ok).collect();
    assert!(follower.wait().unwrap().success());
    assert!(first == "Hello, world!" || rest.iter().any(|line| line == "Hello, world!"));
}

#[test]
fn changes_can_be_watched() {
    let lab = Lab::start(As::Myself);
    let watch = |args: &str| {
        let mut command = lab.command("timeout");
        command.args(["30", "kubectl", "get", "-w", "--no-headers"]).args(args.split(' '));
        command.stdout(Stdio::piped()).spawn().unwrap()
    };
    let (mut all, mut one) = (watch("ns"), watch("ns default -L seen"));
    let lines = |child: &mut std::process::Child| {
        BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok)
    };
    let (mut all_lines, mut one_lines) = (lines(&mut all), lines(&mut one));
    // kubectl watches from the list on that it shows first.
    assert!(all_lines.any(|line| line.starts_with("kube-system ")));
    assert_eq!(one_lines.next().unwrap().split_whitespace().count(), 3);
    for change in
        ["create ns fresh", "create ns last", "label ns default seen=yes", "label ns default seen-"]
    {
        let _ = lab.kubectl(change);
    }
    let seen: Vec<_> = all_lines.take_while(|line| !line.starts_with("last ")).collect();
    assert_eq!(seen.iter().filter(|line| line.starts_with("fresh ")).count(), 1, "{seen:?}");
    assert!(one_lines.next().unwrap().ends_with(" yes"));
    assert_eq!(one_lines.next().unwrap().split_whitespace().count(), 3);
    for mut child in [all, one] {
        let _ = child.kill();
        let _ = child.wait();
    }
}

#[test]
fn what_is_deleted_is_gone_when_kubectl_returns() {
    let lab = Lab::start(As::Myself);
    lab.install_hello_app();
    let pod = lab.kubectl("get pods -oname -l app=hello");
    let deleted = lab.kubectl(&format!("delete {pod}"));
    assert!(deleted.starts_with("pod \"hello-client-allowed-"), "{deleted}");
    assert!(!lab.kubectl("get pods -oname").contains(pod.trim()));
    let _ = lab.kubectl("create ns other");
    let _ = lab.kubectl("-n other apply -f ./manifests/hello-app/hello-client.yaml");
    assert_eq!(lab.kubectl("delete ns other"), "namespace \"other\" deleted\n");
    assert!(lab.kubectl("get pods -A").lines().all(|line| !line.starts_with("other")));
    let all = lab.kubectl("delete -f ./manifests/hello-app/");
    assert_eq!(all.lines().count(), 4, "{all}");
    wait_for("the pods to be gone", || lab.kubectl("get pods -oname").is_empty().then_some(()));
}

#[test]
fn describe_and_wait_work() {
    let lab = Lab::start(As::Myself);
    lab.install_hello_app();
    let pod = lab.kubectl("describe pod -l app=hello-server");
    for part in ["Image:", "hello-server:1.0.0", "Readiness:", "Started container", "Node:"] {
        assert!(pod.contains(part), "{part}: {pod}");
    }
    let deployment = lab.kubectl("describe deploy hello-server");
    assert!(deployment.contains("1 desired | 1 updated | 1 total | 1 available"), "{deployment}");
    let _ = lab.kubectl("apply -f manifests/network-policy.yaml");
    let policy = lab.kubectl("describe netpol hello-server-allow-from-hello-client");
    assert!(policy.contains("PodSelector: app=hello"), "{policy}");
    let service = lab.kubectl("describe svc hello-server");
    assert!(service.contains("Endpoints:"), "{service}");
    let _ = lab.kubectl("wait --for=condition=Ready pod -l app=hello --timeout=10s");
}

#[test]
fn what_the_lab_has_not_is_said_clearly() {
    let lab = Lab::start(As::Myself);
    lab.install_hello_app();
    let said = lab.refused("apply --server-side -f manifests/network-policy.yaml", "");
    assert!(said.contains("server-side"), "{said}");
    // kubectl prunes by reading the lists of every kind that it knows, those that the lab has not too.
    let other = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: other}\n";
    let _ = lab.kubectl_with("apply -f -", other);
    let said = lab.kubectl("apply -f manifests/network-policy.yaml --prune --all");
    assert!(said.contains("configmap/other pruned"), "{said}");
    lab.end();
}

#[test]
fn explain_shows_the_fields_of_every_kind() {
    let lab = Lab::start(As::Myself);
    for (what, expected) in [
        ("networkpolicy.spec.ingress.from", "ipBlock\t<IPBlock>"),
        ("netpol.spec --recursive", "except\t<[]string>"),
        ("pods.spec.containers.ports.protocol", "Defaults to \"TCP\""),
        ("deploy.spec.template.spec.containers", "image\t<string>"),
        ("cronjobs.spec.schedule", "Cron format"),
        ("svc.spec.ports.targetPort", "<IntOrString>"),
    ] {
        let said = lab.kubectl(&format!("explain {what}"));
        assert!(said.contains(expected), "{what}: {said}");
    }
    let said = lab.refused("explain netpol.spec.rules", "");
    assert!(said.contains("field \"rules\" does not exist"), "{said}");
    lab.end();
}

#[test]
fn what_create_sends_as_protobuf_is_read() {
    let lab = Lab::start(As::Myself);
    for line in [
        "create namespace n",
        "create deployment d --image=hello-server:1.0.0 --replicas=2 --port=8080 -n n",
        "create configmap c --from-literal=a=b -n n",
        "create secret generic s --from-literal=a=b -n n",
        "create service clusterip d --tcp=80:8080 -n n",
        "create serviceaccount a -n n",
        "run p --image=hello-server:1.0.0 --port=8080 --expose -n n",
    ] {
        let _ = lab.kubectl(line);
    }
    let deployment = lab.json("deployment d -n n");
    assert_eq!(deployment["spec"]["replicas"], 2);
    let ports = &deployment["spec"]["template"]["spec"]["containers"][0]["ports"];
    assert_eq!(ports[0]["containerPort"], 8080);
    assert_eq!(lab.json("service d -n n")["spec"]["ports"][0]["targetPort"], 8080);
    assert_eq!(lab.json("secret s -n n")["data"]["a"], "Yg==");
    let _ = lab.kubectl("wait -n n --for=condition=Available deployment/d --timeout=30s");
    lab.end();
}

#[test]
fn without_the_token_nobody_comes_in() {
    let lab = Lab::start(As::Myself);
    let server = lab.kubectl("config view -o jsonpath={.clusters[0].cluster.server}");
    let right = lab.kubectl("config view --raw -o jsonpath={.users[0].user.token}");
    for token in ["wrong", &right[1..]] {
        let output = Command::new("kubectl")
            .args(["get", "pods", "--insecure-skip-tls-verify", "--kubeconfig=/dev/null"])
            .args([format!("--server={server}"), format!("--token={token}")])
            .output()
            .unwrap();
        assert!(!output.status.success());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("You must be logged in to the server"), "{said}");
    }
}

#[test]
fn rolling_restarts_lose_none_of_twenty_thousand_requests() {
    let lab = Lab::start(As::Myself);
    lab.install_hello_app();
    polls_through_restarts(|line, input| lab.kubectl_with(line, input));
    lab.end();
}

#[test]
fn a_pod_that_is_deleted_is_asked_to_end_and_does() {
    for user in users() {
        let lab = Lab::start(user);
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
            "spec": {
                // Longer than any test waits: only by the signal can it end before.
                "terminationGracePeriodSeconds": 3600,
                "containers": [{"name": "server", "image": "hello-server:1.0.0"}],
            },
        });
        let _ = lab.kubectl_with("apply -f -", &pod.to_string());
        let _ = lab.kubectl("wait --for=condition=Ready pod/p --timeout=30s");
        let _ = lab.kubectl("delete pod p --timeout=30s");
        lab.end();
    }
}

#[test]
fn a_further_image_stays_what_it_was_when_its_program_is_gone() {
    for user in users() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        let program = folder.path().join("app");
        std::fs::copy(end_to_end::program("hello-client"), &program).unwrap();
        let lab = Lab::start_with(user, &["--image", &format!("app:1={}", program.display())]);
        std::fs::remove_file(&program).unwrap();
        let _ = lab.kubectl("run app --image app:1 --restart Never -- --version");
        let _ = lab.kubectl("wait --for=jsonpath={.status.phase}=Succeeded pod/app --timeout=30s");
        assert_eq!(lab.kubectl("logs app"), "hello-client 1.0.0\n");
        lab.end();
    }
}

#[test]
fn what_starts_pods_comes_before_what_they_do() {
    let name = "what_starts_pods_comes_before_what_they_do";
    let nice = |pid: i32| {
        let group = std::fs::read_to_string(format!("/proc/{pid}/autogroup")).ok()?;
        group.trim().rsplit_once(' ')?.1.parse::<i32>().ok()
    };
    if !nix::unistd::geteuid().is_root() {
        return skip(name, "only root can have it so");
    }
    if nice(std::process::id().cast_signed()).is_none() {
        return skip(name, "this kernel does not group sessions");
    }
    let lab = Lab::start(As::Myself);
    lab.install_hello_app();
    let own = nice(descendants(lab.keeper().as_raw())[0]).unwrap();
    let pods = nice(lab.process("app=hello")).unwrap();
    assert!(own < 0 && pods == 0, "{own} and {pods}");
    lab.end();
}
