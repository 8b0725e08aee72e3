//! The stage of the kill test: three services, seven tokens that are rotated every few seconds, stores of both kinds,
//! hooks, an account that authenticates with a managed token. Lives are ten times as long as the time between rotations:
//! a token that dies here was forgotten, not late.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use patrold::clock::Span;
use patrold::demo::{Consumer, Loopback, Options, Reading, Service, stage};
use patrold::secret::Fingerprinter;

/// The managed token.
const ADMIN: &str = "gps-admin";

/// How the services behave.
pub fn services() -> Options {
    Options {
        point_one_day: Span::seconds(1),
        awx_lifetime: Span::seconds(60),
        awx_page_size: 3,
        commvault_access_lifetime: Span::seconds(30),
        commvault_refresh_lifetime: Span::seconds(60),
        ..Options::default()
    }
}

/// Where everything of one run is.
#[derive(Clone, Debug)]
pub struct Places {
    pub root: PathBuf,
    pub config: PathBuf,
    pub state: PathBuf,
    pub stores: PathBuf,
    /// All that any of the daemons said.
    pub log: PathBuf,
    /// What hooks saw of their environment and arguments.
    pub hooked: PathBuf,
}

impl Places {
    /// Writes inventory and bootstrap secrets below `root`.
    pub fn set(root: &Path, loopback: &Loopback) -> Self {
        let places = Self {
            root: root.to_owned(),
            config: root.join("patrold.toml"),
            state: root.join("state"),
            stores: root.join("stores"),
            log: root.join("daemon.log"),
            hooked: root.join("hooked"),
        };
        fs::create_dir(&places.stores).unwrap();
        let admin = loopback.issue(Service::PointOne, ADMIN, Span::minutes(5));
        fs::write(root.join(ADMIN), admin.token().expose()).unwrap();
        fs::write(root.join("password"), loopback.operator().unwrap().password.expose()).unwrap();
        fs::write(root.join("backup"), loopback.admin_secret(Service::Commvault).expose()).unwrap();
        let env_file = places.stores.join("gps.env");
        fs::write(&env_file, "# consumed by the ingest service\nGPS_HOST=gps.example.com\nGPS_TOKEN=\n").unwrap();
        fs::set_permissions(&env_file, Permissions::from_mode(0o600)).unwrap();
        fs::write(&places.config, places.inventory(loopback)).unwrap();
        places
    }

    /// One consumer for each store.
    pub fn consumers(&self, loopback: &Loopback) -> Vec<Consumer> {
        let fingerprints = Fingerprinter::new(&[7; 32]);
        let key = |key: &str| Reading::EnvKey(key.to_owned());
        [
            (ADMIN, Reading::Whole),
            ("gps-ingest", Reading::Whole),
            ("gps.env", key("GPS_TOKEN")),
            ("gps-viewer.sh", key("GPS_VIEWER")),
            ("controller-ci", Reading::Whole),
            ("controller-sync.env", key("SYNC_TOKEN")),
            ("backup-nightly", Reading::Whole),
            ("backup-weekly.env", key("BACKUP_TOKEN")),
            ("backup-weekly", Reading::Whole),
        ]
        .map(|(file, reading)| {
            Consumer::new(file, self.stores.join(file), reading, loopback.ledger().clone(), fingerprints.clone())
        })
        .into()
    }

    fn inventory(&self, loopback: &Loopback) -> String {
        let url = |service| loopback.url(service).as_str().trim_end_matches('/').to_owned();
        let operator = loopback.operator().unwrap();
        format!(
            r#"
[daemon]
state-dir = "{root}/state"
control   = "{root}/control.sock"
log-level = "debug"

[defaults]
renew-before   = "90%"
grace          = "500ms"
jitter         = "200ms"
verify-timeout = "5s"
drift-every    = "1s"

[account.gps]
provider   = "pointone"
url        = "{gps}"
credential = {{ token = "{ADMIN}" }}
poll-every = "1s"
settle     = "300ms"

{gps_operations}
[account.controller]
provider   = "awx"
url        = "{controller}"
credential = {{ username = "{user}", password = {{ file = "{root}/password" }} }}
params     = {{ user_id = {id} }}
poll-every = "1s"
settle     = "300ms"

[account.backup]
provider   = "commvault"
url        = "{backup}"
credential = {{ file = "{root}/backup" }}
params     = {{ user_id = {id} }}
poll-every = "1s"
settle     = "300ms"

{backup_operations}

[[token]]
name     = "{ADMIN}"
account  = "gps"
lifetime = "40d"
initial  = {{ file = "{root}/{ADMIN}" }}
stores   = [{{ kind = "file", path = "{root}/stores/{ADMIN}" }}]

[[token]]
name     = "gps-ingest"
account  = "gps"
lifetime = "20d"
stores   = [
  {{ kind = "file", path = "{root}/stores/gps-ingest" }},
  {{ kind = "env-file", path = "{root}/stores/gps.env", key = "GPS_TOKEN" }},
]
hooks    = [{{ run = ["sh", "-c", "{{ env; tr '\\0' ' ' < /proc/$$/cmdline; }} >> {root}/hooked"], timeout = "2s" }}]

[[token]]
name     = "gps-viewer"
account  = "gps"
lifetime = "30d"
stores   = [{{ kind = "env-file", path = "{root}/stores/gps-viewer.sh", key = "GPS_VIEWER", dialect = "posix-sh" }}]

[[token]]
name         = "controller-ci"
account      = "controller"
rotate-every = "2s"
stores       = [{{ kind = "file", path = "{root}/stores/controller-ci", mode = "0640" }}]
hooks        = [{{ run = ["true"], timeout = "2s" }}]

[[token]]
name         = "controller-sync"
account      = "controller"
rotate-every = "3s"
params       = {{ scope = "read" }}
stores       = [{{ kind = "env-file", path = "{root}/stores/controller-sync.env", key = "SYNC_TOKEN" }}]

[[token]]
name         = "backup-nightly"
account      = "backup"
renew-before = "95%"
rotate-every = "9s"
stores       = [{{ kind = "file", path = "{root}/stores/backup-nightly" }}]

[[token]]
name         = "backup-weekly"
account      = "backup"
renew-before = "96%"
rotate-every = "15s"
stores       = [
  {{ kind = "env-file", path = "{root}/stores/backup-weekly.env", key = "BACKUP_TOKEN" }},
  {{ kind = "file", path = "{root}/stores/backup-weekly" }},
]
"#,
            root = self.root.display(),
            gps = url(Service::PointOne),
            controller = url(Service::Awx),
            backup = url(Service::Commvault),
            user = operator.name,
            id = operator.id,
            gps_operations = stage::operations(Service::PointOne, "gps"),
            backup_operations = stage::operations(Service::Commvault, "backup"),
        )
    }
}
