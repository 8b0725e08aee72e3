//! Where the secrets of a token go.
//!
//! A **target** is what is read and written as one thing: a file, whatever it holds. A **slot** is the place of one secret
//! in it: the whole file, or a key of it. A [`StoreKey`] names a slot, a [`TargetKey`] a target.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::AccountPolicy;
use crate::names::{AccountName, HostName, NameError, StoreKey, TargetKey, TokenName};
use crate::provider::{Params, Provider};

/// One store of a token.
#[derive(Clone, Debug, PartialEq)]
pub struct StorePolicy {
    /// Names the slot; unique among all stores of the inventory.
    pub key: StoreKey,
    /// Which part of the secret it gets.
    pub part: String,
    /// What becomes of a value that was there before.
    pub existing: Existing,
    /// What becomes of a value that somebody wrote over one of patrold's.
    pub on_drift: OnDrift,
    /// What becomes of patrold's value once the store leaves the inventory.
    pub on_leave: OnLeave,
    pub kind: StoreKind,
}

impl StorePolicy {
    /// The file of this machine that is replaced by a write: its directory is watched, swept of temporary files, and must
    /// be one that consumers see. `None` where the store is no file here.
    pub fn replaces(&self) -> Option<&Path> {
        match &self.kind {
            StoreKind::File(file) => Some(&file.path),
            StoreKind::Command(_) | StoreKind::Remote(_) | StoreKind::Hosted(_) => None,
        }
    }

    /// The host whose agent writes it. `None`: this process does.
    pub fn host(&self) -> Option<&HostName> {
        match &self.kind {
            StoreKind::Hosted(hosted) => Some(&hosted.host),
            StoreKind::File(_) | StoreKind::Command(_) | StoreKind::Remote(_) => None,
        }
    }

    /// The numbers of the user and the group that the file is given to.
    pub fn given_to(&self) -> (Option<u32>, Option<u32>) {
        match &self.kind {
            StoreKind::File(file) => (file.owner, file.group),
            StoreKind::Command(_) | StoreKind::Remote(_) | StoreKind::Hosted(_) => (None, None),
        }
    }

    /// The account that reaches it, where one does.
    pub fn account(&self) -> Option<&AccountName> {
        match &self.kind {
            StoreKind::Remote(remote) => Some(&remote.account),
            StoreKind::File(_) | StoreKind::Command(_) | StoreKind::Hosted(_) => None,
        }
    }

    /// Whether it may hold something that it does not show: whose that is, only what is known of writes can tell.
    pub fn hides(&self) -> bool {
        match &self.kind {
            StoreKind::File(_) | StoreKind::Hosted(_) => false,
            StoreKind::Command(command) => command.read.is_some(),
            StoreKind::Remote(remote) => remote.definition.hides(),
        }
    }

    /// Whether its value can be taken out of it again; otherwise why not, as the end of a sentence.
    pub fn erasable(&self) -> Result<(), &'static str> {
        match &self.kind {
            StoreKind::File(file) if !file.format.gives_back() => Err("other values are in the same file"),
            StoreKind::Command(_) => Err("no program is told to remove anything"),
            StoreKind::Hosted(_) => Err("the agent of a host removes nothing"),
            StoreKind::Remote(remote) if !remote.definition.erases() => Err("its definition has no [delete]"),
            StoreKind::File(_) | StoreKind::Remote(_) => Ok(()),
        }
    }

    /// The directory of that file.
    pub fn directory(&self) -> Option<&Path> {
        self.replaces().map(|path| path.parent().unwrap_or(Path::new("/")))
    }

    /// The programs that it runs.
    pub fn programs(&self) -> impl Iterator<Item = &str> {
        let commands = match &self.kind {
            StoreKind::Command(command) => Some(std::iter::once(&command.write).chain(&command.read)),
            StoreKind::File(_) | StoreKind::Remote(_) | StoreKind::Hosted(_) => None,
        };
        commands.into_iter().flatten().filter_map(|argv| argv.first()).map(String::as_str)
    }
}

/// What becomes of a value that was in a slot before patrold first wrote to it, and that is no secret of the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// It stays, and no rotation is begun.
    Refuse,
    /// It is replaced.
    Replace,
}

