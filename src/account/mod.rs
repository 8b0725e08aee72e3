//! One provider at one address with one credential: rate limits, TLS, health and listings belong to it.
//!
//! Every request that patrold sends to a provider leaves through the one private `send` below, so limits hold for
//! all of them together. What is decided is decided in pure parts ([`limit`], [`skew`], [`health`], and the definition
//! that renders and reads); this shell connects them with a socket and a clock.

pub mod credential;
pub mod endpoint;
pub mod health;
pub mod limit;
pub mod limits;
pub mod observe;
pub mod skew;
pub mod traffic;
pub mod urgency;

mod client;
mod gate;
pub mod pool;
mod probe;
mod session;
mod slots;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use self::client::{Exchange, HttpClient};
use self::credential::{CredentialCache, Presented};
use self::endpoint::{Bounds, Endpoint, EndpointKey};
use self::health::{Event, Record};
use self::limits::Limits;
use self::traffic::{Ending, Errand, Traffic};
use crate::clock::{Clock, Span, Time};
use crate::inventory::AccountPolicy;
use crate::outcome::{Failure, FailureCode, Outcome, Told};
use crate::provider::{
    Candidate, Cursor, Gone, MintRequest, Minted, Operation, Params, Provider, ProviderClock, Received, Request,
    Response, Role, Subject, Values, Verdict,
};
use crate::secret::keyring::Keyring;
use crate::secret::redact::Secrets as _;
use crate::secret::{Fingerprinter, SecretParts, random};
use crate::trust::{TrustError, TrustRoots};

pub use self::health::{AccountHealth, AccountState, FailureAt};
pub use self::observe::Listing;
pub use self::probe::Proof;

/// How long a caller is held for its turn. Who would have to wait longer is told when to come back instead.
const PATIENCE: Span = Span::seconds(5);

/// Why an account cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// The credential is a managed token and nobody supplies it.
    #[error("the credential is the token `{0}`, which nobody supplies")]
    NotManaged(crate::names::TokenName),
    /// The system has no random numbers.
    #[error("the system has no random numbers")]
    Random,
}

/// A handle on one account. Clones share everything.
pub struct Account<C>(Arc<Inner<C>>);

struct Inner<C> {
    policy: Arc<AccountPolicy>,
    clock: C,
    client: HttpClient,
    keyring: Arc<Keyring>,
    endpoint: Arc<Endpoint>,
    standing: Arc<Mutex<Standing>>,
}

/// How the account has fared at its endpoint.
#[derive(Debug, Default)]
struct Standing {
    record: Record,
    traffic: Traffic,
    /// What the provider said last of the requests that it still takes.
    allowance: Option<u64>,
}

/// What endpoints are made with.
#[derive(Clone, Debug)]
pub struct Workshop {
    fingerprinter: Fingerprinter,
    limits: Arc<Limits>,
}

impl Workshop {
    /// Endpoints whose limits are those of `limits`, under names that `fingerprinter` makes.
    pub fn new(fingerprinter: Fingerprinter, limits: Arc<Limits>) -> Self {
        Self { fingerprinter, limits }
    }

    /// Endpoints whose limits end with the process.
    pub fn forgetful() -> Result<Self, AccountError> {
        let mut key = [0; 32];
        random::fill(&mut key).map_err(|_| AccountError::Random)?;
        Ok(Self::new(Fingerprinter::new(&key), Limits::forgetful()))
    }

    /// The limits of all endpoints.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The endpoint of `policy`, held to `bounds`.
    ///
    /// `managed` carries the latest secret of the managed token that the credential refers to; every request uses what
    /// it holds at that moment, so a rotation of that token leaves no gap.
    pub fn endpoint(
        &self,
        policy: &AccountPolicy,
        bounds: Bounds,
        managed: Option<watch::Receiver<Option<Arc<SecretParts>>>>,
        now: Time,
    ) -> Result<Arc<Endpoint>, AccountError> {
        let credential = CredentialCache::new(&policy.credential, managed, self.fingerprinter.clone());
        let credential = credential.map_err(AccountError::NotManaged)?;
        let (key, limits) = (EndpointKey::of(policy), Arc::clone(&self.limits));
        Ok(Arc::new(Endpoint::new(key, bounds, credential, &self.fingerprinter, limits, now)))
    }
}

