//! A pod's volumes: file systems in memory, one for each, that the lab makes and fills, and the pod's shim
//! mounts. All that a pod's volumes hold is gone with the pod.

mod atomic_writer;
mod content;
mod memory;
mod message;
pub(super) mod unsupported;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use hello_common::error::Chain;
use k8s_openapi::api::core::v1::{Container, EmptyDirVolumeSource, Volume, VolumeMount};
use serde_json::Value;

use self::content::{Files, Sources};
use super::environment::{self, EnvironmentError};
use super::identity::{User, identity};
use super::messages::{self, Messages};
use super::pod::{Running, containers};
use crate::objects::Kind;
use crate::objects::events::Severity;
use crate::objects::validation::quantity;
use crate::shim::{Mount, absolute};

/// Who may do what in the root folder of a volume that shows objects.
const OF_OBJECTS: &[(&str, &str)] = &[("mode", "0755"), ("size", "64m")];

/// How much an emptyDir without a limit may hold: it is in memory.
const SIZE: &str = "25%";

/// How many files an emptyDir may have.
const FILES: &str = "100k";

/// What the kinds of objects are that volumes show.
const SHOWN: [Kind; 2] = [Kind::ConfigMap, Kind::Secret];

/// A pod's volumes, filled.
#[derive(Default)]
pub(super) struct Volumes(Vec<Filled>);

struct Filled {
    file_system: OwnedFd,
    owner: Option<User>,
    /// What was last written.
    files: Option<Files>,
}

/// Between tries to make a volume, which may fail for what is on the machine.
const PERIOD: Duration = Duration::from_secs(5);

/// Makes the volumes of a pod, once all that they show is there. Does not end before; may be dropped.
pub(super) async fn make(running: &Running) -> Volumes {
    let store = &running.surroundings.store;
    let mut told = String::new();
    loop {
        let version = store.version();
        let sources = Sources { store, pod: &running.pod };
        let message = match Volumes::new(running, &sources) {
            Ok(volumes) => return volumes,
            Err(message) => message,
        };
        if message != told {
            running.tell(Severity::Warning, "FailedMount", &message);
            told = message;
        }
        let _ = tokio::time::timeout(PERIOD, store.changed(version, &SHOWN)).await;
    }
}

fn volumes(running: &Running) -> &[Volume] {
    running.spec().volumes.as_deref().unwrap_or_default()
}

fn failed(volume: &str, error: &impl std::fmt::Display) -> String {
    format!("MountVolume.SetUp failed for volume {volume:?} : {error}")
}

impl Volumes {
    /// Those of a pod, or what the kubelet says of the first that cannot be made.
    fn new(running: &Running, sources: &Sources<'_>) -> Result<Self, String> {
        let made = volumes(running).iter().map(|volume| {
            let name = &volume.name;
            let files = sources.files(volume).map_err(|error| failed(name, &error))?;
            let made = Filled::new(volume.empty_dir.as_ref(), owner(running, name), files);
            made.map_err(|error| failed(name, &Chain(&error)))
        });
        let mut made = made.collect::<Result<Vec<_>, _>>()?;
        for (container, place) in message::wanted(running.spec()) {
            let message = Filled::for_message(&running.messages, container);
            made.push(message.map_err(|error| failed(place, &Chain(&error)))?);
        }
        Ok(Self(made))
    }

    /// The open file systems.
    pub(super) fn file_systems(&self) -> impl Iterator<Item = &OwnedFd> {
        self.0.iter().map(|volume| &volume.file_system)
    }

    /// Keeps what they show as the store has it, for as long as this runs. What is missing later stays as it
    /// was last.
    pub(super) async fn follow(&mut self, running: &Running) {
        let store = &running.surroundings.store;
        let fields = volumes(running).iter().any(shows_fields);
        if self.0.iter().all(|volume| volume.files.is_none()) {
            return std::future::pending().await;
        }
        let kinds = [SHOWN.as_slice(), if fields { &[Kind::Pod] } else { &[] }].concat();
        let mut told: BTreeMap<&str, String> = BTreeMap::new();
        loop {
            let version = store.version();
            let now = store.get(&running.pod.key()).ok();
            let pod = now.as_ref().filter(|now| now.uid() == running.pod.uid());
            let sources = Sources { store, pod: pod.unwrap_or(&running.pod) };
            for (volume, filled) in volumes(running).iter().zip(&mut self.0) {
                let fault = match sources.files(volume).map(|files| filled.update(files)) {
                    Ok(Ok(())) => {
                        told.remove(volume.name.as_str());
                        continue;
                    }
                    Ok(Err(error)) => failed(&volume.name, &Chain(&error)),
                    Err(error) => failed(&volume.name, &error),
                };
                if told.get(volume.name.as_str()) != Some(&fault) {
                    running.tell(Severity::Warning, "FailedMount", &fault);
                    told.insert(&volume.name, fault);
                }
            }
            store.changed(version, &kinds).await;
        }
    }
}

