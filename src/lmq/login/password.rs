//! Passwords of the token mode (LMQ-1.2): `<type>|<token>[|<type>|<token>...]`. Pure.

use super::Refusal;
use crate::lmq::token::Kind;

/// Reads the tokens of a password: one to three, each type at most once, in any order.
pub fn tokens(password: &str) -> Result<Vec<(Kind, &str)>, Refusal> {
    let mut parts = password.split('|');
    let mut found: Vec<(Kind, &str)> = Vec::new();
    while let Some(kind) = parts.next() {
        let kind = Kind::from_text(kind).ok_or(Refusal::Password("has a type other than `R`, `W` and `RW`"))?;
        let token = parts.next().filter(|token| !token.is_empty());
        let token = token.ok_or(Refusal::Password("has a type without its token"))?;
        if found.iter().any(|(known, _)| *known == kind) {
            return Err(Refusal::Password("has one type twice"));
        }
        found.push((kind, token));
    }
    Ok(found)
}
