//! Which queues of a topic a member of a consumer group reads: Java's `AllocateMessageQueueAveragely`, bug for
//! bug, so that members written in Java and we agree without talking to each other. Pure.

use std::cmp::Ordering;

use crate::message::Queue;

/// The share of `client_id` in `queues`, given all members of the group. Empty when it is not a member. A member that
/// stands there twice is one: brokers list it for each connection, and keep a lost one for two minutes, whose queues
/// nobody would read.
pub fn allocate(client_id: &str, queues: &[Queue], members: &[String]) -> Vec<Queue> {
    let mut members: Vec<&str> = members.iter().map(String::as_str).collect();
    members.sort_by(|a, b| java_order(a, b));
    members.dedup();
    let Some(index) = members.iter().position(|member| *member == client_id) else { return Vec::new() };
    let mut queues = queues.to_vec();
    queues.sort_by(|a, b| java_order(&a.broker, &b.broker).then(a.id.cmp(&b.id)));
    let (all, of) = (queues.len(), members.len());
    let rest = all % of;
    let size = if all <= of { 1 } else { all / of + usize::from(index < rest) };
    let start = if index < rest { index * size } else { index * size + rest };
    queues.into_iter().skip(start).take(size).collect()
}

/// Java compares strings by UTF-16 units, which differs from ours beyond U+FFFF.
fn java_order(a: &str, b: &str) -> Ordering {
    a.encode_utf16().cmp(b.encode_utf16())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn queues(broker: &str, count: u32) -> Vec<Queue> {
        (0..count).map(|id| Queue { broker: broker.into(), id }).collect()
    }

    fn members(count: usize) -> Vec<String> {
        (0..count).map(|n| format!("10.0.0.1@{n:02}")).collect()
    }

    fn ids(member: usize, of: usize, count: u32) -> Vec<u32> {
        allocate(&members(of)[member], &queues("b", count), &members(of)).iter().map(|q| q.id).collect()
    }

    #[test]
    fn the_first_members_take_what_does_not_divide() {
        assert_eq!([ids(0, 3, 8), ids(1, 3, 8), ids(2, 3, 8)], [vec![0, 1, 2], vec![3, 4, 5], vec![6, 7]]);
        assert_eq!([ids(0, 4, 4), ids(3, 4, 4)], [vec![0], vec![3]]);
    }

    #[test]
    fn a_member_that_is_listed_for_two_connections_is_one() {
        let twice = [members(2), members(2)].concat();
        assert_eq!(
            allocate(&members(2)[1], &queues("b", 4), &twice),
            allocate(&members(2)[1], &queues("b", 4), &members(2))
        );
        let alone = [members(1), members(1)].concat();
        assert_eq!(allocate(&members(1)[0], &queues("b", 4), &alone).len(), 4);
    }

    #[test]
    fn members_beyond_the_queues_get_none() {
        assert_eq!([ids(0, 3, 2), ids(1, 3, 2), ids(2, 3, 2)], [vec![0], vec![1], vec![]]);
        assert_eq!(allocate("stranger", &queues("b", 4), &members(2)), []);
    }

    #[test]
    fn queues_are_dealt_broker_by_broker_whatever_their_order() {
        let mut all = queues("broker-b", 2);
        all.extend(queues("broker-a", 2));
        let mut two = members(2);
        two.reverse();
        assert_eq!(allocate(&members(2)[0], &all, &two), queues("broker-a", 2));
    }

    #[test]
    fn names_sort_as_in_java() {
        assert_eq!(java_order("\u{ffff}", "\u{10000}"), Ordering::Greater);
        assert_eq!(java_order("a-10", "a-9"), Ordering::Less);
        assert_eq!(java_order("B", "a"), Ordering::Less);
    }

    proptest! {
        #[test]
        fn every_queue_has_exactly_one_reader(count in 0u32..40, of in 1usize..12) {
            let dealt: Vec<u32> = (0..of).flat_map(|member| ids(member, of, count)).collect();
            prop_assert_eq!(dealt, (0..count).collect::<Vec<_>>());
        }
    }
}
