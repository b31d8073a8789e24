//! The lab's network: one namespace for the node with a bridge, and one for each pod, joined
//! to the bridge by a veth pair. Pods have an address of IPv4, by which Services find them, and, where
//! the kernel has it, one of IPv6.
//!
//! Nothing here has a name outside the lab, and nothing of the host's own network changes:
//! a namespace goes when its last process and its last open file go.

mod address_pool;
pub mod services;
mod source_address;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use hello_common::error::Whole;
use nix::sched::{CloneFlags, unshare};
use nlink::netlink::addr::{Ipv4Address, Ipv6Address};
use nlink::netlink::link::{BridgeLink, VethLink};
use nlink::netlink::namespace::Netns;
use nlink::netlink::route::{Ipv4Route, Ipv6Route};
use nlink::netlink::{Connection, Route};

use self::address_pool::AddressPool;

/// The node's address on the bridge, which is the pods' gateway.
pub const NODE: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 1);
/// The pods' network.
pub const POD_NETWORK: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 0);
/// Its prefix length.
pub const POD_PREFIX: u8 = 16;
/// The node's address of IPv6; a pod's ends as its address of IPv4 does.
pub const NODE_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x10, 0x244, 0, 0, 0, 0, 1);
/// The prefix length of the pods' network of IPv6.
pub const POD_PREFIX_V6: u8 = 64;

const BRIDGE: &str = "cni0";
const POD_DEVICE: &str = "eth0";

/// Why something of the network could not be made.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// The kernel refused a namespace.
    #[error("cannot make a network namespace")]
    Namespace(#[source] io::Error),
    /// The kernel refused a change over netlink.
    #[error("cannot {action}")]
    Netlink {
        /// What was tried.
        action: &'static str,
        /// What the kernel said.
        #[source]
        cause: Whole<nlink::netlink::Error>,
    },
    /// Every address is in use.
    #[error("no address is left in {POD_NETWORK}/{POD_PREFIX}")]
    NoAddress,
}

/// Turns a netlink error into ours, naming what was tried.
trait Doing<T> {
    fn doing(self, action: &'static str) -> Result<T, NetworkError>;
}

impl<T> Doing<T> for nlink::netlink::Result<T> {
    fn doing(self, action: &'static str) -> Result<T, NetworkError> {
        self.map_err(|cause| NetworkError::Netlink { action, cause: Whole(cause) })
    }
}

/// The node's side of the network. Clones share it.
#[derive(Clone)]
pub struct Network(Arc<Node>);

struct Node {
    namespace: Netns,
    route: Connection<Route>,
    addresses: Mutex<AddressPool>,
    has_v6: bool,
    devices: AtomicU32,
}

/// A pod's network namespace and its addresses there.
pub struct PodNetwork {
    namespace: Netns,
    address: Ipv4Addr,
    address_v6: Option<Ipv6Addr>,
    node: Network,
}

impl Network {
    /// Makes the node's namespace with its bridge. Needs `CAP_SYS_ADMIN`, and a tokio runtime.
    pub async fn new() -> Result<Self, NetworkError> {
        let namespace = new_namespace()?;
        let route: Connection<Route> =
            Connection::new_in(&namespace).doing("reach the node's network")?;
        route.set_link_up("lo").await.doing("bring up the node's loopback")?;
        let bridge = BridgeLink::new(BRIDGE).address([0x02, 0x42, 0x0a, 0xf4, 0x00, 0x01]);
        route.add_link(bridge).await.doing("make the bridge")?;
        let address = Ipv4Address::new(BRIDGE, NODE, POD_PREFIX);
        route.add_address(address).await.doing("give the bridge its address")?;
        // Nobody else can have it, so there is nothing to wait for (RFC 4862, duplicate addresses).
        let address_v6 = Ipv6Address::new(BRIDGE, NODE_V6, POD_PREFIX_V6).nodad();
        let has_v6 = route.add_address(address_v6).await.is_ok();
        route.set_link_up(BRIDGE).await.doing("bring up the bridge")?;
        Ok(Self(Arc::new(Node {
            namespace,
            route,
            addresses: Mutex::new(AddressPool::new(NODE, POD_PREFIX)),
            has_v6,
            devices: AtomicU32::new(0),
        })))
    }

