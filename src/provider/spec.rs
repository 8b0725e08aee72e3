//! The elements of a definition: what its tables say, with names bound and templates compiled.

use std::collections::BTreeMap;
use std::sync::Arc;

use reqwest::Method;
use reqwest::header::HeaderName;
use serde_json::Value;

use super::template::{Name, Template};
use super::time::Format;
use super::{OnTimeout, Role};
use crate::clock::Span;
use crate::outcome::FailureCode;

/// `[auth]`: how a secret proves who somebody is.
#[derive(Debug, Default)]
pub(super) struct Auth {
    pub(super) forms: BTreeMap<String, Form>,
    /// Says which form the account's credential takes; `None`: there is but one.
    pub(super) account: Option<Template>,
    /// Says which form the token itself takes.
    pub(super) subject: Option<Template>,
}

/// `[auth.form.NAME]`.
#[derive(Debug)]
pub(super) enum Form {
    /// User name and secret, as RFC 7617 has it.
    Basic,
    Headers(Vec<(HeaderName, Template)>),
    /// Headers that may name a JSON web token, which the secret, an RSA key, signs for each request.
    Signed {
        claims: Claims,
        headers: Vec<(HeaderName, Template)>,
    },
}

impl Form {
    pub(super) fn headers(&self) -> &[(HeaderName, Template)] {
        match self {
            Self::Basic => &[],
            Self::Headers(headers) | Self::Signed { headers, .. } => headers,
        }
    }
}

/// What a signed token claims.
#[derive(Debug)]
pub(super) struct Claims {
    /// Besides `iat` and `exp`.
    pub(super) given: Vec<(String, Template)>,
    /// From `now` to `exp`.
    pub(super) ttl: Span,
    /// How long before `now` it is dated, for providers whose clock is behind.
    pub(super) backdate: Span,
}

/// `[lifetime]`.
#[derive(Clone, Debug, Default)]
pub(super) struct Lifetime {
    /// What is asked for where the inventory is silent.
    pub(super) default: Option<Span>,
    /// Lifetimes are whole multiples of this, rounded down, at least one.
    pub(super) round: Option<Span>,
    /// What is asked for in place of anything shorter.
    pub(super) min: Option<Span>,
    /// What is asked for in place of anything longer.
    pub(super) max: Option<Span>,
    /// The only lifetimes there are, each with the provider's word for it, shortest first.
    pub(super) ladder: Vec<(String, Span)>,
}

impl Lifetime {
    /// The lifetime that a request really asks for.
    pub(super) fn of(&self, wanted: Option<Span>) -> Option<Span> {
        let wanted = wanted.or(self.default)?;
        let wanted = self.min.map_or(wanted, |min| wanted.max(min));
        let wanted = self.max.map_or(wanted, |max| wanted.min(max));
        if let Some((_, step)) = self.step(wanted) {
            return Some(*step);
        }
        let Some(unit) = self.round.map(|unit| unit.num_seconds()) else { return Some(wanted) };
        let units = (wanted.num_seconds() / unit).max(1);
        Some(units.checked_mul(unit).and_then(Span::try_seconds).unwrap_or(wanted))
    }

    /// The longest step of the ladder that is not longer than `wanted`, else the shortest of all.
    pub(super) fn step(&self, wanted: Span) -> Option<&(String, Span)> {
        self.ladder.iter().rev().find(|(_, step)| *step <= wanted).or_else(|| self.ladder.first())
    }
}

/// `[answer]`: what holds for the answers to every operation.
#[derive(Debug, Default)]
pub(super) struct Answers {
    /// Must hold for an answer to count as success.
    pub(super) expect: Vec<Predicate>,
    /// JSON pointers to a text for people, best first.
    pub(super) message: Vec<String>,
    /// Exceptions to the usual meaning of failures; the first that fits counts.
    pub(super) classify: Vec<Exception>,
    /// How the provider says that there were too many requests.
    pub(super) limit: Limit,
}

