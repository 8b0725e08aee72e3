//! The elements of a definition: what its tables say, with names bound and templates compiled.

mod captures;
mod slots;

use std::collections::BTreeMap;
use std::sync::Arc;

use reqwest::Method;
use reqwest::header::HeaderName;
use serde_json::Value;

pub(crate) use slots::{Condition, Refused, Shows, SlotCall, TablePlace, ValueRule, ValueRules, Version};
pub use slots::{Pace, StoreRules};

pub(crate) use captures::{Captures, ExpirySource, Listing, Moment, Never, Piece, Place, Source, Style};

use super::naming::Naming;
pub(crate) use super::template::{Document, Entry, Slots};
use super::template::{Name, Scope, Template};
use super::{OnTimeout, Role};
use crate::clock::Span;
use crate::outcome::FailureCode;

/// `[auth]`: how a secret proves who somebody is.
#[derive(Debug, Default)]
pub(crate) struct Auth {
    pub(crate) forms: BTreeMap<String, Form>,
    /// Says which form the account's credential takes; `None`: there is but one.
    pub(crate) account: Option<Template>,
    /// Says which form the token itself takes.
    pub(crate) subject: Option<Template>,
}

/// `[auth.form.NAME]`.
#[derive(Debug)]
pub(crate) enum Form {
    /// User name and secret, as RFC 7617 has it.
    Basic,
    Headers(Vec<(HeaderName, Template)>),
    /// A signature of Amazon Web Services: the user name is the id of the key.
    AwsV4 {
        service: Template,
        region: Template,
    },
    /// Headers that may name a JSON web token, which the secret, a private key, signs for each request.
    Signed {
        claims: Claims,
        headers: Vec<(HeaderName, Template)>,
    },
}

impl Form {
    pub(crate) fn headers(&self) -> &[(HeaderName, Template)] {
        match self {
            Self::Basic | Self::AwsV4 { .. } => &[],
            Self::Headers(headers) | Self::Signed { headers, .. } => headers,
        }
    }
}

/// What a signed token claims.
#[derive(Debug)]
pub(crate) struct Claims {
    /// Besides `iat` and `exp`.
    pub(crate) given: Vec<(String, Template)>,
    /// From `now` to `exp`.
    pub(crate) ttl: Span,
    /// How long before `now` it is dated, for providers whose clock is behind.
    pub(crate) backdate: Span,
}

/// `[answer]`: what holds for the answers to every operation.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    /// Must hold for an answer to count as success.
    pub(crate) expect: Vec<Predicate>,
    /// JSON pointers to a text for people, best first.
    pub(crate) message: Vec<String>,
    /// Exceptions to the usual meaning of failures; the first that fits counts.
    pub(crate) classify: Vec<Exception>,
    /// How the provider says that there were too many requests.
    pub(crate) limit: Limit,
}

/// `[answer.limit]`.
#[derive(Clone, Debug, Default)]
pub struct Limit {
    /// Header that tells when requests are welcome again, where there is no `Retry-After`.
    pub(crate) reset: Option<(HeaderName, ResetUnit)>,
    /// Header with the number of requests that are left.
    pub(crate) remaining: Option<HeaderName>,
    /// Statuses besides 429 that mean it, if none are left or `Retry-After` is there.
    pub(crate) statuses: Vec<u16>,
}

/// What a reset header counts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ResetUnit {
    /// Seconds since 1970.
    Epoch,
    /// Seconds from now on, perhaps with a fraction.
    Delta,
}

impl Answers {
    /// Every template that answers are compared with.
    pub(crate) fn templates(&self) -> Vec<&Template> {
        let exceptions = self.classify.iter().filter_map(|exception| exception.predicate.as_ref());
        self.expect.iter().chain(exceptions).flat_map(Predicate::templates).collect()
    }
}

/// A failure that means something else than its status says.
#[derive(Debug)]
pub(crate) struct Exception {
    pub(crate) status: Option<u16>,
    pub(crate) predicate: Option<Predicate>,
    pub(crate) code: FailureCode,
}

