//! Readiness of a daemon, judged from its status.
//!
//! Not ready is a daemon whose promise does not hold at this moment: consumers of a token have no valid secret, the
//! journal cannot be written, what stands on disk is not what is in effect, or nothing moves at all. What delays nobody
//! yet, such as an account that is degraded while its tokens still live, is a warning: it is told, and counts only for
//! those who ask for it.

use std::fmt::Write as _;

use crate::report::status::{AccountCondition, Condition, ReloadStatus, Status};
use crate::text::words;

/// The most names of tokens that a text shows.
const NAMES: usize = 5;

/// Accounts change hands within seconds; after so many somebody should look.
const UNOWNED: u64 = 120;

/// What a probe is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// Why it is not ready, a line each.
    pub reasons: Vec<String>,
    /// What somebody should look at although it is ready, a line each.
    pub warnings: Vec<String>,
    /// What of its fleet nobody does, a line each: no replica is ready less than the others because of it.
    pub of_fleet: Vec<String>,
    /// What to do about either, a line each.
    pub help: Vec<String>,
}

impl Readiness {
    /// The judgement. `alive`: the scheduler gave a sign of life when it was asked.
    pub fn judge(status: &Status, alive: bool) -> Self {
        let mut reasons = Vec::new();
        if !alive {
            reasons.push("the scheduler does not answer".to_owned());
        }
        if let Some(failure) = &status.journal.failure {
            reasons.push(failure.to_string());
        }
        reasons.extend(status.journal.unreadable.iter().cloned());
        let fleet = status.fleet.as_ref();
        reasons
            .extend(fleet.and_then(|fleet| fleet.trouble.as_ref()).map(|why| format!("no part in the fleet: {why}")));
        let reload = status.daemon.as_ref().and_then(|daemon| daemon.reload.as_ref());
        if let Some(reload) = reload.filter(|reload| !reload.answer.applied) {
            let problem = reload.answer.problems.first().map_or("", String::as_str);
            let problems = words::count(reload.answer.problems.len(), "problem");
            reasons.push(format!("the inventory on disk is invalid ({problems}): {problem}"));
        }
        let named = |condition, paused| {
            let tokens =
                status.tokens.iter().filter(move |token| token.condition == condition && token.paused <= paused);
            tokens.map(|token| &token.name).collect::<Vec<_>>()
        };
        let tell = |names: &[_], what: &str| {
            let some = words::some(names, NAMES);
            (!names.is_empty()).then(|| format!("{} {what}: {some}", words::count(names.len(), "token")))
        };
        // An operator who pauses a token before its first secret knows that it has none.
        reasons.extend(tell(&named(Condition::Missing, false), "without a first secret"));
        reasons.extend(tell(&named(Condition::Down, true), "whose secret does not work"));
        let (mut warnings, mut of_fleet) = (Vec::new(), Vec::new());
        if let Some(fleet) = fleet {
            let unowned: Vec<_> =
                fleet.unowned.iter().filter(|it| it.for_seconds >= UNOWNED).map(|it| &it.account).collect();
            if !unowned.is_empty() {
                of_fleet.push(format!("accounts that no replica owns: {}", words::some(&unowned, NAMES)));
            }
            let me = fleet.replicas.iter().find(|replica| Some(&replica.name) == fleet.replica.as_ref());
            if me.is_some_and(|me| me.behind) {
                warnings.push("another replica has a newer inventory".to_owned());
            }
            if let Some(engine) = fleet.engine.as_ref().filter(|engine| !engine.alarms.is_empty()) {
                warnings.push(format!("the engine has raised {}", engine.alarms.join(", ")));
            }
        }
        let degraded = status.accounts.iter().filter(|account| account.condition == AccountCondition::Degraded);
        for account in degraded {
            let why = account.last_error.as_ref().map(|error| format!(": {}", error.message)).unwrap_or_default();
            warnings.push(format!("account {} is degraded{why}", account.name));
        }
        for account in status.accounts.iter().filter(|account| !account.orphans.is_empty()) {
            warnings.push(format!("account {} has {}", account.name, words::count(account.orphans.len(), "orphan")));
        }
        warnings.extend(tell(&named(Condition::Due, true), "to be replaced by hand"));
        warnings.extend(tell(&named(Condition::Failing, true), "failing, with a secret that is still valid"));
        let unseen = status.unseen_mints();
        let names: Vec<_> = unseen.iter().map(|(name, _)| *name).collect();
        warnings.extend(tell(&names, "that may be alive unseen"));
        // One that was left alive on purpose is told, and is no reason for a strict probe to fail.
        let tokens = status.tokens.iter().filter(|token| token.condition.urgency() > 1 || token.is_left_alive());
        let causes = tokens.filter_map(|token| Some((&token.name, token.cause()?))).chain(unseen);
        let mut help: Vec<_> =
            causes.take(NAMES).map(|(name, cause)| format!("token {name}: {}", cause.sentence())).collect();
        let causes = status.accounts.iter().flat_map(|account| {
            let causes = account.causes(status.at).into_iter();
            causes.map(|cause| format!("account {} {}", account.name, cause.sentence()))
        });
        help.extend(causes.take(NAMES));
        help.extend(status.journal.cause().and_then(|cause| cause.advice).map(|advice| format!("journal: {advice}")));
        help.extend(reload.and_then(ReloadStatus::advice).map(|advice| format!("inventory: {advice}")));
        Self { reasons, warnings, of_fleet, help }
    }

