//! Output compared with what is on file, after everything that differs from run to run was replaced.

use std::path::Path;

use super::world::World;

/// Runs the program, and compares exit status and output with `tests/data/cli/NAME.txt`.
pub fn expect(name: &str, world: &World, args: &[&str], exit: i32) {
    let output = world.run(args);
    // What help prints is the same everywhere.
    let text = |bytes: &[u8]| match std::str::from_utf8(bytes).unwrap() {
        text if args.contains(&"--help") => text.to_owned(),
        text => redact(text, world.path()),
    };
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(exit), "{args:?}\n{out}{err}");
    let actual = format!("$ patrold {}\n{out}--- standard error\n{err}--- exit {exit}\n", args.join(" "));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/cli").join(format!("{name}.txt"));
    if std::env::var_os("PATROLD_REGENERATE").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &actual).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(actual, expected, "{name}: see the module's documentation for how to regenerate {}", path.display());
}

/// `text` with times, spans and the path of `directory` replaced, and with columns no wider than two blanks: their
/// width depends on what was replaced.
pub(super) fn redact(text: &str, directory: &Path) -> String {
    let text = text.replace(directory.to_str().unwrap(), "DIR");
    text.lines().map(|line| redact_line(line) + "\n").collect()
}

fn redact_line(line: &str) -> String {
    let indent = line.len() - line.trim_start().len();
    let mut out = line[..indent].to_owned();
    let mut rest = &line[indent..];
    while let Some(first) = rest.chars().next() {
        let boundary = !out.ends_with(|c: char| c.is_alphanumeric() || c == '-');
        let known = moment(rest).or_else(|| span(rest)).or_else(|| zone(rest)).or_else(|| drawn(rest));
        let (length, replacement) = match known {
            Some((length, replacement)) if boundary => (length, replacement.to_owned()),
            _ if rest.starts_with("  ") => (rest.len() - rest.trim_start().len(), "  ".to_owned()),
            _ => (first.len_utf8(), first.to_string()),
        };
        out.push_str(&replacement);
        rest = &rest[length..];
    }
    out
}

/// The length of `pattern` at the beginning of `text`, where `0` stands for any digit.
fn matches(text: &str, pattern: &str) -> Option<usize> {
    let fits = |(c, p): (char, char)| if p == '0' { c.is_ascii_digit() } else { c == p };
    let long_enough = text.len() >= pattern.len();
    (long_enough && text.chars().zip(pattern.chars()).all(fits)).then_some(pattern.len())
}

/// A date with its time, with the weekday before it.
fn moment(text: &str) -> Option<(usize, &'static str)> {
    let weekday = ["Mon ", "Tue ", "Wed ", "Thu ", "Fri ", "Sat ", "Sun "].into_iter().any(|day| text.starts_with(day));
    let start = if weekday { 4 } else { 0 };
    let day = &text[start..];
    let length = matches(day, "0000-00-00T00:00:00").or_else(|| matches(day, "0000-00-00 00:00:00"))?;
    let fraction = day[length..].find(|c: char| c != '.' && !c.is_ascii_digit()).unwrap_or(day.len() - length);
    let zulu = usize::from(day[length + fraction..].starts_with('Z'));
    Some((start + length + fraction + zulu, "TIME"))
}

/// `12d`, `12d 3h`.
fn span(text: &str) -> Option<(usize, &'static str)> {
    let one = |text: &str| {
        let digits = text.find(|c: char| !c.is_ascii_digit()).filter(|digits| *digits > 0)?;
        let unit = text[digits..].starts_with(['y', 'd', 'h', 'm', 's']);
        let ends = !text[digits + usize::from(unit)..].starts_with(|c: char| c.is_alphanumeric());
        (unit && ends).then_some(digits + 1)
    };
    let first = one(text)?;
    let second = text[first..].strip_prefix(' ').and_then(one).map_or(0, |length| length + 1);
    Some((first + second, "SPAN"))
}

/// A zone whose name depends on the season, and a number of seconds in JSON.
fn zone(text: &str) -> Option<(usize, &'static str)> {
    const SECONDS: &str = "\"expires-in-seconds\": ";
    if let Some(number) = text.strip_prefix(SECONDS) {
        let digits = number.find(|c: char| !c.is_ascii_digit()).unwrap_or(number.len());
        return Some((SECONDS.len() + digits, "\"expires-in-seconds\": NUMBER"));
    }
    ["CEST", "CET"].into_iter().find(|zone| text.starts_with(zone)).map(|zone| (zone.len(), "ZONE"))
}

/// A marker, and a port that the kernel chose.
fn drawn(text: &str) -> Option<(usize, &'static str)> {
    if let Some(rest) = text.strip_prefix("patrold-") {
        let length = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '-').unwrap_or(rest.len());
        let instance = rest.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(rest.len());
        // What a test wrote itself is the same in every run.
        let fixed = rest[..length].ends_with("-070707070707");
        return (instance == 8 && !fixed).then_some((text.len() - rest.len() + length, "MARKER"));
    }
    let port = text.strip_prefix("127.0.0.1:")?;
    let digits = port.find(|c: char| !c.is_ascii_digit()).unwrap_or(port.len());
    (digits > 1).then_some((text.len() - port.len() + digits, "127.0.0.1:PORT"))
}

#[test]
fn what_differs_from_run_to_run_is_replaced() {
    for (line, expected) in [
        ("  Mon 2026-01-05 02:00:00 CET, in 1d 3h", "  TIME ZONE, in SPAN"),
        ("\"at\": \"2026-01-05T02:00:00.123Z\",", "\"at\": \"TIME\","),
        ("gps-1d    rotate  5m ago   2026-01-05 02:00:00Z  -", "gps-1d  rotate  SPAN ago  TIME  -"),
        ("\"expires-in-seconds\": 12,", "\"expires-in-seconds\": NUMBER,"),
        ("minted patrold-1a2b3c4d-ci-g1-0102, patrold-demo", "minted MARKER, patrold-demo"),
        ("awx at http://127.0.0.1:4711/api, 127.0.0.1:1", "awx at http://127.0.0.1:PORT/api, 127.0.0.1:1"),
        ("0 0 2 * * * for 2h (Europe/Berlin), 3 tokens", "0 0 2 * * * for SPAN (Europe/Berlin), 3 tokens"),
    ] {
        assert_eq!(redact_line(line), expected);
    }
}
