//! Commvault's `V4/AccessToken` as documented: pairs of access and refresh tokens, renewed in place, with reuse
//! detection; errors inside of 200.

use axum::http::Method;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::Service;
use super::book::{Book, Order, Renewal, Session, WrongPasswords};
use super::entry::{LedgerEntry, Why};
use super::site::Site;
use super::wire::{Answer, Call, Credential, NOT_FOUND_PAGE};
use crate::clock::{Span, Time};
use crate::provider::Operation;

/// Renewals end this long after creation where the caller does not say. Documented.
const DEFAULT_RENEWABLE: Span = Span::days(90);
/// The longest time that may be asked for. Documented for 11.38.
const MOST_RENEWABLE: Span = Span::days(365);
/// A session ends after this long without a request. Documented.
const SESSION_IDLE: Span = Span::minutes(30);

/// Demo's choice: the numeric codes are not documented, except 5.
const NAME_TAKEN: u32 = 1101;
const NO_SUCH_TOKEN: u32 = 1102;
const BAD_REQUEST: u32 = 1103;
const ACCESS_DENIED: u32 = 5;

/// The types that a refresh token comes with: all, custom, Hyperscale.
const RENEWABLE_TYPES: [u64; 4] = [0, 2, 3, 5];

enum Resource {
    Login,
    Logout,
    WhoAmI,
    Tokens,
    Token(u64),
    Renew,
}

/// The user that asks.
struct Caller {
    user: u64,
    by_session: bool,
}

/// What a request asks for, and the name or id that it is about.
pub(super) fn classify(call: &Call) -> (Option<Operation>, Option<String>) {
    let body = || serde_json::from_slice::<Value>(&call.body).unwrap_or_default();
    match (&call.method, resource_of(&call.path)) {
        (&Method::POST, Some(Resource::Tokens)) => {
            (Some(Operation::Mint), body()["tokenName"].as_str().map(Into::into))
        }
        (&Method::GET, Some(Resource::Tokens)) => (Some(Operation::List), None),
        (_, Some(Resource::WhoAmI)) => (Some(Operation::Verify), None),
        (&Method::POST, Some(Resource::Renew)) => (Some(Operation::Renew), None),
        (&Method::DELETE, Some(Resource::Token(id))) => (Some(Operation::Revoke), Some(id.to_string())),
        _ => (None, None),
    }
}

/// The 401 of this API.
pub(super) fn unauthorized() -> Answer {
    flat(401, ACCESS_DENIED, "Access denied")
}

/// Answers one request.
pub(super) fn handle(book: &mut Book, site: &Site, now: Time, call: &Call) -> Answer {
    let Some(resource) = resource_of(&call.path) else {
        return Answer::html(404, NOT_FOUND_PAGE);
    };
    let body: Value = serde_json::from_slice(&call.body).unwrap_or_default();
    match (&call.method, &resource) {
        (&Method::POST, Resource::Login) => return log_in(book, site, now, &body),
        // The pair is its own credential: the vendor's clients send an expired access token in the header, or none.
        (&Method::POST, Resource::Renew) => return renew(book, site, now, &body),
        _ => {}
    }
    let Some(caller) = authenticate(book, now, call) else { return unauthorized() };
    match (&call.method, resource) {
        (&Method::GET | &Method::POST, Resource::WhoAmI) => who_am_i(site, caller.user),
        (&Method::POST, Resource::Logout) => {
            book.sessions.remove(&presented(call).unwrap_or_default());
            Answer::json(200, json!({}))
        }
        (&Method::POST, Resource::Tokens) => create(book, site, now, &caller, &body),
        (&Method::GET, Resource::Tokens) => list(book, site, now, &caller, call),
        (&Method::DELETE, Resource::Token(id)) => revoke(book, site, now, &caller, id),
        _ => flat(405, BAD_REQUEST, "Method not allowed"),
    }
}

/// Paths in any case, below `/commandcenter/api`, the older `/webconsole/api`, or neither.
fn resource_of(path: &str) -> Option<Resource> {
    let path = path.to_ascii_lowercase();
    let bases = ["/commandcenter/api", "/webconsole/api"];
    let path = bases.iter().find_map(|base| path.strip_prefix(base)).unwrap_or(&path);
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    match parts[..] {
        ["login"] => Some(Resource::Login),
        ["logout"] => Some(Resource::Logout),
        ["whoami"] | ["v2", "whoami"] => Some(Resource::WhoAmI),
        ["v4", "accesstoken"] => Some(Resource::Tokens),
        ["v4", "accesstoken", "renew"] => Some(Resource::Renew),
        ["v4", "accesstoken", id] => id.parse().ok().map(Resource::Token),
        _ => None,
    }
}

