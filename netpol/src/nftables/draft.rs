//! A filter as the sets and rules that are to be written of it.

use std::net::IpAddr;
use std::time::Duration;

use nlink::netlink::nftables::{
    BaseChain, Chain, CmpOp, CtDirection, CtState, DynsetExpr, DynsetOp, Expr, Family, FilterHook,
    LimitExpr, LimitUnit, LogExpr, PacketField, PayloadBase, Policy as ChainPolicy, Priority,
    RangeOp, Register, Rule, Set, SetElement, Transaction,
};

use super::silence::Silence;
use super::{LOGGED_BYTES, TABLE};
use crate::compile::{Denied, Established, Filter, PeerSet, PodFilter, PortSet};
use crate::policy::Direction;
use crate::port::PortRange;

/// Neighbour discovery, without which IPv6 cannot find even an allowed peer (RFC 4861).
const NEIGHBOUR_DISCOVERY: (u8, u8) = (133, 137);

/// How many denied peers are told apart; further ones are dropped without a log line.
const LOGGED_PEERS: u32 = 8192;

/// How long a denied peer is remembered.
const LOGGED_FOR: Duration = Duration::from_secs(10);

/// What is to be written of one filter.
pub(super) struct Draft {
    /// What its sets' names end with, so that none has the name of another filter's.
    pub(super) number: u64,
    pub(super) sets: Vec<(Set, Vec<SetElement>)>,
    pub(super) rules: Vec<Line>,
    pub(super) silence: Silence,
}

/// A rule.
pub(super) enum Line {
    Rule(Rule),
    /// That which drops what comes to the end of a chain, without a word to who sent it.
    DropSilently(&'static str),
}

impl Draft {
    fn add(&mut self, rule: Rule) {
        self.rules.push(Line::Rule(rule));
    }

    /// Its name.
    fn add_set(
        &mut self,
        name: &str,
        elements: Vec<SetElement>,
        kind: impl FnOnce(Set) -> Set,
    ) -> String {
        let name = format!("{name}g{}", self.number);
        self.sets.push((kind(Set::new(TABLE, &name).family(Family::Inet)), elements));
        name
    }

