use super::super::tests::settle;
use super::work::FIRST_BACK_OFF;
use super::*;
use crate::objects::Key;
use crate::objects::admission::admit;

/// A store with a Job of this spec.
fn start(spec: &Value) -> Store {
    let store = Store::default();
    store.create(Kind::Namespace, json!({"metadata": {"name": "n"}})).unwrap();
    let pod = json!({"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]});
    let mut job = json!({
        "metadata": {"name": "j", "namespace": "n"}, "spec": {"template": {"spec": pod}},
    });
    json_patch::merge(&mut job["spec"], spec);
    let _admitted = admit(&store, Kind::Job, &mut job).unwrap();
    assert_eq!(crate::objects::validation::validate(Kind::Job, &job), []);
    store.create(Kind::Job, job).unwrap();
    settle(&store);
    store
}

fn job(store: &Store) -> Arc<Object> {
    store.get(&Key::new(Kind::Job, "n", "j")).unwrap()
}

fn status_of(store: &Store) -> Value {
    job(store).value()["status"].clone()
}

fn active(store: &Store) -> Vec<Arc<Object>> {
    let mut pods = store.list(Kind::Pod, Some("n")).0;
    pods.retain(|pod| is_active(pod));
    pods
}

/// Plays kubelet: so many of the active pods end so, long ago; and those that are to end have ended.
fn end(store: &Store, count: usize, phase: &str) {
    for pod in active(store).iter().take(count) {
        let state = json!({"terminated": {"exitCode": 1, "finishedAt": "2020-01-01T00:00:00Z"}});
        let containers = json!([{
            "name": "c", "image": "i", "imageID": "", "ready": false, "restartCount": 0, "state": state,
        }]);
        store
            .change(&pod.key(), |pod| {
                pod["status"] = json!({"phase": phase, "containerStatuses": containers});
            })
            .unwrap();
    }
    settle(store);
    for pod in store.list(Kind::Pod, Some("n")).0.iter().filter(|pod| pod.is_terminating()) {
        deletion::ended(store, &pod.key(), pod.uid());
    }
    settle(store);
}

#[test]
fn a_job_ends_when_enough_of_its_pods_have_succeeded() {
    let store = start(&json!({"completions": 3, "parallelism": 2}));
    assert_eq!(active(&store).len(), 2);
    let pod = active(&store).remove(0);
    assert!(pod.name().starts_with("j-") && pod.labels()["batch.kubernetes.io/job-name"] == "j");
    assert_eq!(pod.labels()["controller-uid"], job(&store).uid());
    end(&store, 1, "Succeeded");
    assert_eq!((active(&store).len(), &status_of(&store)["succeeded"]), (2, &json!(1)));
    end(&store, 1, "Succeeded");
    assert_eq!(active(&store).len(), 1, "no more than are missing");
    end(&store, 1, "Succeeded");
    let status = status_of(&store);
    assert_eq!(status["succeeded"], 3);
    assert_eq!(status["conditions"][1]["type"], "Complete");
    assert!(status["completionTime"].is_string() && status["active"].is_null());
    assert!(store.list(Kind::Pod, None).0.iter().all(|pod| !has_finalizer(pod, TRACKING)));
}

#[test]
fn a_pod_that_is_deleted_is_a_failure_and_is_counted_although_it_is_gone() {
    let store = start(&json!({}));
    let pod = active(&store).remove(0);
    deletion::delete(&store, &pod.key(), &Deletion::default()).unwrap();
    end(&store, 0, "");
    assert!(store.get(&pod.key()).is_err());
    assert_eq!((active(&store).len(), &status_of(&store)["failed"]), (1, &json!(1)));
}

#[test]
fn a_job_fails_with_one_failure_more_than_it_may_have() {
    let store = start(&json!({"backoffLimit": 1, "parallelism": 2, "completions": 2}));
    end(&store, 1, "Failed");
    assert_eq!(active(&store).len(), 2);
    end(&store, 1, "Failed");
    assert_eq!(active(&store).len(), 0, "the other one is deleted");
    let status = status_of(&store);
    assert_eq!(status["conditions"][0]["type"], "FailureTarget");
    assert_eq!(status["conditions"][1]["reason"], "BackoffLimitExceeded");
    assert_eq!(status["failed"], 3);
}

#[test]
fn a_failure_is_followed_by_a_pause() {
    let store = start(&json!({}));
    let pod = active(&store).remove(0);
    let state = json!({"terminated": {"exitCode": 1, "finishedAt": now()}});
    let containers = json!([{
        "name": "c", "image": "i", "imageID": "", "ready": false, "restartCount": 0, "state": state,
    }]);
    store
        .change(&pod.key(), |pod| {
            pod["status"] = json!({"phase": "Failed", "containerStatuses": containers});
        })
        .unwrap();
    let due = super::super::step(&store);
    assert!(active(&store).is_empty());
    assert!(due.is_some_and(|due| due <= Duration::from_secs(FIRST_BACK_OFF)), "{due:?}");
}

#[test]
fn an_indexed_job_has_a_pod_for_each_index() {
    let store = start(&json!({"completionMode": "Indexed", "completions": 4, "parallelism": 4}));
    let pods = active(&store);
    let indexes: Vec<_> = pods.iter().map(|pod| index(pod).unwrap()).collect();
    assert_eq!(indexes, [0, 1, 2, 3]);
    let spec = &pods[1].value()["spec"];
    assert_eq!(spec["hostname"], "j-1");
    assert_eq!(spec["containers"][0]["env"][0]["value"], "1");
    end(&store, 3, "Succeeded");
    assert_eq!(status_of(&store)["completedIndexes"], "0-2");
    end(&store, 1, "Failed");
    assert_eq!(active(&store).iter().map(|pod| index(pod).unwrap()).collect::<Vec<_>>(), [3]);
}

#[test]
fn a_suspended_job_has_no_pods_and_goes_on_when_it_is_resumed() {
    let store = start(&json!({"suspend": true}));
    assert!(active(&store).is_empty() && status_of(&store)["startTime"].is_null());
    let suspend = |suspended: bool| {
        let key = Key::new(Kind::Job, "n", "j");
        store.change(&key, |job| job["spec"]["suspend"] = suspended.into()).unwrap();
        settle(&store);
    };
    suspend(false);
    assert_eq!(active(&store).len(), 1);
    assert_eq!(status_of(&store)["conditions"][0]["status"], "False");
    suspend(true);
    end(&store, 0, "");
    assert!(store.list(Kind::Pod, None).0.is_empty());
    assert!(status_of(&store)["failed"].is_null(), "that was no failure");
    assert_eq!(status_of(&store)["conditions"][0]["status"], "True");
}

#[test]
fn a_job_that_is_too_late_fails_and_one_that_is_done_is_deleted_in_time() {
    let store = start(&json!({"activeDeadlineSeconds": 100, "ttlSecondsAfterFinished": 1000}));
    let due = super::super::step(&store).unwrap();
    assert!(due > Duration::from_secs(90) && due < Duration::from_secs(101), "{due:?}");
    let key = Key::new(Kind::Job, "n", "j");
    let long_ago = |job: &mut Value| job["status"]["startTime"] = "2020-01-01T00:00:00Z".into();
    store.change(&key, long_ago).unwrap();
    settle(&store);
    end(&store, 0, "");
    assert_eq!(status_of(&store)["conditions"][1]["reason"], "DeadlineExceeded");
    assert!(super::super::step(&store).unwrap() > Duration::from_secs(900));
    store
        .change(&key, |job| {
            for one in job["status"]["conditions"].as_array_mut().unwrap() {
                one["lastTransitionTime"] = "2020-01-01T00:00:00Z".into();
            }
        })
        .unwrap();
    settle(&store);
    assert!(store.get(&key).is_err());
}

#[test]
fn without_completions_the_first_success_is_the_last_start() {
    let store = start(&json!({"parallelism": 2}));
    end(&store, 1, "Succeeded");
    assert_eq!(active(&store).len(), 1);
    end(&store, 1, "Succeeded");
    assert_eq!(ending(&job(&store)), Some("Complete"));
}

#[test]
fn what_is_done_is_written_in_ranges() {
    let set: BTreeSet<usize> = [0, 2, 3, 5, 6, 7].into();
    assert_eq!(ranges(&set), "0,2,3,5-7");
    assert_eq!(indexes(&ranges(&set)), set);
    assert!(indexes("").is_empty());
}
