//! Mail to a server on loopback, which speaks what RFC 5321 asks of every server: encrypted from the start, by STARTTLS, or not.

use std::fs;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use patrold::daemon::notifier;
use patrold::demo::Service;
use patrold::notify::Sent;
use rustls::ServerConfig;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::trust::Authority;
use super::world::{PATIENCE, World};

/// How a server encrypts.
#[derive(Clone)]
enum Manner {
    FromTheStart(Arc<ServerConfig>),
    StartTls(Arc<ServerConfig>),
    Never,
}

/// A message as it came.
#[derive(Clone, Debug, Default)]
struct Letter {
    encrypted: bool,
    login: Option<String>,
    from: String,
    to: Vec<String>,
    text: String,
}

/// A mail server that knows one user.
struct MailServer {
    port: u16,
    got: watch::Receiver<Vec<Letter>>,
}

impl MailServer {
    async fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, got) = watch::channel(Vec::new());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (manner, sender) = (manner.clone(), sender.clone());
                tokio::spawn(async move {
                    match manner {
                        Manner::FromTheStart(config) => {
                            let Ok(stream) = TlsAcceptor::from(config).accept(stream).await else { return };
                            talk(stream, true, false, true, &sender).await;
                        }
                        Manner::StartTls(config) => {
                            let Some(stream) = talk(stream, true, true, false, &sender).await else { return };
                            let Ok(stream) = TlsAcceptor::from(config).accept(stream).await else { return };
                            talk(stream, false, false, true, &sender).await;
                        }
                        Manner::Never => drop(talk(stream, true, false, false, &sender).await),
                    }
                });
            }
        });
        Self { port, got }
    }

    fn letters(&self) -> Vec<Letter> {
        self.got.borrow().clone()
    }
}

/// Talks until the end, or until the client wants to encrypt.
async fn talk<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    greets: bool,
    offers: bool,
    encrypted: bool,
    taken: &watch::Sender<Vec<Letter>>,
) -> Option<S> {
    let mut stream = BufReader::new(stream);
    if greets {
        stream.write_all(b"220-mail.example.com\r\n220 ready\r\n").await.ok()?;
    }
    let mut letter = Letter { encrypted, ..Letter::default() };
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        let line = line.strip_suffix("\r\n").expect("lines end with CR LF").to_owned();
        let (word, rest) = line.split_once(' ').unwrap_or((&line, ""));
        let answer = match word {
            "EHLO" if offers => "250-mail.example.com\r\n250-8BITMIME\r\n250 STARTTLS".to_owned(),
            "EHLO" => "250-mail.example.com\r\n250-8BITMIME\r\n250 AUTH PLAIN LOGIN".to_owned(),
            "STARTTLS" if offers => {
                stream.write_all(b"220 go ahead\r\n").await.ok()?;
                return Some(stream.into_inner());
            }
            "AUTH" => {
                let given = BASE64_STANDARD.decode(rest.strip_prefix("PLAIN ").expect("as it is offered")).unwrap();
                let given = String::from_utf8(given).unwrap();
                letter.login = Some(given.clone());
                let right = given == "\0patrold\0mail-password";
                if right { "235 welcome".to_owned() } else { format!("535 {given:?} is nobody") }
            }
            "MAIL" => {
                letter.from = rest.to_owned();
                "250 ok".to_owned()
            }
            "RCPT" => {
                letter.to.push(rest.to_owned());
                "250 ok".to_owned()
            }
            "DATA" => {
                stream.write_all(b"354 go on\r\n").await.ok()?;
                loop {
                    let mut line = String::new();
                    stream.read_line(&mut line).await.ok()?;
                    assert!(line.ends_with("\r\n"), "{line:?}");
                    match line.strip_prefix('.') {
                        Some("\r\n") => break,
                        Some(rest) => letter.text.push_str(rest),
                        None => letter.text.push_str(&line),
                    }
                }
                taken.send_modify(|letters| letters.push(letter.clone()));
                "250 taken".to_owned()
            }
            "QUIT" => "221 bye".to_owned(),
            _ => "500 what".to_owned(),
        };
        stream.write_all(format!("{answer}\r\n").as_bytes()).await.ok()?;
    }
}

