//! Lanes as an SVG.

use std::fmt::Write as _;

use crate::clock::{Span, Time};
use crate::text::words;
use crate::view::html::escape;

use super::{BarKind, Lane, MarkKind, Timeline};

/// Colours of the picture: part of the page's style, or of a picture that stands alone. The names of the colours are
/// those of the page.
pub const STYLE: &str = "\
svg.timeline{background:var(--surface);font:12px system-ui,sans-serif;width:100%;height:auto}\
.timeline text{fill:var(--ink)}.timeline .dim{fill:var(--dim)}\
.timeline .grid{stroke:var(--line)}.timeline .now{stroke:var(--bad);stroke-width:1.5}\
.timeline .window{fill:var(--window)}.timeline .current{fill:var(--good)}\
.timeline .planned{fill:var(--planned)}.timeline .grace{fill:var(--grace)}.timeline .dead{fill:var(--bad)}\
.timeline .renew{fill:var(--ink)}.timeline .overridden{fill:var(--warn)}";

/// The colours in light and dark.
pub const COLOURS: &str = "\
:root{color-scheme:light dark;--surface:#fff;--page:#f6f7f9;--ink:#1b1f24;--dim:#5c6773;--line:#d8dde3;\
--good:#2f855a;--planned:#9fd3b6;--grace:#d9a441;--warn:#b35c00;--bad:#c53030;--window:#dbe7f7}\
@media (prefers-color-scheme:dark){:root{--surface:#181c21;--page:#101317;--ink:#e4e8ec;--dim:#98a3ae;--line:#323941;\
--good:#3fa873;--planned:#245a40;--grace:#b5842b;--warn:#f0a050;--bad:#f06a6a;--window:#1f2f47}}";

const WIDTH: i64 = 1000;
const LABELS: i64 = 190;
const LANE: usize = 26;
const HEAD: usize = 44;
const FOOT: usize = 34;

/// The picture, to stand in a page that has the style.
pub fn svg(timeline: &Timeline) -> String {
    draw(timeline, "")
}

/// The picture as a file of its own.
pub fn standalone(timeline: &Timeline) -> String {
    draw(timeline, &format!("<style>{COLOURS}{STYLE}</style>"))
}

fn draw(timeline: &Timeline, style: &str) -> String {
    let scale = Scale { from: timeline.from, length: (timeline.to - timeline.from).max(Span::milliseconds(1)) };
    let bottom = HEAD + timeline.lanes.len() * LANE;
    let height = bottom + FOOT;
    let mut out = String::new();
    // Writing to a String cannot fail, here and below.
    let _ = write!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"timeline\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\">\
         <title>Lives and rotations of {} from {} to {}</title>{style}",
        words::count(timeline.lanes.len(), "token"),
        words::moment(timeline.from),
        words::moment(timeline.to),
    );
    if !style.is_empty() {
        let _ = write!(out, "<rect width=\"{WIDTH}\" height=\"{height}\" fill=\"var(--surface)\"/>");
    }
    axis(&mut out, timeline, &scale, bottom);
    for (index, lane) in timeline.lanes.iter().enumerate() {
        self::lane(&mut out, lane, &scale, HEAD + index * LANE);
    }
    let now = scale.x(timeline.now);
    let _ = write!(
        out,
        "<line class=\"now\" x1=\"{now}\" y1=\"{}\" x2=\"{now}\" y2=\"{bottom}\"/>\
         <text class=\"dim\" x=\"{now}\" y=\"14\" text-anchor=\"middle\">now</text>",
        HEAD - 26
    );
    legend(&mut out, bottom + 22, timeline.left_out);
    out.push_str("</svg>\n");
    out
}

/// Where a time stands in the picture.
struct Scale {
    from: Time,
    length: Span,
}

impl Scale {
    /// In units of the picture, within its borders.
    fn x(&self, time: Time) -> i64 {
        let room = i128::from(WIDTH - LABELS - 10);
        let offset = i128::from((time - self.from).num_milliseconds());
        let x = offset * room / i128::from(self.length.num_milliseconds().max(1));
        LABELS + i64::try_from(x.clamp(0, room)).unwrap_or(0)
    }
}

fn axis(out: &mut String, timeline: &Timeline, scale: &Scale, bottom: usize) {
    let step = step(timeline.to - timeline.from);
    let format = if step >= Span::days(1) {
        "%b %-d"
    } else if step >= Span::minutes(1) {
        "%H:%M"
    } else {
        "%H:%M:%S"
    };
    let seconds = step.num_seconds().max(1);
    let first = timeline.from.timestamp().div_euclid(seconds) + 1;
    for tick in 0..40 {
        let Some(at) = Time::from_timestamp((first + tick).saturating_mul(seconds), 0) else { return };
        if at >= timeline.to {
            return;
        }
        let x = scale.x(at);
        let label = at.format(format);
        let _ = write!(
            out,
            "<line class=\"grid\" x1=\"{x}\" y1=\"{}\" x2=\"{x}\" y2=\"{bottom}\"/>\
             <text class=\"dim\" x=\"{x}\" y=\"{}\" text-anchor=\"middle\">{label}</text>",
            HEAD - 6,
            HEAD - 12
        );
    }
}

