//! What the end-to-end tests share: a lab of their own, kubectl on it, and bounded waits.

mod lab;
pub mod pods;
mod process;
pub mod proxy;
pub mod rolling;
pub mod server;
pub mod services;
pub mod typist;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User, geteuid};

pub use lab::Lab;
pub use process::{descendants, is_alive, processes, status_field};

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

/// Runs netpol with a script in the place of kubectl.
///
/// # Panics
///
/// When the script cannot be written.
#[must_use]
pub fn netpol_with_kubectl(script: &str, arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().expect("a folder");
    let kubectl = folder.path().join("kubectl");
    fs::write(&kubectl, script).expect("a script");
    fs::set_permissions(&kubectl, fs::Permissions::from_mode(0o755)).expect("it is ours");
    let path = format!("{}:/usr/bin:/bin", folder.path().display());
    run(Command::new(program("netpol")).env("PATH", path).args(arguments), "")
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

/// The examples in the help of a command of netpol, as a narrow terminal shows them.
///
/// # Panics
///
/// When there is none.
#[must_use]
pub fn examples(command: &str) -> Vec<String> {
    let mut netpol = Command::new(program("netpol"));
    let help = run(netpol.args([command, "--help"]).env("COLUMNS", "50"), "").ok();
    let lines = help.lines().filter_map(|line| line.strip_prefix("Example: "));
    let examples: Vec<_> = lines.map(str::to_owned).collect();
    assert!(!examples.is_empty(), "{command}: {help}");
    examples
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
/// When it cannot be started, or does not end within ten minutes, which building images may take.
#[must_use]
pub fn run(command: &mut Command, input: &str) -> Output {
    run_within(PATIENCE * 10, command, input)
}

/// [`run`], with a limit of its own: what never ends fails its test by name, and not the whole run.
pub(crate) fn run_within(limit: Duration, command: &mut Command, input: &str) -> Output {
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
    let pid = i32::try_from(child.id()).expect("a process number");
    let (ended, end) = mpsc::channel::<()>();
    let watch = std::thread::spawn(move || {
        let late = end.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout);
        if late {
            // What it started may hold its pipes open.
            for pid in descendants(pid).into_iter().chain([pid]) {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
        late
    });
    let output = child.wait_with_output().expect("it was started");
    drop(ended);
    let late = watch.join().expect("it only waits");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let output =
        Output { status: output.status, stdout: text(output.stdout), stderr: text(output.stderr) };
    let end = |text: &str| {
        text.chars().rev().take(2000).collect::<Vec<_>>().into_iter().rev().collect::<String>()
    };
    assert!(
        !late,
        "{command:?} had not ended after {limit:?}, and was killed; its last words: {}{}",
        end(&output.stdout),
        end(&output.stderr),
    );
    output
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

/// A folder for a user's files, which the user owns.
fn home(user: As) -> tempfile::TempDir {
    home_in(user, &std::env::temp_dir())
}

/// The same in `folder`.
///
/// # Panics
///
/// When it cannot be made.
#[must_use]
pub fn home_in(user: As, folder: &Path) -> tempfile::TempDir {
    let home = tempfile::tempdir_in(folder).expect("a folder");
    give(user, home.path());
    home
}

/// Makes `path` the user's.
///
/// # Panics
///
/// When only root may, and this is not root.
pub fn give(user: As, path: &Path) {
    if user == As::Nobody {
        let nobody = nobody();
        nix::unistd::chown(path, Some(nobody.uid), Some(nobody.gid)).expect("root may");
    }
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
