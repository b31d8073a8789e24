//! Small clusters in the kernel: real namespaces in the lab's network, real tables, real sockets.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::Context;
use hello_lab::node::network::{NODE, NODE_V6, Network, PodNetwork};
use netpol::cluster::Cluster;
use netpol::compile::{Behaviour, PodFilter, compile};
use netpol::evaluate::{Connection, evaluate};
use netpol::isolation::End;
use netpol::nftables::Firewall;
use netpol::port::Protocol;
use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid};
use tokio::net::{TcpListener, TcpSocket, UdpSocket};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::small::{PODS, PORTS, SmallCluster, pod_name};

/// Namespaces that are no pod: the addresses outside.
const OUTSIDERS: usize = 2;

/// Long enough for a connection on one machine; what takes longer is tried again with [`PATIENCE`].
const MOMENT: Duration = Duration::from_millis(300);

/// Long enough for a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(5);

/// Every namespace with its servers, and who writes its table.
pub struct Kernel {
    network: Network,
    places: Vec<(PodNetwork, Firewall)>,
}

/// Where a probe begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// A pod, or what is outside, by its number: the pods come first.
    Place(usize),
    /// The node.
    Node,
}

/// One connection to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Where it begins.
    pub from: From,
    /// The number of the place that it goes to.
    pub to: usize,
    /// Whether by IPv6.
    pub v6: bool,
    /// The protocol.
    pub protocol: Protocol,
    /// The port.
    pub port: u16,
}

/// A probe that the kernel and the evaluator do not agree on.
#[derive(Clone, Copy, Debug)]
pub struct Difference {
    /// The probe.
    pub probe: Probe,
    /// What the evaluator says.
    pub expected: bool,
}

/// What a round found.
#[derive(Debug, Default)]
pub struct Found {
    /// Probes that the kernel and the evaluator do not agree on, in their order.
    pub differences: Vec<Difference>,
    /// How many probes the evaluator allows.
    pub allowed: usize,
}

impl Kernel {
    /// Makes the namespaces and starts the servers. Needs `CAP_SYS_ADMIN`, and a tokio runtime.
    pub async fn new() -> anyhow::Result<Self> {
        let network = Network::new().await?;
        let mut places = Vec::new();
        for _ in 0..PODS + OUTSIDERS {
            let place = network.add_pod().await?;
            for port in PORTS {
                let any = SocketAddr::from(([0_u16; 8], port));
                let listener = place.run(|| std::net::TcpListener::bind(any))??;
                listener.set_nonblocking(true)?;
                tokio::spawn(accept(TcpListener::from_std(listener)?));
                let socket = place.run(|| std::net::UdpSocket::bind(any))??;
                socket.set_nonblocking(true)?;
                tokio::spawn(echo(UdpSocket::from_std(socket)?));
            }
            let firewall = Firewall::open(place.namespace())?;
            // From now on connection tracking knows who opened what.
            firewall.replace(&PodFilter::open(&[], Behaviour::default())).await?;
            places.push((place, firewall));
        }
        Ok(Self { network, places })
    }

    /// How many places a probe can begin at or go to.
    #[must_use]
    pub fn places(&self) -> usize {
        self.places.len()
    }

    /// The addresses of every place.
    #[must_use]
    pub fn addresses(&self) -> Vec<Vec<IpAddr>> {
        self.places.iter().map(|(place, _)| place.addresses()).collect()
    }

    /// Whether there is IPv6.
    #[must_use]
    pub fn has_v6(&self) -> bool {
        self.places.iter().all(|(place, _)| place.addresses().len() == 2)
    }

    /// Puts a cluster's policies in force and tries `probes` all at once.
    pub async fn try_all(&self, small: &SmallCluster, probes: &[Probe]) -> anyhow::Result<Found> {
        let addresses = self.addresses();
        let cluster = small.read(&addresses);
        for (index, (_, firewall)) in self.places.iter().enumerate() {
            let nodes = [NODE.into(), NODE_V6.into()];
            let filter = match pod(&cluster, small, index) {
                Some(pod) => compile(&cluster, pod, &nodes, Behaviour::default()),
                None => PodFilter::open(&[], Behaviour::default()),
            };
            firewall.replace(&filter).await?;
        }
        let families = if self.has_v6() { 0..2 } else { 0..1 };
        // A connection has one address at each end, so the evaluator sees the pods with that alone.
        let views = families.map(|family| {
            let used: Vec<_> = addresses.iter().map(|of| vec![of[family]]).collect();
            (small.read(&used), used)
        });
        let views: Vec<_> = views.collect();
        let mut allowed = 0;
        let mut running = JoinSet::new();
        for (order, probe) in probes.iter().copied().enumerate() {
            let to = SocketAddr::new(addresses[probe.to][usize::from(probe.v6)], probe.port);
            let (cluster, used) = &views[usize::from(probe.v6)];
            let expected = expects(cluster, small, used, probe);
            allowed += usize::from(expected);
            let first = self.socket(probe, to)?;
            let second = self.socket(probe, to)?;
            running.spawn(async move {
                let passed = attempt(first, to, MOMENT).await
                    // A slow one is no difference yet.
                    || (expected && attempt(second, to, PATIENCE).await);
                (order, (passed != expected).then_some(Difference { probe, expected }))
            });
        }
        let mut tried = running.join_all().await;
        tried.sort_by_key(|(order, _)| *order);
        let differences = tried.into_iter().filter_map(|(_, difference)| difference).collect();
        Ok(Found { differences, allowed })
    }

