//! When the next request of an account may leave: its rate limit, the provider's own call for patience, and the
//! backoff of a credential that was refused. Pure: a function of time and of what was admitted before.
//!
//! Requests reserve a slot instead of queueing: everybody learns at once when their turn is, turns are given in the
//! order of asking, and a token that asks often waits behind the others like anybody else.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::clock::{Span, Time};
use crate::inventory::RateLimit;
use crate::outcome::Failure;
use crate::secret::Fingerprint;

use super::urgency::Urgency;

mod patience;
mod quota;
mod refused;

use self::patience::{Blocked, backoff};
use self::refused::RefusedCredential;

pub use self::patience::LONGEST_BLOCK;
pub use self::quota::Quota;
pub use self::refused::Refusal;

/// The answer to somebody who wants to send a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// A slot is reserved: send at this moment, which is not later than the caller was ready to wait.
    At(Time),
    /// No slot so soon; ask again at this moment.
    NotBefore(Time),
    /// The credential was refused; it is tried again at this moment, or as soon as it changes.
    CredentialRefused(Time),
}

/// What of a limiter outlives the process. Stored state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Memory {
    blocked_until: Option<Time>,
    vague_blocks: u32,
    refused: Option<RefusedCredential>,
    slots: VecDeque<Time>,
    /// When it was last asked: an earlier time at the next start means that the clock was set back.
    seen: Option<Time>,
}

impl Memory {
    /// Nothing is held against anybody.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether somebody asked after `at`.
    pub fn is_after(&self, at: Time) -> bool {
        self.seen.is_some_and(|seen| seen > at)
    }

    /// Whether the provider has said the same, whatever was sent since.
    pub fn tells_as(&self, other: &Self) -> bool {
        let said = |memory: &Self| (memory.blocked_until, memory.vague_blocks, memory.refused.clone());
        said(self) == said(other)
    }

    /// What two processes know of one endpoint: the stricter of each.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let later = |refused: &RefusedCredential| refused.next_try;
        let mut slots: Vec<_> = self.slots.into_iter().chain(other.slots).collect();
        slots.sort_unstable();
        Self {
            blocked_until: self.blocked_until.max(other.blocked_until),
            vague_blocks: self.vague_blocks.max(other.vague_blocks),
            refused: self.refused.into_iter().chain(other.refused).max_by_key(later),
            slots: slots.into(),
            seen: self.seen.max(other.seen),
        }
    }
}

/// Everything that decides when the next request of one account may leave.
#[derive(Clone, Debug, Default)]
pub struct Limiter {
    quota: Option<Quota>,
    /// Those who were turned away are told different times, as far apart as the quota would have them.
    turned_away: Option<Quota>,
    /// Those who were told to go on count against each other before their requests take slots.
    planned: Option<Quota>,
    blocked: Option<Blocked>,
    /// Calls for patience in a row that did not say how much.
    vague_blocks: u32,
    refused: Option<RefusedCredential>,
    /// The latest time that anybody asked at: an earlier one means that the clock was set back.
    seen: Option<Time>,
}

impl Limiter {
    /// A limiter without history.
    pub fn new(limit: Option<RateLimit>) -> Self {
        let quota = limit.map(Quota::new);
        Self { turned_away: quota.clone(), planned: quota.clone(), quota, ..Self::default() }
    }

    /// A limiter that goes on where one with this memory stopped.
    pub fn recall(limit: Option<RateLimit>, memory: Option<Memory>, now: Time) -> Self {
        let mut limiter = Self::new(limit);
        let Some(Memory { blocked_until, vague_blocks, refused, slots, seen }) = memory else { return limiter };
        limiter.quota = limiter.quota.map(|quota| quota.after(slots));
        limiter.vague_blocks = vague_blocks;
        limiter.refused = refused;
        limiter.seen = seen;
        limiter.blocked = blocked_until.map(|until| Blocked { told: seen.unwrap_or(now), until, probe: now });
        limiter.follow_clock(now);
        // Whatever was written down, nobody waits longer than a running limiter lets them wait.
        if let Some(blocked) = &mut limiter.blocked {
            blocked.until = blocked.until.min(now + LONGEST_BLOCK);
            blocked.told = blocked.told.min(now);
        }
        if let Some(refused) = &mut limiter.refused {
            refused.next_try = refused.next_try.min(now + refused::LONGEST_LOGIN_BACKOFF);
        }
        limiter
    }

    /// What the next process has to know.
    pub fn memory(&self) -> Memory {
        let memory = Memory {
            blocked_until: self.blocked.map(|blocked| blocked.until),
            vague_blocks: self.vague_blocks,
            refused: self.refused.clone(),
            slots: self.quota.as_ref().map(|quota| quota.slots.clone()).unwrap_or_default(),
            seen: None,
        };
        if memory == Memory::default() { memory } else { Memory { seen: self.seen, ..memory } }
    }

    /// Counts as used what another process may have sent in the last `untold`: the limit's share of it.
    pub fn presume(&mut self, untold: Span, now: Time) {
        let Some(quota) = &mut self.quota else { return };
        for _ in 0..quota.share(untold).min(quota.left(now)) {
            quota.take(now);
        }
    }

    /// Holds to another limit; slots that were handed out count on.
    pub fn resize(&mut self, limit: Option<RateLimit>) {
        let slots = self.quota.take().map(|quota| quota.slots).unwrap_or_default();
        self.turned_away = limit.map(Quota::new);
        self.planned.clone_from(&self.turned_away);
        self.quota = limit.map(|limit| Quota::new(limit).after(slots));
    }

