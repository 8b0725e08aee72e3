//! An engine for a fleet on loopback, of what this machine has installed: etcd or PostgreSQL.

use std::fs::{self, File, Permissions};
use std::io;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, geteuid, kill_process};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::inventory::{EngineKind, number_of_user};

/// How long an engine may take to start.
const START: Duration = Duration::from_secs(30);

/// How often it is looked whether it has.
const AGAIN: Duration = Duration::from_millis(50);

/// Where Debian keeps the programs of PostgreSQL's server, a directory for each version.
const POSTGRES: &str = "/usr/lib/postgresql";

/// Who a server may run as that refuses to run as root: the package's user, else nobody.
const NOBODY: u32 = 65534;

/// Why an engine did not start.
#[derive(Debug, thiserror::Error)]
pub enum EngineStartError {
    #[error("this machine has neither etcd nor PostgreSQL, which the replicas keep their journal in")]
    Missing,
    #[error("{kind} did not start: {said}")]
    Failed { kind: EngineKind, said: String },
    /// Directories, ports, processes.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// What an engine is started with, besides what every one needs.
#[derive(Clone, Debug, Default)]
pub struct EngineOptions {
    /// More arguments of its program.
    pub arguments: Vec<String>,
    /// Files in its directory, each with its name.
    pub files: Vec<(String, String)>,
    /// It listens by TLS: for etcd.
    pub encrypted: bool,
}

/// An engine that runs, and ends with this.
#[derive(Debug)]
pub struct LoopbackEngine {
    kind: EngineKind,
    directory: TempDir,
    port: u16,
    options: EngineOptions,
    /// For etcd.
    peers: Peers,
    process: Child,
}

/// A member of an etcd cluster among its peers.
#[derive(Clone, Debug, Default)]
struct Peers {
    name: String,
    /// Where it listens for the others.
    url: String,
    /// Every member with its address, as etcd takes them.
    all: String,
}

impl Peers {
    /// `count` members that know each other.
    fn draw(count: usize) -> io::Result<Vec<Self>> {
        let urls = (0..count).map(|_| Ok(format!("http://127.0.0.1:{}", free_port()?)));
        let urls = urls.collect::<io::Result<Vec<_>>>()?;
        let all: Vec<_> = urls.iter().enumerate().map(|(number, url)| format!("m{number}={url}")).collect();
        let all = all.join(",");
        let peers = urls.into_iter().enumerate();
        Ok(peers.map(|(number, url)| Self { name: format!("m{number}"), url, all: all.clone() }).collect())
    }
}

/// A port that is free now.
fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// The directory of the newest server of PostgreSQL.
fn postgres() -> Option<PathBuf> {
    let version = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let entries = fs::read_dir(POSTGRES).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let newest = entries.max_by_key(|path| version(path)).map(|path| path.join("bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let whole = |directory: &PathBuf| ["initdb", "postgres", "psql"].iter().all(|it| directory.join(it).is_file());
    newest.into_iter().chain(std::env::split_paths(&path)).find(whole)
}

/// Who PostgreSQL runs as. `None`: whoever runs this process.
fn server_user() -> Option<u32> {
    geteuid().is_root().then(|| number_of_user("postgres").unwrap_or(NOBODY))
}

fn etcd() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join("etcd").is_file())
}

/// The kinds of engines that this machine can start.
pub fn installed() -> Vec<EngineKind> {
    let kinds = [(EngineKind::Etcd, etcd()), (EngineKind::PostgreSql, postgres().is_some())];
    kinds.into_iter().filter(|(_, there)| *there).map(|(kind, _)| kind).collect()
}

impl LoopbackEngine {
    /// Starts one, and waits until it answers.
    pub async fn start(kind: EngineKind, options: EngineOptions) -> Result<Self, EngineStartError> {
        let peers = Peers::draw(1)?.pop().unwrap_or_default();
        let mut engine = Self::spawn(kind, options, peers).await?;
        engine.answers().await?;
        if kind == EngineKind::PostgreSql {
            engine.make_database().await?;
        }
        Ok(engine)
    }

    /// Starts an etcd cluster of `count` members, and waits until each takes connections.
    pub async fn cluster(count: usize, options: &EngineOptions) -> Result<Vec<Self>, EngineStartError> {
        let mut members = Vec::with_capacity(count);
        for peers in Peers::draw(count)? {
            members.push(Self::spawn(EngineKind::Etcd, options.clone(), peers).await?);
        }
        // None answers before it has found the others.
        for member in &mut members {
            member.answers().await?;
        }
        Ok(members)
    }

