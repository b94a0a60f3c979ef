//! Any bytes as a login, as what a client wants to do, as what a broker asks, and as a status query.

use std::{collections::BTreeSet, sync::LazyLock};

use rocketbridge::{
    http::login::fields,
    lmq::{
        login::{Action, Login, Rules},
        parameters,
        signature::is_valid,
        status_query::{self, Kind as Question, Refusal},
        token::{Grant, Invalid, Kind, TokenId},
    },
    logins::form::{self, About, Fields},
    mapping::pattern::Pattern,
    presence::adapter::Adapter,
    settings::{Clients, Credential, Credentials, Lmq, Permission, Secret},
};

const SECRET: &str = "a secret that is not guessed";

static CREDENTIALS: LazyLock<Credentials> = LazyLock::new(|| {
    let filters: Vec<_> = ["a/#", "b/+"].into_iter().filter_map(Pattern::plain).collect();
    let permission = Permission { publish: filters.clone(), subscribe: filters, reads_all_p2p: false };
    let clients = Clients { groups: ["G".to_owned()].into(), ids: BTreeSet::new() };
    let all = [("k".to_owned(), Credential { secret: Secret::new(SECRET), clients, permission })];
    Credentials { access_keys: all.clone().into(), devices: all.clone().into(), users: all.into() }
});

/// Logs in with lines that are client id, user name and password, and uses the topic of the fourth. Nobody may get in
/// without the secret, and nobody may read what is sent to others.
pub fn log_in(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.splitn(4, '\n');
    let [client_id, username, password, topic] = [(); 4].map(|()| lines.next().unwrap_or_default());
    for strict_client_ids in [false, true] {
        let lmq = Lmq { strict_client_ids, ..Lmq::default() };
        let rules = Rules { lmq: &lmq, credentials: &CREDENTIALS };
        let accepted = rules.check(Login { client_id, username, password }, |_| Err(Invalid::Forged));
        assert!(accepted.is_err() || password == SECRET || is_valid(SECRET, client_id, password));
        let Ok(known) = rules.known(client_id, username, || Ok(vec![(Kind::Both, grant().into())])) else { continue };
        for action in [Action::Publish, Action::Subscribe] {
            let may = known.may(client_id, action, topic, strict_client_ids).is_ok();
            let others = Pattern::plain(topic).is_some_and(|filter| filter.matches("a/p2p/G@@@other"));
            assert!(!may || action == Action::Publish || !others || client_id == "G@@@other", "{topic}");
        }
    }
}

/// Asks who is online with a query string. Nobody is answered without the secret, or told more than that.
pub fn query(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else { return };
    let Some(parameters) = parameters::split(&String::from_utf8_lossy(rest)) else { return };
    let kind = Question::ALL[usize::from(*kind) % Question::ALL.len()];
    let refused = status_query::check(kind, &parameters, Some("i"), &CREDENTIALS, 1_566_000_000_000).unwrap_err();
    let told = matches!(refused, Refusal::Missing(_) | Refusal::Parameter { .. } | Refusal::Signature);
    assert!(told, "{refused:?}");
}

fn grant() -> Grant {
    Grant {
        id: TokenId([0; 16]),
        access_key: "k".to_owned(),
        instance: String::new(),
        resources: vec!["a/+".to_owned()],
        read: true,
        write: true,
        expires: 0,
    }
}

/// Reads the bytes as what a broker asks: one that chooses the broker and what it is about, and the body.
pub fn ask(data: &[u8]) {
    let Some((choice, body)) = data.split_first() else { return };
    let adapter = Adapter::ALL[usize::from(*choice) % Adapter::ALL.len()];
    let about = [About::User, About::Superuser, About::Acl][usize::from(*choice >> 4) % 3];
    if let Some(fields) = fields::read(body) {
        let _ = form::read(adapter, about, Fields(&fields));
    }
}
