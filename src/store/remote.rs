//! Slots of services: Vault, variables of CI systems, secret managers. What is asked and what an answer means, the
//! account's definition says.
//!
//! A target is looked at before each write: what is there already is not written again, also where the acknowledgement of
//! a write was lost; and it is written under the compare-and-set that the service has. Slots of one target that are owed
//! at the same time go in one request: whoever has the turn takes along what waits for it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use ring::digest::{SHA256, digest};
use tokio::sync::oneshot;

use super::judge::{Found, Judge, Move};
use super::place::{ELSE, Erased};
use super::receipt::{Delivery, Receipt};
use super::turn::Turns;
use crate::account::Account;
use crate::account::member::Member;
use crate::account::pool::Accounts;
use crate::clock::{Clock, Span, Time};
use crate::inventory::RemotePolicy;
use crate::names::{Evidence, StoreKey, TargetKey, hex};
use crate::outcome::{Failure, FailureCode, Outcome};
use crate::provider::putting::Putting;
use crate::provider::slots::{self, Prepared, Proof, Put, Seen};
use crate::secret::Secret;

/// How often a write begins anew because somebody else wrote meanwhile.
const LOOKS: u32 = 5;

/// How long to wait between two reads of a store that shows late what was written.
const GLANCE: Span = Span::milliseconds(500);

/// A slot of a service.
#[derive(Clone, Debug)]
pub struct Slot {
    pub key: StoreKey,
    pub remote: RemotePolicy,
}

/// A target that somebody is at work on.
#[derive(Debug, Default)]
struct Target {
    turn: tokio::sync::Mutex<()>,
    waiting: Mutex<Vec<Owed>>,
}

static TARGETS: Turns<TargetKey, Target> = Turns::new();

/// A read that several slots of one target share.
#[derive(Debug)]
struct Glance {
    begun: Time,
    seen: Result<Option<Seen>, Failure>,
}

/// Only while somebody looks: what was seen before tells nothing of now.
static GLANCES: Turns<(TargetKey, bool), tokio::sync::Mutex<Option<Glance>>> = Turns::new();

/// A value on its way to its slot.
#[derive(Debug)]
struct Owed {
    slot: Slot,
    secret: Secret,
    judge: Judge,
    delivery: String,
    mark: String,
    answer: oneshot::Sender<Outcome<Receipt>>,
}

impl Slot {
    /// Whether the store can hold the value, by its definition.
    pub fn check_value(&self, secret: &Secret) -> Result<(), Failure> {
        let checked = self.remote.definition.check_value(&self.remote.params, secret);
        checked.map_err(|failure| failure.reworded(format!("{}: {}", self.key, failure.detail)))
    }

    /// Tests that the target is in its place and answers. `judge`: and that nothing that stays is in the way.
    pub async fn preflight<C: Clock>(&self, judge: Option<&Judge>, accounts: &Accounts<C>) -> Result<(), Failure> {
        let member = self.member(accounts)?;
        member.client()?.probe_target(&self.remote.params).await.into_result()?;
        let found = self.look(accounts).await?;
        match judge.map(|judge| judge.judge(&found)) {
            Some(Move::Stop(stranger)) => Err(stranger.failure(&self.key)),
            Some(Move::Keep | Move::Create | Move::Replace | Move::WriteBlindly) | None => Ok(()),
        }
    }

    /// What the slot holds.
    pub async fn look<C: Clock>(&self, accounts: &Accounts<C>) -> Result<Found, Failure> {
        let member = self.member(accounts)?;
        let client = member.client()?;
        let asked = client.endpoint().now();
        let shared = GLANCES.of(&(self.remote.target.clone(), self.remote.slot.is_some()));
        // Whoever waits for a read that began later than it asked has its answer, too.
        let mut last = shared.lock().await;
        if let Some(glance) = last.as_ref().filter(|glance| glance.begun > asked) {
            return glance.seen.as_ref().map(|seen| self.found(seen.as_ref())).map_err(Clone::clone);
        }
        let begun = client.endpoint().now();
        let seen = self.read(client).await.into_result();
        let found = seen.as_ref().map(|seen| self.found(seen.as_ref())).map_err(Clone::clone);
        *last = Some(Glance { begun, seen });
        found
    }

