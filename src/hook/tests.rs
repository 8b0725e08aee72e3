use std::fs;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use futures_util::future::join_all;

use super::*;
use crate::inventory::OnFailure;
use crate::secret::Redactor;
use crate::secret::Secret;

const LONG: Duration = Duration::from_secs(60);

/// A hook that runs `script` with `$D` replaced by the directory.
pub(super) fn hook(directory: &Path, script: &str) -> HookPolicy {
    let script = script.replace("$D", directory.to_str().unwrap());
    HookPolicy {
        key: one_line(&script, 200).parse().unwrap(),
        kind: HookKind::Run(RunPolicy {
            argv: ["sh", "-c", &script].map(str::to_owned).to_vec(),
            pass_env: Vec::new(),
        }),
        timeout: LONG,
        on_failure: OnFailure::Retry,
        pace: Pace::default(),
        host: None,
    }
}

pub(super) fn caller() -> Caller {
    Caller {
        workshop: crate::endpoint::Workshop::forgetful().unwrap(),
        fingerprinter: crate::secret::Fingerprinter::new(&[0; 32]),
        keyring: Arc::default(),
    }
}

pub(super) fn occasion(token: &str) -> Occasion {
    let mut redactor = Redactor::default();
    redactor.add(&Secret::new("hunter22"));
    Occasion {
        token: token.parse().unwrap(),
        account: "a".parse().unwrap(),
        deadline: Time::UNIX_EPOCH,
        rotation: RotationId::new([1, 2, 3, 4, 5, token.as_bytes()[0]]),
        attempt: 1,
        event: HookEvent::Delivered,
        secrets: Arc::new(redactor),
    }
}

pub(super) fn request(hook: HookPolicy, occasion: Occasion) -> Request {
    Request { hook, occasion, answer: oneshot::channel().0 }
}

fn pipe(path: &Path) -> PathBuf {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    path.to_owned()
}

/// Returns once a hook has written to the pipe.
async fn hear(path: &Path) {
    let path = path.to_owned();
    tokio::task::spawn_blocking(move || fs::read(path).unwrap()).await.unwrap();
}

/// Lets a hook go on that reads from the pipe.
async fn tell(path: &Path) {
    let path = path.to_owned();
    tokio::task::spawn_blocking(move || fs::write(path, "\n").unwrap()).await.unwrap();
}

fn detail(outcome: Outcome<()>, code: FailureCode) -> String {
    match outcome {
        Outcome::Later { failure, .. } => {
            assert_eq!(failure.code, code, "{failure}");
            failure.detail
        }
        other => panic!("{other:?}"),
    }
}

fn is_gone(pid: &str) -> bool {
    // The state follows the name; a zombie waits for a parent that may never look.
    fs::read_to_string(format!("/proc/{}/stat", pid.trim())).map_or(true, |stat| stat.contains(") Z "))
}

