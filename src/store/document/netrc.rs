//! netrc, as curl, wget, git and Python read it: `machine HOST login USER password SECRET`.
//!
//! The readers differ about quotes and escapes. What none of them changes is written; the rest is refused.

use std::ops::Range;

use super::{Edit, Problem, Read, line_of};

/// Whether every reader takes the value as it is; in words that complete "STORE: …".
pub(super) fn check_value(value: &str) -> Result<(), String> {
    if value.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err("the value has a blank or a control character, which ends it for readers of netrc".to_owned());
    }
    if value.contains(['"', '\\']) || value.starts_with('#') {
        return Err(
            "the value has `\"`, `\\` or a `#` at its beginning, which readers of netrc understand differently"
                .to_owned(),
        );
    }
    Ok(())
}

pub(super) fn get(text: &str, machine: &str, login: &str) -> Result<Read, Problem> {
    let Some(entry) = find(text, machine, login)? else { return Ok(Read::Missing) };
    Ok(match entry.password {
        None => Read::Missing,
        Some(span) if text[span.clone()].contains(['"', '\\']) => Read::Disputed,
        Some(span) => super::found(&text[span]),
    })
}

pub(super) fn edit(text: &str, machine: &str, login: &str, value: &str) -> Result<Edit, Problem> {
    if let Some(entry) = find(text, machine, login)? {
        return Ok(match entry.password {
            Some(span) => Edit::new(span, value),
            None => Edit::new(entry.login_end..entry.login_end, format!(" password {value}")),
        });
    }
    // Before `default`, which ends the search of readers; else at the end.
    let line = format!("machine {machine} login {login} password {value}\n");
    if let Some(at) = words(text).into_iter().find(|span| &text[span.clone()] == "default").map(|span| span.start) {
        return Ok(Edit::new(at..at, line));
    }
    let at = text.len();
    let before = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    Ok(Edit::new(at..at, format!("{before}{line}")))
}

/// The entry of a machine and a user.
struct Entry {
    at: usize,
    login_end: usize,
    password: Option<Range<usize>>,
}

fn find(text: &str, machine: &str, login: &str) -> Result<Option<Entry>, Problem> {
    let words = words(text);
    let word = |number: usize| words.get(number).map(|span: &Range<usize>| &text[span.clone()]);
    let mut found: Option<Entry> = None;
    let mut at = 0;
    while at < words.len() {
        if word(at) != Some("machine") || word(at + 1) != Some(machine) {
            at += if word(at) == Some("machine") { 2 } else { 1 };
            continue;
        }
        let begun = words[at].start;
        at += 2;
        let (mut user, mut password) = (None, None);
        while let Some(keyword) = word(at).filter(|word| !["machine", "default"].contains(word)) {
            match keyword {
                "login" => user = words.get(at + 1).cloned(),
                "password" => password = words.get(at + 1).cloned(),
                "account" => {}
                other => {
                    let line = line_of(text.as_bytes(), words[at].start);
                    return Err(Problem::new(line, format!("\"{other}\" is no keyword of netrc")));
                }
            }
            at += 2;
        }
        let Some(user) = user.filter(|user| &text[user.clone()] == login) else { continue };
        if let Some(first) = &found {
            let other = line_of(text.as_bytes(), first.at);
            let why = format!("{login} of machine {machine} stands on line {other} already: remove one");
            return Err(Problem::new(line_of(text.as_bytes(), begun), why));
        }
        found = Some(Entry { at: begun, login_end: user.end, password });
    }
    Ok(found)
}

/// The words of a file, without comments and the bodies of macros.
fn words(text: &str) -> Vec<Range<usize>> {
    let mut words = Vec::new();
    let mut at = 0;
    let mut in_macro = false;
    for line in text.split_inclusive('\n') {
        let start = at;
        at += line.len();
        if in_macro {
            // An empty line ends it.
            in_macro = !line.trim().is_empty();
            continue;
        }
        let mut offset = 0;
        for word in line.split(char::is_whitespace) {
            let span = start + offset..start + offset + word.len();
            offset += word.len() + 1;
            if word.starts_with('#') && words.last().is_none_or(|last: &Range<usize>| &text[last.clone()] != "password")
            {
                break;
            }
            if word == "macdef" {
                in_macro = true;
                break;
            }
            if !word.is_empty() {
                words.push(span);
            }
        }
    }
    words
}
