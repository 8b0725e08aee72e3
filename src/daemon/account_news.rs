//! What accounts report of their surroundings, logged: trust roots that changed, limits that cannot be written down.

use tokio::sync::watch;

use crate::account::pool::RootsNews;
use crate::event;

/// Logs what became of trust roots.
pub(super) fn log_roots(news: &[RootsNews]) {
    for news in news {
        match news {
            RootsNews::Unusable { place, error } => tracing::error!(
                event = event::ROOTS_UNUSABLE,
                place,
                "trust roots cannot be used, and nobody is trusted by them: {error}; {}",
                error.remedy
            ),
            RootsNews::CompiledIn => tracing::warn!(
                event = event::ROOTS_COMPILED_IN,
                "the system has no trust roots; those that are compiled in are used"
            ),
            RootsNews::Changed { place } => {
                tracing::info!(event = event::ROOTS_CHANGED, place, "other trust roots are in use");
            }
        }
    }
}

/// Logs each new reason why limits cannot be written down, as long as there are limits.
pub(super) async fn log_limits(mut trouble: watch::Receiver<Option<String>>) {
    while trouble.changed().await.is_ok() {
        let reason = trouble.borrow_and_update().clone();
        if let Some(reason) = reason {
            tracing::warn!(
                event = event::LIMITS_UNSAVED,
                "limits of accounts are not written down, and are forgotten at the next start: {reason}"
            );
        }
    }
}
