//! Every release takes up, at any of its moments, every life that an earlier release wrote down.
//!
//! `tests/data/upgrade/VERSION/lives.json` was written by that release, with [`leave`]; it is never made anew afterwards.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::clock::Span;
use crate::inventory::{OnFailure, TokenPolicy};
use crate::journal::{Head, Stored, record};
use crate::provider::Abilities;
use crate::rotation::event::Event;
use crate::rotation::state::TokenState;
use crate::rotation::stored::{Line, restore};

use super::driver::{Sim, has_secret};
use super::ledger::Issued;
use super::policy::{abilities, hook, initial, renewing, store, token};
use super::world::{Fate, Kind};

/// What a journal holds of one life.
#[derive(Serialize, Deserialize)]
struct Life {
    /// The bodies of its records, oldest first.
    records: Vec<String>,
    /// The state that they lead to.
    state: Value,
}

fn served() -> TokenPolicy {
    let mut policy = token();
    policy.stores = vec![store("a"), store("b")];
    policy.hooks = vec![hook("reload", OnFailure::Rollback)];
    policy
}

/// What is shown, and how it is lived.
type Lived = (&'static str, fn() -> Sim);

/// What this release can live through.
fn lives() -> [Lived; 8] {
    fn minted(abilities: Abilities) -> Sim {
        let mut sim = Sim::new(served(), abilities);
        sim.run_for(Span::hours(3));
        sim
    }
    fn renewing_hourly() -> Sim {
        let mut sim = Sim::new(served(), renewing());
        sim.world.ledger(|ledger| ledger.lifetime = Some(Span::hours(1)));
        sim.run_for(Span::hours(3));
        sim
    }
    /// The second effect of `kind` ends so.
    fn failing(sim: &mut Sim, kind: Kind, fate: Fate) {
        sim.world.script(move |effect, count| if (effect, count) == (kind, 2) { fate } else { Fate::Fine });
    }
    [
        ("a rotation", || {
            let mut sim = minted(abilities());
            sim.request(false).unwrap();
            sim.run_for(Span::hours(4));
            sim
        }),
        ("renewals", renewing_hourly),
        ("a renewal of unknown outcome", || {
            let mut sim = renewing_hourly();
            sim.world.script(|kind, _| if kind == Kind::Renew { Fate::DoneUnknown } else { Fate::Fine });
            sim.run_for(Span::hours(2));
            sim
        }),
        ("an undo", || {
            let mut sim = minted(abilities());
            failing(&mut sim, Kind::Hook, Fate::Refused);
            sim.request(false).unwrap();
            sim.run_for(Span::hours(1));
            sim
        }),
        ("an adoption", || {
            let mut policy = served();
            policy.initial = Some(initial());
            let mut sim = Sim::new(policy, abilities());
            let (now, account) = (sim.now(), sim.context.policy.account.name.clone());
            let minted = sim.world.ledger(|ledger| ledger.issue(&account, None, now, now));
            sim.world.ledger(|ledger| ledger.initial = Some(minted.secret));
            sim.run_for(Span::hours(3));
            assert!(sim.adopt());
            sim.run_for(Span::hours(3));
            sim
        }),
        ("a rollback", || {
            let mut sim = minted(abilities());
            sim.policy().grace = Span::days(1);
            sim.request(false).unwrap();
            sim.run_for(Span::hours(1));
            sim.recall().unwrap();
            sim.run_for(Span::hours(3));
            sim
        }),
        ("an orphan that is found", || {
            let mut sim = minted(abilities());
            failing(&mut sim, Kind::Mint, Fate::DoneUnknown);
            sim.request(false).unwrap();
            sim.run_for(Span::hours(1));
            sim
        }),
        ("an orphan that is remembered", || {
            let mut sim = minted(abilities());
            failing(&mut sim, Kind::Mint, Fate::NotDoneUnknown);
            sim.request(false).unwrap();
            sim.run_for(Span::hours(2));
            sim
        }),
    ]
}

fn releases() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/upgrade")
}

fn left() -> Vec<(String, Life)> {
    let releases = std::fs::read_dir(releases()).unwrap().map(|entry| entry.unwrap().path().join("lives.json"));
    let mut lives = Vec::new();
    for file in releases.filter(|file| file.exists()) {
        let read: BTreeMap<String, Life> = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
        lives.extend(read.into_iter().map(|(name, life)| (format!("{}: {name}", file.display()), life)));
    }
    assert!(!lives.is_empty(), "there is at least one release");
    lives
}

