//! Renders a request from a definition and values.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use minijinja::value::{Serde, Value as Dynamic};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use serde_json::Value;
use url::Url;
use zeroize::Zeroizing;

use super::extract::Wiped;
use super::filters::dynamic_time;
use super::model::{Body, Call, Document, Form, Style};
use super::params::ParamKind;
use super::resolved::Provider;
use super::template::{Name, Scope, Template};
use super::{Cursor, Operation, Params, Request, Role, Values, jwt, sigv4};
use crate::names::RemoteId;
use crate::outcome::{Failure, FailureCode};
use crate::secret::{Redactor, Secret, SecretParts};

/// The part of a secret that is the id of an access key of AWS.
const KEY_ID: &str = "access_key_id";

/// The values of one request under the names that its templates use.
pub(crate) struct Scoped<'a> {
    provider: &'a Provider,
    call: &'a Call,
    values: &'a Values<'a>,
    jwt: Option<Secret>,
}

impl<'a> Scoped<'a> {
    pub(crate) fn new(provider: &'a Provider, call: &'a Call, values: &'a Values<'a>) -> Self {
        Self { provider, call, values, jwt: None }
    }

    /// The secret that authenticates, and its user name.
    fn credential(&self) -> Option<(Option<&'a str>, &'a SecretParts)> {
        match self.call.role {
            Role::Account => self.values.identity.map(|identity| (identity.username.as_deref(), &identity.secret)),
            Role::Subject => self.subject_secret().map(|secret| (None, secret)),
            // A login carries the credential in its body.
            Role::Nobody if self.is_login() => self.values.identity.map(|it| (it.username.as_deref(), &it.secret)),
            Role::Nobody => None,
        }
    }

    fn is_login(&self) -> bool {
        self.provider.rules.login.as_deref().is_some_and(|login| std::ptr::eq(login, self.call))
    }

    /// Where the request may go: the account's own host, or, for a login, the one that a parameter names.
    fn home(&self) -> Result<url::Origin, String> {
        let Some(name) = self.call.url.first_param() else { return Ok(self.values.base_url.origin()) };
        let url = self.parameter(name);
        let url = url.as_str().and_then(|url| Url::parse(url).ok());
        url.map(|url| url.origin()).ok_or_else(|| format!("`params.{name}` is not a URL"))
    }

    fn subject_secret(&self) -> Option<&'a SecretParts> {
        self.values.subject.and_then(|subject| subject.secret.as_ref())
    }

    fn parameter(&self, name: &str) -> Dynamic {
        parameter(self.provider, self.values.params, name)
    }

    /// Where a listing begins that was not told where to go on.
    fn first_page(&self) -> u64 {
        match self.call.listing.as_ref().map(|listing| &listing.style) {
            Some(Style::Page { first, .. }) => *first,
            _ => 1,
        }
    }
}

impl Scope for Scoped<'_> {
    fn value(&self, name: &Name) -> Dynamic {
        let text = |text: Option<&str>| text.map_or_else(|| Dynamic::from(()), Dynamic::from);
        let mint_request = self.values.mint_request;
        let subject = self.values.subject;
        let lifetime = mint_request.and_then(|mint_request| self.provider.rules.lifetime.of(mint_request.lifetime));
        match name {
            Name::BaseUrl => Dynamic::from_safe_string(base_of(self.values.base_url).to_owned()),
            Name::Now => dynamic_time(self.values.now),
            Name::Param(name) => self.parameter(name),
            Name::Username => text(self.credential().and_then(|(username, _)| username)),
            Name::WantName => text(mint_request.map(|mint_request| mint_request.marker.as_str())),
            Name::WantTtl => lifetime.map_or_else(|| Dynamic::from(()), |span| Dynamic::from(span.num_seconds())),
            Name::WantExpires => {
                let expires = lifetime.and_then(|span| self.values.now.checked_add_signed(span));
                expires.map_or_else(|| Dynamic::from(()), dynamic_time)
            }
            Name::WantStep => {
                let step = lifetime.and_then(|span| self.provider.rules.lifetime.step(span));
                text(step.map(|(word, _)| word.as_str()))
            }
            Name::OldId => text(subject.and_then(|subject| subject.id.as_ref()).map(RemoteId::as_str)),
            Name::OldName => text(subject.and_then(|subject| subject.name.as_deref())),
            Name::OldFact(name) => text(subject.and_then(|subject| subject.facts.get(name)).map(String::as_str)),
            Name::PageNumber => match self.values.page {
                Some(Cursor::Number(number)) => Dynamic::from(*number),
                _ => Dynamic::from(self.first_page()),
            },
            Name::PageOffset => match self.values.page {
                Some(Cursor::Offset(offset)) => Dynamic::from(*offset),
                _ => Dynamic::from(0),
            },
            Name::PageCursor => match self.values.page {
                Some(Cursor::Token(cursor)) => Dynamic::from(cursor.as_str()),
                _ => Dynamic::from(()),
            },
            Name::ReadVersion | Name::ReadFact(_) | Name::Prepared(_) | Name::DeliveryId | Name::Mark => {
                self.values.putting.map_or_else(|| Dynamic::from(()), |putting| putting.value(name))
            }
            Name::CredentialPart(_)
            | Name::OldPart(_)
            | Name::WantSecret
            | Name::Jwt
            | Name::SlotValue
            | Name::ReadValue
            | Name::Told(_) => Dynamic::from(()),
        }
    }

    fn secret(&self, name: &Name) -> Option<&str> {
        let (secret, part) = match name {
            Name::CredentialPart(part) => (self.credential()?.1, part),
            Name::OldPart(part) => (self.subject_secret()?, part),
            Name::Jwt => return self.jwt.as_ref().map(Secret::expose),
            Name::WantSecret => return self.values.chosen.map(Secret::expose),
            Name::SlotValue | Name::ReadValue => return self.values.putting?.secret(name),
            _ => return None,
        };
        secret.part(part).map(Secret::expose)
    }

    fn document(&self, document: &Document) -> Result<Value, String> {
        self.values.putting.ok_or("there is no target to write to")?.document(document)
    }
}

