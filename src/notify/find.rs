//! Conditions as the status shows them. Pure.

use crate::names::ChannelName;
use crate::notice::{Condition, ConditionKey, Conditions, Kind, Severity};
use crate::outcome::FailureCode;
use crate::report::status::{
    AccountCondition, AccountStatus, Condition as TokenCondition, DaemonStatus, ErrorStatus, JournalStatus, OrphanKind,
    OwedKind, TokenStatus,
};
use crate::text::words;

/// Of a token that is due and not replaced: what is left of its life in percent, and how bad that is.
const NEAR: [(i64, Severity); 2] = [(3, Severity::Critical), (10, Severity::Error)];

/// Adds what is the matter with a token.
pub fn of_token(token: &TokenStatus, at: crate::clock::Time, found: &mut Conditions) {
    let mut add = |kind, subject: &str, severity, why: &str, help: &str| {
        let condition = Condition {
            severity,
            account: token.account.clone(),
            token: Some(token.name.clone()),
            why: why.to_owned(),
            help: help.to_owned(),
        };
        found.insert(ConditionKey { kind, subject: subject.to_owned() }, condition);
    };
    let name = token.name.as_str();
    let cause = token.cause();
    let (why, help) = match &cause {
        Some(cause) => (cause.what.as_str(), cause.advice.as_deref().unwrap_or_default()),
        None => (token.next.why.as_str(), ""),
    };
    match token.condition {
        TokenCondition::Down => add(Kind::Dead, name, Severity::Critical, why, help),
        // Who pauses a token before its first secret knows that there is none.
        TokenCondition::Missing if !token.paused => add(Kind::Missing, name, Severity::Error, why, help),
        TokenCondition::Due => {
            let until = token.current.as_ref().and_then(|current| current.expires_in_seconds);
            let until = until.map(|left| format!("it expires in {}", words::span(crate::clock::Span::seconds(left))));
            add(Kind::ReplaceByHand, name, Severity::Warning, until.as_deref().unwrap_or(why), help);
        }
        // What is owed speaks for itself.
        TokenCondition::Failing if token.owed.is_empty() => add(Kind::Failing, name, Severity::Warning, why, help),
        TokenCondition::Left if token.is_left_alive() => add(Kind::LeftAlive, name, Severity::Warning, why, help),
        _ => {}
    }
    if let Some(severity) = near_expiry(token, at) {
        let left = token.current.as_ref().and_then(|current| current.expires_in_seconds).unwrap_or_default();
        let left = format!("it expires in {}: {why}", words::span(crate::clock::Span::seconds(left)));
        add(Kind::NearExpiry, name, severity, &left, help);
    }
    if !matches!(token.condition, TokenCondition::Left) {
        for owed in &token.owed {
            let (kind, what) = match owed.kind {
                OwedKind::Store if owed.code == Some(FailureCode::StoreForeign) => (Kind::StoreForeign, "store"),
                OwedKind::Store => (Kind::StoreOwed, "store"),
                OwedKind::Hook => (Kind::HookOwed, "hook"),
            };
            let subject = format!("{what} {} of token {name}", owed.key);
            add(kind, &subject, Severity::Error, &owed.error, &owed.help);
        }
    }
    for orphan in &token.orphans {
        // What can only expire is no news: the provider offers nothing else.
        let lost = orphan.kind == OrphanKind::UnknownMint || orphan.error.is_some();
        let called =
            orphan.marker.as_ref().map(ToString::to_string).or_else(|| orphan.id.as_ref().map(ToString::to_string));
        if let (true, Some(called)) = (lost, called) {
            let subject = format!("credential {called} of token {name}");
            let why = orphan.error.as_deref().unwrap_or("the answer to its mint was lost");
            add(Kind::Orphan, &subject, Severity::Warning, why, FailureCode::StillAlive.remedy());
        }
    }
}

