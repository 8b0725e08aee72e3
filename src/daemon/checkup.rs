//! Asks accounts and tests stores and hooks, changing nothing: in the daemon, whose files, credentials and rights are those
//! that count, and in the shell where none runs.

use std::sync::Arc;

use futures_util::stream::{self, StreamExt as _};

use crate::account::Proof;
use crate::account::member::Member;
use crate::account::pool::Accounts;
use crate::clock::Clock;
use crate::inventory::{Inventory, StorePolicy, TokenPolicy};
use crate::journal::Journal;
use crate::names::AccountName;
use crate::outcome::{Failure, Outcome};
use crate::store;
use crate::view::online::{AccountResult, HookResult, Online, StoreResult, Working};

use super::core::Core;

/// How many accounts are asked, and stores tested, at once.
const AT_ONCE: usize = 16;

/// One of many is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done {
    /// What they are.
    pub what: &'static str,
    pub done: usize,
    pub all: usize,
}

impl<C: Clock, J: Journal + Clone> Core<C, J> {
    /// The check-up of the inventory in effect, with the accounts as they are used.
    pub async fn check(&self) -> Online {
        let inventory = self.inventory();
        let lacks = |name: &AccountName| {
            let policy = inventory.accounts.get(name)?;
            let lacks = self.accounts.lacks(&policy.endpoint.credential);
            lacks.then(|| "the token that it authenticates with has no secret yet".to_owned())
        };
        check(&inventory, &self.accounts, lacks, |_| {}).await
    }
}

/// Asks every account, and tests every store and hook of `inventory`. `lacks`: why an account has no credential, where it
/// has none.
pub async fn check<C: Clock>(
    inventory: &Inventory,
    accounts: &Accounts<C>,
    lacks: impl Fn(&AccountName) -> Option<String>,
    mut progress: impl FnMut(Done),
) -> Online {
    let members = accounts.all();
    let mut found = Online::default();
    // Made before the first is awaited: what outlives an await must not borrow the closure that made it.
    let asked: Vec<_> = members.iter().map(|(name, member)| ask(inventory, name, member, lacks(name))).collect();
    let mut asked = stream::iter(asked).buffered(AT_ONCE);
    while let Some(result) = asked.next().await {
        found.accounts.push(result);
        progress(Done { what: "accounts", done: found.accounts.len(), all: members.len() });
    }
    let unstartable = crate::host::program::unstartable(inventory).into_iter();
    found.hooks = unstartable
        .map(|(program, problem)| HookResult { program, works: Working::No, evidence: problem.why })
        .collect();
    let stores = inventory.tokens.values().flat_map(|token| token.stores.iter().map(move |store| (token, store)));
    let stores: Vec<_> = stores.map(|(token, store)| test(token, store, accounts)).collect();
    let all = stores.len();
    let mut tested = stream::iter(stores).buffered(AT_ONCE);
    while let Some(result) = tested.next().await {
        found.stores.push(result);
        progress(Done { what: "stores", done: found.stores.len(), all });
    }
    found
}

async fn ask<C: Clock>(
    inventory: &Inventory,
    name: &AccountName,
    member: &Arc<Member<C>>,
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
                Err(format!("{}; {}", failure.in_full(), failure.code.remedy()))
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
pub fn told(proof: Proof) -> (Working, String) {
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

async fn test<C: Clock>(token: &TokenPolicy, store: &StorePolicy, accounts: &Accounts<C>) -> StoreResult {
    let tested: Result<(), Failure> = store::preflight(store, None, accounts).await;
    StoreResult {
        store: store.key.clone(),
        token: token.name.clone(),
        works: if tested.is_ok() { Working::Yes } else { Working::No },
        evidence: tested.err().map(|failure| failure.to_string()).unwrap_or_default(),
    }
}
