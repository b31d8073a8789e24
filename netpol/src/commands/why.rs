//! `netpol why`.

use std::collections::HashSet;
use std::fmt::{Display, Write as _};
use std::net::IpAddr;

use anyhow::{anyhow, bail};
use clap::{Args, ValueEnum};
use netpol::answer::Answer;
use netpol::cluster::{Cluster, Pod};
use netpol::connectivity::ListedEnd;
use netpol::ends::{self, Destination, EndError, PortName};
use netpol::evaluate::Connection;
use netpol::explain::{Explanation, Miss, Reason, explain};
use netpol::family::Family;
use netpol::isolation::End;
use netpol::policy::Policy;
use netpol::port::Protocol;
use netpol::read::Manifests;
use netpol::spelling::LISTED;

use super::colour::Colour;
use super::sources::Sources;
use super::{Failure, say_sentences};

/// Say whether a connection may be made, and which rule decided
///
/// SRC and DST are [NAMESPACE/]NAME of a workload or a pod, as `netpol list` prints them or as kubectl
/// takes them (deploy/web), or an address outside. DST may be a Service too (svc/web, web.default.svc, or
/// its address): the answer is that for the pods behind it, at their own port. For a denial each policy that isolates is named,
/// and of its rules the one that came nearest, with what kept it from matching. Exits 3 if the answer
/// cannot be known, as with policies of kinds that are not modelled.
///
/// With `all` for SRC every workload is asked for.
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
    Unknown,
}

impl From<Expect> for Answer {
    fn from(expect: Expect) -> Self {
        match expect {
            Expect::Allowed => Self::Yes,
            Expect::Denied => Self::No,
            Expect::Unknown => Self::Unknown,
        }
    }
}

impl Why {
    pub(super) fn run(self) -> Result<(), Failure> {
        let (manifests, namespace) = self.sources.read_workloads()?;
        let bad = |error: anyhow::Error| Failure::BadArgument(error);
        let Wanted { end, port, protocol } = Wanted::parse(&self.destination).map_err(bad)?;
        let cluster = &manifests.cluster;
        if ends::is_service(cluster, &namespace, &self.source) {
            return Err(bad(anyhow!(
                "{:?} is a Service, which opens no connection; name the workload that does",
                self.source
            )));
        }
        let sources = match ends::find(cluster, &namespace, &self.source) {
            Err(EndError::NoSuchEnd { .. }) if self.source == EVERYBODY => everybody(cluster),
            found => found.map_err(|error| bad(error.into()))?,
        };
        let destination = ends::destination(cluster, &namespace, end, &port, protocol)
            .map_err(|error| bad(error.into()))?;
        let mut told = Told {
            manifests: &manifests,
            text: String::new(),
            answers: Vec::new(),
            seen: HashSet::new(),
        };
        told.service(&destination, protocol);
        for source in &sources {
            for (end, port) in &destination.ends {
                let connection =
                    Connection { source: *source, destination: *end, protocol, port: *port };
                told.connection(&connection, &destination.families);
            }
        }
        let Told { mut text, answers, .. } = told;
        if self.source != EVERYBODY && answers.iter().any(|answer| *answer != answers[0]) {
            text.push_str("the pods differ: some may connect, and some may not\n");
        }
        say_sentences(text.trim_end())?;
        verdict(&answers, self.expect.map(Answer::from))
    }
}

/// What stands for every workload where a source is named.
const EVERYBODY: &str = "all";

/// Every pod, by what it is called.
fn everybody(cluster: &Cluster) -> Vec<End<'_>> {
    let mut pods: Vec<&Pod> = cluster.pods().iter().collect();
    pods.sort_by_cached_key(|pod| (ListedEnd::of(pod).to_string(), pod.name.clone()));
    pods.into_iter().map(End::Pod).collect()
}

/// How the command ends.
fn verdict(answers: &[Answer], expected: Option<Answer>) -> Result<(), Failure> {
    let is_unknown = answers.contains(&Answer::Unknown);
    match expected {
        Some(expected) if answers.iter().all(|answer| *answer == expected) => Ok(()),
        Some(expected)
            if answers.iter().all(|answer| [expected, Answer::Unknown].contains(answer)) =>
        {
            Err(Failure::Unknown(anyhow!("expected it to be {expected}, which is not known")))
        }
        Some(expected) => Err(anyhow!("expected it to be {expected}").into()),
        None if is_unknown => Err(Failure::Unknown(anyhow!("the answer is not known"))),
        None => Ok(()),
    }
}

