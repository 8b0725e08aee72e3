//! The daemon's HTTP server: health, metrics and status, to be looked at and nothing else. No request changes anything, no
//! answer holds a secret, no path is a file's.
//!
//! Whatever comes in is bounded: connections, the time for a TLS handshake and for a head, the size of a head, the life of
//! a connection. What is beyond a bound is refused, counted and logged.
//!
//! The server never keeps the daemon from its work: where it cannot listen, that is logged and tried again.

mod access;
mod answer;
mod refusals;
mod route;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::clock::Clock;
use crate::event;
use crate::inventory::Listen;

use super::Running;

use access::Access;
use answer::{Peer, Responder};
use refusals::Refused;

/// Connections at once; one more is closed at once.
pub const CONNECTIONS: usize = 128;

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// How long a head may take, and how long a connection may be silent before it.
const HEAD: Duration = Duration::from_secs(5);

/// A head has no more bytes, its URL included.
const LARGEST_HEAD: usize = 16 * 1024;

/// A head has no more lines.
const HEADERS: usize = 64;

/// How long a connection may live, however busy it is: who reads an answer slowly holds it in memory.
const LIFETIME: Duration = Duration::from_secs(60);

/// Where the server cannot listen, it is tried again after this.
const RETRY: Duration = Duration::from_secs(30);

/// After an error that is no connection's own (no file descriptors left) nobody is accepted for so long.
const PAUSE: Duration = Duration::from_secs(1);

/// The server of a running daemon. It listens as the inventory in effect says, also after a reload, and ends when this is
/// dropped.
#[derive(Debug)]
pub struct Front {
    handle: FrontHandle,
    task: JoinHandle<()>,
}

/// Speaks with the server, and does not keep it.
#[derive(Clone, Debug)]
pub struct FrontHandle {
    refresh: Arc<Notify>,
    bound: watch::Receiver<Option<SocketAddr>>,
}

impl Front {
    /// Starts to listen as the inventory in effect says.
    pub fn start<C: Clock>(running: Arc<Running<C>>) -> Self {
        let refresh = Arc::new(Notify::new());
        let (tell, bound) = watch::channel(None);
        let task = tokio::spawn(serve(running, Arc::clone(&refresh), tell));
        Self { handle: FrontHandle { refresh, bound }, task }
    }

    /// A handle on it.
    pub fn handle(&self) -> &FrontHandle {
        &self.handle
    }
}

impl FrontHandle {
    /// Reads certificates and secrets anew.
    pub fn refresh(&self) {
        self.refresh.notify_one();
    }

