//! `patrold run --once`: everything that is due now, in this process, and then no more. For timers and pipelines, where no
//! daemon runs.
//!
//! What is under way is waited for, since a rotation that has begun is best finished; what is merely to come, such as the
//! end of a grace, is the next run's. The journal keeps everything in between. At the end people are told what is the matter,
//! and what is over.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;
use tokio::sync::watch;

use crate::clock::{Clock, SystemClock, Time};
use crate::event;
use crate::inventory::{DaemonSettings, Loaded};
use crate::journal::Journal;
use crate::names::TokenName;
use crate::notify::Sender;
use crate::rotation::decide::Rest;
use crate::rotation::reason::Reason;
use crate::rotation::{Phase, TokenState};

use super::core::Core;
use super::notifier::{self, Notifier};
use super::registry::View;
use super::serve::Signals;
use super::{DaemonJournal, Errand, Opening, StartError, open, read_inventory};

/// Tokens that are dealt with at once. Requests are bounded by their accounts; this bounds memory.
const AT_ONCE: usize = 256;

/// What came of everything that was due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Tokens for which something was done, and is done.
    pub done: usize,
    /// Tokens for which something was due and is not done, and accounts whose tokens cannot be listed.
    pub failed: usize,
    /// Tokens for which nothing was due.
    pub idle: usize,
}

/// What came of one token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Done,
    Failed,
    Idle,
}

/// Does what is due by the inventory at `config`, waiting for what is under way for at most `patience`. A signal ends the
/// waiting; steps that have begun are brought to their next record. `follow` is told the inventory's settings.
pub async fn once(
    config: &Path,
    patience: Duration,
    follow: impl FnOnce(&DaemonSettings),
) -> Result<Tally, StartError> {
    super::hardening::apply();
    let mut signals = Signals::new()?;
    let reaper = tokio::spawn(super::reaper::run());
    let Loaded { inventory, report, files, .. } = read_inventory(config, &SystemClock).await?;
    let Some(inventory) = inventory else { return Err(StartError::Inventory(report.render())) };
    follow(&inventory.daemon);
    for problem in report.problems() {
        tracing::warn!(event = event::INVENTORY_NOTE, "{}", report.line(&problem));
    }
    super::tell_exposure(&inventory, &files).await;
    let drain = inventory.daemon.drain_timeout;
    let Opening { core, stopping, sender, .. } = Box::pin(open(Arc::new(inventory), SystemClock, Errand::Once)).await?;
    let (stop, stopped) = watch::channel(false);
    let is_stopping = stopped.clone();
    let mut work = std::pin::pin!(core.run_due(patience, stopped));
    let tally = tokio::select! {
        tally = &mut work => tally,
        signal = signals.stop() => {
            tracing::info!(event = event::STOPPING, signal, "stopping: steps under way are brought to their next record");
            stopping.store(true, Ordering::Release);
            core.accounts.hang_up();
            stop.send_replace(true);
            tokio::time::timeout(drain, work).await.unwrap_or_else(|_| core.tally(&BTreeMap::new()))
        }
    };
    // Whoever stops it wants it to end; how things are, the next run tells.
    if !*is_stopping.borrow() && !core.inventory().channels.is_empty() {
        tell(&core, sender).await;
    }
    core.machine.effects.hooks.close(Duration::from_secs(1)).await;
    core.accounts.write_limits().await;
    reaper.abort();
    let Tally { done, failed, idle } = tally;
    if failed == 0 {
        tracing::info!(event = event::ONCE_DONE, done, failed, idle, "what was due is done");
    } else {
        tracing::error!(event = event::ONCE_DONE, done, failed, idle, "not everything that was due is done");
    }
    Ok(tally)
}

/// Tells people what is the matter at the end of a run.
async fn tell<C: Clock>(core: &Arc<Core<C, DaemonJournal>>, sender: Sender<C>) {
    let inventory = core.inventory();
    let notifier = Notifier::open(sender, &inventory.daemon.state_dir).await;
    let status = core.status(notifier.channels(&inventory));
    notifier.tell_now(&inventory, &notifier::seen(&status, &notifier.sender.source.host)).await;
}

impl<C: Clock, J: Journal + Clone> Core<C, J> {
    /// Asks every account for its tokens, does what is due, and waits for what is under way: for at most `patience`, and
    /// not once `stopped`.
    pub async fn run_due(&self, patience: Duration, stopped: watch::Receiver<bool>) -> Tally {
        let before = self.tokens.all().into_iter().map(|(name, token)| (name, token.view().state)).collect();
        let patience = crate::clock::Span::from_std(patience).unwrap_or(crate::clock::Span::MAX);
        let until = self.clock.now().checked_add_signed(patience).unwrap_or(Time::MAX_UTC);
        let mut waiting: Vec<TokenName> = self.tokens.all().into_iter().map(|(name, _)| name).collect();
        loop {
            self.poll_new().await;
            let began = waiting.len();
            let blocked = stream::iter(waiting)
                .map(|name| self.settle(name, until, stopped.clone()))
                .buffer_unordered(AT_ONCE)
                .filter_map(std::future::ready)
                .collect::<Vec<_>>()
                .await;
            // A token that waited for another token's first secret may have it now.
            if blocked.is_empty() || blocked.len() == began {
                return self.tally(&before);
            }
            waiting = blocked;
        }
    }

