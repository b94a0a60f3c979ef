//! Every metric and every state that a person can ask for, named once.
//!
//! Ends and routes hold the handles and touch them; only the admin listener reads them out. Labels are routes,
//! roles and brokers, never topics or client ids. It must never hold a secret or a payload.

mod end;
mod labels;
mod tokens;

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, AtomicU64},
    },
};

use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

pub use end::{Connection, EndState};

pub use labels::Role;
use labels::{BrokerLabel, EndLabel, LoginLabel, ReasonLabel, RefusalLabel, RouteLabel};
use tokens::TokenFamilies;

/// The registry of one process. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Telemetry {
    registry: Arc<Registry>,
    families: Arc<Families>,
}

#[derive(Debug)]
struct Families {
    received: Family<RouteLabel, Counter>,
    stored: Family<RouteLabel, Counter>,
    suspected: Family<RouteLabel, Counter>,
    parked: Family<RouteLabel, Counter>,
    refused: Family<ReasonLabel, Counter>,
    dropped: Family<ReasonLabel, Counter>,
    unheard: Family<RouteLabel, Counter>,
    in_flight: Family<RouteLabel, Gauge>,
    in_flight_bytes: Family<RouteLabel, Gauge>,
    oldest: Family<RouteLabel, Gauge<f64, AtomicU64>>,
    stalled: Family<RouteLabel, Gauge>,
    latency: Family<RouteLabel, Histogram, fn() -> Histogram>,
    retried: Family<EndLabel, Counter>,
    up: Family<EndLabel, Gauge>,
    lag: Family<EndLabel, Gauge<i64, AtomicI64>>,
    broker_dropped: Family<BrokerLabel, Gauge>,
    online: Gauge,
    tokens: TokenFamilies,
    logins: Family<LoginLabel, Counter>,
    refused_logins: Family<RefusalLabel, Counter>,
    refused_access: Family<RefusalLabel, Counter>,
}

/// From half a millisecond to half a minute, by factors of about two.
fn latency_histogram() -> Histogram {
    Histogram::new([
        0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0,
    ])
}

impl Default for Telemetry {
    fn default() -> Self {
        let families = Families {
            received: Family::default(),
            stored: Family::default(),
            suspected: Family::default(),
            parked: Family::default(),
            refused: Family::default(),
            dropped: Family::default(),
            unheard: Family::default(),
            in_flight: Family::default(),
            in_flight_bytes: Family::default(),
            oldest: Family::default(),
            stalled: Family::default(),
            latency: Family::new_with_constructor(latency_histogram as fn() -> Histogram),
            retried: Family::default(),
            up: Family::default(),
            lag: Family::default(),
            broker_dropped: Family::default(),
            online: Gauge::default(),
            tokens: TokenFamilies::default(),
            logins: Family::default(),
            refused_logins: Family::default(),
            refused_access: Family::default(),
        };
        let mut registry = Registry::with_prefix("rocketbridge");
        let f = &families;
        registry.register("received", "Messages read from the source, redeliveries included", f.received.clone());
        registry.register("stored", "Messages that the sink confirmed", f.stored.clone());
        registry.register("duplicates_suspected", "Messages that the source says it sent before", f.suspected.clone());
        registry.register("parked", "Messages put aside with their reason", f.parked.clone());
        registry.register("refused", "Messages that can never be stored, by reason", f.refused.clone());
        registry.register(
            "dropped",
            "Messages given up by rule (QoS 0 at the limit, expired, echo, on_refuse = drop, lost by retention)",
            f.dropped.clone(),
        );
        registry.register("unheard", "Messages published without a subscriber, as the broker says", f.unheard.clone());
        registry.register("in_flight", "Messages read and not yet settled", f.in_flight.clone());
        registry.register_with_unit(
            "in_flight",
            "Memory held by messages in flight",
            Unit::Bytes,
            f.in_flight_bytes.clone(),
        );
        registry.register_with_unit(
            "oldest_unsettled_age",
            "Age of the oldest message in flight",
            Unit::Seconds,
            f.oldest.clone(),
        );
        registry.register(
            "stalled",
            "1 while messages wait that the sink, or parking, does not take",
            f.stalled.clone(),
        );
        registry.register_with_unit("latency", "From receipt to confirmation", Unit::Seconds, f.latency.clone());
        registry.register("retried", "Requests that an end sent again", f.retried.clone());
        registry.register("up", "1 while an end is connected and able to work", f.up.clone());
        registry.register("lag", "Messages that wait at the source's broker, where it says so", f.lag.clone());
        registry.register(
            "broker_dropped",
            "Messages that an MQTT broker says it dropped for any of its clients since it started",
            f.broker_dropped.clone(),
        );
        registry.register("clients_online", "Clients known to be online, in all groups", f.online.clone());
        f.tokens.register(&mut registry);
        registry.register("logins", "Clients that were let in, as their brokers asked", f.logins.clone());
        registry.register("logins_refused", "Logins that were refused, by reason", f.refused_logins.clone());
        registry.register(
            "access_refused",
            "Publishes and subscribes of clients that were refused, by reason",
            f.refused_access.clone(),
        );
        Self { registry: Arc::new(registry), families: Arc::new(families) }
    }
}

