//! Who may reach whom: every permitted pair of workloads, and of a workload and the addresses
//! outside.
//!
//! The work grows with the answer: pods that the same rules are about share one `Filter`, which has
//! the pods that it lets through and no others; sets of connections are numbers, so that to join or
//! to meet two of them is to look it up.

mod external;
mod interned;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::IpAddr;

use self::external::ranges;
use self::interned::{ALL, Id, Interned, NONE};
use crate::cluster::{Cluster, Pod, PodsByNamespace, Workload};
use crate::connections::Connections;
use crate::isolation::{Allowance, Block, Isolation};
use crate::policy::Direction;

/// One end of a permitted pair as it is listed: pods of one workload are one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ListedEnd {
    /// Addresses outside the cluster, from the first to the last.
    External(IpAddr, IpAddr),
    /// A workload, and its namespace.
    Workload {
        /// Its namespace.
        namespace: String,
        /// What it is.
        workload: Workload,
    },
}

/// `NAMESPACE/NAME[KIND]` or `FIRST-LAST[External]`.
impl fmt::Display for ListedEnd {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::External(first, last) => write!(out, "{first}-{last}[External]"),
            Self::Workload { namespace, workload } => {
                write!(out, "{namespace}/{}[{}]", workload.name, workload.kind)
            }
        }
    }
}

impl ListedEnd {
    /// The workload that `pod` is of.
    #[must_use]
    pub fn of(pod: &Pod) -> Self {
        Self::Workload { namespace: pod.namespace.clone(), workload: pod.workload.clone() }
    }
}

/// Every permitted pair, source first, and what may pass between the two.
pub type Connectivity = BTreeMap<(ListedEnd, ListedEnd), Connections>;

/// The connectivity of `cluster`.
#[must_use]
pub fn connectivity(cluster: &Cluster) -> Connectivity {
    let mut pairs = Connectivity::new();
    each_pair(cluster, |source, destination, connections| {
        pairs.insert((source.clone(), destination.clone()), connections.clone());
    });
    pairs
}

/// Calls `tell` for every permitted pair, sorted by source and destination.
///
/// Pods of one workload are one end. Blocks of addresses are of what is outside the cluster: no
/// pod is listed for one (rule 18), nor a workload for itself. A pod on its node's network, for
/// which policies are undefined (rule 19), is listed as if it had one of its own.
pub fn each_pair(cluster: &Cluster, mut tell: impl FnMut(&ListedEnd, &ListedEnd, &Connections)) {
    let mut cluster = cluster.clone();
    cluster.pods_mut().iter_mut().for_each(|pod| pod.host_network = false);
    let world = World::new(&cluster);
    let mut interned = Interned::default();
    let [ingress, egress] = Direction::BOTH.map(|way| Filters::new(&world, &mut interned, way));

    let mut from_outside: BTreeMap<ListedEnd, Vec<(usize, Connections)>> = BTreeMap::new();
    let mut external = External::new(&ingress);
    for index in 0..world.ends.len() {
        for (range, connections) in external.of(world.pods_of(index)) {
            from_outside.entry(range.clone()).or_default().push((index, connections.clone()));
        }
    }
    for (range, destinations) in &from_outside {
        for (index, connections) in destinations {
            tell(range, &world.ends[*index], connections);
        }
    }

    let admitted = ingress.by_peer(world.pods.len());
    let mut external = External::new(&egress);
    let mut row = Row::new(world.ends.len());
    let mut admits = vec![NONE; ingress.list.len()];
    for source in 0..world.ends.len() {
        for (range, connections) in external.of(world.pods_of(source)) {
            tell(&world.ends[source], range, connections);
        }
        for pod in world.pods_of(source) {
            admits.fill(NONE);
            admits[OPEN] = ALL;
            for (filter, id) in &admitted[pod] {
                admits[*filter] = *id;
            }
            let mut add = |interned: &mut Interned, destination: usize, out: Id| {
                let inwards = admits[ingress.of_pod[destination]];
                if inwards != NONE && world.end_of_pod[destination] != source {
                    row.join(interned, world.end_of_pod[destination], out, inwards);
                }
            };
            match egress.of_pod[pod] {
                OPEN => (0..world.pods.len()).for_each(|peer| add(&mut interned, peer, ALL)),
                filter => {
                    for (peer, id) in &egress.list[filter].peers {
                        add(&mut interned, *peer, *id);
                    }
                }
            }
        }
        row.take(|destination, id| {
            tell(&world.ends[source], &world.ends[destination], interned.get(id));
        });
    }
}