/// What becomes of a value that somebody wrote over one of patrold's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDrift {
    /// What was delivered is written again.
    Repair,
    /// It stays, and the store is owed until somebody decides.
    Report,
}

/// What becomes of patrold's value once the store leaves the inventory, or its token is retired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnLeave {
    /// It stays.
    Keep,
    /// It is taken out, where it is there still.
    Erase,
}

/// The kinds of stores, each with all that it needs to reach its target. Closed, so that an unhandled kind does not
/// compile.
#[derive(Clone, Debug, PartialEq)]
pub enum StoreKind {
    /// A file of this machine.
    File(FilePolicy),
    /// Whatever a program of the operator's reads and writes.
    Command(Box<CommandPolicy>),
    /// A slot of a store that is described by a definition and reached through an account.
    Remote(RemotePolicy),
    /// A file of a host of consumers, written by the agent there.
    Hosted(Box<HostedPolicy>),
}

/// A file of another machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostedPolicy {
    pub host: HostName,
    pub account: AccountName,
    pub token: TokenName,
    pub file: HostFile,
}

/// A file of a host, and the slot in it, as its agent is told. Stored state: agents of other versions read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct HostFile {
    /// Absolute.
    pub path: PathBuf,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<u32>,
    /// By name or number; the host knows whose name it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    pub format: Format,
}

impl HostFile {
    /// The file as the machine has it that it is on. `user` and `group` find the numbers of names. Fails with the name that
    /// the machine does not know.
    pub fn on_this_machine(
        &self,
        user: impl Fn(&str) -> Option<u32>,
        group: impl Fn(&str) -> Option<u32>,
    ) -> Result<FilePolicy, String> {
        let number = |name: &Option<String>, find: &dyn Fn(&str) -> Option<u32>, what: &str| match name {
            Some(name) => find(name).map(Some).ok_or_else(|| format!("there is no {what} \"{name}\" on this machine")),
            None => Ok(None),
        };
        Ok(FilePolicy {
            path: self.path.clone(),
            mode: self.mode,
            owner: number(&self.owner, &user, "user")?,
            group: number(&self.group, &group, "group")?,
            format: self.format.clone(),
        })
    }
}

/// A slot of a store that has an account.
#[derive(Clone, Debug, PartialEq)]
pub struct RemotePolicy {
    pub account: AccountName,
    /// The account's definition.
    pub definition: Arc<Provider>,
    /// Those of the account overlaid with those of the store.
    pub params: Params,
    /// Writes of one target take turns, and go in one request where they meet.
    pub target: TargetKey,
    /// Which entry of the target it is; `None`: all of it.
    pub slot: Option<String>,
}

impl RemotePolicy {
    /// The slot that `params`, the account's and the store's, name; and a text that names it in one line. All that the
    /// definition needs is among them. Fails where a value cannot be part of a name.
    pub fn new(account: &AccountPolicy, params: Params) -> Result<(String, Self), NameError> {
        let definition = &account.provider;
        let value = |name: &str| {
            let value = params.get(name).or(definition.params.get(name)?.default.as_ref())?;
            Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
        };
        let rules = definition.store();
        let slot = rules.and_then(|rules| rules.slot.as_deref()).and_then(value);
        let names = rules.into_iter().flat_map(|rules| &rules.target);
        let values: Vec<_> = names.filter_map(|name| Some((name, value(name)?))).collect();
        let url = account.endpoint.url.as_str().trim_end_matches('/');
        let shown = values.iter().fold(url.to_owned(), |shown, (_, value)| format!("{shown}/{value}"));
        let target = values.iter().fold(url.to_owned(), |target, (name, value)| format!("{target} {name}={value}"));
        let key = slot.as_ref().map_or_else(|| shown.clone(), |slot| format!("{shown}#{slot}"));
        let target = target.parse()?;
        Ok((key, Self { account: account.name.clone(), definition: Arc::clone(definition), params, target, slot }))
    }
}

/// Programs that read and write a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandPolicy {
    /// What the inventory calls the slot; unique among all stores of programs.
    pub name: String,
    /// Writes of one target take turns.
    pub target: TargetKey,
    /// Whose share of the programs at once it takes.
    pub account: AccountName,
    /// Program and arguments, never through a shell. It gets the secret on its standard input.
    pub write: Vec<String>,
    /// The same; it prints the secret. `None`: nobody can look.
    pub read: Option<Vec<String>>,
    pub timeout: Duration,
    /// Names of the daemon's environment variables that they may see.
    pub pass_env: Vec<String>,
}

