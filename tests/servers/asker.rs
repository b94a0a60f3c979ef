//! A back end that asks who is online: signed queries over one connection that stays open.
//!
//! It shares no code with what it asks: requests, signatures and answers are made and read here.

use std::{
    io,
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::Value;
use sha1::Sha1;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
};

/// The access key of all tests, and its secret.
const KEY: (&str, &str) = ("load", "load-secret");
/// Clients of a page, and of a batch: the most that may be asked for.
const PAGE: usize = 1_000;
const BATCH: usize = 10;

/// The settings that name a file of [`credentials`].
pub const SETTINGS: &str = "\n[lmq]\ncredentials = \"credentials.toml\"\n";

/// The credentials that let it ask for a group.
pub fn credentials(group: &str) -> String {
    let (id, secret) = KEY;
    format!("[[access_key]]\nid = {id:?}\nsecret = {secret:?}\ngroups = [{group:?}]\n")
}

/// A connection to the status query.
#[derive(Debug)]
pub struct Asker {
    stream: BufReader<TcpStream>,
}

impl Asker {
    /// Connects to the listener on a loopback port.
    pub async fn connect(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// The connections of a client, -1 where they are not known.
    pub async fn client(&mut self, client_id: &str) -> io::Result<i64> {
        online(&self.ask("clientId/get", &[("resource", client_id)]).await?)
    }

    /// The connections of clients, in their order.
    pub async fn clients(&mut self, client_ids: &[String]) -> io::Result<Vec<i64>> {
        let mut all = Vec::new();
        for some in client_ids.chunks(BATCH) {
            let resources: Vec<_> = some.iter().map(|client_id| ("resource", client_id.as_str())).collect();
            let answer = self.ask("clientId/batchGet", &resources).await?;
            let answers = answer["clients"].as_array().ok_or_else(|| strange(&answer))?;
            all.extend(answers.iter().map(online).collect::<io::Result<Vec<_>>>()?);
        }
        Ok(all)
    }

    /// How many clients of a group are online, -1 where that is not known.
    pub async fn count(&mut self, group: &str) -> io::Result<i64> {
        online(&self.ask("groupId/get", &[("resource", group)]).await?)
    }

    /// The client ids of a group's clients that are online, page by page.
    pub async fn list(&mut self, group: &str) -> io::Result<Vec<String>> {
        let (limit, mut all) = (PAGE.to_string(), Vec::<String>::new());
        loop {
            let mut parameters = vec![("limit", limit.as_str()), ("resource", group)];
            parameters.extend(all.last().map(|last| ("after", last.as_str())));
            let answer = self.ask("groupId/clients", &parameters).await?;
            let page = answer["clients"].as_array().ok_or_else(|| strange(&answer))?;
            all.extend(page.iter().filter_map(|client| client["clientId"].as_str()).map(str::to_owned));
            if answer["next"].is_null() {
                return Ok(all);
            }
        }
    }

    async fn ask(&mut self, what: &str, parameters: &[(&str, &str)]) -> io::Result<Value> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis().to_string();
        let given = [("accessKey", KEY.0), ("instanceId", "any"), ("timestamp", now.as_str())];
        let all: Vec<_> = parameters.iter().chain(&given).copied().collect();
        let signature = encoded(&sign(&all));
        let query = all.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&");
        let request = format!("GET /route/{what}?{query}&signature={signature} HTTP/1.1\r\nHost: test\r\n\r\n");
        self.stream.get_mut().write_all(request.as_bytes()).await?;
        self.answer().await
    }

    async fn answer(&mut self) -> io::Result<Value> {
        let (mut length, mut status, mut line) = (0, String::new(), String::new());
        loop {
            line.clear();
            if self.stream.read_line(&mut line).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            match line.trim_end().split_once(": ") {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    length = value.parse().map_err(io::Error::other)?;
                }
                None if line.trim_end().is_empty() => break,
                None => line.trim_end().clone_into(&mut status),
                Some(_) => {}
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await?;
        let answer: Value = serde_json::from_slice(&body)?;
        if status == "HTTP/1.1 200 OK" { Ok(answer) } else { Err(strange(&answer)) }
    }
}

fn online(answer: &Value) -> io::Result<i64> {
    answer["online"].as_i64().ok_or_else(|| strange(answer))
}

fn strange(answer: &Value) -> io::Error {
    io::Error::other(format!("an answer that was not expected: {answer}"))
}

/// HMAC-SHA1 over the sorted parameters; the values of one that is given several times are joined by commas.
fn sign(parameters: &[(&str, &str)]) -> String {
    let mut sorted = parameters.to_vec();
    sorted.sort_unstable();
    let mut text = String::new();
    for some in sorted.chunk_by(|one, other| one.0 == other.0) {
        let values: Vec<_> = some.iter().map(|(_, value)| *value).collect();
        let and = if text.is_empty() { "" } else { "&" };
        text += &format!("{and}{}={}", some[0].0, values.join(","));
    }
    let mut mac = Hmac::<Sha1>::new_from_slice(KEY.1.as_bytes()).expect("HMAC takes keys of every length");
    mac.update(text.as_bytes());
    BASE64_STANDARD.encode(mac.finalize().into_bytes())
}

fn encoded(base64: &str) -> String {
    base64.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D")
}
