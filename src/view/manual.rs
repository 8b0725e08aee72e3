//! Manual pages of section 5, made of the schemas of inventories and definitions, and of section 8, about the daemon.

use std::io::{self, Write};

use roff::{Inline, Roff, bold, italic, roman};
use serde_json::{Map, Value};

/// Keys within keys are shown so far.
const DEPTH: usize = 3;

/// One page of section 5.
#[derive(Clone, Copy, Debug)]
pub struct FilePage<'a> {
    /// What the page is called.
    pub name: &'a str,
    /// What it is about, in one line.
    pub about: &'a str,
    /// Paragraphs before the keys.
    pub text: &'a [&'a str],
    /// Where the file is.
    pub files: &'a [(&'a str, &'a str)],
    /// Pages to see also, with their sections.
    pub also: &'a [(&'a str, &'a str)],
}

impl FilePage<'_> {
    /// Writes the page, with every key that `schema` has.
    pub fn write(&self, schema: &Value, version: &str, out: &mut impl Write) -> io::Result<()> {
        let mut page = begin(self.name, "5", version, self.about);
        page.control("SH", ["DESCRIPTION"]);
        paragraphs(&mut page, self.text);
        let nothing = Map::new();
        let definitions = schema["$defs"].as_object().unwrap_or(&nothing);
        let manual = Manual { definitions };
        for (name, value) in schema["properties"].as_object().unwrap_or(&nothing) {
            page.control("SH", [name.to_uppercase().as_str()]);
            page.text([roman(text_of(value))]);
            manual.keys(&mut page, value, &mut vec![name.as_str()], 1);
        }
        let shared: Vec<_> = definitions.iter().filter(|(name, _)| !manual.is_expanded(name)).collect();
        if !shared.is_empty() {
            page.control("SH", ["VALUES"]);
        }
        for (name, value) in shared {
            page.control("TP", []);
            page.text([italic(name.as_str())]);
            page.text([roman(told(value))]);
            manual.nested(&mut page, value, &mut vec![name.as_str()], 1);
        }
        end(page, self.files, self.also, out)
    }
}

struct Manual<'a> {
    definitions: &'a Map<String, Value>,
}

impl<'a> Manual<'a> {
    /// Whether a definition stands where it is used: it is a table of the file.
    fn is_expanded(&self, name: &str) -> bool {
        matches!(name, "account" | "token") && self.definitions.contains_key(name)
    }

    /// Every key below `value`. `path`: the definitions that are being shown, so that none is shown within itself.
    fn keys(&self, page: &mut Roff, value: &'a Value, path: &mut Vec<&'a str>, depth: usize) {
        for (name, key) in self.properties(value, path) {
            page.control("TP", []);
            let kind = Self::kind(key);
            let mut label = vec![bold(name)];
            if !kind.is_empty() {
                label.push(roman(" "));
                label.push(italic(kind));
            }
            page.text(label);
            page.text([roman(told(key))]);
            if depth < DEPTH {
                self.nested(page, key, path, depth);
            }
        }
    }

    fn nested(&self, page: &mut Roff, value: &'a Value, path: &mut Vec<&'a str>, depth: usize) {
        if self.properties(value, path).is_empty() {
            return;
        }
        page.control("RS", []);
        self.keys(page, value, path, depth + 1);
        page.control("RE", []);
    }

    /// The keys of a table, of the tables of a list, or of one of several kinds of them.
    fn properties(&self, value: &'a Value, path: &mut Vec<&'a str>) -> Vec<(&'a str, &'a Value)> {
        let mut found: Vec<(&str, &Value)> = Vec::new();
        let own = value["properties"].as_object().into_iter().flatten();
        found.extend(own.map(|(name, key)| (name.as_str(), key)));
        let kinds = ["anyOf", "oneOf", "allOf"].into_iter().filter_map(|key| value[key].as_array()).flatten();
        let inner = [&value["items"], &value["additionalProperties"]].into_iter().filter(|inner| inner.is_object());
        for inner in kinds.chain(inner) {
            found.extend(self.properties(inner, path));
        }
        let name = value["$ref"].as_str().and_then(|name| name.strip_prefix("#/$defs/"));
        if let Some((name, definition)) = name.and_then(|name| self.definitions.get_key_value(name)) {
            let within = path.iter().filter(|shown| **shown == name).count();
            if self.is_expanded(name) && within < 2 && path.len() < DEPTH {
                path.push(name);
                found.extend(self.properties(definition, path));
                path.pop();
            }
        }
        let mut seen = std::collections::HashSet::new();
        found.retain(|(name, _)| seen.insert(*name));
        found
    }

