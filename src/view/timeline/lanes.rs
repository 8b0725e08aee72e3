//! From a status, or from an inventory and its journal, to lanes.

use std::collections::BTreeMap;

use crate::clock::{Span, Time};
use crate::few::Few;
use crate::inventory::{Inventory, TokenPolicy};
use crate::names::{GenerationNo, TokenName};
use crate::provider::{Expiry, ProviderClock, Remote};
use crate::report::outlook::NextAction;
use crate::report::status::{Condition, Status, TokenStatus};
use crate::rotation::TokenState;
use crate::rotation::due::{self, Means, RuleKind};
use crate::rotation::reckoning::Reckoning;
use crate::rotation::state::{Current, Delivery, Generation};
use crate::text::words;
use crate::view::plan::Plan;

use super::{Bar, BarKind, Lane, Mark, MarkKind, Timeline};

/// Rotations of one token that are foreseen; a picture has no room for more.
const MOST: usize = 120;

/// Openings of one window that are shown.
const WINDOWS: usize = 120;

/// The shortest time that a picture shows.
const SHORTEST: Span = Span::seconds(30);

/// What is and comes next for the tokens of a status, in its order, at most `most` of them.
pub fn present(status: &Status, inventory: &Inventory, tokens: &[&TokenStatus], most: usize) -> Timeline {
    let now = status.at;
    let shown = &tokens[..tokens.len().min(most)];
    // As far as the picture must reach, so that the next rotation of most is on it: a life of a thousand years beside one
    // of minutes would leave nothing to see.
    let mut reach: Vec<Span> = shown.iter().filter_map(|token| Some(token.next.at? - now)).collect();
    reach.retain(|span| *span > Span::zero());
    reach.sort_unstable();
    let reach = reach.get(reach.len() * 4 / 5).or(reach.last()).copied().unwrap_or(Span::hours(1)).max(SHORTEST);
    let (from, to) = (earlier(now, reach / 2), later(now, reach + reach / 4));
    let lane = |token: &&TokenStatus| {
        let policy = inventory.tokens.get(&token.name);
        Lane {
            name: token.name.to_string(),
            title: format!("{}: {}, {}", token.name, token.condition.word(), sentence(token, now)),
            bars: bars(token),
            marks: token
                .next
                .at
                .filter(|_| mints(token.next.action))
                .map(|at| mark(at, token.next.overridden))
                .into_iter()
                .collect(),
            windows: policy.map(|policy| windows(policy, from, to)).unwrap_or_default(),
        }
    };
    Timeline { from, to, now, lanes: shown.iter().map(lane).collect(), left_out: tokens.len() - shown.len() }
}

/// What comes next, in words.
fn sentence(token: &TokenStatus, now: Time) -> String {
    match (token.next.action, token.next.at) {
        (NextAction::Nothing, _) | (_, None) => token.next.why.clone(),
        (deed, Some(at)) => format!("{} {}: {}", deed.word(), words::relative(at, now), token.next.why),
    }
}

fn bars(token: &TokenStatus) -> Vec<Bar> {
    let mut bars = Vec::new();
    if let Some(retiring) = &token.retiring {
        bars.push(Bar { kind: BarKind::Grace, from: retiring.generation.minted_at, to: Some(retiring.revoke_at) });
    }
    if let Some(current) = &token.current {
        let kind = if token.condition == Condition::Down { BarKind::Dead } else { BarKind::Current };
        bars.push(Bar { kind, from: current.minted_at, to: current.expires.here() });
    }
    bars.extend(token.candidate.iter().map(|candidate| Bar {
        kind: BarKind::Planned,
        from: candidate.minted_at,
        to: candidate.expires.here(),
    }));
    bars
}

/// Every rotation that comes until `end`, in the order of the plan, of at most `most` tokens.
pub fn foreseen(
    inventory: &Inventory,
    states: &BTreeMap<TokenName, TokenState>,
    plan: &Plan,
    end: Time,
    most: usize,
) -> Timeline {
    let now = plan.at;
    let from = earlier(now, (end - now) / 8);
    let shown = plan.tokens.iter().take(most);
    let lanes = shown.map(|entry| {
        let policy = inventory.tokens.get(&entry.token);
        let current = states.get(&entry.token).and_then(|state| state.phase.current());
        let mut lane = Lane {
            name: entry.token.to_string(),
            title: format!("{}: {}", entry.token, entry.outlook.why),
            bars: Vec::new(),
            marks: Vec::new(),
            windows: policy.map(|policy| windows(policy, now, end)).unwrap_or_default(),
        };
        if let Some(retiring) = states.get(&entry.token).and_then(|state| state.phase.retiring()) {
            let from = retiring.generation.minted_at;
            lane.bars.push(Bar { kind: BarKind::Grace, from, to: Some(retiring.revoke_at) });
        }
        if let Some(current) = current {
            let kind = if reckoning(policy.map(AsRef::as_ref), current, now).unusable(current) {
                BarKind::Dead
            } else {
                BarKind::Current
            };
            let generation = &current.generation;
            lane.bars.push(Bar { kind, from: generation.minted_at, to: generation.remote.expires.here() });
        }
        if let (Some(policy), Some(at)) = (policy, entry.outlook.at.filter(|_| mints(entry.outlook.action))) {
            follow(&mut lane, policy, current, at, entry.outlook.overridden, end);
        }
        lane
    });
    let lanes: Vec<_> = lanes.collect();
    Timeline { from, to: end, now, left_out: plan.tokens.len() - lanes.len(), lanes }
}

