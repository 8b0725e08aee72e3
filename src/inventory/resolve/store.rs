//! Stores: paths, owners, formats, and the places that they claim.

mod directory;
mod format;
pub(super) mod templates;

use std::path::Path;

use crate::document::{Located, Spot};
use crate::inventory::spec::{CommandSpec, FileSpec, FormatSpec, OwnerSpec, RemoteSpec, StoreKindSpec, StoreSpec};
use crate::inventory::{
    AccountPolicy, CommandPolicy, Existing, FilePolicy, HostFile, HostSelector, HostedPolicy, OnLeave, RemotePolicy,
    SelectedStore, StoreKind, StorePolicy, Syntax, defaults, values,
};
use crate::names::{AccountName, HostName, StoreKey, TargetKey, TokenName};
use crate::secret::TOKEN_PART;

use self::format::format;
use super::account::absolute;
use super::claims::{Claims, Needed, Writer, normalised, target};
use super::hosts::{self, On};
use super::program::cannot_start;
use super::{Accounts, Context, params};

/// The stores of all tokens, and what they have claimed.
pub(super) struct Stores<'c> {
    context: &'c Context<'c>,
    accounts: &'c Accounts,
    claims: Claims<'c>,
}

/// What one entry of `stores` means.
#[derive(Default)]
pub(super) struct Resolved {
    pub stores: Vec<StorePolicy>,
    pub selected: Option<SelectedStore>,
}

/// Where the file of a store is.
#[derive(Clone, Copy)]
enum Where<'a> {
    Here,
    /// On this host.
    On(&'a HostName, &'a TokenName),
    /// On those that have certain labels.
    Selected(&'a TokenName),
}

impl Where<'_> {
    /// What its key ends with.
    fn there(self) -> String {
        match self {
            Self::Here => String::new(),
            Self::On(host, _) => format!("@{host}"),
            Self::Selected(_) => EVERYWHERE.to_owned(),
        }
    }

    fn is_here(self) -> bool {
        matches!(self, Self::Here)
    }
}

/// No host has this name.
const EVERYWHERE: &str = "@*";

impl<'c> Stores<'c> {
    /// None yet; `needed` are files that none may write.
    pub(super) fn new(context: &'c Context<'c>, accounts: &'c Accounts, needed: Vec<Needed>) -> Self {
        Self { context, accounts, claims: Claims::new(context, needed) }
    }

    /// Makes room for about so many stores.
    pub(super) fn reserve(&mut self, stores: usize) {
        self.claims.reserve(stores);
    }

    /// What one entry of the stores of the token that messages call `what` means: a store, or one for each of its hosts.
    pub(super) fn stores(
        &mut self,
        spec: &StoreSpec,
        account: Option<&AccountPolicy>,
        token: Option<&TokenName>,
        what: &str,
    ) -> Resolved {
        let Some(hosts) = &spec.hosts else {
            let stores = match &spec.kind {
                StoreKindSpec::Directory(directory) => self.directory(spec, directory, account, what),
                _ => self.store(spec, account, Where::Here, what).into_iter().collect(),
            };
            return Resolved { stores, selected: None };
        };
        let (Some(on), Some(token)) = (hosts::of_store(spec, hosts, what, self.context), token) else {
            return Resolved::default();
        };
        let named = match on {
            On::Named(named) => named,
            On::Selected(selector) => {
                let policy = self.store(spec, account, Where::Selected(token), what);
                let selected = policy.and_then(|policy| self.selected(policy, selector, hosts.spot, what));
                return Resolved { stores: Vec::new(), selected };
            }
        };
        let errors = self.context.report.errors();
        let mut stores = Vec::with_capacity(named.len());
        for host in &named {
            stores.extend(self.store(spec, account, Where::On(host, token), what));
            // What is wrong with it is so on each.
            if self.context.report.errors() > errors {
                break;
            }
        }
        Resolved { stores, selected: None }
    }

    /// The store of every host that is meant, after that of one.
    fn selected(&self, policy: StorePolicy, hosts: HostSelector, spot: Spot, what: &str) -> Option<SelectedStore> {
        let StoreKind::Hosted(hosted) = &policy.kind else { return None };
        let (hosted, place) = (hosted.as_ref().clone(), policy.key.as_str().strip_suffix(EVERYWHERE)?.to_owned());
        let store = SelectedStore { hosts, place, policy, hosted };
        // As long as the name of a host can be.
        let longest: HostName = "h".repeat(64).parse().ok()?;
        if store.key(&longest).is_none() {
            self.context.report.error(spot, format!("the place of a store of {what} has too long a name"));
            return None;
        }
        Some(store)
    }

