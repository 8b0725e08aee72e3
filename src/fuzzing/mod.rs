//! What must hold of every input that somebody else wrote: the fuzz targets below `fuzz/` and ordinary tests over their
//! corpus check the same properties.
//!
//! No input makes patrold panic, puts a secret into a text for people, or sends a request to another origin than the
//! account's; time and memory stay within what the length of the input allows.
//!
//! Compiled for tests and with the feature `fuzzing` only; no part of the library's promises.

mod setting;
mod shape;
#[cfg(test)]
mod tests;

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use url::Url;
use zeroize::Zeroizing;

use crate::definition::{self, Definitions};
use crate::document::Report;
use crate::inventory::{Dialect, interpret_text};
use crate::outcome::{Failure, FailureCode, Outcome};
use crate::provider::{Cursor, Minted, Operation, Provider, Request, Response, Subject, Verdict};
use crate::secret::{Secret, SecretParts};
use crate::store::env_file;
use setting::{CHOSEN, CREDENTIAL, REFRESH, SUBJECT, Setting, now};
#[cfg(test)]
pub(crate) use shape::shape;

/// Longer inputs are left alone: answers and files have limits of their own.
const LONGEST: usize = 64 * 1024;
/// No input may take longer, not even in a slow build on a busy machine.
const SLOWEST: Duration = Duration::from_secs(20);
/// Bytes that a report may have for each byte of the file that it is about: the shortest problem takes two bytes.
const REPORT_RATIO: usize = 1024;

/// What no text for people may hold.
const SECRETS: [&str; 4] = [CREDENTIAL, SUBJECT, REFRESH, CHOSEN];

static BUILTIN: LazyLock<Definitions> = LazyLock::new(Definitions::builtin);

/// The operations of a definition, of a provider or of a store.
fn operations(provider: &Provider) -> impl Iterator<Item = Operation> {
    let all = Operation::OF_PROVIDERS.into_iter().chain(Operation::OF_STORES);
    all.filter(|operation| provider.has(*operation))
}

/// A kind of input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A provider definition.
    Definition,
    /// An answer: a line with the name of a built-in definition and a status, headers, an empty line, the body.
    Answer,
    /// A line with the name of a built-in definition; the rest is a value that somebody put where values go.
    Render,
    /// An inventory of one file.
    Inventory,
    /// A line with a dialect, a line with a value, and the env file that gets it.
    EnvFile,
}

impl Target {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::Definition, Self::Answer, Self::Render, Self::Inventory, Self::EnvFile];

    /// The name of the fuzz target, and of the folder of its corpus.
    pub fn name(self) -> &'static str {
        match self {
            Self::Definition => "definition",
            Self::Answer => "answer",
            Self::Render => "render",
            Self::Inventory => "inventory",
            Self::EnvFile => "env_file",
        }
    }

    /// Panics where something does not hold of `input`.
    pub fn check(self, input: &[u8]) {
        if input.len() > LONGEST {
            return;
        }
        let began = Instant::now();
        match self {
            Self::Definition => definition(input),
            Self::Answer => answer(input),
            Self::Render => render(input),
            Self::Inventory => inventory(input),
            Self::EnvFile => edit(input),
        }
        let took = began.elapsed();
        assert!(took < SLOWEST, "{} took {took:?} for {} bytes", self.name(), input.len());
    }
}

fn definition(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let mut report = Report::new();
    let provider = definition::parse("definition.toml", &text, &mut report);
    readable(&report, text.len());
    let Some(provider) = provider else {
        assert!(report.errors() > 0, "a definition is refused without a reason");
        return;
    };
    let _ = (provider.capabilities(), provider.listing_params(), provider.secret_parts());
    let setting = Setting::of(&provider);
    requests(&provider, &setting, &text);
}

/// Every request that `provider` makes of `setting`, each of them harmless.
fn requests(provider: &Provider, setting: &Setting, input: &str) {
    if provider.logs_in() {
        harmless(provider.render_login(&setting.values()), |url| setting.names(url), input);
    }
    for operation in operations(provider) {
        harmless(provider.render(operation, &setting.values()), |url| setting.is_home(url), input);
    }
    for step in provider.before_revocation() {
        harmless(step.render(Operation::Revoke, &setting.values()), |url| setting.is_home(url), input);
    }
}

/// A request stays where it belongs and shows no secret; a failure is one of the request, and shows none either.
fn harmless(rendered: Result<Request, Failure>, is_home: impl Fn(&Url) -> bool, input: &str) {
    match rendered {
        Ok(request) => {
            assert!(is_home(&request.url), "a request to {}", request.url.origin().ascii_serialization());
            // What stands in the input as a plain value may go where plain values go.
            let is_plain = |secret: &&str| input.contains(*secret) || input.contains('\\');
            for secret in SECRETS.iter().filter(|secret| !is_plain(secret)) {
                let shown = format!("{request:?} {}", request.url);
                assert!(!shown.contains(secret), "a secret is part of an address: {shown}");
            }
            for (name, value) in &request.headers {
                let shows = SECRETS.iter().filter(|secret| !is_plain(secret)).any(|secret| *value == **secret);
                assert!(!shows || value.is_sensitive(), "header {name} is not marked");
            }
        }
        Err(failure) => {
            assert!(matches!(failure.code, FailureCode::Request | FailureCode::NoCredential), "{failure}");
            complaint(&failure, input);
        }
    }
}

