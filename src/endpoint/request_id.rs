//! Ids of requests: each request is sent with one, so that what went wrong can be found in the service's own log.

use reqwest::header::{HeaderMap, HeaderName};

use crate::secret::random;

/// Where the id is sent. What proxies, gateways and most services log, and many give back.
pub(super) const SENT_IN: HeaderName = HeaderName::from_static("x-request-id");

/// Where services name the id that they logged a request under: most; Anthropic and Microsoft Graph; AWX; GitHub; AWS;
/// Azure; Okta; Spring and others; Cloudflare.
const ANSWERED_IN: &[&str] = &[
    "x-request-id",
    "request-id",
    "x-api-request-id",
    "x-github-request-id",
    "x-amzn-requestid",
    "x-ms-request-id",
    "x-okta-request-id",
    "x-correlation-id",
    "cf-ray",
];

/// No service's id is longer.
const LONGEST: usize = 100;

/// A new id: 16 hexadecimal digits.
pub(super) fn new() -> String {
    format!("{:016x}", u64::from_be_bytes(random::bytes()))
}

/// The id that an answer names, where it looks like one.
pub(super) fn of_answer(headers: &HeaderMap) -> Option<&str> {
    let fits = |id: &&str| {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:=/+".contains(&byte);
        (1..=LONGEST).contains(&id.len()) && id.bytes().all(known)
    };
    ANSWERED_IN.iter().filter_map(|name| headers.get(*name)?.to_str().ok()).find(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_names_its_id_in_one_of_several_headers() {
        let headers = |pairs: &[(&'static str, &str)]| -> HeaderMap {
            pairs.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
        };
        let long = "x".repeat(LONGEST + 1);
        for (sentence, pairs, expected) in [
            ("none", &[("date", "now")][..], None),
            ("the usual one", &[("x-request-id", "a-1")], Some("a-1")),
            ("AWX", &[("x-api-request-id", "5bd2f7")], Some("5bd2f7")),
            ("not a word of prose", &[("x-request-id", "your token is x")], None),
            ("the next one where one is no id", &[("x-request-id", ""), ("cf-ray", "8e2-FRA")], Some("8e2-FRA")),
            ("too long", &[("x-request-id", long.as_str())], None),
        ] {
            assert_eq!(of_answer(&headers(pairs)), expected, "{sentence}");
        }
    }

    #[test]
    fn ids_do_not_repeat() {
        let (one, other) = (new(), new());
        assert_ne!(one, other);
        assert_eq!(one.len(), 16);
    }
}
