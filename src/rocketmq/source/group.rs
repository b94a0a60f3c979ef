//! Membership of the consumer group: heartbeats, who reads which queue, locks.
//!
//! It works in rounds, every 20 s and at once when something changes. A round does what it can: a broker that does
//! not answer keeps nobody from reading the others.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::mpsc,
    task::{AbortHandle, JoinError, JoinSet},
    time::{Instant, sleep, sleep_until},
};
use tracing::{debug, info, warn};

use super::{
    Shared, commit,
    holds::LOCK_TRUST,
    pull,
    start::{self, Past},
};
use crate::{
    delivery::Delivery,
    message::Queue,
    rocketmq::{
        allocation::allocate,
        client::{CallError, Push, Response},
        offsets::Hold,
        wire::{
            code::{request, response},
            consume::{decode_list, decode_locked},
            frame::Request,
            route::TopicRoute,
        },
    },
};

/// Between rounds while all is well: the pace of the Java client's rebalance.
const PERIOD: Duration = Duration::from_secs(20);
/// Between rounds while something is missing.
const RETRY: Duration = Duration::from_secs(1);
/// Rounds that faults ask for are not nearer than this.
const CALM: Duration = Duration::from_millis(200);

pub(super) struct Group {
    shared: Arc<Shared>,
    deliveries: mpsc::Sender<Vec<Delivery>>,
    pushes: mpsc::Receiver<Push>,
    /// Pulls, and queues being given up. Dropping it ends them.
    tasks: JoinSet<()>,
    pulls: HashMap<Hold, AbortHandle>,
    /// The last route that was found.
    route: Option<Arc<TopicRoute>>,
    past: Past,
    /// The last round left something to do that is no fault: a lock that another member still has, an old route.
    unfinished: bool,
}

impl Group {
    pub(super) fn new(
        shared: Arc<Shared>,
        deliveries: mpsc::Sender<Vec<Delivery>>,
        pushes: mpsc::Receiver<Push>,
    ) -> Self {
        let (tasks, pulls) = (JoinSet::new(), HashMap::new());
        Self { shared, deliveries, pushes, tasks, pulls, route: None, past: Past::Unknown, unfinished: false }
    }

    /// Round after round, for ever.
    pub(super) async fn keep(&mut self) {
        loop {
            let began = Instant::now();
            self.unfinished = false;
            let fault = self.round().await;
            self.shared.state.set_reads_all(!self.unfinished);
            self.shared.holds().group_fault = fault;
            self.shared.report();
            let well = !self.unfinished && self.shared.holds().fault().is_none();
            self.wait(if well { PERIOD } else { RETRY.mul_f64(0.7 + fastrand::f64() * 0.6) }).await;
            sleep_until(began + CALM).await;
        }
    }

    /// Until the time is over or something has changed.
    async fn wait(&mut self, period: Duration) {
        let over = sleep(period);
        tokio::pin!(over);
        let mut open = !self.deliveries.is_closed();
        loop {
            tokio::select! {
                () = &mut over => return,
                () = self.shared.wake.notified() => return,
                Some(push) = self.pushes.recv() => {
                    if push.frame.code == request::NOTIFY_CONSUMER_IDS_CHANGED {
                        return;
                    }
                }
                () = self.deliveries.closed(), if open => {
                    open = false;
                    self.pulls.drain().for_each(|(_, pull)| pull.abort());
                }
                Some(ended) = self.tasks.join_next() => {
                    if let Err(Ok(panic)) = ended.map_err(JoinError::try_into_panic) {
                        std::panic::resume_unwind(panic);
                    }
                }
            }
        }
    }

    /// Does all that is to be done now, and says what could not be done.
    pub(super) async fn round(&mut self) -> Option<String> {
        let looked_up = self.look_up_route().await;
        let Some(route) = self.route.clone() else { return looked_up.err().map(|error| error.to_string()) };
        self.unfinished |= looked_up.is_err();
        let mut fault = None;
        let readable = route.readable();
        self.shared.holds().list(&readable, Instant::now());
        self.drop_gone();
        let brokers: BTreeSet<Arc<str>> = readable.iter().map(|queue| queue.broker.clone()).collect();
        let present = self.heartbeat(&brokers, &mut fault).await;
        let share = match self.share(&present, &readable).await {
            Ok(share) => share,
            Err(error) => {
                fault.get_or_insert(error);
                self.holding()
            }
        };
        self.give_up_others(&share, &readable);
        // A broker counts a lock from some time after this.
        let asked = Instant::now();
        let taken = self.lock(&share, asked, &mut fault).await;
        if !taken.is_empty() && !self.deliveries.is_closed() {
            let mut begun = Vec::new();
            let started = start::offsets(&self.shared, &mut self.past, &taken, &readable, &mut begun).await;
            self.begin(begun, asked);
            if let Err(error) = started {
                fault.get_or_insert_with(|| format!("cannot tell where to start: {error}"));
            }
        }
        fault
    }

