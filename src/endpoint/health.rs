//! How an account fares, for status, metrics and readiness. Pure: told what happened, asked for a snapshot.

use serde::{Serialize, Serializer};

use crate::clock::{Span, Time};
use crate::outcome::Failure;

/// A snapshot of an account's health. Part of `status --json`: names are stable.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct EndpointHealth {
    /// Whether the account can be used.
    #[serde(flatten)]
    pub state: EndpointState,
    /// The provider's clock minus ours; in JSON in milliseconds.
    #[serde(rename = "skew-ms", serialize_with = "millis")]
    pub skew: Option<Span>,
    /// Whether the clocks differ by more than [`WORRYING`](super::skew::WORRYING).
    pub skew_is_worrying: bool,
    /// The provider asked for patience until then.
    pub blocked_until: Option<Time>,
    /// When an operation last succeeded.
    pub last_success: Option<Time>,
    /// The last operation that failed.
    pub last_failure: Option<FailureAt>,
    /// Requests sent since the account was loaded, failed ones included.
    pub requests: u64,
    /// Requests that the inventory's `rate-limit` would let leave at this moment.
    pub quota_left: Option<u64>,
    /// Requests that the provider still takes, by its last answer that told.
    pub allowance: Option<u64>,
}

/// Whether an account can be used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum EndpointState {
    /// Nothing was tried so far.
    #[default]
    Unknown,
    /// Its credential was accepted when it was last used.
    Fine,
    /// Its credential is dead or missing, or the provider cannot be reached.
    Degraded {
        /// Since when it has been so without a break, whatever the failures were.
        since: Time,
        /// The latest one.
        failure: Failure,
    },
}

/// A failure and its time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FailureAt {
    pub at: Time,
    #[serde(flatten)]
    pub failure: Failure,
}

