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

/// The records of a pull answer in their order. A compressed body may grow to `body_max` bytes.
pub fn records(answer: &Bytes, body_max: usize) -> impl Iterator<Item = Result<Record<'_>, Undecodable>> {
    let mut rest = &answer[..];
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let length = rest.first_chunk().map(|size| u32::from_be_bytes(*size) as usize);
        let record = match length {
            Some(length) if (OFFSET_END..=rest.len()).contains(&length) => &rest[..length],
            _ => {
                let raw = answer.slice_ref(rest);
                rest = &[];
                return Some(Err(Undecodable { queue_offset: None, raw, fault: Fault::CutShort("length") }));
            }
        };
        rest = &rest[record.len()..];
        Some(decode(answer, record, body_max).map_err(|fault| Undecodable {
            queue_offset: queue_offset(record),
            raw: answer.slice_ref(record),
            fault,
        }))
    })
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
            let decoder = ruzstd::decoding::StreamingDecoder::new(body);
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
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    const MAX: usize = 1 << 20;

    struct Sample {
        magic: u32,
        flags: u32,
        body: Vec<u8>,
    }

    fn length(of: usize) -> [u8; 4] {
        u32::try_from(of).expect("short").to_be_bytes()
    }

    impl Sample {
        fn plain(body: &[u8]) -> Self {
            Self { magic: MAGIC_V1, flags: 0, body: body.to_vec() }
        }

        fn bytes(&self) -> Vec<u8> {
            let mut out = vec![0; 4];
            out.extend(self.magic.to_be_bytes());
            out.extend([0; 12]);
            out.extend(42u64.to_be_bytes());
            out.extend(7u64.to_be_bytes());
            out.extend(self.flags.to_be_bytes());
            out.extend([1; 8]);
            out.extend(vec![9; if self.flags & BORN_HOST_V6 == 0 { 8 } else { 20 }]);
            out.extend(1_700_000_000_000u64.to_be_bytes());
            out.extend(vec![9; if self.flags & STORE_HOST_V6 == 0 { 8 } else { 20 }]);
            out.extend(3u32.to_be_bytes());
            out.extend([0; 8]);
            out.extend(length(self.body.len()));
            out.extend(&self.body);
            out.extend(if self.magic == MAGIC_V1 { &[5][..] } else { &[0, 5] });
            out.extend(b"plant");
            out.extend(4u16.to_be_bytes());
            out.extend(b"a\x01b\x02");
            let length = length(out.len());
            out[..4].copy_from_slice(&length);
            out
        }
    }

    fn one(bytes: Vec<u8>) -> Result<(u64, u32, String, String, Bytes), Undecodable> {
        let answer = Bytes::from(bytes);
        let mut all = records(&answer, MAX);
        let record = all.next().expect("one record")?;
        assert!(all.next().is_none());
        let Record { queue_offset, reconsume_times, topic, properties, body, .. } = record;
        Ok((queue_offset, reconsume_times, topic.to_owned(), properties.to_owned(), body))
    }

    fn read(sample: &Sample) -> Bytes {
        let (offset, reconsumed, topic, properties, body) = one(sample.bytes()).expect("decodes");
        assert_eq!((offset, reconsumed, &*topic, &*properties), (42, 3, "plant", "a\u{1}b\u{2}"));
        body
    }

    fn hex(text: &str) -> Vec<u8> {
        let digit = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("hex");
        (0..text.len()).step_by(2).map(digit).collect()
    }

    /// As the Java client's `MessageDecoder.encode` writes them.
    #[test]
    fn records_of_the_java_client_are_read() {
        let plain = "0000006fdaa320a7000000000000000300000000000000000000002a00000000000000630000000000000000000000017f00\
                     0001000000010000018bcfe568007f000001000000020000000100000000000000000000000432312e3505706c616e74000b\
                     6b01760254414753017402";
        let expected = (42, 1, "plant".to_owned(), "k\u{1}v\u{2}TAGS\u{1}t\u{2}".to_owned(), Bytes::from("21.5"));
        assert_eq!(one(hex(plain)).expect("decodes"), expected);
        let zlib = "0000007fdaa320a7000000000000000000000000000000000000002b0000000000000000000003010000000000000000\
                    7f0000010000000100000000000000007f000001000000020000000000000000000000000000001f785eedc2310d0000\
                    0002a0acda3f84217c19a40100000000004e03d693eda105706c616e740000";
        let lz4 = "00000092daa320a7000000000000000000000000000000000000002b00000000000000000000010100000000000000007f\
                   0000010000000100000000000000007f000001000000020000000000000000000000000000003204224d18607073230000\
                   002f61620200ffffffffffffffffffffffffffffffffffffffffffffff6d5062616261620000000005706c616e740000";
        let zstd = "00000075daa320a7000000000000000000000000000000000000002b0000000000000000000002010000000000000000\
                    7f0000010000000100000000000000007f000001000000020000000000000000000000000000001528b52ffd00584c00\
                    0010616201006b57efb001000005706c616e740000";
        for (name, text) in [("zlib", zlib), ("lz4", lz4), ("zstd", zstd)] {
            let (offset, _, _, _, body) = one(hex(text)).expect(name);
            assert_eq!((offset, body), (43, Bytes::from("ab".repeat(3000))), "{name}");
        }
    }

    #[test]
    fn both_formats_and_all_host_widths_are_read() {
        for magic in [MAGIC_V1, MAGIC_V2] {
            for hosts in [0, BORN_HOST_V6, STORE_HOST_V6, BORN_HOST_V6 | STORE_HOST_V6] {
                let all: Vec<u8> = (0..=255).collect();
                assert_eq!(read(&Sample { magic, flags: hosts, body: all.clone() }), all);
            }
        }
        assert_eq!(read(&Sample::plain(b"")), b"".as_slice());
    }

    #[test]
    fn compressed_bodies_are_read() {
        let text = b"the same words again and again, ".repeat(300);
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        zlib.write_all(&text).expect("compresses");
        let zlib = zlib.finish().expect("compresses");
        let mut lz4 = lz4_flex::frame::FrameEncoder::new(Vec::new());
        lz4.write_all(&text).expect("compresses");
        let lz4 = lz4.finish().expect("compresses");
        let zstd = ruzstd::encoding::compress_to_vec(&text[..], ruzstd::encoding::CompressionLevel::Fastest);
        for (kind, body) in [(0, &zlib), (3, &zlib), (1, &lz4), (2, &zstd)] {
            let sample = Sample { flags: COMPRESSED | kind << 8, ..Sample::plain(body) };
            assert_eq!(read(&sample), text, "type {kind}");
            let mut cut = body.clone();
            cut.truncate(body.len() / 2);
            let sample = Sample { flags: COMPRESSED | kind << 8, ..Sample::plain(&cut) };
            assert!(matches!(one(sample.bytes()).expect_err("cut").fault, Fault::Compression(_)), "type {kind}");
        }
    }

    #[test]
    fn a_body_that_grows_over_the_limit_is_not_read() {
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        zlib.write_all(&vec![0; MAX + 1]).expect("compresses");
        let bytes = Sample { flags: COMPRESSED, ..Sample::plain(&zlib.finish().expect("compresses")) }.bytes();
        let undecodable = one(bytes.clone()).expect_err("too large");
        assert_eq!((undecodable.fault, undecodable.queue_offset), (Fault::TooLarge(MAX), Some(42)));
        assert_eq!(undecodable.raw, bytes);
    }

    #[test]
    fn a_bad_record_does_not_hide_the_next() {
        let mut bytes = Sample::plain(b"one").bytes();
        bytes.extend(Sample { magic: 1, ..Sample::plain(b"two") }.bytes());
        bytes.extend(Sample { flags: INNER_BATCH, ..Sample::plain(b"three") }.bytes());
        bytes.extend(Sample::plain(b"four").bytes());
        bytes.extend([0, 0, 1, 0, 9]);
        let answer = Bytes::from(bytes);
        let all: Vec<_> = records(&answer, MAX).map(|r| r.map(|r| r.body).map_err(|u| u.fault)).collect();
        assert_eq!(
            all,
            [
                Ok(Bytes::from("one")),
                Err(Fault::UnknownFormat(1)),
                Err(Fault::InnerBatch),
                Ok(Bytes::from("four")),
                Err(Fault::CutShort("length"))
            ]
        );
    }

    #[test]
    fn a_negative_length_is_a_fault() {
        let mut bytes = Sample::plain(b"one").bytes();
        let at = bytes.len() - 4 - 2;
        bytes[at..at + 2].copy_from_slice(&(-1i16).to_be_bytes());
        assert_eq!(one(bytes).expect_err("negative").fault, Fault::Negative("properties length"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_either_read_or_handed_back_whole(noise in proptest::collection::vec(any::<u8>(), 0..200)) {
            let answer = Bytes::from(noise);
            records(&answer, MAX).for_each(drop);
        }

        #[test]
        fn a_damaged_record_never_panics(
            flags in any::<u8>(), body in proptest::collection::vec(any::<u8>(), 0..60),
            damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        ) {
            let mut bytes = Sample { flags: u32::from(flags) << 4 | 1, ..Sample::plain(&body) }.bytes();
            for (at, value) in damage {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            let answer = Bytes::from(bytes);
            let mut seen = 0;
            for record in records(&answer, MAX) {
                seen += match record { Ok(record) => record.body.len().min(1), Err(bad) => bad.raw.len() };
            }
            prop_assert!(seen <= answer.len());
        }
    }
}
