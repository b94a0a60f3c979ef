use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;

use super::*;
use crate::delivery::OrderKey;

const LIMITS: BatchLimits = BatchLimits { bytes: 64, entries: 5 };
const GRACE: Duration = Duration::from_secs(60);
const LENGTH: usize = 8;

fn queues(range: std::ops::Range<u32>) -> Vec<Queue> {
    range.map(|id| Queue { broker: "b".into(), id }).collect()
}

/// An entry whose bytes are its ticket.
fn push(lanes: &mut Lanes, ticket: Ticket, key: u64) {
    let entry = Entry { ticket, order: OrderKey::Hash(key), length: LENGTH, expiry: None };
    lanes.push(entry, &ticket.to_be_bytes());
}

fn tickets(bytes: &[u8]) -> Vec<Ticket> {
    bytes.chunks(LENGTH).map(|chunk| u64::from_be_bytes(chunk.try_into().unwrap())).collect()
}

fn ready(lanes: &mut Lanes, now: Instant) -> Vec<Send> {
    let mut sends = Vec::new();
    lanes.ready(now, &mut sends, &mut Vec::new());
    sends
}

fn with_queues(count: u32, now: Instant) -> Lanes {
    let mut lanes = Lanes::new(LIMITS, GRACE);
    lanes.set_queues(queues(0..count), now);
    lanes
}

#[test]
fn a_lane_has_one_request_under_way_and_the_next_batch_grows_meanwhile() {
    let now = Instant::now();
    let mut lanes = with_queues(1, now);
    push(&mut lanes, 0, 1);
    let first = ready(&mut lanes, now).remove(0);
    for ticket in 1..4 {
        push(&mut lanes, ticket, 1);
        assert!(ready(&mut lanes, now).is_empty());
    }
    assert_eq!(lanes.stored(first.id).collect::<Vec<_>>(), [0]);
    let second = ready(&mut lanes, now).remove(0);
    assert_eq!(tickets(&second.bytes), [1, 2, 3]);
}

#[test]
fn a_failed_request_goes_again_with_the_same_bytes_and_not_before_its_time() {
    let now = Instant::now();
    let later = now + Duration::from_secs(1);
    let mut lanes = with_queues(1, now);
    push(&mut lanes, 0, 1);
    let first = ready(&mut lanes, now).remove(0);
    lanes.failed(first.id, "gone".to_owned(), |failures| now + Duration::from_secs(failures.into()));
    push(&mut lanes, 1, 1);
    assert!(ready(&mut lanes, now).is_empty());
    assert_eq!((lanes.next_due(), lanes.problem()), (Some(later), None));
    let second = ready(&mut lanes, later).remove(0);
    lanes.failed(second.id, "gone".to_owned(), |_| later);
    assert_eq!(lanes.problem(), Some("gone"));
    let again = ready(&mut lanes, later).remove(0);
    assert!(again.again);
    assert_eq!(again.bytes, first.bytes);
    assert_eq!(lanes.stored(first.id).count(), 0, "the first answer comes too late to count");
    assert_eq!(lanes.stored(again.id).count(), 1);
    assert_eq!(lanes.problem(), None);
}

#[test]
fn only_the_offender_of_a_refused_batch_is_refused() {
    let now = Instant::now();
    let mut lanes = with_queues(1, now);
    for ticket in 0..5 {
        push(&mut lanes, ticket, 1);
    }
    let (mut stored, mut refused) = (Vec::new(), Vec::new());
    while lanes.unresolved() > 0 {
        let send = ready(&mut lanes, now).remove(0);
        if tickets(&send.bytes).contains(&3) {
            refused.extend(lanes.refused(send.id));
        } else {
            stored.extend(lanes.stored(send.id));
        }
    }
    assert_eq!((stored, refused), (vec![0, 1, 2, 4], vec![3]));
}

#[test]
fn an_entry_over_the_limit_goes_alone() {
    let now = Instant::now();
    let mut lanes = with_queues(1, now);
    push(&mut lanes, 0, 1);
    lanes.push(Entry { ticket: 1, order: OrderKey::Hash(1), length: 100, expiry: None }, &[0; 100]);
    push(&mut lanes, 2, 1);
    let mut sizes = Vec::new();
    while lanes.unresolved() > 0 {
        let send = ready(&mut lanes, now).remove(0);
        sizes.push(send.bytes.len());
        let _ = lanes.stored(send.id);
    }
    assert_eq!(sizes, [8, 100, 8]);
}