    /// Polls accounts that were not polled and can be.
    async fn poll_new(&self) {
        let polled = self.polls();
        let accounts: Vec<_> =
            self.inventory().accounts.keys().filter(|it| !polled.contains_key(*it)).cloned().collect();
        stream::iter(accounts).for_each_concurrent(AT_ONCE, async |account| drop(self.poll(&account).await)).await;
    }

    /// Does what is due for a token; gives its name back where it waits for another one's secret.
    async fn settle(&self, name: TokenName, until: Time, mut stopped: watch::Receiver<bool>) -> Option<TokenName> {
        loop {
            let rest = self.run_token(&name).await?;
            let state = self.tokens.get(&name)?.view().state;
            match rest.until {
                Some(next) if is_under_way(&state, rest) && next <= until && !*stopped.borrow() => {
                    tokio::select! {
                        () = self.clock.wait_until(next) => {}
                        _ = stopped.wait_for(|stopped| *stopped) => {}
                    }
                }
                _ => return (rest.reason == Reason::CredentialMissing).then_some(name),
            }
        }
    }

    /// What came of tokens that were in the states `before`.
    fn tally(&self, before: &BTreeMap<TokenName, Arc<TokenState>>) -> Tally {
        let mut tally = Tally::default();
        for (name, token) in self.tokens.all() {
            match verdict(before.get(&name).map(|state| &**state), &token.view()) {
                Verdict::Done => tally.done += 1,
                Verdict::Failed => tally.failed += 1,
                Verdict::Idle => tally.idle += 1,
            }
        }
        tally.failed += self.polls().values().filter(|poll| poll.failure.is_some()).count();
        tally
    }
}

/// Whether a step of a rotation, a renewal or a delivery comes next, and not the next rotation or the end of a grace; also
/// one that waits for the rate limit of its account.
fn is_under_way(state: &TokenState, rest: Rest) -> bool {
    let settled = matches!(state.phase, Phase::Vacant | Phase::Steady { .. } | Phase::Active { .. });
    !settled || matches!(rest.reason, Reason::Delivering | Reason::Limited)
}

fn verdict(before: Option<&TokenState>, now: &View) -> Verdict {
    let lacks = |rest: Rest| rest.reason == Reason::CredentialMissing || is_under_way(&now.state, rest);
    if now.stuck.is_some() || now.state.retry.is_some() || now.rest.is_none_or(lacks) {
        Verdict::Failed
    } else if before.is_some_and(|before| *before == *now.state) {
        Verdict::Idle
    } else {
        Verdict::Done
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{Failure, FailureCode};
    use crate::rotation::state::Retry;

    #[test]
    fn a_token_is_judged_by_what_it_waits_for() {
        let idle = TokenState::default();
        let touched = TokenState { failed_rotations: 1, ..TokenState::default() };
        let failure = Failure::new(FailureCode::Connect, "");
        let retry =
            Retry { since: Time::UNIX_EPOCH, next: Time::UNIX_EPOCH, attempts: 1, failure: failure.clone(), at: None };
        let refused = TokenState { retry: Some(retry), ..TokenState::default() };
        let check = |sentence: &str, state: &TokenState, reason: Option<Reason>, stuck: bool, expected: Verdict| {
            let rest = reason.map(|reason| Rest { until: None, reason, next: None });
            let stuck = stuck.then(|| failure.clone());
            let view = View { state: Arc::new(state.clone()), rest, stuck, proof: None };
            assert_eq!(verdict(Some(&idle), &view), expected, "{sentence}");
        };
        check("nothing was due", &idle, Some(Reason::NotDue), false, Verdict::Idle);
        check("something was done", &touched, Some(Reason::NotDue), false, Verdict::Done);
        check("its step failed", &refused, Some(Reason::BackingOff), false, Verdict::Failed);
        check("the journal cannot be written", &touched, Some(Reason::JournalUnwritable), true, Verdict::Failed);
        check("stores are owed", &touched, Some(Reason::Delivering), false, Verdict::Failed);
        check("the rate limit lets nothing leave", &idle, Some(Reason::Limited), false, Verdict::Failed);
        check("another token has no secret", &idle, Some(Reason::CredentialMissing), false, Verdict::Failed);
        check("it was given up while busy", &touched, None, false, Verdict::Failed);
    }
}