fn stored(records: &[String]) -> Stored {
    let state = serde_json::to_string(&TokenState::default()).unwrap();
    Stored { state, since: records.to_vec(), newest: record::VERSION, head: Head::default() }
}

#[test]
fn what_a_release_wrote_leads_to_the_state_that_it_led_to_there() {
    for (life, Life { records, state }) in left() {
        let expected: TokenState = serde_json::from_value(state).unwrap();
        let mut state = restore(&stored(&records)).unwrap().state;
        // This release reads in the same records what the first did not keep.
        state.phase.generations_mut().for_each(|generation| generation.reissue_unknown = None);
        assert_eq!(state, expected, "{life}");
    }
}

/// Every store and hook has a secret that the provider accepts.
fn serves(sim: &Sim) -> bool {
    let now = sim.provider_now();
    sim.state().phase.current().is_some_and(|current| {
        let lives = |it: &Issued| it.lives(now) && has_secret(&current.generation, it);
        current.delivery.settled.is_some() && sim.world.ledger(|ledger| ledger.tokens.iter().any(lives))
    })
}

#[test]
fn what_a_release_left_half_done_is_done_by_this_one() {
    for (life, Life { records, .. }) in left() {
        for length in 1..=records.len() {
            let sentence = format!("{life}, after {length} records");
            let state = restore(&stored(&records[..length])).unwrap().state;
            let last: Line<'_> = serde_json::from_str(&records[length - 1]).unwrap();
            let renews = life.contains("renewal");
            let mut sim = Sim::new(served(), if renews { renewing() } else { abilities() });
            // A provider that never heard of these tokens, and a journal that has none of their secrets.
            sim.clock.set(last.at);
            let account = sim.context.policy.account.name.clone();
            sim.world.ledger(|ledger| {
                // Its ids and secrets are others than those that the other provider gave.
                (0..100).for_each(|_| drop(ledger.issue(&account, None, last.at, last.at)));
                ledger.tokens.iter_mut().for_each(|it| it.revoked = true);
            });
            sim.take_up(state);
            sim.run_for(Span::days(3));
            if !serves(&sim) {
                // What may live on at the old provider takes its slot until the deadline.
                sim.run_for(Span::days(40));
            }
            assert_eq!(sim.violations(), Vec::<String>::new(), "{sentence}");
            assert!(serves(&sim), "{sentence}: {:?}", sim.state());
        }
    }
}

#[test]
fn the_lives_of_this_release_hold_what_they_are_named_after() {
    let wanted: [(&str, &[&str]); 8] = [
        ("a rotation", &["activated", "revoked", "retired"]),
        ("renewals", &["renewal-intended", "renewed", "renewal-verified"]),
        ("a renewal of unknown outcome", &["renewal-doubted", "renewal-examined"]),
        ("an undo", &["undo-begun", "undone"]),
        ("an adoption", &["adopted", "offered", "verified"]),
        ("a rollback", &["recalled"]),
        ("an orphan that is found", &["mint-doubted", "orphan-found", "orphan-revoked"]),
        ("an orphan that is remembered", &["mint-doubted", "search-ended"]),
    ];
    for ((name, live), (told, kinds)) in lives().into_iter().zip(wanted) {
        assert_eq!(name, told);
        let lines = live().records().into_iter().map(|body| {
            let line: Line<'_> = serde_json::from_str(&body).unwrap();
            Event::name(&line.event)
        });
        let lines: Vec<_> = lines.collect();
        for kind in kinds {
            assert!(lines.contains(kind), "{name} lacks {kind}: {lines:?}");
        }
    }
}

/// Leaves what later releases take up: run once, by the release, with
/// `cargo test --lib releases::leave -- --ignored`.
#[test]
#[ignore = "makes the test data of a release"]
fn leave() {
    let release = releases().join(env!("CARGO_PKG_VERSION").rsplit_once('.').unwrap().0);
    let file = release.join("lives.json");
    assert!(!file.exists(), "{} exists: it is never made anew", file.display());
    let lives: BTreeMap<_, _> = lives()
        .into_iter()
        .map(|(name, live)| {
            let sim = live();
            let state = serde_json::to_value(sim.state()).unwrap();
            (name, Life { records: sim.records(), state })
        })
        .collect();
    std::fs::create_dir_all(&release).unwrap();
    std::fs::write(file, serde_json::to_string_pretty(&lives).unwrap() + "\n").unwrap();
}
