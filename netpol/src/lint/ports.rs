//! Ports of rules that nobody has, or that are a Service's and not its pods'.

use super::Lint;
use super::written::Target;
use crate::isolation::{Allowance, End};
use crate::pod::Pod;
use crate::policy::{Direction, Peer, Peers, PortSpec, Ports};
use crate::port::Protocol;
use crate::service::{Service, ServicePort};

impl Lint<'_> {
    pub(super) fn ports(&mut self, direction: Direction, rule: &Allowance<'_>, selected: &[&Pod]) {
        let Ports::Any(entries) = &rule.rule.ports else { return };
        if selected.is_empty() {
            return;
        }
        // A port is the destination's (rule 15).
        let (destinations, whose) = match direction {
            Direction::Ingress => (selected.to_vec(), "selected"),
            Direction::Egress => {
                let named = |pod: &&Pod| self.context.names(rule, pod);
                (self.context.cluster.pods().iter().filter(named).collect(), "named")
            }
        };
        let names_labels = match &rule.rule.peers {
            Peers::Everyone => false,
            Peers::Any(peers) => peers.iter().any(|peer| matches!(peer, Peer::Pods { .. })),
        };
        for (number, entry) in entries.iter().enumerate() {
            let path = format!("spec.{direction}[{}].ports[{number}].port", rule.index);
            let protocol = entry.protocol;
            match &entry.ports {
                PortSpec::Named(name) => {
                    let has = |pod: &&Pod| pod.ports_named(name, protocol).next().is_some();
                    if destinations.iter().any(has) {
                        continue;
                    }
                    let of_service = self.of_service(&destinations, |port, _| {
                        port.name.as_ref() == Some(name) && port.protocol == protocol
                    });
                    let hint = of_service.map(|found| format!("; {name} is {found}"));
                    let hint = hint.unwrap_or_default();
                    let message =
                        format!("no pod that is {whose} has a {protocol} port {name:?}{hint}");
                    self.warn(&path, message);
                }
                PortSpec::Range(range) if range.first == range.last => {
                    let number = range.first;
                    // To everybody and to addresses the same number may be meant for somebody else.
                    if direction == Direction::Egress && !names_labels {
                        if let Some(found) = self.of_addresses(rule, protocol, number) {
                            self.warn(&path, format!("port {number} is {found}"));
                        }
                        continue;
                    }
                    if destinations.iter().any(|pod| self.may_serve(pod, protocol, number)) {
                        continue;
                    }
                    let found = self.of_service(&destinations, |port, target| {
                        port.protocol == protocol && port.port == number && target.is_some()
                    });
                    let is_covered = self
                        .targets(&destinations, protocol, number)
                        .any(|(pod, target)| rule.covers(End::Pod(pod), protocol, target));
                    if let Some(found) = found.filter(|_| !is_covered) {
                        self.warn(&path, format!("port {number} is {found}"));
                    }
                }
                PortSpec::Range(_) | PortSpec::Every => {}
            }
        }
    }

    /// Whether `pod` declares the port, or a Service leads to it.
    fn may_serve(&self, pod: &Pod, protocol: Protocol, number: u16) -> bool {
        let services =
            self.context.cluster.services().iter().filter(|service| service.selects(pod));
        let is_written =
            |target: &Target<'_>| target.port.protocol == protocol && target.number == number;
        pod.ports.contains(&(protocol, number))
            || self.context.written.at(pod).any(is_written)
            || pod.named_ports.iter().any(|port| (port.protocol, port.port) == (protocol, number))
            || services
                .flat_map(|service| &service.ports)
                .any(|port| port.protocol == protocol && port.target_on(pod) == Some(number))
    }

    /// Where the port `number` of Services leads to.
    fn targets<'p>(
        &'p self,
        destinations: &'p [&'p Pod],
        protocol: Protocol,
        number: u16,
    ) -> impl Iterator<Item = (&'p Pod, u16)> {
        let written = destinations.iter().flat_map(move |pod| {
            let targets = self.context.written.at(pod);
            let meant = targets.filter(move |target| is_of(target.port, protocol, number));
            meant.map(move |target| (*pod, target.number))
        });
        let services = self.context.cluster.services().iter();
        written.chain(services.flat_map(move |service| {
            let pods = destinations.iter().filter(|pod| service.selects(pod));
            pods.flat_map(move |pod| {
                let ports = service.ports.iter();
                let ports = ports.filter(move |port| is_of(port, protocol, number));
                ports.filter_map(|port| Some((*pod, port.target_on(pod)?)))
            })
        }))
    }

    /// The Service that has the port `number` and whose endpoint is an address that the rule's blocks name, few
    /// as they are, in words; none, where the rule has the endpoint's port too or somebody there has `number`.
    fn of_addresses(
        &self,
        rule: &Allowance<'_>,
        protocol: Protocol,
        number: u16,
    ) -> Option<String> {
        /// A block of at most 256 addresses is meant for whoever has one of these.
        const BITS: u8 = 8;
        let Peers::Any(peers) = &rule.rule.peers else { return None };
        let named = |end: End<'_>| {
            peers.iter().any(|peer| match peer {
                Peer::Block { cidr, .. } if cidr.max_prefix_len() - cidr.prefix_len() <= BITS => {
                    peer.matches(self.context.cluster, &rule.policy.namespace, end)
                }
                _ => false,
            })
        };
        let written = || self.context.written.iter().filter(|target| named(target.end));
        let mut of_protocol = written().filter(|target| target.port.protocol == protocol);
        if of_protocol.any(|target| target.number == number) {
            return None;
        }
        let mut meant = written().filter(|target| is_of(target.port, protocol, number));
        let first = meant.next()?;
        let is_covered = |target: &Target<'_>| rule.covers(target.end, protocol, target.number);
        (!is_covered(first) && !meant.any(is_covered)).then(|| first.told())
    }

    /// The first Service of one of `destinations` that has a port which `is_meant`, in words: whose it
    /// is, and what policies see.
    fn of_service(
        &self,
        destinations: &[&Pod],
        is_meant: impl Fn(&ServicePort, Option<u16>) -> bool,
    ) -> Option<String> {
        let of = |service: &Service| {
            let pods = || destinations.iter().filter(|pod| service.selects(pod));
            service.ports.iter().find_map(|port| {
                let pod = pods().find(|pod| is_meant(port, port.target_on(pod)))?;
                let target = port.target_on(pod)?;
                Some(format!("Service {}'s; policies see the pod's port {target}", service.name))
            })
        };
        let mut written = self.context.written.iter().filter(|target| {
            destinations.iter().any(|pod| target.is(pod))
                && is_meant(target.port, Some(target.number))
        });
        let found = self.context.cluster.services().iter().find_map(of);
        found.or_else(|| written.next().map(Target::told))
    }
}

