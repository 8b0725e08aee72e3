//! Mail to a real server: what a notification says arrives as it was written, encrypted, by a user with a password; and a
//! server that does not prove itself, or refuses the password, gets nothing.

use std::fs;
use std::process::{Command, Output};
use std::sync::{Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::facts::Facts;

/// `patrold notify test` with one channel, of an inventory of its own.
fn send(url: &str, ca: &str, password: &str) -> Output {
    let directory = tempfile::Builder::new().prefix("patrold-mail-").tempdir().unwrap();
    let root = directory.path().display();
    fs::write(directory.path().join("password"), password).unwrap();
    let inventory = format!(
        "[daemon]\nstate-dir = \"{root}/state\"\ncontrol = \"{root}/control.sock\"\n\
         [[notify]]\nname = \"post\"\n\
         via = {{ mail = [\"ops@example.com\", \"night@example.com\"], from = \"patrold@example.com\", smtp = \"{url}\", \
         username = \"patrold\", password = {{ file = \"{root}/password\" }}, tls = {{ ca-file = \"{ca}\" }} }}\n"
    );
    let path = directory.path().join("patrold.toml");
    fs::write(&path, inventory).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_patrold"));
    command.arg("--config").arg(&path).args(["notify", "test", "post"]).output().unwrap()
}

/// One test at a time counts what the server got.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn letters(facts: &Facts) -> Vec<Value> {
    let text = fs::read_to_string(facts.get("letters")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_notification_reaches_a_mail_server() {
    let Some(facts) = Facts::of("aiosmtpd") else { return };
    let _turn = turn();
    let (ca, password) = (facts.get("ca"), facts.get("credential"));
    for url in [facts.url(), facts.get("tls-url")] {
        let before = letters(&facts).len();
        let output = send(url, ca, password);
        assert_eq!(output.status.code(), Some(0), "{url}: {output:?}");
        let all = letters(&facts);
        let [letter] = &all[before..] else { panic!("{url}: {all:#?}") };
        let (encrypted, user, from) = (&letter["encrypted"], &letter["user"], &letter["from"]);
        assert_eq!((encrypted, user, from), (&json!(true), &json!("patrold"), &json!("patrold@example.com")), "{url}");
        assert_eq!(letter["to"], json!(["ops@example.com", "night@example.com"]), "{url}");
        let content = BASE64_STANDARD.decode(letter["content"].as_str().unwrap()).unwrap();
        let content = String::from_utf8(content).unwrap();
        let (head, text) = content.split_once("\r\n\r\n").unwrap();
        assert!(
            head.contains("\r\nSubject: ") && head.contains("\r\nTo: ops@example.com, night@example.com"),
            "{head}"
        );
        assert!(text.contains("this is a test of channel post"), "{text}");
        assert!(!content.replace("\r\n", "").contains(['\r', '\n']), "{url}: a line ends otherwise than by CR LF");
    }
}

#[test]
fn a_mail_server_that_is_another_or_refuses_the_password_gets_no_message() {
    let Some(facts) = Facts::of("aiosmtpd") else { return };
    let _turn = turn();
    let own = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let another = own.path().join("ca.pem");
    fs::write(&another, made.cert.pem()).unwrap();
    for (ca, password, words) in [
        (another.to_str().unwrap(), facts.get("credential"), "TLS with 127.0.0.1"),
        (facts.get("ca"), "another", "535"),
    ] {
        for url in [facts.url(), facts.get("tls-url")] {
            let before = letters(&facts).len();
            let output = send(url, ca, password);
            let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
            assert_eq!(output.status.code(), Some(1), "{url}: {said}");
            assert!(said.contains(words) && !said.contains(facts.get("credential")), "{url}: {said}");
            assert_eq!(letters(&facts).len(), before, "{url}: it got a message");
        }
    }
}
