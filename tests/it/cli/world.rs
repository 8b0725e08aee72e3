//! A directory with an inventory, and the program started in it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use patrold::clock::{Clock as _, Span, SystemClock, Time};
use patrold::few::Few;
use patrold::inventory::{self, Environment, TokenPolicy};
use patrold::journal::key::KeySource;
use patrold::journal::sqlite::SqliteJournal;
use patrold::journal::{Change, Draft};
use patrold::names::{GenerationNo, InstanceId, Marker, RotationId, TokenName};
use patrold::provider::{Expiry, Remote};
use patrold::rotation::state::{Candidate, Delivery, Generation, Intent, Origin};
use patrold::rotation::stored::Line;
use patrold::rotation::{Event, TokenState, apply};
use serde_json::Value;

/// One token that can be revoked and one that cannot. Nobody answers at either provider's address.
pub const TWO_TOKENS: &str = r#"
[account.controller]
provider   = "awx"
url        = "http://127.0.0.1:1"
credential = { env = "PATROLD_TEST_CREDENTIAL" }

[account.gps]
provider   = "pointone"
url        = "http://127.0.0.1:1"
credential = { env = "PATROLD_TEST_CREDENTIAL" }

[[token]]
name         = "ci"
account      = "controller"
rotate-every = "30d"
params       = { user_id = 7, scope = "write" }
stores       = [{ kind = "file", path = "ci-token" }]

[[token]]
name         = "gps"
account      = "gps"
lifetime     = "60d"
renew-before = "10d"
window       = { cron = "0 0 2 * * *", duration = "2h", timezone = "Europe/Berlin" }
stores       = [{ kind = "file", path = "gps-token" }]
"#;

/// A temporary directory that holds everything.
pub struct World {
    directory: tempfile::TempDir,
}

impl World {
    /// A world with this inventory, whose state directory and control socket are in it.
    pub fn new(inventory: &str) -> Self {
        let world = Self { directory: tempfile::tempdir().unwrap() };
        let inventory = inventory.replace("path = \"", &format!("path = \"{}/", world.path().display()));
        let directory = world.path().display();
        let daemon = format!("state-dir = \"{directory}/state\"\ncontrol = \"{directory}/patrold/control.sock\"\n");
        // At the end, so that the lines of the inventory keep their numbers.
        std::fs::write(world.config(), format!("{inventory}\n[daemon]\n{daemon}")).unwrap();
        world
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn config(&self) -> PathBuf {
        self.path().join("patrold.toml")
    }

    /// The program with these arguments, in an environment of its own.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("patrold"));
        command.env_clear().env("PATROLD_CONFIG", self.config()).env("HOME", self.path()).args(args);
        // So that the control socket is where it would be if the inventory said nothing about it.
        command.env("XDG_RUNTIME_DIR", self.path());
        command
    }

    /// What the program answers.
    pub fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// The JSON that the program prints.
    pub fn json(&self, args: &[&str], exit: i32) -> Value {
        let output = self.run(args);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(exit), "{args:?}: {errors}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Notes in the journal that a token was rotated five days ago.
    pub fn rotate_in_journal(&self, name: &str, number: u32) {
        let at = SystemClock.now() - Span::days(5);
        let loaded = inventory::load(&self.config(), &Environment::default(), at);
        let inventory = loaded.inventory.unwrap_or_else(|| panic!("{}", loaded.report.render()));
        let policy = &inventory.tokens[&name.parse::<TokenName>().unwrap()];
        let mut state = TokenState::default();
        let mut records = Vec::new();
        for event in rotation(policy, number, at) {
            state = apply(state, at, &event).unwrap();
            let kind = event.name();
            let body = serde_json::to_string(&Line { at, event: Cow::Owned(event) }).unwrap();
            records.push(Draft { kind, body });
        }
        self.write(name, at, records, serde_json::to_string(&state).unwrap());
    }

    /// Writes the state of a token to the journal.
    pub fn commit(&self, name: &str, state: String) {
        let records = vec![Draft { kind: "retired", body: "{}".to_owned() }];
        self.write(name, SystemClock.now(), records, state);
    }

    /// Changes the database behind the journal's back.
    pub fn tamper(&self, sql: &str) {
        let database = rusqlite::Connection::open(self.path().join("state/journal.db")).unwrap();
        database.execute_batch("DROP TRIGGER IF EXISTS records_are_not_changed").unwrap();
        database.execute_batch("DROP TRIGGER IF EXISTS records_are_not_deleted").unwrap();
        database.execute_batch(sql).unwrap();
    }

    fn write(&self, name: &str, at: Time, records: Vec<Draft>, state: String) {
        let now = SystemClock.now();
        let (journal, opened) =
            SqliteJournal::open(&self.path().join("state"), &KeySource::StateDirectory, now).unwrap();
        let token: TokenName = name.parse().unwrap();
        let stored = opened.states.into_iter().find(|(known, _)| *known == token);
        let follows = stored.map(|(_, stored)| stored.head).unwrap_or_default();
        let change = Change { token, follows, at, records, state: Some(state), secrets: Vec::new() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(journal.revise(vec![change])).unwrap();
    }
}

/// What happens in a rotation that goes well.
fn rotation(policy: &TokenPolicy, number: u32, at: Time) -> Vec<Event> {
    let (rotation, number) = (RotationId::new([7; 6]), GenerationNo(number));
    let marker = Marker::new(InstanceId::new([1, 2, 3, 4]), &policy.name, number, rotation);
    let (account, params) = (policy.account.name.clone(), policy.params.clone());
    let generation = Generation {
        number,
        account: account.clone(),
        params: Some(params.clone()),
        revision: 0,
        marker: Some(marker.clone()),
        remote: Remote {
            id: Some("4711".parse().unwrap()),
            expires: Expiry::told(at + Span::days(60)),
            refresh_expires: None,
            renewable_until: None,
            facts: BTreeMap::new(),
        },
        minted_at: at,
        issued_at: at,
        fingerprints: Few::default(),
        compromised: None,
        reissue_unknown: None,
    };
    let candidate =
        Candidate { generation, rotation, delivery: Delivery::default(), rejection: None, origin: Origin::Minted };
    let store = policy.stores[0].key.clone();
    vec![
        Event::Intended {
            intent: Intent { rotation, number, marker, account, params, at, reason: "first-issue".to_owned() },
        },
        Event::Minted { candidate: Box::new(candidate) },
        Event::Verified { proven: true, id: None, expires: None },
        Event::StoreWritten { store, receipt: None },
        Event::Delivered {},
        Event::Activated { revoke_at: at + Span::hours(1), vain: None },
    ]
}
