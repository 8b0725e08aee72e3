use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

const ALL: [Dialect; 4] = [Dialect::Systemd, Dialect::Docker, Dialect::Dotenv, Dialect::PosixSh];

fn edited(document: &str, value: &str, dialect: Dialect) -> Result<String, String> {
    set(document.as_bytes(), "KEY", value, dialect)
        .map(|text| String::from_utf8(text.to_vec()).unwrap())
        .map_err(|problem| problem.to_string())
}

#[test]
fn only_the_value_changes() {
    use Dialect::{Docker, Dotenv, PosixSh, Systemd};
    for (sentence, dialect, before, value, after) in [
        ("an empty file gets a line", Docker, "", "v", "KEY=v\n"),
        ("a missing key is added at the end", Systemd, "A=1\n", "v", "A=1\nKEY=v\n"),
        ("a missing final newline is made up for", Dotenv, "A=1", "v", "A=1\nKEY=v\n"),
        ("and with the file's own line ends", Dotenv, "A=1\r\nB=2", "v", "A=1\r\nB=2\r\nKEY=v\r\n"),
        ("but a shell's never end in a carriage return", PosixSh, "# a\r\n# b", "v", "# a\r\n# b\nKEY=v\n"),
        ("line ends stay", Systemd, "A=1\r\nKEY=old\r\nB=2\r\n", "v", "A=1\r\nKEY=v\r\nB=2\r\n"),
        ("a missing final newline stays missing", Docker, "A=1\nKEY=old", "v", "A=1\nKEY=v"),
        ("a byte order mark stays", Docker, "\u{feff}KEY=old\n", "v", "\u{feff}KEY=v\n"),
        ("export stays", PosixSh, " export  KEY='o l d' # why\n", "v", " export  KEY=v # why\n"),
        ("export stays in dotenv too", Dotenv, "export KEY=old\n", "v", "export KEY=v\n"),
        ("a comment behind the value stays", Dotenv, "KEY = old  # why\nB=1", "v", "KEY = v # why\nB=1"),
        ("a comment sign without a blank is part of the value", Dotenv, "KEY=old#secret\n", "v", "KEY=v\n"),
        ("docker knows no comments behind values", Docker, "KEY=old # secret\n", "v", "KEY=v\n"),
        ("neither does systemd", Systemd, "KEY=old # secret\n", "v", "KEY=v\n"),
        ("docker gets quotes as they are", Docker, "KEY=\n", "a 'b\" \\", "KEY=a 'b\" \\\n"),
        ("systemd gets what is special escaped", Systemd, "KEY=\n", "a\"b\\c$d`e f", "KEY=\"a\\\"b\\\\c\\$d\\`e f\"\n"),
        ("a shell gets single quotes", PosixSh, "KEY=\n", "it's $(id)", "KEY='it'\\''s $(id)'\n"),
        ("a commented key is no key", Dotenv, "#KEY=old\n", "v", "#KEY=old\nKEY=v\n"),
        ("a longer name is another name", Systemd, "KEYS=1\nMY_KEY=2\n", "v", "KEYS=1\nMY_KEY=2\nKEY=v\n"),
        ("export is a part of systemd's names", Systemd, "export KEY=1\n", "v", "export KEY=1\nKEY=v\n"),
        ("a name alone gets its value", Docker, "A=1\nKEY\nB=2\n", "v", "A=1\nKEY=v\nB=2\n"),
        ("a name alone gets its value, dotenv", Dotenv, "KEY\r\nB=2\r\n", "v", "KEY=v\r\nB=2\r\n"),
        (
            "a line inside quotes is no line, systemd",
            Systemd,
            "A='x\nKEY=fake\n'\nKEY=old\nB=\"y\\\"\nKEY=fake\"\n",
            "v",
            "A='x\nKEY=fake\n'\nKEY=v\nB=\"y\\\"\nKEY=fake\"\n",
        ),
        (
            "a line inside quotes is no line, dotenv",
            Dotenv,
            "A='x\nKEY=fake\n'\nKEY=old\nB=\"y\\\"\nKEY=fake\"\n",
            "v",
            "A='x\nKEY=fake\n'\nKEY=v\nB=\"y\\\"\nKEY=fake\"\n",
        ),
        (
            "a line inside quotes is no line, shell",
            PosixSh,
            "A='x\nKEY=fake\n'\nKEY=old\nB=\"y\\\"\nKEY=fake\"\n",
            "v",
            "A='x\nKEY=fake\n'\nKEY=v\nB=\"y\\\"\nKEY=fake\"\n",
        ),
        ("docker knows no quotes", Docker, "A='x\nKEY=old\nB='\n", "v", "A='x\nKEY=v\nB='\n"),
        ("a continued line is one line", Systemd, "A=x\\\nKEY=fake\nKEY=old\n", "v", "A=x\\\nKEY=fake\nKEY=v\n"),
        ("a value of several lines becomes one", Systemd, "KEY='a\nb'\nB=1\n", "v", "KEY=v\nB=1\n"),
        (
            "expansions of other keys stay",
            PosixSh,
            "A=\"$(id -u):${B:-x}\"\nKEY=1\n",
            "v",
            "A=\"$(id -u):${B:-x}\"\nKEY=v\n",
        ),
        (
            "shell switches stay",
            PosixSh,
            "set -a\nKEY=1\nset +a # off\nexport KEY\n",
            "v",
            "set -a\nKEY=v\nset +a # off\nexport KEY\n",
        ),
        ("bytes that are no UTF-8 may stand in comments", Systemd, "# \u{e9}\nKEY=1\n", "v", "# \u{e9}\nKEY=v\n"),
    ] {
        assert_eq!(edited(before, value, dialect).as_deref(), Ok(after), "{sentence}");
        assert_eq!(edited(after, value, dialect).as_deref(), Ok(after), "{sentence}: again");
    }
}

