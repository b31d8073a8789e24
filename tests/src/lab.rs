//! A lab of a test's own, and kubectl on it.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::process::{descendants, environment};
use crate::{As, Output, PATIENCE, command, home, program, run_within, wait_for};

/// A lab of a test's own, which ends with it.
pub struct Lab {
    keeper: Child,
    kubeconfig: PathBuf,
    home: tempfile::TempDir,
    user: As,
}

impl Lab {
    /// Starts a lab.
    ///
    /// # Panics
    ///
    /// When it does not start.
    #[must_use]
    pub fn start(user: As) -> Self {
        Self::start_with(user, &[])
    }

    /// Starts a lab with these arguments of `hello-lab up`.
    ///
    /// # Panics
    ///
    /// When it does not start.
    #[must_use]
    pub fn start_with(user: As, args: &[&str]) -> Self {
        Self::start_at_home(user, home(user), args)
    }

    /// Starts a lab of a user who has this home.
    ///
    /// # Panics
    ///
    /// When it does not start.
    #[must_use]
    pub fn start_at_home(user: As, home: tempfile::TempDir, args: &[&str]) -> Self {
        let mut keeper = command(user, home.path(), program("hello-lab"))
            .arg("up")
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("hello-lab can be started");
        let stdout = BufReader::new(keeper.stdout.take().expect("piped"));
        let (said, hear) = mpsc::channel();
        // Read to its end: a closed pipe must not be what ends the lab.
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if let Some(path) = line.trim().strip_prefix("export KUBECONFIG=") {
                    let _ = said.send(path.to_owned());
                }
            }
        });
        let export = hear.recv_timeout(PATIENCE).unwrap_or_else(|error| {
            let _ = keeper.kill();
            panic!("the lab has not said where its kubeconfig is: {error}")
        });
        Self { keeper, kubeconfig: export.into(), home, user }
    }

    /// The process that keeps the lab.
    ///
    /// # Panics
    ///
    /// Never: process numbers are positive.
    #[must_use]
    pub fn keeper(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.keeper.id()).expect("a process number"))
    }

    /// Where the lab's files are, those that other processes see.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.kubeconfig.parent().expect("a file is in a folder")
    }

    /// A command with the lab's kubeconfig, run as the lab's user.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = command(self.user, self.home.path(), program);
        command.env("KUBECONFIG", &self.kubeconfig);
        command
    }

    /// Runs kubectl with the arguments in `line`, which have no spaces.
    #[must_use]
    pub fn try_kubectl(&self, line: &str, input: &str) -> Output {
        run_within(PATIENCE * 3, self.command("kubectl").args(line.split_whitespace()), input)
    }

    /// Runs kubectl, which must succeed.
    #[must_use]
    pub fn kubectl(&self, line: &str) -> String {
        self.try_kubectl(line, "").ok()
    }

    /// Runs kubectl with a manifest on its standard input, which must succeed.
    #[must_use]
    pub fn kubectl_with(&self, line: &str, manifest: &str) -> String {
        self.try_kubectl(line, manifest).ok()
    }

    /// Runs kubectl, which must fail; what it said.
    #[must_use]
    pub fn refused(&self, line: &str, manifest: &str) -> String {
        self.try_kubectl(line, manifest).failed()
    }

    /// `kubectl get … -o json`.
    ///
    /// # Panics
    ///
    /// When it fails.
    #[must_use]
    pub fn json(&self, line: &str) -> Value {
        let text = self.kubectl(&format!("get {line} -o json"));
        serde_json::from_str(&text).expect("JSON")
    }

    /// Applies the demo's server and clients, and waits until they are available.
    pub fn install_hello_app(&self) {
        let _ = self.kubectl("apply -f ./manifests/hello-app/");
        let _ = self.kubectl("wait --for=condition=Available deployment --all --timeout=30s");
    }

    /// The process, as this process sees it, of the only container of the only pod with this
    /// label.
    ///
    /// # Panics
    ///
    /// When there is none.
    #[must_use]
    pub fn process(&self, label: &str) -> i32 {
        let pods = self.json(&format!("pods -l {label}"));
        let pod = pods["items"][0]["metadata"]["name"].as_str().expect("a pod").to_owned();
        self.process_of(&pod)
    }

    /// A process of a container of the pod of this name.
    ///
    /// # Panics
    ///
    /// When there is none.
    #[must_use]
    pub fn process_of(&self, pod: &str) -> i32 {
        *descendants(self.keeper().as_raw())
            .iter()
            .find(|pid| environment(**pid, "HOSTNAME").is_some_and(|name| name == pod))
            .unwrap_or_else(|| panic!("no process of {pod}"))
    }

    /// Ends the lab as Ctrl-C does, and waits for it.
    ///
    /// # Panics
    ///
    /// When it does not end.
    pub fn end(mut self) {
        let _ = kill(self.keeper(), Signal::SIGINT);
        let keeper = &mut self.keeper;
        let status = wait_for("the lab's end", || keeper.try_wait().expect("a child"));
        assert!(status.success(), "{status}");
    }

    /// Waits for the keeper after it was killed.
    ///
    /// # Panics
    ///
    /// When it still lives.
    pub fn reap(mut self) {
        let keeper = &mut self.keeper;
        let _ = wait_for("the keeper's end", || keeper.try_wait().expect("a child"));
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let mut asked: Option<Instant> = None;
        while matches!(self.keeper.try_wait(), Ok(None)) {
            // Asked first, so that it puts away what it has made; but a lab that hangs ends with its
            // test.
            match asked {
                None => {
                    let _ = kill(self.keeper(), Signal::SIGTERM);
                    asked = Some(Instant::now());
                }
                Some(asked) if asked.elapsed() > PATIENCE => drop(self.keeper.kill()),
                Some(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }
}
