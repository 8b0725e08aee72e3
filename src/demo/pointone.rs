//! Point One Navigation as documented: one GraphQL endpoint, personal access tokens of the calling user.
//!
//! Revocation is not documented. The argument of `revokePersonalAccessToken` below is the demo's choice: it shows what
//! an operator writes into a definition once the vendor has told them.

use axum::http::Method;
use chrono::SecondsFormat;
use serde_json::{Map, Value, json};

use super::Service;
use super::book::{Book, Order};
use super::entry::{LedgerEntry, State, Why};
use super::graphql::{Argument, Document, Field, OperationKind, parse};
use super::site::Site;
use super::wire::{Answer, Call, Credential};
use crate::clock::{Span, Time};
use crate::provider::Operation;

const READ_WRITE: &str = "ROLE_READ_WRITE";
/// Demo's choice: the literal of the read-only role is not documented.
const READ_ONLY: &str = "ROLE_READ_ONLY";
/// Of the documented mutation's signature.
const DEFAULT_DAYS: i64 = 365;
/// Demo's choice: the allowed range is not documented.
const MOST_DAYS: i64 = 3650;

const CREATE: &str = "createPersonalAccessToken";
const VIEW: &str = "viewPersonalAccessTokens";
const REVOKE: &str = "revokePersonalAccessToken";

/// What may stand in a field, for validation: its arguments with whether they are required, and its own fields.
struct Shape {
    kind: OperationKind,
    name: &'static str,
    arguments: &'static [(&'static str, bool)],
    fields: &'static [&'static str],
}

const SHAPES: [Shape; 3] = [
    Shape {
        kind: OperationKind::Mutation,
        name: CREATE,
        arguments: &[("name", true), ("description", false), ("role", false), ("expiryInDays", false)],
        fields: &[],
    },
    Shape {
        kind: OperationKind::Query,
        name: VIEW,
        arguments: &[],
        fields: &["name", "description", "role", "status", "createdAt", "expiresAt", "__typename"],
    },
    Shape { kind: OperationKind::Mutation, name: REVOKE, arguments: &[("name", true)], fields: &[] },
];

/// A refusal inside a 200.
struct Refusal {
    message: String,
    code: &'static str,
}

/// What a request asks for, and the token's name where it says one.
pub(super) fn classify(call: &Call) -> (Option<Operation>, Option<String>) {
    let body: Value = serde_json::from_slice(&call.body).unwrap_or_default();
    let Some(document) = body["query"].as_str().and_then(|text| parse(text).ok()) else { return (None, None) };
    let Some(field) = document.fields.first() else { return (None, None) };
    let operation = match field.name.as_str() {
        CREATE => Operation::Mint,
        // The API has no query about oneself, so that a proof is a listing, too: the operation's name tells them apart.
        VIEW if document.name.as_deref() == Some("Verify") => Operation::Verify,
        VIEW => Operation::List,
        REVOKE => Operation::Revoke,
        "__typename" => Operation::Verify,
        _ => return (None, None),
    };
    let name = arguments_of(field, &document, &body["variables"]).get("name").and_then(Value::as_str).map(Into::into);
    (Some(operation), name)
}

/// The 401 of this API.
pub(super) fn unauthorized() -> Answer {
    errors(401, None, "Context creation failed: Unable to authenticate user", "UNAUTHENTICATED")
}

