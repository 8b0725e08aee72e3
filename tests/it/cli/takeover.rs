//! An account with many tokens that people made by hand is taken over beside a running daemon.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use patrold::clock::{Clock as _, Span, SystemClock};
use patrold::demo::Service;
use serde_json::Value;

use super::minutes::{Newcomer, Running};

const MANY: usize = 50;

/// Runs a command; gives what it prints and says.
fn run(newcomer: &Newcomer, args: &[&str]) -> (String, String) {
    let output = newcomer.command("home", args).stdin(Stdio::null()).output().unwrap();
    let (out, errors) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(output.status.code(), Some(0), "{args:?}: {out}{errors}");
    (out, errors)
}

/// The state of each token.
fn states(newcomer: &Newcomer) -> BTreeMap<String, String> {
    let status: Value = serde_json::from_str(&run(newcomer, &["status", "--json"]).0).unwrap();
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    let of = |token: &Value| (word(&token["name"]), word(&token["condition"]));
    status["tokens"].as_array().unwrap().iter().map(of).collect()
}

#[test]
fn an_account_of_fifty_tokens_is_taken_over_while_the_daemon_runs() {
    let newcomer = Newcomer::new();
    let home = newcomer.home.path().join("home");
    let password = newcomer.home.path().join("password");
    let operator = newcomer.loopback.operator().unwrap();
    fs::write(&password, operator.password.expose()).unwrap();
    let url = newcomer.url(Service::Awx);
    let init = ["init", "awx", "--url", &url, "--username", &operator.name];
    run(&newcomer, &[&init[..], &["--credential-file", password.to_str().unwrap()]].concat());
    run(&newcomer, &["add", "ci-runner"]);
    let mut daemon = newcomer.command("home", &["run", "--log-format", "json"]);
    let mut daemon = Running(daemon.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
    let log = BufReader::new(daemon.0.stderr.take().unwrap());
    newcomer.wait_for_mints(Service::Awx, 1);
    let issue = |number| {
        let name = format!("Team {} / job {number}", number % 7);
        (name.clone(), newcomer.loopback.issue(Service::Awx, &name, Span::days(90)))
    };
    let secrets: BTreeMap<_, _> = (1..=MANY).map(issue).collect();

    fs::create_dir(home.join("tokens.d")).unwrap();
    let write = ["audit", "--unmanaged", "--write", "tokens.d/found.toml"];
    let (listed, told) = run(&newcomer, &write);
    assert!(secrets.keys().all(|name| listed.contains(name.as_str())), "{listed}");
    assert!(told.contains("(0 in effect)"), "{told}");
    assert!(told.contains("put `include = [\"tokens.d/*.toml\"]` first in ./patrold.toml"), "{told}");
    let again = newcomer.command("home", &write).stdin(Stdio::null()).output().unwrap();
    assert!(again.status.code() == Some(2) && home.join("tokens.d/found.toml").exists(), "nothing is overwritten");

    // As the head of the file says: bring the secrets, and have it written again.
    for (name, secret) in &secrets {
        let file = name.to_lowercase().replace(" / ", "-").replace(' ', "-");
        fs::write(home.join("credentials").join(file), secret.token().expose()).unwrap();
    }
    fs::remove_file(home.join("tokens.d/found.toml")).unwrap();
    let (_, told) = run(&newcomer, &write);
    assert!(told.contains(&format!("({MANY} in effect)")), "{told}");
    let main = fs::read_to_string(home.join("patrold.toml")).unwrap();
    fs::write(home.join("patrold.toml"), format!("include = [\"tokens.d/*.toml\"]\n{main}")).unwrap();
    let (checked, _) = run(&newcomer, &["check"]);
    assert!(checked.contains(&format!("{} tokens", MANY + 1)), "{checked}");
    run(&newcomer, &["reload"]);
    // A reload answers before what it begins is done.
    let mut adopted = log.lines().filter(|line| line.as_ref().unwrap().contains("\"event\":\"adopted\""));
    assert!((0..MANY).all(|_| adopted.next().is_some()), "the daemon has ended");
    let found = states(&newcomer);
    assert!(found.len() == MANY + 1 && found.values().all(|state| state == "fine"), "{found:?}");
    let live = |secret: &str| newcomer.loopback.ledger().is_live(secret, SystemClock.now());
    assert!(secrets.values().all(|secret| live(secret.token().expose())), "nothing was replaced");

    // One is handed over to its consumer: its store is named, and from then on it rotates.
    let file = home.join("tokens.d/found.toml");
    let entries = fs::read_to_string(&file).unwrap();
    let (before, entry) = entries.split_once("[token.team-1-job-1]").unwrap();
    let entry = entry.replacen("paused = true", "file = \"job.token\"", 1);
    fs::write(&file, format!("{before}[token.team-1-job-1]{entry}")).unwrap();
    run(&newcomer, &["reload"]);
    let old = secrets["Team 1 / job 1"].token().expose();
    run(&newcomer, &["rotate", "team-1-job-1", "--compromised"]);
    let new = fs::read_to_string(home.join("tokens.d/job.token")).unwrap();
    assert!(live(new.trim()) && new.trim() != old && !live(old), "the old one is revoked, the new one delivered");
    let (audited, _) = run(&newcomer, &["audit"]);
    assert!(audited.contains(", 0 orphans"), "{audited}");
    assert_eq!(daemon.stop(), Some(0));
}
