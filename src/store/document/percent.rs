//! Addresses in files of tools hold secrets in percent-encoding.

use zeroize::Zeroizing;

use crate::names::hex;
use crate::store::env_file::Text;

/// Everything but the unreserved characters of RFC 3986 section 2.3, with the lower-case digits that git writes.
pub fn percent_encoded(text: &str) -> Zeroizing<String> {
    let mut encoded = Zeroizing::new(String::with_capacity(3 * text.len()));
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            encoded.push(byte.into());
        } else {
            encoded.push('%');
            encoded.push_str(&hex(&[byte]));
        }
    }
    encoded
}

/// `None`: a broken escape.
pub fn percent_decoded(text: &str) -> Option<Text> {
    let bytes = text.as_bytes();
    let mut decoded = Zeroizing::new(Vec::with_capacity(bytes.len()));
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        if *byte == b'%' {
            let digits = str::from_utf8(bytes.get(at + 1..at + 3)?).ok()?;
            decoded.push(u8::from_str_radix(digits, 16).ok()?);
            at += 3;
        } else {
            decoded.push(*byte);
            at += 1;
        }
    }
    Some(decoded)
}
