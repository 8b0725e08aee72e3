//! Which proxy requests go through: the account's own, or what the environment names.
//!
//! Law: what somebody wrote is used or is an error. A mistyped `HTTPS_PROXY` never means a direct connection in silence.
//! The variables are read as curl reads them: in both spellings, an empty one counts as none, and the lower-case one wins;
//! `HTTP_PROXY` in capitals is for plain HTTP only.

use std::fmt;
use std::net::IpAddr;

use url::{Host, Url};

use crate::inventory::{ProxyPolicy, is_loopback};
use crate::secret::Secret;

/// A proxy, and who names it.
#[derive(Clone, Debug)]
pub struct Proxy {
    /// Without user name and password.
    pub url: Url,
    pub login: Option<(String, Secret)>,
    named_by: String,
}

/// A proxy that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{named_by} {problem}")]
pub struct ProxyError {
    named_by: String,
    problem: String,
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.url.as_str().trim_end_matches('/'), self.named_by)
    }
}

impl Proxy {
    /// The proxy for requests to `url`, by the account and by the environment of the process, which `env` looks up. None:
    /// they go directly.
    pub fn choose(
        policy: &ProxyPolicy,
        url: &Url,
        env: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, ProxyError> {
        // No proxy belongs between this machine and itself.
        if is_loopback(url) {
            return Ok(None);
        }
        match policy {
            ProxyPolicy::Never => Ok(None),
            ProxyPolicy::Through { url, .. } => Self::parse(url.as_str(), "`proxy` of the account").map(Some),
            ProxyPolicy::Environment => Self::of_environment(url, env),
        }
    }

    fn of_environment(url: &Url, env: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, ProxyError> {
        let set = |name: &str| env(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let names: &[&str] = match url.scheme() {
            "https" => &["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"],
            _ => &["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"],
        };
        // A program that a web server starts finds the client's `Proxy` header in HTTP_PROXY.
        let ours = |name: &&&str| **name != "HTTP_PROXY" || env("REQUEST_METHOD").is_none();
        let Some((name, value)) = names.iter().filter(ours).find_map(|name| Some((*name, set(name)?))) else {
            return Ok(None);
        };
        let exceptions = set("no_proxy").or_else(|| set("NO_PROXY")).unwrap_or_default();
        if is_excepted(url, &exceptions) {
            return Ok(None);
        }
        Self::parse(&value, name).map(Some)
    }

    /// Reads the address of a proxy; one without a scheme is HTTP.
    fn parse(text: &str, named_by: &str) -> Result<Self, ProxyError> {
        let failed = |problem: &str| ProxyError { named_by: named_by.to_owned(), problem: problem.to_owned() };
        let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let mut url = Url::parse(&whole).map_err(|error| failed(&format!("is not the address of a proxy: {error}")))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(failed("names a proxy that is neither http nor https, which patrold does not speak to"));
        }
        if url.host_str().is_none_or(str::is_empty) || url.path() != "/" || url.query().is_some() {
            return Err(failed("is not the address of a proxy, such as http://proxy.example.com:3128"));
        }
        let decode = |text: &str| {
            // A plus sign is one in this part of an address.
            let text = text.replace('+', "%2B");
            let decoded = url::form_urlencoded::parse(text.as_bytes()).next();
            decoded.map(|(decoded, _)| decoded.into_owned()).unwrap_or_default()
        };
        let login = (!url.username().is_empty())
            .then(|| (decode(url.username()), Secret::new(decode(url.password().unwrap_or_default()).as_str())));
        // Neither fails for a URL with a host.
        let _ = (url.set_username(""), url.set_password(None));
        Ok(Self { url, login, named_by: named_by.to_owned() })
    }
}

/// Whether an entry of `NO_PROXY` means `url`: a name with what is below it (`example.com`, `.example.com`,
/// `*.example.com`), an address, a network (`10.0.0.0/8`), each with a port or without, or `*`.
fn is_excepted(url: &Url, exceptions: &str) -> bool {
    let port = url.port_or_known_default();
    exceptions.split([',', ' ']).map(str::trim).filter(|entry| !entry.is_empty()).any(|entry| {
        let (host, wanted) = split_port(entry);
        if wanted.is_some() && wanted != port {
            return false;
        }
        match url.host() {
            _ if host == "*" => true,
            Some(Host::Domain(name)) => {
                let suffix = host.trim_start_matches('*').trim_start_matches('.').to_ascii_lowercase();
                let name = name.trim_end_matches('.').to_ascii_lowercase();
                !suffix.is_empty() && (name == suffix || name.ends_with(&format!(".{suffix}")))
            }
            Some(Host::Ipv4(address)) => covers(host, IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => covers(host, IpAddr::V6(address)),
            None => false,
        }
    })
}

/// `host:port` or `[address]:port` taken apart; an IPv6 address without brackets has no port.
fn split_port(entry: &str) -> (&str, Option<u16>) {
    let unbracketed = |host: &str| host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).map(str::len);
    match entry.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || unbracketed(host).is_some() => match port.parse() {
            Ok(port) => (host.trim_start_matches('[').trim_end_matches(']'), Some(port)),
            Err(_) => (entry, None),
        },
        _ => (entry.trim_start_matches('[').trim_end_matches(']'), None),
    }
}

/// Whether `network`, an address or one with a prefix, covers `address`.
fn covers(network: &str, address: IpAddr) -> bool {
    let (base, prefix) = match network.split_once('/') {
        Some((base, prefix)) => (base, prefix.parse::<u32>().ok()),
        None => (network, Some(128)),
    };
    let (Ok(base), Some(prefix)) = (base.parse::<IpAddr>(), prefix) else { return false };
    let same = |one: u128, other: u128, width: u32| {
        let shift = width.saturating_sub(prefix);
        one.checked_shr(shift).unwrap_or(0) == other.checked_shr(shift).unwrap_or(0)
    };
    match (base, address) {
        (IpAddr::V4(base), IpAddr::V4(address)) => same(base.to_bits().into(), address.to_bits().into(), 32),
        (IpAddr::V6(base), IpAddr::V6(address)) => same(base.to_bits(), address.to_bits(), 128),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is chosen for `url` where the environment has `variables`.
    fn chosen(url: &str, variables: &[(&str, &str)]) -> Result<Option<String>, String> {
        let env = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        let proxy = Proxy::choose(&ProxyPolicy::Environment, &url.parse().unwrap(), env);
        proxy.map(|proxy| proxy.map(|proxy| proxy.to_string())).map_err(|error| error.to_string())
    }

    #[test]
    fn what_the_environment_names_is_used_or_an_error() {
        let api = "https://api.example.com";
        for (sentence, url, variables, expected) in [
            ("nothing is set", api, &[][..], Ok(None)),
            ("for https", api, &[("HTTPS_PROXY", "http://p:3128")], Ok(Some("http://p:3128 (HTTPS_PROXY)"))),
            ("without a scheme", api, &[("https_proxy", "p:3128")], Ok(Some("http://p:3128 (https_proxy)"))),
            (
                "an empty one hides no other",
                api,
                &[("https_proxy", ""), ("HTTPS_PROXY", "http://p:3128")],
                Ok(Some("http://p:3128 (HTTPS_PROXY)")),
            ),
            ("for everything", api, &[("ALL_PROXY", "http://p:1")], Ok(Some("http://p:1 (ALL_PROXY)"))),
            ("plain http has its own", api, &[("HTTP_PROXY", "http://p:1")], Ok(None)),
            ("not to this machine", "https://localhost:8443", &[("HTTPS_PROXY", "http://p:1")], Ok(None)),
            (
                "the password is not shown",
                api,
                &[("HTTPS_PROXY", "http://u:secret@p:1")],
                Ok(Some("http://p:1 (HTTPS_PROXY)")),
            ),
            ("mistyped", api, &[("HTTPS_PROXY", "http//p:1")], Err("HTTPS_PROXY is not the address of a proxy")),
            ("another protocol", api, &[("ALL_PROXY", "socks5://p:1")], Err("ALL_PROXY names a proxy that is neither")),
        ] {
            match (chosen(url, variables), expected) {
                (Ok(proxy), Ok(expected)) => assert_eq!(proxy.as_deref(), expected, "{sentence}"),
                (Err(error), Err(told)) => assert!(error.contains(told), "{sentence}: {error}"),
                (found, _) => panic!("{sentence}: {found:?}"),
            }
        }
    }

    #[test]
    fn exceptions_are_names_addresses_networks_and_ports() {
        for (exceptions, url, excepted) in [
            ("*", "https://api.example.com", true),
            ("example.com", "https://api.example.com", true),
            (".example.com", "https://api.example.com", true),
            ("*.example.com", "https://api.example.com", true),
            ("ample.com", "https://api.example.com", false),
            ("other.test, api.example.com:8443", "https://api.example.com:8443", true),
            ("api.example.com:8443", "https://api.example.com", false),
            ("10.0.0.0/8", "https://10.1.2.3", true),
            ("10.0.0.0/8", "https://11.1.2.3", false),
            ("10.1.2.3", "https://10.1.2.3:444", true),
            ("[fd00::1]:443", "https://[fd00::1]", true),
            ("fd00::/8", "https://[fd00::1]", true),
            ("", "https://api.example.com", false),
        ] {
            let variables = [("HTTPS_PROXY", "http://p:1"), ("NO_PROXY", exceptions)];
            assert_eq!(chosen(url, &variables).unwrap().is_none(), excepted, "{exceptions} {url}");
        }
    }

    #[test]
    fn a_login_in_the_address_is_taken_out_of_it() {
        let proxy = Proxy::parse("http://us%40er:p%3Ass@p:1", "x").unwrap();
        let (user, password) = proxy.login.unwrap();
        assert_eq!((user.as_str(), password.expose(), proxy.url.as_str()), ("us@er", "p:ss", "http://p:1/"));
    }
}
