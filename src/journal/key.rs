//! Where the key comes from that seals secrets.
//!
//! In this order: what the inventory names; the systemd credential `patrold-seal-key`; the file `seal.key` in the state
//! directory, which is made when there is none. A key that the inventory names and that cannot be read stops the
//! daemon.
//!
//! Law: a changed or lost key never rotates a fleet. Where the key opens nothing that is sealed, and the key in the state
//! directory does, the daemon seals everything anew ([`crate::daemon::rekey`]). Where no key opens anything, the journal
//! is not opened until the key is back, or an operator gives the secrets up ([`IfLost`]).

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::seal::{SealError, Sealer};
use crate::durable::{self, Attributes, DurableError};
use crate::files::{self, ReadError};
use crate::names::hex;
use crate::secret::{SecretSource, random};

/// The systemd credential that is used when the inventory names nothing.
pub const CREDENTIAL: &str = "patrold-seal-key";

/// The made key, in the state directory.
pub const FILE: &str = "seal.key";

/// Where to look for the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// This file, without one newline at its end; it must be there.
    File(PathBuf),
    /// This variable of the daemon's environment; it must be set.
    Env(String),
    /// `seal.key` in the state directory; made when it is not there.
    StateDirectory,
}

/// The key that `rekey` is about to bring into force, in the state directory.
pub const NEXT: &str = "seal.key.new";

/// Where a new key comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NewKey {
    /// Made, and kept in the state directory as the one before.
    Made,
    /// This file; where the daemon gets it from afterwards is the operator's to say.
    File(PathBuf),
    /// The key that the daemon was given since.
    Given(KeySource),
}

/// Whether to go on without the key that sealed the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfLost {
    /// The journal is not opened.
    Refuse,
    /// An operator said that the key is lost: the journal opens without its secrets.
    GoOn,
}

/// A new key that is not in force yet.
#[derive(Debug)]
pub struct Prepared {
    sealer: Sealer,
    /// Where the key lies that has to get into its place.
    made: Option<PathBuf>,
}

impl NewKey {
    /// Makes or reads the key. One that is made is on the disk before anything is sealed with it.
    pub fn prepare(&self, state_dir: &Path) -> Result<Prepared, KeyError> {
        match self {
            Self::Made => {
                let path = state_dir.join(NEXT);
                let sealer = sealer(path.display(), &make(state_dir, NEXT)?)?;
                Ok(Prepared { sealer, made: Some(state_dir.to_owned()) })
            }
            Self::File(path) => Ok(Prepared { sealer: sealer(path.display(), &read(path)?)?, made: None }),
            Self::Given(source) => Ok(Prepared { sealer: source.existing(state_dir)?, made: None }),
        }
    }
}

impl Prepared {
    /// Seals and opens with the new key.
    pub fn sealer(&self) -> &Sealer {
        &self.sealer
    }

    /// The journal is sealed with it: puts it where the daemon looks for it.
    pub fn settle(&self) -> Result<(), KeyError> {
        self.made.as_deref().map_or(Ok(()), settle)
    }
}

