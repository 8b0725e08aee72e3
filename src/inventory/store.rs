//! Where the secrets of a token go.
//!
//! A **target** is what is read and written as one thing: a file, whatever it holds, or a directory whose files change at
//! once. A **slot** is the place of one secret in it: the whole file, a key of it, or one of those files. A [`StoreKey`]
//! names a slot, a [`TargetKey`] a target.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::AccountPolicy;
use super::format::Format;
use super::template::TemplateSlot;
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
    /// The file of this machine that is replaced by a write: its directory is swept of what a kill left there, and must be
    /// one that consumers see. `None` where the store is no file here.
    pub fn replaces(&self) -> Option<Cow<'_, Path>> {
        match &self.kind {
            StoreKind::File(file) => Some(Cow::Borrowed(&file.path)),
            StoreKind::Directory(directory) => Some(Cow::Owned(directory.path.join(DATA_LINK))),
            StoreKind::Command(_) | StoreKind::Remote(_) | StoreKind::Hosted(_) => None,
        }
    }

    /// The other slots that one write brings up to date with this one, so that nobody sees a mixture, each with the part of
    /// the secret that it gets.
    pub fn beside(&self) -> impl Iterator<Item = (&StoreKey, &str)> {
        let files = match &self.kind {
            StoreKind::Directory(directory) => &*directory.files,
            StoreKind::File(_) | StoreKind::Command(_) | StoreKind::Remote(_) | StoreKind::Hosted(_) => &[],
        };
        let files = files.iter().map(|file| (&file.key, file.part.as_str()));
        let members = self.template().into_iter().flat_map(TemplateSlot::together);
        let slots = files.chain(members.map(|member| (&member.key, member.part.as_str())));
        slots.filter(|(key, _)| **key != self.key)
    }

    /// The value of a template that it is, where it is one.
    pub fn template(&self) -> Option<&TemplateSlot> {
        match &self.kind {
            StoreKind::File(FilePolicy { format: Format::Template(slot), .. }) => Some(slot),
            _ => None,
        }
    }

    /// The host whose agent writes it. `None`: this process does.
    pub fn host(&self) -> Option<&HostName> {
        match &self.kind {
            StoreKind::Hosted(hosted) => Some(&hosted.host),
            StoreKind::File(_) | StoreKind::Directory(_) | StoreKind::Command(_) | StoreKind::Remote(_) => None,
        }
    }

    /// The numbers of the user and the group that the file is given to.
    pub fn given_to(&self) -> (Option<u32>, Option<u32>) {
        match &self.kind {
            StoreKind::File(file) => (file.owner, file.group),
            StoreKind::Directory(directory) => (directory.owner, directory.group),
            StoreKind::Command(_) | StoreKind::Remote(_) | StoreKind::Hosted(_) => (None, None),
        }
    }

    /// The account that reaches it, where one does.
    pub fn account(&self) -> Option<&AccountName> {
        match &self.kind {
            StoreKind::Remote(remote) => Some(&remote.account),
            StoreKind::File(_) | StoreKind::Directory(_) | StoreKind::Command(_) | StoreKind::Hosted(_) => None,
        }
    }

    /// Whether it may hold something that it does not show: whose that is, only what is known of writes can tell.
    pub fn hides(&self) -> bool {
        match &self.kind {
            StoreKind::File(_) | StoreKind::Directory(_) | StoreKind::Hosted(_) => false,
            StoreKind::Command(command) => command.read.is_some(),
            StoreKind::Remote(remote) => remote.definition.hides(),
        }
    }

    /// Whether its value can be taken out of it again; otherwise why not, as the end of a sentence.
    pub fn erasable(&self) -> Result<(), &'static str> {
        match &self.kind {
            StoreKind::File(file) if !file.format.gives_back() => Err("other values are in the same file"),
            StoreKind::Directory(directory) if !directory.file(&self.key).is_some_and(|it| it.format.gives_back()) => {
                Err("its files say more than the secret")
            }
            StoreKind::Command(_) => Err("no program is told to remove anything"),
            StoreKind::Hosted(hosted) if !hosted.file.format.gives_back() => Err("other values are in the same file"),
            StoreKind::Remote(remote) if !remote.definition.erases() => Err("its definition has no [delete]"),
            StoreKind::File(_) | StoreKind::Directory(_) | StoreKind::Remote(_) | StoreKind::Hosted(_) => Ok(()),
        }
    }

    /// The directory of that file.
    pub fn directory(&self) -> Option<&Path> {
        match &self.kind {
            StoreKind::File(file) => Some(file.path.parent().unwrap_or(Path::new("/"))),
            StoreKind::Directory(directory) => Some(&directory.path),
            StoreKind::Command(_) | StoreKind::Remote(_) | StoreKind::Hosted(_) => None,
        }
    }

    /// The programs that it runs.
    pub fn programs(&self) -> impl Iterator<Item = &str> {
        let commands = match &self.kind {
            StoreKind::Command(command) => Some(std::iter::once(&command.write).chain(&command.read)),
            StoreKind::File(_) | StoreKind::Directory(_) | StoreKind::Remote(_) | StoreKind::Hosted(_) => None,
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
    /// One of the files of a directory of this machine that change at once.
    Directory(DirectoryPolicy),
    /// Whatever a program of the operator's reads and writes.
    Command(Box<CommandPolicy>),
    /// A slot of a store that is described by a definition and reached through an account.
    Remote(RemotePolicy),
    /// A file of a host of consumers, written by the agent there.
    Hosted(Box<HostedPolicy>),
}

/// A file of another machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
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

/// The link in a directory store that leads to the files that are valid now. Kubernetes calls it so in the volumes that it
/// projects (`pkg/volume/util/atomic_writer.go`), and consumers that know those watch it.
pub const DATA_LINK: &str = "..data";

/// A directory whose files change at once, and which of them is the slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryPolicy {
    /// Absolute.
    pub path: PathBuf,
    /// Permission bits of the files.
    pub mode: Option<u32>,
    /// Of the files. Resolved when the inventory was loaded.
    pub owner: Option<u32>,
    pub group: Option<u32>,
    /// All files that the token has there, the slot's among them. Shared by their stores.
    pub files: Arc<[DirectoryFile]>,
}

/// One of the files of a directory that change at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryFile {
    pub key: StoreKey,
    /// In the directory.
    pub name: String,
    /// Which part of the secret it gets.
    pub part: String,
    /// [`Format::Whole`], or that with something around the secret.
    pub format: Format,
}

impl DirectoryPolicy {
    /// The file whose slot is called `key`.
    pub fn file(&self, key: &StoreKey) -> Option<&DirectoryFile> {
        self.files.iter().find(|file| file.key == *key)
    }

    /// One of its files, as its consumers see it.
    pub fn as_file(&self, file: &DirectoryFile) -> FilePolicy {
        let Self { path, mode, owner, group, .. } = self;
        FilePolicy {
            path: path.join(&file.name),
            mode: *mode,
            owner: *owner,
            group: *group,
            format: file.format.clone(),
        }
    }
}
