//! `patrold provider test` against the loopback provider, which knows what is really alive.

use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Output, Stdio};
use std::time::Duration;

use patrold::clock::{Clock as _, Span, SystemClock};
use patrold::demo::{Fault, LedgerEntry, Loopback, Options, Service, stage};
use patrold::provider::Operation::{self, List, Mint, Renew, Revoke, Verify};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::runtime::Runtime;

use super::daemon::Daemon;
use super::golden::expect;
use super::world::World;

/// The program in a world with one account at each of the three services.
pub struct Stage {
    pub world: World,
    pub loopback: Loopback,
    runtime: Runtime,
}

impl Stage {
    fn new() -> Self {
        Self::with(Options::default(), "")
    }

    /// `more` is added to the inventory.
    pub fn with(options: Options, more: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let loopback = runtime.block_on(Loopback::start(SystemClock, options)).unwrap();
        let world = World::new("");
        for service in Service::ALL {
            let credential = world.path().join(service.provider());
            std::fs::write(&credential, loopback.admin_secret(service).expose()).unwrap();
            std::fs::set_permissions(credential, std::fs::Permissions::from_mode(0o600)).unwrap();
        }
        let stage = Self { world, loopback, runtime };
        let accounts: String = Service::ALL.into_iter().map(|service| stage.account(service)).collect();
        let directory = stage.world.path().display().to_string();
        let daemon = "[daemon]\nstate-dir = \"$DIR/state\"\ncontrol = \"$DIR/patrold/control.sock\"\n";
        let inventory = format!("{daemon}{accounts}{more}").replace("$DIR", &directory);
        std::fs::write(stage.world.config(), inventory).unwrap();
        stage
    }

    fn account(&self, service: Service) -> String {
        let name = service.provider();
        let url = self.loopback.url(service).as_str().trim_end_matches('/');
        let operations = stage::operations(service, name);
        format!(
            "[account.{name}]\nprovider = \"{name}\"\nurl = \"{url}\"\ncredential = {{ file = \"$DIR/{name}\" }}\n\
             settle = \"300ms\"\n{operations}\n"
        )
    }

