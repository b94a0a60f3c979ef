//! The bridge is killed and comes back, sooner or later than Mosquitto forgets its lines.

use std::time::Instant;

use super::{GROUP, SETTLED, form, seconds, world::World};
use crate::servers::fleet::{End, Fleet};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn everybody_is_known_when_the_bridge_was_killed_in_a_wave_and_came_back_within_15_s() {
    let mut world = World::start().await;
    let tide = world.tide(form(200, 500));
    let kills = form(4, 15);
    for kill in 0..kills {
        seconds(0.5 + 3.0 * fastrand::f64()).await;
        world.bridge.kill();
        // At once, and at the latest moment, too. A bridge that is killed while it catches up was away for longer.
        let away = match kill {
            0 => 0.0,
            1 => 14.0,
            _ => form(2.0, 14.0) * fastrand::f64(),
        };
        seconds(away).await;
        world.bridge.run();
        world.caught_up().await;
    }
    seconds(3.0).await;
    let fleet = tide.stop().await;
    world.verdict(&format!("{kills} kills of rocketbridge"), &fleet, false).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: scripts/test runs it"]
async fn nobody_is_wrong_when_the_bridge_was_away_for_longer_than_lines_are_kept() {
    let mut world = World::start().await;
    let tide = world.tide(form(200, 500));
    seconds(form(5.0, 30.0)).await;
    world.bridge.kill();
    seconds(31.0).await;
    let mut fleet = tide.stop().await;
    let run = "rocketbridge away for 31 s";
    world.bridge.run();
    // Not even at first.
    let began = Instant::now();
    while began.elapsed() < SETTLED {
        let wrong = world.answers(&fleet).await.wrong;
        let after = began.elapsed();
        assert!(
            wrong.is_empty(),
            "{run}, {after:.1?} after its return: {} wrong answers, such as {:?}",
            wrong.len(),
            &wrong[..wrong.len().min(10)]
        );
    }
    let verdict = world.verdict(run, &fleet, true).await;
    assert!(verdict.unknown > 0, "{run}: all is known");

    // Who comes again is known again, and so is who goes then.
    let (come, go) = (0..world.clients / 10, 0..world.clients / 20);
    fleet.connect(come.clone()).await.unwrap();
    fleet.end(go, |_| End::Closed).unwrap();
    world.verdict(&format!("{run}, then some came again"), &fleet, true).await;
    let ids: Vec<String> = come.map(|number| Fleet::id(GROUP, number)).collect();
    let answers = world.ask().await.clients(&ids).await.unwrap();
    for (number, answer) in (0..).zip(answers) {
        assert_eq!(answer, i64::from(fleet.has(number)), "{run}, then {number} came again");
    }
}
