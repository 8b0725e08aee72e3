//! A fleet on the status page: its replicas, the hosts of consumers, and who looks after which account.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::clock::Time;
use crate::report::status::FleetStatus;
use crate::text::words;
use crate::view::html::escape;

use super::OTHERS;
use super::frame::Grid;

/// Writes what is known of `fleet`. What is the matter with it stands elsewhere on the page.
pub(super) fn write(out: &mut String, fleet: &FleetStatus, now: Time) {
    // Writing to a String cannot fail.
    let _ = write!(out, "<h2>Fleet</h2><p>{}</p>", escape(&fleet.sentence()));
    let mut replicas = Grid::new("Replicas", &["Replica", "Accounts", "State", "Version", "Up"]);
    for replica in fleet.replicas.iter().take(OTHERS) {
        let up = words::span(now - replica.started);
        let cells = [&replica.accounts.to_string(), replica.state(), &replica.version, &up];
        replicas.row(escape(replica.name.as_str()), &cells);
    }
    replicas.write(out, fleet.replicas.len().saturating_sub(OTHERS), "replica");
    if !fleet.hosts.is_empty() {
        let mut hosts = Grid::new("Hosts of consumers", &["Host", "Agent", "Seen", "Owes", "Labels"]);
        for host in fleet.hosts.iter().take(OTHERS) {
            let owes = if host.owes.is_empty() { "nothing".to_owned() } else { words::some(&host.owes, 5) };
            let cells = [host.agent(), &host.seen_words(now), &owes, &words::some(&host.labels, 5)];
            hosts.row(escape(host.name.as_str()), &cells);
        }
        hosts.write(out, fleet.hosts.len().saturating_sub(OTHERS), "host");
    }
    let mut accounts: BTreeMap<_, (Option<_>, usize)> = BTreeMap::new();
    for elsewhere in &fleet.elsewhere {
        let (owner, tokens) = accounts.entry(&elsewhere.account).or_default();
        (*owner, *tokens) = (elsewhere.owner.as_ref(), *tokens + 1);
    }
    if accounts.is_empty() {
        return;
    }
    let mut grid = Grid::new("Looked after by others", &["Account", "Replica", "Tokens"]);
    for (account, (owner, tokens)) in accounts.iter().take(OTHERS) {
        let name = escape(account.as_str());
        let owner = owner.map_or("nobody", |owner| owner.as_str());
        grid.row(format!("<a href=\"./?account={name}\">{name}</a>"), &[owner, &tokens.to_string()]);
    }
    grid.write(out, accounts.len().saturating_sub(OTHERS), "account");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_hosts_and_owners_are_shown() {
        let fleet = serde_json::json!({
            "name": "prod", "replica": "r1", "lease-left-ms": 9000, "trouble": null, "engine": null, "unowned": [],
            "replicas": [{ "name": "r1", "version": "1", "started": "2026-03-10T11:00:00Z", "accounts": 2, "behind": false,
                "drained": true }],
            "elsewhere": [{ "token": "gps", "account": "gps", "owner": "r2" }, { "token": "ci", "account": "awx", "owner": null }],
            "hosts": [{ "name": "web-1", "version": null, "seen": "2026-03-10T11:57:00Z", "forgotten": false, "owes": ["gps"],
                "labels": ["role=web"] }],
            "leases-lost": 0, "accounts-taken": 0,
        });
        let fleet: FleetStatus = serde_json::from_value(fleet).unwrap();
        let mut out = String::new();
        write(&mut out, &fleet, "2026-03-10T12:00:00Z".parse().unwrap());
        for told in ["fleet prod: 1 replica", "drained", "web-1", "away", "3m ago", "role=web", "r2", "nobody"] {
            assert!(out.contains(told), "{told} is not in {out}");
        }
    }
}
