//! The subscriptions of a source: asked for at every login, and again while the broker refuses one.

use std::{path::Path, time::Duration};

use tokio::time::Instant;
use tracing::{info, warn};

use super::memory::Memory;
use crate::{
    mapping::FromMqtt,
    message::Qos,
    mqtt::{
        overlap::Subscriptions,
        packet::{Filter, OWN_ID},
        reason::Reason,
        session::Link,
    },
};

/// Between tries for a refused subscription: at first, and at most.
const FIRST_RETRY: Duration = Duration::from_secs(2);
const LAST_RETRY: Duration = Duration::from_secs(60);

const SHARED_NOT_SUPPORTED: u8 = 0x9E;
const WILDCARDS_NOT_SUPPORTED: u8 = 0xA2;

pub(super) struct Subscriber {
    /// Each filter as the broker is asked for it, with `$share/group/` where it is shared.
    paths: Vec<String>,
    is_shared: bool,
    qos: Qos,
    memory: Memory,
    subscriptions: Subscriptions,
    /// Why each filter was refused, if it was.
    refusals: Vec<Option<String>>,
    /// SUBSCRIBEs under way, each with the filters that it asks for.
    pending: Vec<(u16, Vec<usize>)>,
    /// The UNSUBSCRIBE of this connection.
    leaving: Option<(u16, Vec<String>)>,
    last_packet_id: u16,
    retry: Duration,
    retry_at: Option<Instant>,
}

impl Subscriber {
    pub(super) fn new(from: &FromMqtt, data_dir: &Path) -> Self {
        let share = from.share.as_ref().map_or_else(String::new, |group| format!("$share/{group}/"));
        Self {
            paths: from.filters.iter().map(|filter| format!("{share}{filter}")).collect(),
            is_shared: from.share.is_some(),
            memory: Memory::open(data_dir, &from.broker.name, &from.client_id),
            qos: from.qos,
            subscriptions: Subscriptions::new(&from.filters, fastrand::u32(..)),
            refusals: vec![None; from.filters.len()],
            pending: Vec::new(),
            leaving: None,
            last_packet_id: 0,
            retry: FIRST_RETRY,
            retry_at: None,
        }
    }

    /// Asks for all filters, on a new connection.
    pub(super) fn subscribe(&mut self, link: &mut Link) {
        self.memory.asks(&self.paths, link.limits.session_present);
        self.pending.clear();
        self.leaving = None;
        self.refusals.fill(None);
        self.retry_at = None;
        let all = (0..self.refusals.len()).collect();
        self.ask(all, link);
    }

    /// Asks again for what was refused, when it is time; says whether it did.
    pub(super) fn tick(&mut self, link: &mut Link) -> bool {
        let due = self.retry_at.is_some_and(|at| at <= Instant::now());
        if due {
            self.retry_at = None;
            self.retry = (self.retry * 2).min(LAST_RETRY);
            let refused = (0..self.refusals.len()).filter(|index| self.refusals[*index].is_some()).collect();
            self.ask(refused, link);
        }
        due
    }

    fn ask(&mut self, mut wanted: Vec<usize>, link: &mut Link) {
        wanted.retain(|index| match self.cannot(*index, link) {
            Some(code) => {
                self.refuse(*index, &Reason::of(code));
                false
            }
            None => true,
        });
        // Lower ids first: `Subscriptions` builds on that.
        wanted.sort_by_key(|index| self.subscriptions.all()[*index].id);
        if self.refusals.len() > 1 && link.limits.subscription_ids {
            for index in wanted {
                let id = self.subscriptions.all()[index].id;
                self.write(vec![index], Some(id), link);
            }
        } else if !wanted.is_empty() {
            self.write(wanted, None, link);
        }
    }

    /// What the broker said at login that it cannot do.
    fn cannot(&self, index: usize, link: &Link) -> Option<u8> {
        let filter = &self.subscriptions.all()[index].filter;
        if self.is_shared && !link.limits.shared {
            Some(SHARED_NOT_SUPPORTED)
        } else if filter.contains(['+', '#']) && !link.limits.wildcards {
            Some(WILDCARDS_NOT_SUPPORTED)
        } else {
            None
        }
    }

