//! What anybody may reach of each workload, without a list of the pairs.

use std::collections::BTreeMap;

use super::{ListedEnd, walked};
use crate::cluster::Cluster;
use crate::connections::Connections;

/// What any other workload or address outside may reach of each workload, or may perhaps where that is not
/// known.
#[must_use]
pub fn reached(cluster: &Cluster) -> BTreeMap<ListedEnd, Connections> {
    walked(cluster, |walk| {
        let into = walk.each_reached();
        let of = |(end, id)| {
            let end: &ListedEnd = walk.end(end).end;
            (end.clone(), walk.connections(id).clone())
        };
        into.into_iter().enumerate().map(of).collect()
    })
}
