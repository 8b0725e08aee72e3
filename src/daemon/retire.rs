//! The end of a token that nobody needs any more: noted, and followed until it is revoked.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, Span, Time};
use crate::inventory::Inventory;
use crate::journal::Journal;
use crate::names::TokenName;
use crate::report::retirement::{RetireAnswer, RetireOutcome};
use crate::rotation::Phase;
use crate::rotation::act::operator::Rejection;
use crate::rotation::reason::Reason;
use crate::rotation::state::Orphan;

use super::core::Core;
use super::deadlines::Key;
use super::registry::View;
use super::scheduler::Waker;
use super::{Errand, StartError, open};

impl<C: Clock, J: Journal + Clone> Core<C, J> {
    /// Has a token revoked that left the inventory, through a running scheduler where there is one, and waits until it is
    /// revoked, waits for its grace, or has failed.
    pub async fn retire(
        &self,
        waker: Option<&Waker>,
        name: &TokenName,
        grace: Option<Span>,
        patience: Duration,
    ) -> RetireAnswer {
        let answer = RetireAnswer::of(name);
        let refused = |detail: String| RetireAnswer { outcome: RetireOutcome::Refused, detail, ..answer.clone() };
        let Some(token) = self.tokens.get(name) else {
            // What the journal does not know was never minted.
            return self.tokens.why_aside(name).map_or_else(|| answer.clone(), refused);
        };
        let mut follow = token.follow();
        let since = self.clock.now();
        {
            let mut held = self.hold(&token).await;
            let Some(context) = self.context(&token, held.state()) else { return refused(self.absence(&token)) };
            match self.machine.retire(&mut held, &context, grace) {
                Ok(()) => held.memo.pressed = Some(self.clock.now()),
                Err(Rejection::NothingAlive) => return answer,
                Err(rejection) => return refused(rejection.to_string()),
            }
        }
        follow.mark_unchanged();
        let mut last = RetireAnswer { outcome: RetireOutcome::Waiting, ..answer.clone() };
        let Some(waker) = waker else {
            // One run does everything that can be done now.
            self.run_token(name).await;
            return seen(name, &token.view(), since).unwrap_or(last);
        };
        waker.wake(vec![Key::Token(name.clone())]);
        let ended = tokio::time::timeout(patience, async {
            while follow.changed().await.is_ok() {
                let Some(seen) = seen(name, &follow.borrow_and_update(), since) else { continue };
                let over = seen.outcome != RetireOutcome::Waiting;
                last = seen;
                if over {
                    return;
                }
            }
        });
        // Out of patience: what is known by now is the answer.
        let _ = ended.await;
        last
    }
}

/// What a view says about a retirement that was asked for at `since`; `None` while a step is under way. What failed before
/// is no answer.
fn seen(name: &TokenName, view: &View, since: Time) -> Option<RetireAnswer> {
    let rest = view.rest?;
    let answer = RetireAnswer::of(name);
    let failed = |detail: String| RetireAnswer { outcome: RetireOutcome::Failed, detail, ..answer.clone() };
    if let Some(failure) = &view.stuck {
        return Some(failed(failure.to_string()));
    }
    let state = &view.state;
    if let Some(retirement) = state.retirement {
        if let Some(retry) = state.retry.as_ref().filter(|retry| !retry.failed_before(since)) {
            return Some(failed(retry.failure.to_string()));
        }
        let planned = matches!(rest.reason, Reason::Retirement | Reason::Grace | Reason::InUse);
        let outcome = if planned { RetireOutcome::Planned } else { RetireOutcome::Waiting };
        return Some(RetireAnswer { outcome, at: planned.then_some(retirement.revoke_at), ..answer });
    }
    let erasing = state.claims.values().filter_map(|claim| claim.retry.as_ref());
    let mut retries =
        state.orphans.iter().filter_map(Orphan::retry).chain(erasing).filter(|retry| !retry.failed_before(since));
    Some(if let Some(retry) = retries.next() {
        failed(retry.failure.to_string())
    } else if state.orphans.iter().any(|orphan| matches!(orphan, Orphan::Unrevocable { .. })) {
        RetireAnswer { outcome: RetireOutcome::LeftToExpire, ..answer }
    } else if state.is_over() {
        RetireAnswer { outcome: RetireOutcome::Revoked, ..answer }
    } else if state.phase == Phase::Vacant {
        RetireAnswer { outcome: RetireOutcome::Waiting, ..answer }
    } else {
        let detail = "somebody withdrew it".to_owned();
        RetireAnswer { outcome: RetireOutcome::Refused, detail, ..answer }
    })
}

/// Does in this process what a daemon would do. What waits for its grace is left to the next daemon.
pub async fn retire_without_daemon<C: Clock>(
    inventory: Arc<Inventory>,
    clock: C,
    name: &TokenName,
    grace: Option<Span>,
    patience: Duration,
) -> Result<RetireAnswer, StartError> {
    let opening = open(inventory, clock, Errand::Once).await?;
    let answer = opening.core.retire(None, name, grace, patience).await;
    opening.core.accounts.write_limits().await;
    Ok(answer)
}
