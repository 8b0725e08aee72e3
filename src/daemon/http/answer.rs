//! The answers: what a request asks for, rendered from the daemon's status.

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, REFERRER_POLICY, WWW_AUTHENTICATE,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderValue, Request, Response, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};

use crate::clock::Clock;
use crate::daemon::Running;
use crate::daemon::shared::Shared;
use crate::event;
use crate::rotation::steps::Happening;
use crate::view::metrics;
use crate::view::page::{self, Place};
use crate::view::readiness::Readiness;

use super::access::Guard;
use super::refusals::{Refusals, Refused};
use super::route::{Asked, Denied, route};

/// How long the scheduler may take to give a sign of life.
const PATIENCE: Duration = Duration::from_secs(5);

const TEXT: &str = "text/plain; charset=utf-8";
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";
const JSON: &str = "application/json";
const HTML: &str = "text/html; charset=utf-8";

/// The client that asks.
#[derive(Clone, Debug)]
pub struct Peer {
    pub address: SocketAddr,
    /// It came to a loopback address.
    pub loopback: bool,
    pub guard: Option<Arc<Guard>>,
}

/// Everything that answers are made of.
pub struct Responder<C> {
    running: Arc<Running<C>>,
    refusals: Arc<Refusals>,
    metrics: Shared,
    status: Shared,
    page: Shared,
    found: Shared,
    /// The machine's name.
    host: String,
}

impl<C> fmt::Debug for Responder<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Responder").field("refusals", &self.refusals).finish_non_exhaustive()
    }
}

impl<C: Clock> Responder<C> {
    /// The answers of one daemon.
    pub fn new(running: Arc<Running<C>>) -> Self {
        Self {
            running,
            refusals: Arc::default(),
            metrics: Shared::default(),
            status: Shared::default(),
            page: Shared::default(),
            found: Shared::default(),
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        }
    }

    /// Counts that `peer` was refused.
    pub fn refuse(&self, why: Refused, peer: SocketAddr, detail: &str) {
        self.refusals.note(why, peer, detail);
    }

    /// Answers a request; its body is never looked at.
    pub async fn answer<B>(&self, request: &Request<B>, peer: &Peer) -> Response<Body> {
        let guard = peer.guard.as_deref();
        let asked = route(request.method(), request.uri(), request.headers(), guard, peer.loopback);
        let mut answer = match asked {
            Ok(asked) => self.serve(asked).await,
            Err(denied) => {
                self.refuse(denied.why, peer.address, &format!("{} {}", request.method(), request.uri().path()));
                refusal(&denied, guard)
            }
        };
        for (name, value) in HARDENING {
            answer.headers_mut().insert(name.clone(), HeaderValue::from_static(value));
        }
        answer
    }

