//! Asks a running daemon over its control socket.

use std::error::Error;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use rustls::{ClientConfig, RootCertStore};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::runtime::Runtime;

use crate::inventory::DaemonSettings;
use crate::names::TokenName;
use crate::report::audit::Audit;
use crate::report::reload::ReloadAnswer;
use crate::report::retirement::RetireAnswer;
use crate::report::rotation::{RotateAnswer, RotateResult};
use crate::report::status::Status;
use crate::secret::Secret;
use crate::view::online::Online;

use super::{
    ADOPT, AUDIT, AdoptRequest, AuditRequest, CANCEL, CHECK, CancelAnswer, CancelRequest, ClientError, EXPLAIN,
    Expected, ExplainAnswer, LINES, NOTIFY_TEST, NotifyAnswer, NotifyRequest, PRUNE, PruneAnswer, PruneRequest, RELOAD,
    RETIRE, ROLLBACK, ROTATE, Refusal, RetireRequest, RollbackRequest, RotateRequest, STATUS, peer,
};

/// A daemon answers what it knows at once.
const PATIENCE: Duration = Duration::from_secs(30);

/// Listings of many pages, and the revocation of orphans, take their time.
const LONG_PATIENCE: Duration = Duration::from_secs(1800);

/// Asks a daemon. Each question answers `None` where no daemon runs.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    runtime: Runtime,
    socket: PathBuf,
    /// What was found there, held open: another one in its place is not spoken to.
    _pinned: Option<OwnedFd>,
}

impl Client {
    /// A client of the daemon with these settings; connects when it is asked.
    pub fn new(settings: &DaemonSettings) -> Result<Self, ClientError> {
        let pinned = peer::pin(&settings.control, &settings.state_dir)?;
        Self::on(&settings.control, pinned)
    }

    /// A client of the daemon on `socket`, of which nothing else is known than whose directory the socket is in.
    pub fn at(socket: &Path) -> Result<Self, ClientError> {
        let pinned = peer::pin(socket, socket.parent().unwrap_or(Path::new("/")))?;
        Self::on(socket, pinned)
    }

