//! Files of a directory of this machine that change all at once.
//!
//! Each file is a slot. A write of one brings all files up to date that the token has in the directory, with the parts of the
//! same secret, so that no consumer sees a mixture; those of others stay. Everything else is as for single
//! [files](super::disk), by which consumers see them.
//!
//! Everything here blocks.

use std::sync::{Mutex, PoisonError};

use crate::durable::{Attributes, Cause, Change, Content, Current, DurableError, Identity, Phase, Shown, Switched};
use crate::inventory::{DirectoryFile, DirectoryPolicy, defaults};
use crate::names::StoreKey;
use crate::outcome::{Failure, FailureCode, Outcome};
use crate::secret::{Secret, SecretParts};

use super::Look;
use super::disk::{self, EDITS, MAX_FILE, fits};
use super::format;
use super::judge::{Found, Judge};
use super::place::{ELSE, Erased};
use super::turn::Turns;

/// Changes of the same directory take turns, whatever path leads to it.
static TURNS: Turns<Identity, Mutex<()>> = Turns::new();

/// One of the files of a directory.
#[derive(Clone, Debug)]
pub struct Slot {
    pub key: StoreKey,
    pub directory: DirectoryPolicy,
}

/// What a write brings to one file.
#[derive(Debug)]
pub struct Part {
    slot: disk::Slot,
    name: String,
    secret: Secret,
    /// `None`: whatever is there may be replaced.
    judge: Option<Judge>,
}

impl Slot {
    /// The file, as its consumers see it.
    fn file(&self) -> Result<(disk::Slot, &str), Failure> {
        let file = self.directory.file(&self.key);
        let file =
            file.ok_or_else(|| Failure::new(FailureCode::StoreUnwritable, format!("{}: no such file", self.key)))?;
        Ok((self.as_file(file), &file.name))
    }

    fn as_file(&self, file: &DirectoryFile) -> disk::Slot {
        disk::Slot { key: file.key.clone(), file: self.directory.as_file(file) }
    }

    /// Whether the file can hold the secret at all; nothing is looked at.
    pub fn check_value(&self, secret: &Secret) -> Result<(), Failure> {
        self.file().and_then(|(file, _)| file.check_value(secret))
    }

    /// What `parts` bring to each file of the token. `judge`: not over everything, by the key of the file. Fails where the
    /// secret lacks a part, or a file cannot hold it.
    pub fn parts(
        &self,
        parts: &SecretParts,
        judge: impl Fn(&DirectoryFile, &Secret) -> Option<Judge>,
    ) -> Result<Vec<Part>, Failure> {
        let part = |file: &DirectoryFile| {
            let slot = self.as_file(file);
            let secret = parts.part(&file.part).cloned().ok_or_else(|| {
                Failure::new(FailureCode::StoreRefused, format!("the secret has no part `{}`", file.part))
            })?;
            slot.check_value(&secret)?;
            let judge = judge(file, &secret);
            Ok(Part { slot, name: file.name.clone(), secret, judge })
        };
        self.directory.files.iter().map(part).collect()
    }

    /// Tests that the files can be changed, with the owner and mode asked for, and leaves them as they are. `judge`: nothing
    /// that stays is in the way of this one, either.
    pub fn preflight(&self, judge: Option<&Judge>) -> Result<(), Failure> {
        let (file, name) = self.file()?;
        let switched = self.open_shared()?;
        let current = switched.current().map_err(|error| unwritable(&error))?;
        let (existing, _) = seen(&switched, current.as_ref(), name)?;
        let attributes = file.attributes(existing.as_ref())?;
        let size = existing.as_ref().map_or(0, |content| content.bytes.len()) + 4096;
        switched.rehearse(size, attributes).map_err(|error| unwritable(&error))?;
        file.permitted(existing.as_ref(), judge)
    }

    /// Writes the files and reads them back.
    ///
    /// Done: they are there, on the disk. Later: the directory does not allow it now; nothing has changed. Unknown: they may be
    /// visible, but that could not be confirmed; write again.
    pub fn write(&self, parts: &[Part]) -> Outcome<()> {
        match self.write_checked(parts, &mut |_| Ok(())) {
            Ok(outcome) => outcome,
            Err(failure) => Outcome::later(failure),
        }
    }