    /// A socket of the place that the probe begins at.
    fn socket(&self, probe: Probe, to: SocketAddr) -> anyhow::Result<Socket> {
        let make = || {
            if probe.protocol == Protocol::Tcp {
                let domain = socket2::Domain::for_address(to);
                let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None)?;
                socket.set_nonblocking(true)?;
                return Ok(Made::Tcp(socket));
            }
            let any: IpAddr = if to.is_ipv6() { [0_u16; 8].into() } else { [0; 4].into() };
            let socket = std::net::UdpSocket::bind((any, 0))?;
            socket.set_nonblocking(true)?;
            Ok(Made::Udp(socket))
        };
        let made: io::Result<Made> = match probe.from {
            From::Place(place) => self.places[place].0.run(make)?,
            From::Node => self.network.run(make)?,
        };
        Ok(match made.context("cannot make a socket")? {
            Made::Tcp(socket) => Socket::Tcp(TcpSocket::from_std_stream(socket.into())),
            Made::Udp(socket) => Socket::Udp(UdpSocket::from_std(socket)?),
        })
    }
}

/// What the evaluator says.
fn expects(cluster: &Cluster, small: &SmallCluster, used: &[Vec<IpAddr>], probe: Probe) -> bool {
    let end = |place: usize| match pod(cluster, small, place) {
        Some(pod) => End::Pod(pod),
        None => End::Address(used[place][0]),
    };
    let source = match probe.from {
        From::Place(place) => end(place),
        From::Node => End::Node,
    };
    let Probe { protocol, port, .. } = probe;
    let connection = Connection { source, destination: end(probe.to), protocol, port };
    evaluate(cluster, &connection).allows()
}

enum Made {
    Tcp(socket2::Socket),
    Udp(std::net::UdpSocket),
}

enum Socket {
    Tcp(TcpSocket),
    Udp(UdpSocket),
}

/// Whether a connection is made, or an answer comes, within `patience`.
async fn attempt(socket: Socket, to: SocketAddr, patience: Duration) -> bool {
    match socket {
        Socket::Tcp(socket) => matches!(timeout(patience, socket.connect(to)).await, Ok(Ok(_))),
        Socket::Udp(socket) => {
            let exchange = async {
                socket.connect(to).await?;
                socket.send(b"probe").await?;
                socket.recv(&mut [0; 16]).await
            };
            matches!(timeout(patience, exchange).await, Ok(Ok(_)))
        }
    }
}

async fn accept(listener: TcpListener) {
    loop {
        // The handshake is the kernel's; what is connected is let go of at once.
        let _ = listener.accept().await;
    }
}

async fn echo(socket: UdpSocket) {
    let mut buffer = [0; 16];
    loop {
        if let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            let _ = socket.send_to(&buffer[..length], from).await;
        }
    }
}

/// The pod of this place; none, where it is outside.
fn pod<'a>(
    cluster: &'a Cluster,
    small: &SmallCluster,
    place: usize,
) -> Option<&'a netpol::cluster::Pod> {
    let namespace = crate::small::NAMESPACES[small.pods.get(place)?.namespace];
    cluster.pod(namespace, &pod_name(place))
}

/// Becomes root of a user namespace, if the kernel asks for it. Called while there is one thread.
pub fn enter_user_namespace() -> anyhow::Result<()> {
    match unshare(CloneFlags::CLONE_NEWNET) {
        Ok(()) => return Ok(()),
        Err(Errno::EPERM) => {}
        Err(errno) => return Err(errno.into()),
    }
    let (user, group) = (geteuid(), getegid());
    unshare(CloneFlags::CLONE_NEWUSER)?;
    std::fs::write("/proc/self/setgroups", "deny")?;
    std::fs::write("/proc/self/uid_map", format!("0 {user} 1\n"))?;
    std::fs::write("/proc/self/gid_map", format!("0 {group} 1\n"))?;
    unshare(CloneFlags::CLONE_NEWNET)?;
    Ok(())
}
