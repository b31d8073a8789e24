//! `netpol enforce`.

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use futures_util::StreamExt;
use futures_util::future::join_all;
use hello_common::log::{Format, TextStyle};
use hello_common::seconds;
use netpol::compile::{Behaviour, Denied, Established};
use netpol::enforce::addresses::{Answer, lookup_name, system_resolver};
use netpol::enforce::denials::denials;
use netpol::enforce::{Enforcer, Plan, control};
use netpol::kernel::Firewall;
use netpol::names::NamespacedName;
use netpol::read::{Input, valid_manifests};
use tokio::signal::unix::{SignalKind, signal};

use super::Failure;
use super::enforcer::Socket;

/// The netfilter log group of denied packets.
const LOG_GROUP: u16 = 8472;

/// How long the first look-up may take: policies are in force without it, and names that are
/// not there yet can take a resolver long.
const FIRST_LOOK_UP: Duration = Duration::from_secs(2);

/// Keep the policies of one pod in force in this network namespace
///
/// Policies come from `netpol apply`. Pods, with their labels and named ports, come from
/// manifests; a pod's addresses are those of the name NAME.NAMESPACE, asked for again and
/// again. Connections that are denied are logged, each peer once a second at most. Needs
/// the capability `NET_ADMIN`. The policies stay in force when it ends.
///
/// Example: netpol enforce hello-server --workloads manifests/hello-app
#[derive(Debug, Args)]
pub(super) struct Enforce {
    /// The pod or workload whose network namespace this is
    #[arg(value_name = "[NAMESPACE/]NAME")]
    pod: NamespacedName,

    /// Manifests of every pod that a policy may name, and of the namespaces' labels
    #[arg(long, required = true, value_name = "[NAMESPACE=]PATH")]
    workloads: Vec<OsString>,

    /// Address of the pod's node, which no policy applies to
    #[arg(long, value_name = "ADDRESS")]
    node: Vec<IpAddr>,

    /// What becomes of open connections that a new policy does not allow
    #[arg(long, value_enum, default_value_t)]
    established: Established,

    /// What becomes of what no rule allows
    #[arg(long, value_enum, default_value_t)]
    denied: Denied,

    /// Keep the policies in this file over a restart
    #[arg(long, env = "NETPOL_STATE", value_name = "FILE")]
    state: Option<PathBuf>,

    /// Pause between two look-ups of the pods' addresses
    #[arg(long, value_name = "SECONDS", value_parser = seconds::parse_above_zero, default_value = "1")]
    look_up_every: Duration,

    #[command(flatten)]
    socket: Socket,

    /// How log lines look
    #[arg(long, env = "LOG_FORMAT", value_enum, default_value_t)]
    log_format: Format,
}

impl Enforce {
    pub(super) fn run(self) -> Result<(), Failure> {
        let inputs: Vec<_> = self.workloads.iter().cloned().map(Input::from).collect();
        let manifests =
            valid_manifests(&inputs, std::io::stdin().lock()).map_err(Failure::BadInput)?;
        let plan = Plan {
            cluster: manifests.cluster,
            pod: self.pod.clone(),
            nodes: self.node.clone(),
            behaviour: Behaviour {
                established: self.established,
                denied: self.denied,
                log_group: Some(LOG_GROUP),
            },
            file: self.state.clone(),
        };
        let _log = hello_common::log::init(self.log_format, TextStyle::Stamped)
            .context("cannot start the log")?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start the runtime")?;
        let result = runtime.block_on(self.enforce(plan));
        // A name that is being looked up must not hold up the exit.
        runtime.shutdown_background();
        Ok(result?)
    }

    /// Enforces until SIGTERM or SIGINT.
    async fn enforce(self, plan: Plan) -> anyhow::Result<()> {
        // The handlers come first: process 1 ignores a signal that has none.
        let mut terminate = signal(SignalKind::terminate()).context("cannot handle SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot handle SIGINT")?;
        let enforcer = Enforcer::start(plan, Firewall::here()?).await?;
        for policy in enforcer.policies().await {
            let name = |name: Option<String>| name.unwrap_or_default();
            let (namespace, name) = (name(policy.metadata.namespace), name(policy.metadata.name));
            tracing::info!("policy {namespace}/{name} is in force again");
        }
        let pods = 0..enforcer.pods().len();
        let first = join_all(pods.clone().map(|pod| look_up(&enforcer, pod)));
        if tokio::time::timeout(FIRST_LOOK_UP, first).await.is_err() {
            tracing::warn!("some names do not resolve yet; until they do, their pods are denied");
        }
        // Whoever can connect finds the policies in force.
        let listener = control::listen(&self.socket.path())?;
        tracing::info!("enforcing the policies of {}", self.pod);
        tokio::select! {
            ended = control::serve(listener, &enforcer) => ended.context("the control socket broke"),
            _ = join_all(pods.map(|pod| follow(&enforcer, pod, self.look_up_every))) => Ok(()),
            ended = log_denials(&enforcer) => ended,
            _ = terminate.recv() => Ok(()),
            _ = interrupt.recv() => Ok(()),
        }
    }
}

/// Follows the addresses of one pod; a name that takes long holds up no other.
async fn follow(enforcer: &Enforcer, pod: usize, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        look_up(enforcer, pod).await;
    }
}

async fn look_up(enforcer: &Enforcer, pod: usize) {
    let name = lookup_name(&enforcer.pods()[pod]);
    let answer = system_resolver(name.clone()).await;
    if let Answer::Unknown(reason) = &answer {
        tracing::debug!("cannot look up {name}: {reason}");
    }
    if let Err(error) = enforcer.learn(pod, answer).await {
        tracing::error!("the new addresses of {name} are not in force: {error}");
    }
}

async fn log_denials(enforcer: &Enforcer) -> anyhow::Result<()> {
    let mut denials = denials(LOG_GROUP).await?;
    while let Some(denial) = denials.next().await {
        tracing::info!("{}", enforcer.explain(&denial).await);
    }
    anyhow::bail!("the kernel's log of denied packets ended")
}
