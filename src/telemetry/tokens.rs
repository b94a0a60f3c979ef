//! The numbers of the token service.

use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use super::{BrokerLabel, Telemetry};

#[derive(Debug, Default)]
pub(super) struct TokenFamilies {
    known: Gauge,
    untold: Gauge,
    clients: Gauge,
    behind: Gauge,
    cut: Family<BrokerLabel, Counter>,
    uncut: Family<BrokerLabel, Counter>,
}

impl TokenFamilies {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("tokens", "Tokens whose time is not over", self.known.clone());
        registry.register("tokens_untold", "Tokens that other replicas have not been told of", self.untold.clone());
        registry.register("token_clients", "Clients that are logged in with tokens", self.clients.clone());
        registry.register(
            "tokens_behind",
            "1 while tokens are taken or refused without knowing what other replicas revoked",
            self.behind.clone(),
        );
        registry.register("token_clients_cut", "Clients cut because their tokens ended", self.cut.clone());
        registry.register(
            "token_clients_not_cut",
            "Tries to cut a client that its broker did not follow",
            self.uncut.clone(),
        );
    }
}

impl Telemetry {
    /// Says how the tokens are.
    pub fn tokens(&self, known: u64, untold: u64, clients: usize, behind: bool) {
        let tokens = &self.families.tokens;
        tokens.known.set(i64::try_from(known).unwrap_or(i64::MAX));
        tokens.untold.set(i64::try_from(untold).unwrap_or(i64::MAX));
        tokens.clients.set(i64::try_from(clients).unwrap_or(i64::MAX));
        tokens.behind.set(i64::from(behind));
    }

    /// Counts a client that its broker has cut since its token has ended, or a try that failed.
    pub fn token_cut(&self, broker: &str, done: bool) {
        let tokens = &self.families.tokens;
        let family = if done { &tokens.cut } else { &tokens.uncut };
        family.get_or_create(&BrokerLabel { broker: broker.to_owned() }).inc();
    }
}
