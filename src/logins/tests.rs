use super::*;

use crate::lmq::{login::Action, signature::sign};

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
    let (client_id, username) = (CLIENT, "Token|YYYYY|mqtt-xxxxx");
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
