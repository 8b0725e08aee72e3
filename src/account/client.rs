//! Sends one request and receives one answer: once, without following anything, within times and sizes that are
//! bounded. Its whole art is to know, when something fails, whether the request can have reached the provider.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reqwest::redirect;
use url::{Host, Url};
use zeroize::Zeroizing;

use super::tls::{self, CaFileError};
use crate::inventory::{AccountPolicy, Timeouts};
use crate::outcome::{Failure, FailureCode};
use crate::provider::{Request, Response};

const USER_AGENT: &str = concat!("patrold/", env!("CARGO_PKG_VERSION"));

/// Idle connections are closed before common servers close them (five seconds): a request that crosses with the
/// server's close may or may not have been taken, and a mint in such doubt costs a search for its token.
const IDLE: Duration = Duration::from_secs(4);

/// What became of one request.
#[derive(Debug)]
pub(super) enum Exchange {
    /// There is a complete answer.
    Answered(Response),
    /// Nothing of it has left.
    NotSent(Failure),
    /// It may have arrived; there is no complete answer.
    Unclear(Failure),
}

/// Why the HTTP client of an account cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The CA file cannot be used.
    #[error(transparent)]
    CaFile(#[from] CaFileError),
    /// The HTTP library refuses its settings.
    #[error("the HTTP client cannot be made: {0}")]
    Library(String),
}

/// The connections of one account.
pub(super) struct HttpClient {
    timeouts: Timeouts,
    max_response: usize,
    max_idle: usize,
    ca_file: Option<std::path::PathBuf>,
    /// One for each kind of route in use: mostly one in all.
    clients: Mutex<BTreeMap<Route, reqwest::Client>>,
}

/// What a URL needs of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Route {
    /// TLS, and with it trust roots.
    secure: bool,
    /// To this machine itself, where no proxy belongs.
    loopback: bool,
}

impl HttpClient {
    /// A client for an account; fails where what the account's own URL needs is not there.
    pub fn new(policy: &AccountPolicy) -> Result<Self, ClientError> {
        let client = Self {
            timeouts: policy.timeouts,
            max_response: policy.max_response,
            max_idle: policy.max_in_flight,
            ca_file: policy.ca_file.clone(),
            clients: Mutex::default(),
        };
        client.client(Route::of(&policy.url))?;
        Ok(client)
    }

    /// Sends `request` once.
    pub async fn send(&self, request: Request) -> Exchange {
        let client = match self.client(Route::of(&request.url)) {
            Ok(client) => client,
            Err(error) => return Exchange::NotSent(Failure::new(FailureCode::Tls, error.to_string())),
        };
        let place = place(&request.url);
        let mut outgoing = reqwest::Request::new(request.method, request.url);
        for (name, value) in request.headers {
            outgoing.headers_mut().append(name, value);
        }
        *outgoing.body_mut() = request.body.map(|mut body| std::mem::take(&mut *body).into());

        // The connection has its own, shorter limit inside of this one, so what runs out here is the wait for a head.
        let limit = self.timeouts.connect.saturating_add(self.timeouts.headers);
        let answer = match tokio::time::timeout(limit, client.execute(outgoing)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return self.failed(&error, &place),
            Err(_) => return Exchange::Unclear(timeout(self.timeouts.headers, "did not begin to answer", &place)),
        };
        let status = answer.status();
        let headers = answer.headers().clone();
        let body = match tokio::time::timeout(self.timeouts.body, self.body(answer)).await {
            Ok(Ok(body)) => body,
            // A client error is a certain no, whatever else the provider meant to say.
            Ok(Err(_)) | Err(_) if status.is_client_error() => Zeroizing::default(),
            Ok(Err(failure)) => return Exchange::Unclear(failure),
            Err(_) => return Exchange::Unclear(timeout(self.timeouts.body, "did not finish its answer", &place)),
        };
        Exchange::Answered(Response { status: status.as_u16(), headers, body })
    }

