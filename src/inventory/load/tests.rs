//! Inventories on disk: broken ones with the report they are to give, sound ones, the shipped reference.

use std::env;

use super::*;
use crate::clock::Span;
use crate::inventory::{Format, HookKind, StoreKind, defaults};

/// A Saturday noon in 2026: gaps in cron expressions are measured from here.
fn now() -> Time {
    "2026-11-21T12:00:00Z".parse().unwrap()
}

fn environment() -> Environment {
    Environment {
        state_dir: Some("/var/lib/patrold".into()),
        runtime_dir: Some("/run/patrold".into()),
        ..Environment::default()
    }
}

fn loaded(path: impl AsRef<Path>) -> Loaded {
    // No test depends on the trust roots of its machine.
    load_with(Gathered::new(path.as_ref(), None, &environment()), &environment(), now(), &|_| Ok(()))
}

/// Loads a directory of files, the first of which is the main one.
fn loaded_from(files: &[(&str, &str)]) -> (tempfile::TempDir, Loaded) {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text.replace("@HERE@", dir.path().to_str().unwrap())).unwrap();
    }
    let loaded = loaded(dir.path().join(files[0].0));
    (dir, loaded)
}

fn tomls(directory: &str) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    paths.sort();
    assert!(!paths.is_empty(), "{directory} holds no inventory");
    paths
}

/// Compares with `NAME.expected` beside each inventory. `PATROLD_REGENERATE=1 cargo test --lib inventory` writes those
/// files anew; look at the difference before committing it.
#[test]
fn a_definition_says_what_holds_where_the_inventory_is_silent() {
    let account = "[account.a]\nprovider = \"awx\"\nurl = \"https://awx.example.com\"\n\
                   credential = { env = \"AWX\" }\nparams = { user_id = 7 }\n";
    for (sentence, rest, wanted) in [
        ("nothing is said", "", Some(Span::days(30))),
        ("an age is said", "rotate-every = \"7d\"", Some(Span::days(7))),
        ("a schedule is a rule as well", "schedule = \"0 0 3 * * Sun\"", None),
        ("an age is said for all", "[defaults]\nrotate-every = \"9d\"", Some(Span::days(9))),
    ] {
        let text = format!("{account}[[token]]\nname = \"t\"\naccount = \"a\"\n{rest}\n");
        let (_directory, loaded) = loaded_from(&[("patrold.toml", &text)]);
        let inventory = loaded.inventory.unwrap_or_else(|| panic!("{sentence}: {}", loaded.report.render()));
        let token = inventory.tokens.values().next().unwrap();
        assert_eq!(token.rotate_every, wanted, "{sentence}");
    }
}

#[test]
fn broken_inventories_are_reported_as_expected() {
    let regenerate = env::var_os("PATROLD_REGENERATE").is_some();
    let mut different = Vec::new();
    for path in tomls("tests/data/inventories/broken") {
        let loaded = loaded(&path);
        assert!(loaded.inventory.is_none() && loaded.report.errors() > 0, "{} is not refused", path.display());
        let report = loaded.report.render();
        assert!(!report.contains("hunter2"), "{} carries a secret on:\n{report}", path.display());
        let golden = path.with_extension("expected");
        if regenerate {
            fs::write(&golden, &report).unwrap();
        } else if fs::read_to_string(&golden).unwrap_or_default() != report {
            different.push(format!("{}\n{report}", path.display()));
        }
    }
    assert!(
        different.is_empty(),
        "reports have changed; set PATROLD_REGENERATE=1 if rightly so\n{}",
        different.join("\n")
    );
}

#[test]
fn sound_inventories_load_without_a_word() {
    for path in tomls("tests/data/inventories/valid") {
        let loaded = loaded(&path);
        assert_eq!(loaded.report.render(), "", "{}", path.display());
        assert!(loaded.inventory.is_some(), "{}", path.display());
    }
}

