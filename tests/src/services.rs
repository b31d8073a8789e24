//! Random Services over a few pods, and random policies for these: few labels, few ports and few names, so
//! that they meet often. The same seed makes the same.

pub mod answers;
pub mod by_hand;

use fastrand::Rng;
use serde_json::{Map, Value, json};

/// The namespaces, each with a label `team` of its own name.
pub const NAMESPACES: [&str; 2] = ["x", "y"];

/// The ports of pods and of Services alike, so that a rule can name the one and mean the other.
pub const PORTS: [u16; 4] = [80, 81, 8080, 8081];

/// The names of pods' ports.
const NAMES: [&str; 2] = ["http", "alt"];

const PODS: usize = 5;
const SERVICES: usize = 6;

/// Objects of the API.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// Pods that serve none of [`PORTS`].
    pub pods: Vec<Value>,
    /// Services.
    pub services: Vec<Value>,
    /// `EndpointSlices` and Endpoints, with `NAMESPACE/NAME` of a pod for its address.
    pub by_hand: Vec<Value>,
    /// `NetworkPolicies`.
    pub policies: Vec<Value>,
}

impl World {
    /// What a seed makes; `mark` is in the pods' names.
    #[must_use]
    pub fn random(seed: u64, mark: &str) -> Self {
        let random = &mut Rng::with_seed(seed);
        let pods: Vec<Value> =
            (0..PODS).map(|index| pod(random, &format!("pod-{mark}-{index}"))).collect();
        let services: Vec<Value> =
            (0..SERVICES).map(|index| service(random, &format!("s{index}"))).collect();
        Self {
            by_hand: services
                .iter()
                .flat_map(|service| by_hand::lists(random, service, &pods))
                .collect(),
            pods,
            services,
            policies: (0..random.usize(1..5))
                .map(|index| policy(random, &format!("p{index}")))
                .collect(),
        }
    }
}

/// `objects` as one that kubectl applies.
#[must_use]
pub fn list(objects: &[Value]) -> String {
    json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string()
}

/// A pod with a container for each of `containers`, which are their ports. It serves none of these: a test
/// does that in its network.
#[must_use]
pub fn pod_with(namespace: &str, name: &str, labels: &Value, containers: &[Value]) -> Value {
    let containers: Vec<Value> = containers
        .iter()
        .enumerate()
        .map(|(index, ports)| {
            json!({
                "name": format!("c{index}"), "image": "hello-server:1.0.0",
                "args": ["--port", (9000 + index).to_string()], "ports": ports,
            })
        })
        .collect();
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": namespace, "name": name, "labels": labels},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": containers},
    })
}

fn pick<T: Clone>(random: &mut Rng, of: &[T]) -> T {
    of[random.usize(..of.len())].clone()
}

fn one_in(random: &mut Rng, many: u32) -> bool {
    random.u32(..many) == 0
}

fn few(random: &mut Rng, most: usize, mut make: impl FnMut(&mut Rng) -> Value) -> Vec<Value> {
    (0..random.usize(..=most)).map(|_| make(random)).collect()
}

fn protocol(random: &mut Rng) -> &'static str {
    pick(random, &["TCP", "TCP", "UDP"])
}

const LABELS: [(&str, [&str; 2]); 2] = [("app", ["web", "db"]), ("tier", ["1", "2"])];

/// A label, or one of each key.
fn labels(random: &mut Rng, all: bool) -> Value {
    let only = random.usize(..LABELS.len());
    let mut labels = Map::new();
    for (index, (key, values)) in LABELS.into_iter().enumerate() {
        if all || index == only {
            labels.insert(key.to_owned(), pick(random, &values).into());
        }
    }
    labels.into()
}

/// Mostly one container. A name is of one port of a container; in another one, and in other pods, it may be
/// of others.
fn pod(random: &mut Rng, name: &str) -> Value {
    let container = |random: &mut Rng| {
        let mut ports = Vec::new();
        for name in NAMES {
            if !one_in(random, 4) {
                ports.push(json!({
                    "name": name, "containerPort": pick(random, &PORTS), "protocol": protocol(random),
                }));
            }
        }
        if one_in(random, 3) {
            ports.push(json!({"containerPort": pick(random, &PORTS)}));
        }
        Value::from(ports)
    };
    let count = if one_in(random, 3) { 2 } else { 1 };
    let containers: Vec<Value> = (0..count).map(|_| container(random)).collect();
    let (namespace, labels) = (pick(random, &["x", "x", "x", "y"]), labels(random, true));
    pod_with(namespace, name, &labels, &containers)
}

