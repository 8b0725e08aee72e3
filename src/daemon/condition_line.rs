//! The status line for the service manager, and when the daemon may report readiness.

use std::sync::{Mutex, TryLockError};
use std::time::Duration;

use crate::clock::Clock;
use crate::report::status::{AccountCondition, Condition, Status, TokenStatus};
use crate::text::words;

use super::Running;

/// How long a start waits for stores before it says that it is ready.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// The most names that a line shows.
const NAMES: usize = 3;

/// The line that `systemctl status` shows: the size of the inventory, and what is in trouble.
pub(super) fn condition_line(status: &Status) -> String {
    let wanted = status.tokens.iter().filter(|token| token.condition != Condition::Left);
    let (tokens, accounts) = (words::count(wanted.count(), "token"), words::count(status.accounts.len(), "account"));
    let mut parts = vec![format!("{tokens} at {accounts}")];
    let troubled = |token: &&TokenStatus| {
        matches!(token.condition, Condition::Failing | Condition::Due | Condition::Missing | Condition::Down)
    };
    let names: Vec<_> = status.tokens.iter().filter(troubled).map(|token| &token.name).collect();
    if !names.is_empty() {
        parts.push(format!("{} in trouble: {}", names.len(), words::some(&names, NAMES)));
    }
    let failing = status.channels.iter().filter(|channel| channel.failing.is_some());
    let failing: Vec<_> = failing.map(|channel| &channel.name).collect();
    if !failing.is_empty() {
        parts.push(format!("messages do not leave through {}", words::some(&failing, NAMES)));
    }
    if status.journal.failure.is_some() {
        parts.push("the journal cannot be written".to_owned());
    }
    let degraded = status.accounts.iter().filter(|account| account.condition == AccountCondition::Degraded);
    let degraded: Vec<_> = degraded.map(|account| &account.name).collect();
    if !degraded.is_empty() {
        parts.push(format!("degraded: {}", words::some(&degraded, NAMES)));
    }
    let reload = status.daemon.as_ref().and_then(|daemon| daemon.reload.as_ref());
    if reload.is_some_and(|reload| !reload.answer.applied) {
        parts.push("the changed inventory is invalid, the one before stays in use".to_owned());
    }
    parts.join("; ")
}

/// What the service manager was told last.
#[derive(Debug, Default)]
pub(super) struct Told(Mutex<String>);

impl Told {
    /// The present line, where it is not what was told last, and nobody else is making it.
    pub(super) fn news<C: Clock>(&self, running: &Running<C>) -> Option<String> {
        let mut told = match self.0.try_lock() {
            Ok(told) => told,
            Err(TryLockError::Poisoned(told)) => told.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        let line = condition_line(&running.status());
        (*told != line).then(|| {
            told.clone_from(&line);
            line
        })
    }
}

/// Waits until each token that has a secret was looked at, so that consumers which start after this service find their
/// stores written, also after a boot that emptied them. What takes longer than `patience` is not waited for.
pub(super) async fn stores_looked_at<C: Clock>(running: &Running<C>, patience: Duration) {
    let all = async {
        for (_, token) in running.core.tokens.all() {
            let view = token.view();
            // Most rest by now: whoever is followed once takes more memory from then on.
            if view.rest.is_none() && view.state.phase.current().is_some() {
                // It fails only if the token has left the registry.
                let _ = token.follow().wait_for(|view| view.rest.is_some()).await;
            }
        }
    };
    let _ = tokio::time::timeout(patience, all).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::status::JournalStatus;

    #[test]
    fn the_line_tells_what_is_in_trouble() {
        let journal = JournalStatus { state_dir: "/s".into(), failure: None, unreadable: Vec::new() };
        let mut status = Status {
            at: "2026-03-01T12:00:00Z".parse().unwrap(),
            daemon: None,
            journal,
            fleet: None,
            accounts: Vec::new(),
            tokens: Vec::new(),
            channels: Vec::new(),
        };
        assert_eq!(condition_line(&status), "0 tokens at 0 accounts");
        let full = crate::outcome::Failure::new(crate::outcome::FailureCode::Journal, "full");
        status.journal.failure = Some(full);
        assert_eq!(condition_line(&status), "0 tokens at 0 accounts; the journal cannot be written");
    }
}
