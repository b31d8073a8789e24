//! The API server's rules for a NetworkPolicy (`pkg/apis/networking/validation`), and its
//! defaults.

pub mod cidr;

use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use self::cidr::Written;
use crate::field_error::FieldError;
use crate::names::{self, NamespacedName};
use crate::policy::{Namespaces, Peer, Peers, Policy, Port, PortSpec, Ports, Rule};
use crate::port::{PortRange, Protocol};
use crate::selector::Selector;

/// Validates `policy` and applies the API's defaults (rules 3 to 10 and 13).
///
/// A policy without namespace is in `default`, as kubectl would put it there.
pub fn policy(policy: &NetworkPolicy) -> Result<Policy, Vec<FieldError>> {
    let metadata = metadata(&policy.metadata);
    match meaning(policy) {
        Ok(policy) if metadata.is_empty() => Ok(policy),
        Ok(_) => Err(metadata),
        Err(errors) => Err([metadata, errors].concat()),
    }
}

/// What the API server finds wrong with a policy's name, namespace and labels, on which what it means
/// does not depend.
#[must_use]
pub fn metadata_errors(policy: &NetworkPolicy) -> Vec<FieldError> {
    metadata(&policy.metadata)
}

/// What `policy` means, whatever its name is. Errors are those of its spec.
pub fn meaning(policy: &NetworkPolicy) -> Result<Policy, Vec<FieldError>> {
    let mut errors = Errors(Vec::new());
    let spec = policy.spec.clone().unwrap_or_default();
    let pods = errors.take(selector("spec.podSelector", spec.pod_selector.as_ref()));
    let ingress = rules(
        &mut errors,
        "spec.ingress",
        "from",
        spec.ingress.unwrap_or_default().into_iter().map(|rule| (rule.from, rule.ports)),
    );
    let egress = rules(
        &mut errors,
        "spec.egress",
        "to",
        spec.egress.unwrap_or_default().into_iter().map(|rule| (rule.to, rule.ports)),
    );
    let types = spec.policy_types.unwrap_or_default();
    policy_types(&mut errors, &types);
    if !errors.0.is_empty() {
        return Err(errors.0);
    }
    let (isolates_ingress, isolates_egress) = isolates(&types, !egress.is_empty());
    let NamespacedName { namespace, name } = NamespacedName::of(&policy.metadata);
    Ok(Policy {
        namespace,
        name,
        pods: pods.unwrap_or_default(),
        ingress: isolates_ingress.then_some(ingress),
        egress: isolates_egress.then_some(egress),
    })
}

/// What is in force of `policy`, for who has it already and cannot refuse it, and what is wrong with it.
///
/// What cannot be understood is denied, not allowed: a policy with an error allows nothing to the pods
/// that it selects, to all of its namespace if its selector is the error, and in both directions if
/// its types are.
#[must_use]
pub fn in_force(policy: &NetworkPolicy) -> (Policy, Vec<FieldError>) {
    let errors = match meaning(policy) {
        Ok(meaning) => return (meaning, metadata(&policy.metadata)),
        Err(errors) => errors,
    };
    let spec = policy.spec.clone().unwrap_or_default();
    let types = spec.policy_types.unwrap_or_default();
    let mut of_types = Errors(Vec::new());
    policy_types(&mut of_types, &types);
    let (ingress, egress) = if of_types.0.is_empty() {
        isolates(&types, spec.egress.is_some_and(|rules| !rules.is_empty()))
    } else {
        (true, true)
    };
    let NamespacedName { namespace, name } = NamespacedName::of(&policy.metadata);
    let denial = Policy {
        namespace,
        name,
        pods: selector("spec.podSelector", spec.pod_selector.as_ref()).unwrap_or_default(),
        ingress: ingress.then(Vec::new),
        egress: egress.then(Vec::new),
    };
    (denial, errors)
}

/// Whether a policy of these valid types isolates for ingress, and for egress.
fn isolates(types: &[String], has_egress_rule: bool) -> (bool, bool) {
    let names = |name: &str| types.iter().any(|one| one == name);
    if types.is_empty() {
        // Rule 3: an egress-only policy without policyTypes still isolates ingress.
        (true, has_egress_rule)
    } else {
        // Rule 4: policyTypes wins over the sections that are there.
        (names("Ingress"), names("Egress"))
    }
}

/// Errors found so far: a message for every fault, not only for the first.
struct Errors(Vec<FieldError>);

impl Errors {
    fn take<T>(&mut self, result: Result<T, Vec<FieldError>>) -> Option<T> {
        result.map_err(|errors| self.0.extend(errors)).ok()
    }
}

