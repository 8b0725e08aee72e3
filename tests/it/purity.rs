//! The pure core stays pure: what decides, parses or renders takes values and returns values. No clock, no files, no
//! environment, no randomness, no logging, no runtime.

use std::fs;
use std::path::{Path, PathBuf};

/// The pure part of `src/`. Of a folder, every file below it, without tests.
const PURE: &[&str] = &[
    "definition",
    "document",
    "endpoint/health.rs",
    "endpoint/limit",
    "endpoint/limit.rs",
    "endpoint/skew.rs",
    "endpoint/traffic.rs",
    "event.rs",
    "inventory",
    "journal/record.rs",
    "names",
    "notice",
    "notify/book.rs",
    "notify/decide.rs",
    "notify/find.rs",
    "names.rs",
    "outcome",
    "outcome.rs",
    "provider",
    "report",
    "rotation",
    "store/document",
    "store/drift.rs",
    "store/env_file",
    "store/format.rs",
    "store/judge.rs",
    "store/receipt.rs",
    "text",
    "timing",
    "view",
];

/// What is impure within a pure folder, and why.
const SHELL: &[(&str, &str)] = &[
    ("definition/builtin.rs", "reads the directory of definitions"),
    ("inventory/environment.rs", "reads the environment, and where links to an inventory lead"),
    ("inventory/load.rs", "reads the files of the inventory"),
    ("inventory/owners.rs", "reads who owns what by name"),
    ("provider/jwt.rs", "signatures draw random values"),
    ("provider/sealed_box.rs", "each box draws a key of its own"),
    ("rotation/act", "does what was decided, and asks the clock when it was done"),
    ("rotation/run.rs", "drives decisions and effects, and asks the clock between them"),
];

/// What the pure part does not name, and why.
const FORBIDDEN: &[(&str, &str)] = &[
    ("now()", "takes the time as a value"),
    ("Instant", "takes the time as a value"),
    ("SystemTime", "takes the time as a value"),
    ("tokio", "runs without a runtime"),
    ("thread::", "runs without threads"),
    ("fs::", "reads no files"),
    ("env::", "reads no environment"),
    ("std::fs", "reads no files"),
    ("std::env", "reads no environment"),
    ("tracing::", "returns what is worth telling"),
    ("println!", "returns what is worth telling"),
    ("eprintln!", "returns what is worth telling"),
    ("reqwest::Client", "describes requests, does not send them"),
    ("SystemRandom", "takes random values"),
    ("OsRng", "takes random values"),
];

#[test]
fn the_pure_part_names_nothing_impure() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    for entry in PURE {
        match files(&src.join(entry)) {
            Ok(files) => {
                for file in files.into_iter().filter(|file| !in_shell(&src, file)) {
                    let text = fs::read_to_string(&file).unwrap();
                    let name = file.strip_prefix(&src).unwrap().display();
                    found.extend(impurities(&text).into_iter().map(|impurity| format!("src/{name}:{impurity}")));
                }
            }
            Err(error) => found.push(format!("src/{entry} is listed here and cannot be read: {error}")),
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// Whether `file` is impure, and may be.
fn in_shell(src: &Path, file: &Path) -> bool {
    SHELL.iter().any(|(shell, _)| file.starts_with(src.join(shell)))
}

#[test]
fn what_is_excepted_is_impure_indeed() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for (shell, why) in SHELL {
        let texts = files(&src.join(shell)).unwrap().into_iter().map(|file| fs::read_to_string(file).unwrap());
        assert!(
            texts.into_iter().any(|text| !impurities(&text).is_empty()),
            "src/{shell} ({why}) is pure: it needs no row"
        );
        assert!(PURE.iter().any(|pure| shell.starts_with(pure)), "src/{shell} is in no pure folder");
    }
}

#[test]
fn the_wall_clock_is_read_in_one_place() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let reads = |file: &PathBuf| {
        let code = without_tests(&without_texts(&fs::read_to_string(file).unwrap()));
        ["Utc::now", "SystemTime::now", "Local::now"].iter().any(|word| names(&code, word))
    };
    let readers: Vec<_> = files(&src).unwrap().into_iter().filter(reads).collect();
    assert_eq!(readers, [src.join("clock.rs")]);
}

/// The file, or all files below the folder, without tests.
pub(super) fn files(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    if fs::metadata(path)?.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(path)? {
        let path = entry?.path();
        if !path.ends_with("tests") && !path.ends_with("tests.rs") {
            found.extend(files(&path)?);
        }
    }
    Ok(found)
}

