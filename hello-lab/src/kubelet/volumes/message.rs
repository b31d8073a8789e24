//! The file in which a container leaves a message for when it has ended (`terminationMessagePath`): one of a
//! file system in memory of its own, which is mounted where the container says. One that says nothing of it has
//! none.

use k8s_openapi::api::core::v1::{Container, PodSpec};

use super::super::pod::containers;

/// Where it is where a container does not say so (`TerminationMessagePathDefault`).
const DEFAULT_PATH: &str = "/dev/termination-log";

/// That much can be written in it.
pub(super) const SIZE: &str = "64k";

/// The containers that have such a file, in the order of their volumes, and where each has it.
pub(super) fn wanted(spec: &PodSpec) -> impl Iterator<Item = (&str, &str)> {
    containers(spec).filter_map(|container| Some((container.name.as_str(), place(container)?)))
}

fn place(container: &Container) -> Option<&str> {
    let path = container.termination_message_path.as_deref().filter(|path| !path.is_empty());
    path.or_else(|| container.termination_message_policy.as_ref().map(|_| DEFAULT_PATH))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_container_that_says_something_of_its_message_has_a_file_for_it() {
        let spec = json!({"containers": [
            {"name": "a"},
            {"name": "b", "terminationMessagePath": "/tmp/m"},
            {"name": "c", "terminationMessagePolicy": "File"},
        ]});
        let spec = serde_json::from_value(spec).unwrap();
        let wanted: Vec<_> = wanted(&spec).collect();
        assert_eq!(wanted, [("b", "/tmp/m"), ("c", DEFAULT_PATH)]);
    }
}
