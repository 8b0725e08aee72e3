//! Providers of the inventories in `config/examples`, after their vendors' documents.

use std::collections::BTreeMap;

use patrold::clock::{Clock as _, Span, SystemClock};
use serde_json::{Value, json};

use super::ci::Gitlab;
use super::minting::{Issued, Ledger, bearer, form, last};
use super::vault::Vault;
use super::{Answer, Api, Asked};

/// GitLab: access tokens of one project. <https://docs.gitlab.com/api/project_access_tokens/>
pub struct GitlabTokens {
    pub ledger: Ledger,
    project: String,
    /// The day that the newest token was asked for to end.
    expires: Value,
}

impl GitlabTokens {
    pub fn new(project: &str) -> Self {
        Self { ledger: Ledger::default(), project: project.to_owned(), expires: Value::Null }
    }
}

impl Api for GitlabTokens {
    fn answer(&mut self, asked: &Asked) -> Answer {
        let secret = asked.headers.get("private-token").cloned().unwrap_or_default();
        let admin = secret == Ledger::CREDENTIAL;
        if !admin && !self.ledger.accepts(&secret) {
            return (401, json!({ "message": "401 Unauthorized" }));
        }
        let expires = self.expires.clone();
        let entry = |it: &Issued| {
            json!({
                "id": it.id.parse::<u64>().unwrap(), "name": it.name, "active": it.live, "revoked": !it.live,
                "created_at": "2026-01-01T00:00:00.000Z", "expires_at": expires, "last_used_at": null,
            })
        };
        if asked.path == "/api/v4/personal_access_tokens/self" {
            let own = self.ledger.live().find(|it| it.secret == secret).map(entry);
            return own.map_or((401, json!({ "message": "401 Unauthorized" })), |own| (200, own));
        }
        let tokens = format!("/api/v4/projects/{}/access_tokens", self.project);
        let Some(below) = asked.path.strip_prefix(&tokens).filter(|_| admin) else {
            return (404, json!({ "message": "404 Project Not Found" }));
        };
        match (asked.method.as_str(), below.trim_start_matches('/')) {
            ("POST", "") => {
                self.expires = asked.body["expires_at"].clone();
                let (id, secret) = self.ledger.issue(asked.body["name"].as_str().unwrap());
                let told = json!({ "id": id.parse::<u64>().unwrap(), "token": secret, "expires_at": self.expires });
                (201, told)
            }
            ("GET", "") => (200, self.ledger.live().map(entry).collect()),
            ("DELETE", id) if self.ledger.end(id) => (204, Value::Null),
            ("DELETE", _) => (404, json!({ "message": "404 project Access Token Not Found" })),
            _ => (405, json!({ "error": "405 Not Allowed" })),
        }
    }
}

/// GitLab: the variables of many projects.
pub struct GitlabProjects(pub BTreeMap<String, Gitlab>);

impl Api for GitlabProjects {
    fn answer(&mut self, asked: &Asked) -> Answer {
        let inside = asked.path.strip_prefix("/api/v4/projects/").unwrap_or_default();
        let named = |project: &str| inside == project || inside.starts_with(&format!("{project}/"));
        match self.0.iter_mut().find(|(project, _)| named(project)) {
            Some((_, project)) => project.answer(asked),
            None => (404, json!({ "message": "404 Project Not Found" })),
        }
    }
}

/// AWS: access keys of one user. Answers are XML, and who asks is read off the signature, which is not proven here.
/// <https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreateAccessKey.html>
#[derive(Default)]
pub struct Iam {
    pub ledger: Ledger,
}

impl Iam {
    /// The key of the account.
    pub const OWN: &'static str = "AKIAIOSFODNN7EXAMPLE";
}

fn xml(status: u16, text: String) -> Answer {
    (status, Value::String(text))
}

fn iam_error(status: u16, code: &str, message: &str) -> Answer {
    xml(
        status,
        format!("<ErrorResponse><Error><Code>{code}</Code><Message>{message}</Message></Error></ErrorResponse>"),
    )
}

impl Api for Iam {
    fn is_write(&self, asked: &Asked) -> bool {
        matches!(form(asked, "Action").as_str(), "CreateAccessKey" | "DeleteAccessKey")
    }

