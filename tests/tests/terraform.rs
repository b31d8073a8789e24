//! terraform/, proved with no cloud: its own tests, and what no plan of it may hold.

use std::path::Path;
use std::process::Command;

use end_to_end::{Output, repository, run, skip};

/// A copy of terraform/, initialised; `None`, with the reason said, where that cannot be.
fn initialised(test: &str) -> Option<tempfile::TempDir> {
    if Command::new("terraform").arg("version").output().is_err() {
        skip(test, "no terraform command here");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let source = repository().join("terraform");
    let _ = run(Command::new("cp").arg("-R").arg(source).arg(folder.path()), "").ok();
    let init = terraform(folder.path(), &["init", "-backend=false"]);
    if !init.status.success() {
        let why = init.stderr.lines().find(|line| line.contains("Error"));
        skip(test, &format!("terraform init has no provider: {}", why.unwrap_or_default()));
        return None;
    }
    Some(folder)
}

fn terraform(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new("terraform");
    command.arg(format!("-chdir={}", folder.join("terraform").display()));
    command.args(args).arg("-no-color").env_remove("TF_DATA_DIR");
    run(&mut command, "")
}

#[test]
fn the_configuration_is_valid_and_its_own_tests_pass() {
    let Some(folder) = initialised("the_configuration_is_valid_and_its_own_tests_pass") else {
        return;
    };
    let _ = terraform(folder.path(), &["validate"]).ok();
    let _ = terraform(folder.path(), &["fmt", "-check", "-recursive"]).ok();
    let tested = terraform(folder.path(), &["test"]).ok();
    println!("{tested}");
    assert!(tested.contains("Success!") && !tested.contains("skip"), "{tested}");
}

#[test]
fn no_plan_has_a_wildcard_a_public_address_or_a_key() {
    let Some(folder) = initialised("no_plan_has_a_wildcard_a_public_address_or_a_key") else {
        return;
    };
    let plans =
        terraform(folder.path(), &["test", "-verbose", "-filter=tests/plan.tftest.hcl"]).ok();
    assert!(plans.matches("# google_container_cluster.primary will be created").count() > 5);
    for never in [
        "0.0.0.0/0",
        "::/0",
        "access_config",
        "\"EXTERNAL\"",
        "nat_ip",
        "google_service_account_key",
        "allUsers",
        "allAuthenticatedUsers",
        "roles/owner",
        "roles/editor",
        "roles/viewer",
        "compute@developer.gserviceaccount.com",
        "auth/cloud-platform\"",
        "provisioner",
    ] {
        let found = plans.lines().find(|line| line.contains(never));
        assert_eq!(found, None, "{never}");
    }
}
