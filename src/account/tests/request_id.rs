//! Ids of requests: sent with each, and told with each failure.

use super::*;

/// The credential of the account.
const CREDENTIAL: &str = "the-credential-0123456789";

/// What a failed listing is told as: the id of its failure, and the one that was sent.
async fn failed_listing(answer: Option<&'static str>) -> (Option<String>, String) {
    let setup = Setup::new(move |_, _| {
        let named = answer.map(|id| [("x-api-request-id", id)]);
        (StatusCode::INTERNAL_SERVER_ERROR, axum::response::AppendHeaders(named.into_iter().flatten()))
    })
    .await;
    std::fs::write(setup.directory.path().join("credential"), CREDENTIAL).unwrap();
    let failure = setup.account().list(&Params::new()).await.into_result().unwrap_err();
    (failure.request_id, setup.ids()[0].clone())
}

#[tokio::test]
async fn a_failure_tells_the_request_by_the_id_that_the_providers_log_has() {
    let (told, sent) = failed_listing(None).await;
    assert!(sent.len() == 16 && told == Some(sent), "{told:?}");
    let (told, sent) = failed_listing(Some("5bd2f7a1")).await;
    assert!(told.as_deref() == Some("5bd2f7a1") && sent.len() == 16, "{told:?}");
    let (told, sent) = failed_listing(Some(CREDENTIAL)).await;
    assert_eq!(told, Some(sent), "what holds a secret is no id");
}

#[tokio::test]
async fn each_request_has_an_id_of_its_own_and_mints_are_told_by_it_alone() {
    let setup =
        Setup::new(|_, _| (StatusCode::INTERNAL_SERVER_ERROR, [("x-request-id", "maybe-the-new-secret")])).await;
    let account = setup.account();
    for number in 0..2 {
        let outcome = account.mint(&Params::new(), &mint_request()).await;
        let Outcome::Unknown(failure) = outcome else { panic!("{outcome:?}") };
        assert_eq!(failure.request_id.as_deref(), Some(&*setup.ids()[number]));
        assert!(failure.in_full().ends_with(&format!("(request {})", setup.ids()[number])), "{}", failure.in_full());
    }
    assert_ne!(setup.ids()[0], setup.ids()[1]);
}

#[tokio::test]
async fn the_inventorys_own_header_of_that_name_is_left_alone() {
    let setup = Setup::new(|_, _| StatusCode::INTERNAL_SERVER_ERROR).await;
    let own = setup.directory.path().join("own");
    std::fs::write(&own, "of-the-gateway").unwrap();
    let mut policy = setup.policy.clone();
    policy.endpoint.headers.insert("X-Request-Id".to_owned(), SecretSource::File(own));
    let account = account(policy, &setup.clock, None).unwrap();
    let failure = account.verify(&Params::new(), &subject()).await.into_result().unwrap_err();
    assert_eq!((failure.request_id, setup.ids()), (None, vec!["of-the-gateway".to_owned()]));
}
