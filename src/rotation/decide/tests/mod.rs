//! What comes next, by sentences.

use std::collections::BTreeMap;

mod candidate;
mod evidence;
mod room;
mod serving;
mod waiting;
mod watching;

use super::*;
use crate::account::Listing;
use crate::few::Few;
use crate::inventory::{HookPolicy, Initial, OnFailure, TokenPolicy};
use crate::names::{GenerationNo, Marker, RemoteId, RotationId, StoreKey};
use crate::outcome::{Failure, FailureCode};
use crate::provider::{Abilities, Entry, Expiry, Params, ProviderClock, ProviderTime, Remote};
use crate::rotation::apply;
use crate::rotation::reckoning::Reckoning;
use crate::rotation::state::{
    Candidate, Current, Delivery, Generation, Intent, Noted, Origin, Orphan, Progress, Retirement, Retiring, Retry,
    Search, TokenState, Undo,
};
use crate::rotation::tests::policy;
use crate::secret::SecretSource;

/// A token and everything that a decision about it depends on. Times are hours since its first mint.
struct Case {
    policy: TokenPolicy,
    wanted: bool,
    state: TokenState,
    memo: Memo,
    abilities: Abilities,
    clock: ProviderClock,
    refused: Option<Time>,
    listing: Option<Listing>,
    now: Time,
}

fn at(hours: i64) -> Time {
    policy::start() + Span::hours(hours)
}

fn failure() -> Failure {
    Failure::new(FailureCode::Rejected, "")
}

fn retry(attempts: u32, next: Time) -> Retry {
    Retry { attempts, since: at(0), failure: failure(), next, at: None }
}

fn marker(number: u32) -> Marker {
    let token = "gps".parse().unwrap();
    let instance = crate::names::InstanceId::new([1, 2, 3, 4]);
    Marker::new(instance, &token, GenerationNo(number), RotationId::new([0, 0, 0, 0, 0, u8::try_from(number).unwrap()]))
}

/// Thirty days from `hours` on.
fn generation(number: u32, hours: i64) -> Generation {
    let id: RemoteId = format!("id-{number}").parse().unwrap();
    let remote = Remote {
        id: Some(id),
        expires: Expiry::told(at(hours) + Span::days(30)),
        refresh_expires: None,
        renewable_until: None,
        facts: BTreeMap::new(),
    };
    Generation {
        number: GenerationNo(number),
        account: "gps-account".parse().unwrap(),
        params: Some(Params::new()),
        revision: 0,
        marker: Some(marker(number)),
        remote,
        minted_at: at(hours),
        issued_at: at(hours),
        fingerprints: Few::default(),
        compromised: None,
        reissue_unknown: None,
    }
}

fn delivered(settled: bool) -> Delivery {
    let done = Progress::Done { at: at(0) };
    Delivery {
        stores: Few::from([("a".parse().unwrap(), done.clone())]),
        hooks: Few::from([("reload".parse().unwrap(), done)]),
        settled: settled.then(|| at(0)),
        ..Delivery::default()
    }
}

fn first() -> Current {
    Current::new(generation(1, 0), delivered(true))
}

fn candidate(hours: i64) -> Box<Candidate> {
    let rotation = RotationId::new([2; 6]);
    Box::new(Candidate {
        generation: generation(2, hours),
        rotation,
        delivery: Delivery::default(),
        rejection: None,
        origin: Origin::Minted,
    })
}

#[expect(clippy::unnecessary_box_returns, reason = "it is held in a box wherever it goes")]
fn intent() -> Box<Intent> {
    Box::new(Intent {
        rotation: RotationId::new([2; 6]),
        number: GenerationNo(2),
        marker: marker(2),
        account: "gps-account".parse().unwrap(),
        params: Params::new(),
        at: at(480),
        reason: "renew-before".into(),
    })
}

fn retiring() -> Box<Retiring> {
    let rotation = RotationId::new([2; 6]);
    Box::new(Retiring { generation: generation(1, 0), rotation, handed_over: at(480), revoke_at: at(481) })
}

fn second() -> Current {
    Current::new(generation(2, 480), delivered(true))
}

fn entry(number: u32) -> Entry {
    let remote = generation(number, if number == 1 { 0 } else { 480 }).remote;
    Entry { remote, name: Some(marker(number).to_string()), dead: false, created: None, last_used: None }
}

impl Case {
    fn new(phase: Phase, now: i64) -> Self {
        let mut policy = policy::token();
        policy.stores = vec![policy::store("a")];
        policy.hooks = vec![policy::hook("reload", OnFailure::Retry)];
        let last_number = GenerationNo(if phase == Phase::Vacant { 0 } else { 2 });
        Self {
            policy,
            wanted: true,
            state: TokenState { phase, last_number, ..TokenState::default() },
            memo: Memo { inspected: Some(at(now)), ..Memo::default() },
            abilities: policy::abilities(),
            clock: ProviderClock::Seen(Span::zero()),
            refused: None,
            listing: None,
            now: at(now),
        }
    }

