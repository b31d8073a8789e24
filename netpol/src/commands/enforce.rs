//! `netpol enforce`.

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::Args;
use futures_util::StreamExt;
use futures_util::future::join_all;
use hello_common::error::Chain;
use hello_common::log::{Format, TextStyle};
use hello_common::signals::Signals;
use hello_common::{runtime, seconds};
use netpol::compile::{Behaviour, Denied, Established};
use netpol::enforce::addresses::{Answer, lookup_name, system_resolver};
use netpol::enforce::denials::denials;
use netpol::enforce::{Enforcer, Found, Plan, control};
use netpol::names::NamespacedName;
use netpol::nftables::Firewall;
use netpol::nftables::claim::{Claim, is_machines_own};
use netpol::read::{Finding, Input, Place, valid_manifests};

use super::enforcer::Socket;
use super::{Failure, say};

/// The netfilter log group of denied packets.
const LOG_GROUP: u16 = 8472;

/// How often to look whether the kernel's filter is still the one that was written.
const CHECK_EVERY: Duration = Duration::from_secs(1);

/// How long the first look-up may take: policies are in force without it, and names that are
/// not there yet can take a resolver long.
const FIRST_LOOK_UP: Duration = Duration::from_secs(2);

/// Keep the policies of one pod in force in this network namespace
///
/// Policies come from `netpol apply`. Pods, with their labels and named ports, come from
/// manifests; a pod's addresses are those of the name NAME.NAMESPACE, asked for again and
/// again. Connections that are denied are logged, each peer once a second at most. Needs
/// the capability `NET_ADMIN`, and Linux 5.12. The policies stay in force when it ends, and when it is
/// started again; `netpol enforce --remove` takes them away.
///
/// Example: netpol enforce hello-server --workloads manifests/hello-app
#[derive(Debug, Args)]
pub(super) struct Enforce {
    /// The pod or workload whose network namespace this is
    #[arg(value_name = "[NAMESPACE/]NAME", required_unless_present = "remove")]
    pod: Option<NamespacedName>,

    /// Manifests of every pod that a policy may name, and of the namespaces' labels
    #[arg(long, required_unless_present = "remove", value_name = "[NAMESPACE=]PATH")]
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

    /// Enforce in the machine's own network namespace, for all of its programs
    #[arg(long)]
    host_network: bool,

    /// Take away what an enforcer that has ended has left in this network namespace
    #[arg(long, conflicts_with_all = ["pod", "workloads", "node"])]
    remove: bool,

    #[command(flatten)]
    socket: Socket,

    /// How log lines look
    #[arg(long, env = "LOG_FORMAT", value_enum, default_value_t)]
    log_format: Format,
}

impl Enforce {
    pub(super) fn run(self) -> Result<(), Failure> {
        let work = match self.pod.clone() {
            _ if self.remove => None,
            None => None,
            Some(pod) => Some(self.plan(pod)?),
        };
        let _log = hello_common::log::init(self.log_format, TextStyle::Stamped)
            .context("cannot start the log")?;
        let runtime = runtime::current_thread()?;
        let result = match work {
            Some(plan) => runtime.block_on(self.enforce(plan)),
            None => runtime.block_on(remove()),
        };
        // A name that is being looked up must not hold up the exit.
        runtime.shutdown_background();
        Ok(result?)
    }

    fn plan(&self, pod: NamespacedName) -> Result<Plan, Failure> {
        if is_machines_own() && !self.host_network {
            return Err(Failure::BadArgument(anyhow!(
                "this is the machine's own network namespace: all of its programs would be filtered, also \
                 after this one has ended; enter the pod's first, or say --host-network"
            )));
        }
        let inputs: Vec<_> = self.workloads.iter().cloned().map(Input::from).collect();
        let manifests =
            valid_manifests(&inputs, std::io::stdin().lock()).map_err(Failure::BadInput)?;
        let foreign = manifests.cluster.foreign().iter().zip(&manifests.foreign);
        let unknown: Vec<_> = foreign
            .map(|(policy, Place { file, line })| Finding {
                file: file.clone(),
                line: *line,
                message: format!(
                    "{policy}: policies of this kind cannot be enforced; leave it out"
                ),
            })
            .collect();
        if !unknown.is_empty() {
            return Err(Failure::BadInput(unknown));
        }
        Ok(Plan {
            cluster: manifests.cluster,
            pod,
            nodes: self.node.clone(),
            behaviour: Behaviour {
                established: self.established,
                denied: self.denied,
                log_group: Some(LOG_GROUP),
            },
            file: self.state.clone(),
        })
    }

    /// Enforces until SIGTERM or SIGINT.
    async fn enforce(self, plan: Plan) -> anyhow::Result<()> {
        let mut signals = Signals::new().context("cannot handle signals")?;
        // Nothing is written before both are this process's alone.
        let claim = Claim::take().await?;
        let listener = control::listen(&self.socket.path())?;
        let pod = plan.pod.clone();
        let enforcer = Enforcer::start(plan, claim, Firewall::here()?).await?;
        let pods = 0..enforcer.pods().len();
        let first = join_all(pods.clone().map(|pod| look_up(&enforcer, pod)));
        if tokio::time::timeout(FIRST_LOOK_UP, first).await.is_err() {
            tracing::warn!("some names do not resolve yet; until they do, their pods are denied");
        }
        enforcer.looked_up().await?;
        match enforcer.policies().await {
            Ok(policies) => {
                for policy in &policies {
                    tracing::info!(
                        "policy {} is in force again",
                        NamespacedName::of(&policy.metadata)
                    );
                }
            }
            Err(earlier) => tracing::warn!("{}", Chain(&earlier)),
        }
        tracing::info!("enforcing the policies of {pod}");
        tokio::select! {
            ended = control::serve(listener, &enforcer) => ended.context("the control socket broke"),
            () = check(&enforcer) => Ok(()),
            _ = join_all(pods.map(|pod| follow(&enforcer, pod, self.look_up_every))) => Ok(()),
            ended = log_denials(&enforcer) => ended,
            _ = signals.next() => Ok(()),
        }
    }
}

async fn remove() -> anyhow::Result<()> {
    let _claim = Claim::take().await?;
    if Firewall::here()?.remove().await? {
        say("the filter of this network namespace is gone: everything is allowed")
    } else {
        say("this network namespace has no filter of netpol's")
    }
}

/// Looks for ever whether the filter is still there as it was written.
async fn check(enforcer: &Enforcer) {
    loop {
        tokio::time::sleep(CHECK_EVERY).await;
        match enforcer.check().await {
            Ok(Found::Intact) => {}
            Ok(Found::WrittenAgain) => tracing::warn!(
                "another program changed nftables in this network namespace; the filter was written again"
            ),
            Ok(Found::EarlierChanged) => tracing::warn!(
                "another program changed nftables in this network namespace; whether the filter of the \
                 earlier enforcer is still whole is not known: apply its policies again"
            ),
            Err(error) => {
                tracing::error!("whether the filter is in force is not known: {}", Chain(&error));
            }
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
        tracing::error!("the new addresses of {name} are not in force: {}", Chain(&error));
    }
}

async fn log_denials(enforcer: &Enforcer) -> anyhow::Result<()> {
    let mut denials = denials(LOG_GROUP).await?;
    while let Some(denial) = denials.next().await {
        tracing::info!("{}", enforcer.explain(&denial).await);
    }
    anyhow::bail!("the kernel's log of denied packets ended")
}
