//! What the table promises, in network namespaces of the tests' own.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};
use nlink::netlink::Route;
use nlink::netlink::addr::Ipv4Address;
use nlink::netlink::link::VethLink;
use nlink::netlink::nftables::{BaseChain, Chain, FilterHook, Priority, Rule};

use super::draft::base;
use super::*;
use crate::compile::{Accept, Behaviour, Filter, PeerSet, PortSet};
use crate::policy::Direction;
use crate::ranges::Addresses;

/// Runs `test` in a new network namespace, if this process may make one.
fn in_a_namespace<F: Future<Output = ()>>(name: &str, test: impl FnOnce() -> F + Send) {
    let run = || {
        if unshare(CloneFlags::CLONE_NEWNET).is_err() {
            println!("SKIPPED: {name}: no network namespace can be made here");
            return;
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.unwrap().block_on(test());
    };
    // A thread of its own is all that moves there.
    std::thread::scope(|scope| scope.spawn(run).join()).unwrap();
}

fn connection() -> Connection<Nftables> {
    Connection::<Nftables>::new().unwrap()
}

async fn sets() -> Vec<String> {
    let sets = connection().list_sets_in(TABLE, Family::Inet).await.unwrap();
    sets.into_iter().map(|set| set.name).collect()
}

async fn rules() -> usize {
    connection().list_rules(TABLE, Family::Inet).await.unwrap().len()
}

/// Lets in as many peers, none beside another.
fn filter(peers: u32) -> PodFilter {
    let mut addresses = Addresses::default();
    for index in 0..peers {
        addresses.add(Ipv4Addr::from(u32::from(Ipv4Addr::new(11, 0, 0, 0)) + 2 * index).into());
    }
    addresses.normalise();
    let accept = Accept { ports: PortSet::Everything, peers: PeerSet::Addresses(addresses) };
    PodFilter { ingress: Filter::Only(vec![accept]), ..PodFilter::open(&[], Behaviour::default()) }
}

/// Waits until the table has these sets and no others.
async fn come_to(expected: &[&str]) {
    for _ in 0..100 {
        if sets().await == expected {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{:?} are left", sets().await);
}

#[test]
fn sets_go_when_no_packet_can_be_among_their_rules() {
    in_a_namespace("sets_go", async || {
        let firewall = Firewall::here().unwrap();
        firewall.replace(&filter(1)).await.unwrap();
        firewall.replace(&filter(2)).await.unwrap();
        assert_eq!(sets().await, ["ingress0v4g1", "ingress0v4g2"]);
        come_to(&["ingress0v4g2"]).await;
    });
}

#[test]
fn the_table_of_a_process_that_has_ended_is_taken_over() {
    in_a_namespace("the_table_of_a_process", async || {
        Firewall::here().unwrap().replace(&filter(1)).await.unwrap();
        let generation = connection().generation().await.unwrap();
        let firewall = Firewall::here().unwrap();
        firewall.replace(&filter(2)).await.unwrap();
        // One transaction for the sets, and one for the rules; the old set is still there for those on their way.
        assert_eq!(connection().generation().await.unwrap(), generation + 2);
        assert_eq!(sets().await, ["ingress0v4g1", "ingress0v4g2"]);
        come_to(&["ingress0v4g2"]).await;
    });
}

#[test]
fn what_somebody_does_to_the_table_is_mended_by_the_next_replacement() {
    in_a_namespace("what_somebody_does", async || {
        let firewall = Firewall::here().unwrap();
        firewall.replace(&filter(1)).await.unwrap();
        let as_it_was = rules().await;
        for damage in 0..4 {
            let other = connection();
            match damage {
                0 => other.del_table(TABLE, Family::Inet).await.unwrap(),
                1 => other.flush_table(TABLE, Family::Inet).await.unwrap(),
                2 => other.flush_chain(TABLE, "ingress", Family::Inet).await.unwrap(),
                _ => {
                    other.flush_chain(TABLE, "egress", Family::Inet).await.unwrap();
                    other.del_chain(TABLE, "egress", Family::Inet).await.unwrap();
                }
            }
            assert!(damage == 0 || rules().await < as_it_was, "{damage}");
            firewall.replace(&filter(1)).await.unwrap();
            assert_eq!(rules().await, as_it_was, "{damage}");
            assert_eq!(connection().list_chains_in(TABLE, Family::Inet).await.unwrap().len(), 2);
        }
    });
}

#[test]
fn a_table_of_another_making_is_replaced() {
    in_a_namespace("a_table_of_another_making", async || {
        let open = BaseChain::filter(FilterHook::Output, Priority::Raw);
        let chain = |name| Chain::new(TABLE, name).unwrap().family(Family::Inet);
        let other = connection();
        let made = other
            .transaction()
            .add_table(TABLE, Family::Inet)
            .add_chain(chain("egress").base(open))
            .add_chain(chain("more"))
            .add_rule(Rule::new(TABLE, "more").family(Family::Inet).accept());
        made.commit(&other).await.unwrap();
        Firewall::here().unwrap().replace(&filter(1)).await.unwrap();
        let chains = other.list_chains_in(TABLE, Family::Inet).await.unwrap();
        let mut names: Vec<_> = chains.iter().map(|chain| chain.name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["egress", "ingress"]);
        let egress = chains.iter().find(|chain| chain.name == "egress").unwrap();
        assert_eq!(egress.kind().unwrap().base(), Some(&base(Direction::Egress)));
    });
}

#[test]
fn a_replacement_that_is_given_up_half_way_does_not_hinder_the_next() {
    in_a_namespace("a_replacement_that_is_given_up", async || {
        let firewall = Firewall::here().unwrap();
        firewall.replace(&filter(1)).await.unwrap();
        for polls in 1..8 {
            let (large, mut polled) = (filter(5000), 0);
            let mut replace = Box::pin(firewall.replace(&large));
            std::future::poll_fn(|context| {
                polled += 1;
                let ready = replace.as_mut().poll(context).is_ready();
                if ready || polled == polls { 0.into() } else { std::task::Poll::Pending }
            })
            .await;
            drop(replace);
            firewall.replace(&filter(2)).await.unwrap();
        }
        let latest = sets().await.into_iter().map(|name| name[11..].parse::<u64>().unwrap()).max();
        come_to(&[&format!("ingress0v4g{}", latest.unwrap())]).await;
    });
}

#[test]
fn however_often_a_filter_is_replaced_few_sets_are_left_over() {
    in_a_namespace("however_often", async || {
        let firewall = Firewall::here().unwrap();
        for round in 0..1200 {
            firewall.replace(&filter(1 + round % 2)).await.unwrap();
            if round % 100 == 0 {
                assert!(sets().await.len() <= 1025, "{}", sets().await.len());
            }
        }
        come_to(&["ingress0v4g1200"]).await;
    });
}

/// A device with an address, at whose other end there is nobody.
async fn make_device() {
    let route = Connection::<Route>::new().unwrap();
    route.add_link(VethLink::new("eth0", "eth1")).await.unwrap();
    let address = Ipv4Address::new("eth0", Ipv4Addr::new(10, 0, 0, 1), 24);
    route.add_address(address).await.unwrap();
    for device in ["eth0", "eth1"] {
        route.set_link_up(device).await.unwrap();
    }
}

#[test]
fn what_a_pod_sends_and_may_not_vanishes_without_an_error() {
    in_a_namespace("what_a_pod_sends", async || {
        make_device().await;
        let isolated = PodFilter {
            egress: Filter::Only(Vec::new()),
            ..PodFilter::open(&[], Behaviour::default())
        };
        let firewall = Firewall::here().unwrap();
        firewall.replace(&isolated).await.unwrap();
        let send = || {
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            socket.send_to(b"?", "10.0.0.2:53").map_err(|error| error.kind())
        };
        assert_eq!(send(), Ok(1));
        // It had to come to the rule: without the silence the same packet is refused.
        let connection = connection();
        let loud = draft(&isolated, 0, Silence::None);
        let emptied = connection.transaction().flush_chain(TABLE, "egress", Family::Inet);
        let emptied = emptied.flush_chain(TABLE, "ingress", Family::Inet);
        loud.add_rules(emptied).commit(&connection).await.unwrap();
        assert_eq!(send(), Err(std::io::ErrorKind::PermissionDenied));
        for silence in [Silence::Target, Silence::Queue] {
            if !silence.is_there(&connection).await {
                println!("this kernel has no {silence:?}");
                continue;
            }
            let emptied = connection.transaction().flush_chain(TABLE, "egress", Family::Inet);
            let emptied = emptied.flush_chain(TABLE, "ingress", Family::Inet);
            draft(&isolated, 0, silence).add_rules(emptied).commit(&connection).await.unwrap();
            assert_eq!(send(), Ok(1), "{silence:?}");
        }
    });
}
