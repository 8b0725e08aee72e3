use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use serde_json::{Value, json};

use super::{Got, Rig, text};
use crate::clock::Span;
use crate::demo::{Options, Service, State};

const OWN: &str = "/api/v2/users/2/personal_tokens/";

async fn ask(rig: &Rig, method: Method, path: &str, secret: &str, body: Option<Value>) -> Got {
    rig.bearer(Service::Awx, method, path, secret, body).await
}

async fn basic(rig: &Rig, method: Method, path: &str, user: &str, body: Option<Value>) -> Got {
    let credential = STANDARD.encode(format!("{user}:{user}-password"));
    let headers = [("authorization", format!("Basic {credential}"))];
    rig.send(Service::Awx, method, path, &headers, body).await.unwrap()
}

async fn mint(rig: &Rig, description: &str, scope: &str) -> (u64, String) {
    let body = json!({ "description": description, "scope": scope });
    let got = ask(rig, Method::POST, OWN, &rig.admin(Service::Awx), Some(body)).await;
    assert_eq!(got.status, 201, "{got:?}");
    let token = got.json();
    assert_eq!(got.header("location"), text(&token, "/url"));
    (token["id"].as_u64().unwrap(), text(&token, "/token").to_owned())
}

#[tokio::test]
async fn a_token_is_minted_as_recorded() {
    let rig = Rig::new().await;
    let body = json!({ "description": "  patrold-x ", "token": "ignored", "expires": "2031-01-01T00:00:00Z" });
    let got = ask(&rig, Method::POST, OWN, &rig.admin(Service::Awx), Some(body)).await;
    let token = got.json();
    let secret = text(&token, "/token");
    assert_eq!(secret.len(), 30);
    assert_eq!(
        token,
        json!({
            "id": 2, "type": "o_auth2_access_token", "url": "/api/v2/tokens/2/",
            "related": {"user": "/api/v2/users/2/", "activity_stream": "/api/v2/tokens/2/activity_stream/"},
            "summary_fields": {"user": {"id": 2, "username": "patrold", "first_name": "", "last_name": ""}},
            "created": "2030-01-02T03:04:05.678901Z", "modified": "2030-01-02T03:04:05.684801Z",
            "description": "patrold-x", "user": 2, "token": secret, "refresh_token": null, "application": null,
            "expires": "3029-05-05T03:04:05.678901Z", "scope": "write",
        })
    );
    assert_eq!(ask(&rig, Method::GET, "/api/v2/me/", secret, None).await.json()["results"][0]["id"], 2);
    let shown = ask(&rig, Method::GET, "/api/v2/tokens/2/", secret, None).await.json();
    assert_eq!(text(&shown, "/token"), "************");
}

#[tokio::test]
async fn whole_seconds_have_no_fraction() {
    let rig = Rig::new().await;
    rig.clock.set("2030-01-01T00:00:00Z".parse().unwrap());
    let (id, secret) = mint(&rig, "x", "write").await;
    let shown = ask(&rig, Method::GET, &format!("/api/v2/tokens/{id}/"), &secret, None).await.json();
    assert_eq!(text(&shown, "/created"), "2030-01-01T00:00:00Z");
}

#[tokio::test]
async fn the_user_in_the_path_is_not_obeyed() {
    let rig = Rig::new().await;
    let got = basic(&rig, Method::POST, "/api/v2/users/patrold/personal_tokens/", "admin", Some(json!({}))).await;
    assert_eq!((got.status, &got.json()["user"]), (201, &json!(1)));
    let got = ask(&rig, Method::GET, "/api/v2/users/1/personal_tokens/", &rig.admin(Service::Awx), None).await;
    assert_eq!(got.json()["results"][0]["user"], 2);
    let nobody = basic(&rig, Method::POST, "/api/v2/users/999/personal_tokens/", "admin", Some(json!({}))).await;
    assert_eq!((nobody.status, nobody.json()), (404, json!({"detail": "No User matches the given query."})));
}

