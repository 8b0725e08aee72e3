//! The status page: a status for people with a browser. Documents without scripts and without anything from elsewhere:
//! an overview, a list of the tokens that a query asks for, and a page for each token. Nothing can be done there; links lead
//! from one to the other, relative to each other, so that a proxy may serve them below a path of its own.

mod filter;
mod fleet;
mod frame;
mod token;

use std::cmp::Reverse;
use std::fmt::Write as _;

use crate::clock::Time;
use crate::inventory::Inventory;
use crate::rotation::steps::Happening;

use super::html::escape;
use super::timeline;
use crate::report::status::{AccountCondition, AccountStatus, Condition, ErrorStatus, Status, TokenStatus};
use crate::text::words;

use frame::{Grid, foot, head};

pub use filter::Filter;
pub use frame::{Place, style};
pub use token::render as render_token;

/// Tokens in the table; the most urgent ones. A page of all of a large inventory would help nobody.
const TOKENS: usize = 100;

/// Tokens in the table that somebody asked for.
const FOUND: usize = 500;

/// Tokens in the picture.
const LANES: usize = 30;

/// Accounts and orphans that are shown.
const OTHERS: usize = 100;

/// The overview. `happenings`: the newest last.
pub fn render<'h>(
    status: &Status,
    inventory: &Inventory,
    place: Place<'_>,
    happenings: impl DoubleEndedIterator<Item = &'h Happening>,
) -> String {
    let mut out = String::with_capacity(64 << 10);
    head(&mut out, status, place, &escape(&status.summary()), None, false);
    troubles(&mut out, status);
    counts(&mut out, &status.tokens);
    let tokens = by_urgency(status.tokens.iter());
    let picture = timeline::present(status, inventory, &tokens, LANES);
    let timeline = |out: &mut String| {
        if !picture.lanes.is_empty() {
            out.push_str("<h2>Timeline</h2>");
            show(out, &picture);
        }
    };
    // Who comes because something is wrong looks for that first.
    let wrong = status.tokens.iter().any(|token| token.condition.urgency() > 1);
    if !wrong {
        timeline(&mut out);
    }
    self::tokens(&mut out, "Tokens", &tokens, TOKENS, status.at);
    if wrong {
        timeline(&mut out);
    }
    accounts(&mut out, &status.accounts, status.at);
    status.fleet.iter().for_each(|fleet| self::fleet::write(&mut out, fleet, status.at));
    recent(&mut out, happenings.rev(), "token/", status.at);
    orphans(&mut out, &status.accounts);
    foot(&mut out);
    out
}

/// The tokens that `filter` asks for. It does not refresh itself while somebody may be typing a name.
pub fn render_found(status: &Status, place: Place<'_>, filter: &Filter) -> String {
    let mut out = String::with_capacity(64 << 10);
    let found = by_urgency(status.tokens.iter().filter(|token| filter.shows(token)));
    let title = words::count(found.len(), "token");
    head(&mut out, status, place, &title, Some("./"), filter.name.is_some());
    let _ = write!(
        out,
        "<form method=\"get\" action=\"./\"><label for=\"name\">Name</label>\
         <input id=\"name\" name=\"name\" type=\"search\" value=\"{}\">",
        escape(filter.name.as_deref().unwrap_or_default())
    );
    for (key, value) in [("state", &filter.state), ("account", &filter.account)] {
        if let Some(value) = value {
            let _ = write!(out, "<input type=\"hidden\" name=\"{key}\" value=\"{}\">", escape(value));
        }
    }
    out.push_str("<button>Find</button></form>");
    tokens(&mut out, &filter.heading(), &found, FOUND, status.at);
    if found.is_empty() {
        out.push_str("<p>No token is like that. <a href=\"./\">All tokens</a></p>");
    }
    foot(&mut out);
    out
}

fn by_urgency<'s>(tokens: impl Iterator<Item = &'s TokenStatus>) -> Vec<&'s TokenStatus> {
    let mut tokens: Vec<_> = tokens.collect();
    tokens.sort_by_key(|token| (Reverse(token.condition.urgency()), token.next.at.unwrap_or(Time::MAX_UTC)));
    tokens
}

/// A picture that scrolls where it is too wide, also by the keyboard.
fn show(out: &mut String, picture: &timeline::Timeline) {
    let svg = timeline::svg(picture);
    let _ = writeln!(out, "<div class=\"picture\" role=\"region\" aria-label=\"Timeline\" tabindex=\"0\">{svg}</div>");
}

fn troubles(out: &mut String, status: &Status) {
    let troubles = status.troubles();
    if troubles.is_empty() {
        return;
    }
    out.push_str("<section class=\"trouble\"><h2>Needs attention</h2><ul>");
    for trouble in troubles.iter().take(OTHERS) {
        let _ = write!(out, "<li>{}</li>", escape(trouble.trim()));
    }
    out.push_str("</ul></section>\n");
}

