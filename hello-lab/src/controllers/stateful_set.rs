//! Keeps the pods of a `StatefulSet`: each has a number, and with it a name that stays
//! (pkg/controller/statefulset).

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetSpec};
use serde_json::{Value, json};

use super::availability::is_available;
use super::garbage;
use super::pods::{self, claim, has_ended, is_ready, number, phase, selector, tell};
use super::revision::{self, REVISION_LABEL};
use crate::objects::events::{Severity, record};
use crate::objects::meta::with_those_of_others;
use crate::objects::{Kind, Object, Store};

const COMPONENT: &str = "statefulset-controller";

/// The pods of a set by their numbers.
type Pods = BTreeMap<usize, Arc<Object>>;

pub(super) fn step(store: &Store) {
    for set in store.list(Kind::StatefulSet, None).0 {
        if !set.is_terminating() {
            sync(store, &set);
        }
    }
}

/// What a set is to be.
struct Wanted<'s> {
    set: &'s Object,
    spec: &'s StatefulSetSpec,
    /// The number of the first pod, and the first that is too many.
    start: usize,
    end: usize,
    /// Below this number pods stay what they were.
    partition: usize,
    /// One after the other.
    in_order: bool,
    current: Arc<Object>,
    update: Arc<Object>,
}

fn sync(store: &Store, set: &Object) {
    let Some(spec) = set.typed::<StatefulSet>().spec.as_ref() else { return };
    let Some(selector) = selector(Some(&spec.selector)) else { return };
    let revisions = revision::sync(store, set, &selector);
    let Some(update) = revisions.last().cloned() else { return };
    let known = set.value()["status"]["currentRevision"].as_str();
    let current = revisions.iter().find(|one| Some(one.name()) == known).unwrap_or(&update);
    let start = number(spec.ordinals.as_ref().and_then(|from| from.start).unwrap_or(0));
    let rolling = spec.update_strategy.as_ref().and_then(|one| one.rolling_update.as_ref());
    let wanted = Wanted {
        set,
        spec,
        start,
        end: start + number(spec.replicas.unwrap_or(1)),
        partition: start + number(rolling.and_then(|one| one.partition).unwrap_or(0)),
        in_order: spec.pod_management_policy.as_deref() != Some("Parallel"),
        current: Arc::clone(current),
        update,
    };
    let pods = own(store, set, &selector);
    wanted.manage(store, &pods);
    let pods = own(store, set, &selector);
    wanted.write_status(store, &pods);
    revision::prune(store, &revisions, spec.revision_history_limit, |one| {
        one.name() == wanted.current.name() || pods.values().any(|pod| is_of(pod, one))
    });
}

/// The pods that a set controls: those of its name alone (`isMemberOf`).
fn own(store: &Store, set: &Object, selector: &netpol::selector::Selector) -> Pods {
    let ordinal = |pod: &Object| {
        let text = pod.name().strip_prefix(set.name())?.strip_prefix('-')?;
        text.parse::<usize>().ok().filter(|number| number.to_string() == text)
    };
    let (mut pods, _) = store.list(Kind::Pod, Some(set.namespace()));
    pods.retain(|pod| ordinal(pod).is_some());
    let pods = claim(store, set, selector, pods);
    pods.into_iter().filter_map(|pod| Some((ordinal(&pod)?, pod))).collect()
}

/// Whether a pod is of a revision.
fn is_of(pod: &Object, revision: &Object) -> bool {
    pod.labels().get(REVISION_LABEL).is_some_and(|name| name == revision.name())
}

/// Whether a pod keeps no other from its turn (`isRunningAndAvailable`).
fn is_healthy(pod: &Object, spec: &StatefulSetSpec) -> bool {
    phase(pod) == "Running" && is_available(pod, spec.min_ready_seconds) && !pod.is_terminating()
}

