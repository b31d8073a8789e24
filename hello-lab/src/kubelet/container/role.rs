//! What a container is in its pod.

/// What a container is in its pod, which says when it is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kubelet) enum Role {
    /// One of those that the pod is for.
    App,
    /// One that has to end well before the next may start.
    Init,
    /// One that runs beside those that come after it.
    Sidecar,
    /// One that a person adds to look at a pod that runs.
    Ephemeral,
}

impl Role {
    /// Whether a container that has ended with `code` is started again, in a pod with this policy.
    pub(super) fn starts_again(self, policy: Option<&str>, code: i32) -> bool {
        match (self, policy) {
            (Self::Sidecar, _) => true,
            (Self::Ephemeral, _) | (_, Some("Never")) => false,
            (Self::Init, _) | (_, Some("OnFailure")) => code != 0,
            (Self::App, _) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_is_started_again_as_its_role_and_its_pods_policy_say() {
        for (role, policy, after_success, after_failure) in [
            (Role::App, None, true, true),
            (Role::App, Some("Always"), true, true),
            (Role::App, Some("OnFailure"), false, true),
            (Role::App, Some("Never"), false, false),
            (Role::Init, Some("Always"), false, true),
            (Role::Init, Some("OnFailure"), false, true),
            (Role::Init, Some("Never"), false, false),
            (Role::Sidecar, Some("Never"), true, true),
            (Role::Ephemeral, Some("Always"), false, false),
        ] {
            let again = [0, 1].map(|code| role.starts_again(policy, code));
            assert_eq!(again, [after_success, after_failure], "{role:?} {policy:?}");
        }
    }
}
