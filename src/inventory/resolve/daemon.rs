//! `[daemon]`.

use std::path::{Path, PathBuf};

use crate::document::Located;
use crate::inventory::spec::{DaemonSpec, ListenSpec};
use crate::inventory::{DaemonSettings, Listen, ListenTls, defaults};

use super::Context;

/// The longest path that fits into the address of a Unix socket, without its final zero byte (`sun_path`, unix(7)).
const SOCKET_PATH: usize = 107;

/// The settings of the process. `None` where there is no state directory.
pub(super) fn resolve(spec: Option<&DaemonSpec>, context: &Context<'_>) -> Option<DaemonSettings> {
    let around = context.around;
    let path =
        |given: Option<&Located<String>>, key| given.and_then(|text| super::account::absolute(text, key, context));
    let state_dir = match spec.and_then(|spec| spec.state_dir.as_ref()) {
        Some(text) => super::account::absolute(text, "`state-dir` of [daemon]", context),
        None => around.state_dir.map(Path::to_owned).or_else(|| missing_state_dir(spec, context)),
    };
    let control = path(spec.and_then(|spec| spec.control.as_ref()), "`control` of [daemon]");
    check_socket(spec, control.as_ref(), context);
    let default_control = || around.runtime_dir.or(state_dir.as_deref()).map(|dir| dir.join(defaults::CONTROL_NAME));
    let control = control.or_else(default_control);
    let listen = spec.and_then(|spec| listen(&spec.listen, context));
    Some(DaemonSettings {
        control: control?,
        listen,
        state_dir: state_dir?,
        state_dir_named: around.state_dir_named || spec.is_some_and(|spec| spec.state_dir.is_some()),
        log_level: spec
            .and_then(|spec| spec.log_level.as_ref())
            .map_or_else(|| defaults::LOG_LEVEL.to_owned(), |level| level.value.clone()),
        log_format: spec.and_then(|spec| spec.log_format.as_ref()).map_or(defaults::LOG_FORMAT, |format| format.value),
        seal_key: spec.and_then(|spec| spec.seal_key.as_ref()).map(|key| key.value.clone()),
        providers: around.providers.map(Path::to_owned),
        drain_timeout: match spec.and_then(|spec| spec.drain_timeout.as_ref()) {
            Some(timeout) => timeout.value,
            None if around.first_process => defaults::DRAIN_TIMEOUT_OF_CONTAINERS,
            None => defaults::DRAIN_TIMEOUT,
        },
        new_journal: spec.and_then(|spec| spec.new_journal.as_ref()).map_or(defaults::NEW_JOURNAL, |rule| rule.value),
    })
}

/// Where to listen. Beyond loopback, whoever listens on the wire must not read what is sent, and strangers get nothing.
fn listen(spec: &ListenSpec, context: &Context<'_>) -> Option<Listen> {
    const ADD_TLS: &str = "listen-tls = { cert = \"/path/cert.pem\", key = { file = \"/path/key.pem\" } }";
    const ADD_AUTH: &str = "listen-auth = { bearer = { file = \"/path/secret\" } }";
    let tls = spec.tls.as_ref().map(|tls| {
        let cert = super::account::absolute(&tls.value.cert, "`cert` of `listen-tls` of [daemon]", context);
        cert.map(|cert| ListenTls { cert, key: tls.value.key.clone() })
    });
    let auth = spec.auth.as_ref().map(|auth| auth.value.clone());
    if spec.broken {
        return None;
    }
    let Some(address) = &spec.address else {
        let tls = spec.tls.as_ref().map(|tls| ("listen-tls", tls.spot));
        let useless = tls.or(spec.auth.as_ref().map(|auth| ("listen-auth", auth.spot)));
        if let Some((key, spot)) = useless {
            let message = format!("`{key}` of [daemon] has nothing to protect without `listen`");
            context.report.error_with_help(spot, message, "write listen = \"127.0.0.1:9847\", or remove it");
        }
        return None;
    };
    if !address.value.ip().to_canonical().is_loopback() {
        let missing = match (&tls, &auth) {
            (None, None) => Some(("both TLS and authentication", format!("{ADD_TLS} and {ADD_AUTH}"))),
            (None, Some(_)) => Some(("TLS", ADD_TLS.to_owned())),
            (Some(_), None) => Some(("authentication", ADD_AUTH.to_owned())),
            (Some(_), Some(_)) => None,
        };
        if let Some((what, remedy)) = missing {
            let message = format!("`listen` of [daemon]: {} is not loopback, and needs {what}", address.value);
            let help = format!("add {remedy}; or listen on 127.0.0.1:{}", address.value.port());
            context.report.error_with_help(address.spot, message, help);
            return None;
        }
    }
    match tls {
        Some(None) => None,
        tls => Some(Listen { address: address.value, tls: tls.flatten(), auth }),
    }
}

/// Neither the inventory nor the environment names a state directory: a service without `StateDirectory=`, without a
/// home.
fn missing_state_dir(spec: Option<&DaemonSpec>, context: &Context<'_>) -> Option<PathBuf> {
    let spot = spec.map_or(context.around.main, |spec| spec.spot);
    let message = "there is no state directory: neither $STATE_DIRECTORY nor $XDG_STATE_HOME nor $HOME is set";
    context.report.error_with_help(spot, message, "write state-dir = \"/var/lib/patrold\" under [daemon]");
    None
}

fn check_socket(spec: Option<&DaemonSpec>, control: Option<&PathBuf>, context: &Context<'_>) {
    let Some((control, given)) = control.zip(spec.and_then(|spec| spec.control.as_ref())) else { return };
    if control.as_os_str().len() > SOCKET_PATH {
        let message = format!("`control` of [daemon] has more than {SOCKET_PATH} bytes, too long for a socket");
        context.report.error_with_help(given.spot, message, "put it into a shorter directory, such as /run/patrold");
    }
}
