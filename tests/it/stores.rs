//! Every store that has a definition goes through the same list of faults, against a look-alike that keeps what is written
//! to it. What became of it is the table in `docs/stores.md`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::Mutex;

use patrold::account::pool::Accounts;
use patrold::clock::SystemClock;
use patrold::endpoint::Workshop;
use patrold::inventory::{self, Environment, StorePolicy};
use patrold::names::{GenerationNo, RotationId, TokenName};
use patrold::outcome::{FailureCode, Outcome};
use patrold::secret::{Fingerprinter, Secret, SecretParts};
use patrold::store::{self, Delivery, Judge, Known, Receipt, drift};
use tempfile::TempDir;

use crate::lookalike::shelf::{self, Shelf};
use crate::lookalike::{
    Api, Consul, Doppler, Etcd, Fault, Gcp, Gitea, Github, Gitlab, KeyVault, Kubernetes, Lookalike, Own,
    SecretsManager, Ssm, VariableGroup, Vault,
};

/// The faults, as the head of the table names them.
const FAULTS: [&str; 12] = [
    "unavailable",
    "slow",
    "429",
    "403",
    "somebody else writes at the same time",
    "acknowledgement lost",
    "killed between write and record",
    "changed by a stranger",
    "soft-deleted",
    "wrong place",
    "stale read",
    "value rule",
];

/// A slot of a look-alike, which holds `tok-1` of patrold's.
struct Rig<A> {
    store: Lookalike<A>,
    policy: StorePolicy,
    policies: Vec<StorePolicy>,
    accounts: Accounts<SystemClock>,
    fingerprints: Fingerprinter,
    known: Known,
    _directory: TempDir,
}

/// How a test reaches a store.
struct Setup {
    definition: &'static str,
    /// Keys of the account.
    account: &'static str,
    /// Keys of the store.
    keys: &'static str,
    /// A value that the store cannot hold.
    refused: Option<&'static str>,
}

const TOKEN: &str = "credential = { file = \"$DIR/credential\" }";
const AWS: &str = "credential = { username = \"AKIAEXAMPLE\", password = { file = \"$DIR/credential\" } }\nparams = { region = \"eu-central-1\" }";
const ENTRA: &str = "credential = { username = \"client\", password = { file = \"$DIR/credential\" } }\nparams = { tenant = \"example\", authority = \"$URL\" }";

