//! `netpol list`.

use std::collections::BTreeSet;
use std::io::{BufWriter, Write};

use clap::Args;
use netpol::cluster::Cluster;

use super::formats::Format;
use super::sources::Sources;
use super::{Failure, say_warning, written};

/// List who may reach whom: a line for each permitted pair
///
/// Pods of one workload are one end; what is outside the cluster is listed as ranges of
/// addresses. The lines are in the order of their bytes, so that `comm` and `join` take two lists.
/// What is not known is listed with =? in place of =>.
///
/// Example: netpol list manifests/hello-app manifests/network-policy.yaml
#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    sources: Sources,

    /// The form of the answer
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

impl List {
    pub(super) fn run(self) -> Result<(), Failure> {
        let (mut manifests, _) = self.sources.read_workloads()?;
        manifests.cluster.by_named_owners();
        notes(&manifests.cluster);
        let mut out = BufWriter::new(std::io::stdout().lock());
        let result = self.output.write(&manifests.cluster, &mut out).and_then(|()| out.flush());
        Ok(written(result)?)
    }
}

/// Says what keeps the answer from being the whole truth.
fn notes(cluster: &Cluster) {
    if let Some(pod) = cluster.pods().iter().find(|pod| pod.host_network) {
        say_warning(&format_args!(
            "{pod} uses its node's network, where policies are undefined; what they may do to it is \
             listed as unknown (=?)"
        ));
    }
    let (hidden, foreign): (Vec<_>, Vec<_>) =
        cluster.foreign().iter().partition(|policy| policy.is_hidden);
    for policy in hidden {
        say_warning(&format_args!("{policy}; what they decide is listed as unknown (=?)"));
    }
    let foreign: BTreeSet<_> = foreign.iter().map(|policy| &policy.kind).collect();
    for kind in foreign {
        say_warning(&format_args!(
            "{kind} is not modelled: what it may be about is listed as unknown (=?); --ignore-kinds \
             lists as if there were none"
        ));
    }
}
