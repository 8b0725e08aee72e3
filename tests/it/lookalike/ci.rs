//! Variables and secrets of CI systems.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crypto_box::SecretKey;
use crypto_box::aead::OsRng;
use serde_json::{Value, json};

use super::{Answer, Api, Asked};

/// GitLab: the variables of one project.
pub struct Gitlab {
    project: String,
    key: String,
    /// By key and scope; `None` is one that nobody sees again.
    variables: BTreeMap<(String, String), Value>,
}

impl Gitlab {
    pub fn new(project: &str, key: &str) -> Self {
        Self { project: project.to_owned(), key: key.to_owned(), variables: BTreeMap::new() }
    }

    /// Somebody makes a variable of his own.
    pub fn put(&mut self, key: &str, scope: &str, value: &str) {
        let variable = json!({ "key": key, "environment_scope": scope, "value": value });
        self.variables.insert((key.to_owned(), scope.to_owned()), variable);
    }

    /// The value of one variable.
    pub fn secret(&self, key: &str, scope: &str) -> Option<String> {
        Some(self.variables.get(&(key.to_owned(), scope.to_owned()))?["value"].as_str()?.to_owned())
    }

    /// Every value that shows, by the name of its variable.
    pub fn values(&self) -> BTreeMap<String, String> {
        let shown = |(slot, variable): (&(String, String), &Value)| {
            Some((slot.0.clone(), variable["value"].as_str()?.to_owned()))
        };
        self.variables.iter().filter_map(shown).collect()
    }

    fn slot(&self) -> (String, String) {
        (self.key.clone(), "*".to_owned())
    }
}

impl Api for Gitlab {
    fn answer(&mut self, asked: &Asked) -> Answer {
        let inside = asked.path.strip_prefix(&format!("/api/v4/projects/{}", self.project));
        let Some(inside) = inside else { return (404, json!({ "message": "404 Project Not Found" })) };
        let mut variable = asked.body.clone();
        let scope = asked.query.get("filter[environment_scope]").cloned().unwrap_or_else(|| "*".to_owned());
        let named = inside.strip_prefix("/variables/").map(|key| (key.to_owned(), scope));
        match (asked.method.as_str(), named) {
            ("GET", None) if inside.is_empty() => (200, json!({ "id": 7, "path_with_namespace": self.project })),
            ("GET", None) if inside == "/variables" => (200, self.variables.values().cloned().collect()),
            ("GET", Some(slot)) => match self.variables.get(&slot) {
                Some(found) => (200, found.clone()),
                None => (404, json!({ "message": "404 Variable Not Found" })),
            },
            ("POST", None) => {
                let text = |name: &str| variable[name].as_str().unwrap_or_default().to_owned();
                let slot = (text("key"), text("environment_scope"));
                if self.variables.contains_key(&slot) {
                    let message = format!("({}) has already been taken", slot.0);
                    return (400, json!({ "message": { "key": [message] } }));
                }
                self.variables.insert(slot, variable.clone());
                (201, variable)
            }
            ("DELETE", Some(slot)) => match self.variables.remove(&slot) {
                Some(_) => (204, Value::Null),
                None => (404, json!({ "message": "404 Variable Not Found" })),
            },
            ("PUT", Some(slot)) => match self.variables.get_mut(&slot) {
                Some(found) => {
                    let changes = variable.as_object_mut().unwrap();
                    found.as_object_mut().unwrap().append(changes);
                    (200, found.clone())
                }
                None => (404, json!({ "message": "404 Variable Not Found" })),
            },
            _ => (405, json!({ "error": "405 Not Allowed" })),
        }
    }

    fn value(&self) -> Option<String> {
        self.secret(&self.key, "*")
    }

    fn intrude(&mut self, value: &str) {
        let (slot, key) = (self.slot(), self.key.clone());
        let variable = self.variables.entry(slot).or_insert_with(|| json!({ "key": key }));
        variable["value"] = Value::from(value);
    }

    fn misplace(&mut self) -> bool {
        "group/renamed".clone_into(&mut self.project);
        true
    }
}

/// GitHub: the secrets of one repository, environment or organization, which it opens with a key of its own.
pub struct Github {
    /// The path below which they are.
    place: String,
    name: String,
    key: SecretKey,
    /// Value, and how often it was written.
    secrets: BTreeMap<String, (String, u32)>,
    /// What is no secret.
    pub variables: BTreeMap<String, String>,
    writes: u32,
}

