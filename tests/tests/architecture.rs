//! The shape of the code: in hello-lab a room uses those below it in lib.rs and none above, and nowhere do
//! two rooms, or two modules of one room, use each other.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use end_to_end::repository;

const CRATES: [&str; 5] = ["hello-common", "hello-server", "hello-client", "netpol", "hello-lab"];

/// A module, as its path in its crate: `["api", "read"]`.
type Module = Vec<String>;

/// The modules of a crate, each with those that it names, tests aside.
struct Crate {
    modules: BTreeMap<Module, BTreeSet<Module>>,
    /// The rooms, in the order of lib.rs.
    rooms: Vec<String>,
}

impl Crate {
    fn read(name: &str) -> Self {
        let source = repository().join(name).join("src");
        let mut files = Vec::new();
        rust_files(&source, &mut files);
        let module = |file: &Path| -> Module {
            let path = file.strip_prefix(&source).unwrap().with_extension("");
            path.iter().map(|part| part.to_str().unwrap().to_owned()).collect()
        };
        let mut modules: BTreeMap<Module, BTreeSet<Module>> =
            files.iter().map(|file| (module(file), BTreeSet::new())).collect();
        let all: Vec<Module> = modules.keys().cloned().collect();
        for file in &files {
            let own = module(file);
            let text = without_tests(&std::fs::read_to_string(file).unwrap());
            let named = named(&text, &own).into_iter().filter_map(|path| {
                // The longest part of the path that is a module: what follows is in it.
                (1..=path.len())
                    .rev()
                    .map(|end| path[..end].to_vec())
                    .find(|part| all.contains(part))
            });
            let named = named.filter(|module| *module != own).collect();
            modules.insert(own, named);
        }
        let lib = std::fs::read_to_string(source.join("lib.rs")).unwrap();
        let room = |line: &str| Some(line.strip_prefix("pub mod ")?.strip_suffix(';')?.to_owned());
        Self { modules, rooms: lib.lines().filter_map(room).collect() }
    }

    /// What the children of `parent` name of each other: the first part of each path below it.
    fn among_children_of(&self, parent: &[String]) -> BTreeMap<String, BTreeSet<String>> {
        let mut among: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let child = |module: &Module| {
            (module.len() > parent.len() && module.starts_with(parent))
                .then(|| module[parent.len()].clone())
        };
        for (module, named) in &self.modules {
            let Some(own) = child(module) else { continue };
            let others = named.iter().filter_map(child).filter(|other| *other != own);
            among.entry(own.clone()).or_default().extend(others);
        }
        among
    }
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let is = |name: &str| path.file_name().is_some_and(|own| own == name);
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs")
            && !["tests.rs", "main.rs", "lib.rs"].iter().any(|name| is(name))
        {
            found.push(path);
        }
    }
}

/// The text without its unit tests, which may use whatever they like, and without comments.
fn without_tests(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// The paths that `text`, which is that of the module `own`, has from `crate` and from `super`.
fn named(text: &str, own: &[String]) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for (start, root) in [("crate::", Vec::new()), ("super::", own[..own.len() - 1].to_vec())] {
        for (at, _) in text.match_indices(start) {
            let before = text[..at].chars().next_back();
            if before.is_some_and(|char| char.is_alphanumeric() || char == '_' || char == ':') {
                continue;
            }
            let (mut root, mut rest) = (root.clone(), &text[at + start.len()..]);
            while let Some(after) = rest.strip_prefix("super::") {
                root.pop();
                rest = after;
            }
            paths(rest, &root, &mut found);
        }
    }
    found
}

