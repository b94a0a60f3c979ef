//! Many MQTT clients that do nothing but be there, connected and ended as fast as a broker takes them.
//!
//! Raw sockets and a CONNECT written by hand: tens of thousands of clients must cost little beside the broker.

use std::{
    collections::BTreeMap,
    fs, io,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    process::Command,
};

use futures_util::{StreamExt as _, stream};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};

/// Connections that are being made at a time: fewer than a broker lets wait, since one too many waits for a second.
const AT_ONCE: usize = 64;
/// Clients of one source address: it has some 28,000 ports, and one that was used rests for a minute.
const PER_ADDRESS: u32 = 5_000;
/// What a process opens beside its connections, at most.
const OTHER_FILES: usize = 500;

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The client says DISCONNECT.
    Said,
    /// It closes the connection.
    Closed,
    /// It resets the connection.
    Reset,
    /// It connects anew, and the broker closes the old connection.
    TakenOver,
}

/// A connection that was made.
#[derive(Debug, Clone, Copy)]
pub struct Connection {
    /// The client's number.
    pub number: u32,
    /// The client's side.
    pub peer: SocketAddr,
    /// How it ended, unless it is there.
    pub end: Option<End>,
}

/// Clients of one broker, by number.
#[derive(Debug)]
pub struct Fleet {
    port: u16,
    group: String,
    /// Each with its place in the history.
    connected: BTreeMap<u32, (TcpStream, usize)>,
    /// All connections, each client's in order.
    pub history: Vec<Connection>,
}

impl Fleet {
    /// Clients of a broker on a loopback port, whose ids are in this group. None is connected yet.
    pub fn new(port: u16, group: &str) -> Self {
        Self { port, group: group.to_owned(), connected: BTreeMap::new(), history: Vec::new() }
    }

    /// The client id of a number. Their order is that of the numbers.
    pub fn id(group: &str, number: u32) -> String {
        format!("{group}@@@{number:06}")
    }

    /// Connects clients, each of them once. One that is connected is taken over.
    pub async fn connect(&mut self, numbers: impl IntoIterator<Item = u32>) -> io::Result<()> {
        let (port, group) = (self.port, self.group.clone());
        let mut coming = stream::iter(numbers).map(|number| connect(port, &group, number)).buffer_unordered(AT_ONCE);
        while let Some(client) = coming.next().await {
            let (number, stream) = client?;
            let place = self.history.len();
            self.history.push(Connection { number, peer: stream.local_addr()?, end: None });
            if let Some((_old, place)) = self.connected.insert(number, (stream, place)) {
                self.history[place].end = Some(End::TakenOver);
            }
        }
        Ok(())
    }

    /// Ends the connections of clients, each in the way that `how` says.
    pub fn end(&mut self, numbers: impl IntoIterator<Item = u32>, how: impl Fn(u32) -> End) -> io::Result<()> {
        for number in numbers {
            let Some((stream, place)) = self.connected.remove(&number) else { continue };
            let end = how(number);
            match end {
                End::Said => {
                    stream.try_write(&[0xe0, 0])?;
                }
                End::Reset => stream.set_zero_linger()?,
                End::Closed | End::TakenOver => {}
            }
            self.history[place].end = Some(end);
        }
        Ok(())
    }

    /// The numbers of those that are connected, in order.
    pub fn connected(&self) -> impl ExactSizeIterator<Item = u32> {
        self.connected.keys().copied()
    }

    /// Whether a client is connected.
    pub fn has(&self, number: u32) -> bool {
        self.connected.contains_key(&number)
    }
}

async fn connect(port: u16, group: &str, number: u32) -> io::Result<(u32, TcpStream)> {
    let address = u8::try_from(number / PER_ADDRESS % 250).unwrap_or(0);
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddrV4::new(Ipv4Addr::new(127, 0, 1, address + 1), 0).into())?;
    let mut stream = socket.connect(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port).into()).await?;
    stream.write_all(&hello(&Fleet::id(group, number))).await?;
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).await?;
    if answer == [0x20, 2, 0, 0] {
        Ok((number, stream))
    } else {
        Err(io::Error::other(format!("not let in: {answer:?}")))
    }
}

/// CONNECT of MQTT 3.1.1: a clean session, and no keep-alive.
fn hello(client_id: &str) -> Vec<u8> {
    let length = u8::try_from(client_id.len()).expect("client ids are short");
    let head = [0x10, 12 + length, 0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 0, 0, length];
    [&head, client_id.as_bytes()].concat()
}

/// Lets this process, and what it starts from now on, open as many files as the system allows; says how many clients
/// a process can hold with that.
pub fn room() -> u32 {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let mut numbers = line.into_iter().flat_map(str::split_whitespace).map_while(|number| number.parse::<usize>().ok());
    let (soft, hard) = (numbers.next().unwrap_or(1_024), numbers.next().unwrap_or(1_024));
    let id = std::process::id().to_string();
    let raised = Command::new("prlimit").args(["--pid", &id, &format!("--nofile={hard}:{hard}")]).status();
    let files = if raised.is_ok_and(|status| status.success()) { hard } else { soft };
    u32::try_from(files.saturating_sub(OTHER_FILES)).unwrap_or(u32::MAX)
}
