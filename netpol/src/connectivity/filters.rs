//! What every pod lets in and out: pods that the same rules are about share a filter.

use std::collections::HashMap;

use super::interned::{ALL, Id, Interned, NONE};
use super::{ListedEnd, NamedEnd};
use crate::cluster::{Cluster, Pod, PodsByNamespace};
use crate::connections::Connections;
use crate::isolation::{Allowance, Block, Isolation};
use crate::policy::Direction;

/// How what is not known is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// So that the least is allowed.
    Least,
    /// So that the most is.
    Most,
}

/// The filters of every pod under one reading.
pub(super) struct Pass<'a> {
    pub ingress: Filters<'a>,
    pub egress: Filters<'a>,
    /// For every pod, the place in `admitted` of the filters that let it in.
    admitted_of_pod: Vec<usize>,
    admitted: Vec<Vec<(usize, Id)>>,
}

/// What tells sources apart under one reading: the filter of what passes out, and those that let in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Kind {
    egress: usize,
    admitted: usize,
}

impl<'a> Pass<'a> {
    pub(super) fn new(world: &World<'a>, interned: &mut Interned, reading: Reading) -> Self {
        let [ingress, egress] =
            Direction::BOTH.map(|way| Filters::new(world, interned, way, reading));
        let (mut numbers, mut admitted) = (HashMap::new(), Vec::new());
        let by_peer = ingress.by_peer(world.pods.len()).into_iter();
        let admitted_of_pod = by_peer.map(|filters| {
            *numbers.entry(filters).or_insert_with_key(|filters| {
                admitted.push(filters.clone());
                admitted.len() - 1
            })
        });
        let admitted_of_pod = admitted_of_pod.collect();
        Self { ingress, egress, admitted_of_pod, admitted }
    }

    /// What tells these pods apart from others, sorted.
    pub(super) fn kinds(&self, pods: std::ops::Range<usize>) -> Vec<Kind> {
        let kind =
            |pod| Kind { egress: self.egress.of_pod[pod], admitted: self.admitted_of_pod[pod] };
        let mut kinds: Vec<Kind> = pods.map(kind).collect();
        kinds.sort_unstable();
        kinds.dedup();
        kinds
    }

    /// What may pass from an end whose pods are of these kinds to all ends, itself too: their places, and
    /// what. `row` is as long as there are ends, and empty before and after.
    pub(super) fn row(
        &self,
        world: &World<'_>,
        interned: &mut Interned,
        row: &mut Row,
        kinds: &[Kind],
    ) -> Vec<(usize, Id)> {
        let mut admits = vec![NONE; self.ingress.list.len()];
        for Kind { egress, admitted } in kinds {
            admits.fill(NONE);
            admits[OPEN] = ALL;
            for (filter, id) in &self.admitted[*admitted] {
                admits[*filter] = *id;
            }
            let mut add = |interned: &mut Interned, destination: usize, out: Id| {
                let inwards = admits[self.ingress.of_pod[destination]];
                if inwards != NONE {
                    row.join(interned, world.end_of_pod[destination], out, inwards);
                }
            };
            match *egress {
                OPEN => (0..world.pods.len()).for_each(|peer| add(interned, peer, ALL)),
                filter => {
                    for (peer, id) in &self.egress.list[filter].peers {
                        add(interned, *peer, *id);
                    }
                }
            }
        }
        let mut found = Vec::new();
        row.take(|destination, id| found.push((destination, id)));
        found
    }
}

/// The pods in the order of their ends, so that an end's are neighbours.
pub(super) struct World<'a> {
    pub cluster: &'a Cluster,
    by_namespace: PodsByNamespace<'a>,
    pub pods: Vec<&'a Pod>,
    /// In the order of what they are called.
    pub ends: Vec<ListedEnd>,
    /// What they are called.
    pub names: Vec<String>,
    end_of_pod: Vec<usize>,
    first_pod_of_end: Vec<usize>,
}

impl<'a> World<'a> {
    pub(super) fn new(cluster: &'a Cluster) -> Self {
        let mut sorted: Vec<(String, &Pod)> =
            cluster.pods().iter().map(|pod| (ListedEnd::of(pod).to_string(), pod)).collect();
        sorted.sort_by(|one, other| one.0.cmp(&other.0));
        let mut world = Self {
            cluster,
            by_namespace: PodsByNamespace::default(),
            pods: Vec::new(),
            ends: Vec::new(),
            names: Vec::new(),
            end_of_pod: Vec::new(),
            first_pod_of_end: Vec::new(),
        };
        for (index, (name, pod)) in sorted.into_iter().enumerate() {
            if world.names.last() != Some(&name) {
                world.names.push(name);
                world.ends.push(ListedEnd::of(pod));
                world.first_pod_of_end.push(index);
            }
            world.end_of_pod.push(world.ends.len() - 1);
            world.pods.push(pod);
        }
        world.first_pod_of_end.push(world.pods.len());
        world.by_namespace = PodsByNamespace::new(&world.pods);
        world
    }

    /// The end of this number, and what it is called.
    pub(super) fn named(&self, end: usize) -> NamedEnd<'_> {
        NamedEnd { end: &self.ends[end], name: &self.names[end] }
    }

    pub(super) fn pods_of(&self, end: usize) -> std::ops::Range<usize> {
        self.first_pod_of_end[end]..self.first_pod_of_end[end + 1]
    }
}

/// The number of the filter that lets everything through.
const OPEN: usize = 0;

/// What one direction of every pod lets through: pods that the same rules are about share a filter.
pub(super) struct Filters<'a> {
    pub list: Vec<Filter<'a>>,
    pub of_pod: Vec<usize>,
}

#[derive(Default)]
pub(super) struct Filter<'a> {
    /// The pods that something may pass to or from, sorted.
    peers: Vec<(usize, Id)>,
    /// What may pass to or from every address.
    pub everyone: Connections,
    /// The blocks of addresses that something more may pass to or from.
    pub blocks: Vec<(Block<'a>, Connections)>,
}

impl<'a> Filters<'a> {
    fn new(
        world: &World<'a>,
        interned: &mut Interned,
        direction: Direction,
        reading: Reading,
    ) -> Self {
        let open = Filter { everyone: Connections::all(), ..Filter::default() };
        let mut filters = Self { list: vec![open], of_pod: Vec::with_capacity(world.pods.len()) };
        let mut known = HashMap::new();
        let mut selected = HashMap::new();
        for pod in &world.pods {
            let rules = match (Isolation::of(world.cluster, pod, direction), reading) {
                (Isolation::Isolated { rules, .. }, _) => rules,
                (Isolation::Unknown(_), Reading::Least) => Vec::new(),
                (Isolation::Open, _) | (Isolation::Unknown(_), Reading::Most) => {
                    filters.of_pod.push(OPEN);
                    continue;
                }
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
pub(super) struct Row {
    ids: Vec<Id>,
    touched: Vec<usize>,
}

impl Row {
    pub(super) fn new(length: usize) -> Self {
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