    fn args(service: Service) -> Vec<&'static str> {
        let name = service.provider();
        let mut args = vec!["provider", "test", name, "--account", name];
        if service != Service::PointOne {
            args.extend(["--param", "user_id=2"]);
        }
        args
    }

    fn fault(&self, service: Service, operation: Operation, fault: Fault) {
        self.loopback.faults().next(service, operation, fault);
    }

    fn run(&self, service: Service, more: &[&str]) -> Output {
        let output = self.world.run(&[&Self::args(service)[..], more].concat());
        self.is_discreet(&output);
        output
    }

    fn json(&self, service: Service, more: &[&str], exit: i32) -> Value {
        let output = self.run(service, &[&["--json"], more].concat());
        let text = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(exit), "{text}{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// No secret of the ledger is in what the program said.
    fn is_discreet(&self, output: &Output) {
        let text = [&output.stdout[..], &output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        for issue in self.loopback.ledger().all().iter().flat_map(|entry| &entry.issues) {
            assert!(!text.contains(issue.secret.expose()), "a secret is in the output");
            assert!(issue.refresh.as_ref().is_none_or(|refresh| !text.contains(refresh.expose())));
        }
    }

    /// Starts a test and waits until the provider got the `nth` request for `operation`.
    fn start_until(&self, service: Service, operation: Operation, nth: usize) -> Child {
        let mut follow = self.loopback.follow_requests();
        let args = [&Self::args(service)[..], &["--json"]].concat();
        let child = self.world.command(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let came = || {
            let requests = self.loopback.requests();
            let of = |operation| move |it: &&_| matches(it, service, operation);
            requests.iter().filter(of(operation)).count() >= nth
        };
        self.runtime.block_on(async {
            let wait = async {
                while !came() {
                    follow.changed().await.unwrap();
                }
            };
            tokio::time::timeout(Duration::from_secs(30), wait).await.expect("the request never came");
        });
        child
    }

    /// The marked tokens that are alive.
    fn live(&self, service: Service) -> usize {
        let live = self.loopback.ledger().live_tokens(service, SystemClock.now());
        live.iter().filter(|entry| LedgerEntry::is_marked(entry)).count()
    }

    pub fn minted(&self, service: Service) -> usize {
        let all = self.loopback.ledger().all();
        all.iter().filter(|entry| entry.service == service && entry.is_marked()).count()
    }
}

fn matches(request: &patrold::demo::RequestRecord, service: Service, operation: Operation) -> bool {
    request.service == service && request.operation == Some(operation)
}

/// What was seen of an ability, and the evidence.
fn seen<'j>(report: &'j Value, ability: &str) -> (&'j str, &'j str) {
    let findings = report["findings"].as_array().unwrap();
    let finding = findings.iter().find(|finding| finding["ability"] == ability);
    let finding = finding.unwrap_or_else(|| panic!("no {ability} in {report:#}"));
    (finding["seen"].as_str().unwrap(), finding["evidence"].as_str().unwrap())
}

#[test]
fn a_provider_that_does_what_its_definition_says_passes() {
    for service in Service::ALL {
        let stage = Stage::new();
        let name = format!("provider-test-{service}");
        expect(&name, &stage.world, &Stage::args(service), 0);
        let report = stage.json(service, &[], 0);
        assert_eq!(report["held"], true, "{service}");
        assert_eq!((stage.minted(service), stage.live(service)), (4, 0), "{service}");
        for finding in report["findings"].as_array().unwrap() {
            assert!(finding["claimed"] == false || finding["seen"] == "yes", "{service}: {finding}");
        }
        let asked = |operation| stage.loopback.requests().iter().any(|it| matches(it, service, operation));
        assert_eq!(asked(Renew), service == Service::Commvault);
    }
}

#[test]
fn a_mint_whose_answer_is_lost_is_found_by_its_marker_and_taken_back() {
    for service in Service::ALL {
        let acted =
            [Fault::LoseAnswer, Fault::HtmlOkAfterActing, Fault::LoseAnswerLate { after: Span::milliseconds(50) }];
        for fault in acted {
            let stage = Stage::new();
            stage.fault(service, Mint, fault.clone());
            let report = stage.json(service, &[], 1);
            assert_eq!(seen(&report, "mint").0, "no", "{service} {fault:?}");
            assert!(report["problem"].is_string(), "{service} {fault:?}");
            assert_eq!(report["left"], Value::Array(vec![]), "{service} {fault:?}");
            assert_eq!((stage.minted(service), stage.live(service)), (1, 0), "{service} {fault:?}");
        }
    }
}

#[test]
fn what_is_refused_for_certain_leaves_nothing_to_search_for() {
    let stage = Stage::new();
    stage.fault(Service::Awx, List, Fault::Unauthorized);
    stage.fault(Service::Awx, List, Fault::Unauthorized);
    let report = stage.json(Service::Awx, &[], 1);
    assert_eq!(seen(&report, "authenticate").0, "no");
    assert_eq!(seen(&report, "mint"), ("unknown", "not tried"));
    assert_eq!(stage.minted(Service::Awx), 0);

    let stage = Stage::new();
    stage.fault(Service::Awx, Mint, Fault::Unauthorized);
    let report = stage.json(Service::Awx, &[], 1);
    assert_eq!(seen(&report, "mint").0, "no");
    assert_eq!(report["warnings"], Value::Array(vec![]));
    let again = stage.json(Service::Awx, &[], 0);
    assert_eq!(again["cleaned"], Value::Array(vec![]));
}

#[test]
fn a_second_mint_that_fails_tells_of_no_overlap_and_leaves_nothing() {
    let stage = Stage::new();
    // The first mint is an ordinary one.
    stage.fault(Service::Awx, Mint, Fault::Slow { by: Span::zero() });
    stage.fault(Service::Awx, Mint, Fault::LoseAnswer);
    let report = stage.json(Service::Awx, &[], 1);
    assert_eq!(seen(&report, "overlap").0, "no");
    assert_eq!(seen(&report, "revoke").0, "yes");
    assert_eq!((stage.minted(Service::Awx), stage.live(Service::Awx)), (2, 0));
}

#[test]
fn a_new_token_that_is_refused_fails_the_test_and_is_taken_back() {
    let stage = Stage::new();
    for _ in 0..100 {
        stage.fault(Service::Awx, Verify, Fault::Unauthorized);
    }
    let report = stage.json(Service::Awx, &["--patience", "1s"], 1);
    assert_eq!(seen(&report, "verify").0, "no");
    assert_eq!(seen(&report, "overlap").0, "no");
    assert_eq!(stage.live(Service::Awx), 0);
}

#[test]
fn providers_may_be_slow_to_take_things_in() {
    let stage = Stage::with(Options { revocation_delay: Span::seconds(2), ..Options::default() }, "");
    stage.fault(Service::Awx, Verify, Fault::Unauthorized);
    stage.fault(Service::Awx, Revoke, Fault::ServerError(502));
    let report = stage.json(Service::Awx, &[], 0);
    assert!(seen(&report, "verify").1.starts_with("accepted after"), "{report:#}");
    assert!(seen(&report, "dead").1.starts_with("refused after"), "{report:#}");
    assert_eq!(stage.live(Service::Awx), 0);

    let impatient = stage.json(Service::Awx, &["--patience", "500ms"], 1);
    assert_eq!(seen(&impatient, "dead").0, "no");
    assert!(impatient["left"][0]["why"].as_str().unwrap().contains("still accepted"), "{impatient:#}");
    let again = stage.json(Service::Awx, &[], 0);
    assert_eq!(again["cleaned"].as_array().unwrap().len(), 2, "{again:#}");
}

#[test]
fn what_cannot_be_revoked_is_told_and_taken_back_by_the_next_test() {
    let stage = Stage::new();
    for _ in 0..100 {
        stage.fault(Service::Commvault, Revoke, Fault::ServerError(500));
    }
    let args = [&Stage::args(Service::Commvault)[..], &["--patience", "300ms"]].concat();
    expect("provider-test-left", &stage.world, &args, 1);
    assert_eq!(stage.live(Service::Commvault), 2);
    stage.loopback.faults().stop();
    let report = stage.json(Service::Commvault, &[], 0);
    assert_eq!(report["cleaned"].as_array().unwrap().len(), 2);
    assert_eq!(stage.live(Service::Commvault), 0);
    assert_eq!(stage.json(Service::Commvault, &[], 0)["cleaned"], Value::Array(vec![]));
}

#[test]
fn a_signal_half_way_takes_back_what_was_minted() {
    for signal in [Signal::INT, Signal::TERM] {
        let stage = Stage::new();
        stage.fault(Service::Awx, Verify, Fault::Stall);
        let child = stage.start_until(Service::Awx, Verify, 1);
        kill_process(Pid::from_child(&child), signal).unwrap();
        let output = child.wait_with_output().unwrap();
        stage.is_discreet(&output);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains("taking back what was minted"), "{text}");
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["interrupted"], true);
        assert_eq!(report["left"], Value::Array(vec![]));
        assert_eq!((stage.minted(Service::Awx), stage.live(Service::Awx)), (1, 0));
    }
}