impl<A: Api> Rig<A> {
    async fn new(setup: &Setup, api: A) -> Self {
        let store = Lookalike::start(api).await;
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("credential"), "vault-writer").unwrap();
        let Setup { definition, account, keys, .. } = setup;
        let text = format!(
            "[account.source]\nprovider = \"awx\"\nurl = \"http://127.0.0.1:1\"\n{TOKEN}\nparams = {{ user_id = 2 }}\n\
             [account.store]\nstore = \"{definition}\"\nurl = \"$URL\"\n{account}\n\
             [[token]]\nname = \"ci\"\naccount = \"source\"\nrotate-every = \"30d\"\n\
             [[token.stores]]\naccount = \"store\"\n{keys}\n"
        );
        let text = text.replace("$DIR", &directory.path().display().to_string()).replace("$URL", &store.url);
        let path = directory.path().join("patrold.toml");
        fs::write(&path, text).unwrap();
        let environment = Environment { state_dir: Some("/var/lib/patrold".into()), ..Environment::default() };
        let loaded = inventory::load(&path, &environment, "2026-11-21T12:00:00Z".parse().unwrap());
        let problems = loaded.report.problems();
        let inventory = loaded.inventory.unwrap_or_else(|| panic!("{definition}: {problems:#?}"));
        let accounts = Accounts::new(SystemClock, Workshop::forgetful().unwrap());
        let _ = accounts.update(&inventory).await;
        let policies = inventory.tokens.values().next().unwrap().stores.clone();
        let mut rig = Self {
            store,
            policy: policies[0].clone(),
            policies,
            accounts,
            fingerprints: Fingerprinter::new(&[7; 32]),
            known: Known::default(),
            _directory: directory,
        };
        let receipt = rig.put("tok-1-of-patrold").await.unwrap_or_else(|code| panic!("{definition}: {code:?}"));
        rig.known = Known {
            ours: vec![rig.fingerprints.of(&Secret::new("tok-1-of-patrold"))],
            receipt,
            beside: Vec::new(),
            begun: None,
        };
        assert_eq!(rig.value().as_deref(), Some("tok-1-of-patrold"), "{definition}");
        rig
    }

    async fn try_put(&self, value: &str) -> Outcome<Option<Receipt>> {
        let parts = SecretParts::new(Secret::new(value));
        let token: TokenName = "ci".parse().unwrap();
        let rotation = RotationId::new([1; 6]);
        let delivery = Delivery {
            token: &token,
            generation: GenerationNo(2),
            revision: 0,
            rotation,
            parts: &parts,
            others: &BTreeMap::new(),
        };
        store::write(&self.policy, &delivery, &self.known, &self.fingerprints, &self.accounts).await
    }

    async fn put(&self, value: &str) -> Result<Option<Receipt>, FailureCode> {
        self.try_put(value).await.into_result().map_err(|failure| failure.code)
    }

    fn value(&self) -> Option<String> {
        self.store.api(|api| api.value())
    }

    fn neighbours(&self) -> Option<String> {
        self.store.api(|api| api.neighbours())
    }

    /// Writes until it is done; how often that failed.
    async fn put_at_last(&self, value: &str) -> usize {
        for failed in 0..5 {
            if self.put(value).await.is_ok() {
                assert_eq!(self.value().as_deref(), Some(value));
                return failed;
            }
        }
        panic!("{} is not written", self.policy.key);
    }

    /// What becomes of one fault.
    async fn meet(&mut self, fault: &str, refused: Option<&str>) -> String {
        const NEW: &str = "tok-2-of-patrold";
        let (before, writes) = (self.neighbours(), self.store.writes());
        match fault {
            "unavailable" => self.later(503, &[FailureCode::ServerError]).await,
            "429" => self.later(429, &[FailureCode::RateLimited]).await,
            "403" => self.later(403, &[FailureCode::Forbidden]).await,
            "slow" => {
                self.store.next(Fault::Slow);
                assert_eq!(self.put_at_last(NEW).await, 0);
                assert_eq!(self.neighbours(), before);
                "written".to_owned()
            }
            "somebody else writes at the same time" => {
                self.store.next(Fault::Race);
                self.put_at_last(NEW).await;
                let theirs =
                    self.neighbours().is_some_and(|others| others.contains("theirs") || others.contains("THEIRS"));
                let noticed = self.store.writes() - writes > 1;
                match (theirs, noticed, self.store.api(super::lookalike::Api::race)) {
                    (true, ..) => "both are kept".to_owned(),
                    (false, true, _) => "noticed".to_owned(),
                    (false, false, true) => "theirs is lost".to_owned(),
                    (false, false, false) => "the last one wins".to_owned(),
                }
            }
            "acknowledgement lost" => {
                self.store.next(Fault::LostAnswer);
                assert_eq!(self.put_at_last(NEW).await, 1);
                self.times(writes, before.as_deref())
            }
            "killed between write and record" => {
                self.put_at_last(NEW).await;
                self.put_at_last(NEW).await;
                self.times(writes, before.as_deref())
            }
            "changed by a stranger" => {
                self.store.api(|api| api.intrude("a stranger's"));
                let look = store::look(&self.policy, &self.accounts).await.unwrap();
                let print = self.fingerprints.of(&Secret::new("tok-1-of-patrold"));
                let drift = drift::compare(&print, &look, &self.known, &self.fingerprints);
                if !drift.is_value() {
                    return "not noticed".to_owned();
                }
                self.put_at_last("tok-1-of-patrold").await;
                "noticed, repaired".to_owned()
            }
            "soft-deleted" => {
                if !self.store.api(super::lookalike::Api::soften) {
                    return "-".to_owned();
                }
                match self.put(NEW).await {
                    Ok(_) => "a new version".to_owned(),
                    Err(code) => format!("stops: `{}`", code.code()),
                }
            }
            "wrong place" => {
                if !self.store.api(super::lookalike::Api::misplace) {
                    return "-".to_owned();
                }
                let judge = Judge::of(&self.policy, None, &self.known, &self.fingerprints);
                let tested = store::preflight(&self.policy, Some(judge), &self.accounts).await;
                let written = self.put(NEW).await;
                assert!(written.is_err() && self.value().as_deref() != Some(NEW), "{}: {written:?}", self.policy.key);
                match tested {
                    Ok(()) => "not noticed before the mint".to_owned(),
                    Err(failure) => format!("before the mint: `{}`", failure.code.code()),
                }
            }
            "stale read" => {
                self.store.next(Fault::Stale);
                self.put_at_last(NEW).await;
                self.times(writes, before.as_deref())
            }
            "value rule" => {
                let Some(value) = refused else { return "-".to_owned() };
                let asked = self.store.requests().len();
                assert!(matches!(self.try_put(value).await, Outcome::Refused(_)));
                assert_eq!(self.store.requests().len(), asked, "it is known without asking");
                "before the write".to_owned()
            }
            other => panic!("{other}"),
        }
    }

    /// Nothing is done the first time, and the second time all of it.
    async fn later(&self, status: u16, codes: &[FailureCode]) -> String {
        let (before, value) = (self.neighbours(), self.value());
        self.store.next(Fault::Status(status));
        let code = self.put("tok-2-of-patrold").await.unwrap_err();
        assert!(codes.contains(&code), "{}: {code:?}", self.policy.key);
        assert_eq!(self.value(), value);
        self.put_at_last("tok-2-of-patrold").await;
        assert_eq!(self.neighbours(), before);
        "written later".to_owned()
    }

    /// How often it was written.
    fn times(&self, before: usize, neighbours: Option<&str>) -> String {
        assert_eq!(self.neighbours().as_deref(), neighbours);
        match self.store.writes() - before {
            1 => "written once".to_owned(),
            2 => "written twice".to_owned(),
            more => panic!("{}: written {more} times", self.policy.key),
        }
    }
}

