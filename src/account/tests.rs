//! Whole accounts against a provider on loopback that each test scripts, under a clock that stands still.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Notify;

use std::sync::Mutex;

use tokio::sync::watch;

use super::*;
use crate::clock::{ManualClock, Span, SystemClock, Time};
use crate::definition::Definitions;
use crate::document::Report;
use crate::endpoint::shared::{Bounds, EndpointError};
use crate::endpoint::{EndpointState, QUEUE_PATIENCE, Workshop};
use crate::inventory::{Credential, EndpointPolicy, ProxyPolicy, RateLimit, Timeouts};
use crate::names::{GenerationNo, InstanceId, Marker, RotationId};
use crate::outcome::{FailureCode, Outcome};
use crate::provider::{Gone, MintRequest, Params, ProviderClock, Subject, Verdict};
use crate::secret::{Secret, SecretParts, SecretSource};
use crate::trust::TlsPolicy;

mod login;
mod request_id;

const DEFINITION: &str = r#"
[provider]
name = "test"
title = "Test"

[auth.form.bearer]
headers = { Authorization = "Bearer {{ cred.secret }}" }

[mint]
method = "POST"
url = "{{ base_url }}/mint"
json = { name = "{{ want.name }}" }
capture = { secret = "/secret", id = "/id", expires = { from = "none" } }

[list]
method = "GET"
url = "{{ base_url }}/list"
query = { cursor = "{{ page.cursor }}" }
items = "/items"
page = { style = "cursor", next = "/next" }
item = { id = "/id", name = "/name" }

[verify]
method = "GET"
url = "{{ base_url }}/verify"
auth = "subject"

[renew]
method = "POST"
url = "{{ base_url }}/renew"
auth = "subject"
capture = { secret = "/secret", id = "/id", expires = { from = "none" } }

[revoke]
method = "DELETE"
url = "{{ base_url }}/revoke/{{ old.id }}"
gone-ok = [404]
"#;

/// A request as the provider saw it: `GET /verify Bearer SECRET`.
type Seen = Arc<Mutex<Vec<String>>>;

struct Setup {
    policy: AccountPolicy,
    clock: ManualClock,
    directory: tempfile::TempDir,
    seen: Seen,
    /// The ids of the requests.
    ids: Seen,
}

impl Setup {
    /// An account whose provider answers with what `reply` says to the n-th request, counted from 1.
    async fn new<R: IntoResponse>(reply: impl Fn(usize, &str) -> R + Clone + Send + Sync + 'static) -> Self {
        Self::with_definition(DEFINITION, move |n, seen| {
            let response = reply(n, &seen).into_response();
            async move { response }
        })
        .await
    }

