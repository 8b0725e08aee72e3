//! Why no connection stands, in words that name the phase and the cause. The remedy is that of the code.

use rustls::{AlertDescription, CertificateError, Error as TlsError, InvalidMessage};

use crate::endpoint::proxy::Proxy;
use crate::outcome::{Failure, FailureCode};
use crate::trust::Untrusted;

type Cause<'a> = &'a (dyn std::error::Error + 'static);

/// The failure of a connection to `place` that never stood.
pub(super) fn of_connection(error: Cause<'_>, place: &str, proxy: Option<&Proxy>) -> Failure {
    let innermost = innermost(error);
    if let Some(tls) = tls(error) {
        return of_tls(tls, place);
    }
    let all: Vec<String> = chain(error).map(ToString::to_string).collect();
    let says = |text: &str| all.iter().any(|cause| cause.contains(text));
    if says("Too many open files") {
        let what = "this process has as many open files as it may: raise LimitNOFILE= of the unit, or `ulimit -n`";
        return Failure::new(FailureCode::Connect, format!("{place}: {what}"));
    }
    match proxy {
        Some(proxy) if says("proxy authorization required") => {
            let known = if proxy.login.is_some() {
                "does not accept the user name and password"
            } else {
                "asks for a password"
            };
            Failure::new(FailureCode::Proxy, format!("proxy {proxy} {known} (HTTP 407)"))
        }
        Some(proxy) if says("tunnel error") && !says("underlying connection") => {
            Failure::new(FailureCode::Proxy, format!("proxy {proxy} does not connect to {place}: {innermost}"))
        }
        Some(proxy) => Failure::new(FailureCode::Proxy, format!("proxy {proxy} cannot be reached: {innermost}")),
        None if says("dns error") => Failure::new(FailureCode::Resolve, format!("{place}: {innermost}")),
        None => Failure::new(FailureCode::Connect, format!("{place}: {innermost}")),
    }
}

/// The failure that the server's side of TLS told before any byte of an answer: nothing was processed then.
///
/// Only alerts about certificates count. With TLS 1.3 they come after the client has sent its request, and no server reads
/// one before it has the client's certificate.
pub(super) fn before_any_answer(error: Cause<'_>, place: &str) -> Option<Failure> {
    match tls(error)? {
        error @ TlsError::AlertReceived(alert) if concerns_our_certificate(*alert) => Some(of_tls(error, place)),
        _ => None,
    }
}

fn concerns_our_certificate(alert: AlertDescription) -> bool {
    use AlertDescription::{
        AccessDenied, BadCertificate, CertificateExpired, CertificateRequired, CertificateRevoked, CertificateUnknown,
        UnknownCA, UnsupportedCertificate,
    };
    matches!(
        alert,
        AccessDenied
            | BadCertificate
            | CertificateExpired
            | CertificateRequired
            | CertificateRevoked
            | CertificateUnknown
            | UnknownCA
            | UnsupportedCertificate
    )
}

fn of_tls(error: &TlsError, place: &str) -> Failure {
    let failure = |code, what: String| Failure::new(code, format!("{place}: {what}"));
    let date = |time: rustls::pki_types::UnixTime| {
        let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        chrono::DateTime::from_timestamp(seconds, 0)
            .map_or_else(|| "an unknown time".to_owned(), |time| time.to_rfc3339())
    };
    match error {
        TlsError::InvalidCertificate(error) => match error {
            CertificateError::ExpiredContext { not_after, .. } => {
                failure(FailureCode::CertificateExpired, format!("its certificate ended at {}", date(*not_after)))
            }
            CertificateError::NotValidYetContext { not_before, .. } => failure(
                FailureCode::CertificateExpired,
                format!("its certificate is valid from {} on", date(*not_before)),
            ),
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                failure(FailureCode::CertificateName, error.to_string())
            }
            CertificateError::UnknownIssuer => failure(FailureCode::UnknownIssuer, error.to_string()),
            CertificateError::Other(other) => match other.0.downcast_ref::<Untrusted>() {
                Some(untrusted) => failure(FailureCode::UnknownIssuer, untrusted.to_string()),
                None => failure(FailureCode::Tls, error.to_string()),
            },
            _ => failure(FailureCode::Tls, error.to_string()),
        },
        TlsError::InvalidMessage(InvalidMessage::InvalidContentType) => {
            failure(FailureCode::NotTls, "what it sends is not TLS".to_owned())
        }
        TlsError::AlertReceived(alert) if concerns_our_certificate(*alert) => {
            failure(FailureCode::ClientCertificate, format!("the server ended the TLS handshake with \"{alert:?}\""))
        }
        TlsError::AlertReceived(AlertDescription::NoApplicationProtocol) => {
            failure(FailureCode::Tls, "the server does not speak HTTP/1.1, but HTTP/2 only".to_owned())
        }
        TlsError::AlertReceived(alert @ (AlertDescription::HandshakeFailure | AlertDescription::ProtocolVersion)) => {
            let what = format!(
                "the server agrees to no version or cipher that is allowed here, or demands a client certificate ({alert:?})"
            );
            failure(FailureCode::Tls, what)
        }
        _ => failure(FailureCode::Tls, error.to_string()),
    }
}

/// The causes of an error, itself first. An `io::Error` hides what it wraps from `source`.
fn chain(error: Cause<'_>) -> impl Iterator<Item = Cause<'_>> {
    std::iter::successors(Some(error), |cause| {
        let wrapped = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        match wrapped {
            Some(wrapped) => Some(wrapped as Cause<'_>),
            None => cause.source(),
        }
    })
}

fn tls(error: Cause<'_>) -> Option<&TlsError> {
    chain(error).find_map(|cause| cause.downcast_ref())
}

/// The innermost cause in words. The outer ones repeat the URL, which may hold a secret.
fn innermost(error: Cause<'_>) -> String {
    chain(error).skip(1).last().map_or_else(|| "no further reason is known".to_owned(), ToString::to_string)
}
