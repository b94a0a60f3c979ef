//! One remoting frame: `i32 length | u8 header form, u24 header length | header | body`.
//!
//! Requests are written with JSON headers, which every version reads; JSON and RocketMQ binary headers are read.

use std::{borrow::Cow, fmt, io::Write as _};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};

/// The largest frame that is taken, in bytes: the limit of the Java client.
pub const MAX_FRAME: usize = 16 * 1024 * 1024;

/// `MQVersion` of 5.3.3: tells servers which dialect to speak.
const VERSION: i32 = 479;
const JSON: u32 = 0;
const BINARY: u32 = 1;
const FLAG_RESPONSE: i32 = 1;
const FLAG_ONE_WAY: i32 = 2;

/// Bytes that are no frame. The connection cannot be used further.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The length is negative, too small or over the limit.
    #[error("a frame of {0} bytes")]
    Length(i32),
    /// The header is longer than its frame.
    #[error("a header of {header} bytes in a frame of {frame}")]
    HeaderLength {
        /// Its length.
        header: usize,
        /// The frame's.
        frame: usize,
    },
    /// A header form that is neither JSON nor binary.
    #[error("header form {0}")]
    Form(u32),
    /// The header cannot be read.
    #[error("unreadable header: {0}")]
    Header(String),
}

/// The string fields of a header, in the order in which they were set or read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fields(Vec<(Cow<'static, str>, Cow<'static, str>)>);

impl Fields {
    /// The value of a field.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_ref())
    }

    /// The value of a field as a number; nothing when it is missing or none.
    pub fn number<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.get(name)?.parse().ok()
    }

    /// Adds a field.
    pub fn push(&mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Cow<'static, str>>) {
        self.0.push((name.into(), value.into()));
    }

    /// All fields.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_ref(), value.as_ref()))
    }
}

/// A command to a server. Cloning shares the body.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// One of `code::request`.
    pub code: i32,
    /// Header fields.
    pub fields: Fields,
    /// Bytes after the header.
    pub body: Bytes,
}

impl Request {
    /// A request without fields and body.
    pub fn new(code: i32) -> Self {
        Self { code, ..Self::default() }
    }

    /// Adds a text field.
    #[must_use]
    pub fn text(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        self.fields.push(name, value);
        self
    }

    /// Adds a number or a truth value.
    #[must_use]
    pub fn field(mut self, name: &'static str, value: impl fmt::Display) -> Self {
        self.fields.push(name, value.to_string());
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Writes length and header, so that only the body has to follow.
    pub fn encode_head(&self, opaque: i32, one_way: bool, out: &mut BytesMut) {
        let flag = if one_way { FLAG_ONE_WAY } else { 0 };
        encode_head(self.code, flag, opaque, &self.fields, self.body.len(), out);
    }
}

/// Writes an answer to a request that a server sent: a code without anything else.
pub fn encode_answer(code: i32, opaque: i32, out: &mut BytesMut) {
    encode_head(code, FLAG_RESPONSE, opaque, &Fields::default(), 0, out);
}

fn encode_head(code: i32, flag: i32, opaque: i32, fields: &Fields, body: usize, out: &mut BytesMut) {
    let start = out.len();
    out.put_u64(0);
    let infallible = "writing to memory cannot fail";
    write!(
        out.writer(),
        r#"{{"code":{code},"flag":{flag},"language":"OTHER","opaque":{opaque},"serializeTypeCurrentRPC":"JSON","version":{VERSION},"extFields":{{"#
    )
    .expect(infallible);
    for (index, (name, value)) in fields.iter().enumerate() {
        if index > 0 {
            out.put_u8(b',');
        }
        serde_json::to_writer(out.writer(), name).expect(infallible);
        out.put_u8(b':');
        serde_json::to_writer(out.writer(), value).expect(infallible);
    }
    out.put_slice(b"}}");
    let header = out.len() - start - 8;
    let mut place = &mut out[start..start + 8];
    place.put_u32(length_field(4 + header + body));
    place.put_u32(JSON << 24 | length_field(header));
}

/// What is sent is bounded far below this by what is taken in.
fn length_field(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// A frame from a server: an answer, or a request of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// A response code, or a request code when the server asks.
    pub code: i32,
    /// Matches an answer to its request.
    pub opaque: i32,
    /// Bit 0 response, bit 1 one-way.
    pub flag: i32,
    /// Text that goes with a code.
    pub remark: Option<String>,
    /// Header fields.
    pub fields: Fields,
    /// Bytes after the header. Shares the connection's read buffer: what is kept for long is to be copied.
    pub body: Bytes,
}

impl Frame {
    /// An answer, not a request of the server.
    pub fn is_response(&self) -> bool {
        self.flag & FLAG_RESPONSE != 0
    }

