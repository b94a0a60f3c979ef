//! Holds documents to what is there: a file, a link or a test that they name exists, and every library has its page.

use std::{fs, path::Path};

use crate::files::{File, files, root};

/// Where a document may name a file of the project from.
const FOLDERS: [&str; 7] = ["src/", "tests/", "scripts/", "docs/", "bench/", "mappings/", "demo/"];

fn documents() -> Vec<File> {
    let mut found = files(&["docs"], ".md");
    let whole = fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().path());
    for path in whole.filter(|path| path.extension().is_some_and(|extension| extension == "md")) {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        found.push(File { path: name, text: fs::read_to_string(&path).unwrap() });
    }
    assert!(found.len() > 3, "the documents were not found");
    found
}

/// What stands between backticks outside of code blocks, with what stands before it.
fn spans(text: &str) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    for (index, outside) in text.split("```").enumerate() {
        let parts: Vec<&str> = outside.split('`').collect();
        if index % 2 == 0 {
            found.extend(parts.chunks_exact(2).map(|pair| (pair[0], pair[1])));
        }
    }
    found
}

/// Files that a document names and that do not exist, and tests that are not in the file named before them.
fn missing(text: &str, root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut file: Option<&str> = None;
    for (before, span) in spans(text) {
        let is_path = FOLDERS.iter().any(|folder| span.starts_with(folder)) && !span.contains([' ', '*', '<']);
        if is_path {
            if !root.join(span).exists() {
                found.push(format!("there is no {span}"));
            }
            file = Some(span);
        } else if let Some(file) = file.filter(|_| before.trim() == ":") {
            let text = fs::read_to_string(root.join(file)).unwrap_or_default();
            if !text.contains(&format!("fn {span}(")) {
                found.push(format!("there is no {span} in {file}"));
            }
        }
    }
    found
}

/// Links to files that do not exist.
fn dead_links(text: &str, folder: &Path) -> Vec<String> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let files = targets.filter(|target| !target.contains("://") && !target.starts_with('#'));
    let dead = files.filter(|target| !folder.join(target.split('#').next().unwrap()).exists());
    dead.map(|target| format!("dead link: {target}")).collect()
}

#[test]
fn what_documents_name_exists() {
    let mut found = Vec::new();
    for File { path, text } in documents() {
        let folder = root().join(&path);
        let faults = missing(&text, root()).into_iter().chain(dead_links(&text, folder.parent().unwrap()));
        found.extend(faults.map(|fault| format!("{path}: {fault}")));
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn every_library_has_a_page() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let pages: String = files(&["docs/decisions"], ".md").into_iter().map(|file| file.text).collect();
    let mut named = 0;
    for section in ["[dependencies]", "[dev-dependencies]"] {
        let lines = manifest.split(section).nth(1).unwrap().lines().skip(1).take_while(|line| !line.starts_with('['));
        for line in lines.filter(|line| line.contains(" = ")) {
            let name = line.split(" = ").next().unwrap();
            let name = line.split("package = \"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or(name);
            assert!(pages.contains(name), "no page of docs/decisions names {name}");
            named += 1;
        }
    }
    assert!(named > 20, "the manifest was not read");
}

#[test]
fn what_is_missing_is_found() {
    let text =
        "`src/lib.rs`, `src/none.rs`: `nothing`, `tests/main.rs`: `no_such_test` and `a b`\n```\n`src/block.rs`\n```\n";
    assert_eq!(
        missing(text, root()),
        ["there is no src/none.rs", "there is no nothing in src/none.rs", "there is no no_such_test in tests/main.rs"]
    );
    assert_eq!(dead_links("[a](Cargo.toml) [b](none.md#x) [c](https://x.y/z)", root()), ["dead link: none.md#x"]);
}
