//! The ports of a Service on the node: given when it gets the type `NodePort`, and kept for as long as it has it
//! (pkg/registry/core/service/storage of k8s.io/kubernetes).

use std::collections::{BTreeMap, BTreeSet};

use netpol::field_error::FieldError;
use serde_json::{Value, json};

use super::super::allocation::Held;
use super::super::kind::Kind;
use super::super::names::NODE_PORTS;
use super::super::store::Store;
use super::service::AddressError;

/// Whether a Service has ports on the node.
pub(super) fn has_node_ports(service: &Value) -> bool {
    service["spec"]["type"] == "NodePort"
}

fn ports(service: &Value) -> impl Iterator<Item = &Value> {
    service["spec"]["ports"].as_array().into_iter().flatten()
}

/// The port on the node of one of a Service's ports, if it has one.
fn node_port(port: &Value) -> Option<u16> {
    port["nodePort"].as_u64().and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0)
}

fn name(port: &Value) -> &str {
    port["name"].as_str().unwrap_or_default()
}

/// Gives each port of a Service of the type one on the node: the one that it asks for, or a free one. They are
/// nobody else's while what this returns is kept.
pub(super) fn allocate(store: &Store, service: &mut Value) -> Result<Vec<Held<u16>>, AddressError> {
    if !has_node_ports(service) {
        return Ok(Vec::new());
    }
    let others = of_others(store, service);
    let mut held = Vec::new();
    // Ports of two protocols may be one on the node.
    let mut own: BTreeSet<(String, u16)> = BTreeSet::new();
    let take = |number: u16, held: &mut Vec<Held<u16>>| -> bool {
        // Held first, looked for then: see `Pool`.
        let Some(one) = store.node_ports.hold(number) else { return false };
        held.push(one);
        !others.contains(&number)
    };
    let mut all: Vec<Value> = ports(service).cloned().collect();
    let protocol = |port: &Value| port["protocol"].as_str().unwrap_or("TCP").to_owned();
    // Those that are asked for first, so that no other gets them.
    for (index, port) in all.iter().enumerate() {
        let Some(number) = node_port(port) else { continue };
        let refuse = |why: &str| {
            let path = format!("spec.ports[{index}].nodePort");
            AddressError::Invalid(vec![FieldError::invalid(path, number, why.to_owned())])
        };
        if !NODE_PORTS.contains(&number) {
            let (first, last) = (NODE_PORTS.start(), NODE_PORTS.end());
            return Err(refuse(&format!(
                "provided port is not in the valid range. The range of valid ports is {first}-{last}"
            )));
        }
        let is_own = own.iter().any(|(_, other)| *other == number);
        let is_double = !own.insert((protocol(port), number));
        if is_double || !is_own && !take(number, &mut held) {
            return Err(refuse("provided port is already allocated"));
        }
    }
    for port in all.iter_mut().filter(|port| node_port(port).is_none()) {
        let mut candidates = candidates();
        let free = candidates.find(|number| {
            own.iter().all(|(_, other)| other != number) && take(*number, &mut held)
        });
        let number = free.ok_or(AddressError::NoPortLeft)?;
        own.insert((protocol(port), number));
        port["nodePort"] = number.into();
    }
    service["spec"]["ports"] = all.into();
    Ok(held)
}

/// The ports on the node that other Services have.
fn of_others(store: &Store, service: &Value) -> BTreeSet<u16> {
    let is_other = |other: &Value| {
        ["namespace", "name"]
            .iter()
            .any(|field| other["metadata"][*field].as_str() != service["metadata"][*field].as_str())
    };
    let (services, _) = store.list(Kind::Service, None);
    let others = services.iter().map(|service| service.value()).filter(|other| is_other(other));
    others.filter(|other| has_node_ports(other)).flat_map(ports).filter_map(node_port).collect()
}

/// Gives a changed Service the ports that it has where it names none (`patchAllocatedValues`), and takes them
/// away where its type has none and it left them as they were (`dropTypeDependentFields`).
pub(super) fn keep(before: &Value, after: &mut Value) {
    if !has_node_ports(before) {
        return;
    }
    let set = |service: &Value| ports(service).filter_map(node_port).collect::<BTreeSet<_>>();
    let (old, new) = (set(before), set(after));
    let is_kept = has_node_ports(after);
    if !is_kept && before["spec"]["externalTrafficPolicy"] == after["spec"]["externalTrafficPolicy"]
    {
        after["spec"]["externalTrafficPolicy"] = Value::Null;
    }
    let by_name: BTreeMap<&str, u16> =
        ports(before).filter_map(|port| Some((name(port), node_port(port)?))).collect();
    for port in after["spec"]["ports"].as_array_mut().into_iter().flatten() {
        if !is_kept {
            if old == new {
                port["nodePort"] = Value::Null;
            }
        } else if node_port(port).is_none()
            && let Some(number) = by_name.get(name(port))
            && !new.contains(number)
        {
            port["nodePort"] = json!(number);
        }
    }
}

