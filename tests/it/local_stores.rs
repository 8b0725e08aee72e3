//! Stores of this machine go through the same list of faults, each kind in the same way. What became of it is a table in
//! `docs/stores.md`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use patrold::account::pool::Accounts;
use patrold::clock::SystemClock;
use patrold::endpoint::Workshop;
use patrold::inventory::{self, Environment, StorePolicy};
use patrold::names::{GenerationNo, RotationId, TokenName};
use patrold::outcome::{FailureCode, Outcome};
use patrold::secret::{Fingerprinter, Secret, SecretParts};
use patrold::store::{self, Delivery, Judge, Known, drift};
use tempfile::TempDir;

use crate::stores::update_page;

const FAULTS: [&str; 7] = [
    "its directory is missing",
    "read in the middle of a write",
    "killed between write and record",
    "changed by a stranger",
    "what others have there",
    "wrong place",
    "value rule",
];

/// What a file holds, for a value.
type Content = fn(&str) -> String;

/// A kind of store.
struct Kind {
    name: &'static str,
    keys: &'static str,
    /// The file that a write replaces, below the store's directory.
    file: &'static str,
    /// What it holds, for a value; with something of others, where the kind has room for that.
    content: Content,
    /// A file that is written with it, and what that holds.
    second: Option<(&'static str, Content)>,
    /// Whether others have a place in it.
    shared: bool,
    refused: Option<&'static str>,
}

/// A store in a directory of its own, which holds `tok-1` of patrold's.
struct Rig<'k> {
    kind: &'k Kind,
    home: TempDir,
    policies: Vec<StorePolicy>,
    accounts: Accounts<SystemClock>,
    fingerprints: Fingerprinter,
}

/// Ends the reader.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

const OLD: &str = "tok-1-of-patrold";
const NEW: &str = "tok-2-of-patrold";

fn parts(value: &str) -> SecretParts {
    SecretParts::new(Secret::new(value)).with("refresh_token", Secret::new(format!("refresh-{value}")))
}

impl<'k> Rig<'k> {
    async fn new(kind: &'k Kind) -> Self {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("app")).unwrap();
        let text = format!(
            "[account.auth]\nprovider = \"oauth2-refresh-token\"\nurl = \"https://auth.example.com\"\n\
             credential = {{ username = \"client\", password = {{ file = \"/etc/patrold/client\" }} }}\n\
             [[token]]\nname = \"api\"\naccount = \"auth\"\n\
             initial = {{ file = \"/etc/patrold/access\", parts = {{ refresh_token = {{ file = \"/etc/patrold/refresh\" }} }} }}\n\
             {}{}\n",
            if kind.keys.starts_with('[') { "" } else { "[[token.stores]]\n" },
            kind.keys
        );
        let path = home.path().join("patrold.toml");
        fs::write(&path, text.replace("$DIR", &home.path().display().to_string())).unwrap();
        let environment = Environment { state_dir: Some("/var/lib/patrold".into()), ..Environment::default() };
        let loaded = inventory::load(&path, &environment, "2026-11-21T12:00:00Z".parse().unwrap());
        let inventory = loaded.inventory.unwrap_or_else(|| panic!("{}: {}", kind.name, loaded.report.render()));
        let policies = inventory.tokens.values().next().unwrap().stores.clone();
        let accounts = Accounts::new(SystemClock, Workshop::forgetful().unwrap());
        let _ = accounts.update(&inventory).await;
        let rig = Self { kind, home, policies, accounts, fingerprints: Fingerprinter::new(&[7; 32]) };
        if kind.shared {
            rig.intrude(&(kind.content)("somebody's"));
        }
        rig.put(OLD).await.unwrap_or_else(|code| panic!("{}: {code:?}", kind.name));
        rig
    }

    /// The store that gets the token itself.
    fn leading(&self) -> &StorePolicy {
        self.policies.iter().find(|policy| policy.part == "token").unwrap()
    }

    fn at(&self, name: &str) -> PathBuf {
        self.home.path().join("app").join(name)
    }

    fn intrude(&self, content: &str) {
        fs::write(self.at(self.kind.file), content).unwrap();
    }

    fn known(&self) -> Known {
        let ours = [OLD, NEW].map(|value| self.fingerprints.of(&Secret::new(value))).to_vec();
        Known { ours, receipt: Some(store::Receipt::default()), ..Known::default() }
    }

