//! Where secrets come from. The secret itself is refused, and not repeated in the message.

use std::path::{Path, PathBuf};

use crate::document::{Found, Located, Reader};
use crate::inventory::values;
use crate::secret::SecretSource;

/// What an account authenticates with.
#[derive(Debug)]
pub enum CredentialSpec {
    Secret(SecretSource),
    Basic {
        username: String,
        password: SecretSource,
    },
    /// The name of a token of this inventory.
    Token(Located<String>),
}

/// Keys under which people write a secret instead of saying where it is.
const LITERALS: [&str; 7] = ["password", "secret", "value", "token-value", "literal", "text", "key"];

/// What a secret may come from, in the order in which messages list it.
pub(super) const SOURCES: [&str; 4] = ["file", "env", "systemd-credential", "command"];

const REMEDY: &str = "say where it is: { file = \"/path\" }, { env = \"NAME\" }, { systemd-credential = \"name\" } or { command = [\"program\"] }";

/// Takes `key` as the source of a secret; `allowed` are the kinds that make sense there.
pub(super) fn secret(
    reader: &Reader<'_>,
    key: &'static str,
    allowed: &[&'static str],
) -> Option<Located<SecretSource>> {
    let found = reader.take(key)?;
    let table = place_table(reader, key, found)?;
    let source = source(&table, allowed, &[]);
    table.finish();
    source.map(|value| Located { value, spot: found.spot() })
}

/// Takes what an account authenticates with: `credential`, or `username` beside it, whose password is in `kept` where the
/// account does not say. Whether it may be missing, its provider tells.
pub(super) fn credential(reader: &Reader<'_>, kept: Option<&Path>) -> Option<Located<CredentialSpec>> {
    if reader.has("username") || reader.has("password") && !reader.has("credential") {
        return username(reader, kept);
    }
    let found = reader.take("credential")?;
    let table = place_table(reader, "credential", found)?;
    let value = if table.has("username") {
        basic(&table)
    } else if table.has("token") {
        let token = table.string("token");
        lone(&table, "token").then_some(()).and(token).map(CredentialSpec::Token)
    } else {
        source(&table, &SOURCES, &["token", "username"]).map(CredentialSpec::Secret)
    };
    table.finish();
    value.map(|value| Located { value, spot: found.spot() })
}

/// `username` and `password` of the account's own table.
fn username(reader: &Reader<'_>, kept: Option<&Path>) -> Option<Located<CredentialSpec>> {
    let spot = reader.key_spot(if reader.has("username") { "username" } else { "password" });
    if reader.take("credential").is_some() {
        let message = format!("{} has both `credential` and `username`", reader.what());
        reader.report().error_with_help(spot, message, "remove one of the two");
    }
    let username = reader.required_string("username");
    let password = if reader.has("password") {
        secret(reader, "password", &SOURCES).map(|password| password.value)
    } else {
        reader.take("password");
        kept.map(|path| SecretSource::File(path.to_owned()))
    };
    let value = CredentialSpec::Basic { username: username?.value, password: password? };
    Some(Located { value, spot })
}

/// Takes `credential` where it can be nothing but a user name and a password.
pub(super) fn login(reader: &Reader<'_>) -> Option<(String, SecretSource)> {
    let table = reader.table("credential", format_args!("`credential` of {}", reader.what()))?;
    let username = table.required_string("username");
    table.required("password");
    let password = secret(&table, "password", &SOURCES);
    table.finish();
    Some((username?.value, password?.value))
}

fn basic(table: &Reader<'_>) -> Option<CredentialSpec> {
    let username = table.required_string("username");
    table.required("password");
    let password = secret(table, "password", &SOURCES);
    Some(CredentialSpec::Basic { username: username?.value, password: password?.value })
}

/// The source that stands in `table` itself; other keys are left to the caller.
pub(super) fn source(table: &Reader<'_>, allowed: &[&'static str], besides: &[&'static str]) -> Option<SecretSource> {
    // Asked for with `has`, so that no message names these keys as valid ones.
    if let Some(key) = LITERALS.into_iter().find(|key| table.has(key)) {
        if let Some(found) = table.take(key) {
            literal(table, &format!("`{key}` of {}", table.what()), found);
        }
        return None;
    }
    let given: Vec<&str> = allowed.iter().copied().filter(|key| table.has(key)).collect();
    let known: Vec<String> = allowed.iter().chain(besides).map(|key| format!("`{key}`")).collect();
    match given[..] {
        [key] => one(table, key),
        [] => {
            // A misspelt key would be reported twice otherwise: once as unknown, once as missing.
            for key in allowed.iter().chain(besides) {
                table.take(key);
            }
            if table.entries().next().is_none() {
                let message = format!("{} names no source", table.what());
                table.report().error_with_help(table.spot(), message, format!("give one of {}", known.join(", ")));
            }
            None
        }
        [first, second, ..] => {
            for key in allowed {
                table.take(key);
            }
            let message = format!("{} has both `{first}` and `{second}`", table.what());
            table.report().error_with_help(table.key_spot(second), message, "give exactly one source");
            None
        }
    }
}

fn one(table: &Reader<'_>, key: &str) -> Option<SecretSource> {
    match key {
        "file" => place(table, "file", |text| file(table, text)).map(SecretSource::File),
        "env" => place(table, "env", |text| variable(&text.value)).map(SecretSource::Env),
        "systemd-credential" => {
            place(table, "systemd-credential", |text| file_name(&text.value)).map(SecretSource::SystemdCredential)
        }
        _ => argv(table, "command").map(|argv| SecretSource::Command(argv.value)),
    }
}

/// Takes `key` as the place of a secret. What cannot be one is hidden: it may be the secret itself.
fn place<T>(
    table: &Reader<'_>,
    key: &'static str,
    parse: impl FnOnce(&Located<String>) -> Result<T, &'static str>,
) -> Option<T> {
    let text = table.string(key)?;
    match parse(&text) {
        Ok(value) => Some(value),
        Err(problem) => {
            table.report().conceal(text.spot);
            table.report().error(text.spot, format!("`{key}` of {} {problem}", table.what()));
            None
        }
    }
}

/// Takes `key` as a program and its arguments.
pub(super) fn argv(table: &Reader<'_>, key: &'static str) -> Option<Located<Vec<String>>> {
    if let Some(found) = table.take(key).filter(|found| found.value().as_str().is_some()) {
        let words: Vec<_> = found.value().as_str().unwrap_or_default().split_whitespace().collect();
        let message = format!("`{key}` of {} must be a list, not text: no shell takes it apart", table.what());
        table.report().error_with_help(found.spot(), message, format!("write {key} = {words:?}"));
        return None;
    }
    let words = table.strings(key)?;
    let argv: Vec<String> = words.value.iter().map(|word| word.value.clone()).collect();
    match argv.first() {
        Some(program) if !program.trim().is_empty() && !argv.iter().any(|word| word.contains('\0')) => {
            Some(Located { value: argv, spot: words.spot })
        }
        _ => {
            let message = format!("`{key}` of {} names no program", table.what());
            table.report().error_with_help(words.spot, message, format!("write {key} = [\"program\", \"argument\"]"));
            None
        }
    }
}

/// `found` as a table that says where a secret is; a bare text is a secret that somebody wrote down.
pub(super) fn place_table<'d>(reader: &Reader<'d>, key: &'static str, found: Found<'d>) -> Option<Reader<'d>> {
    let what = format!("`{key}` of {}", reader.what());
    if found.value().as_str().is_some() {
        literal(reader, &what, found);
        return None;
    }
    Reader::from_value(reader.report(), found, what)
}

