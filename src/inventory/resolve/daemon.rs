//! `[daemon]`.

use std::path::{Path, PathBuf};

use crate::document::Located;
use crate::inventory::spec::DaemonSpec;
use crate::inventory::{DaemonSettings, defaults};

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
    Some(DaemonSettings {
        control: control?,
        state_dir: state_dir?,
        log_level: spec
            .and_then(|spec| spec.log_level.as_ref())
            .map_or_else(|| defaults::LOG_LEVEL.to_owned(), |level| level.value.clone()),
        log_format: spec.and_then(|spec| spec.log_format.as_ref()).map_or(defaults::LOG_FORMAT, |format| format.value),
        seal_key: spec.and_then(|spec| spec.seal_key.as_ref()).map(|key| key.value.clone()),
        providers: around.providers.map(Path::to_owned),
        drain_timeout: spec
            .and_then(|spec| spec.drain_timeout.as_ref())
            .map_or(defaults::DRAIN_TIMEOUT, |timeout| timeout.value),
    })
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
