//! A [`Status`] for people: one line for each token, or all of one token.

use std::collections::BTreeSet;
use std::io::{self, Write};

use crate::clock::Time;
use crate::names::{ReplicaName, TokenName};
use crate::provider::Expiry;
use crate::report::outlook::{NextAction, Outlook};
use crate::report::status::{
    AccountStatus, Cause, Condition, ElsewhereStatus, FleetStatus, GenerationStatus, OrphanKind, OwedKind, Status,
    TokenStatus,
};
use crate::rotation::Phase;
use crate::rotation::reason::Reason;
use crate::text::{Paint, words};

use super::table::{Table, Tint};

/// So many troubles of tokens are told; the table has them all.
const TOLD: usize = 10;

/// So many tokens with the same trouble are named.
const NAMED: usize = 5;

impl Status {
    /// Writes what is the matter, and a table of the tokens.
    pub fn write(&self, paint: Paint, out: &mut impl Write) -> io::Result<()> {
        self.write_within(paint, None, out)
    }

    /// The same, on a terminal with so many columns.
    pub fn write_within(&self, paint: Paint, width: Option<usize>, out: &mut impl Write) -> io::Result<()> {
        if let Some(daemon) = &self.daemon {
            let up = words::span(self.at - daemon.started);
            writeln!(out, "patrold {}, process {}, up {up}: {}", daemon.version, daemon.pid, self.summary())?;
        }
        if let Some(fleet) = &self.fleet {
            writeln!(out, "{}", fleet.sentence())?;
        }
        let troubles = self.troubles();
        for trouble in &troubles {
            write_trouble(trouble, 0, paint, width, out)?;
        }
        if self.daemon.is_some() || !troubles.is_empty() {
            writeln!(out)?;
        }
        let mut header = vec!["TOKEN", "ACCOUNT", "STATE", "GEN", "EXPIRES", "NEXT"];
        if self.fleet.is_some() {
            header.insert(2, "OWNER");
        }
        let mut table = Table::new(&header).without(&["GEN", "ACCOUNT", "EXPIRES"]).folding();
        for token in self.by_urgency() {
            let mut cells = cells(token, self.at);
            if let Some(fleet) = &self.fleet {
                cells.insert(2, owner(fleet, token));
            }
            table.row(tint(token.condition), cells);
            if let Some(error) = last_error(token, self.at) {
                table.note(error);
            }
        }
        // Of what others look after, a replica knows the owner; the journal may have told more.
        let told: BTreeSet<_> = self.tokens.iter().map(|token| &token.name).collect();
        let elsewhere = self.fleet.iter().flat_map(|fleet| &fleet.elsewhere).filter(|it| !told.contains(&it.token));
        for token in elsewhere {
            let (name, account) = (token.token.to_string(), token.account.to_string());
            let mut cells = vec![name, account, name_of(token.owner.as_ref())];
            cells.resize_with(header.len(), || "-".to_owned());
            table.row(Tint::Dim, cells);
        }
        table.write_within(paint, width, out)
    }

    /// The tokens that somebody should look at first, then the others, each in the order of names.
    pub fn by_urgency(&self) -> Vec<&TokenStatus> {
        let mut tokens: Vec<_> = self.tokens.iter().collect();
        tokens.sort_by_key(|token| std::cmp::Reverse(token.condition.urgency()));
        tokens
    }

    /// How many tokens there are in each state, the worst first: `1 down, 4 fine`.
    pub fn summary(&self) -> String {
        let mut conditions = Condition::ALL;
        conditions.sort_by_key(|condition| std::cmp::Reverse(condition.urgency()));
        let count = |condition| self.tokens.iter().filter(|token| token.condition == condition).count();
        let counts = conditions.into_iter().map(|condition| (condition, count(condition)));
        let words: Vec<_> = counts
            .filter(|(_, count)| *count > 0)
            .map(|(condition, count)| format!("{count} {}", condition.word()))
            .collect();
        if words.is_empty() { "no tokens".to_owned() } else { words.join(", ") }
    }

