use super::*;

const KEPT: Reliance = Reliance::Kept { up_to: 18_000 };
/// A moment at a full second.
const T: u64 = 1_700_000_000_000;

fn known(heard: u64, started: u64) -> Known {
    let uptime = Some((heard, heard - started));
    Known { heard, started: Some(started), uptime, ..Known::default() }
}

/// A broker that has run since `T - 100 s` and is listened to since `T`.
fn steady() -> Lifeline {
    let mut lifeline = Lifeline::new(KEPT, Some(30_000), Some(known(T - 5_000, T - 100_000)), T);
    assert_eq!(lifeline.found(true, T), None);
    assert_eq!(lifeline.uptime(100, T), []);
    lifeline
}

fn without_gaps(verdicts: Vec<Verdict>) -> Vec<Verdict> {
    verdicts.into_iter().filter(|verdict| !matches!(verdict, Verdict::Gap { .. })).collect()
}

#[test]
fn who_never_listened_before_does_not_know_who_is_there() {
    let mut lifeline = Lifeline::new(KEPT, None, None, T);
    assert_eq!(lifeline.found(false, T), Some(Verdict::Gap { until: T }));
    assert_eq!(lifeline.uptime(100, T + 10), []);
    assert_eq!(lifeline.known().started, Some(T + 10 - 100_000));
}

#[test]
fn a_short_cut_loses_nothing_and_a_long_one_may() {
    for (away, kept, gap) in [(17_000, true, false), (19_000, true, true), (1_000, false, true)] {
        let mut lifeline = steady();
        lifeline.lost(T + 1);
        assert_eq!(lifeline.found(kept, T + 1 + away).is_some(), gap, "{away} {kept}");
    }
    let mut lifeline = Lifeline::new(Reliance::WhileConnected, None, Some(known(T, T - 1_000)), T);
    assert_eq!(lifeline.found(true, T + 1_000), Some(Verdict::Gap { until: T + 6_000 }));
    lifeline.lost(T + 2_000);
    assert!(lifeline.found(true, T + 2_500).is_some());
}

#[test]
fn a_process_that_was_killed_counts_from_when_it_last_heard() {
    for (away, gap) in [(15_000, false), (20_000, true)] {
        let mut lifeline = Lifeline::new(KEPT, None, Some(known(T - away, T - 100_000)), T);
        assert_eq!(lifeline.found(true, T).is_some(), gap, "{away}");
    }
}

#[test]
fn what_is_still_kept_is_not_missing_after_a_long_cut() {
    let mut lifeline = steady();
    lifeline.lost(T + 1);
    assert_eq!(lifeline.found(true, T + 60_000), Some(Verdict::Gap { until: T + 43_000 }));
    // Without the session nothing was kept; and where nothing was known before, anything may be.
    lifeline.lost(T + 61_000);
    assert_eq!(lifeline.found(false, T + 62_000), Some(Verdict::Gap { until: T + 62_000 }));
    let mut lifeline = Lifeline::new(KEPT, None, Some(known(0, 0)), T);
    assert_eq!(lifeline.found(true, T), Some(Verdict::Gap { until: T }));
}

#[test]
fn silence_of_a_broker_that_is_connected_is_a_gap_only_if_it_was_not_read() {
    let mut lifeline = steady();
    assert_eq!(lifeline.heard(Some(T + 10_000), T + 10_000), None);
    assert_eq!(lifeline.heard(Some(T + 40_000), T + 40_000), Some(Verdict::Gap { until: T + 23_000 }));
    // Without an uptime there is nothing that must come.
    let mut quiet = Lifeline::new(KEPT, None, Some(known(T, T - 1_000)), T);
    quiet.known.uptime = None;
    quiet.found(true, T);
    assert_eq!(quiet.heard(Some(T + 90_000), T + 90_000), None);
}

#[test]
fn what_comes_late_had_neighbours_that_did_not_come() {
    let mut lifeline = steady();
    lifeline.heard(Some(T + 1_000), T + 1_000);
    assert_eq!(lifeline.heard(Some(T + 2_000), T + 10_000), None);
    assert!(lifeline.heard(Some(T + 5_000), T + 24_000).is_some());
}

#[test]
fn what_is_not_late_may_have_had_neighbours_that_did_not_come() {
    let mut lifeline = steady();
    lifeline.heard(Some(T), T);
    // Read with 17 s delay, then not at all for 5 s. What came right after the first has been dropped by then.
    assert_eq!(lifeline.heard(Some(T + 1_000), T + 18_000), None);
    assert_eq!(lifeline.heard(Some(T + 15_000), T + 23_000), Some(Verdict::Gap { until: T + 6_000 }));
}

