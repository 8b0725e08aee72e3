//! The small languages inside the inventory's strings: durations, shares, sizes, permission bits.
//!
//! Errors complete the sentence "`grace` of token \"gps\": …".

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use url::{Host, Url};

use crate::clock::Span;

use super::RenewBefore;

/// The longest duration that is understood: a thousand years. Sums of a few of them with a time stay far from overflow.
const LONGEST: Span = Span::days(365_000);

/// Reads `14d`, `90m`, `1h 30m`.
pub fn duration(text: &str) -> Result<Span, String> {
    let parsed = humantime::parse_duration(text).ok().and_then(|std| Span::from_std(std).ok());
    let span =
        parsed.ok_or_else(|| format!("\"{text}\" is not a duration; write for example \"30s\", \"90m\", \"14d\""))?;
    if span > LONGEST { Err(format!("\"{text}\" is longer than a thousand years")) } else { Ok(span) }
}

/// Reads a duration that is longer than nothing.
pub fn positive(text: &str) -> Result<Span, String> {
    let span = duration(text)?;
    if span > Span::zero() { Ok(span) } else { Err("it must be longer than nothing".to_owned()) }
}

/// Reads a duration that is longer than nothing, for timers that do not deal with wall time.
pub fn timer(text: &str) -> Result<Duration, String> {
    positive(text)?.to_std().map_err(|error| error.to_string())
}

/// Reads a duration, or a share of the lifetime such as `33%`.
pub fn renew_before(text: &str) -> Result<RenewBefore, String> {
    let Some(number) = text.trim().strip_suffix('%') else {
        return positive(text).map(RenewBefore::Span);
    };
    match number.trim().parse::<f64>() {
        Ok(percent) if percent > 0.0 && percent < 100.0 => Ok(RenewBefore::Share(percent / 100.0)),
        Ok(_) => Err("a share of the lifetime lies between 0% and 100%, both excluded".to_owned()),
        Err(_) => Err(format!("\"{text}\" is no share; write for example \"33%\"")),
    }
}

/// Reads a number of bytes: `8388608`, `512KiB`, `8MiB`, `1GiB`, `10MB`.
pub fn size(text: &str) -> Result<usize, String> {
    const UNITS: [(&str, usize); 7] =
        [("", 1), ("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("kB", 1000), ("MB", 1_000_000)];
    let text = text.trim();
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let factor = UNITS.iter().find(|(name, _)| *name == unit.trim()).map(|(_, factor)| *factor);
    let bytes = number.parse::<usize>().ok().zip(factor).and_then(|(number, factor)| number.checked_mul(factor));
    bytes.ok_or_else(|| format!("\"{text}\" is no size; write for example \"512KiB\", \"8MiB\""))
}

/// Reads permission bits in octal: `0640`.
pub fn mode(text: &str) -> Result<u32, String> {
    let bits = match u32::from_str_radix(text.strip_prefix("0o").unwrap_or(text), 8) {
        Ok(bits) if bits <= 0o777 && !text.starts_with('+') => bits,
        _ => return Err(format!("\"{text}\" is no mode; write three octal digits after a zero, for example \"0640\"")),
    };
    if bits & 0o007 != 0 {
        let remedy = bits & 0o770;
        return Err(format!(
            "{bits:04o} would let every user of the machine at a secret; use \"{remedy:04o}\" and a group"
        ));
    }
    if bits & 0o400 == 0 {
        return Err(format!("{bits:04o} does not let the owner read the secret; use \"{:04o}\"", bits | 0o400));
    }
    Ok(bits)
}

/// Checks a level, or a list of directives `target=level`. A misspelt level would be taken for the name of a module, and
/// nothing would be logged at all.
pub fn log_level(text: &str) -> Result<String, String> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    // Directives that filter by span have commas of their own.
    let directives = if text.contains('[') { "" } else { text };
    for directive in directives.split_terminator(',') {
        let level = directive.rsplit('=').next().unwrap_or_default().trim();
        if !LEVELS.contains(&level.to_lowercase().as_str()) {
            return Err(format!("\"{level}\" is no level; valid: {}", LEVELS.join(", ")));
        }
    }
    if text.trim().is_empty() { Err("it is empty; write for example \"info\"".to_owned()) } else { Ok(text.to_owned()) }
}

/// Reads an address to listen on: `127.0.0.1:9847`, `[::1]:9847`, `localhost:9847`. Names are not looked up: what they
/// stand for may change, and with it who can connect.
pub fn listen_address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    if let Some(port) = text.strip_prefix("localhost:").and_then(|port| port.parse().ok()) {
        return Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    }
    Err(format!("\"{text}\" is not an address with a port; write for example \"127.0.0.1:9847\" or \"[::1]:9847\""))
}

/// Reads the name of a unit of systemd: `ci-runner.service`.
pub fn unit(text: &str) -> Result<String, String> {
    // https://www.freedesktop.org/software/systemd/man/latest/systemd.unit.html#Description
    let fits = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
    if text.is_empty() || text.starts_with('-') || text.len() > 255 || !text.chars().all(fits) {
        return Err(format!("\"{text}\" is not the name of a unit; write for example \"ci-runner.service\""));
    }
    Ok(text.to_owned())
}

