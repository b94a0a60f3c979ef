//! The credentials file: `[[access_key]]`, `[[device]]` and `[[user]]`.
//!
//! As with settings, every fault is noted at its place and reading goes on. It bounds how much a file may hold.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    io::Read as _,
    path::Path,
};

use super::{
    Context, Environment,
    secrets::{Kept, find_secret, hide_secrets},
};
use crate::{
    diagnostic::{At, Fault, Faults, Source},
    lmq::notice::GROUP_END,
    mapping::pattern::Pattern,
    settings::{Clients, Credential, Credentials, Permission, Secret},
    toml_reader::{Found, Table, parse},
};

/// Bytes of a file.
const FILE_MAX: u64 = 64 << 20;
/// Groups, client ids or filters of one credential.
const LIST_MAX: usize = 1_000;
/// Bytes of an id or a name: with a client id it is remembered for each client.
const ID_MAX: usize = 128;

/// One kind of entry.
struct Kind {
    list: &'static str,
    id: &'static str,
    most: usize,
    /// What it is called in messages.
    words: &'static str,
    id_hint: &'static str,
    /// Whether it is of no use without topics.
    needs_topics: bool,
}

const ACCESS_KEY: Kind = Kind {
    list: "access_key",
    id: "id",
    most: 1_000,
    words: "access key",
    id_hint: "say what callers send as `accessKey`, and devices in their user names",
    needs_topics: false,
};
const DEVICE: Kind = Kind {
    list: "device",
    id: "id",
    most: 100_000,
    words: "device credential",
    id_hint: "say what devices send as `DeviceCredential|ID|INSTANCE`",
    needs_topics: true,
};
const USER: Kind = Kind {
    list: "user",
    id: "name",
    most: 10_000,
    words: "user",
    id_hint: "say what it sends as its user name",
    needs_topics: true,
};

/// Reads a credentials file that was named at a place. What is returned may be used only when no error was noted.
pub(super) fn read(path: &Path, named: &At, environment: &Environment, faults: &Faults) -> Credentials {
    match text(path) {
        Ok(text) => of_text(path, &text, environment, faults),
        Err(error) => {
            let message = format!("cannot read the credentials file `{}`: {error}", path.display());
            faults.add(Fault::error(named.clone(), message, "named here"));
            Credentials::default()
        }
    }
}

/// Reads it again: as [`read`], where nothing names it but the path.
pub(super) fn read_again(path: &Path, environment: &Environment, faults: &Faults) -> Credentials {
    let named = At::whole(&Source::new(path.display().to_string(), ""));
    read(path, &named, environment, faults)
}

