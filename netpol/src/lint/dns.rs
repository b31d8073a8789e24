//! Who is the cluster's DNS, and who is cut off from it.
//!
//! A pod asks the address of a Service of port 53; policies see the port of the pods behind it: 53 of
//! CoreDNS, 5353 on OpenShift, 1053 in vcluster. Where the inputs show these pods, they are asked about;
//! where not, a rule counts whose ports and peers may be meant for them.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

use super::written::Written;
use super::{Context, Lint};
use crate::cluster::{Cluster, NAMESPACE_NAME_LABEL};
use crate::isolation::{Allowance, End, Isolation};
use crate::pod::Pod;
use crate::policy::{Direction, Namespaces, Peer, Peers, PortSpec, Ports};
use crate::port::Protocol;
use crate::selector::{Operator, Selector};
use crate::service::Service;

/// The port of DNS (RFC 1035).
const DNS: u16 = 53;

/// The ports that DNS pods listen on: CoreDNS, vcluster's, OpenShift's.
const PORTS: [u16; 3] = [DNS, 1053, 5353];

/// Where `NodeLocal DNSCache` listens on each node
/// (<https://kubernetes.io/docs/tasks/administer-cluster/nodelocaldns/>).
const NODE_LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::new(169, 254, 20, 10));

/// The DNS Service's address where nothing else was chosen: kubeadm, k3s, microk8s, OpenShift, EKS (two)
/// and AKS.
const USUAL: [Ipv4Addr; 7] = [
    Ipv4Addr::new(10, 96, 0, 10),
    Ipv4Addr::new(10, 43, 0, 10),
    Ipv4Addr::new(10, 152, 183, 10),
    Ipv4Addr::new(172, 30, 0, 10),
    Ipv4Addr::new(172, 20, 0, 10),
    Ipv4Addr::new(10, 100, 0, 10),
    Ipv4Addr::new(10, 0, 0, 10),
];

/// Most ports of a range that names the port of DNS on purpose.
const PURPOSE: u16 = 1000;

/// What the inputs show of the cluster's DNS.
pub(super) struct Dns<'a> {
    /// Its pods, and the port of UDP that each listens on.
    endpoints: Vec<(&'a Pod, u16)>,
    /// The addresses of its Services.
    addresses: Vec<IpAddr>,
    /// Whether it is known as the cluster's, and not only serves the port.
    is_known: bool,
    /// Whether pods ask a cache on their node, which asks it.
    has_cache: bool,
}

impl<'a> Dns<'a> {
    /// Services and pods that are known as the cluster's; without any of these, whatever else serves
    /// UDP port 53.
    pub(super) fn of(cluster: &'a Cluster, written: &Written<'a>) -> Self {
        let known = Self::with(cluster, written, is_known_service, is_known_pod);
        if known.endpoints.is_empty() && known.addresses.is_empty() {
            return Self::with(cluster, written, |_| true, |_| true);
        }
        Self { is_known: true, ..known }
    }

    fn with(
        cluster: &'a Cluster,
        written: &Written<'a>,
        is_service: impl Fn(&Service) -> bool,
        is_pod: impl Fn(&Pod) -> bool,
    ) -> Self {
        let has_cache = cluster.pods().iter().any(is_cache);
        let mut dns =
            Self { endpoints: Vec::new(), addresses: Vec::new(), is_known: false, has_cache };
        for service in cluster.services().iter().filter(|service| is_service(service)) {
            let of_dns = |port: &&crate::service::ServicePort| {
                port.protocol == Protocol::Udp && port.port == DNS
            };
            let Some(port) = service.ports.iter().find(of_dns) else { continue };
            dns.addresses.extend(&service.cluster_ips);
            let pods = cluster.pods().iter().filter(|pod| service.selects(pod));
            dns.endpoints.extend(pods.filter_map(|pod| Some((pod, port.target_on(pod)?))));
            let written = written.of_port(port).filter_map(|target| match target.end {
                End::Pod(pod) => Some((pod, target.number)),
                _ => None,
            });
            dns.endpoints.extend(written);
        }
        if !dns.endpoints.is_empty() {
            return dns;
        }
        for pod in cluster.pods().iter().filter(|pod| is_pod(pod)) {
            let named = ["dns", "dns-udp", "udp-53"].iter();
            let named = named.filter_map(|name| pod.ports_named(name, Protocol::Udp).next());
            let declared =
                PORTS.into_iter().filter(|port| pod.ports.contains(&(Protocol::Udp, *port)));
            // CoreDNS listens on 53 whether its manifest says so or not.
            let usual = is_known_pod(pod).then_some(DNS);
            dns.endpoints.extend(named.chain(declared).chain(usual).next().map(|port| (pod, port)));
        }
        dns
    }

