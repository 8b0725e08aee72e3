//! The inventories of `config/examples` are sound.

use std::fs;
use std::path::Path;

use patrold::inventory::{self, Environment};

#[test]
fn every_example_is_an_inventory() {
    let directory = tempfile::tempdir().unwrap();
    // Examples name an authority of a machine that is not this one.
    let authority = directory.path().join("ca.crt");
    let certificate = rcgen::generate_simple_self_signed(vec!["example.com".to_owned()]).unwrap().cert;
    fs::write(&authority, certificate.pem()).unwrap();
    let mut seen = 0;
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("config/examples")).unwrap() {
        let file = entry.unwrap().path();
        if file.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        let named = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt";
        let path = directory.path().join("patrold.toml");
        fs::write(&path, text.replace(named, &authority.display().to_string())).unwrap();
        let environment = Environment { state_dir: Some("/var/lib/patrold".into()), ..Environment::default() };
        let loaded = inventory::load(&path, &environment, "2026-11-21T12:00:00Z".parse().unwrap());
        assert_eq!(loaded.report.render(), "", "{}", file.display());
        seen += 1;
    }
    assert!(seen > 0);
}
