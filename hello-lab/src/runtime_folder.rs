//! Where a lab keeps its kubeconfig and says that it runs: a folder of its owner's alone.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::unistd::{Pid, getuid};
use serde::{Deserialize, Serialize};

/// The folder of one lab.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeFolder(PathBuf);

/// Which process keeps a lab. The start time tells it from a later one with the same number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keeper {
    /// The process.
    pub pid: i32,
    /// When it was started, in the kernel's clock ticks.
    pub started: u64,
}

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// A lab of this name runs.
    #[error(
        "a lab named {name:?} runs already (process {pid}); end it with `hello-lab down`, or choose another --name"
    )]
    Running {
        /// Its name.
        name: String,
        /// Its keeper.
        pid: i32,
    },
    /// Somebody else made it, perhaps to catch what is written there.
    #[error("{} is not yours alone: remove it, or set XDG_RUNTIME_DIR to a folder that is", .0.display())]
    NotOurs(PathBuf),
    /// A name that is no file name.
    #[error("{0:?} is no name for a lab: use letters, digits and hyphens")]
    BadName(String),
    /// The file system refused.
    #[error("cannot use {}", path.display())]
    Io {
        /// What could not be used.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> FolderError {
    let path = path.to_owned();
    |cause| FolderError::Io { path, cause }
}

/// The folder of all of a user's labs: in `XDG_RUNTIME_DIR` where there is one, else in `temporary`.
#[must_use]
pub fn base(xdg_runtime_dir: Option<&Path>, temporary: &Path) -> PathBuf {
    let ours = |folder: &&Path| {
        fs::metadata(folder).is_ok_and(|data| data.is_dir() && data.uid() == getuid().as_raw())
    };
    match xdg_runtime_dir.filter(|folder| folder.is_absolute()).filter(ours) {
        Some(folder) => folder.join("hello-lab"),
        None => temporary.join(format!("hello-lab-{}", getuid())),
    }
}

impl RuntimeFolder {
    /// A folder that exists.
    #[must_use]
    pub fn existing(path: PathBuf) -> Self {
        Self(path)
    }

    /// Takes the folder of the lab `name` under `base` for this process.
    pub fn take(base: &Path, name: &str) -> Result<Self, FolderError> {
        let fits = |char: char| char.is_ascii_alphanumeric() || char == '-';
        if name.is_empty() || !name.chars().all(fits) {
            return Err(FolderError::BadName(name.to_owned()));
        }
        let _alone = lock(base)?;
        let folder = Self(base.join(name));
        if let Some(keeper) = folder.keeper() {
            if keeper.is_alive() {
                return Err(FolderError::Running { name: name.to_owned(), pid: keeper.pid });
            }
            fs::remove_dir_all(&folder.0).map_err(at(&folder.0))?;
        }
        make_private(&folder.0)?;
        let keeper = Keeper::of(Pid::this()).map_err(at(&folder.0))?;
        let json =
            serde_json::to_string(&keeper).map_err(io::Error::other).map_err(at(&folder.0))?;
        folder.write("keeper.json", &json)?;
        Ok(folder)
    }

    /// The folders of every lab under `base`, sorted by name.
    #[must_use]
    pub fn all(base: &Path) -> Vec<Self> {
        let entries = fs::read_dir(base).into_iter().flatten().flatten();
        let mut folders: Vec<_> = entries.map(|entry| Self(entry.path())).collect();
        folders.sort_by(|a, b| a.0.cmp(&b.0));
        folders
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The lab's name.
    #[must_use]
    pub fn name(&self) -> String {
        self.0.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// The lab's kubeconfig.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.0.join("kubeconfig")
    }

    /// Where the lab mounts a file system of its own, which nobody else sees.
    #[must_use]
    pub fn mount_point(&self) -> PathBuf {
        self.0.join("memory")
    }

    /// The process that keeps the lab.
    #[must_use]
    pub fn keeper(&self) -> Option<Keeper> {
        serde_json::from_str(&fs::read_to_string(self.0.join("keeper.json")).ok()?).ok()
    }

    /// Writes a file that only its owner can read.
    pub fn write(&self, name: &str, content: &str) -> Result<(), FolderError> {
        let path = self.0.join(name);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let write = |mut file: fs::File| file.write_all(content.as_bytes());
        options.open(&path).and_then(write).map_err(at(&path))
    }

    /// Removes it, and the folder of all labs if it was the last.
    pub fn remove(&self) {
        let _alone = self.0.parent().map(lock);
        if let Err(error) = fs::remove_dir_all(&self.0)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!("cannot remove {}: {error}", self.0.display());
        }
        if let Some(base) = self.0.parent() {
            // Another lab's folder may be in it.
            let _ = fs::remove_dir(base);
        }
    }
}

