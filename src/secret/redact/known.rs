//! Many secrets, found in one walk through a text: by their first bytes.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;

use super::decode::View;
use super::{SHORTEST, SHORTEST_LINE};
use crate::secret::Secret;

/// Secrets by their first bytes. One that was added twice has to be taken out twice.
#[derive(Clone, Default)]
pub struct Known(HashMap<[u8; SHORTEST], Vec<Secret>>);

impl fmt::Debug for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Known").finish_non_exhaustive()
    }
}

impl Known {
    /// Finds `secret` from now on, and each of its lines.
    pub fn add(&mut self, secret: &Secret) {
        for text in findable(secret) {
            if let Some(first) = text.as_bytes().first_chunk() {
                self.0.entry(*first).or_default().push(Secret::new(text));
            }
        }
    }

    /// No longer finds `secret`, unless it was added once more than it was taken out.
    pub fn remove(&mut self, secret: &Secret) {
        for text in findable(secret) {
            let Some(first) = text.as_bytes().first_chunk() else { continue };
            let Some(alike) = self.0.get_mut(first) else { continue };
            if let Some(at) = alike.iter().position(|known| known.expose() == text) {
                alike.swap_remove(at);
            }
            if alike.is_empty() {
                self.0.remove(first);
            }
        }
    }

    /// Whether it finds nothing at all.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Where in the text the secrets came from that `view` shows.
    pub(super) fn find(&self, view: &View, hits: &mut Vec<Range<usize>>) {
        let bytes = view.bytes();
        for (at, first) in bytes.windows(SHORTEST).enumerate() {
            let Some(alike) = first.first_chunk().and_then(|first| self.0.get(first)) else { continue };
            let found = alike.iter().map(Secret::expose).filter(|secret| bytes[at..].starts_with(secret.as_bytes()));
            hits.extend(found.map(|secret| view.source(at..at + secret.len())));
        }
    }
}

/// The secret as a whole, and those of its lines that are secrets by themselves.
fn findable(secret: &Secret) -> impl Iterator<Item = &str> {
    let whole = secret.expose();
    // A key in PEM begins and ends with lines that are no secret.
    let lines = whole.lines().map(str::trim).filter(|line| line.len() >= SHORTEST_LINE && !line.starts_with("---"));
    std::iter::once(whole).filter(|whole| whole.len() >= SHORTEST).chain(lines.filter(move |line| *line != whole))
}
