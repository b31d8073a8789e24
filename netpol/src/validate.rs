//! The API server's rules for a NetworkPolicy (`pkg/apis/networking/validation`), and its
//! defaults.

use ipnet::IpNet;
use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::field_error::FieldError;
use crate::names;
use crate::policy::{Namespaces, Peer, Peers, Policy, Port, PortSpec, Ports, Rule};
use crate::port::{PortRange, Protocol};
use crate::selector::Selector;

const PORT_RANGE: &str = "must be between 1 and 65535, inclusive";

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
    let names = |name: &str| types.iter().any(|one| one == name);
    let (isolates_ingress, isolates_egress) = if types.is_empty() {
        // Rule 3: an egress-only policy without policyTypes still isolates ingress.
        (true, !egress.is_empty())
    } else {
        // Rule 4: policyTypes wins over the sections that are there.
        (names("Ingress"), names("Egress"))
    };
    Ok(Policy {
        namespace: policy.metadata.namespace.clone().unwrap_or_else(|| "default".to_owned()),
        name: policy.metadata.name.clone().unwrap_or_default(),
        pods: pods.unwrap_or_default(),
        ingress: isolates_ingress.then_some(ingress),
        egress: isolates_egress.then_some(egress),
    })
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
    let protocol = Protocol::from_api(entry.protocol.as_deref());
    if protocol.is_none() {
        let name = entry.protocol.clone().unwrap_or_default();
        let supported = &["SCTP", "TCP", "UDP"];
        errors.push(FieldError::not_supported(format!("{path}.protocol"), name, supported));
    }
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
            if number(*first).is_none() {
                errors.push(FieldError::invalid(path_of_port, *first, PORT_RANGE));
            } else if last < *first {
                let detail = "must be greater than or equal to `port`";
                errors.push(FieldError::invalid(path_of_end.as_str(), last, detail));
            }
            if end.is_some() && number(last).is_none() {
                errors.push(FieldError::invalid(path_of_end, last, PORT_RANGE));
            }
            let range = number(*first).zip(number(last));
            range
                .map_or(PortSpec::Every, |(first, last)| PortSpec::Range(PortRange { first, last }))
        }
    };
    match protocol {
        Some(protocol) if errors.is_empty() => Ok(Port { protocol, ports: spec }),
        _ => Err(errors),
    }
}

fn number(port: i32) -> Option<u16> {
    u16::try_from(port).ok().filter(|port| *port != 0)
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
    let Some(cidr) = parse_cidr(&block.cidr) else {
        return Err(vec![FieldError::invalid(path_of_cidr, block.cidr.as_str(), NOT_A_CIDR)]);
    };
    let mut errors = Vec::new();
    let mut except = Vec::new();
    for (index, text) in block.except.iter().flatten().enumerate() {
        let path = format!("{path}.except[{index}]");
        match parse_cidr(text) {
            None => errors.push(FieldError::invalid(path, text.as_str(), NOT_A_CIDR)),
            Some(inner) if is_strictly_inside(&inner, &cidr) => except.push(inner),
            Some(_) => {
                let detail = "must be a strict subset of `cidr`";
                errors.push(FieldError::invalid(path, text.as_str(), detail));
            }
        }
    }
    if errors.is_empty() { Ok(Peer::Block { cidr, except }) } else { Err(errors) }
}

fn is_strictly_inside(inner: &IpNet, outer: &IpNet) -> bool {
    outer.contains(inner) && outer.prefix_len() < inner.prefix_len()
}

