//! A store of a token.

use std::time::Duration;

use crate::document::{Found, Located, Reader, Spot};
use crate::inventory::{Dialect, Existing, OnDrift, OnLeave, values};

use super::ParamsSpec;
use super::format::{self, FormatSpec};
use super::short as shortened;
use super::source::{argv, pass_env};

/// One of `stores`.
#[derive(Debug)]
pub struct StoreSpec {
    pub part: Option<Located<String>>,
    pub existing: Option<Existing>,
    pub on_drift: Option<OnDrift>,
    pub on_leave: Option<Located<OnLeave>>,
    /// The hosts that have it, each its own.
    pub hosts: Option<Located<Vec<Located<String>>>>,
    pub kind: StoreKindSpec,
}

/// What only one kind of store has.
#[derive(Debug)]
pub enum StoreKindSpec {
    File(FileSpec),
    Directory(DirectorySpec),
    Command(CommandSpec),
    Remote(RemoteSpec),
}

/// A slot of a store that has an account.
#[derive(Debug)]
pub struct RemoteSpec {
    /// The table, for what it lacks.
    pub spot: Spot,
    pub account: Located<String>,
    pub params: ParamsSpec,
}

/// Programs that read and write a slot.
#[derive(Debug)]
pub struct CommandSpec {
    pub name: Located<String>,
    pub target: Option<Located<String>>,
    pub write: Located<Vec<String>>,
    pub read: Option<Located<Vec<String>>>,
    pub timeout: Option<Duration>,
    pub pass_env: Vec<String>,
}

/// A file, and the slot in it.
#[derive(Debug)]
pub struct FileSpec {
    pub path: Located<String>,
    pub mode: Option<Located<u32>>,
    pub owner: Option<Located<OwnerSpec>>,
    pub group: Option<Located<String>>,
    pub format: FormatSpec,
}

/// A directory whose files change at once.
#[derive(Debug)]
pub struct DirectorySpec {
    pub path: Located<String>,
    pub mode: Option<Located<u32>>,
    pub owner: Option<Located<OwnerSpec>>,
    pub group: Option<Located<String>>,
    /// At least one.
    pub files: Vec<EntrySpec>,
}

/// One of its files.
#[derive(Debug)]
pub struct EntrySpec {
    pub name: Located<String>,
    pub part: Located<String>,
    pub format: FormatSpec,
}

/// `user` or `user:group`, by name or number.
#[derive(Clone, Debug)]
pub struct OwnerSpec {
    pub user: String,
    pub group: Option<String>,
}

/// `file = "PATH"` and `env = "PATH:KEY"`.
pub(super) fn short(reader: &Reader<'_>) -> Vec<StoreSpec> {
    let plain = |path, format| {
        let file = FileSpec { path, mode: None, owner: None, group: None, format };
        let kind = StoreKindSpec::File(file);
        StoreSpec { part: None, existing: None, on_drift: None, on_leave: None, hosts: None, kind }
    };
    let file = reader.string("file").map(|path| plain(path, FormatSpec::Whole { newline: None }));
    let env = shortened::env(reader).map(|(path, key)| plain(path, FormatSpec::Env { key, dialect: None }));
    file.into_iter().chain(env).collect()
}

pub(super) const EXISTING: [(&str, Existing); 2] = [("refuse", Existing::Refuse), ("replace", Existing::Replace)];
pub(super) const ON_DRIFT: [(&str, OnDrift); 2] = [("repair", OnDrift::Repair), ("report", OnDrift::Report)];
const ON_LEAVE: [(&str, OnLeave); 2] = [("keep", OnLeave::Keep), ("erase", OnLeave::Erase)];

pub(super) fn store(reader: Reader<'_>) -> Option<StoreSpec> {
    #[derive(Clone, Copy)]
    enum Kind {
        File,
        EnvFile,
        Directory,
        Command,
        Format(format::Kind),
    }
    const KINDS: [(&str, Kind); 4] =
        [("file", Kind::File), ("env-file", Kind::EnvFile), ("directory", Kind::Directory), ("command", Kind::Command)];
    if reader.has("account") && !reader.has("kind") {
        return remote(&reader);
    }
    reader.required("kind");
    let formats = format::KINDS.iter().map(|(word, kind)| (*word, Kind::Format(*kind)));
    let kinds: Vec<_> = KINDS.into_iter().chain(formats).collect();
    // Without a kind there is no telling which further keys belong here; the missing kind is the one problem to report.
    let kind = reader.choice("kind", &kinds)?.value;
    let part = match kind {
        // Each of its files says which it gets.
        Kind::Directory => None,
        _ => reader.string("part"),
    };
    let existing = reader.choice("existing", &EXISTING).map(|existing| existing.value);
    let on_drift = reader.choice("on-drift", &ON_DRIFT).map(|on_drift| on_drift.value);
    let on_leave = reader.choice("on-leave", &ON_LEAVE);
    let hosts = reader.strings("hosts");
    let kind = match kind {
        Kind::File => {
            let newline = |reader: &Reader<'_>| reader.bool("newline").map(|newline| newline.value);
            file(&reader, |reader| Some(FormatSpec::Whole { newline: newline(reader) })).map(StoreKindSpec::File)
        }
        Kind::EnvFile => file(&reader, variable).map(StoreKindSpec::File),
        Kind::Directory => directory(&reader).map(StoreKindSpec::Directory),
        Kind::Command => program(&reader).map(StoreKindSpec::Command),
        Kind::Format(kind) => file(&reader, |reader| format::decode(reader, kind)).map(StoreKindSpec::File),
    };
    reader.finish();
    Some(StoreSpec { part, existing, on_drift, on_leave, hosts, kind: kind? })
}

