//! etcd, spoken to by its JSON gateway: <https://etcd.io/docs/v3.4/dev-guide/api_grpc_gateway/>.
//!
//! Keys and values are base64 in JSON, whole numbers are strings, and what is zero is left out. A request goes to one
//! member; another one is asked where the first cannot be reached. Whether a write that has no answer was done, only
//! reading tells.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value as Json, json};
use url::Url;

use crate::files;
use crate::inventory::EtcdSettings;
use crate::outcome::{Failure, FailureCode, one_line};
use crate::secret::{Secret, SecretSource, source};
use crate::trust::{self, TrustRoots};

use super::layout::end_of;

/// A member that does not take a connection within this is passed over.
const CONNECT: Duration = Duration::from_secs(2);

/// How long an answer is waited for, unless the caller says otherwise.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

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

/// Why the engine did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// Nothing was done: no member could be reached.
    #[error("{0}")]
    Away(Failure),
    /// Nothing was done: the engine refused.
    #[error("{0}")]
    Refused(Failure),
    /// Done or not, nobody knows.
    #[error("{0}")]
    Unknown(Failure),
}

impl EngineError {
    /// What went wrong.
    pub fn failure(self) -> Failure {
        match self {
            Self::Away(failure) | Self::Refused(failure) | Self::Unknown(failure) => failure,
        }
    }
}

fn failure(detail: impl Into<String>) -> Failure {
    Failure::new(FailureCode::Journal, detail)
}

/// A key with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pair {
    pub key: String,
    pub value: Vec<u8>,
    /// The revision at which the key came to be.
    pub created: i64,
    /// The revision at which it was last written.
    pub modified: i64,
}

impl Pair {
    /// What its JSON says. `None`: it is another's, or damaged.
    pub fn read<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_slice(&self.value).ok()
    }
}

/// What must be so for a transaction to be done.
#[derive(Clone, Debug)]
pub(super) enum Compare {
    /// The revision at which the key came to be; 0: it is not there.
    Created(String, i64),
    /// The revision at which the key was last written; 0: it is not there.
    Modified(String, i64),
}

/// One step of a transaction.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Put {
        key: String,
        value: Vec<u8>,
        lease: i64,
    },
    Delete(String),
    /// From the first on, before the second.
    DeleteRange(String, String),
    Get(String),
    /// Every key that begins so.
    GetAll(String),
}

/// What became of a transaction.
#[derive(Debug)]
pub(super) struct Done {
    /// The conditions held, and the first list of steps was done; else the second.
    pub held: bool,
    pub revision: i64,
    /// What each step that reads has found, in order.
    pub found: Vec<Vec<Pair>>,
}

/// What a member says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    pub version: String,
    pub size_bytes: u64,
    pub has_leader: bool,
    /// Alarms that are raised, such as NOSPACE.
    pub alarms: Vec<String>,
}

impl Health {
    /// What this version of the engine does not guarantee, a line each.
    pub fn risks(&self) -> Vec<String> {
        let numbers: Vec<u32> = self.version.split(['.', '-', '+']).map_while(|part| part.parse().ok()).collect();
        // A leader that was paused ends leases that live when it wakes: https://github.com/etcd-io/etcd/issues/15247,
        // mended by the backports of pull request 16822.
        let mended = match numbers[..] {
            [3, 4, patch, ..] => patch >= 31,
            [3, 5, patch, ..] => patch >= 13,
            _ => true,
        };
        let risk = format!(
            "etcd {} ends leases that live when a leader wakes that was paused, and accounts change hands for it: 3.4.31, \
             3.5.13 and later do not",
            self.version
        );
        if mended { Vec::new() } else { vec![risk] }
    }
}

/// Something that happened to a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Put(Pair),
    Deleted(String),
}