/// A row of the table.
async fn row<A: Api>(setup: Setup, api: impl Fn() -> A) -> String {
    Box::pin(cells(setup, api)).await
}

async fn cells<A: Api>(setup: Setup, api: impl Fn() -> A) -> String {
    let mut cells = vec![format!("`{}`", setup.definition)];
    for fault in FAULTS {
        let mut rig = Rig::new(&setup, api()).await;
        cells.push(rig.meet(fault, setup.refused).await);
    }
    format!("| {} |", cells.join(" | "))
}

#[tokio::test]
async fn every_store_goes_through_every_fault() {
    let setup = |definition, account, keys, refused| Setup { definition, account, keys, refused };
    let rows = [
        row(setup("vault-kv2", TOKEN, "path = \"apps/ingest\"\nkey = \"token\"", Some(" ")), || {
            Vault::new(2, "apps/ingest", "token")
        })
        .await,
        row(setup("vault-kv1", TOKEN, "mount = \"kv\"\npath = \"apps/ingest\"\nkey = \"token\"", Some(" ")), || {
            Vault::new(1, "apps/ingest", "token")
        })
        .await,
        row(
            setup("kubernetes-secret", TOKEN, "namespace = \"apps\"\nname = \"ingest\"\nkey = \"token\"", Some(" ")),
            || Kubernetes::new("apps", "ingest", "token"),
        )
        .await,
        row(setup("gitlab-variable", TOKEN, "project = \"group/app\"\nkey = \"DEPLOY\"", Some("short")), || {
            Gitlab::new("group/app", "DEPLOY")
        })
        .await,
        row(
            setup("github-secret", TOKEN, "owner = \"example\"\nrepository = \"app\"\nname = \"DEPLOY\"", Some(" ")),
            || Github::new("example/app", "DEPLOY"),
        )
        .await,
        row(setup("aws-secrets-manager", AWS, "secret = \"apps/ingest\"\nkey = \"token\"", Some(" ")), || {
            SecretsManager::new("apps/ingest", "token")
        })
        .await,
        row(setup("aws-ssm", AWS, "name = \"/apps/token\"", Some("a{{b}}")), || Ssm::new("/apps/token")).await,
        row(setup("gcp-secret-manager", TOKEN, "project = \"example\"\nsecret = \"ingest\"", Some(" ")), || {
            Gcp::new("ingest")
        })
        .await,
        row(setup("azure-key-vault", ENTRA, "name = \"ingest-token\"", Some(" ")), || KeyVault::new("ingest-token"))
            .await,
        row(setup("consul-kv", TOKEN, "key = \"apps/token\"", Some(" ")), || Consul::new("apps/token")).await,
        row(setup("etcd", "", "key = \"/apps/token\"", Some(" ")), || Etcd::new("/apps/token")).await,
        row(
            setup("gitea-secret", TOKEN, "owner = \"example\"\nrepository = \"app\"\nname = \"DEPLOY\"", Some(" ")),
            || Gitea::new("example/app", "DEPLOY"),
        )
        .await,
        row(
            setup("doppler", TOKEN, "project = \"app\"\nconfig = \"prd\"\nname = \"DEPLOY\"", Some("${OTHER}")),
            || Doppler::new("prd", "DEPLOY"),
        )
        .await,
        row(
            setup(
                "azure-devops-variable-group",
                TOKEN,
                "organization = \"example\"\nproject = \"app\"\ngroup = 7\nname = \"DEPLOY\"",
                Some(" "),
            ),
            || VariableGroup::new("DEPLOY"),
        )
        .await,
        row(setup("http", TOKEN, "path = \"apps/ingest\"", Some(" ")), || Own::new("apps/ingest")).await,
    ];
    let shelves = shelves().await;
    let head = format!("| store | {} |", FAULTS.join(" | "));
    let rule = "| --- ".repeat(FAULTS.len() + 1) + "|";
    let table = [head, rule].into_iter().chain(rows).chain(shelves).collect::<Vec<_>>().join("\n");
    update_page(Path::new("docs/stores.md"), "faults", &table);
}

