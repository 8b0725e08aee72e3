//! Provider definitions as text and as data.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write};

use serde::Serialize;
use serde_json::Value;

use crate::names::ProviderName;
use crate::provider::naming::Naming;
use crate::provider::{Capabilities, Checked, ParamKind, ParamSpec, Provider};

use super::table::{Table, Tint};
use crate::text::{Paint, words};

/// One definition. Part of `provider list --json` and `provider show --json`: names are stable.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ProviderView {
    pub name: ProviderName,
    pub title: String,
    pub checked: &'static str,
    /// The vendor's description of the API that it is held against.
    pub contract: Option<ContractView>,
    /// The server that it was run against.
    pub server: Option<ServerView>,
    /// The definition that it extends.
    pub extends: Option<String>,
    pub capabilities: BTreeMap<&'static str, bool>,
    /// The shortest and the longest lifetime that can be asked for, in seconds, where the definition says.
    pub shortest_life: Option<i64>,
    pub longest_life: Option<i64>,
    /// How many live tokens there may be in one place, where the provider has a limit.
    pub max_live: Option<usize>,
    pub default_url: Option<String>,
    /// The parts of a secret.
    pub parts: Vec<String>,
    /// What the account's credential must be allowed to do.
    pub credential: String,
    /// What becomes of the old token.
    pub old_token: String,
    pub notes: Vec<String>,
    pub docs: Vec<String>,
    /// Why questions of `provider lint` are left open, by their codes.
    pub reasons: BTreeMap<&'static str, String>,
    /// An inventory that uses it, in TOML.
    pub example: String,
    /// The age at which tokens are replaced of which the inventory has no rule, in seconds.
    pub rotate_every: Option<i64>,
    pub params: BTreeMap<String, ParamView>,
}

/// A description of an API.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ContractView {
    pub source: String,
    pub version: String,
}

/// A server.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ServerView {
    pub name: String,
    pub version: String,
    pub date: String,
}

/// One parameter.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ParamView {
    pub kind: &'static str,
    pub required: bool,
    pub default: Option<Value>,
    pub choices: Vec<Value>,
    /// What other parameters must be for it to be there.
    pub when: BTreeMap<String, Vec<Value>>,
    pub about: String,
    pub example: Option<Value>,
    /// The account's credential can ask the provider for its values.
    pub discoverable: bool,
}

impl ProviderView {
    /// What there is to say of `provider`.
    pub fn new(provider: &Provider) -> Self {
        Self {
            name: provider.name.clone(),
            title: provider.title.clone(),
            checked: checked(provider.checked).0,
            contract: provider
                .contract
                .as_ref()
                .map(|it| ContractView { source: it.source.clone(), version: it.version.clone() }),
            server: provider.server.as_ref().map(|it| ServerView {
                name: it.name.clone(),
                version: it.version.clone(),
                date: it.date.to_string(),
            }),
            extends: Some(provider.extends.clone()).filter(|base| !base.is_empty()),
            capabilities: capabilities(&provider.capabilities()).map(|(name, _, has)| (name, has)).into(),
            shortest_life: provider.lifetimes().0.map(|span| span.num_seconds()),
            longest_life: provider.lifetimes().1.map(|span| span.num_seconds()),
            max_live: provider.capabilities().max_live,
            default_url: provider.default_url().map(ToString::to_string),
            parts: provider.secret_parts().into_iter().map(str::to_owned).collect(),
            credential: provider.credential.clone(),
            old_token: provider.old_token.clone(),
            notes: provider.notes.clone(),
            docs: provider.docs.clone(),
            reasons: provider.reasons().iter().map(|(question, why)| (question.code(), why.clone())).collect(),
            example: provider.example.clone(),
            rotate_every: provider.default_policy.rotate_every.map(|span| span.num_seconds()),
            params: provider
                .params
                .iter()
                .map(|(name, spec)| (name.clone(), ParamView::new(spec, provider.discovers(name))))
                .collect(),
        }
    }
}

