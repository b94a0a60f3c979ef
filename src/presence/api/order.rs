//! What a broker is told to do with one of its clients, over HTTP.
//!
//! It must never tell a client what is meant for another: a broker that cannot publish to one client alone has it
//! subscribe for the moment, and takes the subscription away again.

use std::time::Duration;

use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{ApiError, get, send};
use crate::{
    presence::adapter::{Adapter, Unreadable},
    settings::BrokerApi,
};

/// How long an answer may take, and how long it may be.
const PATIENCE: Duration = Duration::from_secs(5);
const ANSWER: usize = 64 << 10;

/// Something to do.
#[derive(Debug)]
pub enum Order<'a> {
    /// Close its connection. RMQTT and EMQX end its session with it: they have no order that leaves it.
    Cut,
    /// Have it receive a message.
    Tell {
        /// Its topic.
        topic: &'a str,
        /// What it says.
        payload: &'a str,
    },
}

/// A request of an order.
#[derive(Debug, PartialEq, Eq)]
struct Step {
    method: Method,
    path: String,
    body: Option<Value>,
}

/// Has an order done, for one client.
pub async fn give(api: &BrokerApi, adapter: Adapter, client_id: &str, order: &Order<'_>) -> Result<(), ApiError> {
    let steps = steps(adapter, client_id, order).ok_or(ApiError::NoOrders)?;
    let mut done = Ok(());
    for Step { method, path, body } in steps {
        // What was begun is taken back also where something failed on the way.
        let undoes = path.ends_with("/unsubscribe");
        if done.is_ok() || undoes {
            let answer = timeout(PATIENCE, send(api, method, &path, body.as_ref(), ANSWER)).await;
            let result = answer.map_err(|_| ApiError::Late(PATIENCE)).flatten();
            done = done.and(match result {
                Err(ApiError::Status { status: StatusCode::NOT_FOUND, .. }) => Err(ApiError::Unknown),
                result => result.map(drop),
            });
        }
    }
    done
}

/// Whether a client has a connection now: one that has only a session is offline.
pub async fn is_connected(api: &BrokerApi, adapter: Adapter, client_id: &str) -> Result<bool, ApiError> {
    let path = path(adapter, client_id).ok_or(ApiError::NoOrders)?;
    let answer = timeout(PATIENCE, get(api, &path, ANSWER)).await.map_err(|_| ApiError::Late(PATIENCE));
    let body = match answer.flatten() {
        Err(ApiError::Status { status: StatusCode::NOT_FOUND, .. }) => return Ok(false),
        answer => answer?,
    };
    let known: Option<Value> = serde_json::from_slice(&body).ok();
    let connected = known.and_then(|client| client.get("connected")?.as_bool());
    connected.ok_or_else(|| Unreadable("a client without `connected`".to_owned()).into())
}

/// Whether clients of a broker are told one after the other: it has each subscribe for the moment.
pub fn in_turn(adapter: Adapter) -> bool {
    adapter == Adapter::Emqx
}

/// Nothing for brokers that have no such interface, or none that is known.
fn steps(adapter: Adapter, client_id: &str, order: &Order<'_>) -> Option<Vec<Step>> {
    let client = path(adapter, client_id)?;
    let post = |path: String, body: Value| Step { method: Method::POST, path, body: Some(body) };
    Some(match (adapter, order) {
        (_, Order::Cut) => vec![Step { method: Method::DELETE, path: client, body: None }],
        // Its plugin `rmqtt-p2p-messaging` takes the first two levels away.
        (Adapter::Rmqtt, Order::Tell { topic, payload }) => {
            let body = json!({ "topic": format!("p2p/{client_id}/{topic}"), "payload": payload, "qos": 1 });
            vec![post("/api/v1/mqtt/publish".to_owned(), body)]
        }
        (_, Order::Tell { topic, payload }) => vec![
            post(format!("{client}/subscribe"), json!({ "topic": topic, "qos": 1 })),
            post("/api/v5/publish".to_owned(), json!({ "topic": topic, "payload": payload, "qos": 1 })),
            post(format!("{client}/unsubscribe"), json!({ "topic": topic })),
        ],
    })
}

/// Where a broker has its interface for one client.
fn path(adapter: Adapter, client_id: &str) -> Option<String> {
    let version = match adapter {
        Adapter::Rmqtt => "v1",
        Adapter::Emqx => "v5",
        Adapter::Mosquitto | Adapter::NanoMq | Adapter::VerneMq | Adapter::Generic => return None,
    };
    Some(format!("/api/{version}/clients/{}", encode(client_id)))
}