    /// Tells where it listens, and of every change.
    pub fn bound(&self) -> watch::Receiver<Option<SocketAddr>> {
        self.bound.clone()
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A socket, and how it is guarded.
struct Open {
    listener: TcpListener,
    wanted: SocketAddr,
    access: Access,
}

async fn serve<C: Clock>(running: Arc<Running<C>>, refresh: Arc<Notify>, bound: watch::Sender<Option<SocketAddr>>) {
    let mut reloads = running.reloader.follow();
    let responder = Arc::new(Responder::new(Arc::clone(&running)));
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let mut open: Option<Open> = None;
    let mut told: Option<String> = None;
    // Connections end with the server.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        reloads.mark_unchanged();
        let listen = running.core.inventory().daemon.listen.clone();
        let failed = settle(&mut open, listen.as_ref()).await.err();
        if let Some(reason) = failed.as_ref().filter(|reason| told.as_ref() != Some(reason)) {
            let still = open.as_ref().and_then(|open| open.listener.local_addr().ok());
            let still = still.map(|address| format!("; it still listens on {address} as before")).unwrap_or_default();
            tracing::error!(
                event = event::HTTP_DOWN,
                "the HTTP server cannot listen as the inventory says: {reason}{still}; it is tried again"
            );
        }
        let retry = failed.is_some();
        told = failed;
        let address = open.as_ref().and_then(|open| open.listener.local_addr().ok());
        bound.send_if_modified(|before| {
            let moved = *before != address;
            if let (true, Some(address)) = (moved, address) {
                let scheme = if listen.as_ref().is_some_and(|listen| listen.tls.is_some()) { "https" } else { "http" };
                tracing::info!(event = event::HTTP_LISTENS, "status page and metrics on {scheme}://{address}/");
            }
            *before = address;
            moved
        });
        loop {
            tokio::select! {
                Ok(()) = reloads.changed() => break,
                () = refresh.notified() => break,
                () = tokio::time::sleep(RETRY), if retry => break,
                Some(_) = connections.join_next() => {}
                (stream, peer, access) = accept(open.as_ref()) => {
                    let Ok(permit) = Arc::clone(&room).try_acquire_owned() else {
                        responder.refuse(Refused::TooManyConnections, peer, "as many connections as allowed are open");
                        continue;
                    };
                    let responder = Arc::clone(&responder);
                    connections.spawn(async move {
                        converse(responder, stream, peer, access).await;
                        drop(permit);
                    });
                }
            }
        }
    }
}

/// Brings the open socket in line with what is wanted: the new one is bound before the old one is given up, unless both
/// need the same port. On an error everything stays as it was.
async fn settle(open: &mut Option<Open>, listen: Option<&Listen>) -> Result<(), String> {
    let Some(listen) = listen else {
        *open = None;
        return Ok(());
    };
    let access = Access::read(listen).await?;
    if let Some(open) = open.as_mut().filter(|open| open.wanted == listen.address) {
        open.access = access;
        return Ok(());
    }
    let told = |error: io::Error| format!("`listen` of [daemon]: {}: {error}", listen.address);
    let listener = match TcpListener::bind(listen.address).await {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && shares_port(open.as_ref(), listen.address) => {
            let old = open.take().map(|old| (old.wanted, old.access));
            match TcpListener::bind(listen.address).await {
                Err(error) => {
                    if let Some((wanted, access)) = old {
                        let listener = TcpListener::bind(wanted).await.map_err(told)?;
                        *open = Some(Open { listener, wanted, access });
                    }
                    Err(error)
                }
                bound => bound,
            }
        }
        bound => bound,
    };
    *open = Some(Open { listener: listener.map_err(told)?, wanted: listen.address, access });
    Ok(())
}

fn shares_port(open: Option<&Open>, address: SocketAddr) -> bool {
    open.and_then(|open| open.listener.local_addr().ok()).is_some_and(|old| old.port() == address.port())
}

/// The next connection; none where nothing is open.
async fn accept(open: Option<&Open>) -> (TcpStream, SocketAddr, Access) {
    let Some(open) = open else { return std::future::pending().await };
    loop {
        match open.listener.accept().await {
            Ok((stream, peer)) => return (stream, peer, open.access.clone()),
            Err(error) if is_of_connection(&error) => {}
            Err(error) => {
                tracing::error!(event = event::HTTP_DISTURBED, %error, "the HTTP server cannot accept connections; it is tried again");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Whether what failed was one connection that is gone already (accept(2)).
fn is_of_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

async fn converse<C: Clock>(responder: Arc<Responder<C>>, stream: TcpStream, address: SocketAddr, access: Access) {
    let loopback = stream.local_addr().is_ok_and(|local| local.ip().to_canonical().is_loopback());
    let Access { tls, guard } = access;
    let peer = Peer { address, loopback, guard };
    let Some(tls) = tls else { return exchange(responder, stream, peer).await };
    match timeout(HANDSHAKE, tls.accept(stream)).await {
        Ok(Ok(stream)) => exchange(responder, stream, peer).await,
        Ok(Err(error)) => responder.refuse(Refused::BrokenTls, address, &error.to_string()),
        Err(_) => responder.refuse(Refused::BrokenTls, address, "the handshake took too long"),
    }
}

async fn exchange<C: Clock>(responder: Arc<Responder<C>>, stream: impl AsyncRead + AsyncWrite + Unpin, peer: Peer) {
    let address = peer.address;
    let service = service_fn(|request| {
        let (responder, peer) = (Arc::clone(&responder), peer.clone());
        async move { Ok::<_, Infallible>(responder.answer(&request, &peer).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(LARGEST_HEAD)
        .max_headers(HEADERS)
        .serve_connection(TokioIo::new(stream), service);
    match timeout(LIFETIME, connection).await {
        Ok(Ok(())) | Err(_) => {}
        // A client that went away is nobody's fault.
        Ok(Err(error)) if error.is_incomplete_message() || error.is_closed() => {}
        Ok(Err(error)) => responder.refuse(Refused::BrokenRequest, address, &error.to_string()),
    }
}
