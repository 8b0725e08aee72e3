//! The inventories of `config/examples`, as they are published but for addresses, files and graces: each is run against
//! look-alikes of its services. The ledgers tell whether consumers had a live secret at every moment.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use patrold::clock::Span;
use patrold::daemon::rotate::Answer;
use patrold::demo::Service;
use patrold::names::GenerationNo;
use serde_json::json;

use super::world::{Daemon, World, now};
use crate::lookalike::{
    Api, Bao, Entra, Github, GithubApp, Gitlab, GitlabProjects, GitlabTokens, Iam, KeyVault, Kubernetes, Ledger,
    Lookalike, Vault,
};

const ENTRA: &str = "entra-secret-to-key-vault-and-ci-variable.toml";
const GITLAB: &str = "gitlab-project-token-to-ci-variables.toml";
const AWS: &str = "aws-iam-key-to-github-secrets.toml";
const GITHUB: &str = "github-app-token-to-kubernetes-secret.toml";
const VAULT: &str = "vault-token-that-delivers-others.toml";

fn examples() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("config/examples")
}

#[test]
fn every_example_is_run() {
    let files = fs::read_dir(examples()).unwrap().map(|entry| entry.unwrap().path());
    let inventories = files.filter(|file| file.extension().is_some_and(|extension| extension == "toml"));
    let published: BTreeSet<_> =
        inventories.map(|file| file.file_name().unwrap().to_str().unwrap().to_owned()).collect();
    assert_eq!(published, [ENTRA, GITLAB, AWS, GITHUB, VAULT].map(str::to_owned).into());
}

/// Starts a daemon on the example `name`, in which `changes` replace what belongs to services that are not here.
async fn run(world: &World, name: &str, changes: &[(&str, &str)]) -> Daemon {
    let mut text = fs::read_to_string(examples().join(name)).unwrap();
    for (published, here) in changes {
        assert!(text.contains(published), "{name} has no `{published}`");
        text = text.replace(published, here);
    }
    text = text.replace("/etc/patrold/credentials", "$DIR");
    assert!(!text.contains("/etc/") && !text.contains("https://"), "{name}: {text}");
    world.start(&[text]).await
}

/// An address in place of the one that a definition has.
fn at(line: &str, url: &str) -> String {
    format!("{line}\nurl = \"{url}\"")
}

/// What consumers find in their stores.
type Held = Arc<dyn Fn() -> Vec<String> + Send + Sync>;

/// Lets the ledger look at the consumers whenever a token is ended.
fn watch<A: Api>(provider: &Lookalike<A>, ledger: fn(&mut A) -> &mut Ledger, held: &Held) {
    let held = Arc::clone(held);
    provider.api(|api| ledger(api).held = Some(Box::new(move || held())));
}

/// Rotates twice. Each time every store has the new secret, nothing that a consumer had died before, and nothing else lives.
async fn rotate<A: Api>(
    daemon: &Daemon,
    token: &str,
    (provider, ledger): (&Lookalike<A>, fn(&mut A) -> &mut Ledger),
    held: &Held,
) {
    daemon.steady(token, 1).await;
    for number in 2..4 {
        let before = held();
        assert_eq!(daemon.rotate(token).await, Answer::Rotated(GenerationNo(number)));
        daemon.steady(token, number).await;
        let now = held();
        assert!(now.iter().all(|secret| *secret == now[0] && !before.contains(secret)), "{before:?} {now:?}");
        provider.api(|api| {
            let ledger = ledger(api);
            assert_eq!(ledger.live().map(|it| it.secret.clone()).collect::<Vec<_>>(), now[..1]);
            assert_eq!((&ledger.harm, ledger.most), (&Vec::new(), 2));
        });
    }
}