/// A client id as a part of a path.
fn encode(client_id: &str) -> String {
    let mut encoded = String::new();
    for byte in client_id.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            ApiLogin,
            fake::{ok, serve, status},
        },
        *,
    };
    use crate::settings::Secret;

    const TELL: Order<'_> = Order::Tell { topic: "$SYS/x", payload: "{}" };

    fn paths(adapter: Adapter, order: &Order<'_>) -> Vec<String> {
        let steps = steps(adapter, "GID@@@a/b c\u{e9}", order).unwrap();
        steps.into_iter().map(|step| format!("{} {}", step.method, step.path)).collect()
    }

    #[test]
    fn a_client_is_named_so_that_no_other_path_is_meant() {
        let id = "GID%40%40%40a%2Fb%20c%C3%A9";
        assert_eq!(paths(Adapter::Rmqtt, &Order::Cut), [format!("DELETE /api/v1/clients/{id}")]);
        assert_eq!(paths(Adapter::Emqx, &Order::Cut), [format!("DELETE /api/v5/clients/{id}")]);
        assert_eq!(
            paths(Adapter::Emqx, &TELL),
            [
                format!("POST /api/v5/clients/{id}/subscribe"),
                "POST /api/v5/publish".to_owned(),
                format!("POST /api/v5/clients/{id}/unsubscribe"),
            ]
        );
    }

    #[test]
    fn rmqtt_tells_one_client_alone() {
        let steps = steps(Adapter::Rmqtt, "a", &TELL).unwrap();
        let body = json!({ "topic": "p2p/a/$SYS/x", "payload": "{}", "qos": 1 });
        assert_eq!(steps, [Step { method: Method::POST, path: "/api/v1/mqtt/publish".to_owned(), body: Some(body) }]);
    }

    #[test]
    fn other_brokers_take_no_orders() {
        for adapter in [Adapter::Mosquitto, Adapter::NanoMq, Adapter::VerneMq, Adapter::Generic] {
            assert!(steps(adapter, "a", &Order::Cut).is_none() && steps(adapter, "a", &TELL).is_none());
        }
    }

    /// EMQX itself was not there to be tried.
    #[tokio::test]
    async fn a_subscription_for_the_moment_is_taken_back_whatever_happens() {
        for works in [true, false] {
            let (mut api, mut heads) = serve(move |head| {
                let publish = head.starts_with("POST /api/v5/publish ");
                if publish && !works { status("500 Internal Server Error") } else { ok("{}") }
            })
            .await;
            api.login = Some(ApiLogin::Basic { username: "key".into(), password: Secret::new("secret") });
            assert_eq!(give(&api, Adapter::Emqx, "a", &TELL).await.is_ok(), works);
            for path in ["/api/v5/clients/a/subscribe", "/api/v5/publish", "/api/v5/clients/a/unsubscribe"] {
                let head = heads.recv().await.unwrap();
                assert!(head.starts_with(&format!("POST {path} HTTP/1.1\r\n")), "{head}");
                for line in ["authorization: Basic a2V5OnNlY3JldA==\r\n", "content-type: application/json\r\n"] {
                    assert!(head.contains(line), "{head}");
                }
            }
        }
    }

    #[tokio::test]
    async fn a_client_that_is_not_there_is_unknown_and_a_broker_that_refuses_is_not() {
        let (api, _) = serve(|_| status("404 Not Found")).await;
        assert!(matches!(give(&api, Adapter::Rmqtt, "a", &Order::Cut).await, Err(ApiError::Unknown)));
        let (api, _) = serve(|_| status("401 Unauthorized")).await;
        let refused = give(&api, Adapter::Rmqtt, "a", &Order::Cut).await;
        assert!(matches!(refused, Err(ApiError::Status { status: StatusCode::UNAUTHORIZED, .. })), "{refused:?}");
        let (api, _) = serve(|_| status("204 No Content")).await;
        assert!(give(&api, Adapter::Emqx, "a", &Order::Cut).await.is_ok());
    }

    #[tokio::test]
    async fn only_who_has_a_connection_is_connected() {
        for (answer, connected) in [
            (ok(r#"{"clientid":"a","connected":true}"#), Some(true)),
            (ok(r#"{"clientid":"a","connected":false,"mqueue_len":7}"#), Some(false)),
            (status("404 Not Found"), Some(false)),
            (status("503 Service Unavailable"), None),
            (ok("[]"), None),
        ] {
            let (api, mut heads) = serve(move |_| answer.clone()).await;
            assert_eq!(is_connected(&api, Adapter::Rmqtt, "a/b").await.ok(), connected);
            assert!(heads.recv().await.unwrap().starts_with("GET /api/v1/clients/a%2Fb HTTP/1.1\r\n"));
        }
    }
}
