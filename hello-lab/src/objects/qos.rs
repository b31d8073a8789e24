//! A pod's quality of service, by what its containers request of processor and memory
//! (`ComputePodQOS` of pkg/apis/core/v1/helper/qos).

use serde_json::Value;

use super::validation::quantity::amount;

/// The resources that count.
const RESOURCES: [&str; 2] = ["cpu", "memory"];

/// `status.qosClass` of a pod with this spec, which has its defaults.
#[must_use]
pub fn class(spec: &Value) -> &'static str {
    let containers = || {
        ["initContainers", "containers"]
            .into_iter()
            .flat_map(|list| spec[list].as_array().into_iter().flatten())
    };
    let is_given = |quantity: &Value| amount(quantity).is_some_and(|amount| amount > 0.0);
    let resources = |container: &Value, is_met: &dyn Fn(&Value, &Value) -> bool| {
        let (limits, requests) =
            (&container["resources"]["limits"], &container["resources"]["requests"]);
        RESOURCES.map(|name| is_met(&limits[name], &requests[name]))
    };
    let any = |limit: &Value, request: &Value| is_given(limit) || is_given(request);
    // What is not requested is requested as far as it is limited.
    let fixed = |limit: &Value, request: &Value| {
        is_given(limit) && (request.is_null() || amount(limit) == amount(request))
    };
    if !containers().any(|container| resources(container, &any).contains(&true)) {
        "BestEffort"
    } else if containers().all(|container| resources(container, &fixed) == [true, true]) {
        "Guaranteed"
    } else {
        "Burstable"
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_all_containers_are_limited_to_and_request_is_guaranteed_and_what_none_asks_for_is_not()
    {
        let both = json!({"cpu": "100m", "memory": "64Mi"});
        let same = json!({"cpu": 0.1, "memory": "65536Ki"});
        let class = |containers: &[Value]| {
            let containers: Vec<_> =
                containers.iter().map(|resources| json!({"resources": resources})).collect();
            class(&json!({"containers": containers}))
        };
        assert_eq!(class(&[json!({}), json!({})]), "BestEffort");
        assert_eq!(class(&[json!({"requests": {"cpu": "0"}})]), "BestEffort");
        assert_eq!(class(&[json!({"requests": {"ephemeral-storage": "1Gi"}})]), "BestEffort");
        assert_eq!(class(&[json!({"limits": both})]), "Guaranteed");
        assert_eq!(class(&[json!({"limits": both, "requests": same})]), "Guaranteed");
        assert_eq!(class(&[json!({"limits": both}), json!({})]), "Burstable");
        assert_eq!(class(&[json!({"limits": {"cpu": "1"}})]), "Burstable");
        assert_eq!(class(&[json!({"requests": both})]), "Burstable");
    }
}
