//! The short forms of what most tokens have: one store, one service that is told, an account of their own.

use crate::document::{Located, Reader};
use crate::inventory::values;
use crate::names::TokenName;

use super::AccountSpec;

/// A unit of the service manager that is told of a new secret.
#[derive(Debug)]
pub struct UnitSpec {
    pub verb: UnitVerb,
    pub name: Located<String>,
}

/// How a unit is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnitVerb {
    Restart,
    Reload,
}

/// `account = "NAME"`, or the account itself as a table, which is then called like the token.
pub(super) fn account<'d>(
    reader: &Reader<'d>,
    token: Option<&Located<TokenName>>,
) -> (Option<Located<String>>, Option<AccountSpec<'d>>) {
    let Some(found) = reader.peek("account") else {
        reader.lacks("account", "write account = \"NAME\", as in [account.NAME]");
        return (None, None);
    };
    if found.kind() != "a table" {
        return (reader.string("account"), None);
    }
    // Without a name nobody can tell what the account is called; the missing name is told.
    let Some((token, table)) = token.zip(reader.table("account", format_args!("`account` of {}", reader.what())))
    else {
        return (None, None);
    };
    let spot = reader.key_spot("account");
    match token.value.as_str().parse() {
        Ok(value) => {
            let name = Located { value: token.value.to_string(), spot };
            (Some(name), Some(AccountSpec::decode(Located { value, spot }, table)))
        }
        Err(error) => {
            let message = format!("\"{}\" is not a valid account name: {error}", token.value);
            reader.report().error_with_help(spot, message, "give the account a table of its own: [account.NAME]");
            (None, None)
        }
    }
}

/// `env = "PATH:KEY"`: the path and the key.
pub(super) fn env(reader: &Reader<'_>) -> Option<(Located<String>, Located<String>)> {
    let Located { value: (path, key), spot } = reader.parsed("env", path_and_key)?;
    let at = |value| Located { value, spot };
    Some((at(path), at(key)))
}

/// `restart = "UNIT"` and `reload = "UNIT"`.
pub(super) fn units(reader: &Reader<'_>) -> Vec<UnitSpec> {
    let unit = |key, verb| reader.parsed(key, values::unit).map(|name| UnitSpec { verb, name });
    [unit("restart", UnitVerb::Restart), unit("reload", UnitVerb::Reload)].into_iter().flatten().collect()
}

/// A path may contain colons, the name of a variable does not.
fn path_and_key(text: &str) -> Result<(String, String), String> {
    match text.rsplit_once(':') {
        Some((path, key)) if !path.is_empty() && values::is_variable(key) => Ok((path.to_owned(), key.to_owned())),
        _ => Err(format!("\"{text}\" is not a file and a key; write for example \"ci.env:AWX_TOKEN\"")),
    }
}
