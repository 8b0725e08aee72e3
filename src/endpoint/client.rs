//! Sends one request and receives one answer: once, without following anything, within times and sizes that are
//! bounded. Its whole art is to know, when something fails, whether the request can have reached the provider.

mod cause;
mod progress;

use std::error::Error as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{HeaderName, HeaderValue};
use reqwest::redirect;
use rustls::ClientConfig;
use tokio::time::Instant;
use url::Url;
use zeroize::Zeroizing;

use crate::endpoint::proxy::Proxy;
use crate::inventory::{ConnectTo, EndpointPolicy, ProxyPolicy, Timeouts, is_name_of_loopback};
use crate::outcome::{Failure, FailureCode};
use crate::provider::{Request, Response};
use crate::secret::{Fingerprint, Secret};
use crate::trust::{self, TrustError, TrustRoots};

const USER_AGENT: &str = concat!("patrold/", env!("CARGO_PKG_VERSION"));

/// Idle connections are closed before common servers close them (five seconds): a request that crosses with the
/// server's close may or may not have been taken, and a mint in such doubt costs a search for its token.
const IDLE: Duration = Duration::from_secs(4);

/// A connection that is never idle would live for ever: names, certificates and routes change meanwhile. What is under way on
/// an older one is finished.
const OLDEST: Duration = Duration::from_secs(5 * 60);

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
    settings: Result<Settings, Failure>,
    /// The newest connections.
    client: Mutex<Option<Connections>>,
    /// Connections that are older are replaced.
    oldest: Duration,
    timeouts: Timeouts,
    max_response: usize,
}

/// The connections that requests share.
struct Connections {
    client: reqwest::Client,
    /// Of the password that the proxy got for them.
    login: Option<Fingerprint>,
    since: Instant,
}

/// What connections are made with.
struct Settings {
    to: Option<ConnectTo>,
    tls: ClientConfig,
    proxy: Option<Proxy>,
    connect: Duration,
    idle: usize,
}

/// What a request carries besides what it asks.
#[derive(Debug, Default)]
pub(super) struct Dress {
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// User name and password for the proxy, and their fingerprint.
    pub proxy: Option<(String, Secret, Fingerprint)>,
}

impl HttpClient {
    /// A client for the endpoint's URL. Its server proves itself by `roots`; None: it has to prove nothing.
    pub fn new(policy: &EndpointPolicy, roots: Option<&Result<TrustRoots, TrustError>>) -> Self {
        let tls = match roots {
            Some(Err(error)) => Err(Failure::new(FailureCode::CaFile, format!("{error}; {}", error.remedy))),
            Some(Ok(roots)) => Ok(progress::observed(roots.config())),
            None => Ok(trust::nobody()),
        };
        // Where connections go is told: no proxy of the environment finds another way.
        let chosen = if policy.connect_to.is_some() { &ProxyPolicy::Never } else { &policy.proxy };
        let proxy = Proxy::choose(chosen, &policy.url, |name| std::env::var(name).ok());
        let proxy = proxy.map_err(|error| Failure::new(FailureCode::Proxy, error.to_string()));
        let (connect, idle) = (policy.timeouts.connect, policy.max_in_flight);
        let to = policy.connect_to.clone();
        let settings = tls.and_then(|tls| Ok(Settings { to, tls, proxy: proxy?, connect, idle }));
        Self {
            settings,
            client: Mutex::default(),
            oldest: OLDEST,
            timeouts: policy.timeouts,
            max_response: policy.max_response,
        }
    }

    /// The proxy that requests go through.
    pub fn proxy(&self) -> Option<&Proxy> {
        self.settings.as_ref().ok()?.proxy.as_ref()
    }

    /// Connections that tell the proxy this login; new ones where it changed.
    fn connections(
        &self,
        settings: &Settings,
        login: Option<(String, Secret, Fingerprint)>,
    ) -> Result<reqwest::Client, Failure> {
        let mut client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        let fingerprint = login.as_ref().map(|(.., fingerprint)| fingerprint.clone());
        if let Some(Connections { client, login, since }) = client.as_ref()
            && *login == fingerprint
            && since.elapsed() < self.oldest
        {
            return Ok(client.clone());
        }
        let login = login.map(|(user, password, _)| (user, password));
        let login = login.or_else(|| settings.proxy.as_ref().and_then(|proxy| proxy.login.clone()));
        let made = self::client(settings, login.as_ref())?;
        *client = Some(Connections { client: made.clone(), login: fingerprint, since: Instant::now() });
        Ok(made)
    }

