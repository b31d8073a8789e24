//! What a container requests and is limited to, as the downward API tells it
//! (`ExtractContainerResourceValue` of pkg/api/v1/resource).

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{self as core, Node, ResourceFieldSelector};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde_json::Value;

use super::pod::containers;
use crate::objects::validation::quantity::amount;
use crate::objects::{Object, Store, scheduling};

/// Why there is no such value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ResourceError {
    /// The pod has no such container.
    #[error("container {0} not found")]
    NoContainer(String),
    /// Not of the form `limits.NAME` or `requests.NAME`.
    #[error("unsupported container resource : {0}")]
    Unsupported(String),
}

type Quantities = Option<BTreeMap<String, Quantity>>;

/// The value that `selector` names, of the container `own` unless it names another. What is not limited is
/// limited by the node (`MergeContainerResourceLimits`).
pub(super) fn value(
    store: &Store,
    pod: &Object,
    own: Option<&core::Container>,
    selector: &ResourceFieldSelector,
) -> Result<String, ResourceError> {
    let spec = pod.typed::<core::Pod>().spec.as_ref();
    let container = match selector.container_name.as_deref().filter(|name| !name.is_empty()) {
        Some(name) => spec
            .and_then(|spec| containers(spec).find(|one| one.name == name))
            .ok_or_else(|| ResourceError::NoContainer(name.to_owned()))?,
        None => own.ok_or_else(|| ResourceError::NoContainer(String::new()))?,
    };
    let unsupported = || ResourceError::Unsupported(selector.resource.clone());
    let (list, name) = selector.resource.split_once('.').ok_or_else(unsupported)?;
    let of = |quantities: &Quantities| {
        let quantity = quantities.as_ref().and_then(|all| all.get(name));
        quantity.and_then(units).filter(|amount| *amount > 0.0)
    };
    let resources = container.resources.as_ref();
    let limit = resources.and_then(|all| of(&all.limits));
    let found = match list {
        "limits" => limit.or_else(|| {
            let node = scheduling::node(store)?;
            of(&node.typed::<Node>().status.as_ref()?.allocatable)
        }),
        // The API server makes what is not requested the limit.
        "requests" => resources.and_then(|all| of(&all.requests)).or(limit),
        _ => return Err(unsupported()),
    };
    let divisor = selector.divisor.as_ref().and_then(units).filter(|divisor| *divisor > 0.0);
    let (found, divisor) = (found.unwrap_or(0.0), divisor.unwrap_or(1.0));
    // In thousandths, of which a quantity has whole ones: floating point has not.
    let thousandths = |number: f64| (number * 1000.0).round();
    Ok(format!("{:.0}", (thousandths(found) / thousandths(divisor).max(1.0)).ceil()))
}

fn units(quantity: &Quantity) -> Option<f64> {
    amount(&Value::from(quantity.0.as_str()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::objects::Kind;
    use crate::objects::names::NODE_NAME;

    fn tell(selector: Value) -> Result<String, String> {
        let store = Store::default();
        let allocatable = json!({"cpu": "4", "memory": "8Gi"});
        let node = json!({"metadata": {"name": NODE_NAME}, "status": {"allocatable": allocatable}});
        store.create(Kind::Node, node).unwrap();
        let requests = json!({"cpu": "250m", "memory": "32Mi"});
        let resources = json!({"requests": requests, "limits": {"cpu": "1250m", "memory": "64Mi"}});
        let bare = json!({"name": "bare", "image": "i"});
        let limited = json!({"name": "limited", "image": "i", "resources": resources});
        let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [bare, limited]}});
        let pod = Object::new(Kind::Pod, pod).unwrap();
        let own = pod.typed::<core::Pod>().spec.as_ref().unwrap().containers[0].clone();
        let selector = serde_json::from_value(selector).unwrap();
        value(&store, &pod, Some(&own), &selector).map_err(|error| error.to_string())
    }

    #[test]
    fn a_resource_is_told_in_whole_divisors_and_what_is_not_limited_is_the_nodes() {
        for (container, resource, divisor, expected) in [
            ("limited", "limits.cpu", "", "2"),
            ("limited", "limits.cpu", "1m", "1250"),
            ("limited", "requests.cpu", "1m", "250"),
            ("limited", "limits.memory", "1Mi", "64"),
            ("limited", "requests.memory", "0", "33554432"),
            ("", "limits.cpu", "1", "4"),
            ("", "limits.memory", "1Gi", "8"),
            ("", "requests.cpu", "1", "0"),
        ] {
            let mut selector = json!({"resource": resource, "containerName": container});
            if !divisor.is_empty() {
                selector["divisor"] = divisor.into();
            }
            assert_eq!(tell(selector.clone()).unwrap(), expected, "{selector}");
        }
    }

    #[test]
    fn what_there_is_not_is_named() {
        let other = json!({"resource": "limits.cpu", "containerName": "other"});
        assert!(tell(other).unwrap_err().contains("other"));
        assert!(tell(json!({"resource": "cpu"})).unwrap_err().contains("cpu"));
    }
}
