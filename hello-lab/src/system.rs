//! The objects that every cluster has from its start.

use serde_json::{Value, json};

use crate::network::{NODE, POD_NETWORK, POD_PREFIX, PodNetwork, SERVICE_NETWORK};
use crate::pods::{NODE_NAME, condition};
use crate::store::{Kind, Object, Store, StoreError, now};
use crate::{defaults, dns};

/// Marks pods that are parts of the lab itself, not processes that it starts.
pub const OWN_POD_ANNOTATION: &str = "hello-lab/part-of-the-lab";

/// The address of the Service `kubernetes`, the first of the Services' network.
pub const API_SERVICE_ADDRESS: &str = "10.96.0.1";

/// The ConfigMap of every namespace by which clients in pods can trust the API.
pub const ROOT_CA: &str = "kube-root-ca.crt";

/// Adds the namespaces, the node, and the API's certificate and Service.
pub fn create(store: &Store, version: &str, certificate_pem: &str) -> Result<(), StoreError> {
    for name in ["default", "kube-node-lease", "kube-public", "kube-system"] {
        let mut namespace = json!({"metadata": {"name": name}});
        defaults::apply(Kind::Namespace, &mut namespace);
        store.create(Kind::Namespace, namespace)?;
    }
    store.create(Kind::Node, node(version))?;
    // The other namespaces get theirs from this one.
    let root = json!({
        "metadata": {"name": ROOT_CA, "namespace": "kube-system"},
        "data": {"ca.crt": certificate_pem},
    });
    store.create(Kind::ConfigMap, root)?;
    let api = json!({
        "metadata": {
            "name": "kubernetes",
            "namespace": "default",
            "labels": {"component": "apiserver", "provider": "kubernetes"},
        },
        "spec": {
            "type": "ClusterIP",
            "clusterIP": API_SERVICE_ADDRESS,
            "clusterIPs": [API_SERVICE_ADDRESS],
            "ports": [{"name": "https", "port": 443, "targetPort": 6443, "protocol": "TCP"}],
        },
    });
    store.create(Kind::Service, api)?;
    Ok(())
}

/// Adds the pod and the Service of the cluster's DNS, which answers in `network`.
pub fn create_dns(
    store: &Store,
    network: &PodNetwork,
) -> Result<std::sync::Arc<Object>, StoreError> {
    let labels = json!({"k8s-app": "kube-dns"});
    let ports = |target: bool| -> Vec<Value> {
        let port = |name: &str, protocol: &str| {
            let mut port = json!({"name": name, "protocol": protocol});
            if target {
                port["port"] = 53.into();
                port["targetPort"] = name.into();
            } else {
                port["containerPort"] = 53.into();
            }
            port
        };
        vec![port("dns", "UDP"), port("dns-tcp", "TCP")]
    };
    let address = dns::SERVICE_ADDRESS.to_string();
    store.create(
        Kind::Service,
        json!({
            "metadata": {"name": "kube-dns", "namespace": "kube-system", "labels": labels},
            "spec": {
                "type": "ClusterIP",
                "clusterIP": address,
                "clusterIPs": [address],
                "selector": labels,
                "ports": ports(true),
            },
        }),
    )?;
    let spec = json!({"containers": [{
        "name": "dns",
        "image": "hello-lab",
        "ports": ports(false),
    }]});
    let ip = network.address().to_string();
    let ips = network.addresses().into_iter().map(|address| json!({"ip": address.to_string()}));
    let ips: Vec<Value> = ips.collect();
    let conditions = ["Initialized", "Ready", "ContainersReady", "PodScheduled"]
        .map(|name| condition(&Value::Null, name, true, None));
    store.create(
        Kind::Pod,
        json!({
            "metadata": {
                "name": format!("dns-{NODE_NAME}"),
                "namespace": "kube-system",
                "labels": labels,
                "annotations": {OWN_POD_ANNOTATION: "true"},
            },
            "spec": defaults::scheduled(spec),
            "status": {
                "phase": "Running",
                "podIP": ip,
                "podIPs": ips,
                "hostIP": NODE.to_string(),
                "startTime": now(),
                "conditions": conditions,
                "containerStatuses": [{
                    "name": "dns",
                    "image": "hello-lab",
                    "imageID": "",
                    "ready": true,
                    "started": true,
                    "restartCount": 0,
                    "state": {"running": {"startedAt": now()}},
                }],
            },
        }),
    )
}

/// An address of the Services' network that no Service has.
#[must_use]
pub fn free_service_address(store: &Store) -> Option<String> {
    let (services, _) = store.list(Kind::Service, None);
    let taken = |address: &str| {
        services.iter().any(|service| service.value()["spec"]["clusterIP"] == address)
    };
    // Random, so that the address of a deleted Service is not at once that of another.
    let first = u32::from(SERVICE_NETWORK);
    (0..1000)
        .map(|_| std::net::Ipv4Addr::from(first + rand::random_range(0x100..0xffff)).to_string())
        .find(|address| !taken(address))
}

fn node(version: &str) -> Value {
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
