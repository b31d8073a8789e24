//! Images with a root folder of their own: a folder of this machine, and an archive as `docker save` writes it.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use end_to_end::pods::{events, wait_for_state};
use end_to_end::{Lab, run, skip, users, wait_for};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;

/// What the images have of this machine's programs.
const PROGRAMS: [&str; 4] = ["sh", "cat", "ls", "sleep"];

/// Copies a program with the libraries that it is linked with, as ldd(1) tells; none where this cannot be told.
fn copy_program(name: &str, root: &Path) -> Option<()> {
    let path = std::env::var_os("PATH")?;
    let program = std::env::split_paths(&path).map(|folder| folder.join(name));
    let program = program.into_iter().find(|path| path.is_file())?;
    fs::copy(&program, root.join("bin").join(name)).ok()?;
    let linked = run(Command::new("ldd").arg(&program), "");
    let libraries = linked.stdout.split_whitespace().filter(|word| word.starts_with('/'));
    for library in libraries {
        let place = root.join(library.trim_start_matches('/'));
        fs::create_dir_all(place.parent()?).ok()?;
        fs::copy(library, place).ok()?;
    }
    linked.status.success().then_some(())
}

/// A root folder with a shell, and an archive that has it as a layer and another above, which everybody may read.
struct Images {
    folder: PathBuf,
    archive: PathBuf,
    _all: tempfile::TempDir,
}

fn images() -> Option<Images> {
    let all = tempfile::tempdir().expect("a folder");
    let (folder, archive) = (all.path().join("root"), all.path().join("saved.tar.gz"));
    for name in ["bin", "etc", "opt"] {
        fs::create_dir_all(folder.join(name)).expect("a folder");
    }
    PROGRAMS.into_iter().try_for_each(|name| copy_program(name, &folder))?;
    fs::write(folder.join("etc/motd"), "of the image\n").expect("a file");
    symlink("/bin/sh", folder.join("opt/shell")).expect("a link");
    let layer = |fill: &dyn Fn(&mut tar::Builder<Vec<u8>>)| {
        let mut builder = tar::Builder::new(Vec::new());
        builder.follow_symlinks(false);
        fill(&mut builder);
        builder.into_inner().expect("an archive")
    };
    let add = |builder: &mut tar::Builder<Vec<u8>>, name: &str, content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, content).expect("an entry");
    };
    let first = layer(&|builder| builder.append_dir_all("", &folder).expect("the folder"));
    let second = layer(&|builder| {
        add(builder, "etc/motd", b"of the second layer\n");
        add(builder, "bin/.wh.ls", b"");
    });
    let architecture = if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" };
    let config = json!({"os": "linux", "architecture": architecture, "config": {
        "Entrypoint": ["shell", "-c"], "Cmd": ["cat /etc/motd; echo $WHO in $PWD; sleep 1000"],
        "Env": ["PATH=/bin:/opt", "WHO=image"], "WorkingDir": "/opt",
    }});
    let manifest =
        json!([{"Config": "c.json", "RepoTags": ["saved:1"], "Layers": ["1.tar", "2.tar"]}]);
    let whole = layer(&|builder| {
        add(builder, "2.tar", &second);
        add(builder, "1.tar", &first);
        add(builder, "manifest.json", manifest.to_string().as_bytes());
        add(builder, "c.json", config.to_string().as_bytes());
    });
    let mut packed = GzEncoder::new(File::create(&archive).expect("a file"), Compression::fast());
    std::io::Write::write_all(&mut packed, &whole).expect("an archive");
    packed.finish().expect("an archive");
    let everybody = |mode| Permissions::from_mode(mode);
    fs::set_permissions(all.path(), everybody(0o755)).expect("a mode");
    fs::set_permissions(&archive, everybody(0o644)).expect("a mode");
    Some(Images { folder, archive, _all: all })
}

