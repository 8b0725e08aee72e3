//! patrold keeps API tokens alive: it mints a replacement before a token expires, proves it, delivers it, tells the
//! consumers, and revokes the old one. No consumer ever holds a dead token, no secret is ever lost, and no live
//! credential is left behind that nobody knows of.
//!
//! # The map, in the order in which data flows
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
//! Beside this stands [`trial`], the test of a definition at a live account: the same `account`, and a journal of its own.
//!
//! # Words
//!
//! One verb means one thing: `parse` makes a spec of text, `resolve` a runtime type of a spec, `decide` says what comes
//! next and may refuse, `apply` makes a new state of an old one and cannot fail, `render` makes a request or a text,
//! `run` does things until there is nothing more to do.
//!
//! # Invariants of the code
//!
//! 1. `document`, `inventory::resolve`, `timing`, `rotation::{decide, apply, due}`, the readers in `definition`, the
//!    interpreter in `provider` and `view` read no clock, open nothing, draw nothing at random and log nothing. A test
//!    reads their sources to keep it so.
//! 2. Every effect of a rotation goes through [`rotation::effects::Effects`], and only [`rotation::run`] calls it: daemon,
//!    command line and tests drive the same loop.
//! 3. Only [`journal`] writes the journal, only [`durable`] renames files, only [`account`] speaks to providers.
//! 4. A [`secret::Secret`] is exposed where requests are built, stores are written, secrets are sealed and fingerprints
//!    are made, and nowhere else.
//! 5. A provider definition can name paths, headers and fields. It cannot run code, reach another host, or place a secret
//!    in a URL.
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
pub mod files;
pub mod names;
pub mod outcome;
pub mod secret;
pub mod text;
pub mod trust;

// What should exist.
pub mod definition;
pub mod document;
pub mod inventory;
pub mod provider;
pub mod timing;

// What exists, what happened, what comes next.
pub mod account;
pub mod journal;
pub mod rotation;
pub mod trial;

// Where secrets go.
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
pub mod exit;
pub mod report;
pub mod telemetry;
pub mod view;

// What must hold of hostile input, for tests and fuzz targets.
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
