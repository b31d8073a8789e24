//! The lab: every room together. Runs within the namespaces of [`crate::stages`].

use std::convert::Infallible;
use std::fs::File;
use std::io::Write;
use std::sync::Arc;

use anyhow::Context;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use nix::mount::MsFlags;

use crate::api::call::Api;
use crate::api::router;
use crate::api::serve::Listener;
use crate::args::Stage;
use crate::bootstrap::Bootstrap;
use crate::kubelet;
use crate::kubelet::attach::Attachables;
use crate::kubelet::exec::Containers;
use crate::kubelet::images::Images;
use crate::kubelet::logs::Logs;
use crate::kubelet::pod::Surroundings;
use crate::kubelet::program::on_this_machine;
use crate::kubelet::sandbox_pool::SandboxPool;
use crate::loops::{Loop, Loops};
use crate::mounts::mount_in_memory;
use crate::node::network::Network;
use crate::node::policy_enforcer::Enforcer;
use crate::node::service_proxy::ServiceProxy;
use crate::objects::Store;
use crate::objects::names::KUBERNETES_VERSION;
use crate::runtime_folder::RuntimeFolder;
use crate::{controllers, shim};

/// Runs a lab, for ever: returns when it cannot be started, or a part of it has ended. When it is ready, a
/// line is written to `ready`.
pub async fn run(stage: &Stage, mut ready: impl Write) -> anyhow::Result<Infallible> {
    let folder = RuntimeFolder::existing(stage.folder.clone());
    let listener = Listener::bind(stage.settings.port).await?;
    let memory = folder.mount_point();
    mount_in_memory(&memory, MsFlags::MS_NOEXEC, "mode=755")?;

    let store = Store::default();
    let network = Network::new().await?;
    let enforcer = Enforcer::new(store.clone(), stage.settings.behaviour());
    let proxy = ServiceProxy::new(store.clone());

    let mut bootstrap =
        Bootstrap::new(store.clone(), KUBERNETES_VERSION, listener.certificate_pem());
    bootstrap.step();

    let program = std::env::current_exe().context("cannot find this program")?;
    let programs = program.parent().context("cannot find this program's folder")?;
    // Kept open: it stays what it is when it is built anew.
    let shim = programs.join(shim::PROGRAM);
    let shim = File::open(&shim)
        .with_context(|| format!("cannot open {}, which hello-lab needs", shim.display()))?;
    let mut images = Images::of_workspace(programs, on_this_machine);
    images.pull(&stage.settings.image, &memory.join("images"))?;
    let (logs, containers) = (Logs::default(), Containers::default());
    let attachables = Attachables::default();
    let sandboxes = SandboxPool::new(network.clone(), enforcer.clone(), shim, &stage.hidden);
    let surroundings = Surroundings {
        store: store.clone(),
        sandboxes: sandboxes.clone(),
        network,
        enforcer: enforcer.clone(),
        proxy: proxy.clone(),
        images: Arc::new(images),
        logs: logs.clone(),
        containers: containers.clone(),
        attachables: attachables.clone(),
        privileged: stage.privileged,
    };
    let token = random_token();
    let server = format!("https://{}", listener.address()?);
    let kubeconfig = kubeconfig(&server, listener.certificate_pem(), &token);
    folder.write("kubeconfig", &kubeconfig)?;
    let api = Api { store: store.clone(), logs, containers, attachables, token: token.into() };

    controllers::step(&store);
    let mut loops = Loops::new(stage.settings.fail);
    loops.start(Loop::Bootstrap, bootstrap.run());
    loops.start(Loop::Controllers, controllers::run(store));
    loops.start(Loop::PolicyEnforcer, enforcer.follow());
    loops.start(Loop::ServiceProxy, proxy.follow());
    loops.start(Loop::Kubelet, kubelet::run(surroundings));
    loops.start(Loop::SandboxPool, sandboxes.keep());
    loops.start(Loop::Api, listener.serve(router(api)));
    writeln!(ready, "ready").context("cannot tell that the lab is ready")?;
    ready.flush()?;
    Err(loops.first_end().await.into())
}

/// 256 random bits.
fn random_token() -> String {
    format!("{:032x}{:032x}", rand::random::<u128>(), rand::random::<u128>())
}

fn kubeconfig(server: &str, certificate_pem: &str, token: &str) -> String {
    let certificate = BASE64_STANDARD.encode(certificate_pem);
    format!(
        "apiVersion: v1
kind: Config
current-context: hello-lab
contexts:
  - name: hello-lab
    context:
      cluster: hello-lab
      user: hello-lab
clusters:
  - name: hello-lab
    cluster:
      server: {server}
      certificate-authority-data: {certificate}
users:
  - name: hello-lab
    user:
      token: {token}
"
    )
}
