//! `[[token]]`.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::clock::Span;
use crate::document::{Located, Spot};
use crate::inventory::spec::{PolicySpec, TemplateSpec, TokenSpec};
use crate::inventory::{
    AccountPolicy, Credential, Initial, RenewBefore, Selected, StorePolicy, TokenPolicy, defaults, values,
};
use crate::names::TokenName;
use crate::provider::Params;

use super::claims::Needed;
use super::hook::Hooks;
use super::store::{Stores, templates};
use super::timing::{Crons, Life, check_fits};
use super::{Accounts, Context, params};

/// Turns token specs into policies.
pub(super) struct Resolver<'c> {
    context: &'c Context<'c>,
    defaults: &'c PolicySpec,
    accounts: &'c Accounts,
    /// Tokens that accounts authenticate with.
    used: &'c HashSet<String>,
    crons: Crons<'c>,
    targets: Stores<'c>,
    templates: templates::ByToken,
}

/// Places of tokens of which something was told. Of several that were made of one, it is told of the first.
#[derive(Default)]
struct Told {
    wrong: HashSet<Spot>,
    warned: HashSet<Spot>,
}

impl<'c> Resolver<'c> {
    pub(super) fn new(
        context: &'c Context<'c>,
        defaults: &'c PolicySpec,
        accounts: &'c Accounts,
        used: &'c HashSet<String>,
        needed: Vec<Needed>,
    ) -> Self {
        Self {
            context,
            defaults,
            accounts,
            used,
            crons: Crons::new(context),
            targets: Stores::new(context, accounts, needed),
            templates: templates::ByToken::default(),
        }
    }

    /// What templates say of tokens, whose names are `known`.
    pub(super) fn with_templates(mut self, specs: &[TemplateSpec], known: &HashMap<&str, &TokenSpec>) -> Self {
        self.templates = self.targets.templates(specs, known);
        self
    }

    pub(super) fn resolve(mut self, specs: &[TokenSpec]) -> BTreeMap<TokenName, Arc<TokenPolicy>> {
        // Most have one.
        self.targets.reserve(specs.len());
        let mut told = Told::default();
        let report = self.context.report;
        let mut resolved = BTreeMap::new();
        for spec in specs {
            if told.wrong.contains(&spec.spot) {
                continue;
            }
            let (errors, warnings) = (report.errors(), report.warnings());
            report.without_warnings(told.warned.contains(&spec.spot), || {
                let token = self.token(spec);
                resolved.extend(token.map(|token| (token.name.clone(), Arc::new(token))));
            });
            told.wrong.extend((report.errors() > errors).then_some(spec.spot));
            told.warned.extend((report.warnings() > warnings).then_some(spec.spot));
        }
        resolved
    }