    /// Whether it is ready; `strict`: warnings count, too; `fleet`: what nobody in its fleet does counts, too.
    pub fn is_ready(&self, strict: bool, fleet: bool) -> bool {
        let strictly = !strict || self.warnings.is_empty();
        self.reasons.is_empty() && strictly && (!(strict || fleet) || self.of_fleet.is_empty())
    }

    /// The judgement as text.
    pub fn text(&self, strict: bool, fleet: bool) -> String {
        let mut text = if self.is_ready(strict, fleet) { "ready\n" } else { "not ready\n" }.to_owned();
        for (word, lines) in
            [("reason", &self.reasons), ("warning", &self.of_fleet), ("warning", &self.warnings), ("help", &self.help)]
        {
            for line in lines {
                // Writing to a String cannot fail.
                let _ = writeln!(text, "{word}: {line}");
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{Failure, FailureCode};
    use crate::report::status::ErrorStatus;

    /// A status in which nothing is the matter.
    fn fine() -> Status {
        let mut status: Status = serde_json::from_str(include_str!("metrics/tests/status.json")).unwrap();
        status.daemon.as_mut().unwrap().reload = None;
        status.tokens.iter_mut().for_each(|token| {
            token.condition = Condition::Fine;
            token.owed.clear();
            token.last_error = None;
        });
        status.accounts.iter_mut().for_each(|account| {
            account.condition = AccountCondition::Fine;
            account.orphans.clear();
            account.blocked_until = None;
            account.skew_is_worrying = false;
        });
        status
    }

    fn check(sentence: &str, change: impl FnOnce(&mut Status), alive: bool, expected: &str) {
        let mut status = fine();
        change(&mut status);
        assert_eq!(Readiness::judge(&status, alive).text(false, false), expected, "{sentence}");
    }

    #[test]
    fn what_breaks_the_promise_is_not_ready() {
        check("nothing is the matter", |_| {}, true, "ready\n");
        check("stuck", |_| {}, false, "not ready\nreason: the scheduler does not answer\n");
        check(
            "the disk is full",
            |status| status.journal.failure = Some(Failure::new(FailureCode::Journal, "full")),
            true,
            &format!(
                "not ready\nreason: the journal cannot be written: full\nhelp: journal: {} \
                 (docs/runbooks.md#the-disk-is-full-or-the-journal-cannot-be-written)\n",
                FailureCode::Journal.remedy()
            ),
        );
        check(
            "no secret at all",
            |status| status.tokens[0].condition = Condition::Missing,
            true,
            "not ready\nreason: 1 token without a first secret: gps-ingest\n",
        );
        check(
            "paused before the first",
            |status| {
                status.tokens[0].condition = Condition::Missing;
                status.tokens[0].paused = true;
            },
            true,
            "ready\n",
        );
        check(
            "a dead one, paused or not",
            |status| {
                status.tokens[0].condition = Condition::Down;
                status.tokens[0].paused = true;
            },
            true,
            "not ready\nreason: 1 token whose secret does not work: gps-ingest\n",
        );
    }

    #[test]
    fn an_invalid_inventory_is_named_with_its_place() {
        let status: Status = serde_json::from_str(include_str!("metrics/tests/status.json")).unwrap();
        let text = Readiness::judge(&status, true).text(false, false);
        assert!(text.contains("reason: the inventory on disk is invalid (1 problem): patrold.toml:3:1: "), "{text}");
    }

    #[test]
    fn the_cause_and_the_remedy_are_told() {
        let mut status = fine();
        status.tokens[0].condition = Condition::Failing;
        let failure = Failure::new(FailureCode::HookFailed, "no such unit");
        status.tokens[0].last_error = Some(ErrorStatus::new(status.at, &failure));
        let text = Readiness::judge(&status, true).text(false, false);
        let remedy = FailureCode::HookFailed.remedy();
        let anchor = "(docs/runbooks.md#a-store-or-a-hook-fails)";
        let help = format!("help: token gps-ingest: the hook failed: no such unit; {remedy} {anchor}\n");
        assert!(text.ends_with(&help), "{text}");
    }

    #[test]
    fn what_delays_nobody_is_a_warning() {
        let mut status = fine();
        status.accounts[0].condition = AccountCondition::Degraded;
        status.tokens[0].condition = Condition::Failing;
        let readiness = Readiness::judge(&status, true);
        assert!(readiness.is_ready(false, false) && !readiness.is_ready(true, false), "{readiness:?}");
        assert_eq!(readiness.warnings.len(), 2, "{readiness:?}");
        assert!(
            readiness.text(true, false).starts_with("not ready\nwarning: account gps is degraded: "),
            "{readiness:?}"
        );
    }

    #[test]
    fn what_nobody_in_a_fleet_does_counts_where_it_is_asked_for() {
        let mut status = fine();
        let unowned = |seconds: u64| {
            serde_json::json!({
                "name": "prod", "replica": "r1", "lease-left-ms": 9000, "trouble": null, "replicas": [], "engine": null,
                "unowned": [{ "account": "gps", "for-seconds": seconds }], "elsewhere": [],
                "leases-lost": 0, "accounts-taken": 0,
            })
        };
        for (sentence, seconds, plain, fleet, strict) in
            [("it changes hands", 119, true, true, true), ("nobody takes it", 120, true, false, false)]
        {
            status.fleet = Some(serde_json::from_value(unowned(seconds)).unwrap());
            let readiness = Readiness::judge(&status, true);
            let ready =
                [(false, false), (false, true), (true, false)].map(|(strict, fleet)| readiness.is_ready(strict, fleet));
            assert_eq!(ready, [plain, fleet, strict], "{sentence}: {readiness:?}");
        }
    }
}
