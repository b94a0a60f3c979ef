use super::{record::message, *};
use crate::{
    message::{Message, Topic},
    settings::{Secret, Settings, TokenTopic},
    tokens::reading::PATIENCE,
};

pub(super) const NOW: u64 = 1_566_000_000_000;
const MINUTE: u64 = 60_000;

/// A replica with a folder of its own, alone or one of several.
pub(super) struct Replica {
    folder: tempfile::TempDir,
    pub(super) tokens: Arc<Tokens>,
}

pub(super) fn service(topic: Option<TokenTopic>) -> TokenSettings {
    TokenSettings { secret: Secret::new("a secret that all replicas share"), topic }
}

fn shared() -> TokenSettings {
    let text = "[rocketmq.main]\nname_servers = \"ns\"\n[lmq.tokens]\nsecret = \"a secret that all replicas share\"\ntopic = \"t\"\n";
    settings(text).lmq.tokens.unwrap()
}

pub(super) fn settings(text: &str) -> Settings {
    let faults = crate::diagnostic::Faults::default();
    let settings = crate::settings::load(Path::new("x.toml"), text, &crate::settings::Environment::default(), &faults);
    assert!(!faults.has_errors(), "{}", faults.into_report().render(false));
    settings
}

impl Replica {
    pub(super) fn new(service: &TokenSettings) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tokens = Arc::new(Tokens::open(folder.path(), service, NOW).unwrap());
        Self { folder, tokens }
    }

    pub(super) async fn apply(&self, minutes: u64) -> String {
        let wish = Apply {
            instance: "mqtt-xxxxx".to_owned(),
            resources: vec!["a/#".to_owned()],
            read: true,
            write: false,
            expires: NOW + minutes * MINUTE,
        };
        self.tokens.apply("YYYYY", wish, NOW).await.unwrap()
    }

    pub(super) async fn restarted(self, service: &TokenSettings, now: u64) -> Self {
        let Self { folder, tokens } = self;
        Arc::into_inner(tokens).expect("nobody else has it").store.close().await;
        let tokens = Arc::new(Tokens::open(folder.path(), service, now).unwrap());
        Self { folder, tokens }
    }

    /// Hears all that another has to tell.
    async fn hear(&self, other: &Self, next: u64) {
        let (body, entries) = other.tokens.to_tell(NOW).await.unwrap().expect("something to tell");
        other.tokens.told(entries, NOW).await.unwrap();
        let read = Tailed::Read { queue: queue(), messages: vec![message("t", body)], next, lost: false };
        let (piece, bad) = self.tokens.tailed(read, NOW);
        assert_eq!(bad, []);
        self.tokens.keep(&piece.unwrap(), NOW).await.unwrap();
    }

    fn catch_up(&self, now: u64) {
        for tailed in [Tailed::Queues(vec![queue()]), Tailed::AtEnd(queue())] {
            let (piece, bad) = self.tokens.tailed(tailed, now);
            assert!(piece.is_none() && bad.is_empty());
        }
    }
}

fn queue() -> Queue {
    Queue { broker: "broker-0".into(), id: 0 }
}

pub(super) fn client(name: &str) -> Client {
    Client { broker: "edge".into(), client_id: name.into() }
}

pub(super) fn log_in(replica: &Replica, name: &str, token: &str) {
    let held = Held { kind: Kind::Read, grant: Arc::new(replica.tokens.check(token, NOW).unwrap()) };
    replica.tokens.logged_in(&client(name), Adapter::Rmqtt, &[held], NOW);
}

#[tokio::test]
async fn a_token_counts_until_it_ends_or_is_revoked() {
    let one = Replica::new(&service(None));
    let token = one.apply(10).await;
    let grant = one.tokens.check(&token, NOW).unwrap();
    assert_eq!(
        (&*grant.access_key, &*grant.resources, grant.read, grant.write),
        ("YYYYY", &["a/#".to_owned()][..], true, false)
    );
    assert_eq!(one.tokens.check(&token, NOW + 10 * MINUTE), Err(Invalid::Expired));
    assert_eq!(one.tokens.check("x", NOW), Err(Invalid::Forged));
    one.tokens.revoke(grant).await.unwrap();
    assert_eq!(one.tokens.check(&token, NOW), Err(Invalid::Revoked));
    let one = one.restarted(&service(None), NOW).await;
    assert_eq!(one.tokens.check(&token, NOW), Err(Invalid::Revoked), "nothing is forgotten");
    // Its time is over: nothing more has to be known of it.
    assert_eq!(one.tokens.tick(NOW + 11 * MINUTE).await.unwrap().known, 0);
    assert_eq!(one.tokens.check(&token, NOW + 11 * MINUTE), Err(Invalid::Expired));
}

