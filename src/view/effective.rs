//! The inventory as it is meant: every key with its value, and where the value comes from.

mod endpoint;
mod template;
mod token;
mod value;

use std::io::{self, Write};

use serde::Serialize;
use serde_json::{Value, json};

use self::endpoint::{account, channel};
use self::token::token;
use self::value::{path, source, std_span, toml};
use crate::inventory::origin::{Origins, Part};
use crate::inventory::{DaemonSettings, Inventory, ListenAuth, LogFormat};
use crate::text::Paint;

/// Every part of an inventory. Part of `config show --json`: names are stable.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Effective {
    pub parts: Vec<Section>,
}

/// One table.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Section {
    /// As its header spells it, without brackets.
    pub table: String,
    pub keys: Vec<Entry>,
}

/// One key.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Entry {
    pub key: &'static str,
    pub value: Value,
    /// The place in a file, or `default`, or whose default it is.
    pub from: String,
}

/// Comments of longer lines follow directly.
const COLUMN: usize = 60;

impl Effective {
    /// Everything that `inventory` says, which was written where `origins` tell.
    pub fn new(inventory: &Inventory, origins: &Origins) -> Self {
        let mut parts = vec![daemon(&inventory.daemon, origins)];
        parts.extend(inventory.accounts.values().map(|policy| account(policy, origins)));
        parts.extend(inventory.tokens.values().map(|policy| token(policy, origins)));
        parts.extend(template::templates(inventory, origins));
        parts.extend(inventory.channels.values().map(|policy| channel(policy, origins)));
        Self { parts }
    }

    /// Writes it as TOML that means the same, with the origins as comments.
    pub fn write(&self, paint: Paint, out: &mut impl Write) -> io::Result<()> {
        for (number, part) in self.parts.iter().enumerate() {
            let gap = if number > 0 { "\n" } else { "" };
            writeln!(out, "{gap}{}", paint.bold(&format!("[{}]", part.table)))?;
            for entry in &part.keys {
                let line = format!("{} = {}", entry.key, toml(&entry.value));
                let from = format!("# {}", entry.from);
                writeln!(out, "{line:<COLUMN$}  {}", paint.dim(&from))?;
            }
        }
        Ok(())
    }
}

/// Collects the keys of one table.
struct Keys<'o> {
    origins: &'o Origins,
    part: Part,
    name: String,
    #[expect(clippy::struct_field_names, reason = "they are the keys")]
    keys: Vec<Entry>,
}

impl<'o> Keys<'o> {
    fn new(origins: &'o Origins, part: Part, name: &str) -> Self {
        Self { origins, part, name: name.to_owned(), keys: Vec::new() }
    }