/// Answers one request.
pub(super) fn handle(book: &mut Book, site: &Site, now: Time, call: &Call) -> Answer {
    if call.path != "/graphql" {
        return Answer::text(404, "Not found. Send GraphQL requests to /graphql.");
    }
    if call.method != Method::POST {
        return Answer::empty(405).with("allow", "POST");
    }
    let Some(Credential::Bearer(secret)) = call.credential() else { return unauthorized() };
    let Some(caller) = book.authenticate(Service::PointOne, &secret, now) else { return unauthorized() };
    let (owner, may_write) = (caller.owner, caller.scope == READ_WRITE);

    let Ok(body) = serde_json::from_slice::<Value>(&call.body) else {
        return errors(400, None, "Unexpected token in JSON", "BAD_REQUEST");
    };
    let Some(text) = body["query"].as_str() else {
        return errors(400, None, "GraphQL operations must contain a non-empty `query`.", "BAD_REQUEST");
    };
    let document = match parse(text) {
        Ok(document) => document,
        Err(problem) => return errors(400, None, &problem, "GRAPHQL_PARSE_FAILED"),
    };
    if let Err(problem) = validate(&document) {
        return errors(400, None, &problem, "GRAPHQL_VALIDATION_FAILED");
    }
    if let Err(problem) = check_variables(&document, &body["variables"]) {
        return errors(400, None, &problem, "BAD_USER_INPUT");
    }

    let mut data = Map::new();
    for field in &document.fields {
        let arguments = arguments_of(field, &document, &body["variables"]);
        let mut desk = Desk { book, site, now, owner };
        let value = match field.name.as_str() {
            "__typename" => Ok(json!(if document.kind == OperationKind::Query { "Query" } else { "Mutation" })),
            VIEW => Ok(desk.view(field)),
            // Demo's choice: what a read-only token is told is not documented.
            _ if !may_write => Err(Refusal::new("FORBIDDEN", "This token may not execute mutations")),
            CREATE => desk.create(&arguments),
            _ => desk.revoke(&arguments),
        };
        match value {
            Ok(value) => data.insert(field.key().to_owned(), value),
            Err(Refusal { message, code }) => return errors(200, Some(field.key()), &message, code),
        };
    }
    Answer::json(200, json!({ "data": data }))
}

/// What a resolver needs.
struct Desk<'a> {
    book: &'a mut Book,
    site: &'a Site,
    now: Time,
    owner: u64,
}

impl Desk<'_> {
    fn create(&mut self, arguments: &Map<String, Value>) -> Result<Value, Refusal> {
        let bad = |message: &str| Err(Refusal::new("BAD_USER_INPUT", message));
        let Some(name) = arguments.get("name").and_then(Value::as_str).filter(|name| !name.is_empty()) else {
            return bad("name must be a non-empty string");
        };
        let role = match arguments.get("role") {
            None | Some(Value::Null) => READ_ONLY,
            Some(Value::String(role)) if role == READ_WRITE => READ_WRITE,
            Some(Value::String(role)) if role == READ_ONLY => READ_ONLY,
            Some(_) => return bad("Value does not exist in \"TokenRole\" enum"),
        };
        let days = match arguments.get("expiryInDays") {
            None => DEFAULT_DAYS,
            Some(days) => match days.as_i64().filter(|days| (1..=MOST_DAYS).contains(days)) {
                Some(days) => days,
                None => return bad("expiryInDays is out of range"),
            },
        };
        // Demo's choice: the console asks for a unique name, enforcement is not documented.
        let now = self.now;
        let taken = |entry: &LedgerEntry| entry.owner == self.owner && entry.state(now) == State::Live;
        if self.book.named(Service::PointOne, name).any(taken) {
            return bad("A token with this name exists already");
        }
        let lifetime = Span::milliseconds(self.site.options.point_one_day.num_milliseconds() * days);
        let entry = self.book.mint(
            Order {
                service: Service::PointOne,
                owner: self.owner,
                name: name.to_owned(),
                remark: arguments.get("description").and_then(Value::as_str).map(Into::into),
                scope: role.to_owned(),
                expires: now + lifetime,
                refresh_expires: None,
                renewable_until: None,
            },
            now,
        );
        Ok(json!(entry.current().secret.expose()))
    }

    fn view(&mut self, field: &Field) -> Value {
        let (now, site) = (self.now, self.site);
        let show = |entry: &LedgerEntry| -> Value {
            field.selection.iter().map(|wanted| (wanted.key().to_owned(), value_of(entry, wanted, site, now))).collect()
        };
        // Demo's choice: whether dead tokens stay in the list is not documented.
        if site.options.point_one_lists_dead {
            return self.book.ever(Service::PointOne, self.owner).map(show).collect();
        }
        self.book.unlist_expired(Service::PointOne, self.owner, now);
        self.book.listed(Service::PointOne, self.owner).map(show).collect()
    }

    fn revoke(&mut self, arguments: &Map<String, Value>) -> Result<Value, Refusal> {
        let name = arguments.get("name").and_then(Value::as_str).unwrap_or_default();
        let (now, owner) = (self.now, self.owner);
        let live = |entry: &&LedgerEntry| entry.owner == owner && entry.state(now) == State::Live;
        let Some(id) = self.book.named(Service::PointOne, name).find(live).map(|entry| entry.id) else {
            return Err(Refusal::new("NOT_FOUND", "No such token"));
        };
        let effective = now + self.site.options.revocation_delay;
        Ok(json!(self.book.revoke(Service::PointOne, id, now, effective, Why::Revoked)))
    }
}

