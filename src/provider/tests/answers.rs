//! Recorded and written answers, and what they come to.

use std::path::Path;

use chrono::SecondsFormat;
use proptest::prelude::*;

use super::*;
use crate::names::RemoteId;
use crate::outcome::{Failure, Outcome};

/// The answer in `tests/data/definitions/FILE.json`.
fn recorded(file: &str) -> Response {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/data/definitions/{file}.json"));
    let exchange: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let response = &exchange["response"];
    let status = response["status"].as_u64().unwrap().try_into().unwrap();
    let mut answer = answer(status, &[], &response["body"]);
    for (name, value) in response["headers"].as_object().unwrap() {
        let value = HeaderValue::from_str(value.as_str().unwrap()).unwrap();
        answer.headers.insert(HeaderName::from_bytes(name.as_bytes()).unwrap(), value);
    }
    answer
}

fn short(expiry: Expiry) -> String {
    match expiry {
        Expiry::At(time) => time.to_rfc3339_opts(SecondsFormat::AutoSi, true),
        Expiry::Never => "never".to_owned(),
        Expiry::Unknown => "unknown".to_owned(),
    }
}

fn failed(failure: &Failure) -> String {
    format!("{}: {}", failure.code.code(), failure.detail)
}

/// An outcome in one line.
fn told<T>(outcome: Outcome<T>, done: impl FnOnce(T) -> String) -> String {
    match outcome {
        Outcome::Done(value) => done(value),
        Outcome::Later { not_before: None, failure } => format!("later, {}", failed(&failure)),
        Outcome::Later { not_before: Some(time), failure } => format!("later, from {time}, {}", failed(&failure)),
        Outcome::Refused(failure) => format!("refused, {}", failed(&failure)),
        Outcome::Ambiguous(failure) => format!("ambiguous, {}", failed(&failure)),
    }
}

fn minted(minted: Minted) -> String {
    let secrets = minted.secret.iter().map(|(name, secret)| format!("{name}={}", secret.expose()));
    let remote = &minted.remote;
    let id = remote.id.as_ref().map_or("-", RemoteId::as_str);
    let times = [("refresh", remote.refresh_expires), ("renewable", remote.renewable_until)];
    let times = times.iter().filter_map(|(what, time)| time.map(|time| (what, Expiry::At(time))));
    secrets
        .chain([format!("id={id} until {}", short(remote.expires))])
        .chain(times.map(|(what, time)| format!("{what} until {}", short(time))))
        .chain(minted.unread.iter().map(|warning| format!("unread({warning})")))
        .chain(minted.objection.map(|failure| format!("objection({})", failed(&failure))))
        .collect::<Vec<_>>()
        .join(" ")
}

fn page(page: Page) -> String {
    let entries = page.entries.into_iter().map(|entry| {
        let id = entry.remote.id.as_ref().map_or("-", RemoteId::as_str);
        let dead = if entry.dead { " dead" } else { "" };
        format!("[{id} {:?} until {}{dead}]", entry.name.unwrap_or_default(), short(entry.remote.expires))
    });
    let next = match page.next {
        None => "end".to_owned(),
        Some(Cursor::Url(url)) => url.to_string(),
        Some(other) => format!("{other:?}"),
    };
    entries.chain([next]).collect::<Vec<_>>().join(" ")
}

fn verdict(verdict: Verdict) -> String {
    match verdict {
        Verdict::Alive { .. } => "alive".to_owned(),
        Verdict::Dead(failure) => format!("dead, {}", failed(&failure)),
    }
}

fn read(name: &str, operation: Operation, given: &Given, response: &Response) -> String {
    let (provider, values) = (provider(name), given.values());
    match operation {
        Operation::Mint => told(provider.read_mint(&values, response, now()), minted),
        Operation::Renew => told(provider.read_renew(&values, response, now()), minted),
        Operation::List => told(provider.read_page(&values, response, now()), page),
        Operation::Verify => told(provider.read_verify(&values, response, now()), verdict),
        Operation::Revoke => told(provider.read_revoke(&values, response, now()), |gone| format!("{gone:?}")),
    }
}

#[track_caller]
fn check(given: &Given, operation: Operation, file: &str, wanted: &str) {
    let (name, _) = file.split_once('/').unwrap();
    assert_eq!(read(name, operation, given, &recorded(file)), wanted, "{operation:?} {file}");
}

