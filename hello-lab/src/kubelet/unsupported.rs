//! What a pod asks for and a process on this machine does not get. Nothing is left out
//! silently: what only weakens is told in an event, what would mislead keeps the pod from
//! starting.

use k8s_openapi::api::core::v1::{Container, PodSpec, Probe};

use super::volumes;

/// Why a pod cannot be started here, if so.
pub(super) fn refusal(spec: &PodSpec) -> Option<String> {
    let has = |what: &str| Some(format!("hello-lab does not run pods with {what}"));
    if spec.init_containers.as_ref().is_some_and(|list| !list.is_empty()) {
        return has("initContainers");
    }
    if spec.host_network == Some(true) {
        return has("hostNetwork: a pod of the lab is never on the machine's own network");
    }
    if let Some(what) = volumes::unsupported::refusal(spec) {
        return has(&what);
    }
    for container in &spec.containers {
        let mut variables = container.env.iter().flatten();
        if let Some(variable) = variables.find(|variable| {
            let source = variable.value_from.as_ref();
            source.is_some_and(|source| {
                source.resource_field_ref.is_some() || source.file_key_ref.is_some()
            })
        }) {
            return has(&format!(
                "variables from resourceFieldRef or fileKeyRef ({})",
                variable.name
            ));
        }
        if probes(container).any(|probe| probe.exec.is_some() || probe.grpc.is_some()) {
            return has("exec or grpc probes; httpGet and tcpSocket work");
        }
        if probes(container).any(|probe| !is_of_the_pod(probe)) {
            return has("probes of another host, or of HTTPS; a probe asks its own pod by HTTP");
        }
        if container.lifecycle.is_some() {
            return has("lifecycle hooks");
        }
    }
    None
}

/// What is not enforced for a pod, one word for each.
pub(super) fn not_enforced(spec: &PodSpec, privileged: bool) -> Vec<String> {
    let mut missing = Vec::new();
    let pod = spec.security_context.as_ref();
    let own = |container: &Container| container.security_context.clone().unwrap_or_default();
    if !privileged {
        let asked = spec
            .containers
            .iter()
            .find_map(|container| own(container).run_as_user)
            .or_else(|| pod.and_then(|pod| pod.run_as_user));
        if let Some(user) = asked {
            missing.push(format!("runAsUser {user} (it runs as the lab's own user)"));
        }
    }
    if pod.is_some_and(|pod| pod.supplemental_groups.is_some() || pod.fs_group.is_some()) {
        missing.push("supplementalGroups, fsGroup".to_owned());
    }
    let seccomp = pod.is_some_and(|pod| pod.seccomp_profile.is_some())
        || spec.containers.iter().any(|container| own(container).seccomp_profile.is_some());
    if seccomp {
        missing.push("seccompProfile".to_owned());
    }
    let resources = |container: &Container| {
        container.resources.as_ref().is_some_and(|resources| resources.limits.is_some())
    };
    if spec.containers.iter().any(resources) {
        missing.push("resources.limits".to_owned());
    }
    missing
}

/// What a pod with ports of SCTP is told where the kernel has none. Whether it has is the caller's
/// to find out: to ask may load a module.
pub(super) fn missing_sctp(spec: &PodSpec, kernel_has_sctp: impl Fn() -> bool) -> Option<String> {
    let ports = spec.containers.iter().flat_map(|container| container.ports.iter().flatten());
    let ports: Vec<_> = ports
        .filter(|port| port.protocol.as_deref() == Some("SCTP"))
        .map(|port| port.container_port.to_string())
        .collect();
    (!ports.is_empty() && !kernel_has_sctp()).then(|| {
        format!(
            "this kernel has no SCTP, so nobody can serve or reach {} (`sudo modprobe sctp` where \
             there is a module)",
            ports.join(", ")
        )
    })
}

fn probes(container: &Container) -> impl Iterator<Item = &Probe> {
    let probes = [&container.liveness_probe, &container.readiness_probe, &container.startup_probe];
    probes.into_iter().flatten()
}

/// Whether a probe asks the pod itself, and not by HTTPS.
fn is_of_the_pod(probe: &Probe) -> bool {
    let http = probe.http_get.as_ref();
    let host = http.map_or_else(
        || probe.tcp_socket.as_ref().and_then(|tcp| tcp.host.as_deref()),
        |http| http.host.as_deref(),
    );
    let scheme = http.and_then(|http| http.scheme.as_deref());
    host.unwrap_or_default().is_empty() && scheme.is_none_or(|scheme| scheme == "HTTP")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn spec(extra: Value) -> PodSpec {
        let mut spec = json!({"containers": [{"name": "c"}]});
        json_patch::merge(&mut spec, &extra);
        serde_json::from_value(spec).unwrap()
    }

    #[test]
    fn what_would_mislead_is_refused() {
        let probe = |probe: Value| json!({"containers": [{"name": "c", "readinessProbe": probe}]});
        assert_eq!(refusal(&spec(json!({}))), None);
        for own in [
            json!({"httpGet": {"port": 80, "scheme": "HTTP", "host": ""}}),
            json!({"tcpSocket": {"port": 80}}),
        ] {
            assert_eq!(refusal(&spec(probe(own))), None);
        }
        for extra in [
            json!({"initContainers": [{"name": "i"}]}),
            json!({"hostNetwork": true}),
            json!({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}),
            json!({"containers": [{"name": "c", "livenessProbe": {"exec": {"command": ["a"]}}}]}),
            json!({"containers": [{"name": "c", "env": [
                {"name": "a", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
            ]}]}),
            probe(json!({"httpGet": {"port": 80, "scheme": "HTTPS"}})),
            probe(json!({"httpGet": {"port": 80, "host": "10.244.0.9"}})),
            probe(json!({"tcpSocket": {"port": 80, "host": "10.244.0.9"}})),
        ] {
            assert!(refusal(&spec(extra.clone())).is_some(), "{extra}");
        }
    }

    #[test]
    fn a_pod_with_ports_of_sctp_is_told_where_the_kernel_has_none() {
        let ports = json!([{"containerPort": 80}, {"containerPort": 81, "protocol": "SCTP"}]);
        let sctp = spec(json!({"containers": [{"name": "c", "ports": ports}]}));
        assert!(missing_sctp(&sctp, || false).unwrap().contains("reach 81 ("));
        assert_eq!(missing_sctp(&sctp, || true), None);
        assert_eq!(missing_sctp(&spec(json!({})), || panic!("nobody needs to know")), None);
    }

    #[test]
    fn what_is_not_enforced_is_named() {
        let spec = spec(json!({
            "securityContext": {"runAsUser": 9999, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{"name": "c", "resources": {"limits": {"memory": "1Mi"}}}],
        }));
        assert_eq!(not_enforced(&spec, true), ["seccompProfile", "resources.limits"]);
        assert_eq!(not_enforced(&spec, false).len(), 3);
    }
}
