//! What says that consumers have the new secret, while the old token waits for its end.

use serde::{Deserialize, Serialize};

use crate::clock::Time;
use crate::inventory::{HookKind, TokenPolicy};
use crate::provider::Abilities;
use crate::rotation::reason::Reason;
use crate::rotation::state::{Phase, Progress};

/// One source, and what it says. The old token is revoked once its grace is over and each of them has said it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Evidence {
    /// A store, a hook, or the provider.
    pub source: String,
    /// Since when it says so.
    pub at: Option<Time>,
    /// It speaks for the end of the old token. False: it is waited for.
    pub given: bool,
    /// What it says, in words that follow its name.
    pub words: String,
}

/// All sources of a token whose old generation waits. `reason`: why it waits.
pub(super) fn of(policy: &TokenPolicy, phase: &Phase, abilities: Option<&Abilities>, reason: &str) -> Vec<Evidence> {
    let Phase::Active { current, .. } = phase else { return Vec::new() };
    let row = |source: String, progress: Option<&Progress>, given: &str, lacking: &str| match progress {
        Some(Progress::Done { at }) => Evidence { source, at: Some(*at), given: true, words: given.to_owned() },
        Some(Progress::Failed(_)) | None => Evidence { source, at: None, given: false, words: lacking.to_owned() },
    };
    let delivery = &current.delivery;
    let stores = policy.stores.iter().map(|store| {
        let source = format!("store {}", store.key);
        row(source, delivery.stores.get(&store.key), "holds the new secret", "does not hold the new secret yet")
    });
    let hooks = policy.hooks.iter().map(|hook| {
        let (given, lacking) = match hook.kind {
            HookKind::Check(_) => ("proved that the new secret works", "has not proved the new secret yet"),
            HookKind::Rollout(_) => ("rolled out with the new secret", "is not rolled out yet"),
            HookKind::Systemd(_) => ("runs with the new secret", "does not run with the new secret yet"),
            HookKind::Run(_) | HookKind::Signal(_) | HookKind::Http(_) => {
                ("was told of the new secret", "was not told of the new secret yet")
            }
        };
        row(format!("hook {}", hook.key), delivery.hooks.get(&hook.key), given, lacking)
    });
    let used = reason == Reason::InUse.code();
    let words = if used { "still sees the old token in use" } else { "is asked for its last use before it is revoked" };
    let provider = abilities.filter(|abilities| abilities.can.last_used).map(|_| Evidence {
        source: "provider".to_owned(),
        at: None,
        given: !used,
        words: words.to_owned(),
    });
    stores.chain(hooks).chain(provider).collect()
}
