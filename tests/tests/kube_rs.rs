//! The lab's API judged by another client than kubectl: kube-rs, which reads and watches as
//! controllers do.

use std::error::Error;

use end_to_end::{As, Lab};
use futures_util::{AsyncBufReadExt, StreamExt, TryStreamExt};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::serde::de::DeserializeOwned;
use kube::api::{
    AttachParams, DeleteParams, ListParams, LogParams, Patch, PatchParams, PostParams, WatchEvent,
    WatchParams,
};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, ResourceExt};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

type Outcome = Result<(), Box<dyn Error>>;

/// Runs `test` with a client of a lab of its own.
fn with_a_client(test: impl AsyncFnOnce(Client) -> Outcome) {
    let lab = Lab::start(As::Myself);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let outcome = runtime.block_on(async {
        let file = Kubeconfig::read_from(lab.folder().join("kubeconfig"))?;
        let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
        tokio::time::timeout(end_to_end::PATIENCE, test(Client::try_from(config)?)).await?
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    lab.end();
}

fn object<T: DeserializeOwned>(json: Value) -> T {
    serde_json::from_value(json).expect("an object of its kind")
}

fn pod(name: &str) -> Pod {
    object(json!({
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"containers": [{"name": "server", "image": "hello-server:1.0.0"}]},
    }))
}

fn policy(name: &str) -> NetworkPolicy {
    object(json!({
        "metadata": {"name": name, "labels": {"test": "kube-rs"}},
        "spec": {"podSelector": {}},
    }))
}

/// Watches from what is there on until an event is as `wanted`.
async fn until<T>(
    api: &Api<T>,
    watch: &WatchParams,
    wanted: impl Fn(&WatchEvent<T>) -> bool,
) -> Result<(), Box<dyn Error>>
where
    T: Clone + std::fmt::Debug + DeserializeOwned,
{
    let mut events = api.watch(watch, "0").await?.boxed();
    while let Some(event) = events.try_next().await? {
        if wanted(&event) {
            return Ok(());
        }
    }
    Err("the watch ended".into())
}

#[test]
fn a_namespace_is_furnished_and_goes_with_all_that_is_in_it() {
    with_a_client(async |client| {
        let namespaces: Api<Namespace> = Api::all(client.clone());
        let post = PostParams::default();
        namespaces.create(&post, &object(json!({"metadata": {"name": "team"}}))).await?;
        let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), "team");
        let default = WatchParams::default().fields("metadata.name=default");
        until(&accounts, &default, |event| matches!(event, WatchEvent::Added(_))).await?;
        let root: Api<ConfigMap> = Api::namespaced(client.clone(), "team");
        let root = root.get("kube-root-ca.crt").await?;
        let certificate = root.data.and_then(|data| data.get("ca.crt").cloned());
        assert!(certificate.is_some_and(|pem| pem.starts_with("-----BEGIN CERTIFICATE-----")));

        let pods: Api<Pod> = Api::namespaced(client.clone(), "team");
        pods.create(&post, &pod("p")).await?;
        let start = namespaces.get("team").await?.resource_version().unwrap_or_default();
        let only = WatchParams::default().fields("metadata.name=team");
        namespaces.delete("team", &DeleteParams::default()).await?;
        let mut events = namespaces.watch(&only, &start).await?.boxed();
        while let Some(event) = events.try_next().await? {
            if let WatchEvent::Deleted(namespace) = event {
                assert_eq!(namespace.name_any(), "team");
                break;
            }
        }
        assert!(pods.list(&ListParams::default()).await?.items.is_empty());
        Ok(())
    });
}

