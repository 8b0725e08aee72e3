//! Trust roots that change, appear late, break, or are no files at all.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::{Arc, Mutex};

use patrold::account::member::Member;
use patrold::clock::SystemClock;
use patrold::daemon::serve::Order;
use patrold::demo::Service;
use patrold::endpoint::EndpointState;
use patrold::names::GenerationNo;
use patrold::outcome::FailureCode;
use patrold::rotation::Phase;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::ring::default_provider;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::world::{Daemon, PATIENCE, World, token};

/// A certificate authority, with a server that it vouches for.
pub struct Authority {
    pub pem: String,
    pub server: Arc<ServerConfig>,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(params, key);
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
        let server = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], key.serialize_der().try_into().unwrap())
            .unwrap();
        Self { pem, server: Arc::new(server) }
    }
}

/// TLS in front of the provider of a world. Each connection carries one request.
struct Front {
    port: u16,
    server: Arc<Mutex<Arc<ServerConfig>>>,
}

impl Front {
    async fn start(world: &World, authority: &Authority) -> Self {
        let provider = world.loopback.url(Service::Awx);
        let behind = format!("127.0.0.1:{}", provider.port().unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = Arc::new(Mutex::new(Arc::clone(&authority.server)));
        let current = Arc::clone(&server);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = TlsAcceptor::from(Arc::clone(&current.lock().unwrap()));
                let behind = behind.clone();
                tokio::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    let mut provider = TcpStream::connect(behind).await.unwrap();
                    // A client that goes away is nobody's fault.
                    let _ = copy_bidirectional(&mut stream, &mut provider).await;
                });
            }
        });
        Self { port, server }
    }

    /// An account that reaches the provider through here.
    fn account(&self, world: &World) -> String {
        let plain = format!("http://127.0.0.1:{}", world.loopback.url(Service::Awx).port().unwrap());
        let account = world.account(Service::Awx, "tls = { ca-file = \"$DIR/ca.pem\" }\n");
        account.replace(&plain, &format!("https://127.0.0.1:{}", self.port))
    }

    fn becomes(&self, authority: &Authority) {
        *self.server.lock().unwrap() = Arc::clone(&authority.server);
    }
}

fn publish(world: &World, pem: &str) {
    fs::write(world.path(".ca.new"), pem).unwrap();
    fs::rename(world.path(".ca.new"), world.path("ca.pem")).unwrap();
}

/// The account as it is made now.
fn made(daemon: &Daemon) -> Arc<Member<SystemClock>> {
    daemon.running.core.accounts.get(&"awx".parse().unwrap()).unwrap()
}

/// Waits until the account is made anew.
async fn noticed(daemon: &Daemon, before: &Arc<Member<SystemClock>>) {
    let anew = async {
        while Arc::ptr_eq(&made(daemon), before) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, anew).await.expect("the change was not noticed");
}

/// Waits until the account sends nothing, for the reason `code`.
async fn degraded(daemon: &Daemon, code: FailureCode) {
    daemon.request("ci").await;
    daemon
        .until("ci", "its request is not sent", |view| {
            view.state.retry.as_ref().is_some_and(|it| it.failure.code == code)
        })
        .await;
    let state = made(daemon).client().unwrap().endpoint().health().state;
    assert!(matches!(&state, EndpointState::Degraded { failure, .. } if failure.code == code), "{state:?}");
}

async fn rotated(daemon: &Daemon, number: u32) {
    daemon
        .until("ci", "it is rotated", |view| {
            view.state.phase.current().is_some_and(|current| current.generation.number >= GenerationNo(number))
        })
        .await;
}

#[tokio::test]
async fn a_removed_authority_is_trusted_no_longer_and_a_new_one_at_once() {
    let world = World::new().await;
    let (old, new) = (Authority::new(), Authority::new());
    let front = Front::start(&world, &old).await;
    publish(&world, &old.pem);
    let daemon = world.start(&[front.account(&world), token("ci", Service::Awx, "rotate-every = \"30d\"")]).await;
    daemon.steady("ci", 1).await;

    let before = made(&daemon);
    publish(&world, &new.pem);
    noticed(&daemon, &before).await;
    degraded(&daemon, FailureCode::Tls).await;
    front.becomes(&new);
    // What was refused is tried again when a file changes, here to a bundle of both.
    publish(&world, &(old.pem.clone() + &new.pem));
    rotated(&daemon, 2).await;
}

