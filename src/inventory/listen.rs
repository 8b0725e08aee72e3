//! Where the daemon answers over HTTP, and whom.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::secret::SecretSource;

/// `listen` of `[daemon]`, with `listen-tls` and `listen-auth`. Beyond loopback it has both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Port 0 stands for any free one.
    pub address: SocketAddr,
    /// `None`: plain HTTP.
    pub tls: Option<ListenTls>,
    /// `None`: whoever can connect is answered.
    pub auth: Option<ListenAuth>,
}

/// What the daemon proves who it is with. Both are in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenTls {
    /// The certificate, followed by those that lead to its root.
    pub cert: PathBuf,
    pub key: SecretSource,
}

/// What a caller proves that it may look with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAuth {
    /// `Authorization: Bearer`.
    Bearer(SecretSource),
    /// `Authorization: Basic`, as a browser asks for it.
    Basic { username: String, password: SecretSource },
}

impl Listen {
    /// Everything secret that it refers to.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretSource> {
        let key = self.tls.as_ref().map(|tls| &tls.key);
        let auth = self.auth.as_ref().map(|auth| match auth {
            ListenAuth::Bearer(source) | ListenAuth::Basic { password: source, .. } => source,
        });
        key.into_iter().chain(auth)
    }
}
