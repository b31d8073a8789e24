//! Policies and peers that select nobody, or pods of a node's network; blocks that hold pods; pods that
//! nobody reaches.

use std::collections::{BTreeMap, BTreeSet};

use super::{Level, Lint};
use crate::cluster::Cluster;
use crate::connections::Connections;
use crate::connectivity::{ListedEnd, reached};
use crate::isolation::{Allowance, End, Isolation};
use crate::pod::Pod;
use crate::policy::{Direction, Namespaces, Peer, Peers, Policy};
use crate::selector::Selector;

/// By whom anybody, in the cluster or outside, is let in, of the workloads that something isolates.
pub(super) struct Reached(BTreeMap<ListedEnd, Connections>);

impl Reached {
    pub(super) fn of(cluster: &Cluster) -> Self {
        let isolated = |pod: &&Pod| {
            matches!(Isolation::of(cluster, pod, Direction::Ingress), Isolation::Isolated { .. })
        };
        let isolated: BTreeSet<ListedEnd> =
            cluster.pods().iter().filter(isolated).map(ListedEnd::of).collect();
        if isolated.is_empty() {
            return Self(BTreeMap::new());
        }
        let mut reached = reached(cluster);
        reached.retain(|end, _| isolated.contains(end));
        Self(reached)
    }

    /// What somebody may reach of `pod`; `None` for one that nothing isolates.
    pub(super) fn at(&self, pod: &Pod) -> Option<&Connections> {
        self.0.get(&ListedEnd::of(pod))
    }
}

impl Lint<'_> {
    pub(super) fn selection(&mut self, selected: &[&Pod]) {
        const PATH: &str = "spec.podSelector";
        let Policy { namespace, pods, .. } = self.policy;
        if selected.is_empty() {
            let made = self.context.operators.may_make(pods, Some(namespace));
            if let Some(made) = made {
                let message =
                    format!("no manifest has pods{} in namespace {namespace}; {made}", pods.with());
                self.say(Level::Note, PATH, message);
            } else {
                let message = if pods.requirements().is_empty() {
                    format!("selects no pod: there is no pod in namespace {namespace}")
                } else {
                    format!("selects no pod: none in namespace {namespace} has {pods}")
                };
                self.warn(PATH, message);
            }
        }
        if let Some(pod) = selected.iter().find(|pod| pod.host_network) {
            let message = format!(
                "selects {pod}, which uses its node's network, where policies are undefined"
            );
            self.warn(PATH, message);
        }
    }

    pub(super) fn peers(&mut self, direction: Direction, rule: &Allowance<'_>) {
        let Peers::Any(peers) = &rule.rule.peers else { return };
        let field = direction.peers_field();
        for (number, peer) in peers.iter().enumerate() {
            let path = format!("spec.{direction}[{}].{field}[{number}]", rule.index);
            match peer {
                Peer::Pods { namespaces, pods } => self.pods(&path, peer, namespaces, pods),
                Peer::Block { .. } => {
                    self.block(&path, peer);
                    self.cluster_ip(&path, peer);
                }
            }
        }
    }

    fn pods(&mut self, path: &str, peer: &Peer, namespaces: &Namespaces, pods: &Selector) {
        let cluster = self.context.cluster;
        let own = &self.policy.namespace;
        if cluster.pods().iter().any(|pod| peer.matches(cluster, own, End::Pod(pod))) {
            return;
        }
        let place = match namespaces {
            Namespaces::OfThePolicy => format!("namespace {own}"),
            Namespaces::Matching(selector) => match selector.requirements() {
                [] => "any namespace".to_owned(),
                _ => format!("a namespace with {selector}"),
            },
        };
        let with = pods.with();
        // Rule 19: were they not on their nodes' network, it would name them.
        let mut on_nodes = cluster.pods().iter().filter(|pod| pod.host_network);
        let on_node = on_nodes.find(|pod| {
            let pod = pod.on_its_own_network();
            peer.matches(cluster, own, End::Pod(&pod))
        });
        let home = matches!(namespaces, Namespaces::OfThePolicy).then_some(own.as_str());
        if let Some(pod) = on_node {
            self.warn(
                path,
                format!(
                    "matches nobody: the only pods{with} in {place}, such as {pod}, use their node's \
                     network, which no selector names"
                ),
            );
        } else if let Some(made) = self.context.operators.may_make(pods, home) {
            let message = format!("no manifest has pods{with} in {place}; {made}");
            self.say(Level::Note, path, message);
        } else {
            self.warn(path, format!("matches nobody: there is no pod{with} in {place}"));
        }
    }

    fn block(&mut self, path: &str, peer: &Peer) {
        let Peer::Block { cidr, .. } = peer else { return };
        let cluster = self.context.cluster;
        let holds = |pod: &&Pod| peer.matches(cluster, &self.policy.namespace, End::Pod(pod));
        if let Some(pod) = cluster.pods().iter().find(holds) {
            let message = format!(
                "{cidr} holds the address of pod {pod}; whether a block matches pods differs between policy engines"
            );
            self.warn(&format!("{path}.ipBlock"), message);
        }
    }

    pub(super) fn nobody(&mut self, selected: &[&Pod]) {
        if self.policy.ingress.is_none() {
            return;
        }
        let unreached =
            |pod: &&&Pod| self.context.reached.at(pod).is_some_and(Connections::is_none);
        let Some(pod) = selected.iter().find(unreached) else { return };
        if self.context.waits_for_somebody(pod, |_| true) {
            return;
        }
        let message = format!("nobody reaches {pod}: it is isolated, and no rule lets anyone in");
        let mut services = self.context.cluster.services().iter();
        let serves = !pod.ports.is_empty()
            || services.any(|service| service.selects(pod))
            || self.context.written.at(pod).next().is_some();
        if serves {
            self.warn("spec.ingress", message);
        } else {
            let message =
                format!("{message}; if it serves nobody that is right: it declares no port");
            self.say(Level::Note, "spec.ingress", message);
        }
    }
}

