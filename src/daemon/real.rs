//! The rotation machine's effects on the real world.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::account::Listing;
use crate::clock::{Clock, Time};
use crate::event;
use crate::hook::{self, HookEvent, HookRunner};
use crate::inventory::{HookPolicy, StorePolicy, TokenPolicy, initial};
use crate::journal::Journal;
use crate::names::{AccountName, RotationId, TokenName};
use crate::outcome::{Failure, FailureCode, Outcome};
use crate::places::aside;
use crate::provider::{Gone, MintRequest, Minted, ProviderClock, Subject, Verdict};
use crate::rotation::effects::{Address, Condition, Effects, Occasion};
use crate::rotation::life::deadline;
use crate::rotation::reckoning::Reckoning;
use crate::rotation::state::Current;
use crate::rotation::steps::Tally;
use crate::rotation::{Event, TokenState};
use crate::secret::keyring::Keyring;
use crate::secret::{Fingerprint, Fingerprinter, Secret, SecretParts, random};
use crate::store::{self, drift};

use super::log_event::log_event;
use super::orphans::Accounted;
use super::registry::Registry;
use crate::account::pool::{Accounts, Member, Precedence};

/// Accounts, stores and hooks for real.
#[derive(Debug)]
pub struct Real<C, J> {
    pub accounts: Arc<Accounts<C>>,
    pub tokens: Arc<Registry>,
    pub journal: J,
    pub hooks: HookRunner,
    pub fingerprinter: Fingerprinter,
    /// What happened since the start.
    pub tally: Mutex<Tally>,
    /// Which tokens at the providers were managed lately.
    pub accounted: Accounted,
    pub stopping: Arc<AtomicBool>,
}

impl<C: Clock, J: Journal> Real<C, J> {
    /// Whether accounts that authenticate with this token had better wait for its renewal: what it is now is dead.
    pub fn awaits_renewal(&self, token: &TokenPolicy, current: &Current) -> bool {
        let account = &token.account.name;
        let Some(member) = self.accounts.get(account) else { return false };
        member.abilities.awaits_renewal(current, &self.reckoning(account))
    }

    /// What the ends of an account's generations are reckoned from, where nothing is known of a proof.
    pub fn reckoning<'a>(&self, account: &'a AccountName) -> Reckoning<'a> {
        let clock = self.accounts.get(account).map(|member| member.provider_clock()).unwrap_or_default();
        Reckoning { now: self.accounts.now(), account, clock, proof: None }
    }

    fn member(&self, at: Address<'_>) -> Result<Arc<Member<C>>, Failure> {
        self.accounts.get(at.account).ok_or_else(|| {
            let detail = format!("the account `{}` is no longer in the inventory", at.account);
            Failure::new(FailureCode::NoCredential, detail)
        })
    }
}

/// The account's client, or the way out with its failure.
macro_rules! client {
    ($self:ident, $at:ident => $member:ident) => {{
        $member = match $self.member($at) {
            Ok(member) => member,
            Err(failure) => return Outcome::Refused(failure),
        };
        match $member.client() {
            Ok(client) => client,
            Err(failure) => return Outcome::Refused(failure),
        }
    }};
}

impl<C: Clock, J: Journal + Clone> Effects for Real<C, J> {
    async fn adopt(&self, token: &TokenPolicy) -> Result<SecretParts, Failure> {
        let keyring = self.accounts.keyring();
        match initial::read_initial(token).await {
            Ok(parts) => {
                keyring.note(&format!("token {}", token.name), &self.fingerprinter.of(parts.token()), &parts);
                Ok(parts)
            }
            Err(failure) => Err(keyring.clean_failure(failure).await),
        }
    }

    async fn preflight(&self, store: &StorePolicy) -> Result<(), Failure> {
        match aside(store::preflight(store)).await {
            Err(failure) => Err(self.accounts.keyring().clean_failure(failure).await),
            fine => fine,
        }
    }

    async fn mint(&self, at: Address<'_>, mint_request: &MintRequest) -> Outcome<Minted> {
        let member;
        let outcome = client!(self, at => member).mint(at.params, mint_request).await;
        if let Outcome::Done(minted) = &outcome {
            for unread in &minted.unread {
                tracing::warn!(
                    event = event::ANSWER_UNREAD,
                    account = %at.account,
                    marker = %mint_request.marker,
                    "the answer to the mint was not understood in part: {unread}"
                );
            }
        }
        outcome
    }

