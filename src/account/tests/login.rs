//! Accounts whose credential is exchanged for a session first.

use futures_util::future::join_all;

use super::*;

/// The definition of these tests with a login before everything that the account does.
fn with_login() -> String {
    let login = "[login]\nmethod = \"POST\"\nurl = \"{{ base_url }}/login\"\nform = { secret = \"{{ cred.secret }}\" }\n\
                 capture = { secret = \"/session\", expires = { at = \"/expires_in\", format = \"seconds\" } }\n";
    format!("{DEFINITION}\n{login}")
}

/// The same, with more keys in `[login]`.
fn with_login_and(more: &str) -> String {
    with_login().replace("[login]\n", &format!("[login]\n{more}\n"))
}

#[tokio::test]
async fn a_session_is_got_once_and_used_until_shortly_before_its_end() {
    let setup = Setup::with_definition(&with_login(), |n, seen| async move {
        if seen.starts_with("POST /login") {
            axum::Json(json!({ "session": format!("s{n}"), "expires_in": 600 })).into_response()
        } else {
            minted().into_response()
        }
    })
    .await;
    let account = setup.account();
    let params = Params::new();
    for _ in 0..2 {
        assert!(matches!(account.mint(&params, &mint_request()).await, Outcome::Done(_)));
    }
    setup.clock.advance(Span::seconds(571));
    assert!(matches!(account.mint(&params, &mint_request()).await, Outcome::Done(_)));
    // The token itself needs no session.
    let _ = account.verify(&params, &Subject { secret: Some(secret("new")), ..Subject::default() }).await;
    assert_eq!(
        setup.seen(),
        [
            "POST /login ",
            "POST /mint Bearer s1",
            "POST /mint Bearer s1",
            "POST /login ",
            "POST /mint Bearer s4",
            "GET /verify Bearer new",
        ]
    );
}

#[tokio::test]
async fn a_session_that_is_refused_is_replaced_once() {
    let refuse = Arc::new(AtomicUsize::new(0));
    let setup = Setup::with_definition(&with_login(), {
        let refuse = Arc::clone(&refuse);
        move |n, seen| {
            let refuse = refuse.load(Ordering::SeqCst);
            async move {
                if seen.starts_with("POST /login") {
                    axum::Json(json!({ "session": format!("s{n}") })).into_response()
                } else if refuse > 0 {
                    StatusCode::UNAUTHORIZED.into_response()
                } else {
                    minted().into_response()
                }
            }
        }
    })
    .await;
    let account = setup.account();
    let params = Params::new();
    assert!(matches!(account.mint(&params, &mint_request()).await, Outcome::Done(_)));
    refuse.store(1, Ordering::SeqCst);
    let now = setup.clock.now();
    let unauthorized = Some(FailureCode::Unauthorized);
    // It worked before: another login may help, so nothing is said against the credential.
    assert_eq!(told(&account.mint(&params, &mint_request()).await, now), ("later", unauthorized, None));
    assert_eq!(account.endpoint().health().state, EndpointState::Fine);
    // A fresh session was refused too: that is the credential's fault.
    assert_eq!(told(&account.mint(&params, &mint_request()).await, now), ("refused", unauthorized, None));
    assert!(matches!(account.endpoint().health().state, EndpointState::Degraded { .. }));
    assert_eq!(setup.count(), 5);
}

#[tokio::test]
async fn a_login_that_fails_is_the_accounts_failure() {
    let setup = Setup::with_definition(&with_login(), |_, _| async { StatusCode::UNAUTHORIZED.into_response() }).await;
    let account = setup.account();
    let now = setup.clock.now();
    let outcome = account.mint(&Params::new(), &mint_request()).await;
    assert_eq!(told(&outcome, now), ("refused", Some(FailureCode::Unauthorized), None));
    assert!(matches!(account.endpoint().health().state, EndpointState::Degraded { .. }));
    assert_eq!(setup.seen(), ["POST /login "]);
}

/// An account with a password, whose logins answer what `reply` says.
async fn with_password(definition: &str, reply: impl Fn() -> Value + Clone + Send + Sync + 'static) -> Setup {
    let mut setup = Setup::with_definition(definition, move |_, seen| {
        let body =
            axum::Json(if seen.starts_with("POST /login") { reply() } else { json!({ "secret": "s", "id": 7 }) });
        async move { body.into_response() }
    })
    .await;
    let password = SecretSource::File(setup.directory.path().join("credential"));
    setup.policy.endpoint.credential = Credential::Basic { username: "svc".to_owned(), password };
    setup
}

#[tokio::test]
async fn a_wrong_password_is_tried_once_by_all_tokens_together() {
    let definition = with_login_and("expect = [{ at = \"/session\", present = true, otherwise = \"unauthorized\" }]");
    let setup = with_password(&definition, || json!({ "message": "wrong" })).await;
    let (account, params) = (setup.account(), Params::new());
    let mint_request = mint_request();
    let outcomes = join_all((0..20).map(|_| account.mint(&params, &mint_request))).await;
    assert_eq!(setup.seen(), ["POST /login "]);
    let unauthorized = Some(FailureCode::Unauthorized);
    let told: Vec<_> = outcomes.iter().map(|outcome| told(outcome, setup.clock.now())).collect();
    assert_eq!(told[0], ("refused", unauthorized, None));
    assert!(told[1..].iter().all(|told| *told == ("later", unauthorized, Some(300))), "{told:?}");

    std::fs::write(setup.directory.path().join("credential"), "corrected").unwrap();
    setup.clock.advance(Span::seconds(1));
    let _ = account.mint(&params, &mint_request).await;
    assert_eq!(setup.count(), 2, "another password is tried at once");
}

#[tokio::test]
async fn a_user_who_is_locked_is_not_tried_before_the_lock_ends() {
    let more = "expect = [{ at = \"/locked\", not-equals = true, otherwise = \"locked\" }]\n\
                retry-at = { at = \"/left\", format = \"seconds\" }";
    for (left, next) in [(json!(900), 900), (json!(60), 300), (json!(86_400 * 30), 3600), (Value::Null, 300)] {
        let setup = with_password(&with_login_and(more), {
            let left = left.clone();
            move || json!({ "locked": true, "left": left })
        })
        .await;
        let (account, params, start) = (setup.account(), Params::new(), setup.clock.now());
        let locked = Some(FailureCode::AccountLocked);
        let wait = left.as_i64().map(|left| left.min(86_400));
        let kind = if wait.is_some() { "later" } else { "refused" };
        assert_eq!(told(&account.mint(&params, &mint_request()).await, start), (kind, locked, wait), "{left}");
        assert!(matches!(account.endpoint().health().state, EndpointState::Degraded { .. }));
        setup.clock.advance(Span::seconds(next - 1));
        assert_eq!(told(&account.mint(&params, &mint_request()).await, start), ("later", locked, Some(next)), "{left}");
        assert_eq!(setup.count(), 1, "{left}");
        setup.clock.advance(Span::seconds(1));
        let _ = account.mint(&params, &mint_request()).await;
        assert_eq!(setup.count(), 2, "{left}");
    }
}
