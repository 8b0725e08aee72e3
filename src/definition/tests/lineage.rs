//! Definitions that extend others.

use std::path::Path;

use super::*;
use crate::document::Report;
use crate::outcome::Outcome;

/// What a directory with `files` comes to; its path is left out of what the report says.
fn load(files: &[(&str, &str)]) -> (Definitions, Vec<String>) {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(directory.path().join(name), text).unwrap();
    }
    let mut report = Report::new();
    let definitions = Definitions::load(Some(directory.path()), &mut report);
    (definitions, lines(&report, directory.path()))
}

fn lines(report: &Report, directory: &Path) -> Vec<String> {
    let directory = format!("{}/", directory.display());
    report.problems().iter().map(|problem| report.line(problem).replace(&directory, "")).collect()
}

/// A definition called `name` that extends `base`.
fn over(name: &str, base: &str, more: &str) -> String {
    format!("[provider]\nname = \"{name}\"\nextends = \"{base}\"\n{more}")
}

fn rendered(provider: &Provider, operation: Operation) -> String {
    let given = Given::new("https://awx.example.com", json!({ "user_id": 7, "scope": "write" }));
    told::request(&provider.render(operation, &given.values()).unwrap())
}

#[test]
fn what_a_file_does_not_say_is_that_of_the_definition_it_extends() {
    let (definitions, problems) = load(&[("plain.toml", &over("plain", "awx", ""))]);
    assert_eq!(problems, [""; 0]);
    let (plain, awx) = (definitions.get("plain").unwrap(), provider("awx"));
    for operation in [Operation::Mint, Operation::List, Operation::Verify, Operation::Revoke] {
        assert_eq!(rendered(&plain, operation), rendered(&awx, operation));
    }
    assert_eq!(plain.capabilities(), awx.capabilities());
    assert_eq!((plain.title.as_str(), plain.extends.as_str()), (awx.title.as_str(), "awx"));
    assert_eq!(plain.mint_settle(), awx.mint_settle());
    // A file that nobody checked is not checked, whatever it extends.
    assert_eq!((plain.checked, awx.checked), (Checked::Docs, Checked::Live));
    assert_ne!(*plain, *awx);
}

#[test]
fn built_in_definitions_extend_each_other() {
    let base = provider("commvault");
    let login = provider("commvault-login");
    assert!(login.logs_in() && !base.logs_in());
    assert_eq!((login.extends.as_str(), login.capabilities()), ("commvault", base.capabilities()));
    // They may be extended further, and extend what they were written for, whatever a file puts in its place.
    let own = over("commvault", "awx", "");
    let further = over("further", "commvault-login", "[params.session_minutes]\ndefault = 5\n");
    let itself = over("commvault-login", "commvault-login", "[mint]\nsettle = \"9m\"\n");
    for (name, file, settle) in
        [("further", further, base.mint_settle()), ("commvault-login", itself, Span::minutes(9))]
    {
        let (definitions, problems) = load(&[("own.toml", &own), ("other.toml", &file)]);
        assert_eq!(problems, [""; 0]);
        let found = definitions.get(name).unwrap();
        assert!(found.logs_in() && found.has(Operation::Renew), "{name}");
        assert_eq!(found.mint_settle(), settle, "{name}");
        assert!(!definitions.get("commvault").unwrap().has(Operation::Renew));
    }
}

