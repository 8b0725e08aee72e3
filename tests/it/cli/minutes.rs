//! From an empty directory to a token that renews itself, typed as a newcomer types it.
//!
//! What the terminal shows is compared with `docs/transcripts/first-minutes.txt`; `PATROLD_REGENERATE=1` writes it anew.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use patrold::clock::{Clock as _, SystemClock};
use patrold::demo::{LedgerEntry, Loopback, Options, Service};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use tokio::runtime::Runtime;

/// The providers of the demo, and a plain user with an empty home.
pub(super) struct Newcomer {
    pub home: tempfile::TempDir,
    pub loopback: Loopback,
    runtime: Runtime,
}

impl Newcomer {
    pub fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let loopback = runtime.block_on(Loopback::start(SystemClock, Options::default())).unwrap();
        Self { home: tempfile::tempdir().unwrap(), loopback, runtime }
    }

    pub fn url(&self, service: Service) -> String {
        self.loopback.url(service).as_str().trim_end_matches('/').to_owned()
    }

    pub fn command(&self, folder: &str, args: &[&str]) -> Command {
        let home = self.home.path();
        let folder = home.join(folder);
        fs::create_dir_all(&folder).unwrap();
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("patrold"));
        command.env_clear().env("HOME", home).env("XDG_RUNTIME_DIR", home.join(".run")).env("NO_COLOR", "1");
        command.current_dir(folder).args(args);
        command
    }

    fn run(&self, folder: &str, args: &[&str]) -> Output {
        self.command(folder, args).stdin(Stdio::null()).output().unwrap()
    }

    /// Types a command in a terminal of 80 columns and answers its questions, each of which ends with the text before its answer.
    /// Gives what the terminal shows, and the exit status.
    pub fn type_in(&self, folder: &str, args: &[&str], answers: &[(&str, &str)]) -> (String, Option<i32>) {
        let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&controller).unwrap();
        unlockpt(&controller).unwrap();
        let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&controller, size).unwrap();
        let name = ptsname(&controller, Vec::new()).unwrap();
        let terminal = File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
        let mut command = self.command(folder, args);
        command.stdin(terminal.try_clone().unwrap()).stdout(terminal.try_clone().unwrap()).stderr(terminal);
        let mut child = command.spawn().unwrap();
        // The command still holds the other end.
        drop(command);
        let mut controller = File::from(controller);
        let (mut shown, mut seen, mut answers) = (String::new(), 0, answers.iter());
        let mut next = answers.next();
        let mut buffer = [0; 4096];
        // An error: nobody has the terminal open any more.
        while let Ok(length) = controller.read(&mut buffer) {
            shown.push_str(&String::from_utf8_lossy(&buffer[..length]));
            // A question ends with a colon and a blank; who types waits for it.
            if let Some((_, answer)) =
                next.filter(|(question, _)| shown[seen..].contains(question) && shown.ends_with(": "))
            {
                seen = shown.len();
                writeln!(controller, "{answer}").unwrap();
                next = answers.next();
            }
        }
        assert!(next.is_none(), "{args:?} never asked {next:?}:\n{shown}");
        (shown.replace('\r', ""), child.wait().unwrap().code())
    }

    /// Waits until so many tokens were minted at `service`.
    pub fn wait_for_mints(&self, service: Service, count: usize) {
        let mut follow = self.loopback.follow_requests();
        let minted =
            || self.loopback.ledger().all().iter().filter(|it| it.service == service && it.is_marked()).count();
        self.runtime.block_on(async {
            let wait = async {
                while minted() < count {
                    follow.changed().await.unwrap();
                }
            };
            tokio::time::timeout(Duration::from_secs(60), wait).await.expect("the token was not renewed");
        });
    }

    fn files(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.home.path().join(folder)).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

/// A daemon that a test started; it ends with it.
pub(super) struct Running(pub Child);