#[test]
fn messages_wait_until_queues_are_known() {
    let now = Instant::now();
    let mut lanes = Lanes::new(LIMITS, GRACE);
    push(&mut lanes, 0, 1);
    lanes.set_queues(Vec::new(), now);
    assert!(ready(&mut lanes, now).is_empty());
    lanes.set_queues(queues(0..2), now);
    assert_eq!(ready(&mut lanes, now).len(), 1);
}

#[test]
fn a_new_list_waits_until_the_old_lanes_have_drained() {
    let now = Instant::now();
    let mut lanes = with_queues(1, now);
    push(&mut lanes, 0, 1);
    let first = ready(&mut lanes, now).remove(0);
    lanes.set_queues(queues(0..2), now);
    push(&mut lanes, 1, 1);
    assert!(lanes.is_changing() && ready(&mut lanes, now).is_empty());
    assert_eq!(lanes.stored(first.id).count(), 1);
    lanes.advance(now);
    assert!(!lanes.is_changing());
    assert_eq!(tickets(&ready(&mut lanes, now).remove(0).bytes), [1]);
}

#[test]
fn a_list_that_comes_back_within_the_grace_keeps_every_key_on_its_lane() {
    let now = Instant::now();
    let mut lanes = with_queues(2, now);
    push(&mut lanes, 0, 1);
    let first = ready(&mut lanes, now).remove(0);
    let other: Vec<Queue> = queues(0..2).into_iter().filter(|queue| *queue != first.queue).collect();
    lanes.set_queues(other, now);
    push(&mut lanes, 1, 1);
    lanes.failed(first.id, "gone".to_owned(), |_| now);
    lanes.set_queues(queues(0..2), now + GRACE / 2);
    let again = ready(&mut lanes, now + GRACE / 2).remove(0);
    assert_eq!((again.queue.clone(), tickets(&again.bytes)), (first.queue, vec![0]));
    let _ = lanes.stored(again.id);
    assert_eq!(ready(&mut lanes, now + GRACE / 2).remove(0).queue, again.queue);
}

#[test]
fn a_queue_that_stays_away_gives_up_its_messages_before_those_held() {
    let now = Instant::now();
    let mut lanes = with_queues(1, now);
    push(&mut lanes, 0, 1);
    let lost = ready(&mut lanes, now).remove(0);
    push(&mut lanes, 1, 1);
    lanes.set_queues(queues(5..6), now);
    push(&mut lanes, 2, 1);
    assert_eq!(lanes.next_due(), Some(now + GRACE));
    lanes.advance(now + GRACE / 2);
    assert!(ready(&mut lanes, now + GRACE / 2).is_empty());
    lanes.advance(now + GRACE);
    assert_eq!(lanes.stored(lost.id).count(), 0, "the dead lane's answer no longer counts");
    let send = ready(&mut lanes, now + GRACE).remove(0);
    assert_eq!((send.queue.id, tickets(&send.bytes)), (5, vec![0, 1, 2]));
}

#[test]
fn a_lane_that_cannot_drain_yet_wakes_nobody_for_the_sake_of_another() {
    let now = Instant::now();
    let mut lanes = with_queues(8, now);
    for key in 0..64 {
        push(&mut lanes, key, key);
    }
    assert_eq!(ready(&mut lanes, now).len(), 8);
    lanes.set_queues(queues(0..4), now);
    assert_eq!(lanes.next_due(), None);
}

#[test]
fn what_expires_while_it_waits_is_not_sent_and_the_rest_says_what_time_is_left() {
    use crate::rocketmq::{sink::backlog::Expiry, wire::batch::put_entry};
    let now = Instant::now();
    let mut lanes = with_queues(1, now);
    for (ticket, seconds) in [(0, 5), (1, 50)] {
        let mut bytes = bytes::BytesMut::new();
        let text = seconds.to_string();
        let length = put_entry(&mut bytes, b"body", [("id", "x"), ("mqtt5MsgExpireInterval", &*text)]).unwrap();
        let expiry = Some(Expiry { deadline: now + Duration::from_secs(seconds), written: seconds });
        lanes.push(Entry { ticket, order: OrderKey::Hash(1), length, expiry }, &bytes);
    }
    let (mut sends, mut expired) = (Vec::new(), Vec::new());
    lanes.ready(now + Duration::from_secs(10), &mut sends, &mut expired);
    assert_eq!((sends[0].entries, expired, lanes.unresolved()), (1, vec![0], 1));
    assert!(sends[0].bytes.ends_with(b"mqtt5MsgExpireInterval\x0140\x02"), "{:?}", sends[0].bytes);
}

