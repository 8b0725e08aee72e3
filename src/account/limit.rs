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
use crate::timing::backoff::{self as patience, Life};

use super::urgency::Urgency;

/// However long a provider asks to wait: it is asked again this soon.
pub const LONGEST_BLOCK: Span = patience::LONGEST;

/// While a provider asks for patience, the requests that cannot wait so long leave this far apart.
const PROBE_EVERY: Span = Span::seconds(1);

/// A refused credential is tried again at least this often, for it may have been repaired at the provider.
const LONGEST_BACKOFF: Span = Span::minutes(5);

/// A login that was refused is tried again so much later at first. Services lock a user after a few wrong passwords, with
/// all that this user does elsewhere.
const LOGIN_BACKOFF: Span = Span::minutes(5);

/// And so much later at most: unlocking a user changes nothing that could be noticed here.
const LONGEST_LOGIN_BACKOFF: Span = LONGEST_BLOCK;

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

/// At most so many slots in any half-open span of the limit, handed out in order.
///
/// It remembers the slots of one span instead of counting down a bucket: a bucket that refills while it is drained lets
/// twice the limit through in its first span.
#[derive(Clone, Debug)]
pub struct Quota {
    requests: usize,
    per: Span,
    slots: VecDeque<Time>,
}

impl Quota {
    /// An unused quota. A limit of no requests at all would block for ever; it counts as one.
    pub fn new(limit: RateLimit) -> Self {
        let per = Span::from_std(limit.per).unwrap_or(Span::days(365));
        Self { requests: (limit.requests as usize).max(1), per, slots: VecDeque::new() }
    }

    /// The first free slot that is not before `earliest`.
    pub fn next(&self, earliest: Time) -> Time {
        let after_last = self.slots.back().map_or(earliest, |last| earliest.max(*last));
        match self.slots.len().checked_sub(self.requests) {
            Some(index) => after_last.max(self.slots[index] + self.per),
            None => after_last,
        }
    }

    /// Reserves the first free slot that is not before `earliest`.
    pub fn take(&mut self, earliest: Time) -> Time {
        let slot = self.next(earliest);
        // Only the last `requests` slots can hold the next one up, and those that are a span old cannot either.
        while self.slots.len() >= self.requests || self.slots.front().is_some_and(|oldest| *oldest + self.per <= slot) {
            self.slots.pop_front();
        }
        self.slots.push_back(slot);
        slot
    }

    /// How many slots are free at `now`.
    pub fn left(&self, now: Time) -> usize {
        let taken = self.slots.iter().filter(|slot| **slot + self.per > now).count();
        self.requests.saturating_sub(taken)
    }

    /// The same limit after `slots`, which were handed out under another one, or by another process.
    fn after(mut self, slots: VecDeque<Time>) -> Self {
        self.slots = slots;
        self.slots.drain(..self.slots.len().saturating_sub(self.requests));
        self
    }

    /// Moves every slot by `span`, after the clock was set back by as much.
    fn shift(&mut self, span: Span) {
        for slot in &mut self.slots {
            *slot -= span;
        }
    }
}

/// What a provider said against a credential.
#[derive(Clone, Debug)]
pub struct Refusal {
    pub credential: Fingerprint,
    /// It is a user's password, with which a login was tried.
    pub guarded: bool,
    /// When it may be tried again, where the provider told.
    pub until: Option<Time>,
    /// In which words.
    pub failure: Failure,
}

/// A credential that the provider refused. Stored state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct RefusedCredential {
    which: Fingerprint,
    guarded: bool,
    failures: u32,
    next_try: Time,
    failure: Failure,
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

impl RefusedCredential {
    /// How long after a failure it is tried again.
    fn backoff(&self) -> Span {
        if self.guarded { login_backoff(self.failures) } else { backoff(self.failures) }
    }
}

