//! Audits: the providers' tokens compared with the journal; and the revocation of orphans that an operator has seen.
//!
//! An orphan is revoked by the rotation machine and not here: its marker joins the orphans of unknown mints that a token
//! remembers, which is journaled, and those are revoked when they turn up in a listing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use crate::account::Listing;
use crate::clock::Clock;
use crate::inventory::{AccountPolicy, Inventory};
use crate::journal::Journal;
use crate::names::{AccountName, Marker, TokenName};
use crate::outcome::{Failure, Outcome};
use crate::provider::Params;
use crate::report::audit::{AccountAudit, Audit, Known, Reaped};
use crate::rotation::orphan::Orphan;
use crate::rotation::{Event, TokenState};

use super::core::Core;
use super::deadlines::Key;
use super::fleet::wishes::{self, Asked};
use super::ownership::Manner;
use super::registry::{Token, View};
use super::scheduler::Waker;
use super::{Errand, Running, StartError, open};
use crate::account::member::{ListingKey, Member};

/// How long the revocation of one orphan is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

impl<C: Clock, J: Journal + Clone> Core<C, J> {
    /// Lists every account, or one, and holds what is listed against the journal. `reap`: markers of orphans that are
    /// revoked; what is not an orphan is left alone. `waker` wakes a running scheduler, where there is one.
    pub async fn audit(&self, account: Option<&AccountName>, reap: &[String], waker: Option<&Waker>) -> Audit {
        let inventory = self.inventory();
        let accounts = inventory.accounts.values().filter(|policy| account.is_none_or(|name| *name == policy.name));
        let reap: BTreeSet<&str> = reap.iter().map(String::as_str).collect();
        let accounts = join_all(accounts.map(|policy| self.audit_account(policy, &reap, waker))).await;
        Audit { at: self.clock.now(), accounts }
    }

    async fn audit_account(
        &self,
        policy: &Arc<AccountPolicy>,
        reap: &BTreeSet<&str>,
        waker: Option<&Waker>,
    ) -> AccountAudit {
        let (name, provider) = (policy.name.clone(), policy.provider.name.clone());
        let failed = |why: String| AccountAudit::failed(name.clone(), provider.clone(), true, why);
        if self.machine.effects.ownership.manner() == Manner::Share && !self.machine.effects.ownership.owns(&name) {
            return failed("another replica looks after it: `patrold fleet status` shows which; ask there".to_owned());
        }
        let elsewhere = match self.elsewhere().await {
            Ok(elsewhere) => elsewhere,
            Err(failure) => return failed(failure.to_string()),
        };
        let Some(member) = self.accounts.get(&name) else { return failed("it is not in effect yet".to_owned()) };
        if !member.abilities.can.lists {
            let why = format!("the definition {provider} cannot list tokens");
            return AccountAudit::failed(name, provider, false, why);
        }
        if self.accounts.lacks(&policy.endpoint.credential) {
            return failed("the token that it authenticates with has no secret yet".to_owned());
        }
        // Generations of other accounts' tokens may have been minted here before they moved.
        let tokens = self.tokens.all();
        let mut states = self.states();
        let listings = match self.listings(&member, policy, &tokens).await {
            Ok(listings) => listings,
            Err(failure) => return failed(failure.to_string()),
        };
        states.extend(self.states());
        let aside = self.tokens.aside();
        let mut known = Known::default();
        known.set_aside(self.machine.instance, aside.keys().chain(super::core::behind(&states)).chain(&elsewhere));
        for (token, state) in &states {
            known.add(&name, token, state);
        }
        let unwanted = tokens.iter().filter(|(_, token)| !token.wanted() && token.state().retirement.is_none());
        unwanted.for_each(|(token, _)| known.leave(token));
        let complete = listings.values().all(|listing| listing.is_complete());
        let entries = listings.values().flat_map(|listing| listing.entries());
        let now = self.clock.now();
        let instance = self.machine.instance;
        let mut audit =
            AccountAudit::new(name, provider, complete, entries, &known, instance, (member.provider_clock(), now));
        for finding in &mut audit.findings {
            let Some(marker) = finding.orphan().filter(|marker| reap.contains(marker)) else { continue };
            let shown = listings.iter().find(|(_, listing)| listing.named(marker).next().is_some());
            let key = shown.map(|(key, _)| key.clone()).unwrap_or_default();
            finding.reaped = Some(match self.reap(&member, &key, &tokens, marker, waker).await {
                Ok(()) => Reaped::Revoked,
                Err(why) => Reaped::NotYet { why },
            });
        }
        audit
    }

    /// A new listing of every kind that the account's tokens have.
    async fn listings(
        &self,
        member: &Member<C>,
        policy: &AccountPolicy,
        tokens: &[(TokenName, Arc<Token>)],
    ) -> Result<BTreeMap<ListingKey, Arc<Listing>>, Failure> {
        let begun = self.clock.now();
        let mut asked: BTreeMap<ListingKey, Params> = BTreeMap::new();
        for (_, token) in tokens {
            let of_token = token.policy();
            if of_token.account.name == policy.name {
                let params = params_of(&of_token.params, &token.view().state);
                asked.entry(member.listing_key(&params)).or_insert(params);
            }
        }
        if asked.is_empty() {
            asked.insert(member.listing_key(&policy.params), policy.params.clone());
        }
        let mut listings = BTreeMap::new();
        for (key, params) in asked {
            match member.list(&params, begun).await {
                Outcome::Done(listing) => drop(listings.insert(key, listing)),
                Outcome::Later { failure, .. } | Outcome::Refused(failure) | Outcome::Unknown(failure) => {
                    return Err(failure);
                }
            }
        }
        Ok(listings)
    }

