//! The images: what is in them, and that each program is a good process 1.

use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use end_to_end::{Lab, docker_engine, run, skip, users, wait_for};
use serde_json::Value;

/// Builds the images once; false, with the reason said, where no engine runs.
fn built(test: &str) -> bool {
    static BUILT: OnceLock<()> = OnceLock::new();
    if let Err(why) = docker_engine() {
        skip(test, &why);
        return false;
    }
    BUILT.get_or_init(|| drop(run(&mut Command::new("scripts/build-images.sh"), "").ok()));
    true
}

fn docker(line: &str) -> String {
    run(Command::new("docker").args(line.split_whitespace()), "").ok().trim().to_owned()
}

/// A container that is gone when its test ends.
struct Container(String);

impl Drop for Container {
    fn drop(&mut self) {
        let _ = run(Command::new("docker").args(["rm", "--force", "--volumes", &self.0]), "");
    }
}

/// As Compose and the manifests run them.
const HARDENED: &str = "--read-only --cap-drop ALL --security-opt no-new-privileges";

/// An image, its greatest size in bytes, and arguments with which it runs until it is told.
const IMAGES: [(&str, u64, &str); 3] = [
    ("hello-server", 2_000_000, ""),
    ("hello-client", 3_000_000, "http://127.0.0.1:9"),
    ("netpol", 6_000_000, ""),
];

#[test]
fn an_image_holds_one_small_program_and_nothing_else() {
    if !built("an_image_holds_one_small_program_and_nothing_else") {
        return;
    }
    for (name, most, _) in IMAGES {
        let image = format!("{name}:1.0.0");
        let text = docker(&format!("image inspect {image}"));
        let about: Value = serde_json::from_str(&text).unwrap();
        let size = about[0]["Size"].as_u64().unwrap();
        assert!(size < most, "{image} has {size} bytes");
        let config = &about[0]["Config"];
        assert_eq!(config["User"], "9999:9999", "{image}");
        let label =
            |label: &str| config["Labels"][format!("org.opencontainers.image.{label}")].clone();
        assert_eq!(label("title"), name);
        assert_eq!(label("version"), "1.0.0");
        assert_eq!(label("revision").as_str().unwrap().len(), 40, "a commit");
        let container = Container(docker(&format!("create {image}")));
        let list = format!("docker export {} | tar --list", container.0);
        let files = run(Command::new("bash").args(["-c", &list]), "").ok();
        // What an engine puts into every container to mount things over.
        let own = |file: &&str| {
            !["dev/", "etc/", "proc/", "sys/"].iter().any(|place| file.starts_with(place))
                && *file != ".dockerenv"
        };
        assert_eq!(files.lines().filter(own).collect::<Vec<_>>(), [name]);
    }
}

#[test]
fn each_program_is_a_process_1_that_ends_within_a_second_of_sigterm() {
    if !built("each_program_is_a_process_1_that_ends_within_a_second_of_sigterm") {
        return;
    }
    for (name, _, args) in IMAGES {
        let line = if name == "netpol" {
            let manifests = end_to_end::repository().join("manifests/hello-app");
            format!(
                "run --detach {HARDENED} --user 0:0 --cap-add NET_ADMIN --tmpfs /run \
                 --volume {}:/manifests:ro netpol:1.0.0 enforce hello-server --workloads /manifests",
                manifests.display()
            )
        } else {
            format!("run --detach {HARDENED} {name}:1.0.0 {args}")
        };
        let container = Container(docker(&line));
        // Each has said something as soon as it handles signals.
        wait_for("the first line of the log", || {
            (!docker(&format!("logs {}", container.0)).is_empty()).then_some(())
        });
        let start = Instant::now();
        let _ = docker(&format!("kill --signal TERM {}", container.0));
        let code = docker(&format!("wait {}", container.0));
        let took = start.elapsed();
        assert_eq!(code, "0", "{name}");
        assert!(took < Duration::from_secs(1), "{name} took {took:?}");
    }
}

#[test]
fn rendered_manifests_keep_their_names_and_differ_in_the_images_alone() {
    let folder = tempfile::tempdir().unwrap();
    let render = |args: &[&str]| {
        let mut command = Command::new("scripts/render-manifests.sh");
        run(command.arg(folder.path().join("out")).args(args), "")
    };
    let digest = format!("hello-client=r.example/p/hello-client@sha256:{}", "0".repeat(64));
    let said = render(&[&digest]).failed();
    assert!(said.contains("hello-server.yaml names the image hello-server"), "{said}");
    let said = render(&["hello-server=no-tag", &digest]).failed();
    assert!(said.contains("hello-server=no-tag: expected IMAGE=REFERENCE"), "{said}");
    assert!(!folder.path().join("out").exists(), "half of it was written");
    let _ = render(&["hello-server=r.example:5000/p/hello-server:v1", &digest]).ok();
    // Again, over what is there.
    let _ = render(&["hello-server=r.example:5000/p/hello-server:v1", &digest]).ok();
    let diff = format!("diff --recursive manifests {}", folder.path().join("out").display());
    let diff = run(Command::new("bash").args(["-c", &diff]), "").failed();
    let new: Vec<_> = diff.lines().filter_map(|line| line.strip_prefix("> ")).collect();
    let [_, client] = digest.split('=').collect::<Vec<_>>()[..] else { panic!() };
    let images: Vec<_> =
        new.iter().map(|line| line.trim().strip_prefix("image: ").unwrap()).collect();
    assert_eq!(images, [client, client, "r.example:5000/p/hello-server:v1"]);
    assert!(!diff.contains("Only in"), "{diff}");
}

#[test]
fn what_docker_saves_runs_in_the_lab_as_it_is() {
    if !built("what_docker_saves_runs_in_the_lab_as_it_is") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("saved.tar");
    let place = archive.display();
    docker(&format!("save --output {place} hello-server:1.0.0 hello-client:1.0.0"));
    for path in [folder.path(), &archive] {
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .unwrap();
    }
    let image = |name: &str| format!("{name}:1.0.0={place}");
    let (server, client) = (image("hello-server"), image("hello-client"));
    for user in users() {
        let lab = Lab::start_with(user, &["--image", &server, "--image", &client]);
        lab.install_hello_app();
        wait_for("a greeting", || {
            lab.kubectl("logs deploy/hello-client-allowed").contains("Hello, world!").then_some(())
        });
        // There is nothing in it but its program.
        let said = lab.refused("exec deploy/hello-client-allowed -- sh -c true", "");
        assert!(said.contains("executable file not found"), "{said}");
        lab.end();
    }
}