/// The members of a cluster.
pub(super) struct Etcd {
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
    pub async fn new(settings: &EtcdSettings) -> Result<Self, Failure> {
        let encrypted = settings.members.iter().any(|member| member.scheme() == "https");
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
            members: settings.members.clone(),
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

    /// Does all steps of `then` where every condition holds, all steps of `otherwise` where one does not. Not asked again
    /// where no answer comes, unless nothing is written.
    pub async fn transact(
        &self,
        conditions: &[Compare],
        then: &[Step],
        otherwise: &[Step],
    ) -> Result<Done, EngineError> {
        let reads = |steps: &[Step]| steps.iter().all(|step| matches!(step, Step::Get(_) | Step::GetAll(_)));
        let again = reads(then) && reads(otherwise);
        let body = json!({
            "compare": conditions.iter().map(compare).collect::<Vec<_>>(),
            "success": then.iter().map(step).collect::<Vec<_>>(),
            "failure": otherwise.iter().map(step).collect::<Vec<_>>(),
        });
        let answer: TransactionAnswer = understood(self.ask("kv/txn", &body, PATIENCE, again).await?)?;
        let ranges = answer.responses.into_iter().filter_map(|response| response.response_range);
        let found = ranges.map(|range| range.kvs.into_iter().filter_map(pair).collect()).collect();
        Ok(Done { held: answer.succeeded, revision: answer.header.revision.0, found })
    }

    /// The value of one key.
    pub async fn get(&self, key: &str) -> Result<Option<Pair>, EngineError> {
        let done = self.transact(&[], &[Step::Get(key.to_owned())], &[]).await?;
        Ok(done.found.into_iter().flatten().next())
    }

    /// Up to `most` keys from `from` on that begin with `prefix`, in order, and the revision of the engine.
    pub async fn page(&self, prefix: &str, from: &str, most: usize) -> Result<(Vec<Pair>, i64), EngineError> {
        let body = json!({
            "key": STANDARD.encode(from),
            "range_end": STANDARD.encode(end_of(prefix)),
            "limit": most,
        });
        let answer: RangeAnswer = understood(self.ask("kv/range", &body, PATIENCE, true).await?)?;
        let revision = answer.header.revision.0;
        Ok((answer.kvs.into_iter().filter_map(pair).collect(), revision))
    }

    /// Every key that begins with `prefix`, in order.
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
        Ok(Watch { response, buffer: Vec::new() })
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

/// A stream of changes.
pub(super) struct Watch {
    response: reqwest::Response,
    buffer: Vec<u8>,
}

impl Watch {
    /// The next changes. Empty: a sign of life. `None`: the stream has ended; whoever watches reads everything anew.
    pub async fn next(&mut self) -> Option<Vec<Change>> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return changes(&line);
            }
            let chunk = self.response.chunk().await.ok()??;
            if self.buffer.len() + chunk.len() > LARGEST {
                return None;
            }
            self.buffer.extend_from_slice(&chunk);
        }
    }
}

/// What one line of a watch tells. `None`: it has ended, or cannot be understood.
fn changes(line: &[u8]) -> Option<Vec<Change>> {
    let line: WatchLine = serde_json::from_slice(line).ok()?;
    let result = line.result.filter(|result| !result.canceled)?;
    let change = |event: WatchEvent| {
        let deleted = event.kind.as_deref() == Some("DELETE");
        let pair = pair(event.kv)?;
        Some(if deleted { Change::Deleted(pair.key) } else { Change::Put(pair) })
    };
    Some(result.events.into_iter().filter_map(change).collect())
}

fn compare(condition: &Compare) -> Json {
    match condition {
        Compare::Created(key, revision) => json!({
            "key": STANDARD.encode(key), "target": "CREATE", "result": "EQUAL", "create_revision": revision.to_string(),
        }),
        Compare::Modified(key, revision) => json!({
            "key": STANDARD.encode(key), "target": "MOD", "result": "EQUAL", "mod_revision": revision.to_string(),
        }),
    }
}

fn step(step: &Step) -> Json {
    match step {
        Step::Put { key, value, lease } => json!({ "request_put": {
            "key": STANDARD.encode(key), "value": STANDARD.encode(value), "lease": lease.to_string(),
        }}),
        Step::Delete(key) => json!({ "request_delete_range": { "key": STANDARD.encode(key) } }),
        Step::DeleteRange(from, to) => json!({ "request_delete_range": {
            "key": STANDARD.encode(from), "range_end": STANDARD.encode(to),
        }}),
        Step::Get(key) => json!({ "request_range": { "key": STANDARD.encode(key) } }),
        Step::GetAll(prefix) => json!({ "request_range": {
            "key": STANDARD.encode(prefix), "range_end": STANDARD.encode(end_of(prefix)),
        }}),
    }
}

