//! The daemon's HTTP server: what it answers, whom, and how it bears those who mean no good.

use std::net::SocketAddr;
use std::sync::Arc;

use patrold::daemon::http::CONNECTIONS;
use patrold::demo::Service;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

use super::world::{Daemon, World, token};

const BEARER: &str = "correct-horse-battery-staple";

/// A daemon with its server.
struct Site {
    daemon: Daemon,
}

impl Site {
    async fn start(world: &World, listen: &str, parts: &[String]) -> Self {
        world.write_with(listen, parts);
        Self { daemon: world.resume().await }
    }

    /// Where it listens, once it does.
    async fn address(&self) -> SocketAddr {
        self.moved(|_| true).await
    }

    /// Where it listens, once that is as `is` wants it.
    async fn moved(&self, mut is: impl FnMut(SocketAddr) -> bool) -> SocketAddr {
        let mut bound = self.daemon.front.bound();
        let address = bound.wait_for(|address| address.is_some_and(&mut is));
        tokio::time::timeout(super::world::PATIENCE, address).await.expect("it listens").unwrap().unwrap()
    }

    async fn stop(self) {
        self.daemon.stop().await;
    }
}

/// An answer, as it came.
#[derive(Debug)]
pub(super) struct Answer {
    pub status: u16,
    head: String,
    pub body: String,
}

impl Answer {
    fn has(&self, header: &str) -> bool {
        self.head.lines().any(|line| line.eq_ignore_ascii_case(header))
    }
}

/// Sends `request` and reads until the other side closes.
async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> Answer {
    // Whoever refuses a request may close before all of it was sent.
    let _ = stream.write_all(request.as_bytes()).await;
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes).await;
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

async fn ask(address: SocketAddr, line: &str, headers: &str) -> Answer {
    let stream = TcpStream::connect(address).await.unwrap();
    exchange(stream, &format!("{line} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{headers}\r\n")).await
}

pub(super) async fn get(address: SocketAddr, path: &str) -> Answer {
    ask(address, &format!("GET {path}"), "").await
}

pub(super) const LOOPBACK: &str = "listen = \"127.0.0.1:0\"";

#[tokio::test]
async fn what_is_to_be_seen_is_answered_and_holds_no_secret() {
    let world = World::new().await;
    let parts = [world.account(Service::Awx, ""), token("ci", Service::Awx, "rotate-every = \"30d\"")];
    let site = Site::start(&world, LOOPBACK, &parts).await;
    let address = site.address().await;
    site.daemon.steady("ci", 1).await;

    assert_eq!(get(address, "/livez").await.status, 200);
    let ready = get(address, "/readyz").await;
    assert_eq!((ready.status, ready.body.as_str()), (200, "ready\n"));
    let metrics = get(address, "/metrics").await;
    assert!(metrics.has("content-type: text/plain; version=0.0.4; charset=utf-8"), "{}", metrics.head);
    for line in [
        "patrold_token_state{token=\"ci\",state=\"fine\"} 1",
        "patrold_steps_total{account=\"awx\",step=\"hand-over\",result=\"ok\"} 1",
        "patrold_steps_total{account=\"awx\",step=\"mint\",result=\"ok\"} 1",
        "patrold_provider_requests_total{account=\"awx\",operation=\"mint\",result=\"success\"} 1",
    ] {
        assert!(metrics.body.lines().any(|had| had == line), "{line} is not in\n{}", metrics.body);
    }
    let status = get(address, "/status.json").await;
    let json: serde_json::Value = serde_json::from_str(&status.body).unwrap();
    assert_eq!(json["tokens"][0]["name"], "ci");
    assert!(status.has("cache-control: no-store") && status.has("x-content-type-options: nosniff"), "{}", status.head);
    let head = ask(address, "HEAD /metrics", "").await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    for secret in [world.stored("ci"), world.read("awx")] {
        assert!(!metrics.body.contains(secret.trim()) && !status.body.contains(secret.trim()));
    }
    site.stop().await;
}

#[tokio::test]
async fn who_is_not_ready_says_why() {
    let world = World::new().await;
    let parts = [world.account(Service::Awx, ""), token("ci", Service::Awx, "rotate-every = \"30d\"")];
    world.loopback.faults().random(1, 1.0);
    let site = Site::start(&world, LOOPBACK, &parts).await;
    let address = site.address().await;
    let answer = get(address, "/readyz").await;
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.body.contains("reason: 1 token without a first secret: ci\n"), "{}", answer.body);
    world.loopback.faults().stop();
    site.daemon.wake("ci");
    site.daemon.current("ci", 1).await;
    assert_eq!(get(address, "/readyz").await.status, 200);

    world.write_with(&format!("{LOOPBACK}\nlisen = 1"), &parts);
    site.daemon.until_reload("it is refused", |reload| !reload.problems.is_empty()).await;
    let answer = get(address, "/readyz").await;
    assert_eq!(answer.status, 503);
    assert!(answer.body.contains("unknown key `lisen` in [daemon]"), "{}", answer.body);
    let metrics = get(address, "/metrics").await.body;
    assert!(metrics.contains("patrold_inventory_reload_successful 0\n"), "{metrics}");
    site.stop().await;
}