#[test]
fn what_readers_differ_about_is_refused() {
    use Dialect::{Docker, Dotenv, PosixSh, Systemd};
    for (dialect, document, line, sentence) in [
        (Docker, "KEY=1\nA=1\nKEY=2\n", 3, "KEY stands on line 1 already"),
        (Docker, "KEY\nKEY=2\n", 2, "KEY stands on line 1 already"),
        (Systemd, "KEY=1\nKEY =2\n", 2, "KEY stands on line 1 already"),
        (Dotenv, "KEY=1\nexport KEY=2\n", 2, "KEY stands on line 1 already"),
        (PosixSh, "KEY=1\nexport KEY=2\n", 2, "KEY stands on line 1 already"),
        (Docker, "A=1\nexport B=1\n", 2, "blanks in a name"),
        (Docker, "=1\n", 1, "wants a name"),
        (Systemd, "A=1\nB='x\n", 2, "not closed"),
        (Systemd, "A=x\\", 1, "would take in another line"),
        (Systemd, "# x\\\nKEY=1\n", 1, "before version 254"),
        (Systemd, "A=\0\n", 1, "NUL"),
        (Dotenv, "A=\"x\n", 1, "not closed"),
        (Dotenv, "A='x\\'\n", 1, "differ about \\'"),
        (Dotenv, "A=\"x\\\\\"\nB=\"\"\n", 1, "differ about \\\\"),
        (Dotenv, "KEY: v\n", 1, "neither KEY=value nor a comment"),
        (Dotenv, "A='x' y\n", 1, "other than a comment"),
        (Dotenv, "A=`x\n`\n", 1, "backquote"),
        (Dotenv, "\u{feff}KEY=1\n", 1, "byte order mark"),
        (Dotenv, "A=1\rKEY=2\n", 1, "carriage return"),
        (Dotenv, "# x\u{2028}KEY=2\n", 1, "line end"),
        (PosixSh, "\u{feff}# x\n", 1, "byte order mark"),
        (PosixSh, "A=1\r\n", 1, "carriage return"),
        (PosixSh, "A=1 B=2\n", 1, "only lines like"),
        (PosixSh, "A=1\ncat <<E\nKEY=1\nE\n", 2, "only lines like"),
        (PosixSh, "f() {\nKEY=1\n}\n", 1, "only lines like"),
        (PosixSh, "A=$(cat <<E\nKEY=1\nE\n)\n", 1, "too involved"),
        (PosixSh, "A=1; KEY=2\n", 1, "only lines like"),
        (PosixSh, "A=\"x\nKEY=1\n", 1, "not closed"),
    ] {
        let error = edited(document, "v", dialect).unwrap_err();
        assert!(error.starts_with(&format!("line {line}: ")) && error.contains(sentence), "{document:?}: {error}");
    }
}

