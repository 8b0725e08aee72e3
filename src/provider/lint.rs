//! The questions that a definition has to answer, or to have a reason for not answering: they are what rotations go wrong
//! by. Nothing is asked that the definition itself does not tell.

use std::collections::BTreeMap;

use super::lifetime::Lifetime;
use super::model::{Body, Call, Predicate, Test};
use super::params::ParamSpec;
use super::resolved::Provider;
use super::template::{Name, Template};
use super::{Operation, Role};
use crate::outcome::FailureCode;

/// Where a rotation goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Question {
    /// What is it, where was that read, and what does its account need?
    Told,
    /// How is it used?
    Example,
    /// Is a lost token found again?
    Marker,
    /// What does the listing need to show a token?
    Filter,
    /// Which request may every token make?
    Proof,
    /// How does a dead token answer?
    Dead,
    /// How is a token ended?
    End,
    /// What does the provider answer where a token is gone already?
    Gone,
    /// Does its 404 mean that, and nothing else?
    NotFound,
    /// What may a token do where the inventory says nothing?
    Power,
    /// How long may a name be in all generations?
    Name,
    /// What is the shortest life that the provider gives?
    ShortestLife,
    /// What is the longest one?
    LongestLife,
    /// When is a new token listed at the latest?
    Settle,
    /// When is a token too old that never ends?
    Age,
    /// How does an answer tell an error whose status is 200?
    Errors,
}

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

impl Question {
    /// Every question under its code, which is also its key in `[lint]`. Stable.
    pub const ALL: [(&'static str, Self); 16] = [
        ("told", Self::Told),
        ("example", Self::Example),
        ("marker", Self::Marker),
        ("filter", Self::Filter),
        ("proof", Self::Proof),
        ("dead", Self::Dead),
        ("end", Self::End),
        ("gone", Self::Gone),
        ("not-found", Self::NotFound),
        ("power", Self::Power),
        ("name", Self::Name),
        ("shortest-life", Self::ShortestLife),
        ("longest-life", Self::LongestLife),
        ("settle", Self::Settle),
        ("age", Self::Age),
        ("errors", Self::Errors),
    ];

    /// Its code.
    pub fn code(self) -> &'static str {
        Self::ALL.iter().find(|(_, question)| *question == self).map_or("", |(code, _)| code)
    }

    /// What goes wrong where it is open.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Told => "[provider] does not tell all of `title`, `docs`, `credential` and `old-token`",
            Self::Example => "[provider] has no `example` of an inventory",
            Self::Marker => "a token whose secret is lost on the way cannot be found again: no listing shows its name",
            Self::Filter => "the listing depends on a parameter that may be left out, and may then lack living tokens",
            Self::Proof => "new tokens are delivered unproven: there is no [verify]",
            Self::Dead => {
                "[verify] authenticates with another secret, and nothing in its answer says that a token is dead"
            }
            Self::End => "tokens are never ended: there is no [revoke]",
            Self::Gone => "[revoke] cannot tell a token that is gone already from a refusal: it has no `gone-ok`",
            Self::NotFound => {
                "any 404 to a revocation counts as gone, although it can mean forbidden or a wrong path as well"
            }
            Self::Power => "a token may do more than the inventory asks for: a parameter of rights may be left out",
            Self::Name => {
                "nothing says how long a name may be: a marker grows by a digit with the 10th, 100th and 1000th generation"
            }
            Self::ShortestLife => "nothing says which lifetime is too short for the provider",
            Self::LongestLife => "nothing says which lifetime is too long for the provider",
            Self::Settle => {
                "a token that two listings lack counts as dead, and nothing says how soon a new one is listed"
            }
            Self::Age => "no answer tells when a token ends, and nothing says how old it may become",
            Self::Errors => "GraphQL answers errors with status 200, and no `expect` looks for them",
        }
    }

    /// What to do about it.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Told => "say what the vendor's pages say, and which pages these are",
            Self::Example => "add an inventory that `patrold check` accepts",
            Self::Marker => "put `{{ want.name }}` into [mint], and capture `name` in [list.item]",
            Self::Filter => "make the parameter required, or say `absence = \"unknown\"` in [list]",
            Self::Proof => "find a request that a token with any rights may make",
            Self::Dead => {
                "add `expect` with `otherwise = \"unauthorized\"`, or `classify` with `as = \"unauthorized\"`"
            }
            Self::End => "add [revoke]; where there is none, ask for short lifetimes",
            Self::Gone => "look up the answer to a second revocation, and add `gone-ok` with `gone-expect`",
            Self::NotFound => "add `gone-expect` with the words that name the token",
            Self::Power => "make the parameter required, or let its default be no more than reading",
            Self::Name => "add `longest` to [mint.name]",
            Self::ShortestLife => "add `min` or `ladder` to [lifetime]",
            Self::LongestLife => "add `max` or `ladder` to [lifetime]",
            Self::Settle => "add `settle` to [mint], or `absence = \"unknown\"` to [list]",
            Self::Age => "add `rotate-every` to [default-policy], or capture `expires`",
            Self::Errors => "add `expect = [{ at = \"/errors\", empty = true }]` to [answer]",
        }
    }

    /// Where in a file the answer would stand: the first of these tables or keys that is there.
    pub fn places(self) -> &'static [&'static [&'static str]] {
        match self {
            Self::Told | Self::Example => &[&["provider"]],
            Self::Marker => &[&["list", "item"], &["list"], &["mint"]],
            Self::Filter => &[&["list", "query"], &["list"]],
            Self::Proof | Self::End => &[&["mint"]],
            Self::Name => &[&["mint", "name"], &["mint"]],
            Self::Dead => &[&["verify"]],
            Self::Gone => &[&["revoke"]],
            Self::NotFound => &[&["revoke", "gone-ok"], &["revoke"]],
            Self::Power => &[&["params"]],
            Self::ShortestLife | Self::LongestLife => &[&["lifetime"], &["mint"]],
            Self::Settle => &[&["mint", "settle"], &["mint"]],
            Self::Age => &[&["default-policy"], &["mint"]],
            Self::Errors => &[&["answer"], &["mint", "graphql"], &["provider"]],
        }
    }
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
        ask(
            Question::Told,
            ![&self.title, &self.credential, &self.old_token].iter().any(|text| text.is_empty())
                && !self.docs.is_empty(),
        );
        ask(Question::Example, !self.example.is_empty());
        self.ask_of_mint(&mut ask);
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
        let given = |spec: &ParamSpec| spec.default.is_none() && !spec.optional;
        let mut open = Vec::new();
        for (name, spec) in &self.params {
            let mut doubt = |question| open.push(Open { question, param: Some(name.clone()) });
            if RIGHTS.contains(&name.as_str()) && !given(spec) && self.has(Operation::Mint) {
                doubt(Question::Power);
            }
            if spec.optional && filters(name) && !self.listing_leaves_out() {
                doubt(Question::Filter);
            }
        }
        open
    }
}
