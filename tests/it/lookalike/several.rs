//! Providers whose mint is several requests: a thing is made first, and its secret told then.

use serde_json::{Value, json};

use super::minting::{Ledger, Provider, bearer};
use super::{Answer, Api, Asked};

/// Zabbix 7: one address for every method of JSON-RPC, errors with the status 200.
/// <https://www.zabbix.com/documentation/current/en/manual/api/reference/token>
#[derive(Default)]
pub struct Zabbix(Ledger);

impl Provider for Zabbix {
    const DEFINITION: &'static str = "zabbix-token";
    const ACCOUNT: &'static str = "params = { user_id = \"7\" }";
    const TOKEN: &'static str = "lifetime = \"30d\"";

    fn ledger(&mut self) -> &mut Ledger {
        &mut self.0
    }
}

impl Api for Zabbix {
    fn is_write(&self, asked: &Asked) -> bool {
        let method = asked.body["method"].as_str().unwrap_or_default();
        matches!(method, "token.create" | "token.generate" | "token.delete")
    }

    fn answer(&mut self, asked: &Asked) -> Answer {
        let (method, params) = (asked.body["method"].as_str().unwrap_or_default(), &asked.body["params"]);
        let error = |data: &str| json!({ "error": { "code": -32602, "message": "Invalid params.", "data": data } });
        let told = if method == "user.checkAuthentication" {
            match params["token"].as_str().filter(|secret| self.0.accepts(secret)) {
                Some(_) => json!({ "result": { "userid": "7" } }),
                None => error("Not authorized."),
            }
        } else if bearer(asked) != Some(Ledger::CREDENTIAL) {
            error("Not authorized.")
        } else {
            let id = params[0].as_str().unwrap_or_default();
            match method {
                "token.create" => {
                    let id = self.0.make(params["name"].as_str().unwrap());
                    json!({ "result": { "tokenids": [id] } })
                }
                "token.generate" => match self.0.disclose(id) {
                    Some(secret) => json!({ "result": [{ "tokenid": id, "token": secret }] }),
                    None => error("No permissions to referred object or it does not exist!"),
                },
                "token.delete" if self.0.end(id) => json!({ "result": { "tokenids": [id] } }),
                "token.delete" => error("No permissions to referred object or it does not exist!"),
                "token.get" => {
                    let entry = |it: &super::minting::Issued| json!({ "tokenid": it.id, "name": it.name, "created_at": "1893553445", "expires_at": "4102444800", "lastaccess": "0" });
                    json!({ "result": self.0.live().map(entry).collect::<Vec<_>>() })
                }
                _ => error("Method not found."),
            }
        };
        let Value::Object(mut told) = told else { unreachable!("each is a table") };
        told.insert("jsonrpc".to_owned(), json!("2.0"));
        (200, Value::Object(told))
    }
}

/// authentik 2026: a token is known by its identifier, and its key is asked for.
/// <https://api.goauthentik.io/reference/core-tokens-view-key-retrieve/>
#[derive(Default)]
pub struct Authentik(Ledger);

impl Provider for Authentik {
    const DEFINITION: &'static str = "authentik-token";
    const ACCOUNT: &'static str = "params = { user_id = 7 }";
    const TOKEN: &'static str = "lifetime = \"30d\"";

    fn ledger(&mut self) -> &mut Ledger {
        &mut self.0
    }
}

impl Authentik {
    const TOKENS: &'static str = "/api/v3/core/tokens/";
}

impl Api for Authentik {
    fn is_write(&self, asked: &Asked) -> bool {
        asked.method != "GET" || asked.path.ends_with("/view_key/")
    }

    fn answer(&mut self, asked: &Asked) -> Answer {
        let secret = bearer(asked).unwrap_or_default();
        let admin = secret == Ledger::CREDENTIAL;
        if !admin && !self.0.accepts(secret) {
            return (403, json!({ "detail": "Token invalid/expired" }));
        }
        if asked.path == "/api/v3/core/users/me/" {
            return (200, json!({ "user": { "pk": 7, "username": "ci" } }));
        }
        let Some(below) = asked.path.strip_prefix(Self::TOKENS).filter(|_| admin) else {
            return (403, json!({ "detail": "You do not have permission to perform this action." }));
        };
        let missing = || (404, json!({ "detail": "No Token matches the given query." }));
        let entry = |name: &str| json!({ "pk": "x", "identifier": name, "intent": "api", "user": 7, "expires": "2100-01-01T00:00:00Z" });
        let id = |ledger: &Ledger, name: &str| ledger.live().find(|it| it.name == name).map(|it| it.id.clone());
        match (asked.method.as_str(), below.trim_end_matches('/')) {
            ("POST", "") => {
                let name = asked.body["identifier"].as_str().unwrap();
                self.0.make(name);
                (201, entry(name))
            }
            ("GET", "") => {
                let results: Vec<_> = self.0.live().map(|it| entry(&it.name)).collect();
                (200, json!({ "pagination": { "next": 0, "current": 1, "total_pages": 1 }, "results": results }))
            }
            ("GET", below) => {
                let name = below.trim_end_matches("/view_key");
                let secret = id(&self.0, name).and_then(|id| self.0.disclose(&id));
                secret.map_or_else(missing, |secret| (200, json!({ "key": secret })))
            }
            ("DELETE", name) => match id(&self.0, name).filter(|id| self.0.end(id)) {
                Some(_) => (204, Value::Null),
                None => missing(),
            },
            _ => (405, Value::Null),
        }
    }
}
