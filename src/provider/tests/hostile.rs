//! Every shipped definition against values that try to leave their place, and answers that nobody should give.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::fixtures::{Fixture, fixtures};
use super::*;
use crate::fuzzing::shape;

/// Read once: each case of the property tests goes through all of them.
static FIXTURES: LazyLock<Vec<Fixture>> = LazyLock::new(fixtures);

#[test]
fn hostile_values_cannot_leave_their_place() {
    let long = "x".repeat(10_000);
    let hostile = [
        "a/b",
        "../..",
        "..",
        ".",
        "?x=1&y=2",
        "#f",
        "\"q\"'",
        "bl ank",
        "\r\nX-Injected: y",
        "a\nb",
        "é🔑",
        "%2e%2e",
        "%2F",
        "@evil.example.com",
        "{{ cred.secret }}",
        "\\",
        "a:b@c",
        "nul\0",
        "",
        long.as_str(),
    ];
    for fixture in FIXTURES.iter() {
        let provider = &fixture.provider;
        let free =
            |spec: &ParamSpec| spec.choices.is_empty() && matches!(spec.kind, ParamKind::String | ParamKind::List);
        for operation in fixture.operations() {
            let Ok(plain) = provider.render(operation, &fixture.given("usual").values()) else { continue };
            let plain = shape(&plain);
            let check = |what: &str, given: &Given, text: &str| match provider.render(operation, &given.values()) {
                Ok(request) => {
                    let place = format!("{}: {} with {text:?} as {what}", provider.name, operation.word());
                    assert_eq!(shape(&request), plain, "{place}");
                }
                Err(failure) => {
                    assert_eq!(failure.code, crate::outcome::FailureCode::Request, "{failure}");
                    assert!(!failure.detail.contains("SECRET"), "{failure}");
                }
            };
            for text in hostile {
                for (name, spec) in provider.params.iter().filter(|(_, spec)| free(spec)) {
                    let mut given = fixture.given("usual");
                    let Some(before) = given.params.get(name).or(spec.default.as_ref()) else { continue };
                    let value = match before {
                        Value::Array(items) => items.iter().map(|_| Value::from(text)).collect(),
                        _ => Value::from(text),
                    };
                    given.params.insert(name.clone(), value);
                    check(name, &given, text);
                }
                let mut given = fixture.given("usual");
                given.subject.name = Some(text.to_owned());
                for fact in given.subject.facts.values_mut() {
                    text.clone_into(fact);
                }
                check("name", &given, text);
                if let Ok(id) = text.parse() {
                    given.subject.id = Some(id);
                    check("id", &given, text);
                }
                let mut given = fixture.given("usual");
                given.subject.secret = Some(SecretParts::new(Secret::new(text)));
                if fixture.cases.given["usual"].secret.is_none() {
                    let identity = given.identity.as_mut().unwrap();
                    identity.secret = SecretParts::new(Secret::new(text));
                    identity.username = identity.username.as_ref().map(|_| text.to_owned());
                }
                check("secret", &given, text);
            }
        }
    }
}

/// Every JSON pointer that the text of a definition has.
fn pointers(source: &str) -> Vec<&str> {
    let quoted =
        source.lines().filter(|line| !line.starts_with('#')).flat_map(|line| line.split('"').skip(1).step_by(2));
    quoted.filter(|text| text.starts_with('/')).collect::<BTreeSet<_>>().into_iter().collect()
}

/// Puts `leaf` where `pointer` leads, in place of what is in the way.
fn put(mut value: &mut Value, pointer: &str, leaf: Value) {
    for step in pointer.split('/').skip(1) {
        if step == "0" {
            if value.as_array().is_none_or(Vec::is_empty) {
                *value = json!([null]);
            }
            value = &mut value[0];
        } else {
            if !value.is_object() {
                *value = json!({});
            }
            value = &mut value[step];
        }
    }
    *value = leaf;
}

fn any_leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        2 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::from),
        2 => any::<i64>().prop_map(Value::from),
        1 => any::<f64>().prop_map(Value::from),
        2 => ".{0,12}".prop_map(Value::from),
        2 => prop::sample::select(vec!["2031-01-01T00:00:00Z", "none", "active", "ZWVrIQ=="]).prop_map(Value::from),
        1 => Just(json!([{ "id": 1, "name": "x" }, {}, 7])),
        1 => Just(json!({ "deep": [CREDENTIAL, SUBJECT] })),
        2 => prop::sample::select(vec![CREDENTIAL, SUBJECT]).prop_map(Value::from),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn no_answer_panics_or_shows_a_secret_or_leads_elsewhere(
        status in prop_oneof![3 => Just(200_u16), 2 => Just(201), 1 => Just(204), 2 => Just(401), 2 => 100_u16..1000],
        leaves in prop::collection::vec((any::<prop::sample::Index>(), any_leaf()), 0..8),
        link in "[ -~]{0,40}",
    ) {
        for fixture in FIXTURES.iter().filter(|fixture| fixture.operations().next().is_some()) {
            let (provider, mut given) = (&fixture.provider, fixture.given("usual"));
            given.identity.as_mut().unwrap().secret = SecretParts::new(Secret::new(CREDENTIAL));
            let pointers = pointers(provider.source());
            let mut body = json!({});
            for (index, leaf) in &leaves {
                put(&mut body, pointers[index.index(pointers.len())], leaf.clone());
            }
            let response = answer(status, &[("link", &link)], &body);
            for operation in fixture.operations() {
                let told = told::answer(provider, operation, &given, &response);
                // What an operation yields may be anything; what it complains of is for people to read.
                let complaint = !told.well || told.line.contains("rejection(");
                let shown = told.line.split("rejection(").last().unwrap_or_default();
                prop_assert!(!complaint || !shown.contains("SECRET"), "{}: {}", provider.name, told.line);
            }
            if let crate::outcome::Outcome::Done(Page { next: Some(Cursor::Url(url)), .. }) =
                provider.read_page(&given.values(), &response, now())
            {
                prop_assert_eq!(url.origin(), given.base_url.origin(), "{}", provider.name);
            }
        }
    }
}
