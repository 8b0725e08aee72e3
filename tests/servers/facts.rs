//! What the recipe of a server says about the one that it started.

use std::io::{Write as _, stderr};
use std::path::Path;

use serde_json::Value;

/// Address, credentials and whatever else a test has to know.
#[derive(Clone, Debug)]
pub struct Facts(Value);

impl Facts {
    /// The facts of the server called `name`; where it does not run, says so for everybody to see.
    ///
    /// # Panics
    ///
    /// If it does not run although `PATROLD_SERVERS_REQUIRED=1`.
    pub fn of(name: &str) -> Option<Self> {
        let reason = match std::env::var_os("PATROLD_SERVERS") {
            None => "no servers were started; .ci/servers does it".to_owned(),
            Some(directory) => match Self::read(Path::new(&directory), name) {
                Ok(facts) => return Some(facts),
                Err(reason) => reason,
            },
        };
        let required = std::env::var_os("PATROLD_SERVERS_REQUIRED").is_some_and(|value| value == "1");
        assert!(!required, "PATROLD_SERVERS_REQUIRED=1, and {name} does not run: {reason}");
        // Not by a macro: what those print is swallowed where a test succeeds.
        let _ = writeln!(stderr(), "SKIPPED {name}: {reason}");
        None
    }

    fn read(directory: &Path, name: &str) -> Result<Self, String> {
        if let Ok(text) = std::fs::read(directory.join(format!("{name}.json"))) {
            let facts = serde_json::from_slice(&text).map_err(|error| format!("its recipe prints no JSON: {error}"))?;
            return Ok(Self(facts));
        }
        let reason = std::fs::read_to_string(directory.join(format!("{name}.skipped")));
        Err(reason.map_or_else(|_| "nobody started it".to_owned(), |reason| reason.trim().to_owned()))
    }

    /// The value called `key`.
    ///
    /// # Panics
    ///
    /// If the recipe prints no such text.
    pub fn get(&self, key: &str) -> &str {
        self.0[key].as_str().unwrap_or_else(|| panic!("the recipe says nothing of {key}"))
    }

    /// The address of the server, without a slash at its end.
    pub fn url(&self) -> &str {
        self.get("url")
    }
}
