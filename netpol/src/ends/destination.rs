//! Where a connection goes that somebody names: to pods, to an address, or to a Service, which is a name
//! for the pods behind it.

use std::net::IpAddr;

use super::{EndError, Wanted, find, kind_of, readings};
use crate::cluster::{Cluster, Pod};
use crate::isolation::End;
use crate::port::Protocol;
use crate::service::{Endpoints, Service, ServicePort};

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
    /// Pods that the Service selects and that have no port of the name it leads to.
    pub without_port: Vec<&'a Pod>,
    /// Whether there may be ends that nobody has written down.
    pub is_unknown: bool,
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
    if let Some(service) = service(cluster, namespace, text)? {
        return through(cluster, service, port, protocol, 0);
    }
    let bare = |name: &Wanted<'_>| {
        let is_bare = name.kind.is_none();
        cluster.services().iter().find(|service| {
            is_bare && service.namespace == name.namespace && service.name == name.name
        })
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
    Ok(Destination { through: None, ends: ends?, without_port: Vec::new(), is_unknown: false })
}

/// The Service that `text` names and nothing else could be.
fn service<'a>(
    cluster: &'a Cluster,
    namespace: &str,
    text: &str,
) -> Result<Option<&'a Service>, EndError> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    if let Ok(address) = bare.parse::<IpAddr>() {
        let has = |service: &&Service| service.cluster_ips.contains(&address);
        return Ok(cluster.services().iter().find(has));
    }
    let is = |name: &str, namespace: &str| {
        let mut services = cluster.services().iter();
        services.find(|service| service.name == name && service.namespace == namespace)
    };
    for wanted in readings(namespace, text) {
        let Some(kind) = wanted.kind else { continue };
        if kind != "Service" {
            continue;
        }
        if let Some(found) = is(wanted.name, wanted.namespace) {
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
            is(name, namespace).map(Some).ok_or_else(|| no_service(cluster, text))
        }
        Some((name, namespace, false)) => Ok(is(name, namespace)),
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
    EndError::NoSuchService { text: text.to_owned(), there: super::listed(all.collect()) }
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
                there: super::listed(all.collect()),
            });
        }
    };
    let mut destination = Destination {
        through: Some((service, number)),
        ends: Vec::new(),
        without_port: Vec::new(),
        is_unknown: false,
    };
    match service.endpoints(cluster.pods()) {
        Endpoints::Unknown => destination.is_unknown = true,
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
                let target = if service.headless {
                    Some(number)
                } else {
                    own.and_then(|own| own.target_on(pod))
                };
                match target {
                    Some(target) => destination.ends.push((End::Pod(pod), target)),
                    None => destination.without_port.push(pod),
                }
            }
        }
    }
    Ok(destination)
}

/// The Service of the cluster that a DNS name is of.
fn service_of<'a>(cluster: &'a Cluster, name: &str) -> Option<&'a Service> {
    let (name, namespace, true) = dns_name(name)? else { return None };
    let mut services = cluster.services().iter();
    services.find(|service| service.name == name && service.namespace == namespace)
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
            there: super::listed(names.collect()),
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
mod tests {
    use super::*;
    use crate::read::{Input, manifests};

