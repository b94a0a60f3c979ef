//! The bodies of answers: JSON with the keys of LMQ-8.3, and for what the contract does not name, more beside them.
//! Pure.

use serde::Serialize;

use super::Refusal;

/// What `online` says where the number is not known (LMQ-8.3): ask again.
const UNKNOWN: i64 = -1;

/// A number as `online` says it; `None` is one that is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(into = "i64")]
pub struct Count(pub Option<u32>);

impl From<Count> for i64 {
    fn from(count: Count) -> Self {
        count.0.map_or(UNKNOWN, Self::from)
    }
}

/// Answers [`super::Question::Client`] and [`super::Question::Group`].
#[derive(Debug, Serialize)]
pub struct Number {
    /// The connections of the client, or the clients of the group.
    pub online: Count,
}

/// Answers [`super::Question::Clients`].
#[derive(Debug, Serialize)]
pub struct Clients<'a> {
    /// In the order in which they were asked for.
    pub clients: Vec<Client<'a>>,
}

/// One client of several.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Client<'a> {
    /// Its client id.
    pub client_id: &'a str,
    /// Its connections.
    pub online: Count,
}

/// Answers [`super::Question::GroupClients`].
#[derive(Debug, Serialize)]
pub struct Page {
    /// The clients of the whole group; unknown while the list may lack some.
    pub online: Count,
    /// In the order of their client ids.
    pub clients: Vec<Listed>,
    /// `after` of the next page, if there may be one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// One client of a page.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Listed {
    /// Its client id.
    pub client_id: String,
    /// Its connections, 1 or more.
    pub channels: u32,
    /// When the latest of them began, in milliseconds since the epoch.
    pub connect_time: u64,
    /// `ip:port` of that one; empty where its broker does not say.
    pub client_ip: String,
}

/// One event that answers [`super::Question::GroupChanges`].
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Changed<'a> {
    /// Its client id.
    pub client_id: &'a str,
    /// Its connections from now on.
    pub online: Count,
    /// When, in milliseconds since the epoch.
    pub time: u64,
}

/// The keys of every body around those that an answer has of its own.
#[derive(Serialize)]
struct Body<'a, T> {
    code: u8,
    success: bool,
    #[serde(flatten)]
    found: T,
    message: &'a str,
}

/// The body of an answer.
pub fn body(found: &impl Serialize) -> String {
    json(&Body { code: 0, success: true, found, message: "ok" })
}

impl Refusal {
    /// The body of a refusal. A caller that looks at `online` alone learns that it knows nothing.
    pub fn body(&self) -> String {
        let found = Number { online: Count(None) };
        json(&Body { code: self.code(), success: false, found, message: &self.to_string() })
    }
}

/// JSON of a change, which is no whole body.
pub fn event(changed: &Changed<'_>) -> String {
    json(changed)
}

fn json(body: &impl Serialize) -> String {
    serde_json::to_string(body).expect("text, numbers and lists of them are JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_has_exactly_the_four_keys_of_the_contract() {
        let answer = |online| body(&Number { online: Count(online) });
        assert_eq!(answer(Some(2)), "{\"code\":0,\"success\":true,\"online\":2,\"message\":\"ok\"}");
        assert_eq!(answer(None), "{\"code\":0,\"success\":true,\"online\":-1,\"message\":\"ok\"}");
        assert_eq!(
            Refusal::Missing("resource").body(),
            "{\"code\":1,\"success\":false,\"online\":-1,\"message\":\"`resource` is missing\"}"
        );
    }

    #[test]
    fn what_a_caller_sent_is_quoted_as_json() {
        assert!(Refusal::Group("a\"\n".into()).body().contains("of `a\\\"\\n`"));
        let clients = vec![Client { client_id: "\"", online: Count(Some(0)) }];
        assert_eq!(
            body(&Clients { clients }),
            "{\"code\":0,\"success\":true,\"clients\":[{\"clientId\":\"\\\"\",\"online\":0}],\"message\":\"ok\"}"
        );
    }
}
