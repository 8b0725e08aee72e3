//! Steps of rotations by their result, counted from the journal's records: for metrics, and for what a person wants to
//! see of the last hours. Pure.

use std::collections::{BTreeMap, VecDeque};

use crate::clock::Time;
use crate::names::{AccountName, TokenName};

use super::event::{Event, Level};
use super::state::{Current, Phase, TokenState};

pub use super::step::{Ended, StepName, StepResult};

/// How many events are kept for people to read.
const KEPT: usize = 40;

/// The step that `event` ends, and how; `None` where it ends none. `state`: what it led to.
pub fn step(event: &Event, state: &TokenState) -> Option<(StepName, StepResult)> {
    match event.told().ended {
        _ if event.is_withdrawn() => None,
        Ended::Nothing => None,
        Ended::Step(name, result) => Some((name, result)),
        Ended::Next => Some((postponed(&state.phase), StepResult::Failed)),
    }
}

/// What was to come next where nothing came of it.
fn postponed(phase: &Phase) -> StepName {
    match phase {
        Phase::Vacant | Phase::Steady { .. } | Phase::Intended { .. } => StepName::Mint,
        Phase::Searching { .. } => StepName::Search,
        Phase::Minted { .. } | Phase::Renewed { .. } => StepName::Verify,
        Phase::Verified { .. } => StepName::Write,
        Phase::Delivered { .. } => StepName::Hook,
        Phase::Active { .. } => StepName::Revoke,
        Phase::Revoked { .. } => StepName::Prove,
        Phase::Undoing { .. } => StepName::Undo,
        Phase::Renewing { .. } => StepName::Renew,
        Phase::RenewalUnknown { .. } => StepName::Examine,
    }
}

/// One thing that happened, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happening {
    pub at: Time,
    pub token: TokenName,
    pub good: bool,
    /// A sentence without a full stop.
    pub what: String,
}

/// What is worth telling people of `event`: ends of rotations, and what kept one from ending.
pub fn happening(token: &TokenName, at: Time, event: &Event, state: &TokenState) -> Option<Happening> {
    let told = event.told();
    if event.is_withdrawn() {
        return None;
    }
    let what = match event {
        Event::Activated { .. } | Event::ActivatedEarly { .. } | Event::RenewalVerified { .. } => {
            of_generation(told.sentence, state.phase.current()?)
        }
        Event::StoreOwed { store, found, added: false, .. } => format!("{}: {store} {found}", told.sentence),
        Event::Adopted { .. }
        | Event::Retired { .. }
        | Event::LeftToExpire { .. }
        | Event::InitialRefused { .. }
        | Event::MintRefused { .. }
        | Event::MintUnknown { .. }
        | Event::MintedInPlace { .. }
        | Event::UndoBegun { .. }
        | Event::RenewalRefused { .. }
        | Event::RenewalUnknown { .. }
        | Event::FoundDead { .. } => match event.failure() {
            Some(failure) => format!("{}: {failure}", told.sentence),
            None => told.sentence.to_owned(),
        },
        _ => return None,
    };
    Some(Happening { at, token: token.clone(), good: told.level <= Level::Info, what })
}

fn of_generation(sentence: &str, current: &Current) -> String {
    format!("{sentence} (generation {})", current.generation.number)
}

/// Counters by account, step and result.
pub type Steps = BTreeMap<(AccountName, StepName, StepResult), u64>;

/// What happened since the process started.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub steps: Steps,
    /// The newest last.
    pub happenings: VecDeque<Happening>,
}

impl Tally {
    /// Takes note of `event`, which happened to `token` of `account` at `at` and led to `state`.
    pub fn note(&mut self, account: &AccountName, token: &TokenName, at: Time, event: &Event, state: &TokenState) {
        if let Some((step, result)) = step(event, state) {
            *self.steps.entry((account.clone(), step, result)).or_default() += 1;
        }
        if let Some(happening) = happening(token, at, event, state) {
            self.happenings.push_back(happening);
            while self.happenings.len() > KEPT {
                self.happenings.pop_front();
            }
        }
    }

    /// What is known of times before: when tokens were last handed over.
    pub fn recall<'t>(&mut self, tokens: impl Iterator<Item = (&'t TokenName, &'t TokenState)>) {
        let past = tokens.filter_map(|(token, state)| Some((state.last_success?, token, state.phase.current()?)));
        let mut past: Vec<_> = past.collect();
        past.sort_by_key(|(at, ..)| *at);
        let surplus = past.len().saturating_sub(KEPT);
        let newest = past.into_iter().skip(surplus).map(|(at, token, current)| {
            let sentence = Event::Activated { revoke_at: at, vain: None }.told().sentence;
            Happening { at, token: token.clone(), good: true, what: of_generation(sentence, current) }
        });
        self.happenings = newest.collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{Failure, FailureCode};

    fn drifted() -> Event {
        let store = "file:/a".parse().unwrap();
        let found = "is empty".to_owned();
        Event::StoreOwed { store, found, revoke_at: None, added: false, quiet: false, tell_at: None }
    }

    #[test]
    fn steps_end_as_events_tell() {
        let failure = || Failure::new(FailureCode::Connect, "refused");
        let state = TokenState::default();
        let next = Time::UNIX_EPOCH;
        for (sentence, event, expected) in [
            ("refused", Event::MintRefused { failure: failure(), next }, Some((StepName::Mint, StepResult::Failed))),
            ("lost", Event::MintUnknown { failure: failure() }, Some((StepName::Mint, StepResult::Unknown))),
            ("put off", Event::Postponed { failure: failure(), next }, Some((StepName::Mint, StepResult::Failed))),
            ("drift", drifted(), Some((StepName::Inspect, StepResult::Drifted))),
            ("a new store is no drift", Event::store_added("file:/a".parse().unwrap()), None),
            ("a request is no step", Event::Requested {}, None),
        ] {
            assert_eq!(step(&event, &state), expected, "{sentence}");
        }
    }

    #[test]
    fn people_see_the_newest_only() {
        let (account, token) = ("a".parse().unwrap(), "t".parse().unwrap());
        let mut tally = Tally::default();
        for second in 0..100 {
            let at = Time::UNIX_EPOCH + crate::clock::Span::seconds(second);
            tally.note(&account, &token, at, &drifted(), &TokenState::default());
        }
        assert_eq!(tally.happenings.len(), KEPT);
        assert_eq!(tally.happenings.back().unwrap().at.timestamp(), 99);
        assert_eq!(tally.steps[&(account, StepName::Inspect, StepResult::Drifted)], 100);
    }
}