fn service(random: &mut Rng, name: &str) -> Value {
    let mut ports: Vec<Value> = Vec::new();
    for index in 0..random.usize(1..=3) {
        let mut port = json!({
            "name": format!("port{index}"), "port": pick(random, &PORTS), "protocol": protocol(random),
        });
        match random.u32(..6) {
            0 => {}
            1..=3 => port["targetPort"] = pick(random, &PORTS).into(),
            _ => port["targetPort"] = pick(random, &NAMES).into(),
        }
        let is_new =
            |one: &Value| one["port"] != port["port"] || one["protocol"] != port["protocol"];
        if ports.iter().all(is_new) {
            ports.push(port);
        }
    }
    if let [only] = ports.as_mut_slice()
        && random.bool()
        && let Some(fields) = only.as_object_mut()
    {
        fields.remove("name");
    }
    let mut spec = json!({"ports": ports});
    match random.u32(..16) {
        0..=4 => {}
        5 => spec["selector"] = json!({"app": "nobody"}),
        _ => {
            let all = one_in(random, 4);
            spec["selector"] = labels(random, all);
        }
    }
    if one_in(random, 6) {
        spec["clusterIP"] = "None".into();
    }
    let namespace = pick(random, &["x", "x", "x", "y"]);
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"namespace": namespace, "name": name}, "spec": spec,
    })
}

fn policy(random: &mut Rng, name: &str) -> Value {
    let types =
        pick(random, &[json!(["Ingress"]), json!(["Egress"]), json!(["Ingress", "Egress"])]);
    let mut spec = json!({"podSelector": selector(random), "policyTypes": types});
    for (direction, section, peers) in [("Ingress", "ingress", "from"), ("Egress", "egress", "to")]
    {
        if types.as_array().is_some_and(|types| types.iter().any(|one| one == direction)) {
            spec[section] = few(random, 2, |random| rule(random, peers)).into();
        }
    }
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"namespace": pick(random, &NAMESPACES), "name": name}, "spec": spec,
    })
}

fn selector(random: &mut Rng) -> Value {
    match random.u32(..5) {
        0 => json!({}),
        number => json!({"matchLabels": labels(random, number == 1)}),
    }
}

/// A rule; without peers or ports it is for all.
fn rule(random: &mut Rng, peers: &str) -> Value {
    let mut rule = Map::new();
    rule.insert(peers.to_owned(), few(random, 2, peer).into());
    rule.insert("ports".to_owned(), few(random, 2, port).into());
    rule.into()
}

fn peer(random: &mut Rng) -> Value {
    let team = |random: &mut Rng| json!({"matchLabels": {"team": pick(random, &NAMESPACES)}});
    match random.u32(..7) {
        0..=2 => json!({"podSelector": selector(random)}),
        3 => json!({"namespaceSelector": team(random)}),
        4 => json!({"namespaceSelector": {}, "podSelector": selector(random)}),
        5 => json!({"namespaceSelector": team(random), "podSelector": selector(random)}),
        // Every pod, every Service, everything.
        _ => {
            let blocks = ["10.244.0.0/16", "10.96.0.0/12", "0.0.0.0/0"];
            json!({"ipBlock": {"cidr": pick(random, &blocks)}})
        }
    }
}

/// By a number that a pod or a Service may have, by a name, by a range, or any of a protocol.
fn port(random: &mut Rng) -> Value {
    let protocol = protocol(random);
    match random.u32(..6) {
        0..=2 => json!({"port": pick(random, &PORTS), "protocol": protocol}),
        3 | 4 => json!({"port": pick(random, &NAMES), "protocol": protocol}),
        _ if random.bool() => json!({"port": 81, "endPort": 8080, "protocol": protocol}),
        _ => json!({"protocol": protocol}),
    }
}
