//! Signatures of Amazon Web Services, version 4: how a request proves that its sender has a secret access key, without
//! carrying it.
//!
//! Written here because a request is rendered without a clock: the signature takes the provider's time, which only the
//! caller knows. The signing crates read the clock themselves, or bring an HTTP stack of their own.
//! Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>

use std::fmt::Write as _;

use reqwest::Method;
use ring::{digest, hmac};
use url::Url;
use zeroize::Zeroizing;

use crate::clock::Time;
use crate::names::hex;
use crate::secret::Secret;

/// Who signs, and for which service.
pub(crate) struct Signer<'a> {
    pub(crate) key_id: &'a str,
    pub(crate) key: &'a Secret,
    pub(crate) region: &'a str,
    pub(crate) service: &'a str,
}

/// The request that is signed, with the headers that the signature covers besides `host` and `x-amz-date`: of those of AWS
/// every one has to be covered.
pub(crate) struct Signed<'a> {
    pub(crate) method: &'a Method,
    pub(crate) url: &'a Url,
    pub(crate) content_type: Option<&'a str>,
    /// `x-amz-target`: the operation, in protocols that have no path for it.
    pub(crate) target: Option<&'a str>,
    pub(crate) body: &'a [u8],
}

impl Signer<'_> {
    /// The values of the headers `x-amz-date` and `authorization`.
    pub(crate) fn sign(&self, request: &Signed<'_>, now: Time) -> Result<(String, Zeroizing<String>), String> {
        let host = request.url.host_str().ok_or("the address has no host")?;
        let host = request.url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        let date = now.format("%Y%m%dT%H%M%SZ").to_string();
        let day = now.format("%Y%m%d").to_string();
        let covered = [
            ("content-type", request.content_type),
            ("host", Some(host.as_str())),
            ("x-amz-date", Some(date.as_str())),
            ("x-amz-target", request.target),
        ];
        let covered: Vec<_> = covered.into_iter().filter_map(|(name, value)| Some((name, value?.trim()))).collect();
        let names = covered.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
        let lines = covered.iter().flat_map(|(name, value)| [name, ":", value, "\n"]).collect::<String>();
        let canonical = [
            request.method.as_str(),
            &canonical_path(request.url),
            &canonical_query(request.url),
            &lines,
            &names,
            &sha256(request.body),
        ]
        .join("\n");
        let scope = format!("{day}/{}/{}/aws4_request", self.region, self.service);
        let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", sha256(canonical.as_bytes()));
        let first = Zeroizing::new(format!("AWS4{}", self.key.expose()));
        let mut key = hmac::Key::new(hmac::HMAC_SHA256, first.as_bytes());
        for part in [day.as_str(), self.region, self.service, "aws4_request"] {
            key = hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&key, part.as_bytes()).as_ref());
        }
        let signature = hex(hmac::sign(&key, text.as_bytes()).as_ref());
        let header = format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
            self.key_id
        );
        Ok((date, Zeroizing::new(header)))
    }
}

fn sha256(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

/// The path with each of its segments encoded once more, as every service but S3 has it.
fn canonical_path(url: &Url) -> String {
    url.path().split('/').map(encode).collect::<Vec<_>>().join("/")
}

/// The parameters in the order of their encoded names and values.
fn canonical_query(url: &Url) -> String {
    let mut pairs: Vec<_> = url.query_pairs().map(|(key, value)| (encode(&key), encode(&value))).collect();
    pairs.sort_unstable();
    pairs.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join("&")
}

/// Everything but the unreserved characters of RFC 3986, section 2.3.
fn encode(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(byte.into());
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The worked example of the vendor's page, and variations of it.
    #[test]
    fn the_vendors_example_is_signed_as_the_vendor_does() {
        let key = Secret::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY");
        let signer = Signer { key_id: "AKIDEXAMPLE", key: &key, region: "us-east-1", service: "iam" };
        let now = chrono::DateTime::parse_from_rfc3339("2015-08-30T12:36:00Z").unwrap().to_utc();
        let url = "https://iam.amazonaws.com/?Version=2010-05-08&Action=ListUsers".parse().unwrap();
        let content_type = Some("application/x-www-form-urlencoded; charset=utf-8");
        let request = Signed { method: &Method::GET, url: &url, content_type, target: None, body: b"" };
        let (date, header) = signer.sign(&request, now).unwrap();
        assert_eq!(date, "20150830T123600Z");
        assert_eq!(
            *header,
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, \
             SignedHeaders=content-type;host;x-amz-date, \
             Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
        );
        for (what, other) in [
            ("another body", Signed { body: b"x", ..request }),
            ("another method", Signed { method: &Method::POST, ..request }),
            ("another type", Signed { content_type: None, ..request }),
            ("another operation", Signed { target: Some("ssm.Put"), ..request }),
        ] {
            assert_ne!(signer.sign(&other, now).unwrap().1, header, "{what}");
        }
    }

    #[test]
    fn paths_and_parameters_are_brought_into_one_form() {
        let url: Url = "https://h/a%20b/c?b=2&a=x+y&a=%2F".parse().unwrap();
        assert_eq!(canonical_path(&url), "/a%2520b/c");
        assert_eq!(canonical_query(&url), "a=%2F&a=x%20y&b=2");
    }
}
