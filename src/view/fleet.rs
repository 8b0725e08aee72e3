//! A fleet for people: what its replicas own, and what is the matter.

use std::collections::BTreeMap;
use std::io::{self, Write};

use crate::clock::Time;
use crate::report::status::{ElsewhereStatus, FleetStatus, HostStatus, ReplicaStatus};
use crate::text::{Paint, words};

use super::table::{Table, Tint};

/// The most accounts that are named in one line.
const NAMED: usize = 5;

impl ReplicaStatus {
    /// How it is, in a word.
    pub fn state(&self) -> &'static str {
        match (self.drained, self.behind) {
            (true, _) => "drained",
            (false, true) => "behind",
            (false, false) => "lives",
        }
    }
}

impl HostStatus {
    /// How its agent is, in a word.
    pub fn agent(&self) -> &'static str {
        match (self.forgotten, &self.version) {
            (true, _) => "forgotten",
            (false, Some(_)) => "lives",
            (false, None) => "away",
        }
    }

    /// When its agent was last seen, in words.
    pub fn seen_words(&self, now: Time) -> String {
        match (&self.version, self.seen) {
            (Some(_), _) => "now".to_owned(),
            (None, None) => "never".to_owned(),
            (None, Some(seen)) => words::relative(seen.min(now), now),
        }
    }
}

impl FleetStatus {
    /// One line: the fleet, and the share of the replica that tells it.
    pub fn sentence(&self) -> String {
        let owned: usize = self.replicas.iter().map(|replica| replica.accounts).sum();
        let all = owned + self.unowned.len();
        let me = self.replicas.iter().find(|replica| Some(&replica.name) == self.replica.as_ref());
        let share = match (&self.replica, me) {
            (Some(name), Some(me)) => format!(", {name} owns {} of {}", me.accounts, words::count(all, "account")),
            (Some(name), None) => format!(", {name} takes no part"),
            (None, _) => format!(", {} owned", words::count(owned, "account")),
        };
        format!("fleet {}: {}{share}", self.name, words::count(self.replicas.len(), "replica"))
    }

    /// What somebody should look at, a line each.
    pub fn troubles(&self) -> Vec<String> {
        let mut troubles = Vec::new();
        troubles.extend(self.trouble.as_ref().map(|why| format!("this replica takes no part in the fleet: {why}")));
        let unread = self.unread.as_ref();
        troubles.extend(unread.map(|why| format!("what other replicas look after cannot be read: {why}")));
        if let Some(engine) = &self.engine {
            if !engine.has_leader {
                troubles.push("the engine has no leader: nothing is begun until it has".to_owned());
            }
            if !engine.alarms.is_empty() {
                troubles.push(format!("the engine has raised {}", engine.alarms.join(", ")));
            }
            troubles.extend(engine.risks.iter().cloned());
        }
        // What changes hands is nobody's for moments.
        let unowned: Vec<_> = self.unowned.iter().filter(|it| it.for_seconds > 30).map(|it| &it.account).collect();
        if !unowned.is_empty() {
            let what = words::count(unowned.len(), "account");
            troubles.push(format!("{what} without an owner: {}", words::some(&unowned, NAMED)));
        }
        let behind: Vec<_> = self.replicas.iter().filter(|replica| replica.behind).map(|it| &it.name).collect();
        if !behind.is_empty() {
            troubles.push(format!("behind, with an older inventory than others: {}", words::some(&behind, NAMED)));
        }
        let away = self.hosts.iter().filter(|host| host.version.is_none() && !host.forgotten);
        let away: Vec<_> = away.map(|host| &host.name).collect();
        if !away.is_empty() {
            let what = words::count(away.len(), "host");
            troubles.push(format!("{what} whose agent is away: {}", words::some(&away, NAMED)));
        }
        let unproven: Vec<_> = self.hosts.iter().filter(|host| host.unproven).map(|host| &host.name).collect();
        if !unproven.is_empty() {
            let hosts = words::some(&unproven, NAMED);
            troubles.push(format!("says labels that its key was not made for, and has none here: {hosts}"));
        }
        let outdated: Vec<_> = self.hosts.iter().filter(|host| host.outdated).map(|host| &host.name).collect();
        if !outdated.is_empty() {
            let hosts = words::some(&outdated, NAMED);
            troubles.push(format!("with a key that came of the old seal key (`patrold fleet host-key`): {hosts}"));
        }
        troubles.extend(self.idle_selectors.iter().cloned());
        troubles
    }

