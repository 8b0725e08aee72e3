//! Ways in which listings go on, moments and predicates, on a definition made for it.

use super::*;
use crate::document::Report;
use crate::outcome::Outcome;

/// A definition whose listing goes on as `style` says, with further keys of `[list]` and `[list.item]`.
pub(super) fn listing(style: &str, list: &str, item: &str) -> Provider {
    let text = format!(
        r#"
[provider]
name = "lister"
[auth.form.key]
headers = {{ Key = "{{{{ cred.secret }}}}" }}
[list]
url   = "{{{{ base_url }}}}/tokens"
query = {{ n = "{{{{ page.number }}}}", o = "{{{{ page.offset }}}}", c = "{{{{ page.cursor }}}}" }}
items = "/items"
{list}
[list.item]
{item}
[list.page]
{style}
"#
    );
    let mut report = Report::new();
    let provider = definition::parse("lister.toml", &text, &mut report);
    assert_eq!(report.render(), "");
    provider.unwrap()
}

fn given(page: Option<Cursor>) -> Given {
    Given { page, ..Given::new("https://h.example.com/api", json!({})) }
}

fn next(provider: &Provider, page: Option<Cursor>, response: &Response) -> Result<Option<Cursor>, String> {
    let given = given(page);
    match provider.read_page(&given.values(), response, now()) {
        Outcome::Done(page) => Ok(page.next),
        other => Err(other.into_result().unwrap_err().detail),
    }
}

#[test]
fn listings_go_on_in_the_way_of_their_style() {
    let url = |text: &str| Some(Cursor::Url(text.parse().unwrap()));
    let elsewhere = Err("the next page is at another host".to_owned());
    let full = json!([{}, {}]);
    let next_url = "style = \"next-url\"\nnext = \"/next\"";
    let pages = "style = \"page\"\nlast = \"/last\"";
    let offset = "style = \"offset\"\ntotal = \"/total\"";
    let cursor = "style = \"cursor\"\nnext = \"/next\"";
    for (what, style, page, body, wanted) in [
        ("none", "style = \"none\"", None, json!({ "items": full, "next": "x" }), Ok(None)),
        (
            "relative to the host",
            next_url,
            None,
            json!({ "items": full, "next": "/api/t?p=2" }),
            Ok(url("https://h.example.com/api/t?p=2")),
        ),
        (
            "relative to the page",
            next_url,
            None,
            json!({ "items": full, "next": "?p=2" }),
            Ok(url("https://h.example.com/api/tokens?p=2")),
        ),
        (
            "relative to a later page",
            next_url,
            url("https://h.example.com/x/y?p=2"),
            json!({ "items": full, "next": "?p=3" }),
            Ok(url("https://h.example.com/x/y?p=3")),
        ),
        (
            "whole",
            next_url,
            None,
            json!({ "items": full, "next": "https://h.example.com/z/" }),
            Ok(url("https://h.example.com/z/")),
        ),
        (
            "another host",
            next_url,
            None,
            json!({ "items": full, "next": "https://evil.example.com/z" }),
            elsewhere.clone(),
        ),
        (
            "another port",
            next_url,
            None,
            json!({ "items": full, "next": "https://h.example.com:444/z" }),
            elsewhere.clone(),
        ),
        ("without TLS", next_url, None, json!({ "items": full, "next": "http://h.example.com/z" }), elsewhere.clone()),
        (
            "another host without scheme",
            next_url,
            None,
            json!({ "items": full, "next": "//evil.example.com/" }),
            elsewhere.clone(),
        ),
        ("with a user", next_url, None, json!({ "items": full, "next": "https://u:p@h.example.com/" }), elsewhere),
        ("null ends", next_url, None, json!({ "items": full, "next": null }), Ok(None)),
        ("absent ends", next_url, None, json!({ "items": full }), Ok(None)),
        (
            "neither text nor end",
            next_url,
            None,
            json!({ "items": full, "next": {} }),
            Err("/next does not say where the list goes on".to_owned()),
        ),
        ("first page", pages, None, json!({ "items": full, "last": 3 }), Ok(Some(Cursor::Number(2)))),
        ("last page", pages, Some(Cursor::Number(3)), json!({ "items": full, "last": 3 }), Ok(None)),
        ("empty page", pages, Some(Cursor::Number(9)), json!({ "items": [] }), Ok(None)),
        ("some skipped", offset, None, json!({ "items": full, "total": 3 }), Ok(Some(Cursor::Offset(2)))),
        ("all skipped", offset, Some(Cursor::Offset(2)), json!({ "items": [{}], "total": 3 }), Ok(None)),
        ("unknown total", offset, Some(Cursor::Offset(2)), json!({ "items": [{}] }), Ok(Some(Cursor::Offset(3)))),
        ("word", cursor, None, json!({ "items": full, "next": "w=" }), Ok(Some(Cursor::Token("w=".to_owned())))),
        ("empty word ends", cursor, None, json!({ "items": full, "next": "" }), Ok(None)),
        (
            "no list",
            cursor,
            None,
            json!({ "items": null, "next": "" }),
            Err("there is no list at \"/items\"".to_owned()),
        ),
    ] {
        let provider = listing(style, "", "name = \"/name\"");
        assert_eq!(next(&provider, page, &answer(200, &[], &body)), wanted, "{what}");
    }
}

