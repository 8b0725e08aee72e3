//! The server: three services on three loopback ports that the kernel chose, one ledger, and faults between the
//! network and the APIs.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Weak};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::DATE;
use axum::http::{HeaderValue, Response};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;
use url::{Url, form_urlencoded};

use super::book::{Lie, Order};
use super::faults::{long_expired, moved, other_times, without_entries, wrong_types};
use super::ledger::Ledger;
use super::line::{Exchange, Line};
use super::requests::{RequestLog, RequestRecord};
use super::site::User;
use super::site::{Options, Site};
use super::wire::{Answer, Broken, Call, Content, Huge};
use super::{Fault, Faults, Service, awx, commvault, pointone};
use crate::clock::{Clock, Span, Time};
use crate::provider::Operation;
use crate::secret::{Secret, SecretParts, random};

/// The proxy in front of AWX refuses more.
const LARGEST_REQUEST: usize = 1024 * 1024;
/// Larger than any limit that a client may have on an answer of one token.
const HUGE: usize = 100 * 1024 * 1024;

const UPGRADE_PAGE: &str = "<!DOCTYPE html>\n<html><head><title>Upgrading</title></head>\
    <body><h2>The service is currently upgrading.</h2></body></html>\n";
const ERROR_PAGE: &str = "<html>\r\n<head><title>Error</title></head>\r\n<body>\r\n<center><h1>Error</h1></center>\r\n\
    <hr><center>nginx</center>\r\n</body>\r\n</html>\r\n";

/// A running provider. Dropping it ends it: later requests over connections still open are reset.
pub struct Loopback {
    shared: Arc<Shared>,
    urls: [Url; 3],
    bootstrap: [SecretParts; 3],
    servers: Vec<JoinHandle<io::Result<()>>>,
}

/// What requests need.
struct Shared {
    site: Site,
    ledger: Ledger,
    faults: Faults,
    log: RequestLog,
    time: Box<dyn Timepiece>,
}

/// A [`Clock`] behind a pointer, so that no API has a type parameter for it.
trait Timepiece: Send + Sync {
    fn now(&self) -> Time;
    fn wait(&self, span: Span) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

impl<C: Clock> Timepiece for C {
    fn now(&self) -> Time {
        Clock::now(self)
    }

    fn wait(&self, span: Span) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        let deadline = Clock::now(self) + span;
        Box::pin(async move {
            while Clock::now(self) < deadline {
                self.wait_until(deadline).await;
            }
        })
    }
}

impl Loopback {
    /// Starts the three services and mints a bootstrap token at each. Fails where no port can be bound.
    pub async fn start<C: Clock>(clock: C, options: Options) -> io::Result<Self> {
        let mut seed = [0; 8];
        random::fill(&mut seed).map_err(io::Error::other)?;
        let shared = Arc::new(Shared {
            site: Site { options },
            ledger: Ledger::new(u64::from_le_bytes(seed)),
            faults: Faults::default(),
            log: RequestLog::default(),
            time: Box::new(clock),
        });
        let mut servers = Vec::new();
        let mut addresses = Vec::new();
        for service in Service::ALL {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            addresses.push((service, listener.local_addr()?));
            let router = Router::new().fallback(answer).with_state((Arc::downgrade(&shared), service));
            let make = router.into_make_service_with_connect_info::<Line>();
            servers.push(tokio::spawn(async move { axum::serve(Exchange(listener), make).await }));
        }
        let url = |service: Service| {
            let (_, address) = addresses[service as usize];
            let path = if service == Service::Commvault { "/commandcenter/api" } else { "/" };
            format!("http://{address}{path}").parse().map_err(io::Error::other)
        };
        let urls = [url(Service::PointOne)?, url(Service::Awx)?, url(Service::Commvault)?];
        let lifetime = shared.site.options.bootstrap_lifetime;
        let bootstrap = Service::ALL.map(|service| shared.issue(service, "bootstrap", lifetime));
        Ok(Self { shared, urls, bootstrap, servers })
    }

    /// What an operator writes as the `url` of an account: the part before the paths of the provider definition.
    pub fn url(&self, service: Service) -> &Url {
        &self.urls[service as usize]
    }

    /// The bootstrap credential: a token of the second user that may mint, list and revoke.
    pub fn admin_secret(&self, service: Service) -> &Secret {
        self.bootstrap[service as usize].token()
    }

    /// A user who may log in with name and password: AWX by Basic authentication, Commvault by `POST Login`.
    /// `None` where the options name fewer than two users.
    pub fn operator(&self) -> Option<&User> {
        self.users().get(1)
    }

    /// Whom the services know.
    pub fn users(&self) -> &[User] {
        &self.shared.site.options.users
    }

    /// Ends every session, as a restart of the services does.
    pub fn end_sessions(&self) {
        self.shared.ledger.lock().sessions.clear();
    }