/// A provider's call for patience.
///
/// Law: it holds back nobody past the last tenth of the life that their consumers have left, and whose consumers hold
/// nothing that works a minute: see [`crate::timing::backoff`]. What is let through in spite of it leaves one by one, and an
/// answer to it that does not ask for patience again ends the wait of everybody.
#[derive(Clone, Copy, Debug)]
struct Blocked {
    told: Time,
    until: Time,
    /// Nothing is let through in spite of it before this.
    probe: Time,
}

impl Blocked {
    /// Until when it holds back a request of this urgency.
    fn until(&self, urgency: Urgency) -> Time {
        let life = match urgency {
            Urgency::Patient => Life::Endless,
            Urgency::By(deadline) => Life::of(deadline - self.told),
            Urgency::Now => return self.until.min(self.probe),
        };
        let granted = self.told + patience::granted(self.until - self.told, life);
        if granted < self.until { granted.max(self.probe) } else { self.until }
    }
}

/// Everything that decides when the next request of one account may leave.
#[derive(Clone, Debug, Default)]
pub struct Limiter {
    quota: Option<Quota>,
    /// Those who were turned away are told different times, as far apart as the quota would have them.
    turned_away: Option<Quota>,
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
        Self { turned_away: quota.clone(), quota, ..Self::default() }
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
            refused.next_try = refused.next_try.min(now + LONGEST_LOGIN_BACKOFF);
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

    /// Holds to another limit; slots that were handed out count on.
    pub fn resize(&mut self, limit: Option<RateLimit>) {
        let slots = self.quota.take().map(|quota| quota.slots).unwrap_or_default();
        self.turned_away = limit.map(Quota::new);
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
            // One request tries the credential; the others keep waiting for what becomes of it.
            refused.next_try = slot + refused.backoff();
        }
        if let Some(blocked) = self.blocked.as_mut().filter(|blocked| slot < blocked.until) {
            blocked.probe = slot + PROBE_EVERY;
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
        let Refusal { credential: which, guarded, until, failure } = refusal;
        let failures = match &self.refused {
            Some(before) if before.which == which => before.failures.saturating_add(1),
            _ => 1,
        };
        let mut refused = RefusedCredential { which, guarded, failures, next_try: now, failure };
        let until = until.map_or(now, |until| until.min(now + LONGEST_BLOCK));
        refused.next_try = until.max(now + refused.backoff());
        self.refused = Some(refused);
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
            self.quota.iter_mut().chain(&mut self.turned_away).for_each(|quota| quota.shift(back));
            if let Some(blocked) = &mut self.blocked {
                blocked.told -= back;
                blocked.until -= back;
                blocked.probe -= back;
            }
            if let Some(refused) = &mut self.refused {
                refused.next_try -= back;
            }
        }
        self.seen = Some(now);
    }
}

/// 2 s, 4 s, 8 s, … and [`LONGEST_BACKOFF`] in the end. Without jitter: within one account there is one to wait.
fn backoff(failures: u32) -> Span {
    Span::seconds(1 << failures.clamp(1, 16)).min(LONGEST_BACKOFF)
}