/// How the journal alone says when a generation ends: no daemon is asked for the provider's clock.
fn reckoning<'a>(policy: Option<&'a TokenPolicy>, current: &'a Current, now: Time) -> Reckoning<'a> {
    let account = policy.map_or(&current.generation.account, |policy| &policy.account.name);
    Reckoning { now, account, clock: ProviderClock::Unseen, proof: None }
}

/// Rotation after rotation, each by the rules that decide about the generation before it.
fn follow(lane: &mut Lane, policy: &TokenPolicy, current: Option<&Current>, first: Time, overridden: bool, end: Time) {
    let life = current.and_then(|current| {
        let generation = &current.generation;
        Some(generation.remote.expires.here()? - generation.minted_at)
    });
    let life = policy.lifetime.or(life);
    let (mut at, mut overridden) = (first, overridden);
    let mut next = current.cloned().unwrap_or_else(|| minted(policy, first));
    for _ in 0..MOST {
        if at > end {
            return;
        }
        lane.marks.push(mark(at, overridden));
        let expires = life.and_then(|life| at.checked_add_signed(life));
        if let Some(bar) = lane.bars.iter_mut().rev().find(|bar| bar.kind != BarKind::Grace) {
            // The old one lives on for its grace, and not beyond its own end.
            let graced = later(at, policy.grace);
            let over = bar.to.map_or(graced, |to| to.min(graced));
            let grace = Bar { kind: BarKind::Grace, from: at, to: Some(over) };
            bar.to = Some(bar.to.map_or(at, |to| to.min(at)));
            lane.bars.push(grace);
        }
        lane.bars.push(Bar { kind: BarKind::Planned, from: at, to: expires });
        next.generation.minted_at = at;
        next.generation.issued_at = at;
        next.generation.account = policy.account.name.clone();
        next.generation.params = Some(policy.params.clone());
        next.generation.remote.expires = expires.map_or(next.generation.remote.expires, Expiry::told);
        next.generation.remote.refresh_expires = None;
        next.generation.remote.renewable_until = None;
        (next.dead, next.secret_lost, next.renewal_spent) = (None, false, false);
        let rules =
            due::rules(policy, &TokenState::default(), &next, Means::Rotation, &reckoning(Some(policy), &next, at));
        let Some(due) = due::deciding(&rules, at).filter(|due| due.kind == RuleKind::Rotation && due.at > at) else {
            return;
        };
        let start = due::start(policy, &due, at);
        (at, overridden) = (start.at, start.overridden);
    }
}

/// The first generation of a token that has none.
fn minted(policy: &TokenPolicy, at: Time) -> Current {
    let remote = Remote {
        id: None,
        expires: Expiry::Unknown,
        refresh_expires: None,
        renewable_until: None,
        facts: BTreeMap::new(),
    };
    let generation = Generation {
        number: GenerationNo(1),
        account: policy.account.name.clone(),
        params: Some(policy.params.clone()),
        revision: 0,
        marker: None,
        remote,
        minted_at: at,
        issued_at: at,
        fingerprints: Few::default(),
        compromised: None,
        reissue_unknown: None,
    };
    Current::new(generation, Delivery::default())
}

fn mark(at: Time, overridden: bool) -> Mark {
    Mark { kind: if overridden { MarkKind::Overridden } else { MarkKind::Renew }, at }
}

fn mints(deed: NextAction) -> bool {
    matches!(deed, NextAction::Rotate | NextAction::Renew | NextAction::Adopt)
}

/// When the window of a token is open between two times.
fn windows(policy: &TokenPolicy, from: Time, to: Time) -> Vec<(Time, Time)> {
    let Some(window) = &policy.window else { return Vec::new() };
    let mut open = Vec::new();
    let mut after = earlier(from, window.duration);
    while let Some(opens) = window.next_open(after).filter(|opens| *opens < to && open.len() < WINDOWS) {
        open.push((opens, later(opens, window.duration)));
        after = opens;
    }
    open
}

fn earlier(time: Time, span: Span) -> Time {
    time.checked_sub_signed(span).unwrap_or(Time::MIN_UTC)
}

fn later(time: Time, span: Span) -> Time {
    time.checked_add_signed(span).unwrap_or(Time::MAX_UTC)
}