    /// What somebody should look at besides the tokens, a line each.
    pub fn troubles(&self) -> Vec<String> {
        let mut troubles = Vec::new();
        troubles.extend(self.journal.cause().map(|cause| cause.line()));
        troubles.extend(self.journal.unreadable.iter().cloned());
        troubles.extend(self.fleet.iter().flat_map(FleetStatus::troubles));
        let worst = self.by_urgency().into_iter().filter(|token| token.condition.urgency() > 3 && !waits(token));
        troubles.extend(token_troubles(worst));
        if let Some(reload) = self.daemon.as_ref().and_then(|daemon| daemon.reload.as_ref())
            && !reload.answer.applied
        {
            let since = words::relative(reload.at, self.at);
            troubles.push(format!("the inventory on disk is invalid, the one before it stays in use ({since}):"));
            troubles.extend(reload.answer.problems.iter().map(|problem| format!("  {problem}")));
            troubles.extend(reload.advice().map(|advice| format!("  help: {advice}")));
        }
        troubles.extend(self.accounts.iter().flat_map(|account| account_troubles(account, self.at)));
        for channel in &self.channels {
            let Some(failing) = &channel.failing else { continue };
            let since = channel.since.map(|since| format!(" for {}", words::span(self.at - since)));
            let (name, since) = (&channel.name, since.unwrap_or_default());
            troubles.push(format!(
                "channel {name} takes no messages{since}: {}; help: `patrold notify test {name}` tries it again",
                failing.message
            ));
        }
        let left = self.tokens.iter().filter(|token| token.is_left_alive());
        troubles.extend(token_troubles(left));
        let unseen = self.unseen_mints().into_iter();
        troubles.extend(unseen.map(|(name, cause)| format!("token {name}: {}", cause.line())));
        troubles
    }

    /// Writes everything about one token.
    pub fn write_token(
        &self,
        token: &TokenStatus,
        paint: Paint,
        width: Option<usize>,
        out: &mut impl Write,
    ) -> io::Result<()> {
        let name = token.name.to_string();
        writeln!(out, "{}", paint.bold(&name))?;
        let details = details(token, self.at);
        for (key, value) in &details {
            write_detail(key, value, width, out)?;
        }
        if let Some(fleet) = &self.fleet {
            write_detail("owner", &owner(fleet, token), width, out)?;
        }
        let account = self.accounts.iter().find(|account| Some(&account.name) == token.account.as_ref());
        if let Some(proxy) = account.and_then(|account| account.proxy.as_ref()) {
            write_detail("proxy", proxy, width, out)?;
        }
        if let Some(Cause { what, advice }) = token.cause() {
            if !details.iter().any(|(_, value)| value.contains(&what)) {
                write_detail("cause", &what, width, out)?;
            }
            if let Some(advice) = advice {
                write_detail("help", &advice, width, out)?;
            }
        }
        for trouble in account.into_iter().flat_map(|account| account_troubles(account, self.at)) {
            write_trouble(&trouble, 2, paint, width, out)?;
        }
        for (_, cause) in self.unseen_mints().into_iter().filter(|(name, _)| **name == token.name) {
            write_trouble(&cause.line(), 2, paint, width, out)?;
        }
        if let Some(cause) = self.journal.cause() {
            write_trouble(&cause.line(), 2, paint, width, out)?;
        }
        Ok(())
    }
}

fn account_troubles(account: &AccountStatus, now: Time) -> Vec<String> {
    account.causes(now).into_iter().map(|cause| format!("account {} {}", account.name, cause.line())).collect()
}

/// One line of a token's details, continued below its value.
fn write_detail(key: &str, value: &str, width: Option<usize>, out: &mut impl Write) -> io::Result<()> {
    const INDENT: usize = 14;
    for (number, line) in words::wrapped(value, width, INDENT).iter().enumerate() {
        let key = if number == 0 { key } else { "" };
        writeln!(out, "  {key:<12}{line}")?;
    }
    Ok(())
}

/// What somebody should look at, after a mark.
pub(super) fn write_trouble(
    trouble: &str,
    indent: usize,
    paint: Paint,
    width: Option<usize>,
    out: &mut impl Write,
) -> io::Result<()> {
    for (number, line) in words::wrapped(trouble, width, indent + 2).iter().enumerate() {
        let mark = if number == 0 { paint.yellow("!") } else { " ".into() };
        writeln!(out, "{:indent$}{mark} {line}", "")?;
    }
    Ok(())
}

