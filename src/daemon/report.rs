//! What a running daemon tells of itself: the status, gathered from what others may look at.

use std::collections::BTreeMap;

use crate::clock::Clock;
use crate::control::ReloadAnswer;
use crate::names::AccountName;
use crate::view::status::{self, AccountFacts, DaemonStatus, JournalStatus, Progress, ReloadStatus, Status, Subject};

use super::Running;

impl<C: Clock> Running<C> {
    /// Everything at this moment. Waits for nobody: what is busy is shown as busy.
    pub fn status(&self) -> Status {
        let now = self.core.clock.now();
        let inventory = self.core.inventory();
        let mut counts: BTreeMap<AccountName, usize> = BTreeMap::new();
        let mut tokens = Vec::new();
        let mut journal_failure = None;
        for (name, token) in self.core.tokens.all() {
            let (policy, wanted, view) = (token.policy(), token.wanted(), token.view());
            if wanted {
                *counts.entry(policy.account.name.clone()).or_default() += 1;
            }
            let progress = match &view.rest {
                Some(rest) => Progress::Resting { rest, stuck: view.stuck.as_ref() },
                None => Progress::Busy,
            };
            let subject = Subject { name: &name, policy: Some(&policy), wanted, state: &view.state, progress };
            tokens.push(status::token(&subject, now));
            journal_failure = journal_failure.or(view.stuck);
        }
        let polls = self.core.polls();
        let none = super::core::Poll::default();
        let accounts = inventory.accounts.iter().map(|(name, policy)| {
            let member = self.core.accounts.get(name);
            let client = member.as_ref().map(|member| member.client());
            let health = client.as_ref().and_then(|client| client.as_ref().ok()).map(|client| client.health());
            let poll = polls.get(name).unwrap_or(&none);
            let unusable = client.and_then(Result::err);
            let facts = AccountFacts {
                health: health.as_ref(),
                failure: unusable.as_ref().or(poll.failure.as_ref()),
                last_listing: poll.last,
                orphans: &poll.orphans,
            };
            status::account(policy, Some(&facts), counts.get(name).copied().unwrap_or_default(), now)
        });
        let accounts = accounts.collect();
        let journal = JournalStatus {
            state_dir: inventory.daemon.state_dir.display().to_string(),
            failure: journal_failure,
            unreadable: Vec::new(),
        };
        Status { at: now, daemon: Some(self.process()), journal, accounts, tokens }
    }

    fn process(&self) -> DaemonStatus {
        let last = self.reloader.last();
        let reload = last.at.map(|at| ReloadStatus {
            at,
            answer: ReloadAnswer { applied: last.problems.is_empty(), changes: last.changes, problems: last.problems },
        });
        DaemonStatus {
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started: self.started,
            inventory: self.reloader.watched().files.iter().map(|file| file.display().to_string()).collect(),
            reload,
        }
    }
}
