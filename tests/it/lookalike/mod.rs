//! Stores and providers as their vendors document them, in this process and with a memory: each keeps what is written to
//! it or minted there, and misbehaves on order. What no document says, a look-alike does not do.

mod ci;
mod cloud;
mod cluster;
mod devops;
mod hosted;
mod minting;
mod own;
mod proven;
mod ready;
mod selfhosted;
mod several;
pub mod shelf;
mod vault;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use ci::{Doppler, Gitea, Github, Gitlab};
pub use cloud::{Gcp, KeyVault, SecretsManager, Ssm};
pub use cluster::{Consul, Etcd, Kubernetes};
pub use devops::VariableGroup;
pub use hosted::{Databricks, Entra, GoogleCloud, Tailscale};
pub use minting::{Ledger, Provider};
pub use own::Own;
pub use proven::{GithubPat, Grafana, Nautobot, TerraformTeam, TerraformUser};
pub use ready::{Bao, GithubApp, GitlabProjects, GitlabTokens, Iam};
pub use selfhosted::{Datahub, GitlabDeploy, Harbor, Jfrog, Netbox450, Sonarqube99};
pub use several::{Authentik, Zabbix};
pub use vault::Vault;

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: String,
    /// Decoded, without the query.
    pub path: String,
    pub query: BTreeMap<String, String>,
    /// By their names in lower case.
    pub headers: BTreeMap<String, String>,
    pub text: String,
    /// Null where it is no JSON.
    pub body: Value,
}

/// A status and a body; a text is sent as it is.
pub type Answer = (u16, Value);

/// The API of one store or provider, with what it holds. What only stores have, a provider leaves out.
pub trait Api: Send + 'static {
    /// Answers a request, and does what it says.
    fn answer(&mut self, asked: &Asked) -> Answer;

    /// Whether the request is meant to change something.
    fn is_write(&self, asked: &Asked) -> bool {
        !matches!(asked.method.as_str(), "GET" | "LIST")
    }

    /// The value of the slot.
    fn value(&self) -> Option<String> {
        None
    }

    /// Somebody else gives the slot a value.
    fn intrude(&mut self, _value: &str) {}

    /// Everything of the target but the slot; `None`: there is nothing besides.
    fn neighbours(&self) -> Option<String> {
        None
    }

    /// Somebody else writes to the target, and leaves the slot alone. False: the target is the slot, and nothing is done.
    fn race(&mut self) -> bool {
        false
    }

    /// Deletes the target so that it could be recovered. False: the store has no such thing.
    fn soften(&mut self) -> bool {
        false
    }

    /// From now on the store is not what the definition is for. False: it cannot be told.
    fn misplace(&mut self) -> bool {
        false
    }
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Answered by this status, and nothing is done.
    Status(u16),
    /// Answered late.
    Slow,
    /// It is done, and the connection breaks before the answer.
    LostAnswer,
    /// It is done, and no answer ever comes.
    Silence,
    /// Somebody else is faster by a moment.
    Race,
    /// The next read shows what was there before this write.
    Stale,
}

/// A running store. Dropping it ends it.
pub struct Lookalike<A> {
    shared: Arc<Mutex<Shared<A>>>,
    pub url: String,
    server: JoinHandle<()>,
}

struct Shared<A> {
    api: A,
    /// For the writes to come.
    faults: VecDeque<Fault>,
    /// Answers that reads get in place of the true ones.
    stale: Option<BTreeMap<String, Answer>>,
    last_reads: BTreeMap<String, Answer>,
    requests: watch::Sender<Vec<Asked>>,
    writes: watch::Sender<usize>,
}

