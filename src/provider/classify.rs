//! Classifies an answer before anything is captured: the status first, then the body.

use reqwest::header::{CONTENT_TYPE, HeaderMap, LOCATION, RETRY_AFTER};
use serde_json::Value;

use super::extract::{Content, Wiped};
use super::model::{Call, Limit, Predicate, ResetUnit};
use super::request::{Scoped, redactor, sent, url};
use super::resolved::Provider;
use super::{Operation, ProviderTime, Quote, Received, Response, Values, time};
use crate::clock::{Span, Time};
use crate::outcome::{Failure, FailureCode, Outcome, one_line};
use crate::secret::redact::plain_words;

/// No provider is obeyed for longer than this: beyond it, asking once a day is polite enough.
pub(crate) const LONGEST_WAIT: Span = Span::hours(24);

/// How much of an answer's text is shown to people.
const QUOTED: usize = 200;

/// A larger answer is no JSON that anybody means: as a tree it could take a hundred times its size. Pages of listings are
/// read item by item.
const LARGEST_TREE: usize = 1024 * 1024;

/// A longer text has no words that a definition would look for.
const LARGEST_TEXT: usize = 64 * 1024;

/// Why an answer is no success.
#[derive(Debug)]
pub(crate) struct Setback {
    pub(crate) failure: Failure,
    pub(crate) not_before: Option<Time>,
}

impl Setback {
    pub(crate) fn new(code: FailureCode, detail: impl Into<String>) -> Self {
        Self { failure: Failure::new(code, detail), not_before: None }
    }

    /// What it means for `operation`: whether it happened, and whether asking again makes sense.
    pub(crate) fn outcome<T>(self, operation: Operation) -> Outcome<T> {
        use FailureCode::{AccountLocked, Forbidden, NoOperation, NoRoom, NotFound, Rejected, Request, Unauthorized};
        use FailureCode::{RateLimited, Redirect};
        let makes = matches!(operation, Operation::Mint | Operation::Renew) || operation.puts();
        match self.failure.code {
            FailureCode::StoreRefused
            | Unauthorized
            | AccountLocked
            | Forbidden
            | NotFound
            | NoRoom
            | Rejected
            | NoOperation
            | Request => Outcome::Refused(self.failure),
            RateLimited | Redirect => Outcome::Later { not_before: self.not_before, failure: self.failure },
            _ if makes => Outcome::Unknown(self.failure),
            _ => Outcome::Later { not_before: self.not_before, failure: self.failure },
        }
    }
}

/// The provider had too many requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limited {
    /// When it wants more, at most 24 hours ahead, if it said so.
    pub until: Option<Time>,
}

impl ResetUnit {
    fn read(self, text: &str, now: Time) -> Option<ProviderTime> {
        match self {
            Self::Epoch => chrono::DateTime::from_timestamp(text.parse().ok()?, 0).map(ProviderTime::told),
            Self::Delta => {
                let seconds: f64 = text.parse().ok().filter(|seconds: &f64| seconds.is_finite())?;
                #[expect(clippy::cast_possible_truncation, reason = "rounded up, and bounded on both sides")]
                let seconds = seconds.ceil().clamp(0.0, 1e9) as i64;
                now.checked_add_signed(Span::try_seconds(seconds)?).map(ProviderTime::ours)
            }
        }
    }
}

/// The body of an answer, as far as it can be understood.
#[derive(Debug)]
pub(crate) enum Substance {
    Empty,
    Json(Wiped),
    Html,
    /// Neither; possibly cut off.
    Other,
}

impl Substance {
    /// The body as JSON; null where it is none.
    pub(crate) fn json(&self) -> &Value {
        match self {
            Self::Json(body) => body,
            Self::Empty | Self::Html | Self::Other => &Value::Null,
        }
    }
}

impl Response {
    /// The body, judged by itself: the `Content-Type` of error pages is often wrong.
    pub(crate) fn content(&self) -> Substance {
        self.read(|text| (text.len() <= LARGEST_TREE).then(|| serde_json::from_slice(text).ok()).flatten())
    }

    /// The body of a page of a listing, with no more of the list than its first item.
    pub(super) fn outline(&self, items: super::items::Items<'_>) -> Substance {
        self.read(|text| super::items::outline(text, items).ok())
    }

    fn read(&self, tree: impl FnOnce(&[u8]) -> Option<Value>) -> Substance {
        let text = self.body.trim_ascii();
        if text.is_empty() {
            return Substance::Empty;
        }
        if text.first() == Some(&b'<') {
            return Substance::Html;
        }
        let declared = self.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        match tree(text) {
            Some(value) => Substance::Json(Wiped(value)),
            None if declared.starts_with("text/html") => Substance::Html,
            None => Substance::Other,
        }
    }
}

