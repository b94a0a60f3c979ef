use super::*;
use crate::{
    lmq::notice::{ChannelId, EventType},
    message::Topic,
};

const TOPIC: &str = "GID_a_MQTT";
const NOW: u64 = 1_000_000;

fn queue(id: u32) -> Queue {
    Queue { broker: "b".into(), id }
}

fn board() -> Board {
    let board = Board::default();
    board.follow(HashMap::from([("GID_a".to_owned(), vec![TOPIC.to_owned()])]));
    board
}

fn notice(client: u32, event_type: EventType, channel: u128, time: u64) -> Message {
    let client_id = format!("GID_a@@@{client}");
    let notice = Notice { client_id, time, event_type, channel_id: ChannelId(channel), client_ip: "a:1".into() };
    let mut message = Message::new(Topic::from_parts(TOPIC, ""), notice.to_body());
    message.tag = Some(event_type.as_str().to_owned());
    message.user_properties = vec![(Note::SOURCE.to_owned(), "s".to_owned())];
    message
}

fn note(note: &Note) -> Message {
    let mut message = Message::new(Topic::from_parts(TOPIC, ""), note.to_body());
    message.tag = Some(Note::TAG.to_owned());
    message.client_id = Some("GID_a@@@".to_owned());
    message
}

fn read(board: &Board, id: u32, messages: Vec<Message>, next: u64, lost: bool) {
    board.tailed(TOPIC, &Tailed::Read { queue: queue(id), messages, next, lost }, NOW);
}

fn at_end(board: &Board) {
    board.tailed(TOPIC, &Tailed::Queues(vec![queue(0), queue(1)]), NOW);
    board.tailed(TOPIC, &Tailed::AtEnd(queue(0)), NOW);
    board.tailed(TOPIC, &Tailed::AtEnd(queue(1)), NOW);
}

#[test]
fn a_client_is_unknown_until_all_queues_are_read_to_their_end() {
    let board = board();
    assert_eq!(board.online("GID_a@@@1"), Answer::Unknown);
    board.tailed(TOPIC, &Tailed::Queues(vec![queue(0), queue(1)]), NOW);
    read(&board, 0, vec![notice(1, EventType::Connect, 1, 5)], 1, false);
    board.tailed(TOPIC, &Tailed::AtEnd(queue(0)), NOW);
    assert_eq!((board.online("GID_a@@@1"), board.count("GID_a")), (Answer::Unknown, Answer::Unknown));
    assert!(board.list("GID_a", "", 10).is_empty());
    board.tailed(TOPIC, &Tailed::AtEnd(queue(1)), NOW);
    assert_eq!((board.online("GID_a@@@1"), board.count("GID_a")), (Answer::Known(1), Answer::Known(1)));
    assert_eq!(board.online("GID_a@@@2"), Answer::Known(0));
    assert_eq!(board.list("GID_a", "", 10)[0].client_ip, "a:1");
    // Another group's topics are nobody's business here.
    assert_eq!((board.online("GID_b@@@1"), board.online("plain")), (Answer::Unknown, Answer::Unknown));
}

#[test]
fn a_topic_that_cannot_be_read_for_long_makes_its_clients_unknown() {
    let board = board();
    at_end(&board);
    let fault = || Tailed::Fault { queue: Some(queue(1)), reason: "away".into() };
    assert!(board.is_offline("GID_a@@@1") && !board.is_offline("plain"));
    board.tailed(TOPIC, &fault(), NOW);
    assert!(!board.is_offline("GID_a@@@1"), "a notice may be there that is not read");
    board.tailed(TOPIC, &fault(), NOW + OLD - 1);
    assert_eq!(board.online("GID_a@@@1"), Answer::Known(0));
    board.tick(NOW + OLD);
    assert_eq!(board.online("GID_a@@@1"), Answer::Unknown);
    board.tailed(TOPIC, &Tailed::Well(queue(1)), NOW + OLD);
    assert_eq!(board.online("GID_a@@@1"), Answer::Known(0));
}