#[tokio::test]
async fn what_nobody_should_ask_is_refused() {
    let world = World::new().await;
    let site = Site::start(&world, LOOPBACK, &[]).await;
    let address = site.address().await;
    for (sentence, line, status) in [
        ("an action", "POST /rotate", 405),
        ("an action on what is there", "DELETE /status.json", 405),
        ("the control socket's path", "GET /status", 404),
        ("a file", "GET /../../../../etc/passwd", 404),
        ("a file in disguise", "GET /%2e%2e/%2e%2e/etc/passwd", 404),
        ("a file of another system", "GET /..\\..\\etc\\passwd", 404),
        ("a proxy", "CONNECT example.com:443", 405),
        ("another site", "GET http://example.com/metrics/x", 404),
        ("no HTTP", "\u{1}\u{2}\u{3}", 400),
    ] {
        let answer = ask(address, line, "").await;
        assert_eq!(answer.status, status, "{sentence}: {answer:?}");
        assert!(!answer.body.contains("root:"), "{sentence}");
    }
    let refused = ask(address, "POST /metrics", "").await;
    assert!(refused.has("allow: GET, HEAD"), "{}", refused.head);

    let long = format!("GET /{}", "x".repeat(1 << 20));
    let answer = ask(address, &long, "").await;
    assert!(matches!(answer.status, 0 | 414 | 431), "a huge URL: {} {}", answer.status, answer.head);
    let many = "x: y\r\n".repeat(1000);
    let answer = ask(address, "GET /livez", &many).await;
    assert!(matches!(answer.status, 0 | 431), "many headers: {answer:?}");
    let stream = TcpStream::connect(address).await.unwrap();
    let answer = exchange(stream, "GET /metrics HTTP/1.1\r\nhost: evil.example.com\r\nconnection: close\r\n\r\n").await;
    assert_eq!(answer.status, 421, "a rebound name");

    let metrics = get(address, "/metrics").await.body;
    for line in ["{reason=\"method\"} 4", "{reason=\"not-found\"} 5", "{reason=\"foreign-host\"} 1"] {
        assert!(metrics.contains(&format!("patrold_http_refused_total{line}\n")), "{line} is not in\n{metrics}");
    }
    site.stop().await;
}

/// Takes the five seconds that a head may take.
#[tokio::test]
async fn who_is_slow_or_many_is_shown_out_and_the_others_are_served() {
    let world = World::new().await;
    let site = Site::start(&world, LOOPBACK, &[]).await;
    let address = site.address().await;
    // Everybody says half a word and waits.
    let mut crowd = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /livez HTTP/1.1\r\nhost: local").await.unwrap();
        crowd.push(stream);
    }
    let answer = get(address, "/livez").await;
    assert_eq!(answer.status, 0, "one too many: {answer:?}");
    let mut bytes = Vec::new();
    for stream in &mut crowd {
        bytes.clear();
        let read = tokio::time::timeout(super::world::PATIENCE, stream.read_to_end(&mut bytes)).await;
        let _ = read.expect("who is slow is shown out");
        assert!(!bytes.starts_with(b"HTTP/1.1 200"), "half a word is no request");
    }
    let metrics = get(address, "/metrics").await;
    assert_eq!(metrics.status, 200, "there is room again");
    let expected = "patrold_http_refused_total{reason=\"too-many-connections\"} 1\n";
    assert!(metrics.body.contains(expected), "{}", metrics.body);
    site.stop().await;
}

/// A CA-less certificate for `localhost`: the certificate and its key, in PEM.
fn certificate(world: &World) -> rustls::RootCertStore {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(world.path("cert.pem"), made.cert.pem()).unwrap();
    std::fs::write(world.path("key.pem"), made.signing_key.serialize_pem()).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    roots
}

async fn ask_securely(address: SocketAddr, roots: &rustls::RootCertStore, headers: &str) -> Option<Answer> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots.clone()).with_no_client_auth();
    let stream = TcpStream::connect(("127.0.0.1", address.port())).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.ok()?;
    let request = format!("GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}\r\n");
    Some(exchange(stream, &request).await)
}