#[tokio::test]
async fn a_token_deletes_itself_once() {
    let rig = Rig::new().await;
    let (id, secret) = mint(&rig, "x", "write").await;
    let path = format!("/api/v2/tokens/{id}/");
    let without_slash = ask(&rig, Method::DELETE, path.trim_end_matches('/'), &secret, None).await;
    assert_eq!((without_slash.status, without_slash.header("location")), (301, path.as_str()));
    assert_eq!(rig.ledger().state_of(&secret, rig.now()), State::Live);

    let gone = ask(&rig, Method::DELETE, &path, &secret, None).await;
    assert_eq!((gone.status, gone.text.as_str()), (204, ""));
    assert_eq!(ask(&rig, Method::GET, "/api/v2/me/", &secret, None).await.status, 401);
    let again = ask(&rig, Method::DELETE, &path, &rig.admin(Service::Awx), None).await;
    assert_eq!(again.status, 404);
    assert_eq!(again.json(), json!({"detail": "No OAuth2AccessToken matches the given query."}));
}

#[tokio::test]
async fn an_expired_token_is_refused_but_stays_listed() {
    let rig = Rig::with(Options { awx_lifetime: Span::seconds(10), ..Options::default() }).await;
    let (id, secret) = mint(&rig, "x", "write").await;
    rig.advance(Span::seconds(10));
    let refused = ask(&rig, Method::GET, "/api/v2/me/", &secret, None).await;
    assert_eq!(refused.status, 401);
    assert_eq!(refused.header("www-authenticate"), "Bearer realm=api authorization_url=/api/o/authorize/");
    let listed = ask(&rig, Method::GET, "/api/v2/tokens/", &rig.admin(Service::Awx), None).await.json();
    assert_eq!(listed["results"][1]["id"], id);
}

#[tokio::test]
async fn a_read_token_may_only_read() {
    let rig = Rig::new().await;
    let (id, secret) = mint(&rig, "x", "read").await;
    let own = format!("/api/v2/tokens/{id}/");
    for (method, path, body, status) in [
        (Method::GET, "/api/v2/me/", None, 200),
        (Method::GET, OWN, None, 200),
        (Method::POST, OWN, Some(json!({})), 403),
        (Method::PATCH, own.as_str(), Some(json!({"scope": "write"})), 403),
        (Method::DELETE, own.as_str(), None, 403),
    ] {
        assert_eq!(ask(&rig, method.clone(), path, &secret, body).await.status, status, "{method} {path}");
    }
    let admin = rig.admin(Service::Awx);
    let patched = ask(&rig, Method::PATCH, &own, &admin, Some(json!({"scope": "read write", "expires": null}))).await;
    assert_eq!((patched.status, &patched.json()["scope"]), (200, &json!("read write")));
    assert_eq!(ask(&rig, Method::DELETE, &own, &secret, None).await.status, 204);
}

#[tokio::test]
async fn tokens_of_others_are_for_superusers() {
    let rig = Rig::new().await;
    let other = basic(&rig, Method::POST, "/api/v2/tokens/", "other", Some(json!({}))).await.json();
    let path = format!("/api/v2/tokens/{}/", other["id"]);
    let admin = rig.admin(Service::Awx);
    assert_eq!(ask(&rig, Method::DELETE, &path, &admin, None).await.status, 403);
    assert_eq!(ask(&rig, Method::GET, "/api/v2/tokens/", &admin, None).await.json()["count"], 1);
    let all = basic(&rig, Method::GET, "/api/v2/tokens/", "admin", None).await.json();
    assert_eq!(all["count"], 2);
    let some = basic(&rig, Method::GET, "/api/v2/tokens/?user=3&application__isnull=true", "admin", None).await.json();
    assert_eq!(some["count"], 1);
    assert_eq!(basic(&rig, Method::DELETE, &path, "admin", None).await.status, 204);
}

