//! A RocketMQ cluster as one end of one route sees it: name servers, topic routes, brokers by name.
//!
//! Each end of a route has a client of its own, with its own connections, so that one never holds up another. It
//! connects when asked and again after a loss; it never sends a request twice.

mod pool;

use std::{
    collections::HashMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, timeout, timeout_at},
};

pub use super::connection::Push;
use super::{
    connection::{Connection, ConnectionError},
    wire::{
        acl,
        code::{request, response},
        consume::decode_masters,
        frame::{Fields, Frame, Request},
        route::{TopicRoute, route_request},
    },
};
use crate::settings::RocketMqCluster;
use pool::Pool;

/// How long one name server may think before the next is asked too.
const STAGGER: Duration = Duration::from_millis(300);
/// Requests of servers that may wait to be read.
const PUSHES: usize = 64;

/// Why a cluster did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The topic is known to no name server, or not to the broker.
    #[error("there is no such topic: {0}")]
    TopicNotExist(String),
    /// The name servers know no broker, as when a cluster starts, so they cannot tell whether there is a topic.
    #[error("the name servers know no broker")]
    NoBroker,
    /// The broker cannot take it now: busy, no space, no room in a queue.
    #[error("the broker is busy: {remark} (code {code})")]
    Busy {
        /// Its code.
        code: i32,
        /// Its words.
        remark: String,
    },
    /// The broker will never take this message.
    #[error("the broker refuses the message: {remark} (code {code})")]
    Refused {
        /// Its code.
        code: i32,
        /// Its words.
        remark: String,
    },
    /// The access key, its signature or its permissions do not suffice.
    #[error("not authorised: {0}")]
    Unauthorised(String),
    /// The connection failed or gave no answer; whether the request was carried out is unknown.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// No route that was read so far says where this broker's master is.
    #[error("no master of broker {0} is known")]
    NoMaster(String),
    /// Any other code.
    #[error("the broker answers {remark:?} (code {code})")]
    Broker {
        /// Its code.
        code: i32,
        /// Its words.
        remark: String,
    },
    /// An answer that cannot be read.
    #[error("unreadable answer: {0}")]
    Unreadable(String),
}

/// An answer to a request, whatever its code.
#[derive(Debug)]
pub struct Response {
    /// One of `code::response`.
    pub code: i32,
    /// Text that goes with it.
    pub remark: Option<String>,
    /// Header fields.
    pub fields: Fields,
    /// Bytes after the header; shares the connection's read buffer.
    pub body: bytes::Bytes,
}

impl Response {
    /// The answer if its code is `SUCCESS`, else what its code means.
    pub fn success(self) -> Result<Self, CallError> {
        if self.code == response::SUCCESS { Ok(self) } else { Err(self.into_error()) }
    }

    /// What a code other than `SUCCESS` means.
    pub fn into_error(self) -> CallError {
        let Self { code, remark, .. } = self;
        let remark = remark.unwrap_or_default();
        match code {
            response::TOPIC_NOT_EXIST => CallError::TopicNotExist(remark),
            response::SYSTEM_BUSY | response::SERVICE_NOT_AVAILABLE | response::FLOW_CONTROL => {
                CallError::Busy { code, remark }
            }
            response::MESSAGE_ILLEGAL => CallError::Refused { code, remark },
            response::NO_PERMISSION => CallError::Unauthorised(remark),
            // How brokers without their own code for it report a failed signature.
            response::SYSTEM_ERROR if remark.contains("AclException") => CallError::Unauthorised(remark),
            _ => CallError::Broker { code, remark },
        }
    }
}

impl From<Frame> for Response {
    fn from(frame: Frame) -> Self {
        Self { code: frame.code, remark: frame.remark, fields: frame.fields, body: frame.body }
    }
}

/// A handle of the cluster; cloning shares it.
#[derive(Debug, Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    cluster: Arc<RocketMqCluster>,
    client_id: String,
    pool: Pool,
    /// The name server that answered last.
    preferred: AtomicUsize,
    /// Master addresses by broker name, from all routes read so far.
    masters: RwLock<HashMap<Arc<str>, String>>,
}

