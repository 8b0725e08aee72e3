//! Definitions against look-alikes of their vendors' servers. What holds is read in the provider's own ledger: no second
//! live token without need, no live one called revoked, no dead one called fine, and nothing left behind.

mod proven;

use std::fs;
use std::process::Stdio;

use patrold::daemon::rotate::Answer;
use patrold::names::GenerationNo;
use patrold::outcome::FailureCode;
use patrold::rotation::Phase;
use tokio::process::Command;

use super::world::{Daemon, PATIENCE, World};
use crate::lookalike::{
    Asked, Authentik, Databricks, Datahub, Entra, Fault, GitlabDeploy, GoogleCloud, Grafana, Harbor, Jfrog, Ledger,
    Lookalike, Nautobot, Netbox450, Provider, Sonarqube99, Tailscale, TerraformTeam, TerraformUser, Zabbix,
};

/// A world with one vendor, and an inventory of one token.
struct Vendor<A> {
    world: World,
    provider: Lookalike<A>,
}

impl<A: Provider + Default> Vendor<A> {
    async fn new() -> Self {
        Self::called("ci", A::DEFINITION, "credential = { file = \"$DIR/own\" }").await
    }

    /// With a token of this name, another definition, and other credentials.
    async fn called(name: &str, definition: &str, credential: &str) -> Self {
        let vendor = Self { world: World::new().await, provider: Lookalike::start(A::default()).await };
        fs::write(vendor.world.path("own"), Ledger::CREDENTIAL).unwrap();
        let account = format!(
            "[account.vendor]\nprovider = \"{definition}\"\nurl = \"{}\"\n{credential}\nsettle = \"300ms\"\n\
             poll-every = \"200ms\"\n{}",
            vendor.provider.url,
            A::ACCOUNT
        );
        let token = format!(
            "[[token]]\nname = \"{name}\"\naccount = \"vendor\"\n\
             stores = [{{ kind = \"file\", path = \"$DIR/stores/ci\" }}]\n{}",
            A::TOKEN
        );
        vendor.world.write(&[account, token]);
        vendor
    }

