//! One run of a hook's command: bounded in time and output, and in what it learns.
//!
//! Its environment is built from nothing; it never holds a secret.

use std::ffi::OsString;
use std::time::Duration;

use tokio::sync::watch;

use crate::outcome::{Failure, FailureCode};
use crate::process::{self, End, Output};

/// How much of the end of the output is kept for a message.
const TAIL: usize = 4096;

/// A command with everything that it may know.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// Program and arguments.
    pub run: Vec<String>,
    pub timeout: Duration,
    /// Variables of its environment, besides `PATH` and `HOME`.
    pub variables: Vec<(OsString, OsString)>,
}

/// Why a run did not succeed, and the end of what the command said, uncleaned.
#[derive(Debug)]
pub struct Unsuccessful {
    pub failure: Failure,
    pub said: String,
}

/// Runs the command to its end, or until its time is over or `stop` turns true; then its group is killed.
pub async fn run(invocation: &Invocation, mut stop: watch::Receiver<bool>) -> Result<(), Unsuccessful> {
    let name = invocation.run.first().map_or("", String::as_str);
    let said = Output::end(TAIL);
    let fail = |code, detail: String| Err(Unsuccessful { failure: Failure::new(code, detail), said: said.text() });
    let Some(mut command) = process::command(&invocation.run) else {
        return fail(FailureCode::HookFailed, format!("cannot start {name}: no program"));
    };
    command.envs(invocation.variables.iter().map(|(name, value)| (name, value)));
    match process::run(&mut command, invocation.timeout, stopped(&mut stop), (&said, &said)).await {
        Ok(End::Exited(status)) if status.success() => Ok(()),
        Ok(End::Exited(status)) => fail(FailureCode::HookFailed, format!("{name} {}", process::describe(status))),
        Ok(End::Stopped) => fail(FailureCode::HookFailed, format!("{name} was stopped because the daemon stops")),
        Ok(End::TimedOut | End::TooMuch) => {
            fail(FailureCode::HookTimeout, format!("{name} ran for {:?}", invocation.timeout))
        }
        Err(error) => fail(FailureCode::HookFailed, format!("cannot start {name}: {error}")),
    }
}

/// Ready once the daemon wants no run to go on.
pub async fn stopped(stop: &mut watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        // Nobody is left who could stop it.
        std::future::pending::<()>().await;
    }
}
