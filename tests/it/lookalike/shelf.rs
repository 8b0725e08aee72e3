//! Stores that keep entries by name, each after its vendor's documents. What they have in common is a memory; what differs is
//! the answer to a request.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Answer, Api, Asked};

/// One entry.
#[derive(Clone, Debug)]
pub struct Kept {
    id: String,
    value: String,
    /// How often it was written.
    times: u32,
}

/// What a store keeps.
pub struct Memory {
    /// The path below which it is.
    place: String,
    name: String,
    kept: BTreeMap<String, Kept>,
}

impl Memory {
    fn put(&mut self, name: &str, value: &str) -> &Kept {
        let id = format!("id-{}", self.kept.len() + 1);
        let entry = self.kept.entry(name.to_owned()).or_insert(Kept { id, value: String::new(), times: 0 });
        entry.times += 1;
        value.clone_into(&mut entry.value);
        entry
    }

    /// The name of an entry.
    fn named(&self, id: &str) -> Option<String> {
        self.kept.iter().find(|(_, kept)| kept.id == id).map(|(name, _)| name.clone())
    }

    /// Every entry, as `show` shows it.
    fn all(&self, show: impl Fn(&str, &Kept) -> Value) -> Value {
        self.kept.iter().map(|(name, kept)| show(name, kept)).collect()
    }
}

/// How a vendor's store answers.
pub struct Shelf {
    memory: Memory,
    answer: fn(&mut Memory, &Asked) -> Answer,
    /// Whether several entries are one target.
    shared: bool,
}

impl Shelf {
    pub fn new(place: &str, name: &str, answer: fn(&mut Memory, &Asked) -> Answer) -> Self {
        let memory = Memory { place: place.to_owned(), name: name.to_owned(), kept: BTreeMap::new() };
        Self { memory, answer, shared: false }
    }

    /// With an entry of somebody else's in the same target.
    pub fn shared(place: &str, name: &str, answer: fn(&mut Memory, &Asked) -> Answer) -> Self {
        let mut shelf = Self { shared: true, ..Self::new(place, name, answer) };
        shelf.memory.put("OTHER", "kept");
        shelf
    }

    /// With a value that was there before.
    pub fn holding(place: &str, name: &str, answer: fn(&mut Memory, &Asked) -> Answer) -> Self {
        let mut shelf = Self::new(place, name, answer);
        shelf.memory.put(name, "there before");
        shelf
    }
}

impl Api for Shelf {
    fn answer(&mut self, asked: &Asked) -> Answer {
        (self.answer)(&mut self.memory, asked)
    }

    fn is_write(&self, asked: &Asked) -> bool {
        let asks = asked.path.ends_with("/login")
            || asked.text.contains("\"query ")
            || asked.text.contains("\"query\":\"query");
        asked.method != "GET" && !asks
    }

    fn value(&self) -> Option<String> {
        self.memory.kept.get(&self.memory.name).map(|kept| kept.value.clone())
    }

    fn intrude(&mut self, value: &str) {
        let name = self.memory.name.clone();
        self.memory.put(&name, value);
    }

    fn neighbours(&self) -> Option<String> {
        let others = || self.memory.kept.iter().filter(|(name, _)| **name != self.memory.name);
        self.shared.then(|| format!("{:?}", others().map(|(name, kept)| (name, &kept.value)).collect::<Vec<_>>()))
    }

    fn race(&mut self) -> bool {
        if self.shared {
            self.memory.put("THEIRS", "written at the last moment");
        }
        self.shared
    }

    fn misplace(&mut self) -> bool {
        // A store that answers the same for what is absent and for another place is asked nothing about it.
        let tells = !self.memory.place.starts_with("/api/v4/secrets");
        if tells {
            self.memory.place += "-renamed";
        }
        tells
    }
}