impl Limit {
    /// Whether an answer says that there were too many requests, and until when no more are wanted, if it says so.
    pub fn limited(&self, response: &Response, received: impl Into<Received>) -> Option<Limited> {
        let received = received.into();
        let after = retry_after(&response.headers, received);
        let none_left = || {
            let left = self.remaining.as_ref().and_then(|name| response.headers.get(name));
            left.is_some_and(|left| left.as_bytes().trim_ascii() == b"0")
        };
        let limited = match response.status {
            429 => true,
            503 => after.is_some(),
            status => self.statuses.contains(&status) && (after.is_some() || none_left()),
        };
        let reset = || {
            let (name, unit) = self.reset.as_ref()?;
            let text = response.headers.get(name)?.to_str().ok()?.trim();
            unit.read(text, received.at).map(|moment| received.wait_until(moment, LONGEST_WAIT))
        };
        limited.then(|| Limited { until: after.or_else(reset) })
    }

    /// How many more requests the provider takes, where the definition names the header and the answer has it.
    pub fn allowance(&self, response: &Response) -> Option<u64> {
        let name = self.remaining.as_ref()?;
        response.headers.get(name)?.to_str().ok()?.trim().parse().ok()
    }
}

impl Provider {
    /// Why an answer with `content` is no success, where it is none.
    pub(crate) fn judge(
        &self,
        operation: Operation,
        values: &Values<'_>,
        response: &Response,
        content: &Substance,
        received: Received,
    ) -> Result<(), Setback> {
        let call = self.call(operation).map_err(|failure| Setback { failure, not_before: None })?;
        self.judge_call(call, operation, &self.rules.answers.expect, values, response, content, received)
    }

    /// The same for one call, `common` being what answers to all calls must be like.
    #[expect(clippy::too_many_arguments, reason = "each is another thing that an answer is judged by")]
    pub(crate) fn judge_call(
        &self,
        call: &Call,
        operation: Operation,
        common: &[Predicate],
        values: &Values<'_>,
        response: &Response,
        content: &Substance,
        received: Received,
    ) -> Result<(), Setback> {
        let scope = Scoped::new(self, call, values);
        let plain = plain(response, content);
        let understood = match content {
            Substance::Json(body) => Some(&**body),
            _ => plain.as_deref(),
        };
        let success = (200..300).contains(&response.status);
        let wanted = if call.ok.is_empty() { success } else { call.ok.contains(&response.status) };
        let discreet = operation.shows_secrets();
        let explain = |code: FailureCode, hint: &str| {
            let detail = self.explain(call, values, response, content, hint, discreet);
            Setback::new(code, detail)
        };
        if !wanted {
            let code = self.exception(call, understood, response.status, &scope);
            let limited = self.limit().limited(response, received);
            let code = match &limited {
                Some(_) => FailureCode::RateLimited,
                None => code.unwrap_or_else(|| usual_meaning(response, operation)),
            };
            let not_before = limited.map_or_else(|| retry_after(&response.headers, received), |limited| limited.until);
            let place = place(call, &scope, values, response, code, discreet);
            return Err(Setback { not_before, ..explain(code, &place) });
        }
        // No Content has no body, and a revocation or a write that succeeded has nothing to say.
        let may_be_empty = response.status == 204 || operation == Operation::Revoke || operation.puts();
        let body = match content {
            Substance::Json(body) => &**body,
            Substance::Empty if may_be_empty => &Value::Null,
            Substance::Empty | Substance::Html | Substance::Other => {
                return Err(explain(FailureCode::NotUnderstood, "JSON was expected"));
            }
        };
        let mut predicates = common.iter().chain(&call.expect);
        if let Some(predicate) = predicates.find(|predicate| !predicate.holds(body, &scope)) {
            let code = self.exception(call, Some(body), response.status, &scope).unwrap_or(predicate.otherwise);
            return Err(explain(code, &predicate.wants()));
        }
        Ok(())
    }

    /// How its answers tell limits.
    pub fn limit(&self) -> &Limit {
        &self.rules.answers.limit
    }

    /// What a failure means by the definition's exceptions.
    pub(super) fn exception(
        &self,
        call: &Call,
        body: Option<&Value>,
        status: u16,
        scope: &Scoped<'_>,
    ) -> Option<FailureCode> {
        let fits = call.classify.iter().chain(&self.rules.answers.classify).find(|exception| {
            exception.status.is_none_or(|wanted| wanted == status)
                && exception
                    .predicate
                    .as_ref()
                    .is_none_or(|predicate| body.is_some_and(|body| predicate.holds(body, scope)))
        });
        fits.map(|exception| exception.code)
    }

