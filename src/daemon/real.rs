//! The rotation machine's effects on the real world.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::account::Listing;
use crate::clock::{Clock, Time};
use crate::event;
use crate::few::Few;

use crate::hook::{self, HookEvent, HookRunner};
use crate::inventory::{HookPolicy, StoreKind, StorePolicy, TemplateSlot, TokenPolicy, initial};
use crate::journal::Journal;
use crate::names::{AccountName, RotationId, StoreKey, TokenName};
use crate::outcome::{Failure, FailureCode, Outcome};
use crate::places::aside;
use crate::provider::{Gone, MintRequest, Minted, ProviderClock, Subject, Verdict};
use crate::rotation::effects::{Address, Condition, Effects, Occasion};
use crate::rotation::life::deadline;
use crate::rotation::reckoning::Reckoning;
use crate::rotation::state::Claim;
use crate::rotation::{Event, TokenState};
use crate::secret::keyring::Keyring;
use crate::secret::{Fingerprint, Fingerprinter, Secret, SecretParts, random};
use crate::store::drift::{self, Drift};
use crate::store::{self, Delivery, Erased, Found, Judge, Known, Look, Place, Receipt};

use super::hosts::{Agents, Asker};
use super::observe::{Committed, Observers};
use super::ownership::Ownership;
use super::registry::Registry;
use crate::account::member::Member;
use crate::account::pool::{Accounts, Precedence};

/// Accounts, stores and hooks for real.
#[derive(Debug)]
pub struct Real<C, J> {
    pub accounts: Arc<Accounts<C>>,
    pub tokens: Arc<Registry>,
    pub ownership: Ownership<J>,
    pub hooks: HookRunner,
    pub fingerprinter: Fingerprinter,
    pub observers: Observers<C, J>,
    pub stopping: Arc<AtomicBool>,
    pub agents: Arc<Agents>,
}

impl<C: Clock, J: Journal> Real<C, J> {
    /// What the ends of an account's generations are reckoned from, where nothing is known of a proof.
    pub fn reckoning<'a>(&self, account: &'a AccountName) -> Reckoning<'a> {
        self.observers.credentials.reckoning(account)
    }

    /// What a look at a store tells of what was delivered.
    async fn compared(&self, look: Result<Look, Failure>, delivered: &Fingerprint, known: &Known) -> Condition {
        match look {
            Ok(look) => {
                let drift = drift::compare(delivered, &look, known, &self.fingerprinter);
                match drift.sentence() {
                    Some(sentence) => Condition::Drifted { found: sentence.to_owned(), value: drift.is_value() },
                    None if drift == Drift::Untold => Condition::Hidden,
                    None => Condition::Same,
                }
            }
            Err(failure) => Condition::Unreadable(self.accounts.keyring().clean_failure(failure).await),
        }
    }

    /// The values of other tokens in a file that a template makes, as far as they have any.
    async fn others(&self, of: &TemplateSlot) -> Result<BTreeMap<String, Secret>, Failure> {
        let mut values = BTreeMap::new();
        let own = of.own().map(|own| &own.token);
        for member in of.members.iter().filter(|member| Some(&member.token) != own) {
            let Some(token) = self.tokens.get(&member.token) else { continue };
            let state = token.state();
            let Some(generation) = state.shown_to_consumers(&member.key) else { continue };
            let parts = self.observers.credentials.secret(&generation.slot(&member.token)).await?;
            let value = parts.and_then(|parts| parts.part(&member.part).cloned());
            values.extend(value.map(|value| (member.name.clone(), value)));
        }
        Ok(values)
    }

    fn member(&self, at: Address<'_>) -> Result<Arc<Member<C>>, Failure> {
        self.accounts.get(at.account).ok_or_else(|| {
            let detail = format!("the account `{}` is no longer in the inventory", at.account);
            Failure::new(FailureCode::NoCredential, detail)
        })
    }
}

/// Asks the agent of a host for a token of `$account`: awaits what `$ask` makes of who asks. Fails where this process may
/// not ask.
macro_rules! ask_host {
    ($self:ident, $account:expr, $asker:ident => $ask:expr) => {{
        let account = $account;
        match ($self.ownership.fleet(), $self.ownership.fence(account)) {
            (Some(journal), Some(fence)) => {
                let $asker = Asker { journal, fence: &fence, now: $self.accounts.now() };
                Ok(aside(Box::pin($ask)).await)
            }
            _ => Err(Failure::new(FailureCode::HostSilent, format!("this replica does not own account {account}"))),
        }
    }};
}