    fn is_one(&self, pod: &Pod) -> bool {
        self.endpoints.iter().any(|(dns, _)| dns.namespace == pod.namespace && dns.name == pod.name)
    }
}

/// Whether it is by its name or its labels the Service of the cluster's DNS: kube-dns, rke2-coredns,
/// OpenShift's dns-default, vcluster's kube-dns-x-kube-system-x-NAME.
fn is_known_service(service: &Service) -> bool {
    let name = &service.name;
    name.contains("kube-dns")
        || name.contains("coredns")
        || name == "dns-default"
        || is_labelled(&service.labels)
}

fn is_known_pod(pod: &Pod) -> bool {
    is_labelled(&pod.labels) && !is_cache(pod)
}

fn is_cache(pod: &Pod) -> bool {
    pod.labels.get("k8s-app").is_some_and(|app| app == "node-local-dns")
}

fn is_labelled(labels: &crate::selector::Labels) -> bool {
    let has = |key: &str, values: &[&str]| {
        labels.get(key).is_some_and(|value| values.contains(&value.as_str()))
    };
    has("k8s-app", &["kube-dns", "coredns"])
        || has("app.kubernetes.io/name", &["coredns", "kube-dns"])
        || has("dns.operator.openshift.io/daemonset-dns", &["default"])
}

impl Lint<'_> {
    /// Whether a pod that this policy isolates may ask no DNS, whatever other policies allow it; or may
    /// not be asked, if it is the DNS.
    pub(super) fn dns(&mut self, selected: &[&Pod]) {
        if self.policy.egress.is_some()
            && let Some(message) = selected.iter().find_map(|pod| self.context.cut_off(pod))
        {
            self.warn("spec.egress", message);
        }
        if self.policy.ingress.is_some()
            && let Some(message) = selected.iter().find_map(|pod| self.context.unasked(pod))
        {
            self.warn("spec.ingress", message);
        }
    }
}

