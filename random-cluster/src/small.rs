//! Small clusters in which much happens: few labels, few ports and few addresses, so that selectors,
//! rules and blocks meet often. What proptest makes of them shrinks.

use std::net::IpAddr;

use ipnet::IpNet;
use netpol::cluster::Cluster;
use netpol::port::Protocol;
use netpol::read::{Input, manifests};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// The names of the namespaces.
pub const NAMESPACES: [&str; 3] = ["x", "y", "z"];

/// The most pods of a cluster.
pub const PODS: usize = 5;

/// The ports that pods listen on, and that policies speak of.
pub const PORTS: [u16; 4] = [80, 81, 82, 83];

/// The protocols that are tried; SCTP needs a kernel with it.
pub const PROTOCOLS: [Protocol; 2] = [Protocol::Tcp, Protocol::Udp];

/// A cluster and its policies, as objects of the API.
#[derive(Clone, Debug)]
pub struct SmallCluster {
    /// The labels of [`NAMESPACES`].
    pub namespaces: Vec<Value>,
    /// At least two, at most [`PODS`].
    pub pods: Vec<SmallPod>,
    /// The policies' specs, each with the number of its namespace.
    pub policies: Vec<(usize, Value)>,
}

/// A pod.
#[derive(Clone, Debug)]
pub struct SmallPod {
    /// The number of its namespace.
    pub namespace: usize,
    /// Its labels.
    pub labels: Value,
    /// Its containers' ports.
    pub ports: Vec<Value>,
}

impl SmallCluster {
    /// The manifests, an object a line; `addresses` are those of each pod.
    #[must_use]
    pub fn manifest(&self, addresses: &[Vec<IpAddr>]) -> String {
        let namespaces = NAMESPACES.iter().zip(&self.namespaces).map(|(name, labels)| {
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
        });
        let pods = self.pods.iter().enumerate().map(|(index, pod)| {
            let addresses = addresses.get(index).into_iter().flatten();
            let addresses: Vec<Value> =
                addresses.map(|address| json!({"ip": address.to_string()})).collect();
            json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {
                    "name": pod_name(index), "namespace": NAMESPACES[pod.namespace],
                    "labels": pod.labels,
                },
                "spec": {"containers": [{"name": "c", "image": "c", "ports": pod.ports}]},
                "status": {"podIPs": addresses},
            })
        });
        let policies = self.policies.iter().enumerate().map(|(index, (namespace, spec))| {
            json!({
                "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
                "metadata": {"name": format!("policy-{index}"), "namespace": NAMESPACES[*namespace]},
                "spec": spec,
            })
        });
        let objects = namespaces.chain(pods).chain(policies);
        objects.map(|object| format!("---\n{object}\n")).collect::<Vec<_>>().concat()
    }

    /// The cluster as netpol reads it.
    #[must_use]
    pub fn read(&self, addresses: &[Vec<IpAddr>]) -> Cluster {
        let text = self.manifest(addresses);
        match manifests(&[Input::new("-")], text.as_bytes()) {
            Ok(manifests) => manifests.cluster,
            Err(findings) => panic!("{findings:?}\n{text}"),
        }
    }
}

/// The name of a pod by its number.
#[must_use]
pub fn pod_name(index: usize) -> String {
    format!("pod-{index}")
}

/// Clusters. `addresses` are those that pods may have, about which blocks are made.
pub fn cluster(addresses: Vec<IpAddr>) -> impl Strategy<Value = SmallCluster> {
    let namespaces = prop::collection::vec(labels(), NAMESPACES.len());
    let pod = (0..NAMESPACES.len(), labels(), prop::collection::vec(container_port(), 0..3));
    let pod = pod.prop_map(|(namespace, labels, ports)| SmallPod { namespace, labels, ports });
    let policy = (0..NAMESPACES.len(), spec(addresses));
    (namespaces, prop::collection::vec(pod, 2..=PODS), prop::collection::vec(policy, 1..6))
        .prop_map(|(namespaces, pods, policies)| SmallCluster { namespaces, pods, policies })
}

fn key() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["a", "b"])
}

fn value() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["", "1", "2"])
}

fn labels() -> impl Strategy<Value = Value> {
    prop::collection::btree_map(key(), value(), 0..3).prop_map(|labels| json!(labels))
}

/// A name is of one port and protocol in a pod; in another pod it may be of others.
fn container_port() -> impl Strategy<Value = Value> {
    let parts = (port_name(), prop::sample::select(PORTS.to_vec()), protocol());
    parts.prop_map(
        |(name, port, protocol)| json!({"name": name, "containerPort": port, "protocol": protocol}),
    )
}

fn port_name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["one", "two"])
}

fn protocol() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["TCP", "TCP", "UDP", "SCTP"])
}

