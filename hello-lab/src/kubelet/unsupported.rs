//! What a pod asks for and a process on this machine does not get. Nothing is left out
//! silently: what only weakens is told in an event, what would mislead keeps the pod from
//! starting.

use k8s_openapi::api::core::v1::{
    Container, ContainerPort, HTTPGetAction, LifecycleHandler, PodSpec, Probe, SecurityContext,
};

use super::pod::containers;
use super::volumes;

/// Why a pod cannot be started here, if so.
pub(super) fn refusal(spec: &PodSpec) -> Option<String> {
    let has = |what: &str| Some(format!("hello-lab does not run pods with {what}"));
    if spec.host_network == Some(true) {
        return has("hostNetwork: a pod of the lab is never on the machine's own network");
    }
    if spec.host_pid == Some(true) || spec.host_ipc == Some(true) {
        return has("hostPID or hostIPC: a pod of the lab never sees the machine's processes");
    }
    if let Some(what) = volumes::unsupported::refusal(spec) {
        return has(&what);
    }
    for container in containers(spec) {
        let mut variables = container.env.iter().flatten();
        if let Some(variable) = variables.find(|variable| {
            let source = variable.value_from.as_ref();
            source.is_some_and(|source| source.file_key_ref.is_some())
        }) {
            return has(&format!("variables from fileKeyRef ({})", variable.name));
        }
        if probes(container).any(|probe| probe.grpc.is_some()) {
            return has("grpc probes; exec, httpGet and tcpSocket work");
        }
        let pages = probes(container).filter_map(|probe| probe.http_get.as_ref());
        let pages = pages.chain(hooks(container).filter_map(|hook| hook.http_get.as_ref()));
        let sockets = probes(container).filter_map(|probe| probe.tcp_socket.as_ref());
        if !pages.into_iter().all(is_of_the_pod) || { sockets }
            .any(|tcp| is_given(tcp.host.as_deref()))
        {
            return has(
                "probes or hooks that ask another host, or by HTTPS: the pod itself is asked, by HTTP",
            );
        }
        if hooks(container).any(|hook| hook.tcp_socket.is_some()) {
            return has("tcpSocket in a lifecycle hook, which Kubernetes does not run either");
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
        let asked = containers(spec)
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
        || containers(spec).any(|container| own(container).seccomp_profile.is_some());
    if seccomp {
        missing.push("seccompProfile".to_owned());
    }
    let resources = |container: &Container| {
        container.resources.as_ref().is_some_and(|resources| resources.limits.is_some())
    };
    let of_the_pod_itself = spec.resources.as_ref().is_some_and(|all| all.limits.is_some());
    if containers(spec).any(resources) || of_the_pod_itself {
        missing.push("resources.limits".to_owned());
    }
    let further = containers(spec).flat_map(|container| further(container, &own(container)));
    let mut further: Vec<_> = further.chain(of_the_pod(spec)).collect();
    further.sort_unstable();
    further.dedup();
    missing.extend(further.into_iter().map(str::to_owned));
    missing
}

/// What is not enforced for an ephemeral container, one word for each.
pub(super) fn of_an_ephemeral_container(container: &Container, privileged: bool) -> Vec<String> {
    let alone = PodSpec { containers: vec![container.clone()], ..PodSpec::default() };
    let mut missing = not_enforced(&alone, privileged);
    if container.volume_mounts.iter().flatten().next().is_some() {
        missing.push("volumeMounts (a pod's volumes are mounted when it starts)".to_owned());
    }
    missing
}

/// Of one container, what else it asks for and does not get.
fn further(container: &Container, context: &SecurityContext) -> Vec<&'static str> {
    let stop_signal = container.lifecycle.as_ref().and_then(|one| one.stop_signal.as_ref());
    let added = context.capabilities.as_ref().and_then(|capabilities| capabilities.add.as_ref());
    let host_port = |port: &ContainerPort| port.host_port.is_some_and(|port| port != 0);
    let all = [
        ("privileged", context.privileged == Some(true)),
        ("capabilities.add", added.is_some_and(|added| !added.is_empty())),
        ("seLinuxOptions", context.se_linux_options.is_some()),
        ("appArmorProfile", context.app_armor_profile.is_some()),
        (
            "procMount",
            is_given(context.proc_mount.as_deref())
                && context.proc_mount.as_deref() != Some("Default"),
        ),
        ("windowsOptions", context.windows_options.is_some()),
        ("hostPort", container.ports.iter().flatten().any(host_port)),
        ("lifecycle.stopSignal (it is SIGTERM)", stop_signal.is_some()),
        ("volumeDevices", container.volume_devices.iter().flatten().next().is_some()),
        ("restartPolicyRules", container.restart_policy_rules.iter().flatten().next().is_some()),
    ];
    all.into_iter().filter(|(_, is_asked)| *is_asked).map(|(what, _)| what).collect()
}

/// Of the pod, what else it asks for and does not get.
fn of_the_pod(spec: &PodSpec) -> Vec<&'static str> {
    let context = spec.security_context.clone().unwrap_or_default();
    let all = [
        ("readinessGates", spec.readiness_gates.iter().flatten().next().is_some()),
        ("setHostnameAsFQDN", spec.set_hostname_as_fqdn == Some(true)),
        ("runtimeClassName", is_given(spec.runtime_class_name.as_deref())),
        ("resourceClaims", spec.resource_claims.iter().flatten().next().is_some()),
        ("hostnameOverride", is_given(spec.hostname_override.as_deref())),
        ("priorityClassName", is_given(spec.priority_class_name.as_deref())),
        (
            "os (programs of this machine run)",
            spec.os.as_ref().is_some_and(|os| os.name != "linux"),
        ),
        (
            "automountServiceAccountToken (service accounts have no tokens)",
            spec.automount_service_account_token == Some(true),
        ),
        ("windowsOptions", context.windows_options.is_some()),
        ("sysctls", context.sysctls.iter().flatten().next().is_some()),
        ("seLinuxOptions", context.se_linux_options.is_some()),
        ("appArmorProfile", context.app_armor_profile.is_some()),
        (
            "dnsPolicy Default (it has the machine's name servers, which no pod of the lab reaches)",
            spec.dns_policy.as_deref() == Some("Default"),
        ),
    ];
    all.into_iter().filter(|(_, is_asked)| *is_asked).map(|(what, _)| what).collect()
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

/// What a pod is told whose service account is nowhere: the lab gives no account any rights, so it runs.
pub(super) fn missing_account(spec: &PodSpec, exists: impl Fn(&str) -> bool) -> Option<String> {
    let name = spec.service_account_name.as_deref().unwrap_or_default();
    // Every namespace gets this one, a moment after it is made.
    (!["", "default"].contains(&name) && !exists(name)).then(|| {
        format!(
            "there is no ServiceAccount {name:?} here: a cluster would refuse to create this pod"
        )
    })
}

fn probes(container: &Container) -> impl Iterator<Item = &Probe> {
    let probes = [&container.liveness_probe, &container.readiness_probe, &container.startup_probe];
    probes.into_iter().flatten()
}

fn hooks(container: &Container) -> impl Iterator<Item = &LifecycleHandler> {
    let lifecycle = container.lifecycle.as_ref();
    let hooks = lifecycle.map(|lifecycle| [&lifecycle.post_start, &lifecycle.pre_stop]);
    hooks.into_iter().flatten().flatten()
}

/// Whether the pod itself is asked, and not by HTTPS.
fn is_of_the_pod(get: &HTTPGetAction) -> bool {
    !is_given(get.host.as_deref()) && get.scheme.as_deref().is_none_or(|scheme| scheme == "HTTP")
}

fn is_given(text: Option<&str>) -> bool {
    text.is_some_and(|text| !text.is_empty())
}

#[cfg(test)]
mod fields;

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
            json!({"exec": {"command": ["a"]}}),
        ] {
            assert_eq!(refusal(&spec(probe(own))), None);
        }
        let hooks = json!({"preStop": {"sleep": {"seconds": 1}}, "postStart": {"exec": {}}});
        let hooked = json!({"initContainers": [{"name": "i"}], "containers": [{"name": "c", "lifecycle": hooks}]});
        assert_eq!(refusal(&spec(hooked)), None);
        for extra in [
            json!({"hostNetwork": true}),
            json!({"hostPID": true}),
            json!({"initContainers": [{"name": "i", "startupProbe": {"grpc": {"port": 1}}}]}),
            json!({"containers": [{"name": "c", "lifecycle": {
                "preStop": {"httpGet": {"port": 80, "host": "10.244.0.9"}},
            }}]}),
            json!({"containers": [{"name": "c", "lifecycle": {
                "postStart": {"tcpSocket": {"port": 80}},
            }}]}),
            json!({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}),
            json!({"containers": [{"name": "c", "livenessProbe": {"grpc": {"port": 80}}}]}),
            json!({"containers": [{"name": "c", "env": [
                {"name": "a", "valueFrom": {"fileKeyRef": {"volumeName": "v", "path": "p", "key": "k"}}},
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
    fn a_pod_whose_service_account_is_nowhere_is_told() {
        let named = |name: &str| spec(json!({"serviceAccountName": name}));
        assert!(missing_account(&named("x"), |_| false).unwrap().contains("\"x\""));
        assert_eq!(missing_account(&named("x"), |name| name == "x"), None);
        assert_eq!(missing_account(&named("default"), |_| false), None);
        assert_eq!(missing_account(&spec(json!({})), |_| false), None);
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

    #[test]
    fn each_thing_is_named_once_whichever_container_asks_for_it() {
        let container = json!({
            "name": "c", "securityContext": {"privileged": true},
            "ports": [{"containerPort": 80, "hostPort": 80}],
        });
        let spec = spec(json!({
            "initContainers": [container], "containers": [container],
            "readinessGates": [{"conditionType": "a"}], "dnsPolicy": "Default",
        }));
        let named = not_enforced(&spec, true).join(", ");
        for what in ["privileged", "hostPort", "readinessGates", "Default"] {
            assert_eq!(named.matches(what).count(), 1, "{named}");
        }
    }
}
