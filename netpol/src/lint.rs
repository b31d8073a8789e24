//! What is valid and probably not meant: policies that select nobody, peers and ports that are nobody's,
//! a DNS that is cut off, pods that nobody reaches.
//!
//! Only what the manifests show is known, so these are warnings; and where they show no pod at all, those
//! about pods are left out.

use std::collections::BTreeSet;

use crate::answer::Answer;
use crate::cluster::{Cluster, ForeignPolicy, Pod};
use crate::connectivity::{ListedEnd, each_pair};
use crate::isolation::{Allowance, End, Isolation};
use crate::policy::{Direction, Namespaces, Peer, Peers, Policy, PortSpec, Ports};
use crate::port::Protocol;
use crate::read::{Finding, Manifests, Place, WrittenPolicy};
use crate::selector::Selector;

/// The port of DNS (RFC 1035).
const DNS: u16 = 53;

/// Every warning, by policy, in the order that these are written.
#[must_use]
pub fn warnings(manifests: &Manifests) -> Vec<Finding> {
    let cluster = &manifests.cluster;
    let mut warnings = foreign(manifests);
    if cluster.pods().is_empty() {
        return warnings;
    }
    let unreached = unreached(cluster);
    for (policy, written) in cluster.policies().iter().zip(&manifests.written) {
        let mut lint = Lint { cluster, policy, written, warnings: &mut warnings };
        let selected: Vec<&Pod> = cluster.pods().iter().filter(|pod| policy.selects(pod)).collect();
        lint.selection(&selected);
        for direction in Direction::BOTH {
            for (index, rule) in policy.rules(direction).unwrap_or_default().iter().enumerate() {
                lint.rule(direction, &Allowance { policy, index, rule }, &selected);
            }
        }
        lint.dns(&selected);
        lint.nobody(&selected, &unreached);
    }
    warnings
}

/// Policies of kinds that are not modelled.
fn foreign(manifests: &Manifests) -> Vec<Finding> {
    let policies = manifests.cluster.foreign().iter().zip(&manifests.foreign);
    let finding = |(policy, place): (&ForeignPolicy, &Place)| Finding {
        file: place.file.clone(),
        line: place.line,
        message: format!(
            "kind: {} is not modelled: whether what {policy} may be about is allowed is not known",
            policy.kind
        ),
    };
    policies.map(finding).collect()
}

/// The workloads that something isolates and that nobody, in the cluster or outside, reaches.
fn unreached(cluster: &Cluster) -> BTreeSet<ListedEnd> {
    let isolated = |pod: &&Pod| {
        matches!(Isolation::of(cluster, pod, Direction::Ingress), Isolation::Isolated { .. })
    };
    let mut unreached: BTreeSet<ListedEnd> =
        cluster.pods().iter().filter(isolated).map(ListedEnd::of).collect();
    if !unreached.is_empty() {
        each_pair(cluster, |_, destination, _, _| {
            unreached.remove(destination);
        });
    }
    unreached
}

/// One policy, looked at.
struct Lint<'a> {
    cluster: &'a Cluster,
    policy: &'a Policy,
    written: &'a WrittenPolicy,
    warnings: &'a mut Vec<Finding>,
}

