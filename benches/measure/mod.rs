//! What the benchmarks have in common: medians, tables, and inventories of any size.
//!
//! Nothing here judges a time: machines differ. What can be compared between machines are the ratios within one run.

#![allow(dead_code, reason = "each benchmark is a program of its own and uses its part")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use patrold::demo::{Loopback, Service};
use patrold::inventory::{Environment, Inventory, load};

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
        let operator = self.loopback.operator().expect("the default options have users");
        let password = self.directory.join("password");
        std::fs::write(&password, operator.password.expose()).expect("the directory is ours");
        let mut text = self.head();
        for number in 0..self.accounts {
            std::fs::create_dir_all(self.stores(number)).expect("the directory is ours");
            let _ = write!(
                text,
                "\n[account.awx-{number}]\nprovider = \"awx\"\nurl = \"{url}\"\nmax-in-flight = {in_flight}\n\
                 credential = {{ username = \"{user}\", password = {{ file = \"{password}\" }} }}\n\
                 params = {{ user_id = {id} }}\npoll-every = \"1d\"\n",
                url = self.loopback.url(Service::Awx).as_str().trim_end_matches('/'),
                in_flight = self.in_flight,
                user = operator.name,
                password = password.display(),
                id = operator.id,
            );
        }
        for number in 0..self.tokens {
            self.token(&mut text, number);
        }
        let config = self.directory.join("patrold.toml");
        std::fs::write(&config, text).expect("the directory is ours");
        config
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
    const TICKS: u64 = 100;
    let stat = std::fs::read_to_string("/proc/self/stat").expect("this is Linux");
    // Behind the name, which may hold anything: state and ten numbers, then user and system time.
    let numbers = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    Duration::from_millis(numbers.filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>() * 1000 / TICKS)
}

/// Milliseconds, for tables.
pub fn millis(span: Duration) -> String {
    format!("{:.1} ms", span.as_secs_f64() * 1000.0)
}

/// What the figures below it come from.
pub fn heading(title: &str, bench: &str) {
    println!("\n{title}\n  cargo bench --bench {bench}\n");
}
