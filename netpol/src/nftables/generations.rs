//! What a table holds, and how it is made to hold something else without a packet in between noticing.

use std::collections::VecDeque;
use std::time::Duration;

use nlink::netlink::nftables::{ChainInfo, Family, Set, SetElement, Transaction};
use nlink::netlink::{Connection, Error, Nftables};
use tokio::time::{Instant, sleep_until};

use super::TABLE;
use super::draft::{Draft, base, base_chain, way};
use crate::policy::Direction;

/// How long a set stays when no rule uses it any more: longer by far than a packet is on its way through rules.
const GRACE: Duration = Duration::from_secs(1);

/// As many sets may be waiting for their end; with more, a replacement waits for the first of them.
const MOST_RETIRED: usize = 1024;

/// Elements sent in one transaction: some 160 KB, which every socket's buffer holds.
const ELEMENTS_A_TRANSACTION: usize = 2000;

/// Elements sent in one message: a netlink attribute holds 65,535 bytes.
const ELEMENTS_A_MESSAGE: usize = 1000;

/// What is known of the table. Not known any more as soon as a write fails: then it is looked at again.
pub(super) struct Table {
    /// The number of the latest filter; its sets' names end with it.
    generation: u64,
    chains: Chains,
    /// The sets that rules use.
    used: Vec<String>,
    /// Those that none does, since when.
    retired: VecDeque<(Instant, String)>,
    /// How many transactions have been committed and not been counted yet.
    commits: u32,
}

/// What is known of the chains.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Chains {
    /// They are as this process has made them.
    Ours,
    /// There may be none yet, or those of another process.
    ToBeMade,
    /// There are others, which cannot be made ours.
    Foreign,
}

impl Table {
    /// What the namespace has, whoever made it.
    pub(super) async fn find(connection: &Connection<Nftables>) -> Result<Self, Error> {
        let sets = or_none(connection.list_sets_in(TABLE, Family::Inet).await)?;
        let chains = or_none(connection.list_chains_in(TABLE, Family::Inet).await)?;
        let is_ours = |found: &ChainInfo| {
            Direction::BOTH.into_iter().any(|direction| {
                let is_base =
                    found.kind().is_some_and(|kind| kind.base() == Some(&base(direction)));
                found.name == way(direction).chain && is_base
            })
        };
        let chains = if chains.iter().all(is_ours) { Chains::ToBeMade } else { Chains::Foreign };
        let used: Vec<String> = sets.into_iter().map(|set| set.name).collect();
        let generation = used.iter().filter_map(|name| generation_of(name)).max().unwrap_or(0);
        Ok(Self { generation, chains, used, retired: VecDeque::new(), commits: 0 })
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    pub(super) fn has_retired(&self) -> bool {
        !self.retired.is_empty()
    }

    /// Puts what `draft` makes of the next generation's number in force.
    pub(super) async fn replace(
        &mut self,
        connection: &Connection<Nftables>,
        draft: impl FnOnce(u64) -> Draft,
    ) -> Result<(), Error> {
        while self.retired.len() >= MOST_RETIRED {
            if let Some((since, _)) = self.retired.front() {
                sleep_until(*since + GRACE).await;
            }
            self.sweep(connection).await?;
        }
        let generation = self.generation + 1;
        let draft = draft(generation);
        let names = draft.sets.iter().map(|(set, _)| set.name().to_owned()).collect();
        let begin = || connection.transaction().update_table(TABLE, Family::Inet, 0);
        if self.chains == Chains::Foreign {
            // Nothing of it is to stay, so there is nothing to be careful with.
            let emptied =
                begin().del_table(TABLE, Family::Inet).update_table(TABLE, Family::Inet, 0);
            let with_sets = draft.sets.iter().fold(emptied, |transaction, (set, elements)| {
                add_elements(transaction.add_set(set.clone()), set, elements)
            });
            self.commit(draft.add_rules(with_chains(with_sets)), connection).await?;
            (self.generation, self.chains, self.used) = (generation, Chains::Ours, names);
            self.retired.clear();
            return Ok(());
        }
        let mut adding = begin();
        let mut size = 0;
        for (set, elements) in &draft.sets {
            adding = adding.add_set(set.clone());
            size += 1;
            for chunk in elements.chunks(ELEMENTS_A_MESSAGE) {
                if size + chunk.len() > ELEMENTS_A_TRANSACTION {
                    self.commit(adding, connection).await?;
                    (adding, size) = (begin(), 0);
                }
                adding = adding.add_set_elements(set, chunk);
                size += chunk.len();
            }
        }
        if !draft.sets.is_empty() {
            self.commit(adding, connection).await?;
        }
        let mut transaction = begin();
        if self.chains == Chains::ToBeMade {
            transaction = with_chains(transaction);
        }
        for direction in Direction::BOTH {
            transaction = transaction.flush_chain(TABLE, way(direction).chain, Family::Inet);
        }
        self.commit(draft.add_rules(transaction), connection).await?;
        let now = Instant::now();
        self.retired.extend(self.used.drain(..).map(|name| (now, name)));
        (self.generation, self.chains, self.used) = (generation, Chains::Ours, names);
        Ok(())
    }

    /// Deletes the sets whose time is over.
    pub(super) async fn sweep(&mut self, connection: &Connection<Nftables>) -> Result<(), Error> {
        let over = self.retired.iter().take_while(|(since, _)| since.elapsed() >= GRACE).count();
        if over == 0 {
            return Ok(());
        }
        let transaction = self
            .retired
            .iter()
            .take(over)
            .fold(connection.transaction(), |transaction, (_, name)| {
                transaction.del_set(TABLE, name, Family::Inet)
            });
        self.commit(transaction, connection).await?;
        self.retired.drain(..over);
        Ok(())
    }

    /// How many transactions have been committed since this was last asked.
    pub(super) fn take_commits(&mut self) -> u32 {
        std::mem::take(&mut self.commits)
    }

    async fn commit(
        &mut self,
        transaction: Transaction,
        connection: &Connection<Nftables>,
    ) -> Result<(), Error> {
        transaction.commit(connection).await?;
        self.commits += 1;
        Ok(())
    }

    /// How long nothing need be swept.
    pub(super) const SWEEP_EVERY: Duration = GRACE;
}

/// The number of the filter that a set is of; none of a set that some other program made.
fn generation_of(set: &str) -> Option<u64> {
    set.rsplit_once('g')?.1.parse().ok()
}

/// What is in a table: nothing where there is no table.
fn or_none<T>(found: Result<Vec<T>, Error>) -> Result<Vec<T>, Error> {
    match found {
        Err(error) if error.is_not_found() => Ok(Vec::new()),
        found => found,
    }
}

fn with_chains(transaction: Transaction) -> Transaction {
    Direction::BOTH
        .into_iter()
        .fold(transaction, |transaction, direction| transaction.update_chain(base_chain(direction)))
}

fn add_elements(transaction: Transaction, set: &Set, elements: &[SetElement]) -> Transaction {
    elements
        .chunks(ELEMENTS_A_MESSAGE)
        .fold(transaction, |transaction, chunk| transaction.add_set_elements(set, chunk))
}