fn text(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(FILE_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_MAX {
        return Err(std::io::Error::other(format!("it is larger than {} MiB", FILE_MAX >> 20)));
    }
    Ok(text)
}

fn of_text(path: &Path, text: &str, environment: &Environment, faults: &Faults) -> Credentials {
    let source = Source::new(path.display().to_string(), hide_secrets(text));
    let document = parse(&source, text, faults);
    let Some(root) = document.table("", faults) else {
        unreachable!("a document is a table");
    };
    let context = Context { folder: path.parent().unwrap_or(Path::new("")), environment };
    let mut plain = Vec::new();
    let credentials = Credentials {
        access_keys: all(&root, &ACCESS_KEY, &context, &mut plain),
        devices: all(&root, &DEVICE, &context, &mut plain),
        users: all(&root, &USER, &context, &mut plain),
    };
    if let Some(first) = plain.first() {
        let message = match plain.len() {
            1 => "a secret stands in a plain file".to_owned(),
            many => format!("{many} secrets stand in a plain file"),
        };
        let fault = Fault::warning(first.clone(), message, "readable by whoever reads the file");
        faults.add(fault.hint("write `secret = { env = \"NAME\" }` or `{ file = \"PATH\" }`"));
    }
    root.finish();
    credentials
}

/// All entries of a kind, by id.
fn all(root: &Table<'_>, kind: &Kind, context: &Context<'_>, plain: &mut Vec<At>) -> BTreeMap<String, Credential> {
    let (mut found, mut first) = (BTreeMap::new(), HashMap::<String, At>::new());
    let entries = root.tables(kind.list);
    if let Some(at) = root.key_at(kind.list).filter(|_| entries.len() > kind.most) {
        let message = format!("`{}` may stand {} times, and stands {} times", kind.list, kind.most, entries.len());
        root.faults().add(Fault::error(at, message, "too many"));
        return found;
    }
    for entry in entries {
        let Some((id, credential)) = one(entry, kind, context, plain) else { continue };
        if let Some(earlier) = first.get(&id.value) {
            let message = format!("the {} `{}` is given twice", kind.words, id.value);
            root.faults().add(Fault::error(id.at, message, "again").other(earlier.clone(), "first here"));
        } else {
            first.insert(id.value.clone(), id.at);
        }
        found.insert(id.value, credential);
    }
    found
}

fn one(
    table: Table<'_>,
    kind: &Kind,
    context: &Context<'_>,
    plain: &mut Vec<At>,
) -> Option<(Found<String>, Credential)> {
    let id = id(&table, kind);
    let secret = find_secret(&table, "secret", context).map(|secret| match secret {
        Kept::Elsewhere(text) => text,
        Kept::Here(found) => {
            plain.push(found.at);
            found.value
        }
    });
    let clients = Clients { groups: set(&table, "groups", group), ids: set(&table, "clients", client_id) };
    let permission = permission(&table);
    let given = |key| table.key_at(key).is_some();
    if !given(kind.id) {
        table.missing(kind.id, kind.id_hint);
    }
    if !given("secret") {
        table.missing("secret", "say what it signs with: `secret = { env = \"NAME\" }`");
    }
    // Each is asked for, so that both are known keys.
    if !(given("groups") | given("clients")) {
        table.missing("groups", "say whose clients it is for: `groups = [\"GID_plant\"]`, or `clients` one by one");
    }
    if kind.needs_topics && !(given("topics") | given("publish") | given("subscribe")) {
        table.missing("topics", "say what it may use: `topics = [\"TopicA/#\"]`, or `publish` and `subscribe`");
    }
    table.finish();
    Some((id?, Credential { secret: Secret::new(secret.unwrap_or_default()), clients, permission }))
}

fn id(table: &Table<'_>, kind: &Kind) -> Option<Found<String>> {
    let id = table.filled_text(kind.id)?;
    if id.value.contains(|c: char| c == '|' || c.is_control()) || id.value.len() > ID_MAX {
        let message = format!("`{}` cannot be used as `{}`", id.value.escape_debug(), kind.id);
        let label = format!("no `|`, at most {ID_MAX} bytes");
        table.faults().add(Fault::error(id.at.clone(), message, label).hint("`|` parts a user name (LMQ-1)"));
    }
    Some(id)
}

fn permission(table: &Table<'_>) -> Permission {
    let both = filters(table, "topics");
    let with = |mut more: Vec<Pattern>| {
        more.extend(both.iter().cloned());
        more
    };
    let all = table.choice("p2p", &[("own", false), ("all", true)]);
    Permission {
        publish: with(filters(table, "publish")),
        subscribe: with(filters(table, "subscribe")),
        reads_all_p2p: all.is_some_and(|found| found.value),
    }
}

fn filters(table: &Table<'_>, key: &'static str) -> Vec<Pattern> {
    let mut filters = Vec::new();
    for Found { value, at } in list(table, key) {
        match Pattern::plain(&value).filter(|_| !value.starts_with("$share/")) {
            Some(filter) => filters.push(filter),
            None => {
                let message = format!("`{}` is not a topic filter", value.escape_debug());
                let fault = Fault::error(at, message, "not this");
                table.faults().add(fault.hint("`+` and `#` stand for whole levels: `TopicA/+/up`, `TopicA/#`"));
            }
        }
    }
    filters
}

/// The texts of a list, each once. `check` says what is wrong with one, and what would be right.
fn set(table: &Table<'_>, key: &'static str, check: fn(&str) -> Option<(&'static str, String)>) -> BTreeSet<String> {
    let mut found: BTreeMap<String, At> = BTreeMap::new();
    for Found { value, at } in list(table, key) {
        if let Some((what, hint)) = check(&value) {
            let message = format!("`{}` is not {what}", value.escape_debug());
            table.faults().add(Fault::error(at.clone(), message, "give whole names, each of them").hint(hint));
        }
        if let Some(earlier) = found.get(&value) {
            let fault = Fault::error(at, format!("`{value}` is given twice"), "again");
            table.faults().add(fault.other(earlier.clone(), "first here"));
        } else {
            found.insert(value, at);
        }
    }
    found.into_keys().collect()
}

fn list(table: &Table<'_>, key: &'static str) -> Vec<Found<String>> {
    let mut list = table.texts(key).unwrap_or_default();
    if let Some(extra) = list.get(LIST_MAX) {
        let message = format!("`{key}` may hold {LIST_MAX} texts, and holds {}", list.len());
        table.faults().add(Fault::error(extra.at.clone(), message, "one too many"));
        list.truncate(LIST_MAX);
    }
    list
}

fn group(value: &str) -> Option<(&'static str, String)> {
    let wrong = value.contains(['*', '+', '#', '/']) || value.contains(GROUP_END);
    let hint = || format!("a group is what stands before `{GROUP_END}` in a client id");
    wrong.then(|| ("the name of a group", hint()))
}

fn client_id(value: &str) -> Option<(&'static str, String)> {
    let wrong = value.contains(['*', '+', '#']);
    wrong.then(|| ("a client id", "for all clients of a group, give the group in `groups`".to_owned()))
}

#[cfg(test)]
mod tests;
