//! What back ends ask of the token service, how it is signed, and how it is answered. LMQ-9.1 to LMQ-9.4.
//!
//! Pure: parameters and the time in, a request or a refusal out. It must never let a caller without a valid signature
//! learn which access keys, instances or tokens there are.

use std::collections::BTreeSet;

use serde::Serialize;

use super::{
    parameters::{ACCESS_KEY, INSTANCE, Parameters, SIGNATURE},
    signature,
    token::{Invalid, MAX_RESOURCES, MAX_RESOURCES_BYTES, MAX_TEXT, MAX_TOKEN},
};
use crate::mapping::pattern::Pattern;

/// LMQ-9.2: how far ahead a token may end, in milliseconds.
const SHORTEST: u64 = 60 * 1000;
const LONGEST: u64 = 30 * 24 * 3600 * 1000;
/// What a request for the shortest may take to come here, in milliseconds.
const ON_ITS_WAY: u64 = 1000;

const ACTIONS: &str = "actions";
const EXPIRE_TIME: &str = "expireTime";
const PROXY_TYPE: &str = "proxyType";
const RESOURCES: &str = "resources";
const SERVICE_NAME: &str = "serviceName";
const TOKEN: &str = "token";

/// What may be asked for, each with a path of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// A new token.
    Apply,
    /// A token is to be none from now on.
    Revoke,
    /// Whether a token counts.
    Query,
}

impl Call {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Apply, Self::Revoke, Self::Query];

    /// The path of its URL.
    pub fn path(self) -> &'static str {
        match self {
            Self::Apply => "/token/apply",
            Self::Revoke => "/token/revoke",
            Self::Query => "/token/query",
        }
    }

    /// What its signature covers (LMQ-9.2, LMQ-9.3); all of it is needed.
    fn signed(self) -> &'static [&'static str] {
        match self {
            Self::Apply => &[ACTIONS, EXPIRE_TIME, INSTANCE, RESOURCES, SERVICE_NAME],
            Self::Revoke | Self::Query => &[TOKEN],
        }
    }
}

/// What is asked for, before it is known whether whoever asks may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// A new token.
    Apply(Apply),
    /// This token is to be none.
    Revoke(String),
    /// Whether this token counts.
    Query(String),
}

/// What a new token shall grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Apply {
    /// The instance that it is for.
    pub instance: String,
    /// MQTT topic filters, sorted, each once.
    pub resources: Vec<String>,
    /// Whether it lets subscribe.
    pub read: bool,
    /// Whether it lets publish.
    pub write: bool,
    /// When it ends, in milliseconds since the epoch: at most 30 days ahead, even if more was asked for.
    pub expires: u64,
}

/// A request whose signature is still to be verified.
#[derive(Debug)]
pub struct Unverified {
    /// Who says to ask.
    pub access_key: String,
    signature: String,
    /// What it may cover: values sorted one by one, and as they came.
    texts: [String; 2],
    wish: Wish,
}

/// Why a request is not done, in words for the caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The request cannot be read at all, and why.
    #[error("{0}")]
    Request(&'static str),
    /// A parameter is missing.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// A parameter cannot be used.
    #[error("`{0}` {1}")]
    Parameter(&'static str, &'static str),
    /// The parameter is not one that the access key may give.
    #[error("`instanceId` is not the instance of this access key")]
    Instance,
    /// No such access key, or not its signature.
    #[error("the signature is wrong, or the access key is unknown")]
    Signature,
    /// The access key does not have the topics.
    #[error("the access key may not grant `{0}`")]
    Resource(String),
    /// A token was not made, and why not.
    #[error("the token was not made: {0}")]
    NotMade(String),
    /// A token was not revoked, and why not.
    #[error("the token was not revoked: {0}")]
    NotRevoked(String),
    /// The token does not count.
    #[error("{0}")]
    Token(Invalid),
}

impl Refusal {
    /// LMQ-9.4.
    pub fn code(&self) -> i16 {
        match self {
            Self::Request(_) | Self::Missing(_) | Self::Parameter(..) | Self::Instance => 400,
            Self::Signature => 407,
            Self::Resource(_) | Self::NotMade(_) => 409,
            Self::NotRevoked(_) => 410,
            Self::Token(invalid) => invalid.code().into(),
        }
    }
}

/// Reads a request; `now` is in milliseconds since the epoch. Parameters that the contract does not name are passed over.
pub fn read(call: Call, parameters: &[(String, String)], now: u64) -> Result<Unverified, Refusal> {
    let given = Form(Parameters(parameters));
    for name in call.signed().iter().chain(&[ACCESS_KEY, SIGNATURE]) {
        given.needed(name)?;
    }
    let wish = match call {
        Call::Apply => Wish::Apply(given.apply(now)?),
        Call::Revoke => Wish::Revoke(given.token()?),
        Call::Query => Wish::Query(given.token()?),
    };
    let texts = [true, false].map(|split| given.canonical(call.signed(), split));
    given.one(SIGNATURE)?;
    Ok(Unverified { access_key: given.one(ACCESS_KEY)?.to_owned(), signature: given.0.signature(), texts, wish })
}

