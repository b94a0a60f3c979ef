//! A bare MQTT 5 client: hand-written, blocking, one write for all that one read brought. It is the yardstick (what
//! Mosquitto can do when nobody does anything else) and the load; it shares no code with rocketbridge.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};

/// The receive maximum of every client here, and the unacknowledged publishes of one that publishes: as many as
/// rocketbridge has by default.
pub(crate) const WINDOW: u16 = 1000;

/// How many devices, and so order keys, the load is spread over.
pub(crate) const KEYS: u64 = 100;

/// A packet from the broker, as far as a benchmark cares.
pub(crate) enum Packet<'a> {
    ConnAck { present: bool, code: u8 },
    SubAck { code: u8 },
    PubAck { code: u8 },
    Publish { id: u16, payload: &'a [u8] },
    Other,
}

/// One connection.
pub(crate) struct Client {
    stream: TcpStream,
    input: Vec<u8>,
    filled: usize,
    /// What the next `flush` writes.
    pub(crate) out: Vec<u8>,
    next_id: u16,
}

impl Client {
    /// Connects with a session that never expires, or with one that starts clean and ends with the connection.
    /// Returns whether the broker had the session.
    pub(crate) fn connect(address: SocketAddr, id: &str, clean: bool, receive_maximum: u16) -> Result<(Self, bool)> {
        let stream = TcpStream::connect(address).context("connecting to Mosquitto")?;
        stream.set_nodelay(true)?;
        let mut client = Self { stream, input: vec![0; 1 << 18], filled: 0, out: Vec::new(), next_id: 0 };
        let expiry: u32 = if clean { 0 } else { u32::MAX };
        let mut body = b"\0\x04MQTT\x05".to_vec();
        body.push(if clean { 2 } else { 0 });
        body.extend_from_slice(&600u16.to_be_bytes());
        body.push(8);
        body.push(0x11);
        body.extend_from_slice(&expiry.to_be_bytes());
        body.push(0x21);
        body.extend_from_slice(&receive_maximum.to_be_bytes());
        text(&mut body, id)?;
        packet(&mut client.out, 0x10, &body);
        client.flush()?;
        // Read to the byte: what a session holds follows at once, and belongs to `read`.
        let mut head = [0; 2];
        client.stream.read_exact(&mut head).context("waiting for the CONNACK")?;
        let mut body = vec![0; usize::from(head[1])];
        client.stream.read_exact(&mut body)?;
        match parse(head[0], &body)? {
            Packet::ConnAck { present, code: 0 } => Ok((client, present)),
            Packet::ConnAck { code, .. } => bail!("Mosquitto refused the connection of {id}: 0x{code:02x}"),
            _ => bail!("Mosquitto answered the CONNECT of {id} with something else"),
        }
    }

    /// Subscribes with QoS 1.
    pub(crate) fn subscribe(&mut self, filter: &str) -> Result<()> {
        let mut body = vec![0, 1, 0];
        text(&mut body, filter)?;
        body.push(1);
        packet(&mut self.out, 0x82, &body);
        self.flush()?;
        let mut answer = None;
        while answer.is_none() {
            self.read(|p, _| {
                if let Packet::SubAck { code } = p {
                    answer = Some(code);
                }
            })?;
        }
        ensure!(answer == Some(1), "Mosquitto refused the subscription to {filter}: {answer:02x?}");
        Ok(())
    }

    /// Encodes a QoS 1 publish.
    pub(crate) fn publish(&mut self, topic: &str, payload: &[u8]) {
        self.next_id = self.next_id.checked_add(1).unwrap_or(1);
        let length = 2 + topic.len() + 2 + 1 + payload.len();
        self.out.push(0x32);
        remaining_length(&mut self.out, length);
        // Topics of this benchmark are short.
        #[expect(clippy::cast_possible_truncation)]
        self.out.extend_from_slice(&(topic.len() as u16).to_be_bytes());
        self.out.extend_from_slice(topic.as_bytes());
        self.out.extend_from_slice(&self.next_id.to_be_bytes());
        self.out.push(0);
        self.out.extend_from_slice(payload);
    }

    /// Writes what is encoded.
    pub(crate) fn flush(&mut self) -> Result<()> {
        self.stream.write_all(&self.out)?;
        self.out.clear();
        Ok(())
    }

