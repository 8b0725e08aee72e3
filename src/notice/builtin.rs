//! The forms that come with patrold.

use std::sync::{Arc, LazyLock};

use super::form::Form;
use super::reading::parse;
use crate::document::Report;

macro_rules! files {
    ($($name:literal,)*) => {
        &[$(($name, include_str!(concat!("../../config/notices/", $name, ".toml"))),)*]
    };
}

const BUILTIN: &[(&str, &str)] = files!["alertmanager", "json", "ntfy", "pagerduty", "slack", "teams",];

static FORMS: LazyLock<Vec<Arc<Form>>> = LazyLock::new(|| {
    let read = |(name, text): &(&str, &str)| parse(&format!("built-in {name}.toml"), text, &mut Report::new());
    BUILTIN.iter().filter_map(read).map(Arc::new).collect()
});

/// The form called `name`.
pub fn get(name: &str) -> Option<Arc<Form>> {
    FORMS.iter().find(|form| form.name == name).cloned()
}

/// Every name, in alphabetical order.
pub fn names() -> impl ExactSizeIterator<Item = &'static str> + Clone {
    BUILTIN.iter().map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_sound_and_named_like_its_file() {
        for (name, text) in BUILTIN {
            let mut report = Report::new();
            let form = parse(name, text, &mut report);
            let form = form.unwrap_or_else(|| panic!("{}", report.render()));
            assert_eq!(form.name, *name);
            assert!(!form.title.is_empty(), "{name}");
        }
    }
}
