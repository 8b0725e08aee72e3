//! The life of two tokens, and what is seen of the provider meanwhile.

use super::ask::{Effort, Hope, late};
use super::{Halt, Live, Trial};
use crate::clock::{Clock, Span, Time};
use crate::journal::Journal;
use crate::names::RotationId;
use crate::outcome::{Failure, FailureCode, Outcome};
use crate::provider::{Gone, MintRequest, Minted, Operation, Role, Verdict};
use crate::report::trial::{Ability, Seen};
use crate::rotation::orphan;
use crate::secret::random;
use crate::text::words;

impl<C: Clock, J: Journal> Trial<'_, C, J> {
    pub(super) async fn live(&mut self) -> Result<(), Halt> {
        self.authenticate().await?;
        let mut first = self.mint().await?;
        self.look_up(&mut first).await?;
        self.verify(&mut first).await?;
        self.renew(&mut first).await?;
        let second = self.second(&first).await?;
        self.last_used(&first).await?;
        self.end(first, second.as_ref()).await?;
        if let Some(second) = second {
            self.end(second, None).await?;
        }
        Ok(())
    }

    /// Mints a token: the intent first, then the request, then the secret into the journal.
    async fn mint(&mut self) -> Result<Live, Halt> {
        self.go_on()?;
        let chooses = self.can().chooses_lifetime;
        let lifetime = chooses.then_some(self.order.lifetime);
        let now = self.clock.now();
        let until = lifetime.and_then(|lifetime| now.checked_add_signed(lifetime + orphan::ROUNDING));
        let account = self.member.policy.name.clone();
        let rotation = RotationId::new(random::bytes());
        let mut specimen = self.notebook.intend(rotation, account, self.order.params.clone(), now, until).await?;
        self.tell(format!("minting {}", specimen.marker));
        let mint_request = MintRequest { marker: specimen.marker.clone(), lifetime };
        let mut attempts = self.attempts(self.order.patience);
        let minted = loop {
            let outcome = match self.member.client() {
                Ok(client) => client.mint(&self.order.params, &mint_request).await,
                Err(failure) => Outcome::Refused(failure),
            };
            match outcome {
                Outcome::Done(minted) => break minted,
                Outcome::Later { not_before, failure } => {
                    let waited = self.unless_stopped(self.pause(&mut attempts, not_before)).await;
                    if !matches!(waited, Ok(true)) {
                        self.note_end(&specimen).await;
                        waited?;
                        return Err(self.not_minted(failure));
                    }
                }
                Outcome::Refused(failure) => {
                    self.note_end(&specimen).await;
                    return Err(self.not_minted(failure));
                }
                // What the journal knows of it is searched for when the test ends.
                Outcome::Unknown(failure) => return Err(self.not_minted(failure)),
            }
        };
        let Minted { secret, remote, unread, rejection } = minted;
        self.keep_quiet_about(&secret);
        self.held.insert(specimen.number, secret.clone());
        let now = self.clock.now();
        self.notebook.minted(&mut specimen, remote.clone(), Some(&secret), now).await?;
        self.warnings.extend(unread.into_iter().map(|unread| format!("mint: {unread}")));
        if self.member.policy.provider.role(Operation::Mint) == Role::Account && !self.found(Ability::Authenticate) {
            self.find(Ability::Authenticate, Seen::Yes, "a mint");
        }
        if let Some(rejection) = rejection {
            return Err(self.not_minted(rejection));
        }
        self.find(Ability::Mint, Seen::Yes, "");
        match &remote.id {
            Some(id) => self.find(Ability::Id, Seen::Yes, id.as_str()),
            None if self.can().has_id => self.find(Ability::Id, Seen::No, "the answer holds none"),
            None => {}
        }
        self.see_expiry(remote.expires, "the answer to the mint");
        Ok(Live { specimen, secret })
    }

    fn not_minted(&mut self, failure: Failure) -> Halt {
        if !self.found(Ability::Mint) {
            self.find(Ability::Mint, Seen::No, failure.to_string());
        }
        Halt::Failed(failure)
    }

    pub(super) fn found(&self, ability: Ability) -> bool {
        self.findings.iter().any(|finding| finding.ability == ability && finding.seen == Seen::Yes)
    }

    pub(super) async fn ask(
        &self,
        live: &Live,
        hope: Hope,
        patience: Span,
    ) -> Result<Result<(Verdict, Effort), Failure>, Halt> {
        self.unless_stopped(self.present(&self.member, &live.specimen, &live.secret, hope, patience)).await
    }

    /// Renews a token in place, once: a renewal whose outcome is unknown is never repeated.
    async fn renew(&mut self, live: &mut Live) -> Result<(), Halt> {
        if !self.can().renews {
            return Ok(());
        }
        self.go_on()?;
        self.tell("renewing it in place");
        let lifetime = self.can().chooses_lifetime.then_some(self.order.lifetime);
        let mint_request = MintRequest { marker: live.specimen.marker.clone(), lifetime };
        let outcome = self.member.client()?.renew(&self.order.params, &mint_request, &live.subject()).await;
        let minted = match outcome {
            Outcome::Done(Minted { rejection: None, secret, remote, unread }) => {
                self.warnings.extend(unread.into_iter().map(|unread| format!("renew: {unread}")));
                (secret, remote)
            }
            Outcome::Done(Minted { rejection: Some(failure), .. })
            | Outcome::Later { failure, .. }
            | Outcome::Refused(failure)
            | Outcome::Unknown(failure) => {
                self.find(Ability::Renew, Seen::No, failure.to_string());
                return Ok(());
            }
        };
        let (secret, mut remote) = minted;
        self.keep_quiet_about(&secret);
        let before = std::mem::replace(&mut live.secret, secret.clone());
        self.held.insert(live.specimen.number, secret.clone());
        if let Some(known) = &live.specimen.remote {
            remote.id = remote.id.or_else(|| known.id.clone());
            remote.renewable_until = remote.renewable_until.or(known.renewable_until);
            let told = std::mem::replace(&mut remote.facts, known.facts.clone());
            remote.facts.extend(told);
        }
        let expires = remote.expires;
        let now = self.clock.now();
        self.notebook.renewed(&mut live.specimen, remote, &secret, now).await?;
        let until = expires.here().map(|time| format!(", expires {}", words::relative(time, now))).unwrap_or_default();
        if !self.can().verifies {
            self.find(Ability::Renew, Seen::Yes, format!("a new secret{until}"));
            return Ok(());
        }
        let (seen, evidence) = match self.ask(live, Hope::Alive, self.order.patience).await? {
            Ok((Verdict::Alive { .. }, effort)) => {
                (Seen::Yes, format!("the new secret is accepted{}{until}", late(effort)))
            }
            Ok((Verdict::Dead(failure), _)) => (Seen::No, format!("the new secret is refused: {failure}")),
            Err(failure) => (Seen::Unknown, failure.to_string()),
        };
        self.find(Ability::Renew, seen, evidence);
        // A secret from before a renewal is shown to the provider only where the definition says that it lives on.
        if seen == Seen::Yes && self.can().renewal_overlaps {
            let old = self.present(&self.member, &live.specimen, &before, Hope::Alive, Span::zero());
            if let Ok((Verdict::Dead(failure), _)) = self.unless_stopped(old).await? {
                self.find(Ability::Renew, Seen::No, format!("the secret before is refused: {failure}"));
            }
        }
        Ok(())
    }

    /// Mints another token, and sees whether both live.
    async fn second(&mut self, first: &Live) -> Result<Option<Live>, Halt> {
        let mut second = match self.mint().await {
            Ok(second) => second,
            // Unknown outcomes too: the end of the test looks for them.
            Err(Halt::Failed(failure)) => {
                self.find(Ability::Overlap, Seen::No, format!("a second mint: {failure}"));
                return if failure.code == FailureCode::Journal { Err(failure.into()) } else { Ok(None) };
            }
            Err(halt) => return Err(halt),
        };
        self.tell("looking whether both live");
        let (seen, evidence) = if self.can().verifies {
            let young = self.ask(&second, Hope::Alive, self.order.patience).await?;
            let old = self.ask(first, Hope::Alive, Span::seconds(5)).await?;
            match (young, old) {
                (Ok((Verdict::Alive { .. }, _)), Ok((Verdict::Alive { .. }, _))) => {
                    (Seen::Yes, "both are accepted".to_owned())
                }
                (Ok((Verdict::Dead(failure), _)), _) => (Seen::No, format!("the second token is refused: {failure}")),
                (_, Ok((Verdict::Dead(failure), _))) => {
                    (Seen::No, format!("the first token is refused after the second mint: {failure}"))
                }
                (Err(failure), _) | (_, Err(failure)) => (Seen::Unknown, failure.to_string()),
            }
        } else if self.can().lists {
            match self.unless_stopped(self.list(&self.member, None)).await? {
                Ok((listing, _)) => {
                    let alive = |live: &Live| {
                        let id = live.specimen.remote.as_ref().and_then(|remote| remote.id.as_ref());
                        listing.find(id, Some(live.specimen.marker.as_str())).is_some_and(|entry| !entry.dead)
                    };
                    match (alive(first), alive(&second)) {
                        (true, true) => (Seen::Yes, "both are listed".to_owned()),
                        _ => (Seen::Unknown, "not both are listed, and there is no verify to ask with".to_owned()),
                    }
                }
                Err(failure) => (Seen::Unknown, failure.to_string()),
            }
        } else {
            (Seen::Unknown, "there is neither verify nor a listing to ask with".to_owned())
        };
        self.find(Ability::Overlap, seen, evidence);
        if self.can().lists && second.specimen.remote.as_ref().is_some_and(|remote| remote.id.is_none()) {
            // A revocation may need the id that the answer to the mint did not tell.
            if let Ok((listing, _)) = self.unless_stopped(self.list(&self.member, None)).await?
                && let Some(entry) = listing.find(None, Some(second.specimen.marker.as_str()))
            {
                self.learn(&mut second, entry.remote.clone()).await?;
            }
        }
        Ok(Some(second))
    }

    /// Revokes a token, and sees whether it is dead, and `other` is not.
    async fn end(&mut self, live: Live, other: Option<&Live>) -> Result<(), Halt> {
        if !self.can().revokes {
            return Ok(());
        }
        self.go_on()?;
        self.tell(format!("revoking {}", live.specimen.marker));
        let revoked = self.clock.now();
        match self.revoke(&self.member, &live.specimen).await {
            Ok((gone, effort)) => self.see_revoked(gone, effort),
            Err(failure) => {
                self.find(Ability::Revoke, Seen::No, failure.to_string());
                return Ok(());
            }
        }
        if !self.can().verifies {
            self.note_end(&live.specimen).await;
            return Ok(());
        }
        self.tell("looking whether it is refused now");
        match self.ask(&live, Hope::Dead, self.order.patience).await? {
            Ok((Verdict::Dead(_), _)) => {
                self.note_end(&live.specimen).await;
                if !self.refuted(Ability::Dead) {
                    let evidence = format!("refused {}", after(revoked, self.clock.now()));
                    self.find(Ability::Dead, Seen::Yes, evidence);
                }
            }
            Ok((Verdict::Alive { .. }, Effort { took, .. })) => {
                let evidence = format!("still accepted {} after its revocation", words::span(took));
                self.find(Ability::Dead, Seen::No, evidence);
            }
            Err(failure) => self.find(Ability::Dead, Seen::Unknown, failure.to_string()),
        }
        let Some(other) = other.filter(|_| self.found(Ability::Overlap)) else { return Ok(()) };
        let asked = self.ask(other, Hope::Alive, Span::seconds(5)).await?;
        if let Ok((Verdict::Dead(_), _)) = asked {
            self.find(Ability::Revoke, Seen::No, "the revocation of the first token killed the second, too");
        }
        Ok(())
    }

    fn see_revoked(&mut self, gone: Gone, effort: Effort) {
        if self.refuted(Ability::Revoke) {
            return;
        }
        match gone {
            // An earlier attempt of unknown outcome may have done it.
            Gone::Already | Gone::Unproven if effort.attempts == 1 && self.found(Ability::Overlap) => {
                self.find(Ability::Revoke, Seen::No, "the provider says that it does not know a token that lives");
            }
            Gone::Revoked | Gone::Already | Gone::Unproven => {
                let evidence = match effort.attempts {
                    1 => "at once".to_owned(),
                    attempts => format!("at attempt {attempts}"),
                };
                self.find(Ability::Revoke, Seen::Yes, evidence);
            }
        }
    }

    /// Whether it was seen not to hold: what comes later does not make up for it.
    fn refuted(&self, ability: Ability) -> bool {
        self.findings.iter().any(|finding| finding.ability == ability && finding.seen == Seen::No)
    }
}

fn after(since: Time, now: Time) -> String {
    match (now - since).num_seconds() {
        ..1 => "at once".to_owned(),
        _ => format!("after {}", words::span(now - since)),
    }
}
