//! The inventory as its files spell it: the shape is right, names mean nothing yet.
//!
//! Every value keeps its place, so that [`resolve`](super::resolve) can complain about it where it was written. Decoding
//! reports whatever is wrong and goes on; a value that could not be understood is absent.

mod account;
mod agent;
pub(super) mod each;
mod fleet;
mod format;
mod hook;
mod listen;
mod notify;
mod policy;
mod reach;
mod short;
mod source;
mod store;
mod template;
mod token;

use std::collections::BTreeSet;

use crate::document::{Found, Located, Reader, Spot};
use crate::names::{AccountName, TokenName};

pub use account::{AccountSpec, RateLimitSpec};
pub use agent::AgentSpec;
pub use fleet::{EngineSpec, FleetSpec, PlaceSpec};
pub use format::FormatSpec;
pub use hook::{HookKindSpec, HookSpec, PaceSpec, RunSpec, SignalSpec};
pub use listen::ListenSpec;
pub use notify::{ChannelSpec, MailSpec, ServerSpec, ViaSpec, WebSpec, WhenSpec};
pub use policy::{PolicySpec, ScheduleSpec, WindowSpec};
pub use reach::{ConnectToSpec, SiteSpec, TlsSpec};
pub use short::{UnitSpec, UnitVerb};
pub use source::CredentialSpec;
pub use store::{CommandSpec, DirectorySpec, FileSpec, OwnerSpec, RemoteSpec, StoreKindSpec, StoreSpec};
pub use template::{FromSpec, TemplateSpec};
pub use token::TokenSpec;

use super::{LogFormat, NewJournal, values};
use crate::secret::SecretSource;

/// All files of an inventory.
#[derive(Debug, Default)]
pub struct Spec<'d> {
    /// One for each file that has it; more than one is a mistake that `resolve` reports.
    pub daemon: Vec<DaemonSpec>,
    /// Likewise.
    pub fleet: Vec<FleetSpec>,
    /// Likewise.
    pub defaults: Vec<Located<PolicySpec>>,
    /// In the order of the files; a name may occur twice.
    pub accounts: Vec<AccountSpec<'d>>,
    /// In the order of the files; a name may occur twice.
    pub tokens: Vec<TokenSpec>,
    /// Likewise.
    pub channels: Vec<ChannelSpec>,
    /// Likewise.
    pub templates: Vec<TemplateSpec>,
    /// Places of tokens that were misunderstood. Of several that were made of one, what is wrong is told of the first.
    broken: BTreeSet<Spot>,
}

/// `[daemon]`.
#[derive(Debug)]
pub struct DaemonSpec {
    pub spot: Spot,
    pub state_dir: Option<Located<String>>,
    pub control: Option<Located<String>>,
    pub listen: ListenSpec,
    pub log_level: Option<Located<String>>,
    pub log_format: Option<Located<LogFormat>>,
    pub seal_key: Option<Located<SecretSource>>,
    pub drain_timeout: Option<Located<std::time::Duration>>,
    pub new_journal: Option<Located<NewJournal>>,
}

/// Parameters with the places of their names and values.
pub type ParamsSpec = Vec<(Located<String>, Located<serde_json::Value>)>;

impl<'d> Spec<'d> {
    /// Adds what one file says. `include` was dealt with when the files were gathered.
    pub fn decode(&mut self, file: Reader<'d>) {
        file.take("include");
        self.daemon.extend(DaemonSpec::decode(&file));
        self.fleet.extend(FleetSpec::decode(&file));
        if let Some(reader) = file.table("defaults", "[defaults]") {
            let spot = file.key_spot("defaults");
            let value = PolicySpec::decode(&reader);
            reader.finish();
            self.defaults.push(Located { value, spot });
        }
        if !wrong_brackets(&file, "account", "a list", "write [account.NAME], once for each account") {
            self.decode_accounts(&file);
        }
        self.decode_tokens(&file);
        self.decode_channels(&file);
        if !wrong_brackets(&file, "template", "a list", "write [template.NAME], once for each file") {
            self.decode_templates(&file);
        }
        file.finish();
    }

    /// `[[token]]` with a `name`, or `[token.NAME]`.
    fn decode_tokens(&mut self, file: &Reader<'d>) {
        let named = file.peek("token").filter(|found| found.kind() == "a table");
        let Some(tokens) = named.and_then(|_| file.table("token", "[token]")) else {
            for reader in file.tables("token", "[[token]]") {
                let name = reader.required_string("name").and_then(|text| token::name(&reader, &text));
                self.add_token(name, reader);
            }
            return;
        };
        // One token, and one bracket too few.
        if tokens.entries().any(|(_, found)| found.kind() != "a table") {
            wrong_brackets(file, "token", "a table", "write [token.NAME] or [[token]], once for each token");
            return;
        }
        for (name, found) in tokens.entries() {
            let what = format!("token \"{}\"", name.value);
            let Some(reader) = Reader::from_value(file.report(), found, what) else { continue };
            let name = token::name(&reader, &name.map(str::to_owned));
            self.add_token(name, reader);
        }
    }

