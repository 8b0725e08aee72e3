//! What is the matter, and what to do about it: the words that `status`, `explain`, page and readiness share.

use crate::clock::{Span, Time};
use crate::names::TokenName;
use crate::outcome::FailureCode;
use crate::report::outlook::NextAction;
use crate::rotation::reason::Reason;
use crate::text::words;

use super::error::advice;
use super::{
    AccountCondition, AccountStatus, Condition, ErrorStatus, GenerationStatus, JournalStatus, OrphanKind, OwedKind,
    ReloadStatus, Status, TokenStatus,
};

/// What to do about a token that left the inventory.
const LEFT: &str = "put it back into the inventory, or have it revoked with `patrold retire NAME --revoke`";

/// What to do about a token whose provider cannot create another.
const BY_HAND: &str = "make a token at the provider, and put it where `initial` says, or `patrold adopt` it";

/// What is the matter with a token or an account, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// One line.
    pub what: String,
    /// The remedy, with the runbook.
    pub advice: Option<String>,
}

impl Cause {
    /// Both in one line.
    pub fn line(&self) -> String {
        let advice = self.advice.as_ref().map(|advice| format!("; help: {advice}")).unwrap_or_default();
        format!("{}{advice}", self.what)
    }

    /// The same where a line says already that it is help.
    pub fn sentence(&self) -> String {
        let advice = self.advice.as_ref().map(|advice| format!("; {advice}")).unwrap_or_default();
        format!("{}{advice}", self.what)
    }

    fn with(what: String, help: &str, runbook: &str) -> Self {
        Self { what, advice: advice(help, Some(runbook)) }
    }
}

impl Status {
    /// Tokens of which a live one may exist that nobody knows: the answer to a mint was lost, and nothing can be listed. A
    /// running daemon would have listed it otherwise.
    pub fn unseen_mints(&self) -> Vec<(&TokenName, Cause)> {
        let lost = |token: &&TokenStatus| token.orphans.iter().any(|orphan| orphan.kind == OrphanKind::UnknownMint);
        let unseen = self.tokens.iter().filter(lost).filter(|token| self.is_unseen(token));
        let cause = |token: &TokenStatus| {
            let what = "a live token may exist at the provider: the answer to its mint was lost".to_owned();
            let name = &token.name;
            let help = format!("look for the name that `patrold status {name}` shows, and revoke it there");
            Cause::with(what, &help, "orphans-were-found")
        };
        unseen.map(|token| (&token.name, cause(token))).collect()
    }

    fn is_unseen(&self, token: &TokenStatus) -> bool {
        let account = self.accounts.iter().find(|account| Some(&account.name) == token.account.as_ref());
        let elsewhere = self.fleet.iter().flat_map(|fleet| &fleet.elsewhere).any(|it| it.token == token.name);
        self.daemon.is_some() && !elsewhere && account.is_none_or(|account| account.last_listing.is_none())
    }
}

impl AccountStatus {
    /// What is the matter with it, the worst first: what status, page and readiness all say. Each is the end of a sentence
    /// about the account.
    pub fn causes(&self, now: Time) -> Vec<Cause> {
        let mut causes = Vec::new();
        if self.condition == AccountCondition::Degraded {
            let since = self.since.map(|since| format!(" for {}", words::span(now - since))).unwrap_or_default();
            let why = self.last_error.as_ref().map(|error| format!(": {}", error.message)).unwrap_or_default();
            let advice = self.last_error.as_ref().and_then(ErrorStatus::advice);
            causes.push(Cause { what: format!("is degraded{since}{why}"), advice });
        }
        if let Some(until) = self.blocked_until {
            let what = format!("is rate limited by the provider for another {}", words::span(until - now));
            let help = "wait, or `patrold rotate --now NAME` asks all the same";
            causes.push(Cause::with(what, help, "the-provider-is-down"));
        }
        if let (Some(skew), true) = (self.skew_ms, self.skew_is_worrying) {
            let side = if skew > 0 { "ahead of" } else { "behind" };
            let skew = words::span(Span::milliseconds(skew));
            let what = format!("sees the provider's clock {skew} {side} ours");
            causes.push(Cause::with(what, "set the clock that is wrong", "a-clock-is-wrong"));
        }
        if !self.orphans.is_empty() {
            let count = words::count(self.orphans.len(), "orphan");
            let what = format!("has {count}: {}", words::some(&self.orphans, 3));
            let help = format!("`patrold audit --account {} --reap` shows and revokes them", self.name);
            causes.push(Cause::with(what, &help, "orphans-were-found"));
        }
        causes
    }
}