/// 5 min, 10 min, 20 min, 40 min, and [`LONGEST_LOGIN_BACKOFF`] in the end: three attempts in half an hour.
fn login_backoff(failures: u32) -> Span {
    (LOGIN_BACKOFF * (1 << failures.clamp(1, 8).saturating_sub(1))).min(LONGEST_LOGIN_BACKOFF)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::outcome::FailureCode;
    use crate::secret::{Fingerprinter, Secret};

    fn at(seconds: i64) -> Time {
        Time::UNIX_EPOCH + Span::seconds(seconds)
    }

    fn limit(requests: u32, seconds: u64) -> RateLimit {
        RateLimit { requests, per: Duration::from_secs(seconds) }
    }

    fn credential(text: &str) -> Fingerprint {
        Fingerprinter::new(&[0; 32]).of(&Secret::new(text))
    }

    fn refusal(text: &str) -> Refusal {
        let failure = Failure::new(FailureCode::Unauthorized, "");
        Refusal { credential: credential(text), guarded: false, until: None, failure }
    }

    #[test]
    fn slots_come_as_fast_as_the_limit_allows() {
        let mut quota = Quota::new(limit(2, 10));
        let slots: Vec<_> = [0, 1, 1, 1, 30, 30, 30].map(|now| quota.take(at(now))).to_vec();
        assert_eq!(slots, [0, 1, 10, 11, 30, 30, 40].map(at));
    }

    #[test]
    fn what_is_left_comes_back_when_its_span_is_over() {
        let mut quota = Quota::new(limit(2, 10));
        let left: Vec<_> = [(0, true), (1, true), (1, false), (10, false), (11, false)]
            .into_iter()
            .map(|(now, takes)| {
                if takes {
                    quota.take(at(now));
                }
                quota.left(at(now))
            })
            .collect();
        assert_eq!(left, [1, 0, 0, 1, 2]);
    }

    proptest! {
        #[test]
        fn no_span_ever_holds_more_slots_than_the_limit(
            requests in 1_u32..6,
            seconds in 1_u32..20,
            steps in proptest::collection::vec(0_i64..8, 1..120),
        ) {
            let mut quota = Quota::new(limit(requests, seconds.into()));
            let mut now = at(0);
            let mut slots = Vec::new();
            for step in steps {
                now += Span::seconds(step);
                let slot = quota.take(now);
                prop_assert!(slot >= now);
                slots.push(slot);
                prop_assert!(quota.slots.len() <= requests as usize);
            }
            prop_assert!(slots.is_sorted());
            for window in slots.windows(requests as usize + 1) {
                prop_assert!(window[requests as usize] - window[0] >= Span::seconds(seconds.into()));
            }
        }
    }

    #[test]
    fn those_turned_away_come_back_one_after_the_other() {
        let mut limiter = Limiter::new(Some(limit(1, 60)));
        let ask = |limiter: &mut Limiter, now| limiter.admit(at(now), at(now + 5), None, Urgency::Patient);
        assert_eq!(ask(&mut limiter, 0), Admission::At(at(0)));
        assert_eq!(ask(&mut limiter, 1), Admission::NotBefore(at(60)));
        assert_eq!(ask(&mut limiter, 2), Admission::NotBefore(at(120)));
        assert_eq!(ask(&mut limiter, 57), Admission::At(at(60)));
    }

    #[test]
    fn who_is_turned_away_takes_no_slot() {
        let mut limiter = Limiter::new(Some(limit(1, 60)));
        assert_eq!(limiter.turns_away(at(0), at(5), None, Urgency::Patient), None);
        assert_eq!(limiter.admit(at(0), at(5), None, Urgency::Patient), Admission::At(at(0)));
        assert_eq!(limiter.turns_away(at(0), at(5), None, Urgency::Patient), Some(Admission::NotBefore(at(60))));
        assert_eq!(limiter.admit(at(60), at(65), None, Urgency::Patient), Admission::At(at(60)));
    }

    #[test]
    fn a_call_for_patience_holds_for_every_request_but_not_for_ever() {
        for (sentence, until, admitted) in [
            ("a short block is waited for", Some(at(3)), Admission::At(at(3))),
            ("a long one is not", Some(at(60)), Admission::NotBefore(at(60))),
            ("one in the past is none", Some(at(-10)), Admission::At(at(0))),
            ("no time given: a short backoff", None, Admission::At(at(2))),
            ("a year is an hour", Some(at(31_536_000)), Admission::NotBefore(at(3600))),
        ] {
            let mut limiter = Limiter::new(None);
            limiter.block(at(0), until);
            assert_eq!(limiter.admit(at(0), at(5), None, Urgency::Patient), admitted, "{sentence}");
        }
    }

    #[test]
    fn a_call_for_patience_holds_back_nobody_past_the_last_tenth_of_a_life() {
        let day = Some(at(86_400));
        for (sentence, urgency, from, admitted) in [
            ("20 s of life are left", Urgency::By(at(20)), 0, Admission::NotBefore(at(18))),
            ("when 2 s are left, it goes", Urgency::By(at(20)), 18, Admission::At(at(18))),
            ("who holds nothing that works waits a minute", Urgency::By(at(-5)), 0, Admission::NotBefore(at(60))),
            ("a life of a year bears the hour", Urgency::By(at(31_536_000)), 0, Admission::NotBefore(at(3600))),
            ("nobody waits for it", Urgency::Patient, 18, Admission::NotBefore(at(3600))),
            ("an operator wants it now", Urgency::Now, 1, Admission::At(at(1))),
        ] {
            let mut limiter = Limiter::new(None);
            limiter.block(at(0), day);
            assert_eq!(limiter.admit(at(from), at(from + 5), None, urgency), admitted, "{sentence}");
        }
    }

    #[test]
    fn what_goes_in_spite_of_a_call_for_patience_goes_one_by_one_and_lifts_it() {
        let mut limiter = Limiter::new(None);
        limiter.block(at(0), Some(at(3600)));
        let urgent = Urgency::By(at(20));
        assert_eq!(limiter.admit(at(18), at(18), None, urgent), Admission::At(at(18)));
        assert_eq!(limiter.admit(at(18), at(18), None, urgent), Admission::NotBefore(at(19)), "one is enough to see");
        assert!(!limiter.blocked_since(at(18), at(18)), "the one that goes is not held back at the last moment");
        assert!(!limiter.answered(at(-1)), "an answer to a request that left before the call lifts nothing");
        assert!(limiter.answered(at(18)));
        assert_eq!(limiter.admit(at(18), at(18), None, Urgency::Patient), Admission::At(at(18)));
    }

    #[test]
    fn a_shorter_call_does_not_lift_a_longer_one() {
        let mut limiter = Limiter::new(None);
        limiter.block(at(0), Some(at(60)));
        limiter.block(at(0), Some(at(10)));
        assert_eq!(limiter.blocked_until(at(1)), Some(at(60)));
    }

    #[test]
    fn vague_calls_for_patience_grow_until_an_answer_comes() {
        let mut limiter = Limiter::new(None);
        let mut now = at(0);
        for seconds in [2, 4, 8] {
            limiter.block(now, None);
            assert_eq!(limiter.blocked_until(now), Some(now + Span::seconds(seconds)));
            now += Span::seconds(seconds);
        }
        assert!(!limiter.answered(at(0)), "it was sent before");
        limiter.block(now, None);
        assert_eq!(limiter.blocked_until(now), Some(now + Span::seconds(2)));
    }

    #[test]
    fn a_refused_credential_is_tried_by_one_request_at_a_time() {
        let mut limiter = Limiter::new(None);
        let (old, new) = (credential("old"), credential("new"));
        limiter.credential_refused(at(0), refusal("old"));
        assert_eq!(limiter.admit(at(1), at(9), Some(&old), Urgency::Patient), Admission::CredentialRefused(at(2)));
        assert_eq!(
            limiter.admit(at(1), at(9), Some(&new), Urgency::Patient),
            Admission::At(at(1)),
            "a changed one is tried at once"
        );
        assert_eq!(limiter.admit(at(1), at(9), None, Urgency::Patient), Admission::At(at(1)), "others do not use it");
        assert_eq!(limiter.admit(at(2), at(9), Some(&old), Urgency::Patient), Admission::At(at(2)));
        assert_eq!(limiter.admit(at(2), at(9), Some(&old), Urgency::Patient), Admission::CredentialRefused(at(4)));
        limiter.credential_refused(at(2), refusal("old"));
        assert_eq!(limiter.admit(at(5), at(9), Some(&old), Urgency::Patient), Admission::CredentialRefused(at(6)));
        limiter.credential_accepted();
        assert_eq!(limiter.admit(at(5), at(9), Some(&old), Urgency::Patient), Admission::At(at(5)));
    }

    #[test]
    fn a_refused_login_is_tried_so_seldom_that_nobody_gets_locked() {
        let mut limiter = Limiter::new(None);
        let old = credential("old");
        let mut now = 0;
        for minutes in [5, 10, 20, 40, 60, 60] {
            limiter.credential_refused(at(now), Refusal { guarded: true, ..refusal("old") });
            let next = now + minutes * 60;
            let admitted = limiter.admit(at(next - 1), at(next + 9), Some(&old), Urgency::Patient);
            assert_eq!(admitted, Admission::CredentialRefused(at(next)), "after {minutes} minutes");
            now = next;
            assert_eq!(limiter.admit(at(now), at(now), Some(&old), Urgency::Patient), Admission::At(at(now)));
        }
    }

    #[test]
    fn a_provider_that_tells_when_a_credential_may_be_tried_again_is_obeyed_for_an_hour() {
        for (sentence, guarded, until, next) in [
            ("not before it says", false, 600, 600),
            ("nor before the usual backoff", false, 1, 2),
            ("which is longer for a login", true, 60, 300),
            ("a day is an hour", true, 86_400, 3600),
        ] {
            let mut limiter = Limiter::new(None);
            limiter.credential_refused(at(0), Refusal { guarded, until: Some(at(until)), ..refusal("old") });
            let admitted = limiter.admit(at(0), at(0), Some(&credential("old")), Urgency::Patient);
            assert_eq!(admitted, Admission::CredentialRefused(at(next)), "{sentence}");
        }
    }

    #[test]
    fn the_next_process_holds_to_what_this_one_was_told() {
        let quota = || Some(limit(2, 60));
        let mut limiter = Limiter::new(quota());
        limiter.admit(at(0), at(0), None, Urgency::Patient);
        limiter.admit(at(1), at(1), None, Urgency::Patient);
        limiter.block(at(2), Some(at(30)));
        limiter.credential_refused(at(2), Refusal { guarded: true, ..refusal("old") });
        let text = serde_json::to_string(&limiter.memory()).unwrap();
        let recalled = |now| Limiter::recall(quota(), Some(serde_json::from_str(&text).unwrap()), now);
        let old = credential("old");
        assert_eq!(recalled(at(5)).blocked_until(at(5)), Some(at(30)), "a call for patience");
        assert_eq!(
            recalled(at(40)).admit(at(40), at(40), None, Urgency::Patient),
            Admission::NotBefore(at(60)),
            "the rate limit"
        );
        assert_eq!(
            recalled(at(70)).admit(at(70), at(70), Some(&old), Urgency::Patient),
            Admission::CredentialRefused(at(302))
        );
        assert_eq!(
            recalled(at(70)).admit(at(70), at(70), Some(&credential("new")), Urgency::Patient),
            Admission::At(at(70))
        );
        let back = recalled(at(-10_000));
        assert_eq!(back.blocked_until(at(-10_000)), Some(at(-9_971)), "a clock that was set back prolongs nothing");
        assert_eq!(Limiter::new(quota()).memory(), Memory::default(), "there is nothing to write down");
    }

    #[test]
    fn a_limit_that_is_edited_counts_what_left_under_the_one_before() {
        let mut limiter = Limiter::new(Some(limit(10, 60)));
        for second in 0..5 {
            limiter.admit(at(second), at(second), None, Urgency::Patient);
        }
        limiter.resize(Some(limit(3, 60)));
        assert_eq!(limiter.admit(at(5), at(5), None, Urgency::Patient), Admission::NotBefore(at(62)));
        limiter.resize(Some(limit(6, 60)));
        assert_eq!(
            limiter.admit(at(5), at(5), None, Urgency::Patient),
            Admission::At(at(5)),
            "three are known to have left"
        );
        limiter.resize(None);
        assert_eq!(limiter.left(at(5)), None);
    }

    #[test]
    fn the_backoff_ends_at_five_minutes() {
        assert_eq!([0, 1, 2, 8, 9, u32::MAX].map(|n| backoff(n).num_seconds()), [2, 2, 4, 256, 300, 300]);
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_prolong_a_wait() {
        let mut limiter = Limiter::new(Some(limit(1, 60)));
        assert_eq!(limiter.admit(at(10_000), at(10_000), None, Urgency::Patient), Admission::At(at(10_000)));
        assert_eq!(limiter.admit(at(0), at(100), None, Urgency::Patient), Admission::At(at(60)));
    }
}