#[test]
fn a_value_that_its_reader_would_change_is_refused_by_name() {
    use Dialect::{Docker, Dotenv, PosixSh, Systemd};
    for (dialect, value, sentence) in [
        (Docker, "a\nb", "docker cannot hold a value of several lines"),
        (Docker, "a\r", "docker cannot hold"),
        (Systemd, "a\u{7}", "systemd drops values"),
        (Systemd, "a\rb", "systemd drops values"),
        (Dotenv, "it's", "single quote"),
        (Dotenv, "a b\\", "at the end"),
        (Dotenv, "a\\\\b", "python-dotenv"),
        (Dotenv, "a${B}", "python-dotenv"),
        (Dotenv, "-----BEGIN X-----\nabc\n", "godotenv"),
        (PosixSh, "a\0b", "NUL"),
    ] {
        let error = encode(value, dialect).unwrap_err();
        assert!(error.contains(sentence), "{value:?}: {error}");
    }
}

#[test]
fn what_is_read_is_what_the_reader_sees() {
    use Dialect::{Dotenv, PosixSh, Systemd};
    for (dialect, document, value) in [
        (Systemd, "KEY=\"a\"'b' c \n", Some("abc")),
        (Systemd, "KEY= a \\  \n", Some("a  ")),
        (Dotenv, "KEY=\"a b\" # c\n", Some("a b")),
        (Dotenv, "KEY= # c\n", Some("")),
        (Dotenv, "KEY=a#b\n", None),
        (Dotenv, "KEY=\"a$b\"\n", None),
        (PosixSh, "KEY=a\\ b\"c\\$\"'d'\n", Some("a bc$d")),
        (PosixSh, "KEY=$A\n", None),
        (PosixSh, "KEY=~\n", None),
    ] {
        let read = match get(document.as_bytes(), "KEY", dialect).unwrap() {
            Read::Value(value) => Some(String::from_utf8(value.to_vec()).unwrap()),
            Read::Disputed => None,
            Read::Missing => panic!("{document:?}: missing"),
        };
        assert_eq!(read.as_deref(), value, "{document:?}");
    }
}

#[test]
fn a_file_of_many_lines_is_edited_in_time_that_grows_with_its_length_only() {
    for dialect in ALL {
        let document = "A='x y'\n".repeat(100_000) + "KEY=old\n";
        let result = set(document.as_bytes(), "KEY", "new", dialect).unwrap();
        assert_eq!(result.len(), document.len(), "{dialect:?}");
        let document = "KEY=x\n".repeat(100_000);
        assert!(set(document.as_bytes(), "KEY", "new", dialect).is_err());
    }
}

/// A file in three parts, so that a test knows which bytes may change.
#[derive(Clone, Debug)]
struct Sample {
    before: String,
    key: Option<String>,
    after: String,
}

fn sample(dialect: Dialect) -> impl Strategy<Value = Sample> {
    let line = select(match dialect {
        Dialect::Docker => vec!["", "# KEY=no", "A=1", "B='x", "  C=y'", "D=\" # z \\", "E", "F=a=b$c", "\t"],
        Dialect::Systemd => vec![
            "",
            "# KEY=no",
            "; KEY=no \\x",
            "A=1",
            "B='x\nKEY=fake\n'",
            "C=\"\\\"\nKEY=fake\" tail",
            "D=a\\\nKEY=fake",
            "E=\\'x",
            "no assignment",
            " F = y # z ",
            "G='a'\"b\" c\\ ",
        ],
        Dialect::Dotenv => vec![
            "",
            "# KEY=no",
            "A=1",
            "B='x\nKEY=fake\n'",
            "C=\"\\\"\nKEY=fake\" # c",
            "export D=it's",
            " F = y # z ",
            "G=a\"b",
            "H",
        ],
        Dialect::PosixSh => vec![
            "",
            "# KEY=no",
            "A=1",
            "B='x\nKEY=fake\n'",
            "C=\"\\\"\nKEY=fake\" # c",
            "export D=it\\'s",
            "  F=y # z",
            "G=a\"b\"c\\\nKEY=fake",
            "H=${A:-x}\"$(echo y)\"",
            "export A",
        ],
    });
    let key = select(match dialect {
        Dialect::Docker => vec!["KEY=old", " KEY='x", "KEY"],
        Dialect::Systemd => vec!["KEY=old", " KEY = 'x\ny' z", "KEY=a\\\nb", "KEY="],
        Dialect::Dotenv => vec!["KEY=old", "export KEY = 'x\ny' # z", "KEY=\"\\\"\n\"", "KEY"],
        Dialect::PosixSh => vec!["KEY=old", " export KEY='x\ny' # z", "KEY=\"\\\"\n\"a\\\nb", "KEY="],
    });
    let line_end = select(if dialect == Dialect::PosixSh { vec!["\n"] } else { vec!["\n", "\r\n"] });
    (vec(line.clone(), 0..6), proptest::option::of(key), vec(line, 0..6), line_end, any::<bool>()).prop_map(
        |(before, key, after, line_end, last)| {
            let lines = |lines: Vec<&str>| lines.iter().map(|line| line.to_string() + line_end).collect::<String>();
            let mut sample =
                Sample { before: lines(before), key: key.map(|key| key.to_owned() + line_end), after: lines(after) };
            if !last {
                let end = match &mut sample {
                    Sample { after, .. } if !after.is_empty() => after,
                    Sample { key: Some(key), .. } => key,
                    Sample { before, .. } => before,
                };
                end.truncate(end.len().saturating_sub(line_end.len()));
            }
            sample
        },
    )
}

