//! `[lmq]`.

use super::{
    Context, credentials,
    tokens::{self, Clusters},
};
use crate::{
    diagnostic::Fault,
    settings::{Credentials, Http, Lmq},
    toml_reader::Table,
};

/// What callers and clients must say, and the credentials file that it names. `http` says who may come.
pub(super) fn access(root: &Table<'_>, context: &Context<'_>, http: &Http, clusters: &Clusters) -> (Lmq, Credentials) {
    let Some(table) = root.table_or_empty("lmq") else { return Default::default() };
    let strict = table.choice("client_ids", &[("off", false), ("strict", true)]);
    let file = context.path(&table, "credentials");
    let lmq = Lmq {
        instance: table.filled_text("instance").map(|found| found.value),
        strict_client_ids: strict.is_some_and(|found| found.value),
        credentials: file.as_ref().map(|file| file.value.clone()),
        tokens: table.table("tokens").and_then(|tokens| tokens::service(tokens, context, clusters)),
    };
    let listens = http.lmq.is_some();
    if listens && table.key_at("credentials").is_none() {
        let hint =
            "`http.lmq` answers those who have an access key: name the file, `credentials = \"credentials.toml\"`";
        table.missing("credentials", hint);
    }
    let credentials = file.map_or_else(Credentials::default, |file| {
        let credentials = credentials::read(&file.value, &file.at, context.environment, table.faults());
        if listens && credentials.access_keys.is_empty() && !table.faults().has_errors() {
            let message = format!("`{}` has no access key", file.value.display());
            let fault = Fault::error(file.at, message, "nobody could ask `http.lmq`");
            table.faults().add(fault.hint("write `[[access_key]]` there, with `id`, `secret` and `groups`"));
        }
        credentials
    });
    table.finish();
    (lmq, credentials)
}