    fn on(socket: &Path, pinned: Option<OwnedFd>) -> Result<Self, ClientError> {
        let broken = |error: &dyn Error| ClientError::failed(format!("the HTTP client cannot be made: {error}"));
        // The library insists on TLS settings also where no TLS is.
        let tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| broken(&error))?
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .no_proxy()
            .unix_socket(peer::way(socket, pinned.as_ref()))
            .build();
        Ok(Self {
            http: http.map_err(|error| broken(&error))?,
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(|error| broken(&error))?,
            socket: socket.to_owned(),
            _pinned: pinned,
        })
    }

    /// The status of the daemon.
    pub fn status(&self) -> Result<Option<Status>, ClientError> {
        self.ask(Method::GET, STATUS, None, PATIENCE)
    }

    /// Why a token is or is not rotated now.
    pub fn explain(&self, token: &TokenName) -> Result<Option<ExplainAnswer>, ClientError> {
        // Nothing in a name has a meaning in a URL.
        self.ask(Method::GET, &format!("{EXPLAIN}?token={token}"), None, PATIENCE)
    }

    /// Rotates tokens, waiting as long as `request` says. `each` is told of every result as soon as it is there, and of
    /// how many there will be.
    pub fn rotate(
        &self,
        request: &RotateRequest,
        mut each: impl FnMut(usize, &RotateResult),
    ) -> Result<Option<RotateAnswer>, ClientError> {
        let patience = PATIENCE + Duration::from_secs(request.timeout_seconds);
        self.runtime.block_on(async {
            let Some(mut answer) = self.send(Method::POST, ROTATE, Some(Payload::json(request)?), patience).await?
            else {
                return Ok(None);
            };
            let streams = answer.headers().get(CONTENT_TYPE).is_some_and(|kind| kind == LINES);
            if !streams {
                let body = answer.bytes().await.map_err(|error| self.failed(&error))?;
                return understood(&body).map(Some);
            }
            let (mut expected, mut results, mut buffer) = (None, Vec::new(), Vec::new());
            while let Some(chunk) = answer.chunk().await.map_err(|error| self.failed(&error))? {
                buffer.extend_from_slice(&chunk);
                while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
                    let line: Vec<u8> = buffer.drain(..=end).collect();
                    if let Some(Expected { expected }) = expected {
                        let result: RotateResult = understood(&line)?;
                        each(expected, &result);
                        // What tells what is waited for is no result.
                        results.extend((!result.interim).then_some(result));
                    } else {
                        expected = Some(understood::<Expected>(&line)?);
                    }
                }
            }
            if expected.is_none_or(|Expected { expected }| expected != results.len()) {
                return Err(ClientError::failed("the daemon ended in the middle of its answer")
                    .with_help("what was asked for is in the journal: `patrold status` tells how it goes"));
            }
            results.sort_by(|one, other| one.token.cmp(&other.token));
            Ok(Some(RotateAnswer { results }))
        })
    }

    /// Gives the daemon a secret to take over.
    pub fn adopt(&self, request: &AdoptRequest, secret: &Secret) -> Result<Option<RotateAnswer>, ClientError> {
        let patience = PATIENCE + Duration::from_secs(request.timeout_seconds);
        let AdoptRequest { token, id, expires, timeout_seconds } = request;
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("token", token.as_str()).append_pair("timeout-seconds", &timeout_seconds.to_string());
        if let Some(id) = id {
            query.append_pair("id", id.as_str());
        }
        if let Some(expires) = expires {
            query.append_pair("expires", &expires.to_rfc3339());
        }
        let body = Payload { kind: "application/octet-stream", body: secret.expose().as_bytes().to_vec() };
        self.ask(Method::POST, &format!("{ADOPT}?{}", query.finish()), Some(body), patience)
    }

    /// Compares the provider's tokens with the journal.
    pub fn audit(&self, request: &AuditRequest) -> Result<Option<Audit>, ClientError> {
        self.ask(Method::POST, AUDIT, Some(Payload::json(request)?), LONG_PATIENCE)
    }

    /// Has the daemon ask its accounts and test its stores. `None` also where it is of a version that cannot.
    pub fn check(&self) -> Result<Option<Online>, ClientError> {
        match self.ask(Method::POST, CHECK, None, LONG_PATIENCE) {
            Err(error) if error.unheard => Ok(None),
            answer => answer,
        }
    }

    /// Removes old records from the journal.
    pub fn prune(&self, request: &PruneRequest) -> Result<Option<PruneAnswer>, ClientError> {
        self.ask(Method::POST, PRUNE, Some(Payload::json(request)?), LONG_PATIENCE)
    }

    /// Puts the previous token back.
    pub fn rollback(&self, request: &RollbackRequest) -> Result<Option<RotateAnswer>, ClientError> {
        let patience = PATIENCE + Duration::from_secs(request.timeout_seconds);
        self.ask(Method::POST, ROLLBACK, Some(Payload::json(request)?), patience)
    }

    /// Applies the inventory on disk.
    pub fn reload(&self) -> Result<Option<ReloadAnswer>, ClientError> {
        self.ask(Method::POST, RELOAD, None, LONG_PATIENCE)
    }

    /// Withdraws a request for a rotation that has not begun.
    pub fn cancel(&self, request: &CancelRequest) -> Result<Option<CancelAnswer>, ClientError> {
        self.ask(Method::POST, CANCEL, Some(Payload::json(request)?), PATIENCE)
    }

    /// Sends a test message.
    pub fn notify_test(&self, request: &NotifyRequest) -> Result<Option<NotifyAnswer>, ClientError> {
        self.ask(Method::POST, NOTIFY_TEST, Some(Payload::json(request)?), LONG_PATIENCE)
    }

    /// Has a token revoked that left the inventory.
    pub fn retire(&self, request: &RetireRequest) -> Result<Option<RetireAnswer>, ClientError> {
        let patience = PATIENCE + Duration::from_secs(request.timeout_seconds);
        self.ask(Method::POST, RETIRE, Some(Payload::json(request)?), patience)
    }

    fn ask<A: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        payload: Option<Payload>,
        patience: Duration,
    ) -> Result<Option<A>, ClientError> {
        self.runtime.block_on(async {
            let Some(answer) = self.send(method, path, payload, patience).await? else { return Ok(None) };
            let body = answer.bytes().await.map_err(|error| self.failed(&error))?;
            understood(&body).map(Some)
        })
    }

    /// An answer that is no refusal; its body is still to come.
    async fn send(
        &self,
        method: Method,
        path: &str,
        payload: Option<Payload>,
        patience: Duration,
    ) -> Result<Option<reqwest::Response>, ClientError> {
        // The host means nothing on a socket; the library wants one.
        let mut request = self.http.request(method, format!("http://patrold{path}")).timeout(patience);
        if let Some(Payload { kind, body }) = payload {
            request = request.header(CONTENT_TYPE, kind).body(body);
        }
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) if is_absence(&error) => return Ok(None),
            Err(error) => return Err(self.failed(&error)),
        };
        let status = answer.status();
        if status.is_success() {
            return Ok(Some(answer));
        }
        let body = answer.bytes().await.map_err(|error| self.failed(&error))?;
        let refusal = serde_json::from_slice::<Refusal>(&body).map(|refusal| refusal.error);
        let path = path.split('?').next().unwrap_or(path);
        let refusal = refusal.unwrap_or_else(|_| format!("it answers {status} to {path}"));
        let unheard = status == reqwest::StatusCode::NOT_FOUND && body.is_empty();
        Err(ClientError { unheard, ..ClientError::failed(format!("the daemon refuses: {refusal}")) })
    }

    fn failed(&self, error: &reqwest::Error) -> ClientError {
        let cause = io_cause(error);
        let why = cause.map_or_else(|| error.to_string(), ToString::to_string);
        let complaint = ClientError::failed(format!("cannot ask the daemon on {}: {why}", self.socket.display()));
        match cause.map(io::Error::kind) {
            Some(io::ErrorKind::PermissionDenied) => complaint.with_help("run this as the user that patrold runs as"),
            _ => complaint,
        }
    }
}

