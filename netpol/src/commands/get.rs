//! `netpol get`.

use anyhow::anyhow;
use clap::{Args, ValueEnum};
use hello_common::age::human_duration;
use jiff::Timestamp;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use netpol::enforce::control::{Request, Response};
use netpol::names::NamespacedName;
use netpol::selector::Selector;

use super::enforcer::{Namespace, RESOURCE, Socket};
use super::{Failure, say, say_error};

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

impl Get {
    pub(super) fn run(self) -> Result<(), Failure> {
        let Response::Policies(mut policies) = self.socket.ask(&Request::Get)? else {
            return Err(anyhow!("the enforcer is of another version").into());
        };
        if !self.all_namespaces {
            policies.retain(|policy| {
                NamespacedName::of(&policy.metadata).namespace == self.namespace.name()
            });
        }
        for name in &self.names {
            if !policies.iter().any(|policy| NamespacedName::of(&policy.metadata).name == *name) {
                return Err(anyhow!("networkpolicies.networking.k8s.io {name:?} not found").into());
            }
        }
        if !self.names.is_empty() {
            policies
                .retain(|policy| self.names.contains(&NamespacedName::of(&policy.metadata).name));
        }
        match self.output {
            Output::Json => say(serde_json::to_string_pretty(&list(&policies))?)?,
            Output::Yaml => say(serde_saphyr::to_string(&list(&policies))?.trim_end())?,
            Output::Name => {
                for policy in &policies {
                    say(format_args!("{RESOURCE}/{}", NamespacedName::of(&policy.metadata).name))?;
                }
            }
            Output::Table if policies.is_empty() => {
                let place = if self.all_namespaces { "" } else { self.namespace.name() };
                let place =
                    if place.is_empty() { String::new() } else { format!(" in {place} namespace") };
                say_error(&format_args!("No resources found{place}."));
            }
            Output::Table => self.table(&policies)?,
        }
        Ok(())
    }

    fn table(&self, policies: &[NetworkPolicy]) -> anyhow::Result<()> {
        let mut rows = vec![["NAMESPACE", "NAME", "POD-SELECTOR", "AGE"].map(str::to_owned)];
        rows.extend(policies.iter().map(row));
        let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0) + 3;
        let widths = [width(0), width(1), width(2)];
        for [namespace, name, selector, age] in &rows {
            let [first, second, third] = widths;
            let namespace =
                if self.all_namespaces { format!("{namespace:first$}") } else { String::new() };
            say(format_args!("{namespace}{name:second$}{selector:third$}{age}"))?;
        }
        Ok(())
    }
}

fn row(policy: &NetworkPolicy) -> [String; 4] {
    let NamespacedName { namespace, name } = NamespacedName::of(&policy.metadata);
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

fn list(policies: &[NetworkPolicy]) -> serde_json::Value {
    serde_json::json!({"apiVersion": "v1", "kind": "List", "items": policies})
}