    fn token(&mut self, spec: &TokenSpec) -> Option<TokenPolicy> {
        let what = match &spec.name {
            Some(name) => format!("token \"{}\"", name.value),
            None => "a token without a name".to_owned(),
        };
        let account = self.account(spec, &what);
        let merged = account.as_ref().map(|account| self.params(spec, account, &what)).unwrap_or_default();
        let (own, shared) = (&spec.policy, self.defaults);

        let lifetime = own.lifetime.as_ref().or(shared.lifetime.as_ref());
        let renew_before = own.renew_before.as_ref().or(shared.renew_before.as_ref());
        let cron = own.schedule.as_ref().or(shared.schedule.as_ref());
        let rotate_every = own.rotate_every.as_ref().or(shared.rotate_every.as_ref()).map(|found| found.value);
        let usual = account.as_ref().map(|account| account.provider.default_policy.clone()).unwrap_or_default();
        let told = spec.initial.as_ref().is_some_and(|initial| initial.expires.is_some());
        let unruled = lifetime.is_none() && cron.is_none() && !told;
        let life = Life {
            what: &what,
            lifetime: lifetime.map(|found| found.value),
            renew_before: renew_before.map_or(defaults::RENEW_BEFORE, |found| found.value),
            renews_explicitly: renew_before.is_some(),
            rotate_every: rotate_every.or(usual.rotate_every.filter(|_| unruled)),
        };
        let sound = self.check_life(spec, &life, renew_before, account.as_deref());

        let schedule = cron.and_then(|cron| {
            let schedule = self.crons.schedule(cron, &format!("`schedule` of {what}"))?;
            self.crons.check_schedule(cron.cron.spot, &schedule, &life);
            Some(schedule)
        });
        // A window is measured against a lead that makes sense only.
        let window = own.window.as_ref().or(shared.window.as_ref()).filter(|_| sound);
        let window = window.and_then(|window| self.crons.window(window, &life));
        if spec.sound && life.lifetime.is_none() && life.rotate_every.is_none() && schedule.is_none() {
            self.warn_without_rule(spec, &what, account.as_deref());
        }

        let grace = own.grace.as_ref().or(shared.grace.as_ref());
        let jitter = own.jitter.as_ref().or(shared.jitter.as_ref());
        if sound {
            check_fits(grace, "grace", &life, self.context);
            check_fits(jitter, "jitter", &life, self.context);
        }
        let grace_by_default = grace.is_none();
        let grace =
            grace.map_or_else(|| fitting(usual.grace.unwrap_or(defaults::GRACE), &life, 2), |grace| grace.value);
        let jitter = jitter.map_or_else(|| fitting(defaults::JITTER, &life, 20), |jitter| jitter.value);
        let grace_cap = self.grace_cap(own.grace_cap.as_ref().or(shared.grace_cap.as_ref()), grace, &what);

        let named = spec.name.as_ref().map(|name| &name.value);
        let mut stores = Vec::with_capacity(spec.stores.len());
        let mut selected = Selected::default();
        for store in &spec.stores {
            let resolved = self.targets.stores(store, account.as_deref(), named, &what);
            stores.extend(resolved.stores);
            selected.stores.extend(resolved.selected);
        }
        if let (Some(account), Some(name)) = (&account, named) {
            stores.extend(self.targets.of_templates(&self.templates, name, account, &what));
        }
        // Held for as long as the daemon runs, and mostly one.
        stores.shrink_to_fit();
        let name = spec.name.as_ref();
        let hooks = Hooks { context: self.context }.of(spec, &mut selected, &what);
        self.warn_without_consumer(spec, &what, account.as_deref());
        if let Some(account) = &account {
            self.check_initial(spec, account, &what);
            self.check_name(spec, account, &what);
            self.check_own_store(spec, account, &stores, &what);
        }

        Some(TokenPolicy {
            name: name?.value.clone(),
            lifetime: life.lifetime,
            renew_before: life.renew_before,
            rotate_every: life.rotate_every,
            schedule,
            window,
            grace,
            grace_by_default,
            grace_cap,
            jitter,
            verify_timeout: either(
                own.verify_timeout.as_ref(),
                shared.verify_timeout.as_ref(),
                defaults::VERIFY_TIMEOUT,
            ),
            drift_every: either(own.drift_every.as_ref(), shared.drift_every.as_ref(), defaults::DRIFT_EVERY),
            params: merged,
            paused: spec.paused,
            initial: spec.initial.as_ref().map(|initial| {
                Box::new(Initial {
                    source: initial.source.clone(),
                    parts: initial.parts.iter().map(|(name, source)| (name.value.clone(), source.clone())).collect(),
                    id: initial.id.as_ref().map(|id| id.value.clone()),
                    name: initial.name.as_ref().map(|name| name.value.clone()),
                    expires: initial.expires.as_ref().map(|expires| expires.value),
                })
            }),
            stores,
            hooks,
            selected: (selected != Selected::default()).then(|| Box::new(selected)),
            account: account?,
        })
    }

    /// A name that the provider takes today, and refuses when the number of a generation has got one more digit, would
    /// end the chain then.
    fn check_name(&self, spec: &TokenSpec, account: &AccountPolicy, what: &str) {
        let Some(name) = &spec.name else { return };
        if let Some((why, help)) = account.provider.rejection_of_name(&name.value) {
            let message = format!("{what} has a name that provider \"{}\" refuses: {why}", account.provider.name);
            self.context.report.error_with_help(name.spot, message, help);
        }
    }