/// Goes on where something may be begun now; else the way out: it did not happen.
macro_rules! guard {
    ($self:ident) => {
        if let Err(failure) = $self.ownership.may_begin() {
            return Outcome::later(failure);
        }
    };
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

    async fn preflight(&self, store: &StorePolicy, known: &Known) -> Result<(), Failure> {
        if let StoreKind::Hosted(hosted) = &store.kind {
            return ask_host!(self, &hosted.account, asker => self.agents.rehearse(asker, hosted, &store.key))
                .and_then(|it| it);
        }
        let judge = Judge::of(store, None, known, &self.fingerprinter);
        match store::preflight(store, Some(judge), &self.accounts).await {
            Err(failure) => Err(self.accounts.keyring().clean_failure(failure).await),
            fine => fine,
        }
    }

    fn plan(&self, account: &AccountName) -> Option<Time> {
        self.accounts.get(account)?.client().ok()?.plan()
    }

    async fn mint(&self, at: Address<'_>, mint_request: &MintRequest) -> Outcome<Minted> {
        guard!(self);
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

    async fn accepts(&self, at: Address<'_>, subject: &Subject) -> Outcome<bool> {
        let member;
        client!(self, at => member).accepts(at.params, subject).await
    }

    async fn revoke(&self, at: Address<'_>, subject: &Subject) -> Outcome<Gone> {
        guard!(self);
        let member;
        client!(self, at => member).revoke(at.params, subject).await
    }

    async fn renew(&self, at: Address<'_>, mint_request: &MintRequest, subject: &Subject) -> Outcome<Minted> {
        guard!(self);
        let member;
        client!(self, at => member).renew(at.params, mint_request, subject).await
    }

    async fn write(&self, store: &StorePolicy, delivery: &Delivery<'_>, known: &Known) -> Outcome<Option<Receipt>> {
        guard!(self);
        if let StoreKind::Hosted(hosted) = &store.kind {
            let Some(secret) = delivery.parts.part(&store.part) else {
                let detail = format!("the secret has no part `{}`", store.part);
                return Outcome::Refused(Failure::new(FailureCode::StoreRefused, detail));
            };
            if let Err(failure) = store::check_value(store, secret) {
                return Outcome::Refused(failure);
            }
            let what = (delivery.generation, delivery.revision);
            let written =
                ask_host!(self, &hosted.account, asker => self.agents.write(asker, hosted, &store.key, what, secret));
            let written = written.unwrap_or_else(Outcome::later).map(|()| None);
            return self.accounts.keyring().clean(written).await;
        }
        let others = match store.template() {
            Some(of) => match self.others(of).await {
                Ok(others) => others,
                Err(failure) => return Outcome::later(failure),
            },
            None => BTreeMap::new(),
        };
        let delivery = Delivery { others: &others, ..*delivery };
        let written = store::write(store, &delivery, known, &self.fingerprinter, &self.accounts).await;
        self.accounts.keyring().clean(written).await
    }

    async fn inspect(&self, store: &StorePolicy, delivered: &Fingerprint, known: &Known, since: Time) -> Condition {
        if let StoreKind::Hosted(hosted) = &store.kind {
            // An operator has said that nobody waits for it.
            if self.agents.is_forgotten(&hosted.host) {
                return Condition::Hidden;
            }
            let look = ask_host!(self, &hosted.account, asker => self.agents.look(asker, hosted, &store.key))
                .and_then(|it| it);
            return self.compared(look, delivered, known).await;
        }
        let seen = store::glimpse(store, since, &self.fingerprinter, &self.accounts).await;
        match seen.map(|seen| drift::unchanged(delivered, &seen?, known)) {
            Ok(Some(Drift::Untold)) => return Condition::Hidden,
            Ok(Some(_)) => return Condition::Same,
            Ok(None) => {}
            Err(failure) => return Condition::Unreadable(self.accounts.keyring().clean_failure(failure).await),
        }
        let look = store::look(store, &self.accounts).await;
        self.compared(look, delivered, known).await
    }

    async fn erase(&self, store: &StoreKey, claim: &Claim, receipt: Option<&Receipt>) -> Outcome<Erased> {
        guard!(self);
        let Claim { place, fingerprint, .. } = claim;
        if let Place::Hosted { hosted } = place {
            let ours = |there: &Secret| self.fingerprinter.readings(there).contains(fingerprint);
            let erased = ask_host!(self, &hosted.account, asker => self.agents.erase(asker, hosted, store, ours));
            return self.accounts.keyring().clean(erased.unwrap_or_else(Outcome::later)).await;
        }
        let work = store::erase(store, place, (fingerprint, receipt), &self.fingerprinter, &self.accounts);
        let erased = work.await;
        self.accounts.keyring().clean(erased).await
    }

    async fn peek(&self, store: &StorePolicy) -> Result<Option<Secret>, Failure> {
        let look = match &store.kind {
            StoreKind::Hosted(hosted) => {
                ask_host!(self, &hosted.account, asker => self.agents.look(asker, hosted, &store.key))?
            }
            _ => store::look(store, &self.accounts).await,
        };
        Ok(match look?.found {
            Found::Value(secret) => Some(secret),
            Found::Absent | Found::Other | Found::Hidden(_) | Found::Blind => None,
        })
    }

    async fn run_hook(&self, hook: &HookPolicy, occasion: &Occasion) -> Outcome<()> {
        guard!(self);
        let Some(token) = self.tokens.get(&occasion.token) else {
            return Outcome::Refused(Failure::new(FailureCode::HookFailed, "its token is gone"));
        };
        let account = token.policy().account.name.clone();
        if let Some(host) = &hook.host {
            let run = ask_host!(self, &account, asker => self.agents.run(asker, (host, hook), &account, occasion));
            return self.accounts.keyring().clean(run.unwrap_or_else(Outcome::later)).await;
        }
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

    fn fingerprints(&self, secret: &SecretParts) -> Few<String, Fingerprint> {
        secret.iter().map(|(part, secret)| (part.to_owned(), self.fingerprinter.of(secret))).collect()
    }

    fn rotation_id(&self) -> RotationId {
        RotationId::new(random::bytes())
    }

    fn clock(&self, account: &AccountName) -> ProviderClock {
        self.accounts.get(account).map(|member| member.provider_clock()).unwrap_or_default()
    }

    fn draw(&self) -> f64 {
        random::fraction()
    }

    fn stopping(&self, account: &AccountName) -> bool {
        self.stopping.load(Ordering::Acquire) || !self.ownership.owns(account)
    }

    fn set_credential(&self, token: &TokenName, secret: &SecretParts) {
        if self.accounts.authenticate_with(token) {
            self.accounts.set_credential(token, secret.clone(), Precedence::Newest);
        }
    }

    async fn announce(&self, token: &TokenName, at: Time, event: &Event, state: &Arc<TokenState>) {
        self.observers.tell(&Committed { token, at, event, state }).await;
    }
}
