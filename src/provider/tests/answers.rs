//! Answers that no provider was seen to give, and what they come to.

use proptest::prelude::*;

use super::*;
use crate::outcome::Outcome;

fn read(name: &str, operation: Operation, given: &Given, response: &Response) -> String {
    told::answer(&provider(name), operation, given, response).line
}

#[test]
fn answers_that_ask_for_patience_are_later_for_every_operation() {
    let given = Given::awx();
    let limited = json!({ "detail": "slow down" });
    for (status, after, wanted) in [
        (429, "120", "later, from 2030-01-02T03:06:05Z, rate-limited: "),
        (503, "Wed, 02 Jan 2030 03:05:05 GMT", "later, from 2030-01-02T03:05:05Z, rate-limited: "),
        (408, "5", "later, from 2030-01-02T03:04:10Z, rate-limited: "),
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
            "token=t-1 id=5 until unknown unread(expires: the value at /expires is not a time of the expected form)",
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
            "token=t-1 id=5 until 2031-01-01T00:00:00Z rejection(not-understood: HTTP 200)",
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
                        failures.extend(minted.rejection.map(|failure| failure.detail));
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
