//! What operators ask of this replica through others: each wish is done once, by whoever takes it out of the engine.

use crate::clock::{Clock, Span};
use crate::daemon::DaemonJournal;
use crate::daemon::core::Core;
use crate::daemon::deadlines::Key;
use crate::daemon::scheduler::Waker;
use crate::event;
use crate::journal::fleet::wishes::Wish;
use crate::journal::fleet::{EngineError, FleetJournal, WishId};
use crate::names::TokenName;
use crate::report::retirement::{RetireAnswer, RetireOutcome};
use crate::report::rotation::RotateOutcome;

use super::wishes::{Asked, Told, nameless, read};

/// Does what a wish asks, where nobody else has taken it. `None`: somebody has, or nobody knows; who took it answers.
pub(super) async fn granted<C: Clock>(
    core: &Core<C, DaemonJournal>,
    waker: &Waker,
    journal: &FleetJournal,
    (id, wish): (&WishId, &Wish),
) -> Result<Option<Told>, EngineError> {
    let ownership = &core.machine.effects.ownership;
    let fence = ownership.fence(&wish.account).filter(|fence| fence.epoch == wish.epoch);
    if !journal.take_wish(id, wish, fence.as_ref()).await? {
        return Ok(None);
    }
    if fence.is_none() {
        return Ok(Some(Told::Moved));
    }
    let told = done(core, waker, journal, wish).await;
    // What is refused was not begun.
    let refused = matches!(&told, Told::Result(result) if result.outcome == RotateOutcome::Refused);
    let moved = refused && ownership.fence(&wish.account).is_none_or(|fence| fence.epoch != wish.epoch);
    Ok(Some(if moved { Told::Moved } else { told }))
}

async fn done<C: Clock>(core: &Core<C, DaemonJournal>, waker: &Waker, journal: &FleetJournal, wish: &Wish) -> Told {
    let (token, asked, patience) = match read(journal, wish) {
        Ok(read) => read,
        Err(failure) => return Told::Refused(failure.to_string()),
    };
    let account = &wish.account;
    if !matches!(asked, Asked::Explain) {
        tracing::info!(
            event = event::FLEET_WISH,
            %account,
            token = token.as_ref().map_or("-", TokenName::as_str),
            by = %wish.by,
            "an operator asks for it at another replica"
        );
    }
    match (asked, token) {
        (Asked::Audit { reap }, _) => match core.audit(Some(account), &reap, Some(waker)).await.accounts.pop() {
            Some(audit) => Told::Audited(Box::new(audit)),
            None => Told::Refused("its account is not in the inventory there".to_owned()),
        },
        (_, None) => Told::Refused(nameless().to_string()),
        (Asked::Operator(asked), Some(token)) => {
            Told::Result(core.execute(Some(waker), &token, asked, patience).await.report())
        }
        (Asked::Cancel, Some(token)) => {
            let withdrawn = core.cancel(&token).await;
            waker.wake(vec![Key::Token(token)]);
            Told::Cancelled(withdrawn.err())
        }
        (Asked::Retire { .. }, Some(token)) if core.tokens.get(&token).is_some_and(|token| token.wanted()) => {
            let detail = format!(
                "its entry is still in the inventory of replica {}, which looks after it: take it out there, too, and ask \
                 again",
                journal.replica()
            );
            Told::Retired(RetireAnswer { outcome: RetireOutcome::Refused, detail, ..RetireAnswer::of(&token) })
        }
        (Asked::Retire { grace }, Some(token)) => {
            let grace = grace.map(|grace| Span::from_std(grace).unwrap_or(Span::MAX));
            Told::Retired(core.retire(Some(waker), &token, grace, patience).await)
        }
        (Asked::Explain, Some(token)) => match core.tokens.why_aside(&token) {
            Some(why) => Told::Refused(why),
            None => Told::Explained(core.explain(&token).map(Box::new)),
        },
    }
}
