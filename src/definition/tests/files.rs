//! Files of definitions: the shipped ones are sound, and faults have places.

use std::collections::BTreeSet;

use toml::de::DeTable;

use super::*;
use crate::document::{Reader, Report};

#[test]
fn definitions_say_what_they_can_do() {
    let can = |name: &str| provider(name).capabilities();
    let (awx, pointone, commvault) = (can("awx"), can("pointone"), can("commvault"));
    assert!(!awx.chooses_lifetime && awx.marks && awx.has_id && awx.revokes && !awx.renews && awx.overlap);
    assert!(pointone.chooses_lifetime && pointone.marks && !pointone.has_id && !pointone.revokes);
    assert!(!commvault.lists && !commvault.marks && commvault.renews && commvault.unique_name);
    assert!(!commvault.renewal_overlaps && commvault.overlap && commvault.expiry_known);
    assert_eq!(provider("commvault").secret_parts(), ["token", "refresh_token"]);
    assert_eq!(provider("awx").secret_parts(), ["token"]);
    assert_eq!(provider("awx").listing_params(), BTreeSet::from(["user_id".to_owned()]));
    assert_eq!(provider("pointone").listing_params(), BTreeSet::from(["dead_statuses".to_owned()]));
    assert_eq!(provider("commvault").listing_params(), BTreeSet::new());
    assert_eq!(provider("awx").mint_settle(), Span::minutes(2));
    assert_eq!(provider("pointone").mint_settle(), Span::seconds(60));
    assert_eq!(provider("commvault").on_timeout(Operation::Renew), OnTimeout::NeverRetry);
    assert_eq!(provider("commvault").on_timeout(Operation::Mint), OnTimeout::ListFirst);
    assert_eq!(provider("awx").role(Operation::Verify), Role::Subject);
    assert_eq!((awx.max_live, can("okta-client-secret").max_live), (None, Some(2)));
    assert_eq!(provider("pointone").default_url().unwrap().as_str(), "https://graphql.pointonenav.com/");
}

/// A sound definition to break.
const SOUND: &str = r#"[provider]
name = "own"
[params.project]
type = "string"
[auth.form.key]
headers = { Key = "{{ cred.secret }}" }
[mint]
method = "POST"
url = "{{ base_url }}/projects/{{ params.project }}/tokens"
json = { name = "{{ want.name }}" }
[mint.capture]
secret = "/token"
"#;

