//! An `OAuth` server: what somebody got by logging in, kept alive with its refresh token. Each works once here, and its
//! second use ends the login, so that one that was presented twice shows at the server.

use std::time::{Duration, Instant};

use patrold::report::status::TokenStatus;
use reqwest::Method;
use serde_json::Value;

use crate::daemon::Site;
use crate::facts::Facts;
use crate::proxy::{Loss, Proxy};
use crate::wire::Wire;

/// How long anything may take. The machine has other work.
const PATIENCE: Duration = Duration::from_secs(90);

/// RFC 7662, at the path of this server.
const ACCOUNT: &str = r#"
credential = { username = "web", password = { file = "DIRECTORY/credential" } }

[account.ci.operations.verify]
auth   = "account"
method = "POST"
url    = "{{ base_url }}/token/introspection"
form   = { token = "{{ old.token }}" }
ok     = [200]
expect = [{ at = "/active", equals = true, otherwise = "unauthorized" }]
[account.ci.operations.verify.capture]
expires = { at = "/exp", format = "epoch" }
"#;

const TOKEN: &str = r#"
initial = { file = "DIRECTORY/access", parts = { refresh_token = { file = "DIRECTORY/refresh" } } }
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_life_of_a_login_at_an_oauth_server() {
    let Some(facts) = Facts::of("oidc") else { return };
    let target = facts.url().trim_start_matches("http://").parse().unwrap();
    let proxy = Proxy::before(target).await;
    let site = Site::set("oauth2-refresh-token", &proxy.url(), facts.get("credential"), ACCOUNT, TOKEN);
    let server = Server { facts, wire: Wire::new() };
    let before = server.told().await;

    // What somebody got by logging in is delivered as it is, and renewed when it is asked for.
    let mut secrets = server.log_in(&site, 600).await;
    site.succeed(&["check"]);
    let daemon = site.start();
    let first = until(&site, "it is adopted", |status| issued(status) == Some((0, 0))).await;
    assert_eq!(Some(&first), secrets.first());
    site.succeed(&["rotate", "ci"]);
    let second = until(&site, "it is renewed", |status| issued(status) == Some((0, 1))).await;
    assert_ne!(second, first);
    assert!(server.accepts(&second).await, "{}", site.log());
    assert!(server.accepts(&first).await, "the old one works until its own end");
    daemon.stop();

    // Its refresh token is another one since; after a start it is that one which is presented.
    let daemon = site.start();
    site.succeed(&["rotate", "ci"]);
    let third = until(&site, "it is renewed after a start", |status| issued(status) == Some((0, 2))).await;
    assert!(server.accepts(&third).await, "{}", site.log());
    assert_eq!(server.told().await, before.and(2));

    // The answer gets lost: what consumers have works on, nothing is presented again, and somebody is told.
    proxy.lose("POST /token ".to_owned(), Loss::Reset);
    let mut asked = site.rotate();
    proxy.swallowed().await;
    assert_eq!(asked.wait().unwrap().code(), Some(1), "whoever asked is told");
    asks_for_a_new_one(&site, &server, &third).await;
    assert_eq!(server.told().await, before.and(3), "the server renewed, and nobody asked it again");

    // The same with a daemon that is killed meanwhile, after somebody has logged in again.
    secrets.extend(server.log_in(&site, 600).await);
    until(&site, "the new login is adopted", |status| issued(status) == Some((1, 0))).await;
    proxy.lose("POST /token ".to_owned(), Loss::Silence);
    let mut asked = site.rotate();
    proxy.swallowed().await;
    daemon.kill();
    let _ = asked.kill();
    asked.wait().unwrap();
    let daemon = site.start();
    asks_for_a_new_one(&site, &server, &site.secret().unwrap()).await;
    assert_eq!(server.told().await, before.and(4));

    // A login whose access token has died before anybody adopted it.
    daemon.stop();
    let dead = server.log_in(&site, 1).await;
    let begun = Instant::now();
    while server.accepts(&dead[0]).await {
        assert!(begun.elapsed() < PATIENCE, "it lives for a second");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    secrets.extend(dead);
    let daemon = site.start();
    let renewed = until(&site, "it is renewed first", |status| issued(status) == Some((2, 1))).await;
    assert!(server.accepts(&renewed).await, "{}", site.log());
    assert_eq!(server.told().await, before.and(5));
    daemon.stop();

    secrets.extend([second, third, renewed, server.facts.get("credential").to_owned()]);
    let (log, state) = (site.log(), site.state());
    for secret in &secrets {
        assert!(!log.contains(secret), "the log has a secret in it");
        assert!(!state.windows(secret.len()).any(|part| part == secret.as_bytes()), "the journal has a bare secret");
    }
}

/// How many refresh tokens the server saw for the first time, and how many again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Told {
    used: u64,
    reused: u64,
}

impl Told {
    /// After so many more first uses.
    fn and(self, more: u64) -> Self {
        Self { used: self.used + more, ..self }
    }
}

struct Server {
    facts: Facts,
    wire: Wire,
}

impl Server {
    /// Somebody logs in and puts access token and refresh token where the inventory says; both.
    async fn log_in(&self, site: &Site, lifetime: u64) -> Vec<String> {
        let url = format!("{}/login?access={lifetime}", self.facts.url());
        let pair = self.wire.send(Method::POST, &url, &[]).await.good();
        let [access, refresh] = ["access_token", "refresh_token"].map(|part| pair[part].as_str().unwrap().to_owned());
        // Whoever looks in between sees half of a pair, and leaves it alone.
        site.put("refresh", &refresh);
        site.put("access", &access);
        vec![access, refresh]
    }

    async fn accepts(&self, access: &str) -> bool {
        let url = format!("{}/token/introspection", self.facts.url());
        // None has a character that a form would encode.
        let form = format!("token={access}&client_id=web&client_secret={}", self.facts.get("credential"));
        self.wire.send_form(&url, form).await.good()["active"] == true
    }

    async fn told(&self) -> Told {
        let told: Value = self.wire.send(Method::GET, &format!("{}/live", self.facts.url()), &[]).await.good();
        let count = |name: &str| told[name].as_u64().unwrap();
        Told { used: count("used"), reused: count("reused") }
    }
}

/// Nobody can renew it any more: consumers keep what works, a request is refused, and what is to be done is told.
async fn asks_for_a_new_one(site: &Site, server: &Server, secret: &str) {
    let wanted =
        |status: &TokenStatus| status.next.reason == "renewal-in-doubt" && status.next.action.word() == "replace";
    assert_eq!(until(site, "somebody is asked for a new login", wanted).await, secret);
    assert!(server.accepts(secret).await, "{}", site.log());
    let output = site.run(&["rotate", "ci"]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.code() == Some(1) && said.contains("cannot be renewed any more"), "{said}\n{}", site.log());
    assert!(site.log().contains("\"replacement-due\""), "{}", site.log());
}

/// The generation in use, and how often it was renewed.
fn issued(status: &TokenStatus) -> Option<(u32, u32)> {
    status.current.as_ref().map(|current| (current.number.0, current.revision))
}

/// Waits until the token rests as `wanted` says; what consumers have then.
async fn until(site: &Site, what: &str, wanted: impl Fn(&TokenStatus) -> bool) -> String {
    let begun = Instant::now();
    loop {
        let status = site.status();
        if wanted(&status) && matches!(status.phase.as_str(), "steady" | "active") && status.owed.is_empty() {
            return site.secret().unwrap();
        }
        assert!(begun.elapsed() < PATIENCE, "{what}: {status:#?}\n{}", site.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
