//! AWX 24.6.1 as recorded on a real one: personal tokens below `/api/v2/`.

use axum::http::Method;
use chrono::SecondsFormat;
use serde_json::{Map, Value, json};

use super::Service;
use super::book::{Book, Order};
use super::entry::{LedgerEntry, Why};
use super::site::{Site, User};
use super::wire::{Answer, Call, Credential, NOT_FOUND_PAGE};
use crate::clock::{Span, Time};
use crate::provider::Operation;

const VERSION: &str = "24.6.1";
const MOST_PER_PAGE: usize = 200;
const MASK: &str = "************";

/// The resources that this stand-in has.
enum Resource<'a> {
    Ping,
    Me,
    /// `/users/{id or name}/personal_tokens/`: the caller's tokens, whoever is named (issue 15159 of AWX).
    PersonalTokens(&'a str),
    Tokens,
    Token(u64),
}

/// The user that asks.
#[derive(Clone)]
struct Caller {
    user: User,
    may_write: bool,
}

impl Resource<'_> {
    fn allowed(&self) -> &'static str {
        match self {
            Self::Ping | Self::Me => "GET, HEAD, OPTIONS",
            Self::PersonalTokens(_) | Self::Tokens => "GET, POST, HEAD, OPTIONS",
            Self::Token(_) => "GET, PUT, PATCH, DELETE, HEAD, OPTIONS",
        }
    }
}

/// What a request asks for, and the description or id that it is about.
pub(super) fn classify(call: &Call) -> (Option<Operation>, Option<String>) {
    let Some(resource) = resource_of(&call.path) else { return (None, None) };
    match (&call.method, resource) {
        (&Method::POST, Resource::PersonalTokens(_) | Resource::Tokens) => {
            let body: Value = serde_json::from_slice(&call.body).unwrap_or_default();
            (Some(Operation::Mint), body["description"].as_str().map(Into::into))
        }
        (&Method::GET, Resource::PersonalTokens(_) | Resource::Tokens) => (Some(Operation::List), None),
        (&Method::GET, Resource::Me) => (Some(Operation::Verify), None),
        (&Method::DELETE, Resource::Token(id)) => (Some(Operation::Revoke), Some(id.to_string())),
        _ => (None, None),
    }
}

/// The 401 of this API: the same for every cause.
pub(super) fn unauthorized() -> Answer {
    detail(401, "Authentication credentials were not provided. To establish a login session, visit /api/login/.")
        .with("www-authenticate", "Bearer realm=api authorization_url=/api/o/authorize/")
}

/// Answers one request.
pub(super) fn handle(book: &mut Book, site: &Site, now: Time, call: &Call) -> Answer {
    let answer = route(book, site, now, call).with("x-api-product-name", "AWX");
    match call.header("x-api-request-id") {
        Some(id) => answer.with("x-api-request-id", id),
        None => answer.with("x-api-request-id", book.random_text(32)),
    }
}

fn route(book: &mut Book, site: &Site, now: Time, call: &Call) -> Answer {
    let Some(resource) = resource_of(&call.path) else { return Answer::html(404, NOT_FOUND_PAGE) };
    // Only the paths that go through the look-up of user names are served without their slash.
    if !call.path.ends_with('/') && !matches!(resource, Resource::PersonalTokens(_)) {
        return Answer::empty(301).with("location", format!("{}/", call.path));
    }
    // Malformed JSON is refused before anybody is asked who they are.
    let body = match body_of(call) {
        Ok(body) => body,
        Err(answer) => return *answer,
    };
    if let Resource::Ping = resource {
        return if call.method == Method::GET { ping() } else { not_allowed(call, &resource) };
    }
    let Some(caller) = authenticate(book, site, now, call) else { return unauthorized() };
    let reads = matches!(call.method, Method::GET | Method::HEAD | Method::OPTIONS);
    if !reads && !caller.may_write {
        return forbidden();
    }
    let answer = match (&resource, &call.method) {
        (Resource::Me, &Method::GET) => me(&caller.user),
        (Resource::PersonalTokens(user), _) if find_user(site, user).is_none() => {
            detail(404, "No User matches the given query.")
        }
        (Resource::PersonalTokens(_) | Resource::Tokens, &Method::POST) => create(book, site, now, &caller, &body),
        (Resource::PersonalTokens(_) | Resource::Tokens, &Method::GET) => {
            let everybody = matches!(resource, Resource::Tokens) && caller.user.superuser;
            let path = match resource {
                // The name in the path is replaced by the id.
                Resource::PersonalTokens(user) => {
                    let id = find_user(site, user).map_or(caller.user.id, |user| user.id);
                    format!("/api/v2/users/{id}/personal_tokens/")
                }
                _ => "/api/v2/tokens/".to_owned(),
            };
            list(book, site, call, &caller, everybody, &path)
        }
        (Resource::Token(id), method) => one(book, site, now, &caller, *id, method, &body),
        _ => not_allowed(call, &resource),
    };
    answer.with("x-api-product-version", VERSION).with("allow", resource.allowed())
}

