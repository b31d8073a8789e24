//! The policies' truth table: tests/situations.yaml, decided by the evaluator and by the compiled
//! filters.

#![allow(clippy::unwrap_used, reason = "in a test a panic is how it fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use k8s_openapi::api::networking::v1::{NetworkPolicy, NetworkPolicySpec};
use netpol::cluster::{Cluster, NamedPort, Pod};
use netpol::compile::{Behaviour, compile};
use netpol::evaluate::{Connection, evaluate};
use netpol::isolation::End;
use netpol::policy::Direction;
use netpol::port::Protocol;
use netpol::selector::Labels;
use netpol::validate;
use serde::Deserialize;

const NAMESPACES: [&str; 3] = ["x", "y", "z"];
const PODS: [&str; 3] = ["a", "b", "c"];
const HEADING: [&str; 2] = ["to  x   y   z", "abc abc abc"];

#[derive(Deserialize)]
struct Situation {
    it: String,
    #[serde(default)]
    step: String,
    #[serde(default)]
    suite: String,
    #[serde(default)]
    labels: BTreeMap<String, Labels>,
    policies: BTreeMap<String, NetworkPolicySpec>,
    /// By protocol and port.
    #[serde(flatten)]
    tables: BTreeMap<String, String>,
}

impl Situation {
    fn cluster(&self) -> Cluster {
        let mut cluster = Cluster::default();
        let labels = |place: &str| self.labels.get(place).cloned().unwrap_or_default();
        for (namespace, second) in NAMESPACES.into_iter().zip(1..) {
            cluster.add_namespace(namespace, labels(namespace));
            for (name, last) in PODS.into_iter().zip(1..) {
                let mut labels = labels(&format!("{namespace}/{name}"));
                labels.insert("pod".to_owned(), name.to_owned());
                cluster.add_pod(Pod {
                    namespace: namespace.to_owned(),
                    name: name.to_owned(),
                    labels,
                    addresses: vec![IpAddr::from([10, second, 0, last])],
                    named_ports: named_ports(),
                    ..Pod::default()
                });
            }
        }
        for (place, spec) in &self.policies {
            let (namespace, name) = place.split_once('/').expect("NAMESPACE/NAME");
            let mut policy = NetworkPolicy { spec: Some(spec.clone()), ..NetworkPolicy::default() };
            policy.metadata.namespace = Some(namespace.to_owned());
            policy.metadata.name = Some(name.to_owned());
            cluster.add_policy(validate::policy(&policy).unwrap());
        }
        cluster
    }
}

fn named_ports() -> Vec<NamedPort> {
    let of = |protocol: Protocol| {
        [80, 81].map(|port| {
            let name = format!("serve-{port}-{}", protocol.to_string().to_lowercase());
            NamedPort { name, protocol, port }
        })
    };
    Protocol::ALL.into_iter().flat_map(of).collect()
}

/// A table in the file's form: the first row that fits says what `source` may reach.
fn row<'a>(table: &'a str, source: &str) -> Vec<char> {
    let mut lines = table.lines().map(str::trim);
    assert_eq!([lines.next().unwrap(), lines.next().unwrap()], HEADING);
    let fits = |pattern: &str| {
        let ends = |part: &str, of: &str| part == "*" || part == of;
        let (namespace, name) = source.split_once('/').unwrap();
        pattern.split_once('/').is_some_and(|(one, two)| ends(one, namespace) && ends(two, name))
    };
    let found = lines.find_map(|line: &'a str| {
        let (pattern, cells) = line.split_once(' ').expect("a pattern and cells");
        fits(pattern).then(|| cells.chars().filter(|char| *char != ' ').collect())
    });
    found.unwrap_or_else(|| panic!("no row for {source}"))
}

fn protocol_and_port(text: &str) -> (Protocol, u16) {
    let (protocol, port) = text.split_once(' ').expect("PROTOCOL PORT");
    (Protocol::from_api(Some(protocol)).unwrap(), port.parse().unwrap())
}

fn situations() -> Vec<Situation> {
    serde_saphyr::from_str(include_str!("situations.yaml")).unwrap()
}

/// Each probe of each table, with what the table says of it.
fn for_each_probe(mut probe: impl FnMut(&str, &Cluster, &Connection<'_>, bool)) -> usize {
    let mut probes = 0;
    for situation in situations() {
        let cluster = situation.cluster();
        for (key, table) in &situation.tables {
            let (protocol, port) = protocol_and_port(key);
            for source in cluster.pods() {
                let cells = row(table, &source.to_string());
                assert_eq!(cells.len(), cluster.pods().len(), "{}", situation.it);
                for (destination, cell) in cluster.pods().iter().zip(cells) {
                    let itself = source == destination;
                    let expected = match cell {
                        _ if itself => true,
                        '.' => true,
                        'X' => false,
                        other => panic!("{other:?} in a table of {}", situation.it),
                    };
                    let (source, destination) = (End::Pod(source), End::Pod(destination));
                    let connection = Connection { source, destination, protocol, port };
                    let name = format!("{} {} ({key})", situation.it, situation.step);
                    probe(&name, &cluster, &connection, expected);
                    probes += 1;
                }
            }
        }
    }
    probes
}

/// Whether the filters of both pods let a connection pass.
fn filters_pass(cluster: &Cluster, connection: &Connection<'_>) -> bool {
    let Connection { source: End::Pod(source), destination: End::Pod(destination), .. } =
        *connection
    else {
        panic!("the situations are of pods");
    };
    let passes = |of: &Pod, direction, peer: &Pod| {
        let filter = compile(cluster, of, &[], Behaviour::default());
        filter.passes(direction, peer.addresses[0], connection.protocol, connection.port)
    };
    passes(source, Direction::Egress, destination)
        && passes(destination, Direction::Ingress, source)
}

#[test]
fn the_48_situations_of_kubernetes_own_tests_are_there() {
    let suites = |suite: &str| {
        let of = |one: &Situation| (one.suite == suite).then(|| one.it.clone());
        situations().iter().filter_map(of).collect::<BTreeSet<_>>().len()
    };
    assert_eq!((suites(""), suites("UDP"), suites("SCTP")), (42, 3, 3));
}

#[test]
fn the_evaluator_decides_every_situation_as_its_table_says() {
    let probes = for_each_probe(|name, cluster, connection, expected| {
        let verdict = evaluate(cluster, connection);
        assert_eq!(verdict.allows(), expected, "{name}: {connection:?}");
    });
    assert!(probes >= 48 * 81, "{probes}");
}

#[test]
fn the_compiled_filters_decide_every_situation_as_its_table_says() {
    for_each_probe(|name, cluster, connection, expected| {
        assert_eq!(filters_pass(cluster, connection), expected, "{name}: {connection:?}");
    });
}
