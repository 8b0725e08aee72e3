//! The command line as people and scripts see it: the real program, its output and its exit status.
//!
//! What each command prints is compared with `tests/data/cli/NAME.txt`, with times and temporary paths replaced.
//! `PATROLD_REGENERATE=1 cargo test --test it cli::` writes these files anew; look at the difference before you commit
//! it.

mod abuse;
mod daemon;
mod getting_started;
mod golden;
mod minutes;
mod online;
mod takeover;
mod trial;
mod world;

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::Stdio;

use golden::expect;
use serde_json::Value;
use world::World;

#[test]
fn help_is_as_documented() {
    let world = World::new("");
    for (name, args) in [
        ("help", &["--help"][..]),
        ("help-init", &["init", "--help"]),
        ("help-add", &["add", "--help"]),
        ("help-reload", &["reload", "--help"]),
        ("help-config-show", &["config", "show", "--help"]),
        ("help-run", &["run", "--help"]),
        ("help-check", &["check", "--help"]),
        ("help-plan", &["plan", "--help"]),
        ("help-status", &["status", "--help"]),
        ("help-rotate", &["rotate", "--help"]),
        ("help-explain", &["explain", "--help"]),
        ("help-audit", &["audit", "--help"]),
        ("help-journal-prune", &["journal", "prune", "--help"]),
        ("help-journal-rekey", &["journal", "rekey", "--help"]),
        ("help-adopt", &["adopt", "--help"]),
        ("help-cancel", &["cancel", "--help"]),
        ("help-retire", &["retire", "--help"]),
        ("help-rollback", &["rollback", "--help"]),
        ("help-history", &["history", "--help"]),
        ("help-schema", &["schema", "--help"]),
        ("help-provider-show", &["provider", "show", "--help"]),
        ("help-provider-test", &["provider", "test", "--help"]),
    ] {
        expect(name, &world, args, 0);
    }
}

