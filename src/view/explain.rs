//! An explanation as text.

use std::io::{self, Write};

use crate::clock::Time;
use crate::report::explanation::{Explanation, OwnerStatus};
use crate::report::outlook::NextAction;
use crate::report::status::Cause;
use crate::rotation::Phase;
use crate::text::{Paint, words};

use super::status::write_trouble;
use super::table::{Table, Tint};

impl Explanation {
    /// Writes it for people.
    pub fn write(&self, paint: Paint, out: &mut impl Write) -> io::Result<()> {
        self.write_within(paint, None, out)
    }

    /// The same, on a terminal with so many columns.
    pub fn write_within(&self, paint: Paint, width: Option<usize>, out: &mut impl Write) -> io::Result<()> {
        let token = &self.token;
        let when = |at: Time| format!("{} ({})", words::relative(at, self.at), words::moment(at));
        let name = token.name.to_string();
        let account = token.account.as_ref().map(|account| format!(" at account {account}")).unwrap_or_default();
        let provider = token.provider.as_ref().map(|provider| format!(" ({provider})")).unwrap_or_default();
        writeln!(out, "{}{account}{provider}", paint.bold(&name))?;
        let next = match (token.next.action, token.next.at) {
            (NextAction::Nothing, _) => "nothing is done now".to_owned(),
            (deed, Some(at)) if at <= self.at => format!("{} now", deed.word()),
            (deed, Some(at)) => format!("{} {}", deed.word(), when(at)),
            (deed, None) => deed.word().to_owned(),
        };
        write_line("next", &format!("{next}: {}", token.next.why), width, out)?;
        let current = token.current.as_ref().map(|current| format!(", generation {}", current.number));
        let phase = format!("{}{}", Phase::words(&token.phase), current.unwrap_or_default());
        write_line("phase", &phase, width, out)?;
        if let Some(owner) = &self.owner {
            write_line("owner", &owned(owner), width, out)?;
        }
        if let Some(written) = &self.written {
            write_line("written", &format!("at {written}"), width, out)?;
        }
        if let Some(Cause { what, advice }) = token.cause() {
            write_line("state", &format!("{}: {what}", token.condition.word()), width, out)?;
            if let Some(advice) = advice {
                write_line("help", &advice, width, out)?;
            }
        }
        if let Some(window) = &self.window {
            let state = match (window.open, window.changes) {
                (true, Some(at)) => format!("open, closes {}", when(at)),
                (false, Some(at)) => format!("closed, opens {}", when(at)),
                (true, None) => "open".to_owned(),
                (false, None) => "closed, and never opens again".to_owned(),
            };
            writeln!(out, "  window  {state}: {} ({})", window.cron, window.timezone)?;
        }
        if !self.rules.is_empty() {
            writeln!(out)?;
            let none = || "-".to_owned();
            let table = Table::new(&["RULE", "DUE", "AT", "DEADLINE", "DECIDES", "WHY"]);
            let mut table = table.without(&["AT", "DEADLINE"]).folding();
            for rule in &self.rules {
                let tint = match rule.at {
                    None => Tint::Dim,
                    Some(at) if at <= self.at => Tint::Warning,
                    Some(_) => Tint::Plain,
                };
                let mark = if rule.decides { "yes" } else { "-" };
                table.row(
                    tint,
                    vec![
                        rule.label().to_owned(),
                        rule.at.map_or_else(none, |at| words::relative(at, self.at)),
                        rule.at.map_or_else(none, words::moment),
                        rule.deadline.map_or_else(none, words::moment),
                        mark.to_owned(),
                        rule.words.clone(),
                    ],
                );
            }
            table.write_within(paint, width, out)?;
        }
        if !self.evidence.is_empty() {
            writeln!(out)?;
            let table = Table::new(&["EVIDENCE", "SINCE", "SAYS"]);
            let mut table = table.folding();
            for it in &self.evidence {
                let tint = if it.given { Tint::Plain } else { Tint::Warning };
                let since = it.at.map_or_else(|| "-".to_owned(), |at| words::relative(at, self.at));
                table.row(tint, vec![it.source.clone(), since, it.words.clone()]);
            }
            table.write_within(paint, width, out)?;
        }
        writeln!(out)?;
        if self.obstacles.is_empty() {
            writeln!(out, "nothing is in its way")?;
        }
        for obstacle in &self.obstacles {
            let until = obstacle.until.map(|at| format!(" until {}", when(at))).unwrap_or_default();
            write_trouble(&format!("{}{until}: {}", obstacle.label(), obstacle.words), 0, paint, width, out)?;
        }
        Ok(())
    }
}

/// A named line, continued below its text.
fn write_line(name: &str, text: &str, width: Option<usize>, out: &mut impl Write) -> io::Result<()> {
    const INDENT: usize = 10;
    for (number, line) in words::wrapped(text, width, INDENT).iter().enumerate() {
        let name = if number == 0 { name } else { "" };
        writeln!(out, "  {name:<8}{line}")?;
    }
    Ok(())
}

/// Who looks after the token, and who tells this.
fn owned(owner: &OwnerStatus) -> String {
    let by = match (&owner.replica, owner.claim) {
        (Some(replica), Some(claim)) => format!("replica {replica} (claim {claim})"),
        (Some(replica), None) => format!("replica {replica}"),
        (None, _) => "no replica now".to_owned(),
    };
    if owner.journal { format!("{by}; this is what the journal tells") } else { by }
}