/// What may happen to a topic's lanes.
#[derive(Debug, Clone)]
enum Step {
    Push { key: u64 },
    Send,
    Stored { pick: usize },
    Failed { pick: usize, stored_all_the_same: bool },
    Refused { pick: usize },
    Queues { from: u32, to: u32 },
    Wait { seconds: u64 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0u64..12).prop_map(|key| Step::Push { key: key.wrapping_mul(0x1234_5678_9abc_def1) }),
        4 => Just(Step::Send),
        4 => any::<usize>().prop_map(|pick| Step::Stored { pick }),
        2 => (any::<usize>(), any::<bool>())
            .prop_map(|(pick, stored_all_the_same)| Step::Failed { pick, stored_all_the_same }),
        1 => any::<usize>().prop_map(|pick| Step::Refused { pick }),
        1 => (0u32..6, 0u32..6).prop_map(|(from, to)| Step::Queues { from, to }),
        2 => (0u64..40).prop_map(|seconds| Step::Wait { seconds }),
    ];
    prop::collection::vec(step, 1..200)
}

/// Lanes with a broker that stores what it is told to, in the order in which it is told.
struct World {
    lanes: Lanes,
    now: Instant,
    keys: BTreeMap<Ticket, u64>,
    under_way: Vec<Send>,
    /// By ticket: how often it was settled.
    settled: HashMap<Ticket, usize>,
    /// Everything stored, repeats included, in the order of storing.
    stored: Vec<Ticket>,
}

impl World {
    fn send(&mut self) {
        self.lanes.advance(self.now);
        self.under_way.extend(ready(&mut self.lanes, self.now));
    }

    fn step(&mut self, step: &Step) {
        let picked = |pick: usize, under_way: &mut Vec<Send>| {
            (!under_way.is_empty()).then(|| under_way.swap_remove(pick % under_way.len()))
        };
        match *step {
            Step::Push { key } => {
                let ticket = self.keys.len() as Ticket;
                self.keys.insert(ticket, key);
                push(&mut self.lanes, ticket, key);
            }
            Step::Send => self.send(),
            Step::Stored { pick } => {
                if let Some(send) = picked(pick, &mut self.under_way) {
                    self.stored.extend(tickets(&send.bytes));
                    let settled: Vec<_> = self.lanes.stored(send.id).collect();
                    for ticket in settled {
                        *self.settled.entry(ticket).or_default() += 1;
                    }
                }
            }
            Step::Failed { pick, stored_all_the_same } => {
                if let Some(send) = picked(pick, &mut self.under_way) {
                    if stored_all_the_same {
                        self.stored.extend(tickets(&send.bytes));
                    }
                    let now = self.now;
                    self.lanes.failed(send.id, String::new(), |n| now + Duration::from_secs(n.into()));
                }
            }
            Step::Refused { pick } => {
                if let Some(send) = picked(pick, &mut self.under_way)
                    && let Some(ticket) = self.lanes.refused(send.id)
                {
                    *self.settled.entry(ticket).or_default() += 1;
                }
            }
            Step::Queues { from, to } => self.lanes.set_queues(queues(from..to), self.now),
            Step::Wait { seconds } => self.now += Duration::from_secs(seconds),
        }
    }

    fn finish(&mut self) {
        self.lanes.set_queues(queues(0..3), self.now);
        while self.lanes.unresolved() > 0 {
            self.now += GRACE;
            self.send();
            while !self.under_way.is_empty() {
                self.step(&Step::Stored { pick: 0 });
            }
        }
    }
}

proptest! {
    #[test]
    fn every_message_is_settled_once_and_keys_keep_their_order(steps in steps()) {
        let mut world = World {
            lanes: Lanes::new(LIMITS, GRACE),
            now: Instant::now(),
            keys: BTreeMap::new(),
            under_way: Vec::new(),
            settled: HashMap::new(),
            stored: Vec::new(),
        };
        for step in &steps {
            world.step(step);
            let mut busy: Vec<_> = world.lanes.current.iter().filter(|lane| lane.request.is_some()).collect();
            busy.dedup_by_key(|lane| lane.queue.clone());
            prop_assert!(busy.len() <= world.under_way.len());
        }
        world.finish();
        for ticket in world.keys.keys() {
            prop_assert_eq!(world.settled.get(ticket), Some(&1), "ticket {}", ticket);
        }
        let mut latest: HashMap<u64, Ticket> = HashMap::new();
        let mut seen = std::collections::HashSet::new();
        for ticket in world.stored.iter().filter(|ticket| seen.insert(**ticket)) {
            let last = latest.insert(world.keys[ticket], *ticket);
            prop_assert!(last.is_none_or(|last| last < *ticket), "{:?} before {}", last, ticket);
        }
    }
}