/// The pods in the order of their ends, so that an end's are neighbours.
struct World<'a> {
    cluster: &'a Cluster,
    by_namespace: PodsByNamespace<'a>,
    pods: Vec<&'a Pod>,
    /// Sorted.
    ends: Vec<ListedEnd>,
    end_of_pod: Vec<usize>,
    first_pod_of_end: Vec<usize>,
}

impl<'a> World<'a> {
    fn new(cluster: &'a Cluster) -> Self {
        let mut sorted: Vec<(ListedEnd, &Pod)> =
            cluster.pods().iter().map(|pod| (ListedEnd::of(pod), pod)).collect();
        sorted.sort_by(|one, other| one.0.cmp(&other.0));
        let mut world = Self {
            cluster,
            by_namespace: PodsByNamespace::default(),
            pods: Vec::new(),
            ends: Vec::new(),
            end_of_pod: Vec::new(),
            first_pod_of_end: Vec::new(),
        };
        for (index, (end, pod)) in sorted.into_iter().enumerate() {
            if world.ends.last() != Some(&end) {
                world.ends.push(end);
                world.first_pod_of_end.push(index);
            }
            world.end_of_pod.push(world.ends.len() - 1);
            world.pods.push(pod);
        }
        world.first_pod_of_end.push(world.pods.len());
        world.by_namespace = PodsByNamespace::new(&world.pods);
        world
    }

    fn pods_of(&self, end: usize) -> std::ops::Range<usize> {
        self.first_pod_of_end[end]..self.first_pod_of_end[end + 1]
    }
}

/// The number of the filter that lets everything through.
const OPEN: usize = 0;

/// What one direction of every pod lets through: pods that the same rules are about share a filter.
struct Filters<'a> {
    list: Vec<Filter<'a>>,
    of_pod: Vec<usize>,
}

#[derive(Default)]
struct Filter<'a> {
    /// The pods that something may pass to or from, sorted.
    peers: Vec<(usize, Id)>,
    /// What may pass to or from every address.
    everyone: Connections,
    /// The blocks of addresses that something more may pass to or from.
    blocks: Vec<(Block<'a>, Connections)>,
}

impl<'a> Filters<'a> {
    fn new(world: &World<'a>, interned: &mut Interned, direction: Direction) -> Self {
        let open = Filter { everyone: Connections::all(), ..Filter::default() };
        let mut filters = Self { list: vec![open], of_pod: Vec::with_capacity(world.pods.len()) };
        let mut known = HashMap::new();
        let mut selected = HashMap::new();
        for pod in &world.pods {
            let Isolation::Isolated { rules, .. } = Isolation::of(world.cluster, pod, direction)
            else {
                filters.of_pod.push(OPEN);
                continue;
            };
            // A named port of an ingress rule is the pod's own (rule 15).
            let destination = (direction == Direction::Ingress).then_some(*pod);
            let named_ports = destination.map(|pod| pod.named_ports.as_slice());
            let key: Vec<*const _> =
                rules.iter().map(|rule| std::ptr::from_ref(rule.rule)).collect();
            let filter = *known.entry((key, named_ports)).or_insert_with(|| {
                for rule in &rules {
                    selected
                        .entry(std::ptr::from_ref(rule.rule))
                        .or_insert_with(|| rule.selected(world.cluster, &world.by_namespace));
                }
                filters.list.push(filter(world, interned, &rules, &selected, destination));
                filters.list.len() - 1
            });
            filters.of_pod.push(filter);
        }
        filters
    }