/// The reference as shipped, and with every line uncommented that is a key.
fn reference(uncommented: bool) -> (tempfile::TempDir, Loaded) {
    let read = |path| fs::read_to_string(path).unwrap();
    let text = read("config/patrold.toml");
    let is_key = |rest: &str| rest.starts_with(|c: char| c.is_ascii_alphabetic() || c == '[');
    let uncomment = |line: &str| match line.strip_prefix('#').filter(|rest| is_key(rest)) {
        Some(key) => format!("{key}\n"),
        None => format!("{line}\n"),
    };
    let text = if uncommented { text.lines().map(uncomment).collect() } else { text };
    let keep = ("providers/README", "The reference names this directory.");
    loaded_from(&[("patrold.toml", &text), keep, ("tokens.d/example.toml", &read("config/tokens.d/example.toml"))])
}

#[test]
fn the_reference_as_shipped_asks_for_nothing() {
    let (_dir, loaded) = reference(false);
    assert_eq!(loaded.report.render(), "");
    let inventory = loaded.inventory.unwrap();
    assert!(inventory.accounts.is_empty() && inventory.tokens.is_empty());
    assert_eq!(inventory.daemon.state_dir, Path::new("/var/lib/patrold"));
    assert_eq!(inventory.daemon.log_level, defaults::LOG_LEVEL);
}

#[test]
fn the_reference_says_the_defaults_that_the_code_has() {
    let (_dir, loaded) = reference(true);
    assert_eq!(loaded.report.render(), "");
    let Inventory { daemon, fleet: _, accounts, tokens, channels } = loaded.inventory.unwrap();

    assert_eq!(daemon.log_level, defaults::LOG_LEVEL);
    assert_eq!(daemon.log_format, defaults::LOG_FORMAT);
    assert_eq!(daemon.drain_timeout, defaults::DRAIN_TIMEOUT);
    assert_eq!(daemon.new_journal, defaults::NEW_JOURNAL);
    assert!(daemon.control.ends_with(defaults::CONTROL_NAME));

    let account = &accounts[&"controller".parse().unwrap()];
    assert_eq!(account.poll_every, defaults::POLL_EVERY);
    assert_eq!(account.endpoint.timeouts.connect, defaults::CONNECT_TIMEOUT);
    assert_eq!(account.endpoint.timeouts.headers, defaults::HEADERS_TIMEOUT);
    assert_eq!(account.endpoint.timeouts.body, defaults::BODY_TIMEOUT);
    assert_eq!(account.endpoint.max_response, defaults::MAX_RESPONSE);
    assert_eq!(account.endpoint.max_in_flight, defaults::MAX_IN_FLIGHT);

    let token = &tokens[&"reference".parse().unwrap()];
    assert_eq!(token.renew_before, defaults::RENEW_BEFORE);
    assert_eq!(token.grace, defaults::GRACE);
    assert_eq!(token.grace_cap, defaults::GRACE_CAP);
    assert_eq!(token.jitter, defaults::JITTER);
    assert_eq!(token.verify_timeout, defaults::VERIFY_TIMEOUT);
    assert_eq!(token.drift_every, defaults::DRIFT_EVERY);
    assert_eq!(token.schedule.as_ref().unwrap().timezone(), defaults::TIMEZONE);
    assert!(!token.paused);
    let [file, env_file, _, _, _, service, command, _template] = &token.stores[..] else {
        panic!("{:?}", token.stores)
    };
    assert_eq!(file.part, crate::secret::TOKEN_PART);
    assert_eq!((file.existing, file.on_drift), (defaults::EXISTING, defaults::ON_DRIFT));
    assert_eq!(service.key.as_str(), "https://bao.example.com:8200/secret/apps/ingest#token");
    assert_eq!(service.existing, defaults::EXISTING_REMOTE);
    assert_eq!((command.key.as_str(), command.existing), ("command:team/controller", defaults::EXISTING_REMOTE));
    let StoreKind::Command(command) = &command.kind else { panic!("{command:?}") };
    assert_eq!((command.target.as_str(), command.timeout), ("command:team", defaults::STORE_TIMEOUT));
    let (StoreKind::File(file), StoreKind::File(env_file)) = (&file.kind, &env_file.kind) else { panic!("{token:?}") };
    assert_eq!((file.mode, &file.format), (Some(defaults::STORE_MODE), &Format::Whole { newline: defaults::NEWLINE }));
    assert_eq!(env_file.format, Format::Env { key: "CONTROLLER_TOKEN".to_owned(), dialect: defaults::DIALECT });
    assert_eq!(token.hooks[0].timeout, defaults::HOOK_TIMEOUT);
    assert_eq!(token.hooks[0].on_failure, defaults::ON_FAILURE);

    let channel = &channels[&"oncall".parse().unwrap()];
    assert_eq!((channel.when.severity, channel.when.lasting), (defaults::SEVERITY, defaults::LASTING));
    assert_eq!((channel.gather, channel.limit), (defaults::GATHER, Some(defaults::NOTICES)));
}

