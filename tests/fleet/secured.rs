//! Engines with a certificate of an authority of their own, and with users.

use std::fs;
use std::path::Path;
use std::time::Duration;

use patrold::demo::engine::EngineOptions;
use patrold::inventory::EngineKind;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustix::process::Signal;

use super::engine::{sql, start, tool};
use super::stage::{ACCOUNTS, Stage, patrold};

const PATIENCE: Duration = Duration::from_secs(30);

/// Writes an authority, a certificate for loopback, and its key.
pub fn certify(root: &Path) {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate().unwrap();
    let authority_certificate = authority.self_signed(&authority_key).unwrap();
    let issuer = Issuer::new(authority, authority_key);
    let key = KeyPair::generate().unwrap();
    let server = CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
    let server = server.signed_by(&key, &issuer).unwrap();
    fs::write(root.join("ca.pem"), authority_certificate.pem()).unwrap();
    fs::write(root.join("server.pem"), server.pem()).unwrap();
    fs::write(root.join("server.key"), key.serialize_pem()).unwrap();
}

/// What a command tells that has to fail.
async fn refused(root: &Path, name: &str, command: &[&str]) -> String {
    let output = patrold(root, name, command).await;
    assert!(!output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A replica takes part, and says what its engine is.
async fn takes_part(stage: &Stage, engine: &str) {
    let mut replica = stage.start("r1", "");
    stage.until("it owns everything", PATIENCE, |it| it.claims.len() == ACCOUNTS).await;
    let shown = patrold(&stage.root, "r1", &["fleet", "status"]).await;
    let text = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.status.success() && text.contains(engine), "{text}{}", String::from_utf8_lossy(&shown.stderr));
    replica.signal(Signal::TERM);
    assert!(replica.process.wait().await.unwrap().success(), "{}", stage.log("r1"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_lives_on_an_etcd_with_certificates_and_users() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    certify(root);
    let (certificate, key) = (root.join("server.pem"), root.join("server.key"));
    let arguments = ["--cert-file", certificate.to_str().unwrap(), "--key-file", key.to_str().unwrap()];
    let arguments = arguments.map(str::to_owned).to_vec();
    let options = EngineOptions { arguments, encrypted: true, ..EngineOptions::default() };
    let Some(engine) = start(EngineKind::Etcd, options).await else { return };
    let ca = root.join("ca.pem").display().to_string();
    for arguments in [
        &["user", "add", "root:rootpassword"][..],
        &["user", "grant-role", "root", "root"],
        &["user", "add", "patrold:right"],
        &["role", "add", "patrold"],
        &["role", "grant-permission", "patrold", "--prefix=true", "readwrite", "/patrold/"],
        &["user", "grant-role", "patrold", "patrold"],
        &["user", "add", "stranger:right"],
        &["auth", "enable"],
    ] {
        // Roles and users of 3.4 and later; the role `root` is there by itself.
        tool(&engine, "etcdctl", &[&["--cacert", &ca], arguments].concat()).await;
    }

    let place = engine.place();
    let secured = |user: &str, tls: &str| {
        let password = root.join("engine-password").display().to_string();
        format!(
            "{place}, credential = {{ username = \"{user}\", password = {{ file = \"{password}\" }} }}, tls = {{ {tls} }}"
        )
    };
    fs::write(root.join("engine-password"), "right\n").unwrap();
    let ca = format!("ca-file = \"{ca}\"");
    let stage = Stage::on(root, engine, &secured("patrold", &ca)).await;
    takes_part(&stage, "engine: etcd").await;

    stage.write("no-ca", &secured("patrold", "min-version = \"1.2\""));
    let message = refused(root, "no-ca", &["fleet", "status"]).await;
    assert!(message.contains("UnknownIssuer") || message.contains("certificate"), "{message}");
    stage.write("none", &format!("{place}, tls = {{ {ca} }}"));
    let message = refused(root, "none", &["fleet", "status"]).await;
    assert!(message.contains("asks for a login"), "{message}");
    stage.write("stranger", &secured("stranger", &ca));
    let message = refused(root, "stranger", &["fleet", "status"]).await;
    assert!(message.contains("role that may read and write"), "{message}");
    fs::write(root.join("engine-password"), "wrong\n").unwrap();
    let message = refused(root, "r1", &["fleet", "status"]).await;
    assert!(message.contains("does not accept the user name and password"), "{message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_lives_on_a_postgresql_with_certificates_and_users() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    certify(root);
    let file = |name: &str| (name.to_owned(), fs::read_to_string(root.join(name)).unwrap());
    let admitted = "local all patrold trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n".to_owned();
    let files = vec![file("server.pem"), file("server.key"), ("pg_hba.conf".to_owned(), admitted)];
    let arguments = "-c listen_addresses=127.0.0.1 -c ssl=on -c ssl_cert_file=server.pem -c ssl_key_file=server.key";
    let arguments = arguments.split(' ').map(str::to_owned).collect();
    let options = EngineOptions { arguments, files, encrypted: true };
    let Some(engine) = start(EngineKind::PostgreSql, options).await else { return };
    for statement in [
        "create role fleet login password 'right'",
        "create role stranger login password 'right'",
        "create database tokens owner fleet",
    ] {
        sql(&engine, statement).await;
    }

    fs::write(root.join("engine-password"), "right\n").unwrap();
    let at = |database: &str| format!("postgres = \"postgresql://127.0.0.1:{}/{database}\"", engine.port());
    let login = |user: &str| {
        let password = root.join("engine-password").display().to_string();
        format!("credential = {{ username = \"{user}\", password = {{ file = \"{password}\" }} }}")
    };
    let ca = format!("tls = {{ ca-file = \"{}\" }}", root.join("ca.pem").display());
    let place = at("tokens");
    let cases = [
        ("no-ca", format!("{place}, {}, tls = {{ min-version = \"1.2\" }}", login("fleet")), "certificate"),
        ("none", format!("{place}, {ca}"), "asks for a login"),
        ("stranger", format!("{place}, {}, {ca}", login("stranger")), "let the user own the schema"),
        ("elsewhere", format!("{}, {}, {ca}", at("nowhere"), login("fleet")), "createdb"),
        ("plain", format!("{place}, {}", login("fleet")), "let pg_hba.conf admit"),
    ];
    let stage = Stage::on(root, engine, &format!("{place}, {}, {ca}", login("fleet"))).await;
    takes_part(&stage, "engine: PostgreSQL").await;
    let encrypted =
        "select count(*) > 0 from pg_stat_ssl join pg_stat_activity using (pid) where ssl and usename = 'fleet'";
    assert_eq!(sql(&stage.engine, encrypted).await, "t", "connections are encrypted");

    for (name, place, told) in cases {
        stage.write(name, &place);
        let message = refused(root, name, &["fleet", "status"]).await;
        assert!(message.contains(told), "{name}: {message}");
    }
    fs::write(root.join("engine-password"), "wrong\n").unwrap();
    let message = refused(root, "r1", &["fleet", "status"]).await;
    assert!(message.contains("does not accept the user name and password"), "{message}");
}
