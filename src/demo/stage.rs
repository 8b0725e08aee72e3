//! The demo's stage: a directory with an inventory, bootstrap secrets and stores, and who consumes what.

use std::fmt::Write as _;
use std::fs::Permissions;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::Map;

use super::vault::Shelf;
use super::{Consumer, Loopback, Options, Reading, Service, Vault};
use crate::clock::Span;
use crate::secret::Fingerprinter;

/// The token that the Point One account authenticates with, and that patrold keeps fresh.
const ADMIN: &str = "gps-admin";

/// The document of the Vault that two tokens share.
const DOCUMENT: &str = "apps/controller";

/// The token that the Vault accepts.
pub const VAULT_TOKEN: &str = "vault-writer";

/// How the loopback services behave in a demo: one "day" lasts a second, access tokens a few.
pub fn services() -> Options {
    Options {
        point_one_day: Span::seconds(1),
        commvault_access_lifetime: Span::seconds(6),
        commvault_refresh_lifetime: Span::seconds(30),
        awx_page_size: 5,
        ..Options::default()
    }
}

/// Writes the inventory and the bootstrap secrets below `directory`, and returns the path of the inventory.
/// `listen`: where the daemon serves its status page.
pub fn set(directory: &Path, loopback: &Loopback, vault: &Vault, listen: Option<SocketAddr>) -> io::Result<PathBuf> {
    let secrets = directory.join("bootstrap");
    let stores = directory.join("stores");
    std::fs::create_dir_all(&secrets)?;
    std::fs::create_dir_all(&stores)?;
    // A long-lived credential for the first token of all, as an operator would copy it from the provider's console.
    let admin = loopback.issue(Service::PointOne, ADMIN, Span::minutes(2));
    std::fs::write(secrets.join(ADMIN), admin.token().expose())?;
    let operator = loopback.operator();
    let password = operator.map(|user| user.password.expose().to_owned()).unwrap_or_default();
    std::fs::write(secrets.join("controller"), password)?;
    std::fs::write(secrets.join("backup"), loopback.admin_secret(Service::Commvault).expose())?;
    std::fs::write(secrets.join("vault"), VAULT_TOKEN)?;
    // Somebody else's entry of a document that patrold writes to.
    vault.shelf().put(DOCUMENT, Map::from_iter([("owner".to_owned(), "the controller team".into())]));
    let env_file = stores.join("gps.env");
    std::fs::write(&env_file, "# consumed by the ingest service\nGPS_HOST=gps.example.com\n\nGPS_TOKEN=\n")?;
    // An env file keeps its mode, and one that others may read is refused.
    std::fs::set_permissions(&env_file, Permissions::from_mode(0o600))?;
    let config = directory.join("patrold.toml");
    let (user, id) = operator.map_or(("patrold", 0), |user| (user.name.as_str(), user.id));
    std::fs::write(&config, inventory(directory, loopback, vault, (user, id), listen))?;
    Ok(config)
}

/// One consumer for each store of the inventory.
pub fn consumers(directory: &Path, loopback: &Loopback, vault: &Shelf, fingerprints: &Fingerprinter) -> Vec<Consumer> {
    let stores = directory.join("stores");
    let consumer = |name: &str, file: &str, reading| {
        Consumer::new(name, stores.join(file), reading, loopback.ledger().clone(), fingerprints.clone())
    };
    let of_vault = |name: &str, key: &str| {
        let reading = Reading::Vault(vault.clone(), key.to_owned());
        Consumer::new(name, DOCUMENT, reading, loopback.ledger().clone(), fingerprints.clone())
    };
    vec![
        consumer("gps-ingest", "gps-ingest", Reading::Whole),
        consumer("gps-ingest (env)", "gps.env", Reading::EnvKey("GPS_TOKEN".to_owned())),
        consumer("gps-viewer", "gps-viewer", Reading::Whole).acknowledging(stores.join("gps-viewer.in-use")),
        consumer("controller-ci", "controller-ci", Reading::Whole),
        of_vault("controller-ci (vault)", "ci"),
        of_vault("controller-sync (vault)", "sync"),
        consumer("backup-nightly", "backup-nightly", Reading::Whole),
    ]
}

