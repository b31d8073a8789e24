//! Runs the pods of a Job until enough have succeeded or too many have failed
//! (pkg/controller/job, pkg/controller/ttlafterfinished).
//!
//! A pod has a finalizer until it is counted, so that none is forgotten that somebody deletes.

mod indexes;
mod work;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobSpec, JobStatus};
use netpol::selector::Selector;
use serde_json::{Value, json};

use self::indexes::{indexes, ranges};
use self::work::manage;
use super::pods::{self, claim, has_ended, is_active, is_ready, number, phase, selector, tell};
use crate::objects::deletion::{self, Deletion, Propagation, has_finalizer, remove_finalizer};
use crate::objects::events::{Severity, record};
use crate::objects::meta::{condition, now, seconds_since};
use crate::objects::{Kind, Object, Store};

const COMPONENT: &str = "job-controller";

/// Keeps a pod until it is counted (`JobTrackingFinalizer` of k8s.io/api/batch/v1).
const TRACKING: &str = "batch.kubernetes.io/job-tracking";

/// The label and annotation with the index of a pod (`JobCompletionIndexAnnotation`).
const INDEX: &str = "batch.kubernetes.io/job-completion-index";

/// How a Job ends: the condition that says so, that which comes before it, and why.
struct End {
    condition: &'static str,
    before: &'static str,
    reason: &'static str,
    message: &'static str,
}

const COMPLETE: End = End {
    condition: "Complete",
    before: "SuccessCriteriaMet",
    reason: "CompletionsReached",
    message: "Reached expected number of succeeded pods",
};

const TOO_MANY_FAILED: End = End {
    condition: "Failed",
    before: "FailureTarget",
    reason: "BackoffLimitExceeded",
    message: "Job has reached the specified backoff limit",
};

const TOO_LATE: End = End {
    condition: "Failed",
    before: "FailureTarget",
    reason: "DeadlineExceeded",
    message: "Job was active longer than specified deadline",
};

/// Looks at every Job; when the next look is due, if one is.
pub(super) fn step(store: &Store) -> Option<Duration> {
    let jobs = store.list(Kind::Job, None).0;
    let due = jobs.iter().filter_map(|job| sync(store, job)).min();
    // What somebody else's pod, or one whose Job is gone, waits for, comes no more.
    for pod in store.list(Kind::Pod, None).0 {
        let has_job =
            || pod.controller().is_some_and(|uid| jobs.iter().any(|job| job.uid() == uid));
        if has_finalizer(&pod, TRACKING) && !has_job() {
            remove_finalizer(store, &pod.key(), TRACKING);
        }
    }
    due
}

/// Whether a Job has ended, and how.
pub(super) fn ending(job: &Object) -> Option<&'static str> {
    ["Complete", "Failed"].into_iter().find(|name| holds(job, name))
}

fn status(job: &Object) -> JobStatus {
    job.typed::<Job>().status.clone().unwrap_or_default()
}

fn holds(job: &Object, name: &str) -> bool {
    let status = job.typed::<Job>().status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_ref()).into_iter().flatten();
    conditions.into_iter().any(|one| one.type_ == name && one.status == "True")
}

/// What is known of a Job's pods.
struct Seen {
    /// Those that run or will.
    active: Vec<Arc<Object>>,
    /// Those that end.
    terminating: usize,
    /// Those that are to be counted now.
    counted: Vec<Arc<Object>>,
    succeeded: usize,
    failed: usize,
    /// Of an indexed Job, what is done.
    completed: BTreeSet<usize>,
    /// All of them.
    all: Vec<Arc<Object>>,
}

fn sync(store: &Store, job: &Object) -> Option<Duration> {
    let spec = job.typed::<Job>().spec.as_ref()?;
    let selector = selector(spec.selector.as_ref())?;
    if ending(job).is_some() || job.is_terminating() {
        for pod in own(store, job, &selector).iter().filter(|pod| has_finalizer(pod, TRACKING)) {
            remove_finalizer(store, &pod.key(), TRACKING);
        }
        return if job.is_terminating() { None } else { clean_up(store, job, spec) };
    }
    let is_suspended = spec.suspend == Some(true);
    let seen = look(store, job, spec, &selector, is_suspended);
    let end = end_of(job, spec, &seen);
    let is_over = end.is_some_and(|_| seen.active.is_empty() && seen.terminating == 0);
    if !write(store, job, spec, &seen, end, is_over) {
        return None;
    }
    for pod in &seen.counted {
        remove_finalizer(store, &pod.key(), TRACKING);
    }
    if end.is_some() || is_suspended {
        for pod in &seen.active {
            pods::delete(store, COMPONENT, job, pod);
        }
        return None;
    }
    let back_off = manage(store, job, spec, &seen);
    let deadline = spec.active_deadline_seconds.and_then(|seconds| {
        let started = job.value()["status"]["startTime"].as_str()?;
        let left = seconds.saturating_sub(seconds_since(started)).max(0);
        Some(Duration::from_secs(u64::try_from(left).ok()?) + Duration::from_millis(50))
    });
    [back_off, deadline].into_iter().flatten().min()
}

