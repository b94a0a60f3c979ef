//! Logins for tests: an access key, a device credential, a user and, where asked for, tokens; one broker, `edge`.

use std::{collections::BTreeSet, path::Path, sync::Arc};

use tokio::sync::watch;

use super::Logins;
use crate::{
    diagnostic::Faults,
    mapping::pattern::Pattern,
    settings::{self, Clients, Credential, Credentials, Environment, Permission, Secret, Settings},
    telemetry::Telemetry,
};

/// The time of the contract's vectors, in milliseconds since the epoch.
pub(crate) const NOW: u64 = 1_566_000_000_000;

/// Settings of one broker and an instance.
pub(crate) fn settings() -> Settings {
    let text = "[mqtt.edge]\nurl = \"mqtt://broker\"\n[lmq]\ninstance = \"mqtt-xxxxx\"\n";
    let faults = Faults::default();
    let settings = settings::load(Path::new("rocketbridge.toml"), text, &Environment::default(), &faults);
    assert!(!faults.has_errors());
    settings
}

/// Credentials whose secret is the contract's: of the group `GID_Test` and the topic `TopicA`.
pub(crate) fn credentials() -> Credentials {
    let filters = vec![Pattern::plain("TopicA/#").expect("a filter")];
    let permission = Permission { publish: filters.clone(), subscribe: filters, reads_all_p2p: false };
    let clients = Clients { groups: ["GID_Test".to_owned()].into(), ids: BTreeSet::new() };
    let credential = Credential { secret: Secret::new("XXXXX"), clients, permission };
    Credentials {
        access_keys: [("YYYYY".to_owned(), credential.clone())].into(),
        devices: [("DC".to_owned(), credential.clone())].into(),
        users: [("shop".to_owned(), credential)].into(),
    }
}

/// A user name of the token mode.
pub(crate) const TOKEN_USER: &str = "Token|YYYYY|mqtt-xxxxx";

/// Without tokens.
pub(crate) fn logins() -> Logins {
    let known = watch::channel(Arc::new(credentials())).1;
    Logins::new(&settings(), known, None, Telemetry::default(), || NOW)
}
