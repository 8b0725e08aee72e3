//! The values that are captured from answers, and their places.

use reqwest::header::HeaderName;
use serde_json::Value;

use super::Predicate;
use crate::provider::time::Format;

/// Where in an answer a value stands.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) source: Source,
    /// It may be missing without a warning.
    pub(crate) optional: bool,
    /// The text there is base64.
    pub(crate) base64: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// JSON pointer.
    Body(String),
    Header(HeaderName),
    /// Put together from several places and fixed texts.
    Joined(Vec<Piece>),
    /// No place of the answer: the secret that the caller chose.
    Chosen,
}

#[derive(Clone, Debug)]
pub(crate) enum Piece {
    Text(String),
    Place(Place),
}

/// A moment in an answer.
#[derive(Clone, Debug)]
pub(crate) struct Moment {
    pub(crate) place: Place,
    pub(crate) format: Format,
    pub(crate) never: Vec<Never>,
    /// Values that stand for nothing known.
    pub(crate) unset: Vec<Value>,
}

/// Values that mean that a token does not expire. Null and a missing value have words of their own.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Never {
    Null,
    Absent,
    /// From the year 9999 on.
    Year9999,
    Value(Value),
}

/// Where a token's expiry comes from; of several the first that has an answer counts.
#[derive(Clone, Debug)]
pub(crate) enum ExpirySource {
    Answer(Moment),
    /// The moment of the request and the lifetime asked for.
    Asked,
    /// The claim `exp` of the secret, where that is a JSON web token.
    Jwt,
    /// Listings tell later; nothing is known before.
    List,
    /// The provider's tokens do not expire.
    Never,
}

/// What is taken out of an answer, or out of one item of a listing.
#[derive(Debug, Default)]
pub(crate) struct Captures {
    pub(crate) secret: Option<Place>,
    pub(crate) parts: Vec<(String, Place)>,
    pub(crate) id: Option<Place>,
    /// The text that carries the marker.
    pub(crate) name: Option<Place>,
    pub(crate) expires: Vec<ExpirySource>,
    pub(crate) refresh_expires: Option<Moment>,
    pub(crate) renewable_until: Option<Moment>,
    pub(crate) created: Option<Moment>,
    pub(crate) last_used: Option<Moment>,
    pub(crate) facts: Vec<(String, Place)>,
}

/// What `[list]` says besides its request.
#[derive(Debug)]
pub(crate) struct Listing {
    /// JSON pointer to the list.
    pub(crate) items: String,
    /// The list is a table: the name under which an entry gets its key.
    pub(crate) keyed: Option<String>,
    /// Null in place of the list means that there is nothing.
    pub(crate) null_is_empty: bool,
    /// No list at all means that there is nothing.
    pub(crate) absent_is_empty: bool,
    /// All must hold, or the item is another user's and does not count.
    pub(crate) keep: Vec<Predicate>,
    /// Any that holds says that the token is dead although it is listed.
    pub(crate) dead: Vec<Predicate>,
    /// An item may be missing although its token lives.
    pub(crate) leaves_out: bool,
    pub(crate) style: Style,
}

/// How a listing goes on.
#[derive(Debug)]
pub(crate) enum Style {
    /// All at once.
    Whole,
    /// A pointer to the next address, whole or relative.
    NextUrl(String),
    /// The header `Link` with `rel="next"` (RFC 8288).
    Link,
    /// Numbered pages, up to the number at `last` or to an empty one.
    Page { first: u64, last: Option<String> },
    /// Entries to skip, up to the number at `total` or to an empty page.
    Offset { total: Option<String> },
    /// An opaque word; absent, null and empty text end the list.
    Cursor(String),
}
