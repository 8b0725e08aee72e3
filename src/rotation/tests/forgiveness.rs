//! What a changed credential gives another try.

use crate::clock::{Span, Time};
use crate::outcome::{Failure, FailureCode};
use crate::rotation::{Event, TokenState, apply};

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