    /// All of a body. Its size is counted after decompression, while it arrives.
    async fn body(&self, mut answer: reqwest::Response) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let mut body = Zeroizing::new(Vec::new());
        loop {
            // The HTTP library calls every error of a body one of decoding, so the reason has to tell them apart.
            let chunk = answer.chunk().await.map_err(|error| Failure::new(FailureCode::Reset, reason(&error)))?;
            let Some(chunk) = chunk else { return Ok(body) };
            if chunk.len() > self.max_response - body.len() {
                return Err(Failure::new(FailureCode::TooLarge, format!("more than {} bytes", self.max_response)));
            }
            append(&mut body, &chunk);
        }
    }

    /// Tells an error before the request left from one after. Where the HTTP library does not know, it may have left.
    fn failed(&self, error: &reqwest::Error, place: &str) -> Exchange {
        if error.is_builder() {
            return Exchange::NotSent(Failure::new(FailureCode::Request, reason(error)));
        }
        if error.is_connect() {
            let code = if is_tls(error) { FailureCode::Tls } else { FailureCode::Connect };
            let detail = if error.is_timeout() {
                format!("no connection to {place} within {}", humantime::format_duration(self.timeouts.connect))
            } else {
                format!("{place}: {}", reason(error))
            };
            return Exchange::NotSent(Failure::new(code, detail));
        }
        Exchange::Unclear(Failure::new(FailureCode::Reset, format!("{place}: {}", reason(error))))
    }

    fn client(&self, route: Route) -> Result<reqwest::Client, ClientError> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&route) {
            return Ok(client.clone());
        }
        let tls = if route.secure { tls::config(self.ca_file.as_deref())? } else { tls::untrusting() };
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .user_agent(USER_AGENT)
            // A redirect would carry the credential elsewhere: only a few well-known headers are stripped on the way.
            .redirect(redirect::Policy::none())
            // A mint that is sent twice makes two tokens.
            .retry(reqwest::retry::never())
            .referer(false)
            .http1_only()
            .connect_timeout(self.timeouts.connect)
            .pool_max_idle_per_host(self.max_idle)
            .pool_idle_timeout(IDLE);
        if route.loopback {
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|error| ClientError::Library(reason(&error)))?;
        clients.insert(route, client.clone());
        Ok(client)
    }
}

impl Route {
    fn of(url: &Url) -> Self {
        Self { secure: url.scheme() != "http", loopback: is_loopback(url) }
    }
}

/// Whether a URL leads to this machine itself, by its name alone.
pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Host and port: what of a URL is never secret.
fn place(url: &Url) -> String {
    match (url.host_str(), url.port()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (Some(host), None) => host.to_owned(),
        (None, _) => "no host".to_owned(),
    }
}

fn timeout(limit: Duration, did_not: &str, place: &str) -> Failure {
    Failure::new(FailureCode::Timeout, format!("{place} {did_not} within {}", humantime::format_duration(limit)))
}

/// Appends to a secret buffer; a buffer that it outgrows is wiped, which growing in place would not do.
fn append(body: &mut Zeroizing<Vec<u8>>, chunk: &[u8]) {
    if body.capacity() - body.len() < chunk.len() {
        let mut larger = Zeroizing::new(Vec::with_capacity((body.len() + chunk.len()).max(2 * body.capacity())));
        larger.extend_from_slice(body);
        *body = larger;
    }
    body.extend_from_slice(chunk);
}

/// The innermost cause in words. The outer ones repeat the URL, which may hold a secret.
fn reason(error: &reqwest::Error) -> String {
    let mut innermost = error.source();
    while let Some(next) = innermost.and_then(std::error::Error::source) {
        innermost = Some(next);
    }
    match innermost {
        Some(cause) => cause.to_string(),
        None if error.is_builder() => "the HTTP library refuses it".to_owned(),
        None => "no further reason is known".to_owned(),
    }
}

/// Whether TLS is what failed. An `io::Error` hides what it wraps from `source`.
fn is_tls(error: &reqwest::Error) -> bool {
    let mut next = error.source();
    while let Some(cause) = next {
        let wrapped = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if cause.is::<rustls::Error>() || matches!(wrapped, Some(wrapped) if wrapped.is::<rustls::Error>()) {
            return true;
        }
        next = match wrapped {
            Some(wrapped) => Some(wrapped),
            None => cause.source(),
        };
    }
    false
}

#[cfg(test)]
mod tests;
