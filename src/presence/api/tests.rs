use std::{fs, sync::Arc};

use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::{
    fake::{Act, act, emqx, ok, serve, status},
    *,
};
use crate::settings::{HttpUrl, Secret, ServerFiles, TlsFiles};

const QUICK: Bounds = Bounds { request: Duration::from_millis(500), list: Duration::from_secs(5), answer: 64 << 10 };
/// A certificate of `localhost` that is its own authority, and its key. Made for a test, and trusted nowhere.
const LOCALHOST: &str = include_str!("../../http/tls/localhost.pem");

#[tokio::test]
async fn emqx_is_asked_with_its_api_key() {
    let (mut api, mut heads) = serve(|_| emqx(&[("c1", 1)], false)).await;
    api.login = Some(ApiLogin::Basic { username: "key".into(), password: Secret::new("secret") });
    let clients = clients(&api, Adapter::Emqx).await.unwrap();
    assert_eq!(clients[0].client_id, "c1");
    let head = heads.recv().await.unwrap();
    assert!(head.starts_with("GET /api/v5/clients?conn_state=connected&page=1&limit=5000&"), "{head}");
    for line in [&format!("host: 127.0.0.1:{}\r\n", api.url.port), "authorization: Basic a2V5OnNlY3JldA==\r\n"] {
        assert!(head.contains(line), "{head}");
    }
}

#[tokio::test]
async fn rmqtt_is_asked_with_its_token_step_by_step() {
    let (mut api, mut heads) = serve(|head| {
        ok(if head.starts_with("GET /api/v1/brokers ") {
            r#"[{"node_id":1,"datetime":"2026-01-01 00:00:00"}]"#
        } else if head.starts_with("GET /api/v1/plugins/1/rmqtt-http-api/config ") {
            r#"{"max_row_limit":10000}"#
        } else {
            r#"[{"clientid":"a","connected":true,"connected_at":"2026-01-01 00:00:00","ip_address":"10.0.0.1","port":5}]"#
        })
    })
    .await;
    api.login = Some(ApiLogin::Bearer(Secret::new("t")));
    let clients = clients(&api, Adapter::Rmqtt).await.unwrap();
    assert_eq!((clients.len(), clients[0].peer.as_str()), (1, "10.0.0.1:5"));
    for path in ["/brokers ", "/plugins/1/", "/clients?connected=true&_limit=10000&", "/brokers "] {
        let head = heads.recv().await.unwrap();
        assert!(
            head.starts_with(&format!("GET /api/v1{path}")) && head.contains("authorization: Bearer t\r\n"),
            "{head}"
        );
    }
}

#[tokio::test]
async fn a_long_list_comes_in_parts() {
    let (api, mut heads) = serve(|head| match head.contains("gte_connected_at=0&lte_connected_at=253402300799000 ") {
        true => emqx(&[("a", 10), ("b", 20), ("c", 30)], true),
        false if head.contains("gte_connected_at=0&") => emqx(&[("a", 10)], false),
        false => emqx(&[("b", 20), ("c", 30)], false),
    })
    .await;
    let clients = clients(&api, Adapter::Emqx).await.unwrap();
    assert_eq!(clients.len(), 3);
    drop(api);
    let mut asked = 0;
    while asked < 3 && heads.recv().await.is_some() {
        asked += 1;
    }
    assert!(heads.try_recv().is_err());
}

#[tokio::test]
async fn what_is_no_list_is_an_error_that_says_why() {
    for (does, said) in [
        (status("401 Unauthorized"), "`/api/v5/clients` is answered with 401 Unauthorized: look at the login"),
        (status("404 Not Found"), "404 Not Found: is this the broker's HTTP interface?"),
        (status("503 Service Unavailable"), "is answered with 503 Service Unavailable"),
        (status("302 Found"), "is answered with 302"),
        (ok("<html>"), "not a list"),
        (Act::Says("MQTT\r\n\r\n".into()), "HTTP: "),
        (Act::Says(String::new()), "HTTP: "),
        (Act::Says("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{".into()), "an answer breaks off"),
        (Act::GoesOn(4096, Duration::ZERO), "an answer is longer than 65536 bytes"),
        (Act::GoesOn(1, Duration::from_millis(50)), "no answer within 500ms"),
        (Act::IsSilent, "no answer within 500ms"),
    ] {
        let (api, _heads) = serve(move |_| does.clone()).await;
        let error = within(&api, Adapter::Emqx, QUICK).await.unwrap_err().to_string();
        assert!(error.contains(said), "{error} instead of {said}");
    }
}

#[tokio::test]
async fn requests_come_to_an_end_together() {
    // Each answer is quick, and asks for another request.
    let (api, _heads) = serve(|_| {
        std::thread::sleep(Duration::from_millis(50));
        emqx(&[("a", 1 << 40), ("b", 1 << 41)], true)
    })
    .await;
    let bounds = Bounds { list: Duration::from_millis(300), ..QUICK };
    let error = within(&api, Adapter::Emqx, bounds).await.unwrap_err();
    assert!(matches!(error, ApiError::Late(time) if time == bounds.list), "{error}");
}

#[tokio::test]
async fn nobody_listens_and_no_list_is_known() {
    let (mut api, _heads) = serve(|_| Act::IsSilent).await;
    assert!(matches!(clients(&api, Adapter::Mosquitto).await, Err(ApiError::NoList)));
    api.url.port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    assert!(matches!(clients(&api, Adapter::Emqx).await, Err(ApiError::Connect(_))));
}

#[tokio::test]
async fn an_encrypted_interface_is_verified() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("localhost.pem");
    fs::write(&path, LOCALHOST).unwrap();
    let config = tls::server_config(&ServerFiles { certificate: path.clone(), key: path.clone() }).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let acceptor = TlsAcceptor::from(Arc::clone(&config));
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(stream) = acceptor.accept(stream).await {
                act(stream, |_| emqx(&[("c1", 1)], false)).await;
            }
        }
    });
    let url = HttpUrl { encrypted: true, host: "localhost".into(), port };
    let trust = TlsFiles { ca: Some(path), ..TlsFiles::default() };
    let mut api = BrokerApi { url, login: None, tls: trust };
    assert_eq!(clients(&api, Adapter::Emqx).await.unwrap().len(), 1);
    api.tls.server_name = Some("elsewhere".into());
    assert!(matches!(clients(&api, Adapter::Emqx).await, Err(ApiError::Tls(_))));
}
