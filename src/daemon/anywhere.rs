//! What an operator asks of a token, whichever replica of the fleet looks after it.

use std::time::Duration;

use crate::clock::{Clock, Span};
use crate::control::ExplainAnswer;
use crate::names::{AccountName, TokenName};
use crate::outcome::Failure;
use crate::report::retirement::{RetireAnswer, RetireOutcome};
use crate::report::rotation::{RotateOutcome, RotateResult};

use super::Running;
use super::deadlines::Key;
use super::fleet::Fleet;
use super::fleet::wishes::{self, Asked, Told, Unheard};
use super::rotate::OperatorRequest;

/// How long a withdrawal may take, or an explanation, that another replica has to make.
const BRIEF: Duration = Duration::from_secs(5);

impl<C: Clock> Running<C> {
    /// The account of a token that another replica of the fleet looks after. Of a token that this process does not know, the
    /// journal tells.
    async fn elsewhere(&self, name: &TokenName) -> Result<Option<(&Fleet, AccountName)>, Failure> {
        let Some(fleet) = self.fleet.as_ref() else { return Ok(None) };
        let account = match self.core.tokens.get(name) {
            Some(token) => Some(token.policy().account.name.clone()),
            None => fleet.account_of(name).await?,
        };
        Ok(account.filter(|account| self.is_foreign(account)).map(|account| (fleet, account)))
    }

    /// Does what `asked` asks of a token, or has its owner do it, and waits until it is done, has failed, or `patience` is
    /// over.
    pub async fn execute(&self, name: &TokenName, asked: OperatorRequest, patience: Duration) -> RotateResult {
        match self.elsewhere(name).await {
            Ok(Some((fleet, account))) => {
                let told = fleet.ask_owner(&account, Some(name), Asked::Operator(asked), patience).await;
                wishes::result(name, told)
            }
            Ok(None) => self.core.execute(Some(&self.waker), name, asked, patience).await.report(),
            Err(failure) => RotateResult {
                token: name.clone(),
                outcome: RotateOutcome::Refused,
                generation: None,
                detail: unread(&failure),
                left: Vec::new(),
                interim: false,
            },
        }
    }

    /// Withdraws a request for a rotation that has not begun, or a retirement. The error says in words why it cannot be done.
    pub async fn cancel(&self, name: &TokenName) -> Result<(), String> {
        if let Some((fleet, account)) = self.elsewhere(name).await.map_err(|failure| unread(&failure))? {
            return wishes::withdrawal(fleet.ask_owner(&account, Some(name), Asked::Cancel, BRIEF).await);
        }
        let withdrawn = self.core.cancel(name).await;
        self.waker.wake(vec![Key::Token(name.clone())]);
        withdrawn
    }

    /// Has a token revoked that left the inventory, and waits until it is revoked, waits for its grace, or has failed.
    pub async fn retire(&self, name: &TokenName, grace: Option<Duration>, patience: Duration) -> RetireAnswer {
        match self.elsewhere(name).await {
            Ok(Some((fleet, account))) => {
                let told = fleet.ask_owner(&account, Some(name), Asked::Retire { grace }, patience).await;
                wishes::retirement(name, told)
            }
            Ok(None) => {
                let grace = grace.map(|grace| Span::from_std(grace).unwrap_or(Span::MAX));
                self.core.retire(Some(&self.waker), name, grace, patience).await
            }
            Err(failure) => {
                let detail = unread(&failure);
                RetireAnswer { outcome: RetireOutcome::Refused, detail, ..RetireAnswer::of(name) }
            }
        }
    }

    /// Explains a token: as its owner sees it, or as the journal tells of it where its owner does not answer.
    pub async fn explain_anywhere(&self, name: &TokenName) -> ExplainAnswer {
        let none = ExplainAnswer { explanation: None, set_aside: None };
        let failed = |why: String| ExplainAnswer { set_aside: Some(why), ..none.clone() };
        let (fleet, account) = match self.elsewhere(name).await {
            Ok(Some(elsewhere)) => elsewhere,
            Ok(None) => {
                let set_aside = self.core.tokens.why_aside(name);
                return ExplainAnswer { explanation: self.explain(name, None), set_aside };
            }
            Err(failure) => return failed(unread(&failure)),
        };
        if fleet.view().presence.claims.contains_key(&account) {
            match fleet.ask_owner(&account, Some(name), Asked::Explain, BRIEF).await {
                Ok(Told::Explained(Some(told))) => {
                    let owner = self.owner_of(&account, false);
                    return ExplainAnswer { explanation: Some(told.owned_by(owner)), set_aside: None };
                }
                // Its inventory lacks what this one has just got, or it is of an older version: the journal knows the token.
                Ok(_) | Err(Unheard::Refused(_) | Unheard::Silent(_)) => {}
            }
        }
        let theirs = self.theirs().await;
        if let Some(theirs) = theirs.as_deref()
            && let Some(why) = theirs.unreadable.get(name).cloned().or_else(|| theirs.failure.as_ref().map(unread))
        {
            return failed(why);
        }
        ExplainAnswer { explanation: self.explain(name, theirs.as_deref()), set_aside: None }
    }
}

fn unread(failure: &Failure) -> String {
    format!("the journal of the fleet cannot be read now, and nothing was begun: {failure}")
}