#[test]
#[allow(clippy::too_many_lines, reason = "one table")]
fn faults_are_reported_where_they_stand() {
    for (what, old, new, wanted) in [
        ("sound", "", "", ""),
        ("unknown key", "method =", "methid =", "8:1: unknown key `methid` in [mint] (did you mean `method`?)"),
        (
            "unknown table",
            "[mint]",
            "[mimt]\n[mint]",
            "7:2: unknown key `mimt` in the definition (did you mean `mint`?)",
        ),
        (
            "unknown parameter",
            "{{ params.project }}",
            "{{ params.projekt }}",
            "9:7: the template does not work: there is no parameter `projekt` (did you mean `params.project`?)",
        ),
        (
            "unknown value",
            "want.name",
            "want.mane",
            "10:17: the template does not work: there is no value `want.mane` (did you mean `want.name`?)",
        ),
        (
            "value of another operation",
            "want.name",
            "old.id",
            "10:17: the template does not work: `old` is not known here",
        ),
        (
            "unknown filter",
            "want.name",
            "want.name | uper",
            "10:17: the template does not work: there is no filter `uper` (known: rfc3339, date, naive_utc, utc_text, epoch, epoch_ms, plus_days, seconds, hours, days, b64, b64url, json, line, last_segment, path, sealed_box, sql_ident, sql_string, angles, raw)",
        ),
        (
            "misspelt filter",
            "want.name",
            "want.expires | dat",
            "10:17: the template does not work: there is no filter `dat` (did you mean `date`?)",
        ),
        (
            "filter of the wrong kind",
            "want.name",
            "want.name | date",
            "10:17: the template does not work: `want.name | date`: invalid operation (is no moment)",
        ),
        ("open expression", "{{ want.name }}", "{{ want.name", "10:17: the template does not work: `{{` without `}}`"),
        (
            "statement",
            "{{ want.name }}",
            "{% if x %}",
            "10:17: the template does not work: `{%` has no meaning here, only `{{ expression }}` has",
        ),
        (
            "secret in an address",
            "{{ params.project }}",
            "{{ cred.secret }}",
            "9:7: a secret must not be part of an address: it would end up in logs",
        ),
        (
            "another host",
            "{{ base_url }}/",
            "https://evil.example.com/",
            "9:7: an address begins with `{{ base_url }}`: requests go to the account's own host only",
        ),
        (
            "query in an address",
            "/tokens\"",
            "/tokens?a=b\"",
            "9:7: what comes after a question mark belongs into `query`",
        ),
        (
            "no pointer",
            "\"/token\"",
            "\"data.token\"",
            "12:10: a JSON pointer begins with a slash: did you mean \"/data/token\"?",
        ),
        ("no secret", "secret = \"/token\"", "", "7:1: [mint] must say in `capture` where the `secret` stands"),
        (
            "framing header",
            "headers = { Key",
            "headers = { Host",
            "6:13: the header `host` is not for a definition to set",
        ),
        (
            "no form",
            "[auth.form.key]\nheaders = { Key = \"{{ cred.secret }}\" }\n",
            "",
            "5:1: [mint] needs a form of authentication in [auth.form]",
        ),
        (
            "bad parameter type",
            "type = \"string\"",
            "type = \"sting\"",
            "4:8: `type` of [params.project] cannot be \"sting\" (did you mean \"string\"? valid: url, string, integer, bool, list, json)",
        ),
        (
            "bad default",
            "type = \"string\"",
            "type = \"integer\"\ndefault = \"x\"",
            "5:11: parameter `project` must be a whole number",
        ),
        (
            "bad name",
            "name = \"own\"",
            "name = \"o w n\"",
            "2:8: \"o w n\" is not a name for a definition: only letters, digits, '.', '_' and '-' are allowed",
        ),
        (
            "room for no successor",
            "name = \"own\"",
            "name = \"own\"\nmax-live = 1",
            "3:12: `max-live` of [provider] must be 2 or more: a new token lives beside the old one for a while (where there is but one, leave out [mint] and let [renew] replace it in place)",
        ),
        (
            "a mint that would be sent again",
            "[mint]\n",
            "[mint]\non-timeout = \"retry\"\n",
            "8:14: `on-timeout` of [mint] cannot be \"retry\" (valid: list-first)",
        ),
        (
            "a renewal that would be sent again blindly",
            "[mint]\n",
            "[renew]\nurl = \"{{ base_url }}/renew\"\non-timeout = \"retry\"\n[mint]\n",
            "9:14: `on-timeout` of [renew] cannot be \"retry\" (valid: list-first, never-retry)",
        ),
        ("not TOML", "[mint]", "[mint", "7:6: unclosed table, expected `]`"),
    ] {
        let mut report = Report::new();
        let provider = crate::definition::parse("own.toml", &SOUND.replacen(old, new, 1), &mut report);
        let problems = report.problems();
        let lines: Vec<String> = problems.iter().map(|problem| report.line(problem)).collect();
        let wanted = if wanted.is_empty() { String::new() } else { format!("own.toml:{wanted}") };
        assert!(lines.contains(&wanted) || (wanted.is_empty() && lines.is_empty()), "{what}: {lines:#?}");
        assert_eq!(provider.is_some(), lines.is_empty(), "{what}");
    }
}

#[test]
fn a_revocation_takes_the_secret_where_it_authenticates_by_it_or_names_it() {
    let revoke = |lines: &str| {
        let text = format!("[revoke]\nmethod = \"POST\"\nurl = \"{{{{ base_url }}}}/revoke\"\n{lines}\n");
        let mut report = Report::new();
        let source = report.add_source("patrold.toml", text);
        let (table, _) = DeTable::parse_recoverable(report.text(source));
        let reader = Reader::new(&report, source, &table, "operations of account \"gps\"");
        let supplied = crate::definition::with_operations(&provider("oauth2-client-credentials"), &reader);
        supplied.unwrap_or_else(|| panic!("{lines}: {}", report.render()))
    };
    for (lines, wanted) in [
        ("auth = \"subject\"", true),
        ("form = { token = \"{{ old.token }}\" }", true),
        ("form = { token = \"{{ old.id }}\" }", false),
        ("form = { secret = \"{{ cred.secret }}\", name = \"{{ old.name }}\" }", false),
    ] {
        assert_eq!(revoke(lines).revokes_by_secret(), wanted, "{lines}");
    }
    assert!(!provider("oauth2-client-credentials").revokes_by_secret(), "it has no revocation");
}

