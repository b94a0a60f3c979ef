use proptest::prelude::*;

use super::*;

fn encoded(request: &Request, opaque: i32) -> BytesMut {
    let mut out = BytesMut::new();
    request.encode_head(opaque, false, &mut out);
    out.put_slice(&request.body);
    out
}

fn binary_frame(fields: &[(&str, &str)], remark: &str, body: &[u8]) -> BytesMut {
    let mut map = BytesMut::new();
    for (name, value) in fields {
        map.put_i16(i16::try_from(name.len()).unwrap());
        map.put_slice(name.as_bytes());
        map.put_i32(i32::try_from(value.len()).unwrap());
        map.put_slice(value.as_bytes());
    }
    let mut header = BytesMut::new();
    header.put_i16(17);
    header.put_u8(0);
    header.put_i16(479);
    header.put_i32(7);
    header.put_i32(1);
    header.put_i32(i32::try_from(remark.len()).unwrap());
    header.put_slice(remark.as_bytes());
    header.put_i32(i32::try_from(map.len()).unwrap());
    header.put_slice(&map);
    let mut out = BytesMut::new();
    out.put_u32(length_field(4 + header.len() + body.len()));
    out.put_u32(BINARY << 24 | length_field(header.len()));
    out.put_slice(&header);
    out.put_slice(body);
    out
}

#[test]
fn an_incomplete_frame_waits_for_the_rest() {
    let whole = encoded(&Request::new(105).text("topic", "t").body("body"), 3);
    for cut in 0..whole.len() {
        let mut part = BytesMut::from(&whole[..cut]);
        assert_eq!(Frame::decode(&mut part), Ok(None), "{cut}");
        part.extend_from_slice(&whole[cut..]);
        assert_eq!(Frame::decode(&mut part).unwrap().unwrap().body, "body");
    }
}

#[test]
fn lengths_that_lie_are_errors() {
    for (bytes, error) in [
        (&[0xff, 0xff, 0xff, 0xff, 0][..], FrameError::Length(-1)),
        (&[0, 0, 0, 3, 0, 0, 0], FrameError::Length(3)),
        (&[0x01, 0x00, 0x00, 0x01], FrameError::Length(0x0100_0001)),
        (&[0, 0, 0, 4, 0, 0, 0, 1], FrameError::HeaderLength { header: 1, frame: 4 }),
        (&[0, 0, 0, 4, 9, 0, 0, 0], FrameError::Form(9)),
    ] {
        assert_eq!(Frame::decode(&mut BytesMut::from(bytes)), Err(error), "{bytes:?}");
    }
}

#[test]
fn binary_headers_are_read() {
    let mut bytes = binary_frame(&[("msgId", "7F"), ("queueId", "3")], "why", b"rest");
    let frame = Frame::decode(&mut bytes).unwrap().unwrap();
    assert_eq!((frame.code, frame.opaque, frame.is_response()), (17, 7, true));
    assert_eq!(frame.remark.as_deref(), Some("why"));
    assert_eq!(frame.fields.number::<i32>("queueId"), Some(3));
    assert_eq!(frame.body, "rest");
}

#[test]
fn null_and_number_fields_of_json_headers_are_read() {
    let header = br#"{"code":0,"extFields":{"a":null,"b":5,"c":"x"},"flag":1,"opaque":9,"language":"JAVA"}"#;
    let mut bytes = BytesMut::new();
    bytes.put_u32(length_field(4 + header.len()));
    bytes.put_u32(length_field(header.len()));
    bytes.put_slice(header);
    let frame = Frame::decode(&mut bytes).unwrap().unwrap();
    assert_eq!(frame.fields.iter().collect::<Vec<_>>(), [("b", "5"), ("c", "x")]);
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(
        code in any::<i32>(), opaque in any::<i32>(), fields in prop::collection::vec((".*", ".*"), 0..6),
        body in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut request = Request::new(code).body(body);
        for (name, value) in fields {
            request.fields.push(name, value);
        }
        let mut bytes = encoded(&request, opaque);
        let frame = Frame::decode(&mut bytes).unwrap().unwrap();
        prop_assert_eq!((frame.code, frame.opaque, frame.fields, frame.body), (code, opaque, request.fields, request.body));
        prop_assert!(bytes.is_empty());
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), form in 0u8..3) {
        let mut framed = BytesMut::new();
        framed.put_u32(length_field(4 + bytes.len()));
        framed.put_u32(u32::from(form) << 24 | length_field(bytes.len() / 2));
        framed.put_slice(&bytes);
        let _ = Frame::decode(&mut framed);
    }

    #[test]
    fn damaged_binary_headers_never_panic(at in 8usize..60, value in any::<u8>()) {
        let mut bytes = binary_frame(&[("msgId", "7F"), ("queueId", "3")], "why", b"rest");
        let at = at.min(bytes.len() - 1);
        bytes[at] = value;
        let _ = Frame::decode(&mut bytes);
    }
}