impl Lint<'_> {
    fn warn(&mut self, path: &str, message: String) {
        self.warnings.push(self.written.finding(path, message));
    }

    fn selection(&mut self, selected: &[&Pod]) {
        let Policy { namespace, pods, .. } = self.policy;
        if selected.is_empty() {
            let message = format!("selects no pod: none in namespace {namespace} has {pods}");
            self.warn("spec.podSelector", message);
        }
        if let Some(pod) = selected.iter().find(|pod| pod.host_network) {
            let message = format!(
                "selects {pod}, which uses its node's network, where policies are undefined"
            );
            self.warn("spec.podSelector", message);
        }
    }

    fn rule(&mut self, direction: Direction, rule: &Allowance<'_>, selected: &[&Pod]) {
        let path = format!("spec.{direction}[{}]", rule.index);
        let field = direction.peers_field();
        if let Peers::Any(peers) = &rule.rule.peers {
            for (number, peer) in peers.iter().enumerate() {
                self.peer(&format!("{path}.{field}[{number}]"), peer);
            }
        }
        if let Ports::Any(entries) = &rule.rule.ports {
            for (number, entry) in entries.iter().enumerate() {
                let PortSpec::Named(name) = &entry.ports else { continue };
                // A named port is the destination's (rule 15).
                let has = |pod: &Pod| pod.ports_named(name, entry.protocol).next().is_some();
                let (any, whose) = match direction {
                    Direction::Ingress => (selected.iter().any(|pod| has(pod)), "selected"),
                    Direction::Egress => {
                        let named =
                            |pod: &&Pod| rule.names(self.cluster, End::Pod(pod)) == Answer::Yes;
                        (self.cluster.pods().iter().filter(named).any(has), "named")
                    }
                };
                if !any && !selected.is_empty() {
                    let protocol = entry.protocol;
                    let message = format!("no pod that is {whose} has a {protocol} port {name:?}");
                    self.warn(&format!("{path}.ports[{number}].port"), message);
                }
            }
        }
    }

    fn peer(&mut self, path: &str, peer: &Peer) {
        let matches =
            |pod: &&Pod| peer.matches(self.cluster, &self.policy.namespace, End::Pod(pod));
        let found = self.cluster.pods().iter().find(matches);
        match (peer, found) {
            (Peer::Pods { namespaces, pods }, None) => {
                let with = |selector: &Selector| match selector.requirements() {
                    [] => String::new(),
                    _ => format!(" with {selector}"),
                };
                let place = match namespaces {
                    Namespaces::OfThePolicy => format!("namespace {}", self.policy.namespace),
                    Namespaces::Matching(selector) => format!("a namespace{}", with(selector)),
                };
                let pods = with(pods);
                self.warn(path, format!("matches nobody: there is no pod{pods} in {place}"));
            }
            (Peer::Block { cidr, .. }, Some(pod)) => {
                let message = format!(
                    "{cidr} holds the address of pod {pod}; whether a block matches pods differs between policy engines"
                );
                self.warn(&format!("{path}.ipBlock"), message);
            }
            _ => {}
        }
    }

    /// Whether a pod that this policy isolates may ask no DNS, whatever other policies allow it.
    fn dns(&mut self, selected: &[&Pod]) {
        if self.policy.egress.is_none() {
            return;
        }
        let cut = |pod: &&&Pod| match Isolation::of(self.cluster, pod, Direction::Egress) {
            Isolation::Open | Isolation::Unknown(_) => false,
            Isolation::Isolated { rules, .. } => {
                let allows = |rule: &Allowance<'_>, to: Option<&Pod>| {
                    rule.connections(to).contains(Protocol::Udp, DNS)
                };
                let named = |rule: &Allowance<'_>| {
                    // Its port may be one that only a pod has a name for.
                    self.cluster.pods().iter().any(|pod| {
                        rule.names(self.cluster, End::Pod(pod)) == Answer::Yes
                            && allows(rule, Some(pod))
                    })
                };
                !rules.iter().any(|rule| allows(rule, None) || named(rule))
            }
        };
        if let Some(pod) = selected.iter().find(cut) {
            let message = format!("cuts {pod} off from DNS: no rule allows it UDP port {DNS}");
            self.warn("spec.egress", message);
        }
    }

    fn nobody(&mut self, selected: &[&Pod], unreached: &BTreeSet<ListedEnd>) {
        if self.policy.ingress.is_none() {
            return;
        }
        let reached_by_nobody = selected.iter().find(|pod| unreached.contains(&ListedEnd::of(pod)));
        if let Some(pod) = reached_by_nobody {
            let message =
                format!("nobody reaches {pod}: it is isolated, and no rule lets anyone in");
            self.warn("spec.ingress", message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::{Input, manifests};

    /// The warnings about a policy of this spec, in a namespace with a client and a server.
    fn warnings_of(spec: &str) -> Vec<String> {
        let pod = |name: &str| {
            format!(
                "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, labels: {{app: {name}}}}}\n\
                 spec: {{containers: [{{name: c, ports: [{{name: http, containerPort: 80}}]}}]}}\n\
                 status: {{podIPs: [{{ip: 10.0.0.1}}]}}\n---\n"
            )
        };
        let policy = format!(
            "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: p}}\nspec: {spec}\n"
        );
        let text = pod("client") + &pod("server") + &policy;
        let manifests = manifests(&[Input::new("-")], text.as_bytes()).unwrap();
        warnings(&manifests).iter().map(|finding| finding.message.clone()).collect()
    }

    const SERVER: &str = "podSelector: {matchLabels: {app: server}}";

    #[test]
    fn what_is_meant_has_no_warning() {
        let rule = "{from: [{podSelector: {matchLabels: {app: client}}}], ports: [{port: http}]}";
        assert_eq!(warnings_of(&format!("{{{SERVER}, ingress: [{rule}]}}")), [""; 0]);
        let rules = "{ports: [{port: 53, protocol: UDP}]}, {ports: [{port: http}]}";
        let spec = format!("{{{SERVER}, policyTypes: [Egress], egress: [{rules}]}}");
        assert_eq!(warnings_of(&spec), [""; 0]);
    }

    #[test]
    fn a_policy_that_selects_no_pod_is_told() {
        assert_eq!(
            warnings_of("{podSelector: {matchLabels: {app: sever}}, ingress: [{}]}"),
            ["spec.podSelector: selects no pod: none in namespace default has app=sever"]
        );
    }

    #[test]
    fn a_peer_that_matches_nobody_is_told() {
        let peers = "{podSelector: {matchLabels: {app: cliend}}}, {podSelector: {}}";
        assert_eq!(
            warnings_of(&format!("{{{SERVER}, ingress: [{{from: [{peers}]}}]}}")),
            [
                "spec.ingress[0].from[0]: matches nobody: there is no pod with app=cliend in namespace default"
            ]
        );
        let peers = "{namespaceSelector: {matchLabels: {team: nobody}}}, {podSelector: {}}";
        assert_eq!(
            warnings_of(&format!("{{{SERVER}, ingress: [{{from: [{peers}]}}]}}")),
            [
                "spec.ingress[0].from[0]: matches nobody: there is no pod in a namespace with team=nobody"
            ]
        );
    }

    #[test]
    fn a_named_port_that_nobody_has_is_told() {
        assert_eq!(
            warnings_of(&format!("{{{SERVER}, ingress: [{{}}, {{ports: [{{port: https}}]}}]}}")),
            ["spec.ingress[1].ports[0].port: no pod that is selected has a TCP port \"https\""]
        );
    }

    #[test]
    fn egress_without_dns_is_told() {
        let spec =
            format!("{{{SERVER}, policyTypes: [Egress], egress: [{{ports: [{{port: 80}}]}}]}}");
        assert_eq!(
            warnings_of(&spec),
            ["spec.egress: cuts default/server off from DNS: no rule allows it UDP port 53"]
        );
    }

    #[test]
    fn a_dns_server_outside_the_cluster_is_one() {
        let outside =
            "{to: [{ipBlock: {cidr: 192.0.2.53/32}}], ports: [{port: 53, protocol: UDP}]}";
        let spec = format!("{{{SERVER}, policyTypes: [Egress], egress: [{outside}]}}");
        assert_eq!(warnings_of(&spec), [""; 0]);
    }

    #[test]
    fn a_pod_that_nobody_reaches_is_told() {
        assert_eq!(
            warnings_of(&format!("{{{SERVER}}}")),
            [
                "spec.ingress: nobody reaches default/server: it is isolated, and no rule lets anyone in"
            ]
        );
    }

    #[test]
    fn rule_18_a_block_that_holds_a_pod_is_told() {
        let rule = "{from: [{ipBlock: {cidr: 10.0.0.0/8}}]}";
        let told = warnings_of(&format!("{{{SERVER}, ingress: [{rule}]}}"));
        assert_eq!(told.len(), 1);
        assert!(
            told[0].starts_with("spec.ingress[0].from[0].ipBlock: 10.0.0.0/8 holds"),
            "{told:?}"
        );
    }
}