/// The value of a parameter: as it is given, or its default; none where it does not belong to the others.
pub(super) fn parameter(provider: &Provider, params: &Params, name: &str) -> Dynamic {
    let Some(spec) = provider.params.get(name) else { return Dynamic::from(()) };
    if spec.barred(&provider.params, params).is_some() {
        return Dynamic::from(());
    }
    match (params.get(name).or(spec.default.as_ref()), spec.kind) {
        (Some(Value::String(text)), ParamKind::Url) => Dynamic::from_safe_string(text.clone()),
        (Some(value), _) => Dynamic::from(Serde(value)),
        (None, _) => Dynamic::from(()),
    }
}

fn base_of(url: &Url) -> &str {
    url.as_str().trim_end_matches('/')
}

impl Provider {
    /// The request of `operation`.
    ///
    /// Fails with [`FailureCode::NoOperation`] where the definition lacks it, [`FailureCode::NoCredential`] where
    /// nothing authenticates it, and [`FailureCode::Request`] where a value is missing or does not fit its place.
    pub fn render(&self, operation: Operation, values: &Values<'_>) -> Result<Request, Failure> {
        self.render_call(self.call(operation)?, operation.word(), values)
    }

    /// The request of `call`, which messages name `what`.
    pub(crate) fn render_call(&self, call: &Call, what: &str, values: &Values<'_>) -> Result<Request, Failure> {
        let mut scope = Scoped::new(self, call, values);
        if call.role != Role::Nobody && scope.credential().is_none() {
            return Err(Failure::new(FailureCode::NoCredential, format!("nothing authenticates {what}")));
        }
        let failed = |error: String| {
            let error = redactor(values).clean(&error);
            Failure::new(FailureCode::Request, format!("{what} of {}: {error}", self.name))
        };
        scope.jwt = self.try_signed(call, &scope).map_err(failed)?;
        let url = url(call, &scope, values).map_err(failed)?;
        let body = body(&call.body, &scope).map_err(failed)?;
        let mut headers = vec![(ACCEPT, HeaderValue::from_static("application/json"))];
        if let Some(content_type) = content_type(&call.body) {
            headers.push((CONTENT_TYPE, HeaderValue::from_static(content_type)));
        }
        let given = self.auth_headers(call, &scope).map_err(failed)?;
        for (name, value) in given.into_iter().chain(fill_headers(&call.headers, &scope).map_err(failed)?) {
            headers.retain(|(known, _)| *known != name);
            headers.push((name, value));
        }
        self.sign_aws(call, &scope, &url, body.as_ref(), &mut headers).map_err(failed)?;
        let log_url = url.as_str().to_owned();
        Ok(Request { method: call.method.clone(), url, log_url, headers, body })
    }