/// The messages about unknown keys list the valid ones: each of those must stand in the reference.
#[test]
fn the_reference_names_every_key() {
    let probe = r#"
        zzzzzzzz = 1
        daemon = { zzzzzzzz = 1 }
        defaults = { zzzzzzzz = 1 }
        [account.a]
        provider = "awx"
        credential = { zzzzzzzz = 1 }
        rate-limit = { zzzzzzzz = 1 }
        tls = { zzzzzzzz = 1 }
        timeouts = { zzzzzzzz = 1 }
        zzzzzzzz = 1
        [account.b]
        provider = "awx"
        credential = { username = "x", zzzzzzzz = 1 }
        [[token]]
        zzzzzzzz = 1
        window = { zzzzzzzz = 1 }
        schedule = { zzzzzzzz = 1 }
        initial = { zzzzzzzz = 1 }
        stores = [{ kind = "file", zzzzzzzz = 1 }, { kind = "env-file", zzzzzzzz = 1 }]
        hooks = [{ zzzzzzzz = 1 }]
        [template.t]
        zzzzzzzz = 1
    "#;
    let (_dir, loaded) = loaded_from(&[("patrold.toml", probe)]);
    let lists: Vec<_> = loaded.report.problems().into_iter().filter_map(|problem| problem.help).collect();
    let lists: Vec<_> = lists.iter().filter_map(|help| help.strip_prefix("valid keys: ")).collect();
    assert_eq!(lists.len(), 17, "{}", loaded.report.render());
    let text = fs::read_to_string("config/patrold.toml").unwrap();
    let words: HashSet<_> = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').collect();
    for key in lists.iter().flat_map(|list| list.split(", ")) {
        assert!(words.contains(key), "config/patrold.toml does not tell of `{key}`");
    }
}

const ACCOUNT: &str = r#"
    [account.a]
    provider = "awx"
    url = "https://awx.example.com/base/"
    credential = { env = "AWX_TOKEN" }
    params = { user_id = 7 }
"#;

fn token(name: &str, rest: &str) -> String {
    format!(
        "[[token]]\nname = \"{name}\"\naccount = \"a\"\nstores = [{{ kind = \"file\", path = \"/run/{name}\" }}]\n{rest}\n"
    )
}

fn token_names(loaded: &Loaded) -> Vec<&str> {
    let inventory = loaded.inventory.as_ref().unwrap_or_else(|| panic!("{}", loaded.report.render()));
    inventory.tokens.keys().map(crate::names::TokenName::as_str).collect()
}

#[test]
fn a_file_that_is_included_twice_is_read_once() {
    let main = format!("include = [\"d/*.toml\", \"d/one.toml\", \"./d/../main.toml\"]\n{ACCOUNT}");
    let (_dir, loaded) = loaded_from(&[
        ("main.toml", &main),
        ("d/one.toml", &token("one", "rotate-every = \"1d\"")),
        ("d/two.toml", &format!("include = [\"deeper/*.toml\"]\n{}", token("two", "rotate-every = \"1d\""))),
        ("d/deeper/three.toml", &token("three", "rotate-every = \"1d\"")),
        ("d/.hidden.toml", "not toml"),
        ("d/notes.txt", "not toml"),
    ]);
    assert_eq!(token_names(&loaded), ["one", "three", "two"]);
    assert_eq!(loaded.files.len(), 4);
    let names: Vec<_> = loaded.directories.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(names, ["d", "deeper"]);
}