    /// A value that stands under one of `spellings`, the first of which is its key; else it is what `otherwise` says.
    fn add(&mut self, spellings: &[&'static str], value: Option<Value>, otherwise: &str) {
        let (Some(value), Some(key)) = (value, spellings.first().copied()) else { return };
        let shared = || {
            let policy = self.part == Part::Token;
            policy.then(|| self.origins.place(Part::Defaults, "", &[key])).flatten()
        };
        let own = self.origins.place(self.part, &self.name, spellings);
        let from = own.or_else(shared).unwrap_or(otherwise).to_owned();
        self.keys.push(Entry { key, value, from });
    }

    fn plain(&mut self, key: &'static str, value: impl Into<Option<Value>>) {
        self.add(&[key], value.into(), "default");
    }

    fn section(self, table: String) -> Section {
        Section { table, keys: self.keys }
    }
}

fn daemon(settings: &DaemonSettings, origins: &Origins) -> Section {
    let mut keys = Keys::new(origins, Part::Daemon, "");
    keys.plain("state-dir", path(&settings.state_dir));
    keys.plain("control", path(&settings.control));
    if let Some(listen) = &settings.listen {
        keys.plain("listen", json!(listen.address.to_string()));
        keys.plain("listen-tls", listen.tls.as_ref().map(|tls| json!({ "cert": tls.cert, "key": source(&tls.key) })));
        keys.plain(
            "listen-auth",
            listen.auth.as_ref().map(|auth| match auth {
                ListenAuth::Bearer(bearer) => json!({ "bearer": source(bearer) }),
                ListenAuth::Basic { username, password } => {
                    json!({ "username": username, "password": source(password) })
                }
            }),
        );
    }
    keys.plain("log-level", json!(settings.log_level));
    let format = match settings.log_format {
        LogFormat::Auto => "auto",
        LogFormat::Pretty => "pretty",
        LogFormat::Json => "json",
    };
    keys.plain("log-format", json!(format));
    keys.plain("seal-key", settings.seal_key.as_ref().map(source));
    keys.plain("providers", settings.providers.as_deref().map(path));
    keys.plain("drain-timeout", std_span(settings.drain_timeout));
    keys.section("daemon".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::{AccountPolicy, Environment, TokenPolicy, load, load_text};

    fn at() -> crate::clock::Time {
        "2026-11-21T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn what_is_shown_means_the_same_as_what_was_written() {
        let environment = Environment { state_dir: Some("/var/lib/patrold".into()), ..Environment::default() };
        for file in ["short-forms", "every-form", "listen", "channels"] {
            let path = std::path::PathBuf::from(format!("tests/data/inventories/valid/{file}.toml"));
            let loaded = load(&path, &environment, at());
            let inventory = loaded.inventory.unwrap_or_else(|| panic!("{file}: {}", loaded.report.render()));
            let mut shown = Vec::new();
            let effective = Effective::new(&inventory, &Origins::of(&loaded.report));
            effective.write(Paint::Plain, &mut shown).unwrap();
            let shown = String::from_utf8(shown).unwrap();
            let again = load_text(&path, &shown, &environment, at());
            let again = again.inventory.unwrap_or_else(|| panic!("{file}: {}\n{shown}", again.report.render()));
            // What an account adds to its definition is not shown.
            let whole = |account: &AccountPolicy| account.name.as_str() != "gps" || file != "every-form";
            for (name, account) in inventory.accounts.iter().filter(|(_, account)| whole(account)) {
                assert_eq!(&again.accounts[name], account, "{file}\n{shown}");
            }
            assert_eq!(again.channels, inventory.channels, "{file}\n{shown}");
            for (name, token) in inventory.tokens.iter().filter(|(_, token)| whole(&token.account)) {
                // Once it is written down it is no default any more.
                let token = TokenPolicy { grace_by_default: false, ..token.as_ref().clone() };
                assert_eq!(*again.tokens[name], token, "{file}\n{shown}");
            }
        }
    }

    #[test]
    fn each_value_says_where_it_comes_from() {
        const TEXT: &str = "[defaults]\ngrace = \"2h\"\n[account.a]\nprovider = \"awx\"\nurl = \"https://a.example.com\"\n\
                            username = \"x\"\nparams = { user_id = 7 }\n[token.t]\naccount = \"a\"\nenv = \"t.env:T\"\n";
        let environment = Environment { state_dir: Some("/s".into()), ..Environment::default() };
        let loaded = load_text(std::path::Path::new("/i/patrold.toml"), TEXT, &environment, at());
        let inventory = loaded.inventory.unwrap_or_else(|| panic!("{}", loaded.report.render()));
        let effective = Effective::new(&inventory, &Origins::of(&loaded.report));
        let from = |table: &str, key: &str| {
            let part = effective.parts.iter().find(|part| part.table == table).unwrap();
            part.keys.iter().find(|entry| entry.key == key).unwrap().from.clone()
        };
        for (table, key, expected) in [
            ("token.t", "grace", "/i/patrold.toml:2:1"),
            ("token.t", "account", "/i/patrold.toml:9:1"),
            ("token.t", "stores", "/i/patrold.toml:10:1"),
            ("token.t", "rotate-every", "definition awx"),
            ("token.t", "jitter", "default"),
            ("token.t", "params", "its account"),
            ("account.a", "credential", "/i/patrold.toml:6:1"),
            ("account.a", "settle", "definition"),
            ("daemon", "state-dir", "default"),
        ] {
            assert_eq!(from(table, key), expected, "{table} {key}");
        }
    }
}