#[tokio::test]
async fn beyond_loopback_there_is_tls_and_a_secret_and_both_can_be_replaced() {
    let world = World::new().await;
    let roots = certificate(&world);
    std::fs::write(world.path("bearer"), format!("{BEARER}\n")).unwrap();
    let listen = "listen = \"0.0.0.0:0\"\n\
                  listen-tls = { cert = \"$DIR/cert.pem\", key = { file = \"$DIR/key.pem\" } }\n\
                  listen-auth = { bearer = { file = \"$DIR/bearer\" } }";
    let site = Site::start(&world, listen, &[]).await;
    let address = site.address().await;
    let mine = format!("authorization: Bearer {BEARER}\r\n");
    assert_eq!(ask_securely(address, &roots, &mine).await.unwrap().status, 200);
    let stranger = ask_securely(address, &roots, "").await.unwrap();
    assert_eq!(stranger.status, 401);
    assert!(stranger.has("www-authenticate: Bearer realm=\"patrold\""), "{}", stranger.head);
    assert_eq!(ask_securely(address, &roots, "authorization: Bearer guess\r\n").await.unwrap().status, 401);
    assert_ne!(get(([127, 0, 0, 1], address.port()).into(), "/metrics").await.status, 200, "without TLS");

    let renewed = certificate(&world);
    std::fs::write(world.path("bearer"), "another-secret-of-some-length").unwrap();
    site.daemon.front.refresh();
    let other = "authorization: Bearer another-secret-of-some-length\r\n";
    // The old one is served until the new one was read.
    let answer = loop {
        if let Some(answer) = ask_securely(address, &renewed, other).await {
            break answer;
        }
    };
    assert_eq!(answer.status, 200);
    assert!(ask_securely(address, &roots, other).await.is_none(), "the old certificate is gone");
    assert_eq!(ask_securely(address, &renewed, &mine).await.unwrap().status, 401, "so is the old secret");
    site.stop().await;
}

#[tokio::test]
async fn a_reload_moves_the_server_and_a_taken_port_does_not_lose_it() {
    let world = World::new().await;
    let site = Site::start(&world, LOOPBACK, &[]).await;
    let first = site.address().await;

    let occupied = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let taken = occupied.local_addr().unwrap();
    world.write_with(&format!("listen = \"{taken}\""), &[]);
    site.daemon.until_reload("it is taken", |reload| reload.changes == ["daemon: listen changed"]).await;
    assert_eq!(get(first, "/livez").await.status, 200, "nothing was lost");
    drop(occupied);
    site.daemon.front.refresh();
    assert_eq!(site.moved(|address| address == taken).await, taken);
    assert_eq!(get(taken, "/livez").await.status, 200);
    assert!(TcpStream::connect(first).await.is_err(), "the old one is given up");

    // The same port on another address.
    let next = SocketAddr::from(([127, 0, 0, 2], taken.port()));
    world.write_with(&format!("listen = \"{next}\""), &[]);
    assert_eq!(site.moved(|address| address == next).await, next);
    world.write_with("", &[]);
    let mut bound = site.daemon.front.bound();
    bound.wait_for(Option::is_none).await.unwrap();
    assert!(TcpStream::connect(next).await.is_err(), "off is off");
    site.stop().await;
}

#[tokio::test]
async fn each_token_has_a_page_and_tokens_are_found_by_state_account_and_name() {
    let world = World::new().await;
    let more = "rotate-every = \"30d\"";
    let parts = [world.account(Service::Awx, ""), token("ci", Service::Awx, more), token("deploy", Service::Awx, more)];
    let site = Site::start(&world, LOOPBACK, &parts).await;
    let address = site.address().await;
    for name in ["ci", "deploy"] {
        site.daemon.steady(name, 1).await;
    }
    let of = |name: &str| format!(">{name}</a></td>");
    for (path, told, untold) in [
        ("/", vec![of("ci"), of("deploy"), "<h2>Accounts</h2>".to_owned()], Vec::new()),
        ("/?state=fine&account=awx", vec![of("ci"), of("deploy")], vec!["<h2>Accounts</h2>".to_owned()]),
        ("/?name=EPL", vec![of("deploy")], vec![of("ci"), "http-equiv".to_owned()]),
        ("/?state=down", vec!["No token is like that".to_owned()], vec![of("ci")]),
        (
            "/token/ci",
            vec!["When it is due".to_owned(), world.path("stores/ci").display().to_string()],
            vec![of("deploy")],
        ),
    ] {
        let page = get(address, path).await;
        assert_eq!(page.status, 200, "{path}");
        assert!(page.head.contains("form-action 'self'") && !page.body.contains("<script"), "{path}: {}", page.head);
        for told in told {
            assert!(page.body.contains(&told), "{path} lacks {told}:\n{}", page.body);
        }
        for untold in untold {
            assert!(!page.body.contains(&untold), "{path} has {untold}:\n{}", page.body);
        }
        for secret in [world.stored("ci"), world.read("awx")] {
            assert!(!page.body.contains(secret.trim()), "{path} shows a secret");
        }
    }
    assert_eq!(get(address, "/token/nobody").await.status, 404);
    site.stop().await;
}