#[test]
fn a_second_signal_stops_at_once_and_the_next_test_cleans_up() {
    let stage = Stage::new();
    stage.fault(Service::Awx, Verify, Fault::Stall);
    stage.fault(Service::Awx, Revoke, Fault::Stall);
    let child = stage.start_until(Service::Awx, Verify, 1);
    let pid = Pid::from_child(&child);
    kill_process(pid, Signal::INT).unwrap();
    let mut follow = stage.loopback.follow_requests();
    stage.runtime.block_on(async {
        while !stage.loopback.requests().iter().any(|it| matches(it, Service::Awx, Revoke)) {
            follow.changed().await.unwrap();
        }
    });
    kill_process(pid, Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("stopped without cleaning up") && text.contains("state/provider-test"), "{text}");
    assert_eq!(stage.live(Service::Awx), 1);
    assert_eq!(stage.json(Service::Awx, &[], 0)["cleaned"].as_array().unwrap().len(), 1);
    assert_eq!(stage.live(Service::Awx), 0);
}

#[test]
fn what_a_killed_test_left_is_taken_back_by_the_next() {
    for service in Service::ALL {
        // While the answer to the mint is on its way, and when it has come.
        let pass = || (List, Fault::Slow { by: Span::zero() });
        let cases = [
            ("minted", vec![(Verify, Fault::Stall)], Verify, 1),
            ("in doubt", vec![(Mint, Fault::LoseAnswer), pass(), (List, Fault::Stall)], List, 2),
        ];
        for (sentence, faults, operation, nth) in cases {
            let stage = Stage::new();
            for (operation, fault) in faults {
                stage.fault(service, operation, fault);
            }
            let mut child = stage.start_until(service, operation, nth);
            child.kill().unwrap();
            child.wait().unwrap();
            assert_eq!((stage.minted(service), stage.live(service)), (1, 1), "{service} {sentence}");
            stage.loopback.faults().stop();
            // The next test may be one of another account.
            let other = if service == Service::Awx { Service::Commvault } else { Service::Awx };
            let report = stage.json(other, &[], 0);
            assert_eq!(report["cleaned"].as_array().unwrap().len(), 1, "{service} {sentence}: {report:#}");
            assert_eq!(stage.live(service), 0, "{service} {sentence}");
        }
    }
}