    /// The policy of one store at one place.
    fn store(
        &mut self,
        spec: &StoreSpec,
        account: Option<&AccountPolicy>,
        place: Where<'_>,
        what: &str,
    ) -> Option<StorePolicy> {
        let parts = account.map(|account| account.provider.secret_parts());
        let part = self.part(spec.part.as_ref(), parts.as_deref(), what);
        let (key, spot, existing, kind) = match &spec.kind {
            StoreKindSpec::File(file) => {
                let (key, policy) = self.file(file, place, what)?;
                let kind = match place {
                    Where::Here => StoreKind::File(policy),
                    Where::On(host, token) => hosted(file, policy, (host, token), &account?.name),
                    // Whose name it is does not matter until there is a host.
                    Where::Selected(token) => hosted(file, policy, (&"any".parse().ok()?, token), &account?.name),
                };
                (key, file.path.spot, defaults::EXISTING, kind)
            }
            // Each of its files is a store of its own, and of hosts there are none.
            StoreKindSpec::Directory(_) => return None,
            StoreKindSpec::Command(command) => {
                let (key, policy) = self.command(command, &account?.name, what)?;
                (key, command.name.spot, defaults::EXISTING_REMOTE, StoreKind::Command(Box::new(policy)))
            }
            StoreKindSpec::Remote(remote) => {
                let (key, policy) = self.remote(remote, what)?;
                (key, remote.account.spot, defaults::EXISTING_REMOTE, StoreKind::Remote(policy))
            }
        };
        let key = self.key(&key, spot, what)?;
        Some(self.policy(spec, key, part, existing, kind, what))
    }

    fn key(&self, text: &str, spot: Spot, what: &str) -> Option<StoreKey> {
        let parsed = text.parse();
        parsed.map_err(|error| self.context.report.error(spot, format!("a store of {what}: {error}"))).ok()
    }

    /// With what all kinds of stores have.
    fn policy(
        &self,
        spec: &StoreSpec,
        key: StoreKey,
        part: String,
        existing: Existing,
        kind: StoreKind,
        what: &str,
    ) -> StorePolicy {
        let on_leave = spec.on_leave.as_ref().map_or(defaults::ON_LEAVE, |on_leave| on_leave.value);
        let (existing, on_drift) = (spec.existing.unwrap_or(existing), spec.on_drift.unwrap_or(defaults::ON_DRIFT));
        let policy = StorePolicy { key, part, existing, on_drift, on_leave, kind };
        if let (Some(Located { value: OnLeave::Erase, spot }), Err(why)) = (&spec.on_leave, policy.erasable()) {
            let message = format!("nothing can be taken out of a store of {what}: {why}");
            self.context.report.error_with_help(*spot, message, "write `on-leave = \"keep\"`");
        }
        policy
    }

    /// A slot of programs, claimed, and the text that names it.
    fn command(&mut self, spec: &CommandSpec, account: &AccountName, what: &str) -> Option<(String, CommandPolicy)> {
        let report = self.context.report;
        let target = |name: &Located<String>, key: &str| -> Option<TargetKey> {
            let target = format!("command:{}", name.value).parse();
            let problem = |error| report.error(name.spot, format!("`{key}` of a store of {what}: {error}"));
            if name.value.trim().is_empty() {
                report.error(name.spot, format!("`{key}` of a store of {what} is empty"));
                return None;
            }
            target.map_err(problem).ok()
        };
        let slot = target(&spec.name, "name")?;
        for argv in std::iter::once(&spec.write).chain(&spec.read) {
            if let Some((why, help)) = argv.value.first().and_then(|program| cannot_start(program)) {
                let message =
                    format!("the program {:?} of a store of {what} can never be started: {why}", argv.value[0]);
                report.error_with_help(argv.spot, message, help);
            }
        }
        let writer = Writer { what: what.to_owned(), spot: spec.name.spot };
        let text = slot.as_str().to_owned();
        let policy = CommandPolicy {
            name: spec.name.value.clone(),
            target: spec.target.as_ref().map_or(Some(slot.clone()), |name| target(name, "target"))?,
            account: account.clone(),
            write: spec.write.value.clone(),
            read: spec.read.as_ref().map(|argv| argv.value.clone()),
            timeout: spec.timeout.unwrap_or(defaults::STORE_TIMEOUT),
            pass_env: spec.pass_env.clone(),
        };
        self.claims.claim(format_args!("the store \"{}\"", spec.name.value), slot, writer)?;
        Some((text, policy))
    }

