//! The program with an inventory of one token: started, asked, killed.

use std::fs::{self, File};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use patrold::report::status::{Status, TokenStatus};
use rustix::process::{Pid, Signal, kill_process};

/// Of account and token.
const NAME: &str = "ci";

/// A directory with everything that belongs to one installation.
#[derive(Debug)]
pub struct Site {
    directory: tempfile::TempDir,
}

impl Site {
    /// With a token of `provider` at `url`; `account` and `token` are further lines of the tables.
    pub fn set(provider: &str, url: &str, credential: &str, account: &str, token: &str) -> Self {
        let site = Self { directory: tempfile::Builder::new().prefix("patrold-server-").tempdir().unwrap() };
        let root = site.directory.path().display();
        // No trailing newline: nobody has to know whether one is stripped.
        fs::write(site.path("credential"), credential).unwrap();
        let inventory = format!(
            r#"
[daemon]
state-dir  = "{root}/state"
control    = "{root}/control.sock"
log-format = "json"
log-level  = "debug"

[defaults]
grace          = "1s"
verify-timeout = "20s"

[account.{NAME}]
provider   = "{provider}"
url        = "{url}"
poll-every = "5s"
settle     = "1s"
{account}

[[token]]
name    = "{NAME}"
account = "{NAME}"
stores  = [{{ kind = "file", path = "{root}/secret" }}]
{token}
"#
        );
        let inventory = inventory.replace("DIRECTORY", &root.to_string());
        fs::write(site.path("patrold.toml"), inventory).unwrap();
        site
    }

    /// Writes a file beside the inventory, in one step.
    pub fn put(&self, name: &str, content: &str) {
        let hidden = self.path(format!(".{name}.new"));
        fs::write(&hidden, content).unwrap();
        fs::rename(hidden, self.path(name)).unwrap();
    }

    /// What consumers have.
    pub fn secret(&self) -> Option<String> {
        fs::read_to_string(self.path("secret")).ok()
    }

    /// All that any of the daemons said.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// Everything in the state directory, as bytes.
    pub fn state(&self) -> Vec<u8> {
        let files = fs::read_dir(self.path("state")).unwrap().map(|entry| entry.unwrap().path());
        files.filter(|path| path.is_file()).flat_map(|path| fs::read(path).unwrap()).collect()
    }

    /// What the program answers.
    pub fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// A command that has to succeed.
    ///
    /// # Panics
    ///
    /// If it does not.
    #[track_caller]
    pub fn succeed(&self, args: &[&str]) {
        let output = self.run(args);
        let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
        assert_eq!(output.status.code(), Some(0), "{args:?}: {said}\n{}", self.log());
    }

    /// `patrold rotate`, without waiting for its end.
    pub fn rotate(&self) -> Child {
        let mut command = self.command(&["rotate", NAME]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// What patrold thinks of the token.
    pub fn status(&self) -> TokenStatus {
        let output = self.run(&["status", "--json"]);
        let status: Status = serde_json::from_slice(&output.stdout).unwrap();
        status.tokens.into_iter().next().unwrap()
    }

    /// A daemon that is ready.
    pub fn start(&self) -> Daemon {
        let path = self.path("notify");
        let _ = fs::remove_file(&path);
        let manager = UnixDatagram::bind(&path).unwrap();
        manager.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let log = File::options().create(true).append(true).open(self.path("log")).unwrap();
        let mut command = self.command(&["run"]);
        command.env("NOTIFY_SOCKET", &path).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let daemon = Daemon(command.spawn().unwrap());
        let mut buffer = [0; 1024];
        loop {
            let length = manager.recv(&mut buffer).unwrap_or_else(|error| panic!("not ready: {error}\n{}", self.log()));
            if String::from_utf8_lossy(&buffer[..length]).contains("READY=1") {
                return daemon;
            }
        }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_patrold"));
        let home = self.directory.path();
        command.env_clear().env("PATROLD_CONFIG", self.path("patrold.toml")).env("HOME", home).args(args);
        command
    }

    fn path(&self, file: impl AsRef<Path>) -> PathBuf {
        self.directory.path().join(file)
    }
}

/// A running daemon; killed when it is dropped.
#[derive(Debug)]
pub struct Daemon(Child);

impl Daemon {
    /// `kill -9`.
    pub fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// Asks it to stop.
    ///
    /// # Panics
    ///
    /// If it ends in any other way than in good order.
    pub fn stop(mut self) {
        kill_process(Pid::from_child(&self.0), Signal::TERM).unwrap();
        assert_eq!(self.0.wait().unwrap().code(), Some(0));
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Ended already, unless the test failed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