#[test]
fn awx_mints() {
    let given = Given::awx();
    let unauthenticated =
        "Authentication credentials were not provided. To establish a login session, visit /api/login/.";
    for (file, wanted) in [
        (
            "token-create-bearer-write",
            "token=s9PvVIqZCtR26HQN07LT0VcuVNMnlD id=2 until 3026-03-24T18:15:39.328018Z".to_owned(),
        ),
        ("forbidden-read-token-create", "refused, forbidden: HTTP 403: You do not have permission to perform this action.".to_owned()),
        (
            "external-user-create",
            "refused, forbidden: HTTP 403: (access_denied) OAuth2 Tokens cannot be created by users associated with an external authentication provider (enterprise)".to_owned(),
        ),
        (
            "token-create-invalid-scope-unknown",
            "refused, rejected: HTTP 400: Must be a simple space-separated string with allowed scopes ['read', 'write'].".to_owned(),
        ),
        ("unauth-create", format!("refused, unauthorized: HTTP 401: {unauthenticated}")),
        ("bad-gateway-create", "ambiguous, server-error: HTTP 502: an HTML page".to_owned()),
        ("gateway-timeout-create", "ambiguous, server-error: HTTP 504: an HTML page".to_owned()),
        ("database-down-create", "ambiguous, server-error: HTTP 500: A server error has occurred.".to_owned()),
        ("upgrade-in-progress-create", "later, redirect: HTTP 302: no content".to_owned()),
        ("upgrade-in-progress-page", "ambiguous, not-understood: HTTP 200: an HTML page".to_owned()),
        ("me-bearer-write", "ambiguous, not-understood: HTTP 200".to_owned()),
    ] {
        check(&given, Operation::Mint, &format!("awx/{file}"), &wanted);
    }
    let line = read(
        "awx",
        Operation::Mint,
        &Given::new("https://h", json!({ "user_id": 3 })),
        &recorded("awx/other-user-create"),
    );
    assert!(line.starts_with("token=O3xEHyHLO20epybi") && line.contains(" objection(wrong-subject: /user"), "{line}");
}

#[test]
fn awx_lists() {
    let given = Given::awx();
    for (file, wanted) in [
        (
            "superuser-tokens-filter-user",
            "[1 \"rotator fixture: write token, Basic auth\" until 3026-03-24T18:15:39.258357Z] https://awx.example.com/api/v2/tokens/?application__isnull=true&page=2&page_size=1&user=2",
        ),
        ("tokens-list-expired", "[27 \"lives three seconds\" until 2026-11-21T18:17:48.348623Z] end"),
        ("upgrade-in-progress-me", "later, redirect: HTTP 302: no content"),
        ("upgrade-in-progress-page", "later, not-understood: HTTP 200: JSON was expected: an HTML page"),
        ("database-down-me", "later, server-error: HTTP 500: A server error has occurred."),
    ] {
        check(&given, Operation::List, &format!("awx/{file}"), wanted);
    }
    // A page of somebody else's tokens has none of ours, and goes on all the same.
    let stranger = Given::new("https://awx.example.com", json!({ "user_id": 9 }));
    check(
        &stranger,
        Operation::List,
        "awx/tokens-list-page1",
        "https://awx.example.com/api/v2/users/2/personal_tokens/?page=2&page_size=2",
    );
}

#[test]
fn awx_verifies() {
    for (file, wanted) in [
        ("me-bearer-write", "alive"),
        (
            "deleted-token-me",
            "dead, unauthorized: HTTP 401: Authentication credentials were not provided. To establish a login session, visit /api/login/.",
        ),
        ("other-user-token-delete", "later, forbidden: HTTP 403: You do not have permission to perform this action."),
        ("database-down-me", "later, server-error: HTTP 500: A server error has occurred."),
        ("upgrade-in-progress-me", "later, redirect: HTTP 302: no content"),
        ("upgrade-in-progress-page", "later, not-understood: HTTP 200: JSON was expected: an HTML page"),
        ("not-found-endpoint", "later, not-found: HTTP 404: an HTML page"),
    ] {
        check(&Given::awx(), Operation::Verify, &format!("awx/{file}"), wanted);
    }
}

#[test]
fn awx_revokes() {
    for (file, wanted) in [
        ("token-delete", "Revoked"),
        ("token-delete-again", "Already"),
        ("not-found-token-delete", "Already"),
        ("not-found-endpoint", "later, not-understood: HTTP 404: an HTML page"),
        ("token-delete-no-slash", "later, redirect: HTTP 301: no content"),
        ("upgrade-in-progress-delete", "later, redirect: HTTP 302: no content"),
        ("upgrade-in-progress-page", "later, not-understood: HTTP 200: an HTML page"),
        ("database-down-me", "later, server-error: HTTP 500: A server error has occurred."),
        ("other-user-token-delete", "refused, forbidden: HTTP 403: You do not have permission to perform this action."),
    ] {
        check(&Given::awx(), Operation::Revoke, &format!("awx/{file}"), wanted);
    }
}