/// A file, and the slot in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilePolicy {
    /// Absolute.
    pub path: PathBuf,
    /// Permission bits. A file with other content that exists already keeps its own where the inventory gives none.
    pub mode: Option<u32>,
    /// Resolved when the inventory was loaded.
    pub owner: Option<u32>,
    pub group: Option<u32>,
    pub format: Format,
}

/// What a file holds, and where in it the secret is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Format {
    /// The secret and nothing else. `newline`: one follows it.
    Whole { newline: bool },
    /// One variable of an env file.
    Env { key: String, dialect: Dialect },
    /// One value of a structured document.
    Document { syntax: Syntax, pointer: Pointer },
    /// One entry of a Java properties file.
    Properties { key: String },
    /// One key of an INI file; without a section, one before the first.
    Ini { section: Option<String>, key: String, reader: IniReader },
    /// The password of a machine and a user in a netrc file.
    Netrc { machine: String, login: String },
    /// The secret of an address in git's credential store.
    GitCredentials { address: CredentialAddress },
    /// The text of an element of an XML document.
    Xml { path: XmlPath },
    /// A text that stands for the secret, within another format.
    Wrapped { within: Box<Format>, wrap: Wrap },
}

/// Who reads an INI file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum IniReader {
    /// Python's `configparser`, and what reads as it does: pip, twine, AWS.
    Python,
    /// npm.
    Npm,
}

/// What a text says besides the secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Wrap {
    /// This before it.
    Prefix(String),
    /// User name, colon and secret in base64 (RFC 7617).
    Basic { username: String },
    /// The secret, percent-encoded, within an address.
    Address { before: String, after: String },
}

/// An address of git's credential store, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CredentialAddress {
    pub protocol: String,
    pub username: String,
    /// With its port, where it has one.
    pub host: String,
    /// Empty, or with a slash before it.
    pub path: String,
}

/// Where in an XML document a text is: the names of elements from the outside in; `name[child=text]` is the one that has
/// such a child.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct XmlPath(Vec<XmlStep>);

/// One element of a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct XmlStep {
    pub name: String,
    /// A child and its text.
    pub with: Option<(String, String)>,
}

impl XmlPath {
    /// At least two: what the outermost element holds is the document.
    pub fn steps(&self) -> &[XmlStep] {
        &self.0
    }

    /// The password of a server in Maven's settings.
    pub fn maven_password(server: &str) -> Self {
        let step = |name: &str, with| XmlStep { name: name.to_owned(), with };
        let id = Some(("id".to_owned(), server.to_owned()));
        Self(vec![step("settings", None), step("servers", None), step("server", id), step("password", None)])
    }
}

impl FromStr for XmlPath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("\"{text}\" is not a path; write for example \"/settings/servers/server[id=ci]/password\"");
        let mut steps = Vec::new();
        let mut rest = text;
        while let Some(step) = rest.strip_prefix('/') {
            let end = step.find(['/', '[']).unwrap_or(step.len());
            let (name, mut after) = step.split_at(end);
            let mut with = None;
            if let Some(inner) = after.strip_prefix('[') {
                let (inner, behind) = inner.split_once(']').ok_or_else(wrong)?;
                let (child, value) = inner.split_once('=').ok_or_else(wrong)?;
                with = Some((child.to_owned(), value.trim_matches(['"', '\'']).to_owned()));
                after = behind;
            }
            let fits = |name: &str| !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || ".-_:".contains(c));
            if !fits(name) || with.as_ref().is_some_and(|(child, _)| !fits(child)) {
                return Err(wrong());
            }
            steps.push(XmlStep { name: name.to_owned(), with });
            rest = after;
        }
        if steps.len() < 2 || !rest.is_empty() { Err(wrong()) } else { Ok(Self(steps)) }
    }
}

impl fmt::Display for XmlPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|XmlStep { name, with }| match with {
            Some((child, text)) => write!(f, "/{name}[{child}={text}]"),
            None => write!(f, "/{name}"),
        })
    }
}

