//! One of each: of every event, and of every phase.

use std::collections::BTreeMap;

use crate::clock::{Span, Time};
use crate::few::Few;
use crate::names::{GenerationNo, InstanceId, Marker, RotationId};
use crate::outcome::{Failure, FailureCode};
use crate::provider::{Expiry, Params, Remote};
use crate::rotation::event::Event;
use crate::rotation::state::{
    Candidate, Claim, Current, Delivery, Generation, Intent, Origin, Orphan, Phase, Progress, Retiring, Retry, Search,
    Undo,
};
use crate::secret::{Fingerprinter, Secret};
use crate::store::{Place, Receipt};

pub(crate) fn time() -> Time {
    "2026-11-29T12:00:00Z".parse().unwrap()
}

fn later() -> Time {
    time() + Span::hours(1)
}

fn failure() -> Failure {
    Failure::new(FailureCode::Connect, "nobody there")
}

fn retry() -> Retry {
    Retry { attempts: 2, since: time(), failure: failure(), next: later(), at: Some(time()) }
}

fn marker(number: u32) -> Marker {
    let rotation = RotationId::new([7; 6]);
    Marker::new(InstanceId::new([1, 2, 3, 4]), &"gps".parse().unwrap(), GenerationNo(number), rotation)
}

fn remote() -> Remote {
    Remote {
        id: Some("42".parse().unwrap()),
        expires: Expiry::told(later()),
        refresh_expires: None,
        renewable_until: None,
        facts: BTreeMap::new(),
    }
}

pub(crate) fn generation(number: u32) -> Generation {
    let fingerprint = Fingerprinter::new(&[9; 32]).of(&Secret::new("hunter2"));
    Generation {
        number: GenerationNo(number),
        account: "prov".parse().unwrap(),
        params: Some(Params::default()),
        revision: 0,
        marker: Some(marker(number)),
        remote: remote(),
        minted_at: time(),
        issued_at: time(),
        fingerprints: Few::from([("token".to_owned(), fingerprint)]),
        compromised: None,
        reissue_unknown: None,
    }
}

fn delivery() -> Delivery {
    Delivery {
        stores: Few::from([("file:/run/gps".parse().unwrap(), Progress::Done { at: time() })]),
        hooks: Few::from([("reload".parse().unwrap(), Progress::Failed(retry()))]),
        settled: None,
        untold: Some(time()),
        ..Delivery::default()
    }
}

fn current() -> Current {
    Current::new(generation(1), delivery())
}

fn candidate() -> Candidate {
    Candidate {
        generation: generation(2),
        rotation: RotationId::new([7; 6]),
        delivery: delivery(),
        rejection: None,
        origin: Origin::Minted,
    }
}

fn recalled() -> Candidate {
    let origin = Origin::Recalled { handed_over: time(), revoke_at: later() };
    Candidate { generation: generation(0), origin, ..candidate() }
}

fn retiring() -> Retiring {
    let generation = generation(0);
    Retiring { generation, rotation: RotationId::new([6; 6]), handed_over: time(), revoke_at: later() }
}

fn intent() -> Intent {
    Intent {
        rotation: RotationId::new([7; 6]),
        number: GenerationNo(2),
        marker: marker(2),
        account: "prov".parse().unwrap(),
        params: Params::default(),
        at: time(),
        reason: "requested".to_owned(),
    }
}

fn undo() -> Undo {
    Undo { why: failure(), restore: true, restored: delivery() }
}

fn claim() -> Claim {
    let fingerprint = Fingerprinter::new(&[9; 32]).of(&Secret::new("hunter2"));
    Claim { place: Place::File { path: "/run/gps".into() }, fingerprint, retry: None }
}

fn receipt() -> Receipt {
    Receipt { evidence: Some("version 7".parse().unwrap()) }
}

pub(crate) fn orphans() -> Vec<Orphan> {
    vec![
        Orphan::unrevocable(&generation(0)),
        Orphan::UnknownMint {
            marker: marker(2),
            account: "prov".parse().unwrap(),
            params: Params::default(),
            at: time(),
            until: Some(later()),
            retry: Some(retry()),
        },
        Orphan::deferred(&generation(0), Some(later())),
    ]
}

