//! What is where programs are, and yet is not for everybody: a home in /opt, a folder of one person's alone
//! below /usr/local. Pods see the machine's programs, and are not to see these.
//!
//! They are looked for once, when a lab starts, by who it is started by. What everybody on the machine may
//! read is no secret, whoever it belongs to, and may be a program: it is not among them, unless it is
//! in a home.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, Uid, User, access, getuid};

/// Where things can be that are nobody's package.
const ROOTS: [&str; 2] = ["/opt", "/usr"];

/// What packages have of /usr and of /usr/local. It is large, and nobody's own.
const OF_PACKAGES: [&str; 12] = [
    "bin", "games", "include", "lib", "lib32", "lib64", "libexec", "libx32", "man", "sbin",
    "share", "src",
];

/// How far below these roots it is looked for: to /opt/site/people/ann.
const DEPTH: usize = 3;

/// From so many in one folder, which is not a root, the folder is taken whole: each is a mount in each pod.
const MANY: usize = 16;

/// Variables that name a place of the user's own.
const VARIABLES: [&str; 9] = [
    "HOME",
    "XDG_RUNTIME_DIR",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_STATE_HOME",
    "XDG_CACHE_HOME",
    "GNUPGHOME",
    "SSH_AUTH_SOCK",
    "TMPDIR",
];

/// Users with higher numbers are people, up to the one who is nobody (login.defs(5)).
const PEOPLE: std::ops::RangeInclusive<u32> = 1000..=65533;

/// All of them, none within another. `folder` is one more of the user's own.
#[must_use]
pub fn all(folder: &Path) -> Vec<PathBuf> {
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let mut found: BTreeSet<_> = own(std::env::var_os, folder, &passwd).collect();
    for root in ROOTS {
        closed(Path::new(root), DEPTH, &mut found);
    }
    outermost(found)
}

/// The places that the user's environment and the list of users name.
fn own(
    variable: impl Fn(&'static str) -> Option<OsString>,
    folder: &Path,
    passwd: &str,
) -> impl Iterator<Item = PathBuf> {
    let user = getuid();
    let home = User::from_uid(user).ok().flatten().map(|user| user.dir);
    let named = VARIABLES.into_iter().filter_map(variable).map(PathBuf::from);
    let mine = named.chain(home).chain([folder.to_owned()]).map(|place| (place, user));
    let others = passwd.lines().filter_map(person);
    let all = mine.chain(others).collect::<Vec<_>>();
    all.into_iter().filter_map(|(place, user)| {
        let place = fs::canonicalize(place).ok()?;
        let owner = Uid::from_raw(fs::metadata(&place).ok()?.uid());
        is_a_home(&place, owner == user && !user.is_root()).then_some(place)
    })
}

/// The home of a person in a line of /etc/passwd (passwd(5)), and who that is.
fn person(line: &str) -> Option<(PathBuf, Uid)> {
    let mut fields = line.split(':').skip(2);
    let (number, home) = (fields.next()?.parse().ok()?, fields.nth(2)?);
    PEOPLE.contains(&number).then(|| (home.into(), Uid::from_raw(number)))
}

/// Whether a place that somebody says to have as a home is to be hidden. Not every one is a home: that of
/// `daemon` is /usr/sbin. But what belongs to a person is, wherever it is.
fn is_a_home(place: &Path, is_theirs: bool) -> bool {
    let Some((root, below)) = ROOTS.iter().find_map(|root| {
        let below = place.strip_prefix(root).ok()?;
        (!below.as_os_str().is_empty()).then_some((Path::new(root), below))
    }) else {
        return false;
    };
    let local = below.strip_prefix("local").unwrap_or(below);
    let first = local.components().next();
    let has_programs = root == Path::new("/usr")
        && first.is_none_or(|first| OF_PACKAGES.iter().any(|name| first.as_os_str() == *name));
    !has_programs || (is_theirs && first.is_some())
}

/// Adds what is in `folder` that not everybody may read.
fn closed(folder: &Path, depth: usize, found: &mut BTreeSet<PathBuf>) {
    let mut here = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let place = entry.path();
        let Ok(metadata) = fs::symlink_metadata(&place) else { continue };
        if is_closed(&place, &metadata) {
            here.push(place);
        } else if metadata.is_dir() && depth > 1 && !is_of_packages(&place) {
            closed(&place, depth - 1, found);
        }
    }
    if here.len() > MANY && !ROOTS.iter().any(|root| folder == Path::new(root)) {
        here = vec![folder.to_owned()];
    }
    found.extend(here);
}