    /// Mints a token past the API, as if the operator had done so in the provider's own console.
    pub fn issue(&self, service: Service, name: &str, lifetime: Span) -> SecretParts {
        self.shared.issue(service, name, lifetime)
    }

    /// The same, of a user with this id, until `expires`.
    pub fn issue_to(&self, owner: u64, service: Service, name: &str, expires: Time) -> SecretParts {
        self.shared.issue_to(owner, service, name, expires)
    }

    /// The truth about all tokens.
    pub fn ledger(&self) -> &Ledger {
        &self.shared.ledger
    }

    /// Orders misbehaviour.
    pub fn faults(&self) -> &Faults {
        &self.shared.faults
    }

    /// The requests so far, in the order of their arrival; the newest hundred thousand.
    pub fn requests(&self) -> Vec<RequestRecord> {
        self.shared.log.all()
    }

    /// Every request from now on, told when it arrives and before it is acted on.
    pub fn arrivals(&self) -> broadcast::Receiver<RequestRecord> {
        self.shared.log.follow()
    }

    /// Tells of every request that arrives and of every answer; the value means nothing but that it changed.
    pub fn follow_requests(&self) -> watch::Receiver<u64> {
        self.shared.log.changes()
    }
}

impl Drop for Loopback {
    fn drop(&mut self) {
        for server in &self.servers {
            server.abort();
        }
    }
}

impl fmt::Debug for Loopback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loopback")
            .field("urls", &self.urls.each_ref().map(Url::as_str))
            .field("ledger", &self.shared.ledger)
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn issue(&self, service: Service, name: &str, lifetime: Span) -> SecretParts {
        let owner = self.site.options.users.get(1).map_or(1, |user| user.id);
        self.issue_to(owner, service, name, self.time.now() + lifetime)
    }

    fn issue_to(&self, owner: u64, service: Service, name: &str, expires: Time) -> SecretParts {
        let now = self.time.now();
        let scope = match service {
            Service::PointOne => "ROLE_READ_WRITE",
            Service::Awx => "write",
            Service::Commvault => "2",
        };
        let renewable = service == Service::Commvault;
        let order = Order {
            service,
            owner,
            name: name.to_owned(),
            remark: None,
            scope: scope.to_owned(),
            expires,
            refresh_expires: renewable.then(|| expires + self.site.options.commvault_refresh_lifetime),
            renewable_until: renewable.then(|| expires.max(now + Span::days(90))),
        };
        let mut book = self.ledger.lock();
        let issue = book.mint(order, now).current();
        let parts = SecretParts::new(issue.secret.clone());
        match &issue.refresh {
            Some(refresh) => parts.with("refresh_token", refresh.clone()),
            None => parts,
        }
    }

    /// Does what a request asks for, now.
    fn act(&self, service: Service, call: &Call) -> Answer {
        self.act_lying(service, call, None, None)
    }

    /// The same, with a lie in place of a mint, and with listings that lack what is younger than `late`.
    fn act_lying(&self, service: Service, call: &Call, lie: Option<Lie>, late: Option<Span>) -> Answer {
        let mut book = self.ledger.lock();
        // Read under the lock, so that the order of the book is the order of its times.
        let now = self.time.now();
        (book.lie, book.shown_until) = (lie, late.map(|late| now - late));
        match service {
            Service::PointOne => pointone::handle(&mut book, &self.site, now, call),
            Service::Awx => awx::handle(&mut book, &self.site, now, call),
            Service::Commvault => commvault::handle(&mut book, &self.site, now, call),
        }
    }

    /// Enters a request into the log and tells its number, and what is to go wrong with it.
    fn receive(&self, service: Service, call: &Call) -> (u64, Option<Fault>) {
        let (operation, about): (Option<Operation>, _) = match service {
            Service::PointOne => pointone::classify(call),
            Service::Awx => awx::classify(call),
            Service::Commvault => commvault::classify(call),
        };
        let fault = operation.and_then(|operation| self.faults.draw(service, operation));
        let number = self.log.enter(RequestRecord {
            number: 0,
            at: self.time.now(),
            service,
            operation,
            method: call.method.to_string(),
            path: call.path.clone(),
            about,
            fault: fault.clone(),
            status: None,
        });
        (number, fault)
    }

    /// The answer under `fault`; `None` where the client gets none because the connection breaks.
    async fn respond(self: &Arc<Self>, service: Service, call: Call, fault: Option<Fault>) -> Option<Response<Body>> {
        let delay = self.site.options.answer_delay;
        if !delay.is_zero() {
            self.time.wait(delay).await;
        }
        let act = || self.act(service, &call);
        let page = |status| Answer::html(status, ERROR_PAGE);
        let answer = match fault {
            None => act(),
            Some(Fault::Slow { by }) => {
                self.time.wait(by).await;
                act()
            }
            Some(Fault::LoseAnswer) => {
                act();
                return None;
            }
            Some(Fault::LoseAnswerLate { after }) => {
                self.act_later(service, call, after);
                return None;
            }
            Some(Fault::GatewayTimeout { after }) => {
                self.act_later(service, call, after);
                page(504)
            }
            Some(Fault::LoseRequest) => return None,
            Some(Fault::ServerError(status)) => page(status),
            Some(Fault::ServerErrorAfterActing(status)) => {
                act();
                page(status)
            }
            Some(Fault::RateLimited { retry_after, as_date: false }) => {
                Answer::empty(429).with("retry-after", retry_after.num_seconds().to_string())
            }
            Some(Fault::RateLimited { retry_after, as_date: true }) => {
                Answer::empty(429).with("retry-after", http_date(self.provider_time() + retry_after))
            }
            Some(Fault::Unavailable { retry_after }) => {
                page(503).with("retry-after", retry_after.num_seconds().to_string())
            }
            Some(Fault::HtmlOk) => Answer::html(200, UPGRADE_PAGE),
            Some(Fault::HtmlOkAfterActing) => {
                act();
                Answer::html(200, UPGRADE_PAGE)
            }
            Some(Fault::Truncated) => {
                let answer = act();
                // Without a body there is no middle: the connection breaks before the answer.
                let whole = !matches!(answer.content, Content::Nothing);
                return whole.then(|| answer.into_response_with(|whole| Broken::half_of(&whole)));
            }
            Some(Fault::Huge) => return Some(act().into_response_with(|_| Huge::body(HUGE))),
            Some(Fault::WrongTypes) => act().map_json(wrong_types),
            Some(Fault::OtherTimeFormat) => act().map_json(other_times),
            Some(Fault::WrongDate { ahead }) => act().with("date", http_date(self.provider_time() + ahead)),
            Some(Fault::OtherZone { ahead }) => act().map_json(|answer| moved(answer, ahead)),
            Some(Fault::LongExpired) => act().map_json(long_expired),
            Some(Fault::Redirect { to }) => Answer::empty(302).with("location", to),
            Some(Fault::Empty) => Answer::empty(act().status),
            Some(Fault::Stall) => std::future::pending().await,
            Some(Fault::SameToken) => self.act_lying(service, &call, Some(Lie::SameToken), None),
            Some(Fault::SameId) => self.act_lying(service, &call, Some(Lie::SameId), None),
            Some(Fault::EmptyListing) => act().map_json(without_entries),
            Some(Fault::LateListing { by }) => self.act_lying(service, &call, None, Some(by)),
            Some(Fault::NotFound) => Answer::json(404, json!({ "message": "Not found." })),
            Some(Fault::Refused) => Answer::json(400, json!({ "detail": "Bad request." })),
            Some(Fault::Unauthorized) => match service {
                Service::PointOne => pointone::unauthorized(),
                Service::Awx => awx::unauthorized(),
                Service::Commvault => commvault::unauthorized(),
            },
        };
        Some(answer.into_response())
    }

    fn act_later(self: &Arc<Self>, service: Service, call: Call, after: Span) {
        let shared = Arc::clone(self);
        tokio::spawn(async move {
            shared.time.wait(after).await;
            shared.act(service, &call);
        });
    }

    fn provider_time(&self) -> Time {
        self.time.now() + self.site.options.skew
    }
}

