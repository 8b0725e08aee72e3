//! Unleash: personal access tokens.

use std::time::Duration;

use reqwest::Method;

use crate::facts::Facts;
use crate::life;
use crate::service::{Live, Service};
use crate::wire::Wire;

struct Unleash(Facts);

impl Service for Unleash {
    const NAME: &'static str = "unleash";
    const DEFINITION: &'static str = "unleash-pat";
    const ABILITIES: &'static [&'static str] =
        &["authenticate", "mint", "id", "expiry", "listing", "marker", "verify", "overlap", "revoke", "dead"];
    /// It was seen to accept deleted tokens for 61 s.
    const LINGERING: Duration = Duration::from_secs(90);

    fn new(facts: Facts) -> Self {
        Self(facts)
    }

    fn account(&self) -> String {
        "credential = { file = \"DIRECTORY/credential\" }".to_owned()
    }

    fn credential(&self) -> &str {
        self.0.get("credential")
    }

    fn token(&self) -> String {
        "lifetime = \"1h\"".to_owned()
    }

    fn mint(&self) -> String {
        "POST /api/admin/user/tokens ".to_owned()
    }

    async fn live(&self, wire: &Wire) -> Live {
        let url = format!("{}/api/admin/user/tokens", self.0.url());
        let list = wire.send(Method::GET, &url, &[("Authorization", self.credential())]).await.good();
        let texts = list["pats"].as_array().unwrap().iter().map(|pat| pat["description"].as_str().unwrap());
        Live::Names(texts.filter(|text| text.starts_with("patrold-")).map(str::to_owned).collect())
    }

    async fn accepts(&self, wire: &Wire, secret: &str) -> bool {
        let url = format!("{}/api/admin/projects", self.0.url());
        let reply = wire.send(Method::GET, &url, &[("Authorization", secret)]).await;
        assert!([200, 401].contains(&reply.status), "{reply:?}");
        reply.status == 200
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_life_of_a_token_at_unleash() {
    life::live::<Unleash>().await;
}
