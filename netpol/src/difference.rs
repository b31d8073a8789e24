//! What another version of the manifests would change: connections gained and lost.

use std::collections::{BTreeMap, BTreeSet};

use crate::cluster::Pod;
use crate::connections::Connections;
use crate::connectivity::{Answers, Connectivity, ListedEnd, Numbers, difference};
use crate::ranges::{address, number};
use crate::read::Manifests;

/// What changes from one version to another.
#[derive(Clone, Debug, Default)]
pub struct Difference {
    /// What surely may pass now, and did not surely before.
    pub gained: Connectivity,
    /// What surely may not pass now, and perhaps did before.
    pub lost: Connectivity,
    /// What may pass or not now, and was known before.
    pub unknown: Connectivity,
}

impl Difference {
    /// Between `old` and `new`.
    #[must_use]
    pub fn between(old: &Answers, new: &Answers) -> Self {
        let possible = |answers: &Answers| joined(&answers.certain, &answers.unknown);
        Self {
            gained: gained(&old.certain, &new.certain),
            lost: gained(&possible(new), &possible(old)),
            unknown: gained(&old.unknown, &new.unknown),
        }
    }

    /// Whether nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        [&self.gained, &self.lost, &self.unknown].iter().all(|pairs| pairs.is_empty())
    }
}

/// What is in one of the two; of ranges of addresses outside each is kept as it is.
fn joined(one: &Connectivity, other: &Connectivity) -> Connectivity {
    let mut joined = one.clone();
    for (pair, connections) in other {
        joined.entry(pair.clone()).or_insert_with(Connections::none).extend(connections);
    }
    joined
}

/// Leaves out what cannot be compared when one of the two is a cluster's and the other is written: in the
/// cluster, namespaces of which the manifests say nothing; in the manifests, workloads that have ended
/// there. Returns these namespaces.
pub fn align(old: &mut Manifests, new: &mut Manifests) -> Vec<String> {
    let (live, written) = match (old.is_live, new.is_live) {
        (true, false) => (old, new),
        (false, true) => (new, old),
        _ => return Vec::new(),
    };
    let mut known: BTreeSet<String> =
        written.cluster.pods().iter().map(|pod| pod.namespace.clone()).collect();
    known.extend(written.cluster.policies().iter().map(|policy| policy.namespace.clone()));
    let mut others = BTreeSet::new();
    live.cluster.retain_pods(|pod| {
        let is_known = known.contains(&pod.namespace);
        if !is_known {
            others.insert(pod.namespace.clone());
        }
        is_known
    });
    let has_ended =
        |pod: &Pod| live.finished.contains(&(pod.namespace.clone(), pod.workload.clone()));
    written.cluster.retain_pods(|pod| !has_ended(pod));
    others.into_iter().collect()
}

/// The connections that `new` permits and `old` does not: for what is lost, the other way round.
#[must_use]
pub fn gained(old: &Connectivity, new: &Connectivity) -> Connectivity {
    let (old, new) = (Cut::of(old), Cut::of(new));
    let mut gained = Connectivity::new();
    for (pair, connections) in &new.inside {
        let before = old.inside.get(pair);
        let more = before.map_or_else(|| connections.clone(), |old| connections.difference(old));
        if !more.is_none() {
            gained.insert(pair.clone(), more);
        }
    }
    for (place, ranges) in &new.outside {
        let before = old.outside.get(place).map_or(&[][..], Vec::as_slice);
        for (first, last, more) in difference(before, ranges) {
            let [first, last] = [first, last].map(|number| address(number, place.is_v6));
            let outside = ListedEnd::External(first, last);
            let pair = match place.way {
                Way::In => (outside, place.workload.clone()),
                Way::Out => (place.workload.clone(), outside),
            };
            gained.insert(pair, more);
        }
    }
    gained
}

/// Pairs within the cluster, and those with what is outside by the workload that they are of.
#[derive(Default)]
struct Cut {
    inside: Connectivity,
    outside: BTreeMap<Place, Vec<Numbers>>,
}

/// A workload, a direction and a family of addresses.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    workload: ListedEnd,
    way: Way,
    is_v6: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    In,
    Out,
}

