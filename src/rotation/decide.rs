//! What comes next for a token: a pure function of policy, state, what the provider said, and time.
//!
//! The daemon executes the answer, `plan` and `status` print it: there is no second place that knows the rules.

use crate::account::Listing;
use crate::clock::{Span, Time};
use crate::inventory::{OnFailure, TokenPolicy};
use crate::names::{HookKey, Marker, RotationId, StoreKey};
use crate::outcome::{Failure, FailureCode};
use crate::plan::Reason;
use crate::plan::due::{self, Due, Kind};
use crate::provider::{Capabilities, Entry, Expiry, Operation, Provider, Remote, Role};

use super::event::Event;
use super::state::{
    Candidate, Current, Delivery, Intent, Phase, Progress, Remnant, Retiring, Search, TokenState, Undo,
};

/// A search that cannot be finished blocks the next mint at most this long.
const SEARCH_LIMIT: Span = Span::hours(1);

/// Failed attempts to tell consumers of a rollback, after which the new generation is revoked all the same.
const ROLLBACK_ATTEMPTS: u32 = 5;

/// Everything that a decision depends on.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    pub policy: &'a TokenPolicy,
    /// The token is in the inventory.
    pub wanted: bool,
    pub state: &'a TokenState,
    pub memo: &'a Memo,
    pub abilities: &'a Abilities,
    /// The provider's clock minus ours, where it matters.
    pub skew: Span,
    /// The newest listing of the account, where there is one.
    pub listing: Option<&'a Listing>,
    pub now: Time,
}

impl Situation<'_> {
    /// The time on the provider's clock, which is the one that its expiries are on.
    fn there(&self) -> Time {
        later(self.now, self.skew)
    }

    /// Whether the provider can renew this generation in place: it can at all, and every part of the secret is there.
    pub fn renews(&self, current: &Current) -> bool {
        let has = |part: &String| current.generation.fingerprints.contains_key(part);
        self.abilities.can.renews && self.abilities.parts.iter().all(has)
    }
}

/// What a provider can do, as far as decisions depend on it.
#[derive(Clone, Debug, PartialEq)]
pub struct Abilities {
    pub can: Capabilities,
    /// A revocation is authenticated by the token that it revokes.
    pub revokes_self: bool,
    /// How long a lost mint may still turn up in a listing.
    pub settle: Span,
    /// The parts of a whole secret.
    pub parts: Vec<String>,
}

impl Abilities {
    /// The abilities of a definition.
    pub fn of(provider: &Provider) -> Self {
        Self {
            can: provider.capabilities(),
            revokes_self: provider.has(Operation::Revoke) && provider.role(Operation::Revoke) == Role::Subject,
            settle: provider.mint_settle(),
            parts: provider.secret_parts().into_iter().map(str::to_owned).collect(),
        }
    }
}

/// What this process knows of a token besides the journal; lost with the process.
#[derive(Clone, Debug, Default)]
pub struct Memo {
    /// An intent of this process whose request was not sent yet: its outcome is not in doubt.
    pub fresh: Option<RotationId>,
    /// When the stores were last compared with what was delivered.
    pub inspected: Option<Time>,
    /// When the provider was last asked whether it accepts the current secret.
    pub examined: Option<Time>,
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
    BeginRenewal,
    Renew,
    /// After a renewal of unknown outcome: ask whether the secret at hand still works.
    ExamineRenewal,
    VerifyRenewed,
    /// Ask whether the provider still accepts the current secret.
    Examine(Failure),
    /// Revoke the token of a lost mint that turned up.
    Reap(Remnant, Remote),
}