/// What is sent with a request.
struct Payload {
    kind: &'static str,
    body: Vec<u8>,
}

impl Payload {
    fn json(value: &impl Serialize) -> Result<Self, ClientError> {
        let unspeakable = |error| ClientError::failed(format!("the question cannot be written down: {error}"));
        let body = serde_json::to_vec(value).map_err(unspeakable)?;
        Ok(Self { kind: "application/json", body })
    }
}

fn understood<A: DeserializeOwned>(body: &[u8]) -> Result<A, ClientError> {
    serde_json::from_slice(body).map_err(|error| {
        ClientError::failed(format!("the daemon's answer is not understood: {error}"))
            .with_help("the daemon may be of another version: restart it")
    })
}

/// Whether nobody listens: there is no socket, or one that a killed daemon left behind.
fn is_absence(error: &reqwest::Error) -> bool {
    let kind = io_cause(error).map(io::Error::kind);
    error.is_connect() && matches!(kind, Some(io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused))
}

fn io_cause<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e io::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::control::Selection;
    use crate::report::rotation::RotateOutcome;

    fn request() -> RotateRequest {
        RotateRequest {
            tokens: Selection::All(true),
            timeout_seconds: 1,
            compromised: false,
            follow: false,
            interim: false,
            now: false,
        }
    }

    /// A client of a daemon that gives `answer` to the first request.
    fn asked(answer: &'static str) -> Result<Option<RotateAnswer>, ClientError> {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("control.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let server = std::thread::spawn(move || {
            // The first one only looks at who listens.
            drop(listener.accept().unwrap());
            let mut stream = listener.accept().unwrap().0;
            let mut request = Vec::new();
            while !request.ends_with(b"}") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                request.extend(byte);
            }
            let (status, body) = answer.split_once(' ').unwrap();
            write!(stream, "HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n{body}", body.len()).unwrap();
            String::from_utf8(request).unwrap()
        });
        let result = Client::at(&socket).unwrap().rotate(&request(), |_, _| {});
        let request = server.join().unwrap();
        assert!(request.starts_with("POST /rotate HTTP/1.1\r\n"), "{request}");
        assert!(request.ends_with("{\"all\":true,\"timeout-seconds\":1}"), "{request}");
        result
    }

    #[test]
    fn a_daemon_is_asked_over_its_socket() {
        let answer = asked(r#"200 {"results":[{"token":"a","outcome":"rotated","generation":2,"detail":""}]}"#)
            .unwrap()
            .unwrap();
        assert_eq!(answer.results[0].outcome, RotateOutcome::Rotated);
    }

    #[test]
    fn what_a_daemon_refuses_is_told() {
        for (sentence, answer, told) in [
            ("with a reason", r#"404 {"error":"no account `x`"}"#, "the daemon refuses: no account `x`"),
            ("without one", "500 oops", "the daemon refuses: it answers 500"),
            ("nonsense", "200 []", "the daemon's answer is not understood"),
        ] {
            let complaint = asked(answer).unwrap_err();
            assert!(complaint.message.starts_with(told), "{sentence}: {complaint}");
        }
    }

    #[test]
    fn nobody_listening_is_no_error() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("control.sock");
        let client = Client::at(&socket).unwrap();
        assert_eq!(client.rotate(&request(), |_, _| {}).unwrap(), None, "no socket");
        drop(UnixListener::bind(&socket).unwrap());
        assert_eq!(client.rotate(&request(), |_, _| {}).unwrap(), None, "a socket that was left behind");
        std::fs::remove_file(&socket).unwrap();
        std::fs::write(directory.path().join("file"), "").unwrap();
        let client = Client::at(&directory.path().join("file/control.sock")).unwrap();
        assert!(client.rotate(&request(), |_, _| {}).is_err(), "a path that cannot be");
    }
}
