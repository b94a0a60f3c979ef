//! The session loop, written once for both directions: one task that owns the socket.
//!
//! One biased `select!` writes what is encoded, takes what the duty has to do, and reads and parses all that has
//! come. A duty that takes nothing more leaves packets unread, which holds the broker back; the keep-alive goes on
//! all the same. The loop connects again for ever; only its duty ends it.

mod account;
mod keep_alive;
#[cfg(test)]
mod tests;

use std::{future::Future, io, thread, time::Duration};

use bytes::BytesMut;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf},
    time::{Instant, MissedTickBehavior, interval_at, sleep, timeout},
};

use self::{account::Account, keep_alive::KeepAlive};
use super::{
    backoff::{Backoff, End},
    login::{Connection, Login},
    outbox::Blame,
    packet::{self, Codec, ConnAck, Incoming, Unreadable},
    reason::{self, Reason},
    transport::Stream,
};
use crate::message::{Message, Qos, Topic};

/// How long packets gather while a duty is patient: a wake for each would cost more than all the rest.
const GATHER: Duration = Duration::from_micros(200);
/// Room for one read.
const READ: usize = 32 * 1024;
/// A buffer that a large packet blew up beyond this is given back.
const KEEP: usize = 8 * READ;
/// How long a clean stop waits for the broker to take our last acknowledgements and close: a busy one may have tens
/// of thousands of them unread, and sends again what it does not get to.
const GOODBYE: Duration = Duration::from_secs(3);

/// What a session is for. Everything it says to the broker goes through the [`Link`] that it is given.
pub(super) trait Duty: Send {
    /// What happens on our side.
    type Event: Send;

    /// Whether the next login begins a new session.
    fn clean_start(&self) -> bool;
    /// Logged in.
    fn connected(&mut self, link: &mut Link);
    /// The connection has lived long enough to count as working.
    fn steady(&mut self) {}
    /// There is no connection, and why; said at every failed try.
    fn away(&mut self, reason: String);
    /// The connection ended.
    fn disconnected(&mut self, ending: &Ending);
    /// Waits for the next event, with or without a connection. May be dropped at any time without loss.
    fn next(&mut self) -> impl Future<Output = Self::Event> + Send;
    /// Sees to an event.
    fn event(&mut self, event: Self::Event, link: Option<&mut Link>);
    /// Whether a packet that begins with this byte may be read now.
    fn accepts(&self, first: u8) -> bool;
    /// Whether nothing that the broker may say now is urgent, so that more of it may gather.
    fn is_patient(&self) -> bool {
        false
    }
    /// Takes a packet.
    fn packet(&mut self, packet: Incoming, link: &mut Link) -> Result<(), Ending>;
    /// A packet is larger than what is taken, in these words. Whether it stays unread on this connection, with all
    /// behind it; [`Self::accepts`] says no from then on. Else the connection ends.
    fn leaves_unread(&mut self, _too_large: &str) -> bool {
        false
    }
    /// All packets of one read were taken.
    fn parsed(&mut self, _link: &mut Link) {}
    /// All that was encoded has left.
    fn flushed(&mut self, _link: &mut Link) {}
    /// A few seconds have passed.
    fn tick(&mut self, _link: &mut Link) {}
    /// What the broker does not let us do, while it does not: says more than that it also closed the connection.
    fn trouble(&self) -> Option<&str> {
        None
    }
    /// Nothing in flight on this connection could have made the broker close it.
    fn is_blameless(&self) -> bool;
    /// Nothing is left to do, ever.
    fn is_finished(&self) -> bool;
    /// A session that is finished leaves nothing on the broker.
    fn ends_session(&self) -> bool;
}

