use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::outcome::FailureCode;
use crate::secret::{Fingerprinter, Secret};

fn at(seconds: i64) -> Time {
    Time::UNIX_EPOCH + Span::seconds(seconds)
}

fn limit(requests: u32, seconds: u64) -> RateLimit {
    RateLimit { requests, per: Duration::from_secs(seconds) }
}

fn credential(text: &str) -> Fingerprint {
    Fingerprinter::new(&[0; 32]).of(&Secret::new(text))
}

fn refusal(text: &str) -> Refusal {
    let failure = Failure::new(FailureCode::Unauthorized, "");
    Refusal { credential: credential(text), guarded: false, until: None, failure }
}

#[test]
fn slots_come_as_fast_as_the_limit_allows() {
    let mut quota = Quota::new(limit(2, 10));
    let slots: Vec<_> = [0, 1, 1, 1, 30, 30, 30].map(|now| quota.take(at(now))).to_vec();
    assert_eq!(slots, [0, 1, 10, 11, 30, 30, 40].map(at));
}

#[test]
fn what_is_left_comes_back_when_its_span_is_over() {
    let mut quota = Quota::new(limit(2, 10));
    let left: Vec<_> = [(0, true), (1, true), (1, false), (10, false), (11, false)]
        .into_iter()
        .map(|(now, takes)| {
            if takes {
                quota.take(at(now));
            }
            quota.left(at(now))
        })
        .collect();
    assert_eq!(left, [1, 0, 0, 1, 2]);
}

#[test]
fn who_takes_over_holds_to_what_was_told_and_counts_what_may_have_been_sent() {
    let mut former = Limiter::new(Some(limit(10, 60)));
    for second in 0..4 {
        assert_eq!(former.admit(at(second), at(second), None, Urgency::Patient), Admission::At(at(second)));
    }
    former.credential_refused(at(4), refusal("old"));
    let told = former.memory();
    let mut other = Limiter::new(Some(limit(10, 60)));
    other.block(at(5), Some(at(90)));
    let both = other.memory().and(told.clone());
    let mut next = Limiter::recall(Some(limit(10, 60)), Some(both.clone()), at(6));
    assert_eq!(next.blocked_until(at(6)), Some(at(90)), "what is known here counts on");
    assert!(next.refused().is_some() && next.left(at(6)) == Some(6), "with what was told");
    next.presume(Span::seconds(20), at(6));
    assert_eq!(next.left(at(6)), Some(3), "a third of the limit may have been sent in a third of its span");
    next.presume(Span::days(1), at(6));
    assert_eq!(next.left(at(6)), Some(0), "and no more than the limit");
    assert!(both.tells_as(&next.memory()) && !told.tells_as(&both), "what was sent is nothing that a provider said");
    assert!(Limiter::new(None).memory().is_empty() && !told.is_empty());
    assert!(told.is_after(at(2)) && !told.is_after(at(3)) && !Limiter::new(None).memory().is_after(at(0)));
    let mut free = Limiter::recall(None, Some(told), at(6));
    free.presume(Span::days(1), at(6));
    assert_eq!(free.left(at(6)), None, "where there is no limit, nothing is counted");
}

#[test]
fn no_more_is_planned_than_could_leave() {
    let mut limiter = Limiter::new(Some(limit(2, 60)));
    let plan = |limiter: &mut Limiter, now| limiter.plan(at(now), at(now + 5));
    assert_eq!([0, 0, 1, 1].map(|now| plan(&mut limiter, now)), [None, None, Some(at(60)), Some(at(60))]);
    assert_eq!(plan(&mut limiter, 2), Some(at(120)), "as far apart as the limit");
    assert_eq!(limiter.left(at(2)), Some(2), "a plan is no request");
    for _ in 0..2 {
        assert_eq!(limiter.admit(at(3), at(8), None, Urgency::Patient), Admission::At(at(3)));
    }
    assert_eq!(plan(&mut limiter, 60), None, "it may wait five seconds");
    assert_eq!(Limiter::new(None).plan(at(0), at(5)), None, "there is no limit");
}

proptest! {
    #[test]
    fn no_span_ever_holds_more_slots_than_the_limit(
        requests in 1_u32..6,
        seconds in 1_u32..20,
        steps in proptest::collection::vec(0_i64..8, 1..120),
    ) {
        let mut quota = Quota::new(limit(requests, seconds.into()));
        let mut now = at(0);
        let mut slots = Vec::new();
        for step in steps {
            now += Span::seconds(step);
            let slot = quota.take(now);
            prop_assert!(slot >= now);
            slots.push(slot);
            prop_assert!(quota.slots.len() <= requests as usize);
        }
        prop_assert!(slots.is_sorted());
        for window in slots.windows(requests as usize + 1) {
            prop_assert!(window[requests as usize] - window[0] >= Span::seconds(seconds.into()));
        }
    }
}

