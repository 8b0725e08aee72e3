//! Every shipped definition against its folder below `tests/data/definitions`: the requests that it makes, and what it
//! reads out of answers. The folder's README tells the form of the files.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::told::Told;
use super::*;
use crate::document::{Problem, Report};
use crate::inventory::Environment;
use crate::provider::model::Style;

/// With this variable set, golden requests and the `wanted` lines of answers are written anew, to be read in the diff.
const REGENERATE: &str = "PATROLD_REGENERATE";

/// What answers to a login are called.
const LOGIN: &str = "login";

/// Answers to the first of several requests of a mint are called this.
const BEGINS: &str = "mint begins";

/// Answers to requests for values of a parameter are called this and the parameter.
const DISCOVER: &str = "discover ";

/// `cases.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cases {
    pub(super) given: BTreeMap<String, Circumstances>,
    answer: Vec<Answer>,
}

/// What requests are made of. What is left out has a value that is good for most definitions.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Circumstances {
    url: Option<String>,
    username: Option<String>,
    lifetime: Option<String>,
    #[serde(default = "empty")]
    params: Value,
    id: Option<String>,
    name: Option<String>,
    #[serde(default)]
    facts: BTreeMap<String, String>,
    /// The credential's secret, where it cannot be any text.
    pub(super) secret: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Answer {
    to: String,
    what: String,
    #[serde(default = "usual")]
    given: String,
    /// The file of a recorded exchange; else status, headers and body stand here.
    file: Option<String>,
    #[serde(default)]
    status: u16,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: String,
    wanted: String,
}

/// A definition with its folder.
pub(super) struct Fixture {
    pub(super) provider: Arc<Provider>,
    folder: PathBuf,
    pub(super) cases: Cases,
}

fn empty() -> Value {
    json!({})
}

fn usual() -> String {
    "usual".to_owned()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/definitions")
}

/// The definitions as they stand in `config/providers`, so that an author sees his changes without compiling.
fn shipped() -> Vec<Arc<Provider>> {
    let mut report = Report::new();
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/providers");
    let definitions = Definitions::load(Some(&directory), &mut report);
    assert_eq!(report.render(), "");
    definitions.providers().map(Arc::clone).collect()
}

pub(super) fn fixtures() -> Vec<Fixture> {
    let load = |provider: Arc<Provider>| {
        let folder = root().join(provider.name.as_str());
        let path = folder.join("cases.toml");
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let cases = toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Fixture { provider, folder, cases }
    };
    shipped().into_iter().map(load).collect()
}

impl Fixture {
    pub(super) fn operations(&self) -> impl Iterator<Item = Operation> {
        Operation::OF_PROVIDERS.into_iter().filter(|operation| self.provider.has(*operation))
    }

    pub(super) fn given(&self, name: &str) -> Given {
        let path = self.folder.display();
        let it = self.cases.given.get(name).unwrap_or_else(|| panic!("{path}: there is no [given.{name}]"));
        let url = it.url.as_deref().or(self.provider.default_url().map(Url::as_str)).expect("a url");
        for (param, value) in it.params.as_object().expect("params are a table") {
            let spec = self.provider.params.get(param).unwrap_or_else(|| panic!("{path}: no parameter {param}"));
            spec.accept(value).unwrap_or_else(|error| panic!("{path}: parameter {param} {error}"));
        }
        let mut given = Given::new(url, it.params.clone());
        let identity = given.identity.as_mut().unwrap();
        identity.username.clone_from(&it.username);
        if let Some(secret) = &it.secret {
            identity.secret = SecretParts::new(Secret::new(secret.as_str()));
        }
        given.mint_request.lifetime =
            it.lifetime.as_ref().map(|text| Span::from_std(humantime::parse_duration(text).unwrap()).unwrap());
        let parts = self.provider.secret_parts().into_iter().filter(|part| *part != crate::secret::TOKEN_PART);
        given.subject = Subject {
            id: Some(it.id.as_deref().unwrap_or("41").parse().unwrap()),
            name: Some(it.name.as_deref().unwrap_or("old name").to_owned()),
            facts: it.facts.clone(),
            secret: Some(parts.fold(SecretParts::new(Secret::new(SUBJECT)), |secret, part| {
                secret.with(part, Secret::new(format!("{part}-SECRET")))
            })),
        };
        given
    }

