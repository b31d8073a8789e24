//! Services that lead nowhere, and their addresses in policies.

use std::net::IpAddr;

use super::{Context, Level, Lint, Remark};
use crate::answer::Answer;
use crate::evaluate::{Connection, evaluate};
use crate::isolation::End;
use crate::pod::Pod;
use crate::policy::Peer;
use crate::port::Protocol;
use crate::read::WrittenPolicy;
use crate::selector::{Operator, Requirement, Selector};
use crate::service::{Endpoints, Service, TargetPort};
use crate::spelling::listed;

impl Lint<'_> {
    /// A block that holds the address of a Service, which no policy sees: a connection to it has become
    /// one to a pod.
    pub(super) fn cluster_ip(&mut self, path: &str, peer: &Peer) {
        let Peer::Block { cidr, .. } = peer else { return };
        // Everything is not meant for one Service.
        if cidr.prefix_len() == 0 {
            return;
        }
        let cluster = self.context.cluster;
        let own = &self.policy.namespace;
        let holds = |address: IpAddr| peer.matches(cluster, own, End::Address(address));
        let found = cluster.services().iter().find_map(|service| {
            let address = service.cluster_ips.iter().find(|address| holds(**address))?;
            // A block that holds the pods too does what is meant.
            let pods = match service.endpoints(cluster.pods()) {
                Endpoints::Pods(pods) => pods,
                Endpoints::Unknown | Endpoints::External(_) => Vec::new(),
            };
            let written = self.context.written.of_service(service);
            let mut ends = pods.into_iter().map(End::Pod).chain(written.map(|target| target.end));
            let held = |end: End<'_>| match end {
                End::Pod(pod) => pod.addresses.iter().any(|address| holds(*address)),
                End::Address(address) => holds(address),
                End::Node | End::Outside => false,
            };
            let all = ends.next().is_some_and(held) && ends.all(held);
            (!all).then_some((service, *address))
        });
        let Some((service, address)) = found else { return };
        let meant = match &service.selector {
            Some(labels) => {
                let pods = selector(labels);
                let elsewhere = *own != service.namespace;
                let place = if elsewhere {
                    format!(" in namespace {}", service.namespace)
                } else {
                    String::new()
                };
                format!(": name the pods, which have {pods}{place}")
            }
            None => self.written_instead(service),
        };
        let message = format!(
            "{cidr} holds {address}, the ClusterIP of Service {service}; policies see the pods' \
             addresses, not the ClusterIP{meant}"
        );
        self.warn(&format!("{path}.ipBlock"), message);
    }

    /// What to name for a Service without a selector, where its endpoints are written down.
    fn written_instead(&self, service: &Service) -> String {
        let written = self.context.written.of_service(service);
        let mut names: Vec<String> = written.map(|target| told(target.end)).collect();
        names.sort();
        names.dedup();
        if names.is_empty() {
            return String::new();
        }
        format!(": name its endpoints, {}", listed(names))
    }
}

/// An end in words.
fn told(end: End<'_>) -> String {
    match end {
        End::Pod(pod) => pod.to_string(),
        End::Address(address) => address.to_string(),
        End::Node | End::Outside => "somebody outside".to_owned(),
    }
}

