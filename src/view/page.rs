//! The status page: a status for people with a browser. One document without scripts, without anything from elsewhere, and
//! with nothing to click: it tells, and refreshes itself.

use std::cmp::Reverse;
use std::fmt::Write as _;

use crate::clock::Time;
use crate::inventory::Inventory;
use crate::rotation::steps::Happening;

use super::html::escape;
use super::timeline;
use crate::report::status::{AccountCondition, AccountStatus, Condition, Status, TokenStatus};
use crate::text::words;

/// Seconds between two looks.
const REFRESH: u32 = 10;

/// Tokens in the table; the most urgent ones. A page of all of a large inventory would help nobody.
const TOKENS: usize = 200;

/// Tokens in the picture.
const LANES: usize = 30;

/// Accounts and orphans that are shown.
const OTHERS: usize = 100;

const PAGE: &str = "\
*{box-sizing:border-box}body{margin:0 auto;padding:1rem;max-width:72rem;background:var(--page);color:var(--ink);\
font:15px/1.45 system-ui,sans-serif}h1{font-size:1.3rem;margin:0}h2{font-size:1.05rem;margin:1.6rem 0 .5rem}\
p{margin:.3rem 0}.dim{color:var(--dim)}code{font-size:.92em;overflow-wrap:anywhere}\
ul{margin:.4rem 0;padding-left:1.2rem}\
.trouble{border-left:4px solid var(--bad);background:var(--surface);padding:.5rem .8rem;margin:.8rem 0}\
.counts{display:flex;flex-wrap:wrap;gap:.5rem;padding:0;margin:.8rem 0;list-style:none}\
.counts li{background:var(--surface);border:1px solid var(--line);border-radius:.4rem;padding:.3rem .8rem}\
.counts b{font-size:1.15rem}\
.picture{overflow-x:auto;border:1px solid var(--line);border-radius:.4rem;background:var(--surface)}\
.picture svg{min-width:44rem;display:block}\
table{width:100%;border-collapse:collapse;background:var(--surface);border:1px solid var(--line)}\
th,td{text-align:left;vertical-align:top;padding:.35rem .6rem;border-top:1px solid var(--line);overflow-wrap:break-word}\
td:last-child{overflow-wrap:anywhere}\
th{color:var(--dim);font-weight:600;font-size:.85rem}td:first-child{font-weight:600}\
.fine{color:var(--good)}.busy{color:var(--dim)}.failing,.due,.unknown{color:var(--warn)}\
.missing,.down,.degraded{color:var(--bad);font-weight:600}.left{color:var(--dim)}\
@media (max-width:40rem){body{padding:.6rem}thead{display:none}table,tbody,tr,td{display:block;border:0}\
table{background:none}tr{background:var(--surface);border:1px solid var(--line);border-radius:.4rem;\
margin:.5rem 0;padding:.3rem 0}td{padding:.12rem .7rem}\
td[data-is]::before{content:attr(data-is) \" \";color:var(--dim);font-weight:400;font-size:.85rem}}";

/// The style that the page has, and that its policy allows.
pub fn style() -> String {
    [timeline::COLOURS, timeline::STYLE, PAGE].concat()
}

/// The whole page. `happenings`: the newest last.
pub fn render<'h>(
    status: &Status,
    inventory: &Inventory,
    happenings: impl DoubleEndedIterator<Item = &'h Happening>,
) -> String {
    let mut out = String::with_capacity(64 << 10);
    let at = words::moment(status.at);
    // Writing to a String cannot fail, here and below.
    let _ = write!(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{}: patrold</title>\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta http-equiv=\"refresh\" content=\"{REFRESH}\"><meta name=\"robots\" content=\"noindex\">\
         <link rel=\"icon\" href=\"data:,\"><style>{}</style></head>\n<body><header><h1>patrold</h1>",
        escape(&status.summary()),
        style()
    );
    if let Some(daemon) = &status.daemon {
        let up = words::span(status.at - daemon.started);
        let version = escape(&daemon.version);
        let _ = write!(out, "<p class=\"dim\">version {version}, up {up}; as of {at}, refreshed every {REFRESH} s</p>");
    }
    out.push_str("</header>\n<main>");
    troubles(&mut out, status);
    counts(&mut out, &status.tokens);
    let mut tokens: Vec<&TokenStatus> = status.tokens.iter().collect();
    tokens.sort_by_key(|token| (Reverse(token.condition.urgency()), token.next.at.unwrap_or(Time::MAX_UTC)));
    let picture = timeline::present(status, inventory, &tokens, LANES);
    if !picture.lanes.is_empty() {
        let _ = writeln!(out, "<h2>Timeline</h2><div class=\"picture\">{}</div>", timeline::svg(&picture));
    }
    self::tokens(&mut out, &tokens, status.at);
    accounts(&mut out, &status.accounts, status.at);
    recent(&mut out, happenings.rev(), status.at);
    orphans(&mut out, &status.accounts);
    out.push_str("</main></body></html>\n");
    out
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
            let _ = write!(out, "<li><b>{count}</b> <span class=\"{word}\">{} {word}</span></li>", condition.glyph());
        }
    }
    out.push_str("</ul>\n");
}

