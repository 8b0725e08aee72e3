//! Effects on the simulated world, each of which may fail, have an unknown outcome, or never come back.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::future::pending;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};

use crate::account::Listing;
use crate::clock::{Clock, ManualClock, Span, Time};
use crate::endpoint::skew::Skew;
use crate::few::Few;
use crate::inventory::{HookPolicy, StorePolicy, TokenPolicy};
use crate::names::{AccountName, RotationId, StoreKey, TokenName};
use crate::outcome::{Failure, FailureCode, Outcome};
use crate::provider::{Gone, MintRequest, Minted, ProviderClock, Subject, Verdict};
use crate::rotation::effects::{Address, Condition, Effects, Occasion};
use crate::rotation::event::Event;
use crate::rotation::state::{Claim, TokenState};
use crate::secret::{Fingerprint, Fingerprinter, Secret, SecretParts};
use crate::store::{Delivery, Erased, Known, Receipt};

use super::ledger::{Ledger, Repetition, Revoked};

/// What can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Adopt,
    Preflight,
    Mint,
    List,
    Verify,
    Revoke,
    Renew,
    Write,
    Inspect,
    Hook,
    Commit,
    Settle,
}

impl Kind {
    /// Whether the provider answers.
    fn is_asked(self) -> bool {
        matches!(self, Self::Mint | Self::List | Self::Verify | Self::Revoke | Self::Renew)
    }
}

/// How it fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Fine,
    Later,
    Refused,
    /// It happens, and nobody learns of it.
    DoneUnknown,
    NotDoneUnknown,
    /// It happens after a while, and nobody learns of it.
    DoneLate(Span),
    /// Another process has taken the account; of commits only.
    Fenced,
    /// The process is stopped before it happens.
    StopBefore,
    /// The process is stopped after it happened.
    StopAfter,
}

/// A law that does not hold in a world: a control.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Off {
    /// A store acknowledges what it does not keep.
    Stores,
    /// A hook succeeds without having told anybody.
    Hooks,
    /// "Not found" proves that a token is gone.
    ProofOfEnd,
    /// Every secret counts as proven.
    ProofOfLife,
    /// Nobody can see that two tokens are one.
    Kinship,
    /// Waits are as short as can be.
    Backoff,
}

impl Off {
    /// Those that random histories miss. The others have a story of their own, in `controls`.
    pub const MISSED: [Self; 5] = [Self::Stores, Self::Hooks, Self::ProofOfEnd, Self::ProofOfLife, Self::Kinship];
}

/// Decides over the fate of the next effect; the number counts effects of its kind from 1.
pub(super) type Script = Box<dyn FnMut(Kind, usize) -> Fate + Send>;

pub(super) struct World {
    pub clock: ManualClock,
    inner: Mutex<Inner>,
}

struct Inner {
    ledger: Ledger,
    script: Script,
    counts: BTreeMap<Kind, usize>,
    /// Points at which the process can be stopped: before and after each effect and each commit.
    points: usize,
    stop_at: Option<usize>,
    rotations: u64,
    /// What the process has seen of the providers' clock.
    skew: Skew,
    off: Option<Off>,
    /// Where nobody can see that two tokens are one: the secrets behind fingerprints.
    prints: BTreeMap<String, String>,
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("World")
    }
}

impl World {
    pub fn new(clock: ManualClock, ledger: Ledger) -> Arc<Self> {
        let inner = Inner {
            ledger,
            script: Box::new(|_, _| Fate::Fine),
            counts: BTreeMap::new(),
            points: 0,
            stop_at: None,
            rotations: 0,
            skew: Skew::default(),
            off: None,
            prints: BTreeMap::new(),
        };
        Arc::new(Self { clock, inner: Mutex::new(inner) })
    }

    pub fn ledger<T>(&self, look: impl FnOnce(&mut Ledger) -> T) -> T {
        look(&mut self.inner().ledger)
    }

    pub fn script(&self, script: impl FnMut(Kind, usize) -> Fate + Send + 'static) {
        self.inner().script = Box::new(script);
    }

    /// Stops the process at the point number `nth`, counted from 0.
    pub fn stop_at(&self, nth: usize) {
        self.inner().stop_at = Some(nth);
    }

    /// How many effects of each kind there were.
    pub fn counts(&self) -> BTreeMap<Kind, usize> {
        self.inner().counts.clone()
    }

    /// Nothing stops the process any more.
    pub fn stop_nowhere(&self) {
        self.inner().stop_at = None;
    }

    /// `off` does not hold from now on.
    pub fn switch_off(&self, off: Off) {
        self.inner().off = Some(off);
    }

    fn is_off(&self, law: Off) -> bool {
        self.inner().off == Some(law)
    }

