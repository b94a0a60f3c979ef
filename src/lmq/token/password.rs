//! Passwords of the token mode (LMQ-1.2): `<type>|<token>[|<type>|<token>...]`. Pure.

use super::Kind;

/// Reads the tokens of a password: one to three, each type at most once, in any order. The error says what the password
/// has, and shows nothing of the tokens.
pub fn tokens(password: &str) -> Result<Vec<(Kind, &str)>, &'static str> {
    let mut parts = password.split('|');
    let mut found: Vec<(Kind, &str)> = Vec::new();
    while let Some(kind) = parts.next() {
        let kind = Kind::from_text(kind).ok_or("a token without its type: write `RW|TOKEN`, or `R|TOKEN|W|TOKEN`")?;
        let token = parts.next().filter(|token| !token.is_empty()).ok_or("a type without its token")?;
        if found.iter().any(|(known, _)| *known == kind) {
            return Err("two tokens of one type");
        }
        found.push((kind, token));
    }
    Ok(found)
}

/// Writes what [`tokens`] reads.
pub fn password<'a>(tokens: impl IntoIterator<Item = (Kind, &'a str)>) -> String {
    let pairs = tokens.into_iter().map(|(kind, token)| format!("{}|{token}", kind.text()));
    pairs.collect::<Vec<_>>().join("|")
}
