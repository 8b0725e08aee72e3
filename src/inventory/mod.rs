//! What should exist: the inventory after every name was resolved and every default filled in.
//!
//! Runtime types only. They derive no `Deserialize`; the files' own shape lives in `spec`, and `resolve` is the only
//! bridge between the two.

mod agent;
pub mod defaults;
pub mod diff;
mod endpoint;
pub mod environment;
mod fleet;
mod format;
mod hook;
mod host_hook;
pub mod initial;
mod listen;
mod load;
mod load_agent;
mod notify;
pub mod origin;
mod owners;
mod resolve;
mod selected;
mod spec;
mod store;
mod template;
mod values;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Span, Time};
use crate::names::{AccountName, ChannelName, RemoteId, TokenName};
use crate::provider::{Params, Provider};
use crate::secret::SecretSource;
use crate::timing::cron::Schedule;
use crate::timing::window::Window;

pub use agent::{AgentSettings, PathPattern};
pub use endpoint::{ConnectTo, Credential, EndpointPolicy, ProxyPolicy, RateLimit, SitePolicy, Timeouts};
pub use environment::Environment;
pub use fleet::{Database, EngineKind, EnginePlace, EngineSettings, FleetSettings, Server, ServerHost};
pub use format::{CredentialAddress, Dialect, Format, IniReader, Pointer, Syntax, Wrap, XmlPath, XmlStep};
pub use hook::{
    CallPolicy, CheckPolicy, HookKind, HookPolicy, OnFailure, Pace, RolloutPolicy, RunPolicy, SignalPolicy,
    SignalTarget, UnitAction, UnitPolicy, Workload, full_unit_name,
};
pub use host_hook::{HostHook, HostProcess};
pub use listen::{Listen, ListenAuth, ListenTls};
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use load::interpret_text;
pub use load::{Loaded, load, load_edited, load_text};
pub use load_agent::load_agent;
pub use notify::{ChannelPolicy, Encryption, MailPolicy, MailServer, NoticeCommand, Post, Via, WebPolicy, When};
pub use selected::{HostSelector, KnownHosts, Selected, SelectedHook, SelectedStore};
pub use store::{
    CommandPolicy, DATA_LINK, DirectoryFile, DirectoryPolicy, Existing, FilePolicy, HostFile, HostedPolicy, OnDrift,
    OnLeave, RemotePolicy, StoreKind, StorePolicy,
};
pub use template::{Fault, Member, Piece, Quoting, Template, TemplateSlot};
pub use values::{is_loopback, is_name_of_loopback};

/// Everything that the files ask for.
#[derive(Clone, Debug, PartialEq)]
pub struct Inventory {
    /// Settings of the process.
    pub daemon: DaemonSettings,
    /// The fleet that this process is a replica of; `None`: it is alone.
    pub fleet: Option<FleetSettings>,
    /// Accounts by name.
    pub accounts: BTreeMap<AccountName, Arc<AccountPolicy>>,
    /// Tokens by name.
    pub tokens: BTreeMap<TokenName, Arc<TokenPolicy>>,
    /// Ways to tell people, by name.
    pub channels: BTreeMap<ChannelName, Arc<ChannelPolicy>>,
}

impl Inventory {
    /// Everything secret that the inventory refers to, except for tokens that accounts authenticate with.
    pub fn secret_sources(&self) -> impl Iterator<Item = &SecretSource> {
        let engine = self.fleet.iter().filter_map(|fleet| fleet.engine.login.as_ref()).map(|(_, password)| password);
        let next = self.fleet.iter().filter_map(|fleet| fleet.next_seal_key.as_ref());
        self.daemon.seal_key.iter().chain(next).chain(engine).chain(self.credential_sources())
    }

    /// The same without the key of the journal: what is read again while the daemon runs.
    pub fn credential_sources(&self) -> impl Iterator<Item = &SecretSource> {
        let listen = self.daemon.listen.iter().flat_map(Listen::secrets);
        let accounts = self.accounts.values().flat_map(|account| account.endpoint.secrets());
        let initial = self.tokens.values().filter_map(|token| token.initial.as_ref());
        let initial = initial.flat_map(|initial| initial.source.iter().chain(initial.parts.values()));
        let channels = self.channels.values().flat_map(|channel| channel.secrets());
        let hooks = self.tokens.values().flat_map(|token| &token.hooks).flat_map(HookPolicy::secrets);
        listen.chain(accounts).chain(initial).chain(channels).chain(hooks)
    }
}

/// The number of the user `name` of this machine, who may be named by his number. Blocks.
pub fn number_of_user(name: &str) -> Option<u32> {
    owners::Owners::of_machine().user(name)
}

/// The number of the group `name` of this machine, which may be named by its number. Blocks.
pub fn number_of_group(name: &str) -> Option<u32> {
    owners::Owners::of_machine().group(name)
}