    /// For every pod, the filters that let it through.
    fn by_peer(&self, pods: usize) -> Vec<Vec<(usize, Id)>> {
        let mut by_peer = vec![Vec::new(); pods];
        for (index, filter) in self.list.iter().enumerate() {
            for (peer, id) in &filter.peers {
                by_peer[*peer].push((index, *id));
            }
        }
        by_peer
    }
}

/// The pods that each rule selects.
type Selected = HashMap<*const crate::policy::Rule, Vec<usize>>;

fn filter<'a>(
    world: &World<'a>,
    interned: &mut Interned,
    rules: &[Allowance<'a>],
    selected: &Selected,
    destination: Option<&Pod>,
) -> Filter<'a> {
    let mut row = Row::new(world.pods.len());
    let (mut everyone, mut blocks) = (Connections::none(), Vec::new());
    for rule in rules {
        // What a rule without named ports allows is the same to every destination.
        let connections = rule.connections(destination);
        let same = destination.is_some() || !rule.has_named_port();
        let id = interned.id(connections.clone());
        for peer in &selected[&std::ptr::from_ref(rule.rule)] {
            let id = if same { id } else { interned.id(rule.connections(Some(world.pods[*peer]))) };
            row.join(interned, *peer, id, ALL);
        }
        if rule.names_everyone() {
            everyone.extend(&connections);
        } else if !connections.is_none() {
            blocks.extend(rule.blocks().map(|block| (block, connections.clone())));
        }
    }
    let mut peers = Vec::new();
    row.take(|peer, id| peers.push((peer, id)));
    Filter { peers, everyone, blocks }
}

/// A set of connections for each of so many peers, empty again when it was taken.
struct Row {
    ids: Vec<Id>,
    touched: Vec<usize>,
}

impl Row {
    fn new(length: usize) -> Self {
        Self { ids: vec![NONE; length], touched: Vec::new() }
    }

    /// Adds what is in both `one` and `other` to what passes to `index`.
    fn join(&mut self, interned: &mut Interned, index: usize, one: Id, other: Id) {
        let both = interned.meet(one, other);
        let before = self.ids[index];
        if both == NONE || both == before {
            return;
        }
        if before == NONE {
            self.touched.push(index);
        }
        self.ids[index] = interned.join(before, both);
    }

    /// Tells of all that is not empty, in order.
    fn take(&mut self, mut tell: impl FnMut(usize, Id)) {
        self.touched.sort_unstable();
        for index in self.touched.drain(..) {
            tell(index, std::mem::replace(&mut self.ids[index], NONE));
        }
    }
}

/// The addresses outside that something may pass to or from, found once for the same filters.
struct External<'f, 'a> {
    filters: &'f Filters<'a>,
    found: HashMap<Vec<usize>, Vec<(ListedEnd, Connections)>>,
}

impl<'f, 'a> External<'f, 'a> {
    fn new(filters: &'f Filters<'a>) -> Self {
        Self { filters, found: HashMap::new() }
    }

    /// Those of an end's pods.
    fn of(&mut self, pods: std::ops::Range<usize>) -> &[(ListedEnd, Connections)] {
        let mut key = self.filters.of_pod[pods].to_vec();
        key.sort_unstable();
        key.dedup();
        let filters = self.filters;
        self.found.entry(key).or_insert_with_key(|key| {
            let of = || key.iter().map(|filter| &filters.list[*filter]);
            let mut everyone = Connections::none();
            of().for_each(|filter| everyone.extend(&filter.everyone));
            ranges(&everyone, of().flat_map(|filter| &filter.blocks))
        })
    }
}