impl Context<'_> {
    /// Remarks about each Service; `written` has their places.
    pub(super) fn services(&self, written: &[WrittenPolicy], remarks: &mut Vec<Remark>) {
        for (service, written) in self.cluster.services().iter().zip(written) {
            let pods = match service.endpoints(self.cluster.pods()) {
                Endpoints::Pods(pods) => pods,
                Endpoints::Unknown => Vec::new(),
                Endpoints::External(_) => continue,
            };
            let mut lists = self.cluster.endpoints_of(service);
            let has_written = lists.any(|list| !list.endpoints.is_empty());
            let told = match (pods.is_empty(), &service.selector) {
                (true, Some(_)) if !has_written => self.selects_nobody(service, written),
                _ => self.unreached(service, &pods, has_written),
            };
            let told = told.into_iter().map(|(level, path, message)| Remark {
                level,
                finding: written.finding(&path, message),
            });
            remarks.extend(told);
        }
    }

    fn selects_nobody(
        &self,
        service: &Service,
        written: &WrittenPolicy,
    ) -> Vec<(Level, String, String)> {
        let Service { namespace, .. } = service;
        // A template that is meant for the namespace of who applies it.
        let there = |pod: &&Pod| {
            let namespace = pod.namespace.clone();
            Service { namespace, ..service.clone() }.selects(pod)
        };
        if !written.names_namespace()
            && let Some(pod) = self.cluster.pods().iter().find(there)
        {
            let message = format!(
                "Service {service} selects no pod in namespace {namespace}, where it is as it names none; \
                 if it is applied to namespace {}, as {pod} is, it is right",
                pod.namespace
            );
            return vec![(Level::Note, "spec.selector".to_owned(), message)];
        }
        let labels = selector(service.selector.as_ref().unwrap_or(&service.labels));
        let (level, message) = match self.operators.may_make(&labels, Some(namespace)) {
            Some(made) => (
                Level::Note,
                format!("no manifest has pods{} in namespace {namespace}; {made}", labels.with()),
            ),
            None => (
                Level::Warning,
                format!(
                    "Service {service} selects no pod: none in namespace {namespace} has {labels}"
                ),
            ),
        };
        vec![(level, "spec.selector".to_owned(), message)]
    }

    /// Ports of a Service that lead to no port of its pods, or to one that nobody may reach.
    fn unreached(
        &self,
        service: &Service,
        pods: &[&Pod],
        has_written: bool,
    ) -> Vec<(Level, String, String)> {
        let mut told = Vec::new();
        for (index, port) in service.ports.iter().enumerate() {
            let path = format!("spec.ports[{index}]");
            let protocol = port.protocol;
            let selected =
                pods.iter().filter_map(|pod| Some((End::Pod(pod), port.target_on(pod)?)));
            let written = self.written.of_port(port).map(|target| (target.end, target.number));
            let targets: Vec<(End<'_>, u16)> = selected.chain(written).collect();
            let Some((first, number)) = targets.first().copied() else {
                let leads = format!("Service {service} leads to no port");
                if let (TargetPort::Named(name), false) = (&port.target, pods.is_empty()) {
                    let message =
                        format!("{leads}: no pod that it selects has a {protocol} port {name:?}");
                    told.push((Level::Warning, format!("{path}.targetPort"), message));
                } else if has_written {
                    let name = port.name.as_ref().map_or_else(
                        || format!("a {protocol} port without a name"),
                        |name| format!("a {protocol} port {name:?}"),
                    );
                    let message = format!("{leads}: no list of its endpoints has {name}");
                    told.push((Level::Warning, path, message));
                }
                continue;
            };
            if targets.iter().all(|(end, number)| self.is_unreached(*end, protocol, *number)) {
                let who = match first {
                    End::Pod(pod) => {
                        let others = self.reached.at(pod).filter(|reached| !reached.is_none());
                        let others = others.map(|reached| format!(" (only to {reached})"));
                        format!(
                            "no rule lets anyone to {protocol} port {number} of {pod}{}",
                            others.unwrap_or_default()
                        )
                    }
                    other => {
                        let whose = self::told(other);
                        format!("no rule lets a pod out to {protocol} port {number} of {whose}")
                    }
                };
                let message =
                    format!("nobody may reach Service {service} at port {}: {who}", port.port);
                told.push((Level::Warning, path, message));
            }
        }
        told
    }

    /// Whether nobody may reach an endpoint, as far as the inputs show.
    fn is_unreached(&self, end: End<'_>, protocol: Protocol, number: u16) -> bool {
        let End::Pod(pod) = end else {
            let mut pods = self.cluster.pods().iter().peekable();
            return pods.peek().is_some()
                && pods.all(|pod| {
                    let (source, destination) = (End::Pod(pod), end);
                    let connection = Connection { source, destination, protocol, port: number };
                    evaluate(self.cluster, &connection).answer() == Answer::No
                });
        };
        let reached = self.reached.at(pod);
        reached.is_some_and(|reached| !reached.contains(protocol, number))
            && !self.waits_for_somebody(pod, |rule| rule.covers(end, protocol, number))
    }
}

/// A Service's labels as a selector.
fn selector(labels: &crate::selector::Labels) -> Selector {
    let requirement = |(key, value): (&String, &String)| Requirement {
        key: key.clone(),
        operator: Operator::In(vec![value.clone()]),
    };
    Selector::new(labels.iter().map(requirement).collect())
}

#[cfg(test)]
mod tests;
