//! etcd, spoken to by its JSON gateway: <https://etcd.io/docs/v3.4/dev-guide/api_grpc_gateway/>.
//!
//! Keys and values are base64 in JSON, whole numbers are strings, and what is zero is left out. A request goes to one
//! member; another one is asked where the first cannot be reached. Whether a write that has no answer was done, only
//! reading tells.

mod wire;

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value as Json, json};
use url::Url;

use crate::files;
use crate::inventory::{EngineKind, EngineSettings};
use crate::journal::fleet::layout::end_of;
use crate::outcome::{Failure, FailureCode, one_line};
use crate::secret::{Secret, SecretSource, source};
use crate::trust::{self, TrustRoots};

pub use self::wire::Watch;
use self::wire::{AlarmAnswer, LeaseAnswer, RangeAnswer, StatusAnswer, TransactionAnswer, compare, look, pair, step};
use self::wire::{innermost, understood};
use super::{Compare, Done, EngineError, Health, Look, PATIENCE, Pair, Since, Step, failure};

/// A member that does not take a connection within this is passed over.
const CONNECT: Duration = Duration::from_secs(2);

/// Larger answers are none of this program's.
const LARGEST: usize = 256 << 20;

/// What gRPC calls its errors: <https://grpc.io/docs/guides/status-codes/>.
mod code {
    pub(super) const INVALID_ARGUMENT: i64 = 3;
    pub(super) const PERMISSION_DENIED: i64 = 7;
    pub(super) const RESOURCE_EXHAUSTED: i64 = 8;
    pub(super) const FAILED_PRECONDITION: i64 = 9;
    pub(super) const OUT_OF_RANGE: i64 = 11;
    pub(super) const UNIMPLEMENTED: i64 = 12;
    pub(super) const UNAUTHENTICATED: i64 = 16;
    pub(super) const NOT_FOUND: i64 = 5;
}

/// The members of a cluster.
pub struct Etcd {
    members: Vec<Url>,
    client: reqwest::Client,
    login: Option<(String, SecretSource)>,
    /// What the last login gave.
    ticket: Mutex<Option<Secret>>,
    /// The member that is asked first: the last one that answered.
    first: AtomicUsize,
}

impl std::fmt::Debug for Etcd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Etcd").field("members", &self.members).finish_non_exhaustive()
    }
}

impl Etcd {
    /// Reads the trust roots, on the blocking pool; connects to nobody yet.
    pub async fn new(members: &[Url], settings: &EngineSettings) -> Result<Self, Failure> {
        let encrypted = members.iter().any(|member| member.scheme() == "https");
        let tls = if encrypted {
            let policy = settings.tls.clone();
            let roots = files::off_runtime(Path::new("/"), move |_| Ok(TrustRoots::read(&policy))).await;
            let roots = roots.map_err(|error| Failure::new(FailureCode::CaFile, error.to_string()))?;
            roots.map_err(|error| Failure::new(FailureCode::CaFile, format!("{error}; {}", error.remedy)))?.config()
        } else {
            trust::nobody()
        };
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .redirect(reqwest::redirect::Policy::none())
            // A commit that is sent twice is made twice, or not at all.
            .retry(reqwest::retry::never())
            .http1_only()
            .connect_timeout(CONNECT)
            .no_proxy()
            .build()
            .map_err(|error| failure(error.to_string()))?;
        Ok(Self {
            members: members.to_vec(),
            client,
            login: settings.login.clone(),
            ticket: Mutex::default(),
            first: AtomicUsize::new(0),
        })
    }

    /// What a member answers to `body` at `path`. `again`: the request changes nothing, or nothing more when it is done
    /// twice, so that another member may be asked where one does not answer.
    async fn ask(&self, path: &str, body: &Json, patience: Duration, again: bool) -> Result<Json, EngineError> {
        let start = self.first.load(Ordering::Relaxed);
        let mut last = EngineError::Away(failure("the engine has no member"));
        for number in 0..self.members.len() {
            let member = (start + number) % self.members.len();
            match self.ask_member(member, path, body, patience).await {
                Ok(answer) => {
                    self.first.store(member, Ordering::Relaxed);
                    return Ok(answer);
                }
                Err(error @ EngineError::Away(_)) => last = error,
                Err(error @ EngineError::Unknown(_)) if again => last = error,
                Err(error) => {
                    if matches!(error, EngineError::Unknown(_)) {
                        // The next request, which finds out what happened, goes to another member first.
                        self.first.store((member + 1) % self.members.len(), Ordering::Relaxed);
                    }
                    return Err(error);
                }
            }
        }
        Err(last)
    }

