//! Turns what was measured into tables: pure, and the only place that knows the bars.

use std::{fmt::Write as _, time::Duration};

use crate::{
    latency::Latency,
    logins::{self, Logins},
    presence::Presence,
    process::Flow,
    small::{FarOutage, Idle, Outage, Stall},
    world::{Kind, Way},
};

/// All that one run measured; what was not measured is empty and does not appear.
#[derive(Default)]
pub(crate) struct Results {
    pub(crate) drains: Vec<(Way, Kind, Flow)>,
    pub(crate) ends: Vec<(Way, Kind, Latency)>,
    pub(crate) mqtt_leg: Vec<Latency>,
    pub(crate) rocketmq_leg: Vec<Latency>,
    pub(crate) small_window: Vec<Flow>,
    /// Milliseconds.
    pub(crate) starts: Vec<(Way, f64)>,
    pub(crate) idle: Option<Idle>,
    pub(crate) outages: Vec<Outage>,
    pub(crate) far_outages: Vec<FarOutage>,
    pub(crate) presence: Option<Presence>,
    pub(crate) logins: Option<Logins>,
    /// Seconds of CPU.
    pub(crate) build: Option<f64>,
}

struct Bars {
    /// Of the drain that the limit reaches, at least.
    of_bare: (f64, f64),
    /// Times the plain Java bridge, at least.
    of_java: f64,
    /// Microseconds of CPU a message, at most.
    cpu: (f64, f64),
}

/// First the bar, then the goal beyond it.
const fn bars(way: Way) -> Bars {
    match way {
        Way::Up => Bars { of_bare: (0.45, 0.7), of_java: 20.0, cpu: (15.0, 8.0) },
        Way::Down => Bars { of_bare: (0.7, 0.9), of_java: 3.0, cpu: (20.0, 8.0) },
    }
}

impl Results {
    fn flows(&self, way: Way, kind: Kind) -> Vec<Flow> {
        self.drains.iter().filter(|(w, k, _)| (*w, *k) == (way, kind)).map(|(.., f)| *f).collect()
    }

    fn latencies(&self, way: Way, kind: Kind) -> Vec<Latency> {
        self.ends.iter().filter(|(w, k, _)| (*w, *k) == (way, kind)).map(|(.., l)| *l).collect()
    }

    /// The tables, in Markdown.
    pub(crate) fn tables(&self) -> String {
        let mut text = String::new();
        for way in Way::BOTH {
            let rows: String = [Kind::Bare, Kind::Rocketbridge, Kind::Java]
                .into_iter()
                .filter_map(|kind| row(way, kind, &self.flows(way, kind), &self.latencies(way, kind)))
                .collect();
            if !rows.is_empty() {
                let _ = write!(
                    text,
                    "| {} | msg/s | lowest to highest | CPU µs/msg | peak MB | p50 ms | p99 ms |\n\
                     |---|---|---|---|---|---|---|\n{rows}\n",
                    way.title()
                );
            }
        }
        let legs = [("Mosquitto alone", &self.mqtt_leg), ("RocketMQ alone", &self.rocketmq_leg)];
        if legs.iter().any(|(_, l)| !l.is_empty()) {
            text += "| One leg at 1,000 msg/s | p50 ms | p99 ms |\n|---|---|---|\n";
            for (name, all) in legs {
                if let Some(l) = median_latency(all) {
                    let _ = writeln!(text, "| {name} | {:.2} | {:.2} |", l.p50, l.p99);
                }
            }
            text.push('\n');
        }
        self.presence.iter().for_each(|presence| text += &waves(presence));
        self.logins.iter().for_each(|logins| text += &format!("Logins: {logins}.\n\n"));
        let verdicts = self.verdicts().rows;
        if !verdicts.is_empty() {
            text += "| Demand | bar | goal | measured | |\n|---|---|---|---|---|\n";
            text += &verdicts;
        }
        text
    }

    /// The demands whose bar was missed.
    pub(crate) fn missed(&self) -> Vec<String> {
        self.verdicts().missed
    }

