//! `netpol why`.

use std::net::IpAddr;

use anyhow::{anyhow, bail};
use clap::{Args, ValueEnum};
use netpol::cluster::{Cluster, Pod};
use netpol::connectivity::ListedEnd;
use netpol::evaluate::Connection;
use netpol::explain::{Explanation, Miss, Reason, explain};
use netpol::isolation::End;
use netpol::port::Protocol;

use super::colour::Colour;
use super::sources::Sources;
use super::{Failure, say};

/// Say whether a connection may be made, and which rule decided
///
/// SRC and DST are [NAMESPACE/]NAME of a workload or a pod, as `netpol list` prints them, or an
/// address outside. For a denial each policy that isolates is named, and of its rules the one
/// that came nearest, with what kept it from matching.
///
/// Example: netpol why hello-client-blocked hello-server:8080 manifests/hello-app manifests/network-policy.yaml
#[derive(Debug, Args)]
pub(super) struct Why {
    /// Who connects
    #[arg(value_name = "SRC")]
    source: String,

    /// To whom, at which port (a number, or a name that the pod gives it), TCP unless said otherwise
    #[arg(value_name = "DST:PORT[/PROTOCOL]")]
    destination: String,

    #[command(flatten)]
    sources: Sources,

    /// Exit 1 unless the answer is this
    #[arg(long, value_enum)]
    expect: Option<Expect>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Expect {
    Allowed,
    Denied,
}

impl Why {
    pub(super) fn run(self) -> Result<(), Failure> {
        let namespace = self.sources.how.default.namespace.clone();
        let manifests = self.sources.read()?;
        let cluster = &manifests.cluster;
        let bad = |error: anyhow::Error| Failure::BadArgument(error);
        let (destination, port, protocol) = destination(&self.destination).map_err(bad)?;
        let sources = parties(cluster, &namespace, &self.source).map_err(bad)?;
        let destinations = parties(cluster, &namespace, destination).map_err(bad)?;
        let mut answers = Vec::new();
        for source in &sources {
            for destination in &destinations {
                let number = number(*destination, port, protocol).map_err(bad)?;
                let (source, destination) = (*source, *destination);
                let connection = Connection { source, destination, protocol, port: number };
                let explanation = explain(cluster, &connection);
                answers.push(explanation.allowed);
                // Pods of one workload mostly have the same answer: once is enough.
                if answers.iter().filter(|answer| **answer == explanation.allowed).count() == 1 {
                    tell(&connection, &explanation);
                }
            }
        }
        if answers.iter().any(|answer| *answer != answers[0]) {
            say("the pods differ: some may connect, and some may not");
        }
        let wanted = self.expect.map(|expect| expect == Expect::Allowed);
        if wanted.is_some_and(|wanted| answers.iter().any(|answer| *answer != wanted)) {
            let word = if wanted == Some(true) { "allowed" } else { "denied" };
            return Err(anyhow!("expected it to be {word}").into());
        }
        Ok(())
    }
}

/// Splits `DST:PORT[/PROTOCOL]`; an address of IPv6 is in brackets.
fn destination(text: &str) -> anyhow::Result<(&str, &str, Protocol)> {
    let expected =
        || anyhow!("{text:?}: expected DST:PORT or DST:PORT/PROTOCOL, as hello-server:8080");
    let (end, port) = text.rsplit_once(':').ok_or_else(expected)?;
    let (port, protocol) = match port.split_once('/') {
        None => (port, Protocol::Tcp),
        Some((port, protocol)) => {
            let protocol = protocol.to_ascii_uppercase();
            let known = Protocol::from_api(Some(&protocol));
            (port, known.ok_or_else(|| anyhow!("{text:?}: a protocol is TCP, UDP or SCTP"))?)
        }
    };
    if end.is_empty() || port.is_empty() {
        return Err(expected());
    }
    Ok((end, port, protocol))
}

/// The port by its number, or by the name that the destination gives it.
fn number(destination: End<'_>, port: &str, protocol: Protocol) -> anyhow::Result<u16> {
    if let Ok(number) = port.parse::<u16>() {
        if number == 0 {
            bail!("port 0: ports are 1 to 65535");
        }
        return Ok(number);
    }
    let End::Pod(pod) = destination else {
        bail!("{port:?}: an address has no named ports; write a number from 1 to 65535");
    };
    pod.ports_named(port, protocol).next().ok_or_else(|| {
        let names: Vec<_> = pod.named_ports.iter().map(|port| port.name.as_str()).collect();
        anyhow!("{pod} has no {protocol} port named {port:?}; it names: {}", names.join(", "))
    })
}

/// Who is meant: an address, or the pods of a workload.
fn parties<'a>(cluster: &'a Cluster, namespace: &str, text: &str) -> anyhow::Result<Vec<End<'a>>> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    if let Ok(address) = bare.parse::<IpAddr>() {
        let owner = cluster.pods().iter().find(|pod| pod.addresses.contains(&address));
        return Ok(vec![owner.map_or(End::Address(address), End::Pod)]);
    }
    let (name, kind) = match text.strip_suffix(']').and_then(|text| text.split_once('[')) {
        Some((name, kind)) => (name, Some(kind)),
        None => (text, None),
    };
    let (namespace, name) = name.split_once('/').unwrap_or((namespace, name));
    let is_meant = |pod: &&Pod| {
        let workload = &pod.workload;
        pod.namespace == namespace
            && (workload.name == name || pod.name == name)
            && kind.is_none_or(|kind| workload.kind == kind)
    };
    let found: Vec<&Pod> = cluster.pods().iter().filter(is_meant).collect();
    let mut ends: Vec<ListedEnd> = found.iter().map(|pod| ListedEnd::of(pod)).collect();
    ends.sort();
    ends.dedup();
    let list =
        |ends: &[ListedEnd]| ends.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    match ends.len() {
        0 => {
            let mut all: Vec<ListedEnd> = cluster.pods().iter().map(ListedEnd::of).collect();
            all.sort();
            all.dedup();
            bail!("{text:?}: no such workload or pod; there are: {}", list(&all))
        }
        1 => Ok(found.into_iter().map(End::Pod).collect()),
        _ => bail!("{text:?} may be any of: {}", list(&ends)),
    }
}

