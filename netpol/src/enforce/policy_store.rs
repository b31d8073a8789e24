//! The policies that an enforcer holds: kubectl's `apply` and `delete`, and a file that keeps
//! them over a restart.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::{Deserialize, Serialize};

use crate::names::NamespacedName;
use crate::policy::Policy;
use crate::validate;

/// What became of a policy, in kubectl's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// It is new.
    Created,
    /// It was there and has changed.
    Configured,
    /// It was there just so.
    Unchanged,
    /// It is gone.
    Deleted,
}

impl fmt::Display for Change {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Created => "created",
            Self::Configured => "configured",
            Self::Unchanged => "unchanged",
            Self::Deleted => "deleted",
        })
    }
}

/// Why policies cannot be changed. Then none is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// The API server would refuse it.
    #[error("The NetworkPolicy {name:?} is invalid: {fault}")]
    Invalid {
        /// Which policy.
        name: String,
        /// What is wrong with it.
        fault: String,
    },
    /// It is not there.
    #[error("networkpolicies.networking.k8s.io {0:?} not found")]
    NotFound(String),
}

/// Why the policies of before a restart cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the policies in {}", path.display())]
pub struct FileError {
    path: PathBuf,
    #[source]
    cause: io::Error,
}

/// Policies, each as it was written and as what it means.
#[derive(Clone, Debug, Default)]
pub struct PolicyStore(BTreeMap<NamespacedName, (NetworkPolicy, Policy)>);

impl PolicyStore {
    /// Creates or replaces policies: all of them, or with an error none.
    pub fn apply(
        &mut self,
        objects: Vec<NetworkPolicy>,
        now: Timestamp,
    ) -> Result<Vec<(NamespacedName, Change)>, ChangeError> {
        let mut policies = self.clone();
        let changes = objects.into_iter().map(|object| policies.apply_one(object, now));
        let changes = changes.collect::<Result<_, _>>()?;
        *self = policies;
        Ok(changes)
    }

    fn apply_one(
        &mut self,
        mut object: NetworkPolicy,
        now: Timestamp,
    ) -> Result<(NamespacedName, Change), ChangeError> {
        let policy = validate::policy(&object).map_err(|errors| ChangeError::Invalid {
            name: object.metadata.name.clone().unwrap_or_default(),
            fault: errors.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        })?;
        let name =
            NamespacedName { namespace: policy.namespace.clone(), name: policy.name.clone() };
        object.metadata.namespace = Some(name.namespace.clone());
        let change = if let Some((there, _)) = self.0.get(&name) {
            object.metadata.creation_timestamp.clone_from(&there.metadata.creation_timestamp);
            if *there == object { Change::Unchanged } else { Change::Configured }
        } else {
            object.metadata.creation_timestamp = Some(Time(now));
            Change::Created
        };
        self.0.insert(name.clone(), (object, policy));
        Ok((name, change))
    }

    /// Deletes policies: all of them, or with an error none.
    pub fn delete(
        &mut self,
        names: Vec<NamespacedName>,
    ) -> Result<Vec<(NamespacedName, Change)>, ChangeError> {
        if let Some(missing) = names.iter().find(|name| !self.0.contains_key(name)) {
            return Err(ChangeError::NotFound(missing.name.clone()));
        }
        Ok(names
            .into_iter()
            .map(|name| {
                self.0.remove(&name);
                (name, Change::Deleted)
            })
            .collect())
    }

    /// The policies as they were written, sorted by namespace and name.
    pub fn objects(&self) -> impl Iterator<Item = &NetworkPolicy> {
        self.0.values().map(|(object, _)| object)
    }

    /// What the policies mean, in the same order.
    pub fn meanings(&self) -> impl Iterator<Item = &Policy> {
        self.0.values().map(|(_, policy)| policy)
    }

