//! The view against a plain definition of presence: sets of notices, gaps and resets, which know no order, no
//! repetition and no time.

use std::collections::{BTreeSet, HashSet};

use proptest::{collection::vec, prelude::*, sample::Index};

use super::*;
use crate::presence::view::snapshot::{content, decode, seal};

const CLIENTS: [&str; 5] = ["G@@@1", "G@@@2", "H@@@1", "plain", "plain2"];
const GROUPS: [&str; 4] = ["G", "H", "", "nobody"];
const SOURCES: [Option<&str>; 3] = [None, Some("s"), Some("t")];

/// Everything that was ever said.
#[derive(Debug, Default)]
struct Model {
    notices: HashSet<(Option<&'static str>, Notice)>,
    gaps: BTreeSet<(&'static str, u64)>,
    resets: BTreeSet<(&'static str, u64)>,
}

impl Model {
    fn gap(&self, source: Option<&str>) -> Option<u64> {
        let latest = |said: &BTreeSet<(&str, u64)>| said.iter().filter(|s| Some(s.0) == source).map(|s| s.1).max();
        latest(&self.gaps).filter(|until| latest(&self.resets).is_none_or(|at| *until > at))
    }

    /// Sources that told of a group; all of them, where none did.
    fn sources(&self, group: &str) -> Vec<Option<&str>> {
        let of_group = self.notices.iter().filter(|(_, notice)| split(&notice.client_id).0 == group);
        let sources: Vec<_> = of_group.map(|(source, _)| *source).collect();
        if sources.is_empty() { SOURCES.to_vec() } else { sources }
    }

    fn online(&self, client_id: &str) -> Answer {
        let of_client = || self.notices.iter().filter(|(_, notice)| notice.client_id == client_id);
        let has_ended =
            |channel| of_client().any(|(_, notice)| notice.channel_id == channel && notice.event_type != Connect);
        let open = || of_client().filter(|(_, notice)| notice.event_type == Connect && !has_ended(notice.channel_id));
        let counts =
            |(source, notice): &&(Option<&str>, Notice)| self.gap(*source).is_none_or(|until| notice.time > until);
        let missed = |source: Option<&str>| {
            let is_left = open().any(|(by, _)| *by == source);
            let says = |by: Option<&str>, event| by == source && (event == Connect || !is_left);
            let heard = of_client().filter(|(by, notice)| says(*by, notice.event_type)).map(|(_, notice)| notice.time);
            let heard = heard.max();
            self.gap(source).is_some_and(|until| heard.is_none_or(|at| at <= until))
        };
        match u32::try_from(open().filter(counts).count()).unwrap() {
            0 if self.sources(split(client_id).0).into_iter().any(missed) => Unknown,
            open => Known(open),
        }
    }

    fn heard_at(&self, client_id: &str) -> Option<u64> {
        self.notices.iter().filter(|(_, notice)| notice.client_id == client_id).map(|(_, notice)| notice.time).max()
    }

    fn count(&self, group: &str) -> (Vec<&str>, Count) {
        let known = |id: &&str| split(id).0 == group && !matches!(self.online(id), Known(0) | Unknown);
        let online: Vec<&str> = CLIENTS.into_iter().filter(known).collect();
        let exact = self.sources(group).into_iter().all(|source| self.gap(source).is_none());
        (online.clone(), Count { online: online.len(), exact })
    }

    fn agrees_with(&self, view: &View) -> Result<(), TestCaseError> {
        for client in CLIENTS.into_iter().chain(["G@@@never", "nobody@@@1", "never"]) {
            prop_assert_eq!(view.online(client), self.online(client), "{} in {:?}", client, self);
        }
        for group in GROUPS {
            let (online, count) = self.count(group);
            prop_assert_eq!(view.count(group), count, "{} in {:?}", group, self);
            let mut pages = Vec::new();
            while let Page { clients, more: true } = view.list(group, pages.last().map(String::as_str), 1) {
                pages.extend(clients.into_iter().map(|client| client.client_id));
            }
            pages.extend(listed(&view.list(group, pages.last().map(String::as_str), 9)));
            prop_assert_eq!(pages, online);
        }
        prop_assert_eq!(view.clients(), GROUPS.iter().map(|group| view.count(group).online).sum::<usize>());
        Ok(())
    }
}

/// One connection of one client, and all that can be said of it.
fn channel() -> impl Strategy<Value = Vec<(Option<&'static str>, Notice)>> {
    let of_it = (0..CLIENTS.len(), 0..SOURCES.len(), 0..4_u128, 1..50_u64, 1..50_u64);
    of_it.prop_map(|(client, source, channel, from, length)| {
        // No two connections of a client have one id, so what tells them apart goes into it.
        let id = (channel << 64) | (u128::from(from) << 32) | u128::from(length) << 16 | source as u128;
        let of = |event, time| (SOURCES[source], notice(CLIENTS[client], event, id, time));
        vec![of(Connect, from), of(Disconnect, from + length), of(TcpClean, from + length + 1)]
    })
}

#[derive(Debug, Clone)]
enum Step {
    Notice(Index),
    Gap(&'static str, u64),
    Reset(&'static str, u64),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let source = || prop_oneof![Just("s"), Just("t")];
    prop_oneof![
        12 => any::<Index>().prop_map(Step::Notice),
        2 => (source(), 1..100_u64).prop_map(|(source, until)| Step::Gap(source, until)),
        1 => (source(), 1..100_u64).prop_map(|(source, at)| Step::Reset(source, at)),
        1 => Just(Step::Restart),
    ]
}

fn restarted(view: &View) -> View {
    decode(&seal(content(view, &[]))).unwrap().view
}

proptest! {
    /// Any notices, gaps and resets, in any order and as often as you like, within the tombstones' window, with a
    /// snapshot written and read anywhere between: after each step the answers are those of the sets.
    #[test]
    fn order_and_repetition_do_not_matter(
        channels in vec(channel(), 1..10),
        steps in vec((step(), 0..WINDOW / 100), 1..80),
    ) {
        let notices = channels.concat();
        let (mut view, mut model, mut now) = (View::default(), Model::default(), 0);
        for (step, later) in steps {
            now += later;
            match step {
                Step::Notice(index) => {
                    let (source, notice) = index.get(&notices);
                    let before = model.online(&notice.client_id);
                    model.notices.insert((*source, notice.clone()));
                    let after = model.online(&notice.client_id);
                    let change = (before != after).then_some(Change { before, after });
                    prop_assert_eq!(view.apply(*source, notice, now), change);
                }
                Step::Gap(source, until) => {
                    model.gaps.insert((source, until));
                    view.gap(source, until);
                }
                Step::Reset(source, at) => {
                    model.resets.insert((source, at));
                    view.reset(source, at);
                }
                Step::Restart => view = restarted(&view),
            }
            model.agrees_with(&view)?;
            for client in GROUPS.iter().flat_map(|group| view.list(group, None, 9).clients) {
                prop_assert_eq!(model.online(&client.client_id), Known(u32::try_from(client.channels.len()).unwrap()));
                prop_assert_eq!(model.heard_at(&client.client_id), Some(client.heard_at));
            }
        }
    }

    /// As above over many windows, as long as what comes of a channel that has ended comes within a window of what
    /// came before, and gaps are known before what they make unknown.
    #[test]
    fn a_tombstone_lasts_for_a_window_after_its_latest_notice(
        channels in vec(channel(), 1..10),
        gaps in vec((prop_oneof![Just("s"), Just("t")], 1..100_u64), 0..3),
        steps in vec((any::<Index>(), prop_oneof![0..WINDOW / 3, Just(0), Just(WINDOW - 1)]), 1..80),
    ) {
        let notices = channels.concat();
        let (mut view, mut model, mut now) = (View::default(), Model::default(), 0);
        for (source, until) in gaps {
            model.gaps.insert((source, until));
            view.gap(source, until);
        }
        let mut ended = HashMap::new();
        for (index, later) in steps {
            now += later;
            let (source, notice) = index.get(&notices);
            let channel = (&notice.client_id, notice.channel_id);
            if ended.get(&channel).is_none_or(|latest| now - latest < WINDOW) {
                model.notices.insert((*source, notice.clone()));
                view.apply(*source, notice, now);
                if ended.contains_key(&channel) || notice.event_type != Connect {
                    ended.insert(channel, now);
                }
            }
            view.forget(now);
            model.agrees_with(&view)?;
        }
    }
}