#[test]
fn a_gap_and_its_end_are_told_by_notes() {
    let board = board();
    at_end(&board);
    read(
        &board,
        0,
        vec![notice(1, EventType::Connect, 1, 5), note(&Note::Gap { source: "s".into(), until: 9 })],
        2,
        false,
    );
    assert_eq!((board.online("GID_a@@@1"), board.online("GID_a@@@2")), (Answer::Unknown, Answer::Unknown));
    read(&board, 0, vec![notice(2, EventType::Connect, 2, 10)], 3, false);
    assert_eq!((board.online("GID_a@@@1"), board.online("GID_a@@@2")), (Answer::Unknown, Answer::Known(1)));
    assert_eq!(board.count("GID_a"), Answer::Unknown);
    let ended = notice(1, EventType::TcpClean, 1, 11);
    read(&board, 0, vec![note(&Note::Whole { source: "s".into(), since: 11 }), ended], 5, false);
    assert_eq!((board.online("GID_a@@@1"), board.count("GID_a")), (Answer::Known(0), Answer::Known(1)));
}

#[test]
fn a_gap_counts_for_a_group_of_which_only_another_source_has_told() {
    let board = board();
    at_end(&board);
    read(&board, 0, vec![notice(1, EventType::Connect, 1, 5)], 1, false);
    assert_eq!(board.count("GID_a"), Answer::Known(1));
    read(&board, 0, vec![note(&Note::Gap { source: "other".into(), until: 9 })], 2, false);
    assert_eq!((board.online("GID_a@@@2"), board.count("GID_a")), (Answer::Unknown, Answer::Unknown));
}

#[test]
fn what_was_deleted_before_it_was_read_is_a_gap() {
    let board = board();
    at_end(&board);
    read(&board, 0, vec![notice(1, EventType::Connect, 1, 5), notice(2, EventType::Connect, 2, 6)], 2, false);
    read(&board, 0, vec![notice(2, EventType::TcpClean, 2, 50)], 9, true);
    assert_eq!((board.online("GID_a@@@1"), board.online("GID_a@@@2")), (Answer::Unknown, Answer::Known(0)));
}

#[test]
fn what_is_strange_in_a_topic_is_passed_over() {
    let board = board();
    at_end(&board);
    let mut strange = Message::new(Topic::from_parts(TOPIC, ""), "x");
    read(&board, 0, vec![strange.clone()], 1, false);
    strange.tag = Some(Note::TAG.to_owned());
    read(&board, 0, vec![strange], 2, false);
    assert_eq!(board.count("GID_a"), Answer::Known(0));
}

#[test]
fn changes_are_told_to_those_who_listen() {
    let board = board();
    let mut feed = board.changes("GID_a");
    read(&board, 0, vec![notice(1, EventType::Connect, 1, 5)], 1, false);
    let change = feed.try_recv().unwrap();
    assert_eq!((change.client_id.as_str(), change.online, change.at), ("GID_a@@@1", Answer::Known(1), 5));
    read(&board, 0, vec![notice(1, EventType::Connect, 1, 5)], 2, false);
    assert!(feed.try_recv().is_err());
}

#[test]
fn a_snapshot_goes_on_where_it_was() {
    let first = board();
    assert_eq!(first.snapshot(), None);
    at_end(&first);
    read(&first, 1, vec![notice(1, EventType::Connect, 1, 5)], 7, false);
    let bytes = first.snapshot().unwrap();
    assert_eq!(first.snapshot(), None);
    let second = board();
    second.restore(&bytes).unwrap();
    assert_eq!(second.positions(TOPIC), HashMap::from([(queue(0), 0), (queue(1), 7)]));
    assert_eq!(second.online("GID_a@@@1"), Answer::Unknown);
    at_end(&second);
    assert_eq!(second.online("GID_a@@@1"), Answer::Known(1));
    assert!(second.restore(b"x").is_err());
}
