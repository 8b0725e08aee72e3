use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use serde_json::{Value, json};

use super::{Got, Rig, text};
use crate::clock::Span;
use crate::demo::{Options, Service, State, Why};

const TOKENS: &str = "/V4/AccessToken";

/// Sends with the plain `Authtoken` header.
async fn ask(rig: &Rig, method: Method, path: &str, secret: &str, body: Option<Value>) -> Got {
    let headers = [("authtoken", secret.to_owned())];
    rig.send(Service::Commvault, method, path, &headers, body).await.unwrap()
}

async fn mint(rig: &Rig, name: &str) -> Value {
    let body = json!({ "tokenName": name, "tokenType": 2 });
    let got = ask(rig, Method::POST, TOKENS, &rig.admin(Service::Commvault), Some(body)).await;
    assert_eq!(got.json()["error"]["errorCode"], 0, "{got:?}");
    got.json()["tokenInfo"].clone()
}

async fn renew(rig: &Rig, pair: &Value) -> Got {
    let body = json!({ "accessToken": pair["accessToken"], "refreshToken": pair["refreshToken"] });
    rig.send(Service::Commvault, Method::POST, "/V4/AccessToken/Renew", &[], Some(body)).await.unwrap()
}

async fn is_let_in(rig: &Rig, pair: &Value) -> bool {
    let got = ask(rig, Method::GET, "/v2/WhoAmI", text(pair, "/accessToken"), None).await;
    assert!(matches!(got.status, 200 | 401), "{got:?}");
    got.status == 200
}

#[tokio::test]
async fn a_pair_is_minted_as_documented() {
    let rig = Rig::new().await;
    let until = 1_898_000_000;
    let body = json!({ "tokenName": "patrold-x", "tokenType": 2, "renewableUntilTimestamp": until });
    let got = ask(&rig, Method::POST, TOKENS, &rig.admin(Service::Commvault), Some(body)).await;
    let (access, refresh) = {
        let json = got.json();
        (text(&json, "/tokenInfo/accessToken").to_owned(), text(&json, "/tokenInfo/refreshToken").to_owned())
    };
    assert_eq!(got.status, 200);
    let issued = rig.now().timestamp();
    assert_eq!(
        got.json(),
        json!({"error": {"errorCode": 0, "errorMessage": ""},
               "tokenInfo": {"accessTokenId": 2, "tokenName": "patrold-x", "userId": 2, "accessToken": access,
                             "refreshToken": refresh, "tokenExpiryTimestamp": issued + 1800,
                             "refreshTokenExpiryTimestamp": issued + 14 * 86400, "renewableUntilTimestamp": until}})
    );
}

#[tokio::test]
async fn four_header_forms_are_accepted() {
    let rig = Rig::new().await;
    let secret = rig.admin(Service::Commvault);
    for (name, value) in [
        ("authorization", format!("Bearer {secret}")),
        ("authtoken", secret.clone()),
        ("authtoken", format!("Bearer {secret}")),
        ("authtoken", format!("QSDK {secret}")),
    ] {
        let headers = [(name, value.clone())];
        let got = rig.send(Service::Commvault, Method::GET, "/v2/WhoAmI", &headers, None).await.unwrap();
        assert_eq!(got.status, 200, "{name}: {value}");
    }
    let got = rig.send(Service::Commvault, Method::GET, "/v2/WhoAmI", &[], None).await.unwrap();
    assert_eq!((got.status, got.json()), (401, json!({"errorMessage": "Access denied", "errorCode": 5})));
}

#[tokio::test]
async fn a_renewal_replaces_the_pair_at_once() {
    let rig = Rig::new().await;
    let first = mint(&rig, "x").await;
    rig.advance(Span::minutes(31));
    assert!(!is_let_in(&rig, &first).await, "an access token lives for half an hour");
    let second = renew(&rig, &first).await.json();
    assert_eq!((&second["accessTokenId"], &second["tokenName"]), (&first["accessTokenId"], &json!("x")));
    assert!(is_let_in(&rig, &second).await);
    let third = renew(&rig, &second).await.json();
    assert!(is_let_in(&rig, &third).await);
    assert!(!is_let_in(&rig, &second).await, "the old one dies with the renewal, expired or not");
    let since = rig.now();
    let state = rig.ledger().state_of(text(&second, "/accessToken"), since);
    assert_eq!(state, State::Revoked { since, why: Why::Superseded });
    assert_eq!(rig.ledger().counters(Service::Commvault).renewed, 2);
}

