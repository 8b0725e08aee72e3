//! `docs/getting-started.md`, typed as it stands there. `PATROLD_REGENERATE=1` writes what the terminal shows into it.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Stdio;

use patrold::demo::Service;

use super::golden::redact;
use super::minutes::{Newcomer, Running};

/// The names in the page for what the test's server is.
const SERVER: &str = "https://awx.example.com";
const USER: &str = "svc-ci";

/// Questions whose answers stand behind them in the page.
const ASKED: [&str; 2] = ["Address of the service (https://…): ", "User name (leave empty to use a token): "];

#[test]
fn every_command_of_the_page_does_what_it_says() {
    let newcomer = Newcomer::new();
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/getting-started.md");
    let text = fs::read_to_string(&page).unwrap();
    let mut parts = text.split("```console\n");
    let mut written = parts.next().unwrap().to_owned();
    let mut daemon = None;
    let (mut typed, mut tokens) = (0, 0);
    for part in parts {
        let (block, after) = part.split_once("```").unwrap();
        let (command, expected) = block.split_once('\n').unwrap();
        let args: Vec<&str> = command.strip_prefix("$ patrold ").expect(command).split_whitespace().collect();
        let shown = if args == ["run"] {
            let run = newcomer.command("home", &args).stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            daemon = Some(Running(run));
            String::new()
        } else {
            type_in(&newcomer, &args, expected)
        };
        if daemon.is_some() && matches!(args[0], "run" | "add") {
            tokens += 1;
            newcomer.wait_for_mints(Service::Awx, tokens);
            wait_until_all_are_fine(&newcomer, tokens);
        }
        typed += 1;
        if std::env::var_os("PATROLD_REGENERATE").is_none() {
            assert_eq!(normal(&shown), normal(expected), "{command}\n--- it shows\n{shown}");
        }
        write!(written, "```console\n{command}\n{shown}```{after}").unwrap();
    }
    assert!(typed > 10 && text.matches("```").count() == 2 * typed, "every block was typed");
    if std::env::var_os("PATROLD_REGENERATE").is_some() {
        fs::write(&page, written).unwrap();
    }
    assert_eq!(daemon.unwrap().stop(), Some(0));
}

/// Until the daemon tells that so many tokens are fine.
fn wait_until_all_are_fine(newcomer: &Newcomer, tokens: usize) {
    let fine = || {
        let status = newcomer.command("home", &["status", "--json"]).output().unwrap();
        let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap_or_default();
        let listed = status["tokens"].as_array().cloned().unwrap_or_default();
        listed.iter().filter(|token| token["condition"] == "fine").count() == tokens
    };
    assert!((0..500).any(|_| fine()), "the tokens are not fine");
}

/// Types a command with the answers that the page has, and gives what the terminal shows, in the page's names.
fn type_in(newcomer: &Newcomer, args: &[&str], expected: &str) -> String {
    let url = newcomer.url(Service::Awx);
    let operator = newcomer.loopback.operator().unwrap();
    let mut answers = Vec::new();
    for line in expected.lines() {
        if let Some((asked, answer)) = ASKED.iter().find_map(|asked| Some((*asked, line.strip_prefix(asked)?))) {
            let answer = match answer {
                SERVER => url.as_str(),
                USER => operator.name.as_str(),
                other => other,
            };
            answers.push((asked.trim_end().trim_end_matches(':'), answer));
        }
        if line.starts_with("Password:") {
            answers.push(("Password", operator.password.expose()));
        }
    }
    let (shown, exit) = newcomer.type_in("home", args, &answers);
    assert_eq!(exit, Some(0), "{args:?}\n{shown}");
    let home = newcomer.home.path().join("home");
    assert!(!shown.contains(operator.password.expose()), "{args:?}: a password was shown");
    let narrower = home.to_str().unwrap().len() - 1;
    // A table that is as wide as a path is as narrow as the path in the page.
    let blanks = " ".repeat(narrower);
    let shown = shown.replace(&format!("STORE{blanks}"), "STORE");
    let shown = shown.replace(&url, SERVER).replace(home.to_str().unwrap(), "~");
    let shown = shown.replace(newcomer.home.path().to_str().unwrap(), "~");
    let asked = format!("{}{}", ASKED[1], operator.name);
    shown.replace(&asked, &format!("{}{USER}", ASKED[1]))
}

/// Without what differs from run to run: times, the process, and where lines end.
fn normal(text: &str) -> String {
    let words = redact(&text.split_whitespace().collect::<Vec<_>>().join(" "), Path::new("/nowhere"));
    let mut normal = String::new();
    for word in words.split(' ') {
        let word = if normal.ends_with("process ") { "NUMBER," } else { word };
        let word = if word.contains("/state/patrold/") { "DIRECTORY" } else { word };
        write!(normal, "{word} ").unwrap();
    }
    normal
}
