//! Limits of the control socket: one user, a number of connections, a time for each request.
//!
//! The socket's mode keeps strangers away already. A user who passes it by other means, such as an open directory of an
//! operator or a descriptor that was handed on, is known by the kernel's word on who connected. Everything else is bounds:
//! a program that goes wild as the right user must not take memory, descriptors or log space from the rotations.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::{Json, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use crate::event;

use super::Refusal;

/// After an error that is not the peer's, such as too many open files, the next try is made this much later.
const PAUSE: Duration = Duration::from_secs(1);

/// What one socket is given.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once; more are closed as they come.
    pub connections: usize,
    /// From the connection to the end of the request's head.
    pub head: Duration,
    /// From there to the end of the request.
    pub body: Duration,
    /// The largest body of a request, in bytes.
    pub size: usize,
    /// From the connection to the end of the answer.
    pub whole: Duration,
}

/// Answers requests on `listener` by `router`, one for each connection, for as long as it is polled.
pub async fn serve(listener: UnixListener, router: Router, limits: Limits) {
    let own = rustix::process::geteuid().as_raw();
    let room = Arc::new(Semaphore::new(limits.connections));
    let service = TowerToHyperService::new(router.layer(from_fn_with_state(limits, complete)));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(event = event::CONTROL_DISTURBED, %error, "the control socket could not take a connection");
                sleep(PAUSE).await;
                continue;
            }
        };
        if !admits(&stream, own) {
            continue;
        }
        let Ok(place) = Arc::clone(&room).try_acquire_owned() else {
            let most = limits.connections;
            tracing::warn!(event = event::CONTROL_REFUSED, most, "too many connections to the control socket");
            continue;
        };
        let service = service.clone();
        tokio::spawn(async move {
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(limits.head).keep_alive(false);
            let connection = http.serve_connection(TokioIo::new(stream), service);
            match timeout(limits.whole, connection).await {
                Ok(Err(error)) if error.is_parse() || error.is_timeout() => {
                    tracing::warn!(event = event::CONTROL_REFUSED, %error, "what came over the control socket is no request");
                }
                // A client that hangs up early needs no answer.
                Ok(_) | Err(_) => {}
            }
            drop(place);
        });
    }
}

/// Whether the process at the other end may ask anything.
fn admits(stream: &UnixStream, own: u32) -> bool {
    let peer = match stream.peer_cred() {
        Ok(peer) => peer,
        Err(error) => {
            tracing::warn!(event = event::CONTROL_REFUSED, %error, "cannot tell which user connected to the control socket");
            return false;
        }
    };
    let admitted = may_ask(peer.uid(), own);
    if !admitted {
        let (uid, pid) = (peer.uid(), peer.pid());
        tracing::warn!(event = event::CONTROL_REFUSED, uid, pid, "a user who may not connected to the control socket");
    }
    admitted
}

/// The daemon's own user, and root, who could read the journal anyway.
fn may_ask(peer: u32, own: u32) -> bool {
    peer == own || peer == 0
}