impl TryFrom<String> for XmlPath {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<XmlPath> for String {
    fn from(path: XmlPath) -> String {
        path.to_string()
    }
}

impl fmt::Display for CredentialAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { protocol, username, host, path } = self;
        write!(f, "{protocol}://{username}@{host}{path}")
    }
}

impl Format {
    /// Whether the file holds more than the secret, which stays as it is.
    pub fn is_shared(&self) -> bool {
        match self {
            Self::Whole { .. } => false,
            Self::Env { .. }
            | Self::Document { .. }
            | Self::Properties { .. }
            | Self::Ini { .. }
            | Self::Netrc { .. }
            | Self::GitCredentials { .. }
            | Self::Xml { .. } => true,
            Self::Wrapped { within, .. } => within.is_shared(),
        }
    }

    /// Whether the secret can be taken out again: it is all of the file, or one entry whose place is found for sure.
    pub fn gives_back(&self) -> bool {
        match self {
            Self::Whole { .. } | Self::Env { .. } | Self::Document { .. } => true,
            Self::Properties { .. }
            | Self::Ini { .. }
            | Self::Netrc { .. }
            | Self::GitCredentials { .. }
            | Self::Xml { .. }
            | Self::Wrapped { .. } => false,
        }
    }

    /// The format without what it says besides the secret.
    pub fn bare(&self) -> &Self {
        match self {
            Self::Wrapped { within, .. } => within.bare(),
            other => other,
        }
    }

    /// Whether one file can have a slot of this format and one of `other`.
    pub fn fits(&self, other: &Self) -> bool {
        match (self.bare(), other.bare()) {
            (Self::Env { dialect, .. }, Self::Env { dialect: other, .. }) => dialect == other,
            (Self::Document { syntax, .. }, Self::Document { syntax: other, .. }) => syntax == other,
            (Self::Ini { reader, .. }, Self::Ini { reader: other, .. }) => reader == other,
            (Self::Properties { .. }, Self::Properties { .. })
            | (Self::Netrc { .. }, Self::Netrc { .. })
            | (Self::GitCredentials { .. }, Self::GitCredentials { .. })
            | (Self::Xml { .. }, Self::Xml { .. }) => true,
            _ => false,
        }
    }
}

/// How a structured document is written. Stored state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Syntax {
    Json,
    Yaml,
    Toml,
}

/// Where in a document a value is: a JSON pointer (RFC 6901) to something within the whole. Of a list, `key=text` is the
/// first item that has such a key. Stored state, as it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pointer(Vec<String>);

impl Pointer {
    /// A pointer with these tokens, from the outside in; there is at least one.
    pub fn of<const N: usize>(tokens: [&str; N]) -> Self {
        Self(tokens.map(str::to_owned).to_vec())
    }

    /// Names of tables and numbers of items, from the outside in; at least one.
    pub fn tokens(&self) -> &[String] {
        &self.0
    }

    /// Whether one of the two leads into what the other leads to.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.0.starts_with(&other.0) || other.0.starts_with(&self.0)
    }
}

impl From<Pointer> for String {
    fn from(pointer: Pointer) -> Self {
        pointer.to_string()
    }
}

impl TryFrom<String> for Pointer {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl FromStr for Pointer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("\"{text}\" is no pointer; write for example \"/auth/token\"");
        let rest = text.strip_prefix('/').ok_or_else(wrong)?;
        let token = |token: &str| {
            let escapes =
                token.match_indices('~').all(|(at, _)| matches!(token.as_bytes().get(at + 1), Some(b'0' | b'1')));
            escapes.then(|| token.replace("~1", "/").replace("~0", "~")).ok_or_else(wrong)
        };
        rest.split('/').map(token).collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|token| write!(f, "/{}", token.replace('~', "~0").replace('/', "~1")))
    }
}

/// The program that reads an env file. It is never guessed from the file's name: readers differ. Stored state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dialect {
    /// systemd's `EnvironmentFile=`.
    Systemd,
    /// `docker --env-file`.
    Docker,
    /// compose, godotenv, Node, Python and Ruby at once.
    Dotenv,
    /// `set -a; . FILE` in a POSIX shell.
    PosixSh,
}
