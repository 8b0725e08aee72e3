//! The shipped provider definitions against the services that they describe.

use serde_json::json;
use toml::de::DeTable;
use zeroize::Zeroizing;

use super::Rig;
use crate::clock::Span;
use crate::definition::{self, Definitions};
use crate::demo::{Fault, Options, Service, operations};
use crate::document::{Reader, Report};
use crate::names::{GenerationNo, InstanceId, Marker, RotationId};
use crate::outcome::Outcome;
use crate::provider::{
    Entry, Expiry, Gone, Identity, MintRequest, Minted, Operation, Params, Provider, Quote, Response, Subject, Values,
    Verdict,
};
use crate::secret::SecretParts;

/// One account of one service, without a daemon around it.
struct Account {
    rig: Rig,
    service: Service,
    provider: Provider,
    params: Params,
    identity: Identity,
}

impl Account {
    async fn new(service: Service, options: Options) -> Self {
        let rig = Rig::with(options).await;
        let mut provider = (*Definitions::builtin().get(service.provider()).unwrap()).clone();
        if let Some(text) = operations(service) {
            let mut report = Report::new();
            let source = report.add_source("operations", text);
            let table = DeTable::parse(report.text(source)).unwrap();
            let supplied = definition::with_operations(&provider, &Reader::new(&report, source, &table, "operations"));
            provider = supplied.unwrap_or_else(|| panic!("{}", report.render()));
        }
        let params = match service {
            Service::PointOne => json!({ "dead_statuses": ["REVOKED", "EXPIRED"] }),
            Service::Awx | Service::Commvault => json!({ "user_id": 2 }),
        };
        let params = serde_json::from_value(params).unwrap();
        let secret = SecretParts::new(rig.loopback.admin_secret(service).clone());
        Self { rig, service, provider, params, identity: Identity { username: None, secret } }
    }

