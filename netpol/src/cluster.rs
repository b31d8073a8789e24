//! Namespaces, pods and policies: all that a verdict depends on.

use std::collections::BTreeMap;
use std::fmt;

use crate::endpoints::EndpointList;
pub use crate::pod::{NamedPort, Pod, Workload};
use crate::policy::Policy;
use crate::selector::Labels;
use crate::service::Service;

/// The label that every namespace has, with its name (rule 12).
pub const NAMESPACE_NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// What is known of a cluster.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    namespaces: BTreeMap<String, Labels>,
    pods: Vec<Pod>,
    policies: Vec<Policy>,
    /// The places of those of each namespace.
    policies_of: BTreeMap<String, Vec<usize>>,
    foreign: Vec<ForeignPolicy>,
    services: Vec<Service>,
    endpoints: Vec<EndpointList>,
    /// Whether these are all that there are.
    has_all_endpoints: bool,
}

/// A policy of another kind than NetworkPolicy: what it does to the connections of the pods that it may
/// be about is not known.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ForeignPolicy {
    /// `KIND.GROUP`.
    pub kind: String,
    /// The namespace whose pods alone it may be about; `None` for the whole cluster.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// Whether it stands for all of its kind there: there may be some, and nobody may look.
    pub is_hidden: bool,
}

impl ForeignPolicy {
    /// Whether it may be about `pod`.
    #[must_use]
    pub fn may_select(&self, pod: &Pod) -> bool {
        self.namespace.as_ref().is_none_or(|namespace| *namespace == pod.namespace)
    }
}

/// `KIND NAMESPACE/NAME`.
impl fmt::Display for ForeignPolicy {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind.split('.').next().unwrap_or_default();
        match &self.namespace {
            Some(namespace) if self.is_hidden => {
                write!(out, "every {kind} of namespace {namespace}: kubectl may not list them")
            }
            None if self.is_hidden => write!(out, "every {kind}: kubectl may not list them"),
            Some(namespace) => write!(out, "{kind} {namespace}/{}", self.name),
            None => write!(out, "{kind} {}", self.name),
        }
    }
}

impl Cluster {
    /// Adds a namespace with its labels; [`NAMESPACE_NAME_LABEL`] is set whatever they say.
    pub fn add_namespace(&mut self, name: &str, mut labels: Labels) {
        labels.insert(NAMESPACE_NAME_LABEL.to_owned(), name.to_owned());
        self.namespaces.insert(name.to_owned(), labels);
    }

    /// Adds a pod, and its namespace if that is not there.
    pub fn add_pod(&mut self, pod: Pod) {
        if !self.namespaces.contains_key(&pod.namespace) {
            self.add_namespace(&pod.namespace, Labels::new());
        }
        self.pods.push(pod);
    }

    /// Adds a policy.
    pub fn add_policy(&mut self, policy: Policy) {
        let place = self.policies.len();
        self.policies_of.entry(policy.namespace.clone()).or_default().push(place);
        self.policies.push(policy);
    }

    /// Adds a policy of a kind that is not modelled.
    pub fn add_foreign(&mut self, policy: ForeignPolicy) {
        self.foreign.push(policy);
    }

    /// Keeps only those policies of kinds that are not modelled for which `keep` says so.
    pub fn retain_foreign(&mut self, keep: impl FnMut(&ForeignPolicy) -> bool) {
        self.foreign.retain(keep);
    }

    /// Every policy of a kind that is not modelled.
    #[must_use]
    pub fn foreign(&self) -> &[ForeignPolicy] {
        &self.foreign
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.namespaces.is_empty()
            && self.policies.is_empty()
            && self.foreign.is_empty()
            && self.services.is_empty()
            && self.endpoints.is_empty()
    }

    /// Adds a Service.
    pub fn add_service(&mut self, service: Service) {
        self.services.push(service);
    }

    /// Adds endpoints that somebody has written down.
    pub fn add_endpoints(&mut self, list: EndpointList) {
        self.endpoints.push(list);
    }

