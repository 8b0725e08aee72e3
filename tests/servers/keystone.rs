//! Keystone of `OpenStack`: application credentials. The account logs in for a session that comes in a header, times have
//! no zone, names are unique.

use reqwest::Method;
use serde_json::json;

use crate::facts::Facts;
use crate::life;
use crate::service::{Live, Service};
use crate::wire::Wire;

struct Keystone(Facts);

impl Keystone {
    fn list(&self) -> String {
        format!("{}/v3/users/{}/application_credentials", self.0.url(), self.0.get("user"))
    }
}

impl Service for Keystone {
    const NAME: &'static str = "keystone";
    const DEFINITION: &'static str = "keystone-application-credential";
    const ABILITIES: &'static [&'static str] =
        &["authenticate", "mint", "id", "expiry", "listing", "marker", "verify", "overlap", "revoke", "dead"];

    fn new(facts: Facts) -> Self {
        Self(facts)
    }

    fn account(&self) -> String {
        format!(
            "credential = {{ username = \"ci\", password = {{ file = \"DIRECTORY/credential\" }} }}
params     = {{ user_id = \"{}\", project = \"admin\" }}",
            self.0.get("user")
        )
    }

    fn credential(&self) -> &str {
        self.0.get("credential")
    }

    fn token(&self) -> String {
        "lifetime = \"1h\"".to_owned()
    }

    fn mint(&self) -> String {
        format!("POST /v3/users/{}/application_credentials ", self.0.get("user"))
    }

    async fn live(&self, wire: &Wire) -> Live {
        let list = wire.send(Method::GET, &self.list(), &[("X-Auth-Token", self.0.get("token"))]).await.good();
        let names = list["application_credentials"].as_array().unwrap().iter().map(|item| item["name"].as_str());
        Live::Names(names.map(|name| name.unwrap().to_owned()).collect())
    }

    async fn accepts(&self, wire: &Wire, secret: &str) -> bool {
        // What consumers have of it besides the secret. They could name it as well; then they would have to name its user.
        let list = wire.send(Method::GET, &self.list(), &[("X-Auth-Token", self.0.get("token"))]).await.good();
        for item in list["application_credentials"].as_array().unwrap() {
            let credential = json!({ "id": item["id"], "secret": secret });
            let identity = json!({ "methods": ["application_credential"], "application_credential": credential });
            let body = json!({ "auth": { "identity": identity } });
            let url = format!("{}/v3/auth/tokens", self.0.url());
            let reply = wire.send_json(Method::POST, &url, &[], &body).await;
            assert!([201, 401].contains(&reply.status), "{reply:?}");
            if reply.status == 201 {
                return true;
            }
        }
        false
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_life_of_a_token_at_keystone() {
    life::live::<Keystone>().await;
}