impl Context<'_> {
    /// That no rule lets `pod` ask the DNS, in words.
    fn cut_off(&self, pod: &Pod) -> Option<String> {
        let Isolation::Isolated { rules, .. } = Isolation::of(self.cluster, pod, Direction::Egress)
        else {
            return None;
        };
        if self.dns.is_one(pod) || rules.iter().any(|rule| self.is_a_way_out(rule)) {
            return None;
        }
        let cuts = format!("cuts {pod} off from DNS: no rule allows it UDP port");
        let Some((dns, port)) = self.dns.endpoints.first() else {
            if rules.iter().any(|rule| self.may_be_meant(rule)) {
                return None;
            }
            let by_port = rules.iter().any(|rule| is_on_purpose(rule));
            let hint = match (self.address_instead(&rules), by_port) {
                (Some(hint), _) => hint,
                (None, true) => " of pods that may be the DNS".into(),
                (None, false) => String::new(),
            };
            return Some(format!("{cuts} {DNS}{hint}"));
        };
        if rules.iter().any(|rule| self.reaches_dns(rule)) {
            return None;
        }
        let of_service = |rule: &Allowance<'_>| {
            self.takes(rule, dns) && rule.covers(End::Pod(dns), Protocol::Udp, DNS)
        };
        let hint = if *port != DNS && rules.iter().any(of_service) {
            format!("; port {DNS} is its Service's, and policies see the pod's port {port}")
        } else {
            self.address_instead(&rules).unwrap_or_default()
        };
        Some(format!("{cuts} {port} of {dns}{hint}"))
    }

    /// That no rule lets some pod ask `dns`, if it is the DNS, in words.
    fn unasked(&self, dns: &Pod) -> Option<String> {
        let (_, port) = self
            .dns
            .endpoints
            .iter()
            .find(|(one, _)| one.name == dns.name && self.dns.is_one(dns))?;
        let Isolation::Isolated { rules, .. } =
            Isolation::of(self.cluster, dns, Direction::Ingress)
        else {
            return None;
        };
        let asks = |pod: &Pod| {
            rules.iter().any(|rule| {
                let covers = rule.covers(End::Pod(dns), Protocol::Udp, *port);
                covers && (self.takes(rule, pod) || may_hold_pods(rule))
            })
        };
        let mut others = self.cluster.pods().iter().filter(|pod| !pod.host_network);
        let cut = others.find(|pod| !self.dns.is_one(pod) && !asks(pod))?;
        Some(format!("cuts {cut} off from DNS: no rule lets it in at UDP port {port} of {dns}"))
    }

    /// Whether the rule names `pod`; one on its node's network as if it were not (rule 19: not defined).
    fn takes(&self, rule: &Allowance<'_>, pod: &Pod) -> bool {
        if !pod.host_network {
            return self.names(rule, pod);
        }
        self.names(rule, &pod.on_its_own_network())
    }

    /// Whether it lets a pod ask a pod of the DNS at its own port.
    fn reaches_dns(&self, rule: &Allowance<'_>) -> bool {
        self.dns.endpoints.iter().any(|(dns, port)| {
            let holds = dns.addresses.is_empty() && may_hold_pods(rule);
            rule.covers(End::Pod(dns), Protocol::Udp, *port) && (self.takes(rule, dns) || holds)
        })
    }

    /// Whether it lets a pod ask a DNS that is no pod: the cache of a node (`NodeLocal DNSCache`), or a server outside.
    fn is_a_way_out(&self, rule: &Allowance<'_>) -> bool {
        if !rule.connections(None).contains(Protocol::Udp, DNS) {
            return false;
        }
        // Who lets everybody be asked at the port of DNS means the cluster's, whose pods may have another one.
        let Dns { endpoints, is_known, has_cache, .. } = &self.dns;
        let means_pods = *is_known && !has_cache && !endpoints.is_empty();
        let Peers::Any(peers) = &rule.rule.peers else { return !means_pods };
        peers.iter().any(|peer| {
            let Peer::Block { cidr, except } = peer else { return false };
            if means_pods && cidr.prefix_len() == 0 && except.is_empty() {
                return false;
            }
            let holds = |address: &IpAddr| {
                peer.matches(self.cluster, &rule.policy.namespace, End::Address(*address))
            };
            // A few addresses are those of somebody else, unless the port says so.
            let meant = is_wide(cidr) || is_on_purpose(rule);
            holds(&NODE_LOCAL) || (meant && self.instead(cidr, holds).is_none())
        })
    }

    /// The address of a Service of the DNS that a rule names instead of pods, in words.
    fn address_instead(&self, rules: &[Allowance<'_>]) -> Option<String> {
        rules.iter().find_map(|rule| {
            let Peers::Any(peers) = &rule.rule.peers else { return None };
            peers.iter().find_map(|peer| {
                let Peer::Block { cidr, .. } = peer else { return None };
                let namespace = &rule.policy.namespace;
                let address = self.instead(cidr, |address| {
                    peer.matches(self.cluster, namespace, End::Address(*address))
                })?;
                Some(format!(
                    "; {address} is the address of its Service, and policies see those of its pods"
                ))
            })
        })
    }

    /// The address of a Service of the DNS for which the block stands, instead of for a server: it holds
    /// that, and no pod of the DNS as far as is known.
    fn instead(&self, cidr: &IpNet, holds: impl Fn(&IpAddr) -> bool) -> Option<IpAddr> {
        let is_one = cidr.prefix_len() == cidr.max_prefix_len();
        let usual = USUAL.into_iter().map(IpAddr::V4).filter(|_| is_one);
        let known = self.dns.addresses.iter().copied().filter(|_| !is_wide(cidr));
        let mut pods = self.dns.endpoints.iter().flat_map(|(pod, _)| &pod.addresses);
        let address = known.chain(usual).find(|address| holds(address))?;
        (!pods.any(holds)).then_some(address)
    }

    /// Where no DNS is shown: whether the rule may be meant for it.
    fn may_be_meant(&self, rule: &Allowance<'_>) -> bool {
        if !names_port_of_dns(rule) {
            return false;
        }
        let Peers::Any(peers) = &rule.rule.peers else { return true };
        peers.iter().any(|peer| match peer {
            Peer::Block { .. } => false,
            Peer::Pods { namespaces, pods } => {
                self.may_be_place(rule, namespaces, pods) && self.may_be_pods(rule, peer, pods)
            }
        })
    }

    fn may_be_place(&self, rule: &Allowance<'_>, namespaces: &Namespaces, pods: &Selector) -> bool {
        let is_of_dns = |namespace: &str| namespace == "kube-system" || namespace.contains("dns");
        match namespaces {
            Namespaces::OfThePolicy => {
                let own = &rule.policy.namespace;
                is_of_dns(own) || (is_on_purpose(rule) && !pods.requirements().is_empty())
            }
            Namespaces::Matching(selector) => {
                let is_known = |namespace: &String| {
                    self.cluster.pods().iter().any(|pod| pod.namespace == *namespace)
                };
                let may_be = |namespace: &String| {
                    is_of_dns(namespace) || (is_on_purpose(rule) && !is_known(namespace))
                };
                selector.requirements().iter().all(|one| match &one.operator {
                    Operator::In(names) if one.key == NAMESPACE_NAME_LABEL => {
                        names.iter().any(may_be)
                    }
                    _ => true,
                })
            }
        }
    }

    fn may_be_pods(&self, rule: &Allowance<'_>, peer: &Peer, pods: &Selector) -> bool {
        let mut values = pods.requirements().iter().filter_map(|one| match &one.operator {
            Operator::In(values) => Some(values),
            _ => None,
        });
        let own = &rule.policy.namespace;
        let is_known = |pod: &Pod| peer.matches(self.cluster, own, End::Pod(pod));
        values.clone().next().is_none()
            || values.any(|values| values.iter().any(|value| value.contains("dns")))
            // Pods that are shown and serve no DNS are not it.
            || (is_on_purpose(rule) && !self.cluster.pods().iter().any(is_known))
    }
}

