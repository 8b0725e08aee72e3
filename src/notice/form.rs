//! The form that a service takes messages in.

use std::collections::BTreeMap;
use std::sync::Arc;

use minijinja::value::{Serde, Value as Dynamic};
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use serde_json::Value;
use url::Url;
use zeroize::Zeroizing;

use super::message::{Entry, Message};
use crate::clock::{Span, Time};
use crate::provider::Request;
use crate::provider::model::Tree;
use crate::provider::request::header_value;
use crate::provider::template::{Name, Scope, Template};
use crate::secret::Secret;

/// What one request tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Each {
    /// Everything at once, in words.
    Message,
    /// One condition.
    Condition,
    /// A list with an item for each condition.
    List,
}

/// How the source begins of a form that an inventory describes: its tables as JSON follow.
pub(super) const OWN: &str = "own ";

/// What a service takes.
#[derive(Debug)]
pub struct Form {
    pub name: String,
    /// For people.
    pub title: String,
    pub docs: Vec<String>,
    /// What the credential is; empty: the service needs none.
    pub credential: String,
    /// The credential is the address, which then is as secret as a password.
    pub address_is_secret: bool,
    /// Without it nothing is taken.
    pub credential_is_needed: bool,
    /// Where the service is, unless the inventory says so.
    pub url: Option<Url>,
    /// Names of what the inventory has to say besides.
    pub params: Vec<String>,
    pub each: Each,
    /// How often what is open has to be told again, for services that forget.
    pub repeat: Option<Span>,
    pub(super) path: String,
    pub(super) headers: Vec<(HeaderName, Template)>,
    pub(super) json: Tree,
    /// The text that it was read from: two forms of one text are the same.
    pub(super) source: Arc<str>,
}

impl PartialEq for Form {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Form {
    /// The tables that the inventory describes it with, where it is none of ours.
    pub fn own(&self) -> Option<Value> {
        serde_json::from_str(self.source.strip_prefix(OWN)?).ok()
    }
}

/// What a form is filled in with.
#[derive(Clone, Copy, Debug)]
pub struct Filling<'a> {
    pub message: &'a Message,
    /// The address.
    pub url: &'a Url,
    pub credential: Option<&'a Secret>,
    pub params: &'a BTreeMap<String, String>,
}

impl Form {
    /// The requests that tell `filling.message`, each with the number of conditions that it tells of, the worst first.
    pub fn requests(&self, filling: &Filling<'_>) -> Result<Vec<(Request, usize)>, String> {
        let entries = &filling.message.entries;
        let json = |entry: Option<&Entry>| -> Result<Value, String> {
            Ok(self.json.value(&self.scope(filling, entry))?.unwrap_or_default())
        };
        match self.each {
            Each::Message => Ok(vec![(self.request(filling, None, &json(None)?)?, entries.len())]),
            Each::Condition => {
                entries.iter().map(|entry| Ok((self.request(filling, Some(entry), &json(Some(entry))?)?, 1))).collect()
            }
            Each::List => {
                let items: Result<Vec<_>, _> = entries.iter().map(|entry| json(Some(entry))).collect();
                Ok(vec![(self.request(filling, None, &Value::Array(items?))?, entries.len())])
            }
        }
    }

    fn scope<'a>(&'a self, filling: &'a Filling<'a>, entry: Option<&'a Entry>) -> Told<'a> {
        Told { form: self, filling, entry }
    }

