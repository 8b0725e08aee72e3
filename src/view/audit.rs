//! An audit as a table.

use std::io::{self, Write};

use crate::clock::Time;
use crate::names::AccountName;
use crate::provider::Expiry;
use crate::report::audit::{AccountAudit, Audit, Finding, Reaped, Standing};
use crate::text::{Paint, words};

use super::status::write_trouble;
use super::table::{Table, Tint};

impl Audit {
    /// Writes it for people: what could not be listed, a table of what somebody should look at, and a sum.
    pub fn write(&self, paint: Paint, width: Option<usize>, out: &mut impl Write) -> io::Result<()> {
        for account in &self.accounts {
            if let Some(why) = &account.failure {
                write_trouble(&format!("account {}: {why}", account.account), 0, paint, width, out)?;
            } else if !account.complete {
                let why = "the provider has more tokens than patrold reads: this is not all";
                write_trouble(&format!("account {}: {why}", account.account), 0, paint, width, out)?;
            }
        }
        let mut table = Table::new(&["ACCOUNT", "STATUS", "ID", "NAME", "TOKEN", "EXPIRES", "LAST USED", "NOTE"])
            .without(&["LAST USED", "ID", "EXPIRES"])
            .folding();
        let mut rows = 0;
        for account in &self.accounts {
            for finding in &account.findings {
                rows += 1;
                table.row(finding.tint(), finding.cells(&account.account, self.at));
            }
        }
        if rows > 0 {
            table.write_within(paint, width, out)?;
            writeln!(out)?;
        }
        for account in self.accounts.iter().filter(|account| account.failure.is_none()) {
            let AccountAudit { account: name, listed, managed, .. } = account;
            let orphans = words::count(account.orphans().count(), "orphan");
            let tokens = words::count(*listed, "token");
            writeln!(out, "account {name}: {tokens} listed, {managed} of them in the journal, {orphans}")?;
        }
        Ok(())
    }
}

impl Finding {
    fn tint(&self) -> Tint {
        match (self.standing, &self.reaped) {
            (Standing::Managed, None) if self.left => Tint::Warning,
            (_, Some(Reaped::Revoked)) | (Standing::Managed | Standing::Other, None) => Tint::Dim,
            (Standing::Orphan, None) if self.expired => Tint::Dim,
            (Standing::Orphan, _) | (_, Some(Reaped::NotYet { .. })) => Tint::Error,
            (Standing::Unmanaged, None) => Tint::Plain,
        }
    }

    fn cells(&self, account: &AccountName, now: Time) -> Vec<String> {
        let none = || "-".to_owned();
        let standing = match self.standing {
            Standing::Orphan => "orphan",
            Standing::Other => "other",
            Standing::Unmanaged => "unmanaged",
            Standing::Managed => "managed",
        };
        vec![
            account.to_string(),
            standing.to_owned(),
            self.id.as_ref().map_or_else(none, ToString::to_string),
            self.name.as_deref().map_or_else(none, |name| crate::outcome::one_line(name, 100)),
            self.token.as_ref().map_or_else(none, ToString::to_string),
            match self.expires {
                Expiry::At(at) => words::relative(at.here(), now),
                Expiry::Never => "never".to_owned(),
                Expiry::Unknown => none(),
            },
            self.last_used.map_or_else(none, |at| words::relative(at, now)),
            self.notes(),
        ]
    }

    fn notes(&self) -> String {
        let mut notes = Vec::new();
        match &self.reaped {
            Some(Reaped::Revoked) => notes.push("revoked".to_owned()),
            Some(Reaped::NotYet { why }) => notes.push(format!("not revoked yet: {why}")),
            None => {}
        }
        for (holds, note) in [
            (self.left, "left the inventory: `patrold retire NAME --revoke` ends it"),
            (self.never_expires, "never expires"),
            (self.expired, "has expired and is still listed"),
            (self.expires_soon, "expires soon and is not replaced by patrold"),
        ] {
            notes.extend(holds.then(|| note.to_owned()));
        }
        if notes.is_empty() { "-".to_owned() } else { notes.join("; ") }
    }
}
