//! The endpoints of a Service that somebody has written down.

use super::{Destination, LeftOut};
use crate::cluster::{Cluster, Pod};
use crate::endpoints::{Endpoint, Readiness};
use crate::family::Family;
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
    let mut found: Vec<Found<'a>> = Vec::new();
    for list in cluster.endpoints_of(service) {
        let target =
            if service.headless { Some(asked) } else { port.and_then(|port| list.target_of(port)) };
        for one in &list.endpoints {
            // Slices of another family are not of this Service's addresses.
            let family = Family::of(one.address);
            if let Some(own) = service.families.first()
                && !service.families.contains(&family)
            {
                let left_out = (end_of(cluster, one), LeftOut::NoAddress(*own));
                destination.left_out.push(left_out);
                continue;
            }
            let one = Found { end: end_of(cluster, one), target, readiness: one.readiness };
            // Endpoints and the slices that a controller makes of them are the same ones.
            match found.iter_mut().find(|other| other.is_same(&one)) {
                Some(other) => other.readiness = other.readiness.min(one.readiness),
                None => found.push(one),
            }
        }
    }
    let has_ready = !destination.ends.is_empty()
        || found.iter().any(|one| one.target.is_some() && one.readiness == Readiness::Ready);
    for Found { end, target, readiness } in found {
        // Whatever `publishNotReadyAddresses` says: the slice would say so itself.
        let serves = match readiness {
            Readiness::Ready => true,
            // A name stands for those alone that are ready.
            Readiness::Terminating => !has_ready && !service.headless,
            Readiness::Unready => false,
        };
        match target {
            Some(target) if serves => {
                if !destination
                    .ends
                    .iter()
                    .any(|(other, port)| is_one(*other, end) && *port == target)
                {
                    destination.ends.push((end, target));
                }
            }
            Some(_) => destination.left_out.push((end, LeftOut::NotReady)),
            None => destination.left_out.push((end, LeftOut::NotListed)),
        }
    }
    // Who is in another list too, and served there, is not left out.
    let Destination { ends, left_out, .. } = destination;
    left_out.retain(|(one, _)| !ends.iter().any(|(end, _)| is_one(*one, *end)));
}

/// An endpoint that a list names, and the port there.
struct Found<'a> {
    end: End<'a>,
    target: Option<u16>,
    readiness: Readiness,
}

impl Found<'_> {
    fn is_same(&self, other: &Self) -> bool {
        is_one(self.end, other.end) && self.target == other.target
    }
}

/// The pod of the inputs that an endpoint is, or an address outside. The address decides, whatever pod is named;
/// only that of a pod which is just written down is not known.
#[must_use]
pub fn end_of<'a>(cluster: &'a Cluster, endpoint: &Endpoint) -> End<'a> {
    let named = endpoint.pod.as_ref().and_then(|name| cluster.pod(&name.namespace, &name.name));
    let has = |pod: &Pod| pod.addresses.contains(&endpoint.address);
    let named = named.filter(|pod| pod.addresses.is_empty() || has(pod));
    let owns = |pod: &&Pod| !pod.host_network && has(pod);
    let found = named.or_else(|| cluster.pods().iter().find(owns));
    found.map_or(End::Address(endpoint.address), End::Pod)
}

fn is_one(one: End<'_>, other: End<'_>) -> bool {
    match (one, other) {
        (End::Pod(one), End::Pod(other)) => std::ptr::eq(one, other),
        (End::Address(one), End::Address(other)) => one == other,
        _ => false,
    }
}
