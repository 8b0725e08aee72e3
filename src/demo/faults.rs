//! Misbehaviour on order: what networks, proxies and servers do to a client that asked for something.
//!
//! What matters to a rotating client is whether the request was *acted on*. Every fault says so.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::SecondsFormat;
use serde_json::Value;

use super::Service;
use super::dice::Dice;
use crate::clock::{Span, Time};
use crate::provider::Operation;

/// One way to misbehave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Acts after `by`, then answers properly.
    Slow { by: Span },
    /// Acts, then the connection is reset instead of an answer.
    LoseAnswer,
    /// The connection is reset at once; acts `after` that all the same.
    LoseAnswerLate { after: Span },
    /// A proxy answers 504 at once; acts `after` that all the same. Seen on a real AWX.
    GatewayTimeout { after: Span },
    /// The connection is reset; never acts.
    LoseRequest,
    /// This 5xx with a page of HTML; does not act.
    ServerError(u16),
    /// Acts, then answers this 5xx with a page of HTML.
    ServerErrorAfterActing(u16),
    /// 429 with `Retry-After` in seconds or as a date; does not act.
    RateLimited { retry_after: Span, as_date: bool },
    /// 503 with `Retry-After` in seconds; does not act.
    Unavailable { retry_after: Span },
    /// Status 200 with a page that says that an upgrade is going on; does not act.
    HtmlOk,
    /// Acts, then answers as `HtmlOk`.
    HtmlOkAfterActing,
    /// Acts, then the connection breaks in the middle of the answer's body.
    Truncated,
    /// Acts, then sends a hundred megabytes of white space.
    Huge,
    /// Acts, then answers with numbers as strings and strings in lists.
    WrongTypes,
    /// Acts, then writes the times of the answer in another form.
    OtherTimeFormat,
    /// Acts, then answers with a `Date` that is so far ahead, as a proxy with a clock of its own does.
    WrongDate { ahead: Span },
    /// Acts, then answers with all of its moments in a zone that is so far ahead.
    OtherZone { ahead: Span },
    /// Acts, then answers that what it tells of has expired in the year 1.
    LongExpired,
    /// 302 to this address; does not act.
    Redirect { to: String },
    /// Acts, then answers with the proper status and no body.
    Empty,
    /// Neither acts nor answers, and keeps the connection open.
    Stall,
    /// 401 in the API's own words although the credential is valid; does not act.
    Unauthorized,
    /// A lie. Mint: answers with the newest token that there is, under the new name, instead of making one.
    SameToken,
    /// A lie. Mint: makes a new secret for the newest token that there is; its old one is dead at once.
    SameId,
    /// A lie. List: no entries, although there are some.
    EmptyListing,
    /// List: what was minted within `by` before is not there yet. Not a lie: services that keep their listings apart from
    /// their tokens do that, and an account's `settle` says for how long.
    LateListing { by: Span },
    /// A lie. 404 in words that name nothing, although it is there; does not act.
    NotFound,
    /// 400 in words that name nothing; does not act.
    Refused,
}

impl Fault {
    /// What [`Faults::random`] draws from: everything that costs a client neither a timeout nor much memory.
    pub fn menu() -> Vec<Self> {
        let soon = Span::milliseconds(50);
        vec![
            Self::Slow { by: soon },
            Self::LoseAnswer,
            Self::LoseAnswerLate { after: soon },
            Self::GatewayTimeout { after: soon },
            Self::LoseRequest,
            Self::ServerError(500),
            Self::ServerError(502),
            Self::ServerErrorAfterActing(500),
            Self::RateLimited { retry_after: Span::seconds(1), as_date: false },
            Self::RateLimited { retry_after: Span::seconds(1), as_date: true },
            Self::Unavailable { retry_after: Span::seconds(1) },
            Self::HtmlOk,
            Self::HtmlOkAfterActing,
            Self::Truncated,
            Self::WrongTypes,
            Self::OtherTimeFormat,
            Self::WrongDate { ahead: Span::hours(1) },
            Self::WrongDate { ahead: Span::hours(-1) },
            // A zone that is ahead, in an answer that shows no clock, is beyond what anybody can find out in time.
            Self::OtherZone { ahead: Span::hours(-2) },
            Self::LongExpired,
            Self::Redirect { to: "/migrations_notran/".to_owned() },
            Self::Empty,
            Self::Unauthorized,
        ]
    }