/// One request, from the connection to the connection.
async fn answer(
    State((shared, service)): State<(Weak<Shared>, Service)>,
    ConnectInfo(line): ConnectInfo<Line>,
    request: Request,
) -> Response<Body> {
    let nothing = || {
        line.cut();
        Response::new(Body::empty())
    };
    let (head, body) = request.into_parts();
    let body = to_bytes(body, LARGEST_REQUEST).await;
    // Gone means that the provider was stopped while the connection was open.
    let Some(shared) = shared.upgrade() else { return nothing() };
    let Ok(body) = body else { return Answer::html(413, ERROR_PAGE).into_response() };
    let query = head.uri.query().unwrap_or_default();
    let call = Call {
        method: head.method,
        path: head.uri.path().to_owned(),
        query: form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
        headers: head.headers,
        body,
    };
    let (number, fault) = shared.receive(service, &call);
    let Some(mut response) = shared.respond(service, call, fault).await else { return nothing() };
    shared.log.answered(number, response.status().as_u16());
    if let Ok(date) = HeaderValue::try_from(http_date(shared.provider_time())) {
        // A fault may have written one of its own.
        response.headers_mut().entry(DATE).or_insert(date);
    }
    response
}

/// The form of dates in HTTP headers (RFC 9110, section 5.6.7).
fn http_date(time: Time) -> String {
    time.format("%a, %d %b %Y %H:%M:%S GMT").to_string()
}
