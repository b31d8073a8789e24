//! Volumes, as who writes a manifest sees them. Each as root and as an ordinary user.

use end_to_end::typist::Typist;
use end_to_end::{As, Lab, run, users, wait_for};
use serde_json::{Value, json};

fn pod(name: &str, volumes: &Value, containers: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"terminationGracePeriodSeconds": 0, "volumes": volumes, "containers": containers},
    })
}

/// A container that waits, and mounts these.
fn waits(name: &str, mounts: &Value) -> Value {
    json!({
        "name": name, "image": "busybox", "command": ["sleep", "infinity"], "volumeMounts": mounts,
    })
}

fn apply(lab: &Lab, object: &Value) {
    let _ = lab.kubectl_with("apply -f -", &object.to_string());
}

fn start(lab: &Lab, pod: &Value) {
    apply(lab, pod);
    let name = pod["metadata"]["name"].as_str().unwrap();
    let ready =
        lab.try_kubectl(&format!("wait --for=condition=Ready pod/{name} --timeout=30s"), "");
    assert!(ready.status.success(), "{}", lab.kubectl(&format!("describe pod {name}")));
}

/// What a shell says in a container, `POD` or `POD/CONTAINER`.
fn shell(lab: &Lab, container: &str, script: &str) -> end_to_end::Output {
    let (pod, container) = container.split_once('/').unwrap_or((container, "c"));
    run(lab.command("kubectl").args(["exec", pod, "-c", container, "--", "sh", "-c", script]), "")
}

fn says(lab: &Lab, container: &str, script: &str) -> String {
    shell(lab, container, script).ok()
}

fn fails(lab: &Lab, container: &str, script: &str) {
    let said = shell(lab, container, script);
    assert!(!said.status.success(), "{script}: {}", said.stdout);
}

/// The messages of a pod's events of this reason, once there are any.
fn events(lab: &Lab, pod: &str, reason: &str) -> String {
    wait_for(reason, || {
        let said = end_to_end::pods::events(lab, pod, reason).join(" ");
        (!said.is_empty()).then_some(said)
    })
}

fn objects(lab: &Lab) {
    apply(
        lab,
        &json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"},
            "data": {"app.conf": "one\n", "run.sh": "#!/bin/sh\necho \"ran as $1\"\n"},
        }),
    );
    apply(
        lab,
        &json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login"},
            "stringData": {"password": "hunter2"},
        }),
    );
}

#[test]
fn containers_share_an_empty_dir_and_see_nothing_that_only_the_other_mounts() {
    for user in users() {
        let lab = Lab::start(user);
        objects(&lab);
        let volumes = json!([
            {"name": "shared", "emptyDir": {}},
            {"name": "login", "secret": {"secretName": "login"}},
        ]);
        let reader = json!([
            {"name": "shared", "mountPath": "/usr/share/nginx/html", "readOnly": true},
            {"name": "login", "mountPath": "/var/run/secrets/login"},
        ]);
        let writer = json!([{"name": "shared", "mountPath": "/data"}]);
        let containers =
            json!([waits("c", &writer), waits("reader", &reader), waits("third", &json!([]))]);
        start(&lab, &pod("p", &volumes, &containers));

        let _ = says(&lab, "p", "echo hello >/data/index.html && mkdir /data/sub");
        let page = "cat /usr/share/nginx/html/index.html";
        assert_eq!(says(&lab, "p/reader", page), "hello\n");
        fails(&lab, "p/reader", "echo x >/usr/share/nginx/html/x");
        assert_eq!(says(&lab, "p/reader", "cat /run/secrets/login/password"), "hunter2");
        for container in ["p", "p/third"] {
            fails(
                &lab,
                container,
                "test -e /run/secrets || test -e /usr/share/nginx/html/index.html",
            );
        }
        fails(&lab, "p/reader", "test -e /data");
        // What is beside what was mounted is what every pod sees there.
        let beside = "ls /usr/share /usr/bin /etc | grep -v nginx | sort";
        assert_eq!(says(&lab, "p/reader", beside), says(&lab, "p/third", beside));

        // It lives as long as the pod, not as the container.
        let _ = shell(&lab, "p", "kill -9 $(pgrep -o sleep) 2>/dev/null; kill -9 2 3 4");
        wait_for("the container again", || {
            shell(&lab, "p", "test -d /data/sub").status.success().then_some(())
        });
        assert_eq!(says(&lab, "p/reader", page), "hello\n");
        let _ = lab.kubectl("delete pod p");
        start(&lab, &pod("p", &volumes, &containers));
        assert_eq!(says(&lab, "p", "ls -A /data"), "", "another pod has its own");
        lab.end();
    }
}