/// The secret that a request presents, in any of the four header forms.
fn presented(call: &Call) -> Option<String> {
    if let Some(value) = call.header("authtoken") {
        let value = value.trim();
        let bare = value.strip_prefix("Bearer ").or_else(|| value.strip_prefix("QSDK "));
        return Some(bare.unwrap_or(value).trim().to_owned());
    }
    match call.credential()? {
        Credential::Bearer(secret) => Some(secret),
        Credential::Basic(..) => None,
    }
}

fn authenticate(book: &mut Book, now: Time, call: &Call) -> Option<Caller> {
    let secret = presented(call)?;
    if let Some(session) = book.sessions.get_mut(&secret).filter(|session| session.last_used + session.idle > now) {
        session.last_used = now;
        return Some(Caller { user: session.user, by_session: true });
    }
    let entry = book.authenticate(Service::Commvault, &secret, now)?;
    Some(Caller { user: entry.owner, by_session: false })
}

fn log_in(book: &mut Book, site: &Site, now: Time, body: &Value) -> Answer {
    let refused = |message: &str, more: Value| {
        let mut answer = json!({ "errList": [{ "errLogMessage": message, "errorCode": ACCESS_DENIED }] });
        if let (Value::Object(answer), Value::Object(more)) = (&mut answer, more) {
            answer.extend(more);
        }
        Answer::json(200, answer)
    };
    let password = body["password"].as_str().and_then(|text| String::from_utf8(STANDARD.decode(text).ok()?).ok());
    let name = body["username"].as_str().unwrap_or_default();
    let wrong = book.wrong_passwords.entry(name.to_owned()).or_default();
    if let Some(until) = wrong.locked_until.filter(|until| *until > now) {
        let more = json!({ "isAccountLocked": true, "remainingLockTime": (until - now).num_seconds().max(1) });
        return refused("User account is locked.", more);
    }
    let Some(user) = password.and_then(|password| site.log_in(name, &password)) else {
        wrong.count += 1;
        if wrong.count >= site.options.commvault_login_attempts {
            *wrong = WrongPasswords { count: 0, locked_until: Some(now + site.options.commvault_lock) };
        }
        return refused("Invalid username or password.", json!({}));
    };
    book.wrong_passwords.remove(name);
    let token = book.random_text(64);
    // In minutes. Documented, with its default.
    let idle = body["timeout"].as_i64().and_then(Span::try_minutes).unwrap_or(SESSION_IDLE);
    book.sessions.insert(token.clone(), Session { user: user.id, last_used: now, idle });
    Answer::json(200, json!({ "token": format!("QSDK {token}"), "userName": user.name, "errList": [] }))
}

fn who_am_i(site: &Site, user: u64) -> Answer {
    let name = site.user(user).map_or("", |user| user.name.as_str());
    Answer::json(200, json!({ "user": { "userId": user, "userName": name } }))
}

fn create(book: &mut Book, site: &Site, now: Time, caller: &Caller, body: &Value) -> Answer {
    if !caller.by_session && !site.options.commvault_mint_by_token {
        return flat(403, ACCESS_DENIED, "An access token cannot be used to create access tokens");
    }
    let Some(name) = body["tokenName"].as_str().map(str::trim).filter(|name| !name.is_empty()) else {
        return flat(400, BAD_REQUEST, "tokenName is required");
    };
    let kind = match &body["tokenType"] {
        Value::Null => 0,
        kind => match kind.as_u64().filter(|kind| *kind <= 5) {
            Some(kind) => kind,
            None => return flat(400, BAD_REQUEST, "tokenType is not valid"),
        },
    };
    if kind == 3 && body["apiEndpoints"].as_array().is_none_or(Vec::is_empty) {
        return flat(400, BAD_REQUEST, "apiEndpoints is required for a custom token");
    }
    // A service account's token: for those who administer users.
    let owner = body["userId"].as_u64().unwrap_or(caller.user);
    let administers = site.user(caller.user).is_some_and(|user| user.superuser);
    if owner != caller.user && !(administers && site.user(owner).is_some()) {
        return flat(403, ACCESS_DENIED, "Access denied");
    }
    // Whether a deleted name becomes free again is not documented: here it does not.
    if book.named(Service::Commvault, name).next().is_some() {
        let error = json!({ "errorCode": NAME_TAKEN, "errorMessage": "Token name already present" });
        return Answer::json(200, json!({ "error": error }));
    }
    let skew = site.options.skew;
    let asked = |field: &str| {
        let time = body[field].as_i64().filter(|seconds| *seconds != 0)?;
        Some(Time::from_timestamp(time, 0)? - skew)
    };
    let renewable = RENEWABLE_TYPES.contains(&kind);
    let until = renewable.then(|| asked("renewableUntilTimestamp").unwrap_or(now + DEFAULT_RENEWABLE));
    if until.is_some_and(|until| until <= now || until > now + MOST_RENEWABLE) {
        return flat(400, BAD_REQUEST, "renewableUntilTimestamp is out of range");
    }
    let default_expiry = now + Span::days(if kind == 1 { 30 } else { 7 });
    let expires = if renewable {
        now + site.options.commvault_access_lifetime
    } else {
        asked("tokenExpiryTimestamp").unwrap_or(default_expiry)
    };
    let order = Order {
        service: Service::Commvault,
        owner,
        name: name.to_owned(),
        remark: None,
        scope: kind.to_string(),
        expires,
        refresh_expires: renewable.then(|| now + site.options.commvault_refresh_lifetime),
        renewable_until: until,
    };
    let mut info = pair(book.mint(order, now), site);
    info["userId"] = json!(owner);
    Answer::json(200, json!({ "error": { "errorCode": 0, "errorMessage": "" }, "tokenInfo": info }))
}