/// What comes next.
pub fn decide(s: &Situation<'_>) -> Step {
    if let Some(over) = s.state.remnants.iter().find(|remnant| remnant.until().is_some_and(|until| until <= s.now)) {
        return Step::Note(Event::RemnantEnded { remnant: over.clone(), revoked: false });
    }
    match &s.state.phase {
        Phase::Vacant => vacant(s),
        Phase::Steady { current } => steady(s, current),
        Phase::Intended { intent, .. } => intended(s, intent),
        Phase::Searching { current, intent, search } => searching(s, current.as_ref(), intent, search),
        Phase::Minted { candidate, .. } => minted(s, candidate),
        Phase::Verified { candidate, .. } => verified(s, candidate),
        Phase::Delivered { current, candidate } => delivered(s, current.as_ref(), candidate),
        Phase::Active { current, retiring } => active(s, current, retiring),
        Phase::Revoked { retiring, .. } => revoked(s, retiring),
        Phase::Undoing { current, candidate, undo } => undoing(s, current.as_ref(), candidate, undo),
        Phase::Renewing { intent, .. } => renewing(s, intent),
        Phase::Doubted { .. } => act_or_wait(s, Action::ExamineRenewal, Reason::Examining),
        Phase::Renewed { .. } => act_or_wait(s, Action::VerifyRenewed, Reason::Verifying),
    }
}

fn vacant(s: &Situation<'_>) -> Step {
    if !s.wanted {
        return rest(Reason::LeftInventory, None);
    }
    if let Some(reap) = reap(s) {
        return reap;
    }
    if s.policy.initial.is_some() && s.state.last_number.0 == 0 {
        return act_or_wait(s, Action::Adopt, Reason::BackingOff);
    }
    if s.policy.paused {
        return rest(Reason::Paused, None);
    }
    act_or_wait(s, Action::Begin(Reason::FirstIssue), Reason::BackingOff)
}

fn steady(s: &Situation<'_>, current: &Current) -> Step {
    let unusable = current.unusable(s.there());
    if let Some(step) = upkeep(s, current) {
        return step;
    }
    let retry = s.state.retry.as_ref().map(|retry| retry.next);
    let mut wake = [next_end(s), next_inspection(s, current)].into_iter().flatten().min();
    let mut owed = None;
    if !unusable && !current.secret_lost && s.wanted {
        match deliver(s, &current.delivery) {
            Delivering::Now(step) => return step,
            Delivering::At(time) => owed = Some(time),
            Delivering::Done => {}
        }
        if inspection_due(s, current) {
            return Step::Act(Action::Inspect);
        }
    }
    wake = wake.into_iter().chain(owed).min();
    if !s.wanted {
        return rest(Reason::LeftInventory, next_end(s));
    }

    let rules = due::rules(s.policy, s.state, current, s.renews(current), s.skew);
    let Some(due) = due::deciding(&rules, s.now) else {
        return rest(if owed.is_some() { Reason::Delivering } else { Reason::NeverDue }, wake);
    };
    let start = due::start(s.policy, &due, s.now);
    let begin = |at: Time, reason: Reason| {
        let until = wake.into_iter().chain(Some(at)).min();
        Step::Rest(Rest { until, reason, next: Some((due, due::Start { at, ..start })) })
    };
    if due.kind == Kind::Rotation {
        if s.policy.paused && due.reason != Reason::Requested {
            return Step::Rest(Rest { until: wake, reason: Reason::Paused, next: Some((due, start)) });
        }
        if let Some(end) = remnant_end(s).filter(|end| *end > start.at && !unusable) {
            return begin(end, if start.at <= s.now { Reason::RemnantAlive } else { Reason::NotDue });
        }
    }
    if start.at > s.now {
        let waits = due.at <= s.now;
        return begin(start.at, if waits { Reason::WindowClosed } else { idle_reason(owed) });
    }
    if let Some(next) = retry.filter(|next| *next > s.now) {
        return begin(next, Reason::BackingOff);
    }
    match due.kind {
        Kind::Renewal => Step::Act(Action::BeginRenewal),
        Kind::Rotation if start.overridden => Step::Act(Action::Begin(Reason::WindowOverridden)),
        Kind::Rotation => Step::Act(Action::Begin(due.reason)),
    }
}

fn idle_reason(owed: Option<Time>) -> Reason {
    if owed.is_some() { Reason::Delivering } else { Reason::NotDue }
}

