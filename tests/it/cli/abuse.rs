//! A running daemon whose control socket is abused.

use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::daemon::Daemon;
use super::world::{self, World};

/// The connections that a daemon serves at once.
const SERVED: usize = 64;

/// Whether the daemon hangs up at once; idle connections stay open for ten seconds.
fn is_refused(client: &mut UnixStream) -> bool {
    client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    matches!(client.read(&mut [0]), Ok(0) | Err(_))
}

#[test]
fn ten_thousand_connections_are_bounded_and_logged_once() {
    let world = World::new(world::TWO_TOKENS);
    let daemon = Daemon::start(&world);
    let socket = world.path().join("patrold/control.sock");
    assert_eq!(socket.metadata().unwrap().permissions().mode() & 0o777, 0o600, "nobody else may even connect");
    let descriptors = || std::fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap().count();
    let before = descriptors();

    let idle: Vec<_> = (0..SERVED).map(|_| UnixStream::connect(&socket).unwrap()).collect();
    let mut refused = 0;
    for _ in SERVED..10_000 {
        refused += usize::from(is_refused(&mut UnixStream::connect(&socket).unwrap()));
    }
    // Idle ones that were hung up on meanwhile made room for as many others.
    assert!(refused >= 10_000 - 4 * SERVED, "{refused} refused");
    let after = descriptors();
    // Files are watched from a moment after the daemon is ready.
    assert!(after <= before + SERVED + 10, "{after} descriptors, {before} before");
    drop(idle);

    // The daemon has to notice first that they are gone.
    let answered = (0..1000).any(|_| world.run(&["status"]).status.success());
    assert!(answered, "the daemon answers again");
    let (exit, log) = daemon.stop();
    assert_eq!(exit, Some(0), "{log}");
    let told = log.lines().filter(|line| line.contains("too many connections")).count();
    assert_eq!(told, 1, "{log}");
}

#[test]
fn garbage_is_hung_up_on_and_logged_once() {
    let world = World::new(world::TWO_TOKENS);
    let daemon = Daemon::start(&world);
    let socket = world.path().join("patrold/control.sock");
    for _ in 0..20 {
        let mut client = UnixStream::connect(&socket).unwrap();
        std::io::Write::write_all(&mut client, b"\x16\x03\x01\x02 hello\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        let _ = client.read_to_end(&mut answer);
        assert!(answer.starts_with(b"HTTP/1.1 400 "), "{answer:?}");
    }
    assert!(world.run(&["status"]).status.success());
    let (exit, log) = daemon.stop();
    assert_eq!(exit, Some(0), "{log}");
    assert_eq!(log.lines().filter(|line| line.contains("\"event\":\"control-refused\"")).count(), 1, "{log}");
}