    const CLUSTER: &str = "
apiVersion: v1
kind: Pod
metadata: {name: db-a, namespace: shop, labels: {app: db}}
spec: {containers: [{name: c, ports: [{name: sql, containerPort: 5432}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: db-b, namespace: shop, labels: {app: db}}
spec: {containers: [{name: c, ports: [{name: sql, containerPort: 5433}, {name: dns, containerPort: 53, protocol: UDP}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: db-c, namespace: shop, labels: {app: db}}
spec: {containers: [{name: c}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, labels: {app: web}}
spec: {containers: [{name: c, ports: [{name: http, containerPort: 8080}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: db, namespace: shop}
spec: {clusterIP: 10.96.0.7, selector: {app: db}, ports: [{name: sql, port: 80, targetPort: sql}, {name: dns, port: 53, protocol: UDP, targetPort: 1053}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: nobody, namespace: shop}
spec: {selector: {app: nobody}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: by-hand, namespace: shop}
spec: {ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: peers, namespace: shop}
spec: {clusterIP: None, selector: {app: db}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: away, namespace: shop}
spec: {type: ExternalName, externalName: db.example.com}
---
apiVersion: v1
kind: Service
metadata: {name: alias, namespace: shop}
spec: {type: ExternalName, externalName: web.shop.svc.cluster.local}
";

    fn to(text: &str) -> Result<String, String> {
        let cluster = manifests(&[Input::new("-")], CLUSTER.as_bytes()).unwrap().cluster;
        let (end, port) = text.rsplit_once(':').unwrap();
        let (port, protocol) = match port.strip_suffix("/UDP") {
            Some(port) => (port, Protocol::Udp),
            None => (port, Protocol::Tcp),
        };
        let port = port.parse().map_or_else(|_| PortName::Named(port.to_owned()), PortName::Number);
        let found = destination(&cluster, "shop", end, &port, protocol)
            .map_err(|error| error.to_string())?;
        let ends = found.ends.iter().map(|(end, port)| match end {
            End::Pod(pod) => format!("{}:{port}", pod.name),
            End::Outside => format!("outside:{port}"),
            other => format!("{other:?}:{port}"),
        });
        let mut words: Vec<String> = ends.collect();
        words.extend(found.without_port.iter().map(|pod| format!("not {}", pod.name)));
        if found.is_unknown {
            words.push("unknown".to_owned());
        }
        let through = found.through.map(|(service, _)| format!("{}: ", service.name));
        Ok(through.unwrap_or_default() + &words.join(" "))
    }

    #[test]
    fn a_service_leads_to_its_pods_at_the_port_that_each_calls_so() {
        let all = "db: db-a:5432 db-b:5433 not db-c";
        for text in [
            "svc/db:80",
            "services/db:sql",
            "shop/svc/db:80",
            "db[Service]:80",
            "db.shop.svc:80",
            "db.shop.svc.cluster.local:80",
            "db.shop.svc.cluster.local.:80",
            "db.shop:80",
            "10.96.0.7:80",
        ] {
            assert_eq!(to(text).unwrap(), all, "{text}");
        }
        assert_eq!(to("svc/db:53/UDP").unwrap(), "db: db-a:1053 db-b:1053 db-c:1053");
    }

    #[test]
    fn a_bare_name_is_a_services_only_where_no_pod_has_the_port() {
        assert_eq!(to("web:8080").unwrap(), "web:8080");
        assert_eq!(to("web:80").unwrap(), "web: web:8080");
        assert_eq!(to("web:http").unwrap(), "web:8080");
        assert_eq!(to("web:81").unwrap(), "web:81", "nobody's port");
        assert_eq!(to("nobody:80").unwrap(), "nobody: ");
    }

    #[test]
    fn a_service_without_selector_is_unknown_and_one_of_another_name_is_outside() {
        assert_eq!(to("svc/by-hand:80").unwrap(), "by-hand: unknown");
        assert_eq!(to("svc/away:5432").unwrap(), "away: outside:5432");
        assert_eq!(to("svc/alias:80").unwrap(), "alias: web:8080");
    }

    #[test]
    fn a_headless_service_sends_nobody_to_another_port() {
        assert_eq!(to("svc/peers:80").unwrap(), "peers: db-a:80 db-b:80 db-c:80");
        assert_eq!(to("peers.shop.svc:5432").unwrap(), "peers: db-a:5432 db-b:5432 db-c:5432");
    }

    #[test]
    fn a_service_or_port_that_is_not_there_is_told_with_those_that_are() {
        assert_eq!(
            to("svc/db:81").unwrap_err(),
            "Service shop/db has no TCP port 81; it has: 80/TCP (sql), 53/UDP (dns)"
        );
        let said = to("svc/bd:80").unwrap_err();
        assert!(said.starts_with("\"svc/bd\": no such Service; there are: shop/db, "), "{said}");
        assert!(to("db.other.svc:80").unwrap_err().contains("no such Service"));
        assert_eq!(
            to("db-b:dnss/UDP").unwrap_err(),
            "shop/db-b has no UDP port named \"dnss\"; it names: sql, dns (UDP)"
        );
    }
}
