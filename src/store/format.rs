//! What files hold: reads and sets one slot of a document, leaving every other byte as it is. Pure.

use zeroize::Zeroizing;

pub use super::env_file::{Problem, Read, Text};
use super::{document, env_file};
use crate::inventory::Format;

/// Whether the format can have a slot of this name.
pub fn check_slot(format: &Format) -> Result<(), String> {
    match format {
        Format::Env { key, .. } if !env_file::is_key(key) => {
            Err(format!("\"{key}\" is no name of an environment variable"))
        }
        Format::Whole { .. } | Format::Env { .. } | Format::Document { .. } | Format::Properties { .. } => Ok(()),
    }
}

/// Whether the format can hold the value at all; in words that complete "STORE: …".
pub fn check_value(value: &str, format: &Format) -> Result<(), String> {
    check_slot(format)?;
    match format {
        Format::Whole { .. } | Format::Document { .. } | Format::Properties { .. } => Ok(()),
        Format::Env { dialect, .. } => env_file::encode(value, *dialect).map(drop),
    }
}

/// What the slot holds.
pub fn get(document: &[u8], format: &Format) -> Result<Read, Problem> {
    match format {
        Format::Whole { newline } => {
            let value = if *newline { document.strip_suffix(b"\n").unwrap_or(document) } else { document };
            Ok(Read::Value(Zeroizing::new(value.to_vec())))
        }
        Format::Env { key, dialect } => env_file::get(document, key, *dialect),
        Format::Document { syntax, pointer } => document::get(document, *syntax, pointer),
        Format::Properties { key } => document::get_property(document, key),
    }
}

/// The document with the slot set to `value`.
pub fn set(document: &[u8], value: &str, format: &Format) -> Result<Text, Problem> {
    match format {
        Format::Whole { newline } => {
            let mut text = Zeroizing::new(Vec::with_capacity(value.len() + 1));
            text.extend_from_slice(value.as_bytes());
            if *newline {
                text.push(b'\n');
            }
            Ok(text)
        }
        Format::Env { key, dialect } => env_file::set(document, key, value, *dialect),
        Format::Document { syntax, pointer } => document::set(document, *syntax, pointer, value),
        Format::Properties { key } => document::set_property(document, key, value),
    }
}
