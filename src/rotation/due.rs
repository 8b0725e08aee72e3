//! When a token is due, by which rule, and until when it can wait.

use crate::clock::{Span, Time};
use crate::inventory::{RenewBefore, TokenPolicy};
use crate::provider::Expiry;
use crate::rotation::reckoning::Reckoning;
use crate::timing::jitter::jitter;
use crate::timing::window::WindowState;

use super::reason::Reason;
use super::state::{Current, Generation, TokenState};

/// How long after a rollback no new token is minted: the operator finds out meanwhile what was wrong with the newer one.
pub const RECALL_HOLD: Span = Span::days(1);

/// How a due token is dealt with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleKind {
    /// A new generation.
    Rotation,
    /// A new secret of the same generation, in place.
    Renewal,
}

/// What can be done about a generation that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    /// Another one takes its place: the provider mints it, or somebody brings it.
    Rotation,
    /// That, and it can be renewed in place meanwhile.
    Both,
    /// It can be renewed in place, and its provider cannot mint: all that is asked of it is asked of renewals.
    Renewal,
}

/// One rule that makes a token due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    pub kind: RuleKind,
    pub reason: Reason,
    pub at: Time,
    /// Waiting for a window longer than this would endanger the consumers. None: it can wait for ever.
    pub deadline: Option<Time>,
    /// It does not wait for windows.
    pub urgent: bool,
}

/// When a due rotation may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    pub at: Time,
    /// The window opens too late: the deadline decides.
    pub overridden: bool,
}

/// Every rule that applies to the current generation, with the time at which it makes the token due.
///
/// `reckoning` says what the provider's moments are on our clock, which due times are on.
pub fn rules(
    policy: &TokenPolicy,
    state: &TokenState,
    current: &Current,
    means: Means,
    reckoning: &Reckoning<'_>,
) -> Vec<Due> {
    let generation = &current.generation;
    let remote = &generation.remote;
    let rotation = |reason, at, deadline| Due { kind: RuleKind::Rotation, reason, at, deadline, urgent: false };
    let urgent = |reason, at| Due { kind: RuleKind::Rotation, reason, at, deadline: Some(at), urgent: true };
    let whole = current.renewable();
    // Where nothing else is left, what renews may outlive what it renews: a refresh token its access token.
    let alone = means == Means::Renewal && whole;
    let renews = alone || means == Means::Both && whole && current.dead.is_none();
    let (kind, since) =
        if alone { (RuleKind::Renewal, generation.issued_at) } else { (RuleKind::Rotation, generation.minted_at) };
    let here = |moment| reckoning.earliest(generation, moment);
    let expires = expiry(policy, current, reckoning);
    let refresh_expires = remote.refresh_expires.and_then(here);
    let mut rules = Vec::with_capacity(3);

    if let Some(dead) = &current.dead {
        rules.push(Due { kind, ..urgent(Reason::Dead, dead.at) });
    }
    if let Some(requested) = state.requested {
        rules.push(Due { kind, ..urgent(Reason::Requested, requested) });
    }
    if current.secret_lost {
        rules.push(rotation(Reason::SecretLost, generation.issued_at, expires));
    }
    if current.renewal_spent {
        rules.push(rotation(Reason::RenewalUnknown, generation.issued_at, expires));
    }
    if generation.account != policy.account.name
        || generation.params.as_ref().is_some_and(|params| *params != policy.params)
    {
        rules.push(rotation(Reason::Changed, generation.minted_at, expires));
    }
    if let Some(expires) = expires {
        if renews {
            let can_renew = alone || refresh_expires.is_none_or(|end| end > expires);
            let end = refresh_expires.filter(|_| alone).map_or(expires, |end| end.min(expires));
            let (at, deadline) = lead(policy, generation, generation.issued_at, end);
            let kind = if can_renew { RuleKind::Renewal } else { RuleKind::Rotation };
            let reason = if can_renew { Reason::Renewal } else { Reason::RenewBefore };
            rules.push(Due { kind, reason, at, deadline: Some(deadline), urgent: can_renew });
            // Renewals that were missed are made up for first; consumers do not wait long for them.
            let patience = ((expires - generation.issued_at) / 10).max(Span::minutes(1));
            // What was adopted after its end is renewed before anybody is asked for another one.
            let patience = later(if alone { expires.max(generation.issued_at) } else { expires }, patience);
            rules.push(urgent(Reason::Expired, refresh_expires.map_or(patience, |end| end.max(expires).min(patience))));
        } else {
            let (at, deadline) = lead(policy, generation, generation.minted_at, expires);
            rules.push(rotation(Reason::RenewBefore, at, Some(deadline)));
            rules.push(urgent(Reason::Expired, expires));
        }
    }
    if let Some(until) = remote.renewable_until.and_then(here) {
        let (at, deadline) = lead(policy, generation, generation.minted_at, until);
        rules.push(rotation(Reason::RenewableUntil, at, Some(deadline)));
    }
    if let Some(every) = policy.rotate_every {
        let at = later(since, every) - jitter(&policy.name, policy.jitter.min(every / 10));
        rules.push(Due { kind, ..rotation(Reason::RotateEvery, at, None) });
    }
    if let Some(next) = policy.schedule.as_ref().and_then(|schedule| schedule.next_after(since)) {
        let at = later(next, jitter(&policy.name, policy.jitter));
        rules.push(Due { kind, ..rotation(Reason::Schedule, at, expires) });
    }
    let adopted = generation.params.is_none();
    let unknown = adopted && expires.is_none() && remote.expires == Expiry::Unknown;
    let rhythm = has_rhythm(policy);
    if unknown && renews && generation.revision == 0 && (alone || !rhythm) {
        // The answer tells when the next one ends.
        let at = generation.issued_at;
        rules.push(Due { kind: RuleKind::Renewal, reason: Reason::ExpiryUnknown, at, deadline: None, urgent: true });
    } else if unknown && !rhythm {
        rules.push(rotation(Reason::ExpiryUnknown, generation.minted_at, None));
    }
    if let Some(preferred) = current.preferred {
        // What made the newer one be minted holds for this one as well. It presses again at its deadline.
        let until = later(preferred, RECALL_HOLD);
        for due in rules.iter_mut().filter(|due| due.kind == RuleKind::Rotation && !due.urgent) {
            due.at = due.at.max(due.deadline.unwrap_or(until).min(until));
        }
    }
    rules
}