impl ParamView {
    pub(super) fn new(spec: &ParamSpec, discoverable: bool) -> Self {
        Self {
            kind: kind(spec.kind),
            required: spec.is_required(),
            default: spec.default.clone(),
            choices: spec.choices.clone(),
            when: spec.when.iter().map(|when| (when.param.clone(), when.values.clone())).collect(),
            about: spec.about.clone(),
            example: spec.example.clone(),
            discoverable,
        }
    }
}

/// Writes a table of definitions, on a terminal with `width` columns.
pub fn write_list<'a>(
    providers: impl Iterator<Item = &'a Provider>,
    paint: Paint,
    width: Option<usize>,
    out: &mut impl Write,
) -> io::Result<()> {
    let header = ["NAME", "CHECKED", "CAN", "SHORTEST LIFE", "TITLE"];
    let mut table = Table::new(&header).without(&["SHORTEST LIFE"]).folding();
    for provider in providers {
        let can = provider.capabilities();
        let operations = [
            ("mint", can.mints),
            ("list", can.lists),
            ("verify", can.verifies),
            ("renew", can.renews),
            ("revoke", can.revokes),
            ("overlap", can.mints && can.overlap),
            ("expiry", can.expiry_known),
            ("last-used", can.last_used),
        ];
        let operations: Vec<_> = operations.into_iter().filter(|(_, has)| *has).map(|(name, _)| name).collect();
        let cells = vec![
            provider.name.to_string(),
            checked(provider.checked).0.to_owned(),
            operations.join(" "),
            provider.lifetimes().0.map(words::span).unwrap_or_default(),
            provider.title.clone(),
        ];
        table.row(Tint::Plain, cells);
    }
    table.write_within(paint, width, out)
}

/// All of one definition, on a terminal with so many columns. Its example stays as it is, to be copied.
pub fn render(provider: &Provider, paint: Paint, columns: Option<usize>) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{}  {}", paint.bold(provider.name.as_str()), provider.title);
    let _ = writeln!(out, "\n  checked       {}", checked(provider.checked).1);
    if let Some(contract) = &provider.contract {
        let _ = writeln!(out, "  contract      {} {}", contract.source, contract.version);
    }
    if let Some(server) = &provider.server {
        let _ = writeln!(out, "  run against   {} {}, {}", server.name, server.version, server.date);
    }
    if !provider.extends.is_empty() {
        let _ = writeln!(out, "  extends       {}", provider.extends);
    }
    let url = provider.default_url().map_or("must be given", url::Url::as_str);
    let _ = writeln!(out, "  url           {url}");
    let _ = writeln!(out, "  credential    {}", provider.credential);
    let _ = writeln!(out, "  old token     {}", provider.old_token);
    if let Some(age) = provider.default_policy.rotate_every {
        let _ = writeln!(out, "  rotate-every  {} where the inventory has no rule", words::span(age));
    }
    let parts = provider.secret_parts();
    if parts.len() > 1 {
        let _ = writeln!(out, "  parts         {}", parts.join(", "));
    }
    heading(&mut out, paint, "Capabilities");
    for (_, sentence, has) in capabilities(&provider.capabilities()) {
        let _ = writeln!(out, "  {:<5}{sentence}", if has { "yes" } else { "no" });
    }
    if let Some(most) = provider.capabilities().max_live {
        let _ = writeln!(out, "  at most {most} live tokens in one place");
    }
    let naming = provider.naming();
    if let Some(longest) = naming.and_then(Naming::longest_token_name) {
        let _ = writeln!(out, "  names of tokens have at most {longest} characters");
    }
    if let Some(alphabet) = naming.and_then(|naming| naming.alphabet.as_ref()) {
        let _ = writeln!(out, "  names of tokens are of the characters {alphabet}");
    }
    heading(&mut out, paint, "Parameters");
    if provider.params.is_empty() {
        out.push_str("  none\n");
    }
    let width = provider.params.keys().map(String::len).max().unwrap_or_default();
    for (name, spec) in &provider.params {
        let found = if provider.discovers(name) { "; the provider can be asked for it" } else { "" };
        let _ = writeln!(out, "  {name:<width$}  {}{found}", param(spec));
    }
    list(&mut out, paint, "Notes", &provider.notes);
    list(&mut out, paint, "Documentation", &provider.docs);
    let reasons = provider.reasons().iter().map(|(question, why)| format!("{}: {why}", question.code()));
    list(&mut out, paint, "Left open", &reasons.collect::<Vec<_>>());
    let mut out = words::folded(&out, columns);
    if !provider.example.is_empty() {
        heading(&mut out, paint, "Example");
        out.push_str(&provider.example);
    }
    out
}

