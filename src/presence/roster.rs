//! A broker's own list of its clients: the requests that ask for all of it, and what the answers say.
//!
//! Pure: bytes in, the next request and clients out. Clients come and go while a long list is read, and pages that are
//! counted in rows would then skip some. So it is asked for by the time at which clients connected, which never changes:
//! a span of time whose answer is not whole is asked for again in two parts. It must never take a part for the whole.

mod emqx;
mod rmqtt;

#[cfg(test)]
mod tests;

use self::rmqtt::Rmqtt;
use super::{
    adapter::{Adapter, Unreadable},
    event::Connected,
};

/// The end of the year 9999, in seconds since the epoch: no client connects later.
const END: u64 = 253_402_300_799;

/// A list that is being asked for.
#[derive(Debug)]
pub struct Roster {
    broker: Broker,
    /// What is still to be asked for, the earliest last: who comes meanwhile is in the span that is asked for last.
    spans: Vec<Span>,
    clients: Vec<Connected>,
}

#[derive(Debug)]
enum Broker {
    Emqx,
    Rmqtt(Rmqtt),
}

/// From when to when clients connected, both included, in the unit of the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    from: u64,
    to: u64,
}

/// The clients of a span, or as many as the broker gives.
#[derive(Debug, PartialEq, Eq)]
struct Page {
    clients: Vec<Connected>,
    whole: bool,
}

impl Roster {
    /// Begins to ask; nothing where the broker's list is not understood.
    pub fn new(adapter: Adapter) -> Option<Self> {
        let broker = match adapter {
            Adapter::Emqx => Broker::Emqx,
            Adapter::Rmqtt => Broker::Rmqtt(Rmqtt::default()),
            Adapter::Mosquitto | Adapter::NanoMq | Adapter::VerneMq | Adapter::Generic => return None,
        };
        let span = Span { from: 0, to: END * 1_000 / broker.unit() };
        Some(Self { broker, spans: vec![span], clients: Vec::new() })
    }

    /// Path and query of the next request; nothing once the list is whole.
    pub fn request(&self) -> Option<String> {
        let span = self.spans.last();
        match &self.broker {
            Broker::Emqx => span.map(emqx::request),
            Broker::Rmqtt(rmqtt) => rmqtt.request(span),
        }
    }

    /// Takes in what was answered, at `now` in milliseconds since the epoch. After an error the list cannot be had.
    pub fn answer(&mut self, body: &[u8], now: u64) -> Result<(), Unreadable> {
        let page = match &mut self.broker {
            Broker::Emqx => emqx::page(body)?,
            Broker::Rmqtt(rmqtt) => match rmqtt.answer(body, now, self.spans.last())? {
                Some(page) => page,
                None => return Ok(()),
            },
        };
        let Some(span) = self.spans.pop() else { return Ok(()) };
        if page.whole {
            self.clients.extend(page.clients);
            return Ok(());
        }
        let rows = page.clients.len();
        let parts = span.parts(&page, self.broker.unit());
        self.spans.extend(parts.ok_or_else(|| Unreadable(format!("more than {rows} clients connected at once")))?);
        Ok(())
    }

    /// All clients that are connected, as their events would tell of them; a client may be there twice.
    pub fn clients(self) -> Vec<Connected> {
        self.clients
    }
}

impl Broker {
    /// Milliseconds of the unit in which it is asked for times.
    fn unit(&self) -> u64 {
        match self {
            Self::Emqx => 1,
            Self::Rmqtt(_) => 1_000,
        }
    }
}

impl Span {
    /// The later and the earlier part, each with about half of the clients as far as the page shows; both have the
    /// moment between them, since a broker may tell times less finely than it compares them.
    fn parts(self, page: &Page, unit: u64) -> Option<[Self; 2]> {
        let mut times: Vec<u64> = page.clients.iter().map(|client| client.at / unit).collect();
        times.sort_unstable();
        let within = self.from + 1..self.to;
        let median = times.get(times.len() / 2).copied().filter(|time| within.contains(time));
        let middle = median.unwrap_or_else(|| self.from.midpoint(self.to));
        within.contains(&middle).then_some([Self { from: middle, ..self }, Self { to: middle, ..self }])
    }
}

/// `ip:port`, as the events write it; nothing where the list does not say.
fn peer(ip: Option<&str>, port: Option<u16>) -> Option<String> {
    let (ip, port) = (ip?, port?);
    Some(if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") })
}
