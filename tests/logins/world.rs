//! An RMQTT that asks a bridge about every login, publish and subscription; the bridge itself logs in there, too.

use std::{io, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use rumqttc_v5::{
    ConnectReturnCode, Packet, PubAckReason, Publish, Subscribe, SubscribeFilter, SubscribeReasonCode, mqttbytes::QoS,
};
use sha1::Sha1;

use crate::servers::{
    bridge::Bridge,
    free_port,
    mqtt::{Connection, Login},
    rmqtt::{OWN_USER, Options, Rmqtt, asking, edge_as_own_user, subscribing},
};

/// The contract's key.
pub(super) const SECRET: &str = "XXXXX";
/// What the bridge must be told by who asks it.
const HOOKS_SECRET: &str = "hooks-secret";
/// What tokens are sealed with.
pub(super) const TOKEN_SECRET: &str = "a secret that replicas share";
/// Longer than any answer takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the bridge lets in beside itself: an access key, a device credential of `GID_Test`, and a user.
pub(super) const CREDENTIALS: &str = r#"
[[access_key]]
id = "YYYYY"
secret = "XXXXX"
groups = "GID_Test"
topics = "TopicA/#"

[[device]]
id = "DC"
secret = "XXXXX"
clients = "GID_Test@@@device"
publish = "TopicA/up/+"
subscribe = ["TopicA/down/#", "TopicB/+"]

[[user]]
name = "shop"
secret = "XXXXX"
groups = "GID_Shop"
topics = "TopicB/#"
"#;

/// Copies what devices say, over two sessions of the bridge's own that log in as a user; and answers over two that log in
/// by signature.
const ROUTES: &str = r#"
[[route]]
name = "copy"
from = { mqtt = "TopicA/up/#", broker = "edge" }
to = { mqtt = "TopicB/{1}", broker = "edge" }

[[route]]
name = "answer"
from = { mqtt = "TopicA/ask", broker = "signed" }
to = { mqtt = "TopicA/answer", broker = "signed" }
"#;

/// These credentials, and those of the bridge itself.
pub(super) fn with_own_user(credentials: &str) -> String {
    [credentials, OWN_USER].concat()
}

/// An RMQTT and its bridge.
pub(super) struct World {
    pub(super) rmqtt: Rmqtt,
    pub(super) bridge: Bridge,
}

impl World {
    /// Starts both. `disconnects` says whether a refused publish ends the connection, as LMQ-1.6 has it.
    pub(super) async fn start(disconnects: bool) -> Self {
        let hooks = free_port();
        let options = Options { plugins: plugins(hooks, disconnects), ..Options::default() };
        let rmqtt = Rmqtt::start(&options).await;
        let settings = format!(
            "{}\n[mqtt.signed]\nurl = \"{}\"\nclient_id = \"GID_Test@@@bridge\"\n\
             login = {{ mode = \"signature\", access_key = \"YYYYY\", instance = \"mqtt-x\", secret_key = \"XXXXX\" }}\n\n\
             [lmq]\ninstance = \"mqtt-x\"\nclient_ids = \"strict\"\ncredentials = \"credentials.toml\"\n\
             tokens.secret = \"{TOKEN_SECRET}\"\n",
            edge_as_own_user(&rmqtt),
            rmqtt.url()
        );
        let mut bridge = Bridge::new(&settings, ROUTES);
        bridge.credentials(&with_own_user(CREDENTIALS));
        bridge.set("ROCKETBRIDGE__HTTP__HOOKS", &format!("127.0.0.1:{hooks}"));
        bridge.set("ROCKETBRIDGE__HTTP__HOOKS_SECRET", HOOKS_SECRET);
        bridge.run();
        bridge.ready().await;
        Self { rmqtt, bridge }
    }

    /// A client that logs in, if it is let in.
    pub(super) async fn client(
        &self,
        client_id: &str,
        user: Option<(&str, &str)>,
    ) -> Result<Client, ConnectReturnCode> {
        let mut login = Login::new(self.rmqtt.port, client_id);
        login.user = user.map(|(name, password)| (name.to_owned(), password.to_owned()));
        let (connection, answer) = Connection::open(&login).await.unwrap();
        if answer.code == ConnectReturnCode::Success { Ok(Client { connection }) } else { Err(answer.code) }
    }

    /// A client of the access key's, by signature.
    pub(super) async fn signed(&self, client_id: &str) -> Client {
        let password = sign(client_id);
        let client = self.client(client_id, Some(("Signature|YYYYY|mqtt-x", &password))).await;
        client.unwrap_or_else(|code| panic!("{client_id} is not let in: {code:?}\n{}", self.bridge.log()))
    }
}

fn plugins(hooks: u16, disconnects: bool) -> Vec<(&'static str, String)> {
    let more = format!(
        "disconnect_if_expiry = true\ndisconnect_if_pub_rejected = {disconnects}\n\
         http_headers.authorization = \"Bearer {HOOKS_SECRET}\"\n"
    );
    let mut plugins = asking(hooks, &more);
    plugins.push(subscribing());
    plugins
}

/// HMAC-SHA1 of a text, as a device computes it.
pub(super) fn sign(text: &str) -> String {
    let mut mac = Hmac::<Sha1>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(text.as_bytes());
    BASE64_STANDARD.encode(mac.finalize().into_bytes())
}

/// A client that is connected, and says what its broker does.
pub(super) struct Client {
    connection: Connection,
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Granted,
    Refused,
    /// The connection is gone.
    Cut,
}

impl Client {
    /// Publishes at QoS 1.
    pub(super) async fn publish(&mut self, topic: &str, payload: &str) -> Outcome {
        let mut publish = Publish::new(topic, QoS::AtLeastOnce, payload.to_owned(), None);
        publish.pkid = 1;
        let answer = self.request(Packet::Publish(publish), |packet| match packet {
            Packet::PubAck(answer) => {
                Some(matches!(answer.reason, PubAckReason::Success | PubAckReason::NoMatchingSubscribers))
            }
            _ => None,
        });
        answer.await
    }

    /// Subscribes at QoS 1.
    pub(super) async fn subscribe(&mut self, filter: &str) -> Outcome {
        let mut subscribe = Subscribe::new(SubscribeFilter::new(filter, QoS::AtLeastOnce), None);
        subscribe.pkid = 2;
        let answer = self.request(Packet::Subscribe(subscribe), |packet| match packet {
            Packet::SubAck(answer) => Some(matches!(answer.return_codes[..], [SubscribeReasonCode::Success(_)])),
            _ => None,
        });
        answer.await
    }

    /// The next message: its topic and payload.
    pub(super) async fn next(&mut self) -> (String, String) {
        let arrival = async {
            loop {
                if let Packet::Publish(publish) = self.connection.next().await.expect("the connection lives") {
                    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                    return (text(&publish.topic), text(&publish.payload));
                }
            }
        };
        tokio::time::timeout(PATIENCE, arrival).await.expect("a message arrives")
    }

    async fn request(&mut self, packet: Packet, read: impl Fn(&Packet) -> Option<bool>) -> Outcome {
        let answer = async {
            self.connection.push(&packet);
            self.connection.flush().await?;
            loop {
                let packet = self.connection.next().await?;
                if matches!(packet, Packet::Disconnect(_)) {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                if let Some(granted) = read(&packet) {
                    return io::Result::Ok(granted);
                }
            }
        };
        match tokio::time::timeout(PATIENCE, answer).await.expect("the broker answers or closes") {
            Ok(true) => Outcome::Granted,
            Ok(false) => Outcome::Refused,
            Err(_) => Outcome::Cut,
        }
    }
}
