//! Logs on standard error: one line for each event, for people or for collectors, with a level that may change while
//! the process runs.
//!
//! There is one logger from the first line on. What it shows before the inventory is known follows the command line and
//! `PATROLD_LOG`; the inventory is applied to it later.
//!
//! Libraries that patrold is built on may print whole requests when they are asked for details, and requests carry
//! secrets. Whatever the directives say, such details of other crates are not logged.
//!
//! Every line names its event ([`crate::event`]); a warning or error says what to do about it, and is not
//! repeated more often than somebody would read it.

mod line;
mod queue;
mod repeat;

use std::io::{self, IsTerminal as _};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tracing::{Level, Metadata};
use tracing_subscriber::filter::{EnvFilter, FilterFn, ParseError};
use tracing_subscriber::fmt::format::JsonFields;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::Registry;
use tracing_subscriber::reload;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};

use crate::event;
use crate::inventory::{LogFormat, defaults};

use self::line::Lines;
use self::queue::Queue;
use self::repeat::Repetition;

pub use self::queue::dropped;

/// The environment variable with a level or directives; it overrides the inventory.
pub const VARIABLE: &str = "PATROLD_LOG";

/// Set by systemd to device and inode of the journal's socket, for whoever was connected to it.
const JOURNAL: &str = "JOURNAL_STREAM";