/// How bad it is that little of a life is left, where it should have been replaced by now.
fn near_expiry(token: &TokenStatus, at: crate::clock::Time) -> Option<Severity> {
    // Of a token that is busy, nobody says when it was due.
    let late = matches!(token.condition, TokenCondition::Due | TokenCondition::Failing | TokenCondition::Busy);
    let overdue = late || token.next.due.is_some_and(|due| due <= at);
    let current = token.current.as_ref().filter(|_| overdue && token.condition != TokenCondition::Left)?;
    let left = current.expires_in_seconds.filter(|left| *left > 0)?;
    let life = left.saturating_add((at - current.minted_at).num_seconds()).max(1);
    NEAR.into_iter().find(|(percent, _)| left.saturating_mul(100) <= life.saturating_mul(*percent)).map(|(_, it)| it)
}

/// Adds what is the matter with an account.
pub fn of_account(account: &AccountStatus, found: &mut Conditions) {
    let mut add = |kind, subject: String, severity, why: String, help: String| {
        let condition = Condition { severity, account: Some(account.name.clone()), token: None, why, help };
        found.insert(ConditionKey { kind, subject }, condition);
    };
    let name = account.name.to_string();
    if account.condition == AccountCondition::Degraded {
        let why = account.last_error.as_ref().map(|error| error.message.clone()).unwrap_or_default();
        let help = account.last_error.as_ref().and_then(ErrorStatus::advice).unwrap_or_default();
        add(Kind::AccountDown, name.clone(), Severity::Error, why, help);
    }
    if let (Some(skew), true) = (account.skew_ms, account.skew_is_worrying) {
        let side = if skew > 0 { "ahead of" } else { "behind" };
        let skew = words::span(crate::clock::Span::milliseconds(skew.abs()));
        let why = format!("the provider's clock is {skew} {side} ours");
        add(Kind::Clock, name.clone(), Severity::Warning, why, "set the clock that is wrong".to_owned());
    }
    for marker in &account.orphans {
        let subject = format!("credential {marker} at account {name}");
        let why = "the provider lists it, and no token of the journal accounts for it".to_owned();
        add(Kind::Orphan, subject, Severity::Warning, why, "`patrold audit --reap` revokes orphans".to_owned());
    }
}

/// Adds what is the matter with the process, its journal and its inventory. `host`: where it runs.
pub fn of_process(journal: &JournalStatus, daemon: Option<&DaemonStatus>, host: &str, found: &mut Conditions) {
    let mut add = |kind, subject: &str, severity, why: String, help: &str| {
        let condition = Condition { severity, account: None, token: None, why, help: help.to_owned() };
        found.insert(ConditionKey { kind, subject: subject.to_owned() }, condition);
    };
    if let Some(failure) = &journal.failure {
        add(Kind::Journal, host, Severity::Critical, failure.to_string(), failure.code.remedy());
    }
    for line in &journal.unreadable {
        let (what, why) = line.split_once(": ").unwrap_or((line, ""));
        add(Kind::SetAside, what, Severity::Error, why.to_owned(), "");
    }
    if let Some(reload) = daemon.and_then(|daemon| daemon.reload.as_ref()).filter(|reload| !reload.answer.applied) {
        let why = reload.answer.problems.first().cloned().unwrap_or_default();
        let help = "correct what `patrold check` reports; the inventory before it stays in use";
        add(Kind::InventoryInvalid, host, Severity::Error, why, help);
    }
}

