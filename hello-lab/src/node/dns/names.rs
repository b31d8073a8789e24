//! What the names of the cluster's domain stand for
//! (<https://github.com/kubernetes/dns/blob/master/docs/specification.md>).

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use hickory_server::proto::rr::rdata::{A, AAAA, PTR, SRV};
use hickory_server::proto::rr::{Name, RData};
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};

use crate::objects::names::CLUSTER_DOMAIN;
use crate::objects::{Key, Kind, Object, Store};

/// What is known of a name.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Found {
    /// Its records, of any type; none where the name exists without.
    Records(Vec<RData>),
    /// The cluster's domain has no such name.
    NoSuchName,
    /// Not the cluster's: a lab has no way to any other.
    NotOurs,
}

/// What a name stands for.
pub(super) fn find(store: &Store, name: &Name) -> Found {
    let name = name.to_lowercase().to_utf8();
    let name = name.trim_end_matches('.');
    if let Some(reversed) = name.strip_suffix(".in-addr.arpa") {
        return reverse(store, reversed);
    }
    let Some(name) = name.strip_suffix(CLUSTER_DOMAIN).and_then(|rest| rest.strip_suffix('.'))
    else {
        return Found::NotOurs;
    };
    let found = match name.split('.').collect::<Vec<_>>()[..] {
        [service, namespace, "svc"] => {
            Service::get(store, namespace, service).map(|service| service.records())
        }
        [host, service, namespace, "svc"] => {
            Service::get(store, namespace, service).and_then(|service| service.host(host))
        }
        [port, protocol, service, namespace, "svc"] => Service::get(store, namespace, service)
            .and_then(|service| service.port(port.strip_prefix('_')?, protocol.strip_prefix('_')?)),
        // Made of its own address, whether or not there is such a pod (`pods insecure` of CoreDNS).
        [address, namespace, "pod"]
            if store.get(&Key::new(Kind::Namespace, "", namespace)).is_ok() =>
        {
            address
                .replace('-', ".")
                .parse()
                .ok()
                .map(|address: Ipv4Addr| vec![record(address.into())])
        }
        _ => None,
    };
    found.map_or(Found::NoSuchName, Found::Records)
}

fn record(address: IpAddr) -> RData {
    match address {
        IpAddr::V4(address) => RData::A(A(address)),
        IpAddr::V6(address) => RData::AAAA(AAAA(address)),
    }
}

/// Whose an address is: a Service's, or an endpoint's of one that has none of its own.
fn reverse(store: &Store, reversed: &str) -> Found {
    let parts: Vec<_> = reversed.rsplit('.').collect();
    let Ok(address) = parts.join(".").parse::<Ipv4Addr>() else { return Found::NotOurs };
    let mut names = Vec::new();
    for object in store.list(Kind::Service, None).0 {
        let Some(service) = Service::get(store, object.namespace(), object.name()) else {
            continue;
        };
        if service.address() == Some(address.into()) {
            names.push(service.name());
        } else if service.address().is_none() {
            let of_it = service.endpoints().filter(|(one, _)| *one == IpAddr::V4(address));
            names.extend(of_it.map(|(_, host)| format!("{host}.{}", service.name())));
        }
    }
    let names: Vec<_> = names.iter().filter_map(|name| Name::from_utf8(name).ok()).collect();
    if names.is_empty() {
        return Found::NoSuchName;
    }
    Found::Records(names.into_iter().map(|name| RData::PTR(PTR(name))).collect())
}

/// A Service and its slices.
struct Service {
    object: Arc<Object>,
    slices: Vec<Arc<Object>>,
}

impl Service {
    fn get(store: &Store, namespace: &str, name: &str) -> Option<Self> {
        let object = store.get(&Key::new(Kind::Service, namespace, name)).ok()?;
        let mut slices = store.list(Kind::EndpointSlice, Some(namespace)).0;
        slices.retain(|slice| slice.is_slice_of(&object));
        Some(Self { object, slices })
    }