    async fn try_put(&self, value: &str) -> Outcome<Option<store::Receipt>> {
        let parts = parts(value);
        let token: TokenName = "api".parse().unwrap();
        let rotation = RotationId::new([1; 6]);
        let delivery = Delivery {
            token: &token,
            generation: GenerationNo(2),
            revision: 0,
            rotation,
            parts: &parts,
            others: &BTreeMap::new(),
        };
        let mut last = Outcome::Done(None);
        for policy in &self.policies {
            last = store::write(policy, &delivery, &self.known(), &self.fingerprints, &self.accounts).await;
            if !matches!(last, Outcome::Done(_)) {
                break;
            }
        }
        last
    }

    async fn put(&self, value: &str) -> Result<(), FailureCode> {
        self.try_put(value).await.into_result().map_err(|failure| failure.code)?;
        assert!(self.holds(value), "{}: {:?}", self.kind.name, fs::read_to_string(self.at(self.kind.file)));
        Ok(())
    }

    fn holds(&self, value: &str) -> bool {
        let is = |name: &str, content: fn(&str) -> String| {
            fs::read_to_string(self.at(name)).is_ok_and(|found| found == content(value))
        };
        is(self.kind.file, self.kind.content) && self.kind.second.is_none_or(|(name, content)| is(name, content))
    }

    /// Which file it is that consumers read.
    fn place(&self) -> (PathBuf, u64) {
        use std::os::unix::fs::MetadataExt as _;
        let path = fs::canonicalize(self.at(self.kind.file)).unwrap();
        let inode = fs::metadata(&path).unwrap().ino();
        (path, inode)
    }

    async fn meet(&self, fault: &str) -> String {
        let name = self.kind.name;
        match fault {
            "its directory is missing" => {
                let (there, away) = (self.home.path().join("app"), self.home.path().join("away"));
                fs::rename(&there, &away).unwrap();
                let code = self.put(NEW).await.unwrap_err();
                fs::rename(&away, &there).unwrap();
                assert!(self.holds(OLD), "{name}");
                self.put(NEW).await.unwrap();
                format!("`{}`, written later", code.code())
            }
            "read in the middle of a write" => self.read_while_it_is_written(),
            "killed between write and record" => {
                self.put(NEW).await.unwrap();
                let place = self.place();
                self.put(NEW).await.unwrap();
                if self.place() == place { "written once" } else { "written twice" }.to_owned()
            }
            "changed by a stranger" => {
                self.intrude(&(self.kind.content)("a-strangers"));
                let policy = self.leading();
                let look = store::look(policy, &self.accounts).await.unwrap();
                let delivered = self.fingerprints.of(&Secret::new(OLD));
                let drift = drift::compare(&delivered, &look, &self.known(), &self.fingerprints);
                assert!(drift.is_value(), "{name}: {drift:?}");
                self.put(OLD).await.unwrap();
                "noticed, repaired".to_owned()
            }
            "what others have there" => {
                if !self.kind.shared {
                    return "-".to_owned();
                }
                let beside = self.at("others");
                fs::write(&beside, "mine").unwrap();
                // What the content has besides the secret was there before.
                self.put(NEW).await.unwrap();
                assert_eq!(fs::read_to_string(&beside).unwrap(), "mine");
                "stays".to_owned()
            }
            "wrong place" => {
                let place = self.at(self.kind.file);
                fs::remove_file(&place).unwrap();
                fs::create_dir(&place).unwrap();
                let judge = Judge::of(self.leading(), None, &self.known(), &self.fingerprints);
                let tested = store::preflight(self.leading(), Some(judge), &self.accounts).await;
                assert!(self.put(NEW).await.is_err() && place.is_dir(), "{name}");
                tested.map_or_else(|why| format!("before the mint: `{}`", why.code.code()), |()| "-".to_owned())
            }
            "value rule" => {
                let Some(value) = self.kind.refused else { return "-".to_owned() };
                assert!(matches!(self.try_put(value).await, Outcome::Refused(_)), "{name}");
                assert!(self.holds(OLD), "{name}");
                "before the write".to_owned()
            }
            other => panic!("{other}"),
        }
    }

