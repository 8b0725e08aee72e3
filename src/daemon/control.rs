//! The control socket: what the command line may ask a running daemon. See [`crate::control`] for the protocol.
//!
//! The socket belongs to the daemon's user alone: its mode is 0600 before anybody can connect. `guard` checks each peer
//! and bounds its requests.

use std::convert::Infallible;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::future::join_all;
use futures_util::stream;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;

use crate::clock::Clock;
use crate::control::guard::{self, Limits};
use crate::control::{
    ADOPT, AUDIT, AdoptRequest, AuditRequest, CANCEL, CHECK, CancelAnswer, CancelRequest, EXPLAIN, Expected,
    ExplainAnswer, ExplainRequest, LINES, NOTIFY_TEST, NotifyAnswer, NotifyRequest, PRUNE, PruneAnswer, PruneRequest,
    RELOAD, RETIRE, ROLLBACK, ROTATE, Refusal, RetireRequest, RollbackRequest, RotateRequest, STATUS,
};
use crate::journal::archive::Pruned;
use crate::names::TokenName;
use crate::report::audit::Audit;
use crate::report::reload::ReloadAnswer;
use crate::report::retirement::RetireAnswer;
use crate::report::rotation::{RotateAnswer, RotateOutcome, RotateResult};
use crate::rotation::act::operator::Offer;
use crate::secret::{SecretParts, source};
use crate::view::online::Online;

use super::Running;
use super::notifier;
use super::reload::Reloader;
use super::rotate::{Answer, OperatorRequest, RequestResult};
use super::shared::Shared;

/// The longest request, in bytes: the names of all tokens of a large inventory.
const LARGEST_REQUEST: usize = 8 << 20;

const JSON: &str = "application/json";

/// The longest wait for an answer.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// A request that takes longer is told what it waits for.
const INTERIM: Duration = Duration::from_secs(1);

/// More than an operator with a few scripts needs, and less than would hurt.
const LIMITS: Limits = Limits {
    connections: 64,
    head: Duration::from_secs(10),
    body: Duration::from_secs(30),
    size: LARGEST_REQUEST,
    whole: LONGEST_WAIT.saturating_add(Duration::from_secs(300)),
};

/// What requests need.
#[derive(Debug)]
struct Served<C> {
    running: Arc<Running<C>>,
    /// One status for all who ask at the same time.
    status: Arc<Shared>,
}

impl<C> Clone for Served<C> {
    fn clone(&self) -> Self {
        Self { running: Arc::clone(&self.running), status: Arc::clone(&self.status) }
    }
}

/// A bound control socket; its file is removed when it is dropped.
#[derive(Debug)]
pub struct Socket {
    listener: Option<UnixListener>,
    path: PathBuf,
}

impl Socket {
    /// Binds `path`. Law: nothing is removed there but our own socket, once nobody listens on it. A socket that a killed daemon left there is replaced; one that somebody listens on is not.
    pub async fn bind(path: &Path) -> io::Result<Self> {
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory)?;
        }
        match UnixStream::connect(path).await {
            Ok(_) => return Err(io::Error::new(io::ErrorKind::AddrInUse, "another daemon listens on it")),
            Err(_) => remove_own(path)?,
        }
        // Bound under another name and moved into place once its mode is right: there is no moment at which a stranger
        // could connect. Always the same name, so that what a kill leaves of it is found again.
        let mut hidden = path.as_os_str().to_owned();
        hidden.push(".new");
        remove_own(Path::new(&hidden))?;
        let listener = UnixListener::bind(&hidden)?;
        std::fs::set_permissions(&hidden, Permissions::from_mode(0o600))?;
        std::fs::rename(&hidden, path)?;
        Ok(Self { listener: Some(listener), path: path.to_owned() })
    }

    /// Answers requests until the task is dropped.
    pub async fn serve<C: Clock>(mut self, running: Arc<Running<C>>) -> io::Result<()> {
        let Some(listener) = self.listener.take() else { return Ok(()) };
        let router = Router::new()
            .route(STATUS, get(status::<C>))
            .route(EXPLAIN, get(explain::<C>))
            .route(ROTATE, post(rotate::<C>))
            .route(ADOPT, post(adopt::<C>))
            .route(ROLLBACK, post(rollback::<C>))
            .route(CANCEL, post(cancel::<C>))
            .route(RETIRE, post(retire::<C>))
            .route(AUDIT, post(audit::<C>))
            .route(CHECK, post(check::<C>))
            .route(PRUNE, post(prune::<C>))
            .route(RELOAD, post(reload::<C>))
            .route(NOTIFY_TEST, post(notify_test::<C>))
            .layer(DefaultBodyLimit::max(LARGEST_REQUEST))
            .with_state(Served { running, status: Arc::default() });
        guard::serve(listener, router, LIMITS).await;
        Ok(())
    }
}

