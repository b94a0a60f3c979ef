//! A disk without room. It needs no server but the bridge.

use std::time::Duration;

use super::service::{CREDENTIALS, Service, settings};
use crate::servers::{bridge::Bridge, free_port};

/// KiB that a file may have: some more than the database takes at first.
const ROOM: u64 = 2048;
/// Resources that make a token large: some 200 bytes each.
const RESOURCES: usize = 30;

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_makes_and_revokes_nothing_says_so_and_forgets_nothing() {
    let port = free_port();
    let mut bridge = Bridge::new(&format!("[mqtt.edge]\nurl = \"mqtt://127.0.0.1:1\"\n{}", settings(None)), "");
    bridge.credentials(CREDENTIALS);
    bridge.set("ROCKETBRIDGE__HTTP__LMQ", &format!("127.0.0.1:{port}"));
    bridge.limit(Some(ROOM));
    bridge.run();
    bridge.ready().await;
    let service = Service { port };
    let long: Vec<String> = (0..RESOURCES).map(|number| format!("TopicA/{number:0>200}")).collect();
    let long = long.join(",");
    let mut made = Vec::new();
    let refused = loop {
        match service.try_apply(&long, "R", 3600).await {
            Ok(token) => made.push(token),
            Err(refused) => break refused,
        }
        assert!(made.len() < 2000, "the disk has no end");
    };
    assert!(!made.is_empty());
    assert_eq!(refused["code"], 409, "{refused}");
    let message = refused["message"].as_str().unwrap();
    assert!(message.starts_with("the token was not made: cannot write to `data_dir`: "), "{message}");
    assert_eq!(service.query(&made[0]).await, 200);

    // A revocation needs less room, and may still find some; sooner or later it does not.
    let mut revoked = 0;
    while revoked < made.len() && service.revoke(&made[revoked]).await == 200 {
        revoked += 1;
    }
    assert!(revoked < made.len(), "there is room for all {revoked}");
    assert_eq!(service.revoke(&made[revoked]).await, 410);
    assert_eq!(service.query(&made[revoked]).await, 200, "it was not revoked");
    bridge.terminate(Duration::from_secs(10));
    bridge.limit(None);
    bridge.run();
    bridge.ready().await;
    for (number, token) in made.iter().enumerate() {
        let expected = if number < revoked { 3 } else { 200 };
        assert_eq!(service.query(token).await, expected, "{number} of {revoked} and {}", made.len());
    }
    service.apply(&long, "R", 3600).await;
}
