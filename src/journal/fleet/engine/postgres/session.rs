//! Connections to PostgreSQL, and what its answers mean.
//!
//! A statement is a transaction of its own: one that was left open by a paused replica would keep its locks without end.
//! A statement that has no answer in time is never cancelled, since a cancelled wait for a standby is told as a success:
//! it is left to the server, and its connection is taken by nobody else.

use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_postgres::config::{SslMode, TargetSessionAttrs};
use tokio_postgres::error::{Severity, SqlState};
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{AsyncMessage, Client, Config, Connection, NoTls, Row, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::inventory::{Database, Server, ServerHost};
use crate::journal::fleet::engine::{EngineError, PATIENCE, failure};
use crate::outcome::one_line;
use crate::secret::{SecretSource, source};

/// A server that does not take a connection within this is passed over.
const CONNECT: Duration = Duration::from_secs(2);

/// The oldest version: <https://www.postgresql.org/support/versioning/>.
const OLDEST: i32 = 130_000;

/// Whether a statement changes anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    Reads,
    Writes,
}

/// A statement with its values.
pub(super) struct Question<'a> {
    pub sql: &'a str,
    pub values: &'a [(&'a (dyn ToSql + Sync), Type)],
    pub manner: Manner,
    pub patience: Duration,
}

/// How connections are made.
pub(super) struct Access {
    servers: Vec<Server>,
    config: Config,
    login: Option<(String, SecretSource)>,
    /// `None`: connections are not encrypted.
    tls: Option<MakeRustlsConnect>,
}

impl Access {
    pub fn new(database: &Database, login: Option<&(String, SecretSource)>, tls: Option<rustls::ClientConfig>) -> Self {
        let mut config = Config::new();
        config
            .dbname(&database.name)
            .application_name("patrold")
            .connect_timeout(CONNECT)
            // A server that is gone without a word is noticed by that.
            .tcp_user_timeout(PATIENCE * 2)
            .target_session_attrs(TargetSessionAttrs::ReadWrite)
            .ssl_mode(if tls.is_some() { SslMode::Require } else { SslMode::Disable });
        for server in &database.servers {
            match &server.host {
                ServerHost::Named(host) => config.host(host),
                ServerHost::Socket(directory) => config.host_path(directory),
            };
            config.port(server.port);
        }
        if let Some(user) = &database.user {
            config.user(user);
        }
        let tls = tls.map(|mut tls| {
            // What a server of version 17 insists on: https://www.postgresql.org/docs/17/protocol-flow.html
            tls.alpn_protocols = vec![b"postgresql".to_vec()];
            MakeRustlsConnect::new(tls)
        });
        Self { servers: database.servers.clone(), config, login: login.cloned(), tls }
    }

    /// The servers, for messages.
    pub fn place(&self) -> String {
        let servers: Vec<_> = self.servers.iter().map(ToString::to_string).collect();
        format!("PostgreSQL {}", servers.join(", "))
    }

    /// Connects to the first server that takes writes. `heard` is told of each notification.
    pub async fn connect(&self, heard: Option<Arc<Notify>>) -> Result<Session, EngineError> {
        let mut config = self.config.clone();
        if let Some((username, password)) = &self.login {
            let password = source::read(password).await.map_err(EngineError::Refused)?;
            config.user(username).password(password.expose());
        }
        let begun = async {
            match &self.tls {
                Some(tls) => Session::begin(&config, tls.clone(), heard).await,
                None => Session::begin(&config, NoTls, heard).await,
            }
        };
        let limit = CONNECT * u32::try_from(self.servers.len()).unwrap_or(u32::MAX) + PATIENCE;
        let session = match timeout(limit, begun).await {
            Ok(Ok(session)) => session,
            Ok(Err(error)) => return Err(self.unconnected(&error)),
            Err(_) => return Err(EngineError::Away(failure(format!("{} did not answer", self.place())))),
        };
        self.examine(&session).await?;
        Ok(session)
    }

