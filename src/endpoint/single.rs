//! Single requests to addresses that are no accounts: services that take messages, and hooks.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use url::Url;

use super::shared::Bounds;
use super::{Effect, Endpoint, Errand, Exchange, Manner, Setup, Workshop};
use crate::clock::{Clock, Span, Time};
use crate::files;
use crate::inventory::{Credential, EndpointPolicy, SitePolicy, Timeouts};
use crate::outcome::{Failure, one_line};
use crate::provider::{Request, Response, retry_after};
use crate::secret::keyring::Keyring;
use crate::secret::{Fingerprinter, Secret, SecretParts, SecretSource, source};
use crate::trust::TrustRoots;

/// Most answers say little: whether it was taken, and why not. An object of Kubernetes says all of itself.
const LARGEST_ANSWER: usize = 1 << 20;

/// How much of what a service said goes into a failure, in characters.
const SAID: usize = 200;

/// Sends requests, for whoever is named.
#[derive(Clone, Debug)]
pub struct Caller {
    pub workshop: Workshop,
    pub fingerprinter: Fingerprinter,
    /// What is presented is struck out of everything from then on.
    pub keyring: Arc<Keyring>,
}

/// Why a request was not taken, and before when it is not to be sent again.
pub type NotTaken = (String, Option<Time>);

impl Caller {
    /// Reads a secret of `owner`.
    pub async fn read(&self, owner: &str, source: &SecretSource) -> Result<Secret, Failure> {
        let secret = source::read(source).await?;
        self.keyring.note(owner, &self.fingerprinter.of(&secret), &SecretParts::new(secret.clone()));
        Ok(secret)
    }

    /// An endpoint at the origin of `url`.
    pub async fn endpoint<C: Clock>(
        &self,
        clock: C,
        owner: &str,
        site: &SitePolicy,
        url: &Url,
    ) -> Result<Endpoint<C>, String> {
        // The path may be secret, and nobody needs it here.
        let origin = url.join("/").map_err(|error| error.to_string())?;
        let policy = EndpointPolicy {
            url: origin,
            connect_to: None,
            credential: Credential::Nothing,
            rate_limit: None,
            tls: site.tls.clone(),
            proxy: site.proxy.clone(),
            headers: site.headers.clone(),
            timeouts: Timeouts { connect: site.timeout, headers: site.timeout, body: site.timeout },
            max_response: LARGEST_ANSWER,
            max_in_flight: 1,
        };
        let roots = match policy.tls().cloned() {
            Some(tls) => {
                // By the path that is read where one is, so that a file system that hangs holds up nobody else's.
                let place = tls.ca_file.clone().unwrap_or_else(|| Path::new("/etc/ssl").to_owned());
                let read = files::off_runtime(&place, move |_| Ok(TrustRoots::read(&tls))).await;
                Some(read.map_err(|error| format!("trust roots: it {error}"))?)
            }
            None => None,
        };
        let shared = self.workshop.shared(&policy, Bounds::of(&policy), None, clock.now());
        let shared = shared.map_err(|error| error.to_string())?;
        let keyring = Arc::clone(&self.keyring);
        let setup = Setup { owner: owner.to_owned(), policy, manner: Manner::default(), keyring };
        Ok(Endpoint::new(setup, clock, shared, roots.as_ref()))
    }
}

impl<C: Clock> Endpoint<C> {
    /// Sends a request that may be sent twice, where it can leave within `patience`. `ok`: the statuses that mean that it
    /// was taken; empty: any 2xx.
    pub async fn deliver(
        &self,
        request: Request,
        word: &'static str,
        ok: &[u16],
        patience: Duration,
    ) -> Result<(), NotTaken> {
        self.obtain(request, word, ok, patience).await.map(drop)
    }

    /// The same, with the answer.
    pub async fn obtain(
        &self,
        request: Request,
        word: &'static str,
        ok: &[u16],
        patience: Duration,
    ) -> Result<Response, NotTaken> {
        let latest = self.now() + Span::from_std(patience).unwrap_or(Span::minutes(1));
        let errand = Errand { word, effect: Effect::Repeatable, presented: None, latest };
        match self.send(|_| Ok(request), errand).await {
            Exchange::Answered(answer) => match refusal(&answer.response, ok) {
                None => Ok(answer.response),
                Some(why) => Err((why, retry_after(&answer.response.headers, answer.received))),
            },
            Exchange::Held { not_before, failure } => Err((failure.detail, not_before)),
            Exchange::Unbuilt(failure) | Exchange::NotSent(failure) | Exchange::Unknown(failure) => {
                Err((failure.detail, None))
            }
        }
    }
}

/// Why a service did not take a request.
fn refusal(response: &Response, ok: &[u16]) -> Option<String> {
    let taken = if ok.is_empty() { (200..300).contains(&response.status) } else { ok.contains(&response.status) };
    if taken {
        return None;
    }
    let said = one_line(&String::from_utf8_lossy(&response.body), SAID);
    let colon = if said.is_empty() { "" } else { ": " };
    Some(format!("it answers HTTP {}{colon}{said}", response.status))
}