#[tokio::test]
async fn a_listing_has_pages_with_relative_links() {
    let rig = Rig::with(Options { awx_page_size: 3, ..Options::default() }).await;
    let admin = rig.admin(Service::Awx);
    for number in 0..6 {
        mint(&rig, &format!("patrold-{number}"), "write").await;
    }
    let by_name = "/api/v2/users/patrold/personal_tokens/";
    let mut path = format!("{by_name}?description__startswith=patrold-&page_size=4");
    let mut seen = Vec::new();
    let mut links = Vec::new();
    loop {
        let page = ask(&rig, Method::GET, &path, &admin, None).await.json();
        assert_eq!(page["count"], 6);
        seen.extend(page["results"].as_array().unwrap().iter().map(|token| token["id"].as_u64().unwrap()));
        let Some(next) = page["next"].as_str() else { break };
        links.push(next.to_owned());
        path = next.to_owned();
    }
    assert_eq!(seen, [2, 3, 4, 5, 6, 7]);
    assert_eq!(links, [format!("{OWN}?description__startswith=patrold-&page=2&page_size=4")]);

    let first = ask(&rig, Method::GET, OWN, &admin, None).await.json();
    assert_eq!((&first["results"].as_array().unwrap().len(), &first["previous"]), (&3, &Value::Null));
    let last = ask(&rig, Method::GET, &format!("{OWN}?order_by=-created&page=3"), &admin, None).await.json();
    assert_eq!((&last["results"][0]["id"], &last["next"]), (&json!(1), &Value::Null));
    assert_eq!(last["previous"], format!("{OWN}?order_by=-created&page=2"));
    for (query, status, answer) in [
        ("page=4", 404, json!({"detail": "Invalid page."})),
        ("page=0", 404, json!({"detail": "Invalid page."})),
        ("nonsense=1", 400, json!({"detail": "OAuth2AccessToken has no field named 'nonsense'"})),
        ("token=x", 403, json!({"detail": "Filtering on token is not allowed."})),
    ] {
        let got = ask(&rig, Method::GET, &format!("{OWN}?{query}"), &admin, None).await;
        assert_eq!((got.status, got.json()), (status, answer), "{query}");
    }
}

#[tokio::test]
async fn refusals_are_as_recorded() {
    let rig = Rig::new().await;
    let admin = rig.admin(Service::Awx);
    let bad_scope =
        json!({"scope": ["Must be a simple space-separated string with allowed scopes ['read', 'write']."]});
    for scope in ["", "read,write", "read read", "admin"] {
        let got = ask(&rig, Method::POST, OWN, &admin, Some(json!({"scope": scope}))).await;
        assert_eq!((got.status, got.json()), (400, bad_scope.clone()), "{scope:?}");
    }
    let ping = rig.send(Service::Awx, Method::GET, "/api/v2/ping/", &[], None).await.unwrap();
    assert_eq!((ping.status, &ping.json()["version"]), (200, &json!("24.6.1")));
    for path in ["/api/v3/me/", "/api/v2/nosuchendpoint/", "/api/v2/tokens/abc/"] {
        let got = ask(&rig, Method::GET, path, &admin, None).await;
        assert_eq!((got.status, got.header("content-type")), (404, "text/html; charset=utf-8"), "{path}");
    }
    let got = ask(&rig, Method::DELETE, OWN, &admin, None).await;
    assert_eq!((got.status, got.json()), (405, json!({"detail": "Method \"DELETE\" not allowed."})));
    let got = ask(&rig, Method::POST, OWN, "nonsense", Some(json!({}))).await;
    assert_eq!(got.status, 401);
    let wrong = [("authorization", format!("Basic {}", STANDARD.encode("patrold:wrong")))];
    assert_eq!(rig.send(Service::Awx, Method::GET, "/api/v2/me/", &wrong, None).await.unwrap().status, 401);
    let no_object = ask(&rig, Method::POST, OWN, "nonsense", Some(json!([1]))).await;
    assert_eq!((no_object.status, no_object.json()), (400, json!({"detail": "JSON parse error - not a JSON object"})));
    assert_eq!(rig.ledger().counters(Service::Awx).minted, 1, "only the bootstrap token");
}
