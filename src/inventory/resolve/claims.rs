//! Which store has which target: no two stores write one place.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::path::{Component, Path, PathBuf};

use crate::document::Spot;
use crate::inventory::{FilePolicy, Format, Pointer};
use crate::names::TargetKey;

use super::Context;

/// Every target that some store writes.
pub(super) struct Claims<'c> {
    context: &'c Context<'c>,
    taken: HashMap<TargetKey, Claim>,
    /// Files of hosts, whether these are named, and who writes them.
    hosted: HashMap<PathBuf, (bool, Writer)>,
}

/// The owner of a target.
enum Claim {
    /// The inventory itself was read from it.
    Inventory,
    /// This program needs it for something else.
    Needed(Needed),
    /// One store has all of it.
    Whole(Writer),
    /// Stores have a slot of it each.
    Slots { first: Writer, slots: HashMap<String, Writer> },
    /// Stores have a slot of it each, and agree about the rest.
    Shared { first: Writer, agreed: FilePolicy, slots: HashMap<String, Writer> },
    /// Stores have files of it each, which are claimed by themselves; a token has one such store.
    Directory { first: Writer, others: Vec<Writer> },
}

/// A token and the place of its store.
#[derive(Clone)]
pub(super) struct Writer {
    pub what: String,
    pub spot: Spot,
}

/// A file that no store may write.
#[derive(Clone)]
pub(super) struct Needed {
    pub path: PathBuf,
    /// As the end of a sentence.
    pub what: String,
    pub spot: Spot,
}

impl<'c> Claims<'c> {
    /// Law: no store writes over a file that this program reads or keeps for another purpose.
    pub(super) fn new(context: &'c Context<'c>, needed: Vec<Needed>) -> Self {
        // A path that names no target cannot be a store's either.
        let target = |path: &Path| target(&normalised(path)).parse().ok();
        let needed = needed.into_iter().filter_map(|file| Some((target(&file.path)?, Claim::Needed(file))));
        let files = context.around.files.iter().filter_map(|path| Some((target(path)?, Claim::Inventory)));
        Self { context, taken: needed.chain(files).collect(), hosted: HashMap::new() }
    }

    /// Makes room for about so many stores.
    pub(super) fn reserve(&mut self, stores: usize) {
        self.taken.reserve(stores);
    }

    /// Hosts have a file by their names or by what they are: which of the two meet on one host, nobody knows beforehand.
    pub fn claim_manner(&mut self, path: &Path, named: bool, writer: &Writer) -> Option<()> {
        let (manner, first) = self.hosted.entry(path.to_owned()).or_insert_with(|| (named, writer.clone()));
        if *manner == named {
            return Some(());
        }
        let path = path.display();
        let message = format!("{path} is on hosts by name and on hosts by label, which may be the same ones");
        self.context.clash(writer.spot, message, first.spot);
        None
    }

    /// Claims all of a target for one store.
    pub(super) fn claim(&mut self, shown: impl fmt::Display, target: TargetKey, writer: Writer) -> Option<()> {
        match self.taken.entry(target) {
            Entry::Vacant(free) => {
                free.insert(Claim::Whole(writer));
                Some(())
            }
            Entry::Occupied(taken) => {
                self.context.collision(shown, taken.get(), &writer);
                None
            }
        }
    }

    /// Claims a directory whose files change at once, beside the stores of other tokens.
    ///
    /// Law: what one token has in a directory is one store, so that it changes at once.
    pub(super) fn claim_directory(&mut self, path: &Path, target: TargetKey, writer: Writer) -> Option<()> {
        let context = self.context;
        match self.taken.entry(target) {
            Entry::Vacant(free) => {
                free.insert(Claim::Directory { first: writer, others: Vec::new() });
            }
            Entry::Occupied(mut taken) => {
                let Claim::Directory { first, others } = taken.get_mut() else {
                    context.collision(path.display(), taken.get(), &writer);
                    return None;
                };
                if let Some(same) = std::iter::once(&*first).chain(&*others).find(|known| known.what == writer.what) {
                    let message =
                        format!("{} has two stores of {}, which do not change at once", writer.what, path.display());
                    context.clash(writer.spot, message + ": name their files in one", same.spot);
                    return None;
                }
                others.push(writer);
            }
        }
        Some(())
    }

