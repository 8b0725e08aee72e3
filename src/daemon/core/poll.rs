//! Lists the accounts' tokens, and finds orphans among them.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Arc, PoisonError};

use futures_util::{StreamExt as _, stream};

use crate::account::Listing;
use crate::account::member::Member;
use crate::clock::{Clock, Span, Time};
use crate::daemon::account_news::log_roots;
use crate::daemon::orphans::Count;
use crate::event;
use crate::journal::Journal;
use crate::names::{AccountName, Marker, TokenName};
use crate::outcome::{Failure, Outcome};
use crate::provider::Entry;
use crate::report::audit::Known;
use crate::rotation::effects::Effects as _;
use crate::timing::backoff::{self, Life};

use super::{Core, behind};

/// What polling an account led to.
#[derive(Clone, Debug, Default)]
pub struct Poll {
    pub last: Option<Time>,
    pub attempts: u32,
    pub failure: Option<Failure>,
    /// Live tokens with a marker of this installation that no generation accounts for.
    pub orphans: BTreeSet<String>,
}

impl<C: Clock, J: Journal + Clone> Core<C, J> {
    /// What polling the accounts led to.
    pub fn polls(&self) -> BTreeMap<AccountName, Poll> {
        self.polls.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks what the provider knows of an account's tokens; not before the account has a credential. Returns the tokens that should look at the answer, and when
    /// to ask again.
    pub async fn poll(&self, name: &AccountName) -> (Vec<TokenName>, Option<Time>) {
        let inventory = self.inventory();
        log_roots(&self.accounts.mend(name, &inventory).await);
        let (Some(member), Some(policy)) = (self.accounts.get(name), inventory.accounts.get(name)) else {
            return (Vec::new(), None);
        };
        let owned = self.machine.effects.ownership.owns(name);
        if !owned || !member.abilities.can.lists || self.accounts.lacks(&policy.endpoint.credential) {
            return (Vec::new(), None);
        }
        let tokens = self.tokens.of(name);
        // A token may have had the account listed since the start, before its first mint.
        let polled = self.is_polled(name);
        let begun =
            if polled { self.clock.now() } else { *self.resumed.read().unwrap_or_else(PoisonError::into_inner) };
        let mut asked = HashSet::new();
        let policies = tokens.iter().map(|(_, token)| token.policy());
        let policies: Vec<_> = policies.filter(|it| asked.insert(member.listing_key(&it.params))).collect();
        // One place is left to tokens.
        let at_once = policy.endpoint.max_in_flight.saturating_sub(1).max(1);
        let listings = stream::iter(policies).map(|it| {
            let member = Arc::clone(&member);
            async move {
                match member.list(&it.params, begun).await {
                    Outcome::Done(_) => None,
                    Outcome::Later { failure, not_before } => Some((failure, not_before)),
                    Outcome::Refused(failure) | Outcome::Unknown(failure) => Some((failure, None)),
                }
            }
        });
        let listings: Vec<_> = listings.buffer_unordered(at_once).collect().await;
        let failure = listings.into_iter().flatten().last();
        let now = self.clock.now();
        let elsewhere = self.elsewhere().await;
        let mut polls = self.polls.write().unwrap_or_else(PoisonError::into_inner);
        let poll = polls.entry(name.clone()).or_default();
        // What others account for cannot be told from an orphan while they cannot be asked.
        let orphans = match elsewhere {
            Ok(elsewhere) => self.orphans(&member, begun, &poll.orphans, &elsewhere),
            Err(_) => poll.orphans.clone(),
        };
        tell_orphans(name, &orphans.difference(&poll.orphans).map(String::as_str).collect::<Vec<_>>());
        poll.orphans = orphans;
        let next = match failure {
            None => {
                if poll.failure.is_some() {
                    tracing::info!(
                        event = event::LISTING_RESUMED,
                        account = %name,
                        "the account's tokens can be listed again"
                    );
                }
                *poll = Poll { last: Some(now), orphans: std::mem::take(&mut poll.orphans), ..Poll::default() };
                now.checked_add_signed(policy.poll_every)
            }
            Some((failure, not_before)) => {
                poll.attempts = poll.attempts.saturating_add(1);
                tracing::warn!(
                    event = event::LISTING_FAILED,
                    account = %name,
                    code = failure.code.code(),
                    error = %failure,
                    "request-id" = failure.request_id,
                    "cannot list the account's tokens; what is known of them stays in use"
                );
                poll.failure = Some(failure);
                let wait = backoff::next(poll.attempts, Life::of(policy.poll_every * 10), self.machine.effects.draw());
                let wait = wait.max(Span::seconds(1)).min(policy.poll_every.max(Span::seconds(1)));
                not_before.into_iter().chain(now.checked_add_signed(wait)).max()
            }
        };
        (tokens.into_iter().map(|(name, _)| name).collect(), next)
    }

    /// The orphans that listings begun at `begun` or later show. Where a listing failed, those `before` are still there
    /// that nobody accounts for by now. `elsewhere`: tokens whose states other replicas know.
    fn orphans(
        &self,
        member: &Member<C>,
        begun: Time,
        before: &BTreeSet<String>,
        elsewhere: &[TokenName],
    ) -> BTreeSet<String> {
        let (settle, accounted) = (member.abilities.settle, &self.machine.effects.observers.accounted);
        let listings = member.listings();
        let old = listings.iter().any(|listing| listing.at() < begun);
        // Mostly every entry with a marker of ours is of the token that the marker names, which is looked at alone.
        let strange = |listing: &Listing| listing.entries().iter().any(|entry| !self.is_accounted(entry));
        if before.is_empty() && !listings.iter().any(|listing| strange(listing)) {
            accounted.forget(begun.checked_sub_signed(settle).unwrap_or(Time::MIN_UTC));
            return BTreeSet::new();
        }
        let states = self.states();
        // Nobody can read what a token that is set aside accounts for.
        let aside = self.tokens.aside();
        let mut known = Known::default();
        known.set_aside(self.machine.instance, aside.keys().chain(behind(&states)).chain(elsewhere));
        for (token, state) in &states {
            known.add(&member.policy.name, token, state);
        }
        let count =
            Count { instance: self.machine.instance, known: &known, accounted, settle, clock: member.provider_clock() };
        let fresh = listings.iter().filter(|listing| listing.at() >= begun);
        let mut orphans = count.orphans(fresh.map(|listing| &**listing));
        if old {
            orphans.extend(before.iter().filter(|marker| !known.has(marker)).cloned());
        }
        accounted.forget(begun.checked_sub_signed(settle).unwrap_or(Time::MIN_UTC));
        orphans
    }
}

impl<C: Clock, J: Journal + Clone> Core<C, J> {
    /// Whether `entry` is no orphan at first sight: it has no marker of ours, or the token that its marker names knows it.
    fn is_accounted(&self, entry: &Entry) -> bool {
        let Some(marker) = entry.name.as_deref().and_then(Marker::within) else { return true };
        if !Marker::is_of(self.machine.instance, marker) {
            return true;
        }
        let token = Marker::token(marker).and_then(|name| self.tokens.get(&name));
        token.is_some_and(|token| token.state().markers().any(|known| known == marker))
    }

    /// Whether an account was polled.
    pub(in crate::daemon) fn is_polled(&self, account: &AccountName) -> bool {
        self.polls.read().unwrap_or_else(PoisonError::into_inner).contains_key(account)
    }
}

/// Tells of orphans that were not listed before: of a few, each; of many, one line. A provider that lists what it likes
/// must not fill a disk.
fn tell_orphans(account: &AccountName, markers: &[&str]) {
    const FEW: usize = 5;
    if markers.len() > FEW {
        tracing::warn!(
            event = event::ORPHAN_LISTED,
            %account,
            count = markers.len(),
            marker = markers[0],
            "live tokens with markers of this installation belong to no token: orphans, of which this is the first"
        );
        return;
    }
    for marker in markers {
        tracing::warn!(
            event = event::ORPHAN_LISTED,
            %account,
            marker,
            "a live token with a marker of this installation belongs to no token: an orphan"
        );
    }
}
