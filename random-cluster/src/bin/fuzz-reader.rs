//! Whether netpol reads YAML as kubectl does: small random documents, odd ones on purpose, read by both.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use anyhow::Context;
use clap::Parser;
use netpol::read::document::Document;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::Value;

/// Read random documents by netpol and by this machine's kubectl, and print those that they read differently
#[derive(Debug, Parser)]
struct Cli {
    /// How many documents
    #[arg(long, default_value_t = 1000)]
    count: u32,

    /// The first document's seed: each has one of its own, and is the same whenever it is asked for
    #[arg(long)]
    seed: Option<u64>,
}

/// So many kubectl at once.
const AT_ONCE: usize = 4;

/// Makes an object of fields: kubectl prints nothing else.
const HEAD: &str = "apiVersion: example.com/v1\nkind: Odd\nmetadata: {name: odd}\n";

const SCALARS: &[&str] = &[
    "a",
    "1",
    "-1",
    "010",
    "0o10",
    "0x1F",
    "0b11",
    "1_000",
    "1.50",
    ".5",
    "5.",
    "1e3",
    "1E+3",
    ".inf",
    "-.inf",
    "yes",
    "No",
    "on",
    "off",
    "y",
    "N",
    "true",
    "False",
    "null",
    "~",
    "",
    "Null",
    "2024-01-02",
    "2001-12-14t21:59:43.10-05:00",
    "12:30",
    "12:30:45",
    "1:2",
    "<<",
    "=",
    "a b",
    "a:b",
    "http://x/y",
    "a#b",
    "-",
    "--",
    "?",
    "a, b",
    "é",
    "\u{a0}",
    "日本",
    "\\n",
    "99999999999999999999",
    "18446744073709551615",
    "9223372036854775808",
    "-9223372036854775809",
    "+1",
    "+.5",
    "0",
    "-0",
    "00",
    "08",
    "0.0",
    "1e400",
    "0x",
    "@a",
    "%a",
    "`a",
    "&",
    "*",
    "!",
    "|",
    ">",
    "!!str",
    "a'",
    "'a",
    "\"a",
    "a: b",
    "[",
    "]",
    "{}",
    "[]",
];

const TAGS: &[&str] = &[
    "!!str ",
    "!!int ",
    "!!float ",
    "!!bool ",
    "!!null ",
    "!!binary ",
    "! ",
    "!own ",
    "!!map ",
    "!!seq ",
    "!<x> ",
];

const ODD: &[char] = &[
    '\t', ' ', '\n', ':', ',', '[', ']', '{', '}', '#', '&', '*', '!', '|', '>', '\'', '"', '%',
    '@', '`', '-', '?', '\r', '\\', '0', 'e', '.', '~', '<', '=',
];

/// A document's text, made piece by piece.
struct Draft {
    random: StdRng,
    text: String,
    anchors: u32,
}

impl Draft {
    fn of(seed: u64) -> String {
        let mut draft =
            Self { random: StdRng::seed_from_u64(seed), text: String::new(), anchors: 0 };
        draft.fields(0, 3);
        draft.mutate();
        draft.text
    }

    fn one_in(&mut self, many: u32) -> bool {
        self.random.random_ratio(1, many)
    }

    fn pick(&mut self, texts: &[&str]) -> String {
        (*texts.choose(&mut self.random).expect("no list here is empty")).to_owned()
    }

    fn fields(&mut self, indent: usize, depth: u32) {
        for number in 0..self.random.random_range(1..4) {
            self.text.push_str(&" ".repeat(indent));
            let key = match self.random.random_range(0..12) {
                0 => self.pick(SCALARS),
                1 => format!("? k{number}\n{}", " ".repeat(indent)),
                2 if self.anchors > 0 => "<<".to_owned(),
                3 => format!("'k{number}'"),
                4 => format!("\"k\\x3{number}\""),
                _ => format!("k{number}"),
            };
            self.text.push_str(&key);
            self.text.push(':');
            self.node(indent, depth);
        }
    }

    /// What stands behind a colon or a hyphen, to the end of its last line.
    fn node(&mut self, indent: usize, depth: u32) {
        let gap = self.pick(&[" ", " ", " ", " ", "  ", "\t", " \t"]);
        self.text.push_str(&gap);
        if self.one_in(6) {
            self.anchors += 1;
            let anchor = format!("&a{} ", self.anchors);
            self.text.push_str(&anchor);
        }
        if self.one_in(8) {
            let tag = self.pick(TAGS);
            self.text.push_str(&tag);
        }
        match self.random.random_range(0..10) {
            0 if depth > 0 => {
                self.text.push('\n');
                self.fields(indent + 2, depth - 1);
                return;
            }
            1 if depth > 0 => {
                self.text.push('\n');
                let deeper = indent + self.random.random_range(0..3);
                for _ in 0..self.random.random_range(1..4) {
                    self.text.push_str(&" ".repeat(deeper));
                    self.text.push('-');
                    self.node(deeper, depth - 1);
                }
                return;
            }
            2 => self.block(indent),
            3 if self.anchors > 0 => {
                let anchor = self.random.random_range(1..=self.anchors);
                let _ = write!(self.text, "*a{anchor} ");
            }
            4 | 5 if depth > 0 => self.flow(depth - 1),
            _ => self.scalar(),
        }
        let comment = self.pick(&["", "", "", " # b", "#c", " ", "\t", "\r"]);
        self.text.push_str(&comment);
        self.text.push('\n');
    }

    fn scalar(&mut self) {
        let scalar = self.pick(SCALARS);
        let written = match self.random.random_range(0..6) {
            0 => format!("'{scalar}'"),
            1 => format!("\"{scalar}\""),
            2 => format!("{scalar} {}", self.pick(SCALARS)),
            _ => scalar,
        };
        self.text.push_str(&written);
    }