    /// Waits for bytes, once, and hands each whole packet to `each`, which may encode answers.
    pub(crate) fn read(&mut self, mut each: impl FnMut(Packet<'_>, &mut Vec<u8>)) -> Result<()> {
        if self.filled == self.input.len() {
            self.input.resize(self.filled * 2, 0);
        }
        let n = self.stream.read(&mut self.input[self.filled..])?;
        ensure!(n > 0, "Mosquitto closed the connection");
        self.filled += n;
        let mut at = 0;
        while let Some((kind, body, next)) = frame(&self.input[..self.filled], at) {
            each(parse(kind, body)?, &mut self.out);
            at = next;
        }
        self.input.copy_within(at..self.filled, 0);
        self.filled -= at;
        Ok(())
    }

    /// A second handle on the connection, for a thread that only writes.
    pub(crate) fn writer(&self) -> Result<Self> {
        Ok(Self { stream: self.stream.try_clone()?, input: Vec::new(), filled: 0, out: Vec::new(), next_id: 0 })
    }

    /// Ends all waiting reads of all handles.
    pub(crate) fn close(&self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// A handle whose shutdown ends the reading thread.
    pub(crate) fn closer(&self) -> Result<TcpStream> {
        Ok(self.stream.try_clone()?)
    }

    /// Sets how long a read may wait, so that a lost message ends in an error rather than in silence.
    pub(crate) fn patience(&self, limit: Duration) -> Result<()> {
        Ok(self.stream.set_read_timeout(Some(limit))?)
    }

    /// Ends the connection in an orderly way.
    pub(crate) fn disconnect(mut self) -> Result<()> {
        self.out.extend_from_slice(&[0xe0, 0]);
        self.flush()
    }
}

/// Encodes a PUBACK.
pub(crate) fn acknowledge(out: &mut Vec<u8>, id: u16) {
    let [high, low] = id.to_be_bytes();
    out.extend_from_slice(&[0x40, 2, high, low]);
}

fn frame(input: &[u8], at: usize) -> Option<(u8, &[u8], usize)> {
    let kind = *input.get(at)?;
    let (mut length, mut from) = (0usize, at + 1);
    for shift in [0, 7, 14, 21] {
        let byte = *input.get(from)?;
        from += 1;
        length |= usize::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
    }
    Some((kind, input.get(from..from + length)?, from + length))
}

fn parse(kind: u8, body: &[u8]) -> Result<Packet<'_>> {
    let u16_at = |at: usize| body.get(at..at + 2).map(|b| u16::from_be_bytes([b[0], b[1]])).context("short packet");
    Ok(match kind >> 4 {
        2 => Packet::ConnAck { present: body.first() == Some(&1), code: body.get(1).copied().unwrap_or(0xff) },
        3 => {
            let topic = usize::from(u16_at(0)?);
            let (id, mut at) = if kind & 6 == 0 { (0, 2 + topic) } else { (u16_at(2 + topic)?, 4 + topic) };
            let properties = body.get(at).copied().context("short publish")?;
            ensure!(properties < 0x80, "more properties than this client reads");
            at += 1 + usize::from(properties);
            Packet::Publish { id, payload: body.get(at..).context("short publish")? }
        }
        4 => Packet::PubAck { code: body.get(2).copied().unwrap_or(0) },
        9 => Packet::SubAck { code: body.last().copied().unwrap_or(0xff) },
        14 => bail!("Mosquitto says disconnect: 0x{:02x}", body.first().copied().unwrap_or(0)),
        _ => Packet::Other,
    })
}

fn packet(out: &mut Vec<u8>, kind: u8, body: &[u8]) {
    out.push(kind);
    remaining_length(out, body.len());
    out.extend_from_slice(body);
}

fn remaining_length(out: &mut Vec<u8>, mut length: usize) {
    while length > 0x7f {
        #[expect(clippy::cast_possible_truncation)]
        out.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    #[expect(clippy::cast_possible_truncation)]
    out.push(length as u8);
}

fn text(out: &mut Vec<u8>, text: &str) -> Result<()> {
    out.extend_from_slice(&u16::try_from(text.len())?.to_be_bytes());
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

/// Makes a persistent session with one subscription, and leaves it behind. Mosquitto keeps the window for those who go
/// on with the session.
pub(crate) fn leave_session(address: SocketAddr, id: &str, filter: &str, window: u16) -> Result<()> {
    let (mut client, _) = Client::connect(address, id, false, window)?;
    client.subscribe(filter)?;
    client.disconnect()
}

/// Ends a session and all that waits in it.
pub(crate) fn forget_session(address: SocketAddr, id: &str) -> Result<()> {
    Client::connect(address, id, true, WINDOW)?.0.disconnect()
}

/// Publishes as fast as a window allows, and returns when all is acknowledged.
pub(crate) fn publish_all(
    address: SocketAddr,
    id: &str,
    window: u16,
    messages: u64,
    topic: impl Fn(u64) -> String,
    payload: &[u8],
) -> Result<()> {
    let topics: Vec<String> = (0..KEYS).map(topic).collect();
    let (mut client, _) = Client::connect(address, id, true, WINDOW)?;
    let (mut sent, mut acknowledged, mut refused) = (0u64, 0u64, 0u8);
    while acknowledged < messages {
        while sent < messages && sent - acknowledged < u64::from(window) {
            client.publish(&topics[usize::try_from(sent % KEYS)?], payload);
            sent += 1;
        }
        client.flush()?;
        client.read(|p, _| {
            if let Packet::PubAck { code } = p {
                acknowledged += 1;
                if code >= 0x80 {
                    refused = code;
                }
            }
        })?;
        ensure!(refused == 0, "Mosquitto refused a publish: 0x{refused:02x}");
    }
    client.disconnect()
}

/// A subscriber of the far side: counts, and hands each payload on to whoever measures.
pub(crate) struct Subscriber {
    count: Arc<AtomicU64>,
    closer: TcpStream,
    thread: Option<JoinHandle<()>>,
}

impl Subscriber {
    /// Subscribes; `each` runs on the reading thread.
    pub(crate) fn start(
        address: SocketAddr,
        id: &str,
        filter: &str,
        mut each: impl FnMut(&[u8]) + Send + 'static,
    ) -> Result<Self> {
        let (mut client, _) = Client::connect(address, id, true, WINDOW)?;
        client.subscribe(filter)?;
        let (count, closer) = (Arc::new(AtomicU64::new(0)), client.closer()?);
        let counted = count.clone();
        let thread = thread::spawn(move || {
            loop {
                let mut n = 0;
                let read = client.read(|p, out| {
                    if let Packet::Publish { id, payload } = p {
                        each(payload);
                        n += 1;
                        acknowledge(out, id);
                    }
                });
                counted.fetch_add(n, Ordering::Release);
                // Both fail once `drop` has shut the socket down.
                if read.is_err() || client.flush().is_err() {
                    break;
                }
            }
        });
        Ok(Self { count, closer, thread: Some(thread) })
    }

    /// Messages received so far, copies included.
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let _ = self.closer.shutdown(Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