fn begin(out: &mut String, heading: &str, columns: &[&str]) {
    let _ = write!(out, "<h2>{heading}</h2><table><thead><tr>");
    for column in columns {
        let _ = write!(out, "<th>{column}</th>");
    }
    out.push_str("</tr></thead><tbody>");
}

/// A cell with the name of its column for screens on which a row is a card.
fn cell(out: &mut String, column: &str, text: &str) {
    if text.is_empty() {
        out.push_str("<td></td>");
    } else {
        let _ = write!(out, "<td data-is=\"{column}\">{}</td>", escape(text));
    }
}

fn end(out: &mut String, left_out: usize, what: &str) {
    out.push_str("</tbody></table>\n");
    if left_out > 0 {
        let more = words::count(left_out, what);
        let _ = write!(out, "<p class=\"dim\">and {more} more, less urgent; /status.json has them all</p>");
    }
}

fn tokens(out: &mut String, tokens: &[&TokenStatus], now: Time) {
    begin(out, "Tokens", &["Token", "State", "Account", "Generation", "Next", "Last error"]);
    for token in tokens.iter().take(TOKENS) {
        let word = token.condition.word();
        let paused = if token.paused { ", paused" } else { "" };
        let _ = write!(
            out,
            "<tr><td>{}</td><td><span class=\"{word}\">{} {word}</span> <span class=\"dim\">{}{paused}</span></td>",
            escape(token.name.as_str()),
            token.condition.glyph(),
            escape(&token.phase)
        );
        cell(out, "account", token.account.as_ref().map_or("", |account| account.as_str()));
        let generation = token.current.as_ref().map(|current| {
            let expires = current.expires.here().map(|at| format!(", expires {}", words::relative(at, now)));
            format!("{}{}", current.number, expires.unwrap_or_default())
        });
        cell(out, "generation", &generation.unwrap_or_default());
        let when = token.next.at.map(|at| format!(" {}", words::relative(at, now))).unwrap_or_default();
        cell(out, "next", &format!("{}{when}: {}", token.next.action.word(), token.next.why));
        let error = token.last_error.as_ref();
        let error = error.map(|error| format!("{}: {}", words::relative(error.at, now), error.message));
        cell(out, "error", &error.unwrap_or_default());
        out.push_str("</tr>\n");
    }
    end(out, tokens.len().saturating_sub(TOKENS), "token");
}

fn accounts(out: &mut String, accounts: &[AccountStatus], now: Time) {
    begin(out, "Accounts", &["Account", "State", "Provider", "Tokens", "Clock", "Quota", "Last success", "Last error"]);
    let mut sorted: Vec<_> = accounts.iter().collect();
    sorted.sort_by_key(|account| account.condition != AccountCondition::Degraded);
    for account in sorted.iter().take(OTHERS) {
        let word = account.condition.word();
        let name = escape(account.name.as_str());
        let _ = write!(out, "<tr><td>{name}</td><td><span class=\"{word}\">{word}</span></td>");
        cell(out, "provider", account.provider.as_str());
        cell(out, "tokens", &account.tokens.to_string());
        cell(out, "clock", &skew(account));
        cell(out, "quota", &quota(account, now));
        let success = account.last_success.map(|at| words::relative(at, now));
        cell(out, "last success", &success.unwrap_or_default());
        let error = account.last_error.as_ref();
        let error = error.map(|error| format!("{}: {}", words::relative(error.at, now), error.message));
        cell(out, "error", &error.unwrap_or_default());
        out.push_str("</tr>\n");
    }
    end(out, accounts.len().saturating_sub(OTHERS), "account");
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

fn recent<'h>(out: &mut String, happenings: impl Iterator<Item = &'h Happening>, now: Time) {
    begin(out, "Recent events", &["Token", "When", "What"]);
    for happening in happenings {
        let _ = write!(out, "<tr><td>{}</td>", escape(happening.token.as_str()));
        cell(out, "", &words::relative(happening.at, now));
        let class = if happening.good { "fine" } else { "failing" };
        let _ = writeln!(out, "<td><span class=\"{class}\">{}</span></td></tr>", escape(&happening.what));
    }
    end(out, 0, "");
}

fn orphans(out: &mut String, accounts: &[AccountStatus]) {
    let all: Vec<_> =
        accounts.iter().flat_map(|account| account.orphans.iter().map(move |marker| (account, marker))).collect();
    if all.is_empty() {
        return;
    }
    begin(out, "Orphans", &["Marker", "Account"]);
    for (account, marker) in all.iter().take(OTHERS) {
        let _ = write!(out, "<tr><td><code>{}</code></td>", escape(marker));
        cell(out, "account", account.name.as_str());
        out.push_str("</tr>\n");
    }
    end(out, all.len().saturating_sub(OTHERS), "orphan");
}

#[cfg(test)]
mod tests {
    use super::*;

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
        render(&status, &loaded.inventory.unwrap(), [happening].iter())
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
        for never in
            ["<script", "<img", "onerror=alert(1)>\"", " style=", "http://www.example", "src=\"", "<form", "<a "]
        {
            assert!(!page.contains(never), "{never} is in\n{page}");
        }
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
        assert!(page.len() < 400_000, "{} bytes", page.len());
        assert!(page.contains("and 19802 tokens more, less urgent"), "they are counted");
        assert!(page.contains("<td>gps-ingest</td>") && page.contains("<td>new</td>"), "the urgent ones are there");
    }
}
