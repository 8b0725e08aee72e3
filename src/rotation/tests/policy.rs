//! Inventories and abilities to test with.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use crate::clock::{Span, Time};
use crate::definition::Definitions;
use crate::inventory::{
    AccountPolicy, CheckPolicy, CommandPolicy, Credential, EndpointPolicy, Existing, FilePolicy, Format, HookKind,
    HookPolicy, Initial, OnDrift, OnFailure, OnLeave, Pace, ProxyPolicy, RenewBefore, RunPolicy, StoreKind,
    StorePolicy, Timeouts, TokenPolicy,
};
use crate::provider::Abilities;
use crate::provider::{Capabilities, Params, Provider};
use crate::secret::SecretSource;
use crate::trust::TlsPolicy;

static PROVIDER: LazyLock<Arc<Provider>> = LazyLock::new(|| Definitions::builtin().get("pointone").unwrap());

/// When every test begins.
pub(crate) fn start() -> Time {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

pub(crate) fn account(name: &str) -> Arc<AccountPolicy> {
    let second = Duration::from_secs(1);
    Arc::new(AccountPolicy {
        name: name.parse().unwrap(),
        provider: Arc::clone(&PROVIDER),
        endpoint: EndpointPolicy {
            url: "http://127.0.0.1/".parse().unwrap(),
            connect_to: None,
            credential: Credential::Secret(SecretSource::Env("NOBODY_READS_THIS".into())),
            rate_limit: None,
            tls: TlsPolicy::default(),
            proxy: ProxyPolicy::default(),
            headers: BTreeMap::new(),
            timeouts: Timeouts { connect: second, headers: second, body: second },
            max_response: 1 << 20,
            max_in_flight: 4,
        },
        params: Params::new(),
        poll_every: Span::hours(1),
        settle: Span::seconds(30),
    })
}

/// A token of thirty days without stores and hooks.
pub(crate) fn token() -> TokenPolicy {
    TokenPolicy {
        name: "gps".parse().unwrap(),
        account: account("gps-account"),
        lifetime: Some(Span::days(30)),
        renew_before: RenewBefore::Span(Span::days(10)),
        rotate_every: None,
        schedule: None,
        window: None,
        grace: Span::hours(1),
        grace_by_default: false,
        grace_cap: Span::days(1),
        jitter: Span::zero(),
        verify_timeout: Span::minutes(2),
        drift_every: Span::hours(2),
        params: Params::new(),
        paused: false,
        initial: None,
        stores: Vec::new(),
        hooks: Vec::new(),
        selected: None,
    }
}

/// A store called `name`. Its kind does not matter here.
pub(crate) fn store(name: &str) -> StorePolicy {
    let format = Format::Whole { newline: false };
    let file = FilePolicy { path: name.into(), mode: None, owner: None, group: None, format };
    StorePolicy {
        key: name.parse().unwrap(),
        part: "token".into(),
        existing: Existing::Replace,
        on_drift: OnDrift::Repair,
        on_leave: OnLeave::Keep,
        kind: StoreKind::File(file),
    }
}

/// A store called `name` that may hide what it holds, and keeps what was there before.
pub(crate) fn hidden(name: &str) -> StorePolicy {
    let command = CommandPolicy {
        name: name.into(),
        target: name.parse().unwrap(),
        account: "gps-account".parse().unwrap(),
        write: vec![name.into()],
        read: Some(vec![name.into()]),
        timeout: Duration::from_secs(1),
        pass_env: Vec::new(),
    };
    StorePolicy { kind: StoreKind::Command(Box::new(command)), existing: Existing::Refuse, ..store(name) }
}

/// A secret that somebody brings.
#[expect(clippy::unnecessary_box_returns, reason = "it is held in a box wherever it goes")]
pub(crate) fn initial() -> Box<Initial> {
    let source = Some(SecretSource::Env("PAIR".into()));
    Box::new(Initial { source, parts: BTreeMap::new(), id: None, name: None, expires: None })
}

pub(crate) fn hook(name: &str, on_failure: OnFailure) -> HookPolicy {
    HookPolicy {
        key: name.parse().unwrap(),
        kind: HookKind::Run(RunPolicy { argv: vec![name.into()], pass_env: Vec::new() }),
        timeout: Duration::from_secs(1),
        on_failure,
        pace: Pace::default(),
        host: None,
    }
}

/// A hook that proves that consumers have the new secret.
pub(crate) fn proof(name: &str) -> HookPolicy {
    let run = RunPolicy { argv: vec![name.into()], pass_env: Vec::new() };
    let kind = HookKind::Check(CheckPolicy { run, within: Duration::ZERO, every: Duration::ZERO });
    HookPolicy { kind, ..hook(name, OnFailure::Retry) }
}

/// A provider that can do everything but renew and tell the last use.
pub(crate) fn abilities() -> Abilities {
    Abilities {
        can: Capabilities {
            mints: true,
            chooses_lifetime: true,
            lists: true,
            names: true,
            marks: true,
            has_id: true,
            verifies: true,
            revokes: true,
            renews: false,
            unique_name: false,
            overlap: true,
            renewal_overlaps: false,
            expiry_known: true,
            last_used: false,
            max_live: None,
        },
        revokes_self: false,
        revokes_by_id: false,
        renewal_repeats: false,
        settle: Span::seconds(30),
        parts: vec!["token".into()],
    }
}

/// The same, with access tokens that a refresh token renews.
pub(crate) fn renewing() -> Abilities {
    let mut abilities = abilities();
    abilities.can.renews = true;
    abilities.parts.push("refresh_token".into());
    abilities
}
