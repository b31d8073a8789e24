//! From end to end of one cluster: what may pass from each.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::classes::{Class, Classes, To};
use super::external::{Outside, Range, doubtful};
use super::filters::{Pass, Reading, World};
use super::interned::{Id, Interned};
use super::{Certainty, ListedEnd, NamedEnd, Pair};
use crate::cluster::Cluster;
use crate::connections::Connections;
use crate::policy::Direction;

/// One cluster, asked end by end: the ends are numbers, in the order of what they are called.
pub(crate) struct Walk<'w, 'a> {
    world: &'w World<'a>,
    least: &'w [Pass<'a>],
    most: &'w [Pass<'a>],
    classes: Classes<'w, 'a>,
    interned: Interned,
}

/// What may pass from outside, by what the range of addresses is called.
pub(crate) type FromOutside = BTreeMap<(String, Certainty), IntoEnds>;

/// A range of addresses, and what may pass from it to the ends of these numbers.
type IntoEnds = (ListedEnd, Vec<(usize, Id)>);

/// Lets `with` walk through `cluster`.
pub(crate) fn walked<R>(cluster: &Cluster, with: impl FnOnce(&mut Walk<'_, '_>) -> R) -> R {
    let mut taken = cluster.clone();
    let has_hosts = cluster.pods().iter().any(|pod| pod.host_network);
    taken.pods_mut().iter_mut().for_each(|pod| pod.host_network = false);
    let world = World::new(&taken);
    // Rule 19: policies take pods on their node's network as any other, or ignore them.
    let ignoring = has_hosts.then(|| World::new(cluster));
    let worlds = || [&world].into_iter().chain(&ignoring);
    let mut interned = Interned::default();
    let mut passes = |reading| -> Vec<Pass<'_>> {
        worlds().map(|world| Pass::new(world, &mut interned, reading)).collect()
    };
    let least = passes(Reading::Least);
    let most = if cluster.foreign().is_empty() { None } else { Some(passes(Reading::Most)) };
    let most = most.as_ref().unwrap_or(&least);
    let has_doubts = has_hosts || !cluster.foreign().is_empty();
    let classes = Classes::new(&world, &least, most, has_doubts);
    with(&mut Walk { world: &world, least: &least, most, classes, interned })
}

impl<'w> Walk<'w, '_> {
    /// How many ends there are.
    pub(crate) fn ends(&self) -> usize {
        self.world.ends.len()
    }

    /// The end of this number.
    pub(crate) fn end(&self, end: usize) -> NamedEnd<'w> {
        self.world.named(end)
    }

    /// What may pass from the end of this number, and from those like it.
    pub(crate) fn class(&mut self, source: usize) -> Rc<Class> {
        self.classes.of(&mut self.interned, source)
    }

    /// What may pass from the end of this number, whose class it is: first what is certain, in the order of
    /// what the others are called, then what is not known.
    pub(crate) fn pairs<'p>(
        &'p self,
        source: usize,
        class: &'p Class,
    ) -> impl Iterator<Item = Pair<'p>> {
        let parts = [(Certainty::Certain, &class.certain), (Certainty::Unknown, &class.unknown)];
        parts.into_iter().flat_map(move |(certainty, passing)| {
            passing.iter().filter_map(move |(destination, id)| {
                let destination = match destination {
                    // A pod always reaches itself (rule 20).
                    To::End(end) if *end == source => return None,
                    To::End(end) => self.world.named(*end),
                    To::Range(range) => range.named(),
                };
                Some(self.interned.pair(self.world.named(source), destination, *id, certainty))
            })
        })
    }

    /// What may pass from outside.
    pub(crate) fn outside_in(&mut self) -> FromOutside {
        let Self { world, least, most, interned, .. } = self;
        let mut into = FromOutside::new();
        let mut add = |index: usize, found: &[Range], certainty| {
            for Range { name, end, connections } in found {
                let entry = into.entry((name.clone(), certainty));
                let (_, to) = entry.or_insert_with(|| (end.clone(), Vec::new()));
                to.push((index, interned.id(connections.clone())));
            }
        };
        let mut certain = Outside::new(least, Direction::Ingress);
        let mut possible = Outside::new(most, Direction::Ingress);
        for index in 0..world.ends.len() {
            let certain = certain.all(world.pods_of(index));
            add(index, &certain, Certainty::Certain);
            let possible = possible.any(world.pods_of(index));
            add(index, &doubtful(&certain, &possible), Certainty::Unknown);
        }
        into
    }

    /// What may pass from one range of addresses outside.
    pub(crate) fn pairs_into<'p>(
        &'p self,
        ((name, certainty), (end, to)): (&'p (String, Certainty), &'p IntoEnds),
    ) -> impl Iterator<Item = Pair<'p>> {
        to.iter().map(move |(index, id)| {
            self.interned.pair(NamedEnd { end, name }, self.world.named(*index), *id, *certainty)
        })
    }

    /// For the end of each number what anybody else may reach of it, if that is known, or may be.
    pub(super) fn each_reached(&mut self) -> Vec<Id> {
        let mut into = vec![super::interned::NONE; self.ends()];
        for (_, to) in self.outside_in().values() {
            for (end, id) in to {
                into[*end] = self.interned.join(into[*end], *id);
            }
        }
        // The first source of each class, until a second one is met: the class counts once, but for the
        // first itself, which the second reaches.
        let mut first_of: Vec<Option<usize>> = Vec::new();
        for source in 0..self.ends() {
            let class = self.class(source);
            if class.number >= first_of.len() {
                first_of.push(Some(source));
                self.join_into(&mut into, &class, |end| end != source);
            } else if let Some(first) = first_of[class.number].take() {
                self.join_into(&mut into, &class, |end| end == first);
            }
        }
        into
    }

    fn join_into(&mut self, into: &mut [Id], class: &Class, counts: impl Fn(usize) -> bool) {
        for (to, id) in class.certain.iter().chain(&class.unknown) {
            if let To::End(end) = to
                && counts(*end)
            {
                into[*end] = self.interned.join(into[*end], *id);
            }
        }
    }

    /// The set of this number.
    pub(super) fn connections(&self, id: Id) -> &Connections {
        self.interned.get(id)
    }
}
