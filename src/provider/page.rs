//! Pages of a listing, and the place of the next one.

use reqwest::header::{HeaderMap, LINK};
use serde_json::Value;
use url::Url;

use super::extract::{Asked, Content};
use super::items::{self, Items};
use super::model::{Call, Listing, Style};
use super::request::{Scoped, url};
use super::resolved::Provider;
use super::{Cursor, Entry, Expiry, Operation, Page, Received, Response, Values};
use crate::names::RemoteId;
use crate::outcome::{Failure, FailureCode, Outcome};

impl Provider {
    /// What one page of a listing says; `values.page` is the cursor that it was asked for with.
    ///
    /// A page with an entry that cannot be identified is not believed at all: to overlook a token is to leave it alive.
    pub fn read_page(&self, values: &Values<'_>, response: &Response, received: impl Into<Received>) -> Outcome<Page> {
        let received = received.into();
        let call = match self.call(Operation::List) {
            Ok(call) => call,
            Err(failure) => return Outcome::Refused(failure),
        };
        let Some(listing) = &call.listing else { return Outcome::later(broken("no [list]")) };
        let content = response.outline(listing.place());
        if let Err(setback) = self.judge(Operation::List, values, response, &content, received) {
            return setback.outcome(Operation::List);
        }
        let body = content.json();
        let page = check_items(listing, body).and_then(|()| {
            let mut room = Room::of(response.body.len());
            let (mut entries, mut count, mut whole) = (Vec::new(), 0, true);
            items::each(&response.body, listing.place(), |item| {
                count += 1;
                if let Some(entry) = self.entry(call, listing, values, response, item, received).transpose()? {
                    let keeps = whole && room.take(&entry);
                    whole = keeps;
                    entries.extend(Some(entry).filter(|_| keeps));
                }
                Ok(())
            })?;
            Ok(Page { entries, whole, next: self.next(call, listing, values, response, body, count)? })
        });
        match page {
            Ok(page) => Outcome::Done(page),
            Err(what) => Outcome::later(broken(&what)),
        }
    }

    /// One item, `None` where it is not ours to look at.
    fn entry(
        &self,
        call: &Call,
        listing: &Listing,
        values: &Values<'_>,
        response: &Response,
        item: &Value,
        received: Received,
    ) -> Option<Result<Entry, String>> {
        let scope = Scoped::new(self, call, values);
        if !listing.keep.iter().all(|predicate| predicate.holds(item, &scope)) {
            return None;
        }
        let content = Content { body: item, headers: &response.headers };
        let captures = &call.capture;
        let mut unread = Vec::new();
        let asked = Asked { received, lifetime: None, token: None, ahead: None };
        let remote = content.remote(captures, &asked, &mut unread);
        if let Some(place) = captures.id.as_ref().filter(|place| remote.id.is_none() && !place.optional) {
            return Some(Err(format!("an entry has no id at {}", place.source)));
        }
        if !item.is_object() {
            return Some(Err("an entry is no table".to_owned()));
        }
        let mut time = |moment: &Option<_>| {
            moment
                .as_ref()
                .and_then(|moment| content.moment("time", moment, &asked, &mut unread))
                .and_then(Expiry::moment)
        };
        let (created, last_used) = (time(&captures.created), time(&captures.last_used));
        let name = captures.name.as_ref().and_then(|place| content.text(place));
        let dead = listing.dead.iter().any(|predicate| predicate.holds(item, &scope));
        Some(Ok(Entry { remote, name, dead, created, last_used }))
    }

    pub(super) fn next(
        &self,
        call: &Call,
        listing: &Listing,
        values: &Values<'_>,
        response: &Response,
        body: &Value,
        count: usize,
    ) -> Result<Option<Cursor>, String> {
        let text = |pointer: &str| match body.pointer(pointer) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.is_empty() => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(Value::Number(number)) => Ok(Some(number.to_string())),
            Some(_) => Err(format!("{pointer} does not say where the list goes on")),
        };
        let number = |pointer: &Option<String>| {
            pointer.as_ref().and_then(|pointer| body.pointer(pointer)).and_then(Value::as_u64)
        };
        let resolve = |next: Option<String>| match next {
            None => Ok(None),
            Some(next) => {
                let scope = Scoped::new(self, call, values);
                let current = url(call, &scope, values)?;
                same_origin(&current, &next).map(Cursor::Url).map(Some)
            }
        };
        match &listing.style {
            Style::Whole => Ok(None),
            Style::NextUrl(pointer) => text(pointer).and_then(resolve),
            Style::Link => resolve(next_link(&response.headers)),
            Style::Cursor(pointer) => Ok(text(pointer)?.map(Cursor::Token)),
            Style::Page { first, last } => {
                let current = match values.page {
                    Some(Cursor::Number(number)) => *number,
                    _ => *first,
                };
                let ended = count == 0 || number(last).is_some_and(|last| current >= last);
                Ok((!ended).then(|| Cursor::Number(current.saturating_add(1))))
            }
            Style::Offset { total } => {
                let current = match values.page {
                    Some(Cursor::Offset(offset)) => *offset,
                    _ => 0,
                };
                let reached = current.saturating_add(count as u64);
                let ended = count == 0 || number(total).is_some_and(|total| reached >= total);
                Ok((!ended).then_some(Cursor::Offset(reached)))
            }
        }
    }
}

