//! The key-value engine of Vault and `OpenBao`: answers as `OpenBao` 2.7.2 gave them.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{Answer, Api, Asked};

/// One engine: version 2 at `secret`, or version 1 at `kv`.
pub struct Vault {
    /// By path: versions, the newest last; `None` is one that was deleted.
    documents: BTreeMap<String, Vec<Option<Map<String, Value>>>>,
    version: u8,
    mount: &'static str,
    /// The path and the key of the slot.
    slot: (String, String),
    /// Tokens that it accepts; none: all.
    pub token: Option<String>,
}

impl Vault {
    /// With one document of another key.
    pub fn new(version: u8, path: &str, key: &str) -> Self {
        let other = json!({ "other": "kept", "number": 7 }).as_object().cloned();
        Self {
            documents: BTreeMap::from([(path.to_owned(), vec![other])]),
            version,
            mount: if version == 2 { "secret" } else { "kv" },
            slot: (path.to_owned(), key.to_owned()),
            token: None,
        }
    }

    /// The newest version of a document.
    pub fn document(&self, path: &str) -> Option<&Map<String, Value>> {
        self.documents.get(path)?.last()?.as_ref()
    }

    /// How many versions the document has.
    pub fn versions(&self, path: &str) -> usize {
        self.documents.get(path).map_or(0, Vec::len)
    }

    /// Somebody writes one key.
    pub fn edit(&mut self, key: &str, value: Value) {
        let mut document = self.document(&self.slot.0).cloned().unwrap_or_default();
        document.insert(key.to_owned(), value);
        self.documents.entry(self.slot.0.clone()).or_default().push(Some(document));
    }

    fn errors(status: u16, errors: &[&str]) -> Answer {
        (status, json!({ "errors": errors }))
    }

    fn second(&mut self, path: &str, asked: &Asked) -> Answer {
        let versions = self.documents.entry(path.to_owned()).or_default();
        let version = versions.len();
        match (asked.method.as_str(), versions.last()) {
            ("GET", None) => Self::errors(404, &[]),
            ("GET", Some(None)) => {
                (404, json!({ "data": { "data": null, "metadata": { "version": version, "deletion_time": "now" } } }))
            }
            ("GET", Some(Some(data))) => {
                (200, json!({ "data": { "data": data, "metadata": { "version": version, "destroyed": false } } }))
            }
            ("POST", _) => {
                let cas = &asked.body["options"]["cas"];
                if !cas.is_null() && cas.as_u64() != Some(version as u64) {
                    return Self::errors(400, &["check-and-set parameter did not match the current version"]);
                }
                versions.push(asked.body["data"].as_object().cloned());
                (200, json!({ "data": { "version": version + 1 } }))
            }
            _ => Self::errors(405, &["unsupported operation"]),
        }
    }

    fn first(&mut self, path: &str, asked: &Asked) -> Answer {
        let found = self.documents.get(path).and_then(|versions| versions.last().cloned().flatten());
        match (asked.method.as_str(), found) {
            ("GET", None) => Self::errors(404, &[]),
            ("GET", Some(data)) => (200, json!({ "data": data })),
            ("POST", _) => {
                self.documents.insert(path.to_owned(), vec![asked.body.as_object().cloned()]);
                (204, Value::Null)
            }
            _ => Self::errors(405, &["unsupported operation"]),
        }
    }
}

impl Api for Vault {
    fn answer(&mut self, asked: &Asked) -> Answer {
        if self.token.as_ref().is_some_and(|token| asked.headers.get("x-vault-token") != Some(token)) {
            return Self::errors(403, &["permission denied"]);
        }
        let mount = self.mount;
        let path = asked.path.strip_prefix("/v1/").unwrap_or_default();
        if let Some(inside) = path.strip_prefix("sys/internal/ui/mounts/") {
            return match inside.split_once('/') {
                Some((found, _)) if found == mount => {
                    (200, json!({ "data": { "type": "kv", "options": { "version": self.version.to_string() } } }))
                }
                _ => Self::errors(403, &["preflight capability check returned 403"]),
            };
        }
        let rest = path.strip_prefix(mount).and_then(|rest| rest.strip_prefix('/'));
        let Some(rest) = rest else {
            let error = format!("no handler for route \"{path}\". route entry not found.");
            return Self::errors(404, &[&error]);
        };
        if self.version == 1 {
            return self.first(rest, asked);
        }
        match rest.strip_prefix("data/") {
            Some(path) => self.second(path, asked),
            None => Self::errors(404, &["unsupported path"]),
        }
    }

    fn value(&self) -> Option<String> {
        Some(self.document(&self.slot.0)?.get(&self.slot.1)?.as_str()?.to_owned())
    }

    fn intrude(&mut self, value: &str) {
        let key = self.slot.1.clone();
        self.edit(&key, Value::from(value));
    }

    fn neighbours(&self) -> Option<String> {
        let mut document = self.document(&self.slot.0)?.clone();
        document.remove(&self.slot.1);
        Some(Value::Object(document).to_string())
    }

    fn race(&mut self) -> bool {
        self.edit("theirs", Value::from("written at the last moment"));
        true
    }

    fn soften(&mut self) -> bool {
        let path = self.slot.0.clone();
        self.version == 2 && self.documents.get_mut(&path).map(|versions| versions.push(None)).is_some()
    }

    fn misplace(&mut self) -> bool {
        // The engine was made anew with the other version, under the mount that the inventory names.
        self.version = if self.version == 2 { 1 } else { 2 };
        true
    }
}