    /// Consumers that read all the time see one value, whole, or of several files those of one secret.
    fn read_while_it_is_written(&self) -> String {
        let (ended, seen) = (AtomicBool::new(false), std::sync::Mutex::new(0));
        let directory = self.at("");
        let reader = || {
            while !ended.load(Ordering::Relaxed) {
                // All files of one moment are below one link.
                let data = fs::canonicalize(directory.join("..data")).unwrap_or_else(|_| directory.clone());
                let read = |name: &str| fs::read_to_string(data.join(name));
                let first = read(self.kind.file);
                let second = self.kind.second.map(|(name, _)| read(name));
                // Two moments later its directory is gone: a reader begins anew.
                let (Ok(first), true) = (first, second.as_ref().is_none_or(Result::is_ok)) else { continue };
                let second = second.map(Result::unwrap);
                let whole =
                    (0..40).map(|number| format!("tok-{number}-of-patrold")).chain([OLD.to_owned()]).any(|value| {
                        first == (self.kind.content)(&value)
                            && self.kind.second.is_none_or(|(_, content)| second.as_ref() == Some(&content(&value)))
                    });
                assert!(whole, "{}: {first:?} and {second:?}", self.kind.name);
                *seen.lock().unwrap() += 1;
            }
        };
        std::thread::scope(|scope| {
            let thread = scope.spawn(reader);
            // Also where the writer fails.
            let end = End(&ended);
            tokio::task::block_in_place(|| {
                tokio::runtime::Handle::current().block_on(async {
                    let mut number = 0;
                    while number < 40 || *seen.lock().unwrap() < 40 {
                        self.put(&format!("tok-{}-of-patrold", number % 40)).await.unwrap();
                        number += 1;
                        assert!(!thread.is_finished(), "the reader saw something else");
                    }
                });
            });
            drop(end);
            thread.join().unwrap();
        });
        match self.kind.second {
            Some(_) => "all old or all new".to_owned(),
            None => "old or new".to_owned(),
        }
    }
}

const KINDS: [Kind; 6] = [
    Kind {
        name: "file",
        keys: "kind = \"file\"\npath = \"$DIR/app/token\"",
        file: "token",
        content: str::to_owned,
        second: None,
        shared: false,
        refused: None,
    },
    Kind {
        name: "env-file",
        keys: "kind = \"env-file\"\npath = \"$DIR/app/env\"\nkey = \"TOKEN\"\ndialect = \"docker\"\nmode = \"0600\"",
        file: "env",
        content: |value| format!("# mine\nTOKEN={value}\nOTHER=2\n"),
        second: None,
        shared: true,
        refused: Some("two\nlines"),
    },
    Kind {
        name: "json",
        keys: "kind = \"json\"\npath = \"$DIR/app/config.json\"\npointer = \"/auth/token\"\nmode = \"0600\"",
        file: "config.json",
        content: |value| format!("{{ \"auth\": {{ \"token\": \"{value}\" }},\n  \"other\": 2 }}\n"),
        second: None,
        shared: true,
        refused: None,
    },
    Kind {
        name: "netrc",
        keys: "kind = \"netrc\"\npath = \"$DIR/app/netrc\"\nmachine = \"h.example\"\nlogin = \"ci\"\nmode = \"0600\"",
        file: "netrc",
        content: |value| {
            format!("machine other.example login a password b\nmachine h.example login ci password {value}\n")
        },
        second: None,
        shared: true,
        refused: Some("a \"quoted\" word"),
    },
    Kind {
        name: "directory",
        keys: "kind = \"directory\"\npath = \"$DIR/app\"\nfiles = { token = \"token\", refresh = { part = \"refresh_token\", newline = true } }",
        file: "token",
        content: str::to_owned,
        second: Some(("refresh", |value| format!("refresh-{value}\n"))),
        shared: true,
        refused: Some(" "),
    },
    Kind {
        name: "template",
        keys: "[template.pair]\npath = \"$DIR/app/pair\"\nfrom = { access = \"api\", refresh = { token = \"api\", part = \"refresh_token\" } }\n\
               text = \"access {{ access }}\\nrefresh {{ refresh }}\\n\"",
        file: "pair",
        content: |value| format!("access {value}\nrefresh refresh-{value}\n"),
        second: None,
        shared: false,
        refused: Some("two words"),
    },
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_file_goes_through_every_fault() {
    let mut table = vec![format!("| kind | {} |", FAULTS.join(" | ")), "| --- ".repeat(FAULTS.len() + 1) + "|"];
    for kind in &KINDS {
        let mut cells = vec![format!("`{}`", kind.name)];
        for fault in FAULTS {
            let rig = Rig::new(kind).await;
            cells.push(Box::pin(rig.meet(fault)).await);
        }
        table.push(format!("| {} |", cells.join(" | ")));
    }
    update_page(Path::new("docs/stores.md"), "local faults", &table.join("\n"));
}
