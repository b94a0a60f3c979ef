//! The messages in the body of a pull answer, as a broker stores them. Pure.
//!
//! Every read is checked: no bytes may make this panic, read out of bounds, or allocate more than the caller
//! allows. A record that cannot be read is handed back with its raw bytes, never skipped.

use std::io::Read;

use bytes::Bytes;

/// One stored message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record<'b> {
    /// Its offset in its queue.
    pub queue_offset: u64,
    /// How often it was given back to its group (0 the first time).
    pub reconsume_times: u32,
    /// When the broker stored it, in milliseconds since the epoch.
    pub stored_at: u64,
    /// Its topic, with its namespace.
    pub topic: &'b str,
    /// Its properties, as one string.
    pub properties: &'b str,
    /// Its body, decompressed.
    pub body: Bytes,
}

/// A record that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undecodable {
    /// Its offset in its queue, where that much could be read.
    pub queue_offset: Option<u64>,
    /// The record as it came; all that is left of the answer when not even its length makes sense.
    pub raw: Bytes,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong with a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A length reaches beyond the record.
    #[error("it is cut short in its {0}")]
    CutShort(&'static str),
    /// Neither of RocketMQ's two record formats.
    #[error("its format is unknown (magic number {0:#010x})")]
    UnknownFormat(u32),
    /// A negative number where only a count can stand.
    #[error("its {0} is negative")]
    Negative(&'static str),
    /// Topic or properties are not UTF-8.
    #[error("its {0} is not UTF-8")]
    NotUtf8(&'static str),
    /// Several messages packed into one record (batch consume queues).
    #[error("it packs several messages into one (inner batch), which is not supported")]
    InnerBatch,
    /// A compression that RocketMQ does not name.
    #[error("its compression is unknown (type {0})")]
    UnknownCompression(u32),
    /// A body that cannot be decompressed.
    #[error("its body cannot be decompressed: {0}")]
    Compression(String),
    /// A body over the limit.
    #[error("its body takes more than {0} bytes once decompressed")]
    TooLarge(usize),
}

const MAGIC_V1: u32 = 0xDAA3_20A7;
const MAGIC_V2: u32 = 0xDAA3_20AB;

const COMPRESSED: u32 = 1;
const BORN_HOST_V6: u32 = 1 << 4;
const STORE_HOST_V6: u32 = 1 << 5;
const INNER_BATCH: u32 = 1 << 7;

/// The shortest record: everything before the queue offset, and the offset itself.
const OFFSET_END: usize = 28;

/// The largest window of zstd's own levels. A frame may ask for far more, and its decoder gives nothing before it holds
/// as much.
const ZSTD_WINDOW: u64 = 8 << 20;

/// The records of a pull answer in their order, each read when it is asked for.
#[derive(Debug)]
pub struct Records<'b> {
    answer: &'b Bytes,
    rest: &'b [u8],
    body_max: usize,
}

/// Reads a pull answer. A compressed body may grow to `body_max` bytes.
pub fn records(answer: &Bytes, body_max: usize) -> Records<'_> {
    Records { answer, rest: answer, body_max }
}

impl Records<'_> {
    /// Whether there are no more.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }
}

impl<'b> Iterator for Records<'b> {
    type Item = Result<Record<'b>, Undecodable>;

    fn next(&mut self) -> Option<Self::Item> {
        let (answer, rest) = (self.answer, self.rest);
        if rest.is_empty() {
            return None;
        }
        let length = rest.first_chunk().map(|size| u32::from_be_bytes(*size) as usize);
        let record = match length {
            Some(length) if (OFFSET_END..=rest.len()).contains(&length) => &rest[..length],
            _ => {
                self.rest = &[];
                let raw = answer.slice_ref(rest);
                return Some(Err(Undecodable { queue_offset: None, raw, fault: Fault::CutShort("length") }));
            }
        };
        self.rest = &rest[record.len()..];
        Some(decode(answer, record, self.body_max).map_err(|fault| Undecodable {
            queue_offset: queue_offset(record),
            raw: answer.slice_ref(record),
            fault,
        }))
    }
}

fn queue_offset(record: &[u8]) -> Option<u64> {
    let offset = record.get(OFFSET_END - 8..)?.first_chunk()?;
    u64::try_from(i64::from_be_bytes(*offset)).ok()
}

