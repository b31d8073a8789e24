//! What pods ask of volumes that the lab does not have, by name.

use std::path::Path;

use k8s_openapi::api::core::v1::{Container, PodSpec, Volume};
use serde_json::Value;

use super::super::pod::containers;
use crate::shim::absolute;

/// The kinds of volume that there are.
const KINDS: [&str; 5] = ["emptyDir", "configMap", "secret", "downwardAPI", "projected"];

/// The sources of projected volumes that there are.
const SOURCES: [&str; 3] = ["configMap", "secret", "downwardAPI"];

/// What of it a pod is not run with, if there is any.
pub(in crate::kubelet) fn refusal(spec: &PodSpec) -> Option<String> {
    let volumes = spec.volumes.iter().flatten().find_map(of_volume);
    volumes.or_else(|| containers(spec).find_map(of_container)).or_else(|| too_early(spec))
}

/// A part of an emptyDir is looked for when the pod starts, before what init containers make is there.
fn too_early(spec: &PodSpec) -> Option<String> {
    spec.init_containers.iter().flatten().next()?;
    let is_empty_dir = |name: &str| {
        let mut volumes = spec.volumes.iter().flatten();
        volumes.any(|volume| volume.name == name && volume.empty_dir.is_some())
    };
    let mut mounts = spec.containers.iter().flat_map(|one| one.volume_mounts.iter().flatten());
    let mount = mounts.find(|mount| {
        let parts = [&mount.sub_path, &mount.sub_path_expr];
        is_empty_dir(&mount.name) && parts.into_iter().flatten().any(|path| !path.is_empty())
    })?;
    Some(format!(
        "a subPath of an emptyDir ({}) beside init containers, before which it is looked for; mount the whole",
        mount.name
    ))
}

fn of_volume(volume: &Volume) -> Option<String> {
    let name = &volume.name;
    let kinds = keys(volume);
    if let Some(kind) = kinds.iter().find(|kind| !KINDS.contains(&kind.as_str()) && *kind != "name")
    {
        return Some(format!("volumes of {kind} ({name}); there are {}", KINDS.join(", ")));
    }
    let medium = volume.empty_dir.as_ref().and_then(|empty| empty.medium.as_deref());
    if let Some(medium) = medium.filter(|medium| !["", "Memory"].contains(medium)) {
        return Some(format!("an emptyDir of medium {medium:?} ({name}); \"Memory\" works"));
    }
    let mut sources = volume.projected.iter().flat_map(|one| one.sources.iter().flatten());
    let unknown = sources
        .find_map(|source| keys(source).into_iter().find(|kind| !SOURCES.contains(&kind.as_str())));
    // The lab's one token is its administrator's.
    unknown.map(|kind| {
        format!("projected volumes of {kind} ({name}); there are {}", SOURCES.join(", "))
    })
}

fn of_container(container: &Container) -> Option<String> {
    let name = &container.name;
    if container.volume_devices.as_ref().is_some_and(|list| !list.is_empty()) {
        return Some(format!("volumeDevices ({name})"));
    }
    let mut mounts = container.volume_mounts.iter().flatten();
    mounts.find_map(|mount| {
        let place = absolute(Path::new(&mount.mount_path));
        if place == Path::new("/") || place.starts_with("/proc") {
            return Some(format!("a volume on {:?} ({name})", mount.mount_path));
        }
        // What is mounted on the machine later never comes to a pod, so that the others are one.
        (mount.mount_propagation.as_deref() == Some("Bidirectional"))
            .then(|| format!("mountPropagation Bidirectional ({name})"))
    })
}

/// The fields that something has.
fn keys(value: &impl serde::Serialize) -> Vec<String> {
    match serde_json::to_value(value) {
        Ok(Value::Object(fields)) => fields.into_iter().map(|(name, _)| name).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(volume: &Value, mount: &Value) -> Option<String> {
        let mut one = json!({"name": "v"});
        json_patch::merge(&mut one, volume);
        let mut container =
            json!({"name": "c", "volumeMounts": [{"name": "v", "mountPath": "/v"}]});
        json_patch::merge(&mut container["volumeMounts"][0], mount);
        let spec = json!({"volumes": [one], "containers": [container]});
        refusal(&serde_json::from_value(spec).unwrap())
    }

    #[test]
    fn a_part_of_an_empty_dir_is_refused_where_init_containers_may_make_it() {
        let spec = |init: Value, sub_path: &str| -> PodSpec {
            let mounts = [json!({"name": "v", "mountPath": "/a", "subPath": sub_path})];
            serde_json::from_value(json!({
                "volumes": [{"name": "v", "emptyDir": {}}], "initContainers": init,
                "containers": [{"name": "c", "volumeMounts": mounts}],
            }))
            .unwrap()
        };
        let one = json!([{"name": "i"}]);
        assert!(
            refusal(&spec(one.clone(), "conf")).unwrap().contains("subPath of an emptyDir (v)")
        );
        for right in [spec(one, ""), spec(json!([]), "conf")] {
            assert_eq!(refusal(&right), None);
        }
    }

    #[test]
    fn what_the_lab_has_not_is_refused_by_name() {
        let nothing = json!({});
        for volume in [
            json!({"emptyDir": {}}),
            json!({"emptyDir": {"medium": "Memory"}}),
            json!({"configMap": {"name": "m"}}),
            json!({"projected": {"sources": [{"secret": {"name": "s"}}]}}),
        ] {
            assert_eq!(refused(&volume, &nothing), None, "{volume}");
        }
        for (volume, mount, name) in [
            (json!({"hostPath": {"path": "/"}}), nothing.clone(), "hostPath"),
            (
                json!({"persistentVolumeClaim": {"claimName": "c"}}),
                nothing.clone(),
                "persistentVolumeClaim",
            ),
            (json!({"nfs": {"server": "s", "path": "/"}}), nothing.clone(), "nfs"),
            (json!({"image": {"reference": "i"}}), nothing.clone(), "image"),
            (json!({"emptyDir": {"medium": "HugePages"}}), nothing.clone(), "HugePages"),
            (
                json!({"projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}),
                nothing.clone(),
                "serviceAccountToken",
            ),
            (json!({"emptyDir": {}}), json!({"mountPath": "/a/.."}), "a volume on \"/a/..\""),
            (json!({"emptyDir": {}}), json!({"mountPath": "proc/1/root"}), "proc/1/root"),
            (
                json!({"emptyDir": {}}),
                json!({"mountPropagation": "Bidirectional"}),
                "Bidirectional",
            ),
        ] {
            let said = refused(&volume, &mount).unwrap();
            assert!(said.contains(name), "{said}");
        }
    }
}
