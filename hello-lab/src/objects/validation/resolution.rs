//! Rules of how a pod's processes find names (`ValidateHostAliases`, `validatePodDNSConfig` of
//! pkg/apis/core/validation): what they say goes into files.

use netpol::field_error::FieldError;
use netpol::names;
use serde_json::Value;

use super::{each, ip_address};
use crate::objects::names::{MOST_NAME_SERVERS, MOST_SEARCHES};

/// What is wrong with a pod's `hostAliases`, `dnsPolicy` and `dnsConfig`.
pub(super) fn of_pod(path: &str, spec: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (index, alias) in each(&spec["hostAliases"]).enumerate() {
        let path = format!("{path}.hostAliases[{index}]");
        errors.extend(ip_address(&format!("{path}.ip"), &alias["ip"]).err());
        for (index, name) in each(&alias["hostnames"]).enumerate() {
            errors.extend(subdomain(&format!("{path}.hostnames[{index}]"), name));
        }
    }
    let config = &spec["dnsConfig"];
    let path = format!("{path}.dnsConfig");
    let servers = each(&config["nameservers"]).count();
    if spec["dnsPolicy"] == "None" && servers == 0 {
        errors.push(if config.is_null() {
            FieldError::required(&path, "must provide `dnsConfig` when `dnsPolicy` is None")
        } else {
            let detail = "must provide at least one DNS nameserver when `dnsPolicy` is None";
            FieldError::required(format!("{path}.nameservers"), detail)
        });
    }
    if servers > MOST_NAME_SERVERS {
        let detail = format!("must not have more than {MOST_NAME_SERVERS} nameservers");
        let path = format!("{path}.nameservers");
        errors.push(FieldError::invalid(path, config["nameservers"].clone(), detail));
    }
    for (index, server) in each(&config["nameservers"]).enumerate() {
        errors.extend(ip_address(&format!("{path}.nameservers[{index}]"), server).err());
    }
    if each(&config["searches"]).count() > MOST_SEARCHES {
        let detail = format!("must not have more than {MOST_SEARCHES} search paths");
        let path = format!("{path}.searches");
        errors.push(FieldError::invalid(path, config["searches"].clone(), detail));
    }
    for (index, domain) in each(&config["searches"]).enumerate() {
        let is_root = domain.as_str().is_some_and(|domain| domain == ".");
        // An underscore, and a dot at the end, are for names of DNS (`RelaxedDNSSearchValidation`).
        let plain = domain.as_str().unwrap_or_default().replace('_', "0");
        let plain = plain.strip_suffix('.').unwrap_or(&plain);
        if !is_root {
            errors.extend(subdomain(&format!("{path}.searches[{index}]"), &plain.into()));
        }
    }
    for (index, option) in each(&config["options"]).enumerate() {
        let path = format!("{path}.options[{index}]");
        let name = option["name"].as_str().unwrap_or_default();
        if name.is_empty() {
            errors.push(FieldError::required(&path, "must not be empty"));
        }
        for (field, text) in
            [("name", name), ("value", option["value"].as_str().unwrap_or_default())]
        {
            if text.contains(|char: char| char.is_whitespace() || char.is_control()) {
                let detail = "must not have white space: it is a word of resolv.conf";
                errors.push(FieldError::invalid(format!("{path}.{field}"), text, detail));
            }
        }
    }
    errors
}

fn subdomain(path: &str, value: &Value) -> Vec<FieldError> {
    let text = value.as_str().unwrap_or_default();
    let faults = names::dns_subdomain(text).into_iter();
    faults.map(|fault| FieldError::invalid(path, text, fault)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nothing_that_is_no_address_or_name_gets_into_a_pods_files() {
        for good in [
            json!({}),
            json!({"hostAliases": [{"ip": "127.0.0.1", "hostnames": ["foo.local", "bar"]}]}),
            json!({"dnsPolicy": "None", "dnsConfig": {"nameservers": ["192.0.2.1"], "searches": ["a.b", "_x.c.", "."]}}),
            json!({"dnsConfig": {"options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}]}}),
        ] {
            assert_eq!(of_pod("spec", &good), [], "{good}");
        }
        for bad in [
            json!({"hostAliases": [{"ip": "x", "hostnames": ["foo"]}]}),
            json!({"hostAliases": [{"ip": "127.0.0.1", "hostnames": ["a\n127.0.0.1 b"]}]}),
            json!({"dnsPolicy": "None"}),
            json!({"dnsPolicy": "None", "dnsConfig": {}}),
            json!({"dnsConfig": {"nameservers": ["one.example"]}}),
            json!({"dnsConfig": {"nameservers": ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"]}}),
            json!({"dnsConfig": {"searches": ["a b"]}}),
            json!({"dnsConfig": {"options": [{"value": "2"}]}}),
            json!({"dnsConfig": {"options": [{"name": "ndots:1\nnameserver"}]}}),
        ] {
            assert_eq!(of_pod("spec", &bad).len(), 1, "{bad}");
        }
    }
}