fn understood<T: DeserializeOwned>(answer: Json) -> Result<T, EngineError> {
    serde_json::from_value(answer)
        .map_err(|error| EngineError::Unknown(failure(format!("the engine's answer cannot be understood: {error}"))))
}

fn pair(raw: RawPair) -> Option<Pair> {
    let key = String::from_utf8(STANDARD.decode(raw.key).ok()?).ok()?;
    let value = STANDARD.decode(raw.value).ok()?;
    Some(Pair { key, value, created: raw.create_revision.0, modified: raw.mod_revision.0 })
}

/// The innermost cause in words.
fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    one_line(&cause.to_string(), 200)
}

/// A whole number, as a string or not; zero where it is left out.
#[derive(Clone, Copy, Debug, Default)]
struct Whole(i64);

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Number(i64),
            Text(String),
        }
        match Either::deserialize(deserializer)? {
            Either::Number(number) => Ok(Self(number)),
            // Ids are unsigned; what does not fit is still told apart from zero.
            Either::Text(text) => match (text.parse::<i64>(), text.parse::<u64>()) {
                (Ok(number), _) => Ok(Self(number)),
                (_, Ok(number)) => Ok(Self(number.cast_signed())),
                _ => Err(serde::de::Error::custom("a whole number was expected")),
            },
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Header {
    revision: Whole,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RawPair {
    key: String,
    value: String,
    create_revision: Whole,
    mod_revision: Whole,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RangeAnswer {
    header: Header,
    kvs: Vec<RawPair>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct TransactionAnswer {
    header: Header,
    succeeded: bool,
    responses: Vec<StepAnswer>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct StepAnswer {
    response_range: Option<RangeAnswer>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct LeaseAnswer {
    #[serde(rename = "ID")]
    id: Whole,
    #[serde(rename = "TTL")]
    ttl: Whole,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct StatusAnswer {
    version: String,
    #[serde(rename = "dbSize")]
    size: Whole,
    leader: Whole,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct AlarmAnswer {
    alarms: Vec<Alarm>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Alarm {
    alarm: String,
}

#[derive(Debug, Deserialize)]
struct WatchLine {
    result: Option<WatchResult>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct WatchResult {
    canceled: bool,
    events: Vec<WatchEvent>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct WatchEvent {
    #[serde(rename = "type")]
    kind: Option<String>,
    kv: RawPair,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_watch_are_understood() {
        let line = br#"{"result":{"header":{"revision":"7"},"events":[{"kv":{"key":"YQ==","create_revision":"7","mod_revision":"7","value":"Yg=="}},{"type":"DELETE","kv":{"key":"Yw==","mod_revision":"8"}}]}}"#;
        let put = Pair { key: "a".into(), value: b"b".to_vec(), created: 7, modified: 7 };
        assert_eq!(changes(line), Some(vec![Change::Put(put), Change::Deleted("c".into())]));
        assert_eq!(changes(br#"{"result":{"header":{},"created":true}}"#), Some(Vec::new()));
        assert_eq!(changes(br#"{"result":{"canceled":true,"compact_revision":"9"}}"#), None, "it was compacted");
        assert_eq!(changes(br#"{"error":{"code":14}}"#), None);
    }

    #[test]
    fn versions_that_take_leases_away_are_told() {
        for (version, risks) in
            [("3.4.23", 1), ("3.4.31", 0), ("3.5.4", 1), ("3.5.13", 0), ("3.6.0-rc.1", 0), ("", 0), ("4.0", 0)]
        {
            let health = Health { version: version.to_owned(), ..Health::default() };
            assert_eq!(health.risks().len(), risks, "{version}");
        }
    }

    #[test]
    fn what_is_left_out_is_zero() {
        let answer: LeaseAnswer = serde_json::from_str(r#"{"ID":"7587863"}"#).unwrap();
        assert_eq!((answer.id.0, answer.ttl.0), (7_587_863, 0), "a lease that has ended");
        let answer: TransactionAnswer = serde_json::from_str(r#"{"header":{"revision":"5"}}"#).unwrap();
        assert!(!answer.succeeded);
        assert!(serde_json::from_str::<LeaseAnswer>(r#"{"ID":"x"}"#).is_err());
    }
}
