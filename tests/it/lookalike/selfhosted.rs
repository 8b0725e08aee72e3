//! Providers that people run themselves and whose ways definitions once had wrong, after their vendors' sources.

use serde_json::{Value, json};

use super::minting::{Issued, Ledger, admin, basic, bearer, form, last, provider};
use super::{Answer, Api, Asked};

/// NetBox 4.5.0 to 4.6.0: `POST /api/users/tokens/` does not tell the secret, `…/provision/` does
/// (netbox/users/api/serializers_/tokens.py before "Closes #22081").
#[derive(Default)]
pub struct Netbox450 {
    pub ledger: Ledger,
}
provider!(Netbox450, "netbox-token", "params = { user_id = 7, write = false }", "lifetime = \"30d\"");

impl Api for Netbox450 {
    fn answer(&mut self, asked: &Asked) -> Answer {
        let subject =
            bearer(asked).and_then(|it| it.strip_prefix("nbt_key.")).is_some_and(|it| self.ledger.accepts(it));
        let provision = asked.path.ends_with("/provision/");
        if !(admin(asked) || subject || provision) {
            return (403, json!({ "detail": "Invalid v2 token" }));
        }
        match asked.method.as_str() {
            "POST" => {
                let id = self.ledger.make(asked.body["description"].as_str().unwrap());
                let token = provision.then(|| self.ledger.disclose(&id).unwrap());
                let id: u64 = id.parse().unwrap();
                (201, json!({ "id": id, "key": "key", "token": token, "expires": asked.body["expires"] }))
            }
            "DELETE" if self.ledger.end(last(&asked.path)) => (204, Value::Null),
            "DELETE" => (404, json!({ "detail": "No Token matches the given query." })),
            _ if asked.path.ends_with("/authentication-check/") => (200, json!({ "id": 7 })),
            _ => {
                let entry = |it: &Issued| json!({ "id": it.id.parse::<u64>().unwrap(), "description": it.name, "enabled": true, "expires": null, "created": "2026-01-01T00:00:00Z" });
                let results: Vec<_> = self.ledger.live().map(entry).collect();
                (200, json!({ "count": results.len(), "next": null, "results": results }))
            }
        }
    }
}

/// Harbor: a listing without `q` shows the robots of the system only (src/server/v2.0/handler/robot.go, `ListRobot`);
/// names come back decorated; `GET /v2/` wants a valid robot and nothing else (middleware/v2auth/auth.go).
#[derive(Default)]
pub struct Harbor {
    pub ledger: Ledger,
}
// The project is another one than that of the robots.
provider!(
    Harbor,
    "harbor-robot",
    "params = { project = 2 }",
    "lifetime = \"30d\"\nparams = { permissions = [{ kind = \"project\", namespace = \"library\", access = [{ resource = \"repository\", action = \"pull\" }] }] }"
);

impl Api for Harbor {
    fn answer(&mut self, asked: &Asked) -> Answer {
        if asked.path == "/v2/" {
            let robot = basic(asked).is_some_and(|(_, secret)| self.ledger.accepts(&secret));
            return if robot { (200, json!({})) } else { (401, json!({ "errors": [{ "code": "UNAUTHORIZED" }] })) };
        }
        if !admin(asked) {
            return (401, json!({ "errors": [{ "code": "UNAUTHORIZED", "message": "unauthorized" }] }));
        }
        let entry = |it: &Issued| json!({ "id": it.id.parse::<u64>().unwrap(), "name": it.name, "expires_at": 4_102_444_800_u64, "creation_time": "2026-01-01T00:00:00Z", "disable": false });
        match asked.method.as_str() {
            "POST" => {
                let name = format!("robot$library+{}", asked.body["name"].as_str().unwrap());
                let (id, secret) = self.ledger.issue(&name);
                let id: u64 = id.parse().unwrap();
                (201, json!({ "id": id, "name": name, "secret": secret, "expires_at": 4_102_444_800_u64 }))
            }
            "DELETE" if self.ledger.end(last(&asked.path)) => (200, json!({})),
            "DELETE" => (404, json!({ "errors": [{ "code": "NOT_FOUND", "message": "robot not found" }] })),
            _ if asked.query.get("q").is_some_and(|q| q == "Level=project,ProjectID=1") => {
                (200, self.ledger.live().map(entry).collect())
            }
            _ => (200, json!([])),
        }
    }
}

