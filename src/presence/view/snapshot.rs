//! A view as bytes, and back, together with how far its notices have been read: one write keeps both or neither. Pure.
//!
//! `RBPRESENCE`, the format's number, sources, groups, tombstones, positions, and the SHA-1 of all that. Numbers are
//! little-endian; a text or a list begins with its length in 4 bytes. No bytes make the reader panic, or allocate more
//! than a few times their length.

use std::collections::{BTreeMap, HashMap};

use sha1::{Digest, Sha1};

use super::{
    View,
    group::{Channel, Client, Group},
    source::{Source, SourceId, Sources},
    tombstones::{Generation, Heard, Tombstone, Tombstones},
};
use crate::{lmq::notice::ChannelId, message::Queue};

const MAGIC: &[u8] = b"RBPRESENCE";

/// The format that this version writes, and the only one that it reads.
const FORMAT: u32 = 1;

/// SHA-1.
const SUM: usize = 20;

/// Stands for a notice without a source.
const NOBODY: u32 = u32::MAX;

/// Up to where the notices of a queue are in the view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The topic.
    pub topic: String,
    /// Its queue.
    pub queue: Queue,
    /// The offset of the first notice that is not in the view.
    pub offset: u64,
}

/// What a snapshot holds.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// The view. The windows of its tombstones begin again.
    pub view: View,
    /// What it is made of.
    pub positions: Vec<Position>,
}

/// Why bytes are not a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// They begin with something else.
    #[error("this is no snapshot of presence")]
    Unknown,
    /// Another version wrote it.
    #[error("the snapshot is in format {0}; this version knows format {FORMAT}")]
    Format(u32),
    /// It ends early, or something in it has changed.
    #[error("the snapshot is damaged")]
    Damaged,
}

/// A snapshot but for its sum, which [`seal`] adds: for that the view is not needed.
pub fn content(view: &View, positions: &[Position]) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend_from_slice(MAGIC);
    out.put_u32(FORMAT);
    out.put_list(&view.sources.0, |out, source| {
        out.put_text(&source.name);
        out.put_u64(source.gap_until);
        out.put_u64(source.reset_at);
    });
    out.put_list(&view.groups, |out, (name, group)| {
        out.put_text(name);
        out.put_list(&group.sources, |out, source| out.put_u32(source.0));
        for clients in [&group.online, &group.doubtful] {
            out.put_list(clients, |out, (device, client)| put_client(out, device, client));
        }
    });
    for generation in [&view.tombstones.young, &view.tombstones.old, &view.tombstones.proofs] {
        out.put_list(generation, |out, (client_id, tombstone)| put_tombstone(out, client_id, tombstone));
    }
    out.put_list(positions, |out, position| {
        out.put_text(&position.topic);
        out.put_text(&position.queue.broker);
        out.put_u32(position.queue.id);
        out.put_u64(position.offset);
    });
    out
}

/// Completes a snapshot.
pub fn seal(content: Vec<u8>) -> Vec<u8> {
    let (sum, mut out) = (Sha1::digest(&content), content);
    out.extend_from_slice(&sum);
    out
}

fn put_client(out: &mut Vec<u8>, device: &str, client: &Client) {
    out.put_text(device);
    out.put_u64(client.heard_at);
    out.put_list(&client.channels, |out, channel| {
        out.put_channel(channel.id);
        out.put_u64(channel.connected_at);
        out.put_text(&channel.client_ip);
        out.put_source(channel.source);
    });
}

fn put_tombstone(out: &mut Vec<u8>, client_id: &str, tombstone: &Tombstone) {
    out.put_text(client_id);
    out.put_list(&tombstone.channels, |out, channel| out.put_channel(*channel));
    out.put_list(&tombstone.heard, |out, heard| {
        out.put_source(heard.source);
        out.put_u64(heard.at);
        out.put_u64(heard.connected_at);
    });
}

/// Reads a snapshot that is all there is in `bytes`.
pub fn decode(bytes: &[u8]) -> Result<Snapshot, SnapshotError> {
    let mut rest = Rest(bytes.strip_prefix(MAGIC).ok_or(SnapshotError::Unknown)?);
    match rest.u32()? {
        FORMAT => {}
        other => return Err(SnapshotError::Format(other)),
    }
    let (content, sum) = bytes.split_last_chunk::<SUM>().ok_or(SnapshotError::Damaged)?;
    if Sha1::digest(content)[..] != sum[..] {
        return Err(SnapshotError::Damaged);
    }
    rest.0 = rest.0.strip_suffix(sum).ok_or(SnapshotError::Damaged)?;
    let sources = Sources(
        rest.list(|rest| Ok(Source { name: rest.text()?.into(), gap_until: rest.u64()?, reset_at: rest.u64()? }))?,
    );
    let groups = rest.list::<_, HashMap<_, _>>(|rest| Ok((rest.text()?.into(), group(rest)?)))?;
    let (young, old, proofs) = (generation(&mut rest)?, generation(&mut rest)?, generation(&mut rest)?);
    let tombstones = Tombstones { young, old, proofs, since: None };
    let positions = rest.list(|rest| {
        let topic = rest.text()?.to_owned();
        let queue = Queue { broker: rest.text()?.into(), id: rest.u32()? };
        Ok(Position { topic, queue, offset: rest.u64()? })
    })?;
    let view = View { sources, groups, tombstones };
    if rest.0.is_empty() { Ok(Snapshot { view, positions }) } else { Err(SnapshotError::Damaged) }
}