impl Cut {
    fn of(pairs: &Connectivity) -> Self {
        let mut cut = Self::default();
        for ((source, destination), connections) in pairs {
            let (workload, way, range) = match (source, destination) {
                (ListedEnd::External(first, last), workload) => (workload, Way::In, (first, last)),
                (workload, ListedEnd::External(first, last)) => (workload, Way::Out, (first, last)),
                _ => {
                    let pair = (source.clone(), destination.clone());
                    cut.inside.insert(pair, connections.clone());
                    continue;
                }
            };
            let (first, last) = range;
            let place = Place { workload: workload.clone(), way, is_v6: first.is_ipv6() };
            let range = (number(*first), number(*last), connections.clone());
            cut.outside.entry(place).or_default().push(range);
        }
        cut
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connectivity::connectivity;
    use crate::read::{Input, manifests};

    const PODS: &str = "kind: Pod\nmetadata: {name: a, labels: {app: a}}\n---\n\
        kind: Pod\nmetadata: {name: b, labels: {app: b}}\n---\n";

    fn pairs(spec: &str) -> Connectivity {
        let policy = format!("{PODS}kind: NetworkPolicy\nmetadata: {{name: p}}\nspec: {spec}\n");
        connectivity(&manifests(&[Input::new("-")], policy.as_bytes()).unwrap().cluster)
    }

    fn lines(pairs: &Connectivity) -> Vec<String> {
        pairs.iter().map(|((from, to), what)| format!("{from} => {to} : {what}")).collect()
    }

    fn into_a(rule: &str) -> Connectivity {
        pairs(&format!(
            "{{podSelector: {{matchLabels: {{app: a}}}}, policyTypes: [Ingress], ingress: [{rule}]}}"
        ))
    }

    #[test]
    fn the_same_is_no_difference_however_it_is_cut() {
        let one = into_a("{from: [{ipBlock: {cidr: 10.0.0.0/8}}]}");
        let other =
            into_a("{from: [{ipBlock: {cidr: 10.0.0.0/9}}, {ipBlock: {cidr: 10.128.0.0/9}}]}");
        assert_eq!(lines(&gained(&one, &other)), Vec::<String>::new());
        assert_eq!(lines(&gained(&one, &one)), Vec::<String>::new());
    }

    #[test]
    fn only_the_ports_that_are_new_are_gained() {
        let old = into_a("{from: [{podSelector: {}}], ports: [{port: 80}, {port: 90}]}");
        let new = into_a("{from: [{podSelector: {}}], ports: [{port: 80, endPort: 85}]}");
        assert_eq!(lines(&gained(&old, &new)), ["default/b[Pod] => default/a[Pod] : TCP 81-85"]);
        assert_eq!(lines(&gained(&new, &old)), ["default/b[Pod] => default/a[Pod] : TCP 90"]);
    }

    #[test]
    fn only_the_addresses_that_are_new_are_gained() {
        let old = into_a("{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}}]}");
        let new = into_a("{from: [{ipBlock: {cidr: 10.0.0.0/7}}, {ipBlock: {cidr: 'fd00::/16'}}]}");
        assert_eq!(
            lines(&gained(&old, &new)),
            [
                "10.1.0.0-10.1.255.255[External] => default/a[Pod] : All Connections",
                "11.0.0.0-11.255.255.255[External] => default/a[Pod] : All Connections",
                "fd00::-fd00:ffff:ffff:ffff:ffff:ffff:ffff:ffff[External] => default/a[Pod] : All Connections",
            ]
        );
        assert!(gained(&new, &old).is_empty());
    }

    #[test]
    fn addresses_that_a_pod_may_newly_connect_to_are_gained() {
        let out_of_a = |cidr: &str| {
            pairs(&format!(
                "{{podSelector: {{matchLabels: {{app: a}}}}, policyTypes: [Egress], \
                 egress: [{{to: [{{ipBlock: {{cidr: {cidr}}}}}]}}]}}"
            ))
        };
        assert_eq!(
            lines(&gained(&out_of_a("10.0.0.0/9"), &out_of_a("10.0.0.0/8"))),
            ["default/a[Pod] => 10.128.0.0-10.255.255.255[External] : All Connections"]
        );
    }
}