    fn write(&mut self, wanted: Vec<usize>, id: Option<usize>, link: &mut Link) {
        let filters: Vec<Filter> =
            wanted.iter().map(|index| Filter { path: self.paths[*index].clone(), qos: self.qos }).collect();
        let packet_id = self.next_packet_id();
        let start = link.out.len();
        match link.codec.subscribe(&mut link.out, packet_id, &filters, id) {
            Ok(()) => self.pending.push((packet_id, wanted)),
            Err(error) => {
                link.out.truncate(start);
                for index in wanted {
                    self.refuse(index, &Reason { code: 0x8F, text: Some(error.clone()) });
                }
            }
        }
    }

    fn next_packet_id(&mut self) -> u16 {
        self.last_packet_id = self.last_packet_id % (OWN_ID - 1) + 1;
        self.last_packet_id
    }

    /// Takes a SUBACK.
    pub(super) fn answered(&mut self, packet_id: u16, codes: &[u8], text: Option<&str>, route: &str, link: &mut Link) {
        let Some(at) = self.pending.iter().position(|(id, _)| *id == packet_id) else { return };
        let (_, asked) = self.pending.swap_remove(at);
        for (position, index) in asked.into_iter().enumerate() {
            let code = codes.get(position).copied().unwrap_or(0x80);
            let reason = Reason { code, text: text.map(str::to_owned) };
            if reason.is_failure() {
                self.refuse(index, &reason);
                continue;
            }
            self.subscriptions.answered(index, true);
            self.refusals[index] = None;
            if code < self.qos.level() {
                let filter = &self.subscriptions.all()[index].filter;
                warn!(%route, %filter, granted = code, "the broker grants a lower QoS than asked for");
            }
        }
        if self.is_subscribed() {
            self.retry = FIRST_RETRY;
            self.leave(link);
        }
    }

    /// Ends what an earlier mapping subscribed to, once all that is wanted now is granted: what matches both is then
    /// never without a subscription.
    fn leave(&mut self, link: &mut Link) {
        let unwanted = self.memory.unwanted(&self.paths);
        if unwanted.is_empty() || self.leaving.is_some() {
            return;
        }
        let packet_id = self.next_packet_id();
        let start = link.out.len();
        match link.codec.unsubscribe(&mut link.out, packet_id, &unwanted) {
            Ok(()) => self.leaving = Some((packet_id, unwanted)),
            Err(error) => {
                link.out.truncate(start);
                warn!(?unwanted, %error, "filters of an earlier mapping stay subscribed");
            }
        }
    }

    /// Takes an UNSUBACK. What the broker does not let go is asked for again at the next login.
    pub(super) fn left(&mut self, packet_id: u16, codes: &[u8], route: &str) {
        let Some((_, filters)) = self.leaving.as_mut().filter(|(id, _)| *id == packet_id) else { return };
        for (position, filter) in std::mem::take(filters).into_iter().enumerate() {
            let reason = Reason::of(codes.get(position).copied().unwrap_or(0));
            if reason.is_failure() {
                warn!(%route, %filter, %reason, "a filter of an earlier mapping stays subscribed");
                continue;
            }
            self.memory.gone(&filter);
            info!(%route, %filter, "unsubscribed: the mapping has it no more");
        }
    }

    fn refuse(&mut self, index: usize, reason: &Reason) {
        let filter = &self.subscriptions.all()[index].filter;
        self.refusals[index] = Some(format!("the subscription to {filter:?} is refused: {reason}"));
        self.subscriptions.answered(index, false);
        self.retry_at.get_or_insert_with(|| Instant::now() + self.retry.mul_f64(0.75 + fastrand::f64() / 2.0));
    }

    /// The first refusal there is, in words.
    pub(super) fn refusal(&self) -> Option<&str> {
        self.refusals.iter().flatten().next().map(String::as_str)
    }

    /// Whether the broker granted all.
    pub(super) fn is_subscribed(&self) -> bool {
        self.pending.is_empty() && self.refusals.iter().all(Option::is_none)
    }

    /// Whether this copy of a publish is the one that counts.
    pub(super) fn counts(&self, topic: &str, ids: &[usize]) -> bool {
        self.subscriptions.counts(topic, ids)
    }
}