impl Refusal {
    fn new(code: &'static str, message: &str) -> Self {
        Self { message: message.to_owned(), code }
    }
}

/// One selected field of one listed token.
fn value_of(entry: &LedgerEntry, wanted: &Field, site: &Site, now: Time) -> Value {
    let time = |time: Time| json!((time + site.options.skew).to_rfc3339_opts(SecondsFormat::Millis, true));
    match wanted.name.as_str() {
        "name" => json!(entry.name),
        "description" => json!(entry.remark),
        "role" => json!(entry.scope),
        // Demo's choice: the members of `TokenStatus` are not documented.
        "status" => json!(match entry.state(now) {
            State::Live => "ACTIVE",
            State::Expired { .. } => "EXPIRED",
            State::Revoked { .. } | State::Unknown => "REVOKED",
        }),
        "createdAt" => time(entry.created),
        "expiresAt" => time(entry.current().expires),
        "__typename" => json!("PersonalAccessToken"),
        // Validation lets no other field through.
        _ => Value::Null,
    }
}

/// Whether all fields and arguments exist.
fn validate(document: &Document) -> Result<(), String> {
    for field in document.fields.iter().filter(|field| field.name != "__typename") {
        let name = &field.name;
        let Some(shape) = SHAPES.iter().find(|shape| shape.kind == document.kind && shape.name == name) else {
            return Err(format!("Cannot query field {name:?} on type \"{:?}\".", document.kind));
        };
        for (argument, value) in &field.arguments {
            if !shape.arguments.iter().any(|(known, _)| known == argument) {
                return Err(format!("Unknown argument {argument:?} on field {name:?}."));
            }
            if let Argument::Variable(variable) = value
                && !document.variables.iter().any(|defined| defined.name == *variable)
            {
                return Err(format!("Variable \"${variable}\" is not defined."));
            }
        }
        for (required, _) in shape.arguments.iter().filter(|(_, required)| *required) {
            if !field.arguments.iter().any(|(given, _)| given == required) {
                return Err(format!("Field {name:?} argument {required:?} is required, but it was not provided."));
            }
        }
        if shape.fields.is_empty() != field.selection.is_empty() {
            return Err(format!("Field {name:?} has the wrong selection of subfields."));
        }
        if let Some(unknown) = field.selection.iter().find(|wanted| !shape.fields.contains(&wanted.name.as_str())) {
            return Err(format!("Cannot query field {:?} on type \"PersonalAccessToken\".", unknown.name));
        }
    }
    Ok(())
}

/// Whether every variable that must have a value has one.
fn check_variables(document: &Document, variables: &Value) -> Result<(), String> {
    let missing = |name: &str| variables.get(name).is_none_or(Value::is_null);
    match document.variables.iter().find(|wanted| wanted.required && wanted.default.is_none() && missing(&wanted.name))
    {
        None => Ok(()),
        Some(wanted) => Err(format!("Variable \"${}\" of a required type was not provided.", wanted.name)),
    }
}

/// The arguments of `field` with variables put in; those without a value are left out.
fn arguments_of(field: &Field, document: &Document, variables: &Value) -> Map<String, Value> {
    let value = |argument: &Argument| match argument {
        Argument::Literal(value) => Some(value.clone()),
        Argument::Variable(name) => variables.get(name).cloned().or_else(|| {
            document.variables.iter().find(|defined| defined.name == *name).and_then(|defined| defined.default.clone())
        }),
    };
    field.arguments.iter().filter_map(|(name, argument)| Some((name.clone(), value(argument)?))).collect()
}

fn errors(status: u16, path: Option<&str>, message: &str, code: &str) -> Answer {
    let mut error = json!({ "message": message, "extensions": { "code": code } });
    let mut body = json!({});
    if let Some(path) = path {
        error["path"] = json!([path]);
        body["data"] = Value::Null;
    }
    body["errors"] = json!([error]);
    Answer::json(status, body)
}
