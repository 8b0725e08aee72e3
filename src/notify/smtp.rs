//! Mail to a server, by SMTP (RFC 5321). What is said is lettre's; the connection is made here, so that a server proves itself
//! as every other does ([`crate::trust`]): encrypted from the first byte (RFC 8314), or by STARTTLS (RFC 3207).

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use lettre::address::Envelope;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, AsyncTokioStream};
use lettre::transport::smtp::extension::ClientId;
use lettre::{Address, transport};
use rustls::pki_types::ServerName;
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader, ReadBuf,
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::files;
use crate::inventory::{Encryption, MailServer};
use crate::outcome::one_line;
use crate::secret::Secret;
use crate::trust::TrustRoots;

/// How much of what a server said goes into a failure, in characters.
const SAID: usize = 200;

/// The longest reply that is read before the connection is encrypted, in bytes.
const LONGEST_REPLY: u64 = 16 * 1024;

/// Stands for the greeting that was read before STARTTLS.
const GREETED: &[u8] = b"220 greeted before\r\n";

/// Hands one message to `server`. `text` has headers and body, with the line ends of this system.
pub(super) async fn deliver(
    server: &MailServer,
    login: Option<(String, Secret)>,
    (from, to): (&str, &[String]),
    text: &str,
) -> Result<(), String> {
    let address = |text: &str| text.parse::<Address>().map_err(|error| format!("{text}: {error}"));
    let to = to.iter().map(|to| address(to)).collect::<Result<Vec<_>, _>>()?;
    let envelope = Envelope::new(Some(address(from)?), to).map_err(|error| error.to_string())?;
    let connection = connect(server).await?;
    let hello = ClientId::Domain(crate::host::name());
    let talking = AsyncSmtpConnection::connect_with_transport(connection, &hello).await;
    let mut talking = talking.map_err(|error| refusal(&error))?;
    let sent = converse(&mut talking, login, &envelope, text).await;
    if sent.is_ok() {
        // It has the message, whatever it says to the end of the conversation.
        let _ = talking.quit().await;
    } else {
        talking.abort().await;
    }
    sent.map_err(|error| refusal(&error))
}

async fn converse(
    talking: &mut AsyncSmtpConnection,
    login: Option<(String, Secret)>,
    envelope: &Envelope,
    text: &str,
) -> Result<(), transport::smtp::Error> {
    if let Some((username, password)) = login {
        let credentials = Credentials::new(username, password.expose().to_owned());
        talking.auth(&[Mechanism::Plain, Mechanism::Login], &credentials).await?;
    }
    // A line ends with CR LF, and a CR without LF is none of ours: some servers take both for an end, and others not.
    let text = text.replace('\r', "").replace('\n', "\r\n");
    talking.send(envelope, text.as_bytes()).await.map(drop)
}

/// Why it was not taken, with what the server said.
fn refusal(error: &transport::smtp::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let error = error.to_string();
        if !text.contains(&error) {
            text = format!("{text}: {error}");
        }
        cause = cause.and_then(std::error::Error::source);
    }
    one_line(&text, SAID)
}

/// A connection on which the server has not greeted yet, or seems not to have.
async fn connect(server: &MailServer) -> Result<Box<dyn AsyncTokioStream>, String> {
    let MailServer { host, port, encryption, .. } = server;
    let stream = TcpStream::connect((host.as_str(), *port)).await;
    let stream = stream.map_err(|error| format!("cannot connect to {host}:{port}: {error}"))?;
    let peer = stream.peer_addr().map_err(|error| error.to_string())?;
    if *encryption == Encryption::FromTheStart {
        return Ok(Box::new(Talk { said: &[], stream: encrypt(server, stream).await?, peer }));
    }
    let mut stream = BufReader::new(stream);
    let offers = greet(&mut stream).await.map_err(|error| format!("{host}:{port}: {error}"))?;
    let offered = offers.iter().any(|offer| offer.eq_ignore_ascii_case("STARTTLS"));
    match (offered, encryption) {
        (true, _) => {
            stream.write_all(b"STARTTLS\r\n").await.map_err(|error| error.to_string())?;
            reply(&mut stream).await.map_err(|error| format!("{host}:{port}: STARTTLS: {error}"))?;
            // What somebody sent along in clear would be taken for what the server says under encryption.
            if !stream.buffer().is_empty() {
                return Err(format!("{host}:{port}: it speaks before the connection is encrypted"));
            }
            Ok(Box::new(Talk { said: GREETED, stream: encrypt(server, stream.into_inner()).await?, peer }))
        }
        (false, Encryption::WhereOffered) => Ok(Box::new(Talk { said: GREETED, stream: stream.into_inner(), peer })),
        (false, _) => Err(format!("{host}:{port} does not offer STARTTLS, and nothing is sent to it in clear")),
    }
}