    /// Makes a namespace for a pod, with an address and a way to every other pod.
    pub async fn add_pod(&self) -> Result<PodNetwork, NetworkError> {
        let address = self.addresses().take().ok_or(NetworkError::NoAddress)?;
        let namespace = new_namespace()?;
        // From here on dropping it gives the address back.
        let address_v6 = self.0.has_v6.then(|| v6_of(address));
        let pod = PodNetwork { namespace, address, address_v6, node: self.clone() };
        // Connections that are older than their first filter must not be picked up by
        // connection tracking: it might take the server for the client. Where /proc/sys is
        // read-only the filter that is loaded before the pod's first process has to do.
        let _ = pod.namespace.sysctl().set("net.netfilter.nf_conntrack_tcp_loose", "0");
        // Containers have no capabilities, and port 80 is the pod's own: as in Docker and containerd.
        let _ = pod.namespace.sysctl().set("net.ipv4.ip_unprivileged_port_start", "0");

        let device = format!("veth{}", self.0.devices.fetch_add(1, Ordering::Relaxed));
        let veth = VethLink::new(&device, POD_DEVICE).peer_netns_fd(&pod.namespace);
        let node = &self.0.route;
        node.add_link(veth).await.doing("make a pod's veth pair")?;
        node.set_link_master(device.as_str(), BRIDGE).await.doing("join a pod to the bridge")?;
        node.set_link_up(device.as_str()).await.doing("bring up a pod's veth")?;

        let inside: Connection<Route> =
            Connection::new_in(&pod.namespace).doing("reach a pod's network")?;
        inside.set_link_up("lo").await.doing("bring up a pod's loopback")?;
        let address = Ipv4Address::new(POD_DEVICE, address, POD_PREFIX);
        inside.add_address(address).await.doing("give a pod its address")?;
        inside.set_link_up(POD_DEVICE).await.doing("bring up a pod's device")?;
        let gateway = Ipv4Route::new(Ipv4Addr::UNSPECIFIED, 0).gateway(NODE);
        inside.add_route(gateway).await.doing("give a pod its route")?;
        if let Some(own) = pod.address_v6 {
            let address = Ipv6Address::new(POD_DEVICE, own, POD_PREFIX_V6).nodad();
            inside.add_address(address).await.doing("give a pod its address of IPv6")?;
            let gateway = Ipv6Route::new(Ipv6Addr::UNSPECIFIED, 0).gateway(NODE_V6);
            inside.add_route(gateway).await.doing("give a pod its route of IPv6")?;
            source_address::hold(pod.namespace(), own).await?;
        }
        Ok(pod)
    }

    /// Opens a TCP connection from the node, as probes do.
    pub async fn connect(&self, to: SocketAddr) -> io::Result<tokio::net::TcpStream> {
        self.run(|| tokio_socket(to.is_ipv6()))??.connect(to).await
    }

    /// Runs `f` on a thread in the node's namespace: sockets that it makes are the node's.
    pub fn run<T: Send>(&self, f: impl FnOnce() -> T + Send) -> io::Result<T> {
        self.0.namespace.run(f).map_err(io::Error::other)
    }

    fn addresses(&self) -> std::sync::MutexGuard<'_, AddressPool> {
        self.0.addresses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PodNetwork {
    /// Opens a TCP connection from the pod.
    pub async fn connect(&self, to: SocketAddr) -> io::Result<tokio::net::TcpStream> {
        self.run(|| tokio_socket(to.is_ipv6()))??.connect(to).await
    }

    /// The pod's address of IPv4.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// All of the pod's addresses, that of IPv4 first.
    #[must_use]
    pub fn addresses(&self) -> Vec<IpAddr> {
        [Some(self.address.into()), self.address_v6.map(IpAddr::V6)].into_iter().flatten().collect()
    }

    /// The namespace, as an open file.
    #[must_use]
    pub fn namespace(&self) -> BorrowedFd<'_> {
        self.namespace.as_fd()
    }

    /// Runs `f` on a thread in the namespace: sockets that it makes, and processes that it
    /// starts, are the pod's.
    pub fn run<T: Send>(&self, f: impl FnOnce() -> T + Send) -> io::Result<T> {
        self.namespace.run(f).map_err(io::Error::other)
    }
}

impl Drop for PodNetwork {
    fn drop(&mut self) {
        self.node.addresses().give_back(self.address);
    }
}

/// The address of IPv6 that goes with `address`.
fn v6_of(address: Ipv4Addr) -> Ipv6Addr {
    let [_, _, high, low] = address.octets();
    let mut segments = NODE_V6.segments();
    segments[7] = u16::from_be_bytes([high, low]);
    segments.into()
}

/// Whether the kernel has SCTP; to ask loads its module, where there is one.
#[must_use]
pub fn kernel_has_sctp() -> bool {
    use socket2::{Domain, Protocol, Socket, Type};
    Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::SCTP)).is_ok()
}

/// A socket of the calling thread's network namespace.
fn tokio_socket(v6: bool) -> io::Result<tokio::net::TcpSocket> {
    if v6 { tokio::net::TcpSocket::new_v6() } else { tokio::net::TcpSocket::new_v4() }
}

/// A new, empty network namespace, held by its open file alone.
fn new_namespace() -> Result<Netns, NetworkError> {
    // Only the thread that asks moves there, so it asks on a thread of its own.
    let thread = std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).map_err(|errno| NetworkError::Namespace(errno.into()))?;
        Netns::current().doing("open a network namespace")
    });
    thread.join().unwrap_or_else(|_| Err(NetworkError::Namespace(io::Error::other("panicked"))))
}