#[test]
fn bad_usage_ends_with_2() {
    let world = World::new(world::TWO_TOKENS);
    for args in [
        &[][..],
        &["rotat"],
        &["rotate"],
        &["rotate", "ci", "--all"],
        &["rotate", "ci", "--timeout", "soon"],
        &["plan", "--until", "tomorrow"],
        &["status", "no such name"],
        &["provider", "show"],
        &["explain"],
        &["history"],
        &["journal"],
        &["journal", "prune"],
        &["audit", "--yes"],
        &["audit", "--account", "nobody"],
        &["adopt", "ci", "--expires", "soon"],
        &["completions", "tcsh"],
        &["run", "--log-format", "xml"],
        &["run", "--log-level", "patrold=loud"],
    ] {
        let output = world.run(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(output.stdout.is_empty(), "{args:?}");
        assert!(!output.stderr.is_empty(), "{args:?}");
    }
}

#[test]
fn check_tells_what_is_missing_on_this_machine() {
    let world = World::new("");
    let inventory = r#"
[account.awx]
provider   = "awx"
url        = "https://awx.example.com"
credential = { file = "./no-credential" }
params     = { user_id = 7 }
proxy      = { url = "http://proxy.example.com:3128", username = "u", password = { file = "./no-password" } }

[token.ci]
account = "awx"
file    = "./nowhere/ci"
"#;
    std::fs::write(world.config(), inventory).unwrap();
    let check = |variable: Option<(&str, &str)>| {
        let output = world.command(&["check"]).envs(variable).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "nothing of it is wrong with the inventory: {output:?}");
        String::from_utf8(output.stderr).unwrap().replace(world.path().to_str().unwrap(), "DIR")
    };
    let told = check(None);
    for part in [
        "account awx: DIR/no-credential does not exist",
        "account awx: DIR/no-password does not exist",
        "token ci: DIR/nowhere of its store file:DIR/nowhere/ci does not exist",
        "account awx: requests go through the proxy http://proxy.example.com:3128",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(!told.contains("nothing can be sent"), "{told}");
    let told = check(Some(("SSL_CERT_FILE", "/nonexistent.pem")));
    assert!(told.contains("nothing can be sent by TLS: SSL_CERT_FILE /nonexistent.pem"), "{told}");
    std::fs::create_dir(world.path().join("nowhere")).unwrap();
    std::fs::write(world.path().join("no-credential"), "x").unwrap();
    let told = check(None);
    assert!(!told.contains("nowhere") && !told.contains("no-credential does not exist"), "{told}");
}

#[test]
fn a_valid_inventory_is_summed_up() {
    let world = World::new(world::TWO_TOKENS);
    expect("check", &world, &["check"], 0);
    let json = world.json(&["check", "--json"], 0);
    assert_eq!(json["valid"], true);
    assert_eq!(json["inventories"][0]["contents"]["tokens"], 2);
    assert_eq!(json["inventories"][0]["firings"][0]["next"].as_array().unwrap().len(), 3);
}

#[test]
fn every_broken_inventory_is_reported() {
    let broken = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/inventories/broken");
    let broken = broken.to_str().unwrap();
    let world = World::new("");
    let output = world.run(&["check", broken]);
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
    let text = String::from_utf8(output.stderr).unwrap();
    let json = world.json(&["check", "--json", broken], 2);
    let checks = json["inventories"].as_array().unwrap();
    let files = std::fs::read_dir(broken).unwrap().map(|entry| entry.unwrap().path());
    assert_eq!(checks.len(), files.filter(|path| path.extension().is_some_and(|it| it == "toml")).count());
    for check in checks {
        assert_eq!(check["valid"], false, "{}", check["file"]);
        for problem in check["problems"].as_array().unwrap() {
            let place = format!("{}:{}:{}", problem["file"].as_str().unwrap(), problem["line"], problem["column"]);
            let line = format!(
                "{place}: {}: {}\n",
                problem["severity"].as_str().unwrap(),
                problem["message"].as_str().unwrap()
            );
            assert!(text.contains(&line), "{line}");
        }
    }
}

#[test]
fn an_invalid_inventory_stops_every_command_that_needs_it() {
    let world = World::new("[[token]]\nname = \"ci\"\nacount = \"a\"\n");
    expect("check-invalid", &world, &["check"], 2);
    for args in [&["plan"][..], &["status"], &["explain", "ci"], &["rotate", "ci"], &["run"]] {
        let output = world.run(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains("patrold.toml:3:1: error: "), "{args:?}: {text}");
    }
    for args in [&["history", "--verify"][..], &["journal", "export"]] {
        let errors = String::from_utf8(world.run(args).stderr).unwrap();
        assert!(errors.contains("there is no journal in"), "{args:?} needs the journal only: {errors}");
    }
    let missing = World::new("");
    std::fs::remove_file(missing.config()).unwrap();
    expect("check-missing", &missing, &["check"], 2);
}

#[test]
fn without_a_journal_everything_is_issued_for_the_first_time() {
    let world = World::new(world::TWO_TOKENS);
    expect("plan-empty", &world, &["plan"], 0);
    expect("status-empty", &world, &["status"], 0);
}

#[test]
fn plans_and_statuses_come_from_the_journal_where_no_daemon_runs() {
    let world = World::new(world::TWO_TOKENS);
    world.rotate_in_journal("ci", 3);
    world.rotate_in_journal("gps", 1);
    expect("plan", &world, &["plan"], 0);
    expect("plan-json", &world, &["plan", "gps", "--json"], 0);
    expect("status", &world, &["status"], 0);
    expect("status-detail", &world, &["status", "ci"], 0);
    expect("status-json", &world, &["status", "ci", "--json"], 0);
    let soon = world.json(&["plan", "--json", "--until", "1h"], 0);
    assert_eq!(soon["tokens"], Value::Array(vec![]), "nothing is due within an hour");
    let later = world.json(&["plan", "--json", "--until", "60d"], 0);
    assert_eq!(later["tokens"].as_array().unwrap().len(), 2);
}

#[test]
fn explanations_and_histories_come_from_the_journal_where_no_daemon_runs() {
    let world = World::new(world::TWO_TOKENS);
    world.rotate_in_journal("gps", 1);
    expect("explain-vacant", &world, &["explain", "ci"], 0);
    // Whether a window is open depends on the time of day.
    let json = world.json(&["explain", "gps", "--json"], 0);
    assert_eq!((&json["daemon"], &json["window"]["cron"]), (&Value::from(false), &Value::from("0 0 2 * * *")));
    expect("history", &world, &["history", "gps"], 0);
    expect("history-verify", &world, &["history", "--verify"], 0);
    let json = world.json(&["history", "gps", "--json", "--last", "2"], 0);
    let events: Vec<_> = json["records"].as_array().unwrap().iter().map(|record| &record["event"]).collect();
    assert_eq!(events, ["delivered", "activated"]);
    assert_eq!(world.json(&["history", "--verify", "--json"], 0)["last"], 6);

    let export = String::from_utf8(world.run(&["journal", "export"]).stdout).unwrap();
    let records: Vec<Value> = export.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(records.iter().map(|record| record["seq"].as_i64().unwrap()).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
    assert_eq!(records[1]["body"]["candidate"]["generation"]["number"], 1);
    let none = world.run(&["journal", "export", "--token", "ci"]);
    assert!(none.status.success() && none.stdout.is_empty());
    world.rotate_in_journal("ci", 3);
    expect("explain", &world, &["explain", "ci"], 0);
    expect("explain-json", &world, &["explain", "ci", "--json"], 0);
}

#[test]
fn without_a_journal_there_is_no_history() {
    let world = World::new(world::TWO_TOKENS);
    for args in [&["history", "ci"][..], &["history", "--verify"], &["journal", "export"]] {
        let output = world.run(args);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("there is no journal in"), "{args:?}");
    }
}

#[test]
fn the_first_record_that_was_tampered_with_is_named() {
    let world = World::new(world::TWO_TOKENS);
    world.rotate_in_journal("gps", 1);
    world.tamper("UPDATE records SET body = replace(body, 'patrold-', 'patrolx-') WHERE seq = 2");
    expect("history-tampered", &world, &["history", "--verify"], 1);
    let json = world.json(&["history", "--verify", "--json"], 1);
    assert_eq!((&json["valid"], &json["broken"]["seq"]), (&Value::from(false), &Value::from(2)));
    world.tamper("DELETE FROM records WHERE seq = 1");
    let json = world.json(&["history", "--verify", "--json"], 1);
    assert_eq!(json["broken"]["seq"], 1);
}

#[test]
fn old_records_are_removed_and_the_rest_can_still_be_verified() {
    let world = World::new(world::TWO_TOKENS);
    world.rotate_in_journal("gps", 1);
    world.rotate_in_journal("ci", 1);
    let prune = |span: &str| world.json(&["journal", "prune", "--older-than", span, "--json"], 0);
    assert_eq!(prune("30d"), serde_json::json!({ "removed": 0, "first": 1 }), "nothing is that old");
    assert_eq!(prune("1d"), serde_json::json!({ "removed": 11, "first": 12 }), "the last one stays");
    let whole = world.json(&["history", "--verify", "--json"], 0);
    assert_eq!((&whole["first"], &whole["last"]), (&Value::from(12), &Value::from(12)));
    world.rotate_in_journal("gps", 2);
    assert_eq!(world.json(&["history", "--verify", "--json"], 0)["last"], 18);
    assert_eq!(world.json(&["status", "gps", "--json"], 0)["tokens"][0]["current"]["number"], 2);
    assert_eq!(prune("1d"), serde_json::json!({ "removed": 6, "first": 18 }), "from one checkpoint to the next");
    world.rotate_in_journal("ci", 2);
    world.tamper("UPDATE records SET body = '{}' WHERE seq = 20");
    let output = world.run(&["journal", "prune", "--older-than", "1d"]);
    assert_eq!(output.status.code(), Some(1), "what was tampered with is not removed");
    assert!(String::from_utf8_lossy(&output.stderr).contains("the record 20"), "{output:?}");
    assert_eq!(world.json(&["history", "--verify", "--json"], 1)["broken"]["seq"], 20);
    world.tamper("UPDATE meta SET value = 17 WHERE key = 'checkpoint-seq'; DELETE FROM records WHERE seq = 18");
    assert_eq!(world.json(&["history", "--verify", "--json"], 1)["broken"]["seq"], 18);
}

#[test]
fn shells_and_man_know_every_command() {
    let world = World::new("");
    let help = String::from_utf8(world.run(&["--help"]).stdout).unwrap();
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    // What clap adds has no page of its own.
    let commands: Vec<_> =
        listed.filter_map(|line| line.split_whitespace().next()).filter(|it| *it != "help").collect();
    assert!(commands.contains(&"rotate") && commands.contains(&"man"), "{commands:?}");
    for shell in ["bash", "zsh", "fish"] {
        let output = world.run(&["completions", shell]);
        let script = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && script.contains("patrold"), "{shell}");
        for command in &commands {
            assert!(script.contains(command), "{shell} does not know {command}");
        }
    }
    let page = String::from_utf8(world.run(&["man"]).stdout).unwrap();
    assert!(page.contains(".TH patrold 1"), "{page}");
    let pages = world.path().join("pages");
    assert!(world.run(&["man", "--directory", pages.to_str().unwrap()]).status.success());
    for command in commands {
        assert!(page.contains(&format!("patrold\\-{command}(1)")), "{command}: {page}");
        assert!(pages.join(format!("man1/patrold-{command}.1")).exists(), "{command}");
    }
    assert!(pages.join("man1/patrold-journal-export.1").exists());
    for (page, told) in [
        ("man5/patrold.toml.5", [".SH TOKEN", "\\fBrenew\\-before\\fR", "\\fBconnect\\-to\\fR"]),
        ("man5/patrold-provider.5", [".SH MINT", "\\fBclassify\\fR", "SEE ALSO"]),
        ("man8/patrold.8", [".SH SIGNALS", ".SH ENVIRONMENT", ".SH FILES"]),
    ] {
        let text = std::fs::read_to_string(pages.join(page)).unwrap();
        for told in told {
            assert!(text.contains(told), "{told} is not in {page}");
        }
    }
}