fn counts(out: &mut String, tokens: &[TokenStatus]) {
    out.push_str("<ul class=\"counts\">");
    for condition in Condition::ALL {
        let count = tokens.iter().filter(|token| token.condition == condition).count();
        let word = condition.word();
        if count > 0 {
            let glyph = condition.glyph();
            let _ = write!(
                out,
                "<li><a href=\"./?state={word}\"><b>{count}</b> <span class=\"{word}\">{glyph} {word}</span></a></li>"
            );
        }
    }
    out.push_str("<li><a href=\"./?name=\">Find a token</a></li></ul>\n");
}

fn tokens(out: &mut String, heading: &str, tokens: &[&TokenStatus], most: usize, now: Time) {
    let mut grid = Grid::new(heading, &["Token", "State", "Account", "Generation", "Next", "Last error"]);
    for token in tokens.iter().take(most) {
        let name = escape(token.name.as_str());
        let generation = token.current.as_ref().map(|current| {
            let expires = current.expires.here().map(|at| format!(", expires {}", words::relative(at, now)));
            format!("{}{}", current.number, expires.unwrap_or_default())
        });
        let when = token.next.at.map(|at| format!(" {}", words::relative(at, now))).unwrap_or_default();
        let next = format!("{}{when}: {}", token.next.action.word(), token.next.why);
        let account = token.account.as_ref().map_or("", |account| account.as_str());
        let error = error(token.last_error.as_ref(), now);
        let cells = ["", account, &generation.unwrap_or_default(), &next, &error];
        grid.row(format!("<a href=\"token/{name}\">{name}</a>"), &cells);
        let (word, glyph) = (token.condition.word(), token.condition.glyph());
        let paused = if token.paused { " <span class=\"dim\">paused</span>" } else { "" };
        grid.markup(1, format!("<span class=\"{word}\">{glyph} {word}</span>{paused}"));
    }
    grid.write(out, tokens.len().saturating_sub(most), "token");
}

fn error(error: Option<&ErrorStatus>, now: Time) -> String {
    error.map(|error| format!("{}: {}", words::relative(error.at, now), error.message)).unwrap_or_default()
}

fn accounts(out: &mut String, accounts: &[AccountStatus], now: Time) {
    let columns = &["Account", "State", "Provider", "Tokens", "Clock", "Proxy", "Quota", "Last success", "Last error"];
    let mut grid = Grid::new("Accounts", columns);
    let mut sorted: Vec<_> = accounts.iter().collect();
    sorted.sort_by_key(|account| account.condition != AccountCondition::Degraded);
    for account in sorted.iter().take(OTHERS) {
        let word = account.condition.word();
        let name = escape(account.name.as_str());
        let success = account.last_success.map(|at| words::relative(at, now)).unwrap_or_default();
        let error = error(account.last_error.as_ref(), now);
        let (tokens, proxy) = (account.tokens.to_string(), account.proxy.as_deref().unwrap_or_default());
        let (clock, quota) = (skew(account), quota(account, now));
        let cells = ["", account.provider.as_str(), &tokens, &clock, proxy, &quota, &success, &error];
        grid.row(format!("<a href=\"./?account={name}\">{name}</a>"), &cells);
        grid.markup(1, format!("<span class=\"{word}\">{word}</span>"));
    }
    grid.write(out, accounts.len().saturating_sub(OTHERS), "account");
}

fn skew(account: &AccountStatus) -> String {
    let Some(skew) = account.skew_ms else { return String::new() };
    let side = if skew > 0 { "ahead" } else { "behind" };
    let worry = if account.skew_is_worrying { ", too far" } else { "" };
    match skew.abs() {
        0..1000 => "within 1s".to_owned(),
        milliseconds => format!("{} {side}{worry}", words::span(crate::clock::Span::milliseconds(milliseconds))),
    }
}

fn quota(account: &AccountStatus, now: Time) -> String {
    let parts = [
        account.quota_left.map(|left| format!("{left} left (own limit)")),
        account.allowance.map(|left| format!("{left} left (provider)")),
        account.blocked_until.map(|until| format!("blocked, {}", words::relative(until, now))),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
}

/// `way`: from this page to those of tokens.
fn recent<'h>(out: &mut String, happenings: impl Iterator<Item = &'h Happening>, way: &str, now: Time) {
    let mut grid = Grid::new("Recent events", &["Token", "When", "What"]);
    for happening in happenings {
        let name = escape(happening.token.as_str());
        grid.row(format!("<a href=\"{way}{name}\">{name}</a>"), &[&words::relative(happening.at, now), ""]);
        let class = if happening.good { "fine" } else { "failing" };
        grid.markup(2, format!("<span class=\"{class}\">{}</span>", escape(&happening.what)));
    }
    grid.write(out, 0, "");
}