/// Adds the paths at the beginning of `text`: one, or those of a group in braces.
fn paths<'a>(text: &'a str, root: &[String], found: &mut Vec<Vec<String>>) -> &'a str {
    let text = text.trim_start();
    if let Some(mut rest) = text.strip_prefix('{') {
        loop {
            rest = paths(rest, root, found).trim_start();
            match rest.strip_prefix(',') {
                Some(after) if !after.trim_start().starts_with('}') => rest = after,
                Some(after) => return after.trim_start().strip_prefix('}').unwrap_or_default(),
                None => return rest.strip_prefix('}').unwrap_or_default(),
            }
        }
    }
    let end = text.find(|char: char| !char.is_alphanumeric() && char != '_').unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let mut path = root.to_vec();
    path.push(name.to_owned());
    if let Some(rest) = rest.strip_prefix("::") {
        return paths(rest, &path, found);
    }
    found.push(path);
    // In its place stands a name of one's own.
    let rest = rest.trim_start();
    let is_of_a_name = |char: char| char.is_alphanumeric() || char == '_';
    rest.strip_prefix("as ").map_or(rest, |rest| rest.trim_start_matches(is_of_a_name))
}

/// A way from something back to itself.
fn circle(uses: &BTreeMap<String, BTreeSet<String>>) -> Option<Vec<String>> {
    fn walk(
        uses: &BTreeMap<String, BTreeSet<String>>,
        way: &mut Vec<String>,
        done: &mut BTreeSet<String>,
    ) -> Option<Vec<String>> {
        let last = way.last()?.clone();
        for next in uses.get(&last).into_iter().flatten() {
            if let Some(start) = way.iter().position(|one| one == next) {
                return Some(way[start..].to_vec());
            }
            if !done.contains(next) {
                way.push(next.clone());
                let found = walk(uses, way, done);
                if found.is_some() {
                    return found;
                }
                way.pop();
            }
        }
        done.insert(last);
        None
    }
    let mut done = BTreeSet::new();
    uses.keys().find_map(|start| walk(uses, &mut vec![start.clone()], &mut done))
}

#[test]
fn in_hello_lab_every_arrow_points_down() {
    let lab = Crate::read("hello-lab");
    assert!(lab.rooms.len() > 10, "{:?}", lab.rooms);
    let floor =
        |room: &String| lab.rooms.iter().position(|one| one == room).expect("a room of lib.rs");
    let mut arrows = 0;
    let mut wrong = Vec::new();
    for (room, below) in lab.among_children_of(&[]) {
        if room == "bin" {
            continue;
        }
        for other in below {
            arrows += 1;
            if floor(&other) < floor(&room) {
                wrong.push(format!(
                    "{room} uses {other}, which is above it in hello-lab/src/lib.rs"
                ));
            }
        }
    }
    assert!(arrows > 20, "the reader of this test finds no more than {arrows}");
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn no_two_rooms_and_no_two_modules_of_a_room_use_each_other() {
    for name in CRATES {
        let one = Crate::read(name);
        let parents: BTreeSet<&[String]> = one
            .modules
            .keys()
            .flat_map(|module| (0..module.len()).map(|end| &module[..end]))
            .collect();
        for parent in parents {
            let circle = circle(&one.among_children_of(parent));
            assert_eq!(circle, None, "in {name}/src/{}", parent.join("/"));
        }
    }
}

#[test]
fn the_map_of_each_library_names_each_of_its_rooms() {
    for name in CRATES {
        let lib = repository().join(name).join("src/lib.rs");
        let lib = std::fs::read_to_string(lib).unwrap();
        for room in Crate::read(name).rooms {
            assert!(
                lib.contains(&format!("[`{room}`]")),
                "{name}/src/lib.rs does not say what {room} is"
            );
        }
    }
}

#[test]
fn the_reader_of_paths_reads_them_all() {
    let text =
        "use crate::{a::{b, c as d}, e};\nuse super::f::G;\nlet x = crate::h::i(); super::super::j";
    let own = ["room".to_owned(), "own".to_owned()];
    let found: Vec<String> = named(text, &own).iter().map(|path| path.join("::")).collect();
    assert_eq!(found, ["a::b", "a::c", "e", "h::i", "room::f::G", "j"]);
    let uses = |pairs: &[(&str, &str)]| {
        let mut uses: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (from, to) in pairs {
            uses.entry((*from).to_owned()).or_default().insert((*to).to_owned());
        }
        uses
    };
    assert_eq!(circle(&uses(&[("a", "b"), ("a", "c"), ("b", "c")])), None);
    assert_eq!(circle(&uses(&[("a", "b"), ("b", "c"), ("c", "b")])).unwrap(), ["b", "c"]);
}