fn orphan() -> Orphan {
    Orphan::deferred(&generation(0), None)
}

/// Every phase; those that may be without a current generation with and without it.
pub(crate) fn phases() -> Vec<Phase> {
    let current = current();
    let (candidate, retiring, intent) = (Box::new(candidate()), Box::new(retiring()), Box::new(intent()));
    let search = Box::new(Search { since: time(), failure: failure(), found: Some(remote()) });
    let mut phases = vec![Phase::Vacant, Phase::Steady { current: current.clone() }];
    for current in [None, Some(current.clone())] {
        phases.push(Phase::Intended { current: current.clone(), intent: intent.clone() });
        phases.push(Phase::Searching { current: current.clone(), intent: intent.clone(), search: search.clone() });
        phases.push(Phase::Minted { current: current.clone(), candidate: candidate.clone() });
        phases.push(Phase::Verified { current: current.clone(), candidate: candidate.clone() });
        phases.push(Phase::Delivered { current: current.clone(), candidate: candidate.clone() });
        phases.push(Phase::Undoing { current: current.clone(), candidate: candidate.clone(), undo: undo().into() });
    }
    phases.push(Phase::Undoing { current: Some(current.clone()), candidate: recalled().into(), undo: undo().into() });
    phases.push(Phase::Active { current: current.clone(), retiring: retiring.clone() });
    phases.push(Phase::Revoked { current: current.clone(), retiring: retiring.clone() });
    for retiring in [None, Some(retiring)] {
        let (current, intent) = (current.clone(), intent.clone());
        phases.push(Phase::Renewing { current: current.clone(), retiring: retiring.clone(), intent: intent.clone() });
        phases.push(Phase::RenewalUnknown {
            current: current.clone(),
            retiring: retiring.clone(),
            intent: intent.clone(),
        });
        phases.push(Phase::Renewed { current, retiring, intent });
    }
    let generation = Generation { reissue_unknown: Some(time()), ..generation(1) };
    phases.push(Phase::Steady { current: Current::new(generation, delivery()) });
    phases
}

