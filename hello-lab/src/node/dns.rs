//! Cluster DNS: `SERVICE.NAMESPACE.svc.cluster.local`, answered from the store
//! (<https://github.com/kubernetes/dns/blob/master/docs/specification.md>).
//!
//! It listens in the network namespace of a pod of its own, in kube-system and labelled
//! k8s-app=kube-dns, so that policies see it as on any cluster.

use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use hickory_server::Server;
use hickory_server::net::runtime::Time;
use hickory_server::proto::op::{Header, HeaderCounts, Metadata, OpCode, ResponseCode};
use hickory_server::proto::rr::rdata::A;
use hickory_server::proto::rr::{DNSClass, Name, RData, Record, RecordType};
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::MessageResponseBuilder;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use tokio::net::{TcpListener, UdpSocket};

use crate::node::network::PodNetwork;
use crate::objects::names::{CLUSTER_DOMAIN, SERVICE_NAME_LABEL};
use crate::objects::{Key, Kind, Store};

/// How long a client may keep an answer, in seconds; CoreDNS's default for Kubernetes.
const TTL: u32 = 5;
/// How long a TCP client may be silent.
const TCP_TIMEOUT: Duration = Duration::from_secs(5);

/// Answers on port 53 of `network`, for as long as the server that it returns is kept.
pub fn serve(store: Store, network: &PodNetwork) -> io::Result<Server<impl RequestHandler>> {
    let address = (network.address(), 53);
    let (udp, tcp) = network.run(|| {
        Ok::<_, io::Error>((
            std::net::UdpSocket::bind(address)?,
            std::net::TcpListener::bind(address)?,
        ))
    })??;
    udp.set_nonblocking(true)?;
    tcp.set_nonblocking(true)?;
    let mut server = Server::new(Resolver { store });
    server.register_socket(UdpSocket::from_std(udp)?);
    server.register_listener(TcpListener::from_std(tcp)?, TCP_TIMEOUT, 32);
    Ok(server)
}

/// Answers from the store.
struct Resolver {
    store: Store,
}

/// What is known of a name.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    /// Its addresses; none where the name exists without.
    Addresses(Vec<Ipv4Addr>),
    /// The cluster's domain has no such name.
    NoSuchName,
    /// Not the cluster's: a lab has no way to any other.
    NotOurs,
}

impl Resolver {
    fn find(&self, name: &Name) -> Found {
        let name = name.to_lowercase().to_utf8();
        let name = name.trim_end_matches('.');
        let Some(name) = name.strip_suffix(CLUSTER_DOMAIN).and_then(|rest| rest.strip_suffix('.'))
        else {
            return Found::NotOurs;
        };
        let labels: Vec<_> = name.split('.').collect();
        let [service, namespace, "svc"] = labels[..] else { return Found::NoSuchName };
        let Ok(object) = self.store.get(&Key::new(Kind::Service, namespace, service)) else {
            return Found::NoSuchName;
        };
        let spec = object.typed::<core::Service>().spec.as_ref();
        let address = spec.and_then(|spec| spec.cluster_ip.as_deref());
        match address.map(str::parse) {
            Some(Ok(address)) => Found::Addresses(vec![address]),
            _ => Found::Addresses(self.endpoints(namespace, service)),
        }
    }

    /// The addresses behind a headless Service: of pods that are ready ("ready" of each endpoint, in the
    /// specification's section about headless Services).
    fn endpoints(&self, namespace: &str, service: &str) -> Vec<Ipv4Addr> {
        let slices = self.store.list(Kind::EndpointSlice, Some(namespace)).0;
        let own = slices.iter().filter(|slice| {
            slice.labels().get(SERVICE_NAME_LABEL).is_some_and(|name| name == service)
        });
        own.flat_map(|slice| &slice.typed::<EndpointSlice>().endpoints)
            .filter(|endpoint| {
                let conditions = endpoint.conditions.as_ref();
                conditions.is_none_or(|conditions| conditions.ready != Some(false))
            })
            .flat_map(|endpoint| &endpoint.addresses)
            .filter_map(|address| address.parse().ok())
            .collect()
    }
}