#[test]
fn directories_that_a_pattern_matches_are_watched_too() {
    let one = token("one", "rotate-every = \"1d\"");
    for (pattern, expected) in [
        ("d/*/x.toml", &["d", "a", "b"][..]),
        ("d/a*/*/x.toml", &["d", "a", "deeper"]),
        ("d/*.toml", &["d"]),
        ("d/**/x.toml", &["d", "a", "deeper", "b"]),
    ] {
        let main = format!("include = [\"{pattern}\"]\n{ACCOUNT}");
        let (_dir, loaded) = loaded_from(&[
            ("main.toml", &main),
            ("d/a/x.toml", &one),
            ("d/a/deeper/none.txt", ""),
            ("d/b/none.txt", ""),
            ("d/.hidden/x.toml", "not toml"),
        ]);
        let mut names: Vec<_> =
            loaded.directories.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
        names.dedup();
        assert_eq!(names, expected, "{pattern}");
    }
}

#[test]
fn a_missing_main_file_is_a_problem_like_any_other() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("patrold.toml");
    let loaded = loaded(&path);
    assert!(loaded.inventory.is_none());
    let report = loaded.report.render();
    assert!(report.contains("patrold.toml:1:1: error:") && report.contains("does not exist"), "{report}");
    assert_eq!(loaded.files, [path], "a file that is missing is waited for");
}

#[test]
fn text_in_another_encoding_is_named_as_such() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("patrold.toml");
    fs::write(&path, b"# gr\xfc\xdfe\n").unwrap();
    let report = loaded(&path).report.render();
    assert!(report.contains("is not UTF-8 text"), "{report}");
}

#[test]
fn no_store_may_overwrite_the_inventory() {
    let text = format!("{ACCOUNT}{}", token("a", "").replace("/run/a", "@HERE@/x/../patrold.toml"));
    let (_dir, loaded) = loaded_from(&[("patrold.toml", &text)]);
    let report = loaded.report.render();
    assert!(loaded.inventory.is_none() && report.contains("a file of this inventory"), "{report}");
}

#[test]
fn no_store_may_overwrite_what_the_program_needs() {
    let daemon = "[daemon]\nstate-dir = \"/state\"\ncontrol = \"/run/c.sock\"\nseal-key = { file = \"/keys/seal\" }\n\
                  providers = \"providers\"\n";
    let accounts = ACCOUNT.replace("{ env = \"AWX_TOKEN\" }", "{ file = \"/keys/awx\" }")
        + "\ntls = { ca-file = \"/keys/ca.pem\" }\n";
    for (path, what) in [
        ("/state/journal.db", "which the daemon keeps in its state directory"),
        ("/state/seal.key", "which the daemon keeps in its state directory"),
        ("/state/../state/lock", "which the daemon keeps in its state directory"),
        ("/run/c.sock", "the control socket"),
        ("/keys/seal", "the key that seals secrets"),
        ("/keys/awx", "the credential of account"),
        ("/keys/ca.pem", "the `ca-file` of account"),
        ("@HERE@/providers/own.toml", "a provider definition"),
    ] {
        let text = format!("{daemon}{accounts}{}", token("a", "").replace("/run/a", path));
        let (dir, loaded) = loaded_from(&[("patrold.toml", &text)]);
        let report = loaded.report.render();
        assert!(loaded.inventory.is_none() && report.contains(what), "{path}: {report}");
        assert!(
            path.contains("HERE") || report.matches("patrold.toml:").count() >= 2,
            "both places are named: {report}"
        );
        drop(dir);
    }
}

