//! The API's defaults, as far as anybody here or in kubectl reads them. What a user wrote is
//! never changed: kubectl compares it with what it wrote before.

mod volumes;

use serde_json::{Value, json};

use super::kind::Kind;
use super::qos;

/// Fills in the defaults of an object.
pub fn apply(kind: Kind, object: &mut Value) {
    match kind {
        Kind::Namespace => {
            let name = object["metadata"]["name"].clone();
            object["metadata"]["labels"][netpol::cluster::NAMESPACE_NAME_LABEL] = name;
            set(&mut object["spec"], "finalizers", || json!(["kubernetes"]));
            set(&mut object["status"], "phase", || "Active".into());
        }
        Kind::Pod => {
            object["spec"] = pod(object["spec"].take());
            set(&mut object["status"], "phase", || "Pending".into());
            let class = qos::class(&object["spec"]);
            set(&mut object["status"], "qosClass", || class.into());
        }
        Kind::Deployment => {
            let spec = &mut object["spec"];
            set(spec, "replicas", || 1.into());
            set(spec, "revisionHistoryLimit", || 10.into());
            set(spec, "progressDeadlineSeconds", || 600.into());
            let strategy = &mut spec["strategy"];
            set(strategy, "type", || "RollingUpdate".into());
            if strategy["type"] == "RollingUpdate" {
                set(&mut strategy["rollingUpdate"], "maxSurge", || "25%".into());
                set(&mut strategy["rollingUpdate"], "maxUnavailable", || "25%".into());
            }
            pod_spec(&mut spec["template"]["spec"]);
        }
        Kind::ReplicaSet => {
            set(&mut object["spec"], "replicas", || 1.into());
            pod_spec(&mut object["spec"]["template"]["spec"]);
        }
        Kind::DaemonSet => {
            let spec = &mut object["spec"];
            set(spec, "revisionHistoryLimit", || 10.into());
            let strategy = &mut spec["updateStrategy"];
            set(strategy, "type", || "RollingUpdate".into());
            if strategy["type"] == "RollingUpdate" {
                set(&mut strategy["rollingUpdate"], "maxUnavailable", || 1.into());
                set(&mut strategy["rollingUpdate"], "maxSurge", || 0.into());
            }
            pod_spec(&mut spec["template"]["spec"]);
        }
        Kind::StatefulSet => {
            let spec = &mut object["spec"];
            set(spec, "replicas", || 1.into());
            set(spec, "revisionHistoryLimit", || 10.into());
            set(spec, "podManagementPolicy", || "OrderedReady".into());
            let strategy = &mut spec["updateStrategy"];
            set(strategy, "type", || "RollingUpdate".into());
            if strategy["type"] == "RollingUpdate" {
                set(&mut strategy["rollingUpdate"], "partition", || 0.into());
            }
            let retention = &mut spec["persistentVolumeClaimRetentionPolicy"];
            set(retention, "whenDeleted", || "Retain".into());
            set(retention, "whenScaled", || "Retain".into());
            pod_spec(&mut spec["template"]["spec"]);
        }
        Kind::Job => {
            job(&mut object["spec"]);
            // `SetDefaults_Job`.
            if object["metadata"]["labels"].as_object().is_none_or(serde_json::Map::is_empty) {
                let labels = object["spec"]["template"]["metadata"]["labels"].clone();
                if labels.is_object() {
                    object["metadata"]["labels"] = labels;
                }
            }
        }
        Kind::CronJob => {
            let spec = &mut object["spec"];
            set(spec, "concurrencyPolicy", || "Allow".into());
            set(spec, "suspend", || false.into());
            set(spec, "successfulJobsHistoryLimit", || 3.into());
            set(spec, "failedJobsHistoryLimit", || 1.into());
            pod_spec(&mut spec["jobTemplate"]["spec"]["template"]["spec"]);
        }
        Kind::Service => service(&mut object["spec"]),
        Kind::NetworkPolicy => network_policy(&mut object["spec"]),
        Kind::Secret => set(object, "type", || "Opaque".into()),
        Kind::Endpoints => {
            for subset in object["subsets"].as_array_mut().into_iter().flatten() {
                for port in subset["ports"].as_array_mut().into_iter().flatten() {
                    set(port, "protocol", || "TCP".into());
                }
                remove_nulls(subset);
            }
            remove_nulls(object);
        }
        Kind::ControllerRevision
        | Kind::Lease
        | Kind::ConfigMap
        | Kind::Event
        | Kind::Node
        | Kind::ServiceAccount
        | Kind::EndpointSlice => {}
    }
}