#[test]
fn link_headers_are_followed_on_the_same_host() {
    let provider = listing("style = \"link\"", "", "name = \"/name\"");
    for (header, wanted) in [
        ("<https://h.example.com/t?page=2>; rel=\"next\"", Ok(Some("https://h.example.com/t?page=2"))),
        (
            "</t?a=1,2>; rel=\"first\", </t?page=2>; title=\"x\"; rel=\"last next\"",
            Ok(Some("https://h.example.com/t?page=2")),
        ),
        ("</t?page=1>; rel=prev", Ok(None)),
        ("</t?page=2>; rel=NEXT", Ok(Some("https://h.example.com/t?page=2"))),
        ("<https://evil.example.com/>; rel=\"next\"", Err(())),
        ("nonsense", Ok(None)),
    ] {
        let response = answer(200, &[("link", header)], &json!({ "items": [] }));
        let found = next(&provider, None, &response).map_err(drop);
        let wanted = wanted.map(|url| url.map(|url: &str| Cursor::Url(url.parse().unwrap())));
        assert_eq!(found, wanted, "{header}");
    }
}

#[test]
fn a_page_is_asked_for_where_the_last_one_ended() {
    let provider = listing("style = \"page\"\nfirst = 0", "", "name = \"/name\"");
    for (page, query) in [
        (None, "n=0&o=0"),
        (Some(Cursor::Number(4)), "n=4&o=0"),
        (Some(Cursor::Offset(7)), "n=0&o=7"),
        (Some(Cursor::Token("a b&c".to_owned())), "n=0&o=0&c=a+b%26c"),
    ] {
        let given = given(page);
        let request = provider.render(Operation::List, &given.values()).unwrap();
        let mut wanted: Vec<_> = query.split('&').collect();
        let mut found: Vec<_> = request.url.query().unwrap().split('&').collect();
        wanted.sort_unstable();
        found.sort_unstable();
        assert_eq!(found, wanted);
    }
}

#[test]
fn entries_tell_when_they_end_and_whether_they_are_dead() {
    let list = "keep = [{ at = \"/owner\", one-of = [\"me\", 7] }]\n\
                dead = [{ at = \"/active\", equals = false }, { at = \"/revoked\", present = true }]";
    let item = "id = { at = \"/id\", optional = true }\nexpires = { at = \"/end\", format = \"rfc3339\", \
                never = [\"null\", -1, \"year 9999\"], unset = [0], optional = true }\n\
                last-used = { at = \"/used\", format = \"epoch\" }";
    let provider = listing("style = \"none\"", list, item);
    let read = |item: Value| {
        let given = given(None);
        let response = answer(200, &[], &json!({ "items": [item] }));
        let Outcome::Done(mut page) = provider.read_page(&given.values(), &response, now()) else { panic!() };
        page.entries.pop()
    };
    assert_eq!(read(json!({ "owner": "you" })), None);
    assert_eq!(read(json!({})), None);
    for (item, expires, dead) in [
        (json!({ "owner": "me" }), Expiry::Unknown, false),
        (json!({ "owner": 7, "end": null }), Expiry::Never, false),
        (json!({ "owner": "7", "end": -1, "active": true }), Expiry::Never, false),
        (json!({ "owner": "me", "end": "9999-12-31T23:59:59Z", "active": false }), Expiry::Never, true),
        (json!({ "owner": "me", "end": 0, "revoked": "2030-01-01" }), Expiry::Unknown, true),
        (json!({ "owner": "me", "end": "2031-01-01T00:00:00Z" }), Expiry::told(time("2031-01-01T00:00:00Z")), false),
        (json!({ "owner": "me", "end": "tomorrow", "revoked": null }), Expiry::Unknown, false),
    ] {
        let entry = read(item.clone()).unwrap();
        assert_eq!((entry.remote.expires, entry.dead), (expires, dead), "{item}");
    }
    let used = read(json!({ "owner": "me", "used": 1_893_553_445 })).unwrap().last_used;
    assert_eq!(used.map(ProviderTime::as_told), Some(now()));
}

#[test]
fn a_page_with_an_entry_that_has_no_id_is_not_believed() {
    let provider = listing("style = \"none\"", "", "id = \"/id\"");
    let body = json!({ "items": [{ "id": 1 }, { "name": "x" }] });
    assert_eq!(next(&provider, None, &answer(200, &[], &body)), Err("an entry has no id at /id".to_owned()));
}