#[test]
fn defaults_shrink_to_fit_short_lives_and_written_values_stay() {
    let text = [
        ACCOUNT,
        "[defaults]\nverify-timeout = \"1m\"",
        &token("long", "rotate-every = \"30d\""),
        &token("short", "rotate-every = \"40m\""),
        &token("written", "rotate-every = \"40m\"\njitter = \"30m\"\ngrace = \"0s\"\nverify-timeout = \"2m\""),
        &token("patient", "rotate-every = \"30d\"\ngrace = \"3d\""),
    ];
    let (_dir, loaded) = loaded_from(&[("patrold.toml", &text.join("\n"))]);
    let inventory = loaded.inventory.unwrap_or_else(|| panic!("{}", loaded.report.render()));
    for (name, grace, grace_cap, jitter, verify) in [
        ("long", defaults::GRACE, defaults::GRACE_CAP, defaults::JITTER, Span::minutes(1)),
        ("short", Span::minutes(20), defaults::GRACE_CAP, Span::minutes(2), Span::minutes(1)),
        ("written", Span::zero(), defaults::GRACE_CAP, Span::minutes(30), Span::minutes(2)),
        ("patient", Span::days(3), Span::days(3), defaults::JITTER, Span::minutes(1)),
    ] {
        let token = &inventory.tokens[&name.parse().unwrap()];
        let found = (token.grace, token.grace_cap, token.jitter, token.verify_timeout);
        assert_eq!(found, (grace, grace_cap, jitter, verify), "{name}");
    }
    assert_eq!(inventory.accounts[&"a".parse().unwrap()].endpoint.url.as_str(), "https://awx.example.com/base");
}

#[test]
fn a_credential_cycle_is_fine_once_one_token_has_a_first_secret() {
    let text = ACCOUNT.replace("{ env = \"AWX_TOKEN\" }", "{ token = \"admin\" }")
        + &token("admin", "rotate-every = \"30d\"\ninitial = { env = \"FIRST\" }");
    let (_dir, loaded) = loaded_from(&[("patrold.toml", &text)]);
    assert_eq!(token_names(&loaded), ["admin"]);
}

#[test]
fn short_forms_mean_the_same_as_long_ones() {
    const SHORT: &str = r#"
[account.a]
provider = "awx"
url      = "https://awx.example.com"
username = "svc"
params   = { user_id = 7 }

[token.ci]
account      = "a"
rotate-every = "30d"
file         = "sub/../ci-token"
env          = "./ci:.env:AWX_TOKEN"
restart      = "ci.service"
reload       = "web.service"

[token.own]
account      = { provider = "awx", url = "https://b.example.com", credential = { file = "./b" }, params = { user_id = 1 } }
rotate-every = "1d"
file         = "/run/own"
"#;
    const LONG: &str = r#"
[account.a]
provider   = "awx"
url        = "https://awx.example.com"
credential = { username = "svc", password = { file = "@HERE@/credentials/a" } }
params     = { user_id = 7 }

[account.own]
provider   = "awx"
url        = "https://b.example.com"
credential = { file = "@HERE@/b" }
params     = { user_id = 1 }

[[token]]
name         = "ci"
account      = "a"
rotate-every = "30d"
stores       = [
  { kind = "file", path = "@HERE@/sub/../ci-token" },
  { kind = "env-file", path = "@HERE@/ci:.env", key = "AWX_TOKEN" },
]
hooks        = [
  { kind = "systemd", unit = "ci.service", action = "try-restart" },
  { kind = "systemd", unit = "web.service" },
]

[[token]]
name         = "own"
account      = "own"
rotate-every = "1d"
stores       = [{ kind = "file", path = "/run/own" }]
"#;
    let (dir, short) = loaded_from(&[("short.toml", SHORT), ("long.toml", LONG)]);
    let long = loaded(dir.path().join("long.toml"));
    let meaning = |loaded: Loaded| loaded.inventory.unwrap_or_else(|| panic!("{}", loaded.report.render()));
    let (short, long) = (meaning(short), meaning(long));
    assert_eq!(short.accounts, long.accounts);
    assert_eq!(short.tokens, long.tokens);
}

