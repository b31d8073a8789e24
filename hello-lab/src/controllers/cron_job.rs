//! Makes the Jobs of a CronJob when they are due (pkg/controller/cronjob).

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{CronJob, CronJobSpec};
use serde_json::{Value, json};

use super::garbage;
use super::job::ending;
use super::pods::{number, tell};
use crate::objects::admission::admit;
use crate::objects::events::{Severity, record};
use crate::objects::meta::{owner_reference, timestamp};
use crate::objects::schedule::{Schedule, time_zone};
use crate::objects::{Kind, Object, Store, StoreError};

const COMPONENT: &str = "cronjob-controller";

/// Looks at every CronJob; when the next one is due.
pub(super) fn step(store: &Store) -> Option<Duration> {
    step_at(store, Timestamp::now())
}

fn step_at(store: &Store, now: Timestamp) -> Option<Duration> {
    let (all, _) = store.list(Kind::CronJob, None);
    all.iter().filter(|one| !one.is_terminating()).filter_map(|one| sync(store, one, now)).min()
}

fn sync(store: &Store, cron_job: &Object, now: Timestamp) -> Option<Duration> {
    let spec = cron_job.typed::<CronJob>().spec.as_ref()?;
    let mut jobs = store.list(Kind::Job, Some(cron_job.namespace())).0;
    jobs.retain(|job| job.controller() == Some(cron_job.uid()));
    forget(store, cron_job, spec, &jobs);
    let (mut active, done): (Vec<_>, Vec<_>) =
        jobs.into_iter().partition(|job| ending(job).is_none());
    active.retain(|job| !job.is_terminating());
    let known = cron_job.value()["status"]["active"].as_array();
    for job in &done {
        if known.into_iter().flatten().any(|one| one["uid"] == job.uid()) {
            let condition = ending(job).unwrap_or_default();
            let message = format!("Saw completed job: {}, condition: {condition}", job.name());
            tell(store, COMPONENT, cron_job, "SawCompletedJob", &message);
        }
    }
    let succeeded = done.iter().filter_map(|job| job.value()["status"]["completionTime"].as_str());
    write(store, cron_job, &active, None, succeeded.max());
    if spec.suspend == Some(true) {
        return None;
    }
    let schedule = Schedule::parse(&spec.schedule).ok()?;
    let zone = time_zone(spec.time_zone.as_deref().unwrap_or_default())?;
    let last = cron_job.value()["status"]["lastScheduleTime"].as_str();
    let mut earliest: Timestamp = last.unwrap_or(cron_job.created()).parse().ok()?;
    if let Some(seconds) = spec.starting_deadline_seconds {
        let limit = now.checked_sub(SignedDuration::from_secs(seconds)).unwrap_or(earliest);
        earliest = earliest.max(limit);
    }
    let next = schedule.next(now, &zone);
    let wait = next.and_then(|next| Duration::try_from(next.duration_since(now)).ok());
    let Some(due) = schedule.last_due(earliest, now, &zone) else { return wait };
    match spec.concurrency_policy.as_deref() {
        Some("Forbid") if !active.is_empty() => {
            let message = "Not starting job because prior execution is running and concurrency \
                           policy is Forbid";
            // Once for each time that is missed, not for each look at it.
            let asked = cron_job.value()["metadata"]["annotations"][SKIPPED].as_str();
            if asked != Some(&timestamp(due)) {
                tell(store, COMPONENT, cron_job, "JobAlreadyActive", message);
                let _ = store.change(&cron_job.key(), |cron_job| {
                    cron_job["metadata"]["annotations"][SKIPPED] = timestamp(due).into();
                });
            }
            return wait;
        }
        Some("Replace") => {
            for job in &active {
                delete(store, cron_job, job);
            }
            active.clear();
        }
        _ => {}
    }
    if let Some(job) = create(store, cron_job, due) {
        active.push(job);
        write(store, cron_job, &active, Some(timestamp(due)), None);
    }
    wait
}

/// The annotation with the time that was left out last since another Job still ran.
const SKIPPED: &str = "hello-lab/skipped";

