mod lists;

use tokio::{sync::watch, time::timeout};

use super::*;
use crate::{
    delivery::{SourceLink, source_link},
    lmq::notice::EventType,
    message::Qos,
    settings::{Clients, Credential, Credentials, Permission, Secret},
    telemetry::Telemetry,
};

/// A running source of notices between a broker that the test plays and a route that it plays.
struct Bench {
    /// The broker's side.
    events: SourceLink,
    /// The route's side.
    notices: SourceHandle,
    next: Ticket,
    running: tokio::task::JoinHandle<std::io::Result<()>>,
}

/// Credentials with an access key that asks for groups.
fn asking_for<const N: usize>(groups: [&str; N]) -> Credentials {
    let clients = Clients { groups: groups.map(str::to_owned).into(), ids: BTreeSet::new() };
    let key = Credential { secret: Secret::new("s"), clients, permission: Permission::default() };
    Credentials { access_keys: [("AK".to_owned(), key)].into(), ..Credentials::default() }
}

fn options() -> Options {
    Options {
        route: "s".into(),
        adapter: Adapter::Mosquitto,
        grace: Some(Duration::from_secs(30)),
        grouped: true,
        credentials: watch::channel(Arc::new(asking_for(["GID_a"]))).1,
        webhook: false,
        api: None,
    }
}

impl Bench {
    fn start(data_dir: &Path, kept: bool) -> Self {
        Self::with(options(), data_dir, kept)
    }

    fn with(options: Options, data_dir: &Path, kept: bool) -> Self {
        let telemetry = Telemetry::default().route("s", "edge", "main", "file");
        let (link, notices) = source_link(telemetry.source.clone());
        let (events, handle) = source_link(telemetry.source.clone());
        events.state.began(kept);
        events.state.up();
        let data_dir = data_dir.to_owned();
        let running = tokio::spawn(async move { run(options, &data_dir, handle, link).await });
        Self { events, notices, next: 0, running }
    }

    async fn says(&mut self, lines: &[(u16, &str)], again: bool) {
        let batch = lines.iter().map(|(packet_id, line)| {
            let topic = if line.contains("already connected") { "E" } else { "N" };
            let message = Message::new(Topic::from_mqtt(format!("$SYS/broker/log/{topic}")), line.to_string());
            self.next += 1;
            let ticket = self.next - 1;
            assert_eq!(message.qos, Qos::AtLeastOnce);
            let packet_id = Some(*packet_id);
            Delivery { ticket, message, suspected_duplicate: again, packet_id, unreadable: None }
        });
        let batch = batch.collect();
        self.events.deliveries.send(batch).await.unwrap();
    }

    /// Nobody listened before: that is told first.
    async fn first(data_dir: &Path) -> Self {
        let mut bench = Self::start(data_dir, true);
        let gap = bench.told(1).await;
        assert_eq!(tags(&gap), [Note::TAG]);
        bench.stored(&gap);
        bench
    }

    /// The next notices or notes, as tags, with their tickets.
    async fn told(&mut self, count: usize) -> Vec<(Ticket, Message)> {
        let mut told = Vec::new();
        while told.len() < count {
            let batch = timeout(Duration::from_secs(5), self.notices.deliveries.recv()).await.expect("notices come");
            told.extend(batch.unwrap().into_iter().map(|delivery| (delivery.ticket, delivery.message)));
        }
        assert_eq!(told.len(), count);
        told
    }

    fn stored(&self, told: &[(Ticket, Message)]) {
        self.notices.settled.send(told.iter().map(|(ticket, _)| *ticket).collect()).unwrap();
    }

    async fn acknowledged(&mut self) -> Vec<Ticket> {
        timeout(Duration::from_secs(5), self.events.settled.recv()).await.expect("an acknowledgement comes").unwrap()
    }

    async fn nothing_acknowledged(&mut self) {
        assert!(timeout(Duration::from_millis(100), self.events.settled.recv()).await.is_err());
    }

    async fn stop(self) {
        let Self { events, notices, running, .. } = self;
        drop(notices);
        running.await.unwrap().unwrap();
        drop(events);
    }
}

fn tags(told: &[(Ticket, Message)]) -> Vec<&str> {
    told.iter().map(|(_, message)| message.tag.as_deref().unwrap()).collect()
}

fn notice(told: &(Ticket, Message)) -> Notice {
    Notice::from_body(&told.1.payload).unwrap()
}

/// The time of a line that comes now.
fn now() -> u64 {
    epoch_millis() / 1_000
}

fn came(port: u16) -> String {
    format!("{}: New client connected from 10.0.0.1:{port} as GID_a@@@1 (p2, c1, k60).", now())
}

fn went() -> String {
    format!("{}: Client GID_a@@@1 disconnected.", now())
}

