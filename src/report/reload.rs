//! The result of a reload.

use serde::{Deserialize, Serialize};

/// What a reload led to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ReloadAnswer {
    /// The inventory on disk is in effect now; otherwise the one before it stays.
    pub applied: bool,
    /// What is different, a line each.
    pub changes: Vec<String>,
    /// What is wrong with it, a line each with file, line and column.
    pub problems: Vec<String>,
}
