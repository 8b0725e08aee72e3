//! The questions that a definition has to answer, or to have a reason for not answering: they are what rotations go wrong
//! by. Nothing is asked that the definition itself does not tell.

use std::collections::BTreeMap;

use super::lifetime::Lifetime;
use super::model::{Body, Call, Predicate, StoreRules, Test};
use super::question::Question;
use super::resolved::Provider;
use super::slots::Proof;
use super::template::{Name, Template};
use super::{Operation, Role};
use crate::outcome::FailureCode;

/// A question that a definition leaves open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    pub question: Question,
    /// The parameter that it is about.
    pub param: Option<String>,
}

/// What the linter says of a definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// A question is open, and nobody says why.
    Open(Open),
    /// `[lint]` has a reason for a question that is not open.
    Stale(Question),
}

/// Parameters that say what a token may do.
const RIGHTS: &[&str] = &[
    "access_level",
    "permissions",
    "policies",
    "privileges",
    "role",
    "roles",
    "scope",
    "scopes",
    "type",
    "write",
    "reusable",
    "preauthorized",
];

impl Provider {
    /// What the linter finds: open questions without a reason, and reasons without a question, in the order of the
    /// questions.
    pub fn lint(&self) -> Vec<Finding> {
        let open = self.open_questions();
        let excused = |question: &Question| self.reasons.contains_key(question);
        let stale = self.reasons.keys().filter(|reason| !open.iter().any(|open| open.question == **reason));
        let stale: Vec<_> = stale.copied().map(Finding::Stale).collect();
        open.into_iter().filter(|open| !excused(&open.question)).map(Finding::Open).chain(stale).collect()
    }

    /// Why questions are left open, by the question.
    pub fn reasons(&self) -> &BTreeMap<Question, String> {
        &self.reasons
    }

    /// Every question that the definition does not answer.
    pub fn open_questions(&self) -> Vec<Open> {
        let mut open = Vec::new();
        let mut ask = |question, answered: bool| {
            open.extend((!answered).then_some(Open { question, param: None }));
        };
        let told = [&self.title, &self.credential].iter().all(|text| !text.is_empty()) && !self.docs.is_empty();
        ask(Question::Told, told && (self.store().is_some() || !self.old_token.is_empty()));
        ask(Question::Example, !self.example.is_empty());
        self.ask_of_mint(&mut ask);
        if let Some(store) = self.store() {
            self.ask_of_store(store, &mut ask);
        }
        if let Ok(verify) = self.call(Operation::Verify) {
            ask(Question::Dead, verify.role == Role::Subject || self.tells_death(verify));
        }
        if let Ok(revoke) = self.call(Operation::Revoke) {
            ask(Question::Gone, !revoke.gone_ok.is_empty() || revoke.role == Role::Subject);
            // That a body is there at all is also true of another route, or of a proxy that answers JSON.
            let says_what = revoke.gone_expect.iter().any(|it| !matches!(it.test, Test::Present | Test::Absent));
            ask(Question::NotFound, !revoke.gone_ok.contains(&404) || says_what);
        }
        let graphql = |call: &&Call| matches!(call.body, Body::Graphql { .. });
        let calls = self.rules.calls.values().map(AsRef::as_ref);
        let looks = |call: &Call| !call.expect.is_empty() || !self.rules.answers.expect.is_empty();
        ask(Question::Errors, calls.clone().filter(graphql).all(looks));
        open.extend(self.params_in_doubt());
        open.sort_by_key(|open| open.question);
        open
    }

    fn ask_of_mint(&self, ask: &mut impl FnMut(Question, bool)) {
        let can = self.capabilities();
        let Ok(mint) = self.call(Operation::Mint) else { return };
        ask(Question::Marker, can.marks);
        ask(Question::Proof, can.verifies);
        ask(Question::End, can.revokes);
        ask(Question::Name, self.naming().is_none_or(|naming| naming.longest.is_some()));
        let Lifetime { min, max, ladder, .. } = &self.rules.lifetime;
        let stepped = !can.chooses_lifetime || !ladder.is_empty();
        ask(Question::ShortestLife, stepped || min.is_some());
        ask(Question::LongestLife, stepped || max.is_some());
        let evident = can.verifies || !can.lists || self.listing_leaves_out();
        ask(Question::Settle, evident || mint.settle.is_some());
        let aged = self.default_policy.rotate_every.is_some();
        ask(Question::Age, can.expiry_known || can.chooses_lifetime || aged);
    }

    fn ask_of_store(&self, store: &StoreRules, ask: &mut impl FnMut(Question, bool)) {
        let read = self.call(Operation::Read).ok();
        let says_what = |read: &Call| read.slots.absent.iter().all(|condition| condition.predicate.is_some());
        ask(Question::Place, self.has(Operation::Probe) || read.is_some_and(says_what));
        ask(Question::ReadBack, self.proof() != Proof::Nothing);
        ask(Question::Race, self.notices_conflicts());
        ask(Question::Size, store.values.bounds());
    }

    /// Whether an answer to `verify` can come to the failure that proves a token dead.
    fn tells_death(&self, verify: &Call) -> bool {
        let dead = |code: FailureCode| code == FailureCode::Unauthorized;
        let exceptions = verify.classify.iter().chain(&self.rules.answers.classify);
        let predicates = verify.expect.iter().chain(&self.rules.answers.expect);
        exceptions.map(|exception| exception.code).any(dead)
            || predicates.map(|predicate: &Predicate| predicate.otherwise).any(dead)
    }

    /// Parameters that may be left out although they decide what a token may do, or what a listing shows.
    fn params_in_doubt(&self) -> Vec<Open> {
        let list = self.call(Operation::List).ok();
        let filters = |name: &str| {
            let query = list.iter().flat_map(|list| list.query.iter().map(|(_, template)| template));
            let mut names = query.flat_map(Template::names);
            names.any(|it| matches!(it, Name::Param(param) if param == name))
        };
        let mut open = Vec::new();
        for (name, spec) in &self.params {
            let mut doubt = |question| open.push(Open { question, param: Some(name.clone()) });
            if RIGHTS.contains(&name.as_str()) && !spec.is_required() && self.has(Operation::Mint) {
                doubt(Question::Power);
            }
            if spec.optional && filters(name) && !self.listing_leaves_out() {
                doubt(Question::Filter);
            }
        }
        open
    }
}