    /// With another text in the definition.
    async fn faulty(right: &str, wrong: &str) -> Self {
        let vendor = Self::new().await;
        let file = format!("{}.toml", A::DEFINITION);
        let text = fs::read_to_string(format!("{}/config/providers/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap();
        assert!(text.contains(right), "{text}");
        fs::create_dir(vendor.world.path("definitions")).unwrap();
        fs::write(vendor.world.path("definitions").join(file), text.replacen(right, wrong, 1)).unwrap();
        let inventory = fs::read_to_string(vendor.world.config()).unwrap();
        let own = format!("[daemon]\nproviders = \"{}\"\n", vendor.world.path("definitions").display());
        fs::write(vendor.world.config(), inventory.replacen("[daemon]\n", &own, 1)).unwrap();
        vendor
    }

    fn ledger<T>(&self, with: impl FnOnce(&mut Ledger) -> T) -> T {
        self.provider.api(|api| with(api.ledger()))
    }

    /// Consumers have the one token that lives.
    fn only_the_stored_one_lives(&self) {
        let stored = self.world.stored("ci");
        let live = self.ledger(|it| it.live().map(|token| token.secret.clone()).collect::<Vec<_>>());
        assert_eq!(live, [stored], "{}", A::DEFINITION);
    }

    /// Waits for so many more requests of a kind.
    async fn asked(&self, count: usize, kind: impl Fn(&Asked) -> bool) {
        let so_far = |requests: &[Asked]| requests.iter().filter(|asked| kind(asked)).count();
        let wanted = so_far(&self.provider.requests()) + count;
        let comes = self.provider.until(|requests| so_far(requests) >= wanted);
        tokio::time::timeout(PATIENCE, comes).await.expect("requests of this kind");
    }

    /// Somebody ends what consumers have.
    fn end(&self) -> String {
        let stored = self.world.stored("ci");
        self.ledger(|it| {
            let id = it.live().find(|token| token.secret == stored).unwrap().id.clone();
            assert!(it.end(&id));
        });
        stored
    }
}

/// Waits until a generation from `number` on is all that there is.
async fn alone(daemon: &Daemon, number: u32) {
    let what = format!("generation {number} or a later one is alone");
    let is = |view: &patrold::daemon::registry::View| {
        let Phase::Steady { current } = &view.state.phase else { return false };
        let served = current.delivery.settled.is_some() && current.generation.number >= GenerationNo(number);
        served && view.rest.is_some() && view.state.orphans.is_empty()
    };
    daemon.until("ci", &what, is).await;
}

/// The answer to the request `nth` of a mint is lost, in the rotation of a token.
async fn a_lost_answer<A: Provider + Default>(nth: usize) {
    let vendor = Vendor::<A>::new().await;
    let daemon = vendor.world.resume().await;
    daemon.steady("ci", 1).await;
    let old = vendor.world.stored("ci");
    for _ in 0..nth {
        vendor.provider.next(Fault::Slow);
    }
    vendor.provider.next(Fault::LostAnswer);
    daemon.request("ci").await;
    alone(&daemon, 2).await;
    assert_ne!(vendor.world.stored("ci"), old);
    vendor.only_the_stored_one_lives();
    let (made, most) = vendor.ledger(|it| (it.made(), it.most));
    assert_eq!((made, most), (3, 2), "{}: what was lost is ended before there is another", A::DEFINITION);
}

/// The program is killed after the request `nth` of its first mint was done, and before it was answered.
async fn a_kill<A: Provider + Default>(nth: usize) {
    let vendor = Vendor::<A>::new().await;
    for _ in 0..nth {
        vendor.provider.next(Fault::Slow);
    }
    vendor.provider.next(Fault::Silence);
    let mut program = Command::new(env!("CARGO_BIN_EXE_patrold"));
    program.arg("--config").arg(vendor.world.config()).arg("run").kill_on_drop(true);
    let mut program = program.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    tokio::time::timeout(PATIENCE, vendor.provider.until_written(nth + 1)).await.expect("it is asked for");
    program.kill().await.unwrap();
    assert_eq!(vendor.ledger(|it| it.made()), 1, "{}", A::DEFINITION);

    let daemon = vendor.world.resume().await;
    alone(&daemon, 1).await;
    vendor.only_the_stored_one_lives();
    assert_eq!(vendor.ledger(|it| it.made()), 2, "{}: and no third one", A::DEFINITION);
}

#[tokio::test]
async fn of_a_mint_of_several_requests_each_answer_may_be_lost() {
    for nth in 0..2 {
        tokio::join!(a_lost_answer::<Zabbix>(nth), a_lost_answer::<Authentik>(nth));
    }
}

#[tokio::test]
async fn in_a_mint_of_several_requests_a_kill_at_each_leaves_nothing_behind() {
    for nth in 0..2 {
        tokio::join!(a_kill::<Zabbix>(nth), a_kill::<Authentik>(nth));
    }
}

/// A token that somebody ends is noticed, whatever the answer for a dead one looks like, and replaced.
async fn a_dead_token_is_noticed<A: Provider + Default>() {
    let vendor = Vendor::<A>::new().await;
    let daemon = vendor.world.resume().await;
    daemon.steady("ci", 1).await;
    let dead = vendor.end();
    alone(&daemon, 2).await;
    assert_ne!(vendor.world.stored("ci"), dead, "{}", A::DEFINITION);
    vendor.only_the_stored_one_lives();
    assert_eq!(vendor.ledger(|it| it.made()), 2, "{}: replaced once", A::DEFINITION);
}

#[tokio::test]
async fn no_dead_token_is_called_fine() {
    tokio::join!(
        a_dead_token_is_noticed::<Databricks>(),
        a_dead_token_is_noticed::<Harbor>(),
        a_dead_token_is_noticed::<Sonarqube99>(),
        a_dead_token_is_noticed::<Zabbix>(),
        a_dead_token_is_noticed::<Authentik>(),
    );
}

#[tokio::test]
async fn no_dead_token_of_grafana_is_called_fine() {
    a_dead_token_is_noticed::<Grafana>().await;
}

#[tokio::test]
async fn no_dead_token_of_nautobot_is_called_fine() {
    a_dead_token_is_noticed::<Nautobot>().await;
}

#[tokio::test]
async fn no_dead_token_of_a_terraform_user_is_called_fine() {
    a_dead_token_is_noticed::<TerraformUser>().await;
}

#[tokio::test]
async fn no_dead_token_of_a_terraform_team_is_called_fine() {
    a_dead_token_is_noticed::<TerraformTeam>().await;
}

#[tokio::test]
async fn a_listing_that_cannot_show_a_robot_makes_no_second_one() {
    let vendor = Vendor::<Harbor>::new().await;
    let daemon = vendor.world.resume().await;
    daemon.steady("ci", 1).await;
    vendor.asked(6, |asked| asked.method == "GET" && asked.path.ends_with("/robots")).await;
    assert_eq!(vendor.ledger(|it| it.made()), 1);
    vendor.only_the_stored_one_lives();
}

#[tokio::test]
async fn a_robot_that_nobody_knows_is_an_orphan_although_its_name_is_decorated() {
    let vendor = Vendor::<Harbor>::new().await;
    let text = fs::read_to_string(vendor.world.config()).unwrap();
    fs::write(vendor.world.config(), text.replace("project = 2", "project = 1")).unwrap();
    let daemon = vendor.world.resume().await;
    daemon.steady("ci", 1).await;
    let marker = format!("patrold-{}-ci-g9-070707070707", daemon.running.core.machine.instance);
    vendor.ledger(|it| it.make(&format!("robot$library+{marker}")));
    vendor.asked(3, |asked| asked.query.contains_key("q")).await;
    let orphans: Vec<_> = daemon.running.status().accounts.into_iter().flat_map(|it| it.orphans).collect();
    assert_eq!(orphans, [marker]);
}

#[tokio::test]
async fn a_life_that_is_too_short_to_be_listed_or_revoked_is_not_asked_for() {
    let vendor = Vendor::<Jfrog>::new().await;
    let daemon = vendor.world.resume().await;
    daemon.steady("ci", 1).await;
    vendor.asked(6, |asked| asked.method == "GET").await;
    assert_eq!(vendor.ledger(|it| it.made()), 1);
    assert_eq!(daemon.rotate("ci").await, Answer::Rotated(GenerationNo(2)));
    alone(&daemon, 2).await;
    vendor.only_the_stored_one_lives();
    assert_eq!(vendor.provider.api(|api| api.shortest), Some(6 * 3600));
}

#[tokio::test]
async fn one_listing_that_is_behind_makes_no_second_key() {
    let vendor = Vendor::<GoogleCloud>::new().await;
    let daemon = vendor.world.resume().await;
    daemon.steady("ci", 1).await;
    let lists = |asked: &Asked| asked.method == "GET";
    vendor.asked(3, lists).await;
    vendor.provider.api(|api| api.stale = 1);
    vendor.asked(6, lists).await;
    assert_eq!(vendor.provider.api(|api| api.stale), 0);
    assert_eq!(vendor.ledger(|it| it.made()), 1);
    // Two complete ones that agree are believed.
    let dead = vendor.end();
    alone(&daemon, 2).await;
    assert_ne!(vendor.world.stored("ci"), dead);
    vendor.only_the_stored_one_lives();
}

#[tokio::test]
async fn no_token_of_a_project_that_is_hidden_is_called_revoked() {
    let vendor = Vendor::<GitlabDeploy>::new().await;
    let daemon = vendor.world.resume().await;
    daemon.steady("ci", 1).await;
    let old = vendor.world.stored("ci");
    vendor.provider.api(|api| api.hides = true);
    daemon.request("ci").await;
    vendor.asked(1, |asked| asked.method == "DELETE").await;
    vendor.asked(3, |asked| asked.method == "GET").await;
    let view = daemon.view("ci");
    assert!(!matches!(view.state.phase, Phase::Steady { .. }), "it is not called revoked: {view:#?}");
    assert!(vendor.ledger(|it| it.accepts(&old)), "for it lives");
    vendor.provider.api(|api| (api.hides, api.hidden) = (false, false));
    alone(&daemon, 2).await;
    vendor.only_the_stored_one_lives();
}

/// What Entra answers then, it also answers for a password that is there: only its list tells.
#[tokio::test]
async fn a_password_that_somebody_else_removed_is_owed_no_more() {
    let credential = "credential = { username = \"client\", password = { file = \"$DIR/own\" } }";
    let vendor = Vendor::<Entra>::called("ci", Entra::DEFINITION, credential).await;
    let text = fs::read_to_string(vendor.world.config()).unwrap();
    let authority = format!("params = {{ authority = \"{}\", ", vendor.provider.url);
    fs::write(vendor.world.config(), text.replacen("params = { ", &authority, 1)).unwrap();
    let daemon = vendor.world.resume().await;
    daemon.steady("ci", 1).await;
    vendor.provider.api(|api| api.faster = true);
    daemon.request("ci").await;
    alone(&daemon, 2).await;
    vendor.only_the_stored_one_lives();
    assert_eq!(vendor.ledger(|it| it.made()), 2);
}

#[tokio::test]
async fn the_longest_name_that_is_taken_fits_in_all_generations() {
    let credential = "credential = { username = \"client\", password = { file = \"$DIR/own\" } }";
    let name = "ci-runners-one";
    let vendor = Vendor::<Tailscale>::called(name, Tailscale::DEFINITION, credential).await;
    let daemon = vendor.world.resume().await;
    daemon.steady(name, 1).await;
    for number in 2..12 {
        assert_eq!(daemon.rotate(name).await, Answer::Rotated(GenerationNo(number)));
        daemon.steady(name, number).await;
    }
    vendor.only_the_stored_one_lives();
    for name in ["ci-runners-more", "ci_runners"] {
        let vendor = Vendor::<Tailscale>::called(name, Tailscale::DEFINITION, credential).await;
        let refused = vendor.world.try_start().await.err().map(|error| error.to_string());
        assert!(refused.as_ref().is_some_and(|it| it.contains(name)), "{name}: {refused:?}");
        assert_eq!(vendor.ledger(|it| it.made()), 0);
    }
}

#[tokio::test]
async fn a_mint_whose_answer_is_lost_is_found_where_only_the_own_tokens_may_be_listed() {
    a_lost_answer::<Datahub>(0).await;
}

#[tokio::test]
async fn a_server_that_keeps_the_secret_to_itself_is_left_with_nothing() {
    let vendor = Vendor::<Netbox450>::new().await;
    let daemon = vendor.world.resume().await;
    let failure = daemon.failure("ci").await;
    assert_eq!(failure.code, FailureCode::NotUnderstood, "{failure}");
    daemon.until("ci", "what was made is ended", |view| view.rest.is_some() && view.state.orphans.is_empty()).await;
    assert_eq!(vendor.ledger(|it| it.live().count()), 0);
    drop(daemon);

    let credential = "credential = { username = \"ci\", password = { file = \"$DIR/both\" } }";
    let vendor = Vendor::<Netbox450>::called("ci", "netbox-provisioned-token", credential).await;
    fs::write(vendor.world.path("both"), format!("{}\nthe password", Ledger::CREDENTIAL)).unwrap();
    let daemon = vendor.world.resume().await;
    daemon.steady("ci", 1).await;
    let stored = vendor.world.stored("ci");
    assert!(vendor.ledger(|it| it.accepts(stored.trim_start_matches("nbt_key."))), "{stored}");
    assert_eq!(vendor.ledger(|it| it.made()), 1);
}

/// What is held above can fail: each of these was wrong once.
#[tokio::test]
async fn where_a_definition_is_as_it_was_the_ledger_shows_the_harm() {
    let words =
        "classify = [{ status = 403, at = \"/message\", prefix = \"Invalid access token.\", as = \"unauthorized\" }]";
    let vendor = Vendor::<Databricks>::faulty(words, "").await;
    let daemon = vendor.world.resume().await;
    daemon.steady("ci", 1).await;
    let dead = vendor.end();
    vendor.asked(4, |asked| asked.path.ends_with("/warehouses")).await;
    assert_eq!((vendor.world.stored("ci"), vendor.ledger(|it| it.made())), (dead, 1), "a dead one is called fine");

    let vendor = Vendor::<Jfrog>::faulty("min     = \"6h\"", "").await;
    let daemon = vendor.world.resume().await;
    daemon.steady("ci", 1).await;
    vendor.asked(1, |asked| asked.method == "POST").await;
    assert!(vendor.ledger(|it| it.most) > 1, "a second one without need");
    drop(daemon);
}