#[test]
fn a_table_for_each_name_of_a_list_means_the_same_as_all_of_them() {
    const SHORT: &str = r#"
[[token]]
name         = "ci-{each}"
for-each     = ["web", "db"]
account      = "a"
rotate-every = "30d"
file         = "/run/{each}/token"
hooks        = [{ run = ["notify", "${each}", "{each"] }]
"#;
    const TABLES: &str = r#"
[token."{each.stage}-{each}"]
for-each     = { web = { stage = "live", user = 8, every = "1d", scope = "read" }, db = { stage = "test", user = 9, every = "2d", scope = "read" } }
account      = "a"
rotate-every = "{each.every}"
params       = { user_id = "{each.user}", scope = "{each.scope} write" }
file         = "/run/{each.stage}/{each}"

[token.alone]
account      = "a"
rotate-every = "30d"
file         = "/run/alone"
"#;
    const LONG: &str = r#"
[[token]]
name         = "ci-web"
account      = "a"
rotate-every = "30d"
file         = "/run/web/token"
hooks        = [{ run = ["notify", "$web", "{each"] }]

[[token]]
name         = "ci-db"
account      = "a"
rotate-every = "30d"
file         = "/run/db/token"
hooks        = [{ run = ["notify", "$db", "{each"] }]

[[token]]
name         = "live-web"
account      = "a"
rotate-every = "1d"
params       = { user_id = 8, scope = "read write" }
file         = "/run/live/web"

[[token]]
name         = "test-db"
account      = "a"
rotate-every = "2d"
params       = { user_id = 9, scope = "read write" }
file         = "/run/test/db"

[[token]]
name         = "alone"
account      = "a"
rotate-every = "30d"
file         = "/run/alone"
"#;
    let main = format!("include = [\"listed.toml\", \"tables.toml\"]\n{ACCOUNT}");
    let (dir, short) = loaded_from(&[
        ("main.toml", &main),
        ("listed.toml", SHORT),
        ("tables.toml", TABLES),
        ("long.toml", &format!("{ACCOUNT}{LONG}")),
    ]);
    let origins = crate::inventory::origin::Origins::of(&short.report);
    let place = |name| origins.token(name).unwrap().replace(dir.path().to_str().unwrap(), "");
    assert_eq!(place("ci-db"), "/listed.toml:2:1, for \"db\" of its `for-each`");
    assert!(place("alone").ends_with("/tables.toml:9:1"), "{}", place("alone"));
    let long = loaded(dir.path().join("long.toml"));
    let meaning = |loaded: Loaded| loaded.inventory.unwrap_or_else(|| panic!("{}", loaded.report.render()));
    assert_eq!(meaning(short).tokens, meaning(long).tokens);
}

#[test]
fn files_that_are_parsed_at_once_are_told_of_in_their_order() {
    let names: Vec<_> = (0..8).map(|number| format!("t{number}.toml")).collect();
    let tokens = |name: &str| {
        let padding = "# Much to parse.\n".repeat(4000);
        format!("{padding}{}", token(name.trim_end_matches(".toml"), "rotate-every = \"30d\"\nnobody = 1"))
    };
    let main = format!("include = [\"t*.toml\"]\n{ACCOUNT}");
    let texts: Vec<_> = names.iter().map(|name| tokens(name)).collect();
    let parts = names.iter().zip(&texts).map(|(name, text)| (name.as_str(), text.as_str()));
    let files: Vec<_> = std::iter::once(("main.toml", main.as_str())).chain(parts).collect();
    let (_dir, loaded) = loaded_from(&files);
    let told: Vec<_> = loaded.report.problems().iter().map(|problem| problem.message.clone()).collect();
    let wanted: Vec<_> = (0..8).map(|number| format!("unknown key `nobody` in token \"t{number}\"")).collect();
    assert_eq!(told, wanted);
}

