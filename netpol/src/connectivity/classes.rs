//! Ends that no rule tells apart as sources: what may pass from one may pass from all.

use std::collections::HashMap;
use std::rc::Rc;

use super::external::{Outside, Range, doubtful};
use super::filters::{Kind, Pass, Row, World};
use super::interned::{Id, Interned};
use crate::policy::Direction;

/// What may pass from each end of a class, in the order of what the others are called.
#[derive(Default)]
pub(crate) struct Class {
    /// How many were found before: one that was forgotten and is found again is another one.
    pub(super) number: usize,
    pub(super) certain: Vec<(To, Id)>,
    pub(super) unknown: Vec<(To, Id)>,
}

/// To whom something may pass.
pub(super) enum To {
    /// The end of this number; also to the source itself, which is not listed.
    End(usize),
    /// Addresses outside.
    Range(Box<Range>),
}

/// So many places are remembered, some hundred megabytes: neighbours are mostly of few classes.
const REMEMBERED: usize = 1 << 22;

/// The classes of all ends.
pub(super) struct Classes<'w, 'a> {
    world: &'w World<'a>,
    least: &'w [Pass<'a>],
    most: &'w [Pass<'a>],
    has_doubts: bool,
    certain: Outside<'w, 'a>,
    possible: Outside<'w, 'a>,
    row: Row,
    found: HashMap<Vec<Vec<Kind>>, Rc<Class>>,
    remembered: usize,
    /// How many were found, remembered or not.
    count: usize,
}

impl<'w, 'a> Classes<'w, 'a> {
    pub(super) fn new(
        world: &'w World<'a>,
        least: &'w [Pass<'a>],
        most: &'w [Pass<'a>],
        has_doubts: bool,
    ) -> Self {
        Self {
            world,
            least,
            most,
            has_doubts,
            certain: Outside::new(least, Direction::Egress),
            possible: Outside::new(most, Direction::Egress),
            row: Row::new(world.ends.len()),
            found: HashMap::new(),
            remembered: 0,
            count: 0,
        }
    }

    /// That of the end at `source`.
    pub(super) fn of(&mut self, interned: &mut Interned, source: usize) -> Rc<Class> {
        let pods = self.world.pods_of(source);
        let passes = self.least.iter().chain(if self.has_doubts { self.most } else { &[] });
        let key: Vec<Vec<Kind>> = passes.map(|pass| pass.kinds(pods.clone())).collect();
        if let Some(class) = self.found.get(&key) {
            return Rc::clone(class);
        }
        let class = Rc::new(self.find(interned, source, &key));
        self.remembered += class.certain.len() + class.unknown.len();
        if self.remembered > REMEMBERED {
            self.found.clear();
            self.remembered = class.certain.len() + class.unknown.len();
        }
        self.found.insert(key, Rc::clone(&class));
        class
    }

    fn find(&mut self, interned: &mut Interned, source: usize, kinds: &[Vec<Kind>]) -> Class {
        let Self { world, least, most, row, .. } = self;
        let pods = world.pods_of(source);
        let (least_kinds, most_kinds) = kinds.split_at(least.len());
        let mut rows = |interned: &mut Interned, passes: &[Pass<'a>], kinds: &[Vec<Kind>]| {
            let passes = passes.iter().zip(kinds);
            let rows = passes.map(|(pass, kinds)| pass.row(world, interned, row, kinds));
            rows.collect::<Vec<_>>()
        };
        let certain = self.certain.all(pods.clone());
        let certain_rows = rows(interned, least, least_kinds);
        let certain_row = interned.in_all(certain_rows);
        let mut class = Class { number: self.count, ..Class::default() };
        self.count += 1;
        if self.has_doubts {
            let unknown = doubtful(&certain, &self.possible.any(pods));
            let possible_rows = rows(interned, most, most_kinds);
            let possible_row = interned.in_any(possible_rows);
            let unknown_row = interned.more(&possible_row, &certain_row);
            class.unknown = merged(world, interned, unknown, unknown_row);
        }
        class.certain = merged(world, interned, certain, certain_row);
        class
    }
}

/// What is outside and what is inside, in the order of what they are called.
fn merged(
    world: &World<'_>,
    interned: &mut Interned,
    outside: Vec<Range>,
    inside: Vec<(usize, Id)>,
) -> Vec<(To, Id)> {
    let mut merged = Vec::with_capacity(outside.len() + inside.len());
    let mut outside = outside
        .into_iter()
        .map(|range| (interned.id(range.connections.clone()), Box::new(range)))
        .peekable();
    for (end, id) in inside {
        while let Some((id, range)) = outside.next_if(|(_, range)| range.name < world.names[end]) {
            merged.push((To::Range(range), id));
        }
        merged.push((To::End(end), id));
    }
    merged.extend(outside.map(|(id, range)| (To::Range(range), id)));
    merged
}