#[test]
fn config_maps_and_secrets_are_files_that_change_all_at_once() {
    for user in users() {
        let lab = Lab::start(user);
        objects(&lab);
        let volumes = json!([
            {"name": "settings", "configMap": {"name": "settings", "defaultMode": 0o755}},
            {"name": "login", "secret": {
                "secretName": "login", "items": [{"key": "password", "path": "db/pw", "mode": 0o400}],
            }},
            {"name": "maybe", "configMap": {"name": "nobody", "optional": true}},
        ]);
        let mut container = waits(
            "c",
            &json!([
                {"name": "settings", "mountPath": "/etc/app"},
                {"name": "settings", "mountPath": "/etc/one.conf", "subPath": "app.conf"},
                {"name": "settings", "mountPath": "/usr/lib/two.conf", "subPath": "app.conf"},
                {"name": "login", "mountPath": "/secrets"},
                {"name": "maybe", "mountPath": "/maybe"},
            ]),
        );
        // A script of a ConfigMap is a program.
        container["command"] = json!(["/etc/app/run.sh"]);
        container["args"] = json!(["a program"]);
        let mut once = pod("once", &volumes, &json!([container.clone()]));
        once["spec"]["restartPolicy"] = "Never".into();
        apply(&lab, &once);
        wait_for("what it says", || {
            (lab.kubectl("logs once") == "ran as a program\n").then_some(())
        });

        container["command"] = json!(["sleep", "infinity"]);
        container["args"] = Value::Null;
        start(&lab, &pod("p", &volumes, &json!([container])));
        assert_eq!(
            says(&lab, "p", "cat /etc/app/app.conf /etc/one.conf /usr/lib/two.conf"),
            "one\none\none\n"
        );
        assert_eq!(says(&lab, "p", "readlink /etc/app/app.conf"), "..data/app.conf\n");
        assert!(says(&lab, "p", "readlink /etc/app/..data").starts_with("..20"));
        assert_eq!(says(&lab, "p", "stat -L -c %a /etc/app/app.conf /secrets/db/pw"), "755\n400\n");
        assert_eq!(
            says(&lab, "p", "cat /secrets/db/pw && ls /secrets /maybe"),
            "hunter2/maybe:\n\n/secrets:\ndb\n"
        );
        assert_eq!(says(&lab, "p", "stat -f -c %T /secrets /etc/app"), "tmpfs\ntmpfs\n");
        for place in ["/etc/app/x", "/etc/app/..data/app.conf", "/secrets/x", "/etc/one.conf"] {
            fails(&lab, "p", &format!("echo x >{place}"));
        }
        let exec = "exec p -- /etc/app/run.sh exec";
        assert_eq!(lab.kubectl(exec), "ran as exec\n");
        let typist = Typist::start(&lab, "exec -it p -- /etc/app/run.sh typist", (80, 24));
        typist.until("ran as typist");
        assert_eq!(typist.end(), Some(0));

        // Somebody reads two files again and again: never one old and one new.
        apply(
            &lab,
            &json!({
                "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"},
                "data": {"app.conf": "two\n", "new.conf": "two\n"},
            }),
        );
        wait_for("the new content", || {
            (says(&lab, "p", "cat /etc/app/app.conf") == "two\n").then_some(())
        });
        assert_eq!(says(&lab, "p", "ls /etc/app"), "app.conf\nnew.conf\n");
        assert_eq!(says(&lab, "p", "cat /etc/one.conf"), "one\n", "as with a kubelet");
        // What goes away later stays as it was.
        let _ = lab.kubectl("delete configmap settings");
        let told = events(&lab, "p", "FailedMount");
        assert!(told.contains("MountVolume.SetUp failed for volume \"settings\" : configmap \"settings\" not found"), "{told}");
        assert_eq!(says(&lab, "p", "cat /etc/app/app.conf"), "two\n");
        lab.end();
    }
}

