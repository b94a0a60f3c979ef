//! Our frames beside those that Apache's Java client writes for the same requests.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};

use super::{
    acl,
    batch::put_entry,
    code,
    frame::{Frame, Request},
    route::route_request,
    send::{Destination, send_batch, send_one},
};

const FRAMES: &str = include_str!("golden/frames.txt");
const TO: Destination =
    Destination { group: "GID_rocketbridge_telemetry", topic: "plant", queue: 3, born: 1_772_323_201_000 };
const KEYS: [&str; 2] = ["C0A800011234DEADBEEF000003E80000", "C0A800011234DEADBEEF000003E80001"];

fn java(name: &str) -> Frame {
    let line = FRAMES.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).expect(name);
    let bytes = line.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16));
    let mut bytes: BytesMut = bytes.map(Result::unwrap).collect::<Vec<u8>>()[..].into();
    Frame::decode(&mut bytes).unwrap().unwrap()
}

fn map<'f>(fields: impl Iterator<Item = (&'f str, &'f str)>) -> BTreeMap<&'f str, &'f str> {
    fields.collect()
}

fn entries(count: usize) -> Bytes {
    let mut out = BytesMut::new();
    for (body, key) in [&b"21.5"[..], &[0, 1, 2, 255]].into_iter().zip(KEYS).take(count) {
        put_entry(&mut out, body, [("UNIQ_KEY", key), ("WAIT", "true")]).unwrap();
    }
    out.freeze()
}

/// Java names a default topic from which brokers create missing ones. We name none: the topic itself.
fn same_send(ours: &Request, java: &Frame) {
    let mut expected = map(java.fields.iter());
    expected.insert("c", "plant");
    assert_eq!(map(ours.fields.iter()), expected);
    assert_eq!((ours.code, &ours.body), (java.code, &java.body));
}

#[test]
fn a_batch_is_the_java_clients() {
    same_send(&send_batch(TO, entries(2)), &java("batch"));
}

#[test]
fn a_single_send_is_the_java_clients() {
    same_send(&send_one(TO, entries(1)), &java("single"));
}

#[test]
fn a_route_query_is_the_java_clients() {
    let (ours, java) = (route_request("plant"), java("route"));
    assert_eq!((ours.code, map(ours.fields.iter())), (java.code, map(java.fields.iter())));
}

#[test]
fn a_signature_is_the_java_clients() {
    let java = java("signed");
    let mut ours = Request::new(code::request::SEND_BATCH_MESSAGE).body(java.body.clone());
    for (name, value) in java.fields.iter().filter(|(name, _)| !["AccessKey", "Signature"].contains(name)) {
        ours.fields.push(name.to_owned(), value.to_owned());
    }
    acl::sign(&mut ours, "rocketbridge", "12345678 ü");
    assert_eq!(map(ours.fields.iter()), map(java.fields.iter()));
}

#[test]
fn answers_in_both_header_forms_are_read_alike() {
    let (json, binary) = (java("json-answer"), java("binary-answer"));
    assert_eq!((json.code, json.opaque, json.is_response()), (17, 9, true));
    assert_eq!((json.remark.as_deref(), &json.body[..]), (Some("topic[x] not exist"), &b"rest"[..]));
    assert_eq!(map(json.fields.iter()), BTreeMap::from([("queueId", "3"), ("msgId", "7F000001")]));
    assert_eq!(map(binary.fields.iter()), map(json.fields.iter()));
    assert_eq!((binary.code, binary.opaque, binary.flag), (json.code, json.opaque, json.flag));
    assert_eq!((binary.remark, binary.body), (json.remark, json.body));
}
