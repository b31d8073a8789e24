//! Where a connection goes that somebody names: to pods, to an address, or to a Service, which is a name
//! for the pods behind it.

mod written;

pub use self::written::end_of;
use super::{EndError, Wanted, address, find, kind_of, readings};
use crate::cluster::Cluster;
use crate::family::Family;
use crate::isolation::End;
use crate::port::Protocol;
use crate::service::{Endpoints, Service, ServicePort};
use crate::spelling::listed;

/// A port as somebody names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortName {
    /// By its number.
    Number(u16),
    /// By a name that a pod or a Service gives it.
    Named(String),
}

impl std::fmt::Display for PortName {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(number) => write!(out, "{number}"),
            Self::Named(name) => write!(out, "{name:?}"),
        }
    }
}

/// Where a connection goes.
#[derive(Clone, Debug)]
pub struct Destination<'a> {
    /// The Service that it goes through, and that one's port.
    pub through: Option<(&'a Service, u16)>,
    /// The ends that it may reach, each with the port there; none, if nobody answers.
    pub ends: Vec<(End<'a>, u16)>,
    /// Who is behind the Service and is no endpoint of this port.
    pub left_out: Vec<(End<'a>, LeftOut)>,
    /// The families that the connection can be of; none, if any. A pod may have addresses of others.
    pub families: Vec<Family>,
    /// Whether there may be ends that nobody has written down.
    pub is_unknown: bool,
}

/// Why somebody behind a Service is no endpoint of one of its ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeftOut {
    /// It has no port of the name that the Service leads to.
    NoPort,
    /// The list of endpoints that it is in has no port of the name and protocol of the Service's.
    NotListed,
    /// It is there, and is not ready.
    NotReady,
    /// It has addresses, and none of the Service's family.
    NoAddress(Family),
}

impl std::fmt::Display for LeftOut {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoPort => out.write_str("it has no port of the name that the Service leads to"),
            Self::NotListed => {
                out.write_str("its list has no port of the Service's name and protocol")
            }
            Self::NotReady => out.write_str("it is not ready"),
            Self::NoAddress(family) => {
                write!(out, "the Service is of {family}, of which it has no address")
            }
        }
    }
}

/// Where `text` and `port` lead to, as they are named in `namespace`. A Service is meant by `svc/NAME`, by
/// its DNS name (`NAME.NAMESPACE.svc`), by its address, and by its bare name where no workload has that name
/// and the port.
pub fn destination<'a>(
    cluster: &'a Cluster,
    namespace: &str,
    text: &str,
    port: &PortName,
    protocol: Protocol,
) -> Result<Destination<'a>, EndError> {
    let families: Vec<_> = address(text).map(Family::of).into_iter().collect();
    if let Some(service) = service(cluster, namespace, text)? {
        let mut destination = through(cluster, service, port, protocol, 0)?;
        if !families.is_empty() {
            // One of the Service's addresses: its other one is another way.
            destination.keep_to(families);
        }
        return Ok(destination);
    }
    let bare = |name: &Wanted<'_>| {
        if name.kind.is_none() { cluster.service(name.namespace, name.name) } else { None }
    };
    let named = readings(namespace, text).iter().find_map(bare);
    let ends = match (find(cluster, namespace, text), named) {
        (Ok(ends), None) => ends,
        (Ok(ends), Some(service)) => {
            let is_theirs = ends.iter().any(|end| has_port(*end, port, protocol));
            if !is_theirs && service_port(service, port, protocol).is_some() {
                return through(cluster, service, port, protocol, 0);
            }
            ends
        }
        (Err(EndError::NoSuchEnd { .. }), Some(service)) => {
            return through(cluster, service, port, protocol, 0);
        }
        (Err(error), _) => return Err(error),
    };
    let ends: Result<Vec<_>, _> =
        ends.into_iter().map(|end| Ok((end, number(end, port, protocol)?))).collect();
    Ok(Destination {
        through: None,
        ends: ends?,
        left_out: Vec::new(),
        families,
        is_unknown: false,
    })
}

impl Destination<'_> {
    /// Leaves out who has addresses of other families alone.
    fn keep_to(&mut self, families: Vec<Family>) {
        self.families = families;
        let Some(first) = self.families.first().copied() else { return };
        let has = |end: End<'_>| match end {
            End::Pod(pod) => {
                pod.addresses.is_empty() || self.families.iter().any(|family| family.is_of(pod))
            }
            End::Address(address) => self.families.contains(&Family::of(address)),
            End::Node | End::Outside => true,
        };
        let (kept, left_out) = self.ends.drain(..).partition::<Vec<_>, _>(|(end, _)| has(*end));
        self.ends = kept;
        let left_out = left_out.into_iter().map(|(end, _)| (end, LeftOut::NoAddress(first)));
        self.left_out.extend(left_out);
    }
}

/// The Service that `text` names and nothing else could be.
fn service<'a>(
    cluster: &'a Cluster,
    namespace: &str,
    text: &str,
) -> Result<Option<&'a Service>, EndError> {
    if let Some(address) = address(text) {
        let has = |service: &&Service| service.cluster_ips.contains(&address);
        return Ok(cluster.services().iter().find(has));
    }
    for wanted in readings(namespace, text) {
        let Some(kind) = wanted.kind else { continue };
        if kind != "Service" {
            continue;
        }
        if let Some(found) = cluster.service(wanted.namespace, wanted.name) {
            return Ok(Some(found));
        }
        // A namespace may be called svc.
        if find(cluster, namespace, text).is_ok() {
            return Ok(None);
        }
        return Err(no_service(cluster, text));
    }
    match dns_name(text) {
        Some((name, namespace, true)) => {
            let found = cluster.service(namespace, name);
            found.map(Some).ok_or_else(|| no_service(cluster, text))
        }
        Some((name, namespace, false)) => Ok(cluster.service(namespace, name)),
        None => Ok(None),
    }
}