/// `[mint]`, `[list]`, `[verify]`, `[renew]`, `[revoke]`.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) role: Role,
    pub(crate) method: Method,
    pub(crate) url: Template,
    pub(crate) query: Vec<(String, Template)>,
    pub(crate) headers: Vec<(HeaderName, Template)>,
    pub(crate) body: Body,
    /// How the answer is written.
    pub(crate) format: AnswerFormat,
    /// Empty: any 2xx.
    pub(crate) ok: Vec<u16>,
    /// Revoke: the token is gone already.
    pub(crate) gone_ok: Vec<u16>,
    /// Must hold for an answer of `gone_ok` to mean it.
    pub(crate) gone_expect: Vec<Predicate>,
    pub(crate) expect: Vec<Predicate>,
    /// Exceptions that go before those of `[answer]`.
    pub(crate) classify: Vec<Exception>,
    /// Mint: which names are taken.
    pub(crate) naming: Naming,
    /// Must hold for a new token to be the one that was meant.
    pub(crate) matches: Vec<Predicate>,
    pub(crate) capture: Captures,
    pub(crate) listing: Option<Listing>,
    pub(crate) on_timeout: OnTimeout,
    /// Mint: how long after an unknown outcome the token may still appear in a listing. Verify: how long to wait before it.
    pub(crate) settle: Option<Span>,
    /// Login: when one that failed may be tried again, where the answer tells.
    pub(crate) retry_at: Option<Moment>,
    /// Renew: how long before the expiry.
    pub(crate) lead: Option<Span>,
    /// Renew: the old secret goes on working.
    pub(crate) overlap: bool,
    /// Revoke: what is to be asked for before, in this order.
    pub(crate) before: Vec<Arc<Call>>,
    /// Mint: what is to be asked for afterwards, in this order; the last one tells the secret.
    pub(crate) then: Vec<Arc<Call>>,
    /// Operations of stores: how a target is told from its answer.
    pub(crate) slots: SlotCall,
}

impl Call {
    /// A call that says no more than where it goes and what it carries.
    pub(crate) fn new(role: Role, method: Method, url: Template, body: Body) -> Self {
        Self {
            role,
            method,
            url,
            body,
            query: Vec::new(),
            headers: Vec::new(),
            format: AnswerFormat::Json,
            ok: Vec::new(),
            gone_ok: Vec::new(),
            gone_expect: Vec::new(),
            expect: Vec::new(),
            classify: Vec::new(),
            naming: Naming::default(),
            matches: Vec::new(),
            capture: Captures::default(),
            listing: None,
            on_timeout: OnTimeout::Retry,
            settle: None,
            retry_at: None,
            lead: None,
            overlap: false,
            before: Vec::new(),
            then: Vec::new(),
            slots: SlotCall::default(),
        }
    }

    /// Every template of the request itself.
    pub(crate) fn request_templates(&self) -> Vec<&Template> {
        let mut all = vec![&self.url];
        all.extend(self.before.iter().chain(&self.then).flat_map(|call| call.request_templates()));
        all.extend(self.query.iter().map(|(_, template)| template));
        all.extend(self.headers.iter().map(|(_, template)| template));
        match &self.body {
            Body::None => {}
            Body::Json(tree) | Body::Graphql { variables: tree, .. } => tree.templates(&mut all),
            Body::Form(fields) => all.extend(fields.iter().map(|(_, template)| template)),
            Body::Text(template) => all.push(template),
        }
        all
    }

    /// Every template that the answer is compared with.
    pub(crate) fn answer_templates(&self) -> Vec<&Template> {
        let listing = self.listing.iter().flat_map(|listing| listing.keep.iter().chain(&listing.dead));
        let predicates = self.expect.iter().chain(&self.matches).chain(&self.gone_expect).chain(listing);
        let predicates = predicates.chain(self.slots.predicates());
        predicates.flat_map(Predicate::templates).collect()
    }

    /// What is taken out of its answers, of all of its requests.
    pub(crate) fn all_captures(&self) -> impl Iterator<Item = &Captures> {
        std::iter::once(&self.capture).chain(self.then.iter().map(|call| &call.capture))
    }

