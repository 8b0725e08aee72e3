//! Stores of clusters: Kubernetes, Consul, etcd.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{Answer, Api, Asked};

fn encoded(text: &str) -> String {
    STANDARD.encode(text)
}

fn decoded(value: &Value) -> Option<String> {
    String::from_utf8(STANDARD.decode(value.as_str()?).ok()?).ok()
}

/// The Secrets of one namespace.
pub struct Kubernetes {
    namespace: String,
    name: String,
    key: String,
    secrets: BTreeMap<String, Value>,
    version: u64,
}

impl Kubernetes {
    pub fn new(namespace: &str, name: &str, key: &str) -> Self {
        let mut api = Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            key: key.to_owned(),
            secrets: BTreeMap::new(),
            version: 40,
        };
        api.put(json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name, "labels": { "app": "ingest" } },
            "type": "Opaque", "data": { "other": encoded("kept") },
        }));
        api
    }

    fn put(&mut self, mut secret: Value) -> Value {
        self.version += 1;
        secret["metadata"]["resourceVersion"] = Value::from(self.version.to_string());
        let name = secret["metadata"]["name"].as_str().unwrap().to_owned();
        self.secrets.insert(name, secret.clone());
        secret
    }

    fn set(&mut self, key: &str, value: &str) {
        let mut secret = self.secrets[&self.name].clone();
        secret["data"][key] = Value::from(encoded(value));
        self.put(secret);
    }

    fn status(code: u16, reason: &str, kind: &str) -> Answer {
        (
            code,
            json!({ "kind": "Status", "status": "Failure", "reason": reason, "message": reason, "details": { "kind": kind }, "code": code }),
        )
    }
}

impl Api for Kubernetes {
    fn answer(&mut self, asked: &Asked) -> Answer {
        let Some(inside) = asked.path.strip_prefix(&format!("/api/v1/namespaces/{}/secrets", self.namespace)) else {
            return match asked.method.as_str() {
                "POST" => Self::status(404, "NotFound", "namespaces"),
                _ => Self::status(404, "NotFound", "secrets"),
            };
        };
        let name = inside.trim_start_matches('/').to_owned();
        match (asked.method.as_str(), self.secrets.get(&name).cloned()) {
            ("GET", Some(secret)) => (200, secret),
            ("POST", _) => {
                if self.secrets.contains_key(asked.body["metadata"]["name"].as_str().unwrap()) {
                    return Self::status(409, "AlreadyExists", "secrets");
                }
                (201, self.put(asked.body.clone()))
            }
            ("PATCH", Some(mut secret)) => {
                assert_eq!(asked.headers["content-type"], "application/merge-patch+json");
                let wanted = &asked.body["metadata"]["resourceVersion"];
                if !wanted.is_null() && *wanted != secret["metadata"]["resourceVersion"] {
                    return Self::status(409, "Conflict", "secrets");
                }
                for (key, value) in asked.body["data"].as_object().unwrap() {
                    secret["data"][key] = value.clone();
                }
                (200, self.put(secret))
            }
            _ => Self::status(404, "NotFound", "secrets"),
        }
    }

    fn value(&self) -> Option<String> {
        decoded(&self.secrets.get(&self.name)?["data"][&self.key])
    }

    fn intrude(&mut self, value: &str) {
        let key = self.key.clone();
        self.set(&key, value);
    }

    fn neighbours(&self) -> Option<String> {
        let mut secret = self.secrets.get(&self.name)?.clone();
        secret["data"].as_object_mut()?.remove(&self.key);
        secret["metadata"].as_object_mut()?.remove("resourceVersion");
        Some(secret.to_string())
    }

    fn race(&mut self) -> bool {
        self.set("theirs", "written at the last moment");
        true
    }

    fn misplace(&mut self) -> bool {
        let mut secret = self.secrets[&self.name].clone();
        secret["immutable"] = Value::from(true);
        self.put(secret);
        true
    }
}

/// Keys with a counter of all writes.
pub struct Consul {
    key: String,
    keys: BTreeMap<String, (String, u64)>,
    index: u64,
}

