//! Providers that are services and whose ways definitions once had wrong, after their vendors' documents.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;

use super::minting::{Issued, Ledger, admin, bearer, last, provider};
use super::{Answer, Api, Asked};

/// Databricks: a token that is not accepted gets 403, with an id of the request in its message.
#[derive(Default)]
pub struct Databricks {
    pub ledger: Ledger,
}
provider!(
    Databricks,
    "databricks-pat",
    "params = { scopes = [\"sql\"], proof = \"/api/2.0/sql/warehouses\" }",
    "lifetime = \"30d\""
);

impl Api for Databricks {
    fn answer(&mut self, asked: &Asked) -> Answer {
        let subject = bearer(asked).is_some_and(|it| self.ledger.accepts(it));
        if !admin(asked) && !subject {
            return (403, json!({ "error_code": 403, "message": "Invalid access token. [ReqId: 7f3a]" }));
        }
        let id = asked.body["token_id"].as_str().unwrap_or_default();
        match last(&asked.path) {
            "create" => {
                let (id, secret) = self.ledger.issue(asked.body["comment"].as_str().unwrap());
                let about = json!({ "token_id": id, "creation_time": 1_767_225_600_000_u64, "expiry_time": 4_102_444_800_000_u64 });
                (200, json!({ "token_value": secret, "token_info": about }))
            }
            "delete" if self.ledger.end(id) => (200, json!({})),
            "delete" => (404, json!({ "error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no such token" })),
            "list" => {
                let entry = |it: &Issued| json!({ "token_id": it.id, "comment": it.name, "creation_time": 1_767_225_600_000_u64, "expiry_time": 4_102_444_800_000_u64 });
                (200, json!({ "token_infos": self.ledger.live().map(entry).collect::<Vec<_>>() }))
            }
            _ => (200, json!({ "warehouses": [] })),
        }
    }
}

/// Google Cloud: keys have no names, no request proves one, and reads may be behind.
#[derive(Default)]
pub struct GoogleCloud {
    pub ledger: Ledger,
    /// So many listings from now on are as old as the service account.
    pub stale: usize,
}
provider!(
    GoogleCloud,
    "gcp-service-account-key",
    "params = { project = \"example\", email = \"ci@example.iam.gserviceaccount.com\" }",
    "rotate-every = \"30d\""
);

impl Api for GoogleCloud {
    fn answer(&mut self, asked: &Asked) -> Answer {
        let path = "projects/example/serviceAccounts/ci@example.iam.gserviceaccount.com/keys";
        let entry = |it: &Issued| json!({ "name": format!("{path}/{}", it.id), "validAfterTime": "2026-01-01T00:00:00Z", "validBeforeTime": "9999-12-31T23:59:59Z" });
        match asked.method.as_str() {
            "POST" => {
                let (id, secret) = self.ledger.issue("");
                let mut key = entry(self.ledger.live().find(|it| it.id == id).unwrap());
                key["privateKeyData"] = json!(BASE64_STANDARD.encode(secret));
                (200, key)
            }
            "DELETE" if self.ledger.end(last(&asked.path)) => (200, json!({})),
            "DELETE" => (
                404,
                json!({ "error": { "code": 404, "status": "NOT_FOUND", "message": "Unknown service account key" } }),
            ),
            _ if self.stale > 0 => {
                self.stale -= 1;
                (200, json!({}))
            }
            _ => (200, json!({ "keys": self.ledger.live().map(entry).collect::<Vec<_>>() })),
        }
    }
}

/// Tailscale: a description has at most 50 characters, of letters, digits, hyphens and blanks; a listing shows ids, and a key
/// that was revoked stays there as an invalid one.
#[derive(Default)]
pub struct Tailscale {
    pub ledger: Ledger,
}
provider!(
    Tailscale,
    "tailscale-auth-key",
    "params = { tags = [\"tag:ci\"], reusable = false, preauthorized = false }",
    "lifetime = \"30d\""
);

impl Api for Tailscale {
    fn answer(&mut self, asked: &Asked) -> Answer {
        if asked.path == "/api/v2/oauth/token" {
            return (200, json!({ "access_token": Ledger::CREDENTIAL, "expires_in": 3600 }));
        }
        if !admin(asked) {
            return (401, json!({ "message": "API token invalid" }));
        }
        let id = last(&asked.path);
        match asked.method.as_str() {
            "POST" => {
                let name = asked.body["description"].as_str().unwrap();
                let fits = |letter: char| letter.is_ascii_alphanumeric() || "- ".contains(letter);
                if name.len() > 50 || !name.chars().all(fits) {
                    return (400, json!({ "message": "description must be at most 50 characters" }));
                }
                let (id, secret) = self.ledger.issue(name);
                (200, json!({ "id": id, "key": secret, "expires": "2100-01-01T00:00:00Z" }))
            }
            "DELETE" if self.ledger.end(id) => (200, json!({})),
            "GET" => match self.ledger.find(id) {
                Some(key) => (200, json!({ "id": id, "expires": "2100-01-01T00:00:00Z", "invalid": !key.live })),
                None => (404, json!({ "message": "not found" })),
            },
            _ => (404, json!({ "message": "not found" })),
        }
    }
}

/// Entra: whoever removes a password that is not there gets a 400, and so does, for a while, whoever removes a new one.
#[derive(Default)]
pub struct Entra {
    pub ledger: Ledger,
    /// The next removal comes after somebody else's.
    pub faster: bool,
}
provider!(
    Entra,
    "entra-app-password",
    "params = { tenant = \"example.com\", application = \"00000000-0000-0000-0000-000000000000\" }",
    "lifetime = \"30d\""
);

impl Api for Entra {
    fn answer(&mut self, asked: &Asked) -> Answer {
        let key = asked.body["keyId"].as_str().unwrap_or_default();
        match last(&asked.path) {
            "token" => (200, json!({ "access_token": Ledger::CREDENTIAL, "expires_in": 3599 })),
            _ if !admin(asked) => (401, json!({ "error": { "code": "InvalidAuthenticationToken", "message": "x" } })),
            "addPassword" => {
                let about = &asked.body["passwordCredential"];
                let (id, secret) = self.ledger.issue(about["displayName"].as_str().unwrap());
                (200, json!({ "keyId": id, "secretText": secret, "endDateTime": about["endDateTime"] }))
            }
            "removePassword" => {
                if std::mem::take(&mut self.faster) {
                    self.ledger.end(key);
                }
                let message = format!("No password credential found with keyId '{key}'.");
                let gone = json!({ "error": { "code": "Request_BadRequest", "message": message } });
                if self.ledger.end(key) { (204, json!(null)) } else { (400, gone) }
            }
            _ => {
                let entry = |it: &Issued| json!({ "keyId": it.id, "displayName": it.name, "endDateTime": "2100-01-01T00:00:00Z" });
                (200, json!({ "passwordCredentials": self.ledger.live().map(entry).collect::<Vec<_>>() }))
            }
        }
    }
}