    fn verdicts(&self) -> Verdicts {
        let mut rows = Verdicts::default();
        for way in Way::BOTH {
            self.ratios(way, &mut rows);
        }
        for way in Way::BOTH {
            self.added(way, &mut rows);
        }
        if !self.small_window.is_empty() {
            let rate = median(self.small_window.iter().map(|f| f.rate));
            rows.least("Mosquitto's own window of 20, topic of 4 queues, msg/s", 4000.0, None, rate);
        }
        for way in Way::BOTH {
            let all = self.starts.iter().filter(|(w, _)| *w == way).map(|(_, ms)| *ms);
            if all.clone().count() > 0 {
                let what = format!("{}: start to first stored message, ms", way.title());
                rows.most(&what, 300.0, None, median(all));
            }
        }
        if let Some(idle) = &self.idle {
            rows.most("idle, both ways: resident MB", 30.0, None, idle.resident);
            rows.most("idle, both ways: % of a core", 0.2, None, idle.cpu);
            rows.most("stop with nothing in flight, ms", 1000.0, None, idle.stop.as_secs_f64() * 1e3);
        }
        stalls("RocketMQ", &self.outages.iter().map(|outage| &outage.stall).collect::<Vec<_>>(), &mut rows);
        stalls("Mosquitto", &self.far_outages.iter().map(|outage| &outage.stall).collect::<Vec<_>>(), &mut rows);
        let slowest = |times: Vec<Duration>| times.into_iter().max().map(|time| time.as_secs_f64());
        for (what, bar, times) in [
            ("sends go on after RocketMQ's return, s", 2.0, self.outages.iter().map(|o| o.sends).collect()),
            ("reads go on after RocketMQ's return, s", 5.0, self.outages.iter().map(|o| o.reads).collect()),
            (
                "publishes go on after Mosquitto's return, s",
                2.0,
                self.far_outages.iter().map(|o| o.publishes).collect(),
            ),
        ] {
            if let Some(slowest) = slowest(times) {
                rows.most(what, bar, None, slowest);
            }
        }
        if let Some(presence) = &self.presence {
            rows.most("who is online, in the waves: query p99, ms", 5.0, None, presence.latency.p99);
            rows.most("who is online, after the waves: wrong answers", 0.0, None, count(presence.wrong));
        }
        if let Some(Logins { latency: [_, slow, _], rate, wrong, .. }) = self.logins {
            rows.most(&format!("a login at {} a second: p99, ms", logins::RATE), 10.0, None, slow);
            rows.least("logins a second, as many as go", f64::from(logins::RATE), None, rate);
            rows.most("logins: wrong answers", 0.0, None, count(usize::try_from(wrong).unwrap_or(usize::MAX)));
        }
        if let Some(seconds) = self.build {
            rows.most("clean release build, s of CPU", 240.0, None, seconds);
        }
        rows
    }

    fn ratios(&self, way: Way, rows: &mut Verdicts) {
        let ours = self.flows(way, Kind::Rocketbridge);
        if ours.is_empty() {
            return;
        }
        let (bars, title) = (bars(way), way.title());
        let rate = median(ours.iter().map(|f| f.rate));
        for (kind, what, bar, goal) in [
            (Kind::Bare, "of the limit", bars.of_bare.0, Some(bars.of_bare.1)),
            (Kind::Java, "times plain Java", bars.of_java, None),
        ] {
            let other = self.flows(way, kind);
            if !other.is_empty() {
                rows.least(&format!("{title}: {what}"), bar, goal, rate / median(other.iter().map(|f| f.rate)));
            }
        }
        let cpu = median(ours.iter().map(|f| f.cpu));
        rows.most(&format!("{title}: CPU µs/msg"), bars.cpu.0, Some(bars.cpu.1), cpu);
        let peak = ours.iter().map(|f| f.peak).fold(0.0, f64::max);
        rows.most(&format!("{title}: peak MB"), 40.0, Some(20.0), peak);
        let copies: f64 = ours.iter().map(|f| f.duplicates).sum();
        rows.most(&format!("{title}: duplicates"), 0.0, None, copies);
    }

    fn added(&self, way: Way, rows: &mut Verdicts) {
        let ours = median_latency(&self.latencies(way, Kind::Rocketbridge));
        let legs = (median_latency(&self.mqtt_leg), median_latency(&self.rocketmq_leg));
        if let (Some(ours), (Some(one), Some(other))) = (ours, legs) {
            let what = format!("{}: median beyond the two legs, ms", way.title());
            rows.most(&what, 2.0, None, ours.p50 - one.p50 - other.p50);
        }
    }
}

/// A route that stands still takes what its window holds, and no more however long it lasts.
fn stalls(away: &str, all: &[&Stall], rows: &mut Verdicts) {
    if all.is_empty() {
        return;
    }
    let most = |of: fn(&Stall) -> f64| all.iter().map(|stall| of(stall)).fold(f64::MIN, f64::max);
    let what = format!("{away} away, 5,000 msg/s waiting: memory grows by MB");
    rows.most(&what, 5.0, None, most(|stall| stall.most - stall.before));
    rows.most(&format!("{away} away: of that after 5 s, MB"), 1.0, None, most(|stall| stall.most - stall.early));
}

