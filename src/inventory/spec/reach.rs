//! How an account reaches its provider: `tls`, `proxy` and `headers`.

use std::net::{IpAddr, SocketAddr};

use url::{Host, Url};

use super::source;
use crate::document::{Located, Reader};
use crate::inventory::ProxyPolicy;
use crate::secret::SecretSource;
use crate::trust::Pin;

/// `tls` of an account.
#[derive(Debug, Default)]
pub struct TlsSpec {
    pub ca_file: Option<Located<String>>,
    pub system_roots: bool,
    pub client_certificate: Option<Located<String>>,
    pub client_key: Option<Located<String>>,
    pub pins: Vec<Pin>,
    pub only_1_3: bool,
}

impl TlsSpec {
    /// Takes `tls` apart.
    pub fn decode(reader: &Reader<'_>) -> Self {
        let Some(table) = reader.table("tls", format_args!("`tls` of {}", reader.what())) else {
            return Self::default();
        };
        let only_1_3 = table.choice("min-version", &[("1.2", false), ("1.3", true)]);
        let spec = Self {
            ca_file: table.string("ca-file"),
            system_roots: table.bool("system-roots").is_some_and(|found| found.value),
            client_certificate: table.string("client-certificate"),
            client_key: table.string("client-key"),
            pins: pins(&table),
            only_1_3: only_1_3.is_some_and(|found| found.value),
        };
        for (given, missing) in [("client-certificate", "client-key"), ("client-key", "client-certificate")] {
            if table.has(given) && !table.has(missing) {
                let message = format!("{} has `{given}` and lacks `{missing}`", table.what());
                table.report().error(table.key_spot(given), message);
            }
        }
        if spec.system_roots && spec.ca_file.is_none() {
            let message = format!("`system-roots` of {} is about what is trusted beside `ca-file`", table.what());
            table.report().error_with_help(
                table.key_spot("system-roots"),
                message,
                "leave it out: without `ca-file` the system's roots are trusted anyway",
            );
        }
        table.finish();
        spec
    }
}

fn pins(table: &Reader<'_>) -> Vec<Pin> {
    let texts = table.strings("pins").map(|found| found.value).unwrap_or_default();
    let pin = |text: &Located<String>| match Pin::parse(&text.value) {
        Ok(pin) => Some(pin),
        Err(problem) => {
            let help = "openssl x509 -in CERT -pubkey -noout | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | base64";
            let message = format!("a pin of {} {problem}", table.what());
            table.report().error_with_help(text.spot, message, format!("`{help}` prints the base64"));
            None
        }
    };
    texts.iter().filter_map(pin).collect()
}

/// `connect-to` of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectToSpec {
    Host {
        host: String,
        port: Option<u16>,
    },
    /// The path of a socket, as it is written.
    Socket(String),
}

/// Takes `connect-to`: a name or an address with or without a port, or the path of a socket.
pub fn connect_to(reader: &Reader<'_>) -> Option<Located<ConnectToSpec>> {
    reader.parsed("connect-to", |text| {
        if text.contains('/') {
            return Ok(ConnectToSpec::Socket(text.to_owned()));
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(ConnectToSpec::Host { host: address.to_string(), port: None });
        }
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(ConnectToSpec::Host { host: address.ip().to_string(), port: Some(address.port()) });
        }
        let (name, port) = match text.split_once(':') {
            Some((name, port)) => (name, Some(port.parse::<u16>().ok().filter(|port| *port > 0))),
            None => (text, None),
        };
        let is_name = matches!(Host::parse(name), Ok(Host::Domain(_)));
        match port {
            Some(None) => Err(format!("{text:?} has no port from 1 to 65535")),
            _ if !is_name => Err(format!("{text:?} is neither HOST, HOST:PORT nor the path of a socket")),
            port => Ok(ConnectToSpec::Host { host: name.to_ascii_lowercase(), port: port.flatten() }),
        }
    })
}

/// How a single request reaches an address.
#[derive(Debug)]
pub struct SiteSpec {
    pub allow_plaintext: bool,
    pub tls: TlsSpec,
    pub proxy: Option<ProxyPolicy>,
    /// Headers with the sources of their values.
    pub dress: Vec<(String, SecretSource)>,
}

