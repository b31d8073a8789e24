//! Where the pods of manifests are: the addresses that the name `NAME.NAMESPACE` of each
//! workload resolves to, asked again and again, for a pod that is made anew has a new one.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;

use dns_lookup::{AddrInfoHints, LookupErrorKind, SockType, getaddrinfo};

use crate::cluster::{Cluster, Pod};

/// What a resolver says of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// These are its addresses; none for a name that is not there.
    Addresses(BTreeSet<IpAddr>),
    /// The resolver could not tell now.
    Unknown(String),
}

/// The addresses of each pod of a cluster, in its order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodAddresses(Vec<Known>);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Known {
    addresses: BTreeSet<IpAddr>,
    /// How often in a row the resolver could not tell: these are the addresses of before.
    doubts: u32,
}

/// How often in a row a resolver may be unable to tell until a pod's addresses are not believed
/// any more. An engine's own resolver always knows a container that is there; of one that is
/// gone it may ask others, who do not answer.
const DOUBTS: u32 = 2;

/// The name that a pod's addresses are looked up by.
#[must_use]
pub fn lookup_name(pod: &Pod) -> String {
    format!("{}.{}", pod.name, pod.namespace)
}

/// Asks the system's resolver (`/etc/resolv.conf`) for a name.
pub async fn system_resolver(name: String) -> Answer {
    let looked_up = tokio::task::spawn_blocking(move || look_up(&name)).await;
    looked_up.unwrap_or_else(|error| Answer::Unknown(error.to_string()))
}

fn look_up(name: &str) -> Answer {
    let hints = AddrInfoHints { socktype: SockType::Stream.into(), ..AddrInfoHints::default() };
    let addresses: io::Result<BTreeSet<IpAddr>> = match getaddrinfo(Some(name), None, Some(hints)) {
        Ok(found) => found.map(|one| one.map(|one| one.sockaddr.ip())).collect(),
        Err(error) => match error.kind() {
            LookupErrorKind::NoName | LookupErrorKind::NoData => Ok(BTreeSet::new()),
            _ => Err(error.into()),
        },
    };
    addresses.map_or_else(|error| Answer::Unknown(error.to_string()), Answer::Addresses)
}

/// The addresses of the devices in this network namespace; none where the kernel does not tell.
#[must_use]
pub fn of_this_namespace() -> BTreeSet<IpAddr> {
    let devices = nix::ifaddrs::getifaddrs().into_iter().flatten();
    let address = |device: nix::ifaddrs::InterfaceAddress| {
        let address = device.address?;
        let v4 = address.as_sockaddr_in().map(|address| IpAddr::from(address.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|address| address.ip().into()))
    };
    devices.filter_map(address).collect()
}

impl PodAddresses {
    /// None known yet, of `pods` pods.
    #[must_use]
    pub fn unknown(pods: usize) -> Self {
        Self(vec![Known::default(); pods])
    }

    /// Takes an answer for the pod at `index`, and tells its addresses if they are others now.
    ///
    /// Where the resolver cannot tell, a pod keeps the addresses that it had, but not for long,
    /// and not those that are another's by now.
    pub fn learn(&mut self, index: usize, answer: Answer) -> Option<&BTreeSet<IpAddr>> {
        let known = &mut self.0[index];
        let (addresses, doubts) = match answer {
            Answer::Addresses(addresses) => (addresses, 0),
            Answer::Unknown(_) if known.doubts + 1 < DOUBTS => {
                (known.addresses.clone(), known.doubts + 1)
            }
            Answer::Unknown(_) => (BTreeSet::new(), DOUBTS),
        };
        known.doubts = doubts;
        if doubts == 0 {
            for other in self.0.iter_mut().filter(|other| other.doubts > 0) {
                other.addresses.retain(|address| !addresses.contains(address));
            }
        }
        let known = &mut self.0[index];
        let changed = known.addresses != addresses;
        known.addresses = addresses;
        changed.then_some(&known.addresses)
    }

    /// Writes them into `cluster`.
    pub fn set(&self, cluster: &mut Cluster) {
        for (pod, known) in cluster.pods_mut().iter_mut().zip(&self.0) {
            pod.addresses = known.addresses.iter().copied().collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(address: [u8; 4]) -> Answer {
        Answer::Addresses([address.into()].into())
    }

    fn unknown() -> Answer {
        Answer::Unknown("SERVFAIL".into())
    }

    fn addresses(known: &PodAddresses, index: usize) -> Vec<IpAddr> {
        let mut cluster = Cluster::default();
        known.0.iter().for_each(|_| cluster.add_pod(Pod::default()));
        known.set(&mut cluster);
        cluster.pods()[index].addresses.clone()
    }

    #[test]
    fn a_pod_has_the_addresses_of_its_name_until_the_name_is_gone() {
        let mut known = PodAddresses::unknown(2);
        known.learn(0, found([10, 0, 0, 1]));
        assert_eq!(addresses(&known, 0), [IpAddr::from([10, 0, 0, 1])]);
        assert!(addresses(&known, 1).is_empty());
        known.learn(0, found([10, 0, 0, 7]));
        assert_eq!(addresses(&known, 0), [IpAddr::from([10, 0, 0, 7])]);
        known.learn(0, Answer::Addresses(BTreeSet::new()));
        assert!(addresses(&known, 0).is_empty());
    }

    #[test]
    fn a_resolver_that_cannot_tell_is_borne_with_once() {
        let mut known = PodAddresses::unknown(1);
        assert_eq!(known.learn(0, found([10, 0, 0, 1])).map(BTreeSet::len), Some(1));
        assert_eq!(known.learn(0, unknown()), None);
        assert_eq!(addresses(&known, 0), [IpAddr::from([10, 0, 0, 1])]);
        assert_eq!(known.learn(0, found([10, 0, 0, 1])), None);
        known.learn(0, unknown());
        assert_eq!(known.learn(0, unknown()), Some(&BTreeSet::new()));
        assert!(addresses(&known, 0).is_empty());
    }

    #[test]
    fn an_outdated_address_that_is_anothers_by_now_is_not_kept() {
        let mut known = PodAddresses::unknown(2);
        known.learn(0, found([10, 0, 0, 1]));
        known.learn(1, found([10, 0, 0, 1]));
        assert_eq!(addresses(&known, 0), addresses(&known, 1));
        known.learn(0, unknown());
        known.learn(1, found([10, 0, 0, 1]));
        assert!(addresses(&known, 0).is_empty());
    }

    #[test]
    fn the_loopback_device_is_in_this_namespace() {
        let here = of_this_namespace();
        assert!(here.contains(&IpAddr::from([127, 0, 0, 1])), "{here:?}");
        assert!(!here.contains(&IpAddr::from([192, 0, 2, 1])), "an address for documentation");
    }

    #[tokio::test]
    async fn the_system_knows_localhost() {
        let Answer::Addresses(found) = system_resolver("localhost".into()).await else {
            panic!("no answer");
        };
        assert!(found.iter().all(IpAddr::is_loopback) && !found.is_empty());
    }
}
