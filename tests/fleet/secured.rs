//! An engine with a certificate of an authority of its own, and with users.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustix::process::Signal;
use tokio::process::Command;

use super::engine::Engine;
use super::stage::{Stage, patrold};

const PATIENCE: Duration = Duration::from_secs(30);

/// Writes an authority, a certificate for loopback, and its key.
fn certify(root: &Path) {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate().unwrap();
    let authority_certificate = authority.self_signed(&authority_key).unwrap();
    let issuer = Issuer::new(authority, authority_key);
    let key = KeyPair::generate().unwrap();
    let server = CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
    let server = server.signed_by(&key, &issuer).unwrap();
    fs::write(root.join("ca.pem"), authority_certificate.pem()).unwrap();
    fs::write(root.join("etcd.pem"), server.pem()).unwrap();
    fs::write(root.join("etcd.key"), key.serialize_pem()).unwrap();
}

async fn etcdctl(root: &Path, engine: &Engine, login: Option<&str>, arguments: &[&str]) {
    let mut command = Command::new("etcdctl");
    command.env("ETCDCTL_API", "3").args(["--endpoints", &engine.url, "--cacert"]).arg(root.join("ca.pem"));
    if let Some(login) = login {
        command.args(["--user", login]);
    }
    let output = command.args(arguments).output().await.unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_lives_on_an_engine_with_certificates_and_users() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    certify(root);
    let files = (root.join("etcd.pem"), root.join("etcd.key"));
    let Some(engine) = Engine::start_with(root, Some((&files.0, &files.1))).await else { return };
    for arguments in [
        &["user", "add", "root:rootpassword"][..],
        &["user", "grant-role", "root", "root"],
        &["user", "add", "patrold:right"],
        &["role", "add", "patrold"],
        &["role", "grant-permission", "patrold", "--prefix=true", "readwrite", "/patrold/"],
        &["user", "grant-role", "patrold", "patrold"],
        &["user", "add", "stranger:right"],
    ] {
        // Roles and users of 3.4 and later; the role `root` is there by itself.
        etcdctl(root, &engine, None, arguments).await;
    }
    etcdctl(root, &engine, None, &["auth", "enable"]).await;

    fs::write(root.join("etcd-password"), "right\n").unwrap();
    let secured = |user: &str, ca: &str| {
        format!(
            "credential = {{ username = \"{user}\", password = {{ file = \"{0}/etcd-password\" }} }}, tls = {{ {ca} }}",
            root.display()
        )
    };
    let ca = format!("ca-file = \"{}/ca.pem\"", root.display());
    let stage = Stage::on(root, engine, &secured("patrold", &ca)).await;
    let replica = stage.start("r1", "");
    stage.until("it owns everything", PATIENCE, |it| it.claims.len() == super::stage::ACCOUNTS).await;
    let shown = patrold(root, "r1", &["fleet", "status"]).await;
    let text = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(
        shown.status.success() && text.contains("engine: etcd"),
        "{text}{}",
        String::from_utf8_lossy(&shown.stderr)
    );
    replica.signal(Signal::TERM);
    let mut replica = replica;
    assert!(replica.process.wait().await.unwrap().success(), "{}", stage.log("r1"));

    let told = |name: &'static str| async move {
        let output = patrold(root, name, &["fleet", "status"]).await;
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    stage.write("no-ca", &secured("patrold", "min-version = \"1.2\""));
    let message = told("no-ca").await;
    assert!(message.contains("UnknownIssuer") || message.contains("certificate"), "{message}");
    stage.write("none", &format!("tls = {{ {ca} }}"));
    let message = told("none").await;
    assert!(message.contains("asks for a login"), "{message}");
    stage.write("stranger", &secured("stranger", &ca));
    let message = told("stranger").await;
    assert!(message.contains("role that may read and write"), "{message}");
    fs::write(root.join("etcd-password"), "wrong\n").unwrap();
    let message = told("r1").await;
    assert!(message.contains("does not accept the user name and password"), "{message}");
}
