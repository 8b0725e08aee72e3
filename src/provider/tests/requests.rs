//! Requests as they go out, and values that try to leave their place.

use proptest::prelude::*;

use super::*;
use crate::outcome::FailureCode;

/// A request in full: method and address, headers in order of names, body.
fn written(request: &Request) -> String {
    let mut headers: Vec<String> = request
        .headers
        .iter()
        .map(|(name, value)| {
            let mark = if value.is_sensitive() { " (sensitive)" } else { "" };
            format!("{name}: {}{mark}", value.to_str().unwrap())
        })
        .collect();
    headers.sort();
    let body = request.body.as_ref().map(|body| String::from_utf8(body.to_vec()).unwrap());
    let lines = std::iter::once(format!("{} {}", request.method, request.url)).chain(headers).chain(body);
    lines.collect::<Vec<_>>().join("\n")
}

#[track_caller]
fn check(name: &str, operation: Operation, given: &Given, wanted: &str) {
    let request = provider(name).render(operation, &given.values()).unwrap();
    assert_eq!(written(&request), wanted, "{operation:?} of {name}");
    assert_eq!(request.log_url, request.url.as_str());
}

#[test]
fn awx_requests() {
    let mut given = Given::awx();
    let account = "authorization: Bearer credential-SECRET (sensitive)";
    check(
        "awx",
        Operation::Mint,
        &given,
        &format!(
            "POST https://awx.example.com/api/v2/users/2/personal_tokens/\naccept: application/json\n{account}\n\
             content-type: application/json\n{{\"description\":\"patrold-1a2b3c4d-gps-g3-010101010101\",\"scope\":\"write\"}}"
        ),
    );
    check(
        "awx",
        Operation::List,
        &given,
        &format!(
            "GET https://awx.example.com/api/v2/tokens/?application__isnull=true&page_size=200&user=2\n\
             accept: application/json\n{account}"
        ),
    );
    check(
        "awx",
        Operation::Verify,
        &given,
        "GET https://awx.example.com/api/v2/me/\naccept: application/json\nauthorization: Bearer subject-SECRET (sensitive)",
    );
    check(
        "awx",
        Operation::Revoke,
        &given,
        &format!("DELETE https://awx.example.com/api/v2/tokens/41/\naccept: application/json\n{account}"),
    );
    given.identity.as_mut().unwrap().username = Some("svc-ci".to_owned());
    check(
        "awx",
        Operation::Revoke,
        &given,
        "DELETE https://awx.example.com/api/v2/tokens/41/\naccept: application/json\n\
         authorization: Basic c3ZjLWNpOmNyZWRlbnRpYWwtU0VDUkVU (sensitive)",
    );
    let next = "https://awx.example.com/api/v2/tokens/?page=2&page_size=200&user=2";
    given.page = Some(Cursor::Url(next.parse().unwrap()));
    given.identity.as_mut().unwrap().username = None;
    check("awx", Operation::List, &given, &format!("GET {next}\naccept: application/json\n{account}"));
}

#[test]
fn pointone_requests() {
    let mut given = Given::pointone();
    given.want.lifetime = Some(Span::hours(71));
    let request = provider("pointone").render(Operation::Mint, &given.values()).unwrap();
    assert_eq!(request.url.as_str(), "https://graphql.pointonenav.com/graphql");
    let body: Value = serde_json::from_slice(request.body.as_ref().unwrap()).unwrap();
    let wanted = json!({
        "name": marker().as_str(), "description": "issued by patrold", "role": "ROLE_READ_WRITE", "days": 2
    });
    assert_eq!(body["variables"], wanted);
    assert!(body["query"].as_str().unwrap().contains("createPersonalAccessToken(name: $name"));
    given.want.lifetime = Some(Span::seconds(5));
    let request = provider("pointone").render(Operation::Mint, &given.values()).unwrap();
    let body: Value = serde_json::from_slice(request.body.as_ref().unwrap()).unwrap();
    assert_eq!(body["variables"]["days"], 1, "never 0 days");
    given.want.lifetime = None;
    let request = provider("pointone").render(Operation::Mint, &given.values()).unwrap();
    let body: Value = serde_json::from_slice(request.body.as_ref().unwrap()).unwrap();
    assert_eq!(body["variables"]["days"], 365, "the mutation's own default");
    check(
        "pointone",
        Operation::Verify,
        &given,
        "POST https://graphql.pointonenav.com/graphql\naccept: application/json\n\
         authorization: Bearer subject-SECRET (sensitive)\ncontent-type: application/json\n\
         {\"query\":\"query Verify { viewPersonalAccessTokens { name } }\",\"variables\":{}}",
    );
}

