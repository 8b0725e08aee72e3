use std::fs;
use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::inventory::{Existing, OnDrift, Template};
use crate::secret::Fingerprinter;
use crate::store::judge::Found;

const FROM: [(&str, &str, &str); 3] =
    [("db", "db-token", "token"), ("dbuser", "db-token", "user"), ("api", "api-token", "token")];

fn slot_of(path: &Path, text: &str, name: &str) -> (disk::Slot, TemplateSlot) {
    let names = FROM.map(|(name, ..)| name);
    let template = Arc::new(Template::parse(text, &names).unwrap());
    let used = FROM.iter().filter(|(name, ..)| template.names().any(|used| used == *name));
    let members = used.map(|(name, token, part)| Member {
        name: (*name).to_owned(),
        token: token.parse().unwrap(),
        part: (*part).to_owned(),
        key: format!("template:/x#{name}").parse().unwrap(),
    });
    let of = TemplateSlot { title: "app".to_owned(), members: members.collect(), template, name: name.to_owned() };
    let key = of.own().unwrap().key.clone();
    let format = Format::Template(Arc::new(of.clone()));
    let file = FilePolicy { path: path.to_owned(), mode: None, owner: None, group: None, format };
    (disk::Slot { key, file }, of)
}

fn secret(value: &str) -> SecretParts {
    SecretParts::new(Secret::new(value)).with("user", Secret::new(format!("u-{value}")))
}

fn others(values: &[(&str, &str)]) -> Values {
    values.iter().map(|(name, value)| ((*name).to_owned(), Secret::new(*value))).collect()
}

fn put(slot: &(disk::Slot, TemplateSlot), value: &str, others: &Values) -> Result<(), String> {
    let known = Known::default();
    let parts = parts(&slot.0, &slot.1, &secret(value), &known, |_, _| None).map_err(|failure| failure.to_string())?;
    write(&slot.0, &slot.1, &parts, others).into_result().map_err(|failure| failure.to_string())
}

const TEXT: &str = "machine db login {{ dbuser }} password {{ db }}\nmachine api login x password {{ api }}\n";

fn text(db: &str, api: &str) -> String {
    format!("machine db login u-{db} password {db}\nmachine api login x password {api}\n")
}

#[test]
fn each_token_writes_its_own_values_and_keeps_what_the_other_has_there() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("netrc");
    let (db, api) = (slot_of(&path, TEXT, "db"), slot_of(&path, TEXT, "api"));
    let stale = others(&[("db", "db-stale"), ("dbuser", "u-db-stale"), ("api", "api-stale")]);
    let read = || fs::read_to_string(&path).unwrap();
    // Both are new: the first to come waits, since a file with half of what it says is of no use.
    let why = put(&db, "db-1", &others(&[])).unwrap_err();
    assert!(why.contains("waits for token `api-token`, which has no secret yet") && !path.exists(), "{why}");
    put(&api, "api-1", &others(&[("db", "db-1"), ("dbuser", "u-db-1")])).unwrap();
    assert_eq!(read(), text("db-1", "api-1"));
    put(&db, "db-1", &others(&[])).unwrap();
    // What the journal says of the other one is older than what the other one wrote.
    put(&db, "db-2", &stale).unwrap();
    assert_eq!(read(), text("db-2", "api-1"));
    put(&api, "api-2", &stale).unwrap();
    assert_eq!(read(), text("db-2", "api-2"));
    // One is taken back.
    put(&db, "db-1", &stale).unwrap();
    assert_eq!(read(), text("db-1", "api-2"));
    // Only a file that is none of the template's needs the values of others again.
    for (sentence, found) in [("gone", None), ("another text", Some("hello")), ("bytes", Some("\u{0}"))] {
        fs::remove_file(&path).unwrap();
        if let Some(text) = found {
            fs::write(&path, text).unwrap();
        }
        put(&db, "db-3", &others(&[("api", "api-2")])).unwrap();
        assert_eq!(read(), text("db-3", "api-2"), "{sentence}");
    }
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1, "a temporary file was left");
}

