//! Every log line names an event of the closed list, and every event of the list is logged somewhere.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use patrold::event;

use crate::purity::{files, without_tests, without_texts};

const LEVELS: [&str; 5] = ["trace!", "debug!", "info!", "warn!", "error!"];

/// What the calls of logging macros in `source` name: a constant of the list, the name of a token's event, or nothing.
fn named(source: &str) -> Vec<Result<String, usize>> {
    let code = without_tests(&without_texts(source));
    let mut found = Vec::new();
    for level in LEVELS {
        for (at, _) in code.match_indices(&format!("{level}(")) {
            let before = code[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '$') {
                continue;
            }
            let call = arguments(&code[at + level.len()..]);
            let line = code[..at].matches('\n').count() + 1;
            let constant = call
                .split_once("event = event::")
                .map(|(_, rest)| rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>());
            found.push(constant.ok_or(line));
        }
    }
    found
}

/// What stands between the parentheses that `text` begins with.
fn arguments(text: &str) -> &str {
    let mut depth = 0_usize;
    for (at, character) in text.char_indices() {
        match character {
            '(' => depth += 1,
            ')' if depth <= 1 => return &text[..at],
            ')' => depth -= 1,
            _ => {}
        }
    }
    text
}

#[test]
fn code_and_list_agree() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut used = BTreeSet::new();
    let mut nameless = Vec::new();
    for file in files(&src).unwrap() {
        let source = fs::read_to_string(&file).unwrap();
        for name in named(&source) {
            match name {
                Ok(name) => drop(used.insert(name)),
                Err(line) => nameless.push(format!("{}:{line}", file.strip_prefix(&src).unwrap().display())),
            }
        }
    }
    assert!(nameless.is_empty(), "log lines without `event = event::NAME` (src/event.rs): {nameless:?}");
    let listed: BTreeSet<_> = event::CONSTANTS.iter().map(|(constant, _)| (*constant).to_owned()).collect();
    assert_eq!(used, listed, "logged on the left, listed in src/event.rs on the right");
}

#[test]
fn the_check_can_fail() {
    for (sentence, source, expected) in [
        ("named", "fn f() { tracing::warn!(event = event::STOPPED, \"x\"); }", vec![Ok("STOPPED".to_owned())]),
        ("over lines", "info!(\n    event = event::SWEPT,\n    count,\n);", vec![Ok("SWEPT".to_owned())]),
        ("nameless", "\nerror!(%error, \"event = event::STOPPED\")", vec![Err(2)]),
        ("the next one's", "warn!(f(1)); info!(event = event::SWEPT)", vec![Ok("SWEPT".to_owned()), Err(1)]),
        ("another macro", "my_error!(1); $log!(2)", vec![]),
    ] {
        assert_eq!(named(source), expected, "{sentence}");
    }
}