    /// Whether the server can keep a journal at all.
    async fn examine(&self, session: &Session) -> Result<(), EngineError> {
        let sql = "select current_setting('server_version_num')::int, current_setting('server_version'), \
                   current_setting('fsync') = 'on'";
        let question = Question { sql, values: &[], manner: Manner::Reads, patience: PATIENCE };
        let rows = session.ask(&question, &self.place()).await?;
        let Some(row) = rows.first() else { return Err(misunderstood(&self.place())) };
        let (number, version, fsync): (i32, String, bool) = (row.get(0), row.get(1), row.get(2));
        let refused = |what: &str| Err(EngineError::Refused(failure(format!("{}: {what}", self.place()))));
        if number < OLDEST {
            return refused(&format!("its version is {version}, and a fleet needs 13 or later"));
        }
        if !fsync {
            return refused(
                "it does not write to the disk what it acknowledges (fsync = off), and would lose secrets: set fsync = on \
                 in postgresql.conf and restart it",
            );
        }
        Ok(())
    }

    /// Why there is no connection. Nothing was done.
    fn unconnected(&self, error: &tokio_postgres::Error) -> EngineError {
        let (place, why) = (self.place(), cause(error));
        let refused = |remedy: &str| EngineError::Refused(failure(format!("{place}: {why}{remedy}")));
        match error.code() {
            Some(code) if *code == SqlState::INVALID_PASSWORD => EngineError::Refused(failure(format!(
                "the engine does not accept the user name and password of `credential` in `engine` of [fleet]: {why}"
            ))),
            Some(code) if *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION => refused(
                ": let pg_hba.conf admit this user from this host, or correct `credential` in `engine` of [fleet]",
            ),
            Some(code) if *code == SqlState::INVALID_CATALOG_NAME => {
                refused(": make it with `createdb --owner USER NAME`, or correct `postgres` in `engine` of [fleet]")
            }
            Some(code) if *code == SqlState::INSUFFICIENT_PRIVILEGE => {
                refused(": let its user connect to the database")
            }
            Some(code) if *code == SqlState::TOO_MANY_CONNECTIONS => EngineError::Away(failure(format!(
                "{place}: {why}: raise max_connections, of which each replica takes up to eleven"
            ))),
            _ if why.contains("does not allow writes") => EngineError::Away(failure(format!(
                "{place}: none of these servers takes writes (a standby, or default_transaction_read_only): name the \
                 primary in `postgres` of [fleet]; patrold goes on by itself once one of them is it"
            ))),
            None if why.contains("password missing") => EngineError::Refused(failure(format!(
                "the engine asks for a login ({why}): write `credential` in `engine` of [fleet]"
            ))),
            None if why.contains("server does not support TLS") => {
                refused(": set ssl = on there, or write allow-plaintext = true in `engine` of [fleet]")
            }
            _ => EngineError::Away(failure(format!("{place}: {why}"))),
        }
    }
}

/// The innermost cause in words.
fn cause(error: &tokio_postgres::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    let text = match error.as_db_error() {
        Some(error) => error.message().to_owned(),
        None => cause.to_string(),
    };
    one_line(&text, 200)
}

/// The answer has another form than ours have.
pub(super) fn misunderstood(place: &str) -> EngineError {
    EngineError::Unknown(failure(format!("{place}: the answer cannot be understood")))
}

/// One connection.
pub(super) struct Session {
    client: Client,
    /// Warnings that came in so far: a wait for a standby that somebody has cancelled is told so, beside a success.
    warnings: Arc<AtomicUsize>,
}

impl Session {
    async fn begin<T>(config: &Config, tls: T, heard: Option<Arc<Notify>>) -> Result<Self, tokio_postgres::Error>
    where
        T: MakeTlsConnect<Socket> + Send + 'static,
        T::Stream: Send + 'static,
        T::TlsConnect: Send,
        <T::TlsConnect as tokio_postgres::tls::TlsConnect<Socket>>::Future: Send,
    {
        let (client, connection) = config.connect(tls).await?;
        let warnings: Arc<AtomicUsize> = Arc::default();
        tokio::spawn(drive(connection, Arc::clone(&warnings), heard));
        Ok(Self { client, warnings })
    }

