use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Got, Rig};
use crate::clock::Span;
use crate::demo::{Fault, Options, Service};
use crate::provider::Operation;

const MINT: &str = "/api/v2/users/2/personal_tokens/";

/// Mints at AWX under `fault`.
async fn mint(rig: &Rig, fault: Fault) -> Result<Got, reqwest::Error> {
    rig.loopback.faults().next(Service::Awx, Operation::Mint, fault);
    let headers = [("authorization", format!("Bearer {}", rig.admin(Service::Awx)))];
    let got = rig.send(Service::Awx, Method::POST, MINT, &headers, Some(json!({"description": "x"}))).await;
    assert_eq!(rig.loopback.faults().pending(), 0);
    got
}

fn minted(rig: &Rig) -> u64 {
    // Without the bootstrap token.
    rig.ledger().counters(Service::Awx).minted - 1
}

#[tokio::test]
async fn a_lost_answer_is_an_error_for_the_client_and_a_token_for_the_provider() {
    let rig = Rig::new().await;
    // Over a fresh connection, and over one that served a request before.
    for expected in [1, 2] {
        let error = mint(&rig, Fault::LoseAnswer).await.unwrap_err();
        assert!(error.is_request() && !error.is_connect() && !error.is_timeout(), "{error:?}");
        assert_eq!(minted(&rig), expected);
        rig.bearer(Service::Awx, Method::GET, "/api/v2/ping/", "", None).await;
    }
    let lost: Vec<_> = rig.loopback.requests().into_iter().filter(|record| record.fault.is_some()).collect();
    assert_eq!(lost.len(), 2, "the client sent each request once");
    assert!(lost.iter().all(|record| record.status.is_none()));
}

#[tokio::test]
async fn a_lost_answer_is_a_reset_and_not_an_end() {
    let rig = Rig::new().await;
    rig.loopback.faults().next(Service::Awx, Operation::Verify, Fault::LoseAnswer);
    let port = rig.loopback.url(Service::Awx).port().unwrap();
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.write_all(b"GET /api/v2/me/ HTTP/1.1\r\nHost: awx\r\n\r\n").await.unwrap();
    let mut got = Vec::new();
    let error = stream.read_to_end(&mut got).await.unwrap_err();
    assert_eq!((error.kind(), got.len()), (std::io::ErrorKind::ConnectionReset, 0));
}

#[tokio::test]
async fn a_lost_request_is_never_acted_on() {
    let rig = Rig::new().await;
    assert!(mint(&rig, Fault::LoseRequest).await.is_err());
    assert_eq!(minted(&rig), 0);
    assert_eq!(rig.loopback.requests().len(), 1);
}

