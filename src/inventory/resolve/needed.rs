//! Files that the program reads or keeps, and that no store may therefore write.

use std::path::{Path, PathBuf};

use crate::document::Spot;
use crate::inventory::spec::{CredentialSpec, DaemonSpec, Spec};
use crate::inventory::{DaemonSettings, ListenAuth};
use crate::secret::SecretSource;

use super::Context;
use super::claims::Needed;

/// What lies in the state directory.
const KEPT: [&str; 10] = [
    "journal.db",
    "journal.db-wal",
    "journal.db-shm",
    "seal.key",
    "lock",
    "journal.mark",
    "journal.imported",
    "fleet-heads.json",
    "limits.json",
    "store-paths.json",
];

/// Every file of the daemon and of its accounts. Those of the inventory and of definitions are known otherwise.
pub(super) fn files(spec: &Spec<'_>, settings: Option<&DaemonSettings>, context: &Context<'_>) -> Vec<Needed> {
    let mut needed = Vec::new();
    let mut need = |path: &Path, what: String, spot: Spot| needed.push(Needed { path: path.to_owned(), what, spot });
    let daemon = spec.daemon.first();
    let place = |spot: Option<Spot>| spot.or(daemon.map(|daemon| daemon.spot)).unwrap_or(context.around.main);
    if let Some(settings) = settings {
        let spot = place(daemon.and_then(|daemon| Some(daemon.state_dir.as_ref()?.spot)));
        for name in KEPT {
            need(&settings.state_dir.join(name), "which the daemon keeps in its state directory".to_owned(), spot);
        }
        let spot = place(daemon.and_then(|daemon| Some(daemon.control.as_ref()?.spot)));
        need(&settings.control, "the control socket".to_owned(), spot);
    }
    for (path, what, spot) in daemon.into_iter().flat_map(|daemon| of_daemon(daemon, context)) {
        need(&path, what.to_owned(), spot);
    }
    for account in &spec.accounts {
        let name = &account.name.value;
        if let Some(credential) = &account.credential
            && let Some(path) = of_credential(&credential.value)
        {
            need(path, format!("the credential of account \"{name}\""), credential.spot);
        }
        for (key, file) in [
            ("ca-file", &account.tls.ca_file),
            ("client-certificate", &account.tls.client_certificate),
            ("client-key", &account.tls.client_key),
        ] {
            let Some(file) = file else { continue };
            let path = context.report.path(file.spot, &file.value).unwrap_or_else(|_| PathBuf::from(&file.value));
            need(&path, format!("the `{key}` of account \"{name}\""), file.spot);
        }
    }
    if let Some((fleet, spec)) = context.fleet.as_ref().zip(spec.fleet.first()) {
        for path in fleet.engine.tls.files() {
            need(path, "which the connection to the engine of [fleet] needs".to_owned(), spec.spot);
        }
        if let Some((_, SecretSource::File(path))) = &fleet.engine.login {
            need(path, "the password for the engine of [fleet]".to_owned(), spec.spot);
        }
    }
    needed
}

fn of_daemon(daemon: &DaemonSpec, context: &Context<'_>) -> Vec<(PathBuf, &'static str, Spot)> {
    let mut files = Vec::new();
    let mut secret = |source: &SecretSource, what, spot| {
        if let SecretSource::File(path) = source {
            files.push((path.clone(), what, spot));
        }
    };
    if let Some(key) = &daemon.seal_key {
        secret(&key.value, "the key that seals secrets", key.spot);
    }
    if let Some(tls) = &daemon.listen.tls {
        secret(&tls.value.key, "the key of `listen-tls`", tls.spot);
    }
    if let Some(auth) = &daemon.listen.auth {
        match &auth.value {
            ListenAuth::Bearer(source) => secret(source, "a secret of `listen-auth`", auth.spot),
            ListenAuth::Basic { password, .. } => secret(password, "a secret of `listen-auth`", auth.spot),
        }
    }
    if let Some(tls) = &daemon.listen.tls {
        let cert = &tls.value.cert;
        let path = context.report.path(cert.spot, &cert.value).unwrap_or_else(|_| PathBuf::from(&cert.value));
        files.push((path, "the certificate of `listen-tls`", tls.spot));
    }
    files
}

fn of_credential(credential: &CredentialSpec) -> Option<&Path> {
    match credential {
        CredentialSpec::Secret(SecretSource::File(path))
        | CredentialSpec::Basic { password: SecretSource::File(path), .. } => Some(path),
        CredentialSpec::Secret(_) | CredentialSpec::Basic { .. } | CredentialSpec::Token(_) => None,
    }
}
