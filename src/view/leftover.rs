//! What an operator still has to do, or to know, after a command.

use crate::inventory::TokenPolicy;
use crate::provider::Expiry;
use crate::rotation::TokenState;
use crate::rotation::state::{Generation, Orphan, Phase, Progress};

use crate::text::words;

/// What of a compromised token may still be valid, and why, a line each. Empty: all of it is over.
pub fn of_compromised(state: &TokenState) -> Vec<String> {
    let mut left = Vec::new();
    let why = state.retry.as_ref().map(|retry| format!(": {}", retry.failure)).unwrap_or_default();
    let lives = |generation: &Generation| {
        let id = generation.remote.id.as_ref().map(|id| format!(" (id {id})")).unwrap_or_default();
        format!("generation {}{id}", generation.number)
    };
    if let Some(current) = state.phase.current().filter(|current| current.generation.compromised.is_some()) {
        left.push(format!("{} is still in use{why}", lives(&current.generation)));
    }
    if let Some(candidate) = state.phase.candidate().filter(|candidate| candidate.generation.compromised.is_some()) {
        left.push(format!("{} is still on its way to the consumers", lives(&candidate.generation)));
    }
    if let Phase::Active { current, retiring } = &state.phase {
        let owed = owed(&current.delivery);
        let why = if owed.is_empty() { why } else { format!(": {}", owed.join("; ")) };
        left.push(format!("{} is not revoked yet{why}", lives(&retiring.generation)));
    } else if let Some(retiring) = state.phase.retiring() {
        left.push(format!("{} is not yet proven dead{why}", lives(&retiring.generation)));
    }
    for orphan in &state.orphans {
        let until = match orphan.until() {
            Some(until) => format!("it lives until {}", words::moment(until.here())),
            None => "its expiry is unknown".to_owned(),
        };
        left.push(match orphan {
            Orphan::Unrevocable { number, id, .. } => {
                let id = id.as_ref().map(|id| format!(" (id {id})")).unwrap_or_default();
                format!(
                    "generation {number}{id} cannot be revoked by patrold: revoke it at the provider by hand; {until}"
                )
            }
            Orphan::UnknownMint { marker, .. } => {
                format!("a token named {marker} may exist whose mint was never answered; {until}")
            }
            Orphan::Deferred { generation, .. } => {
                format!("{} is revoked as soon as consumers do without it; {until}", lives(generation))
            }
        });
    }
    left
}

/// What an operator should know of a secret that was just adopted, a line each.
pub fn of_adopted(policy: &TokenPolicy, state: &TokenState) -> Vec<String> {
    let Some(current) = state.phase.current().filter(|current| current.generation.params.is_none()) else {
        return Vec::new();
    };
    let remote = &current.generation.remote;
    let mut left = Vec::new();
    let has_rhythm = policy.rotate_every.is_some() || policy.schedule.is_some();
    if remote.expires == Expiry::Unknown && !has_rhythm {
        left.push("its expiry is unknown, so it is rotated at once: give --expires, or set `rotate-every`".to_owned());
    }
    if remote.id.is_none() {
        left.push(
            "its id at the provider is not known, so it may not be possible to revoke it later: give --id".to_owned(),
        );
    }
    left
}

/// Stores and hooks that were tried in vain, in words.
fn owed(delivery: &crate::rotation::state::Delivery) -> Vec<String> {
    let stores = delivery.stores.iter().map(|(key, progress)| (key.as_str(), progress));
    let hooks = delivery.hooks.iter().map(|(key, progress)| (key.as_str(), progress));
    let failed = stores.chain(hooks).filter_map(|(key, progress)| match progress {
        Progress::Done { .. } => None,
        Progress::Failed(retry) => Some(format!("{key} is owed, {}", retry.failure)),
    });
    failed.collect()
}
