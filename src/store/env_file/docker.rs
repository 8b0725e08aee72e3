//! `docker --env-file`, after docker/cli's `pkg/kvfile`: everything behind `=` is the value, as it stands.

use zeroize::Zeroizing;

use super::encoding::DOCKER_LINE;
use super::{Entry, Problem, Search};

pub(super) fn scan(document: &[u8], search: &mut Search<'_>) -> Result<(), Problem> {
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
            if search.wants(key.as_bytes()) {
                let equals = value.is_some();
                let value = value.unwrap_or_default();
                search.found.push(Entry {
                    at: start,
                    span: end - value.len()..end,
                    equals,
                    comment: None,
                    value: Some(Zeroizing::new(value.as_bytes().to_vec())),
                });
            }
        }
        start += whole.len();
    }
    Ok(())
}
