//! The root folders of the containers of a pod with volumes, or with images that have root folders of their
//! own: each shows what every pod's does, or what its image has, and what the container mounts, and nothing
//! that another container mounts.
//!
//! All are made before the first process of the pod is started, while the shim may still mount. From then on
//! it may only choose one (chroot(2)) for a process to be started in, which can choose none. A `subPath` is
//! found then too, before anybody could put a link there, and stays what it was when its container restarts.
//!
//! The containers share a PID namespace, as with `shareProcessNamespace`: those of one user can see each
//! other's files by way of `/proc/PID/root`, and so no more is hidden than on such a node.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::unistd::{chroot, fchdir};
use rustix::fs::{CWD, FileType, Mode, OFlags, PROC_SUPER_MAGIC, fstat, fstatfs, mkdirat, openat};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, move_mount};

use super::protocol::{Mount, Pod, absolute};
use super::root::READ_ONLY;
use super::{image_root, root};
use crate::mounts::{by_number, folder, inside, mount_in_memory};

/// Where the volumes are until each is where its containers mount it.
const VOLUMES: &str = ".volumes";
/// Where the containers' root folders are.
const CONTAINERS: &str = ".containers";

/// The folder among them of containers that the pod gets later; no name of a container has a dot.
const LATER: &str = ".later";

/// What may be written in a folder that only has others in it: nothing.
const SKELETON: &str = "mode=755,size=1m";

const NOTHING: Option<&str> = None;

/// The root folders of a pod's containers; none of a pod without volumes, whose containers all have the
/// pod's.
#[derive(Default)]
pub(super) struct Roots(Option<Made>);

struct Made {
    /// The pod's own.
    own: OwnedFd,
    /// A container's, or why it has none.
    containers: BTreeMap<String, anyhow::Result<OwnedFd>>,
    /// That of containers that the pod gets later, which have no volumes.
    later: anyhow::Result<OwnedFd>,
}

impl Roots {
    /// Makes those of `pod`, of which these are the volumes, in the root folder of this process.
    pub(super) fn make(pod: &Pod, volumes: Vec<OwnedFd>) -> anyhow::Result<Self> {
        if volumes.is_empty() {
            return Ok(Self::default());
        }
        let places: Vec<PathBuf> = (0..volumes.len())
            .map(|number| Path::new("/").join(VOLUMES).join(number.to_string()))
            .collect();
        for (place, volume) in places.iter().zip(volumes) {
            fs::create_dir_all(place).context("cannot make a folder for a volume")?;
            move_mount(volume, "", CWD, place, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
                .context("cannot mount a volume")?;
        }
        let own = folder(Path::new("/")).context("cannot open the pod's root folder")?;
        let make = |name: &str, image: Option<&Path>, mounts: &[Mount]| {
            let place = Path::new("/").join(CONTAINERS).join(name);
            let files = image.map_or(Files::OfPods, |root| Files::OfImage(root, &pod.files));
            container(&own, &place, files, mounts, &places)
        };
        let image = |name: &String| {
            let Some(number) = pod.roots.get(name) else { return Ok(None) };
            places
                .get(*number)
                .map(|place| Some(&**place))
                .context("its image's files are not there")
        };
        let made = pod.mounts.iter().map(|(name, mounts)| {
            (name.clone(), image(name).and_then(|image| make(name, image, mounts)))
        });
        let containers = made.collect();
        let later = make(LATER, None, &[]);
        for place in &places {
            umount2(place, MntFlags::MNT_DETACH).context("cannot let go of a volume")?;
            fs::remove_dir(place).context("cannot remove a volume's folder")?;
        }
        fs::remove_dir(Path::new("/").join(VOLUMES))
            .context("cannot remove the volumes' folder")?;
        Ok(Self(Some(Made { own, containers, later })))
    }

    /// Does something in the root folder of a container.
    pub(super) fn within<T>(
        &self,
        container: &str,
        act: impl FnOnce() -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let Some(Made { own, containers, later }) = &self.0 else { return act() };
        match containers.get(container).unwrap_or(later) {
            Ok(root) => within(own, root, act),
            Err(error) => Err(anyhow!("{error:#}")),
        }
    }
}

fn within<T>(
    own: &OwnedFd,
    root: &OwnedFd,
    act: impl FnOnce() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    change_root(root).context("cannot enter the container's root folder")?;
    let done = act();
    if let Err(errno) = change_root(own) {
        // Better no pod than a process in another container's folder.
        eprintln!("{}: cannot leave a container's root folder: {errno}", super::PROGRAM);
        std::process::exit(1);
    }
    done
}

fn change_root(root: &OwnedFd) -> nix::Result<()> {
    fchdir(root)?;
    chroot(".")
}

/// What a container sees beside its volumes.
#[derive(Clone, Copy)]
enum Files<'a> {
    /// What every pod does.
    OfPods,
    /// A root folder of its image, but for the files that are the pod's own.
    OfImage(&'a Path, &'a [(String, String)]),
}

