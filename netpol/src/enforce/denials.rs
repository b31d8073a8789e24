//! What the kernel denied, as it happens: packets of the log group that
//! [`crate::nftables`] sends a packet of each denied peer to.

use std::net::IpAddr;

use etherparse::{LaxNetSlice, LaxSlicedPacket, TransportSlice};
use futures_util::{Stream, StreamExt};
use nlink::netlink::nflog::NflogPacket;
use nlink::netlink::{Connection, Nflog};

use crate::nftables::{KernelError, LOGGED_BYTES};
use crate::policy::Direction;
use crate::port::Protocol;

/// A packet that no rule allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denial {
    /// Whether it came to the pod or from it.
    pub direction: Direction,
    /// Where it was from.
    pub source: IpAddr,
    /// Where it was going.
    pub destination: IpAddr,
    /// Its protocol and destination port, of one that policies know.
    pub port: Option<(Protocol, u16)>,
}

/// The denials that the kernel tells `group` of, in the network namespace that this process is
/// in. One listener a group.
pub async fn denials(group: u16) -> Result<impl Stream<Item = Denial> + Unpin, KernelError> {
    let failed = KernelError::in_doing("listen for denied packets");
    let connection = Connection::<Nflog>::new().map_err(failed)?;
    connection.bind_group(group, LOGGED_BYTES).await.map_err(failed)?;
    let packets = connection.into_events().await;
    // An error is an overflow: lines are lost, verdicts are not.
    Ok(Box::pin(packets.filter_map(async |packet| packet.ok().as_ref().and_then(Denial::of))))
}

impl Denial {
    fn of(packet: &NflogPacket) -> Option<Self> {
        let direction = match packet.prefix.as_deref()? {
            "ingress" => Direction::Ingress,
            "egress" => Direction::Egress,
            _ => return None,
        };
        Self::read(direction, &packet.payload)
    }

    /// Reads the headers of a packet, whose end may be missing.
    fn read(direction: Direction, packet: &[u8]) -> Option<Self> {
        let packet = LaxSlicedPacket::from_ip(packet).ok()?;
        let (source, destination): (IpAddr, IpAddr) = match packet.net? {
            LaxNetSlice::Ipv4(ip) => {
                (ip.header().source_addr().into(), ip.header().destination_addr().into())
            }
            LaxNetSlice::Ipv6(ip) => {
                (ip.header().source_addr().into(), ip.header().destination_addr().into())
            }
            LaxNetSlice::Arp(_) => return None,
        };
        let port = match packet.transport {
            Some(TransportSlice::Tcp(tcp)) => Some((Protocol::Tcp, tcp.destination_port())),
            Some(TransportSlice::Udp(udp)) => Some((Protocol::Udp, udp.destination_port())),
            _ => None,
        };
        Some(Self { direction, source, destination, port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_headers_of_a_packet_that_is_cut_short_are_read() {
        let mut syn = Vec::new();
        etherparse::PacketBuilder::ipv4([10, 0, 0, 2], [10, 0, 0, 1], 64)
            .tcp(40_000, 8080, 1, 1024)
            .syn()
            .write(&mut syn, &[0; 200])
            .unwrap();
        let denial = Denial {
            direction: Direction::Ingress,
            source: [10, 0, 0, 2].into(),
            destination: [10, 0, 0, 1].into(),
            port: Some((Protocol::Tcp, 8080)),
        };
        assert_eq!(Denial::read(Direction::Ingress, &syn), Some(denial));
        assert_eq!(Denial::read(Direction::Ingress, &syn[..128]), Some(denial));
        let no_port = Denial { port: None, ..denial };
        assert_eq!(Denial::read(Direction::Ingress, &syn[..22]), Some(no_port));
        assert_eq!(Denial::read(Direction::Ingress, &syn[..10]), None);
    }

    #[test]
    fn ipv6_and_udp_are_read_too() {
        let (source, destination) = ([0xfd; 16], [0xfe; 16]);
        let mut query = Vec::new();
        etherparse::PacketBuilder::ipv6(source, destination, 64)
            .udp(40_000, 53)
            .write(&mut query, b"?")
            .unwrap();
        let denial = Denial::read(Direction::Egress, &query).unwrap();
        assert_eq!((denial.source, denial.destination), (source.into(), destination.into()));
        assert_eq!(denial.port, Some((Protocol::Udp, 53)));
    }
}