#[tokio::test]
async fn presenting_an_older_pair_kills_the_chain() {
    let rig = Rig::new().await;
    let first = mint(&rig, "x").await;
    let second = renew(&rig, &first).await.json();
    let reused = renew(&rig, &first).await;
    assert_eq!(reused.status, 403);
    assert!(!is_let_in(&rig, &second).await);
    assert_eq!(renew(&rig, &second).await.status, 404);
    let state = rig.ledger().state_of(text(&second, "/accessToken"), rig.now());
    assert_eq!(state, State::Revoked { since: rig.now(), why: Why::ChainInvalidated });
    assert_eq!(rig.ledger().counters(Service::Commvault).chains_invalidated, 1);
}

#[tokio::test]
async fn a_pair_of_two_tokens_renews_neither() {
    let rig = Rig::new().await;
    let (one, other) = (mint(&rig, "one").await, mint(&rig, "other").await);
    let mixed = json!({ "accessToken": one["accessToken"], "refreshToken": other["refreshToken"] });
    assert_eq!(renew(&rig, &mixed).await.status, 403);
    assert!(is_let_in(&rig, &one).await && is_let_in(&rig, &other).await);
}

#[tokio::test]
async fn renewals_end_with_the_refresh_token_and_at_renewable_until() {
    let rig = Rig::with(Options { commvault_refresh_lifetime: Span::days(200), ..Options::default() }).await;
    let pair = mint(&rig, "x").await;
    rig.advance(Span::days(89));
    let pair = renew(&rig, &pair).await.json();
    rig.advance(Span::days(1));
    let late = renew(&rig, &pair).await;
    assert_eq!(late.status, 403);
    assert_eq!(text(&late.json(), "/errorMessage"), "Renew request placed after the permissible time limit");

    let rig = Rig::with(Options { commvault_refresh_lifetime: Span::seconds(60), ..Options::default() }).await;
    let pair = mint(&rig, "x").await;
    rig.advance(Span::seconds(60));
    assert_eq!(renew(&rig, &pair).await.status, 403);
}

#[tokio::test]
async fn a_token_is_revoked_with_an_error_inside_of_200() {
    let rig = Rig::new().await;
    let pair = mint(&rig, "x").await;
    let path = format!("{TOKENS}/{}", pair["accessTokenId"]);
    let admin = rig.admin(Service::Commvault);
    let gone = ask(&rig, Method::DELETE, &path, &admin, None).await;
    assert_eq!((gone.status, gone.json()), (200, json!({"errorCode": 0, "errorMessage": ""})));
    assert!(!is_let_in(&rig, &pair).await);
    let again = ask(&rig, Method::DELETE, &path, &admin, None).await;
    assert_eq!(again.status, 200);
    assert_ne!(again.json()["errorCode"], 0);
    assert_eq!(renew(&rig, &pair).await.status, 404);
}