#[test]
fn an_operation_with_an_address_takes_the_place_of_the_whole_and_one_without_changes_keys() {
    let changes = "[mint]\nsettle = \"9m\"\n[verify]\nurl = \"{{ base_url }}/api/v2/whoami/\"\nok = [204]\n\
                   [params.scope]\ndefault = \"read\"\n[auth.form.bearer]\nheaders = { X-Key = \"{{ cred.secret }}\" }\n";
    let (definitions, problems) = load(&[("changed.toml", &over("changed", "awx", changes))]);
    assert_eq!(problems, [""; 0]);
    let (changed, awx) = (definitions.get("changed").unwrap(), provider("awx"));
    assert_eq!(changed.mint_settle(), Span::minutes(9));
    let keyed = |text: String| text.replace("authorization: Bearer ", "x-key: ");
    let order = |text: String| {
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(
        order(rendered(&changed, Operation::Mint)),
        order(keyed(rendered(&awx, Operation::Mint))),
        "the same request, in the other form"
    );
    assert!(rendered(&changed, Operation::Verify).starts_with("GET https://awx.example.com/api/v2/whoami/\n"));
    assert_eq!(changed.params["scope"].default, Some(json!("read")));
    assert_eq!(changed.params["scope"].choices, awx.params["scope"].choices);
    // The body predicate of the whole operation is gone with it.
    let empty = Response { status: 204, headers: HeaderMap::new(), body: Zeroizing::new(Vec::new()) };
    let given = Given::new("https://awx.example.com", json!({ "user_id": 7, "scope": "write" }));
    let (now, values) = (now(), given.values());
    assert!(matches!(changed.read_verify(&values, &empty, now), Outcome::Done(Verdict::Alive { .. })));
    assert!(!matches!(awx.read_verify(&values, &empty, now), Outcome::Done(_)));
}

#[test]
fn a_token_that_ends_itself_and_is_not_accepted_is_gone_where_it_is_all_of_the_secret() {
    let pair = "parts = { refresh_token = \"/refresh\" }\n";
    let other = "[revoke]\nauth = \"account\"\nmethod = \"DELETE\"\nurl = \"{{ base_url }}/x/{{ old.token }}\"\n";
    let body = json!({ "message": "401 Unauthorized" });
    for (sentence, more, status, wanted) in [
        ("it is gone", String::new(), 401, "already"),
        ("it may not, which is something else", String::new(), 403, "refused, forbidden"),
        ("what renews it may live on", format!("[renew.capture]\n{pair}"), 401, "refused, unauthorized"),
        (
            "it is the account that is not accepted",
            other.replace("/x/{{ old.token }}", "/x"),
            401,
            "refused, unauthorized",
        ),
    ] {
        let (definitions, problems) = load(&[("own.toml", &over("own", "gitlab-pat", &more))]);
        assert_eq!(problems, Vec::<String>::new(), "{sentence}");
        let provider = definitions.get("own").unwrap();
        let found = told::answer(&provider, Operation::Revoke, &Given::awx(), &answer(status, &[], &body)).line;
        assert!(found.starts_with(wanted), "{sentence}: {found}");
    }
}

#[test]
fn a_file_can_do_without_operations_and_can_take_the_place_of_what_it_extends() {
    let files = [
        ("a.toml", over("awx", "awx", "without = [\"revoke\"]\n")),
        // Of what stands in the directory, not of the built-in one.
        ("b.toml", over("second", "awx", "title = \"Second\"\n")),
        ("c.toml", over("third", "second", "")),
    ];
    let files: Vec<_> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let (definitions, problems) = load(&files);
    assert_eq!(problems, [""; 0]);
    for name in ["awx", "second", "third"] {
        let found = definitions.get(name).unwrap();
        assert!(!found.has(Operation::Revoke) && found.has(Operation::List), "{name}");
    }
    assert_eq!(definitions.get("third").unwrap().title, "Second");
    assert!(provider("awx").has(Operation::Revoke));
    // What a base says is part of what a definition is: a change there is a change here.
    let (changed, _) = load(&[files[0], ("b.toml", &over("second", "awx", "title = \"2\"\n")), files[2]]);
    assert_ne!(definitions.get("third"), changed.get("third"));
    assert_eq!(definitions.get("awx"), changed.get("awx"));
}

#[test]
fn the_example_of_the_page_for_authors_works() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/providers/README.md");
    let page = std::fs::read_to_string(page).unwrap();
    let example = page.split("```toml\n").nth(2).unwrap();
    let (definitions, problems) = load(&[("example.toml", example.split("```").next().unwrap())]);
    assert_eq!(problems, [""; 0]);
    let found = definitions.get("awx-behind-proxy").unwrap();
    assert!(!found.has(Operation::List) && found.has(Operation::Revoke));
    assert_eq!((found.mint_settle(), &found.params["scope"].default), (Span::minutes(10), &Some(json!("read"))));
    assert!(rendered(&found, Operation::Verify).starts_with("GET https://awx.example.com/proxy/me/\n"));
}

#[test]
fn faults_are_told_where_they_stand() {
    let broken = "[mint]\nmethid = \"POST\"\n";
    let (circle_a, circle_b, into) = (over("a", "b", ""), over("b", "a", ""), over("into", "a", ""));
    let unknown = over("x", "awxx", "");
    let itself = over("own", "own", "");
    let without = over("short", "awx", "without = [\"list\", \"lits\"]\n");
    let (bad, on_bad) = (over("bad", "awx", broken), over("on-bad", "bad", ""));
    // The revocation of awx needs nothing that this takes away; that of commvault needs a part of the secret.
    let apart = over("apart", "awx", "[params.user_id]\ntype = \"string\"\ndefault = 7\n[revoke]\ngone-ok = [\"x\"]\n");
    let elsewhere =
        over("elsewhere", "commvault", "[mint.capture]\nsecret = \"/x\"\n[renew.capture]\nsecret = \"/x\"\n");
    for (what, files, wanted) in [
        (
            "a circle",
            vec![("a.toml", &circle_a), ("b.toml", &circle_b), ("into.toml", &into)],
            vec![
                "a.toml:3:11: `extends` leads in a circle: a, b, a",
                "b.toml:3:11: `extends` leads in a circle: b, a, b",
            ],
        ),
        (
            "an unknown name",
            vec![("x.toml", &unknown)],
            vec!["x.toml:3:11: `extends` names an unknown definition \"awxx\" (did you mean \"awx\"?)"],
        ),
        (
            "itself",
            vec![("own.toml", &itself)],
            vec![
                "own.toml:3:11: `extends` names an unknown definition \"own\" (it can extend a built-in definition of its own name, and there is none)",
            ],
        ),
        (
            "a key, told once",
            vec![("bad.toml", &bad), ("on.toml", &on_bad)],
            vec!["bad.toml:5:1: unknown key `methid` in [mint] (did you mean `method`?)"],
        ),
        (
            "no operation",
            vec![("short.toml", &without)],
            vec![
                "short.toml:4:20: `without` of [provider] names \"lits\", which is not an operation (valid: mint, list, verify, renew, revoke)",
            ],
        ),
        (
            "values",
            vec![("apart.toml", &apart)],
            vec![
                "apart.toml:6:11: parameter `user_id` must be text in quotes",
                "apart.toml:8:12: `gone-ok` is a list of HTTP statuses",
            ],
        ),
        (
            "what the rest needs",
            vec![("elsewhere.toml", &elsewhere)],
            vec![
                "elsewhere.toml:3:11: what this file changes does not go together with the rest of \"commvault\"",
                "built-in commvault.toml:99:64: the template does not work: there is no value `old.refresh_token`",
            ],
        ),
    ] {
        let files: Vec<_> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
        let (_, problems) = load(&files);
        assert_eq!(problems.len(), wanted.len(), "{what}: {problems:#?}");
        for (problem, wanted) in problems.iter().zip(wanted) {
            assert!(problem.starts_with(wanted), "{what}: {problems:#?}");
        }
    }
}