    /// A token that opens the store that it goes to has to live until it is there.
    fn check_own_store(&self, spec: &TokenSpec, account: &AccountPolicy, stores: &[StorePolicy], what: &str) {
        let (Some(name), can) = (&spec.name, account.provider.capabilities()) else { return };
        let overlaps = if can.mints { can.overlap } else { !can.renews || can.renewal_overlaps };
        let own = stores.iter().filter_map(StorePolicy::account).find(|account| {
            let account = self.accounts.get(*account).and_then(Option::as_ref);
            account.is_some_and(|it| it.endpoint.credential == Credential::Token(name.value.clone()))
        });
        if let Some(own) = own.filter(|_| !overlaps) {
            let message = format!("{what} is delivered through account \"{own}\", which authenticates with it");
            let provider = &account.provider.name;
            let help = format!(
                "the old one of provider \"{provider}\" dies with the new one, so that nobody could write it: give the \
                 account another credential, or the token another store"
            );
            self.context.report.error_with_help(name.spot, message, help);
        }
    }

    fn account(&self, spec: &TokenSpec, what: &str) -> Option<Arc<AccountPolicy>> {
        let name = spec.account.as_ref()?;
        let known = name.value.parse().ok().and_then(|name| self.accounts.get(&name));
        if known.is_none() {
            let names = self.accounts.keys().map(crate::names::AccountName::as_str);
            let message = format!("{what} names an unknown account \"{}\"", name.value);
            self.context.report.error_with_help(name.spot, message, self.context.hint(&name.value, names));
        }
        known?.clone()
    }

    /// The account's parameters overlaid with the token's own.
    fn params(&self, spec: &TokenSpec, account: &AccountPolicy, what: &str) -> Params {
        params::check(&spec.params, &account.provider, what, self.context);
        let mut merged = account.params.clone();
        merged.extend(spec.params.iter().map(|(name, value)| (name.value.clone(), value.value.clone())));
        params::check_bonds(&spec.params, &merged, |_| true, &account.provider, what, self.context);
        params::complete(&merged, &account.provider, what, spec.spot, self.context);
        merged
    }

    /// Whether the token can fall due before it expires; a lifetime that nobody asks for gets a warning.
    fn check_life(
        &self,
        spec: &TokenSpec,
        life: &Life<'_>,
        renew_before: Option<&Located<RenewBefore>>,
        account: Option<&AccountPolicy>,
    ) -> bool {
        let report = self.context.report;
        if let (Some(lifetime), Some(account)) = (&spec.policy.lifetime, account)
            && !account.provider.capabilities().chooses_lifetime
        {
            let message = format!("`lifetime` of {} is not asked for", life.what);
            let help =
                format!("provider \"{}\" chooses it; use `rotate-every` to rotate by age", account.provider.name);
            report.warning(lifetime.spot, message, help);
        }
        let (Some(lifetime), Some(lead), Some(given)) = (life.lifetime, life.lead(), renew_before) else {
            return true;
        };
        if lead < lifetime {
            return true;
        }
        let message = format!(
            "`renew-before` of {} ({}) is not shorter than its lifetime ({}): it would be due as soon as it is minted",
            life.what,
            values::show(lead),
            values::show(lifetime)
        );
        report.error_with_help(given.spot, message, "lower it, or write a share of the lifetime such as \"33%\"");
        false
    }

    /// Nothing says when the token is to be rotated: fine where the provider tells its expiry.
    fn warn_without_rule(&self, spec: &TokenSpec, what: &str, account: Option<&AccountPolicy>) {
        let Some(account) = account else { return };
        if spec.initial.as_ref().is_some_and(|initial| initial.expires.is_some()) {
            return;
        }
        let message = format!("{what} has neither `lifetime` nor `rotate-every` nor `schedule`");
        let help = if account.provider.capabilities().expiry_known {
            format!(
                "its expiry will be read from provider \"{}\"; a token that never expires is never rotated",
                account.provider.name
            )
        } else {
            format!("provider \"{}\" does not tell when a token expires: add `rotate-every`", account.provider.name)
        };
        self.context.report.warning(spec.spot, message, help);
    }