impl Telemetry {
    /// All metrics in the OpenMetrics text format, which Prometheus reads.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        match encode(&mut text, &self.registry) {
            Ok(()) => text,
            Err(fmt::Error) => unreachable!("writing to a string cannot fail"),
        }
    }

    /// Says how many clients are known to be online.
    pub fn online(&self, clients: usize) {
        self.families.online.set(i64::try_from(clients).unwrap_or(i64::MAX));
    }

    /// Counts a client that was let in, by the form in which its broker asked and by how it logged in.
    pub fn login(&self, form: &'static str, mode: &'static str) {
        self.families.logins.get_or_create(&LoginLabel { form, mode }).inc();
    }

    /// Counts a login that was refused, by the form in which its broker asked.
    pub fn refused_login(&self, form: &'static str, reason: &'static str) {
        self.families.refused_logins.get_or_create(&RefusalLabel { form, reason }).inc();
    }

    /// Counts something that a client was not allowed to do.
    pub fn refused_access(&self, form: &'static str, reason: &'static str) {
        self.families.refused_access.get_or_create(&RefusalLabel { form, reason }).inc();
    }

    /// What an MQTT broker tells of itself.
    pub fn broker(&self, broker: &str) -> BrokerTelemetry {
        BrokerTelemetry { label: BrokerLabel { broker: broker.to_owned() }, families: self.families.clone() }
    }

    /// The handles of one route.
    pub fn route(&self, route: &str, source_broker: &str, sink_broker: &str, park: &str) -> RouteTelemetry {
        let label = RouteLabel { route: route.to_owned() };
        let f = &self.families;
        RouteTelemetry {
            received: f.received.get_or_create_owned(&label),
            stored: f.stored.get_or_create_owned(&label),
            suspected_duplicates: f.suspected.get_or_create_owned(&label),
            parked: f.parked.get_or_create_owned(&label),
            in_flight: f.in_flight.get_or_create_owned(&label),
            in_flight_bytes: f.in_flight_bytes.get_or_create_owned(&label),
            oldest_age: f.oldest.get_or_create_owned(&label),
            stalled: f.stalled.get_or_create_owned(&label),
            refusal: Mutex::default(),
            latency: f.latency.get_or_create_owned(&label),
            source: self.end(route, Role::Source, source_broker),
            sink: self.end(route, Role::Sink, sink_broker),
            park: self.end(route, Role::Park, park),
            families: self.families.clone(),
            label,
        }
    }

    fn end(&self, route: &str, role: Role, broker: &str) -> Arc<EndState> {
        let label = EndLabel { route: route.to_owned(), role, broker: broker.to_owned() };
        Arc::new(EndState::new(label, self.families.clone()))
    }

    /// Forgets a removed route's series.
    pub fn remove(&self, route: &RouteTelemetry) {
        let f = &self.families;
        for family in [&f.received, &f.stored, &f.suspected, &f.parked] {
            family.remove(&route.label);
        }
        for family in [&f.in_flight, &f.in_flight_bytes, &f.stalled] {
            family.remove(&route.label);
        }
        f.unheard.remove(&route.label);
        f.oldest.remove(&route.label);
        f.latency.remove(&route.label);
        for end in [&route.source, &route.sink, &route.park] {
            let label = end.label();
            f.retried.remove(label);
            f.up.remove(label);
            f.lag.remove(label);
        }
    }
}

