//! The command line.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand};
use netpol::compile::{Behaviour, Denied, Established};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::loops::Loop;

/// A little Kubernetes on this machine, with nothing installed: pods are processes, and the
/// kernel enforces NetworkPolicies. For one machine and a handful of pods; kind or GKE are for
/// everything else.
///
/// Exit codes: 0 as asked, 1 it failed, 2 a bad argument; `run` passes on its command's.
#[derive(Debug, Parser)]
#[command(version, name = "hello-lab")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start a lab, say how to use it, and keep it until Ctrl-C or `hello-lab down`
    Up {
        /// Which lab.
        #[command(flatten)]
        lab: LabArgs,
        /// Go to the background once it is ready
        #[arg(long)]
        detach: bool,
    },
    /// Start a lab, run a command with KUBECONFIG set, tear the lab down
    Run {
        /// The lab's name; without it, one of its own
        #[arg(long)]
        name: Option<String>,
        /// What the lab is like.
        #[command(flatten)]
        settings: Settings,
        /// The command and its arguments, after `--`
        #[arg(required = true, last = true, value_name = "COMMAND")]
        command: Vec<OsString>,
    },
    /// A shell with KUBECONFIG set: in the lab that runs, or in one that ends with the shell
    Shell {
        /// Which lab.
        #[command(flatten)]
        lab: LabArgs,
    },
    /// Show the labs that run
    Status,
    /// Tear a lab down, and clean up after one that was killed
    Down {
        /// The lab's name
        #[arg(long, default_value = "default")]
        name: String,
    },
    /// Keeps a lab in the background; not for people.
    #[command(hide = true)]
    Keep {
        /// Which lab.
        #[arg(value_parser = from_json::<LabArgs>)]
        lab: LabArgs,
    },
    /// Enters a lab's namespaces; not for people.
    #[command(hide = true)]
    Launch {
        /// What is to be started.
        #[arg(value_parser = from_json::<Stage>)]
        stage: Stage,
    },
    /// Process 1 of a lab; not for people.
    #[command(hide = true)]
    Init {
        /// What is to be started.
        #[arg(value_parser = from_json::<Stage>)]
        stage: Stage,
    },
    /// The lab itself; not for people.
    #[command(hide = true)]
    Lab {
        /// What is to be started.
        #[arg(value_parser = from_json::<Stage>)]
        stage: Stage,
    },
}

/// A lab that lasts.
#[derive(Clone, Debug, Args, Serialize, Deserialize)]
pub struct LabArgs {
    /// A name, to have several labs side by side
    #[arg(long, default_value = "default")]
    pub name: String,
    /// What the lab is like.
    #[command(flatten)]
    pub settings: Settings,
}

/// What a lab is like.
#[derive(Clone, Debug, Args, Serialize, Deserialize)]
pub struct Settings {
    /// TCP port of the API on 127.0.0.1; 0 takes a free one
    #[arg(long, default_value_t = 0)]
    pub port: u16,
    /// What becomes of packets that no policy allows
    #[arg(long, value_enum, default_value_t)]
    pub denied: Denied,
    /// What becomes of open connections that a new policy does not allow
    #[arg(long, value_enum, default_value_t)]
    pub established: Established,
    /// Add an image: the name that pods use, and what it is on this machine: a program, which is copied now; an
    /// archive of `docker save` or an OCI layout, which is unpacked into memory; or a root folder. May be given
    /// several times
    #[arg(long, value_name = "REFERENCE=PATH", value_parser = FurtherImage::parse)]
    pub image: Vec<FurtherImage>,
    /// Has a loop of the lab fail once it is ready, to see that the lab ends; for tests.
    #[arg(long, value_enum, hide = true)]
    pub fail: Option<Loop>,
}

impl Settings {
    /// What the lab does where the API leaves it to the engine.
    #[must_use]
    pub fn behaviour(&self) -> Behaviour {
        Behaviour { denied: self.denied, established: self.established, log_group: None }
    }
}

/// An image that a user adds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FurtherImage {
    /// What pods call it.
    pub reference: String,
    /// Where it is.
    pub path: PathBuf,
    /// What is there.
    pub form: Form,
}

/// What an image is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Form {
    /// A program.
    Program,
    /// A root folder.
    Folder,
    /// What `docker save` writes, or a layout of the Open Container Initiative, also as a folder.
    Archive,
}

/// Why `--image` names no image.
#[derive(Debug, thiserror::Error)]
enum NotAnImage {
    #[error("expected REFERENCE=PATH")]
    NoPair,
    #[error(transparent)]
    NoPath(std::io::Error),
    #[error("cannot read {path}")]
    Unreadable {
        path: String,
        #[source]
        cause: std::io::Error,
    },
    #[error("{path} is no archive of an image, and cannot be run: {}", .cause.desc())]
    NoProgram { path: String, cause: nix::errno::Errno },
}

