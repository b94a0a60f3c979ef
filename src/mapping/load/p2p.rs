//! `to.offline = "drop"`: what has to be there so that a route knows who is online.

use super::{Draft, source::Kind};
use crate::{
    diagnostic::{Fault, Faults},
    mapping::{From, To},
    settings::Settings,
};

/// Only RocketMQ's messages say whether they are to be kept for a client (LMQ-5.4), and only notices that are read say who
/// is offline.
pub(super) fn presence_is_known(drafts: &[Draft], settings: &Settings, faults: &Faults) {
    let groups = settings.credentials.asked_groups().next().is_some();
    let sources = || drafts.iter().filter_map(|draft| draft.source.as_ref()?.from.as_ref());
    let notices = sources().any(|source| matches!(source, From::Events(_)));
    for draft in drafts {
        let Some(at) = draft.sink.as_ref().and_then(|sink| sink.drops_offline.clone()) else { continue };
        let from_mqtt = draft.source.as_ref().is_some_and(|source| matches!(source.kind, Kind::Mqtt { .. }));
        let (message, hint) = if from_mqtt {
            let message =
                "messages from MQTT do not say whether they are to be kept for a client that is offline (LMQ-5.4)";
            (message, "it is for routes that read RocketMQ, where `cleansessionflag` says so")
        } else if !notices {
            let message = "nobody is known to be offline: no mapping file has a `[[status]]` route";
            (message, "add one for the broker that the clients are on")
        } else if !groups {
            let message = "nobody is known to be offline: no group is followed";
            (message, "name the clients' groups in the credentials file, in `groups` of an `[[access_key]]`")
        } else if let Some(To::Mqtt { broker, .. }) = draft.sink.as_ref().and_then(|sink| sink.to.as_ref())
            && !sources().any(|source| source.tells_of(broker))
        {
            let message =
                "nobody is known to be offline: no `[[status]]` route reads the broker that this route writes to";
            (message, "add one for it: clients of another broker are not meant")
        } else {
            continue;
        };
        faults.add(Fault::error(at, message, "cannot be known").hint(hint));
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        mapping::{MappingFile, load},
        settings::{self, Environment, Secret},
    };

    const ROUTE: &str = "[[route]]\nname = \"down\"\nfrom.rocketmq = \"ACE\"\nto.mqtt = \"ACE{subtopic}\"\n\
                         to.offline = \"drop\"\nto.broker = \"edge\"\n";
    const STATUS: &str = "[[status]]\nname = \"s\"\nfrom.events = \"mosquitto\"\nfrom.broker = \"edge\"\n";
    const KEY: &str = "[[access_key]]\nid = \"AK\"\nsecret = { env = \"SK\" }\ngroups = \"GID_a\"\n";

    fn report(credentials: &str, text: &str) -> String {
        let (folder, faults) = (tempfile::tempdir().unwrap(), super::Faults::default());
        std::fs::write(folder.path().join("credentials.toml"), credentials).unwrap();
        let settings = "[mqtt.edge]\nurl = \"mqtt://b\"\n[mqtt.other]\nurl = \"mqtt://o\"\n[mqtt.same]\nurl = \"mqtt://b\"\n\
                        [rocketmq.main]\nname_servers = \"ns\"\n\
                        [lmq]\ncredentials = \"credentials.toml\"\n";
        let environment = Environment::from([("SK", "s")]);
        let settings = settings::load(&folder.path().join("s.toml"), settings, &environment, &faults);
        let file = MappingFile { path: "m.toml".into(), text: text.to_owned() };
        let mapping = load(&[file], &settings, &Secret::new("key"), &faults);
        assert!(faults.has_errors() || mapping.routes.iter().any(|route| route.drops_offline));
        faults.into_report().render(false)
    }

    #[test]
    fn a_route_that_drops_must_be_able_to_know() {
        assert_eq!(report(KEY, &[ROUTE, STATUS].concat()), "");
        let no_status = report(KEY, ROUTE);
        assert!(no_status.contains("has a `[[status]]` route") && no_status.contains("m.toml:5"), "{no_status}");
        assert!(report("", &[ROUTE, STATUS].concat()).contains("no group is followed"));
        let other = report(KEY, &[ROUTE, &STATUS.replace("edge", "other")].concat());
        assert!(other.contains("reads the broker that this route writes to") && other.contains("m.toml:5"), "{other}");
        assert_eq!(report(KEY, &[ROUTE, &STATUS.replace("edge", "same")].concat()), "", "one broker by two names");
        let from_mqtt = ROUTE.replace("rocketmq = \"ACE\"", "mqtt = \"BEE/#\"\nfrom.broker = \"edge\"");
        assert!(report(KEY, &[&from_mqtt, STATUS].concat()).contains("LMQ-5.4"));
        let to_rocketmq = ROUTE.replace("to.mqtt = \"ACE{subtopic}\"", "to.rocketmq = \"BEE\"").replace("edge", "main");
        assert!(report(KEY, &[&to_rocketmq, STATUS].concat()).contains("no meaning for a sink on RocketMQ"));
    }

    #[test]
    fn a_shard_key_is_an_order_already() {
        let text = "[[route]]\nname = \"up\"\nfrom.mqtt = \"ACE/{dev}\"\nfrom.broker = \"edge\"\nto.rocketmq = \"ACE\"\nto.shard_key = \"{dev}\"\n";
        let both = format!(
            "{text}order_by = \"{{dev}}\"\n[[route]]\nname = \"x\"\nfrom.rocketmq = \"Y\"\nto.mqtt = \"Y\"\nto.broker = \"edge\"\nto.shard_key = \"1\""
        );
        let report = report("", &both);
        assert!(report.contains("`order_by` has no effect beside `to.shard_key`"), "{report}");
        assert!(report.contains("`to.shard_key` has no meaning for a sink on MQTT"), "{report}");
    }
}