fn resource_of(path: &str) -> Option<Resource<'_>> {
    let rest = path.strip_prefix("/api/v2/")?;
    let parts: Vec<&str> = rest.strip_suffix('/').unwrap_or(rest).split('/').collect();
    match parts[..] {
        ["ping"] => Some(Resource::Ping),
        ["me"] => Some(Resource::Me),
        ["tokens"] => Some(Resource::Tokens),
        ["tokens", id] => id.parse().ok().map(Resource::Token),
        ["users", user, "personal_tokens"] => Some(Resource::PersonalTokens(user)),
        _ => None,
    }
}

/// The body as an object; an empty one where there is none.
fn body_of(call: &Call) -> Result<Map<String, Value>, Box<Answer>> {
    if call.body.is_empty() {
        return Ok(Map::new());
    }
    if !call.is_json() {
        return Err(Box::new(detail(
            415,
            "You did not use correct Content-Type in your HTTP request. If you are using our REST API, the \
             Content-Type must be application/json",
        )));
    }
    match serde_json::from_slice(&call.body) {
        Ok(Value::Object(body)) => Ok(body),
        Ok(_) => Err(Box::new(detail(400, "JSON parse error - not a JSON object"))),
        Err(_) => Err(Box::new(detail(400, "JSON parse error - Expecting value: line 1 column 1 (char 0)"))),
    }
}

fn authenticate(book: &mut Book, site: &Site, now: Time, call: &Call) -> Option<Caller> {
    match call.credential()? {
        Credential::Bearer(secret) => {
            let entry = book.authenticate(Service::Awx, &secret, now)?;
            let may_write = entry.scope.split_whitespace().any(|word| word == "write");
            Some(Caller { user: site.user(entry.owner)?.clone(), may_write })
        }
        Credential::Basic(name, password) => {
            let user = site.log_in(&name, &password)?;
            Some(Caller { user: user.clone(), may_write: true })
        }
    }
}

fn find_user<'a>(site: &'a Site, text: &str) -> Option<&'a User> {
    let by_id = text.parse().ok().and_then(|id| site.user(id));
    by_id.or_else(|| site.options.users.iter().find(|user| user.name == text))
}

fn ping() -> Answer {
    let node =
        json!({ "node": "awx-loopback", "node_type": "hybrid", "heartbeat": null, "capacity": 0, "version": "" });
    Answer::json(
        200,
        json!({ "ha": false, "version": VERSION, "active_node": "awx-loopback", "instances": [node],
                "instance_groups": [] }),
    )
}

fn me(user: &User) -> Answer {
    let user = json!({
        "id": user.id, "type": "user", "url": format!("/api/v2/users/{}/", user.id), "username": user.name,
        "first_name": "", "last_name": "", "is_superuser": user.superuser, "is_system_auditor": false,
        "password": "$encrypted$", "external_account": null,
    });
    Answer::json(200, json!({ "count": 1, "next": null, "previous": null, "results": [user] }))
}

