//! `patrold exec`: runs a program with secrets that stores on disk hold, and tells it of new ones.
//!
//! It reads stores as any consumer does, with the rights of whoever runs it, and asks no daemon: nothing hands out secrets.
//! In a container it may be the first process: it reaps, and passes signals on.
//!
//! Law: the program is started only once every value is there, and is disturbed only by a value that changed. Where the
//! program ends by itself, this process ends with its status.

mod child;
mod end;
mod signals;
mod values;

use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use self::child::{Child, Finished};
use self::end::{Life, Next, after};
use self::signals::Signals;
use crate::clock::{Clock as _, SystemClock};
use crate::daemon::watch::Watch;
use crate::daemon::{hardening, reaper};
use crate::event;
use crate::secret::random;

use self::values::Secrets;
pub use self::values::{Passing, Place, Value};

/// What is read again without an event, where a file system reports none.
const LOOK: Duration = Duration::from_secs(60);

/// How long after a value could not be read it is read again.
const AGAIN: Duration = Duration::from_millis(500);

/// The status of a program that cannot be started, as shells have it.
const NOT_FOUND: u8 = 127;
const NOT_STARTED: u8 = 126;

/// The status with [`OnChange::Exit`]: `EX_TEMPFAIL` of sysexits.h, which no program ends with by accident.
pub const CHANGED: u8 = 75;

/// What is run, with what.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Program and arguments.
    pub argv: Vec<String>,
    pub values: Vec<Value>,
    /// Files whose change counts although the program reads them itself.
    pub watched: Vec<PathBuf>,
    pub on_change: OnChange,
    /// How long the start waits for values that are not there yet.
    pub wait: Duration,
    /// Changes within this time are one.
    pub coalesce: Duration,
    /// Up to so much later, drawn anew each time: many copies do not restart at once.
    pub splay: Duration,
    pub stop_signal: Signal,
    /// How long after it the program is killed.
    pub stop_timeout: Duration,
    /// A program that ends sooner after a change than this was ended by the change.
    pub steady: Duration,
    /// It is started with the values from before, then.
    pub fallback: bool,
}

/// What becomes of the program when a value changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnChange {
    /// It is stopped and started again with the new values.
    Restart,
    /// It gets a signal. What it holds in its environment stays as it was.
    Signal(Signal),
    /// It is stopped, and this process ends with [`CHANGED`]: whoever started it starts it again.
    Exit,
}

/// Why a program was not run.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// Values that did not come in time, a line each.
    #[error("not every value was there within {}:\n  {}", humantime::format_duration(*.0), .1.join("\n  "))]
    Missing(Duration, Vec<String>),
    /// A thread, a signal handler, a file in memory.
    #[error("{0}")]
    System(#[from] std::io::Error),
}

/// Runs `plan` to its end; the status of the process.
pub async fn run(plan: Plan) -> Result<u8, ExecError> {
    hardening::apply();
    let mut signals = Signals::new()?;
    tokio::spawn(async { drop(reaper::run().await) });
    let since = SystemClock.now();
    let Some(secrets) = first(&plan, &mut signals).await? else { return Ok(signals::ended_by(Signal::TERM)) };
    let files: Vec<_> = plan.values.iter().map(|value| value.place.path.clone()).chain(plan.watched.clone()).collect();
    // Reads the files once, for a few seconds at most.
    let begun = crate::files::off_runtime(&PathBuf::from("/"), move |_| Ok(Watch::new(&files, &[], since)?)).await;
    let (_watch, mut changed) = begun.map_err(|error| std::io::Error::other(error.to_string()))?;
    let mut life = Life::default();
    let mut values = Held { seen: secrets.clone(), given: secrets, before: None };
    loop {
        let mut child = match Child::start(&plan, &values.given) {
            Ok(child) => child,
            Err(error) => {
                let program = plan.argv.first().map_or("", String::as_str);
                tracing::error!(event = event::EXEC_FAILED, program, %error, "the program cannot be started");
                let missing = error.kind() == std::io::ErrorKind::NotFound;
                return Ok(if missing { NOT_FOUND } else { NOT_STARTED });
            }
        };
        let started = Instant::now();
        match accompany(&plan, &mut child, &mut values, &mut signals, &mut changed).await {
            Done::Changed => {
                if let Some(signal) = child.stop(plan.stop_signal, plan.stop_timeout, &mut signals).await {
                    return Ok(signals::ended_by(signal));
                }
                if plan.on_change == OnChange::Exit {
                    return Ok(CHANGED);
                }
                life = Life::after_change();
            }
            Done::Ended(finished) => match after(&plan, life, finished, started.elapsed(), values.before.is_some()) {
                Next::End(status) => return Ok(status),
                Next::Again { wait, previous } => {
                    life.ends += 1;
                    tracing::warn!(
                        event = event::EXEC_CRASHED,
                        status = finished.status(),
                        previous,
                        "the program ended right after it got new values; it is started again"
                    );
                    if previous && let Some(before) = values.before.take() {
                        values.given = before;
                    }
                    tokio::select! {
                        () = sleep(wait) => {}
                        signal = signals.ending() => return Ok(signals::ended_by(signal)),
                    }
                }
            },
        }
    }
}

