//! Sources of secrets, and how each is read.

use std::fmt;
use std::future::pending;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::Command;
use zeroize::Zeroizing;

use super::Secret;
use crate::files;
use crate::outcome::{Failure, FailureCode, one_line};
use crate::process::{self, End, Output};
use crate::secret::Redactor;

const LARGEST: usize = files::LARGEST_SECRET;

/// How much of the end of a command's complaints is kept, before secrets are struck out of it.
const COMPLAINT: usize = 8192;

/// How long a command may take, its output included.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(10);

/// Where a secret comes from. The inventory never contains the secret itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SecretSource {
    /// The content of a file, without one newline at its end.
    File(PathBuf),
    /// An environment variable of the daemon.
    Env(String),
    /// A file of this name in `$CREDENTIALS_DIRECTORY`.
    SystemdCredential(String),
    /// The standard output of a command, without one newline at its end.
    Command(Vec<String>),
}

impl SecretSource {
    /// The file behind it, where it has one.
    pub fn file(&self) -> Result<Option<PathBuf>, Failure> {
        match self {
            Self::File(path) => Ok(Some(path.clone())),
            Self::SystemdCredential(name) => match std::env::var_os("CREDENTIALS_DIRECTORY") {
                Some(directory) => Ok(Some(Path::new(&directory).join(name))),
                None => Err(no_credential(format!(
                    "{self}: $CREDENTIALS_DIRECTORY is not set; the unit needs LoadCredential={name}:FILE"
                ))),
            },
            Self::Env(_) | Self::Command(_) => Ok(None),
        }
    }
}

impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Env(name) => write!(f, "environment variable {name}"),
            Self::SystemdCredential(name) => write!(f, "systemd credential {name}"),
            Self::Command(argv) => write!(f, "command {}", argv.join(" ")),
        }
    }
}

/// Reads a secret from its source.
///
/// One newline at its end (LF or CRLF) is not part of it. Refused are: nothing at all, more than 64 KiB, a NUL, and what
/// is not UTF-8. A command inherits the daemon's whole environment, because helpers need `HOME`, `PATH` and their own
/// settings; it runs in a process group of its own, which is killed after ten seconds. What it prints until it ends is the
/// secret: children that it leaves behind are not waited for.
pub async fn read(source: &SecretSource) -> Result<Secret, Failure> {
    read_within(source, COMMAND_TIMEOUT).await
}

async fn read_within(source: &SecretSource, timeout: Duration) -> Result<Secret, Failure> {
    let content = match source {
        SecretSource::File(_) | SecretSource::SystemdCredential(_) => match source.file()? {
            Some(path) => read_file(&path).await,
            None => Err("it is not a file".to_owned()),
        },
        SecretSource::Env(name) => match std::env::var_os(name) {
            Some(value) => Ok(Zeroizing::new(value.into_encoded_bytes())),
            None => Err("it is not set".to_owned()),
        },
        SecretSource::Command(argv) => run(argv, timeout).await,
    };
    content.and_then(|content| parse(&content).map_err(str::to_owned)).map_err(|reason| {
        // Of a command, the program only: an argument may be none of the log's business.
        match source {
            SecretSource::Command(argv) => {
                no_credential(format!("command {}: {reason}", argv.first().map_or("", String::as_str)))
            }
            source => no_credential(format!("{source}: {reason}")),
        }
    })
}

/// The secret in the bytes of its source, or why they hold none.
pub fn parse(content: &[u8]) -> Result<Secret, &'static str> {
    if content.len() > LARGEST {
        return Err("it has more than 64 KiB");
    }
    if content.contains(&0) {
        return Err("it contains a NUL");
    }
    let text = std::str::from_utf8(content).map_err(|_| "it is not UTF-8")?;
    let text = text.strip_suffix('\n').map_or(text, |text| text.strip_suffix('\r').unwrap_or(text));
    let secret = Secret::new(text);
    if secret.is_blank() { Err("it is empty") } else { Ok(secret) }
}

async fn read_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let read = files::read_off_runtime(path, files::LARGEST_SECRET).await;
    read.map_err(|error| one_line(&format!("it {error}"), 200))
}

/// The standard output of a command that succeeded. Its standard error goes into the reason where it did not.
async fn run(argv: &[String], timeout: Duration) -> Result<Zeroizing<Vec<u8>>, String> {
    let Some((program, arguments)) = argv.split_first() else {
        return Err("it names no program".to_owned());
    };
    let (output, errors) = (Output::whole(LARGEST), Output::end(COMPLAINT));
    let mut command = Command::new(program);
    let end = process::run(command.args(arguments), timeout, pending(), (&output, &errors)).await;
    match end.map_err(|error| one_line(&error.to_string(), 200))? {
        End::Exited(status) if status.success() => Ok(output.bytes()),
        End::Exited(status) => {
            Err(format!("it ended with {status}: {}", tail(Redactor::default(), &errors.bytes(), &output.bytes())))
        }
        End::TooMuch => Err("it printed more than 64 KiB and was killed".to_owned()),
        End::TimedOut | End::Stopped => {
            Err(format!("it took longer than {} and was killed", humantime::format_duration(timeout)))
        }
    }
}

/// The end of what a command said, in one line, without what `redactor` knows and anything that it printed as the secret.
pub fn tail(mut redactor: Redactor, errors: &[u8], output: &[u8]) -> String {
    for line in String::from_utf8_lossy(output).lines() {
        redactor.add(&Secret::new(line.trim()));
    }
    let clean = one_line(&redactor.clean(&String::from_utf8_lossy(errors)), usize::MAX / 4);
    let skipped = clean.chars().count().saturating_sub(300);
    let Some((start, _)) = clean.char_indices().nth(skipped).filter(|_| skipped > 0) else { return clean };
    // From a whole word on: half a secret would not be recognised as one.
    let word = clean[start..].find(' ').map_or(clean.len(), |blank| start + blank + 1);
    clean[word..].to_owned()
}

fn no_credential(detail: impl Into<String>) -> Failure {
    Failure::new(FailureCode::NoCredential, detail)
}

#[cfg(test)]
mod tests;