/// What a listing tells of a token besides its rotation: lost mints that turned up, a new expiry, a dead current one.
fn upkeep(s: &Situation<'_>, current: &Current) -> Option<Step> {
    if let Some(step) = reap(s) {
        return Some(step);
    }
    if current.dead.is_some() || current.generation.account != s.policy.account.name {
        return None;
    }
    let generation = &current.generation;
    let suspicion = match s.listing.filter(|listing| listing.at() > generation.issued_at + s.abilities.settle) {
        Some(listing) => {
            let marker = generation.marker.as_ref().map(Marker::as_str);
            let seen = listing.find(generation.remote.id.as_ref(), marker);
            if let Some(step) =
                seen.and_then(|entry| learned(generation.remote.id.is_none(), &generation.remote, entry))
            {
                return Some(step);
            }
            let could_be_found = generation.remote.id.is_some() || (marker.is_some() && s.abilities.can.marks);
            let detail = match seen {
                Some(entry) if entry.dead => Some("the listing says that it is not in force any more"),
                None if listing.is_complete() && could_be_found => Some("the listing does not contain it"),
                _ => None,
            };
            detail.filter(|_| s.memo.examined.is_none_or(|examined| examined < listing.at()))
        }
        None if !s.abilities.can.lists && s.abilities.can.verifies => {
            let last = s.memo.examined.unwrap_or(generation.issued_at);
            (last + s.policy.account.poll_every <= s.now && !generation.expired(s.there())).then_some("")
        }
        None => None,
    };
    suspicion.map(|detail| Step::Act(Action::Examine(Failure::new(FailureCode::NotFound, detail))))
}

/// What a listing entry adds to what is known of the current generation.
fn learned(lacks_id: bool, known: &Remote, entry: &Entry) -> Option<Step> {
    if entry.dead {
        return None;
    }
    let id = entry.remote.id.clone().filter(|_| lacks_id);
    let expires = Some(entry.remote.expires).filter(|told| differs(*told, known.expires));
    (id.is_some() || expires.is_some()).then_some(Step::Note(Event::Observed { id, expires }))
}

/// Whether a listing tells another expiry than is known; fractions of a second are rounded differently from answer to
/// answer.
fn differs(told: Expiry, known: Expiry) -> bool {
    match (told, known) {
        (Expiry::Unknown, _) => false,
        (Expiry::At(told), Expiry::At(known)) => (told - known).abs() > Span::seconds(1),
        (told, known) => told != known,
    }
}

/// A lost mint whose token is listed after all.
fn reap(s: &Situation<'_>) -> Option<Step> {
    let listing = s.listing?;
    if !s.abilities.can.revokes || s.state.retry.as_ref().is_some_and(|retry| retry.next > s.now) {
        return None;
    }
    s.state.remnants.iter().find_map(|remnant| {
        let Remnant::LostMint { marker, .. } = remnant else { return None };
        let entry = listing.named(marker.as_str()).find(|entry| !entry.dead)?;
        Some(Step::Act(Action::Reap(remnant.clone(), entry.remote.clone())))
    })
}

fn intended(s: &Situation<'_>, intent: &Intent) -> Step {
    if s.memo.fresh == Some(intent.rotation) {
        return Step::Act(Action::Mint);
    }
    let failure = Failure::new(FailureCode::Reset, "patrold was stopped between the request and its answer");
    Step::Note(Event::MintDoubted { failure })
}

fn searching(s: &Situation<'_>, current: Option<&Current>, intent: &Intent, search: &Search) -> Step {
    let until = s.policy.lifetime.and_then(|lifetime| search.since.checked_add_signed(lifetime + Span::days(1)));
    let lost = Remnant::LostMint { marker: intent.marker.clone(), at: intent.at, until };
    let ended = |remnant: Remnant| Step::Note(Event::SearchEnded { remnant, next: s.now });
    let pressing = current.is_some_and(|current| {
        let expires = current.generation.remote.expires.time();
        expires.is_some_and(|expires| s.there() >= expires - (expires - current.generation.issued_at) / 10)
    });
    let over = s.now >= search.since + SEARCH_LIMIT || (pressing && s.now >= search.since + s.abilities.settle);
    match &search.found {
        Some(remote) if !s.abilities.can.revokes => ended(Remnant::Unrevocable {
            number: intent.number,
            marker: Some(intent.marker.clone()),
            id: remote.id.clone(),
            until: remote.expires.time(),
        }),
        Some(_) if over && s.state.retry.is_some() => ended(lost),
        Some(remote) => act_or_wait(s, Action::RevokeOrphan(remote.clone()), Reason::Searching),
        None if !(s.abilities.can.lists && s.abilities.can.marks) => ended(lost),
        None if over => ended(lost),
        None => act_or_wait(s, Action::Search, Reason::Searching),
    }
}

