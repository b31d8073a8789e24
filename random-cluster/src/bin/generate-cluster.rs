//! Prints a random cluster as YAML documents that are JSON, one a line.

use std::io::{BufWriter, Write};

use clap::Parser;
use random_cluster::large::{Size, cluster};

/// Print a random cluster, for benchmarks
#[derive(Debug, Parser)]
struct Cli {
    /// How many workloads
    #[arg(long, default_value_t = 1000)]
    workloads: usize,

    /// How many policies
    #[arg(long, default_value_t = 200)]
    policies: usize,

    /// The same seed makes the same cluster
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> anyhow::Result<()> {
    let Cli { workloads, policies, seed } = Cli::parse();
    let mut out = BufWriter::new(std::io::stdout().lock());
    for object in cluster(Size { workloads, policies }, seed) {
        writeln!(out, "---\n{object}")?;
    }
    Ok(out.flush()?)
}