    /// Why the credential was refused that waits for its next try.
    pub fn refused(&self) -> Option<&Failure> {
        self.refused.as_ref().map(|refused| &refused.failure)
    }

    /// Reserves a slot not later than `latest` for a request that authenticates with `credential`.
    pub fn admit(&mut self, now: Time, latest: Time, credential: Option<&Fingerprint>, urgency: Urgency) -> Admission {
        if let Some(refusal) = self.turns_away(now, latest, credential, urgency) {
            return refusal;
        }
        let earliest = self.held_until(now, urgency).unwrap_or(now);
        let slot = self.quota.as_mut().map_or(earliest, |quota| quota.take(earliest));
        if let Some(refused) = self.refused.as_mut().filter(|refused| Some(&refused.which) == credential) {
            refused.try_at(slot);
        }
        if let Some(blocked) = self.blocked.as_mut().filter(|blocked| slot < blocked.until) {
            blocked.probe_at(slot);
        }
        Admission::At(slot)
    }

    /// What [`Limiter::admit`] answers somebody whom it turns away; `None` where it would give a slot.
    pub fn turns_away(
        &mut self,
        now: Time,
        latest: Time,
        credential: Option<&Fingerprint>,
        urgency: Urgency,
    ) -> Option<Admission> {
        self.follow_clock(now);
        let refused = self.refused.as_ref().filter(|refused| Some(&refused.which) == credential);
        if let Some(refused) = refused.filter(|refused| now < refused.next_try) {
            return Some(Admission::CredentialRefused(refused.next_try));
        }
        let earliest = self.held_until(now, urgency).unwrap_or(now);
        let slot = self.quota.as_ref().map_or(earliest, |quota| quota.next(earliest));
        if slot <= latest {
            return None;
        }
        let promise = self.turned_away.as_mut().map_or(slot, |quota| quota.take(slot));
        Some(Admission::NotBefore(promise.min(slot + LONGEST_BLOCK)))
    }

    /// Plans what begins with a request. Gives the moment to ask again at where the rate limit lets none leave until
    /// `latest`; `None`: go on. A plan takes no slot, its requests do; but no more is planned than could leave.
    pub fn plan(&mut self, now: Time, latest: Time) -> Option<Time> {
        self.follow_clock(now);
        let (quota, planned) = (self.quota.as_ref()?, self.planned.as_mut()?);
        let slot = planned.next(quota.next(now));
        if slot <= latest {
            planned.take(slot);
            return None;
        }
        Some(self.turned_away.as_mut().map_or(slot, |quota| quota.take(slot)))
    }

    /// Until when the provider wants nothing from this account.
    pub fn blocked_until(&self, now: Time) -> Option<Time> {
        self.blocked.map(|blocked| blocked.until).filter(|until| *until > now)
    }

    /// The same, for a request of this urgency.
    fn held_until(&self, now: Time, urgency: Urgency) -> Option<Time> {
        self.blocked.map(|blocked| blocked.until(urgency)).filter(|until| *until > now)
    }

    /// Whether the provider has asked for patience after `time`.
    pub fn blocked_since(&self, time: Time, now: Time) -> bool {
        self.blocked.is_some_and(|blocked| blocked.told > time && blocked.until > now)
    }

    /// How many requests the limit lets leave at `now`, where there is one.
    pub fn left(&self, now: Time) -> Option<u64> {
        self.quota.as_ref().map(|quota| quota.left(now) as u64)
    }

    /// The provider asked for patience, until `until` where it said so.
    pub fn block(&mut self, now: Time, until: Option<Time>) {
        let until = until.unwrap_or_else(|| {
            self.vague_blocks = self.vague_blocks.saturating_add(1);
            now + backoff(self.vague_blocks)
        });
        let until = until.min(now + LONGEST_BLOCK);
        let until = self.blocked.map_or(until, |before| before.until.max(until));
        self.blocked = Some(Blocked { told: now, until, probe: now });
    }

    /// The provider refused a credential.
    pub fn credential_refused(&mut self, now: Time, refusal: Refusal) {
        self.refused = Some(RefusedCredential::after(self.refused.as_ref(), refusal, now));
    }

    /// The provider accepted the account's credential. Whether it had been refused before.
    pub fn credential_accepted(&mut self) -> bool {
        self.refused.take().is_some()
    }

    /// The provider answered a request that was sent then without asking for patience. Whether that ends a call for it:
    /// not where the request left before the call.
    pub fn answered(&mut self, sent_at: Time) -> bool {
        self.vague_blocks = 0;
        self.blocked.take_if(|blocked| blocked.told < sent_at).is_some()
    }

    /// Carries everything along when the clock was set back: what lay a minute ahead still does.
    fn follow_clock(&mut self, now: Time) {
        if let Some(back) = self.seen.map(|seen| seen - now).filter(|back| *back > Span::zero()) {
            let quotas = [&mut self.quota, &mut self.turned_away, &mut self.planned];
            quotas.into_iter().flatten().for_each(|quota| quota.shift(back));
            if let Some(blocked) = &mut self.blocked {
                blocked.shift(back);
            }
            if let Some(refused) = &mut self.refused {
                refused.next_try -= back;
            }
        }
        self.seen = Some(now);
    }
}

#[cfg(test)]
mod tests;
