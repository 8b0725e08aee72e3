//! JSON web tokens (RFC 7519) that a credential signs, with RSA and SHA-256 (`RS256`, RFC 7518 section 3.3): how apps of
//! some services prove who they are. The signature depends on nothing but its input.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::model::Claims;
use super::template::Scope;
use crate::clock::Time;
use crate::secret::Secret;

/// A token that claims what `claims` says of `now`, signed with `key`, an RSA key in PEM: PKCS #8 (`PRIVATE KEY`) or
/// PKCS #1 (`RSA PRIVATE KEY`).
pub(crate) fn sign(claims: &Claims, scope: &dyn Scope, key: &Secret, now: Time) -> Result<Zeroizing<String>, String> {
    let mut payload = serde_json::Map::new();
    for (name, template) in &claims.given {
        payload.insert(name.clone(), template.value(scope)?);
    }
    let moment = |moment: Option<Time>| moment.map(|time| time.timestamp()).ok_or("the time is out of range");
    payload.insert("iat".to_owned(), moment(now.checked_sub_signed(claims.backdate))?.into());
    payload.insert("exp".to_owned(), moment(now.checked_add_signed(claims.ttl))?.into());
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = encode(&json!({ "alg": "RS256", "typ": "JWT" }));
    let signed = format!("{header}.{}", encode(&Value::Object(payload)));
    let key = key_pair(key)?;
    let mut signature = vec![0; key.public().modulus_len()];
    // The randomness blinds the computation; it does not show in the result.
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
        .map_err(|_| "the key cannot sign")?;
    Ok(Zeroizing::new(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))))
}

fn key_pair(key: &Secret) -> Result<RsaKeyPair, String> {
    const WANTED: &str = "the credential is no RSA key in PEM (\"PRIVATE KEY\" or \"RSA PRIVATE KEY\")";
    let pem = key.expose();
    for (label, pkcs8) in [("PRIVATE KEY", true), ("RSA PRIVATE KEY", false)] {
        let begin = format!("-----BEGIN {label}-----");
        let Some((_, rest)) = pem.split_once(begin.as_str()) else { continue };
        let (body, _) = rest.split_once(&format!("-----END {label}-----")).ok_or(WANTED)?;
        let mut lines = Zeroizing::new(String::with_capacity(body.len()));
        lines.extend(body.chars().filter(|c| !c.is_ascii_whitespace()));
        let der = Zeroizing::new(STANDARD.decode(lines.as_str()).map_err(|_| WANTED)?);
        let pair = if pkcs8 { RsaKeyPair::from_pkcs8(&der) } else { RsaKeyPair::from_der(&der) };
        return pair.map_err(|error| format!("the RSA key is refused: {error}"));
    }
    Err(WANTED.to_owned())
}
