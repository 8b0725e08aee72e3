//! Providers with a request that proves a new token, of which definitions once said that there is none; after their
//! vendors' sources and documents.

use serde_json::{Value, json};

use super::minting::{Issued, Ledger, admin, bearer, last, provider};
use super::{Answer, Api, Asked};

/// Grafana: `GET /api/login/ping` asks for a login and for no permission (pkg/api, `LoginAPIPing`).
#[derive(Default)]
pub struct Grafana {
    pub ledger: Ledger,
}
provider!(Grafana, "grafana-service-account-token", "params = { service_account = 12 }", "lifetime = \"30d\"");

impl Api for Grafana {
    fn answer(&mut self, asked: &Asked) -> Answer {
        let subject = bearer(asked).is_some_and(|it| self.ledger.accepts(it));
        if !admin(asked) && !subject {
            return (401, json!({ "message": "Invalid API key" }));
        }
        if asked.path == "/api/login/ping" {
            return (200, json!({ "message": "Logged in" }));
        }
        if !admin(asked) {
            return (403, json!({ "message": "You'll need additional permissions to perform this action." }));
        }
        let entry = |it: &Issued| json!({ "id": it.id.parse::<u64>().unwrap(), "name": it.name, "created": "2026-01-01T00:00:00Z", "lastUsedAt": null, "expiration": "2100-01-01T00:00:00Z", "secondsUntilExpiration": 9e8, "hasExpired": false, "isRevoked": false });
        match asked.method.as_str() {
            "POST" => {
                let (id, secret) = self.ledger.issue(asked.body["name"].as_str().unwrap());
                (200, json!({ "id": id.parse::<u64>().unwrap(), "name": asked.body["name"], "key": secret }))
            }
            "DELETE" if self.ledger.end(last(&asked.path)) => {
                (200, json!({ "message": "Service account token deleted" }))
            }
            "DELETE" => (404, json!({ "message": "service account token not found" })),
            _ => (200, self.ledger.live().map(entry).collect()),
        }
    }
}

/// Nautobot: whoever is accepted may read the own configuration; a token that is not is told so by words alone, with the
/// status of what is forbidden (nautobot/users/api/views.py, `UserConfigViewSet`; seen on 3.2.7).
#[derive(Default)]
pub struct Nautobot {
    pub ledger: Ledger,
}
provider!(Nautobot, "nautobot-token", "params = { write = false }", "lifetime = \"30d\"");

impl Api for Nautobot {
    fn answer(&mut self, asked: &Asked) -> Answer {
        let token = asked.headers.get("authorization").and_then(|it| it.strip_prefix("Token ")).unwrap_or_default();
        let own = token == Ledger::CREDENTIAL;
        if !own && !self.ledger.accepts(token) {
            return (403, json!({ "detail": "Invalid token" }));
        }
        if asked.path == "/api/users/config/" {
            return (200, json!({}));
        }
        if !own {
            return (403, json!({ "detail": "You do not have permission to perform this action." }));
        }
        let entry = |it: &Issued| json!({ "id": it.id, "description": it.name, "expires": "2100-01-01T00:00:00Z", "write_enabled": false });
        match asked.method.as_str() {
            "POST" => {
                let (id, secret) = self.ledger.issue(asked.body["description"].as_str().unwrap());
                (201, json!({ "id": id, "key": secret, "expires": asked.body["expires"] }))
            }
            "DELETE" if self.ledger.end(last(&asked.path)) => (204, Value::Null),
            "DELETE" => (404, json!({ "detail": "No Token matches the given query." })),
            _ => {
                let results: Vec<_> = self.ledger.live().map(entry).collect();
                (200, json!({ "count": results.len(), "next": null, "results": results }))
            }
        }
    }
}

