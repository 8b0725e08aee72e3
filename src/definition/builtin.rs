//! The definitions that come with patrold, and those that the operator adds.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use super::lineage;
use crate::document::{Report, SourceId, Spot};
use crate::files::{self, ReadError};
use crate::names::ProviderName;
use crate::provider::Provider;

/// Most bytes of one definition: twenty times the largest that there is.
const LARGEST: usize = 1 << 20;

/// The files of `config/providers` and of `config/stores`, each with the name of its definition.
macro_rules! files {
    (providers: $($provider:literal,)* stores: $($store:literal,)*) => {
        &[
            $(($provider, include_str!(concat!("../../config/providers/", $provider, ".toml"))),)*
            $(($store, include_str!(concat!("../../config/stores/", $store, ".toml"))),)*
        ]
    };
}

/// Compiled in, so that a daemon without any file of definitions works.
const BUILTIN: &[(&str, &str)] = files![
    providers:
    "aap-gateway",
    "anthropic-api-key",
    "argocd-token",
    "atlassian-cloud-token",
    "auth0-client-secret",
    "authentik-token",
    "aws-bedrock-api-key",
    "aws-iam-access-key",
    "awx",
    "azure-devops-pat",
    "bitbucket-cloud-token",
    "bitbucket-dc-project-token",
    "bitbucket-dc-repository-token",
    "bitbucket-dc-token",
    "buildkite-access-token",
    "buildkite-agent-token",
    "circleci-token",
    "cloudflare-account-token",
    "cloudflare-user-token",
    "commvault",
    "commvault-login",
    "confluence-dc-pat",
    "confluent-cloud-api-key",
    "consul-token",
    "crates-io-token",
    "databricks-pat",
    "databricks-service-principal-secret",
    "datadog-pat",
    "datadog-service-account-token",
    "datahub-pat",
    "devpi-token",
    "digitalocean-functions-key",
    "digitalocean-token",
    "directus-token",
    "dockerhub-organization-token",
    "dockerhub-pat",
    "doppler-service-token",
    "elasticsearch-api-key",
    "entra-app-password",
    "foreman-pat",
    "forgejo-token",
    "gcp-service-account-key",
    "gitea-token",
    "github-app-token",
    "github-pat",
    "gitlab-deploy-token",
    "gitlab-group-token",
    "gitlab-pat",
    "gitlab-project-service-account-token",
    "gitlab-project-token",
    "gitlab-runner-token",
    "gitlab-service-account-token",
    "gitlab-user-token",
    "grafana-service-account-token",
    "harbor-robot",
    "hcp-terraform-team-token",
    "hcp-terraform-user-token",
    "heroku-authorization",
    "hetzner-cloud-token",
    "influxdb-token",
    "jfrog-access-token",
    "jira-dc-pat",
    "jupyterhub-token",
    "keycloak-client-secret",
    "keystone-application-credential",
    "kubernetes-service-account-token",
    "launchdarkly-token",
    "linode-pat",
    "matrix-session",
    "mattermost-token",
    "mongodb-atlas-service-account-secret",
    "nautobot-token",
    "neon-api-key",
    "netbox-provisioned-token",
    "netbox-token",
    "netbox-v1-token",
    "netlify-token",
    "newrelic-user-key",
    "nomad-token",
    "npm-token",
    "oauth2-client-credentials",
    "oauth2-refresh-token",
    "okta-client-secret",
    "openai-admin-key",
    "openai-service-account",
    "pagerduty-key",
    "pointone",
    "proxmox-ve-token",
    "pulumi-organization-token",
    "pypi-token",
    "quay-oauth-token",
    "rancher-token",
    "rubygems-key",
    "sendgrid-api-key",
    "sentry-token",
    "slack-configuration-token",
    "snowflake-pat",
    "sonarqube-token",
    "stripe-api-key",
    "supabase-token",
    "tailscale-auth-key",
    "twilio-api-key",
    "unleash-pat",
    "vault-token",
    "vercel-token",
    "verdaccio-token",
    "watch-only",
    "zabbix-token",
    stores:
    "aws-secrets-manager",
    "aws-ssm",
    "azure-devops-variable-group",
    "azure-key-vault",
    "bitbucket-variable",
    "buildkite-secret",
    "circleci-variable",
    "cloudflare-workers-secret",
    "consul-kv",
    "doppler",
    "etcd",
    "etcd-password",
    "fly-secret",
    "gcp-secret-manager",
    "gitea-secret",
    "github-environment-secret",
    "github-organization-secret",
    "github-secret",
    "github-variable",
    "gitlab-group-variable",
    "gitlab-variable",
    "hcp-terraform-variable",
    "heroku",
    "http",
    "infisical",
    "kubernetes-secret",
    "netlify",
    "onepassword-connect",
    "vault-kv1",
    "vault-kv2",
    "vercel-variable",
];

