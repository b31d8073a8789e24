//! Whether a filter's replacement loses what it permits, or lets through what it denies: replaced again and
//! again under traffic of both.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Parser;
use hello_lab::node::network::services::{ServicePort, ServiceTable};
use hello_lab::node::network::{Network, PodNetwork};
use netpol::compile::{Accept, Behaviour, Filter, PeerSet, PodFilter, PortSet};
use netpol::nftables::Firewall;
use netpol::port::{PortRange, Protocol};
use netpol::ranges::Addresses;
use random_cluster::kernel::enter_user_namespace;

/// Replace filters under permitted and denied traffic, and count what was lost and what got through
#[derive(Debug, Parser)]
struct Cli {
    /// How often the filters are replaced
    #[arg(long, default_value_t = 2000)]
    replacements: u32,

    /// How many packets of each kind must have been tried before the last replacement
    #[arg(long, default_value_t = 5000)]
    at_least: u64,
}

const TCP: u16 = 80;
const UDP: u16 = 81;

/// The address of the server's Service, by which the client connects.
const SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 8, 8);

/// After so many replacements somebody else goes on, who finds the tables as they are.
const RESTART_EVERY: u32 = 100;

/// How long an answer may take on a machine that is busy; what takes longer is lost.
const PATIENCE: Duration = Duration::from_secs(3);

/// Between two packets of one client: who replaces the filters needs a processor, too.
const BREATH: Duration = Duration::from_micros(100);

#[derive(Default)]
struct Counts {
    /// TCP connections of the permitted client.
    connects: AtomicU64,
    /// Its datagrams.
    datagrams: AtomicU64,
    /// Those of them that nothing came back for.
    datagrams_lost: AtomicU64,
    /// Packets of the denied client.
    denied: AtomicU64,
    /// Those that got through.
    through: AtomicU64,
    ended: AtomicBool,
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    enter_user_namespace().context("cannot have network namespaces")?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(run(cli))
}

async fn run(cli: Cli) -> anyhow::Result<()> {
    let network = Network::new().await?;
    let server = network.add_pod().await?;
    let (client, stranger) = (network.add_pod().await?, network.add_pod().await?);
    let mut at_server = Firewall::open(server.namespace())?;
    let mut at_client = Firewall::open(client.namespace())?;
    let at_stranger = Firewall::open(stranger.namespace())?;
    at_stranger.replace(&PodFilter::open(&[], Behaviour::default())).await?;
    let filters = |round: u32| {
        let ingress = only(client.address(), round, TCP, UDP);
        let egress = only(server.address(), round, TCP, UDP);
        let open = PodFilter::open(&[], Behaviour::default());
        (PodFilter { ingress, ..open.clone() }, PodFilter { egress, ..open })
    };
    let (ingress, egress) = filters(0);
    at_server.replace(&ingress).await?;
    at_client.replace(&egress).await?;

    let counts = Arc::new(Counts::default());
    let (tcp, udp) = (SocketAddr::new(server.address().into(), TCP), (server.address(), UDP));
    let services = ServiceTable::open(client.namespace())?;
    services.replace(&service_ports(server.address(), 0)).await?;
    let by_service = SocketAddr::new(SERVICE.into(), TCP);
    serve(&server, stranger.address().into(), &counts)?;
    let busy = [
        start(&client, &counts, move |counts| connect(by_service, counts))?,
        start(&client, &counts, move |counts| ask(udp.into(), counts))?,
        start(&stranger, &counts, move |counts| knock(tcp, udp.into(), counts))?,
    ];
    let retransmitted = syn_retransmissions(&client)?;
    let began = Instant::now();
    let mut replaced = 0;
    let enough = |count: &AtomicU64| count.load(Ordering::Relaxed) >= cli.at_least;
    while replaced < cli.replacements
        || !(enough(&counts.connects) && enough(&counts.datagrams) && enough(&counts.denied))
    {
        replaced += 1;
        if replaced % RESTART_EVERY == 0 {
            at_server = Firewall::open(server.namespace())?;
            at_client = Firewall::open(client.namespace())?;
        }
        let (ingress, egress) = filters(replaced);
        at_server.replace(&ingress).await?;
        at_client.replace(&egress).await?;
        services.replace(&service_ports(server.address(), replaced)).await?;
        // Fast machines would be through before much is under way.
        tokio::time::sleep(Duration::from_micros(500)).await;
    }
    let took = began.elapsed();
    counts.ended.store(true, Ordering::Relaxed);
    for thread in busy {
        thread.join().map_err(|_| anyhow::anyhow!("a client panicked"))??;
    }
    let connects_lost = syn_retransmissions(&client)? - retransmitted;
    let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
    println!(
        "{replaced} replacements of two filters and the Services in {:.1} s",
        took.as_secs_f64()
    );
    println!("{connects_lost} of {} connections lost", of(&counts.connects));
    println!("{} of {} datagrams lost", of(&counts.datagrams_lost), of(&counts.datagrams));
    println!("{} of {} denied packets through", of(&counts.through), of(&counts.denied));
    Ok(())
}