    /// Writes the secret and looks at what came of it. The receipt is what the next look is compared with.
    pub async fn write<C: Clock>(
        &self,
        secret: &Secret,
        delivery: &Delivery<'_>,
        judge: Judge,
        accounts: &Accounts<C>,
    ) -> Outcome<Receipt> {
        let member = self.member(accounts);
        let client = match client(&member) {
            Ok(client) => client,
            Err(failure) => return Outcome::later(failure),
        };
        let target = TARGETS.of(&self.remote.target);
        let (answer, mut answered) = oneshot::channel();
        target.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(Owed {
            slot: self.clone(),
            secret: secret.clone(),
            judge,
            delivery: delivery.id(&self.key),
            mark: format!("patrold, token {}, generation {}", delivery.token, delivery.generation),
            answer,
        });
        tokio::select! {
            biased;
            outcome = &mut answered => return outcome.unwrap_or_else(|_| Outcome::Unknown(given_up(&self.key))),
            turn = target.turn.lock() => {
                // Whoever had the turn before may have served this one.
                if answered.is_empty() {
                    self.serve(client, &target).await;
                }
                drop(turn);
            }
        }
        answered.try_recv().unwrap_or_else(|_| Outcome::Unknown(given_up(&self.key)))
    }

    /// Takes what the slot holds out of it, where that is `ours`; otherwise says why it stays.
    pub async fn erase<C: Clock>(&self, ours: impl Fn(&Found) -> bool, accounts: &Accounts<C>) -> Outcome<Erased> {
        let member = self.member(accounts);
        let client = match client(&member) {
            Ok(client) => client,
            Err(failure) => return Outcome::later(failure),
        };
        let target = TARGETS.of(&self.remote.target);
        let _turn = target.turn.lock().await;
        let mut taken = false;
        for _ in 0..LOOKS {
            let seen = match self.read(client).await {
                Outcome::Done(seen) => seen,
                outcome => return outcome.map(|_| Erased::Gone),
            };
            let found = self.found(seen.as_ref());
            let seen = match (found, seen) {
                (Found::Absent, _) => return Outcome::Done(Erased::Gone),
                (Found::Blind, _) | (_, None) => {
                    return Outcome::Done(Erased::Stays("shows nothing of what it holds".to_owned()));
                }
                (found, _) if !ours(&found) => return Outcome::Done(Erased::Stays(ELSE.to_owned())),
                (_, Some(_)) if taken => {
                    let detail = format!("{}: it is there still", self.key);
                    return Outcome::Unknown(Failure::new(FailureCode::StoreMismatch, detail));
                }
                (_, Some(seen)) => seen,
            };
            let prepared = Prepared::default();
            let (slots, gone) = (Vec::new(), self.remote.slot.clone());
            let (delivery, mark) = (delivery_of(&[], &seen), String::new());
            let putting = Putting { seen: &seen, prepared: &prepared, slots, gone, delivery, mark };
            match client.take_out(&self.remote.params, &putting).await {
                Outcome::Done(Put::Conflict) => {}
                Outcome::Done(Put::Written(_)) => taken = true,
                Outcome::Refused(failure) => return Outcome::later(failure),
                outcome => return outcome.map(|_| Erased::Gone),
            }
        }
        let detail = format!("{}: somebody else wrote to it each of {LOOKS} times", self.key);
        Outcome::later(Failure::new(FailureCode::StoreConflict, detail))
    }

