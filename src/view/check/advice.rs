//! Advice about what the providers cannot do, and about the setup of the machine.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::host::{self, Facts, Obstacle};
use crate::inventory::{AccountPolicy, Inventory};
use crate::journal::key::KeySource;
use crate::names::TokenName;
use crate::provider::Abilities;
use crate::provider::lint::Finding;
use crate::text::words;

use super::NAMED;

/// Nothing is wrong, but somebody should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Advice {
    /// `daemon`, or `account NAME`.
    pub about: String,
    pub message: String,
    pub help: String,
}

pub(super) fn advice(inventory: &Inventory, key: Option<&KeySource>, facts: &Facts) -> Vec<Advice> {
    let of_machine = |Obstacle { about, message, help }| Advice { about, message, help };
    let mut advice: Vec<Advice> = host::obstacles(inventory, facts).into_iter().map(of_machine).collect();
    if key == Some(&KeySource::StateDirectory) {
        advice.push(Advice {
            about: "daemon".to_owned(),
            message: format!(
                "the encryption key is stored next to the journal: anyone who can read {} can read the secrets",
                inventory.daemon.state_dir.display()
            ),
            help: format!(
                "give the service the systemd credential {}, or set `seal-key` in [daemon]",
                crate::journal::key::CREDENTIAL
            ),
        });
    }
    let mut users: BTreeMap<&str, Vec<&TokenName>> = BTreeMap::new();
    for token in inventory.tokens.values() {
        users.entry(token.account.name.as_str()).or_default().push(&token.name);
    }
    advice.extend(lint(inventory));
    for account in inventory.accounts.values() {
        if let Some(tokens) = users.get(account.name.as_str()) {
            advice.extend(of_account(account, tokens));
        }
    }
    advice
}

/// Definitions that leave questions open that rotations go wrong by. Those that are built in leave none.
fn lint(inventory: &Inventory) -> Vec<Advice> {
    let providers: BTreeMap<_, _> =
        inventory.accounts.values().map(|account| (account.provider.name.as_str(), &account.provider)).collect();
    let open = providers.into_iter().filter_map(|(name, provider)| {
        // A reason that an operation of the inventory makes needless is nobody's trouble.
        let findings = provider.lint().iter().filter(|finding| matches!(finding, Finding::Open(_))).count();
        (findings > 0).then(|| Advice {
            about: format!("provider {name}"),
            message: format!(
                "its definition leaves {} open that rotations go wrong by",
                words::count(findings, "question")
            ),
            help: format!("`patrold provider lint {name}` asks them; [lint] of the definition takes reasons"),
        })
    });
    open.collect()
}

/// What follows for `tokens` from what the provider of their account cannot do.
fn of_account(account: &AccountPolicy, tokens: &[&TokenName]) -> Vec<Advice> {
    let can = Abilities::of(&account.provider).can;
    let tokens = words::some(tokens, NAMED);
    let provider = format!("provider \"{}\"", account.provider.name);
    let mut advice = Vec::new();
    let mut say = |message: String, help: String| {
        advice.push(Advice { about: format!("account {}", account.name), message, help });
    };
    if !can.lists || !can.marks {
        let what = if can.lists { "does not show markers in listings" } else { "cannot list tokens" };
        say(
            format!(
                "{provider} {what}: if a create request times out, patrold cannot tell whether a token was created ({tokens})"
            ),
            "keep `lifetime` short, so that an orphan ends soon".to_owned(),
        );
    }
    if !can.revokes {
        say(
            format!("{provider} has no revoke operation: old tokens are left to expire ({tokens})"),
            format!("keep `lifetime` short, or describe it in [account.{}.operations.revoke]", account.name),
        );
    }
    if !can.verifies {
        say(
            format!("{provider} has no verify operation: new tokens are handed over unproven ({tokens})"),
            format!("describe it in [account.{}.operations.verify]", account.name),
        );
    }
    if !can.overlap {
        say(
            format!(
                "{provider} ends the old token as soon as it mints a new one: consumers fail in between ({tokens})"
            ),
            "rotate in a `window` in which that does not matter, and let hooks reload consumers at once".to_owned(),
        );
    }
    advice
}