    /// Answers that are not true, and cost a client nothing that it could not have done without.
    pub fn lies() -> Vec<Self> {
        let late = Self::LateListing { by: Span::milliseconds(900) };
        vec![Self::EmptyListing, late, Self::NotFound, Self::Refused]
    }

    /// Whether it can be drawn for `operation`. Ordered by name, it happens to any.
    fn fits(&self, operation: Operation) -> bool {
        match self {
            Self::SameToken | Self::SameId => operation == Operation::Mint,
            Self::EmptyListing | Self::LateListing { .. } => operation == Operation::List,
            Self::NotFound | Self::Refused => matches!(operation, Operation::List | Operation::Revoke),
            _ => true,
        }
    }
}

/// `answer` without the entries of its lists, and without a next page.
pub(super) fn without_entries(answer: Value) -> Value {
    match answer {
        Value::Array(items) if items.iter().all(Value::is_object) => Value::Array(Vec::new()),
        Value::Object(fields) => {
            let emptied = |(key, value): (String, Value)| {
                let value = if key == "next" { Value::Null } else { without_entries(value) };
                (key, value)
            };
            fields.into_iter().map(emptied).collect()
        }
        other => other,
    }
}

/// The orders. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    orders: Arc<Mutex<Orders>>,
}

#[derive(Debug, Default)]
struct Orders {
    scripted: BTreeMap<(Service, Operation), VecDeque<Fault>>,
    random: Option<Chance>,
}

#[derive(Debug)]
struct Chance {
    dice: Dice,
    rate: f64,
    menu: Vec<Fault>,
}

impl Faults {
    /// The next `operation` at `service` that has no order yet goes wrong in this way.
    pub fn next(&self, service: Service, operation: Operation, fault: Fault) {
        self.lock().scripted.entry((service, operation)).or_default().push_back(fault);
    }

    /// From now on a share `rate` (0 to 1) of all operations without an order goes wrong in ways drawn from
    /// [`Fault::menu`]. The same seed draws the same faults for the same sequence of requests.
    pub fn random(&self, seed: u64, rate: f64) {
        self.random_of(seed, rate, Fault::menu());
    }

    /// As [`Self::random`], drawn from `menu`.
    pub fn random_of(&self, seed: u64, rate: f64, menu: Vec<Fault>) {
        self.lock().random = Some(Chance { dice: Dice::new(seed), rate, menu });
    }

    /// Behaves from now on: no random faults, and orders not yet carried out are dropped.
    pub fn stop(&self) {
        *self.lock() = Orders::default();
    }

    /// How many orders were not carried out yet: a test that ordered a fault can prove that it was met.
    pub fn pending(&self) -> usize {
        self.lock().scripted.values().map(VecDeque::len).sum()
    }

    /// What is to go wrong with a request that arrives now.
    pub(super) fn draw(&self, service: Service, operation: Operation) -> Option<Fault> {
        let mut orders = self.lock();
        if let Some(fault) = orders.scripted.get_mut(&(service, operation)).and_then(VecDeque::pop_front) {
            return Some(fault);
        }
        let Chance { dice, rate, menu } = orders.random.as_mut()?;
        let drawn = if dice.hits(*rate) { dice.pick(menu).cloned() } else { None };
        drawn.filter(|fault| fault.fits(operation))
    }

    fn lock(&self) -> MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `answer` with numbers as strings and strings in lists.
pub(super) fn wrong_types(answer: Value) -> Value {
    match answer {
        Value::Number(number) => Value::String(number.to_string()),
        Value::String(text) => Value::Array(vec![Value::String(text)]),
        Value::Array(items) => items.into_iter().map(wrong_types).collect(),
        Value::Object(fields) => fields.into_iter().map(|(key, value)| (key, wrong_types(value))).collect(),
        other => other,
    }
}

/// `answer` with its times in another form: RFC 3339 without `T` and offset, Unix seconds as RFC 3339.
/// Every moment of an answer, moved by `span`.
pub(super) fn moved(answer: Value, span: Span) -> Value {
    moments(answer, "", &|_, time| time.checked_add_signed(span).unwrap_or(time))
}

/// An answer that says of everything that it has expired.
pub(super) fn long_expired(answer: Value) -> Value {
    let year_one = Time::from_timestamp(-62_135_596_800, 0).unwrap_or_default();
    let ends = |key: &str| key.to_ascii_lowercase().contains("expir");
    moments(answer, "", &|key, time| if ends(key) { year_one } else { time })
}

/// An answer whose moments are what `change` makes of each, under its key.
fn moments(value: Value, key: &str, change: &dyn Fn(&str, Time) -> Time) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(|item| moments(item, key, change)).collect(),
        Value::Object(fields) => fields
            .into_iter()
            .map(|(key, value)| {
                let value = moments(value, &key, change);
                (key, value)
            })
            .collect(),
        Value::String(text) => match text.parse::<Time>() {
            Ok(time) => change(key, time).to_rfc3339_opts(SecondsFormat::Millis, true).into(),
            Err(_) => Value::String(text),
        },
        // Zero stands for none.
        Value::Number(number) if key.ends_with("Timestamp") => number
            .as_i64()
            .filter(|seconds| *seconds != 0)
            .and_then(|seconds| Time::from_timestamp(seconds, 0))
            .map_or(Value::Number(number), |time| change(key, time).timestamp().into()),
        other => other,
    }
}