    /// What kind of value a key takes, in few words.
    fn kind(value: &Value) -> String {
        if let Some(name) = value["$ref"].as_str().and_then(|name| name.rsplit('/').next()) {
            return name.to_owned();
        }
        if let Some(words) = value["enum"].as_array() {
            let words: Vec<_> = words.iter().filter_map(Value::as_str).collect();
            return words.join("|");
        }
        match value["type"].as_str() {
            Some("array") => match Self::kind(&value["items"]) {
                kind if kind.is_empty() => "list".to_owned(),
                kind => format!("list of {kind}"),
            },
            Some("object") => "table".to_owned(),
            Some(kind) => kind.to_owned(),
            None => {
                let kinds = ["anyOf", "oneOf"].into_iter().filter_map(|key| value[key].as_array()).flatten();
                let mut kinds: Vec<_> = kinds.map(Self::kind).filter(|kind| !kind.is_empty()).collect();
                kinds.dedup();
                kinds.join(" or ")
            }
        }
    }
}

fn text_of(value: &Value) -> String {
    value["description"].as_str().unwrap_or_default().to_owned()
}

/// The description of a key with its examples.
fn told(value: &Value) -> String {
    let examples = value["examples"].as_array().into_iter().flatten().take(3);
    let examples: Vec<_> = examples.map(ToString::to_string).collect();
    let examples = if examples.is_empty() { String::new() } else { format!(" Example: {}", examples.join(", ")) };
    format!("{}{examples}", text_of(value)).trim_start().to_owned()
}

/// Writes the page about the daemon.
pub fn write_daemon(version: &str, out: &mut impl Write) -> io::Result<()> {
    let mut page = begin("patrold", "8", version, "the daemon that keeps API tokens alive");
    page.control("SH", ["SYNOPSIS"]);
    page.text([bold("patrold"), roman(" [-c "), italic("FILE"), roman("] "), bold("run"), roman(" [--once]")]);
    page.control("SH", ["DESCRIPTION"]);
    paragraphs(
        &mut page,
        &[
            "The daemon reads an inventory of tokens, watches what each provider says of them, mints a replacement before \
             one expires, proves it, writes it to the stores where consumers read it, tells them, and only then revokes \
             the old one. Every step is in its journal before the next one begins: it goes on where a kill or a power \
             loss stopped it.",
            "It runs until SIGTERM or SIGINT. A changed inventory takes effect by itself; an invalid one never replaces \
             a valid one. Logs go to standard error: JSON, or lines for people on a terminal.",
            "With --once it does what is due now and ends, for timers and pipelines.",
        ],
    );
    terms(&mut page, "SIGNALS", SIGNALS);
    terms(&mut page, "ENVIRONMENT", ENVIRONMENT);
    terms(&mut page, "EXIT STATUS", EXIT);
    let also = [("patrold", "1"), ("patrold.toml", "5"), ("patrold-provider", "5"), ("systemd.exec", "5")];
    end(page, FILES, &also, out)
}

const SIGNALS: &[(&str, &str)] = &[
    (
        "SIGTERM, SIGINT",
        "Begin nothing more, bring what is under way to its record, and end. A second one ends at once.",
    ),
    ("SIGHUP", "Read the inventory and every file that a secret or a certificate comes from again."),
];

const ENVIRONMENT: &[(&str, &str)] = &[
    ("PATROLD_CONFIG", "The inventory's main file, where --config does not name it."),
    ("PATROLD_LOG", "The log level, or directives such as debug,hyper=warn."),
    (
        "STATE_DIRECTORY, RUNTIME_DIRECTORY, CREDENTIALS_DIRECTORY",
        "As systemd sets them: journal, control socket, credentials.",
    ),
    ("XDG_STATE_HOME, XDG_RUNTIME_DIR, XDG_CONFIG_HOME", "Where these are without systemd."),
    (
        "HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY",
        "Proxies for accounts that name none of their own; loopback is never reached by one.",
    ),
    ("SSL_CERT_FILE, SSL_CERT_DIR", "Certificate authorities in place of the system's."),
    ("NO_COLOR", "No colours on a terminal."),
];

