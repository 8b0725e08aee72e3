use reqwest::Method;
use serde_json::{Value, json};

use super::{Got, Rig, text};
use crate::clock::Span;
use crate::demo::{Options, Service};
use crate::provider::Operation;

const MINT: &str = "mutation Mint($n: String!, $t: String, $r: TokenRole, $d: Int!) { \
                    createPersonalAccessToken(name: $n, description: $t, role: $r, expiryInDays: $d) }";
const LIST: &str = "query L { viewPersonalAccessTokens { name description role status createdAt expiresAt } }";
const REVOKE: &str = "mutation R($n: String!) { revokePersonalAccessToken(name: $n) }";

async fn ask(rig: &Rig, secret: &str, query: &str, variables: Value) -> Got {
    let body = json!({ "query": query, "variables": variables });
    rig.bearer(Service::PointOne, Method::POST, "/graphql", secret, Some(body)).await
}

async fn mint(rig: &Rig, name: &str, role: &str, days: i64) -> String {
    let variables = json!({ "n": name, "t": "a test", "r": role, "d": days });
    let got = ask(rig, &rig.admin(Service::PointOne), MINT, variables).await;
    assert_eq!(got.status, 200, "{got:?}");
    text(&got.json(), "/data/createPersonalAccessToken").to_owned()
}

fn code(got: &Got) -> String {
    text(&got.json(), "/errors/0/extensions/code").to_owned()
}