/// One request, before anything is known of credentials and times.
#[derive(Clone, Copy)]
struct Job<'a> {
    operation: Operation,
    params: &'a Params,
    mint_request: Option<&'a MintRequest>,
    subject: Option<&'a Subject>,
    page: Option<&'a Cursor>,
    /// A definition with another request for the operation than the account's.
    step: Option<&'a Provider>,
    /// The latest time at which it may leave.
    latest: Time,
}

impl<C> Clone for Account<C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<C> fmt::Debug for Account<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account").field("name", &self.0.policy.name).finish_non_exhaustive()
    }
}

impl<C> Account<C> {
    /// Where its requests go.
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.0.endpoint
    }
}

impl<C: Clock> Account<C> {
    /// An account at `endpoint` that has sent nothing yet. `roots`: what its server may prove itself with; None where it
    /// has to prove nothing.
    pub fn new(
        policy: Arc<AccountPolicy>,
        clock: C,
        endpoint: Arc<Endpoint>,
        keyring: Arc<Keyring>,
        roots: Option<&Result<TrustRoots, TrustError>>,
    ) -> Self {
        let mut standing = Standing::default();
        if let Some(failure) = endpoint.refused() {
            standing.record.note(&Event::AccountFailed(&failure), clock.now());
        }
        let client = HttpClient::new(&policy, roots);
        Self(Arc::new(Inner { client, keyring, endpoint, clock, policy, standing: Arc::new(Mutex::new(standing)) }))
    }

    /// The same account, at the same endpoint, as the inventory has it now.
    #[must_use]
    pub fn changed(&self, policy: Arc<AccountPolicy>, roots: Option<&Result<TrustRoots, TrustError>>) -> Self {
        let Inner { clock, endpoint, standing, .. } = &*self.0;
        Self(Arc::new(Inner {
            client: HttpClient::new(&policy, roots),
            keyring: Arc::clone(&self.0.keyring),
            endpoint: Arc::clone(endpoint),
            clock: clock.clone(),
            policy,
            standing: Arc::clone(standing),
        }))
    }

    /// What the inventory says of the account.
    pub fn policy(&self) -> &Arc<AccountPolicy> {
        &self.0.policy
    }

    /// How the account fares now.
    pub fn health(&self) -> AccountHealth {
        let now = self.0.clock.now();
        let (state, standing) = (self.0.endpoint.state(), self.standing());
        AccountHealth {
            state: standing.record.state.clone(),
            skew: state.skew.span(),
            skew_is_worrying: state.skew.is_worrying(),
            blocked_until: state.limiter.blocked_until(now),
            last_success: standing.record.last_success,
            last_failure: standing.record.last_failure.clone(),
            requests: standing.record.requests,
            quota_left: state.limiter.left(now),
            allowance: standing.allowance,
        }
    }

    /// What was asked of the provider so far.
    pub fn traffic(&self) -> Traffic {
        self.standing().traffic.clone()
    }

    /// The provider's clock, as its answers show it.
    pub fn clock(&self) -> ProviderClock {
        let state = self.0.endpoint.state();
        match state.skew.span() {
            Some(skew) => ProviderClock::seen(skew),
            None if state.answered => ProviderClock::Silent,
            None => ProviderClock::Unseen,
        }
    }

    /// Now, as the provider judges moments that are sent to it, and whether that is by our own clock.
    ///
    /// Law: what is sent goes by the same clock as what is decided. A `Date` header may be a proxy's: where the provider
    /// refuses what was sent by it, our own clock has its turn.
    fn provider_now(&self) -> (Time, bool) {
        let now = self.0.clock.now();
        let clock = self.clock();
        let ours = self.0.endpoint.state().by_ours || clock.skew().is_none();
        (if ours { now } else { clock.there(now) }, ours)
    }

    /// Takes note of a refusal that may be due to the clock that moments were sent by. True where another one will be used
    /// from now on for what the credential signs: that the credential itself is refused is not said then.
    fn doubt_clock(&self, operation: Operation, ours: bool, failure: &Failure) -> bool {
        let makes = matches!(operation, Operation::Mint | Operation::Renew) && failure.code == FailureCode::Rejected;
        let unauthorized = failure.code == FailureCode::Unauthorized;
        let mut state = self.0.endpoint.state();
        if !state.skew.is_worrying() || !(makes || unauthorized) {
            return false;
        }
        let before = std::mem::replace(&mut state.by_ours, !ours);
        // Each clock has one turn before the refusal counts.
        unauthorized && ours && !before && self.0.policy.provider.signs()
    }