/// Reads the name of an object of Kubernetes.
pub fn kubernetes_name(text: &str) -> Result<String, String> {
    // https://kubernetes.io/docs/concepts/overview/working-with-objects/names/: a DNS subdomain name.
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    if text.len() > 253 || !text.chars().all(fits) || !ends(text.chars().next()) || !ends(text.chars().last()) {
        return Err(format!("\"{text}\" is not the name of an object of Kubernetes: a-z, 0-9, `-` and `.`"));
    }
    Ok(text.to_owned())
}

/// Whether mail can be sent to `text`, or from it: one address without a name, in which nothing could begin another header.
/// Without `@` it is a user of this machine.
pub fn is_mail_address(text: &str) -> bool {
    let (local, domain) = text.split_once('@').unwrap_or((text, "localhost"));
    let fits = |part: &str, more: &str| {
        !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c))
    };
    text.len() <= 254 && !text.starts_with('-') && fits(local, ".!#$%&'*+/=?^_`{|}~-") && fits(domain, ".-")
}

/// Whether `name` can be the name of an environment variable.
pub fn is_variable(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Whether `name` can be a file that a directory shows by a link of its own: not one that Kubernetes or patrold keep for
/// themselves there.
pub fn file_name(name: &str) -> Result<(), &'static str> {
    if name.is_empty() || name.len() > 255 || name.contains(['/', '\0']) || name.chars().any(char::is_control) {
        return Err("a name has 1 to 255 bytes, without a slash and without control characters");
    }
    if name == "." || name.starts_with("..") || name.starts_with(".patrold-") {
        return Err("names that begin with \"..\" or \".patrold-\" are of patrold's own making");
    }
    Ok(())
}

/// A span as people write it: `2d 22h`.
pub fn show(span: Span) -> String {
    let mut rest = span.num_seconds();
    let mut parts = Vec::new();
    for (unit, seconds) in [("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)] {
        if rest >= seconds {
            parts.push(format!("{}{unit}", rest / seconds));
            rest %= seconds;
        }
    }
    // Two units tell enough: nobody plans by the seconds of a month.
    parts.truncate(2);
    if parts.is_empty() { "0s".to_owned() } else { parts.join(" ") }
}

/// Whether a URL leads to this machine itself.
///
/// Law: loopback is the address of the peer, never what a name server says. By the standard (RFC 6761) the names of
/// localhost lead here; they are resolved without asking one.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => is_name_of_loopback(name),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Whether a name means this machine by the standard.
pub fn is_name_of_loopback(name: &str) -> bool {
    name == "localhost" || name.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks what one text of a table is read as, errors as text.
    fn check<T: PartialEq + std::fmt::Debug>(parse: fn(&str) -> Result<T, String>, table: &[(&str, Result<T, &str>)]) {
        for (text, expected) in table {
            match (parse(text), expected) {
                (Ok(value), Ok(wanted)) => assert_eq!(value, *wanted, "{text:?}"),
                (Err(error), Err(wanted)) => assert!(error.contains(wanted), "{text:?}: {error:?} lacks {wanted:?}"),
                (outcome, wanted) => panic!("{text:?} is read as {outcome:?}, not {wanted:?}"),
            }
        }
    }

    #[test]
    fn durations() {
        check(
            positive,
            &[
                ("14d", Ok(Span::days(14))),
                ("1h 30m", Ok(Span::minutes(90))),
                ("0s", Err("longer than nothing")),
                ("-5m", Err("not a duration")),
                ("5", Err("not a duration")),
                ("", Err("not a duration")),
                ("2000y", Err("thousand years")),
                ("99999999999999999y", Err("not a duration")),
            ],
        );
    }

    #[test]
    fn shares() {
        check(
            renew_before,
            &[
                ("33%", Ok(RenewBefore::Share(0.33))),
                ("10d", Ok(RenewBefore::Span(Span::days(10)))),
                ("0%", Err("between")),
                ("100%", Err("between")),
                ("NaN%", Err("between")),
                ("x%", Err("no share")),
            ],
        );
    }

    #[test]
    fn sizes() {
        check(
            size,
            &[
                ("8MiB", Ok(8 << 20)),
                ("512 KiB", Ok(512 << 10)),
                ("17", Ok(17)),
                ("8 miles", Err("no size")),
                ("MiB", Err("no size")),
                ("99999999999999GiB", Err("no size")),
            ],
        );
    }

    #[test]
    fn modes() {
        check(
            mode,
            &[
                ("0640", Ok(0o640)),
                ("600", Ok(0o600)),
                ("0o440", Ok(0o440)),
                ("0644", Err("use \"0640\"")),
                ("0240", Err("use \"0640\"")),
                ("4755", Err("no mode")),
                ("+640", Err("no mode")),
                ("rw-r", Err("no mode")),
            ],
        );
    }

    #[test]
    fn log_levels() {
        check(
            log_level,
            &[
                ("info", Ok("info".to_owned())),
                ("warn,patrold::account=debug", Ok("warn,patrold::account=debug".to_owned())),
                ("[rotation{token=a,b}]=trace", Ok("[rotation{token=a,b}]=trace".to_owned())),
                ("verbose", Err("valid: off, error")),
                ("info,patrold=verbose", Err("\"verbose\" is no level")),
                (" ", Err("no level")),
                ("", Err("empty")),
            ],
        );
    }

    #[test]
    fn spans_are_shown_in_two_units() {
        for (span, text) in [
            (Span::hours(70), "2d 22h"),
            (Span::seconds(90), "1m 30s"),
            (Span::zero(), "0s"),
            (Span::days(3) + Span::seconds(1), "3d 1s"),
        ] {
            assert_eq!(show(span), text);
        }
    }
}
