//! Stands in for the crate by which nodes of an RMQTT cluster talk, and never talks.
//!
//! RMQTT's HTTP API asks for that crate, which needs protoc, tonic and a cryptographic library in C: as much to build
//! as the rest of the broker. The tests' broker is one node and has nobody to talk to, so types that hold nothing do.

pub type Priority = u32;

pub mod client {
    use std::{convert::Infallible, time::Duration};

    /// Has no address and reaches nobody.
    pub struct Client(Infallible);

    pub struct ClientBuilder;

    impl Client {
        #[expect(clippy::new_ret_no_self, reason = "the name and the form that RMQTT calls")]
        pub fn new(_address: String) -> ClientBuilder {
            ClientBuilder
        }

        pub async fn transfer_start(&mut self, _capacity: usize) -> Mailbox {
            match self.0 {}
        }

        pub async fn duplex_transfer_start(&mut self, _capacity: usize) -> DuplexMailbox {
            match self.0 {}
        }
    }

    impl ClientBuilder {
        pub fn connect_timeout(self, _limit: Duration) -> Self {
            self
        }

        pub fn concurrency_limit(self, _limit: usize) -> Self {
            self
        }

        pub fn chunk_size(self, _bytes: usize) -> Self {
            self
        }

        pub fn connect_lazy(self) -> anyhow::Result<Client> {
            Err(anyhow::anyhow!("this broker is one node, and joins no cluster"))
        }
    }

    /// Cannot exist, as no [`Client`] can.
    #[derive(Clone)]
    pub struct Mailbox(Infallible);

    impl Mailbox {
        pub fn req_queue_len(&self) -> usize {
            match self.0 {}
        }

        pub async fn send(&mut self, _data: Vec<u8>) -> Result<(), Infallible> {
            match self.0 {}
        }

        pub async fn quick_send(&mut self, _data: Vec<u8>) -> Result<(), Infallible> {
            match self.0 {}
        }
    }

    /// Cannot exist, as no [`Client`] can.
    #[derive(Clone)]
    pub struct DuplexMailbox(Infallible);

    impl DuplexMailbox {
        pub async fn send(&mut self, _data: Vec<u8>) -> Result<Vec<u8>, Infallible> {
            match self.0 {}
        }

        pub async fn quick_send(&mut self, _data: Vec<u8>) -> Result<Vec<u8>, Infallible> {
            match self.0 {}
        }
    }
}

pub mod server {
    use std::net::SocketAddr;

    use tokio::sync::oneshot;

    pub type Message = (Vec<u8>, Option<oneshot::Sender<anyhow::Result<Vec<u8>>>>);

    /// Listens nowhere.
    pub struct Server;

    pub fn server<T>(_address: SocketAddr, _received: T) -> Server {
        Server
    }

    impl Server {
        pub fn max_decoding_message_size(self, _bytes: usize) -> Self {
            self
        }

        pub fn max_encoding_message_size(self, _bytes: usize) -> Self {
            self
        }

        pub fn reuseaddr(self, _yes: bool) -> Self {
            self
        }

        pub fn reuseport(self, _yes: bool) -> Self {
            self
        }

        pub async fn run(self) -> anyhow::Result<()> {
            std::future::pending().await
        }
    }
}