    fn vacant() -> Self {
        Self::new(Phase::Vacant, 0)
    }

    /// Ten hours old.
    fn steady() -> Self {
        Self::new(Phase::Steady { current: first() }, 10)
    }

    fn intended() -> Self {
        Self::new(Phase::Intended { current: Some(first()), intent: intent() }, 480)
    }

    fn searching() -> Self {
        let search = Box::new(Search { since: at(480), failure: failure(), found: None });
        Self::new(Phase::Searching { current: Some(first()), intent: intent(), search }, 480)
    }

    fn minted() -> Self {
        Self::new(Phase::Minted { current: Some(first()), candidate: candidate(480) }, 480)
    }

    fn verified() -> Self {
        Self::new(Phase::Verified { current: Some(first()), candidate: candidate(480) }, 480)
    }

    fn delivered() -> Self {
        let candidate = Box::new(Candidate { delivery: delivered(false), ..*candidate(480) });
        Self::new(Phase::Delivered { current: Some(first()), candidate }, 480)
    }

    /// In the middle of the grace.
    fn active() -> Self {
        let mut case = Self::new(Phase::Active { current: second(), retiring: retiring() }, 480);
        case.now += Span::minutes(30);
        case
    }

    fn undoing() -> Self {
        let undo = Box::new(Undo { why: failure(), restore: true, restored: delivered(false) });
        let candidate = Box::new(Candidate { delivery: delivered(false), ..*candidate(480) });
        Self::new(Phase::Undoing { current: Some(first()), candidate, undo }, 481)
    }

    fn renewing() -> Self {
        let intent = Box::new(Intent { at: at(10), ..*intent() });
        let mut case = Self::new(Phase::Renewing { current: first(), retiring: None, intent }, 10);
        case.abilities = policy::renewing();
        case
    }

    fn current(&mut self) -> &mut Current {
        self.state.phase.current_mut().unwrap()
    }

    fn candidate(&mut self) -> &mut Candidate {
        match &mut self.state.phase {
            Phase::Minted { candidate, .. }
            | Phase::Verified { candidate, .. }
            | Phase::Delivered { candidate, .. }
            | Phase::Undoing { candidate, .. } => candidate,
            other => panic!("{other:?} has no candidate"),
        }
    }

    fn listed(&mut self, hours: i64, numbers: &[u32]) {
        self.listing = Some(Listing::new(at(hours), numbers.iter().map(|number| entry(*number)).collect(), None, true));
    }

    fn hook(&mut self) -> &mut HookPolicy {
        &mut self.policy.hooks[0]
    }

    fn fail_hook(&mut self, next: i64) {
        let row = Progress::Failed(retry(1, at(next)));
        self.candidate().delivery.hooks.insert("reload".parse().unwrap(), row);
    }

    fn reckoning(&self) -> Reckoning<'_> {
        Reckoning { now: self.now, account: &self.policy.account.name, clock: self.clock, proof: self.memo.proof }
    }

    fn with_situation<T>(&self, look: impl FnOnce(&Situation<'_>) -> T) -> T {
        look(&Situation {
            policy: &self.policy,
            wanted: self.wanted,
            state: &self.state,
            memo: &self.memo,
            abilities: &self.abilities,
            clock: self.clock,
            refused: self.refused,
            listing: self.listing.as_ref(),
            now: self.now,
        })
    }

    fn decides(&self) -> String {
        match self.with_situation(decide) {
            Step::Note(event) => format!("note {}", event.name()),
            Step::Act(action) => {
                let text = format!("{action:?}");
                let end = text.find([' ', '(']).unwrap_or(text.len());
                text[..end].to_owned()
            }
            Step::Rest(rest) => {
                let until = rest.until.map_or("for ever".into(), |until| {
                    let minutes = (until - policy::start()).num_minutes();
                    format!("until {}:{:02}", minutes / 60, minutes % 60)
                });
                format!("rest {until}: {}", rest.reason.code())
            }
        }
    }
}

type Row = (&'static str, fn() -> Case, fn(&mut Case), &'static str);

fn check((sentence, make, change, expected): Row) {
    let mut case = make();
    change(&mut case);
    assert_eq!(case.decides(), expected, "{sentence}");
}

#[test]
#[should_panic(expected = "a sentence")]
fn the_check_fails_for_another_step() {
    check(("a sentence", Case::steady, |_| {}, "Mint"));
}

/// Patrold was started without the token in its inventory.
fn forget(case: &mut Case) {
    case.wanted = false;
    case.policy.stores.clear();
    case.policy.hooks.clear();
}

fn revoking(case: &mut Case, now: i64, next: i64) {
    case.now = at(now);
    case.state.retry = Some(retry(1, at(next)));
}