#[test]
fn what_is_not_there_yet_is_waited_for() {
    for user in users() {
        let lab = Lab::start(user);
        let volumes = json!([{"name": "late", "secret": {"secretName": "login"}}]);
        let containers = json!([waits("c", &json!([{"name": "late", "mountPath": "/late"}]))]);
        apply(&lab, &pod("p", &volumes, &containers));
        let told = events(&lab, "p", "FailedMount");
        assert_eq!(
            told,
            "MountVolume.SetUp failed for volume \"late\" : secret \"login\" not found"
        );
        let status = lab.json("pod p")["status"].clone();
        assert_eq!(status["phase"], "Pending");
        let waiting = &status["containerStatuses"][0]["state"]["waiting"];
        assert_eq!(waiting["reason"], "ContainerCreating");
        objects(&lab);
        let _ = lab.kubectl("wait --for=condition=Ready pod/p --timeout=30s");
        assert_eq!(says(&lab, "p", "cat /late/password"), "hunter2");
        // Both cannot be: one is a file, and a folder for the other.
        let items = json!([{"key": "app.conf", "path": "x"}, {"key": "run.sh", "path": "x/y"}]);
        let volumes = json!([{"name": "odd", "configMap": {"name": "settings", "items": items}}]);
        apply(&lab, &pod("odd", &volumes, &containers_of("odd")));
        let told = events(&lab, "odd", "FailedMount");
        assert!(told.ends_with("volume \"odd\" : Not a directory (os error 20)"), "{told}");
        // One that waits for ever can be deleted.
        let volumes = json!([{"name": "never", "configMap": {"name": "never"}}]);
        apply(&lab, &pod("q", &volumes, &containers_of("never")));
        let _ = events(&lab, "q", "FailedMount");
        let _ = lab.kubectl("delete pod q --timeout=20s");
        lab.end();
    }
}

fn containers_of(volume: &str) -> Value {
    json!([waits("c", &json!([{"name": volume, "mountPath": "/v"}]))])
}

#[test]
fn the_pods_own_fields_and_several_sources_are_one_volume() {
    let lab = Lab::start(As::Myself);
    objects(&lab);
    let field = |path: &str, field: &str| json!({"path": path, "fieldRef": {"fieldPath": field}});
    let fields =
        json!({"items": [field("labels", "metadata.labels"), field("name", "metadata.name")]});
    let volumes = json!([{"name": "all", "projected": {"sources": [
        {"downwardAPI": fields},
        {"configMap": {"name": "settings", "items": [{"key": "app.conf", "path": "conf/app"}]}},
        {"secret": {"name": "login"}},
    ]}}]);
    start(&lab, &pod("p", &volumes, &containers_of("all")));
    assert_eq!(
        says(&lab, "p", "cd /v && cat labels && echo && cat name conf/app password"),
        "app=\"p\"\npone\nhunter2"
    );
    let _ = lab.kubectl("label pod p tier=web");
    wait_for("the new label", || {
        (says(&lab, "p", "cat /v/labels") == "app=\"p\"\ntier=\"web\"").then_some(())
    });
    lab.end();
}

