//! Requests of an operator, in the daemon or without one: rotate, adopt, roll back, cancel.

use std::sync::Arc;
use std::time::Duration;

use chrono::SecondsFormat;
use futures_util::future::join_all;

use crate::clock::{Clock, Time};
use crate::inventory::Inventory;
use crate::journal::Journal;
use crate::names::{GenerationNo, TokenName};
use crate::provider::Operation;
use crate::report::rotation::RotateResult;
use crate::rotation::act::operator::Offer;
use crate::rotation::decide::Rest;
use crate::rotation::reason::Reason;
use crate::rotation::{Phase, TokenState};
use crate::view::leftover;

use super::core::Core;
use super::deadlines::Key;
use super::registry::{Token, View};
use super::scheduler::Waker;
use super::{Errand, StartError, open};

/// How long a token may be busy before an operator who does not want to wait is told so.
const BUSY: Duration = Duration::from_secs(2);

/// What an operator asks for.
#[derive(Clone, Debug)]
pub enum OperatorRequest {
    /// A rotation now.
    Rotate,
    /// The same, without waiting for the grace of the old token or for the provider's rate limit.
    RotateNow,
    /// The same, without grace: others have the secret.
    Replace,
    /// That this secret is taken over.
    Adopt(Box<Offer>),
    /// That the previous token is put back.
    Recall,
}

/// What became of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// This generation is current now.
    Rotated(GenerationNo),
    /// This generation has a new secret, and consumers have it: its provider renews and cannot mint.
    Renewed(GenerationNo),
    /// It failed, or was postponed; why, in words. The daemon goes on trying.
    Failed(String),
    /// It waits; for what, in words.
    Waiting(String),
    /// It cannot be done; why, in words. Nothing was begun.
    Refused(String),
    /// The inventory has no such token.
    Unknown,
}

/// The result of one request, and what is left to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestResult {
    pub token: TokenName,
    pub answer: Answer,
    /// What somebody should know or do, a line each.
    pub left: Vec<String>,
}

impl<C: Clock, J: Journal + Clone> Core<C, J> {
    /// Rotates tokens through a running scheduler, and waits until each is handed over, has failed, or `patience` is
    /// over.
    pub async fn rotate(&self, waker: &Waker, names: &[TokenName], patience: Duration) -> Vec<(TokenName, Answer)> {
        let results = names.iter().map(|name| self.execute(Some(waker), name, OperatorRequest::Rotate, patience));
        join_all(results).await.into_iter().map(|result| (result.token, result.answer)).collect()
    }

    /// Does what `asked` asks of a token, through a running scheduler where there is one, and waits until it is done, has
    /// failed, or `patience` is over.
    pub async fn execute(
        &self,
        waker: Option<&Waker>,
        name: &TokenName,
        asked: OperatorRequest,
        patience: Duration,
    ) -> RequestResult {
        let Some(token) = self.tokens.get(name).filter(|token| token.wanted()) else {
            let answer = self.tokens.why_aside(name).map_or(Answer::Unknown, Answer::Refused);
            return RequestResult { token: name.clone(), answer, left: Vec::new() };
        };
        let before = issue(&token.view());
        let renews = !token.policy().account.provider.has(Operation::Mint)
            && !matches!(asked, OperatorRequest::Adopt(_) | OperatorRequest::Recall);
        let replaces = matches!(asked, OperatorRequest::Replace);
        let adopts = matches!(asked, OperatorRequest::Adopt(_));
        let since = self.clock.now();
        let follow = token.follow();
        let begun = match tokio::time::timeout(patience.max(BUSY), self.begin(&token, asked)).await {
            Ok(begun) => begun.map_err(Answer::Refused),
            Err(_) => Err(Answer::Failed(format!("{}; nothing was noted: ask again", busy(&token.view())))),
        };
        if let Err(answer) = begun {
            return RequestResult { token: name.clone(), answer, left: Vec::new() };
        }
        let judge = |view: &View| match (renews, before) {
            (true, before) => renewed(view, before, since),
            (false, before) if adopts => adopted(view, before.map(|(number, _)| number), since),
            (false, before) => answer(view, before.map(|(number, _)| number), replaces, since),
        };
        let last = match waker {
            Some(waker) => {
                let account = token.policy().account.clone();
                let limited = account.provider.capabilities().max_live.is_some();
                // What took the place of a new one may be gone since the last listing.
                let poll = limited.then(|| Key::Poll(account.name.clone()));
                waker.wake(poll.into_iter().chain([Key::Token(name.clone())]).collect());
                watch(follow, judge, patience).await
            }
            None => self.run_alone(name, &token, judge, patience).await,
        };
        let last = match (last, number(&token.view())) {
            // It is handed over, and only the end of the old one is waited for.
            (Answer::Waiting(_), Some(now))
                if replaces
                    && Some(now) != before.map(|(number, _)| number)
                    && !is_compromised(&token.view().state) =>
            {
                Answer::Rotated(now)
            }
            (last, _) => last,
        };
        let account = token.policy().account.name.clone();
        if adopts && matches!(last, Answer::Rotated(_)) {
            // A listing may tell what the secret itself does not: when it expires.
            if let Some(waker) = waker {
                waker.wake(vec![Key::Poll(account)]);
            } else {
                self.poll(&account).await;
                self.run_token(name).await;
            }
        }
        let view = token.view();
        let left = if replaces {
            leftover::of_compromised(&view.state)
        } else if adopts {
            leftover::of_adopted(&token.policy(), &view.state)
        } else {
            Vec::new()
        };
        RequestResult { token: name.clone(), answer: last, left }
    }

