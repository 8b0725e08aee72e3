//! The watchdog of the service manager.

use std::ffi::OsString;
use std::os::unix::net::UnixDatagram;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use patrold::daemon::systemd::Systemd;
use patrold::demo::Service;
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::world::{PATIENCE, World, token};

/// The threads that blocking work has.
const POOL: usize = 8;

/// More than were on their way before the pool began to hang.
const PINGS: usize = 5;

#[test]
fn a_blocking_pool_that_hangs_does_not_silence_the_watchdog() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(POOL).build();
    runtime.unwrap().block_on(async {
        let world = World::new().await;
        let path = world.path("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        world.write(&[world.account(Service::Awx, ""), token("ci", Service::Awx, "rotate-every = \"30d\"")]);
        let variables = |name: &str| match name {
            "NOTIFY_SOCKET" => Some(OsString::from(path.clone())),
            "WATCHDOG_USEC" => Some("100000".into()),
            _ => None,
        };
        let systemd = Systemd::from_variables(variables, std::process::id());
        let daemon = world.try_start_under(systemd).await.unwrap_or_else(|error| panic!("{error}"));
        daemon.steady("ci", 1).await;
        // As file systems that do not answer hold them.
        let (free, hang) = mpsc::channel::<()>();
        let hang = Arc::new(Mutex::new(hang));
        let (begun, all) = mpsc::channel();
        let hanging: Vec<_> = (0..POOL)
            .map(|_| {
                let (hang, begun) = (Arc::clone(&hang), begun.clone());
                spawn_blocking(move || {
                    begun.send(()).unwrap();
                    let _ = hang.lock().unwrap().recv();
                })
            })
            .collect();
        let (heard, pings) = oneshot::channel();
        thread::spawn(move || {
            (0..POOL).for_each(|_| all.recv_timeout(PATIENCE).unwrap());
            let mut notice = [0; 4096];
            socket.set_nonblocking(true).unwrap();
            while socket.recv(&mut notice).is_ok() {}
            socket.set_nonblocking(false).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut count = 0;
            while count < PINGS {
                let length = socket.recv(&mut notice).unwrap();
                count += usize::from(notice[..length].starts_with(b"WATCHDOG=1"));
            }
            heard.send(()).unwrap();
        });
        assert!(matches!(timeout(PATIENCE, pings).await, Ok(Ok(()))), "the watchdog fell silent");
        assert!(hanging.iter().all(|it| !it.is_finished()), "the pool hung all the while");
        drop(free);
        daemon.stop().await;
    });
}