fn minted(s: &Situation<'_>, candidate: &Candidate) -> Step {
    if let Some(step) = withdrawn(s, candidate) {
        return step;
    }
    if !s.abilities.can.verifies {
        return Step::Note(Event::Verified { proven: false, id: None, expires: None });
    }
    act_or_wait(s, Action::Verify, Reason::Verifying)
}

/// Why a candidate is taken back before its delivery.
fn withdrawn(s: &Situation<'_>, candidate: &Candidate) -> Option<Step> {
    let undo = |why| Some(Step::Note(Event::UndoBegun { why, restore: false }));
    if let Some(objection) = &candidate.objection {
        return undo(objection.clone());
    }
    if candidate.generation.expired(s.there()) {
        return undo(Failure::new(FailureCode::Withdrawn, "it expired before it could be handed over"));
    }
    if !s.wanted && !candidate.delivery.touched() {
        return undo(Failure::new(FailureCode::Withdrawn, "the token left the inventory"));
    }
    None
}

fn verified(s: &Situation<'_>, candidate: &Candidate) -> Step {
    if let Some(step) = withdrawn(s, candidate) {
        return step;
    }
    match stores_owed(s, &candidate.delivery) {
        Delivering::Now(step) => step,
        Delivering::At(time) => rest(Reason::Delivering, Some(time)),
        Delivering::Done => Step::Note(Event::Delivered {}),
    }
}

fn delivered(s: &Situation<'_>, current: Option<&Current>, candidate: &Candidate) -> Step {
    if candidate.generation.expired(s.there()) {
        let why = Failure::new(FailureCode::Withdrawn, "it expired before it could be handed over");
        return Step::Note(Event::UndoBegun { why, restore: false });
    }
    if let Some(added) = s.policy.stores.iter().find(|store| !candidate.delivery.has_store(&store.key)) {
        let found = "added to the inventory".to_owned();
        return Step::Note(Event::StoreOwed { store: added.key.clone(), found, revoke_at: None });
    }
    // A rollback needs something to roll back to.
    if current.is_some_and(|current| !current.unusable(s.there()) && !current.secret_lost) {
        let failed =
            s.policy.hooks.iter().filter(|hook| hook.on_failure == OnFailure::Rollback).find_map(
                |hook| match candidate.delivery.hooks.get(&hook.key) {
                    Some(Progress::Failed(retry)) => Some(retry.failure.clone()),
                    _ => None,
                },
            );
        if let Some(why) = failed {
            return Step::Note(Event::UndoBegun { why, restore: true });
        }
    }
    match hooks_owed(s, &candidate.delivery) {
        Delivering::Now(step) => step,
        Delivering::At(time) => rest(Reason::Delivering, Some(time)),
        Delivering::Done => Step::Note(Event::Activated { revoke_at: later(s.now, s.policy.grace) }),
    }
}

fn active(s: &Situation<'_>, current: &Current, retiring: &Retiring) -> Step {
    if retiring.generation.over(s.there()) {
        return Step::Note(Event::Retired { proven: false });
    }
    if let Some(step) = upkeep(s, current) {
        return step;
    }
    let mut owed = None;
    if s.wanted && !current.unusable(s.there()) && !current.secret_lost {
        match deliver(s, &current.delivery) {
            Delivering::Now(step) => return step,
            Delivering::At(time) => owed = Some(time),
            Delivering::Done => {}
        }
        if inspection_due(s, current) {
            return Step::Act(Action::Inspect);
        }
    }
    let renewal = due::rules(s.policy, s.state, current, s.renews(current), s.skew)
        .into_iter()
        .find(|due| due.kind == Kind::Renewal)
        .filter(|_| s.wanted);
    let retry = s.state.retry.as_ref().map(|retry| retry.next).filter(|next| *next > s.now);
    if renewal.is_some_and(|due| due.at <= s.now) && retry.is_none() {
        return Step::Act(Action::BeginRenewal);
    }
    let wake = [owed, retry, renewal.map(|due| due.at), next_inspection(s, current)].into_iter().flatten().min();
    // Consumers that may not have the new secret yet keep the old one alive.
    if owed.is_some() {
        return rest(Reason::Delivering, wake);
    }
    let (revoke_at, reason) = revoke_time(s, current, retiring);
    if revoke_at > s.now {
        return rest(
            reason,
            wake.into_iter().chain(Some(revoke_at)).chain(retiring.generation.remote.expires.time()).min(),
        );
    }
    if !can_revoke(s, retiring) {
        let generation = &retiring.generation;
        let remnant = Remnant::Unrevocable {
            number: generation.number,
            marker: generation.marker.clone(),
            id: generation.remote.id.clone(),
            until: generation.remote.refresh_expires.or(generation.remote.expires.time()),
        };
        return Step::Note(Event::LeftToExpire { remnant });
    }
    match retry {
        Some(_) => rest(Reason::Revoking, wake),
        None => Step::Act(Action::Revoke),
    }
}