    fn answer(&mut self, asked: &Asked) -> Answer {
        let signed = asked.headers.get("authorization").map(String::as_str).unwrap_or_default();
        let key = signed.strip_prefix("AWS4-HMAC-SHA256 Credential=").and_then(|rest| rest.split('/').next());
        let key = key.unwrap_or_default();
        if key != Self::OWN && !self.ledger.live().any(|it| it.id == key) {
            let message = "The security token included in the request is invalid.";
            return iam_error(403, "InvalidClientTokenId", message);
        }
        let of = "<UserName>ci</UserName><Status>Active</Status><CreateDate>2026-01-01T00:00:00Z</CreateDate>";
        match form(asked, "Action").as_str() {
            _ if key != Self::OWN => iam_error(403, "AccessDenied", "User is not authorized"),
            "CreateAccessKey" if self.ledger.live().count() == 2 => {
                iam_error(409, "LimitExceeded", "Cannot exceed quota for AccessKeysPerUser: 2")
            }
            "CreateAccessKey" => {
                let (id, secret) = self.ledger.issue("");
                let key = format!("<AccessKeyId>{id}</AccessKeyId><SecretAccessKey>{secret}</SecretAccessKey>{of}");
                let result = format!("<CreateAccessKeyResult><AccessKey>{key}</AccessKey></CreateAccessKeyResult>");
                xml(200, format!("<CreateAccessKeyResponse>{result}</CreateAccessKeyResponse>"))
            }
            "ListAccessKeys" => {
                let member = |it: &Issued| format!("<member><AccessKeyId>{}</AccessKeyId>{of}</member>", it.id);
                let members: String = self.ledger.live().map(member).collect();
                let result =
                    format!("<AccessKeyMetadata>{members}</AccessKeyMetadata><IsTruncated>false</IsTruncated>");
                let result = format!("<ListAccessKeysResult>{result}</ListAccessKeysResult>");
                xml(200, format!("<ListAccessKeysResponse>{result}</ListAccessKeysResponse>"))
            }
            "DeleteAccessKey" => {
                let id = form(asked, "AccessKeyId");
                if self.ledger.end(&id) {
                    return xml(200, "<DeleteAccessKeyResponse></DeleteAccessKeyResponse>".to_owned());
                }
                iam_error(404, "NoSuchEntity", &format!("The Access Key with id {id} cannot be found."))
            }
            _ => iam_error(400, "InvalidAction", "Could not find operation"),
        }
    }
}

/// GitHub: installation tokens of an app, which have neither name nor id.
/// <https://docs.github.com/en/rest/apps/apps#create-an-installation-access-token-for-an-app>
#[derive(Default)]
pub struct GithubApp {
    pub ledger: Ledger,
}

impl Api for GithubApp {
    fn answer(&mut self, asked: &Asked) -> Answer {
        let secret = bearer(asked).unwrap_or_default().to_owned();
        let refused = (401, json!({ "message": "Bad credentials" }));
        let own = self.ledger.live().find(|it| it.secret == secret).map(|it| it.id.clone());
        match (asked.method.as_str(), asked.path.as_str()) {
            // The app proves itself by a web token of its own.
            ("POST", "/app/installations/67890/access_tokens") if secret.split('.').count() == 3 => {
                let (_, secret) = self.ledger.issue("");
                let expires = (SystemClock.now() + Span::hours(1)).to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
                (201, json!({ "token": secret, "expires_at": expires, "permissions": asked.body["permissions"] }))
            }
            ("GET", "/installation/repositories") if own.is_some() => {
                (200, json!({ "total_count": 0, "repositories": [] }))
            }
            ("DELETE", "/installation/token") => match own {
                Some(id) if self.ledger.end(&id) => (204, Value::Null),
                _ => refused,
            },
            _ => refused,
        }
    }
}

/// Vault and `OpenBao`: its tokens, and the engine that they open.
/// <https://openbao.org/api-docs/auth/token/>
pub struct Bao {
    pub ledger: Ledger,
    pub engine: Vault,
}

impl Api for Bao {
    fn answer(&mut self, asked: &Asked) -> Answer {
        let secret = asked.headers.get("x-vault-token").cloned().unwrap_or_default();
        let Some(id) = self.ledger.live().find(|it| it.secret == secret).map(|it| it.id.clone()) else {
            return (403, json!({ "errors": ["permission denied"] }));
        };
        match last(&asked.path) {
            "create-orphan" => {
                let (id, secret) = self.ledger.issue(asked.body["display_name"].as_str().unwrap());
                (200, json!({ "auth": { "client_token": secret, "accessor": id, "lease_duration": 86400 } }))
            }
            "lookup-self" => {
                let expires = (SystemClock.now() + Span::hours(24)).to_rfc3339();
                (200, json!({ "data": { "accessor": id, "expire_time": expires } }))
            }
            "revoke-self" => {
                self.ledger.end(&id);
                (204, Value::Null)
            }
            _ => self.engine.answer(asked),
        }
    }
}
