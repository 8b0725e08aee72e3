//! What a process knows of a token besides the journal.

use std::collections::{BTreeMap, BTreeSet};

use crate::clock::{Span, Time};
use crate::few::Few;
use crate::names::{GenerationNo, Marker, RotationId, StoreKey};
use crate::rotation::reckoning::Proof;
use crate::rotation::state::Generation;
use crate::secret::Fingerprint;

use super::later;

/// Consumers of a store that somebody changes again and again are told at least this often.
const LONGEST_QUIET: Span = Span::hours(6);

/// What this process knows of a token besides the journal; lost with the process.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is another thing that may have been seen")]
pub struct Memo {
    /// The journal is new, and it was not looked yet whether another installation has the token.
    pub newborn: bool,
    /// An intent of this process whose request was not sent yet: its outcome is known.
    pub fresh: Option<RotationId>,
    /// Stores whose intent this process noted and whose write it has not begun yet: nothing was written since.
    pub intended: BTreeSet<StoreKey>,
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
    /// The decision is for a report: no orphan is searched for.
    pub only_tells: bool,
    /// Per mint of unknown outcome: searches that found nothing, and the last of them.
    pub looks: BTreeMap<Marker, Looks>,
    /// When it was last looked whether an operator brought another secret.
    pub sought: Option<Time>,
    /// What came of it, where the provider did not accept it.
    pub refused: Option<Few<String, Fingerprint>>,
    /// Repairs of stores whose value somebody changed.
    pub repairs: BTreeMap<StoreKey, Repairs>,
    /// When one of its generations was last revoked: an older listing still shows that one.
    pub freed: Option<Time>,
    /// When the provider accepted one of its secrets last.
    pub proof: Option<Proof>,
    /// Since when it is not known whether a store holds a living secret that the journal does not know, and how often it was
    /// looked.
    pub doubt: Option<(Time, u32)>,
    /// It was tried to see the account's clock.
    pub looked: bool,
    /// When a mint or a renewal was to be intended, and until when the account's rate limit lets none leave.
    pub limited: Option<(Time, Time)>,
    /// When the account last began to answer again.
    pub recovered: Option<Time>,
    /// When an operator last asked for something.
    pub pressed: Option<Time>,
    /// An operator wants it now: the next run asks the provider in spite of its call for patience.
    pub forced: bool,
    /// When an operator last asked for something that does not wait for the grace of the old token.
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
    /// When consumers are told of a repair at `now`, where that is later. The time until they are told of another grows
    /// with each.
    pub fn tells(&mut self, now: Time, drift_every: Span) -> Option<Time> {
        let calm = self.quiet_until.is_none_or(|until| now - until >= LONGEST_QUIET);
        let later_then = self.quiet_until.filter(|until| now < *until && *until - now <= LONGEST_QUIET);
        if later_then.is_some() {
            return later_then;
        }
        self.count = if calm { 1 } else { self.count.saturating_add(1) };
        // The first repair is of an accident; a second one soon after it is of a habit.
        let quiet = drift_every.checked_mul(1 << self.count.min(10)).unwrap_or(LONGEST_QUIET).min(LONGEST_QUIET);
        self.quiet_until = Some(later(now, quiet));
        None
    }
}

/// Searches for the orphan of a mint that found nothing. Most find nothing, which is no failure.
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
    /// The token of a mint of unknown outcome.
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