/// When the old generation may be revoked: after its grace, and not while the provider sees it in use, up to a cap.
fn revoke_time(s: &Situation<'_>, current: &Current, retiring: &Retiring) -> (Time, Reason) {
    // Nobody can use the new one: keeping the old one serves no purpose that its grace was meant for.
    if current.unusable(s.there()) {
        return (s.now, Reason::Revoking);
    }
    let generation = &retiring.generation;
    let marker = generation.marker.as_ref().map(Marker::as_str);
    let seen = s.listing.and_then(|listing| listing.find(generation.remote.id.as_ref(), marker));
    let used = seen.and_then(|entry| entry.last_used).filter(|used| *used > retiring.handed_over);
    let cap = later(retiring.handed_over, s.policy.grace_cap).max(retiring.revoke_at);
    match used.map(|used| later(used, s.policy.grace).min(cap)) {
        Some(quiet) if quiet > retiring.revoke_at => (quiet, Reason::InUse),
        _ => (retiring.revoke_at, Reason::Grace),
    }
}

/// Whether the provider can take the generation back.
fn can_revoke(s: &Situation<'_>, retiring: &Retiring) -> bool {
    let identified = retiring.generation.remote.id.is_some() || retiring.generation.marker.is_some();
    s.abilities.can.revokes && (identified || s.abilities.revokes_self)
}

fn revoked(s: &Situation<'_>, retiring: &Retiring) -> Step {
    if retiring.generation.expired(s.there()) || !s.abilities.can.verifies {
        return Step::Note(Event::Retired { proven: false });
    }
    act_or_wait(s, Action::Prove, Reason::Revoking)
}

fn undoing(s: &Situation<'_>, current: Option<&Current>, candidate: &Candidate, undo: &Undo) -> Step {
    if undo.restore && current.is_some_and(|current| !current.unusable(s.there())) {
        match stores_owed(s, &undo.restored) {
            Delivering::Now(Step::Act(Action::Write(stores))) => return Step::Act(Action::Restore(stores)),
            Delivering::Now(step) => return step,
            Delivering::At(time) => return rest(Reason::Undoing, Some(time)),
            Delivering::Done => {}
        }
        match hooks_owed(s, &undo.restored) {
            Delivering::Now(Step::Act(Action::Notify(hooks))) => return Step::Act(Action::Renotify(hooks)),
            Delivering::At(time) if !given_up(s, &undo.restored) => return rest(Reason::Undoing, Some(time)),
            _ => {}
        }
    }
    let generation = &candidate.generation;
    if generation.over(s.there()) {
        return Step::Note(Event::Undone { remnant: None, next: s.now });
    }
    if !s.abilities.can.revokes {
        let remnant = Remnant::Unrevocable {
            number: generation.number,
            marker: generation.marker.clone(),
            id: generation.remote.id.clone(),
            until: generation.remote.refresh_expires.or(generation.remote.expires.time()),
        };
        return Step::Note(Event::Undone { remnant: Some(remnant), next: s.now });
    }
    act_or_wait(s, Action::RevokeCandidate, Reason::Undoing)
}

/// Whether every hook that is still owed after a rollback has failed often enough.
fn given_up(s: &Situation<'_>, restored: &Delivery) -> bool {
    s.policy.hooks.iter().all(|hook| match restored.hooks.get(&hook.key) {
        Some(Progress::Done { .. }) => true,
        Some(Progress::Failed(retry)) => retry.attempts >= ROLLBACK_ATTEMPTS,
        None => false,
    })
}