    fn auth_headers(&self, call: &Call, scope: &Scoped<'_>) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
        match self.form(call, scope)? {
            // What AWS wants signed is the whole request, which is not there yet.
            None | Some(Form::AwsV4 { .. }) => Ok(Vec::new()),
            Some(Form::Headers(headers) | Form::Signed { headers, .. }) => fill_headers(headers, scope),
            Some(Form::Basic) => {
                let (username, secret) = scope.credential().ok_or("nothing authenticates the request")?;
                let pair = basic_pair(username.unwrap_or_default(), secret.token());
                let value = header_value(&Zeroizing::new(format!("Basic {}", *pair)), true)?;
                Ok(vec![(AUTHORIZATION, value)])
            }
        }
    }

    /// What the credential signs for `call`, where it signs anything.
    fn try_signed(&self, call: &Call, scope: &Scoped<'_>) -> Result<Option<Secret>, String> {
        let Some(Form::Signed { claims, .. }) = self.form(call, scope)? else { return Ok(None) };
        let (_, key) = scope.credential().ok_or("nothing authenticates the request")?;
        let signed = jwt::sign(claims, scope, key.token(), scope.values.now)?;
        Ok(Some(Secret::new(signed.as_str())))
    }

    /// Adds the signature of a request that is whole, where its form is one of AWS.
    fn sign_aws(
        &self,
        call: &Call,
        scope: &Scoped<'_>,
        url: &Url,
        body: Option<&Zeroizing<Vec<u8>>>,
        headers: &mut Vec<(HeaderName, HeaderValue)>,
    ) -> Result<(), String> {
        let Some(Form::AwsV4 { service, region }) = self.form(call, scope)? else { return Ok(()) };
        let (username, secret) = scope.credential().ok_or("nothing authenticates the request")?;
        // A token of ours has the id of its key as a part, a credential as its user name.
        let key_id =
            username.or_else(|| secret.part(KEY_ID).map(Secret::expose)).ok_or("the id of the key is not known")?;
        let (service, region) = (service.text(scope)?, region.text(scope)?);
        let header =
            |wanted: &str| headers.iter().find(|(name, _)| *name == wanted).and_then(|(_, it)| it.to_str().ok());
        let (content_type, target) = (header(CONTENT_TYPE.as_str()), header("x-amz-target"));
        let body = body.map(|body| body.as_slice()).unwrap_or_default();
        let request = sigv4::Signed { method: &call.method, url, content_type, target, body };
        let signer = sigv4::Signer { key_id, key: secret.token(), region: &region, service: &service };
        let (date, authorization) = signer.sign(&request, scope.values.now)?;
        headers.push((HeaderName::from_static("x-amz-date"), header_value(&date, false)?));
        headers.push((AUTHORIZATION, header_value(&authorization, true)?));
        Ok(())
    }

    /// Whether its credential may sign moments instead of being sent itself.
    pub fn signs(&self) -> bool {
        self.rules.auth.forms.values().any(|form| matches!(form, Form::Signed { .. } | Form::AwsV4 { .. }))
    }

    /// What was signed for `call`, to be struck out of messages.
    pub(crate) fn signed(&self, call: &Call, values: &Values<'_>) -> Option<Secret> {
        self.try_signed(call, &Scoped::new(self, call, values)).ok().flatten()
    }

    /// How `call` authenticates; `None` where it does not.
    fn form(&self, call: &Call, scope: &Scoped<'_>) -> Result<Option<&Form>, String> {
        let auth = &self.rules.auth;
        let chooser = match call.role {
            Role::Nobody => return Ok(None),
            Role::Account => auth.account.as_ref(),
            Role::Subject => auth.subject.as_ref(),
        };
        let form = match chooser {
            Some(chooser) => {
                let name = chooser.text(scope)?;
                let known = || auth.forms.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
                auth.forms
                    .get(name.as_str())
                    .ok_or_else(|| format!("no form of authentication \"{}\" ({})", *name, known()))?
            }
            None => auth.forms.values().next().ok_or("the definition has no form of authentication")?,
        };
        Ok(Some(form))
    }
}

/// User name and password as RFC 7617 writes them.
fn basic_pair(username: &str, password: &Secret) -> Zeroizing<String> {
    let pair = Zeroizing::new(format!("{username}:{}", password.expose()));
    Zeroizing::new(STANDARD.encode(pair.as_bytes()))
}

