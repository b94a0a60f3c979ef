//! What the bridge knows of a broker's own life, and what follows for its clients: which connections a restart has
//! ended, when a silent broker counts as dead, and since when events may be missing.
//!
//! Pure: times are arguments, in milliseconds since the epoch by the bridge's clock. It must never take a broker that
//! answers late for one that was restarted, and never pass over a time in which events may have been lost.

mod skew;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use skew::Skew;

/// Where events are shuffled, the end of a connection may come this long after the beginning of the next one.
const SHUFFLED: u64 = 5_000;
/// An event that comes this late, in milliseconds, was waited for; Mosquitto tells seconds.
const LATE: u64 = 3_000;
/// What a broker says of what it dropped may be about the time before, for so long.
const TROUBLE: u64 = 30_000;
/// A gap that grows is told anew no more often than this.
const AGAIN: u64 = 1_000;
/// Two tellings of one start are not further apart than this.
const START_SLACK: u64 = 4_000;

/// How far a broker's events can be relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reliance {
    /// It keeps them for us while we are away for up to so long, and tells for how long it has been running.
    Kept {
        /// Milliseconds.
        up_to: u64,
    },
    /// What happens while we are away is gone, or a restart cannot be told from a cut.
    WhileConnected,
}

/// What is known, as it is kept on disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// When that happened which was heard of last: what happened before has been heard of, too. 0 where that is not so.
    pub heard: u64,
    /// How far the bridge's clock is ahead of the broker's, where that has been seen.
    pub ahead: Option<i64>,
    /// When it started, as far as it says.
    pub started: Option<u64>,
    /// The last time that it said so, and for how long it had been running, in milliseconds.
    pub uptime: Option<(u64, u64)>,
    /// Events from before this, by the broker's clock, may be missing.
    pub gap: Option<u64>,
    /// How many messages it had dropped, for any of its clients.
    pub dropped: u64,
}

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The broker has been away for the grace time: everything that is open ends now.
    Gone,
    /// It was restarted: what was heard of before `heard_before`, or began before `began_before` by the broker's
    /// clock, ended.
    Restarted {
        /// By the bridge's clock.
        heard_before: u64,
        /// By the broker's clock.
        began_before: u64,
    },
    /// Events before `until`, by the broker's clock, may be missing.
    Gap {
        /// Events from then on are certain.
        until: u64,
    },
    /// Who was connected at `since`, by the broker's clock, is known, and all that has happened since.
    Whole {
        /// By the broker's clock.
        since: u64,
    },
}

/// The life of one broker as its events tell it.
#[derive(Debug)]
pub struct Lifeline {
    reliance: Reliance,
    grace: Option<u64>,
    known: Known,
    skew: Skew,
    /// Since when there is no connection; at first, since this process looks for one.
    down: Option<u64>,
    /// When the last loss began, and when it was over: a restart is looked for in it.
    loss: Option<(u64, u64)>,
    /// Until when there was a connection before this one, as far as is known.
    listened: u64,
    /// The broker has said on this connection for how long it has been running.
    told: bool,
    /// When an event last came late.
    late_at: Option<u64>,
    /// What was open has been ended for want of a sign of life.
    gone: bool,
    /// The connection that began last found its session as it was left.
    kept: bool,
}

impl Lifeline {
    /// `known` by the last process, if there was one; `grace`: how long a broker may be away, never to give it up.
    pub fn new(reliance: Reliance, grace: Option<u64>, known: Option<Known>, now: u64) -> Self {
        let known = known.unwrap_or_default();
        let skew = Skew::new(known.ahead);
        Self {
            reliance,
            grace,
            known,
            skew,
            down: Some(now),
            loss: None,
            listened: known.heard,
            told: false,
            late_at: None,
            gone: false,
            kept: true,
        }
    }

    /// What is to be kept on disk.
    pub fn known(&self) -> Known {
        self.known
    }

    /// The broker's clock, when the bridge's shows `now`.
    pub fn broker_time(&self, now: u64) -> u64 {
        self.skew.broker_time(now)
    }

    /// Whether what happened before the connection began comes first.
    pub fn catches_up(&self) -> bool {
        self.kept && matches!(self.reliance, Reliance::Kept { .. })
    }

    /// The connection is lost.
    pub fn lost(&mut self, now: u64) {
        if self.down.is_none() {
            self.down = Some(now);
            self.listened = now;
        }
    }

    /// There is a connection again. `kept`: the broker still has the session.
    pub fn found(&mut self, kept: bool, now: u64) -> Option<Verdict> {
        let down = self.down.take()?;
        self.kept = kept;
        self.loss = Some((down, now));
        self.told = false;
        // What was called gone may have been there all the time; and of whom nothing is known anything may be.
        let unsure = std::mem::take(&mut self.gone) || self.known.heard == 0;
        match self.reliance {
            Reliance::Kept { up_to } if kept && !unsure => {
                (self.known.heard < now.saturating_sub(up_to)).then(|| self.too_old(now, up_to)).flatten()
            }
            _ => self.gap(now),
        }
    }

