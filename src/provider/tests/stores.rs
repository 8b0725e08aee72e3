//! Every definition of a store in `config/stores`: its questions are answered, its example works, and what it sends shows
//! no secret where it could be seen.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use super::{Given, answer, now};
use crate::definition::{self, Definitions};
use crate::document::Report;
use crate::inventory::Environment;
use crate::outcome::{FailureCode, Outcome};
use crate::provider::putting::Putting;
use crate::provider::slots::{Look, Prepared, Put, Seen, Slot};
use crate::provider::{Operation, ParamKind, Provider};
use crate::secret::Secret;

const SECRET: &str = "tok-SECRET-1";

/// The definitions as they stand in `config/stores`, so that an author sees his changes without compiling.
fn shipped() -> Vec<Arc<Provider>> {
    let mut report = Report::new();
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/stores");
    let definitions = Definitions::load(Some(&directory), &mut report);
    assert_eq!(report.render(), "");
    definitions.stores().map(Arc::clone).collect()
}

fn store(name: &str) -> Arc<Provider> {
    shipped().into_iter().find(|store| store.name.as_str() == name).unwrap()
}

/// Values of the examples for everything that has no default.
fn given(store: &Provider) -> Given {
    let params = store.params.iter().filter(|(_, spec)| spec.default.is_none() && !spec.optional);
    let params = params.map(|(name, spec)| (name.clone(), spec.example.clone().unwrap()));
    Given::new("https://store.example.com", Value::Object(params.collect()))
}

#[test]
fn every_definition_answers_the_questions_or_says_why_not() {
    let mut told = Vec::new();
    for store in shipped() {
        let mut report = Report::new();
        let source = report.add_source(format!("{}.toml", store.name), store.source());
        for (spot, finding) in definition::lint(&store, source, &report) {
            told.push(format!("{}: {}", report.place(spot), definition::words(&finding).0));
        }
    }
    assert!(told.is_empty(), "{}", told.join("\n"));
}

#[test]
fn the_example_of_a_definition_is_part_of_an_inventory() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().display();
    let authority = directory.path().join("authority.pem");
    let certified = rcgen::generate_simple_self_signed(vec!["example.com".to_owned()]).unwrap();
    std::fs::write(&authority, certified.cert.pem()).unwrap();
    let key = directory.path().join("key.pem");
    std::fs::write(&key, certified.signing_key.serialize_pem()).unwrap();
    for store in shipped() {
        let path = directory.path().join("patrold.toml");
        let mut example = store
            .example
            .replace("/var/run/secrets/kubernetes.io/serviceaccount/ca.crt", &authority.display().to_string());
        for (named, file) in [("/etc/patrold/etcd.crt", &authority), ("/etc/patrold/etcd.key", &key)] {
            example = example.replace(named, &file.display().to_string());
        }
        // A part that only tokens of AWS have.
        let source = "[account.source]\nprovider = \"aws-iam-access-key\"\n\
                      credential = { username = \"AKIAEXAMPLE\", password = { file = \"/etc/patrold/iam\" } }\n\
                      [[token]]\nname = \"ci\"\naccount = \"source\"\nrotate-every = \"30d\"\nparams = { user = \"ci\" }\n";
        let daemon = format!("[daemon]\nstate-dir = \"{state}\"\ncontrol = \"{state}/control\"\n");
        std::fs::write(&path, format!("{daemon}{source}{example}")).unwrap();
        let loaded = crate::inventory::load(&path, &Environment::default(), now());
        assert_eq!(loaded.report.render(), "", "{}", store.name);
        let tokens = loaded.inventory.unwrap().tokens;
        assert_eq!(tokens.values().map(|token| token.stores.len()).sum::<usize>(), 1, "{}", store.name);
    }
}

