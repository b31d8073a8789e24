//! What a container runs, and as whom.

use k8s_openapi::api::core::v1::{Container, PodSpec};
use nix::unistd::{Gid, Group};

use super::images::{Image, Images, USER};

/// User and group.
pub(super) type User = (u32, u32);

/// Why a container is not started.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// The lab does not know its image.
    #[error(
        "hello-lab has no registry and no image {reference:?}. Start it with --image {reference}=PATH, the path \
         of a program, a root folder or an archive of `docker save` on this machine; without that it knows {known}"
    )]
    Image {
        /// What the container names.
        reference: String,
        /// What it could.
        known: String,
    },
    /// It asks for what it rules out.
    #[error("container has runAsNonRoot and runAsUser is 0")]
    NotNonRoot,
    /// The same, of an image.
    #[error("container has runAsNonRoot and image will run as root")]
    RootsImage,
    /// An image's user may be root by another name, which a kubelet does not look for.
    #[error(
        "container has runAsNonRoot and image has non-numeric user ({0}), cannot verify user is non-root"
    )]
    NamedUser(String),
    /// It would be the machine's root: a process is not a container.
    #[error("hello-lab runs no container as root; set runAsUser")]
    Root,
    /// There may be files that only this group is to read.
    #[error(
        "hello-lab gives no container a group of this machine, as runAsGroup {0} is; set another"
    )]
    MachinesGroup(u32),
}

impl Refusal {
    /// The name of it, for which the container waits.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Image { .. } => "ImagePullBackOff",
            _ => "CreateContainerConfigError",
        }
    }
}

/// The program of `container`, and who is to run it: nobody in particular where the lab is an ordinary
/// user's, and not `privileged`.
pub(super) fn identity<'a>(
    container: &Container,
    pod: &PodSpec,
    images: &'a Images,
    privileged: bool,
) -> Result<(&'a Image, Option<User>), Refusal> {
    let reference = container.image.as_deref().unwrap_or_default();
    let image = images
        .find(reference)
        .ok_or_else(|| Refusal::Image { reference: reference.to_owned(), known: images.known() })?;
    let own = container.security_context.clone().unwrap_or_default();
    let pod = pod.security_context.clone().unwrap_or_default();
    let number = |value: Option<i64>| value.and_then(|value| u32::try_from(value).ok());
    let asked = number(own.run_as_user.or(pod.run_as_user));
    if own.run_as_non_root.or(pod.run_as_non_root) == Some(true) {
        // `verifyRunAsNonRoot` of pkg/kubelet/kuberuntime.
        match (asked, &image.named_user, image.user) {
            (Some(0), ..) => return Err(Refusal::NotNonRoot),
            (None, Some(name), _) => return Err(Refusal::NamedUser(name.clone())),
            (None, None, 0) => return Err(Refusal::RootsImage),
            _ => {}
        }
    }
    if !privileged {
        return Ok((image, None));
    }
    let user = match asked {
        Some(0) => return Err(Refusal::Root),
        Some(user) => user,
        // Most images say nothing of it.
        None if image.user == 0 => USER,
        None => image.user,
    };
    let group = match number(own.run_as_group.or(pod.run_as_group)) {
        Some(group) if is_the_machines(group) => return Err(Refusal::MachinesGroup(group)),
        Some(group) => group,
        None => Some(user).filter(|group| !is_the_machines(*group)).unwrap_or(USER),
    };
    Ok((image, Some((user, group))))
}

/// Whether a group has a name on this machine, and so may have files of it.
fn is_the_machines(group: u32) -> bool {
    // Where nobody can tell it may.
    group == 0 || !matches!(Group::from_gid(Gid::from_raw(group)), Ok(None))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::{Value, json};

    use super::*;

    fn of(container: Value, pod: Value, privileged: bool) -> Result<Option<User>, Refusal> {
        let images = Images::of_workspace(Path::new("/programs"), |_| None);
        let mut spec = json!({"name": "c", "image": "hello-server:1.0.0"});
        json_patch::merge(&mut spec, &container);
        let container = serde_json::from_value(spec).unwrap();
        let pod =
            serde_json::from_value(json!({"containers": [], "securityContext": pod})).unwrap();
        identity(&container, &pod, &images, privileged).map(|(_, user)| user)
    }

    #[test]
    fn a_container_runs_as_its_own_context_says_before_its_pods_and_its_images() {
        let context =
            |user: u32| json!({"securityContext": {"runAsUser": user, "runAsGroup": 70_001}});
        let pod = json!({"runAsUser": 70_002});
        assert_eq!(of(context(70_003), pod.clone(), true), Ok(Some((70_003, 70_001))));
        assert_eq!(of(json!({}), pod.clone(), true), Ok(Some((70_002, 70_002))));
        assert_eq!(of(json!({}), Value::Null, true).unwrap().unwrap().0, 9999);
        assert_eq!(of(context(70_003), pod, false), Ok(None));
    }

    #[test]
    fn what_cannot_be_run_is_refused_by_name() {
        let root = json!({"runAsUser": 0});
        assert_eq!(of(json!({}), root.clone(), true), Err(Refusal::Root));
        assert_eq!(of(json!({}), root, false), Ok(None), "it is nobody's root there");
        let both = json!({"runAsUser": 0, "runAsNonRoot": true});
        assert_eq!(of(json!({}), both, false), Err(Refusal::NotNonRoot));
        let group = json!({"runAsGroup": 0});
        assert_eq!(of(json!({}), group, true), Err(Refusal::MachinesGroup(0)));
        let refusal = of(json!({"image": "no:1"}), Value::Null, true).unwrap_err();
        assert_eq!(refusal.reason(), "ImagePullBackOff");
        assert!(
            refusal.to_string().contains("no image \"no:1\". Start it with --image no:1=PATH"),
            "{refusal}"
        );
    }
}