/// The values on their way from the disk to the program.
struct Held {
    /// What was read last: what differs from it is a change.
    seen: Secrets,
    /// What the program has.
    given: Secrets,
    /// What it had before the last change.
    before: Option<Secrets>,
}

/// Waits until every value is there. `None`: a signal came first.
async fn first(plan: &Plan, signals: &mut Signals) -> Result<Option<Secrets>, ExecError> {
    let deadline = Instant::now() + plan.wait;
    let mut told = false;
    loop {
        let missing = match Secrets::read(&plan.values).await {
            Ok(secrets) => return Ok(Some(secrets)),
            Err(missing) => missing,
        };
        if Instant::now() >= deadline {
            return Err(ExecError::Missing(plan.wait, missing));
        }
        if !std::mem::replace(&mut told, true) {
            tracing::info!(
                event = event::EXEC_WAITS,
                "the program is started once every value is there: {}",
                missing.join("; ")
            );
        }
        tokio::select! {
            () = sleep(AGAIN) => {}
            _ = signals.ending() => return Ok(None),
        }
    }
}

/// Why a program is accompanied no longer.
enum Done {
    /// It has to make room for one with other values.
    Changed,
    Ended(Finished),
}

/// Passes signals on and looks for changes while the program runs.
async fn accompany(
    plan: &Plan,
    child: &mut Child,
    values: &mut Held,
    signals: &mut Signals,
    changed: &mut tokio::sync::mpsc::Receiver<()>,
) -> Done {
    let mut told = false;
    // When what changed is looked at.
    let mut due: Option<Instant> = None;
    let mut look = Instant::now() + LOOK;
    let mut watching = true;
    loop {
        tokio::select! {
            biased;
            finished = child.wait() => return Done::Ended(finished),
            signal = signals.next() => {
                child.signal(signal);
                continue;
            }
            came = changed.recv(), if watching => {
                // A file that only is watched has no value to compare.
                if came.is_some() {
                    due.get_or_insert_with(|| Instant::now() + plan.coalesce + drawn(plan.splay));
                } else {
                    watching = false;
                }
                continue;
            },
            () = sleep_until(due.unwrap_or(look)) => {}
        }
        let by_event = due.take().is_some();
        look = Instant::now() + LOOK;
        let new = match Secrets::read(&plan.values).await {
            Ok(new) => new,
            Err(missing) => {
                if !std::mem::replace(&mut told, true) {
                    tracing::warn!(
                        event = event::EXEC_UNREADABLE,
                        "values changed and cannot be read; the program goes on with those from before: {}",
                        missing.join("; ")
                    );
                }
                due = Some(Instant::now() + AGAIN);
                continue;
            }
        };
        told = false;
        let names = new.differing(&values.seen, &plan.values);
        // Without values of its own, whatever is watched counts.
        if names.is_empty() && (!by_event || plan.watched.is_empty()) {
            continue;
        }
        let how = match plan.on_change {
            OnChange::Restart => "restarted",
            OnChange::Signal(_) => "told",
            OnChange::Exit => "stopped",
        };
        tracing::info!(event = event::EXEC_CHANGED, values = names.join(", "), "values changed; the program is {how}");
        values.seen = new.clone();
        match plan.on_change {
            OnChange::Signal(signal) => child.signal(signal),
            OnChange::Restart | OnChange::Exit => {
                values.before = Some(std::mem::replace(&mut values.given, new));
                return Done::Changed;
            }
        }
    }
}

/// Some part of `most`.
fn drawn(most: Duration) -> Duration {
    most.mul_f64(random::fraction())
}

/// Waits for the program so long; whether it has ended.
async fn ends_within(child: &mut Child, patience: Duration) -> bool {
    timeout(patience, child.wait()).await.is_ok()
}