/// Deletes the oldest of the Jobs that have ended (`cleanupFinishedJobs`).
fn forget(store: &Store, cron_job: &Object, spec: &CronJobSpec, jobs: &[Arc<Object>]) {
    for (condition, limit) in [
        ("Complete", spec.successful_jobs_history_limit),
        ("Failed", spec.failed_jobs_history_limit),
    ] {
        let Some(limit) = limit.map(number) else { continue };
        let mut ended: Vec<_> = jobs
            .iter()
            .filter(|job| ending(job) == Some(condition) && !job.is_terminating())
            .collect();
        ended.sort_by_key(|job| {
            let start = job.value()["status"]["startTime"].as_str().unwrap_or_default();
            (start.to_owned(), job.name().to_owned())
        });
        for job in ended.iter().take(ended.len().saturating_sub(limit)) {
            delete(store, cron_job, job);
        }
    }
}

fn delete(store: &Store, cron_job: &Object, job: &Object) {
    garbage::delete(store, job);
    let message = format!("Deleted job {}", job.name());
    tell(store, COMPONENT, cron_job, "SuccessfulDelete", &message);
}

fn create(store: &Store, cron_job: &Object, due: Timestamp) -> Option<Arc<Object>> {
    let template = &cron_job.value()["spec"]["jobTemplate"];
    let mut metadata = json!({
        // In minutes, so that no time has two (`getJobName`).
        "name": format!("{}-{}", cron_job.name(), due.as_second() / 60),
        "namespace": cron_job.namespace(),
        "ownerReferences": [owner_reference(cron_job)],
    });
    for field in ["labels", "annotations"] {
        if template["metadata"][field].is_object() {
            metadata[field] = template["metadata"][field].clone();
        }
    }
    metadata["annotations"]["batch.kubernetes.io/cronjob-scheduled-timestamp"] =
        timestamp(due).into();
    let mut job = json!({"metadata": metadata, "spec": template["spec"]});
    let created = admit(store, Kind::Job, &mut job)
        .map_err(|error| error.to_string())
        .map(|_admitted| store.create(Kind::Job, job));
    let created = match created {
        // Two in one minute have one name; the next one has another.
        Ok(Err(StoreError::AlreadyExists(_))) => return None,
        Ok(created) => created.map_err(|error| error.to_string()),
        Err(error) => Err(error),
    };
    match created {
        Ok(job) => {
            let message = format!("Created job {}", job.name());
            tell(store, COMPONENT, cron_job, "SuccessfulCreate", &message);
            Some(job)
        }
        Err(error) => {
            let message = format!("Error creating job: {error}");
            record(store, COMPONENT, cron_job, Severity::Warning, "FailedCreate", &message);
            None
        }
    }
}

