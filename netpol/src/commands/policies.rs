//! `netpol apply`, `delete` and `get`: the policies of a running enforcer, in kubectl's words.

use std::path::PathBuf;

use anyhow::{anyhow, bail};
use clap::{Args, ValueEnum};
use hello_common::age::human_duration;
use jiff::Timestamp;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use netpol::enforce::control::{Request, Response, ask};
use netpol::enforce::policies::PolicyName;
use netpol::read::{Finding, Input, valid_manifests};
use netpol::selector::Selector;

use super::{Failure, say, say_error};

const RESOURCE: &str = "networkpolicy.networking.k8s.io";

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

    fn ask(&self, request: &Request) -> anyhow::Result<Response> {
        match ask(&self.path(), request)? {
            Response::Refused { reason, message } => {
                bail!("Error from the enforcer ({reason}): {message}")
            }
            response => Ok(response),
        }
    }

    /// Asks for a change and says what became of each policy.
    fn change(&self, request: &Request) -> anyhow::Result<()> {
        let Response::Changed(changes) = self.ask(request)? else {
            bail!("the enforcer is of another version: it does not say what it changed");
        };
        for (PolicyName { name, .. }, change) in changes {
            // kubectl quotes what it has deleted.
            if change.to_string() == "deleted" {
                say(format_args!("{RESOURCE} \"{name}\" deleted"));
            } else {
                say(format_args!("{RESOURCE}/{name} {change}"));
            }
        }
        Ok(())
    }
}

/// Create or replace policies of a running enforcer
///
/// Example: netpol apply -f manifests/network-policy.yaml
#[derive(Debug, Args)]
pub(super) struct Apply {
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    socket: Socket,
}

/// Delete policies of a running enforcer
///
/// Example: netpol delete -f manifests/network-policy.yaml
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("which").required(true).args(["filename", "names"]))]
pub(super) struct Delete {
    /// Files or folders of the policies, or - for standard input
    #[arg(short, long, value_name = "PATH")]
    filename: Vec<PathBuf>,

    /// Names of the policies
    #[arg(value_name = "NAME", conflicts_with = "filename")]
    names: Vec<String>,

    #[command(flatten)]
    namespace: Namespace,
    #[command(flatten)]
    socket: Socket,
}

/// Show the policies of a running enforcer
///
/// Example: netpol get -o yaml
#[derive(Debug, Args)]
pub(super) struct Get {
    /// Names of the policies; all, if none is given
    #[arg(value_name = "NAME")]
    names: Vec<String>,

    /// Policies of every namespace
    #[arg(short = 'A', long)]
    all_namespaces: bool,

    /// How to show them
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,

    #[command(flatten)]
    namespace: Namespace,
    #[command(flatten)]
    socket: Socket,
}

#[derive(Debug, Args)]
struct Files {
    /// Files or folders of the policies, or - for standard input
    #[arg(short, long, required = true, value_name = "PATH")]
    filename: Vec<PathBuf>,

    #[command(flatten)]
    namespace: Namespace,
}

#[derive(Clone, Debug, Args)]
struct Namespace {
    /// Namespace of policies that name none [default: default]
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Output {
    /// A table
    #[default]
    Table,
    /// Names alone
    Name,
    /// A List as JSON
    Json,
    /// A List as YAML
    Yaml,
}

impl Namespace {
    fn name(&self) -> &str {
        self.namespace.as_deref().unwrap_or("default")
    }
}

impl Files {
    /// The policies in the files; anything else in them is bad input.
    fn read(&self) -> Result<Vec<NetworkPolicy>, Failure> {
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
        if !manifests.cluster.pods().is_empty() || !manifests.skipped.is_empty() {
            find("an enforcer takes only NetworkPolicies; there is something else".to_owned());
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

impl Apply {
    pub(super) fn run(self) -> Result<(), Failure> {
        let policies = self.files.read()?;
        Ok(self.socket.change(&Request::Apply(policies))?)
    }
}

impl Delete {
    pub(super) fn run(self) -> Result<(), Failure> {
        let named = |name: String| PolicyName { namespace: self.namespace.name().to_owned(), name };
        let names = if self.filename.is_empty() {
            self.names.into_iter().map(named).collect()
        } else {
            let files = Files { filename: self.filename, namespace: self.namespace.clone() };
            files.read()?.iter().map(name_of).collect()
        };
        Ok(self.socket.change(&Request::Delete(names))?)
    }
}

impl Get {
    pub(super) fn run(self) -> Result<(), Failure> {
        let Response::Policies(mut policies) = self.socket.ask(&Request::Get)? else {
            return Err(anyhow!("the enforcer is of another version").into());
        };
        if !self.all_namespaces {
            policies.retain(|policy| name_of(policy).namespace == self.namespace.name());
        }
        for name in &self.names {
            if !policies.iter().any(|policy| name_of(policy).name == *name) {
                return Err(anyhow!("networkpolicies.networking.k8s.io {name:?} not found").into());
            }
        }
        if !self.names.is_empty() {
            policies.retain(|policy| self.names.contains(&name_of(policy).name));
        }
        match self.output {
            Output::Json => say(serde_json::to_string_pretty(&list(&policies))?),
            Output::Yaml => say(serde_saphyr::to_string(&list(&policies))?.trim_end()),
            Output::Name => {
                for policy in &policies {
                    say(format_args!("{RESOURCE}/{}", name_of(policy).name));
                }
            }
            Output::Table if policies.is_empty() => {
                let place = if self.all_namespaces { "" } else { self.namespace.name() };
                let place =
                    if place.is_empty() { String::new() } else { format!(" in {place} namespace") };
                say_error(&format_args!("No resources found{place}."));
            }
            Output::Table => self.table(&policies),
        }
        Ok(())
    }

    fn table(&self, policies: &[NetworkPolicy]) {
        let mut rows = vec![["NAMESPACE", "NAME", "POD-SELECTOR", "AGE"].map(str::to_owned)];
        rows.extend(policies.iter().map(row));
        let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0) + 3;
        let widths = [width(0), width(1), width(2)];
        for [namespace, name, selector, age] in &rows {
            let [first, second, third] = widths;
            let namespace =
                if self.all_namespaces { format!("{namespace:first$}") } else { String::new() };
            say(format_args!("{namespace}{name:second$}{selector:third$}{age}"));
        }
    }
}

fn row(policy: &NetworkPolicy) -> [String; 4] {
    let PolicyName { namespace, name } = name_of(policy);
    let selector = policy.spec.as_ref().and_then(|spec| spec.pod_selector.as_ref());
    let selector = selector.and_then(|selector| Selector::from_api("", selector).ok());
    // kubectl's word for the empty selector here.
    let selector = match selector.unwrap_or_default().to_string() {
        all if all == "<all>" => "<none>".to_owned(),
        selector => selector,
    };
    let created = policy.metadata.creation_timestamp.as_ref();
    let age = created.map(|time| Timestamp::now().duration_since(time.0).as_secs());
    [namespace, name, selector, age.map_or_else(|| "<unknown>".to_owned(), human_duration)]
}

fn name_of(policy: &NetworkPolicy) -> PolicyName {
    let metadata = &policy.metadata;
    PolicyName {
        namespace: metadata.namespace.clone().unwrap_or_else(|| "default".to_owned()),
        name: metadata.name.clone().unwrap_or_default(),
    }
}

fn list(policies: &[NetworkPolicy]) -> serde_json::Value {
    serde_json::json!({"apiVersion": "v1", "kind": "List", "items": policies})
}
