//! How a pod's processes find names: its /etc/hosts and /etc/resolv.conf
//! (`hostsFileContent` of `pkg/kubelet/kubelet_pods.go`, pkg/kubelet/network/dns).

use std::fmt::Write;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{PodDNSConfigOption, PodSpec};

use crate::objects::names::{
    CLUSTER_DOMAIN, DNS_SERVICE_ADDRESS, MOST_NAME_SERVERS, MOST_SEARCHES,
};

/// The content of a pod's /etc/hosts.
pub(super) fn hosts(spec: &PodSpec, namespace: &str, hostname: &str, own: &[IpAddr]) -> String {
    let mut text = "# Kubernetes-managed hosts file.\n\
                    127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
        .to_owned();
    let subdomain = spec.subdomain.as_deref().filter(|subdomain| !subdomain.is_empty());
    let full = subdomain
        .map(|subdomain| format!("{hostname}.{subdomain}.{namespace}.svc.{CLUSTER_DOMAIN}\t"))
        .unwrap_or_default();
    for address in own {
        let _ = writeln!(text, "{address}\t{full}{hostname}");
    }
    let aliases = spec.host_aliases.as_deref().unwrap_or_default();
    if !aliases.is_empty() {
        text += "\n# Entries added by HostAliases.\n";
    }
    for alias in aliases {
        let names = alias.hostnames.as_deref().unwrap_or_default();
        let _ = writeln!(text, "{}\t{}", alias.ip, names.join("\t"));
    }
    text
}

/// What a resolver is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Resolution {
    servers: Vec<String>,
    searches: Vec<String>,
    options: Vec<String>,
}

impl Resolution {
    /// That of a pod, on a node whose own /etc/resolv.conf says `node`.
    pub(super) fn of_pod(spec: &PodSpec, namespace: &str, node: &str) -> Self {
        let mut own = match spec.dns_policy.as_deref() {
            Some("None") => Self::default(),
            Some("Default") => Self::read(node),
            _ => Self {
                servers: vec![DNS_SERVICE_ADDRESS.to_string()],
                searches: vec![
                    format!("{namespace}.svc.{CLUSTER_DOMAIN}"),
                    format!("svc.{CLUSTER_DOMAIN}"),
                    CLUSTER_DOMAIN.to_owned(),
                ],
                options: vec!["ndots:5".to_owned()],
            },
        };
        if let Some(config) = &spec.dns_config {
            add(&mut own.servers, config.nameservers.iter().flatten());
            add(&mut own.searches, config.searches.iter().flatten());
            config.options.iter().flatten().for_each(|option| own.set(option));
        }
        own.servers.truncate(MOST_NAME_SERVERS);
        own.searches.truncate(MOST_SEARCHES);
        own
    }

    /// What resolv.conf(5) understands of a text.
    fn read(text: &str) -> Self {
        let mut read = Self::default();
        for line in text.lines() {
            let mut words = line.split_whitespace().map(str::to_owned);
            match words.next().as_deref() {
                Some("nameserver") => read.servers.extend(words.next()),
                // The last of these counts.
                Some("search" | "domain") => read.searches = words.collect(),
                Some("options") => read.options = words.collect(),
                _ => {}
            }
        }
        read
    }

    /// Adds an option, in the place of one of the same name.
    fn set(&mut self, option: &PodDNSConfigOption) {
        let Some(name) = &option.name else { return };
        let value = option.value.as_ref().filter(|value| !value.is_empty());
        let text = value.map_or_else(|| name.clone(), |value| format!("{name}:{value}"));
        let is_the_same = |known: &&mut String| known.split(':').next() == Some(name);
        match self.options.iter_mut().find(is_the_same) {
            Some(known) => *known = text,
            None => self.options.push(text),
        }
    }

    /// As a resolv.conf.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        if !self.searches.is_empty() {
            let _ = writeln!(text, "search {}", self.searches.join(" "));
        }
        for server in &self.servers {
            let _ = writeln!(text, "nameserver {server}");
        }
        if !self.options.is_empty() {
            let _ = writeln!(text, "options {}", self.options.join(" "));
        }
        text
    }
}

/// Adds what is not there.
fn add<'a>(list: &mut Vec<String>, further: impl Iterator<Item = &'a String>) {
    for one in further {
        if !list.contains(one) {
            list.push(one.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn spec(extra: Value) -> PodSpec {
        let mut spec = json!({"containers": []});
        json_patch::merge(&mut spec, &extra);
        serde_json::from_value(spec).unwrap()
    }

    fn resolv(extra: Value) -> String {
        let node = "domain old\nsearch corp.example\n# no\nnameserver 192.0.2.1\noptions edns0\n";
        Resolution::of_pod(&spec(extra), "n", node).text()
    }

    #[test]
    fn the_policy_says_who_is_asked() {
        let cluster = "search n.svc.cluster.local svc.cluster.local cluster.local\n\
                       nameserver 10.96.0.10\noptions ndots:5\n";
        for policy in [json!(null), json!("ClusterFirst"), json!("ClusterFirstWithHostNet")] {
            assert_eq!(resolv(json!({ "dnsPolicy": policy })), cluster);
        }
        let node = "search corp.example\nnameserver 192.0.2.1\noptions edns0\n";
        assert_eq!(resolv(json!({"dnsPolicy": "Default"})), node);
        let own = json!({"nameservers": ["192.0.2.9"]});
        assert_eq!(
            resolv(json!({"dnsPolicy": "None", "dnsConfig": own})),
            "nameserver 192.0.2.9\n"
        );
    }

    #[test]
    fn what_the_pod_adds_comes_after_and_an_option_of_the_same_name_instead() {
        let own = json!({
            "nameservers": ["10.96.0.10", "192.0.2.1", "192.0.2.2", "192.0.2.3"],
            "searches": ["cluster.local", "my.dns.search.suffix"],
            "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}],
        });
        assert_eq!(
            resolv(json!({ "dnsConfig": own })),
            "search n.svc.cluster.local svc.cluster.local cluster.local my.dns.search.suffix\n\
             nameserver 10.96.0.10\nnameserver 192.0.2.1\nnameserver 192.0.2.2\n\
             options ndots:2 edns0\n"
        );
    }

    #[test]
    fn aliases_are_lines_of_the_hosts_file() {
        let own = ["10.244.0.5".parse().unwrap(), "fd00::5".parse().unwrap()];
        let aliases = json!([
            {"ip": "127.0.0.1", "hostnames": ["foo.local", "bar.local"]},
            {"ip": "10.1.2.3", "hostnames": ["foo.remote"]},
        ]);
        let plain = hosts(&spec(json!({})), "n", "web", &own);
        assert!(plain.ends_with("\n10.244.0.5\tweb\nfd00::5\tweb\n"), "{plain}");
        let text =
            hosts(&spec(json!({"hostAliases": aliases, "subdomain": "s"})), "n", "web", &own);
        let end = "10.244.0.5\tweb.s.n.svc.cluster.local\tweb\n\
                   fd00::5\tweb.s.n.svc.cluster.local\tweb\n\n\
                   # Entries added by HostAliases.\n\
                   127.0.0.1\tfoo.local\tbar.local\n10.1.2.3\tfoo.remote\n";
        assert!(text.ends_with(end), "{text}");
    }
}
