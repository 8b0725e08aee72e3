//! A TCP proxy that forwards everything and can swallow the answer to one request: the server has done what it was asked
//! for, and whoever asked never learns of it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// What comes in place of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The connection is closed.
    Reset,
    /// Nothing, and the connection stays open.
    Silence,
}

#[derive(Debug, Default)]
struct Trap {
    /// What the request says that the trap is set for.
    armed: Mutex<Option<(String, Loss)>>,
    swallowed: Notify,
}

impl Trap {
    /// Whether it is set for this request; it is set no longer then.
    fn springs(&self, sent: &[u8]) -> Option<Loss> {
        let mut armed = self.armed.lock().unwrap();
        let says = |words: &str| sent.windows(words.len()).any(|part| part == words.as_bytes());
        armed.take_if(|(request, _)| says(request)).map(|(_, loss)| loss)
    }
}

/// The proxy, as long as it is not dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    trap: Arc<Trap>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Proxy {
    /// Before the server at `target`.
    pub async fn before(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let trap = Arc::new(Trap::default());
        let accepting = tokio::spawn({
            let trap = Arc::clone(&trap);
            async move {
                while let Ok((client, _)) = listener.accept().await {
                    tokio::spawn(connection(client, target, Arc::clone(&trap)));
                }
            }
        });
        Self { address, trap, accepting }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The answer to the next request that says this gets lost: by its first line, or in its body.
    pub fn lose(&self, request: String, loss: Loss) {
        *self.trap.armed.lock().unwrap() = Some((request, loss));
    }

    /// Waits until an answer was swallowed: then the server has done what it was asked for.
    pub async fn swallowed(&self) {
        self.trap.swallowed.notified().await;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Forwards until one of both ends it, or an answer is to be lost.
async fn connection(client: TcpStream, target: SocketAddr, trap: Arc<Trap>) {
    let Ok(server) = TcpStream::connect(target).await else { return };
    let (mut from_client, to_client) = client.into_split();
    let (from_server, mut to_server) = server.into_split();
    let loss = Arc::new(Mutex::new(None));
    let answers = tokio::spawn(answers(from_server, to_client, Arc::clone(&loss), Arc::clone(&trap)));
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from_client.read(&mut buffer).await {
        // Requests are not sent before the answer to the one before has come: each begins with a read of its own.
        if let Some(kind) = trap.springs(&buffer[..length]) {
            *loss.lock().unwrap() = Some(kind);
        }
        if to_server.write_all(&buffer[..length]).await.is_err() {
            break;
        }
    }
    drop(to_server);
    let _ = answers.await;
}

async fn answers(
    mut from_server: OwnedReadHalf,
    mut to_client: OwnedWriteHalf,
    loss: Arc<Mutex<Option<Loss>>>,
    trap: Arc<Trap>,
) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from_server.read(&mut buffer).await {
        let loss = *loss.lock().unwrap();
        match loss {
            None if to_client.write_all(&buffer[..length]).await.is_ok() => {}
            None => return,
            Some(Loss::Reset) => {
                trap.swallowed.notify_one();
                return;
            }
            Some(Loss::Silence) => {
                trap.swallowed.notify_one();
                // Until the server ends the connection; the client notices nothing of that either.
                while let Ok(1..) = from_server.read(&mut buffer).await {}
                std::future::pending::<()>().await;
            }
        }
    }
}