impl Client {
    /// A client that nobody knows again when it is gone; connects to nothing yet. Requests of brokers come out of the
    /// receiver.
    pub fn new(cluster: Arc<RocketMqCluster>, name: &str) -> (Self, mpsc::Receiver<Push>) {
        Self::known_as(cluster, format!("{name}@{}-{:08x}", std::process::id(), fastrand::u32(..)))
    }

    /// The same, under a client id of its own that it may have had before: what brokers hold for it is its own then.
    pub fn known_as(cluster: Arc<RocketMqCluster>, client_id: String) -> (Self, mpsc::Receiver<Push>) {
        let (pushes, receiver) = mpsc::channel(PUSHES);
        let preferred = AtomicUsize::new(fastrand::usize(..cluster.name_servers.len().max(1)));
        let pool = Pool::new(cluster.tls.clone(), cluster.request_timeout, pushes);
        let inner = Inner { cluster, client_id, pool, preferred, masters: RwLock::default() };
        (Self { inner: Arc::new(inner) }, receiver)
    }

    /// Unique among all that run at a time.
    pub fn client_id(&self) -> &str {
        &self.inner.client_id
    }

    /// The settings.
    pub fn cluster(&self) -> &RocketMqCluster {
        &self.inner.cluster
    }

    /// A topic or group as the cluster knows it: prefixed with the namespace, if there is one.
    pub fn with_namespace(&self, name: &str) -> String {
        match self.inner.cluster.namespace.as_str() {
            "" => name.to_owned(),
            namespace => format!("{namespace}%{name}"),
        }
    }

    /// Asks the name servers for a topic's route (its name with the namespace). Always asks: keep what it gives.
    pub async fn route(&self, topic: &str) -> Result<Arc<TopicRoute>, CallError> {
        let answer = self.ask_name_servers(route_request(topic)).await.map_err(|error| match error {
            CallError::TopicNotExist(_) => CallError::TopicNotExist(topic.to_owned()),
            other => other,
        })?;
        let route = TopicRoute::decode(&answer.body).map_err(CallError::Unreadable)?;
        let mut masters = self.inner.masters.write().unwrap_or_else(PoisonError::into_inner);
        for broker in route.brokers.keys() {
            if let Some(address) = route.master(broker) {
                masters.insert(broker.clone(), address.to_owned());
            }
        }
        Ok(Arc::new(route))
    }

    /// The same, for those to whom a missing topic means something: "no such topic" is then sure.
    pub async fn sure_route(&self, topic: &str) -> Result<Arc<TopicRoute>, CallError> {
        match self.route(topic).await {
            Err(CallError::TopicNotExist(_)) => {
                self.masters().await?;
                // The first answer may be older than the brokers.
                self.route(topic).await
            }
            answer => answer,
        }
    }

    /// The addresses of all masters of the cluster, at least one.
    pub async fn masters(&self) -> Result<Vec<String>, CallError> {
        let answer = self.ask_name_servers(Request::new(request::GET_BROKER_CLUSTER_INFO)).await?;
        let masters = decode_masters(&answer.body).map_err(CallError::Unreadable)?;
        if masters.is_empty() { Err(CallError::NoBroker) } else { Ok(masters) }
    }

    /// Where the master of a broker is, from the routes read so far.
    pub fn master(&self, broker: &str) -> Result<String, CallError> {
        let masters = self.inner.masters.read().unwrap_or_else(PoisonError::into_inner);
        masters.get(broker).cloned().ok_or_else(|| CallError::NoMaster(broker.to_owned()))
    }

    /// Sends a request to a broker's master, by name, and gives its answer, whatever its code. Connects if need be;
    /// `limit` covers both.
    pub async fn call(&self, broker: &str, request: Request, limit: Duration) -> Result<Response, CallError> {
        let address = self.master(broker)?;
        self.call_address(&address, request, limit).await
    }

