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

/// The most names that are proposed at once.
const PROPOSED: usize = 8;

/// Those of `valid` that `given` may mean: the nearest, or else those of which it is a word ("github" of "github-pat").
pub fn alike<'a>(given: &str, valid: &(impl IntoIterator<Item = &'a str> + Clone)) -> Vec<&'a str> {
    let having = |word: &str| {
        let mut names: Vec<_> =
            valid.clone().into_iter().filter(|name| name.split(['-', '_']).any(|part| part == word)).collect();
        names.sort_unstable();
        names.truncate(PROPOSED);
        names
    };
    let exact = having(&given.to_lowercase());
    if !exact.is_empty() {
        return exact;
    }
    if let Some(name) = nearest(given, valid.clone()) {
        return vec![name];
    }
    let words = valid.clone().into_iter().filter_map(|name| name.split(['-', '_']).next());
    nearest(given, words).map(having).unwrap_or_default()
}

/// A question that names them; `None` where there are none.
pub fn did_you_mean(names: &[&str]) -> Option<String> {
    let quoted: Vec<_> = names.iter().map(|name| format!("\"{name}\"")).collect();
    match &quoted[..] {
        [] => None,
        [name] => Some(format!("did you mean {name}?")),
        [names @ .., last] => Some(format!("did you mean {} or {last}?", names.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_by_a_slip_or_by_one_of_its_words() {
        let valid = ["awx", "github-pat", "github-app-token", "gitlab-pat", "argocd-token"];
        for (given, expected) in [
            ("axw", Some("did you mean \"awx\"?")),
            ("github", Some("did you mean \"github-app-token\" or \"github-pat\"?")),
            ("GitHub", Some("did you mean \"github-app-token\" or \"github-pat\"?")),
            ("gihtub", Some("did you mean \"github-app-token\" or \"github-pat\"?")),
            ("gitlab-pta", Some("did you mean \"gitlab-pat\"?")),
            ("argo-cd", Some("did you mean \"argocd-token\"?")),
            ("nothing like it", None),
        ] {
            assert_eq!(did_you_mean(&alike(given, &valid)).as_deref(), expected, "{given}");
        }
    }
}
