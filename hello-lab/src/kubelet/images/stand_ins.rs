//! What stands in for images that tutorials name: the machine's shell and tools for those that people use
//! as clients, hello-server for those that only have to answer. An event says so of each pod.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{Image, USER};
use crate::shim;

/// The entrypoint of curlimages/curl: what is no program of its own is curl's arguments.
const CURL: &str = r#"if [ "${1#-}" != "$1" ] || ! command -v "$1" >/dev/null; then set -- curl "$@"; fi; exec "$@""#;

/// Shells, the first that there is.
const SHELLS: [&str; 3] = ["bash", "ash", "sh"];

/// Every stand-in, by the last part of a repository's name.
pub(super) fn all(
    folder: &Path,
    search: impl Fn(&str) -> Option<PathBuf>,
) -> BTreeMap<&'static str, Image> {
    let mut all = BTreeMap::new();
    let mut tools = |names: &[&'static str], shell: &str| {
        let stand_in = "the machine's own shell and programs".to_owned();
        let image = Image {
            cmd: vec![shell.to_owned()],
            user: USER,
            stand_in: Some(stand_in),
            ..Image::default()
        };
        all.extend(names.iter().map(|name| (*name, image.clone())));
    };
    if search("sh").is_some() {
        tools(&["busybox", "alpine"], "sh");
        let shell = SHELLS.into_iter().find(|name| search(name).is_some()).unwrap_or("sh");
        tools(&["debian", "ubuntu", "netshoot", "dnsutils", "jessie-dnsutils"], shell);
        if search("curl").is_some() {
            let entrypoint = ["sh", "-c", CURL, "curl"].map(str::to_owned).into();
            let image = Image {
                entrypoint,
                cmd: vec!["curl".to_owned()],
                user: USER,
                stand_in: Some("the machine's own curl".to_owned()),
                ..Image::default()
            };
            all.insert("curl", image);
        }
    }
    for (name, is_dns, stand_in) in [
        ("pause", false, "a program of hello-lab's that waits until it is told to end"),
        ("coredns", true, "hello-lab's own DNS, which reads no Corefile"),
    ] {
        let mut image = Image::of_program(folder.join(shim::PROGRAM));
        image.cmd = vec![shim::PAUSE.to_owned()];
        image.stand_in = Some(stand_in.to_owned());
        image.is_dns = is_dns;
        all.insert(name, image);
    }
    for (name, port) in [("nginx", 80), ("httpd", 80), ("hello-app", 8080)] {
        let mut image = Image::of_program(folder.join("hello-server"));
        image.cmd = vec!["--port".to_owned(), port.to_string()];
        image.stand_in = Some(format!("hello-server, which answers on port {port}"));
        all.insert(name, image);
    }
    all
}
