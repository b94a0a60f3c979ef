use super::*;
use crate::{delivery::source_link, telemetry::Telemetry};

const ONE: &str = r#"{"clientId":"a","event":"connect"}"#;

#[tokio::test]
async fn a_post_is_answered_when_it_is_stored() {
    let doors = Doors::default();
    assert_eq!(doors.post("s", "", Bytes::new()).await, Err(NotTaken::NoRoute));
    let (link, mut route) = source_link(Telemetry::default().route("s", "webhook", "main", "file").source.clone());
    let source = tokio::spawn(run(doors.open("s", Adapter::Generic), link));
    assert!(matches!(doors.post("s", "", Bytes::from_static(b"{")).await, Err(NotTaken::Unreadable(_))));
    let post = |body: &'static str| {
        let doors = doors.clone();
        tokio::spawn(async move { doors.post("s", "h", Bytes::from_static(body.as_bytes())).await })
    };
    let one = post(ONE);
    let first = route.deliveries.recv().await.unwrap().remove(0);
    assert_eq!((first.message.topic.as_str(), &first.message.payload[..]), ("h", ONE.as_bytes()));
    let two = post("[]");
    let second = route.deliveries.recv().await.unwrap().remove(0);
    route.settled.send(vec![second.ticket]).unwrap();
    assert_eq!(two.await.unwrap(), Ok(()));
    assert!(!one.is_finished());
    // A route that ends without storing it leaves it to the broker to post again.
    drop(route);
    source.await.unwrap();
    assert_eq!(one.await.unwrap(), Err(NotTaken::Stopped));
    assert_eq!(doors.post("s", "", Bytes::from_static(b"[]")).await, Err(NotTaken::Stopped));
}