/// The address of a request; that of a listing's next page where there is one.
pub(crate) fn url(call: &Call, scope: &Scoped<'_>, values: &Values<'_>) -> Result<Url, String> {
    if let Some(Cursor::Url(next)) = values.page {
        return if next.origin() == values.base_url.origin() {
            Ok(next.clone())
        } else {
            Err("the next page is at another host".to_owned())
        };
    }
    let text = call.url.encoded(scope)?;
    let mut url = Url::parse(&text).map_err(|error| format!("\"{}\" is not a URL: {error}", *text))?;
    if url.origin() != scope.home()? || !url.username().is_empty() || url.password().is_some() {
        return Err("the address would lead to another host".to_owned());
    }
    // Parsing tidies addresses up: a value of `..` takes a directory away, a raw `?` begins a query. Whatever changed
    // on the way is not what the definition meant.
    let path = text.find("://").and_then(|at| text[at + 3..].find('/').map(|slash| &text[at + 3 + slash..]));
    if url.path() != path.unwrap_or("/") || url.query().is_some() || url.fragment().is_some() {
        return Err("a value would change the path of the address".to_owned());
    }
    if !call.query.is_empty() {
        let mut pairs = Vec::new();
        for (key, template) in &call.query {
            pairs.extend(template.optional_text(scope)?.map(|value| (key, value)));
        }
        if !pairs.is_empty() {
            url.query_pairs_mut().extend_pairs(pairs.iter().map(|(key, value)| (key.as_str(), value.as_str())));
        }
    }
    Ok(url)
}

fn fill_headers(
    headers: &[(HeaderName, Template)],
    scope: &Scoped<'_>,
) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
    let mut filled = Vec::new();
    for (name, template) in headers {
        if let Some(text) = template.optional_text(scope)? {
            filled.push((
                name.clone(),
                header_value(&text, template.is_secret()).map_err(|error| format!("header {name}: {error}"))?,
            ));
        }
    }
    Ok(filled)
}

pub(crate) fn header_value(text: &str, sensitive: bool) -> Result<HeaderValue, String> {
    let fits = text.chars().all(|c| c == ' ' || c.is_ascii_graphic());
    let value = if fits { HeaderValue::from_str(text).ok() } else { None };
    let mut value = value.ok_or("the value has control characters, or others that a header cannot hold")?;
    value.set_sensitive(sensitive);
    Ok(value)
}

fn content_type(body: &Body) -> Option<&'static str> {
    match body {
        Body::None => None,
        Body::Json(_) | Body::Graphql { .. } => Some("application/json"),
        Body::Text(_) => Some("text/plain; charset=utf-8"),
        Body::Form(_) => Some("application/x-www-form-urlencoded"),
    }
}

fn body(body: &Body, scope: &Scoped<'_>) -> Result<Option<Zeroizing<Vec<u8>>>, String> {
    let json = match body {
        Body::None => return Ok(None),
        Body::Form(fields) => {
            let mut form = url::form_urlencoded::Serializer::new(String::new());
            for (key, template) in fields {
                if let Some(value) = template.optional_text(scope)? {
                    form.append_pair(key, &value);
                }
            }
            return Ok(Some(Zeroizing::new(form.finish().into_bytes())));
        }
        Body::Text(text) => return Ok(Some(Zeroizing::new(text.text(scope)?.as_bytes().to_vec()))),
        Body::Json(tree) => Wiped(tree.value(scope)?.unwrap_or_default()),
        Body::Graphql { query, variables } => {
            let variables = variables.value(scope)?.unwrap_or_default();
            Wiped(
                [("query".to_owned(), Value::from(query.as_str())), ("variables".to_owned(), variables)]
                    .into_iter()
                    .collect(),
            )
        }
    };
    serde_json::to_vec(&*json).map(|bytes| Some(Zeroizing::new(bytes))).map_err(|error| error.to_string())
}

/// The secrets of a request, and what Basic authentication makes of them.
pub fn redactor(values: &Values<'_>) -> Redactor {
    let mut redactor = Redactor::default();
    let identity = values.identity.map(|identity| &identity.secret);
    let subject = values.subject.and_then(|subject| subject.secret.as_ref());
    for (_, secret) in [identity, subject].into_iter().flatten().flat_map(SecretParts::iter) {
        redactor.add(secret);
    }
    if let Some(chosen) = values.chosen {
        redactor.add(chosen);
    }
    if let Some(putting) = values.putting {
        putting.strike_out(&mut redactor);
    }
    if let Some(identity) = values.identity {
        let username = identity.username.as_deref().unwrap_or_default();
        redactor.add(&Secret::new(basic_pair(username, identity.secret.token()).as_str()));
    }
    redactor
}

/// What of a request is no secret, and may be quoted out of any answer.
pub(super) fn sent(values: &Values<'_>) -> Vec<String> {
    let params = values.params.values().map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
    let marker = values.mint_request.map(|request| request.marker.to_string());
    let username = values.identity.and_then(|identity| identity.username.clone());
    params.chain(marker).chain(username).chain([values.base_url.to_string()]).collect()
}
