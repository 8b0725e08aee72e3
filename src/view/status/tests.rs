//! Statuses of one token in the states that matter to people. States are made by the machine's own events.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::json;

use crate::clock::{Span, Time};
use crate::endpoint::{EndpointHealth, EndpointState, FailureAt};
use crate::few::Few;
use crate::inventory::{self, Environment, Inventory, TokenPolicy};
use crate::names::{GenerationNo, InstanceId, Marker, RotationId, StoreKey, TokenName};
use crate::outcome::{Failure, FailureCode};
use crate::provider::Abilities;
use crate::provider::{Expiry, ProviderClock, Remote};
use crate::report::outlook::NextAction;
use crate::report::reload::ReloadAnswer;
use crate::report::status::*;
use crate::rotation::state::{Candidate, Delivery, Generation, Intent, Origin};
use crate::rotation::{Event, TokenState, apply};
use crate::text::Paint;
use crate::view::plan::{Fate, Plan};

fn start() -> Time {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

fn days(count: i64) -> Span {
    Span::days(count)
}

/// `ci` can be revoked; `gps` cannot.
fn inventory() -> Inventory {
    const TEXT: &str = r#"
        [daemon]
        state-dir = "/s"
        control = "/c"
        [account.a]
        provider = "awx"
        url = "https://awx.example.com"
        credential = { env = "A" }
        [account.b]
        provider = "pointone"
        credential = { env = "B" }
        [[token]]
        name = "ci"
        account = "a"
        rotate-every = "30d"
        jitter = "1s"
        params = { user_id = 7, scope = "write" }
        stores = [{ kind = "file", path = "/run/ci/token" }]
        [[token]]
        name = "gps"
        account = "b"
        lifetime = "30d"
        renew-before = "10d"
        jitter = "1s"
        stores = [{ kind = "file", path = "/run/gps/token" }]
    "#;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("p.toml");
    std::fs::write(&path, TEXT).unwrap();
    let loaded = inventory::load(&path, &Environment::default(), start());
    loaded.inventory.unwrap_or_else(|| panic!("{}", loaded.report.render()))
}

fn policy(name: &str) -> Arc<TokenPolicy> {
    Arc::clone(&inventory().tokens[&name.parse::<TokenName>().unwrap()])
}

fn key(policy: &TokenPolicy) -> StoreKey {
    policy.stores[0].key.clone()
}

fn intent(policy: &TokenPolicy, number: u32) -> Intent {
    let rotation = RotationId::new([7; 6]);
    let number = GenerationNo(number);
    Intent {
        rotation,
        number,
        marker: Marker::new(InstanceId::new([1, 2, 3, 4]), &policy.name, number, rotation),
        account: policy.account.name.clone(),
        params: policy.params.clone(),
        at: start(),
        reason: "first-issue".to_owned(),
    }
}

fn candidate(policy: &TokenPolicy, number: u32, at: Time) -> Box<Candidate> {
    let intent = intent(policy, number);
    Box::new(Candidate {
        generation: Generation {
            number: intent.number,
            account: intent.account,
            params: Some(intent.params),
            revision: 0,
            marker: Some(intent.marker),
            remote: Remote {
                id: Some(format!("id-{number}").parse().unwrap()),
                expires: Expiry::told(at + policy.lifetime.unwrap_or(days(60))),
                refresh_expires: None,
                renewable_until: None,
                facts: BTreeMap::new(),
            },
            minted_at: at,
            issued_at: at,
            fingerprints: Few::default(),
            compromised: None,
            reissue_unknown: None,
        },
        rotation: intent.rotation,
        delivery: Delivery::default(),
        rejection: None,
        origin: Origin::Minted,
    })
}

/// The events of one rotation that goes well.
fn rotation(policy: &TokenPolicy, number: u32, at: Time) -> Vec<Event> {
    vec![
        Event::Intended { intent: intent(policy, number) },
        Event::Minted { candidate: candidate(policy, number, at) },
        Event::Verified { proven: true, id: None, expires: None },
        Event::StoreWritten { store: key(policy), receipt: None },
        Event::Delivered {},
        Event::Activated { revoke_at: at + Span::hours(1), vain: None },
    ]
}

fn state(at: Time, events: &[Event]) -> TokenState {
    let mut state = TokenState::default();
    for event in events {
        state = apply(state, at, event).unwrap();
    }
    state
}

fn failure() -> Failure {
    Failure::new(FailureCode::Connect, "nobody there")
}

fn asleep(policy: &TokenPolicy, state: &TokenState, now: Time) -> TokenStatus {
    let abilities = Abilities::of(&policy.account.provider);
    let activity = Activity::Asleep(&abilities);
    token(
        &Subject {
            name: &policy.name,
            policy: Some(policy),
            wanted: true,
            state,
            clock: ProviderClock::Silent,
            proof: None,
            activity,
        },
        now,
    )
}

#[test]
fn a_token_has_a_condition_in_one_word() {
    let policy = policy("ci");
    let (now, next) = (start(), start() + Span::minutes(5));
    let rotated = || rotation(&policy, 1, now);
    let with = |more: &[Event]| [rotated(), more.to_vec()].concat();
    let second = || rotation(&policy, 2, now);
    for (sentence, events, condition) in [
        ("nothing happened yet", vec![], Condition::Missing),
        ("handed over", rotated(), Condition::Fine),
        ("a second mint is under way", with(&second()[..1]), Condition::Busy),
        (
            "the second mint failed",
            with(&[second()[0].clone(), Event::MintRefused { failure: failure(), next }]),
            Condition::Failing,
        ),
        ("the old one waits for its end", with(&second()), Condition::Fine),
        (
            "a store is owed again",
            with(&[
                Event::StoreOwed {
                    store: key(&policy),
                    found: "is empty".to_owned(),
                    revoke_at: None,
                    added: false,
                    quiet: false,
                    tell_at: None,
                },
                Event::StoreFailed { store: key(&policy), failure: failure(), next, unwritten: false },
            ]),
            Condition::Down,
        ),
        (
            "it has the second generation already",
            with(&[
                Event::StoreOwed {
                    store: key(&policy),
                    found: "is empty".to_owned(),
                    revoke_at: None,
                    added: false,
                    quiet: false,
                    tell_at: None,
                },
                Event::StoreFailed { store: key(&policy), failure: failure(), next, unwritten: false },
                second()[0].clone(),
                second()[1].clone(),
                second()[2].clone(),
                Event::StoreWritten { store: key(&policy), receipt: None },
            ]),
            Condition::Busy,
        ),
        (
            "the first secret is in every store, and a hook failed that left the inventory",
            [
                rotated()[..5].to_vec(),
                vec![Event::HookFailed { hook: "true".parse().unwrap(), failure: failure(), next }],
            ]
            .concat(),
            Condition::Busy,
        ),
        ("the provider does not accept it", with(&[Event::FoundDead { failure: failure() }]), Condition::Down),
    ] {
        let status = asleep(&policy, &state(now, &events), now);
        assert_eq!(status.condition, condition, "{sentence}: {status:?}");
    }
    let expired = asleep(&policy, &state(now, &rotated()), now + days(61));
    assert_eq!(expired.condition, Condition::Down, "expired");
}

#[test]
fn what_is_owed_is_told_with_its_attempts() {
    let policy = policy("ci");
    let now = start();
    let next = now + Span::minutes(5);
    let store = key(&policy);
    let mut events = rotation(&policy, 1, now);
    events.truncate(3);
    events.push(Event::StoreFailed { store: store.clone(), failure: failure(), next, unwritten: false });
    events.push(Event::StoreFailed { store: store.clone(), failure: failure(), next, unwritten: false });
    let status = asleep(&policy, &state(now, &events), now);
    let [owed] = &status.owed[..] else { panic!("{status:?}") };
    assert_eq!((owed.kind, owed.key.as_str(), owed.attempts, owed.next), (OwedKind::Store, store.as_str(), 2, next));
    assert_eq!(status.next.action, NextAction::Deliver);
    // Consumers have nothing that works: no wait is longer than a minute.
    assert_eq!(status.next.at, Some(now + Span::minutes(1)));
    assert_eq!(status.candidate.map(|candidate| candidate.number), Some(GenerationNo(1)));
    assert_eq!(status.last_error.map(|error| error.code), Some(FailureCode::Connect));
}

#[test]
fn the_next_action_is_what_the_machine_decides() {
    let now = start();
    for (sentence, name, at, action, begins, reason) in [
        ("rotated by age", "ci", now + days(1), NextAction::Rotate, Some(now + days(30)), "rotate-every"),
        ("before its expiry", "gps", now + days(1), NextAction::Rotate, Some(now + days(20)), "renew-before"),
        ("due", "gps", now + days(21), NextAction::Rotate, Some(now + days(21)), "renew-before"),
    ] {
        let policy = policy(name);
        let next = asleep(&policy, &state(now, &rotation(&policy, 1, now)), at).next;
        assert_eq!((next.action, next.reason.as_str()), (action, reason), "{sentence}: {next:?}");
        // Jitter moves it by a second at most.
        let off = next.at.zip(begins).map(|(at, begins)| (at - begins).abs());
        assert!(off.is_some_and(|off| off <= Span::seconds(1)), "{sentence}: {next:?}");
    }
}

#[test]
fn a_plan_tells_what_becomes_of_the_old_generation() {
    let now = start();
    let inventory = inventory();
    let states = inventory.tokens.iter().map(|(name, policy)| {
        let state = state(now, &rotation(policy, 1, now));
        (name.clone(), state)
    });
    let states = states.collect();
    let mut plan = Plan::new(&inventory, &states, now + days(1));
    let fates: Vec<_> = plan.tokens.iter().map(|entry| (entry.token.as_str(), entry.old.clone().unwrap())).collect();
    for (name, fate, words) in [
        ("ci", Fate::Revoked, "revoked 1h after the handover"),
        ("gps", Fate::LeftToExpire, "left to expire in 29d: the definition has no revoke operation"),
    ] {
        let (_, old) = fates.iter().find(|(found, _)| *found == name).unwrap();
        assert_eq!((old.fate, old.words.as_str()), (fate, words), "{name}");
    }
    assert!(plan.tokens.is_sorted_by_key(|entry| entry.outlook.at), "the next one first");
    plan.keep_until(now + days(2));
    assert!(plan.tokens.is_empty(), "nothing begins within two days");
}

#[test]
fn paused_and_vacant_tokens_have_nothing_to_wait_for() {
    let paused = TokenPolicy { paused: true, ..policy("ci").as_ref().clone() };
    let now = start();
    let vacant = asleep(&paused, &TokenState::default(), now);
    assert_eq!(
        (vacant.next.action, vacant.next.reason.as_str(), vacant.next.at),
        (NextAction::Nothing, "paused", None)
    );
    let steady = asleep(&paused, &state(now, &rotation(&paused, 1, now)), now + days(29));
    assert_eq!(
        (steady.next.action, steady.next.hold.as_deref(), steady.next.at),
        (NextAction::Nothing, Some("paused"), None)
    );
    assert!(steady.next.due.is_some(), "when it would be due is told all the same");
}

#[test]
fn tokens_that_left_the_inventory_are_shown_as_long_as_the_journal_knows_them() {
    let (now, mut inventory) = (start(), inventory());
    let name: TokenName = "ci".parse().unwrap();
    let gone = inventory.tokens.remove(&name).unwrap();
    let journaled = BTreeMap::from([(name.clone(), state(now, &rotation(&gone, 1, now)))]);
    let journal = JournalStatus { state_dir: "/s".to_owned(), failure: None, unreadable: Vec::new() };
    let status = build(&inventory, &journaled, journal, now);
    let names: Vec<_> = status.tokens.iter().map(|token| (token.name.as_str(), token.condition)).collect();
    assert_eq!(names, [("ci", Condition::Left), ("gps", Condition::Missing)]);
    let told = status.troubles();
    let left = "token ci is left: it left the inventory, and its token is alive at the provider; help: ";
    assert!(told.iter().any(|line| line.starts_with(left)), "{told:?}");
    let counts: Vec<_> = status.accounts.iter().map(|account| (account.name.as_str(), account.tokens)).collect();
    assert_eq!(counts, [("a", 0), ("b", 1)]);
}

/// A status with everything in it.
fn full() -> Status {
    let (now, policy) = (start(), policy("ci"));
    let mut events = rotation(&policy, 1, now);
    events.extend(rotation(&policy, 2, now));
    events.push(Event::FoundDead { failure: failure() });
    let state = state(now, &events);
    let health = EndpointHealth {
        state: EndpointState::Degraded { since: now - days(1), failure: failure() },
        skew: Some(Span::seconds(-45)),
        skew_is_worrying: true,
        blocked_until: Some(now + Span::minutes(3)),
        last_success: Some(now - days(2)),
        last_failure: Some(FailureAt { at: now, failure: failure() }),
        requests: 12,
        quota_left: Some(3),
        allowance: Some(4999),
    };
    let orphans = BTreeSet::from(["patrold-01020304-ci-g3-070707070707".to_owned()]);
    let facts =
        AccountFacts { health: Some(&health), proxy: None, failure: None, last_listing: Some(now), orphans: &orphans };
    let answer = ReloadAnswer { applied: false, changes: vec![], problems: vec!["p.toml:1:1: not TOML".to_owned()] };
    Status {
        at: now,
        daemon: Some(DaemonStatus {
            pid: 7,
            version: "0.1.0".to_owned(),
            started: now - days(3),
            inventory: vec!["/etc/p.toml".to_owned()],
            reload: Some(ReloadStatus { at: now - Span::minutes(2), answer }),
        }),
        journal: JournalStatus { state_dir: "/s".to_owned(), failure: Some(failure()), unreadable: Vec::new() },
        fleet: None,
        accounts: vec![account(&policy.account, Some(&facts), 1, now)],
        tokens: vec![asleep(&policy, &state, now)],
        channels: Vec::new(),
    }
}

#[test]
fn a_status_survives_the_way_over_the_socket() {
    let status = full();
    let json = serde_json::to_string(&status).unwrap();
    assert_eq!(serde_json::from_str::<Status>(&json).unwrap(), status);
    let value = serde_json::to_value(&status).unwrap();
    assert_eq!(value["daemon"]["reload"]["applied"], json!(false));
    assert_eq!(value["tokens"][0]["current"]["expires"], json!({ "at": "2026-03-02T00:00:00Z" }));
    assert_eq!(value["tokens"][0]["retiring"]["revoke-at"], json!("2026-01-01T01:00:00Z"));
    assert_eq!(value["tokens"][0]["retiring"]["number"], json!(1));
}

#[test]
fn what_is_the_matter_stands_above_the_table() {
    let status = full();
    let mut out = Vec::new();
    status.write(Paint::Plain, &mut out).unwrap();
    let remedy = FailureCode::Connect.remedy();
    let help = format!("; help: {remedy} (docs/runbooks.md#the-provider-is-down)");
    let dead = "; help: find out who revoked it, unless you did; patrold replaces it \
                (docs/runbooks.md#a-token-is-about-to-expire-and-its-rotation-fails)";
    let expected = format!(
        "\
patrold 0.1.0, process 7, up 3d: 1 down
! cannot connect to the provider: nobody there (/s){help}
! token ci is down: the provider does not accept it any more: cannot connect to the provider: nobody there{dead}
! the inventory on disk is invalid, the one before it stays in use (2m ago):
!   p.toml:1:1: not TOML
!   help: correct it, saving is enough; `patrold check` shows the line (docs/runbooks.md#a-changed-inventory-is-invalid)
! account a is degraded for 1d: cannot connect to the provider: nobody there{help}
! account a is rate limited by the provider for another 3m; help: wait, or `patrold rotate --now NAME` asks all the same (docs/runbooks.md#the-provider-is-down)
! account a sees the provider's clock 45s behind ours; help: set the clock that is wrong (docs/runbooks.md#a-clock-is-wrong)
! account a has 1 orphan: patrold-01020304-ci-g3-070707070707; help: `patrold audit --account a --reap` shows and revokes them (docs/runbooks.md#orphans-were-found)

TOKEN  ACCOUNT  STATE   GEN  EXPIRES  NEXT
ci     a        ✗ down  2    in 60d   rotate now
    now: cannot connect to the provider: nobody there
"
    );
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

#[test]
fn tokens_with_the_same_trouble_are_one_line() {
    let mut status = full();
    let token = status.tokens.pop().unwrap();
    let named = |name: &str| TokenStatus { name: name.parse().unwrap(), ..token.clone() };
    status.tokens = ["a", "b", "c", "d", "e", "f", "g"].map(named).to_vec();
    status.tokens.push(TokenStatus { dead: None, last_error: None, ..named("h") });
    let told: Vec<_> = status.troubles().into_iter().filter(|line| line.starts_with("token")).collect();
    assert_eq!(told.len(), 2, "{told:#?}");
    assert!(told[0].starts_with("tokens a, b, c, d, e and 2 more are down: the provider does not"), "{told:#?}");
    assert!(told[1].starts_with("token h is down: "), "{told:#?}");
}

#[test]
fn a_lost_mint_is_told_above_the_table_where_no_listing_can_show_it() {
    let mut status = full();
    status.tokens[0].orphans.push(OrphanStatus {
        kind: OrphanKind::UnknownMint,
        number: None,
        marker: None,
        id: None,
        until: None,
        next_attempt: None,
        error: None,
    });
    let told = |status: &Status| status.troubles().iter().any(|line| line.contains("a live token may exist"));
    assert!(!told(&status), "a listing shows it, or that it is not there");
    status.accounts[0].last_listing = None;
    assert!(told(&status));
}
