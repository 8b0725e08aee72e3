//! What a decision depends on, and what follows from it for every step.

use crate::account::Listing;
use crate::clock::{Span, Time};
use crate::inventory::TokenPolicy;
use crate::names::AccountName;
use crate::outcome::{Failure, FailureCode};
use crate::provider::{Abilities, ProviderClock};
use crate::rotation::due::{self, Due, Means};
use crate::rotation::life::life;
use crate::rotation::reckoning::Reckoning;
use crate::rotation::state::{Candidate, Current, Generation, Origin, Phase, Retry, TokenState};
use crate::timing::backoff::{self, Life};
use crate::timing::jitter;

use super::later;
use super::memo::Memo;

/// No wait is longer: providers may ask for a day, backoff for an hour. A retry that is further away was noted before the
/// clock was set back, and is made now.
const LONGEST_WAIT: Span = Span::hours(25);

/// No provider means a token to live so shortly: its clock, or the zone of what it tells, is off.
pub(in crate::rotation) const SHORTEST_LIFE: Span = Span::seconds(3);

/// Everything that a decision depends on.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    pub policy: &'a TokenPolicy,
    /// The token is in the inventory.
    pub wanted: bool,
    pub state: &'a TokenState,
    pub memo: &'a Memo,
    pub abilities: &'a Abilities,
    /// The clock of the policy's account, as far as this process has seen it.
    pub clock: ProviderClock,
    /// When the account that authenticates with this token was last refused.
    pub refused: Option<Time>,
    /// The newest listing of the account, where there is one.
    pub listing: Option<&'a Listing>,
    pub now: Time,
}