/// Every definition that an inventory may name, of providers and of stores.
#[derive(Clone, Debug, Default)]
pub struct Definitions(BTreeMap<ProviderName, Provenance>);

#[derive(Clone, Debug)]
enum Provenance {
    /// Compiled at first demand: an inventory names a few of them, and their templates take memory.
    BuiltIn {
        name: &'static str,
        text: &'static str,
        compiled: OnceLock<Arc<Provider>>,
    },
    Own(Arc<Provider>),
}

impl Provenance {
    fn provider(&self) -> &Arc<Provider> {
        match self {
            Self::BuiltIn { name, text, compiled } => compiled.get_or_init(|| {
                let provider = parse(&source_name(name), text, &mut Report::new());
                Arc::new(provider.unwrap_or_else(|| panic!("tests read every built-in definition, {name} as well")))
            }),
            Self::Own(provider) => provider,
        }
    }
}

impl Definitions {
    /// The built-in definitions, with those of the files `*.toml` in `directory` added or put in their place.
    /// What is wrong with a file goes to `report`, and its definition is missing from the result.
    pub fn load(directory: Option<&Path>, report: &mut Report) -> Self {
        let mut definitions: BTreeMap<_, _> = BUILTIN
            .iter()
            .map(|(name, text)| {
                let entry = Provenance::BuiltIn { name, text, compiled: OnceLock::new() };
                (name.parse().expect("tests read every built-in definition"), entry)
            })
            .collect();
        let mut own = Vec::new();
        let mut extended = BTreeSet::new();
        for path in directory.map(|directory| definition_files(directory, report)).unwrap_or_default() {
            let name = path.display().to_string();
            match read_text(&path) {
                Ok(text) => {
                    extended.extend(lineage::extended(&text));
                    own.push(report.add_source(name, text));
                }
                Err(error) => unreadable(report, name, &error),
            }
        }
        let bases = add_bases(&extended, report);
        let names: Vec<_> = BUILTIN.iter().map(|(name, _)| *name).collect();
        for provider in lineage::read(report, &own, &bases, &names) {
            definitions.insert(provider.name.clone(), Provenance::Own(Arc::new(provider)));
        }
        Self(definitions)
    }

    /// The built-in definitions alone.
    pub fn builtin() -> Self {
        Self::load(None, &mut Report::new())
    }

    /// The definition called `name`.
    pub fn get(&self, name: &str) -> Option<Arc<Provider>> {
        self.0.iter().find(|(known, _)| known.as_str() == name).map(|(_, entry)| Arc::clone(entry.provider()))
    }

    /// Every name, in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(ProviderName::as_str)
    }

    /// The names of definitions of stores, or of providers, in alphabetical order.
    pub fn names_of(&self, stores: bool) -> impl Iterator<Item = &str> {
        self.of(stores).map(|definition| definition.name.as_str())
    }

    /// Every definition of a provider of tokens, in the order of names.
    pub fn providers(&self) -> impl Iterator<Item = &Arc<Provider>> {
        self.of(false)
    }

    /// Every definition of a store, in the order of names.
    pub fn stores(&self) -> impl Iterator<Item = &Arc<Provider>> {
        self.of(true)
    }

    fn of(&self, stores: bool) -> impl Iterator<Item = &Arc<Provider>> {
        self.0.values().map(Provenance::provider).filter(move |definition| definition.store().is_some() == stores)
    }
}

