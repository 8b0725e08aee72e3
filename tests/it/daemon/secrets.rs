//! No secret is anywhere but in the stores that ask for it: not in logs, the journal's files, what the daemon serves, what
//! commands print, what hooks see of themselves, or files that are left over.

use std::io::Write;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use patrold::clock::Span;
use patrold::daemon::rotate::Answer;
use patrold::demo::{Fault, Options, Service};
use patrold::names::GenerationNo;
use patrold::provider::Operation::{List, Mint, Renew, Verify};

use super::world::{Daemon, World, files, token};
use super::{http, operator};

/// A log that can be read again.
#[derive(Clone, Debug, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Every secret that the provider ever handed out or was given.
pub(super) fn secrets(world: &World) -> Vec<String> {
    let mut secrets = Vec::new();
    for entry in world.loopback.ledger().all() {
        for issue in entry.issues {
            secrets.push(issue.secret.expose().to_owned());
            secrets.extend(issue.refresh.map(|refresh| refresh.expose().to_owned()));
        }
    }
    let password = world.loopback.operator().unwrap().password.expose().to_owned();
    secrets.extend([STANDARD.encode(&password), password]);
    secrets
}

/// The forms in which a secret of letters and digits may be told: as it is, in hex, and what is certain of its base64, at
/// each offset within a longer text.
pub(super) fn forms(secret: &str) -> Vec<String> {
    let hex = |separator: &str| secret.bytes().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(separator);
    let base64 = (0..3).map(|offset| {
        let encoded = STANDARD.encode(format!("{}{secret}", "x".repeat(offset)));
        let (start, end) = ((offset * 8).div_ceil(6), (offset + secret.len()) * 8 / 6);
        encoded[start..end].to_owned()
    });
    let plain = [secret.to_owned(), hex(""), hex("").to_uppercase(), hex(" ")];
    plain.into_iter().chain(base64).filter(|form| form.len() >= 8).collect()
}

/// Everything that a running daemon shows, and everything that commands print of it, each with its name.
pub(super) async fn shown(world: &World, daemon: &Daemon) -> Vec<(String, Vec<u8>)> {
    let mut shown = vec![("status".to_owned(), serde_json::to_vec(&daemon.running.status()).unwrap())];
    for name in ["ci", "gps", "backup"] {
        let explanation = daemon.running.explain(&name.parse().unwrap(), None);
        shown.push((format!("explanation of {name}"), serde_json::to_vec(&explanation).unwrap()));
    }
    let mut bound = daemon.front.bound();
    let address = bound.wait_for(Option::is_some).await.unwrap().unwrap();
    for path in ["/", "/metrics", "/status.json", "/livez", "/readyz"] {
        let answer = http::get(address, path).await;
        assert!(matches!(answer.status, 200 | 503) && !answer.body.is_empty(), "{path}: {answer:?}");
        shown.push((path.to_owned(), answer.body.into_bytes()));
    }
    for args in [
        &["status"][..],
        &["status", "--json"],
        &["status", "gps"],
        &["explain", "ci"],
        &["explain", "backup", "--json"],
        &["plan"],
        &["plan", "--json"],
        &["audit"],
        &["audit", "--json"],
        &["history", "ci"],
        &["history", "gps", "--json"],
        &["history", "--verify"],
        &["journal", "export"],
        &["check", "--online"],
    ] {
        let output = operator::run(world, args, "").await;
        assert!(!output.stdout.is_empty(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        shown.push((args.join(" "), [output.stdout, output.stderr].concat()));
    }
    shown
}

pub(super) fn contains(haystack: &[u8], needle: &str) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle.as_bytes())
}