/// Adds that a channel fails.
pub fn of_channel(name: &ChannelName, why: &str, found: &mut Conditions) {
    let help = format!("`patrold notify test {name}` tries it again");
    let condition = Condition { severity: Severity::Error, account: None, token: None, why: why.to_owned(), help };
    found.insert(ConditionKey { kind: Kind::ChannelFailing, subject: name.to_string() }, condition);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::needless_pass_by_value, reason = "a row says what it is")]
    fn token(json: serde_json::Value) -> TokenStatus {
        let mut base = serde_json::json!({
            "name": "gps", "account": "a", "provider": "pointone", "condition": "fine", "phase": "steady", "paused": false,
            "current": { "number": 1, "revision": 0, "marker": null, "id": null, "minted-at": "2026-01-01T00:00:00Z",
                "expires": { "at": "2026-01-31T00:00:00Z" }, "expires-in-seconds": 2_000_000, "renewable-until": null },
            "dead": null, "candidate": null, "retiring": null,
            "next": { "action": "rotate", "at": null, "reason": "r", "why": "w", "hold": null, "due": null,
                "deadline": null, "overridden": false },
            "failures": 0, "next-attempt": null, "last-error": null, "last-success": null, "owed": [], "remnants": []
        });
        for (key, value) in json.as_object().unwrap() {
            base[key] = value.clone();
        }
        serde_json::from_value(base.clone()).unwrap_or_else(|error| panic!("{error}: {base:#}"))
    }

    fn found(token: &TokenStatus) -> Vec<(String, Severity)> {
        let mut found = Conditions::new();
        of_token(token, "2026-01-30T00:00:00Z".parse().unwrap(), &mut found);
        found.into_iter().map(|(key, condition)| (key.to_string(), condition.severity)).collect()
    }

    #[test]
    fn each_state_of_a_token_is_its_condition() {
        let owed = |code: &str| {
            serde_json::json!([{ "kind": "store", "key": "file:/t", "attempts": 1, "since": "2026-01-01T00:00:00Z",
                "next": "2026-01-01T00:00:00Z", "error": "e", "code": code }])
        };
        for (sentence, state, expected) in [
            ("all is well", serde_json::json!({}), vec![]),
            ("dead", serde_json::json!({ "condition": "down" }), vec![("dead:gps", Severity::Critical)]),
            ("no secret yet", serde_json::json!({ "condition": "missing" }), vec![("missing:gps", Severity::Error)]),
            ("no secret, on purpose", serde_json::json!({ "condition": "missing", "paused": true }), vec![]),
            ("it fails", serde_json::json!({ "condition": "failing" }), vec![("failing:gps", Severity::Warning)]),
            (
                "a store is owed: said once",
                serde_json::json!({ "condition": "failing", "owed": owed("store-unwritable") }),
                vec![("store-owed:store file:/t of token gps", Severity::Error)],
            ),
            (
                "a stranger's value",
                serde_json::json!({ "condition": "failing", "owed": owed("store-foreign") }),
                vec![("store-foreign:store file:/t of token gps", Severity::Error)],
            ),
        ] {
            let expected: Vec<_> = expected.into_iter().map(|(key, severity)| (key.to_owned(), severity)).collect();
            assert_eq!(found(&token(state)), expected, "{sentence}");
        }
    }

    #[test]
    fn a_token_that_is_overdue_gets_worse_as_its_end_comes_near() {
        let with = |left: i64, due: &str| {
            token(serde_json::json!({
                "current": { "number": 1, "revision": 0, "marker": null, "id": null, "minted-at": "2026-01-01T00:00:00Z",
                    "expires": { "at": "2026-01-31T00:00:00Z" }, "expires-in-seconds": left, "renewable-until": null },
                "next": { "action": "rotate", "at": null, "reason": "r", "why": "w", "hold": null, "due": due,
                    "deadline": null, "overridden": false },
            }))
        };
        let (past, future) = ("2026-01-20T00:00:00Z", "2026-02-01T00:00:00Z");
        for (sentence, left, due, expected) in [
            ("it is not due yet", 1000, future, None),
            ("half a life is left", 2_500_000, past, None),
            ("a tenth", 200_000, past, Some(Severity::Error)),
            ("the last moments", 3_000, past, Some(Severity::Critical)),
        ] {
            let severities = found(&with(left, due)).into_iter().map(|(_, severity)| severity).next();
            assert_eq!(severities, expected, "{sentence}");
        }
    }
}
