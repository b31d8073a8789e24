//! Runs the pods of the store as processes: what a kubelet does.

pub mod images;

pub mod logs;

pub mod sandbox;

pub mod sandbox_pool;

pub mod terminal;

pub mod attach;

pub mod exec;

mod status;

mod environment;

pub mod program;

mod unsupported;

pub mod pod;

mod handler;

mod probe;

mod identity;

mod messages;

mod references;

mod resources;

mod resolution;

mod deadline;

mod volumes;

mod image_roots;

pub(crate) mod container;

mod companions;

mod ephemeral;

mod init;

mod worker;

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::Instrument;

use self::pod::{Surroundings, Wanted};
use crate::objects::names::NODE_NAME;
use crate::objects::{Kind, Object};

struct Worker {
    wanted: watch::Sender<Wanted>,
    /// The pod with all its ephemeral containers, and what else of its spec may change.
    latest: watch::Sender<Arc<Object>>,
    task: JoinHandle<()>,
}

/// Runs every pod of the store, for ever.
pub async fn run(surroundings: Surroundings) {
    let mut workers: HashMap<String, Worker> = HashMap::new();
    let mut version = 0;
    loop {
        version = surroundings.store.changed(version, &[Kind::Pod]).await;
        let (pods, _) = surroundings.store.list(Kind::Pod, None);
        let mut gone: Vec<String> = workers.keys().cloned().collect();
        for pod in pods.iter().filter(|pod| is_ours(pod)) {
            gone.retain(|uid| uid != pod.uid());
            let wanted = wanted(pod);
            if let Some(worker) = workers.get(pod.uid()) {
                tell(worker, wanted);
                worker.latest.send_if_modified(|before| {
                    let differs = before.value()["spec"] != pod.value()["spec"];
                    if differs {
                        *before = Arc::clone(pod);
                    }
                    differs
                });
            } else {
                let (sender, receiver) = watch::channel(wanted);
                let (latest, follower) = watch::channel(Arc::clone(pod));
                let span =
                    tracing::info_span!("pod", namespace = pod.namespace(), name = pod.name());
                let work = worker::run(surroundings.clone(), follower, receiver);
                let task = tokio::spawn(work.instrument(span));
                let worker = Worker { wanted: sender, latest, task };
                workers.insert(pod.uid().to_owned(), worker);
            }
        }
        for uid in gone {
            if let Some(worker) = workers.get(&uid) {
                tell(worker, Wanted::Gone);
            }
        }
        workers.retain(|_, worker| {
            !worker.task.is_finished() || *worker.wanted.borrow() != Wanted::Gone
        });
    }
}

fn tell(worker: &Worker, wanted: Wanted) {
    worker.wanted.send_if_modified(|before| {
        let differs = *before != wanted;
        *before = wanted;
        differs
    });
}

/// Whether a pod is on this node.
fn is_ours(pod: &Object) -> bool {
    pod.value()["spec"]["nodeName"] == NODE_NAME
}

fn wanted(pod: &Object) -> Wanted {
    if !pod.is_terminating() {
        return Wanted::Run;
    }
    Wanted::Stop(pod.value()["metadata"]["deletionGracePeriodSeconds"].as_u64().unwrap_or(30))
}
