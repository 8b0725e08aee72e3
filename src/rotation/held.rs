//! One token as a process holds it between the steps of its rotations, and what a step depends on besides.

use std::sync::{Arc, LazyLock};

use crate::account::Listing;
use crate::clock::Time;
use crate::inventory::TokenPolicy;
use crate::journal::{Commit, Fence, Head, SecretChange, SecretSlot};
use crate::names::GenerationNo;
use crate::outcome::Failure;
use crate::provider::{Abilities, ProviderClock};
use crate::secret::SecretParts;

use super::apply::{Misfit, apply};
use super::decide::{Memo, Situation};
use super::event::Event;
use super::state::{Generation, Origin, Orphan, TokenState};
use super::stored::Restored;

/// A token of which the journal tells nothing: one for all of them.
static BLANK: LazyLock<Arc<TokenState>> = LazyLock::new(Arc::default);

/// One token as this process holds it: its state, and what is not durable yet.
#[derive(Debug, Default)]
pub struct Held {
    pub(super) state: Arc<TokenState>,
    /// Where its journal ends.
    pub(super) head: Head,
    pub memo: Memo,
    /// How many changes of files that secrets may come from this token has looked at.
    pub changes: u64,
    /// Noted, applied, and to be committed before the next effect.
    pub(super) pending: Vec<(Time, Event)>,
    /// Secrets to be kept or erased with the pending records.
    pub(super) secrets: Vec<SecretChange>,
    /// How many records were committed since the state was; `None`: this process did not commit it yet.
    pub(super) behind: Option<usize>,
    /// A commit whose outcome is unknown; what it holds is still noted above.
    pub(super) sent: Option<Box<Sent>>,
    /// The last commit failed.
    pub(super) stuck: Option<Box<(u32, Failure)>>,
    /// The journal has denied a commit: what this process holds of the token is not what the journal knows.
    pub(super) denied: Option<Denied>,
    /// An event did not fit: nothing that this process holds of the token is believed any more.
    pub(super) misfit: Option<Box<Misfit>>,
    /// A run is under way; where none is, the last one did not come to its end.
    pub(super) running: bool,
}

/// Why the journal denied a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// Another process has taken the account.
    Fenced,
    /// The token's journal went on without this process.
    Overtaken,
}

/// A commit on its way, and what it makes durable.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) commit: Commit,
    /// The state that it leads to.
    pub(super) state: Arc<TokenState>,
    /// How many of the noted events it holds, and of the secrets.
    pub(super) events: usize,
    pub(super) secrets: usize,
    /// An attempt at it had no answer, and may still take effect: that another one is refused says nothing of that one.
    pub(super) open: bool,
}

impl Held {
    /// A token as its journal tells of it.
    pub fn new(restored: Restored) -> Self {
        let blank = restored.state == **BLANK;
        let state = if blank { Arc::clone(&BLANK) } else { Arc::new(restored.state) };
        Self { state, head: restored.head, ..Self::default() }
    }

    /// The state, pending notes included.
    pub fn state(&self) -> &Arc<TokenState> {
        &self.state
    }

    /// Why the journal cannot be written, where it cannot.
    pub fn stuck(&self) -> Option<&Failure> {
        self.stuck.as_deref().map(|(_, failure)| failure)
    }

    /// The event that did not fit, where one did not.
    pub fn misfit(&self) -> Option<Misfit> {
        self.misfit.as_deref().copied()
    }

    /// Where its journal ends, as far as this process knows.
    pub fn head(&self) -> Head {
        self.head
    }

    /// Takes the token up again, as the journal tells of it by now. Where it ends where this process left it, nobody did
    /// anything meanwhile, and what was noted is still true.
    pub fn take_up(&mut self, restored: Restored) {
        let here = restored.head == self.head && !self.running && self.misfit.is_none();
        // What became of a commit without an answer is found out by the next run.
        if !here && (self.sent.is_none() || self.running) {
            *self = Self::new(restored);
        }
        self.denied = None;
    }

    /// Why the journal denied the last commit, where it did.
    pub fn denied(&self) -> Option<Denied> {
        self.denied
    }

