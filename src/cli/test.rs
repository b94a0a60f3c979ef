//! `test`: the tests inside mapping files.

use std::path::Path;

use super::{End, Show, count, load, print};
use crate::mapping::{Mapping, case};

const EXAMPLE: &str = "\
A test stands below its route:
  [[route.test]]
  publish = { topic = \"plant/a/m7/up/temp\", payload = \"21.5\" }
  expect = { topic = \"plant\", tag = \"a\", properties = { mqttSecondTopic = \"/a/m7/up/temp\" } }";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct Arguments {
    /// Run only the tests of this route
    route: Option<String>,
}

impl Arguments {
    pub(super) fn run(&self, settings: &Path) -> anyhow::Result<End> {
        let Some(configuration) = load(settings, Show::Errors)? else { return Ok(End::Rejected) };
        let mapping = &configuration.mapping;
        if let Some(name) = &self.route
            && !mapping.routes.iter().any(|route| route.name == *name)
        {
            anyhow::bail!("there is no route `{name}` in the mapping files");
        }
        let (text, end) = run(mapping, self.route.as_deref());
        print(&text)?;
        Ok(end)
    }
}

fn run(mapping: &Mapping, only: Option<&str>) -> (String, End) {
    let (mut lines, mut passed, mut failed) = (Vec::new(), 0, 0);
    for (index, case) in &mapping.tests {
        let route = &mapping.routes[*index];
        if only.is_some_and(|only| only != route.name) {
            continue;
        }
        let differences = case::run(route, case);
        let verdict = if differences.is_empty() { "ok    " } else { "FAILED" };
        *(if differences.is_empty() { &mut passed } else { &mut failed }) += 1;
        let given = case.given.topic.as_str();
        lines.push(format!("{verdict}  {}  {given}  ({}:{})", route.name, case.place.file.display(), case.place.line));
        lines.extend(differences.into_iter().map(|difference| format!("          {difference}")));
    }
    lines.push(match (passed, failed) {
        (0, 0) => "there is no test in the mapping files: write `[[route.test]]` below a route".to_owned(),
        (_, 0) => format!("{} passed", count(passed, "test")),
        (_, _) => format!("{} failed, {passed} passed", count(failed, "test")),
    });
    (lines.join("\n") + "\n", if failed == 0 { End::Fine } else { End::Rejected })
}
