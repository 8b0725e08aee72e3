//! What people are told: conditions that open, worsen and close, the messages about them, and the forms that services take
//! them in.
//!
//! A [`Condition`] is a state that somebody should know of, named by its [`ConditionKey`]; it is no event, so nothing is
//! lost where several changes go into one message, or none could be sent for a while. A [`Message`] is all that a form's
//! templates see. No type of this module holds a secret of a token: no template can tell one.
//!
//! A [`Form`] is data: what a service takes, in the vocabulary of provider definitions. Those of `config/notices` are
//! compiled in.

mod builtin;
mod condition;
mod form;
mod message;
mod reading;

pub use builtin::{get, names};
pub use condition::{Condition, ConditionKey, Conditions, Kind, Severity, Turn};
pub use form::{Each, Filling, Form};
pub use message::{Entry, Message, Source};
pub use reading::{parse, read_own};