    async fn list(&self, at: Address<'_>, since: Time) -> Outcome<Arc<Listing>> {
        match self.member(at) {
            Ok(member) => member.list(at.params, since).await,
            Err(failure) => Outcome::Refused(failure),
        }
    }

    async fn verify(&self, at: Address<'_>, subject: &Subject) -> Outcome<Verdict> {
        let member;
        client!(self, at => member).verify(at.params, subject).await
    }

    async fn revoke(&self, at: Address<'_>, subject: &Subject) -> Outcome<Gone> {
        let member;
        client!(self, at => member).revoke(at.params, subject).await
    }

    async fn renew(&self, at: Address<'_>, mint_request: &MintRequest, subject: &Subject) -> Outcome<Minted> {
        let member;
        client!(self, at => member).renew(at.params, mint_request, subject).await
    }

    async fn write(&self, store: &StorePolicy, secret: &Secret) -> Outcome<()> {
        let written = aside(store::write(store, secret)).await;
        self.accounts.keyring().clean(written).await
    }

    async fn inspect(&self, store: &StorePolicy, delivered: &Fingerprint) -> Condition {
        match aside(store::read(store)).await {
            Ok(held) => {
                let drift = drift::compare(delivered, held.as_ref(), &self.fingerprinter);
                drift.sentence().map_or(Condition::Same, |sentence| Condition::Drifted {
                    found: sentence.to_owned(),
                    value: drift.is_value(),
                })
            }
            Err(failure) => Condition::Unreadable(self.accounts.keyring().clean_failure(failure).await),
        }
    }

    async fn peek(&self, store: &StorePolicy) -> Result<Option<Secret>, Failure> {
        Ok(store::read(store).await?.and_then(|held| held.secret))
    }

    async fn run_hook(&self, hook: &HookPolicy, occasion: &Occasion) -> Outcome<()> {
        let Some(token) = self.tokens.get(&occasion.token) else {
            return Outcome::Refused(Failure::new(FailureCode::HookFailed, "its token is gone"));
        };
        let account = token.policy().account.name.clone();
        let deadline = deadline(&token.view().state, &self.reckoning(&account));
        let event = if occasion.rolled_back { HookEvent::RolledBack } else { HookEvent::Delivered };
        let occasion = hook::Occasion {
            token: occasion.token.clone(),
            account,
            deadline,
            rotation: occasion.rotation,
            attempt: occasion.attempt,
            event,
            secrets: Arc::<Keyring>::clone(self.accounts.keyring()),
        };
        aside(self.hooks.run(hook, occasion)).await
    }

    fn fingerprints(&self, secret: &SecretParts) -> BTreeMap<String, Fingerprint> {
        secret.iter().map(|(part, secret)| (part.to_owned(), self.fingerprinter.of(secret))).collect()
    }

    fn rotation_id(&self) -> RotationId {
        RotationId::new(random::bytes())
    }

    fn clock(&self, account: &AccountName) -> ProviderClock {
        self.accounts.get(account).map(|member| member.provider_clock()).unwrap_or_default()
    }

    fn draw(&self) -> f64 {
        f64::from(u32::from_be_bytes(random::bytes())) / (f64::from(u32::MAX) + 1.0)
    }

    fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    fn set_credential(&self, token: &TokenName, secret: &SecretParts) {
        if self.accounts.authenticate_with(token) {
            self.accounts.set_credential(token, secret.clone(), Precedence::Newest);
        }
    }

    async fn announce(&self, token: &TokenName, at: Time, event: &Event, state: &Arc<TokenState>) {
        if let Some(known) = self.tokens.get(token) {
            known.show_state(state);
            let account = &known.policy().account.name;
            self.tally.lock().unwrap_or_else(PoisonError::into_inner).note(account, token, at, event, state);
        }
        self.accounted.note(state, self.accounts.now());
        log_event(token, event, state);
        if !event.changes_credential() || !self.accounts.authenticate_with(token) {
            return;
        }
        let Some(current) = state.phase.current() else { return };
        if self.tokens.get(token).is_some_and(|token| self.awaits_renewal(&token.policy(), current)) {
            return;
        }
        match self.journal.secret(&current.generation.slot(token)).await {
            Ok(Some(secret)) => self.accounts.set_credential(token, secret, Precedence::Newest),
            Ok(None) => {}
            Err(failure) => {
                tracing::error!(
                    event = event::MANAGED_SECRET_STALE,
                    %token,
                    code = failure.code.code(),
                    error = %failure,
                    "accounts that authenticate with this token keep its old secret"
                );
            }
        }
    }
}
