//! What is asked of a store: the operations of its definition, each of them one request or a few.

use super::Account;
use super::observe::MAX_PAGES;
use super::operations::Job;
use crate::clock::Clock;
use crate::outcome::{Failure, FailureCode, Outcome};
use crate::provider::slots::{Look, Prepared, Put, Putting, Seen};
use crate::provider::survey::Page;
use crate::provider::{Cursor, Operation, Params, Provider};

const ENDLESS: &str = "the listing's pages do not end";

impl<C: Clock> Account<C> {
    /// Whether the target is where it is meant to be, as far as the definition has a request that tells.
    pub async fn probe_target(&self, params: &Params) -> Outcome<()> {
        if !self.policy().provider.has(Operation::Probe) {
            return Outcome::Done(());
        }
        self.send(self.job(Operation::Probe, params), Provider::read_probe).await
    }

    /// What the target holds; `slot`: one entry of it is wanted. `None`: the definition has no request that tells.
    pub async fn read_target(&self, params: &Params, slot: bool) -> Outcome<Option<Seen>> {
        if !self.policy().provider.has(Operation::Read) {
            return Outcome::Done(None);
        }
        let mut page: Option<Cursor> = None;
        for _ in 0..MAX_PAGES {
            let job = Job { page: page.as_ref(), ..self.job(Operation::Read, params) };
            let look = self.send(job, |provider, values, response, received| {
                provider.read_target(slot, values, response, received)
            });
            match look.await {
                Outcome::Done(Look::Found(seen)) => return Outcome::Done(Some(seen)),
                Outcome::Done(Look::Next(next)) if page.as_ref() == Some(&next) => break,
                Outcome::Done(Look::Next(next)) => page = Some(next),
                Outcome::Later { not_before, failure } => return Outcome::Later { not_before, failure },
                Outcome::Refused(failure) => return Outcome::Refused(failure),
                Outcome::Unknown(failure) => return Outcome::Unknown(failure),
            }
        }
        self.endpoint().failed(Failure::new(FailureCode::NotUnderstood, ENDLESS))
    }

    /// What every target holds that a survey with `params` shows; refused where the definition has none.
    pub async fn survey(&self, params: &Params) -> Outcome<Vec<(Vec<String>, Seen)>> {
        let (mut all, mut page): (Vec<_>, Option<Cursor>) = (Vec::new(), None);
        for _ in 0..MAX_PAGES {
            let job = Job { page: page.as_ref(), ..self.job(Operation::Survey, params) };
            match self.send(job, Provider::read_survey).await {
                Outcome::Done(Page { items, next }) => {
                    all.extend(items);
                    if next.is_none() {
                        return Outcome::Done(all);
                    }
                    if next == page {
                        break;
                    }
                    page = next;
                }
                outcome => return outcome.map(|_| Vec::new()),
            }
        }
        self.endpoint().failed(Failure::new(FailureCode::NotUnderstood, ENDLESS))
    }

    /// What a write needs besides the value.
    pub async fn prepare(&self, params: &Params) -> Outcome<Prepared> {
        if !self.policy().provider.has(Operation::Prepare) {
            return Outcome::Done(Prepared::default());
        }
        self.send(self.job(Operation::Prepare, params), Provider::read_prepared).await
    }

    /// Takes a slot out of the target. `Unknown` where the request may have arrived.
    pub async fn take_out(&self, params: &Params, putting: &Putting<'_>) -> Outcome<Put> {
        let operation = Operation::Delete;
        let job = Job { putting: Some(putting), ..self.job(operation, params) };
        self.send(job, |provider, values, response, received| provider.read_put(operation, values, response, received))
            .await
    }

    /// Writes to the target. `Unknown` where the request may have arrived.
    pub async fn put(&self, params: &Params, putting: &Putting<'_>) -> Outcome<Put> {
        let provider = &self.policy().provider;
        let makes = putting.seen.is_absent() && provider.has(Operation::Create);
        let operation = if makes { Operation::Create } else { Operation::Write };
        let job = Job { putting: Some(putting), ..self.job(operation, params) };
        self.send(job, |provider, values, response, received| provider.read_put(operation, values, response, received))
            .await
    }
}
