//! One value of a document, with its place.

use toml::Spanned;
use toml::de::DeValue;

use super::{SourceId, Spot};

/// A value of any type, with its place.
#[derive(Clone, Copy, Debug)]
pub struct Found<'d> {
    pub(super) value: &'d Spanned<DeValue<'d>>,
    pub(super) source: SourceId,
}

impl<'d> Found<'d> {
    /// Where the value stands.
    pub fn spot(&self) -> Spot {
        Spot::new(self.source, self.value.span())
    }

    /// The value.
    pub fn value(&self) -> &'d DeValue<'d> {
        self.value.get_ref()
    }

    /// What the value is, as people say it: `text`, `a table`.
    pub fn kind(&self) -> &'static str {
        kind(self.value.get_ref())
    }

    /// The values of a list; none where it is no list.
    pub fn items(&self) -> impl Iterator<Item = Self> + use<'d> {
        let source = self.source;
        self.value
            .get_ref()
            .as_array()
            .into_iter()
            .flat_map(|items| items.iter())
            .map(move |value| Self { value, source })
    }

    /// The value as JSON: what templates, parameters and bodies are made of. Dates become text.
    pub fn to_json(&self) -> serde_json::Value {
        json(self.value.get_ref())
    }
}

/// What a value is, as people say it.
pub(super) fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

fn json(value: &DeValue<'_>) -> serde_json::Value {
    use serde_json::Value;
    match value {
        DeValue::String(text) => Value::from(text.as_ref()),
        DeValue::Integer(n) => i64::from_str_radix(n.as_str(), n.radix()).map_or(Value::Null, Value::from),
        DeValue::Float(x) => x.as_str().parse::<f64>().map_or(Value::Null, Value::from),
        DeValue::Boolean(b) => Value::from(*b),
        DeValue::Datetime(time) => Value::from(time.to_string()),
        DeValue::Array(items) => items.iter().map(|item| json(item.get_ref())).collect(),
        DeValue::Table(table) => {
            table.iter().map(|(key, value)| (key.get_ref().to_string(), json(value.get_ref()))).collect()
        }
    }
}
