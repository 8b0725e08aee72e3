//! One record of the journal as a line of JSON for other programs.

use serde::Serialize;
use serde_json::value::RawValue;

use crate::clock::Time;
use crate::journal::record::Record;
use crate::names::{InstanceId, hex};

/// A record with everything that its hash covers. Names are stable.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Exported<'a> {
    /// What the markers of this journal carry.
    pub instance: String,
    pub seq: i64,
    /// `None`: the record is damaged.
    pub at: Option<Time>,
    pub token: &'a str,
    pub event: &'a str,
    pub version: u32,
    /// Exactly what was written, so that the hash can be computed from it; a text where it is not JSON.
    pub body: Body<'a>,
    /// In hex digits.
    pub hash: String,
}

/// What a record holds.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Body<'a> {
    Json(&'a RawValue),
    Text(&'a str),
}

impl<'a> Exported<'a> {
    /// A record of the journal `instance`.
    pub fn new(instance: InstanceId, record: &'a Record) -> Self {
        let body = serde_json::from_str::<&RawValue>(&record.body).map_or(Body::Text(&record.body), Body::Json);
        Self {
            instance: instance.to_string(),
            seq: record.seq,
            at: record.at(),
            token: &record.token,
            event: &record.kind,
            version: record.version,
            body,
            hash: hex(&record.hash),
        }
    }
}
