//! What is asked of a store: the operations of its definition, each of them one request or a few.

use std::ops::ControlFlow;

use super::Account;
use super::observe::MAX_PAGES;
use super::operations::Job;
use crate::clock::Clock;
use crate::outcome::{Failure, FailureCode, Outcome, Told};
use crate::provider::putting::Putting;
use crate::provider::slots::{Look, Prepared, Put, Seen};
use crate::provider::survey::Page;
use crate::provider::{Cursor, Operation, Params, Provider, Received, Response, Values};

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
        let read = |provider: &Provider, values: &Values<'_>, response: &Response, received| {
            provider.read_target(slot, values, response, received)
        };
        let take = |look| match look {
            Look::Found(seen) => ControlFlow::Break(Some(seen)),
            Look::Next(next) => ControlFlow::Continue(next),
        };
        self.pages(Operation::Read, params, read, take).await
    }

    /// What every target holds that a survey with `params` shows; refused where the definition has none.
    pub async fn survey(&self, params: &Params) -> Outcome<Vec<(Vec<String>, Seen)>> {
        let mut all = Vec::new();
        let take = |Page { items, next }| {
            all.extend(items);
            next.map_or_else(|| ControlFlow::Break(std::mem::take(&mut all)), ControlFlow::Continue)
        };
        self.pages(Operation::Survey, params, Provider::read_survey, take).await
    }

    /// Asks for page after page until `take` has what it wants of one, or knows of no next.
    async fn pages<P: Told, T>(
        &self,
        operation: Operation,
        params: &Params,
        read: impl Fn(&Provider, &Values<'_>, &Response, Received) -> Outcome<P>,
        mut take: impl FnMut(P) -> ControlFlow<T, Cursor>,
    ) -> Outcome<T> {
        let mut page: Option<Cursor> = None;
        for _ in 0..MAX_PAGES {
            let job = Job { page: page.as_ref(), ..self.job(operation, params) };
            let answer = match self.send(job, &read).await {
                Outcome::Done(answer) => answer,
                Outcome::Later { not_before, failure } => return Outcome::Later { not_before, failure },
                Outcome::Refused(failure) => return Outcome::Refused(failure),
                Outcome::Unknown(failure) => return Outcome::Unknown(failure),
            };
            match take(answer) {
                ControlFlow::Break(taken) => return Outcome::Done(taken),
                ControlFlow::Continue(next) if page.as_ref() == Some(&next) => break,
                ControlFlow::Continue(next) => page = Some(next),
            }
        }
        self.endpoint().failed(Failure::new(FailureCode::NotUnderstood, "the listing's pages do not end"))
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