#[test]
fn a_gap_that_grows_is_told_once_a_second() {
    let mut lifeline = steady();
    lifeline.heard(Some(T), T);
    let gaps = (0..10_000).filter_map(|number| lifeline.heard(Some(T + number / 10), T + 25_000 + number)).count();
    assert!((5..=10).contains(&gaps), "{gaps}");
}

#[test]
fn the_next_process_knows_how_late_something_comes() {
    let mut lifeline = steady();
    lifeline.heard(Some(T - 3_600_000), T);
    let known = lifeline.known();
    assert_eq!(known.ahead, Some(3_600_000));
    let mut next = Lifeline::new(KEPT, None, Some(known), T + 15_000);
    assert_eq!(next.found(true, T + 15_000), None);
    assert_eq!(next.heard(Some(T - 3_600_000 + 1_000), T + 15_000), None);
    assert!(next.heard(Some(T - 3_600_000 + 2_000), T + 20_000).is_some());
}

#[test]
fn a_restart_within_the_grace_time_ends_what_was_heard_of_before() {
    let mut lifeline = steady();
    lifeline.lost(T + 1_000);
    assert_eq!(lifeline.tick(T + 5_000), None);
    assert_eq!(lifeline.found(true, T + 6_000), None);
    let verdicts = lifeline.uptime(10, T + 12_000);
    assert_eq!(
        verdicts,
        [Verdict::Restarted { heard_before: T + 1_000, began_before: T + 1_000 }, Verdict::Whole { since: T + 1_000 }]
    );
    assert_eq!(lifeline.uptime(20, T + 22_000), []);
}

#[test]
fn a_restart_that_lost_our_session_leaves_the_gap_open() {
    let mut lifeline = steady();
    lifeline.lost(T + 1_000);
    assert!(lifeline.found(false, T + 6_000).is_some());
    assert_eq!(lifeline.uptime(10, T + 12_000).len(), 1);
}

#[test]
fn an_uptime_that_comes_late_is_no_restart() {
    let mut lifeline = steady();
    // 40 s without reading; then the ticks of that time come at once.
    for (seconds, now) in [(110, 50_000), (120, 50_001), (130, 50_002), (140, 50_003), (150, 50_400), (160, 60_400)] {
        assert_eq!(without_gaps(lifeline.uptime(seconds, T + now)), [], "{seconds}");
    }
    assert_eq!(lifeline.known().started, Some(T - 100_000));
}

#[test]
fn an_uptime_that_comes_later_each_time_is_no_restart() {
    let mut lifeline = steady();
    for (seconds, late) in [(110, 3_000), (120, 6_000), (130, 9_000), (140, 12_000), (150, 12_000)] {
        let now = T + (seconds - 100) * 1_000 + late;
        assert_eq!(without_gaps(lifeline.uptime(seconds, now)), [], "{seconds}");
    }
}

#[test]
fn what_waited_and_comes_after_what_is_told_now_is_no_restart() {
    let mut lifeline = Lifeline::new(KEPT, None, Some(known(T, T - 40_000)), T + 31_000);
    assert!(lifeline.found(true, T + 31_000).is_some());
    for (seconds, now) in [(72, 32_000), (50, 32_200), (61, 35_000), (83, 43_000), (94, 54_000)] {
        assert_eq!(without_gaps(lifeline.uptime(seconds, T + now)), [], "{seconds}");
    }
    assert_eq!(lifeline.known().started, Some(T - 40_000));
}

#[test]
fn a_restart_shows_also_when_what_the_old_broker_told_comes_first() {
    let mut lifeline = steady();
    lifeline.lost(T + 1_000);
    assert!(lifeline.found(true, T + 26_000).is_some());
    for (seconds, now) in [(105, 26_000), (110, 26_001), (11, 30_000)] {
        assert_eq!(without_gaps(lifeline.uptime(seconds, T + now)), [], "{seconds}");
    }
    let verdicts = without_gaps(lifeline.uptime(22, T + 41_000));
    assert_eq!(verdicts[0], Verdict::Restarted { heard_before: T + 1_000, began_before: T + 1_000 });
}

#[test]
fn a_restart_shows_also_when_it_runs_longer_by_now_than_it_had_before() {
    let mut lifeline = Lifeline::new(KEPT, None, Some(known(T, T - 10_000)), T);
    lifeline.found(true, T);
    lifeline.lost(T + 1);
    assert!(lifeline.found(true, T + 60_000).is_some());
    // Running since T + 30 s: only the second telling is sure to be prompt.
    assert_eq!(without_gaps(lifeline.uptime(40, T + 70_000)), []);
    let verdicts = without_gaps(lifeline.uptime(50, T + 80_000));
    assert_eq!(verdicts, [Verdict::Restarted { heard_before: T + 1, began_before: T }]);
}