    async fn look_up_route(&mut self) -> Result<(), CallError> {
        match self.shared.client.sure_route(&self.shared.member.topic).await {
            Ok(route) => {
                self.route = Some(route);
                Ok(())
            }
            Err(error) => {
                if matches!(error, CallError::TopicNotExist(_)) && self.route.is_none() {
                    self.past = Past::TopicWasMissing;
                }
                Err(error)
            }
        }
    }

    /// Tells every broker that this member is there; gives those that heard it.
    async fn heartbeat(&self, brokers: &BTreeSet<Arc<str>>, fault: &mut Option<String>) -> Vec<Arc<str>> {
        let requests = brokers.iter().map(|broker| (broker.clone(), self.shared.member.heartbeat()));
        let mut present = Vec::new();
        for (broker, answer) in ask_each(&self.shared, requests).await {
            match answer {
                Ok(_) => present.push(broker),
                Err(error) => {
                    fault.get_or_insert_with(|| format!("broker {broker}: {error}"));
                }
            }
        }
        self.shared.holds().joined.extend(present.iter().cloned());
        present
    }

    /// This member's share of the queues.
    async fn share(&self, present: &[Arc<str>], readable: &[Queue]) -> Result<Vec<Queue>, String> {
        let member = &self.shared.member;
        let mut problem = "no broker of the topic answers".to_owned();
        for broker in present {
            let answer = self.shared.ask(broker, member.list()).await.and_then(Response::success);
            let members = match answer {
                Ok(answer) => decode_list(&answer.body)?,
                Err(CallError::Broker { code: response::SYSTEM_ERROR, .. }) => Vec::new(),
                Err(error) => {
                    problem = error.to_string();
                    continue;
                }
            };
            if members.contains(&member.client_id) {
                return Ok(allocate(&member.client_id, readable, &members));
            }
            problem = format!(
                "broker {broker} does not take this member into group `{}`: does the group exist there?",
                member.group
            );
        }
        Err(problem)
    }

    fn holding(&self) -> Vec<Queue> {
        self.shared
            .holds()
            .iter()
            .filter(|(_, reading)| !reading.leaving)
            .map(|(_, reading)| reading.queue.clone())
            .collect()
    }

    /// Begins to give up what is another member's now. What vanished with its broker is nobody's, and stays.
    fn give_up_others(&mut self, share: &[Queue], readable: &[Queue]) {
        let mut others = Vec::new();
        for reading in self.shared.holds().iter_mut() {
            if !reading.leaving && !share.contains(&reading.queue) && readable.contains(&reading.queue) {
                reading.leaving = true;
                others.push(reading.queue.clone());
            }
        }
        for queue in others {
            let Some(hold) = self.shared.holds().of(&queue) else { continue };
            if let Some(pull) = self.pulls.remove(&hold) {
                pull.abort();
            }
            info!(group = self.shared.from.group, broker = %queue.broker, queue = queue.id, "gives up a queue");
            self.tasks.spawn(commit::give_up(self.shared.clone(), hold, queue));
        }
    }