#[test]
fn commvault_requests() {
    let mut given = Given::commvault();
    let base = "https://cc.example.com/commandcenter/api";
    let mint = |headers: &str, body: &str| {
        format!(
            "POST {base}/V4/AccessToken\naccept: application/json\n{headers}\ncontent-type: application/json\n{body}"
        )
    };
    check(
        "commvault",
        Operation::Mint,
        &given,
        &mint(
            "authtoken: credential-SECRET (sensitive)",
            "{\"tokenName\":\"patrold-1a2b3c4d-gps-g3-010101010101\",\"tokenType\":2}",
        ),
    );
    check(
        "commvault",
        Operation::Renew,
        &given,
        &format!(
            "POST {base}/V4/AccessToken/Renew\naccept: application/json\nauthtoken: subject-SECRET (sensitive)\n\
             content-type: application/json\n{{\"accessToken\":\"subject-SECRET\",\"refreshToken\":\"refresh-SECRET\"}}"
        ),
    );
    for (form, header) in [
        ("authtoken", "authtoken: subject-SECRET"),
        ("bearer", "authorization: Bearer subject-SECRET"),
        ("authtoken-bearer", "authtoken: Bearer subject-SECRET"),
        ("qsdk", "authtoken: QSDK subject-SECRET"),
    ] {
        given.params.insert("auth_form".to_owned(), json!(form));
        let request = provider("commvault").render(Operation::Verify, &given.values()).unwrap();
        assert!(written(&request).contains(&format!("\n{header} (sensitive)")), "{form}");
        let revoke = provider("commvault").render(Operation::Revoke, &given.values()).unwrap();
        assert!(written(&revoke).contains("credential-SECRET"), "{form}");
    }
    for (key, value) in [
        ("credential_form", json!("qsdk")),
        ("token_type", json!(3)),
        ("api_endpoints", json!(["/client", "/v4/servergroup"])),
        ("renewable_days", json!(365)),
        ("user_id", json!(12)),
    ] {
        given.params.insert(key.to_owned(), value);
    }
    check(
        "commvault",
        Operation::Mint,
        &given,
        &mint(
            "authtoken: QSDK credential-SECRET (sensitive)",
            "{\"apiEndpoints\":[\"/client\",\"/v4/servergroup\"],\"renewableUntilTimestamp\":1925089445,\
             \"tokenName\":\"patrold-1a2b3c4d-gps-g3-010101010101\",\"tokenType\":3,\"userId\":12}",
        ),
    );
}

#[test]
fn what_is_missing_is_a_failure_and_not_a_hole() {
    let refused = |name: &str, operation, given: &Given| {
        let failure = provider(name).render(operation, &given.values()).unwrap_err();
        assert!(!failure.detail.contains("SECRET"), "{failure}");
        failure.code
    };
    let mut given = Given::awx();
    given.subject.id = None;
    assert_eq!(refused("awx", Operation::Revoke, &given), FailureCode::Request, "no id to revoke");
    assert_eq!(refused("awx", Operation::Renew, &given), FailureCode::NoOperation, "AWX renews nothing");
    given.identity = None;
    assert_eq!(refused("awx", Operation::Mint, &given), FailureCode::NoCredential, "no credential");
    given.subject.secret = None;
    assert_eq!(refused("awx", Operation::Verify, &given), FailureCode::NoCredential, "no token to verify");
    let mut given = Given::commvault();
    given.subject.secret = Some(SecretParts::new(Secret::new(SUBJECT)));
    assert_eq!(refused("commvault", Operation::Renew, &given), FailureCode::Request, "no refresh token");
    for secret in ["two\r\nX-Injected: lines", "tab\tbed", "umläut", "nul\0"] {
        given.identity.as_mut().unwrap().secret = SecretParts::new(Secret::new(secret));
        assert_eq!(refused("commvault", Operation::Mint, &given), FailureCode::Request, "{secret:?} in a header");
    }
    let mut given = Given::awx();
    given.page = Some(Cursor::Url("https://evil.example.com/".parse().unwrap()));
    assert_eq!(refused("awx", Operation::List, &given), FailureCode::Request, "another host");
    given.base_url = "https://user:pass@awx.example.com".parse().unwrap();
    assert_eq!(refused("awx", Operation::Mint, &given), FailureCode::Request, "a password in the address");
}

