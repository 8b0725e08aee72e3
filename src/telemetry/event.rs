//! Every kind of log line: its stable name, what it means, and what an operator does about it.
//!
//! A line carries its name in the field `event`. What happens to a token is logged under the name of the journal's event;
//! the names of everything else are the constants of this module. `docs/events.md` is made from this table, and a test
//! holds the code against it in both directions.

use crate::outcome::FailureCode;

/// One kind of line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What the field `event` says.
    pub name: &'static str,
    /// What happened, as a sentence without its end.
    pub meaning: &'static str,
    /// What to do where the line is a warning or an error; empty: it depends on the failure.
    pub remedy: &'static str,
}

/// What a line of another crate carries, which knows nothing of this list.
pub const LIBRARY: &str = "library";

macro_rules! entries {
    ($(#[$doc:meta])* $list:ident: $($name:literal, $meaning:literal, $remedy:literal;)*) => {
        $(#[$doc])*
        pub const $list: &[Entry] = &[$(Entry { name: $name, meaning: $meaning, remedy: $remedy },)*];
    };
}

macro_rules! lines {
    ($($constant:ident = $name:literal, $meaning:literal, $remedy:literal;)*) => {
        $(#[doc = $meaning] pub const $constant: &str = $name;)*

        /// What a process tells of itself, its accounts and its inventory, in the order of a life.
        pub const PROCESS: &[Entry] = &[
            $(Entry { name: $name, meaning: $meaning, remedy: $remedy },)*
            Entry {
                name: LIBRARY,
                meaning: "A library that patrold is built on has something to say; `target` names it",
                remedy: "nothing, unless other lines tell of a failure at the same time",
            },
        ];

        /// The names of the constants above, for the test that holds them against the code.
        pub const CONSTANTS: &[(&str, &str)] = &[$((stringify!($constant), $name),)*];
    };
}

lines! {
    STARTED = "started", "The daemon runs", "";
    STOPPING = "stopping", "A signal came; steps under way are brought to their next record", "";
    STOP_FORCED = "stop-forced", "A second signal came; steps under way are given up",
        "nothing: the journal tells the next start what was under way";
    STOPPED = "stopped", "The daemon has ended; `drained` says whether every step under way was brought to its record", "";
    ONCE_DONE = "once-done", "`run --once` has done what was due",
        "look at the lines before it: each failure has its own";
    CORE_DUMP_POSSIBLE = "core-dump-possible", "A crash could write secrets to a core dump",
        "set LimitCORE=0 in the unit, or `ulimit -c 0`";
    JOURNAL_NOTE = "journal-note", "Something about the state directory or its key is not as it should be",
        "do what the line says";
    JOURNAL_RESEALED = "journal-resealed", "The daemon was given a key of its own: the journal is sealed under it, and the made key is removed",
        "nothing; keep the key that the line speaks of";
    JOURNAL_STUCK = "journal-stuck", "The journal cannot be written; nothing is begun until it can", "";
    SWEPT = "swept", "Temporary files that a kill left beside a store were removed", "";
    SWEEP_FAILED = "sweep-failed", "Temporary files beside stores could not be looked for",
        "check that the store's directory exists and may be read";
    INVENTORY_NOTE = "inventory-note", "The inventory is valid, and something in it is doubtful",
        "change what the line names, or leave it if it is meant";
    INVENTORY_PROBLEM = "inventory-problem", "One thing that is wrong with the changed inventory, with file, line and column",
        "correct the line; the inventory is read again as soon as it is saved";
    INVENTORY_REFUSED = "inventory-refused", "The changed inventory is invalid; the one before stays in force",
        "correct what `patrold check` reports";
    INVENTORY_CHANGED = "inventory-changed", "A changed inventory is in force; one line for each change", "";
    INVENTORY_UNCHANGED = "inventory-unchanged", "The inventory was read again and says what it said before", "";
    LOG_LEVEL_UNUSABLE = "log-level-unusable", "The inventory's log level is not used", "correct `log-level` under [daemon]";
    CREDENTIAL_CHANGED = "credential-changed", "A credential or CA file changed; what was refused gets another try", "";
    WATCH_DEGRADED = "watch-degraded", "Changes of some files are noticed by looking now and then only",
        "nothing is lost; where the kernel is out of watches, raise fs.inotify.max_user_watches";
    WATCH_RESTORED = "watch-restored", "Changes of all files are noticed at once again", "";
    LISTING_FAILED = "listing-failed", "An account's tokens cannot be listed; what is known of them stays in use", "";
    LISTING_RESUMED = "listing-resumed", "An account's tokens can be listed again", "";
    ORPHAN_LISTED = "orphan-listed", "A live token with a marker of this installation belongs to no token of the journal",
        "revoke it at the provider by hand; was the state directory replaced by an older copy?";
    NO_ROOM = "no-room", "A token is due, and its provider takes no more live tokens there",
        "revoke one there that nobody needs: `patrold audit` lists what is not managed";
    ANSWER_UNREAD = "answer-unread", "The answer to a mint was not understood in part",
        "compare the provider's version with its definition: `patrold provider show NAME --source`";
    MANAGED_SECRET_LACKING = "managed-secret-lacking", "Accounts that authenticate with a managed token have no secret of it", "";
    MANAGED_SECRET_STALE = "managed-secret-stale", "Accounts that authenticate with a managed token keep its old secret", "";
    CONTROL_REFUSED = "control-refused", "A connection to the control socket was refused",
        "find out who connects: `ss -xp` shows them; only the daemon's user and root may";
    CONTROL_DISTURBED = "control-disturbed", "The control socket could not take a connection, and goes on",
        "raise LimitNOFILE= of the unit where the daemon is out of file descriptors";
    HTTP_LISTENS = "http-listens", "The status page, health and metrics are served at the address in the line", "";
    HTTP_DOWN = "http-down", "The HTTP server cannot listen as the inventory says; the daemon goes on without it, or with it as it was",
        "correct what the line names; it is tried again every half minute, and at once when a file changes";
    HTTP_REFUSED = "http-refused", "The HTTP server refused a connection or a request; `code` says why, `peer` whom",
        "find out who asks, where it is not you; every refusal is counted in patrold_http_refused_total";
    HTTP_DISTURBED = "http-disturbed", "The HTTP server could not take a connection or make an answer, and goes on",
        "raise LimitNOFILE= of the unit where the daemon is out of file descriptors";
    NOTICE_UNSENT = "notice-unsent", "The service manager was not told something",
        "nothing, unless systemd then reports a timeout: check NotifyAccess= of the unit";
    WATCHDOG_SILENT = "watchdog-silent", "The scheduler makes no progress; the watchdog gets no ping",
        "nothing: the service manager restarts the daemon; report it, it is a bug";
    LOG_LINES_DROPPED = "log-lines-dropped", "Log lines were dropped, because standard error did not take them in time; `count` says how many",
        "see that something reads the daemon's standard error; patrold_log_lines_dropped_total counts them";
    PANICKED = "panicked", "The program has a bug; `place` says where. Its own words are not logged: they may quote a secret",
        "report it with the place; nothing is lost, the journal has what was under way";
    TASK_DIED = "task-died", "A task ended abnormally; it is tried again in a minute",
        "report it, it is a bug; nothing is lost, the journal has what was under way";
}

entries! {
    /// What happens to a token, under the names of the journal's events, in the order of a life.
    TOKEN:
    "adopted", "The token that the inventory names was taken over", "";
    "replacement-due", "It is time for another token, and its provider cannot mint",
        "make one at the provider, and put its secret to the place that `initial` names";
    "replaced", "An operator brought another token in place of the current one, which retires", "";
    "replacement-refused", "The provider does not accept the secret that an operator brought; the one before stays",
        "put a secret that works to the place that `initial` names";
    "initial-refused", "The provider does not accept the secret to adopt: a token is minted in its place",
        "remove `initial` from the token; if the secret should work, find out why the provider refuses it";
    "backoff-ended", "A credential changed: what failed for want of a good one is tried again", "";
    "requested", "An operator asked for a rotation", "";
    "compromised", "An operator says that others have the secret: every generation is replaced, and revoked without grace",
        "see that the lines `retired` follow; `patrold rotate --compromised` tells what is left to do";
    "offered", "An operator brought a secret to take over; it is proven next", "";
    "recalled", "An operator asked for the generation before; it is proven next", "";
    "postponed", "The next step failed and is tried again; nothing is lost", "";
    "intended", "A new generation is about to be minted", "";
    "mint-refused", "No new token was minted; the old one stays in force", "";
    "mint-doubted", "Nobody knows whether a token was minted; its marker is looked for before another mint", "";
    "orphan-found", "A mint whose answer was lost did happen; the orphan is revoked", "nothing: patrold revokes it";
    "orphan-revoked", "The orphan is revoked", "";
    "search-ended", "The search for a lost mint ended without a revocation",
        "where the line says so, revoke the orphan by hand: its name at the provider is `marker`";
    "minted", "A new generation is in the journal", "";
    "verified", "The provider accepts the new secret, or the definition cannot ask", "";
    "store-written", "A store was written", "";
    "store-failed", "A store could not be written; the old secret stays in force", "";
    "delivered", "Every store acknowledged", "";
    "hook-succeeded", "A hook succeeded", "";
    "hook-failed", "A hook failed; the old secret is not revoked", "";
    "hook-waived", "A hook failed, and the inventory says to go on", "";
    "activated", "The new generation is current", "";
    "activated-early", "The new generation is current although stores or hooks are still owed",
        "help the stores or hooks that the lines before name: consumers may still hold the old secret";
    "still-used", "The provider sees the old generation in use; its revocation is put off", "";
    "revocation-deferred", "The old generation is revoked later, because the next rotation cannot wait",
        "nothing: it is revoked as soon as the provider takes it back";
    "revoked", "The old generation is revoked", "";
    "found-alive", "The old generation outlived its revocation; it is revoked again", "";
    "retired", "The rotation is done", "";
    "left-to-expire", "The old generation cannot be revoked and is left to expire",
        "revoke it at the provider by hand, if that is too long";
    "undo-begun", "The new generation is being taken back; the old one stays in force", "";
    "undone", "The new generation was taken back",
        "where the line says so, revoke the new generation by hand: its name at the provider is `marker`";
    "renewal-intended", "A renewal in place begins", "";
    "renewal-postponed", "The renewal was not begun and is tried again", "";
    "renewal-refused", "The provider did not renew; it is tried again, or the token is replaced", "";
    "renewal-doubted", "Nobody knows whether the renewal happened; it is not repeated", "";
    "renewal-examined", "After a renewal of unknown outcome it is known whether the secret at hand still works",
        "nothing: the token is replaced. Where its provider cannot mint, `replacement-due` asks for a new one";
    "renewed", "The renewed secret is in the journal", "";
    "renewal-verified", "The renewed secret goes to its consumers", "";
    "renewal-rejected", "The renewed secret is not accepted; the token is replaced, or renewed once more where its provider cannot mint", "";
    "found-dead", "The provider does not accept the current secret any more; it is rotated at once",
        "find out who revoked it, where nobody of yours did";
    "observed", "The provider told more of the token", "";
    "store-owed", "A store does not hold what was delivered; it is written again",
        "find out what else writes to that place, where it happens again";
    "redelivered", "Every store and hook is done again", "";
    "remnant-ended", "A leftover credential is over", "";
    "reap-failed", "A leftover credential was not revoked; it is tried again", "";
    "reap-requested", "An operator wants an orphan revoked; it is revoked as soon as it is listed again", "";
    "resealed", "The journal's secrets are sealed with a new key", "";
    "secret-lost", "The secret cannot be read from the journal; the token will be rotated", "";
}

/// What an operator does about a line of this name whose failure has this code, where there is anything to say.
pub fn remedy(name: &str, code: Option<&str>) -> Option<&'static str> {
    let entry = PROCESS.iter().chain(TOKEN).find(|entry| entry.name == name);
    let general = entry.map(|entry| entry.remedy).filter(|remedy| !remedy.is_empty());
    general.or_else(|| code.and_then(FailureCode::named).map(FailureCode::remedy))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fmt::Write as _;

    use super::*;

    #[test]
    fn every_event_of_a_token_is_in_the_list_and_no_other() {
        let listed: Vec<_> = TOKEN.iter().map(|entry| entry.name).collect();
        assert_eq!(listed, crate::rotation::Event::NAMES);
    }

    #[test]
    fn names_are_unique() {
        let entries = || PROCESS.iter().chain(TOKEN);
        let names: BTreeSet<_> = entries().map(|entry| entry.name).collect();
        assert_eq!(names.len(), entries().count());
    }

    #[test]
    fn the_cause_speaks_where_the_event_does_not() {
        for (sentence, name, code, expected) in [
            ("the event knows", "store-owed", Some("connect"), Some("find out what else writes to that place")),
            ("the cause knows", "hook-failed", Some("hook-timeout"), Some("find out why the hook hangs")),
            ("nobody knows", "activated", None, None),
            ("an unknown event", "made-up", None, None),
        ] {
            let found = remedy(name, code);
            assert_eq!(found.is_some(), expected.is_some(), "{sentence}");
            assert!(found.unwrap_or_default().starts_with(expected.unwrap_or_default()), "{sentence}: {found:?}");
        }
    }

    /// `docs/events.md` is this table; `PATROLD_REGENERATE=1` writes it.
    #[test]
    fn the_documentation_is_this_list() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/events.md");
        let page = page();
        if std::env::var_os("PATROLD_REGENERATE").is_some() {
            std::fs::create_dir_all(concat!(env!("CARGO_MANIFEST_DIR"), "/docs")).unwrap();
            std::fs::write(path, &page).unwrap();
        }
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert!(written == page, "docs/events.md is not what telemetry::event says; see PATROLD_REGENERATE");
    }

    fn page() -> String {
        let mut page = INTRODUCTION.to_owned();
        let mut section = |title: &str, entries: &[Entry]| {
            let _ = writeln!(page, "\n## {title}\n\n| event | what happened | what to do |\n| --- | --- | --- |");
            for Entry { name, meaning, remedy } in entries {
                let _ = writeln!(page, "| `{name}` | {meaning} | {remedy} |");
            }
        };
        section("The process, its inventory and its accounts", PROCESS);
        section("Tokens", TOKEN);
        page.push_str("\n## Failures\n\nWhat the field `code` says, and what to do.\n\n");
        page.push_str("| code | what it means | what to do |\n| --- | --- | --- |\n");
        for code in FailureCode::ALL {
            let _ = writeln!(page, "| `{}` | {} | {} |", code.code(), code.sentence(), code.remedy());
        }
        page
    }

    const INTRODUCTION: &str = "\
# Log lines

patrold logs to standard error, one line for each thing that happens: for people on a terminal, as JSON otherwise
(`log-format` under `[daemon]`, or `--log-format`). `log-level` or `$PATROLD_LOG` says how much. No line holds a secret.

Every line has `timestamp`, `level`, `target` (the part of patrold), `message` and `event`; the lists below have every
value of `event`. Names are stable: lines are added, not renamed. Further fields, where they apply:

| field | what it says |
| --- | --- |
| `token`, `account`, `generation`, `store`, `hook` | what the line is about, by the names of the inventory |
| `id`, `marker` | the provider's id of a token, and the name it was given there |
| `code`, `error` | why something failed: a code of the list at the end, and one line for people |
| `at` | when it is tried again, or what else the message calls a time |
| `help` | on warnings and errors: what to do next |
| `repeated` | how many lines like this one were left out since the last one |

**Repetition.** A warning or error that says the same of the same token, account, store or hook is logged once in ten
minutes; the next one tells in `repeated` how many there were meanwhile. Once something about it went well, the next
failure is told at once again.

**systemd's journal.** Where standard error is the journal, each line begins with its priority (`<3>` error, `<4>`
warning, `<6>` info, `<7>` debug), which the journal takes off: `journalctl -u patrold -p warning` shows what is wrong.
";
}
