//! Telling people: which conditions are open, what a channel still has to be told, and how its messages leave.
//!
//! Law: a channel is told of states, not of events. What it was told is written down ([`Book`]); what is the matter now is
//! read off the status (`find`); the difference is the next message (`decide`). So nothing is told twice, also after
//! a restart, a closure that was missed is told later, and a channel that fails for a day then tells how things are.

mod book;
mod decide;
mod find;
mod send;
mod smtp;

pub use book::{Book, Told, Trouble};
pub use decide::{Decision, decide};
pub use find::{of_account, of_channel, of_process, of_token};
pub use send::{Sender, Sent};