/// What clients that come and go cost.
fn waves(presence: &Presence) -> String {
    let Presence { clients, brokers, taken, events, cpu, resident: [before, all, most], latency, .. } = presence;
    let mosquittos = if *brokers == 1 { "Mosquitto" } else { "Mosquittos" };
    let rows = [
        ("connections that Mosquitto takes, a second", number(*taken)),
        ("connects and drops a second, until the count shows them", number(*events)),
        ("CPU µs for each", number(*cpu)),
        ("resident MB: nobody, everybody, at most", format!("{before:.1}, {all:.1}, {most:.1}")),
        ("bytes a client", number(presence.per_client().round())),
        ("query ms: median, p99, at most", format!("{:.2}, {:.2}, {:.1}", latency.p50, latency.p99, latency.most)),
    ];
    let head =
        format!("| {} clients on {brokers} {mosquittos}, in waves | |\n|---|---|\n", number(f64::from(*clients)));
    rows.iter().fold(head, |text, (what, measured)| text + &format!("| {what} | {measured} |\n")) + "\n"
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn count(n: usize) -> f64 {
    n as f64
}

#[derive(Default)]
struct Verdicts {
    rows: String,
    missed: Vec<String>,
}

impl Verdicts {
    fn least(&mut self, what: &str, bar: f64, goal: Option<f64>, measured: f64) {
        self.row(what, '≥', bar, goal, measured, measured >= bar);
    }

    fn most(&mut self, what: &str, bar: f64, goal: Option<f64>, measured: f64) {
        self.row(what, '≤', bar, goal, measured, measured <= bar);
    }

    fn row(&mut self, what: &str, sign: char, bar: f64, goal: Option<f64>, measured: f64, met: bool) {
        let goal = goal.map_or_else(String::new, |g| format!("{sign} {}", number(g)));
        let (bar, measured) = (number(bar), number(measured));
        if !met {
            self.missed.push(format!("{what} {sign} {bar} (measured {measured})"));
        }
        let met = if met { "met" } else { "**missed**" };
        let _ = writeln!(self.rows, "| {what} | {sign} {bar} | {goal} | {measured} | {met} |");
    }
}

fn row(way: Way, kind: Kind, flows: &[Flow], latencies: &[Latency]) -> Option<String> {
    if flows.is_empty() && latencies.is_empty() {
        return None;
    }
    let name = match (kind, way) {
        (Kind::Bare, Way::Up) => "bare subscriber",
        (Kind::Bare, Way::Down) => "bare publisher",
        (Kind::Rocketbridge, _) => "**rocketbridge**",
        (Kind::Java, _) => "plain Java bridge",
    };
    let rates = || flows.iter().map(|f| f.rate);
    let mut row = format!("| {name} |");
    if flows.is_empty() {
        row += " | | | |";
    } else {
        let (low, high) = (rates().fold(f64::MAX, f64::min), rates().fold(0.0, f64::max));
        let cpu = median(flows.iter().map(|f| f.cpu));
        let peak = flows.iter().map(|f| f.peak).fold(0.0, f64::max);
        let _ =
            write!(row, " {} | {} to {} | {cpu:.1} | {peak:.1} |", number(median(rates())), number(low), number(high));
    }
    match median_latency(latencies) {
        Some(l) => {
            let _ = writeln!(row, " {:.2} | {:.2} |", l.p50, l.p99);
        }
        None => row += " | |\n",
    }
    Some(row)
}

/// Thousands apart, and as many digits as mean something.
fn number(n: f64) -> String {
    if n.abs() < 1000.0 {
        let text = format!("{n:.2}");
        return text.trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    let digits = format!("{n:.0}");
    let mut grouped = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(c);
    }
    grouped
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut all: Vec<f64> = values.collect();
    all.sort_by(f64::total_cmp);
    let middle = all.len() / 2;
    if all.len().is_multiple_of(2) { f64::midpoint(all[middle - 1], all[middle]) } else { all[middle] }
}

fn median_latency(all: &[Latency]) -> Option<Latency> {
    let of = |f: fn(&Latency) -> f64| median(all.iter().map(f));
    (!all.is_empty()).then(|| Latency { p50: of(|l| l.p50), p99: of(|l| l.p99) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_misses_its_bar_is_named_and_marked_and_the_rest_is_not() {
        let starts = vec![(Way::Up, 20.0), (Way::Down, 400.0)];
        let results = Results { starts, build: Some(200.0), ..Results::default() };
        let missed = results.missed();
        assert!(missed.len() == 1 && missed[0].contains("RocketMQ to MQTT") && missed[0].contains("400"), "{missed:?}");
        assert_eq!(results.tables().matches("**missed**").count(), 1);
    }
}
