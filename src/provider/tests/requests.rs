//! Requests as they go out, and values that try to leave their place.

use proptest::prelude::*;

use super::*;
use crate::outcome::FailureCode;

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

    let provider = definition::parse("free.toml", FREE, &mut report);
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