fn create(book: &mut Book, site: &Site, now: Time, caller: &Caller, body: &Map<String, Value>) -> Answer {
    let scope = match body.get("scope") {
        None => "write".to_owned(),
        Some(scope) => match scope.as_str().map(str::trim).filter(|scope| is_scope(scope)) {
            Some(scope) => scope.to_owned(),
            None => return bad_scope(),
        },
    };
    let order = Order {
        service: Service::Awx,
        owner: caller.user.id,
        name: description_of(body).unwrap_or_default(),
        remark: None,
        scope,
        expires: now.checked_add_signed(site.options.awx_lifetime).unwrap_or(Time::MAX_UTC),
        refresh_expires: None,
        renewable_until: None,
    };
    let entry = book.mint(order, now);
    let answer = Answer::json(201, token(entry, site, Some(entry.current().secret.expose())));
    answer.with("location", format!("/api/v2/tokens/{}/", entry.id))
}

/// Trimmed; null becomes empty, a number becomes text.
fn description_of(body: &Map<String, Value>) -> Option<String> {
    match body.get("description")? {
        Value::String(text) => Some(text.trim().to_owned()),
        Value::Number(number) => Some(number.to_string()),
        _ => Some(String::new()),
    }
}

fn is_scope(scope: &str) -> bool {
    let words: Vec<&str> = scope.split_whitespace().collect();
    let known = words.iter().all(|word| matches!(*word, "read" | "write"));
    known && matches!(words[..], [_] | [_, _]) && words.first() != words.get(1)
}

fn bad_scope() -> Answer {
    let problem = "Must be a simple space-separated string with allowed scopes ['read', 'write'].";
    Answer::json(400, json!({ "scope": [problem] }))
}

/// Retrieve, change and delete of one token.
fn one(
    book: &mut Book,
    site: &Site,
    now: Time,
    caller: &Caller,
    id: u64,
    method: &Method,
    body: &Map<String, Value>,
) -> Answer {
    let Some(entry) = book.entry(Service::Awx, id).filter(|entry| entry.end.is_none()) else {
        return detail(404, "No OAuth2AccessToken matches the given query.");
    };
    if entry.owner != caller.user.id && !caller.user.superuser {
        return forbidden();
    }
    match *method {
        Method::GET => Answer::json(200, token(entry, site, None)),
        Method::DELETE => {
            book.revoke(Service::Awx, id, now, now + site.options.revocation_delay, Why::Revoked);
            Answer::empty(204)
        }
        Method::PATCH | Method::PUT => {
            let scope = body.get("scope").map(|scope| scope.as_str().map(str::trim).unwrap_or_default());
            if scope.is_some_and(|scope| !is_scope(scope)) {
                return bad_scope();
            }
            match book.change(Service::Awx, id, description_of(body), scope.map(Into::into)) {
                Some(entry) => Answer::json(200, token(entry, site, None)),
                None => detail(404, "No OAuth2AccessToken matches the given query."),
            }
        }
        _ => method_not_allowed(method),
    }
}

/// The filters that this stand-in knows.
fn keeps(entry: &LedgerEntry, key: &str, value: &str) -> Option<bool> {
    let lower = || (entry.name.to_lowercase(), value.to_lowercase());
    Some(match key {
        "description" => entry.name == value,
        "description__startswith" => entry.name.starts_with(value),
        "description__contains" => entry.name.contains(value),
        "description__icontains" => {
            let (name, value) = lower();
            name.contains(&value)
        }
        "id" => value.parse() == Ok(entry.id),
        "user" => value.parse() == Ok(entry.owner),
        // All tokens here are personal ones.
        "application__isnull" => matches!(value, "true" | "True" | "1"),
        _ => return None,
    })
}