/// Name and namespace of a DNS name of a Service (`NAME.NAMESPACE.svc` and its cluster's domain, or
/// `NAME.NAMESPACE`), and whether it can be nothing else.
fn dns_name(text: &str) -> Option<(&str, &str, bool)> {
    let mut labels = text.trim_end_matches('.').split('.');
    let (name, namespace) = (labels.next()?, labels.next()?);
    let valid = |label: &str| crate::names::dns_label(label).is_empty();
    if !valid(name) || !valid(namespace) {
        return None;
    }
    match labels.next() {
        None => Some((name, namespace, false)),
        Some("svc") => Some((name, namespace, true)),
        Some(_) => None,
    }
}

fn no_service(cluster: &Cluster, text: &str) -> EndError {
    let all = cluster.services().iter().map(ToString::to_string);
    EndError::NoSuchService { text: text.to_owned(), there: listed(all.collect()) }
}

/// Whether a pod declares the port.
fn has_port(end: End<'_>, port: &PortName, protocol: Protocol) -> bool {
    let End::Pod(pod) = end else { return true };
    match port {
        PortName::Number(number) => pod.ports.contains(&(protocol, *number)),
        PortName::Named(name) => pod.ports_named(name, protocol).next().is_some(),
    }
}

fn service_port<'s>(
    service: &'s Service,
    port: &PortName,
    protocol: Protocol,
) -> Option<&'s ServicePort> {
    service.ports.iter().find(|own| {
        own.protocol == protocol
            && match port {
                PortName::Number(number) => own.port == *number,
                PortName::Named(name) => own.name.as_ref() == Some(name),
            }
    })
}

/// Goes from a Service to who is behind it: the port of each pod is the one that its `targetPort` names.
fn through<'a>(
    cluster: &'a Cluster,
    service: &'a Service,
    port: &PortName,
    protocol: Protocol,
    depth: u8,
) -> Result<Destination<'a>, EndError> {
    let own = service_port(service, port, protocol);
    let number = match (own, port) {
        (Some(own), _) => own.port,
        // What has no address of its own sends nobody to another port.
        (None, PortName::Number(number)) if service.headless || service.external_name.is_some() => {
            *number
        }
        (None, _) => {
            let all = service.ports.iter().map(|own| {
                let name = own.name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
                format!("{}/{}{name}", own.port, own.protocol)
            });
            return Err(EndError::NoServicePort {
                service: service.to_string(),
                port: port.to_string(),
                protocol,
                there: listed(all.collect()),
            });
        }
    };
    let mut destination = Destination {
        through: Some((service, number)),
        ends: Vec::new(),
        left_out: Vec::new(),
        families: Vec::new(),
        is_unknown: false,
    };
    match service.endpoints(cluster.pods()) {
        Endpoints::Unknown => {
            destination.is_unknown =
                !cluster.has_all_endpoints() && cluster.endpoints_of(service).next().is_none();
        }
        Endpoints::External(name) => {
            /// How often a name may stand for another one.
            const DEEPEST: u8 = 8;
            let other = service_of(cluster, name).filter(|_| depth < DEEPEST);
            match other {
                Some(other) => {
                    let port = PortName::Number(number);
                    let behind = through(cluster, other, &port, protocol, depth + 1)?;
                    return Ok(Destination { through: destination.through, ..behind });
                }
                None => destination.ends.push((End::Outside, number)),
            }
        }
        Endpoints::Pods(pods) => {
            for pod in pods {
                if pod.is_unready && !service.has_unready {
                    destination.left_out.push((End::Pod(pod), LeftOut::NotReady));
                    continue;
                }
                let target = if service.headless {
                    Some(number)
                } else {
                    own.and_then(|own| own.target_on(pod))
                };
                match target {
                    Some(target) => destination.ends.push((End::Pod(pod), target)),
                    None => destination.left_out.push((End::Pod(pod), LeftOut::NoPort)),
                }
            }
        }
    }
    written::add(&mut destination, cluster, service, own);
    destination.keep_to(service.families.clone());
    Ok(destination)
}

/// The Service of the cluster that a DNS name is of.
fn service_of<'a>(cluster: &'a Cluster, name: &str) -> Option<&'a Service> {
    let (name, namespace, true) = dns_name(name)? else { return None };
    cluster.service(namespace, name)
}

/// The port by its number, or by the name that the destination gives it.
fn number(destination: End<'_>, port: &PortName, protocol: Protocol) -> Result<u16, EndError> {
    let name = match port {
        PortName::Number(number) => return Ok(*number),
        PortName::Named(name) => name,
    };
    let End::Pod(pod) = destination else {
        return Err(EndError::NoNamedPorts { port: name.clone() });
    };
    pod.ports_named(name, protocol).next().ok_or_else(|| {
        let names = pod.named_ports.iter().map(|port| match port.protocol {
            Protocol::Tcp => port.name.clone(),
            other => format!("{} ({other})", port.name),
        });
        EndError::NoSuchPort {
            pod: pod.to_string(),
            port: name.clone(),
            protocol,
            there: listed(names.collect()),
        }
    })
}

/// Whether `text` names a Service, which opens no connection.
#[must_use]
pub fn is_service(cluster: &Cluster, namespace: &str, text: &str) -> bool {
    let is_kind = text.split('/').any(|part| kind_of(part) == Some("Service"));
    (is_kind || text.contains('.')) && matches!(service(cluster, namespace, text), Ok(Some(_)))
}

#[cfg(test)]
mod tests;
