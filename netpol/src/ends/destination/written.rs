//! The endpoints of a Service that somebody has written down.

use super::{Destination, LeftOut};
use crate::cluster::{Cluster, Pod};
use crate::endpoints::{Endpoint, EndpointList, Readiness};
use crate::isolation::End;
use crate::service::{Service, ServicePort};

/// Adds them to where `port` of `service` leads. (A headless Service has no port of its own: who asks for its
/// name connects by the port that he knows.)
pub(super) fn add<'a>(
    destination: &mut Destination<'a>,
    cluster: &'a Cluster,
    service: &'a Service,
    port: Option<&ServicePort>,
) {
    let Some((_, asked)) = destination.through else { return };
    let mut found: Vec<(End<'a>, Option<u16>, Readiness)> = Vec::new();
    for list in cluster.endpoints_of(service) {
        let target =
            if service.headless { Some(asked) } else { port.and_then(|port| list.target_of(port)) };
        let ends =
            list.endpoints.iter().map(|one| (end(cluster, list, one), target, one.readiness));
        for one in ends {
            // Endpoints and the slices that a controller makes of them are the same ones.
            if !found.iter().any(|other| is_same(other, &one)) {
                found.push(one);
            }
        }
    }
    let has_ready =
        found.iter().any(|(_, target, one)| target.is_some() && *one == Readiness::Ready);
    for (end, target, readiness) in found {
        // Whatever `publishNotReadyAddresses` says: the slice would say so itself.
        let serves = match readiness {
            Readiness::Ready => true,
            Readiness::Terminating => !has_ready,
            Readiness::Unready => false,
        };
        match target {
            Some(target) if serves => destination.ends.push((end, target)),
            Some(_) => destination.left_out.push((end, LeftOut::NotReady)),
            None => destination.left_out.push((end, LeftOut::NotListed)),
        }
    }
}

/// The pod of the inputs that an endpoint is, or an address outside.
fn end<'a>(cluster: &'a Cluster, list: &EndpointList, endpoint: &Endpoint) -> End<'a> {
    let named = endpoint.pod.as_ref().and_then(|name| cluster.pod(&list.namespace, name));
    let owns = |pod: &&Pod| !pod.host_network && pod.addresses.contains(&endpoint.address);
    let found = named.or_else(|| cluster.pods().iter().find(owns));
    found.map_or(End::Address(endpoint.address), End::Pod)
}

fn is_same(
    (one, one_port, _): &(End<'_>, Option<u16>, Readiness),
    (other, other_port, _): &(End<'_>, Option<u16>, Readiness),
) -> bool {
    let is_same_end = match (one, other) {
        (End::Pod(one), End::Pod(other)) => std::ptr::eq(*one, *other),
        (End::Address(one), End::Address(other)) => one == other,
        _ => false,
    };
    is_same_end && one_port == other_port
}
