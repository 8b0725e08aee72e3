//! Files of this machine, whatever they hold.
//!
//! Writes are atomic, read back, and idempotent: writing what is there already changes nothing. Two tokens may own slots
//! of one file, and people edit such files; so edits of one file take turns in this process, and an edit by anybody else
//! between reading and replacing is noticed and taken into account.
//!
//! Everything here blocks.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::durable::{Attributes, Cause, Content, DurableError, Identity, Phase, Target};
use crate::inventory::{FilePolicy, defaults};
use crate::names::StoreKey;
use crate::outcome::{Failure, FailureCode, Outcome};
use crate::secret::Secret;

use super::Look;
use super::format::{self, Problem, Read, Text};
use super::judge::{Found, Judge, Move};
use super::place::{ELSE, Erased};
use super::turn::Turns;

/// Writes of the same file take turns, whatever path leads to it.
static TURNS: Turns<Identity, Mutex<()>> = Turns::new();

/// Larger files are refused.
pub(super) const MAX_FILE: usize = 1024 * 1024;

/// How often an edit begins anew because somebody else changed the file meanwhile.
pub(super) const EDITS: u32 = 5;

/// A slot of a file.
#[derive(Clone, Debug)]
pub struct Slot {
    pub key: StoreKey,
    pub file: FilePolicy,
}

impl Slot {
    /// Tests that the file can be written, with the owner and mode asked for, and leaves it as it is. `judge`: nothing that
    /// stays is in the way, either.
    pub fn preflight(&self, judge: Option<&Judge>) -> Result<(), Failure> {
        let target = self.open_shared()?;
        let existing = self.read_existing(&target)?;
        format::check_slot(&self.file.format).map_err(|why| refused(&self.key, &why))?;
        let document = existing.as_ref().map_or(&[][..], |content| &content.bytes);
        format::get(document, &self.file.format).map_err(|problem| self.unwritable(problem))?;
        let attributes = self.attributes(existing.as_ref())?;
        // Some more than is there, for a value that is longer than the old one.
        let size = existing.as_ref().map_or(0, |content| content.bytes.len()) + 4096;
        target.rehearse(size, attributes).map_err(|error| self.unwritable(error))?;
        self.permitted(existing.as_ref(), judge)
    }

    /// Writes the secret and reads it back. `judge`: not over everything.
    ///
    /// Done: it is there, on the disk. Later: the file, its directory or its content do not allow it now. Refused: the
    /// format cannot hold this value. Unknown: it may be visible, but that could not be confirmed; write again.
    pub fn write(&self, secret: &Secret, judge: Option<&Judge>) -> Outcome<()> {
        if let Err(failure) = self.check_value(secret) {
            return Outcome::Refused(failure);
        }
        match self.write_checked(secret, judge) {
            Ok(outcome) => outcome,
            Err(failure) => Outcome::later(failure),
        }
    }

    /// Whether the format can hold the secret at all; no file is looked at.
    pub fn check_value(&self, secret: &Secret) -> Result<(), Failure> {
        if secret.is_blank() {
            return Err(refused(&self.key, "the value is empty"));
        }
        format::check_value(secret.expose(), &self.file.format).map_err(|why| refused(&self.key, &why))
    }

    /// What the slot holds.
    pub fn look(&self) -> Result<Look, Failure> {
        let nothing = Look { found: Found::Absent, attributes_ok: true };
        let target = match Target::open(&self.file.path) {
            Err(error) if error.io().is_some_and(|error| error.kind() == std::io::ErrorKind::NotFound) => {
                return Ok(nothing);
            }
            target => target.map_err(|error| self.unwritable(error))?,
        };
        let content = match target.read(MAX_FILE) {
            // It holds something that is not known; that is no reason not to replace it.
            Err(error) if error.is_denied() && !self.file.format.keeps_others() => {
                return Ok(Look { found: Found::Other, attributes_ok: false });
            }
            content => content.map_err(|error| self.unwritable(error))?,
        };
        let Some(content) = content else { return Ok(nothing) };
        let found = self.found(&content)?;
        let attributes_ok = match self.attributes(Some(&content)) {
            Ok(wanted) => fits(wanted, content.attributes),
            Err(_) => false,
        };
        Ok(Look { found, attributes_ok })
    }

    /// Takes out what the slot holds where that is `ours`; otherwise says why it stays. A file that holds nothing besides is
    /// removed.
    pub fn erase(&self, ours: impl Fn(&Found) -> bool) -> Result<Erased, Failure> {
        let target = match Target::open(&self.file.path) {
            Err(error) if error.io().is_some_and(|error| error.kind() == std::io::ErrorKind::NotFound) => {
                return Ok(Erased::Gone);
            }
            target => target.map_err(|error| self.unwritable(error))?,
        };
        let turn = TURNS.of(&target.identity());
        let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
        if self.file.format.is_shared() {
            return self.cut(&target, ours);
        }
        match self.look()?.found {
            Found::Absent => Ok(Erased::Gone),
            found if ours(&found) => target.remove().map(|()| Erased::Gone).map_err(|error| self.unwritable(error)),
            _ => Ok(Erased::Stays(ELSE.to_owned())),
        }
    }

