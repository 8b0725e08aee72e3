//! `[[token]]`.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;

use crate::clock::Span;
use crate::document::{Located, Spot};
use crate::inventory::spec::{
    HookKindSpec, HookSpec, PaceSpec, PolicySpec, RunSpec, SignalSpec, TemplateSpec, TokenSpec, UnitSpec, UnitVerb,
};
use crate::inventory::{
    AccountPolicy, CallPolicy, CheckPolicy, Credential, HookKind, HookPolicy, Initial, Pace, RenewBefore,
    RolloutPolicy, RunPolicy, Selected, SelectedHook, SignalPolicy, SignalTarget, StorePolicy, TokenPolicy, UnitAction,
    UnitPolicy, defaults, values,
};
use crate::names::{HostName, TokenName};
use crate::provider::Params;

use super::account;
use super::claims::Needed;
use super::hosts::{self, On};
use super::program::cannot_start;
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
        let hooks = self.hooks(spec, &mut selected, &what);
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

    /// The hooks of a token; those of hosts by their labels go into `selected`.
    fn hooks(&self, token: &TokenSpec, selected: &mut Selected, what: &str) -> Vec<HookPolicy> {
        let units: Vec<_> = token.units.iter().map(|unit| self.unit_hook(unit)).collect();
        let mut seen = HashSet::with_capacity(units.len() + token.hooks.len());
        let mut hooks = Vec::with_capacity(units.len() + token.hooks.len());
        for spec in units.iter().chain(&token.hooks) {
            let timeout = spec.timeout.unwrap_or(defaults::HOOK_TIMEOUT);
            let Some((kind, spot)) = self.hook_kind(&spec.kind, timeout, what) else { continue };
            let on = match &spec.hosts {
                Some(named) => match hosts::of_hook(&kind, named, what, self.context) {
                    Some(On::Named(hosts)) => hosts.into_iter().map(Some).collect(),
                    Some(On::Selected(hosts)) => {
                        let policy = hook_policy(spec, kind, timeout, None);
                        selected.hooks.push(SelectedHook { hosts, policy });
                        continue;
                    }
                    None => continue,
                },
                None => vec![None],
            };
            if spec.hosts.is_none()
                && self.context.fleet.is_some()
                && !matches!(kind, HookKind::Http(_) | HookKind::Rollout(_))
            {
                let unit = matches!(kind, HookKind::Systemd(_) | HookKind::Signal(_));
                self.check_reach(unit, spot, what);
            }
            for host in on {
                let hook = hook_policy(spec, kind.clone(), timeout, host);
                if !seen.insert(hook.key.clone()) {
                    let message = format!("{what} runs this command twice after each rotation");
                    self.context.report.error_with_help(spot, message, "remove one of the two hooks");
                    continue;
                }
                hooks.push(hook);
            }
        }
        hooks
    }

    /// A hook of a fleet runs where the account is owned, which is no consumer's host in particular.
    fn check_reach(&self, unit: bool, spot: Spot, what: &str) {
        let report = self.context.report;
        if unit {
            let message = format!("a hook of {what} reaches what runs on whichever replica owns its account");
            let help = "name the hosts whose agents run it, `hosts = [\"web-1\", …]` of the hook; or tell the consumers through \
                        something that all replicas reach (run = [\"ssh\", …])";
            report.error_with_help(spot, message, help);
        } else {
            let message = format!("a hook of {what} runs on the replica that owns its account, and on no other");
            report.warning(spot, message, "see that it reaches its consumers from every replica");
        }
    }

    fn hook_kind(&self, spec: &HookKindSpec, timeout: Duration, what: &str) -> Option<(HookKind, Spot)> {
        Some(match spec {
            HookKindSpec::Run(run) => (HookKind::Run(self.program(run, what)), run.argv.spot),
            HookKindSpec::Systemd { unit, action, user, steady } => {
                let action = action.unwrap_or(defaults::UNIT_ACTION);
                let steady = steady.unwrap_or(defaults::STEADY);
                (HookKind::Systemd(UnitPolicy::new(&unit.value, action, *user, steady)), unit.spot)
            }
            HookKindSpec::Check { run, within, every } => {
                let check = CheckPolicy {
                    run: self.program(run, what),
                    within: within.unwrap_or(defaults::CHECK_WITHIN),
                    every: every.unwrap_or(defaults::CHECK_EVERY),
                };
                (HookKind::Check(check), run.argv.spot)
            }
            HookKindSpec::Signal(spec) => (HookKind::Signal(self.signal(spec, what)?), spec.spot),
            HookKindSpec::Rollout(spec) => {
                let about = format!("a hook of {what}");
                let site = account::site(&spec.site, timeout, &about, self.context);
                let mut url = account::url(&spec.url, (spec.site.allow_plaintext, None), &about, self.context)?;
                let (workload, name) = spec.workload.clone();
                let path = format!(
                    "{}/apis/apps/v1/namespaces/{}/{}s/{name}",
                    url.path().trim_end_matches('/'),
                    spec.namespace,
                    workload.word()
                );
                url.set_path(&path);
                let rollout = RolloutPolicy {
                    url,
                    workload,
                    namespace: spec.namespace.clone(),
                    name,
                    credential: spec.credential.clone(),
                    within: spec.within.unwrap_or(defaults::ROLLOUT_WITHIN),
                    every: spec.every.unwrap_or(defaults::CHECK_EVERY),
                    site,
                };
                (HookKind::Rollout(Box::new(rollout)), spec.url.spot)
            }
            HookKindSpec::Http(spec) => {
                let about = format!("a hook of {what}");
                let site = account::site(&spec.site, timeout, &about, self.context);
                let call = CallPolicy {
                    url: account::url(&spec.url, (spec.site.allow_plaintext, None), &about, self.context)?,
                    method: spec.method.and_then(|word| word.parse().ok()).unwrap_or(Method::POST),
                    json: spec.json.clone(),
                    credential: spec.credential.clone(),
                    sign: spec.sign.clone(),
                    ok: spec.ok.clone(),
                    site,
                };
                (HookKind::Http(Box::new(call)), spec.url.spot)
            }
        })
    }

    fn signal(&self, spec: &SignalSpec, what: &str) -> Option<SignalPolicy> {
        let context = self.context;
        let path = |text: &Located<String>, key: &str| {
            account::absolute(text, format_args!("`{key}` of a hook of {what}"), context)
        };
        let of = match &spec.of {
            Some(name) => {
                let number = name.value.parse().ok().or_else(|| (context.around.user)(&name.value));
                if number.is_none() {
                    let message = format!("`of` of a hook of {what}: there is no user \"{}\"", name.value);
                    context.report.error_with_help(name.spot, message, "name a user of this machine");
                    return None;
                }
                number
            }
            None => None,
        };
        let signal = spec.signal.unwrap_or(defaults::HOOK_SIGNAL);
        let target = match (&spec.unit, &spec.pid_file, &spec.exe) {
            (Some(unit), ..) => SignalTarget::unit(&unit.value, spec.user, signal),
            (None, Some(pid_file), exe) => SignalTarget::PidFile {
                pid_file: path(pid_file, "pid-file")?,
                exe: match exe {
                    Some(exe) => Some(path(exe, "exe")?),
                    None => None,
                },
            },
            (None, None, exe) => SignalTarget::Program { exe: path(exe.as_ref()?, "exe")?, of },
        };
        Some(SignalPolicy { signal, target, may_be_absent: spec.may_be_absent })
    }

    fn program(&self, spec: &RunSpec, what: &str) -> RunPolicy {
        if let Some((why, help)) = spec.argv.value.first().and_then(|program| cannot_start(program)) {
            let message = format!("the hook {:?} of {what} can never be started: {why}", spec.argv.value[0]);
            self.context.report.error_with_help(spec.argv.spot, message, help);
        }
        RunPolicy { argv: spec.argv.value.clone(), pass_env: spec.pass_env.clone() }
    }
}

