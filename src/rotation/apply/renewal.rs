//! A renewal in place, from its intent to its end. `None`: the phase does not fit.

use crate::clock::Time;
use crate::outcome::{Failure, FailureCode};
use crate::rotation::reason::Reason;
use crate::rotation::state::{Current, Delivery, Generation, Intent, Noted, Phase, Retiring, TokenState};

use super::failures::again;

pub(super) fn intended(phase: Phase, intent: &Intent) -> Option<Phase> {
    let (current, retiring) = match phase {
        Phase::Steady { current } => (current, None),
        Phase::Active { current, retiring } => (current, Some(retiring)),
        _ => return None,
    };
    Some(Phase::Renewing { current, retiring, intent: Box::new(intent.clone()) })
}

pub(super) fn postponed(current: &mut Current, at: Time, failure: &Failure, next: Time) {
    current.renewal_retry = Some(again(current.renewal_retry.take(), at, failure, next));
}

pub(super) fn refused(
    state: &mut TokenState,
    phase: Phase,
    at: Time,
    failure: &Failure,
    next: Time,
    spent: bool,
) -> Option<Phase> {
    let (Phase::Renewing { mut current, retiring, intent } | Phase::RenewalUnknown { mut current, retiring, intent }) =
        phase
    else {
        return None;
    };
    if spent {
        answered(state, &intent, &current);
    }
    current.renewal_spent |= spent;
    if failure.code != FailureCode::Withdrawn {
        postponed(&mut current, at, failure, next);
    }
    Some(ended(current, retiring))
}

pub(super) fn unknown(phase: Phase) -> Option<Phase> {
    let Phase::Renewing { mut current, retiring, intent } = phase else { return None };
    current.renewal_retry = None;
    Some(Phase::RenewalUnknown { current, retiring, intent })
}

pub(super) fn examined(state: &mut TokenState, phase: Phase, at: Time, dead: Option<&Failure>) -> Option<Phase> {
    let Phase::RenewalUnknown { mut current, retiring, intent } = phase else { return None };
    answered(state, &intent, &current);
    current.renewal_spent = true;
    current.generation.reissue_unknown = Some(at);
    current.dead = dead.map(|failure| Noted { at, failure: failure.clone() });
    Some(ended(current, retiring))
}

pub(super) fn renewed(phase: Phase, generation: &Generation) -> Option<Phase> {
    let Phase::Renewing { mut current, retiring, intent } = phase else { return None };
    current.generation = generation.clone();
    current.dead = None;
    current.renewal_retry.take_if(|retry| retry.failure.code != FailureCode::NotLengthened);
    current.replacement = None;
    current.told_over = false;
    Some(Phase::Renewed { current, retiring, intent })
}

pub(super) fn verified(state: &mut TokenState, phase: Phase, at: Time, next: Option<Time>) -> Option<Phase> {
    let Phase::Renewed { mut current, retiring, intent } = phase else { return None };
    answered(state, &intent, &current);
    // The secret before it is dead at the provider: every store and hook is owed the new one.
    current.delivery = Delivery::default();
    let vain = || Failure::new(FailureCode::NotLengthened, "");
    current.renewal_retry = next.map(|next| again(current.renewal_retry.take(), at, &vain(), next));
    Some(ended(current, retiring))
}

pub(super) fn rejected(
    state: &mut TokenState,
    phase: Phase,
    at: Time,
    failure: &Failure,
    next: Option<Time>,
) -> Option<Phase> {
    let Phase::Renewed { mut current, retiring, intent } = phase else { return None };
    answered(state, &intent, &current);
    current.delivery = Delivery::default();
    current.renewal_retry = next.map(|next| again(current.renewal_retry.take(), at, failure, next));
    current.dead = Some(Noted { at, failure: failure.clone() });
    Some(ended(current, retiring))
}

/// A renewal that was asked for by hand answers that request with its end, good or bad. One that left a secret behind which
/// others have does not.
fn answered(state: &mut TokenState, intent: &Intent, current: &Current) {
    if intent.reason == Reason::Requested.code() && current.generation.compromised.is_none() {
        state.requested = None;
    }
}

/// Where a renewal ends.
fn ended(current: Current, retiring: Option<Box<Retiring>>) -> Phase {
    match retiring {
        Some(retiring) => Phase::Active { current, retiring },
        None => Phase::Steady { current },
    }
}
