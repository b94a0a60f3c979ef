//! The rules, as data, and what breaks one.

use super::source::paths;

/// What some modules must never name.
#[derive(Debug)]
pub(super) struct Rule {
    /// Modules it holds for, as `src/a` for `src/a.rs` and all below `src/a/`; `src` is everything.
    pub(super) within: &'static [&'static str],
    /// Modules among them it does not hold for.
    pub(super) outside: &'static [&'static str],
    /// Paths that must not be named, nor anything below them.
    pub(super) never: &'static [&'static str],
    /// Paths among them that may be.
    pub(super) except: &'static [&'static str],
    /// Why the rule is there.
    pub(super) why: &'static str,
}

/// Modules that only compute.
const PURE: &[&str] = &[
    "src/calendar",
    "src/message",
    "src/mapping",
    "src/http/login/fields",
    "src/lmq",
    "src/diagnostic",
    "src/toml_reader",
    "src/mqtt/backoff",
    "src/mqtt/ledger",
    "src/mqtt/outbox",
    "src/mqtt/overlap",
    "src/mqtt/packet",
    "src/mqtt/reason",
    "src/mqtt/sink/verdict",
    "src/presence/adapter",
    "src/presence/connections",
    "src/presence/event",
    "src/presence/ledger",
    "src/presence/lifeline",
    "src/presence/note",
    "src/presence/roster",
    "src/presence/view",
    "src/logins/form",
    "src/logins/quota",
    "src/tokens/reading",
    "src/tokens/record",
    "src/tokens/sessions",
    "src/tokens/upload",
    "src/rocketmq/allocation",
    "src/rocketmq/offsets",
    "src/rocketmq/sink/verdict",
    "src/rocketmq/wire",
];

/// Modules that only compute, and are told what time it is.
const TOLD_THE_TIME: &[&str] =
    &["src/mqtt/retained", "src/rocketmq/sink/backlog", "src/rocketmq/sink/lanes", "src/rocketmq/sink/topics"];

/// What acts on the world, or looks at it.
const ACTING: &[&str] = &[
    "tokio",
    "tracing",
    "notify",
    "std::time",
    "std::net",
    "std::fs",
    "std::thread",
    "std::env",
    "std::process",
    "crate::clock",
    "Instant::now",
    "SystemTime::now",
];

/// All rules.
pub(super) const RULES: &[Rule] = &[
    Rule {
        within: PURE,
        outside: &[],
        never: ACTING,
        except: &["std::time::Duration"],
        why: "pure: no clock, socket, file, task or log, so that it can be tested without any",
    },
    Rule {
        within: TOLD_THE_TIME,
        outside: &[],
        never: ACTING,
        except: &["std::time::Duration", "tokio::time::Instant"],
        why: "pure: points in time are arguments",
    },
    Rule {
        within: &["src/delivery"],
        outside: &[],
        never: ACTING,
        except: &["tokio::sync::mpsc", "tokio::time::Instant"],
        why: "the delivery contract: channels, and points in time as plain data, and nothing that acts",
    },
    Rule {
        within: &["src/mqtt"],
        outside: &[],
        never: &["crate::rocketmq"],
        except: &[],
        why: "the MQTT end never sees RocketMQ code",
    },
    Rule {
        within: &["src/rocketmq"],
        outside: &[],
        never: &["crate::mqtt"],
        except: &[],
        why: "the RocketMQ end never sees MQTT code",
    },
    Rule {
        within: &["src/mqtt", "src/rocketmq"],
        outside: &[],
        never: &["crate::route", "crate::supervisor", "crate::cli", "crate::http", "crate::parking", "crate::status"],
        except: &[],
        why: "an end knows the delivery contract, not who uses it",
    },
    Rule {
        within: &["src"],
        outside: &["src/lib", "src/mqtt", "src/rocketmq", "src/supervisor", "src/cli", "src/main"],
        never: &["crate::mqtt", "crate::rocketmq"],
        except: &[],
        why: "only the supervisor and the command line know both ends; all else works on neutral messages",
    },
    Rule {
        within: &["src"],
        outside: &["src/mqtt"],
        never: &["rumqttc_v4", "rumqttc_v5", "rumqttc_core", "mqttbytes", "tokio_tungstenite"],
        except: &[],
        why: "types of MQTT client crates stay inside the MQTT end",
    },
    Rule {
        within: &["src"],
        outside: &["src/rocketmq"],
        never: &["flate2", "lz4_flex", "ruzstd"],
        except: &[],
        why: "bodies are compressed on RocketMQ's wire alone; a payload is never touched",
    },
    Rule {
        within: &["src"],
        outside: &["src/cli", "src/main"],
        never: &["anyhow", "clap"],
        except: &[],
        why: "errors have types up to the command line, and arguments end there",
    },
    Rule {
        within: &["src"],
        outside: &["src/http"],
        never: &["axum"],
        except: &[],
        why: "the HTTP library stays behind the listeners",
    },
    Rule {
        within: &["src"],
        outside: &["src/presence/api"],
        never: &["hyper", "hyper_util", "http_body_util"],
        except: &[],
        why: "only brokers are asked over HTTP: for their clients, and to cut one",
    },
    Rule {
        within: &["src"],
        outside: &["src/telemetry"],
        never: &["prometheus_client"],
        except: &[],
        why: "every metric is named in one place",
    },
];

