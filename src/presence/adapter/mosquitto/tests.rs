//! Every wording of Mosquitto 1.5 to 2.1, and client ids that look like one.

use proptest::prelude::*;

use super::{super::tests, *};

const RECEIVED: u64 = 7;

fn on(topic: &str, line: &str) -> Reading {
    from_publish(topic, line.as_bytes(), RECEIVED)
}

/// What a line of the notices says.
fn said(line: &str) -> Vec<Said> {
    on(NOTICES, line).unwrap_or_else(|error| panic!("{line}: {error}"))
}

fn came(client_id: &str, peer: &str) -> Vec<Said> {
    vec![tests::came(client_id, RECEIVED, peer, Identity::Latest)]
}

fn left(client_id: &str, end: End) -> Vec<Said> {
    vec![tests::left(client_id, RECEIVED, "", Identity::Latest, end)]
}

fn left_from(client_id: &str, peer: &str, end: End) -> Vec<Said> {
    vec![tests::left(client_id, RECEIVED, peer, Identity::Peer, end)]
}

/// Lines of a new connection: `<id>` and `<peer>` stand for what is put in.
const CONNECTS: [&str; 6] = [
    "New client connected from <peer> as <id> (p2, c1, k60, u'user').",
    "New client connected from <peer> as <id> (p5, c0, k65535).",
    "New client connected from <peer> as <id> (c1, k60, u'user').",
    "New client connected from <peer> as <id> (c0, k0).",
    "New bridge connected from <peer> as <id> (p132, c0, k60, u'user').",
    "New bridge connected from <peer> as <id> (c0, k60).",
];

/// Lines of an end up to 2.1.0.
const ENDS_BY_ID: [(&str, End); 34] = [
    ("Client <id> disconnected.", End::Clean),
    ("Client <id> closed its connection.", End::Lost),
    ("Client <id> disconnected: Connection reset by peer.", End::Lost),
    ("Client <id> disconnected: Broken pipe.", End::Lost),
    ("Client <id> has exceeded timeout, disconnecting.", End::Lost),
    ("Bad socket read/write on client <id>: The connection was lost.", End::Lost),
    ("Bad socket read/write on client <id>: Malformed UTF-8", End::Lost),
    ("Bad socket read/write on client <id>, disconnecting.", End::Lost),
    ("Socket error on client <id>, disconnecting.", End::Lost),
    ("Client <id> disconnected due to malformed packet.", End::Lost),
    ("Client <id> disconnected due to protocol error.", End::Lost),
    ("Client <id> disconnected due to oversize packet.", End::Lost),
    ("Client <id> disconnected due to oversize payload.", End::Lost),
    ("Client <id> disconnected due to out of memory.", End::Lost),
    ("Client <id> disconnected due to QoS too high or retain not supported.", End::Lost),
    (
        "Client <id> disconnected due to using not allowed feature (QoS too high, retain not supported, or bad AUTH \
         method).",
        End::Lost,
    ),
    ("Client <id> disconnected due to exceeding the receive maximum.", End::Lost),
    ("Client <id> been disconnected by administrative action.", End::Lost),
    ("Client <id> disconnected, no longer authorised.", End::Lost),
    ("Client <id> disconnected, session taken over.", End::TakenOver),
    ("Client <id> disconnected, implementation specific error.", End::Lost),
    ("Client <id> disconnected, client identifier not valid.", End::Lost),
    ("Client <id> disconnected, bad username or password.", End::Lost),
    ("Client <id> disconnected, server unavailable.", End::Lost),
    ("Client <id> disconnected, server busy.", End::Lost),
    ("Client <id> disconnected, client banned.", End::Lost),
    ("Client <id> disconnected, bad authentication method.", End::Lost),
    ("Client <id> disconnected, quota exceeded.", End::Lost),
    ("Client <id> disconnected, connection rate exceeded.", End::Lost),
    ("Client <id> disconnected, topic alias invalid.", End::Lost),
    ("Client <id> disconnected, non-matching http origin.", End::Lost),
    // What some errno say is longer than these.
    ("Client <id> disconnected: No route to host.", End::Lost),
    ("Client <id> disconnected: Connection timed out.", End::Lost),
    ("Client <id> disconnected: Success.", End::Lost),
];

