//! Requests and outcomes in words, for comparison.

use chrono::SecondsFormat;

use super::*;
use crate::names::RemoteId;
use crate::outcome::{Failure, Outcome};

/// An outcome in one line.
pub(crate) struct Told {
    pub(crate) line: String,
    /// It happened; a verdict says that the token is alive, and nothing speaks against a new one.
    pub(crate) well: bool,
}

/// A request in full: method and address, headers in order of names, body.
pub(crate) fn request(request: &Request) -> String {
    let mut headers: Vec<String> = request
        .headers
        .iter()
        .map(|(name, value)| {
            let mark = if value.is_sensitive() { " (sensitive)" } else { "" };
            format!("{name}: {}{mark}", value.to_str().unwrap())
        })
        .collect();
    headers.sort();
    let body = request.body.as_ref().map(|body| String::from_utf8(body.to_vec()).unwrap());
    let lines = std::iter::once(format!("{} {}", request.method, request.url)).chain(headers).chain(body);
    lines.collect::<Vec<_>>().join("\n")
}

/// What `provider` makes of an answer to `operation`.
pub(crate) fn answer(provider: &Provider, operation: Operation, given: &Given, response: &Response) -> Told {
    let values = given.values();
    let response = &*provider.readable(operation, response);
    match operation {
        Operation::Mint => {
            let last = provider.after_mint().pop();
            told(last.as_ref().unwrap_or(provider).read_mint(&values, response, now()), minted)
        }
        Operation::Renew => told(provider.read_renew(&values, response, now()), minted),
        Operation::List => told(provider.read_page(&values, response, now()), |it| (page(it), true)),
        Operation::Verify => told(provider.read_verify(&values, response, now()), verdict),
        Operation::Revoke => {
            told(provider.read_revoke(&values, response, now()), |gone| (format!("{gone:?}").to_lowercase(), true))
        }
        Operation::Probe
        | Operation::Read
        | Operation::Survey
        | Operation::Prepare
        | Operation::Create
        | Operation::Write
        | Operation::Delete => {
            panic!("stores have tests of their own")
        }
    }
}

/// What `provider` makes of an answer to the first of several requests of a mint.
pub(super) fn begun(provider: &Provider, given: &Given, response: &Response) -> Told {
    let response = provider.readable(Operation::Mint, response);
    told(provider.read_step(&given.values(), &response, now()), |made| (remote(&made).join(" "), true))
}

/// What `provider` makes of an answer to a login.
pub(crate) fn login(provider: &Provider, given: &Given, response: &Response) -> Told {
    told(provider.read_login(&given.values(), response, now()), |session| {
        let until = session.until.map_or_else(|| "until unknown".to_owned(), |time| until(Expiry::At(time)));
        (format!("session={} {until}", session.secret.expose()), true)
    })
}

/// What `provider` makes of an answer to the request for values of `param`.
pub(super) fn discovered(provider: &Provider, param: &str, given: &Given, response: &Response) -> Told {
    told(provider.read_candidates(param, &given.values(), response, now()), |found| {
        let called = |it: &Candidate| match &it.label {
            Some(label) => format!("{} ({label})", it.value),
            None => it.value.to_string(),
        };
        (found.iter().map(called).collect::<Vec<_>>().join(", "), true)
    })
}

fn told<T>(outcome: Outcome<T>, done: impl FnOnce(T) -> (String, bool)) -> Told {
    let (line, well) = match outcome {
        Outcome::Done(value) => done(value),
        Outcome::Later { not_before: None, failure } => (format!("later, {}", failed(&failure)), false),
        Outcome::Later { not_before: Some(time), failure } => {
            (format!("later, from {}, {}", moment(time), failed(&failure)), false)
        }
        Outcome::Refused(failure) => (format!("refused, {}", failed(&failure)), false),
        Outcome::Unknown(failure) => (format!("ambiguous, {}", failed(&failure)), false),
    };
    Told { line, well }
}

fn failed(failure: &Failure) -> String {
    format!("{}: {}", failure.code.code(), failure.detail)
}

fn moment(time: Time) -> String {
    time.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

fn until(expiry: Expiry) -> String {
    match expiry {
        Expiry::At(time) => format!("until {}", moment(time.as_told())),
        Expiry::Never => "for ever".to_owned(),
        Expiry::Unknown => "until unknown".to_owned(),
    }
}

fn remote(remote: &Remote) -> Vec<String> {
    let id = remote.id.as_ref().map_or("-", RemoteId::as_str);
    let times = [("refresh", remote.refresh_expires), ("renewable", remote.renewable_until)];
    let times =
        times.iter().filter_map(|(what, time)| time.map(|time| format!("{what} until {}", moment(time.as_told()))));
    let facts = remote.facts.iter().map(|(name, fact)| format!("{name}={fact}"));
    [format!("id={id} {}", until(remote.expires))].into_iter().chain(times).chain(facts).collect()
}

fn minted(minted: Minted) -> (String, bool) {
    let well = minted.rejection.is_none();
    let secrets = minted.secret.iter().map(|(name, secret)| format!("{name}={}", secret.expose()));
    let words = secrets
        .chain(remote(&minted.remote))
        .chain(minted.unread.iter().map(|warning| format!("unread({warning})")))
        .chain(minted.rejection.map(|failure| format!("rejection({})", failed(&failure))));
    (words.collect::<Vec<_>>().join(" "), well)
}

fn page(page: Page) -> String {
    let entries = page.entries.into_iter().map(|entry| {
        let mut words = remote(&entry.remote);
        words.insert(0, format!("{:?}", entry.name.unwrap_or_default()));
        words.extend(entry.created.map(|time| format!("created {}", moment(time.as_told()))));
        words.extend(entry.last_used.map(|time| format!("used {}", moment(time.as_told()))));
        words.extend(entry.dead.then(|| "dead".to_owned()));
        format!("[{}]", words.join(" "))
    });
    let next = match page.next {
        None => "end".to_owned(),
        Some(Cursor::Url(url)) => url.to_string(),
        Some(other) => format!("{other:?}"),
    };
    entries.chain([next]).collect::<Vec<_>>().join(" ")
}

fn verdict(verdict: Verdict) -> (String, bool) {
    match verdict {
        Verdict::Alive { id, expires } => {
            let id = id.map(|id| format!("id={id}"));
            let words = [Some("alive".to_owned()), id, expires.map(until)];
            (words.into_iter().flatten().collect::<Vec<_>>().join(" "), true)
        }
        Verdict::Dead(failure) => (format!("dead, {}", failed(&failure)), false),
    }
}
