//! Secret managers of clouds. Requests to AWS have to be signed; what is signed is tested against moto.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{Answer, Api, Asked};

/// AWS Secrets Manager.
pub struct SecretsManager {
    secret: String,
    key: String,
    /// Text, the token of its write, and whether it is scheduled for deletion.
    secrets: BTreeMap<String, (String, String, bool)>,
    count: u32,
}

impl SecretsManager {
    pub fn new(secret: &str, key: &str) -> Self {
        let text = json!({ "username": "kept" }).to_string();
        let secrets = BTreeMap::from([(secret.to_owned(), (text, "first".to_owned(), false))]);
        Self { secret: secret.to_owned(), key: key.to_owned(), secrets, count: 0 }
    }

    fn table(&self) -> Value {
        self.secrets.get(&self.secret).map(|(text, ..)| serde_json::from_str(text).unwrap()).unwrap_or(json!({}))
    }

    fn set(&mut self, key: &str, value: &str) {
        let mut table = self.table();
        table[key] = Value::from(value);
        self.count += 1;
        let version = format!("theirs-{}", self.count);
        self.secrets.insert(self.secret.clone(), (table.to_string(), version, false));
    }
}

fn refused(kind: &str) -> Answer {
    (400, json!({ "__type": kind, "Message": kind }))
}

fn text(asked: &Asked, name: &str) -> String {
    asked.body[name].as_str().unwrap_or_default().to_owned()
}

fn is_signed(asked: &Asked) -> bool {
    let header = |name: &str| asked.headers.get(name).cloned().unwrap_or_default();
    header("authorization").starts_with("AWS4-HMAC-SHA256") && header("authorization").contains("x-amz-target")
}

impl Api for SecretsManager {
    fn is_write(&self, asked: &Asked) -> bool {
        !asked.headers.get("x-amz-target").is_some_and(|target| target.contains("Get"))
    }

    fn answer(&mut self, asked: &Asked) -> Answer {
        if !is_signed(asked) {
            return refused("InvalidSignatureException");
        }
        let (target, token) = (asked.headers["x-amz-target"].clone(), text(asked, "ClientRequestToken"));
        match target.as_str() {
            "secretsmanager.GetSecretValue" => match self.secrets.get(&text(asked, "SecretId")) {
                None => refused("ResourceNotFoundException"),
                Some((_, _, true)) => refused("InvalidRequestException"),
                Some((found, version, false)) => (200, json!({ "SecretString": found, "VersionId": version })),
            },
            "secretsmanager.CreateSecret" | "secretsmanager.PutSecretValue" => {
                assert!((32..=64).contains(&token.len()), "{token}");
                let makes = target.ends_with("CreateSecret");
                let name = text(asked, if makes { "Name" } else { "SecretId" });
                match self.secrets.get(&name) {
                    Some((_, _, true)) => return refused("InvalidRequestException"),
                    Some(_) if makes => return refused("ResourceExistsException"),
                    None if !makes => return refused("ResourceNotFoundException"),
                    Some((found, version, _)) if *version == token && *found != text(asked, "SecretString") => {
                        return refused("ResourceExistsException");
                    }
                    _ => {}
                }
                self.secrets.insert(name, (text(asked, "SecretString"), token.clone(), false));
                (200, json!({ "VersionId": token }))
            }
            _ => refused("UnknownOperationException"),
        }
    }

    fn value(&self) -> Option<String> {
        Some(self.table()[&self.key].as_str()?.to_owned())
    }

    fn intrude(&mut self, value: &str) {
        let key = self.key.clone();
        self.set(&key, value);
    }

    fn neighbours(&self) -> Option<String> {
        let mut table = self.table();
        table.as_object_mut()?.remove(&self.key);
        Some(table.to_string())
    }

    fn race(&mut self) -> bool {
        self.set("theirs", "written at the last moment");
        true
    }

    fn soften(&mut self) -> bool {
        self.secrets.get_mut(&self.secret).map(|(_, _, gone)| *gone = true).is_some()
    }

    fn misplace(&mut self) -> bool {
        false
    }
}

/// The Parameter Store of AWS.
pub struct Ssm {
    name: String,
    parameters: BTreeMap<String, (String, u64)>,
}

impl Ssm {
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), parameters: BTreeMap::new() }
    }

    fn set(&mut self, name: &str, value: &str) -> u64 {
        let version = self.parameters.get(name).map_or(1, |(_, version)| version + 1);
        self.parameters.insert(name.to_owned(), (value.to_owned(), version));
        version
    }
}

impl Api for Ssm {
    fn is_write(&self, asked: &Asked) -> bool {
        asked.headers.get("x-amz-target").is_some_and(|target| target.ends_with("PutParameter"))
    }