fn decode<'b>(answer: &Bytes, record: &'b [u8], body_max: usize) -> Result<Record<'b>, Fault> {
    let mut fields = Fields(record);
    fields.skip(4, "length")?;
    let magic = fields.u32("format")?;
    if magic != MAGIC_V1 && magic != MAGIC_V2 {
        return Err(Fault::UnknownFormat(magic));
    }
    fields.skip(4 + 4 + 4, "head")?; // body checksum, queue id, flag
    let queue_offset = fields.count64("queue offset")?;
    fields.skip(8, "head")?; // physical offset
    let flags = fields.u32("flags")?;
    if flags & INNER_BATCH != 0 {
        return Err(Fault::InnerBatch);
    }
    let host = |v6| if flags & v6 == 0 { 8 } else { 20 };
    fields.skip(8 + host(BORN_HOST_V6), "birth")?;
    let stored_at = fields.count64("store time")?;
    fields.skip(host(STORE_HOST_V6), "store host")?;
    let reconsume_times = fields.count32("reconsume count")?;
    fields.skip(8, "head")?; // prepared transaction offset
    let body_length = fields.count32("body length")?;
    let body = fields.take(body_length as usize, "body")?;
    let topic_length = match magic {
        MAGIC_V1 => usize::try_from(fields.take(1, "topic")?[0].cast_signed()),
        _ => usize::try_from(fields.i16("topic")?),
    };
    let topic = fields.text(topic_length.map_err(|_| Fault::Negative("topic length"))?, "topic")?;
    let properties_length = usize::try_from(fields.i16("properties")?);
    let properties = fields.text(properties_length.map_err(|_| Fault::Negative("properties length"))?, "properties")?;
    let body = if flags & COMPRESSED == 0 || body.is_empty() {
        answer.slice_ref(body)
    } else {
        decompress(body, (flags >> 8) & 7, body_max)?
    };
    Ok(Record { queue_offset, reconsume_times, stored_at, topic, properties, body })
}

fn decompress(body: &[u8], kind: u32, max: usize) -> Result<Bytes, Fault> {
    match kind {
        // Clients older than the type bits compress with zlib and leave them 0.
        0 | 3 => read_all(flate2::read::ZlibDecoder::new(body), max),
        1 => read_all(lz4_flex::frame::FrameDecoder::new(body), max),
        2 => {
            let window = ZSTD_WINDOW.max(max as u64);
            let decoder = ruzstd::decoding::StreamingDecoder::new_with_max_window_size(body, window);
            read_all(decoder.map_err(|error| Fault::Compression(error.to_string()))?, max)
        }
        other => Err(Fault::UnknownCompression(other)),
    }
}

fn read_all(decoder: impl Read, max: usize) -> Result<Bytes, Fault> {
    let mut body = Vec::new();
    decoder.take(max as u64 + 1).read_to_end(&mut body).map_err(|error| Fault::Compression(error.to_string()))?;
    if body.len() > max { Err(Fault::TooLarge(max)) } else { Ok(body.into()) }
}

/// What is left to read of a record.
struct Fields<'b>(&'b [u8]);

impl<'b> Fields<'b> {
    fn take(&mut self, length: usize, what: &'static str) -> Result<&'b [u8], Fault> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Fault::CutShort(what))?;
        self.0 = rest;
        Ok(taken)
    }

    fn skip(&mut self, length: usize, what: &'static str) -> Result<(), Fault> {
        self.take(length, what).map(|_| ())
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], Fault> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Fault::CutShort(what))?;
        self.0 = rest;
        Ok(*taken)
    }

    fn i16(&mut self, what: &'static str) -> Result<i16, Fault> {
        self.array(what).map(i16::from_be_bytes)
    }

    fn u32(&mut self, what: &'static str) -> Result<u32, Fault> {
        self.array(what).map(u32::from_be_bytes)
    }

    fn count32(&mut self, what: &'static str) -> Result<u32, Fault> {
        u32::try_from(self.array(what).map(i32::from_be_bytes)?).map_err(|_| Fault::Negative(what))
    }

    fn count64(&mut self, what: &'static str) -> Result<u64, Fault> {
        u64::try_from(self.array(what).map(i64::from_be_bytes)?).map_err(|_| Fault::Negative(what))
    }

    fn text(&mut self, length: usize, what: &'static str) -> Result<&'b str, Fault> {
        std::str::from_utf8(self.take(length, what)?).map_err(|_| Fault::NotUtf8(what))
    }
}

#[cfg(test)]
pub(in crate::rocketmq) mod tests;
