//! What etcd's gateway is told and answers: keys and values in base64, whole numbers as strings, zero left out.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value as Json, json};

use crate::journal::fleet::engine::{Change, Compare, EngineError, Look, Pair, Step, failure};
use crate::journal::fleet::layout::end_of;
use crate::outcome::one_line;

use super::LARGEST;

/// A stream of changes.
pub struct Watch {
    response: reqwest::Response,
    buffer: Vec<u8>,
}

impl Watch {
    pub(super) fn new(response: reqwest::Response) -> Self {
        Self { response, buffer: Vec::new() }
    }

    /// The next changes. Empty: a sign of life. `None`: the stream has ended; whoever watches reads everything anew.
    pub async fn next(&mut self) -> Option<Vec<Change>> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return changes(&line);
            }
            let chunk = self.response.chunk().await.ok()??;
            if self.buffer.len() + chunk.len() > LARGEST {
                return None;
            }
            self.buffer.extend_from_slice(&chunk);
        }
    }
}

/// What one line of a watch tells. `None`: it has ended, or cannot be understood.
fn changes(line: &[u8]) -> Option<Vec<Change>> {
    let line: WatchLine = serde_json::from_slice(line).ok()?;
    let result = line.result.filter(|result| !result.canceled)?;
    let change = |event: WatchEvent| {
        let deleted = event.kind.as_deref() == Some("DELETE");
        let pair = pair(event.kv)?;
        Some(if deleted { Change::Deleted(pair.key) } else { Change::Put(pair) })
    };
    Some(result.events.into_iter().filter_map(change).collect())
}

pub(super) fn compare(condition: &Compare) -> Json {
    match condition {
        Compare::Created(key, revision) => json!({
            "key": STANDARD.encode(key), "target": "CREATE", "result": "EQUAL", "create_revision": revision.to_string(),
        }),
        Compare::Modified(key, revision) => json!({
            "key": STANDARD.encode(key), "target": "MOD", "result": "EQUAL", "mod_revision": revision.to_string(),
        }),
    }
}

pub(super) fn step(step: &Step) -> Json {
    match step {
        Step::Put { key, value, lease } => json!({ "request_put": {
            "key": STANDARD.encode(key), "value": STANDARD.encode(value), "lease": lease.to_string(),
        }}),
        Step::Delete(key) => json!({ "request_delete_range": { "key": STANDARD.encode(key) } }),
        Step::DeleteRange(from, to) => json!({ "request_delete_range": {
            "key": STANDARD.encode(from), "range_end": STANDARD.encode(to),
        }}),
    }
}

pub(super) fn look(look: &Look) -> Json {
    match look {
        Look::At(key) => json!({ "request_range": { "key": STANDARD.encode(key) } }),
        Look::Below(prefix) => json!({ "request_range": {
            "key": STANDARD.encode(prefix), "range_end": STANDARD.encode(end_of(prefix)),
        }}),
    }
}

pub(super) fn understood<T: DeserializeOwned>(answer: Json) -> Result<T, EngineError> {
    serde_json::from_value(answer)
        .map_err(|error| EngineError::Unknown(failure(format!("the engine's answer cannot be understood: {error}"))))
}

pub(super) fn pair(raw: RawPair) -> Option<Pair> {
    let key = String::from_utf8(STANDARD.decode(raw.key).ok()?).ok()?;
    let value = STANDARD.decode(raw.value).ok()?;
    Some(Pair { key, value, created: raw.create_revision.0, modified: raw.mod_revision.0 })
}

/// The innermost cause in words.
pub(super) fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    one_line(&cause.to_string(), 200)
}

/// A whole number, as a string or not; zero where it is left out.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Whole(pub i64);

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Number(i64),
            Text(String),
        }
        match Either::deserialize(deserializer)? {
            Either::Number(number) => Ok(Self(number)),
            // Ids are unsigned; what does not fit is still told apart from zero.
            Either::Text(text) => match (text.parse::<i64>(), text.parse::<u64>()) {
                (Ok(number), _) => Ok(Self(number)),
                (_, Ok(number)) => Ok(Self(number.cast_signed())),
                _ => Err(serde::de::Error::custom("a whole number was expected")),
            },
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Header {
    pub revision: Whole,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RawPair {
    pub key: String,
    pub value: String,
    pub create_revision: Whole,
    pub mod_revision: Whole,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RangeAnswer {
    pub header: Header,
    pub kvs: Vec<RawPair>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct TransactionAnswer {
    pub header: Header,
    pub succeeded: bool,
    responses: Vec<StepAnswer>,
}

impl TransactionAnswer {
    /// What each step that reads has found, in order.
    pub fn found(self) -> Vec<Vec<Pair>> {
        let ranges = self.responses.into_iter().filter_map(|response| response.response_range);
        ranges.map(|range| range.kvs.into_iter().filter_map(pair).collect()).collect()
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct StepAnswer {
    pub response_range: Option<RangeAnswer>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct LeaseAnswer {
    #[serde(rename = "ID")]
    pub id: Whole,
    #[serde(rename = "TTL")]
    pub ttl: Whole,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct StatusAnswer {
    pub version: String,
    #[serde(rename = "dbSize")]
    pub size: Whole,
    pub leader: Whole,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct AlarmAnswer {
    pub alarms: Vec<Alarm>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Alarm {
    pub alarm: String,
}

#[derive(Debug, Deserialize)]
struct WatchLine {
    result: Option<WatchResult>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct WatchResult {
    canceled: bool,
    events: Vec<WatchEvent>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct WatchEvent {
    #[serde(rename = "type")]
    kind: Option<String>,
    kv: RawPair,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_watch_are_understood() {
        let line = br#"{"result":{"header":{"revision":"7"},"events":[{"kv":{"key":"YQ==","create_revision":"7","mod_revision":"7","value":"Yg=="}},{"type":"DELETE","kv":{"key":"Yw==","mod_revision":"8"}}]}}"#;
        let put = Pair { key: "a".into(), value: b"b".to_vec(), created: 7, modified: 7 };
        assert_eq!(changes(line), Some(vec![Change::Put(put), Change::Deleted("c".into())]));
        assert_eq!(changes(br#"{"result":{"header":{},"created":true}}"#), Some(Vec::new()));
        assert_eq!(changes(br#"{"result":{"canceled":true,"compact_revision":"9"}}"#), None, "it was compacted");
        assert_eq!(changes(br#"{"error":{"code":14}}"#), None);
    }

    #[test]
    fn what_is_left_out_is_zero() {
        let answer: LeaseAnswer = serde_json::from_str(r#"{"ID":"7587863"}"#).unwrap();
        assert_eq!((answer.id.0, answer.ttl.0), (7_587_863, 0), "a lease that has ended");
        let answer: TransactionAnswer = serde_json::from_str(r#"{"header":{"revision":"5"}}"#).unwrap();
        assert!(!answer.succeeded);
        assert!(serde_json::from_str::<LeaseAnswer>(r#"{"ID":"x"}"#).is_err());
    }
}
