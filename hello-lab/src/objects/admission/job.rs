//! The selector of a Job, and the labels of its pods by which it finds them: of its uid, so that they are its
//! alone (`generateSelector` of pkg/registry/batch/job).

use serde_json::{Value, json};

use super::super::meta::new_uid;
use super::super::names::{CONTROLLER_UID_LABEL, JOB_NAME_LABEL};

/// Gives a new Job its uid, its selector and the labels of its template.
pub(super) fn select(job: &mut Value) {
    let uid = new_uid();
    let name = job["metadata"]["name"].clone();
    if job["metadata"].is_object() {
        job["metadata"]["uid"] = uid.as_str().into();
    }
    let spec = &mut job["spec"];
    if spec["manualSelector"] == true || !spec["template"].is_object() {
        return;
    }
    if spec["selector"].is_null() {
        spec["selector"] = json!({});
    }
    let metadata = &mut spec["template"]["metadata"];
    if metadata.is_null() {
        *metadata = json!({});
    }
    let labels = &mut metadata["labels"];
    if labels.is_null() {
        *labels = json!({});
    }
    if labels.is_object() {
        for (label, value) in [
            (JOB_NAME_LABEL, &name),
            (CONTROLLER_UID_LABEL, &json!(uid)),
            // Those of old, without a domain.
            ("job-name", &name),
            ("controller-uid", &json!(uid)),
        ] {
            labels[label] = value.clone();
        }
    }
    let labels = &mut spec["selector"]["matchLabels"];
    if labels.is_null() {
        *labels = json!({});
    }
    if labels.is_object() {
        labels[CONTROLLER_UID_LABEL] = uid.into();
    }
}