impl Running {
    pub fn stop(mut self) -> Option<i32> {
        kill_process(Pid::from_child(&self.0), Signal::TERM).unwrap();
        self.0.wait().unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Stopped already, unless the test failed.
        let _ = self.0.kill();
    }
}

/// One newcomer's way.
struct Way {
    heading: &'static str,
    service: Service,
    folder: &'static str,
    /// Questions of `init` besides the address, and what is answered.
    answers: Vec<(&'static str, String)>,
    add: &'static [&'static str],
    /// Where the secret is read, and what stands before it there.
    store: (&'static str, &'static str),
}

fn ways(newcomer: &Newcomer) -> Vec<Way> {
    let credential = |service| newcomer.loopback.admin_secret(service).expose().to_owned();
    let operator = newcomer.loopback.operator().unwrap();
    let password = operator.password.expose().to_owned();
    vec![
        Way {
            heading: "AWX, by user name and password",
            service: Service::Awx,
            folder: "awx",
            answers: vec![("User name", operator.name.clone()), ("Password", password)],
            add: &["--env", "ci.env:AWX_TOKEN"],
            store: ("ci.env", "AWX_TOKEN="),
        },
        Way {
            heading: "Point One Navigation, by a token",
            service: Service::PointOne,
            folder: "gps",
            answers: vec![("Credential", credential(Service::PointOne))],
            add: &[],
            store: ("ci-runner.token", ""),
        },
        Way {
            heading: "Commvault, by a token",
            service: Service::Commvault,
            folder: "backup",
            answers: vec![("Credential", credential(Service::Commvault))],
            add: &["--file", "token"],
            store: ("token", ""),
        },
        Way {
            heading: "AWX, by a token",
            service: Service::Awx,
            folder: "awx-2",
            answers: vec![("User name", String::new()), ("Credential", credential(Service::Awx))],
            add: &[],
            store: ("ci-runner.token", ""),
        },
    ]
}

