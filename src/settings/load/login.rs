//! `[mqtt.NAME.login]`: logging in to an endpoint of LMQ (LMQ-1).

use std::{ops::RangeInclusive, time::Duration};

use super::{Context, secret};
use crate::{
    diagnostic::Fault,
    lmq::notice::GROUP_END,
    settings::{LmqLogin, Secret, TokenSource},
    toml_reader::{Found, Table},
};

const REFRESHES: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(86_400);
/// Reading a file costs nothing.
const REFRESH_FILE: Duration = Duration::from_secs(60);
/// A program is likely to ask a token service, which keeps a list.
const REFRESH_COMMAND: Duration = Duration::from_secs(3600);

#[derive(Debug, Clone, Copy)]
enum Mode {
    Signature,
    Token,
    Device,
    Custom,
}

const MODES: [(&str, Mode); 4] =
    [("signature", Mode::Signature), ("token", Mode::Token), ("device", Mode::Device), ("custom", Mode::Custom)];
/// The keys of all modes.
const KEYS: [&str; 6] = ["access_key", "secret_key", "instance", "token", "username", "signed"];

/// The login of a broker, where `login` is given.
pub(super) fn of_broker(
    broker: &Table<'_>,
    client_id: Option<&Found<String>>,
    context: &Context<'_>,
) -> Option<LmqLogin> {
    let at = broker.key_at("login")?;
    for key in ["username", "password"] {
        if let Some(other) = broker.key_at(key) {
            let fault = Fault::error(other, format!("`{}` has no effect beside `login`", broker.name(key)), "not used");
            broker.faults().add(fault.other(at.clone(), "this is how it logs in"));
        }
    }
    let table = broker.table("login")?;
    check_client_id(broker, client_id);
    let mode = table.choice("mode", &MODES);
    if table.key_at("mode").is_none() {
        table.missing("mode", "say how: `mode = \"signature\"`, `\"token\"`, `\"device\"` or `\"custom\"`");
    }
    let Some(Found { value: mode, .. }) = mode else {
        // Whose keys these are is not known.
        let _ = KEYS.map(|key| table.key_at(key));
        table.finish();
        return None;
    };
    let login = read(mode, &table, context);
    table.finish();
    login
}

fn read(mode: Mode, table: &Table<'_>, context: &Context<'_>) -> Option<LmqLogin> {
    let keyed = || {
        let hint = "it is a part of the user name";
        (field(table, "access_key", hint), field(table, "instance", hint))
    };
    match mode {
        Mode::Signature => {
            let ((access_key, instance), secret_key) = (keyed(), secret_key(table, context));
            Some(LmqLogin::Signature { access_key: access_key?, instance: instance?, secret_key: secret_key? })
        }
        Mode::Device => {
            let ((access_key, instance), secret_key) = (keyed(), secret_key(table, context));
            Some(LmqLogin::Device { access_key: access_key?, instance: instance?, secret_key: secret_key? })
        }
        Mode::Token => {
            let ((access_key, instance), tokens) = (keyed(), tokens(table, context));
            let (tokens, refresh) = tokens?;
            Some(LmqLogin::Token { access_key: access_key?, instance: instance?, tokens, refresh })
        }
        Mode::Custom => {
            let (username, secret_key) = (field(table, "username", "say under which name"), secret_key(table, context));
            let signed = table.flag("signed").is_some_and(|found| found.value);
            Some(LmqLogin::Custom { username: username?, secret_key: secret_key?, signed })
        }
    }
}

/// A part of a user name. A `|` would make it another one.
fn field(table: &Table<'_>, key: &'static str, hint: &str) -> Option<String> {
    let Some(found) = table.filled_text(key) else {
        if table.key_at(key).is_none() {
            table.missing(key, hint);
        }
        return None;
    };
    if found.value.contains(|c: char| c == '|' || c.is_control()) {
        let message = format!("`{}` may not hold `|` or control characters", table.name(key));
        table.faults().add(Fault::error(found.at, message, "it would make another user name (LMQ-1)"));
        return None;
    }
    Some(found.value)
}

fn secret_key(table: &Table<'_>, context: &Context<'_>) -> Option<Secret> {
    if table.key_at("secret_key").is_none() {
        table.missing("secret_key", "say where it is: `secret_key = { env = \"NAME\" }`");
    }
    secret(table, "secret_key", context).map(Secret::new)
}

fn tokens(login: &Table<'_>, context: &Context<'_>) -> Option<(TokenSource, Duration)> {
    let Some(at) = login.key_at("token") else {
        login.missing(
            "token",
            "say where tokens come from: `token = { file = \"PATH\" }` or `{ command = [\"PROGRAM\"] }`",
        );
        return None;
    };
    let table = login.table("token")?;
    let (file, command) = (context.path(&table, "file"), table.texts("command"));
    let given = (table.key_at("file").is_some(), table.key_at("command").is_some());
    if given.0 == given.1 {
        let message = format!("`{}` must say one of `file` and `command`", login.name("token"));
        table.faults().add(Fault::error(at, message, if given.0 { "both are given" } else { "neither is given" }));
    }
    let refresh = table.duration("refresh", &REFRESHES).map(|found| found.value);
    table.finish();
    if given.0 == given.1 {
        return None;
    }
    if let Some(file) = file {
        if let Err(error) = std::fs::File::open(&file.value) {
            let message = format!("cannot read `{}`: {error}", file.value.display());
            let fault = Fault::warning(file.at, message, "tokens come from here");
            login.faults().add(fault.hint("nobody is logged in until it is there"));
        }
        return Some((TokenSource::File(file.value), refresh.unwrap_or(REFRESH_FILE)));
    }
    let mut words = command?.into_iter().map(|word| word.value);
    let program = words.next()?;
    let source = TokenSource::Command { program, arguments: words.map(Secret::new).collect() };
    Some((source, refresh.unwrap_or(REFRESH_COMMAND)))
}

/// LMQ-2.1: the stem begins every session's client id, so it has the group.
fn check_client_id(broker: &Table<'_>, client_id: Option<&Found<String>>) {
    let (at, stem) = match client_id {
        Some(found) if found.value.contains(GROUP_END) => return,
        Some(found) => (Some(found.at.clone()), found.value.as_str()),
        None => (broker.key_at("login"), "rocketbridge, the default"),
    };
    let Some(at) = at else { return };
    let message = format!("an endpoint of LMQ takes no client id without a group: {stem}");
    let hint = format!("LMQ-2.1: write `client_id = \"GID_group{GROUP_END}bridge\"`, with a group that is there");
    broker.faults().add(Fault::warning(at, message, format!("no `{GROUP_END}`")).hint(hint));
}
