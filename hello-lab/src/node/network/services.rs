//! Service addresses: each pod's own namespace translates them to the address of an endpoint,
//! chosen at random for each connection. Filters come later, so they see the endpoint.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::BorrowedFd;

use netpol::port::Protocol;
use nlink::netlink::nftables::{
    BaseChain, Chain, CmpOp, Expr, Family, FilterHook, Generated, NatHook, NumgenKind, PayloadBase,
    Policy, Priority, Register, Rule, Transaction,
};
use nlink::netlink::{Connection, Nftables};

use super::{Doing, NetworkError};

const TABLE: &str = "services";
const TRANSLATE: &str = "translate";
const REFUSE: &str = "refuse";

/// One port of one Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// The Service's address.
    pub address: Ipv4Addr,
    /// The protocol.
    pub protocol: Protocol,
    /// The Service's port.
    pub port: u16,
    /// The ready endpoints; with none, connections are refused.
    pub endpoints: Vec<SocketAddrV4>,
}

/// Writes the Services' table of one pod's namespace. Keep it: to open one costs more than an
/// update.
pub struct ServiceTable {
    connection: Connection<Nftables>,
}

impl ServiceTable {
    /// A writer for the network namespace that `namespace` is an open file of.
    pub fn open(namespace: BorrowedFd<'_>) -> Result<Self, NetworkError> {
        let connection = Connection::new_in(namespace).doing("reach a pod's nftables")?;
        Ok(Self { connection })
    }

    /// Replaces the table, in one transaction. Open connections keep their endpoint.
    pub async fn replace(&self, services: &[ServicePort]) -> Result<(), NetworkError> {
        fill(self.connection.transaction(), services)
            .commit(&self.connection)
            .await
            .doing("replace a pod's Services")
    }
}

fn fill(transaction: Transaction, services: &[ServicePort]) -> Transaction {
    let chain = |name, base| {
        #[expect(clippy::expect_used, reason = "both names are this program's own, and valid")]
        let chain = Chain::new(TABLE, name).expect("valid names");
        chain.family(Family::Ip).base(base)
    };
    let translate = BaseChain::nat(NatHook::Output, Priority::DstNat);
    let refuse = BaseChain::filter(FilterHook::Output, Priority::Filter).policy(Policy::Accept);
    let mut transaction = transaction
        .update_table(TABLE, Family::Ip, 0)
        .del_table(TABLE, Family::Ip)
        .add_table(TABLE, Family::Ip)
        .add_chain(chain(TRANSLATE, translate))
        .add_chain(chain(REFUSE, refuse));
    for service in services {
        if service.endpoints.is_empty() {
            transaction =
                transaction.add_rule(to_service(REFUSE, service).reject_icmp(PORT_UNREACHABLE));
        }
        // Of n endpoints the first is taken with probability 1/n, else the second with
        // 1/(n-1), and so on: each with the same.
        for (endpoint, left) in service.endpoints.iter().zip((1..=service.endpoints.len()).rev()) {
            let rule = one_in(to_service(TRANSLATE, service), left);
            transaction = transaction.add_rule(rule.dnat(*endpoint.ip(), Some(endpoint.port())));
        }
    }
    transaction
}

/// ICMP's code for it (RFC 792), what kube-proxy sends for a Service without endpoints.
const PORT_UNREACHABLE: u8 = 3;

fn to_service(chain: &str, service: &ServicePort) -> Rule {
    let sreg = Register::R0;
    Rule::new(TABLE, chain)
        .family(Family::Ip)
        .match_daddr_v4(service.address, 32)
        .match_l4proto(service.protocol.number())
        .expr(Expr::Payload { dreg: sreg, base: PayloadBase::Transport, offset: 2, len: 2 })
        .expr(Expr::Cmp { sreg, op: CmpOp::Eq, data: service.port.to_be_bytes().to_vec() })
}

fn one_in(rule: Rule, many: usize) -> Rule {
    let Some(modulus) = u32::try_from(many).ok().filter(|many| *many > 1) else { return rule };
    rule.generate(Generated::Numgen { kind: NumgenKind::Random, modulus, offset: 0 })
        .expr(Expr::Cmp { sreg: Register::R0, op: CmpOp::Eq, data: 0_u32.to_ne_bytes().to_vec() })
}