    /// Sends one request and hands its values and the answer to `read`; `None` where no answer came.
    async fn try_call<T>(
        &self,
        operation: Operation,
        mint_request: Option<&MintRequest>,
        subject: Option<&Subject>,
        read: impl FnOnce(&Values<'_>, &Response) -> T,
    ) -> Option<T> {
        let base_url = self.rig.loopback.url(self.service);
        let base_url = base_url.as_str().trim_end_matches('/').parse().unwrap();
        let values = Values {
            now: self.rig.now(),
            base_url: &base_url,
            params: &self.params,
            identity: Some(&self.identity),
            mint_request,
            chosen: None,
            subject,
            page: None,
            putting: None,
            quote: Quote::Request,
        };
        let request = self.provider.render(operation, &values).unwrap();
        let mut sent = self.rig.http.request(request.method, request.url);
        for (name, value) in request.headers {
            sent = sent.header(name, value);
        }
        let body = request.body.map(|body| body.to_vec()).unwrap_or_default();
        let got = sent.body(body).send().await.ok()?;
        let (status, headers) = (got.status().as_u16(), got.headers().clone());
        let body = Zeroizing::new(got.bytes().await.ok()?.to_vec());
        Some(read(&values, &Response { status, headers, body }))
    }

    async fn try_mint(&self, number: u32) -> Option<Outcome<Minted>> {
        let mint_request = MintRequest { marker: marker(number), lifetime: Some(Span::days(30)) };
        let now = self.rig.now();
        let read = |values: &Values<'_>, answer: &Response| self.provider.read_mint(values, answer, now);
        self.try_call(Operation::Mint, Some(&mint_request), None, read).await
    }

    async fn mint(&self, number: u32) -> (Minted, Subject) {
        let minted = done(self.try_mint(number).await);
        assert!(minted.unread.is_empty(), "{:?}", minted.unread);
        let subject = Subject {
            id: minted.remote.id.clone(),
            name: Some(marker(number).as_str().to_owned()),
            facts: minted.remote.facts.clone(),
            secret: Some(minted.secret.clone()),
        };
        (minted, subject)
    }

    /// The entries of the listing that are not dead.
    async fn list(&self) -> Vec<Entry> {
        let now = self.rig.now();
        let read = |values: &Values<'_>, answer: &Response| self.provider.read_page(values, answer, now);
        let page = done(self.try_call(Operation::List, None, None, read).await);
        assert!(page.next.is_none());
        page.entries.into_iter().filter(|entry| !entry.dead).collect()
    }

    async fn is_alive(&self, subject: &Subject) -> bool {
        let now = self.rig.now();
        let read = |values: &Values<'_>, answer: &Response| self.provider.read_verify(values, answer, now);
        matches!(done(self.try_call(Operation::Verify, None, Some(subject), read).await), Verdict::Alive { .. })
    }

    async fn revoke(&self, subject: &Subject) -> Gone {
        let now = self.rig.now();
        let read = |values: &Values<'_>, answer: &Response| self.provider.read_revoke(values, answer, now);
        done(self.try_call(Operation::Revoke, None, Some(subject), read).await)
    }
}

fn marker(number: u32) -> Marker {
    let token = "gps".parse().unwrap();
    let rotation = RotationId::new([1, 2, 3, 4, 5, 6]);
    Marker::new(InstanceId::new([1, 2, 3, 4]), &token, GenerationNo(number), rotation)
}

fn done<T>(outcome: Option<Outcome<T>>) -> T {
    outcome.expect("an answer").into_result().unwrap()
}

#[tokio::test]
async fn a_token_lives_its_whole_life_under_each_definition() {
    for service in Service::ALL {
        let options = Options { point_one_lists_dead: true, ..Options::default() };
        let account = Account::new(service, options).await;
        let (ledger, now) = (account.rig.ledger(), account.rig.now());
        let (minted, mut subject) = account.mint(1).await;
        let secret = minted.secret.token().expose();
        let entry = ledger.entry_of(secret).unwrap();
        assert_eq!(entry.name, marker(1).as_str(), "{service}");
        assert!(account.is_alive(&subject).await, "{service}");

        let listed = account.list().await;
        let ours: Vec<_> = listed.iter().filter(|listed| listed.name.as_deref() == Some(&entry.name)).collect();
        let [ours] = ours[..] else { panic!("{service}: {listed:?}") };
        let Expiry::At(expires) = ours.remote.expires else { panic!("{service}: {ours:?}") };
        let expires = expires.as_told();
        assert!((expires - entry.current().expires).abs() < Span::seconds(1), "{service}: {expires}");
        assert_eq!(ours.remote.id, minted.remote.id, "{service}");

        if account.provider.has(Operation::Renew) {
            let mint_request = MintRequest { marker: marker(1), lifetime: None };
            let read = |values: &Values<'_>, answer: &Response| account.provider.read_renew(values, answer, now);
            let renewed = done(account.try_call(Operation::Renew, Some(&mint_request), Some(&subject), read).await);
            assert!(!account.is_alive(&subject).await, "{service}");
            subject.secret = Some(renewed.secret);
            assert!(account.is_alive(&subject).await, "{service}");
        }

        assert_eq!(account.revoke(&subject).await, Gone::Revoked, "{service}");
        assert!(!account.is_alive(&subject).await, "{service}");
        assert_eq!(account.revoke(&subject).await, Gone::Already, "{service}");
        assert_eq!(account.list().await.len(), 1, "{service}: only the bootstrap token is left");
    }
}

#[tokio::test]
async fn no_definition_takes_a_mint_that_was_acted_on_for_one_that_was_not() {
    for service in Service::ALL {
        let account = Account::new(service, Options::default()).await;
        let faults = account.rig.loopback.faults();
        for (number, fault) in (1..).zip(Fault::menu()) {
            // These act by the clock, which stands still here.
            if matches!(fault, Fault::Slow { .. } | Fault::LoseAnswerLate { .. } | Fault::GatewayTimeout { .. }) {
                continue;
            }
            let before = account.rig.ledger().counters(service).minted;
            faults.next(service, Operation::Mint, fault.clone());
            let outcome = account.try_mint(number).await;
            assert_eq!(faults.pending(), 0);
            if account.rig.ledger().counters(service).minted > before {
                let fine = matches!(outcome, None | Some(Outcome::Done(_) | Outcome::Unknown(_)));
                assert!(fine, "{service}, {fault:?}: {outcome:?}");
            } else {
                assert!(!matches!(outcome, Some(Outcome::Done(_))), "{service}, {fault:?}: {outcome:?}");
            }
        }
    }
}