#[test]
fn three_commands_lead_from_an_empty_directory_to_a_token_that_renews_itself() {
    let newcomer = Newcomer::new();
    let mut transcript = String::new();
    for way in ways(&newcomer) {
        let (service, folder) = (way.service, way.folder);
        let url = newcomer.url(service);
        write!(transcript, "# {}, in an empty directory\n\n", way.heading).unwrap();
        let mut answers = vec![("Address", url.as_str())];
        if service == Service::PointOne {
            // It has an address of its own; the loopback provider is elsewhere.
            answers.clear();
        }
        answers.extend(way.answers.iter().map(|(question, answer)| (*question, answer.as_str())));
        let mut init = vec!["init", service.provider()];
        if service == Service::PointOne {
            init.extend(["--url", url.as_str()]);
        }
        let mut step = |args: &[&str], answers: &[(&str, &str)]| {
            let (shown, exit) = newcomer.type_in(folder, args, answers);
            assert_eq!(exit, Some(0), "{args:?}\n{shown}");
            write!(transcript, "$ patrold {}\n{shown}\n", args.join(" ")).unwrap();
        };
        step(&init, &answers);
        // Seldom enough for a person to watch, and often enough for a test to wait.
        let add = [&["add", "ci-runner"][..], way.add, &["--rotate-every", "4s"]].concat();
        step(&add, &[]);
        let minted =
            newcomer.loopback.ledger().all().iter().filter(|it| it.service == service && it.is_marked()).count();
        let run = newcomer.command(folder, &["run"]).stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let run = Running(run);
        newcomer.wait_for_mints(service, minted + 2);
        let file = newcomer.home.path().join(folder).join(way.store.0);
        let text = fs::read_to_string(&file).unwrap();
        let secret = text.trim().strip_prefix(way.store.1).unwrap().trim_matches('"').to_owned();
        let live = newcomer.loopback.ledger().live_tokens(service, SystemClock.now());
        let known = live.iter().flat_map(|entry| &entry.issues).any(|issue| issue.secret.expose() == secret);
        assert!(known, "{}: consumers have no live token", way.heading);
        let rotated = newcomer.run(folder, &["rotate", "ci-runner", "--now", "--json"]);
        assert!(rotated.status.success(), "{}: {rotated:?}", way.heading);
        let history = newcomer.run(folder, &["history", "ci-runner", "--json"]);
        let history: serde_json::Value = serde_json::from_slice(&history.stdout).unwrap();
        let events = history["records"].as_array().unwrap().iter().map(|record| record["event"].as_str().unwrap());
        let renewal: Vec<_> = events.filter(|event| ["minted", "activated"].contains(event)).take(4).collect();
        assert_eq!(renewal, ["minted", "activated", "minted", "activated"], "{}", way.heading);
        assert_eq!(run.stop(), Some(0), "{}", way.heading);
        // The next newcomer is nobody's second installation: a new journal would be held back beside a token of that name.
        let (ledger, now) = (newcomer.loopback.ledger(), SystemClock.now());
        for left in ledger.live_tokens(service, now).into_iter().filter(LedgerEntry::is_marked) {
            ledger.revoke(service, left.id, now);
        }
        for (_, secret) in way.answers.iter().filter(|(question, _)| *question != "User name") {
            assert!(!transcript.contains(secret.as_str()), "{}: a credential was shown", way.heading);
        }
        let credential = newcomer.home.path().join(folder).join("credentials").join(service.provider());
        assert_eq!(fs::metadata(&credential).unwrap().permissions().mode() & 0o777, 0o600);
        transcript += "$ patrold run\n\n";
        transcript +=
            "$ patrold history ci-runner --json | jq -r '.records[].event' | grep -E 'minted|activated' | head -4\n";
        write!(transcript, "{}\n\n$ cat patrold.toml\n", renewal.join("\n")).unwrap();
        transcript += &fs::read_to_string(newcomer.home.path().join(folder).join("patrold.toml")).unwrap();
        transcript += "\n\n";
        transcript = transcript.replace(&url, "http://127.0.0.1:PORT");
    }
    let home = newcomer.home.path();
    let transcript = transcript.replace(home.to_str().unwrap(), "~");
    compare("first-minutes.txt", &format!("{}\n", transcript.trim_end()));
}

fn compare(name: &str, actual: &str) {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/transcripts").join(name);
    if std::env::var_os("PATROLD_REGENERATE").is_some() {
        fs::write(&path, actual).unwrap();
    }
    assert_eq!(actual, fs::read_to_string(&path).unwrap_or_default(), "{}", path.display());
}

#[test]
fn a_wrong_password_is_asked_for_again_with_the_reason() {
    let newcomer = Newcomer::new();
    let url = newcomer.url(Service::Awx);
    let operator = newcomer.loopback.operator().unwrap();
    let (name, password) = (operator.name.as_str(), operator.password.expose());
    let answers = [
        ("Address", "not a url"),
        ("Address", url.as_str()),
        ("User name", name),
        ("Password", "wrong"),
        // What was right is kept by an empty answer.
        (&format!("Address of the service [{url}]"), ""),
        (&format!("User name (- to use a token) [{name}]"), ""),
        ("Password", password),
    ];
    let (shown, exit) = newcomer.type_in("home", &["init", "awx"], &answers);
    assert_eq!(exit, Some(0), "{shown}");
    assert!(shown.contains("that is not a URL") && shown.contains("HTTP 401"), "{shown}");
    assert!(!shown.contains(password), "{shown}");
    assert_eq!(newcomer.files("home"), ["credentials", "patrold.toml"]);
    let written = fs::read_to_string(newcomer.home.path().join("home/credentials/awx")).unwrap();
    assert_eq!(written, password);
}

