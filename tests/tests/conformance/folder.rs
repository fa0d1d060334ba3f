//! Where the compiler reads: folders of the disk and texts, put together to a project folder.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use robo_dsl::Loader;

/// The descriptor of a folder that is put together for one file.
const DESCRIPTOR: &str = "name=app-name\nversion=1.0\ndsl-id=roboconf-1.0\ngraph-entry-point=";

/// A folder; a text hides a file of the disk.
#[derive(Clone, Default)]
pub(super) struct Folder {
    texts: BTreeMap<String, Vec<u8>>,
    /// A folder's place in this one, empty for the root, and where it lies on the disk.
    mounts: Vec<(&'static str, PathBuf)>,
    /// Whether resources are looked for: not in what was put together for one file.
    listed: bool,
}

impl Folder {
    /// A folder of the disk.
    pub(super) fn of(place: &Path) -> Self {
        Self { listed: true, ..Self::default() }.mount("", place)
    }

    /// A project folder with a descriptor that names these entry points.
    pub(super) fn project(graph: &str, instances: Option<&str>) -> Self {
        let instances = instances.map(|entry| format!("\ninstance-entry-point={entry}")).unwrap_or_default();
        Self::default().text("descriptor/application.properties", &format!("{DESCRIPTOR}{graph}{instances}\n"))
    }

    /// With the files listed, so that resources are looked for.
    pub(super) fn listed(mut self) -> Self {
        self.listed = true;
        self
    }

    pub(super) fn text(mut self, path: &str, text: &str) -> Self {
        self.texts.insert(path.to_owned(), text.as_bytes().to_vec());
        self
    }

    pub(super) fn mount(mut self, name: &'static str, place: &Path) -> Self {
        self.mounts.push((name, place.to_owned()));
        self
    }

    /// Where on the disk `path` may lie.
    fn places(&self, path: &str) -> Vec<PathBuf> {
        let below = |(name, place): &(&str, PathBuf)| {
            let rest = if name.is_empty() { path } else { path.strip_prefix(name)?.trim_start_matches('/') };
            Some(place.join(rest))
        };
        self.mounts.iter().filter_map(below).collect()
    }
}

impl Loader for Folder {
    fn load(&mut self, path: &str) -> Result<Vec<u8>, String> {
        if let Some(text) = self.texts.get(path) {
            return Ok(text.clone());
        }
        let place = self.places(path).into_iter().find(|place| place.is_file()).ok_or("there is no such file")?;
        fs::read(place).map_err(|error| error.to_string())
    }

    fn has_folder(&mut self, path: &str) -> bool {
        self.texts.has_folder(path) || self.places(path).iter().any(|place| place.is_dir())
    }

    fn files(&mut self, path: &str) -> Option<Vec<String>> {
        if !self.listed {
            return None;
        }
        let mut found: BTreeSet<String> = self.texts.files(path)?.into_iter().collect();
        for (name, place) in &self.mounts {
            let inside = |file: String| if name.is_empty() { file } else { format!("{name}/{file}") };
            found.extend(below(place).into_iter().map(inside));
        }
        let wanted =
            |file: &String| path.is_empty() || file.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'));
        Some(found.into_iter().filter(wanted).collect())
    }
}

/// Every file below a folder, relative to it.
pub(super) fn below(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.expect("the corpus can be listed").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let below = path.strip_prefix(root).expect("it was found below");
                found.push(below.to_string_lossy().into_owned());
            }
        }
    }
    found
}
