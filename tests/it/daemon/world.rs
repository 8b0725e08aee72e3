//! A provider, a directory with an inventory, and a daemon on it. Nothing here sleeps: tests follow what tokens and
//! requests tell.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use patrold::clock::{Clock, SystemClock, Time};
use patrold::daemon::deadlines::Key;
use patrold::daemon::http::FrontHandle;
use patrold::daemon::registry::{Token, View};
use patrold::daemon::reload::Reload;
use patrold::daemon::rotate::{Answer, OperatorRequest};
use patrold::daemon::serve::{self, Ended, Host, Order};
use patrold::daemon::systemd::Systemd;
use patrold::daemon::{Running, StartError};
use patrold::demo::{Loopback, Options, RequestRecord, Service, operations};
use patrold::names::{GenerationNo, TokenName};
use patrold::outcome::Failure;
use patrold::provider::Operation;
use patrold::rotation::Phase;
use patrold::rotation::state::{Current, Generation};
use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// Nothing that a test waits for takes longer, not even on a machine that has better things to do.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// One provider and one directory. Dropping it ends everything.
pub struct World {
    pub directory: TempDir,
    pub loopback: Loopback,
}

/// A daemon that runs in a world.
pub struct Daemon {
    pub running: Arc<Running<SystemClock>>,
    pub front: FrontHandle,
    pub orders: mpsc::UnboundedSender<Order>,
    task: JoinHandle<Result<Ended, StartError>>,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl World {
    pub async fn new() -> Self {
        Self::with(Options::default()).await
    }

    pub async fn with(options: Options) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let loopback = Loopback::start(SystemClock, options).await.unwrap();
        for service in Service::ALL {
            let credential = directory.path().join(service.provider());
            fs::write(&credential, loopback.admin_secret(service).expose()).unwrap();
            fs::set_permissions(credential, fs::Permissions::from_mode(0o600)).unwrap();
        }
        fs::create_dir(directory.path().join("stores")).unwrap();
        Self { directory, loopback }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn config(&self) -> PathBuf {
        self.path("patrold.toml")
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// The secret in the file store of `token`.
    pub fn stored(&self, token: &str) -> String {
        self.read(&format!("stores/{token}"))
    }

    /// Writes the inventory. `$DIR` stands for the world's directory.
    pub fn write(&self, parts: &[String]) {
        self.write_with("", parts);
    }

    /// The same, with more keys in `[daemon]`.
    pub fn write_with(&self, settings: &str, parts: &[String]) {
        let head = format!(
            "[daemon]\nstate-dir = \"$DIR/state\"\ncontrol = \"$DIR/control.sock\"\n{settings}\n\
             [defaults]\ngrace = \"200ms\"\nverify-timeout = \"1s\"\n"
        );
        let text =
            format!("{head}\n{}", parts.join("\n")).replace("$DIR", &self.directory.path().display().to_string());
        let hidden = self.path(".patrold.toml.new");
        fs::write(&hidden, text).unwrap();
        fs::rename(hidden, self.config()).unwrap();
    }

    /// An account, named after its provider, that authenticates with the bootstrap secret.
    pub fn account(&self, service: Service, more: &str) -> String {
        let name = service.provider();
        let credential = if more.contains("credential") { "" } else { "credential = { file = \"$DIR/$NAME\" }\n" };
        let settle = if more.contains("settle") { "" } else { "settle = \"300ms\"\n" };
        let params = match service {
            Service::PointOne => "",
            Service::Awx | Service::Commvault => "params = { user_id = 2 }\n",
        };
        let operations = match service {
            Service::PointOne if more.contains("# without revoke") => String::new(),
            _ => operations(service).unwrap_or_default().replace("\n[", "\n[account.$NAME.operations."),
        };
        let url = self.loopback.url(service).as_str().trim_end_matches('/');
        format!(
            "[account.$NAME]\nprovider = \"{name}\"\nurl = \"{url}\"\n{credential}{settle}{params}{more}\n{operations}"
        )
        .replace("$NAME", name)
    }

    /// The account of Commvault with a user's password, which is in the file `password`.
    pub fn login_account(&self, more: &str) -> String {
        let operator = self.loopback.operator().unwrap();
        fs::write(self.path("password"), operator.password.expose()).unwrap();
        let credential = "credential = { username = \"$USER\", password = { file = \"$DIR/password\" } }";
        let more = format!("{}\n{more}", credential.replace("$USER", &operator.name));
        self.account(Service::Commvault, &more).replace("provider = \"commvault\"", "provider = \"commvault-login\"")
    }

    /// Writes the inventory and starts a daemon on it.
    pub async fn start(&self, parts: &[String]) -> Daemon {
        self.write(parts);
        self.resume().await
    }

    /// The same, with more keys in `[daemon]`.
    pub async fn start_with(&self, settings: &str, parts: &[String]) -> Daemon {
        self.write_with(settings, parts);
        self.resume().await
    }

    /// Starts a daemon on the inventory that is there.
    pub async fn resume(&self) -> Daemon {
        match self.try_start().await {
            Ok(daemon) => daemon,
            Err(error) => panic!("{error}"),
        }
    }

    pub async fn try_start(&self) -> Result<Daemon, StartError> {
        self.try_start_under(Systemd::default()).await
    }

    /// The same, with a service manager.
    pub async fn try_start_under(&self, systemd: Systemd) -> Result<Daemon, StartError> {
        let (orders, taken) = mpsc::unbounded_channel();
        let (serving, served) = oneshot::channel();
        let config = self.config();
        let mut task = tokio::spawn(async move {
            let host = Host { orders: taken, systemd, follow: |_: &_| () };
            serve::host(&config, SystemClock, host, |running, front| {
                drop(serving.send((Arc::clone(running), front.clone())));
            })
            .await
        });
        tokio::select! {
            Ok((running, front)) = served => Ok(Daemon { running, front, orders, task }),
            ended = &mut task => Err(ended.unwrap().expect_err("nobody stopped it")),
        }
    }

    /// The requests for `service` that came with or after the number `from`.
    pub fn requests(&self, service: Service, from: usize) -> Vec<RequestRecord> {
        let mut requests = self.loopback.requests();
        requests.retain(|request| request.service == service && request.number >= from as u64);
        requests
    }

    /// What they asked for, in order; listings in a row count once.
    pub fn story(&self, service: Service, from: usize) -> Vec<Operation> {
        let mut story: Vec<_> =
            self.requests(service, from).into_iter().filter_map(|request| request.operation).collect();
        story.dedup_by(|a, b| a == b && *a == Operation::List);
        story
    }

    /// The story without its listings.
    pub fn changes(&self, service: Service, from: usize) -> Vec<Operation> {
        let mut story = self.story(service, from);
        story.retain(|operation| *operation != Operation::List);
        story
    }

    /// How many requests there were.
    pub fn count(&self) -> usize {
        self.loopback.requests().len()
    }

    /// Waits until the requests so far are as `are` wants them.
    pub async fn until_requests(&self, what: &str, mut are: impl FnMut(&[RequestRecord]) -> bool) {
        let mut follow = self.loopback.follow_requests();
        let ended = tokio::time::timeout(PATIENCE, async {
            while !are(&self.loopback.requests()) {
                follow.changed().await.unwrap();
            }
        });
        assert!(
            ended.await.is_ok(),
            "it never came to this: {what}; the requests were {:#?}",
            self.loopback.requests()
        );
    }

    pub fn is_live(&self, secret: &str) -> bool {
        self.loopback.ledger().is_live(secret, now())
    }

    /// The ids of the marked tokens of `service` that are alive.
    pub fn live(&self, service: Service) -> Vec<u64> {
        let live = self.loopback.ledger().live_tokens(service, now());
        live.into_iter().filter(patrold::demo::LedgerEntry::is_marked).map(|entry| entry.id).collect()
    }

    pub fn minted(&self, service: Service) -> usize {
        self.loopback.ledger().all().iter().filter(|entry| entry.service == service && entry.is_marked()).count()
    }

    /// The id of the token that has `secret`.
    pub fn id_of(&self, secret: &str) -> u64 {
        self.loopback.ledger().entry_of(secret).map(|entry| entry.id).unwrap()
    }
}

impl Daemon {
    fn token(&self, name: &str) -> Arc<Token> {
        self.running.core.tokens.get(&name_of(name)).unwrap_or_else(|| panic!("there is no token {name}"))
    }

    pub fn view(&self, token: &str) -> View {
        self.token(token).view()
    }

    /// Waits until a reload led to what `is` wants.
    pub async fn until_reload(&self, what: &str, mut is: impl FnMut(&Reload) -> bool) -> Reload {
        let mut follow = self.running.reloader.follow();
        let ended =
            tokio::time::timeout(PATIENCE, async { follow.wait_for(|reload| is(reload)).await.unwrap().clone() });
        match ended.await {
            Ok(reload) => reload,
            Err(tokio::time::error::Elapsed { .. }) => {
                panic!("no reload came to this: {what}; the last is {:#?}", self.running.reloader.last())
            }
        }
    }

    /// Waits until the view of `token` is as `is` wants it.
    pub async fn until(&self, token: &str, what: &str, mut is: impl FnMut(&View) -> bool) -> View {
        let token = self.token(token);
        let mut follow = token.follow();
        let ended = tokio::time::timeout(PATIENCE, async { follow.wait_for(|view| is(view)).await.unwrap().clone() });
        match ended.await {
            Ok(view) => view,
            Err(tokio::time::error::Elapsed { .. }) => {
                panic!("it never came to this: {what}; the token is {:#?}", token.view())
            }
        }
    }

    /// Waits until nothing is owed any more and generation `number` is current.
    pub async fn steady(&self, token: &str, number: u32) -> Current {
        let what = format!("generation {number} is current, the rest is over");
        let view = self.until(token, &what, |view| {
            let Phase::Steady { current } = &view.state.phase else { return false };
            let served = current.delivery.settled.is_some();
            view.rest.is_some() && served && current.generation.number == GenerationNo(number)
        });
        view.await.state.phase.current().unwrap().clone()
    }

    /// Waits until generation `number` or a later one is current, whatever becomes of the one before.
    pub async fn current(&self, token: &str, number: u32) -> Generation {
        let what = format!("generation {number} is current");
        let view = self.until(token, &what, |view| {
            view.state.phase.current().is_some_and(|current| current.generation.number >= GenerationNo(number))
        });
        view.await.state.phase.current().unwrap().generation.clone()
    }

    /// Waits until the next step of `token` has failed, and tells why.
    pub async fn failure(&self, token: &str) -> Failure {
        let view = self.until(token, "its next step failed", |view| view.state.retry.is_some()).await;
        view.state.retry.as_ref().unwrap().failure.clone()
    }

    pub async fn rotate(&self, token: &str) -> Answer {
        let names = [name_of(token)];
        let answers = self.running.core.rotate(&self.running.waker, &names, PATIENCE).await;
        answers.into_iter().map(|(_, answer)| answer).next().unwrap()
    }

    /// Asks for a rotation, as an operator does, and does not wait for it.
    pub async fn request(&self, token: &str) {
        let core = &self.running.core;
        let held = core.tokens.get(&name_of(token)).expect("the inventory has it");
        assert_eq!(core.begin(&held, OperatorRequest::Rotate).await, Ok(()));
        self.wake(token);
    }

    /// Lets the daemon look at `token` now.
    pub fn wake(&self, token: &str) {
        self.running.waker.wake(vec![Key::Token(name_of(token))]);
    }

    /// Stops it in good order. Whoever starts another daemon needs the lock that this one's journal holds.
    pub async fn stop(mut self) {
        self.orders.send(Order::Stop("a test")).unwrap();
        assert_eq!((&mut self.task).await.unwrap().unwrap(), Ended::Drained, "the daemon did not stop");
    }

    pub async fn reload(&self) -> Reload {
        Box::pin(self.running.reloader.reload()).await
    }
}

/// A token with one file store, named after it.
pub fn token(name: &str, service: Service, more: &str) -> String {
    bare(name, service, &format!("stores = [{{ kind = \"file\", path = \"$DIR/stores/{name}\" }}]\n{more}"))
}

/// A token without stores.
pub fn bare(name: &str, service: Service, more: &str) -> String {
    format!("[[token]]\nname = \"{name}\"\naccount = \"{service}\"\n{more}\n")
}

pub fn name_of(token: &str) -> TokenName {
    token.parse().unwrap()
}

pub fn now() -> Time {
    SystemClock.now()
}

/// Waits until `deadline`, which a test has to sit out.
pub async fn sit_out(deadline: Time) {
    while now() < deadline {
        SystemClock.wait_until(deadline).await;
    }
}

/// The names of the files below `directory`.
pub fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found
}