    /// Notes what `asked` asks of a token; the next run acts on it. The error says in words why it cannot be done.
    pub async fn begin(&self, token: &Token, asked: OperatorRequest) -> Result<(), String> {
        let at_once = matches!(asked, OperatorRequest::RotateNow);
        let mut held = self.hold(token).await;
        let context = self.context(token, held.state());
        let context = || context.as_ref().ok_or_else(|| self.absence(token));
        match asked {
            OperatorRequest::Rotate | OperatorRequest::RotateNow | OperatorRequest::Replace => {
                let compromised = matches!(asked, OperatorRequest::Replace);
                self.machine.request(&mut held, context()?, compromised).map_err(|rejection| rejection.to_string())?;
            }
            OperatorRequest::Adopt(offer) => {
                self.machine.offer(&mut held, context()?, *offer).map_err(|rejection| rejection.to_string())?;
            }
            OperatorRequest::Recall => {
                self.machine.recall(&mut held, context()?).map_err(|rejection| rejection.to_string())?;
            }
        }
        // A request by hand ends every wait: owed stores and hooks are tried again, too.
        let now = self.clock.now();
        held.memo.pressed = Some(now);
        if at_once {
            held.memo.forced = true;
            held.memo.hurried = Some(now);
        }
        Ok(())
    }

    /// Withdraws a request for a rotation that has not begun. The error says in words why it cannot be done.
    pub async fn cancel(&self, name: &TokenName) -> Result<(), String> {
        let missing = || self.tokens.why_aside(name).unwrap_or_else(|| "the inventory has no such token".to_owned());
        let token = self.tokens.get(name).ok_or_else(missing)?;
        let mut held = self.hold(&token).await;
        let context = self.context(&token, held.state());
        let context = context.ok_or_else(|| self.absence(&token))?;
        self.machine.withdraw(&mut held, &context).map_err(|rejection| rejection.to_string())
    }

    /// What a request waits for, in words.
    pub fn waits_for(&self, name: &TokenName) -> Option<RotateResult> {
        let view = self.tokens.get(name)?.view();
        let answer = Answer::Waiting(view.rest.map_or_else(|| busy(&view), waiting));
        let result = RequestResult { token: name.clone(), answer, left: Vec::new() };
        Some(RotateResult { interim: true, ..result.report() })
    }

    /// Runs a token without a scheduler until `judge` has an answer.
    async fn run_alone(
        &self,
        name: &TokenName,
        token: &Token,
        judge: impl Fn(&View) -> Option<Answer>,
        patience: Duration,
    ) -> Answer {
        let mut last = Answer::Waiting("nothing has happened yet".to_owned());
        let ended = tokio::time::timeout(patience, async {
            while let Some(rest) = self.run_token(name).await {
                if let Some(answer) = judge(&token.view()) {
                    last = answer;
                }
                match (&last, rest.until) {
                    (Answer::Waiting(_), Some(until)) => self.clock.wait_until(until).await,
                    _ => return,
                }
            }
        });
        // Out of patience: what is known by now is the answer.
        let _ = ended.await;
        last
    }
}

/// What a token waits for that rests.
fn waiting(rest: Rest) -> String {
    let sentence = rest.reason.sentence();
    rest.until.map_or_else(
        || sentence.to_owned(),
        |until| format!("{sentence}, until {}", until.to_rfc3339_opts(SecondsFormat::Secs, true)),
    )
}

/// The same, of one that is being worked on.
fn busy(view: &View) -> String {
    match view.state.phase {
        Phase::Delivered { .. } => "its hooks run".to_owned(),
        Phase::Verified { .. } => "its stores are written".to_owned(),
        ref phase => format!("a step is under way ({})", Phase::words(phase.name())),
    }
}

