//! Synapse, a server of Matrix: sessions whose tokens are refreshed in place. A refresh token works once; who loses the
//! answer to a refresh has lost the session.

use std::time::{Duration, Instant};

use patrold::names::GenerationNo;
use reqwest::Method;

use crate::daemon::Site;
use crate::facts::Facts;
use crate::life;
use crate::proxy::{Loss, Proxy};
use crate::service::{Live, Service};
use crate::wire::Wire;

/// How long a refresh may take to be due and done.
const PATIENCE: Duration = Duration::from_secs(90);

struct Synapse(Facts);

impl Service for Synapse {
    const NAME: &'static str = "synapse";
    const DEFINITION: &'static str = "matrix-session";
    const ABILITIES: &'static [&'static str] =
        &["authenticate", "mint", "id", "expiry", "verify", "renew", "overlap", "revoke", "dead"];
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
        "rotate-every = \"1d\"".to_owned()
    }

    fn mint(&self) -> String {
        "POST /_matrix/client/v3/login ".to_owned()
    }

    async fn live(&self, wire: &Wire) -> Live {
        let url = format!("{}/_matrix/client/v3/devices", self.0.url());
        let authorization = format!("Bearer {}", self.0.get("session"));
        let list = wire.send(Method::GET, &url, &[("Authorization", &authorization)]).await.good();
        let names = list["devices"].as_array().unwrap().iter().filter_map(|device| device["display_name"].as_str());
        Live::Names(names.filter(|name| name.starts_with("patrold-")).map(str::to_owned).collect())
    }

    async fn accepts(&self, wire: &Wire, secret: &str) -> bool {
        let url = format!("{}/_matrix/client/v3/joined_rooms", self.0.url());
        let reply = wire.send(Method::GET, &url, &[("Authorization", &format!("Bearer {secret}"))]).await;
        assert!([200, 401].contains(&reply.status), "{reply:?}");
        reply.status == 200
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_life_of_a_session_at_synapse() {
    life::live::<Synapse>().await;
    // Not at the same time: both look at the sessions of one user.
    if let Some(facts) = Facts::of(Synapse::NAME) {
        a_refresh_whose_answer_is_lost_is_never_repeated_and_locks_nobody_out(facts).await;
    }
}

async fn a_refresh_whose_answer_is_lost_is_never_repeated_and_locks_nobody_out(facts: Facts) {
    let target = facts.url().trim_start_matches("http://").parse().unwrap();
    let (synapse, wire) = (Synapse::new(facts), Wire::new());
    let proxy = Proxy::before(target).await;
    // Tokens live for ten minutes here, and are refreshed after six seconds.
    let token = format!("{}\nrenew-before = \"99%\"\njitter = \"0s\"", synapse.token());
    let site = Site::set(Synapse::DEFINITION, &proxy.url(), synapse.credential(), &synapse.account(), &token);
    let daemon = site.start();

    let refreshed = until(&site, "it is refreshed", |number, revision| number.0 == 1 && revision > 0).await;
    assert!(synapse.accepts(&wire, &refreshed).await, "{}", site.log());

    proxy.lose("POST /_matrix/client/v3/refresh ".to_owned(), Loss::Reset);
    proxy.swallowed().await;
    let replaced = until(&site, "it is replaced", |number, _| number.0 == 2).await;
    assert!(synapse.accepts(&wire, &replaced).await, "{}", site.log());

    // The session is ended with the token that consumers had, which the lost refresh has not ended. patrold cannot know that
    // here: what the refresh gave may have outlived it, so the session stays known for as long as it may live.
    let begun = Instant::now();
    loop {
        let status = site.status();
        let marker = status.current.as_ref().unwrap().marker.as_ref().unwrap().to_string();
        let prefix = marker.split("-ci-g").next().unwrap();
        let Live::Names(names) = synapse.live(&wire).await else { panic!("Synapse lists sessions") };
        let own: Vec<_> = names.into_iter().filter(|name| name.starts_with(prefix)).collect();
        let known =
            status.orphans.iter().all(|orphan| orphan.number == Some(GenerationNo(1)) && orphan.until.is_some());
        if own == [marker] && status.phase == "steady" && status.retiring.is_none() && known {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{own:?} {status:#?}\n{}", site.log());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    daemon.stop();
}

/// Waits until the current generation is as `wanted` says and consumers have it; what they have.
async fn until(site: &Site, what: &str, wanted: impl Fn(GenerationNo, u32) -> bool) -> String {
    let begun = Instant::now();
    loop {
        let status = site.status();
        let current = status.current.as_ref().filter(|current| wanted(current.number, current.revision));
        if current.is_some() && status.phase == "steady" {
            return site.secret().unwrap();
        }
        assert!(begun.elapsed() < PATIENCE, "{what}: {status:#?}\n{}", site.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
