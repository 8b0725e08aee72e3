//! What a provider lists of an account's tokens: gathered page by page, in a form that a hundred thousand tokens are
//! looked up in quickly.

use super::Account;
use super::operations::Job;
use crate::clock::{Clock, Span, Time};
use crate::names::{Marker, RemoteId};
use crate::outcome::{Failure, FailureCode, Outcome};
use crate::provider::{Cursor, Entry, Operation, Page, Params, Provider};

/// How long the pages after the first may wait in all: a listing that is given up half-way was for nothing.
const LISTING_PATIENCE: Span = Span::minutes(10);

/// Pages that a listing reads at most.
pub(super) const MAX_PAGES: usize = 1000;

/// Entries that a listing reads at most.
const MAX_ENTRIES: usize = 200_000;

/// How often the same page of a listing is asked for when the provider puts it off.
const PAGE_TRIES: usize = 3;

/// A listing, all of its pages.
#[derive(Clone, Debug)]
pub struct Listing {
    at: Time,
    entries: Vec<Entry>,
    skew: Option<Span>,
    complete: bool,
    /// The definition says that an entry may be missing although its token lives.
    leaves_out: bool,
    /// Positions of the entries that have an id, in the order of the ids. Positions instead of a map with keys of its
    /// own: four bytes for each entry.
    by_id: Vec<u32>,
    /// Positions of the entries that have a name, in the order of what [`key`] makes of the names.
    by_name: Vec<u32>,
}

impl Listing {
    /// A listing of what was there at `at`.
    pub fn new(at: Time, mut entries: Vec<Entry>, skew: Option<Span>, complete: bool) -> Self {
        // No caller gathers more than the account's cap, which is far below.
        entries.truncate(u32::MAX as usize);
        let positions = |has: fn(&Entry) -> bool| -> Vec<u32> {
            (0_u32..).zip(&entries).filter(|(_, entry)| has(entry)).map(|(position, _)| position).collect()
        };
        let mut by_id = positions(|entry| entry.remote.id.is_some());
        let mut by_name = positions(|entry| entry.name.is_some());
        // Stable sorts: among equals, what the provider listed first comes first.
        by_id.sort_by_key(|position| id_of(&entries[*position as usize]));
        by_name.sort_by_key(|position| key_of(&entries[*position as usize]));
        Self { at, entries, skew, complete, leaves_out: false, by_id, by_name }
    }

    /// The same of a provider that may leave out tokens that live: `absence = "unknown"`.
    #[must_use]
    pub fn leaving_out(self, leaves_out: bool) -> Self {
        Self { leaves_out, ..self }
    }

    /// The moment before the first page was asked for: what was minted later may be missing.
    pub fn at(&self) -> Time {
        self.at
    }

    /// Every entry, in the provider's order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The provider's clock minus ours.
    pub fn skew(&self) -> Option<Span> {
        self.skew
    }

    /// Whether these are all entries. If not, the provider had more than an account reads.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// Whether it says anything of a token that it does not contain that the token is missing.
    pub fn tells_absence(&self) -> bool {
        self.complete && !self.leaves_out
    }

    /// The entry with this id, or else one whose name carries the same marker (or is the same, without a marker). An
    /// entry that is not dead goes before one that is.
    pub fn find(&self, id: Option<&RemoteId>, name: Option<&str>) -> Option<&Entry> {
        let by_id = id.and_then(|id| best(self.with_id(id)));
        by_id.or_else(|| name.and_then(|name| best(self.named(name))))
    }

    /// Every entry with this id: more than one where a provider counts ids per kind or repeats itself.
    pub fn with_id<'a>(&'a self, id: &RemoteId) -> impl Iterator<Item = &'a Entry> {
        equal_range(&self.entries, &self.by_id, move |entry| id_of(entry).cmp(&Some(id.as_str())))
    }

    /// Every entry whose name carries the same marker as `name`; the same name, where `name` carries none.
    pub fn named<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a Entry> {
        let wanted = key(name);
        equal_range(&self.entries, &self.by_name, move |entry| key_of(entry).cmp(&Some(wanted)))
    }
}

impl<C: Clock> Account<C> {
    /// Everything that the provider lists, all pages of it. A listing that fails half-way is no listing.
    pub async fn list(&self, params: &Params) -> Outcome<Listing> {
        let at = self.endpoint.now();
        let mut entries = Vec::new();
        let mut cursors: Vec<Cursor> = Vec::new();
        let complete = loop {
            let page = match self.page(params, cursors.last(), at + LISTING_PATIENCE).await {
                Outcome::Done(page) => page,
                Outcome::Later { not_before, failure } => return Outcome::Later { not_before, failure },
                Outcome::Refused(failure) => return Outcome::Refused(failure),
                Outcome::Unknown(failure) => return Outcome::Unknown(failure),
            };
            if entries.is_empty() {
                entries = page.entries;
            } else {
                entries.extend(page.entries);
            }
            match page.next {
                None => break page.whole,
                Some(next) if cursors.contains(&next) => {
                    return self
                        .endpoint
                        .failed(Failure::new(FailureCode::NotUnderstood, "the listing's pages go in a circle"));
                }
                Some(_) if !page.whole || cursors.len() + 1 >= MAX_PAGES || entries.len() >= MAX_ENTRIES => {
                    break false;
                }
                Some(next) => cursors.push(next),
            }
        };
        let leaves_out = self.policy.provider.listing_leaves_out();
        Outcome::Done(Listing::new(at, entries, self.endpoint.clock().skew(), complete).leaving_out(leaves_out))
    }