    /// A slot of a store that has an account, claimed, and the text that names it.
    fn remote(&mut self, spec: &RemoteSpec, what: &str) -> Option<(String, RemotePolicy)> {
        let context = self.context;
        let what = format!("a store of {what}");
        let known = spec.account.value.parse().ok().and_then(|name: AccountName| self.accounts.get(&name));
        let Some(account) = known else {
            let names = self.accounts.keys().map(AccountName::as_str);
            let message = format!("{what} names an unknown account \"{}\"", spec.account.value);
            context.report.error_with_help(spec.account.spot, message, context.hint(&spec.account.value, names));
            return None;
        };
        // One that is not sound was told.
        let account = account.as_ref()?;
        let definition = &account.provider;
        if definition.store().is_none() {
            let message = format!("{what} names account \"{}\", which is no account of a store", account.name);
            let help = "an account of a store has `store` in place of `provider`; `patrold store list` lists them";
            context.report.error_with_help(spec.account.spot, message, help);
            return None;
        }
        params::check(&spec.params, definition, &what, context);
        let mut merged = account.params.clone();
        merged.extend(spec.params.iter().map(|(name, value)| (name.value.clone(), value.value.clone())));
        let errors = context.report.errors();
        params::check_bonds(&spec.params, &merged, |_| true, definition, &what, context);
        params::complete(&merged, definition, &what, spec.spot, context);
        if context.report.errors() > errors {
            return None;
        }
        let (key, policy) = match RemotePolicy::new(account, merged) {
            Ok(named) => named,
            Err(error) => {
                context.report.error(spec.account.spot, format!("the place of {what} has no name: {error}"));
                return None;
            }
        };
        let place = spec.params.first().map_or(spec.account.spot, |(_, value)| value.spot);
        let writer = Writer { what, spot: place };
        let whole = key.split('#').next().unwrap_or(&key);
        self.claims.claim_entry(whole, policy.target.clone(), policy.slot.as_deref(), writer)?;
        Some((key, policy))
    }

    /// A file with its slot, claimed, and the text that names the slot. That of another machine has an owner without a
    /// number here.
    fn file(&mut self, spec: &FileSpec, place: Where<'_>, what: &str) -> Option<(String, FilePolicy)> {
        let file = self.attributes(spec, place.is_here(), what)?;
        let normal = normalised(&file.path);
        let writer = Writer { what: what.to_owned(), spot: spec.path.spot };
        let there = place.there();
        if !place.is_here() {
            self.claims.claim_manner(&normal, matches!(place, Where::On(..)), &writer)?;
        }
        if place.is_here() && self.is_definition(&normal) {
            let message = format!("{what} would overwrite {}, a provider definition", normal.display());
            self.context.report.error_with_help(writer.spot, message, "choose a path outside of `providers`");
            return None;
        }
        if place.is_here() && self.is_alone(&normal) {
            let message = format!(
                "{} is a file of one host, and any replica of the fleet may be the one that writes it for {what}",
                normal.display()
            );
            let help = "name the hosts that have such a file, `hosts = [\"web-1\", …]`, and let `patrold agent` run there; \
                        or name its directory in `shared-paths` of [fleet] if every replica sees the same file there (NFS, \
                        CephFS)";
            self.context.report.error_with_help(writer.spot, message, help);
        }
        let text = target(&normal) + &there;
        let target: TargetKey = match text.parse() {
            Ok(target) => target,
            Err(error) => {
                self.context.report.error(spec.path.spot, format!("`path` of a store of {what}: {error}"));
                return None;
            }
        };
        let (slot, spot, kind) = match spec.format.bare() {
            FormatSpec::Whole { .. } => {
                self.claims.claim(format_args!("{}{there}", normal.display()), target, writer)?;
                return Some((text, file));
            }
            FormatSpec::Env { key, .. } => {
                self.check_key(key, what)?;
                (key.value.clone(), key.spot, "env-file")
            }
            FormatSpec::Document { syntax, pointer } => {
                let kind = match syntax {
                    Syntax::Json => "json",
                    Syntax::Yaml => "yaml",
                    Syntax::Toml => "toml",
                };
                (pointer.value.to_string(), pointer.spot, kind)
            }
            FormatSpec::Properties { key } => {
                if key.value.is_empty() {
                    self.context.report.error(key.spot, format!("`key` of a store of {what} is empty"));
                    return None;
                }
                (key.value.clone(), key.spot, "properties")
            }
            FormatSpec::Ini { section, key, .. } => {
                let section = section.as_ref().map(|section| format!("[{section}]")).unwrap_or_default();
                (format!("{section}{}", key.value), key.spot, "ini")
            }
            FormatSpec::Netrc { machine, login } => (format!("{login}@{}", machine.value), machine.spot, "netrc"),
            FormatSpec::GitCredentials { address } => (address.value.to_string(), address.spot, "git-credentials"),
            FormatSpec::Xml { path } => (path.value.to_string(), path.spot, "xml"),
            // What is bare is not wrapped.
            FormatSpec::Wrapped { .. } => return None,
        };
        self.claims.claim_slot(&normal, target, &slot, &file, Writer { spot, ..writer })?;
        Some((format!("{kind}:{}#{slot}{there}", normal.display()), file))
    }

