//! patrold keeps API tokens alive: it mints a replacement before a token expires, proves it, delivers it, tells the
//! consumers, and revokes the old one. No consumer ever holds a dead token, no secret is ever lost, and no live
//! credential is left behind that nobody knows of.
//!
//! # How data flows
//!
//! ```text
//!  patrold.toml, tokens.d/*.toml        providers/*.toml             bytes, untrusted
//!          │ document: syntax, places         │
//!          ▼                                  ▼
//!  inventory::spec ──resolve──▶ Inventory ◀── definition::Definitions meaning is right; all problems told at once
//!                                   │
//!     account: one listing per account ──▶ Listing                   what the provider says
//!     journal: one TokenState per token                              what happened, durably
//!                                   │
//!                                   ▼
//!          rotation::decide(policy, state, listing, now) ──▶ Step    what comes next, and why; nothing done yet
//!                                   │
//!          rotation::run: journal the intent, act, journal the outcome, apply, repeat
//!                                   │
//!          account: mint, verify, renew, revoke     store: files, env files     hook: tell the consumers
//! ```
//!
//! # Where to look
//!
//! | question | answer |
//! | --- | --- |
//! | What happens when the outcome of a mint is unknown? | [`rotation::orphan`] tells the whole story |
//! | When is a token due? | [`rotation::due`]: every rule, and the one that decides |
//! | Where would I add a service that secrets are written to? | a definition in `config/stores`; [`provider::slots`] says what it can say, [`store`] runs it |
//! | Where would I add a kind of store? | [`inventory::StoreKind`] names the kinds, [`store`] dispatches on them |
//! | Where would I add a kind of hook? | [`inventory::HookKind`] names the kinds, [`hook`] runs them |
//! | Where would I add a kind of condition, or a way to tell people? | [`notice::Kind`] names the kinds, [`notify::of_token`] and its like find them; a service is a file of `config/notices` |
//! | Where would I add a metric? | [`view::metrics`], from the [`report::status`] that everybody sees; its list is held against `docs/metrics.md` |
//! | Where would I add a journal? | implement [`journal::Journal`], as [`journal::sqlite`] and [`journal::memory`] do; [`journal::archive`] opens the kind that there is |
//! | Where would I add a command? | [`cli`]; one that asks a running daemon has its request in [`control`] and its answer in [`report`] |
//! | Where is a secret exposed? | [`secret::Secret::expose`] is called in the files that a test lists, `tests/it/structure.rs` |
//! | Which inventory does a command mean, and where is its journal? | [`inventory::environment`] |
//! | How is a changed inventory applied? | [`daemon::reload`], woken by [`daemon::watch`] |
//! | How does a rate limit work? | [`endpoint::limit`]: the inventory's rate, and what the provider asks for |
//!
//! # Every module, from the top down
//!
//! A module uses those below it and none above; no two files use each other in a circle. A test holds both against the
//! sources.
//!
//! | module | what it does |
//! | --- | --- |
//! | [`cli`] | commands: parse, ask the daemon or do it in this process, print |
//! | [`exit`] | what the process tells its caller when it ends |
//! | [`demo`] | a provider on loopback, with a ledger of its own, for the demo and for tests |
//! | [`exec`] | a program that runs with secrets from stores, and is told of new ones |
//! | [`trial`] | the test of a definition at a live account, with a journal of its own |
//! | [`daemon`] | the running process: start, scheduler, reloads, control socket, HTTP |
//! | [`control`] | what the command line and a running daemon say to each other; the client; who may ask |
//! | [`telemetry`] | log lines, and what to do about them |
//! | [`view`] | reports as text, HTML, SVG and metrics |
//! | [`notify`] | telling people: what is open, what a channel has still to be told, how messages leave |
//! | [`report`] | data that leaves the process: status, explanation, audit, results |
//! | [`rotation`] | the life of a token: decide, act, journal, apply |
//! | [`journal`] | what happened, durably: records, states, sealed secrets |
//! | [`store`] | where secrets go: files, documents, programs of the operator, services |
//! | [`account`] | a provider or a store at an endpoint: its operations, its listings; the pool of all accounts |
//! | [`hook`] | telling consumers of a new secret: programs, units of systemd, checks |
//! | [`endpoint`] | one address with one credential: when a request may leave, TLS, sessions, health |
//! | [`host`] | what the machine around the daemon lets it do |
//! | [`beside`] | files beside the journal: helps that may be lost |
//! | [`durable`] | safe replacement of files |
//! | [`inventory`] | what should exist: accounts and tokens, resolved from the configuration |
//! | [`notice`] | what people are told: conditions, messages, the forms that services take them in |
//! | [`definition`] | reading definitions of providers: one file, a lineage, all of them |
//! | [`provider`] | what a definition says, what a request is, what an answer means |
//! | [`timing`] | schedules, windows, spread, waits after failures |
//! | [`document`] | TOML with places, and all problems at once |
//! | [`secret`] | secrets, their sources and fingerprints, their removal from texts, random bytes |
//! | [`trust`] | the certificates by which a server may prove itself |
//! | [`process`] | programs with bounds: their time, their output, their children |
//! | [`files`] | bounded reading of files that somebody names |
//! | [`text`] | words and colours that log lines and views share |
//! | [`places`] | who may work at once: the nearest deadline first |
//! | [`event`] | the names of the log lines of the process, its accounts and its inventory |
//! | [`outcome`] | whether something happened: done, later, refused, unknown |
//! | [`names`] | identifiers with their rules |
//! | [`few`] | maps of a handful of entries, in little room |
//! | [`crash`] | what is told of a task that ended abnormally |
//! | [`clock`] | the only place that reads the time |
//!
//! # Words
//!
//! One verb means one thing: `parse` makes a spec of text, `resolve` a runtime type of a spec, `interpret` reads
//! answers, `decide` says what comes next and may refuse, `apply` makes a new state of an old one and cannot fail,
//! `render` makes a request or a text, `run` does things until there is nothing more to do. A request whose end nobody
//! knows has an *unknown outcome*; a credential that may be alive and that no phase holds is an *orphan*.
//!
//! # Invariants of the code
//!
//! 1. `document`, `timing`, `text`, `names`, `report`, `view`, `inventory`, `definition`, `provider` and `rotation` read
//!    no clock, open nothing, draw nothing at random and log nothing, but for the few files that `tests/it/purity.rs`
//!    lists: those that load files, sign requests, and run what was decided. The test reads every other file.
//! 2. Every effect of a rotation goes through [`rotation::effects::Effects`], and only [`rotation::run`] and
//!    [`rotation::act`] call it: daemon, command line and tests drive the same loop.
//! 3. Only [`journal`] writes the journal, only [`durable`] replaces files of others, only [`endpoint`] sends
//!    requests to providers.
//! 4. A [`secret::Secret`] is exposed where requests are built, stores are written, secrets are sealed, hashed,
//!    compared and removed from texts. A test lists the files.
//! 5. A provider definition can name paths, headers and fields. It cannot run code, reach another host, or place a
//!    secret in a URL.
//! 6. Nothing waits for two tokens, and nothing of one account waits for another account.
//! 7. What is absent: global state, retries inside the HTTP client, sleeps outside of the scheduler's clock.
//!
//! # Logging
//!
//! A failure is logged once, where it is handled: in `daemon`. A line reads alone, begins in lower case without a full
//! stop, carries its token or account as a field, and says what to do where somebody has to do something. `error`: an
//! operator should look; `warn`: patrold helps itself; `info`: a step of a rotation, a reload; `debug`: more of the same.

// What everybody speaks of.
pub mod clock;
pub mod crash;
pub mod event;
pub mod few;
pub mod files;
pub mod names;
pub mod outcome;
pub mod places;
pub mod secret;
pub mod text;
pub mod trust;

// What should exist.
pub mod definition;
pub mod document;
pub mod inventory;
pub mod notice;
pub mod provider;
pub mod timing;

// What exists, what happened, what comes next.
pub mod account;
pub mod endpoint;
pub mod journal;
pub mod rotation;
pub mod trial;

// Where secrets go.
pub mod beside;
pub mod durable;
pub mod hook;
pub mod host;
pub mod process;
pub mod store;

// The process, and how people talk to it.
pub mod cli;
pub mod control;
pub mod daemon;
pub mod demo;
pub mod exec;
pub mod exit;
pub mod notify;
pub mod report;
pub mod telemetry;
pub mod view;

// What must hold of hostile input, for tests and fuzz targets.
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