#[test]
fn pointone_answers() {
    let mut given = Given::pointone();
    given.want.lifetime = Some(Span::hours(36));
    given.params.insert("dead_statuses".to_owned(), json!(["GONE"]));
    let unauthorized = "unauthorized: HTTP 401: Context creation failed: Unable to authenticate user";
    for (operation, file, wanted) in [
        // A day and a half is asked for as one day, so that is what it is taken to live.
        (Operation::Mint, "mint", "token=EXAMPLE-SECRET-SHOWN-ONCE id=- until 2030-01-03T03:04:05Z".to_owned()),
        (Operation::Mint, "mint-without-data", "ambiguous, server-error: HTTP 200: /errors should not be there: Something broke".to_owned()),
        (Operation::Mint, "mint-null", "ambiguous, not-understood: HTTP 200: /data/createPersonalAccessToken is missing".to_owned()),
        (Operation::Mint, "mint-invalid", "refused, rejected: HTTP 400: Variable \"$days\" got invalid value".to_owned()),
        (
            Operation::Mint,
            "mint-with-errors-and-secret",
            "token=EXAMPLE-SECRET-SHOWN-ONCE id=- until 2030-01-03T03:04:05Z objection(server-error: HTTP 200: /errors should not be there: late failure)".to_owned(),
        ),
        (Operation::Mint, "unauthenticated", format!("refused, {unauthorized}")),
        (Operation::Mint, "maintenance", "ambiguous, not-understood: HTTP 200: JSON was expected: an HTML page".to_owned()),
        (
            Operation::List,
            "list",
            "[- \"patrold-1a2b3c4d-gps-g3-010101010101\" until 2030-02-01T03:04:05Z] [- \"by hand\" until 2029-02-01T03:04:05.250Z dead] [- \"in milliseconds\" until 2030-01-03T03:04:05Z] end".to_owned(),
        ),
        (Operation::List, "list-null", "end".to_owned()),
        (Operation::List, "unauthenticated", format!("refused, {unauthorized}")),
        (Operation::List, "maintenance", "later, not-understood: HTTP 200: JSON was expected: an HTML page".to_owned()),
        (Operation::Verify, "list", "alive".to_owned()),
        (Operation::Verify, "list-null", "alive".to_owned()),
        (Operation::Verify, "unauthenticated", format!("dead, {unauthorized}")),
        (Operation::Verify, "unauthenticated-in-200", "dead, unauthorized: HTTP 200: /errors should not be there: Unable to authenticate user".to_owned()),
        (Operation::Verify, "mint-without-data", "later, server-error: HTTP 200: /errors should not be there: Something broke".to_owned()),
        (Operation::Verify, "maintenance", "later, not-understood: HTTP 200: JSON was expected: an HTML page".to_owned()),
    ] {
        check(&given, operation, &format!("pointone/{file}"), &wanted);
    }
}

#[test]
fn commvault_answers() {
    let renewed = "until 2030-01-02T05:04:05Z refresh until 2030-01-16T04:34:05Z renewable until 2030-04-01T00:42:47Z";
    for (operation, file, wanted) in [
        (
            Operation::Mint,
            "mint",
            "token=EXAMPLE-ACCESS refresh_token=00000000-EXAMPLE-REFRESH id=90 until 2030-01-02T03:04:05Z refresh until 2030-01-16T02:34:05Z renewable until 2030-04-01T00:42:47Z".to_owned(),
        ),
        (Operation::Mint, "mint-scim", "token=EXAMPLE-ACCESS id=91 until unknown".to_owned()),
        (Operation::Mint, "mint-name-taken", "refused, rejected: HTTP 200: /error/errorCode is not as expected: Token name already present".to_owned()),
        (Operation::Mint, "mint-inner-error", "refused, rejected: HTTP 200: /tokenInfo/error/errorCode is not as expected: no such user".to_owned()),
        (Operation::Mint, "mint-forbidden", "refused, forbidden: HTTP 403: An access token cannot create access tokens".to_owned()),
        (Operation::Mint, "revoke", "ambiguous, not-understood: no secret at /tokenInfo/accessToken".to_owned()),
        (Operation::Renew, "renew", format!("token=EXAMPLE-ACCESS-2 refresh_token=11111111-EXAMPLE-REFRESH id=90 {renewed}")),
        (
            Operation::Renew,
            "renew-without-refresh-token",
            "token=EXAMPLE-ACCESS-2 id=90 until 2030-01-02T05:04:05Z unread(refresh_token: nothing usable at /refreshToken)".to_owned(),
        ),
        (Operation::Renew, "renew-too-late", "refused, rejected: HTTP 200: /errorCode is not as expected: Renew request placed after the permissible time limit".to_owned()),
        (Operation::Renew, "access-denied", "refused, unauthorized: HTTP 401: Access denied".to_owned()),
        (Operation::Verify, "who-am-i", "alive".to_owned()),
        (Operation::Verify, "access-denied", "dead, unauthorized: HTTP 401: Access denied".to_owned()),
        (Operation::Verify, "firewall", "later, forbidden: HTTP 403: an HTML page".to_owned()),
        (Operation::Verify, "revoke-failed", "later, rejected: HTTP 200: /errorCode is not as expected: no such token".to_owned()),
        (Operation::Revoke, "revoke", "Revoked".to_owned()),
        (Operation::Revoke, "revoke-failed", "refused, rejected: HTTP 200: /errorCode is not as expected: no such token".to_owned()),
        (Operation::Revoke, "firewall", "refused, forbidden: HTTP 403: an HTML page".to_owned()),
    ] {
        check(&Given::commvault(), operation, &format!("commvault/{file}"), &wanted);
    }
}

