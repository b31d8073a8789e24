//! What the end-to-end tests share: a lab of their own, kubectl on it, and bounded waits.

pub mod rolling;
pub mod server;
pub mod typist;

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User, geteuid};
use serde_json::Value;

/// How long anything may take here before a test gives up on it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The repository.
#[must_use]
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace")
}

/// A program of the release build, as `make build` leaves it.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let path = repository().join("target/release").join(name);
    assert!(path.exists(), "{} is missing: run `make build` first", path.display());
    path
}

/// Tells why a test is skipped, in the form that `scripts/test.sh` counts.
pub fn skip(test: &str, why: &str) {
    println!("SKIPPED: {test}: {why}");
}

/// Whether a Docker engine runs here that has Compose.
///
/// # Errors
///
/// Why not.
pub fn docker_engine() -> Result<(), String> {
    for check in [["compose", "version"], ["info", "--format={{.ServerVersion}}"]] {
        match Command::new("docker").args(check).output() {
            Err(error) => return Err(format!("no docker command here: {error}")),
            Ok(output) if !output.status.success() => {
                let said = String::from_utf8_lossy(&output.stderr);
                let why = said.lines().last().unwrap_or_default();
                return Err(format!("`docker {}` fails: {why}", check.join(" ")));
            }
            Ok(_) => {}
        }
    }
    Ok(())
}

/// A command of the README and the output shown right below it.
#[derive(Debug)]
pub struct Step {
    /// The command as a person types it.
    pub command: String,
    /// The lines that it is said to print.
    pub output: Vec<String>,
}

/// The commands of a section of the README: in its indented blocks, `$ ` begins a command,
/// and what follows is its output.
#[must_use]
pub fn readme_steps(heading: &str) -> Vec<Step> {
    let readme = std::fs::read_to_string(repository().join("README.md")).expect("a README");
    let (_, section) = readme.split_once(&format!("\n{heading}\n")).expect(heading);
    let section = section.split_once("\n## ").map_or(section, |(section, _)| section);
    let mut steps: Vec<Step> = Vec::new();
    let mut open = false;
    for line in section.lines() {
        match (line.strip_prefix("    "), steps.last_mut()) {
            (Some(text), _) if text.starts_with("$ ") => {
                steps.push(Step { command: text[2..].to_owned(), output: Vec::new() });
                open = true;
            }
            (Some(text), Some(step)) if open => step.output.push(text.to_owned()),
            _ => open = false,
        }
    }
    steps
}

/// The user that a lab runs as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum As {
    /// Whoever runs the tests.
    Myself,
    /// An ordinary user without capabilities; tests must run as root to become one.
    Nobody,
}

/// What a program said, and how it ended.
#[derive(Debug)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Output {
    /// The standard output of a program that succeeded.
    ///
    /// # Panics
    ///
    /// When it did not.
    #[must_use]
    pub fn ok(self) -> String {
        assert!(self.status.success(), "{}: {}{}", self.status, self.stdout, self.stderr);
        self.stdout
    }

    /// All that a program said that failed, as it should.
    ///
    /// # Panics
    ///
    /// When it did not.
    #[must_use]
    pub fn failed(self) -> String {
        assert!(!self.status.success(), "it succeeded: {}{}", self.stdout, self.stderr);
        self.stdout + &self.stderr
    }
}