const POD: &str = "
apiVersion: v1
kind: Pod
metadata: {name: three}
spec:
  restartPolicy: Never
  volumes:
    - {name: shared, emptyDir: {}}
    - {name: about, downwardAPI: {items: [{path: name, fieldRef: {fieldPath: metadata.name}}]}}
  containers:
    - name: folder
      image: folder
      command: [sh, -c, 'echo hello > /data/shared/file; cat /opt/about/name; ls /; sleep 1000']
      volumeMounts: [{name: shared, mountPath: /data/shared}, {name: about, mountPath: /opt/about}]
    - name: archive
      image: saved:1
      command: [sh, -c, 'until cat /opt/file; do sleep 0.1; done; sleep 1000']
      volumeMounts: [{name: shared, mountPath: /opt}]
    - name: machine
      image: busybox
      command: [sh, -c, 'until cat /tmp/file; do sleep 0.1; done; ls /usr/bin >/dev/null && sleep 1000']
      volumeMounts: [{name: shared, mountPath: /tmp}]
";

#[test]
fn pods_have_the_files_and_the_settings_of_an_archive_and_of_a_folder_and_may_not_change_them() {
    let Some(images) = images() else {
        skip(
            "pods_have_the_files_and_the_settings_of_an_archive_and_of_a_folder_and_may_not_change_them",
            "ldd does not tell which libraries the machine's shell needs",
        );
        return;
    };
    let (archive, folder) = (&images.archive, &images.folder);
    let saved = format!("saved:1={}", archive.display());
    let shown = format!("folder={}", folder.display());
    for user in users() {
        let lab = Lab::start_with(user, &["--image", &saved, "--image", &shown]);
        let _ = lab.kubectl("run as-it-is --image=saved:1 --restart=Never");
        let _ = lab.kubectl_with("apply -f -", POD);
        wait_for_state(&lab, "as-it-is", "Running");
        wait_for_state(&lab, "three", "Running");
        let log = |line: &str, is_right: &dyn Fn(&str) -> bool| {
            let ask = || is_right(lab.kubectl(&format!("logs {line}")).trim()).then_some(());
            wait_for(line, ask);
        };
        log("as-it-is", &|said| said == "of the second layer\nimage in /opt");
        log("three -c folder", &|said| said.starts_with("three") && said.contains("\nproc"));
        assert!(!lab.kubectl("logs three -c folder").contains("usr"));
        log("three -c machine", &|said| said.ends_with("hello"));
        log("three -c archive", &|said| said.ends_with("hello"));
        let exec = |line: &str| lab.try_kubectl(&format!("exec as-it-is -- {line}"), "");
        // What the second layer takes away is not there, and the machine's is not to be seen.
        assert!(exec("ls").failed().contains(r#"exec: "ls": executable file not found in $PATH"#));
        assert!(exec("/usr/bin/env").failed().contains("executable file not found"));
        assert!(exec("cat /etc/resolv.conf").ok().contains("10.96.0.10"));
        for file in ["/etc/motd", "/etc/hosts", "/new"] {
            let script = ["exec", "as-it-is", "--", "sh", "-c", &*format!("echo x > {file}")];
            let said = run(lab.command("kubectl").args(script), "").failed();
            assert!(said.contains("Read-only file system"), "{file}: {said}");
        }
        assert_eq!(fs::read_to_string(folder.join("etc/motd")).expect("it"), "of the image\n");
        let debug = "debug as-it-is --profile=general --image=folder -c tools -- sh";
        let _ = lab.kubectl(debug);
        let told = wait_for("why not", || {
            events(&lab, "as-it-is", "Failed").into_iter().find(|said| said.contains("folder"))
        });
        assert!(told.contains("a pod's root folders are made when it starts"), "{told}");
        lab.end();
    }
}

#[test]
fn an_image_that_cannot_be_had_is_told_before_there_is_a_lab() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = |name: &str| folder.path().join(name);
    let mut archive = tar::Builder::new(File::create(place("other.tar")).expect("a file"));
    let mut header = tar::Header::new_gnu();
    header.set_size(0);
    archive.append_data(&mut header, "a", &b""[..]).expect("an entry");
    archive.finish().expect("an archive");
    fs::write(place("text"), "text").expect("a file");
    for (name, code, expected) in [
        ("other.tar", 1, "there is no image in it: neither manifest.json"),
        ("text", 2, "is no archive of an image, and cannot be run"),
        ("nothing", 2, "cannot read"),
    ] {
        let image = format!("a={}", place(name).display());
        let mut command = Command::new(end_to_end::program("hello-lab"));
        let output = run(command.args(["run", "--image", &image, "--", "true"]), "");
        assert_eq!(output.status.code(), Some(code), "{}", output.stderr);
        assert!(output.stderr.contains(expected), "{}", output.stderr);
    }
}