    fn block(&mut self, indent: usize) {
        let head = self.pick(&["|", ">", "|-", ">-", "|+", ">+", "|2", ">1-", "| # b"]);
        self.text.push_str(&head);
        for _ in 0..self.random.random_range(0..4) {
            let more = self.random.random_range(0..4);
            self.text.push('\n');
            self.text.push_str(&" ".repeat(indent + more));
            let line = self.pick(&["a", "b c", "", "# d", "\te", "- f", "g: h"]);
            self.text.push_str(&line);
        }
    }

    fn flow(&mut self, depth: u32) {
        let is_mapping = self.one_in(2);
        self.text.push(if is_mapping { '{' } else { '[' });
        for number in 0..self.random.random_range(0..4) {
            let space = self.pick(&[" ", "", "\n    ", "\t", " \n\t "]);
            self.text.push_str(&space);
            if is_mapping && !self.one_in(8) {
                let colon = self.pick(&[": ", ": ", ": ", ":"]);
                let _ = write!(self.text, "f{number}{colon}");
            }
            if depth > 0 && self.one_in(4) {
                self.flow(depth - 1);
            } else {
                self.scalar();
            }
            let comma = self.pick(&[",", ",", ", ", " , ", ""]);
            self.text.push_str(&comma);
        }
        self.text.push(if is_mapping { '}' } else { ']' });
    }

    /// Puts odd characters in, or takes some out, now and then.
    fn mutate(&mut self) {
        let mut text: Vec<char> = self.text.chars().collect();
        while self.one_in(3) {
            let place = self.random.random_range(0..=text.len());
            if self.one_in(3) && place < text.len() {
                text.remove(place);
            } else {
                text.insert(place, *ODD.choose(&mut self.random).expect("no list here is empty"));
            }
        }
        self.text = text.into_iter().collect();
    }
}

/// What kubectl makes of a text, without its head; none if it refuses it.
fn by_kubectl(text: &str) -> anyhow::Result<Option<Value>> {
    let mut kubectl = Command::new("kubectl")
        .args(["label", "--local", "-f", "-", "is=odd", "-o", "json"])
        .env_remove("KUBECONFIG")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("cannot run kubectl")?;
    let mut input = kubectl.stdin.take().context("kubectl has no standard input")?;
    // One that has seen enough reads no further.
    let _ = input.write_all(text.as_bytes());
    drop(input);
    let output = kubectl.wait_with_output().context("cannot wait for kubectl")?;
    if !output.status.success() {
        return Ok(None);
    }
    let object: Value =
        serde_json::from_slice(&output.stdout).context("kubectl printed no JSON")?;
    Ok(Some(without_head(object)))
}

/// What netpol makes of it; an error if it refuses it.
fn by_netpol(text: &str) -> Result<Option<Value>, String> {
    let documents = Document::read_all(text).map_err(|error| error.to_string())?;
    let mut values = documents.into_iter().map(|document| document.value);
    let first = values.find(|value| !value.is_null());
    Ok(first.map(without_head))
}

fn without_head(mut object: Value) -> Value {
    for field in ["apiVersion", "kind", "metadata"] {
        if let Some(fields) = object.as_object_mut() {
            fields.remove(field);
        }
    }
    object
}

/// Whether two values are the same to an API server: kubectl prints large numbers in its own way.
fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one.as_f64() == other.as_f64(),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len()
                && one.iter().zip(other).all(|(one, other)| is_same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one
                    .iter()
                    .all(|(key, one)| other.get(key).is_some_and(|other| is_same(one, other)))
        }
        (one, other) => one == other,
    }
}

/// How the two differ about a text, if they do. That a field stands there twice, netpol refuses as the API
/// server does, where kubectl alone takes the last.
fn disagreement(text: &str) -> anyhow::Result<Option<String>> {
    let kubectl = by_kubectl(text)?;
    Ok(match (by_netpol(text), kubectl) {
        (Err(said), _) if said.starts_with("duplicate mapping key") => None,
        (Err(_), None) => None,
        (Ok(Some(netpol)), Some(kubectl)) if is_same(&netpol, &kubectl) => None,
        (Ok(netpol), kubectl) => {
            let [netpol, kubectl] = [netpol, kubectl].map(|value| match value {
                Some(value) => value.to_string(),
                None => "nothing".to_owned(),
            });
            Some(format!("netpol: {netpol}\nkubectl: {kubectl}"))
        }
        (Err(said), Some(kubectl)) => Some(format!("netpol: {said}\nkubectl: {kubectl}")),
    })
}

fn main() -> anyhow::Result<ExitCode> {
    let Cli { count, seed } = Cli::parse();
    let first = seed.unwrap_or_else(|| rand::random::<u32>().into());
    println!("documents {first} to {}", first.saturating_add(u64::from(count)));
    let (next, differing) = (AtomicU32::new(0), AtomicU32::new(0));
    let failed = Mutex::new(None);
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return;
                    }
                    let seed = first.saturating_add(u64::from(number));
                    let text = Draft::of(seed);
                    match disagreement(&format!("{HEAD}{text}")) {
                        Ok(None) => {}
                        Ok(Some(said)) => {
                            differing.fetch_add(1, Ordering::Relaxed);
                            println!("--seed {seed} --count 1: {text:?}\n{said}\n");
                        }
                        Err(error) => {
                            next.store(count, Ordering::Relaxed);
                            *failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner) =
                                Some(error);
                            return;
                        }
                    }
                }
            });
        }
    });
    if let Some(error) = failed.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner) {
        return Err(error);
    }
    let differing = differing.into_inner();
    println!("{differing} of {count} documents are read differently");
    Ok(if differing == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