fn list(book: &Book, site: &Site, call: &Call, caller: &Caller, everybody: bool, path: &str) -> Answer {
    let filters: Vec<_> =
        call.query.iter().filter(|(key, _)| !matches!(key.as_str(), "page" | "page_size" | "order_by")).collect();
    if filters.iter().any(|(key, _)| key == "token") {
        return detail(403, "Filtering on token is not allowed.");
    }
    let own = book.listed(Service::Awx, caller.user.id);
    let mut entries: Vec<&LedgerEntry> =
        if everybody { book.listed_of_all(Service::Awx).collect() } else { own.collect() };
    for (key, value) in filters {
        let mut known = true;
        entries.retain(|entry| {
            keeps(entry, key, value).unwrap_or_else(|| {
                known = false;
                false
            })
        });
        if !known {
            return detail(400, &format!("OAuth2AccessToken has no field named '{key}'"));
        }
    }
    match call.query("order_by") {
        // In the ledger a higher id means a later creation.
        None | Some("id" | "created") => {}
        Some("-id" | "-created") => entries.reverse(),
        Some(other) => return detail(400, &format!("Cannot resolve keyword '{other}' into field.")),
    }
    let per_page = match call.query("page_size").map(str::parse::<usize>) {
        None | Some(Ok(0)) => site.options.awx_page_size,
        Some(Ok(asked)) => asked.min(MOST_PER_PAGE),
        Some(Err(_)) => return Answer::html(500, "<h1>Server Error (500)</h1>"),
    };
    let pages = entries.len().div_ceil(per_page).max(1);
    let page = match call.query("page").unwrap_or("1").parse::<usize>() {
        Ok(page) if (1..=pages).contains(&page) => page,
        _ => return detail(404, "Invalid page."),
    };
    let results: Vec<Value> =
        entries.iter().skip((page - 1) * per_page).take(per_page).map(|entry| token(entry, site, None)).collect();
    Answer::json(
        200,
        json!({ "count": entries.len(), "next": (page < pages).then(|| link(call, path, page + 1)),
                "previous": (page > 1).then(|| link(call, path, page - 1)), "results": results }),
    )
}

/// The address of another page: a path without a host, query keys in alphabetical order.
fn link(call: &Call, path: &str, page: usize) -> String {
    let mut query: Vec<(&str, String)> = call
        .query
        .iter()
        .filter(|(key, _)| key != "page")
        .map(|(key, value)| match (key.as_str(), value.parse::<usize>()) {
            ("page_size", Ok(asked)) => ("page_size", asked.min(MOST_PER_PAGE).to_string()),
            (key, _) => (key, value.clone()),
        })
        .collect();
    query.push(("page", page.to_string()));
    query.sort();
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
    format!("{path}?{query}")
}

fn token(entry: &LedgerEntry, site: &Site, secret: Option<&str>) -> Value {
    let (id, owner) = (entry.id, entry.owner);
    let username = site.user(owner).map_or("", |user| user.name.as_str());
    let user = json!({ "id": owner, "username": username, "first_name": "", "last_name": "" });
    let time = |time: Time| json!(stamp(time, site.options.skew));
    json!({
        "id": id, "type": "o_auth2_access_token", "url": format!("/api/v2/tokens/{id}/"),
        "related": { "user": format!("/api/v2/users/{owner}/"),
                     "activity_stream": format!("/api/v2/tokens/{id}/activity_stream/") },
        "summary_fields": { "user": user },
        "created": time(entry.created), "modified": time(entry.created + Span::microseconds(5_900)),
        "description": entry.name, "user": owner, "token": secret.unwrap_or(MASK), "refresh_token": null,
        "application": null, "expires": time(entry.current().expires), "scope": entry.scope,
    })
}

/// Six digits of a second, none where they are all zero.
fn stamp(time: Time, skew: Span) -> String {
    let time = time.checked_add_signed(skew).unwrap_or(time);
    let whole = time.timestamp_subsec_micros() == 0;
    time.to_rfc3339_opts(if whole { SecondsFormat::Secs } else { SecondsFormat::Micros }, true)
}

fn forbidden() -> Answer {
    detail(403, "You do not have permission to perform this action.")
}

fn not_allowed(call: &Call, resource: &Resource<'_>) -> Answer {
    method_not_allowed(&call.method).with("allow", resource.allowed())
}

fn method_not_allowed(method: &Method) -> Answer {
    detail(405, &format!("Method \"{method}\" not allowed."))
}

fn detail(status: u16, text: &str) -> Answer {
    Answer::json(status, json!({ "detail": text }))
}