fn literal(reader: &Reader<'_>, what: &str, found: Found<'_>) {
    reader.report().conceal(found.spot());
    reader.report().error_with_help(found.spot(), format!("{what} is a literal secret"), REMEDY);
}

/// Whether `key` is the only source of `table`; reports the others.
fn lone(table: &Reader<'_>, key: &str) -> bool {
    let other = SOURCES.iter().find(|other| table.take(other).is_some());
    if let Some(other) = other {
        let message = format!("{} has both `{key}` and `{other}`", table.what());
        table.report().error_with_help(table.key_spot(other), message, "give exactly one source");
    }
    other.is_none()
}

/// The path of a secret's file. A relative one has to look like a path: a secret that somebody wrote down is told apart, and
/// repeated in no message about a file that is not there.
fn file(table: &Reader<'_>, text: &Located<String>) -> Result<PathBuf, &'static str> {
    if !["/", "./", "../", "~/"].iter().any(|start| text.value.starts_with(start)) {
        return Err("must be a path: begin it with \"/\", \"./\" or \"~/\"");
    }
    table.report().path(text.spot, &text.value).map_err(|no| no.problem)
}

fn variable(text: &str) -> Result<String, &'static str> {
    if values::is_variable(text) {
        Ok(text.to_owned())
    } else {
        Err("must be the name of an environment variable: letters, digits and '_'")
    }
}

/// systemd passes a credential as a file of its name in one directory.
fn file_name(text: &str) -> Result<String, &'static str> {
    if text.is_empty() || text == "." || text == ".." || text.contains(['/', '\0']) {
        return Err("must be the name of a credential, without \"/\"");
    }
    Ok(text.to_owned())
}

/// Names of the daemon's environment variables that a program may see.
pub(super) fn pass_env(reader: &Reader<'_>) -> Vec<String> {
    let names = reader.strings("pass-env").map(|names| names.value).unwrap_or_default();
    for name in names.iter().filter(|name| !values::is_variable(&name.value)) {
        let message = format!("`pass-env` of {} holds what is not the name of an environment variable", reader.what());
        reader.report().error_with_help(name.spot, message, "write names only, without values");
    }
    names.into_iter().map(|name| name.value).collect()
}
