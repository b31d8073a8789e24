//! The pods that a Job needs now: how many, of which numbers, and how long after a failure.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::JobSpec;
use serde_json::{Value, json};

use super::super::pods::{self, generated_name, keep_rank, number, phase, tell};
use super::{COMPONENT, INDEX, Seen, TRACKING, index, is_indexed};
use crate::objects::meta::random_suffix;
use crate::objects::{Object, Store};

/// Between a failure and the next pod: doubled with each failure, up to the longest. A cluster begins with
/// ten seconds; here somebody is waiting.
pub(super) const FIRST_BACK_OFF: u64 = 1;
const LONGEST_BACK_OFF: u64 = 600;

/// Makes pods, or deletes those that are too many (`manageJob`). When to look again, if that must wait.
pub(super) fn manage(store: &Store, job: &Object, spec: &JobSpec, seen: &Seen) -> Option<Duration> {
    let parallelism = number(spec.parallelism.unwrap_or(1));
    let active = seen.active.len();
    let wanted = match spec.completions {
        Some(completions) => number(completions).saturating_sub(seen.succeeded).min(parallelism),
        // The first success means that the work is done.
        None if seen.succeeded > 0 => active.min(parallelism),
        None => parallelism,
    };
    if active > wanted {
        let mut spare = seen.active.clone();
        spare.sort_by_key(|pod| keep_rank(pod));
        for pod in spare.iter().take(active - wanted) {
            pods::delete(store, COMPONENT, job, pod);
        }
        return None;
    }
    let waits = spec.pod_replacement_policy.as_deref() == Some("Failed");
    let there = active + if waits { seen.terminating } else { 0 };
    if there >= wanted {
        return None;
    }
    if let Some(left) = back_off(seen) {
        return Some(left);
    }
    if is_indexed(spec) {
        let taken: BTreeSet<usize> = seen.active.iter().filter_map(|pod| index(pod)).collect();
        let free = (0..number(spec.completions.unwrap_or(0)))
            .filter(|index| !seen.completed.contains(index) && !taken.contains(index));
        for index in free.take(wanted - there) {
            create(store, job, Some(index));
        }
    } else {
        for _ in there..wanted {
            create(store, job, None);
        }
    }
    None
}

/// How long to wait for the next pod after those that have failed since the last success.
fn back_off(seen: &Seen) -> Option<Duration> {
    let finished = |pod: &Object| {
        let statuses = pods::status(pod)?.container_statuses.as_ref()?;
        let ends = statuses.iter().filter_map(|one| {
            one.state.as_ref()?.terminated.as_ref()?.finished_at.as_ref().map(|time| time.0)
        });
        ends.max()
    };
    let ended =
        |name: &str| seen.all.iter().filter(move |pod| phase(pod) == name).collect::<Vec<_>>();
    let last_success = ended("Succeeded").into_iter().filter_map(|pod| finished(pod)).max();
    let failures: Vec<_> = ended("Failed")
        .into_iter()
        .filter_map(|pod| finished(pod))
        .filter(|time| last_success.is_none_or(|success| *time > success))
        .collect();
    let last = failures.iter().max()?;
    let doublings = u32::try_from(failures.len() - 1).unwrap_or(u32::MAX);
    let delay =
        FIRST_BACK_OFF.saturating_mul(2_u64.saturating_pow(doublings)).min(LONGEST_BACK_OFF);
    let due = last.checked_add(Duration::from_secs(delay)).ok()?;
    let left = due.duration_since(Timestamp::now());
    Duration::try_from(left).ok().filter(|left| !left.is_zero())
}

fn create(store: &Store, job: &Object, index: Option<usize>) {
    let owner = match index {
        Some(index) => format!("{}-{index}", job.name()),
        None => job.name().to_owned(),
    };
    let name = generated_name(&owner, &random_suffix(5));
    let mut pod = pods::pod_of(job, &job.value()["spec"]["template"], &name);
    pod["metadata"]["generateName"] = format!("{owner}-").into();
    pod["metadata"]["finalizers"] = json!([TRACKING]);
    if let Some(index) = index {
        let text = index.to_string();
        pod["metadata"]["annotations"][INDEX] = text.as_str().into();
        pod["metadata"]["labels"][INDEX] = text.as_str().into();
        if pod["spec"]["hostname"].is_null() {
            pod["spec"]["hostname"] = owner.into();
        }
        for list in ["initContainers", "containers"] {
            let containers = pod["spec"].get_mut(list).and_then(Value::as_array_mut);
            for container in containers.into_iter().flatten() {
                let variable = json!({"name": "JOB_COMPLETION_INDEX", "value": text});
                match container["env"].as_array_mut() {
                    Some(env) => env.push(variable),
                    None => container["env"] = json!([variable]),
                }
            }
        }
    }
    if pods::create(store, pod).is_some() {
        tell(store, COMPONENT, job, "SuccessfulCreate", &format!("Created pod: {name}"));
    }
}
