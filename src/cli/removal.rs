//! Takes a token out of the text of an inventory. What people wrote about anything else stays, comments and order included.

use toml_edit::{ArrayOfTables, DocumentMut, Item, RawString, Table, TableLike};

use super::draft::parse;

/// Whether `text` has the entry of the token called `name`.
pub(super) fn has_token(text: &str, name: &str) -> bool {
    let Ok(document) = parse(text) else { return false };
    match document.get("token") {
        Some(Item::ArrayOfTables(listed)) => listed.iter().any(|token| is_called(token, name)),
        Some(tokens) => tokens.as_table_like().is_some_and(|tokens| tokens.contains_key(name)),
        None => false,
    }
}

/// `text` without the token called `name`, and whether its account stays as an account of its own: the token had it alone,
/// and it is asked once more when the token is revoked. The error says why the entry cannot be taken out.
pub(super) fn without_token(text: &str, name: &str) -> Result<(String, bool), String> {
    let mut document = parse(text)?;
    let gone = || format!("it has no token {name}");
    let removed = match document.get_mut("token").ok_or_else(gone)? {
        Item::ArrayOfTables(listed) => remove_listed(listed, name).ok_or_else(gone)?,
        tokens => {
            let tokens =
                tokens.as_table_like_mut().ok_or("`token` is written as a value: write [token.NAME] tables")?;
            tokens.remove(name).ok_or_else(gone)?
        }
    };
    if is_empty(&document, "token") {
        document.remove("token");
    }
    if let Some(kept) = removed.as_table().map(of_others).filter(|kept| !kept.trim().is_empty()) {
        hand_on(&mut document, &kept, removed.as_table().and_then(Table::position));
    }
    let account = removed.as_table_like().and_then(|token| token.get("account")).filter(|it| it.is_table_like());
    let stays = account.is_some();
    if let Some(account) = account {
        keep_account(&mut document, name, account)?;
    }
    Ok((document.to_string(), stays))
}

fn is_called(token: &Table, name: &str) -> bool {
    token.get("name").and_then(Item::as_str) == Some(name)
}

fn remove_listed(listed: &mut ArrayOfTables, name: &str) -> Option<Item> {
    let at = listed.iter().position(|token| is_called(token, name))?;
    let removed = listed.get(at).cloned()?;
    listed.remove(at);
    Some(Item::Table(removed))
}

fn is_empty(document: &DocumentMut, key: &str) -> bool {
    match document.get(key) {
        Some(Item::ArrayOfTables(listed)) => listed.is_empty(),
        Some(tokens) => tokens.as_table_like().is_some_and(TableLike::is_empty),
        None => false,
    }
}

/// The comments above a table that are not about it: an empty line separates them.
fn of_others(table: &Table) -> String {
    let above = table.decor().prefix().and_then(RawString::as_str).unwrap_or_default();
    above.rfind("\n\n").map_or("", |end| &above[..=end]).to_owned()
}

/// Puts comments before the table that followed, else at the end.
fn hand_on(document: &mut DocumentMut, comments: &str, position: Option<isize>) {
    if let Some(next) = following(document.as_table_mut(), position) {
        let own = next.decor().prefix().and_then(RawString::as_str).unwrap_or_default();
        let text = format!("{comments}{own}");
        next.decor_mut().set_prefix(text);
        return;
    }
    let own = document.trailing().as_str().unwrap_or_default();
    let text = format!("{comments}{own}");
    document.set_trailing(text);
}

/// The table with the next position after `after`.
fn following(table: &mut Table, after: Option<isize>) -> Option<&mut Table> {
    fn least(table: &Table, after: isize, found: &mut Option<isize>) {
        for (_, item) in table {
            let tables: Vec<&Table> = match item {
                Item::Table(table) => vec![table],
                Item::ArrayOfTables(listed) => listed.iter().collect(),
                _ => Vec::new(),
            };
            for table in tables {
                if let Some(position) = table.position().filter(|position| *position > after && !table.is_implicit()) {
                    *found = Some(found.map_or(position, |least: isize| least.min(position)));
                }
                least(table, after, found);
            }
        }
    }
    fn at(table: &mut Table, wanted: isize) -> Option<&mut Table> {
        for (_, item) in table.iter_mut() {
            let tables: Vec<&mut Table> = match item {
                Item::Table(table) => vec![table],
                Item::ArrayOfTables(listed) => listed.iter_mut().collect(),
                _ => Vec::new(),
            };
            for table in tables {
                if table.position() == Some(wanted) && !table.is_implicit() {
                    return Some(table);
                }
                if let Some(found) = at(table, wanted) {
                    return Some(found);
                }
            }
        }
        None
    }
    let mut found = None;
    least(table, after?, &mut found);
    at(table, found?)
}

