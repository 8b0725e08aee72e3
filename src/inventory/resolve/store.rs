//! Stores: paths, owners, and targets that collide.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

use crate::document::{Located, Spot};
use crate::inventory::spec::{StoreKindSpec, StoreSpec};
use crate::inventory::{Dialect, FilePolicy, StoreKind, StorePolicy, defaults, values};
use crate::names::StoreKey;
use crate::secret::TOKEN_PART;

use super::Context;
use super::account::absolute;

/// Every file that some store writes, by its normalised path.
pub(super) struct Targets<'c> {
    context: &'c Context<'c>,
    /// As plain text: paths are hashed component by component.
    taken: HashMap<OsString, Target>,
}

/// Who writes a file.
enum Target {
    /// The inventory itself was read from it.
    Inventory,
    /// This program needs it for something else.
    Needed(Needed),
    File(Writer),
    EnvFile {
        first: Writer,
        dialect: Dialect,
        file: FilePolicy,
        keys: HashMap<String, Writer>,
    },
}

/// A token and the place of its store.
#[derive(Clone)]
struct Writer {
    what: String,
    spot: Spot,
}

/// A file that no store may write.
#[derive(Clone)]
pub(super) struct Needed {
    pub path: PathBuf,
    /// As the end of a sentence.
    pub what: String,
    pub spot: Spot,
}

impl<'c> Targets<'c> {
    /// Law: no store writes over a file that this program reads or keeps for another purpose.
    pub(super) fn new(context: &'c Context<'c>, needed: Vec<Needed>) -> Self {
        let needed = needed.into_iter().map(|file| (normalised(&file.path).into(), Target::Needed(file)));
        let files = context.around.files.iter().map(|path| (normalised(path).into(), Target::Inventory));
        Self { context, taken: needed.chain(files).collect() }
    }

    /// Makes room for about so many stores.
    pub(super) fn reserve(&mut self, stores: usize) {
        self.taken.reserve(stores);
    }