#[tokio::test]
async fn a_token_of_another_access_key_is_none() {
    let one = Replica::new(&service(None));
    let token = one.apply(10).await;
    assert!(one.tokens.of("YYYYY", &token, NOW).is_ok());
    assert_eq!(one.tokens.of("ZZZZZ", &token, NOW), Err(Invalid::Forged));
    assert_eq!(one.tokens.of("YYYYY", &token, NOW + 10 * MINUTE), Err(Invalid::Expired));
}

#[tokio::test]
async fn replicas_know_what_one_of_them_made_and_revoked() {
    let (one, other) = (Replica::new(&shared()), Replica::new(&shared()));
    for replica in [&one, &other] {
        replica.catch_up(NOW);
    }
    let token = one.apply(10).await;
    assert_eq!(one.tokens.tick(NOW).await.unwrap().untold, 1);
    other.hear(&one, 1).await;
    assert_eq!(one.tokens.tick(NOW).await.unwrap().untold, 0);
    assert_eq!(other.tokens.page(None, 9).await, one.tokens.page(None, 9).await);
    log_in(&one, "a", &token);
    // Revoked at the one where it was not made: its clients are cut at both.
    other.tokens.revoke(other.tokens.check(&token, NOW).unwrap()).await.unwrap();
    assert!(one.tokens.check(&token, NOW).is_ok());
    one.hear(&other, 2).await;
    assert_eq!(one.tokens.check(&token, NOW), Err(Invalid::Revoked));
    let due = one.tokens.due(|| NOW).await;
    assert_eq!(
        (due.len(), &due[0].client, &due[0].event),
        (1, &client("a"), &sessions::Event::Ended(Invalid::Revoked))
    );
    assert_eq!(one.tokens.held(&client("a"), NOW), Err(Invalid::Revoked));
    let one = one.restarted(&shared(), NOW).await;
    assert_eq!(one.tokens.positions(), [(queue(), 2)].into());
    assert_eq!(one.tokens.check(&token, NOW), Err(Invalid::Revoked));
}

#[tokio::test]
async fn a_replica_that_has_just_started_refuses_until_it_knows_what_was_revoked() {
    let one = Replica::new(&shared());
    one.catch_up(NOW);
    let token = one.apply(10).await;
    let one = one.restarted(&shared(), NOW).await;
    assert_eq!(one.tokens.check(&token, NOW), Err(Invalid::Unknown));
    one.catch_up(NOW);
    assert!(one.tokens.check(&token, NOW).is_ok());
    let one = one.restarted(&shared(), NOW).await;
    assert!(one.tokens.tick(NOW + PATIENCE - 1).await.unwrap().behind);
    assert_eq!(one.tokens.check(&token, NOW + PATIENCE - 1), Err(Invalid::Unknown));
    assert!(one.tokens.tick(NOW + PATIENCE).await.unwrap().behind, "it says so");
    assert!(one.tokens.check(&token, NOW + PATIENCE).is_ok(), "RocketMQ is away: it goes by what it knows");
}

#[tokio::test]
async fn what_somebody_else_writes_to_the_topic_is_passed_over() {
    let (one, stranger) = (Replica::new(&shared()), Replica::new(&shared()));
    one.catch_up(NOW);
    let token = one.apply(10).await;
    stranger.tokens.revoke(one.tokens.check(&token, NOW).unwrap()).await.unwrap();
    let (body, _) = stranger.tokens.to_tell(NOW).await.unwrap().unwrap();
    let forged = message("t", body.replacen("\"read\":true", "\"read\":false", 1));
    let other = Message::new(Topic::from_parts("t", ""), vec![0, 255]);
    let read = Tailed::Read { queue: queue(), messages: vec![forged, other], next: 2, lost: false };
    assert_eq!(one.tokens.tailed(read, NOW).1, [BadRecord::Unsigned, BadRecord::Unsigned]);
    assert!(one.tokens.check(&token, NOW).is_ok());
}

#[tokio::test]
async fn a_token_that_is_revoked_between_the_question_and_the_login_cuts_the_client() {
    let one = Replica::new(&service(None));
    let token = one.apply(10).await;
    let grant = one.tokens.check(&token, NOW).unwrap();
    one.tokens.revoke(grant.clone()).await.unwrap();
    let held = Held { kind: Kind::Read, grant: Arc::new(grant) };
    one.tokens.logged_in(&client("a"), Adapter::Rmqtt, &[held], NOW);
    let due = one.tokens.due(|| NOW).await;
    assert_eq!(due[0].event, sessions::Event::Ended(Invalid::Revoked));
}

