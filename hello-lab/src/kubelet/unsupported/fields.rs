//! Every field that a pod has, and what becomes of it: none is ignored in silence.

use k8s_openapi::api::core::v1::{
    Container, ContainerPort, Lifecycle, PodSecurityContext, PodSpec, Probe, SecurityContext,
};
use schemars::JsonSchema;
use serde_json::{Value, json};

use super::{not_enforced, refusal};
use crate::objects::Kind;
use crate::objects::kind::fields_of;
use crate::objects::validation::validate_new;

/// What becomes of a field.
enum Fate {
    /// It does what Kubernetes says.
    Done,
    /// With this value the pod's event `NotEnforced` names it.
    Told(Value),
    /// With this value the pod does not start, and its event names it.
    Refused(Value),
    /// With this value the API refuses the pod, and names it.
    Invalid(Value),
    /// It is about other nodes, registries, users or priorities, of which the lab has none: nothing differs.
    Same,
}
use Fate::{Done, Invalid, Refused, Same, Told};

/// Walks the fields of `T`, each put at `place` of a pod.
fn walk<T: JsonSchema>(place: &str, fates: Vec<(&str, Fate)>) {
    let names: Vec<_> = fates.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, fields_of::<T>(), "the fields of {}", T::schema_name());
    for (name, fate) in fates {
        let pod = |value: &Value| {
            let mut pod = json!({
                "metadata": {"name": "p", "namespace": "default"},
                "spec": {
                    "containers": [{
                        "name": "c", "image": "i", "ports": [{"containerPort": 80}],
                        "readinessProbe": {}, "lifecycle": {}, "securityContext": {},
                    }],
                    "securityContext": {},
                },
            });
            pod.pointer_mut(place).unwrap()[name] = value.clone();
            pod
        };
        let spec = |value: &Value| -> PodSpec {
            serde_json::from_value(pod(value)["spec"].clone()).unwrap()
        };
        let said = match &fate {
            Done | Same => continue,
            Told(value) => not_enforced(&spec(value), false).join(", "),
            Refused(value) => refusal(&spec(value)).unwrap_or_default(),
            Invalid(value) => format!("{:?}", validate_new(Kind::Pod, &pod(value))),
        };
        assert!(said.contains(name), "{}.{name}: {said:?}", T::schema_name());
    }
}

#[test]
fn no_field_of_a_pod_is_ignored_in_silence() {
    walk::<PodSpec>(
        "/spec",
        vec![
            ("activeDeadlineSeconds", Done),
            ("affinity", Done),
            ("automountServiceAccountToken", Told(json!(true))),
            ("containers", Done),
            ("dnsConfig", Done),
            ("dnsPolicy", Done),
            ("enableServiceLinks", Done),
            ("ephemeralContainers", Invalid(json!([{"name": "e", "image": "i"}]))),
            ("hostAliases", Done),
            ("hostIPC", Refused(json!(true))),
            ("hostNetwork", Refused(json!(true))),
            ("hostPID", Refused(json!(true))),
            ("hostUsers", Same),
            ("hostname", Done),
            ("hostnameOverride", Told(json!("h"))),
            ("imagePullSecrets", Same),
            ("initContainers", Done),
            ("nodeName", Done),
            ("nodeSelector", Done),
            ("os", Told(json!({"name": "windows"}))),
            ("overhead", Same),
            ("preemptionPolicy", Same),
            ("priority", Same),
            ("priorityClassName", Told(json!("high"))),
            ("readinessGates", Told(json!([{"conditionType": "example.com/a"}]))),
            ("resourceClaims", Told(json!([{"name": "gpu"}]))),
            ("resources", Told(json!({"limits": {"cpu": "1"}}))),
            ("restartPolicy", Done),
            ("runtimeClassName", Told(json!("gvisor"))),
            ("schedulerName", Done),
            ("schedulingGates", Done),
            ("securityContext", Done),
            ("serviceAccount", Done),
            ("serviceAccountName", Done),
            ("setHostnameAsFQDN", Told(json!(true))),
            ("shareProcessNamespace", Same),
            ("subdomain", Done),
            ("terminationGracePeriodSeconds", Done),
            ("tolerations", Done),
            ("topologySpreadConstraints", Same),
            ("volumes", Refused(json!([{"name": "v", "hostPath": {"path": "/"}}]))),
        ],
    );
}

