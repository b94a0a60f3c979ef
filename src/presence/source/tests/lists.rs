//! What the broker's list of clients makes good.

use std::sync::{Mutex, PoisonError};

use super::*;
use crate::presence::api::fake::{Act, emqx, serve, status};

/// What the interface answers now.
#[derive(Clone)]
struct Interface(Arc<Mutex<Act>>);

impl Interface {
    fn new(act: Act) -> Self {
        Self(Arc::new(Mutex::new(act)))
    }

    fn does(&self, act: Act) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = act;
    }

    /// A route that reads events of EMQX from this broker, told that nobody listened before.
    async fn start(&self, folder: &Path) -> Bench {
        let act = self.0.clone();
        let (api, _heads) = serve(move |_| act.lock().unwrap_or_else(PoisonError::into_inner).clone()).await;
        let options = Options { adapter: Adapter::Emqx, api: Some(api), ..options() };
        let mut bench = Bench::with(options, folder, true);
        let gap = bench.told(1).await;
        assert_eq!(tags(&gap), [Note::TAG]);
        bench.stored(&gap);
        bench
    }
}

impl Bench {
    /// EMQX tells of a client.
    async fn event(&mut self, what: &str, client_id: &str, connected_at: u64) {
        let payload = format!(
            r#"{{"clientid":"{client_id}","connected_at":{connected_at},"disconnected_at":{},"reason":"normal"}}"#,
            connected_at + 1
        );
        let message = Message::new(Topic::from_mqtt(format!("$SYS/brokers/n/clients/{client_id}/{what}")), payload);
        let ticket = self.next;
        self.next += 1;
        let delivery = Delivery { ticket, message, suspected_duplicate: false, packet_id: None, unreadable: None };
        self.events.deliveries.send(vec![delivery]).await.unwrap();
    }

    /// The next notices, after a list at the latest, as the tag and the client id.
    async fn listed(&mut self, count: usize) -> Vec<(Ticket, Message)> {
        let wait = async {
            let mut told = Vec::new();
            while told.len() < count {
                let batch = self.notices.deliveries.recv().await.unwrap();
                told.extend(batch.into_iter().map(|delivery| (delivery.ticket, delivery.message)));
            }
            told
        };
        timeout(Duration::from_secs(20), wait).await.expect("a list is compared")
    }
}

fn show(told: &[(Ticket, Message)]) -> Vec<String> {
    let word = |(_, message): &(Ticket, Message)| {
        format!("{} {}", message.client_id.as_deref().unwrap(), message.tag.as_deref().unwrap())
    };
    told.iter().map(word).collect()
}

#[tokio::test]
async fn a_list_makes_good_what_was_missed_and_ends_the_gap_once_that_is_stored() {
    let folder = tempfile::tempdir().unwrap();
    let now = epoch_millis();
    let interface =
        Interface::new(emqx(&[("GID_a@@@1", now - 9_000), ("GID_a@@@2", now - 5_000), ("plain", 1)], false));
    let mut bench = interface.start(folder.path()).await;
    // Events are not held up by the list.
    bench.event("connected", "GID_a@@@1", now - 9_000).await;
    let first = bench.told(1).await;
    assert_eq!(show(&first), ["GID_a@@@1 connect"]);
    let second = bench.listed(1).await;
    assert_eq!(show(&second), ["GID_a@@@2 connect"]);
    // All is known only once all is stored.
    bench.stored(&first);
    assert!(timeout(Duration::from_millis(1_500), bench.notices.deliveries.recv()).await.is_err());
    bench.stored(&second);
    let whole = bench.listed(1).await;
    assert_eq!(show(&whole), ["GID_a@@@ rocketbridge"]);
    assert!(
        matches!(Note::from_body(&whole[0].1.payload), Ok(Note::Whole { source, since }) if source == "s" && since > now)
    );
    bench.stored(&whole);
    bench.event("disconnected", "GID_a@@@2", now - 5_000).await;
    let ended = bench.told(2).await;
    assert_eq!(notice(&ended[1]).channel_id, notice(&second[0]).channel_id);
    bench.stored(&ended);

    // In a gap, one comes and another goes.
    interface.does(emqx(&[("GID_a@@@3", now + 100)], false));
    bench.events.state.began(true);
    let gap = bench.told(1).await;
    bench.stored(&gap);
    let told = bench.listed(2).await;
    assert_eq!(show(&told), ["GID_a@@@1 tcpclean", "GID_a@@@3 connect"]);
    assert_eq!(notice(&told[0]).channel_id, notice(&first[0]).channel_id);
    bench.stored(&told);
    assert_eq!(show(&bench.listed(1).await), ["GID_a@@@ rocketbridge"]);
    bench.stop().await;
}

#[tokio::test]
async fn a_client_that_leaves_while_a_killed_bridge_is_away_is_ended() {
    let folder = tempfile::tempdir().unwrap();
    let interface = Interface::new(emqx(&[], false));
    let mut bench = interface.start(folder.path()).await;
    bench.event("connected", "GID_a@@@1", epoch_millis()).await;
    let told = bench.told(1).await;
    // RocketMQ has it, but the bridge never learns that; and EMQX tells it once.
    bench.running.abort();

    let mut bench = interface.start(folder.path()).await;
    let ended = bench.listed(1).await;
    assert_eq!(show(&ended), ["GID_a@@@1 tcpclean"]);
    assert_eq!(notice(&ended[0]).channel_id, notice(&told[0]).channel_id);
    bench.stop().await;
}

#[tokio::test]
async fn a_list_that_cannot_be_had_holds_nothing_up_and_is_asked_for_again() {
    let folder = tempfile::tempdir().unwrap();
    let now = epoch_millis();
    let interface = Interface::new(status("401 Unauthorized"));
    let mut bench = interface.start(folder.path()).await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    bench.event("connected", "GID_a@@@1", now).await;
    let told = bench.told(1).await;
    bench.stored(&told);
    interface.does(emqx(&[("GID_a@@@1", now)], false));
    assert_eq!(show(&bench.listed(1).await), ["GID_a@@@ rocketbridge"]);
    bench.stop().await;
}

#[tokio::test]
async fn a_list_that_was_asked_for_before_a_gap_is_over_does_not_end_it() {
    let mut lister = Lister::new("s", Adapter::Emqx, Some(serve(|_| emqx(&[], false)).await.0));
    lister.tick(1);
    assert_eq!(lister.listed().await, (1, Vec::new()));
    lister.tick(2);
    assert!(timeout(Duration::from_millis(200), lister.listed()).await.is_err(), "it is not time yet");

    let mut lister = Lister::new("s", Adapter::Emqx, Some(serve(|_| emqx(&[], false)).await.0));
    lister.tick(1);
    // It has the list by now, and waits for events that may be late.
    assert!(timeout(Duration::from_millis(500), lister.listed()).await.is_err());
    lister.gap();
    assert!(timeout(Duration::from_millis(1_500), lister.listed()).await.is_err());
    lister.tick(2);
    assert!(timeout(Duration::from_millis(1_500), lister.listed()).await.is_err(), "the gap is not over long enough");
}
