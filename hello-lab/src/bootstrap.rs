//! The objects that every cluster has from its start, and keeps: what is deleted of them comes back, and
//! what makes them what they are is put right when somebody changes it.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::node::network::{NODE, POD_NETWORK, POD_PREFIX};
use crate::objects::defaults;
use crate::objects::meta::condition;
use crate::objects::names::{
    API_SERVICE, API_SERVICE_ADDRESS, DNS_DEPLOYMENT, DNS_SERVICE, DNS_SERVICE_ADDRESS, LOOKED_FOR,
    NODE_NAME, ROOT_CA,
};
use crate::objects::{Key, Kind, Object, Store};

/// Kinds of which a cluster has objects of its own. Those of each namespace, and EndpointSlices, are the
/// controllers'.
const KINDS: [Kind; 6] =
    [Kind::Namespace, Kind::Node, Kind::ConfigMap, Kind::Service, Kind::Deployment, Kind::Lease];

/// How many pods the node says that it takes: a network of so many addresses has room for them.
const MOST_PODS: u32 = 1 << (32 - POD_PREFIX) >> 1;

/// How often the node's lease is renewed (`nodeLeaseDurationSeconds` of a kubelet, a quarter of it).
const RENEWAL: Duration = Duration::from_secs(10);

/// Keeps the cluster's own objects.
pub struct Bootstrap {
    store: Store,
    objects: Vec<Own>,
    /// Those that have been seen on their way out, and since when they are gone.
    leaving: BTreeMap<Key, Option<Instant>>,
}

/// An object as it is to be.
struct Own {
    key: Key,
    value: Value,
    /// Pointers to the parts that are exactly so; what else is there may be added to.
    fixed: &'static [&'static str],
}

impl Own {
    fn new(kind: Kind, mut value: Value, fixed: &'static [&'static str]) -> Self {
        defaults::apply(kind, &mut value);
        let metadata = &value["metadata"];
        let field = |name: &str| metadata[name].as_str().unwrap_or_default();
        let key = Key::new(kind, field("namespace"), field("name"));
        Self { key, value, fixed }
    }
}

impl Bootstrap {
    /// Of a cluster with this certificate of its API.
    #[must_use]
    pub fn new(store: Store, version: &str, certificate_pem: &str) -> Self {
        let namespaces = ["default", "kube-node-lease", "kube-public", "kube-system"]
            .map(|name| Own::new(Kind::Namespace, json!({"metadata": {"name": name}}), &[]));
        // The other namespaces get theirs from this one.
        let root_ca = json!({
            "metadata": {"name": ROOT_CA, "namespace": "kube-system"},
            "data": {"ca.crt": certificate_pem},
        });
        let objects = namespaces.into_iter().chain([
            Own::new(Kind::Node, node(version), &[]),
            Own::new(Kind::ConfigMap, root_ca, &["/data"]),
            Own::new(Kind::Service, api_service(), &["/spec"]),
            Own::new(Kind::Service, dns_service(), &["/spec"]),
            Own::new(Kind::Deployment, dns_deployment(), &["/spec/template/spec"]),
        ]);
        let objects = objects.collect();
        Self { store, objects, leaving: BTreeMap::new() }
    }

    /// Keeps them for ever.
    pub async fn run(mut self) {
        let mut version = 0;
        let mut renewal = tokio::time::interval(RENEWAL);
        loop {
            tokio::select! {
                changed = self.store.changed(version, &KINDS) => {
                    version = changed;
                    self.step();
                }
                _ = renewal.tick() => self.renew_lease(),
                () = until_return(self.leaving.values().flatten().min().copied()) => self.step(),
            }
        }
    }

    /// Adds what is missing, and puts right what was changed.
    pub fn step(&mut self) {
        for own in &self.objects {
            if let Ok(object) = self.store.get(&own.key) {
                if object.is_terminating() {
                    self.leaving.insert(own.key.clone(), None);
                } else {
                    self.leaving.remove(&own.key);
                }
                self.repair(own);
                continue;
            }
            let gone = self.leaving.get(&own.key).copied();
            let is_made = gone.is_none_or(|gone| gone.is_some_and(may_return))
                && self.create(own.key.kind, own.value.clone());
            if is_made {
                self.leaving.remove(&own.key);
            } else if gone.is_some_and(|gone| gone.is_none_or(may_return)) {
                // One that could not be made is tried again when that time is over once more.
                self.leaving.insert(own.key.clone(), Some(Instant::now()));
            }
        }
        if self.store.get(&lease_key()).is_err() {
            self.renew_lease();
        }
    }

    /// Says that the node is there still, by which others know.
    fn renew_lease(&self) {
        // In microseconds, as the API writes them here (`MicroTime`).
        let time = format!("{:.6}", Timestamp::now());
        let renewed = self
            .store
            .change(&lease_key(), |lease| lease["spec"]["renewTime"] = time.as_str().into());
        if renewed.is_err() {
            let key = lease_key();
            self.create(
                Kind::Lease,
                json!({
                    "metadata": {"name": key.name, "namespace": key.namespace},
                    "spec": {
                        "holderIdentity": NODE_NAME, "leaseDurationSeconds": 40, "renewTime": time,
                    },
                }),
            );
        }
    }

    fn repair(&self, own: &Own) {
        let repaired = self.store.change(&own.key, |object| {
            let replicas = object["spec"]["replicas"].clone();
            json_patch::merge(object, &own.value);
            if !replicas.is_null() {
                // How many there are is for people to say, none among them.
                object["spec"]["replicas"] = replicas;
            }
            for part in own.fixed {
                if let (Some(part), Some(wanted)) =
                    (object.pointer_mut(part), own.value.pointer(part))
                {
                    *part = wanted.clone();
                }
            }
        });
        if let Err(error) = repaired {
            // One that is deleted meanwhile is a change, after which this is done again.
            tracing::debug!("{error}");
        }
    }

