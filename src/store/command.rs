//! Stores that a program of the operator's reads and writes: whatever has a command line.
//!
//! The program gets the secret on its standard input and nowhere else. It answers by its exit status ([`exit`]) and, in a
//! first line `receipt: TEXT`, by what the store says of its state.
//!
//! Slots of one target take turns. A write is preceded by a look, so that one whose acknowledgement was lost is not
//! repeated, and followed by another, so that what the program says is not just believed.

use std::future::pending;
use std::sync::LazyLock;

use zeroize::Zeroizing;

use crate::clock::Time;
use crate::host::program::problem_of;
use crate::inventory::CommandPolicy;
use crate::names::{Evidence, StoreKey, TargetKey};
use crate::outcome::{Failure, FailureCode, Outcome, one_line};
use crate::places::Places;
use crate::process::{self, End, Output};
use crate::secret::source::tail;
use crate::secret::{Secret, redact::Redactor};

use super::judge::{Found, Judge, Move};
use super::receipt::{Delivery, Receipt};
use super::turn::Turns;

/// Writes of one target take turns.
static TURNS: Turns<TargetKey, tokio::sync::Mutex<()>> = Turns::new();

/// What the program says by its exit status, besides 0 for success.
pub mod exit {
    /// `read`: the slot holds nothing.
    pub const ABSENT: i32 = 3;
    /// `read`: there is something, which the store does not show.
    pub const HIDDEN: i32 = 4;
    /// `write`: somebody else wrote between the look and the write; nothing was written.
    pub const CONFLICT: i32 = 5;
    /// `write`: the store can never hold this value; nothing was written.
    pub const REFUSED: i32 = 6;
    /// Either: it did not happen and may be tried again. `EX_TEMPFAIL` of sysexits.h.
    pub const LATER: i32 = 75;
}

/// How often a write begins anew because somebody else wrote meanwhile.
const LOOKS: u32 = 5;

/// How many programs run at once for the stores of one account.
const AT_ONCE: usize = 8;

/// Larger values are no secrets.
const LARGEST: usize = 64 * 1024;

/// How much of the end of what a program said is kept, in bytes.
const SAID: usize = 2048;

/// What a program's answer begins with that tells of the store's state.
const RECEIPT: &str = "receipt:";

/// A slot that a program reads and writes.
#[derive(Clone, Debug)]
pub struct Slot {
    pub key: StoreKey,
    pub command: CommandPolicy,
}

/// How a program ended that could be started and was not stopped.
struct Ended {
    status: std::process::ExitStatus,
    out: Zeroizing<Vec<u8>>,
    /// The end of what it said on standard error, without secrets.
    said: String,
}

impl Slot {
    /// Whether the store can hold the value at all, as far as it is known without asking.
    pub fn check_value(&self, secret: &Secret) -> Result<(), Failure> {
        if secret.is_blank() {
            let detail = format!("{}: the value is empty", self.key);
            return Err(Failure::new(FailureCode::StoreRefused, detail));
        }
        Ok(())
    }

    /// Whether its programs can be started. Blocks.
    pub fn check_programs(&self) -> Result<(), Failure> {
        let programs = std::iter::once(&self.command.write).chain(&self.command.read).filter_map(|argv| argv.first());
        for program in programs {
            if let Some(problem) = problem_of(program) {
                let detail = format!("{}: {program} cannot be started: {}", self.key, problem.why);
                return Err(Failure::new(FailureCode::StoreUnwritable, detail));
            }
        }
        Ok(())
    }

    /// Tests that the store answers, where it can be read. `judge`: and that nothing that stays is in the way.
    pub async fn preflight(&self, judge: Option<&Judge>) -> Result<(), Failure> {
        let found = self.look().await?;
        match judge.map(|judge| judge.judge(&found)) {
            Some(Move::Stop(stranger)) => Err(stranger.failure(&self.key)),
            Some(Move::Keep | Move::Create | Move::Replace | Move::WriteBlindly) | None => Ok(()),
        }
    }

    /// What the slot holds.
    pub async fn look(&self) -> Result<Found, Failure> {
        let Some(read) = &self.command.read else { return Ok(Found::Blind) };
        let ended = self.run(read, None, &[]).await?;
        match ended.status.code() {
            Some(0) => Ok(str::from_utf8(&ended.out).map_or(Found::Other, |text| {
                // Most programs end their line.
                Found::Value(Secret::new(text.strip_suffix('\n').unwrap_or(text)))
            })),
            Some(exit::ABSENT) => Ok(Found::Absent),
            Some(exit::HIDDEN) => Ok(Found::Hidden(self.told(&ended.out)?)),
            _ => Err(self.failed("read", &ended)),
        }
    }