    /// As [`Self::write`], asking `step` before each step.
    fn write_checked(
        &self,
        parts: &[Part],
        step: &mut dyn FnMut(Phase) -> Result<(), Cause>,
    ) -> Result<Outcome<()>, Failure> {
        let switched = self.open_shared()?;
        let turn = TURNS.of(&switched.identity());
        let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..EDITS {
            let current = switched.current().map_err(|error| unwritable(&error))?;
            let (mut changes, mut strangers, mut same) = (Vec::new(), Vec::new(), true);
            for part in parts {
                let (existing, shown) = seen(&switched, current.as_ref(), &part.name)?;
                part.slot.permitted(existing.as_ref(), part.judge.as_ref())?;
                let attributes = part.slot.attributes(existing.as_ref())?;
                let bytes = format::set(&[], part.secret.expose(), &part.slot.file.format)
                    .map_err(|problem| failure(problem.to_string()))?;
                let is = |content: &Content| content.bytes == bytes && fits(attributes, content.attributes);
                same &= shown == Shown::Linked && existing.as_ref().is_some_and(is);
                if shown == Shown::File {
                    strangers.push(part.name.as_str());
                }
                changes.push((part, existing, bytes, attributes));
            }
            if same {
                return Ok(match switched.settle() {
                    Ok(()) => Outcome::Done(()),
                    Err(error) => Outcome::Unknown(unwritable(&error)),
                });
            }
            if !strangers.is_empty() {
                // Files that stand in place of links are taken in first, which changes nothing that consumers read: only what
                // all of them read through links can change at once.
                match take_over(&switched, current.as_ref(), &strangers, step) {
                    Err(error) if !error.is_changed() => return Err(unwritable(&error)),
                    _ => continue,
                }
            }
            let put = |bytes, attributes: &Attributes| Change::Put { bytes, attributes: *attributes };
            let wanted: Vec<_> = changes
                .iter()
                .map(|(part, _, bytes, attributes)| (part.name.as_str(), put(bytes, attributes)))
                .collect();
            // What was judged is still what is there.
            let mut unchanged = |phase| {
                step(phase)?;
                let judged = changes.iter().filter(|(part, ..)| phase == Phase::Rename && part.judge.is_some());
                for (part, existing, ..) in judged {
                    let Ok((now, _)) = seen(&switched, current.as_ref(), &part.name) else {
                        return Err(Cause::Changed);
                    };
                    if now.map(|now| now.bytes) != existing.as_ref().map(|existing| existing.bytes.clone()) {
                        return Err(Cause::Changed);
                    }
                }
                Ok(())
            };
            match switched.publish(current.as_ref(), &wanted, &mut unchanged) {
                Ok(()) => return Ok(confirm(parts)),
                Err(error) if error.is_changed() => {}
                Err(error) if error.may_be_visible() => return Ok(Outcome::Unknown(unwritable(&error))),
                Err(error) => return Err(unwritable(&error)),
            }
        }
        Err(failure("somebody else changed the directory each time that it was edited".to_owned()))
    }

    /// What the file holds, as its consumers see it.
    pub fn look(&self) -> Result<Look, Failure> {
        let (file, name) = self.file()?;
        let look = file.look()?;
        let linked = || Switched::open(&self.directory.path).and_then(|switched| switched.shown(name));
        let attributes_ok = look.attributes_ok
            && (matches!(look.found, Found::Absent) || linked().is_ok_and(|shown| shown == Shown::Linked));
        Ok(Look { attributes_ok, ..look })
    }