#[test]
fn those_turned_away_come_back_one_after_the_other() {
    let mut limiter = Limiter::new(Some(limit(1, 60)));
    let ask = |limiter: &mut Limiter, now| limiter.admit(at(now), at(now + 5), None, Urgency::Patient);
    assert_eq!(ask(&mut limiter, 0), Admission::At(at(0)));
    assert_eq!(ask(&mut limiter, 1), Admission::NotBefore(at(60)));
    assert_eq!(ask(&mut limiter, 2), Admission::NotBefore(at(120)));
    assert_eq!(ask(&mut limiter, 57), Admission::At(at(60)));
}

#[test]
fn who_is_turned_away_takes_no_slot() {
    let mut limiter = Limiter::new(Some(limit(1, 60)));
    assert_eq!(limiter.turns_away(at(0), at(5), None, Urgency::Patient), None);
    assert_eq!(limiter.admit(at(0), at(5), None, Urgency::Patient), Admission::At(at(0)));
    assert_eq!(limiter.turns_away(at(0), at(5), None, Urgency::Patient), Some(Admission::NotBefore(at(60))));
    assert_eq!(limiter.admit(at(60), at(65), None, Urgency::Patient), Admission::At(at(60)));
}

#[test]
fn a_call_for_patience_holds_for_every_request_but_not_for_ever() {
    for (sentence, until, admitted) in [
        ("a short block is waited for", Some(at(3)), Admission::At(at(3))),
        ("a long one is not", Some(at(60)), Admission::NotBefore(at(60))),
        ("one in the past is none", Some(at(-10)), Admission::At(at(0))),
        ("no time given: a short backoff", None, Admission::At(at(2))),
        ("a year is an hour", Some(at(31_536_000)), Admission::NotBefore(at(3600))),
    ] {
        let mut limiter = Limiter::new(None);
        limiter.block(at(0), until);
        assert_eq!(limiter.admit(at(0), at(5), None, Urgency::Patient), admitted, "{sentence}");
    }
}

#[test]
fn a_call_for_patience_holds_back_nobody_past_the_last_tenth_of_a_life() {
    let day = Some(at(86_400));
    for (sentence, urgency, from, admitted) in [
        ("20 s of life are left", Urgency::By(at(20)), 0, Admission::NotBefore(at(18))),
        ("when 2 s are left, it goes", Urgency::By(at(20)), 18, Admission::At(at(18))),
        ("who holds nothing that works waits a minute", Urgency::By(at(-5)), 0, Admission::NotBefore(at(60))),
        ("a life of a year bears the hour", Urgency::By(at(31_536_000)), 0, Admission::NotBefore(at(3600))),
        ("nobody waits for it", Urgency::Patient, 18, Admission::NotBefore(at(3600))),
        ("an operator wants it now", Urgency::Now, 1, Admission::At(at(1))),
    ] {
        let mut limiter = Limiter::new(None);
        limiter.block(at(0), day);
        assert_eq!(limiter.admit(at(from), at(from + 5), None, urgency), admitted, "{sentence}");
    }
}

#[test]
fn what_goes_in_spite_of_a_call_for_patience_goes_one_by_one_and_lifts_it() {
    let mut limiter = Limiter::new(None);
    limiter.block(at(0), Some(at(3600)));
    let urgent = Urgency::By(at(20));
    assert_eq!(limiter.admit(at(18), at(18), None, urgent), Admission::At(at(18)));
    assert_eq!(limiter.admit(at(18), at(18), None, urgent), Admission::NotBefore(at(19)), "one is enough to see");
    assert!(!limiter.blocked_since(at(18), at(18)), "the one that goes is not held back at the last moment");
    assert!(!limiter.answered(at(-1)), "an answer to a request that left before the call lifts nothing");
    assert!(limiter.answered(at(18)));
    assert_eq!(limiter.admit(at(18), at(18), None, Urgency::Patient), Admission::At(at(18)));
}

#[test]
fn a_shorter_call_does_not_lift_a_longer_one() {
    let mut limiter = Limiter::new(None);
    limiter.block(at(0), Some(at(60)));
    limiter.block(at(0), Some(at(10)));
    assert_eq!(limiter.blocked_until(at(1)), Some(at(60)));
}

#[test]
fn vague_calls_for_patience_grow_until_an_answer_comes() {
    let mut limiter = Limiter::new(None);
    let mut now = at(0);
    for seconds in [2, 4, 8] {
        limiter.block(now, None);
        assert_eq!(limiter.blocked_until(now), Some(now + Span::seconds(seconds)));
        now += Span::seconds(seconds);
    }
    assert!(!limiter.answered(at(0)), "it was sent before");
    limiter.block(now, None);
    assert_eq!(limiter.blocked_until(now), Some(now + Span::seconds(2)));
}