    /// Whether it has been made.
    fn create(&self, kind: Kind, value: Value) -> bool {
        match self.store.create(kind, value) {
            Ok(object) => {
                tracing::debug!("made {} {}", kind.resource().kind, name(&object));
                true
            }
            // Somebody else was faster: that is a change, after which this is done again.
            Err(error) => {
                tracing::debug!("{error}");
                false
            }
        }
    }
}

/// Whether the name of what has been gone since then has been free for long enough.
fn may_return(gone: Instant) -> bool {
    gone.elapsed() >= LOOKED_FOR
}

/// Resolves when that is so.
async fn until_return(gone: Option<Instant>) {
    match gone {
        Some(gone) => tokio::time::sleep(LOOKED_FOR.saturating_sub(gone.elapsed())).await,
        None => std::future::pending().await,
    }
}

/// The lease of the node (`NamespaceNodeLease` of k8s.io/api/core/v1).
fn lease_key() -> Key {
    Key::new(Kind::Lease, "kube-node-lease", NODE_NAME)
}

fn name(object: &Object) -> String {
    format!("{}/{}", object.namespace(), object.name())
}

fn api_service() -> Value {
    let (namespace, name) = API_SERVICE;
    json!({
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {"component": "apiserver", "provider": "kubernetes"},
        },
        "spec": {
            "type": "ClusterIP",
            "clusterIP": API_SERVICE_ADDRESS,
            "clusterIPs": [API_SERVICE_ADDRESS],
            "ports": [{"name": "https", "port": 443, "targetPort": 6443, "protocol": "TCP"}],
        },
    })
}

/// The label of the DNS's pod, as policies everywhere expect it.
fn dns_labels() -> Value {
    json!({"k8s-app": "kube-dns"})
}

const DNS_PORTS: [(&str, &str); 2] = [("dns", "UDP"), ("dns-tcp", "TCP")];

fn dns_service() -> Value {
    let (namespace, name) = DNS_SERVICE;
    let ports = DNS_PORTS.map(|(name, protocol)| {
        json!({"name": name, "protocol": protocol, "port": 53, "targetPort": name})
    });
    json!({
        "metadata": {"name": name, "namespace": namespace, "labels": dns_labels()},
        "spec": {
            "type": "ClusterIP",
            "clusterIP": DNS_SERVICE_ADDRESS,
            "clusterIPs": [DNS_SERVICE_ADDRESS],
            "selector": dns_labels(),
            "ports": ports,
        },
    })
}

/// The version of CoreDNS that a cluster of this version has (`CoreDNSVersion` of
/// cmd/kubeadm/app/constants), in whose place the lab's own DNS stands.
const DNS_IMAGE: &str = "registry.k8s.io/coredns/coredns:v1.12.1";

/// As kubeadm makes it, but for what is CoreDNS's own: its Corefile, metrics and probes.
fn dns_deployment() -> Value {
    let (namespace, name) = DNS_DEPLOYMENT;
    let ports = DNS_PORTS
        .map(|(name, protocol)| json!({"name": name, "protocol": protocol, "containerPort": 53}));
    json!({
        "metadata": {"name": name, "namespace": namespace, "labels": dns_labels()},
        "spec": {
            "selector": {"matchLabels": dns_labels()},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}},
            "template": {
                "metadata": {"labels": dns_labels()},
                "spec": {
                    "containers": [{"name": name, "image": DNS_IMAGE, "ports": ports}],
                    "nodeSelector": {"kubernetes.io/os": "linux"},
                    "tolerations": [
                        {"key": "CriticalAddonsOnly", "operator": "Exists"},
                        {"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"},
                    ],
                },
            },
        },
    })
}

/// What the machine has: all of it is the pods'.
fn machine() -> Value {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let info = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory = info.lines().find_map(|line| {
        line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()
    });
    let mut resources = json!({"cpu": processors.to_string(), "pods": MOST_PODS.to_string()});
    if let Some(memory) = memory {
        resources["memory"] = format!("{memory}Ki").into();
    }
    resources
}

fn node(version: &str) -> Value {
    let resources = machine();
    json!({
        "metadata": {
            "name": NODE_NAME,
            "labels": {
                "kubernetes.io/hostname": NODE_NAME,
                "kubernetes.io/os": "linux",
                "node-role.kubernetes.io/control-plane": "",
            },
        },
        "spec": {"podCIDR": format!("{POD_NETWORK}/{POD_PREFIX}")},
        "status": {
            "addresses": [
                {"type": "InternalIP", "address": NODE.to_string()},
                {"type": "Hostname", "address": NODE_NAME},
            ],
            "capacity": resources,
            "allocatable": resources,
            "conditions": [condition(
                &Value::Null,
                "Ready",
                true,
                Some(("KubeletReady", "hello-lab runs pods as processes".to_owned())),
            )],
            "nodeInfo": {
                "architecture": std::env::consts::ARCH,
                "bootID": "",
                "containerRuntimeVersion": format!("hello-lab://{}", env!("CARGO_PKG_VERSION")),
                "kernelVersion": kernel_version(),
                "kubeProxyVersion": "",
                "kubeletVersion": version,
                "machineID": "",
                "operatingSystem": "linux",
                "osImage": "this machine",
                "systemUUID": "",
            },
        },
    })
}

fn kernel_version() -> String {
    let version = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    version.trim().to_owned()
}