pub(super) fn heading(out: &mut String, paint: Paint, heading: &str) {
    let _ = writeln!(out, "\n{}", paint.bold(heading));
}

pub(super) fn list(out: &mut String, paint: Paint, title: &str, lines: &[String]) {
    if lines.is_empty() {
        return;
    }
    heading(out, paint, title);
    for line in lines {
        let _ = writeln!(out, "  {line}");
    }
}

/// `integer, required: the id of the user. For example 7`.
pub(super) fn param(spec: &ParamSpec) -> String {
    let mut parts = vec![kind(spec.kind).to_owned()];
    parts.push(match &spec.default {
        Some(default) => format!(", default {default}"),
        None if spec.optional => ", optional".to_owned(),
        None => ", required".to_owned(),
    });
    parts.extend(spec.when.iter().map(|when| format!(", only where {when}")));
    if !spec.choices.is_empty() {
        parts.push(format!(", one of {}", words::some(&spec.choices, usize::MAX)));
    }
    if !spec.about.is_empty() {
        parts.push(format!(": {}", spec.about));
    }
    parts.extend(spec.example.as_ref().map(|example| format!(" (for example {example})")));
    parts.concat()
}

fn kind(kind: ParamKind) -> &'static str {
    match kind {
        ParamKind::Url => "url",
        ParamKind::String => "string",
        ParamKind::Integer => "integer",
        ParamKind::Bool => "bool",
        ParamKind::List => "list",
        ParamKind::Json => "json",
    }
}

/// The word of `checked` and what it means.
pub(super) fn checked(checked: Checked) -> (&'static str, &'static str) {
    match checked {
        Checked::Docs => ("docs", "docs: written from the vendor's documents"),
        Checked::Contract => ("contract", "contract: held against the vendor's own description of the API"),
        Checked::Mock => ("mock", "mock: run against recorded or imitated answers"),
        Checked::Live => ("live", "live: run against the service itself"),
    }
}

/// Every capability: its name in JSON, a sentence, and whether it is there.
fn capabilities(can: &Capabilities) -> [(&'static str, &'static str, bool); 14] {
    // Taken apart, so that a new capability cannot be forgotten here.
    let Capabilities {
        mints,
        names,
        chooses_lifetime,
        lists,
        marks,
        has_id,
        verifies,
        revokes,
        renews,
        unique_name,
        overlap,
        renewal_overlaps,
        expiry_known,
        last_used,
        max_live: _,
    } = *can;
    [
        ("mints", "new tokens can be made; otherwise they are watched only", mints),
        ("chooses-lifetime", "the caller chooses how long a new token lives", chooses_lifetime),
        ("has-id", "a new token comes with an id", has_id),
        ("expiry-known", "some answer tells when a token expires", expiry_known),
        ("lists", "tokens can be listed", lists),
        ("names", "listings show what tokens are called", names),
        ("marks", "listings show the marker, so a token whose secret was lost can be found", marks),
        ("last-used", "listings tell when a token was last used", last_used),
        ("verifies", "a new token can be proven before it is handed over", verifies),
        ("revokes", "tokens can be revoked", revokes),
        ("overlap", "old and new live side by side after a mint", overlap),
        ("renews", "tokens can be renewed in place", renews),
        ("renewal-overlaps", "old and new secret live side by side after a renewal", renewal_overlaps),
        ("unique-name", "an account must not have two tokens of one name", unique_name),
    ]
}