    fn name(&self) -> String {
        format!("{}.{}.svc.{CLUSTER_DOMAIN}.", self.object.name(), self.object.namespace())
    }

    /// Its own address; a headless one has none.
    fn address(&self) -> Option<IpAddr> {
        let spec = self.object.typed::<core::Service>().spec.as_ref();
        spec.and_then(|spec| spec.cluster_ip.as_deref())?.parse().ok()
    }

    /// The ready endpoints of a slice ("ready" of each endpoint, in the specification's section about
    /// headless Services), and their names in the Service's domain.
    fn of_slice(slice: &EndpointSlice) -> impl Iterator<Item = (IpAddr, String)> {
        let is_ready = |endpoint: &&Endpoint| {
            let conditions = endpoint.conditions.as_ref();
            conditions.is_none_or(|conditions| conditions.ready != Some(false))
        };
        slice.endpoints.iter().filter(is_ready).flat_map(|endpoint| {
            endpoint.addresses.iter().filter_map(|text| {
                let hostname = endpoint.hostname.clone();
                let host = hostname.unwrap_or_else(|| text.replace(['.', ':'], "-"));
                Some((text.parse().ok()?, host))
            })
        })
    }

    fn endpoints(&self) -> impl Iterator<Item = (IpAddr, String)> {
        self.slices.iter().flat_map(|slice| Self::of_slice(slice.typed()))
    }

    fn records(&self) -> Vec<RData> {
        match self.address() {
            Some(address) => vec![record(address)],
            None => self.endpoints().map(|(address, _)| record(address)).collect(),
        }
    }

    /// The addresses of the endpoint of this name: a pod's host name where its subdomain is the Service's
    /// name, or else its address.
    fn host(&self, host: &str) -> Option<Vec<RData>> {
        if self.address().is_some() {
            return None;
        }
        let own = self.endpoints().filter(|(_, name)| name.eq_ignore_ascii_case(host));
        let records: Vec<_> = own.map(|(address, _)| record(address)).collect();
        (!records.is_empty()).then_some(records)
    }