/// Whether a rule allows a port that DNS pods may listen on.
fn names_port_of_dns(rule: &Allowance<'_>) -> bool {
    let connections = rule.connections(None);
    PORTS.iter().any(|port| connections.contains(Protocol::Udp, *port)) || is_on_purpose(rule)
}

/// Whether a rule names a port of DNS, and not only among all others.
fn is_on_purpose(rule: &Allowance<'_>) -> bool {
    let Ports::Any(entries) = &rule.rule.ports else { return false };
    let mut of_udp = entries.iter().filter(|entry| entry.protocol == Protocol::Udp);
    of_udp.any(|entry| match &entry.ports {
        PortSpec::Every => false,
        PortSpec::Range(range) => {
            range.last - range.first < PURPOSE && PORTS.iter().any(|port| range.contains(*port))
        }
        PortSpec::Named(name) => name.contains("dns") || name == "domain",
    })
}

/// Whether a block of the rule may hold pods: it is wide.
fn may_hold_pods(rule: &Allowance<'_>) -> bool {
    rule.blocks().any(|block| is_wide(block.cidr))
}

/// Whether it is a block such as networks of clusters or the internet are.
fn is_wide(cidr: &IpNet) -> bool {
    match cidr {
        IpNet::V4(cidr) => cidr.prefix_len() <= 11,
        IpNet::V6(cidr) => cidr.prefix_len() <= 32,
    }
}

#[cfg(test)]
mod tests;