/// A pod's spec with its defaults.
#[must_use]
pub fn pod(mut spec: Value) -> Value {
    pod_spec(&mut spec);
    set(&mut spec, "serviceAccountName", || "default".into());
    spec
}

fn pod_spec(spec: &mut Value) {
    set(spec, "restartPolicy", || "Always".into());
    set(spec, "terminationGracePeriodSeconds", || 30.into());
    set(spec, "dnsPolicy", || "ClusterFirst".into());
    set(spec, "schedulerName", || "default-scheduler".into());
    volumes::apply(spec);
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        let containers = spec.get_mut(list).and_then(Value::as_array_mut);
        containers.into_iter().flatten().for_each(container);
    }
}

fn container(container: &mut Value) {
    set(container, "imagePullPolicy", || "IfNotPresent".into());
    // A field of Go's that is never left out: a template is the same whether its writer said it or not.
    set(container, "resources", || json!({}));
    for port in container["ports"].as_array_mut().into_iter().flatten() {
        set(port, "protocol", || "TCP".into());
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if container[probe].is_object() {
            let probe = &mut container[probe];
            for (field, number) in [
                ("timeoutSeconds", 1),
                ("periodSeconds", 10),
                ("successThreshold", 1),
                ("failureThreshold", 3),
            ] {
                set(probe, field, || number.into());
            }
            if probe["httpGet"].is_object() {
                set(&mut probe["httpGet"], "scheme", || "HTTP".into());
            }
        }
    }
    for hook in ["/lifecycle/postStart/httpGet", "/lifecycle/preStop/httpGet"] {
        if let Some(get) = container.pointer_mut(hook).filter(|get| get.is_object()) {
            set(get, "scheme", || "HTTP".into());
        }
    }
    remove_nulls(container);
}

/// `SetDefaults_Job`.
fn job(spec: &mut Value) {
    if spec["completions"].is_null() && spec["parallelism"].is_null() {
        set(spec, "completions", || 1.into());
    }
    set(spec, "parallelism", || 1.into());
    set(spec, "backoffLimit", || 6.into());
    set(spec, "completionMode", || "NonIndexed".into());
    set(spec, "suspend", || false.into());
    set(spec, "podReplacementPolicy", || "TerminatingOrFailed".into());
    set(spec, "manualSelector", || false.into());
    pod_spec(&mut spec["template"]["spec"]);
    remove_nulls(spec);
}

fn service(spec: &mut Value) {
    set(spec, "type", || "ClusterIP".into());
    set(spec, "sessionAffinity", || "None".into());
    if spec["type"] == "NodePort" {
        set(spec, "externalTrafficPolicy", || "Cluster".into());
    }
    for port in spec["ports"].as_array_mut().into_iter().flatten() {
        set(port, "protocol", || "TCP".into());
        let number = port["port"].clone();
        // What Go's clients send for one that was left out (`SetDefaults_Service`).
        if port["targetPort"] == 0 {
            port["targetPort"] = Value::Null;
        }
        set(port, "targetPort", || number);
    }
    remove_nulls(spec);
}