fn metadata(metadata: &ObjectMeta) -> Vec<FieldError> {
    let mut errors = Vec::new();
    match (metadata.name.as_deref(), metadata.generate_name.as_deref()) {
        (None | Some(""), Some(prefix)) if !prefix.is_empty() => {
            // A hyphen at the end is followed by what the API server makes up.
            let shown = prefix.strip_suffix('-').map(|prefix| format!("{prefix}a"));
            let invalid = |fault| FieldError::invalid("metadata.generateName", prefix, fault);
            let name = shown.as_deref().unwrap_or(prefix);
            errors.extend(names::dns_subdomain(name).into_iter().map(invalid));
        }
        (None | Some(""), _) => {
            errors.push(FieldError::required("metadata.name", "name or generateName is required"));
        }
        (Some(name), _) => {
            let invalid = |fault| FieldError::invalid("metadata.name", name, fault);
            errors.extend(names::dns_subdomain(name).into_iter().map(invalid));
        }
    }
    if let Some(namespace) = &metadata.namespace {
        let invalid = |fault| FieldError::invalid("metadata.namespace", namespace.as_str(), fault);
        errors.extend(names::dns_label(namespace).into_iter().map(invalid));
    }
    if let Some(labels) = &metadata.labels {
        errors.extend(names::labels("metadata.labels", labels));
    }
    for key in metadata.annotations.iter().flat_map(|annotations| annotations.keys()) {
        let invalid = |fault| FieldError::invalid("metadata.annotations", key.as_str(), fault);
        errors.extend(names::label_key(&key.to_lowercase()).into_iter().map(invalid));
    }
    errors
}

/// An absent selector is the empty one here (rule 8), which matches everything.
fn selector(path: &str, selector: Option<&LabelSelector>) -> Result<Selector, Vec<FieldError>> {
    selector.map_or_else(|| Ok(Selector::default()), |selector| Selector::from_api(path, selector))
}

fn policy_types(errors: &mut Errors, types: &[String]) {
    const PATH: &str = "spec.policyTypes";
    if types.len() > 2 {
        let detail = "may not specify more than two policyTypes";
        errors.0.push(FieldError::invalid(PATH, types.to_vec(), detail));
        return;
    }
    for (index, name) in types.iter().enumerate() {
        if name != "Ingress" && name != "Egress" {
            let path = format!("{PATH}[{index}]");
            errors.0.push(FieldError::not_supported(path, name.as_str(), &["Egress", "Ingress"]));
        }
    }
}

type ApiRule = (Option<Vec<NetworkPolicyPeer>>, Option<Vec<NetworkPolicyPort>>);

fn rules(
    errors: &mut Errors,
    path: &str,
    peers_field: &str,
    rules: impl Iterator<Item = ApiRule>,
) -> Vec<Rule> {
    let mut valid = Vec::new();
    for (index, (peers, ports)) in rules.enumerate() {
        let path = format!("{path}[{index}]");
        let ports: Vec<_> = ports
            .iter()
            .flatten()
            .enumerate()
            .filter_map(|(index, entry)| {
                errors.take(port(&format!("{path}.ports[{index}]"), entry))
            })
            .collect();
        let peers: Vec<_> = peers
            .iter()
            .flatten()
            .enumerate()
            .filter_map(|(index, entry)| {
                errors.take(peer(&format!("{path}.{peers_field}[{index}]"), entry))
            })
            .collect();
        // Rules 6 and 7: missing and empty are the same, and mean no restriction.
        valid.push(Rule {
            peers: if peers.is_empty() { Peers::Everyone } else { Peers::Any(peers) },
            ports: if ports.is_empty() { Ports::Every } else { Ports::Any(ports) },
        });
    }
    valid
}

fn port(path: &str, entry: &NetworkPolicyPort) -> Result<Port, Vec<FieldError>> {
    let mut errors = Vec::new();
    let protocol = protocol(path, entry.protocol.as_deref(), &mut errors);
    let path_of_port = format!("{path}.port");
    let path_of_end = format!("{path}.endPort");
    let spec = match (&entry.port, entry.end_port) {
        (None, None) => PortSpec::Every,
        (None, Some(_)) => {
            let detail = "must be specified when `endPort` is specified";
            errors.push(FieldError::required(path_of_port, detail));
            PortSpec::Every
        }
        (Some(IntOrString::String(name)), end) => {
            let invalid = |fault| FieldError::invalid(path_of_port.as_str(), name.as_str(), fault);
            errors.extend(names::port_name(name).into_iter().map(invalid));
            if end.is_some() {
                let detail = "may not be specified when `port` is non-numeric";
                errors.push(FieldError::forbidden(path_of_end, detail));
            }
            PortSpec::Named(name.clone())
        }
        (Some(IntOrString::Int(first)), end) => {
            let last = end.unwrap_or(*first);
            let number_of_first = port_number(path_of_port, *first, &mut errors);
            if number_of_first.is_some() && last < *first {
                let detail = "must be greater than or equal to `port`";
                errors.push(FieldError::invalid(path_of_end.as_str(), last, detail));
            }
            let number_of_last = match end {
                Some(end) => port_number(path_of_end, end, &mut errors),
                None => number_of_first,
            };
            let range = number_of_first.zip(number_of_last);
            range
                .map_or(PortSpec::Every, |(first, last)| PortSpec::Range(PortRange { first, last }))
        }
    };
    match protocol {
        Some(protocol) if errors.is_empty() => Ok(Port { protocol, ports: spec }),
        _ => Err(errors),
    }
}

