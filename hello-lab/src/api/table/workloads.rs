//! The cells of what makes pods.

use serde_json::Value;

use super::{age_of, each, pairs, selector, text};
use crate::objects::Object;
use crate::objects::meta::seconds_since;

pub(super) fn daemon_set(object: &Object, name: Value, age: Value) -> Vec<Value> {
    let (spec, status) = (&object.value()["spec"], &object.value()["status"]);
    let count = |field: &str| Value::from(status[field].as_u64().unwrap_or(0));
    let mut cells = vec![
        name,
        count("desiredNumberScheduled"),
        count("currentNumberScheduled"),
        count("numberReady"),
        count("updatedNumberScheduled"),
        count("numberAvailable"),
        pairs(spec["template"]["spec"]["nodeSelector"].as_object()).into(),
        age,
    ];
    cells.extend(template(spec));
    cells
}

/// Kind and name of the owner that controls an object.
pub(super) fn controller(object: &Object) -> String {
    let owners = &object.value()["metadata"]["ownerReferences"];
    let owner = each(owners).find(|owner| owner["controller"] == true);
    owner.map_or_else(
        || "<none>".to_owned(),
        |owner| {
            let version = text(&owner["apiVersion"]);
            let group = version.split_once('/').map_or("", |(group, _)| group);
            let kind = text(&owner["kind"]).to_lowercase();
            let dot = if group.is_empty() { "" } else { "." };
            format!("{kind}{dot}{group}/{}", text(&owner["name"]))
        },
    )
}

/// `printJob`.
pub(super) fn job(object: &Object, name: Value, age: Value) -> Vec<Value> {
    let (spec, status) = (&object.value()["spec"], &object.value()["status"]);
    let succeeded = status["succeeded"].as_u64().unwrap_or(0);
    let completions = match (spec["completions"].as_u64(), spec["parallelism"].as_u64()) {
        (Some(wanted), _) => format!("{succeeded}/{wanted}"),
        (None, Some(parallelism @ 2..)) => format!("{succeeded}/1 of {parallelism}"),
        (None, _) => format!("{succeeded}/1"),
    };
    let duration = status["startTime"].as_str().map_or_else(String::new, |start| {
        let since_end = status["completionTime"].as_str().map_or(0, seconds_since);
        hello_common::age::human_duration(seconds_since(start) - since_end)
    });
    let holds = |name: &str| {
        each(&status["conditions"]).any(|one| one["type"] == name && one["status"] == "True")
    };
    let known = ["Complete", "Failed"].into_iter().find(|name| holds(name));
    let state = known.or(object.is_terminating().then_some("Terminating")).or_else(|| {
        ["Suspended", "FailureTarget", "SuccessCriteriaMet"].into_iter().find(|name| holds(name))
    });
    let mut cells =
        vec![name, state.unwrap_or("Running").into(), completions.into(), duration.into(), age];
    cells.extend(template(spec));
    cells
}

/// `printCronJob`.
pub(super) fn cron_job(object: &Object, name: Value, age: Value) -> Vec<Value> {
    let (spec, status) = (&object.value()["spec"], &object.value()["status"]);
    let zone = spec["timeZone"].as_str().unwrap_or("<none>");
    let last = &status["lastScheduleTime"];
    let mut cells = vec![
        name,
        spec["schedule"].clone(),
        zone.into(),
        if spec["suspend"] == true { "True" } else { "False" }.into(),
        each(&status["active"]).count().into(),
        if last.is_null() { "<none>".into() } else { age_of(last) },
        age,
    ];
    cells.extend(template(&spec["jobTemplate"]["spec"]));
    cells
}

/// Names and images of a template's containers, and the selector.
pub(super) fn template(spec: &Value) -> [Value; 3] {
    let containers = &spec["template"]["spec"]["containers"];
    let list =
        |field: &str| each(containers).map(|one| text(&one[field])).collect::<Vec<_>>().join(",");
    [list("name").into(), list("image").into(), selector(&spec["selector"]).into()]
}
