//! Brokers' requests over HTTP, word for word as each sends them, and their answers.

use std::net::SocketAddr;

use tokio::net::TcpListener;

use super::super::{
    hooks::{self, tests::posted},
    lmq::tests::{between, examples},
};
use crate::{logins::fixtures, presence::webhook::Doors, settings::Secret};

async fn listen(secret: Option<Secret>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let logins = std::sync::Arc::new(fixtures::logins());
    tokio::spawn(hooks::serve(listener, None, Doors::default(), logins, secret));
    address
}

const USER: &str = r#"{"clientid":"GID_Test@@@0001","username":"Signature|YYYYY|mqtt-xxxxx","password":"vI009IZJZVGRwBwZvnbwjfuXxVM="}"#;
const USER_FORM: &str = "clientid=GID_Test%40%40%400001&username=Signature%7CYYYYY%7Cmqtt-xxxxx&password=vI009IZJZVGRwBwZvnbwjfuXxVM%3D&protocol=5";

#[tokio::test]
async fn each_broker_is_answered_in_its_own_words() {
    let address = listen(None).await;
    let form = "content-type: application/x-www-form-urlencoded\r\n";
    let json = "content-type: application/json\r\n";
    let acl = |topic: &str, more: &str| {
        format!(r#"{{"clientid":"GID_Test@@@0001","username":"Signature|YYYYY|mqtt-xxxxx","topic":"{topic}",{more}}}"#)
    };
    let acl_form = |topic: &str, more: &str| {
        format!("{more}&username=Signature%7CYYYYY%7Cmqtt-xxxxx&clientid=GID_Test%40%40%400001&topic={topic}")
    };
    let wrong = USER.replace("0001", "0002");
    for (path, headers, body, status, words) in [
        ("/login/emqx/edge/user", json, USER.to_owned(), 200, r#"{"result":"allow","is_superuser":false}"#),
        ("/login/emqx/edge/user", json, wrong.clone(), 200, r#"{"result":"deny"}"#),
        ("/login/emqx/edge/acl", json, acl("TopicA/x", r#""action":"publish""#), 200, r#""result":"allow""#),
        ("/login/emqx/edge/acl", json, acl("TopicB/x", r#""action":"publish""#), 200, r#""result":"deny""#),
        ("/login/rmqtt/edge/user", form, USER_FORM.to_owned(), 200, r#""topic":"+/p2p/${clientid}""#),
        ("/login/rmqtt/edge/user", json, USER.to_owned(), 200, r#""result":"allow""#),
        ("/login/rmqtt/edge/user", form, USER_FORM.replace("0001", "0002"), 200, r#"{"result":"deny"}"#),
        ("/login/rmqtt/edge/acl", form, acl_form("TopicA%2Fx", "access=1"), 200, r#""result":"allow""#),
        ("/login/rmqtt/edge/acl", form, acl_form("TopicA%2F%23", "access=1"), 200, r#""result":"deny""#),
        // Its own P2P topics RMQTT itself knows.
        (
            "/login/rmqtt/edge/acl",
            json,
            acl("TopicA/p2p/GID_Test@@@0001", r#""access":"1""#),
            200,
            r#""result":"deny""#,
        ),
        ("/login/nanomq/edge/user", json, USER.to_owned(), 200, "allow"),
        ("/login/nanomq/edge/user", json, wrong.clone(), 403, "deny"),
        ("/login/nanomq/edge/superuser", json, USER.to_owned(), 403, "deny"),
        ("/login/nanomq/edge/acl", json, acl("TopicA/x,TopicA/y", r#""access":"1""#), 200, "allow"),
        ("/login/nanomq/edge/acl", json, acl("TopicA/x,TopicB/y", r#""access":"1""#), 403, "deny"),
        // It does not encode its forms.
        ("/login/nanomq/edge/user", form, USER_FORM.to_owned(), 403, "deny"),
        ("/login/nanomq/edge/acl", form, acl_form("TopicA%2Fx", "access=1"), 403, "deny"),
        ("/login/mosquitto/edge/user", json, USER.to_owned(), 200, r#"{"ok":true,"error":""}"#),
        ("/login/mosquitto/edge/user", json, wrong, 403, r#""ok":false"#),
        ("/login/mosquitto/edge/superuser", json, USER.to_owned(), 403, r#""ok":false"#),
        ("/login/mosquitto/edge/acl", json, acl("TopicA/x", r#""acc":4"#), 200, r#""ok":true"#),
        ("/login/mosquitto/edge/acl", json, acl("TopicA/p2p/GID_Test@@@0002", r#""acc":1"#), 403, r#""ok":false"#),
        ("/login/mosquitto/edge/acl", json, acl("TopicA/p2p/GID_Test@@@0002", r#""acc":2"#), 200, r#""ok":true"#),
    ] {
        let (given, text) = posted(address, path, headers, &body).await;
        assert!(given == status && text.contains(words), "{path} {body}: {given} {text}");
    }
}

#[tokio::test]
async fn every_line_of_the_document_prints_what_it_says() {
    let address = listen(None).await;
    let examples = examples(include_str!("../../../docs/login.md"));
    assert!(examples.len() > 5, "the lines were not found");
    for (typed, printed) in examples {
        assert!(typed.starts_with("curl -w ' %{http_code}\\n' http://127.0.0.1:8482/"), "{typed}");
        let (path, body) = (between(typed, "127.0.0.1:8482", " "), between(typed, " -d '", "'"));
        let (status, text) = posted(address, path, "", body).await;
        assert_eq!(format!("{text} {status}\n"), printed, "{typed}");
    }
}

#[tokio::test]
async fn nothing_but_a_permission_reads_as_one() {
    let address = listen(Some(Secret::new("s3cret"))).await;
    let key = "authorization: Bearer s3cret\r\n";
    for form in ["emqx", "rmqtt", "nanomq", "mosquitto"] {
        for (path, headers, body) in [
            ("edge/user", "", USER),
            ("edge/user", "authorization: Bearer s3cre\r\n", USER),
            ("other/user", key, USER),
            ("edge/acl", key, USER),
            ("edge/other", key, USER),
            ("edge/user", key, "{"),
            ("edge/user", key, ""),
            ("edge/user", key, &"x".repeat((1 << 20) + 1)),
        ] {
            let (status, text) = posted(address, &format!("/login/{form}/{path}"), headers, body).await;
            let refused = match form {
                "emqx" | "rmqtt" => status == 200 && text == r#"{"result":"deny"}"#,
                _ => status == 403,
            };
            assert!(refused, "{form} {path} {headers:?}: {status} {text}");
        }
        let (status, _) = posted(address, &format!("/login/{form}/edge/user"), key, USER).await;
        assert_eq!(status, 200);
    }
    for path in ["/login/vernemq/edge/user", "/login/emqx/user", "/login"] {
        assert_eq!(posted(address, path, key, USER).await.0, 404, "{path}");
    }
}

#[tokio::test]
async fn a_token_that_a_client_sends_is_taken_from_who_may_tell_of_it() {
    let address = listen(Some(Secret::new("s3cret"))).await;
    let key = "authorization: Bearer s3cret\r\n";
    let upload =
        r#"{"clientid":"GID_Test@@@0001","topic":"$SYS/uploadToken","payload":"{\"token\":\"x\",\"type\":\"R\"}"}"#;
    for (path, headers, body, status) in [
        ("emqx/edge", key, upload, 200),
        ("emqx/edge", key, r#"{"topic":"a/b"}"#, 200),
        ("emqx/edge", "", upload, 401),
        ("emqx/other", key, upload, 404),
        ("none/edge", key, upload, 404),
        ("emqx/edge", key, "{", 400),
        ("rmqtt/edge", key, upload, 400),
    ] {
        let (given, text) = posted(address, &format!("/login/{path}/token"), headers, body).await;
        assert_eq!(given, status, "{path} {body}: {text}");
    }
}