    /// Writes what is owed to the target, of everybody who waits for it.
    async fn serve<C: Clock>(&self, client: &Account<C>, target: &Target) {
        let mut owed: Vec<Owed> = Vec::new();
        for _ in 0..LOOKS {
            let seen = self.read(client).await;
            owed.append(&mut target.waiting.lock().unwrap_or_else(PoisonError::into_inner));
            let seen = match seen {
                Outcome::Done(seen) => seen,
                outcome => return tell(owed, &outcome.map(|_| Receipt::default())),
            };
            owed = judged(owed, seen.as_ref());
            if owed.is_empty() {
                return;
            }
            let unseen;
            let before = if let Some(seen) = &seen {
                seen
            } else {
                unseen = Seen::blind();
                &unseen
            };
            match self.put(client, before, &owed).await {
                Outcome::Done(Put::Conflict) => {}
                Outcome::Done(Put::Written(told)) => return self.confirm(client, owed, seen.as_ref(), told).await,
                outcome => return tell(owed, &outcome.map(|_| Receipt::default())),
            }
        }
        let detail = format!("{}: somebody else wrote to it each of {LOOKS} times", self.key);
        tell(owed, &Outcome::later(Failure::new(FailureCode::StoreConflict, detail)));
    }

    /// Sends the request that writes `owed`.
    async fn put<C: Clock>(&self, client: &Account<C>, seen: &Seen, owed: &[Owed]) -> Outcome<Put> {
        let prepared = match client.prepare(&self.remote.params).await {
            Outcome::Done(prepared) => prepared,
            Outcome::Later { not_before, failure } => return Outcome::Later { not_before, failure },
            Outcome::Refused(failure) | Outcome::Unknown(failure) => return Outcome::later(failure),
        };
        let mark = owed.first().map(|owed| owed.mark.clone()).unwrap_or_default();
        let slots = owed.iter().map(|owed| (owed.slot.remote.slot.clone(), &owed.secret)).collect();
        let putting = Putting { seen, prepared: &prepared, slots, gone: None, delivery: delivery_of(owed, seen), mark };
        match client.put(&self.remote.params, &putting).await {
            // A right that is missing now may be given later.
            Outcome::Refused(failure) if failure.code != FailureCode::StoreRefused => Outcome::later(failure),
            outcome => outcome,
        }
    }

    /// Looks whether the target holds what was written.
    async fn confirm<C: Clock>(
        &self,
        client: &Account<C>,
        owed: Vec<Owed>,
        before: Option<&Seen>,
        told: Option<Evidence>,
    ) {
        let proof = self.remote.definition.proof();
        if proof == Proof::Nothing {
            return tell(owed, &Outcome::Done(Receipt { evidence: told }));
        }
        let settle = self.remote.definition.store().map_or(Span::zero(), |store| store.settle);
        let latest = client.endpoint().now() + settle;
        loop {
            let now = match self.read(client).await {
                Outcome::Done(now) => now,
                Outcome::Later { failure, .. } | Outcome::Refused(failure) | Outcome::Unknown(failure) => {
                    return tell(owed, &Outcome::Unknown(failure));
                }
            };
            let wrong = owed.iter().find_map(|owed| mismatch(owed, before, now.as_ref()));
            let Some(why) = wrong else {
                let evidence = now.and_then(|now| now.evidence).or(told);
                return tell(owed, &Outcome::Done(Receipt { evidence }));
            };
            if client.endpoint().now() >= latest {
                let detail = format!("{}: {why} after the write", self.key);
                return tell(owed, &Outcome::Unknown(Failure::new(FailureCode::StoreMismatch, detail)));
            }
            wait(client, latest).await;
        }
    }

    async fn read<C: Clock>(&self, client: &Account<C>) -> Outcome<Option<Seen>> {
        match client.read_target(&self.remote.params, self.remote.slot.is_some()).await {
            Outcome::Refused(failure) | Outcome::Unknown(failure) => Outcome::later(failure),
            outcome => outcome,
        }
    }

    fn found(&self, seen: Option<&Seen>) -> Found {
        let Some(seen) = seen else { return Found::Blind };
        match seen.slot(self.remote.slot.as_deref()) {
            slots::Slot::Absent => Found::Absent,
            slots::Slot::Hidden => Found::Hidden(seen.evidence.clone()),
            slots::Slot::Value(secret) => Found::Value(secret),
            slots::Slot::Other => Found::Other,
        }
    }

