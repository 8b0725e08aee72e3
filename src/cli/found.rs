//! The text of an inventory for tokens that a provider lists and nobody manages.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use crate::clock::Time;
use crate::inventory::Inventory;
use crate::names::TokenName;
use crate::provider::Expiry;
use crate::report::audit::{AccountAudit, Audit, Finding, Standing};
use crate::text::words;

const HEAD: &str = "\
# Tokens that providers list and nobody manages: written by `patrold audit --unmanaged --write`.
#
# A provider that cannot create tokens: the entry watches the token, and patrold reminds before it ends.
# Any other: patrold takes the token over once it has its secret. Put that into the file that `initial` names, mode 0600,
# and remove the # before the entry; or put all secrets there, delete this file, and have it written again.
#
# `paused`: patrold watches the token, and replaces it only when asked. Name the store that its consumers read (`file`,
# `env` or `stores`), then remove `paused`: from then on patrold rotates it. Entries that you do not need may go.
";

/// The entries, and how many of them are in effect at once.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub text: String,
    pub entries: usize,
    pub active: usize,
}

/// Entries for everything unmanaged in `audit`. `credentials`: where secrets to take over are kept. `is_there`: whether such
/// a file exists.
pub(super) fn entries(
    audit: &Audit,
    inventory: &Inventory,
    credentials: &Path,
    is_there: impl Fn(&Path) -> bool,
) -> Found {
    let mut taken: BTreeSet<String> = inventory.tokens.keys().map(ToString::to_string).collect();
    let mut found = Found { text: HEAD.to_owned(), entries: 0, active: 0 };
    for account in &audit.accounts {
        let unmanaged = account.findings.iter().filter(|it| it.standing == Standing::Unmanaged && !it.expired);
        for finding in unmanaged {
            let name = free_name(finding, account, &mut taken);
            let mints = inventory.accounts.get(&account.account).is_none_or(|it| it.provider.capabilities().mints);
            let secret = credentials.join(&name);
            let active = !mints || is_there(&secret);
            let entry = entry(&name, account, finding, mints.then_some(&*secret));
            // Writing to a String cannot fail.
            let _ = write!(found.text, "\n# {}\n", about(finding, audit.at));
            for line in entry.lines() {
                let _ = writeln!(found.text, "{}{line}", if active { "" } else { "# " });
            }
            found.entries += 1;
            found.active += usize::from(active);
        }
    }
    found
}

/// The provider's name for it in the inventory's alphabet, where nobody has that yet.
fn free_name(finding: &Finding, account: &AccountAudit, taken: &mut BTreeSet<String>) -> String {
    let told = finding.name.as_deref().or(finding.id.as_ref().map(crate::names::RemoteId::as_str)).unwrap_or_default();
    let mut name = String::new();
    for c in told.chars().take(40) {
        match c.to_ascii_lowercase() {
            c if c.is_ascii_alphanumeric() => name.push(c),
            _ if name.ends_with('-') || name.is_empty() => {}
            _ => name.push('-'),
        }
    }
    let name = name.trim_matches('-');
    let prefix = if name.starts_with(|c: char| c.is_ascii_lowercase()) { "" } else { account.account.as_str() };
    let name = [prefix, name].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-");
    let numbered = |number: usize| if number == 1 { name.clone() } else { format!("{name}-{number}") };
    let free = (1..10_000).map(numbered).find(|name| !taken.contains(name) && name.parse::<TokenName>().is_ok());
    let free = free.unwrap_or(name.clone());
    taken.insert(free.clone());
    free
}

fn entry(name: &str, account: &AccountAudit, finding: &Finding, secret: Option<&Path>) -> String {
    let mut initial = toml_edit::InlineTable::new();
    if let Some(secret) = secret {
        initial.insert("file", secret.display().to_string().into());
    }
    match (&finding.id, &finding.name) {
        (Some(id), _) => drop(initial.insert("id", id.as_str().into())),
        (None, Some(name)) => drop(initial.insert("name", name.as_str().into())),
        (None, None) => {}
    }
    let mut token = toml_edit::Table::new();
    token["account"] = toml_edit::value(account.account.as_str());
    token["initial"] = toml_edit::value(initial);
    if secret.is_some() {
        // Its consumers read the secret from where patrold does not write yet: a rotation would end what they hold.
        token["paused"] = toml_edit::value(true);
    }
    let mut tokens = toml_edit::Table::new();
    tokens.set_implicit(true);
    tokens.insert(name, toml_edit::Item::Table(token));
    let mut document = toml_edit::DocumentMut::new();
    document.insert("token", toml_edit::Item::Table(tokens));
    document.to_string()
}