    /// Every request: a login first, a later page of a listing that asks for pages by itself, the steps before a
    /// revocation.
    fn requests(&self) -> String {
        let mut out = String::new();
        for name in self.cases.given.keys() {
            let mut given = self.given(name);
            let mut write = |what: &str, request: Result<Request, crate::outcome::Failure>| {
                let text = match request {
                    Ok(request) => {
                        assert_eq!(request.log_url, request.url.as_str());
                        told::request(&request)
                    }
                    Err(failure) => format!("{}: {}", failure.code.code(), failure.detail),
                };
                let _ = write!(out, "=== {name}: {what}\n{text}\n\n");
            };
            if self.provider.logs_in() {
                write("login", self.provider.render_login(&given.values()));
            }
            for (what, step) in self.discoveries() {
                write(&what, step.render(Operation::List, &given.values()));
            }
            for operation in self.operations() {
                if operation == Operation::Revoke {
                    for step in self.provider.before_revocation() {
                        write("before revoke", step.render(operation, &given.values()));
                    }
                }
                write(operation.word(), self.provider.render(operation, &given.values()));
                if operation == Operation::Mint {
                    for step in self.provider.after_mint() {
                        write("mint, then", step.render(operation, &given.values()));
                    }
                }
                if operation == Operation::List
                    && let Some(later) = self.later_page()
                {
                    given.page = Some(later);
                    write("list, a later page", self.provider.render(operation, &given.values()));
                    given.page = None;
                }
            }
        }
        out
    }

    /// Each parameter whose values can be found, under the name of the answers to it, with the definition that asks.
    pub(super) fn discoveries(&self) -> Vec<(String, Provider)> {
        let asking = |param: &str| (format!("{DISCOVER}{param}"), self.provider.discovering(param).unwrap());
        self.provider.discoverable().map(asking).collect()
    }

    /// The answers to an operation that are JSON: status, what it is, body.
    pub(super) fn answers_to(&self, word: &str) -> Vec<(u16, &str, Value)> {
        let cases = self.cases.answer.iter().filter(|case| case.to == word);
        let json = |case| Some(self.response(case)).and_then(|it| serde_json::from_slice(&it.body).ok());
        cases.filter_map(|case| Some((self.response(case).status, case.what.as_str(), json(case)?))).collect()
    }

    fn later_page(&self) -> Option<Cursor> {
        let call = self.provider.call(Operation::List).unwrap();
        match call.listing.as_ref().unwrap().style {
            Style::Whole | Style::NextUrl(_) | Style::Link => None,
            Style::Page { .. } => Some(Cursor::Number(7)),
            Style::Offset { .. } => Some(Cursor::Offset(70)),
            Style::Cursor(_) => Some(Cursor::Token("next page".to_owned())),
        }
    }

    fn response(&self, case: &Answer) -> Response {
        let Some(file) = &case.file else {
            let mut response = answer(case.status, &[], &Value::String(case.body.clone()));
            for (name, value) in &case.headers {
                let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
                response.headers.append(name, HeaderValue::from_str(value).unwrap());
            }
            return response;
        };
        recorded(&self.folder.join(format!("{file}.json")))
    }

    fn told(&self, case: &Answer) -> Told {
        let (given, response) = (self.given(&case.given), self.response(case));
        if case.to == LOGIN {
            return told::login(&self.provider, &given, &response);
        }
        if case.to == BEGINS {
            return told::begun(&self.provider, &given, &response);
        }
        if let Some(param) = case.to.strip_prefix(DISCOVER) {
            return told::discovered(&self.provider, param, &given, &response);
        }
        let operation = Operation::OF_PROVIDERS.into_iter().find(|operation| operation.word() == case.to);
        let operation =
            operation.unwrap_or_else(|| panic!("{}: \"{}\" answers no operation", self.folder.display(), case.what));
        told::answer(&self.provider, operation, &given, &response)
    }
}

/// The answer of a recorded exchange.
pub(super) fn recorded(path: &Path) -> Response {
    let text = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let exchange: Value = serde_json::from_slice(&text).unwrap();
    let response = &exchange["response"];
    let status = response["status"].as_u64().unwrap().try_into().unwrap();
    let mut answer = answer(status, &[], &response["body"]);
    for (name, value) in response["headers"].as_object().unwrap() {
        let value = HeaderValue::from_str(value.as_str().unwrap()).unwrap();
        answer.headers.insert(HeaderName::from_bytes(name.as_bytes()).unwrap(), value);
    }
    answer
}

fn regenerating() -> bool {
    std::env::var_os(REGENERATE).is_some()
}