const EXIT: &[(&str, &str)] = &[
    ("0", "Every step was brought to its record."),
    ("1", "It could not start, or a second signal came; with --once, everything that was due failed."),
    ("2", "The inventory is invalid, or the command line."),
    ("3", "With --once: some of what was due failed."),
];

const FILES: &[(&str, &str)] = &[
    ("/etc/patrold/patrold.toml", "The inventory of the machine."),
    ("/etc/patrold/hook-units", "Units that hooks may reload."),
    ("/var/lib/patrold", "The journal (SQLite), its key if none is given, the lock."),
    ("/run/patrold/control.sock", "The control socket, for the daemon's user and root."),
    ("/usr/share/doc/patrold/docs/runbooks.md", "What to do when something is wrong."),
];

fn begin(name: &str, section: &str, version: &str, about: &str) -> Roff {
    let mut page = Roff::new();
    page.control("TH", [name.to_uppercase().as_str(), section, "", &format!("patrold {version}"), ""]);
    page.control("SH", ["NAME"]);
    page.text([roman(format!("{name} - {about}"))]);
    page
}

fn paragraphs(page: &mut Roff, paragraphs: &[&str]) {
    for paragraph in paragraphs {
        page.control("PP", []);
        page.text([roman(*paragraph)]);
    }
}

fn terms(page: &mut Roff, heading: &str, terms: &[(&str, &str)]) {
    page.control("SH", [heading]);
    for (term, meaning) in terms {
        page.control("TP", []);
        page.text([bold(*term)]);
        page.text([roman(*meaning)]);
    }
}

fn end(mut page: Roff, files: &[(&str, &str)], also: &[(&str, &str)], out: &mut impl Write) -> io::Result<()> {
    terms(&mut page, "FILES", files);
    page.control("SH", ["SEE ALSO"]);
    let mut line: Vec<Inline> = Vec::new();
    for (number, (name, section)) in also.iter().enumerate() {
        if number > 0 {
            line.push(roman(", "));
        }
        line.push(bold(*name));
        line.push(roman(format!("({section})")));
    }
    page.text(line);
    page.to_writer(out)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_key_of_a_schema_is_in_its_page() {
        let schema = json!({
            "properties": {
                "daemon": {"description": "The process.", "properties": {
                    "listen": {"description": "Where it listens.", "type": "string", "examples": [".1:80"]},
                    "tls": {"type": "object", "properties": {"cert": {"description": "'One.", "type": "string"}}},
                }},
                "token": {"anyOf": [{"type": "array", "items": {"$ref": "#/$defs/token"}}]},
            },
            "$defs": {
                "token": {"properties": {"grace": {"$ref": "#/$defs/duration"}, "mode": {"enum": ["a", "b"]}}},
                "duration": {"description": "A span, such as 14d.", "type": "string"},
            },
        });
        let page = FilePage { name: "x.toml", about: "a file", text: &["It is."], files: &[], also: &[("x", "1")] };
        let mut out = Vec::new();
        page.write(&schema, "1.0", &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        for told in [
            ".SH DAEMON",
            "\\fBlisten\\fR \\fIstring\\fR",
            "Example: \".1:80\"",
            "\\fBcert\\fR",
            "\\fBgrace\\fR \\fIduration\\fR",
            "\\fIa|b\\fR",
            ".SH VALUES",
            "\\fIduration\\fR",
        ] {
            assert!(text.contains(told), "{told} is not in\n{text}");
        }
        // A line that begins with a quote would be a request.
        assert!(!text.lines().any(|line| line.starts_with('\'')), "{text}");
    }

    #[test]
    fn the_daemon_has_a_page() {
        let mut out = Vec::new();
        write_daemon("1.0", &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        for told in [".TH PATROLD 8", ".SH SIGNALS", ".SH ENVIRONMENT", ".SH FILES", "patrold.toml"] {
            assert!(text.contains(told), "{told} is not in\n{text}");
        }
    }
}