#[test]
fn a_state_that_cannot_be_read_hides_its_own_token_only() {
    let world = World::new(world::TWO_TOKENS);
    world.rotate_in_journal("ci", 1);
    world.commit("gps", "{\"phase\":\"of the moon\"}".to_owned());
    for args in [&["plan"][..], &["status"]] {
        let output = world.run(args);
        assert_eq!(output.status.code(), Some(3), "{args:?}");
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(text.contains("the journal's state of token gps cannot be read"), "{args:?}: {text}");
        assert!(text.contains("\nci "), "{args:?}: {text}");
    }
}

#[test]
fn names_that_do_not_exist_get_a_hint() {
    let world = World::new(world::TWO_TOKENS);
    for (args, hint) in [
        (&["plan", "gsp"][..], "did you mean \"gps\"?"),
        (&["status", "gsp"], "did you mean \"gps\"?"),
        (&["adopt", "gsp"], "did you mean \"gps\"?"),
        (&["rollback", "gsp"], "did you mean \"gps\"?"),
        (&["explain", "gsp"], "did you mean \"gps\"?"),
        (&["history", "gsp"], "did you mean \"gps\"?"),
        (&["provider", "show", "axw"], "did you mean \"awx\"?"),
        (&["rotate", "gps", "gsp"], "did you mean \"gps\"?"),
        (&["rotate", "--account", "nobody"], "there is no account \"nobody\""),
    ] {
        let output = world.run(args);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {text}");
        assert!(text.contains(hint), "{args:?}: {text}");
    }
}