fn name(end: End<'_>) -> String {
    match end {
        End::Pod(pod) => ListedEnd::of(pod).to_string(),
        End::Node => "the node".to_owned(),
        End::Address(address) => address.to_string(),
    }
}

fn tell(connection: &Connection<'_>, explanation: &Explanation<'_>) {
    let Connection { source, destination, protocol, port } = *connection;
    let (colour, verdict) =
        if explanation.allowed { (Colour::Green, "allowed") } else { (Colour::Red, "denied") };
    let verdict = colour.paint(verdict, &std::io::stdout());
    say(format_args!("{} => {}:{port}/{protocol} is {verdict}", name(source), name(destination)));
    for (direction, end, reason) in [
        ("egress of", source, &explanation.egress),
        ("ingress of", destination, &explanation.ingress),
    ] {
        tell_end(&format!("{direction} {}", name(end)), reason);
    }
}

fn tell_end(title: &str, reason: &Reason<'_>) {
    let words = match reason {
        Reason::Exempt => "no policy is about a pod and itself or its node",
        Reason::Outside => "outside the cluster, where no policy decides",
        Reason::HostNetwork => {
            "it uses its node's network, where policies are undefined; most engines let it pass"
        }
        Reason::Open => "no policy isolates it, so everything is allowed",
        Reason::AllowedBy(found) => &format!("allowed by policy {}", found.policy),
        Reason::Denied(_) => "isolated, and no rule allows this",
    };
    say(format_args!("  {title}: {words}"));
    if let Reason::AllowedBy(found) = reason {
        say(format_args!("    {}", found.peer));
        say(format_args!("    {}", found.port));
    }
    let Reason::Denied(misses) = reason else { return };
    for Miss { policy, nearest } in misses {
        if let Some(near) = nearest {
            say(format_args!("    policy {policy}, nearest at {}:", near.place));
            for obstacle in &near.obstacles {
                say(format_args!("      {obstacle}"));
            }
        } else {
            say(format_args!("    policy {policy} has no rule: it allows nothing"));
        }
    }
}
