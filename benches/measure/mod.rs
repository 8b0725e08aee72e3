//! What the benchmarks have in common: medians, tables, and inventories of any size.
//!
//! Nothing here judges a time: machines differ. What can be compared between machines are the ratios within one run.

#![allow(dead_code, reason = "each benchmark is a program of its own and uses its part")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use patrold::clock::{Span, Time};
use patrold::demo::{Loopback, Options, Service, User};
use patrold::few::Few;
use patrold::inventory::{Environment, Inventory, TokenPolicy, load};
use patrold::journal::key::KeySource;
use patrold::journal::sqlite::SqliteJournal;
use patrold::journal::{Change, Head, SecretChange, SecretSlot};
use patrold::names::{GenerationNo, InstanceId, Marker, RotationId};
use patrold::provider::{Expiry, Remote};
use patrold::rotation::held::Held;
use patrold::rotation::state::Generation;
use patrold::rotation::stored::Restored;
use patrold::rotation::{Event, TokenState};
use patrold::secret::{Fingerprint, Secret};

/// An inventory of the loopback provider's AWX.
pub struct Site<'a> {
    pub directory: &'a Path,
    pub loopback: &'a Loopback,
    pub accounts: usize,
    pub tokens: usize,
    /// Requests under way at once, per account.
    pub in_flight: usize,
    /// The store of every token is one file and nothing else is owed. Otherwise tokens are as different as people make
    /// them: env files, hooks, windows, schedules.
    pub plain: bool,
}

impl Site<'_> {
    /// Writes the inventory, the password of its accounts and the directories of its stores; gives the main file.
    pub fn write(&self) -> PathBuf {
        let mut text = self.head();
        for number in 0..self.accounts {
            let user = self.user(number);
            let password = self.directory.join(format!("password-{}", user.id));
            std::fs::write(&password, user.password.expose()).expect("the directory is ours");
            std::fs::create_dir_all(self.stores(number)).expect("the directory is ours");
            let _ = write!(
                text,
                "\n[account.awx-{number}]\nprovider = \"awx\"\nurl = \"{url}\"\nmax-in-flight = {in_flight}\n\
                 credential = {{ username = \"{user}\", password = {{ file = \"{password}\" }} }}\n\
                 params = {{ user_id = {id} }}\npoll-every = \"1d\"\n",
                url = self.loopback.url(Service::Awx).as_str().trim_end_matches('/'),
                in_flight = self.in_flight,
                user = user.name,
                password = password.display(),
                id = user.id,
            );
        }
        for number in 0..self.tokens {
            self.token(&mut text, number);
        }
        let config = self.directory.join("patrold.toml");
        std::fs::write(&config, text).expect("the directory is ours");
        config
    }

    /// Whom an account logs in as: one who knows nothing of the tokens of other accounts, where there are enough users.
    fn user(&self, account: usize) -> &User {
        let operators = &self.loopback.users()[1..];
        &operators[account % operators.len()]
    }

    fn head(&self) -> String {
        let directory = self.directory.display();
        format!(
            "[daemon]\nstate-dir = \"{directory}/state\"\ncontrol = \"{directory}/control.sock\"\n\n\
             [defaults]\ngrace = \"0s\"\ndrift-every = \"1d\"\njitter = \"0s\"\n"
        )
    }

    fn token(&self, text: &mut String, number: usize) {
        let account = number % self.accounts;
        let stores = self.stores(account);
        let stores = stores.display();
        let name = token_name(number);
        let _ = write!(text, "\n[[token]]\nname = \"{name}\"\naccount = \"awx-{account}\"\nrotate-every = \"30d\"\n");
        let _ = write!(text, "stores = [{{ kind = \"file\", path = \"{stores}/{name}\", mode = \"0640\" }}");
        if self.plain {
            text.push_str("]\n");
            return;
        }
        if number.is_multiple_of(3) {
            let _ =
                write!(text, ", {{ kind = \"env-file\", path = \"{stores}/{name}.env\", key = \"AWX_OAUTH_TOKEN\" }}");
        }
        text.push_str("]\n");
        if number.is_multiple_of(4) {
            text.push_str("hooks = [{ run = [\"systemctl\", \"reload\", \"consumer.service\"], timeout = \"10s\" }]\n");
        }
        if number.is_multiple_of(5) {
            let _ = writeln!(
                text,
                "window = {{ cron = \"0 0 {hour} * * *\", duration = \"2h\", timezone = \"Europe/Berlin\" }}",
                hour = number % 24
            );
        }
        if number.is_multiple_of(7) {
            text.push_str("params = { scope = \"read\" }\ngrace = \"2h\"\n");
        }
    }

    /// The directory of an account's stores.
    pub fn stores(&self, account: usize) -> PathBuf {
        self.directory.join(format!("stores-{account}"))
    }
}