/// `[answer.limit]`.
#[derive(Debug, Default)]
pub(super) struct Limit {
    /// Header that tells when requests are welcome again, where there is no `Retry-After`.
    pub(super) reset: Option<(HeaderName, ResetUnit)>,
    /// Header with the number of requests that are left.
    pub(super) remaining: Option<HeaderName>,
    /// Statuses besides 429 that mean it, if none are left or `Retry-After` is there.
    pub(super) statuses: Vec<u16>,
}

/// What a reset header counts.
#[derive(Clone, Copy, Debug)]
pub(super) enum ResetUnit {
    /// Seconds since 1970.
    Epoch,
    /// Seconds from now on, perhaps with a fraction.
    Delta,
}

impl Answers {
    /// Every template that answers are compared with.
    pub(super) fn templates(&self) -> Vec<&Template> {
        let exceptions = self.classify.iter().filter_map(|exception| exception.predicate.as_ref());
        self.expect.iter().chain(exceptions).flat_map(Predicate::templates).collect()
    }
}

/// A failure that means something else than its status says.
#[derive(Debug)]
pub(super) struct Exception {
    pub(super) status: Option<u16>,
    pub(super) predicate: Option<Predicate>,
    pub(super) code: FailureCode,
}

/// `[mint]`, `[list]`, `[verify]`, `[renew]`, `[revoke]`.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) role: Role,
    pub(super) method: Method,
    pub(super) url: Template,
    pub(super) query: Vec<(String, Template)>,
    pub(super) headers: Vec<(HeaderName, Template)>,
    pub(super) body: Body,
    /// Empty: any 2xx.
    pub(super) ok: Vec<u16>,
    /// Revoke: the token is gone already.
    pub(super) gone_ok: Vec<u16>,
    /// Must hold for an answer of `gone_ok` to mean it.
    pub(super) gone_expect: Vec<Predicate>,
    pub(super) expect: Vec<Predicate>,
    /// Exceptions that go before those of `[answer]`.
    pub(super) classify: Vec<Exception>,
    /// Must hold for a new token to be the one that was meant.
    pub(super) matches: Vec<Predicate>,
    pub(super) capture: Captures,
    pub(super) listing: Option<Listing>,
    pub(super) on_timeout: OnTimeout,
    /// Mint: how long a lost one may still appear. Verify: how long to wait before it.
    pub(super) settle: Option<Span>,
    /// Login: when one that failed may be tried again, where the answer tells.
    pub(super) retry_at: Option<Moment>,
    /// Renew: how long before the expiry.
    pub(super) lead: Option<Span>,
    /// Renew: the old secret goes on working.
    pub(super) overlap: bool,
    /// Revoke: what is to be asked for before, in this order.
    pub(super) before: Vec<Arc<Call>>,
}

impl Call {
    /// Every template of the request itself.
    pub(super) fn request_templates(&self) -> Vec<&Template> {
        let mut all = vec![&self.url];
        all.extend(self.before.iter().flat_map(|call| call.request_templates()));
        all.extend(self.query.iter().map(|(_, template)| template));
        all.extend(self.headers.iter().map(|(_, template)| template));
        match &self.body {
            Body::None => {}
            Body::Json(tree) | Body::Graphql { variables: tree, .. } => tree.templates(&mut all),
            Body::Form(fields) => all.extend(fields.iter().map(|(_, template)| template)),
        }
        all
    }

    /// Every template that the answer is compared with.
    pub(super) fn answer_templates(&self) -> Vec<&Template> {
        let listing = self.listing.iter().flat_map(|listing| listing.keep.iter().chain(&listing.dead));
        let predicates = self.expect.iter().chain(&self.matches).chain(&self.gone_expect).chain(listing);
        predicates.flat_map(Predicate::templates).collect()
    }

    /// Whether the request says `name`.
    pub(super) fn says(&self, wanted: impl Fn(&Name) -> bool) -> bool {
        self.request_templates().into_iter().flat_map(Template::names).any(wanted)
    }
}

/// What a request carries.
#[derive(Debug)]
pub(super) enum Body {
    None,
    Json(Tree),
    Form(Vec<(String, Template)>),
    /// The document is fixed text: values go through its variables alone.
    Graphql {
        query: String,
        variables: Tree,
    },
}