/// What an MQTT broker tells of itself. One that tells nothing has no series.
#[derive(Debug)]
pub struct BrokerTelemetry {
    label: BrokerLabel,
    families: Arc<Families>,
}

impl BrokerTelemetry {
    /// Says how many messages the broker dropped since it started.
    pub fn dropped(&self, messages: u64) {
        let messages = i64::try_from(messages).unwrap_or(i64::MAX);
        self.families.broker_dropped.get_or_create(&self.label).set(messages);
    }
}

impl Drop for BrokerTelemetry {
    fn drop(&mut self) {
        self.families.broker_dropped.remove(&self.label);
    }
}

/// One route's numbers.
#[derive(Debug)]
pub struct RouteTelemetry {
    /// Messages read.
    pub received: Counter,
    /// Messages confirmed.
    pub stored: Counter,
    /// Messages that the source says it sent before.
    pub suspected_duplicates: Counter,
    /// Messages put aside.
    pub parked: Counter,
    in_flight: Gauge,
    in_flight_bytes: Gauge,
    /// Seconds.
    pub oldest_age: Gauge<f64, AtomicU64>,
    /// 0 or 1.
    pub stalled: Gauge,
    /// Why the route stands still by its own rule.
    refusal: Mutex<Option<String>>,
    /// Seconds from receipt to confirmation.
    pub latency: Histogram,
    /// How the source is.
    pub source: Arc<EndState>,
    /// How the sink is.
    pub sink: Arc<EndState>,
    /// How parking is.
    pub park: Arc<EndState>,
    families: Arc<Families>,
    label: RouteLabel,
}

impl RouteTelemetry {
    /// Sets how many messages are read and not settled, and the bytes they occupy.
    pub fn set_in_flight(&self, messages: usize, bytes: usize) {
        self.in_flight.set(i64::try_from(messages).unwrap_or(i64::MAX));
        self.in_flight_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// How many messages are read and not settled.
    pub fn in_flight(&self) -> usize {
        usize::try_from(self.in_flight.get()).unwrap_or(0)
    }

    /// Counts a refusal under its kind.
    pub fn refused(&self, kind: &'static str) {
        let label = ReasonLabel { route: self.label.route.clone(), reason: kind.to_owned() };
        self.families.refused.get_or_create(&label).inc();
    }

    /// Says why the route stands still for a message that can never be sent, or that it does not.
    pub fn stand_still(&self, refusal: Option<String>) {
        *self.refusal.lock().unwrap_or_else(PoisonError::into_inner) = refusal;
    }

    /// Why the route stands still for a message that can never be sent, if it does.
    pub fn refusal(&self) -> Option<String> {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Why nothing is confirmed, as far as the route or an end of it can tell.
    pub fn blocked_by(&self) -> Option<String> {
        self.refusal().or_else(|| self.sink.reason()).or_else(|| self.park.reason())
    }

    /// Counts messages that were given up by rule.
    pub fn dropped(&self, reason: &'static str, count: u64) {
        self.source.dropped(reason, count);
    }
}
