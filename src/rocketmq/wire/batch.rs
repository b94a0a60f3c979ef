//! Entries of a batch body: `i32 size | i32 0 | i32 0 | i32 flag | i32 length, body | i16 length, properties`.
//!
//! An entry is written once, when its message comes in, and sent, cut out and sent again as bytes. Names and values
//! have to be free of the separators; `lmq::properties` sees to that.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

/// The most that the properties of one message may take, in bytes: brokers read the length as a signed 16-bit number.
pub const MAX_PROPERTIES: usize = 32_767;

const VALUE: u8 = 1;
const END: u8 = 2;
/// Size, magic, checksum and flag.
const BEFORE_BODY: usize = 16;

/// An entry that cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// More properties than a broker can read.
    #[error("its properties take {0} bytes, more than {MAX_PROPERTIES}")]
    Properties(usize),
    /// The body is beyond all that a frame can hold.
    #[error("a body of {0} bytes")]
    Body(usize),
}

/// Appends an entry; nothing is appended on error. Gives its length.
pub fn put_entry<'p>(
    out: &mut BytesMut,
    body: &[u8],
    properties: impl IntoIterator<Item = (&'p str, &'p str)>,
) -> Result<usize, EntryError> {
    let start = out.len();
    let body_length = i32::try_from(body.len()).map_err(|_| EntryError::Body(body.len()))?;
    out.reserve(BEFORE_BODY + 6 + body.len() + 256);
    out.put_bytes(0, BEFORE_BODY);
    out.put_i32(body_length);
    out.put_slice(body);
    let length_at = out.len();
    out.put_i16(0);
    for (name, value) in properties {
        out.put_slice(name.as_bytes());
        out.put_u8(VALUE);
        out.put_slice(value.as_bytes());
        out.put_u8(END);
    }
    seal(out, start, length_at)
}

/// Fills in the lengths of the entry that begins at `start`.
fn seal(out: &mut BytesMut, start: usize, properties_at: usize) -> Result<usize, EntryError> {
    let properties = out.len() - properties_at - 2;
    let size = out.len() - start;
    let (Ok(short), Ok(whole)) = (i16::try_from(properties), i32::try_from(size)) else {
        out.truncate(start);
        return Err(EntryError::Properties(properties));
    };
    out[properties_at..properties_at + 2].copy_from_slice(&short.to_be_bytes());
    out[start..start + 4].copy_from_slice(&whole.to_be_bytes());
    Ok(size)
}

/// Body and properties of an entry that [`put_entry`] wrote: what a single send is made of.
pub fn parts(mut entry: Bytes) -> Option<(Bytes, Bytes)> {
    entry.try_get_i128().ok()?;
    let length = usize::try_from(entry.try_get_i32().ok()?).ok()?;
    let body = (length <= entry.len()).then(|| entry.split_to(length))?;
    let length = usize::try_from(entry.try_get_i16().ok()?).ok()?;
    (length == entry.len()).then_some((body, entry))
}

/// Appends a copy of an entry in which a property has another value. The property is not its first one.
/// Gives the new length; an entry without that property is copied as it is.
pub fn put_entry_with(out: &mut BytesMut, entry: &Bytes, name: &str, value: &str) -> usize {
    let start = out.len();
    let place = parts(entry.clone()).and_then(|(body, properties)| {
        let before = [&[END], name.as_bytes(), &[VALUE]].concat();
        let at = properties.windows(before.len()).position(|window| window == before)? + before.len();
        let length = properties[at..].iter().position(|byte| *byte == END)?;
        let properties_at = BEFORE_BODY + 4 + body.len();
        Some((properties_at, properties_at + 2 + at, length))
    });
    let Some((properties_at, at, length)) = place else {
        out.put_slice(entry);
        return entry.len();
    };
    out.put_slice(&entry[..at]);
    out.put_slice(value.as_bytes());
    out.put_slice(&entry[at + length..]);
    seal(out, start, start + properties_at).unwrap_or_else(|_| {
        out.put_slice(entry);
        entry.len()
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_entry_is_laid_out_as_brokers_read_it() {
        let mut out = BytesMut::new();
        let length = put_entry(&mut out, b"hi", [("TAGS", "a"), ("k", "v")]).unwrap();
        let mut expected = vec![0, 0, 0, 35];
        expected.extend_from_slice(&[0; 12]);
        expected.extend_from_slice(b"\0\0\0\x02hi\0\x0bTAGS\x01a\x02k\x01v\x02");
        assert_eq!(out, expected[..]);
        assert_eq!(length, out.len());
    }

    #[test]
    fn properties_that_no_broker_can_read_are_refused_and_leave_nothing_behind() {
        let mut out = BytesMut::from("before");
        let fits = "v".repeat(MAX_PROPERTIES - 3);
        assert!(put_entry(&mut out, b"", [("n", &*fits)]).is_ok());
        let whole = out.len();
        let too_long = "v".repeat(MAX_PROPERTIES - 2);
        let error = put_entry(&mut out, b"", [("n", &*too_long)]);
        assert_eq!((error, out.len()), (Err(EntryError::Properties(MAX_PROPERTIES + 1)), whole));
    }

    proptest! {
        #[test]
        fn parts_are_what_was_put(body in prop::collection::vec(any::<u8>(), 0..100), value in "[a-z]{0,20}") {
            let mut out = BytesMut::new();
            put_entry(&mut out, &body, [("name", &*value)]).unwrap();
            let (read, properties) = parts(out.freeze()).unwrap();
            prop_assert_eq!(read, body);
            prop_assert_eq!(properties, format!("name\u{1}{value}\u{2}"));
        }

        #[test]
        fn a_property_can_be_replaced(body in prop::collection::vec(any::<u8>(), 0..50), old in "[0-9]{1,9}", new in "[0-9]{1,9}") {
            let entry = |value: &str| {
                let mut out = BytesMut::from("x");
                put_entry(&mut out, &body, [("id", "1"), ("expiry", value), ("z", "2")]).unwrap();
                out.split_off(1).freeze()
            };
            let mut out = BytesMut::from("before");
            let length = put_entry_with(&mut out, &entry(&old), "expiry", &new);
            prop_assert_eq!(&out[6..], &entry(&new));
            prop_assert_eq!(length, out.len() - 6);
        }
    }
}
