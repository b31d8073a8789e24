//! Tries whether the kernel does what the evaluator says.

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use random_cluster::kernel::{Difference, From, Kernel, Probe, enter_user_namespace};
use random_cluster::small::{PORTS, PROTOCOLS, SmallCluster, cluster};

/// Probes of one cluster, all at once.
const PROBES_A_ROUND: usize = 100;

/// How often a cluster that fails is made smaller and tried again.
const SHRINKING_STEPS: usize = 300;

/// Try random clusters and policies in the kernel, and compare with the evaluator
///
/// Makes network namespaces of its own, as root or as an ordinary user who may have user namespaces.
/// Exits 1 at the first difference, with the smallest cluster that it finds for it.
#[derive(Clone, Copy, Debug, Parser)]
struct Cli {
    /// How many connections to try
    #[arg(long, default_value_t = 2000)]
    probes: usize,

    /// Where the clusters come from; a new one each time, unless given
    #[arg(long)]
    seed: Option<u64>,

    /// Tries this round alone
    #[arg(long)]
    round: Option<u64>,
}

fn main() -> anyhow::Result<ExitCode> {
    let cli = Cli::parse();
    enter_user_namespace().context("cannot have network namespaces")?;
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(run(cli))
}

async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let seed = cli.seed.unwrap_or_else(rand::random);
    println!("seed {seed}");
    let kernel = Kernel::new().await?;
    let rounds = match cli.round {
        Some(round) => round..round + 1,
        None => 0..u64::try_from(cli.probes.div_ceil(PROBES_A_ROUND))?,
    };
    let (mut tried, mut allowed, mut isolated) = (0, 0, 0);
    for round in rounds {
        let mut runner = runner(seed, round);
        let mut tree = cluster(kernel.addresses().concat())
            .new_tree(&mut runner)
            .map_err(|reason| anyhow::anyhow!("cannot make a cluster: {reason}"))?;
        let probes = probes(&mut runner, kernel.places(), kernel.has_v6())?;
        let found = kernel.try_all(&tree.current(), &probes).await?;
        if let Some(difference) = found.differences.first() {
            let small = shrink(&kernel, &mut tree, difference.probe).await?;
            report(&kernel, &small, difference, seed, round);
            return Ok(ExitCode::FAILURE);
        }
        tried += probes.len();
        allowed += found.allowed;
        isolated += usize::from(found.allowed < probes.len());
    }
    println!(
        "{tried} probes, {allowed} of them allowed, {isolated} clusters denied some: no difference"
    );
    Ok(ExitCode::SUCCESS)
}

fn runner(seed: u64, round: u64) -> TestRunner {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes[8..16].copy_from_slice(&round.to_le_bytes());
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    TestRunner::new_with_rng(Config { failure_persistence: None, ..Config::default() }, random)
}

fn probes(runner: &mut TestRunner, places: usize, has_v6: bool) -> anyhow::Result<Vec<Probe>> {
    let from = prop_oneof![19 => (0..places).prop_map(From::Place), 1 => Just(From::Node)];
    let v6 = any::<bool>().prop_map(move |v6| v6 && has_v6);
    let (protocol, port) =
        (prop::sample::select(PROTOCOLS.to_vec()), prop::sample::select(PORTS.to_vec()));
    let probe = (from, 0..places, v6, protocol, port)
        .prop_map(|(from, to, v6, protocol, port)| Probe { from, to, v6, protocol, port });
    prop::collection::vec(probe, PROBES_A_ROUND)
        .new_tree(runner)
        .map(|tree| tree.current())
        .map_err(|reason| anyhow::anyhow!("cannot make probes: {reason}"))
}

/// The smallest cluster found for which the kernel and the evaluator differ on `probe`.
async fn shrink(
    kernel: &Kernel,
    tree: &mut impl ValueTree<Value = SmallCluster>,
    probe: Probe,
) -> anyhow::Result<SmallCluster> {
    let mut smallest = tree.current();
    for _ in 0..SHRINKING_STEPS {
        let differs = !kernel.try_all(&tree.current(), &[probe]).await?.differences.is_empty();
        if differs {
            smallest = tree.current();
        }
        if !(if differs { tree.simplify() } else { tree.complicate() }) {
            break;
        }
    }
    Ok(smallest)
}

fn report(kernel: &Kernel, small: &SmallCluster, difference: &Difference, seed: u64, round: u64) {
    let Difference { probe, expected } = difference;
    println!("{}", small.manifest(&kernel.addresses()));
    let word = |allowed: bool| if allowed { "allowed" } else { "denied" };
    println!("{probe:?}: the evaluator says {}, the kernel {}", word(*expected), word(!*expected));
    println!("the same again: differential --seed {seed} --round {round}");
}