/// Reads a definition from `text`, which messages call `name`. `None` where it cannot be used; `report` says why.
/// It may extend built-in definitions: only files of a directory extend each other.
pub fn parse(name: &str, text: &str, report: &mut Report) -> Option<Provider> {
    let source = report.add_source(name, text);
    let bases = add_bases(&lineage::extended(text).into_iter().collect(), report);
    lineage::read(report, &[source], &bases, &[]).pop()
}

/// Reads the definition of the file at `path`; `None` where it cannot be used, and `report` says why. It may extend
/// built-in definitions and those of its directory. Its text is the source that comes with it.
pub fn read_file(path: &Path, report: &mut Report) -> Option<(Provider, SourceId)> {
    let text = match read_text(path) {
        Ok(text) => text,
        Err(error) => {
            unreadable(report, path.display().to_string(), &error);
            return None;
        }
    };
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let beside = if lineage::extended(&text).is_some() { definition_files(directory, report) } else { Vec::new() };
    let others = beside.into_iter().filter(|other| other.file_name() != path.file_name());
    let beside: Vec<_> =
        others.filter_map(|other| Some((other.display().to_string(), read_text(&other).ok()?))).collect();
    let mut line = vec![(path.display().to_string(), text)];
    while let Some(name) = line.last().and_then(|(_, text)| lineage::extended(text)) {
        let known = |file: &str| line.iter().any(|(seen, _)| seen == file);
        let base =
            beside.iter().find(|(file, text)| lineage::called(text).is_some_and(|it| it == name) && !known(file));
        let Some(base) = base else { break };
        line.push(base.clone());
    }
    let extended = line.iter().filter_map(|(_, text)| lineage::extended(text)).collect();
    let sources: Vec<_> = line.into_iter().map(|(file, text)| report.add_source(file, text)).collect();
    let bases = add_bases(&extended, report);
    let names: Vec<_> = BUILTIN.iter().map(|(name, _)| *name).collect();
    let source = *sources.first()?;
    let mut providers = lineage::read(report, &sources, &bases, &names);
    let own = providers.iter().position(|provider| provider.source() == report.text(source))?;
    Some((providers.swap_remove(own), source))
}

/// What messages call the file of a built-in definition.
fn source_name(name: &str) -> String {
    format!("built-in {name}.toml")
}

/// Adds the built-in definitions that are called one of `extended`, with those that they extend. All are sound, so that
/// only those that somebody extends are read.
fn add_bases(extended: &BTreeSet<String>, report: &mut Report) -> Vec<SourceId> {
    let called = |name: &str| BUILTIN.iter().find(|(known, _)| *known == name);
    let line = |name| std::iter::successors(called(name), |(_, text)| called(&lineage::extended(text)?));
    let bases: BTreeMap<_, _> = extended.iter().flat_map(|name| line(name)).copied().collect();
    bases.into_iter().map(|(name, text)| report.add_source(source_name(name), text)).collect()
}

/// The files of `directory` in the order of their names.
fn definition_files(directory: &Path, report: &mut Report) -> Vec<PathBuf> {
    let listed = files::within(directory, |directory| {
        Ok(std::fs::read_dir(directory)?.filter_map(|entry| Some(entry.ok()?.path())).collect::<Vec<_>>())
    });
    let entries = match listed {
        Ok(entries) => entries,
        Err(error) => {
            unreadable(report, directory.display().to_string(), &error);
            return Vec::new();
        }
    };
    let mut paths: Vec<PathBuf> = entries
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .filter(|path| path.file_name().is_some_and(|name| !name.as_encoded_bytes().starts_with(b".")))
        .collect();
    paths.sort();
    paths
}

fn read_text(path: &Path) -> Result<String, ReadError> {
    let content = files::read(path, LARGEST)?;
    let text = std::str::from_utf8(&content);
    text.map(str::to_owned).map_err(|_| ReadError::Io(std::io::Error::other("it is not UTF-8 text")))
}

fn unreadable(report: &mut Report, name: String, error: &ReadError) {
    let message = format!("{name} {error}");
    let source = report.add_source(name, "");
    report.error_with_help(Spot::top(source), message, error.remedy());
}
