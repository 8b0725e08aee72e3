//! The operations of a provider definition, each of them one request or a few.

use super::Account;
use crate::clock::{Clock, Span, Time};
use crate::endpoint::{Effect, Errand, Presented, refuses_credential};
use crate::names::hex;
use crate::outcome::{Failure, FailureCode, Outcome, Told};
use crate::provider::putting::Putting;
use crate::provider::{
    Candidate, Cursor, Gone, Identity, MintRequest, Minted, Operation, Params, Provider, Quote, Received, Response,
    Role, Subject, Values, Verdict,
};
use crate::secret::{Secret, random};

/// How long a caller is held for its turn. A caller that would wait longer gets the time of its next try instead.
const PATIENCE: Span = Span::seconds(5);

/// One request, before anything is known of credentials and times.
#[derive(Clone, Copy)]
pub(super) struct Job<'a> {
    pub operation: Operation,
    pub params: &'a Params,
    pub mint_request: Option<&'a MintRequest>,
    /// The secret that a new token is to have, where the provider lets the caller choose it.
    pub chosen: Option<&'a Secret>,
    pub subject: Option<&'a Subject>,
    pub page: Option<&'a Cursor>,
    /// What is written to a store.
    pub putting: Option<&'a Putting<'a>>,
    /// A definition with another request for the operation than the account's.
    pub step: Option<&'a Provider>,
    /// The latest time at which it may leave.
    pub latest: Time,
}

impl<'a> Job<'a> {
    fn values(
        &self,
        account: &'a Account<impl Clock>,
        now: Time,
        identity: Option<&'a Identity>,
        quote: Quote<'a>,
    ) -> Values<'a> {
        let Self { params, mint_request, chosen, subject, page, putting, .. } = *self;
        let base_url = &account.policy.endpoint.url;
        Values { now, base_url, params, identity, mint_request, chosen, subject, page, putting, quote }
    }
}

impl<C: Clock> Account<C> {
    /// Not before this, by the rate limit, may a mint or a renewal be intended: its request would be turned away. None:
    /// now.
    pub fn plan(&self) -> Option<Time> {
        self.endpoint.plan(self.endpoint.now() + PATIENCE)
    }

    /// Asks for a new token. `Unknown` where the request may have arrived without a usable answer coming back.
    pub async fn mint(&self, params: &Params, mint_request: &MintRequest) -> Outcome<Minted> {
        let chosen = self.policy.provider.lets_choose().then(|| Secret::new(hex(&random::bytes::<32>())));
        let (mint_request, chosen) = (Some(mint_request), chosen.as_ref());
        let job = Job { mint_request, chosen, ..self.job(Operation::Mint, params) };
        let steps = self.policy.provider.after_mint();
        let Some((last, between)) = steps.split_last() else { return self.send(job, Provider::read_mint).await };
        let mut made = match self.send(job, Provider::read_step).await {
            Outcome::Done(made) => made,
            Outcome::Later { not_before, failure } => return Outcome::Later { not_before, failure },
            Outcome::Refused(failure) => return Outcome::Refused(failure),
            Outcome::Unknown(failure) => return Outcome::Unknown(failure),
        };
        // From here on something is there that carries the marker. However a request ends, that is searched for, and
        // taken back.
        for step in between {
            let subject = made.subject();
            let job = Job { subject: Some(&subject), step: Some(step), ..job };
            match self.send(job, Provider::read_step).await {
                Outcome::Done(more) => made = more.after(made),
                Outcome::Later { failure, .. } | Outcome::Refused(failure) | Outcome::Unknown(failure) => {
                    return Outcome::Unknown(failure);
                }
            }
        }
        let subject = made.subject();
        match self.send(Job { subject: Some(&subject), step: Some(last), ..job }, Provider::read_mint).await {
            Outcome::Done(minted) => Outcome::Done(minted.after(made)),
            Outcome::Later { failure, .. } | Outcome::Refused(failure) | Outcome::Unknown(failure) => {
                Outcome::Unknown(failure)
            }
        }
    }

    /// Presents the secret of `subject` to the provider and asks what it thinks of it.
    pub async fn verify(&self, params: &Params, subject: &Subject) -> Outcome<Verdict> {
        self.present(params, subject, |verdict| verdict).await
    }

    /// Whether the provider accepts the secret of `subject`, where nobody reads the words of its refusal: they are not
    /// quoted, and nothing has to be struck out of them.
    pub async fn accepts(&self, params: &Params, subject: &Subject) -> Outcome<bool> {
        self.present(params, subject, |verdict| matches!(verdict, Verdict::Alive { .. })).await
    }