    /// A new process has seen nothing of the providers' clock.
    pub fn forget_clock(&self) {
        self.inner().skew = Skew::default();
    }

    /// An answer shows the providers' clock.
    pub fn show_clock(&self) {
        let Inner { ledger, skew, .. } = &mut *self.inner();
        let now = self.clock.now();
        *skew = skew.with(ledger.header(now + ledger.skew), now);
    }

    pub fn points(&self) -> usize {
        self.inner().points
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn point(&self) -> bool {
        let mut inner = self.inner();
        inner.points += 1;
        inner.stop_at == Some(inner.points - 1)
    }

    /// One effect. A process that is stopped never gets an answer.
    pub async fn effect<T>(&self, kind: Kind, act: impl FnOnce(&mut Ledger, Fate, Time) -> T) -> T {
        if self.point() {
            return pending().await;
        }
        let fate = {
            let mut inner = self.inner();
            let count = inner.counts.entry(kind).or_default();
            *count += 1;
            let count = *count;
            (inner.script)(kind, count)
        };
        if fate == Fate::StopBefore {
            return pending().await;
        }
        let seen = if fate == Fate::StopAfter { Fate::Fine } else { fate };
        let result = {
            let Inner { ledger, skew, .. } = &mut *self.inner();
            let now = self.clock.now() + ledger.skew;
            if kind.is_asked() && matches!(seen, Fate::Fine | Fate::Later | Fate::Refused) {
                *skew = skew.with(ledger.header(now), self.clock.now());
            }
            act(ledger, seen, now)
        };
        if fate == Fate::StopAfter || self.point() {
            return pending().await;
        }
        result
    }
}

/// The outcome of something that either happened or did not.
fn outcome<T>(fate: Fate, act: impl FnOnce() -> T) -> Outcome<T> {
    let failure = |code| Failure::new(code, "the test asked for it");
    match fate {
        Fate::Later => Outcome::later(failure(FailureCode::RateLimited)),
        Fate::Refused | Fate::Fenced => Outcome::Refused(failure(FailureCode::Forbidden)),
        Fate::NotDoneUnknown => Outcome::Unknown(failure(FailureCode::Timeout)),
        Fate::DoneUnknown | Fate::DoneLate(_) => {
            act();
            Outcome::Unknown(failure(FailureCode::Timeout))
        }
        Fate::Fine | Fate::StopBefore | Fate::StopAfter => Outcome::Done(act()),
    }
}

/// The same where the provider may refuse.
fn granted<T>(outcome: Outcome<Option<T>>, refused: impl FnOnce() -> Failure) -> Outcome<T> {
    match outcome {
        Outcome::Done(Some(value)) => Outcome::Done(value),
        Outcome::Done(None) => Outcome::Refused(refused()),
        Outcome::Later { not_before, failure } => Outcome::Later { not_before, failure },
        Outcome::Refused(failure) => Outcome::Refused(failure),
        Outcome::Unknown(failure) => Outcome::Unknown(failure),
    }
}

pub(super) fn fingerprinter() -> &'static Fingerprinter {
    static FINGERPRINTER: LazyLock<Fingerprinter> = LazyLock::new(|| Fingerprinter::new(&[7; 32]));
    &FINGERPRINTER
}

/// The fingerprint of a secret. Stories have a few secrets, and ask for each again and again.
pub(super) fn print_of(secret: &str) -> Fingerprint {
    thread_local! {
        static PRINTS: RefCell<HashMap<String, Fingerprint>> = RefCell::default();
    }
    PRINTS.with_borrow_mut(|prints| match prints.get(secret) {
        Some(print) => print.clone(),
        None => prints.entry(secret.to_owned()).or_insert(fingerprinter().of(&Secret::new(secret))).clone(),
    })
}

/// The id of the rotation of this number.
pub(super) fn numbered_rotation(number: u64) -> RotationId {
    let mut id = [0; 6];
    id.copy_from_slice(&number.to_be_bytes()[2..]);
    RotationId::new(id)
}

impl Effects for Arc<World> {
    async fn adopt(&self, _token: &TokenPolicy) -> Result<SecretParts, Failure> {
        let adopted = |ledger: &mut Ledger, fate, _| {
            let first = |ledger: &Ledger| SecretParts::new(Secret::new(ledger.tokens[0].secret.clone()));
            outcome(fate, || ledger.initial.clone().unwrap_or_else(|| first(ledger))).into_result()
        };
        self.effect(Kind::Adopt, adopted).await
    }

    async fn preflight(&self, store: &StorePolicy, known: &Known) -> Result<(), Failure> {
        self.effect(Kind::Preflight, |ledger, fate, _| {
            outcome(fate, || ()).into_result()?;
            ledger.stranger(store, known).map_or(Ok(()), Err)
        })
        .await
    }