impl Listing {
    fn place(&self) -> Items<'_> {
        Items { at: &self.items, keyed: self.keyed.as_deref() }
    }
}

/// What the entries of a page may take in memory, beside the page itself.
struct Room(usize);

impl Room {
    /// Every page may have this many entries, however short each is.
    const LEAST: usize = 8 * 1024 * 1024;

    /// For a page of `size` bytes. The list of the entries may be half empty, and is copied as it grows.
    fn of(size: usize) -> Self {
        Self(Self::LEAST.max(size + size / 2))
    }

    /// Whether there is room for `entry`, which then takes it.
    fn take(&mut self, entry: &Entry) -> bool {
        let texts = [entry.remote.id.as_ref().map(RemoteId::as_str), entry.name.as_deref()];
        let texts: usize = texts.into_iter().flatten().map(|text| text.len() + ALLOCATION).sum();
        let facts: usize =
            entry.remote.facts.iter().map(|(name, fact)| name.len() + fact.len() + 16 * ALLOCATION).sum();
        let left = self.0.checked_sub(2 * size_of::<Entry>() + texts + facts);
        self.0 = left.unwrap_or_default();
        left.is_some()
    }
}

/// What an allocation takes besides what it holds.
const ALLOCATION: usize = 16;

fn broken(what: &str) -> Failure {
    Failure::new(FailureCode::NotUnderstood, what)
}

fn check_items(listing: &Listing, body: &Value) -> Result<(), String> {
    match body.pointer(&listing.items) {
        Some(Value::Array(_)) if listing.keyed.is_none() => Ok(()),
        Some(Value::Object(_)) if listing.keyed.is_some() => Ok(()),
        Some(Value::Null) if listing.null_is_empty => Ok(()),
        None if listing.absent_is_empty && body.is_object() => Ok(()),
        _ if listing.keyed.is_some() => Err(format!("there is no table at \"{}\"", listing.items)),
        _ => Err(format!("there is no list at \"{}\"", listing.items)),
    }
}

/// `next` seen from `current`. A credential goes to its own host only, so another origin is an error.
fn same_origin(current: &Url, next: &str) -> Result<Url, String> {
    let url = current.join(next).map_err(|_| "the next page has no valid address".to_owned())?;
    if url.origin() != current.origin() || !url.username().is_empty() || url.password().is_some() {
        return Err("the next page is at another host".to_owned());
    }
    Ok(url)
}

/// The target of `rel="next"` in the `Link` headers (RFC 8288).
fn next_link(headers: &HeaderMap) -> Option<String> {
    let lines = headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok());
    lines.flat_map(links).find(|(_, parameters)| is_next(parameters)).map(|(target, _)| target.to_owned())
}

/// The targets in one header, each with the text of its parameters. A comma may be part of a target.
fn links(line: &str) -> Vec<(&str, &str)> {
    let mut links = Vec::new();
    let mut rest = line;
    while let Some((target, after)) = rest.find('<').and_then(|at| rest[at + 1..].split_once('>')) {
        let end = after.find('<').unwrap_or(after.len());
        links.push((target, &after[..end]));
        rest = &after[end..];
    }
    links
}

fn is_next(parameters: &str) -> bool {
    parameters.split([';', ',']).any(|parameter| {
        let Some((key, value)) = parameter.split_once('=') else { return false };
        let mut relations = value.trim().trim_matches('"').split_ascii_whitespace();
        key.trim().eq_ignore_ascii_case("rel") && relations.any(|relation| relation.eq_ignore_ascii_case("next"))
    })
}
