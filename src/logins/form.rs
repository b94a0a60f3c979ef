//! How each broker asks over HTTP whether a client may log in, publish and subscribe, and how it wants to be answered.
//!
//! Pure: fields in, a question out; a decision in, an answer out. A broker is one file here. What cannot be read is
//! answered as a refusal, and a refusal must never be what a broker takes for permission, or for "ask somebody else".

mod emqx;
mod mosquitto;
mod nanomq;
mod rmqtt;
#[cfg(test)]
mod tests;

use crate::{lmq::login::Action, presence::adapter::Adapter};

/// What a broker asks about: the last part of the path that it asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// A client that logs in.
    User,
    /// Whether a client may do everything.
    Superuser,
    /// What a client may publish and subscribe to.
    Acl,
}

impl About {
    /// Reads the part of the path.
    pub fn from_path(text: &str) -> Option<Self> {
        match text {
            "user" => Some(Self::User),
            "superuser" => Some(Self::Superuser),
            "acl" => Some(Self::Acl),
            _ => None,
        }
    }
}

/// A question. It has no `Debug`: a password must not be shown.
#[derive(Clone, PartialEq, Eq)]
pub enum Question<'a> {
    /// May this client log in?
    Login {
        /// Its client id.
        client_id: &'a str,
        /// Its user name.
        username: &'a str,
        /// Its password.
        password: &'a str,
    },
    /// May a client do everything?
    Superuser,
    /// May this client, which was let in, do all of this?
    Access {
        /// Its client id.
        client_id: &'a str,
        /// Its user name.
        username: &'a str,
        /// Its password, from a broker that remembers it; else empty.
        password: &'a str,
        /// What it wants to do, one thing or more.
        wants: Vec<(Action, &'a str)>,
    },
}

/// A decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Yes.
    Allowed {
        /// Where a client logs in: until when, in milliseconds since the epoch.
        expires: Option<u64>,
    },
    /// No.
    Refused,
}

/// An answer over HTTP. Its body is JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: String,
}

/// What a broker sent: names and values, of a form or of a JSON object.
#[derive(Clone, Copy)]
pub struct Fields<'a>(pub &'a [(String, String)]);

impl<'a> Fields<'a> {
    /// A value that is given; brokers leave out what a client did not send, or write `undefined`.
    fn text(self, name: &str) -> &'a str {
        self.0.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value.as_str())
    }

    fn login(self) -> Question<'a> {
        let (client_id, username) = (self.text("clientid"), self.text("username"));
        Question::Login { client_id, username, password: self.text("password") }
    }

    fn access(self, wants: Vec<(Action, &'a str)>) -> Question<'a> {
        let (client_id, username) = (self.text("clientid"), self.text("username"));
        Question::Access { client_id, username, password: self.text("password"), wants }
    }
}

/// Reads a question. Nothing where it is none of this broker's.
pub fn read(adapter: Adapter, about: About, fields: Fields<'_>) -> Option<Question<'_>> {
    match (about, adapter) {
        (About::User, _) => Some(fields.login()),
        (About::Superuser, _) => Some(Question::Superuser),
        (About::Acl, Adapter::Emqx) => emqx::access(fields),
        (About::Acl, Adapter::Rmqtt) => rmqtt::access(fields),
        (About::Acl, Adapter::NanoMq) => nanomq::access(fields),
        (About::Acl, Adapter::Mosquitto) => mosquitto::access(fields),
        (About::Acl, Adapter::VerneMq | Adapter::Generic) => None,
    }
}

/// Whether a broker may be believed who its clients are that it asks about: RMQTT may name another than it means.
pub fn tells_client_ids(adapter: Adapter) -> bool {
    adapter != Adapter::Rmqtt
}

/// Whether a broker's forms can be read: NanoMQ does not encode them.
pub fn encodes_forms(adapter: Adapter) -> bool {
    adapter != Adapter::NanoMq
}

/// Says a decision on a question, if there was one that could be read.
pub fn answer(adapter: Adapter, question: Option<&Question<'_>>, decision: Decision) -> Answer {
    match adapter {
        Adapter::Emqx => emqx::answer(decision),
        Adapter::Rmqtt => rmqtt::answer(question, decision),
        Adapter::Mosquitto => mosquitto::answer(decision),
        Adapter::NanoMq | Adapter::VerneMq | Adapter::Generic => nanomq::answer(decision),
    }
}

/// An answer that says it by its status.
fn by_status(decision: Decision, allowed: &str, refused: &str) -> Answer {
    match decision {
        Decision::Allowed { .. } => Answer { status: 200, body: allowed.to_owned() },
        Decision::Refused => Answer { status: 403, body: refused.to_owned() },
    }
}
