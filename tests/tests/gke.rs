//! The operator's make targets, against stand-ins for gcloud and terraform that record what they
//! are told; the cluster behind the bastion is a lab.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use end_to_end::{As, Lab, Output, program, repository, run};

/// A clone of what the targets use, and the stand-ins' world.
struct Operator {
    folder: tempfile::TempDir,
}

impl Operator {
    /// Logged in, with a project, a region and a zone, and nothing made yet.
    fn new() -> Self {
        let operator = Self { folder: tempfile::tempdir().unwrap() };
        let copy = format!(
            "mkdir {0} && cp -R Makefile Cargo.toml cloudbuild.yaml manifests scripts terraform {0} && \
             rm -rf {0}/terraform/.terraform* {0}/terraform/terraform.tfvars && cd {0} && git init -q && \
             printf '/terraform/terraform.tfvars\\n' >.gitignore && git add -A && \
             git -c user.name=a -c user.email=a@example.com commit -qm a",
            operator.clone().display()
        );
        let _ = run(Command::new("bash").args(["-c", &copy]), "").ok();
        fs::create_dir(operator.world("")).unwrap();
        for (setting, value) in [
            ("account", "ann@example.com"),
            ("project", "a-project"),
            ("region", "us-east1"),
            ("zone", "us-east1-c"),
        ] {
            operator.set(setting, value);
        }
        operator
    }

    fn clone(&self) -> PathBuf {
        self.folder.path().join("clone")
    }

    fn world(&self, file: &str) -> PathBuf {
        self.folder.path().join("world").join(file)
    }

    fn set(&self, file: &str, content: &str) {
        fs::write(self.world(file), content).unwrap();
    }

    fn unset(&self, file: &str) {
        fs::remove_file(self.world(file)).unwrap();
    }

    fn calls(&self) -> String {
        fs::read_to_string(self.world("calls")).unwrap_or_default()
    }

    fn tfvars(&self) -> PathBuf {
        self.clone().join("terraform/terraform.tfvars")
    }

    fn make(&self, target: &str) -> Output {
        let stand_ins = repository().join("tests/stand-ins");
        let path = format!("{}:{}", stand_ins.display(), std::env::var("PATH").unwrap());
        let clone = self.clone();
        let mut make = Command::new("make");
        make.args(["--no-print-directory", "-C"]).arg(clone).args(target.split(' '));
        make.env("PATH", path).env("STAND_IN", self.world("")).env_remove("KUBECONFIG");
        run(make.env("POLL", "0.1").env("WAIT", "5"), "")
    }
}

#[test]
fn the_whole_way_from_setup_project_to_teardown() {
    let operator = Operator::new();
    let said = operator.make("setup-project").ok();
    let tfvars = "project=\"a-project\"\nregion=\"us-east1\"\nzone=\"us-east1-c\"\n";
    assert_eq!(fs::read_to_string(operator.tfvars()).unwrap(), tfvars);
    assert!(said.ends_with(tfvars), "{said}");
    let apis = fs::read_to_string(operator.world("apis")).unwrap();
    for api in ["compute", "container", "cloudbuild", "artifactregistry", "iap"] {
        assert!(apis.contains(&format!("{api}.googleapis.com\n")), "{apis}");
    }
    let _ = operator.make("tf-apply").ok();
    let _ = operator.make("cloud-build").ok();
    let build = "builds submit --project=a-project --region=us-east1 --config=cloudbuild.yaml \
                 --gcs-source-staging-dir=gs://a-project-hello-source/source";
    assert!(operator.calls().contains(build), "{}", operator.calls());
    // The tag of a commit is built once.
    let again = operator.make("cloud-build").ok();
    assert!(again.contains("already"), "{again}");
    let said = operator.make("deploy").ok();
    assert!(said.contains("gcloud compute ssh gke-demo-bastion --project=a-project"), "{said}");

    let images =
        fs::read_to_string(operator.world("bastion/manifests/hello-app/hello-server.yaml"));
    let images = images.unwrap();
    let server = images.lines().find_map(|line| line.trim().strip_prefix("image: ")).unwrap();
    assert!(server.starts_with("us-east1-docker.pkg.dev/a-project/hello/hello-server@sha256:"));
    let manifest = operator.world("bastion/manifests/hello-app/hello-client.yaml");
    let manifest = fs::read_to_string(manifest).unwrap();
    let client = manifest.lines().find_map(|line| line.trim().strip_prefix("image: ")).unwrap();
    let image = |reference: &str, name: &str| format!("{reference}={}", program(name).display());
    let (server, client) = (image(server, "hello-server"), image(client, "hello-client"));
    let lab = Lab::start_with(As::Myself, &["--image", &server, "--image", &client]);
    fs::copy(lab.folder().join("kubeconfig"), operator.world("kubeconfig")).unwrap();
    let said = operator.make("validate").ok();
    assert!(said.contains("validate: OK:"), "{said}");

    let _ = lab.kubectl("apply -f manifests/network-policy.yaml");
    let said = operator.make("teardown").ok();
    assert!(said.contains("networkpolicy.networking.k8s.io \"hello-server-allow"), "{said}");
    assert!(!operator.world("made").exists());
    for call in operator.calls().lines().filter(|call| call.contains("compute s")) {
        assert!(call.contains("--tunnel-through-iap"), "{call}");
    }
}