impl Consul {
    pub fn new(key: &str) -> Self {
        Self { key: key.to_owned(), keys: BTreeMap::new(), index: 10 }
    }

    fn set(&mut self, key: &str, value: &str) {
        self.index += 1;
        self.keys.insert(key.to_owned(), (value.to_owned(), self.index));
    }
}

impl Api for Consul {
    fn answer(&mut self, asked: &Asked) -> Answer {
        let Some(key) = asked.path.strip_prefix("/v1/kv/").map(str::to_owned) else { return (404, Value::Null) };
        match (asked.method.as_str(), self.keys.get(&key)) {
            ("GET", None) => (404, Value::Null),
            ("GET", Some((value, index))) => {
                (200, json!([{ "Key": key, "Value": encoded(value), "ModifyIndex": index, "Flags": 0 }]))
            }
            ("PUT", found) => {
                let now = found.map_or(0, |(_, index)| *index);
                if asked.query.get("cas").is_some_and(|cas| *cas != now.to_string()) {
                    return (200, Value::from(false));
                }
                self.set(&key, &asked.text);
                (200, Value::from(true))
            }
            _ => (405, Value::Null),
        }
    }

    fn value(&self) -> Option<String> {
        self.keys.get(&self.key).map(|(value, _)| value.clone())
    }

    fn intrude(&mut self, value: &str) {
        let key = self.key.clone();
        self.set(&key, value);
    }

    fn misplace(&mut self) -> bool {
        false
    }
}

/// Keys with a revision, through the gateway that speaks JSON.
pub struct Etcd {
    key: String,
    keys: BTreeMap<String, (String, u64)>,
    revision: u64,
    lost: bool,
}

impl Etcd {
    pub fn new(key: &str) -> Self {
        Self { key: key.to_owned(), keys: BTreeMap::new(), revision: 1, lost: false }
    }

    fn set(&mut self, key: &str, value: &str) {
        self.revision += 1;
        self.keys.insert(key.to_owned(), (value.to_owned(), self.revision));
    }
}

impl Api for Etcd {
    fn is_write(&self, asked: &Asked) -> bool {
        asked.path.ends_with("/txn")
    }

    fn answer(&mut self, asked: &Asked) -> Answer {
        let header = |revision: u64| json!({ "revision": revision.to_string() });
        if self.lost {
            return (200, json!({ "hello": "another service" }));
        }
        match asked.path.as_str() {
            "/v3/auth/authenticate" => (200, json!({ "header": header(self.revision), "token": "session.1" })),
            "/v3/kv/range" => {
                let key = decoded(&asked.body["key"]).unwrap();
                match self.keys.get(&key) {
                    None => (200, json!({ "header": header(self.revision) })),
                    Some((value, revision)) => (
                        200,
                        json!({ "header": header(self.revision), "count": "1", "kvs": [{
                            "key": asked.body["key"], "value": encoded(value), "mod_revision": revision.to_string(),
                        }] }),
                    ),
                }
            }
            "/v3/kv/txn" => {
                let compare = &asked.body["compare"][0];
                let key = decoded(&compare["key"]).unwrap();
                let now = self.keys.get(&key).map_or(0, |(_, revision)| *revision).to_string();
                if compare["mod_revision"] != now.as_str() {
                    return (200, json!({ "header": header(self.revision) }));
                }
                let put = &asked.body["success"][0]["requestPut"];
                let (key, value) = (decoded(&put["key"]).unwrap(), decoded(&put["value"]).unwrap());
                self.set(&key, &value);
                (200, json!({ "header": header(self.revision), "succeeded": true }))
            }
            _ => (404, json!({ "error": "Not Found", "code": 5 })),
        }
    }

    fn value(&self) -> Option<String> {
        self.keys.get(&self.key).map(|(value, _)| value.clone())
    }

    fn intrude(&mut self, value: &str) {
        let key = self.key.clone();
        self.set(&key, value);
    }

    fn misplace(&mut self) -> bool {
        self.lost = true;
        true
    }
}
