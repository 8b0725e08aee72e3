//! What every page has: head, style, tables.

use std::fmt::Write as _;

use crate::report::status::{Condition, Status};
use crate::text::words;
use crate::view::html::escape;
use crate::view::timeline;

/// Seconds between two looks.
pub(super) const REFRESH: u32 = 10;

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
@media (min-width:40.01rem){td:first-child a{white-space:nowrap}}\
th{color:var(--dim);font-weight:600;font-size:.85rem}td:first-child{font-weight:600}\
.fine{color:var(--good)}.busy{color:var(--dim)}.failing,.due,.unknown{color:var(--warn)}\
.missing,.down,.degraded{color:var(--bad);font-weight:600}.left{color:var(--dim)}\
a{color:inherit}.counts a{text-decoration:none}.counts li:hover{border-color:var(--dim)}\
form{display:flex;flex-wrap:wrap;gap:.5rem;align-items:center;margin:.8rem 0}\
input,button{font:inherit;color:inherit;background:var(--surface);border:1px solid var(--line);border-radius:.4rem;\
padding:.25rem .6rem}dl{display:grid;grid-template-columns:max-content 1fr;gap:.2rem 1rem;margin:.6rem 0}\
dt{color:var(--dim)}dd{margin:0;overflow-wrap:anywhere}\
@media (max-width:40rem){body{padding:.6rem}thead{display:none}table,tbody,tr,td{display:block;border:0}\
table{background:none}tr{background:var(--surface);border:1px solid var(--line);border-radius:.4rem;\
margin:.5rem 0;padding:.3rem 0}td{padding:.12rem .7rem}\
td[data-is]::before{content:attr(data-is) \" \";color:var(--dim);font-weight:400;font-size:.85rem}}";

/// The style that the page has, and that its policy allows.
pub fn style() -> String {
    [timeline::COLOURS, timeline::STYLE, PAGE].concat()
}

/// Where a page comes from.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The machine's name.
    pub host: &'a str,
}

/// The beginning of a page up to its header's end. `up`: the way to the overview. `still`: it does not refresh itself.
pub(super) fn head(out: &mut String, status: &Status, place: Place<'_>, heading: &str, up: Option<&str>, still: bool) {
    let (worst, host) = (worst(status), escape(place.host));
    let inventory = status.daemon.as_ref().and_then(|daemon| daemon.inventory.first()).map_or("", String::as_str);
    // Writing to a String cannot fail, here and below.
    let _ = write!(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{heading}: patrold on {host}</title>\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">"
    );
    if !still {
        let _ = write!(out, "<meta http-equiv=\"refresh\" content=\"{REFRESH}\">");
    }
    let _ = write!(
        out,
        "<meta name=\"robots\" content=\"noindex\"><link rel=\"icon\" href=\"{}\"><style>{}</style></head>\n<body><header>",
        icon(worst),
        style()
    );
    match up {
        Some(up) => {
            let _ = write!(out, "<p><a href=\"{up}\">patrold on {host}</a></p>");
        }
        None => {
            let _ = write!(out, "<h1>patrold on {host}</h1>");
        }
    }
    if let Some(daemon) = &status.daemon {
        let (up, version) = (words::span(status.at - daemon.started), escape(&daemon.version));
        let (at, inventory) = (words::moment(status.at), escape(inventory));
        let refreshed = if still { String::new() } else { format!(", refreshed every {REFRESH} s") };
        let _ = write!(
            out,
            "<p class=\"dim\"><code>{inventory}</code>, version {version}, up {up}; as of {at}{refreshed}</p>"
        );
    }
    out.push_str("</header>\n<main>");
}

/// The end of a page.
pub(super) fn foot(out: &mut String) {
    out.push_str("</main></body></html>\n");
}

/// The worst that a token is.
fn worst(status: &Status) -> Condition {
    let conditions = status.tokens.iter().map(|token| token.condition);
    conditions.max_by_key(|condition| condition.urgency()).unwrap_or(Condition::Fine)
}

/// A sign for the browser's tab: its colour and its shape tell the worst state.
fn icon(worst: Condition) -> String {
    let (colour, shape) = match worst {
        Condition::Fine | Condition::Busy | Condition::Left => ("1a7f37", "circle cx='8' cy='8' r='7'"),
        Condition::Failing | Condition::Due => ("9a6700", "path d='M8 1l7 14H1z'"),
        Condition::Missing | Condition::Down => ("cf222e", "path d='M1 1h14v14H1z'"),
    };
    format!(
        "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16' fill='%23{colour}'%3E%3C{shape}/%3E%3C/svg%3E"
    )
}

/// A table below a heading. Columns in which no row has anything are left out.
pub(super) struct Grid {
    heading: String,
    columns: &'static [&'static str],
    /// Cells in HTML.
    rows: Vec<Vec<String>>,
}

impl Grid {
    /// A table without rows. `heading` is HTML.
    pub fn new(heading: &str, columns: &'static [&'static str]) -> Self {
        Self { heading: heading.to_owned(), columns, rows: Vec::new() }
    }

    /// Adds a row: its first cell, in HTML, and the texts of the others.
    pub fn row(&mut self, first: String, others: &[&str]) {
        let others = others.iter().map(|text| escape(text));
        self.rows.push(std::iter::once(first).chain(others).collect());
    }

    /// Puts HTML into a cell of the last row.
    pub fn markup(&mut self, column: usize, html: String) {
        if let Some(cell) = self.rows.last_mut().and_then(|row| row.get_mut(column)) {
            *cell = html;
        }
    }

    /// Writes it; `left_out` of `what` are not among its rows. On screens on which a row is a card, each cell has the name of
    /// its column.
    pub fn write(self, out: &mut String, left_out: usize, what: &str) {
        let Self { heading, columns, rows } = self;
        let is_used = |column: usize| rows.is_empty() || rows.iter().any(|row| !row[column].is_empty());
        let used: Vec<usize> = (0..columns.len()).filter(|column| is_used(*column)).collect();
        // Writing to a String cannot fail.
        let _ = write!(out, "<h2>{heading}</h2><table><thead><tr>");
        for column in &used {
            let _ = write!(out, "<th scope=\"col\">{}</th>", columns[*column]);
        }
        out.push_str("</tr></thead><tbody>");
        for row in &rows {
            out.push_str("<tr>");
            for column in &used {
                let _ = match (column, row[*column].as_str()) {
                    (_, "") => write!(out, "<td></td>"),
                    (0, html) => write!(out, "<td>{html}</td>"),
                    (_, html) => write!(out, "<td data-is=\"{}\">{html}</td>", columns[*column].to_lowercase()),
                };
            }
            out.push_str("</tr>\n");
        }
        out.push_str("</tbody></table>\n");
        if left_out > 0 {
            let more = words::count(left_out, what);
            let _ = write!(out, "<p class=\"dim\">and {more} more, less urgent; /status.json has them all</p>");
        }
    }
}