/// The rule that decides: the one that makes the token due first; of several that have, a pressing one. Its deadline is
/// the earliest that waits for windows: the reason to rotate does not change when consumers are in danger.
pub fn deciding(rules: &[Due], now: Time) -> Option<Due> {
    let due = rules.iter().filter(|due| due.at <= now);
    // A rotation replaces what a renewal would renew, so that it goes first where both are due.
    let pressing =
        due.min_by_key(|due| (!due.urgent || due.kind == RuleKind::Renewal, due.kind == RuleKind::Renewal, due.at));
    let decides = pressing.or_else(|| rules.iter().min_by_key(|due| due.at)).copied()?;
    let others = rules.iter().filter(|due| due.kind == decides.kind && !due.urgent);
    let deadline = others.chain([&decides]).filter_map(|due| due.deadline).min();
    Some(Due { deadline, ..decides })
}

/// When a due token may begin, given its window.
pub fn start(policy: &TokenPolicy, due: &Due, now: Time) -> Start {
    let from = due.at.max(now);
    let Some(window) = policy.window.as_ref().filter(|_| !due.urgent) else {
        return Start { at: from, overridden: false };
    };
    match (window.at(from), due.deadline) {
        (WindowState::Open { .. }, _) => Start { at: from, overridden: false },
        (WindowState::Closed { opens: Some(opens) }, None) => Start { at: opens, overridden: false },
        (WindowState::Closed { opens: Some(opens) }, Some(deadline)) if opens <= deadline => {
            Start { at: opens, overridden: false }
        }
        (WindowState::Closed { .. }, Some(deadline)) => Start { at: deadline.max(from), overridden: true },
        // A window that never opens again, and nothing that presses: the loader refuses such windows.
        (WindowState::Closed { opens: None }, None) => Start { at: Time::MAX_UTC, overridden: false },
    }
}

/// When the present secret expires at the earliest. Where the provider tells nothing of a token that it minted, or nothing
/// that can be right, the lifetime that was asked for stands in.
fn expiry(policy: &TokenPolicy, current: &Current, reckoning: &Reckoning<'_>) -> Option<Time> {
    let generation = &current.generation;
    if generation.remote.expires == Expiry::Never {
        return None;
    }
    reckoning.expires(generation).or_else(|| {
        let lifetime = policy.lifetime.filter(|_| generation.params.is_some())?;
        generation.issued_at.checked_add_signed(lifetime)
    })
}

/// Whether it is rotated without anybody knowing its expiry.
fn has_rhythm(policy: &TokenPolicy) -> bool {
    policy.rotate_every.is_some() || policy.schedule.is_some()
}

/// When `renew-before` and jitter make a credential of `generation` due that lives from `from` to `end`, and its deadline:
/// half of what `renew-before` leaves.
///
/// Law: what was adopted is due the whole `renew-before` before its end, where that is a span, also if that is in the past:
/// nobody knows how long it lived before. A share is one of the life that was left then.
fn lead(policy: &TokenPolicy, generation: &Generation, from: Time, end: Time) -> (Time, Time) {
    let life = (end - from).max(Span::zero());
    let lead = match policy.renew_before {
        // A span that is longer than the life would make every new generation due at once.
        RenewBefore::Span(span) if span < life || !generation.knows_issue() => span,
        RenewBefore::Span(_) => life / 3,
        RenewBefore::Share(share) => scale(life, share),
    };
    let spread = policy.jitter.min(life / 10).min((life - lead).max(Span::zero()));
    (end - lead - jitter(&policy.name, spread), end - lead / 2)
}

/// `span` times a share between 0 and 1; exact to the millisecond for a thousand years.
fn scale(span: Span, share: f64) -> Span {
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
    let scaled = (span.num_milliseconds() as f64 * share) as i64;
    Span::milliseconds(scaled)
}

/// `time + span`, at most the end of time.
fn later(time: Time, span: Span) -> Time {
    time.checked_add_signed(span).unwrap_or(Time::MAX_UTC)
}

#[cfg(test)]
mod tests;
