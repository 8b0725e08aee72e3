//! The whole daemon in one process, against the loopback provider that misbehaves on order: real HTTP, a real journal,
//! real files.

mod accounts;
mod clock;
mod commvault;
mod crash;
mod definitions;
mod evidence;
mod hooks;
mod http;
mod issue;
mod journal;
mod limits;
mod mail;
mod mints;
mod night;
mod notify;
mod once;
mod operator;
mod outage;
mod ownership;
mod ready;
mod reload;
mod remote;
mod renewing;
mod retire;
mod room;
mod secrets;
mod small_hours;
mod stores;
mod storm;
mod told;
mod trust;
mod vendors;
mod waiting;
mod watchdog;
mod watching;
pub(crate) mod world;
