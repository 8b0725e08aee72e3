//! One event as one line.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use chrono::SecondsFormat;
use serde::Serialize;
use serde::ser::SerializeMap as _;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::{FormatEvent, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatFields, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

use crate::clock::{Clock as _, SystemClock, Time};
use crate::event;
use crate::outcome::one_line;
use crate::telemetry::remedy::remedy;
use crate::text::{Paint, words};

use super::is_own;
use super::repeat::{Repetition, Subject};

/// No message is longer, in characters.
const LONGEST: usize = 4000;

/// Names that a field cannot have.
const RESERVED: [&str; 4] = ["timestamp", "level", "target", "message"];

/// Formats events as JSON or for people; which one may change at any time.
#[derive(Debug)]
pub(super) struct Lines {
    pub json: Arc<AtomicBool>,
    /// Begin each line with its priority, as systemd's journal reads it.
    pub priorities: bool,
    pub repetition: Mutex<Repetition>,
}

impl Lines {
    /// Whether the line is logged at all; told how many like it were left out before.
    fn admits(&self, line: &mut Line<'_>) -> bool {
        let mut repetition = self.repetition.lock().unwrap_or_else(PoisonError::into_inner);
        let left_out = repetition.judge(line.subject(), line.level <= Level::WARN, line.at);
        if let Some(count) = left_out.filter(|count| *count > 0) {
            line.add(Cow::Borrowed("repeated"), count.into());
        }
        left_out.is_some()
    }
}

/// An event, taken apart.
#[derive(Debug)]
struct Line<'a> {
    at: Time,
    level: Level,
    /// The module, without the crate's own name.
    target: &'a str,
    message: String,
    /// Of the spans around the event, then of the event; each name once.
    fields: Vec<(Cow<'static, str>, Value)>,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'l> LookupSpan<'l>,
    N: for<'w> FormatFields<'w> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let metadata = event.metadata();
        let target = metadata.target();
        let mut line = Line {
            at: SystemClock.now(),
            level: *metadata.level(),
            target: target.strip_prefix("patrold::").unwrap_or(target),
            message: String::new(),
            fields: Vec::new(),
        };
        for span in context.event_scope().into_iter().flat_map(tracing_subscriber::registry::Scope::from_root) {
            let extensions = span.extensions();
            let fields = extensions.get::<FormattedFields<N>>();
            // What is no JSON was formatted by somebody else and is left out.
            let fields = fields.and_then(|fields| serde_json::from_str::<Map<_, _>>(fields).ok());
            fields.into_iter().flatten().for_each(|(name, value)| line.add(Cow::Owned(name), value));
        }
        event.record(&mut line);
        line.complete(is_own(target));
        if !self.admits(&mut line) {
            return Ok(());
        }
        if self.priorities {
            write!(out, "<{}>", priority(line.level))?;
        }
        if self.json.load(Ordering::Relaxed) {
            out.write_str(&serde_json::to_string(&line).map_err(|_| fmt::Error)?)?;
        } else {
            let paint = if out.has_ansi_escapes() { Paint::Colours } else { Paint::Plain };
            out.write_str(&line.pretty(paint))?;
        }
        out.write_char('\n')
    }
}

impl Line<'_> {
    fn add(&mut self, name: Cow<'static, str>, value: Value) {
        let name = if RESERVED.contains(&&*name) { format!("field_{name}").into() } else { name };
        match self.fields.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = value,
            None => self.fields.push((name, value)),
        }
    }

    /// Adds what follows from what is there: which event it is, where a library does not know, and what to do about it.
    fn complete(&mut self, own: bool) {
        if !own {
            self.add(Cow::Borrowed("event"), event::LIBRARY.into());
        }
        if self.level <= Level::WARN && self.text("help").is_empty() {
            let code = Some(self.text("code")).filter(|code| !code.is_empty());
            if let Some(remedy) = remedy(self.text("event"), code) {
                self.add(Cow::Borrowed("help"), remedy.into());
            }
        }
    }

    fn subject(&self) -> Subject {
        let text = |name| self.text(name).to_owned();
        Subject {
            event: text("event"),
            token: text("token"),
            account: text("account"),
            store: text("store"),
            hook: text("hook"),
            marker: text("marker"),
            code: text("code"),
            message: self.message.clone(),
        }
    }

    /// A field that is a text; empty where there is none.
    fn text(&self, name: &str) -> &str {
        let field = self.fields.iter().find(|(known, _)| known == name);
        field.and_then(|(_, value)| value.as_str()).unwrap_or_default()
    }

    /// `2026-01-20 02:00:00Z  INFO handed over  token=gps generation=3`.
    fn pretty(&self, paint: Paint) -> String {
        let at = words::moment(self.at);
        let level = format!("{:>5}", self.level);
        let level = match self.level {
            Level::ERROR => paint.red(&level),
            Level::WARN => paint.yellow(&level),
            Level::INFO => paint.cyan(&level),
            _ => paint.dim(&level),
        };
        let mut text = format!("{} {level} {}", paint.dim(&at), one_line(&self.message, LONGEST));
        let mut blanks = "  ";
        for (name, value) in &self.fields {
            let name = format!("{name}=");
            // Writing to a String cannot fail.
            let _ = match value {
                Value::String(word) if is_plain(word) => write!(text, "{blanks}{}{word}", paint.dim(&name)),
                value => write!(text, "{blanks}{}{value}", paint.dim(&name)),
            };
            blanks = " ";
        }
        text
    }
}

/// The priority of syslog(3) that systemd's journal gives a line.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

/// Whether `word` can stand without quotes.
fn is_plain(word: &str) -> bool {
    !word.is_empty() && !word.contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, '"' | '\\' | '='))
}

impl Serialize for Line<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("timestamp", &self.at.to_rfc3339_opts(SecondsFormat::Micros, true))?;
        map.serialize_entry("level", &self.level.as_str().to_ascii_lowercase())?;
        map.serialize_entry("target", self.target)?;
        map.serialize_entry("message", &self.message)?;
        for (name, value) in &self.fields {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl Visit for Line<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            name => self.add(Cow::Borrowed(name), format!("{value:?}").into()),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => value.clone_into(&mut self.message),
            name => self.add(Cow::Borrowed(name), value.into()),
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(Cow::Borrowed(field.name()), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(Cow::Borrowed(field.name()), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(Cow::Borrowed(field.name()), value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(Cow::Borrowed(field.name()), value.into());
    }
}