/// Waits for the whole request before anything is done about it, within bounds.
async fn complete(State(limits): State<Limits>, request: Request, next: Next) -> Response {
    let refuse = |status: StatusCode, error: &str| (status, Json(Refusal { error: error.to_owned() })).into_response();
    let (head, body) = request.into_parts();
    match timeout(limits.body, to_bytes(body, limits.size)).await {
        Ok(Ok(bytes)) => next.run(Request::from_parts(head, Body::from(bytes))).await,
        Ok(Err(_)) => refuse(StatusCode::PAYLOAD_TOO_LARGE, "the request is too large, or broke off"),
        Err(_) => refuse(StatusCode::REQUEST_TIMEOUT, "the request was not complete in time"),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::Shutdown;
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::net::UnixStream as Client;
    use std::path::{Path, PathBuf};

    use axum::routing::post;

    use super::*;

    const LIMITS: Limits = Limits {
        connections: 2,
        head: Duration::from_millis(200),
        body: Duration::from_millis(200),
        size: 100,
        whole: Duration::from_secs(60),
    };

    /// A server that gives back what it is told.
    struct Echo {
        folder: tempfile::TempDir,
        server: tokio::task::JoinHandle<()>,
    }

    impl Echo {
        fn start() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let listener = UnixListener::bind(folder.path().join("socket")).unwrap();
            let router = Router::new().route("/", post(async |body: String| body));
            Self { folder, server: tokio::spawn(serve(listener, router, LIMITS)) }
        }

        fn path(&self) -> PathBuf {
            self.folder.path().join("socket")
        }
    }

    impl Drop for Echo {
        fn drop(&mut self) {
            self.server.abort();
        }
    }

    fn connect(path: &Path) -> Client {
        let client = Client::connect(path).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        client
    }

    /// Everything that comes back until the server hangs up.
    fn answer(mut client: Client) -> String {
        let mut answer = Vec::new();
        // A connection that is refused while it is written to is reset.
        let _ = client.read_to_end(&mut answer);
        String::from_utf8(answer).unwrap()
    }

    fn ask(path: &Path, request: &str) -> String {
        let mut client = connect(path);
        let _ = client.write_all(request.as_bytes());
        answer(client)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn whatever_comes_is_answered_or_hung_up_on() {
        let echo = Echo::start();
        let path = echo.path();
        tokio::task::spawn_blocking(move || {
            let whole = "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello";
            let long = format!("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 101\r\n\r\n{}", "x".repeat(101));
            let endless = format!("GET /{} HTTP/1.1\r\n", "x".repeat(1 << 20));
            for (sentence, request, begins, ends) in [
                ("a request", whole, "HTTP/1.1 200 ", "hello"),
                ("an endless line", &endless, "HTTP/1.1 4", ""),
                ("garbage", "\x16\x03\x01 what?\r\n\r\n", "HTTP/1.1 400 ", ""),
                ("half a head", "POST / HTTP/1.1\r\nho", "", ""),
                ("half a body", &whole[..whole.len() - 1], "HTTP/1.1 408 ", "in time\"}"),
                ("too much", &long, "HTTP/1.1 413 ", "}"),
                ("nothing", "", "", ""),
                ("still a request", whole, "HTTP/1.1 200 ", "hello"),
            ] {
                let answer = ask(&path, request);
                assert!(answer.starts_with(begins) && answer.ends_with(ends), "{sentence}: {answer}");
            }
        })
        .await
        .unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn so_many_connections_and_no_more() {
        let echo = Echo::start();
        let path = echo.path();
        tokio::task::spawn_blocking(move || {
            let idle: Vec<_> = (0..LIMITS.connections).map(|_| connect(&path)).collect();
            assert_eq!(answer(connect(&path)), "", "one too many");
            for client in idle {
                client.shutdown(Shutdown::Both).unwrap();
            }
            let request = "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nok";
            // The server has to notice first.
            let served = (0..100_000).map(|_| ask(&path, request)).find(|answer| !answer.is_empty());
            assert!(served.unwrap().ends_with("ok"));
        })
        .await
        .unwrap();
    }

    #[test]
    fn only_the_daemons_user_and_root_may_ask() {
        for (sentence, peer, own, expected) in [
            ("the daemon's user", 990, 990, true),
            ("root", 0, 990, true),
            ("somebody else", 1000, 990, false),
            ("somebody else, of a daemon of root", 1000, 0, false),
        ] {
            assert_eq!(may_ask(peer, own), expected, "{sentence}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_stranger_is_refused_even_where_the_mode_lets_him_in() {
        if !rustix::process::geteuid().is_root() {
            // Nobody else can become another user.
            return;
        }
        let echo = Echo::start();
        let (folder, path) = (echo.folder.path().to_owned(), echo.path());
        let mode = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        mode(&path, 0o666);
        mode(&folder, 0o711);
        // The rights of this one thread, which ends here.
        let stranger = std::thread::spawn(move || {
            rustix::thread::set_thread_uid(rustix::process::Uid::from_raw(65534)).unwrap();
            ask(&path, "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nhi")
        });
        let heard = tokio::task::spawn_blocking(move || stranger.join().unwrap()).await.unwrap();
        assert_eq!(heard, "");
    }
}
