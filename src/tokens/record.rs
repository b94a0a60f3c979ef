//! What replicas tell each other of a token, and write down of it: JSON, under a signature with the secret that they share.
//!
//! Pure. It must never hold the text of a token, nor take what somebody without the secret has written.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::sessions::{Held, State};
use crate::{
    lmq::token::{Grant, Invalid, Kind, TokenId, TokenKey},
    message::{Message, Topic},
    presence::adapter::Adapter,
};

/// The format that this version writes.
const VERSION: &str = "1";
/// What the signature is for.
const PURPOSE: &[u8] = b"rocketbridge token record\0";

/// All that is known of a token: it only ever grows, so that replicas agree whatever they hear first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What the token grants.
    pub grant: Grant,
    /// When it was made, in milliseconds since the epoch; 0 where only its revocation is known.
    pub issued: u64,
    /// Whether it is none from now on.
    pub revoked: bool,
}

/// A record that is none of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRecord {
    /// Nobody who has the secret has written it, or another version.
    #[error("it is not signed with `lmq.tokens.secret`, or of another version")]
    Unsigned,
    /// It is signed, and not what it should be.
    #[error("it cannot be read: {0}")]
    Unreadable(String),
}

/// The written form.
#[derive(Serialize, Deserialize)]
struct Written {
    id: String,
    access_key: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    instance: String,
    resources: Vec<String>,
    read: bool,
    write: bool,
    expires: u64,
    #[serde(default)]
    issued: u64,
    #[serde(default)]
    revoked: bool,
}

impl Entry {
    /// Joins what was known with what is heard. Whether that says something new.
    pub fn merge(&mut self, heard: &Self) -> bool {
        let news = (heard.revoked && !self.revoked) || (self.issued == 0 && heard.issued != 0);
        self.revoked |= heard.revoked;
        self.issued = self.issued.max(heard.issued);
        news
    }

    /// The written form, in JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string(&Written::from(self)).expect("text, numbers and lists of them are JSON")
    }

    /// Reads [`Self::to_json`].
    pub fn from_json(json: &[u8]) -> Result<Self, BadRecord> {
        let written: Written =
            serde_json::from_slice(json).map_err(|error| BadRecord::Unreadable(error.to_string()))?;
        Self::try_from(written)
    }
}

impl TryFrom<Written> for Entry {
    type Error = BadRecord;

    fn try_from(written: Written) -> Result<Self, BadRecord> {
        let Written { id, access_key, instance, resources, read, write, expires, issued, revoked } = written;
        let id: TokenId = id.parse().map_err(|error: &str| BadRecord::Unreadable(error.to_owned()))?;
        let grant = Grant { id, access_key, instance, resources, read, write, expires };
        Ok(Self { grant, issued, revoked })
    }
}

impl From<&Entry> for Written {
    fn from(Entry { grant, issued, revoked }: &Entry) -> Self {
        Self {
            id: grant.id.to_string(),
            access_key: grant.access_key.clone(),
            instance: grant.instance.clone(),
            resources: grant.resources.clone(),
            read: grant.read,
            write: grant.write,
            expires: grant.expires,
            issued: *issued,
            revoked: *revoked,
        }
    }
}

/// A client's tokens, written down; or of which type the one was that ended, and the code of why, until the client is cut.
#[derive(Serialize, Deserialize)]
pub(super) struct Login {
    form: String,
    held: Vec<(Kind, Written)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ended: Option<(Kind, i8)>,
}

impl Login {
    pub(super) fn new(adapter: Adapter, state: &State) -> Self {
        let written = |Held { kind, grant }: &Held| {
            (*kind, Written::from(&Entry { grant: (**grant).clone(), issued: 0, revoked: false }))
        };
        let (held, ended) = match state {
            State::LoggedIn(held) => (held.iter().map(written).collect(), None),
            State::Ended(kind, why) => (Vec::new(), Some((*kind, why.code()))),
        };
        Self { form: adapter.name().to_owned(), held, ended }
    }