#[test]
fn answers_that_ask_for_patience_are_later_for_every_operation() {
    let given = Given::awx();
    let limited = json!({ "detail": "slow down" });
    for (status, after, wanted) in [
        (429, "120", "later, from 2030-01-02 03:06:05 UTC, rate-limited: "),
        (503, "Wed, 02 Jan 2030 03:05:05 GMT", "later, from 2030-01-02 03:05:05 UTC, rate-limited: "),
        (408, "5", "later, from 2030-01-02 03:04:10 UTC, rate-limited: "),
    ] {
        let response = answer(status, &[("retry-after", after)], &limited);
        for operation in [Operation::Mint, Operation::List, Operation::Verify, Operation::Revoke] {
            let line = read("awx", operation, &given, &response);
            assert!(line.starts_with(wanted), "{operation:?}: {line}");
        }
    }
}

#[test]
fn retry_after_is_bounded() {
    for (text, seconds) in [
        ("0", Some(0)),
        ("120", Some(120)),
        (" 7 ", Some(7)),
        ("999999999999999999999999", Some(86_400)),
        ("Wed, 02 Jan 2030 03:04:15 GMT", Some(10)),
        ("Wed, 03 Jan 2019 03:04:15 GMT", None),
        ("Sun, 06 Nov 1994 08:49:37 GMT", Some(0)),
        ("Mon, 01 Jan 2035 00:00:00 GMT", Some(86_400)),
        ("-5", None),
        ("soon", None),
        ("", None),
    ] {
        let headers = answer(200, &[("retry-after", text)], &Value::Null).headers;
        assert_eq!(retry_after(&headers, now()), seconds.map(|seconds| now() + Span::seconds(seconds)), "{text:?}");
    }
}

#[test]
fn a_minted_secret_survives_whatever_else_the_answer_says() {
    let given = Given::awx();
    for (what, status, body, wanted) in [
        (
            "unreadable expiry",
            201,
            json!({ "token": "t-1", "id": 5, "user": 2, "expires": "soon" }),
            "token=t-1 id=5 until unknown unread(expires: the value at /expires is no moment of the expected form)",
        ),
        (
            "no expiry",
            201,
            json!({ "token": "t-1", "id": 5, "user": 2 }),
            "token=t-1 id=5 until unknown unread(expires: nothing at /expires)",
        ),
        (
            "no id",
            201,
            json!({ "token": "t-1", "user": 2, "expires": "2031-01-01T00:00:00Z" }),
            "token=t-1 id=- until 2031-01-01T00:00:00Z unread(id: nothing usable at /id)",
        ),
        (
            "another success",
            200,
            json!({ "token": "t-1", "id": 5, "user": 2, "expires": "2031-01-01T00:00:00Z" }),
            "token=t-1 id=5 until 2031-01-01T00:00:00Z objection(not-understood: HTTP 200)",
        ),
        (
            "secret of another type",
            201,
            json!({ "token": 7, "id": 5, "user": 2 }),
            "ambiguous, not-understood: no secret at /token",
        ),
        (
            "blank secret",
            201,
            json!({ "token": " ", "id": 5, "user": 2 }),
            "ambiguous, not-understood: no secret at /token",
        ),
        (
            "cut off",
            201,
            json!("{\"token\":\"t-1\",\"id\":"),
            "ambiguous, not-understood: HTTP 201: JSON was expected: not understandable",
        ),
        ("empty", 201, json!(null), "ambiguous, not-understood: HTTP 201: JSON was expected: no content"),
    ] {
        assert_eq!(read("awx", Operation::Mint, &given, &answer(status, &[], &body)), wanted, "{what}");
    }
}

