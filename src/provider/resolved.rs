//! A resolved definition: its names are bound and its templates compiled. The rest of patrold sees only this.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use url::Url;

use super::lifetime::Lifetime;
use super::model::{Answers, Auth, Call, Discovery, ExpirySource, Form, StoreRules};
use super::naming::Naming;
use super::params::ParamSpec;
use super::question::Question;
use super::template::{Name, Template};
use super::{OnTimeout, Operation, Role};
use crate::clock::Span;
use crate::names::{ProviderName, TokenName};
use crate::outcome::{Failure, FailureCode};
use crate::secret::TOKEN_PART;

/// How far a definition was proven. Also the words of `checked`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checked {
    /// Written from the vendor's documents.
    Docs,
    /// Held against the vendor's own description of the API.
    Contract,
    /// Run against recorded or imitated answers.
    Mock,
    /// Run against the service itself.
    Live,
}

/// `[server]`: a server that the definition was run against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    pub name: String,
    pub version: String,
    pub date: chrono::NaiveDate,
}

/// `[contract]`: a description of the API that the vendor publishes for programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contract {
    /// Where it is published.
    pub source: String,
    pub version: String,
    /// Operations that it leaves out.
    pub without: Vec<Operation>,
}

/// `[default-policy]`: what holds of tokens of which the inventory does not say it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DefaultPolicy {
    /// The age of tokens whose inventory has no rule at all.
    pub rotate_every: Option<Span>,
    /// How long the old token lives on, where tokens live shorter than the usual grace.
    pub grace: Option<Span>,
}

/// What a provider can do, for `provider show` and for plans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "independent facts, each shown as one line of a table")]
pub struct Capabilities {
    /// New tokens can be made. Where they cannot, tokens are watched only.
    pub mints: bool,
    /// The caller chooses how long a new token lives.
    pub chooses_lifetime: bool,
    /// Tokens can be listed.
    pub lists: bool,
    /// A listing shows what tokens are called.
    pub names: bool,
    /// A listing shows the marker: an orphan can be found by it.
    pub marks: bool,
    /// A new token comes with an id.
    pub has_id: bool,
    pub verifies: bool,
    pub revokes: bool,
    /// A token can be renewed in place.
    pub renews: bool,
    /// The account must not have two tokens of one name.
    pub unique_name: bool,
    /// Old and new live side by side after a mint.
    pub overlap: bool,
    /// Old and new secret live side by side after a renewal.
    pub renewal_overlaps: bool,
    /// Some answer tells when a token expires.
    pub expiry_known: bool,
    /// A listing tells when a token was last used.
    pub last_used: bool,
    /// How many live tokens there may be where a listing looks; `None`: nobody says.
    pub max_live: Option<usize>,
}

/// A definition after its names were bound and its templates compiled: of a provider of tokens, or of a store.
#[derive(Clone, Debug)]
pub struct Provider {
    pub name: ProviderName,
    pub title: String,
    /// Addresses of the vendor's pages that the definition was written from.
    pub docs: Vec<String>,
    pub checked: Checked,
    /// What the account's credential must be allowed to do.
    pub credential: String,
    /// What becomes of the old token when a new one is minted or renewed.
    pub old_token: String,
    /// Further things to know.
    pub notes: Vec<String>,
    /// An inventory that uses it, in TOML.
    pub example: String,
    pub default_policy: DefaultPolicy,
    /// The vendor's description of the API that its requests and fixtures are held against.
    pub contract: Option<Contract>,
    /// The server that it was run against.
    pub server: Option<Server>,
    /// Why questions of the linter are left open.
    pub(crate) reasons: BTreeMap<Question, String>,
    /// The definition that this one extends; empty where it stands alone.
    pub extends: String,
    pub params: BTreeMap<String, ParamSpec>,
    /// Of a store; `None`: it makes tokens.
    pub(crate) store: Option<Arc<StoreRules>>,
    pub(crate) default_url: Option<Url>,
    pub(crate) rules: Rules,
    pub(crate) source: Arc<str>,
    /// Of the source, of the sources that it extends, and of supplied operations.
    pub(crate) digest: [u8; 32],
}

/// What the interpreter works with.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) lifetime: Lifetime,
    pub(crate) unique_name: bool,
    pub(crate) overlap: bool,
    pub(crate) max_live: Option<usize>,
    /// Names of the parts of a secret besides `token`.
    pub(crate) parts: BTreeSet<String>,
    pub(crate) facts: BTreeSet<String>,
    pub(crate) auth: Arc<Auth>,
    pub(crate) answers: Arc<Answers>,
    pub(crate) calls: BTreeMap<Operation, Arc<Call>>,
    pub(crate) login: Option<Arc<Call>>,
    /// By the parameter whose values they find.
    pub(crate) discoveries: BTreeMap<String, Arc<Discovery>>,
}

