use super::*;
use crate::few::Few;
use crate::provider::{Expiry, Params, Remote};
use crate::rotation::state::{Current, Delivery};
use crate::rotation::tests::policy;

fn at(minutes: i64) -> Time {
    policy::start() + Span::minutes(minutes)
}

/// Minted at 0, and told to end `expires` minutes later.
fn generation(expires: i64) -> Generation {
    Generation {
        number: GenerationNo(1),
        account: "gps-account".parse().unwrap(),
        params: Some(Params::new()),
        revision: 0,
        marker: None,
        remote: Remote {
            id: None,
            expires: Expiry::told(at(expires)),
            refresh_expires: None,
            renewable_until: None,
            facts: std::collections::BTreeMap::new(),
        },
        minted_at: at(0),
        issued_at: at(0),
        fingerprints: Few::default(),
        compromised: None,
        reissue_unknown: None,
    }
}

/// When it expires, and whether it is certainly over, at `now` with a provider so far ahead, that accepted it `proof` ago.
fn judged(generation: &Generation, now: i64, ahead: i64, proof: Option<i64>) -> (Option<i64>, bool) {
    let proof = proof.map(|minutes| Proof::of(generation, at(minutes)));
    let clock = ProviderClock::seen(Span::minutes(ahead));
    let reckoning = Reckoning { now: at(now), account: &generation.account, clock, proof };
    let expires = reckoning.expires(generation).map(|expires| (expires - at(0)).num_minutes());
    let unusable = reckoning.unusable(&Current::new(generation.clone(), Delivery::default()));
    assert_eq!(unusable, reckoning.expired(generation));
    (expires, unusable)
}

#[test]
fn a_secret_is_over_when_every_clock_and_the_provider_say_so() {
    for (sentence, expires, now, ahead, proof, expected) in [
        ("in the middle of its life", 60, 30, 0, None, (Some(60), false)),
        ("over", 60, 61, 0, None, (Some(60), true)),
        ("over by the header alone: due, and used on", 60, 40, 30, None, (Some(30), false)),
        ("over by our clock alone: due, and used on", 60, 70, -30, None, (Some(60), false)),
        ("the provider accepts it long after: the other clock counts", 60, 70, -30, Some(69), (Some(90), false)),
        ("accepted before, which says nothing", 60, 70, -30, Some(59), (Some(60), false)),
        ("accepted when it was over by every clock: due, and used on", 60, 70, 0, Some(69), (Some(60), false)),
        ("told to have ended before it began: nobody knows", -60, 1, 0, None, (None, false)),
        ("the header puts its end before its beginning", 60, 1, 90, None, (Some(60), false)),
        ("a proof in the future is none", 60, 70, 0, Some(90), (Some(60), true)),
    ] {
        assert_eq!(judged(&generation(expires), now, ahead, proof), expected, "{sentence}");
    }
}

#[test]
fn what_was_adopted_may_have_ended_before() {
    let mut adopted = generation(-60);
    adopted.params = None;
    assert_eq!(judged(&adopted, 1, 0, None), (Some(-60), true));
}

#[test]
fn a_generation_of_another_account_is_not_judged_by_this_clock() {
    let generation = generation(60);
    let account = "another".parse().unwrap();
    let clock = ProviderClock::seen(Span::minutes(30));
    let reckoning = Reckoning { now: at(0), account: &account, clock, proof: None };
    assert_eq!(reckoning.expires(&generation), Some(at(60)));
}
