use super::*;

use crate::{
    lmq::{login::Action, signature::sign, token_request::Apply},
    settings::{Secret, TokenSettings},
};

const ASKER: Asker<'_> = Asker { adapter: Adapter::Rmqtt, broker: "edge" };
const CLIENT: &str = "GID_Test@@@0001";
const ALLOWED: Decision = Decision::Allowed { expires: None };

fn login(password: &str) -> Question<'_> {
    Question::Login { client_id: CLIENT, username: "Signature|YYYYY|mqtt-xxxxx", password }
}

fn access(wants: Vec<(Action, &'static str)>) -> Question<'static> {
    Question::Access { client_id: CLIENT, username: "Signature|YYYYY|mqtt-xxxxx", password: "", wants }
}

#[test]
fn decisions_are_counted_by_form_mode_and_reason() {
    let logins = fixtures::logins();
    assert_eq!(logins.decide(ASKER, &login(&sign("XXXXX", CLIENT))), ALLOWED);
    assert_eq!(logins.decide(ASKER, &login("wrong")), Decision::Refused);
    assert_eq!(logins.decide(ASKER, &Question::Superuser), Decision::Refused);
    let wants = |topics: [&'static str; 2]| topics.map(|topic| (Action::Subscribe, topic)).to_vec();
    assert_eq!(logins.decide(ASKER, &access(wants(["TopicA/a", "TopicA/b"]))), ALLOWED);
    assert_eq!(logins.decide(ASKER, &access(wants(["TopicA/a", "TopicB/b"]))), Decision::Refused, "all or none");
    assert_eq!(logins.decide(Asker { broker: "other", ..ASKER }, &login("")), Decision::Refused);
    assert_eq!(logins.reject(ASKER, Rejected::Secret), Decision::Refused);
    let metrics = logins.telemetry.encode();
    for line in [
        "rocketbridge_logins_total{form=\"rmqtt\",mode=\"signature\"} 1\n",
        "rocketbridge_logins_refused_total{form=\"rmqtt\",reason=\"signature\"} 1\n",
        "rocketbridge_logins_refused_total{form=\"rmqtt\",reason=\"broker\"} 1\n",
        "rocketbridge_logins_refused_total{form=\"rmqtt\",reason=\"hooks_secret\"} 1\n",
        "rocketbridge_access_refused_total{form=\"rmqtt\",reason=\"permission\"} 1\n",
    ] {
        assert!(metrics.contains(line), "{line}{metrics}");
    }
}

#[test]
fn without_tokens_the_token_mode_lets_nobody_in() {
    let logins = fixtures::logins();
    let (client_id, username) = (CLIENT, fixtures::TOKEN_USER);
    let question = Question::Login { client_id, username, password: "RW|abcd" };
    assert_eq!(logins.decide(ASKER, &question), Decision::Refused);
    let wants = vec![(Action::Publish, "TopicA/a")];
    let question = Question::Access { client_id, username, password: "", wants };
    assert_eq!(logins.decide(ASKER, &question), Decision::Refused);
}

#[test]
fn credentials_that_change_count_at_once() {
    let (sender, known) = tokio::sync::watch::channel(Arc::new(fixtures::credentials()));
    let logins = Logins::new(&fixtures::settings(), known, None, Telemetry::default(), || fixtures::NOW);
    let question = access(vec![(Action::Publish, "TopicA/a")]);
    assert_eq!(logins.decide(ASKER, &question), ALLOWED);
    sender.send_replace(Arc::default());
    assert_eq!(logins.decide(ASKER, &question), Decision::Refused);
    assert_eq!(logins.decide(ASKER, &login(&sign("XXXXX", CLIENT))), Decision::Refused);
}

#[test]
fn what_a_stranger_wrote_is_logged_short_and_on_one_line() {
    assert_eq!(shown("GID_a@@@1"), "GID_a@@@1");
    assert_eq!(shown("a\nb"), "a\\nb");
    assert_eq!(shown(&"x".repeat(LOGGED + 1)), format!("{}...", "x".repeat(LOGGED)));
}

#[tokio::test]
async fn tokens_of_a_login_are_remembered_and_where_they_are_not_the_password_tells_them() {
    let folder = tempfile::tempdir().unwrap();
    let service = TokenSettings { secret: Secret::new("a secret that replicas share"), topic: None };
    let open = |folder: &str| Arc::new(Tokens::open(folder.as_ref(), &service, fixtures::NOW).unwrap());
    let [one, two] = ["one", "two"].map(|name| folder.path().join(name).display().to_string());
    for folder in [&one, &two] {
        std::fs::create_dir(folder).unwrap();
    }
    let tokens = open(&one);
    let wish = Apply {
        instance: "mqtt-xxxxx".to_owned(),
        resources: vec!["TopicA/+".to_owned()],
        read: true,
        write: false,
        expires: fixtures::NOW + 60_999,
    };
    let token = tokens.apply("YYYYY", wish, fixtures::NOW).await.unwrap();
    let logins = |tokens| {
        let known = tokio::sync::watch::channel(Arc::new(fixtures::credentials())).1;
        Logins::new(&fixtures::settings(), known, Some(tokens), Telemetry::default(), || fixtures::NOW)
    };
    let (first, second) = (logins(tokens.clone()), logins(open(&two)));
    let password = format!("R|{token}");
    let username = fixtures::TOKEN_USER;
    let access = |password, topic| {
        let wants = vec![(Action::Subscribe, topic)];
        Question::Access { client_id: CLIENT, username, password, wants }
    };
    assert_eq!(first.decide(ASKER, &access("", "TopicA/a")), Decision::Refused, "nobody has logged in");
    let login = Question::Login { client_id: CLIENT, username, password: &password };
    assert_eq!(first.decide(ASKER, &login), Decision::Allowed { expires: Some(fixtures::NOW + 60_999) });
    assert_eq!(first.decide(ASKER, &access("", "TopicA/a")), ALLOWED);
    assert_eq!(first.decide(ASKER, &access("", "TopicA/a/b")), Decision::Refused);
    let other = Asker { adapter: Adapter::NanoMq, ..ASKER };
    assert_eq!(second.decide(other, &access("", "TopicA/a")), Decision::Refused, "another replica");
    assert_eq!(second.decide(other, &access("R|forged", "TopicA/a")), Decision::Refused);
    assert_eq!(second.decide(other, &access(&password, "TopicA/a")), ALLOWED);
    assert_eq!(second.decide(other, &access("", "TopicA/a")), ALLOWED, "it is known from then on");
    tokens.revoke(tokens.of("YYYYY", &token, fixtures::NOW).unwrap()).await.unwrap();
    assert_eq!(first.decide(ASKER, &access("", "TopicA/a")), Decision::Refused);
    let publish = |topic| {
        let wants = vec![(Action::Publish, topic)];
        first.decide(ASKER, &Question::Access { client_id: CLIENT, username, password: "", wants })
    };
    assert_eq!(
        (publish("$SYS/uploadToken"), publish("TopicA/a")),
        (ALLOWED, Decision::Refused),
        "it may send a new one"
    );
    assert_eq!(first.decide(ASKER, &login), Decision::Refused);
}
