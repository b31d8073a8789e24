//! What a Service asks for and the lab does not do. It works without, so it is taken, and its client is warned;
//! what would mislead is refused by admission and validation.

use serde_json::Value;

use crate::objects::Kind;

/// The warnings for a client that writes this object.
pub(super) fn warnings(kind: Kind, object: &Value) -> Vec<String> {
    if kind != Kind::Service {
        return Vec::new();
    }
    let spec = &object["spec"];
    let mut warnings = Vec::new();
    if spec["sessionAffinity"] == "ClientIP" {
        warnings.push(
            "spec.sessionAffinity: hello-lab chooses a pod for each connection anew, as with None"
                .to_owned(),
        );
    }
    if spec["externalIPs"].as_array().is_some_and(|list| !list.is_empty()) {
        warnings.push("spec.externalIPs: hello-lab serves clusterIP alone".to_owned());
    }
    if spec["type"] == "NodePort" {
        warnings.push(
            "spec.type: in hello-lab pods alone reach a nodePort, at the node's InternalIP; from this machine use \
             kubectl port-forward"
                .to_owned(),
        );
    }
    warnings
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{ServicePort, ServiceSpec};
    use serde_json::json;

    use super::*;
    use crate::objects::kind::fields_of;
    use crate::objects::validation::validate;

    /// What becomes of a field of a Service.
    enum Fate {
        Done,
        /// With this value the client is warned.
        Told(Value),
        /// With this value the Service is refused, and the field named.
        Refused(Value),
        /// It is about nodes or proxies of which the lab has one or none: nothing would differ.
        Same,
    }
    use Fate::{Done, Refused, Same, Told};

    #[test]
    fn no_field_of_a_service_is_ignored_in_silence() {
        let fates = [
            ("allocateLoadBalancerNodePorts", Refused(json!(true))),
            ("clusterIP", Done),
            ("clusterIPs", Done),
            ("externalIPs", Told(json!(["192.0.2.1"]))),
            ("externalName", Same),
            ("externalTrafficPolicy", Refused(json!("Local"))),
            ("healthCheckNodePort", Refused(json!(30000))),
            ("internalTrafficPolicy", Same),
            ("ipFamilies", Done),
            ("ipFamilyPolicy", Done),
            ("loadBalancerClass", Refused(json!("example.com/class"))),
            ("loadBalancerIP", Same),
            ("loadBalancerSourceRanges", Refused(json!(["192.0.2.0/24"]))),
            ("ports", Done),
            ("publishNotReadyAddresses", Done),
            ("selector", Done),
            ("sessionAffinity", Told(json!("ClientIP"))),
            ("sessionAffinityConfig", Same),
            ("trafficDistribution", Same),
            ("type", Refused(json!("LoadBalancer"))),
        ];
        let names: Vec<&str> = fates.iter().map(|(name, _)| *name).collect();
        assert_eq!(fields_of::<ServiceSpec>(), names);
        assert_eq!(
            fields_of::<ServicePort>(),
            ["appProtocol", "name", "nodePort", "port", "protocol", "targetPort"]
        );
        for (name, fate) in fates {
            let service = |value: &Value| {
                let mut service = json!({
                    "metadata": {"name": "s", "namespace": "default"},
                    "spec": {"clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9"], "type": "ClusterIP",
                        "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}]},
                });
                service["spec"][name] = value.clone();
                service
            };
            match fate {
                Told(value) => {
                    let told = warnings(Kind::Service, &service(&value)).join(" ");
                    assert!(told.contains(name), "{name}: {told}");
                }
                Refused(value) => {
                    let refused = format!("{:?}", validate(Kind::Service, &service(&value)));
                    assert!(refused.contains(name), "{name}: {refused}");
                }
                Done | Same => {}
            }
        }
    }

    #[test]
    fn who_makes_a_service_hears_what_it_lacks() {
        let asked = json!({"spec": {"sessionAffinity": "ClientIP", "externalIPs": ["192.0.2.1"]}});
        assert_eq!(warnings(Kind::Service, &asked).len(), 2);
        for nothing in [json!({}), json!({"spec": {"sessionAffinity": "None", "externalIPs": []}})]
        {
            assert!(warnings(Kind::Service, &nothing).is_empty());
        }
        assert!(warnings(Kind::Pod, &asked).is_empty());
    }
}
