//! What an operator asks at one replica of a token that another one looks after: a wish is left in the engine, and whoever
//! owns the token's account does it and answers there.
//!
//! Law: nothing is done twice. A wish names the claim of the owner that it is meant for, and whoever begins it takes it out of
//! the engine first. A later owner that takes it out instead knows that nobody began it, and says so: then the new owner is
//! asked. Wish and answer end with the leases of those who wrote them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::clock::Time;
use crate::daemon::rotate::OperatorRequest;
use crate::journal::fleet::presence::Presence;
use crate::journal::fleet::wishes::{Sealed, Wish};
use crate::journal::fleet::{EngineError, FleetJournal, WishId};
use crate::names::{AccountName, RemoteId, ReplicaName, TokenName};
use crate::outcome::{Failure, FailureCode};
use crate::report::audit::AccountAudit;
use crate::report::explanation::Explanation;
use crate::report::retirement::{RetireAnswer, RetireOutcome};
use crate::report::rotation::{RotateOutcome, RotateResult};
use crate::rotation::act::operator::Offer;

/// What an answer may take beyond the patience of whoever asked.
const SLACK: Duration = Duration::from_secs(10);

/// What is asked.
#[derive(Clone, Debug)]
pub enum Asked {
    Operator(OperatorRequest),
    /// That a request is withdrawn which has not begun.
    Cancel,
    /// That its account is listed and held against the journal. `reap`: markers of orphans that are revoked.
    Audit {
        reap: Vec<String>,
    },
    /// That a token which left the inventory is revoked, after `grace`.
    Retire {
        grace: Option<Duration>,
    },
    /// Why the token is or is not rotated now.
    Explain,
}

impl Asked {
    /// What its answer may take beyond the patience of whoever asked.
    fn slack(&self) -> Duration {
        if matches!(self, Self::Explain) { Duration::ZERO } else { SLACK }
    }
}

/// How it is written. Stored state, for minutes.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Written {
    /// `None`: the account is meant.
    token: Option<TokenName>,
    deed: Deed,
    timeout_seconds: u64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Deed {
    Rotate,
    RotateNow,
    Replace,
    Recall,
    Adopt { sealed: Sealed, id: Option<RemoteId>, expires: Option<Time> },
    Cancel,
    Audit { reap: Vec<String> },
    Retire { grace_seconds: Option<u64> },
    Explain,
}

/// What came of it. Stored state, for minutes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Told {
    Result(RotateResult),
    /// The reason where it cannot be withdrawn.
    Cancelled(Option<String>),
    Audited(Box<AccountAudit>),
    Retired(RetireAnswer),
    /// `None`: its owner does not know the token.
    Explained(Option<Box<Explanation>>),
    /// The account changed hands meanwhile, and nobody has begun it: the new owner is to be asked.
    Moved,
    /// Why nothing was begun.
    Refused(String),
}

/// Wishes that wait for an answer, and those that were seen.
#[derive(Debug, Default)]
pub struct Wishes {
    waiting: Mutex<BTreeMap<WishId, oneshot::Sender<String>>>,
    seen: Mutex<BTreeSet<WishId>>,
}

/// Why a wish had no answer.
#[derive(Debug)]
pub enum Unheard {
    /// Nothing was begun; why, in words.
    Refused(String),
    /// It may be under way; why nobody knows, in words.
    Silent(String),
}