    /// When the account last answered again after it had not, or had asked for patience.
    pub fn recovered(&self) -> Option<Time> {
        self.0.endpoint.state().outage.ended
    }

    /// Asks for a new token. `Unknown` where the request may have arrived without a usable answer coming back.
    pub async fn mint(&self, params: &Params, mint_request: &MintRequest) -> Outcome<Minted> {
        let job = Job { mint_request: Some(mint_request), ..self.job(Operation::Mint, params) };
        self.send(job, Provider::read_mint).await
    }

    /// Presents the secret of `subject` to the provider and asks what it thinks of it.
    pub async fn verify(&self, params: &Params, subject: &Subject) -> Outcome<Verdict> {
        if subject.secret.is_none() {
            return Outcome::Refused(Failure::new(FailureCode::SecretUnreadable, "there is no secret to present"));
        }
        let job = Job { subject: Some(subject), ..self.job(Operation::Verify, params) };
        self.send(job, |provider, values, response, received| {
            // Where the account asks about the token, its own credential being refused says nothing of the token.
            if response.status == 401 && provider.role(Operation::Verify) == Role::Account {
                return Outcome::Refused(Failure::new(FailureCode::Unauthorized, "HTTP 401"));
            }
            provider.read_verify(values, response, received)
        })
        .await
    }

    /// Takes back the token `subject`. Doing it twice does no harm, so an unclear end is `Later`.
    pub async fn revoke(&self, params: &Params, subject: &Subject) -> Outcome<Gone> {
        for step in self.0.policy.provider.before_revocation() {
            let job = Job { subject: Some(subject), step: Some(&step), ..self.job(Operation::Revoke, params) };
            match self.send(job, Provider::read_revoke).await {
                // A step that is refused may have been done before: what comes of it, the last request tells.
                Outcome::Done(_) => {}
                Outcome::Refused(Failure { code, .. }) if !gate::refuses_credential(code) => {}
                not_yet => return not_yet,
            }
        }
        let job = Job { subject: Some(subject), ..self.job(Operation::Revoke, params) };
        self.send(job, Provider::read_revoke).await
    }

    /// Extends the token `subject` in place. As dangerous as a mint: what it is given may be used up by it.
    pub async fn renew(&self, params: &Params, mint_request: &MintRequest, subject: &Subject) -> Outcome<Minted> {
        let job =
            Job { mint_request: Some(mint_request), subject: Some(subject), ..self.job(Operation::Renew, params) };
        self.send(job, Provider::read_renew).await
    }

    /// Asks which values the parameter `param` may have: what an operator would have to look up otherwise.
    pub async fn discover(&self, params: &Params, param: &str) -> Outcome<Vec<Candidate>> {
        let provider = &self.0.policy.provider;
        let Some(step) = provider.discovering(param) else {
            return Outcome::Refused(Failure::new(FailureCode::NoOperation, ""));
        };
        let job = Job { step: Some(&step), ..self.job(Operation::List, params) };
        self.send(job, |provider, values, response, received| {
            provider.read_candidates(param, values, response, received)
        })
        .await
    }

