use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};

use memchr::memmem;

use super::*;

/// Every character of it is one that some encoding changes.
const SECRET: &str = "s3cr&t/\"to+k=en\\<é>~7Q";

fn redactor() -> Redactor {
    let mut redactor = Redactor::default();
    redactor.add(&Secret::new(SECRET));
    redactor
}

fn percent(text: &str) -> String {
    text.bytes().fold(String::new(), |mut all, byte| {
        let _ = write!(all, "%{byte:02x}");
        all
    })
}

fn hex(text: &str, separator: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(separator)
}

fn html(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn json(text: &str) -> String {
    serde_json::to_string(text).unwrap().trim_matches('"').to_owned()
}

/// Whether a part of the secret can be had from `text`.
fn tells(text: &str) -> bool {
    let mut found = false;
    decode::visit(text.as_bytes(), |view| {
        found |= SECRET.as_bytes().windows(6).any(|part| memmem::find(view.bytes(), part).is_some());
    });
    found
}

#[test]
fn a_secret_is_struck_out_in_every_usual_form() {
    let unicode: String = SECRET.encode_utf16().fold(String::new(), |mut all, unit| {
        let _ = write!(all, "\\u{unit:04X}");
        all
    });
    let numbers = SECRET.chars().fold(String::new(), |mut all, c| {
        let _ = write!(all, "&#{};", u32::from(c));
        all
    });
    let around = |before: &str| format!("{before}{SECRET} and more");
    let lines = STANDARD.encode(format!("{}{SECRET}{}", "a".repeat(40), "b".repeat(40)));
    let lines = [&lines[..76], &lines[76..]].join("\n");
    for (sentence, form) in [
        ("plain", SECRET.to_owned()),
        ("percent-encoded in full", percent(SECRET)),
        ("percent-encoded where needed", SECRET.replace('%', "%25").replace('+', "%2B").replace('&', "%26")),
        ("percent-encoded twice", percent(&percent(SECRET))),
        ("as JSON", json(SECRET)),
        ("as JSON that escapes all", unicode),
        ("as JSON that escapes slashes", json(SECRET).replace('/', "\\/")),
        ("JSON in JSON", json(&json(SECRET))),
        ("as HTML", html(SECRET)),
        ("as HTML in numbers", numbers),
        ("JSON in HTML", html(&json(SECRET))),
        ("base64", STANDARD.encode(SECRET)),
        ("base64 without padding", STANDARD_NO_PAD.encode(SECRET)),
        ("base64 of URLs", URL_SAFE.encode(SECRET)),
        ("base64 of URLs without padding", URL_SAFE_NO_PAD.encode(SECRET)),
        ("base64 of a text around it, offset 0", STANDARD.encode(around("abc"))),
        ("base64 of a text around it, offset 1", URL_SAFE.encode(around("abcd"))),
        ("base64 of a text around it, offset 2", STANDARD.encode(around("abcde"))),
        ("base64 in lines", lines),
        ("base64 of JSON", STANDARD.encode(format!("{{\"token\":\"{}\"}}", json(SECRET)))),
        ("base64 of base64", STANDARD.encode(STANDARD.encode(SECRET))),
        ("base64, percent-encoded", percent(&STANDARD.encode(SECRET))),
        ("a header of Basic authentication", format!("Basic {}", STANDARD.encode(format!("admin:{SECRET}")))),
        ("hex", hex(SECRET, "").to_lowercase()),
        ("hex in capitals", hex(SECRET, "")),
        ("hex with colons", hex(SECRET, ":")),
        ("hex with blanks", hex(SECRET, " ")),
    ] {
        for text in [format!("it says: {form}"), format!("path/x{form}"), format!("\"{form}\" is wrong")] {
            let clean = redactor().clean(&text);
            assert!(tells(&text), "{sentence}: {text}");
            assert!(clean.contains("***"), "{sentence}: {clean}");
            assert!(!tells(&clean), "{sentence}: {clean}");
        }
    }
}

#[test]
fn what_is_no_secret_stays() {
    for text in [
        "",
        "HTTP 403: user 17 may not create tokens for /v2/tokens/?page=2&order=id (50% of quota) \\o/ &amp; co",
        "ünïcode — ✓",
        "ZGVhZGJlZWY= deadbeef %20 \\u0041",
    ] {
        assert_eq!(redactor().clean(text), text);
        assert_eq!(Redactor::default().clean(text), text);
    }
}

#[test]
fn secrets_that_overlap_or_follow_each_other_leave_nothing() {
    let mut redactor = Redactor::default();
    for secret in ["token-abc", "abcdef", "abc", "token-abcdefg"] {
        redactor.add(&Secret::new(secret));
    }
    assert_eq!(redactor.clean("<token-abcdef>"), "<***>");
    assert_eq!(redactor.clean("token-abcdefgtoken-abc, abc"), "***, abc");
}

#[test]
fn each_line_of_a_secret_is_one() {
    let mut redactor = Redactor::default();
    redactor.add(&Secret::new("-----BEGIN KEY-----\nMIIabcdefgh\nijklmnopqr\n-----END KEY-----\n"));
    assert_eq!(redactor.clean("-----BEGIN KEY----- MIIabcdefgh ijklmnopqr"), "-----BEGIN KEY----- *** ***");
}

#[test]
fn a_long_text_ends_before_a_secret_that_would_be_cut() {
    let text = format!("{}{SECRET}", " ".repeat(MOST - 3));
    assert_eq!(redactor().clean(&text).trim(), "");
    let text = format!("{SECRET}{}", " x".repeat(MOST));
    assert!(redactor().clean(&text).starts_with("*** x"));
    assert_eq!(redactor().clean(&"x".repeat(10 * MOST)), "", "one word that is longer than a message");
}

#[test]
fn of_an_answer_with_a_secret_that_nobody_knows_words_are_kept() {
    let sent = ["patrold-1a2b3c4d-gps-g2-00ff00ff00ff".to_owned(), "https://awx.example/api".to_owned()];
    for (text, expected) in [
        ("You do not have permission to perform this action.", "You do not have permission to perform this action."),
        ("scope \"read_write\": may not be blank", "scope \"read_write\": may not be blank"),
        (
            "already exists: patrold-1a2b3c4d-gps-g2-00ff00ff00ff!",
            "already exists: patrold-1a2b3c4d-gps-g2-00ff00ff00ff!",
        ),
        ("at https://awx.example/api", "at https://awx.example/api"),
        ("limit of 25 tokens, code 40301", "limit of 25 tokens, code 40301"),
        ("patLifespanPolicyViolation AADSTS7000215: errorCode", "patLifespanPolicyViolation AADSTS7000215: errorCode"),
        ("aBcDeFgHiJkLmNoPqR XyzabcdEfghijkLmnopQr7", "*** ***"),
        ("created glpat-Xy7kQ2v9sT4wB8nM1pLz, then failed", "created ***, then failed"),
        ("{\"token\":\"deadbeefcafebabedeadbeef\"}", "{\"token\":\"***\"}"),
        ("token=QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "***"),
        ("0f8fad5b-d9cb-469f-a165-70867728950e", "***"),
        ("Benutzer hat keine Berechtigung für Schlüssel", "Benutzer hat keine Berechtigung für Schlüssel"),
    ] {
        assert_eq!(plain_words(text, &sent), expected);
    }
}

#[test]
fn a_secret_that_two_had_is_struck_out_until_neither_has_it() {
    let mut known = Known::default();
    let pem = Secret::new("-----BEGIN KEY-----\nfirst-line-of-it\nsecond-line-of-it\n-----END KEY-----\n");
    let clean = |known: &Known, text: &str| Redactor::of(Arc::new(known.clone())).clean(text);
    known.add(&Secret::new("first-token"));
    known.add(&pem);
    known.add(&pem);
    assert_eq!(clean(&known, "first-token, second-line-of-it, first"), "***, ***, first");
    known.remove(&pem);
    assert_eq!(clean(&known, "first-token, second-line-of-it"), "***, ***");
    known.remove(&pem);
    assert_eq!(clean(&known, "first-token, second-line-of-it"), "***, second-line-of-it");
    known.remove(&Secret::new("first-token"));
    assert!(known.is_empty());
}