/// Why the logger was not set up or changed.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Neither a level nor directives.
    #[error("\"{text}\" is not a log level: {source}")]
    Level { text: String, source: ParseError },
    /// The process has another logger already.
    #[error(transparent)]
    Taken(#[from] TryInitError),
    /// The logger is gone.
    #[error(transparent)]
    Gone(#[from] reload::Error),
    /// The system has no thread for it.
    #[error("no thread for the log: {0}")]
    Thread(#[from] io::Error),
}

/// How long the last lines of a process may take. Where nobody reads them, it ends without.
const LAST_LINES: Duration = Duration::from_secs(1);

/// What a person chose for one run; what is `None` follows the inventory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    pub level: Option<String>,
    pub format: Option<LogFormat>,
}

/// The logger of this process.
#[derive(Debug)]
pub struct Logger {
    choice: Choice,
    filter: reload::Handle<EnvFilter, Registry>,
    json: Arc<AtomicBool>,
    queue: Queue,
}

impl Drop for Logger {
    fn drop(&mut self) {
        self.queue.flush(LAST_LINES);
    }
}

impl Logger {
    /// Sets up the logger of this process, with defaults for what `choice` leaves open.
    pub fn install(choice: Choice) -> Result<Self, LogError> {
        let level = choice.level.as_deref().unwrap_or(defaults::LOG_LEVEL);
        let (filter, handle) = reload::Layer::new(filter(level)?);
        let json = Arc::new(AtomicBool::new(is_json(choice.format.unwrap_or(defaults::LOG_FORMAT))));
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let queue = Queue::start(io::stderr())?;
        let lines = tracing_subscriber::fmt::layer()
            .with_writer(queue.clone())
            .with_ansi(io::stderr().is_terminal() && !no_colour)
            // Would panic where standard error is closed.
            .log_internal_errors(false)
            .fmt_fields(JsonFields::new())
            .event_format(Lines {
                json: Arc::clone(&json),
                priorities: std::env::var(JOURNAL).is_ok_and(|stream| is_stream(io::stderr(), &stream)),
                repetition: Mutex::new(Repetition::default()),
            });
        let guard = FilterFn::new(may_be_logged);
        Registry::default().with(filter).with(guard).with(lines).try_init()?;
        // A panic's own text may quote what the code was about, and writing it would wait for standard error.
        std::panic::set_hook(Box::new(|panic| {
            let place = panic.location().map(ToString::to_string).unwrap_or_default();
            tracing::error!(event = event::PANICKED, place, "the program has a bug: a task ended abnormally");
        }));
        Ok(Self { choice, filter: handle, json, queue })
    }

    /// Follows what the inventory says from now on, except where somebody chose otherwise for this run.
    pub fn follow(&self, level: &str, format: LogFormat) -> Result<(), LogError> {
        self.json.store(is_json(self.choice.format.unwrap_or(format)), Ordering::Relaxed);
        Ok(self.filter.reload(filter(self.choice.level.as_deref().unwrap_or(level))?)?)
    }
}

/// The filter that `text` stands for: a level is the level of patrold, and other crates only warn; anything else is
/// read as directives.
pub fn filter(text: &str) -> Result<EnvFilter, LogError> {
    let level = text.parse::<tracing::level_filters::LevelFilter>().ok();
    let directives = match level {
        Some(level) if level > Level::WARN => format!("warn,patrold={level}"),
        _ => text.to_owned(),
    };
    EnvFilter::try_new(directives).map_err(|source| LogError::Level { text: text.to_owned(), source })
}

fn may_be_logged(metadata: &Metadata<'_>) -> bool {
    *metadata.level() <= Level::INFO || is_own(metadata.target())
}

/// Whether `file` is the one that `stream` names as `DEVICE:INODE`: a process that redirects its standard error still has
/// the variable.
fn is_stream(file: impl AsFd, stream: &str) -> bool {
    rustix::fs::fstat(file).is_ok_and(|stat| stream == format!("{}:{}", stat.st_dev, stat.st_ino))
}

fn is_own(target: &str) -> bool {
    target == "patrold" || target.starts_with("patrold::")
}

fn is_json(format: LogFormat) -> bool {
    match format {
        LogFormat::Auto => !io::stderr().is_terminal(),
        LogFormat::Pretty => false,
        LogFormat::Json => true,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// What is logged of `events` under the directives `level`.
    fn logged(level: &str, json: bool, events: impl FnOnce()) -> String {
        logged_to(level, json, false, events)
    }

    fn logged_to(level: &str, json: bool, priorities: bool, events: impl FnOnce()) -> String {
        let written = Arc::new(Mutex::new(Vec::new()));
        let writer = Arc::clone(&written);
        let lines = tracing_subscriber::fmt::layer()
            .with_writer(move || Shared(Arc::clone(&writer)))
            .with_ansi(false)
            .fmt_fields(JsonFields::new())
            .event_format(Lines {
                json: Arc::new(AtomicBool::new(json)),
                priorities,
                repetition: Mutex::new(Repetition::default()),
            });
        let subscriber =
            Registry::default().with(filter(level).unwrap()).with(FilterFn::new(may_be_logged)).with(lines);
        tracing::subscriber::with_default(subscriber, events);
        let written = written.lock().unwrap();
        String::from_utf8(written.clone()).unwrap()
    }

    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn details_of_other_crates_are_never_logged() {
        for (sentence, level, expected) in [
            ("a level is about patrold", "debug", "own other-warn"),
            ("directives cannot ask for it", "trace,hyper=trace", "own other-info other-warn"),
            ("less is possible", "error", ""),
            ("one's own parts", "patrold::telemetry=debug", "own"),
        ] {
            let text = logged(level, false, || {
                tracing::debug!("own");
                tracing::trace!(target: "hyper::proto", "authorization: secret");
                tracing::debug!(target: "patroldish", "no relative");
                tracing::info!(target: "hyper", "other-info");
                tracing::warn!(target: "hyper", "other-warn");
            });
            let lines = text.lines().filter_map(|line| line.split("  event=").next());
            let messages: Vec<_> = lines.filter_map(|line| line.split(' ').next_back()).collect();
            assert_eq!(messages.join(" "), expected, "{sentence}");
        }
    }

    #[test]
    fn json_lines_are_flat_and_in_order() {
        let text = logged("info", true, || {
            let span = tracing::info_span!("rotation", token = "gps", attempt = 1);
            let _entered = span.enter();
            tracing::warn!(attempt = 2, level = "odd", error = %"line\nbreak", "it \"failed\"");
        });
        let at = text.find("\"level\"").unwrap();
        assert!(text[..at].starts_with("{\"timestamp\":\"20"), "{text}");
        assert_eq!(
            &text[at..],
            "\"level\":\"warn\",\"target\":\"telemetry::log::tests\",\"message\":\"it \\\"failed\\\"\",\"attempt\":2,\
             \"token\":\"gps\",\"field_level\":\"odd\",\"error\":\"line\\nbreak\"}\n"
        );
    }

    #[test]
    fn pretty_lines_stay_one_line() {
        let text = logged("info", false, || {
            tracing::info!(path = "/a b", count = 3, error = %"two\nlines", "handed\nover");
        });
        assert!(text.ends_with("  INFO handed over  path=\"/a b\" count=3 error=\"two\\nlines\"\n"), "{text}");
    }

    #[test]
    fn a_complaint_says_what_to_do_and_is_not_repeated() {
        let text = logged("info", true, || {
            for _ in 0..3 {
                tracing::warn!(event = "mint-refused", token = "gps", code = "unauthorized", "no");
            }
            tracing::info!(event = "retired", token = "gps", "done");
            tracing::warn!(event = "mint-refused", token = "gps", code = "unauthorized", help = "own words", "no");
            tracing::warn!(target: "hyper", "odd");
        });
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 4, "{text}");
        assert!(lines[0]["help"].as_str().unwrap().starts_with("check the account's credential"), "{text}");
        assert!(lines[1]["help"].is_null(), "{text}");
        assert_eq!(lines[2]["help"], "own words");
        assert_eq!(lines[3]["event"], "library");
    }

    #[test]
    fn the_journal_of_systemd_gets_priorities() {
        let text = logged_to("trace", false, true, || {
            tracing::error!("a");
            tracing::warn!("b");
            tracing::info!("c");
            tracing::debug!("d");
        });
        let begins: Vec<_> = text.lines().map(|line| &line[..5]).collect();
        assert_eq!(begins, ["<3>20", "<4>20", "<6>20", "<7>20"]);
    }

    #[test]
    fn only_the_stream_that_is_named_is_the_journal() {
        let (file, other) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        let stat = rustix::fs::fstat(&file).unwrap();
        let stream = format!("{}:{}", stat.st_dev, stat.st_ino);
        assert!(is_stream(&file, &stream));
        assert!(!is_stream(&other, &stream), "standard error was sent elsewhere");
        assert!(!is_stream(&file, "9"), "nonsense");
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        assert!(filter("patrold=loud").unwrap_err().to_string().contains("patrold=loud"));
    }
}