/// Reads the greeting and says who is there; what the server offers.
async fn greet(stream: &mut BufReader<TcpStream>) -> io::Result<Vec<String>> {
    reply(stream).await?;
    stream.write_all(format!("EHLO {}\r\n", crate::host::name()).as_bytes()).await?;
    reply(stream).await
}

/// The lines of a reply that says yes, without their codes.
async fn reply(stream: &mut BufReader<TcpStream>) -> io::Result<Vec<String>> {
    let mut stream = stream.take(LONGEST_REPLY);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = line.trim_end();
        let (Some(code), Some(text)) = (line.get(..3), line.get(3..)) else {
            return Err(io::Error::other("it does not speak SMTP"));
        };
        if !code.starts_with('2') {
            return Err(io::Error::other(format!("it answers {}", one_line(line, SAID))));
        }
        lines.push(text.trim_start_matches(['-', ' ']).to_owned());
        if !text.starts_with('-') {
            return Ok(lines);
        }
    }
}

async fn encrypt(server: &MailServer, stream: TcpStream) -> Result<tokio_rustls::client::TlsStream<TcpStream>, String> {
    let MailServer { host, port, tls, .. } = server;
    let place = tls.ca_file.clone().unwrap_or_else(|| Path::new("/etc/ssl").to_owned());
    let policy = tls.clone();
    let roots = files::off_runtime(&place, move |_| Ok(TrustRoots::read(&policy))).await;
    let roots = roots.map_err(|error| format!("trust roots: it {error}"))?.map_err(|error| error.to_string())?;
    let mut config = roots.config();
    // There is no name for SMTP: https://www.iana.org/assignments/tls-extensiontype-values
    config.alpn_protocols.clear();
    let name = ServerName::try_from(host.clone()).map_err(|error| format!("{host}: {error}"))?;
    let connected = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    connected.map_err(|error| format!("TLS with {host}:{port}: {error}"))
}

/// A connection, and what is read before anything that comes over it.
#[derive(Debug)]
struct Talk<S> {
    said: &'static [u8],
    stream: S,
    peer: SocketAddr,
}

impl<S: AsyncRead + Unpin> AsyncRead for Talk<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.said.is_empty() {
            return Pin::new(&mut self.stream).poll_read(context, into);
        }
        let (now, later) = self.said.split_at(self.said.len().min(into.remaining()));
        into.put_slice(now);
        self.said = later;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Talk<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, from)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl<S: AsyncRead + AsyncWrite + Send + Sync + Unpin + std::fmt::Debug> AsyncTokioStream for Talk<S> {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.peer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::TlsPolicy;
    use tokio::net::TcpListener;

    /// What becomes of a message to a server that answers with `lines` in turn, and what it was told.
    async fn offer(encryption: Encryption, lines: &'static [&'static str]) -> (Result<(), String>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let serving = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = BufReader::new(stream);
            let mut told = String::new();
            for line in lines {
                stream.write_all(line.as_bytes()).await.unwrap();
                if stream.read_line(&mut told).await.unwrap_or_default() == 0 {
                    break;
                }
            }
            told
        });
        let server =
            MailServer { host: "127.0.0.1".to_owned(), port, encryption, login: None, tls: TlsPolicy::default() };
        let to = ["ops@example.com".to_owned()];
        let sent = deliver(&server, None, ("patrold@example.com", &to), "Subject: x\n\nsecret\n").await;
        (sent, serving.await.unwrap())
    }

    #[tokio::test]
    async fn nothing_is_sent_in_clear_where_that_is_not_allowed() {
        for (sentence, lines, expected) in [
            ("it offers no STARTTLS", &["220 x\r\n", "250-x\r\n250 8BITMIME\r\n"][..], "does not offer STARTTLS"),
            ("it refuses it", &["220 x\r\n", "250 STARTTLS\r\n", "454 not now\r\n"], "454 not now"),
            (
                "somebody else speaks before it is encrypted",
                &["220 x\r\n", "250 STARTTLS\r\n", "220 go\r\n250 8BITMIME\r\n"],
                "speaks before",
            ),
            ("it is no mail server", &["HTTP/1.1 400 Bad Request\r\n"], "it answers HTTP/1.1 400"),
            ("it is too busy", &["421 later\r\n"], "421 later"),
        ] {
            let (sent, told) = offer(Encryption::StartTls, lines).await;
            assert!(sent.as_ref().is_err_and(|why| why.contains(expected)), "{sentence}: {sent:?}");
            assert!(!told.contains("MAIL") && !told.contains("AUTH"), "{sentence}: {told}");
        }
    }
}