    /// The policy of one store of the token that messages call `what`; `parts` are those that its definition yields.
    pub(super) fn store(&mut self, spec: &StoreSpec, parts: Option<&[&str]>, what: &str) -> Option<StorePolicy> {
        let part = self.part(spec.part.as_ref(), parts, what);
        let file = self.file(spec, what)?;
        let normal = normalised(&file.path);
        let writer = Writer { what: what.to_owned(), spot: spec.path.spot };
        if self.is_definition(&normal) {
            let message = format!("{what} would overwrite {}, a provider definition", normal.display());
            self.context.report.error_with_help(writer.spot, message, "choose a path outside of `providers`");
            return None;
        }
        let (key, kind) = match &spec.kind {
            StoreKindSpec::File { .. } => {
                self.claim_file(&normal, writer)?;
                (format!("file:{}", normal.display()), StoreKind::File(file))
            }
            StoreKindSpec::EnvFile { key, dialect } => {
                let dialect = dialect.as_ref().map_or(defaults::DIALECT, |dialect| dialect.value);
                self.check_key(key, what)?;
                let writer = Writer { spot: key.spot, ..writer };
                self.claim_key(&normal, &key.value, dialect, &file, writer)?;
                let kind = StoreKind::EnvFile { file, key: key.value.clone(), dialect };
                (format!("env-file:{}#{}", normal.display(), key.value), kind)
            }
        };
        match key.parse::<StoreKey>() {
            Ok(key) => Some(StorePolicy { key, part, kind }),
            Err(error) => {
                self.context.report.error(spec.path.spot, format!("`path` of a store of {what}: {error}"));
                None
            }
        }
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

    /// Whether the file is read as a provider definition.
    fn is_definition(&self, path: &Path) -> bool {
        let directory = self.context.around.providers.map(normalised);
        directory.is_some_and(|directory| path.parent() == Some(&directory))
            && path.extension().is_some_and(|extension| extension == "toml")
    }

    fn file(&self, spec: &StoreSpec, what: &str) -> Option<FilePolicy> {
        let report = self.context.report;
        let owner = spec.owner.as_ref().map(|owner| (owner.spot, &owner.value));
        let user = owner.and_then(|(spot, owner)| self.number(&owner.user, spot, Kind::User, what));
        let with_user = owner.and_then(|(spot, owner)| Some((spot, owner.group.as_deref()?)));
        if let Some((group, _)) = spec.group.as_ref().zip(with_user) {
            let message = format!("a store of {what} has a group in `owner` and in `group`");
            report.error_with_help(group.spot, message, "remove one of the two");
        }
        let group = with_user.or_else(|| spec.group.as_ref().map(|group| (group.spot, group.value.as_str())));
        let group = group.and_then(|(spot, group)| self.number(group, spot, Kind::Group, what));

        let path = absolute(&spec.path, format_args!("`path` of a store of {what}"), self.context)?;
        if path.file_name().is_none() || spec.path.value.ends_with(['/']) || spec.path.value.ends_with("/.") {
            let message = format!("`path` of a store of {what} is a directory");
            report.error_with_help(spec.path.spot, message, "name a file in it");
            return None;
        }
        let newline = match spec.kind {
            StoreKindSpec::File { newline } => newline.unwrap_or(defaults::NEWLINE),
            StoreKindSpec::EnvFile { .. } => false,
        };
        let mode = spec.mode.as_ref().map(|mode| mode.value);
        Some(FilePolicy { path, mode, owner: user, group, newline })
    }

    fn number(&self, name: &str, spot: Spot, kind: Kind, what: &str) -> Option<u32> {
        let number = match kind {
            Kind::User => (self.context.around.user)(name),
            Kind::Group => (self.context.around.group)(name),
        };
        if number.is_none() {
            let (word, command) = match kind {
                Kind::User => ("user", "useradd --system"),
                Kind::Group => ("group", "groupadd --system"),
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

    fn claim_file(&mut self, path: &Path, writer: Writer) -> Option<()> {
        match self.taken.entry(path.as_os_str().to_owned()) {
            Entry::Vacant(free) => {
                free.insert(Target::File(writer));
                Some(())
            }
            Entry::Occupied(taken) => {
                self.context.collision(path, taken.get(), &writer);
                None
            }
        }
    }

    fn claim_key(&mut self, path: &Path, key: &str, dialect: Dialect, file: &FilePolicy, writer: Writer) -> Option<()> {
        let context = self.context;
        let mut taken = match self.taken.entry(path.as_os_str().to_owned()) {
            Entry::Vacant(free) => {
                let keys = HashMap::from([(key.to_owned(), writer.clone())]);
                free.insert(Target::EnvFile { first: writer, dialect, file: file.clone(), keys });
                return Some(());
            }
            Entry::Occupied(taken) => taken,
        };
        let Target::EnvFile { first, dialect: agreed, file: known, keys } = taken.get_mut() else {
            context.collision(path, taken.get(), &writer);
            return None;
        };
        if let Some(other) = keys.get(key) {
            let message = twice(&writer, &format!("key {key} of {}", path.display()), other);
            context.clash(writer.spot, message, other.spot);
            return None;
        }
        if *agreed != dialect {
            let message = format!("{} writes {} in another dialect than {}", writer.what, path.display(), first.what);
            context.clash(writer.spot, message, first.spot);
        }
        if differ(known.mode, file.mode) || differ(known.owner, file.owner) || differ(known.group, file.group) {
            let message =
                format!("{} wants another mode or owner of {} than {}", writer.what, path.display(), first.what);
            context.clash(writer.spot, message, first.spot);
        }
        keys.insert(key.to_owned(), writer);
        Some(())
    }
}

#[derive(Clone, Copy)]
enum Kind {
    User,
    Group,
}

impl Context<'_> {
    fn collision(&self, path: &Path, target: &Target, writer: &Writer) {
        let first = match target {
            Target::Inventory => {
                let message = format!("{} would overwrite {}, a file of this inventory", writer.what, path.display());
                self.report.error_with_help(writer.spot, message, "choose another path");
                return;
            }
            Target::Needed(Needed { what, spot, .. }) => {
                let message = format!("{} would overwrite {}, {what}", writer.what, path.display());
                self.clash(writer.spot, message, *spot);
                return;
            }
            Target::File(first) | Target::EnvFile { first, .. } => first,
        };
        let message = twice(writer, &path.display().to_string(), first);
        self.clash(writer.spot, message, first.spot);
    }

    fn clash(&self, spot: Spot, message: String, first: Spot) {
        self.report.error_with_help(spot, message, format!("the other one is at {}", self.report.place(first)));
    }
}

fn twice(writer: &Writer, target: &str, first: &Writer) -> String {
    if writer.what == first.what {
        return format!("{} writes {target} twice", writer.what);
    }
    format!("{} writes {target}, and so does {}", writer.what, first.what)
}

/// Whether both are given and not the same.
fn differ(one: Option<u32>, other: Option<u32>) -> bool {
    one.zip(other).is_some_and(|(one, other)| one != other)
}

/// `path` without `.`, doubled slashes and `..`, so that two spellings of one file are seen as one. Links are not
/// followed: the inventory must mean the same before they exist.
fn normalised(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                normal.pop();
            }
            Component::RootDir | Component::Prefix(_) | Component::Normal(_) => normal.push(component),
        }
    }
    normal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_path_are_one() {
        for (spelling, normal) in
            [("/a/./b//c", "/a/b/c"), ("/a/x/../b/c", "/a/b/c"), ("/../a/b", "/a/b"), ("/a/b/c", "/a/b/c")]
        {
            assert_eq!(normalised(Path::new(spelling)), Path::new(normal));
        }
    }
}
