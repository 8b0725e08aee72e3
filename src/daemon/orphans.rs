//! Orphans: live tokens with a marker of this installation that the journal does not account for.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

use crate::account::Listing;
use crate::clock::{Span, Time};
use crate::names::{InstanceId, Marker};
use crate::provider::{Entry, ProviderClock};
use crate::report::audit::Known;
use crate::rotation::TokenState;

/// Markers that the journal accounted for since the process started, and when it last did.
#[derive(Debug, Default)]
pub struct Accounted(Mutex<HashMap<String, Time>>);

/// What a count of orphans depends on besides listings.
#[derive(Clone, Copy, Debug)]
pub struct Count<'a> {
    pub instance: InstanceId,
    /// What the journal accounts for, over all accounts of the installation.
    pub known: &'a Known<'a>,
    pub accounted: &'a Accounted,
    /// How long a revocation may take to show in listings.
    pub settle: Span,
    pub clock: ProviderClock,
}

impl Accounted {
    /// Notes what `state` accounts for at `at`.
    pub fn note(&self, state: &TokenState, at: Time) {
        let mut accounted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        accounted.extend(state.markers().map(|marker| (marker.to_owned(), at)));
    }

    /// Forgets what was last accounted for before `since`.
    pub fn forget(&self, since: Time) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, at| *at >= since);
    }

    fn last(&self, marker: &str) -> Option<Time> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(marker).copied()
    }
}

impl Count<'_> {
    /// The markers of the orphans that these listings show.
    ///
    /// Law: orphans are counted from listings newer than the last change of the journal, over all accounts of an
    /// installation, without expired entries. Two accounts of one user list each other's tokens. A token that was revoked
    /// a moment ago may be listed until the revocation has settled, and one that has expired does no harm.
    pub fn orphans<'l>(&self, listings: impl IntoIterator<Item = &'l Listing>) -> BTreeSet<String> {
        let listings = listings.into_iter();
        let found =
            listings.flat_map(|listing| listing.entries().iter().filter_map(|entry| self.orphan(listing, entry)));
        found.map(str::to_owned).collect()
    }

    fn orphan<'l>(&self, listing: &Listing, entry: &'l Entry) -> Option<&'l str> {
        let marker = entry.name.as_deref().and_then(Marker::within)?;
        let ends = entry.remote.expires.moment().map(|end| self.clock.latest(end));
        let expired = ends.is_some_and(|end| end <= listing.at());
        let settles = |last: Time| last.checked_add_signed(self.settle).is_none_or(|settled| listing.at() < settled);
        let accounted = self.known.token(entry).is_some() || self.accounted.last(marker).is_some_and(settles);
        let lives = !entry.dead && !expired;
        (Marker::is_of(self.instance, marker) && lives && !accounted).then_some(marker)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::names::{AccountName, GenerationNo, TokenName};
    use crate::provider::{Expiry, ProviderTime, Remote};
    use crate::rotation::state::Orphan;
    use crate::rotation::tests::policy as sample;

    const MARKER: &str = "patrold-01020304-gps-g1-070707070707";

    fn entry(name: &str, id: &str, expires: Expiry, dead: bool) -> Entry {
        let remote = Remote {
            id: Some(id.parse().unwrap()),
            expires,
            refresh_expires: None,
            renewable_until: None,
            facts: BTreeMap::new(),
        };
        Entry { remote, name: Some(name.to_owned()), dead, created: None, last_used: None }
    }

    #[test]
    fn orphans_are_live_marked_and_accounted_for_by_nobody() {
        let now = sample::start();
        let (token, account): (TokenName, AccountName) = ("gps".parse().unwrap(), "a".parse().unwrap());
        let state = |marker: &str| TokenState {
            orphans: vec![Orphan::Unrevocable {
                number: GenerationNo(1),
                marker: Some(serde_json::from_value(marker.into()).unwrap()),
                id: Some("7".parse().unwrap()),
                until: None,
            }],
            ..TokenState::default()
        };
        let decorated = format!("robot$library+{MARKER}");
        let (ours, other) = (state(MARKER), state("patrold-01020304-other-g1-070707070707"));
        let later = Expiry::At(ProviderTime::told(now + Span::days(1)));
        for (sentence, known, revoked, entry, orphans) in [
            ("nobody knows it", None, None, entry(MARKER, "1", later, false), 1),
            ("nobody knows it, and the service decorates it", None, None, entry(&decorated, "1", later, false), 1),
            ("a token has it, whatever account it is of", Some(&ours), None, entry(MARKER, "1", later, false), 0),
            ("a token has it, decorated", Some(&ours), None, entry(&decorated, "1", later, false), 0),
            (
                "a token has its id, and the service took the new name",
                Some(&other),
                None,
                entry(MARKER, "7", later, false),
                0,
            ),
            ("it has expired", None, None, entry(MARKER, "1", Expiry::At(ProviderTime::told(now)), false), 0),
            ("it is dead", None, None, entry(MARKER, "1", later, true), 0),
            ("it was revoked a moment ago", None, Some(Span::seconds(59)), entry(MARKER, "1", later, false), 0),
            (
                "it was revoked, and that had time to show",
                None,
                Some(Span::seconds(60)),
                entry(MARKER, "1", later, false),
                1,
            ),
            (
                "it is another installation's",
                None,
                None,
                entry("patrold-99999999-gps-g1-070707070707", "1", later, false),
                0,
            ),
        ] {
            let mut all = Known::default();
            if let Some(state) = known {
                all.add(&account, &token, state);
            }
            let accounted = Accounted::default();
            if let Some(ago) = revoked {
                accounted.note(&ours, now - ago);
            }
            let count = Count {
                instance: InstanceId::new([1, 2, 3, 4]),
                known: &all,
                accounted: &accounted,
                settle: Span::minutes(1),
                clock: ProviderClock::Seen(Span::zero()),
            };
            let listing = Listing::new(now, vec![entry], None, true);
            assert_eq!(count.orphans([&listing]).len(), orphans, "{sentence}");
        }
    }
}