/// Removes the socket that a killed daemon left at `path`, where there is one, and nothing else.
fn remove_own(path: &Path) -> io::Result<()> {
    let found = match path.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found?,
    };
    let own = rustix::process::geteuid();
    if found.file_type().is_socket() && (found.uid() == own.as_raw() || own.is_root()) {
        return std::fs::remove_file(path);
    }
    let what = if found.file_type().is_socket() { "a socket of another user" } else { "no socket" };
    let path = path.display();
    Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("{path} is {what}: name another `control` in [daemon]")))
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Gone already: nothing to clean up.
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn status<C: Clock>(State(served): State<Served<C>>) -> Result<Response, (StatusCode, Json<Refusal>)> {
    let running = Arc::clone(&served.running);
    let theirs = running.theirs().await;
    let make = move || serde_json::to_string(&running.status_of_all(theirs.as_deref())).unwrap_or_default();
    let text = served.status.get(make).await;
    let failed = |error: io::Error| (StatusCode::INTERNAL_SERVER_ERROR, Json(Refusal { error: error.to_string() }));
    Ok(([(CONTENT_TYPE, JSON)], text.map_err(failed)?).into_response())
}

async fn explain<C: Clock>(
    State(served): State<Served<C>>,
    Query(request): Query<ExplainRequest>,
) -> Json<ExplainAnswer> {
    Json(served.running.explain_anywhere(&request.token).await)
}

async fn rotate<C: Clock>(
    State(served): State<Served<C>>,
    Json(request): Json<RotateRequest>,
) -> Result<Response, (StatusCode, Json<Refusal>)> {
    let running = &served.running;
    let names = request.tokens.resolve(&running.core.inventory());
    let names = names.map_err(|refusal| (StatusCode::NOT_FOUND, Json(refusal)))?;
    let asked = match (request.compromised, request.now) {
        (true, _) => OperatorRequest::Replace,
        (false, true) => OperatorRequest::RotateNow,
        (false, false) => OperatorRequest::Rotate,
    };
    if request.follow {
        return Ok(follow(served, names, asked, request.timeout_seconds, request.interim));
    }
    let results =
        names.iter().map(|name| served.running.execute(name, asked.clone(), patience(request.timeout_seconds)));
    Ok(Json(RotateAnswer { results: join_all(results).await }).into_response())
}

/// Answers with the number of results, and then with each result once it is there, a line of JSON each.
fn follow<C: Clock>(
    served: Served<C>,
    names: Vec<TokenName>,
    asked: OperatorRequest,
    timeout: u64,
    interim: bool,
) -> Response {
    let (sender, lines) = mpsc::unbounded_channel();
    // The client may have gone away. Its request is executed all the same.
    let tell = move |line: serde_json::Result<String>| drop(line.map(|line| sender.send(line + "\n")));
    tell(serde_json::to_string(&Expected { expected: names.len() }));
    tokio::spawn(async move {
        let each = names.iter().map(|name| async {
            let mut granted = pin!(served.running.execute(name, asked.clone(), patience(timeout)));
            let early = tokio::time::timeout(INTERIM, granted.as_mut()).await;
            let result = if let Ok(result) = early {
                result
            } else {
                let waits = served.running.core.waits_for(name).filter(|_| interim);
                if let Some(waits) = waits {
                    tell(serde_json::to_string(&waits));
                }
                granted.await
            };
            tell(serde_json::to_string(&result));
        });
        join_all(each).await;
    });
    let lines = stream::unfold(lines, |mut lines| async move {
        let line = lines.recv().await?;
        Some((Ok::<_, Infallible>(line), lines))
    });
    ([(CONTENT_TYPE, LINES)], Body::from_stream(lines)).into_response()
}

async fn adopt<C: Clock>(
    State(served): State<Served<C>>,
    Query(request): Query<AdoptRequest>,
    body: Bytes,
) -> Result<Json<RotateAnswer>, (StatusCode, Json<Refusal>)> {
    let secret = source::parse(&body).map_err(|why| {
        let error = format!("the secret cannot be used: {why}");
        (StatusCode::UNPROCESSABLE_ENTITY, Json(Refusal { error }))
    })?;
    let offer = Offer { secret: SecretParts::new(secret), id: request.id, expires: request.expires };
    let asked = OperatorRequest::Adopt(Box::new(offer));
    let result = served.running.execute(&request.token, asked, patience(request.timeout_seconds)).await;
    Ok(Json(RotateAnswer { results: vec![result] }))
}

async fn rollback<C: Clock>(
    State(served): State<Served<C>>,
    Json(request): Json<RollbackRequest>,
) -> Json<RotateAnswer> {
    let patience = patience(request.timeout_seconds);
    let result = served.running.execute(&request.token, OperatorRequest::Recall, patience).await;
    Json(RotateAnswer { results: vec![result] })
}

