use proptest::prelude::*;

use super::*;

fn key() -> TokenKey {
    TokenKey::new(&Secret::new("a secret that all replicas share"))
}

fn grant() -> Grant {
    Grant {
        id: TokenId([7; 16]),
        access_key: "YYYYY".to_owned(),
        instance: "mqtt-xxxxx".to_owned(),
        resources: vec!["TopicA/#".to_owned(), "TopicB/+".to_owned()],
        read: true,
        write: false,
        expires: 1_566_003_600_000,
    }
}

#[test]
fn a_token_says_what_it_grants_to_whoever_has_the_secret() {
    let token = key().seal(&grant()).unwrap();
    assert_eq!(key().open(&token), Some(grant()));
    assert_eq!(TokenKey::new(&Secret::new("another")).open(&token), None);
    assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'), "{token}");
}

/// Tokens live for 30 days: a version that reads them otherwise than the one that made them cuts every client.
#[test]
fn the_format_of_tokens_stays_as_it_is() {
    // Made by another program, from the description of the format.
    let token = "AQcHBwcHBwcHBwcHBwcHBwcAAAFsnRaagAEFWVlZWVkKbXF0dC14eHh4eAIIVG9\
        waWNBLyMIVG9waWNCLyshFO9UCMNQ6v9c1c8CA-AcsQBc0qHQcXNoi6u4pchxlQ";
    assert_eq!(key().seal(&grant()).unwrap(), token);
}

#[test]
fn another_version_is_no_token_of_ours() {
    let mut bytes = BASE64_URL_SAFE_NO_PAD.decode(key().seal(&grant()).unwrap()).unwrap();
    bytes.truncate(bytes.len() - SEAL);
    bytes[0] = 2;
    let seal = key().mac(PURPOSE, &bytes).finalize().into_bytes();
    bytes.extend_from_slice(&seal);
    assert_eq!(key().open(&BASE64_URL_SAFE_NO_PAD.encode(bytes)), None);
}

#[test]
fn the_longest_grant_fits_and_a_longer_one_has_no_token() {
    let longest = |length: usize| Grant { resources: vec!["x".repeat(length); MAX_RESOURCES], ..grant() };
    let all = Grant { access_key: "k".repeat(MAX_TEXT), instance: "i".repeat(MAX_TEXT), ..longest(81) };
    let token = key().seal(&all).unwrap();
    assert!(token.len() <= MAX_TOKEN, "{}", token.len());
    assert_eq!(key().open(&token), Some(all));
    assert_eq!(key().seal(&longest(82)), None);
    assert_eq!(key().seal(&Grant { resources: vec!["x".into(); MAX_RESOURCES + 1], ..grant() }), None);
    assert_eq!(key().seal(&Grant { access_key: "k".repeat(MAX_TEXT + 1), ..grant() }), None);
}

#[test]
fn a_signature_for_one_purpose_is_none_for_another() {
    let signature = key().sign(b"one\0", b"text");
    assert!(key().verifies(b"one\0", b"text", &signature));
    assert!(!key().verifies(b"two\0", b"text", &signature));
    assert!(!key().verifies(b"one\0", b"other", &signature));
    assert!(!key().verifies(b"one\0", b"text", ""));
}

#[test]
fn an_id_is_read_as_it_is_shown() {
    let id = TokenId([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 255]);
    assert_eq!(id.to_string(), "000102030405060708090a0b0c0d0eff");
    assert_eq!(id.to_string().parse(), Ok(id));
    for wrong in ["", "0001", "+00102030405060708090a0b0c0d0eff", "000102030405060708090a0b0c0d0effff"] {
        assert!(wrong.parse::<TokenId>().is_err(), "{wrong}");
    }
}

#[test]
fn a_type_covers_what_it_stands_for() {
    assert_eq!(Kind::from_text("RW"), Some(Kind::Both));
    assert_eq!(Kind::from_text("WR"), None);
    assert!(Kind::Both.covers(Kind::Read) && !Kind::Read.covers(Kind::Both) && !Kind::Read.covers(Kind::Write));
    assert!(grant().allows(Kind::Read) && !grant().allows(Kind::Write) && !grant().allows(Kind::Both));
}

prop_compose! {
    fn any_grant()(
        id in any::<[u8; 16]>(),
        access_key in "\\PC{0,20}",
        instance in "\\PC{0,20}",
        resources in prop::collection::vec("\\PC{0,20}", 0..5),
        (read, write) in any::<(bool, bool)>(),
        expires in any::<u64>(),
    ) -> Grant {
        Grant { id: TokenId(id), access_key, instance, resources, read, write, expires }
    }
}

proptest! {
    #[test]
    fn every_grant_comes_back(grant in any_grant()) {
        prop_assert_eq!(key().open(&key().seal(&grant).unwrap()), Some(grant));
    }

    #[test]
    fn no_changed_token_is_one(grant in any_grant(), at in any::<prop::sample::Index>(), to in "[A-Za-z0-9_-]") {
        let token = key().seal(&grant).unwrap();
        let at = at.index(token.len());
        let changed = [&token[..at], &to, &token[at + 1..]].concat();
        prop_assert_eq!(key().open(&changed), (changed == token).then_some(grant));
    }

    #[test]
    fn no_part_of_a_token_is_one(grant in any_grant(), at in any::<prop::sample::Index>(), more in "[A-Za-z0-9_-]{1,8}") {
        let token = key().seal(&grant).unwrap();
        prop_assert_eq!(key().open(&token[..at.index(token.len())]), None);
        prop_assert_eq!(key().open(&[&token[..], &more].concat()), None);
    }

    #[test]
    fn nothing_makes_it_panic(text in "\\PC{0,200}") {
        prop_assert_eq!(key().open(&text), None);
    }
}
