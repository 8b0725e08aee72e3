//! The certificate of the server and the secrets of its readers, read from where the inventory says.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use axum::http::HeaderValue;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::files;
use crate::inventory::{Listen, ListenAuth, ListenTls};
use crate::secret::{Secret, source};

/// Shorter secrets can be guessed by whoever may ask often.
const SHORTEST: usize = 16;

/// What connections begin with and requests are measured against.
#[derive(Clone, Default)]
pub struct Access {
    pub tls: Option<TlsAcceptor>,
    pub guard: Option<Arc<Guard>>,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").field("tls", &self.tls.is_some()).field("guard", &self.guard).finish()
    }
}

/// The one secret that opens the door. Only its hash is kept.
#[derive(Debug)]
pub struct Guard {
    scheme: Scheme,
    hash: Hash,
}

/// A hash of what follows the scheme's name.
#[derive(PartialEq, Eq)]
struct Hash([u8; 32]);

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hash(..)")
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Bearer,
    Basic,
}

impl Access {
    /// What `listen` asks for, read anew; the error is one sentence that names the file.
    pub async fn read(listen: &Listen) -> Result<Self, String> {
        let tls = match &listen.tls {
            Some(tls) => Some(acceptor(tls).await?),
            None => None,
        };
        let guard = match &listen.auth {
            Some(auth) => Some(Arc::new(guard(auth).await?)),
            None => None,
        };
        Ok(Self { tls, guard })
    }
}

impl Guard {
    /// Admits who presents `secret` as a bearer token.
    pub fn bearer(secret: &Secret) -> Self {
        Self { scheme: Scheme::Bearer, hash: Hash::of(secret.expose().as_bytes()) }
    }

    /// Admits `username` with `password`.
    pub fn basic(username: &str, password: &Secret) -> Self {
        let pair = zeroize::Zeroizing::new(format!("{username}:{}", password.expose()));
        Self { scheme: Scheme::Basic, hash: Hash::of(pair.as_bytes()) }
    }

    /// Whether the value of an `Authorization` header opens the door. Hashes are compared, so that the time it takes says
    /// nothing of the secret.
    pub fn admits(&self, header: Option<&HeaderValue>) -> bool {
        let Some((scheme, rest)) = header.and_then(|value| value.to_str().ok()).and_then(|text| text.split_once(' '))
        else {
            return false;
        };
        let rest = rest.trim_matches(' ');
        match self.scheme {
            Scheme::Bearer if scheme.eq_ignore_ascii_case("Bearer") => Hash::of(rest.as_bytes()) == self.hash,
            Scheme::Basic if scheme.eq_ignore_ascii_case("Basic") => {
                STANDARD.decode(rest).is_ok_and(|pair| Hash::of(&pair) == self.hash)
            }
            Scheme::Bearer | Scheme::Basic => false,
        }
    }

    /// What a browser or a program is told to come back with.
    pub fn challenge(&self) -> HeaderValue {
        HeaderValue::from_static(match self.scheme {
            Scheme::Bearer => "Bearer realm=\"patrold\"",
            Scheme::Basic => "Basic realm=\"patrold\", charset=\"UTF-8\"",
        })
    }
}

impl Hash {
    fn of(bytes: &[u8]) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
        Self(hash)
    }
}

async fn guard(auth: &ListenAuth) -> Result<Guard, String> {
    let (ListenAuth::Bearer(source) | ListenAuth::Basic { password: source, .. }) = auth;
    let secret = source::read(source).await.map_err(|failure| format!("`listen-auth` of [daemon]: {failure}"))?;
    if secret.expose().chars().count() < SHORTEST {
        return Err(format!(
            "`listen-auth` of [daemon]: {source} has fewer than {SHORTEST} characters; make one with `openssl rand -hex 32`"
        ));
    }
    Ok(match auth {
        ListenAuth::Bearer(_) => Guard::bearer(&secret),
        ListenAuth::Basic { username, .. } => Guard::basic(username, &secret),
    })
}

async fn acceptor(tls: &ListenTls) -> Result<TlsAcceptor, String> {
    let told = |reason: String| format!("`listen-tls` of [daemon]: {reason}");
    let path = tls.cert.display();
    let pem = files::read_off_runtime(&tls.cert, files::LARGEST_CERTIFICATES).await;
    let pem = pem.map_err(|error| told(format!("{path} {error}; {}", error.remedy())))?;
    let chain = chain(&tls.cert, &pem).map_err(told)?;
    let key = source::read(&tls.key).await.map_err(|failure| told(failure.to_string()))?;
    let key = PrivateKeyDer::from_pem_slice(key.expose().as_bytes())
        .map_err(|_| told(format!("{} holds no private key in PEM", tls.key)))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| told(error.to_string()))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| told(format!("{path} and {} do not go together: {error}", tls.key)))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn chain(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match chain {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        _ => Err(format!("{} holds no certificate in PEM (-----BEGIN CERTIFICATE-----)", path.display())),
    }
}
