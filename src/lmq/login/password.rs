//! Passwords of the token mode (LMQ-1.2): `<type>|<token>[|<type>|<token>...]`. Pure.

use super::Refusal;

/// What a client says that a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// `R`
    Read,
    /// `W`
    Write,
    /// `RW`
    Both,
}

impl TokenKind {
    /// Reads its letters.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "R" => Some(Self::Read),
            "W" => Some(Self::Write),
            "RW" => Some(Self::Both),
            _ => None,
        }
    }

    /// Its letters.
    pub fn letters(self) -> &'static str {
        match self {
            Self::Read => "R",
            Self::Write => "W",
            Self::Both => "RW",
        }
    }

    /// Whether it is for subscribing.
    pub fn reads(self) -> bool {
        self != Self::Write
    }

    /// Whether it is for publishing.
    pub fn writes(self) -> bool {
        self != Self::Read
    }
}

/// Reads the tokens of a password: one to three, each type at most once, in any order.
pub fn tokens(password: &str) -> Result<Vec<(TokenKind, &str)>, Refusal> {
    let mut parts = password.split('|');
    let mut found: Vec<(TokenKind, &str)> = Vec::new();
    while let Some(kind) = parts.next() {
        let kind = TokenKind::parse(kind).ok_or(Refusal::Password("has a type other than `R`, `W` and `RW`"))?;
        let token = parts.next().filter(|token| !token.is_empty());
        let token = token.ok_or(Refusal::Password("has a type without its token"))?;
        if found.iter().any(|(known, _)| *known == kind) {
            return Err(Refusal::Password("has one type twice"));
        }
        found.push((kind, token));
    }
    Ok(found)
}
