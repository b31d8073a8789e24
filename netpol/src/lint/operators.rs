//! Pods that no manifest has, and that an operator makes of a resource of its own.

use std::collections::BTreeSet;

use crate::read::{DEFINITION, Resource};
use crate::selector::{Operator, Requirement, Selector};

/// The resources of kinds that are not Kubernetes' own.
pub(super) struct Operators<'a>(pub &'a [Resource]);

/// Ends of kinds that make no pods: they configure what does.
const CONFIGURES: [&str; 9] =
    ["Monitor", "Rule", "Config", "Policy", "Issuer", "Certificate", "Route", "Binding", "Secret"];

/// Domains of label keys that operators put on the pods that they make, wherever their resource is.
const DOMAINS: [&str; 14] = [
    "operator.prometheus.io",
    "strimzi.io",
    "cnpg.io",
    "k8s.elastic.co",
    "acme.cert-manager.io",
    "workflows.argoproj.io",
    "postgres-operator.crunchydata.com",
    "serving.knative.dev",
    "tekton.dev",
    "gateway.networking.k8s.io",
    "sparkoperator.k8s.io",
    "ray.io",
    "cass-operator.datastax.com",
    "longhorn.io",
];

/// Labels that Kubernetes' own controllers give to pods, and templates do not have.
const OF_CONTROLLERS: [&str; 9] = [
    "statefulset.kubernetes.io/pod-name",
    "apps.kubernetes.io/pod-index",
    "pod-template-hash",
    "controller-revision-hash",
    "job-name",
    "batch.kubernetes.io/job-name",
    "batch.kubernetes.io/job-completion-index",
    "controller-uid",
    "batch.kubernetes.io/controller-uid",
];

/// What the operator of Prometheus names the pods that it makes
/// (`pkg/prometheus/server/statefulset.go` and its neighbours).
const OF_PROMETHEUS: [&str; 4] = ["prometheus", "prometheus-agent", "alertmanager", "thanos-ruler"];

impl Operators<'_> {
    /// In words, whether an operator may make pods that `selector` names, in `namespace` if that is given.
    pub(super) fn may_make(&self, selector: &Selector, namespace: Option<&str>) -> Option<String> {
        let wanted: Vec<&Requirement> = selector
            .requirements()
            .iter()
            .filter(|one| matches!(one.operator, Operator::In(_) | Operator::Exists))
            .collect();
        if wanted.is_empty() {
            return None;
        }
        let is_there = |resource: &&Resource| {
            resource.kind == DEFINITION
                || namespace.is_none_or(|namespace| resource.namespace == namespace)
        };
        let explains = |resource: &&Resource| wanted.iter().all(|one| resource.explains(one));
        if let Some(resource) = self.0.iter().filter(is_there).find(explains) {
            let Resource { kind, group, .. } = resource;
            if kind == DEFINITION {
                return Some(format!(
                    "if an operator makes them (this input defines kinds of {group}) it is right"
                ));
            }
            let article = if kind.starts_with(['A', 'E', 'I', 'O', 'U']) { "an" } else { "a" };
            return Some(format!(
                "if an operator makes them (this input holds {article} {kind} resource) it is right"
            ));
        }
        if wanted.iter().any(|one| OF_CONTROLLERS.contains(&one.key.as_str())) {
            return Some("if its controller gives them that label it is right".to_owned());
        }
        let known = wanted.iter().any(|one| is_known(one));
        known.then(|| "if an operator makes them it is right".to_owned())
    }
}

/// Whether a label is one that a known operator puts on pods.
fn is_known(Requirement { key, operator }: &Requirement) -> bool {
    if let Some(domain) = domain_of(key)
        && DOMAINS.iter().any(|known| is_within(domain, known))
    {
        return true;
    }
    let Operator::In(values) = operator else { return false };
    match key.as_str() {
        "app.kubernetes.io/managed-by" => values.iter().any(|value| value.ends_with("-operator")),
        "app.kubernetes.io/name" => {
            values.iter().all(|value| OF_PROMETHEUS.contains(&value.as_str()))
        }
        _ => false,
    }
}

/// The domain of a label's key: its prefix, or the key itself where it is one without a prefix, as Longhorn's
/// `recurring-job.longhorn.io` is.
fn domain_of(key: &str) -> Option<&str> {
    match key.split_once('/') {
        Some((domain, _)) => Some(domain),
        None => key.contains('.').then_some(key),
    }
}