/// Who pauses a token before its first secret knows that there is none.
fn waits(token: &TokenStatus) -> bool {
    token.condition == Condition::Missing && token.paused
}

/// What is the matter with tokens, a line for each cause.
fn token_troubles<'a>(tokens: impl IntoIterator<Item = &'a TokenStatus>) -> Vec<String> {
    let mut causes: Vec<((&str, String), Vec<&TokenName>)> = Vec::new();
    for token in tokens {
        let why = token.cause().map_or_else(|| token.next.why.clone(), |cause| cause.line());
        let cause = (token.condition.word(), why);
        match causes.iter().position(|(known, _)| *known == cause) {
            Some(known) => causes[known].1.push(&token.name),
            None if causes.len() < TOLD => causes.push((cause, vec![&token.name])),
            None => {}
        }
    }
    let line = |((word, why), names): ((&str, String), Vec<&TokenName>)| match &names[..] {
        [name] => format!("token {name} is {word}: {why}"),
        names => format!("tokens {} are {word}: {why}", words::some(names, NAMED)),
    };
    causes.into_iter().map(line).collect()
}

/// Who looks after a token.
fn owner(fleet: &FleetStatus, token: &TokenStatus) -> String {
    let theirs = |it: &&ElsewhereStatus| it.token == token.name || token.account.as_ref() == Some(&it.account);
    match fleet.elsewhere.iter().find(theirs) {
        Some(elsewhere) => name_of(elsewhere.owner.as_ref()),
        None => name_of(fleet.replica.as_ref()),
    }
}

fn name_of(owner: Option<&ReplicaName>) -> String {
    owner.map_or_else(|| "nobody".to_owned(), ToString::to_string)
}

/// The last error of a token, where something is still the matter.
fn last_error(token: &TokenStatus, now: Time) -> Option<String> {
    let error = token.last_error.as_ref()?;
    let times = if token.failures > 1 { format!(" ({} times)", token.failures) } else { String::new() };
    Some(format!("{}{times}: {}", words::relative(error.at, now), crate::outcome::one_line(&error.message, 200)))
}

fn tint(condition: Condition) -> Tint {
    match condition {
        Condition::Fine | Condition::Busy => Tint::Plain,
        Condition::Failing | Condition::Due | Condition::Missing => Tint::Warning,
        Condition::Down => Tint::Error,
        Condition::Left => Tint::Dim,
    }
}

fn cells(token: &TokenStatus, now: Time) -> Vec<String> {
    let none = || "-".to_owned();
    vec![
        token.name.to_string(),
        token.account.as_ref().map_or_else(none, ToString::to_string),
        format!("{} {}", token.condition.glyph(), token.condition.word()),
        token.current.as_ref().map_or_else(none, |current| current.number.to_string()),
        token.current.as_ref().map_or_else(none, |current| expires(current, now)),
        next(&token.next, now),
    ]
}

fn expires(generation: &GenerationStatus, now: Time) -> String {
    match generation.expires {
        Expiry::At(at) => words::relative(at.here(), now),
        Expiry::Never => "never".to_owned(),
        Expiry::Unknown => "unknown".to_owned(),
    }
}

/// The next action in few words: `rotate in 10d 3h`.
fn next(outlook: &Outlook, now: Time) -> String {
    match (outlook.action, outlook.at) {
        (NextAction::Nothing, _) => {
            let code = outlook.hold.as_ref().unwrap_or(&outlook.reason);
            Reason::named(code).map_or_else(|| code.clone(), |reason| reason.label().to_owned())
        }
        (deed, Some(at)) if at <= now => format!("{} now", deed.word()),
        (deed, Some(at)) => format!("{} {}", deed.word(), words::relative(at, now)),
        (deed, None) => deed.word().to_owned(),
    }
}