#[test]
fn an_operator_can_supply_what_a_definition_lacks() {
    let supply = |text: &str| {
        let mut report = Report::new();
        let source = report.add_source("patrold.toml", text);
        let (table, _) = DeTable::parse_recoverable(report.text(source));
        let reader = Reader::new(&report, source, &table, "operations of account \"gps\"");
        let supplied = crate::definition::with_operations(&provider("pointone"), &reader);
        reader.finish();
        (supplied, report.problems().iter().map(|problem| report.line(problem)).collect::<Vec<_>>())
    };
    let revoke = "[revoke]\nmethod = \"POST\"\nurl = \"{{ base_url }}/graphql\"\n\
                  graphql = { query = \"mutation R($n: String!) { r(name: $n) }\", variables = { n = \"{{ old.name }}\" } }\n";
    let (supplied, problems) = supply(revoke);
    let supplied = supplied.unwrap();
    assert!(problems.is_empty(), "{problems:?}");
    assert!(supplied.has(Operation::Revoke) && supplied.has(Operation::Mint));
    assert_ne!(supplied, *provider("pointone"));
    assert_eq!(supplied, supply(revoke).0.unwrap());
    let given = Given::pointone();
    let request = supplied.render(Operation::Revoke, &given.values()).unwrap();
    let body: Value = serde_json::from_slice(request.body.as_ref().unwrap()).unwrap();
    assert_eq!(body["variables"], json!({ "n": "old name" }));
    let (supplied, problems) = supply("[revoke]\nurl = \"{{ base_url }}/{{ old.nmae }}\"\n[revook]\n");
    assert!(supplied.is_none());
    assert_eq!(
        problems,
        [
            "patrold.toml:2:7: the template does not work: there is no value `old.nmae` (did you mean `old.name`?)",
            "patrold.toml:3:2: unknown key `revook` in operations of account \"gps\" (did you mean `revoke`?)",
        ]
    );
}

#[test]
fn built_in_definitions_can_be_read_and_are_called_like_their_files() {
    let builtin = Definitions::builtin();
    for name in builtin.names() {
        assert_eq!(builtin.get(name).unwrap().name.as_str(), name);
    }
}

#[test]
fn files_of_a_directory_add_and_replace() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    write("own.toml", SOUND);
    write("awx.toml", &SOUND.replace("\"own\"", "\"awx\""));
    write("notes.txt", "no definition");
    write(".own.toml.swp.toml", "broken");
    let mut report = Report::new();
    let definitions = Definitions::load(Some(directory.path()), &mut report);
    assert_eq!(report.render(), "");
    let builtin = Definitions::builtin();
    let added: Vec<_> = definitions.names().filter(|name| builtin.get(name).is_none()).collect();
    assert_eq!((added, definitions.names().count()), (vec!["own"], builtin.names().count() + 1));
    assert_eq!(definitions.get("awx").unwrap().source(), SOUND.replace("\"own\"", "\"awx\""));
    write("twice.toml", SOUND);
    Definitions::load(Some(directory.path()), &mut report);
    assert_eq!(report.errors(), 1);
    let mut report = Report::new();
    Definitions::load(Some(&directory.path().join("missing")), &mut report);
    assert_eq!(report.errors(), 1);
}

#[test]
fn parameters_are_checked_by_kind() {
    let awx = provider("awx");
    for (name, value, wanted) in [
        ("user_id", json!(7), Ok(())),
        ("user_id", json!("7"), Err("must be a whole number")),
        ("scope", json!("read write"), Ok(())),
        ("scope", json!("admin"), Err("must be one of \"read\", \"write\", \"read write\"")),
    ] {
        assert_eq!(awx.params[name].accept(&value), wanted.map_err(str::to_owned), "{name} = {value}");
    }
}
