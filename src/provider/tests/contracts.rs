//! Requests and fixtures against excerpts of the vendors' own API descriptions, in `tests/data/contracts`: method, path,
//! parameters, bodies and answers. The folder's README tells where they come from.

use std::collections::{BTreeMap, BTreeSet};

use boon::{Compiler, Schemas};
use serde::Deserialize;

use super::fixtures::{Fixture, fixtures};
use super::*;

/// `NAME.json`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Excerpt {
    source: String,
    version: String,
    licence: String,
    /// What comes before the paths of the description.
    base: String,
    operations: Vec<Described>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Described {
    method: String,
    path: String,
    /// Parameters of the query, and whether one is required.
    query: BTreeMap<String, bool>,
    body: Option<Value>,
    /// By the status; null: the answer is not described.
    answers: BTreeMap<String, Value>,
}

fn excerpt(name: &str) -> Option<Excerpt> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/data/contracts/{name}.json"));
    let text = std::fs::read(&path).ok()?;
    Some(serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}

/// Why `value` is not of `schema`.
fn refuses(schema: &Value, value: &Value) -> Option<String> {
    let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
    compiler.add_resource("schema.json", schema.clone()).unwrap();
    let index = compiler.compile("schema.json", &mut schemas).unwrap();
    schemas.validate(value, index).err().map(|error| error.to_string())
}

impl Excerpt {
    /// The operation of a request: steps in braces stand for any value.
    fn operation(&self, request: &Request) -> Option<&Described> {
        let path = request.url.path().strip_prefix(self.base.as_str())?;
        let fits = |template: &str| {
            let (steps, values) = (template.split('/'), path.split('/'));
            let (steps, values): (Vec<_>, Vec<_>) = (steps.collect(), values.collect());
            let same = |(step, value): (&&str, &&str)| match step.split_once('{') {
                Some((before, _)) => {
                    let after = step.rsplit_once('}').map_or("", |(_, after)| after);
                    value
                        .strip_prefix(before)
                        .and_then(|rest| rest.strip_suffix(after))
                        .is_some_and(|it| !it.is_empty())
                }
                None => step == value,
            };
            steps.len() == values.len() && steps.iter().zip(&values).all(same)
        };
        self.operations.iter().find(|it| it.method == request.method.as_str() && fits(&it.path))
    }
}

impl Described {
    /// What is wrong with a request.
    fn objections(&self, request: &Request) -> Vec<String> {
        let mut wrong = Vec::new();
        let given: BTreeSet<String> = request.url.query_pairs().map(|(key, _)| key.into_owned()).collect();
        wrong.extend(given.iter().filter(|key| !self.query.contains_key(*key)).map(|key| format!("no query `{key}`")));
        let needed = self.query.iter().filter(|(key, needed)| **needed && !given.contains(*key));
        wrong.extend(needed.map(|(key, _)| format!("the query lacks `{key}`")));
        let Some(sent) = request.body.as_ref().filter(|body| !body.is_empty()) else { return wrong };
        let Some(schema) = &self.body else {
            wrong.push("no body is described".to_owned());
            return wrong;
        };
        let body: Value = serde_json::from_slice(sent).unwrap_or_else(|_| {
            let pairs = url::form_urlencoded::parse(sent);
            pairs.map(|(key, value)| (key.into_owned(), Value::from(value.into_owned()))).collect()
        });
        wrong.extend(refuses(schema, &body));
        // A description names what a body may have, and a service forgets what it does not know.
        let known = schema["properties"].as_object();
        let open = schema.get("additionalProperties").is_some();
        if let (Some(known), Some(body), false) = (known, body.as_object(), open) {
            wrong.extend(body.keys().filter(|key| !known.contains_key(*key)).map(|key| format!("no key `{key}`")));
        }
        wrong
    }
}

