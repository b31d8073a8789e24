//! A policy by itself, in sentences: whom it selects, what it lets in and out, and who that is now.
//!
//! What a policy means is asked of [`crate::policy`] and [`crate::isolation`]; here it is only said.
//!
//! - [`named`]: the policies that somebody names.
//! - `rules`: what is said of a direction and of its rules.
//! - `words`: what selectors, peers and ports name; `now`: who of the inputs that is.

pub mod named;
mod now;
mod rules;
#[cfg(test)]
mod tests;
mod words;

use std::fmt;

use self::now::{Known, Named};
use self::words::some;
use crate::cluster::{Cluster, ForeignPolicy, Pod};
use crate::isolation::{Allowance, Block};
use crate::policy::{Direction, Policy};
use crate::read::{Manifests, Place, WrittenPolicy};

/// Something that is said, where it is written, and what is said below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sentence {
    /// The words, without a full stop.
    pub words: String,
    /// Where that is written, if it is at one place.
    pub place: Option<Place>,
    /// What more there is to say of it.
    pub below: Vec<Sentence>,
}

/// A policy in words.
#[derive(Clone, Debug)]
pub struct Description<'a> {
    /// The policy.
    pub policy: &'a Policy,
    /// Where it is written.
    pub place: Place,
    /// Whom it selects.
    pub selection: Sentence,
    /// What it does to connections to these pods.
    pub ingress: Sentence,
    /// What it does to connections from these pods.
    pub egress: Sentence,
    /// Which other policies are about the same pods.
    pub others: Vec<Sentence>,
}

/// What is to be said once, of all policies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct General {
    /// What holds whatever a policy says.
    pub always: Vec<Sentence>,
    /// What the inputs do not tell.
    pub untold: Vec<Sentence>,
}

/// Describes the policies of some manifests.
pub struct Describer<'a> {
    manifests: &'a Manifests,
    known: Known<'a>,
}

impl<'a> Describer<'a> {
    /// Of `manifests`.
    #[must_use]
    pub fn new(manifests: &'a Manifests) -> Self {
        Self { manifests, known: Known::new(&manifests.cluster) }
    }

    /// Describes the policy at this place of the cluster's list; `None` if there are not so many.
    #[must_use]
    pub fn describe(&self, index: usize) -> Option<Description<'a>> {
        let Self { manifests, known } = self;
        let cluster = &manifests.cluster;
        let policy = cluster.policies().get(index)?;
        let written = manifests.written.get(index)?;
        let selected = Named::selected(known, policy);
        let others = others(manifests, policy, &selected);
        let foreign = foreign(cluster, policy, &selected);
        let subject = Subject { cluster, known, policy, written, selected, others, foreign };
        Some(Description {
            policy,
            place: written.place(""),
            selection: subject.selection(),
            ingress: subject.direction(Direction::Ingress),
            egress: subject.direction(Direction::Egress),
            others: subject.beside(),
        })
    }
}

/// What holds for all policies, in so far as it says more of those `described`, and what of `manifests`
/// is not described.
#[must_use]
pub fn general(manifests: &Manifests, described: &[Description<'_>]) -> General {
    let cluster = &manifests.cluster;
    let mut always = vec![
        "Policies add up: what any one of them lets pass gets through, and none can forbid what another allows",
        "A connection needs both ends: the policies of its source must let it out, and those of its \
         destination let it in. An end that no policy isolates lets everything pass",
        "Answers need no rule of their own: they come back over the connection that was let pass",
        "Ports are those of the pods, not of a Service in front of them; a port that names no protocol is \
         one of TCP",
        "A pod always reaches itself, and a node the pods that run on it",
    ];
    if described.iter().any(|one| blocks(one.policy).next().is_some()) {
        always.push(
            "Blocks of addresses (ipBlock) are meant for what is outside the cluster: whether they also name \
             pods that have such an address differs between engines",
        );
    }
    if described.iter().any(|one| blocks(one.policy).any(|block| !block.except.is_empty())) {
        always.push(
            "What a block excepts is left out of that block alone: another peer, rule or policy may let it \
             pass",
        );
    }
    let mut untold = Vec::new();
    if cluster.pods().is_empty() {
        untold.push(
            "Who is meant at the moment: there is no pod or workload. Give their manifests too"
                .to_owned(),
        );
    }
    if !cluster.foreign().is_empty() {
        let foreign = cluster.foreign().iter().zip(&manifests.foreign);
        let foreign = some(foreign.map(|(policy, place)| format!("{policy} ({place})")));
        untold.push(format!(
            "What is not modelled, or cannot be seen: {foreign}. It is not described, and what is said here may \
             not hold for whom it is about; --ignore-kinds leaves it out"
        ));
    }
    General {
        always: always.into_iter().map(|words| Sentence::new(words.to_owned())).collect(),
        untold: untold.into_iter().map(Sentence::new).collect(),
    }
}

/// The other policies that select some of the pods that `policy` selects.
fn others<'a>(
    manifests: &'a Manifests,
    policy: &Policy,
    selected: &Named<'_>,
) -> Vec<(&'a Policy, &'a WrittenPolicy)> {
    let selects = |(other, _): &(&Policy, _)| {
        // All of these pods are of the policy's namespace (rule 1): that is asked once, and not of each.
        other.namespace == policy.namespace
            && !std::ptr::eq(*other, policy)
            && selected.pods().any(|pod| other.selects(pod))
    };
    manifests.cluster.policies().iter().zip(&manifests.written).filter(selects).collect()
}

