//! Every default of the inventory, once, with its reason. The commented reference in `config/` repeats them for
//! people; a test compares the two.

use std::time::Duration;

use rustix::process::Signal;

use crate::clock::Span;

use crate::notice::Severity;

use super::{
    Dialect, Existing, LogFormat, NewJournal, OnDrift, OnFailure, OnLeave, RateLimit, RenewBefore, UnitAction,
};

/// Tells of rotations, not of requests.
pub const LOG_LEVEL: &str = "info";

/// A person reads a terminal, a collector reads the rest.
pub const LOG_FORMAT: LogFormat = LogFormat::Auto;

/// Longer than one request may take in all (connect, headers, body), shorter than the 90 s after which systemd kills.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(75);

/// The same where patrold is the first process of a container: engines kill it ten seconds after they asked it to stop.
pub const DRAIN_TIMEOUT_OF_CONTAINERS: Duration = Duration::from_secs(8);

/// Longer than an engine stops to write when a large database is defragmented; short enough that no token waits for long.
pub const LEASE: Duration = Duration::from_secs(15);

/// A journal that was lost may be found again; a second token for each that exists is found by nobody.
pub const NEW_JOURNAL: NewJournal = NewJournal::Hold;

/// A token that somebody deletes by hand is noticed within the hour; one listing per account is cheap.
pub const POLL_EVERY: Span = Span::hours(1);

/// A host that does not answer a SYN within this is down or filtered.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Slow providers answer a mint in seconds; a load balancer gives up after 60.
pub const HEADERS_TIMEOUT: Duration = Duration::from_secs(30);

/// Bodies are a few kilobytes, listings a few megabytes.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// A listing of some ten thousand tokens; anything larger is not an answer that the daemon asked for.
pub const MAX_RESPONSE: usize = 8 << 20;

/// Enough to hide latency, too few to look like an attack.
pub const MAX_IN_FLIGHT: usize = 4;

/// Leaves a third of the lifetime to get over any outage, and half of that until a window is overridden.
pub const RENEW_BEFORE: RenewBefore = RenewBefore::Share(0.33);

/// Covers consumers that hold a secret in memory until their next reload. A shorter-lived token gets at most half of
/// the time between two of its rotations.
pub const GRACE: Span = Span::hours(1);

/// A consumer that still uses the old generation after a day did not notice the hooks; waiting longer does not help it.
pub const GRACE_CAP: Span = Span::hours(24);

/// Keeps a thousand tokens that were made in one minute from being rotated in one minute. A shorter-lived token gets
/// at most a twentieth of the time between two of its rotations.
pub const JITTER: Span = Span::minutes(10);

/// Providers with replicas accept a new token within seconds; a few take minutes.
pub const VERIFY_TIMEOUT: Span = Span::minutes(5);

/// Reading back a store is cheap; a consumer with a wrong secret is not.
pub const DRIFT_EVERY: Span = Span::minutes(10);

/// For file stores: the owner alone. An env file that exists keeps its own mode, a new one gets this.
pub const STORE_MODE: u32 = 0o600;

/// Env files on servers are mostly read by systemd units.
pub const DIALECT: Dialect = Dialect::Systemd;

/// Files are mostly there because a person put a first secret there by hand.
pub const EXISTING: Existing = Existing::Replace;

/// A consumer that reads a stranger's value is without a token.
pub const ON_DRIFT: OnDrift = OnDrift::Repair;

/// Consumers may need it still.
pub const ON_LEAVE: OnLeave = OnLeave::Keep;

/// Most readers take a file's content as it is.
pub const NEWLINE: bool = false;

/// A service answers within seconds; what takes longer is tried again.
pub const STORE_TIMEOUT: Duration = Duration::from_secs(30);

/// A remote value that nobody expected there may be somebody else's only copy.
pub const EXISTING_REMOTE: Existing = Existing::Refuse;

/// A reload that takes longer is a restart.
pub const HOOK_TIMEOUT: Duration = Duration::from_secs(30);

/// A service that cannot work with what it read ends within seconds.
pub const STEADY: Duration = Duration::from_secs(5);

/// The one that does nothing to a unit that is not running.
pub const UNIT_ACTION: UnitAction = UnitAction::TryReloadOrRestart;

/// What programs that can read their configuration again do so at.
pub const HOOK_SIGNAL: Signal = Signal::HUP;

/// Long enough for a service to come up, and for its load balancer to notice.
pub const CHECK_WITHIN: Duration = Duration::from_secs(120);

/// Soon enough to be no delay, seldom enough to be no load.
pub const CHECK_EVERY: Duration = Duration::from_secs(5);

/// As long as Kubernetes waits for progress of a deployment, where its author says nothing.
pub const ROLLOUT_WITHIN: Duration = Duration::from_secs(600);

/// The old generation still works, so there is time to try again.
pub const ON_FAILURE: OnFailure = OnFailure::Retry;

/// What patrold helps itself with is no reason to call anybody.
pub const SEVERITY: Severity = Severity::Error;

/// A provider that restarts, a mint that is refused once: most of what opens is over before anybody could look.
pub const LASTING: Span = Span::minutes(5);

/// What fails together is noticed within seconds.
pub const GATHER: Span = Span::seconds(30);

/// Enough for a bad night, too few to be muted.
pub const NOTICES: RateLimit = RateLimit { requests: 10, per: Duration::from_secs(3600) };

/// A service that takes a message does so within seconds.
pub const NOTICE_TIMEOUT: Duration = Duration::from_secs(30);

/// What every mail transfer agent installs, where every one installs it (Filesystem Hierarchy Standard, 4.10).
pub const SENDMAIL: [&str; 3] = ["/usr/sbin/sendmail", "-i", "-t"];

/// Mail transfer agents complete it with the name of the machine.
pub const MAIL_FROM: &str = "patrold";

/// Cron expressions without a zone mean the same moment on every machine.
pub const TIMEZONE: chrono_tz::Tz = chrono_tz::UTC;

/// The control socket's name in the runtime directory, or in the state directory where there is none.
pub const CONTROL_NAME: &str = "control.sock";