fn value() -> impl Strategy<Value = String> {
    let c = select("abcXYZ019_./+=:@,%^!*?{}[]-~ \t\n'\"`\\$#;&|<>()éß€".chars().collect::<Vec<_>>());
    vec(c, 1..12).prop_map(String::from_iter)
}

/// Sets the value, and compares what the independent reader says before and after.
fn check(dialect: Dialect, sample: &Sample, value: &str, read: impl Fn(&str) -> BTreeMap<String, String>) {
    let document = format!("{}{}{}", sample.before, sample.key.as_deref().unwrap_or_default(), sample.after);
    let result = edited(&document, value, dialect);
    if encode(value, dialect).is_err() {
        assert!(result.is_err(), "{document:?} took {value:?}");
        return;
    }
    let result = result.unwrap_or_else(|error| panic!("{document:?} refused {value:?}: {error}"));
    if sample.key.is_some() {
        assert!(result.starts_with(&sample.before), "{document:?} -> {result:?}");
        assert!(result.ends_with(&sample.after), "{document:?} -> {result:?}");
    } else {
        assert!(result.starts_with(&document), "{document:?} -> {result:?}");
    }
    let mut expected = read(&document);
    expected.insert("KEY".to_owned(), value.to_owned());
    assert_eq!(read(&result), expected, "{document:?} -> {result:?}");
}

/// docker/cli's reader, by lines.
fn read_docker(text: &str) -> BTreeMap<String, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    text.lines()
        .map(str::trim_start)
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// systemd's reader, written by the rules of systemd.exec(5) instead of as a state machine.
fn read_systemd(text: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut rest = text.chars().peekable();
    while let Some(first) = rest.peek().copied() {
        if first.is_ascii_whitespace() {
            rest.next();
            continue;
        }
        let mut key = String::new();
        let comment = matches!(first, '#' | ';');
        while let Some(c) = rest.next_if(|c| !matches!(c, '\n' | '\r') && (comment || *c != '=')) {
            key.push(c);
        }
        if comment || rest.next_if_eq(&'=').is_none() {
            continue;
        }
        let (mut value, mut kept, mut bare) = (String::new(), 0, false);
        while let Some(c) = rest.next_if(|c| !matches!(c, '\n' | '\r')) {
            match c {
                '\'' if !bare => value.extend(rest.by_ref().take_while(|c| *c != '\'')),
                '"' if !bare => {
                    while let Some(c) = rest.next().filter(|c| *c != '"') {
                        match (c, rest.peek().copied()) {
                            ('\\', Some(next @ ('"' | '\\' | '`' | '$'))) => {
                                rest.next();
                                value.push(next);
                            }
                            ('\\', Some('\n')) => drop(rest.next()),
                            _ => value.push(c),
                        }
                    }
                }
                '\\' => {
                    bare = true;
                    value.extend(rest.next().filter(|c| !matches!(c, '\n' | '\r')));
                    kept = value.len();
                }
                ' ' | '\t' if !bare => {}
                _ => {
                    bare = true;
                    value.push(c);
                    if !matches!(c, ' ' | '\t') {
                        kept = value.len();
                    }
                }
            }
        }
        if bare {
            value.truncate(kept);
        }
        found.insert(key.trim().to_owned(), value);
    }
    found
}