/// What follows `Client <id> [<peer>] disconnected` since 2.1.1.
const ENDS_BY_PEER: [(&str, End); 27] = [
    (".", End::Clean),
    (": connection closed by client.", End::Lost),
    (": Connection reset by peer.", End::Lost),
    (": exceeded timeout.", End::Lost),
    (": bad socket read/write: The connection was lost.", End::Lost),
    (": bad socket read/write: Malformed UTF-8", End::Lost),
    (": malformed packet.", End::Lost),
    (": protocol error.", End::Lost),
    (": not authorised.", End::Lost),
    (": oversize packet.", End::Lost),
    (": oversize payload.", End::Lost),
    (": out of memory.", End::Lost),
    (": used disallowed feature (QoS too high, retain not supported, or bad AUTH method).", End::Lost),
    (": administrative action.", End::Lost),
    (": session taken over.", End::TakenOver),
    (": receive maximum exceeded.", End::Lost),
    (": implementation specific error.", End::Lost),
    (": client identifier not valid.", End::Lost),
    (": bad username or password.", End::Lost),
    (": server unavailable.", End::Lost),
    (": server busy.", End::Lost),
    (": client banned.", End::Lost),
    (": bad authentication method.", End::Lost),
    (": quota exceeded.", End::Lost),
    (": connection rate exceeded.", End::Lost),
    (": topic alias invalid.", End::Lost),
    (": non-matching http origin.", End::Lost),
];

const PEERS: [&str; 6] =
    ["10.0.0.1:50322", "::1:50322", "fe80::a:b:1883", "127.0.0.1", "/run/mosquitto.sock:0", "(null):0"];

/// Ids that are hard to tell from the words around them.
const HARD_IDS: [&str; 16] = [
    "GID_plant@@@press/7",
    "a disconnected",
    "a disconnected.",
    "a disconnected: Broken pipe.",
    "a disconnected:",
    "a closed its connection.",
    "a has exceeded timeout, disconnecting.",
    "a, disconnecting.",
    "a (p2, c1, k60",
    "a (p2, c1, k60, u'b').",
    "a [10.0.0.1:7] disconnected.",
    "[::1]",
    "b as c: d",
    "1600000000: Client x",
    "quo'te\"s \u{e9}\u{1f600}",
    " ",
];

fn all_wordings_keep(client_id: &str) {
    for line in CONNECTS {
        for peer in PEERS {
            let line = line.replace("<peer>", peer).replace("<id>", client_id);
            assert_eq!(said(&line), came(client_id, peer), "{line}");
        }
    }
    for (line, end) in ENDS_BY_ID {
        let line = line.replace("<id>", client_id);
        assert_eq!(said(&line), left(client_id, end), "{line}");
    }
    for (words, end) in ENDS_BY_PEER {
        let line = format!("Client {client_id} [10.0.0.1:50322] disconnected{words}");
        assert_eq!(said(&line), left_from(client_id, "10.0.0.1:50322", end), "{line}");
    }
    let taken = on(ERRORS, &format!("Client {client_id} already connected, closing old connection."));
    assert_eq!(taken, Ok(left(client_id, End::TakenOver)));
}

#[test]
fn every_wording_gives_the_whole_client_id() {
    all_wordings_keep("plain");
    for id in HARD_IDS {
        all_wordings_keep(id);
    }
}

#[test]
fn the_time_before_a_line_is_read_where_it_is_a_point_in_time() {
    let line = "Client a: b disconnected.";
    for (prefix, at) in [
        ("", RECEIVED),
        ("1795702478: ", 1_795_702_478_000),
        ("2026-11-26T13:46:36: ", RECEIVED),
        ("[2026-11-26 13:46:36.123]: ", RECEIVED),
        ("18446744073709551615: ", RECEIVED),
    ] {
        let said = on(NOTICES, &format!("{prefix}{line}")).unwrap();
        let [Said::Disconnected(left)] = &said[..] else { panic!("{prefix}: {said:?}") };
        assert_eq!((left.client_id.as_str(), left.at), ("a: b", at), "{prefix}");
    }
}

#[test]
fn lines_of_a_real_mosquitto_2_0_11_are_read() {
    for (line, expected) in [
        ("New connection from ::1:44994 on port 21883.", vec![Said::Opened("::1:44994".to_owned())]),
        (
            "New client connected from ::1:44994 as six disconnected (p2, c1, k60, u'u').",
            came("six disconnected", "::1:44994"),
        ),
        ("Client six disconnected disconnected.", left("six disconnected", End::Clean)),
        (
            "New client connected from 127.0.0.1:49924 as GID_a@@@x (p2, c1, k60 (p2, c1, k60).",
            came("GID_a@@@x (p2, c1, k60", "127.0.0.1:49924"),
        ),
        ("Client GID_a@@@x (p2, c1, k60 disconnected.", left("GID_a@@@x (p2, c1, k60", End::Clean)),
        ("Client <unknown> disconnected, not authorised.", vec![]),
        ("Client <unknown> closed its connection.", vec![]),
        ("Client ka has exceeded timeout, disconnecting.", left("ka", End::Lost)),
        ("Client bad disconnected due to protocol error.", left("bad", End::Lost)),
    ] {
        assert_eq!(said(line), expected, "{line}");
    }
}

