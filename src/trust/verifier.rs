//! Who vouches for a server: an authority, a certificate that is pinned, or a key that is.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::crypto::ring as provider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme};

use super::pin::Pin;
use crate::outcome::one_line;

/// Believes what authorities vouch for, and pinned certificates and keys of servers.
#[derive(Debug)]
pub(super) struct Verifier {
    authorities: Arc<WebPkiServerVerifier>,
    pinned: Vec<CertificateDer<'static>>,
    pins: Vec<Pin>,
}

/// Why nobody vouches for a server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Untrusted {
    /// Its issuer is no root, and no certificate that it sent leads to one.
    #[error("its certificate is signed by {issuer}, and {sent}")]
    Issuer { issuer: String, sent: &'static str },
    /// Its key is another than those that are pinned.
    #[error("its key is none of the pinned ones, but {0}")]
    Key(Pin),
}

impl Verifier {
    /// None where there is no root.
    pub(super) fn new(roots: RootCertStore, pinned: Vec<CertificateDer<'static>>, pins: Vec<Pin>) -> Option<Self> {
        let algorithms = Arc::new(provider::default_provider());
        let authorities = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), algorithms).build().ok()?;
        Some(Self { authorities, pinned, pins })
    }
}

fn untrusted(why: Untrusted) -> rustls::Error {
    CertificateError::Other(OtherError(Arc::new(why))).into()
}

/// The issuer that a certificate names: its common name, else its organization.
pub(super) fn issuer(certificate: &CertificateDer<'_>) -> String {
    let name = webpki::EndEntityCert::try_from(certificate).ok().map(|parsed| parsed.issuer().to_vec());
    let name = name.unwrap_or_default();
    let common = attribute(&name, &[0x55, 4, 3]).or_else(|| attribute(&name, &[0x55, 4, 10]));
    common.map_or_else(|| "an issuer without a name".to_owned(), |name| format!("\"{}\"", one_line(&name, 80)))
}

/// The text of an attribute in the DER of a name: its type, then a string with a length of one byte.
fn attribute(name: &[u8], kind: &[u8]) -> Option<String> {
    let at = name.windows(kind.len()).position(|window| window == kind)? + kind.len();
    let (length, text) = name.get(at + 1..)?.split_first()?;
    let text = text.get(..usize::from(*length))?;
    (*length < 0x80).then(|| String::from_utf8_lossy(text).into_owned())
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
        let key = Pin::of(end_entity)?;
        if !self.pins.is_empty() && !self.pins.contains(&key) {
            return Err(verdict.err().unwrap_or_else(|| untrusted(Untrusted::Key(key))));
        }
        let known = self.pins.contains(&key) || self.pinned.contains(end_entity);
        match verdict {
            Err(error) if known && (concerns_the_issuer(&error) || is_another_signature(&error)) => {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            Err(error) if concerns_the_issuer(&error) => {
                let alone = intermediates.is_empty();
                let sent =
                    if alone { "the server sent no certificate of that issuer" } else { "no root of it is trusted" };
                Err(untrusted(Untrusted::Issuer { issuer: issuer(end_entity), sent }))
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

/// Whether the issuer's name is known and its key is another one: somebody else has the name, too.
fn is_another_signature(error: &rustls::Error) -> bool {
    matches!(error, rustls::Error::InvalidCertificate(CertificateError::BadSignature))
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