    async fn spawn(kind: EngineKind, options: EngineOptions, peers: Peers) -> Result<Self, EngineStartError> {
        let directory = tempfile::Builder::new().prefix("patrold-engine-").tempdir()?;
        let port = free_port()?;
        let process = match kind {
            EngineKind::Etcd => {
                write_files(directory.path(), &options, None)?;
                start_etcd(directory.path(), port, &peers, &options)?
            }
            EngineKind::PostgreSql => {
                let programs = postgres().ok_or(EngineStartError::Missing)?;
                make_cluster(&programs, directory.path(), &options).await?;
                start_postgres(&programs, directory.path(), port, &options)?
            }
        };
        Ok(Self { kind, directory, port, options, peers, process })
    }

    /// What it is.
    pub fn kind(&self) -> EngineKind {
        self.kind
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where it keeps its data, and its log.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Where an etcd listens for clients.
    pub fn url(&self) -> String {
        let scheme = if self.options.encrypted { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}", self.port)
    }

    /// What `engine` of `[fleet]` says of it.
    pub fn place(&self) -> String {
        let (port, directory) = (self.port, self.directory.path().display());
        match self.kind {
            EngineKind::Etcd => format!("etcd = [\"{}\"]", self.url()),
            EngineKind::PostgreSql => {
                format!("postgres = \"postgresql://patrold@/patrold?host={directory}&port={port}\"")
            }
        }
    }

    /// A command of its own tools that reaches it as an administrator.
    pub fn tool(&self, program: &str) -> Command {
        match self.kind {
            EngineKind::Etcd => {
                let mut command = Command::new(program);
                command.env("ETCDCTL_API", "3").args(["--endpoints", &self.url()]);
                command
            }
            EngineKind::PostgreSql => {
                let mut command = Command::new(postgres().unwrap_or_default().join(program));
                command.args(["--no-password", "-U", "patrold", "-p", &self.port.to_string(), "-h"]);
                command.arg(self.directory.path());
                command
            }
        }
    }

    /// Kills it, as a power cut does, and starts it again on its data.
    pub async fn crash(&mut self) -> Result<(), EngineStartError> {
        self.kill().await?;
        self.revive().await
    }

    /// Kills it, as a power cut does.
    pub async fn kill(&mut self) -> Result<(), EngineStartError> {
        // A postmaster that is told so leaves everything as it is, and takes its children along.
        let signal = if self.kind == EngineKind::PostgreSql { Signal::QUIT } else { Signal::KILL };
        self.signal(signal)?;
        self.process.wait().await?;
        Ok(())
    }

    /// Starts it again on its data, where it was killed.
    pub async fn revive(&mut self) -> Result<(), EngineStartError> {
        self.process = match self.kind {
            EngineKind::Etcd => start_etcd(self.directory.path(), self.port, &self.peers, &self.options)?,
            EngineKind::PostgreSql => {
                let programs = postgres().ok_or(EngineStartError::Missing)?;
                start_postgres(&programs, self.directory.path(), self.port, &self.options)?
            }
        };
        self.answers().await
    }

    /// A standby of this PostgreSQL, which follows it from now on.
    pub async fn standby(&self) -> Result<Self, EngineStartError> {
        let directory = tempfile::Builder::new().prefix("patrold-engine-").tempdir()?;
        let programs = postgres().ok_or(EngineStartError::Missing)?;
        let mut copy = self.tool("pg_basebackup");
        copy.args(["--write-recovery-conf", "--no-sync", "--checkpoint", "fast", "-D"])
            .arg(directory.path().join("data"));
        if let Some(user) = server_user() {
            chown(directory.path(), Some(user), None)?;
            copy.uid(user);
        }
        fs::set_permissions(directory.path(), Permissions::from_mode(0o700))?;
        let copied = copy.current_dir(directory.path()).stdin(Stdio::null()).output().await?;
        if !copied.status.success() {
            let said = String::from_utf8_lossy(&copied.stderr).into_owned();
            return Err(EngineStartError::Failed { kind: self.kind, said });
        }
        let process = start_postgres(&programs, directory.path(), self.port, &self.options)?;
        let (kind, port, options, peers) = (self.kind, self.port, self.options.clone(), Peers::default());
        let mut standby = Self { kind, directory, port, options, peers, process };
        standby.answers().await?;
        Ok(standby)
    }

    /// Ends it in good order.
    pub async fn stop(mut self) -> io::Result<()> {
        self.signal(Signal::INT)?;
        self.process.wait().await.map(drop)
    }

    /// Sends a signal to it.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        match self.process.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
            Some(pid) => Ok(kill_process(pid, signal)?),
            None => Ok(()),
        }
    }

