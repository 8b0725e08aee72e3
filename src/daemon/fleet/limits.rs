//! Limits go with an account: who takes it holds to what the provider asked of the owner before, and does not try a
//! credential that was just refused there.
//!
//! Law: it is a help, and may be lost. Without it a provider says once more what it said before; with it the new owner waits
//! rather too long than too short.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::{Clock, Span, Time};
use crate::daemon::DaemonJournal;
use crate::daemon::core::Core;
use crate::endpoint::limit::Memory;
use crate::event;
use crate::journal::Fence;
use crate::journal::fleet::{EngineError, FleetJournal, boot};
use crate::names::AccountName;
use crate::outcome::Failure;

/// The slots of a rate limit are told so often at most; what a provider says is told at once.
const SLOTS_EVERY: Duration = Duration::from_secs(5);

/// What is left for the next owner. Stored state.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Left {
    /// When it was told, by the clock of who told it.
    at: Time,
    memory: Memory,
    /// Nothing was sent since: the account was handed over. Otherwise its owner may have gone on until its lease ended.
    #[serde(default)]
    whole: bool,
}

/// Tells the engine what changes in the limits of accounts that are owned.
pub(super) async fn follow<C: Clock>(core: Arc<Core<C, DaemonJournal>>, journal: DaemonJournal) {
    let Some(journal) = journal.fleet() else { return };
    let mut saved = core.accounts.limits_saved();
    let mut told: BTreeMap<AccountName, (Duration, Memory)> = BTreeMap::new();
    while saved.changed().await.is_ok() {
        let ownership = &core.machine.effects.ownership;
        for account in ownership.owned() {
            let (Some(fence), Some(memory)) = (ownership.fence(&account), core.accounts.memory_of(&account)) else {
                continue;
            };
            let due = match told.get(&account) {
                None => !memory.is_empty(),
                Some((at, before)) => !memory.tells_as(before) || memory != *before && *at + SLOTS_EVERY <= boot(),
            };
            if due && leave(&core, journal, &fence, &memory, false).await.is_ok() {
                told.insert(account, (boot(), memory));
            }
        }
    }
}

/// The last word about an account that is about to be given up.
pub(super) async fn hand_over<C: Clock>(core: &Core<C, DaemonJournal>, journal: &FleetJournal, fence: &Fence) {
    if let Some(memory) = core.accounts.memory_of(&fence.account).filter(|memory| !memory.is_empty()) {
        // Without it the next owner holds to what was told before.
        let _ = leave(core, journal, fence, &memory, true).await;
    }
}

/// Holds an account that is being taken to what its last owner has left. What this process knows by itself counts on where it
/// is newer, or where it owns another account at the same address with the same credential.
pub(super) async fn take<C: Clock>(
    core: &Core<C, DaemonJournal>,
    journal: &FleetJournal,
    account: &AccountName,
) -> Result<(), Failure> {
    let Some(text) = journal.limits(account).await.map_err(EngineError::failure)? else { return Ok(()) };
    let Ok(Left { at, memory, whole }) = serde_json::from_str(&text) else {
        tracing::warn!(event = event::LIMITS_UNREADABLE, %account, "what its last owner has left of its limits cannot be read");
        return Ok(());
    };
    let ownership = &core.machine.effects.ownership;
    // It may have sent until its lease ended, and told nothing of the last seconds.
    let untold = (!whole).then(|| Span::from_std(journal.lease().ttl() + SLOTS_EVERY).unwrap_or_default());
    core.accounts.carry_on(account, (at, memory), |other| ownership.owns(other), untold);
    Ok(())
}

async fn leave<C: Clock>(
    core: &Core<C, DaemonJournal>,
    journal: &FleetJournal,
    fence: &Fence,
    memory: &Memory,
    whole: bool,
) -> Result<(), EngineError> {
    let left = Left { at: core.clock.now(), memory: memory.clone(), whole };
    let text = serde_json::to_string(&left).unwrap_or_default();
    journal.leave_limits(fence, &text).await
}
