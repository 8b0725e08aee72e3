//! The seam between the rotation machine and the world: everything that a rotation does besides journaling.
//!
//! Two implementations: the real one of the daemon, and a simulated world in tests.

use std::future::Future;
use std::sync::Arc;

use crate::account::Listing;
use crate::clock::Time;
use crate::few::Few;
use crate::inventory::{HookPolicy, StorePolicy, TokenPolicy};
use crate::names::{AccountName, RotationId, StoreKey, TokenName};
use crate::outcome::{Failure, Outcome};
use crate::provider::{Gone, MintRequest, Minted, Params, ProviderClock, Subject, Verdict};
use crate::secret::{Fingerprint, Secret, SecretParts};
use crate::store::{Delivery, Erased, Known, Receipt};

use super::event::Event;
use super::state::{Claim, TokenState};

/// Whom a request is about: an account, with the parameters of one token.
#[derive(Clone, Copy, Debug)]
pub struct Address<'a> {
    pub account: &'a AccountName,
    pub params: &'a Params,
}

/// What a hook is run for.
#[derive(Clone, Debug)]
pub struct Occasion {
    pub token: TokenName,
    /// The idempotency key: the same for every attempt.
    pub rotation: RotationId,
    pub attempt: u32,
    pub rolled_back: bool,
}

/// What a store holds, compared with what was delivered last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// What was delivered.
    Same,
    /// Something else; in words that complete "the store …". `value`: consumers may have read another value.
    Drifted { found: String, value: bool },
    /// It never tells what it holds, and nothing says that somebody else wrote to it since: the receipt of the write counts.
    Hidden,
    /// Nobody can tell now.
    Unreadable(Failure),
}

/// Everything that a rotation does to the world.
pub trait Effects: Send + Sync + 'static {
    /// The secret to adopt as generation 0.
    fn adopt(&self, token: &TokenPolicy) -> impl Future<Output = Result<SecretParts, Failure>> + Send;

    /// Tests that a store can be written, changing nothing.
    fn preflight(&self, store: &StorePolicy, known: &Known) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Not before this may a mint or a renewal be intended, by the account's own rate limit. None: now. Nothing is asked.
    fn plan(&self, _account: &AccountName) -> Option<Time> {
        None
    }

    /// Asks for a new token.
    fn mint(&self, at: Address<'_>, mint_request: &MintRequest) -> impl Future<Output = Outcome<Minted>> + Send;

    /// A listing that was begun at `since` or later; one serves every token of the account that waits for it.
    fn list(&self, at: Address<'_>, since: Time) -> impl Future<Output = Outcome<Arc<Listing>>> + Send;

    /// Asks whether the provider accepts the subject's secret.
    fn verify(&self, at: Address<'_>, subject: &Subject) -> impl Future<Output = Outcome<Verdict>> + Send;

    /// The same, where a refusal is all that is wanted and nobody reads its words.
    fn accepts(&self, at: Address<'_>, subject: &Subject) -> impl Future<Output = Outcome<bool>> + Send;

    /// Takes a token back.
    fn revoke(&self, at: Address<'_>, subject: &Subject) -> impl Future<Output = Outcome<Gone>> + Send;

    /// Renews a token in place.
    fn renew(
        &self,
        at: Address<'_>,
        mint_request: &MintRequest,
        subject: &Subject,
    ) -> impl Future<Output = Outcome<Minted>> + Send;

    /// Writes a secret to a store and reads it back, where the store lets itself be read.
    fn write(
        &self,
        store: &StorePolicy,
        delivery: &Delivery<'_>,
        known: &Known,
    ) -> impl Future<Output = Outcome<Option<Receipt>>> + Send;

    /// Compares what a store holds, or held at `since`, with what was delivered.
    fn inspect(
        &self,
        store: &StorePolicy,
        delivered: &Fingerprint,
        known: &Known,
        since: Time,
    ) -> impl Future<Output = Condition> + Send;

    /// Takes what was delivered out of a store that left the inventory, where it is there still.
    fn erase(
        &self,
        store: &StoreKey,
        claim: &Claim,
        receipt: Option<&Receipt>,
    ) -> impl Future<Output = Outcome<Erased>> + Send;

    /// The secret that a store holds. None: it holds nothing, or nothing that could be one, or does not tell.
    fn peek(&self, store: &StorePolicy) -> impl Future<Output = Result<Option<Secret>, Failure>> + Send;

    /// Runs a hook.
    fn run_hook(&self, hook: &HookPolicy, occasion: &Occasion) -> impl Future<Output = Outcome<()>> + Send;

    /// Fingerprints of the parts of a secret.
    fn fingerprints(&self, secret: &SecretParts) -> Few<String, Fingerprint>;

    /// A new rotation id.
    fn rotation_id(&self) -> RotationId;

    /// The clock of an account, as its answers have shown it so far.
    fn clock(&self, account: &AccountName) -> ProviderClock;

    /// A number in `[0, 1)`, for backoff.
    fn draw(&self) -> f64;

    /// Whether the process is about to stop, or the account is another's from now on: nothing new is begun, what was begun
    /// is brought to its next record.
    fn stopping(&self, _account: &AccountName) -> bool {
        false
    }

    /// Lets accounts that authenticate with `token` try `secret`, which is not current: what they had does not work.
    fn set_credential(&self, token: &TokenName, secret: &SecretParts);

    /// Tells that `event` happened at `at` and is durable; `state` is what it led to. Returns once whoever
    /// authenticates with this token uses its new secret.
    fn announce(
        &self,
        token: &TokenName,
        at: Time,
        event: &Event,
        state: &Arc<TokenState>,
    ) -> impl Future<Output = ()> + Send;
}
