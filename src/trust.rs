//! Trust roots: the certificates by which a server may prove itself, read from a file or from the system.
//!
//! Trust never widens in silence: what the operator names (`ca-file`, `SSL_CERT_FILE`, `SSL_CERT_DIR`) is used or is an
//! error. The roots that are compiled in serve only machines whose system has none at all.
//!
//! A certificate of a `ca-file` is an authority and a pin at once: a server whose own certificate stands in the file
//! byte for byte is trusted for the names in it, whoever signed it. That is what curl, Python and OpenSSL make of the
//! certificate that `openssl req -x509` writes, which calls itself an authority and is no valid server certificate by
//! the letter of RFC 5280.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use ring::digest::{Context, SHA256};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::crypto::ring as provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, ConfigBuilder, DigitallySignedStruct, RootCertStore, SignatureScheme, WantsVerifier,
};

use crate::files::{self, LARGEST_CERTIFICATES, ReadError};

/// Names a file of the roots to use instead of the system's; OpenSSL's variable.
const FILE_VARIABLE: &str = "SSL_CERT_FILE";

/// Names directories of them, separated by colons.
const DIRECTORY_VARIABLE: &str = "SSL_CERT_DIR";

/// Where trust roots come from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RootSource {
    /// `SSL_CERT_FILE` and `SSL_CERT_DIR` where they are set, else what the operating system keeps.
    System,
    /// `ca-file` of an account.
    File(PathBuf),
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
    /// Reads the roots. Blocks, for a bounded time.
    pub fn read(source: &RootSource) -> Result<Self, TrustError> {
        match source {
            RootSource::File(path) => of_file(path, path.display().to_string()),
            RootSource::System => of_system(|name| std::env::var_os(name).filter(|value| !value.is_empty())),
        }
    }

    /// For clients that believe what these roots vouch for.
    pub fn config(&self) -> ClientConfig {
        self.config.clone()
    }

    /// Whether the system has no roots, and those that are compiled in serve.
    pub fn is_compiled_in(&self) -> bool {
        self.compiled_in
    }

    fn new(roots: RootCertStore, pinned: Vec<CertificateDer<'static>>) -> Option<Self> {
        let mut hash = Context::new(&SHA256);
        for root in &roots.roots {
            // Each with its length: nothing can be moved from one to the next.
            for part in [&root.subject[..], &root.subject_public_key_info[..]] {
                hash.update(&part.len().to_be_bytes());
                hash.update(part);
            }
        }
        for certificate in &pinned {
            hash.update(certificate);
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(hash.finish().as_ref());
        let config = configure(Verifier::new(roots, pinned)?);
        Some(Self { config, digest, compiled_in: false })
    }
}

/// For connections without TLS: believes nobody, and loads nothing.
pub fn nobody() -> ClientConfig {
    static NOBODY: OnceLock<ClientConfig> = OnceLock::new();
    NOBODY.get_or_init(|| builder().with_root_certificates(RootCertStore::empty()).with_no_client_auth()).clone()
}

fn configure(verifier: Verifier) -> ClientConfig {
    let verifier = Arc::new(verifier);
    // "Dangerous" is what rustls calls every verifier that is not its own; this one asks rustls's.
    builder().dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()
}

fn builder() -> ConfigBuilder<ClientConfig, WantsVerifier> {
    let builder = ClientConfig::builder_with_provider(Arc::new(provider::default_provider()));
    let builder = builder.with_safe_default_protocol_versions();
    builder.expect("ring has cipher suites for every default protocol version")
}

/// The roots of a file, each of which is a pin, too.
fn of_file(path: &Path, what: String) -> Result<TrustRoots, TrustError> {
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
    TrustRoots::new(roots, certificates).ok_or_else(|| no_certificate(what))
}

/// What the environment names, else what the system keeps, else what is compiled in.
fn of_system(env: impl Fn(&str) -> Option<OsString>) -> Result<TrustRoots, TrustError> {
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
        return TrustRoots::new(roots, Vec::new()).ok_or_else(|| no_certificate(what));
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
    let read = TrustRoots::new(roots, Vec::new()).ok_or_else(|| no_certificate("this program".to_owned()))?;
    Ok(TrustRoots { compiled_in, ..read })
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

/// Believes what authorities vouch for, and pinned certificates of servers.
#[derive(Debug)]
struct Verifier {
    authorities: Arc<WebPkiServerVerifier>,
    pinned: Vec<CertificateDer<'static>>,
}

impl Verifier {
    /// None where there is no root.
    fn new(roots: RootCertStore, pinned: Vec<CertificateDer<'static>>) -> Option<Self> {
        let algorithms = Arc::new(provider::default_provider());
        let authorities = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), algorithms).build().ok()?;
        Some(Self { authorities, pinned })
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verdict = self.authorities.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verdict {
            Err(error) if concerns_the_issuer(&error) && self.pinned.contains(end_entity) => {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.authorities.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.authorities.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.authorities.supported_verify_schemes()
    }
}

/// Whether a certificate was refused for who signed it and what it may sign, and for nothing else: its validity is
/// judged before either.
fn concerns_the_issuer(error: &rustls::Error) -> bool {
    match error {
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => true,
        rustls::Error::InvalidCertificate(CertificateError::Other(other)) => {
            matches!(other.0.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests;