    async fn mint(&self, at: Address<'_>, mint_request: &MintRequest) -> Outcome<Minted> {
        let minted = self
            .effect(Kind::Mint, |ledger, fate, now| {
                if ledger.is_full(at.account, now) {
                    ledger.crowded += 1;
                    return Outcome::Refused(Failure::new(FailureCode::NoRoom, "there are enough"));
                }
                let born = if let Fate::DoneLate(span) = fate { now + span } else { now };
                let before = ledger.tokens.len();
                let outcome = outcome(fate, || ledger.mint(at.account, mint_request, now, born));
                ledger.doubt = Some(0);
                // Until the journal has its answer.
                ledger.tokens[before..].iter_mut().for_each(|token| token.lost = true);
                outcome
            })
            .await;
        if matches!(minted, Outcome::Done(_)) {
            self.ledger(|ledger| ledger.unaware = false);
        }
        if !matches!(minted, Outcome::Unknown(_)) {
            self.ledger(|ledger| ledger.doubt = None);
        }
        let unknown = self.is_off(Off::Kinship);
        minted.map(|mut minted| {
            minted.remote.id = minted.remote.id.filter(|_| !unknown);
            minted
        })
    }

    async fn list(&self, at: Address<'_>, _since: Time) -> Outcome<Arc<Listing>> {
        let listed = self
            .effect(Kind::List, |ledger, fate, now| {
                if !ledger.abilities.can.lists {
                    return Outcome::Refused(Failure::new(FailureCode::NoOperation, "list"));
                }
                let listed = outcome(fate, || ledger.listing(at.account, now).map(Arc::new));
                granted(listed, || Failure::new(FailureCode::Forbidden, "403"))
            })
            .await;
        self.ledger(|ledger| match listed {
            Outcome::Done(_) => ledger.doubt = None,
            _ => ledger.doubt = ledger.doubt.map(|looks| looks + 1),
        });
        listed
    }

    async fn accepts(&self, at: Address<'_>, subject: &Subject) -> Outcome<bool> {
        self.verify(at, subject).await.map(|verdict| matches!(verdict, Verdict::Alive { .. }))
    }

    async fn verify(&self, _at: Address<'_>, subject: &Subject) -> Outcome<Verdict> {
        let believed = self.is_off(Off::ProofOfLife);
        self.effect(Kind::Verify, |ledger, fate, now| {
            let verdict = || match ledger.accepts(subject, now) {
                None if believed => Verdict::Alive { id: None, expires: None },
                Some(issued) => {
                    let expires = Some(ledger.expiry(issued, now));
                    Verdict::Alive { id: ledger.shown_id(issued), expires }
                }
                None => Verdict::Dead(Failure::new(FailureCode::Unauthorized, "401")),
            };
            if ledger.abilities.can.verifies {
                outcome(fate, verdict)
            } else {
                Outcome::Refused(Failure::new(FailureCode::NoOperation, "verify"))
            }
        })
        .await
    }

    async fn revoke(&self, at: Address<'_>, subject: &Subject) -> Outcome<Gone> {
        let believed = self.is_off(Off::ProofOfEnd);
        self.effect(Kind::Revoke, |ledger, fate, now| {
            if ledger.abilities.revokes_by_id && subject.id.is_none() {
                return Outcome::Refused(Failure::new(FailureCode::Request, "`old.id` has no value"));
            }
            let revoke = || match (ledger.revoke(at.account, subject, now), ledger.repetition) {
                (Revoked::Now, _) => Some(Gone::Revoked),
                (_, Repetition::NotFound) | (Revoked::Hidden, _) if believed => Some(Gone::Already),
                (Revoked::Hidden, _) | (Revoked::Before, Repetition::NotFound) => Some(Gone::Unproven),
                (Revoked::Before, Repetition::Named) => Some(Gone::Already),
                (Revoked::Before, Repetition::Refused) => None,
            };
            granted(outcome(fate, revoke), || Failure::new(FailureCode::Rejected, "no such token"))
        })
        .await
    }

    async fn renew(&self, _at: Address<'_>, _want: &MintRequest, subject: &Subject) -> Outcome<Minted> {
        self.effect(Kind::Renew, |ledger, fate, now| {
            let refused = || Failure::new(FailureCode::Unauthorized, "the refresh token is spent");
            granted(outcome(fate, || ledger.renew(subject, now)), refused)
        })
        .await
    }

