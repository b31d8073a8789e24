//! An image as a file: what `docker save` and `podman save` write, or a layout of the Open Container
//! Initiative (image-layout.md of its image specification), packed or in a folder.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::layers::{self, LayerError};
use crate::args::GZIP;
use crate::mounts::file_inside;
use crate::shim::absolute;

/// The longest index, manifest or configuration that is read; real ones have some kilobytes.
const LONGEST: u64 = 4 << 20;

/// How often one index may name another.
const DEEPEST: usize = 4;

/// Why an archive is no image that a pod can have.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// Something in it, or it itself, cannot be read.
    #[error("cannot read {what}")]
    Read {
        /// What.
        what: String,
        /// Why not.
        #[source]
        cause: io::Error,
    },
    /// A part of it says something else than it should.
    #[error("{what} of the archive is not understood")]
    Json {
        /// Which.
        what: String,
        /// Why not.
        #[source]
        cause: serde_json::Error,
    },
    /// It is some other archive.
    #[error(
        "there is no image in it: neither manifest.json, as `docker save` writes it, nor the index.json of an \
         OCI layout; of a root folder make a folder"
    )]
    NoImage,
    /// It has several.
    #[error("there are several images in it, and none is {wanted}: {}", named.join(", "))]
    Several {
        /// The one that was looked for.
        wanted: String,
        /// What they are called.
        named: Vec<String>,
    },
    /// Programs of another kind of machine.
    #[error("it is for {has}, and this machine is {wanted}")]
    Platform {
        /// What it is for.
        has: String,
        /// What this machine is.
        wanted: String,
    },
    /// A layer cannot be unpacked.
    #[error("cannot unpack it")]
    Layer(#[from] LayerError),
}

/// What an image says of how it is run (config.md of the image specification).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct RunConfig {
    /// Who runs it, `USER[:GROUP]`, names or numbers.
    pub user: Option<String>,
    /// `NAME=VALUE` each.
    pub env: Option<Vec<String>>,
    pub entrypoint: Option<Vec<String>>,
    pub cmd: Option<Vec<String>>,
    pub working_dir: Option<String>,
}

#[derive(Deserialize)]
struct Configuration {
    architecture: String,
    os: String,
    config: Option<RunConfig>,
}

/// An image of manifest.json, whose names are those of files of the archive.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Manifest {
    config: Descriptor,
    layers: Vec<Descriptor>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: Option<String>,
    digest: String,
    platform: Option<Platform>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Clone, Deserialize)]
struct Platform {
    architecture: String,
    os: String,
}

impl Descriptor {
    fn is_index(&self) -> bool {
        self.media_type.as_deref().is_some_and(|kind| {
            kind.ends_with("image.index.v1+json") || kind.ends_with("manifest.list.v2+json")
        })
    }

    /// What the image is called in its layout.
    fn name(&self) -> Option<&str> {
        let names = ["io.containerd.image.name", "org.opencontainers.image.ref.name"];
        names.iter().find_map(|name| self.annotations.get(*name)).map(String::as_str)
    }

    fn blob(&self) -> String {
        format!("blobs/{}", self.digest.replacen(':', "/", 1))
    }
}

/// The image called `wanted`, or the only one, of the archive or folder at `path`: unpacks its layers into the
/// empty folder `root`, and says how it is run. What is packed as a whole is unpacked into `scratch` first.
pub(super) fn unpack(
    path: &Path,
    wanted: &str,
    root: &Path,
    scratch: &Path,
) -> Result<RunConfig, ArchiveError> {
    let files = Files::open(path, scratch)?;
    let (config, layers) = files.image(wanted)?;
    let configuration: Configuration = files.json(&config)?;
    let has = format!("{}/{}", configuration.os, configuration.architecture);
    if has != this_machine() {
        return Err(ArchiveError::Platform { has, wanted: this_machine() });
    }
    for layer in layers {
        layers::unpack(files.open_file(&layer)?, root)?;
    }
    Ok(configuration.config.unwrap_or_default())
}

/// This machine as images say it (GOOS and GOARCH of Go).
fn this_machine() -> String {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        "loongarch64" => "loong64",
        other => other,
    };
    format!("linux/{architecture}")
}

