//! Sealed boxes, as libsodium's `crypto_box_seal` makes them: how services take a secret that nobody but they may read.
//!
//! Each box has a key pair of its own, drawn at random, whose secret half is forgotten.
//! Source: <https://doc.libsodium.org/public-key_cryptography/sealed_boxes>

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crypto_box::PublicKey;
use crypto_box::aead::OsRng;

/// `text` sealed to the public key `key`, 32 bytes in base64.
pub(crate) fn seal(text: &[u8], key: &str) -> Result<Vec<u8>, String> {
    let bytes = STANDARD.decode(key.trim()).map_err(|_| "the public key is not in base64")?;
    let key = PublicKey::from_slice(&bytes).map_err(|_| "the public key does not have 32 bytes")?;
    key.seal(&mut OsRng, text).map_err(|_| "the text cannot be sealed".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_holder_of_the_key_reads_it() {
        let secret = crypto_box::SecretKey::generate(&mut OsRng);
        let key = STANDARD.encode(secret.public_key().as_bytes());
        let (one, two) = (seal(b"tok-1", &key).unwrap(), seal(b"tok-1", &key).unwrap());
        assert_eq!(
            (secret.unseal(&one).unwrap(), secret.unseal(&two).unwrap()),
            (b"tok-1".to_vec(), b"tok-1".to_vec())
        );
        assert_ne!(one, two, "each has a key of its own");
        assert!(crypto_box::SecretKey::generate(&mut OsRng).unseal(&one).is_err());
        assert!(seal(b"tok-1", "c2hvcnQ=").unwrap_err().contains("32 bytes"));
        assert!(seal(b"tok-1", "no base64").is_err());
    }
}