#[test]
fn nothing_is_missing_after_a_restart_that_kept_our_session_however_long_it_took() {
    let mut lifeline = steady();
    lifeline.lost(T + 1_000);
    let gap = lifeline.found(true, T + 26_000);
    assert_eq!(gap, Some(Verdict::Gap { until: T + 9_000 }));
    let verdicts = lifeline.uptime(3, T + 26_000);
    assert_eq!(verdicts[1], Verdict::Whole { since: T + 9_000 });
    assert_eq!(lifeline.known().gap, None);
}

#[test]
fn a_process_that_starts_gives_the_broker_its_time() {
    let mut lifeline = Lifeline::new(KEPT, Some(30_000), Some(known(T - 60_000, T - 100_000)), T);
    assert_eq!(lifeline.tick(T + 29_999), None);
    assert_eq!(lifeline.tick(T + 30_000), Some(Verdict::Gone));
}

#[test]
fn a_broker_that_stays_away_is_given_up_once() {
    let mut lifeline = steady();
    lifeline.lost(T + 1_000);
    assert_eq!(lifeline.tick(T + 30_999), None);
    assert_eq!(lifeline.tick(T + 31_000), Some(Verdict::Gone));
    assert_eq!(lifeline.tick(T + 99_000), None);
    // What was called gone may have been there all the time.
    assert_eq!(lifeline.found(true, T + 99_000), Some(Verdict::Gap { until: T + 99_000 }));
    let mut patient = Lifeline::new(KEPT, None, Some(known(T, T)), T);
    patient.lost(T);
    assert_eq!(patient.tick(u64::MAX), None);
}

#[test]
fn times_are_the_brokers_whatever_its_clock_shows() {
    for ahead in [-3_600_000_i64, 3_600_000] {
        let mut lifeline = steady();
        let broker = |now: u64| now.saturating_add_signed(-ahead);
        lifeline.heard(Some(broker(T + 1_000)), T + 1_000);
        lifeline.heard(Some(broker(T + 1_500)), T + 2_000);
        assert_eq!(lifeline.broker_time(T + 3_000), broker(T + 3_000));
        lifeline.lost(T + 4_000);
        assert_eq!(lifeline.found(false, T + 5_000), Some(Verdict::Gap { until: broker(T + 5_000) }));
    }
}

#[test]
fn what_the_broker_dropped_while_we_were_away_may_have_been_events() {
    let mut lifeline = steady();
    assert_eq!(lifeline.dropped(5, T + 40_000), None);
    lifeline.lost(T + 41_000);
    lifeline.found(true, T + 42_000);
    assert_eq!(lifeline.dropped(5, T + 43_000), None);
    assert!(lifeline.dropped(6, T + 44_000).is_some());
    assert_eq!(lifeline.dropped(7, T + 80_000), None);
    // What is read late waited in a queue that may have been full.
    lifeline.heard(Some(T + 81_000), T + 81_000);
    lifeline.heard(Some(T + 82_000), T + 88_000);
    assert!(lifeline.dropped(8, T + 90_000).is_some());
}

#[test]
fn what_a_restarted_broker_tells_again_does_not_leave_a_gap_open() {
    let mut lifeline = steady();
    for now in [T + 10_000, T + 20_000, T + 30_000] {
        assert_eq!(lifeline.heard(Some(now), now), None);
    }
    lifeline.lost(T + 31_000);
    assert_eq!(lifeline.found(true, T + 32_000), None);
    // Out of a snapshot of long ago.
    assert_eq!(lifeline.heard(Some(T + 1_000), T + 32_100), None);
    let verdicts = lifeline.uptime(0, T + 32_200);
    assert_eq!(verdicts.last(), Some(&Verdict::Whole { since: T + 31_000 }));
    assert_eq!(lifeline.known().gap, None);
}

#[test]
fn a_list_ends_a_gap_and_nothing_else() {
    let mut lifeline = Lifeline::new(Reliance::WhileConnected, None, None, T);
    let Some(Verdict::Gap { until }) = lifeline.found(true, T) else { panic!("nobody listened") };
    assert_eq!(lifeline.compared(T + 1), Some(Verdict::Whole { since: until }));
    assert_eq!((lifeline.compared(T + 60_000), lifeline.known().gap), (None, None));
    lifeline.lost(T + 70_000);
    lifeline.found(true, T + 71_000);
    assert_eq!(lifeline.compared(T + 90_000), Some(Verdict::Whole { since: T + 90_000 }));
}
