use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};

use rustls::client::danger::ServerCertVerifier as _;
use rustls::pki_types::UnixTime;

use super::verifier::issuer;
use super::*;

/// A certificate that signed itself; `authority`: as `openssl req -x509` makes it.
fn certificate(name: &str, authority: bool, valid_years: std::ops::Range<i32>) -> rcgen::Certificate {
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    if authority {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    params.not_before = rcgen::date_time_ymd(valid_years.start, 1, 1);
    params.not_after = rcgen::date_time_ymd(valid_years.end, 1, 1);
    params.self_signed(&KeyPair::generate().unwrap()).unwrap()
}

fn year(year: u64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs((year - 1970) * 31_556_952 + 1_000_000))
}

fn file(directory: &tempfile::TempDir, pem: &str) -> TlsPolicy {
    let path = directory.path().join("ca.pem");
    std::fs::write(&path, pem).unwrap();
    TlsPolicy { ca_file: Some(path), ..TlsPolicy::default() }
}

#[test]
fn a_certificate_of_the_file_is_trusted_for_its_name_and_its_time() {
    let directory = tempfile::tempdir().unwrap();
    for authority in [false, true] {
        let pinned = certificate("api.test", authority, 2020..2030);
        let twin = certificate("api.test", authority, 2020..2030);
        let path = file(&directory, &pinned.pem()).ca_file.unwrap();
        let certificates = certificates(&path, "").unwrap();
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(certificates.clone());
        let verifier = Verifier::new(roots, certificates, Vec::new()).unwrap();
        for (sentence, presented, name, now, believed) in [
            ("the pinned certificate", &pinned, "api.test", 2025, true),
            ("another name", &pinned, "other.test", 2025, false),
            ("too late", &pinned, "api.test", 2031, false),
            ("too early", &pinned, "api.test", 2019, false),
            ("another certificate with the same name", &twin, "api.test", 2025, false),
        ] {
            let name = name.try_into().unwrap();
            let verdict = verifier.verify_server_cert(presented.der(), &[], &name, &[], year(now));
            assert_eq!(verdict.is_ok(), believed, "{sentence}, authority {authority}: {verdict:?}");
        }
    }
}

#[test]
fn a_file_that_cannot_be_used_is_named_with_a_remedy() {
    let directory = tempfile::tempdir().unwrap();
    for (sentence, content, told) in [
        ("empty", "", "holds no certificate in PEM"),
        ("DER or nonsense", "\u{1}\u{2}", "holds no certificate in PEM"),
        ("not base64", "-----BEGIN CERTIFICATE-----\n*\n-----END CERTIFICATE-----\n", "number 1"),
        ("no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "number 1"),
    ] {
        let error = TrustRoots::read(&file(&directory, content)).unwrap_err();
        let message = error.to_string();
        assert!(message.contains("ca.pem") && message.contains(told), "{sentence}: {message}");
        assert!(!error.remedy.is_empty(), "{sentence}");
    }
    let missing = TlsPolicy { ca_file: Some(directory.path().join("missing.pem")), ..TlsPolicy::default() };
    assert!(TrustRoots::read(&missing).unwrap_err().to_string().ends_with("missing.pem does not exist"));
}

#[test]
fn roots_are_equal_where_their_certificates_are() {
    let directory = tempfile::tempdir().unwrap();
    let one = certificate("one.test", true, 2020..2030).pem();
    let two = certificate("two.test", true, 2020..2030).pem();
    let read = |pem: &str| TrustRoots::read(&file(&directory, pem)).unwrap();
    assert_eq!(read(&one), read(&one));
    assert_ne!(read(&one), read(&two));
    assert_ne!(read(&one), read(&(one.clone() + &two)), "a bundle is more than its first");
}

#[test]
fn roots_that_the_environment_names_are_used_or_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    std::fs::write(at("good.pem"), certificate("one.test", true, 2020..2030).pem()).unwrap();
    std::fs::write(at("empty.pem"), "").unwrap();
    std::fs::create_dir(at("certs")).unwrap();
    std::fs::create_dir(at("none")).unwrap();
    std::fs::write(at("certs/README"), "no certificate").unwrap();
    std::os::unix::fs::symlink(at("good.pem"), at("certs/0123abcd.0")).unwrap();
    for (sentence, file, folder, told) in [
        ("a file", Some("good.pem"), None, Ok(())),
        ("a directory", None, Some("certs"), Ok(())),
        ("both", Some("good.pem"), Some("certs"), Ok(())),
        ("a missing file", Some("missing.pem"), None, Err("SSL_CERT_FILE")),
        ("a missing file beside a good directory", Some("missing.pem"), Some("certs"), Err("does not exist")),
        ("an empty file", Some("empty.pem"), None, Err("holds no certificate")),
        ("a missing directory", None, Some("missing"), Err("SSL_CERT_DIR")),
        ("a directory without certificates", None, Some("none"), Err("holds no certificate")),
    ] {
        let env = |name: &str| match name {
            FILE_VARIABLE => file.map(|name| at(name).into_os_string()),
            _ => folder.map(|name| at(name).into_os_string()),
        };
        match (of_system(env), told) {
            (Ok(found), Ok(())) => assert!(!found.compiled_in, "{sentence}"),
            (Err(error), Err(told)) => assert!(error.to_string().contains(told), "{sentence}: {error}"),
            (read, _) => panic!("{sentence}: {read:?}"),
        }
    }
}

#[test]
fn with_pins_only_a_server_with_one_of_those_keys_is_believed_whoever_signed_it() {
    let server = certificate("api.test", false, 2020..2030);
    let other = certificate("api.test", false, 2020..2030);
    let key = Pin::of(server.der()).unwrap();
    assert_eq!(Pin::parse(&key.to_string()), Ok(key));
    assert!(Pin::parse("sha256//AAAA").is_err() && Pin::parse("md5//AAAA").is_err());
    let verifier = |root: &rcgen::Certificate, pins: Vec<Pin>| {
        let mut roots = RootCertStore::empty();
        roots.add(root.der().clone()).unwrap();
        Verifier::new(roots, vec![root.der().clone()], pins).unwrap()
    };
    for (sentence, verifier, presented, name, now, believed) in [
        ("signed by nobody", verifier(&other, vec![key]), &server, "api.test", 2025, true),
        ("another name", verifier(&other, vec![key]), &server, "other.test", 2025, false),
        ("too late", verifier(&other, vec![key]), &server, "api.test", 2031, false),
        ("another key, though it is trusted", verifier(&other, vec![key]), &other, "api.test", 2025, false),
        ("without pins", verifier(&other, Vec::new()), &server, "api.test", 2025, false),
    ] {
        let name = name.try_into().unwrap();
        let verdict = verifier.verify_server_cert(presented.der(), &[], &name, &[], year(now));
        assert_eq!(verdict.is_ok(), believed, "{sentence}: {verdict:?}");
    }
}

#[test]
fn an_issuer_is_told_by_its_name() {
    assert_eq!(issuer(certificate("api.test", false, 2020..2030).der()), "\"api.test\"");
    assert_eq!(issuer(&CertificateDer::from(vec![1, 2, 3])), "an issuer without a name");
}
