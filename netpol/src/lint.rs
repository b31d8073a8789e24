//! What is valid and probably not meant: policies that select nobody, peers and ports that are nobody's,
//! a DNS that is cut off, pods that nobody reaches.
//!
//! Only what the manifests show is known, so these are warnings; and where they show no pod at all, those
//! about pods are left out. What is right if an operator does its part is a note.
//!
//! - [`cidrs`]: blocks that newer API servers refuse.
//! - [`wording`]: what a policy says and does not do; peers that others contain.
//! - [`selection`]: policies and peers that select nobody, or pods of a node's network; who is unreached.
//! - [`operators`]: pods that no manifest has and an operator makes.
//! - [`ports`]: ports that nobody has; those of a Service instead of its pods'.
//! - [`services`]: Services that lead nowhere; their addresses in policies.
//! - [`written`]: endpoints of Services that somebody has written down.
//! - [`dns`]: who is the DNS, and who is cut off from it.

pub mod cidrs;
mod dns;
mod operators;
mod ports;
mod selection;
mod services;
#[cfg(test)]
mod tests;
mod wording;
mod written;

use std::fmt;

use k8s_openapi::api::networking::v1::NetworkPolicy;

use self::cidrs::Version;
use self::dns::Dns;
use self::operators::Operators;
use self::selection::Reached;
use self::written::Written;
use crate::answer::Answer;
use crate::cluster::{Cluster, ForeignPolicy};
use crate::isolation::{Allowance, End};
use crate::pod::Pod;
use crate::policy::{Direction, Policy};
use crate::read::{Finding, Manifests, Place, WrittenPolicy};

/// How much a remark weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// It is right if something is there that manifests do not show.
    Note,
    /// It is probably not meant.
    Warning,
}

/// `note` or `warning`, as SARIF has them too.
impl fmt::Display for Level {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(match self {
            Self::Note => "note",
            Self::Warning => "warning",
        })
    }
}

/// A finding about what is valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// How much it weighs.
    pub level: Level,
    /// What, and where.
    pub finding: Finding,
}

/// Every remark about what an API server of this version takes: by policy, in the order that these are written, and then those about Services and pods.
#[must_use]
pub fn warnings(manifests: &Manifests, version: Version) -> Vec<Remark> {
    let cluster = &manifests.cluster;
    let mut remarks = foreign(manifests);
    let written = Written::of(cluster);
    let context = Context {
        cluster,
        dns: Dns::of(cluster, &written),
        written,
        operators: Operators(&manifests.resources),
        reached: Reached::of(cluster),
    };
    let policies = cluster.policies().iter().zip(&manifests.policies).zip(&manifests.written);
    for ((policy, object), written) in policies {
        let mut lint = Lint { context: &context, policy, object, written, remarks: &mut remarks };
        if !version.is_strict() {
            lint.cidrs();
        }
        lint.wording();
        if cluster.pods().is_empty() {
            continue;
        }
        let selected: Vec<&Pod> = cluster.pods().iter().filter(|pod| policy.selects(pod)).collect();
        lint.selection(&selected);
        for direction in Direction::BOTH {
            for (index, rule) in policy.rules(direction).unwrap_or_default().iter().enumerate() {
                let rule = Allowance { policy, index, rule };
                lint.peers(direction, &rule);
                lint.ports(direction, &rule, &selected);
            }
        }
        lint.dns(&selected);
        lint.nobody(&selected);
    }
    if !cluster.pods().is_empty() {
        context.services(&manifests.written_services, &mut remarks);
    }
    let warning = |finding: &Finding| Remark { level: Level::Warning, finding: finding.clone() };
    remarks.extend(manifests.of_pods.iter().map(warning));
    remarks
}

/// Policies of kinds that are not modelled.
fn foreign(manifests: &Manifests) -> Vec<Remark> {
    let policies = manifests.cluster.foreign().iter().zip(&manifests.foreign);
    let finding = |(policy, place): (&ForeignPolicy, &Place)| Finding {
        file: place.file.clone(),
        line: place.line,
        message: if policy.is_hidden {
            format!("{policy}; what they decide is not known")
        } else {
            format!(
                "kind: {} is not modelled: whether what {policy} may be about is allowed is not known",
                policy.kind
            )
        },
    };
    let warning = |finding| Remark { level: Level::Warning, finding };
    policies.map(finding).map(warning).collect()
}

/// What is known whatever policy is looked at.
struct Context<'a> {
    cluster: &'a Cluster,
    dns: Dns<'a>,
    written: Written<'a>,
    operators: Operators<'a>,
    reached: Reached,
}

impl Context<'_> {
    /// Whether `rule` names `pod`.
    fn names(&self, rule: &Allowance<'_>, pod: &Pod) -> bool {
        rule.names(self.cluster, End::Pod(pod)) == Answer::Yes
    }
}

/// One policy, looked at.
struct Lint<'a> {
    context: &'a Context<'a>,
    policy: &'a Policy,
    object: &'a NetworkPolicy,
    written: &'a WrittenPolicy,
    remarks: &'a mut Vec<Remark>,
}

impl Lint<'_> {
    fn warn(&mut self, path: &str, message: String) {
        self.say(Level::Warning, path, message);
    }

    fn say(&mut self, level: Level, path: &str, message: String) {
        self.remarks.push(Remark { level, finding: self.written.finding(path, message) });
    }
}