    fn job<'a>(&self, operation: Operation, params: &'a Params) -> Job<'a> {
        let latest = self.0.clock.now() + PATIENCE;
        Job { operation, params, mint_request: None, subject: None, page: None, step: None, latest }
    }

    /// Sends one request, once, when its turn has come, and reads the answer with `read`.
    async fn send<T>(
        &self,
        job: Job<'_>,
        read: impl Fn(&Provider, &Values<'_>, &Response, Received) -> Outcome<T>,
    ) -> Outcome<T>
    where
        T: Told,
    {
        let Inner { policy, clock, endpoint, .. } = &*self.0;
        let provider = job.step.unwrap_or(&policy.provider);
        if !provider.has(job.operation) {
            return Outcome::Refused(Failure::new(FailureCode::NoOperation, ""));
        }
        let presented = match provider.role(job.operation) {
            Role::Subject | Role::Nobody => None,
            Role::Account => match endpoint.credential.present(clock.now()).await {
                Ok(presented) if provider.logs_in() => match self.log_in(job, presented).await {
                    Ok(session) => Some(session),
                    Err(outcome) => return outcome,
                },
                Ok(presented) => Some(presented),
                Err(failure) => return self.unpresentable(failure).await,
            },
        };
        if let Some(Presented { fingerprint, identity, .. }) = &presented {
            self.0.keyring.note(policy.name.as_str(), fingerprint, &identity.secret);
        }
        let _slot = match self.turn(job.latest, presented.as_ref()).await {
            Ok(slot) => slot,
            Err(later) => return later,
        };
        let (there, ours) = self.provider_now();
        let values = Values {
            now: there,
            base_url: &policy.url,
            params: job.params,
            identity: presented.as_ref().map(|presented| &*presented.identity),
            mint_request: job.mint_request,
            subject: job.subject,
            page: job.page,
            secrets: None,
        };
        let request = match provider.render(job.operation, &values) {
            Ok(request) if request.url.origin() == policy.url.origin() => request,
            Ok(request) => {
                let detail = format!("{} is not at the account's own address", request.log_url);
                return self.failed(Failure::new(FailureCode::Request, detail));
            }
            Err(failure) => return self.failed(failure),
        };
        let (sent, sent_at, now) = self.exchange(Errand::Operation(job.operation), request).await;
        let outcome = match sent {
            Exchange::Answered(response) => {
                let received = self.received(&response, sent_at, now);
                let until = self.update_limits(&response, received, sent_at).await;
                let outcome =
                    self.understand(&values, &response, |values| read(provider, values, &response, received)).await;
                match outcome {
                    Outcome::Refused(failure) if self.doubt_clock(job.operation, ours, &failure) => {
                        return self.failed_once(failure);
                    }
                    outcome => put_off(outcome, until),
                }
            }
            Exchange::NotSent(failure) => Outcome::later(failure),
            Exchange::Unknown(failure) => match job.operation {
                Operation::Mint | Operation::Renew => Outcome::Unknown(failure),
                Operation::List | Operation::Verify | Operation::Revoke => Outcome::later(failure),
            },
        };
        self.note(outcome, presented.as_ref()).await
    }

    /// What `read` makes of an answer. Where it has words of the provider to tell, it is read again with every secret at
    /// hand that could be among them: opening them all for each answer would cost more than the answers.
    pub(super) async fn understand<T: Told>(
        &self,
        values: &Values<'_>,
        response: &Response,
        read: impl Fn(&Values<'_>) -> Outcome<T>,
    ) -> Outcome<T> {
        let mut outcome = read(values);
        if outcome.words().is_none() || response.body.is_empty() {
            return outcome;
        }
        let secrets = self.0.keyring.redactor().await;
        read(&Values { secrets: Some(&secrets), ..*values })
    }

    /// There is no credential to present.
    pub(super) async fn unpresentable<T>(&self, failure: Failure) -> Outcome<T> {
        let failure = self.0.keyring.clean_failure(failure).await;
        self.note(Outcome::later(failure), None).await
    }

    /// Sends a request whose turn has come; tells what became of it, when it left and when that was known.
    async fn exchange(&self, errand: Errand, request: Request) -> (Exchange, Time, Time) {
        let Inner { clock, client, endpoint, .. } = &*self.0;
        self.standing().record.requests += 1;
        let sent_at = clock.now();
        let sent = client.send(request).await;
        let now = clock.now();
        let ending = match &sent {
            Exchange::Answered(response) => Ending::of_status(response.status),
            Exchange::NotSent(_) => Ending::NotSent,
            Exchange::Unknown(_) => Ending::Unknown,
        };
        self.standing().traffic.note(errand, ending, now - sent_at);
        let well = matches!(&sent, Exchange::Answered(response) if response.status < 500 && response.status != 429);
        endpoint.state().outage.note(well, now);
        endpoint.write_slots(now).await;
        (sent, sent_at, now)
    }

    /// A failure that the next attempt need not have.
    fn failed_once<T>(&self, failure: Failure) -> Outcome<T> {
        self.standing().record.note(&Event::OperationFailed(&failure), self.0.clock.now());
        Outcome::later(failure)
    }

    /// A failure for which nothing was sent, or that no further request can mend.
    fn failed<T>(&self, failure: Failure) -> Outcome<T> {
        self.standing().record.note(&Event::OperationFailed(&failure), self.0.clock.now());
        Outcome::Refused(failure)
    }

    /// Nothing that holds the lock can panic half-way through a change, so a poisoned standing is a whole one.
    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.0.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The outcome with the time that the provider asked for, where it is one to be tried again.
fn put_off<T>(outcome: Outcome<T>, until: Option<Time>) -> Outcome<T> {
    match outcome {
        Outcome::Later { not_before, failure } => Outcome::Later { not_before: not_before.max(until), failure },
        outcome => outcome,
    }
}

#[cfg(test)]
mod tests;