#[tokio::test]
async fn mints_that_cannot_be_are_refused_in_three_ways() {
    let rig = Rig::new().await;
    let admin = rig.admin(Service::Commvault);
    let gone = mint(&rig, "taken").await;
    ask(&rig, Method::DELETE, &format!("{TOKENS}/{}", gone["accessTokenId"]), &admin, None).await;
    for (case, body, status) in [
        ("no name", json!({"tokenType": 2}), 400),
        ("type as text", json!({"tokenName": "a", "tokenType": "ALL"}), 400),
        ("custom without endpoints", json!({"tokenName": "a", "tokenType": 3}), 400),
        ("for somebody else", json!({"tokenName": "a", "userId": 3}), 403),
        ("renewable into the past", json!({"tokenName": "a", "renewableUntilTimestamp": 5}), 400),
    ] {
        let got = ask(&rig, Method::POST, TOKENS, &admin, Some(body)).await;
        assert_eq!(got.status, status, "{case}");
        assert_ne!(got.json()["errorCode"], 0, "{case}");
    }
    let taken = ask(&rig, Method::POST, TOKENS, &admin, Some(json!({"tokenName": "taken"}))).await;
    assert_eq!((taken.status, text(&taken.json(), "/error/errorMessage")), (200, "Token name already present"));

    let scim = ask(&rig, Method::POST, TOKENS, &admin, Some(json!({"tokenName": "scim", "tokenType": 1}))).await.json();
    assert_eq!(scim["tokenInfo"].get("refreshToken"), None);
    assert_eq!(scim["tokenInfo"]["tokenExpiryTimestamp"], rig.now().timestamp() + 30 * 86400);
}

#[tokio::test]
async fn newer_releases_mint_by_login_only() {
    let rig = Rig::with(Options { commvault_mint_by_token: false, ..Options::default() }).await;
    let body = json!({ "tokenName": "x" });
    let refused = ask(&rig, Method::POST, TOKENS, &rig.admin(Service::Commvault), Some(body.clone())).await;
    assert_eq!(refused.status, 403);

    let operator = rig.loopback.operator().unwrap();
    let log_in = async |password: &str| {
        let body = json!({ "username": operator.name, "password": STANDARD.encode(password), "timeout": 30 });
        rig.send(Service::Commvault, Method::POST, "/Login", &[], Some(body)).await.unwrap().json()
    };
    assert_eq!(log_in("wrong").await.get("token"), None);
    let session = log_in(operator.password.expose()).await;
    let session = text(&session, "/token");
    assert!(session.starts_with("QSDK "));
    assert_eq!(ask(&rig, Method::POST, TOKENS, session, Some(body)).await.status, 200);
    rig.advance(Span::minutes(31));
    assert_eq!(ask(&rig, Method::GET, "/v2/WhoAmI", session, None).await.status, 401);
}

#[tokio::test]
async fn wrong_passwords_lock_a_user_for_a_while() {
    let rig = Rig::with(Options { commvault_login_attempts: 3, ..Options::default() }).await;
    let operator = rig.loopback.operator().unwrap();
    let log_in = async |password: &str| {
        let body = json!({ "username": operator.name, "password": STANDARD.encode(password) });
        rig.send(Service::Commvault, Method::POST, "/Login", &[], Some(body)).await.unwrap().json()
    };
    for _ in 0..3 {
        let refused = log_in("wrong").await;
        assert_eq!((refused.get("token"), refused.get("isAccountLocked")), (None, None));
        assert!(!text(&refused, "/errList/0/errLogMessage").is_empty());
    }
    rig.advance(Span::minutes(10));
    let locked = log_in(operator.password.expose()).await;
    assert_eq!((&locked["isAccountLocked"], &locked["remainingLockTime"]), (&json!(true), &json!(1200)));
    rig.advance(Span::minutes(20));
    assert!(text(&log_in(operator.password.expose()).await, "/token").starts_with("QSDK "));
}

#[tokio::test]
async fn a_listing_shows_no_secret_and_is_for_oneself() {
    let rig = Rig::new().await;
    mint(&rig, "x").await;
    let admin = rig.admin(Service::Commvault);
    let got = ask(&rig, Method::GET, "/V4/AccessToken/?userId=2", &admin, None).await.json();
    let issued = rig.now().timestamp();
    assert_eq!(
        got["tokens"][1],
        json!({"accessTokenId": 2, "tokenName": "x", "userId": 2, "createdTimestamp": issued,
               "tokenExpiryTimestamp": issued + 1800, "refreshTokenExpiryTimestamp": issued + 14 * 86400,
               "renewableUntilTimestamp": issued + 90 * 86400})
    );
    assert_eq!(ask(&rig, Method::GET, "/V4/AccessToken/?userId=1", &admin, None).await.status, 403);
}