    /// Writes the fleet, what is the matter, and a table of its replicas.
    pub fn write(&self, now: Time, paint: Paint, width: Option<usize>, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "{}", self.sentence())?;
        if let Some(engine) = &self.engine {
            let size = engine.size_bytes / 1024;
            writeln!(out, "engine: {} {}, {size} KiB", engine.kind, engine.version)?;
        }
        for trouble in self.troubles() {
            writeln!(out, "{} {trouble}", paint.yellow("!"))?;
        }
        writeln!(out)?;
        let mut table = Table::new(&["REPLICA", "ACCOUNTS", "STATE", "VERSION", "UP"]);
        for replica in &self.replicas {
            let state = replica.state();
            let tint = if state == "lives" { Tint::Plain } else { Tint::Warning };
            table.row(
                tint,
                vec![
                    replica.name.to_string(),
                    replica.accounts.to_string(),
                    state.to_owned(),
                    replica.version.clone(),
                    words::span(now - replica.started),
                ],
            );
        }
        table.write_within(paint, width, out)?;
        self.write_hosts(now, paint, width, out)?;
        self.write_accounts(paint, width, out)
    }

    /// Writes a table of the hosts of consumers.
    fn write_hosts(&self, now: Time, paint: Paint, width: Option<usize>, out: &mut impl Write) -> io::Result<()> {
        if self.hosts.is_empty() {
            return Ok(());
        }
        writeln!(out)?;
        // A fleet that uses none is not shown an empty column.
        let labelled = self.hosts.iter().any(|host| !host.labels.is_empty());
        let head = ["HOST", "AGENT", "SEEN", "OWES", "LABELS"];
        let mut table = Table::new(&head[..head.len() - usize::from(!labelled)]);
        for host in &self.hosts {
            let (agent, seen) = (host.agent(), host.seen_words(now));
            let tint = if agent == "lives" && host.owes.is_empty() { Tint::Plain } else { Tint::Warning };
            let owes = if host.owes.is_empty() { "nothing".to_owned() } else { words::some(&host.owes, NAMED) };
            let mut cells = vec![host.name.to_string(), agent.to_owned(), seen, owes];
            cells.extend(labelled.then(|| words::some(&host.labels, NAMED)));
            table.row(tint, cells);
        }
        table.write_within(paint, width, out)
    }

    /// Writes a table of the accounts that replicas look after, as far as they have tokens.
    fn write_accounts(&self, paint: Paint, width: Option<usize>, out: &mut impl Write) -> io::Result<()> {
        let mut accounts: BTreeMap<_, (Option<_>, usize)> = BTreeMap::new();
        for ElsewhereStatus { account, owner, .. } in &self.elsewhere {
            let (of, tokens) = accounts.entry(account).or_default();
            (*of, *tokens) = (owner.as_ref(), *tokens + 1);
        }
        if accounts.is_empty() {
            return Ok(());
        }
        writeln!(out)?;
        let mut table = Table::new(&["ACCOUNT", "REPLICA", "TOKENS"]);
        for (account, (owner, tokens)) in accounts {
            let tint = if owner.is_some() { Tint::Plain } else { Tint::Warning };
            let owner = owner.map_or_else(|| "nobody".to_owned(), ToString::to_string);
            table.row(tint, vec![account.to_string(), owner, tokens.to_string()]);
        }
        table.write_within(paint, width, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::status::{EngineStatus, UnownedStatus};

    fn replica(name: &str, accounts: usize, behind: bool) -> ReplicaStatus {
        let started = Time::UNIX_EPOCH;
        ReplicaStatus { name: name.parse().unwrap(), version: "1".into(), started, accounts, behind, drained: false }
    }

    fn fleet() -> FleetStatus {
        FleetStatus {
            replica: Some("web-1".parse().unwrap()),
            lease_left_ms: Some(9000),
            replicas: vec![replica("web-1", 2, false), replica("web-2", 3, false)],
            accounts_taken: 2,
            ..FleetStatus::named("prod".parse().unwrap())
        }
    }

    #[test]
    fn one_line_says_whose_what_is() {
        assert_eq!(fleet().sentence(), "fleet prod: 2 replicas, web-1 owns 2 of 5 accounts");
        let alone = FleetStatus { replicas: Vec::new(), ..fleet() };
        assert_eq!(alone.sentence(), "fleet prod: 0 replicas, web-1 takes no part");
    }

    #[test]
    fn what_is_the_matter_is_told() {
        assert_eq!(fleet().troubles(), Vec::<String>::new());
        let unowned = |for_seconds| vec![UnownedStatus { account: "gps".parse().unwrap(), for_seconds }];
        let engine = EngineStatus {
            kind: crate::inventory::EngineKind::Etcd,
            version: "3.4".into(),
            size_bytes: 0,
            has_leader: false,
            alarms: vec!["NOSPACE".into()],
            risks: vec![],
        };
        for (troubles, fleet) in [
            (0, FleetStatus { unowned: unowned(30), ..fleet() }),
            (1, FleetStatus { unowned: unowned(31), ..fleet() }),
            (2, FleetStatus { engine: Some(engine), ..fleet() }),
            (1, FleetStatus { replicas: vec![replica("a", 0, true)], ..fleet() }),
            (1, FleetStatus { trouble: Some("the name is taken".into()), ..fleet() }),
        ] {
            assert_eq!(fleet.troubles().len(), troubles, "{:?}", fleet.troubles());
        }
    }

    #[test]
    fn replicas_are_listed() {
        let mut out = Vec::new();
        let of = |token: &str, account: &str, owner: Option<&str>| ElsewhereStatus {
            token: token.parse().unwrap(),
            account: account.parse().unwrap(),
            owner: owner.map(|owner| owner.parse().unwrap()),
        };
        let elsewhere = vec![of("a", "gps", Some("web-2")), of("b", "gps", Some("web-2")), of("c", "awx", None)];
        let host = |name: &str, version: Option<&str>, owes: &[&str]| HostStatus {
            name: name.parse().unwrap(),
            version: version.map(str::to_owned),
            labels: Vec::new(),
            unproven: false,
            outdated: false,
            seen: Some(Time::UNIX_EPOCH - crate::clock::Span::minutes(3)),
            forgotten: false,
            owes: owes.iter().map(|token| token.parse().unwrap()).collect(),
        };
        let hosts = vec![host("app-1", Some("1"), &[]), host("app-2", None, &["b"])];
        let fleet = FleetStatus { elsewhere, hosts, ..fleet() };
        fleet.write(Time::UNIX_EPOCH, Paint::Plain, None, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("! 1 host whose agent is away: app-2"), "{text}");
        assert!(text.contains("app-1  lives  now     nothing\napp-2  away   3m ago  b\n"), "{text}");
        assert!(text.contains("web-1    2"), "{text}");
        assert!(text.ends_with("ACCOUNT  REPLICA  TOKENS\nawx      nobody   1\ngps      web-2    2\n"), "{text}");
    }
}
