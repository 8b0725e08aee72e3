//! Secrets on their way through the engine.

use serde::{Deserialize, Serialize};

/// A secret under the fleet's key, or under that of a host, in base64.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sealed(pub(super) String);

impl Sealed {
    /// Whether both were sealed under one key: what is sealed begins with its format and the key's id, nine bytes.
    pub fn is_under_key_of(&self, other: &Self) -> bool {
        self.0.get(..12) == other.0.get(..12)
    }
}
