//! TLS as patrold wants it: rustls with ring, and trust roots of the operator's choice.
//!
//! The configuration is made here and not by the HTTP client, which refuses to exist on a machine without trust roots
//! even for plain HTTP, and needs a process-wide default otherwise.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

/// A CA file cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("ca-file {}: {reason}", path.display())]
pub struct CaFileError {
    path: PathBuf,
    reason: String,
}

/// The configuration with the roots of `ca_file`, or else of the system.
///
/// The system's roots are loaded when they are first needed, and shared: they take more memory than all the rest of an
/// account. A machine without any gets the roots that are compiled in. New system roots are seen after a restart.
pub(super) fn config(ca_file: Option<&Path>) -> Result<ClientConfig, CaFileError> {
    static SYSTEM: OnceLock<ClientConfig> = OnceLock::new();
    match ca_file {
        Some(path) => Ok(with_roots(roots_of(path)?)),
        None => Ok(SYSTEM.get_or_init(|| with_roots(system_roots())).clone()),
    }
}

/// A configuration that trusts nobody, for connections without TLS: it loads nothing.
pub(super) fn untrusting() -> ClientConfig {
    static UNTRUSTING: OnceLock<ClientConfig> = OnceLock::new();
    UNTRUSTING.get_or_init(|| with_roots(RootCertStore::empty())).clone()
}

fn with_roots(roots: RootCertStore) -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions();
    let builder = builder.expect("ring has cipher suites for every default protocol version");
    builder.with_root_certificates(roots).with_no_client_auth()
}

fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    // Single unreadable or malformed certificates are common in system stores and none of our business.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    roots
}

fn roots_of(path: &Path) -> Result<RootCertStore, CaFileError> {
    let error = |reason: String| CaFileError { path: path.to_owned(), reason };
    let pem = std::fs::read(path).map_err(|e| error(e.to_string()))?;
    let mut roots = RootCertStore::empty();
    for (index, certificate) in CertificateDer::pem_slice_iter(&pem).enumerate() {
        let certificate = certificate.map_err(|e| error(format!("certificate {}: {e}", index + 1)))?;
        roots.add(certificate).map_err(|e| error(format!("certificate {}: {e}", index + 1)))?;
    }
    if roots.is_empty() {
        return Err(error("it holds no certificate in PEM (-----BEGIN CERTIFICATE-----)".to_owned()));
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ca_file_that_cannot_be_used_is_named() {
        let directory = tempfile::tempdir().unwrap();
        for (sentence, content, told) in [
            ("no such file", None, "No such file"),
            ("empty", Some(""), "it holds no certificate in PEM"),
            ("DER or nonsense", Some("\u{1}\u{2}"), "it holds no certificate in PEM"),
            ("not base64", Some("-----BEGIN CERTIFICATE-----\n*\n-----END CERTIFICATE-----\n"), "certificate 1"),
            (
                "not a certificate",
                Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
                "certificate 1",
            ),
        ] {
            let path = directory.path().join("ca.pem");
            let _ = std::fs::remove_file(&path);
            if let Some(content) = content {
                std::fs::write(&path, content).unwrap();
            }
            let message = config(Some(&path)).unwrap_err().to_string();
            assert!(message.contains("ca.pem") && message.contains(told), "{sentence}: {message}");
        }
    }

    #[test]
    fn every_certificate_of_a_bundle_is_a_root() {
        let bundle: String = ["one", "two"]
            .map(|name| rcgen::generate_simple_self_signed([name.to_owned()]).unwrap().cert.pem())
            .concat();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ca.pem");
        std::fs::write(&path, bundle).unwrap();
        assert_eq!(roots_of(&path).unwrap().len(), 2);
    }
}