impl Rule {
    /// Whether the rule holds for a file.
    pub(super) fn is_about(&self, file: &str) -> bool {
        let among = |modules: &[&str]| modules.iter().any(|module| holds(module, file));
        among(self.within) && !among(self.outside)
    }

    fn forbids(&self, path: &str) -> bool {
        let among = |paths: &[&str]| paths.iter().any(|whole| is_below(whole, path));
        // A type that is allowed as data is still no clock.
        among(self.never) && (!among(self.except) || path.ends_with("::now"))
    }
}

/// Whether a file is a module's own or below it.
pub(super) fn holds(module: &str, file: &str) -> bool {
    file.strip_prefix(module).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
}

fn is_below(whole: &str, path: &str) -> bool {
    path.strip_prefix(whole).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// A path with `self` and `super` replaced by the modules that they stand for in a file.
fn absolute(path: &str, file: &str) -> String {
    let module = file.trim_start_matches("src/").trim_end_matches(".rs");
    let mut modules: Vec<&str> = module.split('/').collect();
    let mut rest = path;
    if let Some(below) = rest.strip_prefix("self::") {
        rest = below;
    } else if !rest.starts_with("super::") {
        return path.to_owned();
    }
    while let Some(below) = rest.strip_prefix("super::") {
        modules.pop();
        rest = below;
    }
    modules.insert(0, "crate");
    modules.push(rest);
    modules.join("::")
}

/// What a file breaks, in words, one line each. Files of tests may do as they need.
pub(super) fn breaches(file: &str, text: &str) -> Vec<String> {
    if file.ends_with("/tests.rs") || file.contains("/tests/") {
        return Vec::new();
    }
    let named = paths(text);
    let about = RULES.iter().filter(|rule| rule.is_about(file));
    let found = about.flat_map(|rule| {
        let forbidden = named.iter().filter(|named| rule.forbids(&absolute(&named.path, file)));
        forbidden.map(|named| format!("{file}:{}: names {} ({})", named.line, named.path, rule.why))
    });
    found.collect()
}

#[test]
fn breaches_are_found() {
    for (file, text, words) in [
        ("src/mapping/template.rs", "use std::{fmt, time::Instant};", "std::time::Instant (pure"),
        ("src/lmq.rs", "fn f() { tokio::spawn(g()); }", "tokio::spawn (pure"),
        ("src/message.rs", "//! x\n\nuse tracing::warn;", "src/message.rs:3: names tracing::warn"),
        ("src/delivery.rs", "use tokio::net::TcpStream;", "tokio::net::TcpStream (the delivery contract"),
        ("src/delivery.rs", "fn f() { tokio::time::Instant::now(); }", "Instant::now (the delivery contract"),
        ("src/rocketmq/sink/lanes.rs", "fn f() { Instant::now(); }", "Instant::now (pure: points in time"),
        ("src/delivery.rs", "fn f() { Instant::now(); }", "Instant::now (the delivery contract"),
        (
            "src/mqtt/source.rs",
            "use crate::{message::Message, rocketmq::Client};",
            "crate::rocketmq::Client (the MQTT end",
        ),
        ("src/mqtt/source.rs", "use super::super::rocketmq::Client;", "super::super::rocketmq::Client (the MQTT end"),
        ("src/rocketmq/wire/frame.rs", "use crate::mqtt;", "crate::mqtt (the RocketMQ end"),
        ("src/mqtt.rs", "use crate::supervisor::Supervisor;", "not who uses it"),
        (
            "src/route.rs",
            "use rumqttc_v5 as r5;\nfn f(p: rumqttc_v5::Packet) {}",
            "rumqttc_v5::Packet (types of MQTT client",
        ),
        ("src/settings.rs", "use anyhow::Result;", "anyhow::Result (errors have types"),
        ("src/supervisor.rs", "use prometheus_client::registry::Registry;", "named in one place"),
    ] {
        let found = breaches(file, text);
        assert!(found.len() == 1 && found[0].contains(words), "{file} with {text:?}: {found:?}");
    }
}

#[test]
fn what_is_allowed_is_no_breach() {
    for (file, text) in [
        ("src/delivery.rs", "use tokio::{sync::mpsc, time::Instant};"),
        ("src/mapping/template.rs", "use std::time::Duration; // not tokio::spawn"),
        ("src/mapping/template/tests.rs", "use tokio::spawn;"),
        ("src/mqtt/packet/v5.rs", "use rumqttc_v5 as r5; use super::super::reason::Reason; fn f(p: r5::Packet) {}"),
        ("src/supervisor.rs", "use crate::{mqtt::source, rocketmq::sink};"),
        ("src/mappings.rs", "use tokio::spawn;"),
        ("src/main.rs", "use anyhow::Result;"),
    ] {
        assert_eq!(breaches(file, text), Vec::<String>::new(), "{file}");
    }
}