    /// One page. A page after the first is waited for until `latest`, and asked for again when it is put off until then.
    async fn page(&self, params: &Params, cursor: Option<&Cursor>, latest: Time) -> Outcome<Page> {
        let mut job = Job { page: cursor, ..self.job(Operation::List, params) };
        if cursor.is_none() {
            return self.send(job, Provider::read_page).await;
        }
        job.latest = latest;
        let mut tries = 1;
        loop {
            match self.send(job, Provider::read_page).await {
                Outcome::Later { not_before: Some(time), .. } if time <= latest && tries < PAGE_TRIES => tries += 1,
                outcome => return outcome,
            }
        }
    }
}

/// The entries at the `sorted` positions for which `order` says equal.
fn equal_range<'a>(
    entries: &'a [Entry],
    sorted: &'a [u32],
    order: impl Fn(&Entry) -> std::cmp::Ordering,
) -> impl Iterator<Item = &'a Entry> {
    let start = sorted.partition_point(|position| order(&entries[*position as usize]).is_lt());
    sorted[start..].iter().map(|position| &entries[*position as usize]).take_while(move |entry| order(entry).is_eq())
}

fn best<'a>(mut entries: impl Iterator<Item = &'a Entry>) -> Option<&'a Entry> {
    let first = entries.next()?;
    if first.dead { entries.find(|entry| !entry.dead).or(Some(first)) } else { Some(first) }
}

fn id_of(entry: &Entry) -> Option<&str> {
    entry.remote.id.as_ref().map(RemoteId::as_str)
}

fn key_of(entry: &Entry) -> Option<&str> {
    entry.name.as_deref().map(key)
}

/// The marker within `name`, or else all of it without blanks around: a provider may trim names.
fn key(name: &str) -> &str {
    Marker::within(name).unwrap_or(name.trim())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::provider::{Expiry, Remote};

    fn entry(id: Option<&str>, name: Option<&str>, dead: bool) -> Entry {
        let remote = Remote {
            id: id.map(|id| id.parse().unwrap()),
            expires: Expiry::Unknown,
            refresh_expires: None,
            renewable_until: None,
            facts: BTreeMap::new(),
        };
        Entry { remote, name: name.map(str::to_owned), dead, created: None, last_used: None }
    }

    #[test]
    fn entries_are_found_by_id_then_by_marker() {
        let entries = vec![
            entry(Some("9"), Some("laptop"), false),
            entry(Some("10"), Some("for gps: patrold-1a2b3c4d-gps-g1-000000000001 (do not touch)"), true),
            entry(None, Some(" patrold-1a2b3c4d-gps-g2-000000000002 "), false),
            entry(Some("12"), None, false),
            entry(Some("13"), Some("patrold-1a2b3c4d-gps-g3-000000000003"), true),
            entry(Some("14"), Some("patrold-1a2b3c4d-gps-g3-000000000003"), false),
            entry(None, None, false),
            entry(Some("15"), Some("robot$library+patrold-1a2b3c4d-gps-g5-000000000005"), false),
        ];
        let listing = Listing::new(Time::UNIX_EPOCH, entries, None, true);
        for (sentence, id, name, position) in [
            ("by id", Some("12"), None, Some(3)),
            ("ids are text: nine is not ten", Some("9"), None, Some(0)),
            ("the id goes before the name", Some("9"), Some("patrold-1a2b3c4d-gps-g2-000000000002"), Some(0)),
            ("by name, the id unknown", None, Some("laptop"), Some(0)),
            ("by name, the id not listed", Some("404"), Some("laptop"), Some(0)),
            ("a marker among other words", None, Some("patrold-1a2b3c4d-gps-g1-000000000001"), Some(1)),
            ("the wanted text has words around too", None, Some("x patrold-1a2b3c4d-gps-g2-000000000002"), Some(2)),
            ("a marker that the service decorates", None, Some("patrold-1a2b3c4d-gps-g5-000000000005"), Some(7)),
            ("a live one before a dead one", None, Some("patrold-1a2b3c4d-gps-g3-000000000003"), Some(5)),
            ("a marker's beginning is no marker", None, Some("patrold-1a2b3c4d-gps-g3-00000000000"), None),
            ("nothing to look for", None, None, None),
            ("not there", Some("404"), Some("nobody"), None),
        ] {
            let id: Option<RemoteId> = id.map(|id| id.parse().unwrap());
            let found = listing.find(id.as_ref(), name);
            assert_eq!(found, position.map(|position| &listing.entries()[position]), "{sentence}");
        }
        assert_eq!(listing.named("patrold-1a2b3c4d-gps-g3-000000000003").count(), 2);
    }

    #[test]
    fn each_of_many_entries_is_found() {
        let entries = (0..100_000).map(|n| entry(Some(&format!("{n}")), Some(&format!("token {n}")), false)).collect();
        let listing = Listing::new(Time::UNIX_EPOCH, entries, None, true);
        for (n, entry) in listing.entries().iter().enumerate() {
            assert!(std::ptr::eq(listing.find(entry.remote.id.as_ref(), None).unwrap(), entry), "{n}");
            assert!(std::ptr::eq(listing.find(None, entry.name.as_deref()).unwrap(), entry), "{n}");
        }
    }
}
