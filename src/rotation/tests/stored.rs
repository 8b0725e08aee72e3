//! What the journal holds as JSON: of every event, every phase and every failure code. It is read by every later version.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::journal::{Head, Stored};
use crate::outcome::FailureCode;
use crate::rotation::event::Event;
use crate::rotation::state::{Origin, Phase, TokenState, VERSION};
use crate::rotation::stored::{Line, RestoreError, restore};

use super::samples;

fn golden() -> String {
    format!("{}/tests/data/stored.json", env!("CARGO_MANIFEST_DIR"))
}

fn written() -> Value {
    let state = TokenState { orphans: samples::orphans(), ..TokenState::default() };
    json!({
        "events": samples::events(),
        "phases": samples::phases(),
        "state": state,
        "failure-codes": FailureCode::ALL,
    })
}

/// `PATROLD_REGENERATE=1` writes it: lines may be added, and none may change.
#[test]
fn the_stored_form_is_what_it_was() {
    let text = serde_json::to_string_pretty(&written()).unwrap() + "\n";
    if std::env::var_os("PATROLD_REGENERATE").is_some() {
        std::fs::write(golden(), &text).unwrap();
    }
    let expected = std::fs::read_to_string(golden()).unwrap();
    assert!(text == expected, "the stored form differs from tests/data/stored.json; see PATROLD_REGENERATE");
}

#[test]
fn every_variant_is_in_the_golden_file_and_reads_back() {
    let golden: Value = serde_json::from_str(&std::fs::read_to_string(golden()).unwrap()).unwrap();
    let events: Vec<Event> = serde_json::from_value(golden["events"].clone()).unwrap();
    assert_eq!(events, samples::events());
    let names: BTreeSet<_> = events.iter().map(Event::name).collect();
    assert_eq!(names, Event::TABLE.iter().map(|entry| entry.name).collect());
    let phases: Vec<Phase> = serde_json::from_value(golden["phases"].clone()).unwrap();
    assert_eq!(phases, samples::phases());
    let names: BTreeSet<_> = phases.iter().map(Phase::name).collect();
    assert_eq!(names, Phase::NAMES.iter().copied().collect());
    let codes: Vec<FailureCode> = serde_json::from_value(golden["failure-codes"].clone()).unwrap();
    assert_eq!(codes, FailureCode::ALL);
}

fn stored(change: impl FnOnce(&mut Value)) -> Stored {
    let mut state = serde_json::to_value(TokenState::default()).unwrap();
    change(&mut state);
    Stored { state: state.to_string(), since: Vec::new(), newest: 0, head: Head::default() }
}

#[test]
fn what_a_newer_version_wrote_is_not_guessed_at() {
    let newer = stored(|state| state["version"] = json!(VERSION + 1));
    assert!(matches!(restore(&newer), Err(RestoreError::Newer { .. })));
    let records = Stored { newest: crate::journal::record::VERSION + 1, ..stored(|_| {}) };
    assert!(matches!(restore(&records), Err(RestoreError::Newer { .. })));
    let nested = stored(|state| {
        state["phase"]["unheard-of"] = json!(true);
    });
    assert!(matches!(restore(&nested), Err(RestoreError::Unreadable(_))));
}

#[test]
fn what_the_same_version_added_is_kept() {
    let state = restore(&stored(|state| state["unheard-of"] = json!({ "a": 1 }))).unwrap().state;
    assert_eq!(serde_json::to_value(&state).unwrap()["unheard-of"], json!({ "a": 1 }));
}

/// Puts a field that this release does not know into every table of `value`, one at a time.
fn strangers(value: &Value) -> Vec<Value> {
    let mut found = Vec::new();
    let mut within = |key: &dyn Fn(&mut Value) -> &mut Value, inner: &Value| {
        for stranger in strangers(inner) {
            let mut whole = value.clone();
            *key(&mut whole) = stranger;
            found.push(whole);
        }
    };
    match value {
        Value::Object(table) => {
            table.iter().for_each(|(key, inner)| within(&|whole| &mut whole[key.as_str()], inner));
            let mut whole = value.clone();
            whole["unheard-of"] = json!(true);
            found.push(whole);
        }
        Value::Array(list) => list.iter().enumerate().for_each(|(at, inner)| within(&|whole| &mut whole[at], inner)),
        _ => {}
    }
    found
}

/// Refused, or kept; what a failure says is for people, and reports of other releases have it as well.
fn check_strangers<T: DeserializeOwned + Serialize>(whole: &Value) {
    for stranger in strangers(whole) {
        let Ok(read) = serde_json::from_value::<T>(stranger.clone()) else { continue };
        let mut written = serde_json::to_value(read).unwrap();
        let mut expected = stranger.clone();
        for value in [&mut written, &mut expected] {
            without_failures(value);
        }
        assert_eq!(written, expected, "a field is overlooked");
    }
}

fn without_failures(value: &mut Value) {
    match value {
        Value::Object(table) if table.contains_key("code") && table.contains_key("detail") => table.clear(),
        Value::Object(table) => table.values_mut().for_each(without_failures),
        Value::Array(list) => list.iter_mut().for_each(without_failures),
        _ => {}
    }
}

#[test]
fn no_field_of_a_newer_release_is_overlooked() {
    for event in samples::events() {
        check_strangers::<Line<'_>>(
            &serde_json::to_value(Line { at: samples::time(), event: Cow::Owned(event) }).unwrap(),
        );
    }
    let origins = [Origin::Minted, Origin::Adopted];
    for origin in origins {
        check_strangers::<Origin>(&serde_json::to_value(origin).unwrap());
    }
    for phase in samples::phases() {
        let state = TokenState { phase, orphans: samples::orphans(), ..TokenState::default() };
        check_strangers::<TokenState>(&serde_json::to_value(state).unwrap());
    }
}

#[test]
fn a_state_of_the_first_release_has_no_version() {
    let first = stored(|state| drop(state.as_object_mut().unwrap().remove("version")));
    assert_eq!(restore(&first).unwrap().state, TokenState::default());
}

#[test]
fn a_failure_of_a_newer_version_is_read() {
    let code: FailureCode = serde_json::from_value(json!("unheard-of")).unwrap();
    assert_eq!(code, FailureCode::Unknown);
}
