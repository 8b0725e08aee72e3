//! `patrold fleet`: several daemons that share one journal.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use clap::{Args, Subcommand};

use crate::clock::{Clock as _, SystemClock};
use crate::daemon::fleet::import::{ImportError, Imported, import};
use crate::daemon::fleet::leave::{LeaveError, Left, leave};
use crate::daemon::fleet::{hosts_status, idle_selectors, status};
use crate::exit::Exit;
use crate::inventory::{FleetSettings, Inventory, StorePolicy, TokenPolicy};
use crate::journal::fleet::keys::Exchange;
use crate::journal::fleet::{EngineError, FleetError, FleetJournal};
use crate::names::{HostName, Label, ReplicaName};
use crate::report::status::{ElsewhereStatus, UnownedStatus};
use crate::text::words;

use super::identity::act_as_owner;
use super::reading::{Journaled, inventory, of_fleet, open_fleet, open_journal, seal_key};
use super::{Complaint, Console, discovery, recovery, runtime};

/// Arguments of `patrold fleet`.
#[derive(Clone, Debug, Args)]
pub struct FleetArgs {
    #[command(subcommand)]
    command: FleetCommand,
}

#[derive(Clone, Debug, Subcommand)]
enum FleetCommand {
    /// Make the fleet in its engine, once
    ///
    /// Notes the fleet's id, which the names of its tokens carry at their providers, and which key seals its secrets.
    /// Replicas join by themselves when they start.
    Init {
        /// Succeed where it exists already, with this seal key
        #[arg(long)]
        if_missing: bool,
    },
    /// Move the journal of this host into the fleet, which is made with it
    ///
    /// For a daemon that was alone, while it is stopped. Its tokens keep their names at their providers, and none is
    /// minted again. The journal in the state directory stays as it is, for its history, and is not opened again.
    Import {
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
    /// Move the journal of the fleet back to this host, for a daemon that is alone
    ///
    /// The reverse of import, while every replica is stopped. Tokens keep their names at their providers, and none is minted
    /// again. Take [fleet] out of the inventory afterwards; what stays in the engine is not taken up again.
    Leave {
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
    /// Show the replicas, what they own, and how the engine is
    ///
    /// Asks the engine itself: no daemon need run on this host.
    Status {
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
    /// Believe what the engine tells, although its data ran back, as after a restored backup
    ///
    /// Replicas notice that and let the accounts be that it concerns, because an older journal may take a token that
    /// consumers hold for one that was left behind, and revoke it. Restore a newer backup if there is one. This says that
    /// there is none; tokens in the middle of a rotation are named first.
    Recover {
        /// The seal key is lost: give up the secrets that it sealed; their tokens are rotated once
        ///
        /// While every replica is stopped, with the new key as `seal-key` in the inventory. Without --yes it tells how many.
        #[arg(long)]
        lost_key: bool,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Exchange the key that seals the fleet's secrets, while it runs
    ///
    /// The new key is `next-seal-key` of [fleet] on every replica first. This brings it into force: owners seal everything
    /// anew. --finish tells what still needs the old key, or that nothing does.
    Rekey {
        /// Tell whether the old key can go
        #[arg(long)]
        finish: bool,
    },
    /// Let a replica hand over everything that it owns, and take nothing more
    ///
    /// Before its host is shut down, or its program replaced. A stop does the same by itself; a drained replica stays so
    /// until --undo, also after a restart.
    Drain {
        /// The replica [default: that of this host]
        #[arg(value_name = "HOST")]
        host: Option<ReplicaName>,
        /// Let it take its share again
        #[arg(long)]
        undo: bool,
    },
    /// Print the key of a host, for the agent there
    ///
    /// Derived from the fleet's seal key: it opens what is sealed for that host, and nothing else. It is the same each time.
    /// A key is made for certain labels, which stand behind it: with another one, an agent cannot say to be more than it is.
    HostKey {
        /// The host, as the inventory names it in `hosts`
        #[arg(value_name = "HOST")]
        host: HostName,
        /// A label of the host, as in `labels` of its agent's file; once for each
        #[arg(long = "label", value_name = "KEY=VALUE")]
        labels: Vec<Label>,
    },
    /// Do not wait for a host until its agent is back
    ///
    /// For a host that is gone. Its stores count as written, so that old tokens are revoked although its consumers have not
    /// got the new ones; when its agent is back, it writes what it missed, and is waited for again. A host that is gone for
    /// good is taken out of the inventory; where labels mean it, this is all: it is none of their hosts until it is back.
    Forget {
        /// The host, as the inventory names it in `hosts`
        #[arg(value_name = "HOST")]
        host: HostName,
    },
}

/// Does what `args` ask for.
pub(super) fn run(args: &FleetArgs, named: Option<&Path>, console: &mut Console) -> Result<Exit, Complaint> {
    let config = discovery::find(named)?;
    let inventory = inventory(&config, SystemClock.now(), console)?;
    let Some(fleet) = inventory.fleet.clone() else {
        return Err(
            Complaint::invalid("the inventory has no [fleet]").with_help("docs/fleet.md shows how one is set up")
        );
    };
    match &args.command {
        FleetCommand::Init { if_missing } => init(&inventory, &fleet, *if_missing, console),
        FleetCommand::Import { json } => take_over(&inventory, &fleet, *json, console),
        FleetCommand::Leave { json } => move_back(&inventory, &fleet, *json, console),
        FleetCommand::Status { json } => show(&inventory, &fleet, *json, console),
        FleetCommand::Recover { lost_key: false, yes } => recovery::believe(&inventory, &fleet, *yes, console),
        FleetCommand::Recover { lost_key: true, yes } => recovery::without_key(&inventory, &fleet, *yes, console),
        FleetCommand::Rekey { finish: false } => rekey(&inventory, &fleet, console),
        FleetCommand::Rekey { finish: true } => finish_rekey(&inventory, &fleet, console),
        FleetCommand::HostKey { host, labels } => {
            host_key(&inventory, &fleet, host, &labels.iter().cloned().collect(), console)
        }
        FleetCommand::Forget { host } => forget(&inventory, &fleet, host, console),
        FleetCommand::Drain { host, undo } => drain(&inventory, &fleet, host.as_ref(), *undo, console),
    }
}

fn init(
    inventory: &Inventory,
    fleet: &FleetSettings,
    if_missing: bool,
    console: &mut Console,
) -> Result<Exit, Complaint> {
    let key = seal_key(inventory)?;
    let runtime = runtime()?;
    let made = match runtime.block_on(FleetJournal::found(fleet, &key, None)) {
        Ok(made) => made,
        Err(FleetError::Exists(_)) if if_missing => {
            // Which also tells whether this host has the fleet's key.
            runtime.block_on(open_fleet(inventory, fleet))?;
            console.note(format_args!("fleet {} is there already", fleet.name))?;
            return Ok(Exit::Fine);
        }
        Err(error) => return Err(of_fleet(&error)),
    };
    writeln!(console.out, "fleet {} is made; its tokens are marked with {}", fleet.name, made.instance)?;
    console.note(format_args!("start `patrold run` on each host, with the same seal key and another `host`"))?;
    Ok(Exit::Fine)
}

fn take_over(
    inventory: &Inventory,
    fleet: &FleetSettings,
    json: bool,
    console: &mut Console,
) -> Result<Exit, Complaint> {
    act_as_owner(&inventory.daemon)?;
    // Otherwise a journal would be made where there is none.
    open_journal(&inventory.daemon.state_dir)?;
    let key = seal_key(inventory)?;
    crate::daemon::hardening::apply();
    let moved = runtime()?.block_on(import(inventory, fleet, &key, SystemClock.now()));
    let Imported { tokens, secrets, known, left } = moved.map_err(|error| match error {
        ImportError::Fleet(error) => of_fleet(&error),
        ImportError::Open(error) => error.into(),
        error => Complaint::failed(error.to_string()),
    })?;
    if json {
        let answer = serde_json::json!({ "tokens": tokens, "secrets": secrets, "known": known, "left": left });
        console.json(&answer)?;
    } else {
        let (tokens, secrets) = (words::count(tokens, "token"), words::count(secrets, "secret"));
        writeln!(console.out, "moved into fleet {}: {tokens}, {secrets}", fleet.name)?;
        if known > 0 {
            writeln!(console.out, "there already: {}", words::count(known, "token"))?;
        }
        for line in &left {
            console.warn(line)?;
        }
        console.note("start `patrold run`; the history until now stays in the journal of the state directory")?;
    }
    Ok(if left.is_empty() { Exit::Fine } else { Exit::Partly })
}

fn move_back(
    inventory: &Inventory,
    fleet: &FleetSettings,
    json: bool,
    console: &mut Console,
) -> Result<Exit, Complaint> {
    act_as_owner(&inventory.daemon)?;
    let key = seal_key(inventory)?;
    crate::daemon::hardening::apply();
    let moved = runtime()?.block_on(leave(inventory, fleet, &key, SystemClock.now()));
    let Left { tokens, secrets, behind } = moved.map_err(|error| match error {
        LeaveError::Fleet(error) => of_fleet(&error),
        LeaveError::Open(error) => error.into(),
        LeaveError::Occupied => Complaint::failed(error.to_string()).with_help("name another `state-dir` in [daemon]"),
        error => Complaint::failed(error.to_string()),
    })?;
    if json {
        console.json(&serde_json::json!({ "tokens": tokens, "secrets": secrets, "behind": behind }))?;
    } else {
        let (tokens, secrets) = (words::count(tokens, "token"), words::count(secrets, "secret"));
        writeln!(console.out, "moved back from fleet {}: {tokens}, {secrets}", fleet.name)?;
        for line in &behind {
            console.warn(line)?;
        }
        console.note("take [fleet] out of the inventory here, and start `patrold run`; let no replica start again")?;
    }
    Ok(if behind.is_empty() { Exit::Fine } else { Exit::Partly })
}

fn show(inventory: &Inventory, fleet: &FleetSettings, json: bool, console: &mut Console) -> Result<Exit, Complaint> {
    let (presence, health, hosts) = runtime()?.block_on(async {
        let journal = open_fleet(inventory, fleet).await?;
        let (presence, hosts) =
            (journal.presence().await.map_err(refused)?.0, journal.hosts().await.map_err(refused)?.0);
        Ok::<_, Complaint>((presence, journal.health().await.map_err(refused)?, hosts))
    })?;
    let mut status = status(&fleet.name, &presence, Some(&health));
    let free = inventory.accounts.keys().filter(|account| !presence.claims.contains_key(*account));
    // Since when, only replicas know.
    status.unowned = free.map(|account| UnownedStatus { account: account.clone(), for_seconds: 0 }).collect();
    let token = |policy: &Arc<TokenPolicy>| ElsewhereStatus {
        token: policy.name.clone(),
        account: policy.account.name.clone(),
        owner: presence.claims.get(&policy.account.name).map(|claim| claim.replica.clone()),
    };
    status.elsewhere = inventory.tokens.values().map(token).collect();
    // Of a fleet without any, the journal is not read.
    let there = Arc::new(inventory.clone()).on_hosts(&hosts.known());
    let has_hosts = there.tokens.values().flat_map(|token| &token.stores).any(|store| store.host().is_some());
    let journaled = if has_hosts { Journaled::read(inventory)? } else { Journaled::default() };
    status.idle_selectors = idle_selectors(&there, &hosts);
    let tokens = there.tokens.values().map(|policy| (&**policy, journaled.states.get(&policy.name)));
    status.hosts = hosts_status(&hosts, tokens);
    if json {
        console.json(&status)?;
    } else {
        let width = console.width(false);
        status.write(SystemClock.now(), console.out_paint, width, &mut console.out)?;
        for unowned in &status.unowned {
            writeln!(console.out, "! nobody owns account {}", unowned.account)?;
        }
    }
    Ok(if status.unowned.is_empty() { Exit::Fine } else { Exit::Partly })
}

fn drain(
    inventory: &Inventory,
    fleet: &FleetSettings,
    host: Option<&ReplicaName>,
    undo: bool,
    console: &mut Console,
) -> Result<Exit, Complaint> {
    let host = host.unwrap_or(&fleet.host);
    runtime()?.block_on(async {
        let journal = open_fleet(inventory, fleet).await?;
        journal.drain(host, !undo).await.map_err(refused)
    })?;
    if undo {
        writeln!(console.out, "{host} takes its share again")?;
    } else {
        writeln!(console.out, "{host} hands over what it owns; `patrold fleet status` shows how far it is")?;
    }
    Ok(Exit::Fine)
}

fn rekey(inventory: &Inventory, fleet: &FleetSettings, console: &mut Console) -> Result<Exit, Complaint> {
    let new = runtime()?.block_on(async {
        let journal = open_fleet(inventory, fleet).await?;
        let new = journal.key_ids().into_iter().nth(1).ok_or_else(|| {
            Complaint::invalid("there is no other key than the one in force").with_help(
                "name the new one on every replica: next-seal-key = { file = \"/etc/patrold/seal-2.key\" } in [fleet]",
            )
        })?;
        let (presence, _) = journal.presence().await.map_err(refused)?;
        let without = presence.members.iter().filter(|(_, member)| !member.keys.contains(&new)).map(|(name, _)| name);
        let without: Vec<_> = without.collect();
        if !without.is_empty() {
            let who = words::some(&without, 5);
            return Err(Complaint::failed(format!(
                "these replicas do not have the key {new}: {who}; nothing was changed"
            ))
            .with_help("name it in `next-seal-key` of their [fleet], and start them again, one after the other"));
        }
        journal.bring_into_force(&new).await.map_err(|failure| Complaint::failed(failure.to_string()))?;
        Ok::<_, Complaint>(new)
    })?;
    writeln!(console.out, "the key {new} seals from now on; owners seal what there is anew")?;
    console.note("`patrold fleet rekey --finish` tells when the old key can go")?;
    Ok(Exit::Fine)
}

fn finish_rekey(inventory: &Inventory, fleet: &FleetSettings, console: &mut Console) -> Result<Exit, Complaint> {
    let exchange = runtime()?.block_on(async {
        let journal = open_fleet(inventory, fleet).await?;
        let exchange = journal.exchange().await.map_err(refused)?;
        if exchange == Exchange::default() {
            journal.end_exchange().await.map_err(refused)?;
        }
        Ok::<_, Complaint>(exchange)
    })?;
    if !exchange.secrets.is_empty() {
        let accounts = words::some(&exchange.secrets, 5);
        console.warn(format_args!("secrets of these accounts are still sealed with another key: {accounts}"))?;
    }
    if !exchange.hosts.is_empty() {
        let hosts = words::some(&exchange.hosts, 5);
        console
            .warn(format_args!("these hosts have keys that came of another one (`patrold fleet host-key`): {hosts}"))?;
    }
    if exchange != Exchange::default() {
        return Ok(Exit::Partly);
    }
    writeln!(
        console.out,
        "nothing needs the old key any more: make the new one `seal-key`, and take `next-seal-key` out"
    )?;
    Ok(Exit::Fine)
}

fn host_key(
    inventory: &Inventory,
    fleet: &FleetSettings,
    host: &HostName,
    labels: &BTreeSet<Label>,
    console: &mut Console,
) -> Result<Exit, Complaint> {
    let journal = runtime()?.block_on(open_fleet(inventory, fleet))?;
    let key = journal.host_key(host, labels);
    let words = labels.iter().map(Label::as_str);
    let line: Vec<&str> = std::iter::once(key.expose()).chain(words).collect();
    writeln!(console.out, "{}", line.join(" "))?;
    Ok(Exit::Fine)
}

fn forget(
    inventory: &Inventory,
    fleet: &FleetSettings,
    host: &HostName,
    console: &mut Console,
) -> Result<Exit, Complaint> {
    let lives = runtime()?.block_on(async {
        let journal = open_fleet(inventory, fleet).await?;
        let lives = journal.hosts().await.map_err(refused)?.0.agents.contains_key(host);
        if !lives {
            journal.forget_host(host).await.map_err(refused)?;
        }
        Ok::<_, Complaint>(lives)
    })?;
    if lives {
        return Err(Complaint::failed(format!("the agent of {host} lives; it is waited for")));
    }
    let named = |token: &TokenPolicy| {
        let stores = token.stores.iter().filter_map(StorePolicy::host);
        token.selected.is_some()
            || stores.chain(token.hooks.iter().filter_map(|hook| hook.host.as_ref())).any(|it| it == host)
    };
    if !inventory.tokens.values().any(|token| named(token)) {
        console.warn(format_args!("nothing of the inventory is on {host}"))?;
    }
    writeln!(console.out, "nobody waits for {host} until its agent is back")?;
    Ok(Exit::Fine)
}

fn refused(error: EngineError) -> Complaint {
    Complaint::failed(error.failure().to_string())
}
