use std::path::Path;

use super::reader::NO_OBJECT;
use super::*;

fn read(text: &str) -> Result<Manifests, Vec<String>> {
    manifests(&[Input::new("-")], text.as_bytes())
        .map_err(|findings| findings.iter().map(ToString::to_string).collect())
}

#[test]
fn the_demos_own_manifests_are_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../manifests");
    let paths = [folder.join("hello-app"), folder.join("network-policy.yaml")];
    let manifests = manifests(&paths.map(Input::new), std::io::empty()).unwrap();
    let names: Vec<_> = manifests.cluster.pods().iter().map(ToString::to_string).collect();
    assert_eq!(
        names,
        ["default/hello-client-allowed", "default/hello-client-blocked", "default/hello-server"]
    );
    assert_eq!(manifests.cluster.policies().len(), 1);
    let services: Vec<_> = manifests.cluster.services().iter().map(ToString::to_string).collect();
    assert_eq!(services, ["default/hello-server"]);
    assert_eq!(manifests.skipped, BTreeMap::new());
}

#[test]
fn a_typo_is_found_with_file_line_and_path() {
    let text = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n  name: p\n\
                spec:\n  podSelecter: {}\n  ingress:\n    - form: []\n";
    assert_eq!(
        read(text).unwrap_err(),
        [
            r#"standard input:8: spec.ingress[0].form: unknown field, did you mean "from"?"#,
            r#"standard input:6: spec.podSelecter: unknown field, did you mean "podSelector"?"#
        ]
    );
}

#[test]
fn an_invalid_value_is_found_with_its_line() {
    let text = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p}\nspec:\n  ingress:\n    - ports:\n        - port: 0\n";
    let findings = read(text).unwrap_err();
    assert_eq!(
        findings,
        [
            "standard input:7: spec.ingress[0].ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive"
        ]
    );
}

#[test]
fn lists_are_read_typed_and_not() {
    let text = "kind: PodList\nitems:\n- metadata: {name: a}\n- metadata: {name: b}\n---\n\
                kind: List\nitems:\n- {kind: Pod, metadata: {name: c}}\n- {kind: Secret}\n";
    let manifests = read(text).unwrap();
    assert_eq!(manifests.cluster.pods().len(), 3);
    assert_eq!(manifests.skipped["Secret"], 1);
    let findings = read("kind: PodList\nitems:\n- metadata:\n    nmae: a\n").unwrap_err();
    assert_eq!(
        findings,
        [r#"standard input:4: metadata.nmae: unknown field, did you mean "name"?"#]
    );
}

#[test]
fn what_is_no_list_of_objects_is_refused_as_kubectl_does() {
    for (items, expected) in [
        ("{}", "standard input:2: items: a list is wanted, not {}"),
        ("a", "standard input:2: items: a list is wanted, not \"a\""),
        ("[null]", "standard input:2: items[0]: an object is wanted, not null"),
        ("[{kind: Secret}, 1]", "standard input:2: items[1]: an object is wanted, not 1"),
    ] {
        assert_eq!(read(&format!("kind: List\nitems: {items}\n")).unwrap_err(), [expected]);
    }
    assert_eq!(read("kind: List\n").unwrap_err(), ["standard input:1: items: Required value"]);
    for none in ["null", "[]"] {
        assert!(read(&format!("kind: List\nitems: {none}\n")).is_ok(), "{none}");
    }
}

#[test]
fn an_object_must_have_a_name_or_what_one_begins_with() {
    for kind in
        ["Pod", "Namespace", "Service", "Deployment", "CronJob", "Endpoints", "EndpointSlice"]
    {
        let object = |metadata: &str| format!("kind: {kind}\n{metadata}addressType: IPv4\n");
        let object = |metadata: &str| match kind {
            "EndpointSlice" => object(metadata) + "endpoints: []\n",
            _ => object(metadata).replace("addressType: IPv4\n", ""),
        };
        for nameless in
            ["", "metadata:\n", "metadata: {labels: {a: b}}\n", "metadata: {name: ''}\n"]
        {
            let said = read(&object(nameless)).unwrap_err();
            assert!(
                said[0]
                    .ends_with("metadata.name: Required value: name or generateName is required"),
                "{kind} {nameless}: {said:?}"
            );
        }
        // Two of these are two objects.
        let generated = object("metadata: {generateName: a-}\n");
        assert!(read(&format!("{generated}---\n{generated}")).is_ok(), "{kind}");
    }
    let pods = "kind: Pod\nmetadata: {generateName: a-}\n---\n\
        kind: Job\nmetadata: {generateName: b-}\nspec: {template: {}}\n";
    let cluster = read(pods).unwrap().cluster;
    let names: Vec<_> = cluster.pods().iter().map(ToString::to_string).collect();
    assert_eq!(names, ["default/a-", "default/b-"]);
    let policy = read("kind: NetworkPolicy\nmetadata: {generateName: p-}\n").unwrap().cluster;
    assert_eq!(policy.policies()[0].name, "p-");
}

#[test]
fn every_workload_is_a_pod_of_its_template() {
    let template = "{metadata: {labels: {app: x}}, spec: {containers: [{name: c, ports: [{name: http, containerPort: 80}]}]}}";
    for kind in
        ["Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job", "ReplicationController"]
    {
        let text = format!("kind: {kind}\nmetadata: {{name: w}}\nspec: {{template: {template}}}\n");
        let manifests = read(&text).unwrap();
        let pod = &manifests.cluster.pods()[0];
        assert_eq!((pod.labels["app"].as_str(), pod.named_ports.len()), ("x", 1), "{kind}");
    }
    let text = format!(
        "kind: CronJob\nmetadata: {{name: w}}\nspec: {{jobTemplate: {{spec: {{template: {template}}}}}}}\n"
    );
    assert_eq!(read(&text).unwrap().cluster.pods()[0].labels["app"], "x");
}

#[test]
fn what_names_no_namespace_is_in_that_of_its_input() {
    assert_eq!(Input::from(OsString::from("a")), Input::new("a"));
    assert_eq!(Input::from(OsString::from("./a=b")), Input::new("./a=b"));
    let input = Input::from(OsString::from("hello-apps=-"));
    let text = "kind: Pod\nmetadata: {name: a}\n---\n\
        kind: Pod\nmetadata: {name: b, namespace: other}\n---\n\
        kind: Namespace\nmetadata: {name: c}\n";
    let manifests = manifests(&[input], text.as_bytes()).unwrap();
    let pods: Vec<_> = manifests.cluster.pods().iter().map(ToString::to_string).collect();
    assert_eq!(pods, ["hello-apps/a", "other/b"]);
    assert!(manifests.cluster.namespace_labels("c").is_some());
}

#[test]
fn what_is_clear_although_the_api_server_refuses_it_is_told_and_used() {
    let text = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: under_score}\nspec: {podSelector: {}}\nstatus: {}\n";
    let manifests = read(text).unwrap();
    assert_eq!(manifests.cluster.policies().len(), 1);
    let told: Vec<_> = manifests.refusals.iter().map(ToString::to_string).collect();
    assert!(told[0].starts_with("standard input:5: status: unknown field"), "{told:?}");
    assert!(told[1].starts_with("standard input:3: metadata.name: Invalid value"), "{told:?}");
    assert!(valid_manifests(&[Input::new("-")], text.as_bytes()).is_err());
    assert!(read(&text.replace("under_score", "''")).is_err());
}