/// `SetDefaults_NetworkPolicy` and `SetDefaults_NetworkPolicyPort`. What they mean is
/// netpol's to say; this is only what `kubectl get -o yaml` shows.
fn network_policy(spec: &mut Value) {
    let has_egress = spec["egress"].as_array().is_some_and(|rules| !rules.is_empty());
    let types = if has_egress { json!(["Ingress", "Egress"]) } else { json!(["Ingress"]) };
    if spec["policyTypes"].as_array().is_none_or(Vec::is_empty) {
        spec["policyTypes"] = types;
    }
    for direction in ["ingress", "egress"] {
        for rule in spec[direction].as_array_mut().into_iter().flatten() {
            for port in rule["ports"].as_array_mut().into_iter().flatten() {
                set(port, "protocol", || "TCP".into());
            }
            remove_nulls(rule);
        }
    }
    remove_nulls(spec);
}

/// Sets a field that is absent, null or an empty string, which are one in Kubernetes' own types.
/// Does nothing to what is no object.
fn set(object: &mut Value, field: &str, default: impl FnOnce() -> Value) {
    if object.is_null() {
        *object = json!({});
    }
    if let Some(fields) = object.as_object_mut() {
        let value = fields.entry(field).or_insert(Value::Null);
        if value.is_null() || value == "" {
            *value = default();
        }
    }
}

/// Looking a field up in a `Value` that is to change leaves a null behind.
fn remove_nulls(object: &mut Value) {
    if let Some(fields) = object.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_defaults(kind: Kind, mut object: Value) -> Value {
        apply(kind, &mut object);
        object
    }

    #[test]
    fn what_a_user_wrote_stays() {
        let written = json!({"metadata": {"name": "d"}, "spec": {
            "replicas": 0,
            "strategy": {"type": "Recreate"},
            "template": {"spec": {"restartPolicy": "Never", "containers": [
                {"name": "c", "resources": {"limits": {"cpu": "0.1"}}},
            ]}},
        }});
        let object = with_defaults(Kind::Deployment, written.clone());
        let mut merged = object.clone();
        json_patch::merge(&mut merged, &json!({"spec": {"replicas": 0}}));
        assert_eq!(merged, object);
        assert_eq!(object["spec"]["strategy"], json!({"type": "Recreate"}));
        let container = &object["spec"]["template"]["spec"]["containers"][0];
        assert_eq!(
            container["resources"],
            written["spec"]["template"]["spec"]["containers"][0]["resources"]
        );
    }

    #[test]
    fn what_go_leaves_empty_has_its_default() {
        let ports =
            json!([{"port": 80, "protocol": "", "targetPort": 0}, {"port": 81, "targetPort": ""}]);
        let service = with_defaults(Kind::Service, json!({"spec": {"ports": ports, "type": ""}}));
        assert_eq!(service["spec"]["type"], "ClusterIP");
        let ports = json!([
            {"port": 80, "protocol": "TCP", "targetPort": 80},
            {"port": 81, "protocol": "TCP", "targetPort": 81},
        ]);
        assert_eq!(service["spec"]["ports"], ports);
    }

    #[test]
    fn a_policy_shows_the_types_that_it_has_by_default() {
        let types = |spec| {
            with_defaults(Kind::NetworkPolicy, json!({ "spec": spec }))["spec"]["policyTypes"]
                .clone()
        };
        assert_eq!(types(json!({})), json!(["Ingress"]));
        assert_eq!(types(json!({"egress": []})), json!(["Ingress"]));
        assert_eq!(types(json!({"egress": [{}]})), json!(["Ingress", "Egress"]));
        assert_eq!(types(json!({"policyTypes": ["Egress"]})), json!(["Egress"]));
    }

    #[test]
    fn defaults_are_the_same_the_second_time() {
        for kind in Kind::ALL {
            let once = with_defaults(kind, json!({"metadata": {"name": "a"}, "spec": {}}));
            assert_eq!(with_defaults(kind, once.clone()), once, "{kind:?}");
        }
    }
}
