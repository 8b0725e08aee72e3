//! `[login]`: a request that exchanges the account's credential for a session, which then authenticates everything that
//! the account does. A session that gets lost does no harm: another login makes another.

use std::sync::Arc;

use super::binding::{Binder, Stage, read_template, read_templates};
use super::call::{read_body, read_method, read_statuses};
use super::capture::{read_captures, read_moment, read_predicates};
use super::classify::{LONGEST_WAIT, Substance};
use super::definition::{Provider, Rules};
use super::extract::{Asked, Content, Wiped};
use super::resolve::read_headers;
use super::spec::{Body, Call};
use super::{Expiry, Operation, Request, Response, Role, Values};
use crate::clock::Time;
use crate::document::Reader;
use crate::outcome::{Failure, FailureCode, Outcome};
use crate::secret::Secret;

/// What a login answers with.
#[derive(Clone, Debug)]
pub struct Session {
    pub secret: Secret,
    /// It is not accepted from then on, if the answer told.
    pub until: Option<Time>,
}

impl Provider {
    /// Whether the account's credential has to be exchanged for a session before it can do anything.
    pub fn logs_in(&self) -> bool {
        self.rules.login.is_some()
    }

    /// The request of a login. Of `values` it looks at the address, the parameters and the identity.
    pub fn render_login(&self, values: &Values<'_>) -> Result<Request, Failure> {
        self.render_call(self.login()?, "login", values)
    }

    /// What the answer to a login says. Where it tells when another one may be tried, a refusal is one for the time
    /// being.
    pub fn read_login(&self, values: &Values<'_>, response: &Response, now: Time) -> Outcome<Session> {
        let call = match self.login() {
            Ok(call) => call,
            Err(failure) => return Outcome::Refused(failure),
        };
        // Quoted as little as the answer to a mint, because it holds a secret as well.
        let body = match self.judge_call(call, Operation::Mint, &[], values, response, now) {
            Ok(body) => body,
            Err(setback) => {
                let outcome = setback.outcome(Operation::Verify);
                return match (outcome, retry_at(call, response, now)) {
                    (Outcome::Refused(failure), Some(time)) => Outcome::Later { not_before: Some(time), failure },
                    (outcome, _) => outcome,
                };
            }
        };
        let content = Content { body: &body, headers: &response.headers };
        let secret = call.capture.secret.as_ref().and_then(|place| content.secret(place));
        let Some(secret) = secret else {
            return Outcome::later(Failure::new(FailureCode::NotUnderstood, "no session in the answer to the login"));
        };
        let asked = Asked { now, lifetime: None, token: Some(secret.expose()) };
        let until = content.expiry(&call.capture.expires, &asked, &mut Vec::new()).and_then(Expiry::time);
        Outcome::Done(Session { secret, until })
    }

    fn login(&self) -> Result<&Call, Failure> {
        let lacks = || Failure::new(FailureCode::NoOperation, format!("{} has no login", self.name));
        self.rules.login.as_deref().ok_or_else(lacks)
    }

    /// Definitions whose revocation is one of the requests that go before that of this one, in their order.
    ///
    /// A refusal of one of them is no reason to stop: it may have been done before. The last request tells.
    pub fn before_revocation(&self) -> Vec<Self> {
        let Ok(revoke) = self.call(Operation::Revoke) else { return Vec::new() };
        let alone = |step: &Arc<Call>| {
            let mut calls = self.rules.calls.clone();
            calls.insert(Operation::Revoke, Arc::clone(step));
            Self { rules: Rules { calls, ..self.rules.clone() }, ..self.clone() }
        };
        revoke.before.iter().map(alone).collect()
    }
}

/// When a login that failed may be tried again, at most 24 hours from `now`.
fn retry_at(call: &Call, response: &Response, now: Time) -> Option<Time> {
    let moment = call.retry_at.as_ref()?;
    let body = match response.content() {
        Substance::Json(body) => body,
        Substance::Empty | Substance::Html | Substance::Other => Wiped(serde_json::Value::Null),
    };
    let content = Content { body: &body, headers: &response.headers };
    let time = content.moment("retry-at", moment, now, &mut Vec::new())?.time()?;
    let latest = now.checked_add_signed(LONGEST_WAIT)?;
    Some(time.clamp(now, latest))
}

/// Reads `[login]`.
pub(super) fn read_login(table: Reader<'_>, binder: &Binder<'_>) -> Option<Call> {
    let stage = Stage::Login;
    // The credential stands in the body as a rule; a form of authentication is used where it is asked for.
    let roles = [("account", Role::Account), ("nobody", Role::Nobody)];
    let role = table.choice("auth", &roles).map_or(Role::Nobody, |role| role.value);
    let method = read_method(&table);
    table.required("url");
    let url = table.take("url").and_then(|found| {
        let template = read_template(&table, found, binder, stage)?;
        let own = template.begins_with_base_url() || template.begins_with_url(binder.params);
        if !own || template.is_secret() || template.literals().any(|text| text.contains(['?', '#'])) {
            let message = "the address of a login begins with `{{ base_url }}` or with a parameter of type `url`, and has \
                           neither a query nor a secret";
            table.report().error(found.spot(), message);
            return None;
        }
        Some(template)
    });
    let query = table.table("query", "`query`").map(|query| read_templates(&query, binder, stage)).unwrap_or_default();
    if query.iter().any(|(_, template)| template.is_secret()) {
        table.report().error(table.key_spot("query"), "a secret must not be part of an address");
    }
    let headers = table.table("headers", "`headers`").map(|headers| read_headers(&headers, binder, stage));
    let body = read_body(&table, binder, stage);
    let ok = read_statuses(&table, "ok");
    let expect = read_predicates(&table, "expect", binder, Stage::Answer(None), FailureCode::Rejected);
    let retry_at = table.take("retry-at").and_then(|found| read_moment(&table, found));
    let capture = table.table("capture", "`capture`").map(|places| read_captures(places, Operation::Mint));
    let capture = capture.unwrap_or_default();
    if capture.secret.is_none() {
        table.report().error(table.spot(), "[login] must say in `capture` where the `secret` of the session stands");
    }
    table.finish();
    Some(Call {
        ok,
        expect,
        capture,
        retry_at,
        query,
        headers: headers.unwrap_or_default(),
        ..Call::new(role, method, url?, body)
    })
}

impl Call {
    /// A call that says no more than where it goes and what it carries.
    pub(super) fn new(role: Role, method: reqwest::Method, url: super::template::Template, body: Body) -> Self {
        Self {
            role,
            method,
            url,
            body,
            query: Vec::new(),
            headers: Vec::new(),
            ok: Vec::new(),
            gone_ok: Vec::new(),
            gone_expect: Vec::new(),
            expect: Vec::new(),
            classify: Vec::new(),
            matches: Vec::new(),
            capture: super::spec::Captures::default(),
            listing: None,
            on_timeout: super::OnTimeout::Retry,
            settle: None,
            retry_at: None,
            lead: None,
            overlap: false,
            before: Vec::new(),
        }
    }
}