#[test]
fn what_a_container_requests_and_is_limited_to_is_told_by_variables_and_files() {
    let lab = Lab::start(As::Myself);
    let of = |resource: &str| json!({"resource": resource, "containerName": "c", "divisor": "1m"});
    let volumes = json!([{"name": "v", "downwardAPI": {"items": [
        {"path": "cpu", "resourceFieldRef": of("limits.cpu")},
    ]}}]);
    let mut container = waits("c", &json!([{"name": "v", "mountPath": "/v"}]));
    container["resources"] = json!({"limits": {"cpu": "250m"}});
    container["env"] = json!([
        {"name": "CPU", "valueFrom": {"resourceFieldRef": of("requests.cpu")}},
        {"name": "MEMORY", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory"}}},
    ]);
    start(&lab, &pod("p", &volumes, &json!([container])));
    assert_eq!(says(&lab, "p", "echo $(cat /v/cpu) $CPU"), "250 250\n");
    let memory: u64 = says(&lab, "p", "echo $MEMORY").trim().parse().unwrap();
    assert!(memory > 1 << 20, "that of the node: {memory}");
    assert_eq!(lab.kubectl("get pod p -o jsonpath={.status.qosClass}"), "Burstable");
    lab.end();
}

#[test]
fn a_sub_path_of_variables_is_waited_for_until_it_leads_into_the_volume() {
    let lab = Lab::start(As::Myself);
    let volumes = json!([{"name": "v", "emptyDir": {}}]);
    let mounts = json!([
        {"name": "v", "mountPath": "/all"},
        {"name": "v", "mountPath": "/logs", "subPathExpr": "$(POD)/$(PART)"},
    ]);
    let field = |path: &str| json!({"fieldRef": {"fieldPath": path}});
    let mut container = waits("c", &mounts);
    container["env"] = json!([
        {"name": "POD", "valueFrom": field("metadata.name")},
        {"name": "PART", "valueFrom": field("metadata.annotations['part']")},
    ]);
    let mut one = pod("p", &volumes, &json!([container]));
    one["metadata"]["annotations"] = json!({"part": "../.."});
    apply(&lab, &one);
    let state = "get pod p -o jsonpath={.status.containerStatuses[0].state.waiting.reason}";
    wait_for("the refusal", || (lab.kubectl(state) == "CreateContainerConfigError").then_some(()));
    let _ = lab.kubectl("annotate pod p part=a --overwrite");
    let _ = lab.kubectl("wait --for=condition=Ready pod/p --timeout=30s");
    let _ = says(&lab, "p", "echo x >/logs/f && test -e /all/p/a/f");
    lab.end();
}

#[test]
fn a_limit_holds_and_a_sub_path_is_a_folder_of_the_volume() {
    for user in users() {
        let lab = Lab::start(user);
        let volumes = json!([{"name": "v", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}]);
        let mounts = json!([
            {"name": "v", "mountPath": "/all"},
            {"name": "v", "mountPath": "/logs", "subPath": "var/log"},
            {"name": "v", "mountPath": "/all/within/itself", "subPath": "var"},
        ]);
        start(&lab, &pod("p", &volumes, &json!([waits("c", &mounts)])));
        let _ = says(
            &lab,
            "p",
            "echo x >/logs/a && test -e /all/var/log/a -a -e /all/within/itself/log/a",
        );
        fails(&lab, "p", "head -c 2000000 /dev/zero >/all/big");
        let _ = says(&lab, "p", "rm /all/big && head -c 500000 /dev/zero >/all/small");
        lab.end();
    }
}

#[test]
fn volumes_lead_nowhere_else() {
    for user in users() {
        let lab = Lab::start(user);
        objects(&lab);
        let volumes = json!([
            {"name": "v", "emptyDir": {}}, {"name": "login", "secret": {"secretName": "login"}},
        ]);
        let mounts = json!([
            {"name": "v", "mountPath": "/usr/share/mine"}, {"name": "v", "mountPath": "tmp/../tmp"},
        ]);
        let secret = json!([{"name": "login", "mountPath": "/login"}]);
        start(&lab, &pod("p", &volumes, &json!([waits("c", &mounts), waits("other", &secret)])));
        let _ = says(&lab, "p", "echo x >/tmp/x && test -e /usr/share/mine/x");
        for attempt in [
            "echo x >/usr/share/new",
            "echo x >/usr/bin/new",
            "echo x >/new",
            "echo x >/etc/passwd",
            "echo x >>/etc/resolv.conf",
            "echo x >>/etc/hosts",
            "touch /var/tmp/x",
            "touch /dev/x",
            "mkdir /usr/share/mine/../new",
            "test -e /.containers",
            "test -e /.volumes",
            "test -e /login",
            "test -e /old",
            "ls -A /proc/1/root/",
            "chroot / true",
            "unshare -U true",
            "mount -t tmpfs none /tmp",
        ] {
            fails(&lab, "p", attempt);
        }
        let capabilities = says(&lab, "p", "grep -E '^Cap' /proc/self/status");
        assert!(
            capabilities.lines().all(|line| line.ends_with("\t0000000000000000")),
            "{capabilities}"
        );
        // A link in a volume leads where it leads in the container.
        let _ = says(&lab, "p", "ln -s / /tmp/root && ln -s ../../../.. /tmp/up");
        fails(&lab, "p", "test -e /tmp/root/login -o -e /tmp/up/login -o -e /tmp/up/.containers");
        for folder in ["/home", "/root", "/run", "/srv", "/mnt", "/sys"] {
            let there = says(&lab, "p", &format!("ls -A {folder} 2>/dev/null || true"));
            assert_eq!(there, "", "{folder}");
        }
        // The shim may choose a container's root folder, and nothing else that it may not for other pods.
        let path = "exec p -c c -- cat /proc/1/status";
        let status = lab.kubectl(path);
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            line.trim().to_owned()
        };
        let is_roots = nix::unistd::geteuid().is_root() && matches!(user, As::Myself);
        let needed = if is_roots { "00000000000400e5" } else { "0000000000040000" };
        assert_eq!((field("CapPrm:"), field("CapEff:")), (needed.to_owned(), needed.to_owned()));
        assert_eq!(field("CapBnd:"), "0000000000000000");
        // Devices cannot be made there, nor do programs get another's rights.
        let flags = says(&lab, "p", "grep ' /tmp ' /proc/self/mountinfo");
        assert!(flags.contains("nosuid") && flags.contains("nodev"), "{flags}");

        for (number, place) in ["/", "/proc/1/root/x", "/usr/../proc"].iter().enumerate() {
            let mounts = json!([{"name": "v", "mountPath": place}]);
            let name = format!("bad{number}");
            apply(&lab, &pod(&name, &volumes, &json!([waits("c", &mounts)])));
            let told = events(&lab, &name, "Failed");
            assert!(told.contains(&format!("a volume on {place:?}")), "{told}");
        }
        // By way of a link, which only the container has.
        let mounts = json!([{"name": "v", "mountPath": "/dev/fd/1"}]);
        apply(&lab, &pod("link", &volumes, &json!([waits("c", &mounts)])));
        let told = events(&lab, "link", "Failed");
        assert!(
            told.contains("cannot start the container: failed to mount on /dev/fd/1"),
            "{told}"
        );
        lab.end();
    }
}

