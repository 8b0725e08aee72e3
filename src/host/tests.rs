use super::mount::{Hidden, of_path};
use super::unit::asked;
use super::*;

/// Lines as a service of systemd 252 sees them, shortened.
const MOUNTS: &str = "\
22 1 254:1 / / ro,relatime shared:1 - ext4 /dev/vda1 rw
30 22 254:1 /tmp/systemd-private-1f2e-patrold.service-Ab3dE6/tmp /tmp rw,relatime shared:2 - ext4 /dev/vda1 rw
31 22 254:1 /var/tmp/systemd-private-1f2e-patrold.service-Xy9zQ1/tmp /var/tmp rw,relatime - ext4 /dev/vda1 rw
32 22 0:25 / /run rw,nosuid - tmpfs tmpfs rw
33 32 0:25 /systemd/inaccessible/dir /run/user ro,nosuid - tmpfs tmpfs rw
34 22 0:40 / /mnt/with\\040blank rw - ext4 /dev/vdb rw
35 30 0:41 / /tmp/shared rw - tmpfs tmpfs rw
";

#[test]
fn a_directory_is_hidden_by_the_mount_that_is_nearest_to_it() {
    for (path, expected) in [
        ("/tmp", Some(Hidden::PrivateTmp)),
        ("/tmp/a/b", Some(Hidden::PrivateTmp)),
        ("/var/tmp/a", Some(Hidden::PrivateTmp)),
        ("/tmp/shared/a", None),
        ("/tmpfile", None),
        ("/run/tokens", None),
        ("/run/user/1000", Some(Hidden::Inaccessible)),
        ("/mnt/with blank/a", None),
        ("/etc/gps", None),
    ] {
        assert_eq!(of_path(MOUNTS, Path::new(path)), expected, "{path}");
    }
    assert_eq!(of_path("", Path::new("/tmp")), None, "nothing is known");
    assert_eq!(of_path("rubbish\n1 2 3\n", Path::new("/tmp")), None);
    let later = format!("{MOUNTS}36 30 0:42 / /tmp rw - tmpfs tmpfs rw\n");
    assert_eq!(of_path(&later, Path::new("/tmp/a")), None, "of two mounts on one point, the last one is seen");
}

#[test]
fn a_hook_asks_the_service_manager_for_units() {
    let command = |text: &str| -> Vec<String> { text.split(' ').map(str::to_owned).collect() };
    for (text, expected) in [
        ("systemctl try-restart a.service", Some(("try-restart", vec!["a.service"]))),
        ("/usr/bin/systemctl --no-block reload a b.socket", Some(("reload", vec!["a.service", "b.socket"]))),
        ("systemctl restart gps.ingest swap.swap", Some(("restart", vec!["gps.ingest.service", "swap.swap"]))),
        ("systemctl --user try-restart a.service", None),
        ("/opt/reload a.service", None),
        ("systemctl", None),
    ] {
        let command = command(text);
        let found = asked(&command).map(|asked| (asked.verb, asked.units));
        let expected = expected.map(|(verb, units)| (verb, units.into_iter().map(str::to_owned).collect()));
        assert_eq!(found, expected, "{text}");
    }
}

#[test]
fn a_hook_that_was_denied_leads_to_the_list() {
    for said in ["Failed to restart x.service: Access denied", "x: Interactive authentication required."] {
        assert!(remedy_of_denied(said).is_some_and(|help| help.contains(HOOK_UNITS)), "{said}");
    }
    assert_eq!(remedy_of_denied("Unit x.service not found."), None);
}