/// A provider that knows somebody for each account: accounts of one address and one credential share what they may.
pub fn options(accounts: usize) -> Options {
    let user = |id: u64| User {
        id,
        name: format!("user-{id}"),
        password: Secret::new(format!("password-{id}")),
        superuser: id == 1,
    };
    Options { users: (1..).take(accounts + 1).map(user).collect(), ..Options::default() }
}

/// The name of the token with this number.
pub fn token_name(number: usize) -> String {
    format!("token-{number:06}")
}

/// The inventory at `config`, which must be valid.
pub fn inventory(config: &Path) -> Inventory {
    let loaded = load(config, &Environment::default(), now());
    let report = loaded.report.render();
    loaded.inventory.unwrap_or_else(|| panic!("the generated inventory is invalid:\n{report}"))
}

/// When a generation began, and when it ends.
#[derive(Clone, Copy, Debug)]
pub struct Life {
    pub minted: Time,
    pub expires: Time,
}

impl Life {
    /// Minted now, and weeks from its end.
    pub fn fresh(number: usize) -> Self {
        let minted = whole(now());
        let spread = Span::minutes(i64::try_from(number % 10_000).unwrap_or(0));
        Self { minted, expires: minted + Span::days(40) + spread }
    }
}

/// A moment of which a provider that tells milliseconds tells the whole.
pub fn whole(time: Time) -> Time {
    time - Span::nanoseconds(i64::from(time.timestamp_subsec_nanos()))
}

fn marker(token: &TokenPolicy, instance: InstanceId) -> Marker {
    Marker::new(instance, &token.name, GenerationNo(1), RotationId::new([7; 6]))
}

/// The state of a token whose one generation, with this id, has been delivered.
pub fn settled(
    token: &TokenPolicy,
    id: u64,
    instance: InstanceId,
    fingerprint: &Fingerprint,
    life: Life,
) -> TokenState {
    let at = life.minted;
    let generation = Generation {
        number: GenerationNo(1),
        account: token.account.name.clone(),
        params: Some(token.params.clone()),
        revision: 0,
        marker: Some(marker(token, instance)),
        remote: Remote {
            id: id.to_string().parse().ok(),
            expires: Expiry::told(life.expires),
            refresh_expires: None,
            renewable_until: None,
            facts: BTreeMap::new(),
        },
        minted_at: at,
        issued_at: at,
        fingerprints: Few::from([("token".to_owned(), fingerprint.clone())]),
        compromised: None,
        reissue_unknown: None,
    };
    let mut held = Held::new(Restored::default());
    held.note(token, at, Event::Adopted { generation });
    for store in &token.stores {
        held.note(token, at, Event::StoreWritten { store: store.key.clone(), receipt: None });
    }
    for hook in &token.hooks {
        held.note(token, at, Event::HookSucceeded { hook: hook.key.clone() });
    }
    held.note(token, at, Event::Redelivered {});
    TokenState::clone(held.state())
}

/// Fills provider, journal and stores as if the first `delivered` tokens had been delivered before. `at`: where the tokens of
/// an account are.
pub async fn fill<'a>(
    site: &Site<'a>,
    config: &Path,
    delivered: usize,
    life: impl Fn(usize) -> Life,
    at: impl Fn(usize) -> &'a Loopback,
) {
    let loaded = inventory(config);
    let (journal, opened) =
        SqliteJournal::open(&loaded.daemon.state_dir, &KeySource::StateDirectory, now()).expect("a journal");
    let tokens: Vec<_> = loaded.tokens.values().take(delivered).enumerate().collect();
    for group in tokens.chunks(512) {
        let changes = group.iter().map(|(number, token)| {
            let (account, life) = (number % site.accounts, life(*number));
            let (provider, name) = (at(account), marker(token, opened.instance));
            let parts = provider.issue_to(site.user(account).id, Service::Awx, name.as_str(), life.expires);
            let issued = provider.ledger().entry_of(parts.token().expose()).expect("it was just issued");
            write_private(&token.stores[0].replaces().expect("a file store"), parts.token().expose());
            let slot = SecretSlot { token: token.name.clone(), generation: GenerationNo(1), revision: 0 };
            let fingerprint = opened.fingerprinter.of(parts.token());
            let state = settled(token, issued.id, opened.instance, &fingerprint, life);
            Change {
                token: token.name.clone(),
                follows: Head::default(),
                at: now(),
                records: Vec::new(),
                state: Some(serde_json::to_string(&state).expect("states are JSON")),
                secrets: vec![SecretChange::Keep { slot, parts }],
            }
        });
        journal.revise(changes.collect()).await.expect("the journal can be written");
    }
}

