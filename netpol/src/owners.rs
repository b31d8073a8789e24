//! Whose pods these are: from a pod's owner to the workload that a person wrote.
//!
//! A Deployment's pods are owned by ReplicaSets and a CronJob's by Jobs, which come and go with each
//! roll-out and run; what a person knows is the Deployment and the CronJob.

use std::collections::HashMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::names::name_of;
use crate::pod::Workload;
use crate::selector::Labels;

/// What an object of `kind` says of its owner: that which controls it, or else its first.
pub(crate) fn owner(kind: &str, metadata: &ObjectMeta) -> Option<Workload> {
    let owners = metadata.owner_references.as_deref().unwrap_or_default();
    // A Node is named as owner by the static pods that it runs, and makes none.
    let owners = || owners.iter().filter(|owner| owner.kind != "Node" && !owner.name.is_empty());
    let controller = owners().find(|owner| owner.controller == Some(true));
    controller.or_else(|| owners().next()).map(|owner| Workload {
        // What groups pods by hand may leave it out.
        kind: if owner.kind.is_empty() { kind } else { &owner.kind }.to_owned(),
        name: owner.name.clone(),
    })
}

/// Whether objects of this kind are mostly made by others.
#[must_use]
pub fn is_between(kind: &str) -> bool {
    matches!(kind, "ReplicaSet" | "Job" | "ReplicationController")
}

impl Workload {
    /// What a pod is of as far as it says itself.
    #[must_use]
    pub fn of_pod(metadata: &ObjectMeta) -> Self {
        let none = Labels::new();
        let labels = metadata.labels.as_ref().unwrap_or(&none);
        match owner("Pod", metadata) {
            Some(owner) => owner.above(labels),
            None => Self { kind: "Pod".to_owned(), name: name_of(metadata).to_owned() },
        }
    }

    /// What makes this, by its name and the labels of its pods; itself, where they do not tell.
    fn above(self, labels: &Labels) -> Self {
        // The Deployment controller and Argo Rollouts name a ReplicaSet after its hash.
        let hashed = |label: &str| {
            let hash = labels.get(label).filter(|hash| !hash.is_empty())?;
            let name = self.name.strip_suffix(hash.as_str())?.strip_suffix('-')?;
            (!name.is_empty()).then(|| name.to_owned())
        };
        let above = match self.kind.as_str() {
            "ReplicaSet" => hashed("pod-template-hash")
                .map(|name| ("Deployment", name))
                .or_else(|| Some(("Rollout", hashed("rollouts-pod-template-hash")?))),
            "Job" => scheduled(&self.name).map(|name| ("CronJob", name.to_owned())),
            "ReplicationController" => labels
                .get("deploymentconfig")
                .filter(|name| {
                    self.name.strip_prefix(name.as_str()).is_some_and(|rest| rest.starts_with('-'))
                })
                .map(|name| ("DeploymentConfig", name.clone())),
            _ => None,
        };
        above.map_or(self, |(kind, name)| Self { kind: kind.to_owned(), name })
    }
}

/// The CronJob that named a Job: after its scheduled time, in minutes since 1970
/// (kubernetes/pkg/controller/cronjob/utils.go, getJobName).
fn scheduled(job: &str) -> Option<&str> {
    /// From the year that CronJobs are of, 2016, to 2060; a date such as 20260101 is none of these.
    const MINUTES: std::ops::Range<u64> = 24_000_000..48_000_000;
    let (name, time) = job.rsplit_once('-')?;
    let minutes: u64 = time.parse().ok().filter(|_| time.len() == 8)?;
    (MINUTES.contains(&minutes) && !name.is_empty()).then_some(name)
}

/// The objects between pods and workloads that are known, by namespace, kind and name, with what owns
/// them: better than what names tell.
#[derive(Clone, Debug, Default)]
pub struct Owners(HashMap<(String, Workload), Option<Workload>>);

impl Owners {
    /// Adds an object of `kind` if it is one between pods and workloads.
    pub fn add(&mut self, namespace: &str, kind: &str, metadata: &ObjectMeta) {
        if is_between(kind) {
            let name = name_of(metadata).to_owned();
            let key = (namespace.to_owned(), Workload { kind: kind.to_owned(), name });
            self.0.insert(key, owner(kind, metadata));
        }
    }

    /// What a pod with this metadata is of; and what it names as its owner, where that is not it and
    /// the rest is told by names alone.
    #[must_use]
    pub fn of_pod(&self, namespace: &str, metadata: &ObjectMeta) -> (Workload, Option<Workload>) {
        let owner = owner("Pod", metadata);
        if let Some(workload) = owner.clone().and_then(|owner| self.above(namespace, owner)) {
            return (workload, None);
        }
        let workload = Workload::of_pod(metadata);
        (workload.clone(), owner.filter(|owner| *owner != workload))
    }