/// Sends a test through a channel of these keys.
async fn sent(world: &World, via: &str) -> Sent {
    let channel = format!(
        "[[notify]]\nname = \"post\"\nvia = {{ mail = [\"ops@example.com\", \"night@example.com\"], \
         from = \"patrold@example.com\", {via} }}\n"
    );
    let daemon = world.start(&[world.account(Service::Awx, ""), channel]).await;
    let inventory = daemon.running.core.inventory();
    let channel = &inventory.channels[&"post".parse().unwrap()];
    let sent = tokio::time::timeout(PATIENCE, notifier::test(&daemon.running.notifier.sender, channel)).await.unwrap();
    daemon.stop().await;
    sent
}

const LOGIN: &str = "username = \"patrold\", password = { file = \"$DIR/mail-password\" }";

#[tokio::test]
async fn mail_reaches_a_server_that_proves_itself() {
    let world = World::new().await;
    let authority = Authority::new();
    fs::write(world.path("ca.pem"), &authority.pem).unwrap();
    fs::write(world.path("mail-password"), "mail-password").unwrap();
    let tls = "tls = { ca-file = \"$DIR/ca.pem\" }";
    for (sentence, manner, scheme, encrypted) in [
        ("from the start", Manner::FromTheStart(Arc::clone(&authority.server)), "smtps", true),
        ("by STARTTLS", Manner::StartTls(Arc::clone(&authority.server)), "smtp", true),
        ("on this machine, by a server that cannot", Manner::Never, "smtp", false),
    ] {
        let server = MailServer::start(manner).await;
        let told = sent(&world, &format!("smtp = \"{scheme}://127.0.0.1:{}\", {tls}, {LOGIN}", server.port)).await;
        assert_eq!((&told.failure, told.told), (&None, 1), "{sentence}");
        let letters = server.letters();
        let [letter] = letters.as_slice() else { panic!("{sentence}: {letters:#?}") };
        assert_eq!(letter.encrypted, encrypted, "{sentence}");
        assert_eq!(letter.login.as_deref(), Some("\0patrold\0mail-password"), "{sentence}");
        assert!(letter.from.starts_with("FROM:<patrold@example.com>"), "{sentence}: {letter:#?}");
        assert_eq!(letter.to, ["TO:<ops@example.com>", "TO:<night@example.com>"], "{sentence}");
        let (head, text) = letter.text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("\r\nTo: ops@example.com, night@example.com\r\n"), "{sentence}: {head}");
        assert!(head.starts_with("Message-ID: <") && head.contains("@example.com>\r\n"), "{sentence}: {head}");
        assert!(text.contains("this is a test of channel post"), "{sentence}: {text}");
    }
}

#[tokio::test]
async fn nothing_is_told_to_a_server_that_does_not_prove_itself_or_take_the_password() {
    let world = World::new().await;
    let authority = Authority::new();
    fs::write(world.path("ca.pem"), &authority.pem).unwrap();
    fs::write(world.path("other.pem"), Authority::new().pem).unwrap();
    fs::write(world.path("mail-password"), "another-password").unwrap();
    for (sentence, ca, said) in
        [("another authority's", "other.pem", "TLS with 127.0.0.1"), ("a password that is wrong", "ca.pem", "535")]
    {
        for (scheme, manner) in [
            ("smtps", Manner::FromTheStart(Arc::clone(&authority.server))),
            ("smtp", Manner::StartTls(Arc::clone(&authority.server))),
        ] {
            let server = MailServer::start(manner).await;
            let tls = format!("tls = {{ ca-file = \"$DIR/{ca}\" }}");
            let told = sent(&world, &format!("smtp = \"{scheme}://127.0.0.1:{}\", {tls}, {LOGIN}", server.port)).await;
            let why = told.failure.expect(sentence).0.detail;
            assert!(why.contains(said) && !why.contains("another-password"), "{sentence}: {why}");
            assert!(server.letters().is_empty(), "{sentence}");
        }
    }
}