/// A JSON value whose texts are templates.
#[derive(Debug)]
pub(super) enum Tree {
    Fixed(Value),
    Template(Template),
    List(Vec<Tree>),
    Table(Vec<(String, Tree)>),
}

impl Tree {
    pub(super) fn templates<'a>(&'a self, all: &mut Vec<&'a Template>) {
        match self {
            Self::Fixed(_) => {}
            Self::Template(template) => all.push(template),
            Self::List(items) => items.iter().for_each(|item| item.templates(all)),
            Self::Table(entries) => entries.iter().for_each(|(_, value)| value.templates(all)),
        }
    }
}

/// What must hold of a value of an answer.
#[derive(Debug)]
pub(super) struct Predicate {
    /// JSON pointer, RFC 6901.
    pub(super) at: String,
    pub(super) test: Test,
    /// A missing value or null will do as well.
    pub(super) or_absent: bool,
    /// What it means when it does not hold.
    pub(super) otherwise: FailureCode,
}

impl Predicate {
    fn templates(&self) -> Vec<&Template> {
        let mut all = Vec::new();
        if let Test::Equals(tree) | Test::NotEquals(tree) | Test::OneOf(tree) = &self.test {
            tree.templates(&mut all);
        }
        all
    }
}

#[derive(Debug)]
pub(super) enum Test {
    Equals(Tree),
    /// Also holds where the value is missing.
    NotEquals(Tree),
    OneOf(Tree),
    /// There and not null.
    Present,
    /// Missing or null.
    Absent,
    /// Missing, null, or a list, table or text without content.
    Empty,
    /// The opposite of `Empty`.
    NonEmpty,
}

/// Where in an answer a value stands.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) source: Source,
    /// It may be missing without a warning.
    pub(super) optional: bool,
    /// The text there is base64.
    pub(super) base64: bool,
}

#[derive(Clone, Debug)]
pub(super) enum Source {
    /// JSON pointer.
    Body(String),
    Header(HeaderName),
    /// Put together from several places and fixed texts.
    Joined(Vec<Piece>),
}

#[derive(Clone, Debug)]
pub(super) enum Piece {
    Text(String),
    Place(Place),
}

/// A moment in an answer.
#[derive(Clone, Debug)]
pub(super) struct Moment {
    pub(super) place: Place,
    pub(super) format: Format,
    pub(super) never: Vec<Never>,
    /// Values that stand for nothing known.
    pub(super) unset: Vec<Value>,
}

/// Values that mean that a token does not expire. Null and a missing value have words of their own.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Never {
    Null,
    Absent,
    /// From the year 9999 on.
    Year9999,
    Value(Value),
}

/// Where a token's expiry comes from; of several the first that has an answer counts.
#[derive(Clone, Debug)]
pub(super) enum ExpirySource {
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
pub(super) struct Captures {
    pub(super) secret: Option<Place>,
    pub(super) parts: Vec<(String, Place)>,
    pub(super) id: Option<Place>,
    /// The text that carries the marker.
    pub(super) name: Option<Place>,
    pub(super) expires: Vec<ExpirySource>,
    pub(super) refresh_expires: Option<Moment>,
    pub(super) renewable_until: Option<Moment>,
    pub(super) created: Option<Moment>,
    pub(super) last_used: Option<Moment>,
    pub(super) facts: Vec<(String, Place)>,
}

/// What `[list]` says besides its request.
#[derive(Debug)]
pub(super) struct Listing {
    /// JSON pointer to the list.
    pub(super) items: String,
    /// Null in place of the list means that there is nothing.
    pub(super) null_is_empty: bool,
    /// No list at all means that there is nothing.
    pub(super) absent_is_empty: bool,
    /// All must hold, or the item is another user's and does not count.
    pub(super) keep: Vec<Predicate>,
    /// Any that holds says that the token is dead although it is listed.
    pub(super) dead: Vec<Predicate>,
    pub(super) style: Style,
}

/// How a listing goes on.
#[derive(Debug)]
pub(super) enum Style {
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