#[async_trait::async_trait]
impl RequestHandler for Resolver {
    async fn handle_request<R: ResponseHandler, T: Time>(
        &self,
        request: &Request,
        mut responder: R,
    ) -> ResponseInfo {
        let mut metadata = Metadata::response_from_request(&request.metadata);
        metadata.authoritative = true;
        metadata.recursion_available = true;
        let mut answers = Vec::new();
        match request.request_info() {
            Ok(info) if request.metadata.op_code == OpCode::Query => {
                let name = Name::from(info.query.name());
                match self.find(&name) {
                    Found::Addresses(addresses)
                        if info.query.query_class() == DNSClass::IN
                            && matches!(
                                info.query.query_type(),
                                RecordType::A | RecordType::ANY
                            ) =>
                    {
                        let record =
                            |address| Record::from_rdata(name.clone(), TTL, RData::A(A(address)));
                        answers.extend(addresses.into_iter().map(record));
                    }
                    Found::Addresses(_) => {}
                    Found::NoSuchName | Found::NotOurs => {
                        metadata.response_code = ResponseCode::NXDomain;
                    }
                }
            }
            Ok(_) => metadata.response_code = ResponseCode::NotImp,
            Err(_) => metadata.response_code = ResponseCode::FormErr,
        }
        let builder = MessageResponseBuilder::from_message_request(request);
        let response = builder.build(metadata, answers.iter(), [], [], []);
        match responder.send_response(response).await {
            Ok(info) => info,
            Err(error) => {
                tracing::debug!("a DNS answer was not sent: {error}");
                ResponseInfo::from(Header { metadata, counts: HeaderCounts::default() })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn find(name: &str) -> Found {
        let store = Store::default();
        let service = |name, address| {
            json!({
                "metadata": {"name": name, "namespace": "n"},
                "spec": {"clusterIP": address, "ports": [{"port": 80}]},
            })
        };
        store.create(Kind::Service, service("a", "10.96.0.7")).unwrap();
        store.create(Kind::Service, service("headless", "None")).unwrap();
        let slice = json!({
            "metadata": {"name": "s", "namespace": "n", "labels": {SERVICE_NAME_LABEL: "headless"}},
            "addressType": "IPv4",
            "endpoints": [
                {"addresses": ["10.244.0.5"]},
                {"addresses": ["10.244.0.6"], "conditions": {"ready": true}},
                {"addresses": ["10.244.0.7"], "conditions": {"ready": false}},
            ],
        });
        store.create(Kind::EndpointSlice, slice).unwrap();
        Resolver { store }.find(&Name::from_utf8(name).unwrap())
    }

    #[test]
    fn a_service_has_its_address() {
        let found = Found::Addresses(vec![Ipv4Addr::new(10, 96, 0, 7)]);
        assert_eq!(find("a.n.svc.cluster.local."), found);
        assert_eq!(find("A.N.SVC.Cluster.Local."), found);
    }

    #[test]
    fn a_headless_service_has_those_of_its_pods_that_are_ready() {
        let found = [5, 6].map(|host| Ipv4Addr::new(10, 244, 0, host)).to_vec();
        assert_eq!(find("headless.n.svc.cluster.local."), Found::Addresses(found));
    }

    #[test]
    fn other_names_do_not_exist() {
        for name in ["b.n.svc.cluster.local.", "a.m.svc.cluster.local.", "svc.cluster.local."] {
            assert_eq!(find(name), Found::NoSuchName, "{name}");
        }
        for name in ["example.com.", "a.n.svc.", "a.n.svc.xcluster.local."] {
            assert_eq!(find(name), Found::NotOurs, "{name}");
        }
    }
}
