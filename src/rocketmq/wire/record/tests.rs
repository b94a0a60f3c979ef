//! Records of brokers and of the Java client, whole and damaged.

use std::io::Write;

use proptest::prelude::*;

use super::*;

const MAX: usize = 1 << 20;

/// A record as a broker stores it.
pub(in crate::rocketmq) struct Sample {
    offset: u64,
    magic: u32,
    flags: u32,
    body: Vec<u8>,
}

fn length(of: usize) -> [u8; 4] {
    u32::try_from(of).expect("short").to_be_bytes()
}

impl Sample {
    fn plain(body: &[u8]) -> Self {
        Self { offset: 42, magic: MAGIC_V1, flags: 0, body: body.to_vec() }
    }

    /// A body that its producer compressed, at an offset of its queue.
    pub(in crate::rocketmq) fn compressed(offset: u64, body: &[u8]) -> Self {
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        zlib.write_all(body).expect("compresses");
        Self { offset, flags: COMPRESSED, ..Self::plain(&zlib.finish().expect("compresses")) }
    }

    pub(in crate::rocketmq) fn bytes(&self) -> Vec<u8> {
        let mut out = vec![0; 4];
        out.extend(self.magic.to_be_bytes());
        out.extend([0; 12]);
        out.extend(self.offset.to_be_bytes());
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
            assert_eq!(read(&Sample { magic, flags: hosts, ..Sample::plain(&all) }), all);
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
    let bytes = Sample::compressed(42, &vec![0; MAX + 1]).bytes();
    let undecodable = one(bytes.clone()).expect_err("too large");
    assert_eq!((undecodable.fault, undecodable.queue_offset), (Fault::TooLarge(MAX), Some(42)));
    assert_eq!(undecodable.raw, bytes);
}

/// A zstd frame says how much of it is kept for looking back, and a decoder gives nothing before it has that much.
#[test]
fn a_body_that_wants_a_large_window_is_not_read() {
    const WINDOW_OF_64_MIB: u8 = 16 << 3;
    let mut zstd = vec![0x28, 0xb5, 0x2f, 0xfd, 0, WINDOW_OF_64_MIB];
    let repeated = |size: u32, last: u32| (size << 3 | 1 << 1 | last).to_le_bytes();
    for last in [[0; 511].as_slice(), &[1]].concat() {
        zstd.extend(&repeated(128 << 10, last)[..3]);
        zstd.push(0);
    }
    let bytes = Sample { flags: COMPRESSED | 2 << 8, ..Sample::plain(&zstd) }.bytes();
    let fault = one(bytes).expect_err("too large").fault;
    assert!(matches!(&fault, Fault::Compression(words) if words.contains("window")), "{fault}");
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