    /// Claims one entry of a target, or all of it where there is no `slot`.
    pub(super) fn claim_entry(
        &mut self,
        shown: &str,
        target: TargetKey,
        slot: Option<&str>,
        writer: Writer,
    ) -> Option<()> {
        let Some(slot) = slot else { return self.claim(shown, target, writer) };
        match self.taken.entry(target) {
            Entry::Vacant(free) => {
                let slots = HashMap::from([(slot.to_owned(), writer.clone())]);
                free.insert(Claim::Slots { first: writer, slots });
                Some(())
            }
            Entry::Occupied(mut taken) => {
                let Claim::Slots { slots, .. } = taken.get_mut() else {
                    self.context.collision(shown, taken.get(), &writer);
                    return None;
                };
                if let Some(other) = slots.get(slot) {
                    let message = twice(&writer, &format!("{slot} of {shown}"), other);
                    self.context.clash(writer.spot, message, other.spot);
                    return None;
                }
                slots.insert(slot.to_owned(), writer);
                Some(())
            }
        }
    }

    /// Claims one slot of a target that others may have slots of, too.
    pub(super) fn claim_slot(
        &mut self,
        path: &Path,
        target: TargetKey,
        slot: &str,
        file: &FilePolicy,
        writer: Writer,
    ) -> Option<()> {
        let context = self.context;
        let mut taken = match self.taken.entry(target) {
            Entry::Vacant(free) => {
                let slots = HashMap::from([(slot.to_owned(), writer.clone())]);
                free.insert(Claim::Shared { first: writer, agreed: file.clone(), slots });
                return Some(());
            }
            Entry::Occupied(taken) => taken,
        };
        let Claim::Shared { first, agreed, slots } = taken.get_mut() else {
            context.collision(path.display(), taken.get(), &writer);
            return None;
        };
        // Of a document, a value and what it is within are one.
        let within = |known: &String| match (file.format.bare(), known.parse::<Pointer>()) {
            (Format::Document { pointer, .. }, Ok(known)) => pointer.overlaps(&known),
            _ => false,
        };
        if let Some(other) = slots.get(slot).or_else(|| slots.iter().find(|(known, _)| within(known)).map(|(_, it)| it))
        {
            let message = twice(&writer, &format!("key {slot} of {}", path.display()), other);
            context.clash(writer.spot, message, other.spot);
            return None;
        }
        if !agreed.format.fits(&file.format) {
            let env = matches!((&agreed.format, &file.format), (Format::Env { .. }, Format::Env { .. }));
            let way = if env { "dialect" } else { "format" };
            let message = format!("{} writes {} in another {way} than {}", writer.what, path.display(), first.what);
            context.clash(writer.spot, message, first.spot);
        }
        if differ(agreed.mode, file.mode) || differ(agreed.owner, file.owner) || differ(agreed.group, file.group) {
            let message =
                format!("{} wants another mode or owner of {} than {}", writer.what, path.display(), first.what);
            context.clash(writer.spot, message, first.spot);
        }
        slots.insert(slot.to_owned(), writer);
        Some(())
    }
}

impl Context<'_> {
    fn collision(&self, shown: impl fmt::Display, claim: &Claim, writer: &Writer) {
        let first = match claim {
            Claim::Inventory => {
                let message = format!("{} would overwrite {shown}, a file of this inventory", writer.what);
                self.report.error_with_help(writer.spot, message, "choose another path");
                return;
            }
            Claim::Needed(Needed { what, spot, .. }) => {
                let message = format!("{} would overwrite {shown}, {what}", writer.what);
                self.clash(writer.spot, message, *spot);
                return;
            }
            Claim::Whole(first)
            | Claim::Shared { first, .. }
            | Claim::Slots { first, .. }
            | Claim::Directory { first, .. } => first,
        };
        let message = twice(writer, &shown.to_string(), first);
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

/// The text that names a file as a target.
pub(super) fn target(path: &Path) -> String {
    format!("file:{}", path.display())
}

/// `path` without `.`, doubled slashes and `..`, so that two spellings of one file are seen as one. Links are not
/// followed: the inventory must mean the same before they exist.
pub(super) fn normalised(path: &Path) -> PathBuf {
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