/// The files of an archive.
enum Files {
    Folder(PathBuf),
    Packed { archive: PathBuf, places: BTreeMap<PathBuf, Place> },
}

/// Where a file of an archive is.
enum Place {
    At {
        offset: u64,
        length: u64,
    },
    /// `docker save` of old had layers that are there already as links to them.
    Same(PathBuf),
}

fn cannot_read(what: impl Into<String>) -> impl FnOnce(io::Error) -> ArchiveError {
    let what = what.into();
    |cause| ArchiveError::Read { what, cause }
}

impl Files {
    fn open(path: &Path, scratch: &Path) -> Result<Self, ArchiveError> {
        if path.is_dir() {
            return Ok(Self::Folder(path.to_owned()));
        }
        let name = path.display().to_string();
        let mut archive = path.to_owned();
        let mut file = BufReader::new(File::open(path).map_err(cannot_read(&name))?);
        let head = io::BufRead::fill_buf(&mut file).map_err(cannot_read(&name))?;
        if head.starts_with(&GZIP) {
            // Its files are read in another order than they are in.
            scratch.clone_into(&mut archive);
            let unpacked = File::create_new(&archive)
                .and_then(|mut unpacked| io::copy(&mut MultiGzDecoder::new(file), &mut unpacked));
            unpacked.map_err(cannot_read(&name))?;
        }
        let places = places(&archive).map_err(cannot_read(name))?;
        Ok(Self::Packed { archive, places })
    }

    fn has(&self, name: &str) -> bool {
        self.open_file(name).is_ok()
    }

    fn open_file(&self, name: &str) -> Result<Box<dyn Read>, ArchiveError> {
        let failed = || cannot_read(format!("{name} of the archive"));
        let missing = || io::Error::from(io::ErrorKind::NotFound);
        match self {
            Self::Folder(root) => {
                let file = file_inside(root, Path::new(name)).map_err(failed())?;
                Ok(Box::new(file))
            }
            Self::Packed { archive, places } => {
                let mut name = absolute(Path::new(name));
                // One link is what there is; more would be a circle.
                if let Some(Place::Same(other)) = places.get(&name) {
                    name = other.clone();
                }
                let Some(Place::At { offset, length }) = places.get(&name) else {
                    return Err(failed()(missing()));
                };
                let mut file = File::open(archive).map_err(failed())?;
                file.seek(SeekFrom::Start(*offset)).map_err(failed())?;
                Ok(Box::new(file.take(*length)))
            }
        }
    }

    fn json<T: DeserializeOwned>(&self, name: &str) -> Result<T, ArchiveError> {
        let mut text = Vec::new();
        let read = self.open_file(name)?.take(LONGEST).read_to_end(&mut text);
        read.map_err(cannot_read(format!("{name} of the archive")))?;
        let parsed = serde_json::from_slice(&text);
        parsed.map_err(|cause| ArchiveError::Json { what: name.to_owned(), cause })
    }

    /// The names of an image's configuration and of its layers, the lowest first.
    fn image(&self, wanted: &str) -> Result<(String, Vec<String>), ArchiveError> {
        if self.has("manifest.json") {
            let saved: Vec<Saved> = self.json("manifest.json")?;
            let names = |one: &Saved| one.repo_tags.clone().unwrap_or_default();
            let one = choose(saved, wanted, names)?;
            return Ok((one.config, one.layers));
        }
        if !self.has("index.json") {
            return Err(ArchiveError::NoImage);
        }
        let index: Index = self.json("index.json")?;
        let names = |one: &Descriptor| one.name().map(str::to_owned).into_iter().collect();
        let mut one = choose(index.manifests, wanted, names)?;
        for _ in 0..DEEPEST {
            if !one.is_index() {
                break;
            }
            one = of_this_machine(self.json(&one.blob())?)?;
        }
        let Manifest { config, layers } = self.json(&one.blob())?;
        Ok((config.blob(), layers.iter().map(Descriptor::blob).collect()))
    }
}

