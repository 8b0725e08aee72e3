//! Parameters that are there only beside certain values of others.

use super::*;
use crate::document::Report;

const BOUND: &str = r#"[provider]
name = "own"
[params.type]
type    = "string"
default = "user"
choices = ["user", "project", "group"]
[params.place]
type = "string"
when = { type = ["project", "group"] }
[params.login]
type     = "string"
optional = true
when     = { type = "user" }
[auth.form.key]
headers = { Key = "{{ cred.secret }}" }
[mint]
method = "POST"
url    = "{{ base_url }}/tokens"
json   = { type = "{{ params.type }}", place = "{{ params.place }}", login = "{{ params.login }}" }
[mint.capture]
secret = "/token"
"#;

fn read(text: &str) -> (Option<Provider>, Vec<String>) {
    let mut report = Report::new();
    let provider = crate::definition::parse("own.toml", text, &mut report);
    let lines = report.problems().iter().map(|problem| report.line(problem)).collect();
    (provider, lines)
}

#[test]
fn a_parameter_is_lacking_only_where_it_is_there() {
    let (provider, problems) = read(BOUND);
    assert!(problems.is_empty(), "{problems:?}");
    let provider = provider.unwrap();
    for (sentence, given, lacking, barred) in [
        ("by its default another parameter keeps it away", json!({}), &[][..], &["place"][..]),
        ("a value brings it up", json!({ "type": "group" }), &["place"], &["login"]),
        ("given, it lacks no more", json!({ "type": "project", "place": "x" }), &[], &["login"]),
        ("one that is optional never lacks", json!({ "type": "user" }), &[], &["place"]),
    ] {
        let given = given.as_object().unwrap().clone().into_iter().collect();
        let lacks: Vec<_> = provider.lacking(&given).into_iter().map(|(name, _)| name).collect();
        let away = |spec: &crate::provider::ParamSpec| spec.barred(&provider.params, &given).is_some();
        let kept: Vec<_> =
            provider.params.iter().filter(|(_, spec)| away(spec)).map(|(name, _)| name.as_str()).collect();
        assert_eq!((lacks.as_slice(), kept.as_slice()), (lacking, barred), "{sentence}");
    }
}

#[test]
fn conditions_that_cannot_hold_are_errors_at_their_place() {
    for (sentence, old, new, wanted) in [
        (
            "nobody declares the other one",
            "when = { type =",
            "when = { tpye =",
            "9:10: `when` of [params.place] names an unknown parameter `tpye` (did you mean `type`?)",
        ),
        (
            "the other one never has the value",
            "\"group\"] }",
            "\"team\"] }",
            "9:29: `type` must be one of \"user\", \"project\", \"group\"",
        ),
        (
            "no value is named",
            "[\"project\", \"group\"] }",
            "[] }",
            "9:17: `when` of [params.place] names no value of `type`",
        ),
        (
            "the other one may be away itself",
            "when     = { type = \"user\" }",
            "when     = { place = \"x\" }",
            "13:14: `when` of [params.login] names `place`, which has a `when` itself (name the parameter that both depend on)",
        ),
        (
            "it is no table",
            "when = { type = [\"project\", \"group\"] }",
            "when = \"type\"",
            "9:8: `when` must be a table, not text",
        ),
    ] {
        assert!(BOUND.contains(old), "{sentence}");
        let (provider, problems) = read(&BOUND.replacen(old, new, 1));
        assert!(problems.contains(&format!("own.toml:{wanted}")), "{sentence}: {problems:#?}");
        assert!(provider.is_none(), "{sentence}");
    }
}