#[test]
fn setup_project_again_changes_nothing_and_keeps_what_was_edited() {
    let operator = Operator::new();
    let _ = operator.make("setup-project").ok();
    let edited = "project=\"a-project\"\nregion=\"us-east1\"\nzone=\"us-east1-b\"\nnode_count=1\n";
    fs::write(operator.tfvars(), edited).unwrap();
    let said = operator.make("setup-project").ok();
    assert!(said.contains("stays as it is"), "{said}");
    assert_eq!(fs::read_to_string(operator.tfvars()).unwrap(), edited);
}

#[test]
fn who_is_not_logged_in_is_told_how() {
    let operator = Operator::new();
    operator.unset("account");
    for target in ["setup-project", "create"] {
        let said = operator.make(target).failed();
        assert!(said.contains("run: gcloud auth login"), "{said}");
    }
    assert!(!operator.tfvars().exists() && !operator.calls().contains("terraform"));
}

#[test]
fn a_setting_that_is_missing_or_wrong_is_named_with_its_command() {
    for (setting, command) in [
        ("project", "gcloud config set project my-project-name"),
        ("region", "gcloud config set compute/region us-east1"),
        ("zone", "gcloud config set compute/zone us-east1-c"),
    ] {
        let operator = Operator::new();
        operator.unset(setting);
        let said = operator.make("setup-project").failed();
        assert!(said.contains(command), "{said}");
        assert!(!operator.tfvars().exists() && !operator.world("apis").exists());
    }
    let operator = Operator::new();
    operator.set("zone", "us-west1-a");
    let said = operator.make("setup-project").failed();
    assert!(said.contains("us-west1-a is not in the region us-east1"), "{said}");
}

#[test]
fn an_api_that_is_disabled_ends_it_with_terraforms_own_words() {
    let operator = Operator::new();
    let _ = operator.make("setup-project").ok();
    operator.unset("apis");
    let said = operator.make("tf-apply").failed();
    assert!(said.contains("has not been used in project before or it is disabled"), "{said}");
}

#[test]
fn a_proxy_that_is_not_ready_is_waited_for_but_not_for_ever() {
    let operator = Operator::new();
    for target in ["setup-project", "tf-apply", "cloud-build"] {
        let _ = operator.make(target).ok();
    }
    operator.set("iap-refusals", "3");
    let said = operator.make("deploy").ok();
    assert!(
        said.contains("waiting for gke-demo-bastion to have kubectl, at most 5 s... there"),
        "{said}"
    );
    operator.set("iap-refusals", "1000000");
    let said = operator.make("deploy").failed();
    assert!(
        said.contains("failed to connect to backend") && said.contains("not within 5 s"),
        "{said}"
    );
}

#[test]
fn without_a_cluster_each_target_says_what_makes_one() {
    let operator = Operator::new();
    let said = operator.make("tf-apply").failed();
    assert!(said.contains("run: make setup-project"), "{said}");
    for target in ["cloud-build", "deploy"] {
        let said = operator.make(target).failed();
        assert!(said.contains("run: make tf-apply"), "{said}");
    }
    // Without a bastion it is the cluster that kubectl talks to, and here that is none.
    let said = operator.make("validate").failed();
    assert!(said.contains("on the cluster that kubectl talks to"), "{said}");
    assert!(said.contains("kubectl reaches no cluster"), "{said}");
}

#[test]
fn deploy_and_build_want_a_commit_or_a_tag_for_what_they_name_by_it() {
    let operator = Operator::new();
    for target in ["setup-project", "tf-apply"] {
        let _ = operator.make(target).ok();
    }
    let said = operator.make("deploy").failed();
    assert!(said.contains("run: make cloud-build"), "{said}");
    let changed = operator.clone().join("manifests/network-policy.yaml");
    fs::write(changed, "# changed\n").unwrap();
    let said = operator.make("cloud-build").failed();
    assert!(said.contains("changes that no commit has"), "{said}");
    let _ = operator.make("cloud-build TAG=mine").ok();
    assert!(operator.world("image/netpol:mine").exists());
}

#[test]
fn teardown_reaches_destroy_after_a_create_that_failed_half_way() {
    let operator = Operator::new();
    operator.set("apply-fails", "");
    let said = operator.make("create").failed();
    assert!(said.contains("Insufficient regional quota"), "{said}");
    assert!(!operator.calls().contains("builds submit"), "it went on after a failure");
    assert!(operator.world("made").exists());
    let said = operator.make("teardown").ok();
    assert!(said.contains("the cluster goes all the same"), "{said}");
    assert!(!operator.world("made").exists());
}

#[test]
fn teardown_reaches_destroy_when_the_bastion_cannot_be_reached() {
    let operator = Operator::new();
    for target in ["setup-project", "tf-apply"] {
        let _ = operator.make(target).ok();
    }
    operator.set("iap-refusals", "1000000");
    let said = operator.make("teardown").ok();
    assert!(said.contains("the cluster goes all the same"), "{said}");
    assert!(!operator.world("made").exists());
}
