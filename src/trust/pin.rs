//! The key that a server must have.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};
use rustls::pki_types::CertificateDer;
use rustls::server::ParsedCertificate;

/// SHA-256 of a server's public key, as a `SubjectPublicKeyInfo` in DER.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pin(pub(super) [u8; 32]);

impl Pin {
    /// `sha256//` and base64, as curl and RFC 7469 write it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        const FORM: &str = "is not \"sha256//\" and the base64 of a SHA-256";
        let encoded = text.strip_prefix("sha256//").ok_or(FORM)?;
        let bytes = STANDARD.decode(encoded).map_err(|_| FORM)?;
        Ok(Self(bytes.try_into().map_err(|_| FORM)?))
    }

    /// Of a server's certificate.
    pub(super) fn of(certificate: &CertificateDer<'_>) -> Result<Self, rustls::Error> {
        let key = ParsedCertificate::try_from(certificate)?.subject_public_key_info();
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, &key).as_ref());
        Ok(Self(hash))
    }
}

impl std::fmt::Display for Pin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "sha256//{}", STANDARD.encode(self.0))
    }
}