impl Unverified {
    /// What is asked for, if the access key's secret signed it. One that does not exist takes as long as one that does.
    pub fn verify(self, secret: Option<&str>) -> Result<Wish, Refusal> {
        let signed = |text: &String| signature::is_valid(secret.unwrap_or_default(), text, &self.signature);
        let valid = self.texts.each_ref().map(signed);
        if secret.is_some() && valid.contains(&true) { Ok(self.wish) } else { Err(Refusal::Signature) }
    }
}

/// The parameters of a form or a URL, in its order.
struct Form<'a>(Parameters<'a>);

impl<'a> Form<'a> {
    /// The values of a parameter, also where they are one text.
    fn values(&self, name: &str) -> impl Iterator<Item = &'a str> {
        self.0.all(name).flat_map(|value| value.split(','))
    }

    fn needed(&self, name: &'static str) -> Result<(), Refusal> {
        if self.0.lacks(name) { Err(Refusal::Missing(name)) } else { Ok(()) }
    }

    fn one(&self, name: &'static str) -> Result<&'a str, Refusal> {
        let twice = self.0.all(name).nth(1).is_some();
        if twice { Err(Refusal::Parameter(name, "is given twice")) } else { Ok(self.0.first(name)) }
    }

    /// A text that stands in the string to sign as it is: what would look like another parameter there is refused.
    fn text(&self, name: &'static str, most: usize) -> Result<String, Refusal> {
        let value = self.one(name)?;
        match value {
            _ if value.len() > most => Err(Refusal::Parameter(name, "is too long")),
            _ if !is_plain(value) => Err(Refusal::Parameter(name, "holds `&`, `,` or a control character")),
            _ => Ok(value.to_owned()),
        }
    }

    fn token(&self) -> Result<String, Refusal> {
        self.text(TOKEN, MAX_TOKEN)
    }

    fn apply(&self, now: u64) -> Result<Apply, Refusal> {
        if self.one(SERVICE_NAME)? != "mq" {
            return Err(Refusal::Parameter(SERVICE_NAME, "must be `mq`"));
        }
        if !matches!(self.one(PROXY_TYPE)?, "" | "MQTT") {
            return Err(Refusal::Parameter(PROXY_TYPE, "must be `MQTT`"));
        }
        let actions: BTreeSet<&str> = self.values(ACTIONS).collect();
        if actions.iter().any(|action| !matches!(*action, "R" | "W")) {
            return Err(Refusal::Parameter(ACTIONS, "must be `R`, `W` or `R,W`"));
        }
        Ok(Apply {
            instance: self.text(INSTANCE, MAX_TEXT)?,
            resources: self.resources()?,
            read: actions.contains("R"),
            write: actions.contains("W"),
            expires: self.expires(now)?,
        })
    }

    fn resources(&self) -> Result<Vec<String>, Refusal> {
        let resources: BTreeSet<&str> = self.values(RESOURCES).collect();
        let wrong = |why| Err(Refusal::Parameter(RESOURCES, why));
        match () {
            () if resources.len() > MAX_RESOURCES => wrong("are more than 100"),
            () if resources.iter().any(|resource| resource.len() > MAX_TEXT) => {
                wrong("hold one of more than 255 bytes")
            }
            () if resources.iter().map(|resource| resource.len()).sum::<usize>() > MAX_RESOURCES_BYTES => {
                wrong("are longer than 8 KiB together")
            }
            () if !resources.iter().all(|resource| is_plain(resource) && Pattern::plain(resource).is_some()) => {
                wrong("hold one that is no MQTT topic filter")
            }
            () => Ok(resources.into_iter().map(str::to_owned).collect()),
        }
    }

    /// LMQ-9.2: what is further ahead is cut, not refused.
    fn expires(&self, now: u64) -> Result<u64, Refusal> {
        let wrong = |why| Refusal::Parameter(EXPIRE_TIME, why);
        let text = self.one(EXPIRE_TIME)?;
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        let time: u64 = text.parse().ok().filter(|_| digits).ok_or(wrong("must be in milliseconds since the epoch"))?;
        if time < now + SHORTEST - ON_ITS_WAY {
            return Err(wrong("must be at least 60 seconds ahead"));
        }
        Ok(time.min(now + LONGEST))
    }

    /// LMQ-9.1, with the values of a parameter apart, or as they came: whoever signs may not have sorted those that it
    /// sends as one text. Both say the same, since no value holds what separates parameters or values.
    fn canonical(&self, signed: &[&str], split: bool) -> String {
        let values =
            |name| -> Vec<&str> { if split { self.values(name).collect() } else { self.0.all(name).collect() } };
        signature::canonical(signed.iter().flat_map(|name| values(name).into_iter().map(|value| (*name, value))))
    }
}

fn is_plain(text: &str) -> bool {
    !text.contains(|c: char| c.is_control() || matches!(c, '&' | ','))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    success: bool,
    message: &'a str,
    code: i16,
    token_data: Option<&'a str>,
}

/// The body of an answer that all is well, with the new token where one was asked for.
pub fn body(token: Option<&str>) -> String {
    json(&Body { success: true, message: "ok", code: 200, token_data: token })
}

impl Refusal {
    /// The body of a refusal. It comes with HTTP status 200, since the vendor's clients read no other (LMQ-9.4).
    pub fn body(&self) -> String {
        json(&Body { success: false, message: &self.to_string(), code: self.code(), token_data: None })
    }
}

fn json(body: &Body<'_>) -> String {
    serde_json::to_string(body).expect("text and numbers are JSON")
}

#[cfg(test)]
mod tests;