impl PartialEq for Provider {
    /// Two definitions are the same when their sources are.
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl Provider {
    /// The address used where the inventory gives none.
    pub fn default_url(&self) -> Option<&Url> {
        self.default_url.as_ref()
    }

    /// Whether the definition describes `operation`.
    pub fn has(&self, operation: Operation) -> bool {
        self.rules.calls.contains_key(&operation)
    }

    /// Whose secret authenticates `operation`; nobody's where the definition lacks it.
    pub fn role(&self, operation: Operation) -> Role {
        self.rules.calls.get(&operation).map_or(Role::Nobody, |call| call.role)
    }

    /// Whether a revocation takes the secret of the token: it authenticates by it, or names it (RFC 7009).
    pub fn revokes_by_secret(&self) -> bool {
        self.rules
            .calls
            .get(&Operation::Revoke)
            .is_some_and(|revoke| revoke.role == Role::Subject || revoke.says(|name| matches!(name, Name::OldPart(_))))
    }

    /// Whether a revocation names the token by its id.
    pub fn revokes_by_id(&self) -> bool {
        self.rules.calls.get(&Operation::Revoke).is_some_and(|revoke| revoke.says(|name| *name == Name::OldId))
    }

    /// Whether the caller chooses the secret of a new token.
    pub fn lets_choose(&self) -> bool {
        self.rules.calls.get(&Operation::Mint).is_some_and(|mint| mint.says(|name| *name == Name::WantSecret))
    }

    /// The lifetime that a mint asks for, where `wanted` is what the inventory wants and the provider takes one.
    pub fn asked_lifetime(&self, wanted: Option<Span>) -> Option<Span> {
        let takes_one = self.capabilities().chooses_lifetime;
        self.rules.lifetime.of(wanted).filter(|_| takes_one)
    }

    /// The shortest and the longest lifetime that can be asked for, where the definition says.
    pub fn lifetimes(&self) -> (Option<Span>, Option<Span>) {
        let Lifetime { min, max, ladder, .. } = &self.rules.lifetime;
        let step = |step: Option<&(String, Span)>| step.map(|(_, span)| *span);
        (min.or(step(ladder.first())), max.or(step(ladder.last())))
    }

    /// Whether a listing may leave out tokens that live.
    pub fn listing_leaves_out(&self) -> bool {
        let list = self.rules.calls.get(&Operation::List).and_then(|list| list.listing.as_ref());
        list.is_some_and(|listing| listing.leaves_out)
    }

    /// What the provider can do, as far as the definition says.
    pub fn capabilities(&self) -> Capabilities {
        let calls = &self.rules.calls;
        let mint = calls.get(&Operation::Mint);
        let list = calls.get(&Operation::List);
        let named = mint.is_some_and(|mint| mint.says(|name| *name == Name::WantName));
        let told = calls.values().flat_map(|call| call.all_captures()).flat_map(|captures| &captures.expires);
        Capabilities {
            mints: mint.is_some(),
            chooses_lifetime: mint.or(calls.get(&Operation::Renew)).is_some_and(|call| {
                call.says(|name| matches!(name, Name::WantTtl | Name::WantExpires | Name::WantStep))
            }),
            lists: list.is_some(),
            names: list.is_some_and(|list| list.capture.name.is_some()),
            marks: named && list.is_some_and(|list| list.capture.name.is_some()),
            has_id: mint.is_some_and(|mint| mint.all_captures().any(|captures| captures.id.is_some())),
            verifies: self.has(Operation::Verify),
            revokes: self.has(Operation::Revoke),
            renews: self.has(Operation::Renew),
            unique_name: self.rules.unique_name,
            overlap: self.rules.overlap,
            renewal_overlaps: calls.get(&Operation::Renew).is_some_and(|renew| renew.overlap),
            expiry_known: told.into_iter().any(|source| !matches!(source, ExpirySource::Never)),
            last_used: list.is_some_and(|list| list.capture.last_used.is_some()),
            max_live: self.rules.max_live,
        }
    }

    /// Why no token of this name can be minted in all generations to come, and what to do about it.
    pub fn rejection_of_name(&self, name: &TokenName) -> Option<(String, String)> {
        self.naming().and_then(|naming| naming.rejection(name))
    }

    /// Which names new tokens may have; `None` where names are not told to the provider.
    pub(crate) fn naming(&self) -> Option<&Naming> {
        let mint = self.rules.calls.get(&Operation::Mint)?;
        mint.says(|name| *name == Name::WantName).then_some(&mint.naming)
    }

    /// The names of the parts of a secret, `token` first.
    pub fn secret_parts(&self) -> Vec<&str> {
        std::iter::once(TOKEN_PART).chain(self.rules.parts.iter().map(String::as_str)).collect()
    }

    /// The parameters that somebody must give beside those that are `given`.
    pub fn lacking(&self, given: &BTreeMap<String, serde_json::Value>) -> Vec<(&str, &ParamSpec)> {
        let lacks = |name: &String, spec: &ParamSpec| {
            spec.is_required() && !given.contains_key(name) && spec.barred(&self.params, given).is_none()
        };
        let all = self.params.iter().filter(|(name, spec)| lacks(name, spec));
        all.map(|(name, spec)| (name.as_str(), spec)).collect()
    }

    /// The parameters that a listing depends on: tokens that agree in them share one listing.
    pub fn listing_params(&self) -> BTreeSet<String> {
        self.params_of(Operation::List)
    }

    /// The parameters that a survey depends on.
    pub fn survey_params(&self) -> BTreeSet<String> {
        self.params_of(Operation::Survey)
    }

    fn params_of(&self, operation: Operation) -> BTreeSet<String> {
        let Some(list) = self.rules.calls.get(&operation) else { return BTreeSet::new() };
        let auth = &self.rules.auth;
        let headers = auth.forms.values().flat_map(Form::headers);
        let mut templates = list.request_templates();
        templates.extend(list.answer_templates());
        templates.extend(self.rules.answers.templates());
        templates.extend(headers.map(|(_, template)| template));
        templates.extend(auth.account.iter().chain(&auth.subject));
        templates.extend(self.rules.login.iter().flat_map(|login| login.request_templates()));
        let params = templates.into_iter().flat_map(Template::names).filter_map(|name| match name {
            Name::Param(name) => Some(name.clone()),
            _ => None,
        });
        params.collect()
    }

    /// How long after its request the token of a mint of unknown outcome may still appear in listings.
    pub fn mint_settle(&self) -> Span {
        self.settle(Operation::Mint).unwrap_or(Span::seconds(60))
    }

    /// How long to wait after a mint before the new token is tried.
    pub fn verify_settle(&self) -> Span {
        self.settle(Operation::Verify).unwrap_or(Span::zero())
    }

    fn settle(&self, operation: Operation) -> Option<Span> {
        self.rules.calls.get(&operation).and_then(|call| call.settle)
    }

    /// How long before its expiry a token is best renewed in place, where the definition has a hint.
    pub fn renew_lead(&self) -> Option<Span> {
        self.rules.calls.get(&Operation::Renew).and_then(|call| call.lead)
    }

    /// What may be done after `operation` got no answer.
    pub fn on_timeout(&self, operation: Operation) -> OnTimeout {
        self.rules.calls.get(&operation).map_or(OnTimeout::NeverRetry, |call| call.on_timeout)
    }

    /// The text of the definition, without what it extends.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether an account may have a user name besides its secret: a form of authentication sends one, or a request names it.
    pub fn takes_username(&self) -> bool {
        let named = |template: &Template| template.names().any(|name| *name == Name::Username);
        let sends = |form: &Form| {
            matches!(form, Form::Basic | Form::AwsV4 { .. }) || form.headers().iter().any(|(_, value)| named(value))
        };
        let calls = self.rules.calls.values().chain(&self.rules.login);
        self.rules.auth.forms.values().any(sends) || calls.flat_map(|call| call.request_templates()).any(named)
    }

    /// Whether the account itself makes any request.
    pub fn needs_credential(&self) -> bool {
        self.logs_in() || self.rules.calls.values().any(|call| call.role == Role::Account)
    }

    /// The call of `operation`.
    pub(crate) fn call(&self, operation: Operation) -> Result<&Call, Failure> {
        let lacks = || Failure::new(FailureCode::NoOperation, format!("{} has no {}", self.name, operation.word()));
        self.rules.calls.get(&operation).map(AsRef::as_ref).ok_or_else(lacks)
    }
}

/// One hash over several texts, each with its length, so that no two lists of texts look alike.
pub(crate) fn digest(sources: &[&str]) -> [u8; 32] {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    for source in sources {
        context.update(&(source.len() as u64).to_le_bytes());
        context.update(source.as_bytes());
    }
    let mut digest = [0; 32];
    digest.copy_from_slice(context.finish().as_ref());
    digest
}
