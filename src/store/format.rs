//! What files hold: reads and sets one slot of a document, leaving every other byte as it is. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::document::percent::{percent_decoded, percent_encoded};
pub use super::env_file::{Problem, Read, Text};
use super::{document, env_file, filling};
use crate::inventory::{Format, Wrap};

/// Whether the format can have a slot of this name.
pub fn check_slot(format: &Format) -> Result<(), String> {
    match format {
        Format::Env { key, .. } if !env_file::is_key(key) => {
            Err(format!("\"{key}\" is not a name of an environment variable"))
        }
        Format::Wrapped { within, .. } => check_slot(within),
        Format::Whole { .. }
        | Format::Env { .. }
        | Format::Document { .. }
        | Format::Properties { .. }
        | Format::Ini { .. }
        | Format::Netrc { .. }
        | Format::GitCredentials { .. }
        | Format::Xml { .. }
        | Format::Template(_) => Ok(()),
    }
}

/// Whether the format can hold the value at all; in words that complete "STORE: …".
pub fn check_value(value: &str, format: &Format) -> Result<(), String> {
    check_slot(format)?;
    match format {
        Format::Env { dialect, .. } => env_file::encode(value, *dialect).map(drop),
        Format::Ini { reader, .. } => document::check_ini_value(value, *reader),
        Format::Netrc { .. } => document::check_netrc_value(value),
        Format::GitCredentials { .. } if value.contains(['\n', '\0']) => {
            Err("the value has a line end, which git's credentials cannot hold".to_owned())
        }
        Format::Whole { .. } | Format::Document { .. } | Format::Properties { .. } | Format::GitCredentials { .. } => {
            Ok(())
        }
        Format::Xml { path, .. } => {
            // Maven replaces `${…}`, and takes what is wholly in braces for something that it encrypted.
            let maven = path.steps().first().is_some_and(|step| step.name == "settings");
            if maven && (value.contains("${") || value.starts_with('{') && value.ends_with('}')) {
                return Err("Maven would not take the value for what it is: `${…}` and `{…}` mean something".to_owned());
            }
            document::check_xml_value(value)
        }
        Format::Template(slot) => filling::check_value(value, slot),
        Format::Wrapped { within, wrap } => {
            if let (Wrap::Basic { .. } | Wrap::Address { .. }, true) = (wrap, value.contains('\n')) {
                return Err("the value has a line end, which its reader cuts off".to_owned());
            }
            check_value(&wrapped(value, wrap), within)
        }
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
        Format::Ini { section, key, reader } => document::get_ini(document, section.as_deref(), key, *reader),
        Format::Netrc { machine, login } => document::get_netrc(document, machine, login),
        Format::GitCredentials { address } => document::get_credential(document, address),
        Format::Xml { path } => document::get_xml(document, path),
        Format::Template(slot) => Ok(filling::get(document, slot)),
        Format::Wrapped { within, wrap } => Ok(match get(document, within)? {
            Read::Value(text) => {
                str::from_utf8(&text).ok().and_then(|text| unwrapped(text, wrap)).map_or(Read::Disputed, Read::Value)
            }
            other => other,
        }),
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
        Format::Ini { section, key, reader } => document::set_ini(document, section.as_deref(), key, value, *reader),
        Format::Netrc { machine, login } => document::set_netrc(document, machine, login, value),
        Format::GitCredentials { address } => document::set_credential(document, address, value),
        Format::Xml { path } => document::set_xml(document, path, value),
        // Its values are written together, with those of other tokens.
        Format::Template(_) => Err(Problem::new(1, "a template has values of more than one secret")),
        Format::Wrapped { within, wrap } => set(document, &wrapped(value, wrap), within),
    }
}

/// The document without the slot. Only of formats whose slots can be taken out.
pub fn remove(document: &[u8], format: &Format) -> Result<Text, Problem> {
    match format {
        Format::Env { key, dialect } => env_file::remove(document, key, *dialect),
        Format::Document { syntax, pointer } => document::remove(document, *syntax, pointer),
        Format::Whole { .. }
        | Format::Properties { .. }
        | Format::Ini { .. }
        | Format::Netrc { .. }
        | Format::GitCredentials { .. }
        | Format::Xml { .. }
        | Format::Template(_)
        | Format::Wrapped { .. } => Err(Problem::new(1, "nothing is taken out of files of its format")),
    }
}

/// The text that stands for a secret.
fn wrapped(secret: &str, wrap: &Wrap) -> Zeroizing<String> {
    match wrap {
        Wrap::Prefix(prefix) => Zeroizing::new(format!("{prefix}{secret}")),
        Wrap::Basic { username } => {
            let pair = Zeroizing::new(format!("{username}:{secret}"));
            Zeroizing::new(STANDARD.encode(pair.as_bytes()))
        }
        Wrap::Address { before, after } => {
            Zeroizing::new(format!("{before}{}{after}", percent_encoded(secret).as_str()))
        }
    }
}

/// The secret that a text stands for; `None`: it is another user's, or none at all.
fn unwrapped(text: &str, wrap: &Wrap) -> Option<Text> {
    let bytes = |text: &str| Zeroizing::new(text.as_bytes().to_vec());
    match wrap {
        Wrap::Prefix(prefix) => text.strip_prefix(prefix.as_str()).map(bytes),
        Wrap::Basic { username } => {
            let pair = Zeroizing::new(STANDARD.decode(text).ok()?);
            let pair = str::from_utf8(&pair).ok()?;
            pair.split_once(':').filter(|(user, _)| user == username).map(|(_, secret)| bytes(secret))
        }
        Wrap::Address { before, after } => percent_decoded(text.strip_prefix(before.as_str())?.strip_suffix(after)?),
    }
}

#[cfg(test)]
mod tests;
