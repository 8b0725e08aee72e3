//! `patrold check --online`: has the daemon ask providers and test stores, or does it in this process.

use std::io::IsTerminal as _;
use std::path::Path;

use crate::control::client::Client;
use crate::daemon::checkup::{self, Done};
use crate::inventory::Inventory;
use crate::journal::key::KeySource;
use crate::view::online::Online;

use super::{Complaint, Console, credentials, runtime};

/// Asks every account and tests every store of the inventory at `main`.
///
/// Law: what works is what works for the daemon. A shell has other credentials, another view of the file system and other
/// rights than a service, so that the daemon is asked where one runs on this inventory.
pub(super) fn run(
    inventory: &Inventory,
    main: &Path,
    key: Option<&KeySource>,
    console: &mut Console,
) -> Result<Online, Complaint> {
    if let Some(online) = of_daemon(inventory, main)? {
        console.note("asked the running daemon: this is what works for it")?;
        let unknown: Vec<_> =
            inventory.accounts.keys().filter(|name| !online.accounts.iter().any(|it| it.account == **name)).collect();
        if !unknown.is_empty() {
            let names = crate::text::words::some(&unknown, 5);
            console.warn(format_args!("the daemon does not have {names} yet: `patrold reload` tells why"))?;
        }
        return Ok(online);
    }
    runtime()?.block_on(async {
        let (accounts, lacking) = credentials::accounts(inventory, key, |_| true).await?;
        let lacks = |name: &_| lacking.iter().find(|(lacking, _)| lacking == name).map(|(_, why)| why.to_string());
        let shows = std::io::stderr().is_terminal();
        let mut shown = Ok(());
        let online = checkup::check(inventory, &accounts, lacks, |Done { what, done, all }| {
            // Carriage return and "erase to the end of the line": the next line takes its place.
            let end = if done == all { "\r\u{1b}[K" } else { "\r" };
            if shows && shown.is_ok() {
                shown = console.progress(format_args!("{what}: {done} of {all}{end}"));
            }
        });
        let online = online.await;
        shown.map(|()| online)
    })
}

/// What the daemon of this very inventory says. `None`: none runs, or one that cannot be asked that.
fn of_daemon(inventory: &Inventory, main: &Path) -> Result<Option<Online>, Complaint> {
    let client = Client::new(&inventory.daemon)?;
    let Ok(Some(status)) = client.status() else { return Ok(None) };
    let main = std::path::absolute(main)?;
    let ours = status.daemon.is_some_and(|daemon| daemon.inventory.iter().any(|file| Path::new(file) == main));
    if ours { Ok(client.check()?) } else { Ok(None) }
}
