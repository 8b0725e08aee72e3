//! An HTTP endpoint as `config/stores/http.toml` describes it.

use serde_json::{Value, json};

use super::{Answer, Api, Asked};

/// One entry.
pub struct Own {
    path: String,
    /// Value and version.
    entry: Option<(String, u64)>,
    version: u64,
}

impl Own {
    pub fn new(path: &str) -> Self {
        Self { path: format!("/{path}"), entry: None, version: 0 }
    }

    fn set(&mut self, value: &str) {
        self.version += 1;
        self.entry = Some((value.to_owned(), self.version));
    }
}

impl Api for Own {
    fn answer(&mut self, asked: &Asked) -> Answer {
        if asked.path != self.path {
            return (404, json!({ "error": "no such place" }));
        }
        let version = self.entry.as_ref().map_or(Value::Null, |(_, version)| json!(version));
        match asked.method.as_str() {
            "GET" => match &self.entry {
                Some((value, version)) => (200, json!({ "value": value, "version": version })),
                None => (404, json!({ "error": "absent" })),
            },
            _ if asked.body["version"] != version => (409, json!({ "error": "another version" })),
            "PUT" => {
                self.set(asked.body["value"].as_str().unwrap_or_default());
                (204, Value::Null)
            }
            "DELETE" => {
                self.entry = None;
                (204, Value::Null)
            }
            _ => (405, json!({ "error": "method" })),
        }
    }

    fn value(&self) -> Option<String> {
        self.entry.as_ref().map(|(value, _)| value.clone())
    }

    fn intrude(&mut self, value: &str) {
        self.set(value);
    }

    fn misplace(&mut self) -> bool {
        "/renamed".clone_into(&mut self.path);
        true
    }
}
