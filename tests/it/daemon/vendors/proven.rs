//! What proves a new token, what becomes of one that somebody else ends, and what a token may do of which nobody says
//! anything.

use std::fs;

use super::{Vendor, alone};
use crate::lookalike::{
    Databricks, GithubPat, Grafana, Harbor, Jfrog, Nautobot, Netbox450, Provider, Sonarqube99, Tailscale,
    TerraformTeam, TerraformUser,
};

/// A secret that opens nothing reaches no consumer, and its token is ended before there is another.
async fn a_secret_that_does_not_work_is_not_delivered<A: Provider + Default>() {
    let vendor = Vendor::<A>::new().await;
    let daemon = vendor.world.resume().await;
    daemon.steady("ci", 1).await;
    let old = vendor.world.stored("ci");
    vendor.ledger(|it| it.spoiled = 1);
    daemon.request("ci").await;
    vendor.asked(1, |asked| asked.method == "DELETE").await;
    assert_eq!(vendor.world.stored("ci"), old, "{}", A::DEFINITION);
    assert!(vendor.ledger(|it| it.accepts(&old)), "{}: it is not ended for one that does not work", A::DEFINITION);
    daemon.request("ci").await;
    alone(&daemon, 2).await;
    vendor.only_the_stored_one_lives();
    assert_ne!(vendor.world.stored("ci"), old, "{}", A::DEFINITION);
    assert_eq!(vendor.ledger(|it| (it.made(), it.most)), (3, 2), "{}", A::DEFINITION);
}

#[tokio::test]
async fn no_token_is_delivered_that_a_request_proves_not_to_work() {
    tokio::join!(
        a_secret_that_does_not_work_is_not_delivered::<Grafana>(),
        a_secret_that_does_not_work_is_not_delivered::<Nautobot>(),
        a_secret_that_does_not_work_is_not_delivered::<TerraformUser>(),
        a_secret_that_does_not_work_is_not_delivered::<TerraformTeam>(),
        a_secret_that_does_not_work_is_not_delivered::<Harbor>(),
    );
}

/// What is gone gets the answer of what is forbidden: the token itself tells, which is not accepted any more.
#[tokio::test]
async fn a_token_that_somebody_else_revoked_is_owed_no_more() {
    let vendor = Vendor::<TerraformTeam>::new().await;
    let daemon = vendor.world.resume().await;
    daemon.steady("ci", 1).await;
    vendor.provider.api(|api| api.faster = true);
    daemon.request("ci").await;
    alone(&daemon, 2).await;
    vendor.only_the_stored_one_lives();
    let vendor = Vendor::<TerraformUser>::new().await;
    let daemon = vendor.world.resume().await;
    daemon.steady("ci", 1).await;
    vendor.provider.api(|api| api.faster = true);
    daemon.request("ci").await;
    alone(&daemon, 2).await;
    vendor.only_the_stored_one_lives();
}

/// Whoever made the new token by hand has revoked nothing; patrold presents the old secret to be revoked.
#[tokio::test]
async fn a_personal_token_that_was_replaced_by_hand_is_revoked() {
    let vendor = Vendor::<GithubPat>::called("ci", GithubPat::DEFINITION, "").await;
    let first = vendor.ledger(|it| it.issue("by hand")).1;
    fs::write(vendor.world.path("by-hand"), &first).unwrap();
    let daemon = vendor.world.resume().await;
    daemon.steady("ci", 0).await;
    assert_eq!(vendor.world.stored("ci"), first);
    let second = vendor.ledger(|it| it.issue("by hand")).1;
    fs::write(vendor.world.path("by-hand.new"), &second).unwrap();
    fs::rename(vendor.world.path("by-hand.new"), vendor.world.path("by-hand")).unwrap();
    alone(&daemon, 1).await;
    assert_eq!(vendor.world.stored("ci"), second);
    vendor.only_the_stored_one_lives();
}

/// What a token may do is said in the inventory: where nothing is, nothing is minted.
async fn nothing_is_minted_of_which_nobody_says_what_it_may_do<A: Provider + Default>(said: &str) {
    let vendor = Vendor::<A>::new().await;
    let text = fs::read_to_string(vendor.world.config()).unwrap();
    assert!(text.contains(said), "{text}");
    fs::write(vendor.world.config(), text.replacen(said, "", 1)).unwrap();
    let refused = vendor.world.try_start().await.err().map(|error| error.to_string());
    let word = said.trim_start_matches([',', ' ']).trim_start_matches("params = { ").split(' ').next().unwrap();
    assert!(refused.as_ref().is_some_and(|it| it.contains(word)), "{}: {refused:?}", A::DEFINITION);
    assert_eq!(vendor.ledger(|it| it.made()), 0, "{}", A::DEFINITION);
}

#[tokio::test]
async fn no_token_may_do_more_than_the_inventory_says() {
    tokio::join!(
        nothing_is_minted_of_which_nobody_says_what_it_may_do::<Tailscale>(", reusable = false"),
        nothing_is_minted_of_which_nobody_says_what_it_may_do::<Sonarqube99>(
            "params = { type = \"GLOBAL_ANALYSIS_TOKEN\" }"
        ),
        nothing_is_minted_of_which_nobody_says_what_it_may_do::<Jfrog>(
            "params = { scope = \"applied-permissions/groups:readers\" }"
        ),
        nothing_is_minted_of_which_nobody_says_what_it_may_do::<Databricks>("scopes = [\"sql\"], "),
        nothing_is_minted_of_which_nobody_says_what_it_may_do::<Nautobot>("params = { write = false }"),
        nothing_is_minted_of_which_nobody_says_what_it_may_do::<Netbox450>(", write = false"),
    );
}