async fn cancel<C: Clock>(State(served): State<Served<C>>, Json(request): Json<CancelRequest>) -> Json<CancelAnswer> {
    let detail = served.running.cancel(&request.token).await.err().unwrap_or_default();
    Json(CancelAnswer { cancelled: detail.is_empty(), detail })
}

async fn retire<C: Clock>(State(served): State<Served<C>>, Json(request): Json<RetireRequest>) -> Json<RetireAnswer> {
    let RetireRequest { token, grace_seconds, timeout_seconds } = request;
    Json(served.running.retire(&token, grace_seconds.map(Duration::from_secs), patience(timeout_seconds)).await)
}

/// How long an answer is waited for that may take so many seconds.
fn patience(seconds: u64) -> Duration {
    Duration::from_secs(seconds).min(LONGEST_WAIT)
}

async fn audit<C: Clock>(State(served): State<Served<C>>, Json(request): Json<AuditRequest>) -> Json<Audit> {
    let running = &served.running;
    Json(running.audit(request.account.as_ref(), &request.reap).await)
}

async fn check<C: Clock>(State(served): State<Served<C>>) -> Json<Online> {
    Json(served.running.core.check().await)
}

async fn prune<C: Clock>(
    State(served): State<Served<C>>,
    Json(request): Json<PruneRequest>,
) -> Result<Json<PruneAnswer>, (StatusCode, Json<Refusal>)> {
    let pruned = served.running.core.machine.journal.prune(request.before).await;
    let Pruned { removed, first } =
        pruned.map_err(|failure| (StatusCode::INTERNAL_SERVER_ERROR, Json(Refusal { error: failure.to_string() })))?;
    Ok(Json(PruneAnswer { removed, first }))
}

async fn reload<C: Clock>(State(served): State<Served<C>>) -> Json<ReloadAnswer> {
    let reloader: &Reloader<C> = &served.running.reloader;
    let reload = reloader.reload().await;
    Json(ReloadAnswer { applied: reload.problems.is_empty(), changes: reload.changes, problems: reload.problems })
}

async fn notify_test<C: Clock>(
    State(served): State<Served<C>>,
    Json(request): Json<NotifyRequest>,
) -> Result<Json<NotifyAnswer>, (StatusCode, Json<Refusal>)> {
    let inventory = served.running.core.inventory();
    let Some(channel) = inventory.channels.get(&request.channel) else {
        let error = format!("the inventory has no channel \"{}\"", request.channel);
        return Err((StatusCode::NOT_FOUND, Json(Refusal { error })));
    };
    let answer = notifier::answer(notifier::test(&served.running.notifier.sender, channel).await);
    if answer.sent {
        served.running.notifier.retry();
        served.running.core.stirred.notify_one();
    }
    Ok(Json(answer))
}

impl RequestResult {
    /// The result as the command line gets it.
    pub fn report(self) -> RotateResult {
        let (outcome, generation, detail) = match self.answer {
            Answer::Rotated(number) => (RotateOutcome::Rotated, Some(number), String::new()),
            Answer::Renewed(number) => (RotateOutcome::Rotated, Some(number), "renewed in place".to_owned()),
            Answer::Failed(detail) => (RotateOutcome::Failed, None, detail),
            Answer::Waiting(detail) => (RotateOutcome::Waiting, None, detail),
            Answer::Refused(detail) => (RotateOutcome::Refused, None, detail),
            Answer::Unknown => (RotateOutcome::UnknownToken, None, "the inventory has no such token".to_owned()),
        };
        RotateResult { token: self.token, outcome, generation, detail, left: self.left, interim: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_a_kill_leaves_does_not_keep_the_next_daemon_from_listening() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        for (sentence, left) in [
            ("nothing is left", &[][..]),
            ("killed while it listened", &["control.sock"]),
            ("killed before the socket was in place", &["control.sock.new"]),
            ("killed twice", &["control.sock", "control.sock.new"]),
        ] {
            for name in left {
                // Dropping the listener leaves the file, as a kill does.
                drop(UnixListener::bind(folder.path().join(name)).unwrap());
            }
            let socket = Socket::bind(&path).await.expect(sentence);
            assert!(Socket::bind(&path).await.is_err(), "{sentence}: somebody listens");
            drop(socket);
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "{sentence}");
        }
    }

    #[tokio::test]
    async fn what_is_no_socket_stays_where_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        for name in ["control.sock", "control.sock.new"] {
            let file = folder.path().join(name);
            std::fs::write(&file, "precious").unwrap();
            let refused = Socket::bind(&path).await.unwrap_err().to_string();
            assert!(refused.contains("is no socket"), "{name}: {refused}");
            assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious", "{name}");
            std::fs::remove_file(&file).unwrap();
        }
    }
}
