//! Values as an inventory spells them.

use serde_json::{Map, Value, json};

use crate::clock::Span;
use crate::secret::SecretSource;
use crate::timing::cron::Schedule;

pub(super) fn cron(schedule: &Schedule) -> Map<String, Value> {
    let table = [("cron", json!(schedule.expression())), ("timezone", json!(schedule.timezone().name()))];
    table.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

pub(super) fn source(source: &SecretSource) -> Value {
    Value::Object(source_table(source))
}

pub(super) fn source_table(source: &SecretSource) -> Map<String, Value> {
    let (key, value) = match source {
        SecretSource::File(file) => ("file", path(file)),
        SecretSource::Env(name) => ("env", json!(name)),
        SecretSource::SystemdCredential(name) => ("systemd-credential", json!(name)),
        SecretSource::Command(argv) => ("command", json!(argv)),
    };
    Map::from_iter([(key.to_owned(), value)])
}

pub(super) fn some(table: Map<String, Value>) -> Option<Value> {
    Some(table).filter(|table| !table.is_empty()).map(Value::Object)
}

pub(super) fn path(path: &std::path::Path) -> Value {
    json!(path.to_string_lossy())
}

pub(super) fn span(span: Span) -> Value {
    std_span(span.to_std().unwrap_or_default())
}

/// Every unit that it needs: `1h 30m`.
pub(super) fn std_span(span: std::time::Duration) -> Value {
    const UNITS: [(&str, u128); 6] = [
        ("d", 86_400_000_000_000),
        ("h", 3_600_000_000_000),
        ("m", 60_000_000_000),
        ("s", 1_000_000_000),
        ("ms", 1_000_000),
        ("ns", 1),
    ];
    let mut rest = span.as_nanos();
    let mut parts = Vec::new();
    for (unit, length) in UNITS {
        if rest >= length {
            parts.push(format!("{}{unit}", rest / length));
            rest %= length;
        }
    }
    json!(if parts.is_empty() { "0s".to_owned() } else { parts.join(" ") })
}

/// A share as people write it, without the tail that binary fractions have.
pub(super) fn percent(share: f64) -> String {
    let text = format!("{:.6}", share * 100.0);
    format!("{}%", text.trim_end_matches('0').trim_end_matches('.'))
}

pub(super) fn quoted(name: &str) -> String {
    let bare = name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
    if bare { name.to_owned() } else { format!("\"{name}\"") }
}

/// `value` in TOML, on one line. What is absent has no spelling there, and is left out.
pub(super) fn toml(value: &Value) -> String {
    match value {
        Value::Null => "\"\"".to_owned(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().filter(|item| !item.is_null()).map(toml).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(entries) => {
            let entries: Vec<_> = entries
                .iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(key, value)| format!("{} = {}", quoted(key), toml(value)))
                .collect();
            format!("{{ {} }}", entries.join(", "))
        }
    }
}