impl Situation<'_> {
    /// What the ends of generations are reckoned from.
    pub fn reckoning(&self) -> Reckoning<'_> {
        let account = &self.policy.account.name;
        Reckoning { now: self.now, account, clock: self.clock, proof: self.memo.proof }
    }

    /// Every rule that applies to the current generation.
    pub fn rules(&self, current: &Current) -> Vec<Due> {
        let means = self.abilities.means(&current.generation);
        due::rules(self.policy, self.state, current, means, &self.reckoning())
    }

    /// When a step that failed is tried again, where that is still to come.
    ///
    /// Law: a success of the account ends the wait of its tokens, and an operator's request ends every wait of its own. What
    /// is known of the life that is left now bounds a wait that began when more of it was left.
    pub(super) fn waiting(&self, retry: Option<&Retry>) -> Option<Time> {
        let retry = retry?;
        let pressed = self.ended(retry, self.memo.pressed);
        let recovered = retry.failure.code.is_outage() && self.ended(retry, self.memo.recovered);
        let bounded = retry.at.map_or(retry.next, |failed| {
            let life = match life(self.state, &self.reckoning()) {
                // Consumers have what their store holds, and the journal does not know.
                _ if retry.failure.code == FailureCode::StoreNewer => return retry.next,
                Life::For(left) => Life::of(left + (self.now - failed)),
                life => life,
            };
            later(failed, backoff::granted(retry.next - failed, life))
        });
        let next = Some(bounded).filter(|_| !pressed && !recovered)?;
        (next > self.now && next - self.now <= LONGEST_WAIT).then_some(next)
    }

    /// The same, of a store or a hook. Their rights and rules often change with a restart, so that it ends the wait.
    pub(super) fn owed_waiting(&self, retry: &Retry) -> Option<Time> {
        self.waiting(Some(retry)).filter(|_| !self.ended(retry, self.memo.resumed))
    }

    /// Until when the account's rate limit lets no mint and no renewal leave, as far as this process was told. Another
    /// inventory may say otherwise.
    ///
    /// Law: a wait for the own limit is a rest. Nothing was begun, and nothing failed.
    pub(super) fn limited(&self) -> Option<Time> {
        let (asked, until) = self.memo.limited?;
        let resumed = self.memo.resumed.is_some_and(|resumed| resumed > asked);
        (asked <= self.now && self.now < until && !resumed).then_some(until)
    }

    /// Whether the rotation that an operator asked for does not wait for the grace of the old token.
    pub(super) fn hurries(&self) -> bool {
        self.state.requested.is_some_and(|asked| self.memo.hurried.is_some_and(|hurried| hurried >= asked))
    }

    /// Whether what happened `then` ends a wait.
    pub(super) fn ended(&self, retry: &Retry, then: Option<Time>) -> bool {
        then.is_some_and(|then| retry.failed_before(then) && then <= self.now)
    }

    /// Whether consumers certainly cannot use it.
    pub(super) fn unusable(&self, current: &Current) -> bool {
        self.reckoning().unusable(current)
    }

    /// Whether its time is nearly over.
    pub(super) fn near_end(&self, generation: &Generation) -> bool {
        self.reckoning().near_end(generation).is_some_and(|end| end <= self.now)
    }

    /// Whether consumers are, or soon will be, without a usable secret: what can wait for better conditions otherwise
    /// is done now as well as it can be.
    pub(in crate::rotation) fn pressing(&self, current: &Current) -> bool {
        self.unusable(current) || self.near_end(&current.generation)
    }

    /// When the current generation may be revoked, once a new one takes its place now.
    pub(super) fn end_of_grace(&self, current: Option<&Current>) -> Time {
        let compromised = current.is_some_and(|current| current.generation.compromised.is_some());
        if compromised { self.now } else { later(self.now, self.grace()) }
    }

    /// How long the old generation stays valid after a handover. What nobody wrote down must fit into the life that the
    /// provider gives, which the inventory does not know where it cannot be asked for.
    pub(super) fn grace(&self) -> Span {
        let candidate = self.state.phase.candidate().filter(|_| self.policy.grace_by_default);
        let life = candidate.and_then(|candidate| {
            let generation = &candidate.generation;
            let expires = self.reckoning().expires(generation)?;
            Some(expires - generation.issued_at).filter(|life| *life > Span::zero())
        });
        life.map_or(self.policy.grace, |life| self.policy.grace.min(life / 3))
    }

    /// Whether consumers can be led back to it.
    pub(super) fn restorable(&self, current: Option<&Current>) -> bool {
        let replaced = |it: &Current| self.candidate_is_kin(it);
        current.is_some_and(|it| !self.unusable(it) && !it.secret_lost && self.abilities.can.overlap && !replaced(it))
    }

    /// Whether the candidate is the same token as `current`.
    pub(super) fn candidate_is_kin(&self, current: &Current) -> bool {
        self.state.phase.candidate().is_some_and(|it| it.generation.is_kin(&current.generation))
    }

    /// The token left the inventory, and patrold was started without it: nobody knows its stores and hooks any more.
    pub(super) fn forgotten(&self) -> bool {
        !self.wanted && self.policy.stores.is_empty() && self.policy.hooks.is_empty()
    }

    /// Whether an account other than the policy's is meant, whose abilities and listings are not known here.
    pub(super) fn foreign(&self, account: &AccountName) -> bool {
        *account != self.policy.account.name
    }

    /// Whether a token can be taken back at its provider.
    pub fn can_revoke(&self, generation: &Generation) -> bool {
        let can = &self.abilities.can;
        // An id that no answer has told may stand in a listing.
        let findable = !self.abilities.revokes_by_id || can.lists && can.marks;
        let identified = generation.remote.id.is_some() || generation.marker.is_some() && findable;
        self.foreign(&generation.account) || can.revokes && (identified || self.abilities.revokes_self)
    }

    /// Whether a generation that is to be revoked needs no revocation any more: its time is over by every clock, and the
    /// provider, asked to end it, answered that it does not. Its time alone proves nothing.
    ///
    /// Law: what is withdrawn or replaced is revoked, whatever arithmetic says.
    pub(super) fn has_ended(&self, generation: &Generation) -> bool {
        let answered = |retry: &Retry| match retry.failure.code {
            FailureCode::Rejected | FailureCode::NotFound | FailureCode::NotUnderstood | FailureCode::StillAlive => {
                true
            }
            // The subject's own secret is what was refused; or nobody is there any more who could be asked.
            FailureCode::Unauthorized => self.abilities.revokes_self,
            FailureCode::NoCredential => self.foreign(&generation.account),
            _ => false,
        };
        self.reckoning().over(generation) && self.state.retry.as_ref().is_some_and(answered)
    }

    /// When a rotation that ends without a handover is tried again.
    pub(super) fn next_rotation(&self) -> Time {
        let life = life(self.state, &self.reckoning());
        later(self.now, self.backoff(self.attempts(), life))
    }

    /// How many rotations in a row failed with the one that ends now, as far as their failures ask for a longer wait.
    ///
    /// Law: a stop of our own says nothing of the provider. It does not lengthen the wait where what it left behind can be
    /// found and taken back; elsewhere each further mint may leave a token behind, whoever is at fault.
    pub(in crate::rotation) fn attempts(&self) -> u32 {
        let failed = self.state.failed_rotations.saturating_add(1);
        let stopped = match &self.state.phase {
            Phase::Searching { search, .. } => search.failure.code == FailureCode::Stopped,
            _ => false,
        };
        let can = &self.abilities.can;
        match (stopped, can.lists && can.marks && can.revokes) {
            (false, _) => failed,
            (true, true) => failed.min(backoff::STOPS),
            (true, false) => u32::try_from(self.state.orphans.len()).unwrap_or(u32::MAX).saturating_add(1).max(failed),
        }
    }

    /// Not before this does a rotation follow upon one whose new secret did not live longer than the old one.
    ///
    /// Law: a replacement that did not lengthen the life counts as a failure for backoff. So does one of a token that was
    /// only said to have expired: a provider that says so of every token would have one minted at each listing.
    pub(super) fn after_vain(&self) -> Option<Time> {
        let vain = self.state.last_failure.as_ref()?.failure.code == FailureCode::NotLengthened;
        let since = self.state.last_success.filter(|_| vain && self.state.failed_rotations > 0)?;
        Some(later(since, self.backoff(self.state.failed_rotations, Life::Endless)))
    }

    /// Why a rotation that hands `candidate` over helps nobody, where it does not.
    pub(super) fn vain(&self, current: Option<&Current>, candidate: &Candidate) -> Option<Failure> {
        let reckoning = self.reckoning();
        let (old, new) = (current?, &candidate.generation);
        if old.told_over {
            let detail = "the provider said of the one before that it had expired, while it was in use";
            return Some(Failure::new(FailureCode::NotLengthened, detail));
        }
        let expires = reckoning.expires(new).filter(|_| candidate.origin == Origin::Minted)?;
        let by_expiry = |due: &Due| due.at <= self.now && due.reason.is_by_expiry();
        let longer = reckoning.expires(&old.generation).is_none_or(|before| before < expires);
        let vain = expires - new.issued_at < SHORTEST_LIFE || !longer && self.rules(old).iter().any(by_expiry);
        vain.then(|| Failure::new(FailureCode::NotLengthened, ""))
    }

    /// A wait drawn from the token's name: decisions are pure.
    pub(super) fn backoff(&self, failures: u32, life: Life) -> Span {
        const WHOLE: Span = Span::seconds(1000);
        #[expect(clippy::cast_precision_loss, reason = "at most a million milliseconds")]
        let spread = jitter::jitter(&self.policy.name, WHOLE).num_milliseconds() as f64;
        #[expect(clippy::cast_precision_loss, reason = "a million milliseconds")]
        let draw = 1.0 - spread / WHOLE.num_milliseconds() as f64 / 2.0;
        backoff::next(failures, life, draw)
    }
}

impl Abilities {
    /// What can be done about this generation once it is due.
    pub fn means(&self, generation: &Generation) -> Means {
        self.means_with(|part| generation.fingerprints.contains_key(part))
    }

    /// The same of a secret that has these parts besides `token`: a renewal in place needs every part that its provider
    /// gives.
    pub(in crate::rotation) fn means_with(&self, has: impl Fn(&str) -> bool) -> Means {
        let renews = self.can.renews && self.parts.iter().all(|part| has(part));
        match (renews, self.can.mints) {
            (false, _) => Means::Rotation,
            (true, true) => Means::Both,
            (true, false) => Means::Renewal,
        }
    }

    /// Whether nobody can use this generation before it is renewed, and it will be.
    pub fn awaits_renewal(&self, current: &Current, reckoning: &Reckoning<'_>) -> bool {
        current.renewable() && reckoning.unusable(current) && self.means(&current.generation) == Means::Renewal
    }
}
