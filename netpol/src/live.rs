//! What a cluster holds, asked by kubectl: so every login that kubectl knows works, and nothing is seen that
//! its user may not see.

use std::collections::BTreeSet;
use std::io;
use std::panic::resume_unwind;
use std::sync::{Mutex, PoisonError};
use std::thread;

use serde_json::Value;

use crate::cluster::{ForeignPolicy, NAMESPACE_NAME_LABEL};
use crate::policy::{Direction, Namespaces, Peer, Peers, Policy};
use crate::read::{Manifests, kind_is_policy};

/// What is asked for, beside policies of kinds that are not modelled: as kubectl names it. What makes pods
/// is there for those that have none just now.
const RESOURCES: [&str; 11] = [
    NAMESPACES,
    PODS,
    "services",
    SLICES,
    ENDPOINTS,
    POLICIES,
    "deployments.apps",
    "statefulsets.apps",
    "daemonsets.apps",
    "jobs.batch",
    "cronjobs.batch",
];

const NAMESPACES: &str = "namespaces";
const PODS: &str = "pods";
const SLICES: &str = "endpointslices.discovery.k8s.io";
/// What slices are made of too, and so asked for only where there are none.
const ENDPOINTS: &str = "endpoints";
const POLICIES: &str = "networkpolicies.networking.k8s.io";
const POLICY: &str = "NetworkPolicy.networking.k8s.io";

/// What a run of kubectl printed.
#[derive(Clone, Debug, Default)]
pub struct Printed {
    /// Whether it ended well.
    pub is_success: bool,
    /// To its standard output.
    pub output: String,
    /// To its standard error.
    pub errors: String,
}

/// Runs kubectl with these arguments, and waits for its end. Several are run side by side.
pub type Kubectl<'k> = dyn Fn(&[&str]) -> io::Result<Printed> + Sync + 'k;

/// So many run side by side: enough not to wait for each answer, few enough for an API server's limits.
const AT_ONCE: usize = 8;

