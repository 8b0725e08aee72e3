//! What a changed credential gives another try, and what needs none.

use crate::clock::{Span, Time};
use crate::outcome::{Failure, FailureCode};
use crate::rotation::steps::step;
use crate::rotation::{Event, Phase, TokenState, apply};

use super::samples;

#[test]
fn only_what_lacked_a_good_credential_stops_waiting() {
    let now: Time = "2026-11-21T12:00:00Z".parse().unwrap();
    let hour = now + Span::hours(1);
    for (code, forgiven) in [
        (FailureCode::Unauthorized, true),
        (FailureCode::Forbidden, true),
        (FailureCode::NoCredential, true),
        (FailureCode::Tls, true),
        (FailureCode::Withdrawn, true),
        (FailureCode::Connect, false),
        (FailureCode::RateLimited, false),
        (FailureCode::StoreUnwritable, false),
    ] {
        let mut state = TokenState::default();
        for _ in 0..5 {
            let event = Event::Postponed { failure: Failure::new(code, ""), next: hour };
            state = apply(state, now, &event).unwrap();
        }
        assert_eq!(state.lacked_credential(), forgiven, "{code:?}");
        state = apply(state, now, &Event::BackoffEnded {}).unwrap();
        let retry = state.retry.unwrap();
        assert_eq!((retry.next, retry.attempts), if forgiven { (now, 0) } else { (hour, 5) }, "{code:?}");
    }
}

#[test]
fn what_a_stop_withdrew_is_no_failure() {
    let now: Time = "2026-11-21T12:00:00Z".parse().unwrap();
    let withdrawn = || Failure::new(FailureCode::Withdrawn, "patrold stops");
    let intent = samples::events().into_iter().find(|event| matches!(event, Event::Intended { .. })).unwrap();
    let intended = apply(TokenState::default(), now, &intent).unwrap();
    for (code, failures) in [(FailureCode::Withdrawn, 0), (FailureCode::Connect, 1)] {
        let refused = Event::MintRefused { failure: Failure::new(code, ""), next: now + Span::hours(1) };
        let state = apply(intended.clone(), now, &refused).unwrap();
        assert_eq!(state.failed_rotations, failures, "{code:?}");
        assert_eq!((state.retry.is_some(), state.last_failure.is_some()), (failures > 0, failures > 0), "{code:?}");
        assert_eq!(step(&refused, &state).is_some(), failures > 0, "{code:?}: metrics count it");
    }
    let renewing = samples::phases().into_iter().find(|phase| matches!(phase, Phase::Renewing { .. })).unwrap();
    let state = TokenState { phase: renewing, ..TokenState::default() };
    let event = Event::RenewalRefused { failure: withdrawn(), next: now + Span::hours(1), spent: false };
    let state = apply(state, now, &event).unwrap();
    assert_eq!(state.phase.current().unwrap().renewal_retry, None);
    assert_eq!(state.last_failure, None);
}