fn own(store: &Store, job: &Object, selector: &Selector) -> Vec<Arc<Object>> {
    claim(store, job, selector, store.list(Kind::Pod, Some(job.namespace())).0)
}

fn is_indexed(spec: &JobSpec) -> bool {
    spec.completion_mode.as_deref() == Some("Indexed")
}

fn index(pod: &Object) -> Option<usize> {
    pod.value()["metadata"]["annotations"][INDEX].as_str()?.parse().ok()
}

/// Looks at a Job's pods, and counts those that have not been.
fn look(store: &Store, job: &Object, spec: &JobSpec, selector: &Selector, suspended: bool) -> Seen {
    let all = own(store, job, selector);
    let before = status(job);
    let waits = spec.pod_replacement_policy.as_deref() == Some("Failed");
    let has_failed = |pod: &Object| {
        phase(pod) == "Failed"
            // One that is deleted is a failure at once (`isPodFailed`), but for those that this has deleted.
            || pod.is_terminating() && phase(pod) != "Succeeded" && !waits && !suspended
    };
    let counted: Vec<_> = all
        .iter()
        .filter(|pod| has_finalizer(pod, TRACKING))
        .filter(|pod| {
            has_failed(pod) || phase(pod) == "Succeeded" || pod.is_terminating() && suspended
        })
        .cloned()
        .collect();
    let count = |phase_or_failed: &dyn Fn(&Object) -> bool| {
        counted.iter().filter(|pod| phase_or_failed(pod)).count()
    };
    let failed = number(before.failed.unwrap_or(0)) + count(&has_failed);
    let mut completed: BTreeSet<usize> =
        indexes(before.completed_indexes.as_deref().unwrap_or_default());
    let limit = number(spec.completions.unwrap_or(0));
    let succeeded = if is_indexed(spec) {
        let done = all.iter().filter(|pod| phase(pod) == "Succeeded");
        completed.extend(done.filter_map(|pod| index(pod)).filter(|index| *index < limit));
        completed.len()
    } else {
        number(before.succeeded.unwrap_or(0)) + count(&|pod| phase(pod) == "Succeeded")
    };
    let terminating = all.iter().filter(|pod| pod.is_terminating() && !has_ended(pod)).count();
    let active = all.iter().filter(|pod| is_active(pod)).cloned().collect();
    Seen { active, terminating, counted, succeeded, failed, completed, all }
}

/// How a Job is to end now, if it is.
fn end_of(job: &Object, spec: &JobSpec, seen: &Seen) -> Option<&'static End> {
    if holds(job, COMPLETE.before) {
        return Some(&COMPLETE);
    }
    if holds(job, TOO_MANY_FAILED.before) {
        let conditions = &job.value()["status"]["conditions"];
        let is_late =
            conditions.as_array().into_iter().flatten().any(|one| one["reason"] == TOO_LATE.reason);
        return Some(if is_late { &TOO_LATE } else { &TOO_MANY_FAILED });
    }
    let limit = number(spec.backoff_limit.unwrap_or(6));
    if seen.failed > limit || restarted_too_often(spec, seen, limit) {
        return Some(&TOO_MANY_FAILED);
    }
    let started = job.value()["status"]["startTime"].as_str();
    let late = |limit: i64| started.is_some_and(|started| seconds_since(started) >= limit);
    if spec.suspend != Some(true) && spec.active_deadline_seconds.is_some_and(late) {
        return Some(&TOO_LATE);
    }
    let done = match spec.completions {
        Some(completions) => seen.succeeded >= number(completions),
        None => seen.succeeded > 0 && seen.active.is_empty(),
    };
    done.then_some(&COMPLETE)
}