    /// A token that its provider can mint may have an initial secret; one that is only watched must have something to
    /// be found by.
    fn check_initial(&self, spec: &TokenSpec, account: &AccountPolicy, what: &str) {
        let report = self.context.report;
        let can = account.provider.capabilities();
        let provider = &account.provider.name;
        let Some(initial) = &spec.initial else {
            if !can.mints && spec.sound {
                let message =
                    format!("{what} has no `initial`: provider \"{provider}\" cannot mint, so it is only watched");
                let help = format!(
                    "say which one it is: initial = {{ file = \"/path\" }}, {{ id = \"…\" }}, {{ name = \"…\" }} or {{ expires = … }}; \
                     or supply [account.{}.operations.mint]",
                    account.name
                );
                report.error_with_help(spec.spot, message, help);
            }
            return;
        };
        if let Some(name) = initial.name.as_ref().filter(|_| !can.lists || !can.names) {
            let message = format!("`initial` of {what} has a `name`, and provider \"{provider}\" does not list names");
            report.error_with_help(name.spot, message, "remove it, and give its `id` or its secret");
        }
        if can.renews && !can.renewal_overlaps && !can.mints {
            let message =
                format!("{what} is renewed in place: its old secret dies before its consumers have the new one");
            let help =
                "make sure that they read it again, or use a kind of token that can be minted beside the old one";
            report.warning(spec.spot, message, help);
        }
        let known = account.provider.secret_parts();
        for (name, _) in initial.parts.iter().filter(|(name, _)| !known[1..].contains(&name.value.as_str())) {
            let message = format!(
                "`parts` of `initial` of {what} has \"{}\", which is no part of a secret of provider \"{provider}\"",
                name.value
            );
            report.error_with_help(name.spot, message, self.context.hint(&name.value, known[1..].iter().copied()));
        }
        if initial.source.is_some() {
            return;
        }
        let used = spec.name.as_ref().is_some_and(|name| self.used.contains(name.value.as_str()));
        let wanted = if can.mints {
            Some("its provider mints: only a secret can be taken over")
        } else if used {
            Some("an account authenticates with it")
        } else if !spec.stores.is_empty() || !spec.hooks.is_empty() {
            Some("it has stores or hooks")
        } else {
            None
        };
        if let Some(why) = wanted {
            let message = format!("`initial` of {what} names no secret, and {why}");
            report.error_with_help(initial.spot, message, "give one of `file`, `env`, `systemd-credential`, `command`");
        } else if let Some(id) = initial.id.as_ref().filter(|_| !can.lists && initial.expires.is_none()) {
            let message = format!("`initial` of {what} cannot be watched: provider \"{provider}\" lists nothing");
            report.error_with_help(id.spot, message, "give its secret, or say when it `expires`");
        }
    }

    fn warn_without_consumer(&self, spec: &TokenSpec, what: &str, account: Option<&AccountPolicy>) {
        let Some(name) = &spec.name else { return };
        if account.is_some_and(|account| !account.provider.capabilities().mints) {
            return;
        }
        let goes_nowhere = spec.stores.is_empty() && !self.templates.have(&name.value);
        // What is not rotated needs to go nowhere.
        if spec.sound && !spec.paused && goes_nowhere && !self.used.contains(name.value.as_str()) {
            let message = format!("{what} has no store, and no account authenticates with it: its secret goes nowhere");
            let help = "add `file`, `env` or [[token.stores]]; with `paused = true` it is watched, and not rotated";
            self.context.report.warning(name.spot, message, help);
        }
    }

    /// At least the grace: what is filled in gives way, what was written is refused.
    fn grace_cap(&self, given: Option<&Located<Span>>, grace: Span, what: &str) -> Span {
        let Some(given) = given else { return defaults::GRACE_CAP.max(grace) };
        if given.value < grace {
            let message = format!(
                "`grace-cap` of {what} ({}) is shorter than its grace ({})",
                values::show(given.value),
                values::show(grace)
            );
            self.context.report.error_with_help(given.spot, message, "raise it, or lower `grace`");
        }
        given.value
    }
}

/// The token's value, else the shared one, else the default.
fn either(own: Option<&Located<Span>>, shared: Option<&Located<Span>>, default: Span) -> Span {
    own.or(shared).map_or(default, |found| found.value)
}

/// A default that is at most one part of `parts` of the time between two rotations.
fn fitting(default: Span, life: &Life<'_>, parts: i32) -> Span {
    life.period().map_or(default, |period| default.min(period / parts))
}