/// The key that a `rekey` prepared and was killed over, where there is one.
pub(super) fn next(state_dir: &Path) -> Result<Option<Sealer>, KeyError> {
    let path = state_dir.join(NEXT);
    match read(&path) {
        Ok(material) => sealer(path.display(), &material).map(Some),
        Err(KeyError::Read { source: ReadError::Missing, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Puts the key that a `rekey` prepared in the place of the one before. Done twice it does no harm.
pub(super) fn settle(state_dir: &Path) -> Result<(), KeyError> {
    let material = read(&state_dir.join(NEXT))?;
    durable::replace(&state_dir.join(FILE), &material, Attributes::PRIVATE).map_err(KeyError::Make)?;
    discard(state_dir)
}

/// Removes what a `rekey` prepared.
pub(super) fn discard(state_dir: &Path) -> Result<(), KeyError> {
    remove(state_dir.join(NEXT)).map(drop)
}

/// Removes the made key, which nothing is sealed with any more. True where there was one.
pub fn remove_made(state_dir: &Path) -> Result<bool, KeyError> {
    remove(state_dir.join(FILE))
}

fn remove(path: PathBuf) -> Result<bool, KeyError> {
    match std::fs::remove_file(&path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(KeyError::Remove { path, source }),
    }
}

/// How a key came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyOrigin {
    /// It was there.
    Found,
    /// It was made for a new journal.
    Made,
    /// It was made although there is a journal: the key of that journal is lost.
    MadeAnew,
}

impl KeySource {
    /// Where to look, given what the inventory says (`daemon.seal-key`) and `env`, a look at the environment.
    pub fn resolve(source: Option<&SecretSource>, env: impl Fn(&str) -> Option<OsString>) -> Result<Self, KeyError> {
        let credential = |name: &str| env("CREDENTIALS_DIRECTORY").map(|dir| Path::new(&dir).join(name));
        match source {
            Some(SecretSource::File(path)) => Ok(Self::File(path.clone())),
            Some(SecretSource::Env(name)) => Ok(Self::Env(name.clone())),
            Some(SecretSource::SystemdCredential(name)) => {
                credential(name).map(Self::File).ok_or_else(|| KeyError::NoCredentials(name.clone()))
            }
            Some(SecretSource::Command(_)) => Err(KeyError::Command),
            None => {
                let given = credential(CREDENTIAL).filter(|path| path.exists());
                Ok(given.map_or(Self::StateDirectory, Self::File))
            }
        }
    }

    /// Whether this is another key than the one in the state directory, where there is one.
    pub fn differs_from_made(&self, state_dir: &Path) -> bool {
        *self != Self::StateDirectory && state_dir.join(FILE).exists()
    }

    /// Whether the key would have to be made, and no `rekey` was killed that left one.
    pub(super) fn is_missing(&self, state_dir: &Path) -> bool {
        *self == Self::StateDirectory && !state_dir.join(FILE).exists() && !state_dir.join(NEXT).exists()
    }

    /// Reads the key of the journal in `state_dir`; makes none.
    pub(super) fn existing(&self, state_dir: &Path) -> Result<Sealer, KeyError> {
        let source = match self {
            Self::StateDirectory => &Self::File(state_dir.join(FILE)),
            other => other,
        };
        source.load(state_dir, true).map(|(sealer, _)| sealer)
    }

    /// Reads the key, or makes it. Called under the lock of the state directory. `has_journal`: whether there already is
    /// a journal, which then had a key.
    pub(super) fn load(&self, state_dir: &Path, has_journal: bool) -> Result<(Sealer, KeyOrigin), KeyError> {
        match self {
            Self::File(path) => Ok((sealer(path.display(), &read(path)?)?, KeyOrigin::Found)),
            Self::Env(name) => {
                let value = std::env::var_os(name).ok_or_else(|| KeyError::NoVariable(name.clone()))?;
                let value = Zeroizing::new(value.into_vec());
                Ok((sealer(format_args!("environment variable {name}"), &value)?, KeyOrigin::Found))
            }
            Self::StateDirectory => {
                let path = state_dir.join(FILE);
                match read(&path) {
                    Ok(material) => Ok((sealer(path.display(), &material)?, KeyOrigin::Found)),
                    Err(KeyError::Read { source: ReadError::Missing, .. }) => {
                        let material = make(state_dir, FILE)?;
                        let origin = if has_journal { KeyOrigin::MadeAnew } else { KeyOrigin::Made };
                        Ok((sealer(path.display(), &material)?, origin))
                    }
                    Err(error) => Err(error),
                }
            }
        }
    }
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("the sealing key {} {source}: {}", path.display(), source.remedy())]
    Read { path: PathBuf, source: ReadError },
    #[error("the sealing key {} cannot be removed: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("the sealing key {} cannot be removed: {source}", path.display())]
    Remove { path: PathBuf, source: io::Error },
    #[error("the sealing key cannot be made: {0}")]
    Make(#[source] DurableError),
    #[error("the sealing key cannot be made: the system gives no random numbers")]
    NoRandomness,
    #[error("the environment variable {0}, which should hold the sealing key, is not set")]
    NoVariable(String),
    #[error("there is no systemd credential {0} for the sealing key: CREDENTIALS_DIRECTORY is not set")]
    NoCredentials(String),
    #[error("the sealing key cannot come from a command: name a file, a variable or a systemd credential")]
    Command,
    #[error("{place}: {source}")]
    Unusable { place: String, source: SealError },
}

fn sealer(place: impl std::fmt::Display, material: &[u8]) -> Result<Sealer, KeyError> {
    let trimmed = material.strip_suffix(b"\n").unwrap_or(material);
    Sealer::new(trimmed).map_err(|source| KeyError::Unusable { place: place.to_string(), source })
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    files::read(path, files::LARGEST_SECRET).map_err(|source| KeyError::Read { path: path.to_owned(), source })
}

/// Makes a key in the file `name`: 32 random bytes in hex, so that an editor or a secret manager can carry them. Complete or not
/// there, also after a power cut: secrets sealed under a key that did not reach the disk would be lost.
fn make(state_dir: &Path, name: &str) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let path = state_dir.join(name);
    let mut bytes = Zeroizing::new([0; 32]);
    random::fill(bytes.as_mut_slice()).map_err(|_| KeyError::NoRandomness)?;
    let mut text = Zeroizing::new(hex(bytes.as_slice()).into_bytes());
    text.push(b'\n');
    durable::replace(&path, &text, Attributes::PRIVATE).map_err(KeyError::Make)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn id(source: &KeySource, state_dir: &Path) -> crate::journal::seal::KeyId {
        source.load(state_dir, false).unwrap().0.key_id()
    }

    #[test]
    fn the_inventory_comes_first_then_the_credential_then_the_state_directory() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_owned();
        let env = |name: &str| (name == "CREDENTIALS_DIRECTORY").then(|| path.clone().into_os_string());
        assert_eq!(KeySource::resolve(None, env).unwrap(), KeySource::StateDirectory);
        std::fs::write(dir.path().join(CREDENTIAL), "x".repeat(32)).unwrap();
        assert_eq!(KeySource::resolve(None, env).unwrap(), KeySource::File(dir.path().join(CREDENTIAL)));
        let named = SecretSource::File("/etc/key".into());
        assert_eq!(KeySource::resolve(Some(&named), env).unwrap(), KeySource::File("/etc/key".into()));
        let credential = SecretSource::SystemdCredential("mine".into());
        assert_eq!(KeySource::resolve(Some(&credential), env).unwrap(), KeySource::File(dir.path().join("mine")));
        assert!(KeySource::resolve(Some(&credential), |_| None).unwrap_err().to_string().contains("mine"));
        assert!(KeySource::resolve(Some(&SecretSource::Command(vec![])), env).is_err());
    }

    #[test]
    fn a_made_key_is_private_stays_the_same_and_can_be_moved() {
        let dir = tempfile::tempdir().unwrap();
        let (made, origin) = KeySource::StateDirectory.load(dir.path(), false).unwrap();
        assert_eq!(origin, KeyOrigin::Made);
        let path = dir.path().join(FILE);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        let (found, origin) = KeySource::StateDirectory.load(dir.path(), true).unwrap();
        assert_eq!((found.key_id(), origin), (made.key_id(), KeyOrigin::Found));
        let elsewhere = dir.path().join("copy");
        std::fs::write(&elsewhere, std::fs::read_to_string(&path).unwrap().trim_end()).unwrap();
        assert_eq!(id(&KeySource::File(elsewhere), dir.path()), made.key_id());

        std::fs::remove_file(&path).unwrap();
        let (lost, origin) = KeySource::StateDirectory.load(dir.path(), true).unwrap();
        assert_eq!(origin, KeyOrigin::MadeAnew);
        assert_ne!(lost.key_id(), made.key_id());
        let names: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names.len(), 2, "no temporary file is left: {names:?}");
    }

    #[test]
    fn a_key_that_should_be_there_and_is_not_says_so() {
        let dir = tempfile::tempdir().unwrap();
        for (source, text) in [
            (KeySource::File("/nonexistent/key".into()), "/nonexistent/key does not exist"),
            (KeySource::Env("PATROLD_TEST_NO_SUCH_KEY".into()), "PATROLD_TEST_NO_SUCH_KEY"),
        ] {
            let error = source.load(dir.path(), true).unwrap_err().to_string();
            assert!(error.contains(text), "{error}");
        }
        let short = dir.path().join("short");
        std::fs::write(&short, "fifteen bytes!!\n").unwrap();
        let error = KeySource::File(short).load(dir.path(), true).unwrap_err().to_string();
        assert!(error.contains("has 15 bytes"), "{error}");
    }
}