    /// Whether the request says `name`.
    pub(crate) fn says(&self, wanted: impl Fn(&Name) -> bool) -> bool {
        self.request_templates().into_iter().flat_map(Template::names).any(wanted)
    }
}

/// How answers are written. Also the words of `format`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum AnswerFormat {
    #[default]
    Json,
    /// Elements are tables, elements without elements are texts, elements of one name are a list.
    Xml,
}

/// `[discover.NAME]`: where the API shows the values that a parameter may have.
#[derive(Debug)]
pub(crate) struct Discovery {
    pub(crate) call: Arc<Call>,
    /// JSON pointer to the list of them; `None`: the answer tells of one.
    pub(crate) items: Option<String>,
    /// JSON pointer to the value within an item.
    pub(crate) value: String,
    /// JSON pointer to what people call it.
    pub(crate) label: Option<String>,
}

/// What a request carries.
#[derive(Debug)]
pub(crate) enum Body {
    None,
    Json(Tree),
    Form(Vec<(String, Template)>),
    /// The document is fixed text: values go through its variables alone.
    Graphql {
        query: String,
        variables: Tree,
    },
    /// The text alone.
    Text(Template),
}

/// A JSON value whose texts are templates.
#[derive(Debug)]
pub(crate) enum Tree {
    Fixed(Value),
    Template(Template),
    List(Vec<Tree>),
    Table(Vec<(String, Tree)>),
    /// What a target is to hold.
    Document(Document),
}

impl Tree {
    /// Its value; `None` of a template without a value, whose key is then dropped.
    pub(crate) fn value(&self, scope: &dyn Scope) -> Result<Option<Value>, String> {
        Ok(match self {
            Self::Fixed(value) => Some(value.clone()),
            Self::Template(template) => Some(template.value(scope)?).filter(|value| !value.is_null()),
            Self::List(items) => {
                let items: Result<Vec<_>, _> = items.iter().map(|item| item.value(scope)).collect();
                Some(items?.into_iter().flatten().collect())
            }
            Self::Table(entries) => {
                let mut table = serde_json::Map::new();
                for (key, value) in entries {
                    table.extend(value.value(scope)?.map(|value| (key.clone(), value)));
                }
                Some(Value::Object(table))
            }
            Self::Document(document) => Some(scope.document(document)?),
        })
    }

    pub(crate) fn templates<'a>(&'a self, all: &mut Vec<&'a Template>) {
        match self {
            Self::Fixed(_) | Self::Document(_) => {}
            Self::Template(template) => all.push(template),
            Self::List(items) => items.iter().for_each(|item| item.templates(all)),
            Self::Table(entries) => entries.iter().for_each(|(_, value)| value.templates(all)),
        }
    }
}

/// What must hold of a value of an answer.
#[derive(Debug)]
pub(crate) struct Predicate {
    /// JSON pointer, RFC 6901.
    pub(crate) at: String,
    pub(crate) test: Test,
    /// A missing value or null will do as well.
    pub(crate) or_absent: bool,
    /// What it means when it does not hold.
    pub(crate) otherwise: FailureCode,
}

impl Predicate {
    fn templates(&self) -> Vec<&Template> {
        let mut all = Vec::new();
        if let Test::Equals(tree)
        | Test::NotEquals(tree)
        | Test::OneOf(tree)
        | Test::Prefix(tree)
        | Test::Contains(tree) = &self.test
        {
            tree.templates(&mut all);
        }
        all
    }
}

#[derive(Debug)]
pub(crate) enum Test {
    Equals(Tree),
    /// Also holds where the value is missing.
    NotEquals(Tree),
    OneOf(Tree),
    /// A text that begins so.
    Prefix(Tree),
    /// A text that has this in it.
    Contains(Tree),
    /// There and not null.
    Present,
    /// Missing or null.
    Absent,
    /// Missing, null, or a list, table or text without content.
    Empty,
    /// The opposite of `Empty`.
    NonEmpty,
}
