//! Every definition that comes with patrold answers the questions of the linter, or says why not; and each question is
//! seen to be asked.

use super::fixtures::fixtures;
use super::*;
use crate::document::Report;
use crate::provider::question::Question;

#[test]
fn every_definition_answers_the_questions_or_says_why_not() {
    let mut told = Vec::new();
    for fixture in fixtures() {
        let provider = &fixture.provider;
        let mut report = Report::new();
        let source = report.add_source(format!("{}.toml", provider.name), provider.source());
        for (spot, finding) in definition::lint(provider, source, &report) {
            told.push(format!("{}: {}", report.place(spot), definition::words(&finding).0));
        }
    }
    assert!(told.is_empty(), "{}", told.join("\n"));
}

/// A definition without any open question.
const CLEAN: &str = r#"[provider]
name       = "clean"
title      = "Clean"
docs       = ["https://example.com"]
credential = "A key."
old-token  = "Stays."
example    = "x"
[params.scopes]
type = "list"
[params.group]
type     = "string"
optional = true
[lifetime]
min = "1h"
max = "90d"
[auth.form.key]
headers = { Key = "{{ cred.secret }}" }
[mint]
method  = "POST"
url     = "{{ base_url }}/keys"
json    = { name = "{{ want.name }}", ttl = "{{ want.ttl }}", scopes = "{{ params.scopes }}" }
name    = { longest = 100 }
settle  = "2m"
capture = { secret = "/key", id = "/id" }
[list]
url   = "{{ base_url }}/keys"
items = ""
item  = { id = "/id", name = "/name" }
[verify]
url = "{{ base_url }}/me"
[revoke]
method      = "DELETE"
url         = "{{ base_url }}/keys/{{ old.id }}"
gone-ok     = [404]
gone-expect = [{ at = "/message", equals = "no such key" }]
"#;

/// What the linter says of `text`: place and code.
fn told(text: &str) -> Vec<String> {
    let mut report = Report::new();
    let provider = definition::parse("own.toml", text, &mut report);
    let provider = provider.unwrap_or_else(|| panic!("{}", report.render()));
    let source = report.add_source("own.toml", text);
    let findings = definition::lint(&provider, source, &report).into_iter();
    let line = |(spot, finding)| {
        let (message, _) = definition::words(&finding);
        format!("{} {}", report.place(spot).trim_start_matches("own.toml:"), message.split(':').next().unwrap())
    };
    findings.map(line).collect()
}

#[test]
fn each_question_is_asked_where_it_is_open() {
    assert_eq!(told(CLEAN), Vec::<String>::new());
    let verify = "[verify]\nurl = \"{{ base_url }}/me\"\n";
    for (sentence, old, new, wanted) in [
        ("no page", "docs       = [\"https://example.com\"]\n", "", &["1:2 told"][..]),
        ("no inventory", "example    = \"x\"\n", "", &["1:2 example"]),
        (
            "no name in the listing",
            "item  = { id = \"/id\", name = \"/name\" }",
            "item = { id = \"/id\" }",
            &["28:1 marker"],
        ),
        (
            "a filter that may be left out",
            "items = \"\"",
            "items = \"\"\nquery = { q = \"{{ params.group }}\" }",
            &["10:9 filter"],
        ),
        ("no proof", verify, "", &["18:2 proof"]),
        ("no proof, and no time until it is listed", "settle  = \"2m\"", "settle = \"2m\"", &[]),
        (
            "no revocation",
            "[revoke]\nmethod      = \"DELETE\"\nurl         = \"{{ base_url }}/keys/{{ old.id }}\"\ngone-ok     = [404]\ngone-expect = [{ at = \"/message\", equals = \"no such key\" }]\n",
            "",
            &["18:2 end"],
        ),
        (
            "no status of what is gone",
            "gone-ok     = [404]\ngone-expect = [{ at = \"/message\", equals = \"no such key\" }]\n",
            "",
            &["31:2 gone"],
        ),
        ("any 404", "gone-expect = [{ at = \"/message\", equals = \"no such key\" }]\n", "", &["34:1 not-found"]),
        ("rights by default", "type = \"list\"", "type = \"list\"\ndefault = [\"all\"]", &["8:9 power"]),
        ("no length", "name    = { longest = 100 }\n", "", &["18:2 name"]),
        ("no shortest life", "min = \"1h\"\n", "", &["13:2 shortest-life"]),
        ("no longest life", "max = \"90d\"\n", "", &["13:2 longest-life"]),
        (
            "no sign of death",
            verify,
            "[verify]\nauth = \"account\"\nurl = \"{{ base_url }}/keys/{{ old.id }}\"\n",
            &["29:2 dead"],
        ),
        ("no end and no age", "ttl = \"{{ want.ttl }}\", ", "", &["18:2 age"]),
        (
            "errors with status 200",
            verify,
            "[verify]\nmethod = \"POST\"\nurl = \"{{ base_url }}/g\"\ngraphql = { query = \"{ me }\" }\n",
            &["1:2 errors"],
        ),
        (
            "a reason",
            "gone-expect = [{ at = \"/message\", equals = \"no such key\" }]\n",
            "[lint]\nnot-found = \"Nobody knows.\"\n",
            &[],
        ),
        ("a reason too many", "[verify]", "[lint]\nnot-found = \"Nobody knows.\"\n[verify]", &["30:1 not-found"]),
    ] {
        assert!(CLEAN.contains(old), "{sentence}");
        let found = told(&CLEAN.replacen(old, new, 1));
        assert_eq!(found, wanted, "{sentence}");
    }
    let neither = CLEAN.replacen(verify, "", 1).replacen("settle  = \"2m\"\n", "", 1);
    assert_eq!(told(&neither), ["18:2 proof", "18:2 settle"], "neither a proof nor a time until a token is listed");
    let extending = "[provider]\nname = \"mine\"\nextends = \"awx\"\ntitle = \"Mine\"\n";
    assert_eq!(told(extending), ["1:2 example"], "of what it extends, the reasons are taken over");
}

#[test]
fn reasons_are_known_by_the_codes_of_questions() {
    for (code, question) in Question::ALL {
        assert_eq!(question.code(), code);
    }
    let mut report = Report::new();
    let text = format!("{CLEAN}[lint]\nproofs = \"x\"\nmarker = \" \"\n");
    assert!(definition::parse("own.toml", &text, &mut report).is_none());
    let problems = report.problems();
    let lines: Vec<_> = problems.iter().map(|problem| report.line(problem)).collect();
    assert_eq!(
        lines,
        [
            "own.toml:37:1: unknown key `proofs` in [lint] (did you mean `proof`?)",
            "own.toml:38:10: `marker` of [lint] must be a reason in words",
        ]
    );
}
