//! What is written to a target of a store: its slots with their new values, and the rest as it was read.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use minijinja::value::{Serde, Value as Dynamic};
use serde_json::{Map, Value};

use super::extract::Wiped;
use super::model::{Document, Entry, Slots};
use super::slots::{Prepared, Seen, Shown};
use super::template::Name;
use crate::secret::{Redactor, Secret};

/// What is written to a target.
pub struct Putting<'a> {
    /// What was there.
    pub seen: &'a Seen,
    pub prepared: &'a Prepared,
    /// Slots and their values; without a name the target is the slot, and the only one.
    pub slots: Vec<(Option<String>, &'a Secret)>,
    /// A slot that is to be there no more.
    pub gone: Option<String>,
    /// 32 hexadecimal digits: the same for every attempt to write the same.
    pub delivery: String,
    /// Says in words who writes; no secret.
    pub mark: String,
}

impl fmt::Debug for Putting<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} slots, delivery {}", self.slots.len(), self.delivery)
    }
}

impl Putting<'_> {
    /// The value of a name that is no secret.
    pub(crate) fn value(&self, name: &Name) -> Dynamic {
        let fact = |fact: Option<&Value>| fact.map_or_else(|| Dynamic::from(()), |fact| Dynamic::from(Serde(fact)));
        match name {
            Name::ReadVersion => Dynamic::from(Serde(&self.seen.version)),
            Name::ReadFact(name) => fact(self.seen.facts.get(name)),
            Name::Prepared(name) => fact(self.prepared.0.get(name)),
            Name::DeliveryId => Dynamic::from(uuid(&self.delivery)),
            Name::Mark => Dynamic::from(self.mark.as_str()),
            _ => Dynamic::from(()),
        }
    }

    /// The value of a secret name.
    pub(crate) fn secret(&self, name: &Name) -> Option<&str> {
        match (name, &self.seen.shown) {
            (Name::SlotValue, _) => self.slots.first().map(|(_, secret)| secret.expose()),
            (Name::ReadValue, Shown::Value(secret)) => Some(secret.expose()),
            _ => None,
        }
    }

    /// What the target is to hold.
    pub(crate) fn document(&self, document: &Document) -> Result<Value, String> {
        let written = |secret: &Secret| {
            let text = secret.expose();
            Value::from(if document.base64 { STANDARD.encode(text) } else { text.to_owned() })
        };
        if let [(None, secret)] = self.slots.as_slice() {
            return Ok(written(secret));
        }
        let mut table = Wiped(Value::Object(match (document.slots, &self.seen.shown) {
            (Slots::Merged, Shown::Table { slots, .. }) => slots.as_object().cloned().unwrap_or_default(),
            (Slots::Changed, _) | (Slots::Merged, Shown::Absent) => Map::new(),
            // What is not shown cannot be written back: it would be lost.
            (Slots::Merged, _) => return Err("what the target holds besides is not known".to_owned()),
        }));
        let entries = table.0.as_object_mut().ok_or("the target holds no table")?;
        for (name, secret) in &self.slots {
            let name = name.clone().ok_or("a slot has no name")?;
            let slot = match &document.entry {
                None => written(secret),
                Some(Entry { value, with }) => {
                    let known = entries.get_mut(&name).and_then(Value::as_object_mut).map(std::mem::take);
                    let mut slot = known.unwrap_or_default();
                    slot.extend(with.clone());
                    slot.insert(value.clone(), written(secret));
                    Value::Object(slot)
                }
            };
            entries.insert(name, slot);
        }
        if let Some(name) = &self.gone {
            match document.slots {
                Slots::Merged => drop(entries.remove(name)),
                // What a merge of the service's takes for gone.
                Slots::Changed => drop(entries.insert(name.clone(), Value::Null)),
            }
        }
        Ok(if document.text { Value::from(table.to_string()) } else { std::mem::take(&mut table.0) })
    }

    /// Every secret of it is struck out of messages.
    pub(crate) fn strike_out(&self, redactor: &mut Redactor) {
        self.slots.iter().for_each(|(_, secret)| redactor.add(secret));
        match &self.seen.shown {
            Shown::Value(secret) => redactor.add(secret),
            Shown::Table { slots, place } => {
                let values = slots.as_object().into_iter().flat_map(Map::values);
                let texts = values.filter_map(|it| it.pointer(&place.value)).filter_map(Value::as_str);
                texts.for_each(|text| redactor.add(&Secret::new(text)));
            }
            Shown::Absent | Shown::Hidden | Shown::Other => {}
        }
    }
}

/// 32 hexadecimal digits in the form of RFC 9562.
fn uuid(digits: &str) -> String {
    let part = |from: usize, to: usize| digits.get(from..to).unwrap_or_default();
    format!("{}-{}-{}-{}-{}", part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32))
}
