//! Secrets: where they come from, and how they are kept out of what is shown.

use super::Context;
use crate::{
    diagnostic::Fault,
    toml_reader::{Found, Table},
};

/// A secret, by where it is kept.
pub(super) enum Kept {
    /// In the environment, or in a file of its own.
    Elsewhere(String),
    /// In this very file, as plain text.
    Here(Found<String>),
}

/// A secret: `{ env = "NAME" }`, `{ file = "path" }`, or plain text, which is warned of.
pub(super) fn secret(table: &Table<'_>, key: &'static str, context: &Context<'_>) -> Option<String> {
    match find_secret(table, key, context)? {
        Kept::Elsewhere(text) => Some(text),
        Kept::Here(text) => {
            let message = format!("`{}` is a secret in a plain file", table.name(key));
            let fault = Fault::warning(text.at, message, "readable by whoever reads the file");
            table.faults().add(fault.hint(format!("write `{key} = {{ env = \"NAME\" }}` or `{{ file = \"PATH\" }}`")));
            Some(text.value)
        }
    }
}

/// [`secret`], where plain text is warned of by who asks.
pub(super) fn find_secret(table: &Table<'_>, key: &'static str, context: &Context<'_>) -> Option<Kept> {
    let at = table.key_at(key)?;
    if table.is_text(key) {
        let text = table.filled_text(key)?;
        return Some(if table.is_override(key) { Kept::Elsewhere(text.value) } else { Kept::Here(text) });
    }
    let source = table.table(key)?;
    let (env, file) = (source.filled_text("env"), context.path(&source, "file"));
    let given = (source.key_at("env").is_some(), source.key_at("file").is_some());
    if given.0 == given.1 {
        let message = format!("`{}` must say one of `env` and `file`", table.name(key));
        let label = if given.0 { "both are given" } else { "neither is given" };
        table.faults().add(Fault::error(at.clone(), message, label));
    }
    source.finish();
    let (at, read) = match (env, file) {
        (Some(env), None) => {
            let missing = || format!("the environment variable `{}` is not set", env.value);
            (env.at.clone(), context.environment.get(&env.value).map(str::to_owned).ok_or_else(missing))
        }
        (None, Some(file)) => {
            let unreadable = |error| format!("cannot read `{}`: {error}", file.value.display());
            (file.at.clone(), std::fs::read_to_string(&file.value).map_err(unreadable))
        }
        _ => return None,
    };
    let read = read.map(|text| text.trim_end_matches(['\r', '\n']).to_owned());
    match read.and_then(|text| if text.is_empty() { Err("the secret is empty".to_owned()) } else { Ok(text) }) {
        Ok(text) => Some(Kept::Elsewhere(text)),
        Err(message) => {
            table.faults().add(Fault::error(at, message, format!("`{}` comes from here", table.name(key))));
            None
        }
    }
}

/// Hides what looks like a secret, keeping every byte's place, so that lines of the file can be shown. It goes by the
/// text alone, since a file with syntax errors is shown as well.
pub(super) fn hide_secrets(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    let mut name = "";
    // Within the braces of a secret, only these may be shown.
    let mut in_secret = false;
    while let Some(c) = rest.chars().next() {
        let taken = match c {
            _ if c.is_alphanumeric() || c == '_' || c == '-' => {
                name = &rest[..rest.find(|c: char| !(c.is_alphanumeric() || "_-".contains(c))).unwrap_or(rest.len())];
                name
            }
            '=' => {
                let secret = sounds_secret(name) || (in_secret && !["env", "file", "refresh"].contains(&name));
                in_secret |= secret && rest[1..].trim_start().starts_with('{');
                let (kept, hidden) = value_after_equals(rest, secret);
                shown += kept;
                shown.extend(hidden.chars().flat_map(|c| match c {
                    '\n' | '\r' => vec![c],
                    _ => vec!['*'; c.len_utf8()],
                }));
                rest = &rest[kept.len() + hidden.len()..];
                continue;
            }
            ':' if rest.starts_with("://") => {
                let end = rest.find(['"', '\'', '\n']).unwrap_or(rest.len());
                let host = rest[..end].rfind('@').unwrap_or(0);
                let hidden = host.saturating_sub(3);
                shown += "://";
                shown += &"*".repeat(hidden);
                rest = &rest[3 + hidden..];
                continue;
            }
            _ => {
                in_secret &= c != '}' && c != '\n';
                &rest[..c.len_utf8()]
            }
        };
        shown += taken;
        rest = &rest[taken.len()..];
    }
    shown
}

fn sounds_secret(key: &str) -> bool {
    let key = key.to_lowercase();
    let near = |secret: &str| strsim::jaro_winkler(key.rsplit("__").next().unwrap_or(&key), secret) > 0.9;
    ["pass", "secret", "token", "loop_key"].iter().any(|part| key.contains(part))
        || ["password", "secret_key"].into_iter().any(near)
}

/// Splits off what follows an equals sign, up to the end of the value: what may be shown, and what may not.
fn value_after_equals(text: &str, secret: bool) -> (&str, &str) {
    let blank = 1 + text[1..].len() - text[1..].trim_start_matches([' ', '\t']).len();
    let value = &text[blank..];
    if !secret || value.starts_with('{') {
        return (&text[..blank], "");
    }
    let line = value.find('\n').unwrap_or(value.len());
    let quoted = |quote: &str| value[quote.len()..].find(quote).map(|end| (quote.len(), end));
    let (open, length) = if let Some(quote) = ["\"\"\"", "'''"].into_iter().find(|quote| value.starts_with(quote)) {
        quoted(quote).unwrap_or((3, value.len() - 3))
    } else if let Some(quote) = ["\"", "'"].into_iter().find(|quote| value.starts_with(quote)) {
        quoted(quote).filter(|(_, end)| *end < line).unwrap_or((1, line - 1))
    } else {
        (0, line)
    };
    (&text[..blank + open], &value[open..open + length])
}

#[cfg(test)]
mod tests {
    use super::hide_secrets;

    #[test]
    fn secrets_are_hidden_in_place_even_where_the_syntax_is_broken() {
        for (text, shown) in [
            ("password = \"abc\" # note", "password = \"***\" # note"),
            ("password = \"abc\nurl = \"x\"", "password = \"***\nurl = \"x\""),
            ("secret_key='''a\nb''' # c", "secret_key='''*\n*''' # c"),
            ("pasword = 12", "pasword = **"),
            ("a = { password = \"ü\", b = 1 }", "a = { password = \"**\", b = 1 }"),
            ("password = { env = \"EDGE\" }", "password = { env = \"EDGE\" }"),
            ("password = { plain = \"abc\" } # x = \"y\"", "password = { plain = \"***\" } # x = \"y\""),
            ("ROCKETBRIDGE__MQTT__EDGE__PASSWORD=ab c", "ROCKETBRIDGE__MQTT__EDGE__PASSWORD=****"),
            ("url = \"mqtt://user:pw@host\"", "url = \"mqtt://*******@host\""),
            ("url = \"mqtt://host\" # x@y", "url = \"mqtt://host\" # x@y"),
            ("token = \"abc\"", "token = \"***\""),
            ("access_key = \"AK\"", "access_key = \"AK\""),
        ] {
            assert_eq!(hide_secrets(text), shown);
        }
    }
}