    async fn with_definition<F>(
        definition: &str,
        reply: impl Fn(usize, String) -> F + Clone + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = axum::response::Response> + Send + 'static,
    {
        let (seen, ids) = (Seen::default(), Seen::default());
        let app = axum::Router::new().fallback({
            let (seen, ids) = (Arc::clone(&seen), Arc::clone(&ids));
            move |request: axum::extract::Request| {
                let secret = request.headers().get("authorization").map_or("", |value| value.to_str().unwrap());
                let id = request.headers().get("x-request-id").map_or("", |value| value.to_str().unwrap());
                ids.lock().unwrap().push(id.to_owned());
                let line = format!("{} {} {secret}", request.method(), request.uri());
                let number = {
                    let mut seen = seen.lock().unwrap();
                    seen.push(line.clone());
                    seen.len()
                };
                reply(number, line)
            }
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("credential"), "admin").unwrap();
        let policy = policy(&url, definition, directory.path());
        Self { policy, clock: ManualClock::new(SystemClock.now()), directory, seen, ids }
    }

    fn account(&self) -> Account<ManualClock> {
        account(self.policy.clone(), &self.clock, None).unwrap()
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }

    fn ids(&self) -> Vec<String> {
        self.ids.lock().unwrap().clone()
    }

    fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

fn policy(url: &str, definition: &str, directory: &Path) -> AccountPolicy {
    let definitions = directory.join("definitions");
    std::fs::create_dir(&definitions).unwrap();
    std::fs::write(definitions.join("test.toml"), definition).unwrap();
    let mut report = Report::new();
    let loaded = Definitions::load(Some(&definitions), &mut report);
    assert_eq!(report.errors(), 0, "{}", report.render());
    let minute = Duration::from_secs(60);
    AccountPolicy {
        name: "test".parse().unwrap(),
        provider: loaded.get("test").unwrap(),
        endpoint: EndpointPolicy {
            url: url.parse().unwrap(),
            connect_to: None,
            credential: Credential::Secret(SecretSource::File(directory.join("credential"))),
            rate_limit: None,
            tls: TlsPolicy::default(),
            proxy: ProxyPolicy::default(),
            headers: BTreeMap::new(),
            timeouts: Timeouts { connect: minute, headers: minute, body: minute },
            max_response: 1 << 20,
            max_in_flight: 4,
        },
        params: Params::new(),
        poll_every: Span::hours(1),
        settle: Span::seconds(60),
    }
}

type Managed = watch::Receiver<Option<Arc<SecretParts>>>;

/// An account at an endpoint of its own.
fn account(
    policy: impl Into<Arc<AccountPolicy>>,
    clock: &ManualClock,
    managed: Option<Managed>,
) -> Result<Account<ManualClock>, EndpointError> {
    let policy = policy.into();
    let workshop = Workshop::forgetful()?;
    let bounds = Bounds::of(&policy.endpoint);
    let shared = workshop.shared(&policy.endpoint, bounds, managed, clock.now())?;
    Ok(Account::new(policy, clock.clone(), shared, Arc::default(), None))
}

fn mint_request() -> MintRequest {
    let instance = InstanceId::new([1; 4]);
    let marker = Marker::new(instance, &"gps".parse().unwrap(), GenerationNo(1), RotationId::new([1; 6]));
    MintRequest { marker, lifetime: None }
}

fn subject() -> Subject {
    Subject { id: Some("7".parse().unwrap()), secret: Some(secret("old")), ..Subject::default() }
}

/// The same, whose secret is `text`.
fn presenting(text: &str) -> Subject {
    Subject { secret: Some(secret(text)), ..subject() }
}

fn secret(text: &str) -> SecretParts {
    SecretParts::new(Secret::new(text))
}

fn minted() -> axum::Json<Value> {
    axum::Json(json!({ "secret": "new", "id": "8" }))
}

/// The kind of an outcome, the code of its failure, and the seconds that it asks for.
fn told<T>(outcome: &Outcome<T>, now: Time) -> (&'static str, Option<FailureCode>, Option<i64>) {
    match outcome {
        Outcome::Done(_) => ("done", None, None),
        Outcome::Later { not_before, failure } => {
            ("later", Some(failure.code), not_before.map(|time| (time - now).num_seconds()))
        }
        Outcome::Refused(failure) => ("refused", Some(failure.code), None),
        Outcome::Unknown(failure) => ("ambiguous", Some(failure.code), None),
    }
}

/// Waits until `holds`, while other tasks run.
async fn until(holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting).await.expect("it never came to hold");
}

#[tokio::test]
async fn each_operation_authenticates_with_the_secret_of_its_role() {
    let setup = Setup::new(|_, seen: &str| match seen {
        seen if seen.contains("/list") => axum::Json(json!({ "items": [{ "id": "7", "name": "x" }] })),
        _ => minted(),
    })
    .await;
    let (account, params) = (setup.account(), Params::new());
    let new = account.mint(&params, &mint_request()).await.into_result().unwrap();
    assert_eq!(new.secret.token().expose(), "new");
    let verdict = account.verify(&params, &presenting("presented")).await.into_result().unwrap();
    assert!(matches!(verdict, Verdict::Alive { .. }), "{verdict:?}");
    assert_eq!(account.list(&params).await.into_result().unwrap().entries().len(), 1);
    account.renew(&params, &mint_request(), &subject()).await.into_result().unwrap();
    assert_eq!(account.revoke(&params, &subject()).await.into_result().unwrap(), Gone::Revoked);
    assert_eq!(
        setup.seen(),
        [
            "POST /mint Bearer admin",
            "GET /verify Bearer presented",
            "GET /list Bearer admin",
            "POST /renew Bearer old",
            "DELETE /revoke/7 Bearer admin",
        ]
    );
    let health = account.endpoint().health();
    assert_eq!((health.state, health.requests), (EndpointState::Fine, 5));
}

#[tokio::test]
async fn an_unclear_end_is_ambiguous_where_something_may_have_been_made() {
    let setup = Setup::new(|_, _| StatusCode::OK).await;
    let mut policy = setup.policy.clone();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    policy.endpoint.url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    // Accepted and dropped: the request may have arrived.
    tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    let account = account(policy, &setup.clock, None).unwrap();
    let (params, now) = (Params::new(), setup.clock.now());
    let reset = Some(FailureCode::Reset);
    assert_eq!(told(&account.mint(&params, &mint_request()).await, now), ("ambiguous", reset, None));
    assert_eq!(told(&account.renew(&params, &mint_request(), &subject()).await, now), ("ambiguous", reset, None));
    assert_eq!(told(&account.list(&params).await, now), ("later", reset, None));
    assert_eq!(told(&account.verify(&params, &presenting("a")).await, now), ("later", reset, None));
    assert_eq!(told(&account.revoke(&params, &subject()).await, now), ("later", reset, None));
}

#[tokio::test]
async fn a_provider_that_cannot_be_reached_has_minted_nothing() {
    let setup = Setup::new(|_, _| minted()).await;
    let mut policy = setup.policy.clone();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    policy.endpoint.url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    drop(listener);
    let account = account(policy, &setup.clock, None).unwrap();
    let outcome = account.mint(&Params::new(), &mint_request()).await;
    assert_eq!(told(&outcome, setup.clock.now()), ("later", Some(FailureCode::Connect), None));
    assert!(matches!(account.endpoint().health().state, EndpointState::Degraded { .. }));
}

#[tokio::test]
async fn what_the_definition_lacks_is_refused_without_a_request() {
    let without_revoke = DEFINITION.split("[revoke]").next().unwrap();
    let setup = Setup::with_definition(without_revoke, |_, _| async { minted().into_response() }).await;
    let outcome = setup.account().revoke(&Params::new(), &subject()).await;
    assert_eq!(told(&outcome, setup.clock.now()), ("refused", Some(FailureCode::NoOperation), None));
    assert_eq!(setup.count(), 0);
}

#[tokio::test]
async fn a_listing_is_all_of_its_pages() {
    let setup = Setup::new(|n, _| {
        let next = if n < 3 { json!(format!("c{n}")) } else { Value::Null };
        axum::Json(json!({ "items": [{ "id": n.to_string(), "name": "x" }], "next": next }))
    })
    .await;
    let listing = setup.account().list(&Params::new()).await.into_result().unwrap();
    assert!(listing.is_complete());
    assert_eq!(listing.at(), setup.clock.now());
    let ids: Vec<_> = listing.entries().iter().map(|entry| entry.remote.id.clone().unwrap().to_string()).collect();
    assert_eq!(ids, ["1", "2", "3"]);
    assert!(setup.seen()[2].starts_with("GET /list?cursor=c2 "), "{:?}", setup.seen());
}

#[tokio::test]
async fn a_listing_that_ends_early_or_never_is_none() {
    let page = |next: &str| axum::Json(json!({ "items": [], "next": next })).into_response();
    let broken =
        Setup::new(move |n, _| if n < 3 { page(&n.to_string()) } else { StatusCode::BAD_GATEWAY.into_response() });
    let broken = broken.await;
    let outcome = broken.account().list(&Params::new()).await;
    assert_eq!(outcome.into_result().unwrap_err().code, FailureCode::ServerError);

    let circle = Setup::new(move |n, _| page(["a", "b", "c"][n % 3])).await;
    let outcome = circle.account().list(&Params::new()).await;
    assert_eq!(outcome.into_result().unwrap_err().code, FailureCode::NotUnderstood);
    assert_eq!(circle.count(), 4);
}

#[tokio::test]
async fn a_listing_without_end_stops_and_says_that_it_is_not_complete() {
    let endless = Setup::new(|n, _| {
        let next = n.to_string();
        axum::Json(json!({ "items": [{ "id": next, "name": "x" }], "next": next }))
    })
    .await;
    let listing = endless.account().list(&Params::new()).await.into_result().unwrap();
    assert!(!listing.is_complete());
    assert_eq!(listing.entries().len(), observe::MAX_PAGES);
}

#[tokio::test]
async fn a_page_that_is_put_off_for_a_short_time_is_asked_for_again() {
    let setup = Setup::new(|n, _| match n {
        1 => axum::Json(json!({ "items": [], "next": "a" })).into_response(),
        2 => (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "90")]).into_response(),
        _ => axum::Json(json!({ "items": [] })).into_response(),
    })
    .await;
    let account = setup.account();
    let listing = tokio::spawn({
        let account = account.clone();
        async move { account.list(&Params::new()).await }
    });
    until(|| account.endpoint().health().blocked_until.is_some()).await;
    setup.clock.advance(Span::seconds(90));
    assert!(listing.await.unwrap().into_result().unwrap().is_complete());
    assert_eq!(setup.count(), 3);
}

