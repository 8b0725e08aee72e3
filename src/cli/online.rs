//! `patrold check --online`: asks providers and tests stores, changing nothing.

use std::io::IsTerminal as _;
use std::sync::Arc;

use futures_util::stream::{self, StreamExt as _};

use crate::account::Proof;
use crate::account::pool::Member;
use crate::clock::SystemClock;
use crate::inventory::{Inventory, StorePolicy, TokenPolicy};
use crate::journal::key::KeySource;
use crate::names::AccountName;
use crate::outcome::{Failure, Outcome};
use crate::store;
use crate::view::online::{AccountResult, HookResult, Online, StoreResult, Working};

use super::{Complaint, Console, credentials};

/// How many accounts are asked, and stores tested, at once.
const AT_ONCE: usize = 16;

/// Asks every account and tests every store of `inventory`.
pub(super) async fn run(
    inventory: &Inventory,
    key: Option<&KeySource>,
    console: &mut Console,
) -> Result<Online, Complaint> {
    let (accounts, lacking) = credentials::accounts(inventory, key, |_| true).await?;
    let members = accounts.all();
    let asked = members.iter().map(|(name, member)| {
        let lacks = lacking.iter().find(|(lacking, _)| lacking == name).map(|(_, why)| why.to_string());
        ask(inventory, name, member, lacks)
    });
    let mut asked = stream::iter(asked).buffered(AT_ONCE);
    let mut found = Online::default();
    let mut progress = Asking::new(console, "accounts", members.len());
    while let Some(result) = asked.next().await {
        progress.step()?;
        found.accounts.push(result);
    }
    let unstartable = crate::host::program::unstartable(inventory).into_iter();
    found.hooks = unstartable
        .map(|(program, problem)| HookResult { program, works: Working::No, evidence: problem.why })
        .collect();
    let stores: Vec<_> =
        inventory.tokens.values().flat_map(|token| token.stores.iter().map(move |store| (token, store))).collect();
    let mut progress = Asking::new(console, "stores", stores.len());
    let mut tested = stream::iter(stores.into_iter().map(|(token, store)| test(token, store))).buffered(AT_ONCE);
    while let Some(result) = tested.next().await {
        progress.step()?;
        found.stores.push(result);
    }
    Ok(found)
}

async fn ask(
    inventory: &Inventory,
    name: &AccountName,
    member: &Arc<Member<SystemClock>>,
    lacks: Option<String>,
) -> AccountResult {
    // A token of the account gives parameters that the account itself may lack.
    let token = inventory.tokens.values().find(|token| token.account.name == *name);
    let params = token.map_or(&member.policy.params, |token| &token.params);
    let outcome = match (lacks, member.client()) {
        (Some(why), _) => Err(why),
        (None, Err(failure)) => Err(failure.to_string()),
        (None, Ok(client)) => match client.probe(params).await {
            Outcome::Done(proof) => Ok(proof),
            Outcome::Later { failure, .. } | Outcome::Refused(failure) | Outcome::Unknown(failure) => {
                Err(format!("{failure}; {}", failure.code.remedy()))
            }
        },
    };
    let (works, evidence) = match outcome {
        Ok(proof) => told(proof),
        Err(why) => (Working::No, why),
    };
    let policy = &member.policy;
    AccountResult {
        account: name.clone(),
        provider: policy.provider.name.clone(),
        url: policy.endpoint.url.to_string(),
        works,
        evidence,
    }
}

/// What an account's answer says of its credential.
pub(super) fn told(proof: Proof) -> (Working, String) {
    let (works, evidence) = match proof {
        Proof::Listing => (Working::Yes, "a listing was answered"),
        Proof::Login => (Working::Yes, "a login was answered"),
        Proof::Verify => (Working::Yes, "verify accepts the credential"),
        Proof::Refused => (Working::Unknown, "verify refuses the credential, which may be of another kind than tokens"),
        Proof::None => {
            (Working::Unknown, "the credential is there; no request of the definition tells without changes")
        }
    };
    (works, evidence.to_owned())
}

async fn test(token: &TokenPolicy, store: &StorePolicy) -> StoreResult {
    let tested: Result<(), Failure> = store::preflight(store, None).await;
    StoreResult {
        store: store.key.clone(),
        token: token.name.clone(),
        works: if tested.is_ok() { Working::Yes } else { Working::No },
        evidence: tested.err().map(|failure| failure.to_string()).unwrap_or_default(),
    }
}

/// One line on a terminal that counts.
struct Asking<'c> {
    console: &'c mut Console,
    what: &'static str,
    done: usize,
    all: usize,
    shows: bool,
}

impl<'c> Asking<'c> {
    fn new(console: &'c mut Console, what: &'static str, all: usize) -> Self {
        Self { console, what, done: 0, all, shows: std::io::stderr().is_terminal() }
    }

    fn step(&mut self) -> Result<(), Complaint> {
        self.done += 1;
        if self.shows {
            // Carriage return and "erase to the end of the line": the next line takes its place.
            let end = if self.done == self.all { "\r\u{1b}[K" } else { "\r" };
            self.console.progress(format_args!("{}: {} of {}{end}", self.what, self.done, self.all))?;
        }
        Ok(())
    }
}