#[test]
fn provider_definitions_are_shown() {
    let world = World::new("");
    expect("provider-list", &world, &["provider", "list"], 0);
    expect("provider-show", &world, &["provider", "show", "awx"], 0);
    let list = world.json(&["provider", "list", "--json"], 0);
    let names: Vec<_> = list.as_array().unwrap().iter().map(|view| view["name"].as_str().unwrap()).collect();
    assert!(names.is_sorted() && names.contains(&"pointone"), "{names:?}");
    let shown = world.json(&["provider", "show", "awx", "--json"], 0);
    assert_eq!(shown["capabilities"]["revokes"], true);
    for name in names {
        // That it is valid a test of the definitions holds, which needs no certificates of this machine.
        let example = world.run(&["provider", "show", name, "--example"]);
        let text = String::from_utf8(example.stdout).unwrap();
        assert!(example.status.success() && text.contains(&format!("\"{name}\"")), "{name}: {text}");
    }
    let source = world.run(&["provider", "show", "awx", "--source"]);
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/providers/awx.toml");
    assert_eq!(source.stdout, std::fs::read(file).unwrap());
}

#[test]
fn definitions_are_asked_what_rotations_go_wrong_by() {
    let world = World::new("");
    let all = world.json(&["provider", "lint", "--all", "--json"], 0);
    let all = all.as_array().unwrap();
    assert!(all.len() > 80 && all.iter().all(|it| it["findings"].as_array().unwrap().is_empty()), "{all:#?}");

    let file = world.path().join("own.toml");
    let text = "[provider]\nname = \"own\"\nextends = \"netbox-token\"\nexample = \"x\"\n\
                [revoke]\nmethod = \"DELETE\"\nurl = \"{{ base_url }}/api/users/tokens/{{ old.id }}/\"\ngone-ok = [404]\n";
    std::fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap();
    let linted = world.json(&["provider", "lint", "--json", file], 1);
    let findings = linted[0]["findings"].as_array().unwrap();
    assert_eq!((findings.len(), &findings[0]["code"]), (1, &"not-found".into()), "{linted:#}");
    assert_eq!(findings[0]["place"], format!("{file}:8:1"));
    let output = world.run(&["provider", "lint", file]);
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(shown.contains("gone-ok = [404]\n") && shown.contains("help: add `gone-expect`"), "{shown}");

    std::fs::write(file, text.replace("gone-ok", "gone-okay")).unwrap();
    let broken = world.json(&["provider", "lint", "--json", file], 2);
    assert_eq!((&broken[0]["valid"], &broken[0]["problems"][0]["line"]), (&false.into(), &8.into()), "{broken:#}");
}