#[tokio::test]
async fn a_call_for_patience_holds_for_every_operation_of_the_account() {
    let setup = Setup::new(|n, _| match n {
        1 => (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "60")]).into_response(),
        _ => minted().into_response(),
    })
    .await;
    let (account, params, now) = (setup.account(), Params::new(), setup.clock.now());
    let patience = ("later", Some(FailureCode::RateLimited), Some(60));
    assert_eq!(told(&account.mint(&params, &mint_request()).await, now), patience);
    assert_eq!(told(&account.revoke(&params, &subject()).await, now), patience);
    assert_eq!(told(&account.verify(&params, &presenting("a")).await, now), patience);
    assert_eq!(setup.count(), 1);
    setup.clock.advance(Span::seconds(60));
    account.mint(&params, &mint_request()).await.into_result().unwrap();
}

#[tokio::test]
async fn requests_keep_to_the_rate_limit_and_short_waits_are_waited_for() {
    let mut setup = Setup::new(|_, _| minted()).await;
    setup.policy.endpoint.rate_limit = Some(RateLimit { requests: 2, per: Duration::from_secs(10) });
    let (account, params) = (setup.account(), Params::new());
    for _ in 0..2 {
        account.mint(&params, &mint_request()).await.into_result().unwrap();
    }
    let outcome = account.mint(&params, &mint_request()).await;
    assert_eq!(told(&outcome, setup.clock.now()), ("later", Some(FailureCode::RateLimited), Some(10)));
    setup.clock.advance(Span::seconds(7));
    let waiting = tokio::spawn({
        let account = account.clone();
        async move { account.mint(&Params::new(), &mint_request()).await }
    });
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(!waiting.is_finished());
    assert_eq!(setup.count(), 2);
    setup.clock.advance(Span::seconds(3));
    waiting.await.unwrap().into_result().unwrap();
}

