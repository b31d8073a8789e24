//! What must hold of every cluster and every policy.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netpol::answer::Answer;
use netpol::cluster::{Cluster, Pod};
use netpol::compile::{Behaviour, compile};
use netpol::connections::Connections;
use netpol::connectivity::{ListedEnd, answers, connectivity, each_pair, reached};
use netpol::difference::{Difference, each_source, gained};
use netpol::evaluate::{Connection, evaluate};
use netpol::explain::{Explanation, Reason, explain};
use netpol::isolation::End;
use netpol::policy::Direction;
use netpol::port::Protocol;
use netpol::read::{Input, manifests};
use proptest::prelude::*;
use random_cluster::small::{PODS, PORTS, SmallCluster, cluster};

/// The addresses of each pod; some more, which nobody has, are outside.
fn addresses() -> Vec<Vec<IpAddr>> {
    (1..)
        .take(PODS + 2)
        .map(|last| {
            let v6 = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, last.into());
            vec![Ipv4Addr::new(10, 0, 0, last).into(), v6.into()]
        })
        .collect()
}

fn clusters() -> impl Strategy<Value = SmallCluster> {
    cluster(addresses().concat())
}

/// Every connection of two parties, by every protocol to every port.
fn each_connection(source: End<'_>, destination: End<'_>, mut f: impl FnMut(Connection<'_>)) {
    for protocol in Protocol::ALL {
        for port in PORTS {
            f(Connection { source, destination, protocol, port });
        }
    }
}

fn pairs(cluster: &Cluster) -> impl Iterator<Item = (&Pod, &Pod)> {
    cluster.pods().iter().flat_map(|one| cluster.pods().iter().map(move |other| (one, other)))
}

/// Whether a rule allows where the explanation says so, and an obstacle stands where it denies.
fn is_coherent(explanation: &Explanation<'_>) -> bool {
    let end = |reason: &Reason<'_>| match reason {
        Reason::AllowedBy(found) => {
            Some(!found.peer.is_empty() && !found.port.is_empty() && !found.rule.is_empty())
        }
        Reason::Denied(misses) => {
            let told = |near: &netpol::explain::Near| !near.obstacles.is_empty();
            let all = misses.iter().all(|miss| miss.nearest.as_ref().is_none_or(told));
            (!misses.is_empty() && all).then_some(false)
        }
        _ => Some(true),
    };
    match (end(&explanation.egress), end(&explanation.ingress)) {
        (Some(egress), Some(ingress)) => explanation.answer == Answer::from(egress && ingress),
        _ => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_compiled_filters_decide_as_the_evaluator_does(small in clusters()) {
        let all = addresses();
        let cluster = small.read(&all);
        let filters: Vec<_> = cluster
            .pods()
            .iter()
            .map(|pod| compile(&cluster, pod, &[], Behaviour::default()))
            .collect();
        for (from, source) in cluster.pods().iter().enumerate() {
            for (to, destination) in cluster.pods().iter().enumerate().filter(|(to, _)| *to != from) {
                for family in 0..2 {
                    // A connection has one address at each end, so the pods are seen with that alone.
                    let alone = small.read(&all.iter().map(|of| vec![of[family]]).collect::<Vec<_>>());
                    let pod = |pod: &Pod| End::Pod(alone.pod(&pod.namespace, &pod.name).unwrap());
                    each_connection(pod(source), pod(destination), |connection| {
                        let Connection { protocol, port, .. } = connection;
                        let passes = filters[from].passes(Direction::Egress, all[to][family], protocol, port)
                            && filters[to].passes(Direction::Ingress, all[from][family], protocol, port);
                        assert_eq!(evaluate(&alone, &connection).allows(), passes, "{connection:?}");
                    });
                }
            }
            for outside in all[PODS..].concat() {
                let (pod, address) = (End::Pod(source), End::Address(outside));
                each_connection(pod, address, |connection| {
                    let passes = filters[from].passes(Direction::Egress, outside, connection.protocol, connection.port);
                    assert_eq!(evaluate(&cluster, &connection).allows(), passes, "{connection:?}");
                });
                each_connection(address, pod, |connection| {
                    let passes = filters[from].passes(Direction::Ingress, outside, connection.protocol, connection.port);
                    assert_eq!(evaluate(&cluster, &connection).allows(), passes, "{connection:?}");
                });
            }
        }
    }

    #[test]
    fn an_explanation_says_what_the_evaluator_decides_and_why(small in clusters()) {
        let cluster = small.read(&addresses());
        for (source, destination) in pairs(&cluster) {
            each_connection(End::Pod(source), End::Pod(destination), |connection| {
                let explanation = explain(&cluster, &connection);
                assert_eq!(explanation.answer, evaluate(&cluster, &connection).answer());
                assert!(is_coherent(&explanation), "{explanation:?}");
            });
        }
    }

    #[test]
    fn the_list_has_what_the_evaluator_allows_and_nothing_else(small in clusters()) {
        let cluster = small.read(&[]);
        let list = connectivity(&cluster);
        // The list shows no pod for a block, also for one that holds every pod.
        let by_block = |reason: &Reason<'_>| {
            matches!(reason, Reason::AllowedBy(found) if found.peer.contains("lock"))
        };
        for (source, destination) in pairs(&cluster).filter(|(one, other)| one != other) {
            let none = Connections::none();
            let listed = list.get(&(ListedEnd::of(source), ListedEnd::of(destination))).unwrap_or(&none);
            each_connection(End::Pod(source), End::Pod(destination), |connection| {
                let Connection { protocol, port, .. } = connection;
                let explanation = explain(&cluster, &connection);
                let allowed = explanation.answer == Answer::Yes
                    && ![&explanation.egress, &explanation.ingress].into_iter().any(by_block);
                assert!(!allowed || listed.contains(protocol, port), "{connection:?}");
                assert!(explanation.answer == Answer::Yes || !listed.contains(protocol, port));
            });
        }
    }

    #[test]
    fn what_the_list_says_of_addresses_outside_is_what_the_evaluator_allows(small in clusters()) {
        let cluster = small.read(&[]);
        let list = connectivity(&cluster);
        for pod in cluster.pods() {
            for address in addresses().concat() {
                let holds = |end: &ListedEnd| matches!(end, ListedEnd::External(first, last)
                    if first.is_ipv4() == address.is_ipv4() && (*first..=*last).contains(&address));
                let listed = |source: &dyn Fn(&ListedEnd) -> bool, destination: &dyn Fn(&ListedEnd) -> bool| {
                    let found = list.iter().find(|((from, to), _)| source(from) && destination(to));
                    found.map_or_else(Connections::none, |(_, connections)| connections.clone())
                };
                let own = ListedEnd::of(pod);
                let (out, inwards) = (listed(&|end| *end == own, &holds), listed(&holds, &|end| *end == own));
                // Of IPv6 only what policies name is listed.
                if address.is_ipv6() && (out.is_none() || inwards.is_none()) {
                    continue;
                }
                let (pod, address) = (End::Pod(pod), End::Address(address));
                each_connection(pod, address, |connection| {
                    let allowed = evaluate(&cluster, &connection).allows();
                    assert_eq!(out.contains(connection.protocol, connection.port), allowed, "{connection:?}");
                });
                each_connection(address, pod, |connection| {
                    let allowed = evaluate(&cluster, &connection).allows();
                    assert_eq!(inwards.contains(connection.protocol, connection.port), allowed, "{connection:?}");
                });
            }
        }
    }

    #[test]
    fn what_is_gained_and_was_there_is_what_is_there((old, new) in (clusters(), clusters())) {
        let new = SmallCluster { policies: new.policies, ..old.clone() };
        let (old, new) = (connectivity(&old.read(&[])), connectivity(&new.read(&[])));
        let (gained, lost) = (gained(&old, &new), gained(&new, &old));
        for pair in old.keys().chain(new.keys()) {
            if matches!(pair, (ListedEnd::External(..), _) | (_, ListedEnd::External(..))) {
                continue;
            }
            let of = |pairs: &netpol::connectivity::Connectivity| pairs.get(pair).cloned().unwrap_or_default();
            let mut after = of(&old).difference(&of(&lost));
            after.extend(&of(&gained));
            prop_assert_eq!(after, of(&new));
            prop_assert!(of(&gained).intersection(&of(&old)).is_none());
        }
    }

    #[test]
    fn what_changes_source_by_source_is_what_changes_of_all((old, new) in (clusters(), clusters())) {
        let (old, new) = (old.read(&addresses()), new.read(&addresses()));
        let (before, after) = (answers(&old), answers(&new));
        let mut sources = Vec::new();
        let mut all = Difference::default();
        each_source(&old, &new, |part| {
            let pairs = part.gained.keys().chain(part.lost.keys()).chain(part.unknown.keys());
            let mut names: Vec<String> = pairs.map(|(source, _)| source.to_string()).collect();
            names.dedup();
            assert_eq!(names.len(), 1, "{names:?}");
            sources.extend(names);
            all.gained.extend(part.gained);
            all.lost.extend(part.lost);
            all.unknown.extend(part.unknown);
        });
        prop_assert!(sources.is_sorted_by(|one, other| one < other), "{:?}", sources);
        prop_assert_eq!(&all.gained, &gained(&before.certain, &after.certain));
        prop_assert_eq!(&all.unknown, &gained(&before.unknown, &after.unknown));
        if before.unknown.is_empty() && after.unknown.is_empty() {
            prop_assert_eq!(&all.lost, &gained(&after.certain, &before.certain));
        }
        prop_assert!(Difference::between(&new, &new).is_empty());
    }

    #[test]
    fn what_anybody_reaches_of_a_workload_is_what_all_pairs_to_it_say(small in clusters()) {
        let cluster = small.read(&addresses());
        let mut expected: std::collections::BTreeMap<_, Connections> =
            cluster.pods().iter().map(|pod| (ListedEnd::of(pod), Connections::none())).collect();
        each_pair(&cluster, |pair| {
            if let Some(known) = expected.get_mut(pair.destination.end) {
                known.extend(pair.connections);
            }
        });
        prop_assert_eq!(reached(&cluster), expected);
    }

    #[test]
    fn no_change_of_a_manifest_crashes_a_command(
        small in clusters(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<char>(), 0..12_usize), 1..6),
    ) {
        let mut text: Vec<char> = small.manifest(&addresses()).chars().collect();
        for (place, char, length) in edits {
            let start = place.index(text.len());
            let end = (start + length).min(text.len());
            text.splice(start..end, [char]);
        }
        let text: String = text.into_iter().collect();
        if let Ok(manifests) = manifests(&[Input::new("-")], text.as_bytes()) {
            let cluster = &manifests.cluster;
            let _ = connectivity(cluster);
            for (source, destination) in pairs(cluster) {
                let _ = compile(cluster, source, &[], Behaviour::default());
                each_connection(End::Pod(source), End::Pod(destination), |connection| {
                    let _ = explain(cluster, &connection);
                });
            }
        }
    }
}