#[tokio::test]
async fn trust_roots_behind_a_swapped_link_are_read_again() {
    let world = World::new().await;
    let (old, new) = (Authority::new(), Authority::new());
    let front = Front::start(&world, &old).await;
    // As Kubernetes mounts a ConfigMap.
    let swap = |name: &str, pem: &str| {
        fs::create_dir(world.path(name)).unwrap();
        fs::write(world.path(&format!("{name}/ca.pem")), pem).unwrap();
        symlink(name, world.path("..data.new")).unwrap();
        fs::rename(world.path("..data.new"), world.path("..data")).unwrap();
    };
    swap("..1", &old.pem);
    symlink("..data/ca.pem", world.path("ca.pem")).unwrap();
    let daemon = world.start(&[front.account(&world), token("ci", Service::Awx, "rotate-every = \"30d\"")]).await;
    daemon.steady("ci", 1).await;
    let before = made(&daemon);
    front.becomes(&new);
    swap("..2", &new.pem);
    noticed(&daemon, &before).await;
    daemon.request("ci").await;
    rotated(&daemon, 2).await;
}

#[tokio::test]
async fn nobody_is_trusted_by_a_file_that_is_gone_and_a_late_one_is_read() {
    let world = World::new().await;
    let authority = Authority::new();
    let front = Front::start(&world, &authority).await;
    publish(&world, &authority.pem);
    let daemon = world.start(&[front.account(&world), token("ci", Service::Awx, "rotate-every = \"30d\"")]).await;
    daemon.steady("ci", 1).await;
    fs::remove_file(world.path("ca.pem")).unwrap();
    // A signal does the same as the watch.
    daemon.orders.send(Order::Reload).unwrap();
    daemon.until_reload("it is refused", |reload| !reload.problems.is_empty()).await;
    degraded(&daemon, FailureCode::CaFile).await;
    publish(&world, &authority.pem);
    rotated(&daemon, 2).await;
}

#[tokio::test]
async fn trust_roots_that_are_no_file_are_a_problem_with_its_place() {
    let world = World::new().await;
    let front = Front::start(&world, &Authority::new()).await;
    let parts = [front.account(&world)];
    let refused = async |what: &str| {
        world.write(&parts);
        let error = world.try_start().await.err().expect(what).to_string();
        let line = world.read("patrold.toml").lines().position(|line| line.contains("ca-file")).unwrap() + 1;
        let place = format!("patrold.toml:{line}:19: error: `ca-file` of account \"awx\": ");
        assert!(error.contains(&place) && error.contains(what), "{what}: {error}");
    };
    refused("does not exist").await;
    rustix::fs::mknodat(rustix::fs::CWD, world.path("ca.pem"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    refused("is a named pipe, not a regular file").await;
    fs::remove_file(world.path("ca.pem")).unwrap();
    symlink("/dev/zero", world.path("ca.pem")).unwrap();
    refused("is a device, not a regular file").await;
}

#[tokio::test]
async fn a_pipe_in_the_place_of_trust_roots_holds_up_no_reload_and_no_stop() {
    let world = World::new().await;
    let authority = Authority::new();
    let front = Front::start(&world, &authority).await;
    publish(&world, &authority.pem);
    let daemon = world.start(&[front.account(&world), token("ci", Service::Awx, "rotate-every = \"30d\"")]).await;
    daemon.steady("ci", 1).await;
    rustix::fs::mknodat(rustix::fs::CWD, world.path(".pipe"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let before = made(&daemon);
    fs::rename(world.path(".pipe"), world.path("ca.pem")).unwrap();
    noticed(&daemon, &before).await;
    degraded(&daemon, FailureCode::CaFile).await;
    let reload = daemon.reload().await;
    assert!(reload.problems[0].contains("is a named pipe"), "{:?}", reload.problems);
    assert!(matches!(daemon.view("ci").state.phase, Phase::Steady { .. }));
    daemon.stop().await;
}