    pub(super) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("text, numbers and lists of them are JSON")
    }

    /// Nothing where another version wrote it.
    pub(super) fn read(json: &[u8]) -> Option<(Adapter, State)> {
        let Self { form, held, ended } = serde_json::from_slice(json).ok()?;
        let adapter = Adapter::from_name(&form)?;
        if let Some((kind, code)) = ended {
            return Some((adapter, State::Ended(kind, Invalid::from_code(code.into())?)));
        }
        let held = held.into_iter().map(|(kind, written)| {
            let entry = Entry::try_from(written).ok()?;
            Some(Held { kind, grant: Arc::new(entry.grant) })
        });
        Some((adapter, State::LoggedIn(held.collect::<Option<_>>()?)))
    }
}

/// A message of the topic in which replicas tell each other of tokens.
pub fn message(topic: &str, body: String) -> Message {
    let mut message = Message::new(Topic::from_parts(topic, ""), body);
    message.tag = Some("rocketbridge".to_owned());
    message
}

/// The body of a message that tells of tokens: the version, the signature, and a line for each.
pub fn pack(entries: &[Entry], key: &TokenKey) -> String {
    let lines: Vec<String> = entries.iter().map(Entry::to_json).collect();
    let lines = lines.join("\n");
    format!("{VERSION} {}\n{lines}", key.sign(PURPOSE, lines.as_bytes()))
}

/// Reads [`pack`].
pub fn unpack(body: &[u8], key: &TokenKey) -> Result<Vec<Entry>, BadRecord> {
    let text = std::str::from_utf8(body).map_err(|_| BadRecord::Unsigned)?;
    let (head, lines) = text.split_once('\n').ok_or(BadRecord::Unsigned)?;
    match head.split_once(' ') {
        Some((VERSION, signature)) if key.verifies(PURPOSE, lines.as_bytes(), signature) => {}
        _ => return Err(BadRecord::Unsigned),
    }
    lines.split('\n').map(|line| Entry::from_json(line.as_bytes())).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::settings::Secret;

    fn entry(id: u8, issued: u64, revoked: bool) -> Entry {
        let grant = Grant {
            id: TokenId([id; 16]),
            access_key: "YYYYY".to_owned(),
            instance: "mqtt-xxxxx".to_owned(),
            resources: vec!["TopicA/#".to_owned()],
            read: true,
            write: false,
            expires: 1_566_003_600_000,
        };
        Entry { grant, issued, revoked }
    }

    #[test]
    fn records_are_read_by_whoever_has_the_secret() {
        let key = TokenKey::new(&Secret::new("a secret that all replicas share"));
        let entries = [entry(1, 1_566_000_000_000, false), entry(2, 0, true)];
        let body = pack(&entries, &key);
        assert_eq!(unpack(body.as_bytes(), &key).unwrap(), entries);
        let other = TokenKey::new(&Secret::new("another"));
        assert_eq!(unpack(body.as_bytes(), &other), Err(BadRecord::Unsigned));
        let forged = body.replace("\"revoked\":true", "\"revoked\":false");
        assert_eq!(unpack(forged.as_bytes(), &key), Err(BadRecord::Unsigned));
        assert_eq!(unpack(body.replacen('1', "2", 1).as_bytes(), &key), Err(BadRecord::Unsigned));
        for wrong in [&b""[..], b"1 ", b"1 \n", b"\xff\n", b"{}"] {
            assert_eq!(unpack(wrong, &key), Err(BadRecord::Unsigned));
        }
        let empty = format!("1 {}\n{{}}", key.sign(PURPOSE, b"{}"));
        assert!(matches!(unpack(empty.as_bytes(), &key), Err(BadRecord::Unreadable(_))));
    }

    proptest! {
        /// Replicas that heard the same agree, in whatever order and however often.
        #[test]
        fn the_order_of_records_does_not_matter(heard in prop::collection::vec((0..3_u64, any::<bool>()), 1..8)) {
            let heard: Vec<Entry> = heard.into_iter().map(|(issued, revoked)| entry(1, issued, revoked)).collect();
            let all = |entries: &mut dyn Iterator<Item = &Entry>| {
                entries.fold(entry(1, 0, false), |mut known, heard| { known.merge(heard); known })
            };
            let forwards = all(&mut heard.iter());
            prop_assert_eq!(&forwards, &all(&mut heard.iter().rev()));
            prop_assert_eq!(&forwards, &all(&mut heard.iter().chain(&heard)));
            prop_assert!(!forwards.clone().merge(&heard[0]), "nothing of it is new");
        }
    }
}