#[test]
fn no_field_of_a_container_is_ignored_in_silence() {
    walk::<Container>(
        "/spec/containers/0",
        vec![
            ("args", Done),
            ("command", Done),
            ("env", Done),
            ("envFrom", Done),
            ("image", Done),
            ("imagePullPolicy", Done),
            ("lifecycle", Done),
            ("livenessProbe", Done),
            ("name", Done),
            ("ports", Done),
            ("readinessProbe", Done),
            ("resizePolicy", Same),
            ("resources", Told(json!({"limits": {"memory": "1Mi"}}))),
            ("restartPolicy", Invalid(json!("Sometimes"))),
            ("restartPolicyRules", Told(json!([{"action": "Restart"}]))),
            ("securityContext", Done),
            ("startupProbe", Done),
            ("stdin", Done),
            ("stdinOnce", Done),
            ("terminationMessagePath", Done),
            ("terminationMessagePolicy", Done),
            ("tty", Done),
            ("volumeDevices", Refused(json!([{"name": "v", "devicePath": "/dev/x"}]))),
            ("volumeMounts", Done),
            ("workingDir", Done),
        ],
    );
    walk::<ContainerPort>(
        "/spec/containers/0/ports/0",
        vec![
            ("containerPort", Done),
            ("hostIP", Same),
            ("hostPort", Told(json!(80))),
            ("name", Done),
            ("protocol", Done),
        ],
    );
    walk::<Probe>(
        "/spec/containers/0/readinessProbe",
        vec![
            ("exec", Done),
            ("failureThreshold", Done),
            ("grpc", Refused(json!({"port": 80}))),
            ("httpGet", Done),
            ("initialDelaySeconds", Done),
            ("periodSeconds", Done),
            ("successThreshold", Done),
            ("tcpSocket", Done),
            ("terminationGracePeriodSeconds", Done),
            ("timeoutSeconds", Done),
        ],
    );
    walk::<Lifecycle>(
        "/spec/containers/0/lifecycle",
        vec![("postStart", Done), ("preStop", Done), ("stopSignal", Told(json!("SIGUSR1")))],
    );
}

#[test]
fn no_field_of_a_security_context_is_ignored_in_silence() {
    walk::<PodSecurityContext>(
        "/spec/securityContext",
        vec![
            ("appArmorProfile", Told(json!({"type": "RuntimeDefault"}))),
            ("fsGroup", Told(json!(70_000))),
            ("fsGroupChangePolicy", Same),
            ("runAsGroup", Done),
            ("runAsNonRoot", Done),
            ("runAsUser", Told(json!(70_000))),
            ("seLinuxChangePolicy", Same),
            ("seLinuxOptions", Told(json!({"level": "s0"}))),
            ("seccompProfile", Told(json!({"type": "RuntimeDefault"}))),
            ("supplementalGroups", Told(json!([70_000]))),
            ("supplementalGroupsPolicy", Same),
            ("sysctls", Told(json!([{"name": "net.core.somaxconn", "value": "1"}]))),
            ("windowsOptions", Told(json!({}))),
        ],
    );
    walk::<SecurityContext>(
        "/spec/containers/0/securityContext",
        vec![
            // It has none to escalate to.
            ("allowPrivilegeEscalation", Same),
            ("appArmorProfile", Told(json!({"type": "RuntimeDefault"}))),
            ("capabilities", Told(json!({"add": ["NET_ADMIN"]}))),
            ("privileged", Told(json!(true))),
            ("procMount", Told(json!("Unmasked"))),
            // It always is.
            ("readOnlyRootFilesystem", Same),
            ("runAsGroup", Done),
            ("runAsNonRoot", Done),
            ("runAsUser", Told(json!(70_000))),
            ("seLinuxOptions", Told(json!({"level": "s0"}))),
            ("seccompProfile", Told(json!({"type": "RuntimeDefault"}))),
            ("windowsOptions", Told(json!({}))),
        ],
    );
}
