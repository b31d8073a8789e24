//! Keeps every pod's table of Service addresses as the store says: what kube-proxy does on a node.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use netpol::names::NamespacedName;
use netpol::port::Protocol;

use crate::node::network::services::{ServicePort, ServiceTable};
use crate::node::network::{NODE, NetworkError};
use crate::node::per_pod::{Follower, Table};
use crate::objects::{Kind, Store};

/// The tables are not written more often than this: while pods start, Services change a hundred
/// times a second, and each of them is in each pod's table (kube-proxy's `minSyncPeriod`).
const SYNC_PERIOD: Duration = Duration::from_millis(10);

/// Writes the Services' table of every pod that it has taken on. Clones share them.
#[derive(Clone)]
pub struct ServiceProxy(Follower<Written>);

/// One pod's table, and what it holds.
struct Written {
    table: ServiceTable,
    ports: Option<Vec<ServicePort>>,
}

impl Table for Written {
    type Contents = Vec<ServicePort>;
    type Error = NetworkError;

    const NAME: &'static str = "table of Services";
    const KINDS: &'static [Kind] = &[Kind::Service, Kind::EndpointSlice];
    const PERIOD: Duration = SYNC_PERIOD;

    fn contents(store: &Store) -> Vec<ServicePort> {
        service_ports(store)
    }

    async fn write(
        &mut self,
        _pod: &NamespacedName,
        ports: &Vec<ServicePort>,
    ) -> Result<bool, NetworkError> {
        if self.ports.as_ref() != Some(ports) {
            self.table.replace(ports).await?;
            self.ports = Some(ports.clone());
            tracing::debug!(ports = ports.len(), "table of Services replaced");
        }
        Ok(true)
    }
}

impl ServiceProxy {
    /// A proxy of the Services that `store` holds.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self(Follower::new(store))
    }

    /// Takes on the pod `uid`, whose `table` is. It finds Services when this returns.
    pub async fn add(
        &self,
        uid: &str,
        namespace: &str,
        name: &str,
        table: ServiceTable,
    ) -> Result<(), NetworkError> {
        let pod = NamespacedName { namespace: namespace.to_owned(), name: name.to_owned() };
        let written = Written { table, ports: None };
        self.0.add(uid, pod, written, &self.0.snapshot()).await.map(drop)
    }

    /// Lets go of a pod; its table goes with its namespace.
    pub fn remove(&self, uid: &str) {
        self.0.remove(uid);
    }

    /// Follows the store for ever.
    pub async fn follow(self) {
        self.0.follow().await;
    }
}

/// The ports of every Service that has an address, with their ready endpoints; and those on the node, from where
/// they lead to the same ones. A pod that goes there is itself to their policies, as with Cilium: no node has taken its
/// place, as kube-proxy's does.
fn service_ports(store: &Store) -> Vec<ServicePort> {
    let slices = store.list(Kind::EndpointSlice, None).0;
    let mut ports = Vec::new();
    for service in store.list(Kind::Service, None).0 {
        let Some(spec) = &service.typed::<core::Service>().spec else { continue };
        let Some(Ok(address)) = spec.cluster_ip.as_deref().map(str::parse::<Ipv4Addr>) else {
            continue;
        };
        let own: Vec<&EndpointSlice> = slices
            .iter()
            .filter(|slice| slice.is_slice_of(&service))
            .map(|slice| slice.typed())
            .collect();
        for port in spec.ports.iter().flatten() {
            let protocol = Protocol::from_api(port.protocol.as_deref());
            let number = u16::try_from(port.port).ok();
            if let (Some(protocol), Some(number)) = (protocol, number) {
                let name = port.name.as_deref().unwrap_or_default();
                let endpoints = endpoints(&own, name, protocol);
                if let Some(port) = port.node_port.and_then(|port| u16::try_from(port).ok())
                    && port > 0
                {
                    let endpoints = endpoints.clone();
                    ports.push(ServicePort { address: NODE, protocol, port, endpoints });
                }
                ports.push(ServicePort { address, protocol, port: number, endpoints });
            }
        }
    }
    ports
}

