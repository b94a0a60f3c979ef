//! `[lmq]`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{Context, secret, tokens};
use crate::{
    diagnostic::{At, Fault},
    lmq::notice::GROUP_END,
    settings::{AccessKey, Lmq, RocketMqCluster, Secret},
    toml_reader::{Found, Table},
};

/// `listens` says whether there is anything to ask.
pub(super) fn access(
    root: &Table<'_>,
    context: &Context<'_>,
    clusters: &BTreeMap<String, Arc<RocketMqCluster>>,
    listens: bool,
) -> Lmq {
    let Some(table) = root.table_or_empty("lmq") else { return Lmq::default() };
    let mut lmq = Lmq { instance: table.filled_text("instance").map(|found| found.value), ..Lmq::default() };
    lmq.tokens = table.table("tokens").and_then(|tokens| tokens::service(tokens, context, clusters));
    let mut first: BTreeMap<String, At> = BTreeMap::new();
    for entry in table.tables("access_key") {
        let Some((id, key)) = access_key(entry, context) else { continue };
        if let Some(earlier) = first.get(&id.value) {
            let fault = Fault::error(id.at, format!("the access key `{}` is given twice", id.value), "again");
            table.faults().add(fault.other(earlier.clone(), "first here"));
        } else {
            first.insert(id.value.clone(), id.at);
        }
        lmq.access_keys.insert(id.value, key);
    }
    if listens && table.key_at("access_key").is_none() {
        table.missing("access_key", "`http.lmq` answers those who have one: write `[[lmq.access_key]]`");
    }
    table.finish();
    lmq
}

fn access_key(table: Table<'_>, context: &Context<'_>) -> Option<(Found<String>, AccessKey)> {
    let id = table.filled_text("id");
    let secret = secret(&table, "secret", context);
    let groups = groups(&table);
    for (key, hint) in [
        ("id", "say what callers send as `accessKey`"),
        ("secret", "say what callers sign with: `secret = { env = \"NAME\" }`"),
        ("groups", "say which groups it may ask for: `groups = [\"GID_plant\"]`"),
    ] {
        if table.key_at(key).is_none() {
            table.missing(key, hint);
        }
    }
    table.finish();
    Some((id?, AccessKey { secret: Secret::new(secret.unwrap_or_default()), groups }))
}

fn groups(table: &Table<'_>) -> BTreeSet<String> {
    let mut groups: BTreeMap<String, At> = BTreeMap::new();
    for Found { value, at } in table.texts("groups").unwrap_or_default() {
        if value.contains('*') || value.contains(GROUP_END) {
            let message = format!("`{value}` is not the name of a group");
            let fault = Fault::error(at.clone(), message, "give whole names, each of them");
            table.faults().add(fault.hint(format!("a group is what stands before `{GROUP_END}` in a client id")));
        }
        if let Some(earlier) = groups.get(&value) {
            let fault = Fault::error(at, format!("the group `{value}` is given twice"), "again");
            table.faults().add(fault.other(earlier.clone(), "first here"));
        } else {
            groups.insert(value, at);
        }
    }
    groups.into_keys().collect()
}