const BASIC: &str = "credential = { username = \"client\", password = { file = \"$DIR/credential\" } }";

/// Rows of stores whose look-alikes are alike, and of definitions that are made of others.
async fn shelves() -> Vec<String> {
    let mut rows = Vec::new();
    let plain = |definition, account, keys| Setup { definition, account, keys, refused: Some(" ") };
    let github = [
        ("github-environment-secret", "environment = \"production\"", "/repos/example/app/environments/production"),
        ("github-organization-secret", "visibility = \"private\"", "/orgs/example/actions"),
    ];
    for (definition, own, place) in github {
        let repository = if place.starts_with("/repos") { "repository = \"app\"\n" } else { "" };
        let keys = format!("owner = \"example\"\nname = \"DEPLOY\"\n{repository}{own}");
        let setup = plain(definition, TOKEN, Box::leak(keys.into_boxed_str()));
        rows.push(row(setup, || Github::at(place, "DEPLOY")).await);
    }
    rows.push(row(plain("etcd-password", BASIC, "key = \"/apps/token\""), || Etcd::new("/apps/token")).await);
    let new = |place: &'static str, answer| move || Shelf::new(place, "DEPLOY", answer);
    let repository = "owner = \"example\"\nrepository = \"app\"\nname = \"DEPLOY\"";
    let variables = "/repos/example/app/actions/variables";
    rows.push(row(plain("github-variable", TOKEN, repository), new(variables, shelf::github_variable)).await);
    let group = Setup {
        refused: Some("short"),
        ..plain("gitlab-group-variable", TOKEN, "group = \"group/team\"\nkey = \"DEPLOY\"")
    };
    rows.push(row(group, new("/api/v4/groups/group/team", shelf::gitlab_group)).await);
    let repository = "workspace = \"example\"\nrepository = \"app\"\nname = \"DEPLOY\"";
    let place = "/2.0/repositories/example/app/pipelines_config/variables";
    rows.push(row(plain("bitbucket-variable", TOKEN, repository), new(place, shelf::bitbucket)).await);
    let cluster = "organization = \"example\"\ncluster = \"c-1\"\nname = \"DEPLOY\"";
    let place = "/v2/organizations/example/clusters/c-1/secrets";
    rows.push(row(plain("buildkite-secret", TOKEN, cluster), new(place, shelf::buildkite)).await);
    let project = "project = \"gh/example/app\"\nname = \"DEPLOY\"";
    let place = "/api/v2/project/gh/example/app";
    rows.push(row(plain("circleci-variable", TOKEN, project), new(place, shelf::circleci)).await);
    let worker = "account-id = \"a-1\"\nscript = \"ingest\"\nname = \"DEPLOY\"";
    let place = "/accounts/a-1/workers/scripts/ingest/secrets";
    rows.push(row(plain("cloudflare-workers-secret", TOKEN, worker), new(place, shelf::cloudflare)).await);
    let app = "app = \"example\"\nname = \"DEPLOY\"";
    rows.push(row(plain("fly-secret", TOKEN, app), new("example", shelf::fly)).await);
    let workspace = "workspace = \"ws-1\"\nname = \"DEPLOY\"";
    let place = "/api/v2/workspaces/ws-1/vars";
    rows.push(row(plain("hcp-terraform-variable", TOKEN, workspace), new(place, shelf::hcp_terraform)).await);
    let heroku = || Shelf::shared("/apps/example/config-vars", "DEPLOY", shelf::heroku);
    rows.push(row(plain("heroku", TOKEN, app), heroku).await);
    let folder = "project = \"p-1\"\nenvironment = \"prod\"\nname = \"DEPLOY\"";
    rows.push(row(plain("infisical", BASIC, folder), new("/api/v4/secrets", shelf::infisical)).await);
    let team = "team = \"example\"\nname = \"DEPLOY\"";
    rows.push(row(plain("netlify", TOKEN, team), new("/accounts/example/env/DEPLOY", shelf::netlify)).await);
    let item = "vault = \"v-1\"\nitem = \"i-1\"\nexisting = \"replace\"";
    let onepassword = || Shelf::holding("/v1/vaults/v-1/items/i-1", "password", shelf::onepassword);
    rows.push(row(plain("onepassword-connect", TOKEN, item), onepassword).await);
    let project = "project = \"app\"\nname = \"DEPLOY\"";
    rows.push(row(plain("vercel-variable", TOKEN, project), new("/projects/app/env", shelf::vercel)).await);
    rows
}