    fn part(&self, spec: Option<&Located<String>>, parts: Option<&[&str]>, what: &str) -> String {
        let Some(part) = spec else { return TOKEN_PART.to_owned() };
        if let Some(parts) = parts.filter(|parts| !parts.contains(&part.value.as_str())) {
            let message = format!("{what} has no part \"{}\"", part.value);
            let help = self.context.hint(&part.value, parts.iter().copied());
            self.context.report.error_with_help(part.spot, message, help);
        }
        part.value.clone()
    }

    /// Whether the inventory is a fleet's, whose replicas do not share the path.
    fn is_alone(&self, path: &Path) -> bool {
        self.context.fleet.as_ref().is_some_and(|fleet| !fleet.shares(path))
    }

    /// Whether the file is read as a provider definition.
    fn is_definition(&self, path: &Path) -> bool {
        let directory = self.context.around.providers.map(normalised);
        directory.is_some_and(|directory| path.parent() == Some(&directory))
            && path.extension().is_some_and(|extension| extension == "toml")
    }

    /// `numbers`: owner and group are looked up here.
    fn attributes(&self, spec: &FileSpec, numbers: bool, what: &str) -> Option<FilePolicy> {
        let (owner, group) = self.owners(spec.owner.as_ref(), spec.group.as_ref(), numbers, what);
        let path = absolute(&spec.path, format_args!("`path` of a store of {what}"), self.context)?;
        if path.file_name().is_none() || spec.path.value.ends_with(['/']) || spec.path.value.ends_with("/.") {
            let message = format!("`path` of a store of {what} is a directory");
            self.context.report.error_with_help(spec.path.spot, message, "name a file in it");
            return None;
        }
        let format = format(&spec.format);
        let mode = spec.mode.as_ref().map(|mode| mode.value);
        Some(FilePolicy { path, mode, owner, group, format })
    }

    /// The numbers of a user and a group; with `numbers`, they are looked up.
    fn owners(
        &self,
        owner: Option<&Located<OwnerSpec>>,
        group: Option<&Located<String>>,
        numbers: bool,
        what: &str,
    ) -> (Option<u32>, Option<u32>) {
        let owner = owner.map(|owner| (owner.spot, &owner.value));
        let user = owner.filter(|_| numbers);
        let user = user.and_then(|(spot, owner)| self.number(&owner.user, spot, OwnerKind::User, what));
        let with_user = owner.and_then(|(spot, owner)| Some((spot, owner.group.as_deref()?)));
        if let Some((group, _)) = group.zip(with_user) {
            let message = format!("a store of {what} has a group in `owner` and in `group`");
            self.context.report.error_with_help(group.spot, message, "remove one of the two");
        }
        let group = with_user.or_else(|| group.map(|group| (group.spot, group.value.as_str())));
        let group = group.filter(|_| numbers);
        (user, group.and_then(|(spot, group)| self.number(group, spot, OwnerKind::Group, what)))
    }

    fn number(&self, name: &str, spot: Spot, kind: OwnerKind, what: &str) -> Option<u32> {
        let number = match kind {
            OwnerKind::User => (self.context.around.user)(name),
            OwnerKind::Group => (self.context.around.group)(name),
        };
        if number.is_none() {
            let (word, command) = match kind {
                OwnerKind::User => ("user", "useradd --system"),
                OwnerKind::Group => ("group", "groupadd --system"),
            };
            let message = format!("a store of {what} wants {word} \"{name}\", which does not exist on this machine");
            let help = format!("make it first ({command} {name}), or give its number");
            self.context.report.error_with_help(spot, message, help);
        }
        number
    }

    fn check_key(&self, key: &Located<String>, what: &str) -> Option<()> {
        if values::is_variable(&key.value) {
            return Some(());
        }
        let message = format!("`key` of a store of {what} cannot be {:?}", key.value);
        let help = "a key has letters, digits and '_', and does not begin with a digit";
        self.context.report.error_with_help(key.spot, message, help);
        None
    }
}

/// The same file, as the agent of `host` writes it.
fn hosted(
    spec: &FileSpec,
    file: FilePolicy,
    (host, token): (&HostName, &TokenName),
    account: &AccountName,
) -> StoreKind {
    let owner = spec.owner.as_ref().map(|owner| &owner.value);
    let group = owner.and_then(|owner| owner.group.clone()).or_else(|| Some(spec.group.as_ref()?.value.clone()));
    let file = HostFile {
        path: normalised(&file.path),
        mode: file.mode,
        owner: owner.map(|owner| owner.user.clone()),
        group,
        format: file.format,
    };
    let (host, account, token) = (host.clone(), account.clone(), token.clone());
    StoreKind::Hosted(Box::new(HostedPolicy { host, account, token, file }))
}

#[derive(Clone, Copy)]
enum OwnerKind {
    User,
    Group,
}
