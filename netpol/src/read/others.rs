//! What is taken of objects beside what policies see: resources of operators, and port names that a pod
//! has twice.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, PodSpec};
use serde_json::Value;

use super::{DEFINITION, Resource};
use crate::selector::labels_of;

/// The object as one of a kind that is not Kubernetes' own, of a group with a domain that is not; or as the
/// definition of such a kind, `PLURAL.GROUP`.
pub(super) fn resource(value: &Value) -> Option<Resource> {
    if value["kind"] == DEFINITION {
        let (_, group) = value["metadata"]["name"].as_str()?.split_once('.')?;
        let kind = DEFINITION.to_owned();
        return Some(Resource { kind, group: group.to_owned(), ..Resource::default() });
    }
    let (group, _) = value["apiVersion"].as_str()?.split_once('/')?;
    let is_own = !group.contains('.')
        || (group.ends_with(".k8s.io") && group != "gateway.networking.k8s.io");
    if is_own {
        return None;
    }
    let metadata = &value["metadata"];
    let text = |field: &str| metadata[field].as_str().map(str::to_owned);
    let spec = &value["spec"];
    let mut labels = labels_of(metadata);
    for place in
        [&spec["podMetadata"], &spec["podTemplate"]["metadata"], &spec["template"]["metadata"]]
    {
        labels.extend(labels_of(place));
    }
    Some(Resource {
        kind: value["kind"].as_str()?.to_owned(),
        group: group.to_owned(),
        namespace: text("namespace").unwrap_or_else(|| "default".to_owned()),
        name: text("name")?,
        labels,
    })
}

/// Port names that two containers of a pod, or one, have for one protocol, each at its second place
/// (`GetWarningsForPodTemplate` says so too): which of them a rule or a Service means differs.
pub(super) fn duplicate_port_names(path: &str, spec: &PodSpec) -> Vec<(String, String)> {
    let mut first: BTreeMap<(&str, &str), String> = BTreeMap::new();
    let mut found = Vec::new();
    let keeps_running =
        |container: &&Container| container.restart_policy.as_deref() == Some("Always");
    let containers = spec.containers.iter().enumerate();
    let containers =
        containers.map(|(index, container)| (format!("{path}.containers[{index}]"), container));
    let sidecars = spec.init_containers.iter().flatten().enumerate();
    let sidecars = sidecars
        .filter(|(_, container)| keeps_running(container))
        .map(|(index, container)| (format!("{path}.initContainers[{index}]"), container));
    for (path, container) in containers.chain(sidecars) {
        for (index, port) in container.ports.iter().flatten().enumerate() {
            let Some(name) = port.name.as_deref().filter(|name| !name.is_empty()) else { continue };
            let path = format!("{path}.ports[{index}]");
            let protocol = port.protocol.as_deref().unwrap_or("TCP");
            if let Some(before) = first.get(&(name, protocol)) {
                let message = format!(
                    "duplicate port name {name:?} with {before}: which of the two a policy's or a \
                     Service's port {name} means differs between engines"
                );
                found.push((format!("{path}.name"), message));
            } else {
                first.insert((name, protocol), path);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use crate::read::{Input, manifests};

    fn of_pods(text: &str) -> Vec<String> {
        let manifests = manifests(&[Input::new("-")], text.as_bytes()).unwrap();
        manifests.of_pods.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_port_name_that_a_pod_has_twice_is_told_with_its_line() {
        let containers = "    containers:\n    - {name: c, ports: [{name: http, containerPort: 9090}]}\n\
                          \x20   - name: d\n      ports:\n      - {name: http, containerPort: 8080}\n";
        let pod = format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: a}}\nspec:\n{}",
            containers
                .replace("    containers", "  containers")
                .replace("    -", "  -")
                .replace("      ", "    ")
        );
        let found = of_pods(&pod);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].contains(":9: spec.containers[1].ports[0].name: duplicate port name"),
            "{found:?}"
        );
        let template = format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: a}}\nspec:\n  selector: {{}}\n  template:\n   spec:\n{containers}"
        );
        let found = of_pods(&template);
        assert!(
            found.len() == 1 && found[0].contains(":12: spec.template.spec.containers[1]"),
            "{found:?}"
        );
    }

    #[test]
    fn a_name_for_each_protocol_is_no_duplicate() {
        let ports = "{name: dns, containerPort: 53, protocol: UDP}, {name: dns, containerPort: 53}";
        let pod = format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: a}}\nspec: {{containers: [{{name: c, ports: [{ports}]}}]}}\n"
        );
        assert_eq!(of_pods(&pod), [""; 0]);
    }
}