    /// Removes the file where what it holds is `ours`; otherwise says why it stays. The others stay.
    pub fn erase(&self, ours: impl Fn(&Found) -> bool) -> Result<Erased, Failure> {
        let (file, name) = self.file()?;
        let switched = match Switched::open(&self.directory.path) {
            Err(error) if error.io().is_some_and(|error| error.kind() == std::io::ErrorKind::NotFound) => {
                return Ok(Erased::Gone);
            }
            switched => switched.map_err(|error| unwritable(&error))?,
        };
        let turn = TURNS.of(&switched.identity());
        let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..EDITS {
            let current = switched.current().map_err(|error| unwritable(&error))?;
            let (existing, shown) = seen(&switched, current.as_ref(), name)?;
            let Some(existing) = existing else {
                if shown == Shown::Nothing || current.is_none() {
                    return Ok(Erased::Gone);
                }
                // Its link is there still.
                return take_out(&switched, current.as_ref(), name).map(|_| Erased::Gone);
            };
            if shown == Shown::File || !ours(&file.found(&existing)?) {
                return Ok(Erased::Stays(ELSE.to_owned()));
            }
            if take_out(&switched, current.as_ref(), name)? {
                return Ok(Erased::Gone);
            }
        }
        Err(failure("somebody else changed the directory each time that it was edited".to_owned()))
    }

    /// Whether nothing is there, without a look at what is.
    pub fn is_missing(&self) -> bool {
        self.file().is_ok_and(|(file, _)| file.is_missing())
    }

    fn open_shared(&self) -> Result<Switched, Failure> {
        let path = &self.directory.path;
        match crate::host::hides(path) {
            Some(hidden) => Err(failure(format!("{}: {}", path.display(), hidden.sentence()))),
            None => Switched::open(path).map_err(|error| unwritable(&error)),
        }
    }
}

/// What the file holds, as its consumers see it, or would through its link; and how they see it.
fn seen(switched: &Switched, current: Option<&Current>, name: &str) -> Result<(Option<Content>, Shown), Failure> {
    let shown = switched.shown(name).map_err(|error| unwritable(&error))?;
    let content = match (shown, current) {
        (Shown::File, _) => switched.own_file(name).and_then(|file| file.read(MAX_FILE)),
        (Shown::Linked | Shown::Nothing, Some(current)) => current.read(name, MAX_FILE),
        (Shown::Linked | Shown::Nothing, None) => Ok(None),
    };
    let content = content.or_else(|error| if error.is_denied() { Ok(None) } else { Err(error) });
    Ok((content.map_err(|error| unwritable(&error))?, shown))
}

/// Whether it was taken out; otherwise somebody else was first.
fn take_out(switched: &Switched, current: Option<&Current>, name: &str) -> Result<bool, Failure> {
    match switched.publish(current, &[(name, Change::Remove)], &mut |_| Ok(())) {
        Ok(()) => Ok(true),
        Err(error) if error.is_changed() => Ok(false),
        Err(error) => Err(unwritable(&error)),
    }
}

fn unwritable(error: &DurableError) -> Failure {
    // Names the path itself.
    failure(error.to_string())
}

fn failure(why: String) -> Failure {
    Failure::new(FailureCode::StoreUnwritable, why)
}

/// Files that stand in place of links become the files that the links lead to.
fn take_over(
    switched: &Switched,
    current: Option<&Current>,
    names: &[&str],
    step: &mut dyn FnMut(Phase) -> Result<(), Cause>,
) -> Result<(), DurableError> {
    let changes: Vec<_> = names.iter().map(|name| (*name, Change::TakeOver)).collect();
    switched.publish(current, &changes, step)?;
    names.iter().try_for_each(|name| switched.show(name))
}

/// Reads back what was written.
fn confirm(parts: &[Part]) -> Outcome<()> {
    for part in parts {
        match part.slot.confirm(&part.secret) {
            Outcome::Done(()) => {}
            other => return other,
        }
    }
    Outcome::Done(())
}

/// A file that has left the inventory.
pub fn left(key: &StoreKey, path: std::path::PathBuf, name: String) -> Slot {
    let format = crate::inventory::Format::Whole { newline: defaults::NEWLINE };
    let file = DirectoryFile { key: key.clone(), name, part: String::new(), format };
    let directory = DirectoryPolicy { path, mode: None, owner: None, group: None, files: [file].into() };
    Slot { key: key.clone(), directory }
}

#[cfg(test)]
mod tests;
