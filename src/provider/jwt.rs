//! JSON web tokens (RFC 7519) that a credential signs: how apps of some services prove who they are. The kind of the key
//! decides how: RSA with SHA-256 (`RS256`), P-256 (`ES256`, both RFC 7518) or Ed25519 (`EdDSA`, RFC 8037).

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::error::KeyRejected;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::model::Claims;
use super::template::Scope;
use crate::clock::Time;
use crate::secret::Secret;

/// A token that claims what `claims` says of `now`, signed with `key`, a private key in PEM.
pub(crate) fn sign(claims: &Claims, scope: &dyn Scope, key: &Secret, now: Time) -> Result<Zeroizing<String>, String> {
    let mut payload = serde_json::Map::new();
    for (name, template) in &claims.given {
        payload.insert(name.clone(), template.value(scope)?);
    }
    let moment = |moment: Option<Time>| moment.map(|time| time.timestamp()).ok_or("the time is out of range");
    payload.insert("iat".to_owned(), moment(now.checked_sub_signed(claims.backdate))?.into());
    payload.insert("exp".to_owned(), moment(now.checked_add_signed(claims.ttl))?.into());
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let key = Key::read(key)?;
    let header = encode(&json!({ "alg": key.algorithm(), "typ": "JWT" }));
    let signed = format!("{header}.{}", encode(&Value::Object(payload)));
    let signature = key.sign(signed.as_bytes())?;
    Ok(Zeroizing::new(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))))
}

/// A private key; its kind decides the algorithm.
enum Key {
    Rsa(Box<RsaKeyPair>),
    /// On the curve P-256.
    Ec(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl Key {
    /// Reads PEM: PKCS #8 (`PRIVATE KEY`) of any kind, or PKCS #1 (`RSA PRIVATE KEY`).
    fn read(key: &Secret) -> Result<Self, String> {
        const WANTED: &str = "the credential is not a private key in PEM (\"PRIVATE KEY\" or \"RSA PRIVATE KEY\")";
        let pem = key.expose();
        for (label, pkcs8) in [("PRIVATE KEY", true), ("RSA PRIVATE KEY", false)] {
            let begin = format!("-----BEGIN {label}-----");
            let Some((_, rest)) = pem.split_once(begin.as_str()) else { continue };
            let (body, _) = rest.split_once(&format!("-----END {label}-----")).ok_or(WANTED)?;
            let mut lines = Zeroizing::new(String::with_capacity(body.len()));
            lines.extend(body.chars().filter(|c| !c.is_ascii_whitespace()));
            let der = Zeroizing::new(STANDARD.decode(lines.as_str()).map_err(|_| WANTED)?);
            return if pkcs8 { Self::of_pkcs8(&der) } else { Self::rsa(RsaKeyPair::from_der(&der)) };
        }
        if pem.contains("-----BEGIN EC PRIVATE KEY-----") {
            let help = "`openssl pkcs8 -topk8 -nocrypt` makes one of it that can be used";
            return Err(format!("the credential is an EC key in another form than PKCS #8: {help}"));
        }
        Err(WANTED.to_owned())
    }

    fn of_pkcs8(der: &[u8]) -> Result<Self, String> {
        if let Ok(pair) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der) {
            return Ok(Self::Ed25519(pair));
        }
        match EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der, &SystemRandom::new()) {
            Ok(pair) => Ok(Self::Ec(pair)),
            Err(_) => Self::rsa(RsaKeyPair::from_pkcs8(der)),
        }
    }

    fn rsa(pair: Result<RsaKeyPair, KeyRejected>) -> Result<Self, String> {
        let pair = pair.map_err(|error| format!("the key is refused as one of RSA, P-256 or Ed25519: {error}"))?;
        Ok(Self::Rsa(Box::new(pair)))
    }

    /// Its name in the header.
    fn algorithm(&self) -> &'static str {
        match self {
            Self::Rsa(_) => "RS256",
            Self::Ec(_) => "ES256",
            Self::Ed25519(_) => "EdDSA",
        }
    }

    fn sign(&self, text: &[u8]) -> Result<Vec<u8>, String> {
        const UNABLE: &str = "the key cannot sign";
        match self {
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                // The randomness blinds the computation; it does not show in the result.
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text, &mut signature).map_err(|_| UNABLE)?;
                Ok(signature)
            }
            Self::Ec(pair) => Ok(pair.sign(&SystemRandom::new(), text).map_err(|_| UNABLE)?.as_ref().to_vec()),
            Self::Ed25519(pair) => Ok(pair.sign(text).as_ref().to_vec()),
        }
    }
}

#[cfg(test)]
mod tests {
    use ring::signature::{ECDSA_P256_SHA256_FIXED, ED25519, KeyPair as _, UnparsedPublicKey, VerificationAlgorithm};

    use super::*;

    fn pem(der: &[u8]) -> Secret {
        Secret::new(format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(der)))
    }

    #[test]
    fn the_kind_of_the_key_decides_the_algorithm() {
        let random = SystemRandom::new();
        let ec = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let ed = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, ec.as_ref(), &random).unwrap();
        let of_ec = pair.public_key().as_ref().to_vec();
        let of_ed = Ed25519KeyPair::from_pkcs8(ed.as_ref()).unwrap().public_key().as_ref().to_vec();
        for (algorithm, der, public) in [("ES256", ec.as_ref(), of_ec), ("EdDSA", ed.as_ref(), of_ed)] {
            let verifier: &dyn VerificationAlgorithm =
                if algorithm == "ES256" { &ECDSA_P256_SHA256_FIXED } else { &ED25519 };
            let key = Key::read(&pem(der)).unwrap();
            assert_eq!(key.algorithm(), algorithm);
            let signature = key.sign(b"text").unwrap();
            assert!(UnparsedPublicKey::new(verifier, &public).verify(b"text", &signature).is_ok(), "{algorithm}");
            assert!(UnparsedPublicKey::new(verifier, &public).verify(b"other", &signature).is_err(), "{algorithm}");
        }
    }

    #[test]
    fn what_is_no_key_is_told() {
        for (text, told) in [
            ("hunter2", "not a private key in PEM"),
            ("-----BEGIN PRIVATE KEY-----\n!\n-----END PRIVATE KEY-----", "not a private key in PEM"),
            ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----", "refused as one of RSA, P-256 or Ed25519"),
            ("-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----", "openssl pkcs8"),
        ] {
            let error = Key::read(&Secret::new(text)).err().unwrap();
            assert!(error.contains(told) && !error.contains("hunter2"), "{error}");
        }
    }
}