    /// Reads what [`PolicyStore::save`] wrote; none where there is no file.
    pub fn load(path: &Path) -> Result<Option<Self>, FileError> {
        let at = |cause| FileError { path: path.to_owned(), cause };
        let text = match fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text.map_err(at)?,
        };
        let objects: Vec<NetworkPolicy> =
            serde_json::from_str(&text).map_err(io::Error::from).map_err(at)?;
        let mut policies = Self::default();
        for object in objects {
            let created = object.metadata.creation_timestamp.as_ref();
            let created = created.map_or(Timestamp::UNIX_EPOCH, |time| time.0);
            policies.apply_one(object, created).map_err(io::Error::other).map_err(at)?;
        }
        Ok(Some(policies))
    }

    /// Writes them to a file that only its owner can read, whole or not at all.
    pub fn save(&self, path: &Path) -> Result<(), FileError> {
        let at = |cause| FileError { path: path.to_owned(), cause };
        let objects: Vec<&NetworkPolicy> = self.objects().collect();
        let text = serde_json::to_vec(&objects).map_err(io::Error::from).map_err(at)?;
        let new = path.with_extension("new");
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(&new).map_err(at)?;
        file.write_all(&text).and_then(|()| file.sync_all()).map_err(at)?;
        fs::rename(&new, path).map_err(at)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use serde_json::{Value, json};

    use super::*;

    fn object(name: &str, spec: Value) -> NetworkPolicy {
        serde_json::from_value(json!({"metadata": {"name": name}, "spec": spec})).unwrap()
    }

    fn name(name: &str) -> NamespacedName {
        NamespacedName { namespace: "default".into(), name: name.into() }
    }

    fn change(policies: &mut PolicyStore, object: NetworkPolicy) -> Change {
        policies.apply(vec![object], Timestamp::UNIX_EPOCH).unwrap()[0].1
    }

    #[test]
    fn changes_are_named_in_kubectls_words() {
        let mut policies = PolicyStore::default();
        assert_eq!(change(&mut policies, object("a", json!({}))), Change::Created);
        assert_eq!(change(&mut policies, object("a", json!({}))), Change::Unchanged);
        let other = json!({"ingress": [{}]});
        assert_eq!(change(&mut policies, object("a", other)), Change::Configured);
        assert_eq!(policies.delete(vec![name("a")]).unwrap(), [(name("a"), Change::Deleted)]);
        let error = policies.delete(vec![name("a")]).unwrap_err().to_string();
        assert_eq!(error, r#"networkpolicies.networking.k8s.io "a" not found"#);
    }

    #[test]
    fn with_one_bad_policy_none_changes() {
        let mut policies = PolicyStore::default();
        let bad = object("b", json!({"policyTypes": ["Both"]}));
        let both = vec![object("a", json!({})), bad];
        let error = policies.apply(both, Timestamp::UNIX_EPOCH).unwrap_err().to_string();
        assert!(
            error.starts_with(r#"The NetworkPolicy "b" is invalid: spec.policyTypes"#),
            "{error}"
        );
        assert_eq!(policies.objects().count(), 0);
        change(&mut policies, object("a", json!({})));
        assert!(policies.delete(vec![name("a"), name("b")]).is_err());
        assert_eq!(policies.objects().count(), 1);
    }

    #[test]
    fn a_file_keeps_them_for_their_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("policies.json");
        assert!(PolicyStore::load(&file).unwrap().is_none());
        let mut policies = PolicyStore::default();
        let now = Timestamp::from_second(1_700_000_000).unwrap();
        policies.apply(vec![object("a", json!({"ingress": [{}]}))], now).unwrap();
        policies.save(&file).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        let loaded = PolicyStore::load(&file).unwrap().unwrap();
        assert!(
            loaded.objects().eq(policies.objects()) && loaded.meanings().eq(policies.meanings())
        );
    }

    #[test]
    fn a_file_of_something_else_is_not_taken_for_no_policies() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("policies.json");
        fs::write(&file, "{").unwrap();
        assert!(PolicyStore::load(&file).is_err());
    }
}
