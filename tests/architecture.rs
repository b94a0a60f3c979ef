//! Holds the rules of `ARCHITECTURE.md` about who may name what. Each rule says why it is there, so that who breaks
//! it can tell whether the code is wrong or the rule is.

mod rules;
mod source;

use std::{
    fs,
    path::{Path, PathBuf},
};

use rules::{RULES, breaches, holds};

/// No file is longer, so that each has one subject.
const LINES_MAX: usize = 400;

struct File {
    /// Below the root of the project, with slashes.
    path: String,
    text: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files below some folders that end in one of `endings`.
fn files(folders: &[&str], ending: &str) -> Vec<File> {
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

#[test]
fn every_module_names_only_what_its_rules_allow() {
    let sources = files(&["src"], ".rs");
    assert!(!sources.is_empty(), "no source was read");
    let found: Vec<String> = sources.iter().flat_map(|file| breaches(&file.path, &file.text)).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn every_rule_is_about_modules_that_exist() {
    let sources = files(&["src"], ".rs");
    let modules = RULES.iter().flat_map(|rule| rule.within).filter(|module| **module != "src");
    let missing: Vec<&&str> = modules.filter(|module| !sources.iter().any(|file| holds(module, &file.path))).collect();
    assert!(missing.is_empty(), "rules about nothing: {missing:?}");
}

#[test]
fn every_source_file_is_short_and_says_what_it_is_for() {
    let mut found = Vec::new();
    for file in files(&["src", "tests", "bench"], ".rs") {
        let lines = file.text.lines().count();
        if lines > LINES_MAX {
            found.push(format!("{}: {lines} lines, and {LINES_MAX} are the most", file.path));
        }
        if !file.text.starts_with("//!") && !file.path.ends_with("/tests.rs") {
            found.push(format!("{}: does not start with a //! comment that says what it is for", file.path));
        }
        if !file.path.starts_with("tests/") && file.text.contains("#[allow(") {
            found.push(format!("{}: #[allow] outlives its reason; #[expect(..., reason = ...)] does not", file.path));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}
