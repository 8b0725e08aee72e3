//! Directus: static tokens, whose secret the caller chooses, each of a user that is made for it.

use reqwest::Method;

use crate::facts::Facts;
use crate::life;
use crate::service::{Live, Service};
use crate::wire::Wire;

struct Directus(Facts);

impl Service for Directus {
    const NAME: &'static str = "directus";
    const DEFINITION: &'static str = "directus-token";
    const ABILITIES: &'static [&'static str] =
        &["authenticate", "mint", "id", "expiry", "listing", "marker", "verify", "overlap", "revoke", "dead"];

    fn new(facts: Facts) -> Self {
        Self(facts)
    }

    fn account(&self) -> String {
        let role = self.0.get("role");
        format!("credential = {{ file = \"DIRECTORY/credential\" }}\nparams = {{ role = \"{role}\" }}")
    }

    fn credential(&self) -> &str {
        self.0.get("credential")
    }

    fn token(&self) -> String {
        "rotate-every = \"1d\"".to_owned()
    }

    fn mint(&self) -> String {
        "POST /users?".to_owned()
    }

    async fn live(&self, wire: &Wire) -> Live {
        let url = format!("{}/users?fields=description,token&limit=-1", self.0.url());
        let authorization = format!("Bearer {}", self.credential());
        let list = wire.send(Method::GET, &url, &[("Authorization", &authorization)]).await.good();
        let with_token = list["data"].as_array().unwrap().iter().filter(|user| !user["token"].is_null());
        let texts = with_token.filter_map(|user| user["description"].as_str());
        Live::Names(texts.filter(|text| text.starts_with("patrold-")).map(str::to_owned).collect())
    }

    async fn accepts(&self, wire: &Wire, secret: &str) -> bool {
        let url = format!("{}/users/me", self.0.url());
        let reply = wire.send(Method::GET, &url, &[("Authorization", &format!("Bearer {secret}"))]).await;
        assert!([200, 401].contains(&reply.status), "{reply:?}");
        reply.status == 200
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_life_of_a_token_at_directus() {
    life::live::<Directus>().await;
}
