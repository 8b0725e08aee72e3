//! Routes a request, and decides whether it is answered. Pure: no path names a file.

use axum::http::header::{AUTHORIZATION, HOST};
use axum::http::{HeaderMap, Method, StatusCode, Uri};

use crate::names::TokenName;
use crate::view::page::Filter;

use super::access::Guard;
use super::refusals::Refused;

/// What there is to see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    Live,
    /// `strict`: warnings count, too. `fleet`: accounts that nobody owns count, too. `known`: the caller may see the reasons.
    Ready {
        strict: bool,
        fleet: bool,
        known: bool,
    },
    Metrics,
    Status,
    /// The tokens that a query asks for; nothing asked for: the overview.
    Page(Filter),
    Token(TokenName),
}

/// A request that is not answered as meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    pub status: StatusCode,
    pub why: Refused,
    /// One sentence with the remedy.
    pub text: &'static str,
}

/// What a request asks for.
///
/// Probes of orchestrators cannot keep a secret, so `/livez` and `/readyz` are answered without one; reasons are not told
/// then. On loopback without authentication, a page of another site could otherwise have its visitors' browsers read
/// the answers (DNS rebinding): the name in `Host` must be one of loopback.
pub fn route(
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    guard: Option<&Guard>,
    loopback: bool,
) -> Result<Asked, Denied> {
    if method != Method::GET && method != Method::HEAD {
        return Err(Denied {
            status: StatusCode::METHOD_NOT_ALLOWED,
            why: Refused::Method,
            text: "nothing can be done here, only seen: use GET or HEAD",
        });
    }
    if guard.is_none() && loopback && !headers.get(HOST).is_none_or(|host| is_loopback(host.as_bytes())) {
        return Err(Denied {
            status: StatusCode::MISDIRECTED_REQUEST,
            why: Refused::ForeignHost,
            text: "ask for localhost or 127.0.0.1, or set listen-auth in [daemon]",
        });
    }
    let known = guard.is_none_or(|guard| guard.admits(headers.get(AUTHORIZATION)));
    let asked = match uri.path() {
        "/livez" => return Ok(Asked::Live),
        "/readyz" => {
            let asks = |word: &str| uri.query().is_some_and(|query| query.split('&').any(|it| it == word));
            return Ok(Asked::Ready { strict: asks("strict"), fleet: asks("fleet"), known });
        }
        "/metrics" => Some(Asked::Metrics),
        "/status.json" => Some(Asked::Status),
        "/" => Some(Asked::Page(Filter::parse(uri.query().unwrap_or_default()))),
        path => path.strip_prefix("/token/").and_then(|name| name.parse().ok()).map(Asked::Token),
    };
    // A stranger does not learn what there is.
    if !known {
        let text = "the Authorization header is missing or wrong: see listen-auth in [daemon]";
        return Err(Denied { status: StatusCode::UNAUTHORIZED, why: Refused::Unauthorized, text });
    }
    asked.ok_or(Denied {
        status: StatusCode::NOT_FOUND,
        why: Refused::NotFound,
        text: "there are /, /token/NAME, /livez, /readyz, /metrics and /status.json",
    })
}

/// Whether a `Host` can only be meant for this machine: an address, which no name server decides about, or `localhost`.
fn is_loopback(host: &[u8]) -> bool {
    let Ok(host) = std::str::from_utf8(host) else { return false };
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or(rest, |(address, _)| address),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost") || name.parse::<std::net::IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    #[expect(clippy::needless_pass_by_value, reason = "a row says what is expected")]
    fn check(sentence: &str, request: &str, guard: Option<&Guard>, expected: Result<Asked, u16>) {
        let mut lines = request.lines();
        let (method, uri) = lines.next().unwrap().split_once(' ').unwrap();
        let mut headers = HeaderMap::new();
        for (name, value) in lines.map(|line| line.split_once(": ").unwrap()) {
            let name: axum::http::HeaderName = name.parse().unwrap();
            headers.insert(name, value.parse().unwrap());
        }
        let result = route(&method.parse().unwrap(), &uri.parse().unwrap(), &headers, guard, true);
        assert_eq!(result.map_err(|denied| denied.status.as_u16()), expected, "{sentence}");
    }

    #[test]
    fn only_what_is_there_is_answered() {
        check("metrics", "GET /metrics", None, Ok(Asked::Metrics));
        check("the page", "GET /", None, Ok(Asked::Page(Filter::default())));
        let failing = Filter { state: Some("failing".to_owned()), ..Filter::default() };
        check("a part of it", "GET /?state=failing", None, Ok(Asked::Page(failing)));
        check("a token", "GET /token/ci", None, Ok(Asked::Token("ci".parse().unwrap())));
        check("no name", "GET /token/a/b", None, Err(404));
        check("nothing", "GET /token/", None, Err(404));
        check("their head", "HEAD /metrics", None, Ok(Asked::Metrics));
        check("a query is ignored", "GET /status.json?x=1", None, Ok(Asked::Status));
        check("ready", "GET /readyz", None, Ok(Asked::Ready { strict: false, fleet: false, known: true }));
        let asked = |strict, fleet| Ok(Asked::Ready { strict, fleet, known: true });
        check("strictly", "GET /readyz?strict", None, asked(true, false));
        check("all of the fleet", "GET /readyz?fleet", None, asked(false, true));
        check("both", "GET /readyz?strict&fleet", None, asked(true, true));
        check("no action", "POST /metrics", None, Err(405));
        check("nor by another name", "DELETE /", None, Err(405));
        check("traversal", "GET /../../etc/passwd", None, Err(404));
        check("in disguise", "GET /%2e%2e/metrics", None, Err(404));
        check("a doubled slash", "GET //metrics", None, Err(404));
        check("a slash too many", "GET /metrics/", None, Err(404));
    }

    #[test]
    fn loopback_answers_to_its_own_names_only() {
        for (host, is_ours) in [
            ("localhost", true),
            ("LOCALHOST:9847", true),
            ("patrold.localhost:1", true),
            ("127.0.0.1:9847", true),
            ("[::1]:9847", true),
            ("localhost.", true),
            ("rebound.example.com", false),
            ("localhost.example.com:9847", false),
            ("", false),
        ] {
            assert_eq!(is_loopback(host.as_bytes()), is_ours, "{host}");
        }
        check("a rebound name", "GET /metrics\nhost: evil.example.com", None, Err(421));
        let guard = Guard::bearer(&Secret::new("correct horse battery"));
        let known = "GET /metrics\nhost: status.example.com\nauthorization: Bearer correct horse battery";
        check("behind a proxy, with authentication", known, Some(&guard), Ok(Asked::Metrics));
    }

    #[test]
    fn strangers_see_that_it_lives_and_nothing_else() {
        let guard = Guard::basic("ops", &Secret::new("correct horse battery"));
        let guard = Some(&guard);
        check("alive", "GET /livez", guard, Ok(Asked::Live));
        check("no reasons", "GET /readyz", guard, Ok(Asked::Ready { strict: false, fleet: false, known: false }));
        check("no metrics", "GET /metrics", guard, Err(401));
        check("not even what is missing", "GET /nothing", guard, Err(401));
        // ops:correct horse battery
        let known = "GET /metrics\nauthorization: basic b3BzOmNvcnJlY3QgaG9yc2UgYmF0dGVyeQ==";
        check("who knows the password", known, guard, Ok(Asked::Metrics));
        check("another scheme", "GET /metrics\nauthorization: Bearer correct horse battery", guard, Err(401));
    }
}
