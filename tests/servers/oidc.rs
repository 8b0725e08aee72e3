//! An `OAuth` server: access tokens of a client. The inventory supplies introspection and revocation, as servers differ.

use reqwest::Method;

use crate::facts::Facts;
use crate::life;
use crate::service::{Live, Service};
use crate::wire::Wire;

/// RFC 7662 and RFC 7009, at the paths of this server.
const OPERATIONS: &str = r#"
[account.ci.operations.verify]
auth   = "account"
method = "POST"
url    = "{{ base_url }}/token/introspection"
form   = { token = "{{ old.token }}" }
ok     = [200]
expect = [{ at = "/active", equals = true, otherwise = "unauthorized" }]

[account.ci.operations.revoke]
method = "POST"
url    = "{{ base_url }}/token/revocation"
form   = { token = "{{ old.token }}" }
ok     = [200]
"#;

struct Oidc(Facts);

impl Service for Oidc {
    const NAME: &'static str = "oidc";
    const DEFINITION: &'static str = "oauth2-client-credentials";
    const ABILITIES: &'static [&'static str] =
        &["authenticate", "mint", "expiry", "verify", "overlap", "revoke", "dead"];
    const FINDS_LOST_ONES: bool = false;

    fn new(facts: Facts) -> Self {
        Self(facts)
    }

    fn account(&self) -> String {
        let credential = "credential = { username = \"ci\", password = { file = \"DIRECTORY/credential\" } }";
        format!("{credential}\n{OPERATIONS}")
    }

    fn credential(&self) -> &str {
        self.0.get("credential")
    }

    fn token(&self) -> String {
        String::new()
    }

    fn mint(&self) -> String {
        "POST /token ".to_owned()
    }

    async fn live(&self, wire: &Wire) -> Live {
        let live = wire.send(Method::GET, &format!("{}/live", self.0.url()), &[]).await.good();
        Live::Count(live["live"].as_u64().unwrap().try_into().unwrap())
    }

    async fn accepts(&self, wire: &Wire, secret: &str) -> bool {
        let url = format!("{}/token/introspection", self.0.url());
        // Neither has a character that a form would encode.
        let form = format!("token={secret}&client_id=ci&client_secret={}", self.credential());
        wire.send_form(&url, form).await.good()["active"] == true
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_life_of_a_token_at_an_oauth_server() {
    life::live::<Oidc>().await;
}
