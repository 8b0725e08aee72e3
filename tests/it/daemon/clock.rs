//! Clocks that jump, as after a suspend, a wrong battery or a correction by hand. The provider's clock stays right.

use std::time::Duration;

use patrold::clock::{ManualClock, Span};
use patrold::daemon::rotate::Answer;
use patrold::daemon::start;
use patrold::demo::Service;
use patrold::names::GenerationNo;
use patrold::provider::Operation::{Mint, Revoke, Verify};
use patrold::rotation::Phase;

use super::world::{World, name_of, now, token};

const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_clock_that_jumps_makes_tokens_due_or_not_and_nothing_else() {
    let world = World::new().await;
    let poll = "poll-every = \"5000d\"";
    world.write(&[world.account(Service::Awx, poll), token("ci", Service::Awx, "rotate-every = \"30d\"")]);
    let clock = ManualClock::new(now());
    let running = start(&world.config(), clock.clone()).await.unwrap();
    let mut follow = running.core.tokens.get(&name_of("ci")).unwrap().follow();
    let mut steady = async |number: u32| {
        let wait = follow.wait_for(|view| {
            let Phase::Steady { current } = &view.state.phase else { return false };
            view.rest.is_some() && current.generation.number == GenerationNo(number)
        });
        tokio::time::timeout(PATIENCE, wait).await.unwrap().unwrap();
    };
    steady(1).await;
    let from = world.count();

    clock.advance(Span::days(31));
    let names = [name_of("ci")];
    let mut active = running.core.tokens.get(&names[0]).unwrap().follow();
    let handed_over = active.wait_for(|view| matches!(view.state.phase, Phase::Active { .. }));
    tokio::time::timeout(PATIENCE, handed_over).await.unwrap().unwrap();
    clock.advance(Span::seconds(1));
    steady(2).await;
    assert_eq!(world.changes(Service::Awx, from), [Mint, Verify, Revoke, Verify], "one rotation for a month");

    clock.set(now() - Span::days(365));
    let from = world.count();
    let answers = running.core.rotate(&running.waker, &names, PATIENCE).await;
    assert_eq!(answers[0].1, Answer::Rotated(GenerationNo(3)), "a request waits for no clock");
    clock.advance(Span::seconds(1));
    steady(3).await;
    assert_eq!(world.changes(Service::Awx, from), [Mint, Verify, Revoke, Verify]);
    assert!(world.is_live(&world.stored("ci")));
}