#[test]
fn each_value_is_looked_at_by_itself() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("netrc");
    let (db, api) = (slot_of(&path, TEXT, "db"), slot_of(&path, TEXT, "api"));
    let found = |slot: &(disk::Slot, TemplateSlot)| match slot.0.look().unwrap().found {
        Found::Value(secret) => secret.expose().to_owned(),
        other => format!("{other:?}"),
    };
    assert_eq!(found(&db), "Absent");
    put(&db, "db-1", &others(&[("api", "api-1")])).unwrap();
    assert_eq!((found(&db), found(&api)), ("db-1".to_owned(), "api-1".to_owned()));
    fs::write(&path, text("db-1", "somebodys")).unwrap();
    assert_eq!((found(&db), found(&api)), ("db-1".to_owned(), "somebodys".to_owned()));
    fs::write(&path, text("db-1", "api-1") + "more").unwrap();
    assert_eq!((found(&db), found(&api)), ("Other".to_owned(), "Other".to_owned()));
}

#[test]
fn what_may_not_be_replaced_stops_the_write() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("netrc");
    let (slot, of) = slot_of(&path, TEXT, "db");
    let fingerprints = Fingerprinter::new(&[7; 32]);
    let judge = |secret: &Secret, known: &Known| {
        let new = Some(fingerprints.of(secret));
        let (known, fingerprints) = (known.clone(), fingerprints.clone());
        Some(Judge { new, known, existing: Existing::Refuse, on_drift: OnDrift::Repair, fingerprints })
    };
    let key = of.members.iter().find(|member| member.name == "dbuser").unwrap().key.clone();
    let known = Known { beside: vec![(key, Known::default())], ..Known::default() };
    let parts = parts(&slot, &of, &secret("db-1"), &known, judge).unwrap();
    for (sentence, there, fine) in [
        ("nothing", None, true),
        ("a text of somebody's", Some("mine".to_owned()), false),
        ("somebody's value in its place", Some(text("db-0", "api-1")), false),
        ("its own value, and somebody's of the other token", Some(text("db-1", "x")), true),
    ] {
        let _ = fs::remove_file(&path);
        if let Some(text) = &there {
            fs::write(&path, text).unwrap();
        }
        let written = write(&slot, &of, &parts, &others(&[("api", "api-1")]));
        assert_eq!(written.into_result().is_ok(), fine, "{sentence}");
        if !fine {
            assert_eq!(fs::read_to_string(&path).unwrap(), there.unwrap(), "{sentence}");
        }
    }
}

#[test]
fn every_quoting_is_read_as_it_is_written() {
    let home = tempfile::tempdir().unwrap();
    let odd = "a:b\\c\"d é\u{7f}%/+=";
    for (quoting, value, expected) in [
        ("{{ db }}", "tok_1-2.3~4+5/6=", Ok("tok_1-2.3~4+5/6=")),
        ("{{ db }}", "two words", Err("no plain word")),
        ("{{ db | raw }}", odd, Ok(odd)),
        ("{{ db | json }}", odd, Ok("\"a:b\\\\c\\\"d é\\u007f%/+=\"")),
        ("{{ db | pgpass }}", odd, Ok("a\\:b\\\\c\"d é\u{7f}%/+=")),
        ("{{ db | pgpass }}", "a\nb", Err("line end")),
        ("{{ db | base64 }}", "tok-1", Ok("dG9rLTE=")),
        ("{{ db | basic:ci }}", "tok-1", Ok("Y2k6dG9rLTE=")),
        ("{{ db | url }}", odd, Ok("a%3ab%5cc%22d%20%c3%a9%7f%25%2f%2b%3d")),
        ("{{ db | raw }}.{{ db | base64 }}", "t", Ok("t.dA==")),
        // It would end too early when it is read.
        ("{{ db | raw }}, {{ dbuser | raw }}", "a, b", Err("could not be read back")),
    ] {
        let path = home.path().join("file");
        let slot = slot_of(&path, quoting, "db");
        let written = put(&slot, value, &others(&[]));
        match expected {
            Ok(expected) => {
                written.unwrap_or_else(|why| panic!("{quoting}: {why}"));
                assert_eq!(fs::read_to_string(&path).unwrap(), expected, "{quoting}");
                let Found::Value(found) = slot.0.look().unwrap().found else { panic!("{quoting}") };
                assert_eq!(found.expose(), value, "{quoting}");
            }
            Err(why) => {
                let told = written.unwrap_err();
                assert!(told.contains(why) && !path.exists(), "{quoting}: {told}");
            }
        }
        let _ = fs::remove_file(&path);
    }
}
