//! The client of the control socket. See [`crate::control`] for the protocol.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use rustls::{ClientConfig, RootCertStore};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::runtime::Runtime;

use crate::control::{EXPLAIN, ExplainAnswer, ROTATE, Refusal, RotateAnswer, RotateRequest, STATUS};
use crate::names::TokenName;
use crate::view::status::Status;

use super::Complaint;

/// A daemon answers what it knows at once.
const PATIENCE: Duration = Duration::from_secs(30);

/// Asks a daemon. Each question answers `None` where no daemon runs.
pub(super) struct Client {
    http: reqwest::Client,
    runtime: Runtime,
    socket: PathBuf,
}

impl Client {
    /// A client of the daemon that listens on `socket`; connects when it is asked.
    pub(super) fn new(socket: &Path) -> Result<Self, Complaint> {
        let broken = |error: &dyn Error| Complaint::failed(format!("the HTTP client cannot be made: {error}"));
        // The library insists on TLS settings also where no TLS is.
        let tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| broken(&error))?
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        let http = reqwest::Client::builder().tls_backend_preconfigured(tls).no_proxy().unix_socket(socket).build();
        Ok(Self {
            http: http.map_err(|error| broken(&error))?,
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(|error| broken(&error))?,
            socket: socket.to_owned(),
        })
    }

    /// The status of the daemon.
    pub(super) fn status(&self) -> Result<Option<Status>, Complaint> {
        self.ask(Method::GET, STATUS, None::<&()>, PATIENCE)
    }

    /// Why a token is or is not rotated now.
    pub(super) fn explain(&self, token: &TokenName) -> Result<Option<ExplainAnswer>, Complaint> {
        // Nothing in a name has a meaning in a URL.
        self.ask(Method::GET, &format!("{EXPLAIN}?token={token}"), None::<&()>, PATIENCE)
    }

    /// Rotates tokens, waiting as long as `request` says.
    pub(super) fn rotate(&self, request: &RotateRequest) -> Result<Option<RotateAnswer>, Complaint> {
        let patience = PATIENCE + Duration::from_secs(request.timeout_seconds);
        self.ask(Method::POST, ROTATE, Some(request), patience)
    }

    fn ask<A: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
        patience: Duration,
    ) -> Result<Option<A>, Complaint> {
        // The host means nothing on a socket; the library wants one.
        let mut request = self.http.request(method, format!("http://patrold{path}")).timeout(patience);
        if let Some(body) = body {
            let body = serde_json::to_vec(body).map_err(io::Error::from)?;
            request = request.header(reqwest::header::CONTENT_TYPE, "application/json").body(body);
        }
        self.runtime.block_on(async {
            let answer = match request.send().await {
                Ok(answer) => answer,
                Err(error) if is_absence(&error) => return Ok(None),
                Err(error) => return Err(self.failed(&error)),
            };
            let status = answer.status();
            let body = answer.bytes().await.map_err(|error| self.failed(&error))?;
            if !status.is_success() {
                let refusal = serde_json::from_slice::<Refusal>(&body).map(|refusal| refusal.error);
                let refusal = refusal.unwrap_or_else(|_| format!("it answers {status} to {path}"));
                return Err(Complaint::failed(format!("the daemon refuses: {refusal}")));
            }
            serde_json::from_slice(&body).map(Some).map_err(|error| {
                Complaint::failed(format!("the daemon's answer is not understood: {error}"))
                    .with_help("the daemon may be of another version: restart it")
            })
        })
    }

    fn failed(&self, error: &reqwest::Error) -> Complaint {
        let cause = io_cause(error);
        let why = cause.map_or_else(|| error.to_string(), ToString::to_string);
        let complaint = Complaint::failed(format!("cannot ask the daemon on {}: {why}", self.socket.display()));
        match cause.map(io::Error::kind) {
            Some(io::ErrorKind::PermissionDenied) => complaint.with_help("run this as the user that patrold runs as"),
            _ => complaint,
        }
    }
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
    use crate::control::{RotateOutcome, Selection};
    use crate::exit::Exit;

    fn request() -> RotateRequest {
        RotateRequest { tokens: Selection::All(true), timeout_seconds: 1 }
    }

    /// A client of a daemon that gives `answer` to the first request.
    fn asked(answer: &'static str) -> Result<Option<RotateAnswer>, Complaint> {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("control.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let server = std::thread::spawn(move || {
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
        let result = Client::new(&socket).unwrap().rotate(&request());
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
            assert_eq!(complaint.exit, Exit::Failed, "{sentence}");
        }
    }

    #[test]
    fn nobody_listening_is_no_error() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("control.sock");
        let client = Client::new(&socket).unwrap();
        assert_eq!(client.rotate(&request()).unwrap(), None, "no socket");
        drop(UnixListener::bind(&socket).unwrap());
        assert_eq!(client.rotate(&request()).unwrap(), None, "a socket that was left behind");
        std::fs::remove_file(&socket).unwrap();
        std::fs::write(directory.path().join("file"), "").unwrap();
        let client = Client::new(&directory.path().join("file/control.sock")).unwrap();
        assert!(client.rotate(&request()).is_err(), "a path that cannot be");
    }
}
