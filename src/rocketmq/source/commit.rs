//! Telling brokers how far the group has read. Each commit is confirmed, or sent again.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tracing::warn;

use super::{
    Shared,
    holds::{Holds, LOCK_TRUST},
};
use crate::{message::Queue, rocketmq::offsets::Hold};

/// How often offsets are committed while messages are settled: what has been stored since then comes twice after a kill.
const PERIOD: Duration = Duration::from_millis(200);
/// Between looks while nothing is, and after a commit that was not confirmed.
const REST: Duration = Duration::from_secs(1);
/// How long the last commit may take.
const LAST_COMMIT: Duration = Duration::from_secs(1);
/// How long saying goodbye may take after it.
const GOODBYE: Duration = Duration::from_millis(500);

/// Commits in the background, for ever.
pub(super) async fn keep(shared: &Arc<Shared>) {
    loop {
        if timeout(REST, shared.settled.notified()).await.is_ok() {
            sleep(PERIOD).await;
        }
        let due = due_with_sure_lock(&shared.holds());
        let all = due.len();
        let done = commit_all(shared, due).await;
        shared.state.retried.inc_by((all - done) as u64);
        let lag = shared.holds().lag();
        shared.state.lag(i64::try_from(lag).unwrap_or(i64::MAX));
        if done < all {
            sleep(REST).await;
        }
    }
}

/// Another member may have gone on where our lock is not sure: it knows better.
fn due_with_sure_lock(holds: &Holds) -> Vec<(Hold, Queue, u64)> {
    let sure: Vec<Hold> =
        holds.iter().filter(|(_, reading)| reading.confirmed.elapsed() < LOCK_TRUST).map(|(hold, _)| hold).collect();
    holds.due().into_iter().filter(|(hold, ..)| sure.contains(hold)).collect()
}

/// How many of these the brokers confirmed.
async fn commit_all(shared: &Arc<Shared>, due: Vec<(Hold, Queue, u64)>) -> usize {
    let mut commits = JoinSet::new();
    for (hold, queue, offset) in due {
        let shared = shared.clone();
        commits.spawn(async move { commit(&shared, hold, &queue, offset).await });
    }
    commits.join_all().await.into_iter().filter(|done| *done).count()
}

/// Commits what is settled of a queue; false when the broker did not confirm.
pub(super) async fn commit(shared: &Shared, hold: Hold, queue: &Queue, offset: u64) -> bool {
    let done = store(shared, queue, offset).await;
    if done {
        shared.holds().committed(hold, offset);
    }
    done
}

/// Commits an offset of a queue; false when the broker did not confirm.
pub(super) async fn store(shared: &Shared, queue: &Queue, offset: u64) -> bool {
    let answer = shared.ask(&queue.broker, shared.member.update_offset(queue, offset)).await;
    answer.and_then(super::Response::success).is_ok()
}

/// The last commit; then the queues are given up and the group is left, so that others go on at once.
pub(super) async fn leave(shared: &Arc<Shared>) {
    let last = async {
        loop {
            let due = due_with_sure_lock(&shared.holds());
            let all = due.len();
            if commit_all(shared, due).await == all {
                return;
            }
            sleep(Duration::from_millis(100)).await;
        }
    };
    if timeout(LAST_COMMIT, last).await.is_err() {
        let queues = shared.holds().due().len();
        warn!(
            group = shared.from.group,
            queues, "stops without having committed all offsets: messages will come again"
        );
    }
    let mut brokers: BTreeMap<Arc<str>, Vec<Queue>> = BTreeMap::new();
    {
        let holds = shared.holds();
        for broker in &holds.joined {
            brokers.entry(broker.clone()).or_default();
        }
        for queue in &holds.locked {
            brokers.entry(queue.broker.clone()).or_default().push(queue.clone());
        }
    }
    let mut goodbyes = JoinSet::new();
    for (broker, queues) in brokers {
        let shared = shared.clone();
        goodbyes.spawn(async move {
            unlock(&shared, &queues).await;
            let _ = shared.ask(&broker, shared.member.unregister()).await;
        });
    }
    // Whoever does not hear it finds out by himself: members last 2 minutes.
    let _ = timeout(GOODBYE, goodbyes.join_all()).await;
}

/// Unlocks queues of one broker. A broker that does not hear it finds out by itself: a lock lasts 60 s.
pub(super) async fn unlock(shared: &Shared, queues: &[Queue]) {
    let Some(Queue { broker, .. }) = queues.first() else { return };
    let _ = shared.ask(broker, shared.member.unlock(queues)).await;
    shared.holds().locked.retain(|locked| !queues.contains(locked));
}

/// Gives up a queue that another member shall read: waits for what is in flight, commits, unlocks.
pub(super) async fn give_up(shared: Arc<Shared>, hold: Hold, queue: Queue) {
    /// After this long it is given up all the same: what is in flight then comes twice.
    const PATIENCE: Duration = Duration::from_secs(30);
    const LOOK: Duration = Duration::from_millis(20);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (unsettled, due) = {
            let mut holds = shared.holds();
            if holds.get_mut(hold).is_none() {
                return;
            }
            let due = holds.due().into_iter().find(|(due, ..)| *due == hold);
            (holds.unsettled(hold), due)
        };
        if unsettled == 0 || Instant::now() >= deadline {
            match due {
                Some((_, _, offset)) if !commit(&shared, hold, &queue, offset).await => {
                    if Instant::now() >= deadline {
                        break;
                    }
                }
                _ => break,
            }
        }
        sleep(LOOK).await;
    }
    unlock(&shared, std::slice::from_ref(&queue)).await;
    shared.holds().close(hold);
    shared.wake.notify_one();
}