#[test]
fn a_refused_credential_is_tried_by_one_request_at_a_time() {
    let mut limiter = Limiter::new(None);
    let (old, new) = (credential("old"), credential("new"));
    limiter.credential_refused(at(0), refusal("old"));
    assert_eq!(limiter.admit(at(1), at(9), Some(&old), Urgency::Patient), Admission::CredentialRefused(at(2)));
    assert_eq!(
        limiter.admit(at(1), at(9), Some(&new), Urgency::Patient),
        Admission::At(at(1)),
        "a changed one is tried at once"
    );
    assert_eq!(limiter.admit(at(1), at(9), None, Urgency::Patient), Admission::At(at(1)), "others do not use it");
    assert_eq!(limiter.admit(at(2), at(9), Some(&old), Urgency::Patient), Admission::At(at(2)));
    assert_eq!(limiter.admit(at(2), at(9), Some(&old), Urgency::Patient), Admission::CredentialRefused(at(4)));
    limiter.credential_refused(at(2), refusal("old"));
    assert_eq!(limiter.admit(at(5), at(9), Some(&old), Urgency::Patient), Admission::CredentialRefused(at(6)));
    limiter.credential_accepted();
    assert_eq!(limiter.admit(at(5), at(9), Some(&old), Urgency::Patient), Admission::At(at(5)));
}

#[test]
fn a_refused_login_is_tried_so_seldom_that_nobody_gets_locked() {
    let mut limiter = Limiter::new(None);
    let old = credential("old");
    let mut now = 0;
    for minutes in [5, 10, 20, 40, 60, 60] {
        limiter.credential_refused(at(now), Refusal { guarded: true, ..refusal("old") });
        let next = now + minutes * 60;
        let admitted = limiter.admit(at(next - 1), at(next + 9), Some(&old), Urgency::Patient);
        assert_eq!(admitted, Admission::CredentialRefused(at(next)), "after {minutes} minutes");
        now = next;
        assert_eq!(limiter.admit(at(now), at(now), Some(&old), Urgency::Patient), Admission::At(at(now)));
    }
}

#[test]
fn a_provider_that_tells_when_a_credential_may_be_tried_again_is_obeyed_for_an_hour() {
    for (sentence, guarded, until, next) in [
        ("not before it says", false, 600, 600),
        ("nor before the usual backoff", false, 1, 2),
        ("which is longer for a login", true, 60, 300),
        ("a day is an hour", true, 86_400, 3600),
    ] {
        let mut limiter = Limiter::new(None);
        limiter.credential_refused(at(0), Refusal { guarded, until: Some(at(until)), ..refusal("old") });
        let admitted = limiter.admit(at(0), at(0), Some(&credential("old")), Urgency::Patient);
        assert_eq!(admitted, Admission::CredentialRefused(at(next)), "{sentence}");
    }
}

#[test]
fn the_next_process_holds_to_what_this_one_was_told() {
    let quota = || Some(limit(2, 60));
    let mut limiter = Limiter::new(quota());
    limiter.admit(at(0), at(0), None, Urgency::Patient);
    limiter.admit(at(1), at(1), None, Urgency::Patient);
    limiter.block(at(2), Some(at(30)));
    limiter.credential_refused(at(2), Refusal { guarded: true, ..refusal("old") });
    let text = serde_json::to_string(&limiter.memory()).unwrap();
    let recalled = |now| Limiter::recall(quota(), Some(serde_json::from_str(&text).unwrap()), now);
    let old = credential("old");
    assert_eq!(recalled(at(5)).blocked_until(at(5)), Some(at(30)), "a call for patience");
    assert_eq!(
        recalled(at(40)).admit(at(40), at(40), None, Urgency::Patient),
        Admission::NotBefore(at(60)),
        "the rate limit"
    );
    assert_eq!(
        recalled(at(70)).admit(at(70), at(70), Some(&old), Urgency::Patient),
        Admission::CredentialRefused(at(302))
    );
    assert_eq!(
        recalled(at(70)).admit(at(70), at(70), Some(&credential("new")), Urgency::Patient),
        Admission::At(at(70))
    );
    let back = recalled(at(-10_000));
    assert_eq!(back.blocked_until(at(-10_000)), Some(at(-9_971)), "a clock that was set back prolongs nothing");
    assert_eq!(Limiter::new(quota()).memory(), Memory::default(), "there is nothing to write down");
}

#[test]
fn a_limit_that_is_edited_counts_what_left_under_the_one_before() {
    let mut limiter = Limiter::new(Some(limit(10, 60)));
    for second in 0..5 {
        limiter.admit(at(second), at(second), None, Urgency::Patient);
    }
    limiter.resize(Some(limit(3, 60)));
    assert_eq!(limiter.admit(at(5), at(5), None, Urgency::Patient), Admission::NotBefore(at(62)));
    limiter.resize(Some(limit(6, 60)));
    assert_eq!(
        limiter.admit(at(5), at(5), None, Urgency::Patient),
        Admission::At(at(5)),
        "three are known to have left"
    );
    limiter.resize(None);
    assert_eq!(limiter.left(at(5)), None);
}

#[test]
fn the_backoff_ends_at_five_minutes() {
    assert_eq!([0, 1, 2, 8, 9, u32::MAX].map(|n| backoff(n).num_seconds()), [2, 2, 4, 256, 300, 300]);
}

#[test]
fn a_clock_that_is_set_back_does_not_prolong_a_wait() {
    let mut limiter = Limiter::new(Some(limit(1, 60)));
    assert_eq!(limiter.admit(at(10_000), at(10_000), None, Urgency::Patient), Admission::At(at(10_000)));
    assert_eq!(limiter.admit(at(0), at(100), None, Urgency::Patient), Admission::At(at(60)));
}