    fn answer(&mut self, asked: &Asked) -> Answer {
        if !is_signed(asked) {
            return refused("InvalidSignatureException");
        }
        let name = text(asked, "Name");
        match asked.headers["x-amz-target"].as_str() {
            "AmazonSSM.GetParameter" => match self.parameters.get(&name) {
                None => refused("ParameterNotFound"),
                Some((value, version)) => (200, json!({ "Parameter": { "Value": value, "Version": version } })),
            },
            "AmazonSSM.PutParameter" => {
                if asked.body["Overwrite"] == false && self.parameters.contains_key(&name) {
                    return refused("ParameterAlreadyExists");
                }
                (200, json!({ "Version": self.set(&name, &text(asked, "Value")), "Tier": "Standard" }))
            }
            _ => refused("UnknownOperationException"),
        }
    }

    fn value(&self) -> Option<String> {
        self.parameters.get(&self.name).map(|(value, _)| value.clone())
    }

    fn intrude(&mut self, value: &str) {
        let name = self.name.clone();
        self.set(&name, value);
    }

    fn misplace(&mut self) -> bool {
        false
    }
}

/// Secret Manager of Google Cloud: one secret with its versions.
pub struct Gcp {
    secret: String,
    versions: Vec<String>,
}

impl Gcp {
    pub fn new(secret: &str) -> Self {
        Self { secret: secret.to_owned(), versions: Vec::new() }
    }
}

impl Api for Gcp {
    fn answer(&mut self, asked: &Asked) -> Answer {
        let place = format!("/v1/projects/example/secrets/{}", self.secret);
        let missing = (404, json!({ "error": { "code": 404, "message": "not found", "status": "NOT_FOUND" } }));
        let Some(inside) = asked.path.strip_prefix(&place) else { return missing };
        let name = |number: usize| format!("projects/1/secrets/{}/versions/{number}", self.secret);
        match (asked.method.as_str(), inside) {
            ("GET", "") => (200, json!({ "name": place })),
            ("GET", "/versions/latest:access") => match self.versions.last() {
                None => missing,
                Some(value) => {
                    (200, json!({ "name": name(self.versions.len()), "payload": { "data": STANDARD.encode(value) } }))
                }
            },
            ("POST", ":addVersion") => {
                let data = STANDARD.decode(asked.body["payload"]["data"].as_str().unwrap()).unwrap();
                self.versions.push(String::from_utf8(data).unwrap());
                let name = format!("projects/1/secrets/{}/versions/{}", self.secret, self.versions.len());
                (200, json!({ "name": name, "state": "ENABLED" }))
            }
            _ => missing,
        }
    }

    fn value(&self) -> Option<String> {
        self.versions.last().cloned()
    }

    fn intrude(&mut self, value: &str) {
        self.versions.push(value.to_owned());
    }

    fn misplace(&mut self) -> bool {
        "renamed".clone_into(&mut self.secret);
        true
    }
}

/// Key Vault of Azure, and what hands out sessions.
pub struct KeyVault {
    name: String,
    /// Value and tags, the newest last.
    versions: Vec<Value>,
    deleted: bool,
}

impl KeyVault {
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), versions: Vec::new(), deleted: false }
    }

    fn set(&mut self, mut secret: Value) -> Value {
        let number = self.versions.len() + 1;
        secret["id"] = Value::from(format!("https://example.vault.azure.net/secrets/{}/{number:032}", self.name));
        self.versions.push(secret.clone());
        secret
    }
}

impl Api for KeyVault {
    fn is_write(&self, asked: &Asked) -> bool {
        asked.method == "PUT"
    }

    fn answer(&mut self, asked: &Asked) -> Answer {
        let place = format!("/secrets/{}", self.name);
        if asked.path.ends_with("/oauth2/v2.0/token") {
            return (200, json!({ "access_token": "session", "expires_in": 3600 }));
        }
        if asked.headers.get("authorization").is_none_or(|it| it != "Bearer session") {
            return (401, json!({ "error": { "code": "Unauthorized", "message": "no session" } }));
        }
        let gone = json!({ "error": { "code": "SecretNotFound", "message": "not found" } });
        match (asked.method.as_str(), asked.path == place) {
            ("GET", true) => match self.versions.last().filter(|_| !self.deleted) {
                Some(secret) => (200, secret.clone()),
                None => (404, gone),
            },
            ("PUT", true) if self.deleted => {
                let inner = json!({ "code": "ObjectIsDeletedButRecoverable" });
                (409, json!({ "error": { "code": "Conflict", "message": "deleted", "innererror": inner } }))
            }
            ("PUT", true) => (200, self.set(asked.body.clone())),
            _ => (404, gone),
        }
    }

    fn value(&self) -> Option<String> {
        Some(self.versions.last()?["value"].as_str()?.to_owned())
    }

    fn intrude(&mut self, value: &str) {
        self.set(json!({ "value": value, "tags": { "team": "kept" } }));
    }

    fn neighbours(&self) -> Option<String> {
        Some(self.versions.last()?["tags"].to_string())
    }

    fn soften(&mut self) -> bool {
        self.deleted = true;
        true
    }

    fn misplace(&mut self) -> bool {
        false
    }
}