impl<A> Drop for Lookalike<A> {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl<A: Api> Lookalike<A> {
    pub async fn start(api: A) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Mutex::new(Shared {
            api,
            faults: VecDeque::new(),
            stale: None,
            last_reads: BTreeMap::new(),
            requests: watch::Sender::default(),
            writes: watch::Sender::new(0),
        }));
        let serving = Arc::clone(&shared);
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = Arc::clone(&serving);
                tokio::spawn(async move { serve(stream, &shared).await });
            }
        });
        Self { shared, url, server }
    }

    fn shared(&self) -> MutexGuard<'_, Shared<A>> {
        self.shared.lock().unwrap()
    }

    /// What the store holds.
    pub fn api<T>(&self, with: impl FnOnce(&mut A) -> T) -> T {
        with(&mut self.shared().api)
    }

    /// The next write meets this.
    pub fn next(&self, fault: Fault) {
        self.shared().faults.push_back(fault);
    }

    /// How many writes were done.
    pub fn writes(&self) -> usize {
        *self.shared().writes.borrow()
    }

    /// Waits until so many writes were done.
    pub async fn until_written(&self, count: usize) {
        let mut follow = self.shared().writes.subscribe();
        follow.wait_for(|writes| *writes >= count).await.unwrap();
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<Asked> {
        self.shared().requests.borrow().clone()
    }

    /// Waits until the requests so far are as `are` wants them.
    pub async fn until(&self, are: impl Fn(&[Asked]) -> bool) {
        let mut follow = self.shared().requests.subscribe();
        follow.wait_for(|requests| are(requests)).await.unwrap();
    }
}

async fn serve<A: Api>(mut stream: TcpStream, shared: &Mutex<Shared<A>>) -> Option<()> {
    let asked = read(&mut stream).await.ok()??;
    let (fault, answer) = {
        let mut shared = shared.lock().unwrap();
        let shared = &mut *shared;
        shared.requests.send_modify(|requests| requests.push(asked.clone()));
        let place = format!("{} {:?} {}", asked.path, asked.query, asked.text);
        if shared.api.is_write(&asked) {
            let fault = shared.faults.pop_front();
            let answer = if let Some(Fault::Status(status)) = fault {
                (status, json!({ "errors": ["on order"] }))
            } else {
                if fault == Some(Fault::Race) && !shared.api.race() {
                    shared.api.intrude("theirs");
                }
                if fault == Some(Fault::Stale) {
                    shared.stale = Some(shared.last_reads.clone());
                }
                let answer = shared.api.answer(&asked);
                shared.writes.send_modify(|writes| *writes += 1);
                answer
            };
            (fault, answer)
        } else {
            let stale = shared.stale.take().and_then(|reads| reads.get(&place).cloned());
            let answer = stale.unwrap_or_else(|| shared.api.answer(&asked));
            shared.last_reads.insert(place, answer.clone());
            (None, answer)
        }
    };
    match fault {
        Some(Fault::LostAnswer) => return None,
        Some(Fault::Silence) => std::future::pending().await,
        Some(Fault::Slow) => tokio::time::sleep(Duration::from_millis(50)).await,
        _ => {}
    }
    let (status, body) = answer;
    let body = match body {
        Value::Null => String::new(),
        // As it is: not every service speaks JSON.
        Value::String(text) => text,
        body => body.to_string(),
    };
    let wait = if status == 429 { "Retry-After: 0\r\n" } else { "" };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n{wait}Content-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all((head + &body).as_bytes()).await.ok()
}

/// A request; `None` where the connection ended before there was one.
async fn read(stream: &mut TcpStream) -> io::Result<Option<Asked>> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.lines();
    let mut first = lines.next().unwrap_or_default().split(' ');
    let (method, target) = (first.next().unwrap_or_default(), first.next().unwrap_or_default());
    let headers: BTreeMap<_, _> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    while bytes.len() < end + 4 + length {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    }
    let text = String::from_utf8_lossy(&bytes[end + 4..]).into_owned();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let query = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    // A form's decoding, in which a plus sign is one.
    let path = url::form_urlencoded::parse(format!("p={}", path.replace('+', "%2B")).as_bytes())
        .map(|(_, value)| value.into_owned())
        .collect();
    let body = serde_json::from_str(&text).unwrap_or_default();
    Ok(Some(Asked { method: method.to_owned(), path, query, headers, text, body }))
}
