//! A running enforcer, to the commands that speak to it: `apply`, `delete` and `get`.

use std::path::PathBuf;

use anyhow::bail;
use clap::Args;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use netpol::enforce::control::{Request, Response, ask};
use netpol::names::NamespacedName;
use netpol::read::{Finding, Input, valid_manifests};

use super::{Failure, say};

/// What policies are to kubectl.
pub(super) const RESOURCE: &str = "networkpolicy.networking.k8s.io";

/// Where the enforcer listens.
#[derive(Clone, Debug, Args)]
pub(super) struct Socket {
    /// Socket of the enforcer; without it netpol.sock in the user's runtime folder, or in /run
    #[arg(long, env = "NETPOL_SOCKET", value_name = "PATH")]
    socket: Option<PathBuf>,
}

impl Socket {
    pub(super) fn path(&self) -> PathBuf {
        let folder = || std::env::var_os("XDG_RUNTIME_DIR").unwrap_or_else(|| "/run".into());
        self.socket.clone().unwrap_or_else(|| PathBuf::from(folder()).join("netpol.sock"))
    }

    pub(super) fn ask(&self, request: &Request) -> anyhow::Result<Response> {
        match ask(&self.path(), request)? {
            Response::Refused { reason, message } => {
                bail!("Error from the enforcer ({reason}): {message}")
            }
            response => Ok(response),
        }
    }

    /// Asks for a change and says what became of each policy.
    pub(super) fn change(&self, request: &Request) -> anyhow::Result<()> {
        let Response::Changed(changes) = self.ask(request)? else {
            bail!("the enforcer is of another version: it does not say what it changed");
        };
        for (NamespacedName { name, .. }, change) in changes {
            // kubectl quotes what it has deleted.
            if change.to_string() == "deleted" {
                say(format_args!("{RESOURCE} \"{name}\" deleted"))?;
            } else {
                say(format_args!("{RESOURCE}/{name} {change}"))?;
            }
        }
        Ok(())
    }
}

/// Policies in files.
#[derive(Debug, Args)]
pub(super) struct Files {
    /// Files or folders of the policies, or - for standard input
    #[arg(short, long, required = true, value_name = "PATH")]
    pub(super) filename: Vec<PathBuf>,

    #[command(flatten)]
    pub(super) namespace: Namespace,
}

/// Where policies are that name no namespace.
#[derive(Clone, Debug, Args)]
pub(super) struct Namespace {
    /// Namespace of policies that name none [default: default]
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,
}

impl Namespace {
    pub(super) fn name(&self) -> &str {
        self.namespace.as_deref().unwrap_or("default")
    }
}

impl Files {
    /// The policies in the files; anything else in them is bad input.
    pub(super) fn read(&self) -> Result<Vec<NetworkPolicy>, Failure> {
        let namespace = self.namespace.name();
        let paths = self.filename.iter();
        let inputs: Vec<_> = paths
            .map(|path| Input { path: path.clone(), namespace: namespace.to_owned() })
            .collect();
        let manifests =
            valid_manifests(&inputs, std::io::stdin().lock()).map_err(Failure::BadInput)?;
        let mut findings = Vec::new();
        let mut find = |message: String| {
            let files: Vec<_> =
                inputs.iter().map(|input| input.path.display().to_string()).collect();
            findings.push(Finding { file: files.join(", "), line: None, message });
        };
        let cluster = &manifests.cluster;
        let others = [
            ("pods or what makes them".to_owned(), cluster.pods().len()),
            ("Service".to_owned(), cluster.services().len()),
        ];
        let skipped = manifests.skipped.iter().map(|(kind, count)| (kind.clone(), *count));
        let others: Vec<_> = others
            .into_iter()
            .chain(skipped)
            .filter(|(_, count)| *count > 0)
            .map(|(kind, count)| format!("{count} {kind}"))
            .collect();
        if !others.is_empty() {
            find(format!("an enforcer takes only NetworkPolicies; here are {}", others.join(", ")));
        }
        if manifests.policies.is_empty() {
            find("no NetworkPolicy is there".to_owned());
        }
        for policy in &manifests.policies {
            let own = policy.metadata.namespace.as_deref().unwrap_or("default");
            if self.namespace.namespace.is_some() && own != namespace {
                find(format!(
                    "metadata.namespace: {own:?} does not match --namespace {namespace:?}"
                ));
            }
        }
        if findings.is_empty() { Ok(manifests.policies) } else { Err(Failure::BadInput(findings)) }
    }
}
