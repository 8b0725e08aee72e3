//! The chain of records: each one carries the hash of the one before it, so that a record that was changed, left out
//! or slipped in afterwards shows.
//!
//! The chain proves consistency, not authorship: who can write the database can compute a new chain. It finds bit rot,
//! a bad restore, and hands that were careless rather than malicious.

use chrono::DateTime;
use ring::digest::{self, digest};

use super::Draft;
use crate::clock::Time;
use crate::names::{InstanceId, TokenName};

/// The version of what records hold. Stored state: a changed meaning of a body gets a new number.
pub const VERSION: u32 = 1;

/// A SHA-256 digest.
pub type Hash = [u8; digest::SHA256_OUTPUT_LEN];

/// One record as the journal holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Counts all records of the journal from 1, without gaps.
    pub seq: i64,
    /// Microseconds since 1970.
    pub at_micros: i64,
    /// The token's name. Text, because a damaged record must still be readable.
    pub token: String,
    pub kind: String,
    pub version: u32,
    /// JSON.
    pub body: String,
    pub hash: Hash,
}

impl Record {
    /// When it happened, to the microsecond. `None`: not a time, so the record is damaged.
    pub fn at(&self) -> Option<Time> {
        DateTime::from_timestamp_micros(self.at_micros)
    }
}

/// The first record that does not fit the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the record {seq} is missing, or is not what was written: everything before it is intact")]
pub struct Broken {
    pub seq: i64,
}

/// The end of a chain: what the next record continues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    pub seq: i64,
    pub hash: Hash,
}

impl Chain {
    /// The empty chain of one journal. It begins with the journal's own id: records cannot move between journals.
    pub fn new(instance: InstanceId) -> Self {
        let mut start = Vec::new();
        put(&mut start, b"patrold journal");
        put(&mut start, instance.to_string().as_bytes());
        Self { seq: 0, hash: sha256(&start) }
    }

    /// The empty chain of one token, in a journal that keeps one for each: writers of different tokens do not wait for each
    /// other.
    pub fn of_token(instance: InstanceId, token: &TokenName) -> Self {
        let mut start = Vec::new();
        put(&mut start, b"patrold journal of a token");
        put(&mut start, instance.to_string().as_bytes());
        put(&mut start, token.as_str().as_bytes());
        Self { seq: 0, hash: sha256(&start) }
    }

    /// Continues the chain with `draft`.
    pub fn append(&mut self, at: Time, token: &TokenName, draft: &Draft) -> Record {
        let mut record = Record {
            seq: self.seq + 1,
            at_micros: at.timestamp_micros(),
            token: token.to_string(),
            kind: draft.kind.to_owned(),
            version: VERSION,
            body: draft.body.clone(),
            hash: self.hash,
        };
        record.hash = hash_of(&record, &self.hash);
        *self = Self { seq: record.seq, hash: record.hash };
        record
    }

    /// Follows the chain over `record`, which must continue it.
    pub fn follow(&mut self, record: &Record) -> Result<(), Broken> {
        let expected = self.seq + 1;
        if record.seq != expected || record.hash != hash_of(record, &self.hash) {
            return Err(Broken { seq: expected });
        }
        *self = Self { seq: record.seq, hash: record.hash };
        Ok(())
    }
}

/// Follows `records` from the beginning of the journal `instance`; gives the end of the chain.
pub fn verify<'a>(instance: InstanceId, records: impl IntoIterator<Item = &'a Record>) -> Result<Chain, Broken> {
    let mut chain = Chain::new(instance);
    records.into_iter().try_for_each(|record| chain.follow(record))?;
    Ok(chain)
}

/// The hash of `record` (its own hash apart) after a record with the hash `previous`.
fn hash_of(record: &Record, previous: &Hash) -> Hash {
    let mut bytes = Vec::with_capacity(128 + record.body.len());
    put(&mut bytes, previous);
    put(&mut bytes, &record.seq.to_be_bytes());
    put(&mut bytes, &record.at_micros.to_be_bytes());
    put(&mut bytes, record.token.as_bytes());
    put(&mut bytes, record.kind.as_bytes());
    put(&mut bytes, &record.version.to_be_bytes());
    put(&mut bytes, record.body.as_bytes());
    sha256(&bytes)
}

fn sha256(bytes: &[u8]) -> Hash {
    digest(&digest::SHA256, bytes).as_ref().try_into().expect("a SHA-256 digest has 32 bytes")
}

/// Appends `field` behind its length, so that no two lists of fields have the same bytes.
pub(super) fn put(bytes: &mut Vec<u8>, field: &[u8]) {
    bytes.extend_from_slice(&(field.len() as u64).to_be_bytes());
    bytes.extend_from_slice(field);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn instance() -> InstanceId {
        InstanceId::new([1, 2, 3, 4])
    }

    fn records(count: usize) -> Vec<Record> {
        let mut chain = Chain::new(instance());
        (0..count)
            .map(|n| {
                let draft = Draft { kind: "minted", body: format!("{{\"n\":{n}}}") };
                let at = DateTime::from_timestamp(1_800_000_000 + i64::try_from(n).unwrap(), 0).unwrap();
                chain.append(at, &"gps".parse().unwrap(), &draft)
            })
            .collect()
    }

    #[test]
    fn an_untouched_chain_is_whole() {
        let records = records(5);
        let end = verify(instance(), &records).unwrap();
        assert_eq!((end.seq, end.hash), (5, records[4].hash));
        assert!(verify(InstanceId::new([9; 4]), &records).is_err(), "of another journal");
    }

    #[test]
    fn every_kind_of_change_names_its_record() {
        type Change = fn(&mut Vec<Record>);
        let changes: [(&str, i64, Change); 9] = [
            ("another body", 3, |records| records[2].body.push(' ')),
            ("another time", 3, |records| records[2].at_micros += 1),
            ("another token", 3, |records| records[2].token = "other".into()),
            ("another kind", 3, |records| records[2].kind = "retired".into()),
            ("another version", 3, |records| records[2].version = 2),
            ("another hash", 3, |records| records[2].hash[0] ^= 1),
            ("a byte moved from the kind to the body", 3, |records| {
                let last = records[2].kind.pop().unwrap();
                records[2].body.insert(0, last);
            }),
            ("one left out", 2, |records| drop(records.remove(1))),
            ("two swapped", 4, |records| records.swap(3, 4)),
        ];
        for (change, seq, apply) in changes {
            let mut records = records(5);
            apply(&mut records);
            assert_eq!(verify(instance(), &records), Err(Broken { seq }), "{change}");
        }
    }

    proptest! {
        #[test]
        fn lists_of_fields_have_different_bytes(
            one in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..4), 0..4),
            other in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..4), 0..4),
        ) {
            let bytes = |fields: &[Vec<u8>]| fields.iter().fold(Vec::new(), |mut bytes, field| {
                put(&mut bytes, field);
                bytes
            });
            prop_assert_eq!(one == other, bytes(&one) == bytes(&other));
        }
    }
}