#[test]
fn every_definition_has_a_row() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/stores.md")).unwrap();
    let (_, table) = page.split_once("<!-- faults:").unwrap();
    for entry in fs::read_dir(root.join("config/stores")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let is_definition = path.extension().is_some_and(|extension| extension == "toml");
        assert!(!is_definition || table.contains(&format!("| `{name}` |")), "{name} went through no fault");
    }
}

/// Holds the table that a page has between two marks against `table`, or puts it there.
pub(crate) fn update_page(page: &Path, mark: &str, table: &str) {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(page);
    let text = fs::read_to_string(&path).unwrap();
    let (begin, end) = (format!("<!-- {mark}: generated by the tests -->\n"), format!("\n<!-- end of {mark} -->"));
    let (above, rest) = text.split_once(&begin).expect("the page has a place for the table");
    let (found, below) = rest.split_once(&end).expect("the table has an end");
    if std::env::var_os("PATROLD_REGENERATE").is_some() {
        fs::write(&path, format!("{above}{begin}{table}{end}{below}")).unwrap();
        return;
    }
    assert_eq!(found, table, "run this test with PATROLD_REGENERATE=1");
}

#[tokio::test]
async fn slots_of_one_document_that_are_owed_at_once_go_in_one_request() {
    let keys = "path = \"apps/ingest\"\nkey = \"token\"\n\
                [[token.stores]]\naccount = \"store\"\npath = \"apps/ingest\"\nkey = \"second\"\n\
                [[token.stores]]\naccount = \"store\"\npath = \"apps/ingest\"\nkey = \"third\"\nexisting = \"refuse\"";
    let setup = Setup { definition: "vault-kv2", account: TOKEN, keys, refused: None };
    let rig = Box::pin(Rig::new(&setup, Vault::new(2, "apps/ingest", "token"))).await;
    // Somebody's value is in the way of the third: it holds up nobody.
    rig.store.api(|api| api.edit("third", "somebody's".into()));
    let writes = rig.store.writes();
    let parts = SecretParts::new(Secret::new("tok-2-of-patrold"));
    let token: TokenName = "ci".parse().unwrap();
    let rotation = RotationId::new([1; 6]);
    let delivery = Delivery {
        token: &token,
        generation: GenerationNo(2),
        revision: 0,
        rotation,
        parts: &parts,
        others: &BTreeMap::new(),
    };
    let known = Known { receipt: None, ..rig.known.clone() };
    let written =
        rig.policies.iter().map(|policy| store::write(policy, &delivery, &known, &rig.fingerprints, &rig.accounts));
    let written = futures_util::future::join_all(written).await;
    assert!(matches!(written[0], Outcome::Done(_)) && matches!(written[1], Outcome::Done(_)), "{written:?}");
    let Outcome::Later { failure, .. } = &written[2] else { panic!("{written:?}") };
    assert_eq!(failure.code, FailureCode::StoreForeign);
    assert_eq!(rig.store.writes(), writes + 1, "one request for both");
    let document = rig.store.api(|api| api.document("apps/ingest").cloned()).unwrap();
    let expected = serde_json::json!({
        "number": 7, "other": "kept", "second": "tok-2-of-patrold", "third": "somebody's", "token": "tok-2-of-patrold",
    });
    assert_eq!(serde_json::json!(document), expected);
}