impl Github {
    pub fn new(repository: &str, name: &str) -> Self {
        Self::at(&format!("/repos/{repository}/actions"), name)
    }

    /// Those below a path.
    pub fn at(place: &str, name: &str) -> Self {
        let key = SecretKey::generate(&mut OsRng);
        let (secrets, variables) = (BTreeMap::new(), BTreeMap::new());
        Self { place: place.to_owned(), name: name.to_owned(), key, secrets, variables, writes: 0 }
    }

    /// Somebody makes a secret of his own.
    pub fn put(&mut self, name: &str, value: &str) {
        self.set(name, value);
    }

    /// Every secret, opened.
    pub fn values(&self) -> BTreeMap<String, String> {
        self.secrets.iter().map(|(name, (value, _))| (name.clone(), value.clone())).collect()
    }

    /// Variables: <https://docs.github.com/en/rest/actions/variables>.
    fn variable(&mut self, name: &str, asked: &Asked) -> Answer {
        let value = asked.body["value"].as_str().unwrap_or_default().to_owned();
        let shown = |(name, value): (&String, &String)| json!({ "name": name, "value": value });
        match (asked.method.as_str(), self.variables.contains_key(name)) {
            ("GET", _) if name.is_empty() => {
                let all: Vec<_> = self.variables.iter().map(shown).collect();
                (200, json!({ "total_count": all.len(), "variables": all }))
            }
            ("GET", true) => (200, json!({ "name": name, "value": self.variables[name] })),
            ("POST", _) => {
                let name = asked.body["name"].as_str().unwrap_or_default().to_owned();
                if self.variables.contains_key(&name) {
                    return (409, json!({ "message": "Already exists - Variable already exists" }));
                }
                self.variables.insert(name, value);
                (201, json!({}))
            }
            ("PATCH", true) => {
                self.variables.insert(name.to_owned(), value);
                (204, Value::Null)
            }
            _ => (404, json!({ "message": "Not Found" })),
        }
    }

    fn set(&mut self, name: &str, value: &str) {
        self.writes += 1;
        self.secrets.insert(name.to_owned(), (value.to_owned(), self.writes));
    }
}

impl Api for Github {
    fn answer(&mut self, asked: &Asked) -> Answer {
        let below = asked.path.strip_prefix(&format!("{}/variables", self.place));
        if let Some(name) = below.map(|name| name.trim_start_matches('/').to_owned()) {
            return self.variable(&name, asked);
        }
        let inside = asked.path.strip_prefix(&format!("{}/secrets", self.place));
        let inside = inside.map(|inside| inside.strip_prefix('/').unwrap_or(inside));
        let shown = |name: &str, times: u32| json!({ "name": name, "created_at": "2026-01-01T00:00:00Z", "updated_at": format!("2026-01-01T00:00:{times:02}Z") });
        let missing = (404, json!({ "message": "Not Found" }));
        match (asked.method.as_str(), inside) {
            ("GET", Some("public-key")) => (
                200,
                json!({ "key_id": "568250167242549743", "key": STANDARD.encode(self.key.public_key().as_bytes()) }),
            ),
            ("GET", Some("")) => {
                let all: Vec<_> = self.secrets.iter().map(|(name, (_, times))| shown(name, *times)).collect();
                (200, json!({ "total_count": all.len(), "secrets": all }))
            }
            ("GET", Some(name)) => self.secrets.get(name).map_or(missing, |(_, times)| (200, shown(name, *times))),
            ("DELETE", Some(name)) => match self.secrets.remove(name) {
                Some(_) => (204, Value::Null),
                None => missing,
            },
            ("PUT", Some(name)) => {
                if asked.body["key_id"] != "568250167242549743" {
                    return (422, json!({ "message": "key_id" }));
                }
                let sealed =
                    STANDARD.decode(asked.body["encrypted_value"].as_str().unwrap_or_default()).unwrap_or_default();
                let Ok(value) = self.key.unseal(&sealed) else { return (422, json!({ "message": "Bad request" })) };
                let known = self.secrets.contains_key(name);
                self.set(name, &String::from_utf8(value).unwrap());
                (if known { 204 } else { 201 }, Value::Null)
            }
            _ => missing,
        }
    }