/// Reads a CIDR as the API server does for this field: host bits and, in IPv4, leading zeros
/// are accepted (`netutils.ParseCIDRSloppy`).
fn parse_cidr(text: &str) -> Option<IpNet> {
    let parsed: IpNet = text.parse().ok().or_else(|| {
        let (address, length) = text.split_once('/')?;
        let octets: Vec<_> = address
            .split('.')
            .map(|octet| match octet.trim_start_matches('0') {
                "" if !octet.is_empty() => "0",
                rest => rest,
            })
            .collect();
        format!("{}/{length}", octets.join(".")).parse().ok()
    })?;
    Some(parsed.trunc())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::policy::Direction;

    fn validate(spec: Value) -> Result<Policy, Vec<String>> {
        let object = json!({"metadata": {"name": "p", "namespace": "n"}, "spec": spec});
        policy(&serde_json::from_value(object).unwrap())
            .map_err(|errors| errors.iter().map(ToString::to_string).collect())
    }

    fn isolates(spec: Value) -> (bool, bool) {
        let policy = validate(spec).unwrap();
        (policy.rules(Direction::Ingress).is_some(), policy.rules(Direction::Egress).is_some())
    }

    #[test]
    fn a_name_may_be_left_to_the_api_server_where_it_is_told_how_it_begins() {
        let named = |metadata: Value| {
            let object = json!({"metadata": metadata, "spec": {}});
            let errors = policy(&serde_json::from_value(object).unwrap()).err().unwrap_or_default();
            errors.iter().map(|error| error.path.clone()).collect::<Vec<_>>()
        };
        assert_eq!(named(json!({"generateName": "p-"})), [""; 0]);
        assert_eq!(named(json!({"generateName": "P-"})), ["metadata.generateName"]);
        assert_eq!(named(json!({"generateName": ""})), ["metadata.name"]);
        assert_eq!(named(json!({})), ["metadata.name"]);
    }

    #[test]
    fn rule_3_without_policy_types_egress_is_isolated_only_if_a_rule_is_there() {
        assert_eq!(isolates(json!({})), (true, false));
        assert_eq!(isolates(json!({"egress": []})), (true, false));
        assert_eq!(isolates(json!({"egress": null})), (true, false));
        assert_eq!(isolates(json!({"egress": [{}]})), (true, true));
    }

    #[test]
    fn rule_3_an_egress_only_policy_without_policy_types_still_isolates_ingress() {
        let policy = validate(json!({"egress": [{}]})).unwrap();
        assert_eq!(policy.rules(Direction::Ingress), Some(&[][..]));
    }

    #[test]
    fn rule_4_policy_types_wins_over_the_sections_present() {
        let with =
            |types: Value| isolates(json!({"ingress": [{}], "egress": [{}], "policyTypes": types}));
        assert_eq!(with(json!(["Egress"])), (false, true));
        assert_eq!(with(json!(["Ingress"])), (true, false));
        assert_eq!(with(json!([])), (true, true));
        assert_eq!(isolates(json!({"policyTypes": ["Egress"]})), (false, true));
    }

    #[test]
    fn rule_5_ingress_empty_absent_or_null_denies_all() {
        for spec in [json!({"ingress": []}), json!({}), json!({"ingress": null})] {
            assert_eq!(validate(spec).unwrap().ingress, Some(vec![]));
        }
    }

    #[test]
    fn rule_6_an_empty_rule_allows_all() {
        let rule = Rule { peers: Peers::Everyone, ports: Ports::Every };
        assert_eq!(validate(json!({"ingress": [{}]})).unwrap().ingress, Some(vec![rule]));
    }

    #[test]
    fn rule_7_missing_and_empty_peers_and_ports_are_no_restriction() {
        let empty = validate(json!({"ingress": [{"from": [], "ports": []}]})).unwrap();
        assert_eq!(empty, validate(json!({"ingress": [{}]})).unwrap());
    }

    #[test]
    fn rule_8_an_absent_pod_selector_selects_all_pods() {
        assert_eq!(validate(json!({})).unwrap(), validate(json!({"podSelector": {}})).unwrap());
    }

    #[test]
    fn rule_10_a_peer_is_a_selector_or_a_block() {
        let peer = |peer: Value| validate(json!({"ingress": [{"from": [peer]}]}));
        assert_eq!(
            peer(json!({})).unwrap_err(),
            ["spec.ingress[0].from[0]: Required value: must specify a peer"]
        );
        assert_eq!(
            peer(json!({"podSelector": {}, "ipBlock": {"cidr": "10.0.0.0/8"}})).unwrap_err(),
            ["spec.ingress[0].from[0]: Forbidden: may not specify both ipBlock and another peer"]
        );
    }

    #[test]
    fn rule_13_the_protocol_defaults_to_tcp_and_a_port_to_all() {
        let policy = validate(json!({"ingress": [{"ports": [{"port": 80}, {"protocol": "UDP"}]}]}));
        let range = PortSpec::Range(PortRange::single(80));
        assert_eq!(
            policy.unwrap().ingress.unwrap()[0].ports,
            Ports::Any(vec![
                Port { protocol: Protocol::Tcp, ports: range },
                Port { protocol: Protocol::Udp, ports: PortSpec::Every },
            ])
        );
    }

    #[test]
    fn ports_are_checked_as_the_api_server_does() {
        let bad = [
            (json!({"port": 0}), "port: Invalid value: 0: must be between 1 and 65535, inclusive"),
            (
                json!({"port": 65536}),
                "port: Invalid value: 65536: must be between 1 and 65535, inclusive",
            ),
            (
                json!({"port": "80"}),
                r#"port: Invalid value: "80": must contain at least one letter (a-z)"#,
            ),
            (
                json!({"endPort": 80}),
                "port: Required value: must be specified when `endPort` is specified",
            ),
            (
                json!({"port": "http", "endPort": 80}),
                "endPort: Forbidden: may not be specified when `port` is non-numeric",
            ),
            (
                json!({"port": 80, "endPort": 79}),
                "endPort: Invalid value: 79: must be greater than or equal to `port`",
            ),
            (
                json!({"port": 80, "protocol": "ICMP"}),
                r#"protocol: Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP""#,
            ),
            (
                json!({"port": 80, "protocol": "tcp"}),
                r#"protocol: Unsupported value: "tcp": supported values: "SCTP", "TCP", "UDP""#,
            ),
        ];
        for (port, words) in bad {
            let errors = validate(json!({"egress": [{"ports": [port]}]})).unwrap_err();
            assert_eq!(errors, [format!("spec.egress[0].ports[0].{words}")]);
        }
    }

    #[test]
    fn blocks_are_checked_as_the_api_server_does() {
        let block = |block: Value| validate(json!({"ingress": [{"from": [{"ipBlock": block}]}]}));
        for bad in ["", "10.0.0.0", "10.0.0.0/33", "a/8", "10.0.0/8"] {
            assert!(block(json!({ "cidr": bad })).is_err(), "{bad}");
        }
        for good in ["0.0.0.0/0", "10.0.0.1/8", "010.0.0.0/8", "::/0", "2001:db8::/64"] {
            assert!(block(json!({ "cidr": good })).is_ok(), "{good}");
        }
        for outside in ["11.0.0.0/8", "10.0.0.0/8", "0.0.0.0/0", "2001:db8::/64", "x"] {
            let result = block(json!({"cidr": "10.0.0.0/8", "except": [outside]}));
            assert!(result.is_err(), "{outside}");
        }
        assert!(block(json!({"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]})).is_ok());
    }

    #[test]
    fn zeros_in_front_are_not_octal_and_an_empty_octet_is_no_zero() {
        assert_eq!(parse_cidr("010.000.001.1/32"), Some("10.0.1.1/32".parse().unwrap()));
        assert_eq!(parse_cidr("10..0.1/32"), None);
    }

    #[test]
    fn a_policy_whose_name_alone_is_wrong_is_invalid_and_has_a_meaning() {
        let object = json!({"metadata": {"name": "A"}, "spec": {"podSelector": {}}});
        let object = serde_json::from_value(object).unwrap();
        assert!(policy(&object).is_err() && meaning(&object).is_ok());
    }

    #[test]
    fn policy_types_are_two_known_ones() {
        for bad in [json!(["ingress"]), json!(["Ingress", "Egress", "Ingress"]), json!([""])] {
            assert!(validate(json!({ "policyTypes": bad })).is_err());
        }
    }

    #[test]
    fn every_fault_is_reported() {
        let spec = json!({
            "podSelector": {"matchLabels": {"-": ""}},
            "ingress": [{"from": [{}], "ports": [{"port": 0}]}],
        });
        assert!(validate(spec).unwrap_err().len() >= 3);
    }
}
