//! One etcd on loopback.

use std::fs::File;
use std::io::{Write as _, stderr};
use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::process::{Child, Command};

/// How long an engine may take to start.
const START: Duration = Duration::from_secs(20);

/// An engine that runs, and ends with this.
pub struct Engine {
    pub url: String,
    _process: Child,
}

/// A port that is free now.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Whether `program` can be started.
pub fn is_there(program: &str) -> bool {
    let question = if program == "etcdctl" { "version" } else { "--version" };
    std::process::Command::new(program)
        .arg(question)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

impl Engine {
    /// Starts one that keeps its data below `root`. None where this machine has no etcd.
    pub async fn start(root: &Path) -> Option<Self> {
        Self::start_with(root, None).await
    }

    /// The same; `certificate`: the files of the certificate that it proves itself with, and of its key.
    pub async fn start_with(root: &Path, certificate: Option<(&Path, &Path)>) -> Option<Self> {
        if !is_there("etcd") || certificate.is_some() && !is_there("etcdctl") {
            let required = std::env::var_os("PATROLD_FLEET_REQUIRED").is_some();
            assert!(!required, "there is no etcd on this machine: install the packages etcd-server and etcd-client");
            // Not by a macro: what those print is swallowed where a test succeeds.
            let _ = writeln!(stderr(), "SKIPPED: there is no etcd on this machine (package etcd-server)");
            return None;
        }
        let (client, peer) = (free_port(), free_port());
        let (scheme, peers) =
            (if certificate.is_some() { "https" } else { "http" }, format!("http://127.0.0.1:{peer}"));
        let url = format!("{scheme}://127.0.0.1:{client}");
        let log = File::create(root.join("etcd.log")).unwrap();
        let mut command = Command::new("etcd");
        if let Some((certificate, key)) = certificate {
            command.arg("--cert-file").arg(certificate).arg("--key-file").arg(key);
        }
        let process = command
            .args(["--name", "one", "--data-dir"])
            .arg(root.join("etcd"))
            .args(["--listen-client-urls", &url, "--advertise-client-urls", &url])
            .args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers])
            .args(["--initial-cluster", &format!("one={peers}")])
            // On loopback the gateway must not go through a proxy of the environment.
            .env("no_proxy", "127.0.0.1")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let begun = Instant::now();
        while tokio::net::TcpStream::connect(("127.0.0.1", client)).await.is_err() {
            assert!(begun.elapsed() < START, "etcd does not start");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Some(Self { url, _process: process })
    }
}