    /// Sends `request` once.
    pub async fn send(&self, request: Request, dress: Dress) -> Exchange {
        let Dress { headers, proxy } = dress;
        let client = match &self.settings {
            Ok(settings) => self.connections(settings, proxy),
            Err(failure) => Err(failure.clone()),
        };
        let client = match client {
            Ok(client) => client,
            Err(failure) => return Exchange::NotSent(failure),
        };
        let (place, host) = (place(&request.url), request.url.host_str().unwrap_or_default().to_owned());
        let mut outgoing = reqwest::Request::new(request.method, request.url);
        for (name, value) in request.headers.into_iter().chain(headers) {
            outgoing.headers_mut().append(name, value);
        }
        *outgoing.body_mut() = request.body.map(|mut body| std::mem::take(&mut *body).into());

        // The connection has its own, shorter limit inside of this one, so what runs out here is the wait for a head.
        let limit = self.timeouts.connect.saturating_add(self.timeouts.headers);
        let sent = progress::watch(&host, client.execute(outgoing));
        let answer = match tokio::time::timeout(limit, sent).await {
            Ok((Ok(answer), _)) => answer,
            Ok((Err(error), shakes_hands)) => return self.failed(&error, &place, shakes_hands),
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
    /// `shakes_hands`: a TLS handshake with the server had begun.
    fn failed(&self, error: &reqwest::Error, place: &str, shakes_hands: bool) -> Exchange {
        if error.is_builder() {
            return Exchange::NotSent(Failure::new(FailureCode::Request, reason(error)));
        }
        let proxy = self.proxy();
        if error.is_connect() && error.is_timeout() {
            let limit = humantime::format_duration(self.timeouts.connect);
            return Exchange::NotSent(match proxy {
                _ if shakes_hands => {
                    let what = format!("{place}: a connection stands, and no TLS handshake ended within {limit}");
                    let why = "the server is overloaded or does not speak TLS there, or something between holds it up";
                    Failure::new(FailureCode::Connect, format!("{what}: {why}"))
                }
                Some(proxy) => {
                    Failure::new(FailureCode::Proxy, format!("no connection through {proxy} within {limit}"))
                }
                None => Failure::new(FailureCode::Connect, format!("{place}: no TCP connection within {limit}")),
            });
        }
        if error.is_connect() {
            return Exchange::NotSent(cause::of_connection(error, place, proxy));
        }
        if let Some(failure) = cause::before_any_answer(error, place) {
            return Exchange::NotSent(failure);
        }
        Exchange::Unknown(Failure::new(FailureCode::Reset, format!("{place}: {}", reason(error))))
    }
}

/// Connections by these settings; `login` is for the proxy.
fn client(settings: &Settings, login: Option<&(String, Secret)>) -> Result<reqwest::Client, Failure> {
    let Settings { to, tls, proxy, connect, idle } = settings;
    let mut builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls.clone())
        .user_agent(USER_AGENT)
        // A redirect would carry the credential elsewhere: only a few well-known headers are stripped on the way.
        .redirect(redirect::Policy::none())
        // A mint that is sent twice makes two tokens.
        .retry(reqwest::retry::never())
        .referer(false)
        .http1_only()
        .connect_timeout(*connect)
        // Who the proxy is, is decided above: nothing of the environment is read in silence.
        .no_proxy()
        .pool_max_idle_per_host(*idle)
        .pool_idle_timeout(IDLE);
    builder = match to {
        Some(ConnectTo::Socket(path)) => builder.unix_socket(path.as_path()),
        Some(ConnectTo::Host { host, port }) => builder
            .dns_resolver(Arc::new(Names { to: Some((host.clone(), port.unwrap_or(0))), limit: of_names(*connect) })),
        None => builder.dns_resolver(Arc::new(Names { to: None, limit: of_names(*connect) })),
    };
    let refused = |error: reqwest::Error| Failure::new(FailureCode::Request, reason(&error));
    if let Some(proxy) = proxy {
        let mut through = reqwest::Proxy::all(proxy.url.clone()).map_err(refused)?;
        if let Some((user, password)) = login {
            through = through.basic_auth(user, password.expose());
        }
        builder = builder.proxy(through);
    }
    builder.build().map_err(refused)
}

/// Finds the addresses of names, within a time of their own: a name server that does not answer is not blamed on the
/// service.
#[derive(Debug)]
struct Names {
    /// The host that every name leads to. Port 0: the URL's.
    to: Option<(String, u16)>,
    limit: Duration,
}

/// The part of the time for a connection that a name may take.
fn of_names(connect: Duration) -> Duration {
    connect.mul_f32(0.8)
}

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        let (host, port) = self.to.clone().unwrap_or_else(|| (name.as_str().to_owned(), 0));
        let limit = self.limit;
        Box::pin(async move {
            // By the standard such a name means this machine. Nobody is asked, who could say that it is elsewhere.
            if is_name_of_loopback(&host) {
                let here = LOOPBACK.map(|address| SocketAddr::new(address.ip(), port));
                return Ok(Box::new(here.into_iter()) as Addrs);
            }
            let slow = |_| format!("no name server answered for {host} within {}", humantime::format_duration(limit));
            let found = tokio::time::timeout(limit, tokio::net::lookup_host((host.as_str(), port))).await;
            let found: Vec<_> = found.map_err(slow)??.collect();
            Ok(Box::new(found.into_iter()) as Addrs)
        })
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

#[cfg(test)]
mod tests;