/// JFrog: what lives shorter than three hours is not listed, and shorter than six cannot be revoked
/// (`persistent-expiry-threshold`, `revocable-expiry-threshold`).
#[derive(Default)]
pub struct Jfrog {
    pub ledger: Ledger,
    /// The shortest life that was asked for, in seconds.
    pub shortest: Option<u64>,
}
provider!(
    Jfrog,
    "jfrog-access-token",
    "params = { scope = \"applied-permissions/groups:readers\" }",
    "lifetime = \"2h\"\nrotate-every = \"1h\""
);

impl Api for Jfrog {
    fn answer(&mut self, asked: &Asked) -> Answer {
        if !admin(asked) {
            return (401, json!({ "errors": [{ "code": "UNAUTHORIZED", "message": "Bad credentials" }] }));
        }
        let hours = self.shortest.unwrap_or_default() / 3600;
        match asked.method.as_str() {
            "POST" => {
                let life = asked.body["expires_in"].as_u64().unwrap();
                self.shortest = Some(self.shortest.map_or(life, |it| it.min(life)));
                let (id, secret) = self.ledger.issue(asked.body["description"].as_str().unwrap());
                (200, json!({ "token_id": id, "access_token": secret, "expires_in": life, "token_type": "Bearer" }))
            }
            "DELETE" if hours >= 6 && self.ledger.end(last(&asked.path)) => (200, json!({})),
            "DELETE" if hours >= 6 => (204, Value::Null),
            "DELETE" => (404, json!({ "errors": [{ "code": "NOT_FOUND", "message": "Token not found" }] })),
            _ => {
                let entry = |it: &Issued| json!({ "token_id": it.id, "description": it.name, "issued_at": 1_767_225_600, "expiry": 4_102_444_800_u64 });
                let tokens: Vec<_> = self.ledger.live().filter(|_| hours >= 3).map(entry).collect();
                (200, json!({ "tokens": tokens }))
            }
        }
    }
}

/// GitLab: whoever may not see the project gets a 404 that is none of the token's (`lib/api/resource_access_tokens.rb`).
#[derive(Default)]
pub struct GitlabDeploy {
    pub ledger: Ledger,
    /// The next revocation finds the project hidden, and so do all requests from then on.
    pub hides: bool,
    pub hidden: bool,
}
provider!(
    GitlabDeploy,
    "gitlab-deploy-token",
    "params = { place = \"group/project\", scopes = [\"read_registry\"] }",
    "lifetime = \"30d\""
);

impl Api for GitlabDeploy {
    fn answer(&mut self, asked: &Asked) -> Answer {
        self.hidden |= self.hides && asked.method == "DELETE";
        if self.hidden {
            return (404, json!({ "message": "404 Project Not Found" }));
        }
        let entry = |it: &Issued| json!({ "id": it.id.parse::<u64>().unwrap(), "name": it.name, "username": "gitlab+deploy-token-1", "expires_at": "2100-01-01T00:00:00.000Z", "revoked": false, "expired": false });
        match asked.method.as_str() {
            "POST" => {
                let (id, secret) = self.ledger.issue(asked.body["name"].as_str().unwrap());
                let mut token = entry(self.ledger.live().find(|it| it.id == id).unwrap());
                token["token"] = json!(secret);
                (201, token)
            }
            "DELETE" if self.ledger.end(last(&asked.path)) => (204, Value::Null),
            "DELETE" => (404, json!({ "message": "404 Not found" })),
            _ => (200, self.ledger.live().map(entry).collect()),
        }
    }
}