#[test]
fn a_hook_learns_for_whom_it_runs() {
    let home = tempfile::tempdir().unwrap();
    let run = |names: &[&str]| RunPolicy {
        argv: vec!["true".to_owned()],
        pass_env: names.iter().copied().map(str::to_owned).collect(),
    };
    let one = HookPolicy { kind: HookKind::Run(run(&["REGION", "UNSET"])), ..hook(home.path(), "true") };
    let two = HookPolicy { kind: HookKind::Run(run(&["PATROLD_TOKEN"])), timeout: LONG * 2, ..one.clone() };
    let batch = [request(one, occasion("beta")), request(two, Occasion { attempt: 3, ..occasion("alpha") })];
    let made = invocation(&run(&[]), &batch, |name| (name != "UNSET").then(|| format!("value of {name}").into()));
    assert_eq!(made.timeout, LONG * 2);
    let found: BTreeMap<_, _> =
        made.variables.into_iter().map(|(n, v)| (n.into_string().unwrap(), v.into_string().unwrap())).collect();
    let expected = [
        ("PATROLD_ATTEMPT", "3"),
        ("PATROLD_EVENT", "delivered"),
        ("PATROLD_ROTATION", "010203040561 010203040562"),
        ("PATROLD_TOKEN", "alpha beta"),
        ("REGION", "value of REGION"),
    ];
    assert_eq!(found, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
}

#[tokio::test]
async fn the_environment_holds_nothing_else() {
    let home = tempfile::tempdir().unwrap();
    let policy = hook(home.path(), "env > $D/env; pwd > $D/pwd; cat > $D/stdin");
    let outcome = HookRunner::paced(caller(), Duration::ZERO, Duration::ZERO).run(&policy, occasion("gps")).await;
    assert!(matches!(outcome, Outcome::Done(())), "{outcome:?}");
    let env = fs::read_to_string(home.path().join("env")).unwrap();
    let allowed = ["PATH", "HOME", "PWD", "OLDPWD", "SHLVL", "_"];
    let mut names: Vec<_> = env.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
    names.retain(|name| !allowed.contains(name));
    names.sort_unstable();
    assert_eq!(names, ["PATROLD_ATTEMPT", "PATROLD_EVENT", "PATROLD_ROTATION", "PATROLD_STARTED_BY", "PATROLD_TOKEN"]);
    assert_eq!(fs::read_to_string(home.path().join("pwd")).unwrap(), "/\n");
    assert_eq!(fs::read_to_string(home.path().join("stdin")).unwrap(), "");
}

#[tokio::test]
async fn tokens_that_ask_together_share_a_run() {
    let home = tempfile::tempdir().unwrap();
    let policy = hook(home.path(), "echo $PATROLD_EVENT $PATROLD_TOKEN >> $D/log");
    let runner = HookRunner::new(caller());
    let back = Occasion { event: HookEvent::RolledBack, ..occasion("c") };
    let outcomes = tokio::join!(
        runner.run(&policy, occasion("b")),
        runner.run(&policy, occasion("a")),
        runner.run(&policy, back),
    );
    assert!(matches!(outcomes, (Outcome::Done(()), Outcome::Done(()), Outcome::Done(()))), "{outcomes:?}");
    assert_eq!(fs::read_to_string(home.path().join("log")).unwrap(), "delivered a b\nrolled-back c\n");
}

#[tokio::test]
async fn a_batch_of_five_hundred_is_one_run_that_names_each_once() {
    let home = tempfile::tempdir().unwrap();
    let policy = hook(home.path(), "echo $PATROLD_TOKEN >> $D/log");
    let runner = HookRunner::new(caller());
    let names: Vec<String> = (0..500).map(|number| format!("token-{number:03}")).collect();
    let outcomes = join_all(names.iter().map(|name| runner.run(&policy, occasion(name)))).await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Done(()))), "{outcomes:?}");
    assert_eq!(fs::read_to_string(home.path().join("log")).unwrap(), names.join(" ") + "\n");
}

#[tokio::test]
async fn who_asks_during_a_run_waits_for_the_next_one() {
    let home = tempfile::tempdir().unwrap();
    let (began, go) = (pipe(&home.path().join("began")), pipe(&home.path().join("go")));
    let policy = hook(home.path(), "echo $PATROLD_TOKEN >> $D/log; echo > $D/began; read x < $D/go");
    let runner = HookRunner::paced(caller(), Duration::ZERO, Duration::ZERO);
    let ask = |token: &str| {
        let (runner, policy, occasion) = (runner.clone(), policy.clone(), occasion(token));
        tokio::spawn(async move { runner.run(&policy, occasion).await })
    };
    let first = ask("a");
    hear(&began).await;
    let second = ask("b");
    tokio::task::yield_now().await;
    tell(&go).await;
    assert!(matches!(first.await.unwrap(), Outcome::Done(())));
    assert!(!second.is_finished());
    hear(&began).await;
    tell(&go).await;
    assert!(matches!(second.await.unwrap(), Outcome::Done(())));
    assert_eq!(fs::read_to_string(home.path().join("log")).unwrap(), "a\nb\n");
}

#[tokio::test]
async fn different_hooks_do_not_wait_for_each_other() {
    let home = tempfile::tempdir().unwrap();
    pipe(&home.path().join("meet"));
    let runner = HookRunner::paced(caller(), Duration::ZERO, Duration::ZERO);
    // Each needs the other one to be running.
    let (reads, writes) = (hook(home.path(), "read x < $D/meet"), hook(home.path(), "echo > $D/meet"));
    let outcomes = tokio::join!(runner.run(&reads, occasion("a")), runner.run(&writes, occasion("b")));
    assert!(matches!(outcomes, (Outcome::Done(()), Outcome::Done(()))), "{outcomes:?}");
}