pub(super) fn other_times(answer: Value) -> Value {
    match answer {
        Value::Array(items) => items.into_iter().map(other_times).collect(),
        Value::Object(fields) => {
            fields.into_iter().map(|(key, value)| (key.clone(), other_time(&key, value))).collect()
        }
        other => other,
    }
}

fn other_time(key: &str, value: Value) -> Value {
    match value {
        Value::String(text) => match text.parse::<Time>() {
            Ok(time) => Value::String(time.format("%Y-%m-%d %H:%M:%S").to_string()),
            Err(_) => Value::String(text),
        },
        Value::Number(number) if key.ends_with("Timestamp") => number
            .as_i64()
            .and_then(|seconds| Time::from_timestamp(seconds, 0))
            .map_or(Value::Number(number), |time| time.to_rfc3339_opts(SecondsFormat::Secs, true).into()),
        other => other_times(other),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn orders_are_carried_out_in_turn_and_then_stop() {
        let faults = Faults::default();
        faults.next(Service::Awx, Operation::Mint, Fault::LoseAnswer);
        faults.next(Service::Awx, Operation::Mint, Fault::HtmlOk);
        assert_eq!(faults.pending(), 2);
        assert_eq!(faults.draw(Service::Awx, Operation::List), None);
        assert_eq!(faults.draw(Service::Commvault, Operation::Mint), None);
        assert_eq!(faults.draw(Service::Awx, Operation::Mint), Some(Fault::LoseAnswer));
        assert_eq!(faults.draw(Service::Awx, Operation::Mint), Some(Fault::HtmlOk));
        assert_eq!(faults.draw(Service::Awx, Operation::Mint), None);
    }

    #[test]
    fn random_faults_repeat_with_their_seed_and_stop_when_told() {
        let draw = |seed| {
            let faults = Faults::default();
            faults.random(seed, 0.5);
            let drawn: Vec<_> = (0..50).map(|_| faults.draw(Service::Awx, Operation::Verify)).collect();
            faults.stop();
            assert_eq!(faults.draw(Service::Awx, Operation::Verify), None);
            drawn
        };
        assert_eq!(draw(3), draw(3));
        assert_ne!(draw(3), draw(4));
        assert!(draw(3).iter().any(Option::is_some) && draw(3).iter().any(Option::is_none));
    }

    #[test]
    fn a_listing_loses_its_entries() {
        let answer = json!({"count": 1, "next": "/2", "results": [{"id": 4}], "scopes": ["read"]});
        assert_eq!(without_entries(answer), json!({"count": 1, "next": null, "results": [], "scopes": ["read"]}));
    }

    #[test]
    fn answers_are_distorted_where_it_hurts() {
        let answer = json!({"id": 4, "name": "x", "expires": "2030-01-02T03:04:05.678901Z", "until": null,
                            "tokenExpiryTimestamp": 1_893_553_445});
        assert_eq!(
            wrong_types(answer.clone()),
            json!({"id": "4", "name": ["x"], "expires": ["2030-01-02T03:04:05.678901Z"], "until": null,
                   "tokenExpiryTimestamp": "1893553445"})
        );
        assert_eq!(
            other_times(answer),
            json!({"id": 4, "name": "x", "expires": "2030-01-02 03:04:05", "until": null,
                   "tokenExpiryTimestamp": "2030-01-02T03:04:05Z"})
        );
    }
}
