//! The life of a token at a server: first issue, a rotation, an answer that gets lost, a daemon that is killed at that
//! moment, and what is left afterwards.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use patrold::report::status::{OrphanKind, TokenStatus};

use serde_json::{Value, json};

use crate::daemon::{Daemon, Site};
use crate::facts::Facts;
use crate::proxy::{Loss, Proxy};
use crate::service::{Live, Service};
use crate::wire::Wire;

/// How long anything may take that is not said to take longer. The machine has other work.
const PATIENCE: Duration = Duration::from_secs(120);

/// Takes a token of the server through its life; says so and passes where the server does not run.
pub async fn live<S: Service>() {
    let Some(facts) = Facts::of(S::NAME) else { return };
    let target: SocketAddr = facts.url().trim_start_matches("http://").parse().unwrap();
    let service = S::new(facts);
    let proxy = Proxy::before(target).await;
    let site = Site::set(S::DEFINITION, &proxy.url(), service.credential(), &service.account(), &service.token());
    let wire = Wire::new();
    let before = service.live(&wire).await;
    let mut life = Life { service, proxy, site, wire, before, daemon: None, dead: Vec::new(), ended: 0 };
    life.site.succeed(&["check"]);
    life.keeps_what_its_definition_claims();
    life.is_issued().await;
    life.is_rotated().await;
    life.survives_a_lost_answer().await;
    life.survives_a_kill_while_the_answer_is_lost().await;
    life.leaves_nothing_behind().await;
}

struct Life<S> {
    service: S,
    proxy: Proxy,
    site: Site,
    wire: Wire,
    /// What lived at the server before: another run's.
    before: Live,
    daemon: Option<Daemon>,
    /// Secrets that consumers had and that have to be dead.
    dead: Vec<String>,
    /// How many lost tokens a person has ended, of which patrold cannot know that they are gone.
    ended: usize,
}

impl<S: Service> Life<S> {
    /// `patrold provider test` finds what is known of the service, and leaves nothing behind.
    fn keeps_what_its_definition_claims(&self) {
        let output = self.site.run(&["provider", "test", S::DEFINITION, "--account", "ci", "--json"]);
        let said = String::from_utf8_lossy(&output.stderr);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"));
        assert_eq!(output.status.code(), Some(0), "{report:#}\n{said}");
        assert_eq!((&report["held"], &report["left"]), (&json!(true), &json!([])), "{report:#}");
        let seen = report["findings"].as_array().unwrap().iter().filter(|finding| finding["seen"] == "yes");
        let seen: Vec<_> = seen.map(|finding| finding["ability"].as_str().unwrap()).collect();
        assert_eq!(seen, S::ABILITIES, "{report:#}");
    }

    async fn is_issued(&mut self) {
        self.daemon = Some(self.site.start());
        self.comes_to_rest(1).await;
    }

    async fn is_rotated(&mut self) {
        let old = self.current().await;
        self.site.succeed(&["rotate", "ci"]);
        self.replaces(old).await;
    }

    /// patrold notices at once that no answer comes.
    async fn survives_a_lost_answer(&mut self) {
        let old = self.current().await;
        self.proxy.lose(self.service.mint(), Loss::Reset);
        let mut rotation = self.site.rotate();
        self.proxy.swallowed().await;
        self.consumers_can_work_with(&old).await;
        self.a_person_makes_room().await;
        rotation.wait().unwrap();
        // What was asked for may have failed with the lost answer; whoever asked asks again.
        if self.site.secret().as_deref() == Some(&old) {
            self.site.succeed(&["rotate", "ci"]);
        }
        self.replaces(old).await;
    }

    /// patrold is killed after the server has done what it was asked for, and before any answer came.
    async fn survives_a_kill_while_the_answer_is_lost(&mut self) {
        let old = self.current().await;
        let before = self.live().await;
        self.proxy.lose(self.service.mint(), Loss::Silence);
        let mut rotation = self.site.rotate();
        self.proxy.swallowed().await;
        self.daemon.take().unwrap().kill();
        let _ = rotation.kill();
        rotation.wait().unwrap();
        self.consumers_can_work_with(&old).await;
        // Else the proxy lost nothing worth finding.
        let after = self.live().await;
        assert_eq!(after.count(), before.count() + 1, "{before:?} {after:?}");

        self.daemon = Some(self.site.start());
        let number = self.status().current.unwrap().number.0;
        self.comes_to_rest(number).await;
        self.a_person_makes_room().await;
        self.site.succeed(&["rotate", "ci"]);
        self.replaces(old).await;
    }