/// Why nothing can be said of the cluster.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// kubectl cannot be run.
    #[error("cannot run kubectl, which asks the cluster: is it installed?")]
    Run(#[source] io::Error),
    /// It does not reach the cluster, or is not let in.
    #[error("kubectl {arguments}: {said}")]
    Failed {
        /// What it was run with.
        arguments: String,
        /// The last line of what it said.
        said: String,
    },
    /// It has not what every Kubernetes has.
    #[error("the cluster serves no {0}")]
    NotServed(&'static str),
    /// It printed something else than JSON.
    #[error("kubectl {arguments} printed no JSON")]
    NoJson {
        /// What it was run with.
        arguments: String,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
}

/// What a cluster holds, as far as it may be seen.
#[derive(Clone, Debug, Default)]
pub struct Live {
    /// Objects, and lists of some.
    pub objects: Vec<Value>,
    /// Policies of which it is not known whether there are any.
    pub hidden: Vec<ForeignPolicy>,
    /// Whether all namespaces are known, and their labels.
    pub has_all_namespaces: bool,
    /// Whether all endpoints are known that Services have.
    pub has_all_endpoints: bool,
    /// What else could not be seen, a line each.
    pub unseen: Vec<String>,
}

/// The namespace of kubectl's context: where an object is that names none.
pub fn namespace(kubectl: &Kubectl<'_>) -> Result<String, LiveError> {
    let found = run(kubectl, &["config", "view", "--minify", "--output=jsonpath={..namespace}"])?;
    // Without a context kubectl asks the cluster that it runs in, or says itself what is missing.
    let name = if found.is_success { found.output.trim() } else { "" };
    Ok(if name.is_empty() { "default" } else { name }.to_owned())
}

/// Asks for all that decides who may reach whom. `namespace` is that of kubectl's context: where nothing
/// may be seen of the whole cluster and namespaces cannot be listed, something may be seen there.
pub fn ask(kubectl: &Kubectl<'_>, namespace: &str) -> Result<Live, LiveError> {
    let Served { resources, foreign, said } = served(kubectl)?;
    let mut live = Live { has_all_namespaces: true, ..Live::default() };
    live.unseen.extend(said);
    let names = RESOURCES.into_iter().filter(|name| {
        resources.contains(*name) && (*name != ENDPOINTS || !resources.contains(SLICES))
    });
    let names: Vec<&str> = names.chain(foreign.iter().map(|kind| kind.resource.as_str())).collect();
    if let Some(missing) = [NAMESPACES, PODS, POLICIES].iter().find(|name| !names.contains(*name)) {
        return Err(LiveError::NotServed(missing));
    }
    let all = names.join(",");
    let printed = run(kubectl, &["get", &all, "--all-namespaces", "--output=json"])?;
    if printed.is_success {
        live.objects.push(json(&printed, &["get", &all])?);
        live.has_all_endpoints = names.iter().any(|name| [SLICES, ENDPOINTS].contains(name));
        return Ok(live);
    }
    if !is_forbidden(&printed) {
        return Err(failed(&printed, &["get", &all]));
    }
    let lists = side_by_side(&names, |name| list(kubectl, name, None));
    let mut forbidden = Vec::new();
    for (name, list) in names.into_iter().zip(lists) {
        match list? {
            Some(list) => live.objects.push(list),
            None => forbidden.push(name),
        }
    }
    let mut namespaces = BTreeSet::from([namespace.to_owned()]);
    if forbidden.contains(&NAMESPACES) {
        live.has_all_namespaces = false;
        live.unseen.push(format!(
            "kubectl may not list namespaces: only {namespace}, that of its context, is looked at"
        ));
    } else {
        // They are asked for first.
        let names = live.objects[0]["items"].as_array().into_iter().flatten();
        let names = names.filter_map(|one| one["metadata"]["name"].as_str());
        namespaces = names.map(str::to_owned).collect();
    }
    let mut parts = Vec::new();
    for name in forbidden.into_iter().filter(|name| *name != NAMESPACES) {
        let kind = foreign.iter().find(|kind| kind.resource == name);
        if kind.is_none_or(|kind| kind.is_namespaced) {
            parts.extend(namespaces.iter().map(|place| (name, kind, Some(place.as_str()))));
        } else {
            parts.push((name, kind, None));
        }
    }
    let lists = side_by_side(&parts, |(name, _, place)| match place {
        Some(_) => list(kubectl, name, *place),
        None => Ok(None),
    });
    for ((name, kind, place), list) in parts.into_iter().zip(lists) {
        if let Some(list) = list? {
            live.objects.push(list);
            continue;
        }
        let of = place.map_or_else(|| "the cluster".to_owned(), |name| format!("namespace {name}"));
        match kind {
            Some(kind) => live.hide(&kind.kind, place),
            None if name == POLICIES => live.hide(POLICY, place),
            None => live.unseen.push(format!("kubectl may not list {name} of {of}")),
        }
    }
    Ok(live)
}

impl Live {
    /// Adds to what was read from the objects what may be there and is not seen: where the labels of
    /// namespaces are not known, also whatever policies with a selector for these decide.
    pub fn hide_in(&self, manifests: &mut Manifests) {
        self.hidden.iter().for_each(|policy| manifests.hide(policy.clone()));
        if self.has_all_endpoints {
            manifests.cluster.know_all_endpoints();
        }
        if self.has_all_namespaces {
            return;
        }
        let by_label = |policy: &&Policy| {
            Direction::BOTH.iter().any(|direction| {
                let rules = policy.rules(*direction).unwrap_or_default();
                rules.iter().any(|rule| selects_namespaces(&rule.peers))
            })
        };
        let policies = manifests.cluster.policies().iter().filter(by_label);
        let namespaces: BTreeSet<_> = policies.map(|policy| policy.namespace.clone()).collect();
        for namespace in namespaces {
            manifests.hide(hidden(POLICY, Some(&namespace)));
        }
    }

    fn hide(&mut self, kind: &str, namespace: Option<&str>) {
        self.hidden.push(hidden(kind, namespace));
    }
}

fn hidden(kind: &str, namespace: Option<&str>) -> ForeignPolicy {
    ForeignPolicy {
        kind: kind.to_owned(),
        namespace: namespace.map(str::to_owned),
        name: String::new(),
        is_hidden: true,
    }
}

/// Whether one of the peers is in namespaces with some label beside that of their name.
fn selects_namespaces(peers: &Peers) -> bool {
    let Peers::Any(peers) = peers else { return false };
    peers.iter().any(|peer| match peer {
        Peer::Pods { namespaces: Namespaces::Matching(selector), .. } => {
            selector.requirements().iter().any(|one| one.key != NAMESPACE_NAME_LABEL)
        }
        Peer::Pods { .. } | Peer::Block { .. } => false,
    })
}

/// A kind of policies that is not modelled.
struct ForeignKind {
    /// As kubectl names it: `PLURAL.GROUP`.
    resource: String,
    /// `KIND.GROUP`.
    kind: String,
    is_namespaced: bool,
}

/// What a cluster has.
struct Served {
    /// Each as `PLURAL` or `PLURAL.GROUP`.
    resources: BTreeSet<String>,
    /// Those that are policies and not modelled.
    foreign: Vec<ForeignKind>,
    /// What kubectl said if it could not ask for all.
    said: Option<String>,
}

fn served(kubectl: &Kubectl<'_>) -> Result<Served, LiveError> {
    const ARGUMENTS: [&str; 3] = ["api-resources", "--verbs=list", "--no-headers"];
    let printed = run(kubectl, &ARGUMENTS)?;
    // A group whose server is down (a broken metrics server) leaves out that group alone.
    if !printed.is_success && printed.output.trim().is_empty() {
        return Err(failed(&printed, &ARGUMENTS));
    }
    let said = (!printed.is_success)
        .then(|| format!("kubectl api-resources: {}", last_line(&printed.errors)));
    let (mut resources, mut foreign) = (BTreeSet::new(), Vec::new());
    for line in printed.output.lines() {
        // Name, short names (or nothing), version, whether in namespaces, kind.
        let columns: Vec<&str> = line.split_whitespace().collect();
        let [name, .., version, is_namespaced, kind] = columns.as_slice() else { continue };
        let Some((group, _)) = version.split_once('/') else {
            resources.insert((*name).to_owned());
            continue;
        };
        let resource = format!("{name}.{group}");
        if kind_is_policy(version, kind) {
            foreign.push(ForeignKind {
                resource: resource.clone(),
                kind: format!("{kind}.{group}"),
                is_namespaced: *is_namespaced == "true",
            });
        }
        resources.insert(resource);
    }
    Ok(Served { resources, foreign, said })
}

/// The objects of a resource; `None` where kubectl may not list them.
fn list(
    kubectl: &Kubectl<'_>,
    resource: &str,
    namespace: Option<&str>,
) -> Result<Option<Value>, LiveError> {
    let place = match namespace {
        Some(namespace) => format!("--namespace={namespace}"),
        None => "--all-namespaces".to_owned(),
    };
    let arguments = ["get", resource, &place, "--output=json"];
    let printed = run(kubectl, &arguments)?;
    if printed.is_success {
        return json(&printed, &arguments).map(Some);
    }
    if is_forbidden(&printed) { Ok(None) } else { Err(failed(&printed, &arguments)) }
}

/// What `work` makes of each of `jobs`, in their order: at most [`AT_ONCE`] are done side by side.
fn side_by_side<J: Sync, R: Send>(jobs: &[J], work: impl Fn(&J) -> R + Sync) -> Vec<R> {
    let rest = Mutex::new(jobs.iter().enumerate());
    let next = || rest.lock().unwrap_or_else(PoisonError::into_inner).next();
    let worker = || {
        let done = std::iter::from_fn(&next).map(|(place, job)| (place, work(job)));
        done.collect::<Vec<_>>()
    };
    let mut done: Vec<(usize, R)> = thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_ONCE.min(jobs.len())).map(|_| scope.spawn(worker)).collect();
        let done = workers.into_iter().map(thread::ScopedJoinHandle::join);
        done.flat_map(|done| done.unwrap_or_else(|panic| resume_unwind(panic))).collect()
    });
    done.sort_unstable_by_key(|(place, _)| *place);
    done.into_iter().map(|(_, result)| result).collect()
}

fn run(kubectl: &Kubectl<'_>, arguments: &[&str]) -> Result<Printed, LiveError> {
    kubectl(arguments).map_err(LiveError::Run)
}

fn json(printed: &Printed, arguments: &[&str]) -> Result<Value, LiveError> {
    serde_json::from_str(&printed.output)
        .map_err(|source| LiveError::NoJson { arguments: arguments.join(" "), source })
}

fn failed(printed: &Printed, arguments: &[&str]) -> LiveError {
    let said = last_line(&printed.errors).to_owned();
    LiveError::Failed { arguments: arguments.join(" "), said }
}

fn last_line(text: &str) -> &str {
    text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it ended with an error").trim()
}

/// As the API server says it, and kubectl prints it: `Error from server (Forbidden): …`.
fn is_forbidden(printed: &Printed) -> bool {
    let errors: Vec<&str> = printed.errors.lines().filter(|line| line.contains("rror")).collect();
    !errors.is_empty() && errors.iter().all(|line| line.contains("(Forbidden)"))
}

#[cfg(test)]
mod tests;
