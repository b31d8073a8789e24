//! What `netpol why` says of a connection to a Service, and what the kernel does with it.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::SocketAddr;

use crate::{Lab, program, run};

/// A pod and a port of it.
pub type Endpoint = (String, u16);

/// A port of a Service, as a pod is to connect to it.
#[derive(Clone, Debug)]
pub struct Way {
    /// As `why` takes it.
    pub name: String,
    /// The Service's address; those of the pods behind it, where it has none.
    pub to: Vec<SocketAddr>,
    /// TCP or UDP.
    pub protocol: String,
}

/// What `why` says.
#[derive(Debug, Default)]
pub struct Said {
    /// All of it.
    pub text: String,
    /// How it ended.
    pub code: Option<i32>,
    /// Who may be reached.
    pub allowed: BTreeSet<Endpoint>,
    /// Who may not.
    pub denied: BTreeSet<Endpoint>,
    /// Whether it says that nobody answers.
    pub has_no_endpoint: bool,
    /// Whether it says that nobody knows.
    pub is_unknown: bool,
}

/// What the kernel does.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Who answered.
    pub reached: BTreeSet<Endpoint>,
    /// In which ways connections failed.
    pub failed: BTreeSet<String>,
}

impl Said {
    /// Asks `why` on `dump`.
    ///
    /// # Panics
    ///
    /// When it says what a test of Services does not understand.
    #[must_use]
    pub fn of(lab: &Lab, source: &str, way: &Way, dump: &str) -> Self {
        let mut command = lab.command(program("netpol"));
        let destination = format!("{}/{}", way.name, way.protocol);
        command.args(["why", "--expect", "allowed", source, &destination, "-"]);
        let output = run(&mut command, dump);
        let mut said = Self { code: output.status.code(), ..Self::default() };
        for line in output.stdout.lines() {
            said.has_no_endpoint |= line.ends_with("has no endpoint: nobody answers");
            said.is_unknown |= line.ends_with("who its endpoints are is not known");
            let Some((_, line)) = line.split_once(" => ") else { continue };
            let (end, verdict) = line.split_once(" is ").unwrap();
            let (pod, port) = end.rsplit_once('/').unwrap().0.rsplit_once(':').unwrap();
            let pod = pod.strip_suffix("[Pod]").unwrap_or(pod);
            let endpoint = (pod.to_owned(), port.parse().unwrap());
            match verdict {
                "allowed" => said.allowed.insert(endpoint),
                "denied" => said.denied.insert(endpoint),
                other => panic!("{other}: {}", output.stdout),
            };
        }
        said.text = output.stdout + &output.stderr;
        said
    }

    /// What it says, and how it ended, is one answer.
    fn is_of_one_piece(&self) -> bool {
        let expected = if self.is_unknown {
            3
        } else {
            i32::from(self.has_no_endpoint || !self.denied.is_empty())
        };
        let is_none = self.allowed.is_empty() && self.denied.is_empty();
        self.code == Some(expected)
            && is_none == (self.has_no_endpoint || self.is_unknown)
            && self.text.contains("the pods differ")
                != (self.allowed.is_empty() || self.denied.is_empty())
    }

    /// Whether the kernel does so.
    #[must_use]
    pub fn agrees(&self, seen: &Seen) -> bool {
        // Not each time: the kernel bounds how many ICMP messages it sends a second.
        let is_told = || seen.failed.iter().any(|kind| kind != &ErrorKind::TimedOut.to_string());
        let fails = self.has_no_endpoint || !self.denied.is_empty();
        self.is_of_one_piece()
            && (self.is_unknown
                || (seen.reached == self.allowed
                    && fails != seen.failed.is_empty()
                    && (!self.has_no_endpoint || is_told())))
    }
}
