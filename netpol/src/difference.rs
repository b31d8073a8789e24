//! What another version of the manifests would change: connections gained and lost.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crate::cluster::{Cluster, Pod};
use crate::connections::Connections;
use crate::connectivity::{
    Answers, Connectivity, ListedEnd, Numbers, Pair, Walk, difference, walked,
};
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
    /// Between what may pass in `old` and in `new`.
    #[must_use]
    pub fn between(old: &Cluster, new: &Cluster) -> Self {
        let mut all = Self::default();
        each_source(old, new, |part| {
            all.gained.extend(part.gained);
            all.lost.extend(part.lost);
            all.unknown.extend(part.unknown);
        });
        all
    }

    /// Whether nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        [&self.gained, &self.lost, &self.unknown].iter().all(|pairs| pairs.is_empty())
    }

    fn of(old: &Answers, new: &Answers) -> Self {
        let [possible_before, possible_now] =
            [old, new].map(|answers| joined(&answers.certain, &answers.unknown));
        Self {
            gained: gained(&old.certain, &new.certain),
            lost: gained(&possible_now, &possible_before),
            unknown: gained(&old.unknown, &new.unknown),
        }
    }

    /// One for each source, by what it is called.
    fn by_source(self) -> BTreeMap<String, Self> {
        let mut parts: BTreeMap<String, Self> = BTreeMap::new();
        let Self { gained, lost, unknown } = self;
        let fields: [fn(&mut Self) -> &mut Connectivity; 3] =
            [|part| &mut part.gained, |part| &mut part.lost, |part| &mut part.unknown];
        for (pairs, field) in [gained, lost, unknown].into_iter().zip(fields) {
            for (pair, connections) in pairs {
                let part = parts.entry(pair.0.to_string()).or_default();
                field(part).insert(pair, connections);
            }
        }
        parts
    }
}

/// Calls `tell` with what changes from `old` to `new`, source by source in the order of what these are
/// called, and not for those of which nothing does. Only what changes of one source is held at once, and of
/// addresses outside all that does: clusters have millions of pairs.
pub fn each_source(old: &Cluster, new: &Cluster, mut tell: impl FnMut(Difference)) {
    walked(old, |old| {
        walked(new, |new| {
            let outside = Difference::of(&from_outside(old), &from_outside(new)).by_source();
            let mut outside = outside.into_iter().peekable();
            let (mut before, mut after) = (0, 0);
            loop {
                let name = |walk: &Walk<'_, '_>, end: usize| {
                    (end < walk.ends()).then(|| walk.end(end).name.to_owned())
                };
                let next = [name(old, before), name(new, after)];
                let Some(source) = next.iter().flatten().min() else { break };
                while let Some((_, part)) = outside.next_if(|(name, _)| name < source) {
                    tell(part);
                }
                let is_in = next.each_ref().map(|name| name.as_ref() == Some(source));
                let part = of_source(
                    is_in[0].then_some((&mut *old, before)),
                    is_in[1].then_some((&mut *new, after)),
                );
                if !part.is_empty() {
                    tell(part);
                }
                before += usize::from(is_in[0]);
                after += usize::from(is_in[1]);
            }
            outside.for_each(|(_, part)| tell(part));
        });
    });
}

/// What changes of one source, which is the end of its number in one of two clusters or in both.
fn of_source(
    old: Option<(&mut Walk<'_, '_>, usize)>,
    new: Option<(&mut Walk<'_, '_>, usize)>,
) -> Difference {
    let old = old.map(|(walk, source)| (walk.class(source), &*walk, source));
    let new = new.map(|(walk, source)| (walk.class(source), &*walk, source));
    let old = || old.iter().flat_map(|(class, walk, source)| walk.pairs(*source, class));
    let new = || new.iter().flat_map(|(class, walk, source)| walk.pairs(*source, class));
    let is_same = |(one, other): (Pair<'_>, Pair<'_>)| {
        one.certainty == other.certainty
            && one.destination.name == other.destination.name
            && one.connections == other.connections
    };
    // Of most sources nothing changes, and this tells without a copy of their pairs.
    if old().count() == new().count() && old().zip(new()).all(is_same) {
        return Difference::default();
    }
    Difference::of(&collected(old()), &collected(new()))
}

fn from_outside(walk: &mut Walk<'_, '_>) -> Answers {
    let into = walk.outside_in();
    collected(into.iter().flat_map(|range| walk.pairs_into(range)))
}

fn collected<'p>(pairs: impl Iterator<Item = Pair<'p>>) -> Answers {
    let mut answers = Answers::default();
    pairs.for_each(|pair| answers.add(pair));
    answers
}

/// What is in one of the two; of ranges of addresses outside each is kept as it is.
fn joined<'c>(one: &'c Connectivity, other: &Connectivity) -> Cow<'c, Connectivity> {
    if other.is_empty() {
        return Cow::Borrowed(one);
    }
    let mut joined = one.clone();
    for (pair, connections) in other {
        joined.entry(pair.clone()).or_insert_with(Connections::none).extend(connections);
    }
    Cow::Owned(joined)
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
    let mut gained = Connectivity::new();
    for (pair, connections) in
        new.iter().filter(|((from, to), _)| !from.is_outside() && !to.is_outside())
    {
        let before = old.get(pair);
        let more = before.map_or_else(|| connections.clone(), |old| connections.difference(old));
        if !more.is_none() {
            gained.insert(pair.clone(), more);
        }
    }
    let (old, new) = (outside(old), outside(new));
    for (place, ranges) in &new {
        let before = old.get(place).map_or(&[][..], Vec::as_slice);
        for (first, last, more) in difference(before, ranges) {
            let [first, last] = [first, last].map(|number| address(number, place.is_v6));
            let outside = ListedEnd::External(first, last);
            let pair = match place.way {
                Way::In => (outside, (*place.workload).clone()),
                Way::Out => ((*place.workload).clone(), outside),
            };
            gained.insert(pair, more);
        }
    }
    gained
}

/// A workload, a direction and a family of addresses.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place<'p> {
    workload: &'p ListedEnd,
    way: Way,
    is_v6: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    In,
    Out,
}

/// The ranges of addresses of those pairs that one end of is outside, by the other end.
fn outside(pairs: &Connectivity) -> BTreeMap<Place<'_>, Vec<Numbers>> {
    let mut outside: BTreeMap<Place<'_>, Vec<Numbers>> = BTreeMap::new();
    for ((source, destination), connections) in pairs {
        let (workload, way, (first, last)) = match (source, destination) {
            (ListedEnd::External(first, last), workload) => (workload, Way::In, (first, last)),
            (workload, ListedEnd::External(first, last)) => (workload, Way::Out, (first, last)),
            _ => continue,
        };
        let place = Place { workload, way, is_v6: first.is_ipv6() };
        let range = (number(*first), number(*last), connections.clone());
        outside.entry(place).or_default().push(range);
    }
    outside
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