/// The way to the broker, while there is one.
pub(super) struct Link {
    pub(super) codec: Codec,
    /// What the broker said at login.
    pub(super) limits: ConnAck,
    /// Encoded packets.
    pub(super) out: BytesMut,
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ending {
    #[error("stopped")]
    Finished,
    #[error("the broker closed the connection")]
    Closed,
    #[error("connection lost: {0}")]
    Io(#[from] io::Error),
    #[error("the broker closed the connection: {0}")]
    Disconnected(Reason),
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    #[error("nothing was heard of the broker for {0:?}")]
    Silent(Duration),
}

impl Ending {
    /// Whether the broker may have closed the connection because of something that we sent. A broken connection
    /// says less than one that was closed in good order.
    pub(super) fn blame(&self) -> Blame {
        match self {
            Self::Closed => Blame::Likely,
            Self::Disconnected(reason) if reason.is_about_a_packet() => Blame::Likely,
            Self::Io(_) => Blame::Possible,
            Self::Disconnected(_) | Self::Finished | Self::Unreadable(_) | Self::Silent(_) => Blame::None,
        }
    }

    fn says_of_others(&self, blameless: bool) -> End {
        match self {
            Self::Disconnected(reason) if reason.code == reason::TAKEN_OVER => End::TakenOver,
            Self::Closed if blameless => End::Silently,
            _ => End::Otherwise,
        }
    }
}

/// Keeps a session connected until its duty is finished.
pub(super) async fn run<D: Duty>(login: &Login, duty: &mut D) {
    let mut backoff = Backoff::default();
    let mut account = Account::new(login);
    while !duty.is_finished() {
        let clean_start = login.throw_away || duty.clean_start();
        let opened = tokio::select! {
            biased;
            () = offline(duty) => return,
            opened = account.open(clean_start) => opened,
        };
        match opened {
            Ok(connection) => {
                let since = Instant::now();
                let ending = serve(connection, &mut account, duty, backoff.proof()).await;
                if matches!(ending, Ending::Finished) {
                    return;
                }
                backoff.ended(since.elapsed(), ending.says_of_others(duty.is_blameless()));
                duty.disconnected(&ending);
                let reason = match duty.trouble() {
                    Some(trouble) => format!("{trouble}; {ending}"),
                    None if backoff.is_contested() => {
                        format!("perhaps another client uses the client id {:?}: {ending}", login.client_id)
                    }
                    None => ending.to_string(),
                };
                duty.away(reason);
            }
            Err(error) => {
                backoff.failed();
                duty.away(format!("{}: {error}", login.broker.url));
            }
        }
        tokio::select! {
            biased;
            () = offline(duty) => return,
            () = sleep(backoff.delay()) => {}
        }
    }
}

/// Sees to our own side while there is no connection; ends when nothing is left to do.
async fn offline<D: Duty>(duty: &mut D) {
    while !duty.is_finished() {
        let event = duty.next().await;
        duty.event(event, None);
    }
}

/// Ends a connection that served only its login.
pub(super) async fn say_goodbye(connection: Connection) {
    let (mut reader, mut writer) = tokio::io::split(connection.stream);
    let mut out = BytesMut::new();
    connection.codec.disconnect(&mut out, true);
    hang_up(&mut reader, &mut writer, &mut out).await;
}

async fn serve<D: Duty>(connection: Connection, account: &mut Account<'_>, duty: &mut D, proof: Duration) -> Ending {
    let login = account.login;
    let (mut reader, mut writer) = tokio::io::split(connection.stream);
    let mut link = Link { codec: connection.codec, limits: connection.connack, out: BytesMut::new() };
    account.connected(&mut link);
    announce(login, &mut link, true);
    duty.connected(&mut link);
    let ending = match exchange(&mut reader, &mut writer, &mut link, connection.rest, account, duty, proof).await {
        Ok(()) => Ending::Finished,
        Err(ending) => ending,
    };
    if matches!(ending, Ending::Finished) {
        announce(login, &mut link, false);
        link.codec.disconnect(&mut link.out, duty.ends_session());
        hang_up(&mut reader, &mut writer, &mut link.out).await;
    }
    ending
}

async fn exchange<D: Duty>(
    reader: &mut ReadHalf<Box<dyn Stream>>,
    writer: &mut WriteHalf<Box<dyn Stream>>,
    link: &mut Link,
    mut input: BytesMut,
    account: &mut Account<'_>,
    duty: &mut D,
    proof: Duration,
) -> Result<(), Ending> {
    let mut keep_alive =
        KeepAlive::new(link.limits.keep_alive.unwrap_or(account.login.broker.keep_alive), Instant::now());
    let mut ticks = interval_at(Instant::now() + keep_alive.period(), keep_alive.period());
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let proven_at = Instant::now() + proof;
    let mut proven = proof.is_zero();
    if proven {
        duty.steady();
    }
    let mut unflushed = false;
    while !duty.is_finished() {
        let blocked = parse(&mut input, account, duty, link)?;
        if input.is_empty() && input.capacity() > KEEP {
            input = BytesMut::new();
        }
        input.reserve(READ);
        tokio::select! {
            biased;
            written = write_out(writer, &mut link.out, &mut unflushed), if unflushed || !link.out.is_empty() => {
                written?;
                if link.out.capacity() > KEEP {
                    link.out = BytesMut::new();
                }
                duty.flushed(link);
            }
            _ = ticks.tick() => {
                let now = Instant::now();
                keep_alive.check(now, blocked, &mut link.out)?;
                if !proven && now >= proven_at {
                    proven = true;
                    duty.steady();
                }
                duty.tick(link);
            }
            event = duty.next() => duty.event(event, Some(link)),
            () = account.renewed() => account.upload(link),
            read = reader.read_buf(&mut input), if !blocked => {
                if read? == 0 {
                    return Err(Ending::Closed);
                }
                keep_alive.heard();
                if duty.is_patient() {
                    // A running route has its thread to itself. A timer of the runtime is coarser, and wakes all the same.
                    thread::sleep(GATHER);
                }
            }
        }
    }
    Ok(())
}

/// Takes all packets that are there and that the duty accepts. Says whether one waits that it does not.
fn parse<D: Duty>(
    input: &mut BytesMut,
    account: &mut Account<'_>,
    duty: &mut D,
    link: &mut Link,
) -> Result<bool, Ending> {
    let mut taken = false;
    let mut blocked = false;
    while let Some(first) = input.first().copied() {
        if !duty.accepts(first) {
            blocked = true;
            break;
        }
        match link.codec.read(input) {
            Ok(Some(packet)) => {
                if let Some(packet) = account.heard(packet, link) {
                    duty.packet(packet, link)?;
                }
            }
            Ok(None) => break,
            Err(error @ Unreadable::TooLarge { .. }) if duty.leaves_unread(&error.to_string()) => {
                blocked = true;
                break;
            }
            Err(error) => {
                // What came before it is whole.
                duty.parsed(link);
                return Err(error.into());
            }
        }
        taken = true;
    }
    if taken {
        duty.parsed(link);
    }
    Ok(blocked)
}

/// Writes all there is. May be dropped at any time: what was written is gone from `out`, the rest is not.
async fn write_out(
    writer: &mut WriteHalf<Box<dyn Stream>>,
    out: &mut BytesMut,
    unflushed: &mut bool,
) -> io::Result<()> {
    while !out.is_empty() {
        if writer.write_buf(out).await? == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        *unflushed = true;
    }
    writer.flush().await?;
    *unflushed = false;
    Ok(())
}

/// Writes the last words and waits until the broker closes, or not much longer.
async fn hang_up(reader: &mut ReadHalf<Box<dyn Stream>>, writer: &mut WriteHalf<Box<dyn Stream>>, out: &mut BytesMut) {
    let goodbye = async {
        write_out(writer, out, &mut true).await?;
        writer.shutdown().await?;
        let mut scratch = BytesMut::with_capacity(4096);
        while reader.read_buf(&mut scratch).await? > 0 {
            scratch.clear();
        }
        io::Result::Ok(())
    };
    // Whether it came to an end in good order changes nothing any more.
    drop(timeout(GOODBYE, goodbye).await);
}

/// Says to others, retained, whether we are there.
fn announce(login: &Login, link: &mut Link, online: bool) {
    let Some((topic, will)) = login.will() else { return };
    let text = if online { &will.online } else { &will.offline };
    let mut message = Message::new(Topic::from_mqtt(topic), text.clone().into_bytes());
    // At QoS 0 it needs no packet id, and fails only with the connection, which is when the last will speaks.
    message.qos = Qos::AtMostOnce;
    message.retain = link.limits.retain_available;
    let written = link
        .codec
        .prepare(message)
        .map_err(|refusal| refusal.to_string())
        .and_then(|mut publish: packet::Prepared| publish.write(&mut link.out, 0, false, None));
    if let Err(error) = written {
        tracing::warn!(broker = %login.broker.name, %error, "the last will's topic cannot be published to");
    }
}