/// The ports that are given to who asks for none, in a random order.
fn candidates() -> impl Iterator<Item = u16> {
    (0..100).map(|_| rand::random_range(NODE_PORTS)).chain(NODE_PORTS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(name: &str, ports: Value) -> Value {
        let spec = json!({"type": "NodePort", "ports": ports});
        json!({"metadata": {"name": name, "namespace": "n"}, "spec": spec})
    }

    /// Allocates, and stores the Service: its ports, or what it is refused for.
    fn create(store: &Store, mut service: Value) -> Result<Vec<u16>, String> {
        match allocate(store, &mut service) {
            Ok(_held) => {
                let stored = store.create(Kind::Service, service).unwrap();
                Ok(ports(stored.value()).filter_map(node_port).collect())
            }
            Err(AddressError::Invalid(errors)) => Err(errors[0].to_string()),
            Err(_) => Err("none left".to_owned()),
        }
    }

    #[test]
    fn each_port_has_one_of_its_own_on_the_node_that_asks_for_none_or_for_a_free_one() {
        let store = Store::default();
        let given = create(&store, service("a", json!([{"port": 80}, {"port": 81}]))).unwrap();
        assert!(given.iter().all(|port| NODE_PORTS.contains(port)) && given[0] != given[1]);
        assert_eq!(
            create(&store, service("b", json!([{"port": 80, "nodePort": 30080}]))),
            Ok(vec![30080])
        );
        let both = json!([
            {"port": 53, "protocol": "UDP", "nodePort": 30053}, {"port": 53, "nodePort": 30053},
        ]);
        assert_eq!(create(&store, service("c", both)), Ok(vec![30053, 30053]));
        let range = "spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range. \
                     The range of valid ports is 30000-32767";
        let taken =
            "spec.ports[0].nodePort: Invalid value: 30080: provided port is already allocated";
        let twice =
            "spec.ports[1].nodePort: Invalid value: 30081: provided port is already allocated";
        for (ports, says) in [
            (json!([{"port": 80, "nodePort": 80}]), range),
            (json!([{"port": 80, "nodePort": 30080}]), taken),
            (json!([{"port": 80, "nodePort": 30081}, {"port": 81, "nodePort": 30081}]), twice),
        ] {
            assert_eq!(create(&store, service("d", ports)), Err(says.to_owned()));
        }
        let mut clusters = json!({"spec": {"type": "ClusterIP", "ports": [{"port": 80}]}});
        assert!(allocate(&store, &mut clusters).is_ok_and(|held| held.is_empty()));
        assert!(clusters["spec"]["ports"][0]["nodePort"].is_null());
    }

    #[test]
    fn services_that_are_created_at_once_have_ports_of_their_own() {
        let store = Store::default();
        let one = |thread: usize| {
            let wanted = json!([{"port": 80, "nodePort": 30007}, {"port": 81}]);
            create(&store, service(&format!("s{thread}"), wanted)).is_ok()
        };
        let got = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|thread| scope.spawn(move || one(thread))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        assert_eq!(got.into_iter().filter(|got| *got).count(), 1);
    }

    #[test]
    fn a_change_keeps_the_ports_of_the_node_by_name_and_another_type_has_none() {
        let before = service(
            "a",
            json!([
                {"name": "http", "port": 80, "nodePort": 30080}, {"name": "dns", "port": 53, "nodePort": 30053},
            ]),
        );
        let mut after = service(
            "a",
            json!([
                {"name": "http", "port": 8080}, {"name": "new", "port": 1},
                {"name": "moved", "port": 53, "nodePort": 30053},
            ]),
        );
        keep(&before, &mut after);
        let numbers: Vec<_> = ports(&after).map(node_port).collect();
        assert_eq!(numbers, [Some(30080), None, Some(30053)]);
        let mut cluster = before.clone();
        cluster["spec"]["type"] = "ClusterIP".into();
        keep(&before, &mut cluster);
        assert_eq!(ports(&cluster).filter_map(node_port).count(), 0);
        let mut other = before.clone();
        other["spec"]["type"] = "ClusterIP".into();
        other["spec"]["ports"][0]["nodePort"] = 30081.into();
        keep(&before, &mut other);
        assert_eq!(ports(&other).filter_map(node_port).count(), 2, "for validation to refuse");
    }
}