/// Stores of one document, which differ in their keys.
fn twenty_keys() -> &'static str {
    let mut keys = "path = \"apps/ingest\"\nkey = \"token\"".to_owned();
    for n in 1..20 {
        let _ = write!(keys, "\n[[token.stores]]\naccount = \"store\"\npath = \"apps/ingest\"\nkey = \"key-{n}\"");
    }
    Box::leak(keys.into_boxed_str())
}

#[tokio::test]
async fn many_writers_of_one_document_lose_nothing() {
    let keys = twenty_keys();
    let setup = Setup { definition: "vault-kv2", account: TOKEN, keys, refused: None };
    let rig = Box::pin(Rig::new(&setup, Vault::new(2, "apps/ingest", "token"))).await;
    // Each meets another fault; all of them are tried again until they are done.
    for fault in [Fault::Race, Fault::LostAnswer, Fault::Status(503), Fault::Race, Fault::Stale] {
        rig.store.next(fault);
    }
    let rotation = RotationId::new([1; 6]);
    let token: TokenName = "ci".parse().unwrap();
    let writers = rig.policies.iter().enumerate().map(|(number, policy)| {
        let parts = SecretParts::new(Secret::new(format!("value-{number}")));
        let (rig, token) = (&rig, &token);
        async move {
            for _ in 0..10 {
                let delivery = Delivery {
                    token,
                    generation: GenerationNo(2),
                    revision: 0,
                    rotation,
                    parts: &parts,
                    others: &BTreeMap::new(),
                };
                let written = store::write(policy, &delivery, &rig.known, &rig.fingerprints, &rig.accounts).await;
                if matches!(written, Outcome::Done(_)) {
                    return;
                }
            }
            panic!("{} was never written", policy.key);
        }
    });
    futures_util::future::join_all(writers).await;
    let document = rig.store.api(|api| api.document("apps/ingest").cloned()).unwrap();
    for number in 0..rig.policies.len() {
        let key = if number == 0 { "token".to_owned() } else { format!("key-{number}") };
        assert_eq!(document[&key], format!("value-{number}"), "{key}");
    }
    assert_eq!((&document["other"], &document["theirs"]), (&"kept".into(), &"written at the last moment".into()));
    assert!(rig.store.writes() < rig.policies.len(), "{} writes", rig.store.writes());
}

#[tokio::test]
async fn slots_of_one_document_are_looked_at_together() {
    let keys = twenty_keys();
    let setup = Setup { definition: "vault-kv2", account: TOKEN, keys, refused: None };
    let rig = Box::pin(Rig::new(&setup, Vault::new(2, "apps/ingest", "token"))).await;
    let asked = rig.store.requests().len();
    let looks = rig.policies.iter().map(|policy| store::look(policy, &rig.accounts));
    let looks = futures_util::future::join_all(looks).await;
    assert!(looks.iter().all(Result::is_ok), "{looks:?}");
    let asked = rig.store.requests().len() - asked;
    assert!(asked <= 2, "{asked} requests for {} slots", rig.policies.len());
}