#[tokio::test]
async fn secrets_are_nowhere_but_in_their_stores() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || writer.clone()).finish();
    // With one subscriber alone, the library lets the first thread that passes a line decide for all threads whether it
    // is logged; the threads of other tests have none.
    let _second = tracing::Dispatch::new(tracing_subscriber::fmt().with_writer(std::io::sink).finish());
    // The test's runtime has one thread, so that every task of the daemon logs here.
    let logging = tracing::subscriber::set_default(subscriber);
    let options =
        Options { commvault_access_lifetime: Span::seconds(3), commvault_mint_by_token: false, ..Options::default() };
    let world = World::with(options).await;
    // What a hook sees of itself, and what it prints of its token's store.
    // Once every store is there, it fails three times, and prints all of them in another form each time.
    let hook = "hooks = [{ run = [\"sh\", \"-c\", \"cat /proc/self/environ /proc/$$/cmdline >> $DIR/seen; cd $DIR/stores; \
                [ $(ls | wc -l) -ge 3 ] || exit 0; test -e ../once || { touch ../once; cat * >&2; exit 1; }; \
                test -e ../twice || { touch ../twice; base64 -w0 * >&2; cat * | base64 -w0; exit 1; }; \
                test -e ../thrice || { touch ../thrice; cat * | od -An -v -tx1 >&2; exit 1; }\"] }]";
    let more = format!("rotate-every = \"30d\"\n{hook}");
    // Another one, of which only its last words count.
    let waived = "{ run = [\"sh\", \"-c\", \"cat $DIR/stores/* >&2; base64 $DIR/stores/* >&2; exit 1\"], on-failure = \"continue\" }";
    let both = more.replace("hooks = [", &format!("hooks = [{waived}, "));
    let parts = [
        world.account(Service::Awx, "credential = { username = \"patrold\", password = { file = \"$DIR/password\" } }"),
        world.account(Service::PointOne, ""),
        world.login_account(""),
        token("ci", Service::Awx, &more),
        token("gps", Service::PointOne, &both),
        token("backup", Service::Commvault, &more),
    ];
    std::fs::write(world.path("password"), world.loopback.operator().unwrap().password.expose()).unwrap();
    for service in Service::ALL {
        for (operation, fault) in [
            (Mint, Fault::WrongTypes),
            (Mint, Fault::ServerErrorAfterActing(500)),
            (Verify, Fault::Unauthorized),
            (List, Fault::WrongTypes),
            (Renew, Fault::Truncated),
        ] {
            world.loopback.faults().next(service, operation, fault);
        }
    }
    let shown = async {
        let daemon = world.start_with(http::LOOPBACK, &parts).await;
        for name in ["ci", "gps", "backup"] {
            let view = daemon.until(name, "it is issued", |view| view.state.phase.current().is_some()).await;
            let GenerationNo(number) = view.state.phase.current().unwrap().generation.number;
            let mut answer = daemon.rotate(name).await;
            // One of the hook's three failures may be met here.
            for _ in 0..3 {
                if matches!(answer, Answer::Failed(_)) {
                    answer = daemon.rotate(name).await;
                }
            }
            assert!(matches!(answer, Answer::Rotated(_)), "{name} {number}: {answer:?}");
        }
        let renewed = daemon.until("backup", "the pair was replaced after a renewal in doubt", |view| {
            view.state.phase.current().is_some_and(|current| current.generation.number.0 >= 5)
        });
        renewed.await;
        assert!(world.path("thrice").exists(), "the hook did not fail three times");
        let shown = shown(&world, &daemon).await;
        daemon.stop().await;
        shown
    }
    .await;
    drop(logging);

    let log = log.0.lock().unwrap().clone();
    assert!(contains(&log, "minted; the new secret is in the journal"), "the log is not the daemon's");
    let secrets = secrets(&world);
    assert!(secrets.len() > 10);
    let stores: Vec<_> = ["stores", "awx", "pointone", "commvault", "password"].map(|name| world.path(name)).to_vec();
    let left: Vec<_> = files(world.directory.path())
        .into_iter()
        .filter(|path| !stores.iter().any(|store| path.starts_with(store)))
        .collect();
    assert!(left.iter().any(|path| path.ends_with("seen")), "{left:?}");
    for (original, secret) in
        secrets.iter().flat_map(|secret| forms(secret).into_iter().map(move |form| (secret, form)))
    {
        let secret = &secret;
        let kind = world.loopback.ledger().entry_of(original).map(|entry| entry.name);
        assert!(!contains(&log, secret), "the log holds a secret of {kind:?}: {}", lines_with(&log, secret));
        for (name, text) in &shown {
            assert!(!contains(text, secret), "{name} holds a secret of {kind:?}: {}", lines_with(text, secret));
        }
        for path in &left {
            assert!(!contains(&std::fs::read(path).unwrap(), secret), "{} holds a secret of {kind:?}", path.display());
        }
    }
    let kept: Vec<_> = files(&world.path("stores"));
    assert_eq!(kept.len(), 3, "temporary files are left over: {kept:?}");
}

pub(super) fn lines_with(log: &[u8], secret: &str) -> String {
    let text = String::from_utf8_lossy(log);
    text.lines().filter(|line| line.contains(secret)).take(3).collect::<Vec<_>>().join("\n")
}