#[test]
fn rotations_without_a_daemon_tell_how_they_went() {
    let world = World::new(world::TWO_TOKENS);
    let output = world.run(&["rotate", "ci", "--timeout", "30s", "--json"]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("no daemon is running; working in this process"), "{text}");
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let results = json["results"].as_array().unwrap();
    let outcomes: Vec<_> = results.iter().map(|result| (&result["token"], &result["outcome"])).collect();
    assert_eq!(outcomes, [(&"ci".into(), &"failed".into())]);
}

#[test]
fn a_name_that_is_not_there_is_answered_alike_by_every_command() {
    let world = World::new(world::TWO_TOKENS);
    let tokens = "`patrold status` lists all tokens";
    for (args, message, help) in [
        (&["rotate", "cii"][..], "there is no token \"cii\"", "did you mean \"ci\"?"),
        (&["rotate", "ci", "nobody-at-all"], "there is no token \"nobody-at-all\"", tokens),
        (&["rotate", "--dry-run", "cii"], "there is no token \"cii\"", "did you mean \"ci\"?"),
        (&["explain", "cii"], "there is no token \"cii\"", "did you mean \"ci\"?"),
        (&["status", "nobody-at-all"], "there is no token \"nobody-at-all\"", tokens),
        (&["plan", "cii"], "there is no token \"cii\"", "did you mean \"ci\"?"),
        (&["rollback", "cii"], "there is no token \"cii\"", "did you mean \"ci\"?"),
        (&["rotate", "--account", "nowhere-at-all"], "there is no account \"nowhere-at-all\"", "`patrold config show`"),
        (&["audit", "--account", "nowhere-at-all"], "there is no account \"nowhere-at-all\"", "`patrold config show`"),
        (&["notify", "test", "nothing"], "there is no channel \"nothing\"", "`patrold notify list` shows all"),
    ] {
        let output = world.run(args);
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(text.contains(message) && text.contains(help), "{args:?}: {text}");
        assert_eq!(output.status.code(), Some(2), "{args:?}: {text}");
    }
}

#[test]
fn colour_is_for_terminals_and_for_those_who_ask() {
    let world = World::new("x = 1\n");
    for (args, no_color, coloured) in [
        (&["check"][..], false, false),
        (&["check", "--color", "always"], false, true),
        (&["check", "--color", "always"], true, true),
        (&["check", "--color", "never"], false, false),
    ] {
        let mut command = world.command(args);
        if no_color {
            command.env("NO_COLOR", "1");
        }
        let text = String::from_utf8(command.output().unwrap().stderr).unwrap();
        assert_eq!(text.contains('\u{1b}'), coloured, "{args:?}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let tokens =
        (0..2000).map(|number| format!("[[token]]\nname = \"t{number}\"\naccount = \"a\"\nlifetime = \"30d\"\n"));
    let account = "[account.a]\nprovider = \"pointone\"\ncredential = { env = \"A\" }\n".to_owned();
    let world = World::new(&tokens.fold(account, |text, token| text + &token));
    for args in [&["status"][..], &["status", "--json"], &["plan"], &["provider", "show", "awx", "--source"]] {
        let mut child = world.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut out = BufReader::with_capacity(16, child.stdout.take().unwrap());
        out.read_line(&mut String::new()).unwrap();
        drop(out);
        let mut errors = String::new();
        child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0), "{args:?}: {errors}");
        assert!(!errors.contains("panicked") && !errors.contains("error"), "{args:?}: {errors}");
    }
}

#[test]
fn output_that_cannot_be_written_is_an_error() {
    let world = World::new(world::TWO_TOKENS);
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let output = world.command(&["plan"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot write the output"));
}