#[test]
fn every_file_of_a_definition_is_shipped_and_has_a_folder_of_fixtures() {
    let names = |directory: &Path, suffix: &str| -> BTreeSet<String> {
        let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name());
        let names = entries.map(|name| name.into_string().unwrap());
        names.filter_map(|name| name.strip_suffix(suffix).map(str::to_owned)).collect()
    };
    let builtin = Definitions::builtin();
    for provider in shipped() {
        let same = builtin.get(provider.name.as_str()).is_some_and(|builtin| *builtin == *provider);
        assert!(same, "{} is not among the built-in definitions", provider.name);
    }
    let shipped: BTreeSet<String> = builtin.names_of(false).map(str::to_owned).collect();
    let stores: BTreeSet<String> = builtin.names_of(true).map(str::to_owned).collect();
    for (folder, listed) in [("config/providers", &shipped), ("config/stores", &stores)] {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        assert_eq!(names(&directory, ".toml"), *listed, "files in {folder} and the list of built-in definitions");
    }
    let mut folders = names(&root(), "");
    folders.remove("README.md");
    assert_eq!(folders, shipped, "folders of fixtures and definitions");
}

#[test]
fn requests_are_as_written_down() {
    for fixture in fixtures() {
        let path = fixture.folder.join("requests.golden");
        let requests = fixture.requests();
        if regenerating() {
            std::fs::write(&path, &requests).unwrap();
        }
        let golden = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(requests, golden, "{} (written anew with {REGENERATE}=1)", path.display());
    }
}

#[test]
fn answers_come_to_what_is_wanted() {
    let mut wrong = Vec::new();
    for fixture in fixtures() {
        let found: Vec<String> = fixture.cases.answer.iter().map(|case| fixture.told(case).line).collect();
        for (case, found) in fixture.cases.answer.iter().zip(&found) {
            if case.wanted != *found {
                wrong.push(format!(
                    "{}, {}, {}\n  wanted {}\n  found  {found}",
                    fixture.provider.name, case.to, case.what, case.wanted
                ));
            }
        }
        if regenerating() {
            rewrite(&fixture.folder.join("cases.toml"), &found);
        }
    }
    assert!(wrong.is_empty() || regenerating(), "{}", wrong.join("\n"));
}

/// Puts `lines` in place of the `wanted` lines of a file of cases.
fn rewrite(path: &Path, lines: &[String]) {
    let text = std::fs::read_to_string(path).unwrap();
    let mut fresh = lines.iter();
    let mut out = String::new();
    for line in text.lines() {
        if line.starts_with("wanted") {
            let _ = writeln!(out, "wanted = {}", toml::Value::from(fresh.next().unwrap().as_str()));
        } else {
            out.push_str(line);
            out.push('\n');
        }
    }
    assert!(fresh.next().is_none(), "each answer of {} has a line that begins with `wanted`", path.display());
    std::fs::write(path, out).unwrap();
}

#[test]
fn each_operation_is_seen_to_succeed_and_to_fail() {
    for fixture in fixtures() {
        let mut seen = BTreeSet::new();
        for case in &fixture.cases.answer {
            let told = fixture.told(case);
            seen.insert((case.to.clone(), told.well));
            assert!(told.well || !told.line.contains("SECRET") || told.line.contains("rejection"), "{}", told.line);
        }
        let login = fixture.provider.logs_in().then_some(LOGIN);
        let begins = (!fixture.provider.after_mint().is_empty()).then_some(BEGINS);
        let words = fixture.operations().map(Operation::word).chain(login).chain(begins).map(str::to_owned);
        for word in words.chain(fixture.discoveries().into_iter().map(|(what, _)| what)) {
            for well in [true, false] {
                let what = if well { "that does well" } else { "that fails" };
                assert!(seen.contains(&(word.clone(), well)), "{}: no answer to {word} {what}", fixture.provider.name);
            }
        }
    }
}

#[test]
fn a_token_that_is_not_accepted_is_dead_and_one_that_cannot_be_asked_about_is_not() {
    for fixture in fixtures().iter().filter(|fixture| fixture.provider.has(Operation::Verify)) {
        let verify = |response: &Response| {
            told::answer(&fixture.provider, Operation::Verify, &fixture.given("usual"), response).line
        };
        let name = &fixture.provider.name;
        for response in [
            answer(401, &[], &json!("<html>proxy</html>")),
            answer(500, &[], &json!({})),
            answer(502, &[], &json!("<html>bad gateway</html>")),
            answer(429, &[("retry-after", "9")], &json!("slow down")),
            answer(302, &[("location", "/login")], &Value::Null),
            answer(200, &[], &json!("<html>maintenance</html>")),
        ] {
            let line = verify(&response);
            assert!(line.starts_with("later, "), "{name}: {} came to: {line}", response.status);
        }
    }
}

