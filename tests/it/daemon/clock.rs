//! Clocks that jump, as after a suspend, a wrong battery or a correction by hand. The provider's clock stays right.

use std::time::Duration;

use patrold::clock::{ManualClock, Span};
use patrold::daemon::rotate::Answer;
use patrold::daemon::start;
use patrold::demo::{Fault, Options, Service};
use patrold::names::GenerationNo;
use patrold::provider::Operation::{Mint, Revoke, Verify};
use patrold::report::status::Condition;
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

/// A world whose service has another clock than we have.
async fn skewed(skew: Span, life: Span) -> World {
    World::with(Options { skew, awx_lifetime: life, ..Options::default() }).await
}

#[tokio::test]
async fn a_service_that_is_two_hours_off_is_served_from_the_first_mint_on() {
    for skew in [Span::hours(2), Span::hours(-2)] {
        let world = skewed(skew, Span::minutes(30)).await;
        let parts = [world.account(Service::Awx, ""), token("ci", Service::Awx, "grace = \"1h\"")];
        let daemon = world.start(&parts).await;
        let first = daemon.current("ci", 1).await;
        assert!(world.is_live(&world.stored("ci")), "{skew}: {first:?}");
        assert_eq!(world.live(Service::Awx).len(), 1, "{skew}: nothing is left behind");
        let condition = daemon.running.status().tokens[0].condition;
        assert_eq!(condition, Condition::Fine, "{skew}: what is shown is what is decided");
        daemon.stop().await;
    }
}

#[tokio::test]
async fn answers_that_lie_about_the_time_withdraw_nothing_and_leave_nothing_behind() {
    let lies = [
        Fault::LongExpired,
        Fault::OtherZone { ahead: Span::hours(-2) },
        Fault::OtherZone { ahead: Span::hours(2) },
        Fault::WrongDate { ahead: Span::hours(2) },
        Fault::WrongDate { ahead: Span::hours(-2) },
    ];
    for lie in lies {
        let world = skewed(Span::zero(), Span::minutes(30)).await;
        let parts =
            [world.account(Service::Awx, ""), token("ci", Service::Awx, "rotate-every = \"30d\"\ngrace = \"0s\"")];
        world.loopback.faults().next(Service::Awx, Mint, lie.clone());
        let daemon = world.start(&parts).await;
        daemon.steady("ci", 1).await;
        assert_eq!(world.live(Service::Awx), [world.id_of(&world.stored("ci"))], "{lie:?}");
        world.loopback.faults().next(Service::Awx, Mint, lie.clone());
        assert_eq!(daemon.rotate("ci").await, Answer::Rotated(GenerationNo(2)), "{lie:?}");
        daemon.steady("ci", 2).await;
        assert_eq!(world.live(Service::Awx), [world.id_of(&world.stored("ci"))], "{lie:?}: the old one is revoked");
        daemon.stop().await;
    }
}
