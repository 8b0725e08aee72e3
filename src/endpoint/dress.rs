//! What every request of an endpoint carries besides what it asks: headers of the inventory, and the proxy's password. Their
//! secrets are read again when their sources change, and never logged.

use reqwest::header::{HeaderName, HeaderValue};

use super::client::Dress;
use super::credential::{CredentialCache, Presented};
use super::request_id;
use super::shared::Shared;
use crate::clock::Time;
use crate::inventory::{Credential, EndpointPolicy, ProxyPolicy};
use crate::outcome::{Failure, FailureCode};
use crate::provider::Request;
use crate::secret::SecretSource;
use crate::secret::keyring::Keyring;

/// Where the secrets come from that requests carry besides the credential.
pub(super) struct Wardrobe {
    headers: Vec<(HeaderName, CredentialCache)>,
    proxy: Option<(String, CredentialCache)>,
}

impl Wardrobe {
    /// What `policy` names; nothing was read yet.
    pub fn new(policy: &EndpointPolicy, shared: &Shared) -> Self {
        let cache = |source: &SecretSource| shared.credential.beside(&Credential::Secret(source.clone()));
        let header = |(name, source): (&String, &SecretSource)| Some((name.parse().ok()?, cache(source)?));
        let proxy = match &policy.proxy {
            ProxyPolicy::Through { login: Some((user, password)), .. } => {
                cache(password).map(|password| (user.clone(), password))
            }
            ProxyPolicy::Through { .. } | ProxyPolicy::Environment | ProxyPolicy::Never => None,
        };
        Self { headers: policy.headers.iter().filter_map(header).collect(), proxy }
    }

    /// The newest of it all; each secret is noted in `keyring` as one of `owner`.
    pub async fn dress(&self, keyring: &Keyring, owner: &str, now: Time) -> Result<Dress, Failure> {
        let mut dress = Dress::default();
        for (name, cache) in &self.headers {
            let what = format!("header {name}");
            let Presented { identity, fingerprint, .. } = present(cache, &what, now).await?;
            keyring.note(&format!("{owner}: {what}"), &fingerprint, &identity.secret);
            let unfit = |_| Failure::new(FailureCode::NoCredential, format!("{what}: its value does not fit a header"));
            let mut value = HeaderValue::from_str(identity.secret.token().expose()).map_err(unfit)?;
            value.set_sensitive(true);
            dress.headers.push((name.clone(), value));
        }
        if let Some((user, cache)) = &self.proxy {
            let what = "the proxy's password";
            let Presented { identity, fingerprint, .. } = present(cache, what, now).await?;
            keyring.note(&format!("{owner}: {what}"), &fingerprint, &identity.secret);
            dress.proxy = Some((user.clone(), identity.secret.token().clone(), fingerprint));
        }
        Ok(dress)
    }
}

impl Dress {
    /// Gives `request` an id, unless the definition or the inventory has a header of that name, and returns it.
    pub fn identify(&mut self, request: &Request) -> Option<String> {
        if request.headers.iter().chain(&self.headers).any(|(name, _)| *name == request_id::SENT_IN) {
            return None;
        }
        let id = request_id::new();
        self.headers.push((request_id::SENT_IN, HeaderValue::from_str(&id).ok()?));
        Some(id)
    }
}

async fn present(cache: &CredentialCache, what: &str, now: Time) -> Result<Presented, Failure> {
    cache.present(now).await.map_err(|failure| failure.reworded(format!("{what}: {}", failure.detail)))
}