    /// An event came, which happened at `at` by the broker's clock if it says so.
    pub fn heard(&mut self, at: Option<u64>, now: u64) -> Option<Verdict> {
        let late = at.map_or(0, |at| self.skew.lateness(at, now));
        if late > LATE {
            self.late_at = Some(now);
        }
        self.known.ahead = self.skew.ahead();
        self.happened(now.saturating_sub(late), now)
    }

    /// Something came that happened at `then`, by the bridge's clock. A broker gives what it keeps in order, so it may
    /// have dropped what happened after the thing before, and that is too long ago.
    fn happened(&mut self, then: u64, now: u64) -> Option<Verdict> {
        let last = self.known.heard;
        self.known.heard = last.max(then);
        let Reliance::Kept { up_to } = self.reliance else { return None };
        // A broker that says at times for how long it has been running is silent only when it is not read.
        let since = if self.known.uptime.is_some() { last } else { then };
        (since < now.saturating_sub(up_to)).then(|| self.too_old(now, up_to)).flatten()
    }

    /// The broker may have dropped what it had kept for so long. It is said a little further than that, so that not
    /// each event says it anew.
    fn too_old(&mut self, now: u64, up_to: u64) -> Option<Verdict> {
        self.gap(now.saturating_sub(up_to) + AGAIN)
    }

    /// The broker says for how long it has been running, in seconds. What it says may come late.
    pub fn uptime(&mut self, seconds: u64, now: u64) -> Vec<Verdict> {
        let running = seconds.saturating_mul(1_000);
        let started = now.saturating_sub(running);
        let last = self.known.uptime.replace((now, running));
        // What waited for us may come after what is told now, and says less.
        let first = !std::mem::replace(&mut self.told, true);
        let before = first && last.is_some_and(|(_, before)| running < before);
        let prompt = last.is_some_and(|(at, before)| running.abs_diff(before).abs_diff(now - at) <= START_SLACK);
        // One that says it late each time seems to have started later, but not while nobody listened.
        let since = started + START_SLACK >= self.listened;
        let known = self.known.started.unwrap_or(started);
        let anew = since && (before || (prompt && started > known + START_SLACK));
        let started = if anew { started } else { started.min(known) };
        self.known.started = Some(started);
        let mut verdicts = Vec::from_iter(self.happened(started + running, now));
        if anew {
            self.restarted(started, now, &mut verdicts);
        }
        verdicts
    }

    fn restarted(&mut self, started: u64, now: u64, verdicts: &mut Vec<Verdict>) {
        // It can only have happened while there was no connection.
        let (lost, found) = self.loss.unwrap_or((started, now));
        let began_before = whole_second(self.broker_time(started.min(lost)));
        verdicts.push(Verdict::Restarted { heard_before: lost, began_before });
        if let Reliance::Kept { up_to } = self.reliance
            && self.kept
            && found.saturating_sub(started) <= up_to
        {
            // What was missed before the restart is over as well.
            let missed = self.known.gap.take().unwrap_or(0);
            verdicts.push(Verdict::Whole { since: began_before.max(missed) });
        }
    }

    /// The broker says how many messages it has dropped, for any of its clients. While we were away, or read too slowly,
    /// some of them may have been events.
    pub fn dropped(&mut self, count: u64, now: u64) -> Option<Verdict> {
        let before = std::mem::replace(&mut self.known.dropped, count);
        let trouble = self.loss.is_some_and(|(_, found)| now.saturating_sub(found) < TROUBLE)
            || self.late_at.is_some_and(|at| now.saturating_sub(at) < TROUBLE);
        (count > before && trouble).then(|| self.gap(now)).flatten()
    }

    /// What is known of clients has been compared with the broker's list of them, asked for at `asked`.
    pub fn compared(&mut self, asked: u64) -> Option<Verdict> {
        let until = self.known.gap.take()?;
        Some(Verdict::Whole { since: until.max(whole_second(self.broker_time(asked))) })
    }

    /// Time passes.
    pub fn tick(&mut self, now: u64) -> Option<Verdict> {
        let down = self.down?;
        if self.gone || now.saturating_sub(down) < self.grace? {
            return None;
        }
        self.gone = true;
        Some(Verdict::Gone)
    }

    /// Events from before `end`, by the bridge's clock, may be missing; nothing where that has been said.
    fn gap(&mut self, end: u64) -> Option<Verdict> {
        self.known.heard = self.known.heard.max(end);
        let forgets = self.reliance == Reliance::WhileConnected;
        let until = whole_second(self.broker_time(end)) + if forgets { SHUFFLED } else { 0 };
        // Where each loss of the way is a gap, there are few of them, and each asks for a list.
        if !forgets && self.known.gap.is_some_and(|known| known >= until) {
            return None;
        }
        self.known.gap = Some(until);
        Some(Verdict::Gap { until })
    }
}

/// Brokers that tell the time in seconds cut off what is beyond.
fn whole_second(time: u64) -> u64 {
    time / 1_000 * 1_000
}
