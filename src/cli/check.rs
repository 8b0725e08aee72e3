//! `patrold check`.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::clock::{Clock as _, SystemClock, Time};
use crate::daemon::exposure;
use crate::endpoint::proxy::Proxy;
use crate::exit::Exit;
use crate::host::{Facts, service};
use crate::inventory::{self, Environment, Inventory, Loaded};
use crate::journal::key::KeySource;
use crate::text::words;
use crate::trust::{TlsPolicy, TrustRoots};
use crate::view::check::{Check, Checks, render_report};
use crate::view::online::Online;

use super::discovery::find;
use super::{Complaint, Console, online};

/// Arguments of `patrold check`.
#[derive(Clone, Debug, Args)]
pub struct CheckArgs {
    /// Inventories to check instead of the configured one; of a directory, every *.toml in it, each on its own
    #[arg(value_name = "FILE_OR_DIR")]
    paths: Vec<PathBuf>,
    /// Also authenticate each account and test that each store can be written, changing nothing; run it as the user
    /// that patrold runs as
    #[arg(long)]
    online: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// Checks inventories and the provider definitions that they name. Exit 2 where one of them is invalid.
pub(super) fn run(args: &CheckArgs, named: Option<&Path>, console: &mut Console) -> Result<Exit, Complaint> {
    let now = SystemClock.now();
    let mains = if args.paths.is_empty() { vec![find(named)?] } else { main_files(&args.paths)? };
    let mut checks = Vec::with_capacity(mains.len());
    for main in &mains {
        let loaded = inventory::load(main, &Environment::of_process(main), now);
        let key = loaded.inventory.as_ref().and_then(key);
        let mut check = check(main, &loaded, key.as_ref(), now);
        if let Some(inventory) = &loaded.inventory {
            check.expose(exposure::warnings(inventory, &loaded.files, service::user_of(main)));
        }
        if !args.json {
            print(&loaded, &check, now, console)?;
        }
        if let Some(inventory) = loaded.inventory.as_ref().filter(|_| args.online) {
            let online = online::run(inventory, main, key.as_ref(), console)?;
            if !args.json {
                let width = console.width(false);
                online.write(console.out_paint, width, &mut console.out)?;
                console.out.flush()?;
            }
            check.online = Some(online);
        }
        checks.push(check);
    }
    let checks = Checks::new(checks);
    if args.json {
        console.json(&checks)?;
    } else if checks.errors + checks.warnings > 0 || mains.len() > 1 {
        let invalid = checks.inventories.iter().filter(|check| !check.valid).count();
        let summary = match mains.len() {
            1 => String::new(),
            all => format!("{invalid} of {all} inventories are invalid: "),
        };
        let errors = words::count(checks.errors, "error");
        console.note(format_args!("{summary}{errors}, {}", words::count(checks.warnings, "warning")))?;
    }
    let failures: usize =
        checks.inventories.iter().filter_map(|check| check.online.as_ref()).map(Online::failures).sum();
    Ok(match (checks.valid, failures) {
        (false, _) => Exit::Invalid,
        (true, 0) => Exit::Fine,
        (true, _) => Exit::Failed,
    })
}

/// Where the sealing key comes from. A source that is not there now (a systemd credential, mostly) may well be there
/// when the daemon starts.
fn key(inventory: &Inventory) -> Option<KeySource> {
    KeySource::resolve(inventory.daemon.seal_key.as_ref(), |name| std::env::var_os(name)).ok()
}

fn check(main: &Path, loaded: &Loaded, key: Option<&KeySource>, now: Time) -> Check {
    Check::new(
        main.display().to_string(),
        &loaded.report,
        loaded.inventory.as_ref(),
        key,
        &Facts::gather(main, loaded.inventory.as_ref()),
        now,
    )
}

/// Tells which proxies requests go through by the environment of this shell and the inventory. A daemon has an environment
/// of its own, which `patrold status` knows.
fn print_proxies(inventory: &Inventory, console: &mut Console) -> Result<(), Complaint> {
    for policy in inventory.accounts.values() {
        let endpoint = &policy.endpoint;
        match Proxy::choose(&endpoint.proxy, &endpoint.url, |name| std::env::var(name).ok()) {
            Ok(None) => {}
            Ok(Some(proxy)) => {
                console.note(format_args!("account {}: requests go through the proxy {proxy}", policy.name))?;
            }
            Err(error) => console.note(format_args!("account {}: nothing can be sent: {error}", policy.name))?,
        }
    }
    Ok(())
}

/// Tells where the trust roots of accounts cannot be used by the environment of this shell. What `ca-file` names is part of
/// the inventory, and checked with it.
fn print_roots(inventory: &Inventory, console: &mut Console) -> Result<(), Complaint> {
    let mut policies = inventory.accounts.values().filter_map(|account| account.endpoint.tls());
    if !policies.any(|policy| policy.ca_file.is_none() || policy.system_roots) {
        return Ok(());
    }
    match TrustRoots::read(&TlsPolicy::default()) {
        Ok(_) => Ok(()),
        Err(error) => console.warn(format_args!("nothing can be sent by TLS: {error}; {}", error.remedy)),
    }
}

fn print(loaded: &Loaded, check: &Check, now: Time, console: &mut Console) -> Result<(), Complaint> {
    if let Some(inventory) = &loaded.inventory {
        print_proxies(inventory, console)?;
        print_roots(inventory, console)?;
    }
    let paint = console.err_paint;
    let advice = check.render_advice(paint, console.width(false));
    write!(console.err, "{}{advice}", render_report(&loaded.report, paint))?;
    let text = check.render(console.out_paint, now);
    console.out.write_all(text.as_bytes())?;
    // Standard error is not buffered: what belongs together would be torn apart on a terminal.
    Ok(console.out.flush()?)
}

/// `paths`, with directories replaced by the `*.toml` files in them, in alphabetical order.
fn main_files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Complaint> {
    let mut mains = Vec::new();
    for path in paths {
        if !path.is_dir() {
            mains.push(path.clone());
            continue;
        }
        let failed = |error: std::io::Error| Complaint::invalid(format!("cannot read {}: {error}", path.display()));
        let before = mains.len();
        for entry in std::fs::read_dir(path).map_err(failed)? {
            let file = entry.map_err(failed)?.path();
            let hidden = file.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
            if !hidden && file.extension().is_some_and(|extension| extension == "toml") && file.is_file() {
                mains.push(file);
            }
        }
        if mains.len() == before {
            return Err(Complaint::invalid(format!("there is no *.toml file in {}", path.display())));
        }
        mains[before..].sort();
    }
    Ok(mains)
}
