//! Files beside the journal, in JSON: helps that may be lost, and that begin anew where they cannot be read.
//!
//! What must not be lost is in the journal. A file of these is written whole, and read once at the start.

use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::durable::{self, Attributes};
use crate::files::{self, ReadError};

/// Reads JSON of one `version`; in words why it cannot.
pub fn parse<T: DeserializeOwned>(text: &[u8], version: u32) -> Result<T, String> {
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    let found = serde_json::from_slice::<Version>(text).map_err(|error| error.to_string())?.version;
    if found != version {
        return Err(format!("it is of version {found}, which this version of patrold does not know"));
    }
    serde_json::from_slice(text).map_err(|error| error.to_string())
}

/// What `parse` makes of the file at `path`, which has at most `largest` bytes. Nothing of a file that does not exist;
/// where it cannot be read, nothing either, and why. What cannot be parsed is kept under the name with `.unreadable`.
pub async fn read<T: Default + Send + 'static>(
    path: &Path,
    largest: usize,
    parse: fn(&[u8]) -> Result<T, String>,
) -> (T, Option<String>) {
    let read = files::off_runtime(path, move |path| match files::regular(path, largest) {
        Err(ReadError::Missing) => Ok(Ok(T::default())),
        Err(error) => Ok(Err(error.to_string())),
        Ok(text) => Ok(parse(&text).inspect_err(|_| {
            // Kept for whoever wants to see it. Where that fails, too, it is overwritten: nothing depends on it.
            let mut aside = path.as_os_str().to_owned();
            aside.push(".unreadable");
            let _ = std::fs::copy(path, aside);
        })),
    });
    match read.await.unwrap_or_else(|error| Err(error.to_string())) {
        Ok(known) => (known, None),
        Err(reason) => (T::default(), Some(format!("{}: {reason}", path.display()))),
    }
}

/// Writes the file at `path` whole, for nobody but its owner.
pub async fn write(path: &Path, text: Vec<u8>) -> Result<(), ReadError> {
    let write = move |path: &Path| {
        let written = durable::replace(path, &text, Attributes::PRIVATE);
        written.map_err(|error| ReadError::Io(std::io::Error::other(error.to_string())))
    };
    files::off_runtime(path, write).await.map(drop)
}