#[tokio::test]
async fn an_event_is_acknowledged_when_all_its_notices_are_stored() {
    let folder = tempfile::tempdir().unwrap();
    let mut bench = Bench::first(folder.path()).await;
    bench.says(&[(1, &came(1)), (2, &went()), (3, "1: Opening ipv4 listen socket on port 1883.")], false).await;
    let told = bench.told(3).await;
    assert_eq!(tags(&told), ["connect", "disconnect", "tcpclean"]);
    assert_eq!(notice(&told[0]).channel_id, notice(&told[2]).channel_id);
    assert_eq!(told[0].1.client_id.as_deref(), Some("GID_a@@@1"));
    bench.stored(&told[1..2]);
    bench.nothing_acknowledged().await;
    bench.stored(&told[..1]);
    assert_eq!(bench.acknowledged().await, [0]);
    bench.stored(&told[2..]);
    assert_eq!(bench.acknowledged().await, [1, 2]);
    bench.stop().await;
}

#[tokio::test]
async fn a_killed_process_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let (first, gone, second) = (came(1), went(), came(2));
    let mut bench = Bench::first(folder.path()).await;
    bench.says(&[(1, &first), (2, &gone), (3, &second)], false).await;
    let told = bench.told(4).await;
    bench.stored(&told[..3]);
    bench.acknowledged().await;
    // The last notice was never confirmed, and no acknowledgement got through.
    bench.running.abort();

    let mut bench = Bench::start(folder.path(), true);
    bench.says(&[(1, &first), (2, &gone), (3, &second)], true).await;
    let again = bench.told(1).await;
    assert_eq!(notice(&again[0]), notice(&told[3]));
    bench.stored(&again);
    let mut acknowledged = bench.acknowledged().await;
    while acknowledged.len() < 3 {
        acknowledged.extend(bench.acknowledged().await);
    }
    assert_eq!(acknowledged, [0, 1, 2]);
    // It knows whom this ends, though the line does not say.
    bench.says(&[(4, &went())], false).await;
    let told = bench.told(2).await;
    assert_eq!(notice(&told[1]).channel_id, notice(&again[0]).channel_id);
    bench.stop().await;
}

#[tokio::test]
async fn the_same_line_twice_is_two_events_and_sent_again_it_is_one() {
    let folder = tempfile::tempdir().unwrap();
    let mut bench = Bench::first(folder.path()).await;
    let (one, two, line) = (came(1), came(2), went());
    bench.says(&[(1, &one), (2, &line), (3, &two), (4, &line)], false).await;
    let told = bench.told(6).await;
    assert_eq!(tags(&told).iter().filter(|tag| **tag == "tcpclean").count(), 2);
    // Cut off before anything was stored: all of it comes again, and nothing is told twice.
    bench.events.state.began(true);
    bench.says(&[(1, &one), (2, &line), (3, &two), (4, &line)], true).await;
    bench.nothing_acknowledged().await;
    bench.stored(&told);
    let mut acknowledged = Vec::new();
    while acknowledged.len() < 8 {
        acknowledged.extend(bench.acknowledged().await);
    }
    assert_eq!(acknowledged, (0..8).collect::<Vec<_>>());
    assert!(bench.notices.deliveries.try_recv().is_err());
    bench.stop().await;
}

#[tokio::test]
async fn a_session_that_the_broker_forgot_is_a_gap_for_all_groups() {
    let folder = tempfile::tempdir().unwrap();
    let mut bench = Bench::first(folder.path()).await;
    bench.says(&[(1, &came(1))], false).await;
    let told = bench.told(1).await;
    bench.stored(&told);
    bench.acknowledged().await;
    // The first gap ended with the second that it began in.
    tokio::time::sleep(Duration::from_secs(1)).await;
    bench.events.state.began(false);
    let told = bench.told(1).await;
    assert_eq!((tags(&told), told[0].1.client_id.as_deref()), (vec![Note::TAG], Some("GID_a@@@")));
    assert!(matches!(Note::from_body(&told[0].1.payload), Ok(Note::Gap { source, .. }) if source == "s"));
    // Killed before that was stored, it must be told by the next process.
    bench.running.abort();
    let mut bench = Bench::start(folder.path(), true);
    assert_eq!(tags(&bench.told(1).await), [Note::TAG]);
    bench.stop().await;
}

#[tokio::test]
async fn clients_without_a_group_make_no_notices_and_hold_nothing_up() {
    let folder = tempfile::tempdir().unwrap();
    let mut bench = Bench::first(folder.path()).await;
    let line = format!("{}: New client connected from 10.0.0.1:1 as plain (p2, c1, k60).", now());
    bench.says(&[(1, &line)], false).await;
    assert_eq!(bench.acknowledged().await, [0]);
    bench.stop().await;
}

