//! The program while it runs.

use std::ffi::OsString;
use std::io::{self, IsTerminal as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::process::Command;

use super::signals::Signals;
use super::values::{Passing, Secrets};
use super::{Plan, ends_within};

/// Variables of this process that mean nothing to the program.
const OWN: &str = "PATROLD_";

/// A program that runs.
#[derive(Debug)]
pub struct Child {
    process: tokio::process::Child,
    pid: Option<Pid>,
    /// It leads a process group of its own.
    leads: bool,
    /// A signal that ends programs was passed on.
    asked: bool,
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finished {
    pub code: Option<u8>,
    pub signal: Option<u8>,
    /// Somebody asked for it.
    pub was_asked: bool,
}

impl Finished {
    /// The status that this process ends with: the program's own, or 128 and the number of the signal that ended it.
    pub fn status(self) -> u8 {
        self.code.or_else(|| self.signal.map(|signal| signal.saturating_add(128))).unwrap_or(1)
    }
}

impl Child {
    /// Starts the program with `secrets`.
    pub fn start(plan: &Plan, secrets: &Secrets) -> io::Result<Self> {
        let (program, arguments) =
            plan.argv.split_first().ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "there is no program"))?;
        let mut command = Command::new(program);
        command.args(arguments).kill_on_drop(true);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with(OWN)) {
            command.env_remove(name);
        }
        // Kept open until the program has them.
        let mut held = Vec::new();
        for (value, secret) in plan.values.iter().zip(&secrets.0) {
            match value.passing {
                Passing::Variable => drop(command.env(&value.variable, secret.expose())),
                Passing::Memory => {
                    let file = memory(&value.variable, secret.expose().as_bytes())?;
                    let path = OsString::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
                    command.env(&value.variable, path);
                    held.push(file);
                }
            }
        }
        // On a terminal a group of its own would be in the background, and could not read.
        let leads = !io::stdin().is_terminal();
        if leads {
            command.process_group(0);
        }
        let child = command.spawn()?;
        drop(held);
        let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        Ok(Self { process: child, pid, leads, asked: false })
    }

    /// Waits for its end.
    pub async fn wait(&mut self) -> Finished {
        let status = self.process.wait().await.unwrap_or_else(|_| ExitStatus::from_raw(1 << 8));
        let byte = |number: Option<i32>| number.and_then(|number| u8::try_from(number).ok());
        Finished { code: byte(status.code()), signal: byte(status.signal()), was_asked: self.asked }
    }

    /// Passes a signal on.
    pub fn signal(&mut self, signal: Signal) {
        self.asked |= [Signal::TERM, Signal::INT, Signal::QUIT, Signal::KILL].contains(&signal);
        if let Some(pid) = self.pid {
            // It has ended, then: its end is waited for.
            let _ = kill_process(pid, signal);
        }
    }

    /// Ends it, with everything that it started where it leads a group: politely first. A signal that asks this process to
    /// end meanwhile cuts that short.
    pub async fn stop(&mut self, signal: Signal, patience: Duration, signals: &mut Signals) -> Option<Signal> {
        self.to_all(signal);
        let asked = tokio::select! {
            ended = ends_within(self, patience) => {
                if ended {
                    return None;
                }
                None
            }
            asked = signals.ending() => Some(asked),
        };
        self.to_all(Signal::KILL);
        let _ = self.wait().await;
        asked
    }

    fn to_all(&self, signal: Signal) {
        let Some(pid) = self.pid else { return };
        let _ = if self.leads { kill_process_group(pid, signal) } else { kill_process(pid, signal) };
    }
}

/// A file in memory that holds `secret` and can no longer be changed. The program inherits it.
fn memory(name: &str, secret: &[u8]) -> io::Result<std::fs::File> {
    let file = memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut file = std::fs::File::from(file);
    file.write_all(secret)?;
    fcntl_add_seals(&file, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
    // Nothing else is started while it is open.
    fcntl_setfd(&file, FdFlags::empty())?;
    Ok(file)
}