/// Moves the clock until a later act has happened: it is carried out by another task.
async fn until_minted(rig: &Rig, count: u64) {
    rig.advance(Span::seconds(10));
    while minted(rig) < count {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_late_act_comes_after_the_client_gave_up() {
    let rig = Rig::new().await;
    assert!(mint(&rig, Fault::LoseAnswerLate { after: Span::seconds(10) }).await.is_err());
    assert_eq!(minted(&rig), 0);
    until_minted(&rig, 1).await;

    let got = mint(&rig, Fault::GatewayTimeout { after: Span::seconds(10) }).await.unwrap();
    assert_eq!((got.status, minted(&rig)), (504, 1));
    until_minted(&rig, 2).await;
}

#[tokio::test]
async fn answers_that_arrive_say_whether_it_was_acted_on() {
    let rig = Rig::new().await;
    let to = "http://127.0.0.1:1/migrations_notran/".to_owned();
    let mut count = 0;
    for (fault, status, acts, content) in [
        (Fault::ServerError(500), 500, false, "text/html; charset=utf-8"),
        (Fault::ServerError(502), 502, false, "text/html; charset=utf-8"),
        (Fault::ServerErrorAfterActing(503), 503, true, "text/html; charset=utf-8"),
        (Fault::HtmlOk, 200, false, "text/html; charset=utf-8"),
        (Fault::HtmlOkAfterActing, 200, true, "text/html; charset=utf-8"),
        (Fault::RateLimited { retry_after: Span::seconds(7), as_date: false }, 429, false, ""),
        (Fault::Unavailable { retry_after: Span::seconds(7) }, 503, false, "text/html; charset=utf-8"),
        (Fault::Redirect { to: to.clone() }, 302, false, ""),
        (Fault::Empty, 201, true, ""),
        (Fault::WrongTypes, 201, true, "application/json"),
        (Fault::Unauthorized, 401, false, "application/json"),
    ] {
        let got = mint(&rig, fault.clone()).await.unwrap();
        count += u64::from(acts);
        assert_eq!((got.status, got.header("content-type"), minted(&rig)), (status, content, count), "{fault:?}");
        match fault {
            Fault::RateLimited { .. } | Fault::Unavailable { .. } => assert_eq!(got.header("retry-after"), "7"),
            Fault::Redirect { .. } => assert_eq!(got.header("location"), to),
            Fault::Empty => assert_eq!(got.text, ""),
            Fault::WrongTypes => assert!(got.json()["id"].is_string() && got.json()["token"].is_array()),
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_truncated_answer_has_a_head_and_half_a_body() {
    let rig = Rig::new().await;
    rig.loopback.faults().next(Service::Awx, Operation::Mint, Fault::Truncated);
    let url = rig.loopback.url(Service::Awx).join(MINT).unwrap();
    let request = rig.http.post(url).bearer_auth(rig.admin(Service::Awx));
    let mut response = request.send().await.unwrap();
    assert_eq!(response.status(), 201);
    let announced = response.content_length().unwrap();
    let mut got = 0;
    let end = loop {
        match response.chunk().await {
            Ok(Some(chunk)) => got += chunk.len() as u64,
            Ok(None) => break None,
            Err(error) => break Some(error),
        }
    };
    assert!(end.is_some_and(|error| error.is_body() || error.is_decode()), "the body did not break");
    assert_eq!(got, announced / 2);
    assert_eq!(minted(&rig), 1);
}

#[tokio::test]
async fn a_truncated_answer_without_a_body_is_lost() {
    let rig = Rig::new().await;
    rig.loopback.faults().next(Service::Awx, Operation::Revoke, Fault::Truncated);
    let headers = [("authorization", format!("Bearer {}", rig.admin(Service::Awx)))];
    assert!(rig.send(Service::Awx, Method::DELETE, "/api/v2/tokens/1/", &headers, None).await.is_err());
    assert_eq!(rig.ledger().counters(Service::Awx).revoked, 1);
}

#[tokio::test]
async fn a_huge_answer_does_not_announce_its_size() {
    let rig = Rig::new().await;
    rig.loopback.faults().next(Service::Awx, Operation::Mint, Fault::Huge);
    let url = rig.loopback.url(Service::Awx).join(MINT).unwrap();
    let mut response = rig.http.post(url).bearer_auth(rig.admin(Service::Awx)).send().await.unwrap();
    assert_eq!(response.content_length(), None);
    let mut got = 0;
    while let Some(chunk) = response.chunk().await.unwrap() {
        got += chunk.len();
    }
    assert_eq!(got, 100 * 1024 * 1024);
}

#[tokio::test]
async fn a_stalled_request_is_neither_answered_nor_acted_on() {
    let rig = Rig::new().await;
    rig.loopback.faults().next(Service::Awx, Operation::Mint, Fault::Stall);
    let url = rig.loopback.url(Service::Awx).join(MINT).unwrap();
    let request = rig.http.post(url).bearer_auth(rig.admin(Service::Awx));
    let error = request.timeout(std::time::Duration::from_millis(50)).send().await.unwrap_err();
    assert!(error.is_timeout(), "{error:?}");
    assert_eq!(minted(&rig), 0);
}

#[tokio::test]
async fn times_can_come_in_another_form() {
    let rig = Rig::new().await;
    let got = mint(&rig, Fault::OtherTimeFormat).await.unwrap().json();
    assert_eq!(got["created"], "2030-01-02 03:04:05");
    rig.loopback.faults().next(Service::Commvault, Operation::Mint, Fault::OtherTimeFormat);
    let admin = rig.admin(Service::Commvault);
    let body = Some(json!({"tokenName": "x"}));
    let got = rig.bearer(Service::Commvault, Method::POST, "/V4/AccessToken", &admin, body).await.json();
    assert_eq!(got["tokenInfo"]["tokenExpiryTimestamp"], "2030-01-02T03:34:05Z");
}

#[tokio::test]
async fn answers_lie_about_the_time() {
    let rig = Rig::new().await;
    let honest = mint(&rig, Fault::Slow { by: Span::zero() }).await.unwrap().json();
    let zone = mint(&rig, Fault::OtherZone { ahead: Span::hours(-2) }).await.unwrap().json();
    assert_eq!(
        (&honest["created"], &zone["created"]),
        (&json!("2030-01-02T03:04:05.678901Z"), &json!("2030-01-02T01:04:05.678Z"))
    );
    let expired = mint(&rig, Fault::LongExpired).await.unwrap().json();
    assert_eq!(expired["expires"], "0001-01-01T00:00:00.000Z");
    let answer = mint(&rig, Fault::WrongDate { ahead: Span::hours(1) }).await.unwrap();
    assert!(answer.header("date").ends_with("04:04:05 GMT"), "{answer:?}");
}

#[tokio::test]
async fn each_api_says_401_in_its_own_words() {
    let rig = Rig::new().await;
    for (service, method, path, body, expected) in [
        (Service::PointOne, Method::POST, "/graphql", Some(json!({"query": "{ __typename }"})), "UNAUTHENTICATED"),
        (Service::Awx, Method::GET, "/api/v2/me/", None, "Authentication credentials were not provided"),
        (Service::Commvault, Method::GET, "/v2/WhoAmI", None::<Value>, "Access denied"),
    ] {
        rig.loopback.faults().next(service, Operation::Verify, Fault::Unauthorized);
        let (admin, send) = (rig.admin(service), |body| (method.clone(), body));
        let (verb, first) = send(body.clone());
        let refused = rig.bearer(service, verb, path, &admin, first).await;
        assert_eq!(refused.status, 401);
        assert!(refused.text.contains(expected), "{refused:?}");
        let (verb, second) = send(body);
        assert_eq!(rig.bearer(service, verb, path, &admin, second).await.status, 200, "it was valid all along");
    }
}

#[tokio::test]
async fn a_slow_answer_waits_for_the_clock() {
    let rig = Rig::new().await;
    let answer = mint(&rig, Fault::Slow { by: Span::seconds(5) });
    let clock = async {
        while rig.loopback.requests().is_empty() {
            tokio::task::yield_now().await;
        }
        assert_eq!(minted(&rig), 0);
        rig.advance(Span::seconds(5));
    };
    let (got, ()) = tokio::join!(answer, clock);
    assert_eq!((got.unwrap().status, minted(&rig)), (201, 1));
}

#[tokio::test]
async fn the_date_header_and_all_times_follow_the_skew() {
    let rig = Rig::with(Options { skew: Span::seconds(90), ..Options::default() }).await;
    let got = mint(&rig, Fault::RateLimited { retry_after: Span::seconds(30), as_date: true }).await.unwrap();
    assert_eq!(got.header("date"), "Wed, 02 Jan 2030 03:05:35 GMT");
    assert_eq!(got.header("retry-after"), "Wed, 02 Jan 2030 03:06:05 GMT");
    let body = json!({"tokenName": "x", "renewableUntilTimestamp": 1_894_000_000});
    let admin = rig.admin(Service::Commvault);
    let got = rig.bearer(Service::Commvault, Method::POST, "/V4/AccessToken", &admin, Some(body)).await.json();
    assert_eq!(got["tokenInfo"]["renewableUntilTimestamp"], 1_894_000_000);
    let expiry = got["tokenInfo"]["tokenExpiryTimestamp"].as_i64().unwrap();
    let entry = rig.ledger().entry(Service::Commvault, 2).unwrap();
    assert_eq!(expiry, (entry.current().expires + Span::seconds(90)).timestamp());
}

#[tokio::test]
async fn a_stopped_provider_answers_nobody() {
    let mut rig = Rig::new().await;
    let url = rig.loopback.url(Service::Awx).join("/api/v2/ping/").unwrap();
    assert!(rig.http.get(url.clone()).send().await.is_ok());
    rig.loopback = Rig::new().await.loopback;
    assert!(rig.http.get(url).send().await.is_err());
}

#[tokio::test]
async fn random_faults_leave_the_ledger_true() {
    let rig = Rig::new().await;
    rig.loopback.faults().random_of(11, 0.7, vec![Fault::LoseAnswer, Fault::LoseRequest, Fault::ServerError(500)]);
    let headers = [("authorization", format!("Bearer {}", rig.admin(Service::Awx)))];
    let mut answered = 0;
    for _ in 0..40 {
        let got = rig.send(Service::Awx, Method::POST, MINT, &headers, None).await;
        answered += u64::from(got.is_ok_and(|got| got.status == 201));
    }
    rig.loopback.faults().stop();
    let lost = rig.loopback.requests().iter().filter(|record| record.fault == Some(Fault::LoseAnswer)).count() as u64;
    assert!(lost > 0 && answered > 0);
    assert_eq!(minted(&rig), answered + lost);
    assert_eq!(rig.ledger().live_tokens(Service::Awx, rig.now()).len() as u64, 1 + answered + lost);
}

#[tokio::test]
async fn a_late_listing_lacks_what_is_young_and_nothing_else() {
    let rig = Rig::new().await;
    for by in [Span::zero(), Span::hours(1)] {
        rig.loopback.faults().next(Service::Awx, Operation::List, Fault::LateListing { by });
        let got = rig.bearer(Service::Awx, Method::GET, MINT, &rig.admin(Service::Awx), None).await;
        assert_eq!(rig.loopback.faults().pending(), 0);
        assert_eq!(got.json()["count"], json!(u8::from(by == Span::zero())), "{by}");
    }
}
