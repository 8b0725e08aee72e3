//! Whether an account's credential is accepted, found out without changing anything.

use super::Account;
use crate::clock::Clock;
use crate::outcome::Outcome;
use crate::provider::{Operation, Params, Provider, Role, Subject, Verdict};

/// What showed that a credential is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// A page of a listing.
    Listing,
    /// A login.
    Login,
    /// The operation `verify`, as if it were a token of its own.
    Verify,
    /// `verify` refuses it, which it may do to a credential of another kind; no other request would tell.
    Refused,
    /// Nothing: the definition has no request that would tell without changing anything. The credential can be read.
    None,
}

impl<C: Clock> Account<C> {
    /// Presents the credential to the provider by the request that tells most and changes nothing.
    pub async fn probe(&self, params: &Params) -> Outcome<Proof> {
        let provider = &self.policy.provider;
        if provider.has(Operation::List) && provider.role(Operation::List) == Role::Account {
            return self.send(self.job(Operation::List, params), Provider::read_page).await.map(|_| Proof::Listing);
        }
        let presented = match self.endpoint.credential().await {
            Ok(presented) => presented,
            Err(outcome) => return outcome,
        };
        if provider.logs_in() {
            let job = self.job(Operation::Mint, params);
            return match self.log_in(job, &presented).await {
                Ok(_) => Outcome::Done(Proof::Login),
                Err(outcome) => outcome,
            };
        }
        let is_token = presented.identity.username.is_none();
        if is_token && provider.has(Operation::Verify) && provider.role(Operation::Verify) == Role::Subject {
            let subject = Subject { secret: Some(presented.identity.secret.clone()), ..Subject::default() };
            return match self.verify(params, &subject).await {
                Outcome::Done(Verdict::Alive { .. }) => Outcome::Done(Proof::Verify),
                Outcome::Done(Verdict::Dead(_)) => Outcome::Done(Proof::Refused),
                Outcome::Later { not_before, failure } => Outcome::Later { not_before, failure },
                Outcome::Refused(failure) => Outcome::Refused(failure),
                Outcome::Unknown(failure) => Outcome::Unknown(failure),
            };
        }
        Outcome::Done(Proof::None)
    }
}
