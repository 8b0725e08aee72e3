//! Checks without any effect: whether the account's credential is accepted, what listings show, what verify says.

use std::collections::BTreeMap;

use super::ask::{Hope, late};
use super::{Halt, Live, Trial};
use crate::clock::{Clock, Span};
use crate::journal::Journal;
use crate::provider::{Expiry, Operation, Remote, Role, Verdict};
use crate::report::trial::{Ability, Seen};
use crate::text::words;

/// How long a use may take to show up in a listing. Some providers note uses once a day: waiting would not help.
const USE_SHOWS: Span = Span::seconds(10);

impl<C: Clock, J: Journal> Trial<'_, C, J> {
    /// Sees by a listing whether the account's credential is accepted. Where nothing is listed, the mint tells.
    pub(super) async fn authenticate(&mut self) -> Result<(), Halt> {
        if !self.can().lists || self.member.policy.provider.role(Operation::List) != Role::Account {
            return Ok(());
        }
        self.tell("authenticating: listing what is there");
        match self.unless_stopped(self.list(&self.member, None)).await? {
            Ok((listing, _)) => {
                let entries = words::count(listing.entries().len(), "token");
                self.find(Ability::Authenticate, Seen::Yes, format!("a listing of {entries}"));
                Ok(())
            }
            Err(failure) => {
                self.find(Ability::Authenticate, Seen::No, failure.to_string());
                Err(failure.into())
            }
        }
    }

    /// Takes note of an expiry, the first that somebody tells.
    pub(super) fn see_expiry(&mut self, expires: Expiry, teller: &str) {
        if self.found(Ability::Expiry) {
            return;
        }
        let asked = if self.can().chooses_lifetime {
            format!(", {} was asked for", words::span(self.order.lifetime))
        } else {
            String::new()
        };
        let now = self.clock.now();
        match expires {
            Expiry::At(moment) => {
                let time = moment.here();
                let evidence = format!("{teller}: {}{asked}", words::relative(time, now));
                self.find(Ability::Expiry, Seen::Yes, evidence);
            }
            Expiry::Never => self.find(Ability::Expiry, Seen::Yes, format!("{teller}: never{asked}")),
            Expiry::Unknown if self.can().expiry_known => self.find(Ability::Expiry, Seen::No, "no answer tells"),
            Expiry::Unknown => {}
        }
    }

    /// Looks for a new token in listings.
    pub(super) async fn look_up(&mut self, live: &mut Live) -> Result<(), Halt> {
        if !self.can().lists {
            return Ok(());
        }
        self.tell("looking for it in the listing");
        let mut attempts = self.attempts(self.order.patience);
        let (listing, entry) = loop {
            let (listing, _) = match self.unless_stopped(self.list(&self.member, None)).await? {
                Ok(listed) => listed,
                Err(failure) => {
                    self.find(Ability::Listing, Seen::No, failure.to_string());
                    return Ok(());
                }
            };
            let id = live.specimen.remote.as_ref().and_then(|remote| remote.id.as_ref());
            let entry = listing.find(id, Some(live.specimen.marker.as_str())).cloned();
            if entry.is_some() || !self.unless_stopped(self.pause(&mut attempts, None)).await? {
                break (listing, entry);
            }
        };
        let count = words::count(listing.entries().len(), "token");
        let Some(entry) = entry else {
            let seen = if listing.is_complete() { Seen::No } else { Seen::Unknown };
            self.find(Ability::Listing, seen, format!("not among {count}"));
            return Ok(());
        };
        let effort = attempts.effort(self.clock.now());
        self.find(Ability::Listing, Seen::Yes, format!("one of {count}{}", late(effort)));
        let marked = listing.named(live.specimen.marker.as_str()).next().is_some();
        if self.can().marks {
            let (seen, evidence) = match (marked, &entry.name) {
                (true, _) => (Seen::Yes, live.specimen.marker.to_string()),
                (false, Some(name)) => (Seen::No, format!("the listing calls it \"{name}\"")),
                (false, None) => (Seen::No, "the listing gives it no name".to_owned()),
            };
            self.find(Ability::Marker, seen, evidence);
        }
        if entry.dead {
            self.warnings
                .push("the listing shows the new token as dead: `dead` in [list.item] may be wrong".to_owned());
        }
        self.see_expiry(entry.remote.expires, "the listing");
        self.learn(live, entry.remote).await
    }

    /// Keeps what an answer tells of a token that was not known.
    pub(super) async fn learn(&mut self, live: &mut Live, told: Remote) -> Result<(), Halt> {
        let Some(known) = live.specimen.remote.clone() else { return Ok(()) };
        let mut remote = known.clone();
        remote.id = remote.id.or(told.id);
        if remote.expires == Expiry::Unknown {
            remote.expires = told.expires;
        }
        if remote != known {
            let now = self.clock.now();
            self.notebook.minted(&mut live.specimen, remote, None, now).await?;
        }
        Ok(())
    }

    /// Sees whether the provider accepts a new token.
    pub(super) async fn verify(&mut self, live: &mut Live) -> Result<(), Halt> {
        if !self.can().verifies {
            return Ok(());
        }
        self.tell("verifying it");
        // Where a definition says how long a new token takes, asking earlier may be held against it.
        let ready = self.clock.now() + self.member.policy.provider.verify_settle();
        self.unless_stopped(async {
            while self.clock.now() < ready {
                self.clock.wait_until(ready).await;
            }
        })
        .await?;
        match self.ask(live, Hope::Alive, self.order.patience).await? {
            Ok((Verdict::Alive { id, expires }, effort)) => {
                self.find(Ability::Verify, Seen::Yes, format!("accepted{}", late(effort)));
                let expires = expires.unwrap_or(Expiry::Unknown);
                self.see_expiry(expires, "the answer to verify");
                let told = Remote { id, expires, refresh_expires: None, renewable_until: None, facts: BTreeMap::new() };
                self.learn(live, told).await
            }
            Ok((Verdict::Dead(failure), _)) => {
                self.find(Ability::Verify, Seen::No, format!("the new token is refused: {failure}"));
                Ok(())
            }
            Err(failure) => {
                self.find(Ability::Verify, Seen::No, failure.to_string());
                Ok(())
            }
        }
    }

    /// Sees whether listings tell of the use that was made of the first token.
    pub(super) async fn last_used(&mut self, live: &Live) -> Result<(), Halt> {
        if !(self.can().lists && self.can().last_used) {
            return Ok(());
        }
        let mut attempts = self.attempts(USE_SHOWS.min(self.order.patience));
        loop {
            let listing = match self.unless_stopped(self.list(&self.member, None)).await? {
                Ok((listing, _)) => listing,
                Err(failure) => {
                    self.find(Ability::LastUsed, Seen::Unknown, failure.to_string());
                    return Ok(());
                }
            };
            let id = live.specimen.remote.as_ref().and_then(|remote| remote.id.as_ref());
            let entry = listing.find(id, Some(live.specimen.marker.as_str()));
            if let Some(used) = entry.and_then(|entry| entry.last_used) {
                let when = words::relative(used.here(), self.clock.now());
                self.find(Ability::LastUsed, Seen::Yes, format!("the first token: {when}"));
                return Ok(());
            }
            if !self.unless_stopped(self.pause(&mut attempts, None)).await? {
                let others = listing.entries().iter().filter(|entry| entry.last_used.is_some()).count();
                let (seen, evidence) = match others {
                    0 => (Seen::Unknown, "not shown within 10s of the use".to_owned()),
                    _ => (Seen::Yes, format!("of {}, not of the first yet", words::count(others, "token"))),
                };
                self.find(Ability::LastUsed, seen, evidence);
                return Ok(());
            }
        }
    }
}