impl SiteSpec {
    /// Takes `allow-plaintext`, `tls`, `proxy` and `headers`.
    pub fn decode(reader: &Reader<'_>) -> Self {
        Self {
            allow_plaintext: reader.bool("allow-plaintext").is_some_and(|allow| allow.value),
            tls: TlsSpec::decode(reader),
            proxy: proxy(reader),
            dress: headers(reader),
        }
    }
}

/// Takes `proxy`: `"none"`, `"environment"`, an address, or a table with an address and a login.
pub fn proxy(reader: &Reader<'_>) -> Option<ProxyPolicy> {
    const KEY: &str = "proxy";
    let found = reader.peek(KEY)?;
    if found.value().as_str().is_some() {
        let text = reader.string(KEY)?;
        return match text.value.as_str() {
            "none" => Some(ProxyPolicy::Never),
            "environment" => Some(ProxyPolicy::Environment),
            _ => Some(ProxyPolicy::Through { url: address(reader, KEY, &text)?, login: None }),
        };
    }
    let table = reader.table(KEY, format_args!("`{KEY}` of {}", reader.what()))?;
    let url = table.required_string("url").and_then(|text| address(&table, "url", &text));
    let username = table.string("username").map(|found| found.value);
    let password = source::secret(&table, "password", &source::SOURCES).map(|found| found.value);
    for (given, missing) in [("username", "password"), ("password", "username")] {
        if table.has(given) && !table.has(missing) {
            let message = format!("{} has `{given}` and lacks `{missing}`", table.what());
            table.report().error(table.key_spot(given), message);
        }
    }
    table.finish();
    Some(ProxyPolicy::Through { url: url?, login: username.zip(password) })
}

/// The address of a proxy, without a password in it.
fn address(reader: &Reader<'_>, key: &str, text: &Located<String>) -> Option<Url> {
    let refuse = |problem: &str, help: &str| {
        reader.report().error_with_help(text.spot, format!("`{key}` of {} {problem}", reader.what()), help);
        None
    };
    let form = "write for example \"http://proxy.example.com:3128\", \"none\" or \"environment\"";
    match Url::parse(&text.value) {
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            reader.report().conceal(text.spot);
            let help = "write proxy = { url, username, password }, with the source of the password";
            refuse("holds a user name or password", help)
        }
        Ok(url) if !matches!(url.scheme(), "http" | "https") => refuse("is neither http nor https", form),
        Ok(url) if url.host_str().is_none_or(str::is_empty) || url.path() != "/" || url.query().is_some() => {
            refuse("is not the address of a proxy", form)
        }
        Ok(url) => Some(url),
        Err(_) => refuse("is not the address of a proxy", form),
    }
}

/// Headers that the HTTP client or the definition sets.
const RESERVED: [&str; 9] = [
    "accept",
    "accept-encoding",
    "authorization",
    "connection",
    "content-length",
    "content-type",
    "host",
    "proxy-authorization",
    "transfer-encoding",
];

/// Takes `headers`: names, each with the source of its value.
pub fn headers(reader: &Reader<'_>) -> Vec<(String, SecretSource)> {
    let Some(table) = reader.table("headers", format_args!("`headers` of {}", reader.what())) else {
        return Vec::new();
    };
    let mut headers = Vec::new();
    for (name, found) in table.entries() {
        let lower = name.value.to_ascii_lowercase();
        if lower.parse::<reqwest::header::HeaderName>().is_err() || RESERVED.contains(&lower.as_str()) {
            let message = format!("`{}` of {} is not a header that can be added", name.value, table.what());
            table.report().error_with_help(name.spot, message, "the definition and the HTTP client set it themselves");
            continue;
        }
        let what = format!("`{}` of {}", name.value, table.what());
        if found.value().as_str().is_some() {
            table.report().conceal(found.spot());
            let help = "say where it is: { file = \"/path\" }, { env = \"NAME\" }, { systemd-credential = \"name\" } or { command = [\"program\"] }";
            table.report().error_with_help(found.spot(), format!("{what} is a literal value"), help);
            continue;
        }
        let Some(value) = Reader::from_value(table.report(), found, what) else { continue };
        headers.extend(source::source(&value, &source::SOURCES, &[]).map(|source| (lower, source)));
        value.finish();
    }
    headers
}