#[test]
fn what_is_sent_shows_no_secret_where_it_could_be_seen_and_leads_nowhere_else() {
    for store in shipped() {
        let mut given = given(&store);
        given.identity.as_mut().unwrap().username = Some("AKIAEXAMPLE".to_owned());
        let secret = Secret::new(SECRET);
        let (seen, prepared) =
            (Seen::blind(), Prepared::of(&[("key", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="), ("key_id", "7")]));
        let rules = store.store().unwrap();
        let slot = rules.slot.as_ref().map(|_| "token".to_owned());
        let slots = vec![(slot, &secret)];
        let putting = Putting {
            seen: &seen,
            prepared: &prepared,
            slots,
            gone: None,
            delivery: "00".repeat(16),
            mark: "us".to_owned(),
        };
        for operation in Operation::OF_STORES {
            if !store.has(operation) {
                continue;
            }
            let mut values = given.values();
            values.putting = Some(&putting);
            let request = match store.render(operation, &values) {
                Ok(request) => request,
                // What a look has to tell first.
                Err(failure) => {
                    let wants = ["read.", "what the target holds besides"];
                    assert!(wants.iter().any(|it| failure.detail.contains(it)), "{}: {failure}", store.name);
                    continue;
                }
            };
            assert_eq!(request.url.host_str(), Some("store.example.com"), "{}", store.name);
            assert!(!request.log_url.contains("SECRET"), "{}: {}", store.name, request.log_url);
            for (name, value) in &request.headers {
                let shown = value.to_str().unwrap_or_default().contains("SECRET");
                assert!(!shown || value.is_sensitive(), "{}: {name}", store.name);
            }
        }
    }
}

#[test]
fn every_parameter_of_a_target_is_part_of_some_request() {
    // One that is not would let two targets differ that are one.
    for store in shipped() {
        let base = (!store.extends.is_empty()).then(|| self::store(&store.extends).source().to_owned());
        let all = store.source().to_owned() + &base.unwrap_or_default();
        for name in &store.store().unwrap().target {
            assert!(all.contains(&format!("params.{name}")), "{}: {name}", store.name);
        }
        assert!(store.params.values().all(|spec| spec.kind != ParamKind::Json), "{}", store.name);
    }
}

fn look(store: &Provider, slot: bool, response: &crate::provider::Response) -> Outcome<Look> {
    store.read_target(slot, &given(store).values(), response, now())
}

fn found(store: &Provider, slot: Option<&str>, status: u16, body: &Value) -> Slot {
    match look(store, slot.is_some(), &answer(status, &[], body)) {
        Outcome::Done(Look::Found(seen)) => seen.slot(slot),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_slot_that_holds_nothing_is_told_from_a_wrong_place() {
    let vault = store("vault-kv2");
    let failure = |status, body: Value| look(&vault, true, &answer(status, &[], &body)).into_result().unwrap_err().code;
    assert!(matches!(found(&vault, Some("token"), 404, &json!({ "errors": [] })), Slot::Absent));
    let deleted = json!({ "data": { "data": null, "metadata": { "version": 3 } } });
    assert!(matches!(found(&vault, Some("token"), 404, &deleted), Slot::Absent));
    let other = json!({ "data": { "data": { "other": "x" }, "metadata": { "version": 3 } } });
    assert!(matches!(found(&vault, Some("token"), 200, &other), Slot::Absent));
    let number = json!({ "data": { "data": { "token": 7 }, "metadata": { "version": 3 } } });
    assert!(matches!(found(&vault, Some("token"), 200, &number), Slot::Other));
    // A wrong mount, and version 1 where version 2 is meant.
    assert_eq!(failure(404, json!({ "errors": ["no handler for route \"x\""] })), FailureCode::StoreWrongPlace);
    assert_eq!(failure(200, json!({ "data": { "data": { "token": "x" } } })), FailureCode::StoreWrongPlace);
    assert_eq!(failure(503, json!({ "errors": ["Vault is sealed"] })), FailureCode::ServerError);
}

#[test]
fn a_write_puts_one_key_among_the_others() {
    let vault = store("vault-kv2");
    let body = json!({ "data": { "data": { "other": "kept", "n": 7, "token": "old" }, "metadata": { "version": 3 } } });
    let Outcome::Done(Look::Found(seen)) = look(&vault, true, &answer(200, &[], &body)) else { panic!("{body}") };
    let (secret, second) = (Secret::new(SECRET), Secret::new("tok-SECRET-2"));
    let slots = vec![(Some("token".to_owned()), &secret), (Some("second".to_owned()), &second)];
    let putting = Putting {
        seen: &seen,
        prepared: &Prepared::default(),
        slots,
        gone: None,
        delivery: "00".repeat(16),
        mark: String::new(),
    };
    let given = given(&vault);
    let mut values = given.values();
    values.putting = Some(&putting);
    let request = vault.render(Operation::Write, &values).unwrap();
    let sent: Value = serde_json::from_slice(&request.body.unwrap()).unwrap();
    let data = json!({ "other": "kept", "n": 7, "token": SECRET, "second": "tok-SECRET-2" });
    assert_eq!(sent, json!({ "options": { "cas": 3 }, "data": data }));
    let lost = json!({ "errors": ["check-and-set parameter did not match the current version"] });
    let put = |status, body: &Value| vault.read_put(Operation::Write, &values, &answer(status, &[], body), now());
    assert!(matches!(put(400, &lost), Outcome::Done(Put::Conflict)));
    assert!(matches!(put(200, &json!({ "data": { "version": 4 } })), Outcome::Done(Put::Written(Some(_)))));
    // Nobody knows whether it was written; and no answer shows what was sent.
    let echo = json!({ "errors": [format!("cannot store {SECRET} beside kept")] });
    let Outcome::Unknown(failure) = put(500, &echo) else { panic!("{echo}") };
    assert!(!failure.detail.contains("SECRET"), "{failure}");
}