impl Wanted<'_> {
    fn is_rolling(&self) -> bool {
        let strategy = self.spec.update_strategy.as_ref();
        strategy.and_then(|strategy| strategy.type_.as_deref()) != Some("OnDelete")
    }

    /// Makes, deletes and replaces pods: where it is done in order, one, and then waits (`updateStatefulSet`).
    fn manage(&self, store: &Store, pods: &Pods) {
        for ordinal in self.start..self.end {
            match pods.get(&ordinal) {
                None => self.create(store, ordinal),
                Some(pod) if has_ended(pod) && !pod.is_terminating() => {
                    let (how, state) = if phase(pod) == "Failed" {
                        ("RecreatingFailedPod", "failed")
                    } else {
                        ("RecreatingTerminatedPod", "terminated")
                    };
                    let (namespace, name) = (self.set.namespace(), self.set.name());
                    let message = format!(
                        "StatefulSet {namespace}/{name} is recreating {state} Pod {}",
                        pod.name()
                    );
                    record(store, COMPONENT, self.set, Severity::Warning, how, &message);
                    self.delete(store, pod);
                }
                Some(pod) if is_healthy(pod, self.spec) => continue,
                Some(_) => {}
            }
            if self.in_order {
                return;
            }
        }
        let too_many: Vec<_> = pods
            .iter()
            .rev()
            .filter(|(number, _)| !(self.start..self.end).contains(*number))
            .collect();
        for (_, pod) in too_many {
            if !pod.is_terminating() {
                self.delete(store, pod);
            }
            if self.in_order {
                return;
            }
        }
        if !self.is_rolling() {
            return;
        }
        // The last first, and the next when it is ready again.
        for (_, pod) in pods.range(self.partition.max(self.start)..).rev() {
            if !is_of(pod, &self.update) && !pod.is_terminating() {
                return self.delete(store, pod);
            }
            if !is_healthy(pod, self.spec) {
                return;
            }
        }
    }

    fn delete(&self, store: &Store, pod: &Object) {
        garbage::delete(store, pod);
        let message =
            format!("delete Pod {} in StatefulSet {} successful", pod.name(), self.set.name());
        tell(store, COMPONENT, self.set, "SuccessfulDelete", &message);
    }

    fn create(&self, store: &Store, ordinal: usize) {
        let stays = self.is_rolling() && ordinal < self.partition;
        let revision = if stays { &self.current } else { &self.update };
        let name = format!("{}-{ordinal}", self.set.name());
        let mut pod = pods::pod_of(self.set, &revision::template(revision), &name);
        let labels = &mut pod["metadata"]["labels"];
        labels["statefulset.kubernetes.io/pod-name"] = name.as_str().into();
        labels["apps.kubernetes.io/pod-index"] = ordinal.to_string().into();
        labels[REVISION_LABEL] = revision.name().into();
        pod["metadata"]["generateName"] = format!("{}-", self.set.name()).into();
        pod["spec"]["hostname"] = name.as_str().into();
        if let Some(service) = self.spec.service_name.as_deref().filter(|name| !name.is_empty()) {
            pod["spec"]["subdomain"] = service.into();
        }
        if pods::create(store, pod).is_some() {
            let message =
                format!("create Pod {name} in StatefulSet {} successful", self.set.name());
            tell(store, COMPONENT, self.set, "SuccessfulCreate", &message);
        }
    }

    fn write_status(&self, store: &Store, pods: &Pods) {
        let count = |is: &dyn Fn(&Object) -> bool| pods.values().filter(|pod| is(pod)).count();
        let ready = count(&|pod| phase(pod) == "Running" && is_ready(pod));
        let least = self.spec.min_ready_seconds;
        let available = count(&|pod| phase(pod) == "Running" && is_available(pod, least));
        let of = |revision: &Object| count(&|pod| is_of(pod, revision) && !pod.is_terminating());
        let updated = of(&self.update);
        let wanted = self.end - self.start;
        // `completeRollingUpdate`.
        let is_complete =
            self.is_rolling() && updated == wanted && ready == wanted && pods.len() == wanted;
        let current = if is_complete { &self.update } else { &self.current };
        let current_replicas = of(current);
        let _ = store.change(&self.set.key(), |set: &mut Value| {
            let others = with_those_of_others(&set["status"], Vec::new());
            set["status"] = json!({
                "observedGeneration": set["metadata"]["generation"],
                "replicas": pods.len(),
                "readyReplicas": ready,
                "availableReplicas": available,
                "currentReplicas": current_replicas,
                "updatedReplicas": updated,
                "currentRevision": current.name(),
                "updateRevision": self.update.name(),
                "collisionCount": 0,
            });
            if !others.is_empty() {
                set["status"]["conditions"] = others.into();
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::settle;
    use super::*;
    use crate::objects::Key;
    use crate::objects::defaults;

    fn start(spec: &Value) -> Store {
        let store = Store::default();
        store.create(Kind::Namespace, json!({"metadata": {"name": "n"}})).unwrap();
        let mut set = json!({
            "metadata": {"name": "web", "namespace": "n"},
            "spec": {
                "serviceName": "web",
                "selector": {"matchLabels": {"app": "web"}},
                "template": {
                    "metadata": {"labels": {"app": "web"}},
                    "spec": {"containers": [{"name": "c", "image": "a:1"}]},
                },
            },
        });
        json_patch::merge(&mut set["spec"], spec);
        defaults::apply(Kind::StatefulSet, &mut set);
        store.create(Kind::StatefulSet, set).unwrap();
        settle(&store);
        store
    }

    /// Names, and images, of the pods that are not about to go.
    fn pods(store: &Store) -> Vec<String> {
        let pods = store.list(Kind::Pod, Some("n")).0;
        let there = pods.iter().filter(|pod| !pod.is_terminating());
        let text = |pod: &Arc<Object>| {
            let image = pod.value()["spec"]["containers"][0]["image"].as_str().unwrap().to_owned();
            format!("{} {image}", pod.name())
        };
        there.map(text).collect()
    }

    /// Plays scheduler and kubelet, once.
    fn run_pods(store: &Store) {
        for pod in store.list(Kind::Pod, Some("n")).0 {
            if pod.is_terminating() {
                store.remove(&pod.key()).unwrap();
            } else {
                let conditions = json!([{"type": "Ready", "status": "True"}]);
                store
                    .change(&pod.key(), |pod| {
                        pod["spec"]["nodeName"] = crate::objects::names::NODE_NAME.into();
                        pod["status"] = json!({"phase": "Running", "conditions": conditions});
                    })
                    .unwrap();
            }
        }
        settle(store);
    }

    fn change(store: &Store, change: impl Fn(&mut Value)) {
        store.change(&Key::new(Kind::StatefulSet, "n", "web"), |set| change(set)).unwrap();
        settle(store);
    }

    fn status(store: &Store) -> Value {
        store.get(&Key::new(Kind::StatefulSet, "n", "web")).unwrap().value()["status"].clone()
    }

    #[test]
    fn pods_are_made_one_after_the_other_and_go_in_the_other_order() {
        let store = start(&json!({"replicas": 3}));
        assert_eq!(pods(&store), ["web-0 a:1"]);
        run_pods(&store);
        assert_eq!(pods(&store), ["web-0 a:1", "web-1 a:1"]);
        run_pods(&store);
        run_pods(&store);
        let last = store.get(&Key::new(Kind::Pod, "n", "web-2")).unwrap();
        assert_eq!(last.value()["spec"]["hostname"], "web-2");
        assert_eq!(last.value()["spec"]["subdomain"], "web");
        assert_eq!(last.labels()["statefulset.kubernetes.io/pod-name"], "web-2");
        assert_eq!(last.labels()["apps.kubernetes.io/pod-index"], "2");
        assert_eq!(status(&store)["readyReplicas"], 3);
        change(&store, |set| set["spec"]["replicas"] = 1.into());
        assert_eq!(pods(&store), ["web-0 a:1", "web-1 a:1"]);
        run_pods(&store);
        assert_eq!(pods(&store), ["web-0 a:1"]);
    }

    #[test]
    fn in_parallel_all_are_made_at_once_and_from_the_first_number_on() {
        let spec = json!({
            "replicas": 2, "podManagementPolicy": "Parallel", "ordinals": {"start": 5},
        });
        assert_eq!(pods(&start(&spec)), ["web-5 a:1", "web-6 a:1"]);
    }

    #[test]
    fn a_new_template_replaces_the_last_pod_first_and_those_below_the_partition_never() {
        let store = start(&json!({"replicas": 3}));
        for _ in 0..3 {
            run_pods(&store);
        }
        let before = status(&store)["currentRevision"].clone();
        change(&store, |set| {
            set["spec"]["updateStrategy"]["rollingUpdate"]["partition"] = 1.into();
            set["spec"]["template"]["spec"]["containers"][0]["image"] = "a:2".into();
        });
        assert_eq!(pods(&store), ["web-0 a:1", "web-1 a:1"], "web-2 goes first");
        for _ in 0..6 {
            run_pods(&store);
        }
        assert_eq!(pods(&store), ["web-0 a:1", "web-1 a:2", "web-2 a:2"]);
        assert_eq!(status(&store)["currentRevision"], before);
        assert_eq!(status(&store)["updatedReplicas"], 2);
        store.remove(&Key::new(Kind::Pod, "n", "web-0")).unwrap();
        settle(&store);
        assert_eq!(pods(&store)[0], "web-0 a:1", "it is made anew of the old template");
        change(&store, |set| {
            set["spec"]["updateStrategy"]["rollingUpdate"]["partition"] = 0.into();
        });
        for _ in 0..4 {
            run_pods(&store);
        }
        assert_eq!(status(&store)["currentRevision"], status(&store)["updateRevision"]);
        assert_eq!(store.list(Kind::ControllerRevision, None).0.len(), 2);
    }

    #[test]
    fn a_pod_that_has_ended_is_made_again_under_its_name() {
        let store = start(&json!({}));
        let key = Key::new(Kind::Pod, "n", "web-0");
        let uid = store.get(&key).unwrap().uid().to_owned();
        store.change(&key, |pod| pod["status"]["phase"] = "Failed".into()).unwrap();
        settle(&store);
        run_pods(&store);
        assert_ne!(store.get(&key).unwrap().uid(), uid);
    }

    #[test]
    fn an_older_template_that_comes_back_is_the_latest_revision() {
        let store = start(&json!({}));
        for image in ["a:2", "a:1"] {
            change(&store, |set| {
                set["spec"]["template"]["spec"]["containers"][0]["image"] = image.into();
            });
        }
        let mut revisions: Vec<_> = store
            .list(Kind::ControllerRevision, None)
            .0
            .iter()
            .map(|one| {
                let image = revision::template(one)["spec"]["containers"][0]["image"].clone();
                (one.value()["revision"].as_i64().unwrap(), image)
            })
            .collect();
        revisions.sort_by_key(|one| one.0);
        assert_eq!(revisions, [(2, json!("a:2")), (3, json!("a:1"))]);
    }
}