/// `pastBackoffLimitOnFailure`: containers that are started again in their pod are failures too.
fn restarted_too_often(spec: &JobSpec, seen: &Seen, limit: usize) -> bool {
    let policy = spec.template.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref());
    if policy != Some("OnFailure") {
        return false;
    }
    let statuses = seen.active.iter().filter_map(|pod| pods::status(pod));
    let restarts: usize = statuses
        .flat_map(|status| {
            let init = status.init_container_statuses.iter().flatten();
            init.chain(status.container_statuses.iter().flatten())
        })
        .map(|container| number(container.restart_count))
        .sum();
    if limit == 0 { restarts > 0 } else { restarts >= limit }
}

/// Writes what is known. Whether it is written, so that pods may be forgotten.
fn write(
    store: &Store,
    job: &Object,
    spec: &JobSpec,
    seen: &Seen,
    end: Option<&End>,
    is_over: bool,
) -> bool {
    let is_suspended = spec.suspend == Some(true);
    let was_suspended = holds(job, "Suspended");
    let written = store.change(&job.key(), |job| {
        let before = job["status"].clone();
        let mut conditions: Vec<Value> =
            before["conditions"].as_array().cloned().unwrap_or_default();
        let mut set = |name: &str, holds: bool, reason: &str, message: &str| {
            let mut one = condition(&before, name, holds, Some((reason, message.to_owned())));
            one["lastProbeTime"] = one["lastTransitionTime"].clone();
            match conditions.iter_mut().find(|one| one["type"] == name) {
                Some(known) => *known = one,
                None => conditions.push(one),
            }
        };
        if is_suspended && end.is_none() {
            set("Suspended", true, "JobSuspended", "Job suspended");
        } else if was_suspended && end.is_none() {
            set("Suspended", false, "JobResumed", "Job resumed");
        }
        if let Some(end) = end {
            set(end.before, true, end.reason, end.message);
            if is_over {
                set(end.condition, true, end.reason, end.message);
            }
        }
        let mut status = json!({
            "ready": seen.active.iter().filter(|pod| is_ready(pod)).count(),
            "terminating": seen.terminating,
            "uncountedTerminatedPods": {},
        });
        // Go leaves out what is 0.
        for (field, number) in
            [("active", seen.active.len()), ("succeeded", seen.succeeded), ("failed", seen.failed)]
        {
            if number > 0 {
                status[field] = number.into();
            }
        }
        if is_indexed(spec) && !seen.completed.is_empty() {
            status["completedIndexes"] = ranges(&seen.completed).into();
        }
        if !is_suspended || end.is_some() {
            let started = before["startTime"].as_str().filter(|_| !was_suspended || end.is_some());
            status["startTime"] = started.map_or_else(now, str::to_owned).into();
        }
        if is_over && end.is_some_and(|end| end.condition == COMPLETE.condition) {
            status["completionTime"] = now().into();
        }
        if !conditions.is_empty() {
            status["conditions"] = conditions.into();
        }
        job["status"] = status;
    });
    if written.is_err() {
        return false;
    }
    match end {
        Some(end) if is_over && end.condition == COMPLETE.condition => {
            tell(store, COMPONENT, job, "Completed", "Job completed");
        }
        Some(end) if is_over => {
            record(store, COMPONENT, job, Severity::Warning, end.reason, end.message);
        }
        None if is_suspended && !was_suspended => {
            tell(store, COMPONENT, job, "Suspended", "Job suspended");
        }
        None if was_suspended && !is_suspended => {
            tell(store, COMPONENT, job, "Resumed", "Job resumed");
        }
        _ => {}
    }
    true
}

/// Deletes a Job that has ended long enough ago. When to look again, if it has not.
fn clean_up(store: &Store, job: &Object, spec: &JobSpec) -> Option<Duration> {
    let ttl = u64::try_from(spec.ttl_seconds_after_finished?).ok()?;
    let conditions = job.value()["status"]["conditions"].as_array()?;
    let end = conditions.iter().find(|one| {
        (one["type"] == "Complete" || one["type"] == "Failed") && one["status"] == "True"
    });
    let end: Timestamp = end?["lastTransitionTime"].as_str()?.parse().ok()?;
    let due = end.checked_add(Duration::from_secs(ttl)).ok()?;
    let left = Duration::try_from(due.duration_since(Timestamp::now())).unwrap_or_default();
    if !left.is_zero() {
        return Some(left);
    }
    let deletion = Deletion {
        propagation: Propagation::Foreground,
        uid: Some(job.uid().to_owned()),
        ..Deletion::default()
    };
    // Somebody else may have deleted it.
    let _ = deletion::delete(store, &job.key(), &deletion);
    None
}

#[cfg(test)]
mod tests;
