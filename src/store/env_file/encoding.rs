//! How a value is written, by dialect. The choices follow measurements of the real readers; raw is preferred, because
//! quoting is what they disagree about.

use zeroize::Zeroizing;

use super::reader;
use crate::inventory::Dialect;

/// `docker` scans lines of less than this many bytes (Go's `bufio.MaxScanTokenSize`).
pub(super) const DOCKER_LINE: usize = 64 * 1024;

/// The value as it stands behind `KEY=`; the error names the reader that cannot hold the value, and why.
pub fn encode(value: &str, dialect: Dialect) -> Result<Zeroizing<String>, String> {
    let refuse = |why: &str| Err(format!("{} {why}", reader(dialect)));
    let control = |allowed: &[char]| value.chars().any(|c| c.is_control() && !allowed.contains(&c));
    if value.contains('\0') {
        return refuse("cannot hold a NUL character");
    }
    match dialect {
        Dialect::Docker => match value {
            _ if value.contains(['\n', '\r']) => refuse("cannot hold a value of several lines"),
            _ if value.len() >= DOCKER_LINE => refuse("cannot hold a value of 64 KiB or more"),
            _ => Ok(raw(value)),
        },
        // systemd drops variables with other control characters (`env_value_is_valid`).
        Dialect::Systemd if control(&['\t', '\n']) => refuse("drops values with control characters"),
        Dialect::Systemd | Dialect::Dotenv if universal(value) => Ok(raw(value)),
        Dialect::Systemd => Ok(quoted('"', value, |c| matches!(c, '\\' | '"' | '$' | '`').then_some("\\"))),
        Dialect::Dotenv => {
            let unread = [
                (value.contains('\''), "cannot hold a value with a single quote"),
                (value.ends_with('\\'), "takes a \\ at the end of a value for an escaped quote"),
                (value.contains("\\\\"), "(python-dotenv) reads \\\\ as a single \\"),
                (value.contains("${"), "(python-dotenv) expands ${ even in single quotes"),
                (value.contains("---\n"), "(godotenv) removes --- from the end of a line"),
                (control(&['\t', '\n']), "may change control characters"),
                (value.contains(['\u{2028}', '\u{2029}']), "(Node) takes U+2028 and U+2029 for line ends"),
            ];
            match unread.iter().find(|(found, _)| *found) {
                Some((_, why)) => refuse(why),
                None => Ok(quoted('\'', value, |_| None)),
            }
        }
        // A smaller alphabet than the others': `export K=v` is a command to some shells, whose words are expanded.
        Dialect::PosixSh if value.chars().all(|c| c.is_ascii_alphanumeric() || "_./+=:@,%-".contains(c)) => {
            Ok(raw(value))
        }
        Dialect::PosixSh => Ok(quoted('\'', value, |c| (c == '\'').then_some("'\\'"))),
    }
}

/// Whether all readers agree on the value without quotes.
fn universal(value: &str) -> bool {
    let mut before = None;
    value.chars().all(|c| {
        let fine = match c {
            '~' => !matches!(before, None | Some(':')),
            _ if c.is_ascii() => c.is_ascii_alphanumeric() || "_./+=:@,%^!*?{}[]-".contains(c),
            _ => c.is_alphabetic(),
        };
        before = Some(c);
        fine
    })
}

fn raw(value: &str) -> Zeroizing<String> {
    Zeroizing::new(value.to_owned())
}

/// `value` between quotes; `escape` says what goes before a character.
fn quoted(quote: char, value: &str, escape: impl Fn(char) -> Option<&'static str>) -> Zeroizing<String> {
    let length = value.chars().map(|c| c.len_utf8() + escape(c).map_or(0, str::len)).sum::<usize>() + 2;
    // Room for all of it at once: a string that grows leaves copies behind.
    let mut text = Zeroizing::new(String::with_capacity(length));
    text.push(quote);
    for c in value.chars() {
        text.push_str(escape(c).unwrap_or_default());
        text.push(c);
    }
    text.push(quote);
    text
}
