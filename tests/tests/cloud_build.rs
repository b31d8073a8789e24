//! cloudbuild.yaml: its steps are run here as Cloud Build runs them, but for the push.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use end_to_end::{docker_engine, repository, run, skip};
use serde_json::Value;

fn build() -> Value {
    let text = std::fs::read_to_string(repository().join("cloudbuild.yaml")).unwrap();
    serde_saphyr::from_str(&text).unwrap()
}

fn strings(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().map(|item| item.as_str().unwrap()).collect()
}

/// Replaces `${NAME}` as Cloud Build does, values within values too.
fn substitute(text: &str, values: &BTreeMap<String, String>) -> String {
    let mut text = text.to_owned();
    while let Some((before, rest)) = text.split_once("${") {
        let (name, after) = rest.split_once('}').unwrap();
        let value = values.get(name).unwrap_or_else(|| panic!("nothing for {name}"));
        text = format!("{before}{value}{after}");
    }
    text
}

/// What a build that was submitted by hand knows.
fn values(build: &Value) -> BTreeMap<String, String> {
    let own = build["substitutions"].as_object().unwrap();
    let own = own.iter().map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()));
    let given = [("PROJECT_ID", "a-project"), ("BUILD_ID", "0a1b2c3d-0000"), ("COMMIT_SHA", "")];
    own.chain(given.map(|(name, value)| (name.to_owned(), value.to_owned()))).collect()
}

#[test]
fn a_manual_submit_has_a_tag_an_account_of_its_own_and_logs_that_need_no_bucket() {
    let build = build();
    let values = values(&build);
    let images: Vec<_> =
        strings(&build["images"]).into_iter().map(|image| substitute(image, &values)).collect();
    assert_eq!(
        images,
        ["hello-server", "hello-client", "netpol"].map(|image| format!(
            "us-central1-docker.pkg.dev/a-project/hello/{image}:0a1b2c3d-0000"
        ))
    );
    let account = substitute(build["serviceAccount"].as_str().unwrap(), &values);
    assert!(account.ends_with("/hello-build@a-project.iam.gserviceaccount.com"), "{account}");
    assert_eq!(build["options"]["logging"], "CLOUD_LOGGING_ONLY");
    // Without it a value within a value stays as it is written.
    assert_eq!(build["options"]["dynamicSubstitutions"], true);
}

#[test]
fn what_is_uploaded_is_all_that_the_images_are_built_from_and_no_more() {
    let words = |file: &str, keep: fn(&str) -> Option<&str>| {
        let text = std::fs::read_to_string(repository().join(file)).unwrap();
        text.lines().filter_map(keep).map(str::to_owned).collect::<Vec<_>>()
    };
    let docker = words(".dockerignore", |line| line.strip_prefix('!'));
    let mut cloud = words(".gcloudignore", |line| line.strip_prefix("!/"));
    cloud.retain(|name| name != "Dockerfile" && name != ".dockerignore");
    assert_eq!(cloud, docker);
    for name in docker {
        assert!(Path::new(repository()).join(&name).exists(), "{name}");
    }
}

#[test]
fn every_step_succeeds_here_and_makes_the_images_that_are_pushed() {
    if let Err(why) = docker_engine() {
        return skip("every_step_succeeds_here_and_makes_the_images_that_are_pushed", &why);
    }
    let build = build();
    let values = values(&build);
    let images: Vec<_> =
        strings(&build["images"]).into_iter().map(|image| substitute(image, &values)).collect();
    for step in build["steps"].as_array().unwrap() {
        assert_eq!(step["name"], "gcr.io/cloud-builders/docker");
        let mut docker = Command::new("docker");
        for variable in strings(&step["env"]) {
            let (name, value) = variable.split_once('=').unwrap();
            docker.env(name, value);
        }
        docker.args(strings(&step["args"]).into_iter().map(|arg| substitute(arg, &values)));
        let _ = run(&mut docker, "").ok();
    }
    for image in images {
        let _ = run(Command::new("docker").args(["image", "inspect", &image]), "").ok();
        let _ = run(Command::new("docker").args(["image", "rm", &image]), "").ok();
    }
}