/// `line: what stands there` for everything impure in `source`, outside of comments, texts and tests.
fn impurities(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (number, line) in without_tests(&without_texts(source)).lines().enumerate() {
        for (word, rule) in FORBIDDEN {
            if names(line, word) {
                found.push(format!("{}: `{word}`: the pure part {rule}", number + 1));
            }
        }
    }
    found
}

/// Whether `word` stands in `line`, and not as the end of a longer word.
fn names(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let part = |character: Option<char>| character.is_some_and(|c| c.is_alphanumeric() || c == '_');
        let whole = !word.ends_with(char::is_alphanumeric) || !part(after);
        whole && !part(before)
    })
}

/// `source` with comments and the insides of string and character literals blanked out; lines stay lines.
pub(super) fn without_texts(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let length = literal(rest).unwrap_or(0);
        if length == 0 {
            out.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            out.extend(rest[..length].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
            rest = &rest[length..];
        }
    }
    out
}

/// The length of the comment or literal that `text` begins with.
fn literal(text: &str) -> Option<usize> {
    let until = |from: usize, end: &str| Some(text[from..].find(end).map_or(text.len(), |at| from + at + end.len()));
    let bytes = text.as_bytes();
    match bytes {
        [b'/', b'/', ..] => Some(text.find('\n').unwrap_or(text.len())),
        [b'/', b'*', ..] => until(2, "*/"),
        [b'r', b'"', ..] => until(2, "\""),
        [b'r', b'#', b'"', ..] => until(3, "\"#"),
        [b'"', ..] => {
            let mut at = 1;
            while at < bytes.len() && bytes[at] != b'"' {
                at += if bytes[at] == b'\\' { 2 } else { 1 };
            }
            Some((at + 1).min(text.len()))
        }
        // A lifetime has no second quote.
        [b'\'', b'\\', ..] => until(3, "'"),
        [b'\'', ..] => text[1..]
            .chars()
            .next()
            .map(|c| 1 + c.len_utf8())
            .filter(|at| bytes.get(*at) == Some(&b'\''))
            .map(|at| at + 1),
        _ => None,
    }
}

/// `source` with every item blanked out that is compiled for tests only.
pub(super) fn without_tests(source: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(at) = rest.find(MARK) {
        out.push_str(&rest[..at]);
        let item = &rest[at..];
        let end = end_of_item(item);
        out.extend(item[..end].chars().filter(|c| *c == '\n'));
        rest = &item[end..];
    }
    out + rest
}

/// Where the item ends: at its semicolon, or where its braces close.
fn end_of_item(item: &str) -> usize {
    let mut depth = 0_usize;
    for (at, character) in item.char_indices() {
        match character {
            ';' if depth == 0 => return at + 1,
            '{' => depth += 1,
            '}' if depth <= 1 => return at + 1,
            '}' => depth -= 1,
            _ => {}
        }
    }
    item.len()
}

#[test]
fn the_check_can_fail() {
    let check = |sentence: &str, source: &str, lines: &[&str]| {
        let found = impurities(source);
        let places: Vec<_> = found.iter().map(|found| found.split(':').next().unwrap()).collect();
        assert_eq!(places, lines, "{sentence}: {found:?}");
    };
    check("a clock", "fn f() {\n    let now = Utc::now();\n}", &["2"]);
    check("an import", "use std::fs::File;\n", &["1", "1"]);
    check("a grouped import", "use std::{env, fs};\nfn f() { env::var(X); fs::read(Y); }\n", &["2", "2"]);
    check("a comment", "/// Calls Utc::now() nowhere.\n// env::var\n/* tokio::spawn */", &[]);
    check("a text", "let a = \"fs::read \\\" now()\"; let b = r#\"env::var\"#; let c = '\"'; // \"", &[]);
    check("after a text", "let a = \"\\\\\"; now();\nlet c = '\\''; now();", &["1", "2"]);
    check("a lifetime", "fn f<'a>(x: &'a str) {}\nnow();", &["2"]);
    check("a longer word", "self.known(); prefs::get(); fn know() {} tokio_like(); offenv::x()", &[]);
    check("tests", "fn f() {}\n#[cfg(test)]\nmod tests {\n    fn g() { now(); }\n}\n", &[]);
    check("after tests", "#[cfg(test)]\nmod tests;\nfn f() { now(); }\n", &["3"]);
}

#[test]
fn a_listed_file_that_is_gone_is_noticed() {
    assert!(files(Path::new("src/no/such/file.rs")).is_err());
}
