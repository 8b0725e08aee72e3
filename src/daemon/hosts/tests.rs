//! Answers that come late, and hosts that are away.

use super::*;
use crate::clock::Span;

#[test]
fn a_late_answer_wakes_its_token_once() {
    let agents = Agents::default();
    let (host, token): (HostName, TokenName) = ("web-1".parse().unwrap(), "gps".parse().unwrap());
    let place = (host, ErrandId::of_store(&token, &"file:/run/gps@web-1".parse().unwrap()));
    agents.left.lock().unwrap().insert(place.clone(), (7, token.clone()));
    let hosts =
        |to| Hosts { answers: BTreeMap::from([(place.clone(), Answer { to, came: Came::Done })]), ..Hosts::default() };
    assert_eq!(agents.follow(&hosts(6)), [], "an answer to the errand before");
    assert_eq!(agents.follow(&hosts(7)), [token]);
    assert_eq!(agents.follow(&hosts(7)), [], "it is told once");

    let (sender, mut answers) = mpsc::unbounded_channel();
    agents.waiting.lock().unwrap().insert(place.clone(), sender);
    agents.left.lock().unwrap().insert(place.clone(), (8, "gps".parse().unwrap()));
    assert_eq!(agents.follow(&hosts(8)), [], "whoever waits for it has it");
    assert_eq!(answers.try_recv().unwrap().to, 8);
}

#[test]
fn a_host_that_is_away_is_named_with_when_it_was_seen() {
    let agents = Agents::default();
    let (host, now): (HostName, Time) = ("web-2".parse().unwrap(), Time::UNIX_EPOCH + Span::hours(1));
    let detail = |agents: &Agents| agents.absence(&host, now).map(|failure| failure.detail);
    assert_eq!(detail(&agents).as_deref(), Some("web-2 has not acknowledged (never seen)"));
    let mut hosts = Hosts::default();
    hosts.seen.insert(host.clone(), now - Span::minutes(3));
    agents.follow(&hosts);
    assert_eq!(detail(&agents).as_deref(), Some("web-2 has not acknowledged (last seen 3m ago)"));
    hosts.forgotten.insert(host.clone());
    agents.follow(&hosts);
    assert!(agents.is_forgotten(&host));
    let agent = crate::journal::fleet::hosts::Agent { version: "1".to_owned(), started: now };
    hosts.agents.insert(host.clone(), agent);
    agents.follow(&hosts);
    assert!(!agents.is_forgotten(&host), "it is back");
    assert_eq!(detail(&agents), None);
}

#[test]
fn nobody_waits_on_for_a_host_whose_agent_dies() {
    let agents = Agents::default();
    let (host, id): (HostName, _) = ("web-2".parse().unwrap(), ErrandId::draw());
    let mut hosts = Hosts::default();
    let agent = crate::journal::fleet::hosts::Agent { version: "1".to_owned(), started: Time::UNIX_EPOCH };
    hosts.agents.insert(host.clone(), agent);
    let (sender, mut answers) = mpsc::unbounded_channel();
    agents.waiting.lock().unwrap().insert((host.clone(), id.clone()), sender);
    agents.follow(&hosts);
    assert_eq!(answers.try_recv(), Err(mpsc::error::TryRecvError::Empty), "it lives");

    hosts.agents.clear();
    hosts.answers.insert((host, id), Answer { to: 3, came: Came::Done });
    agents.follow(&hosts);
    assert_eq!(answers.try_recv().map(|answer| answer.to), Ok(3), "the last that it said");
    assert_eq!(answers.try_recv(), Err(mpsc::error::TryRecvError::Disconnected), "it is away");
}