/// Names and values of the detail view.
pub(super) fn details(token: &TokenStatus, now: Time) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    let when = |at: Time| format!("{} ({})", words::relative(at, now), words::moment(at));
    let paused = if token.paused { ", paused" } else { "" };
    let under_way = match token.phase.as_str() {
        "vacant" | "steady" => String::new(),
        phase => format!(" ({})", Phase::words(phase)),
    };
    lines.push(("state", format!("{}{paused}{under_way}", token.condition.word())));
    if let Some(account) = &token.account {
        let provider = token.provider.as_ref().map(|provider| format!(" ({provider})")).unwrap_or_default();
        lines.push(("account", format!("{account}{provider}")));
    }
    if let Some(current) = &token.current {
        lines.push(("generation", generation(current, now)));
        lines.extend(current.renewable_until.map(|until| ("renewable", format!("until {}", when(until)))));
    }
    lines.extend(token.dead.as_ref().map(|dead| ("dead", format!("{}: {}", when(dead.at), dead.in_full()))));
    lines.extend(token.candidate.as_ref().map(|candidate| ("candidate", generation(candidate, now))));
    if let Some(retiring) = &token.retiring {
        let old = generation(&retiring.generation, now);
        lines.push(("retiring", format!("{old}, not revoked before {}", words::moment(retiring.revoke_at))));
    }
    let at = token.next.at.filter(|_| token.next.action != NextAction::Nothing).map(when);
    let at = at.map(|at| format!(" {at}")).unwrap_or_default();
    lines.push(("next", format!("{}{at}: {}", token.next.action.word(), token.next.why)));
    lines.extend(token.next.deadline.map(|deadline| ("deadline", when(deadline))));
    lines.extend(token.requested.map(|at| ("requested", format!("{}; patrold cancel {}", when(at), token.name))));
    lines.extend(token.last_success.map(|at| ("handed over", when(at))));
    if let Some(error) = &token.last_error {
        lines.push(("last error", format!("{}: {}", when(error.at), error.in_full())));
    }
    if token.failures > 0 {
        let next = token.next_attempt.map(|next| format!(", next attempt {}", when(next))).unwrap_or_default();
        lines.push(("failures", format!("{} in a row{next}", token.failures)));
    }
    for owed in &token.owed {
        let kind = match owed.kind {
            OwedKind::Store => "store",
            OwedKind::Hook => "hook",
        };
        let attempts = words::count(owed.attempts as usize, "attempt");
        let next = words::relative(owed.next, now);
        lines.push(("owed", format!("{kind} {}: {attempts}, next {next}: {}", owed.key, owed.error)));
    }
    for orphan in &token.orphans {
        let what = match orphan.kind {
            OrphanKind::Unrevocable => "cannot be revoked",
            OrphanKind::UnknownMint => "may exist, the answer to its mint was lost",
            OrphanKind::Deferred => "is revoked later",
        };
        let marker = orphan.marker.as_ref().map(ToString::to_string);
        let name = marker.or_else(|| orphan.id.as_ref().map(ToString::to_string)).unwrap_or_default();
        let until =
            orphan.until.map_or_else(|| "expiry unknown".to_owned(), |until| format!("until {}", words::moment(until)));
        let error = orphan.error.as_ref().map(|error| format!("; last attempt: {error}")).unwrap_or_default();
        lines.push(("leftover", format!("{name} {what}; {until}{error}")));
    }
    lines
}

fn generation(generation: &GenerationStatus, now: Time) -> String {
    let mut parts = vec![generation.number.to_string()];
    if generation.revision > 0 {
        parts.push(format!("renewed {}", words::count(generation.revision as usize, "time")));
    }
    parts.push(format!("minted {}", words::relative(generation.minted_at, now)));
    parts.push(match generation.expires {
        Expiry::At(at) => {
            let (at, verb) = (at.here(), if at.here() <= now { "expired" } else { "expires" });
            format!("{verb} {} ({})", words::relative(at, now), words::moment(at))
        }
        Expiry::Never => "never expires".to_owned(),
        Expiry::Unknown => "expiry unknown".to_owned(),
    });
    parts.extend(generation.id.as_ref().map(|id| format!("id {id}")));
    parts.extend(generation.marker.as_ref().map(|marker| format!("marker {marker}")));
    parts.join(", ")
}

#[cfg(test)]
mod tests;