fn is_of(port: &ServicePort, protocol: Protocol, number: u16) -> bool {
    (port.protocol, port.port) == (protocol, number)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{pod, policy, service, told};

    fn shop() -> String {
        pod("shop/db", "app: db", "{name: pg, containerPort: 8080}")
            + &pod("shop/web", "app: web", "")
            + &service(
                "shop/db",
                "{selector: {app: db}, ports: [{name: web, port: 80, targetPort: 8080}]}",
            )
    }

    const DB: &str = "podSelector: {matchLabels: {app: db}}";
    const WEB: &str = "from: [{podSelector: {matchLabels: {app: web}}}]";

    fn ingress(ports: &str) -> Vec<String> {
        told(
            &(shop()
                + &policy(
                    "shop",
                    &format!("{{{DB}, ingress: [{{}}, {{{WEB}, ports: [{ports}]}}]}}"),
                )),
        )
    }

    #[test]
    fn the_port_of_a_service_that_no_selected_pod_has_is_told_with_the_pods() {
        assert_eq!(
            ingress("{port: 80}"),
            [
                "warning: spec.ingress[1].ports[0].port: port 80 is Service db's; policies see the pod's port 8080"
            ]
        );
    }

    #[test]
    fn the_name_of_a_services_port_is_told_with_the_pods_port() {
        assert_eq!(
            ingress("{port: web}"),
            [
                "warning: spec.ingress[1].ports[0].port: no pod that is selected has a TCP port \"web\"; \
              web is Service db's; policies see the pod's port 8080"
            ]
        );
    }

    #[test]
    fn the_port_of_a_service_is_told_of_egress_too() {
        let to = |ports: &str| {
            let rule = format!("{{to: [{DB_PEER}], ports: [{ports}]}}");
            let spec = format!(
                "{{podSelector: {{matchLabels: {{app: web}}}}, policyTypes: [Egress], egress: [{rule}, {{ports: [{{port: 53, protocol: UDP}}]}}]}}"
            );
            told(&(shop() + &policy("shop", &spec)))
        };
        assert_eq!(
            to("{port: 80}"),
            [
                "warning: spec.egress[0].ports[0].port: port 80 is Service db's; policies see the pod's port 8080"
            ]
        );
        assert_eq!(to("{port: 8080}"), [""; 0]);
    }

    const DB_PEER: &str = "{podSelector: {matchLabels: {app: db}}}";

    #[test]
    fn a_port_that_a_pod_may_serve_is_not_told() {
        for ports in [
            "{port: 8080}",
            "{port: pg}",
            "{port: 80, endPort: 8080}",
            "{port: 80}, {port: 8080}",
            "{port: 81}",
            "{port: 80, protocol: UDP}",
        ] {
            assert_eq!(ingress(ports), [""; 0], "{ports}");
        }
    }

    #[test]
    fn a_pod_that_declares_the_services_port_or_another_service_that_leads_to_it_is_meant() {
        let rule = format!("{{{WEB}, ports: [{{port: 80}}]}}");
        let policy = policy("shop", &format!("{{{DB}, ingress: [{{}}, {rule}]}}"));
        let same = service("shop/same", "{selector: {app: db}, ports: [{port: 80}]}");
        let headless = service(
            "shop/h",
            "{clusterIP: None, selector: {app: db}, ports: [{port: 80, targetPort: 8080}]}",
        );
        for more in [same, headless] {
            assert_eq!(told(&(shop() + &more + &policy)), [""; 0], "{more}");
        }
        let declares = shop().replace("{name: pg, containerPort: 8080}", "{containerPort: 80}");
        assert_eq!(told(&(declares + &policy)), [""; 0]);
    }
}