    async fn write(&self, store: &StorePolicy, delivery: &Delivery<'_>, known: &Known) -> Outcome<Option<Receipt>> {
        if self.is_off(Off::Stores) {
            return Outcome::Done(None);
        }
        let secret = delivery.parts.part(&store.part).unwrap().expose();
        self.effect(Kind::Write, |ledger, fate, now| {
            let refused = || Outcome::Refused(Failure::new(FailureCode::StoreRefused, "it cannot hold this value"));
            if ledger.refuses(&store.key, secret) {
                return refused();
            }
            if let Some(failure) = ledger.stranger(store, known) {
                return Outcome::later(failure);
            }
            match outcome(fate, || ledger.write(&store.key, secret, now)) {
                Outcome::Refused(_) => refused(),
                written => written,
            }
        })
        .await
    }

    async fn inspect(&self, store: &StorePolicy, delivered: &Fingerprint, known: &Known, _since: Time) -> Condition {
        let behind = self.inner().prints.get(delivered.as_str()).cloned();
        self.effect(Kind::Inspect, |ledger, fate, _| {
            if ledger.writes.is_some() {
                let evidence = ledger.evidence(&store.key);
                let same = known.receipt.as_ref().is_some_and(|receipt| receipt.evidence == evidence);
                let found = "was written by somebody else".into();
                return if same { Condition::Hidden } else { Condition::Drifted { found, value: true } };
            }
            let same = |held: &String| match &behind {
                Some(behind) => held == behind,
                None => print_of(held) == *delivered,
            };
            let held = ledger.stores.get(&store.key);
            match outcome(fate, || ()) {
                Outcome::Done(()) if held.is_some_and(same) => Condition::Same,
                Outcome::Done(()) => Condition::Drifted { found: "holds something else".into(), value: true },
                Outcome::Later { failure, .. } | Outcome::Refused(failure) | Outcome::Unknown(failure) => {
                    Condition::Unreadable(failure)
                }
            }
        })
        .await
    }

    async fn erase(&self, store: &StoreKey, claim: &Claim, _: Option<&Receipt>) -> Outcome<Erased> {
        self.effect(Kind::Write, |ledger, fate, _| {
            let ours = |held: &String| print_of(held) == claim.fingerprint;
            if ledger.stores.get(store).is_some_and(|held| !ours(held)) {
                return Outcome::Done(Erased::Stays("holds something else".to_owned()));
            }
            outcome(fate, || ledger.stores.remove(store)).map(|_| Erased::Gone)
        })
        .await
    }

    async fn peek(&self, store: &StorePolicy) -> Result<Option<Secret>, Failure> {
        self.effect(Kind::Inspect, |ledger, fate, _| {
            let shown = ledger.writes.is_none();
            outcome(fate, || ledger.stores.get(&store.key).filter(|_| shown).cloned().map(Secret::new)).into_result()
        })
        .await
    }

    async fn run_hook(&self, hook: &HookPolicy, _occasion: &Occasion) -> Outcome<()> {
        if self.is_off(Off::Hooks) {
            return Outcome::Done(());
        }
        self.effect(Kind::Hook, |ledger, fate, now| outcome(fate, || ledger.run_hook(&hook.key, now))).await
    }

    fn fingerprints(&self, secret: &SecretParts) -> Few<String, Fingerprint> {
        let prints = secret.iter().map(|(part, secret)| (part.to_owned(), print_of(secret.expose())));
        if !self.is_off(Off::Kinship) {
            return prints.collect();
        }
        let mut inner = self.inner();
        let salted = secret.iter().map(|(part, secret)| {
            let print = fingerprinter().of(&Secret::new(format!("{} {}", inner.prints.len(), secret.expose())));
            inner.prints.insert(print.as_str().to_owned(), secret.expose().to_owned());
            (part.to_owned(), print)
        });
        salted.collect()
    }

    fn rotation_id(&self) -> RotationId {
        let mut inner = self.inner();
        inner.rotations += 1;
        numbered_rotation(inner.rotations)
    }

    fn clock(&self, _account: &AccountName) -> ProviderClock {
        self.inner().skew.span().map_or(ProviderClock::Unseen, ProviderClock::seen)
    }

    fn draw(&self) -> f64 {
        if self.is_off(Off::Backoff) { 0.0 } else { 0.5 }
    }

    fn set_credential(&self, _token: &TokenName, _secret: &SecretParts) {}

    async fn announce(&self, _token: &TokenName, _at: Time, event: &Event, state: &Arc<TokenState>) {
        if let (Event::Activated { .. } | Event::ActivatedEarly { .. }, Some(current)) = (event, state.phase.current())
        {
            let marker = current.generation.marker.as_ref().map(|marker| marker.as_str().to_owned());
            let mut inner = self.inner();
            if let Some(token) = inner.ledger.tokens.iter_mut().find(|token| token.marker == marker) {
                token.handed_over = true;
            }
        }
    }
}