#[test]
fn only_the_address_is_asked_for_again_where_nobody_answered() {
    let newcomer = Newcomer::new();
    let url = newcomer.url(Service::Awx);
    let operator = newcomer.loopback.operator().unwrap();
    let answers = [
        ("Address", "http://127.0.0.1:1"),
        ("User name", operator.name.as_str()),
        ("Password", operator.password.expose()),
        ("Address of the service [http://127.0.0.1:1]", url.as_str()),
    ];
    let (shown, exit) = newcomer.type_in("home", &["init", "awx"], &answers);
    assert_eq!(exit, Some(0), "{shown}");
    assert_eq!((shown.matches("Password").count(), shown.matches("User name").count()), (1, 1), "{shown}");
    assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
}

#[test]
fn a_beginning_that_fails_leaves_nothing_and_says_what_is_missing() {
    let newcomer = Newcomer::new();
    let url = newcomer.url(Service::Awx);
    let wrong = newcomer.home.path().join("wrong");
    fs::write(&wrong, "no such token").unwrap();
    let wrong = wrong.to_str().unwrap();
    for (sentence, args, exit, told) in [
        ("nobody to ask", &["init", "awx"][..], 2, "missing: --url, --credential-file"),
        ("no such provider", &["init", "axw"], 2, "did you mean \"awx\"?"),
        ("no URL", &["init", "awx", "--url", "awx", "--credential-file", wrong], 2, "--url: that is not a URL"),
        ("an empty file", &["init", "awx", "--url", &url, "--credential-file", "/dev/null"], 2, "holds no credential"),
        ("a wrong credential", &["init", "awx", "--url", &url, "--credential-file", wrong], 1, "HTTP 401"),
        (
            "nobody listens",
            &["init", "pointone", "--url", "http://127.0.0.1:1", "--credential-file", wrong],
            1,
            "check address",
        ),
        ("no inventory", &["add", "ci"], 2, "`patrold init PROVIDER` makes one"),
    ] {
        let output = newcomer.run("home", args);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(exit), "{sentence}: {errors}");
        assert!(errors.contains(told), "{sentence}: {errors}");
        assert!(newcomer.files("home").is_empty(), "{sentence}: {:?}", newcomer.files("home"));
    }
}

#[test]
fn what_is_there_is_never_overwritten_and_comments_stay() {
    let newcomer = Newcomer::new();
    let url = newcomer.url(Service::Awx);
    let home = newcomer.home.path().join("home");
    fs::create_dir_all(&home).unwrap();
    let secret = newcomer.home.path().join("secret");
    fs::write(&secret, newcomer.loopback.admin_secret(Service::Awx).expose()).unwrap();
    let init = ["init", "awx", "--url", &url, "--credential-file", secret.to_str().unwrap()];
    assert!(newcomer.run("home", &init).status.success());
    let before = fs::read_to_string(home.join("patrold.toml")).unwrap();
    let again = newcomer.run("home", &init);
    assert_eq!(again.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&again.stderr).contains("is there already"));
    let elsewhere = [&["--config", "other.toml"][..], &init].concat();
    let again = newcomer.run("home", &elsewhere);
    assert_eq!(again.status.code(), Some(2), "the credential of the first would be overwritten");

    let commented = format!("{before}# the night shift reads this\n");
    fs::write(home.join("patrold.toml"), &commented).unwrap();
    assert!(newcomer.run("home", &["add", "ci", "--restart", "ci.service"]).status.success());
    let added = fs::read_to_string(home.join("patrold.toml")).unwrap();
    assert!(added.contains("# the night shift reads this"), "{added}");
    for (args, told) in [
        (&["add", "ci"][..], "is in the inventory already"),
        (&["add", "two", "--file", "ci.token"], "would be invalid"),
        (&["add", "two", "--rotate-every", "soon"], "would be invalid"),
        (&["add", "two", "--param", "scoop=read"], "has no parameter \"scoop\""),
        (&["add", "two", "--account", "nobody"], "there is no account \"nobody\""),
    ] {
        let output = newcomer.run("home", args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(errors.contains(told), "{args:?}: {errors}");
        assert_eq!(fs::read_to_string(home.join("patrold.toml")).unwrap(), added, "{args:?}");
    }
}