    /// Takes the slot out of a file that holds more, which stays as it is, with its owner, group and mode.
    fn cut(&self, target: &Target, ours: impl Fn(&Found) -> bool) -> Result<Erased, Failure> {
        for _ in 0..EDITS {
            let content = target.read_sole(MAX_FILE).map_err(|error| self.unwritable(error))?;
            let Some(content) = content else { return Ok(Erased::Gone) };
            match self.found(&content)? {
                Found::Absent => return Ok(Erased::Gone),
                found if ours(&found) => {}
                _ => return Ok(Erased::Stays(ELSE.to_owned())),
            }
            let bytes = match format::remove(&content.bytes, &self.file.format) {
                Ok(bytes) => bytes,
                Err(problem) => return Ok(Erased::Stays(format!("keeps it: {problem}"))),
            };
            let unchanged = |phase| match phase {
                Phase::Rename => still(target, Some(&content)),
                _ => Ok(()),
            };
            match target.replace_checked(&bytes, Attributes { inherit: false, ..content.attributes }, unchanged) {
                Ok(()) => return Ok(Erased::Gone),
                Err(error) if error.is_changed() => {}
                Err(error) => return Err(self.unwritable(error)),
            }
        }
        Err(self.unwritable("somebody else changed the file each time that it was edited"))
    }

    pub(super) fn found(&self, content: &Content) -> Result<Found, Failure> {
        let read = format::get(&content.bytes, &self.file.format).map_err(|problem| self.unwritable(problem))?;
        Ok(match read {
            Read::Missing => Found::Absent,
            // A secret is text: bytes that are none are something else.
            Read::Value(value) => str::from_utf8(&value).map_or(Found::Other, |text| Found::Value(Secret::new(text))),
            Read::Disputed => Found::Other,
        })
    }

    /// Whether what is there may be replaced.
    pub(super) fn permitted(&self, existing: Option<&Content>, judge: Option<&Judge>) -> Result<(), Failure> {
        let Some(judge) = judge else { return Ok(()) };
        let found = match existing {
            Some(content) => self.found(content)?,
            // Nothing, or something that cannot be read.
            None => self.look()?.found,
        };
        match judge.judge(&found) {
            Move::Stop(stranger) => Err(stranger.failure(&self.key)),
            Move::Keep | Move::Create | Move::Replace | Move::WriteBlindly => Ok(()),
        }
    }

    /// Whether nothing is there, without a look at what is.
    pub fn is_missing(&self) -> bool {
        std::fs::metadata(&self.file.path).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
    }

    fn write_checked(&self, secret: &Secret, judge: Option<&Judge>) -> Result<Outcome<()>, Failure> {
        self.edit(
            judge.is_some(),
            |existing| self.permitted(existing, judge),
            |document| Ok(format::set(document, secret.expose(), &self.file.format)?),
            || self.confirm(secret),
        )
    }

    /// Replaces what the file holds by what `text` makes of it, where that is `permitted`, and `confirm`s it. `judged`: what
    /// was found permitted must be what is replaced. Fails where nothing has changed.
    pub(super) fn edit(
        &self,
        judged: bool,
        permitted: impl Fn(Option<&Content>) -> Result<(), Failure>,
        text: impl Fn(&[u8]) -> Result<Text, Why>,
        confirm: impl FnOnce() -> Outcome<()>,
    ) -> Result<Outcome<()>, Failure> {
        let target = self.open_shared()?;
        let turn = TURNS.of(&target.identity());
        let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..EDITS {
            let existing = self.read_existing(&target)?;
            permitted(existing.as_ref())?;
            let wanted = self.attributes(existing.as_ref())?;
            let document = existing.as_ref().map_or(&[][..], |content| &content.bytes);
            let bytes = text(document).map_err(|why| self.unwritable(why))?;
            if existing.as_ref().is_some_and(|content| content.bytes == bytes && fits(wanted, content.attributes)) {
                return Ok(match target.settle() {
                    Ok(()) => Outcome::Done(()),
                    Err(error) => Outcome::Unknown(self.unwritable(error)),
                });
            }
            let unchanged = |phase| match phase {
                Phase::Rename if self.file.format.keeps_others() || judged => still(&target, existing.as_ref()),
                _ => Ok(()),
            };
            match target.replace_checked(&bytes, wanted, unchanged) {
                Ok(()) => return Ok(confirm()),
                Err(error) if error.is_changed() => {}
                Err(error) if error.may_be_visible() => return Ok(Outcome::Unknown(self.unwritable(error))),
                Err(error) => return Err(self.unwritable(error)),
            }
        }
        Err(self.unwritable("somebody else changed the file each time that it was edited"))
    }

