//! Rotations that an operator asks for: in the daemon, or without one.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use crate::clock::Clock;
use crate::inventory::Inventory;
use crate::journal::Journal;
use crate::names::{GenerationNo, TokenName};
use crate::plan::Reason;

use super::core::Core;
use super::registry::View;
use super::scheduler::{Key, Waker};
use super::{StartError, open};

/// What became of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// This generation is current now.
    Rotated(GenerationNo),
    /// It failed, or was postponed; why, in words. The daemon goes on trying.
    Failed(String),
    /// It waits; for what, in words.
    Waiting(String),
    /// The inventory has no such token.
    Unknown,
}

impl<C: Clock, J: Journal + Clone> Core<C, J> {
    /// Rotates tokens through a running scheduler, and waits until each is handed over, has failed, or `patience` is
    /// over.
    pub async fn rotate(&self, waker: &Waker, names: &[TokenName], patience: Duration) -> Vec<(TokenName, Answer)> {
        let rotations = names.iter().map(|name| async {
            let Some(token) = self.tokens.get(name) else { return (name.clone(), Answer::Unknown) };
            let before = number(&token.view());
            let mut follow = token.follow();
            if !self.request(name).await {
                return (name.clone(), Answer::Unknown);
            }
            waker.wake(vec![Key::Token(name.clone())]);
            follow.mark_unchanged();
            let mut last = Answer::Waiting("nothing has happened yet".to_owned());
            let ended = tokio::time::timeout(patience, async {
                loop {
                    // The token lives as long as the core does.
                    if follow.changed().await.is_err() {
                        return;
                    }
                    if let Some(answer) = answer(&follow.borrow_and_update(), before) {
                        let over = !matches!(answer, Answer::Waiting(_));
                        last = answer;
                        if over {
                            return;
                        }
                    }
                }
            });
            // Out of patience: what is known by now is the answer.
            let _ = ended.await;
            (name.clone(), last)
        });
        join_all(rotations).await
    }

    /// Rotates tokens without a scheduler, one run after the other, until each is handed over, has failed, or
    /// `patience` is over.
    pub async fn rotate_alone(&self, names: &[TokenName], patience: Duration) -> Vec<(TokenName, Answer)> {
        let rotations = names.iter().map(|name| async {
            let Some(token) = self.tokens.get(name) else { return (name.clone(), Answer::Unknown) };
            let before = number(&token.view());
            if !self.request(name).await {
                return (name.clone(), Answer::Unknown);
            }
            let mut last = Answer::Waiting("nothing has happened yet".to_owned());
            let ended = tokio::time::timeout(patience, async {
                while let Some(rest) = self.run_token(name).await {
                    if let Some(answer) = answer(&token.view(), before) {
                        last = answer;
                    }
                    match (&last, rest.until) {
                        (Answer::Waiting(_), Some(until)) => self.clock.wait_until(until).await,
                        _ => return,
                    }
                }
            });
            let _ = ended.await;
            (name.clone(), last)
        });
        join_all(rotations).await
    }
}

/// Rotates tokens of `inventory` in this process, where no daemon runs. What waits for its grace afterwards is left to the
/// next daemon.
pub async fn rotate_without_daemon<C: Clock>(
    inventory: Arc<Inventory>,
    clock: C,
    names: &[TokenName],
    patience: Duration,
) -> Result<Vec<(TokenName, Answer)>, StartError> {
    let opening = open(inventory, clock).await?;
    let answers = opening.core.rotate_alone(names, patience).await;
    opening.core.machine.effects.hooks.close(patience).await;
    Ok(answers)
}

fn number(view: &View) -> Option<GenerationNo> {
    view.state.phase.current().map(|current| current.generation.number)
}

/// What a view says about a rotation that was asked for when `before` was current; None while it is under way.
fn answer(view: &View, before: Option<GenerationNo>) -> Option<Answer> {
    let rest = view.rest?;
    if let Some(number) = number(view).filter(|number| Some(*number) != before) {
        return Some(Answer::Rotated(number));
    }
    if let Some(failure) = &view.stuck {
        return Some(Answer::Failed(failure.to_string()));
    }
    if let Some(retry) = &view.state.retry {
        return Some(Answer::Failed(retry.failure.to_string()));
    }
    if rest.reason == Reason::Delivering
        && let Some(noted) = &view.state.last_failure
    {
        return Some(Answer::Failed(noted.failure.to_string()));
    }
    Some(Answer::Waiting(rest.reason.sentence().to_owned()))
}
