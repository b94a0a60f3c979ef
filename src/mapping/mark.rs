//! The loop guard's mark: a message says where it has been, so that no route sends it back there.
//!
//! A mark lists the stations (a broker and a topic on it) that a message was read from, the one where it entered
//! first. It is signed together with the station that it was sent to and with the payload: a device or a reply that
//! copies properties to another topic, or under another payload, carries no valid mark and is a message of its own.
//! It must never suppress anything but the same message on its way back.

use std::fmt;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

use super::hash::Hash;
use crate::settings::Secret;

/// Bytes of the signature: HMAC-SHA1-96, as in RFC 2404.
const SIGNATURE: usize = 12;
/// Bytes of a station.
const STATION: usize = 8;
/// Stations that a mark can hold. Beyond them the second oldest is forgotten, never the first.
const MAX_STATIONS: usize = 16;
const MAX_BYTES: usize = SIGNATURE + MAX_STATIONS * STATION;
/// Characters of the longest mark.
const MAX_TEXT: usize = (MAX_BYTES * 4).div_ceil(3);

/// A topic on a broker, as a mark holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Station(u64);

/// All stations of one broker.
#[derive(Debug, Clone, Copy)]
pub struct Stations(Hash);

impl Stations {
    /// The stations of a broker; `kind` keeps an MQTT and a RocketMQ broker of the same name apart.
    pub fn new(kind: &str, broker: &str) -> Self {
        Self(Hash::NEW.over(kind).over("\0").over(broker).over("\0"))
    }

    /// The station of a whole topic.
    pub fn at(&self, topic: &str) -> Station {
        Station(self.0.over(topic).finish())
    }
}

/// What the guard says of a message that is about to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Passed {
    /// It would go back to where it has been.
    Echo,
    /// It may go on, with this mark: letters, digits, `-` and `_`, at most 187 of them.
    On(String),
}

/// Signs and verifies marks with the key that all replicas share.
#[derive(Clone)]
pub struct Marker(Hmac<Sha1>);

impl fmt::Debug for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Marker(***)")
    }
}

impl Marker {
    /// A marker with a key of any length.
    pub fn new(key: &Secret) -> Self {
        match Hmac::new_from_slice(key.reveal().as_bytes()) {
            Ok(mac) => Self(mac),
            Err(_) => unreachable!("HMAC takes keys of every length"),
        }
    }

    /// Takes a message from one station to the next: `mark` is the one that it came with.
    pub fn pass(&self, mark: Option<&str>, from: Station, to: Station, payload: &[u8]) -> Passed {
        let mut path = mark.and_then(|mark| self.verified(mark, from, payload)).unwrap_or(Path::EMPTY);
        path.push(from);
        if path.holds(to) {
            return Passed::Echo;
        }
        let mut bytes = [0; MAX_BYTES];
        let stations = path.as_bytes();
        bytes[SIGNATURE..SIGNATURE + stations.len()].copy_from_slice(stations);
        bytes[..SIGNATURE].copy_from_slice(&self.sign(stations, to, payload).finalize().into_bytes()[..SIGNATURE]);
        Passed::On(BASE64_URL_SAFE_NO_PAD.encode(&bytes[..SIGNATURE + stations.len()]))
    }

    /// The stations of a mark, if it was given to this payload on its way to this station.
    fn verified(&self, mark: &str, at: Station, payload: &[u8]) -> Option<Path> {
        if mark.len() > MAX_TEXT {
            return None;
        }
        let mut bytes = [0; MAX_BYTES];
        let length = BASE64_URL_SAFE_NO_PAD.decode_slice(mark, &mut bytes).ok()?;
        let (signature, stations) = bytes[..length].split_at_checked(SIGNATURE)?;
        if !stations.len().is_multiple_of(STATION) {
            return None;
        }
        self.sign(stations, at, payload).verify_truncated_left(signature).ok()?;
        Some(Path::read(stations))
    }

    fn sign(&self, stations: &[u8], to: Station, payload: &[u8]) -> Hmac<Sha1> {
        let mut mac = self.0.clone();
        // Fixed widths before the payload, so that no other split gives the same bytes.
        mac.update(&(stations.len() as u64).to_be_bytes());
        mac.update(stations);
        mac.update(&to.0.to_be_bytes());
        mac.update(payload);
        mac
    }
}

/// The stations of a mark in order.
struct Path {
    bytes: [u8; MAX_STATIONS * STATION],
    length: usize,
}

impl Path {
    const EMPTY: Self = Self { bytes: [0; MAX_STATIONS * STATION], length: 0 };

    fn read(stations: &[u8]) -> Self {
        let mut path = Self::EMPTY;
        path.length = stations.len();
        path.bytes[..stations.len()].copy_from_slice(stations);
        path
    }

    fn push(&mut self, station: Station) {
        if self.length == self.bytes.len() {
            self.bytes.copy_within(2 * STATION.., STATION);
            self.length -= STATION;
        }
        self.bytes[self.length..self.length + STATION].copy_from_slice(&station.0.to_be_bytes());
        self.length += STATION;
    }

    fn holds(&self, station: Station) -> bool {
        self.as_bytes().chunks_exact(STATION).any(|known| known == station.0.to_be_bytes())
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

#[cfg(test)]
mod tests;
