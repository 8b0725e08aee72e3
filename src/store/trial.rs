//! The test of a definition of a store at a live account: what it claims is done there and seen, or not.

use std::collections::BTreeMap;

use serde::Serialize;

use super::drift;
use super::judge::Found;
use super::receipt::{Delivery, Known, Receipt};
use super::{look, preflight, write};
use crate::account::pool::Accounts;
use crate::clock::Clock;
use crate::inventory::{Existing, OnDrift, OnLeave, RemotePolicy, StoreKind, StorePolicy};
use crate::names::{GenerationNo, ProviderName, RotationId, StoreKey, TokenName};
use crate::outcome::{Failure, FailureCode, Outcome};
use crate::provider::slots::Proof;
use crate::secret::{Fingerprinter, Secret, SecretParts, TOKEN_PART, random};

/// What test values begin with: no secret, and none that anybody has by chance.
const TEST_VALUE: &str = "patrold-test-";

/// What was seen of one store. Part of `store test --json`: names are stable.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Report {
    pub store: ProviderName,
    pub slot: StoreKey,
    /// All that the definition claims was seen.
    pub held: bool,
    pub steps: Vec<Step>,
}

/// One thing that was tried.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Step {
    pub what: &'static str,
    pub held: bool,
    pub evidence: String,
}

/// Writes two test values one after the other into the slot, which holds nothing or an earlier test value.
pub async fn run<C: Clock>(key: &StoreKey, remote: &RemotePolicy, accounts: &Accounts<C>) -> Report {
    let policy = StorePolicy {
        key: key.clone(),
        part: TOKEN_PART.to_owned(),
        existing: Existing::Replace,
        on_drift: OnDrift::Repair,
        on_leave: OnLeave::Keep,
        kind: StoreKind::Remote(remote.clone()),
    };
    let mut steps = Vec::new();
    let ended = steps_of(&policy, remote, accounts, &mut steps).await;
    if let Err((what, failure)) = ended {
        let evidence = format!("{failure}; {}", failure.code.remedy());
        steps.push(Step { what, held: false, evidence });
    }
    let held = steps.iter().all(|step| step.held);
    Report { store: remote.definition.name.clone(), slot: key.clone(), held, steps }
}

async fn steps_of<C: Clock>(
    policy: &StorePolicy,
    remote: &RemotePolicy,
    accounts: &Accounts<C>,
    steps: &mut Vec<Step>,
) -> Result<(), (&'static str, Failure)> {
    let mut step = |what, evidence: &str| steps.push(Step { what, held: true, evidence: evidence.to_owned() });
    preflight(policy, None, accounts).await.map_err(|failure| ("place", failure))?;
    step("place", "the target is where it is meant to be");
    let before = look(policy, accounts).await.map_err(|failure| ("look", failure))?.found;
    let evidence = match &before {
        Found::Absent => "the slot holds nothing",
        Found::Value(secret) if secret.expose().starts_with(TEST_VALUE) => "the slot holds an earlier test value",
        Found::Blind => "nobody can look",
        Found::Value(_) | Found::Other | Found::Hidden(_) => {
            let detail = "the slot holds something that is no test value; it stays as it is";
            return Err(("look", Failure::new(FailureCode::StoreForeign, detail)));
        }
    };
    step("look", evidence);
    let fingerprints = Fingerprinter::new(&random::bytes::<32>());
    let (first, receipt) = put(policy, accounts, &fingerprints, 1, None).await.map_err(|why| ("first write", why))?;
    let proof = match remote.definition.proof() {
        Proof::Value => "written, and read back as it was written",
        Proof::Evidence => "written, and the store says that it changed",
        Proof::Nothing => "acknowledged; the store shows nothing",
    };
    step("first write", proof);
    let known = Known { ours: vec![fingerprints.of(&first)], receipt, beside: Vec::new(), begun: None };
    let seen = look(policy, accounts).await.map_err(|why| ("drift", why))?;
    let drift = drift::compare(&fingerprints.of(&first), &seen, &known, &fingerprints);
    match drift.sentence() {
        None => step("drift", "the store is as it was left"),
        Some(sentence) => {
            let detail = format!("nobody wrote, and the store {sentence}");
            return Err(("drift", Failure::new(FailureCode::StoreMismatch, detail)));
        }
    }
    put(policy, accounts, &fingerprints, 2, Some(known)).await.map_err(|why| ("second write", why))?;
    step("second write", proof);
    Ok(())
}

/// Writes a test value.
async fn put<C: Clock>(
    policy: &StorePolicy,
    accounts: &Accounts<C>,
    fingerprints: &Fingerprinter,
    number: u32,
    known: Option<Known>,
) -> Result<(Secret, Option<Receipt>), Failure> {
    let value = Secret::new(format!("{TEST_VALUE}{}", crate::names::hex(&random::bytes::<16>())));
    let parts = SecretParts::new(value.clone());
    let token: TokenName = "store-test".parse().map_err(|_| Failure::new(FailureCode::Request, "the token's name"))?;
    let delivery = Delivery {
        token: &token,
        generation: GenerationNo(number),
        revision: 0,
        rotation: RotationId::new(random::bytes()),
        parts: &parts,
        others: &BTreeMap::new(),
    };
    match write(policy, &delivery, &known.unwrap_or_default(), fingerprints, accounts).await {
        Outcome::Done(receipt) => Ok((value, receipt)),
        Outcome::Later { failure, .. } | Outcome::Refused(failure) | Outcome::Unknown(failure) => Err(failure),
    }
}