#[tokio::test]
async fn a_secret_of_entra_reaches_a_key_vault_and_a_ci_variable() {
    let world = World::new().await;
    let entra = Lookalike::start(Entra::default()).await;
    let vault = Arc::new(Lookalike::start(KeyVault::new("api-client-secret")).await);
    let gitlab = Arc::new(Lookalike::start(Gitlab::new("group/app", "AZURE_CLIENT_SECRET")).await);
    gitlab.api(|api| api.put("OTHER", "*", "kept"));
    fs::write(world.path("entra"), Ledger::CREDENTIAL).unwrap();
    fs::write(world.path("gitlab-ci"), "gitlab-writer").unwrap();
    let tenant = "params     = { tenant = \"example.onmicrosoft.com\" }";
    // Sessions of both are got at one address; each look-alike hands out its own.
    let entra_login = format!("{tenant}\n\n[account.keyvault]");
    let vault_login = format!("{tenant}\n\n[account.gitlab-ci]");
    let with = |login: &str, url: &str| login.replace("{ tenant", &format!("{{ authority = \"{url}\", tenant"));
    let daemon = run(
        &world,
        ENTRA,
        &[
            (&entra_login, &with(&entra_login, &entra.url)),
            (&vault_login, &with(&vault_login, &vault.url)),
            ("provider   = \"entra-app-password\"", &at("provider = \"entra-app-password\"", &entra.url)),
            ("https://example.vault.azure.net", &vault.url),
            ("store      = \"gitlab-variable\"", &at("store = \"gitlab-variable\"", &gitlab.url)),
            ("grace        = \"2h\"", ""),
        ],
    )
    .await;
    let (kept, variable) = (Arc::clone(&vault), Arc::clone(&gitlab));
    let held: Held = Arc::new(move || {
        [kept.api(|api| api.value()), variable.api(|api| api.value())].into_iter().flatten().collect()
    });
    watch(&entra, |api| &mut api.ledger, &held);
    rotate(&daemon, "api", (&entra, |api| &mut api.ledger), &held).await;
    assert_eq!(held().len(), 2);
    assert_eq!((vault.writes(), gitlab.writes()), (3, 3), "one write for each secret");
    assert_eq!(gitlab.api(|api| api.values())["OTHER"], "kept");
}

#[tokio::test]
async fn a_project_token_of_gitlab_reaches_the_variables_of_twenty_projects() {
    let world = World::new().await;
    let tokens = Lookalike::start(GitlabTokens::new("group/library")).await;
    let text = fs::read_to_string(examples().join(GITLAB)).unwrap();
    let named = text.lines().filter_map(|line| line.split_once("project = \"")?.1.split('"').next());
    let projects: BTreeMap<_, _> = named
        .filter(|project| *project != "group/library")
        .map(|project| {
            let mut variables = Gitlab::new(project, "DEPLOY_TOKEN");
            variables.put("OTHER", "*", "kept");
            // The same name in another scope is another variable.
            variables.put("DEPLOY_TOKEN", "staging", "kept");
            (project.to_owned(), variables)
        })
        .collect();
    assert_eq!(projects.len(), 20);
    let gitlab = Arc::new(Lookalike::start(GitlabProjects(projects)).await);
    fs::write(world.path("gitlab"), Ledger::CREDENTIAL).unwrap();
    fs::write(world.path("gitlab-ci"), "gitlab-writer").unwrap();
    let daemon = run(
        &world,
        GITLAB,
        &[
            ("provider   = \"gitlab-project-token\"", &at("provider = \"gitlab-project-token\"", &tokens.url)),
            ("store      = \"gitlab-variable\"", &at("store = \"gitlab-variable\"", &gitlab.url)),
            ("grace    = \"6h\"", ""),
        ],
    )
    .await;
    let variables = Arc::clone(&gitlab);
    let held: Held = Arc::new(move || {
        let read = |(project, variables): (&String, &Gitlab)| {
            variables.secret("DEPLOY_TOKEN", if project == "group/website" { "production" } else { "*" })
        };
        variables.api(|api| api.0.iter().filter_map(read).collect())
    });
    watch(&tokens, |api| &mut api.ledger, &held);
    rotate(&daemon, "deploy", (&tokens, |api| &mut api.ledger), &held).await;
    assert_eq!((held().len(), gitlab.writes()), (20, 60), "one write for each secret and project");
    let kept = |project: &Gitlab| {
        project.secret("OTHER", "*").as_deref() == Some("kept")
            && project.secret("DEPLOY_TOKEN", "staging").as_deref() == Some("kept")
    };
    assert!(gitlab.api(|api| api.0.values().all(kept)), "nobody else's variable was touched");
}

#[tokio::test]
async fn a_key_of_iam_reaches_a_secret_and_a_variable_of_github() {
    let world = World::new().await;
    let iam = Lookalike::start(Iam::default()).await;
    let github = Arc::new(Lookalike::start(Github::new("example/app", "AWS_SECRET_ACCESS_KEY")).await);
    github.api(|api| {
        api.put("OTHER", "kept");
        api.variables.insert("OTHER".to_owned(), "kept".to_owned());
    });
    fs::write(world.path("iam"), Ledger::CREDENTIAL).unwrap();
    fs::write(world.path("github"), "github-writer").unwrap();
    let daemon = run(
        &world,
        AWS,
        &[
            ("provider   = \"aws-iam-access-key\"", &at("provider = \"aws-iam-access-key\"", &iam.url)),
            ("store      = \"github-secret\"", &at("store = \"github-secret\"", &github.url)),
            ("store      = \"github-variable\"", &at("store = \"github-variable\"", &github.url)),
            ("grace        = \"2h\"", ""),
        ],
    )
    .await;
    let secrets = Arc::clone(&github);
    let held: Held = Arc::new(move || secrets.api(|api| api.value()).into_iter().collect());
    watch(&iam, |api| &mut api.ledger, &held);
    rotate(&daemon, "ci", (&iam, |api| &mut api.ledger), &held).await;
    let (mut secrets, mut variables) = github.api(|api| (api.values(), api.variables.clone()));
    let id = variables.remove("AWS_ACCESS_KEY_ID").unwrap();
    let secret = secrets.remove("AWS_SECRET_ACCESS_KEY").unwrap();
    iam.api(|api| assert_eq!(api.ledger.find(&id).unwrap().secret, secret, "the id is that of the secret"));
    let kept = BTreeMap::from([("OTHER".to_owned(), "kept".to_owned())]);
    assert_eq!((secrets, variables), (kept.clone(), kept));
}