/// `DST:PORT[/PROTOCOL]`, taken apart; an address of IPv6 is in brackets.
struct Wanted<'t> {
    end: &'t str,
    port: PortName,
    protocol: Protocol,
}

impl<'t> Wanted<'t> {
    fn parse(text: &'t str) -> anyhow::Result<Self> {
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
        let port = if port.bytes().all(|byte| byte.is_ascii_digit()) {
            match port.parse() {
                Ok(0) | Err(_) => bail!("port {port}: ports are 1 to 65535"),
                Ok(number) => PortName::Number(number),
            }
        } else {
            PortName::Named(port.to_owned())
        };
        Ok(Self { end, port, protocol })
    }
}

/// The answers, and what is said of them.
struct Told<'m> {
    manifests: &'m Manifests,
    text: String,
    answers: Vec<Answer>,
    /// Ends, port and answer of what was told already.
    seen: HashSet<(String, String, u16, Answer)>,
}

impl Told<'_> {
    /// Says who is behind the Service that the connection goes through.
    fn service(&mut self, destination: &Destination<'_>, protocol: Protocol) {
        let Some((service, port)) = destination.through else { return };
        let mut ends: Vec<String> = destination
            .ends
            .iter()
            .map(|(end, target)| format!("{}:{target}", before_port(*end)))
            .collect();
        ends.sort();
        ends.dedup();
        let count = destination.ends.len();
        let stands = match (destination.is_unknown, count) {
            (true, _) => {
                self.answers.push(Answer::Unknown);
                "has no selector, and no EndpointSlice of the inputs is its: who its endpoints are is \
                 not known".to_owned()
            }
            (false, 0) => {
                self.answers.push(Answer::No);
                "has no endpoint: nobody answers".to_owned()
            }
            (false, 1) => format!("stands for {}", ends.join(", ")),
            (false, count) => format!("stands for {} ({count} endpoints)", ends.join(", ")),
        };
        self.line(0, format_args!("Service {service}:{port}/{protocol} {stands}"));
        for (end, why) in &destination.left_out {
            let end = match end {
                End::Pod(pod) => pod.to_string(),
                other => name(*other),
            };
            self.line(2, format_args!("{end} is none: {why}"));
        }
    }

    /// Explains a connection: once for each of `families` (all, if it names none) that both pods have
    /// addresses of, if the answers differ. Pods of one workload mostly have the same answer: to tell it once
    /// is enough.
    fn connection(&mut self, connection: &Connection<'_>, families: &[Family]) {
        let cluster = &self.manifests.cluster;
        let Connection { source, destination, .. } = *connection;
        let part = |family: Family, end: End<'_>| match end {
            End::Pod(pod) if family.is_of(pod) => Some(family.part(pod)),
            _ => None,
        };
        let possible = if families.is_empty() { &Family::ALL[..] } else { families };
        let parts: Vec<_> = possible
            .iter()
            .filter_map(|family| {
                Some((*family, part(*family, source)?, part(*family, destination)?))
            })
            .collect();
        let explained: Vec<_> = parts
            .iter()
            .map(|(family, from, to)| {
                let (source, destination) = (End::Pod(from), End::Pod(to));
                let connection = Connection { source, destination, ..*connection };
                (*family, connection, explain(cluster, &connection))
            })
            .collect();
        // One of both families is one, as far as the answer goes, if that is the same over each.
        match explained.as_slice() {
            [(_, one, explanation)] => self.tell(one, explanation, ""),
            [(.., first), rest @ ..] if rest.iter().any(|(.., one)| one.answer != first.answer) => {
                for (family, one, explanation) in &explained {
                    self.tell(one, explanation, &format!(" over {family}"));
                }
            }
            _ => self.tell(connection, &explain(cluster, connection), ""),
        }
    }

    fn tell(&mut self, connection: &Connection<'_>, explanation: &Explanation<'_>, over: &str) {
        self.answers.push(explanation.answer);
        let Connection { source, destination, protocol, port } = *connection;
        if !self.seen.insert((name(source), name(destination), port, explanation.answer)) {
            return;
        }
        let colour = match explanation.answer {
            Answer::Yes => Colour::Green,
            Answer::No => Colour::Red,
            Answer::Unknown => Colour::Yellow,
        };
        let verdict = colour.paint(explanation.answer, &std::io::stdout());
        self.line(
            0,
            format_args!(
                "{} => {}:{port}/{protocol} is {verdict}{over}",
                name(source),
                before_port(destination)
            ),
        );
        for (direction, end, reason) in [
            ("egress of", source, &explanation.egress),
            ("ingress of", destination, &explanation.ingress),
        ] {
            self.end(&format!("{direction} {}", name(end)), reason);
        }
        self.serves(destination, protocol, port);
    }

    fn line(&mut self, indent: usize, line: impl Display) {
        // To write to a String never fails.
        let _ = writeln!(self.text, "{:indent$}{line}", "");
    }

    /// Where a policy, or a field of it, is written.
    fn place(&self, policy: &Policy, path: &str) -> String {
        let policies = self.manifests.cluster.policies().iter().zip(&self.manifests.written);
        let mut written = policies.filter(|(one, _)| std::ptr::eq(*one, policy));
        written.next().map_or_else(String::new, |(_, written)| written.place(path).to_string())
    }

    fn end(&mut self, title: &str, reason: &Reason<'_>) {
        let words = match reason {
            Reason::Exempt => "no policy is about a pod and itself or its node".to_owned(),
            Reason::Outside => "outside the cluster, where no policy decides".to_owned(),
            Reason::Open => "no policy isolates it, so everything is allowed".to_owned(),
            Reason::AllowedBy(found) => format!("allowed by policy {}", found.policy),
            Reason::Denied(_) => "isolated, and no rule allows this".to_owned(),
            Reason::HostNetwork(_) => {
                "unknown: it uses its node's network, where policies are undefined; most engines let it \
                 pass"
                    .to_owned()
            }
            Reason::Foreign(policies) if policies.iter().all(|policy| policy.is_hidden) => {
                "unknown: policies that cannot be seen may be about it".to_owned()
            }
            Reason::Foreign(_) => {
                "unknown: policies of kinds that are not modelled may be about it".to_owned()
            }
            Reason::UnknownPeer(_) => "unknown whether a rule allows this".to_owned(),
        };
        self.line(2, format_args!("{title}: {words}"));
        match reason {
            Reason::AllowedBy(found) => {
                let place = self.place(found.policy, &found.rule);
                self.line(4, &found.peer);
                self.line(4, &found.port);
                self.line(4, format_args!("at {place}"));
            }
            Reason::Denied(misses) => misses.iter().for_each(|miss| self.miss(miss)),
            Reason::UnknownPeer(miss) => self.miss(miss),
            Reason::HostNetwork(policies) => {
                for policy in policies {
                    let place = self.place(policy, "");
                    self.line(4, format_args!("policy {policy} selects it ({place})"));
                }
            }
            Reason::Foreign(policies) => {
                for policy in policies.iter().take(LISTED) {
                    self.line(4, policy);
                }
                if let Some(more) = policies.len().checked_sub(LISTED).filter(|more| *more > 0) {
                    self.line(4, format_args!("and {more} more"));
                }
                self.line(4, "--ignore-kinds answers as if there were none");
            }
            Reason::Exempt | Reason::Outside | Reason::Open => {}
        }
    }

    fn miss(&mut self, Miss { policy, nearest }: &Miss<'_>) {
        let Some(near) = nearest else {
            let place = self.place(policy, "");
            self.line(4, format_args!("policy {policy} has no rule: it allows nothing ({place})"));
            return;
        };
        let place = self.place(policy, &near.place);
        self.line(4, format_args!("policy {policy}, nearest at {} ({place}):", near.place));
        for obstacle in &near.obstacles {
            self.line(6, obstacle);
        }
    }

    /// Says so if the destination declares ports, and not this one.
    fn serves(&mut self, destination: End<'_>, protocol: Protocol, port: u16) {
        let End::Pod(pod) = destination else { return };
        if pod.ports.is_empty() || pod.ports.contains(&(protocol, port)) {
            return;
        }
        let declared: Vec<_> =
            pod.ports.iter().map(|(protocol, port)| format!("{port}/{protocol}")).collect();
        self.line(
            2,
            format_args!(
                "{pod} declares no port {port}/{protocol}; it has {}",
                declared.join(", ")
            ),
        );
    }
}

fn name(end: End<'_>) -> String {
    match end {
        End::Pod(pod) => ListedEnd::of(pod).to_string(),
        End::Node => "the node".to_owned(),
        End::Address(address) => address.to_string(),
        End::Outside => "an address outside".to_owned(),
    }
}

/// As `name`, with the brackets that an address of IPv6 has where a port follows.
fn before_port(end: End<'_>) -> String {
    match end {
        End::Address(IpAddr::V6(address)) => format!("[{address}]"),
        _ => name(end),
    }
}