/// Where the port of this name and protocol leads, as kube-proxy takes it from a Service's slices
/// (`pkg/proxy/endpointslicecache.go` and `topology.go`): to what is ready, or, where nothing is, to what ends
/// and still serves (KEP 1669).
fn endpoints(slices: &[&EndpointSlice], name: &str, protocol: Protocol) -> Vec<SocketAddrV4> {
    let (mut ready, mut serving) = (BTreeSet::new(), BTreeSet::new());
    for slice in slices {
        let port = slice.ports.iter().flatten().find(|port| {
            port.name.as_deref().unwrap_or_default() == name
                && Protocol::from_api(port.protocol.as_deref()) == Some(protocol)
        });
        let Some(port) = port.and_then(|port| u16::try_from(port.port?).ok()) else { continue };
        for endpoint in &slice.endpoints {
            // "consumers may … only use the first": the others are the same endpoint's.
            let address = endpoint.addresses.first().and_then(|address| address.parse().ok());
            let Some(address) = address else { continue };
            let conditions = endpoint.conditions.clone().unwrap_or_default();
            let is_ready = conditions.ready.unwrap_or(true);
            if is_ready {
                ready.insert(SocketAddrV4::new(address, port));
            } else if conditions.terminating == Some(true) && conditions.serving == Some(true) {
                serving.insert(SocketAddrV4::new(address, port));
            }
        }
    }
    if ready.is_empty() { serving } else { ready }.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn led_to(slices: &[Value]) -> Vec<String> {
        let slice = |(ports, endpoints): (&Value, &Value)| -> EndpointSlice {
            let slice = json!({
                "metadata": {"name": "s"}, "addressType": "IPv4", "ports": ports, "endpoints": endpoints,
            });
            serde_json::from_value(slice).unwrap()
        };
        let slices: Vec<_> = slices.iter().map(|one| slice((&one[0], &one[1]))).collect();
        let slices: Vec<_> = slices.iter().collect();
        endpoints(&slices, "web", Protocol::Tcp).iter().map(ToString::to_string).collect()
    }

    fn web() -> Value {
        json!([{"name": "web", "port": 80}])
    }

    #[test]
    fn a_port_is_found_by_its_name_and_its_protocol() {
        let endpoint = json!([{"addresses": ["10.0.0.1"]}]);
        let of = |port: Value| led_to(&[json!([[port], endpoint])]);
        assert_eq!(of(json!({"name": "web", "port": 80})), ["10.0.0.1:80"]);
        assert_eq!(of(json!({"name": "web", "port": 80, "protocol": "UDP"})), [""; 0]);
        assert_eq!(of(json!({"port": 80})), [""; 0]);
    }

    #[test]
    fn of_an_endpoint_with_several_addresses_the_first_is_taken_and_one_in_two_slices_once() {
        let endpoints = json!([{"addresses": ["10.0.0.1", "10.0.0.2"]}]);
        let slices = [json!([web(), endpoints]), json!([web(), endpoints])];
        assert_eq!(led_to(&slices), ["10.0.0.1:80"]);
    }

    #[test]
    fn what_ends_and_still_serves_is_taken_where_nothing_is_ready() {
        let ends = json!({
            "addresses": ["10.0.0.1"],
            "conditions": {"ready": false, "serving": true, "terminating": true},
        });
        let unready = json!({"addresses": ["10.0.0.2"], "conditions": {"ready": false}});
        assert_eq!(led_to(&[json!([web(), [ends, unready]])]), ["10.0.0.1:80"]);
        let ready = json!({"addresses": ["10.0.0.3"]});
        assert_eq!(led_to(&[json!([web(), [ends, unready, ready]])]), ["10.0.0.3:80"]);
    }
}
