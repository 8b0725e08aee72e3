//! Sends one request and receives one answer: once, without following anything, within times and sizes that are
//! bounded. Its whole art is to know, when something fails, whether the request can have reached the provider.

use std::error::Error as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use reqwest::redirect;
use rustls::ClientConfig;
use url::Url;
use zeroize::Zeroizing;

use crate::inventory::{EndpointPolicy, Timeouts, is_loopback};
use crate::outcome::{Failure, FailureCode};
use crate::provider::{Request, Response};
use crate::trust::{self, TrustError, TrustRoots};

const USER_AGENT: &str = concat!("patrold/", env!("CARGO_PKG_VERSION"));

/// Idle connections are closed before common servers close them (five seconds): a request that crosses with the
/// server's close may or may not have been taken, and a mint in such doubt costs a search for its token.
const IDLE: Duration = Duration::from_secs(4);

/// This machine. The port is the URL's.
const LOOPBACK: [SocketAddr; 2] =
    [SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0), SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), 0)];

/// What became of one request.
#[derive(Debug)]
pub(super) enum Exchange {
    /// There is a complete answer.
    Answered(Response),
    /// Nothing of it has left.
    NotSent(Failure),
    /// It may have arrived; there is no complete answer.
    Unknown(Failure),
}

/// The connections of one endpoint.
pub(super) struct HttpClient {
    /// Nothing is sent where there is none.
    client: Result<reqwest::Client, Failure>,
    timeouts: Timeouts,
    max_response: usize,
}

impl HttpClient {
    /// A client for the endpoint's URL. Its server proves itself by `roots`; None: it has to prove nothing.
    pub fn new(policy: &EndpointPolicy, roots: Option<&Result<TrustRoots, TrustError>>) -> Self {
        let Timeouts { connect, .. } = policy.timeouts;
        let client = match roots {
            Some(Err(error)) => {
                let detail = format!("{error}; {}", error.remedy);
                Err(Failure::new(FailureCode::CaFile, detail))
            }
            Some(Ok(roots)) => client(&policy.url, roots.config(), connect, policy.max_in_flight),
            None => client(&policy.url, trust::nobody(), connect, policy.max_in_flight),
        };
        Self { client, timeouts: policy.timeouts, max_response: policy.max_response }
    }

    /// Sends `request` once.
    pub async fn send(&self, request: Request) -> Exchange {
        #[cfg(test)]
        if let Some(network) = stand_in::NETWORK.with_borrow(Clone::clone) {
            let limit = self.timeouts.connect.saturating_add(self.timeouts.headers);
            let nothing = |code| Exchange::Unknown(Failure::new(code, "the simulation says so"));
            return match tokio::time::timeout(limit, network(request)).await {
                Ok(answer) => answer.map_or_else(|| nothing(FailureCode::Reset), Exchange::Answered),
                Err(_) => nothing(FailureCode::Timeout),
            };
        }
        let client = match &self.client {
            Ok(client) => client,
            Err(failure) => return Exchange::NotSent(failure.clone()),
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
            Err(_) => return Exchange::Unknown(timeout(self.timeouts.headers, "did not begin to answer", &place)),
        };
        let status = answer.status();
        let headers = answer.headers().clone();
        let body = match tokio::time::timeout(self.timeouts.body, self.body(answer)).await {
            Ok(Ok(body)) => body,
            Ok(Err(failure)) => return Exchange::Unknown(failure),
            Err(_) => return Exchange::Unknown(timeout(self.timeouts.body, "did not finish its answer", &place)),
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
        Exchange::Unknown(Failure::new(FailureCode::Reset, format!("{place}: {}", reason(error))))
    }
}

fn client(url: &Url, tls: ClientConfig, connect: Duration, idle: usize) -> Result<reqwest::Client, Failure> {
    let mut builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .user_agent(USER_AGENT)
        // A redirect would carry the credential elsewhere: only a few well-known headers are stripped on the way.
        .redirect(redirect::Policy::none())
        // A mint that is sent twice makes two tokens.
        .retry(reqwest::retry::never())
        .referer(false)
        .http1_only()
        .connect_timeout(connect)
        .pool_max_idle_per_host(idle)
        .pool_idle_timeout(IDLE);
    if is_loopback(url) {
        // No proxy belongs in between.
        builder = builder.no_proxy();
        if let Some(name) = url.domain() {
            // By the standard such a name means this machine. Nobody is asked, who could say that it is elsewhere.
            builder = builder.resolve_to_addrs(name, &LOOPBACK);
        }
    }
    builder.build().map_err(|error| Failure::new(FailureCode::Request, reason(&error)))
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

/// In place of the network, for simulations of a whole daemon on one thread.
#[cfg(test)]
pub(crate) mod stand_in {
    use std::cell::RefCell;
    use std::sync::Arc;

    use futures_util::future::BoxFuture;

    use crate::provider::{Request, Response};

    /// Answers a request. None: it may have arrived, and no answer comes back.
    pub(crate) type Network = Arc<dyn Fn(Request) -> BoxFuture<'static, Option<Response>> + Send + Sync>;

    thread_local! {
        pub(crate) static NETWORK: RefCell<Option<Network>> = const { RefCell::new(None) };
    }
}

#[cfg(test)]
mod tests;