/// The distance of two ticks: a round one, of which at most ten fit.
fn step(length: Span) -> Span {
    const SECONDS: [i64; 22] = [
        1,
        2,
        5,
        10,
        30,
        60,
        120,
        300,
        600,
        1800,
        3600,
        7200,
        21_600,
        43_200,
        86_400,
        172_800,
        604_800,
        1_209_600,
        2_592_000,
        7_776_000,
        31_536_000,
        315_360_000,
    ];
    let step = SECONDS.iter().find(|step| length.num_seconds() / **step <= 10);
    Span::seconds(step.copied().unwrap_or(3_153_600_000))
}

fn lane(out: &mut String, lane: &Lane, scale: &Scale, top: usize) {
    let (name, title) = (escape(&crate::outcome::one_line(&lane.name, 24)), escape(&lane.title));
    let _ = write!(out, "<g><title>{title}</title><text x=\"8\" y=\"{}\">{name}</text>", top + 17);
    let mut bar = |class: &str, from: i64, to: i64, y: usize, height: usize| {
        if to > from {
            let width = to - from;
            let _ = write!(
                out,
                "<rect class=\"{class}\" x=\"{from}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"2\"/>"
            );
        }
    };
    for (from, to) in &lane.windows {
        let from = scale.x(*from);
        bar("window", from, scale.x(*to).max(from + 1), top + 2, LANE - 4);
    }
    for life in &lane.bars {
        let (class, y, height) = match life.kind {
            BarKind::Current => ("current", top + 6, 10),
            BarKind::Planned => ("planned", top + 6, 10),
            BarKind::Dead => ("dead", top + 6, 10),
            BarKind::Grace => ("grace", top + 17, 4),
        };
        let to = life.to.map_or(WIDTH - 10, |to| scale.x(to));
        bar(class, scale.x(life.from), to, y, height);
    }
    for mark in &lane.marks {
        // A time beyond the border is not on the picture.
        if mark.at < scale.from || mark.at - scale.from > scale.length {
            continue;
        }
        let class = match mark.kind {
            MarkKind::Renew => "renew",
            MarkKind::Overridden => "overridden",
        };
        let (x, y) = (scale.x(mark.at), top + 11);
        let _ = write!(out, "<path class=\"{class}\" d=\"M{x} {} l5 7 l-5 7 l-5 -7z\"/>", y - 7);
    }
    out.push_str("</g>");
}

fn legend(out: &mut String, y: usize, left_out: usize) {
    let mut x = LABELS;
    for (class, word, width) in [
        ("current", "in use", 80),
        ("planned", "to come", 85),
        ("grace", "old, in its grace", 140),
        ("dead", "does not work", 120),
        ("window", "window", 85),
        ("renew", "rotation", 85),
        ("overridden", "outside of its window", 150),
    ] {
        let _ = match class {
            "renew" | "overridden" => {
                write!(out, "<path class=\"{class}\" d=\"M{} {} l5 7 l-5 7 l-5 -7z\"/>", x + 5, y - 11)
            }
            _ => write!(out, "<rect class=\"{class}\" x=\"{x}\" y=\"{}\" width=\"12\" height=\"8\" rx=\"2\"/>", y - 8),
        };
        let _ = write!(out, "<text class=\"dim\" x=\"{}\" y=\"{y}\">{word}</text>", x + 17);
        x += width;
    }
    if left_out > 0 {
        let more = words::count(left_out, "token");
        let _ = write!(out, "<text class=\"dim\" x=\"8\" y=\"{y}\">and {more} more</text>");
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Bar, Mark};
    use super::*;

    fn at(seconds: i64) -> Time {
        Time::UNIX_EPOCH + Span::seconds(seconds)
    }

    #[test]
    fn a_picture_shows_what_is_in_its_time_and_escapes_names() {
        let lane = Lane {
            name: "<b>".to_owned(),
            title: "\"&'".to_owned(),
            bars: vec![
                Bar { kind: BarKind::Current, from: at(-100), to: Some(at(50)) },
                Bar { kind: BarKind::Planned, from: at(200), to: None },
            ],
            marks: vec![Mark { kind: MarkKind::Renew, at: at(50) }, Mark { kind: MarkKind::Renew, at: at(1000) }],
            windows: vec![(at(10), at(20))],
        };
        let timeline = Timeline { from: at(0), to: at(100), now: at(25), lanes: vec![lane], left_out: 3 };
        let text = standalone(&timeline);
        assert!(text.contains("&lt;b&gt;") && text.contains("&quot;&amp;&#39;") && !text.contains("<b>"), "{text}");
        assert!(text.contains("class=\"current\" x=\"190\" y=\"50\" width=\"400\""), "cut at the border: {text}");
        assert_eq!(text.matches("class=\"renew\"").count(), 2, "one rotation, one in the legend: {text}");
        assert_eq!(text.matches("class=\"planned\"").count(), 1, "only in the legend: {text}");
        assert!(text.contains("and 3 tokens more") && text.contains("class=\"window\" x=\"270\""), "{text}");
    }

    #[test]
    fn ticks_are_round_and_few() {
        for (seconds, expected) in [(30, 5), (3600, 600), (86_400 * 90, 1_209_600), (86_400 * 365_000, 3_153_600_000)] {
            assert_eq!(step(Span::seconds(seconds)).num_seconds(), expected, "{seconds} s");
        }
    }
}
