//! What a person asks of a pod.

use serde_json::Value;

use crate::{Lab, wait_for};

/// The word of a pod in `kubectl get pods`.
#[must_use]
pub fn state(lab: &Lab, pod: &str) -> String {
    let line = lab.kubectl(&format!("get pod {pod} --no-headers"));
    line.split_whitespace().nth(2).unwrap_or_default().to_owned()
}

/// Waits until that is `wanted`.
///
/// # Panics
///
/// When it never is.
pub fn wait_for_state(lab: &Lab, pod: &str, wanted: &str) {
    wait_for(&format!("{pod} to be {wanted}"), || (state(lab, pod) == wanted).then_some(()));
}

/// Its status.
#[must_use]
pub fn status(lab: &Lab, pod: &str) -> Value {
    lab.json(&format!("pod {pod}"))["status"].take()
}

/// The state of a condition of a pod.
#[must_use]
pub fn condition(status: &Value, name: &str) -> Value {
    let conditions = status["conditions"].as_array().unwrap();
    conditions.iter().find(|one| one["type"] == name).unwrap()["status"].clone()
}

/// What events of this reason say of a pod.
#[must_use]
pub fn events(lab: &Lab, pod: &str, reason: &str) -> Vec<String> {
    let fields = format!("involvedObject.name={pod},reason={reason}");
    let events = lab.json(&format!("events --field-selector {fields}"));
    let all = events["items"].as_array().unwrap().iter();
    all.map(|event| event["message"].as_str().unwrap().to_owned()).collect()
}
