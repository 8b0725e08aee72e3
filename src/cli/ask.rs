//! Questions to whoever types a command; where nobody is there, the flags that answer them.

use std::fmt::Display;
use std::fs::File;
use std::io::{self, BufRead as _, IsTerminal as _, Read, Write as _};
use std::path::Path;

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use crate::secret::source;

use super::Complaint;

/// More than any credential has; one byte more is refused.
const LARGEST: u64 = 64 * 1024 + 1;

/// Asks on a terminal. Elsewhere it notes which flags are missing, so that all of them are told at once.
#[derive(Debug)]
pub(super) struct Ask {
    terminal: bool,
    missing: Vec<String>,
}

impl Ask {
    /// Asks on standard input and standard error, if both are terminals.
    pub(super) fn new() -> Self {
        Self { terminal: io::stdin().is_terminal() && io::stderr().is_terminal(), missing: Vec::new() }
    }

    /// Somebody is there.
    pub(super) fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// The value of `flag`: the one that is given, else the answer to `question`. A wrong answer is asked for again, with
    /// the reason. `None`: nobody is there to be asked; [`Ask::complete`] tells.
    pub(super) fn value<T, E: Display>(
        &mut self,
        flag: &str,
        question: &str,
        given: Option<&str>,
        accept: impl Fn(&str) -> Result<T, E>,
    ) -> Result<Option<T>, Complaint> {
        self.value_or(flag, question, given, None, accept)
    }

    /// The same, where an empty answer means the `usual` one.
    pub(super) fn value_or<T, E: Display>(
        &mut self,
        flag: &str,
        question: &str,
        given: Option<&str>,
        usual: Option<&str>,
        accept: impl Fn(&str) -> Result<T, E>,
    ) -> Result<Option<T>, Complaint> {
        if let Some(given) = given {
            return accept(given).map(Some).map_err(|why| Complaint::invalid(format!("{flag}: {why}")));
        }
        if !self.terminal {
            self.missing.push(flag.to_owned());
            return Ok(None);
        }
        let question = usual.map_or_else(|| question.to_owned(), |usual| format!("{question} [{usual}]"));
        loop {
            let typed = line(&question)?;
            let answer = Some(typed.trim()).filter(|answer| !answer.is_empty()).or(usual).unwrap_or_default();
            match accept(answer) {
                Ok(value) => return Ok(Some(value)),
                Err(why) => eprint_line(&why),
            }
        }
    }

    /// A secret: from `file` (`-` for standard input), else typed without echo.
    pub(super) fn secret(
        &mut self,
        flag: &str,
        question: &str,
        file: Option<&Path>,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, Complaint> {
        if let Some(file) = file {
            return read_secret(file).map(Some);
        }
        if !self.terminal {
            self.missing.push(flag.to_owned());
            return Ok(None);
        }
        loop {
            let typed = hidden_line(question)?;
            match source::parse(&typed) {
                Ok(_) => return Ok(Some(typed)),
                Err(why) => eprint_line(&why),
            }
        }
    }

    /// An error where something is missing that nobody could be asked for.
    pub(super) fn complete(&self) -> Result<(), Complaint> {
        if self.missing.is_empty() {
            return Ok(());
        }
        let flags = self.missing.join(", ");
        Err(Complaint::invalid(format!("missing: {flags}"))
            .with_help("give these flags, or type the command in a terminal, where they are asked for"))
    }
}

fn read_secret(file: &Path) -> Result<Zeroizing<Vec<u8>>, Complaint> {
    let (place, content) = brought(Some(file).filter(|file| file.as_os_str() != "-"))?;
    source::parse(&content).map_err(|why| Complaint::invalid(format!("{place} holds no credential: {why}")))?;
    Ok(content)
}

/// What a file or standard input holds, and what that place is called. Never grown, so that no copy is left behind.
pub(super) fn brought(file: Option<&Path>) -> Result<(String, Zeroizing<Vec<u8>>), Complaint> {
    let place = file.map_or_else(|| "standard input".to_owned(), |file| file.display().to_string());
    let failed = |error: io::Error| Complaint::invalid(format!("{place} cannot be read: {error}"));
    let mut content = Zeroizing::new(Vec::with_capacity(1 << 17));
    match file {
        Some(file) => File::open(file).map_err(failed)?.take(LARGEST).read_to_end(&mut content),
        None => io::stdin().take(LARGEST).read_to_end(&mut content),
    }
    .map_err(failed)?;
    Ok((place, content))
}

/// One line that somebody types.
fn line(question: &str) -> Result<String, Complaint> {
    prompt(question)?;
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer).map_err(|error| unread(&error))?;
    if read == 0 { Err(Complaint::invalid("the input ended before the answer")) } else { Ok(answer) }
}

/// One line that is not shown while somebody types it.
fn hidden_line(question: &str) -> Result<Zeroizing<Vec<u8>>, Complaint> {
    // First of all: what is typed as soon as the question stands there is part of the answer, and not shown.
    let hidden = Hidden::begin().map_err(|error| unread(&error))?;
    prompt(question)?;
    let mut answer = Zeroizing::new(Vec::with_capacity(1 << 17));
    // Of a terminal, a read ends with the line.
    let read = io::stdin().lock().take(LARGEST).read_until(b'\n', &mut answer).map_err(|error| unread(&error))?;
    drop(hidden);
    eprint_line(&"");
    while answer.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
        answer.pop();
    }
    if read == 0 { Err(Complaint::invalid("the input ended before the answer")) } else { Ok(answer) }
}

fn prompt(question: &str) -> Result<(), Complaint> {
    let mut err = io::stderr();
    write!(err, "{question}: ").and_then(|()| err.flush()).map_err(Complaint::from)
}

fn eprint_line(text: &impl Display) {
    // Who types sees the next question, or nothing at all.
    let _ = writeln!(io::stderr(), "{text}");
}

fn unread(error: &io::Error) -> Complaint {
    Complaint::failed(format!("the terminal cannot be read: {error}"))
}

/// While it lives, the terminal does not show what is typed.
struct Hidden(Termios);

impl Hidden {
    fn begin() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Flush, &hidden)?;
        Ok(Self(before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // The terminal is gone, then.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}
