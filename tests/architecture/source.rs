//! Reads Rust text as far as the rules need it: which paths it names, outside comments, strings and test modules.
//! It must never need the compiler: a rule is checked in milliseconds, also of code that does not build.

/// A path that a source file names, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Named {
    /// The whole path, such as `std::time::Instant`, groups of a `use` taken apart.
    pub(super) path: String,
    /// Its line, from 1.
    pub(super) line: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    PathSeparator,
    Mark(char),
}

/// All paths of more than one segment, those of `use` groups and those written in place.
pub(super) fn paths(text: &str) -> Vec<Named> {
    let tokens = tokens(&without_tests(text));
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        at = match &tokens[at].0 {
            Token::Word(_) => path(&tokens, at, "", &mut found),
            _ => at + 1,
        };
    }
    found
}

/// Reads one path, with its group if it ends in one, and gives the place behind it.
fn path(tokens: &[(Token, usize)], mut at: usize, prefix: &str, found: &mut Vec<Named>) -> usize {
    let mut whole = prefix.to_owned();
    let line = tokens[at].1;
    loop {
        match tokens.get(at).map(|(token, _)| token) {
            Some(Token::Word(word)) => {
                if !whole.is_empty() {
                    whole.push_str("::");
                }
                whole.push_str(word);
                at += 1;
                if tokens.get(at).map(|(token, _)| token) != Some(&Token::PathSeparator) {
                    break;
                }
                at += 1;
            }
            Some(Token::Mark('{')) => return group(tokens, at + 1, &whole, found),
            // `use a::*`, or the type arguments of `a::<T>`.
            Some(Token::Mark('*')) => {
                at += 1;
                break;
            }
            _ => break,
        }
    }
    if whole.contains("::") {
        found.push(Named { path: whole, line });
    }
    at
}

/// Reads the paths between the braces of a `use`.
fn group(tokens: &[(Token, usize)], mut at: usize, prefix: &str, found: &mut Vec<Named>) -> usize {
    while let Some((token, _)) = tokens.get(at) {
        at = match token {
            Token::Mark('}') => return at + 1,
            Token::Word(_) | Token::Mark('{') => path(tokens, at, prefix, found),
            _ => at + 1,
        };
    }
    at
}

/// Cuts off the test module at a file's end: a rule holds for what ships.
fn without_tests(text: &str) -> String {
    match text.find("#[cfg(test)]\nmod tests {") {
        Some(end) => text[..end].to_owned(),
        None => text.to_owned(),
    }
}

/// Words, path separators and marks, without comments, strings, characters and lifetimes.
fn tokens(text: &str) -> Vec<(Token, usize)> {
    let mut found = Vec::new();
    let mut line = 1;
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = skip(rest);
        let length = if skipped > 0 {
            skipped
        } else if first.is_alphabetic() || first == '_' {
            let length = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            found.push((Token::Word(rest[..length].to_owned()), line));
            length
        } else if rest.starts_with("::") {
            found.push((Token::PathSeparator, line));
            2
        } else {
            if !first.is_whitespace() {
                found.push((Token::Mark(first), line));
            }
            first.len_utf8()
        };
        line += rest[..length].matches('\n').count();
        rest = &rest[length..];
    }
    found
}

/// How many bytes of comment, string, character or lifetime the text starts with.
fn skip(text: &str) -> usize {
    let until = |from: usize, end: &str| text[from..].find(end).map_or(text.len(), |at| from + at + end.len());
    if text.starts_with("//") {
        return text.find('\n').unwrap_or(text.len());
    }
    if text.starts_with("/*") {
        return until(2, "*/");
    }
    let plain = text.strip_prefix('b').unwrap_or(text);
    if let Some(raw) = plain.strip_prefix('r') {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if raw[hashes..].starts_with('"') {
            let start = text.len() - raw.len() + hashes + 1;
            return until(start, &format!("\"{}", "#".repeat(hashes)));
        }
    }
    let before = text.len() - plain.len();
    if plain.starts_with('"') {
        return before + quoted(plain, '"');
    }
    if let Some(character) = plain.strip_prefix('\'') {
        let mut characters = character.chars();
        let first = characters.next();
        if first == Some('\\') || characters.next() == Some('\'') {
            return before + quoted(plain, '\'');
        }
        // A lifetime: its name is no path.
        return before + 1 + character.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(character.len());
    }
    0
}

/// The length of a quoted text with its quotes.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        if escaped {
            escaped = false;
        } else if character == '\\' {
            escaped = true;
        } else if character == quote {
            return at + 1;
        }
    }
    text.len()
}

#[test]
fn paths_are_found_wherever_they_are_written() {
    let text = r##"
use std::{fmt, time::{Duration, Instant}, net::*};
use tokio::sync as s;
// not::a::comment
/* nor::this */
const S: &str = "nor::a::string \" still::one"; const R: &str = r#"raw::text " raw::too"#;
fn f<'a>(c: char) -> crate::rocketmq::Client<'a> { if c == '"' { g::<std::env::Args>("x::y"); } tracing::warn!("q::r") }
#[cfg(test)]
mod tests { use std::process; }
"##;
    let found: Vec<String> = paths(text).into_iter().map(|named| format!("{} {}", named.line, named.path)).collect();
    assert_eq!(
        found,
        [
            "2 std::fmt",
            "2 std::time::Duration",
            "2 std::time::Instant",
            "2 std::net",
            "3 tokio::sync",
            "7 crate::rocketmq::Client",
            "7 std::env::Args",
            "7 tracing::warn",
        ]
    );
}