fn is_within(domain: &str, outer: &str) -> bool {
    domain.strip_suffix(outer).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

impl Resource {
    /// Whether pods that are made of it may well have this label: it is its own or its template's; its
    /// key is of the operator's domain; or its value is its name or its kind.
    fn explains(&self, Requirement { key, operator }: &Requirement) -> bool {
        if CONFIGURES.iter().any(|end| self.kind.ends_with(end)) {
            return false;
        }
        let domain = domain_of(key);
        let related = |domain| is_within(domain, &self.group) || is_within(&self.group, domain);
        if domain.is_some_and(related) {
            return true;
        }
        let Operator::In(values) = operator else { return self.labels.contains_key(key) };
        if self.kind == DEFINITION {
            // longhorn.io makes pods with app=longhorn-csi-plugin.
            let product = self.group.split_once('.').filter(|(_, rest)| !rest.contains('.'));
            let is_of = |value: &String, product: &str| {
                value.strip_prefix(product).is_some_and(|rest| rest.starts_with('-'))
            };
            return product
                .is_some_and(|(product, _)| values.iter().all(|value| is_of(value, product)));
        }
        let known: BTreeSet<&String> = self.labels.get(key).into_iter().collect();
        values.iter().any(|value| {
            known.contains(value) || *value == self.name || *value == self.kind.to_lowercase()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{pod, policy, told};

    const PROMETHEUS: &str = "apiVersion: monitoring.coreos.com/v1\nkind: Prometheus\n\
        metadata: {name: k8s, namespace: monitoring}\nspec: {podMetadata: {labels: {team: sre}}}\n---\n";

    fn peer(labels: &str) -> String {
        let peer = format!("{{podSelector: {{matchLabels: {{{labels}}}}}}}");
        policy("monitoring", &format!("{{ingress: [{{}}, {{from: [{peer}]}}]}}"))
    }

    #[test]
    fn a_peer_that_an_operator_makes_pods_for_is_a_note_in_other_words() {
        let web = pod("monitoring/web", "app: web", "");
        let label = "app.kubernetes.io/name: prometheus";
        assert_eq!(
            told(&(web.clone() + PROMETHEUS + &peer(label))),
            ["note: spec.ingress[1].from[0]: no manifest has pods with \
              app.kubernetes.io/name=prometheus in namespace monitoring; if an operator makes them \
              (this input holds a Prometheus resource) it is right"]
        );
        for label in ["team: sre", "prometheus: k8s", "app.kubernetes.io/instance: k8s"] {
            assert!(
                told(&(web.clone() + PROMETHEUS + &peer(label)))[0].starts_with("note: "),
                "{label}"
            );
        }
    }

    #[test]
    fn the_label_of_a_known_operator_is_a_note_without_its_resource_too() {
        let web = pod("monitoring/web", "app: web", "");
        for label in [
            "app.kubernetes.io/name: alertmanager",
            "strimzi.io/cluster: a",
            "app.kubernetes.io/managed-by: jaeger-operator",
        ] {
            let told = told(&(web.clone() + &peer(label)));
            assert!(
                told[0].starts_with("note: ") && told[0].ends_with("makes them it is right"),
                "{told:?}"
            );
        }
    }

    #[test]
    fn a_peer_of_the_domain_of_kinds_that_the_input_defines_is_a_note() {
        let defines = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\n\
                       metadata: {name: volumes.longhorn.io}\n---\n";
        let web = pod("monitoring/web", "app: web", "") + defines;
        for label in ["longhorn.io/component: share-manager", "app: longhorn-csi-plugin"] {
            let told = told(&(web.clone() + &peer(label)));
            assert!(
                told[0].starts_with("note: ") && told[0].contains("kinds of longhorn.io"),
                "{told:?}"
            );
        }
        for label in ["app: longhorns", "example.io/longhorn: a"] {
            assert!(told(&(web.clone() + &peer(label)))[0].starts_with("warning: "), "{label}");
        }
    }

    #[test]
    fn a_key_that_is_a_domain_itself_is_of_that_domain() {
        let web = pod("monitoring/web", "app: web", "");
        let policy = |key: &str| {
            let selector = format!("{{matchExpressions: [{{key: {key}, operator: Exists}}]}}");
            policy("monitoring", &format!("{{podSelector: {selector}, ingress: [{{}}]}}"))
        };
        let longhorn = told(&(web.clone() + &policy("recurring-job.longhorn.io")));
        assert!(longhorn[0].starts_with("note: "), "{longhorn:?}");
        for other in ["recurring-job.example.io", "longhorn", "notlonghorn.io"] {
            assert!(told(&(web.clone() + &policy(other)))[0].starts_with("warning: "), "{other}");
        }
    }

    #[test]
    fn a_label_that_only_controllers_give_is_a_note() {
        let told = told(&(pod("monitoring/web", "app: web", "") + &peer("pod-template-hash: abc")));
        assert!(told[0].starts_with("note: ") && told[0].contains("controller"), "{told:?}");
    }

    #[test]
    fn any_other_label_is_a_warning_whatever_operators_are_there() {
        let web = pod("monitoring/web", "app: web", "");
        let told = told(&(web + PROMETHEUS + &peer("app: cliend")));
        assert!(told[0].starts_with("warning: "), "{told:?}");
    }

    #[test]
    fn a_policy_for_the_pods_of_an_operator_is_a_note() {
        let spec = "{podSelector: {matchLabels: {cnpg.io/cluster: db}}, ingress: [{}]}";
        let told = told(&(pod("monitoring/web", "app: web", "") + &policy("monitoring", spec)));
        assert_eq!(
            told,
            ["note: spec.podSelector: no manifest has pods with cnpg.io/cluster=db in namespace \
              monitoring; if an operator makes them it is right"]
        );
    }
}