#[tokio::test]
async fn no_more_requests_are_under_way_than_allowed() {
    let gate = Arc::new(Notify::new());
    let most = Arc::new(AtomicUsize::new(0));
    let under_way = Arc::new(AtomicUsize::new(0));
    let mut setup = Setup::with_definition(DEFINITION, {
        let (gate, most, under_way) = (Arc::clone(&gate), Arc::clone(&most), Arc::clone(&under_way));
        move |_, _| {
            let (gate, most, under_way) = (Arc::clone(&gate), Arc::clone(&most), Arc::clone(&under_way));
            async move {
                most.fetch_max(under_way.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                gate.notified().await;
                under_way.fetch_sub(1, Ordering::SeqCst);
                minted().into_response()
            }
        }
    })
    .await;
    setup.policy.endpoint.max_in_flight = 2;
    let account = setup.account();
    let mints: Vec<_> = (0..5)
        .map(|_| {
            let account = account.clone();
            tokio::spawn(async move { account.mint(&Params::new(), &mint_request()).await })
        })
        .collect();
    until(|| under_way.load(Ordering::SeqCst) == 2).await;
    for n in 1..=5 {
        until(|| setup.count() >= n).await;
        gate.notify_one();
    }
    for mint in mints {
        mint.await.unwrap().into_result().unwrap();
    }
    assert_eq!(most.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn who_waits_too_long_for_others_is_told_to_come_back() {
    let mut setup = Setup::with_definition(DEFINITION, |_, _| std::future::pending()).await;
    setup.policy.endpoint.max_in_flight = 1;
    let account = setup.account();
    let mint = |account: Account<ManualClock>| async move { account.mint(&Params::new(), &mint_request()).await };
    let first = tokio::spawn(mint(account.clone()));
    until(|| setup.count() == 1).await;
    let second = tokio::spawn(mint(account));
    until(|| {
        setup.clock.advance(QUEUE_PATIENCE);
        second.is_finished()
    })
    .await;
    let outcome = second.await.unwrap();
    assert_eq!(told(&outcome, setup.clock.now()), ("later", Some(FailureCode::RateLimited), None));
    first.abort();
}

#[tokio::test]
async fn a_dead_credential_is_tried_rarely_until_it_changes() {
    let setup = Setup::new(|_, seen: &str| match seen {
        seen if seen.ends_with("Bearer admin") => StatusCode::UNAUTHORIZED.into_response(),
        _ => minted().into_response(),
    })
    .await;
    let (account, params, now) = (setup.account(), Params::new(), setup.clock.now());
    let unauthorized = Some(FailureCode::Unauthorized);
    assert_eq!(told(&account.mint(&params, &mint_request()).await, now), ("refused", unauthorized, None));
    assert!(matches!(account.endpoint().health().state, EndpointState::Degraded { .. }));
    assert_eq!(told(&account.mint(&params, &mint_request()).await, now), ("later", unauthorized, Some(2)));
    assert_eq!(setup.count(), 1);
    // Tokens that authenticate for themselves are none the worse.
    account.verify(&params, &presenting("a")).await.into_result().unwrap();
    setup.clock.advance(Span::seconds(2));
    assert_eq!(told(&account.mint(&params, &mint_request()).await, now), ("refused", unauthorized, None));
    assert_eq!(setup.count(), 3);

    std::fs::write(setup.directory.path().join("credential"), "repaired").unwrap();
    account.mint(&params, &mint_request()).await.into_result().unwrap();
    assert_eq!(account.endpoint().health().state, EndpointState::Fine);
}

#[tokio::test]
async fn a_missing_credential_degrades_the_account_until_it_is_there() {
    let setup = Setup::new(|_, _| minted()).await;
    let (account, params) = (setup.account(), Params::new());
    let path = setup.directory.path().join("credential");
    std::fs::remove_file(&path).unwrap();
    let outcome = account.mint(&params, &mint_request()).await;
    assert_eq!(told(&outcome, setup.clock.now()), ("later", Some(FailureCode::NoCredential), None));
    assert!(matches!(account.endpoint().health().state, EndpointState::Degraded { .. }));
    std::fs::write(&path, "admin").unwrap();
    account.mint(&params, &mint_request()).await.into_result().unwrap();
    assert_eq!(account.endpoint().health().state, EndpointState::Fine);
}

#[tokio::test]
async fn a_managed_credential_may_switch_in_the_middle_of_a_request() {
    let (sender, receiver) = watch::channel(Some(Arc::new(secret("one"))));
    let sender = Arc::new(sender);
    let mut setup = Setup::new({
        let sender = Arc::clone(&sender);
        move |_, seen: &str| {
            if seen.ends_with("Bearer two") {
                return minted().into_response();
            }
            sender.send_replace(Some(Arc::new(secret("two"))));
            StatusCode::UNAUTHORIZED.into_response()
        }
    })
    .await;
    setup.policy.endpoint.credential = Credential::Token("gps-admin".parse().unwrap());
    let policy = Arc::new(setup.policy.clone());
    assert!(matches!(account(policy.clone(), &setup.clock, None), Err(EndpointError::NotManaged(_))));
    let account = account(policy, &setup.clock, Some(receiver)).unwrap();
    let params = Params::new();
    let outcome = account.mint(&params, &mint_request()).await;
    assert_eq!(told(&outcome, setup.clock.now()), ("later", Some(FailureCode::Unauthorized), None));
    assert_eq!(account.endpoint().health().state, EndpointState::Unknown);
    account.mint(&params, &mint_request()).await.into_result().unwrap();
}

#[tokio::test]
async fn an_account_that_is_refused_says_nothing_of_the_token_it_asks_about() {
    let by_the_account = "/verify/{{ old.id }}\"\nauth = \"account\"";
    let definition = DEFINITION.replace("/verify\"\nauth = \"subject\"", by_the_account);
    let setup = Setup::with_definition(&definition, |_, _| async { StatusCode::UNAUTHORIZED.into_response() }).await;
    let outcome = setup.account().verify(&Params::new(), &presenting("a")).await;
    assert_eq!(told(&outcome, setup.clock.now()), ("refused", Some(FailureCode::Unauthorized), None));
    assert_eq!(setup.seen(), ["GET /verify/7 Bearer admin"]);
}

#[tokio::test]
async fn the_clocks_are_compared() {
    let setup = Setup::new(|_, _| ([("date", "Thu, 01 Jan 1970 00:02:00 GMT")], minted())).await;
    setup.clock.set(Time::UNIX_EPOCH);
    let account = setup.account();
    assert_eq!(account.endpoint().clock(), ProviderClock::Unseen);
    account.mint(&Params::new(), &mint_request()).await.into_result().unwrap();
    let health = account.endpoint().health();
    assert_eq!((health.skew, health.skew_is_worrying), (Some(Span::milliseconds(120_500)), true));
}

#[tokio::test]
async fn nothing_secret_is_printed() {
    let setup = Setup::new(|_, seen: &str| (StatusCode::BAD_REQUEST, axum::Json(json!({ "echo": seen })))).await;
    let account = setup.account();
    let outcome = account.mint(&Params::new(), &mint_request()).await;
    let shown =
        format!("{outcome:?} {account:?} {:?} {}", account.endpoint().health(), json!(account.endpoint().health()));
    assert!(shown.contains("test") && !shown.contains("admin"), "{shown}");
}

#[tokio::test]
async fn what_goes_before_a_revocation_is_asked_for_first_and_may_be_refused() {
    let before = "[[revoke.before]]\nmethod = \"POST\"\nurl = \"{{ base_url }}/deactivate/{{ old.id }}\"\n";
    for (status, wanted, requests) in [
        (StatusCode::OK, "done", 2),
        (StatusCode::BAD_REQUEST, "done", 2),
        (StatusCode::UNAUTHORIZED, "refused", 1),
        (StatusCode::BAD_GATEWAY, "later", 1),
    ] {
        let setup = Setup::with_definition(&format!("{DEFINITION}{before}"), move |_, seen| async move {
            if seen.starts_with("POST /deactivate/7 ") { status } else { StatusCode::NO_CONTENT }.into_response()
        })
        .await;
        let outcome = setup.account().revoke(&Params::new(), &subject()).await;
        assert_eq!((told(&outcome, setup.clock.now()).0, setup.count()), (wanted, requests), "{status}");
    }
}

/// Accounts with different settings at one endpoint, and what the endpoint is made with.
fn neighbours(setup: &Setup) -> (Workshop, [Account<ManualClock>; 2]) {
    let workshop = Workshop::forgetful().unwrap();
    let policy = &setup.policy.endpoint;
    let shared = workshop.shared(policy, Bounds::of(policy), None, setup.clock.now()).unwrap();
    let accounts = ["one", "other"].map(|name| {
        let policy = Arc::new(AccountPolicy { name: name.parse().unwrap(), ..setup.policy.clone() });
        Account::new(policy, setup.clock.clone(), Arc::clone(&shared), Arc::default(), None)
    });
    (workshop, accounts)
}

/// The same account after an edit that has nothing to do with what it is told.
fn edited(account: &Account<ManualClock>) -> Account<ManualClock> {
    let mut policy = AccountPolicy::clone(account.policy());
    policy.endpoint.timeouts.body *= 2;
    policy.poll_every = policy.poll_every * 2;
    account.changed(Arc::new(policy), Arc::default(), None)
}

#[tokio::test]
async fn accounts_at_one_endpoint_share_what_is_counted_there_and_an_edit_forgets_none_of_it() {
    let patient = Setup::new(|_, _| (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "60")])).await;
    let refusing = Setup::new(|_, _| StatusCode::UNAUTHORIZED).await;
    let mut limited = Setup::new(|_, _| minted()).await;
    limited.policy.endpoint.rate_limit = Some(RateLimit { requests: 1, per: Duration::from_secs(90) });
    for (sentence, setup, wait, code) in [
        ("Retry-After", patient, 60, FailureCode::RateLimited),
        ("a refused password", refusing, 2, FailureCode::Unauthorized),
        ("a rate limit", limited, 90, FailureCode::RateLimited),
    ] {
        let (_, [one, other]) = neighbours(&setup);
        let (params, now) = (Params::new(), setup.clock.now());
        let _ = one.mint(&params, &mint_request()).await;
        for account in [other.clone(), edited(&other), edited(&one)] {
            let outcome = account.mint(&params, &mint_request()).await;
            let (kind, failure, until) = told(&outcome, now);
            assert_eq!((kind, failure), ("later", Some(code)), "{sentence}");
            assert!(until >= Some(wait), "{sentence}: {until:?}");
        }
        assert_eq!(setup.count(), 1, "{sentence}: one request for all of them");
    }
}

#[tokio::test]
async fn a_stop_waits_for_what_makes_something_and_for_no_question() {
    let mut setup = Setup::with_definition(DEFINITION, |_, _| std::future::pending()).await;
    setup.policy.endpoint.max_in_flight = 3;
    let (workshop, [account, _]) = neighbours(&setup);
    let start = |ask: fn(Account<ManualClock>) -> futures_util::future::BoxFuture<'static, Outcome<()>>| {
        tokio::spawn(ask(account.clone()))
    };
    let mint = start(|account| Box::pin(async move { account.mint(&Params::new(), &mint_request()).await.map(drop) }));
    let list = start(|account| Box::pin(async move { account.list(&Params::new()).await.map(drop) }));
    let verify =
        start(|account| Box::pin(async move { account.verify(&Params::new(), &presenting("a")).await.map(drop) }));
    until(|| setup.count() == 3).await;
    let waits = start(|account| Box::pin(async move { account.mint(&Params::new(), &mint_request()).await.map(drop) }));
    tokio::task::yield_now().await;
    workshop.hang_up();
    let now = setup.clock.now();
    for (sentence, given_up) in [("a listing", list), ("a verification", verify), ("who waits for a turn", waits)] {
        let outcome = tokio::time::timeout(Duration::from_secs(60), given_up).await.expect(sentence).unwrap();
        assert_eq!(told(&outcome, now), ("later", Some(FailureCode::Withdrawn), None), "{sentence}");
    }
    assert!(!mint.is_finished(), "a mint under way is waited for");
    mint.abort();
}
