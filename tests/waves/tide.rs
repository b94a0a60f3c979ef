//! Clients that come and go without an end, in every way, at a set rate.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{task::JoinHandle, time::interval};

use super::GROUP;
use crate::servers::fleet::{End, Fleet};

const STEP: Duration = Duration::from_millis(100);

/// A fleet in motion.
#[derive(Debug)]
pub(super) struct Tide {
    stop: Arc<AtomicBool>,
    task: JoinHandle<Fleet>,
}

impl Tide {
    /// Every second so many of `clients` come, or come anew, or go; at most `room` of them are there at a time.
    pub(super) fn start(mut fleet: Fleet, clients: u32, rate: u32, room: u32) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            let mut steps = interval(STEP);
            while !stopped.load(Ordering::Relaxed) {
                steps.tick().await;
                let many = rate / 10;
                let first = fastrand::u32(..clients);
                let some = (first..first + many).map(|number| number % clients);
                let full = u32::try_from(fleet.connected().len()).unwrap() + many > room;
                let (come, go): (Vec<u32>, Vec<u32>) = some.partition(|_| !full && fastrand::bool());
                fleet.end(go, |_| fastrand::choice([End::Said, End::Closed, End::Reset]).unwrap()).unwrap();
                fleet.connect(come).await.unwrap();
            }
            fleet
        });
        Self { stop, task }
    }

    /// Everybody stays as they are.
    pub(super) async fn stop(self) -> Fleet {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap()
    }
}

/// A fleet that nobody has connected yet.
pub(super) fn still(port: u16) -> Fleet {
    Fleet::new(port, GROUP)
}
