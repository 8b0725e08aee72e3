//! git's credential store: one address a line, `https://USER:SECRET@HOST[/PATH]`, user and secret percent-encoded.

use std::ops::Range;

use super::percent::{percent_decoded, percent_encoded};
use super::{Edit, Problem, Read, line_of};
use crate::inventory::CredentialAddress;

pub(super) fn get(text: &str, address: &CredentialAddress) -> Result<Read, Problem> {
    Ok(match find(text, address)? {
        None => Read::Missing,
        Some(span) => percent_decoded(&text[span]).map_or(Read::Disputed, Read::Value),
    })
}

pub(super) fn edit(text: &str, address: &CredentialAddress, value: &str) -> Result<Edit, Problem> {
    let encoded = percent_encoded(value);
    if let Some(span) = find(text, address)? {
        return Ok(Edit::new(span, encoded.as_str()));
    }
    let CredentialAddress { protocol, username, host, path } = address;
    let user = percent_encoded(username);
    // The first line that fits is the one that git takes.
    Ok(Edit::new(0..0, format!("{protocol}://{}:{}@{host}{path}\n", user.as_str(), encoded.as_str())))
}

/// Where the secret of the address stands.
fn find(text: &str, address: &CredentialAddress) -> Result<Option<Range<usize>>, Problem> {
    let mut found: Option<Range<usize>> = None;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let start = at;
        at += line.len();
        let bare = line.trim_end_matches(['\n', '\r']);
        let Some((protocol, rest)) = bare.split_once("://") else { continue };
        let Some((login, place)) = rest.split_once('@') else { continue };
        let Some((user, secret)) = login.split_once(':') else { continue };
        let user = percent_decoded(user);
        let same_user = user.is_some_and(|user| *user == *address.username.as_bytes());
        let same_place =
            place.trim_end_matches('/') == format!("{}{}", address.host, address.path).trim_end_matches('/');
        if protocol != address.protocol || !same_user || !same_place {
            continue;
        }
        if let Some(first) = &found {
            let other = line_of(text.as_bytes(), first.start);
            let why = format!("{} of {} stands on line {other} already: remove one", address.username, address.host);
            return Err(Problem::new(line_of(text.as_bytes(), start), why));
        }
        let secret_start = start + protocol.len() + 3 + login.len() - secret.len();
        found = Some(secret_start..secret_start + secret.len());
    }
    Ok(found)
}
