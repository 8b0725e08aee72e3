//! Revokes what tests minted: this one, and earlier ones that were killed or failed to.

use super::ask::{Effort, Hope};
use super::notebook::Specimen;
use super::{Halt, Trial};
use crate::account::member::Member;
use crate::clock::{Clock, Span};
use crate::journal::Journal;
use crate::outcome::{Failure, FailureCode};
use crate::provider::{Gone, Remote, Verdict};
use crate::report::trial::Left;
use crate::rotation::orphan;
use crate::secret::SecretParts;

/// The provider's clock may be behind: a token is taken for expired this long after its expiry.
const MARGIN: Span = Span::hours(1);

/// What became of a token.
enum Fate {
    /// It is over.
    Gone,
    /// It did not show up, and will be looked for again.
    Missing,
    /// The provider has no way to take it back.
    Never,
    /// It may be alive.
    NotYet(String),
}

/// The result of the search for the orphan of a mint.
enum Search {
    Found(Remote),
    Missing,
    Failed(Failure),
}

impl<C: Clock, J: Journal> Trial<'_, C, J> {
    /// Takes back what earlier tests left.
    pub(super) async fn sweep(&mut self) {
        for specimen in self.notebook.specimens().to_vec() {
            if self.go_on().is_err() {
                return;
            }
            let marker = specimen.marker.to_string();
            self.tell(format!("an earlier test left {marker}: taking it back"));
            if let Some(secret) = self.notebook.secret(&specimen).await {
                self.keep_quiet_about(&secret);
            }
            self.given_up.insert(specimen.number);
            if self.settle(specimen).await {
                self.cleaned.push(marker);
            }
        }
    }

    /// Takes back everything that this test minted and that is not over yet.
    pub(super) async fn take_back_all(&mut self) {
        for specimen in self.notebook.specimens().to_vec() {
            if !self.given_up.contains(&specimen.number) {
                self.tell(format!("taking back {}", specimen.marker));
                self.settle(specimen).await;
            }
        }
    }

    /// Takes one token back, and notes what became of it. True where it is over.
    async fn settle(&mut self, mut specimen: Specimen) -> bool {
        let (why, unavoidable) = match self.take_back(&mut specimen).await {
            Fate::Gone => {
                self.note_end(&specimen).await;
                return true;
            }
            Fate::Missing => {
                self.warnings.push(format!(
                    "the answer to the mint of {} was lost and the token did not show up: the next test looks again",
                    specimen.marker
                ));
                return false;
            }
            Fate::Never => ("the definition has no way to revoke it".to_owned(), true),
            Fate::NotYet(why) => (why, false),
        };
        self.tell(format!("{} may still be alive: {why}", specimen.marker));
        self.left.push(Left {
            account: specimen.account.clone(),
            marker: specimen.marker.to_string(),
            id: specimen.remote.as_ref().and_then(|remote| remote.id.clone()),
            expires: specimen.end(),
            why,
            unavoidable,
        });
        false
    }

    async fn take_back(&mut self, specimen: &mut Specimen) -> Fate {
        if specimen.end().is_some_and(|end| self.clock.now() - MARGIN > end) {
            return Fate::Gone;
        }
        let Some(member) = self.accounts.get(&specimen.account) else {
            return Fate::NotYet(format!("the account {} is no longer in the inventory", specimen.account));
        };
        let can = member.abilities.can;
        // A listing may know the id that the answer to the mint did not tell.
        let lacks_id = specimen.remote.as_ref().is_none_or(|remote| remote.id.is_none());
        if specimen.remote.is_none() || lacks_id && can.lists && can.marks {
            match self.search(&member, specimen).await {
                Search::Found(found) => {
                    let remote = match specimen.remote.take() {
                        Some(known) => Remote { id: found.id, ..known },
                        None => found,
                    };
                    let now = self.clock.now();
                    if let Err(failure) = self.notebook.minted(specimen, remote, None, now).await {
                        self.warnings.push(failure.to_string());
                    }
                }
                Search::Missing | Search::Failed(_) if specimen.remote.is_some() => {}
                Search::Missing if self.clock.now() > specimen.at + orphan::MEMORY => return Fate::Gone,
                Search::Missing => return Fate::Missing,
                Search::Failed(failure) => {
                    return Fate::NotYet(format!("whether it exists is unknown: {failure}"));
                }
            }
        }
        if !can.revokes {
            return Fate::Never;
        }
        if let Err(failure) = self.revoke(&member, specimen).await {
            return Fate::NotYet(failure.to_string());
        }
        let secret = self.secret(specimen).await.filter(|_| can.verifies);
        let Some(secret) = secret else { return Fate::Gone };
        match self.present(&member, specimen, &secret, Hope::Dead, self.order.patience).await {
            Ok((Verdict::Alive { .. }, _)) => Fate::NotYet("it is still accepted after its revocation".to_owned()),
            // A provider that cannot be asked acknowledged the revocation, at least.
            Ok((Verdict::Dead(_), _)) | Err(_) => Fate::Gone,
        }
    }

    /// Looks for a token by its marker, until it would have shown up.
    async fn search(&self, member: &Member<C>, specimen: &Specimen) -> Search {
        let can = member.abilities.can;
        if !(can.lists && can.marks) {
            let why = "no listing shows markers";
            return Search::Failed(Failure::new(FailureCode::NoOperation, why));
        }
        let timeouts = member.policy.endpoint.timeouts;
        let slowest = Span::from_std(timeouts.connect + timeouts.headers + timeouts.body).unwrap_or(Span::minutes(5));
        let sent = (specimen.at + slowest).min(self.clock.now());
        // A token that is known to exist need not settle.
        let settle = if specimen.remote.is_none() { member.abilities.settle } else { Span::zero() };
        let mut attempts = self.attempts(settle + Span::minutes(1));
        loop {
            let listing = match self.list(member, Some(specimen)).await {
                Ok((listing, _)) => listing,
                Err(failure) => return Search::Failed(failure),
            };
            if let Some(entry) = listing.find(None, Some(specimen.marker.as_str())) {
                return Search::Found(entry.remote.clone());
            }
            if !listing.is_complete() {
                let why = "the provider lists more tokens than are read";
                return Search::Failed(Failure::new(FailureCode::TooLarge, why));
            }
            if listing.at() >= sent + settle || !self.pause(&mut attempts, None).await {
                return Search::Missing;
            }
        }
    }

    /// Revokes a token at the account that minted it.
    pub(super) async fn revoke(&self, member: &Member<C>, specimen: &Specimen) -> Result<(Gone, Effort), Failure> {
        let client = member.client()?;
        let secret = if member.abilities.revokes_self { self.secret(specimen).await } else { None };
        let subject = specimen.subject(secret);
        self.persist(async || client.revoke(&specimen.params, &subject).await).await
    }

    async fn secret(&self, specimen: &Specimen) -> Option<SecretParts> {
        match self.held.get(&specimen.number) {
            Some(secret) => Some(secret.clone()),
            None => self.notebook.secret(specimen).await,
        }
    }

    /// Notes that a token is over. That the journal cannot be written is no reason to stop cleaning up.
    pub(super) async fn note_end(&mut self, specimen: &Specimen) {
        self.held.remove(&specimen.number);
        let now = self.clock.now();
        if let Err(failure) = self.notebook.ended(specimen, now).await {
            self.warnings.push(format!("{}: {failure}", self.notebook.place().display()));
        }
    }
}

impl From<Failure> for Halt {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}
