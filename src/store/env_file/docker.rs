//! `docker --env-file`, after docker/cli's `pkg/kvfile`: everything behind `=` is the value, as it stands.

use zeroize::Zeroizing;

use super::encoding::DOCKER_LINE;
use super::{Entry, Problem};

pub(super) fn parse(document: &[u8]) -> Result<Vec<Entry>, Problem> {
    let mut entries = Vec::new();
    let mut start = 0;
    for (number, whole) in (1..).zip(document.split_inclusive(|byte| *byte == b'\n')) {
        let line = whole.strip_suffix(b"\n").unwrap_or(whole);
        if line.len() >= DOCKER_LINE {
            return Err(Problem::new(number, "docker reads lines of less than 64 KiB only"));
        }
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let mut text = str::from_utf8(line).map_err(|_| Problem::new(number, "docker wants UTF-8"))?;
        if number == 1 {
            text = text.strip_prefix('\u{feff}').unwrap_or(text);
        }
        let text = text.trim_start();
        let end = start + line.len();
        if !text.is_empty() && !text.starts_with('#') {
            let (key, value) = text.split_once('=').map_or((text, None), |(key, value)| (key, Some(value)));
            if key.is_empty() {
                return Err(Problem::new(number, "docker wants a name before \"=\""));
            }
            if key.contains(char::is_whitespace) {
                return Err(Problem::new(number, "docker refuses a file with blanks in a name"));
            }
            let value = value.unwrap_or_default();
            entries.push(Entry {
                key: key.as_bytes().to_vec(),
                line: number,
                span: end - value.len()..end,
                equals: text.contains('='),
                comment: None,
                value: Some(Zeroizing::new(value.as_bytes().to_vec())),
            });
        }
        start += whole.len();
    }
    Ok(entries)
}