/// A slot of a store that has an account: what else the table says are parameters of its definition.
fn remote(reader: &Reader<'_>) -> Option<StoreSpec> {
    let account = reader.string("account");
    let part = reader.string("part");
    let existing = reader.choice("existing", &EXISTING).map(|existing| existing.value);
    let on_drift = reader.choice("on-drift", &ON_DRIFT).map(|on_drift| on_drift.value);
    let on_leave = reader.choice("on-leave", &ON_LEAVE);
    let common = ["account", "part", "existing", "on-drift", "on-leave"];
    let own = reader.entries().filter(|(name, _)| !common.contains(&name.value));
    let params = own.map(|(name, found)| {
        // A file has dashes in its keys, a template has none in its names.
        let name = name.map(|name| name.replace('-', "_"));
        (name, Located { value: found.to_json(), spot: found.spot() })
    });
    let remote = RemoteSpec { spot: reader.spot(), account: account?, params: params.collect() };
    Some(StoreSpec { part, existing, on_drift, on_leave, hosts: None, kind: StoreKindSpec::Remote(remote) })
}

/// A file; `format` reads the keys of what it holds.
fn file(reader: &Reader<'_>, format: impl FnOnce(&Reader<'_>) -> Option<FormatSpec>) -> Option<FileSpec> {
    let path = reader.required_string("path");
    let mode = mode(reader);
    let owner = reader.parsed("owner", owner);
    let group = reader.string("group");
    let format = format(reader);
    Some(FileSpec { path: path?, mode, owner, group, format: format? })
}

/// A directory whose files change at once.
fn directory(reader: &Reader<'_>) -> Option<DirectorySpec> {
    let path = reader.required_string("path");
    let mode = mode(reader);
    let owner = reader.parsed("owner", owner);
    let group = reader.string("group");
    if !reader.has("files") {
        reader.lacks("files", "name them with the part that each gets: files = { token = \"token\" }");
    }
    let table = reader.table("files", format_args!("`files` of {}", reader.what()))?;
    let errors = reader.report().errors();
    let files: Vec<_> = table.entries().filter_map(|(name, found)| entry(&table, name, found)).collect();
    if files.is_empty() && reader.report().errors() == errors {
        reader.report().error(table.spot(), format!("{} is empty", table.what()));
    }
    Some(DirectorySpec { path: path?, mode, owner, group, files }).filter(|spec| !spec.files.is_empty())
}

/// `NAME = "PART"`, or a table with what the file says besides.
fn entry(table: &Reader<'_>, name: Located<&str>, found: Found<'_>) -> Option<EntrySpec> {
    let what = format!("file \"{}\" of {}", name.value, table.what());
    if let Err(why) = values::file_name(name.value) {
        table.report().error(name.spot, format!("{what}: {why}"));
        return None;
    }
    let name = name.map(str::to_owned);
    if let Some(part) = found.value().as_str() {
        let part = Located { value: part.to_owned(), spot: found.spot() };
        return Some(EntrySpec { name, part, format: FormatSpec::Whole { newline: None } });
    }
    let reader = Reader::from_value(table.report(), found, what)?;
    let part = reader.required_string("part");
    let newline = reader.bool("newline").map(|newline| newline.value);
    let format = format::wrapped(&reader, Some(FormatSpec::Whole { newline }));
    reader.finish();
    Some(EntrySpec { name, part: part?, format: format? })
}

/// A variable of an env file.
fn variable(reader: &Reader<'_>) -> Option<FormatSpec> {
    const DIALECTS: [(&str, Dialect); 4] = [
        ("systemd", Dialect::Systemd),
        ("docker", Dialect::Docker),
        ("dotenv", Dialect::Dotenv),
        ("posix-sh", Dialect::PosixSh),
    ];
    let key = reader.required_string("key");
    let dialect = reader.choice("dialect", &DIALECTS);
    key.map(|key| FormatSpec::Env { key, dialect })
}

/// Programs that read and write.
fn program(reader: &Reader<'_>) -> Option<CommandSpec> {
    let name = reader.required_string("name");
    let target = reader.string("target");
    reader.required("write");
    let write = argv(reader, "write");
    let read = argv(reader, "read");
    let timeout = reader.parsed("timeout", values::timer).map(|timeout| timeout.value);
    let pass_env = pass_env(reader);
    Some(CommandSpec { name: name?, target, write: write?, read, timeout, pass_env })
}

/// Octal digits in quotes: TOML's own 0o640 and a decimal 640 are too easily mixed up.
pub(super) fn mode(reader: &Reader<'_>) -> Option<Located<u32>> {
    let found = reader.take("mode")?;
    if found.value().as_str().is_none() {
        reader.wrong_type("mode", found, "octal digits in quotes, such as \"0640\"");
        return None;
    }
    reader.parsed("mode", values::mode)
}

pub(super) fn owner(text: &str) -> Result<OwnerSpec, String> {
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    };
    if user.is_empty() || group.is_some_and(str::is_empty) {
        return Err(format!("\"{text}\" is no owner; write \"user\" or \"user:group\""));
    }
    Ok(OwnerSpec { user: user.to_owned(), group: group.map(str::to_owned) })
}
