//! Sets of connections between two ends: which ports of which protocols.

use std::fmt;

use crate::port::{PortRange, Protocol};

/// Ports of each protocol. Everything, where every port of every protocol is in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Connections([Ports; 3]);

/// Disjoint, sorted ranges of ports that do not touch each other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Ports(Vec<PortRange>);

const EVERY_PORT: PortRange = PortRange { first: 1, last: u16::MAX };

impl Connections {
    /// No connection.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Every connection.
    #[must_use]
    pub fn all() -> Self {
        Self([(); 3].map(|()| Ports(vec![EVERY_PORT])))
    }

    /// Adds a range of ports.
    pub fn add(&mut self, protocol: Protocol, range: PortRange) {
        let ports = &mut self.0[protocol as usize];
        ports.0.push(range);
        ports.normalise();
    }

    /// Adds every port of a protocol.
    pub fn add_protocol(&mut self, protocol: Protocol) {
        self.0[protocol as usize] = Ports(vec![EVERY_PORT]);
    }

    /// Adds what is in `other`.
    pub fn extend(&mut self, other: &Self) {
        for (ports, more) in self.0.iter_mut().zip(&other.0) {
            if ports != more && !more.0.is_empty() {
                ports.0.extend(&more.0);
                ports.normalise();
            }
        }
    }

    /// What is in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let both = |index: usize| self.0[index].intersection(&other.0[index]);
        Self([both(0), both(1), both(2)])
    }

    /// What is in this one and not in `other`.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        let rest = |index: usize| self.0[index].difference(&other.0[index]);
        Self([rest(0), rest(1), rest(2)])
    }

    /// The ranges of ports, in the order of protocol and port.
    pub fn ranges(&self) -> impl Iterator<Item = (Protocol, PortRange)> {
        let of = |protocol: Protocol| self.0[protocol as usize].0.iter();
        Protocol::ALL
            .into_iter()
            .flat_map(move |protocol| of(protocol).map(move |range| (protocol, *range)))
    }

    /// Whether it is every connection.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.0.iter().all(|ports| ports.0 == [EVERY_PORT])
    }

    /// Whether it is no connection.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.0.iter().all(|ports| ports.0.is_empty())
    }

    /// Whether this port is in it.
    #[must_use]
    pub fn contains(&self, protocol: Protocol, port: u16) -> bool {
        self.0[protocol as usize].0.iter().any(|range| range.contains(port))
    }
}

/// `All Connections`, `No Connections`, or `TCP 80,8080-8090,UDP 53`.
impl fmt::Display for Connections {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_all() {
            return out.write_str("All Connections");
        }
        if self.is_none() {
            return out.write_str("No Connections");
        }
        let mut comma = "";
        for protocol in Protocol::ALL {
            let ports = &self.0[protocol as usize].0;
            if ports.is_empty() {
                continue;
            }
            write!(out, "{comma}{protocol} ")?;
            for (index, range) in ports.iter().enumerate() {
                write!(out, "{}{range}", if index == 0 { "" } else { "," })?;
            }
            comma = ",";
        }
        Ok(())
    }
}

impl Ports {
    fn normalise(&mut self) {
        self.0.sort_unstable();
        let mut merged: Vec<PortRange> = Vec::with_capacity(self.0.len());
        for range in self.0.drain(..) {
            match merged.last_mut() {
                Some(before) if range.first <= before.last.saturating_add(1) => {
                    before.last = before.last.max(range.last);
                }
                _ => merged.push(range),
            }
        }
        self.0 = merged;
    }

    fn intersection(&self, other: &Self) -> Self {
        if self == other {
            return self.clone();
        }
        let mut both = Vec::new();
        let (mut ours, mut theirs) = (self.0.iter().peekable(), other.0.iter().peekable());
        while let (Some(one), Some(two)) = (ours.peek(), theirs.peek()) {
            let range = PortRange { first: one.first.max(two.first), last: one.last.min(two.last) };
            if range.first <= range.last {
                both.push(range);
            }
            if one.last < two.last {
                ours.next()
            } else {
                theirs.next()
            };
        }
        Self(both)
    }

    fn difference(&self, other: &Self) -> Self {
        let mut rest = self.0.clone();
        for cut in &other.0 {
            let pieces = rest.into_iter().flat_map(|range| {
                let before = (range.first < cut.first)
                    .then(|| PortRange { last: range.last.min(cut.first - 1), ..range });
                let after = (range.last > cut.last)
                    .then(|| PortRange { first: range.first.max(cut.last + 1), ..range });
                [before, after]
            });
            rest = pieces.flatten().collect();
        }
        Self(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connections(parts: &[(Protocol, u16, u16)]) -> Connections {
        let mut connections = Connections::none();
        for (protocol, first, last) in parts {
            connections.add(*protocol, PortRange { first: *first, last: *last });
        }
        connections
    }

    use Protocol::{Sctp, Tcp, Udp};

    #[test]
    fn ranges_that_overlap_or_touch_are_one() {
        let some = connections(&[(Tcp, 81, 90), (Tcp, 80, 80), (Tcp, 85, 95), (Udp, 53, 53)]);
        assert_eq!(some.to_string(), "TCP 80-95,UDP 53");
        assert_eq!(connections(&[(Tcp, 80, 80), (Tcp, 82, 82)]).to_string(), "TCP 80,82");
    }

    #[test]
    fn every_port_of_every_protocol_is_everything_however_it_is_written() {
        let written = [(Tcp, 1, 65535), (Udp, 1, 65535), (Sctp, 1, 65535)];
        assert_eq!(connections(&written), Connections::all());
        assert_eq!(connections(&written).to_string(), "All Connections");
        assert_eq!(connections(&written[..2]).to_string(), "TCP 1-65535,UDP 1-65535");
    }

    #[test]
    fn a_set_knows_what_is_in_it() {
        let some = connections(&[(Tcp, 80, 90), (Udp, 53, 53)]);
        let ranges = [(Tcp, 80, 90), (Udp, 53, 53)]
            .map(|(protocol, first, last)| (protocol, PortRange { first, last }));
        assert_eq!(some.ranges().collect::<Vec<_>>(), ranges);
        assert!(some.contains(Tcp, 80) && some.contains(Tcp, 90) && some.contains(Udp, 53));
        assert!(!some.contains(Tcp, 91) && !some.contains(Udp, 80) && !some.contains(Sctp, 80));
        let mut more = some.clone();
        more.extend(&connections(&[(Tcp, 91, 91), (Sctp, 1, 1)]));
        assert_eq!(more.to_string(), "SCTP 1,TCP 80-91,UDP 53");
        more.add_protocol(Udp);
        assert_eq!(more.to_string(), "SCTP 1,TCP 80-91,UDP 1-65535");
    }

    #[test]
    fn intersection_and_difference_cut_ranges() {
        let one = connections(&[(Tcp, 80, 100), (Tcp, 200, 300), (Udp, 53, 53)]);
        let other = connections(&[(Tcp, 90, 210), (Tcp, 250, 250)]);
        assert_eq!(one.intersection(&other).to_string(), "TCP 90-100,200-210,250");
        assert_eq!(one.difference(&other).to_string(), "TCP 80-89,211-249,251-300,UDP 53");
        assert!(one.difference(&Connections::all()).is_none());
        assert_eq!(one.difference(&Connections::none()), one);
        assert_eq!(
            Connections::all()
                .difference(&connections(&[(Tcp, 1, 1), (Tcp, 65535, 65535)]))
                .to_string(),
            "SCTP 1-65535,TCP 2-65534,UDP 1-65535"
        );
    }
}