impl Filled {
    fn new(
        empty: Option<&EmptyDirVolumeSource>,
        owner: Option<User>,
        files: Option<Files>,
    ) -> io::Result<Self> {
        let file_system = if files.is_some() {
            memory::file_system(OF_OBJECTS)?
        } else {
            let size = size(empty);
            let options = [("mode", "0777"), ("nr_inodes", FILES), ("size", size.as_str())];
            memory::file_system(&options)?
        };
        let mut filled = Self { file_system, owner, files: None };
        filled.update(files)?;
        Ok(filled)
    }

    /// The file system with the file in which a container leaves its message.
    fn for_message(messages: &Messages, container: &str) -> io::Result<Self> {
        let file_system = memory::file_system(&[("mode", "0755"), ("size", message::SIZE)])?;
        let filled = Self { file_system, owner: None, files: None };
        messages.add(container, &filled.place())?;
        Ok(filled)
    }

    /// Writes what is not written yet.
    fn update(&mut self, files: Option<Files>) -> io::Result<()> {
        if let Some(new) = &files
            && self.files != files
        {
            atomic_writer::write(&self.place(), new, self.owner)?;
            self.files = files;
        }
        Ok(())
    }

    /// Where this process sees it.
    fn place(&self) -> PathBuf {
        Path::new("/proc/self/fd").join(self.file_system.as_raw_fd().to_string())
    }
}

/// How much an emptyDir may hold, in octets. Of a tmpfs(5) whose size is 0 everything might be taken.
fn size(empty: Option<&EmptyDirVolumeSource>) -> String {
    let limit = empty.and_then(|empty| empty.size_limit.as_ref());
    let limit = limit.and_then(|limit| quantity::amount(&Value::from(limit.0.as_str())));
    match limit.map(f64::ceil) {
        Some(octets) if octets > 0.0 => format!("{octets:.0}"),
        _ => SIZE.to_owned(),
    }
}

fn shows_fields(volume: &Volume) -> bool {
    let projected = volume.projected.iter().flat_map(|one| one.sources.iter().flatten());
    volume.downward_api.is_some() || projected.into_iter().any(|one| one.downward_api.is_some())
}

/// Whose the files of a volume are: its first container's that mounts it, for whom alone they are where
/// their mode says so. None where the lab's own user is every container's.
fn owner(running: &Running, volume: &str) -> Option<User> {
    let mounts = |container: &&Container| {
        container.volume_mounts.iter().flatten().any(|mount| mount.name == volume)
    };
    let container = containers(running.spec()).find(mounts)?;
    let images = &running.surroundings.images;
    let found = identity(container, running.spec(), images, running.surroundings.privileged);
    found.ok().and_then(|(_, user)| user)
}

/// How many file systems a pod mounts of its own: its volumes, and those of its containers' messages.
pub(super) fn count(running: &Running) -> usize {
    volumes(running).len() + message::wanted(running.spec()).count()
}