/// The policies that are not modelled, or cannot be seen, and may be about these pods, or, where there are none, about
/// pods that `policy` would select.
fn foreign<'a>(
    cluster: &'a Cluster,
    policy: &Policy,
    selected: &Named<'_>,
) -> Vec<&'a ForeignPolicy> {
    let any = Pod { namespace: policy.namespace.clone(), ..Pod::default() };
    let pods = if selected.is_empty() { vec![&any] } else { selected.pods().collect() };
    let may_select = |foreign: &&ForeignPolicy| pods.iter().any(|pod| foreign.may_select(pod));
    cluster.foreign().iter().filter(may_select).collect()
}

/// Every block of addresses that a policy names.
fn blocks(policy: &Policy) -> impl Iterator<Item = Block<'_>> {
    let rules = Direction::BOTH.into_iter().filter_map(|direction| policy.rules(direction));
    rules
        .flat_map(|rules| rules.iter().enumerate())
        .map(|(index, rule)| Allowance { policy, index, rule })
        .flat_map(|rule| rule.blocks())
}

/// The policy that is described.
struct Subject<'a> {
    cluster: &'a Cluster,
    known: &'a Known<'a>,
    policy: &'a Policy,
    written: &'a WrittenPolicy,
    selected: Named<'a>,
    others: Vec<(&'a Policy, &'a WrittenPolicy)>,
    foreign: Vec<&'a ForeignPolicy>,
}

impl Subject<'_> {
    /// A sentence about the field at `path`.
    fn sentence(&self, words: String, path: &str) -> Sentence {
        Sentence { place: Some(self.written.place(path)), ..Sentence::new(words) }
    }

    fn has_pods(&self) -> bool {
        !self.cluster.pods().is_empty()
    }

    fn selection(&self) -> Sentence {
        const FIELD: &str = "podSelector";
        let Policy { namespace, pods, .. } = self.policy;
        let why = match (pods.requirements(), self.written.spec().get(FIELD)) {
            ([], None) => ", as it has no podSelector, which means the same as an empty one",
            ([], Some(_)) => ", as its podSelector is empty",
            _ => "",
        };
        let words = format!("It selects {}{why}", words::selected(namespace, pods));
        let mut sentence = self.sentence(words, &format!("spec.{FIELD}"));
        if self.has_pods() {
            sentence.below = self.selected.sentences().into_iter().map(Sentence::new).collect();
        }
        sentence
    }

    /// Which other policies select these pods too: they add up (rule 1).
    fn beside(&self) -> Vec<Sentence> {
        let others = some(
            self.others.iter().map(|(other, written)| format!("{other} ({})", written.place(""))),
        );
        let words = match (self.selected.is_empty(), self.others.len()) {
            (true, _) => None,
            (false, 0) if self.foreign.is_empty() => {
                Some("No other policy selects these pods at the moment".to_owned())
            }
            (false, 0) => Some(
                "No other NetworkPolicy that is seen selects these pods at the moment".to_owned(),
            ),
            (false, 1) => Some(format!("Another policy selects some of these pods too: {others}")),
            (false, _) => Some(format!("Other policies select some of these pods too: {others}")),
        };
        let doubt = (!self.foreign.is_empty()).then(|| {
            format!("What else may decide on these pods is not known: {}", some(&self.foreign))
        });
        words.into_iter().chain(doubt).map(Sentence::new).collect()
    }
}

impl Sentence {
    fn new(words: String) -> Self {
        Self { words, place: None, below: Vec::new() }
    }

    fn write(&self, out: &mut fmt::Formatter<'_>, indent: usize) -> fmt::Result {
        write!(out, "{:indent$}{}", "", self.words)?;
        if let Some(place) = &self.place {
            write!(out, " ({place})")?;
        }
        writeln!(out, ".")?;
        self.below.iter().try_for_each(|sentence| sentence.write(out, indent + 2))
    }
}

/// A heading, and a line for each sentence.
impl fmt::Display for Description<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "NetworkPolicy {} ({})", self.policy, self.place)?;
        [&self.selection, &self.ingress, &self.egress]
            .into_iter()
            .chain(&self.others)
            .try_for_each(|sentence| sentence.write(out, 2))
    }
}

/// The same for each of the two that there is anything of.
impl fmt::Display for General {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "What holds for every policy")?;
        self.always.iter().try_for_each(|sentence| sentence.write(out, 2))?;
        if self.untold.is_empty() {
            return Ok(());
        }
        writeln!(out, "\nWhat the inputs do not tell")?;
        self.untold.iter().try_for_each(|sentence| sentence.write(out, 2))
    }
}