    /// The sender waits for no answer.
    pub fn is_one_way(&self) -> bool {
        self.flag & FLAG_ONE_WAY != 0
    }

    /// Takes one frame off the front of what was read; nothing while it is incomplete.
    pub fn decode(buffer: &mut BytesMut) -> Result<Option<Self>, FrameError> {
        let Some(prefix) = buffer.first_chunk::<4>() else { return Ok(None) };
        let stated = i32::from_be_bytes(*prefix);
        let length = match usize::try_from(stated) {
            Ok(length) if (4..=MAX_FRAME).contains(&length) => length,
            _ => return Err(FrameError::Length(stated)),
        };
        if buffer.len() < 4 + length {
            buffer.reserve(4 + length - buffer.len());
            return Ok(None);
        }
        buffer.advance(4);
        let mut frame = buffer.split_to(length).freeze();
        let mark = frame.get_u32();
        let header_length = (mark & 0x00ff_ffff) as usize;
        if header_length > frame.len() {
            return Err(FrameError::HeaderLength { header: header_length, frame: length });
        }
        let header = frame.split_to(header_length);
        match mark >> 24 {
            JSON => decode_json(&header, frame),
            BINARY => decode_binary(header, frame),
            form => Err(FrameError::Form(form)),
        }
        .map(Some)
    }
}

#[derive(Deserialize)]
struct JsonHeader {
    code: i32,
    #[serde(default)]
    opaque: i32,
    #[serde(default)]
    flag: i32,
    #[serde(default)]
    remark: Option<String>,
    #[serde(default, rename = "extFields")]
    fields: Option<Fields>,
}

fn decode_json(header: &[u8], body: Bytes) -> Result<Frame, FrameError> {
    let header: JsonHeader = serde_json::from_slice(header).map_err(|error| FrameError::Header(error.to_string()))?;
    let JsonHeader { code, opaque, flag, remark, fields } = header;
    Ok(Frame { code, opaque, flag, remark, fields: fields.unwrap_or_default(), body })
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Fields::default();
                while let Some((name, value)) = map.next_entry::<String, serde_json::Value>()? {
                    match value {
                        serde_json::Value::Null => {}
                        serde_json::Value::String(text) => fields.push(name, text),
                        other => fields.push(name, other.to_string()),
                    }
                }
                Ok(fields)
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

/// `i16 code | u8 language | i16 version | i32 opaque | i32 flag | i32 length, remark | i32 length, fields`.
fn decode_binary(mut header: Bytes, body: Bytes) -> Result<Frame, FrameError> {
    let code = i32::from(header.try_get_i16().map_err(cut)?);
    header.try_get_u8().map_err(cut)?;
    header.try_get_i16().map_err(cut)?;
    let opaque = header.try_get_i32().map_err(cut)?;
    let flag = header.try_get_i32().map_err(cut)?;
    let length = header.try_get_i32().map_err(cut)?;
    let remark = Some(text(&mut header, length)?).filter(|remark| !remark.is_empty());
    let length = header.try_get_i32().map_err(cut)?;
    let mut map = slice(&mut header, length)?;
    let mut fields = Fields::default();
    while map.has_remaining() {
        let length = i32::from(map.try_get_i16().map_err(cut)?);
        let name = text(&mut map, length)?;
        let length = map.try_get_i32().map_err(cut)?;
        fields.push(name, text(&mut map, length)?);
    }
    Ok(Frame { code, opaque, flag, remark, fields, body })
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn cut(error: bytes::TryGetError) -> FrameError {
    FrameError::Header(error.to_string())
}

fn slice(from: &mut Bytes, length: i32) -> Result<Bytes, FrameError> {
    match usize::try_from(length) {
        Ok(length) if length <= from.len() => Ok(from.split_to(length)),
        _ => Err(FrameError::Header(format!("a part of {length} bytes where {} are left", from.len()))),
    }
}

fn text(from: &mut Bytes, length: i32) -> Result<String, FrameError> {
    String::from_utf8(slice(from, length)?.into()).map_err(|error| FrameError::Header(error.to_string()))
}

#[cfg(test)]
mod tests;