/// A failure is one bounded line without a secret.
fn complaint(failure: &Failure, input: &str) {
    assert!(failure.detail.chars().count() <= 501 && !failure.detail.contains(char::is_control), "{failure:?}");
    secretless(&failure.detail, input);
}

/// `shown` holds no secret that patrold knows, and no beginning of one. `input` may hold pieces of them for itself:
/// those need not be known as secrets.
fn secretless(shown: &str, input: &str) {
    for secret in SECRETS {
        assert!(!shown.contains(secret), "a secret is shown: {shown}");
        let beginning = &secret[..10];
        let pieces = input.matches(beginning).count() != input.matches(secret).count() || input.contains('\\');
        assert!(pieces || !shown.contains(beginning), "the beginning of a secret is shown: {shown}");
    }
}

/// A report says what it says in lines, and in not too many.
fn readable(report: &Report, length: usize) {
    let shown = report.render();
    assert!(shown.len() <= 4096 + REPORT_RATIO * length, "a report of {} bytes", shown.len());
    for problem in report.problems() {
        let line = report.line(&problem);
        assert!(!line.contains(char::is_control), "not one line: {line:?}");
    }
}

/// The first line of `input` and the rest.
fn first_line(input: &[u8]) -> (String, &[u8]) {
    let mut parts = input.splitn(2, |byte| *byte == b'\n');
    let line = parts.next().unwrap_or_default();
    (String::from_utf8_lossy(line).into_owned(), parts.next().unwrap_or_default())
}

/// The built-in definition called `name`; any of them where none is called so.
fn chosen(name: &str) -> Arc<Provider> {
    let any = || {
        let sum = name.bytes().map(usize::from).sum::<usize>();
        let names: Vec<&str> = BUILTIN.names().collect();
        BUILTIN.get(names[sum % names.len()])
    };
    BUILTIN.get(name).or_else(any).expect("the name is one of the built-in ones")
}

fn response(status: &str, input: &[u8]) -> Response {
    let mut headers = HeaderMap::new();
    let mut rest = input;
    while !rest.is_empty() {
        let (line, after) = first_line(rest);
        rest = after;
        let Some((name, value)) = line.split_once(':') else { break };
        let parsed = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value.trim()));
        if let (Ok(name), Ok(value)) = parsed {
            headers.append(name, value);
        }
    }
    Response { status: status.trim().parse().unwrap_or(200), headers, body: Zeroizing::new(rest.to_vec()) }
}

fn answer(input: &[u8]) {
    let (first, rest) = first_line(input);
    let (name, status) = first.split_once(' ').unwrap_or((&first, "200"));
    let (provider, response) = (chosen(name), response(status, rest));
    let text = String::from_utf8_lossy(input);
    let setting = Setting::of(&provider);
    let values = setting.values();
    secretless(&format!("{response:?} {values:?}"), &text);
    let _ = (provider.limit().limited(&response, now()), provider.limit().allowance(&response));
    if provider.logs_in() {
        done(provider.read_login(&values, &response, now()), &text);
    }
    for operation in operations(&provider) {
        match operation {
            Operation::Mint => minted(&provider, &setting, done(provider.read_mint(&values, &response, now()), &text)),
            Operation::Renew => {
                minted(&provider, &setting, done(provider.read_renew(&values, &response, now()), &text));
            }
            Operation::Verify => match done(provider.read_verify(&values, &response, now()), &text) {
                Some(Verdict::Dead(failure)) => complaint(&failure, &text),
                Some(Verdict::Alive { .. }) | None => {}
            },
            Operation::Revoke => drop(done(provider.read_revoke(&values, &response, now()), &text)),
            Operation::Probe => drop(done(provider.read_probe(&values, &response, now()), &text)),
            Operation::Survey => drop(done(provider.read_survey(&values, &response, now()), &text)),
            Operation::Read => drop(done(provider.read_target(true, &values, &response, now()), &text)),
            Operation::Prepare => drop(done(provider.read_prepared(&values, &response, now()), &text)),
            Operation::Create | Operation::Write | Operation::Delete => {
                drop(done(provider.read_put(operation, &values, &response, now()), &text));
            }
            Operation::List => {
                let Some(page) = done(provider.read_page(&values, &response, now()), &text) else { continue };
                assert!(page.entries.len() <= response.body.len(), "more entries than bytes");
                for entry in page.entries.into_iter().take(3) {
                    let subject =
                        Subject { id: entry.remote.id, name: entry.name, facts: entry.remote.facts, secret: None };
                    let subject = Subject { secret: setting.subject.secret.clone(), ..subject };
                    requests(&provider, &Setting { subject, ..setting.clone() }, &text);
                }
                if let Some(Cursor::Url(url)) = &page.next {
                    assert!(setting.is_home(url), "a listing goes on elsewhere");
                }
                let later = Setting { page: page.next, ..setting.clone() };
                harmless(provider.render(Operation::List, &later.values()), |url| later.is_home(url), &text);
            }
        }
    }
}