impl Keeper {
    fn of(pid: Pid) -> io::Result<Self> {
        Ok(Self { pid: pid.as_raw(), started: start_time(pid)? })
    }

    /// Whether that process still runs.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        start_time(Pid::from_raw(self.pid)).is_ok_and(|started| started == self.started)
    }
}

/// Field 22 of /proc/PID/stat (proc(5)); fails for a process that is gone or has ended.
fn start_time(pid: Pid) -> io::Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name, in parentheses, may hold anything.
    let (_, fields) = stat.rsplit_once(") ").ok_or(io::ErrorKind::InvalidData)?;
    let fields: Vec<&str> = fields.split(' ').collect();
    if matches!(fields.first(), Some(&("Z" | "X"))) {
        return Err(io::ErrorKind::NotFound.into());
    }
    fields.get(19).and_then(|field| field.parse().ok()).ok_or(io::ErrorKind::InvalidData.into())
}

/// Makes a folder that only its owner can enter; one that is there must be so.
fn make_private(path: &Path) -> Result<(), FolderError> {
    let data = loop {
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(at(path)(error));
            }
            _ => {}
        }
        match fs::symlink_metadata(path) {
            // Somebody removed it just now.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            data => break data.map_err(at(path))?,
        }
    };
    let private = data.is_dir() && data.uid() == getuid().as_raw() && data.mode() & 0o077 == 0;
    if private { Ok(()) } else { Err(FolderError::NotOurs(path.to_owned())) }
}

/// Keeps others from taking or removing a folder in `base` until the file is dropped.
fn lock(base: &Path) -> Result<fs::File, FolderError> {
    loop {
        make_private(base)?;
        let file = match fs::File::open(base) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            opened => opened.map_err(at(base))?,
        };
        file.lock().map_err(at(base))?;
        // Whoever had it before may have removed it.
        let held = file.metadata().map_err(at(base))?.ino();
        if fs::metadata(base).is_ok_and(|there| there.ino() == held) {
            return Ok(file);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_taken_once_and_again_when_it_was_given_back() {
        let base = tempfile::tempdir().unwrap();
        let base = base.path().join("labs");
        let folder = RuntimeFolder::take(&base, "a").unwrap();
        let refused = RuntimeFolder::take(&base, "a").unwrap_err();
        assert!(matches!(refused, FolderError::Running { .. }), "{refused}");
        RuntimeFolder::take(&base, "b").unwrap().remove();
        folder.remove();
        assert!(!base.exists());
        RuntimeFolder::take(&base, "a").unwrap();
    }

    #[test]
    fn the_folder_of_a_lab_that_was_killed_is_taken_over() {
        let base = tempfile::tempdir().unwrap();
        let base = base.path().join("labs");
        let folder = RuntimeFolder::take(&base, "a").unwrap();
        let mut keeper = folder.keeper().unwrap();
        keeper.started += 1;
        folder.write("keeper.json", &serde_json::to_string(&keeper).unwrap()).unwrap();
        let folder = RuntimeFolder::take(&base, "a").unwrap();
        assert!(folder.keeper().unwrap().is_alive());
    }

    #[test]
    fn of_many_who_want_a_name_at_once_one_gets_it() {
        let base = tempfile::tempdir().unwrap();
        let base = base.path().join("labs");
        let takers: Vec<_> = (0..16)
            .map(|number| {
                let base = base.clone();
                std::thread::spawn(move || {
                    // The folder of all labs comes and goes meanwhile.
                    RuntimeFolder::take(&base, &format!("other-{number}")).unwrap().remove();
                    RuntimeFolder::take(&base, "a").is_ok()
                })
            })
            .collect();
        let taken = takers.into_iter().map(|taker| taker.join().unwrap()).filter(|taken| *taken);
        assert_eq!(taken.count(), 1);
    }

    #[test]
    fn files_are_their_owners_alone() {
        let base = tempfile::tempdir().unwrap();
        let base = base.path().join("labs");
        let folder = RuntimeFolder::take(&base, "a").unwrap();
        folder.write("kubeconfig", "secret").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!(mode(&folder.kubeconfig()), 0o600);
        assert_eq!(mode(folder.path()), 0o700);
        fs::set_permissions(&base, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        assert!(matches!(RuntimeFolder::take(&base, "b"), Err(FolderError::NotOurs(_))));
    }

    #[test]
    fn names_cannot_leave_the_folder() {
        let base = tempfile::tempdir().unwrap();
        for bad in ["", "..", "a/b", "."] {
            let result = RuntimeFolder::take(base.path(), bad);
            assert!(matches!(result, Err(FolderError::BadName(_))), "{bad}");
        }
    }
}