fn missing(message: &str) -> Answer {
    (404, json!({ "message": message }))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// A time that grows with each write.
fn moment(times: u32) -> String {
    format!("2026-01-01T00:00:{times:02}Z")
}

/// <https://developer.atlassian.com/cloud/bitbucket/rest/api-group-pipelines/>: a secured variable shows no value.
pub fn bitbucket(memory: &mut Memory, asked: &Asked) -> Answer {
    let gone = (404, json!({ "type": "error", "error": { "message": "Repository not found" } }));
    let Some(below) = asked.path.strip_prefix(&memory.place) else { return gone };
    let shown = |name: &str, kept: &Kept| json!({ "uuid": kept.id, "key": name, "secured": true });
    match (asked.method.as_str(), below.strip_prefix('/')) {
        ("GET", None) if below.is_empty() => (200, json!({ "size": memory.kept.len(), "values": memory.all(shown) })),
        ("POST", None) if below.is_empty() => {
            let name = text(&asked.body["key"]);
            if memory.kept.contains_key(&name) {
                return (409, json!({ "error": { "message": "A variable with the name already exists" } }));
            }
            (201, shown(&name, memory.put(&name, &text(&asked.body["value"]))))
        }
        ("PUT", Some(id)) => match memory.named(id) {
            Some(name) => (200, shown(&name, memory.put(&name, &text(&asked.body["value"])))),
            None => gone,
        },
        _ => gone,
    }
}

/// <https://buildkite.com/docs/apis/rest-api/clusters/secrets>: no value, and when it was changed.
pub fn buildkite(memory: &mut Memory, asked: &Asked) -> Answer {
    let Some(below) = asked.path.strip_prefix(&memory.place) else { return missing("Not Found") };
    let shown = |name: &str, kept: &Kept| json!({ "id": kept.id, "key": name, "updated_at": moment(kept.times) });
    let id = below.strip_prefix('/').and_then(|rest| rest.strip_suffix("/value"));
    match (asked.method.as_str(), id) {
        ("GET", None) if below.is_empty() => (200, memory.all(shown)),
        ("POST", None) if below.is_empty() => {
            let name = text(&asked.body["key"]);
            (201, shown(&name, memory.put(&name, &text(&asked.body["value"]))))
        }
        ("PUT", Some(id)) => match memory.named(id) {
            Some(name) => (200, shown(&name, memory.put(&name, &text(&asked.body["value"])))),
            None => missing("Not Found"),
        },
        _ => missing("Not Found"),
    }
}

/// <https://circleci.com/docs/api/v2/>: of a value, its last four characters.
pub fn circleci(memory: &mut Memory, asked: &Asked) -> Answer {
    let Some(below) = asked.path.strip_prefix(&memory.place) else { return missing("Project not found") };
    let shown = |name: &str, value: &str| {
        let end: String = value.chars().skip(value.chars().count().saturating_sub(4)).collect();
        json!({ "name": name, "value": format!("xxxx{end}") })
    };
    match (asked.method.as_str(), below, below.strip_prefix("/envvar/")) {
        ("GET", "", _) => (200, json!({ "slug": "gh/example/app" })),
        ("GET", _, Some(name)) => match memory.kept.get(name) {
            Some(kept) => (200, shown(name, &kept.value)),
            None => missing("Environment variable not found."),
        },
        ("POST", "/envvar", _) => {
            let (name, value) = (text(&asked.body["name"]), text(&asked.body["value"]));
            memory.put(&name, &value);
            (201, shown(&name, &value))
        }
        _ => missing("Project not found"),
    }
}

/// <https://developers.cloudflare.com/api/resources/workers/>: names alone.
pub fn cloudflare(memory: &mut Memory, asked: &Asked) -> Answer {
    if asked.path != memory.place {
        return (
            404,
            json!({ "success": false, "errors": [{ "code": 10007, "message": "workers.api.error.script_not_found" }] }),
        );
    }
    let shown = |name: &str| json!({ "name": name, "type": "secret_text" });
    if asked.method.as_str() == "GET" {
        return (200, json!({ "success": true, "errors": [], "result": memory.all(|name, _| shown(name)) }));
    }
    let name = text(&asked.body["name"]);
    memory.put(&name, &text(&asked.body["text"]));
    (200, json!({ "success": true, "errors": [], "result": shown(&name) }))
}

/// <https://fly.io/docs/>: GraphQL, with a digest of each value. An app that is not there is an error.
pub fn fly(memory: &mut Memory, asked: &Asked) -> Answer {
    let (query, variables) = (text(&asked.body["query"]), &asked.body["variables"]);
    let app = if query.starts_with("mutation") { &variables["input"]["appId"] } else { &variables["name"] };
    if app.as_str() != Some(memory.place.as_str()) {
        return (200, json!({ "data": { "app": null }, "errors": [{ "message": "Could not find App" }] }));
    }
    if query.starts_with("mutation Set") {
        for secret in variables["input"]["secrets"].as_array().into_iter().flatten() {
            memory.put(&text(&secret["key"]), &text(&secret["value"]));
        }
        return (200, json!({ "data": { "setSecrets": { "app": { "name": memory.place } } } }));
    }
    let digest = |name: &str, kept: &Kept| {
        let sum = kept.value.bytes().fold(7_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        json!({ "name": name, "digest": format!("{sum:016x}") })
    };
    (200, json!({ "data": { "app": { "name": memory.place, "secrets": memory.all(digest) } } }))
}

/// <https://docs.github.com/en/rest/actions/variables>.
pub fn github_variable(memory: &mut Memory, asked: &Asked) -> Answer {
    let Some(below) = asked.path.strip_prefix(&memory.place) else { return missing("Not Found") };
    let shown =
        |name: &str, kept: &Kept| json!({ "name": name, "value": kept.value, "updated_at": moment(kept.times) });
    match (asked.method.as_str(), below.strip_prefix('/')) {
        ("GET", None) if below.is_empty() => {
            (200, json!({ "total_count": memory.kept.len(), "variables": memory.all(shown) }))
        }
        ("GET", Some(name)) => memory.kept.get(name).map_or(missing("Not Found"), |kept| (200, shown(name, kept))),
        ("POST", None) if below.is_empty() => {
            let name = text(&asked.body["name"]);
            if memory.kept.contains_key(&name) {
                return (409, json!({ "message": "Already exists - Variable already exists" }));
            }
            memory.put(&name, &text(&asked.body["value"]));
            (201, json!({}))
        }
        ("PATCH", Some(name)) if memory.kept.contains_key(name) => {
            memory.put(name, &text(&asked.body["value"]));
            (204, Value::Null)
        }
        _ => missing("Not Found"),
    }
}

/// <https://docs.gitlab.com/api/group_level_variables/>.
pub fn gitlab_group(memory: &mut Memory, asked: &Asked) -> Answer {
    let Some(below) = asked.path.strip_prefix(&memory.place) else { return missing("404 Group Not Found") };
    let shown = |name: &str, kept: &Kept| json!({ "key": name, "environment_scope": "*", "value": kept.value });
    match (asked.method.as_str(), below, below.strip_prefix("/variables/")) {
        ("GET", "", _) => (200, json!({ "id": 7 })),
        ("GET", "/variables", _) => (200, memory.all(shown)),
        ("GET", _, Some(key)) => match memory.kept.get(key) {
            Some(kept) => (200, shown(key, kept)),
            None => missing("404 GroupVariable Not Found"),
        },
        ("POST", "/variables", _) => {
            let key = text(&asked.body["key"]);
            if memory.kept.contains_key(&key) {
                return (400, json!({ "message": { "key": [format!("({key}) has already been taken")] } }));
            }
            (201, shown(&key, memory.put(&key, &text(&asked.body["value"]))))
        }
        ("PUT", _, Some(key)) if memory.kept.contains_key(key) => {
            (200, shown(key, memory.put(key, &text(&asked.body["value"]))))
        }
        _ => missing("404 GroupVariable Not Found"),
    }
}

/// <https://developer.hashicorp.com/terraform/cloud-docs/api-docs/workspace-variables>: a sensitive one shows no value.
pub fn hcp_terraform(memory: &mut Memory, asked: &Asked) -> Answer {
    let gone = (404, json!({ "errors": [{ "status": "404", "title": "not found" }] }));
    let Some(below) = asked.path.strip_prefix(&memory.place) else { return gone };
    let shown = |name: &str, kept: &Kept| {
        let attributes = json!({ "key": name, "value": null, "sensitive": true, "category": "env" });
        json!({ "id": kept.id, "type": "vars", "attributes": attributes })
    };
    let value = text(&asked.body["data"]["attributes"]["value"]);
    match (asked.method.as_str(), below.strip_prefix('/')) {
        ("GET", None) if below.is_empty() => (200, json!({ "data": memory.all(shown) })),
        ("POST", None) if below.is_empty() => {
            let name = text(&asked.body["data"]["attributes"]["key"]);
            if memory.kept.contains_key(&name) {
                return (
                    422,
                    json!({ "errors": [{ "status": "422", "title": "invalid attribute", "detail": "Key has already been taken" }] }),
                );
            }
            (201, json!({ "data": shown(&name, memory.put(&name, &value)) }))
        }
        ("PATCH", Some(id)) => match memory.named(id) {
            Some(name) => (200, json!({ "data": shown(&name, memory.put(&name, &value)) })),
            None => gone,
        },
        _ => gone,
    }
}

/// <https://devcenter.heroku.com/articles/platform-api-reference#config-vars>: all variables of an app at once.
pub fn heroku(memory: &mut Memory, asked: &Asked) -> Answer {
    if asked.path != memory.place {
        return (404, json!({ "id": "not_found", "message": "Couldn't find that app." }));
    }
    if asked.method == "PATCH" {
        for (name, value) in asked.body.as_object().into_iter().flatten() {
            match value.as_str() {
                Some(value) => drop(memory.put(name, value).id.len()),
                None => drop(memory.kept.remove(name)),
            }
        }
    }
    let all: serde_json::Map<_, _> = memory.kept.iter().map(|(name, kept)| (name.clone(), json!(kept.value))).collect();
    (200, Value::Object(all))
}

/// <https://infisical.com/docs/api-reference>: each write is a version.
pub fn infisical(memory: &mut Memory, asked: &Asked) -> Answer {
    if asked.path.ends_with("/login") {
        return (200, json!({ "accessToken": "session", "expiresIn": 7200, "tokenType": "Bearer" }));
    }
    let Some(name) = asked.path.strip_prefix("/api/v4/secrets/").map(str::to_owned) else {
        return missing("no such route");
    };
    let shown =
        |kept: &Kept| json!({ "secret": { "secretKey": name, "secretValue": kept.value, "version": kept.times } });
    match (asked.method.as_str(), memory.kept.contains_key(&name)) {
        ("GET", true) => (200, shown(&memory.kept[&name])),
        ("POST", true) => (400, json!({ "message": "Secret already exist" })),
        ("POST", false) | ("PATCH", true) => (200, shown(memory.put(&name, &text(&asked.body["secretValue"])))),
        _ => missing("Secret with name not found"),
    }
}

/// <https://open-api.netlify.com/>: one variable, with a value for each context.
pub fn netlify(memory: &mut Memory, asked: &Asked) -> Answer {
    if asked.path != memory.place {
        return missing("Not Found");
    }
    let name = memory.name.clone();
    if asked.method == "PATCH" {
        memory.put(&name, &text(&asked.body["value"]));
    }
    let shown = |_: &str, kept: &Kept| json!({ "id": kept.id, "context": "all", "value": kept.value });
    let status = if asked.method == "PATCH" { 201 } else { 200 };
    (status, json!({ "key": name, "scopes": ["builds"], "values": memory.all(shown) }))
}

/// <https://developer.1password.com/docs/connect/api-reference/>: the fields of one item, changed by JSON Patch.
pub fn onepassword(memory: &mut Memory, asked: &Asked) -> Answer {
    if asked.path != memory.place {
        return (404, json!({ "status": 404, "message": "item not found" }));
    }
    for change in asked.body.as_array().into_iter().flatten() {
        let path = text(&change["path"]);
        let field = path.strip_prefix("/fields/").and_then(|rest| rest.strip_suffix("/value"));
        match field.filter(|field| memory.kept.contains_key(*field)) {
            Some(field) => drop(memory.put(field, &text(&change["value"])).id.len()),
            None => return (400, json!({ "status": 400, "message": "the path is not there" })),
        }
    }
    let shown = |name: &str, kept: &Kept| json!({ "id": name, "type": "CONCEALED", "value": kept.value });
    (200, json!({ "id": "2fcbqwe9ndg175zg2dzwftvkpa", "fields": memory.all(shown) }))
}

/// <https://vercel.com/docs/rest-api/reference/endpoints/projects>: a sensitive variable shows when it was changed.
pub fn vercel(memory: &mut Memory, asked: &Asked) -> Answer {
    let gone = (404, json!({ "error": { "code": "not_found", "message": "Project not found" } }));
    let path = asked.path.strip_prefix("/v9").or_else(|| asked.path.strip_prefix("/v10"));
    let Some(below) = path.and_then(|path| path.strip_prefix(&memory.place)) else { return gone };
    let shown = |name: &str, kept: &Kept| json!({ "id": kept.id, "key": name, "type": "sensitive", "target": ["production"], "updatedAt": 1_700_000_000 + kept.times });
    match (asked.method.as_str(), below.strip_prefix('/')) {
        ("GET", None) if below.is_empty() => (200, json!({ "envs": memory.all(shown) })),
        ("POST", None) if below.is_empty() => {
            let name = text(&asked.body["key"]);
            if memory.kept.contains_key(&name) {
                return (403, json!({ "error": { "code": "ENV_CONFLICT", "message": "already exists" } }));
            }
            (201, json!({ "created": shown(&name, memory.put(&name, &text(&asked.body["value"]))) }))
        }
        ("PATCH", Some(id)) => match memory.named(id) {
            Some(name) => (200, shown(&name, memory.put(&name, &text(&asked.body["value"])))),
            None => gone,
        },
        _ => gone,
    }
}
