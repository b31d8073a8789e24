//! `netpol list`.

use std::io::{BufWriter, Write};

use clap::Args;

use super::formats::Format;
use super::sources::Sources;
use super::{Failure, say_warning};

/// List who may reach whom: a line for each permitted pair
///
/// Pods of one workload are one end; what is outside the cluster is listed as ranges of
/// addresses. The lines are sorted, so that two lists can be compared.
///
/// Example: netpol list manifests/
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
        let manifests = self.sources.read()?;
        for pod in manifests.cluster.pods().iter().filter(|pod| pod.host_network) {
            say_warning(&format_args!(
                "{pod} uses its node's network, where policies are undefined; it is listed as if it had one of its own"
            ));
        }
        let mut out = BufWriter::new(std::io::stdout().lock());
        // A reader that has gone away has seen enough.
        let _ = self.output.write(&manifests.cluster, &mut out);
        let _ = out.flush();
        Ok(())
    }
}