/// Runs a command to its end, with `input` on its standard input.
///
/// # Panics
///
/// When it cannot be started.
#[must_use]
pub fn run(command: &mut Command, input: &str) -> Output {
    let mut child = command
        .current_dir(repository())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    let mut stdin = child.stdin.take().expect("piped");
    let input = input.to_owned();
    // A program that does not read its input is none of this one's business.
    std::thread::spawn(move || std::io::Write::write_all(&mut stdin, input.as_bytes()));
    let output = child.wait_with_output().expect("it was started");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Output { status: output.status, stdout: text(output.stdout), stderr: text(output.stderr) }
}

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
        let home = home(user);
        let mut keeper = command(user, home.path(), program("hello-lab"))
            .arg("up")
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("hello-lab can be started");
        let mut lines = BufReader::new(keeper.stdout.take().expect("piped")).lines();
        let export = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| Some(line.trim().strip_prefix("export KUBECONFIG=")?.to_owned()))
            .expect("it says where its kubeconfig is");
        // Kept open: a closed pipe must not be what ends the lab.
        std::thread::spawn(move || lines.for_each(drop));
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
        run(self.command("kubectl").args(line.split_whitespace()), input)
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
        let _ = self.keeper.wait().expect("a child");
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if matches!(self.keeper.try_wait(), Ok(None)) {
            let _ = kill(self.keeper(), Signal::SIGTERM);
            let _ = self.keeper.wait();
        }
    }
}

/// Asks again and again, for as long as [`PATIENCE`] lasts, until there is an answer.
///
/// # Panics
///
/// When there is none.
pub fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Every process that descends from `root`, itself not included.
#[must_use]
pub fn descendants(root: i32) -> Vec<i32> {
    let mut found = vec![root];
    let all: Vec<(i32, i32)> = processes().filter_map(|pid| Some((pid, parent(pid)?))).collect();
    let mut index = 0;
    while index < found.len() {
        let of = found[index];
        found.extend(all.iter().filter(|(_, parent)| *parent == of).map(|(pid, _)| *pid));
        index += 1;
    }
    found.split_off(1)
}

/// Every process of the machine.
pub fn processes() -> impl Iterator<Item = i32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Whether a process runs: it is there, and it is no zombie.
#[must_use]
pub fn is_alive(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, fields)| !fields.starts_with(['Z', 'X']))
}

/// The field `name` of a process's /proc/PID/status, such as `CapEff`.
#[must_use]
pub fn status_field(pid: i32, name: &str) -> String {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let value = |line: &str| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim().to_owned());
    status.lines().find_map(value).expect(name)
}

fn parent(pid: i32) -> Option<i32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}

fn environment(pid: i32, name: &str) -> Option<String> {
    let mut text = String::new();
    std::fs::File::open(format!("/proc/{pid}/environ")).ok()?.read_to_string(&mut text).ok()?;
    let mut variables = text.split('\0').filter_map(|variable| variable.split_once('='));
    variables.find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
}

/// A folder for a user's files, which the user owns.
fn home(user: As) -> tempfile::TempDir {
    let home = tempfile::tempdir().expect("a folder");
    if user == As::Nobody {
        let nobody = nobody();
        nix::unistd::chown(home.path(), Some(nobody.uid), Some(nobody.gid)).expect("root may");
    }
    home
}

fn nobody() -> User {
    User::from_name("nobody").expect("users can be read").expect("there is a user nobody")
}

/// A command run as `user`, with a home of its own.
fn command(user: As, home: &Path, program: impl AsRef<OsStr>) -> Command {
    use std::os::unix::process::CommandExt;
    let mut command = Command::new(program);
    command
        .env("HOME", home)
        .env("XDG_RUNTIME_DIR", home)
        .env("TMPDIR", home)
        .env_remove("KUBECONFIG");
    if user == As::Nobody {
        assert!(geteuid().is_root(), "only root can become another user");
        let nobody = nobody();
        command.uid(nobody.uid.as_raw()).gid(nobody.gid.as_raw());
    }
    command
}

/// A command run as `user`, in the repository, and the home that it has.
#[must_use]
pub fn command_as(user: As, program: impl AsRef<OsStr>) -> (Command, tempfile::TempDir) {
    let home = home(user);
    let mut command = command(user, home.path(), program);
    command.current_dir(repository());
    (command, home)
}

/// The users that a test of the lab can be run as here.
#[must_use]
pub fn users() -> Vec<As> {
    if geteuid().is_root() { vec![As::Myself, As::Nobody] } else { vec![As::Myself] }
}
