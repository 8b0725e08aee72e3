//! Tells a consumer by a request: signed, with an idempotency key, without a secret in it, and never redirected.

use std::collections::BTreeMap;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use ring::hmac;
use serde_json::{Value, json};
use tokio::sync::watch;
use zeroize::Zeroizing;

use super::Request;
use super::command::{Unsuccessful, stopped};
use crate::clock::{Clock as _, SystemClock};
use crate::endpoint::single::Caller;
use crate::inventory::CallPolicy;
use crate::names::hex;
use crate::outcome::{Failure, FailureCode};
use crate::provider;

/// Calls the address, for everybody in the batch.
pub async fn send(
    policy: &CallPolicy,
    caller: &Caller,
    batch: &[Request],
    mut stop: watch::Receiver<bool>,
) -> Result<(), Unsuccessful> {
    let place = policy.url.host_str().unwrap_or_default();
    let sent = tokio::select! {
        sent = call(policy, caller, batch) => sent,
        () = stopped(&mut stop) => Err("it was given up because the daemon stops".to_owned()),
    };
    sent.map_err(|said| Unsuccessful {
        failure: Failure::new(FailureCode::HookFailed, format!("the call of {place}")),
        said,
    })
}

async fn call(policy: &CallPolicy, caller: &Caller, batch: &[Request]) -> Result<(), String> {
    let owner = format!("hook {}", policy.url.host_str().unwrap_or_default());
    let endpoint = caller.endpoint(SystemClock, &owner, &policy.site, &policy.url).await?;
    let body = serde_json::to_vec(&policy.json.clone().unwrap_or_else(|| told(batch))).map_err(|it| it.to_string())?;
    let mut headers = vec![(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    let mut add = |name: HeaderName, text: &str, sensitive: bool| {
        let mut value = HeaderValue::from_str(text).map_err(|_| format!("its {name} does not fit a header"))?;
        value.set_sensitive(sensitive);
        headers.push((name, value));
        Ok::<_, String>(())
    };
    // The same for every attempt: one rotation each, in the order of tokens.
    let rotations: BTreeMap<_, _> = batch.iter().map(|it| (&it.occasion.token, it.occasion.rotation)).collect();
    let rotations: Vec<_> = rotations.values().map(ToString::to_string).collect();
    add(HeaderName::from_static("idempotency-key"), &rotations.join("-"), false)?;
    if let Some(source) = &policy.credential {
        let secret = caller.read(&owner, source).await.map_err(|failure| failure.detail)?;
        add(AUTHORIZATION, &Zeroizing::new(format!("Bearer {}", secret.expose())), true)?;
    }
    if let Some(source) = &policy.sign {
        let key = caller.read(&owner, source).await.map_err(|failure| failure.detail)?;
        let key = hmac::Key::new(hmac::HMAC_SHA256, key.expose().as_bytes());
        let timestamp = SystemClock.now().timestamp().to_string();
        let signed = [timestamp.as_bytes(), b".", &body].concat();
        let signature = hex(hmac::sign(&key, &signed).as_ref());
        add(HeaderName::from_static("x-patrold-timestamp"), &timestamp, false)?;
        add(HeaderName::from_static("x-patrold-signature"), &format!("sha256={signature}"), false)?;
    }
    let request = provider::Request {
        method: policy.method.clone(),
        url: policy.url.clone(),
        log_url: policy.url.host_str().unwrap_or_default().to_owned(),
        headers,
        body: Some(Zeroizing::new(body)),
    };
    endpoint.deliver(request, "hook", &policy.ok, policy.site.timeout).await.map_err(|(why, _)| why)
}

/// What happened to which tokens.
fn told(batch: &[Request]) -> Value {
    let tokens: BTreeMap<_, _> = batch.iter().map(|it| (&it.occasion.token, it.occasion.rotation)).collect();
    let tokens: Vec<_> =
        tokens.into_iter().map(|(token, rotation)| json!({ "token": token, "rotation": rotation })).collect();
    let attempt = batch.iter().map(|it| it.occasion.attempt).max().unwrap_or_default();
    let event = batch.first().map_or("", |it| it.occasion.event.as_str());
    json!({ "event": event, "tokens": tokens, "attempt": attempt })
}
