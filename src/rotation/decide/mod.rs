//! What comes next for a token: a pure function of policy, state, what the provider said, and time.
//!
//! The daemon executes the answer, `plan` and `status` print it: there is no second place that knows the rules.

mod active;
mod candidate;
mod delivery;
mod intent;
mod retirement;
mod room;
mod steady;
mod upkeep;
mod vacant;
mod watching;

pub(super) use candidate::{reached_consumers, set_aside};
pub(super) use intent::{search_settled, unknown_mint};
pub(super) use retirement::used_until;
pub(super) use upkeep::{differs, like, tells_end};

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::account::Listing;
use crate::clock::{Span, Time};
use crate::inventory::TokenPolicy;
use crate::names::{AccountName, GenerationNo, HookKey, Marker, RotationId, StoreKey};
use crate::outcome::{Failure, FailureCode};
use crate::provider::{Abilities, ProviderClock, Remote};
use crate::rotation::due::{self, Due, Means};
use crate::rotation::reason::Reason;
use crate::secret::Fingerprint;
use crate::timing::backoff::{self, Life};
use crate::timing::jitter;

use super::event::Event;
use super::life::life;
use super::own_time;
use super::reckoning::{Proof, Reckoning};
use super::state::{Candidate, Current, Generation, Origin, Orphan, Phase, Retry, TokenState};

/// No wait is longer: providers may ask for a day, backoff for an hour. A retry that is further away was noted before the
/// clock was set back, and is made now.
const LONGEST_WAIT: Span = Span::hours(25);

/// No provider means a token to live so shortly: its clock, or the zone of what it tells, is off.
pub(super) const SHORTEST_LIFE: Span = Span::seconds(3);

