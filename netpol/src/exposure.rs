//! Whom policies let in and out beside those that the inputs have: a pod that stands for all that a peer of a
//! rule names, where no pod of the inputs is one.

use std::collections::BTreeMap;

use crate::cluster::{Cluster, NAMESPACE_NAME_LABEL};
use crate::connectivity::ListedEnd;
use crate::isolation::{End, Isolation};
use crate::pod::{Pod, Workload};
use crate::policy::{Direction, Namespaces, Peer, Peers, Policy};
use crate::selector::{Labels, Operator, Requirement, Selector};

/// What no label that anybody gives has for a value: what stands for "any".
const ANY: &str = "any";

/// The cluster and, for each peer that names none of its pods, a pod that it names.
#[derive(Clone, Debug)]
pub struct Exposure {
    /// The pods of the inputs, and those that stand for others.
    pub cluster: Cluster,
    /// By whom connections to a workload, and from one, are told apart: those that something isolates.
    isolated: BTreeMap<ListedEnd, [bool; 2]>,
}

impl Exposure {
    /// Of `cluster`.
    #[must_use]
    pub fn of(cluster: &Cluster) -> Self {
        let mut isolated = BTreeMap::new();
        for pod in cluster.pods() {
            let is = Direction::BOTH.map(|direction| {
                !matches!(Isolation::of(cluster, pod, direction), Isolation::Open)
            });
            let known = isolated.entry(ListedEnd::of(pod)).or_insert([false; 2]);
            *known = [known[0] || is[0], known[1] || is[1]];
        }
        let mut whole = cluster.clone();
        for policy in cluster.policies() {
            for direction in Direction::BOTH {
                for rule in policy.rules(direction).unwrap_or_default() {
                    let Peers::Any(peers) = &rule.peers else { continue };
                    for peer in peers {
                        add(&mut whole, policy, peer);
                    }
                }
            }
        }
        Self { cluster: whole, isolated }
    }

    /// Whether a pair is told: one of the inputs' own, or one that a rule lets in or out which isolates the
    /// workload of the inputs.
    #[must_use]
    pub fn tells(&self, source: &ListedEnd, destination: &ListedEnd) -> bool {
        let isolated = |end: &ListedEnd, direction: usize| {
            self.isolated.get(end).is_some_and(|is| is[direction])
        };
        match (stands_for_others(source), stands_for_others(destination)) {
            (false, false) => true,
            (true, false) => isolated(destination, 0),
            (false, true) => isolated(source, 1),
            (true, true) => false,
        }
    }
}

/// Whether an end stands for pods that the inputs do not have.
fn stands_for_others(end: &ListedEnd) -> bool {
    matches!(end, ListedEnd::Workload { workload, .. } if workload.kind.is_empty())
}

/// Adds a pod that `peer` names, if there is none.
fn add(cluster: &mut Cluster, policy: &Policy, peer: &Peer) {
    let Peer::Pods { namespaces, pods } = peer else { return };
    let is_there = |pod: &Pod| peer.matches(cluster, &policy.namespace, End::Pod(pod));
    if cluster.pods().iter().any(is_there) {
        return;
    }
    let labels = example(pods);
    let place = match namespaces {
        Namespaces::OfThePolicy => policy.namespace.clone(),
        Namespaces::Matching(selector) => {
            let named = cluster.namespaces().find(|(_, labels)| selector.matches(labels));
            let named = named.map(|(name, _)| name.to_owned());
            let own = || {
                let labels = example(selector);
                let name = labels.get(NAMESPACE_NAME_LABEL).cloned();
                let name = name.unwrap_or_else(|| format!("[any namespace{}]", selector.with()));
                cluster.add_namespace(&name, labels);
                name
            };
            named.unwrap_or_else(own)
        }
    };
    let workload = Workload { kind: String::new(), name: format!("any pod{}", pods.with()) };
    cluster.add_pod(Pod {
        namespace: place,
        name: workload.name.clone(),
        workload,
        labels,
        ..Pod::default()
    });
}

/// Labels that `selector` matches, if any do.
fn example(selector: &Selector) -> Labels {
    let mut labels = Labels::new();
    for Requirement { key, operator } in selector.requirements() {
        match operator {
            Operator::In(values) => {
                // Several demands on one key meet in a value that all of them have.
                let fits = |value: &&String| {
                    let labels = Labels::from([(key.clone(), (*value).clone())]);
                    selector
                        .requirements()
                        .iter()
                        .filter(|one| one.key == *key)
                        .all(|one| one.matches(&labels))
                };
                if let Some(value) = values.iter().find(fits).or(values.first()) {
                    labels.insert(key.clone(), value.clone());
                }
            }
            Operator::Exists => {
                labels.entry(key.clone()).or_insert_with(|| ANY.to_owned());
            }
            Operator::NotIn(_) | Operator::DoesNotExist => {}
        }
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connectivity::{Pair, each_pair};
    use crate::read::{Input, manifests};

    fn exposed(spec: &str, more: &str) -> Vec<String> {
        let text = format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: web, labels: {{app: web}}}}\n---\n\
             apiVersion: v1\nkind: Pod\nmetadata: {{name: free}}\n---\n{more}\
             apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: p}}\nspec: {spec}\n"
        );
        let read = manifests(&[Input::new("-")], text.as_bytes()).unwrap();
        let exposure = Exposure::of(&read.cluster);
        let mut lines = Vec::new();
        each_pair(&exposure.cluster, |pair| {
            let Pair { source, destination, ports, .. } = pair;
            let line = format!("{} => {} : {ports}", source.name, destination.name);
            if exposure.tells(source.end, destination.end) && line.contains("any ") {
                lines.push(line);
            }
        });
        lines
    }

    const WEB: &str = "podSelector: {matchLabels: {app: web}}";

    #[test]
    fn a_peer_that_no_pod_is_stands_for_the_pods_that_it_names() {
        let peer = "{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: monitoring}}, \
                    podSelector: {matchLabels: {app: prometheus}}}";
        assert_eq!(
            exposed(
                &format!("{{{WEB}, ingress: [{{from: [{peer}], ports: [{{port: 80}}]}}]}}"),
                ""
            ),
            ["monitoring/[any pod with app=prometheus] => default/web[Pod] : TCP 80"]
        );
        let team = "{namespaceSelector: {matchExpressions: [{key: team, operator: Exists}]}}";
        assert_eq!(
            exposed(&format!("{{{WEB}, policyTypes: [Egress], egress: [{{to: [{team}]}}]}}"), ""),
            ["default/web[Pod] => [any namespace with team]/[any pod] : All Connections"]
        );
    }

    #[test]
    fn a_peer_that_a_pod_is_stands_for_nobody_else() {
        let spec = format!("{{{WEB}, ingress: [{{from: [{{podSelector: {{}}}}]}}]}}");
        assert_eq!(exposed(&spec, ""), [""; 0]);
    }

    #[test]
    fn the_namespace_of_the_inputs_is_taken_where_one_is_meant() {
        let namespace =
            "apiVersion: v1\nkind: Namespace\nmetadata: {name: ops, labels: {team: ops}}\n---\n";
        let peer = "{namespaceSelector: {matchLabels: {team: ops}}}";
        assert_eq!(
            exposed(&format!("{{{WEB}, ingress: [{{from: [{peer}]}}]}}"), namespace),
            ["ops/[any pod] => default/web[Pod] : All Connections"]
        );
    }
}