/// What each container of a pod mounts, by its name. `pod` is the pod as it is by now.
pub(super) fn mounts(
    running: &Running,
    pod: &environment::Surroundings<'_>,
) -> Result<BTreeMap<String, Vec<Mount>>, SubPathError> {
    let volumes = volumes(running);
    let mounts = |container: &Container| {
        let mounts = container.volume_mounts.iter().flatten();
        let mounts = mounts.filter_map(|mount| {
            let volume = volumes.iter().position(|volume| volume.name == mount.name)?;
            let sub_path = match sub_path(pod, container, mount) {
                Ok(sub_path) => sub_path.into(),
                Err(error) => return Some(Err(error)),
            };
            // As with a kubelet, what shows objects can only be read.
            let read_only = mount.read_only == Some(true) || volumes[volume].empty_dir.is_none();
            Some(Ok(Mount { volume, sub_path, place: mount.mount_path.clone().into(), read_only }))
        });
        Ok((container.name.clone(), mounts.collect::<Result<_, _>>()?))
    };
    let all = containers(running.spec()).map(mounts);
    let mut all: BTreeMap<String, Vec<Mount>> = all.collect::<Result<_, SubPathError>>()?;
    for (number, (container, place)) in message::wanted(running.spec()).enumerate() {
        let volume = volumes.len() + number;
        let (sub_path, place) = (messages::NAME.into(), place.into());
        let mount = Mount { volume, sub_path, place, read_only: false };
        all.entry(container.to_owned()).or_default().push(mount);
    }
    Ok(all)
}

/// Why a mount has no part of its volume: it may have one later. In the kubelet's words.
#[derive(Debug, thiserror::Error)]
pub(super) enum SubPathError {
    /// Its variables cannot be read.
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    /// It names a variable that there is not.
    #[error("missing value for {0:?}")]
    Missing(String),
    /// It leads out of the volume.
    #[error("subPath `{0}` must not be an absolute path")]
    Absolute(String),
    /// It may do so.
    #[error("unable to provision SubPath `{0}`: must not contain '..'")]
    Backsteps(String),
}

/// The part of a volume that a container mounts (`subPath`, `subPathExpr`); empty for all of it.
fn sub_path(
    pod: &environment::Surroundings<'_>,
    container: &Container,
    mount: &VolumeMount,
) -> Result<String, SubPathError> {
    let Some(text) = mount.sub_path_expr.as_deref().filter(|text| !text.is_empty()) else {
        return Ok(mount.sub_path.clone().unwrap_or_default());
    };
    let variables = pod.variables(container)?;
    let missing = RefCell::new(None);
    let path = environment::expand(text, |name| {
        let known = variables.iter().find(|(other, _)| other == name);
        if known.is_none() {
            missing.borrow_mut().get_or_insert_with(|| name.to_owned());
        }
        known.map(|(_, value)| value.clone())
    });
    if let Some(name) = missing.into_inner() {
        return Err(SubPathError::Missing(name));
    }
    if path.starts_with('/') {
        return Err(SubPathError::Absolute(path));
    }
    if path.split('/').any(|part| part == "..") {
        return Err(SubPathError::Backsteps(path));
    }
    Ok(path)
}

/// Where a container's volumes are mounted.
pub(super) fn places(container: &Container) -> Vec<PathBuf> {
    let mounts = container.volume_mounts.iter().flatten();
    mounts.map(|mount| absolute(Path::new(&mount.mount_path))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::objects::{Object, Store};

    #[test]
    fn a_part_of_a_volume_is_named_by_variables_and_stays_in_it() {
        let env = json!([{"name": "A", "value": "a"}, {"name": "UP", "value": "/tmp"}]);
        let container = serde_json::from_value(json!({"name": "c", "env": env})).unwrap();
        let pod = json!({"metadata": {"name": "p", "namespace": "n"}});
        let pod = Object::new(Kind::Pod, pod).unwrap();
        let store = Store::default();
        let pod = environment::Surroundings { store: &store, pod: &pod, addresses: Vec::new() };
        let part = |text: &str| {
            let mount = VolumeMount { sub_path_expr: Some(text.to_owned()), ..Default::default() };
            sub_path(&pod, &container, &mount).map_err(|error| error.to_string())
        };
        assert_eq!(part("x/$(A)").unwrap(), "x/a");
        assert!(part("$(B)").unwrap_err().contains("\"B\""));
        assert!(part("$(UP)").unwrap_err().contains("absolute"));
        assert!(part("$(A)/../..").unwrap_err().contains("'..'"));
    }

    #[test]
    fn an_empty_dir_has_the_size_of_its_limit_and_never_none() {
        for (empty, expected) in [
            (json!({"sizeLimit": "1Mi"}), "1048576"),
            (json!({"sizeLimit": "1.5k"}), "1500"),
            (json!({"sizeLimit": "0"}), SIZE),
            (json!({}), SIZE),
        ] {
            let empty = serde_json::from_value(empty).unwrap();
            assert_eq!(size(Some(&empty)), expected);
        }
        assert_eq!(size(None), SIZE);
    }
}