/// A definition whose address holds a free text.
const FREE: &str = r#"
[provider]
name = "free"
[params.text]
type = "string"
[params.raw]
type = "string"
default = "r"
[auth.form.key]
headers = { Key = "{{ cred.secret }}" }
[mint]
method  = "POST"
url     = "{{ base_url }}/a/{{ params.text }}/b/{{ params.raw | raw }}"
query   = { q = "{{ params.text }}" }
headers = { X-Text = "{{ params.text | b64 }}" }
form    = { text = "{{ params.text }}", plain = "p" }
[mint.capture]
secret = "/token"
"#;

fn free() -> Provider {
    let mut report = crate::document::Report::new();

    let provider = Provider::parse("free.toml", FREE, &mut report);
    assert_eq!(report.render(), "");
    provider.unwrap()
}

#[test]
fn hostile_values_stay_in_their_place() {
    let provider = free();
    let long = "x".repeat(10_000);
    for text in [
        "a/b",
        "?x=1&y=2",
        "#f",
        "\"q\"'",
        "bl ank",
        "\r\nX: y",
        "é🔑",
        "%2e%2e",
        "a..b",
        "@evil.example.com",
        long.as_str(),
    ] {
        let given = Given::new("https://h.example.com/base", json!({ "text": text }));
        let request = provider.render(Operation::Mint, &given.values()).unwrap();
        let segments: Vec<_> = request.url.path_segments().unwrap().collect();
        assert_eq!(segments.len(), 5, "{text:?}");
        assert_eq!(request.url.host_str(), Some("h.example.com"));
        assert_eq!(request.url.query_pairs().collect::<Vec<_>>(), [("q".into(), text.into())]);
        let form: Vec<_> = url::form_urlencoded::parse(request.body.as_ref().unwrap()).collect();
        assert_eq!(form, [("plain".into(), "p".into()), ("text".into(), text.into())]);
    }
    for (text, raw) in [(".", "r"), ("..", "r"), ("", "r"), ("t", "../../x"), ("t", "x?y"), ("t", "x#y"), ("t", "x y")]
    {
        let given = Given::new("https://h.example.com/base", json!({ "text": text, "raw": raw }));
        let failure = provider.render(Operation::Mint, &given.values()).unwrap_err();
        assert_eq!(failure.code, FailureCode::Request, "{text:?} {raw:?}");
    }
}

proptest! {
    #[test]
    fn no_value_changes_the_shape_of_a_request(text in any::<String>(), raw in "[ -~]{0,20}") {
        static FREE: LazyLock<Provider> = LazyLock::new(free);
        let provider = &*FREE;
        let given = Given::new("https://h.example.com/base", json!({ "text": text, "raw": raw }));
        if let Ok(request) = provider.render(Operation::Mint, &given.values()) {
            prop_assert_eq!(request.url.host_str(), Some("h.example.com"));
            prop_assert!(request.url.path().starts_with("/base/a/"));
            let second = request.url.path_segments().unwrap().nth(3);
            prop_assert_eq!(second, Some("b"));
            prop_assert_eq!(request.url.query_pairs().count(), 1);
        }
    }
}
