//! How long a pod's filter takes to replace, and a connection through it to open, by the number of peers.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Parser;
use hello_lab::node::network::{Network, PodNetwork};
use netpol::compile::{Accept, Behaviour, Filter, PeerSet, PodFilter, PortSet};
use netpol::nftables::Firewall;
use netpol::ranges::Addresses;
use random_cluster::kernel::enter_user_namespace;

/// Measure a pod's filter in the kernel by the number of its peers
#[derive(Debug, Parser)]
struct Cli {
    /// How many peers, several times
    #[arg(long, default_values_t = [1, 100, 1000, 10_000, 50_000])]
    peers: Vec<u32>,

    /// How often the filter is replaced
    #[arg(long, default_value_t = 20)]
    replacements: u32,

    /// How many connections are opened
    #[arg(long, default_value_t = 4000)]
    connections: u32,
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    enter_user_namespace().context("cannot have network namespaces")?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(run(cli))
}

async fn run(cli: Cli) -> anyhow::Result<()> {
    let network = Network::new().await?;
    let (client, server) = (network.add_pod().await?, network.add_pod().await?);
    let to = SocketAddr::new(server.address().into(), 80);
    let listener = server.run(|| std::net::TcpListener::bind(to))??;
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            drop(connection);
        }
    });
    let firewall = Firewall::open(server.namespace())?;
    println!("{:>8} {:>12} {:>14}", "peers", "replace ms", "connect us");
    for peers in cli.peers {
        let filter = filter(peers, client.address());
        let start = Instant::now();
        for _ in 0..cli.replacements {
            firewall.replace(&filter).await?;
        }
        let replace = start.elapsed() / cli.replacements;
        let connect = connect(&client, to, cli.connections)?;
        println!(
            "{peers:>8} {:>12.2} {:>14.1}",
            replace.as_secs_f64() * 1e3,
            connect.as_secs_f64() * 1e6
        );
    }
    Ok(())
}

/// Lets in as many peers, none beside another, and the client.
fn filter(peers: u32, client: Ipv4Addr) -> PodFilter {
    let mut addresses = Addresses::default();
    addresses.add(client.into());
    for index in 1..peers {
        addresses.add(Ipv4Addr::from(u32::from(Ipv4Addr::new(11, 0, 0, 0)) + 2 * index).into());
    }
    addresses.normalise();
    let accept = Accept { ports: PortSet::Everything, peers: PeerSet::Addresses(addresses) };
    PodFilter { ingress: Filter::Only(vec![accept]), ..PodFilter::open(&[], Behaviour::default()) }
}

/// The median time of a connection.
fn connect(client: &PodNetwork, to: SocketAddr, connections: u32) -> anyhow::Result<Duration> {
    let mut times = client.run(|| {
        (0..connections)
            .map(|_| {
                let start = Instant::now();
                std::net::TcpStream::connect(to).map(|_| start.elapsed())
            })
            .collect::<Result<Vec<_>, _>>()
    })??;
    times.sort_unstable();
    Ok(times[times.len() / 2])
}
