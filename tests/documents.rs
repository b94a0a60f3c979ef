//! Holds documents to what is there: a file, a link or a test that they name exists, and every library has its page.

use std::{fs, path::Path, process::Command};

use rocketbridge::{
    diagnostic::Faults,
    settings::{self, Environment},
};

use crate::files::{File, files, root};

/// Where a document may name a file of the project from.
const FOLDERS: [&str; 6] = ["src/", "tests/", "scripts/", "docs/", "bench/", "examples/"];

fn documents() -> Vec<File> {
    let mut found = files(&["docs", "scenarios"], ".md");
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
        } else if let Some(file) = file.filter(|_| before.trim() == ":" && is_name(span)) {
            let text = fs::read_to_string(root.join(file)).unwrap_or_default();
            if !text.contains(&format!("fn {span}(")) {
                found.push(format!("there is no {span} in {file}"));
            }
        }
    }
    found
}

fn is_name(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
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

const SETTINGS: &str = "[mqtt.edge]\nurl = \"mqtt://broker\"\n[rocketmq.main]\nname_servers = \"ns\"\n";
const ACCESS_KEY: &str = "[[access_key]]\nid = \"AK\"\nsecret = { env = \"AK_SECRET\" }\ngroups = \"GID_a\"\n";
const SECOND_BROKERS: &str = "[mqtt.site]\nurl = \"mqtt://site\"\n[rocketmq.second]\nname_servers = \"second\"\n";

/// The TOML blocks of a text, each with its line.
fn toml_blocks(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(start) = text[at..].find("```toml\n").map(|start| at + start + "```toml\n".len()) {
        let end = text[start..].find("```").map_or(text.len(), |end| start + end);
        found.push((text[..start].lines().count() + 1, &text[start..end]));
        at = end;
    }
    found
}

/// Runs a command of the built program in a folder; what it prints if it is not content.
fn complaint(folder: &Path, command: &str) -> Option<String> {
    let mut program = Command::new(env!("CARGO_BIN_EXE_rocketbridge"));
    let output = program
        .arg(command)
        .current_dir(folder)
        .env("EDGE_PASSWORD", "x")
        .env("AK_SECRET", "x")
        .env("API_SECRET", "x")
        .env("TOKEN_SECRET", "a secret of some length")
        .output()
        .unwrap();
    let said = || String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    (!output.status.success()).then(said)
}

/// What `check` and `test` have to say against a block: routes or credentials beside standard settings, or settings alone.
fn complaints(block: &str) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    let mappings = folder.path().join("mappings");
    fs::create_dir(&mappings).unwrap();
    let is_credentials = ["[[access_key]]", "[[device]]", "[[user]]"].iter().any(|entry| block.contains(entry));
    let credentials = if is_credentials { block } else { ACCESS_KEY };
    fs::write(folder.path().join("credentials.toml"), credentials).unwrap();
    let more = if block.contains("broker =") { SECOND_BROKERS } else { "" };
    let settings = if block.contains("[[route]]") || block.contains("[[status]]") {
        fs::write(mappings.join("block.toml"), block).unwrap();
        [SETTINGS, more].concat()
    } else if is_credentials {
        [SETTINGS, "[lmq]\ncredentials = \"credentials.toml\"\n"].concat()
    } else {
        block.to_owned()
    };
    fs::write(folder.path().join("rocketbridge.toml"), settings).unwrap();
    complaint(folder.path(), "check").or_else(|| complaint(folder.path(), "test"))
}

#[test]
fn examples_in_documents_load_and_pass_their_tests() {
    let mut count = 0;
    for File { path, text } in documents() {
        for (line, block) in toml_blocks(&text) {
            count += 1;
            if let Some(complaint) = complaints(block) {
                panic!("{path}:{line}: {complaint}");
            }
        }
    }
    assert!(count > 5, "the examples were not found");
}

#[test]
fn a_bad_example_is_found() {
    let good = "[[route]]\nname = \"a\"\nfrom.mqtt = \"a/#\"\nto.rocketmq = \"a\"\n";
    assert_eq!(complaints(good), None);
    assert!(complaints(&good.replace("mqtt", "mqqt")).is_some());
    let failing = [good, "[[route.test]]\npublish = { topic = \"a/b\" }\nexpect = { topic = \"b\" }\n"].concat();
    assert!(complaints(&failing).is_some());
    assert!(complaints("[mqtt.edge]\nurl = \"http://x\"\n").is_some());
    assert_eq!(complaints(ACCESS_KEY), None);
    assert!(complaints(&ACCESS_KEY.replace("groups", "group")).is_some());
}

#[test]
fn every_metric_is_in_the_operations_page() {
    let telemetry = rocketbridge::telemetry::Telemetry::default();
    let _route = telemetry.route("r", "edge", "main", "file");
    let page = fs::read_to_string(root().join("docs/operations.md")).unwrap();
    let text = telemetry.encode();
    let metrics: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    assert!(metrics.len() > 10, "the metrics were not read");
    for metric in metrics {
        let (name, kind) = metric.split_once(' ').unwrap();
        let shown = if kind == "counter" { format!("`{name}_total`") } else { format!("`{name}`") };
        assert!(page.contains(&shown), "docs/operations.md says nothing of {shown}");
    }
}

/// Who takes the sample as it is finds brokers where they listen by default, and the bridge where documents say.
#[test]
fn the_sample_settings_name_the_ports_that_documents_name() {
    let file = root().join("rocketbridge.toml");
    let (text, faults) = (fs::read_to_string(&file).unwrap(), Faults::default());
    let settings = settings::load(&file, &text, &Environment::default(), &faults);
    assert_eq!(faults.into_report().render(false), "");
    assert_eq!(settings.mqtt["edge"].url.to_string(), "mqtt://127.0.0.1:1883");
    assert_eq!(settings.rocketmq["main"].name_servers, ["127.0.0.1:9876"]);
    let admin = settings.http.admin.unwrap();
    assert_eq!(admin.to_string(), "127.0.0.1:8480");
    let image = fs::read_to_string(root().join("docker/Dockerfile")).unwrap();
    assert!(image.contains(&format!("/dev/tcp/127.0.0.1/{}", admin.port())), "the image asks after its health there");
}
