//! How far the connection of a request has come, so that a time that runs out is told by its phase.
//!
//! The HTTP library bounds name, TCP, proxy and TLS by one time, and does not tell which of them took it. It makes a
//! connection within the task of the request that needs one, and TLS begins by asking for an earlier session with the
//! server: the memory of sessions is ours, and notes it.

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;

use rustls::client::{
    ClientSessionMemoryCache, ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue,
};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, NamedGroup};

/// Sessions that are remembered: eight with the server, as many as rustls keeps of one, and eight with a proxy.
const SESSIONS: usize = 16;

tokio::task_local! {
    static REQUEST: Progress;
}

/// What is known of the connection that a request waits for.
struct Progress {
    host: String,
    shakes_hands: Cell<bool>,
}

/// Runs `request` to `host` to its end. Returns with it whether a TLS handshake with that host had begun.
pub(super) async fn watch<T>(host: &str, request: impl Future<Output = T>) -> (T, bool) {
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let watched = async {
        let ended = request.await;
        (ended, REQUEST.with(|progress| progress.shakes_hands.get()))
    };
    REQUEST.scope(Progress { host, shakes_hands: Cell::new(false) }, watched).await
}

/// `config` with a memory of sessions that notes when a handshake begins.
pub(super) fn observed(mut config: ClientConfig) -> ClientConfig {
    config.resumption = Resumption::store(Arc::new(Witness(ClientSessionMemoryCache::new(SESSIONS))));
    config
}

/// rustls's own memory of sessions, and who asks for it.
struct Witness(ClientSessionMemoryCache);

impl fmt::Debug for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Witness").finish_non_exhaustive()
    }
}

impl ClientSessionStore for Witness {
    fn set_kx_hint(&self, server_name: ServerName<'static>, group: NamedGroup) {
        self.0.set_kx_hint(server_name, group);
    }

    fn kx_hint(&self, server_name: &ServerName<'_>) -> Option<NamedGroup> {
        // A proxy that is spoken to by TLS has a handshake of its own. Outside of a request nobody asks.
        let _ = REQUEST.try_with(|progress| {
            progress.shakes_hands.set(progress.shakes_hands.get() || server_name.to_str() == progress.host);
        });
        self.0.kx_hint(server_name)
    }

    fn set_tls12_session(&self, server_name: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.0.set_tls12_session(server_name, value);
    }

    fn tls12_session(&self, server_name: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.0.tls12_session(server_name)
    }

    fn remove_tls12_session(&self, server_name: &ServerName<'static>) {
        self.0.remove_tls12_session(server_name);
    }

    fn insert_tls13_ticket(&self, server_name: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.0.insert_tls13_ticket(server_name, value);
    }

    fn take_tls13_ticket(&self, server_name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.0.take_tls13_ticket(server_name)
    }
}