fn group(rest: &mut Rest) -> Result<Group, SnapshotError> {
    let sources = rest.list(|rest| rest.u32().map(SourceId))?;
    let mut clients = || rest.list::<_, BTreeMap<_, _>>(|rest| Ok((rest.text()?.into(), client(rest)?)));
    Ok(Group { sources, online: clients()?, doubtful: clients()? })
}

fn client(rest: &mut Rest) -> Result<Client, SnapshotError> {
    let heard_at = rest.u64()?;
    let channels = rest.vec(|rest| {
        Ok(Channel {
            id: rest.channel()?,
            connected_at: rest.u64()?,
            client_ip: rest.text()?.into(),
            source: rest.source()?,
        })
    })?;
    Ok(Client { channels, heard_at })
}

fn generation(rest: &mut Rest) -> Result<Generation, SnapshotError> {
    rest.list(|rest| {
        let client_id = rest.text()?.into();
        let channels = rest.vec(Rest::channel)?;
        let heard =
            rest.vec(|rest| Ok(Heard { source: rest.source()?, at: rest.u64()?, connected_at: rest.u64()? }))?;
        Ok((client_id, Tombstone { channels, heard }))
    })
}

/// How the parts of a snapshot are written.
trait Put {
    fn put_u32(&mut self, value: u32);
    fn put_u64(&mut self, value: u64);
    fn put_length(&mut self, length: usize);
    fn put_text(&mut self, text: &str);
    fn put_channel(&mut self, channel: ChannelId);
    fn put_source(&mut self, source: Option<SourceId>);
    fn put_list<I: IntoIterator<IntoIter: ExactSizeIterator>>(&mut self, list: I, put: impl Fn(&mut Self, I::Item));
}

impl Put for Vec<u8> {
    fn put_u32(&mut self, value: u32) {
        self.extend_from_slice(&value.to_le_bytes());
    }

    fn put_u64(&mut self, value: u64) {
        self.extend_from_slice(&value.to_le_bytes());
    }

    fn put_length(&mut self, length: usize) {
        self.put_u32(u32::try_from(length).expect("no view has lists or texts of 4 GB"));
    }

    fn put_text(&mut self, text: &str) {
        self.put_length(text.len());
        self.extend_from_slice(text.as_bytes());
    }

    fn put_channel(&mut self, channel: ChannelId) {
        self.extend_from_slice(&channel.0.to_le_bytes());
    }

    fn put_source(&mut self, source: Option<SourceId>) {
        self.put_u32(source.map_or(NOBODY, |source| source.0));
    }

    fn put_list<I: IntoIterator<IntoIter: ExactSizeIterator>>(&mut self, list: I, put: impl Fn(&mut Self, I::Item)) {
        let list = list.into_iter();
        self.put_length(list.len());
        list.for_each(|item| put(self, item));
    }
}

/// What is left to read.
struct Rest<'b>(&'b [u8]);

impl<'b> Rest<'b> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], SnapshotError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(SnapshotError::Damaged)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u32(&mut self) -> Result<u32, SnapshotError> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, SnapshotError> {
        self.array().map(u64::from_le_bytes)
    }

    fn channel(&mut self) -> Result<ChannelId, SnapshotError> {
        self.array().map(u128::from_le_bytes).map(ChannelId)
    }

    fn source(&mut self) -> Result<Option<SourceId>, SnapshotError> {
        self.u32().map(|id| (id != NOBODY).then_some(SourceId(id)))
    }

    fn text(&mut self) -> Result<&'b str, SnapshotError> {
        let length = self.u32()? as usize;
        let (taken, rest) = self.0.split_at_checked(length).ok_or(SnapshotError::Damaged)?;
        self.0 = rest;
        std::str::from_utf8(taken).map_err(|_| SnapshotError::Damaged)
    }

    /// A list grows as it is read: its length may lie.
    fn list<T, L: FromIterator<T>>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<T, SnapshotError>,
    ) -> Result<L, SnapshotError> {
        (0..self.u32()?).map(|_| item(self)).collect()
    }

    /// A list that takes no more room than it needs: there are as many as there are clients.
    fn vec<T>(&mut self, item: impl FnMut(&mut Self) -> Result<T, SnapshotError>) -> Result<Vec<T>, SnapshotError> {
        let mut list: Vec<T> = self.list(item)?;
        list.shrink_to_fit();
        Ok(list)
    }
}