    /// Presents the secret of `subject`, and gives what `told` makes of the answer.
    async fn present<T: Told>(&self, params: &Params, subject: &Subject, told: impl Fn(Verdict) -> T) -> Outcome<T> {
        if subject.secret.is_none() {
            return Outcome::Refused(Failure::new(FailureCode::SecretUnreadable, "there is no secret to present"));
        }
        let job = Job { subject: Some(subject), ..self.job(Operation::Verify, params) };
        self.send(job, |provider, values, response, received| {
            // Where the account asks about the token, its own credential being refused says nothing of the token.
            if response.status == 401 && provider.role(Operation::Verify) == Role::Account {
                return Outcome::Refused(Failure::new(FailureCode::Unauthorized, "HTTP 401"));
            }
            provider.read_verify(values, response, received).map(&told)
        })
        .await
    }

    /// Takes back the token `subject`. Doing it twice does no harm, so an unclear end is `Later`.
    pub async fn revoke(&self, params: &Params, subject: &Subject) -> Outcome<Gone> {
        for step in self.policy.provider.before_revocation() {
            let job = Job { subject: Some(subject), step: Some(&step), ..self.job(Operation::Revoke, params) };
            match self.send(job, Provider::read_revoke).await {
                // A step that is refused may have been done before: what comes of it, the last request tells.
                Outcome::Done(_) => {}
                Outcome::Refused(Failure { code, .. }) if !refuses_credential(code) => {}
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
        let provider = &self.policy.provider;
        let Some(step) = provider.discovering(param) else {
            return Outcome::Refused(Failure::new(FailureCode::NoOperation, ""));
        };
        let job = Job { step: Some(&step), ..self.job(Operation::List, params) };
        self.send(job, |provider, values, response, received| {
            provider.read_candidates(param, values, response, received)
        })
        .await
    }

    pub(super) fn job<'a>(&self, operation: Operation, params: &'a Params) -> Job<'a> {
        let latest = self.endpoint.now() + PATIENCE;
        let (mint_request, chosen, subject, page, putting, step) = (None, None, None, None, None, None);
        Job { operation, params, mint_request, chosen, subject, page, putting, step, latest }
    }

    /// Sends the request of `job` and reads the answer with `read`.
    pub(super) async fn send<T: Told>(
        &self,
        job: Job<'_>,
        read: impl Fn(&Provider, &Values<'_>, &Response, Received) -> Outcome<T>,
    ) -> Outcome<T> {
        let provider = job.step.unwrap_or(&self.policy.provider);
        let operation = job.operation;
        if !provider.has(operation) {
            return Outcome::Refused(Failure::new(FailureCode::NoOperation, ""));
        }
        let presented = match provider.role(operation) {
            Role::Subject | Role::Nobody => None,
            Role::Account => {
                let presented = match self.endpoint.credential().await {
                    Ok(root) if provider.logs_in() => self.log_in(job, &root).await,
                    presented => presented,
                };
                match presented {
                    Ok(presented) => Some(presented),
                    Err(outcome) => return outcome,
                }
            }
        };
        let identity = presented.as_ref().map(|presented| &*presented.identity);
        let errand = Errand {
            word: operation.word(),
            effect: effect(operation),
            presented: presented.as_ref(),
            latest: job.latest,
        };
        let request = |now| provider.render(operation, &job.values(self, now, identity, Quote::Nothing));
        let asked = self.endpoint.ask(request, errand, |answer, quote| {
            let values = job.values(self, answer.moment, identity, quote);
            read(provider, &values, &provider.readable(operation, &answer.response), answer.received)
        });
        asked.await
    }

    /// The session for which the credential `root` is exchanged.
    pub(super) async fn log_in<T>(&self, job: Job<'_>, root: &Presented) -> Result<Presented, Outcome<T>> {
        let provider = &self.policy.provider;
        let moment = self.endpoint.moment();
        let job = Job { mint_request: None, chosen: None, subject: None, page: None, putting: None, ..job };
        let request = provider
            .render_login(&job.values(self, moment, Some(&root.identity), Quote::Nothing))
            .map_err(|failure| self.endpoint.failed(failure))?;
        let read = |response: &Response, received, quote: Quote<'_>| {
            provider.read_login(&job.values(self, moment, Some(&root.identity), quote), response, received)
        };
        self.endpoint.session(root, request, job.latest, read).await
    }
}

fn effect(operation: Operation) -> Effect {
    match operation {
        Operation::Mint | Operation::Renew => Effect::Makes,
        Operation::Revoke | Operation::Create | Operation::Write | Operation::Delete => Effect::Repeatable,
        Operation::List
        | Operation::Verify
        | Operation::Probe
        | Operation::Read
        | Operation::Survey
        | Operation::Prepare => Effect::Nothing,
    }
}