    /// Whether only the journal knows the token's state: a run panicked half-way, the journal went on without this
    /// process, or an event did not fit and what was noted before it is durable.
    pub fn torn(&self) -> bool {
        let noted = !self.pending.is_empty() || !self.secrets.is_empty();
        self.running || self.denied == Some(Denied::Overtaken) || self.misfit.is_some() && !noted
    }

    /// Notes that `event` happened at `at`. It is durable after the next [`Machine::run`](super::run::Machine::run). One that does not fit is not
    /// noted, nor is anything after it: the run ends, and the token is read from the journal again.
    pub fn note(&mut self, token: &TokenPolicy, at: Time, event: Event) {
        if self.misfit.is_some() {
            return;
        }
        let next = match apply(TokenState::clone(&self.state), at, &event) {
            Ok(next) => Arc::new(next),
            Err(misfit) => {
                self.misfit = Some(Box::new(misfit));
                return;
            }
        };
        let erased = erased(&self.state, &event);
        self.secrets.extend(erased.into_iter().map(|(generation, revision)| SecretChange::Erase {
            slot: SecretSlot { token: token.name.clone(), generation, revision },
        }));
        self.state = next;
        self.pending.push((at, event));
    }

    /// How many commits in a row failed, with the one that fails now.
    pub(super) fn attempts(&self) -> u32 {
        self.stuck.as_deref().map_or(0, |(attempts, _)| *attempts).saturating_add(1)
    }

    pub(super) fn keep(&mut self, slot: SecretSlot, parts: SecretParts) {
        self.secrets.push(SecretChange::Keep { slot, parts });
    }
}

/// What a run depends on besides the token itself.
#[derive(Clone, Debug)]
pub struct Context {
    pub policy: Arc<TokenPolicy>,
    /// The claim of its account.
    pub fence: Fence,
    /// The token is in the inventory.
    pub wanted: bool,
    pub abilities: Arc<Abilities>,
    /// When the account that authenticates with this token was last refused.
    pub refused: Option<Time>,
    pub listing: Option<Arc<Listing>>,
}

impl Context {
    /// The situation of a token at `now`. `clock`: that of the policy's account, as it was seen by then.
    pub fn situation<'a>(
        &'a self,
        state: &'a TokenState,
        memo: &'a Memo,
        clock: ProviderClock,
        now: Time,
    ) -> Situation<'a> {
        Situation {
            policy: &self.policy,
            wanted: self.wanted,
            state,
            memo,
            abilities: &self.abilities,
            clock,
            refused: self.refused,
            listing: self.listing.as_deref(),
            now,
        }
    }
}

/// The generations and revisions whose secrets end with `event`.
fn erased(state: &TokenState, event: &Event) -> Vec<(GenerationNo, u32)> {
    let slot = |generation: &Generation| (generation.number, generation.revision);
    let phase = &state.phase;
    let ended = match event {
        Event::LeftToExpire { orphan } if let Some(deferred) = state.deferred(orphan) => Some(slot(deferred)),
        Event::Retired { .. }
        | Event::LeftToExpire { .. }
        | Event::RevocationDeferred { orphan: Orphan::Unrevocable { .. } } => {
            phase.retiring().map(|retiring| slot(&retiring.generation))
        }
        // A generation whose revocation is left for later may need its secret for it.
        Event::Undone { orphan: Some(Orphan::Deferred { .. }), .. } => None,
        Event::Undone { .. } => {
            let ended = phase.candidate().filter(|it| !matches!(it.origin, Origin::Recalled { .. }));
            ended.map(|candidate| slot(&candidate.generation))
        }
        Event::OrphanEnded { orphan: Orphan::Deferred { generation, .. }, .. } => Some(slot(generation)),
        // The revision before the one that was renewed.
        Event::RenewalVerified { .. } | Event::RenewalRejected { .. } => {
            let current = phase.current().map(|current| slot(&current.generation));
            current.and_then(|(number, revision)| Some((number, revision.checked_sub(1)?)))
        }
        _ => None,
    };
    ended.into_iter().collect()
}