/// HCP Terraform: `account/details` answers tokens of users and of teams; what is forbidden and what is gone get the same
/// 404 (account and team token pages of the API). `faster`: somebody else is, and the next revocation finds nothing.
fn terraform(ledger: &mut Ledger, faster: &mut bool, asked: &Asked) -> Answer {
    let subject = bearer(asked).is_some_and(|it| ledger.accepts(it));
    if !admin(asked) && !subject {
        return (401, json!({ "errors": [{ "status": "401", "title": "unauthorized" }] }));
    }
    if asked.path == "/api/v2/account/details" {
        return (200, json!({ "data": { "id": "user-V3R563qtJNcExAkN", "type": "users" } }));
    }
    let missing = json!({ "errors": [{ "status": "404", "title": "not found" }] });
    if !admin(asked) {
        return (404, missing);
    }
    let entry = |it: &Issued| json!({ "id": it.id, "type": "authentication-tokens", "attributes": { "created-at": "2026-01-01T00:00:00.000Z", "description": it.name, "expired-at": "2100-01-01T00:00:00.000Z", "token": null } });
    match asked.method.as_str() {
        "POST" => {
            let name = asked.body["data"]["attributes"]["description"].as_str().unwrap();
            let (id, secret) = ledger.issue(name);
            let mut token = entry(ledger.find(&id).unwrap());
            token["attributes"]["token"] = json!(secret);
            (201, json!({ "data": token }))
        }
        "DELETE" => {
            let found = ledger.end(last(&asked.path)) && !std::mem::take(faster);
            if found { (204, Value::Null) } else { (404, missing) }
        }
        _ => (200, json!({ "data": ledger.live().map(entry).collect::<Vec<_>>(), "links": { "next": null } })),
    }
}

/// Tokens of a user of HCP Terraform.
#[derive(Default)]
pub struct TerraformUser {
    pub ledger: Ledger,
    pub faster: bool,
}
provider!(
    TerraformUser,
    "hcp-terraform-user-token",
    "params = { user = \"user-V3R563qtJNcExAkN\" }",
    "lifetime = \"30d\""
);

impl Api for TerraformUser {
    fn answer(&mut self, asked: &Asked) -> Answer {
        terraform(&mut self.ledger, &mut self.faster, asked)
    }
}

/// Tokens of a team of HCP Terraform, whose listing may leave out what lives.
#[derive(Default)]
pub struct TerraformTeam {
    pub ledger: Ledger,
    pub faster: bool,
}
provider!(
    TerraformTeam,
    "hcp-terraform-team-token",
    "params = { org = \"example\", team = \"team-6yEmxNAhaoQLH1Da\" }",
    "lifetime = \"30d\""
);

impl Api for TerraformTeam {
    fn answer(&mut self, asked: &Asked) -> Answer {
        terraform(&mut self.ledger, &mut self.faster, asked)
    }
}

/// GitHub: personal access tokens are made in the browser; whoever presents one revokes it, which is done after the answer.
#[derive(Default)]
pub struct GithubPat {
    pub ledger: Ledger,
    /// Taken, and not done yet.
    pub taken: Vec<String>,
}
provider!(GithubPat, "github-pat", "", "initial = { file = \"$DIR/by-hand\" }");

impl Api for GithubPat {
    fn answer(&mut self, asked: &Asked) -> Answer {
        if asked.path == "/credentials/revoke" {
            let all = asked.body["credentials"].as_array().cloned().unwrap_or_default();
            self.taken.extend(all.iter().filter_map(Value::as_str).map(str::to_owned));
            return (202, Value::Null);
        }
        let accepted = bearer(asked).is_some_and(|it| self.ledger.accepts(it));
        // What was taken before this request is done with it.
        for secret in self.taken.drain(..) {
            let id = self.ledger.live().find(|it| it.secret == secret).map(|it| it.id.clone());
            id.map(|id| self.ledger.end(&id));
        }
        if accepted { (200, json!({ "id": 1, "login": "ci" })) } else { (401, json!({ "message": "Bad credentials" })) }
    }
}