#[test]
fn a_mint_without_a_clear_answer_is_in_doubt() {
    for fixture in fixtures().iter().filter(|fixture| fixture.provider.has(Operation::Mint)) {
        for response in [
            answer(500, &[], &json!({})),
            answer(504, &[], &json!("<html>gateway timeout</html>")),
            answer(200, &[], &json!("<html>maintenance</html>")),
            answer(200, &[], &Value::Null),
            answer(201, &[], &json!({})),
        ] {
            let line = told::answer(&fixture.provider, Operation::Mint, &fixture.given("usual"), &response).line;
            let name = &fixture.provider.name;
            // An answer that lacks even the envelope of a success may count as a clear refusal by the definition.
            let doubted = line.starts_with("ambiguous, ") || line.starts_with("refused, rejected: HTTP 201");
            assert!(doubted, "{name}: {} came to: {line}", response.status);
        }
    }
}

#[test]
fn the_example_of_a_definition_is_an_inventory() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().display();
    // Examples name an authority of another machine.
    let authority = directory.path().join("authority.pem");
    let certificate = rcgen::generate_simple_self_signed(vec!["example.com".to_owned()]).unwrap().cert;
    std::fs::write(&authority, certificate.pem()).unwrap();
    let definitions = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/providers");
    // What others extend, and each definition for the time of its example: reading all of them each time takes long.
    let needed = directory.path().join("providers");
    std::fs::create_dir(&needed).unwrap();
    let bases = ["commvault.toml", "netbox-token.toml"];
    for base in bases {
        std::fs::copy(definitions.join(base), needed.join(base)).unwrap();
    }
    for provider in shipped() {
        let file = format!("{}.toml", provider.name);
        std::fs::copy(definitions.join(&file), needed.join(&file)).unwrap();
        let path = directory.path().join("patrold.toml");
        let daemon = format!("[daemon]\nproviders = \"{}\"\nstate-dir = \"{state}\"\n", needed.display());
        let example = provider.example.replace("/etc/patrold/cluster-ca.pem", &authority.display().to_string());
        std::fs::write(&path, format!("{example}\n{daemon}control = \"{state}/control\"\n")).unwrap();
        let loaded = crate::inventory::load(&path, &Environment::default(), now());
        let problems = loaded.report.problems();
        // The examples leave out who gets the token, and some need no rule besides the expiry.
        let fine = |problem: &&Problem| {
            let help = problem.help.as_deref().unwrap_or_default();
            let known = ["has no store", "is renewed in place"];
            known.iter().any(|known| problem.message.contains(known))
                || help.starts_with("its expiry will be read from provider")
        };
        let told = problems.iter().filter(|problem| !fine(problem));
        let told: Vec<_> = told.map(|problem| loaded.report.line(problem)).collect();
        assert!(told.is_empty(), "{}: {told:#?}", provider.name);
        let inventory = loaded.inventory.unwrap();
        let mut tokens = inventory.tokens.values();
        assert!(tokens.next().is_some() && tokens.all(|token| token.account.provider.name == provider.name));
        if !bases.contains(&file.as_str()) {
            std::fs::remove_file(needed.join(&file)).unwrap();
        }
    }
}

#[test]
fn definitions_tell_what_people_need_to_know() {
    for provider in shipped() {
        let name = &provider.name;
        assert!(!provider.docs.is_empty() && !provider.title.is_empty(), "{name}");
        assert!(provider.docs.iter().all(|link| link.starts_with("https://")), "{name}");
        assert!(!provider.credential.is_empty() && !provider.old_token.is_empty(), "{name}");
        assert!(provider.params.values().all(|param| !param.about.is_empty()), "{name}");
        let required = provider.params.values().filter(|param| param.default.is_none() && param.choices.is_empty());
        for param in required {
            assert!(param.example.is_some(), "{name}: a parameter without an example: {}", param.about);
        }
    }
    let mut report = Report::new();
    Definitions::load(None, &mut report);
    assert_eq!(report.render(), "", "the built-in definitions are sound");
}