#[tokio::test]
async fn a_requester_that_goes_away_takes_nobody_with_it() {
    let home = tempfile::tempdir().unwrap();
    let (began, go) = (pipe(&home.path().join("began")), pipe(&home.path().join("go")));
    let policy = hook(home.path(), "echo > $D/began; read x < $D/go");
    let runner = HookRunner::paced(caller(), Duration::ZERO, Duration::ZERO);
    let ask = |token: &str| {
        let (runner, policy, occasion) = (runner.clone(), policy.clone(), occasion(token));
        tokio::spawn(async move { runner.run(&policy, occasion).await })
    };
    let (goes, stays) = (ask("a"), ask("b"));
    hear(&began).await;
    goes.abort();
    assert!(goes.await.unwrap_err().is_cancelled());
    tell(&go).await;
    assert!(matches!(stays.await.unwrap(), Outcome::Done(())));
}

#[tokio::test]
async fn a_hook_that_hangs_is_killed_with_its_children() {
    let home = tempfile::tempdir().unwrap();
    let began = pipe(&home.path().join("began"));
    // The child is deaf to the polite signal, so its end shows the other one.
    let script = "(trap '' TERM; echo > $D/began; exec sleep 600) & echo $! > $D/child; echo stuck; wait";
    let policy = HookPolicy { timeout: Duration::from_secs(3), ..hook(home.path(), script) };
    let runner = HookRunner::paced(caller(), Duration::ZERO, Duration::ZERO);
    let (outcome, ()) = tokio::join!(runner.run(&policy, occasion("a")), hear(&began));
    let said = detail(outcome, FailureCode::HookTimeout);
    assert_eq!(said, "sh ran for 3s: stuck");
    // Killed, but not necessarily taken off the process table when the call returns.
    let child = fs::read_to_string(home.path().join("child")).unwrap();
    let deadline = Instant::now() + LONG;
    while !is_gone(&child) {
        assert!(Instant::now() < deadline, "the hook's child lives on");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_service_that_keeps_the_output_open_holds_up_nothing() {
    let home = tempfile::tempdir().unwrap();
    let policy = hook(home.path(), "sleep 600 & echo $! > $D/child");
    let start = Instant::now();
    let outcome = HookRunner::paced(caller(), Duration::ZERO, Duration::ZERO).run(&policy, occasion("a")).await;
    assert!(matches!(outcome, Outcome::Done(())), "{outcome:?}");
    assert!(start.elapsed() < LONG);
    let child = fs::read_to_string(home.path().join("child")).unwrap();
    assert!(!is_gone(&child), "a hook that succeeds may leave a service behind");
    let pid = rustix::process::Pid::from_raw(child.trim().parse().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

#[tokio::test]
async fn a_failure_says_what_the_hook_said_without_secrets() {
    let home = tempfile::tempdir().unwrap();
    let script = |name: &str, mode| {
        let path = home.path().join(name);
        let options = &mut fs::OpenOptions::new();
        options.write(true).create(true).mode(mode).open(&path).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let not_executable = script("plain", 0o600);
    let runner = HookRunner::paced(caller(), Duration::ZERO, Duration::ZERO);
    for (run, sentence) in [
        (vec!["sh", "-c", "echo token is hunter22 >&2; exit 3"], "sh ended with exit status 3: token is ***"),
        (vec!["sh", "-c", "kill -9 $$"], "sh was killed by signal 9"),
        (vec!["false"], "false ended with exit status 1"),
        (vec!["/missing/reload", "now"], "cannot start /missing/reload: No such file or directory (os error 2)"),
        (vec![not_executable.as_str()], "Permission denied (os error 13)"),
        (vec![], "no program"),
    ] {
        let argv = run.into_iter().map(str::to_owned).collect();
        let kind = HookKind::Run(RunPolicy { argv, pass_env: Vec::new() });
        let policy = HookPolicy { kind, ..hook(home.path(), "unused") };
        let said = detail(runner.run(&policy, occasion("a")).await, FailureCode::HookFailed);
        assert!(said.ends_with(sentence), "{said}");
    }
}

#[tokio::test]
async fn endless_output_is_bounded_and_its_end_is_kept() {
    let home = tempfile::tempdir().unwrap();
    let script = "i=0; while [ $i -lt 5000 ]; do echo noise hunter22 $i; i=$((i+1)); done; echo the reason; exit 1";
    let outcome = HookRunner::paced(caller(), Duration::ZERO, Duration::ZERO)
        .run(&hook(home.path(), script), occasion("a"))
        .await;
    let said = detail(outcome, FailureCode::HookFailed);
    assert!(said.ends_with("noise *** 4999 the reason"), "{said}");
    assert!(said.chars().count() < 400 && !said.contains("hunter"), "{said}");
}

#[tokio::test]
async fn closing_kills_what_does_not_end_and_refuses_new_requests() {
    let home = tempfile::tempdir().unwrap();
    let began = pipe(&home.path().join("began"));
    pipe(&home.path().join("never"));
    let policy = hook(home.path(), "echo > $D/began; read x < $D/never");
    let runner = HookRunner::paced(caller(), Duration::ZERO, Duration::ZERO);
    let ask = |token: &str| {
        let (runner, policy, occasion) = (runner.clone(), policy.clone(), occasion(token));
        tokio::spawn(async move { runner.run(&policy, occasion).await })
    };
    let running = ask("a");
    hear(&began).await;
    let waiting = ask("b");
    tokio::task::yield_now().await;
    runner.close(Duration::ZERO).await;
    assert!(detail(running.await.unwrap(), FailureCode::HookFailed).contains("because the daemon stops"));
    assert!(detail(waiting.await.unwrap(), FailureCode::HookFailed).contains("not run"));
    assert!(detail(runner.run(&policy, occasion("c")).await, FailureCode::HookFailed).contains("not run"));
}

#[tokio::test]
async fn closing_waits_for_a_run_that_ends_in_time() {
    let home = tempfile::tempdir().unwrap();
    let (began, go) = (pipe(&home.path().join("began")), pipe(&home.path().join("go")));
    let policy = hook(home.path(), "echo > $D/began; read x < $D/go");
    let runner = HookRunner::paced(caller(), Duration::ZERO, Duration::ZERO);
    let release = async {
        hear(&began).await;
        tokio::join!(runner.close(LONG), tell(&go));
    };
    let (outcome, ()) = tokio::join!(runner.run(&policy, occasion("a")), release);
    assert!(matches!(outcome, Outcome::Done(())), "{outcome:?}");
}

/// Drives one command in virtual time, for tokens that ask every so often; tells when its runs begin.
async fn runs(every: Duration, tokens: u32) -> Vec<Duration> {
    let runner = HookRunner::new(caller());
    let policy = hook(Path::new("/"), "true");
    let start = tokio::time::Instant::now();
    let ask = {
        let (shared, policy) = (Arc::clone(&runner.0), policy.clone());
        async move {
            for token in 0..tokens {
                let request = request(policy.clone(), occasion(&format!("t-{token}")));
                // Nobody takes the answer; a closed one would withdraw the request.
                shared.state().waiting.entry(policy.key.clone()).or_default().push(request);
                tokio::time::sleep(every).await;
            }
        }
    };
    let drive = async {
        let (mut runs, mut served) = (Vec::new(), 0);
        while served < tokens as usize {
            drop(runner.0.turn(&policy.key).await);
            runner.0.begins(&policy.key, &[]);
            runs.push(start.elapsed());
            let mut state = runner.0.state();
            let waiting = state.waiting.get_mut(&policy.key).unwrap();
            served += waiting.requests.len();
            waiting.requests.clear();
        }
        runs
    };
    tokio::join!(ask, drive).1
}

#[tokio::test(start_paused = true)]
async fn runs_of_one_command_never_come_faster_than_systemd_allows() {
    for (sentence, every, tokens, most) in [
        ("forty tokens within three seconds", 75, 40, 3),
        ("a token each second", 1000, 40, 17),
        ("hundreds at once", 0, 400, 1),
    ] {
        let runs = runs(Duration::from_millis(every), tokens).await;
        assert!(runs.len() <= most, "{sentence}: {runs:?}");
        for (one, fifth) in runs.iter().zip(runs.iter().skip(4)) {
            assert!(fifth.saturating_sub(*one) >= Duration::from_secs(10), "{sentence}: {runs:?}");
        }
    }
}

#[tokio::test]
async fn hooks_that_hang_at_one_account_hold_up_nobody_else_s() {
    let home = tempfile::tempdir().unwrap();
    let runner = HookRunner::paced(caller(), Duration::ZERO, Duration::ZERO);
    let hanging: Vec<_> = (0..60)
        .map(|number| {
            let (runner, policy) = (runner.clone(), hook(home.path(), &format!("sleep 600 # {number}")));
            tokio::spawn(async move { runner.run(&policy, occasion(&format!("a-{number}"))).await })
        })
        .collect();
    let other = Occasion { account: "b".parse().unwrap(), ..occasion("b") };
    let shared = hook(home.path(), "true");
    let asks = [runner.run(&shared, occasion("a")), runner.run(&shared, other)];
    let answers = futures_util::future::join_all(asks).await;
    assert!(answers.iter().all(|answer| matches!(answer, Outcome::Done(()))), "its place is one of either account");
    assert!(hanging.iter().all(|hanging| !hanging.is_finished()));
    runner.close(Duration::ZERO).await;
}

#[tokio::test]
async fn what_hung_once_waits_among_its_like() {
    let home = tempfile::tempdir().unwrap();
    let runner = HookRunner::paced(caller(), Duration::ZERO, Duration::ZERO);
    let hanging: Vec<_> = (0..AT_ONCE)
        .map(|number| HookPolicy {
            timeout: Duration::from_millis(50),
            ..hook(home.path(), &format!("sleep 600 # {number}"))
        })
        .collect();
    let first = hanging.iter().map(|policy| runner.run(policy, occasion("a")));
    for outcome in futures_util::future::join_all(first).await {
        detail(outcome, FailureCode::HookTimeout);
    }
    let again: Vec<_> = hanging
        .into_iter()
        .map(|policy| {
            let runner = runner.clone();
            tokio::spawn(async move { runner.run(&HookPolicy { timeout: LONG, ..policy }, occasion("a")).await })
        })
        .collect();
    assert!(matches!(runner.run(&hook(home.path(), "true"), occasion("a")).await, Outcome::Done(())));
    assert!(again.iter().all(|hanging| !hanging.is_finished()));
    runner.close(Duration::ZERO).await;
}

fn checks(home: &Path, script: &str, within: Duration) -> HookPolicy {
    let policy = hook(home, script);
    let HookKind::Run(run) = policy.kind else { panic!("a program") };
    HookPolicy { kind: HookKind::Check(CheckPolicy { run, within, every: Duration::from_millis(1) }), ..policy }
}

#[tokio::test]
async fn a_check_is_run_until_it_passes() {
    let home = tempfile::tempdir().unwrap();
    let script = "cd $D; echo >> runs; [ $(wc -l < runs) = 3 ] || { echo not yet >&2; exit 1; }";
    let runner = HookRunner::paced(caller(), Duration::ZERO, Duration::ZERO);
    let outcome = runner.run(&checks(home.path(), script, LONG), occasion("a")).await;
    assert!(matches!(outcome, Outcome::Done(())), "{outcome:?}");
    assert_eq!(fs::read_to_string(home.path().join("runs")).unwrap().lines().count(), 3);
    let never = checks(home.path(), "echo still old >&2; exit 1", Duration::ZERO);
    let said = detail(runner.run(&never, occasion("a")).await, FailureCode::HookFailed);
    assert!(said.ends_with("sh ended with exit status 1: still old"), "{said}");
}

/// A look-alike of `systemctl` for one unit, whose state is in files.
fn unit_hook(home: &Path) -> HookPolicy {
    let program = home.join("systemctl");
    let script = "#!/bin/sh\ncd \"$(dirname \"$0\")\" || exit 1\necho \"$*\" >> calls\n\
                  case \"$*\" in *show*) cat state; [ -e next ] && mv next state; exit 0 ;; esac\n\
                  [ -e broken ] && { echo Unit not found. >&2; exit 5; }; exit 0\n";
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut unit = crate::inventory::UnitPolicy::new(
        "app.service",
        crate::inventory::UnitAction::TryReloadOrRestart,
        false,
        Duration::from_millis(1),
    );
    unit.argv[0] = program.display().to_string();
    HookPolicy { kind: HookKind::Systemd(unit), ..hook(home, "true") }
}

#[tokio::test]
async fn a_unit_must_stay_up_after_its_job() {
    let state = |active: &str, restarts: u32| format!("ActiveState={active}\nNRestarts={restarts}\n");
    for (sentence, now, next, expected) in [
        ("it stays up", state("active", 1), state("active", 1), None),
        ("it was not running", state("inactive", 0), state("failed", 0), None),
        ("it fails a moment later", state("active", 1), state("failed", 1), Some("app.service: it is failed")),
        ("it comes and goes", state("active", 1), state("active", 2), Some("started again by systemd (1 times)")),
    ] {
        let home = tempfile::tempdir().unwrap();
        let policy = unit_hook(home.path());
        fs::write(home.path().join("state"), now).unwrap();
        fs::write(home.path().join("next"), next).unwrap();
        let outcome = HookRunner::paced(caller(), Duration::ZERO, Duration::ZERO).run(&policy, occasion("a")).await;
        match expected {
            None => assert!(matches!(outcome, Outcome::Done(())), "{sentence}: {outcome:?}"),
            Some(why) => {
                let said = detail(outcome, FailureCode::HookFailed);
                assert!(said.contains(why), "{sentence}: {said}");
            }
        }
        let calls = fs::read_to_string(home.path().join("calls")).unwrap();
        assert!(calls.starts_with("--no-ask-password try-reload-or-restart app.service\n"), "{calls}");
    }
    let home = tempfile::tempdir().unwrap();
    let policy = unit_hook(home.path());
    fs::write(home.path().join("broken"), "").unwrap();
    let outcome = HookRunner::paced(caller(), Duration::ZERO, Duration::ZERO).run(&policy, occasion("a")).await;
    assert!(detail(outcome, FailureCode::HookFailed).ends_with("ended with exit status 5: Unit not found."));
}

#[tokio::test]
async fn a_hook_waits_for_others_and_runs_as_seldom_as_was_asked() {
    let home = tempfile::tempdir().unwrap();
    let runner = HookRunner::paced(caller(), Duration::ZERO, Duration::ZERO);
    let (coalesce, once_per) = (Duration::from_millis(200), Duration::from_secs(2));
    let pace = Pace { coalesce: Some(coalesce), once_per: Some(once_per), ..Pace::default() };
    let policy = HookPolicy { pace, ..hook(home.path(), "echo >> $D/runs") };
    let begun = Instant::now();
    let late = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        runner.run(&policy, occasion("b")).await
    };
    let (early, late) = tokio::join!(runner.run(&policy, occasion("a")), late);
    assert!(matches!((early, late), (Outcome::Done(()), Outcome::Done(()))));
    assert!(begun.elapsed() >= coalesce);
    let runs = || fs::read_to_string(home.path().join("runs")).unwrap().lines().count();
    assert_eq!(runs(), 1, "both in one run");
    let outcome = runner.run(&policy, occasion("c")).await;
    assert!(matches!(outcome, Outcome::Done(())) && begun.elapsed() >= once_per, "{:?}", begun.elapsed());
    assert_eq!(runs(), 2);
}

#[tokio::test]
async fn a_process_gets_a_signal_only_where_it_is_the_one_that_is_meant() {
    let home = tempfile::tempdir().unwrap();
    let pid_file = home.path().join("pid");
    let script = "trap 'echo told >> $D/told' USR1; echo $$ > $D/new; mv $D/new $D/pid; while :; do sleep 0.01; done";
    let script = script.replace("$D", home.path().to_str().unwrap());
    let mut child = std::process::Command::new("sh").args(["-c", &script]).spawn().unwrap();
    while !pid_file.exists() {
        tokio::task::yield_now().await;
    }
    let shell = fs::read_link(format!("/proc/{}/exe", child.id())).unwrap();
    let send = async |target: crate::inventory::SignalTarget, may_be_absent: bool| {
        let policy = crate::inventory::SignalPolicy { signal: rustix::process::Signal::USR1, target, may_be_absent };
        let policy = HookPolicy { kind: HookKind::Signal(policy), ..hook(home.path(), "true") };
        HookRunner::paced(caller(), Duration::ZERO, Duration::ZERO).run(&policy, occasion("a")).await
    };
    let file = |path: &Path, exe: Option<&Path>| crate::inventory::SignalTarget::PidFile {
        pid_file: path.to_owned(),
        exe: exe.map(Path::to_owned),
    };
    let outcome = send(file(&pid_file, Some(&shell)), false).await;
    assert!(matches!(outcome, Outcome::Done(())), "{outcome:?}");
    while !home.path().join("told").exists() {
        tokio::task::yield_now().await;
    }
    let other = Path::new("/usr/bin/other");
    assert!(detail(send(file(&pid_file, Some(other)), false).await, FailureCode::HookFailed).contains("runs "));
    // The number of one that ended, which another process has by now.
    let old = home.path().join("old");
    fs::write(&old, child.id().to_string()).unwrap();
    let long_ago = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    fs::File::options().write(true).open(&old).unwrap().set_modified(long_ago).unwrap();
    assert!(detail(send(file(&old, None), false).await, FailureCode::HookFailed).contains("began after"));
    let missing = home.path().join("none");
    assert!(detail(send(file(&missing, None), false).await, FailureCode::HookFailed).contains("there is no"));
    assert!(matches!(send(file(&missing, None), true).await, Outcome::Done(())), "who does not run needs no word");
    let nobody = crate::inventory::SignalTarget::Program { exe: other.to_owned(), of: None };
    assert!(detail(send(nobody, false).await, FailureCode::HookFailed).contains("no process runs"));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[tokio::test]
async fn a_request_is_signed_and_says_what_happened_but_no_secret() {
    use std::io::{Read as _, Write as _};
    let home = tempfile::tempdir().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/reload", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let mut requests = Vec::new();
        for status in ["204 No Content", "302 Found\r\nlocation: http://example.com/"] {
            let mut stream = listener.accept().unwrap().0;
            let mut request = Vec::new();
            while !request.ends_with(b"\"attempt\":1}") && !request.ends_with(b"]}") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                request.extend(byte);
            }
            write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").unwrap();
            requests.push(String::from_utf8(request).unwrap());
        }
        requests
    });
    fs::write(home.path().join("key"), "signing-key").unwrap();
    let source = |name: &str| Some(crate::secret::SecretSource::File(home.path().join(name)));
    let site = crate::inventory::SitePolicy {
        tls: crate::trust::TlsPolicy::default(),
        proxy: crate::inventory::ProxyPolicy::Never,
        headers: BTreeMap::new(),
        timeout: LONG,
    };
    let call = crate::inventory::CallPolicy {
        url: url.parse().unwrap(),
        method: reqwest::Method::POST,
        json: None,
        credential: None,
        sign: source("key"),
        ok: Vec::new(),
        site,
    };
    let policy = HookPolicy { kind: HookKind::Http(Box::new(call)), ..hook(home.path(), "true") };
    let runner = HookRunner::paced(caller(), Duration::ZERO, Duration::ZERO);
    let outcome = runner.run(&policy, occasion("a")).await;
    assert!(matches!(outcome, Outcome::Done(())), "{outcome:?}");
    let redirected = detail(runner.run(&policy, occasion("a")).await, FailureCode::HookFailed);
    assert!(redirected.contains("HTTP 302"), "it is not followed: {redirected}");
    let request = server.join().unwrap().remove(0);
    let header = |name: &str| {
        let line = request.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        line.unwrap_or_else(|| panic!("{name}: {request}")).to_owned()
    };
    let body = request.split_once("\r\n\r\n").unwrap().1;
    let told: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(
        (&told["event"], &told["tokens"][0]["token"]),
        (&serde_json::json!("delivered"), &serde_json::json!("a"))
    );
    assert_eq!(header("idempotency-key"), told["tokens"][0]["rotation"].as_str().unwrap());
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, b"signing-key");
    let signed = format!("{}.{body}", header("x-patrold-timestamp"));
    let signature = crate::names::hex(ring::hmac::sign(&key, signed.as_bytes()).as_ref());
    assert_eq!(header("x-patrold-signature"), format!("sha256={signature}"));
    assert!(!request.contains("signing-key"));
}