    fn value(&self) -> Option<String> {
        self.secrets.get(&self.name).map(|(value, _)| value.clone())
    }

    fn intrude(&mut self, value: &str) {
        let name = self.name.clone();
        self.set(&name, value);
    }

    fn misplace(&mut self) -> bool {
        "/repos/example/renamed/actions".clone_into(&mut self.place);
        true
    }
}

/// Gitea: the secrets of one repository, of which it shows nothing.
pub struct Gitea {
    repository: String,
    name: String,
    secrets: BTreeMap<String, String>,
}

impl Gitea {
    pub fn new(repository: &str, name: &str) -> Self {
        Self { repository: repository.to_owned(), name: name.to_owned(), secrets: BTreeMap::new() }
    }
}

impl Api for Gitea {
    fn answer(&mut self, asked: &Asked) -> Answer {
        let Some(inside) = asked.path.strip_prefix(&format!("/api/v1/repos/{}", self.repository)) else {
            return (404, json!({ "message": "The target couldn't be found." }));
        };
        match (asked.method.as_str(), inside.strip_prefix("/actions/secrets/")) {
            ("GET", None) => (200, json!({ "id": 1, "full_name": self.repository })),
            ("PUT", Some(name)) => {
                let value = asked.body["data"].as_str().unwrap_or_default().to_owned();
                let known = self.secrets.insert(name.to_owned(), value).is_some();
                (if known { 204 } else { 201 }, Value::Null)
            }
            _ => (404, json!({ "message": "The target couldn't be found." })),
        }
    }

    fn value(&self) -> Option<String> {
        self.secrets.get(&self.name).cloned()
    }

    fn intrude(&mut self, value: &str) {
        self.secrets.insert(self.name.clone(), value.to_owned());
    }

    fn misplace(&mut self) -> bool {
        "example/renamed".clone_into(&mut self.repository);
        true
    }
}

/// Doppler: the secrets of one config.
pub struct Doppler {
    config: String,
    name: String,
    secrets: BTreeMap<String, String>,
}

impl Doppler {
    pub fn new(config: &str, name: &str) -> Self {
        let secrets = BTreeMap::from([("OTHER".to_owned(), "kept".to_owned())]);
        Self { config: config.to_owned(), name: name.to_owned(), secrets }
    }
}

impl Api for Doppler {
    fn answer(&mut self, asked: &Asked) -> Answer {
        let config = asked.query.get("config").map_or_else(|| asked.body["config"].as_str(), |it| Some(it.as_str()));
        if config != Some(&self.config) {
            return (404, json!({ "success": false, "messages": ["Could not find requested config"] }));
        }
        let shown = |secrets: &BTreeMap<String, String>| {
            let entry = |(name, value): (&String, &String)| (name.clone(), json!({ "raw": value, "computed": value }));
            json!({ "secrets": secrets.iter().map(entry).collect::<serde_json::Map<_, _>>(), "success": true })
        };
        match (asked.method.as_str(), asked.path.as_str()) {
            ("GET", "/v3/configs/config") => (200, json!({ "config": { "name": self.config } })),
            ("GET", "/v3/configs/config/secrets") => (200, shown(&self.secrets)),
            ("POST", "/v3/configs/config/secrets") => {
                for (name, value) in asked.body["secrets"].as_object().into_iter().flatten() {
                    self.secrets.insert(name.clone(), value.as_str().unwrap_or_default().to_owned());
                }
                (200, shown(&self.secrets))
            }
            _ => (404, json!({ "messages": ["not found"] })),
        }
    }

    fn value(&self) -> Option<String> {
        self.secrets.get(&self.name).cloned()
    }

    fn intrude(&mut self, value: &str) {
        self.secrets.insert(self.name.clone(), value.to_owned());
    }

    fn neighbours(&self) -> Option<String> {
        let others = self.secrets.iter().filter(|(name, _)| **name != self.name);
        Some(format!("{:?}", others.collect::<Vec<_>>()))
    }

    fn race(&mut self) -> bool {
        self.secrets.insert("THEIRS".to_owned(), "written at the last moment".to_owned());
        true
    }

    fn misplace(&mut self) -> bool {
        "renamed".clone_into(&mut self.config);
        true
    }
}