fn spec(addresses: Vec<IpAddr>) -> impl Strategy<Value = Value> {
    let types = prop::option::of(prop::sample::select(vec![
        json!([]),
        json!(["Ingress"]),
        json!(["Egress"]),
        json!(["Ingress", "Egress"]),
    ]));
    let rules = |peers: &'static str, addresses: &[IpAddr]| {
        mostly(prop::collection::vec(rule(peers, addresses.to_vec()), 0..3))
    };
    let (ingress, egress) = (rules("from", &addresses), rules("to", &addresses));
    let pods = prop_oneof![Just(json!({})), selector()];
    (pods, types, ingress, egress).prop_map(|(pods, types, ingress, egress)| {
        object([
            ("podSelector", Some(pods)),
            ("policyTypes", types),
            ("ingress", ingress.map(Value::from)),
            ("egress", egress.map(Value::from)),
        ])
    })
}

/// Seldom nothing: what is missing or empty allows much, and hides what the rest does not.
fn mostly<T: std::fmt::Debug>(some: impl Strategy<Value = T>) -> impl Strategy<Value = Option<T>> {
    prop::option::weighted(0.85, some)
}

fn few<T: std::fmt::Debug>(one: impl Strategy<Value = T>) -> impl Strategy<Value = Vec<T>> {
    let sizes = prop_oneof![1 => Just(0), 9 => 1..3_usize];
    let list = prop::collection::vec(one, 2);
    (list, sizes).prop_map(|(mut list, size)| {
        list.truncate(size);
        list
    })
}

fn object(fields: impl IntoIterator<Item = (&'static str, Option<Value>)>) -> Value {
    let fields = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(fields.collect::<Map<_, _>>())
}

fn rule(peers: &'static str, addresses: Vec<IpAddr>) -> impl Strategy<Value = Value> {
    let list = mostly(few(peer(addresses)));
    let ports = mostly(few(port()));
    (list, ports).prop_map(move |(list, ports)| {
        object([(peers, list.map(Value::from)), ("ports", ports.map(Value::from))])
    })
}

fn peer(addresses: Vec<IpAddr>) -> impl Strategy<Value = Value> {
    prop_oneof![
        2 => selector().prop_map(|pods| json!({"podSelector": pods})),
        2 => selector().prop_map(|namespaces| json!({"namespaceSelector": namespaces})),
        2 => (selector(), selector()).prop_map(|(pods, namespaces)| {
            json!({"podSelector": pods, "namespaceSelector": namespaces})
        }),
        3 => block(addresses).prop_map(|block| json!({"ipBlock": block})),
    ]
}

/// A block round one of the addresses, and perhaps a hole of it round another.
fn block(addresses: Vec<IpAddr>) -> impl Strategy<Value = Value> {
    let address = prop::sample::select(addresses);
    (address.clone(), 0..=3_u8, prop::collection::vec((address, 0..=3_u8), 0..3)).prop_map(
        |(address, size, holes)| {
            // Of every address, of eight, of two, of one.
            let length = |address: IpAddr, size: u8| {
                let whole = if address.is_ipv4() { 32 } else { 128 };
                [0, whole - 3, whole - 1, whole][usize::from(size)]
            };
            let outer = IpNet::new_assert(address, length(address, size));
            let holes = holes.into_iter().filter_map(|(hole, more)| {
                let inner = IpNet::new_assert(hole, length(hole, more));
                let is_inside = outer.contains(&inner) && inner.prefix_len() > outer.prefix_len();
                is_inside.then(|| inner.to_string())
            });
            let holes: Vec<String> = holes.collect();
            json!({"cidr": outer.to_string(), "except": holes})
        },
    )
}

fn port() -> impl Strategy<Value = Value> {
    let number = || prop::sample::select(PORTS.to_vec());
    let protocol = || prop::option::of(protocol().prop_map(Value::from));
    prop_oneof![
        1 => protocol().prop_map(|protocol| object([("protocol", protocol)])),
        3 => (number(), protocol()).prop_map(|(port, protocol)| {
            object([("port", Some(port.into())), ("protocol", protocol)])
        }),
        2 => (number(), 0..3_u16, protocol()).prop_map(|(port, more, protocol)| {
            object([
                ("port", Some(port.into())),
                ("endPort", Some((port + more).into())),
                ("protocol", protocol),
            ])
        }),
        2 => (port_name(), protocol()).prop_map(|(name, protocol)| {
            object([("port", Some(name.into())), ("protocol", protocol)])
        }),
    ]
}

fn selector() -> impl Strategy<Value = Value> {
    let expression = (key(), 0..4_usize, prop::collection::vec(value(), 1..3)).prop_map(
        |(key, operator, values)| {
            let operator = ["In", "NotIn", "Exists", "DoesNotExist"][operator];
            let values = operator.ends_with("In").then(|| json!(values));
            object([
                ("key", Some(key.into())),
                ("operator", Some(operator.into())),
                ("values", values),
            ])
        },
    );
    let labels = prop::collection::btree_map(key(), value(), 0..2);
    let expressions = prop::collection::vec(expression, 0..2);
    prop_oneof![
        1 => Just(json!({})),
        2 => (labels, expressions).prop_map(|(labels, expressions)| {
            json!({"matchLabels": labels, "matchExpressions": expressions})
        }),
    ]
}