    /// Says that there are no endpoints beside those that are added.
    pub fn know_all_endpoints(&mut self) {
        self.has_all_endpoints = true;
    }

    /// Whether there are no endpoints beside those that were added.
    #[must_use]
    pub fn has_all_endpoints(&self) -> bool {
        self.has_all_endpoints
    }

    /// The endpoints of a Service that are written down: none of these lists, or some, which may be empty.
    pub fn endpoints_of<'c>(
        &'c self,
        service: &'c Service,
    ) -> impl Iterator<Item = &'c EndpointList> {
        self.endpoints.iter().filter(|list| list.is_of(service))
    }

    /// Every Service.
    #[must_use]
    pub fn services(&self) -> &[Service] {
        &self.services
    }

    /// The Service of this namespace and name.
    #[must_use]
    pub fn service(&self, namespace: &str, name: &str) -> Option<&Service> {
        self.services.iter().find(|service| service.namespace == namespace && service.name == name)
    }

    /// The labels of a namespace; an unknown one has none.
    #[must_use]
    pub fn namespace_labels(&self, name: &str) -> Option<&Labels> {
        self.namespaces.get(name)
    }

    /// Every namespace, with its labels.
    pub fn namespaces(&self) -> impl Iterator<Item = (&str, &Labels)> {
        self.namespaces.iter().map(|(name, labels)| (name.as_str(), labels))
    }

    /// Every pod.
    #[must_use]
    pub fn pods(&self) -> &[Pod] {
        &self.pods
    }

    /// Keeps only the pods for which `keep` says so.
    pub fn retain_pods(&mut self, keep: impl FnMut(&Pod) -> bool) {
        self.pods.retain(keep);
    }

    /// Takes pods for what the inputs say that they are of, and not for what names tell.
    pub fn by_named_owners(&mut self) {
        for pod in &mut self.pods {
            if let Some(owner) = pod.owner.take() {
                pod.workload = owner;
            }
        }
    }

    /// Every pod, to learn its addresses.
    pub fn pods_mut(&mut self) -> &mut [Pod] {
        &mut self.pods
    }

    /// Every policy.
    #[must_use]
    pub fn policies(&self) -> &[Policy] {
        &self.policies
    }

    /// The policies of one namespace, in the order of all.
    pub fn policies_of(&self, namespace: &str) -> impl Iterator<Item = &Policy> {
        let places = self.policies_of.get(namespace).into_iter().flatten();
        places.map(|place| &self.policies[*place])
    }

    /// The pod of this namespace and name.
    #[must_use]
    pub fn pod(&self, namespace: &str, name: &str) -> Option<&Pod> {
        self.pods.iter().find(|pod| pod.namespace == namespace && pod.name == name)
    }
}

/// The pods of each namespace, as numbers: their places in a list.
#[derive(Debug, Default)]
pub struct PodsByNamespace<'a>(BTreeMap<&'a str, Vec<(usize, &'a Pod)>>);

impl<'a> PodsByNamespace<'a> {
    /// Those of `pods`.
    #[must_use]
    pub fn new(pods: &[&'a Pod]) -> Self {
        let mut namespaces: BTreeMap<&str, Vec<_>> = BTreeMap::new();
        for (index, pod) in pods.iter().enumerate() {
            namespaces.entry(&pod.namespace).or_default().push((index, *pod));
        }
        Self(namespaces)
    }

    /// Each namespace that has pods, and these with their places.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &[(usize, &'a Pod)])> {
        self.0.iter().map(|(namespace, pods)| (*namespace, pods.as_slice()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_12_every_namespace_has_the_label_of_its_name() {
        let mut cluster = Cluster::default();
        let lie = Labels::from([(NAMESPACE_NAME_LABEL.into(), "other".into())]);
        cluster.add_namespace("a", lie);
        cluster.add_pod(Pod { namespace: "b".into(), ..Pod::default() });
        for name in ["a", "b"] {
            assert_eq!(cluster.namespace_labels(name).unwrap()[NAMESPACE_NAME_LABEL], name);
        }
    }
}