#[test]
fn a_refused_login_ends_no_connection_but_its_own() {
    assert_eq!(said("Client a disconnected, not authorised."), []);
    assert_eq!(
        said("Client a [10.0.0.1:7] disconnected: not authorised."),
        left_from("a", "10.0.0.1:7", End::Lost),
        "no connection of `a` began there"
    );
}

#[test]
fn what_is_in_brackets_names_a_connection_only_if_it_can_be_a_peer() {
    for id in ["a [b]", "a [b:c]", "a [:1]", "a [b c:1]", "a [1.2.3.4:65536]", "a[1.2.3.4:5]", "[1.2.3.4:5]"] {
        assert_eq!(said(&format!("Client {id} disconnected.")), left(id, End::Clean));
    }
    assert_eq!(said("Client  [1.2.3.4:5] disconnected."), [], "no id");
}

#[test]
fn other_lines_say_nothing() {
    for line in [
        "",
        "mosquitto version 2.0.11 starting",
        "Expiring client a due to timeout.",
        "Expiring persistent client a due to timeout.",
        "Bad client a sending multiple CONNECT messages.",
        "Client a negotiated TLSv1.3 cipher TLS_AES_256_GCM_SHA384",
        "Client connection from 10.0.0.1 denied: max_connections exceeded.",
        "Client connection from 10.0.0.1 denied access by tcpd.",
        "Client from 10.0.0.1:7 appears to be using TLS to connect to a non-TLS listener.",
        "Outgoing messages are being dropped for client a: Client b disconnected.",
        "Client a already connected, closing old connection.",
    ] {
        assert_eq!(said(line), [], "{line}");
        assert_eq!(said(&format!("1795702478: {line}")), [], "{line}");
    }
    for line in
        ["Client a disconnected.", "Protocol error from a: Client b disconnected: c: password without username."]
    {
        assert_eq!(on(ERRORS, line), Ok(vec![]), "{line}");
    }
    for topic in ["$SYS/broker/log/I", "$SYS/broker/log/M/subscribe", "$SYS/broker/clients/total", "a"] {
        assert_eq!(on(topic, "Client a disconnected."), Ok(vec![]), "{topic}");
    }
}

#[test]
fn a_line_that_was_cut_is_read_as_far_as_its_client_id_is_whole() {
    let connect =
        |user: &str| format!("1795702478: New client connected from 10.0.0.1:7 as a b (p2, c1, k60, u'{user}').");
    let cut = |line: &str| from_publish(NOTICES, &line.as_bytes()[..line.len().min(999)], RECEIVED);
    // The last two bytes that are left are half a character.
    for user in ["u".repeat(2000), "\u{1f600}".repeat(500)] {
        let said = cut(&connect(&user)).unwrap();
        let [Said::Connected(came)] = &said[..] else { panic!("{said:?}") };
        assert_eq!((came.client_id.as_str(), came.at), ("a b", 1_795_702_478_000));
    }
    let long = "x".repeat(2000);
    for line in [
        format!("New client connected from 10.0.0.1:7 as {long} (p2, c1, k60)."),
        format!("Client {long} disconnected."),
        format!("Bad socket read/write on client {long}: The connection was lost."),
        format!("Socket error on client {long}, disconnecting."),
    ] {
        assert!(cut(&line).is_err(), "{line}");
    }
    assert!(on(ERRORS, &format!("Client {long} already")).is_err());
    assert!(on(NOTICES, "New client connected from 10.0.0.1:7 as a (p2, c1").is_err(), "too short to have been cut");
    assert!(from_publish(NOTICES, b"Client \xff disconnected.", RECEIVED).is_err());
}

#[test]
fn the_uptime_is_read() {
    assert_eq!(on(UPTIME, "123 seconds"), Ok(vec![Said::Uptime(123)]));
    for text in ["", "123", "-1 seconds", "x seconds"] {
        assert!(on(UPTIME, text).is_err(), "{text}");
    }
}

/// Client ids of printable characters, and of pieces of the lines that they stand in.
fn client_id() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "\\PC{1,12}",
        prop::sample::select(vec![
            " disconnected",
            ".",
            ": ",
            ", ",
            " (p2",
            ", c1, k60",
            ", u'x",
            "').",
            " as ",
            " [::1:7",
            "]",
            "Client ",
            "@@@",
        ])
        .prop_map(str::to_owned),
    ];
    prop::collection::vec(piece, 1..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_client_id_comes_back_whole(id in client_id()) {
        // With the exceptions that the module names.
        prop_assume!(split_peer(&id).is_none() && id != "<unknown>");
        all_wordings_keep(&id);
    }
}
