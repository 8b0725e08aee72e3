//! Accounts that authenticate with a token that is minted through themselves, directly or through others.
//!
//! That is how an administration token is kept fresh, and it is fine once there is a first secret to begin with.

use std::collections::{HashMap, HashSet};

use crate::document::Spot;
use crate::inventory::spec::{CredentialSpec, Spec, TokenSpec};

use super::Context;

/// From each account to the token it authenticates with. An account has one credential, so each has at most one edge.
pub(super) struct Edges {
    order: Vec<String>,
    next: HashMap<String, Edge>,
}

struct Edge {
    spot: Spot,
    token: String,
    /// The account that the token is minted through.
    account: String,
    has_initial: bool,
}

impl Edges {
    pub(super) fn of(spec: &Spec<'_>, tokens: &HashMap<&str, &TokenSpec>) -> Self {
        let mut edges = Self { order: Vec::new(), next: HashMap::new() };
        for account in &spec.accounts {
            let Some(CredentialSpec::Token(name)) = account.credential.as_ref().map(|found| &found.value) else {
                continue;
            };
            let Some(token) = tokens.get(name.value.as_str()) else { continue };
            let Some(issuer) = &token.account else { continue };
            let from = account.name.value.to_string();
            edges.order.push(from.clone());
            edges.next.entry(from).or_insert(Edge {
                spot: name.spot,
                token: name.value.clone(),
                account: issuer.value.clone(),
                has_initial: token.initial.as_ref().is_some_and(|initial| initial.source.is_some()),
            });
        }
        edges
    }

    /// Reports every cycle in which no token has an initial secret.
    pub(super) fn check(&self, context: &Context<'_>) {
        let mut done: HashSet<&str> = HashSet::new();
        for start in &self.order {
            let mut path: Vec<&str> = Vec::new();
            let mut on_path: HashMap<&str, usize> = HashMap::new();
            let mut at = start.as_str();
            while let Some(edge) = self.next.get(at) {
                if let Some(begin) = on_path.get(at) {
                    self.judge(&path[*begin..], context);
                    break;
                }
                if !done.insert(at) {
                    break;
                }
                on_path.insert(at, path.len());
                path.push(at);
                at = &edge.account;
            }
        }
    }

    fn judge(&self, cycle: &[&str], context: &Context<'_>) {
        let edges: Vec<&Edge> = cycle.iter().filter_map(|account| self.next.get(*account)).collect();
        if edges.iter().any(|edge| edge.has_initial) {
            return;
        }
        let Some(first) = edges.first() else { return };
        let links: Vec<String> = edges
            .iter()
            .zip(cycle)
            .map(|(edge, account)| {
                format!(
                    "account \"{account}\" authenticates with token \"{}\" of account \"{}\"",
                    edge.token, edge.account
                )
            })
            .collect();
        let message = format!("nothing can mint the first of these: {}", links.join(", "));
        let help = format!("give token \"{}\" a first secret: initial = {{ file = \"/path\" }}", first.token);
        context.report.error_with_help(first.spot, message, help);
    }
}