impl Resolver<'_> {
    /// What tells the service manager of a new secret; a unit that does not run is left alone.
    fn unit_hook(&self, spec: &UnitSpec) -> HookSpec {
        let action = match spec.verb {
            UnitVerb::Restart => UnitAction::TryRestart,
            UnitVerb::Reload => UnitAction::TryReloadOrRestart,
        };
        let user = self.context.around.user_services;
        let kind = HookKindSpec::Systemd { unit: spec.name.clone(), action: Some(action), user, steady: None };
        HookSpec { timeout: None, on_failure: None, kind, pace: PaceSpec::default(), hosts: None }
    }
}

/// The token's value, else the shared one, else the default.
/// One hook, on `host` or where the account is owned.
fn hook_policy(spec: &HookSpec, kind: HookKind, timeout: Duration, host: Option<HostName>) -> HookPolicy {
    HookPolicy {
        key: kind.key(host.as_ref()),
        kind,
        timeout,
        on_failure: spec.on_failure.unwrap_or(defaults::ON_FAILURE),
        pace: Pace {
            wave: spec.pace.wave.unwrap_or(Pace::default().wave),
            coalesce: spec.pace.coalesce,
            splay: spec.pace.splay,
            once_per: spec.pace.once_per,
        },
        host,
    }
}

fn either(own: Option<&Located<Span>>, shared: Option<&Located<Span>>, default: Span) -> Span {
    own.or(shared).map_or(default, |found| found.value)
}

/// A default that is at most one part of `parts` of the time between two rotations.
fn fitting(default: Span, life: &Life<'_>, parts: i32) -> Span {
    life.period().map_or(default, |period| default.min(period / parts))
}