/// What the provider tells of it, in one line.
fn about(finding: &Finding, now: Time) -> String {
    let mut parts = Vec::new();
    parts.extend(finding.name.as_ref().map(|name| format!("\"{}\"", crate::outcome::one_line(name, 80))));
    parts.extend(finding.created.map(|created| format!("made {}", words::relative(created, now))));
    parts.extend(finding.last_used.map(|used| format!("last used {}", words::relative(used, now))));
    parts.push(match finding.expires {
        Expiry::At(at) => format!("expires {}", words::relative(at.here(), now)),
        Expiry::Never => "never expires".to_owned(),
        Expiry::Unknown => "expiry unknown".to_owned(),
    });
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rotation::tests::policy;

    fn finding(id: &str, name: Option<&str>) -> Finding {
        Finding {
            standing: Standing::Unmanaged,
            id: Some(id.parse().unwrap()),
            name: name.map(str::to_owned),
            token: None,
            expires: Expiry::Never,
            created: None,
            last_used: None,
            never_expires: true,
            expired: false,
            expires_soon: false,
            left: false,
            reaped: None,
        }
    }

    #[test]
    fn names_fit_the_inventory_and_are_free() {
        let account = AccountAudit::failed("awx".parse().unwrap(), "awx".parse().unwrap(), true, String::new());
        let mut taken = BTreeSet::from(["deploy".to_owned()]);
        for (told, expected) in [
            ("Deploy", "deploy-2"),
            ("CI / nightly build", "ci-nightly-build"),
            ("7 dwarfs", "awx-7-dwarfs"),
            ("\u{1f512}\n\u{1b}", "awx"),
            ("\u{1f512}", "awx-2"),
        ] {
            assert_eq!(free_name(&finding("1", Some(told)), &account, &mut taken), expected, "{told}");
        }
        assert_eq!(free_name(&finding("14", None), &account, &mut taken), "awx-14");
    }

    #[test]
    fn what_is_unmanaged_becomes_entries_that_are_an_inventory() {
        let mut account = AccountAudit::failed("awx".parse().unwrap(), "awx".parse().unwrap(), true, String::new());
        account.findings = vec![
            finding("7", Some("deploy")),
            Finding { standing: Standing::Managed, ..finding("8", Some("ours")) },
            Finding { expired: true, ..finding("9", Some("over")) },
            finding("10", Some("a\"b\n[evil]")),
        ];
        let audit = Audit { at: policy::start(), accounts: vec![account] };
        let text = "[account.awx]\nprovider = \"awx\"\nurl = \"https://awx.example.com\"\n\
                    credential = { file = \"/c\" }\nparams = { user_id = 7 }\n";
        let load = |text: &str| {
            let definitions = crate::definition::Definitions::builtin();
            crate::inventory::interpret_text(text, &definitions, policy::start())
        };
        let inventory = load(text).0.unwrap();
        let found = entries(&audit, &inventory, Path::new("/c"), |path| path == Path::new("/c/deploy"));
        assert_eq!((found.entries, found.active), (2, 1), "{}", found.text);
        assert!(found.text.contains("[token.deploy]") && found.text.contains("# [token.a-b-evil]"), "{}", found.text);
        let (with, report) = load(&format!("{text}{}", found.text));
        assert_eq!(with.map(|with| with.tokens.len()), Some(1), "{}", report.render());
        let whole = ["[token", "account", "initial", "paused"]
            .iter()
            .fold(found.text, |text, key| text.replace(&format!("\n# {key}"), &format!("\n{key}")));
        let (with, report) = load(&format!("{text}{whole}"));
        let tokens = with.expect("a valid inventory").tokens;
        assert!(tokens.len() == 2 && tokens.values().all(|token| token.paused), "{}", report.render());
        assert!(!report.render().contains("nowhere"), "nobody is told to add a store: {}", report.render());
    }
}