impl FurtherImage {
    /// Reads `REFERENCE=PATH`. Something that can be an image must be there.
    fn parse(text: &str) -> Result<Self, NotAnImage> {
        let pair = text.split_once('=').filter(|(reference, _)| !reference.is_empty());
        let (reference, name) = pair.ok_or(NotAnImage::NoPair)?;
        let path = std::path::absolute(name).map_err(NotAnImage::NoPath)?;
        let form =
            form(&path).map_err(|cause| NotAnImage::Unreadable { path: name.to_owned(), cause })?;
        if form == Form::Program {
            nix::unistd::access(&path, nix::unistd::AccessFlags::X_OK)
                .map_err(|cause| NotAnImage::NoProgram { path: name.to_owned(), cause })?;
        }
        Ok(Self { reference: reference.to_owned(), path, form })
    }
}

/// What begins with these is compressed by gzip (RFC 1952, 2.3.1).
pub(crate) const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Where tar(5) has its magic number, after a name and numbers.
const MAGIC_OF_TAR: (usize, &[u8]) = (257, b"ustar");

/// What is at `path`; what it is not read of is a program.
fn form(path: &Path) -> std::io::Result<Form> {
    if path.is_dir() {
        let is_packed =
            ["oci-layout", "manifest.json"].iter().any(|name| path.join(name).is_file());
        return Ok(if is_packed { Form::Archive } else { Form::Folder });
    }
    // A program need not be readable.
    let mut head = Vec::new();
    match File::open(path) {
        Ok(file) => file.take(512).read_to_end(&mut head)?,
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => 0,
        Err(error) => return Err(error),
    };
    let (at, magic) = MAGIC_OF_TAR;
    let is_tar = head.get(at..).is_some_and(|rest| rest.starts_with(magic));
    Ok(if is_tar || head.starts_with(&GZIP) { Form::Archive } else { Form::Program })
}

/// What the processes of a lab's start tell each other: one argument, as JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Stage {
    /// Where the lab's files are.
    pub folder: PathBuf,
    /// The process that must live as long as this one.
    pub parent: i32,
    /// What among the machine's programs pods are not to see.
    pub hidden: Vec<PathBuf>,
    /// Whether the lab is root's.
    pub privileged: bool,
    /// What the lab is like.
    pub settings: Settings,
}

fn from_json<T: DeserializeOwned>(text: &str) -> Result<T, serde_json::Error> {
    serde_json::from_str(text)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_further_image_is_a_program_that_can_be_run() {
        let image = FurtherImage::parse("r.example/shell@sha256:0=/bin/sh").unwrap();
        assert_eq!(image.reference, "r.example/shell@sha256:0");
        assert_eq!(image.form, Form::Program);
        for bad in ["/bin/sh", "=/bin/sh", "a=/no/such", "a=/etc/passwd", "a="] {
            assert!(FurtherImage::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_image_is_what_its_path_shows() {
        let folder = tempfile::tempdir().unwrap();
        let form = |name: &str| {
            FurtherImage::parse(&format!("a={}", folder.path().join(name).display()))
                .map(|image| image.form)
                .map_err(|error| error.to_string())
        };
        let mut tar = vec![0; 1024];
        tar[257..262].copy_from_slice(b"ustar");
        std::fs::write(folder.path().join("tar"), tar).unwrap();
        std::fs::write(folder.path().join("gz"), [0x1f, 0x8b, 8]).unwrap();
        std::fs::write(folder.path().join("text"), "text").unwrap();
        assert_eq!(form("tar"), Ok(Form::Archive));
        assert_eq!(form("gz"), Ok(Form::Archive));
        assert!(form("text").unwrap_err().contains("is no archive of an image, and cannot be run"));
        assert_eq!(form(""), Ok(Form::Folder));
        std::fs::write(folder.path().join("oci-layout"), "{}").unwrap();
        assert_eq!(form(""), Ok(Form::Archive));
    }

    #[test]
    fn a_stage_is_told_what_the_one_before_knew() {
        let image = "r.example/shell:1=/bin/sh";
        let line = ["x", "up", "--port", "1", "--denied", "reject", "--image", image];
        let Command::Up { lab, .. } = Cli::parse_from(line).command else { panic!("up") };
        let (folder, hidden) = ("/f".into(), vec!["/opt/ann".into()]);
        let stage = Stage { folder, parent: 7, hidden, privileged: true, settings: lab.settings };
        let json = serde_json::to_string(&stage).unwrap();
        let Command::Lab { stage: next } = Cli::parse_from(["x", "lab", &json]).command else {
            panic!("lab")
        };
        assert_eq!(format!("{stage:?}"), format!("{next:?}"));
        assert_eq!(next.settings.image[0].reference, "r.example/shell:1");
    }
}
