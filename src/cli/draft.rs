//! The text of an inventory that a command makes or changes. What people wrote in it stays, comments and order included.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value as Json;
use toml_edit::{Array, DocumentMut, InlineTable, Item, Table, Value, value};

/// The values of parameters, by name.
pub(super) type Given = BTreeMap<String, Json>;

/// One `[account.NAME]`.
#[derive(Clone, Copy, Debug)]
pub(super) struct AccountDraft<'a> {
    pub name: &'a str,
    pub provider: &'a str,
    pub url: Option<&'a str>,
    pub username: Option<&'a str>,
    pub ca_file: Option<&'a str>,
    pub params: &'a Given,
    /// Where the credential is, where that is not told by convention.
    pub credential: Option<&'a Path>,
}

/// One `[token.NAME]`.
#[derive(Clone, Copy, Debug)]
pub(super) struct TokenDraft<'a> {
    pub name: &'a str,
    pub account: &'a str,
    /// Keys with text, each left out where it has none.
    pub keys: &'a [(&'a str, Option<&'a str>)],
    pub params: &'a Given,
}

const HEAD: &str = "\
# The tokens that patrold keeps alive. `patrold add TOKEN` adds one, `patrold check` finds mistakes.

";

/// An inventory with nothing but this account.
pub(super) fn inventory(draft: &AccountDraft<'_>) -> String {
    let mut account = Table::new();
    account["provider"] = value(draft.provider);
    let keys = [("url", draft.url), ("username", draft.username)];
    for (key, text) in keys.into_iter().filter_map(|(key, text)| Some((key, text?))) {
        account[key] = value(text);
    }
    if let Some(path) = draft.credential {
        let key = if draft.username.is_some() { "password" } else { "credential" };
        account[key] = value(InlineTable::from_iter([("file", path.display().to_string())]));
    }
    if let Some(file) = draft.ca_file {
        account["tls"] = value(InlineTable::from_iter([("ca-file", file)]));
    }
    if !draft.params.is_empty() {
        account["params"] = value(params(draft.params));
    }
    let mut accounts = Table::new();
    accounts.set_implicit(true);
    accounts.insert(draft.name, Item::Table(account));
    let mut document = DocumentMut::new();
    document.insert("account", Item::Table(accounts));
    format!("{HEAD}{document}")
}

/// `text` with one more token at its end, in the form that its tokens have already. The error says why there is no place
/// for it.
pub(super) fn with_token(text: &str, draft: &TokenDraft<'_>) -> Result<String, String> {
    let mut document = parse(text)?;
    let mut token = Table::new();
    let listed = document.get("token").is_some_and(Item::is_array_of_tables);
    if listed {
        token["name"] = value(draft.name);
    }
    token["account"] = value(draft.account);
    for (key, text) in draft.keys.iter().filter_map(|(key, text)| Some((*key, (*text)?))) {
        token[key] = value(text);
    }
    if !draft.params.is_empty() {
        token["params"] = value(params(draft.params));
    }
    token.decor_mut().set_prefix("\n");
    // A table that is written out of order stands where it was read; a new one stands at the end.
    token.set_position(None);
    let tokens = document.entry("token").or_insert_with(|| {
        let mut tokens = Table::new();
        tokens.set_implicit(true);
        Item::Table(tokens)
    });
    match tokens {
        Item::ArrayOfTables(tokens) => tokens.push(token),
        Item::Table(tokens) => drop(tokens.insert(draft.name, Item::Table(token))),
        _ => return Err("`token` is written as a value: write [token.NAME] tables".to_owned()),
    }
    Ok(document.to_string())
}

/// A document to edit; the error says why it is none.
pub(super) fn parse(text: &str) -> Result<DocumentMut, String> {
    text.parse().map_err(|error: toml_edit::TomlError| error.message().to_owned())
}

fn params(given: &Given) -> InlineTable {
    given.iter().filter_map(|(name, json)| Some((name, toml(json)?))).collect()
}

/// TOML has no null; a parameter that has none is left out.
fn toml(json: &Json) -> Option<Value> {
    Some(match json {
        Json::Null => return None,
        Json::Bool(flag) => Value::from(*flag),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(number), _) => Value::from(number),
            (None, number) => Value::from(number?),
        },
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(items) => Value::Array(items.iter().filter_map(toml).collect::<Array>()),
        Json::Object(entries) => {
            let entries = entries.iter().filter_map(|(name, json)| Some((name, toml(json)?)));
            Value::InlineTable(entries.collect())
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_written_in_few_lines() {
        let params = Given::from([("user_id".to_owned(), Json::from(7))]);
        let draft = AccountDraft {
            name: "controller",
            provider: "awx",
            url: Some("https://awx.example.com"),
            username: Some("svc \"ci\""),
            ca_file: None,
            params: &params,
            credential: None,
        };
        let text = inventory(&draft);
        let body = text.strip_prefix(HEAD).unwrap();
        assert_eq!(
            body,
            "[account.controller]\nprovider = \"awx\"\nurl = \"https://awx.example.com\"\nusername = 'svc \"ci\"'\n\
             params = { user_id = 7 }\n"
        );
        let elsewhere = AccountDraft { credential: Some(Path::new("/proc/self/fd/3")), ..draft };
        assert!(inventory(&elsewhere).contains("password = { file = \"/proc/self/fd/3\" }"));
        let secret = AccountDraft { username: None, ..elsewhere };
        assert!(inventory(&secret).contains("credential = { file = \"/proc/self/fd/3\" }"));
    }

    #[test]
    fn a_token_is_added_and_everything_else_stays() {
        const COMMENTED: &str = "# mine\ninclude = []   # none yet\n\n[account.a]   # one\nprovider='awx'\n";
        let none = Given::new();
        let keys = [("file", Some("ci.token")), ("env", None)];
        let draft = TokenDraft { name: "ci", account: "a", keys: &keys, params: &none };
        let text = with_token(COMMENTED, &draft).unwrap();
        assert_eq!(text, format!("{COMMENTED}\n[token.ci]\naccount = \"a\"\nfile = \"ci.token\"\n"));
        let params = Given::from([("scopes".to_owned(), serde_json::json!(["a", "b"]))]);
        let more = with_token(&text, &TokenDraft { name: "b", params: &params, ..draft }).unwrap();
        assert!(more.starts_with(&text) && more.ends_with("params = { scopes = [\"a\", \"b\"] }\n"), "{more}");
        let listed = format!("{COMMENTED}\n[[token]]\nname = \"x\"   # first\naccount = \"a\"\n");
        let text = with_token(&listed, &draft).unwrap();
        assert_eq!(text, format!("{listed}\n[[token]]\nname = \"ci\"\naccount = \"a\"\nfile = \"ci.token\"\n"));
        assert!(with_token("token = 7\n", &draft).unwrap_err().contains("[token.NAME]"));
        assert!(with_token("token = ", &draft).is_err());
    }
}
