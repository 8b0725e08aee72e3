//! Tokens that are only watched: their provider cannot mint, so that somebody has to bring the next one.

use crate::clock::{Span, Time};
use crate::provider::{Expiry, ProviderTime};
use crate::rotation::due::{self, Due, RuleKind};
use crate::rotation::reason::Reason;
use crate::rotation::state::Current;

use super::{Situation, later};

/// The rules that mean something for a token that nobody can mint: an operator's request changes nothing about it, and
/// that its expiry is unknown is no reason to replace it.
pub(super) fn sensible(s: &Situation<'_>, mut rules: Vec<Due>) -> Vec<Due> {
    if !s.abilities.can.mints {
        let moot = |due: &Due| matches!(due.reason, Reason::Requested | Reason::ExpiryUnknown);
        rules.retain(|due| due.kind == RuleKind::Renewal || !moot(due));
    }
    rules
}

/// The rule by which a watched token is due for a replacement, where nobody was told of it yet.
pub(super) fn overdue(s: &Situation<'_>, current: &Current, rules: &[Due]) -> Option<Due> {
    if s.abilities.can.mints {
        return None;
    }
    let rotations: Vec<_> = rules.iter().filter(|due| due.kind == RuleKind::Rotation).copied().collect();
    let due = due::deciding(&rotations, s.now).filter(|due| due.at <= s.now)?;
    (current.replacement.as_deref() != Some(due.reason.code())).then_some(due)
}

/// When the inventory says that an adopted token ends, where that is something else than is known and nobody but the
/// inventory can tell.
pub(super) fn told(s: &Situation<'_>, current: &Current) -> Option<Expiry> {
    let expires = s.policy.initial.as_ref()?.expires.map(ProviderTime::ours).map(Expiry::At)?;
    let silent = !s.abilities.can.mints && !s.abilities.can.expiry_known && s.wanted;
    (silent && current.generation.params.is_none() && current.generation.remote.expires != expires).then_some(expires)
}

/// When it is looked next whether an operator brought another secret for a watched token. None: it is never looked.
pub(super) fn next_look(s: &Situation<'_>, current: &Current) -> Option<Time> {
    let source = s.policy.initial.as_ref().is_some_and(|initial| initial.source.is_some());
    // What patrold minted while the provider could is not given up for what was there before.
    let adopted = current.generation.params.is_none() && !s.state.adopted.is_empty();
    if s.abilities.can.mints || !s.wanted || !source || !adopted {
        return None;
    }
    let last = s.memo.sought.filter(|sought| *sought <= s.now);
    Some(last.map_or(s.now, |sought| later(sought, s.policy.account.poll_every.max(Span::seconds(1)))))
}