#[expect(clippy::too_many_lines, reason = "one inventory, as its reader sees it")]
fn inventory(
    directory: &Path,
    loopback: &Loopback,
    vault: &Vault,
    (user, id): (&str, u64),
    listen: Option<SocketAddr>,
) -> String {
    let listen = listen.map(|address| format!("listen    = \"{address}\"\n")).unwrap_or_default();
    let at = |name: &str| directory.join(name).display().to_string();
    let url = |service| loopback.url(service).as_str().trim_end_matches('/').to_owned();
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write!(
        text,
        r#"# The inventory of `patrold demo`: three kinds of provider and a Vault on loopback, lifetimes of seconds.

[daemon]
state-dir = "{state}"
control   = "{control}"
{listen}
[defaults]
renew-before   = "50%"
grace          = "1s"
jitter         = "1s"
verify-timeout = "5s"
drift-every    = "5s"

# Point One: authenticates with a token that patrold itself keeps fresh. One "day" lasts a second here.
[account.gps]
provider   = "pointone"
url        = "{gps}"
credential = {{ token = "gps-admin" }}
poll-every = "1s"
settle     = "1s"

# Point One publishes no arguments of its revoking mutations: an operator supplies them. These are the demo's own.
{gps_operations}
[account.controller]
provider   = "awx"
url        = "{controller}"
credential = {{ username = "{user}", password = {{ file = "{controller_password}" }} }}
params     = {{ user_id = {id} }}
poll-every = "2s"
settle     = "1s"

[account.backup]
provider   = "commvault"
url        = "{backup}"
credential = {{ file = "{backup_secret}" }}
poll-every = "2s"
params     = {{ user_id = {id} }}
settle     = "1s"

# Nor does Commvault publish what a listing looks like.
{backup_operations}

# A store: the key-value engine of a Vault.
[account.vault]
store      = "vault-kv2"
url        = "{vault}"
credential = {{ file = "{vault_token}" }}

[[token]]
name     = "gps-admin"
account  = "gps"
lifetime = "40d"
initial  = {{ file = "{gps_admin}" }}

[[token]]
name     = "gps-ingest"
account  = "gps"
lifetime = "20d"
stores   = [
  {{ kind = "file", path = "{stores}/gps-ingest" }},
  {{ kind = "env-file", path = "{stores}/gps.env", key = "GPS_TOKEN" }},
]
hooks    = [{{ run = ["true"], timeout = "2s" }}]

[[token]]
name     = "gps-viewer"
account  = "gps"
lifetime = "14d"
stores   = [{{ kind = "file", path = "{stores}/gps-viewer" }}]
# The consumer touches a file once it uses the new secret; the old token is not revoked before.
hooks    = [{{ kind = "check", run = ["test", "!", "{stores}/gps-viewer", "-nt", "{stores}/gps-viewer.in-use"], within = "2s", every = "100ms" }}]

# AWX chooses the lifetime (a thousand years): rotated by age.
[[token]]
name         = "controller-ci"
account      = "controller"
rotate-every = "6s"
stores       = [
  {{ kind = "file", path = "{stores}/controller-ci", mode = "0640" }},
  {{ account = "vault", path = "{document}", key = "ci" }},
]

[[token]]
name         = "controller-sync"
account      = "controller"
rotate-every = "9s"
params       = {{ scope = "read" }}
stores       = [{{ account = "vault", path = "{document}", key = "sync" }}]

# Commvault: access tokens are renewed in place, the pair is replaced by age.
[[token]]
name         = "backup-nightly"
account      = "backup"
rotate-every = "12s"
stores       = [{{ kind = "file", path = "{stores}/backup-nightly" }}]
"#,
        state = at("state"),
        control = at("control.sock"),
        gps_operations = operations(Service::PointOne, "gps"),
        backup_operations = operations(Service::Commvault, "backup"),
        gps = url(Service::PointOne),
        controller = url(Service::Awx),
        backup = url(Service::Commvault),
        controller_password = at("bootstrap/controller"),
        backup_secret = at("bootstrap/backup"),
        gps_admin = at("bootstrap/gps-admin"),
        stores = at("stores"),
        vault = vault.url(),
        vault_token = at("bootstrap/vault"),
        document = DOCUMENT,
    );
    text
}

/// The operations that an operator supplies for `service`, as tables of `account`.
pub fn operations(service: Service, account: &str) -> String {
    let text = super::operations(service).unwrap_or_default();
    text.replace("\n[", &format!("\n[account.{account}.operations."))
}
