//! Random outcomes, stops, clock jumps, changes of the inventory and requests, and then peace: nothing may happen that
//! must never happen, and in the end everything is in order.

use std::collections::VecDeque;

use proptest::collection::vec;
use proptest::prelude::*;

use crate::clock::Span;
use crate::inventory::{OnFailure, TokenPolicy};
use crate::provider::Abilities;

use super::driver::{Sim, check, has_secret};
use super::ledger::{Consumer, Issued};
use super::policy::{abilities, hook, initial, renewing, store, token};
use super::world::{Fate, Kind, Script};

/// Something that happens to a token besides its rotation.
#[derive(Clone, Copy, Debug)]
enum Happening {
    Time {
        minutes: i64,
    },
    /// The wall clock is set.
    Jump {
        minutes: i64,
    },
    Request,
    /// Others have the secret.
    Compromise,
    /// An operator brings a secret.
    Adopt,
    /// An operator wants the previous token back.
    Recall,
    Restart,
    /// A store is added, or taken away again.
    Store,
    Grace {
        hours: i64,
    },
    /// The token leaves the inventory; `forget`: patrold is started again without it.
    Leave {
        forget: bool,
    },
    Return,
    Pause {
        paused: bool,
    },
    Params {
        value: u8,
    },
    /// Somebody writes something else into a store.
    Drift,
    /// Somebody revokes the current token.
    Kill,
    Skew {
        seconds: i64,
    },
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        6 => (1..600_i64).prop_map(|minutes| Happening::Time { minutes }),
        2 => (1..15_i64).prop_map(|days| Happening::Time { minutes: days * 1440 }),
        1 => (-300..300_i64).prop_map(|minutes| Happening::Jump { minutes }),
        2 => Just(Happening::Request),
        1 => Just(Happening::Compromise),
        1 => Just(Happening::Adopt),
        1 => Just(Happening::Recall),
        1 => Just(Happening::Restart),
        1 => Just(Happening::Store),
        1 => (0..8_i64).prop_map(|hours| Happening::Grace { hours }),
        1 => any::<bool>().prop_map(|forget| Happening::Leave { forget }),
        1 => Just(Happening::Return),
        1 => any::<bool>().prop_map(|paused| Happening::Pause { paused }),
        1 => (0..3_u8).prop_map(|value| Happening::Params { value }),
        1 => Just(Happening::Drift),
        1 => Just(Happening::Kill),
        1 => (0..90_i64).prop_map(|seconds| Happening::Skew { seconds }),
    ]
}

/// What kind of provider it is.
#[derive(Clone, Copy, Debug)]
enum Service {
    Able,
    /// It takes two live tokens and no more.
    Narrow,
    Renewing,
    /// It renews and cannot mint.
    OnlyRenewing,
    Lacking {
        revokes: bool,
        lists: bool,
        verifies: bool,
        has_id: bool,
        revokes_self: bool,
    },
}

fn service() -> impl Strategy<Value = Service> {
    prop_oneof![
        2 => Just(Service::Able),
        2 => Just(Service::Narrow),
        2 => Just(Service::Renewing),
        2 => Just(Service::OnlyRenewing),
        2 => any::<[bool; 5]>().prop_map(|[revokes, lists, verifies, has_id, revokes_self]| {
            Service::Lacking { revokes, lists, verifies, has_id, revokes_self }
        }),
    ]
}

impl Service {
    fn abilities(self) -> Abilities {
        let mut abilities = abilities();
        match self {
            Self::Able => {}
            Self::Narrow => abilities.can.max_live = Some(2),
            Self::Renewing => return renewing(),
            Self::OnlyRenewing => {
                abilities = renewing();
                abilities.can.mints = false;
            }
            Self::Lacking { revokes, lists, verifies, has_id, revokes_self } => {
                let can = &mut abilities.can;
                (can.revokes, can.lists, can.verifies, can.has_id) = (revokes, lists, verifies, has_id);
                abilities.revokes_self = revokes_self;
            }
        }
        abilities
    }
}

/// Fates from a tape; when it has run out, everything is fine.
fn tape(bytes: Vec<u8>) -> Script {
    let mut bytes = VecDeque::from(bytes);
    Box::new(move |kind, _| match bytes.pop_front() {
        None | Some(0..=150) => Fate::Fine,
        Some(151..=170) => Fate::Later,
        Some(171..=185) => Fate::Refused,
        Some(186..=200) => Fate::DoneUnknown,
        Some(201..=215) => Fate::NotDoneUnknown,
        Some(byte @ 216..=225) if matches!(kind, Kind::Mint | Kind::Commit) => {
            Fate::DoneLate(Span::seconds(i64::from(byte - 216) * 3))
        }
        Some(216..=240) => Fate::StopBefore,
        Some(_) => Fate::StopAfter,
    })
}

fn wanted(service: Service, rollback: bool) -> TokenPolicy {
    let mut policy = token();
    policy.initial = matches!(service, Service::OnlyRenewing).then(initial);
    policy.stores = vec![store("a"), store("b")];
    policy.hooks = vec![hook("reload", if rollback { OnFailure::Rollback } else { OnFailure::Retry })];
    policy
}

