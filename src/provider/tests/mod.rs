//! The requests of the shipped definitions, and their answers.

mod answers;
mod contracts;
mod fixtures;
mod hostile;
mod lint;
mod memory;
mod pages;
mod requests;
mod stores;
mod templates;
pub(crate) mod told;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};
use url::Url;
use zeroize::Zeroizing;

use super::*;
use crate::clock::Time;
use crate::definition::{self, Definitions};
use crate::names::{GenerationNo, InstanceId, RotationId};
use crate::secret::{Secret, SecretParts};

const CREDENTIAL: &str = "credential-SECRET";
const SUBJECT: &str = "subject-SECRET";
const CHOSEN: &str = "chosen-SECRET";
const REFRESH: &str = "refresh-SECRET";

pub(crate) fn provider(name: &str) -> Arc<Provider> {
    static BUILTIN: LazyLock<Definitions> = LazyLock::new(Definitions::builtin);
    BUILTIN.get(name).unwrap()
}

pub(crate) fn time(text: &str) -> Time {
    chrono::DateTime::parse_from_rfc3339(text).unwrap().to_utc()
}

pub(crate) fn now() -> Time {
    time("2030-01-02T03:04:05Z")
}

pub(crate) fn marker() -> Marker {
    let token = "gps".parse().unwrap();
    Marker::new(InstanceId::new([0x1a, 0x2b, 0x3c, 0x4d]), &token, GenerationNo(3), RotationId::new([1; 6]))
}

/// Everything that a request may be made of.
pub(crate) struct Given {
    pub(crate) base_url: Url,
    pub(crate) params: Params,
    pub(crate) identity: Option<Identity>,
    pub(crate) mint_request: MintRequest,
    pub(crate) chosen: Secret,
    pub(crate) subject: Subject,
    pub(crate) page: Option<Cursor>,
}

impl Given {
    pub(crate) fn new(base_url: &str, params: Value) -> Self {
        let Value::Object(params) = params else { panic!("parameters are a table") };
        let secret = SecretParts::new(Secret::new(SUBJECT)).with("refresh_token", Secret::new(REFRESH));
        Self {
            base_url: base_url.parse().unwrap(),
            params: params.into_iter().collect(),
            identity: Some(Identity { username: None, secret: SecretParts::new(Secret::new(CREDENTIAL)) }),
            mint_request: MintRequest { marker: marker(), lifetime: None },
            chosen: Secret::new(CHOSEN),
            subject: Subject {
                id: Some("41".parse().unwrap()),
                name: Some("old name".to_owned()),
                facts: BTreeMap::new(),
                secret: Some(secret),
            },
            page: None,
        }
    }

    pub(crate) fn awx() -> Self {
        Self::new("https://awx.example.com", json!({ "user_id": 2 }))
    }

    pub(crate) fn pointone() -> Self {
        Self::new("https://graphql.pointonenav.com", json!({}))
    }

    pub(crate) fn commvault() -> Self {
        Self::new("https://cc.example.com/commandcenter/api", json!({}))
    }

    pub(crate) fn values(&self) -> Values<'_> {
        Values {
            now: now(),
            base_url: &self.base_url,
            params: &self.params,
            identity: self.identity.as_ref(),
            mint_request: Some(&self.mint_request),
            chosen: Some(&self.chosen),
            subject: Some(&self.subject),
            page: self.page.as_ref(),
            putting: None,
            quote: Quote::Request,
        }
    }
}

/// An answer; a body that is text stands as it is, any other is written as JSON.
pub(crate) fn answer(status: u16, headers: &[(&'static str, &str)], body: &Value) -> Response {
    let bytes = match body {
        Value::Null => Vec::new(),
        Value::String(text) => text.clone().into_bytes(),
        other => other.to_string().into_bytes(),
    };
    let headers = headers
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()))
        .collect::<HeaderMap>();
    Response { status, headers, body: Zeroizing::new(bytes) }
}