/// The Service of the server, and each round others beside it.
fn service_ports(server: Ipv4Addr, round: u32) -> Vec<ServicePort> {
    let port = |address, endpoint| ServicePort {
        address,
        protocol: Protocol::Tcp,
        port: TCP,
        endpoints: vec![SocketAddrV4::new(endpoint, TCP)],
    };
    let nobody = Ipv4Addr::new(10, 244, 200, 200);
    let others = 0..u8::try_from(round % 5).unwrap_or_default();
    let others = others.map(|index| port(Ipv4Addr::new(10, 96, 9, index), nobody));
    others.chain([port(SERVICE, server)]).collect()
}

/// Permits `peer` at both ports: each round among other peers, in other sets, by other rules.
fn only(peer: Ipv4Addr, round: u32, tcp: u16, udp: u16) -> Filter {
    let mut addresses = Addresses::default();
    addresses.add(peer.into());
    for index in 0..round % 7 {
        addresses.add(Ipv4Addr::from(u32::from(Ipv4Addr::new(11, 0, 0, 0)) + 2 * index).into());
    }
    addresses.normalise();
    let accept = |ports| Accept { ports, peers: PeerSet::Addresses(addresses.clone()) };
    let port = |protocol, port| accept(PortSet::Range(protocol, PortRange::single(port)));
    Filter::Only(match round % 3 {
        0 => vec![accept(PortSet::Everything)],
        1 => vec![port(Protocol::Tcp, tcp), port(Protocol::Udp, udp)],
        _ => vec![accept(PortSet::Protocol(Protocol::Udp)), port(Protocol::Tcp, tcp)],
    })
}

fn start(
    pod: &PodNetwork,
    counts: &Arc<Counts>,
    work: impl FnOnce(&Counts) -> io::Result<()> + Send + 'static,
) -> anyhow::Result<JoinHandle<io::Result<()>>> {
    let counts = Arc::clone(counts);
    // A thread stays in the namespace of the thread that started it.
    Ok(pod.run(|| std::thread::spawn(move || work(&counts)))?)
}

/// Answers whoever comes, and counts those that must not.
fn serve(server: &PodNetwork, stranger: IpAddr, counts: &Arc<Counts>) -> anyhow::Result<()> {
    let any = |port| SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
    let listener = server.run(|| TcpListener::bind(any(TCP)))??;
    let socket = server.run(|| UdpSocket::bind(any(UDP)))??;
    let (at_tcp, at_udp) = (Arc::clone(counts), Arc::clone(counts));
    std::thread::spawn(move || {
        loop {
            let Ok((mut stream, from)) = listener.accept() else { continue };
            if from.ip() == stranger {
                at_tcp.through.fetch_add(1, Ordering::Relaxed);
            }
            let _ = stream.write_all(b"!");
        }
    });
    std::thread::spawn(move || {
        let mut buffer = [0; 8];
        loop {
            let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
            if from.ip() == stranger {
                at_udp.through.fetch_add(1, Ordering::Relaxed);
            }
            let _ = socket.send_to(&buffer[..length], from);
        }
    });
    Ok(())
}

fn connect(to: SocketAddr, counts: &Counts) -> io::Result<()> {
    while !counts.ended.load(Ordering::Relaxed) {
        counts.connects.fetch_add(1, Ordering::Relaxed);
        let mut stream = TcpStream::connect(to)?;
        stream.read_exact(&mut [0])?;
        // Without it the closed ones would use up the ports.
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
        std::thread::sleep(BREATH);
    }
    Ok(())
}

/// Sends datagrams, each when the one before it has been answered or is lost.
fn ask(to: SocketAddr, counts: &Counts) -> io::Result<()> {
    let mut number = 0_u64;
    while !counts.ended.load(Ordering::Relaxed) {
        // Each from a port of its own, so that no datagram is more than the first of its connection.
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.connect(to)?;
        number += 1;
        counts.datagrams.fetch_add(1, Ordering::Relaxed);
        let mut answer = [0; 8];
        let sent = socket.send(&number.to_be_bytes());
        if sent.is_err() || socket.recv(&mut answer).is_err() || answer != number.to_be_bytes() {
            counts.datagrams_lost.fetch_add(1, Ordering::Relaxed);
        }
        std::thread::sleep(BREATH);
    }
    Ok(())
}

/// Sends what is denied.
fn knock(tcp: SocketAddr, udp: SocketAddr, counts: &Counts) -> io::Result<()> {
    while !counts.ended.load(Ordering::Relaxed) {
        let domain = socket2::Domain::IPV4;
        let stream = socket2::Socket::new(domain, socket2::Type::STREAM, None)?;
        stream.set_nonblocking(true)?;
        let _ = stream.connect(&tcp.into());
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        let _ = socket.send_to(b"?", udp);
        counts.denied.fetch_add(2, Ordering::Relaxed);
        std::thread::sleep(BREATH);
    }
    Ok(())
}

/// How many SYNs have been sent again in a pod: after a second, so one was lost.
fn syn_retransmissions(pod: &PodNetwork) -> anyhow::Result<u64> {
    let text = pod.run(|| std::fs::read_to_string("/proc/thread-self/net/netstat"))??;
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("TcpExt: "));
    let (names, values) = lines.next().zip(lines.next()).context("no TcpExt counters")?;
    let mut pairs = names.split(' ').zip(values.split(' '));
    let (_, value) = pairs.find(|(name, _)| *name == "TCPSynRetrans").context("no such counter")?;
    Ok(value.parse()?)
}