#[test]
fn what_a_provider_echoes_is_struck_out() {
    let mut given = Given::awx();
    given.identity.as_mut().unwrap().secret = SecretParts::new(Secret::new("quo\"te d"));
    let echo = json!({ "detail": "bad credential quo\"te d, subject-SECRET\nsubject-SECRET" });
    let line = read("awx", Operation::Revoke, &given, &answer(403, &[], &echo));
    assert_eq!(line, "refused, forbidden: HTTP 403: bad credential ***, *** ***");
    let raw = json!({ "unknown": "quo\"te d" });
    let line = read("awx", Operation::Revoke, &given, &answer(403, &[], &raw));
    assert_eq!(line, "refused, forbidden: HTTP 403: {\"unknown\":\"***\"}");
    // The secret of a token that was made although the status says otherwise.
    let made = json!({ "token": "fresh-SECRET", "id": 1 });
    let line = read("awx", Operation::Mint, &given, &answer(500, &[], &made));
    assert_eq!(line, "ambiguous, server-error: HTTP 500: {\"id\":1,\"token\":\"***\"}");
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop_oneof![".{0,12}", Just(CREDENTIAL.to_owned()), Just(SUBJECT.to_owned())].prop_map(Value::from),
    ];
    // Keys that the definitions look at, so that captures and predicates meet values of every type.
    let key = prop::sample::select(vec![
        "token",
        "id",
        "user",
        "expires",
        "results",
        "next",
        "count",
        "detail",
        "data",
        "errors",
        "error",
        "errorCode",
        "message",
        "extensions",
        "code",
        "tokenInfo",
        "accessToken",
        "refreshToken",
        "createPersonalAccessToken",
        "viewPersonalAccessTokens",
        "name",
        "status",
        "expiresAt",
        "tokenExpiryTimestamp",
        "errorMessage",
    ]);
    leaf.prop_recursive(4, 48, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((key.clone(), inner), 0..6)
                .prop_map(|entries| entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
        ]
    })
}

fn any_body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => any_json().prop_map(|body| body.to_string().into_bytes()),
        1 => any_json().prop_map(|body| {
            let text = body.to_string().into_bytes();
            text[..text.len() / 2].to_vec()
        }),
        1 => prop::collection::vec(any::<u8>(), 0..200),
        1 => Just(format!("<html>{CREDENTIAL}</html>").into_bytes()),
        1 => Just(format!("plain {CREDENTIAL} {SUBJECT} text").into_bytes()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_answer_panics_or_shows_a_secret(
        status in prop_oneof![3 => Just(200_u16), 1 => Just(201), 1 => Just(401), 2 => 100_u16..1000],
        body in any_body(),
        retry in prop::option::of("[ -~]{0,12}"),
    ) {
        let mut response = answer(status, &[], &Value::Null);
        response.body = Zeroizing::new(body);
        if let Some(retry) = retry {
            response.headers.insert("retry-after", HeaderValue::from_str(&retry).unwrap());
        }
        for (name, given) in
            [("awx", Given::awx()), ("pointone", Given::pointone()), ("commvault", Given::commvault())]
        {
            let (provider, values) = (provider(name), given.values());
            let mut failures = Vec::new();
            let minted = [
                provider.read_mint(&values, &response, now()),
                provider.read_renew(&values, &response, now()),
            ];
            for outcome in minted {
                match outcome {
                    Outcome::Done(minted) => {
                        failures.extend(minted.objection.map(|failure| failure.detail));
                        failures.extend(minted.unread);
                        prop_assert!((200..300).contains(&status));
                    }
                    other => failures.extend(other.into_result().err().map(|failure| failure.detail)),
                }
            }
            failures.extend(provider.read_page(&values, &response, now()).into_result().err().map(|f| f.detail));
            failures.extend(provider.read_revoke(&values, &response, now()).into_result().err().map(|f| f.detail));
            match provider.read_verify(&values, &response, now()) {
                Outcome::Done(Verdict::Dead(failure)) => failures.push(failure.detail),
                other => failures.extend(other.into_result().err().map(|failure| failure.detail)),
            }
            for text in failures {
                prop_assert!(!text.contains("SECRET"), "{name}: {text}");
            }
        }
    }
}
