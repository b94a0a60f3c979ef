//! Holds the rules of `ARCHITECTURE.md` about who may name what. Each rule says why it is there, so that who breaks
//! it can tell whether the code is wrong or the rule is.

mod rules;
mod source;

use rules::{RULES, breaches, holds};

use crate::files::files;

/// No file is longer, so that each has one subject.
const LINES_MAX: usize = 400;

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