/// Consumers of a store that somebody changes again and again are told at least this often.
const LONGEST_QUIET: Span = Span::hours(6);

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
    fn waiting(&self, retry: Option<&Retry>) -> Option<Time> {
        let retry = retry?;
        let pressed = self.ended(retry, self.memo.pressed);
        let recovered = retry.failure.code.is_outage() && self.ended(retry, self.memo.recovered);
        let bounded = retry.at.map_or(retry.next, |failed| {
            let life = match life(self.state, &self.reckoning()) {
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

    /// Whether the rotation that an operator asked for does not wait for the grace of the generation before.
    fn hurries(&self) -> bool {
        self.state.requested.is_some_and(|asked| self.memo.hurried.is_some_and(|hurried| hurried >= asked))
    }

    /// Whether what happened `then` ends a wait.
    fn ended(&self, retry: &Retry, then: Option<Time>) -> bool {
        then.is_some_and(|then| retry.failed_before(then) && then <= self.now)
    }

    /// Whether consumers certainly cannot use it.
    fn unusable(&self, current: &Current) -> bool {
        self.reckoning().unusable(current)
    }

    /// Whether its time is nearly over.
    fn near_end(&self, generation: &Generation) -> bool {
        self.reckoning().near_end(generation).is_some_and(|end| end <= self.now)
    }

    /// Whether consumers are, or soon will be, without a usable secret: what can wait for better conditions otherwise
    /// is done now as well as it can be.
    pub(super) fn pressing(&self, current: &Current) -> bool {
        self.unusable(current) || self.near_end(&current.generation)
    }

    /// When the current generation may be revoked, once a new one takes its place now.
    fn end_of_grace(&self, current: Option<&Current>) -> Time {
        let compromised = current.is_some_and(|current| current.generation.compromised.is_some());
        if compromised { self.now } else { later(self.now, self.grace()) }
    }

    /// How long the old generation stays valid after a handover. What nobody wrote down must fit into the life that the
    /// provider gives, which the inventory does not know where it cannot be asked for.
    fn grace(&self) -> Span {
        let candidate = self.state.phase.candidate().filter(|_| self.policy.grace_by_default);
        let life = candidate.and_then(|candidate| {
            let generation = &candidate.generation;
            let expires = self.reckoning().expires(generation)?;
            Some(expires - generation.issued_at).filter(|life| *life > Span::zero())
        });
        life.map_or(self.policy.grace, |life| self.policy.grace.min(life / 3))
    }

    /// Whether consumers can be led back to it.
    fn restorable(&self, current: Option<&Current>) -> bool {
        let replaced = |it: &Current| self.candidate_is_kin(it);
        current.is_some_and(|it| !self.unusable(it) && !it.secret_lost && self.abilities.can.overlap && !replaced(it))
    }

    /// Whether the candidate is the same token as `current`.
    fn candidate_is_kin(&self, current: &Current) -> bool {
        self.state.phase.candidate().is_some_and(|it| it.generation.is_kin(&current.generation))
    }

    /// The token left the inventory, and patrold was started without it: nobody knows its stores and hooks any more.
    fn forgotten(&self) -> bool {
        !self.wanted && self.policy.stores.is_empty() && self.policy.hooks.is_empty()
    }

    /// Whether an account other than the policy's is meant, whose abilities and listings are not known here.
    fn foreign(&self, account: &AccountName) -> bool {
        *account != self.policy.account.name
    }

    /// Whether a token can be taken back at its provider.
    pub fn can_revoke(&self, generation: &Generation) -> bool {
        let identified = generation.remote.id.is_some() || generation.marker.is_some();
        self.foreign(&generation.account) || self.abilities.can.revokes && (identified || self.abilities.revokes_self)
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
    fn next_rotation(&self) -> Time {
        let life = life(self.state, &self.reckoning());
        later(self.now, self.backoff(self.state.failed_rotations.saturating_add(1), life))
    }

    /// Not before this does a rotation follow upon one whose new secret did not live longer than the old one.
    ///
    /// Law: a replacement that did not lengthen the life counts as a failure for backoff.
    fn after_vain(&self) -> Option<Time> {
        let vain = self.state.last_failure.as_ref()?.failure.code == FailureCode::NotLengthened;
        let since = self.state.last_success.filter(|_| vain && self.state.failed_rotations > 0)?;
        Some(later(since, self.backoff(self.state.failed_rotations, Life::Endless)))
    }

    /// Why a rotation that hands `candidate` over helps nobody, where it does not.
    pub(super) fn vain(&self, current: Option<&Current>, candidate: &Candidate) -> Option<Failure> {
        let reckoning = self.reckoning();
        let (old, new) = (current?, &candidate.generation);
        let expires = reckoning.expires(new).filter(|_| candidate.origin == Origin::Minted)?;
        let by_expiry = |due: &Due| due.at <= self.now && due.reason.is_by_expiry();
        let longer = reckoning.expires(&old.generation).is_none_or(|before| before < expires);
        let vain = expires - new.issued_at < SHORTEST_LIFE || !longer && self.rules(old).iter().any(by_expiry);
        vain.then(|| Failure::new(FailureCode::NotLengthened, ""))
    }

    /// A wait drawn from the token's name: decisions are pure.
    fn backoff(&self, failures: u32, life: Life) -> Span {
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
    pub(super) fn means_with(&self, has: impl Fn(&str) -> bool) -> Means {
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

/// What this process knows of a token besides the journal; lost with the process.
#[derive(Clone, Debug, Default)]
pub struct Memo {
    /// An intent of this process whose request was not sent yet: its outcome is not in doubt.
    pub fresh: Option<RotationId>,
    /// When the stores were last compared with what was delivered.
    pub inspected: Option<Time>,
    /// When every store was last seen to hold what was delivered.
    pub sound: Option<Time>,
    /// When the provider was last asked whether it accepts the current secret.
    pub examined: Option<Time>,
    /// Tokens that a complete listing did not contain, and when the first such listing in a row was begun.
    pub absent: BTreeMap<Missing, Time>,
    /// When this process began to look after the token.
    pub begun: Option<Time>,
    /// The secret, by generation and revision, that this process got from its provider, has proven, or found where it was
    /// delivered.
    pub trusted: Option<(GenerationNo, u32)>,
    /// This is about a report: lost mints are not looked for.
    pub only_tells: bool,
    /// How often the token of a lost mint was looked for in vain, and when last.
    pub looks: BTreeMap<Marker, Looks>,
    /// When it was last looked whether an operator brought another secret.
    pub sought: Option<Time>,
    /// What came of it, where the provider did not accept it.
    pub refused: Option<BTreeMap<String, Fingerprint>>,
    /// Repairs of stores whose value somebody changed.
    pub repairs: BTreeMap<StoreKey, Repairs>,
    /// When one of its generations was last revoked: an older listing still shows that one.
    pub freed: Option<Time>,
    /// When the provider accepted one of its secrets last.
    pub proof: Option<Proof>,
    /// It was tried to see the account's clock.
    pub looked: bool,
    /// When the account last began to answer again.
    pub recovered: Option<Time>,
    /// When an operator last asked for something.
    pub pressed: Option<Time>,
    /// An operator wants it now: the next run asks the provider in spite of its call for patience.
    pub forced: bool,
    /// When an operator last asked for something that does not wait for the grace of the generation before.
    pub hurried: Option<Time>,
    /// When the process was started, an inventory was read, or a store's directory was made anew.
    pub resumed: Option<Time>,
}

/// Repairs of one store whose value somebody changed.
#[derive(Clone, Debug, Default)]
pub struct Repairs {
    /// In a row, without a long time between.
    count: u32,
    /// Consumers are told of none before this.
    quiet_until: Option<Time>,
}

impl Repairs {
    /// Whether consumers are told of a repair at `now`. The time until they are told of another grows with each.
    pub fn tells(&mut self, now: Time, drift_every: Span) -> bool {
        let calm = self.quiet_until.is_none_or(|until| now - until >= LONGEST_QUIET);
        if self.quiet_until.is_some_and(|until| now < until && until - now <= LONGEST_QUIET) {
            return false;
        }
        self.count = if calm { 1 } else { self.count.saturating_add(1) };
        // The first repair is of an accident; a second one soon after it is of a habit.
        let quiet = drift_every.checked_mul(1 << self.count.min(10)).unwrap_or(LONGEST_QUIET).min(LONGEST_QUIET);
        self.quiet_until = Some(later(now, quiet));
        true
    }
}

/// Looks for the token of a lost mint that found nothing. That is what most of them find, and no failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Looks {
    pub count: u32,
    pub last: Time,
    /// When the last look was begun that the provider answered.
    pub seen: Option<Time>,
}

/// What a listing may lack.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Missing {
    /// A generation, in this revision.
    Generation(GenerationNo, u32),
    /// The token of a mint without an answer.
    Lost(Marker),
}

impl Missing {
    /// `generation`, should a listing lack it.
    pub fn of(generation: &Generation) -> Self {
        Self::Generation(generation.number, generation.revision)
    }
}

impl Memo {
    /// When it is proven that what a listing begun at `listed` lacks is gone, as far as listings can tell: now, where that is
    /// not later than `listed`.
    ///
    /// Law: absence proves death only after two complete listings that were begun the settling time or more apart. One page
    /// may be stale, a filter may be wrong, and some services list what they have made or ended only after a while.
    pub fn proven_absent(&mut self, missing: Missing, listed: Time, settle: Span) -> Time {
        let first = self.absent.entry(missing).or_insert(listed);
        // The clock may have been set back since.
        *first = (*first).min(listed);
        later(*first, settle.max(Span::milliseconds(1)))
    }
}

/// The next step.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Something is true without any effect: journal it and go on.
    Note(Event),
    /// Something is to be done.
    Act(Action),
    /// Nothing is to be done before `until`.
    Rest(Rest),
}

/// Nothing to do for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rest {
    /// None: until something happens.
    pub until: Option<Time>,
    pub reason: Reason,
    /// The rule that will make the token due, and when it will begin.
    pub next: Option<(Due, due::Start)>,
}

/// An effect on the outside world. What it needs is in the state.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Take over an existing secret as generation 0.
    Adopt,
    /// Take over the secret that an operator brought in place of the current one, if there is another.
    Readopt,
    /// Test the stores, then intend a mint.
    Begin(Reason),
    Mint,
    /// List the account and look for the marker.
    Search,
    RevokeOrphan(Remote),
    /// Prove the candidate.
    Verify,
    /// Write the secret to these stores.
    Write(Vec<StoreKey>),
    /// Run these hooks.
    Notify(Vec<HookKey>),
    /// Compare the stores with what was delivered.
    Inspect,
    /// Compare the stores once more, then revoke the old generation.
    Revoke,
    /// Prove that the old generation is dead.
    Prove,
    /// Write the old secret back to these stores.
    Restore(Vec<StoreKey>),
    /// Run these hooks after the old secret was written back.
    Renotify(Vec<HookKey>),
    RevokeCandidate,
    /// Test the stores, then intend a renewal.
    BeginRenewal(Reason),
    Renew,
    /// After a renewal of unknown outcome: ask whether the secret at hand still works.
    ExamineRenewal,
    VerifyRenewed,
    /// Ask whether the provider still accepts the current secret.
    Examine(Failure),
    /// Ask the provider anything, to see its clock.
    Look,
    /// List the account and look for the token of a lost mint.
    Seek(Orphan),
    /// Revoke the token of a lost mint that turned up, or a generation whose revocation was left for later.
    Reap(Orphan, Remote),
}

impl Action {
    /// Whether it changes nothing anywhere, so that a crash in the middle of it is as if it had not begun, even where
    /// what was noted just before is lost as well. The request for a rotation and a revocation that was acknowledged
    /// are such notes: the former has not been answered yet, the latter is asked for again and found done.
    pub(super) fn only_looks(&self) -> bool {
        matches!(self, Self::Begin(_) | Self::Prove)
    }
}

/// What comes next.
pub fn decide(s: &Situation<'_>) -> Step {
    if own_time::is_ahead(s.state, s.now) {
        return Step::Note(Event::ClockSetBack { revoke_at: later(s.now, s.policy.grace) });
    }
    if let Some(over) = s.state.orphans.iter().find(|orphan| upkeep::is_over(s, orphan)) {
        return Step::Note(Event::OrphanEnded { orphan: over.clone(), revoked: false });
    }
    let step = next_step(s);
    // What may be left of a lost mint is looked for while there is nothing better to do: it holds up nobody.
    let settled = matches!(s.state.phase, Phase::Vacant | Phase::Steady { .. } | Phase::Active { .. });
    match step {
        Step::Rest(_) if settled && !s.memo.only_tells => upkeep::seek(s).unwrap_or(step),
        step => step,
    }
}

fn next_step(s: &Situation<'_>) -> Step {
    match &s.state.phase {
        Phase::Vacant => vacant::vacant(s),
        Phase::Steady { current } => steady::steady(s, current),
        Phase::Intended { intent, .. } => intent::intended(s, intent),
        Phase::Searching { current, intent, search } => intent::searching(s, current.as_ref(), intent, search),
        Phase::Minted { candidate, .. } => candidate::minted(s, candidate),
        Phase::Verified { current, candidate } => candidate::verified(s, current.as_ref(), candidate),
        Phase::Delivered { current, candidate } => candidate::delivered(s, current.as_ref(), candidate),
        Phase::Active { current, retiring } => active::active(s, current, retiring),
        Phase::Revoked { retiring, .. } => active::revoked(s, retiring),
        Phase::Undoing { current, candidate, undo } => candidate::undoing(s, current.as_ref(), candidate, undo),
        Phase::Renewing { intent, .. } => intent::renewing(s, intent),
        Phase::RenewalUnknown { current, .. } => {
            intent::renewal_step(s, current, Action::ExamineRenewal, Reason::Examining)
        }
        Phase::Renewed { current, .. } => intent::renewal_step(s, current, Action::VerifyRenewed, Reason::Verifying),
    }
}

fn act_or_wait(s: &Situation<'_>, action: Action, reason: Reason) -> Step {
    match s.waiting(s.state.retry.as_ref()) {
        Some(next) => rest(reason, Some(next)),
        None => Step::Act(action),
    }
}

fn rest(reason: Reason, until: Option<Time>) -> Step {
    Step::Rest(Rest { until, reason, next: None })
}

/// The earliest of several times that are still to come.
fn earliest(now: Time, times: impl IntoIterator<Item = Option<Time>>) -> Option<Time> {
    times.into_iter().flatten().filter(|time| *time > now).min()
}

fn later(time: Time, span: Span) -> Time {
    time.checked_add_signed(span).unwrap_or(if span < Span::zero() { Time::MIN_UTC } else { Time::MAX_UTC })
}