/// What dotenv readers have in common, as a dialect that knows little: quotes, `export`, comments.
fn read_dotenv(text: &str) -> BTreeMap<String, String> {
    let text = text.replace("\r\n", "\n");
    let mut found = BTreeMap::new();
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let line = rest.split('\n').next().unwrap();
        let Some((key, value)) = line.split_once('=').filter(|_| !line.trim_start().starts_with('#')) else {
            rest = rest.get(line.len() + 1..).unwrap_or_default();
            continue;
        };
        let key = key.trim().trim_start_matches("export").trim().to_owned();
        let at = line.len() - value.trim_start().len();
        let quote = rest[at..].chars().next().filter(|c| matches!(c, '\'' | '"'));
        let (value, end) = if let Some(quote) = quote {
            let inner = &rest[at + 1..];
            let mut ends = inner.match_indices(quote).map(|(end, _)| end);
            let end = ends.find(|end| quote == '\'' || !inner[..*end].ends_with('\\')).unwrap();
            (inner[..end].to_owned(), at + 1 + end)
        } else {
            let value = value.split(" #").next().unwrap().trim();
            (value.to_owned(), line.len())
        };
        found.insert(key, value);
        rest = rest[end..].split_once('\n').map_or("", |(_, rest)| rest);
    }
    found
}

/// The machine's own `sh`, which prints its variables with NUL ends.
fn read_shell(text: &str) -> Option<BTreeMap<String, String>> {
    let mut names: Vec<String> = ('A'..='H').map(String::from).collect();
    names.push("KEY".to_owned());
    let print = names.iter().map(|name| format!("[ \"${{{name}+x}}\" ] && printf '%s\\0%s\\0' {name} \"${name}\"\n"));
    let mut child = Command::new("sh")
        .args(["-s"])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let script = format!("set -a\n{text}\n{}", print.collect::<String>());
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let fields: Vec<_> = said.split_terminator('\0').map(str::to_owned).collect();
    Some(fields.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect())
}

proptest! {
    #[test]
    fn docker_reads_the_new_value_and_nothing_else_changes(sample in sample(Dialect::Docker), value in value()) {
        check(Dialect::Docker, &sample, &value, read_docker);
    }

    #[test]
    fn systemd_reads_the_new_value_and_nothing_else_changes(sample in sample(Dialect::Systemd), value in value()) {
        check(Dialect::Systemd, &sample, &value, read_systemd);
    }

    #[test]
    fn dotenv_readers_read_the_new_value_and_nothing_else_changes(sample in sample(Dialect::Dotenv), value in value()) {
        check(Dialect::Dotenv, &sample, &value, read_dotenv);
    }

    #[test]
    fn any_bytes_are_edited_or_refused(bytes in vec(any::<u8>(), 0..80), value in value()) {
        for dialect in ALL {
            if let Ok(edited) = set(&bytes, "KEY", &value, dialect) {
                prop_assert!(set(&edited, "KEY", &value, dialect).is_ok_and(|again| again == edited));
            }
        }
    }

    #[test]
    fn hostile_text_is_edited_or_refused(text in vec(select(b"KEY=A#;'\"\\$`{}() \t\r\n=export".to_vec()), 0..40)) {
        for dialect in ALL {
            if let Ok(edited) = set(&text, "KEY", "new", dialect) {
                prop_assert!(set(&edited, "KEY", "new", dialect).is_ok_and(|again| again == edited));
            }
        }
    }
}

proptest! {
    // Each case starts two shells.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_real_shell_reads_the_new_value_and_nothing_else_changes(sample in sample(Dialect::PosixSh), value in value()) {
        if read_shell("").is_some() {
            check(Dialect::PosixSh, &sample, &value, |text| read_shell(text).unwrap());
        }
    }

    #[test]
    fn what_the_shell_reader_takes_for_a_value_is_what_a_real_shell_sees(
        text in vec(select(b"aKEY='\"\\$#~:/ \n".to_vec()), 0..16),
    ) {
        let mut document = b"KEY=".to_vec();
        document.extend(text);
        if let (Ok(Read::Value(value)), Some(seen)) =
            (get(&document, "KEY", Dialect::PosixSh), read_shell(str::from_utf8(&document).unwrap()))
        {
            prop_assert_eq!(seen.get("KEY").map(String::as_bytes), Some(value.as_slice()));
        }
    }
}