/// `DataHub`: without the privilege to manage all tokens, whoever lists has to filter by himself
/// (`ListAccessTokensResolver`).
#[derive(Default)]
pub struct Datahub {
    pub ledger: Ledger,
}
provider!(Datahub, "datahub-pat", "params = { actor = \"urn:li:corpuser:ci\" }", "lifetime = \"30d\"");

impl Api for Datahub {
    fn is_write(&self, asked: &Asked) -> bool {
        asked.body["query"].as_str().is_some_and(|query| query.starts_with("mutation"))
    }

    fn answer(&mut self, asked: &Asked) -> Answer {
        let (query, variables) = (asked.body["query"].as_str().unwrap_or_default(), &asked.body["variables"]);
        if !admin(asked) && !bearer(asked).is_some_and(|it| self.ledger.accepts(it)) {
            return (401, Value::Null);
        }
        let data = if query.contains("createAccessToken") {
            let (id, secret) = self.ledger.issue(variables["input"]["name"].as_str().unwrap());
            let about = json!({ "id": id, "expiresAt": 4_102_444_800_000_u64, "ownerUrn": "urn:li:corpuser:ci" });
            json!({ "createAccessToken": { "accessToken": secret, "metadata": about } })
        } else if query.contains("revokeAccessToken") {
            json!({ "revokeAccessToken": self.ledger.end(variables["id"].as_str().unwrap()) })
        } else if query.contains("listAccessTokens") {
            if !query.contains("ownerUrn") || variables["owner"] != "urn:li:corpuser:ci" {
                let error = json!({ "message": "Unauthorized", "extensions": { "code": 403, "type": "UNAUTHORIZED" } });
                return (200, json!({ "errors": [error], "data": null }));
            }
            let entry = |it: &Issued| json!({ "id": it.id, "name": it.name, "expiresAt": 4_102_444_800_000_u64 });
            let tokens: Vec<_> = self.ledger.live().map(entry).collect();
            json!({ "listAccessTokens": { "start": 0, "count": tokens.len(), "total": tokens.len(), "tokens": tokens } })
        } else {
            json!({ "__typename": "Query" })
        };
        (200, json!({ "data": data }))
    }
}

/// `SonarQube` 9.9: a token is a user name without a password; a bearer is not looked at, and whoever is nobody is told by
/// `valid` alone (`ValidateAction.java`).
#[derive(Default)]
pub struct Sonarqube99 {
    pub ledger: Ledger,
}
provider!(Sonarqube99, "sonarqube-token", "params = { type = \"GLOBAL_ANALYSIS_TOKEN\" }", "lifetime = \"30d\"");

impl Api for Sonarqube99 {
    fn answer(&mut self, asked: &Asked) -> Answer {
        let name = basic(asked).map(|(name, _)| name).unwrap_or_default();
        let valid = name == Ledger::CREDENTIAL || self.ledger.accepts(&name);
        if asked.path == "/api/authentication/validate" {
            return (200, json!({ "valid": valid }));
        }
        if name != Ledger::CREDENTIAL {
            return (401, Value::Null);
        }
        match last(&asked.path) {
            "generate" => {
                let (name, until) = (form(asked, "name"), form(asked, "expirationDate"));
                let (_, secret) = self.ledger.issue(&name);
                let until = format!("{until}T00:00:00+0000");
                (
                    200,
                    json!({ "login": "ci", "name": name, "token": secret, "createdAt": "2026-01-01T00:00:00+0000", "expirationDate": until }),
                )
            }
            "revoke" => {
                let name = form(asked, "name");
                let id = self.ledger.live().find(|it| it.name == name).map(|it| it.id.clone());
                id.map(|id| self.ledger.end(&id));
                (204, Value::Null)
            }
            _ => {
                let entry = |it: &Issued| json!({ "name": it.name, "createdAt": "2026-01-01T00:00:00+0000", "type": "GLOBAL_ANALYSIS_TOKEN", "isExpired": false });
                (200, json!({ "login": "ci", "userTokens": self.ledger.live().map(entry).collect::<Vec<_>>() }))
            }
        }
    }
}