    pub(super) fn add_rules(self, transaction: Transaction) -> Transaction {
        self.rules.into_iter().fold(transaction, |transaction, line| match line {
            Line::Rule(rule) => transaction.add_rule(rule),
            Line::DropSilently(chain) => {
                self.silence.add_rule(transaction, TABLE, chain, Rule::counter)
            }
        })
    }
}

pub(super) fn draft(filter: &PodFilter, number: u64, silence: Silence) -> Draft {
    let mut draft = Draft { number, sets: Vec::new(), rules: Vec::new(), silence };
    for direction in Direction::BOTH {
        add_direction(&mut draft, filter, direction);
    }
    draft
}

pub(super) fn base(direction: Direction) -> BaseChain {
    BaseChain::filter(way(direction).hook, Priority::Filter).policy(ChainPolicy::Accept)
}

pub(super) fn base_chain(direction: Direction) -> Chain {
    let chain = Chain::new(TABLE, way(direction).chain).expect("both names are valid");
    chain.family(Family::Inet).base(base(direction))
}

/// Where a direction's packets are met, and where in them the peer's address is.
pub(super) struct Way {
    pub(super) chain: &'static str,
    pub(super) hook: FilterHook,
    pub(super) v4: PacketField,
    pub(super) v6: PacketField,
}

pub(super) fn way(direction: Direction) -> Way {
    match direction {
        Direction::Ingress => Way {
            chain: "ingress",
            hook: FilterHook::Input,
            v4: PacketField::Ip4Saddr,
            v6: PacketField::Ip6Saddr,
        },
        Direction::Egress => Way {
            chain: "egress",
            hook: FilterHook::Output,
            v4: PacketField::Ip4Daddr,
            v6: PacketField::Ip6Daddr,
        },
    }
}

fn add_direction(draft: &mut Draft, filter: &PodFilter, direction: Direction) {
    let way = way(direction);
    let rule = || Rule::new(TABLE, way.chain).family(Family::Inet);
    let loopback = match direction {
        Direction::Ingress => rule().match_iif("lo"),
        Direction::Egress => rule().match_oif("lo"),
    };
    let tracked = match filter.behaviour.established {
        Established::Cut => rule().match_ct_direction(CtDirection::Reply),
        Established::Keep => rule().match_ct_state(CtState::ESTABLISHED),
    };
    let related = rule().match_ct_state(CtState::RELATED);
    for always in [loopback, tracked, related] {
        draft.add(always.accept());
    }

    let (only, own): (_, &[IpAddr]) = match direction {
        Direction::Ingress => (&filter.ingress, &[]),
        // By the address of a Service these packets set out for another device than the loopback.
        Direction::Egress => (&filter.egress, &filter.own),
    };
    let Filter::Only(accepts) = only else { return };
    for exempt in filter.nodes.iter().chain(own) {
        let exempt = match (direction, exempt) {
            (Direction::Ingress, IpAddr::V4(exempt)) => rule().match_saddr_v4(*exempt, 32),
            (Direction::Ingress, IpAddr::V6(exempt)) => rule().match_saddr_v6(*exempt, 128),
            (Direction::Egress, IpAddr::V4(exempt)) => rule().match_daddr_v4(*exempt, 32),
            (Direction::Egress, IpAddr::V6(exempt)) => rule().match_daddr_v6(*exempt, 128),
        };
        draft.add(exempt.accept());
    }
    draft.add(neighbour_discovery(rule()).accept());

    for (index, accept) in accepts.iter().enumerate() {
        let ports = |rule| match_ports(rule, accept.ports);
        let addresses = match &accept.peers {
            PeerSet::Everyone => {
                draft.add(ports(rule()).accept());
                continue;
            }
            PeerSet::Addresses(addresses) => addresses,
        };
        let v4 = addresses.v4().map(|(low, high)| SetElement::ipv4_range(low, high)).collect();
        let v6 = addresses.v6().map(|(low, high)| SetElement::ipv6_range(low, high)).collect();
        for (elements, field, family) in [(v4, way.v4, 4), (v6, way.v6, 6)] {
            let elements: Vec<SetElement> = elements;
            if elements.is_empty() {
                continue;
            }
            let name = format!("{}{index}v{family}", way.chain);
            let kind = |set: Set| set.key_type(field.key_type()).interval();
            let name = draft.add_set(&name, elements, kind);
            draft.add(ports(rule()).match_in_interval_set(field, &name).accept());
        }
    }
    if let Some(group) = filter.behaviour.log_group {
        add_log(draft, &way, group);
    }
    match (filter.behaviour.denied, direction) {
        (Denied::Drop, Direction::Egress) => draft.rules.push(Line::DropSilently(way.chain)),
        (Denied::Drop, Direction::Ingress) => draft.add(rule().counter().drop()),
        (Denied::Reject, _) => draft.add(rule().counter().reject()),
    }
}

/// Sends a packet of each peer to the log group, once a second at most.
fn add_log(draft: &mut Draft, way: &Way, group: u16) {
    for (field, family) in [(way.v4, 4), (way.v6, 6)] {
        let kind = |set: Set| {
            set.key_type(field.key_type()).dynamic().size(LOGGED_PEERS).timeout(LOGGED_FOR)
        };
        let name = draft.add_set(&format!("{}logv{family}", way.chain), Vec::new(), kind);
        let once = LimitExpr::packets(1, LimitUnit::Second).burst(1);
        let peer = DynsetExpr::new(DynsetOp::Update, &name, Register::R0).statement(once);
        // Without a threshold of one the kernel holds packets back until more have come.
        let log =
            LogExpr::new().group(group).prefix(way.chain).snaplen(LOGGED_BYTES).queue_threshold(1);
        let rule = Rule::new(TABLE, way.chain).family(Family::Inet);
        draft.add(rule.dynset(field, peer).expr(Expr::Log(log)));
    }
}

fn match_ports(rule: Rule, ports: PortSet) -> Rule {
    match ports {
        PortSet::Everything => rule,
        PortSet::Protocol(protocol) => rule.match_l4proto(protocol.number()),
        PortSet::Range(protocol, range) => {
            match_destination_port(rule.match_l4proto(protocol.number()), range)
        }
    }
}

/// The destination port is at the same place in TCP, UDP and SCTP.
fn match_destination_port(rule: Rule, range: PortRange) -> Rule {
    let sreg = Register::R0;
    let load = Expr::Payload { dreg: sreg, base: PayloadBase::Transport, offset: 2, len: 2 };
    let (from, to) = (range.first.to_be_bytes().to_vec(), range.last.to_be_bytes().to_vec());
    rule.expr(load).expr(if from == to {
        Expr::Cmp { sreg, op: CmpOp::Eq, data: from }
    } else {
        Expr::Range { sreg, op: RangeOp::Eq, from, to }
    })
}

fn neighbour_discovery(rule: Rule) -> Rule {
    const ICMPV6: u8 = 58;
    let sreg = Register::R0;
    let (first, last) = NEIGHBOUR_DISCOVERY;
    rule.match_l4proto(ICMPV6)
        .expr(Expr::Payload { dreg: sreg, base: PayloadBase::Transport, offset: 0, len: 1 })
        .expr(Expr::Range { sreg, op: RangeOp::Eq, from: vec![first], to: vec![last] })
}
