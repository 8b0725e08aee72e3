//! The answers of accounts and stores to `check --online`, as tables.

use std::io::{self, Write};

use serde::{Deserialize, Serialize};

use crate::names::{AccountName, ProviderName, StoreKey, TokenName};

use super::table::{Table, Tint};
use crate::text::Paint;

/// All of it. Part of `check --json` and of the control protocol: names are stable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Online {
    pub accounts: Vec<AccountResult>,
    pub stores: Vec<StoreResult>,
    /// Programs of hooks that cannot be started.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<HookResult>,
}

/// Whether something works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Working {
    Yes,
    No,
    /// Nobody can tell without changing something.
    Unknown,
}

/// One account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct AccountResult {
    pub account: AccountName,
    pub provider: ProviderName,
    pub url: String,
    /// Its credential is accepted.
    pub works: Working,
    pub evidence: String,
}

/// One store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct StoreResult {
    pub store: StoreKey,
    pub token: TokenName,
    /// It can be written, with the owner and the mode that it is to have.
    pub works: Working,
    /// Why not.
    pub evidence: String,
}

/// The program of a hook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct HookResult {
    pub program: String,
    /// It can be started.
    pub works: Working,
    /// Why not.
    pub evidence: String,
}

impl Online {
    /// How many accounts, stores and hooks do not work.
    pub fn failures(&self) -> usize {
        let accounts = self.accounts.iter().map(|result| result.works);
        let stores = self.stores.iter().map(|result| result.works);
        let hooks = self.hooks.iter().map(|result| result.works);
        accounts.chain(stores).chain(hooks).filter(|works| *works == Working::No).count()
    }

    /// Writes a table of each kind.
    pub fn write(&self, paint: Paint, width: Option<usize>, out: &mut impl Write) -> io::Result<()> {
        if !self.accounts.is_empty() {
            let mut table = Table::new(&["ACCOUNT", "PROVIDER", "ACCEPTED", "HOW CHECKED"]).folding();
            for result in &self.accounts {
                let names = [result.account.as_str(), result.provider.as_str()];
                table.row(tint(result.works), row(names, result.works, &result.evidence));
            }
            writeln!(out)?;
            table.write_within(paint, width, out)?;
        }
        if !self.stores.is_empty() {
            let mut table = Table::new(&["STORE", "TOKEN", "WRITABLE", "HOW CHECKED"]).folding();
            for result in &self.stores {
                let names = [result.store.as_str(), result.token.as_str()];
                table.row(tint(result.works), row(names, result.works, &result.evidence));
            }
            writeln!(out)?;
            table.write_within(paint, width, out)?;
        }
        if !self.hooks.is_empty() {
            let mut table = Table::new(&["HOOK", "STARTS", "HOW CHECKED"]).folding();
            for result in &self.hooks {
                let cells = row([&result.program, ""], result.works, &result.evidence);
                table.row(tint(result.works), cells.into_iter().filter(|cell| !cell.is_empty()).collect());
            }
            writeln!(out)?;
            table.write_within(paint, width, out)?;
        }
        Ok(())
    }
}

fn row(names: [&str; 2], works: Working, evidence: &str) -> Vec<String> {
    let word = match works {
        Working::Yes => "yes",
        Working::No => "no",
        Working::Unknown => "unknown",
    };
    let evidence = if evidence.is_empty() { "-" } else { evidence };
    names.into_iter().chain([word, evidence]).map(str::to_owned).collect()
}

fn tint(works: Working) -> Tint {
    match works {
        Working::Yes => Tint::Plain,
        Working::No => Tint::Error,
        Working::Unknown => Tint::Warning,
    }
}
