//! Times and spans in words.

use std::fmt::Write as _;

use crate::clock::{Span, Time};

/// Units with their seconds, largest first.
const UNITS: [(&str, i64); 5] = [("y", 365 * 86_400), ("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)];

/// From here on nobody counts days.
const CENTURY: i64 = 100 * UNITS[0].1;

/// The length of `span` in its two largest units: `12d 3h`, `45s`; less than a second is `0s`, and from a century on years
/// are enough: `999 years`. No sign.
pub fn span(span: Span) -> String {
    let mut seconds = span.num_seconds().abs();
    if seconds >= CENTURY {
        return format!("{} years", seconds / UNITS[0].1);
    }
    let mut words = String::new();
    let first = UNITS.iter().position(|(_, length)| seconds >= *length).unwrap_or(UNITS.len() - 1);
    for (unit, length) in UNITS.iter().skip(first).take(2) {
        let count = seconds / length;
        seconds %= length;
        if count > 0 || words.is_empty() {
            let blank = if words.is_empty() { "" } else { " " };
            // Writing to a String cannot fail.
            let _ = write!(words, "{blank}{count}{unit}");
        }
    }
    words
}

/// `at` as seen from `now`: `in 12d 3h`, `now`, `5m 2s ago`.
pub fn relative(at: Time, now: Time) -> String {
    let distance = at - now;
    match distance.num_seconds() {
        0 => "now".to_owned(),
        1.. => format!("in {}", span(distance)),
        _ => format!("{} ago", span(distance)),
    }
}

/// `at` in UTC to the second, in a form that sorts: `2026-01-20 02:00:00Z`.
pub fn moment(at: Time) -> String {
    at.format("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// `1 token`, `2 tokens`.
pub fn count(number: usize, one: &str) -> String {
    match number {
        1 => format!("1 {one}"),
        _ => format!("{number} {one}s"),
    }
}

/// `names`, the first few of many: `a, b, c and 97 more`.
pub fn some<N: std::fmt::Display>(names: &[N], most: usize) -> String {
    let shown: Vec<_> = names.iter().take(most).map(ToString::to_string).collect();
    match names.len().saturating_sub(most) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// `text` in lines of whole words that fit beside `indent` blanks into `width` columns; one line where nothing is said of a
/// width.
pub fn wrapped(text: &str, width: Option<usize>, indent: usize) -> Vec<String> {
    // Narrower prose is harder to read than lines that the terminal breaks.
    const NARROWEST: usize = 20;
    let Some(width) = width else { return vec![text.to_owned()] };
    let room = width.saturating_sub(indent).max(NARROWEST);
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let fits = |line: &String| line.is_empty() || line.chars().count() + 1 + word.chars().count() <= room;
        if !lines.last().is_some_and(fits) {
            lines.push(String::new());
        }
        let Some(line) = lines.last_mut() else { continue };
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines
}

/// A sentence after `first` columns of something else, continued below behind two blanks where it is too long. What has
/// lines of its own stays as it is.
pub fn continued(text: &str, width: Option<usize>, first: usize) -> String {
    let Some(width) = width.filter(|width| first + text.chars().count() > *width && !text.contains('\n')) else {
        return text.to_owned();
    };
    let (mut out, mut column) = (String::with_capacity(text.len() + 8), first);
    for word in text.split_whitespace() {
        let long = word.chars().count();
        if out.is_empty() {
            column += long;
        } else if column + 1 + long > width {
            out.push_str("\n  ");
            column = 2 + long;
        } else {
            out.push(' ');
            column += 1 + long;
        }
        out.push_str(word);
    }
    out
}

/// `text` with every line that is too long continued below where its words begin: beside its name, where it has one.
pub fn folded(text: &str, width: Option<usize>) -> String {
    let Some(columns) = width else { return text.to_owned() };
    let mut out = String::with_capacity(text.len());
    for line in text.lines() {
        let lead = line.len() - line.trim_start().len();
        let value = line[lead..].find("  ").map(|gap| line.len() - line[lead + gap..].trim_start().len());
        let (head, indent) = match value.filter(|value| *value <= columns / 2) {
            Some(value) => (value, value),
            None => (lead, lead + 2),
        };
        let lines = if line.chars().count() > columns {
            wrapped(&line[head..], width, indent)
        } else {
            vec![line[head..].to_owned()]
        };
        for (number, words) in lines.iter().enumerate() {
            out.push_str(if number == 0 { &line[..head] } else { "" });
            out.extend(std::iter::repeat_n(' ', if number == 0 { 0 } else { indent }));
            out.push_str(words);
            out.push('\n');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_go_on_below_where_they_are_too_long() {
        for (sentence, text, width, first, expected) in [
            ("no terminal", "one two three", None, 9, "one two three"),
            ("it fits", "one two three", Some(22), 9, "one two three"),
            ("it does not", "one two three", Some(21), 9, "one two\n  three"),
            ("more than twice", "one two three four", Some(9), 0, "one two\n  three\n  four"),
            ("a word that is too long", "one /a/path/of/its/own two", Some(8), 0, "one\n  /a/path/of/its/own\n  two"),
            ("lines of its own", "one two\nthree four five", Some(8), 0, "one two\nthree four five"),
        ] {
            assert_eq!(continued(text, width, first), expected, "{sentence}");
        }
    }

    #[test]
    fn lines_end_with_whole_words() {
        for (sentence, width, indent, expected) in [
            ("nothing is said of a width", None, 4, &["a long sentence about one thing"][..]),
            ("it fits", Some(40), 4, &["a long sentence about one thing"]),
            ("it does not", Some(28), 4, &["a long sentence about", "one thing"]),
            ("no line is narrower", Some(5), 4, &["a long sentence", "about one thing"]),
        ] {
            assert_eq!(wrapped("a long sentence about one thing", width, indent), expected, "{sentence}");
        }
        assert_eq!(wrapped("a-word-that-is-longer-than-any-line is kept", Some(24), 0).len(), 2);
    }

    #[test]
    fn long_lines_go_on_below_their_words() {
        let text = "Notes\n  credential    a token of the user that mints\n  a note that is short\n";
        assert_eq!(folded(text, None), text);
        let expected =
            "Notes\n  credential    a token of the user that\n                mints\n  a note that is short\n";
        assert_eq!(folded(text, Some(40)), expected);
        assert_eq!(folded("  a note that is rather long", Some(24)), "  a note that is\n    rather long\n");
    }

    #[test]
    fn spans_have_at_most_two_units() {
        for (seconds, expected) in [
            (0, "0s"),
            (1, "1s"),
            (60, "1m"),
            (61, "1m 1s"),
            (3600 + 59, "1h"),
            (86_400 * 12 + 3 * 3600 + 59 * 60, "12d 3h"),
            (86_400 * 366, "1y 1d"),
            (86_400 * 365 * 99 + 86_400, "99y 1d"),
            (86_400 * 365_999, "1002 years"),
            (365_000 * 86_400, "1000 years"),
            (-90, "1m 30s"),
        ] {
            assert_eq!(span(Span::seconds(seconds)), expected, "{seconds} s");
        }
    }

    #[test]
    fn times_are_seen_from_now() {
        let now: Time = "2026-01-20T02:00:00Z".parse().unwrap();
        for (milliseconds, expected) in
            [(0, "now"), (999, "now"), (-999, "now"), (1000, "in 1s"), (-86_400_000, "1d ago")]
        {
            assert_eq!(relative(now + Span::milliseconds(milliseconds), now), expected, "{milliseconds} ms");
        }
        assert_eq!(moment(now), "2026-01-20 02:00:00Z");
    }

    #[test]
    fn many_names_are_cut() {
        assert_eq!(some(&["a", "b"], 3), "a, b");
        assert_eq!(some(&["a", "b", "c", "d", "e"], 3), "a, b, c and 2 more");
    }
}
