//! What the tests share: a reading of compiled filters that asks nothing of the evaluator.

use std::net::IpAddr;

use netpol::cluster::{Cluster, Pod};
use netpol::compile::{Behaviour, Filter, PeerSet, PortSet, compile};
use netpol::evaluate::Connection;
use netpol::isolation::Party;
use netpol::port::Protocol;

/// Whether the filters of both ends let a new connection pass, as the kernel reads them. A pod
/// reaches itself past its filters.
pub fn filters_pass(cluster: &Cluster, connection: &Connection<'_>) -> bool {
    let Connection { source, destination, protocol, port } = *connection;
    let (from, to) = (first_address(source), first_address(destination));
    if from == to {
        return true;
    }
    let of = |pod: &Pod| compile(cluster, pod, &[], Behaviour::default());
    let out = match source {
        Party::Pod(pod) => passes(&of(pod).egress, to, protocol, port),
        _ => true,
    };
    let inwards = match destination {
        Party::Pod(pod) => passes(&of(pod).ingress, from, protocol, port),
        _ => true,
    };
    out && inwards
}

fn first_address(party: Party<'_>) -> IpAddr {
    match party {
        Party::Pod(pod) => pod.addresses[0],
        Party::Address(address) => address,
        Party::Node => panic!("a node passes without a filter"),
    }
}

fn passes(filter: &Filter, peer: IpAddr, protocol: Protocol, port: u16) -> bool {
    let Filter::Only(accepts) = filter else { return true };
    accepts.iter().any(|accept| {
        let port_passes = match accept.ports {
            PortSet::Everything => true,
            PortSet::Protocol(of) => of == protocol,
            PortSet::Range(of, range) => of == protocol && range.contains(port),
        };
        let peer_passes = match (&accept.peers, peer) {
            (PeerSet::Everyone, _) => true,
            (PeerSet::Addresses(addresses), IpAddr::V4(peer)) => {
                addresses.v4().any(|(first, last)| (first..=last).contains(&peer))
            }
            (PeerSet::Addresses(addresses), IpAddr::V6(peer)) => {
                addresses.v6().any(|(first, last)| (first..=last).contains(&peer))
            }
        };
        port_passes && peer_passes
    })
}