    /// One line for people: the status, and what the provider says. `discreet`: the body may hold a secret, which nobody
    /// knows yet, at a place that nobody foresaw. Plain words are quoted then, and of a success only those meant for people.
    fn explain(
        &self,
        call: &Call,
        values: &Values<'_>,
        response: &Response,
        content: &Substance,
        hint: &str,
        discreet: bool,
    ) -> String {
        let known = match values.quote {
            Quote::Nothing => return format!("HTTP {}", response.status),
            Quote::Request => None,
            Quote::Clean(known) => Some(known),
        };
        let quiet = discreet && (200..300).contains(&response.status);
        let mut redactor = redactor(values);
        if let Some(signed) = self.signed(call, values) {
            redactor.add(&signed);
        }
        let said = match content {
            Substance::Empty | Substance::Html if !hint.is_empty() && (300..400).contains(&response.status) => {
                String::new()
            }
            Substance::Empty => "no content".to_owned(),
            Substance::Html => "an HTML page".to_owned(),
            Substance::Other if quiet || matches!(response.body.trim_ascii_start().first(), Some(b'{' | b'[')) => {
                "not understandable".to_owned()
            }
            // In full: a secret that is cut in two would not be struck out.
            Substance::Other => String::from_utf8_lossy(&response.body).into_owned(),
            Substance::Json(body) => {
                let places = call.capture.secret.iter().chain(call.capture.parts.iter().map(|(_, place)| place));
                let found = Content { body, headers: &response.headers };
                places.flat_map(|place| found.traces(place)).for_each(|secret| redactor.add(&secret));
                let message = self.rules.answers.message.iter().find_map(|pointer| message_at(body, pointer));
                message.unwrap_or_else(|| if quiet { String::new() } else { body.to_string() })
            }
        };
        let said = known.map_or_else(|| said.clone(), |known| known.clean(&said));
        let said = redactor.clean(&said);
        let said = if discreet { plain_words(&said, &sent(values)) } else { said };
        let said = one_line(&said, QUOTED);
        let hint = known.map_or_else(|| hint.to_owned(), |known| known.clean(hint));
        let parts = [format!("HTTP {}", response.status), redactor.clean(&hint), said];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": ")
    }
}

/// What was asked for where the provider does not know it, and where a redirect leads: without a query, which may hold
/// anything. `discreet`: of an answer to a mint no more than the host is told.
fn place(
    call: &Call,
    scope: &Scoped<'_>,
    values: &Values<'_>,
    response: &Response,
    code: FailureCode,
    discreet: bool,
) -> String {
    if !matches!(code, FailureCode::NotFound | FailureCode::Redirect) {
        return String::new();
    }
    let Ok(asked) = url(call, scope, values) else { return String::new() };
    let target = response.headers.get(LOCATION).and_then(|target| target.to_str().ok());
    let target = target.and_then(|target| asked.join(target).ok()).filter(|_| code == FailureCode::Redirect);
    let target = target.map(|target| {
        let path = if discreet { "" } else { target.path() };
        format!(" leads to {}{path}", target.origin().ascii_serialization())
    });
    format!("{} {}{}", call.method, asked.path(), target.unwrap_or_default())
}

/// A body of plain text as the one value that predicates can look at, at the pointer "".
pub(super) fn plain(response: &Response, content: &Substance) -> Option<Wiped> {
    let text = std::str::from_utf8(&response.body).ok().map(str::trim);
    let text = text.filter(|text| matches!(content, Substance::Other) && text.len() <= LARGEST_TEXT)?;
    Some(Wiped(Value::from(text)))
}

fn message_at(body: &Value, pointer: &str) -> Option<String> {
    match body.pointer(pointer)? {
        Value::String(text) if !text.trim().is_empty() => Some(text.clone()),
        _ => None,
    }
}

/// What a status that is no success means where the definition has nothing else to say.
fn usual_meaning(response: &Response, operation: Operation) -> FailureCode {
    match response.status {
        401 => FailureCode::Unauthorized,
        403 => FailureCode::Forbidden,
        404 | 410 => FailureCode::NotFound,
        408 | 425 | 429 => FailureCode::RateLimited,
        503 if response.headers.contains_key(RETRY_AFTER) => FailureCode::RateLimited,
        // AWX answers 302 to everything while it is being upgraded, and 301 where the slash is missing; in both cases
        // nothing was done. 303 is how a service says that it did something and where to read about it.
        303 if matches!(operation, Operation::Mint | Operation::Renew) => FailureCode::NotUnderstood,
        300..=399 => FailureCode::Redirect,
        400..=499 => FailureCode::Rejected,
        500..=599 => FailureCode::ServerError,
        _ => FailureCode::NotUnderstood,
    }
}

/// The moment before which the provider does not want to be asked again: `Retry-After` in seconds or as an HTTP date,
/// at most 24 hours after the answer.
pub fn retry_after(headers: &HeaderMap, received: impl Into<Received>) -> Option<Time> {
    let received = received.into();
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() {
        let wait = Span::try_seconds(text.parse().unwrap_or(i64::MAX)).unwrap_or(LONGEST_WAIT).min(LONGEST_WAIT);
        return received.at.checked_add_signed(wait);
    }
    time::http_date(text).map(|time| received.wait_until(ProviderTime::told(time), LONGEST_WAIT))
}