#[tokio::test]
async fn a_takeover_is_told_in_the_order_of_the_lines() {
    let folder = tempfile::tempdir().unwrap();
    let mut bench = Bench::first(folder.path()).await;
    let taken = format!("{}: Client GID_a@@@1 already connected, closing old connection.", now());
    bench.says(&[(1, &came(1)), (2, &taken), (3, &came(2))], false).await;
    let told = bench.told(3).await;
    let events: Vec<_> = told.iter().map(|told| (notice(told).event_type, notice(told).client_ip)).collect();
    let ip = |port| format!("10.0.0.1:{port}");
    assert_eq!(events, [(EventType::Connect, ip(1)), (EventType::TcpClean, ip(1)), (EventType::Connect, ip(2))]);
    bench.stop().await;
}

#[tokio::test]
async fn thousands_of_events_at_once_are_not_late() {
    let folder = tempfile::tempdir().unwrap();
    let mut bench = Bench::first(folder.path()).await;
    let (came, went) = (came(1).replace("GID_a@@@1", "plain"), went().replace("GID_a@@@1", "plain"));
    let lines: Vec<_> = (1..=20_000).map(|id| (id, if id % 2 == 1 { came.as_str() } else { went.as_str() })).collect();
    bench.says(&lines, false).await;
    let mut acknowledged = 0;
    while acknowledged < lines.len() {
        acknowledged += bench.acknowledged().await.len();
    }
    assert!(bench.notices.deliveries.try_recv().is_err(), "a gap was told");
    bench.stop().await;
}

#[tokio::test]
async fn what_is_not_stored_counts_as_not_heard() {
    let folder = tempfile::tempdir().unwrap();
    let mut bench = Bench::first(folder.path()).await;
    bench.says(&[(1, &came(1))], false).await;
    let told = bench.told(1).await;
    bench.stored(&told);
    bench.acknowledged().await;
    bench.running.abort();
    // As after 16 s without it.
    let file = folder.path().join("clients/s.heard");
    let then = now() - 16;
    std::fs::write(&file, format!("{:020} {:>20}", then * 1_000, 0)).unwrap();
    let mut bench = Bench::start(folder.path(), true);
    bench
        .says(&[(2, &format!("{then}: New client connected from 10.0.0.1:2 as GID_a@@@2 (p2, c1, k60)."))], false)
        .await;
    assert_eq!(tags(&bench.told(1).await), ["connect"]);
    tokio::time::sleep(2 * TICK).await;
    assert_eq!(std::fs::read_to_string(&file).unwrap()[..20].parse(), Ok(then * 1_000));
    bench.stop().await;
}

#[tokio::test]
async fn a_connection_that_is_not_proven_yet_is_not_lost() {
    let folder = tempfile::tempdir().unwrap();
    let impatient = Options { grace: Some(Duration::from_secs(2)), ..options() };
    let mut bench = Bench::with(impatient, folder.path(), true);
    bench.events.state.down("not proven".to_owned());
    let gap = bench.told(1).await;
    bench.stored(&gap);
    bench.says(&[(1, &came(1))], false).await;
    assert_eq!(tags(&bench.told(1).await), ["connect"]);
    assert!(timeout(Duration::from_secs(4), bench.notices.deliveries.recv()).await.is_err(), "it was given up");
    bench.events.state.ended();
    assert_eq!(tags(&bench.told(1).await), ["tcpclean"]);
    bench.stop().await;
}

#[tokio::test]
async fn a_connection_that_was_opened_before_a_kill_ends_when_it_is_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    let opened = |port| format!("{}: New connection from 10.0.0.1:{port} on port 1883.", now());
    let mut bench = Bench::first(folder.path()).await;
    bench.says(&[(1, &opened(1))], false).await;
    assert_eq!(bench.acknowledged().await, [0]);
    bench.running.abort();

    let mut bench = Bench::start(folder.path(), true);
    let taken = format!("{}: Client GID_a@@@1 already connected, closing old connection.", now());
    bench.says(&[(2, &came(1)), (3, &opened(2)), (4, &taken), (5, &came(2)), (6, &went())], false).await;
    let told = bench.told(5).await;
    assert_eq!(tags(&told), ["connect", "tcpclean", "connect", "disconnect", "tcpclean"]);
    bench.stop().await;
}

#[tokio::test]
async fn a_group_that_is_asked_for_later_is_told_of_the_gap_too() {
    let folder = tempfile::tempdir().unwrap();
    let (sender, credentials) = watch::channel(Arc::new(asking_for(["GID_a"])));
    let mut bench = Bench::with(Options { credentials, ..options() }, folder.path(), true);
    let gap = bench.told(1).await;
    assert_eq!(gap[0].1.client_id.as_deref(), Some("GID_a@@@"));
    bench.stored(&gap);
    sender.send_replace(Arc::new(asking_for(["GID_a", "GID_b"])));
    let late = bench.told(1).await;
    assert_eq!(late[0].1.client_id.as_deref(), Some("GID_b@@@"));
    assert_eq!(late[0].1.payload, gap[0].1.payload, "the same gap");
    bench.stored(&late);
    bench.stop().await;
}
