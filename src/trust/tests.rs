use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};

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

fn file(directory: &tempfile::TempDir, pem: &str) -> RootSource {
    let path = directory.path().join("ca.pem");
    std::fs::write(&path, pem).unwrap();
    RootSource::File(path)
}

#[test]
fn a_certificate_of_the_file_is_trusted_for_its_name_and_its_time() {
    let directory = tempfile::tempdir().unwrap();
    for authority in [false, true] {
        let pinned = certificate("api.test", authority, 2020..2030);
        let twin = certificate("api.test", authority, 2020..2030);
        let RootSource::File(path) = file(&directory, &pinned.pem()) else { unreachable!() };
        let certificates = certificates(&path, "").unwrap();
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(certificates.clone());
        let verifier = Verifier::new(roots, certificates).unwrap();
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
    let missing = RootSource::File(directory.path().join("missing.pem"));
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
            (Ok(roots), Ok(())) => assert!(!roots.is_compiled_in(), "{sentence}"),
            (Err(error), Err(told)) => assert!(error.to_string().contains(told), "{sentence}: {error}"),
            (read, _) => panic!("{sentence}: {read:?}"),
        }
    }
}
