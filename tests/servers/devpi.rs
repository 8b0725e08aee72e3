//! devpi with its plugin for tokens: they have no names, and are listed with what they may do in a table by their ids, which
//! the answer to a mint does not tell.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use reqwest::Method;

use crate::facts::Facts;
use crate::life;
use crate::service::{Live, Service};
use crate::wire::Wire;

struct Devpi(Facts);

impl Service for Devpi {
    const NAME: &'static str = "devpi";
    const DEFINITION: &'static str = "devpi-token";
    const ABILITIES: &'static [&'static str] =
        &["authenticate", "mint", "expiry", "listing", "marker", "verify", "overlap", "revoke", "dead"];

    fn new(facts: Facts) -> Self {
        Self(facts)
    }

    fn account(&self) -> String {
        "credential = { file = \"DIRECTORY/credential\" }\nparams = { user = \"ci\", permissions = [\"pkg_read\"] }"
            .to_owned()
    }

    fn credential(&self) -> &str {
        self.0.get("credential")
    }

    fn token(&self) -> String {
        "lifetime = \"1h\"".to_owned()
    }

    fn mint(&self) -> String {
        "POST /ci/+token-create ".to_owned()
    }

    async fn live(&self, wire: &Wire) -> Live {
        let headers = [("X-Devpi-Auth", self.0.get("session")), ("Accept", "application/json")];
        let list = wire.send(Method::GET, &format!("{}/ci/+tokens", self.0.url()), &headers).await.good();
        let tokens = list["result"]["tokens"].as_object().unwrap().values();
        let said = tokens.flat_map(|token| token["restrictions"].as_array().unwrap()).filter_map(|it| it.as_str());
        let allowed = said.filter_map(|it| it.strip_prefix("allowed=")).flat_map(|it| it.split(','));
        Live::Names(allowed.filter(|name| name.starts_with("patrold-")).map(str::to_owned).collect())
    }

    async fn accepts(&self, wire: &Wire, secret: &str) -> bool {
        // As pip presents it: a password without a user name.
        let basic = format!("Basic {}", BASE64_STANDARD.encode(format!(":{secret}")));
        let headers = [("Authorization", basic.as_str()), ("Accept", "application/json")];
        let reply = wire.send(Method::GET, &format!("{}/+api", self.0.url()), &headers).await;
        assert!([200, 403].contains(&reply.status), "{reply:?}");
        reply.status == 200 && reply.body["result"]["authstatus"][1] == "ci"
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_life_of_a_token_at_devpi() {
    life::live::<Devpi>().await;
}