#[tokio::test]
async fn a_token_is_minted_listed_and_lives_for_its_days() {
    let rig = Rig::with(Options { point_one_day: Span::seconds(1), ..Options::default() }).await;
    let secret = mint(&rig, "patrold-x", "ROLE_READ_WRITE", 20).await;

    let listed = ask(&rig, &secret, LIST, json!({})).await.json();
    let listed = listed.pointer("/data/viewPersonalAccessTokens/1").unwrap();
    assert_eq!(
        *listed,
        json!({ "name": "patrold-x", "description": "a test", "role": "ROLE_READ_WRITE", "status": "ACTIVE",
                "createdAt": "2030-01-02T03:04:05.678Z", "expiresAt": "2030-01-02T03:04:25.678Z" })
    );

    rig.advance(Span::milliseconds(19_999));
    assert_eq!(ask(&rig, &secret, "{ __typename }", json!({})).await.json(), json!({"data": {"__typename": "Query"}}));
    rig.advance(Span::milliseconds(1));
    let got = ask(&rig, &secret, "{ __typename }", json!({})).await;
    assert_eq!((got.status, code(&got).as_str()), (401, "UNAUTHENTICATED"));
    let left = ask(&rig, &rig.admin(Service::PointOne), LIST, json!({})).await.json();
    assert_eq!(left.pointer("/data/viewPersonalAccessTokens").unwrap().as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_revoked_token_is_dead_and_its_name_unknown() {
    let rig = Rig::new().await;
    let secret = mint(&rig, "one", "ROLE_READ_WRITE", 1).await;
    // A token may revoke itself.
    assert_eq!(
        ask(&rig, &secret, REVOKE, json!({"n": "one"})).await.json(),
        json!({"data": {"revokePersonalAccessToken": true}})
    );
    assert_eq!(ask(&rig, &secret, LIST, json!({})).await.status, 401);
    let again = ask(&rig, &rig.admin(Service::PointOne), REVOKE, json!({"n": "one"})).await;
    assert_eq!((again.status, code(&again).as_str()), (200, "NOT_FOUND"));
    assert_eq!(again.json()["data"], Value::Null);
}

#[tokio::test]
async fn a_listing_may_show_the_dead_with_their_status() {
    let rig = Rig::with(Options { point_one_lists_dead: true, ..Options::default() }).await;
    mint(&rig, "revoked", "ROLE_READ_WRITE", 1).await;
    mint(&rig, "expired", "ROLE_READ_WRITE", 1).await;
    let admin = rig.admin(Service::PointOne);
    ask(&rig, &admin, REVOKE, json!({"n": "revoked"})).await;
    rig.advance(Span::days(2));
    let listed = ask(&rig, &admin, "{ all: viewPersonalAccessTokens { name status } }", json!({})).await.json();
    assert_eq!(
        listed["data"]["all"],
        json!([{"name": "bootstrap", "status": "ACTIVE"}, {"name": "revoked", "status": "REVOKED"},
               {"name": "expired", "status": "EXPIRED"}])
    );
}

#[tokio::test]
async fn a_revocation_may_take_time_to_spread() {
    let rig = Rig::with(Options { revocation_delay: Span::seconds(5), ..Options::default() }).await;
    let secret = mint(&rig, "one", "ROLE_READ_WRITE", 1).await;
    ask(&rig, &secret, REVOKE, json!({"n": "one"})).await;
    assert!(!rig.ledger().is_live(&secret, rig.now()));
    assert!(rig.ledger().accepts(&secret, rig.now()));
    assert_eq!(ask(&rig, &secret, LIST, json!({})).await.status, 200);
    rig.advance(Span::seconds(5));
    assert_eq!(ask(&rig, &secret, LIST, json!({})).await.status, 401);
}

#[tokio::test]
async fn refusals_have_the_shape_of_their_stage() {
    let rig = Rig::new().await;
    let admin = rig.admin(Service::PointOne);
    let reader = mint(&rig, "reader", "ROLE_READ_ONLY", 1).await;
    let variables = |name: &str, days: i64| json!({"n": name, "t": null, "r": "ROLE_READ_WRITE", "d": days});
    for (case, secret, query, variables, status, expected) in [
        ("no such token", "nonsense", LIST, json!({}), 401, "UNAUTHENTICATED"),
        ("not a document", &admin, "query {", json!({}), 400, "GRAPHQL_PARSE_FAILED"),
        ("unknown operation", &admin, "{ me { id } }", json!({}), 400, "GRAPHQL_VALIDATION_FAILED"),
        ("introspection", &admin, "{ __schema { types { name } } }", json!({}), 400, "GRAPHQL_VALIDATION_FAILED"),
        ("unknown field", &admin, "{ viewPersonalAccessTokens { id } }", json!({}), 400, "GRAPHQL_VALIDATION_FAILED"),
        ("no selection", &admin, "{ viewPersonalAccessTokens }", json!({}), 400, "GRAPHQL_VALIDATION_FAILED"),
        (
            "undefined variable",
            &admin,
            "mutation { revokePersonalAccessToken(name: $n) }",
            json!({}),
            400,
            "GRAPHQL_VALIDATION_FAILED",
        ),
        (
            "missing argument",
            &admin,
            "mutation { revokePersonalAccessToken }",
            json!({}),
            400,
            "GRAPHQL_VALIDATION_FAILED",
        ),
        ("missing variable", &admin, MINT, json!({"n": "x"}), 400, "BAD_USER_INPUT"),
        ("mutation by a reader", &reader, MINT, variables("x", 1), 200, "FORBIDDEN"),
        ("no days", &admin, MINT, variables("x", 0), 200, "BAD_USER_INPUT"),
        ("taken name", &admin, MINT, variables("reader", 1), 200, "BAD_USER_INPUT"),
    ] {
        let got = ask(&rig, secret, query, variables).await;
        assert_eq!((got.status, code(&got).as_str()), (status, expected), "{case}");
    }
    assert_eq!(rig.ledger().counters(Service::PointOne).minted, 2, "no refusal minted anything");
    assert_eq!(ask(&rig, &reader, LIST, json!({})).await.status, 200);

    let elsewhere = rig.bearer(Service::PointOne, Method::POST, "/", &admin, Some(json!({}))).await;
    assert_eq!(elsewhere.status, 404);
    assert!(elsewhere.text.contains("/graphql"), "{elsewhere:?}");
}

#[tokio::test]
async fn requests_are_logged_with_what_they_were_about() {
    let rig = Rig::new().await;
    mint(&rig, "one", "ROLE_READ_WRITE", 1).await;
    let admin = rig.admin(Service::PointOne);
    ask(&rig, &admin, LIST, json!({})).await;
    ask(&rig, &admin, "query Verify { viewPersonalAccessTokens { name } }", json!({})).await;
    ask(&rig, &admin, "mutation { revokePersonalAccessToken(name: \"one\") }", json!({})).await;
    ask(&rig, &admin, "{ nothing }", json!({})).await;
    let seen: Vec<_> =
        rig.loopback.requests().into_iter().map(|record| (record.operation, record.about, record.status)).collect();
    assert_eq!(
        seen,
        [
            (Some(Operation::Mint), Some("one".to_owned()), Some(200)),
            (Some(Operation::List), None, Some(200)),
            (Some(Operation::Verify), None, Some(200)),
            (Some(Operation::Revoke), Some("one".to_owned()), Some(200)),
            (None, None, Some(400)),
        ]
    );
}
