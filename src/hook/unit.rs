//! Reloads or restarts a unit of systemd, and looks whether it stays up.
//!
//! `systemctl` waits for the job and says how it ended. A service that starts and ends a moment later has a job that was
//! done: so its state is looked at once more after it had time to fail.

use std::ffi::OsString;
use std::time::Duration;

use tokio::sync::watch;

use super::command::{self, Invocation, Unsuccessful, stopped};
use crate::inventory::UnitPolicy;
use crate::outcome::{Failure, FailureCode};
use crate::process::{self, End, Output};

/// How long a look at the unit may take.
const LOOK: Duration = Duration::from_secs(10);

/// What `systemctl show` says of a unit.
#[derive(Debug, PartialEq, Eq)]
struct State {
    active: String,
    /// How often systemd has restarted it by itself.
    restarts: u64,
}

/// Reloads or restarts the unit; done once it is up `policy.steady` later, or was not running before.
pub async fn run(policy: &UnitPolicy, timeout: Duration, stop: watch::Receiver<bool>) -> Result<(), Unsuccessful> {
    let job = Invocation { run: policy.argv.clone(), timeout, variables: manager(policy.user) };
    command::run(&job, stop.clone()).await?;
    let before = look(policy, stop.clone()).await?;
    if before.active == "inactive" {
        // `try-` leaves it alone, and it reads the store when somebody starts it.
        return Ok(());
    }
    let mut stopping = stop.clone();
    tokio::select! {
        () = tokio::time::sleep(policy.steady) => {}
        () = stopped(&mut stopping) => {}
    }
    let after = look(policy, stop).await?;
    match unsteady(&before, &after) {
        Some(why) => Err(failed(policy, &why)),
        None => Ok(()),
    }
}

/// Why the unit is not up, where it is not.
fn unsteady(before: &State, after: &State) -> Option<String> {
    if after.restarts > before.restarts {
        let times = after.restarts - before.restarts;
        return Some(format!("it ended and was started again by systemd ({times} times)"));
    }
    let up = ["active", "reloading", "refreshing"].contains(&after.active.as_str());
    (!up).then(|| format!("it is {} after its job was done", after.active))
}

/// Where the manager of a user is found.
pub fn manager(user: bool) -> Vec<(OsString, OsString)> {
    let names: &[&str] = if user { &["XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS"] } else { &[] };
    names.iter().filter_map(|name| Some((name.into(), std::env::var_os(name)?))).collect()
}

async fn look(policy: &UnitPolicy, mut stop: watch::Receiver<bool>) -> Result<State, Unsuccessful> {
    let program = policy.argv.first().cloned().unwrap_or_default();
    let user = policy.user.then(|| "--user".to_owned());
    let argv: Vec<String> = [program]
        .into_iter()
        .chain(user)
        .chain(["show", "--property=ActiveState,NRestarts", policy.unit.as_str()].map(str::to_owned))
        .collect();
    let Some(mut command) = process::command(&argv) else { return Err(failed(policy, "no program")) };
    command.envs(manager(policy.user));
    let (out, err) = (Output::whole(4096), Output::end(4096));
    match process::run(&mut command, LOOK, stopped(&mut stop), (&out, &err)).await {
        Ok(End::Exited(status)) if status.success() => Ok(parse(&out.text())),
        Ok(End::Exited(status)) => {
            Err(failed(policy, &format!("its state cannot be read: systemctl {}", process::describe(status))))
        }
        Ok(_) => Err(failed(policy, "its state could not be read in time")),
        Err(error) => Err(failed(policy, &format!("cannot start systemctl: {error}"))),
    }
}

fn parse(text: &str) -> State {
    let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    State {
        active: value("ActiveState").unwrap_or("unknown").to_owned(),
        // Units of other kinds than services have none.
        restarts: value("NRestarts").and_then(|count| count.parse().ok()).unwrap_or_default(),
    }
}

fn failed(policy: &UnitPolicy, why: &str) -> Unsuccessful {
    let failure = Failure::new(FailureCode::HookFailed, format!("{}: {why}", policy.unit));
    Unsuccessful { failure, said: String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_that_does_not_stay_up_is_told() {
        let state = |active: &str, restarts| State { active: active.to_owned(), restarts };
        for (sentence, before, after, expected) in [
            ("it stays up", state("active", 3), state("active", 3), None),
            ("it reloads still", state("active", 0), state("reloading", 0), None),
            ("it failed", state("active", 0), state("failed", 0), Some("it is failed after its job was done")),
            (
                "it waits to be started again",
                state("active", 0),
                state("activating", 0),
                Some("it is activating after its job was done"),
            ),
            (
                "it comes and goes",
                state("active", 1),
                state("active", 3),
                Some("it ended and was started again by systemd (2 times)"),
            ),
        ] {
            assert_eq!(unsteady(&before, &after).as_deref(), expected, "{sentence}");
        }
    }

    #[test]
    fn what_systemctl_shows_is_read() {
        assert_eq!(parse("ActiveState=active\nNRestarts=2"), State { active: "active".to_owned(), restarts: 2 });
        assert_eq!(parse("ActiveState=inactive"), State { active: "inactive".to_owned(), restarts: 0 });
        assert_eq!(parse("").active, "unknown");
    }
}
