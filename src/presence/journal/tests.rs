use super::*;
use crate::{
    lmq::notice::Notice,
    presence::event::{Connected, Identity},
};

fn connect(connections: &mut Connections, client_id: &str, at: u64) -> Vec<Notice> {
    let identity = Identity::Latest;
    connections.connected(&Connected { client_id: client_id.into(), at, peer: "a:1".into(), identity }, at)
}

async fn note(journal: &mut Journal, connections: &Connections, ledger: &mut Ledger, client_id: &str, key: Key) {
    let client = connections.client(client_id).cloned().unwrap_or_default();
    let changed = vec![(client_id.to_owned(), client)];
    ledger.open(Event { source: Some(0), key: Some(key), changed, ..Event::default() }, 0);
    journal.note(&ledger.done());
    journal.sync().await.unwrap();
}

#[tokio::test]
async fn what_was_noted_is_known_to_the_next_process() {
    let folder = tempfile::tempdir().unwrap();
    let (mut journal, restored) = Journal::open(folder.path(), "s", true).unwrap();
    let Restored { mut connections, mut ledger, known, groups } = restored;
    assert!(known.is_none() && groups.is_empty());
    connect(&mut connections, "GID_a@@@1", 5);
    note(&mut journal, &connections, &mut ledger, "GID_a@@@1", (7, 8)).await;
    journal.group("GID_a");
    let broker = Known { heard: 10, started: Some(1), ..Known::default() };
    ledger.open(Event { broker: Some(broker), ..Event::default() }, 0);
    journal.note(&ledger.done());
    journal.sync().await.unwrap();
    journal.heard(20, Some(-3)).unwrap();
    drop(journal);

    let (_journal, restored) = Journal::open(folder.path(), "s", true).unwrap();
    assert_eq!(restored.connections.client("GID_a@@@1"), connections.client("GID_a@@@1"));
    assert!(restored.ledger.knows((7, 8)));
    assert_eq!(restored.known, Some(Known { heard: 20, ahead: Some(-3), ..broker }));
    assert_eq!(restored.groups, ["GID_a"]);
}

#[tokio::test]
async fn what_was_about_to_be_told_is_known_until_it_is_over() {
    let folder = tempfile::tempdir().unwrap();
    let (mut journal, restored) = Journal::open(folder.path(), "s", true).unwrap();
    let Restored { mut connections, mut ledger, .. } = restored;
    for (at, client_id) in [(5, "told"), (6, "untold")] {
        connect(&mut connections, client_id, at);
        journal.tells(client_id, &connections.client(client_id).unwrap().open()[0]);
    }
    note(&mut journal, &connections, &mut ledger, "told", (1, 1)).await;
    drop(journal);

    let (mut journal, restored) = Journal::open(folder.path(), "s", true).unwrap();
    let mut after = restored.connections;
    assert_eq!(after.client("told"), connections.client("told"));
    assert_eq!(after.client("untold").unwrap().open()[0].id, connections.client("untold").unwrap().open()[0].id);
    assert_ne!(after.client("untold"), connections.client("untold"));
    after.lost("untold", |_| true, 7, 7);
    note(&mut journal, &after, &mut ledger, "untold", (2, 2)).await;
    let (_journal, restored) = Journal::open(folder.path(), "s", true).unwrap();
    assert!(restored.connections.client("untold").is_none_or(|client| client.open().is_empty()));
}

#[tokio::test]
async fn what_was_being_written_at_the_end_does_not_count_and_harms_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (mut journal, restored) = Journal::open(folder.path(), "s", true).unwrap();
    let Restored { mut connections, mut ledger, .. } = restored;
    connect(&mut connections, "a", 5);
    note(&mut journal, &connections, &mut ledger, "a", (1, 1)).await;
    let path = folder.path().join("clients/s.jsonl");
    let mut text = fs::read(&path).unwrap();
    text.extend_from_slice(b"{\"c\":[\"b\",{\"o\":[");
    fs::write(&path, &text).unwrap();

    let (mut journal, restored) = Journal::open(folder.path(), "s", true).unwrap();
    assert_eq!(restored.connections.clients().count(), 1);
    connect(&mut connections, "c", 6);
    note(&mut journal, &connections, &mut ledger, "c", (2, 2)).await;
    let (_journal, restored) = Journal::open(folder.path(), "s", true).unwrap();
    assert_eq!(restored.connections.clients().count(), 2);
}

#[tokio::test]
async fn the_file_is_written_anew_when_most_of_it_is_old() {
    let folder = tempfile::tempdir().unwrap();
    let (mut journal, restored) = Journal::open(folder.path(), "s", true).unwrap();
    let Restored { mut connections, mut ledger, .. } = restored;
    for at in 0..u64::try_from(LINES).unwrap() {
        connect(&mut connections, "a", at);
        let client = connections.client("a").cloned().unwrap();
        let (key, changed) = (Some((u16::try_from(at).unwrap(), at)), vec![("a".to_owned(), client)]);
        ledger.open(Event { key, changed, ..Event::default() }, 0);
    }
    journal.note(&ledger.done());
    journal.sync().await.unwrap();
    let path = folder.path().join("clients/s.jsonl");
    let before = fs::metadata(&path).unwrap().len();
    assert!(!journal.is_overdue(&connections));
    let known = Known { heard: 1, ahead: None, started: Some(2), uptime: Some((3, 4)), gap: Some(5), dropped: 6 };
    journal.compact(&connections, &ledger, known, &BTreeSet::from(["g".to_owned()])).await.unwrap();
    let after = fs::metadata(&path).unwrap().len();
    assert!(after < before / 4, "{before} {after}");
    connect(&mut connections, "b", 1);
    note(&mut journal, &connections, &mut ledger, "b", (9, 9)).await;

    let (_journal, restored) = Journal::open(folder.path(), "s", true).unwrap();
    assert_eq!(restored.connections.clients().count(), 2);
    let last = LINES as u64 - 1;
    assert!(restored.ledger.knows((u16::try_from(last).unwrap(), last)) && restored.ledger.knows((9, 9)));
    assert_eq!((restored.known, restored.groups), (Some(Known { heard: 0, ..known }), vec!["g".to_owned()]));
}
