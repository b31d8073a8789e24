//! What was read, by identity: a cluster holds one object of a kind, namespace and name.

use std::collections::{HashMap, HashSet};

use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{Manifests, Place, WrittenPolicy};
use crate::cluster::{ForeignPolicy, Pod, Workload};
use crate::endpoints::EndpointList;
use crate::names::name_of;
use crate::owners::{Owners, is_between, owner};
use crate::policy::Policy;
use crate::selector::Labels;
use crate::service::Service;

/// What tells an object from all others.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Identity {
    /// `KIND`, or `KIND.GROUP` for a group that is not Kubernetes' own.
    pub kind: String,
    /// Its namespace; none for what is of the whole cluster.
    pub namespace: Option<String>,
    pub name: String,
}

impl std::fmt::Display for Identity {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { kind, namespace, name } = self;
        match namespace {
            Some(namespace) => write!(out, "{kind} {namespace}/{name}"),
            None => write!(out, "{kind} {name}"),
        }
    }
}

/// An object as far as policies are concerned.
pub(super) enum Content {
    Namespace {
        name: String,
        labels: Labels,
    },
    Pod {
        /// None for one that has finished.
        pod: Option<Pod>,
        metadata: Box<ObjectMeta>,
    },
    /// What makes pods, and a pod as it makes them.
    Workload {
        kind: String,
        metadata: Box<ObjectMeta>,
        /// None for one that makes none any more.
        pod: Option<Pod>,
    },
    Policy {
        policy: Policy,
        object: Box<NetworkPolicy>,
        written: WrittenPolicy,
    },
    Service {
        service: Box<Service>,
        written: WrittenPolicy,
    },
    Endpoints(Vec<EndpointList>),
    Foreign(ForeignPolicy),
}

/// Objects in the order that they were read in.
#[derive(Default)]
pub(super) struct Inventory {
    objects: Vec<(Place, Content)>,
    by_identity: HashMap<Identity, usize>,
}

impl Inventory {
    /// Adds an object. One that is there already is replaced; where that was written is returned.
    pub(super) fn add(
        &mut self,
        identity: Identity,
        place: Place,
        content: Content,
    ) -> Option<Place> {
        // A name that the API server has yet to make (`generateName`) is nobody else's.
        if identity.name.is_empty() {
            self.objects.push((place, content));
            return None;
        }
        let next = self.objects.len();
        let index = *self.by_identity.entry(identity).or_insert(next);
        if index == next {
            self.objects.push((place, content));
            return None;
        }
        let (earlier, _) = std::mem::replace(&mut self.objects[index], (place, content));
        Some(earlier)
    }

    /// Adds all of it to `manifests`.
    ///
    /// Pods are of the workload that a person knows. A workload whose pods are there too is no pod of
    /// its own, nor is a ReplicaSet or a Job if what made it is there: they would be counted twice.
    pub(super) fn finish(self, manifests: &mut Manifests) {
        let mut owners = Owners::default();
        let mut written = HashSet::new();
        for (_, content) in &self.objects {
            if let Content::Workload { kind, metadata, .. } = content {
                let namespace = namespace_of(metadata);
                owners.add(namespace, kind, metadata);
                let name = name_of(metadata).to_owned();
                written.insert((namespace.to_owned(), Workload { kind: kind.clone(), name }));
            }
        }
        let mut pods: Vec<(Rank, Pod)> = Vec::new();
        for (place, content) in self.objects {
            match content {
                Content::Namespace { name, labels } => {
                    manifests.cluster.add_namespace(&name, labels);
                }
                Content::Policy { policy, object, written } => {
                    manifests.cluster.add_policy(policy);
                    manifests.policies.push(*object);
                    manifests.written.push(written);
                }
                Content::Service { service, written } => {
                    manifests.cluster.add_service(*service);
                    manifests.written_services.push(written);
                }
                Content::Endpoints(lists) => {
                    for list in lists {
                        manifests.cluster.add_endpoints(list);
                    }
                }
                Content::Foreign(policy) => {
                    manifests.cluster.add_foreign(policy);
                    manifests.foreign.push(place);
                }
                Content::Pod { pod, metadata } => {
                    manifests.is_live |= metadata.uid.is_some();
                    let namespace = namespace_of(&metadata);
                    let (workload, owner) = owners.of_pod(namespace, &metadata);
                    let key = (namespace.to_owned(), workload);
                    let maker = self::owner("Pod", &metadata);
                    let owner = owner.filter(|_| !written.contains(&key));
                    let workload = key.1;
                    match pod {
                        Some(pod) => pods.push((Rank::Pod, Pod { workload, owner, maker, ..pod })),
                        None => finished(manifests, namespace, workload),
                    }
                }
                Content::Workload { kind, metadata, pod } => {
                    let namespace = namespace_of(&metadata);
                    let workload = owners.of_template(namespace, &kind, &metadata);
                    let rank = if is_between(&kind) && workload.kind != kind {
                        Rank::Between
                    } else {
                        Rank::Workload
                    };
                    match pod {
                        Some(pod) => pods.push((rank, Pod { workload, ..pod })),
                        None => finished(manifests, namespace, workload),
                    }
                }
            }
        }
        let mut best: HashMap<(&str, &Workload), Rank> = HashMap::new();
        for (rank, pod) in &pods {
            let best = best.entry((&pod.namespace, &pod.workload)).or_insert(*rank);
            *best = (*best).min(*rank);
        }
        let counts: Vec<bool> = pods
            .iter()
            .map(|(rank, pod)| best[&(pod.namespace.as_str(), &pod.workload)] == *rank)
            .collect();
        drop(best);
        for ((_, pod), counts) in pods.into_iter().zip(counts) {
            if counts {
                manifests.cluster.add_pod(pod);
            }
        }
        let pods = manifests.cluster.pods().iter();
        let running: HashSet<_> = pods.map(|pod| (&pod.namespace, &pod.workload)).collect();
        let has_pods =
            |(namespace, workload): &(String, Workload)| running.contains(&(namespace, workload));
        manifests.finished.retain(|end| !has_pods(end));
    }
}

/// How near a pod is to what runs: of one workload only the nearest count.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Pod,
    Workload,
    Between,
}

fn namespace_of(metadata: &ObjectMeta) -> &str {
    metadata.namespace.as_deref().unwrap_or("default")
}

fn finished(manifests: &mut Manifests, namespace: &str, workload: Workload) {
    manifests.finished.insert((namespace.to_owned(), workload));
}