/// Makes the root folder of a container in `place`.
fn container(
    own: &OwnedFd,
    place: &Path,
    files: Files<'_>,
    mounts: &[Mount],
    volumes: &[PathBuf],
) -> anyhow::Result<OwnedFd> {
    mount_in_memory(place, MsFlags::empty(), SKELETON)?;
    let device = fs::metadata("/").context("cannot read the pod's root folder")?.dev();
    match files {
        Files::OfPods => root::copy(Path::new("/"), place, device, &[VOLUMES, CONTAINERS])?,
        Files::OfImage(image, own) => image_root::show(image, own, place, device)?,
    }
    let root = folder(place).context("cannot open the container's root folder")?;
    let mut mounts: Vec<&Mount> = mounts.iter().collect();
    // What is mounted in another volume comes after it.
    mounts.sort_by_key(|mount| absolute(&mount.place).components().count());
    let sources = mounts.iter().map(|mount| {
        let volume = volumes.get(mount.volume).context("there is no such volume")?;
        source(volume, &mount.sub_path)
            .with_context(|| format!("failed to prepare subPath {}", mount.sub_path.display()))
    });
    let sources = sources.collect::<anyhow::Result<Vec<_>>>()?;
    let image = if let Files::OfImage(image, _) = files { Some(image) } else { None };
    let volumes = volumes.iter().filter(|place| Some(&***place) != image);
    let devices = volumes.map(|volume| Ok(fs::metadata(volume)?.dev()));
    let devices = devices.collect::<io::Result<_>>().context("cannot read a volume")?;
    within(own, &root, || {
        let mut points =
            Points { root: folder(Path::new("/"))?, volumes: devices, made: Vec::new() };
        for (one, source) in mounts.iter().zip(&sources) {
            points
                .mount(source, one)
                .with_context(|| format!("failed to mount on {}", one.place.display()))?;
        }
        for made in &points.made {
            root::remount(by_number(made), READ_ONLY).context("cannot make a folder read-only")?;
        }
        root::seal()
    })?;
    Ok(root)
}

/// Where a container's volumes are mounted, in the root folder of this process.
struct Points {
    root: OwnedFd,
    /// The file systems of the pod's volumes.
    volumes: Vec<u64>,
    /// Folders that stand in the place of the machine's, with another in them.
    made: Vec<OwnedFd>,
}

impl Points {
    fn mount(&mut self, source: &OwnedFd, one: &Mount) -> anyhow::Result<()> {
        let place = absolute(&one.place);
        let Some(path) = place.strip_prefix("/").ok().filter(|path| *path != Path::new("")) else {
            bail!("it is the root folder");
        };
        let is_folder = FileType::from_raw_mode(fstat(source)?.st_mode) == FileType::Directory;
        let point = self.find_or_make(path, is_folder)?;
        if fstatfs(&point)?.f_type == PROC_SUPER_MAGIC {
            bail!("it is inside /proc");
        }
        mount(Some(&by_number(source)), &by_number(&point), NOTHING, MsFlags::MS_BIND, NOTHING)?;
        if one.read_only {
            let mounted = inside(&self.root, path)?;
            root::remount(by_number(&mounted), READ_ONLY)?;
        }
        Ok(())
    }

    /// What is at `path`, or else a new folder, or file, to mount on.
    fn find_or_make(&mut self, path: &Path, is_folder: bool) -> anyhow::Result<OwnedFd> {
        let mut at = folder(Path::new("/"))?;
        let mut whole = PathBuf::new();
        let mut parts = path.iter().peekable();
        while let Some(name) = parts.next() {
            let parent = whole.clone();
            whole.push(name);
            at = match inside(&self.root, &whole) {
                Err(Errno::NOENT) => {
                    let is_folder = is_folder || parts.peek().is_some();
                    match make(&at, name, is_folder) {
                        Err(Errno::ROFS) if !self.is_of_a_volume(&at)? => {
                            at = self.replace(&at, &parent)?;
                            make(&at, name, is_folder)?;
                        }
                        made => made?,
                    }
                    inside(&self.root, &whole)?
                }
                other => other?,
            };
        }
        Ok(at)
    }

    fn is_of_a_volume(&self, at: &OwnedFd) -> io::Result<bool> {
        Ok(self.volumes.contains(&fs::metadata(by_number(at))?.dev()))
    }

    /// Puts a folder in the place of a read-only one, at `path`, that shows the same and can be added to.
    fn replace(&mut self, old: &OwnedFd, path: &Path) -> anyhow::Result<OwnedFd> {
        let mode = fstat(old)?.st_mode & 0o7777;
        let old = by_number(old);
        let names = fs::read_dir(&old)?.map(|entry| Ok(entry?.file_name()));
        let names = names.collect::<io::Result<Vec<_>>>()?;
        mount_in_memory(&old, MsFlags::empty(), SKELETON)?;
        let new = inside(&self.root, path)?;
        fs::set_permissions(by_number(&new), Permissions::from_mode(mode))?;
        for name in names {
            root::show(&old.join(&name), &by_number(&new).join(&name))?;
        }
        self.made.push(inside(&self.root, path)?);
        Ok(new)
    }
}

/// Makes a folder, or an empty file.
fn make(at: &OwnedFd, name: &OsStr, is_folder: bool) -> rustix::io::Result<()> {
    if is_folder {
        return mkdirat(at, name, Mode::from_raw_mode(0o755));
    }
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    openat(at, name, flags, Mode::from_raw_mode(0o644)).map(drop)
}

/// A folder or a file of a volume, which is made if it is not there. No link leads out of the volume.
fn source(volume: &Path, sub_path: &Path) -> io::Result<OwnedFd> {
    let root = folder(volume)?;
    let mode = Mode::from_raw_mode(fstat(&root)?.st_mode) & Mode::from_raw_mode(0o7777);
    let mut at = folder(volume)?;
    let mut whole = PathBuf::new();
    for part in sub_path.components().filter(|part| *part != Component::CurDir) {
        let Component::Normal(name) = part else {
            return Err(io::Error::other("it has another part than names"));
        };
        whole.push(name);
        at = match inside(&root, &whole) {
            Err(Errno::NOENT) => {
                mkdirat(&at, name, mode)?;
                let made = inside(&root, &whole)?;
                // Whatever the umask.
                fs::set_permissions(by_number(&made), Permissions::from_mode(mode.as_raw_mode()))?;
                made
            }
            other => other?,
        };
    }
    Ok(at)
}