#[test]
fn an_inventory_is_found_where_people_put_it() {
    let newcomer = Newcomer::new();
    let home = newcomer.home.path();
    let none = newcomer.run("work", &["check"]);
    let errors = String::from_utf8_lossy(&none.stderr);
    assert_eq!(none.status.code(), Some(2), "{errors}");
    let looked = format!("looked at ./patrold.toml, {}/.config/patrold/patrold.toml, /etc/patrold", home.display());
    assert!(errors.contains(&looked), "{errors}");
    let config = home.join(".config/patrold");
    fs::create_dir_all(&config).unwrap();
    let check = |folder: &str| String::from_utf8(newcomer.run(folder, &["validate"]).stdout).unwrap();
    fs::write(config.join("patrold.toml"), "").unwrap();
    assert!(check("work").contains(".config/patrold/patrold.toml is valid"));
    fs::write(home.join("work/patrold.toml"), "").unwrap();
    assert!(check("work").contains("./patrold.toml is valid"));
    let journals = |folder: &str| {
        let status = newcomer.run(folder, &["-c", "patrold.toml", "list", "--json"]);
        let json: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
        json["journal"]["state-dir"].as_str().unwrap().to_owned()
    };
    fs::create_dir_all(home.join("two")).unwrap();
    fs::write(home.join("two/patrold.toml"), "").unwrap();
    assert_ne!(journals("work"), journals("two"), "two inventories share a journal");
    assert_eq!(journals(".config/patrold"), home.join(".local/state/patrold").to_str().unwrap());
}

/// The commands of the README's first steps, without their comments.
fn readme() -> Vec<Vec<String>> {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let (_, steps) = readme.split_once("## Five minutes with a real account").unwrap();
    let (steps, _) = steps.split_once("\n## ").unwrap();
    let blocks = steps.split("```sh\n").skip(1).filter_map(|block| block.split("```").next());
    let commands = blocks.flat_map(str::lines).filter_map(|line| line.strip_prefix("patrold "));
    let words = |line: &str| line.split('#').next().unwrap().split_whitespace().map(str::to_owned).collect();
    commands.map(words).collect()
}

#[test]
fn the_readme_can_be_typed_as_it_is() {
    let newcomer = Newcomer::new();
    let url = newcomer.url(Service::Awx);
    let operator = newcomer.loopback.operator().unwrap();
    let (name, password) = (operator.name.as_str(), operator.password.expose());
    let commands = readme();
    let [init, add, run] = &commands[..] else { panic!("{commands:?}") };
    let words = |command: &[String]| command.iter().map(String::as_str).collect::<Vec<_>>().join(" ");
    assert_eq!(words(run), "run");
    for (command, answers) in
        [(init, &[("Address", url.as_str()), ("User name", name), ("Password", password)][..]), (add, &[])]
    {
        let args: Vec<_> = command.iter().map(String::as_str).collect();
        let (shown, exit) = newcomer.type_in("home", &args, answers);
        assert_eq!(exit, Some(0), "{args:?}\n{shown}");
    }
    let run = newcomer.command("home", &["run"]).stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let run = Running(run);
    newcomer.wait_for_mints(Service::Awx, 1);
    // What the text around the block promises.
    for (args, told) in [
        (&["rotate", "ci-runner"][..], "rotated"),
        (&["status"], "ci-runner"),
        (&["check", "--online"], "a listing was answered"),
        (&["plan"], "ci-runner"),
    ] {
        let output = newcomer.run("home", args);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains(told), "{args:?}: {output:?}");
    }
    assert_eq!(run.stop(), Some(0));
    let text = fs::read_to_string(newcomer.home.path().join("home/ci.env")).unwrap();
    assert!(text.starts_with("AWX_TOKEN="), "{text}");
    assert_eq!(newcomer.files("home"), ["ci.env", "credentials", "patrold.toml"]);
}