    /// Where a port of this name and protocol is.
    fn port(&self, name: &str, protocol: &str) -> Option<Vec<RData>> {
        let is = |own: Option<&str>, is: Option<&str>| {
            own.unwrap_or_default().eq_ignore_ascii_case(name)
                && is.unwrap_or("TCP").eq_ignore_ascii_case(protocol)
        };
        let target = |port: i32, target: &str| {
            let (port, target) = (u16::try_from(port).ok()?, Name::from_utf8(target).ok()?);
            Some(RData::SRV(SRV::new(0, 100, port, target)))
        };
        if self.address().is_some() {
            let spec = self.object.typed::<core::Service>().spec.as_ref()?;
            let mut ports = spec.ports.iter().flatten();
            let port = ports.find(|port| is(port.name.as_deref(), port.protocol.as_deref()))?;
            return Some(target(port.port, &self.name()).into_iter().collect());
        }
        let mut records = Vec::new();
        for slice in &self.slices {
            let slice = slice.typed::<EndpointSlice>();
            let mut ports = slice.ports.iter().flatten();
            let port = ports.find(|port| is(port.name.as_deref(), port.protocol.as_deref()));
            if let Some(number) = port.and_then(|port| port.port) {
                let hosts = Self::of_slice(slice);
                records
                    .extend(hosts.filter_map(|(_, host)| {
                        target(number, &format!("{host}.{}", self.name()))
                    }));
            }
        }
        (!records.is_empty()).then_some(records)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::objects::names::SERVICE_NAME_LABEL;

    fn found(name: &str) -> Found {
        let store = Store::default();
        store.create(Kind::Namespace, json!({"metadata": {"name": "n"}})).unwrap();
        let service = |name, address| {
            json!({
                "metadata": {"name": name, "namespace": "n"},
                "spec": {
                    "clusterIP": address,
                    "ports": [{"name": "http", "port": 80, "protocol": "TCP"}],
                },
            })
        };
        store.create(Kind::Service, service("a", "10.96.0.7")).unwrap();
        store.create(Kind::Service, service("headless", "None")).unwrap();
        let slice = json!({
            "metadata": {"name": "s", "namespace": "n", "labels": {SERVICE_NAME_LABEL: "headless"}},
            "addressType": "IPv4",
            "endpoints": [
                {"addresses": ["10.244.0.5"], "hostname": "web-0"},
                {"addresses": ["10.244.0.6"], "conditions": {"ready": true}},
                {"addresses": ["10.244.0.7"], "conditions": {"ready": false}},
            ],
            "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        });
        store.create(Kind::EndpointSlice, slice).unwrap();
        find(&store, &Name::from_utf8(name).unwrap())
    }

    fn addresses(hosts: &[u8]) -> Found {
        let record = |host: &u8| RData::A(A(Ipv4Addr::new(10, 244, 0, *host)));
        Found::Records(hosts.iter().map(record).collect())
    }

    fn texts(name: &str) -> Vec<String> {
        match found(name) {
            Found::Records(records) => records.iter().map(ToString::to_string).collect(),
            other => panic!("{name}: {other:?}"),
        }
    }

    #[test]
    fn a_service_has_its_address() {
        let one = Found::Records(vec![RData::A(A(Ipv4Addr::new(10, 96, 0, 7)))]);
        assert_eq!(found("a.n.svc.cluster.local."), one);
        assert_eq!(found("A.N.SVC.Cluster.Local."), one);
    }

    #[test]
    fn a_headless_service_has_those_of_its_pods_that_are_ready() {
        assert_eq!(found("headless.n.svc.cluster.local."), addresses(&[5, 6]));
    }

    #[test]
    fn a_pod_has_a_name_in_the_domain_of_its_service() {
        assert_eq!(found("web-0.headless.n.svc.cluster.local."), addresses(&[5]));
        assert_eq!(found("10-244-0-6.headless.n.svc.cluster.local."), addresses(&[6]));
        assert_eq!(found("10-244-0-9.n.pod.cluster.local."), addresses(&[9]));
        for name in [
            "web-1.headless.n.svc.cluster.local.",
            "10-244-0-7.headless.n.svc.cluster.local.",
            "web-0.a.n.svc.cluster.local.",
            "10-244-0-9.m.pod.cluster.local.",
            "nonsense.n.pod.cluster.local.",
        ] {
            assert_eq!(found(name), Found::NoSuchName, "{name}");
        }
    }

    #[test]
    fn a_named_port_is_found_where_it_is() {
        assert_eq!(texts("_http._tcp.a.n.svc.cluster.local."), ["0 100 80 a.n.svc.cluster.local."]);
        assert_eq!(
            texts("_http._tcp.headless.n.svc.cluster.local."),
            [
                "0 100 8080 web-0.headless.n.svc.cluster.local.",
                "0 100 8080 10-244-0-6.headless.n.svc.cluster.local.",
            ]
        );
        assert_eq!(found("_http._udp.a.n.svc.cluster.local."), Found::NoSuchName);
        assert_eq!(found("http.tcp.a.n.svc.cluster.local."), Found::NoSuchName);
    }

    #[test]
    fn an_address_has_the_name_of_its_service() {
        assert_eq!(texts("7.0.96.10.in-addr.arpa."), ["a.n.svc.cluster.local."]);
        assert_eq!(texts("5.0.244.10.in-addr.arpa."), ["web-0.headless.n.svc.cluster.local."]);
        assert_eq!(found("9.9.96.10.in-addr.arpa."), Found::NoSuchName);
    }

    #[test]
    fn other_names_do_not_exist() {
        for name in ["b.n.svc.cluster.local.", "a.m.svc.cluster.local.", "svc.cluster.local."] {
            assert_eq!(found(name), Found::NoSuchName, "{name}");
        }
        for name in ["example.com.", "a.n.svc.", "a.n.svc.xcluster.local."] {
            assert_eq!(found(name), Found::NotOurs, "{name}");
        }
    }
}
