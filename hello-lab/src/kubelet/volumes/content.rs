//! The files of a volume that shows objects: of `ConfigMaps`, of Secrets, of the pod's own fields, or of several
//! (`MakePayload` of pkg/volume/configmap and of its neighbours).

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{self as core, DownwardAPIVolumeFile, KeyToPath, Volume};

use super::super::references::{self, ObjectMissing};
use super::super::resources::{self, ResourceError};
use crate::objects::{Kind, Object, Store};

/// A volume's files by their paths in it.
pub(super) type Files = BTreeMap<String, File>;

/// A file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct File {
    /// What is in it.
    pub content: Vec<u8>,
    /// Who may read and execute it.
    pub mode: u32,
}

/// What a file's mode is where nobody says otherwise.
const DEFAULT_MODE: i32 = 0o644;

/// Why a volume has no content: it may have some later. In the kubelet's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ContentError {
    /// An object that is not there.
    #[error(transparent)]
    ObjectMissing(#[from] ObjectMissing),
    /// One without the key.
    #[error("{which}: {key}")]
    KeyMissing {
        /// What the kubelet says of it.
        which: &'static str,
        /// The key.
        key: String,
    },
    /// A container or a resource that the pod has not.
    #[error(transparent)]
    Resource(#[from] ResourceError),
    /// A field of the pod that no volume can show.
    #[error("unsupported fieldPath: {0}")]
    UnknownField(String),
    /// A path that leads out of the volume, or to nowhere.
    #[error("{0:?} is no path of a file in the volume")]
    BadPath(String),
}

/// Where the content of a pod's volumes comes from.
pub(super) struct Sources<'a> {
    pub(super) store: &'a Store,
    pub(super) pod: &'a Object,
}

/// Where keys and values are read from.
struct Source {
    kind: Kind,
    key_missing: &'static str,
    read: fn(&Object) -> BTreeMap<String, Vec<u8>>,
}

const CONFIG_MAP: Source = Source {
    kind: Kind::ConfigMap,
    key_missing: "configmap references non-existent config key",
    read: config_map,
};
const SECRET: Source =
    Source { kind: Kind::Secret, key_missing: "references non-existent secret key", read: secret };

fn config_map(map: &Object) -> BTreeMap<String, Vec<u8>> {
    let map = map.typed::<core::ConfigMap>();
    let texts = map.data.iter().flatten();
    let texts = texts.map(|(key, text)| (key.clone(), text.clone().into_bytes()));
    let binary = map.binary_data.iter().flatten();
    texts.chain(binary.map(|(key, bytes)| (key.clone(), bytes.0.clone()))).collect()
}

fn secret(secret: &Object) -> BTreeMap<String, Vec<u8>> {
    let data = secret.typed::<core::Secret>().data.iter().flatten();
    data.map(|(key, bytes)| (key.clone(), bytes.0.clone())).collect()
}

/// What a volume takes of an object.
struct Taken<'a> {
    name: &'a str,
    items: &'a [KeyToPath],
    optional: bool,
    mode: i32,
}

impl<'a> Taken<'a> {
    fn new(
        name: &'a str,
        items: Option<&'a Vec<KeyToPath>>,
        optional: Option<bool>,
        mode: i32,
    ) -> Self {
        let items = items.map_or(&[][..], Vec::as_slice);
        Self { name, items, optional: optional == Some(true), mode }
    }
}

