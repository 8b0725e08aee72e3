//! Files of definitions: the shipped ones are sound, and faults have places.

use super::*;
use crate::document::{Reader, Report};
use toml::de::DeTable;

#[test]
fn every_builtin_definition_is_sound() {
    let mut report = Report::new();
    let definitions = Definitions::load(None, &mut report);
    assert_eq!(report.render(), "");
    assert_eq!(definitions.names().collect::<Vec<_>>(), ["awx", "commvault", "pointone"]);
    for provider in definitions.iter() {
        assert!(!provider.docs.is_empty() && !provider.title.is_empty(), "{}", provider.name);
        assert!(!provider.credential.is_empty() && !provider.old_token.is_empty(), "{}", provider.name);
        assert!(provider.params.values().all(|param| !param.about.is_empty()), "{}", provider.name);
    }
}
