//! `OpenBao`, which speaks for Vault as well. Accessors can be listed, but not by name: a token whose secret was
//! lost lives until it expires, and patrold has to say so.

use reqwest::Method;
use serde_json::json;

use crate::facts::Facts;
use crate::life;
use crate::service::{Live, Service};
use crate::wire::Wire;

struct OpenBao(Facts);

impl Service for OpenBao {
    const NAME: &'static str = "openbao";
    const DEFINITION: &'static str = "vault-token";
    const ABILITIES: &'static [&'static str] =
        &["authenticate", "mint", "id", "expiry", "verify", "overlap", "revoke", "dead"];
    const FINDS_LOST_ONES: bool = false;

    fn new(facts: Facts) -> Self {
        Self(facts)
    }

    fn account(&self) -> String {
        "credential = { file = \"DIRECTORY/credential\" }\nparams = { policies = [\"default\"] }".to_owned()
    }

    fn credential(&self) -> &str {
        self.0.get("credential")
    }

    fn token(&self) -> String {
        "lifetime = \"1h\"".to_owned()
    }

    fn mint(&self) -> String {
        "POST /v1/auth/token/create-orphan ".to_owned()
    }

    async fn live(&self, wire: &Wire) -> Live {
        let (url, root) = (self.0.url(), [("X-Vault-Token", self.0.get("root"))]);
        let list = wire.send(Method::GET, &format!("{url}/v1/auth/token/accessors?list=true"), &root).await.good();
        let mut names = Vec::new();
        for accessor in list["data"]["keys"].as_array().unwrap() {
            let body = json!({ "accessor": accessor });
            let lookup = format!("{url}/v1/auth/token/lookup-accessor");
            let token = wire.send_json(Method::POST, &lookup, &root, &body).await.good();
            // The server puts a word of its own before the name.
            let name = token["data"]["display_name"].as_str().unwrap();
            names.extend(name.strip_prefix("token-").filter(|name| name.starts_with("patrold-")).map(str::to_owned));
        }
        Live::Names(names)
    }

    async fn accepts(&self, wire: &Wire, secret: &str) -> bool {
        let url = format!("{}/v1/auth/token/lookup-self", self.0.url());
        let reply = wire.send(Method::GET, &url, &[("X-Vault-Token", secret)]).await;
        assert!([200, 403].contains(&reply.status), "{reply:?}");
        reply.status == 200
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_life_of_a_token_at_openbao() {
    life::live::<OpenBao>().await;
}
