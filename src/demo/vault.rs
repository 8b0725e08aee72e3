//! A Vault on loopback: the key-value engine of version 2 at `secret`, in memory. It speaks what `OpenBao` 2.7.2 answered;
//! what patrold does not ask for, it does not have.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{Method, Response};
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::wire::Answer;
use crate::secret::Secret;

/// The engine refuses more.
const LARGEST_REQUEST: usize = 1024 * 1024;

/// By path: versions, the newest last.
type Documents = BTreeMap<String, Vec<Map<String, Value>>>;

/// What the Vault holds. Clones share it.
#[derive(Clone, Default)]
pub struct Shelf(Arc<Mutex<Documents>>);

/// A running Vault. Dropping it ends it.
#[derive(Debug)]
pub struct Vault {
    url: String,
    shelf: Shelf,
    server: JoinHandle<io::Result<()>>,
}

/// What requests need.
#[derive(Clone)]
struct Engine {
    shelf: Shelf,
    token: String,
}

impl Shelf {
    /// What `key` of the newest version of a document holds.
    pub fn entry(&self, path: &str, key: &str) -> Option<Secret> {
        let documents = self.documents();
        Some(Secret::new(documents.get(path)?.last()?.get(key)?.as_str()?))
    }

    /// How many versions a document has.
    pub fn versions(&self, path: &str) -> usize {
        self.documents().get(path).map_or(0, Vec::len)
    }

    /// Somebody writes a document.
    pub fn put(&self, path: &str, document: Map<String, Value>) {
        self.documents().entry(path.to_owned()).or_default().push(document);
    }

    fn documents(&self) -> MutexGuard<'_, Documents> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Shelf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.documents().keys()).finish()
    }
}

impl Vault {
    /// Starts one that accepts `token`. Fails where no port can be bound.
    pub async fn start(token: &str) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let shelf = Shelf::default();
        let engine = Engine { shelf: shelf.clone(), token: token.to_owned() };
        let router = Router::new().fallback(answer).with_state(engine);
        let server = tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { url, shelf, server })
    }

    /// Its address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What it holds.
    pub fn shelf(&self) -> &Shelf {
        &self.shelf
    }
}

impl Drop for Vault {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn answer(State(engine): State<Engine>, request: Request) -> Response<Body> {
    let (head, body) = request.into_parts();
    let token = head.headers.get("x-vault-token").and_then(|token| token.to_str().ok());
    if token != Some(engine.token.as_str()) {
        return errors(403, &["permission denied"]).into_response();
    }
    let Ok(body) = to_bytes(body, LARGEST_REQUEST).await else { return errors(413, &[]).into_response() };
    let path = head.uri.path().strip_prefix("/v1/").unwrap_or_default();
    if path.starts_with("sys/internal/ui/mounts/secret/") {
        return Answer::json(200, json!({ "data": { "type": "kv", "options": { "version": "2" } } })).into_response();
    }
    let Some(path) = path.strip_prefix("secret/data/") else {
        let error = format!("no handler for route \"{path}\". route entry not found.");
        return errors(404, &[&error]).into_response();
    };
    let body = serde_json::from_slice(&body).unwrap_or_default();
    document(&mut engine.shelf.documents(), &head.method, path, &body).into_response()
}

/// Answers a request for one document.
fn document(documents: &mut Documents, method: &Method, path: &str, body: &Value) -> Answer {
    let version = documents.get(path).map_or(0, Vec::len);
    match *method {
        Method::GET => match documents.get(path).and_then(|versions| versions.last()) {
            None => errors(404, &[]),
            Some(data) => Answer::json(
                200,
                json!({ "data": { "data": data, "metadata": { "version": version, "destroyed": false } } }),
            ),
        },
        Method::POST => {
            let cas = &body["options"]["cas"];
            if !cas.is_null() && cas.as_u64() != Some(version as u64) {
                return errors(400, &["check-and-set parameter did not match the current version"]);
            }
            let Some(data) = body["data"].as_object() else { return errors(400, &["no data provided"]) };
            documents.entry(path.to_owned()).or_default().push(data.clone());
            Answer::json(200, json!({ "data": { "version": version + 1 } }))
        }
        _ => errors(405, &["unsupported operation"]),
    }
}

fn errors(status: u16, errors: &[&str]) -> Answer {
    Answer::json(status, json!({ "errors": errors }))
}
