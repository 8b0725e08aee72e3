//! `listen`, `listen-tls` and `listen-auth` of `[daemon]`.

use crate::document::{Located, Reader};
use crate::inventory::{ListenAuth, values};
use crate::secret::SecretSource;

use super::source;

/// Where a server's secrets may come from: it starts without running anything.
const SOURCES: [&str; 3] = ["file", "env", "systemd-credential"];

/// What the daemon's HTTP server is told.
#[derive(Debug, Default)]
pub struct ListenSpec {
    pub address: Option<Located<std::net::SocketAddr>>,
    pub tls: Option<Located<ListenTlsSpec>>,
    pub auth: Option<Located<ListenAuth>>,
    /// One of the keys is there and could not be understood: nothing is concluded from its absence.
    pub broken: bool,
}

/// `listen-tls = { cert, key }`.
#[derive(Debug)]
pub struct ListenTlsSpec {
    pub cert: Located<String>,
    pub key: SecretSource,
}

impl ListenSpec {
    /// Takes the keys out of `[daemon]`.
    pub(super) fn decode(reader: &Reader<'_>) -> Self {
        let spec = Self {
            address: reader.parsed("listen", values::listen_address),
            tls: tls(reader),
            auth: auth(reader),
            broken: false,
        };
        let lost = |key, absent: bool| reader.has(key) && absent;
        let broken = lost("listen", spec.address.is_none())
            || lost("listen-tls", spec.tls.is_none())
            || lost("listen-auth", spec.auth.is_none());
        Self { broken, ..spec }
    }
}

fn tls(reader: &Reader<'_>) -> Option<Located<ListenTlsSpec>> {
    const KEY: &str = "listen-tls";
    let found = reader.take(KEY)?;
    let table = Reader::from_value(reader.report(), found, format!("`{KEY}` of {}", reader.what()))?;
    let cert = table.required_string("cert");
    table.required("key");
    let key = source::secret(&table, "key", &SOURCES);
    table.finish();
    Some(Located { value: ListenTlsSpec { cert: cert?, key: key?.value }, spot: found.spot() })
}

fn auth(reader: &Reader<'_>) -> Option<Located<ListenAuth>> {
    const KEY: &str = "listen-auth";
    let found = reader.take(KEY)?;
    let table = source::place_table(reader, KEY, found)?;
    let value = if table.has("bearer") {
        source::secret(&table, "bearer", &SOURCES).map(|source| ListenAuth::Bearer(source.value))
    } else if table.has("username") || table.has("password") {
        let username = table.required_string("username").and_then(|name| user(&table, &name));
        table.required("password");
        let password = source::secret(&table, "password", &SOURCES);
        username.zip(password).map(|(username, password)| ListenAuth::Basic { username, password: password.value })
    } else {
        // Misspelt ones are told together with the valid ones.
        for key in ["bearer", "username", "password"] {
            table.take(key);
        }
        if table.entries().next().is_none() {
            let message = format!("{} says neither how a program nor how a browser proves itself", table.what());
            let help =
                "write { bearer = { file = \"/path\" } }, or { username = \"name\", password = { file = \"/path\" } }";
            table.report().error_with_help(found.spot(), message, help);
        }
        None
    };
    table.finish();
    value.map(|value| Located { value, spot: found.spot() })
}

/// A colon would end the name in the middle (RFC 7617, section 2).
fn user(table: &Reader<'_>, name: &Located<String>) -> Option<String> {
    if name.value.is_empty() || name.value.contains(':') || name.value.contains(char::is_control) {
        let message = format!("`username` of {} cannot be empty, nor hold a colon", table.what());
        table.report().error_with_help(name.spot, message, "write for example username = \"monitoring\"");
        return None;
    }
    Some(name.value.clone())
}