/// The one that is called `wanted`, or the only one.
fn choose<T>(
    mut all: Vec<T>,
    wanted: &str,
    names: impl Fn(&T) -> Vec<String>,
) -> Result<T, ArchiveError> {
    let is_it = |name: &String| super::normal(name) == super::normal(wanted);
    let position = match all.len() {
        0 => return Err(ArchiveError::NoImage),
        1 => Some(0),
        _ => all.iter().position(|one| names(one).iter().any(is_it)),
    };
    position.map(|position| all.swap_remove(position)).ok_or_else(|| ArchiveError::Several {
        wanted: wanted.to_owned(),
        named: all.iter().flat_map(names).collect(),
    })
}

fn of_this_machine(index: Index) -> Result<Descriptor, ArchiveError> {
    let platform = |one: &Descriptor| {
        one.platform.as_ref().map(|platform| format!("{}/{}", platform.os, platform.architecture))
    };
    let wanted = this_machine();
    let has: Vec<_> = index.manifests.iter().filter_map(platform).collect();
    let found =
        index.manifests.into_iter().find(|one| platform(one).is_none_or(|has| has == wanted));
    found.ok_or_else(|| ArchiveError::Platform { has: has.join(", "), wanted })
}

/// Where each file of an archive is.
fn places(archive: &Path) -> io::Result<BTreeMap<PathBuf, Place>> {
    let mut archive = tar::Archive::new(File::open(archive)?);
    let mut places = BTreeMap::new();
    for entry in archive.entries_with_seek()? {
        let entry = entry?;
        let name = absolute(&entry.path()?);
        let place = match entry.header().entry_type() {
            tar::EntryType::Regular | tar::EntryType::Continuous => {
                Place::At { offset: entry.raw_file_position(), length: entry.size() }
            }
            tar::EntryType::Symlink | tar::EntryType::Link => {
                let Some(to) = entry.link_name()? else { continue };
                let of = if entry.header().entry_type() == tar::EntryType::Link {
                    Path::new("")
                } else {
                    name.parent().unwrap_or(Path::new(""))
                };
                Place::Same(absolute(&of.join(to)))
            }
            _ => continue,
        };
        places.insert(name, place);
    }
    Ok(places)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use serde_json::{Value, json};

    use super::*;

    fn tar(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, content) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o755);
            builder.append_data(&mut header, name, &**content).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn json_of(value: &Value) -> Vec<u8> {
        value.to_string().into_bytes()
    }

    fn configuration(platform: &str) -> Vec<u8> {
        let (os, architecture) = platform.split_once('/').unwrap();
        json_of(&json!({"os": os, "architecture": architecture, "config": {"Cmd": ["/hello"]}}))
    }

    fn one_layer(content: &str) -> Vec<u8> {
        tar(&[("hello", content.as_bytes().to_vec())])
    }

    /// What `docker save` writes, with two images.
    fn saved() -> Vec<(&'static str, Vec<u8>)> {
        let manifest = json!([
            {"Config": "a.json", "RepoTags": ["a:1", "docker.io/library/b:1"], "Layers": ["a/layer.tar"]},
            {"Config": "a.json", "RepoTags": ["c:1"], "Layers": ["a/layer.tar", "c/layer.tar"]},
        ]);
        vec![
            ("a.json", configuration(&this_machine())),
            ("c/layer.tar", one_layer("c")),
            ("a/layer.tar", one_layer("a")),
            ("manifest.json", json_of(&manifest)),
        ]
    }

    /// A layout whose index has another, of this machine and of another kind.
    fn layout() -> Vec<(&'static str, Vec<u8>)> {
        let kind = "application/vnd.oci.image.index.v1+json";
        let index = json!({"manifests": [{"mediaType": kind, "digest": "sha256:1"}]});
        let (os, architecture) =
            this_machine().split_once('/').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
        let inner = json!({"manifests": [
            {"digest": "sha256:9", "platform": {"os": "plan9", "architecture": "mips"}},
            {"digest": "sha256:2", "platform": {"os": os, "architecture": architecture}},
        ]});
        let manifest =
            json!({"config": {"digest": "sha256:3"}, "layers": [{"digest": "sha256:4"}]});
        vec![
            ("oci-layout", b"{}".to_vec()),
            ("index.json", json_of(&index)),
            ("blobs/sha256/1", json_of(&inner)),
            ("blobs/sha256/2", json_of(&manifest)),
            ("blobs/sha256/3", configuration(&this_machine())),
            ("blobs/sha256/4", one_layer("layout")),
        ]
    }

    /// What is in the image's one file, unpacked from an archive, a packed one, and a folder: the same from each.
    fn unpacked(files: &[(&str, Vec<u8>)], wanted: &str) -> Result<String, ArchiveError> {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| folder.path().join(name);
        let whole = tar(files);
        fs::write(place("a.tar"), &whole).unwrap();
        let mut gzip =
            GzEncoder::new(File::create(place("a.tar.gz")).unwrap(), Compression::fast());
        gzip.write_all(&whole).unwrap();
        gzip.finish().unwrap();
        for (name, content) in files {
            let path = place("folder").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        let mut all = ["a.tar", "a.tar.gz", "folder"].map(|form| {
            let root = place(&format!("{form}.root"));
            fs::create_dir(&root).unwrap();
            let config = unpack(&place(form), wanted, &root, &place(&format!("{form}.scratch")))?;
            assert_eq!(config.cmd.unwrap(), ["/hello"]);
            Ok(fs::read_to_string(root.join("hello")).unwrap())
        });
        let said = |one: &Result<String, ArchiveError>| {
            one.as_ref().map_or_else(ToString::to_string, Clone::clone)
        };
        assert!(all.iter().all(|one| said(one) == said(&all[0])), "{all:?}");
        std::mem::replace(&mut all[0], Ok(String::new()))
    }

    #[test]
    fn of_several_saved_images_it_is_the_one_that_is_named() {
        for (wanted, expected) in [("a:1", "a"), ("b:1", "a"), ("docker.io/library/c:1", "c")] {
            assert_eq!(unpacked(&saved(), wanted).unwrap(), expected);
        }
        let other = unpacked(&saved(), "d:1").unwrap_err();
        assert!(
            matches!(&other, ArchiveError::Several { named, .. } if named.len() == 3),
            "{other}"
        );
    }

    #[test]
    fn of_a_layout_it_is_the_image_for_this_machine() {
        assert_eq!(unpacked(&layout(), "whatever").unwrap(), "layout");
    }

    #[test]
    fn what_is_no_image_for_this_machine_is_told() {
        let with = |files: Vec<(&'static str, Vec<u8>)>, name: &str, content: &[u8]| {
            let change = |(one, old): (&'static str, Vec<u8>)| {
                (one, if one == name { content.to_vec() } else { old })
            };
            files.into_iter().map(change).collect::<Vec<_>>()
        };
        let plan9 = with(saved(), "a.json", &configuration("plan9/mips"));
        assert!(matches!(unpacked(&plan9, "a:1"), Err(ArchiveError::Platform { .. })));
        let odd = with(saved(), "a.json", b"[]");
        assert!(matches!(unpacked(&odd, "a:1"), Err(ArchiveError::Json { .. })));
        let endless = json!({"manifests": [
            {"mediaType": "application/vnd.oci.image.index.v1+json", "digest": "sha256:1"},
        ]});
        let circle = with(layout(), "blobs/sha256/1", &json_of(&endless));
        assert!(matches!(unpacked(&circle, "a"), Err(ArchiveError::Json { .. })));
        for missing in ["a/layer.tar", "a.json"] {
            let files: Vec<_> = saved().into_iter().filter(|(name, _)| *name != missing).collect();
            assert!(matches!(unpacked(&files, "a:1"), Err(ArchiveError::Read { .. })), "{missing}");
        }
        let outside = json!([{"Config": "../../../../etc/passwd", "Layers": []}]);
        let outside = [("manifest.json", json_of(&outside))];
        assert!(matches!(unpacked(&outside, "a"), Err(ArchiveError::Read { .. })));
        assert!(matches!(unpacked(&[("etc/passwd", vec![])], "a"), Err(ArchiveError::NoImage)));
    }
}