fn renewing(s: &Situation<'_>, intent: &Intent) -> Step {
    if s.memo.fresh == Some(intent.rotation) {
        return Step::Act(Action::Renew);
    }
    let failure = Failure::new(FailureCode::Reset, "patrold was stopped between the request and its answer");
    Step::Note(Event::RenewalDoubted { failure })
}

/// How far a delivery is.
enum Delivering {
    Now(Step),
    /// Something is owed, and tried again then.
    At(Time),
    Done,
}

/// Stores, then hooks, then the note that all is done, after a handover.
fn deliver(s: &Situation<'_>, delivery: &Delivery) -> Delivering {
    if delivery.settled.is_some() {
        let added = s.policy.stores.iter().find(|store| !delivery.has_store(&store.key));
        return added.map_or(Delivering::Done, |store| {
            let found = "added to the inventory".to_owned();
            Delivering::Now(Step::Note(Event::StoreOwed { store: store.key.clone(), found, revoke_at: None }))
        });
    }
    match stores_owed(s, delivery) {
        Delivering::Done => match hooks_owed(s, delivery) {
            Delivering::Done => Delivering::Now(Step::Note(Event::Redelivered {})),
            owed => owed,
        },
        owed => owed,
    }
}

fn stores_owed(s: &Situation<'_>, delivery: &Delivery) -> Delivering {
    let rows = s.policy.stores.iter().map(|store| (&store.key, delivery.stores.get(&store.key)));
    owed(s.now, rows, Action::Write)
}

fn hooks_owed(s: &Situation<'_>, delivery: &Delivery) -> Delivering {
    let rows = s.policy.hooks.iter().map(|hook| (&hook.key, delivery.hooks.get(&hook.key)));
    owed(s.now, rows, Action::Notify)
}

/// The rows that can be tried now, or the time of the next one.
fn owed<'a, K: Clone + 'a>(
    now: Time,
    rows: impl Iterator<Item = (&'a K, Option<&'a Progress>)>,
    action: impl FnOnce(Vec<K>) -> Action,
) -> Delivering {
    let mut ready = Vec::new();
    let mut next: Option<Time> = None;
    for (key, progress) in rows {
        match progress {
            Some(Progress::Done { .. }) => {}
            Some(Progress::Failed(retry)) if retry.next > now => {
                next = next.into_iter().chain(Some(retry.next)).min();
            }
            Some(Progress::Failed(_)) | None => ready.push(key.clone()),
        }
    }
    match next {
        _ if !ready.is_empty() => Delivering::Now(Step::Act(action(ready))),
        Some(time) => Delivering::At(time),
        None => Delivering::Done,
    }
}

fn inspection_due(s: &Situation<'_>, current: &Current) -> bool {
    next_inspection(s, current).is_some_and(|at| at <= s.now)
}

/// When the stores are compared next; at once after a start.
fn next_inspection(s: &Situation<'_>, current: &Current) -> Option<Time> {
    if s.policy.stores.is_empty() || current.delivery.settled.is_none() || current.secret_lost || !s.wanted {
        return None;
    }
    Some(s.memo.inspected.map_or(s.now, |inspected| later(inspected, s.policy.drift_every)))
}

/// When the next remnant ends.
fn next_end(s: &Situation<'_>) -> Option<Time> {
    s.state.remnants.iter().filter_map(Remnant::until).min()
}

/// When the last generation that cannot be revoked ends: until then, one more would make three that live.
fn remnant_end(s: &Situation<'_>) -> Option<Time> {
    let alive = s.state.remnants.iter().filter(|remnant| matches!(remnant, Remnant::Unrevocable { .. }));
    alive.filter_map(Remnant::until).max()
}

fn act_or_wait(s: &Situation<'_>, action: Action, reason: Reason) -> Step {
    match s.state.retry.as_ref().filter(|retry| retry.next > s.now) {
        Some(retry) => rest(reason, Some(retry.next)),
        None => Step::Act(action),
    }
}

fn rest(reason: Reason, until: Option<Time>) -> Step {
    Step::Rest(Rest { until, reason, next: None })
}

fn later(time: Time, span: Span) -> Time {
    time.checked_add_signed(span).unwrap_or(Time::MAX_UTC)
}