    /// The same to an address.
    pub async fn call_address(&self, address: &str, request: Request, limit: Duration) -> Result<Response, CallError> {
        // Says the whole limit, so that the same failure reads the same each time.
        let late = || ConnectionError::Timeout { address: address.into(), after: limit };
        let deadline = Instant::now() + limit;
        let connection =
            timeout_at(deadline, self.inner.pool.connection(address)).await.unwrap_or_else(|_| Err(late()))?;
        match connection.call(self.signed(request), deadline - Instant::now()).await {
            Ok(frame) => Ok(frame.into()),
            Err(ConnectionError::Timeout { .. }) => Err(late().into()),
            Err(error) => Err(error.into()),
        }
    }

    /// Sends a request that has no answer to a broker's master.
    pub async fn one_way(&self, broker: &str, request: Request) -> Result<(), CallError> {
        let address = self.master(broker)?;
        let request = self.signed(request);
        let connection: Connection = self.inner.pool.connection(&address).await?;
        Ok(connection.one_way(request).await?)
    }

    /// Creates a topic, or changes its queues, on one broker.
    pub async fn create_topic(&self, address: &str, topic: &str, queues: u32) -> Result<(), CallError> {
        let request = Request::new(request::UPDATE_AND_CREATE_TOPIC)
            .text("topic", topic.to_owned())
            .text("defaultTopic", "TBW102")
            .field("readQueueNums", queues)
            .field("writeQueueNums", queues)
            .text("perm", "6")
            .text("topicFilterType", "SINGLE_TAG")
            .text("topicSysFlag", "0")
            .text("order", "false");
        self.call_address(address, request, self.inner.cluster.request_timeout).await?.success().map(drop)
    }

    fn signed(&self, mut request: Request) -> Request {
        let cluster = &self.inner.cluster;
        if let (Some(access_key), Some(secret_key)) = (&cluster.access_key, &cluster.secret_key) {
            acl::sign(&mut request, access_key, secret_key.reveal());
        }
        request
    }

    /// Asks one name server after the other, beginning with the one that answered last; a slow one is not waited
    /// for. "No such topic" counts only when nobody knows better.
    async fn ask_name_servers(&self, request: Request) -> Result<Response, CallError> {
        let servers = self.inner.cluster.name_servers.len();
        let first = self.inner.preferred.load(Ordering::Relaxed);
        let mut asked = JoinSet::new();
        let mut failure = None;
        let mut next = 0;
        loop {
            if next < servers {
                asked.spawn(self.clone().ask_name_server((first + next) % servers, request.clone()));
                next += 1;
            }
            let patience = if next < servers { STAGGER } else { Duration::MAX };
            let Ok(finished) = timeout(patience, asked.join_next()).await else { continue };
            match finished {
                Some(Ok((index, Ok(answer)))) => {
                    self.inner.preferred.store(index, Ordering::Relaxed);
                    return Ok(answer);
                }
                Some(Ok((_, Err(error)))) => failure = Some(weightier(failure, error)),
                Some(Err(_)) => {}
                None => return Err(failure.unwrap_or_else(no_name_server)),
            }
        }
    }

    async fn ask_name_server(self, index: usize, request: Request) -> (usize, Result<Response, CallError>) {
        let address = &self.inner.cluster.name_servers[index];
        let limit = self.inner.cluster.request_timeout;
        let mut answer = self.call_address(address, request.clone(), limit).await;
        // A name server closes a connection that was idle, perhaps in this moment.
        if matches!(answer, Err(CallError::Connection(ConnectionError::Disconnected { .. }))) {
            answer = self.call_address(address, request, limit).await;
        }
        (index, answer.and_then(Response::success))
    }
}

/// What to report of two failures: an answer says more than silence.
fn weightier(old: Option<CallError>, new: CallError) -> CallError {
    match old {
        Some(old) if !matches!(old, CallError::Connection(_)) => old,
        _ => new,
    }
}

fn no_name_server() -> CallError {
    ConnectionError::Disconnected { address: "a name server".into(), reason: "none is configured".to_owned() }.into()
}

#[cfg(test)]
mod tests;