impl JournalStatus {
    /// Why it cannot be written, where it cannot.
    pub fn cause(&self) -> Option<Cause> {
        let failure = self.failure.as_ref()?;
        let what = format!("{failure} ({})", self.state_dir);
        Some(Cause { what, advice: advice(failure.code.remedy(), failure.code.runbook()) })
    }
}

impl ReloadStatus {
    /// What to do where the inventory on disk is invalid.
    pub fn advice(&self) -> Option<String> {
        let help = "correct it, saving is enough; `patrold check` shows the line";
        advice(help, Some("a-changed-inventory-is-invalid")).filter(|_| !self.answer.applied)
    }
}

impl TokenStatus {
    /// Whether it left the inventory while a token of it is alive, which nobody renews and nobody is about to revoke.
    pub fn is_left_alive(&self) -> bool {
        let alive = |current: &GenerationStatus| current.expires_in_seconds.is_none_or(|left| left > 0);
        let unplanned = self.condition == Condition::Left && self.retirement.is_none();
        unplanned && self.dead.is_none() && self.current.as_ref().is_some_and(alive)
    }

    /// Whether it is not minted because the journal is new and something of it exists already.
    pub fn is_held_back(&self) -> bool {
        self.waits_by(Reason::HeldBack)
    }

    fn waits_by(&self, reason: Reason) -> bool {
        let codes = [Some(&self.next.reason), self.next.hold.as_ref()];
        codes.into_iter().flatten().any(|code| code == reason.code())
    }

    /// That the provider does not accept it any more, and why nothing took its place yet. A refusal of its own secret says
    /// nothing about the account's credential.
    fn of_death(&self, dead: &ErrorStatus) -> Cause {
        let since = self.last_error.as_ref().filter(|error| error.at > dead.at);
        if let Some(error) = since {
            let what =
                format!("the provider does not accept it any more, and its replacement fails: {}", error.message);
            return Cause { what, advice: error.advice() };
        }
        let what = format!("the provider does not accept it any more: {}", dead.message);
        if self.next.action == NextAction::Replace {
            return Cause::with(what, BY_HAND, "a-token-has-to-be-replaced-by-hand");
        }
        let help = "find out who revoked it, unless you did; patrold replaces it";
        Cause::with(what, help, "a-token-is-about-to-expire-and-its-rotation-fails")
    }

    /// Why it is not fine: what status, page and readiness all say.
    pub fn cause(&self) -> Option<Cause> {
        let of = |error: &ErrorStatus| Cause { what: error.message.clone(), advice: error.advice() };
        let owed = self.owed.iter().min_by_key(|owed| owed.kind == OwedKind::Hook).map(|owed| {
            let kind = if owed.kind == OwedKind::Store { "store" } else { "hook" };
            Cause {
                what: format!("{kind} {}: {}", owed.key, owed.error),
                advice: advice(&owed.help, owed.runbook.as_deref()),
            }
        });
        match self.condition {
            Condition::Left if self.is_left_alive() => Some(Cause {
                what: "it left the inventory, and its token is alive at the provider".to_owned(),
                advice: advice(LEFT, Some("a-token-is-not-needed-any-more")),
            }),
            Condition::Fine | Condition::Busy | Condition::Left => None,
            Condition::Missing if self.is_held_back() => {
                let help =
                    "restore the journal from a backup, or say what to do with `patrold adopt` or `patrold rotate`";
                Some(Cause::with(self.next.why.clone(), help, "the-state-directory-is-lost"))
            }
            Condition::Missing | Condition::Failing | Condition::Down if self.waits_by(Reason::NoRoom) => {
                let code = FailureCode::NoRoom;
                Some(Cause { what: code.sentence().to_owned(), advice: advice(code.remedy(), code.runbook()) })
            }
            Condition::Due => {
                let what = "its provider cannot create tokens, and it has to be replaced by hand".to_owned();
                Some(Cause::with(what, BY_HAND, "a-token-has-to-be-replaced-by-hand"))
            }
            Condition::Down if self.dead.is_some() => self.dead.as_ref().map(|dead| self.of_death(dead)),
            // Consumers are served, whatever else is owed: an operator decides.
            _ => match &self.last_error {
                Some(error) if error.code == FailureCode::StoreNewer => Some(of(error)),
                error => owed.or_else(|| error.as_ref().map(of)),
            },
        }
    }
}