fn write_private(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, text).expect("the directory is ours");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o640)).expect("the file is ours");
}

/// The shipped binary in a process of its own, with the environment that the shipped unit gives it.
pub struct Daemon(Child);

impl Daemon {
    const UNIT: &str = include_str!("../../systemd/patrold.service");

    pub fn start(config: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_patrold"));
        let environment = Self::UNIT.lines().filter_map(|line| line.strip_prefix("Environment=")?.split_once('='));
        let command = command.envs(environment).arg("--config").arg(config).arg("run");
        Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary was built"))
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        self.0.try_wait().is_ok_and(|ended| ended.is_none())
    }

    /// How often all of its threads together have gone to sleep so far.
    pub fn wake_ups(&self) -> u64 {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.0.id())).expect("the daemon runs");
        // A thread that ends meanwhile has nothing more to tell.
        let statuses = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("status")).ok());
        statuses.map(|status| field(&status, "voluntary_ctxt_switches:")).sum()
    }

    /// A number of its status: sizes in kB.
    pub fn status(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).expect("the daemon runs");
        field(&status, name)
    }

    /// The processor time that it has used.
    pub fn used(&self) -> Duration {
        processor_time_of(&self.0.id().to_string())
    }

    /// Waits until it uses next to no processor time for `quiet`; gives up after two minutes.
    pub fn settle(&mut self, quiet: Duration) {
        let begun = Instant::now();
        loop {
            let before = self.used();
            std::thread::sleep(quiet);
            assert!(self.runs(), "the daemon runs");
            let used = self.used().saturating_sub(before);
            if used < quiet / 100 || begun.elapsed() > Duration::from_secs(120) {
                return;
            }
        }
    }

    /// As a power cut does it.
    pub fn kill(mut self) {
        self.0.kill().expect("it is our child");
        self.0.wait().expect("it is our child");
    }

    /// As a service manager does it.
    pub fn stop(mut self) {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it is our child");
        self.0.wait().expect("it is our child");
    }
}

/// The first number behind `name`, at the beginning of a line.
fn field(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

/// The wall clock.
pub fn now() -> patrold::clock::Time {
    use patrold::clock::Clock as _;
    patrold::clock::SystemClock.now()
}

/// The median of how long `runs` runs take.
pub fn median(runs: usize, mut run: impl FnMut()) -> Duration {
    let times = (0..runs).map(|_| {
        let begun = Instant::now();
        run();
        begun.elapsed()
    });
    middle(times.collect())
}

/// The middle one of `values`.
pub fn middle<T: PartialOrd + Copy>(mut values: Vec<T>) -> T {
    values.sort_by(|one, other| one.partial_cmp(other).unwrap_or(std::cmp::Ordering::Equal));
    values[values.len() / 2]
}

/// How many times `part` goes into `whole`.
pub fn ratio(whole: Duration, part: Duration) -> f64 {
    whole.as_secs_f64() / part.as_secs_f64()
}

/// The processor time that this process has used so far, to a hundredth of a second.
pub fn processor_time() -> Duration {
    processor_time_of("self")
}

fn processor_time_of(process: &str) -> Duration {
    const TICKS: u64 = 100;
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("this is Linux, and it runs");
    // Behind the name, which may hold anything: state and ten numbers, then user and system time.
    let numbers = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    Duration::from_millis(numbers.filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>() * 1000 / TICKS)
}

/// Milliseconds, for tables.
pub fn millis(span: Duration) -> String {
    format!("{:.1} ms", span.as_secs_f64() * 1000.0)
}

/// Kilobytes of `/proc` as MiB.
#[expect(clippy::cast_precision_loss, reason = "less than the memory of any machine")]
pub fn mib(kilobytes: u64) -> f64 {
    kilobytes as f64 / 1024.0
}

/// What the figures below it come from.
pub fn heading(title: &str, bench: &str) {
    println!("\n{title}\n  cargo bench --bench {bench}\n");
}
