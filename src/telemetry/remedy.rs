//! Remedies of log lines: what an operator does about each.

use crate::event::PROCESS;
use crate::outcome::FailureCode;
use crate::rotation::Event;

/// What an operator does about a line of this name whose failure has this code, where there is anything to say.
pub fn remedy(name: &str, code: Option<&str>) -> Option<&'static str> {
    let entry = PROCESS.iter().chain(Event::TABLE).find(|entry| entry.name == name);
    let general = entry.map(|entry| entry.remedy).filter(|remedy| !remedy.is_empty());
    general.or_else(|| code.and_then(FailureCode::named).map(FailureCode::remedy))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fmt::Write as _;

    use super::*;
    use crate::event::EventRow;

    #[test]
    fn names_are_unique() {
        let entries = || PROCESS.iter().chain(Event::TABLE);
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
        assert!(written == page, "docs/events.md is not what event and rotation::event say; see PATROLD_REGENERATE");
    }

    fn page() -> String {
        let mut page = INTRODUCTION.to_owned();
        let mut section = |title: &str, entries: &[EventRow]| {
            let _ = writeln!(page, "\n## {title}\n\n| event | what happened | what to do |\n| --- | --- | --- |");
            for EventRow { name, meaning, remedy } in entries {
                let _ = writeln!(page, "| `{name}` | {meaning} | {remedy} |");
            }
        };
        section("The process, its inventory and its accounts", PROCESS);
        section("Tokens", Event::TABLE);
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
