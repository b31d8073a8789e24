//! `netpol describe`.

use std::ffi::{OsStr, OsString};
use std::io::ErrorKind;
use std::path::Path;

use anyhow::anyhow;
use clap::Args;
use netpol::describe::named::{Found, PolicyNameError, find};
use netpol::describe::{Describer, general};
use netpol::ends::kind_of;
use netpol::read::{Input, Manifests};

use super::sources::{How, Paths};
use super::{Failure, say_sentences, say_warning};

/// Say in sentences what a policy means: whom it selects, what it lets in and out
///
/// Each rule is told with the line where it is written, and, as far as the inputs show pods or workloads, with
/// those whom it is about at the moment. POLICY is [NAMESPACE/]NAME, or as kubectl takes it
/// (networkpolicy/hello, networkpolicy hello); without any, all policies are described. What is a file or a folder is
/// a PATH; what is none is the name of a policy.
///
/// Example: netpol describe manifests/hello-app manifests/network-policy.yaml
#[derive(Debug, Args)]
#[command(override_usage = "netpol describe [OPTIONS] [POLICY]... [[NAMESPACE=]PATH]...")]
pub(super) struct Describe {
    /// Names of policies; and files, folders, or - for standard input (NAMESPACE=PATH for what names no
    /// namespace)
    #[arg(value_name = "[POLICY]... PATH")]
    policies_and_paths: Vec<OsString>,

    #[command(flatten)]
    how: How,
}

impl Describe {
    pub(super) fn run(self) -> Result<(), Failure> {
        let bad = Failure::BadArgument;
        let (paths, names): (Vec<_>, Vec<_>) =
            self.policies_and_paths.into_iter().partition(|text| is_path(text));
        let mut names: Vec<String> =
            names.into_iter().map(|name| name.to_string_lossy().into_owned()).collect();
        if paths.is_empty() && !names.is_empty() && !self.how.is_of_cluster(true) {
            let names: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
            return Err(bad(anyhow!(
                "{}: no such file or folder; after the names of policies give a PATH to read them from, - for \
                 standard input, or --cluster",
                names.join(", ")
            )));
        }
        let inputs = paths.clone();
        let paths: Paths = paths.into_iter().collect();
        let what = paths.to_string();
        let (manifests, namespace) = self.how.read(paths)?;
        if manifests.cluster.policies().is_empty() && manifests.cluster.foreign().is_empty() {
            return Err(bad(anyhow!("{what}: there is no NetworkPolicy: {}", instead(&manifests))));
        }
        for input in &inputs {
            warn_of(input, &manifests, &namespace);
        }
        names.retain(|name| !is_word(name, &manifests, &namespace));
        let mut wanted = Vec::new();
        let mut foreign = Vec::new();
        for name in &names {
            match find(&manifests.cluster, &namespace, name).map_err(|error| bad(no_such(error)))? {
                Found::Policy(index) if wanted.contains(&index) => {}
                Found::Policy(index) => wanted.push(index),
                Found::Foreign(policy) => foreign.push(policy.to_string()),
            }
        }
        if names.is_empty() {
            wanted = (0..manifests.cluster.policies().len()).collect();
        }
        let describer = Describer::new(&manifests);
        let descriptions: Vec<_> =
            wanted.into_iter().filter_map(|index| describer.describe(index)).collect();
        for description in &descriptions {
            say_sentences(&description.to_string())?;
        }
        say_sentences(general(&manifests, &descriptions).to_string().trim_end())?;
        if descriptions.is_empty() || !foreign.is_empty() {
            return Err(Failure::Unknown(anyhow!(
                "policies that are not modelled, or cannot be seen, cannot be described"
            )));
        }
        Ok(())
    }
}

/// Whether `text` is where something is read from: it is there, or no policy can be called so.
fn is_path(text: &OsStr) -> bool {
    let Some(name) = text.to_str() else { return true };
    if name == "-" || name.contains('=') || name.starts_with(['.', '/']) {
        return true;
    }
    let Input { path, .. } = Input::new(text);
    let is_missing = |path: &Path| {
        let metadata = path.symlink_metadata();
        metadata.is_err_and(|error| {
            matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
        })
    };
    !is_missing(&path)
}

/// Whether `name` is the kind alone, as in `kubectl describe networkpolicy hello`.
fn is_word(name: &str, manifests: &Manifests, namespace: &str) -> bool {
    kind_of(name) == Some("NetworkPolicy") && find(&manifests.cluster, namespace, name).is_err()
}

/// Tells of a path that a policy is called like, or of which nothing is read: a policy may have been meant.
fn warn_of(path: &OsStr, manifests: &Manifests, namespace: &str) {
    let Some(text) = path.to_str() else { return };
    match find(&manifests.cluster, namespace, text) {
        Ok(_) => say_warning(&format_args!(
            "{text:?} is read, as it is a path here; the policy of this name is netpol/{text}"
        )),
        Err(PolicyNameError::NoSuchPolicy { hint, .. })
            if !text.contains(['/', '=']) && Path::new(text).is_dir() =>
        {
            // To look twice costs nothing where there is nothing.
            let inputs = [Input::new(text)];
            if netpol::read::manifests(&inputs, std::io::empty()).is_ok_and(|read| read.is_empty())
            {
                say_warning(&format_args!(
                    "{text:?} is read, as it is a folder here, and has nothing of Kubernetes in it; no \
                     policy is called so{hint}"
                ));
            }
        }
        Err(_) => {}
    }
}

/// The same error, for who may have meant a path.
fn no_such(error: PolicyNameError) -> anyhow::Error {
    match error {
        PolicyNameError::NoSuchPolicy { text, hint } => {
            anyhow!("{text:?}: no such policy, and no such file or folder{hint}")
        }
        other => other.into(),
    }
}

/// What there is, where there is no policy.
fn instead(manifests: &Manifests) -> String {
    match manifests.cluster.pods().len() {
        0 if manifests.is_empty() => "there is no object of Kubernetes at all".to_owned(),
        0 => "there is nothing that has pods either".to_owned(),
        1 => "the pod or workload that there is may be reached by everyone, and reach everyone"
            .to_owned(),
        pods => {
            format!("the {pods} pods and workloads may be reached by everyone, and reach everyone")
        }
    }
}
