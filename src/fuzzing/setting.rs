//! The values that requests are made of, for any definition.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use url::Url;

use super::subject_secret;
use crate::clock::{Span, Time};
use crate::names::{GenerationNo, InstanceId, Marker, RotationId};
use crate::provider::{Cursor, Identity, MintRequest, ParamKind, ParamSpec, Params, Provider, Quote, Subject, Values};
use crate::secret::{Secret, SecretParts};

// Of characters that nothing escapes: an echo of them looks the same in every encoding.
pub(super) const CREDENTIAL: &str = "C7f3aSECRET-credential";
pub(super) const SUBJECT: &str = "Sb2e1SECRET-subject";
pub(super) const REFRESH: &str = "R55d0SECRET-refresh";
pub(super) const CHOSEN: &str = "N90b4SECRET-chosen";

/// Everything that a request may be made of.
#[derive(Clone)]
pub(super) struct Setting {
    pub(super) base_url: Url,
    pub(super) params: Params,
    pub(super) identity: Identity,
    pub(super) mint_request: MintRequest,
    pub(super) chosen: Secret,
    pub(super) subject: Subject,
    pub(super) page: Option<Cursor>,
}

pub(super) fn now() -> Time {
    chrono::DateTime::UNIX_EPOCH + Span::days(21_900)
}

impl Setting {
    /// Values that `provider` can work with.
    pub(super) fn of(provider: &Provider) -> Self {
        let fallback = || Url::parse("https://service.example.com/base").expect("it is an address");
        let token = "gps".parse().expect("it is a name");
        let marker = Marker::new(InstanceId::new([1; 4]), &token, GenerationNo(3), RotationId::new([2; 6]));
        let param = |spec: &ParamSpec| spec.default.clone().unwrap_or_else(|| sample(spec));
        Self {
            base_url: provider.default_url().cloned().unwrap_or_else(fallback),
            params: provider.params.iter().map(|(name, spec)| (name.clone(), param(spec))).collect(),
            identity: Identity {
                username: Some("robot".to_owned()),
                secret: SecretParts::new(Secret::new(CREDENTIAL)),
            },
            mint_request: MintRequest { marker, lifetime: Some(Span::days(30)) },
            chosen: Secret::new(CHOSEN),
            subject: Subject {
                id: "41".parse().ok(),
                name: Some("old name".to_owned()),
                facts: BTreeMap::new(),
                secret: Some(subject_secret(SUBJECT)),
            },
            page: None,
        }
    }

    pub(super) fn values(&self) -> Values<'_> {
        Values {
            now: now(),
            base_url: &self.base_url,
            params: &self.params,
            identity: Some(&self.identity),
            mint_request: Some(&self.mint_request),
            chosen: Some(&self.chosen),
            subject: Some(&self.subject),
            page: self.page.as_ref(),
            putting: None,
            quote: Quote::Request,
        }
    }

    /// Whether `url` is at the account's own origin.
    pub(super) fn is_home(&self, url: &Url) -> bool {
        url.origin() == self.base_url.origin()
    }

    /// Whether `url` is at the account's own origin, or at one that a parameter names.
    pub(super) fn names(&self, url: &Url) -> bool {
        let mut named = self.params.values().filter_map(Value::as_str).filter_map(|text| Url::parse(text).ok());
        self.is_home(url) || named.any(|named| named.origin() == url.origin())
    }

    /// This setting with `text` in one place after the other, each with its name.
    pub(super) fn with_everywhere(&self, provider: &Provider, text: &str) -> Vec<(String, Self)> {
        let free =
            |spec: &ParamSpec| spec.choices.is_empty() && matches!(spec.kind, ParamKind::String | ParamKind::List);
        let mut all = Vec::new();
        for (name, _) in provider.params.iter().filter(|(_, spec)| free(spec)) {
            let value = match self.params.get(name) {
                Some(Value::Array(items)) => items.iter().map(|_| Value::from(text)).collect(),
                _ => Value::from(text),
            };
            let mut changed = self.clone();
            changed.params.insert(name.clone(), value);
            all.push((name.clone(), changed));
        }
        let with = |subject| Self { subject, ..self.clone() };
        all.push(("name".to_owned(), with(Subject { name: Some(text.to_owned()), ..self.subject.clone() })));
        if let Ok(id) = text.parse() {
            all.push(("id".to_owned(), with(Subject { id: Some(id), ..self.subject.clone() })));
        }
        let secret = subject_secret(&format!("{text}{SUBJECT}"));
        all.push(("old secret".to_owned(), with(Subject { secret: Some(secret), ..self.subject.clone() })));
        let secret = SecretParts::new(Secret::new(format!("{text}{CREDENTIAL}")));
        let identity = Identity { secret, ..self.identity.clone() };
        all.push(("credential".to_owned(), Self { identity, ..self.clone() }));
        all
    }
}

fn sample(spec: &ParamSpec) -> Value {
    let given = spec.example.as_ref().or(spec.choices.first()).cloned();
    given.unwrap_or_else(|| match spec.kind {
        ParamKind::Url => json!("https://login.example.com"),
        ParamKind::Integer => json!(1),
        ParamKind::Bool => json!(true),
        ParamKind::List => json!(["sample"]),
        ParamKind::String | ParamKind::Json => json!("sample"),
    })
}
