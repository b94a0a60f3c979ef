//! Snapshots: what is written is read, and nothing else is.

use proptest::{collection::vec, prelude::*};
use sha1::{Digest, Sha1};

use super::*;
use crate::{
    message::Queue,
    presence::view::snapshot::{Position, SnapshotError, content, decode, seal},
};

fn sample() -> (View, Vec<Position>) {
    let mut view = view(&[
        ("G@@@1", Connect, 1, 100),
        ("G@@@1", Connect, u128::MAX, 200),
        ("G@@@2", TcpClean, 2, 150),
        ("plain", Connect, 3, 300),
    ]);
    view.apply(None, &notice("H@@@ä", Connect, 4, 310), 0);
    view.forget(WINDOW);
    view.gap("s", 120);
    view.apply(Some("t"), &notice("G@@@3", TcpClean, 5, 320), WINDOW);
    view.forget(2 * WINDOW);
    view.reset("t", 7);
    let queue = |broker: &str, id| Queue { broker: broker.into(), id };
    let position = |queue, offset| Position { topic: "G_MQTT".into(), queue, offset };
    (view, vec![position(queue("broker-a", 0), 17), position(queue("broker-b", 7), u64::MAX)])
}

fn written(view: &View, positions: &[Position]) -> Vec<u8> {
    seal(content(view, positions))
}

/// Bytes with a sum that is right.
fn sealed(content: &[u8]) -> Vec<u8> {
    [content, &Sha1::digest(content)].concat()
}

#[test]
fn what_is_written_is_read() {
    let (view, positions) = sample();
    assert!(
        !view.tombstones.old.is_empty() && !view.tombstones.proofs.is_empty() && !view.groups["G"].online.is_empty()
    );
    let read = decode(&written(&view, &positions)).unwrap();
    assert_eq!(read.positions, positions);
    assert_eq!(read.view.sources, view.sources);
    assert_eq!(read.view.groups, view.groups);
    let generations = |view: View| [view.tombstones.young, view.tombstones.old, view.tombstones.proofs];
    assert_eq!(generations(read.view), generations(view));
}

#[test]
fn a_snapshot_that_ends_early_or_goes_on_is_damaged() {
    let (view, positions) = sample();
    let mut bytes = written(&view, &positions);
    for end in 0..bytes.len() {
        let error = decode(&bytes[..end]).unwrap_err();
        assert!(end < 10 && error == SnapshotError::Unknown || error == SnapshotError::Damaged, "{end}: {error}");
    }
    bytes.push(0);
    assert_eq!(decode(&bytes).unwrap_err(), SnapshotError::Damaged);
    bytes.pop();
    bytes.truncate(bytes.len() - 20);
    bytes.push(0);
    assert_eq!(decode(&sealed(&bytes)).unwrap_err(), SnapshotError::Damaged);
}

#[test]
fn a_snapshot_of_another_version_says_so() {
    let mut bytes = written(&View::default(), &[]);
    bytes[10] = 2;
    assert_eq!(decode(&bytes).unwrap_err().to_string(), "the snapshot is in format 2; this version knows format 1");
    assert_eq!(decode(b"{}").unwrap_err(), SnapshotError::Unknown);
}

proptest! {
    #[test]
    fn any_change_is_damage(at in any::<prop::sample::Index>(), change in 1..=u8::MAX) {
        let (view, positions) = sample();
        let mut bytes = written(&view, &positions);
        let at = at.index(bytes.len());
        bytes[at] ^= change;
        prop_assert!(decode(&bytes).is_err());
    }

    /// Behind a sum that is right: whatever is read makes a view that answers.
    #[test]
    fn no_bytes_make_the_reader_panic(
        noise in vec(any::<u8>(), 0..200),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
        cut in any::<prop::sample::Index>(),
    ) {
        let _ = decode(&noise);
        let _ = decode(&sealed(&[&written(&View::default(), &[])[..14], &noise].concat()));
        let (view, positions) = sample();
        let mut bytes = written(&view, &positions);
        bytes.truncate(bytes.len() - 20);
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        for bytes in [&bytes[..], &bytes[..cut.index(bytes.len())]] {
            if let Ok(mut read) = decode(&sealed(bytes)) {
                read.view.apply(Some("s"), &notice("G@@@1", Connect, 9, 900), 0);
                read.view.gap("s", 1000);
                read.view.online("G@@@1");
                read.view.list("G", None, 10);
            }
        }
    }
}
