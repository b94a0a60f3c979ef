//! `[lmq.tokens]`.

use std::{collections::BTreeMap, sync::Arc};

use super::{Context, secret};
use crate::{
    diagnostic::Fault,
    settings::{RocketMqCluster, Secret, TokenSettings, TokenTopic},
    toml_reader::Table,
};

/// Characters of a secret that cannot be guessed.
const LEAST_SECRET: usize = 16;

pub(super) type Clusters = BTreeMap<String, Arc<RocketMqCluster>>;

pub(super) fn service(table: Table<'_>, context: &Context<'_>, clusters: &Clusters) -> Option<TokenSettings> {
    let found = secret(&table, "secret", context);
    match (table.key_at("secret"), &found) {
        (None, _) => {
            table.missing(
                "secret",
                "tokens are sealed with it: `secret = { env = \"NAME\" }`, the same for all replicas",
            );
        }
        (Some(at), Some(text)) if text.chars().count() < LEAST_SECRET => {
            let message = format!("`{}` is too short: whoever guesses it can make tokens", table.name("secret"));
            let fault = Fault::error(at, message, format!("needs at least {LEAST_SECRET} characters"));
            table.faults().add(fault.hint("`openssl rand -base64 32` makes a good one"));
        }
        _ => {}
    }
    let topic = topic(&table, clusters);
    table.finish();
    Some(TokenSettings { secret: Secret::new(found?), topic })
}

/// The topic in which replicas tell each other of tokens.
fn topic(table: &Table<'_>, clusters: &Clusters) -> Option<TokenTopic> {
    let (topic, named) = (table.filled_text("topic"), table.filled_text("cluster"));
    let Some(topic) = topic else {
        if let Some(named) = named {
            let fault = Fault::error(named.at, format!("`{}` has no effect", table.name("cluster")), "not used");
            table.faults().add(fault.hint("it is for `topic`, which is not given"));
        }
        return None;
    };
    let cluster = match &named {
        Some(named) => clusters.get(&named.value),
        None if clusters.len() == 1 => clusters.values().next(),
        None => None,
    };
    if cluster.is_none() {
        let (at, label) =
            named.map_or((topic.at, "on which cluster?"), |named| (named.at, "there is none of this name"));
        let fault = Fault::error(at, format!("`{}` needs a RocketMQ cluster", table.name("topic")), label);
        let known: Vec<&str> = clusters.keys().map(String::as_str).collect();
        let hint = if known.is_empty() {
            "name one: `[rocketmq.main]` with its `name_servers`".to_owned()
        } else {
            format!("write `cluster = \"NAME\"`, one of: {}", known.join(", "))
        };
        table.faults().add(fault.hint(hint));
    }
    Some(TokenTopic { cluster: cluster?.clone(), topic: topic.value })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::{
        diagnostic::Faults,
        settings::{Environment, TokenSettings, load},
    };

    const ONE: &str = "[rocketmq.main]\nname_servers = \"ns\"\n";
    const TWO: &str = "[rocketmq.main]\nname_servers = \"ns\"\n[rocketmq.other]\nname_servers = \"ns\"\n";

    fn read(clusters: &str, tokens: &str) -> (Option<TokenSettings>, String) {
        let text = format!("{clusters}[mqtt.edge]\nurl = \"mqtt://broker\"\n[lmq.tokens]\n{tokens}\n");
        let faults = Faults::default();
        let environment = Environment::from([("TOKEN_SECRET", "0123456789abcdef"), ("SHORT", "0123456789abcde")]);
        let settings = load(Path::new("rocketbridge.toml"), &text, &environment, &faults);
        (settings.lmq.tokens, faults.into_report().render(false))
    }

    #[test]
    fn the_topic_is_on_the_only_cluster_or_the_one_that_is_named() {
        let secret = "secret = { env = \"TOKEN_SECRET\" }\n";
        for (clusters, more, cluster) in
            [(ONE, "topic = \"t\"", "main"), (TWO, "topic = \"t\"\ncluster = \"other\"", "other")]
        {
            let (tokens, faults) = read(clusters, &format!("{secret}{more}"));
            let topic = tokens.and_then(|tokens| tokens.topic).expect(&faults);
            assert_eq!((&*topic.topic, &*topic.cluster.name, &*faults), ("t", cluster, ""));
        }
        let (tokens, faults) = read(ONE, secret);
        assert!(tokens.is_some_and(|tokens| tokens.topic.is_none()), "{faults}");
    }

    #[test]
    fn every_fault_says_what_to_do() {
        let good = "secret = { env = \"TOKEN_SECRET\" }\n";
        for (clusters, tokens, words) in [
            (ONE, "topic = \"t\"".to_owned(), "tokens are sealed with it"),
            (ONE, "secret = { env = \"SHORT\" }".to_owned(), "needs at least 16 characters"),
            (ONE, format!("{good}cluster = \"main\""), "has no effect"),
            (TWO, format!("{good}topic = \"t\""), "one of: main, other"),
            (TWO, format!("{good}topic = \"t\"\ncluster = \"mian\""), "there is none of this name"),
            ("", format!("{good}topic = \"t\""), "name one: `[rocketmq.main]`"),
            (ONE, format!("{good}topics = \"t\""), "topics"),
        ] {
            let (_, faults) = read(clusters, &tokens);
            assert!(faults.contains("error") && faults.contains(words), "{tokens}: {faults}");
            assert!(!faults.contains("0123456789"), "{faults}");
        }
    }
}