/// Every event, in the order of the table; those that are told of in several ways in each of them.
pub(crate) fn events() -> Vec<Event> {
    let (store, hook) = (|| "file:/run/gps".parse().unwrap(), || "reload".parse().unwrap());
    let (failure, next, revoke_at) = (failure, later(), later());
    let [unrevocable, lost, deferred] = orphans().try_into().unwrap();
    vec![
        Event::Adopted { generation: generation(0) },
        Event::HeldBack { found: "file:/run/gps holds a secret".to_owned() },
        Event::ReplacementDue { reason: "renew-before".to_owned() },
        Event::Replaced { generation: Box::new(generation(2)), rotation: RotationId::new([7; 6]), revoke_at },
        Event::ReplacementRefused { failure: failure() },
        Event::InitialRefused { failure: failure() },
        Event::BackoffEnded {},
        Event::Requested {},
        Event::RequestWithdrawn {},
        Event::RetirementAsked { revoke_at },
        Event::RetirementPutOff { revoke_at },
        Event::RetirementWithdrawn {},
        Event::Dismissed { orphan: unrevocable.clone() },
        Event::Dismissed { orphan: orphan() },
        Event::Compromised {},
        Event::Offered { candidate: Box::new(Candidate { origin: Origin::Adopted, ..candidate() }) },
        Event::Recalled { candidate: Box::new(recalled()), orphan: Some(orphan()) },
        Event::Postponed { failure: failure(), next },
        Event::Intended { intent: intent() },
        Event::MintRefused { failure: failure(), next },
        Event::MintUnknown { failure: failure() },
        Event::OrphanFound { remote: remote() },
        Event::OrphanRevoked { next },
        Event::SearchEnded { orphan: lost, next },
        Event::SearchEnded { orphan: unrevocable.clone(), next },
        Event::Minted { candidate: Box::new(candidate()) },
        Event::Minted { candidate: Box::new(Candidate { rejection: Some(failure()), ..candidate() }) },
        Event::MintedInPlace { failure: failure() },
        Event::Verified { proven: true, id: Some("42".parse().unwrap()), expires: Some(Expiry::Never) },
        Event::Verified { proven: false, id: None, expires: None },
        Event::StoreIntended { store: store() },
        Event::StoreWritten { store: store(), receipt: None },
        Event::StoreWritten { store: store(), receipt: Some(receipt()) },
        Event::StoreFailed { store: store(), failure: failure(), next, unwritten: true },
        Event::StoreClaimed { store: store(), claim: Box::new(claim()) },
        Event::StoreDisclaimed { store: store() },
        Event::StoreErased { store: store(), stays: Some("holds something else".to_owned()) },
        Event::EraseFailed { store: store(), failure: failure(), next },
        Event::Delivered {},
        Event::HookSucceeded { hook: hook() },
        Event::HookFailed { hook: hook(), failure: failure(), next },
        Event::HookWaived { hook: hook(), failure: failure() },
        Event::Activated { revoke_at, vain: None },
        Event::ActivatedEarly { revoke_at, vain: None },
        Event::StillUsed { revoke_at },
        Event::RevocationDeferred { orphan: orphan() },
        Event::Revoked { already: false },
        Event::Revoked { already: true },
        Event::FoundAlive { failure: failure(), next },
        Event::Retired { proven: true },
        Event::Retired { proven: false },
        Event::LeftToExpire { orphan: unrevocable },
        Event::UndoBegun { why: failure(), restore: true },
        Event::Undone { orphan: None, next, revoke_at: Some(revoke_at) },
        Event::Undone { orphan: Some(deferred), next, revoke_at: None },
        Event::RenewalIntended { intent: intent() },
        Event::RenewalPostponed { failure: failure(), next },
        Event::RenewalRefused { failure: failure(), next, spent: false },
        Event::RenewalRefused { failure: failure(), next, spent: true },
        Event::RenewalUnknown { failure: failure() },
        Event::RenewalExamined { dead: None },
        Event::RenewalExamined { dead: Some(failure()) },
        Event::Renewed { generation: Box::new(Generation { revision: 1, ..generation(1) }) },
        Event::RenewalVerified { proven: true, again: None },
        Event::RenewalRejected { failure: failure(), next: Some(next) },
        Event::FoundDead { failure: failure() },
        Event::Observed { id: Some("42".parse().unwrap()), expires: Some(Expiry::told(next)), over: true },
        Event::StoreOwed {
            store: store(),
            found: "is empty".to_owned(),
            revoke_at: Some(revoke_at),
            added: false,
            quiet: true,
            tell_at: Some(time()),
        },
        Event::store_added(store()),
        Event::ConsumersOwed {},
        Event::Redelivered {},
        Event::OrphanEnded { orphan: orphan(), revoked: true },
        Event::OrphanEnded { orphan: orphan(), revoked: false },
        Event::ReapFailed { orphan: orphan(), failure: failure(), next },
        Event::ReapRequested { orphan: orphan() },
        Event::ClockSetBack { revoke_at: next },
        Event::Resealed { fingerprints: BTreeMap::from([(GenerationNo(1), generation(1).fingerprints)]) },
        Event::SecretLost { number: GenerationNo(1), failure: failure() },
    ]
}

#[test]
fn every_event_and_every_phase_is_among_them() {
    let mut names: Vec<_> = events().iter().map(Event::name).collect();
    names.dedup();
    let table: Vec<_> = Event::TABLE.iter().map(|entry| entry.name).collect();
    assert_eq!(names, table);
    let phases: std::collections::BTreeSet<_> = phases().iter().map(Phase::name).collect();
    assert_eq!(phases.into_iter().collect::<Vec<_>>(), {
        let mut all = Phase::NAMES.to_vec();
        all.sort_unstable();
        all
    });
}
