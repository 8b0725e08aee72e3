//! Verdaccio: npm tokens, whose mint takes the password, which end as their JWT says, and which have no names.

use reqwest::Method;

use crate::facts::Facts;
use crate::life;
use crate::service::{Live, Service};
use crate::wire::Wire;

struct Verdaccio(Facts);

impl Service for Verdaccio {
    const NAME: &'static str = "verdaccio";
    const DEFINITION: &'static str = "verdaccio-token";
    const ABILITIES: &'static [&'static str] =
        &["authenticate", "mint", "id", "expiry", "listing", "verify", "overlap", "revoke", "dead"];
    const FINDS_LOST_ONES: bool = false;

    fn new(facts: Facts) -> Self {
        Self(facts)
    }

    fn account(&self) -> String {
        "credential = { username = \"ci\", password = { file = \"DIRECTORY/credential\" } }".to_owned()
    }

    fn credential(&self) -> &str {
        self.0.get("credential")
    }

    fn token(&self) -> String {
        "rotate-every = \"1h\"".to_owned()
    }

    fn mint(&self) -> String {
        "POST /-/npm/v1/tokens ".to_owned()
    }

    async fn live(&self, wire: &Wire) -> Live {
        let url = format!("{}/-/npm/v1/tokens", self.0.url());
        let authorization = format!("Bearer {}", self.0.get("session"));
        let list = wire.send(Method::GET, &url, &[("Authorization", &authorization)]).await.good();
        Live::Count(list["objects"].as_array().unwrap().len())
    }

    async fn accepts(&self, wire: &Wire, secret: &str) -> bool {
        let url = format!("{}/-/npm/v1/tokens", self.0.url());
        let reply = wire.send(Method::GET, &url, &[("Authorization", &format!("Bearer {secret}"))]).await;
        assert!([200, 401, 403].contains(&reply.status), "{reply:?}");
        reply.status == 200
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_life_of_a_token_at_verdaccio() {
    life::live::<Verdaccio>().await;
}