    /// `[[notify]]` with a `name`, or `[notify.NAME]`.
    fn decode_channels(&mut self, file: &Reader<'d>) {
        let named = file.peek("notify").filter(|found| found.kind() == "a table");
        let Some(channels) = named.and_then(|_| file.table("notify", "[notify]")) else {
            for reader in file.tables("notify", "[[notify]]") {
                let name = reader.required_string("name").and_then(|text| notify::name(&reader, &text));
                self.channels.push(ChannelSpec::decode(name, reader));
            }
            return;
        };
        if channels.entries().any(|(_, found)| found.kind() != "a table") {
            wrong_brackets(file, "notify", "a table", "write [notify.NAME] or [[notify]], once for each channel");
            return;
        }
        for (name, found) in channels.entries() {
            let what = format!("channel \"{}\"", name.value);
            let Some(reader) = Reader::from_value(file.report(), found, what) else { continue };
            let name = notify::name(&reader, &name.map(str::to_owned));
            self.channels.push(ChannelSpec::decode(name, reader));
        }
    }

    fn decode_templates(&mut self, file: &Reader<'d>) {
        let Some(templates) = file.table("template", "[template]") else { return };
        for (name, found) in templates.entries() {
            let what = format!("template \"{}\"", name.value);
            let reader = Reader::from_value(file.report(), found, what);
            let name = name.map(str::to_owned);
            self.templates.extend(reader.and_then(|reader| TemplateSpec::decode(name, reader)));
        }
    }

    fn add_token(&mut self, name: Option<Located<TokenName>>, reader: Reader<'d>) {
        if self.broken.contains(&reader.spot()) {
            return;
        }
        let (token, account) = TokenSpec::decode(name, reader);
        self.broken.extend((!token.sound).then_some(token.spot));
        self.tokens.push(token);
        self.accounts.extend(account);
    }

    fn decode_accounts(&mut self, file: &Reader<'d>) {
        let Some(accounts) = file.table("account", "[account]") else { return };
        for (name, found) in accounts.entries() {
            if let Some(name) = account_name(file, &name) {
                let what = format!("account \"{}\"", name.value);
                let reader = Reader::from_value(file.report(), found, what);
                self.accounts.extend(reader.map(|reader| AccountSpec::decode(name, reader)));
            }
        }
    }
}

/// `[token]` and `[[account]]` are what one writes first.
fn wrong_brackets(file: &Reader<'_>, key: &'static str, wrong: &str, remedy: &str) -> bool {
    let found = file.take(key).filter(|found| found.kind() == wrong);
    if let Some(found) = found {
        let message = format!("`{key}` of {} cannot be {}", file.what(), found.kind());
        file.report().error_with_help(found.spot(), message, remedy);
    }
    found.is_some()
}

impl DaemonSpec {
    /// Takes the table of `file`, where it has one.
    pub fn decode(file: &Reader<'_>) -> Option<Self> {
        const FORMATS: [(&str, LogFormat); 3] =
            [("auto", LogFormat::Auto), ("pretty", LogFormat::Pretty), ("json", LogFormat::Json)];
        const NEW_JOURNAL: [(&str, NewJournal); 2] = [("hold", NewJournal::Hold), ("mint", NewJournal::Mint)];
        let reader = file.table("daemon", "[daemon]")?;
        // Read when the files were gathered; what is wrong with it is said here.
        reader.string("providers");
        let spec = Self {
            spot: reader.spot(),
            state_dir: reader.string("state-dir"),
            control: reader.string("control"),
            listen: ListenSpec::decode(&reader),
            log_level: reader.parsed("log-level", values::log_level),
            log_format: reader.choice("log-format", &FORMATS),
            seal_key: source::secret(&reader, "seal-key", &["file", "env", "systemd-credential"]),
            drain_timeout: reader.parsed("drain-timeout", values::timer),
            new_journal: reader.choice("new-journal", &NEW_JOURNAL),
        };
        reader.finish();
        Some(spec)
    }
}

fn account_name(file: &Reader<'_>, name: &Located<&str>) -> Option<Located<AccountName>> {
    match name.value.parse() {
        Ok(value) => Some(Located { value, spot: name.spot }),
        Err(error) => {
            file.report().error(name.spot, format!("\"{}\" is not a valid account name: {error}", name.value));
            None
        }
    }
}

/// Takes `params`: any keys, any values.
fn params(reader: &Reader<'_>) -> ParamsSpec {
    let Some(table) = reader.table("params", format_args!("`params` of {}", reader.what())) else {
        return Vec::new();
    };
    let entry = |(name, found): (Located<&str>, Found<'_>)| {
        (name.map(str::to_owned), Located { value: found.to_json(), spot: found.spot() })
    };
    table.entries().map(entry).collect()
}
