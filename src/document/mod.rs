//! TOML files as they were written: every value keeps its place, every problem is reported at once.
//!
//! Serde stops at the first fault and forgets where values stood, so inventory and definitions are read through a
//! [`Reader`] instead: it takes the keys it knows out of a table, and complains about those that are left.

mod found;
mod reader;
mod report;

pub use found::Found;
pub use reader::Reader;
pub use report::{NoPath, Problem, Report, Severity, SourceId, Spot};

/// A value with the place it was written at.
#[derive(Clone, Debug)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub spot: Spot,
}

impl<T> Located<T> {
    /// The same place with another value.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Located<U> {
        Located { value: f(self.value), spot: self.spot }
    }
}

/// The one of `valid` that a person most likely meant by `given`.
pub fn nearest<'a>(given: &str, valid: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // The comparison takes time and memory in proportion to the product of the lengths.
    const LONGEST: usize = 100;
    if given.len() > LONGEST {
        return None;
    }
    let given = given.replace('_', "-").to_lowercase();
    valid
        .into_iter()
        .filter(|candidate| candidate.len() <= LONGEST)
        .map(|candidate| (strsim::damerau_levenshtein(&given, &candidate.replace('_', "-").to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len().min(given.len()) / 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}