    /// Takes and renews locks; gives the queues of our share that were taken and are not read yet.
    async fn lock(&mut self, share: &[Queue], asked: Instant, fault: &mut Option<String>) -> Vec<Queue> {
        let mut wanted: BTreeMap<Arc<str>, Vec<Queue>> = BTreeMap::new();
        {
            let mut holds = self.shared.holds();
            let reading = holds.iter().map(|(_, reading)| &reading.queue);
            let all: BTreeSet<Queue> = share.iter().chain(reading).cloned().collect();
            // Before they are asked for: the answer may never be heard.
            holds.locked.extend(all.iter().cloned());
            for queue in all {
                wanted.entry(queue.broker.clone()).or_default().push(queue);
            }
        }
        let requests = wanted.iter().map(|(broker, queues)| (broker.clone(), self.shared.member.lock(queues)));
        let answers = ask_each(&self.shared, requests).await;
        let mut taken = Vec::new();
        for (broker, answer) in answers {
            let locked = answer.map_err(|error| error.to_string()).and_then(|answer| decode_locked(&answer.body));
            match locked {
                Ok(locked) => {
                    for queue in wanted.remove(&broker).unwrap_or_default() {
                        let ok = locked.contains(&queue);
                        self.one_lock(&queue, ok, asked, fault).await;
                        if ok && self.shared.holds().of(&queue).is_none() {
                            taken.push(queue);
                        }
                    }
                }
                Err(error) if share.iter().any(|queue| queue.broker == broker) => {
                    fault.get_or_insert_with(|| format!("broker {broker}: {error}"));
                }
                // It was removed, or is a moment from it: its queues are in no share.
                Err(_) => {}
            }
        }
        taken.retain(|queue| share.contains(queue));
        let strays = self.shared.holds().strays(share);
        for queue in strays {
            commit::unlock(&self.shared, &[queue]).await;
        }
        taken
    }

    /// Renews a hold whose queue was locked, and ends one whose queue is another member's or has to begin anew.
    async fn one_lock(&mut self, queue: &Queue, locked: bool, asked: Instant, fault: &mut Option<String>) {
        let hold = self.shared.holds().of(queue);
        if locked {
            // It may have been given up, and unlocked, while this was under way.
            self.shared.holds().locked.insert(queue.clone());
        } else {
            self.shared.holds().locked.remove(queue);
            self.unfinished = true;
        }
        match (hold, locked) {
            (Some(hold), true) => match self.is_still_ours(hold, queue).await {
                Ok(true) => {
                    if let Some(reading) = self.shared.holds().get_mut(hold) {
                        reading.confirmed = asked;
                    }
                }
                Ok(false) => self.drop_hold(hold),
                Err(error) => {
                    fault.get_or_insert_with(|| error.to_string());
                }
            },
            (Some(hold), false) => {
                let Queue { broker, id } = queue;
                warn!(group = self.shared.from.group, %broker, queue = id, "another member took a queue");
                self.drop_hold(hold);
            }
            (None, _) => {}
        }
    }

    /// After a time without a sure lock another member may have read on: then the queue begins anew.
    async fn is_still_ours(&self, hold: Hold, queue: &Queue) -> Result<bool, CallError> {
        let ours = match self.shared.holds().get_mut(hold) {
            Some(reading) if reading.confirmed.elapsed() >= LOCK_TRUST => reading.committed,
            Some(_) => return Ok(true),
            None => return Ok(false),
        };
        // A broker that was killed may have lost the newest commits.
        Ok(start::committed(&self.shared, queue).await?.is_none_or(|theirs| theirs <= ours))
    }

    /// Ends holds of queues whose broker was removed for good.
    fn drop_gone(&mut self) {
        let gone = self.shared.holds().gone(Instant::now());
        for hold in gone {
            self.drop_hold(hold);
        }
    }

    fn drop_hold(&mut self, hold: Hold) {
        if let Some(pull) = self.pulls.remove(&hold) {
            pull.abort();
        }
        self.shared.holds().close(hold);
    }

    fn begin(&mut self, queues: Vec<(Queue, u64)>, locked: Instant) {
        let (group, topic) = (&self.shared.from.group, &self.shared.from.topic);
        if !queues.is_empty() {
            info!(group, topic, queues = queues.len(), "reads");
        }
        for (queue, offset) in queues {
            debug!(group, topic, broker = %queue.broker, queue = queue.id, offset, "reads a queue");
            let hold = self.shared.holds().open(queue.clone(), offset, locked);
            let pull = pull::pull(self.shared.clone(), hold, queue, self.deliveries.clone());
            self.pulls.insert(hold, self.tasks.spawn(pull));
        }
    }
}

/// Asks several brokers at once; only `SUCCESS` is an answer.
async fn ask_each(
    shared: &Arc<Shared>,
    requests: impl Iterator<Item = (Arc<str>, Request)>,
) -> Vec<(Arc<str>, Result<Response, CallError>)> {
    let mut asked = JoinSet::new();
    for (broker, request) in requests {
        let shared = shared.clone();
        asked.spawn(async move {
            let answer = shared.ask(&broker, request).await.and_then(Response::success);
            (broker, answer)
        });
    }
    asked.join_all().await
}