/// The value of an outcome that has one; otherwise its failure is fit for people.
fn done<T>(outcome: Outcome<T>, input: &str) -> Option<T> {
    outcome.into_result().map_err(|failure| complaint(&failure, input)).ok()
}

/// What is said of a new token shows no secret, and what it is used for later leads nowhere else.
fn minted(provider: &Provider, setting: &Setting, minted: Option<Minted>) {
    let Some(minted) = minted else { return };
    let rejection = minted.rejection.iter().map(ToString::to_string);
    for text in minted.unread.iter().cloned().chain(rejection).chain([format!("{:?}", minted.secret)]) {
        secretless(&text, "\\");
    }
    let (id, facts) = (minted.remote.id, minted.remote.facts);
    let subject = Subject { id, facts, secret: Some(minted.secret), ..setting.subject.clone() };
    // An answer may hold a known secret at any place; from here on it is a value like others.
    let setting = Setting { subject, ..setting.clone() };
    for operation in [Operation::Verify, Operation::Renew, Operation::Revoke] {
        if let Ok(request) = provider.render(operation, &setting.values()) {
            assert!(setting.is_home(&request.url), "a request to {}", request.url.origin().ascii_serialization());
        }
    }
}

fn render(input: &[u8]) {
    let (name, rest) = first_line(input);
    let text = String::from_utf8_lossy(rest);
    let provider = chosen(&name);
    let usual = Setting::of(&provider);
    for operation in operations(&provider) {
        let Ok(plain) = provider.render(operation, &usual.values()) else { continue };
        let plain = shape::shape(&plain);
        let paths = usual.with_everywhere(&provider, "one/two");
        for ((place, hostile), (_, path)) in usual.with_everywhere(&provider, &text).into_iter().zip(paths) {
            let rendered = provider.render(operation, &hostile.values());
            // An empty value may stand for none, which drops its key.
            if let Ok(request) = &rendered
                && !text.is_empty()
            {
                let what = format!("{}: {} with {text:?} as {place}", provider.name, operation.word());
                let mut wanted = plain.clone();
                let mut found = shape::shape(request);
                // What keeps its slashes may be any path of the same origin.
                let whole =
                    usual.params.get(&place).and_then(|usual| usual.as_str()).is_some_and(|it| it.starts_with('/'));
                let kept = || {
                    let asked = provider.render(operation, &path.values());
                    asked.is_ok_and(|asked| asked.url.path().contains("one/two"))
                };
                if whole || kept() {
                    (wanted["segments"], found["segments"]) = (Value::Null, Value::Null);
                }
                assert_eq!(found, wanted, "{what}");
            }
            harmless(rendered, |url| hostile.is_home(url), &text);
        }
    }
}

fn inventory(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let (inventory, report) = interpret_text(&text, &BUILTIN, now());
    readable(&report, text.len());
    let Some(inventory) = inventory else {
        assert!(report.errors() > 0, "an inventory is refused without a reason");
        return;
    };
    assert_eq!(report.errors(), 0, "an inventory is used in spite of an error");
    for account in inventory.accounts.values() {
        let url = &account.endpoint.url;
        let plain = url.username().is_empty() && url.password().is_none() && url.query().is_none();
        assert!(url.has_host() && plain && matches!(url.scheme(), "http" | "https"), "{}: {url}", account.name);
    }
}

fn edit(input: &[u8]) {
    let (dialect, rest) = first_line(input);
    let (value, document) = first_line(rest);
    let dialect = match dialect.as_str() {
        "systemd" => Dialect::Systemd,
        "docker" => Dialect::Docker,
        "dotenv" => Dialect::Dotenv,
        _ => Dialect::PosixSh,
    };
    let value = format!("{value}{SUBJECT}");
    match env_file::set(document, "KEY", &value, dialect) {
        Ok(edited) => {
            // Escaping takes four bytes at most for one.
            assert!(edited.len() <= document.len() + 4 * value.len() + 16, "{} bytes", edited.len());
            match env_file::get(&edited, "KEY", dialect) {
                Ok(env_file::Read::Value(read)) => assert_eq!(*read, value.as_bytes()),
                other => panic!("not read back: {other:?}"),
            }
            let again = env_file::set(&edited, "KEY", &value, dialect).map(|again| *again == *edited);
            assert_eq!(again, Ok(true), "a second edit changes something");
        }
        Err(problem) => {
            let lines = document.split(|byte| *byte == b'\n').count();
            assert!((1..=lines).contains(&problem.line), "line {} of {lines}", problem.line);
            secretless(&problem.to_string(), &String::from_utf8_lossy(document));
        }
    }
}

/// The secret that stands for a token's own.
fn subject_secret(text: &str) -> SecretParts {
    SecretParts::new(Secret::new(text)).with("refresh_token", Secret::new(REFRESH))
}