fn is_of_packages(place: &Path) -> bool {
    let parent = place.parent().unwrap_or(place);
    [Path::new("/usr"), Path::new("/usr/local")].contains(&parent)
        && OF_PACKAGES.iter().any(|name| place.ends_with(name))
}

/// Whether this is not for everybody, but may be for who asks: what the kernel keeps from the user, it keeps
/// from the user's pods.
fn is_closed(place: &Path, metadata: &Metadata) -> bool {
    let kind = metadata.file_type();
    let others = metadata.mode() & 0o005;
    let may = |mode| access(place, mode).is_ok();
    if kind.is_dir() {
        others != 0o005 && (may(AccessFlags::R_OK) || may(AccessFlags::X_OK))
    } else if kind.is_file() {
        others == 0 && may(AccessFlags::R_OK)
    } else {
        // A read-only mount keeps nobody from these.
        kind.is_socket() || kind.is_fifo() || kind.is_block_device() || kind.is_char_device()
    }
}

/// Those that are in no other of them.
fn outermost(found: BTreeSet<PathBuf>) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = Vec::new();
    for place in found {
        if all.last().is_none_or(|last| !place.starts_with(last)) {
            all.push(place);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_home_is_hidden_wherever_it_is_but_for_folders_of_programs() {
        for home in ["/opt/people/ann", "/opt/ann", "/usr/home/ann", "/usr/local/home", "/usr/ann"]
        {
            assert!(is_a_home(Path::new(home), false), "{home}");
            assert!(is_a_home(Path::new(home), true), "{home}");
        }
        for programs in ["/usr/sbin", "/usr/games", "/usr/lib/news", "/usr/local/bin/x"] {
            assert!(!is_a_home(Path::new(programs), false), "{programs}");
            assert!(is_a_home(Path::new(programs), true), "{programs}");
        }
        for never in ["/", "/usr", "/usr/local", "/opt", "/home/ann", "/nix/store/x", "/usrx/a"] {
            assert!(!is_a_home(Path::new(never), true), "{never}");
        }
    }

    #[test]
    fn people_are_told_from_what_serves() {
        let home = |line: &str| person(line).map(|(home, _)| home);
        assert_eq!(home("ann:x:1000:1000:Ann,,,:/opt/ann:/bin/sh"), Some("/opt/ann".into()));
        for line in [
            "daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin",
            "nobody:x:65534:65534::/opt/x:",
            "",
            "ann",
            "ann:x:z:0::/opt/ann:",
            "#:::",
        ] {
            assert_eq!(home(line), None, "{line}");
        }
    }

    #[test]
    fn what_not_everybody_may_read_is_found_and_no_more() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let make = |path: &str, mode: u32| {
            let path = root.join(path);
            if path.extension().is_some() {
                fs::write(&path, "x").unwrap();
            } else {
                fs::create_dir_all(&path).unwrap();
            }
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        };
        for (path, mode) in [
            ("open", 0o755),
            ("open/mine", 0o700),
            ("open/team", 0o750),
            ("open/listed", 0o711),
            ("open/program.sh", 0o755),
            ("open/only-run.sh", 0o711),
            ("open/key.pem", 0o600),
            ("open/two", 0o755),
            ("open/two/deep", 0o755),
            ("open/two/deep/far", 0o700),
            ("many", 0o755),
        ] {
            make(path, mode);
        }
        std::os::unix::fs::symlink("mine", root.join("open/link")).unwrap();
        let _listener = UnixListener::bind(root.join("open/agent")).unwrap();
        for number in 0..=MANY {
            make(&format!("many/{number}.key"), 0o600);
        }
        let mut found = BTreeSet::new();
        closed(root, DEPTH, &mut found);
        let found: Vec<_> = found.iter().map(|path| path.strip_prefix(root).unwrap()).collect();
        let expected =
            ["many", "open/agent", "open/key.pem", "open/listed", "open/mine", "open/team"];
        assert_eq!(found, expected.map(Path::new));
    }

    #[test]
    fn what_is_within_another_is_hidden_with_it() {
        let found = ["/opt/a", "/opt/a/b/c", "/opt/ab", "/opt/a/x"].map(PathBuf::from);
        assert_eq!(outermost(found.into()), ["/opt/a", "/opt/ab"].map(PathBuf::from));
    }
}