    fn request(&self, filling: &Filling<'_>, entry: Option<&Entry>, json: &Value) -> Result<Request, String> {
        let scope = self.scope(filling, entry);
        let mut headers = vec![(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
        for (name, template) in &self.headers {
            let text = template.optional_text(&scope)?;
            // A service that can do without a credential gets no empty one.
            if let Some(text) = text.filter(|_| !template.is_secret() || filling.credential.is_some()) {
                let value = header_value(&text, template.is_secret()).map_err(|why| format!("header {name}: {why}"))?;
                headers.push((name.clone(), value));
            }
        }
        let mut url = filling.url.clone();
        if !self.path.is_empty() {
            let path = format!("{}{}", url.path().trim_end_matches('/'), self.path);
            url.set_path(&path);
        }
        // An address that is secret is told by its host.
        let log_url = url.host_str().unwrap_or_default().to_owned();
        let body = serde_json::to_vec(json).map_err(|error| error.to_string())?;
        Ok(Request { method: Method::POST, url, log_url, headers, body: Some(Zeroizing::new(body)) })
    }
}

/// The values of one request.
struct Told<'a> {
    form: &'a Form,
    filling: &'a Filling<'a>,
    entry: Option<&'a Entry>,
}

/// The facts of a message that templates may name.
pub(super) const OF_MESSAGE: &[&str] =
    &["at", "host", "instance", "title", "text", "severity", "turn", "count", "left_out", "conditions", "all"];

/// Those of one condition.
pub(super) const OF_CONDITION: &[&str] = &[
    "id", "kind", "subject", "turn", "severity", "account", "token", "title", "text", "why", "help", "since", "until",
    "ends",
];

impl Told<'_> {
    fn of_message(&self, fact: &str) -> Dynamic {
        let message = self.filling.message;
        match fact {
            "at" => moment(message.at),
            "host" => Dynamic::from(message.source.host.as_str()),
            "instance" => Dynamic::from(message.source.instance.to_string()),
            "title" => Dynamic::from(message.title()),
            "text" => Dynamic::from(message.text()),
            "severity" => Dynamic::from(message.severity().word()),
            "turn" => Dynamic::from(message.turn().word()),
            "count" => Dynamic::from(message.entries.len()),
            "left_out" => Dynamic::from(message.left_out),
            "conditions" => Dynamic::from(Serde(message.to_json()["conditions"].clone())),
            _ => Dynamic::from(Serde(message.to_json())),
        }
    }

    fn of_condition(&self, entry: &Entry, fact: &str) -> Dynamic {
        let message = self.filling.message;
        let optional = |text: Option<&str>| text.map_or_else(|| Dynamic::from(()), Dynamic::from);
        match fact {
            "id" => Dynamic::from(entry.id(&message.source)),
            "kind" => Dynamic::from(entry.key.kind.word()),
            "subject" => Dynamic::from(entry.key.subject.as_str()),
            "turn" => Dynamic::from(entry.turn.word()),
            "severity" => Dynamic::from(entry.severity.word()),
            "account" => optional(entry.account.as_ref().map(crate::names::AccountName::as_str)),
            "token" => optional(entry.token.as_ref().map(crate::names::TokenName::as_str)),
            "title" => Dynamic::from(entry.title()),
            "text" => Dynamic::from(entry.text()),
            "why" => Dynamic::from(entry.why.as_str()),
            "help" => Dynamic::from(entry.help.as_str()),
            "since" => moment(entry.since),
            "until" => entry.until.map_or_else(|| Dynamic::from(()), moment),
            // What is open ends when nobody has told of it three times.
            _ => moment(entry.until.unwrap_or_else(|| {
                let patience = self.form.repeat.unwrap_or(Span::hours(24)) * 3;
                message.at.checked_add_signed(patience).unwrap_or(message.at)
            })),
        }
    }
}

fn moment(time: Time) -> Dynamic {
    Dynamic::from(time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true))
}

impl Scope for Told<'_> {
    fn value(&self, name: &Name) -> Dynamic {
        match name {
            Name::Param(name) => self.filling.params.get(name).map_or_else(|| Dynamic::from(()), Dynamic::from),
            Name::Told(name) => match (name.split_once('.'), self.entry) {
                (Some(("message", fact)), _) => self.of_message(fact),
                (Some((_, fact)), Some(entry)) => self.of_condition(entry, fact),
                _ => Dynamic::from(()),
            },
            _ => Dynamic::from(()),
        }
    }

    fn secret(&self, _name: &Name) -> Option<&str> {
        // Without one the header is left out.
        Some(self.filling.credential.map(Secret::expose).unwrap_or_default())
    }
}
