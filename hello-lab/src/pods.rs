//! Runs the pods of the store as processes: what a kubelet does.

pub(crate) mod container;
pub mod exec;
pub mod images;
pub mod logs;
mod probe;
pub mod sandbox;
pub mod spares;
mod status;
pub(crate) use self::status::condition;
mod terminal;
mod unsupported;
mod worker;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use self::exec::Containers;
use self::images::Images;
use self::logs::Logs;
use self::spares::Spares;
use crate::network::Network;
use crate::policy::Enforcer;
use crate::service_proxy::ServiceProxy;
use crate::store::{Kind, Object, Store};

/// The name of the lab's only node.
pub const NODE_NAME: &str = "hello-lab";

/// What pods need of the lab.
#[derive(Clone)]
pub struct Surroundings {
    /// Where pods are read from, and their status is written to.
    pub store: Store,
    /// The node's network, from which they are probed.
    pub network: Network,
    /// Where they get their sandboxes.
    pub spares: Spares,
    /// Who puts their policies in force.
    pub enforcer: Enforcer,
    /// Who has them find Services.
    pub proxy: ServiceProxy,
    /// Those of their containers that run.
    pub containers: Containers,
    /// What they can be made of.
    pub images: Arc<Images>,
    /// Where what they write is kept.
    pub logs: Logs,
    /// A folder for the files that they see in place of the machine's own.
    pub files: PathBuf,
    /// A folder for what they share in /dev/shm.
    pub shared_memory: PathBuf,
    /// Whether the lab is root's, and so can take other users' identities.
    pub privileged: bool,
}

/// What is wanted of a pod's worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    /// To run.
    Run,
    /// To stop within so many seconds.
    Stop(u64),
    /// To be gone: it is in the store no more.
    Gone,
}

struct Worker {
    wanted: watch::Sender<Wanted>,
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
            } else {
                let (sender, receiver) = watch::channel(wanted);
                let work = worker::run(surroundings.clone(), Arc::clone(pod), receiver);
                let worker = Worker { wanted: sender, task: tokio::spawn(work) };
                workers.insert(pod.uid().to_owned(), worker);
            }
        }
        for uid in gone {
            tell(&workers[&uid], Wanted::Gone);
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

/// Whether a pod is run by processes; the lab's own pods are not.
fn is_ours(pod: &Object) -> bool {
    pod.value()["metadata"]["annotations"][crate::system::OWN_POD_ANNOTATION].is_null()
}

fn wanted(pod: &Object) -> Wanted {
    if !pod.is_terminating() {
        return Wanted::Run;
    }
    Wanted::Stop(pod.value()["metadata"]["deletionGracePeriodSeconds"].as_u64().unwrap_or(30))
}