impl Sources<'_> {
    /// The files of `volume`; none for one that shows no objects.
    pub(super) fn files(&self, volume: &Volume) -> Result<Option<Files>, ContentError> {
        let mut files = Files::new();
        let mode = |mode: Option<i32>| mode.unwrap_or(DEFAULT_MODE);
        if let Some(map) = &volume.config_map {
            let mode = mode(map.default_mode);
            let taken = Taken::new(&map.name, map.items.as_ref(), map.optional, mode);
            self.add(&CONFIG_MAP, &taken, &mut files)?;
        } else if let Some(secret) = &volume.secret {
            let name = secret.secret_name.as_deref().unwrap_or_default();
            let mode = mode(secret.default_mode);
            let taken = Taken::new(name, secret.items.as_ref(), secret.optional, mode);
            self.add(&SECRET, &taken, &mut files)?;
        } else if let Some(fields) = &volume.downward_api {
            self.add_fields(fields.items.as_deref(), mode(fields.default_mode), &mut files)?;
        } else if let Some(projected) = &volume.projected {
            let mode = mode(projected.default_mode);
            for source in projected.sources.iter().flatten() {
                if let Some(secret) = &source.secret {
                    let (items, optional) = (secret.items.as_ref(), secret.optional);
                    let taken = Taken::new(&secret.name, items, optional, mode);
                    self.add(&SECRET, &taken, &mut files)?;
                } else if let Some(map) = &source.config_map {
                    let taken = Taken::new(&map.name, map.items.as_ref(), map.optional, mode);
                    self.add(&CONFIG_MAP, &taken, &mut files)?;
                } else if let Some(fields) = &source.downward_api {
                    self.add_fields(fields.items.as_deref(), mode, &mut files)?;
                }
            }
        } else {
            return Ok(None);
        }
        Ok(Some(files))
    }

    fn add(
        &self,
        source: &Source,
        taken: &Taken<'_>,
        files: &mut Files,
    ) -> Result<(), ContentError> {
        let wanted = (source.kind, taken.name);
        let object = references::object(self.store, self.pod, wanted, taken.optional)?;
        let Some(object) = object else { return Ok(()) };
        let data = (source.read)(&object);
        if taken.items.is_empty() {
            for (key, content) in data {
                files.insert(path(&key)?, File { content, mode: bits(taken.mode) });
            }
            return Ok(());
        }
        for item in taken.items {
            match data.get(&item.key) {
                Some(content) => {
                    let mode = bits(item.mode.unwrap_or(taken.mode));
                    files.insert(path(&item.path)?, File { content: content.clone(), mode });
                }
                None if taken.optional => {}
                None => {
                    let (which, key) = (source.key_missing, item.key.clone());
                    return Err(ContentError::KeyMissing { which, key });
                }
            }
        }
        Ok(())
    }

    fn add_fields(
        &self,
        items: Option<&[DownwardAPIVolumeFile]>,
        mode: i32,
        files: &mut Files,
    ) -> Result<(), ContentError> {
        for item in items.into_iter().flatten() {
            let content = match &item.resource_field_ref {
                Some(selector) => resources::value(self.store, self.pod, None, selector)?,
                None => {
                    self.field(item.field_ref.as_ref().map_or("", |field| &field.field_path))?
                }
            };
            let content = content.into_bytes();
            let mode = bits(item.mode.unwrap_or(mode));
            files.insert(path(&item.path)?, File { content, mode });
        }
        Ok(())
    }

    /// A field of the pod (`ExtractFieldPathAsString` of pkg/fieldpath).
    fn field(&self, path: &str) -> Result<String, ContentError> {
        if let Some(text) = references::metadata(self.pod, path) {
            return Ok(text);
        }
        let map = match path {
            "metadata.labels" => "labels",
            "metadata.annotations" => "annotations",
            _ => return Err(ContentError::UnknownField(path.to_owned())),
        };
        let all = self.pod.value()["metadata"][map].as_object().into_iter().flatten();
        let lines: BTreeMap<_, _> =
            all.map(|(key, value)| (key, value.as_str().unwrap_or_default())).collect();
        let lines = lines.iter().map(|(key, value)| format!("{key}={}", quoted(value)));
        Ok(lines.collect::<Vec<_>>().join("\n"))
    }
}

/// A mode's permissions. Others are refused before.
fn bits(mode: i32) -> u32 {
    mode.cast_unsigned() & 0o777
}

/// A path in a volume, as short as it can be.
fn path(path: &str) -> Result<String, ContentError> {
    let parts: Vec<&str> = path.split('/').filter(|part| !["", "."].contains(part)).collect();
    let is_bad = path.starts_with('/')
        || parts.first().is_none_or(|first| first.starts_with(".."))
        || parts.contains(&"..");
    if is_bad { Err(ContentError::BadPath(path.to_owned())) } else { Ok(parts.join("/")) }
}

/// A text as Go's `%q` writes it.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for char in text.chars() {
        match char {
            '"' => quoted += "\\\"",
            '\\' => quoted += "\\\\",
            '\n' => quoted += "\\n",
            '\t' => quoted += "\\t",
            '\r' => quoted += "\\r",
            char if char.is_ascii_control() => {
                quoted.extend([format!("\\x{:02x}", u32::from(char))]);
            }
            char => quoted.push(char),
        }
    }
    quoted + "\""
}

#[cfg(test)]
mod tests;