/// The protocol that the object at `path` names; one that there is not is an error.
pub(crate) fn protocol(
    path: &str,
    name: Option<&str>,
    errors: &mut Vec<FieldError>,
) -> Option<Protocol> {
    let protocol = Protocol::from_api(name);
    if protocol.is_none() {
        let (path, supported) = (format!("{path}.protocol"), &["SCTP", "TCP", "UDP"]);
        errors.push(FieldError::not_supported(path, name.unwrap_or_default(), supported));
    }
    protocol
}

/// The number of a port, at `path`; one that no port has is an error (`IsValidPortNum`).
pub(crate) fn port_number(path: String, port: i32, errors: &mut Vec<FieldError>) -> Option<u16> {
    let number = u16::try_from(port).ok().filter(|port| *port != 0);
    if number.is_none() {
        let detail = "must be between 1 and 65535, inclusive";
        errors.push(FieldError::invalid(path, port, detail));
    }
    number
}

fn peer(path: &str, entry: &NetworkPolicyPeer) -> Result<Peer, Vec<FieldError>> {
    if let Some(given) = &entry.ip_block {
        let mut errors = Errors(Vec::new());
        if entry.pod_selector.is_some() || entry.namespace_selector.is_some() {
            let detail = "may not specify both ipBlock and another peer";
            errors.0.push(FieldError::forbidden(path, detail));
        }
        let block = errors.take(ip_block(&format!("{path}.ipBlock"), given));
        return block.filter(|_| errors.0.is_empty()).ok_or(errors.0);
    }
    if entry.pod_selector.is_none() && entry.namespace_selector.is_none() {
        return Err(vec![FieldError::required(path, "must specify a peer")]);
    }
    let mut errors = Errors(Vec::new());
    let pods = errors.take(selector(&format!("{path}.podSelector"), entry.pod_selector.as_ref()));
    let namespaces = match &entry.namespace_selector {
        None => Some(Namespaces::OfThePolicy),
        Some(given) => errors
            .take(Selector::from_api(&format!("{path}.namespaceSelector"), given))
            .map(Namespaces::Matching),
    };
    match (namespaces, pods) {
        (Some(namespaces), Some(pods)) => Ok(Peer::Pods { namespaces, pods }),
        _ => Err(errors.0),
    }
}

fn ip_block(path: &str, block: &IPBlock) -> Result<Peer, Vec<FieldError>> {
    const NOT_A_CIDR: &str = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
    let path_of_cidr = format!("{path}.cidr");
    if block.cidr.is_empty() {
        return Err(vec![FieldError::required(path_of_cidr, "")]);
    }
    let Some(cidr) = Written::parse(&block.cidr) else {
        return Err(vec![FieldError::invalid(path_of_cidr, block.cidr.as_str(), NOT_A_CIDR)]);
    };
    let mut errors = Vec::new();
    let mut except = Vec::new();
    for (index, text) in block.except.iter().flatten().enumerate() {
        let path = format!("{path}.except[{index}]");
        match Written::parse(text) {
            None => errors.push(FieldError::invalid(path, text.as_str(), NOT_A_CIDR)),
            Some(inner) if cidr.may_lose(&inner) => except.push(inner.block()),
            Some(_) => {
                let detail = "must be a strict subset of `cidr`";
                errors.push(FieldError::invalid(path, text.as_str(), detail));
            }
        }
    }
    if errors.is_empty() { Ok(Peer::Block { cidr: cidr.block(), except }) } else { Err(errors) }
}

/// What an API server with `StrictIPCIDRValidation` refuses of the blocks of `policy` and others take, as
/// Kubernetes did up to 1.35; with what to write instead.
#[must_use]
pub fn strict_cidr_errors(policy: &NetworkPolicy) -> Vec<(FieldError, String)> {
    let spec = policy.spec.clone().unwrap_or_default();
    let ingress = spec.ingress.into_iter().flatten().map(|rule| rule.from).enumerate();
    let egress = spec.egress.into_iter().flatten().map(|rule| rule.to).enumerate();
    let rules = ingress
        .map(|(index, peers)| (format!("spec.ingress[{index}].from"), peers))
        .chain(egress.map(|(index, peers)| (format!("spec.egress[{index}].to"), peers)));
    let mut errors = Vec::new();
    for (path, peers) in rules {
        for (index, peer) in peers.into_iter().flatten().enumerate() {
            let Some(IPBlock { cidr, except }) = peer.ip_block else { continue };
            let path = format!("{path}[{index}].ipBlock");
            let except = except.into_iter().flatten().enumerate();
            let except = except.map(|(index, text)| (format!("{path}.except[{index}]"), text));
            for (path, text) in std::iter::once((format!("{path}.cidr"), cidr)).chain(except) {
                let Some(written) = Written::parse(&text) else { continue };
                if let Some(fault) = written.strict_fault() {
                    errors.push((FieldError::invalid(path, text, fault), written.better()));
                }
            }
        }
    }
    errors
}

#[cfg(test)]
mod tests;