#[test]
fn a_thousand_alike_tokens_are_ten_lines() {
    let names: Vec<_> = (0..1000).map(|number| format!("\"{number}\"")).collect();
    let text = format!(
        "{ACCOUNT}\n[[token]]\nname = \"t{{each}}\"\nfor-each = [{}]\naccount = \"a\"\nrotate-every = \"30d\"\n",
        names.join(", ")
    );
    let (_dir, loaded) = loaded_from(&[("patrold.toml", &text)]);
    assert_eq!(token_names(&loaded).len(), 1000);
    assert_eq!(loaded.report.problems().len(), 1, "that it has no store is told once: {}", loaded.report.render());
}

#[test]
fn services_of_people_are_told_through_their_own_manager() {
    let text = ACCOUNT.to_owned() + &token("ci", "rotate-every = \"30d\"\nrestart = \"ci.service\"");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("patrold.toml");
    let environment = Environment { user_services: true, ..environment() };
    let loaded = load_text(&path, &text, &environment, now());
    let inventory = loaded.inventory.unwrap_or_else(|| panic!("{}", loaded.report.render()));
    let hook = &inventory.tokens[&"ci".parse().unwrap()].hooks[0];
    assert_eq!(hook.command().unwrap(), ["systemctl", "--no-ask-password", "--user", "try-restart", "ci.service"]);
    let HookKind::Systemd(unit) = &hook.kind else { panic!("{hook:?}") };
    assert!(unit.user);
}

#[test]
fn a_credential_beside_the_inventory_needs_no_word() {
    let text = "[account.a]\nprovider = \"awx\"\nurl = \"https://awx.example.com\"\nparams = { user_id = 7 }\n";
    let (_dir, missing) = loaded_from(&[("patrold.toml", text)]);
    assert!(missing.report.render().contains("keep it in credentials/a beside this file"));
    let (dir, there) = loaded_from(&[("patrold.toml", text), ("credentials/a", "secret")]);
    let inventory = there.inventory.unwrap_or_else(|| panic!("{}", there.report.render()));
    let expected =
        crate::inventory::Credential::Secret(crate::secret::SecretSource::File(dir.path().join("credentials/a")));
    assert_eq!(inventory.accounts[&"a".parse().unwrap()].endpoint.credential, expected);
}

#[test]
fn of_a_broken_inventory_the_place_of_its_daemon_is_known() {
    for (sentence, text) in [
        ("a key that nobody knows", "[daemon]\nstate-dir = \"/s\"\ncontrol = \"/c\"\n[account.a]\nx = 1\n"),
        ("no TOML", "[daemon]\nstate-dir = \"/s\"\ncontrol = \"/c\"\n[account.a\nx = \n"),
    ] {
        let (_dir, loaded) = loaded_from(&[("patrold.toml", text)]);
        assert!(loaded.inventory.is_none(), "{sentence}");
        let settings = loaded.settings.expect(sentence);
        assert_eq!((settings.state_dir, settings.control), ("/s".into(), "/c".into()), "{sentence}");
    }
}

#[test]
fn the_first_process_of_a_container_stops_within_its_engine_s_patience() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("patrold.toml");
    for (first_process, text, timeout) in [
        (false, "", defaults::DRAIN_TIMEOUT),
        (true, "", defaults::DRAIN_TIMEOUT_OF_CONTAINERS),
        (true, "[daemon]\ndrain-timeout = \"60s\"\n", std::time::Duration::from_secs(60)),
    ] {
        fs::write(&path, text).unwrap();
        let loaded = load(&path, &Environment { first_process, ..environment() }, now());
        assert_eq!(loaded.inventory.unwrap().daemon.drain_timeout, timeout, "{first_process} {text}");
    }
}