fn happen(sim: &mut Sim, service: Service, rollback: bool, happening: Happening) {
    match happening {
        Happening::Time { minutes } => sim.run_for(Span::minutes(minutes)),
        Happening::Jump { minutes } => {
            // The provider's clock does not jump with ours.
            let jump = Span::minutes(minutes);
            sim.clock.set(sim.now() + jump);
            sim.skew(sim.provider_now() - sim.now() - jump);
        }
        Happening::Request => drop(sim.request(false)),
        Happening::Compromise => drop(sim.request(true)),
        Happening::Adopt if matches!(service, Service::OnlyRenewing) => sim.log_in(),
        Happening::Adopt => drop(sim.adopt()),
        Happening::Recall => drop(sim.recall()),
        Happening::Restart => sim.restart(),
        Happening::Store if !sim.context.wanted => {}
        Happening::Store => {
            let added = store("c");
            if sim.policy().stores.contains(&added) {
                sim.policy().stores.retain(|store| *store != added);
                sim.world.ledger(|ledger| ledger.consumers.retain(|consumer| consumer.store != added.key));
            } else {
                let consumer = Consumer { store: added.key.clone(), hook: None, holds: None };
                let provider_now = sim.provider_now();
                sim.world.ledger(|ledger| {
                    ledger.consumers.push(consumer);
                    ledger.read(|consumer| consumer.store == added.key, provider_now);
                });
                sim.policy().stores.push(added);
            }
        }
        Happening::Grace { hours } => sim.policy().grace = Span::hours(hours),
        Happening::Leave { forget } => {
            sim.context.wanted = false;
            if forget {
                sim.policy().stores.clear();
                sim.policy().hooks.clear();
                sim.restart();
            }
        }
        Happening::Return => come_back(sim, service, rollback),
        Happening::Pause { paused } => sim.policy().paused = paused,
        Happening::Params { value } => {
            sim.policy().params.insert("scope".into(), value.into());
        }
        Happening::Drift => {
            let provider_now = sim.provider_now();
            sim.world.ledger(|ledger| ledger.write(&store("a").key, "garbage", provider_now));
        }
        Happening::Kill => {
            let can = sim.context.abilities.can;
            let Some(current) = sim.state().phase.current() else { return };
            let generation = current.generation.clone();
            let listed = can.lists && (generation.marker.is_some() || generation.remote.id.is_some());
            // What neither proves nor lists a token leaves its end to its consumers to find out.
            if can.verifies || listed {
                let killed = |it: &&mut Issued| match &generation.marker {
                    Some(marker) => it.marker.as_deref() == Some(marker.as_str()),
                    None => has_secret(&generation, it),
                };
                sim.world.ledger(|ledger| ledger.tokens.iter_mut().find(killed).map(|token| token.revoked = true));
            }
        }
        Happening::Skew { seconds } => sim.skew(sim.provider_now() - sim.now() + Span::seconds(seconds)),
    }
}

fn come_back(sim: &mut Sim, service: Service, rollback: bool) {
    if !sim.context.wanted {
        let params = sim.policy().params.clone();
        *sim.policy() = TokenPolicy { params, ..wanted(service, rollback) };
        sim.world.ledger(|ledger| ledger.consumers.retain(|consumer| consumer.store != store("c").key));
        sim.context.wanted = true;
    }
}

fn story(service: Service, rollback: bool, happenings: &[Happening], faults: Vec<u8>) {
    let mut sim = Sim::new(wanted(service, rollback), service.abilities());
    if matches!(service, Service::Renewing | Service::OnlyRenewing) {
        sim.world.ledger(|ledger| ledger.lifetime = Some(Span::hours(8)));
    }
    let only_renews = matches!(service, Service::OnlyRenewing);
    if only_renews {
        sim.log_in();
    }
    sim.world.script(tape(faults));
    for happening in happenings {
        happen(&mut sim, service, rollback, *happening);
        sim.run();
        assert_eq!(sim.violations(), Vec::<String>::new(), "after {happening:?}");
    }
    sim.world.script(|_, _| Fate::Fine);
    come_back(&mut sim, service, rollback);
    sim.policy().paused = false;
    if only_renews {
        // Nobody else can help after a renewal of unknown outcome.
        sim.log_in();
        sim.run_for(Span::days(1));
        let _ = sim.request(false);
    }
    if matches!(service, Service::Narrow) {
        // What operators keep for themselves takes a place.
        sim.world.ledger(|ledger| ledger.tokens.iter_mut().filter(|it| it.operators).for_each(|it| it.revoked = true));
    }
    sim.run_for(Span::days(2));
    for _ in 0..3 {
        // A rotation of its own may be under way.
        if !sim.complaints().is_empty() {
            sim.run_for(Span::hours(18));
        }
    }
    check(&sim, "in the end");
}

/// Few enough for every run of the tests; `PROPTEST_CASES` asks for more.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(100)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_no_guarantee_is_broken(
        service in service(),
        rollback: bool,
        happenings in vec(happening(), 1..12),
        faults in vec(any::<u8>(), 0..120),
    ) {
        story(service, rollback, &happenings, faults);
    }
}