    /// Writes the secret and looks at what came of it. The receipt is what the next look is compared with.
    pub async fn write(&self, secret: &Secret, delivery: &Delivery<'_>, judge: &Judge) -> Outcome<Receipt> {
        if let Err(failure) = self.check_value(secret) {
            return Outcome::Refused(failure);
        }
        let turn = TURNS.of(&self.command.target);
        let _turn = turn.lock().await;
        for _ in 0..LOOKS {
            let before = match self.look().await {
                Ok(found) => found,
                Err(failure) => return Outcome::later(failure),
            };
            match judge.judge(&before) {
                Move::Keep => return Outcome::Done(Receipt::default()),
                Move::Stop(stranger) => return Outcome::later(stranger.failure(&self.key)),
                Move::Create | Move::Replace | Move::WriteBlindly => {}
            }
            let known = judge.known.receipt.as_ref().and_then(|receipt| receipt.evidence.as_ref());
            let variables = [
                ("PATROLD_TOKEN", delivery.token.as_str().to_owned()),
                ("PATROLD_DELIVERY", delivery.id(&self.key)),
                ("PATROLD_RECEIPT", known.map_or_else(String::new, |evidence| evidence.as_str().to_owned())),
            ];
            let ended = match self.run(&self.command.write, Some(secret), &variables).await {
                Ok(ended) => ended,
                // It may have written before it was stopped.
                Err(failure) => return Outcome::Unknown(failure),
            };
            match ended.status.code() {
                Some(0) => {
                    return match self.told(&ended.out) {
                        Ok(told) => self.confirm(secret, &before, told).await,
                        Err(failure) => Outcome::Unknown(failure),
                    };
                }
                Some(exit::CONFLICT) => {}
                Some(exit::LATER) => return Outcome::later(self.failed("write", &ended)),
                Some(exit::REFUSED) => {
                    let failure = self.failed("write", &ended);
                    return Outcome::Refused(Failure::new(FailureCode::StoreRefused, failure.detail));
                }
                _ => return Outcome::Unknown(self.failed("write", &ended)),
            }
        }
        let detail = format!("{}: somebody else wrote to it each of {LOOKS} times", self.key);
        Outcome::later(Failure::new(FailureCode::StoreConflict, detail))
    }

    /// Looks whether the store holds what was written.
    async fn confirm(&self, secret: &Secret, before: &Found, told: Option<Evidence>) -> Outcome<Receipt> {
        let mismatch = |why: &str| {
            let detail = format!("{}: {why} after the write", self.key);
            Outcome::Unknown(Failure::new(FailureCode::StoreMismatch, detail))
        };
        match self.look().await {
            Ok(Found::Value(found)) if found.expose() == secret.expose() => Outcome::Done(Receipt { evidence: told }),
            Ok(Found::Value(_) | Found::Other) => mismatch("it holds something else"),
            Ok(Found::Absent) => mismatch("it holds nothing"),
            Ok(Found::Hidden(now)) => match before {
                Found::Hidden(before) if now.is_some() && now == *before => mismatch("it says that it did not change"),
                _ => Outcome::Done(Receipt { evidence: now.or(told) }),
            },
            Ok(Found::Blind) => Outcome::Done(Receipt { evidence: told }),
            Err(failure) => Outcome::Unknown(failure),
        }
    }

    /// What the program's first line says of the state of the store.
    fn told(&self, out: &[u8]) -> Result<Option<Evidence>, Failure> {
        let text = String::from_utf8_lossy(out);
        let Some(told) = text.lines().next().and_then(|line| line.strip_prefix(RECEIPT)) else { return Ok(None) };
        told.trim().parse().map(Some).map_err(|error| {
            let detail = format!("{}: its receipt cannot be used: {error}", self.key);
            Failure::new(FailureCode::StoreMismatch, detail)
        })
    }

    /// Runs a program to its end; the error is that it could not be started, or had to be stopped.
    async fn run(
        &self,
        argv: &[String],
        secret: Option<&Secret>,
        variables: &[(&str, String)],
    ) -> Result<Ended, Failure> {
        static PROGRAMS: LazyLock<Places> = LazyLock::new(|| Places::new(AT_ONCE));
        let failure = |why: String| Failure::new(FailureCode::StoreUnwritable, format!("{}: {why}", self.key));
        let name = argv.first().map_or("", String::as_str);
        let Some(mut command) = process::command(argv) else { return Err(failure("it names no program".to_owned())) };
        let passed = self.command.pass_env.iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
        // Ours last, so that they win.
        command.envs(passed).env("PATROLD_STORE", &*self.command.name).envs(variables.iter().map(|(k, v)| (*k, v)));
        let _place = PROGRAMS.enter(&self.command.account, Time::MAX_UTC).await;
        let (out, err) = (Output::whole(LARGEST), Output::end(SAID));
        let input = secret.map(|secret| Zeroizing::new(secret.expose().as_bytes().to_vec()));
        let end = process::run_with(&mut command, input, self.command.timeout, pending(), (&out, &err)).await;
        match end {
            Ok(End::Exited(status)) => {
                let mut redactor = Redactor::default();
                if let Some(secret) = secret {
                    redactor.add(secret);
                }
                let said = tail(redactor, &err.bytes(), &out.bytes());
                Ok(Ended { status, out: out.bytes(), said })
            }
            Ok(End::TimedOut | End::Stopped) => {
                let limit = humantime::format_duration(self.command.timeout);
                Err(failure(format!("{name} took longer than {limit} and was killed")))
            }
            Ok(End::TooMuch) => Err(failure(format!("{name} printed more than 64 KiB and was killed"))),
            Err(error) => Err(failure(format!("cannot start {name}: {error}"))),
        }
    }

    fn failed(&self, what: &str, ended: &Ended) -> Failure {
        let status = process::describe(ended.status);
        let said = if ended.said.is_empty() { String::new() } else { format!(": {}", ended.said) };
        let detail = format!("{}: `{what}` {status}{said}", one_line(self.key.as_str(), 100));
        Failure::new(FailureCode::StoreUnwritable, detail)
    }
}

#[cfg(test)]
mod tests;