    async fn ask_member(
        &self,
        member: usize,
        path: &str,
        body: &Json,
        patience: Duration,
    ) -> Result<Json, EngineError> {
        let had = self.ticket();
        let ticket = match (&self.login, had) {
            (Some(_), None) => Some(self.log_in(member).await?),
            (_, had) => had,
        };
        match self.send(member, path, body, ticket.as_ref(), patience).await {
            Ok(answer) => Ok(answer),
            Err(Answered::Other(error)) => Err(error),
            // It is checked before anything is done. The ticket has expired, or the member was restarted.
            Err(Answered::LoginNeeded(_)) if self.login.is_some() => {
                let ticket = self.log_in(member).await?;
                match self.send(member, path, body, Some(&ticket), patience).await {
                    Ok(answer) => Ok(answer),
                    Err(Answered::Other(error)) => Err(error),
                    Err(Answered::LoginNeeded(message)) => Err(EngineError::Refused(refused_login(&message))),
                }
            }
            Err(Answered::LoginNeeded(message)) => Err(EngineError::Refused(failure(format!(
                "the engine asks for a login ({message}): write `credential` in `engine` of [fleet]"
            )))),
        }
    }

    fn ticket(&self) -> Option<Secret> {
        self.ticket.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn log_in(&self, member: usize) -> Result<Secret, EngineError> {
        let Some((username, password)) = &self.login else {
            return Err(EngineError::Refused(failure("there is no login")));
        };
        let password = source::read(password).await.map_err(EngineError::Refused)?;
        let body = json!({ "name": username, "password": password.expose() });
        match self.send(member, "auth/authenticate", &body, None, PATIENCE).await {
            Ok(answer) => match answer.get("token").and_then(Json::as_str) {
                Some(ticket) => {
                    let ticket = Secret::new(ticket);
                    *self.ticket.lock().unwrap_or_else(PoisonError::into_inner) = Some(ticket.clone());
                    Ok(ticket)
                }
                None => Err(EngineError::Refused(failure("the engine's answer to the login holds no token"))),
            },
            Err(Answered::LoginNeeded(message)) => Err(EngineError::Refused(refused_login(&message))),
            // No login does anything.
            Err(Answered::Other(EngineError::Unknown(failure))) => Err(EngineError::Away(failure)),
            Err(Answered::Other(error)) => Err(error),
        }
    }

    /// One request to one member.
    async fn send(
        &self,
        member: usize,
        path: &str,
        body: &Json,
        ticket: Option<&Secret>,
        patience: Duration,
    ) -> Result<Json, Answered> {
        let response = tokio::time::timeout(patience, self.begin(member, path, body, ticket));
        let text = async {
            let mut response = response.await.map_err(|_| {
                EngineError::Unknown(failure(format!("{} did not answer within {patience:?}", self.place(member))))
            })??;
            let status = response.status().as_u16();
            let mut bytes = Vec::new();
            loop {
                let chunk = tokio::time::timeout(PATIENCE, response.chunk()).await;
                match chunk {
                    Ok(Ok(Some(chunk))) if bytes.len() + chunk.len() <= LARGEST => bytes.extend_from_slice(&chunk),
                    Ok(Ok(None)) => return Ok((status, bytes)),
                    _ => {
                        let what = format!("the answer of {} broke off", self.place(member));
                        return Err(EngineError::Unknown(failure(what)));
                    }
                }
            }
        };
        let (status, bytes) = text.await.map_err(Answered::Other)?;
        let answer: Option<Json> = serde_json::from_slice(&bytes).ok();
        match (status, answer) {
            (200, Some(answer)) => Ok(answer),
            (status, answer) => Err(self.refusal(member, status, answer.as_ref())),
        }
    }

    /// Sends, and gives what begins to answer.
    async fn begin(
        &self,
        member: usize,
        path: &str,
        body: &Json,
        ticket: Option<&Secret>,
    ) -> Result<reqwest::Response, EngineError> {
        let url = self.members[member]
            .join(&format!("v3/{path}"))
            .map_err(|error| EngineError::Refused(failure(format!("{} is no address: {error}", self.place(member)))))?;
        let mut request = self.client.post(url).header("content-type", "application/json").body(body.to_string());
        if let Some(ticket) = ticket {
            request = request.header("authorization", ticket.expose());
        }
        request.send().await.map_err(|error| {
            let reason = innermost(&error);
            let what = failure(format!("{}: {reason}", self.place(member)));
            if error.is_connect() || error.is_builder() { EngineError::Away(what) } else { EngineError::Unknown(what) }
        })
    }

    /// What an answer means that is none.
    fn refusal(&self, member: usize, status: u16, answer: Option<&Json>) -> Answered {
        let text = |key: &str| answer.and_then(|answer| answer.get(key)).and_then(Json::as_str);
        let message = one_line(text("message").or_else(|| text("error")).unwrap_or("no reason"), 200);
        let code = answer.and_then(|answer| answer.get("code")).and_then(Json::as_i64).unwrap_or(-1);
        let place = self.place(member);
        let refused =
            |remedy: &str| Answered::Other(EngineError::Refused(failure(format!("{place}: {message}{remedy}"))));
        match (code, status) {
            (code::UNAUTHENTICATED, _) | (_, 401) => Answered::LoginNeeded(message),
            (code::INVALID_ARGUMENT, _) if message.contains("user name is empty") => Answered::LoginNeeded(message),
            (code::INVALID_ARGUMENT, _) if message.contains("authentication failed") => Answered::LoginNeeded(message),
            (code::PERMISSION_DENIED, _) => {
                refused(": give its user a role that may read and write the keys below /patrold/")
            }
            (code::RESOURCE_EXHAUSTED, _) if message.contains("space exceeded") => refused(
                ": the engine is full and takes no writes; compact and defragment it or raise its quota, then \
                 `etcdctl alarm disarm`; patrold goes on by itself",
            ),
            (code::INVALID_ARGUMENT | code::RESOURCE_EXHAUSTED | code::FAILED_PRECONDITION | code::OUT_OF_RANGE, _) => {
                refused("")
            }
            (code::NOT_FOUND, _) if message.contains("lease") => refused(""),
            (code::UNIMPLEMENTED, _) | (_, 404) => refused(
                ": it does not speak etcd's JSON gateway (/v3): etcd 3.4 or later, without --enable-grpc-gateway=false",
            ),
            _ => Answered::Other(EngineError::Unknown(failure(format!("{place}: {message} (HTTP {status})")))),
        }
    }

    fn place(&self, member: usize) -> String {
        let url = &self.members[member];
        match (url.host_str(), url.port_or_known_default()) {
            (Some(host), Some(port)) => format!("etcd {host}:{port}"),
            _ => "etcd".to_owned(),
        }
    }

    pub async fn transact(
        &self,
        conditions: &[Compare],
        steps: &[Step],
        otherwise: &[String],
    ) -> Result<Done, EngineError> {
        let body = json!({
            "compare": conditions.iter().map(compare).collect::<Vec<_>>(),
            "success": steps.iter().map(step).collect::<Vec<_>>(),
            "failure": otherwise.iter().map(|key| look(&Look::At(key.clone()))).collect::<Vec<_>>(),
        });
        let answer: TransactionAnswer = understood(self.ask("kv/txn", &body, PATIENCE, false).await?)?;
        if answer.succeeded {
            return Ok(Done::Held(answer.header.revision.0));
        }
        Ok(Done::Denied(answer.found().into_iter().map(|found| found.into_iter().next()).collect()))
    }

    pub async fn read(&self, looks: &[Look]) -> Result<Vec<Vec<Pair>>, EngineError> {
        let body = json!({ "success": looks.iter().map(look).collect::<Vec<_>>() });
        let answer: TransactionAnswer = understood(self.ask("kv/txn", &body, PATIENCE, true).await?)?;
        Ok(answer.found())
    }

    /// Up to `most` keys from `from` on that begin with `prefix`, in order, and the revision of the engine.
    async fn page(&self, prefix: &str, from: &str, most: usize) -> Result<(Vec<Pair>, i64), EngineError> {
        let body = json!({
            "key": STANDARD.encode(from),
            "range_end": STANDARD.encode(end_of(prefix)),
            "limit": most,
        });
        let answer: RangeAnswer = understood(self.ask("kv/range", &body, PATIENCE, true).await?)?;
        let revision = answer.header.revision.0;
        Ok((answer.kvs.into_iter().filter_map(pair).collect(), revision))
    }

    pub async fn all(&self, prefix: &str) -> Result<Vec<Pair>, EngineError> {
        const PAGE: usize = 500;
        let (mut all, mut from) = (Vec::new(), prefix.to_owned());
        loop {
            let (page, _) = self.page(prefix, &from, PAGE).await?;
            let full = page.len() == PAGE;
            // The next key there is: the last one and a zero byte.
            from = page.last().map_or_else(String::new, |last| format!("{}\0", last.key));
            all.extend(page);
            if !full {
                return Ok(all);
            }
        }
    }

    pub async fn snapshot(&self, prefix: &str) -> Result<(Vec<Pair>, Since), EngineError> {
        // Of this revision or an earlier one: what is told twice does no harm.
        let (_, revision) = self.page(prefix, prefix, 1).await?;
        Ok((self.all(prefix).await?, Since::Revision(revision + 1)))
    }

    /// A lease of `ttl`.
    pub async fn grant(&self, ttl: Duration) -> Result<i64, EngineError> {
        let body = json!({ "TTL": ttl.as_secs().max(1) });
        let answer: LeaseAnswer = understood(self.ask("lease/grant", &body, PATIENCE, true).await?)?;
        Ok(answer.id.0)
    }

    /// Keeps a lease alive, at any member. False: it has ended.
    pub async fn keep(&self, lease: i64, patience: Duration) -> Result<bool, EngineError> {
        let body = json!({ "ID": lease.to_string() });
        let answer = self.ask("lease/keepalive", &body, patience, true).await?;
        // A stream of one answer.
        let answer = answer.get("result").cloned().unwrap_or(answer);
        let answer: LeaseAnswer = understood(answer)?;
        Ok(answer.ttl.0 > 0)
    }

    /// Ends a lease, and everything that depends on it.
    pub async fn end_lease(&self, lease: i64) -> Result<(), EngineError> {
        let body = json!({ "ID": lease.to_string() });
        self.ask("lease/revoke", &body, PATIENCE, true).await.map(drop)
    }

    /// What the member says of itself that is asked first.
    pub async fn health(&self) -> Result<Health, EngineError> {
        let status: StatusAnswer = understood(self.ask("maintenance/status", &json!({}), PATIENCE, true).await?)?;
        let alarms = self.ask("maintenance/alarm", &json!({ "action": "GET" }), PATIENCE, true).await;
        let alarms: AlarmAnswer = alarms.and_then(understood).unwrap_or_default();
        Ok(Health {
            kind: EngineKind::Etcd,
            risks: risks(&status.version),
            version: status.version,
            size_bytes: u64::try_from(status.size.0).unwrap_or_default(),
            has_leader: status.leader.0 != 0,
            alarms: alarms.alarms.into_iter().map(|alarm| alarm.alarm).collect(),
        })
    }

    /// Follows every change of keys that begin with `prefix`, from `revision` on.
    pub async fn watch(&self, prefix: &str, revision: i64) -> Result<Watch, EngineError> {
        let body = json!({ "create_request": {
            "key": STANDARD.encode(prefix),
            "range_end": STANDARD.encode(end_of(prefix)),
            "start_revision": revision.to_string(),
            "progress_notify": true,
        }});
        let member = self.first.load(Ordering::Relaxed) % self.members.len().max(1);
        let ticket = self.ticket();
        let begun = tokio::time::timeout(PATIENCE, self.begin(member, "watch", &body, ticket.as_ref())).await;
        let response = begun.map_err(|_| EngineError::Away(failure("the watch did not begin")))??;
        if response.status().as_u16() != 200 {
            return Err(EngineError::Away(failure(format!("the watch was refused (HTTP {})", response.status()))));
        }
        Ok(Watch::new(response))
    }
}

/// What a member answered that is no result.
enum Answered {
    /// It wants a ticket, or another one.
    LoginNeeded(String),
    Other(EngineError),
}

fn refused_login(message: &str) -> Failure {
    failure(format!(
        "the engine does not accept the user name and password of `credential` in `engine` of [fleet]: {message}"
    ))
}

/// What this version does not guarantee, a line each.
fn risks(version: &str) -> Vec<String> {
    let numbers: Vec<u32> = version.split(['.', '-', '+']).map_while(|part| part.parse().ok()).collect();
    // A leader that was paused ends leases that live when it wakes: https://github.com/etcd-io/etcd/issues/15247, mended
    // by the backports of pull request 16822.
    let mended = match numbers[..] {
        [3, 4, patch, ..] => patch >= 31,
        [3, 5, patch, ..] => patch >= 13,
        _ => true,
    };
    let risk = format!(
        "etcd {version} ends leases that live when a leader wakes that was paused, and accounts change hands for it: \
         3.4.31, 3.5.13 and later do not"
    );
    if mended { Vec::new() } else { vec![risk] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_that_take_leases_away_are_told() {
        for (version, expected) in
            [("3.4.23", 1), ("3.4.31", 0), ("3.5.4", 1), ("3.5.13", 0), ("3.6.0-rc.1", 0), ("", 0), ("4.0", 0)]
        {
            assert_eq!(risks(version).len(), expected, "{version}");
        }
    }
}
