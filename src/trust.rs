//! Trust roots: the certificates by which a server may prove itself, read from a file or from the system.
//!
//! Trust never widens in silence: what the operator names (`ca-file`, `SSL_CERT_FILE`, `SSL_CERT_DIR`) is used or is an
//! error. The roots that are compiled in serve only machines whose system has none at all.
//!
//! A certificate of a `ca-file` is an authority and a pin at once: a server whose own certificate stands in the file
//! byte for byte is trusted for the names in it, whoever signed it. That is what curl, Python and OpenSSL make of the
//! certificate that `openssl req -x509` writes, which calls itself an authority and is no valid server certificate by
//! the letter of RFC 5280.

mod pin;
mod verifier;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use ring::digest::{Context, SHA256};
use rustls::crypto::ring as provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier};
use zeroize::Zeroizing;

pub use self::pin::Pin;
pub use self::verifier::Untrusted;
use self::verifier::Verifier;
use crate::files::{self, LARGEST_CERTIFICATES, ReadError};

/// Names a file of the roots to use instead of the system's; OpenSSL's variable.
const FILE_VARIABLE: &str = "SSL_CERT_FILE";

/// Names directories of them, separated by colons.
const DIRECTORY_VARIABLE: &str = "SSL_CERT_DIR";

/// `tls` of an account: how both sides of a connection prove themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct TlsPolicy {
    /// Trust roots in PEM. None: `SSL_CERT_FILE` and `SSL_CERT_DIR` where they are set, else what the operating system
    /// keeps.
    pub ca_file: Option<PathBuf>,
    /// The system's roots are trusted beside those of the file.
    pub system_roots: bool,
    /// What this side proves itself with, where a server asks.
    pub client: Option<ClientCertificate>,
    /// Keys that the server may have; empty: any that a root vouches for. A server with one of these keys is trusted for
    /// the names in its certificate, whoever signed it.
    pub pins: Vec<Pin>,
    /// Only TLS 1.3 will do.
    pub only_1_3: bool,
}

/// The files of a client certificate.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClientCertificate {
    /// In PEM, its own chain below it.
    pub certificate: PathBuf,
    /// In PEM, not encrypted.
    pub key: PathBuf,
}

impl TlsPolicy {
    /// Every file that it names.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let client = self.client.iter().flat_map(|client| [&client.certificate, &client.key]);
        self.ca_file.iter().chain(client).map(PathBuf::as_path)
    }

    /// Where its trust roots come from, in words.
    pub fn place(&self) -> String {
        match &self.ca_file {
            Some(path) => path.display().to_string(),
            None => "the system".to_owned(),
        }
    }
}

/// Trust roots cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} {reason}")]
pub struct TrustError {
    what: String,
    reason: String,
    /// What an operator does about it.
    pub remedy: &'static str,
}

/// Trust roots. Equal where their certificates are.
#[derive(Clone)]
pub struct TrustRoots {
    /// Sessions that were agreed on under other roots are not resumed: each set of roots has a configuration of its own.
    config: ClientConfig,
    digest: [u8; 32],
    /// None of a file or of the system, but those compiled in.
    compiled_in: bool,
}

impl PartialEq for TrustRoots {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl std::fmt::Debug for TrustRoots {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TrustRoots").field("compiled_in", &self.compiled_in).finish_non_exhaustive()
    }
}

impl TrustRoots {
    /// Reads the files that `policy` names. Blocks, for a bounded time.
    pub fn read(policy: &TlsPolicy) -> Result<Self, TrustError> {
        let system = || of_system(|name| std::env::var_os(name).filter(|value| !value.is_empty()));
        let found = match &policy.ca_file {
            None => system()?,
            Some(path) => {
                let own = of_file(path, path.display().to_string())?;
                if policy.system_roots { own.beside(system()?) } else { own }
            }
        };
        Self::new(found, policy)
    }

