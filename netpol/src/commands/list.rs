//! `netpol list`.

use std::ffi::OsString;
use std::io::{BufWriter, Write};

use clap::Args;
use netpol::read::{Input, manifests};

use super::formats::Format;
use super::{Failure, say_error};

/// List who may reach whom: a line for each permitted pair
///
/// Pods of one workload are one end; what is outside the cluster is listed as ranges of
/// addresses. The lines are sorted, so that two lists can be compared.
///
/// Example: netpol list manifests/
#[derive(Debug, Args)]
pub(super) struct List {
    /// Files, folders, or - for standard input; NAMESPACE=PATH for what names no namespace
    #[arg(required = true, value_name = "[NAMESPACE=]PATH")]
    paths: Vec<OsString>,

    /// The form of the answer
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

impl List {
    pub(super) fn run(self) -> Result<(), Failure> {
        let inputs: Vec<_> = self.paths.into_iter().map(Input::from).collect();
        let manifests = manifests(&inputs, std::io::stdin().lock()).map_err(Failure::BadInput)?;
        for refusal in &manifests.refusals {
            say_error(&format_args!("warning: {refusal}"));
        }
        for pod in manifests.cluster.pods().iter().filter(|pod| pod.host_network) {
            say_error(&format_args!(
                "warning: {pod} uses its node's network, where policies are undefined; it is listed as if it had one of its own"
            ));
        }
        let mut out = BufWriter::new(std::io::stdout().lock());
        // A reader that has gone away has seen enough.
        let _ = self.output.write(&manifests.cluster, &mut out);
        let _ = out.flush();
        Ok(())
    }
}