#[test]
fn what_the_lab_has_not_and_what_makes_no_sense_is_refused_by_name() {
    let lab = Lab::start(As::Myself);
    for (number, source) in [
        json!({"hostPath": {"path": "/"}}),
        json!({"persistentVolumeClaim": {"claimName": "c"}}),
        json!({"projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}),
        json!({"csi": {"driver": "d"}}),
    ]
    .into_iter()
    .enumerate()
    {
        let kind = source.as_object().unwrap().keys().next().unwrap().clone();
        let kind = if kind == "projected" { "serviceAccountToken".to_owned() } else { kind };
        let mut volume = source;
        volume["name"] = "v".into();
        let name = format!("p{number}");
        apply(&lab, &pod(&name, &json!([volume]), &containers_of("v")));
        let told = events(&lab, &name, "Failed");
        assert!(
            told.contains("hello-lab does not run pods with") && told.contains(&kind),
            "{told}"
        );
    }
    let empty = json!([{"name": "v", "emptyDir": {}}]);
    let mount = |place: &str, name: &str| json!({"name": name, "mountPath": place});
    for (volumes, mounts, words) in [
        (empty.clone(), json!([mount("/v", "w")]), "volumeMounts[0].name: Not found: \"w\""),
        (
            empty.clone(),
            json!([mount("/v", "v"), mount("/v", "v")]),
            "volumeMounts[1].mountPath: Invalid value: \"/v\": must be unique",
        ),
        (
            json!([{"name": "v", "emptyDir": {}, "configMap": {"name": "m"}}]),
            json!([]),
            "spec.volumes[0].configMap: Forbidden: may not specify more than 1 volume type",
        ),
        (
            json!([{"name": "v", "emptyDir": {"sizeLimit": "much"}}]),
            json!([]),
            "quantities must match the regular expression",
        ),
    ] {
        let said = lab
            .refused("apply -f -", &pod("x", &volumes, &json!([waits("c", &mounts)])).to_string());
        assert!(said.contains(words), "{said}");
    }
    // Without a source it is an emptyDir.
    start(&lab, &pod("y", &json!([{"name": "v"}]), &containers_of("v")));
    lab.end();
}