impl super::Context<'_> {
    /// Whether a rule about `pod` that `concerns` who asks names peers that no manifest has: they may
    /// be elsewhere, and that is told of the peer.
    pub(super) fn waits_for_somebody(
        &self,
        pod: &Pod,
        concerns: impl Fn(&Allowance<'_>) -> bool,
    ) -> bool {
        let Isolation::Isolated { rules, .. } =
            Isolation::of(self.cluster, pod, Direction::Ingress)
        else {
            return false;
        };
        rules.iter().filter(|rule| concerns(rule)).any(|rule| {
            let Peers::Any(peers) = &rule.rule.peers else { return false };
            peers.iter().any(|peer| {
                let is_known = |other: &Pod| {
                    peer.matches(self.cluster, &rule.policy.namespace, End::Pod(other))
                };
                matches!(peer, Peer::Pods { .. }) && !self.cluster.pods().iter().any(is_known)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{pod, policy, told};

    #[test]
    fn a_policy_in_a_namespace_without_pods_says_so() {
        assert_eq!(
            told(&(pod("shop/web", "app: web", "") + &policy("empty", "{ingress: [{}]}"))),
            ["warning: spec.podSelector: selects no pod: there is no pod in namespace empty"]
        );
    }

    #[test]
    fn a_peer_whose_only_pods_are_on_their_nodes_network_says_so() {
        let api = "apiVersion: v1\nkind: Pod\nmetadata: {name: api, namespace: kube-system, labels: {component: kube-apiserver}}\n\
                   spec: {hostNetwork: true, containers: [{name: c}]}\n---\n";
        let peer =
            "{namespaceSelector: {}, podSelector: {matchLabels: {component: kube-apiserver}}}";
        let spec = format!("{{policyTypes: [Egress], egress: [{{to: [{peer}]}}, {{}}]}}");
        let told = told(&(pod("shop/web", "app: web", "") + api + &policy("shop", &spec)));
        assert_eq!(
            told,
            [
                "warning: spec.egress[0].to[0]: matches nobody: the only pods with component=kube-apiserver \
              in any namespace, such as kube-system/api, use their node's network, which no selector names"
            ]
        );
    }

    #[test]
    fn a_pod_that_nobody_reaches_and_that_serves_nobody_is_a_note() {
        let deny = policy("shop", "{}");
        let load = pod("shop/load", "app: load", "");
        let said = told(&(load.clone() + &deny));
        assert!(said.len() == 1 && said[0].starts_with("note: spec.ingress: nobody"), "{said:?}");
        let service = super::super::tests::service(
            "shop/load",
            "{selector: {app: load}, ports: [{port: 1}]}",
        );
        let said = told(&(load + &service + &deny));
        assert!(said[0].starts_with("warning: spec.ingress: nobody"), "{said:?}");
    }

    #[test]
    fn a_pod_whose_peers_are_only_missing_here_is_not_told_twice() {
        let peer = "{podSelector: {matchLabels: {app: gone}}}";
        let told = told(
            &(pod("shop/web", "app: web", "")
                + &policy("shop", &format!("{{ingress: [{{from: [{peer}]}}]}}"))),
        );
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains("matches nobody"), "{told:?}");
    }
}
