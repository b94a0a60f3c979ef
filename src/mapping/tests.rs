//! Holds the mapping files of the sample and the examples of the documentation to what they say.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use super::{Mapping, MappingFile, case, load::load};
use crate::{
    diagnostic::Faults,
    settings::{self, Environment, Secret},
};

const ONE_OF_EACH: &str = "[mqtt.edge]\nurl = \"mqtt://edge\"\n[rocketmq.main]\nname_servers = \"one\"\n";
const SECOND_OF_EACH: &str = "[mqtt.site]\nurl = \"mqtt://site\"\n[rocketmq.second]\nname_servers = \"two\"\n";

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap()
}

/// Loads mapping files, and what there is to say of them.
fn loaded(settings: &str, files: &[MappingFile]) -> (Mapping, String) {
    let faults = Faults::default();
    let settings = settings::load(Path::new("rocketbridge.toml"), settings, &Environment::default(), &faults);
    let mapping = load(files, &settings, &Secret::new("key"), &faults);
    (mapping, faults.into_report().render(false))
}

/// Loads mapping files, which must be without fault, and runs their tests, which must pass; how many there were.
fn pass(settings: &str, files: &[MappingFile]) -> usize {
    let (mapping, report) = loaded(settings, files);
    assert_eq!(report, "");
    for (route, test) in &mapping.tests {
        let route = &mapping.routes[*route];
        let differences = case::run(route, test);
        assert!(differences.is_empty(), "{}:{}: {differences:#?}", test.place.file.display(), test.place.line);
    }
    mapping.tests.len()
}

#[test]
fn the_sample_is_without_fault_and_passes_its_tests() {
    let files = fs::read_dir(path("mappings")).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<_> = files.map(|path| MappingFile { text: fs::read_to_string(&path).unwrap(), path }).collect();
    assert!(pass(&read("rocketbridge.toml"), &files) >= 2 * files.len());
}

#[test]
fn every_example_of_the_documentation_is_without_fault_and_passes_its_tests() {
    let text = read("docs/mapping.md");
    let mut tests = 0;
    for (number, block) in text.split("```toml\n").skip(1).enumerate() {
        let text = block.split("```").next().unwrap().to_owned();
        let settings =
            if text.contains("broker =") { [ONE_OF_EACH, SECOND_OF_EACH].concat() } else { ONE_OF_EACH.to_owned() };
        tests += pass(&settings, &[MappingFile { path: format!("example {}", number + 1).into(), text }]);
    }
    assert!(tests >= 6, "{tests}");
}

#[test]
fn the_documentation_names_every_key_and_no_other() {
    let faulty = "[[route]]\nname = \"x\"\nqqqqqq = 1\nfrom.mqtt = \"a/#\"\nfrom.qqqqqq = 1\nto.qqqqqq = 1\n\
        park.rocketmq = \"p\"\npark.qqqqqq = 1\n\
        [[status]]\nname = \"y\"\nfrom.events = \"mosquitto\"\nfrom.qqqqqq = 1\n";
    let file = MappingFile { path: "faulty.toml".into(), text: faulty.to_owned() };
    let (_, report) = loaded(ONE_OF_EACH, &[file]);
    let mut known = BTreeSet::new();
    for fault in report.split("unknown key `qqqqqq`").skip(1) {
        let table = fault.lines().next().and_then(|line| line.trim().strip_prefix("in `")?.strip_suffix('`'));
        let keys = fault.split("known here: ").nth(1).unwrap().lines().next().unwrap();
        known.extend(keys.split(", ").map(|key| table.map_or(key.to_owned(), |table| format!("{table}.{key}"))));
    }
    for plain in ["park", "test"] {
        assert!(known.remove(plain), "{known:?}");
    }
    let text = read("docs/mapping.md");
    let keys = text.split("\n## Keys\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let documented: BTreeSet<_> =
        keys.lines().filter_map(|line| Some(line.strip_prefix("| `")?.split('`').next()?.to_owned())).collect();
    assert_eq!(documented, known);
}

#[test]
fn the_documentation_names_every_kind_of_refusal() {
    let text = read("docs/mapping.md");
    let mut open = vec![path("src")];
    let mut kinds = BTreeSet::new();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source = fs::read_to_string(path).unwrap();
            let own = source.split("#[cfg(test)]\nmod tests {").next().unwrap();
            let named = own.split("Refusal::new(").skip(1).filter_map(|call| call.trim_start().strip_prefix('"'));
            let kind = |text: &str| text.chars().all(|c| c.is_ascii_lowercase() || c == '_') && text.len() > 1;
            kinds.extend(named.filter_map(|text| text.split('"').next()).filter(|text| kind(text)).map(str::to_owned));
        }
    }
    assert!(kinds.len() > 10, "{kinds:?}");
    for kind in kinds {
        assert!(text.contains(&format!("`{kind}`")), "docs/mapping.md does not name `{kind}`");
    }
}