impl Wishes {
    /// Asks the owner of `account`, and waits for its answer.
    pub async fn ask(
        &self,
        journal: &FleetJournal,
        presence: &Presence,
        (account, token): (&AccountName, Option<&TokenName>),
        asked: Asked,
        patience: Duration,
    ) -> Result<Told, Unheard> {
        let claim = presence.claims.get(account).ok_or_else(|| {
            Unheard::Refused(format!(
                "no replica owns account {account} now: ask again in a moment; `patrold fleet status` shows the replicas"
            ))
        })?;
        let sealed = |failure: Failure| Unheard::Refused(failure.to_string());
        let slack = asked.slack();
        let written = Written {
            token: token.cloned(),
            deed: deed(journal, token, asked).map_err(sealed)?,
            timeout_seconds: patience.as_secs(),
        };
        let body = serde_json::to_string(&written).map_err(|error| Unheard::Refused(error.to_string()))?;
        let id = WishId::draw();
        let (sender, answer) = oneshot::channel();
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), sender);
        let wish = Wish { account: account.clone(), epoch: claim.epoch, by: journal.replica().clone(), body, left: 0 };
        let left = journal.wish(&id, &wish).await;
        let owner = &claim.replica;
        let told = match left {
            Ok(()) => match timeout(patience + slack, answer).await {
                Ok(Ok(text)) => serde_json::from_str(&text)
                    .map_err(|error| silent(owner, &format!("its answer cannot be understood: {error}"))),
                _ => Err(silent(owner, "it has not answered in time")),
            },
            Err(EngineError::Unknown(failure)) => Err(silent(owner, &failure.to_string())),
            Err(error) => Err(Unheard::Refused(error.failure().to_string())),
        };
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        // What stays ends with the lease.
        let _ = journal.forget_wish(&id).await;
        told
    }

    /// Hands on the answers in `presence` that somebody here waits for, and gives the wishes that are for this replica and
    /// were not given before: those for accounts of `owned`.
    pub fn sort(&self, presence: &Presence, owned: &BTreeSet<AccountName>) -> Vec<(WishId, Wish)> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for (id, text) in &presence.answers {
            if let Some(sender) = waiting.remove(id) {
                // Nobody waits any more.
                let _ = sender.send(text.clone());
            }
        }
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.retain(|id| presence.wishes.contains_key(id));
        let ours = presence.wishes.iter().filter(|(_, wish)| owned.contains(&wish.account));
        let new: Vec<_> =
            ours.filter(|(id, _)| !seen.contains(*id)).map(|(id, wish)| (id.clone(), wish.clone())).collect();
        seen.extend(new.iter().map(|(id, _)| id.clone()));
        new
    }
}

/// The result of a request for `token` that its owner was asked.
pub fn result(token: &TokenName, told: Result<Told, Unheard>) -> RotateResult {
    let (outcome, detail) = match told {
        Ok(Told::Result(result)) => return result,
        Ok(Told::Refused(why)) | Err(Unheard::Refused(why)) => (RotateOutcome::Refused, why),
        Ok(_) => (RotateOutcome::Failed, OTHER.to_owned()),
        Err(Unheard::Silent(why)) => (RotateOutcome::Waiting, why),
    };
    RotateResult { token: token.clone(), outcome, generation: None, detail, left: Vec::new(), interim: false }
}

/// What became of a withdrawal that the owner was asked for. The error says in words why it was not made.
pub fn withdrawal(told: Result<Told, Unheard>) -> Result<(), String> {
    match told {
        Ok(Told::Cancelled(None)) => Ok(()),
        Ok(Told::Cancelled(Some(why)) | Told::Refused(why)) | Err(Unheard::Refused(why) | Unheard::Silent(why)) => {
            Err(why)
        }
        Ok(_) => Err(OTHER.to_owned()),
    }
}

/// The audit of an account that its owner was asked for. The error says in words why there is none.
pub fn audit(told: Result<Told, Unheard>) -> Result<AccountAudit, String> {
    match told {
        Ok(Told::Audited(audit)) => Ok(*audit),
        Ok(Told::Refused(why)) | Err(Unheard::Refused(why) | Unheard::Silent(why)) => Err(why),
        Ok(_) => Err(OTHER.to_owned()),
    }
}

/// What became of a retirement that the owner was asked for.
pub fn retirement(token: &TokenName, told: Result<Told, Unheard>) -> RetireAnswer {
    let (outcome, detail) = match told {
        Ok(Told::Retired(answer)) => return answer,
        Ok(Told::Refused(why)) | Err(Unheard::Refused(why)) => (RetireOutcome::Refused, why),
        Ok(_) => (RetireOutcome::Failed, OTHER.to_owned()),
        Err(Unheard::Silent(why)) => (RetireOutcome::Waiting, why),
    };
    RetireAnswer { outcome, detail, ..RetireAnswer::of(token) }
}

/// An answer to another question: a replica of another version may give it.
const OTHER: &str = "its owner has answered something else";

fn silent(owner: &ReplicaName, why: &str) -> Unheard {
    Unheard::Silent(format!("replica {owner} was asked, and {why}: `patrold status` shows what became of it"))
}