#[test]
fn a_kind_of_another_group_is_another_kind() {
    let text = "apiVersion: projectcalico.org/v3\nkind: NetworkPolicy\nmetadata: {name: p}\nspec: {order: 1}\n";
    let manifests = read(text).unwrap();
    let calicos = ("NetworkPolicy.projectcalico.org".to_owned(), 1);
    assert_eq!(manifests.skipped, BTreeMap::from([calicos]));
    assert!(manifests.cluster.policies().is_empty());
}

#[test]
fn what_is_no_object_at_all_is_skipped_and_counted() {
    let manifests = read("[1, 2]\n---\nreplicas: 3\n").unwrap();
    assert_eq!(manifests.skipped[NO_OBJECT], 2);
    assert!(read("apiVersion: v1\nknid: Pod\n").is_err());
}

#[test]
fn one_bad_document_leaves_no_result() {
    assert!(read("kind: Pod\nmetadata: {name: a}\n---\nkind: Pod\nmetdata: {}\n").is_err());
    assert!(read("metadata: {name: a}\n").is_err());
    assert!(manifests(&[Input::new("/no/such/file")], std::io::empty()).is_err());
}

#[test]
fn what_is_null_of_a_head_is_not_there_and_an_empty_namespace_is_none() {
    let read = |place: &str, text: &str| {
        let input = Input { namespace: place.to_owned(), ..Input::new("-") };
        let read = manifests(&[input], text.as_bytes());
        read.unwrap_or_else(|findings| panic!("{findings:?}"))
    };
    let null = read("shop", "apiVersion: null\nkind: Pod\nmetadata: {name: a}\n");
    assert_eq!(null.refusals[0].message, "apiVersion: Required value: v1 for Pod");
    for namespace in ["", "null", "''", "~"] {
        for place in ["shop", "default"] {
            for head in
                ["apiVersion: v1\nkind: Pod", "apiVersion: argoproj.io/v1alpha1\nkind: Rollout"]
            {
                let text = format!(
                    "{head}\nmetadata: {{name: a, namespace: {namespace}}}\n\
                     spec: {{template: {{spec: {{containers: [{{name: c}}]}}}}}}\n"
                );
                let text = if head.ends_with("Pod") {
                    text.split("spec:").next().unwrap().to_owned()
                } else {
                    text
                };
                let read = read(place, &text);
                assert_eq!(read.cluster.pods()[0].namespace, place, "{text}");
            }
        }
    }
}