    /// Reads back what was written.
    pub(super) fn confirm(&self, secret: &Secret) -> Outcome<()> {
        let mismatch = |why: &str| {
            Outcome::Unknown(Failure::new(FailureCode::StoreMismatch, format!("{}: {why} after the write", self.key)))
        };
        match self.look() {
            Ok(Look { found: Found::Value(found), attributes_ok }) if found.expose() == secret.expose() => {
                if attributes_ok {
                    Outcome::Done(())
                } else {
                    mismatch("owner, group or mode differ from what was asked for")
                }
            }
            Ok(Look { found: Found::Absent, .. }) => mismatch("it holds nothing"),
            Ok(_) => mismatch("it holds something else"),
            Err(failure) => Outcome::Unknown(failure),
        }
    }

    /// The owner, group and mode that the file is to have. It keeps what the inventory does not name: a file with other
    /// content everything, a file that holds a secret alone its owner and group, and its mode where an access control
    /// list depends on it.
    pub(super) fn attributes(&self, existing: Option<&Content>) -> Result<Attributes, Failure> {
        let file = &self.file;
        let shared = file.format.is_shared();
        let mode = file.mode.unwrap_or(defaults::STORE_MODE);
        let asked = Attributes { mode, owner: file.owner, group: file.group, inherit: !shared };
        let Some(Content { attributes: found, has_acl, .. }) = existing else { return Ok(asked) };
        if *has_acl && file.mode.is_some() && found.mode & 0o070 & !mode != 0 {
            // The group's bits of the mode are the mask of the list: they bound what it gives to anybody.
            let why = format!(
                "it has a POSIX access control list, which mode {mode:04o} would cut: remove `mode` from the inventory, or \
                 the list by `setfacl -b`"
            );
            return Err(self.unwritable(why));
        }
        if !shared {
            let mode = if *has_acl && file.mode.is_none() { mode | found.mode & 0o070 } else { mode };
            return Ok(Attributes { mode, ..asked });
        }
        if file.mode.is_none() && found.mode & 0o006 != 0 {
            let why =
                format!("its mode {:04o} opens it to every user: chmod o-rw, or set mode in the inventory", found.mode);
            return Err(self.unwritable(why));
        }
        Ok(Attributes {
            mode: file.mode.unwrap_or(found.mode),
            owner: asked.owner.or(found.owner),
            group: asked.group.or(found.group),
            inherit: false,
        })
    }

    fn open(&self) -> Result<Target, Failure> {
        Target::open(&self.file.path).map_err(|error| self.unwritable(error))
    }

    /// As [`Self::open`], where others than this process see what is written.
    fn open_shared(&self) -> Result<Target, Failure> {
        let directory = self.file.path.parent().unwrap_or(Path::new("/"));
        match crate::host::hides(directory) {
            Some(hidden) => Err(self.unwritable(hidden.sentence())),
            None => self.open(),
        }
    }

    fn read_existing(&self, target: &Target) -> Result<Option<Content>, Failure> {
        let content = if self.file.format.keeps_others() {
            // Its other content is copied into the new file.
            target.read_sole(MAX_FILE)
        } else {
            target.read(MAX_FILE).or_else(|error| if error.is_denied() { Ok(None) } else { Err(error) })
        };
        content.map_err(|error| self.unwritable(error))
    }

    fn unwritable(&self, why: impl Into<Why>) -> Failure {
        let path = self.file.path.display();
        let detail = match why.into() {
            // Names the path itself.
            Why::File(error) => error.to_string(),
            Why::Content(problem) => format!("{path} {problem}"),
            Why::Other(why) => format!("{path}: {why}"),
        };
        Failure::new(FailureCode::StoreUnwritable, detail)
    }
}

/// The store cannot hold a value.
fn refused(key: &StoreKey, why: &str) -> Failure {
    Failure::new(FailureCode::StoreRefused, format!("{key}: {why}"))
}

/// Whether the target still holds what was read.
fn still(target: &Target, existing: Option<&Content>) -> Result<(), Cause> {
    let Ok(now) = target.read_sole(MAX_FILE) else { return Err(Cause::Changed) };
    let same = match (&now, existing) {
        (Some(now), Some(existing)) => now.bytes == existing.bytes && now.attributes == existing.attributes,
        (None, None) => true,
        _ => false,
    };
    if same { Ok(()) } else { Err(Cause::Changed) }
}

pub(super) fn fits(wanted: Attributes, found: Attributes) -> bool {
    let agree = |wanted: Option<u32>, found| wanted.is_none() || wanted == found;
    wanted.mode == found.mode && agree(wanted.owner, found.owner) && agree(wanted.group, found.group)
}

/// What keeps a store from being written.
pub(super) enum Why {
    File(DurableError),
    Content(Problem),
    Other(String),
}

impl From<DurableError> for Why {
    fn from(error: DurableError) -> Self {
        Self::File(error)
    }
}

impl From<Problem> for Why {
    fn from(problem: Problem) -> Self {
        Self::Content(problem)
    }
}

impl From<&str> for Why {
    fn from(why: &str) -> Self {
        Self::Other(why.to_owned())
    }
}

impl From<String> for Why {
    fn from(why: String) -> Self {
        Self::Other(why)
    }
}

#[cfg(test)]
mod tests;