#[test]
fn a_definition_that_lies_is_found_out() {
    // It asks who somebody is and takes the answer for a revocation.
    let more = "[account.awx.operations.revoke]\nmethod = \"GET\"\nurl = \"{{ base_url }}/api/v2/me/\"\n";
    let stage = Stage::with(Options::default(), more);
    let report = stage.json(Service::Awx, &["--patience", "1s"], 1);
    assert_eq!(seen(&report, "revoke").0, "yes");
    assert_eq!(seen(&report, "dead").0, "no");
    assert_eq!(report["left"].as_array().unwrap().len(), 2);
    assert_eq!(stage.live(Service::Awx), 2);
}

#[test]
fn without_a_revocation_nothing_is_minted_unless_somebody_agrees() {
    let stage = Stage::new();
    let inventory = std::fs::read_to_string(stage.world.config()).unwrap();
    let account = inventory.find("[account.pointone]").unwrap();
    let operations = account + inventory[account..].find("[account.pointone.operations").unwrap();
    let end = operations + inventory[operations..].find("[account.awx]").unwrap();
    std::fs::write(stage.world.config(), [&inventory[..operations], &inventory[end..]].concat()).unwrap();
    let args = Stage::args(Service::PointOne);
    expect("provider-test-no-revoke", &stage.world, &args, 2);
    assert_eq!(stage.minted(Service::PointOne), 0);
    let report = stage.json(Service::PointOne, &["--leave-to-expire"], 0);
    assert_eq!(seen(&report, "revoke").0, "not-defined");
    assert_eq!(report["left"].as_array().unwrap().len(), 2);
    assert_eq!(report["left"][0]["unavoidable"], true);
}

#[test]
fn a_test_runs_beside_the_daemon_with_a_credential_that_the_daemon_keeps() {
    let more = "[account.managed]\nprovider = \"awx\"\nurl = \"$URL\"\ncredential = { token = \"admin\" }\n\
                [[token]]\nname = \"admin\"\naccount = \"awx\"\nrotate-every = \"30d\"\nparams = { user_id = 2 }\n";
    let stage = Stage::with(Options::default(), more);
    let url = stage.loopback.url(Service::Awx).as_str().trim_end_matches('/').to_owned();
    let inventory = std::fs::read_to_string(stage.world.config()).unwrap().replace("$URL", &url);
    std::fs::write(stage.world.config(), inventory).unwrap();
    let args = ["provider", "test", "awx", "--account", "managed", "--param", "user_id=2", "--json"];
    let none = stage.world.run(&args);
    let text = String::from_utf8_lossy(&none.stderr);
    assert_eq!(none.status.code(), Some(1), "{text}");
    assert!(text.contains("has no secret yet") && text.contains("patrold rotate admin"), "{text}");

    let daemon = Daemon::start(&stage.world);
    assert_eq!(stage.world.run(&["rotate", "admin", "--timeout", "30s"]).status.code(), Some(0));
    let report = stage.world.json(&args, 0);
    assert_eq!(report["held"], true);
    daemon.stop();
}

#[test]
fn bad_usage_names_what_is_meant() {
    let stage = Stage::new();
    for (args, hint) in [
        (&["awx", "--account", "axw"][..], "did you mean \"awx\"?"),
        (&["awx", "--account", "commvault"], "patrold provider test commvault --account commvault"),
        (&["awx", "--account", "awx"], "--param user_id="),
        (&["awx", "--account", "awx", "--param", "user_id"], "NAME=VALUE"),
        (&["awx", "--account", "awx", "--param", "user_id=x"], "must be a whole number"),
        (&["awx", "--account", "awx", "--param", "userid=2"], "did you mean \"user_id\"?"),
        (&["awx"], "--account"),
    ] {
        let output = stage.world.run(&[&["provider", "test"], args].concat());
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {text}");
        assert!(text.contains(hint), "{args:?}: {text}");
    }
    assert_eq!(stage.loopback.requests().len(), 0);
}