    fn failed(&self) -> EngineStartError {
        failed(self.kind, self.directory.path())
    }

    /// Waits until it takes connections.
    async fn answers(&mut self) -> Result<(), EngineStartError> {
        let begun = Instant::now();
        loop {
            let ready = match self.kind {
                EngineKind::Etcd => tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await.is_ok(),
                EngineKind::PostgreSql => {
                    let mut asked = self.tool("psql");
                    asked.args(["-d", "postgres", "-c", "select 1"]).stdout(Stdio::null()).stderr(Stdio::null());
                    asked.stdin(Stdio::null()).status().await.is_ok_and(|status| status.success())
                }
            };
            if ready {
                return Ok(());
            }
            if begun.elapsed() > START || self.process.try_wait()?.is_some() {
                return Err(self.failed());
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    async fn make_database(&self) -> Result<(), EngineStartError> {
        let made = self.tool("createdb").arg("patrold").stdin(Stdio::null()).output().await?;
        if made.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&made.stderr).into_owned();
        Err(EngineStartError::Failed { kind: self.kind, said })
    }
}

/// The end of its log.
fn failed(kind: EngineKind, directory: &Path) -> EngineStartError {
    let log = fs::read_to_string(directory.join("log")).unwrap_or_default();
    let lines: Vec<_> = log.lines().collect();
    EngineStartError::Failed { kind, said: lines[lines.len().saturating_sub(5)..].join("\n") }
}

fn start_etcd(directory: &Path, port: u16, peers: &Peers, options: &EngineOptions) -> io::Result<Child> {
    let scheme = if options.encrypted { "https" } else { "http" };
    let url = format!("{scheme}://127.0.0.1:{port}");
    let mut command = Command::new("etcd");
    command
        .args(["--name", &peers.name, "--data-dir"])
        .arg(directory.join("data"))
        .args(["--listen-client-urls", &url, "--advertise-client-urls", &url])
        .args(["--listen-peer-urls", &peers.url, "--initial-advertise-peer-urls", &peers.url])
        .args(["--initial-cluster", &peers.all])
        // On loopback the gateway must not go through a proxy of the environment.
        .env("no_proxy", "127.0.0.1");
    spawn(command, directory, options)
}

/// Makes the files of a server that whoever reaches its socket may use, and nobody else reaches.
async fn make_cluster(programs: &Path, directory: &Path, options: &EngineOptions) -> Result<(), EngineStartError> {
    let user = server_user();
    if let Some(user) = user {
        chown(directory, Some(user), None)?;
    }
    fs::set_permissions(directory, Permissions::from_mode(0o700))?;
    let mut command = Command::new(programs.join("initdb"));
    command.args([
        "--username",
        "patrold",
        "--auth",
        "trust",
        "--encoding",
        "UTF8",
        "--locale",
        "C",
        "--no-sync",
        "-D",
    ]);
    command.arg(directory.join("data")).current_dir(directory).stdin(Stdio::null());
    if let Some(user) = user {
        command.uid(user);
    }
    let made = command.output().await?;
    if !made.status.success() {
        let said = String::from_utf8_lossy(&made.stderr).into_owned();
        return Err(EngineStartError::Failed { kind: EngineKind::PostgreSql, said });
    }
    write_files(&directory.join("data"), options, user)?;
    Ok(())
}

fn start_postgres(programs: &Path, directory: &Path, port: u16, options: &EngineOptions) -> io::Result<Child> {
    let mut command = Command::new(programs.join("postgres"));
    command.arg("-D").arg(directory.join("data")).arg("-k").arg(directory).args(["-p", &port.to_string()]);
    command.args(["-c", "listen_addresses="]).current_dir(directory);
    if let Some(user) = server_user() {
        command.uid(user);
    }
    spawn(command, directory, options)
}

fn write_files(directory: &Path, options: &EngineOptions, user: Option<u32>) -> io::Result<()> {
    for (name, text) in &options.files {
        let path = directory.join(name);
        fs::write(&path, text)?;
        fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        if let Some(user) = user {
            chown(&path, Some(user), None)?;
        }
    }
    Ok(())
}

fn spawn(mut command: Command, directory: &Path, options: &EngineOptions) -> io::Result<Child> {
    let log = File::options().create(true).append(true).open(directory.join("log"))?;
    command
        .args(&options.arguments)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
}