    /// Has the orphan called `marker` revoked by a token that sees the listing that shows it.
    async fn reap(
        &self,
        member: &Member<C>,
        key: &ListingKey,
        tokens: &[(TokenName, Arc<Token>)],
        marker: &str,
        waker: Option<&Waker>,
    ) -> Result<(), String> {
        if !member.abilities.can.revokes {
            return Err(format!("the definition {} cannot revoke: do it by hand", member.policy.provider.name));
        }
        let sees = |token: &Token| {
            let policy = token.policy();
            let of_account = policy.account.name == member.policy.name;
            of_account && member.listing_key(&params_of(&policy.params, &token.view().state)) == *key
        };
        // The token that it was minted for, as its marker tells, or else any other.
        let of_token = |name: &TokenName| marker.contains(&format!("-{name}-g"));
        let mut able = tokens.iter().filter(|(_, token)| sees(token));
        let first = able.clone().next();
        let (name, token) = able
            .find(|(name, _)| of_token(name))
            .or(first)
            .ok_or_else(|| "no token of the inventory uses this account any more: revoke it by hand".to_owned())?;
        let parsed = Marker::read(marker).ok_or_else(|| "its marker cannot be read".to_owned())?;
        let now = self.clock.now();
        let mut follow = token.follow();
        {
            let Ok(mut held) = tokio::time::timeout(PATIENCE, self.hold(token)).await else {
                return Err(format!("{name} is busy, with a hook that hangs perhaps: try again"));
            };
            let policy = token.policy();
            let orphan = Orphan::UnknownMint {
                marker: parsed,
                account: member.policy.name.clone(),
                params: params_of(&policy.params, held.state()),
                at: now,
                // Nobody knows how long it lives; a memory is no end.
                until: None,
                retry: None,
            };
            held.note(&policy, now, Event::ReapRequested { orphan });
            // Whatever is shown from now on comes from a run that knows of the request.
            follow.mark_unchanged();
        }
        let waits = || Err("it is revoked as soon as what is under way for its token is over".to_owned());
        let Some(waker) = waker else {
            self.run_token(name).await;
            return reaped(&token.view(), marker).unwrap_or_else(waits);
        };
        waker.wake(vec![Key::Token(name.clone())]);
        let ended = tokio::time::timeout(PATIENCE, async {
            while follow.changed().await.is_ok() {
                let view = follow.borrow_and_update().clone();
                if let Some(result) = reaped(&view, marker).filter(|_| view.rest.is_some()) {
                    return result;
                }
            }
            waits()
        });
        ended.await.unwrap_or_else(|_| waits())
    }
}

impl<C: Clock> Running<C> {
    /// The same of every account: those of other replicas are asked for there.
    pub async fn audit(&self, account: Option<&AccountName>, reap: &[String]) -> Audit {
        let mut audit = self.core.audit(account, reap, Some(&self.waker)).await;
        let Some(fleet) = &self.fleet else { return audit };
        let foreign = audit.accounts.iter_mut().filter(|audit| self.is_foreign(&audit.account));
        join_all(foreign.map(|audit| async {
            let asked = Asked::Audit { reap: reap.to_vec() };
            match wishes::audit(fleet.ask_owner(&audit.account, None, asked, PATIENCE).await) {
                Ok(theirs) => *audit = theirs,
                Err(why) => audit.failure = Some(why),
            }
        }))
        .await;
        audit
    }
}

/// The same in this process, where no daemon runs.
pub async fn audit_without_daemon<C: Clock>(
    inventory: Arc<Inventory>,
    clock: C,
    account: Option<&AccountName>,
    reap: &[String],
) -> Result<Audit, StartError> {
    let opening = open(inventory, clock, Errand::Once).await?;
    let audit = opening.core.audit(account, reap, None).await;
    opening.core.accounts.write_limits().await;
    Ok(audit)
}

/// What became of the orphan called `marker` that a token was to revoke. None: nothing yet.
fn reaped(view: &View, marker: &str) -> Option<Result<(), String>> {
    if let Some(failure) = &view.stuck {
        return Some(Err(failure.to_string()));
    }
    let orphans = &view.state.orphans;
    let orphan = orphans.iter().find(|orphan| orphan.marker().is_some_and(|it| it.as_str() == marker));
    match orphan {
        None => Some(Ok(())),
        Some(orphan) => orphan.retry().map(|retry| Err(retry.failure.to_string())),
    }
}

/// The parameters that a token's listing is asked for with: those of its current generation, where there is one.
fn params_of(wanted: &Params, state: &TokenState) -> Params {
    let current = state.phase.current().and_then(|current| current.generation.params.as_ref());
    current.unwrap_or(wanted).clone()
}
