use std::fmt::Write as _;

use crate::definition::Definitions;
use crate::inventory::interpret_text;

use super::*;

const UNIT: &str = "\
[Service]
User=patrold
Group=patrold
StateDirectory=patrold
RuntimeDirectory=patrold
ReadWritePaths=-/run/tokens
ProtectHome=yes
PrivateUsers=yes
";

/// An inventory with a token for each of `tokens`: its stores and hooks.
fn needs(tokens: &[&str]) -> Needs {
    let mut text = "\
[account.controller]
provider   = \"awx\"
url        = \"https://awx.example.com\"
credential = { username = \"svc\", password = { systemd-credential = \"awx\" } }
params     = { user_id = 7, scope = \"read\" }
"
    .to_owned();
    for (number, token) in tokens.iter().enumerate() {
        write!(text, "[[token]]\nname = \"t{number}\"\naccount = \"controller\"\nrotate-every = \"30d\"\n{token}\n")
            .unwrap();
    }
    let (inventory, report) = interpret_text(&text, &Definitions::builtin(), crate::clock::Time::UNIX_EPOCH);
    Needs::of(&inventory.unwrap_or_else(|| panic!("{}", report.render())))
}

/// A machine on which `gps-ingest.service` runs as gps.
fn seen(owners: &[(&str, u32)]) -> Seen {
    let gps = Settings::parse(["[Service]\nUser=gps\n"].into_iter(), "");
    Seen {
        unit: Settings::parse([UNIT].into_iter(), ""),
        consumers: [("gps-ingest.service".to_owned(), gps)].into(),
        owners: owners.iter().map(|(path, owner)| (PathBuf::from(path), *owner)).collect(),
        user: Some(990),
        hook_units: "other.service\n".to_owned(),
    }
}

const RELOADED: &str = r#"
stores = [{ kind = "file", path = "/etc/gps/token", mode = "0640" }]
hooks  = [{ run = ["systemctl", "reload", "gps-ingest"] }]"#;

#[test]
fn a_unit_is_given_what_the_inventory_needs_and_no_more() {
    let derived = derive(&needs(&[RELOADED]), &seen(&[]), "patrold.service");
    let texts: Vec<_> = derived.files.iter().map(|file| (file.path.to_str().unwrap(), file.text.as_str())).collect();
    assert_eq!(
        texts,
        [
            (
                "/etc/systemd/system/patrold.service.d/inventory.conf",
                format!(
                    "{MADE}\n[Service]\nReadWritePaths=-/etc/gps\nLoadCredential=awx:/etc/patrold.credentials/awx\n"
                )
                .as_str()
            ),
            (
                "/etc/tmpfiles.d/patrold-stores.conf",
                format!("{MADE}\n# The units that hooks tell run as gps.\nd /etc/gps 2750 patrold gps -\n").as_str()
            ),
        ]
    );
    assert_eq!(derived.hook_units, ["gps-ingest.service"]);
    assert_eq!(derived.notes.len(), 1, "where the credential belongs: {:?}", derived.notes);
}

#[test]
fn what_was_derived_leaves_no_obstacle() {
    for (case, token) in [
        ("a directory of its own", RELOADED.to_owned()),
        ("a home", r#"stores = [{ kind = "file", path = "/home/gps/token" }]"#.to_owned()),
        ("a group", r#"stores = [{ kind = "file", path = "/run/tokens/t", group = "0" }]"#.to_owned()),
        ("an owner", r#"stores = [{ kind = "file", path = "/opt/with blank/t", owner = "0" }]"#.to_owned()),
    ] {
        let needs = needs(&[&token]);
        let before = Settings::parse([UNIT].into_iter(), "");
        assert!(!obstacles(&needs, &before).is_empty(), "{case}: nothing is missing before");
        let derived = derive(&needs, &seen(&[]), "patrold.service");
        let texts = derived.files.iter().map(|file| file.text.as_str());
        let after = Settings::parse(std::iter::once(UNIT).chain(texts), "");
        assert_eq!(obstacles(&needs, &after), [], "{case}");
        let again = derive(&needs, &Seen { unit: after, hook_units: derived.hook_units.join("\n"), ..seen(&[]) }, "x");
        assert!(again.hook_units.is_empty(), "{case}");
    }
}

#[test]
fn a_directory_of_somebody_else_is_not_taken_away() {
    let derived = derive(&needs(&[RELOADED]), &seen(&[("/etc/gps", 0)]), "patrold@team.service");
    let paths: Vec<_> = derived.files.iter().map(|file| file.path.to_str().unwrap()).collect();
    assert_eq!(paths, ["/etc/systemd/system/patrold@team.service.d/inventory.conf"], "no line for tmpfiles");
    assert!(derived.notes.iter().any(|note| note.contains("/etc/gps belongs to user 0")), "{:?}", derived.notes);
    let own = derive(&needs(&[RELOADED]), &seen(&[("/etc/gps", 990)]), "patrold@team.service");
    assert_eq!(own.files[1].path, Path::new("/etc/tmpfiles.d/patrold-team-stores.conf"));
}

#[test]
fn an_inventory_of_the_package_has_a_unit() {
    for (main, unit) in [
        ("/etc/patrold/patrold.toml", Some("patrold.service")),
        ("/etc/patrold/team.toml", Some("patrold@team.service")),
        ("/etc/patrold/tokens.d/a.toml", None),
        ("./patrold.toml", None),
    ] {
        assert_eq!(unit_of(Path::new(main)).as_deref(), unit, "{main}");
    }
}