fn orphans(out: &mut String, accounts: &[AccountStatus]) {
    let all: Vec<_> =
        accounts.iter().flat_map(|account| account.orphans.iter().map(move |marker| (account, marker))).collect();
    if all.is_empty() {
        return;
    }
    let mut grid = Grid::new("Orphans", &["Marker", "Account"]);
    for (account, marker) in all.iter().take(OTHERS) {
        grid.row(format!("<code>{}</code>", escape(marker)), &[account.name.as_str()]);
    }
    grid.write(out, all.len().saturating_sub(OTHERS), "orphan");
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place<'static> = Place { host: "build-7" };

    fn page(change: impl FnOnce(&mut Status)) -> String {
        let mut status: Status = serde_json::from_str(include_str!("metrics/tests/status.json")).unwrap();
        change(&mut status);
        let loaded = crate::inventory::load(
            std::path::Path::new("tests/data/inventories/valid/listen.toml"),
            &crate::inventory::Environment { state_dir: Some("/s".into()), ..Default::default() },
            status.at,
        );
        let what = "not minted: <img src=x onerror=alert(1)>".to_owned();
        let happening = Happening { at: status.at, token: "gps-ingest".parse().unwrap(), good: false, what };
        render(&status, &loaded.inventory.unwrap(), PLACE, [happening].iter())
    }

    #[test]
    fn everything_is_told_and_nothing_becomes_markup() {
        let page = page(|_| {});
        for told in [
            "gps-ingest",
            "rotate in 30s: its expiry is near",
            "HTTP 401 &lt;script&gt;alert(1)&lt;/script&gt;",
            "not minted: &lt;img src=x onerror=alert(1)&gt;",
            "patrold-01020304-wire-7-g3-070707070707",
            "12s behind, too far",
            "5 left (own limit)",
            "unknown key `lisen` in [daemon]",
            "<svg ",
        ] {
            assert!(page.contains(told), "{told} is not in\n{page}");
        }
        for never in [
            "<script",
            "<img",
            "onerror=alert(1)>\"",
            " style=",
            "http://www.example",
            "src=\"",
            "href=\"http",
            "href=\"/",
        ] {
            assert!(!page.contains(never), "{never} is in\n{page}");
        }
    }

    #[test]
    fn who_comes_for_a_trouble_sees_the_table_first() {
        let place = |page: &str, what: &str| page.find(what).unwrap();
        let wrong = page(|_| {});
        assert!(place(&wrong, "<h2>Tokens") < place(&wrong, "<h2>Timeline"));
        assert!(wrong.contains("patrold on build-7</title>") && wrong.contains("fill='%23cf222e'"), "{wrong}");
        let fine = page(|status| status.tokens.iter_mut().for_each(|token| token.condition = Condition::Fine));
        assert!(place(&fine, "<h2>Timeline") < place(&fine, "<h2>Tokens") && fine.contains("fill='%231a7f37'"));
    }

    #[test]
    fn columns_without_content_are_left_out() {
        let error = "<th scope=\"col\">Last error</th>";
        assert_eq!(page(|_| {}).matches(error).count(), 2, "of tokens and of accounts");
        let quiet = page(|status| {
            status.tokens.iter_mut().for_each(|token| token.last_error = None);
            status.accounts.iter_mut().for_each(|account| account.last_error = None);
        });
        assert!(!quiet.contains(error) && quiet.contains("Generation</th>"), "{quiet}");
    }

    #[test]
    fn a_query_finds_tokens_by_state_account_and_name() {
        let status: Status = serde_json::from_str(include_str!("metrics/tests/status.json")).unwrap();
        let found = |query: &str| {
            let filter = Filter::parse(query);
            let found: Vec<_> = status.tokens.iter().filter(|token| filter.shows(token)).collect();
            (found.len(), render_found(&status, PLACE, &filter))
        };
        let all = status.tokens.len();
        for (query, expected) in [
            ("", all),
            ("unknown=1", all),
            ("name=GPS-", status.tokens.iter().filter(|it| it.name.as_str().contains("gps-")).count()),
            ("state=down", status.tokens.iter().filter(|it| it.condition == Condition::Down).count()),
            ("state=nonsense", 0),
            ("account=gps&name=%3Cscript%3E", 0),
        ] {
            let (count, page) = found(query);
            assert_eq!(count, expected, "{query}");
            assert!(!page.contains("<script") && page.matches("<tr><td>").count() == expected, "{query}: {page}");
        }
        assert!(found("name=").1.contains("type=\"search\"") && !found("name=").1.contains("http-equiv"));
        assert!(found("state=down").1.contains("http-equiv"), "nobody types there");
    }

    #[test]
    fn a_large_inventory_makes_a_small_page_with_the_urgent_tokens() {
        let page = page(|status| {
            let mut fine = status.tokens[0].clone();
            fine.condition = Condition::Fine;
            for number in 0..20_000 {
                fine.name = format!("many-{number}").parse().unwrap();
                status.tokens.insert(0, fine.clone());
            }
        });
        assert!(page.len() < 150_000, "{} bytes", page.len());
        assert!(page.contains("and 19902 tokens more, less urgent"), "they are counted");
        assert!(page.contains("\">gps-ingest</a>") && page.contains("\">new</a>"), "the urgent ones are there");
    }
}
