//! Reads the project's own files, for the tests that hold them to rules.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A file of the project.
pub(crate) struct File {
    /// Below the root of the project, with slashes.
    pub(crate) path: String,
    /// What it holds.
    pub(crate) text: String,
}

/// The root of the project.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files below some folders that end in `ending`.
pub(crate) fn files(folders: &[&str], ending: &str) -> Vec<File> {
    let mut found = Vec::new();
    let mut open: Vec<PathBuf> =
        folders.iter().map(|folder| root().join(folder)).filter(|path| path.exists()).collect();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.to_str().unwrap().ends_with(ending) {
            let below = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
            found.push(File { path: below, text: fs::read_to_string(&path).unwrap() });
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}