#[test]
fn a_pod_is_watched_logged_and_entered() {
    with_a_client(async |client| {
        let pods: Api<Pod> = Api::default_namespaced(client);
        pods.create(&PostParams::default(), &pod("p")).await?;
        let is_ready = |event: &WatchEvent<Pod>| {
            let (WatchEvent::Added(pod) | WatchEvent::Modified(pod)) = event else { return false };
            let status = pod.status.iter();
            let mut conditions = status.flat_map(|status| status.conditions.iter().flatten());
            conditions.any(|one| one.type_ == "Ready" && one.status == "True")
        };
        until(&pods, &WatchParams::default().labels("app=p"), is_ready).await?;
        let follow = LogParams { follow: true, ..LogParams::default() };
        let mut lines = pods.log_stream("p", &follow).await?.lines();
        let first = lines.try_next().await?.ok_or("no line")?;
        assert!(first.contains("8080"), "{first}");

        let ask = AttachParams::default().stdin(true).stderr(false);
        let mut process = pods.exec("p", ["cat"], &ask).await?;
        let mut stdin = process.stdin().ok_or("no stdin")?;
        let mut stdout = process.stdout().ok_or("no stdout")?;
        let status = process.take_status().ok_or("no status")?;
        stdin.write_all(b"hello\n").await?;
        stdin.shutdown().await?;
        drop(stdin);
        let mut text = String::new();
        stdout.read_to_string(&mut text).await?;
        assert_eq!(text, "hello\n");
        assert_eq!(status.await.and_then(|status| status.status).as_deref(), Some("Success"));
        process.join().await?;

        let process = pods.exec("p", ["sh", "-c", "exit 3"], &AttachParams::default()).await;
        let status = process?.take_status().ok_or("no status")?.await.unwrap_or_default();
        assert_eq!(status.reason.as_deref(), Some("NonZeroExitCode"));
        Ok(())
    });
}

#[test]
fn policies_are_patched_replaced_and_deleted_together() {
    with_a_client(async |client| {
        let policies: Api<NetworkPolicy> = Api::default_namespaced(client);
        for name in ["a", "b"] {
            policies.create(&PostParams::default(), &policy(name)).await?;
        }
        let patch = json!({"metadata": {"annotations": {"patched": "true"}}});
        let old = policies.get("a").await?;
        policies.patch("a", &PatchParams::default(), &Patch::Merge(&patch)).await?;
        // What has been changed since it was read is not overwritten.
        let refused = policies.replace("a", &PostParams::default(), &old).await;
        assert!(matches!(refused, Err(kube::Error::Api(status)) if status.code == 409));
        let mut new = policies.get("a").await?;
        new.labels_mut().insert("more".to_owned(), "yes".to_owned());
        let new = policies.replace("a", &PostParams::default(), &new).await?;
        assert!(new.annotations().contains_key("patched") && new.labels().contains_key("more"));

        let ours = ListParams::default().labels("test=kube-rs");
        assert_eq!(policies.list(&ours).await?.items.len(), 2);
        policies.delete_collection(&DeleteParams::default(), &ours).await?;
        assert!(policies.list(&ours).await?.items.is_empty());

        let broken = object(json!({"metadata": {"name": "c"}, "spec": {
            "podSelector": {}, "ingress": [{"ports": [{"port": 9, "endPort": 8}]}],
        }}));
        let refused = policies.create(&PostParams::default(), &broken).await;
        assert!(matches!(refused, Err(kube::Error::Api(status)) if status.code == 422));
        Ok(())
    });
}

#[test]
fn a_deployment_is_scaled_by_its_scale() {
    with_a_client(async |client| {
        let deployments: Api<Deployment> = Api::default_namespaced(client.clone());
        let deployment = object(json!({"metadata": {"name": "d"}, "spec": {
            "selector": {"matchLabels": {"app": "d"}},
            "template": {
                "metadata": {"labels": {"app": "d"}},
                "spec": {"containers": [{"name": "server", "image": "hello-server:1.0.0"}]},
            },
        }}));
        deployments.create(&PostParams::default(), &deployment).await?;
        let two = json!({"spec": {"replicas": 2}});
        deployments.patch_scale("d", &PatchParams::default(), &Patch::Merge(&two)).await?;
        let has_two = |event: &WatchEvent<Deployment>| {
            let (WatchEvent::Added(one) | WatchEvent::Modified(one)) = event else { return false };
            one.status.as_ref().and_then(|status| status.available_replicas) == Some(2)
        };
        until(&deployments, &WatchParams::default(), has_two).await?;

        let services: Api<Service> = Api::default_namespaced(client);
        let service = object(json!({"metadata": {"name": "s"}, "spec": {
            "selector": {"app": "d"}, "ports": [{"port": 8080}],
        }}));
        let made = services.create(&PostParams::default(), &service).await?;
        let address = made.spec.and_then(|spec| spec.cluster_ip).unwrap_or_default();
        assert!(address.parse::<std::net::Ipv4Addr>().is_ok(), "{address}");
        Ok(())
    });
}