/// Writes which Jobs run, and what else is new.
fn write(
    store: &Store,
    cron_job: &Object,
    active: &[Arc<Object>],
    scheduled: Option<String>,
    succeeded: Option<&str>,
) {
    let active: Vec<Value> = active
        .iter()
        .map(|job| {
            json!({
                "apiVersion": "batch/v1",
                "kind": "Job",
                "name": job.name(),
                "namespace": job.namespace(),
                "uid": job.uid(),
            })
        })
        .collect();
    // One that is gone needs no status.
    let _ = store.change(&cron_job.key(), |cron_job| {
        if !cron_job["status"].is_object() {
            cron_job["status"] = json!({});
        }
        let status = &mut cron_job["status"];
        if active.is_empty() {
            crate::objects::object::remove(status, "active");
        } else {
            status["active"] = active.clone().into();
        }
        if let Some(time) = &scheduled {
            status["lastScheduleTime"] = time.as_str().into();
        }
        let before = status["lastSuccessfulTime"].as_str().unwrap_or_default();
        if let Some(time) = succeeded.filter(|time| *time > before) {
            status["lastSuccessfulTime"] = time.into();
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::Key;

    fn start(spec: &Value) -> Store {
        let store = Store::default();
        let pod = json!({"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]});
        let mut cron_job = json!({
            "metadata": {"name": "c", "namespace": "n"},
            "spec": {
                "schedule": "*/5 * * * *", "jobTemplate": {"spec": {"template": {"spec": pod}}},
            },
        });
        json_patch::merge(&mut cron_job["spec"], spec);
        let _admitted = admit(&store, Kind::CronJob, &mut cron_job).unwrap();
        store.create(Kind::CronJob, cron_job).unwrap();
        store
    }

    /// So many minutes after a full hour that is yet to come.
    fn after(minutes: i64) -> Timestamp {
        let hour = Timestamp::now().as_second() / 3600 * 3600 + 3600;
        Timestamp::from_second(hour + minutes * 60).unwrap()
    }

    fn jobs(store: &Store) -> Vec<Arc<Object>> {
        let mut jobs = store.list(Kind::Job, None).0;
        jobs.sort_by_key(|job| job.name().to_owned());
        jobs
    }

    fn end(store: &Store, condition: &str) {
        for job in jobs(store).iter().filter(|job| ending(job).is_none()) {
            let conditions = json!([{"type": condition, "status": "True"}]);
            store
                .change(&job.key(), |job| {
                    job["status"] = json!({
                        "conditions": conditions, "completionTime": timestamp(Timestamp::now()),
                    });
                })
                .unwrap();
        }
    }

    fn status(store: &Store) -> Value {
        store.get(&Key::new(Kind::CronJob, "n", "c")).unwrap().value()["status"].clone()
    }

    #[test]
    fn a_job_is_made_when_it_is_due_and_once() {
        let store = start(&json!({}));
        step_at(&store, after(5));
        let wait = step_at(&store, after(6)).unwrap();
        assert_eq!(wait, Duration::from_secs(240));
        let job = jobs(&store).remove(0);
        assert_eq!(jobs(&store).len(), 1);
        assert_eq!(job.name(), format!("c-{}", after(5).as_second() / 60));
        assert!(job.labels().is_empty() || job.labels().contains_key("controller-uid"));
        assert_eq!(status(&store)["active"][0]["name"], job.name());
        assert_eq!(status(&store)["lastScheduleTime"], timestamp(after(5)));
        end(&store, "Complete");
        step_at(&store, after(6));
        assert!(status(&store)["active"].is_null());
        assert!(status(&store)["lastSuccessfulTime"].is_string());
    }

    #[test]
    fn of_two_that_are_due_in_one_minute_one_is_made_without_a_word() {
        let store = start(&json!({"schedule": "@every 20s"}));
        let first = Timestamp::now().checked_add(SignedDuration::from_secs(3600)).unwrap();
        for seconds in [0, 20, 40, 60] {
            step_at(&store, first.checked_add(SignedDuration::from_secs(seconds)).unwrap());
        }
        assert!((1..=2).contains(&jobs(&store).len()));
        let failed = |event: &Arc<Object>| event.value()["reason"] == "FailedCreate";
        assert!(!store.list(Kind::Event, None).0.iter().any(failed));
    }

    #[test]
    fn what_still_runs_forbids_the_next_or_is_replaced_by_it() {
        for (policy, expected) in [("Forbid", 1), ("Allow", 2), ("Replace", 1)] {
            let store = start(&json!({"concurrencyPolicy": policy}));
            step_at(&store, after(5));
            let first = jobs(&store).remove(0);
            step_at(&store, after(10));
            assert_eq!(jobs(&store).len(), expected, "{policy}");
            assert_eq!(store.get(&first.key()).is_ok(), policy != "Replace", "{policy}");
        }
    }

    #[test]
    fn a_suspended_one_makes_none_and_of_those_that_have_ended_some_are_kept() {
        let store = start(&json!({"suspend": true}));
        assert_eq!(step_at(&store, after(5)), None);
        assert!(jobs(&store).is_empty());
        let store = start(&json!({"successfulJobsHistoryLimit": 2, "failedJobsHistoryLimit": 0}));
        for round in 1..=5 {
            step_at(&store, after(5 * round));
            end(&store, if round == 1 { "Failed" } else { "Complete" });
        }
        step_at(&store, after(26));
        assert_eq!(jobs(&store).len(), 2);
    }

    #[test]
    fn what_was_missed_too_long_ago_is_not_made_up_for() {
        let store = start(&json!({"startingDeadlineSeconds": 60}));
        step_at(&store, after(8));
        assert!(jobs(&store).is_empty());
        step_at(&store, after(10));
        assert_eq!(jobs(&store).len(), 1);
    }
}