    async fn serve(&self, asked: Asked) -> Response<Body> {
        let running = Arc::clone(&self.running);
        match asked {
            Asked::Live => {
                let (_, alive) = running.waker.heartbeat(PATIENCE).await;
                let (status, text) = if alive {
                    (StatusCode::OK, "alive\n")
                } else {
                    (StatusCode::SERVICE_UNAVAILABLE, "the scheduler does not answer\n")
                };
                respond(status, TEXT, text)
            }
            Asked::Ready { strict, fleet, known } => {
                let (_, alive) = running.waker.heartbeat(PATIENCE).await;
                let readiness = Readiness::judge(&running.status(), alive);
                let ready = readiness.is_ready(strict, fleet);
                let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
                if known {
                    respond(status, TEXT, readiness.text(strict, fleet))
                } else {
                    respond(status, TEXT, if ready { "ready\n" } else { "not ready\n" })
                }
            }
            Asked::Metrics => {
                let (heartbeat, _) = running.waker.heartbeat(PATIENCE).await;
                let refusals = Arc::clone(&self.refusals);
                let make = move || metrics::render(&running.status(), &running.measures(heartbeat, refusals.counts()));
                made(self.metrics.get(make).await, METRICS)
            }
            Asked::Status => {
                // A status has nothing that JSON could not hold.
                let theirs = running.theirs().await;
                let whole = move || running.status_of_all(theirs.as_deref());
                let make = move || serde_json::to_string_pretty(&whole()).unwrap_or_default() + "\n";
                made(self.status.get(make).await, JSON)
            }
            Asked::Page(filter) if filter.is_empty() => {
                let (host, theirs) = (self.host.clone(), running.theirs().await);
                let make = move || {
                    let (place, status) = (Place { host: &host }, running.status_of_all(theirs.as_deref()));
                    page::render(&status, &running.core.inventory(), place, happenings(&running).iter())
                };
                shown(made(self.page.get(make).await, HTML))
            }
            Asked::Page(filter) => {
                let (host, key) = (self.host.clone(), format!("{filter:?}"));
                let theirs = running.theirs().await;
                let make = move || {
                    page::render_found(&running.status_of_all(theirs.as_deref()), Place { host: &host }, &filter)
                };
                shown(made(self.found.get_as(&key, make).await, HTML))
            }
            Asked::Token(name) => {
                let (host, key) = (self.host.clone(), name.to_string());
                if running.core.tokens.get(&name).is_none() {
                    let text = "there is no such token, or its state cannot be read; / shows all\n";
                    return respond(StatusCode::NOT_FOUND, TEXT, text);
                }
                let theirs = running.theirs().await;
                let make = move || {
                    let theirs = theirs.as_deref();
                    let Some(explanation) = running.explain(&name, theirs) else { return String::new() };
                    let (status, inventory) = (running.status_of_all(theirs), running.core.inventory());
                    let happenings = happenings(&running);
                    page::render_token(&status, &inventory, &explanation, Place { host: &host }, happenings.iter())
                };
                shown(made(self.found.get_as(&key, make).await, HTML))
            }
        }
    }
}

/// The newest events.
fn happenings<C>(running: &Running<C>) -> VecDeque<Happening> {
    let tally = &running.core.machine.effects.observers.tally;
    tally.lock().unwrap_or_else(PoisonError::into_inner).happenings.clone()
}

/// A page with the policy that a browser is to keep.
fn shown(mut page: Response<Body>) -> Response<Body> {
    page.headers_mut().insert(CONTENT_SECURITY_POLICY, policy());
    page
}

/// What a browser may do with a page: show it, in its own style, and ask for another one.
fn policy() -> HeaderValue {
    static POLICY: OnceLock<HeaderValue> = OnceLock::new();
    POLICY
        .get_or_init(|| {
            let hash = STANDARD.encode(digest(&SHA256, page::style().as_bytes()));
            let policy = format!(
                "default-src 'none'; style-src 'sha256-{hash}'; img-src data:; base-uri 'none'; form-action 'self'; \
                 frame-ancestors 'none'"
            );
            HeaderValue::try_from(policy).expect("base64 and the words around it are visible ASCII")
        })
        .clone()
}

/// Goes with every answer: nothing is kept, guessed, embedded or told to other sites.
const HARDENING: [(HeaderName, &str); 6] = [
    (CACHE_CONTROL, "no-store"),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (X_FRAME_OPTIONS, "DENY"),
    (REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
];

fn made(text: std::io::Result<Bytes>, kind: &'static str) -> Response<Body> {
    match text {
        Ok(text) => respond(StatusCode::OK, kind, text),
        Err(error) => {
            tracing::error!(event = event::HTTP_DISTURBED, %error, "an answer of the HTTP server could not be made");
            respond(StatusCode::INTERNAL_SERVER_ERROR, TEXT, "the answer could not be made: see the log\n")
        }
    }
}

fn respond(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Body> {
    let mut answer = Response::new(Body::from(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

fn refusal(denied: &Denied, guard: Option<&Guard>) -> Response<Body> {
    let mut answer = respond(denied.status, TEXT, format!("{}\n", denied.text));
    if denied.status == StatusCode::METHOD_NOT_ALLOWED {
        answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    if let (StatusCode::UNAUTHORIZED, Some(guard)) = (denied.status, guard) {
        answer.headers_mut().insert(WWW_AUTHENTICATE, guard.challenge());
    }
    answer
}
