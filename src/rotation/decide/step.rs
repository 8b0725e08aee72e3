//! What a decision can be: a note, an action, or a rest.

use crate::clock::Time;
use crate::names::{HookKey, StoreKey};
use crate::outcome::Failure;
use crate::provider::Remote;
use crate::rotation::due::{Due, Start};
use crate::rotation::event::Event;
use crate::rotation::reason::Reason;
use crate::rotation::state::Orphan;

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
    pub next: Option<(Due, Start)>,
}

/// How far a delivery is.
#[expect(clippy::large_enum_variant, reason = "it lives as long as one decision takes")]
pub(super) enum Delivering {
    Now(Step),
    /// Something is owed, and tried again then.
    At(Time),
    Done,
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
    /// Intend to write to these stores.
    IntendWrite(Vec<StoreKey>),
    /// Write the secret to these stores.
    Write(Vec<StoreKey>),
    /// Take its value out of a store that left the inventory.
    Erase(StoreKey),
    /// Run these hooks.
    Notify(Vec<HookKey>),
    /// Compare the stores with what was delivered.
    Inspect,
    /// Compare the stores once more, then revoke the old generation.
    Revoke,
    /// Prove that the old generation is dead.
    Prove,
    /// Take the last generation of a retired token out of use, unless the provider sees it in use.
    Dismiss,
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
    /// List the account and search for the orphan of an unknown mint.
    Seek(Orphan),
    /// Revoke an orphan that turned up, or a generation whose revocation was left for later.
    Reap(Orphan, Remote),
}

impl Action {
    /// Whether it changes nothing anywhere, so that a crash in the middle of it is as if it had not begun, even where
    /// what was noted just before is lost as well. The request for a rotation and a revocation that was acknowledged
    /// are such notes: the former has not been answered yet, the latter is asked for again and found done.
    pub(in crate::rotation) fn only_looks(&self) -> bool {
        matches!(self, Self::Begin(_) | Self::Prove)
    }
}