/// Follows a token until `judge` has an answer.
async fn watch(
    mut follow: tokio::sync::watch::Receiver<View>,
    judge: impl Fn(&View) -> Option<Answer>,
    patience: Duration,
) -> Answer {
    follow.mark_unchanged();
    let mut last = Answer::Waiting("nothing has happened yet".to_owned());
    if patience.is_zero() {
        return Answer::Waiting("it has begun, or begins as soon as it can".to_owned());
    }
    let ended = tokio::time::timeout(patience, async {
        loop {
            // The token lives as long as the core does.
            if follow.changed().await.is_err() {
                return;
            }
            if let Some(answer) = judge(&follow.borrow_and_update()) {
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
    last
}

/// Does what `asked` asks of tokens of `inventory` in this process, where no daemon runs. What waits for its grace
/// afterwards is left to the next daemon. `each` is told of every result as soon as it is there.
pub async fn execute_without_daemon<C: Clock>(
    inventory: Arc<Inventory>,
    clock: C,
    names: &[TokenName],
    asked: OperatorRequest,
    patience: Duration,
    each: impl Fn(&RequestResult),
) -> Result<Vec<RequestResult>, StartError> {
    let opening = open(inventory, clock, Errand::Once).await?;
    let each = &each;
    let results = names.iter().map(|name| {
        let (core, asked) = (&opening.core, asked.clone());
        async move {
            let result = core.execute(None, name, asked, patience).await;
            each(&result);
            result
        }
    });
    let results = join_all(results).await;
    opening.core.machine.effects.hooks.close(patience).await;
    opening.core.accounts.write_limits().await;
    Ok(results)
}

/// Whether others have the secret that consumers use.
fn is_compromised(state: &TokenState) -> bool {
    state.phase.current().is_some_and(|current| current.generation.compromised.is_some())
}

/// Which secret consumers are meant to have: a generation, and how often it was renewed.
fn issue(view: &View) -> Option<(GenerationNo, u32)> {
    view.state.phase.current().map(|current| (current.generation.number, current.generation.revision))
}

fn number(view: &View) -> Option<GenerationNo> {
    view.state.phase.current().map(|current| current.generation.number)
}

/// What a view says about what was asked for when `before` was current; None while it is under way. `replaces`: it is not
/// done before the old generation is dealt with, too.
fn answer(view: &View, before: Option<GenerationNo>, replaces: bool, since: Time) -> Option<Answer> {
    let rest = view.rest?;
    let unfinished = replaces && is_compromised(&view.state);
    if let Some(number) = number(view).filter(|number| Some(*number) != before && !unfinished) {
        let revoking = replaces && view.state.phase.retiring().is_some() && view.state.retry.is_none();
        let patient =
            rest.until.is_some() && view.state.phase.current().is_some_and(|it| it.delivery.settled.is_some());
        return Some(if revoking && patient { Answer::Waiting(waiting(rest)) } else { Answer::Rotated(number) });
    }
    Some(unfinished_answer(view, rest, since))
}

/// The same about a secret that was brought: what was refused is tried no more.
fn adopted(view: &View, before: Option<GenerationNo>, since: Time) -> Option<Answer> {
    match answer(view, before, false, since)? {
        Answer::Waiting(_) if view.state.phase.candidate().is_none() => {
            let failed = view.state.last_failure.as_ref().filter(|noted| noted.at >= since);
            failed.map(|noted| Answer::Failed(noted.failure.in_full()))
        }
        answer => Some(answer),
    }
}

/// What a view says about a renewal that was asked for when `before` was issued; None while it is under way.
fn renewed(view: &View, before: Option<(GenerationNo, u32)>, since: Time) -> Option<Answer> {
    let rest = view.rest?;
    let issued = issue(view).filter(|issued| Some(*issued) != before);
    let current = view.state.phase.current();
    let served = current.is_some_and(|current| current.delivery.settled.is_some() && current.dead.is_none());
    if let Some((number, _)) = issued
        && served
        && !view.state.phase.renews()
        && view.state.requested.is_none()
    {
        return Some(Answer::Renewed(number));
    }
    let retry = current.and_then(|current| current.renewal_retry.as_ref());
    if let Some(retry) = retry.filter(|retry| !retry.failed_before(since)) {
        return Some(Answer::Failed(retry.failure.in_full()));
    }
    // Nothing follows that would renew it: somebody has to bring another one.
    let given_up = current.filter(|current| current.renewal_spent).and(view.state.last_failure.as_ref());
    if let Some(noted) = given_up.or(current.and_then(|current| current.dead.as_ref())) {
        return Some(Answer::Failed(noted.failure.in_full()));
    }
    Some(unfinished_answer(view, rest, since))
}

/// The obstacle to a request that is not done. What failed before that moment, `since`, is no answer: it is tried
/// again.
fn unfinished_answer(view: &View, rest: Rest, since: Time) -> Answer {
    if let Some(failure) = &view.stuck {
        return Answer::Failed(failure.to_string());
    }
    if let Phase::Searching { search, intent, .. } = &view.state.phase
        && intent.at < since
        && view.state.retry.as_ref().is_none_or(|retry| retry.failure == search.failure)
    {
        return Answer::Waiting(format!(
            "what the mint of {} may have left is looked for",
            intent.at.format("%H:%M:%S")
        ));
    }
    if let Some(retry) = view.state.retry.as_ref().filter(|retry| !retry.failed_before(since)) {
        return Answer::Failed(retry.failure.in_full());
    }
    if rest.reason == Reason::Delivering
        && let Some(noted) = view.state.last_failure.as_ref().filter(|noted| noted.at >= since)
    {
        return Answer::Failed(noted.failure.in_full());
    }
    Answer::Waiting(waiting(rest))
}