/// Every request of `fixture` that its description should have: what answers to it are called, and the request.
fn requests(fixture: &Fixture) -> Vec<(String, Request)> {
    let provider = &fixture.provider;
    let without = &provider.contract.as_ref().unwrap().without;
    let mut all = Vec::new();
    for name in fixture.cases.given.keys() {
        let given = fixture.given(name);
        // Another address may have another path before those of the description.
        if provider.default_url().is_some_and(|url| *url != given.base_url) {
            continue;
        }
        let operations = fixture.operations().filter(|operation| !without.contains(operation));
        for operation in operations {
            // A credential that signs has to be a key, which not every circumstance gives.
            let request = provider.render(operation, &given.values()).ok();
            all.extend(request.map(|request| (operation.word().to_owned(), request)));
        }
        for (what, step) in fixture.discoveries() {
            all.push((what, step.render(Operation::List, &given.values()).unwrap()));
        }
    }
    all
}

#[test]
fn requests_and_answers_are_as_the_vendors_describe_them() {
    let mut wrong = Vec::new();
    let mut held = 0;
    for fixture in fixtures().iter().filter(|fixture| fixture.provider.contract.is_some()) {
        let name = fixture.provider.name.as_str();
        let contract = fixture.provider.contract.as_ref().unwrap();
        let excerpt = excerpt(name).unwrap_or_else(|| panic!("{name}: there is no excerpt of its contract"));
        assert_eq!((&contract.source, &contract.version), (&excerpt.source, &excerpt.version), "{name}");
        assert!(!excerpt.licence.is_empty(), "{name}");
        for (what, request) in requests(fixture) {
            held += 1;
            let Some(described) = excerpt.operation(&request) else {
                wrong.push(format!("{name}, {what}: no operation {request:?}"));
                continue;
            };
            wrong.extend(described.objections(&request).iter().map(|it| format!("{name}, {what}: {it}")));
            for (status, what, body) in fixture.answers_to(&what) {
                let schema = described.answers.get(&status.to_string()).filter(|schema| !schema.is_null());
                let told = schema.and_then(|schema| refuses(schema, &body));
                wrong.extend(told.map(|told| format!("{name}, the answer \"{what}\": {told}")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(held > 30, "{held} requests");
}

#[test]
fn each_excerpt_belongs_to_a_definition_that_names_it() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/contracts");
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let found: BTreeSet<_> = names.filter_map(|name| name.strip_suffix(".json").map(str::to_owned)).collect();
    let named = fixtures().into_iter().filter(|fixture| fixture.provider.contract.is_some());
    let named: BTreeSet<_> = named.map(|fixture| fixture.provider.name.to_string()).collect();
    assert_eq!(found, named);
}

#[test]
fn what_a_description_does_not_have_is_noticed() {
    let excerpt = excerpt("openai-admin-key").unwrap();
    let request = |text: &str| {
        let provider = provider("openai-admin-key");
        let text = provider.source().replace("expires_in_seconds = \"{{ want.ttl }}\"", text);
        let given = {
            let mut given = Given::new("https://api.openai.com/v1", json!({}));
            given.mint_request.lifetime = Some(Span::days(30));
            given
        };
        let provider = definition::parse("own.toml", &text, &mut crate::document::Report::new()).unwrap();
        provider.render(Operation::Mint, &given.values()).unwrap()
    };
    for (sentence, text, wanted) in [
        ("as described", "expires_in_seconds = \"{{ want.ttl }}\"", ""),
        ("a key that is unknown", "expires = \"{{ want.ttl }}\"", "no key `expires`"),
        ("another type", "expires_in_seconds = \"{{ want.ttl }}s\"", "expires_in_seconds"),
    ] {
        let request = request(text);
        let told = excerpt.operation(&request).unwrap().objections(&request).join("\n");
        assert_eq!(told.is_empty(), wanted.is_empty(), "{sentence}: {told}");
        assert!(told.contains(wanted), "{sentence}: {told}");
    }
    let mut elsewhere = request("expires_in_seconds = 1");
    elsewhere.url.set_path("/v1/organization/admin_keys");
    assert!(excerpt.operation(&elsewhere).is_none(), "another path");
    elsewhere.url.set_path("/v1/organization/admin_api_keys");
    elsewhere.method = Method::PUT;
    assert!(excerpt.operation(&elsewhere).is_none(), "another method");
}