fn deed(journal: &FleetJournal, token: Option<&TokenName>, asked: Asked) -> Result<Deed, Failure> {
    Ok(match asked {
        Asked::Audit { reap } => Deed::Audit { reap },
        Asked::Cancel => Deed::Cancel,
        Asked::Retire { grace } => Deed::Retire { grace_seconds: grace.map(|grace| grace.as_secs()) },
        Asked::Explain => Deed::Explain,
        Asked::Operator(OperatorRequest::Rotate) => Deed::Rotate,
        Asked::Operator(OperatorRequest::RotateNow) => Deed::RotateNow,
        Asked::Operator(OperatorRequest::Replace) => Deed::Replace,
        Asked::Operator(OperatorRequest::Recall) => Deed::Recall,
        Asked::Operator(OperatorRequest::Adopt(offer)) => {
            let Offer { secret, id, expires } = *offer;
            let token = token.ok_or_else(nameless)?;
            Deed::Adopt { sealed: journal.seal_wish(token, &secret)?, id, expires }
        }
    })
}

/// What is asked of a token, and names none.
pub(super) fn nameless() -> Failure {
    Failure::new(FailureCode::Journal, "a wish for a token names none")
}

/// What a wish asks, with the patience of whoever asks.
pub fn read(journal: &FleetJournal, wish: &Wish) -> Result<(Option<TokenName>, Asked, Duration), Failure> {
    let written: Written = serde_json::from_str(&wish.body).map_err(|error| {
        let what = format!("a replica of another version asks for what this one does not know: {error}");
        Failure::new(FailureCode::Journal, what)
    })?;
    let asked = match written.deed {
        Deed::Cancel => Asked::Cancel,
        Deed::Audit { reap } => Asked::Audit { reap },
        Deed::Retire { grace_seconds } => Asked::Retire { grace: grace_seconds.map(Duration::from_secs) },
        Deed::Explain => Asked::Explain,
        Deed::Rotate => Asked::Operator(OperatorRequest::Rotate),
        Deed::RotateNow => Asked::Operator(OperatorRequest::RotateNow),
        Deed::Replace => Asked::Operator(OperatorRequest::Replace),
        Deed::Recall => Asked::Operator(OperatorRequest::Recall),
        Deed::Adopt { sealed, id, expires } => {
            let secret = journal.open_wish(written.token.as_ref().ok_or_else(nameless)?, &sealed)?;
            Asked::Operator(OperatorRequest::Adopt(Box::new(Offer { secret, id, expires })))
        }
    };
    Ok((written.token, asked, Duration::from_secs(written.timeout_seconds)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_is_given_once_and_to_its_owner_and_an_answer_to_who_waits() {
        let wishes = Wishes::default();
        let (id, account) = (WishId::draw(), "a".parse::<AccountName>().unwrap());
        let by = "web-1".parse().unwrap();
        let wish = Wish { account: account.clone(), epoch: 7, by, body: String::new(), left: 3 };
        let mut presence = Presence::default();
        presence.wishes.insert(id.clone(), wish.clone());
        let (none, own) = (BTreeSet::new(), BTreeSet::from([account]));
        assert_eq!(wishes.sort(&presence, &none), []);
        assert_eq!(wishes.sort(&presence, &own), [(id.clone(), wish.clone())]);
        assert_eq!(wishes.sort(&presence, &own), []);

        let (sender, mut answer) = oneshot::channel();
        wishes.waiting.lock().unwrap().insert(id.clone(), sender);
        presence.answers.insert(WishId::draw(), "other".to_owned());
        wishes.sort(&presence, &none);
        assert!(answer.try_recv().is_err());
        presence.answers.insert(id, "done".to_owned());
        wishes.sort(&presence, &none);
        assert_eq!(answer.try_recv().unwrap(), "done");
    }

    #[test]
    fn what_is_told_is_read_back() {
        let token: TokenName = "gps".parse().unwrap();
        for told in [
            Told::Cancelled(None),
            Told::Cancelled(Some("it has begun".into())),
            Told::Retired(RetireAnswer::of(&token)),
            Told::Explained(None),
            Told::Moved,
            Told::Refused("no".into()),
        ] {
            let text = serde_json::to_string(&told).unwrap();
            assert_eq!(serde_json::from_str::<Told>(&text).unwrap(), told, "{text}");
        }
    }
}
