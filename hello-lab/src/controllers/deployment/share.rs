//! A Deployment that is scaled in the midst of a roll-out: each of its ReplicaSets gets its share
//! (`scale` of pkg/controller/deployment/sync.go).

use std::cmp::Reverse;
use std::sync::Arc;

use super::super::replica_set::replicas;
use crate::objects::Object;

/// How many replicas the Deployment wanted when a set was last scaled, and how many there might have been.
pub(super) const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
pub(super) const MOST: &str = "deployment.kubernetes.io/max-replicas";

fn annotation(set: &Object, name: &str) -> Option<usize> {
    set.value()["metadata"]["annotations"][name].as_str()?.parse().ok()
}

/// Whether another number of replicas is wanted than when one of those was last scaled that have some.
pub(super) fn is_scaled(sets: &[Arc<Object>], wanted: usize) -> bool {
    let mut active = sets.iter().filter(|set| replicas(set) > 0);
    active.any(|set| annotation(set, DESIRED).is_some_and(|desired| desired != wanted))
}

/// What each of the sets that have replicas is to have, of `wanted`, which are at most `most` for now.
pub(super) fn shares(
    sets: &[Arc<Object>],
    wanted: usize,
    most: usize,
) -> Vec<(Arc<Object>, usize)> {
    let mut active: Vec<_> = sets.iter().filter(|set| replicas(set) > 0).cloned().collect();
    if let [only] = &active[..] {
        return vec![(Arc::clone(only), wanted)];
    }
    let total: usize = active.iter().map(|set| replicas(set)).sum();
    // The largest first; of equals that which is to stay the longest.
    active.sort_by_key(|set| Reverse(set.created().to_owned()));
    if total > most {
        active.reverse();
    }
    active.sort_by_key(|set| Reverse(replicas(set)));
    let sizes = active.iter().map(|set| {
        (replicas(set), annotation(set, MOST).filter(|most| *most > 0).unwrap_or(total))
    });
    let sizes = divide(&sizes.collect::<Vec<_>>(), if wanted == 0 { 0 } else { most });
    active.into_iter().zip(sizes).collect()
}

/// Divides `most` among sets of these sizes, each of which is of so many: as before, and what is left over
/// by rounding goes to the first.
fn divide(sizes: &[(usize, usize)], most: usize) -> Vec<usize> {
    let total: usize = sizes.iter().map(|(size, _)| size).sum();
    let mut left = most.abs_diff(total);
    let mut divided: Vec<usize> = sizes
        .iter()
        .map(|(size, of)| {
            // To the nearest.
            let share = (2 * size * most + of) / (2 * of);
            let change = share.abs_diff(*size).min(left);
            let is_ours = (share > *size) == (most > total);
            let change = if is_ours { change } else { 0 };
            left -= change;
            if most > total { size + change } else { size.saturating_sub(change) }
        })
        .collect();
    if let Some(first) = divided.first_mut() {
        *first = if most > total { *first + left } else { first.saturating_sub(left) };
    }
    divided
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_set_gets_its_share_to_the_nearest_and_the_largest_what_is_left() {
        assert_eq!(divide(&[(8, 13), (5, 13)], 33), [20, 13]);
        assert_eq!(divide(&[(8, 13), (5, 13)], 13), [8, 5]);
        assert_eq!(divide(&[(20, 33), (13, 33)], 13), [8, 5]);
        assert_eq!(divide(&[(1, 3), (1, 3), (1, 3)], 4), [2, 1, 1]);
        assert_eq!(divide(&[(2, 3), (1, 3)], 0), [0, 0]);
        assert!(divide(&[], 3).is_empty());
    }
}
