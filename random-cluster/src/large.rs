//! Clusters of many workloads, as a company's might look: teams with namespaces, applications of
//! several tiers, policies that deny by default and let the right ones through.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

/// How large a cluster is to be.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Workloads; a namespace has twenty.
    pub workloads: usize,
    /// Policies.
    pub policies: usize,
}

const WORKLOADS_A_NAMESPACE: usize = 20;
const TEAMS: usize = 8;
const TIERS: [&str; 4] = ["web", "api", "worker", "store"];
const PORTS: [u16; 4] = [80, 443, 8080, 9090];

/// The objects of a cluster of this size; the same seed makes the same.
#[must_use]
pub fn cluster(size: Size, seed: u64) -> Vec<Value> {
    let mut random = StdRng::seed_from_u64(seed);
    let namespaces = size.workloads.div_ceil(WORKLOADS_A_NAMESPACE).max(1);
    let mut objects = Vec::new();
    for index in 0..namespaces {
        objects.push(json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": namespace(index), "labels": {"team": team(index)}},
        }));
    }
    for index in 0..size.workloads {
        objects.push(workload(index));
    }
    for index in 0..size.policies {
        // The first ones deny by default, a namespace each.
        let spec = if index < namespaces.min(size.policies / 4) {
            json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]})
        } else {
            spec(&mut random, namespaces)
        };
        objects.push(json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
            "metadata": {"name": format!("policy-{index}"), "namespace": namespace(index % namespaces)},
            "spec": spec,
        }));
    }
    objects
}

fn namespace(index: usize) -> String {
    format!("namespace-{index}")
}

fn team(namespace: usize) -> String {
    format!("team-{}", namespace % TEAMS)
}

fn workload(index: usize) -> Value {
    let name = format!("app-{index}");
    let labels = json!({"app": name, "tier": TIERS[index % TIERS.len()]});
    let port = PORTS[index % PORTS.len()];
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace(index / WORKLOADS_A_NAMESPACE)},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{
                    "name": "app", "image": "app:1",
                    "ports": [{"name": "http", "containerPort": port}],
                }]},
            },
        },
    })
}

fn spec(random: &mut StdRng, namespaces: usize) -> Value {
    let pods = json!({"matchLabels": {"tier": TIERS.choose(random)}});
    let rules = |random: &mut StdRng, peers: &str| -> Vec<Value> {
        let rule = |random: &mut StdRng| {
            // Some analysers refuse a named port towards a block.
            let names = peers == "from";
            let ports = (0..random.random_range(1..3)).map(|_| port(random, names));
            let ports: Vec<Value> = ports.collect();
            let from: Vec<Value> =
                (0..random.random_range(1..4)).map(|_| peer(random, namespaces)).collect();
            json!({ peers: from, "ports": ports })
        };
        (0..random.random_range(1..3)).map(|_| rule(random)).collect()
    };
    let mut spec = json!({"podSelector": pods, "policyTypes": ["Ingress"]});
    spec["ingress"] = rules(random, "from").into();
    if random.random_bool(0.3) {
        spec["policyTypes"] = json!(["Ingress", "Egress"]);
        let dns = json!({"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53}]});
        let mut egress = rules(random, "to");
        egress.push(dns);
        spec["egress"] = egress.into();
    }
    spec
}

fn port(random: &mut StdRng, names: bool) -> Value {
    match random.random_range(0..4) {
        0 if names => json!({"port": "http"}),
        1 => json!({"port": 8000, "endPort": 8100}),
        2 => json!({"port": 53, "protocol": "UDP"}),
        _ => json!({"port": PORTS.choose(random)}),
    }
}

fn peer(random: &mut StdRng, namespaces: usize) -> Value {
    let tier = json!({"matchLabels": {"tier": TIERS.choose(random)}});
    match random.random_range(0..5) {
        0 => json!({"ipBlock": {
            "cidr": format!("10.{}.0.0/16", random.random_range(0..256)),
            "except": [],
        }}),
        1 => {
            json!({"namespaceSelector": {"matchLabels": {"team": team(random.random_range(0..TEAMS))}}})
        }
        2 => json!({
            "namespaceSelector": {"matchLabels": {
                "kubernetes.io/metadata.name": namespace(random.random_range(0..namespaces)),
            }},
            "podSelector": tier,
        }),
        3 => json!({"podSelector": {"matchExpressions": [
            {"key": "tier", "operator": "NotIn", "values": [TIERS.choose(random)]},
        ]}}),
        _ => json!({"podSelector": tier}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_makes_the_same_cluster_again_and_another_another() {
        let size = Size { workloads: 50, policies: 10 };
        assert_eq!(cluster(size, 1), cluster(size, 1));
        assert_ne!(cluster(size, 1), cluster(size, 2));
        assert_eq!(cluster(size, 1).len(), 3 + 50 + 10);
    }
}
