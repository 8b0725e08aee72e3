//! The diagram of `rotation` is what `apply` does.

use std::collections::BTreeSet;

use crate::rotation::apply::{Misfit, apply};
use crate::rotation::event::Event;
use crate::rotation::state::{Phase, TokenState};

use super::samples::{events, phases, time};

/// A change of phase: from, event, to.
pub(super) type Arrow = (String, String, String);

/// What `apply` does with every event in every phase.
fn done() -> BTreeSet<Arrow> {
    let mut arrows = BTreeSet::new();
    for phase in phases() {
        for event in events() {
            let state = TokenState { phase: phase.clone(), ..TokenState::default() };
            match apply(state, time(), &event) {
                Ok(next) if next.phase.name() != phase.name() => {
                    let name = |name: &str| name.to_owned();
                    arrows.insert((name(phase.name()), name(event.name()), name(next.phase.name())));
                }
                Ok(_) => {}
                Err(misfit) => assert_eq!(misfit, Misfit { event: event.name(), phase: phase.name() }),
            }
        }
    }
    arrows
}

/// The lines `from ──event, event──▶ to` of the diagram.
pub(super) fn drawn() -> BTreeSet<Arrow> {
    let mut arrows = BTreeSet::new();
    for line in include_str!("../mod.rs").lines().filter_map(|line| line.strip_prefix("//! ")) {
        let Some((from, rest)) = line.split_once(" ──") else { continue };
        let Some((events, to)) = rest.split_once("──▶ ") else { continue };
        for event in events.trim_end_matches('─').split(", ") {
            arrows.insert((from.trim().to_owned(), event.trim().to_owned(), to.trim().to_owned()));
        }
    }
    arrows
}

#[test]
fn the_diagram_is_what_events_do() {
    let (done, drawn) = (done(), drawn());
    let arrows = |arrows: BTreeSet<Arrow>, other: &BTreeSet<Arrow>| -> Vec<String> {
        let missing = arrows.into_iter().filter(|arrow| !other.contains(arrow));
        missing.map(|(from, event, to)| format!("{from} ──{event}──▶ {to}")).collect()
    };
    assert_eq!(
        arrows(done.clone(), &drawn),
        Vec::<String>::new(),
        "done, and not in the diagram of src/rotation/mod.rs"
    );
    assert_eq!(arrows(drawn, &done), Vec::<String>::new(), "in the diagram of src/rotation/mod.rs, and never done");
}

#[test]
fn an_event_that_does_not_fit_is_refused() {
    for (phase, event) in [
        (Phase::Vacant, Event::Activated { revoke_at: time(), vain: None }),
        (Phase::Vacant, Event::StoreWritten { store: "file:/a".parse().unwrap(), receipt: None }),
        (
            Phase::Vacant,
            Event::FoundDead { failure: crate::outcome::Failure::new(crate::outcome::FailureCode::Reset, "") },
        ),
    ] {
        let expected = Misfit { event: event.name(), phase: phase.name() };
        let state = TokenState { phase, ..TokenState::default() };
        assert_eq!(apply(state, time(), &event), Err(expected));
    }
}
