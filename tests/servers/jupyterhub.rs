//! The hub of Jupyter: tokens of a user, minted by a service.

use reqwest::Method;

use crate::facts::Facts;
use crate::life;
use crate::service::{Live, Service};
use crate::wire::Wire;

struct JupyterHub(Facts);

impl Service for JupyterHub {
    const NAME: &'static str = "jupyterhub";
    const DEFINITION: &'static str = "jupyterhub-token";
    const ABILITIES: &'static [&'static str] =
        &["authenticate", "mint", "id", "expiry", "listing", "marker", "verify", "overlap", "revoke", "dead"];

    fn new(facts: Facts) -> Self {
        Self(facts)
    }

    fn account(&self) -> String {
        "credential = { file = \"DIRECTORY/credential\" }\nparams = { user = \"alice\", scopes = [\"inherit\"] }"
            .to_owned()
    }

    fn credential(&self) -> &str {
        self.0.get("credential")
    }

    fn token(&self) -> String {
        "lifetime = \"1h\"".to_owned()
    }

    fn mint(&self) -> String {
        "POST /hub/api/users/alice/tokens ".to_owned()
    }

    async fn live(&self, wire: &Wire) -> Live {
        let url = format!("{}/hub/api/users/alice/tokens", self.0.url());
        let authorization = format!("token {}", self.credential());
        let list = wire.send(Method::GET, &url, &[("Authorization", &authorization)]).await.good();
        let notes = list["api_tokens"].as_array().unwrap().iter().filter_map(|token| token["note"].as_str());
        Live::Names(notes.filter(|note| note.starts_with("patrold-")).map(str::to_owned).collect())
    }

    async fn accepts(&self, wire: &Wire, secret: &str) -> bool {
        let url = format!("{}/hub/api/user", self.0.url());
        let reply = wire.send(Method::GET, &url, &[("Authorization", &format!("Bearer {secret}"))]).await;
        assert!([200, 403].contains(&reply.status), "{reply:?}");
        reply.status == 200 && reply.body["name"] == "alice"
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_life_of_a_token_at_jupyterhub() {
    life::live::<JupyterHub>().await;
}
