use std::path::Path;

use super::*;
use crate::inventory::{Environment, load};

const BASE: &str = r#"
    [daemon]
    state-dir = "/var/lib/patrold"
    [account.a]
    provider = "awx"
    url = "https://awx.example.com"
    credential = { env = "AWX_TOKEN" }
    params = { user_id = 7 }
    [[token]]
    name = "one"
    account = "a"
    rotate-every = "30d"
    stores = [{ kind = "file", path = "/run/one" }]
"#;

fn inventory(text: &str) -> Inventory {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let now = "2026-11-21T12:00:00Z".parse().unwrap();
    let runtime_dir = Some(Path::new("/run/patrold").to_owned());
    let loaded = load(file.path(), &Environment { runtime_dir, ..Environment::default() }, now);
    loaded.inventory.unwrap_or_else(|| panic!("{}", loaded.report.render()))
}

/// What a reload of [`BASE`] with one text replaced by another says.
fn check(sentence: &str, from: &str, to: &str, expected: &[&str]) {
    assert!(BASE.contains(from), "{sentence}: {from:?} is not there to be replaced");
    let changes: Vec<_> =
        diff(&inventory(BASE), &inventory(&BASE.replace(from, to))).iter().map(ToString::to_string).collect();
    assert_eq!(changes, expected, "{sentence}");
}

#[test]
fn a_reload_is_told_in_lines() {
    let second = "[[token]]\nname = \"two\"\naccount = \"a\"\nrotate-every = \"1d\"\n\
                  stores = [{ kind = \"file\", path = \"/run/two\" }]\n[account.a]";
    check("nothing changed", "user_id", "user_id", &[]);
    check("a comment is no change", "[account.a]", "# a comment\n[account.a]", &[]);
    check("a default that is written down is no change", "name = \"one\"", "name = \"one\"\ngrace = \"1h\"", &[]);
    check("a token is added", "[account.a]", second, &["token two: added"]);
    check("a token has another name", "\"one\"", "\"uno\"", &["token one: removed", "token uno: added"]);
    check("a token has another age", "30d", "20d", &["token one: rotate-every changed"]);
    check(
        "several keys of a token",
        "path = \"/run/one\" }]",
        "path = \"/run/uno\" }]\npaused = true",
        &["token one: paused, stores changed"],
    );
    check("an account has another address", "awx.example.com", "other.example.com", &["account a: url changed"]);
    check(
        "an account's parameters are its tokens' parameters",
        "user_id = 7",
        "user_id = 8",
        &["account a: params changed", "token one: params changed"],
    );
    check(
        "daemon settings say when they take effect",
        "state-dir = \"/var/lib/patrold\"",
        "state-dir = \"/srv\"\nlog-level = \"debug\"",
        &["daemon: state-dir changed, takes effect at the next start", "daemon: log-level changed"],
    );
}