#[test]
fn without_a_state_directory_there_is_a_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("patrold.toml");
    fs::write(&path, "").unwrap();
    let loaded = load(&path, &Environment::default(), now());
    let report = loaded.report.render();
    assert!(loaded.inventory.is_none() && report.contains("state-dir = "), "{report}");
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 96, failure_persistence: None, ..Default::default() })]

    /// Whatever a slip of the hand makes of a file: there is an inventory, or there is an error that says why not.
    #[test]
    fn a_damaged_inventory_is_refused_or_still_means_something(
        at in 0.0..1.0_f64,
        length in 0..40_usize,
        insert in "[\\PC\n\"\\[\\]{}=#,.]{0,8}",
    ) {
        let mut text = fs::read_to_string("tests/data/inventories/valid/every-form.toml").unwrap();
        // A place that is drawn as a share fits any length of the file.
        #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, clippy::cast_sign_loss, reason = "a share")]
        let at = (at * text.len() as f64) as usize;
        let start = (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap();
        let end = (start + length).min(text.len());
        let end = (end..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap();
        text.replace_range(start..end, &insert);
        let (_dir, loaded) = loaded_from(&[("patrold.toml", &text)]);
        proptest::prop_assert_eq!(loaded.inventory.is_none(), loaded.report.errors() > 0);
        proptest::prop_assert_eq!(loaded.report.render().is_empty(), loaded.report.problems().is_empty());
    }
}

/// Nothing is quadratic: ten times the tokens take about ten times as long, also where all of them are wrong. The limit
/// is far above what a debug build on a busy machine needs, and far below what a quadratic step would take.
#[test]
fn ten_thousand_tokens_load_quickly_also_when_all_are_wrong() {
    use std::fmt::Write as _;
    let build = |account: &str| {
        let mut text = ACCOUNT.to_owned();
        for number in 0..10_000 {
            let _ = writeln!(
                text,
                "[[token]]\nname = \"token-{number}\"\naccount = \"{account}\"\nrotate-every = \"30d\"\n\
                 window = {{ cron = \"0 0 2 * * Mon-Fri\", duration = \"2h\" }}\n\
                 stores = [{{ kind = \"file\", path = \"/run/t/{number}\", owner = \"root\" }}]"
            );
        }
        text
    };
    let started = std::time::Instant::now();
    let (_dir, sound) = loaded_from(&[("patrold.toml", &build("a"))]);
    assert_eq!(token_names(&sound).len(), 10_000);
    let (_dir, wrong) = loaded_from(&[("patrold.toml", &build("b"))]);
    assert_eq!(wrong.report.errors(), 10_000);
    assert!(started.elapsed().as_secs() < 60, "{:?}", started.elapsed());
}

#[test]
fn what_leads_to_no_regular_file_is_a_problem_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    rustix::fs::mknodat(rustix::fs::CWD, at("pipe.toml"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    std::os::unix::fs::symlink("/dev/zero", at("endless.toml")).unwrap();
    fs::create_dir(at("definitions")).unwrap();
    fs::create_dir(at("tokens.d")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", at("definitions/own.toml")).unwrap();
    std::os::unix::fs::symlink(at("pipe.toml"), at("tokens.d/a.toml")).unwrap();
    for (sentence, text, told) in [
        ("an included pipe", "include = [\"pipe.toml\"]\n", "main.toml:1:12: error: PIPE is a named pipe"),
        ("by a pattern", "include = [\"tokens.d/*.toml\"]\n", "main.toml:1:12: error: "),
        ("an endless file", "include = [\"endless.toml\"]\n", "is a device, not a regular file"),
        ("a definition", "[daemon]\nproviders = \"definitions\"\n", "definitions/own.toml is a device, not a regular"),
        (
            "trust roots",
            "[account.a]\nprovider = \"awx\"\nurl = \"https://a.test\"\ntls = { ca-file = \"PIPE\" }\n",
            "main.toml:4:19: error: `ca-file` of account \"a\": PIPE is a named pipe, not a regular file",
        ),
        ("a directory that is none", "[daemon]\nproviders = \"pipe.toml\"\n", "pipe.toml cannot be read: Not a dir"),
    ] {
        let pipe = at("pipe.toml").display().to_string();
        fs::write(at("main.toml"), text.replace("PIPE", &pipe).replace("= \"pipe.toml\"", &format!("= \"{pipe}\"")))
            .unwrap();
        let report = load(&at("main.toml"), &environment(), now()).report.render();
        let told = told.replace("PIPE", &pipe);
        assert!(report.contains(&told), "{sentence}: {report}");
    }
}