    fn member<C: Clock>(&self, accounts: &Accounts<C>) -> Result<Arc<Member<C>>, Failure> {
        accounts.get(&self.remote.account).ok_or_else(|| {
            let detail = format!("the account `{}` is no longer in the inventory", self.remote.account);
            Failure::new(FailureCode::NoCredential, detail)
        })
    }
}

/// The client of an account, or why there is none.
fn client<C>(member: &Result<Arc<Member<C>>, Failure>) -> Result<&Account<C>, Failure>
where
    C: Clock,
{
    member.as_ref().map_err(Clone::clone)?.client()
}

/// Waits a little, and not beyond `latest`.
async fn wait<C: Clock>(client: &Account<C>, latest: Time) {
    let endpoint = client.endpoint();
    let next = (endpoint.now() + GLANCE).min(latest);
    while endpoint.now() < next {
        endpoint.wait_until(next).await;
    }
}

/// Those of `owed` that have to be written, given what was seen; the others are told.
fn judged(owed: Vec<Owed>, seen: Option<&Seen>) -> Vec<Owed> {
    let mut rest: BTreeMap<StoreKey, Owed> = BTreeMap::new();
    for owed in owed {
        match owed.judge.judge(&owed.slot.found(seen)) {
            Move::Keep => {
                let receipt = Receipt { evidence: seen.and_then(|seen| seen.evidence.clone()) };
                tell(vec![owed], &Outcome::Done(receipt));
            }
            Move::Stop(stranger) => {
                let failure = stranger.failure(&owed.slot.key);
                tell(vec![owed], &Outcome::later(failure));
            }
            Move::Create | Move::Replace | Move::WriteBlindly => {
                // The newer one of two for the same slot; whoever waits for the other one looks again.
                rest.insert(owed.slot.key.clone(), owed);
            }
        }
    }
    rest.into_values().collect()
}

/// Why what is there now is not what was written.
fn mismatch(owed: &Owed, before: Option<&Seen>, now: Option<&Seen>) -> Option<&'static str> {
    match owed.slot.found(now) {
        Found::Value(found) if found.expose() == owed.secret.expose() => None,
        Found::Value(_) | Found::Other => Some("it holds something else"),
        Found::Absent => Some("it holds nothing"),
        Found::Hidden(evidence) => match now.and_then(|now| now.ends(&owed.secret)) {
            Some(true) => None,
            Some(false) => Some("it shows the end of something else"),
            None => {
                let before = before.and_then(|before| before.evidence.as_ref());
                let same = evidence.is_some() && evidence.as_ref() == before;
                // A digest stays where the value was there already: a write of ours, of which nobody learned that it was
                // done. As the last one left it, it would be the old value's.
                let left = owed.judge.known.receipt.as_ref().and_then(|receipt| receipt.evidence.as_ref());
                let was_there = owed.slot.remote.definition.changes_with_value() && before != left;
                (same && !was_there).then_some("it says that it did not change")
            }
        },
        Found::Blind => None,
    }
}

/// The same for every attempt to write the same over the same.
fn delivery_of(owed: &[Owed], seen: &Seen) -> String {
    let mut text: Vec<String> = owed.iter().map(|owed| owed.delivery.clone()).collect();
    text.sort_unstable();
    if let Some(evidence) = &seen.evidence {
        text.push(evidence.to_string());
    }
    hex(&digest(&SHA256, text.join("\n").as_bytes()).as_ref()[..16])
}

/// Tells everybody what became of theirs. Whoever does not wait any more looks at the store before the next write.
fn tell(owed: Vec<Owed>, outcome: &Outcome<Receipt>) {
    for owed in owed {
        let _ = owed.answer.send(outcome.clone());
    }
}

fn given_up(key: &StoreKey) -> Failure {
    Failure::new(FailureCode::Withdrawn, format!("{key}: the write was given up half-way"))
}