fn renew(book: &mut Book, site: &Site, now: Time, body: &Value) -> Answer {
    let (Some(access), Some(refresh)) = (body["accessToken"].as_str(), body["refreshToken"].as_str()) else {
        return flat(400, BAD_REQUEST, "accessToken and refreshToken are required");
    };
    let lifetimes = [site.options.commvault_access_lifetime, site.options.commvault_refresh_lifetime];
    match book.renew(access, refresh, now, lifetimes) {
        Renewal::Renewed(id) => match book.entry(Service::Commvault, id) {
            Some(entry) => Answer::json(200, pair(entry, site)),
            None => flat(404, NO_SUCH_TOKEN, "Invalid access token"),
        },
        Renewal::Unknown => flat(404, NO_SUCH_TOKEN, "Invalid access token"),
        Renewal::Mismatch => flat(403, ACCESS_DENIED, "Access token and refresh token do not belong together"),
        Renewal::TooLate => flat(403, ACCESS_DENIED, "Renew request placed after the permissible time limit"),
        Renewal::ChainInvalidated => {
            flat(403, ACCESS_DENIED, "The refresh token was used before; the token and all its successors are deleted")
        }
    }
}

/// Demo's choice: the shape of the list is not documented; here it is `tokens`, each with the fields of a new token
/// except its secrets.
fn list(book: &mut Book, site: &Site, now: Time, caller: &Caller, call: &Call) -> Answer {
    let wanted = call.query("userId").and_then(|id| id.parse().ok()).unwrap_or(caller.user);
    if wanted != caller.user && !site.user(caller.user).is_some_and(|user| user.superuser) {
        return flat(403, ACCESS_DENIED, "Access denied");
    }
    // A token that can still be renewed is listed although its access token has expired.
    let over = |entry: &&LedgerEntry| {
        let end = entry.current().refresh_expires.unwrap_or(entry.current().expires);
        end.max(entry.current().expires) <= now
    };
    let tokens: Vec<Value> = book
        .listed(Service::Commvault, wanted)
        .filter(|entry| !over(entry))
        .map(|entry| {
            let mut info = pair(entry, site);
            if let Value::Object(fields) = &mut info {
                fields.remove("accessToken");
                fields.remove("refreshToken");
                fields.insert("userId".to_owned(), json!(entry.owner));
                fields.insert("createdTimestamp".to_owned(), seconds(entry.created, site));
            }
            info
        })
        .collect();
    Answer::json(200, json!({ "error": { "errorCode": 0, "errorMessage": "" }, "tokens": tokens }))
}

fn revoke(book: &mut Book, site: &Site, now: Time, caller: &Caller, id: u64) -> Answer {
    let superuser = site.user(caller.user).is_some_and(|user| user.superuser);
    let entry = book.entry(Service::Commvault, id).filter(|entry| entry.end.is_none());
    let Some(entry) = entry.filter(|entry| entry.owner == caller.user || superuser) else {
        return flat(200, NO_SUCH_TOKEN, "Access token not found");
    };
    let id = entry.id;
    book.revoke(Service::Commvault, id, now, now + site.options.revocation_delay, Why::Revoked);
    flat(200, 0, "")
}

/// A token with its current secrets, as create and renew answer it.
fn pair(entry: &LedgerEntry, site: &Site) -> Value {
    let issue = entry.current();
    let mut info = json!({
        "accessTokenId": entry.id, "tokenName": entry.name, "accessToken": issue.secret.expose(),
        "tokenExpiryTimestamp": seconds(issue.expires, site),
    });
    if let (Some(refresh), Some(expires)) = (&issue.refresh, issue.refresh_expires) {
        info["refreshToken"] = json!(refresh.expose());
        info["refreshTokenExpiryTimestamp"] = seconds(expires, site);
    }
    if let Some(until) = entry.renewable_until {
        info["renewableUntilTimestamp"] = seconds(until, site);
    }
    info
}

fn seconds(time: Time, site: &Site) -> Value {
    json!((time + site.options.skew).timestamp())
}

fn flat(status: u16, code: u32, message: &str) -> Answer {
    Answer::json(status, json!({ "errorMessage": message, "errorCode": code }))
}
