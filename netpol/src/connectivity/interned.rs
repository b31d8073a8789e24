//! Sets of connections as numbers.

use std::collections::{BTreeMap, HashMap};

use super::{Certainty, NamedEnd, Pair};
use crate::connections::Connections;

/// The number of a set of connections.
pub(super) type Id = u32;

/// What passes to each place, sorted by place; where there is nothing, there is no entry.
pub(super) type Row = Vec<(usize, Id)>;

/// No connection.
pub(super) const NONE: Id = 0;

/// Every connection.
pub(super) const ALL: Id = 1;

/// Every set that has a number, and what was found of two of them.
pub(super) struct Interned {
    list: Vec<Connections>,
    /// What each is called.
    names: Vec<String>,
    ids: HashMap<Connections, Id>,
    found: HashMap<(Operation, (Id, Id)), Id>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Operation {
    Meet,
    Join,
}

impl Default for Interned {
    fn default() -> Self {
        let (list, names) = (Vec::new(), Vec::new());
        let mut interned = Self { list, names, ids: HashMap::new(), found: HashMap::new() };
        assert_eq!(interned.id(Connections::none()), NONE);
        assert_eq!(interned.id(Connections::all()), ALL);
        interned
    }
}

impl Interned {
    /// The number of `connections`; the same for the same.
    pub(super) fn id(&mut self, connections: Connections) -> Id {
        if let Some(id) = self.ids.get(&connections) {
            return *id;
        }
        let id = Id::try_from(self.list.len()).expect("memory ends before the numbers do");
        self.names.push(connections.to_string());
        self.list.push(connections.clone());
        self.ids.insert(connections, id);
        id
    }

    /// The set of this number.
    pub(super) fn get(&self, id: Id) -> &Connections {
        &self.list[id as usize]
    }

    /// The pair between which this set may pass.
    pub(super) fn pair<'p>(
        &'p self,
        source: NamedEnd<'p>,
        destination: NamedEnd<'p>,
        id: Id,
        certainty: Certainty,
    ) -> Pair<'p> {
        let ports = &self.names[id as usize];
        Pair { source, destination, connections: self.get(id), ports, certainty }
    }

    /// What is in both.
    pub(super) fn meet(&mut self, one: Id, other: Id) -> Id {
        match (one.min(other), one.max(other)) {
            (NONE, _) => NONE,
            (ALL, id) => id,
            (low, high) if low == high => low,
            pair => self.found(Operation::Meet, pair),
        }
    }

    /// What is in one of the two.
    pub(super) fn join(&mut self, one: Id, other: Id) -> Id {
        match (one.min(other), one.max(other)) {
            (NONE, id) => id,
            (ALL, _) => ALL,
            (low, high) if low == high => low,
            pair => self.found(Operation::Join, pair),
        }
    }

    /// What is at each place in all of `rows`, each sorted by place.
    pub(super) fn in_all(&mut self, rows: Vec<Row>) -> Row {
        let both = |interned: &mut Self, one: Row, other: Row| {
            let mut other = other.into_iter().peekable();
            let mut both = Row::new();
            for (place, id) in one {
                while other.next_if(|(before, _)| *before < place).is_some() {}
                let there = other.next_if(|(same, _)| *same == place).map_or(NONE, |(_, id)| id);
                let id = interned.meet(id, there);
                if id != NONE {
                    both.push((place, id));
                }
            }
            both
        };
        let mut rows = rows.into_iter();
        let first = rows.next().unwrap_or_default();
        rows.fold(first, |one, other| both(self, one, other))
    }

    /// What is at each place in any of `rows`.
    pub(super) fn in_any(&mut self, rows: Vec<Row>) -> Row {
        let mut rows = rows.into_iter();
        let first = rows.next().unwrap_or_default();
        rows.fold(first, |one, other| {
            let mut either: BTreeMap<usize, Id> = one.into_iter().collect();
            for (place, id) in other {
                let there = either.entry(place).or_insert(NONE);
                *there = self.join(*there, id);
            }
            either.into_iter().collect()
        })
    }

    /// What `row` has at each place more than `other`, which has less; both are sorted by place.
    pub(super) fn more(&mut self, row: &[(usize, Id)], other: &[(usize, Id)]) -> Row {
        let mut more = Vec::new();
        let mut other = other.iter().peekable();
        for (place, id) in row {
            while other.next_if(|(before, _)| before < place).is_some() {}
            let there = other.next_if(|(same, _)| same == place).map_or(NONE, |(_, id)| *id);
            if there != *id {
                let difference = self.get(*id).difference(self.get(there));
                more.push((*place, self.id(difference)));
            }
        }
        more
    }

    /// Looked up, or found and remembered.
    fn found(&mut self, operation: Operation, (one, other): (Id, Id)) -> Id {
        if let Some(id) = self.found.get(&(operation, (one, other))) {
            return *id;
        }
        let (left, right) = (self.get(one), self.get(other));
        let found = match operation {
            Operation::Meet => left.intersection(right),
            Operation::Join => {
                let mut either = left.clone();
                either.extend(right);
                either
            }
        };
        let id = self.id(found);
        self.found.insert((operation, (one, other)), id);
        id
    }
}
