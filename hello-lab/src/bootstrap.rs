//! The objects that every cluster has from its start.

use std::net::IpAddr;

use serde_json::{Value, json};

use crate::node::network::{NODE, POD_NETWORK, POD_PREFIX};
use crate::objects::defaults;
use crate::objects::meta::{condition, now};
use crate::objects::names::{
    API_SERVICE_ADDRESS, DNS_SERVICE_ADDRESS, NODE_NAME, OWN_POD_ANNOTATION, ROOT_CA,
};
use crate::objects::{Kind, Object, Store, StoreError};

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
            "clusterIP": API_SERVICE_ADDRESS.to_string(),
            "clusterIPs": [API_SERVICE_ADDRESS.to_string()],
            "ports": [{"name": "https", "port": 443, "targetPort": 6443, "protocol": "TCP"}],
        },
    });
    store.create(Kind::Service, api)?;
    Ok(())
}

/// Adds the pod and the Service of the cluster's DNS, which answers at `addresses`.
pub fn create_dns(
    store: &Store,
    addresses: &[IpAddr],
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
    let address = DNS_SERVICE_ADDRESS.to_string();
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
    let ips = addresses.iter().map(|address| json!({"ip": address.to_string()}));
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
                "podIP": ips.first().map(|first| first["ip"].clone()),
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
