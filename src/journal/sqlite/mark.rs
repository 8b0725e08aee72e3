//! How far the journal had come, in a file beside it: by that, an older copy that somebody put in its place is noticed, and
//! one of another installation. Noted at each start and each orderly end: it may be behind the journal, never ahead.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::DATABASE;
use crate::durable::{self, Attributes, DurableError, Target};
use crate::names::InstanceId;

/// In the state directory.
const FILE: &str = "journal.mark";

/// A file that is larger is none of ours.
const LARGEST: usize = 4096;

/// Stored state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    instance: InstanceId,
    /// The last record.
    seq: i64,
}

/// What an operator should know of a journal that ends with the record `seq`, judged by what was noted. A mark that cannot
/// be read says nothing.
pub(super) fn compare(state_dir: &Path, instance: InstanceId, seq: i64) -> Option<String> {
    let noted = Target::open(&state_dir.join(FILE)).and_then(|target| target.read(LARGEST)).ok()??;
    let noted: Mark = serde_json::from_slice(&noted.bytes).ok()?;
    let path = state_dir.join(DATABASE);
    let path = path.display();
    if noted.instance != instance {
        return Some(format!(
            "{path} is not the journal that was there before: tokens of that one are nobody's now; if it was replaced by \
             mistake, stop the daemon and put the former one back"
        ));
    }
    (seq < noted.seq).then(|| {
        format!(
            "{path} is an older copy: it ends with record {seq}, and the journal had at least {}; what happened since is \
             not known, and `patrold audit` shows tokens that are left from then; if there is a newer copy, stop the \
             daemon and put that one in its place",
            noted.seq
        )
    })
}

/// Notes that the journal ends with the record `seq`.
pub(super) fn note(state_dir: &Path, instance: InstanceId, seq: i64) -> Result<(), DurableError> {
    // An id and a number are always JSON.
    let text = serde_json::to_vec(&Mark { instance, seq }).unwrap_or_default();
    durable::replace(&state_dir.join(FILE), &text, Attributes::PRIVATE)
}
