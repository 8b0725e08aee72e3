//! Questions that every definition that comes with patrold has to answer, or to have a reason for not answering.

use std::collections::BTreeMap;

use super::fixtures::fixtures;
use super::*;
use crate::provider::model::Test;
use crate::provider::params::ParamSpec;

/// Where a rotation goes wrong, in the words of the page for authors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Question {
    /// Is a lost token found again?
    Marker,
    /// Which request may every token make?
    Proof,
    /// How is a token ended?
    End,
    /// What does the provider answer where a token is gone already?
    Gone,
    /// Does its 404 mean that, and nothing else?
    NotFound,
    /// What may a token do where the inventory says nothing?
    Power,
    /// How long may a name be in all generations?
    Name,
}

/// Parameters that say what a token may do.
const RIGHTS: &[&str] = &[
    "access_level",
    "permissions",
    "policies",
    "role",
    "scope",
    "scopes",
    "type",
    "write",
    "reusable",
    "preauthorized",
];

fn open_questions(provider: &Provider) -> Vec<Question> {
    let can = provider.capabilities();
    let mut open = Vec::new();
    let mut ask = |question, answered: bool| open.extend((!answered).then_some(question));
    if can.mints {
        ask(Question::Marker, can.marks);
        ask(Question::Proof, can.verifies);
        ask(Question::End, can.revokes);
        let longest = provider.naming().is_none_or(|naming| naming.longest.is_some());
        ask(Question::Name, longest);
        let given = |spec: &ParamSpec| spec.default.is_none() && !spec.optional;
        ask(
            Question::Power,
            provider.params.iter().all(|(name, spec)| !RIGHTS.contains(&name.as_str()) || given(spec)),
        );
    }
    if let Ok(revoke) = provider.call(Operation::Revoke) {
        let told = !revoke.gone_ok.is_empty() || revoke.role == Role::Subject;
        ask(Question::Gone, told);
        // That a body is there at all is also true of another route, or of a proxy that answers JSON.
        let says_what = revoke.gone_expect.iter().any(|it| !matches!(it.test, Test::Present | Test::Absent));
        ask(Question::NotFound, !revoke.gone_ok.contains(&404) || says_what);
    }
    open.sort_unstable();
    open
}

/// What is left open, and why.
const REASONS: &[(Question, &str, &[&str])] = &[
    (
        Question::Marker,
        "its API takes no name",
        &[
            "gcp-service-account-key",
            "github-app-token",
            "kubernetes-service-account-token",
            "oauth2-client-credentials",
            "okta-client-secret",
        ],
    ),
    (
        Question::Marker,
        "a listing does not show the name",
        &[
            "commvault",
            "commvault-login",
            "matrix-session",
            "newrelic-user-key",
            "snowflake-pat",
            "tailscale-auth-key",
            "vault-token",
            "verdaccio-token",
        ],
    ),
    (
        Question::Proof,
        "new ones open another API than this one",
        &[
            "azure-devops-pat",
            "buildkite-agent-token",
            "digitalocean-functions-key",
            "dockerhub-pat",
            "entra-app-password",
            "gcp-service-account-key",
            "gitlab-deploy-token",
            "okta-client-secret",
        ],
    ),
    (
        Question::Proof,
        "no request is known that a token of any scope may make",
        &[
            "bitbucket-dc-token",
            "datadog-pat",
            "datadog-service-account-token",
            "foreman-pat",
            "forgejo-token",
            "gitea-token",
            "jfrog-access-token",
            "linode-pat",
            "oauth2-client-credentials",
            "quay-oauth-token",
        ],
    ),
    (
        Question::End,
        "there is no revocation, or none that is published",
        &["kubernetes-service-account-token", "oauth2-client-credentials", "pointone"],
    ),
    (Question::Gone, "a name that is not there is revoked with success", &["sonarqube-token"]),
    (
        Question::Gone,
        "what is forbidden has the same status",
        &["hcp-terraform-team-token", "hcp-terraform-user-token"],
    ),
    (
        Question::Gone,
        "it is not published: the revocation is asked for until the end of the token",
        &[
            "azure-devops-pat",
            "commvault",
            "commvault-login",
            "datahub-pat",
            "entra-app-password",
            "github-pat",
            "newrelic-user-key",
            "snowflake-pat",
            "verdaccio-token",
        ],
    ),
    (Question::NotFound, "the token is looked up before any permission", &["harbor-robot"]),
    (
        Question::NotFound,
        "what else has this status is not published; a token that is still accepted is seen by its proof",
        &[
            "cloudflare-account-token",
            "cloudflare-user-token",
            "confluence-dc-pat",
            "grafana-service-account-token",
            "jira-dc-pat",
            "tailscale-auth-key",
            "unleash-pat",
        ],
    ),
    (
        Question::NotFound,
        "what else has this status is not published; a token that is still listed is seen as an orphan",
        &[
            "bitbucket-dc-token",
            "buildkite-agent-token",
            "datadog-pat",
            "datadog-service-account-token",
            "digitalocean-functions-key",
            "dockerhub-pat",
            "foreman-pat",
            "forgejo-token",
            "gcp-service-account-key",
            "gitea-token",
            "linode-pat",
            "okta-client-secret",
            "quay-oauth-token",
        ],
    ),
    (Question::Power, "it is less than the vendor gives by default", &["gitlab-group-token", "gitlab-project-token"]),
    (
        Question::Power,
        "it is what the vendor gives by default, and what inventories of earlier versions rely on",
        &["aap-gateway", "awx", "oauth2-client-credentials", "pointone"],
    ),
    (
        Question::Name,
        "no page that was read tells a limit",
        &[
            "aap-gateway",
            "awx",
            "azure-devops-pat",
            "bitbucket-dc-token",
            "buildkite-agent-token",
            "commvault",
            "commvault-login",
            "confluence-dc-pat",
            "databricks-pat",
            "datadog-pat",
            "datadog-service-account-token",
            "datahub-pat",
            "digitalocean-functions-key",
            "entra-app-password",
            "foreman-pat",
            "forgejo-token",
            "gitea-token",
            "gitlab-deploy-token",
            "gitlab-group-token",
            "gitlab-project-token",
            "gitlab-service-account-token",
            "grafana-service-account-token",
            "harbor-robot",
            "hcp-terraform-team-token",
            "hcp-terraform-user-token",
            "jfrog-access-token",
            "jira-dc-pat",
            "jupyterhub-token",
            "keystone-application-credential",
            "linode-pat",
            "matrix-session",
            "nautobot-token",
            "netbox-provisioned-token",
            "netbox-token",
            "netbox-v1-token",
            "newrelic-user-key",
            "pointone",
            "quay-oauth-token",
            "snowflake-pat",
            "unleash-pat",
            "vault-token",
        ],
    ),
];

#[test]
fn every_definition_answers_the_questions_of_the_page_for_authors_or_has_a_reason_not_to() {
    let mut open: BTreeMap<Question, Vec<String>> = BTreeMap::new();
    for fixture in fixtures() {
        for question in open_questions(&fixture.provider) {
            open.entry(question).or_default().push(fixture.provider.name.to_string());
        }
    }
    let mut excused: BTreeMap<Question, Vec<String>> = BTreeMap::new();
    for (question, reason, names) in REASONS {
        assert!(!reason.is_empty());
        excused.entry(*question).or_default().extend(names.iter().map(|name| (*name).to_owned()));
    }
    for names in excused.values_mut() {
        names.sort_unstable();
    }
    assert_eq!(open, excused, "left: what is open; right: what has a reason");
}