    /// For clients that believe what these roots vouch for.
    pub fn config(&self) -> ClientConfig {
        self.config.clone()
    }

    /// Whether the system has no roots, and those that are compiled in serve.
    pub fn is_compiled_in(&self) -> bool {
        self.compiled_in
    }

    fn new(found: Found, policy: &TlsPolicy) -> Result<Self, TrustError> {
        let Found { roots, certificates, compiled_in } = found;
        let mut hash = Context::new(&SHA256);
        // Each with its length: nothing can be moved from one to the next.
        let mut count = |part: &[u8]| {
            hash.update(&part.len().to_be_bytes());
            hash.update(part);
        };
        for root in &roots.roots {
            count(&root.subject);
            count(&root.subject_public_key_info);
        }
        for certificate in &certificates {
            count(certificate);
        }
        policy.pins.iter().for_each(|pin| count(&pin.0));
        count(&[u8::from(policy.only_1_3)]);
        let pins = policy.pins.clone();
        let verifier = Verifier::new(roots, certificates, pins).ok_or_else(|| no_certificate(policy.place()))?;
        // "Dangerous" is what rustls calls every verifier that is not its own; this one asks rustls's.
        let builder = builder(policy.only_1_3).dangerous().with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = match &policy.client {
            None => builder.with_no_client_auth(),
            Some(ClientCertificate { certificate, key }) => {
                let (what, key_what) = (certificate.display().to_string(), key.display().to_string());
                let chain = self::certificates(certificate, &what)?;
                let pem =
                    files::read(key, LARGEST_CERTIFICATES).map_err(|error| unreadable(key_what.clone(), &error))?;
                let pem = Zeroizing::new(pem);
                let unusable = |what: String, reason: String| TrustError {
                    what,
                    reason,
                    remedy: "name a client certificate in PEM and its key, which is not encrypted",
                };
                let private = PrivateKeyDer::from_pem_slice(&pem)
                    .map_err(|error| unusable(key_what, format!("holds no private key that can be used: {error}")))?;
                for certificate in &chain {
                    count(certificate);
                }
                count(private.secret_der());
                builder
                    .with_client_auth_cert(chain, private)
                    .map_err(|error| unusable(what, format!("and its key cannot be used together: {error}")))?
            }
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let mut digest = [0; 32];
        digest.copy_from_slice(hash.finish().as_ref());
        Ok(Self { config, digest, compiled_in })
    }
}

/// Certificates that were found, before anything is made of them.
#[derive(Debug)]
struct Found {
    roots: RootCertStore,
    /// Those that are trusted as they are.
    certificates: Vec<CertificateDer<'static>>,
    compiled_in: bool,
}

impl Found {
    /// Both.
    fn beside(mut self, other: Self) -> Self {
        self.roots.extend(other.roots.roots);
        self.certificates.extend(other.certificates);
        Self { compiled_in: self.compiled_in || other.compiled_in, ..self }
    }
}

/// For connections without TLS: believes nobody, and loads nothing.
pub fn nobody() -> ClientConfig {
    static NOBODY: OnceLock<ClientConfig> = OnceLock::new();
    NOBODY.get_or_init(|| builder(false).with_root_certificates(RootCertStore::empty()).with_no_client_auth()).clone()
}

fn builder(only_1_3: bool) -> ConfigBuilder<ClientConfig, WantsVerifier> {
    let builder = ClientConfig::builder_with_provider(Arc::new(provider::default_provider()));
    let versions: &[_] = if only_1_3 { &[&TLS13] } else { &[&TLS13, &TLS12] };
    builder.with_protocol_versions(versions).expect("ring has cipher suites for both versions")
}

/// The roots of a file, each of which is a pin, too.
fn of_file(path: &Path, what: String) -> Result<Found, TrustError> {
    let certificates = certificates(path, &what)?;
    let mut roots = RootCertStore::empty();
    for (index, certificate) in certificates.iter().enumerate() {
        if let Err(error) = roots.add(certificate.clone()) {
            let reason = format!("holds a certificate that cannot be used, number {}: {error}", index + 1);
            return Err(TrustError {
                what,
                reason,
                remedy: "remove that certificate, or put a valid one in its place",
            });
        }
    }
    Ok(Found { roots, certificates, compiled_in: false })
}

/// What the environment names, else what the system keeps, else what is compiled in.
fn of_system(env: impl Fn(&str) -> Option<OsString>) -> Result<Found, TrustError> {
    let (file, directories) = (env(FILE_VARIABLE), env(DIRECTORY_VARIABLE));
    let mut roots = RootCertStore::empty();
    if file.is_some() || directories.is_some() {
        if let Some(path) = file {
            let what = format!("{FILE_VARIABLE} {}", Path::new(&path).display());
            let held = certificates(Path::new(&path), &what)?;
            if roots.add_parsable_certificates(held).0 == 0 {
                return Err(no_certificate(what));
            }
        }
        for directory in directories.iter().flat_map(std::env::split_paths) {
            let what = format!("{DIRECTORY_VARIABLE} {}", directory.display());
            roots.add_parsable_certificates(of_directory(&directory, &what)?);
        }
        let what = format!("what {FILE_VARIABLE} and {DIRECTORY_VARIABLE} name");
        if roots.is_empty() {
            return Err(no_certificate(what));
        }
        return Ok(Found { roots, certificates: Vec::new(), compiled_in: false });
    }
    let found = files::within(Path::new("/etc/ssl/certs"), |_| Ok(rustls_native_certs::load_native_certs()));
    let found = found.map_err(|error| unreadable("the directory of the system's trust roots".to_owned(), &error))?;
    // Single unreadable or malformed certificates are common in system stores and none of our business.
    roots.add_parsable_certificates(found.certs);
    if let (true, Some(error)) = (roots.is_empty(), found.errors.first()) {
        return Err(TrustError {
            what: "the system's trust roots".to_owned(),
            reason: format!("cannot be read: {error}"),
            remedy: "repair the package ca-certificates, or name roots with `ca-file` of the account",
        });
    }
    let compiled_in = roots.is_empty();
    if compiled_in {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    Ok(Found { roots, certificates: Vec::new(), compiled_in })
}

/// Every certificate of the files in `directory`. One file often has several names there.
fn of_directory(directory: &Path, what: &str) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let listed = files::within(directory, |directory| {
        let entries = std::fs::read_dir(directory)?.filter_map(|entry| std::fs::canonicalize(entry.ok()?.path()).ok());
        Ok(entries.filter(|path| path.is_file()).collect::<BTreeSet<_>>())
    });
    let paths = listed.map_err(|error| unreadable(what.to_owned(), &error))?;
    // A directory may hold other things than certificates.
    Ok(paths.iter().filter_map(|path| certificates(path, what).ok()).flatten().collect())
}

/// The certificates of one file, at least one.
fn certificates(path: &Path, what: &str) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let pem = files::read(path, LARGEST_CERTIFICATES).map_err(|error| unreadable(what.to_owned(), &error))?;
    let mut certificates = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        certificates.push(certificate.map_err(|error| TrustError {
            what: what.to_owned(),
            reason: format!("holds a certificate that cannot be used, number {}: {error}", certificates.len() + 1),
            remedy: "remove that certificate, or put a valid one in its place",
        })?);
    }
    if certificates.is_empty() { Err(no_certificate(what.to_owned())) } else { Ok(certificates) }
}

fn unreadable(what: String, error: &ReadError) -> TrustError {
    TrustError { what, reason: error.to_string(), remedy: error.remedy() }
}

fn no_certificate(what: String) -> TrustError {
    TrustError {
        what,
        reason: "holds no certificate in PEM (-----BEGIN CERTIFICATE-----)".to_owned(),
        remedy: "name a file of certificates in PEM; `openssl x509 -inform der` converts one in DER",
    }
}

#[cfg(test)]
mod tests;