    /// What made `workload`, which is known; itself, if nothing did.
    fn above(&self, namespace: &str, workload: Workload) -> Option<Workload> {
        let key = (namespace.to_owned(), workload);
        let owner = self.0.get(&key)?;
        Some(owner.clone().unwrap_or(key.1))
    }

    /// What the pods of an object of `kind` are of.
    #[must_use]
    pub fn of_template(&self, namespace: &str, kind: &str, metadata: &ObjectMeta) -> Workload {
        let name = name_of(metadata).to_owned();
        let workload = Workload { kind: kind.to_owned(), name };
        self.above(namespace, workload.clone()).unwrap_or(workload)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn metadata(object: Value) -> ObjectMeta {
        serde_json::from_value(object).unwrap()
    }

    fn reference(kind: &str, name: &str, controller: bool) -> Value {
        json!({"apiVersion": "v1", "kind": kind, "name": name, "uid": "u", "controller": controller})
    }

    fn said(workload: &Workload) -> String {
        format!("{}/{}", workload.kind, workload.name)
    }

    fn of_pod(owners: Value, labels: Value) -> String {
        let pod = json!({"name": "own", "ownerReferences": owners, "labels": labels});
        said(&Workload::of_pod(&metadata(pod)))
    }

    #[test]
    fn a_pod_is_of_its_controller_or_its_first_owner() {
        let of = |owners| of_pod(owners, json!({}));
        let (one, two) = (reference("A", "one", false), reference("B", "two", true));
        assert_eq!(of(json!([one, two])), "B/two");
        assert_eq!(of(json!([two, one])), "B/two");
        assert_eq!(of(json!([one, reference("B", "two", false)])), "A/one");
        assert_eq!(of(json!([reference("", "group", false)])), "Pod/group");
        assert_eq!(of(json!([reference("Node", "n", true)])), "Pod/own");
        assert_eq!(of(json!([reference("A", "", true)])), "Pod/own");
    }

    #[test]
    fn a_pod_of_a_hashed_replicaset_is_of_its_deployment() {
        let of = |name: &str, label: &str, hash: &str| {
            of_pod(json!([reference("ReplicaSet", name, true)]), json!({label: hash}))
        };
        assert_eq!(of("web-5d78c9869d", "pod-template-hash", "5d78c9869d"), "Deployment/web");
        assert_eq!(of("a-b-7f", "rollouts-pod-template-hash", "7f"), "Rollout/a-b");
        // By hand, or with a label that somebody else chose.
        assert_eq!(of("web-5d78c9869d", "app", "web"), "ReplicaSet/web-5d78c9869d");
        assert_eq!(of("web-5d78c9869d", "pod-template-hash", "5d78"), "ReplicaSet/web-5d78c9869d");
        assert_eq!(of("5d78", "pod-template-hash", "5d78"), "ReplicaSet/5d78");
        assert_eq!(of("web-", "pod-template-hash", ""), "ReplicaSet/web-");
    }

    #[test]
    fn a_pod_of_a_scheduled_job_is_of_its_cronjob() {
        let of = |name: &str| of_pod(json!([reference("Job", name, true)]), json!({}));
        assert_eq!(of("backup-29402640"), "CronJob/backup");
        assert_eq!(of("migrate-20260101"), "Job/migrate-20260101");
        assert_eq!(of("migrate"), "Job/migrate");
        assert_eq!(of("-29402640"), "Job/-29402640");
    }

    #[test]
    fn what_is_known_of_an_owner_goes_before_what_its_name_tells() {
        let mut owners = Owners::default();
        let owned = json!({"name": "web-5d", "ownerReferences": [reference("Rollout", "w", true)]});
        owners.add("n", "ReplicaSet", &metadata(owned.clone()));
        owners.add("n", "Job", &metadata(json!({"name": "a-29402640"})));
        let pod = |kind: &str, name: &str| {
            let pod = json!({
                "name": "p", "labels": {"pod-template-hash": "5d"},
                "ownerReferences": [reference(kind, name, true)],
            });
            metadata(pod)
        };
        assert_eq!(said(&owners.of_pod("n", &pod("ReplicaSet", "web-5d")).0), "Rollout/w");
        assert_eq!(said(&owners.of_pod("m", &pod("ReplicaSet", "web-5d")).0), "Deployment/web");
        assert_eq!(said(&owners.of_pod("n", &pod("Job", "a-29402640")).0), "Job/a-29402640");
        assert_eq!(said(&owners.of_template("n", "ReplicaSet", &metadata(owned))), "Rollout/w");
        // What an operator owns is a workload of its own.
        let stateful = json!({"name": "db", "ownerReferences": [reference("Postgres", "p", true)]});
        assert_eq!(
            said(&owners.of_template("n", "StatefulSet", &metadata(stateful))),
            "StatefulSet/db"
        );
    }
}