#[tokio::test]
async fn a_token_of_a_github_app_reaches_a_kubernetes_secret_each_forty_minutes() {
    let world = World::new().await;
    let app = Lookalike::start(GithubApp::default()).await;
    let cluster = Arc::new(Lookalike::start(Kubernetes::new("apps", "github", "token")).await);
    let before = cluster.api(|api| api.neighbours());
    let key = rcgen::KeyPair::generate().unwrap().serialize_pem();
    fs::write(world.path("github-app.pem"), key).unwrap();
    fs::write(world.path("account"), "service-account").unwrap();
    let kubernetes = "/var/run/secrets/kubernetes.io/serviceaccount";
    let daemon = run(
        &world,
        GITHUB,
        &[
            ("provider   = \"github-app-token\"", &at("provider = \"github-app-token\"", &app.url)),
            ("https://kubernetes.default.svc", &cluster.url),
            (&format!("tls        = {{ ca-file = \"{kubernetes}/ca.crt\" }}"), ""),
            (&format!("{kubernetes}/token"), "$DIR/account"),
            ("grace        = \"10m\"", "grace = \"200ms\""),
        ],
    )
    .await;
    let secret = Arc::clone(&cluster);
    let held: Held = Arc::new(move || secret.api(|api| api.value()).into_iter().collect());
    watch(&app, |api| &mut api.ledger, &held);
    let begun = now();
    rotate(&daemon, "github", (&app, |api| &mut api.ledger), &held).await;
    assert_eq!(cluster.api(|api| api.neighbours()), before, "every other key and label");
    assert_eq!(cluster.writes(), 3);
    let due = daemon.running.status().tokens[0].next.due.expect("it has a rule");
    // `jitter` is a twentieth of the time between two.
    assert!(due >= begun + Span::minutes(38) && due <= now() + Span::minutes(40), "{due}");
}

#[tokio::test]
async fn a_vault_token_keeps_itself_alive_and_delivers_the_others() {
    let world = World::new().await;
    let mut ledger = Ledger::default();
    let (_, first) = ledger.issue("made by hand");
    let engine = Vault::new(2, "apps/inventory-sync", "awx-token");
    let bao = Lookalike::start(Bao { ledger, engine }).await;
    fs::write(world.path("vault-first"), &first).unwrap();
    let awx = world.loopback.url(Service::Awx).as_str().trim_end_matches('/').to_owned();
    let daemon = run(
        &world,
        VAULT,
        &[
            ("https://vault.example.com:8200", &bao.url),
            ("https://awx.example.com", &awx),
            ("user_id = 7", "user_id = 2"),
        ],
    )
    .await;
    daemon.steady("vault-writer", 0).await;
    daemon.steady("inventory-sync", 1).await;
    for number in 1..3 {
        assert_eq!(daemon.rotate("vault-writer").await, Answer::Rotated(GenerationNo(number)));
        daemon.steady("vault-writer", number).await;
        // By the newest writer, and no other one lives.
        let live = bao.api(|api| api.ledger.live().map(|it| it.secret.clone()).collect::<Vec<_>>());
        assert!(live.len() == 1 && live[0] != first, "{live:?}");
        assert_eq!(daemon.rotate("inventory-sync").await, Answer::Rotated(GenerationNo(number + 1)));
        daemon.steady("inventory-sync", number + 1).await;
        let used = bao.requests().pop().unwrap().headers["x-vault-token"].clone();
        assert_eq!(used, live[0]);
    }
    let document = bao.api(|api| api.engine.document("apps/inventory-sync").cloned()).unwrap();
    let delivered = document["awx-token"].as_str().unwrap();
    assert!(world.is_live(delivered));
    assert_eq!(json!(document), json!({ "other": "kept", "number": 7, "awx-token": delivered }));
    assert_eq!(world.live(Service::Awx), [world.id_of(delivered)]);
}