/// What happened to one operation, as far as the account's health is concerned.
#[derive(Clone, Debug)]
pub(super) enum Event<'a> {
    /// It succeeded; with the account's credential, or without it.
    Succeeded { with_credential: bool },
    /// It failed, and says something about the account.
    AccountFailed(&'a Failure),
    /// It failed for reasons of its own.
    OperationFailed(&'a Failure),
}

/// The part of the health that is kept here and nowhere else.
#[derive(Clone, Debug, Default)]
pub(super) struct Record {
    pub state: EndpointState,
    pub last_success: Option<Time>,
    pub last_failure: Option<FailureAt>,
    pub requests: u64,
}

impl Record {
    /// Takes note of `event`.
    pub fn note(&mut self, event: &Event<'_>, now: Time) {
        match event {
            Event::Succeeded { with_credential } => {
                self.last_success = Some(now);
                if *with_credential || self.is_unreachable() {
                    self.state = if *with_credential { EndpointState::Fine } else { EndpointState::Unknown };
                }
            }
            Event::AccountFailed(failure) => {
                let since = match &self.state {
                    EndpointState::Degraded { since, .. } => *since,
                    EndpointState::Unknown | EndpointState::Fine => now,
                };
                self.state = EndpointState::Degraded { since, failure: (*failure).clone() };
                self.last_failure = Some(FailureAt { at: now, failure: (*failure).clone() });
            }
            Event::OperationFailed(failure) => {
                self.last_failure = Some(FailureAt { at: now, failure: (*failure).clone() });
            }
        }
    }

    /// Degraded for a reason that any answer at all takes away.
    fn is_unreachable(&self) -> bool {
        let EndpointState::Degraded { failure, .. } = &self.state else { return false };
        failure.code.is_unreachable()
    }
}

#[expect(clippy::ref_option, reason = "the signature that serde calls")]
fn millis<S: Serializer>(span: &Option<Span>, serializer: S) -> Result<S::Ok, S::Error> {
    span.map(|span| span.num_milliseconds()).serialize(serializer)
}

/// A time without a success must last so long to count: failures between successes are no outage.
const OUTAGE: Span = Span::seconds(2);

/// When the provider last began to answer again.
#[derive(Clone, Debug, Default)]
pub(super) struct Outage {
    /// The first failure since the last success.
    since: Option<Time>,
    /// When this process first asked it. Nobody knows how long it had not answered by then.
    first: Option<Time>,
    pub ended: Option<Time>,
}

impl Outage {
    /// A request ended; `well`: with an answer that shows the provider at work.
    pub fn note(&mut self, well: bool, now: Time) {
        let first = *self.first.get_or_insert(now);
        if !well {
            self.since.get_or_insert(now);
        } else if self.since.take().is_some_and(|since| now - since >= OUTAGE) {
            self.ended = Some(now);
        } else {
            // What failed before this process did.
            self.ended.get_or_insert(first);
        }
    }

    /// The provider takes back its call for patience.
    pub fn lifted(&mut self, now: Time) {
        self.since = None;
        self.ended = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::FailureCode;

    fn at(seconds: i64) -> Time {
        Time::UNIX_EPOCH + Span::seconds(seconds)
    }

    #[test]
    fn an_account_is_degraded_until_its_credential_is_accepted() {
        let dead = Failure::new(FailureCode::Unauthorized, "401");
        let unreachable = Failure::new(FailureCode::Connect, "refused");
        let other = Failure::new(FailureCode::ServerError, "500");
        let mine = Event::Succeeded { with_credential: true };
        let without = Event::Succeeded { with_credential: false };
        for (sentence, events, degraded_since) in [
            ("nothing happened", &[][..], None),
            ("accepted", std::slice::from_ref(&mine), None),
            ("refused", &[mine.clone(), Event::AccountFailed(&dead)], Some(1)),
            ("since the first of several", &[Event::AccountFailed(&unreachable), Event::AccountFailed(&dead)], Some(0)),
            ("a token's own success proves nothing", &[Event::AccountFailed(&dead), without.clone()], Some(0)),
            ("except that the provider is there", &[Event::AccountFailed(&unreachable), without], None),
            ("accepted again", &[Event::AccountFailed(&dead), mine.clone()], None),
            ("other failures do not count", &[Event::OperationFailed(&other)], None),
        ] {
            let mut record = Record::default();
            for (second, event) in (0..).zip(events) {
                record.note(event, at(second));
            }
            let since = match record.state {
                EndpointState::Degraded { since, .. } => Some(since),
                EndpointState::Fine | EndpointState::Unknown => None,
            };
            assert_eq!(since, degraded_since.map(at), "{sentence}");
        }
    }

    #[test]
    fn the_names_in_json_are_stable() {
        let failure = Failure::new(FailureCode::Unauthorized, "401");
        let health = EndpointHealth {
            state: EndpointState::Degraded { since: at(0), failure: failure.clone() },
            skew: Some(Span::milliseconds(-1500)),
            skew_is_worrying: false,
            blocked_until: None,
            last_success: Some(at(1)),
            last_failure: Some(FailureAt { at: at(2), failure }),
            requests: 3,
            quota_left: Some(4),
            allowance: None,
        };
        let expected = serde_json::json!({
            "state": "degraded",
            "since": "1970-01-01T00:00:00Z",
            "failure": { "code": "unauthorized", "detail": "401" },
            "skew-ms": -1500,
            "skew-is-worrying": false,
            "blocked-until": null,
            "last-success": "1970-01-01T00:00:01Z",
            "last-failure": { "at": "1970-01-01T00:00:02Z", "code": "unauthorized", "detail": "401" },
            "requests": 3,
            "quota-left": 4,
            "allowance": null,
        });
        assert_eq!(serde_json::to_value(health).unwrap(), expected);
    }

    #[test]
    fn an_outage_ends_with_the_first_answer_after_a_while_without_one() {
        let at = |seconds| Time::UNIX_EPOCH + Span::seconds(seconds);
        for (sentence, story, expected) in [
            ("it never answered", &[][..], None),
            ("it answers for the first time since the start", &[(0, true), (9, true)], Some(0)),
            ("its first answers are errors", &[(0, false), (1, true)], Some(0)),
            ("it fails for a moment", &[(0, true), (1, false), (2, true)], Some(0)),
            ("it fails for a while", &[(0, true), (1, false), (2, false), (9, true)], Some(9)),
            ("it goes on failing", &[(0, false), (9, false)], None),
            ("some of its answers are errors", &[(0, true), (1, false), (2, true), (3, false), (4, true)], Some(0)),
        ] {
            let mut outage = Outage::default();
            for (seconds, well) in story {
                outage.note(*well, at(*seconds));
            }
            assert_eq!(outage.ended, expected.map(at), "{sentence}");
        }
    }
}