/// `[daemon]`.
#[derive(Clone, Debug, PartialEq)]
pub struct DaemonSettings {
    /// Where the journal lives.
    pub state_dir: PathBuf,
    /// The inventory or the service manager names it; else it depends on who asks.
    pub state_dir_named: bool,
    /// The control socket.
    pub control: PathBuf,
    /// Where health, metrics and the status page are served; `None`: nowhere.
    pub listen: Option<Listen>,
    /// `error`, `warn`, `info`, `debug`, `trace`, or tracing's directives.
    pub log_level: String,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Where the key that seals secrets comes from; `None`: the one made in the state directory.
    pub seal_key: Option<SecretSource>,
    /// Directory of the operator's own provider definitions.
    pub providers: Option<PathBuf>,
    /// How long a stop waits for steps under way.
    pub drain_timeout: Duration,
    /// What becomes of tokens that exist already when the journal is new.
    pub new_journal: NewJournal,
}

/// What becomes of tokens that exist already when the journal is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewJournal {
    /// They are held back until an operator says what to do.
    Hold,
    /// They are minted all the same.
    Mint,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Pretty on a terminal, JSON otherwise.
    Auto,
    Pretty,
    Json,
}

/// One `[account.NAME]`.
#[derive(Clone, Debug, PartialEq)]
pub struct AccountPolicy {
    pub name: AccountName,
    /// The definition, with operations that the operator supplied merged in.
    pub provider: Arc<Provider>,
    /// Where its requests go, and how.
    pub endpoint: EndpointPolicy,
    /// Parameters shared by every token of the account.
    pub params: Params,
    /// How often the provider is asked what it knows of the account's tokens.
    pub poll_every: Span,
    /// How long the token of a mint of unknown outcome may still appear in a listing.
    pub settle: Span,
}

/// One `[[token]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenPolicy {
    pub name: TokenName,
    pub account: Arc<AccountPolicy>,
    /// The lifetime to ask for, where the provider lets the caller choose.
    pub lifetime: Option<Span>,
    pub renew_before: RenewBefore,
    /// Rotate by age.
    pub rotate_every: Option<Span>,
    /// Rotate at these times.
    pub schedule: Option<Schedule>,
    /// Begin rotations inside this window only.
    pub window: Option<Window>,
    /// How long the old generation stays valid after the handover.
    pub grace: Span,
    /// Nobody wrote it down: it is never more than a third of the life that the provider gives.
    pub grace_by_default: bool,
    /// How long a revocation may be put off while the provider still sees the old generation in use.
    pub grace_cap: Span,
    /// Due times are spread over this much, earlier, by the token's name.
    pub jitter: Span,
    /// How long a new token may take until the provider accepts it.
    pub verify_timeout: Span,
    /// How often stores are compared with what was delivered.
    pub drift_every: Span,
    /// The account's parameters overlaid with the token's own.
    pub params: Params,
    /// No rotation is begun while this holds; one that is under way is finished.
    pub paused: bool,
    /// A secret to adopt as generation 0.
    pub initial: Option<Box<Initial>>,
    pub stores: Vec<StorePolicy>,
    pub hooks: Vec<HookPolicy>,
    /// Stores and hooks of hosts that the inventory does not name. `None`: there are none.
    pub selected: Option<Box<Selected>>,
}

impl TokenPolicy {
    /// The policy of a token that left the inventory: what its account needs to take back or retire what is left of it,
    /// no stores and no hooks.
    pub fn leftover(name: TokenName, account: Arc<AccountPolicy>, params: Params) -> Self {
        Self {
            name,
            account,
            lifetime: None,
            renew_before: defaults::RENEW_BEFORE,
            rotate_every: None,
            schedule: None,
            window: None,
            grace: defaults::GRACE,
            grace_by_default: true,
            grace_cap: defaults::GRACE_CAP,
            jitter: defaults::JITTER,
            verify_timeout: defaults::VERIFY_TIMEOUT,
            drift_every: defaults::DRIFT_EVERY,
            params,
            paused: true,
            initial: None,
            stores: Vec::new(),
            hooks: Vec::new(),
            selected: None,
        }
    }
}

/// How long before its expiry a token is due.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RenewBefore {
    Span(Span),
    /// A share of the real lifetime, between 0 and 1.
    Share(f64),
}

/// A token that exists already, to adopt.
#[derive(Clone, Debug, PartialEq)]
pub struct Initial {
    /// Its secret. `None` only where tokens are watched and nobody needs it.
    pub source: Option<SecretSource>,
    /// Further parts of the secret, such as a refresh token, by name.
    pub parts: BTreeMap<String, SecretSource>,
    /// The provider's id of that token, without which it cannot be revoked later.
    pub id: Option<RemoteId>,
    /// What the provider lists it as, where the id is not known.
    pub name: Option<String>,
    /// When it expires, where nobody else can tell.
    pub expires: Option<Time>,
}