    /// Where a lost token cannot be told from one of others and takes a place, `audit` names it, and a person ends it.
    async fn a_person_makes_room(&mut self) {
        if !S::CROWDED {
            return;
        }
        let begun = Instant::now();
        let id = loop {
            let audit: Value = serde_json::from_slice(&self.site.run(&["audit", "--json"]).stdout).unwrap();
            let findings = audit["accounts"][0]["findings"].as_array().unwrap();
            let foreign: Vec<_> = findings.iter().filter(|it| it["standing"] == "unmanaged").collect();
            if let [lost] = foreign.as_slice() {
                break lost["id"].as_str().unwrap().to_owned();
            }
            assert!(begun.elapsed() < PATIENCE, "{audit:#}\n{}", self.site.log());
            tokio::time::sleep(Duration::from_millis(200)).await;
        };
        self.service.end(&self.wire, &id).await;
        self.ended += 1;
    }

    async fn leaves_nothing_behind(&mut self) {
        let secret = self.current().await;
        self.daemon.take().unwrap().stop();
        self.consumers_can_work_with(&secret).await;
        let begun = Instant::now();
        for old in &self.dead {
            while self.service.accepts(&self.wire, old).await {
                assert!(begun.elapsed() < S::LINGERING, "{} accepts an old secret\n{}", S::NAME, self.site.log());
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
        let (log, state) = (self.site.log(), self.site.state());
        for secret in self.dead.iter().map(String::as_str).chain([secret.as_str(), self.service.credential()]) {
            assert!(!log.contains(secret), "the log has a secret in it");
            assert!(
                !state.windows(secret.len()).any(|part| part == secret.as_bytes()),
                "the journal has a bare secret"
            );
        }
    }

    /// The secret that consumers have, which has to work.
    async fn current(&self) -> String {
        let secret = self.site.secret().unwrap_or_else(|| panic!("nothing was delivered\n{}", self.site.log()));
        self.consumers_can_work_with(&secret).await;
        secret
    }

    async fn consumers_can_work_with(&self, secret: &str) {
        assert_eq!(self.site.secret().as_deref(), Some(secret), "consumers have another secret");
        assert!(self.service.accepts(&self.wire, secret).await, "{} does not accept it\n{}", S::NAME, self.site.log());
    }

    /// Consumers get another secret than `old`.
    async fn replaces(&mut self, old: String) {
        let number = self.status().current.unwrap().number.0;
        self.comes_to_rest(number).await;
        let new = self.current().await;
        assert_ne!(new, old);
        self.dead.push(old);
    }

    /// Waits until one generation is alive and nothing is owed; then the server must know of no more than patrold does.
    async fn comes_to_rest(&mut self, number: u32) {
        let begun = Instant::now();
        let status = loop {
            let status = self.status();
            if at_rest(&status, number) {
                break status;
            }
            assert!(begun.elapsed() < PATIENCE, "it does not come to rest: {status:#?}\n{}", self.site.log());
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        let lost = status.orphans.iter().filter(|orphan| orphan.kind == OrphanKind::UnknownMint).count();
        assert_eq!(lost, status.orphans.len(), "{:?}", status.orphans);
        if S::FINDS_LOST_ONES {
            assert_eq!(lost, 0, "{:?}", status.orphans);
        }
        let current = status.current.as_ref().unwrap();
        let known = current.marker.iter().chain(status.orphans.iter().filter_map(|orphan| orphan.marker.as_ref()));
        let mut known: Vec<_> = known.map(ToString::to_string).collect();
        known.sort();
        match self.live().await {
            Live::Names(mut names) => {
                names.sort();
                assert_eq!(names, known, "what {} lets in, and what patrold knows\n{}", S::NAME, self.site.log());
            }
            Live::Count(count) => assert_eq!(count + self.ended, known.len(), "{}\n{}", S::NAME, self.site.log()),
        }
    }

    /// What lives at the server besides what lived there before.
    async fn live(&self) -> Live {
        match (self.service.live(&self.wire).await, &self.before) {
            (Live::Names(names), Live::Names(before)) => {
                Live::Names(names.into_iter().filter(|name| !before.contains(name)).collect())
            }
            (Live::Count(count), Live::Count(before)) => Live::Count(count - before),
            (live, _) => live,
        }
    }

    fn status(&self) -> TokenStatus {
        self.site.status()
    }
}

fn at_rest(status: &TokenStatus, number: u32) -> bool {
    let current = status.current.as_ref().is_some_and(|current| current.number.0 >= number);
    current && status.phase == "steady" && status.owed.is_empty() && status.dead.is_none()
}
