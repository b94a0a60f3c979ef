//! A Mosquitto that tells who comes and goes, RocketMQ, a bridge between them, and a back end that asks it.

use std::{
    collections::BTreeSet,
    io::Write as _,
    time::{Duration, Instant},
};

use super::{GROUP, KEPT, PATIENCE, SETTLED, TOPIC, form, notices, seconds, tide, tide::Tide};
use crate::servers::{
    asker::{self, Asker},
    bridge::{Bridge, settings},
    eventually,
    fleet::{self, End, Fleet},
    free_port,
    mosquitto::{Mosquitto, Options},
    rocketmq::{self, RocketMq},
};

/// Everything of one run.
pub(super) struct World {
    pub(super) mosquitto: Mosquitto,
    pub(super) rocketmq: RocketMq,
    pub(super) bridge: Bridge,
    query: u16,
    pub(super) clients: u32,
    room: u32,
    /// Clients beside the others, of which one comes and goes to see how far the bridge is.
    marks: Fleet,
}

/// The first number of those.
const MARKS: u32 = 900_000;

/// Answers that differ from what the clients did.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    pub(super) wrong: Vec<String>,
    pub(super) unknown: usize,
}

impl World {
    /// Starts everything. Nobody is connected, and that is known.
    pub(super) async fn start() -> Self {
        let clients = form(2_000, 50_000);
        let room = fleet::room().min(clients);
        let lines = ["log_dest topic", "connection_messages true", "max_inflight_messages 1000"];
        let telling = Options { lines: lines.map(str::to_owned).to_vec(), ..Options::default() };
        let options = rocketmq::Options::default();
        let (mut mosquitto, rocketmq) = tokio::join!(Mosquitto::start(&telling), RocketMq::start(&options));
        rocketmq.create_topic(TOPIC, 8).await;
        let route = "[[status]]\nname = \"who\"\nfrom = { events = \"mosquitto\" }\nto.rocketmq = \"{group}_MQTT\"\n";
        let mut bridge = Bridge::new(&(settings(&mosquitto, &rocketmq) + asker::SETTINGS), route);
        bridge.credentials(&asker::credentials(GROUP));
        let query = free_port();
        bridge.set("ROCKETBRIDGE__HTTP__LMQ", &format!("127.0.0.1:{query}"));
        bridge.run();
        bridge.ready().await;
        // Nobody knows who was there before the bridge listened for the first time, so the broker begins anew. By then
        // the bridge must have heard since when it has been running, which it says every 10 s.
        seconds(12.0).await;
        mosquitto.terminate();
        mosquitto.restart().await;
        let marks = tide::still(mosquitto.port);
        let world = Self { mosquitto, rocketmq, bridge, query, clients, room, marks };
        world.count_is(0).await;
        world
    }

    /// Lets so many clients a second come and go, from no one on.
    pub(super) fn tide(&self, rate: u32) -> Tide {
        Tide::start(tide::still(self.mosquitto.port), self.clients, rate, self.room)
    }

    /// Waits until the bridge has told all that has happened so far, at most for as long as lines are kept.
    pub(super) async fn caught_up(&mut self) {
        let (began, number) = (Instant::now(), MARKS + u32::try_from(self.marks.history.len()).unwrap());
        self.marks.connect([number]).await.unwrap();
        let mut asker = self.ask().await;
        let id = Fleet::id(GROUP, number);
        while asker.client(&id).await.unwrap() != 1 && began.elapsed() < KEPT {
            seconds(0.1).await;
        }
        self.marks.end([number], |_| End::Closed).unwrap();
        let _ = writeln!(std::io::stderr(), "caught up after {:.1?}", began.elapsed());
    }

    /// A connection to the status query.
    pub(super) async fn ask(&self) -> Asker {
        eventually("the status query answers", PATIENCE, || async { Asker::connect(self.query).await.ok() }).await
    }

    /// Waits until so many are counted, for a while without a break.
    pub(super) async fn count_is(&self, online: usize) {
        let (began, mut since) = (Instant::now(), Instant::now());
        let mut asker = self.ask().await;
        while since.elapsed() < SETTLED {
            let count = asker.count(GROUP).await.unwrap();
            if usize::try_from(count) != Ok(online) {
                since = Instant::now();
                assert!(began.elapsed() < PATIENCE, "{count} are counted, not {online}");
            }
            seconds(0.1).await;
        }
    }

    /// Waits until nothing more is stored in the topic of notices.
    pub(super) async fn quiet(&self) {
        let (mut before, mut since) = (None, Instant::now());
        while since.elapsed() < SETTLED + Duration::from_secs(3) {
            let stored = self.rocketmq.stored(TOPIC).await;
            if stored != before {
                (before, since) = (stored, Instant::now());
            }
            seconds(0.2).await;
        }
    }

    /// Asks for everybody: the count, the list and each client by itself.
    pub(super) async fn answers(&self, fleet: &Fleet) -> Verdict {
        let mut asker = self.ask().await;
        let mut verdict = Verdict::default();
        let count = asker.count(GROUP).await.unwrap();
        if count == -1 {
            verdict.unknown += 1;
        } else if usize::try_from(count) != Ok(fleet.connected().len()) {
            verdict.wrong.push(format!("a count of {count}, not {}", fleet.connected().len()));
        }
        let listed: BTreeSet<String> = asker.list(GROUP).await.unwrap().into_iter().collect();
        let online: BTreeSet<String> = fleet.connected().map(|number| Fleet::id(GROUP, number)).collect();
        verdict.wrong.extend(listed.difference(&online).map(|id| format!("{id} is listed")));
        if count >= 0 {
            verdict.wrong.extend(online.difference(&listed).map(|id| format!("{id} is not listed")));
        }
        let ids: Vec<String> = (0..self.clients).map(|number| Fleet::id(GROUP, number)).collect();
        for (number, answer) in (0..).zip(asker.clients(&ids).await.unwrap()) {
            if answer == -1 {
                verdict.unknown += 1;
            } else if answer != i64::from(fleet.has(number)) {
                verdict.wrong.push(format!("{answer} connections of {number}"));
            }
        }
        verdict
    }

    /// Waits for the end of all that is under way, and holds everything to what the clients did. With `lossy`, what
    /// nobody can know may be unknown.
    pub(super) async fn verdict(&self, run: &str, fleet: &Fleet, lossy: bool) -> Verdict {
        if lossy {
            self.quiet().await;
        } else {
            self.count_is(fleet.connected().len()).await;
        }
        let verdict = self.answers(fleet).await;
        let history = [&fleet.history[..], &self.marks.history].concat();
        let faults = notices::faults(&self.rocketmq, &history, lossy).await;
        let Verdict { wrong, unknown } = &verdict;
        let _ = writeln!(
            std::io::stderr(),
            "{run}: {} connections of {} clients, {} online at the end; {} wrong and {unknown} unknown answers, {} faults \
             in the notices",
            fleet.history.len(),
            self.clients,
            fleet.connected().len(),
            wrong.len(),
            faults.len(),
        );
        assert!(wrong.is_empty(), "{run}: {} wrong answers, such as {:?}", wrong.len(), &wrong[..wrong.len().min(10)]);
        assert!(faults.is_empty(), "{run}: {} faults, such as {:#?}", faults.len(), &faults[..faults.len().min(10)]);
        assert!(lossy || *unknown == 0, "{run}: {unknown} answers are unknown");
        verdict
    }
}