    pub fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// The rows that answer `question`.
    pub async fn ask(&self, question: &Question<'_>, place: &str) -> Result<Vec<Row>, EngineError> {
        let before = self.warnings.load(Ordering::Acquire);
        let asked = self.client.query_typed(question.sql, question.values);
        let unanswered = |what: String| match question.manner {
            Manner::Reads => EngineError::Away(failure(what)),
            Manner::Writes => EngineError::Unknown(failure(what)),
        };
        match timeout(question.patience, asked).await {
            Ok(Ok(rows)) if self.warnings.load(Ordering::Acquire) == before => Ok(rows),
            Ok(Ok(rows)) if question.manner == Manner::Reads => Ok(rows),
            Ok(Ok(_)) => Err(EngineError::Unknown(failure(format!(
                "{place} warned beside its answer: it may have stopped waiting for its standby"
            )))),
            Ok(Err(error)) => Err(refusal(&error, question.manner, place)),
            Err(_) => Err(unanswered(format!("{place} did not answer within {:?}", question.patience))),
        }
    }

    /// Waits until the server has answered everything, or is gone.
    async fn drain(self) {
        let _ = self.client.check_connection().await;
    }
}

/// Moves the bytes of a connection until it ends.
async fn drive<S>(mut connection: Connection<Socket, S>, warnings: Arc<AtomicUsize>, heard: Option<Arc<Notify>>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
        match message {
            AsyncMessage::Notice(notice) if notice.parsed_severity() == Some(Severity::Warning) => {
                warnings.fetch_add(1, Ordering::AcqRel);
            }
            AsyncMessage::Notification(_) => heard.iter().for_each(|heard| heard.notify_one()),
            _ => {}
        }
    }
    // Whoever listens looks, and finds the connection closed.
    if let Some(heard) = &heard {
        heard.notify_one();
    }
}

/// What an error means that is told for a statement.
fn refusal(error: &tokio_postgres::Error, manner: Manner, place: &str) -> EngineError {
    let why = cause(error);
    let told = |remedy: &str| failure(format!("{place}: {why}{remedy}"));
    let Some(code) = error.code() else {
        return match manner {
            Manner::Reads => EngineError::Away(told("")),
            Manner::Writes => EngineError::Unknown(told("")),
        };
    };
    // https://www.postgresql.org/docs/current/errcodes-appendix.html
    match code.code() {
        // It is being shut down, perhaps while the commit waited for a standby.
        "57P01" | "57P02" | "57P03" if manner == Manner::Writes => EngineError::Unknown(told("")),
        "57P01" | "57P02" | "57P03" | "57014" | "40001" | "40P01" | "55P03" => EngineError::Away(told("")),
        "25006" => EngineError::Away(told(": it is a standby by now; patrold looks for the primary")),
        "53100" => EngineError::Refused(told(
            ": its disk is full and takes no writes; make room there, patrold goes on by itself",
        )),
        "42501" => EngineError::Refused(told(
            ": let the user own the schema `patrold`, or, before `patrold fleet init`, make schemas in the database",
        )),
        "3F000" | "42P01" | "42883" => EngineError::Refused(told(": `patrold fleet init` makes what is missing, once")),
        _ => EngineError::Refused(told("")),
    }
}

/// A number of connections.
pub(super) struct Pool {
    room: Arc<Semaphore>,
    idle: Mutex<Vec<Session>>,
}

impl Pool {
    pub fn of(size: usize) -> Self {
        Self { room: Arc::new(Semaphore::new(size)), idle: Mutex::default() }
    }

    /// The rows that answer `question`.
    pub async fn ask(&self, access: &Access, question: &Question<'_>) -> Result<Vec<Row>, EngineError> {
        let place = Arc::clone(&self.room).acquire_owned();
        let Ok(Ok(place)) = timeout(question.patience, place).await else {
            let what = format!("{} has not answered what it was asked before", access.place());
            return Err(EngineError::Away(failure(what)));
        };
        let session = match self.take() {
            Some(session) => session,
            None => access.connect(None).await?,
        };
        let answer = session.ask(question, &access.place()).await;
        self.give_back(session, place, answer.as_ref().err());
        answer
    }

    fn take(&self) -> Option<Session> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|session| !session.is_closed());
        idle.pop()
    }

    fn give_back(&self, session: Session, place: OwnedSemaphorePermit, error: Option<&EngineError>) {
        match error {
            None | Some(EngineError::Refused(_)) => {
                self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(session);
            }
            // A server that does not answer is not given more to do: the place is taken until it does, or is gone.
            Some(EngineError::Away(_) | EngineError::Unknown(_)) => {
                tokio::spawn(async move {
                    session.drain().await;
                    drop(place);
                });
            }
        }
    }
}