#[tokio::test]
async fn who_is_logged_in_is_known_after_a_restart() {
    let one = Replica::new(&service(None));
    let (first, second) = (one.apply(10).await, one.apply(20).await);
    log_in(&one, "a", &first);
    log_in(&one, "b", &second);
    one.tokens.save().await.unwrap();
    one.tokens.logged_out(&client("b"));
    one.tokens.save().await.unwrap();
    log_in(&one, "c", &second);
    one.tokens.save().await.unwrap();
    // Killed between a revocation and the cut: the cut comes after the restart.
    one.tokens.revoke(one.tokens.check(&second, NOW).unwrap()).await.unwrap();
    let one = one.restarted(&service(None), NOW).await;
    let due = one.tokens.due(|| NOW).await;
    assert_eq!((&due[0].client, &due[0].event), (&client("c"), &sessions::Event::Ended(Invalid::Revoked)));
    assert_eq!(one.tokens.held(&client("a"), NOW).unwrap()[0].grant, Arc::new(one.tokens.check(&first, NOW).unwrap()));
    assert_eq!(one.tokens.held(&client("b"), NOW), Err(Invalid::Unknown));
    let due = one.tokens.due(|| NOW + 10 * MINUTE).await;
    assert_eq!((&due[0].client, &due[0].event), (&client("a"), &sessions::Event::Ended(Invalid::Expired)));
}

#[tokio::test]
async fn a_client_renews_its_token_or_is_cut_for_a_bad_one() {
    let one = Replica::new(&service(None));
    let (first, second) = (one.apply(10).await, one.apply(60).await);
    log_in(&one, "a", &first);
    one.tokens.renew(&client("a"), &second, Kind::Read, NOW).unwrap();
    let held = one.tokens.held(&client("a"), NOW + 10 * MINUTE).unwrap();
    assert_eq!((held.len(), held[0].grant.expires), (1, NOW + 60 * MINUTE));
    assert_eq!(one.tokens.renew(&client("b"), &second, Kind::Read, NOW), Err(Invalid::Unknown));
    assert_eq!(one.tokens.renew(&client("a"), &second, Kind::Both, NOW), Err(Invalid::Permission));
    let due = one.tokens.due(|| NOW).await;
    assert_eq!((due[0].kind, &due[0].event), (Kind::Both, &sessions::Event::Ended(Invalid::Permission)));
    assert_eq!(one.tokens.held(&client("a"), NOW), Err(Invalid::Permission));
}

#[tokio::test]
async fn a_cut_that_is_owed_is_owed_after_a_restart_until_it_is_done() {
    let one = Replica::new(&service(None));
    let token = one.apply(10).await;
    log_in(&one, "a", &token);
    one.tokens.revoke(one.tokens.check(&token, NOW).unwrap()).await.unwrap();
    let due = one.tokens.due(|| NOW).await;
    one.tokens.tried(&due[0], Outcome::Failed, NOW);
    assert_eq!((one.tokens.save().await, one.tokens.save().await), (Ok(true), Ok(false)));
    // Its token would have ended meanwhile.
    let one = one.restarted(&service(None), NOW + 20 * MINUTE).await;
    let due = one.tokens.due(|| NOW + 20 * MINUTE).await;
    assert_eq!(
        (&due[0].client, due[0].kind, &due[0].event),
        (&client("a"), Kind::Read, &sessions::Event::Ended(Invalid::Revoked))
    );
    one.tokens.tried(&due[0], Outcome::Settled, NOW);
    one.tokens.save().await.unwrap();
    let one = one.restarted(&service(None), NOW + 20 * MINUTE).await;
    assert_eq!(one.tokens.sessions().tick(NOW + 20 * MINUTE), []);
}

#[tokio::test]
async fn who_has_logged_in_is_written_down_once_the_disk_has_room_again() {
    let disk = store::tests::Floppy::default();
    let (store, known) = disk.open();
    let tokens = Tokens::kept_in(store, known, &service(None), NOW);
    let grant = Grant {
        id: TokenId([1; 16]),
        access_key: "YYYYY".into(),
        instance: String::new(),
        resources: vec![],
        read: true,
        write: true,
        expires: NOW + MINUTE,
    };
    let held = Held { kind: Kind::Read, grant: Arc::new(grant) };
    tokens.logged_in(&client("a"), Adapter::Rmqtt, std::slice::from_ref(&held), NOW);
    disk.fill(true);
    assert!(tokens.save().await.is_err());
    disk.fill(false);
    assert_eq!(tokens.save().await, Ok(true));
    tokens.store.close().await;
    let (store, known) = disk.open();
    let tokens = Tokens::kept_in(store, known, &service(None), NOW);
    assert_eq!(*tokens.held(&client("a"), NOW).unwrap(), [held]);
}

#[tokio::test]
async fn a_token_that_is_revoked_while_a_client_takes_it_up_cuts_the_client() {
    let one = Replica::new(&service(None));
    let (first, second) = (one.apply(10).await, one.apply(60).await);
    log_in(&one, "a", &first);
    let fresh = one.tokens.check(&second, NOW).unwrap();
    // Between the check and the change another thread may revoke it: as here, where the check is over.
    one.tokens.revoked.write().unwrap().insert(fresh.id, fresh.expires);
    one.tokens.take_up(&client("a"), Held { kind: Kind::Read, grant: Arc::new(fresh) }, NOW);
    let due = one.tokens.due(|| NOW).await;
    assert_eq!(due[0].event, sessions::Event::Ended(Invalid::Revoked));
}