/// The account that a token had alone becomes one of the inventory.
fn keep_account(document: &mut DocumentMut, name: &str, account: &Item) -> Result<(), String> {
    let mut table: Table = match account {
        Item::Table(table) => table.clone(),
        Item::Value(toml_edit::Value::InlineTable(inline)) => inline.clone().into_table(),
        _ => return Err("its account is written in a way that cannot be kept".to_owned()),
    };
    table.set_position(None);
    table.set_dotted(false);
    table.decor_mut().set_prefix("\n");
    let accounts = document.entry("account").or_insert_with(|| {
        let mut accounts = Table::new();
        accounts.set_implicit(true);
        Item::Table(accounts)
    });
    let accounts = accounts.as_table_like_mut().ok_or("`account` is written as a value")?;
    accounts.insert(name, Item::Table(table));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_about_others_stays() {
        const HEAD: &str = "# mine\ninclude = []   # none yet\n\n[account.a]   # one\nprovider='awx'\n";
        for (sentence, before, after) in [
            ("the last one", format!("{HEAD}\n# of ci\n[token.ci]\naccount = \"a\"\n"), HEAD.to_owned()),
            (
                "between two",
                format!(
                    "{HEAD}\n[token.x]\naccount = \"a\"\n\n# of ci\n[token.ci]\naccount = \"a\" # b\n\n[token.y]\naccount = \"a\"\n"
                ),
                format!("{HEAD}\n[token.x]\naccount = \"a\"\n\n[token.y]\naccount = \"a\"\n"),
            ),
            (
                "comments of a section",
                format!("{HEAD}\n# section\n\n# of ci\n[token.ci]\naccount = \"a\"\n\n[token.y]\naccount = \"a\"\n"),
                format!("{HEAD}\n# section\n\n[token.y]\naccount = \"a\"\n"),
            ),
            (
                "comments of a section at the end",
                format!("{HEAD}\n# section\n\n[token.ci]\naccount = \"a\"\n# the end\n"),
                format!("{HEAD}\n# section\n# the end\n"),
            ),
            (
                "the head of the file",
                "# all tokens\n\n[token.ci]\naccount = \"a\"\n\n[account.a]\nprovider = \"awx\"\n".to_owned(),
                "# all tokens\n\n[account.a]\nprovider = \"awx\"\n".to_owned(),
            ),
            (
                "in a list, with tables of its own",
                format!(
                    "{HEAD}\n[[token]]\nname = \"ci\"\n  [[token.hooks]]\n  run = [\"x\"]\n\n[[token]]\nname = \"y\"\n"
                ),
                format!("{HEAD}\n[[token]]\nname = \"y\"\n"),
            ),
            (
                "in one line",
                "token = { ci = { account = \"a\" }, y = {} }\n".to_owned(),
                "token = { y = {} }\n".to_owned(),
            ),
            (
                "with dots",
                "token.ci.account = \"a\"\ntoken.y.account = \"a\"\n".to_owned(),
                "token.y.account = \"a\"\n".to_owned(),
            ),
        ] {
            assert!(has_token(&before, "ci"), "{sentence}");
            let (text, stays) = without_token(&before, "ci").unwrap();
            assert_eq!(text, after, "{sentence}");
            assert!(!stays && !has_token(&text, "ci"), "{sentence}");
        }
        assert!(without_token(HEAD, "ci").unwrap_err().contains("no token ci"));
        assert!(without_token("token = 7\n", "ci").is_err());
    }

    #[test]
    fn an_account_that_a_token_had_alone_stays() {
        for (sentence, before, after) in [
            (
                "a table",
                "[token.ci]\nfile = \"ci\"\n\n[token.ci.account]\nprovider = \"awx\"   # ours\n",
                "\n[account.ci]\nprovider = \"awx\"   # ours\n",
            ),
            (
                "in one line",
                "[token.ci]\naccount = { provider = \"awx\", username = \"x\" }\n",
                "\n[account.ci]\nprovider = \"awx\"\nusername = \"x\"\n",
            ),
        ] {
            let (text, stays) = without_token(before, "ci").unwrap();
            assert_eq!((text.as_str(), stays), (after, true), "{sentence}");
        }
    }
}
