//! The loopback provider over real HTTP, with the client that the daemon uses.

mod awx;
mod commvault;
mod definitions;
mod faults;
mod judge;
mod pointone;

use reqwest::header::HeaderMap;
use reqwest::{Client, Method};
use serde_json::Value;

use super::ledger::Ledger;
use super::{Loopback, Options, Service};
use crate::clock::{Clock, ManualClock, Span, Time};

/// A provider whose time stands still until a test moves it.
struct Rig {
    loopback: Loopback,
    clock: ManualClock,
    http: Client,
}

/// An answer that arrived complete.
#[derive(Debug)]
struct Got {
    status: u16,
    headers: HeaderMap,
    text: String,
}

impl Got {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

fn start_of_time() -> Time {
    "2030-01-02T03:04:05.678901Z".parse().unwrap()
}

impl Rig {
    async fn new() -> Self {
        Self::with(Options::default()).await
    }

    async fn with(options: Options) -> Self {
        // The client wants one although no test here speaks TLS; a second installation does no harm.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let clock = ManualClock::new(start_of_time());
        let loopback = Loopback::start(clock.clone(), options).await.unwrap();
        let policy = reqwest::redirect::Policy::none();
        let http = Client::builder().no_proxy().redirect(policy).build().unwrap();
        Self { loopback, clock, http }
    }

    fn now(&self) -> Time {
        self.clock.now()
    }

    fn ledger(&self) -> &Ledger {
        self.loopback.ledger()
    }

    fn admin(&self, service: Service) -> String {
        self.loopback.admin_secret(service).expose().to_owned()
    }

    fn advance(&self, span: Span) {
        self.clock.advance(span);
    }

    /// Sends a request to `path` below the URL of `service`, with these headers and this body.
    async fn send(
        &self,
        service: Service,
        method: Method,
        path: &str,
        headers: &[(&str, String)],
        body: Option<Value>,
    ) -> Result<Got, reqwest::Error> {
        let url = format!("{}{path}", self.loopback.url(service).as_str().trim_end_matches('/'));
        let mut request = self.http.request(method, url);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Got { status, headers, text: response.text().await? })
    }

    /// As [`Self::send`], with a bearer token; the answer must arrive.
    async fn bearer(&self, service: Service, method: Method, path: &str, secret: &str, body: Option<Value>) -> Got {
        let headers = [("authorization", format!("Bearer {secret}"))];
        self.send(service, method, path, &headers, body).await.unwrap()
    }
}

/// The text at `pointer`.
fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("no text at {pointer} in {value}"))
}
